//! The headers that let pages of listed origins (`--allow-origin`) read answers (Fetch standard,
//! "HTTP extensions").
//!
//! The check in [`origin_check`](crate::serve::origin_check) refuses the pages of all other
//! origins. These headers let a browser pass the answer to a page of a listed origin. A
//! browser sends no cookie with such a request. A page may send a token of its own. The server's own pages get no such headers: scripts need not read
//! them.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::serve::Settings;
use crate::serve::body::{Body, empty};
use crate::serve::origin_check::RequestOrigin;

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// Request headers that a page may send after a preflight.
const REQUEST_HEADERS: &str = "accept, authorization, cache-control, if-modified-since, if-none-match, if-range, last-event-id, range";
/// Headers of an answer that a script may read, in addition to those that it may always read.
const RESPONSE_HEADERS: &str =
    "accept-ranges, content-disposition, content-length, content-range, etag, retry-after";
/// How long a browser may cache a preflight, in seconds.
const PREFLIGHT_SECONDS: &str = "600";

/// The answer to `OPTIONS`: the methods that there are. By a preflight a browser asks whether a page
/// may send a request. Without the headers that [`allow`] adds, this answer refuses it.
pub(super) fn preflight() -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

/// Lets the page that sent a request read its answer, if its origin is listed and the answer is not
/// a page.
pub(super) fn allow(settings: &Settings, origin: &RequestOrigin, response: &mut Response<Body>) {
    let is_preflight = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if settings.allow_origins.is_empty() || is_page(headers) {
        return;
    }
    // A cache must not reuse an answer for a request with another origin, or without one.
    let varies_by_encoding =
        headers.get(header::VARY).is_some_and(|value| value == "Accept-Encoding");
    let vary = if varies_by_encoding { "Accept-Encoding, Origin" } else { "Accept, Origin" };
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    let RequestOrigin::Listed(origin) = origin else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    let more = if is_preflight {
        &[
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS),
        ][..]
    } else {
        &[(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS)]
    };
    for (name, value) in more {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(media_type: &'static str, origin: &RequestOrigin, listed: &[&str]) -> HeaderMap {
        let allow_origins = listed.iter().map(|&listed| listed.to_owned()).collect();
        let mut response = Response::new(empty());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        allow(&Settings { allow_origins, ..Settings::default() }, origin, &mut response);
        response.headers().clone()
    }

    #[test]
    fn only_data_for_a_listed_origin_is_readable_by_its_pages() {
        let listed = RequestOrigin::Listed(HeaderValue::from_static("http://a"));
        let is_readable = |headers: &HeaderMap| {
            headers
                .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
                .is_some_and(|origin| origin == "http://a")
                && headers.get(RESOURCE_POLICY).is_some_and(|policy| policy == "cross-origin")
        };
        let data = allowed("application/json", &listed, &["http://a"]);
        assert!(is_readable(&data) && data[header::VARY] == "Accept, Origin", "{data:?}");
        let own = allowed("application/json", &RequestOrigin::Own, &["http://a"]);
        assert!(!is_readable(&own) && own[header::VARY] == "Accept, Origin", "{own:?}");
        let page = allowed("text/html; charset=utf-8", &listed, &["http://a"]);
        assert!(!is_readable(&page) && page.get(header::VARY).is_none(), "{page:?}");
        let none_listed = allowed("application/json", &RequestOrigin::Own, &[]);
        assert_eq!(none_listed.len(), 1, "{none_listed:?}");
    }

    #[test]
    fn a_preflight_names_what_may_be_sent() {
        let allow_origins = vec!["http://a".to_owned()];
        let settings = Settings { allow_origins, ..Settings::default() };
        let mut response = preflight();
        let origin = RequestOrigin::Listed(HeaderValue::from_static("http://a"));
        allow(&settings, &origin, &mut response);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
        assert!(response.headers().get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
    }
}
