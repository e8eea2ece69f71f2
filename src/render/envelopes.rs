//! A log in the envelopes of a container runtime: where the lines of a program's two streams begin,
//! end and go on.
//!
//! A partial envelope leaves its line open, and the cursor in it. If another line comes first, the
//! cursor leaves the line for a row below, and comes back for the rest of it. So each stream has
//! its own lines, as the program wrote them, and a line is one row, named by its first envelope.

use crate::encoding::envelope::{Envelope, JOIN_LINES_MAX, Piece, Stream, Unwrapper};
use crate::encoding::{Decoder, Encoding, Text};

use super::Terminal;
use super::charset::Charsets;
use super::console_note::ConsoleNote;
use super::input::Input;
use super::line::Line;
use super::line_start::LineStart;
use super::screen::Screen;
use super::sequence::Sequence;
use super::terminal::offset;
use super::text::Partial;
use super::written::Written;

/// The envelopes of a log, and the lines that are open in them.
#[derive(Clone, Debug)]
pub(super) struct Enveloped {
    unwrapper: Unwrapper,
    lines: OpenLines,
}

#[derive(Clone, Debug)]
struct OpenLines {
    /// Of texts that Docker has not made UTF-8.
    encoding: Encoding,
    /// The stream of the present envelope, or of the last one.
    stream: Stream,
    /// The number of the last line of the log, counted from where reading began.
    line: u64,
    /// The cursor is at the end of a line that goes on in the next envelope of the stream.
    is_open: bool,
    /// The last line is no envelope, and has no newline yet.
    in_bare: bool,
    /// What the lines of each stream that the cursor left ended with.
    left: [Option<Unfinished>; 2],
    /// The bytes of incomplete characters: of each stream, and of a line in no envelope.
    undecoded: [Vec<u8>; 3],
}

/// A character or sequence that a line ended with and that goes on with it.
#[derive(Clone, Debug)]
struct Unfinished {
    partial: Partial,
    sequence: Option<Sequence>,
    began: u64,
    escape_at: u64,
    note: Option<ConsoleNote>,
    written: Option<Written>,
}

/// Where the cursor left a line that goes on.
#[derive(Clone, Debug)]
pub(super) struct LeftLine {
    stream: Stream,
    /// The number of its last line of the log.
    line: u64,
    row: usize,
    /// The name of the row: another one may have taken its place.
    offset: u64,
    column: usize,
    charsets: Charsets,
    in_status: bool,
}

impl LeftLine {
    /// The first rows were forgotten. None if this line was among them.
    pub(super) fn scroll(self, rows: usize) -> Option<Self> {
        Some(Self { row: self.row.checked_sub(rows)?, ..self })
    }
}

impl Enveloped {
    pub(super) fn new(encoding: Encoding, at: u64) -> Self {
        let lines = OpenLines {
            encoding,
            stream: Stream::Stdout,
            line: 0,
            is_open: false,
            in_bare: false,
            left: [None, None],
            undecoded: <[Vec<u8>; 3]>::default(),
        };
        Self { unwrapper: Unwrapper::new(at), lines }
    }

    pub(super) fn pending(&self) -> usize {
        self.unwrapper.pending()
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.unwrapper.weight()
    }

    /// Whether the next byte is the first of a line that continues no other one.
    pub(super) fn is_at_rest(&self) -> bool {
        let OpenLines { is_open, in_bare, undecoded, .. } = &self.lines;
        let is_between = undecoded.iter().all(Vec::is_empty);
        self.unwrapper.is_at_line() && !is_open && !in_bare && is_between
    }

    pub(super) fn skip_to(&mut self, at: u64) {
        self.unwrapper.skip_to(at);
    }
}

impl Terminal {
    pub(super) fn open_envelopes(&mut self, bytes: &[u8]) {
        let Input::Enveloped(mut enveloped) = std::mem::replace(&mut self.input, Input::Utf8)
        else {
            return;
        };
        let end = self.at + offset(bytes.len());
        let Enveloped { unwrapper, lines } = &mut *enveloped;
        unwrapper.take(bytes, &mut |piece| self.show_piece(lines, piece));
        self.at = end;
        self.input = Input::Enveloped(enveloped);
    }

