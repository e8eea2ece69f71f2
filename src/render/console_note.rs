//! Jenkins' notes to itself in a log: `ESC [8m ha:BASE64 ESC [0m`. They are no text, and change no
//! colour.
//!
//! A terminal conceals them, but they would be found and copied.

use super::style::Style;

/// The note that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConsoleNote {
    /// How much of the [`MARK`] was read.
    marked: usize,
    /// The style before the note, which holds again after it.
    before: Style,
}

/// What follows the concealing sequence.
const MARK: &[u8] = b"ha:";

impl ConsoleNote {
    /// What may be a note after text of this style: the text was concealed.
    pub(super) fn new(before: Style) -> Self {
        Self { marked: 0, before }
    }

    /// The style after a note, if this is a whole one.
    pub(super) fn end(self) -> Option<Style> {
        (self.marked == MARK.len()).then_some(self.before)
    }

    /// Takes bytes of the note. Gives how many belong to it, and whether it goes on after them: with
    /// more bytes, or with the sequence that ends it. If it does not, some bytes of the mark may
    /// have been taken, which are [text](Self::mistaken).
    pub(super) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = 0;
        for &byte in bytes {
            let goes_on = match MARK.get(self.marked) {
                Some(&mark) => byte == mark,
                None => byte.is_ascii_alphanumeric() || b"+/=".contains(&byte),
            };
            if !goes_on {
                return (taken, byte == 0x1b && self.marked == MARK.len());
            }
            self.marked = MARK.len().min(self.marked + 1);
            taken += 1;
        }
        (taken, true)
    }

    /// The text that was taken for the beginning of a note.
    pub(super) fn mistaken(self) -> &'static str {
        let mark = if self.marked < MARK.len() { self.marked } else { 0 };
        "ha:".get(..mark).unwrap_or_default()
    }
}
