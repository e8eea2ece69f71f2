//! What may go wrong with the broker.

use std::fmt::{self, Display, Formatter};

use async_nats::jetstream::{Error, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind};

use crate::broker::names::STREAM;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The broker refuses this login.
    Login(String),
    /// There is no safe connection.
    Tls(String),
    /// The credentials are none.
    Credentials(String),
    /// Nothing answers there now.
    Away(String),
}

impl Display for ConnectFailure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(why) | Self::Tls(why) | Self::Credentials(why) | Self::Away(why) => {
                f.write_str(why)
            }
        }
    }
}

impl std::error::Error for ConnectFailure {}

/// Why there is no stream.
#[derive(Debug)]
pub enum StreamFailure {
    /// There is none of that name.
    Missing,
    /// The broker keeps no streams.
    Off,
    /// The broker says why.
    Refused(String),
    /// It does not answer now.
    Away(String),
}

impl Display for StreamFailure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the broker has no stream `{STREAM}`"),
            Self::Off => f.write_str("JetStream is off at the broker"),
            Self::Refused(why) => write!(f, "the broker refuses the stream `{STREAM}`: {why}"),
            Self::Away(why) => write!(f, "the broker does not answer: {why}"),
        }
    }
}

impl std::error::Error for StreamFailure {}

/// Why it is not known that a message was stored.
#[derive(Debug)]
pub enum PublishFailure {
    /// It may have been stored or not: look at the last message of the subject.
    Doubt(String),
    /// Another message was stored meanwhile.
    Overtaken,
    /// It is larger than the broker takes.
    TooLarge,
    /// The broker says why: its disk or the stream is full, or there is no such stream.
    Refused(String),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskFailure {
    /// Nobody listens there.
    Nobody,
    /// None came in time, or the connection was lost.
    Silence,
}

/// Why a consumer gives nothing more: make another one.
#[derive(Debug)]
pub struct Ended(pub String);

pub(super) fn connect_failure(error: &ConnectError) -> ConnectFailure {
    let why = causes(error);
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            ConnectFailure::Login(why)
        }
        ConnectErrorKind::Tls => ConnectFailure::Tls(why),
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => ConnectFailure::Away(why),
    }
}

pub(super) fn stream_failure(error: &Error) -> StreamFailure {
    match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => StreamFailure::Missing,
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            StreamFailure::Off
        }
        _ => StreamFailure::Refused(error.to_string()),
    }
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
