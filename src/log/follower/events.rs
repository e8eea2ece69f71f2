//! What a poll of a log's files finds, in the order in which it is published.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::position::{Generation, Offset};
use crate::log::timeline::{Head, Reason, WaitReason};

/// One thing that a poll found.
#[derive(Debug)]
pub enum FileEvent {
    /// The events after this one belong to this generation, from this offset.
    Began {
        /// The generation.
        generation: Generation,
        /// As much of the file's head as has been read.
        head: Head,
        /// The offset from which it goes on, with the bytes before it.
        before: Fingerprint,
        /// Why it begins here.
        reason: Reason,
        /// The file with its bytes.
        file: Arc<LogFile>,
    },
    /// New bytes of the generation that began last.
    Bytes {
        /// The offset of the first byte.
        start: Offset,
        /// Never empty.
        bytes: Bytes,
        /// When the file was last written to.
        written: SystemTime,
        /// The head of the file, with these bytes too.
        head: Head,
    },
    /// There are more bytes of the generation that began last, up to this offset. Viewers read them
    /// from its file.
    Extended {
        /// The offset after the last of them.
        to: Offset,
        /// The head of the file.
        head: Head,
    },
    /// Another file has the log's name, and begins with all bytes of this generation that were
    /// published. The generation goes on in it.
    WrittenAnew {
        /// The generation.
        generation: Generation,
        /// The file that its bytes are read from.
        file: Arc<LogFile>,
    },
    /// Other files may have had the log's name before what begins next, and can't be given.
    FilesMissing,
    /// The bytes of the present span can't be read any more: the file was truncated.
    Lost,
    /// There is nothing to follow.
    Waiting(WaitReason),
}

/// What one poll found.
#[derive(Debug, Default)]
pub struct Poll {
    /// In the order of publication.
    pub events: Vec<FileEvent>,
    /// There may be more to read: poll again at once.
    pub more: bool,
    /// Another generation began, or goes on in another file.
    pub rotated: bool,
    /// A file was truncated. Many of these in a short time are slowed down.
    pub truncated: bool,
}

/// The file that had the name at a certain moment, and its size at that moment.
#[derive(Clone, Copy, Debug)]
pub struct FileExtent {
    pub(super) identity: Identity,
    pub(super) size: u64,
}