    fn show_piece(&mut self, lines: &mut OpenLines, piece: Piece<'_>) {
        match piece {
            Piece::Bare(text) => {
                let is_nuls = text.bytes().iter().all(|byte| *byte == 0);
                if !is_nuls && !std::mem::replace(&mut lines.in_bare, true) {
                    lines.line += 1;
                    self.leave_line(lines, text.offset());
                    self.forget_lines(lines);
                    self.screen.begin_bare(text.offset());
                }
                lines.in_bare &= !text.bytes().ends_with(b"\n");
                self.show_encoded(lines, 2, text);
            }
            Piece::Begin(at, envelope) => self.begin_envelope(lines, at, envelope),
            Piece::Bytes(text) => self.show_encoded(lines, lines.stream as usize, text),
            Piece::Text(text) => self.show_text(text),
            Piece::End { newline, is_partial } => {
                lines.is_open = is_partial;
                if !is_partial {
                    self.show_encoded(lines, lines.stream as usize, Text::at(newline, b"\n"));
                }
            }
        }
    }

    fn begin_envelope(&mut self, lines: &mut OpenLines, at: u64, envelope: Envelope) {
        lines.line += 1;
        let stream = envelope.stream;
        if !lines.is_open || lines.stream != stream {
            self.leave_line(lines, at);
            if !self.return_to_line(lines, stream) {
                self.screen.begin_line(at, envelope);
            }
            self.forget_lines(lines);
        }
        (lines.stream, lines.is_open) = (stream, false);
    }

    /// Leaves a line that goes on, for one that begins at this offset.
    fn leave_line(&mut self, lines: &mut OpenLines, next: u64) {
        if !std::mem::take(&mut lines.is_open) {
            return;
        }
        lines.left[lines.stream as usize] = Some(Unfinished {
            partial: std::mem::take(&mut self.partial),
            sequence: self.sequence.take(),
            began: self.began,
            escape_at: self.escape_at,
            note: self.note.take(),
            written: self.written.as_mut().map(std::mem::take),
        });
        self.screen.leave_line(lines.stream, lines.line - 1, next);
    }

    /// Goes back to the end of a line that goes on, if there is one of the stream.
    fn return_to_line(&mut self, lines: &mut OpenLines, stream: Stream) -> bool {
        let unfinished = lines.left[stream as usize].take();
        if !self.screen.return_to_line(stream, lines.line) {
            lines.undecoded[stream as usize].clear();
            return false;
        }
        if let Some(unfinished) = unfinished {
            let Unfinished { partial, sequence, began, escape_at, note, written } = unfinished;
            (self.partial, self.sequence, self.note) = (partial, sequence, note);
            (self.began, self.escape_at) = (began, escape_at);
            self.written = written;
        }
        true
    }

    /// Forgets lines that the next one cannot continue.
    fn forget_lines(&mut self, lines: &mut OpenLines) {
        if self.screen.left_lines.is_empty() {
            return;
        }
        for stream in self.screen.forget_lines(lines.line + 1) {
            lines.left[stream as usize] = None;
            lines.undecoded[stream as usize].clear();
        }
    }

    /// Shows text in the encoding of the log. `kept` says where incomplete characters are kept.
    fn show_encoded(&mut self, lines: &mut OpenLines, kept: usize, text: Text<'_>) {
        if lines.encoding == Encoding::UTF_8 {
            return self.show_text(text);
        }
        let before = std::mem::take(&mut lines.undecoded[kept]);
        let start = text.offset().saturating_sub(offset(before.len()));
        let bytes = [&before, text.bytes()].concat();
        let mut decoder = Decoder::new(lines.encoding, start);
        let decoded = decoder.decode(&bytes);
        self.show_text(decoded.text());
        lines.undecoded[kept] = bytes[bytes.len() - decoder.pending()..].to_vec();
    }
}

