//! Lines that are one row each, in the file and as they are shown.

use crate::encoding::Text;
use crate::log::Offset;
use crate::render::Terminal;

/// Lines whose rows are known without a terminal.
pub(super) struct PlainLines<'s> {
    /// The lines in the file, as UTF-8. Those of a container runtime are not opened.
    pub(super) raw: Text<'s>,
    /// The shown text.
    pub(super) text: &'s [u8],
    /// The text has colours in it, as the sink wants them.
    pub(super) has_colours: bool,
    /// A terminal whose position is before the lines. It can be fed any of them, in order. Their
    /// colours are right unless the scan strips colours.
    pub(super) terminal: &'s Terminal,
}

impl<'s> PlainLines<'s> {
    /// Finds lines of the text in the file. Ask for them in order.
    pub(super) fn line_offsets(&self) -> LineOffsets<'s> {
        LineOffsets { raw: self.raw, text: self.text, raw_at: 0, text_at: 0 }
    }

    /// Splits at the first line that begins at or after an offset.
    pub(super) fn split(self, offset: Offset) -> (Self, Self) {
        let raw = self.raw.bytes();
        let before = self.raw.index(offset.0);
        let (raw_at, text_at) = if before == 0 {
            (0, 0)
        } else if before >= raw.len() {
            (raw.len(), self.text.len())
        } else {
            let newline = memchr::memchr(b'\n', &raw[before - 1..]);
            let raw_at = newline.map_or(raw.len(), |newline| before + newline);
            (raw_at, self.text_at(raw_at))
        };
        let first = Self { raw: self.raw.slice(0..raw_at), text: &self.text[..text_at], ..self };
        (first, Self { raw: self.raw.skip(raw_at), text: &self.text[text_at..], ..self })
    }

    /// The position in the text of the line that begins at `raw_at` in the file.
    fn text_at(&self, raw_at: usize) -> usize {
        let raw = self.raw.bytes();
        if raw.len() == self.text.len() {
            return raw_at;
        }
        let lines = memchr::memchr_iter(b'\n', &raw[..raw_at]).count();
        let newline =
            lines.checked_sub(1).map(|nth| memchr::memchr_iter(b'\n', self.text).nth(nth));
        newline.map_or(0, |newline| newline.map_or(self.text.len(), |newline| newline + 1))
    }
}

/// Finds the offsets of lines.
pub(super) struct LineOffsets<'s> {
    raw: Text<'s>,
    text: &'s [u8],
    raw_at: usize,
    text_at: usize,
}

impl<'s> LineOffsets<'s> {
    /// The line in the file that begins at `text_at` in the text.
    pub(super) fn of(&mut self, text_at: usize) -> Text<'s> {
        let passed = &self.text[self.text_at..text_at];
        let raw = self.raw.bytes();
        if raw.len() == self.text.len() {
            self.raw_at += passed.len();
        } else {
            let lines = memchr::memchr_iter(b'\n', passed).count();
            for _ in 0..lines {
                self.raw_at += line_len(&raw[self.raw_at..]);
            }
        }
        self.text_at = text_at;
        let end = self.raw_at + line_len(&raw[self.raw_at..]);
        self.raw.slice(self.raw_at..end)
    }
}

/// The length of the first line, with its newline if it has one.
pub(super) fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}
