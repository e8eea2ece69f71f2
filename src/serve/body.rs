//! The body of an answer, of whatever kind.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};

/// The body of any answer. An error ends the connection, so that a client never mistakes a partial
/// answer for a whole one.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}
