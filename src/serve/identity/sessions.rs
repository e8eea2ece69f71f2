//! Sessions of browsers: the cookie, and which ones have ended.
//!
//! A cookie says `name|expiry|nonce|MAC`. The MAC is keyed, and covers the fingerprint of the user, so
//! that a session ends with its user or with the user's password. Nothing of a session is kept on
//! the server but its end: the nonces of the sessions that were signed out, until they would have
//! expired. Servers with one state directory share the key and the list of ends.

use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::serve::identity::accounts::{Digest, Users, hex, of_hex};
use crate::serve::identity::ended::{self, Ended, Nonce};
use crate::serve::identity::ended_file::EndedFile;
use crate::serve::identity::state;

/// How long a session lasts.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a look at the list of ended sessions is waited for.
const READ_TIME_MAX: Duration = Duration::from_secs(1);
/// The sessions of a server. Clones share them.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    key: hmac::Key,
    ended: Mutex<Ended>,
    /// Where the ends are kept. `None` keeps them in memory only.
    file: Option<Arc<tokio::sync::Mutex<EndedFile>>>,
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

/// A session that its cookie proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Session {
    pub(in crate::serve) name: String,
    pub(super) fingerprint: Digest,
    /// Seconds since 1970.
    pub(super) expiry: u64,
    pub(super) nonce: Nonce,
}

impl Session {
    pub(super) fn has_expired(&self) -> bool {
        self.expiry <= seconds_now()
    }
}

impl Debug for Sessions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let is_kept = self.0.file.is_some();
        f.debug_struct("Sessions").field("is_kept", &is_kept).finish_non_exhaustive()
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::in_memory()
    }
}

impl Sessions {
    fn new(key: hmac::Key, ended: Mutex<Ended>, file: Option<EndedFile>) -> Self {
        let file = file.map(|file| Arc::new(tokio::sync::Mutex::new(file)));
        Self(Arc::new(Inner { key, ended, file }))
    }

    /// Sessions that end with this process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(super::passwords::random_key(), Mutex::default(), None)
    }

    /// Sessions that outlive this process. Their key, and the list of those that have ended, are
    /// files in a directory, which is made if it is not there. Several servers may use it at a time. A
    /// key that others may read is replaced. This ends all sessions, and the log says so.
    ///
    /// # Errors
    /// When the files cannot be read or made.
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError { path: directory.to_owned(), source };
        let key = state::open(directory).map_err(failed)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let (ended, mut file) = (Mutex::default(), EndedFile::in_directory(directory));
        file.read_new(&ended).map_err(failed)?;
        Ok(Self::new(key, ended, Some(file)))
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
    pub(in crate::serve) fn is_valid(&self, session: &Session) -> bool {
        !session.has_expired() && !self.0.ended.lock().contains(session)
    }

    /// Ends a session, and keeps its end.
    ///
    /// # Errors
    /// When the end could not be kept: then it is forgotten with this process, and other servers do
    /// not hear of it.
    pub(in crate::serve) async fn end(&self, session: &Session) -> io::Result<()> {
        self.0.ended.lock().add(session, seconds_now());
        let Some(file) = &self.0.file else { return Ok(()) };
        let mut file = Arc::clone(file).lock_owned().await;
        let (inner, line) = (Arc::clone(&self.0), ended::line(session));
        let kept = spawn_blocking(move || file.append(&line, &inner.ended));
        kept.await.map_err(io::Error::other)?
    }

    /// Reads which sessions other servers have ended since the last look. Returns whether there are
    /// any. It does not wait for a look that has not come back.
    ///
    /// # Errors
    /// When the list cannot be read.
    pub(in crate::serve) async fn read_ends(&self) -> io::Result<bool> {
        let Some(file) = &self.0.file else { return Ok(false) };
        let Ok(mut file) = Arc::clone(file).try_lock_owned() else { return Ok(false) };
        let inner = Arc::clone(&self.0);
        let reading = spawn_blocking(move || file.read_new(&inner.ended));
        match timeout(READ_TIME_MAX, reading).await {
            Ok(read) => read.map_err(io::Error::other)?,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
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

pub(super) fn seconds_now() -> u64 {
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
    async fn servers_with_one_directory_undo_none_of_each_others_ends() {
        let directory = tempfile::tempdir().unwrap();
        let users = users(&[("ann", "a")]);
        let open = || Sessions::open(directory.path()).unwrap();
        let (old, new) = (open(), open());
        let cookies: Vec<String> = (0..40).map(|_| begun(&old, &users, "ann")).collect();
        // Both write at the same time, and each of them more than once.
        let mut ending = tokio::task::JoinSet::new();
        for (at, cookie) in cookies.iter().enumerate() {
            let server = if at % 2 == 0 { old.clone() } else { new.clone() };
            let session = server.read(cookie, &users).unwrap();
            ending.spawn(async move { server.end(&session).await });
        }
        for ended in ending.join_all().await {
            ended.unwrap();
        }
        for server in [&old, &new] {
            server.read_ends().await.unwrap();
        }
        for server in [old, new, open()] {
            assert!(cookies.iter().all(|cookie| server.read(cookie, &users).is_none()));
            assert!(!server.read_ends().await.unwrap(), "it has read everything");
        }
    }
}
