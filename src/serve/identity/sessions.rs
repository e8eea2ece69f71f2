//! Sessions of browsers: the cookie, and which ones have ended.
//!
//! A cookie says `name|expiry|nonce|MAC`. The MAC is keyed, and covers the fingerprint of the user, so
//! that a session ends with its user or with the user's password. Nothing of a session is kept on
//! the server but its end: the nonces of the sessions that were signed out, until they would have
//! expired. A user who signs out very often within that time ends all of their own sessions at once,
//! which bounds the list.

use std::collections::HashMap;
use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::serve::identity::accounts::{Digest, Users, hex, of_hex};
use crate::serve::identity::state;

/// How long a session lasts.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// So many ended sessions of a user are remembered one by one.
const ENDED_MAX: usize = 100;

/// The name of a nonce in the list of ended sessions when all sessions of the user have ended.
const ALL: &str = "*";

/// The sessions of a server. Clones share them.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    /// Where the ended sessions are kept. `None` keeps them in memory only.
    file: Option<PathBuf>,
    ended: Mutex<Ended>,
    /// Held while the file is written, so that an older list never replaces a newer one.
    writing: tokio::sync::Mutex<()>,
}

/// Why the state directory cannot be used.
#[derive(Debug)]
pub struct StateError {
    path: PathBuf,
    source: io::Error,
}

impl Display for StateError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the state in `{}`", self.path.display())
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

type Nonce = [u8; 16];

/// A session that its cookie proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) fingerprint: Digest,
    /// Seconds since 1970.
    pub(super) expiry: u64,
    nonce: Nonce,
}

impl Session {
    pub(super) fn has_expired(&self) -> bool {
        self.expiry <= seconds_now()
    }
}

/// The sessions that ended before they expired, by user.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended(HashMap<String, EndedOfUser>);

#[derive(Debug, Default, PartialEq, Eq)]
struct EndedOfUser {
    /// Nonces with the expiry of their sessions.
    nonces: Vec<(Nonce, u64)>,
    /// All sessions that expire at this time or before have ended.
    all_until: u64,
}

impl Ended {
    fn contains(&self, session: &Session) -> bool {
        self.0.get(&session.name).is_some_and(|ended| {
            session.expiry <= ended.all_until
                || ended.nonces.iter().any(|(nonce, _)| *nonce == session.nonce)
        })
    }

    fn add(&mut self, session: &Session, now: u64) {
        let ended = self.0.entry(session.name.clone()).or_default();
        ended.nonces.push((session.nonce, session.expiry));
        ended.nonces.retain(|(_, expiry)| *expiry > now);
        if ended.nonces.len() > ENDED_MAX {
            ended.nonces.clear();
            ended.all_until = now + SESSION_TIME.as_secs();
        }
        self.0.retain(|_, ended| !ended.nonces.is_empty() || ended.all_until > now);
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, ended) in &self.0 {
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
            if ended.all_until > 0 {
                text += &format!("{name} {} {ALL}\n", ended.all_until);
            }
            for (nonce, expiry) in &ended.nonces {
                text += &format!("{name} {expiry} {}\n", hex(nonce));
            }
        }
        text
    }

    /// `None` if a line makes no sense: then it is not known which sessions have ended.
    fn parse(text: &str) -> Option<Self> {
        let mut ended = Self::default();
        for line in text.lines() {
            let mut fields = line.split(' ');
            let name = percent_decode_str(fields.next()?).decode_utf8().ok()?.into_owned();
            let expiry = fields.next()?.parse().ok()?;
            let of_user = ended.0.entry(name).or_default();
            match fields.next()? {
                ALL => of_user.all_until = expiry,
                nonce => of_user.nonces.push((of_hex(nonce)?, expiry)),
            }
        }
        Some(ended)
    }
}

impl Debug for Sessions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("file", &self.0.file).finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl Sessions {
    fn new(key: hmac::Key, file: Option<PathBuf>, ended: Ended) -> Self {
        let (ended, writing) = (Mutex::new(ended), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { key, file, ended, writing }))
    }

    /// Sessions that end with this process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(super::passwords::random_key(), None, Ended::default())
    }

    /// Sessions that outlive this process. Their key, and the list of those that have ended, are
    /// files in a directory, which is made if it is not there. A key that others may read is
    /// replaced. This ends all sessions, and the log says so.
    ///
    /// # Errors
    /// When the files cannot be read or made.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError { path: directory.to_owned(), source };
        let kept = state::open(directory).map_err(failed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kept.key);
        let ended = match Ended::parse(&kept.ended) {
            Some(ended) => ended,
            None => {
                let damaged = "the list of ended sessions is damaged; remove it with the key";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidData, damaged)));
            }
        };
        Ok(Self::new(key, Some(state::ended_in(directory)), ended))
    }

    /// The cookie of a new session.
    pub(super) fn begin(&self, name: &str, fingerprint: &Digest) -> String {
        let mut nonce = Nonce::default();
        if SystemRandom::new().fill(&mut nonce).is_err() {
            // A session that is never valid.
            return String::new();
        }
        let expiry = seconds_now() + SESSION_TIME.as_secs();
        let session = Session { name: name.to_owned(), fingerprint: *fingerprint, expiry, nonce };
        let mac = hmac::sign(&self.0.key, &message(&session));
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        format!("{name}|{expiry}|{}|{}", hex(&nonce), hex(mac.as_ref()))
    }

    /// The session that a cookie proves; `None` if it proves none.
    pub(super) fn read(&self, cookie: &str, users: &Users) -> Option<Session> {
        let mut fields = cookie.split('|');
        let name = percent_decode_str(fields.next()?).decode_utf8().ok()?.into_owned();
        let expiry = fields.next()?.parse().ok()?;
        let nonce = of_hex(fields.next()?)?;
        let mac: Digest = of_hex(fields.next()?)?;
        if fields.next().is_some() {
            return None;
        }
        let fingerprint = users.named(&name)?.fingerprint;
        let session = Session { name, fingerprint, expiry, nonce };
        hmac::verify(&self.0.key, &message(&session), &mac).ok()?;
        self.is_valid(&session).then_some(session)
    }

    /// Whether a session has neither expired nor been signed out.
    pub(super) fn is_valid(&self, session: &Session) -> bool {
        !session.has_expired() && !self.0.ended.lock().contains(session)
    }

    /// Ends a session, and keeps its end.
    ///
    /// # Errors
    /// When the end could not be kept: then it is forgotten with this process.
    pub(super) async fn end(&self, session: &Session) -> io::Result<()> {
        self.0.ended.lock().add(session, seconds_now());
        let Some(file) = self.0.file.clone() else { return Ok(()) };
        let _writing = self.0.writing.lock().await;
        let text = self.0.ended.lock().to_text();
        let written = tokio::task::spawn_blocking(move || state::replace(&file, text.as_bytes()));
        written.await.map_err(io::Error::other)?
    }
}

