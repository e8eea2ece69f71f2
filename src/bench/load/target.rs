//! The address of the viewers' connections, and the request that opens a WebSocket there.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "tls")]
use rustls::ClientConfig;
#[cfg(feature = "tls")]
use rustls::pki_types::ServerName;

use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::Response;

use crate::client::connection::{ConnectionError, upgrade_error};
#[cfg(feature = "tls")]
use crate::client::tls::{Trust, server_name};
use crate::client::url::{BadUrl, UrlParts};
use crate::wire::message::SUBPROTOCOL;

/// Offers compression without context takeover, so that a message can be decompressed once for all
/// viewers.
const EXTENSION: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

/// The time that each of several addresses has to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The protocol to request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `tailcast.v1` if the server supports it, otherwise the original's protocol.
    Any,
    /// `tailcast.v1` only.
    V1,
    /// The original's protocol: text messages.
    Original,
}

/// A URL, resolved, with its upgrade request.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) address: SocketAddr,
    pub(super) request: Vec<u8>,
    accept: String,
    protocol: Protocol,
    /// Whom to trust for TLS, and the name of the server.
    #[cfg(feature = "tls")]
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// Why a URL is not a target.
#[derive(Debug)]
pub(crate) enum BadTarget {
    /// The URL is not valid.
    Url(BadUrl),
    /// The host has no address.
    Host(io::Error),
}

impl Target {
    /// The target of a typed URL. Its query is kept. `tail=1` is added, and so is the number of
    /// lines of history, and for `tailcast.v1` the raw format without waiting.
    pub(crate) fn new(
        url: &str,
        protocol: Protocol,
        lines: Option<u64>,
        compress: bool,
    ) -> Result<Self, BadTarget> {
        let UrlParts { has_tls, authority, path, mut query } =
            UrlParts::parse(url).map_err(BadTarget::Url)?;
        let has_port = authority.rsplit(']').next().is_some_and(|after| after.contains(':'));
        let with_port = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:{}", if has_tls { 443 } else { 80 })
        };
        let addresses: Vec<_> = with_port.to_socket_addrs().map_err(BadTarget::Host)?.collect();
        let address =
            answering(&addresses).ok_or_else(|| BadTarget::Host(io::ErrorKind::NotFound.into()))?;
        let lines = lines.or((protocol != Protocol::Original).then_some(0));
        let lines = lines.map(|lines| lines.to_string());
        let of_v1 = |value: &str| (protocol != Protocol::Original).then(|| value.to_owned());
        for (name, value) in [
            ("tail", Some("1".to_owned())),
            ("lines", lines),
            ("format", of_v1("raw")),
            ("wait", of_v1("0")),
        ] {
            let given = form_urlencoded::parse(query.as_bytes()).any(|(given, _)| given == name);
            if let Some(value) = value.filter(|_| !given) {
                let and = if query.is_empty() { "" } else { "&" };
                query = format!("{query}{and}{name}={value}");
            }
        }
        let key = generate_key();
        let path = if path.is_empty() { "/" } else { &path };
        let offer = match protocol {
            Protocol::Original => String::new(),
            Protocol::Any | Protocol::V1 => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
        };
        let extension = if compress { EXTENSION } else { "" };
        let request = format!(
            "GET {path}?{query} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
             {offer}{extension}\r\n"
        );
        Ok(Self {
            address,
            request: request.into_bytes(),
            accept: derive_accept_key(key.as_bytes()),
            protocol,
            #[cfg(feature = "tls")]
            tls: has_tls.then(|| tls_to(authority)).transpose().map_err(BadTarget::Host)?,
        })
    }

    /// Trusts these certificates instead of those that the machine trusts.
    #[cfg(feature = "tls")]
    pub(crate) fn with_trust(mut self, trust: Option<&Trust>) -> Self {
        if let (Some((config, _)), Some(trust)) = (&mut self.tls, trust) {
            *config = trust.config();
        }
        self
    }

    /// Checks the response to the upgrade, up to the empty line and with the bytes after it.
    /// Returns whether the server speaks `tailcast.v1`, or in words why there is no WebSocket.
    pub(super) fn agree(&self, head: &[u8], body: &[u8]) -> Result<bool, String> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        let Some(code) = code.and_then(|code| code.parse::<u16>().ok()) else {
            return Err("its answer is not HTTP".to_owned());
        };
        if code != 101 {
            return Err(refusal(code, body));
        }
        let header = |wanted: &str| {
            lines.clone().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        if header("sec-websocket-accept").as_deref() != Some(&self.accept) {
            return Err("its answer is not a WebSocket handshake".to_owned());
        }
        let is_v1 = header("sec-websocket-protocol").as_deref() == Some(SUBPROTOCOL);
        if self.protocol == Protocol::V1 && !is_v1 {
            return Err(format!("it does not speak {SUBPROTOCOL}"));
        }
        Ok(is_v1)
    }
}

