//! The checks of `Host` and `Origin`, which come first for each request.
//!
//! A page of another origin must not read logs through its visitor's browser. The browser names the
//! page's origin in `Origin`. A host name that an attacker points at this server's address (DNS
//! rebinding) appears in `Host`. Command-line clients send no `Origin` and pass.
//!
//! Answers without content of a log need no check: the page that explains a refusal must not be
//! refused itself, and a load balancer may request the server's health by any name.

use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::serve::Settings;
use crate::serve::forwarded::{Client, Scheme};
use crate::serve::refusal::Refused;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Where an admitted request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestOrigin {
    /// The server's own pages, or no page at all.
    Own,
    /// A page of another origin that `--allow-origin` lists, as its header names it.
    Listed(HeaderValue),
}

/// Checks the origin of a request, and the host that it names.
///
/// # Errors
/// 421 for a host that is not this server's, 403 for an origin that is neither its own nor listed,
/// 400 for a header that is missing, unreadable or repeated.
pub(super) fn check(
    settings: &Settings,
    client: &Client,
    request: &Parts,
) -> Result<RequestOrigin, Refused> {
    let origin = only(&request.headers, &ORIGIN)?;
    check_as(settings, client, request, origin)
}

/// The same check, as if the request had this `Origin`.
///
/// # Errors
/// Those of [`check`].
pub(super) fn check_as(
    settings: &Settings,
    client: &Client,
    request: &Parts,
    origin: Option<&HeaderValue>,
) -> Result<RequestOrigin, Refused> {
    let host = host(client, request)?;
    let name = bare_name(&host).trim_start_matches('[').trim_end_matches(']');
    let is_known = name.parse::<std::net::IpAddr>().is_ok()
        || is_localhost(name)
        || settings.allow_hosts.iter().any(|allowed| is_host(allowed, &host));
    if !is_known {
        return Err(Refused::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this server is not known by the name `{name}`"),
            format!("start it with `--allow-host {name}`"),
        ));
    }
    let Some(header) = origin else { return Ok(RequestOrigin::Own) };
    // Bytes that are no text match nothing and are refused.
    let origin = header.to_str().unwrap_or("?");
    if is_own(origin, &host, client.scheme) || is_same_origin(&request.headers) {
        Ok(RequestOrigin::Own)
    } else if settings.allow_origins.iter().any(|allowed| is_origin(allowed, origin)) {
        Ok(RequestOrigin::Listed(header.clone()))
    } else {
        Err(Refused::new(
            StatusCode::FORBIDDEN,
            format!("pages of the origin `{origin}` may not read these logs"),
            format!(
                "start the server with `--allow-origin {origin}`, or, if a proxy stands before it, \
                 let that pass on the browser's `Host` (nginx: `proxy_set_header Host $http_host;`)"
            ),
        ))
    }
}

/// The value of a header that a request may have at most once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Refused> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(bad(format!("the request has more than one `{name}` header"))),
    }
}

fn bad(message: impl Into<String>) -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        message,
        "send one `Host` header with the server's name and port, and one `Origin` at most",
    )
}

/// The host and port that the browser asked for: those that a trusted proxy names, or those of the
/// request. An absolute target and the header must agree.
fn host(client: &Client, request: &Parts) -> Result<Authority, Refused> {
    if let Some(host) = &client.host {
        return authority(host)
            .ok_or_else(|| bad("the host that the proxy names is not a name or address"));
    }
    let header = only(&request.headers, &HOST)?.ok_or_else(|| bad("the request names no host"))?;
    let host = header
        .to_str()
        .ok()
        .and_then(authority)
        .ok_or_else(|| bad("the request's `Host` is not a name or address"))?;
    match request.uri.authority() {
        Some(target) if target != &host => Err(bad("the request's target and its `Host` differ")),
        _ => Ok(host),
    }
}

fn authority(text: &str) -> Option<Authority> {
    text.parse().ok().filter(|host: &Authority| !host.as_str().contains('@'))
}

/// The name of the host. A dot at the end says that the name is complete, and is not a part of it.
fn bare_name(host: &Authority) -> &str {
    let name = host.host();
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether the name is always that of the browser's own machine (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let domain = name.rsplit('.').next().unwrap_or_default();
    domain.eq_ignore_ascii_case("localhost")
}

