//! A terminal and what it has shown so far, in one form.

use std::sync::Arc;

use crate::log::Offset;
use crate::render::{Appender, Patch, Row, escape};
use crate::session::checkpoints::{Checkpoint, Checkpoints};
use crate::wire::frame::{Form, Frame, Frames, MESSAGE_BYTES_MAX};
use crate::wire::rows::RowsMessages;

/// A terminal is fed in pieces of this size, so that a log which makes much out of little is stopped in time.
const PIECE_BYTES: usize = 8 * 1024;
/// So much room is made for what a step puts out, before it is known how much that is.
const ROOM_BYTES_MAX: usize = 192 * 1024;
/// What a row weighs besides its content: its offset, and the signs around the two.
const ROW_OVERHEAD_BYTES: usize = 24;

/// Renders the bytes of one span in order, and leaves copies of its terminal behind.
#[derive(Clone, Debug)]
pub struct Renderer {
    span: u64,
    state: Checkpoint,
    appender: Appender,
    states: Arc<Checkpoints>,
    /// Where the next copy is left.
    due: Offset,
}

impl Renderer {
    /// Goes on where a terminal stands, whose rows have been seen already.
    #[must_use]
    pub fn new(span: u64, state: Checkpoint, form: Form, states: &Arc<Checkpoints>) -> Self {
        let mut painter = Self {
            span,
            due: state.at(),
            state,
            appender: Appender::new(),
            states: Arc::clone(states),
        };
        let seen = painter.state.terminal.screen();
        match form {
            Form::Html => drop(painter.appender.html(&seen)),
            Form::Text => drop(painter.appender.text(&seen)),
            Form::Rows | Form::TextRows | Form::Raw | Form::RawMessages => {}
        }
        drop(seen);
        painter.leave_copy();
        painter
    }

    /// Whether the bytes from there come next.
    #[must_use]
    pub fn is_at(&self, span: u64, at: Offset) -> bool {
        self.span == span && self.state.at() == at
    }

    /// Whether it stands where another does.
    #[must_use]
    pub fn is_where(&self, other: &Self) -> bool {
        self.is_at(other.span, other.state.at())
    }

    /// From where on it has seen everything.
    #[must_use]
    pub fn origin(&self) -> Offset {
        self.state.origin
    }

    /// Takes the terminal of one that stands at the same place, if that has seen more. What was sent remains sent.
    pub fn learn(&mut self, other: Self) {
        if other.state.origin < self.state.origin {
            self.state = other.state;
        }
    }

    fn leave_copy(&mut self) {
        let at = self.state.at();
        if at >= self.due {
            self.due = self.states.due_after(at);
            self.states.keep(self.span, &self.state);
        }
    }

    /// Renders bytes until all are, or the messages weigh `enough`. Says how many were taken.
    pub fn paint(&mut self, bytes: &[u8], form: Form, enough: usize) -> (Frames, usize) {
        let mut canvas = Canvas::new(form, self.state.at().0, bytes.len().min(ROOM_BYTES_MAX));
        let mut taken = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            if canvas.weight >= enough {
                break;
            }
            let patch = self.state.terminal.feed(piece);
            taken += piece.len();
            match form {
                Form::Html => canvas.append(&self.appender.html(&patch)),
                Form::Text => canvas.append(&self.appender.text(&patch)),
                Form::Rows | Form::TextRows => canvas.redraw(&patch),
                Form::Raw | Form::RawMessages => {}
            }
            drop(patch);
            self.leave_copy();
        }
        (canvas.into_frames(self.state.at().0), taken)
    }

    /// What was held back, since it was being rewritten, and now is not going to change any more.
    pub fn finish(&mut self, form: Form) -> Frames {
        match form {
            Form::Html => messages(&self.appender.finish_html()),
            Form::Text => messages(&self.appender.finish_text()),
            Form::Rows | Form::TextRows | Form::Raw | Form::RawMessages => Frames::new(),
        }
    }

    /// Goes on at another place after what was held back.
    pub fn turn(&mut self, span: u64, state: Checkpoint, form: Form) -> Frames {
        (self.span, self.due, self.state) = (span, state.at(), state);
        self.leave_copy();
        self.finish(form)
    }
}

/// What one step of painting has put out.
struct Canvas {
    form: Form,
    /// What only grows; or the row that is being made.
    text: String,
    rows: RowsMessages,
    weight: usize,
}

impl Canvas {
    fn new(form: Form, from: u64, room: usize) -> Self {
        let has_rows = matches!(form, Form::Rows | Form::TextRows);
        let rows = RowsMessages::new(from, if has_rows { room + room / 2 } else { 0 });
        Self { form, text: String::new(), rows, weight: 0 }
    }

