//! The body of an answer, of whatever kind.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};

use crate::encoding::Encoding;
use crate::log::archive::Notice;

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

/// Says in a header of a text what has to be said about a compressed file that was not unpacked to
/// its end: the text itself is the log's.
pub(super) fn say_notice(response: &mut Response<Body>, notice: Option<&Notice>) {
    let value = notice.and_then(|notice| HeaderValue::from_str(&notice.to_string()).ok());
    if let Some(value) = value {
        response.headers_mut().insert(HeaderName::from_static("tailcast-notice"), value);
    }
}