/// Whether a listed name, with or without a port, names this host.
fn is_host(allowed: &str, host: &Authority) -> bool {
    allowed.eq_ignore_ascii_case(bare_name(host)) || allowed.eq_ignore_ascii_case(host.as_str())
}

/// Whether the origin is the server's own: by the scheme that a trusted proxy names, else by either
/// of them, since a proxy in front may speak TLS.
fn is_own(origin: &str, host: &Authority, scheme: Option<Scheme>) -> bool {
    let schemes = [(Scheme::Http, "http://", 80), (Scheme::Https, "https://", 443)];
    let possible =
        schemes.iter().filter(|(known, ..)| scheme.is_none_or(|scheme| scheme == *known));
    possible.into_iter().any(|(_, scheme, default)| {
        origin.strip_prefix(scheme).and_then(|rest| rest.parse::<Authority>().ok()).is_some_and(
            |authority| {
                authority.host().eq_ignore_ascii_case(host.host())
                    && (authority.port_u16().unwrap_or(*default)
                        == host.port_u16().unwrap_or(*default))
            },
        )
    })
}

/// Whether the browser itself reports that the page and the requested address have the same origin,
/// even if a proxy has changed `Host` since. Scripts can't set this header (Fetch Metadata,
/// section 2), and browsers send it only if the page came by TLS or from the same machine.
fn is_same_origin(headers: &HeaderMap) -> bool {
    only(headers, &SEC_FETCH_SITE).is_ok_and(|site| site.is_some_and(|site| site == "same-origin"))
}

/// Whether the browser reports that a page of another origin sent the request, or led to it.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(&SEC_FETCH_SITE).iter();
    sites.any(|site| site != "same-origin" && site != "none")
}