/// What a handshake needs, with the trust of this machine.
#[cfg(feature = "tls")]
fn tls_to(authority: &str) -> io::Result<(Arc<ClientConfig>, ServerName<'static>)> {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split(']').next());
    let host = bracketed.or_else(|| authority.split(':').next()).unwrap_or_default();
    Ok((Trust::system().config(), server_name(host)?))
}

/// The first address at which a server listens, otherwise the first of all. `localhost` can be
/// `::1` and 127.0.0.1, with a server at only one of them.
fn answering(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let listens = |address: &&SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    let found = if addresses.len() > 1 { addresses.iter().find(listens) } else { None };
    found.or(addresses.first()).copied()
}

fn refusal(code: u16, body: &[u8]) -> String {
    let answer = Response::builder().status(code).body(Some(body.to_vec()));
    match answer.map(|answer| upgrade_error(&answer)) {
        Ok(ConnectionError::Lost(loss)) => loss.to_string(),
        Ok(ConnectionError::Refused(refused)) => refused.to_string(),
        Err(_) => format!("HTTP status {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(url: &str, protocol: Protocol, lines: Option<u64>) -> String {
        let request = String::from_utf8(Target::new(url, protocol, lines, false).unwrap().request);
        request.unwrap().lines().next().unwrap().to_owned()
    }

    #[test]
    fn the_query_of_the_url_is_kept() {
        for (url, protocol, lines, asked) in [
            ("http://127.0.0.1:1/a", Protocol::V1, None, "/a?tail=1&lines=0&format=raw&wait=0"),
            ("ws://127.0.0.1/a", Protocol::Original, None, "/a?tail=1"),
            ("ws://127.0.0.1:1", Protocol::Original, Some(5), "/?tail=1&lines=5"),
            (
                "ws://127.0.0.1:1/a?format=rows&x&wait=1",
                Protocol::Any,
                Some(5),
                "/a?format=rows&x&wait=1&tail=1&lines=5",
            ),
            ("ws://127.0.0.1:1/ä b?tail=1", Protocol::Original, None, "/%C3%A4%20b?tail=1"),
        ] {
            assert_eq!(asks(url, protocol, lines), format!("GET {asked} HTTP/1.1"));
        }
    }

    #[test]
    fn of_several_addresses_the_first_with_a_listener_is_used() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        // The port is taken while this socket has it, and nothing listens there.
        let held =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let closed = held.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(answering(&[closed, open]), Some(open));
        assert_eq!(answering(&[open, closed]), Some(open));
        assert_eq!(answering(&[closed, closed]), Some(closed));
        assert_eq!(answering(&[]), None);
    }

    #[test]
    fn an_answer_that_is_not_a_websocket_is_described() {
        let target = Target::new("ws://127.0.0.1:1/a", Protocol::V1, None, true).unwrap();
        let accept = target.accept.clone();
        let good = format!("HTTP/1.1 101 X\r\nSEC-WebSocket-Accept: {accept}\r\n");
        assert!(target.agree(good.as_bytes(), b"").unwrap_err().contains("tailcast.v1"));
        let v1 = format!("{good}Sec-WebSocket-Protocol: tailcast.v1\r\n");
        assert_eq!(target.agree(v1.as_bytes(), b""), Ok(true));
        for (head, body, words) in [
            ("SSH-2.0\r\n", "", "not HTTP"),
            ("HTTP/1.1 101 X\r\n", "", "handshake"),
            ("HTTP/1.1 404 X\r\n", "", "not found"),
            ("HTTP/1.1 400 X\r\n", "`tail` is\nx", "400: `tail` is"),
        ] {
            let error = target.agree(head.as_bytes(), body.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
