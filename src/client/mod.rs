//! Follows a log on a server, or a file of this machine.
//!
//! [`Follow`] speaks `tailcast.v1`. It keeps its position, reconnects when the connection is lost,
//! and continues at the next byte. [`Local`] follows a file in this process. Both return
//! [`FollowEvent`]s. Within a generation each byte arrives once and in order; a
//! [`FollowEvent::Gap`] or a [`FollowEvent::Reset`] announces every discontinuity.
//!
//! ```no_run
//! use tailcast::client::{FollowRequest, StartAt, Follow, Format, FollowEvent};
//!
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let url = "http://127.0.0.1:8765/var/log/app.log".parse()?;
//! let ask = FollowRequest { begin: StartAt::Lines(10), ..FollowRequest::default() };
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
mod credentials;
mod follow;
mod health;
mod local;
mod resume;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod url;

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use bytes::Bytes;

use crate::encoding::Encoding;
use crate::log::Refusal;
use crate::time::{Moment, Zone};
pub use crate::wire::message::{Reason, WaitReason};

pub use credentials::Credentials;
pub use follow::Follow;
pub use health::{ServerUrl, health};
pub use local::Local;
#[cfg(feature = "tls")]
pub use tls::{Trust, Untrusted};
pub use url::{BadUrl, LogUrl};

/// What to follow, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowRequest {
    /// Where to start.
    pub begin: StartAt,
    /// The old files of the log stand before it: the start may be in one of them.
    pub history: bool,
    /// From the first line on that is not before this time.
    pub since: Option<Moment>,
    /// Up to the first line that is not before this time.
    pub until: Option<Moment>,
    /// The zone of times that say none, in a file of this machine. A server has its own.
    pub zone: Zone,
    /// The form of the log's content.
    pub format: Format,
    /// Keep following instead of ending at the present end of the log.
    pub tail: bool,
    /// Wait for a log that does not exist at the start. A log that disappears later is always
    /// waited for.
    pub wait: bool,
    /// The encoding of the log. Without one, the first bytes of the log say it.
    pub encoding: Option<Encoding>,
}

/// The last 10 lines as bytes, and then what is appended.
impl Default for FollowRequest {
    fn default() -> Self {
        Self {
            begin: StartAt::Lines(10),
            history: false,
            since: None,
            until: None,
            zone: Zone::UTC,
            format: Format::Raw,
            tail: true,
            wait: false,
            encoding: None,
        }
    }
}

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// This many lines before the end.
    Lines(u64),
    /// At the first byte.
    All,
    /// At a position from an earlier stream. If it is not found, at the first byte, after a reset.
    From(Position),
}

/// The form of the log's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Raw bytes, as [`FollowEvent::Bytes`].
    Raw,
    /// Rows as a terminal would show them, without colours, as [`FollowEvent::Rows`].
    Text,
}

/// A byte of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Identifies the file behind the path. Opaque.
    pub generation: String,
    /// The offset in bytes.
    pub offset: u64,
}

/// An event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowEvent {
    /// The stream starts here. Sent again after each reconnect.
    Opened {
        /// The generation of the first bytes.
        generation: String,
        /// The offset of the first byte.
        from: u64,
        /// The size of the file at this moment, in bytes.
        size: u64,
        /// Whether the requested position was found. If not, a reset follows.
        recovered: bool,
        /// The name of the log's encoding; `None` for UTF-8, and while it is not known.
        encoding: Option<String>,
        /// Whether a container runtime wrote the lines.
        container: bool,
    },
    /// Bytes of the log, at least one.
    Bytes {
        /// The offset of the first byte.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// Drop the rows of this generation from offset `from` on, then append these.
    Rows {
        /// The first row that changed.
        from: u64,
        /// The offset of the byte that began each row, and its text.
        rows: Vec<(u64, String)>,
    },
    /// The stream continues in this generation, at this offset.
    Reset {
        /// The generation.
        generation: String,
        /// The offset of the next byte.
        from: u64,
        /// What happened.
        reason: Reason,
        /// The name of the encoding; `None` for UTF-8, and while it is not known.
        encoding: Option<String>,
        /// Whether a container runtime wrote the lines.
        container: bool,
    },
    /// Bytes of this generation are left out.
    Gap {
        /// The generation.
        generation: String,
        /// The first missing byte.
        from: u64,
        /// The first byte that is not missing, if known.
        to: Option<u64>,
    },
    /// The file of what follows is compressed, and could not be unpacked to its end.
    Notice {
        /// What is wrong, as a sentence for people.
        message: String,
    },
    /// There is nothing to follow at the moment.
    Waiting {
        /// Why.
        reason: WaitReason,
    },
    /// Everything that was requested has arrived. Later calls return it again.
    End,
    /// The connection is lost or could not be made. The client connects again, and the stream
    /// continues where it was.
    Lost {
        /// What happened.
        why: Disconnect,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
}

/// Why there is no connection at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disconnect {
    /// The server could not be reached. Contains the reason in words.
    Unreachable(String),
    /// The server has no room for more viewers, or is not ready.
    Full,
    /// The server is shutting down.
    GoingAway,
    /// The server closed the connection because the client read too slowly.
    TooSlow,
    /// The server was silent for too long.
    Silent,
    /// The connection broke. Contains the reason in words.
    Broken(String),
}

impl Display for Disconnect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(words) | Self::Broken(words) => f.write_str(words),
            Self::Full => f.write_str("the server takes no more viewers at the moment"),
            Self::GoingAway => f.write_str("the server is shutting down"),
            Self::TooSlow => f.write_str("this client read too slowly"),
            Self::Silent => f.write_str("the server was silent for 40 s"),
        }
    }
}

/// Why the log cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The path is outside the served directories.
    Forbidden,
    /// The log does not exist.
    NotFound,
    /// The path is not a regular file.
    Untailable,
    /// The file cannot be read.
    Unreadable,
    /// The server answered with this HTTP status and message.
    Status(u16, String),
    /// The server's certificate is not trusted.
    #[cfg(feature = "tls")]
    Certificate(Untrusted),
    /// The URL is one with TLS, and the server speaks none there.
    #[cfg(feature = "tls")]
    NotTls,
    /// The server does not speak `tailcast.v1`.
    Foreign(String),
    /// The server closed the connection with this code and message.
    Closed(u16, String),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden => Self::Forbidden,
            Refusal::NotFound => Self::NotFound,
            Refusal::Untailable => Self::Untailable,
            Refusal::Unreadable | Refusal::Exhausted | Refusal::Unreachable => Self::Unreadable,
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => f.write_str("forbidden"),
            Self::NotFound => f.write_str("not found"),
            Self::Untailable => f.write_str("not a regular file"),
            Self::Unreadable => f.write_str("the file cannot be read"),
            Self::Status(status, words) if words.is_empty() => write!(f, "HTTP status {status}"),
            Self::Status(status, words) => write!(f, "HTTP status {status}: {words}"),
            #[cfg(feature = "tls")]
            Self::Certificate(untrusted) => untrusted.fmt(f),
            #[cfg(feature = "tls")]
            Self::NotTls => f.write_str("the server speaks no TLS there"),
            Self::Foreign(words) => write!(f, "not a tailcast server: {words}"),
            Self::Closed(code, words) if words.is_empty() => write!(f, "closed with code {code}"),
            Self::Closed(code, words) => write!(f, "closed with code {code}: {words}"),
        }
    }
}

impl std::error::Error for Refused {}
