//! What a viewer is given, in order: where it starts, bytes, and all that happens between them.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Chunk, Generation, LogPath, Offset};

/// Where a stream starts.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The log.
    pub log: LogPath,
    /// The generation of the first bytes.
    pub generation: Generation,
    /// The first byte's offset.
    pub from: Offset,
    /// The file's size now, in bytes.
    pub size: u64,
    /// When the file was last written, if that can be told.
    pub modified: Option<SystemTime>,
    /// Whether the stream follows.
    pub tail: bool,
    /// Whether a wanted position was honoured.
    pub recovered: bool,
    /// Whether the log is polled for want of events.
    pub polling: bool,
}

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
