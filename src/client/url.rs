//! The URL of a log on a server.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio_tungstenite::tungstenite::http::Uri;

/// The URL of a log on a server: `http://host:8765/var/log/app.log`, or the same with `ws://`; with
/// TLS `https://` or `wss://`. A user may stand before the host, as in `http://ann@host:8765/…`; a
/// password may not. A log of a server that listens on a unix socket is
/// `unix:/run/tailcast.sock:/var/log/app.log`.
///
/// Characters that a URL cannot contain (a space, a letter with an accent) are percent-encoded.
/// Parameters after `?` are dropped: [`FollowRequest`](crate::client::FollowRequest) has their
/// place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogUrl {
    /// The unix socket of the server, if it is not reached by TCP.
    socket: Option<PathBuf>,
    /// The user whose password the server wants.
    user: Option<String>,
    /// The server speaks TLS.
    has_tls: bool,
    /// Host and port.
    authority: String,
    /// The log's absolute path, percent-encoded.
    path: String,
}

/// Characters that are percent-encoded. `%` is not: it belongs to an encoded character.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Why a text is not the URL of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// The scheme is `https` or `wss`, and this program was built without the feature `tls`.
    Tls,
    /// The scheme is not known. Empty if there is none.
    Scheme(String),
    /// The host or the port is not valid.
    Host,
    /// There is a password before the host.
    Password,
    /// The URL names a server, but no log.
    NoLog,
}

impl Display for BadUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("this program was built without TLS"),
            Self::Scheme(scheme) if scheme.is_empty() => {
                f.write_str("it does not begin with `http://`")
            }
            Self::Scheme(scheme) => write!(f, "the scheme `{scheme}` is not supported"),
            Self::Host => f.write_str("the host or the port is not valid"),
            Self::Password => f.write_str("it has a password in it"),
            Self::NoLog => f.write_str("it names a server, but no log"),
        }
    }
}

impl std::error::Error for BadUrl {}

impl LogUrl {
    /// Whether a text is a URL rather than the path of a file.
    #[must_use]
    pub fn looks_like_url(text: &str) -> bool {
        unix_parts(text).is_some()
            || text.split_once("://").is_some_and(|(scheme, _)| {
                let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                    && scheme.bytes().all(letters)
            })
    }

    /// The unix socket of the server, if it is not reached by TCP.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The user whose password the server wants.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The WebSocket URL with these parameters.
    pub(crate) fn websocket(&self, parameters: &str) -> String {
        let scheme = if self.has_tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}?{parameters}", self.authority, self.path)
    }
}

impl Display for LogUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "unix:{}:{}", socket.display(), self.path),
            None if self.has_tls => write!(f, "https://{}{}", self.authority, self.path),
            None => write!(f, "http://{}{}", self.authority, self.path),
        }
    }
}

impl FromStr for LogUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if let Some((socket, path)) = unix_parts(text) {
            // On a unix socket any name of this machine will do.
            let local = format!("http://localhost{path}");
            return Ok(Self { socket: Some(socket.into()), ..local.parse()? });
        }
        let (user, text) = without_user(text)?;
        let UrlParts { has_tls, authority, path, .. } = UrlParts::parse(&text)?;
        if path.trim_matches('/').is_empty() {
            return Err(BadUrl::NoLog);
        }
        Ok(Self { socket: None, user, has_tls, authority: authority.to_owned(), path })
    }
}

/// The user that stands before the host, and the URL without it. Others can see the arguments of a
/// program, so a password has no place there.
fn without_user(text: &str) -> Result<(Option<String>, String), BadUrl> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok((None, text.to_owned())) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return Ok((None, text.to_owned())) };
    if user.contains(':') {
        return Err(BadUrl::Password);
    }
    let bare = rest.get(user.len() + 1..).unwrap_or_default();
    let user = percent_decode_str(user).decode_utf8().map_err(|_| BadUrl::Host)?.into_owned();
    if user.is_empty() || user.contains(':') {
        return Err(BadUrl::Host);
    }
    Ok((Some(user), format!("{scheme}://{bare}")))
}

/// The socket and the log's path in `unix:/run/tailcast.sock:/var/log/app.log`.
fn unix_parts(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("unix:").filter(|rest| rest.starts_with('/'))?;
    let (socket, _) = rest.split_once(":/")?;
    rest.split_at_checked(socket.len() + 1).map(|(_, path)| (socket, path))
}

/// The parts of a URL, which need not name a log.
pub(crate) struct UrlParts<'a> {
    /// The scheme is one with TLS.
    pub(crate) has_tls: bool,
    /// Host and port.
    pub(crate) authority: &'a str,
    /// Percent-encoded; may be empty.
    pub(crate) path: String,
    /// The part after `?`, percent-encoded where necessary.
    pub(crate) query: String,
}

