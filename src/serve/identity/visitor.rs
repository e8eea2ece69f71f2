//! The sender of a request, once it is known who that is.

use std::sync::Arc;

use hyper::header::HeaderName;

use crate::log::pattern::RequestedPath;
use crate::log::{Access, LogPath, Refusal};
use crate::serve::forwarded;
use crate::serve::identity::accounts::{Digest, User};
use crate::serve::identity::sessions::Session;
use crate::serve::settings::Settings;
use crate::serve::socket::Peer;

/// Somebody who was admitted, and what they may read. Only the gate makes one.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Visitor {
    /// None is anybody. It is shared, because each stream keeps its visitor.
    identity: Option<Arc<Identity>>,
    access: Arc<Access>,
}

/// Who a visitor is, and by what that was proved.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// The server asks for no identity.
    Anonymous,
    /// A user, by a password or a session.
    User(UserIdentity),
    /// A script, by a token.
    Token { name: String, digest: Digest },
    /// Somebody whom a trusted proxy names.
    Proxy(ProxyIdentity),
}

/// What a proxy said of a visitor, and by what right.
#[derive(Clone, Debug)]
pub(super) struct ProxyIdentity {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    pub(super) peer: Peer,
    /// The header with the name.
    pub(super) user_header: HeaderName,
    /// The header with the groups, if one counted.
    pub(super) group_header: Option<HeaderName>,
}

impl ProxyIdentity {
    /// Whether the proxy would still be believed.
    fn stands(&self, settings: &Settings) -> bool {
        settings.user_header.as_ref() == Some(&self.user_header)
            && forwarded::is_trusted(self.peer, &settings.trusted_proxies)
    }

    /// The groups, unless their header no longer counts.
    fn groups(&self, settings: &Settings) -> Vec<String> {
        let counts = settings.group_header == self.group_header;
        if counts { self.groups.clone() } else { Vec::new() }
    }
}

/// A user whose password was right, now or when the session began.
#[derive(Clone, Debug)]
pub(super) struct UserIdentity {
    pub(super) name: String,
    pub(super) fingerprint: Digest,
    pub(super) session: Option<Session>,
}

impl UserIdentity {
    pub(super) fn of(user: &User) -> Self {
        Self { name: user.name.clone(), fingerprint: user.fingerprint, session: None }
    }

    pub(super) fn of_session(session: Session) -> Self {
        let (name, fingerprint) = (session.name.clone(), session.fingerprint);
        Self { name, fingerprint, session: Some(session) }
    }

    /// Whether the user is still the same, and the session goes on.
    fn stands(&self, settings: &Settings) -> bool {
        let user = settings.users.as_ref().and_then(|users| users.named(&self.name));
        user.is_some_and(|user| user.fingerprint == self.fingerprint)
            && self.session.as_ref().is_none_or(|session| {
                settings.sessions.as_ref().is_some_and(|sessions| sessions.is_valid(session))
            })
    }
}

impl Identity {
    /// The name; `None` for nobody in particular.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.name),
            Self::Token { name, .. } => Some(name),
            Self::Proxy(proxy) => Some(&proxy.name),
        }
    }

    /// Whether somebody who was admitted with this identity would be admitted again.
    pub(super) fn stands(&self, settings: &Settings) -> bool {
        match self {
            Self::Anonymous => !settings.needs_identity(),
            Self::Proxy(proxy) => proxy.stands(settings),
            Self::Token { name, digest } => settings.tokens.as_ref().is_some_and(|tokens| {
                tokens.iter().any(|token| token.digest == *digest && token.name == *name)
            }),
            Self::User(user) => user.stands(settings),
        }
    }

    /// The groups, as the files have them now, or as the proxy said.
    pub(super) fn groups(&self, settings: &Settings) -> Vec<String> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::User(user) => {
                let user = settings.users.as_ref().and_then(|users| users.named(&user.name));
                user.map(|user| user.groups.clone()).unwrap_or_default()
            }
            Self::Token { digest, .. } => {
                let mut all = settings.tokens.iter().flat_map(|tokens| tokens.iter());
                let token = all.find(|token| token.digest == *digest);
                token.map(|token| token.groups.clone()).unwrap_or_default()
            }
            Self::Proxy(proxy) => proxy.groups(settings),
        }
    }
}

impl Visitor {
    pub(super) fn new(identity: Identity, access: Arc<Access>) -> Self {
        let is_known = !matches!(identity, Identity::Anonymous);
        Self { identity: is_known.then(|| Arc::new(identity)), access }
    }

    /// Anybody, where the server asks for no identity.
    #[cfg(test)]
    pub(in crate::serve) fn anybody(access: &Arc<Access>) -> Self {
        Self::new(Identity::Anonymous, Arc::clone(access))
    }

    pub(super) fn identity(&self) -> &Identity {
        self.identity.as_deref().unwrap_or(&Identity::Anonymous)
    }

    /// The visitor's name; `None` where the server asks for no identity.
    pub(in crate::serve) fn name(&self) -> Option<&str> {
        self.identity().name()
    }

    /// Whether the visitor can sign out: the identity is a session of this server.
    pub(in crate::serve) fn can_sign_out(&self) -> bool {
        matches!(self.identity(), Identity::User(_))
    }

    /// The session by which the visitor was admitted.
    pub(in crate::serve) fn session(&self) -> Option<&Session> {
        match self.identity() {
            Identity::User(user) => user.session.as_ref(),
            Identity::Anonymous | Identity::Token { .. } | Identity::Proxy(_) => None,
        }
    }

    /// Whether the visitor's session has expired.
    pub(in crate::serve) fn has_expired(&self) -> bool {
        self.session().is_some_and(Session::has_expired)
    }

    /// What the visitor may read.
    pub(in crate::serve) fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// The log at a requested path, which may be a pattern.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for what the visitor may not read, whether or not it exists.
    pub(in crate::serve) fn log_requested(
        &self,
        requested: &RequestedPath,
    ) -> Result<LogPath, Refusal> {
        self.access.locate_requested(requested)
    }

    /// The log at a decoded path.
    ///
    /// # Errors
    /// As for [`log_requested`](Self::log_requested).
    pub(in crate::serve) fn log_at(&self, decoded: &[u8]) -> Result<LogPath, Refusal> {
        self.access.locate(decoded)
    }
}
