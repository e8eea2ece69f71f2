//! Who may ask: the `Host` and `Origin` checks.
//!
//! A page of another origin must not read logs through its visitor's browser. The browser says where the page came
//! from (`Origin`), and a name that was rebound to this address is told by the `Host` that it asks for. Command-line
//! clients send no `Origin` and pass.

use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::serve::Settings;

/// A request that is refused for where it comes from, in words for its sender.
#[derive(Debug)]
pub(super) struct OriginRefused {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) hint: String,
}

/// Checks a request before anything else is done with it.
pub(super) fn check(settings: &Settings, request: &Parts) -> Result<(), OriginRefused> {
    let host = host(request)?;
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let known = name.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || settings.allow_hosts.iter().any(|allowed| is_host(allowed, &host));
    if !known {
        return Err(OriginRefused {
            status: StatusCode::MISDIRECTED_REQUEST,
            message: format!("this server is not known by the name `{name}`"),
            hint: format!("start it with `--allow-host {name}`"),
        });
    }
    match origin(&request.headers) {
        None => Ok(()),
        Some(origin)
            if is_own(origin, &host)
                || settings.allow_origins.iter().any(|allowed| same(allowed, origin)) =>
        {
            Ok(())
        }
        Some(origin) => Err(OriginRefused {
            status: StatusCode::FORBIDDEN,
            message: format!("pages of the origin `{origin}` may not read these logs"),
            hint: format!("start the server with `--allow-origin {origin}`"),
        }),
    }
}

/// The authority that the request asks for. An absolute target and the header must agree.
fn host(request: &Parts) -> Result<Authority, OriginRefused> {
    let bad = |message: &str| OriginRefused {
        status: StatusCode::BAD_REQUEST,
        message: message.to_owned(),
        hint: "send one `Host` header with the server's name and port".to_owned(),
    };
    let mut hosts = request.headers.get_all(HOST).iter();
    let header = hosts.next().ok_or_else(|| bad("the request names no host"))?;
    if hosts.next().is_some() {
        return Err(bad("the request names more than one host"));
    }
    let host: Authority = header
        .to_str()
        .ok()
        .and_then(|host| host.parse().ok())
        .filter(|host: &Authority| !host.as_str().contains('@'))
        .ok_or_else(|| bad("the request's `Host` is not a name or address"))?;
    match request.uri.authority() {
        Some(target) if target != &host => Err(bad("the request's target and its `Host` differ")),
        _ => Ok(host),
    }
}

/// A listed name, with or without a port.
fn is_host(allowed: &str, host: &Authority) -> bool {
    allowed.eq_ignore_ascii_case(host.host()) || allowed.eq_ignore_ascii_case(host.as_str())
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    // Bytes that are no text match nothing and are refused.
    headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("?"))
}

/// Whether the origin is the server's own, by either scheme: a proxy in front may speak TLS.
fn is_own(origin: &str, host: &Authority) -> bool {
    [("http://", 80), ("https://", 443)].iter().any(|(scheme, default)| {
        origin.strip_prefix(scheme).and_then(|rest| rest.parse::<Authority>().ok()).is_some_and(
            |authority| {
                authority.host().eq_ignore_ascii_case(host.host())
                    && (authority.port_u16().unwrap_or(*default)
                        == host.port_u16().unwrap_or(*default))
            },
        )
    })
}

fn same(allowed: &str, origin: &str) -> bool {
    allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;

    fn status(host: Option<&str>, origin: Option<&str>, target: &str) -> u16 {
        let settings = Settings {
            allow_hosts: vec!["logs.example".to_owned()],
            allow_origins: vec!["http://app.example:3000".to_owned()],
            ..Settings::default()
        };
        let mut request = Request::builder().uri(target);
        request = host.into_iter().fold(request, |request, host| request.header(HOST, host));
        request =
            origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        check(&settings, &request.body(()).unwrap().into_parts().0)
            .map_or_else(|stranger| stranger.status.as_u16(), |()| 200)
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
            (Some("evil.example"), 421),
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
