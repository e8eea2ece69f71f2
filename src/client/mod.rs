//! Following a log from outside of a server, or without one.
//!
//! [`Follow`] speaks `tailcast.v1`: it keeps its position, comes back when the connection is lost, and goes on at the
//! very byte. [`Local`] follows a file in this process. Both tell the same things, as [`FollowEvent`]; within a generation
//! each byte comes once and in order, and where something is missing a [`FollowEvent::Gap`] or a [`FollowEvent::Reset`] says so.
//!
//! ```no_run
//! use tailcast::client::{FollowRequest, StartAt, Follow, Format, FollowEvent};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "http://127.0.0.1:8765/var/log/app.log".parse()?;
//! let ask = FollowRequest { begin: StartAt::Lines(10), format: Format::Raw, tail: true, wait: false };
//! let mut follow = Follow::new(url, ask);
//! loop {
//!     match follow.next().await? {
//!         FollowEvent::Bytes { offset, bytes } => println!("{} bytes at {offset}", bytes.len()),
//!         FollowEvent::Lost { why, retry_in } => println!("{why}; again in {retry_in:?}"),
//!         FollowEvent::End => break,
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod backoff;
pub(crate) mod connection;
mod follow;
mod local;
mod resume;
pub(crate) mod url;

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use bytes::Bytes;

use crate::log::Refusal;
pub use crate::wire::message::{Reason, WaitReason};

pub use follow::Follow;
pub use local::Local;
pub use url::{BadUrl, LogUrl};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowRequest {
    /// Where to begin.
    pub begin: StartAt,
    /// In which form the log comes.
    pub format: Format,
    /// Follow on, rather than end where the log ends now.
    pub tail: bool,
    /// Wait for a log that is not there at the start. One that goes away later is waited for in any case.
    pub wait: bool,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// So many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position of an earlier time. If it can't be found again, at the first byte, after a reset.
    From(Position),
}

/// In which form the log comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [`FollowEvent::Bytes`].
    Raw,
    /// [`FollowEvent::Rows`], as a terminal would show them, without colours.
    Text,
}

/// Which byte of which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names the file behind the path; opaque.
    pub generation: String,
    /// In bytes from its start.
    pub offset: u64,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The stream starts here. It is told again each time the connection is made anew.
    Opened {
        /// The generation of the first bytes.
        generation: String,
        /// The offset of the first byte.
        from: u64,
        /// The size of the file at this moment, in bytes.
        size: u64,
        /// Whether a wanted position was found again; a reset follows if it was not.
        recovered: bool,
    },
    /// Bytes of the log, never none.
    Bytes {
        /// Offset of the first.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Drop the rows of this generation whose offset is `from` or more, then append these.
    Rows {
        /// The first row that changed.
        from: u64,
        /// The offset of the byte that began each, and its text.
        rows: Vec<(u64, String)>,
    },
    /// What follows belongs to this generation, from that offset.
    Reset {
        /// The generation.
        generation: String,
        /// The offset of the next byte.
        from: u64,
        /// What happened.
        reason: Reason,
    },
    /// Bytes of this generation are left out.
    Gap {
        /// Whose.
        generation: String,
        /// The first that is missing.
        from: u64,
        /// The first that is not, if that is known.
        to: Option<u64>,
    },
    /// There is nothing to follow at the moment.
    Waiting {
        /// What is in the way.
        reason: WaitReason,
    },
    /// Everything that was asked for has come. Asked again it is told again.
    End,
    /// The connection is gone, or could not be made. It is made anew, and the stream goes on where it was.
    Lost {
        /// What happened.
        why: Disconnect,
        /// After which pause it is tried again.
        retry_in: Duration,
    },
}

/// Why there is no connection at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// It could not be made, in words.
    Unreachable(String),
    /// The server has as many viewers as it takes, or says that it is not ready.
    Full,
    /// The server said that it is going away.
    GoingAway,
    /// The server closed it, for too little was taken for too long.
    TooSlow,
    /// Nothing came for too long.
    Silent,
    /// It broke, in words.
    Broken(String),
}

impl Display for Disconnect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(words) | Self::Broken(words) => f.write_str(words),
            Self::Full => f.write_str("the server takes no more viewers now"),
            Self::GoingAway => f.write_str("the server is going away"),
            Self::TooSlow => f.write_str("too little was taken for too long"),
            Self::Silent => f.write_str("no sign of life from the server"),
        }
    }
}

/// Why there is no use in asking again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Outside of what may be read.
    Forbidden,
    /// There is no such log.
    NotFound,
    /// Something has the name, but it is no regular file.
    Untailable,
    /// The file can't be read.
    Unreadable,
    /// The request was answered by this HTTP status and these words.
    Status(u16, String),
    /// The other side does not speak `tailcast.v1`.
    Foreign(String),
    /// The server closed the connection with this code and these words.
    Closed(u16, String),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden => Self::Forbidden,
            Refusal::NotFound => Self::NotFound,
            Refusal::Untailable => Self::Untailable,
            Refusal::Unreadable | Refusal::Exhausted => Self::Unreadable,
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("forbidden"),
            Self::NotFound => f.write_str("not found"),
            Self::Untailable => f.write_str("not a regular file"),
            Self::Unreadable => f.write_str("can't be read"),
            Self::Status(status, words) if words.is_empty() => write!(f, "HTTP status {status}"),
            Self::Status(status, words) => write!(f, "HTTP status {status}: {words}"),
            Self::Foreign(words) => write!(f, "no tailcast server: {words}"),
            Self::Closed(code, words) if words.is_empty() => write!(f, "closed with code {code}"),
            Self::Closed(code, words) => write!(f, "closed with code {code}: {words}"),
        }
    }
}

impl std::error::Error for Refused {}
