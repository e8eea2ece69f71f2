//! Where the broker is, and as whom one signs in there.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// The port of a broker if the URL names none.
const PORT: u16 = 4222;

/// What is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How one signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// With a name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// With a token.
    Token(Secret),
    /// With the content of a credentials file: a JWT and the seed of its key.
    Credentials(Secret),
    /// With the seed of a user's key (NKEY), of which the broker knows the public half.
    Key(Secret),
}

/// The servers of a broker, `nats://HOST:PORT` or `tls://HOST:PORT`, with a comma between two.
///
/// A name and a password, or a token, may stand before the host. Only
/// [`take_login`](Self::take_login) gives them: the text of the address has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    servers: Vec<Server>,
    login: Option<Login>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    is_tls: bool,
    /// Host and port.
    authority: String,
}

/// A text that is no address of a broker, and what is wrong with it. The text is not repeated, since
/// it may have a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAddress(&'static str);

impl Display for NotAnAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; write `nats://HOST:PORT` or `tls://HOST:PORT`", self.0)
    }
}

impl std::error::Error for NotAnAddress {}

impl Display for BrokerAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (nth, Server { is_tls, authority }) in self.servers.iter().enumerate() {
            let comma = if nth == 0 { "" } else { "," };
            let scheme = if *is_tls { "tls" } else { "nats" };
            write!(f, "{comma}{scheme}://{authority}")?;
        }
        Ok(())
    }
}

impl FromStr for BrokerAddress {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (mut servers, mut login) = (Vec::new(), None);
        for part in text.split(',') {
            let (server, own) = parse_server(part.trim())?;
            servers.push(server);
            login = login.or(own);
        }
        Ok(Self { servers, login })
    }
}

impl BrokerAddress {
    /// The login that stood in the text. The address has none after that.
    pub fn take_login(&mut self) -> Option<Login> {
        self.login.take()
    }

    /// Each server by itself.
    pub(super) fn servers(&self) -> Vec<String> {
        let one = |server: &Server| Self { servers: vec![server.clone()], login: None }.to_string();
        self.servers.iter().map(one).collect()
    }

    /// Whether a server wants TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.servers.iter().any(|server| server.is_tls)
    }
}

fn parse_server(text: &str) -> Result<(Server, Option<Login>), NotAnAddress> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
    let is_tls = match scheme {
        "nats" => false,
        "tls" => true,
        "http" | "https" => return Err(NotAnAddress("this is the address of a web server")),
        "ws" | "wss" => return Err(NotAnAddress("a broker is not reached by WebSockets")),
        _ => return Err(NotAnAddress("this is another kind of address")),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user_info, authority) = match rest.rsplit_once('@') {
        Some((user_info, authority)) => (Some(user_info), authority),
        None => (None, rest),
    };
    if authority.contains(['/', '?', '#']) {
        return Err(NotAnAddress("nothing follows the port"));
    }
    if authority.chars().any(|ch| ch.is_whitespace() || ch.is_control()) {
        return Err(NotAnAddress("a host has no space"));
    }
    let (host, port) = match authority.rsplit_once(']') {
        // The brackets of an IPv6 address stay.
        Some((host, after)) => (
            authority.strip_suffix(after).unwrap_or(host),
            match after.strip_prefix(':') {
                None if !after.is_empty() => return Err(NotAnAddress("nothing follows the port")),
                port => port,
            },
        ),
        None if authority.matches(':').count() > 1 => {
            return Err(NotAnAddress("an IPv6 address stands in brackets: `nats://[::1]:4222`"));
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(NotAnAddress("there is no host"));
    }
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|&port| port > 0).ok_or(NotAnAddress("the port is wrong"))?
        }
        None => PORT,
    };
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = user_info.map(|user_info| match user_info.split_once(':') {
        Some((user, password)) => {
            Login::Password { user: decode(user), password: Secret(decode(password)) }
        }
        None => Login::Token(Secret(decode(user_info))),
    });
    Ok((Server { is_tls, authority: format!("{host}:{port}") }, login))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<Login>) {
        let mut address: BrokerAddress = text.parse().unwrap();
        let login = address.take_login();
        (address.to_string(), login)
    }

    #[test]
    fn an_address_has_a_scheme_and_a_port() {
        for (text, address) in [
            ("broker", "nats://broker:4222"),
            ("broker:4223", "nats://broker:4223"),
            ("nats://127.0.0.1:4222/", "nats://127.0.0.1:4222"),
            ("tls://broker.example.com", "tls://broker.example.com:4222"),
            ("nats://[::1]:4223", "nats://[::1]:4223"),
            ("nats://[::1]", "nats://[::1]:4222"),
            ("nats://a:1, tls://b:2", "nats://a:1,tls://b:2"),
        ] {
            assert_eq!(parsed(text), (address.to_owned(), None), "{text}");
        }
    }

    #[test]
    fn the_login_is_taken_out_and_never_shown() {
        let password = |user: &str, password| Login::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        };
        for (text, login) in [
            ("nats://ann:p%40ss:x@broker", password("ann", "p@ss:x")),
            ("nats://ann:p@ss@broker", password("ann", "p@ss")),
            ("nats://s3cret@broker", Login::Token(Secret::new("s3cret"))),
            ("nats://broker,nats://ann:b@other", password("ann", "b")),
        ] {
            let address: BrokerAddress = text.parse().unwrap();
            let shown = format!("{address} {address:?}");
            for secret in ["p@ss", "p%40ss", "s3cret"] {
                assert!(!shown.contains(secret), "{shown}");
            }
            assert_eq!(parsed(text).1, Some(login), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "",
            "nats://",
            "nats://:4222",
            "nats://a:port",
            "nats://a:0",
            "nats://a:70000",
            "http://ann:s3cret@a",
            "ws://a",
            "redis://a",
            "nats://a/b",
            "nats://a b",
            "nats://::1",
            "nats://a,,nats://b",
        ] {
            let error = text.parse::<BrokerAddress>().unwrap_err().to_string();
            assert!(error.contains("write `nats://HOST:PORT`"), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
