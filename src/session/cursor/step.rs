//! The inputs and the output of a cursor.

use bytes::Bytes;

use crate::log::timeline::{Reason, Span, WaitReason};
use crate::log::{Generation, Offset};
#[cfg(doc)]
use crate::session::cursor::Cursor;
use crate::session::cursor::place::SpanCursor;

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The viewer has received everything that it requested.
    Complete,
    /// The server shuts down.
    Shutdown,
    /// The machine that has the rest of a stream that does not follow does not answer.
    Unreachable,
}

impl Ending {
    /// Its name for the access log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Shutdown => "shutdown",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a viewer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Announce where the stream starts.
    Open {
        /// The generation of the first byte.
        generation: Generation,
        /// The offset of the first byte.
        from: Offset,
    },
    /// Deliver the bytes of the chunk or of the read without the first `skip`.
    Deliver {
        /// Bytes that the viewer has already.
        skip: usize,
    },
    /// Announce that the stream continues in another generation or at another offset.
    Reset {
        /// The generation of the next byte.
        generation: Generation,
        /// The offset of the next byte.
        from: Offset,
        /// Why.
        reason: Reason,
    },
    /// Announce bytes that are left out.
    Gap {
        /// The generation that the bytes belong to.
        generation: Generation,
        /// The offset of the first missing byte.
        from: Offset,
        /// The offset after the last missing byte. None when unknown.
        to: Option<Offset>,
    },
    /// Announce a longer signature of the present generation.
    Signed(Generation),
    /// Announce that there is nothing to follow.
    Waiting(WaitReason),
    /// Announce that everything so far has been sent.
    CaughtUp,
    /// Nothing follows.
    End(Ending),
    /// Read the file, and call [`Cursor::on_read`].
    Read {
        /// The first byte to read.
        from: Offset,
        /// The end of what is published.
        to: Offset,
    },
    /// Pause, since the last two reads failed.
    Retry,
    /// Read the fingerprint of the present offset again, and call [`Cursor::on_fingerprint`].
    ReadFingerprint,
    /// Go to the end of the span without reading, and call [`Cursor::on_skip`].
    Skip,
    /// Find the start of the stream in the span after this one, and call [`Cursor::open_at`].
    /// Without such a span, call [`Cursor::on_rotation`].
    Seek {
        /// The number of a span.
        after: u64,
    },
    /// Look for the span after this one, and call [`Cursor::on_rotation`].
    Enter {
        /// The number of a span.
        after: u64,
    },
    /// Wait for the next event of the follower.
    Wait,
    /// Ask for the next step.
    Continue,
}

/// What a cursor has to know about its span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanState {
    /// Nothing more will be published in the span.
    pub closed: bool,
    /// The offset after the last published byte.
    pub end: Offset,
    /// The generation with its longest signature.
    pub signed: Generation,
}

impl SpanState {
    /// The present state of a span.
    #[must_use]
    pub fn of(span: &Span) -> Self {
        // In this order: the end of a closed span is final.
        let closed = span.is_closed();
        Self { closed, end: span.end(), signed: span.signed() }
    }
}

/// What follows a span.
#[derive(Debug)]
pub enum NextSpan<H> {
    /// The next span, from this position on.
    Span(SpanCursor<H>, Reason),
    /// Nothing yet.
    Nothing,
    /// The log has no file that can be read.
    Waiting(WaitReason),
    /// The follower has ended.
    Ended,
    /// The log is complete: nothing will be written to it any more.
    Complete,
}

/// The result of a read of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Bytes from the cursor on, never empty.
    Bytes(Bytes),
    /// A long run of NULs up to this offset.
    Hole(Offset),
    /// The file ends at the cursor.
    Short,
    /// The bytes before the cursor, or the beginning of the file, have changed.
    Changed,
    /// The file is not open any more and can't be found.
    Gone,
    /// The read failed.
    Failed,
    /// The file is on another machine, which does not answer.
    Unreachable,
}
