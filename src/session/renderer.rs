//! Renders the bytes of a log to messages of one form, piece by piece.
//!
//! A renderer holds the terminal of the log and the part of its screen that has been sent, so that
//! each piece results only in the changes. It also saves checkpoints of the terminal.

use std::sync::Arc;

use crate::encoding::Detection;
use crate::log::Offset;
use crate::render::{Appender, Patch, Rendition, Row, escape};
use crate::session::checkpoints::{Checkpoint, Checkpoints};
use crate::wire::frame::{Form, Frame, Frames, MESSAGE_BYTES_MAX};
use crate::wire::rows::RowsMessages;

/// The terminal is fed in pieces of this size, so that rendering can stop in time when the output
/// is much larger than the bytes of the log.
const PIECE_BYTES: usize = 8 * 1024;
/// The most bytes that are allocated for the output of a step before its size is known.
const CAPACITY_BYTES_MAX: usize = 192 * 1024;
/// The size of a row besides its content: the offset, and the punctuation around the two.
const ROW_OVERHEAD_BYTES: usize = 24;

/// Renders the bytes of one span in order.
#[derive(Clone, Debug)]
pub struct Renderer {
    span: u64,
    state: Checkpoint,
    appender: Appender,
    checkpoints: Arc<Checkpoints>,
    /// The offset of the next checkpoint.
    checkpoint_at: Offset,
}

impl Renderer {
    /// Continues from a terminal whose rows have been sent already.
    #[must_use]
    pub fn new(span: u64, state: Checkpoint, form: Form, checkpoints: &Arc<Checkpoints>) -> Self {
        let state = state.of(form.rendition());
        let mut renderer = Self {
            span,
            checkpoint_at: state.at(),
            state,
            appender: Appender::new(),
            checkpoints: Arc::clone(checkpoints),
        };
        let sent = renderer.state.terminal.screen();
        match form {
            Form::Html => drop(renderer.appender.html(&sent)),
            Form::Text => drop(renderer.appender.text(&sent)),
            _ => {}
        }
        drop(sent);
        renderer.save_checkpoint();
        renderer
    }

    /// A renderer that can only end or move what another one has sent and held back up to here.
    pub(super) fn ending(
        (span, at): (u64, Offset),
        appender: &Appender,
        checkpoints: &Arc<Checkpoints>,
    ) -> Self {
        let state = Checkpoint::new(at, Detection::default());
        let (appender, checkpoints) = (appender.clone(), Arc::clone(checkpoints));
        Self { span, state, appender, checkpoints, checkpoint_at: at }
    }

    /// Whether the byte at this position comes next.
    #[must_use]
    pub fn is_at(&self, span: u64, at: Offset) -> bool {
        self.span == span && self.state.at() == at
    }

    /// Whether both have rendered up to the same position.
    #[must_use]
    pub fn is_at_position_of(&self, other: &Self) -> bool {
        self.is_at(other.span, other.state.at())
    }

    /// The offset from which on the terminal has seen every byte.
    #[must_use]
    pub fn origin(&self) -> Offset {
        self.state.origin
    }

    /// What was sent and held back so far, in a form that only grows.
    pub(super) fn appender(&self) -> &Appender {
        &self.appender
    }

    /// The same terminal after what another renderer has sent and held back up to here.
    #[must_use]
    pub(super) fn after(self, appender: &Appender) -> Self {
        Self { appender: appender.clone(), ..self }
    }

    /// Takes over the terminal of a renderer at the same position if that terminal has seen more of
    /// the log.
    pub fn merge(&mut self, other: Self) {
        if other.state.origin < self.state.origin {
            self.state = other.state;
        }
    }

    fn save_checkpoint(&mut self) {
        let at = self.state.at();
        // Where it starts with a line, a terminal for what was written needs no state.
        if at >= self.checkpoint_at && self.state.terminal.rendition() == Rendition::Shown {
            self.checkpoint_at = self.checkpoints.next_after(at);
            self.checkpoints.keep(self.span, &self.state);
        }
    }

