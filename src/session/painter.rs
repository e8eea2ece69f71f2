//! A terminal and what it has shown so far, in one form.

use bytes::Bytes;

use crate::log::Offset;
use crate::render::{Appender, Patch, Terminal};
use crate::session::frame::{Form, Frame, Frames, MESSAGE_BYTES_MAX};
use crate::session::wire::RowsMessages;

/// Renders the bytes of one span in order.
#[derive(Clone, Debug)]
pub struct Painter {
    span: u64,
    terminal: Terminal,
    appender: Appender,
}

impl Painter {
    /// A fresh terminal at this place.
    #[must_use]
    pub fn new(span: u64, at: Offset) -> Self {
        Self { span, terminal: Terminal::new(at.0), appender: Appender::new() }
    }

    /// A terminal at `at` that has shown already what stands before it in its row.
    #[must_use]
    pub fn primed(span: u64, at: Offset, before: Option<Bytes>, form: Form) -> Self {
        let before = before.unwrap_or_default();
        let mut painter = Self::new(span, Offset(at.0 - before.len() as u64));
        if !before.is_empty() {
            painter.paint(&before, form);
        }
        painter
    }

    /// Whether the bytes from there come next.
    #[must_use]
    pub fn is_at(&self, span: u64, at: Offset) -> bool {
        self.span == span && self.terminal.at() == at.0
    }

    /// Renders the next bytes.
    pub fn paint(&mut self, bytes: &[u8], form: Form) -> Frames {
        let patch = self.terminal.feed(bytes);
        match form {
            Form::Html => pieces(&self.appender.html(&patch)),
            Form::Text => pieces(&self.appender.text(&patch)),
            Form::Rows => rows(&patch, |row, out| row.write_html(out)),
            Form::TextRows => rows(&patch, |row, out| out.push_str(row.text())),
            Form::Raw | Form::RawMessages => Frames::new(),
        }
    }

    /// What was held back, since it was being rewritten, and now is not going to change any more.
    pub fn finish(&mut self, form: Form) -> Frames {
        match form {
            Form::Html => pieces(&self.appender.finish_html()),
            Form::Text => pieces(&self.appender.finish_text()),
            Form::Rows | Form::TextRows | Form::Raw | Form::RawMessages => Frames::new(),
        }
    }
}

fn rows(patch: &Patch, write: impl Fn(&crate::render::Row, &mut String)) -> Frames {
    let mut messages = RowsMessages::new(patch.from);
    let mut content = String::new();
    for row in &patch.rows {
        content.clear();
        write(row, &mut content);
        if !messages.push(row.offset, &content) {
            // So many styles that they weigh more than a message may: the text is what matters.
            content.clear();
            crate::render::escape(row.text(), &mut content);
            let _fits = messages.push(row.offset, &content);
        }
    }
    messages.finish(patch.next)
}

/// Cuts text into messages at line ends, so that no span of a row is cut.
fn pieces(text: &str) -> Frames {
    let mut frames = Frames::new();
    let mut rest = text;
    while rest.len() > MESSAGE_BYTES_MAX {
        let head = rest.as_bytes().get(..MESSAGE_BYTES_MAX).unwrap_or_default();
        let at = memchr::memrchr(b'\n', head)
            .map_or_else(|| rest.floor_char_boundary(MESSAGE_BYTES_MAX), |at| at + 1);
        let (piece, after) = rest.split_at(at);
        frames.push(Frame::text(piece));
        rest = after;
    }
    if !rest.is_empty() {
        frames.push(Frame::text(rest));
    }
    frames
}
