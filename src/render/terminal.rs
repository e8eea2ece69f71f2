//! Bytes in, patches out: text, control characters and sequences are separated here.

use std::fmt;

use super::Patch;
use super::ascent::{Covered, Step as AscentStep};
use super::console_note::ConsoleNote;
use super::line::Line;
use super::returns::Returns;
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
/// an unfinished sequence or character.
///
/// Its size has a bound whatever the log contains: the last [`SCREEN_ROWS`](super::SCREEN_ROWS)
/// rows, of which only the open one may be long, a character or sequence of at most 4 KiB, the
/// names of open groups, and a cursor. For common logs that is a few KiB, and never more than 2
/// MiB.
pub struct Terminal {
    at: u64,
    screen: Screen,
    partial: Partial,
    sequence: Option<Sequence>,
    /// Where the sequence began.
    began: u64,
    note: Option<ConsoleNote>,
    /// Nothing is carried out: the rows show what was written.
    written: Option<Written>,
    /// It gets whole sequences only, so it is in its ground state between calls and holds nothing
    /// of the log.
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
            .field("screen", &self.screen)
            .field("partial", &self.partial)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Terminal {
    /// A terminal in its default state, whose first byte will have this offset; rows begin there.
    pub fn new(at: u64) -> Self {
        Self {
            at,
            screen: Screen::new(at),
            partial: Partial::default(),
            sequence: None,
            began: at,
            note: None,
            written: None,
            parser: vte::Parser::new(),
        }
    }

    /// A terminal whose rows are of this rendition. One for what was [written](Rendition::Written)
    /// carries nothing out, and annotates no rows.
    pub fn of(rendition: Rendition, at: u64) -> Self {
        let mut terminal = Self::new(at);
        if rendition == Rendition::Written {
            terminal.written = Some(Written::default());
            terminal.screen.annotates = false;
        }
        terminal
    }

    /// A terminal like [`new`](Self::new) for programs that know this size of the screen. Without
    /// it, the size shows in what they do.
    pub fn with_size(size: Size, at: u64) -> Self {
        let mut terminal = Self::new(at);
        terminal.screen.size = ScreenSize::known(size);
        terminal
    }

    /// What its rows show.
    pub fn rendition(&self) -> Rendition {
        if self.written.is_some() { Rendition::Written } else { Rendition::Shown }
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
            } else if self.written.is_some() {
                self.literal(rest)
            } else if self.note.is_some() {
                self.console_note(rest)
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

    /// All the rows that can still change, as if they had just been written.
    pub fn screen(&mut self) -> Patch<'_> {
        self.screen.touch(0);
        self.screen.patch(self.at)
    }

    /// The memory that it takes, in bytes.
    pub fn weight(&self) -> usize {
        let lines: usize = self.screen.lines.iter().map(Line::weight).sum();
        let sequence = self.sequence.as_ref().map_or(0, |sequence| sequence.bytes().len());
        let returns = self.screen.returns.as_ref().map_or(0, Returns::weight);
        let ascent = self.screen.ascent.as_ref().map_or(0, |ascent| ascent.weight());
        let covered = self.screen.covered.as_ref().map_or(0, Covered::weight);
        let kept = returns
            + ascent
            + covered
            + self.screen.line_start.weight()
            + self.screen.groups.weight();
        size_of::<Self>() + lines + sequence + kept
    }

    /// Whether the next text begins a new last row and is shown unchanged.
    pub fn is_at_rest(&self) -> bool {
        let is_between = self.note.is_none() && self.written.is_none_or(Written::is_at_rest);
        is_between && self.sequence.is_none() && self.partial.is_empty() && self.screen.is_at_rest()
    }

    /// Skips NULs up to this offset. They show nothing, and so many of them end every sequence.
    pub fn pass_nuls(&mut self, to: u64) {
        let fed = usize::try_from(to.saturating_sub(self.at)).unwrap_or(usize::MAX);
        drop(self.feed(&[0; NULS_FED][..fed.min(NULS_FED)]));
        self.at = self.at.max(to);
    }

    /// Skips bytes up to this offset: lines of plain text, while the terminal is at rest. If they
    /// are not among the last [`SCREEN_ROWS`](super::SCREEN_ROWS) lines before the next sequence,
    /// the result is the same as if they had been fed.
    pub fn pass(&mut self, to: u64) {
        debug_assert!(self.is_at_rest() && self.at <= to);
        self.at = to;
        self.screen.begin_at(to);
    }

    /// Takes lines of text up to a control character, or that character. Returns how many bytes it
    /// took.
    fn ground(&mut self, bytes: &[u8]) -> usize {
        match bytes.first() {
            Some(0x1b) => self.escape(bytes),
            Some(b'\r') => {
                self.screen.step(AscentStep::Return);
                1
            }
            Some(0) => bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len()),
            _ => match text::text_len(bytes) {
                0 => self.control(bytes),
                len => self.text(bytes, len),
            },
        }
    }

