//! Who a visitor is, and what they may read.
//!
//! A [`Visitor`] is made here alone, from what a request proves: a name that a trusted proxy gives, a
//! password, a token, or the cookie of a session. Only a visitor turns the path of a request into a
//! log, so no route can forget to ask. Where no identity is asked for, everybody is the same visitor,
//! who may read all prefixes.
//!
//! Rights follow from the rules `[[allow]]`: each gives a [`Scope`] to some names. Names, groups and
//! rules may change while a stream goes on, so the gate can be asked again.

mod accounts;
mod credentials;
mod ended;
mod ended_file;
mod passwords;
mod sessions;
mod sign_in;
mod state;
mod throttle;
mod visitor;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headers::{Cookie, HeaderMapExt};
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::RwLock;

use crate::log::metrics::Metrics;
use crate::log::pattern::RequestedPath;
use crate::log::{Access, Refusal, Scope};
use crate::serve::forwarded::Client;
use crate::serve::origin_check::RequestOrigin;
use crate::serve::refusal::Refused;
use crate::serve::settings::{BasePath, Settings, Who};
use credentials::Credentials;
use passwords::{Passwords, Verdict};
use visitor::{Identity, ProxyIdentity, UserIdentity};

pub use accounts::{Tokens, Users, WrongAccount, is_name, new_token, password_hash, token_digest};
pub(super) use sessions::Session;
pub use sessions::{Sessions, StateError};
pub(super) use sign_in::{sign_in, sign_out, to_sign_in};
pub(super) use visitor::Visitor;

/// A bcrypt hash looks at fewer bytes than this.
pub const PASSWORD_BYTES_MAX: usize = passwords::PASSWORD_BYTES_MAX;

/// Says who visitors are.
#[derive(Debug)]
pub(super) struct Gate {
    /// All prefixes. What a visitor may read of them is theirs to say.
    access: Arc<Access>,
    passwords: Passwords,
    rules: RwLock<Arc<Vec<ScopedRule>>>,
    /// Counts the changes of what visitors may do.
    changes: AtomicU64,
}

/// Rules, with their paths looked up.
pub(super) struct Rules(Vec<ScopedRule>);

/// A rule, with its paths looked up.
#[derive(Debug)]
struct ScopedRule {
    who: Vec<Who>,
    scope: Scope,
}

impl ScopedRule {
    fn is_for(&self, name: &str, groups: &[String]) -> bool {
        self.who.iter().any(|who| match who {
            Who::Everybody => true,
            Who::Group(group) => groups.contains(group),
            Who::Named(named) => named == name,
        })
    }
}

/// What an admitted request gets.
pub(super) struct Admission {
    pub(super) visitor: Visitor,
    /// A cookie to set.
    pub(super) cookie: Option<HeaderValue>,
}

/// What has become of a visitor who was admitted before.
#[derive(Debug)]
pub(super) enum Standing {
    /// They would be admitted again, and may now read this.
    Admitted(Visitor),
    /// They would not be: the user, the password, the token or the session has ended.
    Gone,
}

impl Gate {
    /// The gate of a server. It looks up the paths of the rules, so it may block.
    pub(super) fn new(access: Arc<Access>, settings: &Settings) -> Self {
        let rules = RwLock::new(Arc::new(scoped(&access, settings)));
        Self { access, passwords: Passwords::default(), rules, changes: AtomicU64::new(1) }
    }

    /// The rules of other settings over other prefixes. It looks up paths, so it may block.
    pub(super) fn rules_over(access: &Access, settings: &Settings) -> Rules {
        Rules(scoped(access, settings))
    }

    /// Takes other prefixes and rules.
    pub(super) fn adopt(&self, access: Access, rules: Rules) {
        let mut present = self.rules.write();
        self.access.adopt(access);
        *present = Arc::new(rules.0);
    }

    /// Called after the settings or the sessions have changed.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How often something has changed. Whoever asks takes this first, and the settings second.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The counters of everything that is read.
    pub(super) fn metrics(&self) -> &Metrics {
        self.access.metrics()
    }

    /// Whether a path lies inside the prefixes, whoever asks. It says nothing about what is there.
    pub(super) fn is_in_prefixes(&self, requested: &RequestedPath) -> bool {
        !matches!(self.access.locate_requested(requested), Err(Refusal::Forbidden))
    }

