//! What a server can be told, as values. How people say it is the business of the command line.

mod base_path;
mod rules;
mod trusted;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::log::registry;
use crate::render::Decode;
use crate::serve::identity::{Sessions, Tokens, Users};
#[cfg(feature = "tls")]
use crate::serve::tls::Certificate;
use crate::time::Zone;

pub use base_path::{BadBasePath, BasePath};
pub use rules::{BadRule, Rule, Who};
pub use trusted::{BadTrustedProxy, TrustedProxy};

/// The time between two heartbeats, unless the settings say otherwise.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How the server detects viewers that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Not at all.
    Off,
    /// WebSocket pings.
    Ping,
    /// The original's text message `ping`, answered by the text `pong`.
    Text,
}

/// The settings of a server. The help of the command line describes most of them.
///
/// A running server can be given others ([`Handle::reload`](crate::serve::Handle::reload)). Those
/// of heartbeats, `rotate_wait`, `base_path` and `sessions`, and whether there is a certificate, then
/// stay as they were at the start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which kind of heartbeat.
    pub heartbeat: Heartbeat,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A viewer is gone if, for this time after a heartbeat, it sends nothing and its socket takes
    /// nothing.
    pub pong_timeout: Duration,
    /// The most viewers at a time, of all logs together. A request for rows, lines, matches or text
    /// counts as a viewer, unless its log already has viewers.
    pub max_viewers: usize,
    /// Origins of pages that may read logs, besides the server's own: `http://host:port`. This
    /// applies to WebSockets, event streams and `fetch`.
    pub allow_origins: Vec<String>,
    /// The path under which everything lies.
    pub base_path: BasePath,
    /// Host names by which the server may be reached, besides IP addresses and `localhost`.
    pub allow_hosts: Vec<String>,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Whether messages are compressed for viewers that offer `permessage-deflate`.
    pub compress: bool,
    /// Whether the lines of container runtimes are opened, where a request does not say it.
    pub decode: Decode,
    /// The time zone of stamps in logs that say none.
    pub zone: Zone,
    /// How long a file that was rotated away is still read.
    pub rotate_wait: Duration,
    /// The time that a connection has to send the head of a request, and the longest pause between
    /// two requests.
    pub head_timeout: Duration,
    /// A viewer is closed when its socket has taken none of the waiting bytes for this time. Zero
    /// closes every viewer that does not take them at once.
    pub stall_timeout: Duration,
    /// The time that viewers have to take the rest when the server ends. After that they are cut
    /// off.
    pub shutdown_timeout: Duration,
    /// The people who sign in with a password.
    pub users: Option<Arc<Users>>,
    /// The scripts that send a token.
    pub tokens: Option<Arc<Tokens>>,
    /// The header in which a trusted proxy says who the visitor is.
    pub user_header: Option<HeaderName>,
    /// The header in which a trusted proxy lists the groups of the visitor.
    pub group_header: Option<HeaderName>,
    /// The sessions of browsers. Without them, each request has to bring a password.
    pub sessions: Option<Sessions>,
    /// Who may read what. Without any, everybody who is admitted reads all prefixes.
    pub rules: Vec<Rule>,
    /// The certificate with which TLS is spoken on all TCP addresses. Another one counts for new
    /// connections. Without one TLS is not spoken; a running server cannot change that.
    #[cfg(feature = "tls")]
    pub certificate: Option<Certificate>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat::Ping,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            pong_timeout: Duration::from_secs(5),
            max_viewers: 10_000,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            base_path: BasePath::default(),
            trusted_proxies: Vec::new(),
            compress: true,
            decode: Decode::Auto,
            zone: Zone::of_machine(),
            rotate_wait: registry::ROTATE_WAIT,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(8),
            users: None,
            tokens: None,
            user_header: None,
            group_header: None,
            sessions: None,
            rules: Vec::new(),
            #[cfg(feature = "tls")]
            certificate: None,
        }
    }
}

impl Settings {
    /// Whether everything needs to know who the visitor is.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        self.users.is_some() || self.tokens.is_some() || self.user_header.is_some()
    }

    /// These settings for a server that was started with `first`: what a running server cannot
    /// change is as it was.
    pub(super) fn for_running(self, first: &Self) -> Self {
        Self {
            heartbeat: first.heartbeat,
            heartbeat_interval: first.heartbeat_interval,
            pong_timeout: first.pong_timeout,
            rotate_wait: first.rotate_wait,
            base_path: first.base_path.clone(),
            sessions: first.sessions.clone().or(self.sessions),
            #[cfg(feature = "tls")]
            certificate: first
                .certificate
                .as_ref()
                .map(|old| self.certificate.unwrap_or(old.clone())),
            ..self
        }
    }
}