/// What the MAC of a session covers. Each field has a bounded length or its own length before it.
fn message(session: &Session) -> Vec<u8> {
    let Session { name, fingerprint, expiry, nonce } = session;
    let mut message = b"tailcast session 1\0".to_vec();
    message.extend((name.len() as u64).to_le_bytes());
    message.extend(name.as_bytes());
    message.extend(fingerprint);
    message.extend(expiry.to_le_bytes());
    message.extend(nonce);
    message
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(lines: &[(&str, &str)]) -> Users {
        let line = |(name, password): &(&str, &str)| {
            format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
        };
        lines.iter().map(line).collect::<String>().parse().unwrap()
    }

    fn begun(sessions: &Sessions, users: &Users, name: &str) -> String {
        sessions.begin(name, &users.named(name).unwrap().fingerprint)
    }

    #[test]
    fn a_cookie_proves_its_session_and_a_changed_one_proves_none() {
        let (sessions, users) = (Sessions::in_memory(), users(&[("ann", "a"), ("é|ü", "b")]));
        for name in ["ann", "é|ü"] {
            let cookie = begun(&sessions, &users, name);
            assert!(
                cookie.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte))
            );
            assert_eq!(sessions.read(&cookie, &users).unwrap().name, name);
            for at in 0..cookie.len() {
                let mut changed = cookie.clone().into_bytes();
                changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
                let changed = String::from_utf8(changed).unwrap();
                // Hexadecimal digits may be written in two ways.
                assert_eq!(sessions.read(&changed, &users), None, "{changed}");
            }
        }
        let cookie = begun(&sessions, &users, "ann");
        for wrong in ["", "ann", "|||", "ann|1|2|3", &format!("{cookie}|"), &format!("x{cookie}")] {
            assert_eq!(sessions.read(wrong, &users), None, "{wrong}");
        }
        assert_eq!(Sessions::in_memory().read(&cookie, &users), None, "another key");
    }

    #[test]
    fn a_session_ends_with_its_user_with_the_password_and_with_its_time() {
        let (sessions, first) = (Sessions::in_memory(), users(&[("ann", "a"), ("bob", "b")]));
        let cookie = begun(&sessions, &first, "ann");
        assert_eq!(sessions.read(&cookie, &users(&[("bob", "b")])), None);
        assert_eq!(sessions.read(&cookie, &users(&[("ann", "other")])), None);
        let mut session = sessions.read(&cookie, &first).unwrap();
        session.expiry = seconds_now();
        assert!(!sessions.is_valid(&session));
    }

    #[tokio::test]
    async fn a_session_that_was_signed_out_stays_ended_and_the_others_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let users = users(&[("ann", "a")]);
        let sessions = Sessions::open(directory.path()).unwrap();
        let (ended, other) = (begun(&sessions, &users, "ann"), begun(&sessions, &users, "ann"));
        sessions.end(&sessions.read(&ended, &users).unwrap()).await.unwrap();
        for sessions in [sessions, Sessions::open(directory.path()).unwrap()] {
            assert_eq!(sessions.read(&ended, &users), None);
            assert!(sessions.read(&other, &users).is_some(), "the key is the same");
        }
    }

    #[tokio::test]
    async fn the_list_of_ended_sessions_is_bounded_and_none_of_them_comes_back() {
        let (sessions, users) = (Sessions::in_memory(), users(&[("ann", "a"), ("bob", "b")]));
        let of_bob = begun(&sessions, &users, "bob");
        let first = begun(&sessions, &users, "ann");
        let session = sessions.read(&first, &users).unwrap();
        for at in 0..=ENDED_MAX {
            let mut another = session.clone();
            another.nonce[..8].copy_from_slice(&at.to_le_bytes());
            sessions.end(&another).await.unwrap();
        }
        assert!(sessions.0.ended.lock().0["ann"].nonces.is_empty());
        assert_eq!(sessions.read(&first, &users), None);
        assert!(sessions.read(&of_bob, &users).is_some());
        let text = sessions.0.ended.lock().to_text();
        assert_eq!(Ended::parse(&text).as_ref(), Some(&*sessions.0.ended.lock()));
        assert_eq!(Ended::parse("ann 1"), None);
    }
}
