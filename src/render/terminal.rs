//! Bytes in, patches out: text, control characters and sequences are separated here.

use std::fmt;

use super::Patch;
use super::line::Line;
use super::screen::Screen;
use super::sequence::{Sequence, Step};
use super::text::{self, Partial};

/// The longest sequence that is parsed in place; longer ones are collected first.
const IN_PLACE_BYTES_MAX: usize = 256;

/// More NULs than any sequence has bytes.
const NULS_FED: usize = 8 * 1024;

/// The state of a log's terminal between two chunks: the rows that can still change, the style, and
/// an incomplete sequence or character.
///
/// Its size is bounded, whatever the log contains: the last [`SCREEN_ROWS`](super::SCREEN_ROWS)
/// rows, of which only the open one may be long, a character or sequence of at most 4 KiB, the
/// names of open groups, and a cursor. It is a few KiB for common logs, and at most 2 MiB.
pub struct Terminal {
    at: u64,
    screen: Screen,
    partial: Partial,
    sequence: Option<Sequence>,
    /// Where the sequence began.
    began: u64,
    /// It gets complete sequences only, so it is in its initial state between calls.
    parser: vte::Parser,
}

impl Clone for Terminal {
    fn clone(&self) -> Self {
        Self {
            at: self.at,
            screen: self.screen.clone(),
            partial: self.partial,
            sequence: self.sequence.clone(),
            began: self.began,
            parser: vte::Parser::new(),
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("at", &self.at)
            .field("screen", &self.screen)
            .field("partial", &self.partial)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A terminal in its initial state. Its first byte will have this offset.
    pub fn new(at: u64) -> Self {
        Self {
            at,
            screen: Screen::new(at),
            partial: Partial::default(),
            sequence: None,
            began: at,
            parser: vte::Parser::new(),
        }
    }

    /// The offset of the next byte to feed.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Feeds the bytes that begin at [`at`](Self::at) and returns how they changed the rows.
    ///
    /// It takes any bytes, in time linear in their number and in the length of the rows that they
    /// change.
    pub fn feed(&mut self, bytes: &[u8]) -> Patch<'_> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let used = if self.sequence.is_some() {
                self.follow(rest)
            } else if !self.partial.is_empty() {
                self.join(rest)
            } else if let Some(until) = self.screen.page.alternate() {
                self.skip(rest, until)
            } else {
                self.ground(rest)
            };
            self.at += offset(used);
            rest = rest.get(used..).unwrap_or_default();
        }
        self.screen.patch(self.at)
    }

    /// A patch with all rows that can still change.
    pub fn screen(&mut self) -> Patch<'_> {
        self.screen.touch(0);
        self.screen.patch(self.at)
    }

    /// The memory that it uses, in bytes.
    pub fn weight(&self) -> usize {
        let lines: usize = self.screen.lines.iter().map(Line::weight).sum();
        let sequence = self.sequence.as_ref().map_or(0, |sequence| sequence.bytes().len());
        size_of::<Self>() + lines + sequence + self.screen.groups.weight()
    }

    /// Whether the next text begins a new last row and is shown unchanged.
    pub fn is_at_rest(&self) -> bool {
        self.sequence.is_none() && self.partial.is_empty() && self.screen.is_at_rest()
    }

    /// Skips NULs up to this offset. NULs show nothing, but many of them end any sequence.
    pub fn pass_nuls(&mut self, to: u64) {
        let fed = usize::try_from(to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        drop(self.feed(&[0; NULS_FED][..fed.min(NULS_FED)]));
        self.at = self.at.max(to);
    }

    /// Skips lines of plain text up to this offset. The terminal must be at rest. The result is the
    /// same as with [`feed`](Self::feed) if at least [`SCREEN_ROWS`](super::SCREEN_ROWS) lines
    /// follow before the next sequence.
    pub fn pass(&mut self, to: u64) {
        debug_assert!(self.is_at_rest() && self.at <= to);
        self.at = to;
        self.screen.begin_at(to);
    }

    /// Processes lines of text up to a control character, or that character. Returns the number of
    /// bytes.
    fn ground(&mut self, bytes: &[u8]) -> usize {
        match bytes.first() {
            Some(0x1b) => self.escape(bytes),
            Some(b'\r') => {
                self.screen.carriage_return();
                1
            }
            Some(0) => bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len()),
            _ => match text::text_len(bytes) {
                0 => self.control(bytes),
                len => self.text(bytes, len),
            },
        }
    }

    /// Processes one of the less common control characters.
    fn control(&mut self, bytes: &[u8]) -> usize {
        if let Some(&byte) = bytes.first() {
            self.screen.locate(self.at, self.at + 1);
            vte::Perform::execute(&mut self.screen, byte);
        }
        1
    }

    /// Shows the first `len` bytes, without an incomplete character at the end.
    fn text(&mut self, bytes: &[u8], len: usize) -> usize {
        let mut rest = bytes.get(..len).unwrap_or_default();
        let mut at = self.at;
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.show(text, at);
                    return len;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.show(std::str::from_utf8(valid).unwrap_or_default(), at);
                    at += offset(valid.len());
                    let wrong = match error.error_len() {
                        Some(wrong) => wrong,
                        None if len == bytes.len() => {
                            self.partial = Partial::new(after);
                            return len;
                        }
                        None => after.len(),
                    };
                    self.screen.print("\u{fffd}", at);
                    at += offset(wrong);
                    rest = after.get(wrong..).unwrap_or_default();
                }
            }
        }
    }

    fn show(&mut self, text: &str, at: u64) {
        text::shown(text, |i, part| self.screen.print_lines(part, at + offset(i)));
    }

    /// Completes a character whose first bytes were in the previous chunk.
    fn join(&mut self, bytes: &[u8]) -> usize {
        let began = self.at - offset(self.partial.len());
        let (ch, used) = self.partial.join(bytes);
        if let Some(ch) = ch {
            self.show(ch.encode_utf8(&mut [0; 4]), began);
        }
        used
    }

    /// Skips the output of a full-screen program.
    fn skip(&mut self, bytes: &[u8], until: u64) -> usize {
        let limit = usize::try_from(until.saturating_sub(self.at)).unwrap_or(usize::MAX);
        if limit == 0 {
            self.screen.leave_alternate();
            return 0;
        }
        match memchr::memchr(0x1b, bytes) {
            Some(0) => self.escape(bytes),
            escape => escape.unwrap_or(bytes.len()).min(limit),
        }
    }

    /// Begins a sequence. A short and complete one is processed at once.
    fn escape(&mut self, bytes: &[u8]) -> usize {
        if bytes.get(1) == Some(&b'[') {
            let body = bytes.get(2..bytes.len().min(IN_PLACE_BYTES_MAX)).unwrap_or_default();
            if let Some(end) = body.iter().position(|byte| !(0x20..=0x3f).contains(byte))
                && let Some(0x40..=0x7e) = body.get(end)
            {
                let len = end + 3;
                // Colours are by far the most common sequences, and `vte` is slower than this.
                let params = body.get(..end).unwrap_or_default();
                if body.get(end) == Some(&b'm') && self.screen.pen.style.sgr_text(params) {
                    return len;
                }
                self.screen.locate(self.at, self.at + offset(len));
                self.parser.advance(&mut self.screen, bytes.get(..len).unwrap_or_default());
                return len;
            }
        }
        self.sequence = Some(Sequence::new());
        self.began = self.at;
        1
    }

    /// Continues a sequence.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let Some(sequence) = &mut self.sequence else { return 0 };
        for (i, &byte) in bytes.iter().enumerate() {
            let end = self.at + offset(i) + 1;
            match sequence.push(byte) {
                Step::More => continue,
                Step::Escape => {
                    self.screen.locate(self.began, end);
                    self.parser.advance(&mut self.screen, sequence.bytes());
                }
                Step::String(kind) => self.screen.string(kind, sequence.command()),
                Step::Nothing => {}
                Step::Aborted => {
                    self.sequence = None;
                    return i;
                }
                Step::Restarted(kind) => {
                    // An ESC without a backslash also ends the string, and begins another sequence.
                    self.screen.string(kind, sequence.command());
                    self.sequence = Some(Sequence::new());
                    self.began = self.at + offset(i) - 1;
                    return i;
                }
            }
            self.sequence = None;
            return i + 1;
        }
        bytes.len()
    }
}

fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
