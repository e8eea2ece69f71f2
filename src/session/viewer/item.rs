//! The items of a viewer, in order: the start of the stream, its bytes, and events between them.

use std::sync::Arc;

use bytes::Bytes;

use crate::encoding::Encoding;
use crate::log::timeline::{Reason, WaitReason};
use crate::log::{Chunk, Generation, Offset};
use crate::session::cursor::Ending;
use crate::wire::message::Opening;

/// One item of a stream.
#[derive(Clone, Debug)]
pub enum Item {
    /// The stream starts here.
    Open(Opening),
    /// Bytes that were read for this viewer.
    Bytes {
        /// The offset of the first byte.
        start: Offset,
        /// The bytes, never empty.
        bytes: Bytes,
    },
    /// A chunk that all viewers share.
    Chunk(Arc<Chunk>),
    /// Bytes that are left out.
    Gap {
        /// The generation that the bytes belong to.
        generation: Generation,
        /// The offset of the first missing byte.
        from: Offset,
        /// The offset after the last missing byte. None when unknown.
        to: Option<Offset>,
    },
    /// The stream continues in another generation or at another offset.
    Reset {
        /// The generation of the next byte.
        generation: Generation,
        /// The offset of the next byte.
        from: Offset,
        /// Why.
        reason: Reason,
        /// The encoding of what follows; none for UTF-8, and while it is not known.
        encoding: Option<Encoding>,
        /// Whether a container runtime wrote the lines of what follows.
        is_container: bool,
    },
    /// The same generation with a longer signature.
    Signed(Generation),
    /// There is nothing to follow at the moment.
    Waiting(WaitReason),
    /// Everything so far has been sent.
    CaughtUp,
    /// Nothing follows.
    End(Ending),
}
