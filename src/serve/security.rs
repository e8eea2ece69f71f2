//! The security headers of every answer: what a page may load, who may frame it, and that browsers
//! must not guess content types.

use hyper::header::{self, HeaderValue};
use hyper::{Response, Uri};

use crate::serve::body::Body;
use crate::serve::query;

/// The Content-Security-Policy of pages. They load their scripts and styles from this server, and
/// connect to no other. Log content has its colours in style attributes. Nothing else is inline.
macro_rules! page_policy {
    ($framing:literal) => {
        page_policy!("form-action 'none'; ", $framing)
    };
    ($forms:literal, $framing:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; ",
            "connect-src 'self'; img-src 'self' data:; base-uri 'none'; ",
            $forms,
            $framing
        )
    };
}
/// The Content-Security-Policy of everything else.
const DATA_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// Whether a page is framed, or frames others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// The page is not framed and frames no others.
    Alone,
    /// The page is a pane of the split view, which alone may frame it. The URL says so (`pane=1`),
    /// because browsers send `Sec-Fetch-Dest` only to servers with TLS or on this machine.
    Pane,
    /// The page is the split view. It frames pages of this server.
    Split,
    /// The page is not framed and frames no others, and has a form that this server answers.
    Form,
}

impl Framing {
    pub(super) fn of(target: &Uri) -> Self {
        let path = target.path();
        let is_ours = path == "/" || path.starts_with("/_/");
        if matches!(path, "/_/sign-in" | "/_/sign-out") {
            Self::Form
        } else if path == "/_/beside" {
            Self::Split
        } else if !is_ours && query::is_pane(target.query().unwrap_or_default()) {
            Self::Pane
        } else {
            Self::Alone
        }
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Alone => page_policy!("frame-ancestors 'none'"),
            Self::Pane => page_policy!("frame-ancestors 'self'"),
            Self::Form => page_policy!("form-action 'self'; ", "frame-ancestors 'none'"),
            Self::Split => page_policy!("frame-src 'self'; frame-ancestors 'none'"),
        }
    }
}

/// Sets the security headers of an answer, and `Vary` and `Cache-Control` where the answer has none
/// of its own.
pub(super) fn set_headers(response: &mut Response<Body>, framing: Framing) {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let policy = if is_page { framing.policy() } else { DATA_POLICY };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Without a referrer, a browser would send a form with the origin `null`.
    let referrer = if framing == Framing::Form { "same-origin" } else { "no-referrer" };
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
    headers.entry(header::VARY).or_insert(HeaderValue::from_static("Accept"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    let caching = if framing == Framing::Form { "no-store" } else { "private, no-cache" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(caching));
}
