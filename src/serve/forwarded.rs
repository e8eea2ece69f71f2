//! Where a request comes from, behind proxies that are trusted.
//!
//! A proxy says in headers for whom it asks: `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix`, or
//! `Forwarded` (RFC 7239). Everybody can send such headers, so they count only if the peer is
//! trusted (`--trusted-proxy`). Each proxy appends to a list, so lists are read from the right, and
//! only as far as trusted proxies wrote them.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderMap};

use crate::serve::settings::TrustedProxy;
use crate::serve::socket::Peer;

/// Who asks, and by which address of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) remote: Remote,
    /// The host that the browser asked for, if a trusted proxy says it.
    pub(super) host: Option<String>,
    /// The scheme of the browser's connection, if it is known: a trusted proxy says it, or this
    /// server speaks TLS itself. A request is secure if it is [`Https`](Scheme::Https); nothing else
    /// decides that.
    pub(super) scheme: Option<Scheme>,
    /// The path that a trusted proxy has removed from the target.
    pub(super) removed: Option<String>,
    /// The other end of the connection.
    pub(super) peer: Peer,
    /// Whether the peer is a trusted proxy, so that its headers count.
    pub(super) is_trusted: bool,
}

/// The address of a client, as log lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// The other end of the connection.
    Peer(Peer),
    /// For whom a trusted proxy asks.
    Forwarded(IpAddr),
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "http" | "ws" => Some(Self::Http),
            "https" | "wss" => Some(Self::Https),
            _ => None,
        }
    }
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Forwarded(address) => address.fmt(f),
        }
    }
}

impl Client {
    /// The sender of a request with these headers.
    pub(super) fn of(peer: Peer, headers: &HeaderMap, trusted: &[TrustedProxy]) -> Self {
        let is_trusted = is_trusted(peer, trusted);
        let scheme = matches!(peer, Peer::Tls(_)).then_some(Scheme::Https);
        let remote = Remote::Peer(peer);
        let mut client = Self { remote, host: None, scheme, removed: None, peer, is_trusted };
        if !is_trusted {
            return client;
        }
        client.removed = last(headers, "x-forwarded-prefix").map(str::to_owned);
        // One family of headers counts. Most proxies write the first one, and pass the other one on
        // as the client sent it.
        if ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
            .iter()
            .any(|name| headers.contains_key(*name))
        {
            client.read_x_forwarded(headers, trusted);
        } else {
            client.read_forwarded(headers, trusted);
        }
        client
    }

    /// Whether the browser's connection has TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.scheme == Some(Scheme::Https)
    }

    /// The address of the client. None for a program of this machine that speaks for nobody.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self.remote {
            Remote::Peer(Peer::Tcp(address) | Peer::Tls(address)) => Some(address.ip()),
            Remote::Peer(Peer::Unix) => None,
            Remote::Forwarded(address) => Some(address),
        }
    }

    fn read_x_forwarded(&mut self, headers: &HeaderMap, trusted: &[TrustedProxy]) {
        self.host = last(headers, "x-forwarded-host").map(str::to_owned);
        self.scheme = last(headers, "x-forwarded-proto").and_then(Scheme::named).or(self.scheme);
        for hop in items(headers, "x-forwarded-for").into_iter().rev() {
            let Some(address) = address(hop) else { return };
            self.remote = Remote::Forwarded(address);
            if !is_at(address, trusted) {
                return;
            }
        }
    }

    fn read_forwarded(&mut self, headers: &HeaderMap, trusted: &[TrustedProxy]) {
        let elements = items(headers, header::FORWARDED.as_str());
        for element in elements.into_iter().rev() {
            let mut node = None;
            for pair in split_unquoted(element, ';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let value = unquoted(value.trim());
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => node = address(&value),
                    "host" => self.host = Some(value),
                    "proto" => self.scheme = Scheme::named(&value).or(self.scheme),
                    _ => {}
                }
            }
            let Some(address) = node else { return };
            self.remote = Remote::Forwarded(address);
            if !is_at(address, trusted) {
                return;
            }
        }
    }
}

/// Whether the headers of a peer count.
pub(super) fn is_trusted(peer: Peer, trusted: &[TrustedProxy]) -> bool {
    match peer {
        Peer::Tcp(address) | Peer::Tls(address) => is_at(address.ip(), trusted),
        Peer::Unix => trusted.contains(&TrustedProxy::Unix),
    }
}

fn is_at(address: IpAddr, trusted: &[TrustedProxy]) -> bool {
    trusted.iter().any(|proxy| proxy.is_at(address))
}

/// The items of a list, of all headers with this name together.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    // A value that is no text is an item that means nothing, not one that is not there.
    let texts = values.map(|value| value.to_str().unwrap_or("?"));
    texts.flat_map(|text| split_unquoted(text, ',')).map(str::trim).collect()
}

/// The last item of a list: the nearest proxy has written it.
fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    items(headers, name).pop().filter(|item| !item.is_empty())
}

/// The parts of a text between separators that are not in quotes (RFC 9110, section 5.6.4).
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(|c: char| {
        let is_separator = c == separator && !is_quoted;
        if is_escaped {
            is_escaped = false;
        } else if c == '"' {
            is_quoted = !is_quoted;
        } else if c == '\\' && is_quoted {
            is_escaped = true;
        }
        is_separator
    })
    .collect()
}