impl<'a> UrlParts<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, BadUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme(String::new()))?;
        let has_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" if cfg!(feature = "tls") => true,
            "https" | "wss" => return Err(BadUrl::Tls),
            _ => return Err(BadUrl::Scheme(scheme.to_owned())),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let uri: Uri = format!("http://{authority}/").parse().map_err(|_| BadUrl::Host)?;
        let known = uri.host().is_some_and(|host| !host.is_empty()) && !authority.contains('@');
        let after_host = authority.rsplit(']').next().unwrap_or_default();
        let port = after_host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
        if !known || !port {
            return Err(BadUrl::Host);
        }
        let encode = |text| utf8_percent_encode(text, ENCODED).to_string();
        Ok(Self { has_tls, authority, path: encode(path), query: encode(query) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_url_is_percent_encoded_where_necessary() {
        for (typed, websocket) in [
            ("http://127.0.0.1:8765/var/log/app.log", "ws://127.0.0.1:8765/var/log/app.log?x=1"),
            ("WS://host/a%20b?tail=1#end", "ws://host/a%20b?x=1"),
            ("ws://[::1]:80/a b/ä", "ws://[::1]:80/a%20b/%C3%A4?x=1"),
        ] {
            let url: LogUrl = typed.parse().unwrap();
            assert_eq!(url.websocket("x=1"), websocket);
            assert!(url.websocket("x=1").parse::<Uri>().is_ok());
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn a_url_with_tls_stays_one() {
        for typed in ["https://host/a.log", "WSS://host/a.log?tail=1"] {
            let url: LogUrl = typed.parse().unwrap();
            assert_eq!(url.websocket("x=1"), "wss://host/a.log?x=1");
            assert_eq!(url.to_string(), "https://host/a.log");
        }
    }

    #[test]
    fn a_user_may_stand_before_the_host() {
        for (typed, user, websocket) in [
            ("http://ann@host:80/a", Some("ann"), "ws://host:80/a?x"),
            ("http://a%40b@[::1]/a@b", Some("a@b"), "ws://[::1]/a@b?x"),
            ("http://host/a@b", None, "ws://host/a@b?x"),
        ] {
            let url: LogUrl = typed.parse().unwrap();
            assert_eq!((url.user(), url.websocket("x").as_str()), (user, websocket), "{typed}");
            assert!(user.is_none() || !url.to_string().contains("ann"), "{url}");
        }
    }

    #[test]
    fn an_invalid_url_is_refused_with_the_reason() {
        let refused = |typed: &str| typed.parse::<LogUrl>().unwrap_err();
        if cfg!(not(feature = "tls")) {
            assert_eq!(refused("https://host/a.log"), BadUrl::Tls);
        }
        assert_eq!(refused("ftp://host/a.log"), BadUrl::Scheme("ftp".to_owned()));
        for typed in ["http:///a.log", "http://host:99999/a", "http://host:/a", "http://@host/a"] {
            assert_eq!(refused(typed), BadUrl::Host, "{typed}");
        }
        assert_eq!(refused("http://u:p@host/a"), BadUrl::Password);
        assert_eq!(refused("http://host:8765"), BadUrl::NoLog);
        assert_eq!(refused("http://host:8765/?tail=1"), BadUrl::NoLog);
    }

    #[test]
    fn a_log_behind_a_unix_socket_names_the_socket_first() {
        let typed = "unix:/run/tail cast.sock:/var/log/a:/b c.log?tail=1";
        let url: LogUrl = typed.parse().unwrap();
        assert_eq!(url.socket(), Some(Path::new("/run/tail cast.sock")));
        assert_eq!(url.websocket("x=1"), "ws://localhost/var/log/a:/b%20c.log?x=1");
        assert_eq!(url.to_string(), "unix:/run/tail cast.sock:/var/log/a:/b%20c.log");
        assert!(LogUrl::looks_like_url(typed));
        assert_eq!("unix:/a.sock:/".parse::<LogUrl>(), Err(BadUrl::NoLog));
        for path in ["unix:a.sock:/b", "unix:/a.sock", "unix:/a.sock:b", "unix:"] {
            assert!(!LogUrl::looks_like_url(path), "{path}");
        }
    }

    #[test]
    fn a_path_is_not_mistaken_for_a_url() {
        assert!(LogUrl::looks_like_url("http://x") && LogUrl::looks_like_url("ftp://x"));
        for path in ["a.log", "/var/log/x", "./a://b", "://", "C:/x", "host:8765/var/log/x"] {
            assert!(!LogUrl::looks_like_url(path), "{path}");
        }
    }
}