    fn append(&mut self, text: &str) {
        self.text.push_str(text);
        self.weight = self.text.len();
    }

    fn redraw(&mut self, patch: &Patch<'_>) {
        self.rows.replace_from(patch.from);
        for row in patch.rows() {
            self.text.clear();
            self.weight += write_content(row, self.form, &mut self.text) + ROW_OVERHEAD_BYTES;
            self.rows.push(row.offset, &self.text, row.note());
        }
    }

    fn into_frames(self, next: u64) -> Frames {
        match self.form {
            Form::Rows | Form::TextRows => self.rows.finish(next),
            Form::Html | Form::Text | Form::Raw | Form::RawMessages => messages(&self.text),
        }
    }
}

/// Writes a row as it is sent in a form that has rows, and says how many bytes it took to make it.
pub fn write_content(row: &Row, form: Form, content: &mut String) -> usize {
    let start = content.len();
    match form {
        Form::TextRows => content.push_str(row.text()),
        _ => row.write_html(content),
    }
    let weight = content.len() - start;
    if weight > RowsMessages::ROW_BYTES_MAX {
        // So many styles that they weigh more than a message may: the text is what matters.
        content.truncate(start);
        escape(row.text(), content);
    }
    weight
}

/// Cuts text into messages, at line ends where there are any.
fn messages(mut text: &str) -> Frames {
    let mut frames = Frames::new();
    while text.len() > MESSAGE_BYTES_MAX {
        let (message, rest) = text.split_at(cut(text));
        frames.push(Frame::text(message));
        text = rest;
    }
    if !text.is_empty() {
        frames.push(Frame::text(text));
    }
    frames
}

/// Where a text that is too long for a message is cut: after a newline, or else outside of any tag or entity.
fn cut(text: &str) -> usize {
    let at = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    let head = text.as_bytes().get(..at).unwrap_or_default();
    if let Some(newline) = memchr::memrchr(b'\n', head) {
        return newline + 1;
    }
    let unclosed = |open, close| {
        let open = memchr::memrchr(open, head)?;
        (memchr::memrchr(close, head) < Some(open)).then_some(open)
    };
    let whole = unclosed(b'<', b'>').into_iter().chain(unclosed(b'&', b';')).min().unwrap_or(at);
    if whole == 0 { at } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(form: Form) -> Renderer {
        Renderer::new(1, Checkpoint::new(Offset(0)), form, &Arc::default())
    }

    #[test]
    fn a_long_text_is_cut_between_lines_or_outside_of_markup() {
        let lines = "line &amp; <b>x</b>\n".repeat(30_000);
        let one_line = "<span style='color:#123456'>&quot;</span>".repeat(20_000);
        let entities = "&quot;".repeat(60_000);
        for text in [lines, one_line, entities] {
            let frames = messages(&text);
            let parts: Vec<String> = frames
                .iter()
                .map(|frame| String::from_utf8(frame.payload().to_vec()).unwrap())
                .collect();
            assert_eq!(parts.concat(), text);
            for part in &parts {
                assert!(part.len() <= MESSAGE_BYTES_MAX);
                assert_eq!(part.matches('<').count(), part.matches('>').count(), "a tag is cut");
                assert_eq!(
                    part.matches('&').count(),
                    part.matches(';').count(),
                    "an entity is cut"
                );
            }
        }
    }

    #[test]
    fn what_grows_in_rendering_comes_in_steps() {
        let log = "a\x1b[500Gb\n".repeat(20_000);
        for form in [Form::Html, Form::Text, Form::Rows, Form::TextRows] {
            let mut whole = new(form);
            let mut steps = new(form);
            whole.paint(log.as_bytes(), form, usize::MAX);
            let mut rest = log.as_bytes();
            let mut count = 0;
            while !rest.is_empty() {
                let (frames, taken) = steps.paint(rest, form, 64 * 1024);
                let weight: usize = frames.iter().map(|frame| frame.payload().len()).sum();
                assert!(weight < 1024 * 1024, "{form:?}: a step of {weight} bytes");
                rest = &rest[taken..];
                count += 1;
            }
            assert!(count > 10, "{form:?}: {count} steps");
            assert!(
                steps.is_at(1, Offset(log.len() as u64))
                    && whole.is_at(1, Offset(log.len() as u64))
            );
        }
    }

    #[test]
    fn rows_without_content_have_their_weight() {
        let enough = 64 * 1024;
        let (frames, taken) = new(Form::Rows).paint(&[b'\n'; 60_000], Form::Rows, enough);
        let weight: usize = frames.iter().map(|frame| frame.payload().len()).sum();
        assert!(weight < 2 * enough, "{weight} bytes from {taken} newlines");
    }
}