/// A value without its quotes.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        text.push(escaped.unwrap_or(letter));
    }
    text
}

/// The IP address of a hop: alone or with a port, an IPv6 address with or without brackets. None for
/// `unknown` and for names that only the proxy knows.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok();
    let address = address.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> Client {
        let peer = match peer {
            "unix" => Peer::Unix,
            address => Peer::Tcp(SocketAddr::new(address.parse().unwrap(), 1234)),
        };
        let trusted: Vec<TrustedProxy> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Client::of(peer, &map, &trusted)
    }

    fn remote(peer: &str, headers: &[(&'static str, &str)]) -> String {
        client(peer, headers).remote.to_string()
    }

    #[test]
    fn nobody_but_a_trusted_peer_is_believed() {
        let spoofed = [
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/logs"),
            ("forwarded", "for=1.2.3.4;host=evil.example;proto=https"),
        ];
        for peer in ["9.9.9.9", "11.0.0.1", "::1", "unix"] {
            let plain = client(peer, &[]);
            assert_eq!(client(peer, &spoofed), plain, "{peer}");
            for header in spoofed {
                assert_eq!(client(peer, &[header]), plain, "{peer} {header:?}");
            }
        }
    }

    #[test]
    fn a_unix_socket_is_trusted_when_it_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        let of = |trusted: &[TrustedProxy]| Client::of(Peer::Unix, &headers, trusted).remote;
        assert_eq!(of(&["127.0.0.1".parse().unwrap()]), Remote::Peer(Peer::Unix));
        let address = "1.2.3.4".parse().unwrap();
        assert_eq!(of(&[TrustedProxy::Unix]), Remote::Forwarded(address));
    }

    #[test]
    fn a_list_of_addresses_is_read_from_the_right_up_to_the_first_that_is_not_trusted() {
        for (list, expected) in [
            (&["1.2.3.4"][..], "1.2.3.4"),
            // The client has sent the first one itself.
            (&["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4", "10.9.9.9,10.8.8.8"], "1.2.3.4"),
            // It looks like a proxy, and an untrusted address stands behind it.
            (&["10.0.0.9, 1.2.3.4"], "1.2.3.4"),
            (&["10.0.0.9"], "10.0.0.9"),
            (&["1.2.3.4:5678"], "1.2.3.4"),
            (&["[2001:db8::1]:5678"], "2001:db8::1"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["6.6.6.6, fd00::1"], "6.6.6.6"),
            (&["::ffff:10.0.0.9"], "10.0.0.9"),
            // What cannot be read ends the list.
            (&["6.6.6.6, unknown, 10.0.0.9"], "10.0.0.9"),
            (&["6.6.6.6, , 1.2.3.4"], "1.2.3.4"),
            (&["6.6.6.6,"], "10.0.0.1:1234"),
            (&["evil\" remote=1.2.3.4"], "10.0.0.1:1234"),
            (&[""], "10.0.0.1:1234"),
        ] {
            let headers: Vec<_> = list.iter().map(|value| ("x-forwarded-for", *value)).collect();
            assert_eq!(remote(PROXY, &headers), expected, "{list:?}");
        }
    }

    #[test]
    fn the_standard_header_is_read_in_the_same_way() {
        for (value, expected) in [
            ("for=1.2.3.4", "1.2.3.4"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=6.6.6.6, for=1.2.3.4;proto=https, for=10.2.2.2", "1.2.3.4"),
            ("for=6.6.6.6, for=unknown", "10.0.0.1:1234"),
            ("for=6.6.6.6, for=_hidden", "10.0.0.1:1234"),
            ("for=6.6.6.6, proto=https", "10.0.0.1:1234"),
            // The comma is a part of the quoted text, and hides no element.
            ("for=1.2.3.4;by=\"a, for=6.6.6.6\"", "1.2.3.4"),
            ("for=1.2.3.4;by=\"a\\\", for=6.6.6.6\"", "1.2.3.4"),
        ] {
            assert_eq!(remote(PROXY, &[("forwarded", value)]), expected, "{value}");
        }
        let value = "for=6.6.6.6;host=evil.example;proto=http, \
                     for=1.2.3.4;host=\"logs.example:8443\";proto=https, for=10.2.2.2;proto=http";
        let client = client(PROXY, &[("forwarded", value)]);
        assert_eq!(client.host.as_deref(), Some("logs.example:8443"));
        assert_eq!(client.scheme, Some(Scheme::Https));
    }

    #[test]
    fn host_scheme_and_prefix_are_those_of_the_nearest_proxy() {
        let client = client(
            PROXY,
            &[
                ("x-forwarded-host", "evil.example, logs.example"),
                ("x-forwarded-proto", "http"),
                ("x-forwarded-proto", "HTTPS"),
                ("x-forwarded-prefix", "/logs"),
            ],
        );
        assert_eq!(client.host.as_deref(), Some("logs.example"));
        assert_eq!(client.scheme, Some(Scheme::Https));
        assert_eq!(client.removed.as_deref(), Some("/logs"));
    }

    #[test]
    fn one_family_of_headers_counts_when_both_are_there() {
        let both = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=6.6.6.6;host=evil.example")];
        let client = client(PROXY, &both);
        assert_eq!((client.remote.to_string().as_str(), client.host), ("1.2.3.4", None));
    }
}