    /// Takes text up to a control character, or some of those, and shows them as they are.
    fn literal(&mut self, bytes: &[u8]) -> usize {
        let Some(written) = &mut self.written else { return 0 };
        match written.take(bytes, self.at, &mut self.screen) {
            0 => self.text(bytes, text::text_len(bytes)),
            controls => controls,
        }
    }

    /// Skips what may be a note of Jenkins.
    fn console_note(&mut self, bytes: &[u8]) -> usize {
        let Some(mut note) = self.note.take() else { return 0 };
        let (taken, goes_on) = note.take(bytes);
        if goes_on {
            self.note = Some(note);
            if taken == 0 {
                return self.ground(bytes);
            }
        } else {
            let text = note.mistaken();
            self.screen.print(text, self.at + offset(taken) - offset(text.len()));
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

    /// Carries out one of the less common control characters.
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
        let rendition = self.rendition();
        text::shown(text, rendition, |i, part| self.screen.print_lines(part, at + offset(i)));
    }

    /// Completes a character whose first bytes came with the chunk before.
    fn join(&mut self, bytes: &[u8]) -> usize {
        let began = self.at - offset(self.partial.len());
        let (ch, used) = self.partial.join(bytes);
        if let Some(ch) = ch {
            self.show(ch.encode_utf8(&mut [0; 4]), began);
        }
        used
    }

    /// Skips the drawing of a full-screen program.
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

    /// Begins a sequence; one that is short and whole is carried out at once.
    fn escape(&mut self, bytes: &[u8]) -> usize {
        if bytes.get(1) == Some(&b'[') {
            let body = bytes.get(2..bytes.len().min(IN_PLACE_BYTES_MAX)).unwrap_or_default();
            if let Some(end) = body.iter().position(|byte| !(0x20..=0x3f).contains(byte))
                && let Some(0x40..=0x7e) = body.get(end)
            {
                let len = end + 3;
                // Colours are by far the most common, and cost more to parse than to apply.
                let params = body.get(..end).unwrap_or_default();
                let is_colour = body.get(end) == Some(&b'm');
                if is_colour && (params == b"8" || self.note.is_some()) && self.is_of_note(params) {
                    return len;
                }
                if is_colour && self.screen.pen.style.sgr_text(params) {
                    return len;
                }
                self.note = self.note.filter(|_| is_colour);
                self.screen.locate(self.at, self.at + offset(len));
                self.parser.advance(&mut self.screen, bytes.get(..len).unwrap_or_default());
                return len;
            }
        }
        self.sequence = Some(Sequence::new());
        self.began = self.at;
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

    /// Goes on with a sequence that was begun.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let Some(sequence) = &mut self.sequence else { return 0 };
        for (i, &byte) in bytes.iter().enumerate() {
            let end = self.at + offset(i) + 1;
            match sequence.push(byte) {
                Step::More => continue,
                Step::Escape => {
                    let sequence = self.sequence.take().unwrap_or_else(Sequence::new);
                    self.carry_out(sequence.bytes(), end);
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
                    // An ESC that does not end a string begins another sequence, and ends the
                    // string all the same.
                    self.note = None;
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