    /// Renders `bytes` until the messages have `bytes_max` bytes. Returns the messages, and how
    /// many of `bytes` were rendered.
    pub fn render(&mut self, bytes: &[u8], form: Form, bytes_max: usize) -> (Frames, usize) {
        let capacity = bytes.len().min(CAPACITY_BYTES_MAX);
        let mut output = StepOutput::new(form, self.state.at().0, capacity);
        let mut taken = 0;
        for piece in bytes.chunks(PIECE_BYTES) {
            if output.size >= bytes_max {
                break;
            }
            let patch = self.state.terminal.feed(piece);
            taken += piece.len();
            match form {
                Form::Html => output.append(&self.appender.html(&patch)),
                Form::Text => output.append(&self.appender.text(&patch)),
                form if form.has_rows() => output.replace_rows(&patch),
                _ => {}
            }
            drop(patch);
            self.save_checkpoint();
        }
        (output.into_frames(self.state.at().0), taken)
    }

    /// Returns the text that was held back because it could still change. Now it is final.
    pub fn finish(&mut self, form: Form) -> Frames {
        match form {
            Form::Html => messages(&self.appender.finish_html()),
            Form::Text => messages(&self.appender.finish_text()),
            _ => Frames::new(),
        }
    }

    /// Continues at another position. Returns the text that was held back.
    pub fn move_to(&mut self, span: u64, state: Checkpoint, form: Form) -> Frames {
        let state = state.of(form.rendition());
        (self.span, self.checkpoint_at, self.state) = (span, state.at(), state);
        self.save_checkpoint();
        self.finish(form)
    }
}

/// The output of one call of [`Renderer::render`].
struct StepOutput {
    form: Form,
    /// The text of a form that only grows, or the content of the present row.
    text: String,
    rows: RowsMessages,
    size: usize,
}

impl StepOutput {
    fn new(form: Form, from: u64, capacity: usize) -> Self {
        let rows = RowsMessages::new(from, if form.has_rows() { 2 * capacity } else { 0 });
        Self { form, text: String::new(), rows, size: 0 }
    }

    fn append(&mut self, text: &str) {
        self.text.push_str(text);
        self.size = self.text.len();
    }

    fn replace_rows(&mut self, patch: &Patch<'_>) {
        self.rows.replace_from(patch.from);
        for row in patch.rows() {
            self.text.clear();
            self.size += write_content(row, self.form, &mut self.text) + ROW_OVERHEAD_BYTES;
            self.rows.push(row.offset, &self.text, row.note());
        }
    }

    fn into_frames(self, next: u64) -> Frames {
        if self.form.has_rows() { self.rows.finish(next) } else { messages(&self.text) }
    }
}

/// Appends a row's content in a form that has rows. Returns how many bytes were written for it.
/// That includes the styles of a row with too many of them, which is then sent without styles.
pub fn write_content(row: &Row, form: Form, content: &mut String) -> usize {
    let start = content.len();
    if form.is_text() {
        content.push_str(row.text());
    } else {
        row.write_html(content);
    }
    let written = content.len() - start;
    if written > RowsMessages::ROW_BYTES_MAX {
        // The styles alone are larger than a message: send the text without them.
        content.truncate(start);
        escape(row.text(), content);
    }
    written
}

/// Cuts text into messages, at line ends where possible.
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

/// Where to cut a text that is too long for a message: after a newline if possible, or else outside
/// of tags and entities.
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
        let state = Checkpoint::new(Offset(0), Detection::default());
        Renderer::new(1, state, form, &Arc::default())
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
    fn output_much_larger_than_the_log_is_rendered_in_bounded_steps() {
        let log = "a\x1b[500Gb\n".repeat(20_000);
        for form in [Form::Html, Form::Text, Form::Rows, Form::TextRows] {
            let mut whole = new(form);
            let mut steps = new(form);
            whole.render(log.as_bytes(), form, usize::MAX);
            let mut rest = log.as_bytes();
            let mut count = 0;
            while !rest.is_empty() {
                let (frames, taken) = steps.render(rest, form, 64 * 1024);
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
    fn empty_rows_count_towards_the_size_of_a_step() {
        let bytes_max = 64 * 1024;
        let (frames, taken) = new(Form::Rows).render(&[b'\n'; 60_000], Form::Rows, bytes_max);
        let size: usize = frames.iter().map(|frame| frame.payload().len()).sum();
        assert!(size < 2 * bytes_max, "{size} bytes from {taken} newlines");
    }
}
