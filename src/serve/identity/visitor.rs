//! The sender of a request, once it is known who that is.

use std::sync::Arc;

use crate::log::pattern::RequestedPath;
use crate::log::{Access, LogPath, Refusal};
use crate::serve::identity::accounts::{Digest, User};
use crate::serve::identity::sessions::Session;
use crate::serve::settings::Settings;

/// Somebody who was admitted, and what they may read. Only the gate makes one.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Visitor {
    identity: Identity,
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
    Proxy { name: String, groups: Vec<String> },
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
    pub(super) fn stands(&self, settings: &Settings) -> bool {
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
            Self::Token { name, .. } | Self::Proxy { name, .. } => Some(name),
        }
    }

    /// The groups, as the files have them now.
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
            Self::Proxy { groups, .. } => groups.clone(),
        }
    }
}

impl Visitor {
    pub(super) fn new(identity: Identity, access: Arc<Access>) -> Self {
        Self { identity, access }
    }

    /// Anybody, where the server asks for no identity.
    #[cfg(test)]
    pub(in crate::serve) fn anybody(access: &Arc<Access>) -> Self {
        Self::new(Identity::Anonymous, Arc::clone(access))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The visitor's name; `None` where the server asks for no identity.
    pub(in crate::serve) fn name(&self) -> Option<&str> {
        self.identity.name()
    }

    /// Whether the visitor can sign out: the identity is a session of this server.
    pub(in crate::serve) fn can_sign_out(&self) -> bool {
        matches!(&self.identity, Identity::User(_))
    }

    /// Whether the visitor's session has expired.
    pub(in crate::serve) fn has_expired(&self) -> bool {
        match &self.identity {
            Identity::User(UserIdentity { session: Some(session), .. }) => session.has_expired(),
            Identity::User(_)
            | Identity::Anonymous
            | Identity::Token { .. }
            | Identity::Proxy { .. } => false,
        }
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
