//! Finds what a request asks for from its method, target and headers, without files or clocks.
//!
//! A log's URL is its absolute path, `/` is the list of logs, and everything else of the server's
//! lies under `/_/`. How a log is sent depends on the request: an upgrade, an event stream, a page,
//! or the bytes.

use hyper::Method;
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;

use crate::log::pattern::RequestedPath;
use crate::serve::http::api::{ApiCall, MergedQuery};
use crate::serve::query::{self, Query};
use crate::serve::refusal::Refused;
use crate::serve::{Settings, assets};

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// The list of logs, as a page or as text.
    List { html: bool },
    /// `/_/logs`: the list of logs as JSON.
    ListJson,
    /// `/_/rows/PATH` and the like. The path is still percent-encoded.
    Api(ApiCall, &'a str),
    /// `/_/newer/PATH`: what came after a file with a date in its name. The path is still
    /// percent-encoded.
    Newer(&'a str),
    /// `/_/healthz`: the state of the server.
    Health,
    /// `/_/readyz`: whether the server takes viewers.
    Ready,
    /// `/_/metrics`: what the server counts.
    Metrics,
    /// `/_/sign-in`: the form, and where it is sent.
    SignIn,
    /// `/_/sign-out`: the button, and where it is sent.
    SignOut,
    /// `/_/check?origin=URL`: whether a page of this origin is served here.
    Check { origin: String },
    /// `/_/events?log=PATH&log=PATH`: one event stream of several logs.
    Events(Vec<(Vec<u8>, Query)>),
    /// `/_/merged-rows?log=PATH&log=PATH`: rows of several logs by their times.
    MergedRows(MergedQuery),
    /// Anything else under `/_/`, by its name there.
    Own(&'a str),
    /// A log, or a pattern of logs. The path is percent-decoded.
    Log { path: RequestedPath, query: Box<Query>, transport: Transport },
    /// A preflight: a browser asks whether a page of another origin may send a request (`OPTIONS`).
    Preflight,
    /// Any other `OPTIONS` for the server as a whole: which methods there are.
    Options,
}

/// How a log is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    /// Server-sent events.
    Events,
    /// The viewer page, which then asks for the log itself.
    Page,
    /// The bytes or text, as `curl` wants them.
    Plain,
}

impl<'a> Route<'a> {
    /// The route of a request.
    ///
    /// # Errors
    /// 405 for a method other than GET, HEAD and a preflight, 426 for a handshake without its
    /// `Upgrade`, 400 for a path or parameter that can't be parsed.
    pub(super) fn of(request: &'a Parts) -> Result<Self, Refused> {
        let headers = &request.headers;
        if is_preflight(&request.method, headers) {
            return Ok(Self::Preflight);
        }
        let path = request.uri.path();
        // Load balancers ask so whether the server is up (HAProxy's `option httpchk`).
        if request.method == Method::OPTIONS
            && matches!(path, "/" | "*" | "/_/healthz" | "/_/readyz")
        {
            return Ok(Self::Options);
        }
        let is_upgrade = is_upgrade(headers);
        let form = match path {
            "/_/sign-in" => Some(Self::SignIn),
            "/_/sign-out" => Some(Self::SignOut),
            _ => None,
        };
        if let Some(form) = form.filter(|_| !is_upgrade)
            && matches!(request.method, Method::GET | Method::HEAD | Method::POST)
        {
            return Ok(form);
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Refused::method());
        }
        if !is_upgrade && headers.contains_key(header::SEC_WEBSOCKET_KEY) {
            return Err(Refused::no_upgrade());
        }
        if !is_upgrade {
            if path == "/" {
                return Ok(Self::List { html: accepts(headers, "text/html") });
            }
            if let Some(name) = path.strip_prefix("/_/") {
                return Self::under_own(name, request.uri.query());
            }
        }
        let query = Query::parse(request.uri.query().unwrap_or_default())?;
        let transport = if is_upgrade {
            Transport::WebSocket
        } else if accepts(headers, "text/event-stream") {
            Transport::Events
        } else if query.format.is_none() && accepts(headers, "text/html") {
            Transport::Page
        } else {
            Transport::Plain
        };
        Ok(Self::Log { path: query::requested_path(path)?, query: Box::new(query), transport })
    }

    /// The same with what the settings say where a request for streams does not.
    pub(super) fn with_settings(self, settings: &Settings) -> Self {
        match self {
            Self::Log { path, query, transport } => {
                let query = Box::new(query.with_settings(settings));
                Self::Log { path, query, transport }
            }
            Self::Events(logs) => {
                let logs = logs.into_iter();
                let logs = logs.map(|(path, query)| (path, query.with_settings(settings)));
                Self::Events(logs.collect())
            }
            other => other,
        }
    }

    fn under_own(name: &'a str, query: Option<&str>) -> Result<Self, Refused> {
        if let Some((call, path)) = ApiCall::parse(name) {
            return Ok(Self::Api(call, path));
        }
        if let Some(path) = name.strip_prefix("newer").filter(|path| path.starts_with('/')) {
            return Ok(Self::Newer(path));
        }
        Ok(match name {
            "logs" => Self::ListJson,
            "healthz" => Self::Health,
            "readyz" => Self::Ready,
            "metrics" => Self::Metrics,
            "check" => Self::Check { origin: query::origin(query.unwrap_or_default())? },
            "events" => Self::Events(query::several_logs(query.unwrap_or_default())?),
            "merged-rows" => Self::MergedRows(MergedQuery::parse(query.unwrap_or_default())?),
            name => Self::Own(name),
        })
    }

    /// Whether the answer has no content of a log, so that everybody may have it, by whatever name
    /// they reach the server.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Health | Self::Ready | Self::Check { .. } | Self::Options => true,
            Self::Own(name) => {
                assets::is_asset(name)
                    || matches!(*name, "levels.json" | "traces.json" | "rules.json")
            }
            Self::List { .. }
            | Self::ListJson
            | Self::Api(..)
            | Self::Newer(_)
            | Self::Events(_)
            | Self::MergedRows(_)
            | Self::Metrics
            | Self::Log { .. }
            | Self::SignIn
            | Self::SignOut
            | Self::Preflight => false,
        }
    }
}

