//! What a viewer is given, in order: where it starts, bytes, and all that happens between them.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Chunk, Generation, Offset};
use crate::wire::message::Opening;

/// Why a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for has been given.
    Complete,
    /// The server is going away.
    Shutdown,
}

/// What comes next in a log.
#[derive(Clone, Debug)]
pub enum Item {
    /// The stream starts here.
    Open(Opening),
    /// Bytes that were read for this viewer.
    Bytes {
        /// Offset of the first.
        start: Offset,
        /// Never empty.
        bytes: Bytes,
    },
    /// Bytes that all viewers share.
    Chunk(Arc<Chunk>),
    /// Bytes left out.
    Gap {
        /// Whose.
        generation: Generation,
        /// The first.
        from: Offset,
        /// The first after them, if it is known.
        to: Option<Offset>,
    },
    /// On with another generation, or at another place.
    Reset {
        /// The generation.
        generation: Generation,
        /// From here.
        from: Offset,
        /// Why.
        reason: Reason,
    },
    /// The generation is signed by more of the file's head than when it was told.
    Signed(Generation),
    /// Nothing to follow for now.
    Waiting(WaitReason),
    /// Everything so far has been given.
    CaughtUp,
    /// Nothing more comes.
    End(Ending),
}