fn is_origin(allowed: &str, origin: &str) -> bool {
    allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::socket::Peer;
    use hyper::Request;

    /// A client that no proxy speaks for.
    fn unknown_client() -> Client {
        Client::of(Peer::Unix, &HeaderMap::new(), &[])
    }

    #[test]
    fn behind_a_trusted_proxy_the_forwarded_host_and_scheme_count() {
        let settings = Settings { allow_hosts: vec!["logs.example".into()], ..Settings::default() };
        let status = |host: &str, scheme: Option<Scheme>, origin: &str| {
            let client = Client { host: Some(host.into()), scheme, ..unknown_client() };
            let request = Request::builder().header(HOST, "10.0.0.1:8765").header(ORIGIN, origin);
            let parts = request.body(()).unwrap().into_parts().0;
            check(&settings, &client, &parts)
                .map_or_else(|refused| refused.status.as_u16(), |_| 200)
        };
        let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
        for (host, scheme, origin, expected) in [
            ("logs.example", https, "https://logs.example", 200),
            ("logs.example", https, "https://logs.example:443", 200),
            ("logs.example:8443", https, "https://logs.example:8443", 200),
            ("logs.example", None, "https://logs.example", 200),
            ("logs.example", None, "http://logs.example", 200),
            ("logs.example", https, "http://logs.example", 403),
            ("logs.example", http, "https://logs.example", 403),
            ("logs.example", https, "https://10.0.0.1:8765", 403),
            ("logs.example", https, "https://evil.example", 403),
            ("evil.example", https, "https://evil.example", 421),
            ("a@logs.example", https, "https://logs.example", 400),
            ("logs.example/x", https, "https://logs.example", 400),
        ] {
            assert_eq!(status(host, scheme, origin), expected, "{host} {scheme:?} {origin}");
        }
    }

    fn checked(headers: &[(HeaderName, &str)], target: &str) -> Result<RequestOrigin, u16> {
        let settings = Settings {
            allow_hosts: vec!["logs.example".to_owned()],
            allow_origins: vec!["http://app.example:3000".to_owned()],
            ..Settings::default()
        };
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        check(&settings, &unknown_client(), &parts).map_err(|refused| refused.status.as_u16())
    }

    fn status(host: Option<&str>, origin: Option<&str>, target: &str) -> u16 {
        let host = host.map(|host| (HOST, host));
        let headers: Vec<_> =
            host.into_iter().chain(origin.map(|origin| (ORIGIN, origin))).collect();
        checked(&headers, target).map_or_else(|status| status, |_| 200)
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        let host = (HOST, "127.0.0.1");
        let [own, listed] =
            ["http://127.0.0.1", "http://app.example:3000"].map(|url| (ORIGIN, url));
        assert_eq!(checked(&[host.clone(), own.clone(), own.clone()], "/x"), Err(400));
        assert_eq!(checked(&[host.clone(), own.clone(), listed.clone()], "/x"), Err(400));
        assert_eq!(checked(&[host.clone(), (HOST, "evil.example")], "/x"), Err(400));
        let as_sent = RequestOrigin::Listed(HeaderValue::from_static("http://app.example:3000"));
        assert_eq!(checked(&[host.clone(), listed], "/x"), Ok(as_sent));
        assert_eq!(checked(&[host, own], "/x"), Ok(RequestOrigin::Own));
    }

    #[test]
    fn a_same_origin_request_is_admitted_even_if_a_proxy_changed_its_host() {
        let host = (HOST, "127.0.0.1:8765");
        let page = (ORIGIN, "https://logs.example");
        let site = |value| (SEC_FETCH_SITE, value);
        let of = |more: &[(HeaderName, &'static str)]| {
            let headers: Vec<_> =
                [host.clone(), page.clone()].into_iter().chain(more.iter().cloned()).collect();
            checked(&headers, "/x")
        };
        assert_eq!(of(&[site("same-origin")]), Ok(RequestOrigin::Own));
        assert_eq!(of(&[site("same-site")]), Err(403));
        assert_eq!(of(&[site("cross-site")]), Err(403));
        assert_eq!(of(&[site("none")]), Err(403));
        assert_eq!(of(&[site("same-origin"), site("same-origin")]), Err(403));
        assert_eq!(of(&[]), Err(403));
        let unknown = [(HOST, "evil.example"), page.clone(), site("same-origin")];
        assert_eq!(checked(&unknown, "/x"), Err(421), "it says nothing about the host");
    }

    #[test]
    fn hosts_are_addresses_localhost_or_listed() {
        for (host, expected) in [
            (Some("127.0.0.1:8765"), 200),
            (Some("[::1]:8765"), 200),
            (Some("10.1.2.3"), 200),
            (Some("localhost:8765"), 200),
            (Some("LOCALHOST"), 200),
            (Some("logs.example:8765"), 200),
            (Some("logs.example."), 200),
            (Some("localhost.:8765"), 200),
            (Some("app.localhost:3000"), 200),
            (Some("evil.example"), 421),
            (Some("evil.example."), 421),
            (Some("evillocalhost"), 421),
            (Some("."), 421),
            (Some("localhost.evil.example"), 421),
            (Some("127.0.0.1.evil.example:8765"), 421),
            (Some("user@127.0.0.1"), 400),
            (Some(""), 400),
            (None, 400),
        ] {
            assert_eq!(status(host, None, "/x"), expected, "host {host:?}");
        }
        assert_eq!(
            status(Some("127.0.0.1:1"), None, "http://evil.example/x"),
            400,
            "the target names another host"
        );
    }

    #[test]
    fn origins_are_the_servers_own_or_listed() {
        for (origin, expected) in [
            (None, 200),
            (Some("http://127.0.0.1:8765"), 200),
            (Some("https://127.0.0.1:8765"), 200),
            (Some("http://app.example:3000"), 200),
            (Some("http://app.example"), 403),
            (Some("http://127.0.0.1:8766"), 403),
            (Some("http://127.0.0.1"), 403),
            (Some("http://evil.example"), 403),
            (Some("null"), 403),
        ] {
            assert_eq!(status(Some("127.0.0.1:8765"), origin, "/x"), expected, "origin {origin:?}");
        }
        assert_eq!(
            status(Some("127.0.0.1"), Some("http://127.0.0.1:80"), "/x"),
            200,
            "a default port may be named"
        );
    }
}
