//! Answers in JSON.

use bytes::Bytes;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use serde::Serialize;

use crate::serve::body::{Body, full};

/// The value as JSON.
pub(super) fn json(value: &impl Serialize) -> Response<Body> {
    // The types that are sent have no value that JSON lacks.
    json_text(serde_json::to_string(value).unwrap_or_default())
}

/// JSON that is written already.
pub(super) fn json_text(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
