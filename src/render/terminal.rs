//! Bytes in, patches out: text, control characters and sequences are separated here.

use std::fmt;

use crate::encoding::{Decoder, Detection, Encoding, Place, Text};

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
    input: Input,
    screen: Screen,
    partial: Partial,
    sequence: Option<Sequence>,
    /// Where the sequence began.
    began: u64,
    /// Where the last ESC in a sequence lies.
    escape_at: u64,
    /// It gets complete sequences only, so it is in its initial state between calls.
    parser: vte::Parser,
}

/// What the bytes of the log are.
#[derive(Clone, Debug)]
enum Input {
    /// The first bytes of the log are still to come. Contains the first one if it has come.
    Detecting(Option<u8>),
    /// UTF-8, which needs no decoding.
    Utf8,
    /// In another encoding.
    Encoded(Box<Decoder>),
}

impl Clone for Terminal {
    fn clone(&self) -> Self {
        Self {
            at: self.at,
            input: self.input.clone(),
            screen: self.screen.clone(),
            partial: self.partial,
            sequence: self.sequence.clone(),
            began: self.began,
            escape_at: self.escape_at,
            parser: vte::Parser::new(),
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("at", &self.at)
            .field("input", &self.input)
            .field("screen", &self.screen)
            .field("partial", &self.partial)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A terminal in its initial state. Its first byte will have this offset. The bytes are UTF-8.
    pub fn new(at: u64) -> Self {
        Self {
            at,
            input: Input::Utf8,
            screen: Screen::new(at),
            partial: Partial::default(),
            sequence: None,
            began: at,
            escape_at: at,
            parser: vte::Parser::new(),
        }
    }

    /// The same for a log of this encoding. While that is not detected, the first bytes of the log
    /// say what it is.
    pub fn with_encoding(at: u64, detection: Detection) -> Self {
        let mut terminal = Self::new(at);
        terminal.input = match detection {
            Detection::Done(encoding) => Input::new(encoding, at),
            Detection::Open(_) if at == 0 => Input::Detecting(None),
            Detection::Open(first) if at == 1 && first.is_some() => Input::Detecting(first),
            Detection::Open(_) => Input::Utf8,
        };
        terminal
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
        self.show_bytes(bytes);
        self.screen.patch(self.at)
    }

    /// Feeds text that was decoded elsewhere, from [`undecoded`](Self::undecoded) on.
    pub fn feed_text(&mut self, text: Text<'_>) -> Patch<'_> {
        self.show_text(text);
        self.screen.patch(self.at)
    }

    /// From now on the terminal is fed text. Returns the offset of the first byte that it has not
    /// decoded, and forgets what it holds of an incomplete character.
    pub fn undecoded(&mut self) -> u64 {
        let pending = match &self.input {
            Input::Utf8 => 0,
            Input::Detecting(first) => usize::from(first.is_some()),
            Input::Encoded(decoder) => decoder.pending(),
        };
        self.input = Input::Utf8;
        self.at = self.at.saturating_sub(offset(pending));
        self.at
    }

    fn show_bytes(&mut self, bytes: &[u8]) {
        match self.input {
            Input::Utf8 => self.show_text(Text::at(self.at, bytes)),
            Input::Detecting(first) => self.detect(first, bytes),
            Input::Encoded(_) => self.decode(bytes),
        }
    }

    /// Reads the first bytes of a log, of which `first` came before.
    fn detect(&mut self, first: Option<u8>, bytes: &[u8]) {
        let head: Vec<u8> = first.iter().chain(bytes).take(2).copied().collect();
        match Detection::of_head(&head) {
            Detection::Open(first) => {
                self.input = Input::Detecting(first);
                self.at += offset(bytes.len());
            }
            Detection::Done(encoding) => {
                let held = usize::from(first.is_some());
                self.at -= offset(held);
                self.input = Input::new(encoding, self.at);
                self.show_bytes(head.get(..held).unwrap_or_default());
                self.show_bytes(bytes);
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let Input::Encoded(decoder) = &mut self.input else { return };
        let end = self.at + offset(bytes.len());
        let decoded = decoder.decode(bytes);
        self.show_text(decoded.text());
        self.at = end;
    }

    fn show_text(&mut self, text: Text<'_>) {
        let mut rest = text;
        while !rest.is_empty() {
            self.at = rest.offset();
            let used = if self.sequence.is_some() {
                self.follow(rest)
            } else if !self.partial.is_empty() {
                self.join(rest)
            } else if let Some(until) = self.screen.page.alternate() {
                self.skip(rest, until)
            } else {
                self.ground(rest)
            };
            rest = rest.skip(used);
        }
        self.at = rest.offset();
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

    /// Whether the next text begins a new last row at its own offset and is shown unchanged.
    pub fn is_at_rest(&self) -> bool {
        let is_between_characters = match &self.input {
            Input::Utf8 => self.partial.is_empty(),
            Input::Detecting(first) => first.is_none(),
            Input::Encoded(decoder) => decoder.pending() == 0,
        };
        is_between_characters && self.sequence.is_none() && self.screen.is_at_rest(self.at)
    }

    /// Skips NULs up to this offset. NULs show nothing, but many of them end any sequence.
    pub fn pass_nuls(&mut self, to: u64) {
        let fed = usize::try_from(to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        drop(self.feed(&[0; NULS_FED][..fed.min(NULS_FED)]));
        self.at = self.at.max(to);
        if let Input::Encoded(decoder) = &mut self.input {
            decoder.skip_to(self.at);
        }
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
    fn ground(&mut self, text: Text<'_>) -> usize {
        let bytes = text.bytes();
        match bytes.first() {
            Some(0x1b) => self.escape(text),
            Some(b'\r') => {
                self.screen.carriage_return();
                1
            }
            Some(0) => bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len()),
            _ => match text::text_len(bytes) {
                0 => self.control(text),
                len => self.text(text, len),
            },
        }
    }

    /// Processes one of the less common control characters.
    fn control(&mut self, text: Text<'_>) -> usize {
        if let Some(&byte) = text.bytes().first() {
            self.screen.locate(text.offset(), text.place().plus(1).offset());
            vte::Perform::execute(&mut self.screen, byte);
        }
        1
    }

    /// Shows the first `len` bytes, without an incomplete character at the end.
    fn text(&mut self, text: Text<'_>, len: usize) -> usize {
        let (mut rest, mut at) = (text.slice(0..len).bytes(), text.place());
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.show(text, at);
                    return len;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.show(std::str::from_utf8(valid).unwrap_or_default(), at);
                    at = at.plus(valid.len());
                    let wrong = match error.error_len() {
                        Some(wrong) => wrong,
                        None if len == text.bytes().len() => {
                            self.partial = Partial::new(after);
                            return len;
                        }
                        None => after.len(),
                    };
                    self.screen.print("\u{fffd}", at);
                    at = at.plus(wrong);
                    rest = after.get(wrong..).unwrap_or_default();
                }
            }
        }
    }

    fn show(&mut self, text: &str, at: Place<'_>) {
        text::shown(text, |i, part| self.screen.print_lines(part, at.plus(i)));
    }

    /// Completes a character whose first bytes were in the previous chunk.
    fn join(&mut self, text: Text<'_>) -> usize {
        let began = Place::at(text.offset() - offset(self.partial.len()));
        let (ch, used) = self.partial.join(text.bytes());
        if let Some(ch) = ch {
            self.show(ch.encode_utf8(&mut [0; 4]), began);
        }
        used
    }

    /// Skips the output of a full-screen program.
    fn skip(&mut self, text: Text<'_>, until: u64) -> usize {
        let limit = text.index(until);
        if limit == 0 {
            self.screen.leave_alternate();
            return 0;
        }
        match memchr::memchr(0x1b, text.bytes()) {
            Some(0) => self.escape(text),
            escape => escape.unwrap_or(text.bytes().len()).min(limit),
        }
    }

    /// Begins a sequence. A short and complete one is processed at once.
    fn escape(&mut self, text: Text<'_>) -> usize {
        let bytes = text.bytes();
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
                self.screen.locate(text.offset(), text.place().plus(len).offset());
                self.parser.advance(&mut self.screen, bytes.get(..len).unwrap_or_default());
                return len;
            }
        }
        self.sequence = Some(Sequence::new());
        self.began = text.offset();
        1
    }

    /// Continues a sequence.
    fn follow(&mut self, text: Text<'_>) -> usize {
        let Some(sequence) = &mut self.sequence else { return 0 };
        for (i, &byte) in text.bytes().iter().enumerate() {
            match sequence.push(byte) {
                Step::More => {
                    if byte == 0x1b {
                        self.escape_at = text.place().plus(i).offset();
                    }
                    continue;
                }
                Step::Escape => {
                    self.screen.locate(self.began, text.place().plus(i + 1).offset());
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
                    self.began = self.escape_at;
                    return i;
                }
            }
            self.sequence = None;
            return i + 1;
        }
        text.bytes().len()
    }
}

impl Input {
    fn new(encoding: Encoding, at: u64) -> Self {
        if encoding == Encoding::UTF_8 {
            Self::Utf8
        } else {
            Self::Encoded(Box::new(Decoder::new(encoding, at)))
        }
    }
}

fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
