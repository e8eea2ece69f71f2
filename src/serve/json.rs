//! Answers in JSON.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};

use crate::serve::body::{Body, full};

/// An answer with this JSON text.
pub(super) fn json_text(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