/// Whether the `Accept` header names the media type. `*/*` names none, and a weight of zero
/// declines (RFC 9110, section 12.5.1).
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let items = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    items.flat_map(|accept| accept.split(',')).any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_named && !parts.any(is_zero_weight)
    })
}

/// Whether a parameter of a media range is `q=0`, in any of its spellings.
fn is_zero_weight(parameter: &str) -> bool {
    parameter
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .is_some_and(|(_, weight)| weight.trim().parse() == Ok(0.0_f32))
}

/// Whether the request wants to become a WebSocket.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether the request is a preflight (Fetch standard, "CORS-preflight request").
fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::query::{Format, Lines};
    use hyper::Request;

    fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn transport(target: &str, headers: &[(&str, &str)]) -> Transport {
        match Route::of(&request("GET", target, headers)).unwrap() {
            Route::Log { transport, .. } => transport,
            other => panic!("{target} is {other:?}"),
        }
    }

    #[test]
    fn the_servers_own_targets_are_distinguished_from_logs() {
        for (target, expected) in [
            ("/", Route::List { html: false }),
            ("/_/logs", Route::ListJson),
            ("/_/healthz", Route::Health),
            ("/_/readyz", Route::Ready),
            ("/_/metrics", Route::Metrics),
            ("/_/web/main.js", Route::Own("web/main.js")),
            ("/_/rows/var/log/a%20b", Route::Api(ApiCall::Rows, "/var/log/a%20b")),
            ("/_/find/a", Route::Api(ApiCall::Find, "/a")),
            ("/_/rows", Route::Own("rows")),
            ("/_/newer/a%20b", Route::Newer("/a%20b")),
            ("/_/newer", Route::Own("newer")),
            ("/_/", Route::Own("")),
        ] {
            assert_eq!(Route::of(&request("GET", target, &[])).unwrap(), expected, "{target}");
        }
        let page = request("GET", "/", &[("accept", "text/html")]);
        assert_eq!(Route::of(&page).unwrap(), Route::List { html: true });
    }

    #[test]
    fn a_logs_path_is_decoded_and_its_parameters_are_read() {
        let asked = request("HEAD", "/var/a%20b?lines=3&format=text", &[]);
        let query =
            Query { lines: Some(Lines::Last(3)), format: Some(Format::Text), ..Query::default() };
        let path = query::requested_path("/var/a%20b").unwrap();
        let expected = Route::Log { path, query: Box::new(query), transport: Transport::Plain };
        assert_eq!(Route::of(&asked).unwrap(), expected);
    }

    #[test]
    fn the_transport_depends_on_upgrade_accept_and_format() {
        let upgrade = ("upgrade", "WebSocket");
        for (target, headers, expected) in [
            ("/a", &[][..], Transport::Plain),
            ("/a", &[("accept", "*/*")], Transport::Plain),
            ("/a", &[("accept", "text/html,*/*;q=0.8")], Transport::Page),
            ("/a?format=raw", &[("accept", "text/html")], Transport::Plain),
            ("/a", &[("accept", "text/event-stream")], Transport::Events),
            ("/a?format=text", &[("accept", "text/html, text/event-stream")], Transport::Events),
            ("/a", &[("accept", "text/html"), upgrade], Transport::WebSocket),
            ("/", &[upgrade], Transport::WebSocket),
            ("/_/logs", &[upgrade], Transport::WebSocket),
        ] {
            assert_eq!(transport(target, headers), expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn a_media_type_with_a_weight_of_zero_is_declined() {
        for (accept, expected) in [
            ("text/html", true),
            ("TEXT/HTML;level=1", true),
            ("text/html;q=0.001", true),
            ("text/html;q=x", true),
            ("text/html;q=0", false),
            ("text/html ; Q=0.000", false),
            ("text/html;level=1;q=0, */*", false),
            ("application/xhtml+xml, text/html;q=0.9", true),
            ("text/html;q=0, text/html;q=0.5", true),
            ("text/htmlx", false),
            ("*/*", false),
        ] {
            let asked = request("GET", "/", &[("accept", accept)]);
            assert_eq!(accepts(&asked.headers, "text/html"), expected, "{accept}");
        }
    }

    #[test]
    fn invalid_requests_are_refused_with_their_status() {
        let status = |method, target, headers: &[_]| {
            Route::of(&request(method, target, headers)).unwrap_err().status.as_u16()
        };
        assert_eq!(status("POST", "/", &[]), 405);
        assert_eq!(status("OPTIONS", "/a", &[]), 405);
        assert_eq!(status("OPTIONS", "/a", &[("origin", "http://a")]), 405);
        assert_eq!(status("GET", "/a?tail=yes", &[]), 400);
        assert_eq!(status("GET", "/a", &[("sec-websocket-key", "x")]), 426);
        assert_eq!(status("GET", "/%zz", &[]), 400);
        let asked = [("origin", "http://a"), ("access-control-request-method", "GET")];
        assert_eq!(Route::of(&request("OPTIONS", "/a", &asked)).unwrap(), Route::Preflight);
        for target in ["/", "*", "/_/healthz"] {
            assert_eq!(Route::of(&request("OPTIONS", target, &[])).unwrap(), Route::Options);
        }
    }
}