    /// Admits the sender of a request, or says how to sign in.
    ///
    /// # Errors
    /// 401 without a valid identity, 429 after too many wrong ones, 400 for credentials that make no
    /// sense.
    pub(super) async fn admit(
        &self,
        settings: &Settings,
        client: &Client,
        origin: &RequestOrigin,
        headers: &HeaderMap,
    ) -> Result<Admission, Refused> {
        if !settings.needs_identity() {
            return Ok(self.admission(settings, Identity::Anonymous));
        }
        if let Some(identity) = of_proxy(settings, client, headers)? {
            return Ok(self.admission(settings, identity));
        }
        // A browser sends the cookie with a WebSocket of another page of the same site, too.
        let session = match origin {
            RequestOrigin::Own => self.session_of(settings, client, headers),
            RequestOrigin::Listed(_) => None,
        };
        let credentials = Credentials::of(headers)?;
        let identity = match credentials {
            None => session.map(Identity::User),
            Some(Credentials::Password { name, password }) => {
                let user = self.check_password(settings, client, &name, &password).await?;
                let is_known = session.is_some_and(|session| session.name == user.name);
                let cookie = (!is_known).then(|| begin_session(settings, client, &user)).flatten();
                let admission = self.admission(settings, Identity::User(user));
                return Ok(Admission { cookie, ..admission });
            }
            Some(Credentials::Token(token)) => Some(self.check_token(settings, client, &token)?),
        };
        let identity = identity.ok_or_else(Refused::no_identity)?;
        Ok(self.admission(settings, identity))
    }

    /// The user with this password.
    ///
    /// # Errors
    /// 401 if there is none, 429 after too many wrong passwords.
    async fn check_password(
        &self,
        settings: &Settings,
        client: &Client,
        name: &str,
        password: &str,
    ) -> Result<UserIdentity, Refused> {
        let Some(users) = &settings.users else { return Err(Refused::no_identity()) };
        match self.passwords.check(users, name, password, client.address()).await {
            Verdict::Right(user) => Ok(UserIdentity::of(user)),
            Verdict::Wrong => {
                tracing::info!(remote = %client.remote, "wrong name or password");
                Err(Refused::wrong_identity())
            }
            Verdict::TooMany(wait) => Err(Refused::too_many(wait)),
        }
    }

    fn check_token(
        &self,
        settings: &Settings,
        client: &Client,
        token: &str,
    ) -> Result<Identity, Refused> {
        let Some(tokens) = &settings.tokens else { return Err(Refused::no_identity()) };
        match self.passwords.check_token(tokens, token) {
            Some(token) => Ok(Identity::Token { name: token.name.clone(), digest: token.digest }),
            None => {
                tracing::info!(remote = %client.remote, "wrong token");
                Err(Refused::wrong_identity())
            }
        }
    }

    /// The user whose session a cookie of the request proves.
    fn session_of(
        &self,
        settings: &Settings,
        client: &Client,
        headers: &HeaderMap,
    ) -> Option<UserIdentity> {
        let (users, sessions) = (settings.users.as_ref()?, settings.sessions.as_ref()?);
        let cookies = headers.typed_get::<Cookie>()?;
        let name = cookie_name(client, &settings.base_path);
        // A page of a neighbouring host name may have set another cookie of this name.
        let mut values = cookies.iter().filter(|(named, _)| *named == name);
        let session = values.find_map(|(_, value)| sessions.read(value, users))?;
        Some(UserIdentity::of_session(session))
    }

    /// What has become of a visitor.
    pub(super) fn standing(&self, settings: &Settings, visitor: &Visitor) -> Standing {
        let identity = visitor.identity();
        if identity.stands(settings) {
            Standing::Admitted(self.admission(settings, identity.clone()).visitor)
        } else {
            Standing::Gone
        }
    }

    /// A visitor whom the proxy of a unix socket names; with an empty name, anybody.
    #[cfg(test)]
    pub(super) fn visitor_named(&self, settings: &Settings, name: &str) -> Visitor {
        match name {
            "" => self.admission(settings, Identity::Anonymous).visitor,
            name => self.visitor_of_proxy(settings, name, &[]),
        }
    }

    /// A visitor whom the proxy of a unix socket names, as a member of these groups.
    #[cfg(test)]
    pub(super) fn visitor_of_proxy(
        &self,
        settings: &Settings,
        name: &str,
        groups: &[&str],
    ) -> Visitor {
        let identity = Identity::Proxy(ProxyIdentity {
            name: name.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            peer: crate::serve::socket::Peer::Unix,
            user_header: settings.user_header.clone().unwrap(),
            group_header: settings.group_header.clone(),
        });
        self.admission(settings, identity).visitor
    }

    /// A visitor with a new session of a user.
    #[cfg(test)]
    pub(super) fn visitor_with_session(&self, settings: &Settings, name: &str) -> Visitor {
        let (users, sessions) =
            (settings.users.as_ref().unwrap(), settings.sessions.as_ref().unwrap());
        let cookie = sessions.begin(name, &users.named(name).unwrap().fingerprint);
        let session = sessions.read(&cookie, users).unwrap();
        let identity = Identity::User(UserIdentity::of_session(session));
        self.admission(settings, identity).visitor
    }

    fn admission(&self, settings: &Settings, identity: Identity) -> Admission {
        let scope = self.scope_of(settings, &identity);
        let access = match scope {
            None => Arc::clone(&self.access),
            scope => Arc::new(self.access.within(scope)),
        };
        Admission { visitor: Visitor::new(identity, access), cookie: None }
    }

