//! The body of an answer, of whatever kind.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::HeaderValue;

use crate::encoding::Encoding;

/// The body of any answer. An error ends the connection, so that a client never mistakes a partial
/// answer for a whole one.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The `Content-Type` of text. Without a charset, the reader has to find it out.
pub(super) fn text_plain(charset: Option<Encoding>) -> HeaderValue {
    let named = |charset: Encoding| {
        let named = format!("text/plain; charset={}", charset.name().to_lowercase());
        HeaderValue::from_str(&named).ok()
    };
    charset.and_then(named).unwrap_or(HeaderValue::from_static("text/plain"))
}