impl Screen {
    /// A program's line begins here, in an envelope.
    fn begin_line(&mut self, at: u64, envelope: Envelope) {
        self.name_last_line(at);
        if self.page.is_hidden() || !self.annotates {
            return;
        }
        let note = self.current().row().note.get_or_insert_default();
        note.time = Some(envelope.time);
        note.stream = Some(envelope.stream).filter(|stream| *stream == Stream::Stderr);
        self.touch(self.row);
    }

    /// A line begins here that is in no envelope.
    fn begin_bare(&mut self, at: u64) {
        self.name_last_line(at);
        let line = self.current();
        if line.is_empty() {
            line.row().note = None;
        }
    }

    /// An empty last row may have been made for a line that went to another row.
    fn name_last_line(&mut self, at: u64) {
        let is_last = self.row + 1 == self.lines.len();
        let line = self.current();
        if is_last && line.is_empty() && !line.continues && line.offset() < at {
            line.row().offset = at;
        }
    }

    /// Leaves a line of the stream that goes on, whose last line of the log had this number, for one
    /// that begins at `next`.
    fn leave_line(&mut self, stream: Stream, line: u64, next: u64) {
        if self.page.alternate().is_some() {
            return;
        }
        self.finish_text();
        let in_status = self.page.in_status();
        let (row, column, charsets) = (self.row, self.column_number(), self.charsets);
        let offset = self.lines[row].offset();
        self.left_lines.push(LeftLine { stream, line, row, offset, column, charsets, in_status });
        self.page.set_in_status(false);
        self.charsets = Charsets::default();
        self.locate(next, next);
        self.go_below(false);
        self.set_column(0);
        self.line_start = LineStart::Fresh;
    }

    /// Goes back to a line of the stream that goes on in this line of the log.
    fn return_to_line(&mut self, stream: Stream, line: u64) -> bool {
        let Some(nth) = self.left_lines.iter().position(|left| left.stream == stream) else {
            return false;
        };
        let left = self.left_lines.remove(nth);
        let is_near = line - left.line <= JOIN_LINES_MAX;
        let is_there = self.lines.get(left.row).is_some_and(|row| row.offset() == left.offset);
        let is_hidden = self.page.alternate().is_some();
        if !is_near || !is_there || is_hidden || left.row < self.top {
            self.release(left.row);
            return false;
        }
        self.touch(left.row);
        (self.row, self.charsets) = (left.row, left.charsets);
        let end = self.lines[left.row].columns();
        self.column = Some(left.column).filter(|column| *column != end);
        self.page.set_in_status(left.in_status);
        self.line_start = LineStart::Past;
        self.is_above = self.row + 1 < self.lines.len();
        true
    }

    /// Forgets the lines that this line of the log cannot continue. Returns their streams.
    fn forget_lines(&mut self, line: u64) -> Vec<Stream> {
        let is_far = |left: &mut LeftLine| line - left.line > JOIN_LINES_MAX;
        let far: Vec<LeftLine> = self.left_lines.extract_if(.., is_far).collect();
        far.iter().for_each(|left| self.release(left.row));
        far.iter().map(|left| left.stream).collect()
    }

    /// A line that was left does not go on. A heavy row was kept for its continuation only.
    fn release(&mut self, row: usize) {
        if row < self.row && self.lines.get_mut(row).is_some_and(Line::is_heavy) {
            self.top = self.top.max(row + 1);
        }
    }

    /// Goes from a line to the row for the next one: below all others where the line went on above
    /// them. `is_final` says that the line does not go on.
    pub(super) fn go_below(&mut self, is_final: bool) {
        if is_final {
            self.leave(1);
        }
        let last = self.lines.len() - 1;
        if std::mem::take(&mut self.is_above) && self.row < last {
            self.row = last;
            if self.lines[last].is_empty() && !self.lines[last].continues {
                return;
            }
        }
        if self.row + 1 < self.lines.len() || self.push_line() {
            self.row += 1;
        }
    }
}