    /// What the rules let somebody read. `None` for everything.
    fn scope_of(&self, settings: &Settings, identity: &Identity) -> Option<Arc<Scope>> {
        let rules = Arc::clone(&self.rules.read());
        if rules.is_empty() {
            return None;
        }
        let Some(name) = identity.name() else { return Some(Arc::default()) };
        let groups = identity.groups(settings);
        let own = rules.iter().filter(|rule| rule.is_for(name, &groups));
        Some(Arc::new(Scope::union(own.map(|rule| &rule.scope))))
    }
}

/// The rules of the settings, with their paths looked up.
fn scoped(access: &Access, settings: &Settings) -> Vec<ScopedRule> {
    let scoped = |rule: &crate::serve::Rule| ScopedRule {
        who: rule.who.clone(),
        scope: access.scope_of(rule.read.iter().map(|path| path.as_path())),
    };
    settings.rules.iter().map(scoped).collect()
}

/// Who a trusted proxy says the visitor is. The headers of all others are nobody's word.
///
/// # Errors
/// 401 for a header that names nobody.
fn of_proxy(
    settings: &Settings,
    client: &Client,
    headers: &HeaderMap,
) -> Result<Option<Identity>, Refused> {
    let Some(header) = settings.user_header.as_ref().filter(|_| client.is_trusted) else {
        return Ok(None);
    };
    let mut names = headers.get_all(header).iter();
    let Some(name) = names.next() else { return Ok(None) };
    let text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).ok().map(str::to_owned);
    let name = text(name).filter(|name| is_name(name) && names.next().is_none());
    let Some(name) = name else {
        return Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "the proxy names nobody who could be a visitor",
            format!("let the proxy send one `{header}` header with one name, without spaces"),
        ));
    };
    let groups = settings.group_header.as_ref().map(|header| {
        let values = headers.get_all(header).iter().filter_map(text);
        let groups: Vec<String> = values
            .flat_map(|value| {
                value.split(',').map(|group| group.trim().to_owned()).collect::<Vec<_>>()
            })
            .filter(|group| is_name(group))
            .collect();
        groups
    });
    Ok(Some(Identity::Proxy(ProxyIdentity {
        name,
        groups: groups.unwrap_or_default(),
        peer: client.peer,
        user_header: header.clone(),
        group_header: settings.group_header.clone(),
    })))
}

/// The name of the cookie. With TLS, browsers take a cookie with such a name from this server alone.
fn cookie_name(client: &Client, base: &BasePath) -> &'static str {
    match (client.is_secure(), base.as_str().is_empty()) {
        (true, true) => "__Host-tailcast",
        (true, false) => "__Secure-tailcast",
        (false, _) => "tailcast",
    }
}

/// A header that sets the cookie to this value for so many seconds.
fn set_cookie(client: &Client, base: &BasePath, value: &str, seconds: u64) -> Option<HeaderValue> {
    let name = cookie_name(client, base);
    let path = if base.as_str().is_empty() { "/" } else { base.as_str() };
    let secure = if client.is_secure() { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A header that sets the cookie of a new session.
fn begin_session(settings: &Settings, client: &Client, user: &UserIdentity) -> Option<HeaderValue> {
    let value = settings.sessions.as_ref()?.begin(&user.name, &user.fingerprint);
    set_cookie(client, &settings.base_path, &value, sessions::SESSION_TIME.as_secs())
}

/// Reads what anybody may send before it is known who they are, for the fuzzer.
///
/// # Panics
/// When a promise is broken: that a place to go on to lies on this server, and that a cookie that
/// this server did not make proves nothing.
#[cfg(any(test, fuzzing))]
pub fn read_unknown(bytes: &[u8]) {
    let users: Users = "ann:$2y$04$snw.ZbTb2lDvV81UfXWzR.z0hLAugoLmvMq3FFkt1RggR80px.6hG"
        .parse()
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    sign_in::read_unknown(bytes);
    let text = String::from_utf8_lossy(bytes);
    // Whatever is in such a file, it is read or refused.
    let _users = text.parse::<Users>();
    let _tokens = text.parse::<Tokens>();
    assert!(Sessions::in_memory().read(&text, &users).is_none());
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(hyper::header::AUTHORIZATION, value.clone());
    headers.insert(hyper::header::COOKIE, value);
    let _credentials = Credentials::of(&headers);
    let _cookies = headers.typed_get::<Cookie>().map(|cookies| cookies.iter().count());
}

/// Whether a header can say who a visitor is: one that a proxy sets for this purpose alone.
#[must_use]
pub fn can_name_visitors(header: &HeaderName) -> bool {
    use hyper::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, ORIGIN};
    ![AUTHORIZATION, COOKIE, FORWARDED, HOST, ORIGIN].contains(header)
        && !header.as_str().starts_with("x-forwarded-for")
        && !header.as_str().starts_with("sec-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_anybody_may_send_is_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            text in r"(next=)?/[/\\%25CcFf.a|=&:;,$\t ]{0,20}",
        ) {
            read_unknown(&bytes);
            read_unknown(text.as_bytes());
        }
    }
}
