//! Conditional requests (RFC 9110, section 13): whether a client already has the present state of a
//! resource, and whether a range belongs to that state.

use std::time::SystemTime;

use headers::{ETag, HeaderMapExt, IfModifiedSince, IfNoneMatch, IfRange, LastModified};
use hyper::header::HeaderMap;

/// What identifies one state of a resource.
#[derive(Clone, Debug)]
pub(super) struct Validators {
    etag: Option<ETag>,
    modified: Option<LastModified>,
}

impl Validators {
    /// The validators of a resource whose `tag` changes with its content. The tag has no quotes.
    pub(super) fn new(tag: &str, modified: Option<SystemTime>) -> Self {
        Self { etag: format!("\"{tag}\"").parse().ok(), modified: modified.map(LastModified::from) }
    }

    /// Adds `ETag` and `Last-Modified` to an answer.
    pub(super) fn insert(&self, headers: &mut HeaderMap) {
        if let Some(etag) = self.etag.clone() {
            headers.typed_insert(etag);
        }
        if let Some(modified) = self.modified {
            headers.typed_insert(modified);
        }
    }

    /// Whether the client has this state, so the answer is 304. `If-Modified-Since` counts only
    /// without `If-None-Match` (section 13.2.2).
    pub(super) fn is_known(&self, request: &HeaderMap) -> bool {
        if let Some(known) = request.typed_get::<IfNoneMatch>() {
            return self.etag.as_ref().is_some_and(|etag| !known.precondition_passes(etag));
        }
        let since = request.typed_get::<IfModifiedSince>();
        since
            .zip(self.modified)
            .is_some_and(|(since, modified)| !since.is_modified(SystemTime::from(modified)))
    }

    /// Whether the client's partial copy is of this state (`If-Range`), so a range may be sent.
    /// True without that header.
    pub(super) fn permit_range(&self, request: &HeaderMap) -> bool {
        if !request.contains_key(hyper::header::IF_RANGE) {
            return true;
        }
        request
            .typed_get::<IfRange>()
            .is_some_and(|range| !range.is_modified(self.etag.as_ref(), self.modified.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};
    use std::time::{Duration, UNIX_EPOCH};

    const DATE: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
    const AFTER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

    fn validators() -> Validators {
        // HTTP dates have whole seconds.
        let modified = UNIX_EPOCH + Duration::from_millis(1_000_000_000_500);
        Validators::new("a-1", Some(modified))
    }

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        headers.collect()
    }

    #[test]
    fn an_answer_that_the_client_has_is_not_sent_again() {
        for (headers, expected) in [
            (&[][..], false),
            (&[("if-none-match", "\"a-1\"")], true),
            (&[("if-none-match", "W/\"a-1\"")], true),
            (&[("if-none-match", "\"b\", \"a-1\"")], true),
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "\"b\"")], false),
            (&[("if-none-match", "a-1")], false),
            (&[("if-modified-since", DATE)], true),
            (&[("if-modified-since", AFTER)], true),
            (&[("if-modified-since", BEFORE)], false),
            (&[("if-modified-since", "yesterday")], false),
            (&[("if-none-match", "\"b\""), ("if-modified-since", DATE)], false),
        ] {
            assert_eq!(validators().is_known(&request(headers)), expected, "{headers:?}");
        }
        let undated = Validators::new("a-1", None);
        assert!(!undated.is_known(&request(&[("if-modified-since", DATE)])));
    }

    #[test]
    fn a_range_is_cut_only_from_the_state_that_the_client_has() {
        for (headers, expected) in [
            (&[][..], true),
            (&[("if-range", "\"a-1\"")], true),
            (&[("if-range", DATE)], true),
            (&[("if-range", "\"b\"")], false),
            (&[("if-range", "W/\"a-1\"")], false),
            (&[("if-range", BEFORE)], false),
            (&[("if-range", "yesterday")], false),
        ] {
            assert_eq!(validators().permit_range(&request(headers)), expected, "{headers:?}");
        }
    }

    #[test]
    fn an_answer_contains_its_validators() {
        let mut headers = HeaderMap::new();
        validators().insert(&mut headers);
        assert_eq!(headers["etag"], "\"a-1\"");
        assert_eq!(headers["last-modified"], DATE);
    }
}
