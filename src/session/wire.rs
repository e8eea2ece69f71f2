//! The control messages of `tailcast.v1`, and nothing else that is serialised.

use std::time::UNIX_EPOCH;

use serde::Serialize;

use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Generation, Offset, Refusal};
use crate::session::frame::{Frame, Frames, MESSAGE_BYTES_MAX};
use crate::session::viewer::Opening;

/// The name of the WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "tailcast.v1";

/// One control message: a JSON object whose kind is in its field `type`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// Where this stream starts.
    Open {
        /// The log's absolute path as it is listed: what does not show or would mislead is escaped.
        path: String,
        /// The generation of the first bytes.
        generation: String,
        /// The offset of the first byte.
        from: u64,
        /// The size of the file at this moment, in bytes.
        size: u64,
        /// When the file was last written, in milliseconds since 1970; null when that is not known.
        modified: Option<u64>,
        /// Whether the stream follows.
        tail: bool,
        /// Whether a wanted position was honoured; true where none was wanted.
        recovered: bool,
        /// `events`, or `poll` where the file system gives none.
        watch: &'static str,
    },
    /// Bytes that were left out.
    Gap {
        /// Whose they were.
        generation: String,
        /// The first that is missing.
        from: u64,
        /// The first that is not; null when that is not known.
        to: Option<u64>,
    },
    /// What follows belongs to this generation, from that offset.
    Reset {
        /// The generation.
        generation: String,
        /// The offset.
        from: u64,
        /// `rotated`, `truncated`, `replaced`, `late` or `back`.
        reason: &'static str,
    },
    /// There is nothing to follow at the moment.
    Waiting {
        /// `missing`, `untailable` or `unreadable`.
        reason: &'static str,
    },
    /// The stream has come to its end.
    End,
    /// The request is refused.
    Error {
        /// The close code that follows: 4403, 4404 or 1013.
        code: u16,
        /// For a person.
        message: String,
    },
}

impl Message {
    pub(super) fn open(opening: &Opening) -> Self {
        Self::Open {
            path: opening.log.display().to_string(),
            generation: opening.generation.to_string(),
            from: opening.from.0,
            size: opening.size,
            modified: opening
                .modified
                .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
                .map(|since| since.as_millis() as u64),
            tail: opening.tail,
            recovered: opening.recovered,
            watch: if opening.polling { "poll" } else { "events" },
        }
    }

    pub(super) fn reset(generation: Generation, from: Offset, reason: Reason) -> Self {
        let reason = match reason {
            Reason::Rotated => "rotated",
            Reason::Truncated => "truncated",
            Reason::Replaced | Reason::Joined => "replaced",
            Reason::Late => "late",
            Reason::Back => "back",
        };
        Self::Reset { generation: generation.to_string(), from: from.0, reason }
    }

    pub(super) fn gap(generation: Generation, from: Offset, to: Option<Offset>) -> Self {
        Self::Gap { generation: generation.to_string(), from: from.0, to: to.map(|to| to.0) }
    }

    pub(super) fn waiting(reason: WaitReason) -> Self {
        let reason = match reason {
            WaitReason::Missing => "missing",
            WaitReason::Untailable => "untailable",
            WaitReason::Unreadable => "unreadable",
        };
        Self::Waiting { reason }
    }

    /// What a refused viewer is told before the close with the same code.
    #[must_use]
    pub fn refusal(refusal: Refusal) -> (u16, Self) {
        let (code, message) = match refusal {
            Refusal::Forbidden | Refusal::Unreadable => (4403, "Forbidden"),
            Refusal::NotFound | Refusal::Untailable => (4404, "Not found"),
            Refusal::Exhausted => (1013, "Out of descriptors"),
        };
        (code, Self::Error { code, message: message.to_owned() })
    }

    /// The message as it is sent.
    #[must_use]
    pub fn to_json(&self) -> String {
        // These fields have no form that JSON lacks.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Rows as messages: one, or several where one would be too large.
#[derive(Debug)]
pub struct RowsMessages {
    frames: Frames,
    from: u64,
    rows: String,
}

impl RowsMessages {
    /// Room for the fields around the rows.
    const ROWS_BYTES_MAX: usize = MESSAGE_BYTES_MAX - 256;
    /// The most bytes of a row's content: its text is a fraction of it, and only that has what JSON doubles.
    pub const ROW_BYTES_MAX: usize = Self::ROWS_BYTES_MAX - crate::render::ROW_BYTES_MAX - 32;

    /// Messages that replace the rows from `from` on.
    #[must_use]
    pub fn new(from: u64) -> Self {
        Self { frames: Frames::new(), from, rows: String::new() }
    }

    /// Adds a row, of at most [`ROW_BYTES_MAX`](Self::ROW_BYTES_MAX) bytes.
    pub fn push(&mut self, offset: u64, content: &str) {
        debug_assert!(content.len() <= Self::ROW_BYTES_MAX, "a row of {} bytes", content.len());
        let row = serde_json::to_string(&(offset, content)).unwrap_or_default();
        if !self.rows.is_empty() && self.rows.len() + 1 + row.len() > Self::ROWS_BYTES_MAX {
            self.flush(offset);
            self.from = offset;
        }
        if !self.rows.is_empty() {
            self.rows.push(',');
        }
        self.rows.push_str(&row);
    }

    fn flush(&mut self, next: u64) {
        let (from, rows) = (self.from, std::mem::take(&mut self.rows));
        self.frames.push(Frame::text(&format!(
            r#"{{"type":"rows","from":{from},"next":{next},"rows":[{rows}]}}"#
        )));
    }

    /// The messages; the last resumes at `next`.
    #[must_use]
    pub fn finish(mut self, next: u64) -> Frames {
        self.flush(next);
        self.frames
    }
}
