//! Bytes in, patches out: text, control characters and sequences are separated here.

use std::fmt;

use crate::encoding::{Place, Text};

use super::Patch;
use super::ascent::{Covered, Step as AscentStep};
use super::console_note::ConsoleNote;
use super::input::Input;
use super::line::Line;
use super::screen::Screen;
use super::sequence::{Sequence, Step};
use super::size::{ScreenSize, Size};
use super::text::{self, Partial};
use super::written::{Rendition, Written};

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
    pub(super) at: u64,
    pub(super) input: Input,
    pub(super) screen: Screen,
    pub(super) partial: Partial,
    pub(super) sequence: Option<Sequence>,
    /// Where the sequence began.
    pub(super) began: u64,
    /// Where the last ESC in a sequence lies.
    pub(super) escape_at: u64,
    pub(super) note: Option<ConsoleNote>,
    /// Nothing is carried out: the rows show what was written.
    pub(super) written: Option<Written>,
    /// It gets complete sequences only, so it is in its initial state between calls.
    parser: vte::Parser,
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
            note: self.note,
            written: self.written,
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
            note: None,
            written: None,
            parser: vte::Parser::new(),
        }
    }

    /// A terminal for UTF-8 whose rows are of this rendition. One for what was
    /// [written](Rendition::Written) carries nothing out, and annotates no rows.
    pub fn of(rendition: Rendition, at: u64) -> Self {
        Self::new(at).into_rendition(rendition)
    }

    /// An empty terminal at the same offset, for the same bytes, whose rows are of this rendition.
    /// A terminal of this rendition stays as it is.
    pub fn into_rendition(self, rendition: Rendition) -> Self {
        if self.rendition() == rendition {
            return self;
        }
        let mut terminal = Self { input: self.input, ..Self::new(self.at) };
        if rendition == Rendition::Written {
            terminal.written = Some(Written::default());
            terminal.screen.annotates = false;
        }
        terminal
    }

    /// A terminal like [`new`](Self::new) for programs that know this size of the screen. Without
    /// it, the size shows in what they do.
    pub fn with_size(size: Size, at: u64) -> Self {
        Self::new(at).on_screen(Some(size))
    }

    /// The same terminal for programs that know this size of the screen, if one is known.
    pub fn on_screen(mut self, size: Option<Size>) -> Self {
        self.screen.size = size.map_or(self.screen.size, ScreenSize::known);
        self
    }

    /// What its rows show.
    pub fn rendition(&self) -> Rendition {
        if self.written.is_some() { Rendition::Written } else { Rendition::Shown }
    }

    /// Forgets all that was shown, and begins with the first byte of the log.
    pub(super) fn begin_again(&mut self) {
        let new = Self::of(self.rendition(), 0).on_screen(None);
        let size = std::mem::take(&mut self.screen.size);
        *self = new;
        self.screen.size = size;
        self.screen.touch(0);
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

    /// Feeds text that was decoded elsewhere, from [`undecoded`](Self::undecoded) on. A terminal of
    /// which that was not asked takes it as the bytes of the log.
    pub fn feed_text(&mut self, text: Text<'_>) -> Patch<'_> {
        match self.input {
            Input::Utf8 => self.show_text(text),
            _ => self.show_bytes(text.bytes()),
        }
        self.screen.patch(self.at)
    }

    pub(super) fn show_text(&mut self, text: Text<'_>) {
        let mut rest = text;
        if self.screen.undivided.is_some() && !rest.is_empty() {
            self.screen.hide_returns();
        }
        while !rest.is_empty() {
            self.at = rest.offset();
            let used = if self.sequence.is_some() {
                self.follow(rest)
            } else if !self.partial.is_empty() {
                self.join(rest)
            } else if self.written.is_some() {
                self.literal(rest)
            } else if self.note.is_some() {
                self.console_note(rest)
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
        let undivided = self.screen.undivided.as_ref().map_or(0, |undivided| undivided.weight());
        let returns =
            self.screen.returns.as_ref().map_or(0, |returns| returns.weight()) + undivided;
        let ascent = self.screen.ascent.as_ref().map_or(0, |ascent| ascent.weight());
        let covered = self.screen.covered.as_ref().map_or(0, Covered::weight);
        let starts = self.screen.line_start.weight() + self.screen.groups.weight();
        let states = returns + ascent + covered + starts;
        size_of::<Self>() + self.input.weight() + lines + sequence + states
    }

    /// Whether the next text begins a new last row at its own offset and is shown unchanged.
    pub fn is_at_rest(&self) -> bool {
        let is_between_characters = self.partial.is_empty() && self.input.is_at_rest();
        let is_between = self.note.is_none() && self.written.is_none_or(Written::is_at_rest);
        let is_at_rest = self.sequence.is_none() && self.screen.is_at_rest(self.at);
        is_between_characters && is_between && is_at_rest
    }

    /// Skips NULs up to this offset. NULs show nothing, but many of them end any sequence.
    pub fn pass_nuls(&mut self, to: u64) {
        let fed = usize::try_from(to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        drop(self.feed(&[0; NULS_FED][..fed.min(NULS_FED)]));
        self.at = self.at.max(to);
        self.input.skip_to(self.at);
    }

    /// Skips lines of plain text up to this offset. The terminal must be at rest. The result is the
    /// same as with [`feed`](Self::feed) if at least [`SCREEN_ROWS`](super::SCREEN_ROWS) lines
    /// follow before the next sequence.
    pub fn pass(&mut self, to: u64) {
        debug_assert!(self.is_at_rest() && self.at <= to);
        self.at = to;
        self.input.skip_to(to);
        self.screen.begin_at(to);
    }

    /// Processes lines of text up to a control character, or that character. Returns the number of
    /// bytes.
    fn ground(&mut self, text: Text<'_>) -> usize {
        let bytes = text.bytes();
        match bytes.first() {
            Some(0x1b) => self.escape(text),
            Some(b'\r') => {
                if self.screen.ascent.is_some() {
                    self.screen.step(AscentStep::Return);
                } else {
                    self.screen.carriage_return();
                }
                1
            }
            Some(0) => bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len()),
            _ => match text::text_len(bytes) {
                0 => self.control(text),
                len => self.text(text, len),
            },
        }
    }

    /// Takes text up to a control character, or some of those, and shows them as they are.
    fn literal(&mut self, text: Text<'_>) -> usize {
        let Some(written) = &mut self.written else { return 0 };
        match written.take(text, &mut self.screen) {
            0 => self.text(text, text::text_len(text.bytes())),
            controls => controls,
        }
    }

    /// Skips what may be a note of Jenkins.
    fn console_note(&mut self, text: Text<'_>) -> usize {
        let Some(mut note) = self.note.take() else { return 0 };
        let (taken, goes_on) = note.take(text.bytes());
        if goes_on {
            self.note = Some(note);
            if taken == 0 {
                return self.ground(text);
            }
        } else {
            let mistaken = note.mistaken();
            let end = text.place().plus(taken).offset();
            self.screen.print(mistaken, Place::at(end.saturating_sub(offset(mistaken.len()))));
        }
        taken
    }

    /// Whether this sequence begins or ends a note of Jenkins. Any other one ends none.
    fn is_of_note(&mut self, params: &[u8]) -> bool {
        let note = self.note.take();
        match (params, note) {
            (b"8", _) => {
                self.note = Some(ConsoleNote::new(self.screen.pen.style));
                false
            }
            (b"0" | b"", Some(note)) => match note.end() {
                Some(style) => {
                    self.screen.pen.style = style;
                    true
                }
                None => false,
            },
            _ => false,
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
        let rendition = self.rendition();
        text::shown(text, rendition, |i, part| self.screen.print_lines(part, at.plus(i)));
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
                let is_colour = body.get(end) == Some(&b'm');
                if is_colour && (params == b"8" || self.note.is_some()) && self.is_of_note(params) {
                    return len;
                }
                if is_colour && self.screen.pen.style.sgr_text(params) {
                    return len;
                }
                self.note = self.note.filter(|_| is_colour);
                self.screen.locate(text.offset(), text.place().plus(len).offset());
                self.parser.advance(&mut self.screen, bytes.get(..len).unwrap_or_default());
                return len;
            }
        }
        self.sequence = Some(Sequence::new());
        self.began = text.offset();
        1
    }

    /// Carries out a sequence that was collected.
    fn carry_out(&mut self, sequence: &[u8], end: u64) {
        let colour = sequence.strip_prefix(b"\x1b[").and_then(|rest| rest.strip_suffix(b"m"));
        if let Some(params) = colour
            && self.is_of_note(params)
        {
            return;
        }
        self.note = self.note.filter(|_| colour.is_some());
        self.screen.locate(self.began, end);
        self.parser.advance(&mut self.screen, sequence);
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
                    let sequence = self.sequence.take().unwrap_or_else(Sequence::new);
                    self.carry_out(sequence.bytes(), text.place().plus(i + 1).offset());
                    return i + 1;
                }
                Step::String(kind) => {
                    self.note = None;
                    self.screen.string(kind, sequence.command());
                }
                Step::Nothing => self.note = None,
                Step::Aborted => {
                    self.note = None;
                    self.sequence = None;
                    return i;
                }
                Step::Restarted(kind) => {
                    self.note = None;
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

pub(super) fn offset(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
