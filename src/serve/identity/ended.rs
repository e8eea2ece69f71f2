//! Which sessions have ended before they expired.
//!
//! The list only grows, until a session expires, and the order of its lines does not matter. So two
//! servers that read each other's lines come to know the same. A user who signs out very often
//! within the time of a session ends all of their own sessions up to the latest of those at once,
//! which bounds the list.

use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::serve::identity::accounts::{hex, of_hex};
use crate::serve::identity::sessions::Session;

/// So many ended sessions of a user are remembered one by one.
pub(super) const ENDED_MAX: usize = 100;
/// The name of a nonce when all sessions of the user up to a time have ended.
const ALL: &str = "*";
/// So many ends are added before those that have expired are looked for.
const ADDED_MIN: usize = 1000;

pub(super) type Nonce = [u8; 16];

/// The sessions that ended before they expired, by user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    users: HashMap<String, EndedOfUser>,
    /// How many ends were added since those that had expired were forgotten.
    added: usize,
    /// How many were left then.
    left: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct EndedOfUser {
    /// Nonces with the expiry of their sessions.
    nonces: Vec<(Nonce, u64)>,
    /// All sessions that expire at this time or before have ended.
    all_until: u64,
}

impl EndedOfUser {
    fn add(&mut self, nonce: Nonce, expiry: u64) {
        if expiry <= self.all_until || self.nonces.iter().any(|(known, _)| *known == nonce) {
            return;
        }
        self.nonces.push((nonce, expiry));
        if self.nonces.len() > ENDED_MAX {
            let latest = self.nonces.iter().map(|(_, expiry)| *expiry).max();
            self.add_all(latest.unwrap_or(expiry));
        }
    }

    fn add_all(&mut self, until: u64) {
        self.all_until = self.all_until.max(until);
        let until = self.all_until;
        self.nonces.retain(|(_, expiry)| *expiry > until);
    }
}

/// The line of a session that has ended.
pub(super) fn line(session: &Session) -> String {
    line_of(&session.name, session.expiry, &hex(&session.nonce))
}

/// The line of a user's session, or of all of them ([`ALL`]).
fn line_of(name: &str, expiry: u64, nonce: &str) -> String {
    let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
    format!("{name} {expiry} {nonce}\n")
}

impl Ended {
    pub(super) fn contains(&self, session: &Session) -> bool {
        self.users.get(&session.name).is_some_and(|ended| {
            session.expiry <= ended.all_until
                || ended.nonces.iter().any(|(nonce, _)| *nonce == session.nonce)
        })
    }

    pub(super) fn add(&mut self, session: &Session, now: u64) {
        self.of(session.name.clone(), now).add(session.nonce, session.expiry);
    }

    /// Adds what lines say. `None` if one makes no sense: then it is not known what has ended.
    pub(super) fn add_lines(&mut self, text: &str, now: u64) -> Option<()> {
        for line in text.lines() {
            let mut fields = line.split(' ');
            let name = percent_decode_str(fields.next()?).decode_utf8().ok()?.into_owned();
            let expiry = fields.next()?.parse().ok()?;
            let nonce = fields.next()?;
            match nonce {
                ALL if expiry > now => self.of(name, now).add_all(expiry),
                ALL => {}
                nonce => {
                    let nonce = of_hex(nonce)?;
                    if expiry > now {
                        self.of(name, now).add(nonce, expiry);
                    }
                }
            }
        }
        Some(())
    }

    fn of(&mut self, name: String, now: u64) -> &mut EndedOfUser {
        self.added += 1;
        if self.added > ADDED_MIN + self.left {
            self.forget_expired(now);
        }
        self.users.entry(name).or_default()
    }

    fn forget_expired(&mut self, now: u64) {
        self.added = 0;
        self.users.retain(|_, ended| {
            ended.nonces.retain(|(_, expiry)| *expiry > now);
            !ended.nonces.is_empty() || ended.all_until > now
        });
        self.left = self.count();
    }

    /// How many lines the list has at most.
    pub(super) fn count(&self) -> usize {
        self.users.values().map(|ended| ended.nonces.len() + 1).sum()
    }

    /// All lines of what has not expired.
    pub(super) fn text(&mut self, now: u64) -> String {
        self.forget_expired(now);
        let mut text = String::new();
        for (name, ended) in &self.users {
            if ended.all_until > 0 {
                text += &line_of(name, ended.all_until, ALL);
            }
            for (nonce, expiry) in &ended.nonces {
                text += &line_of(name, *expiry, &hex(nonce));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    fn session(name: &str, at: u8, expiry: u64) -> Session {
        Session { name: name.to_owned(), fingerprint: [0; 32], expiry, nonce: [at; 16] }
    }

    #[test]
    fn the_list_is_bounded_and_none_of_the_sessions_comes_back() {
        let mut ended = Ended::default();
        let of_ann: Vec<_> = (0..=ENDED_MAX as u8).map(|at| session("ann", at, 5_000)).collect();
        for session in &of_ann {
            ended.add(session, NOW);
        }
        assert!(of_ann.iter().all(|session| ended.contains(session)));
        assert_eq!(ended.text(NOW), "ann 5000 *\n");
        assert!(!ended.contains(&session("ann", 200, 5_001)), "it began later");
        assert!(!ended.contains(&session("bob", 0, 5_000)));
    }

    #[test]
    fn lines_say_the_same_in_any_order_and_twice() {
        let sessions: Vec<_> = (0..7)
            .map(|at| session(if at % 2 == 0 { "ann" } else { "é ü" }, at, 2_000 + u64::from(at)))
            .collect();
        let lines: Vec<String> = sessions.iter().map(line).chain(["bob 3000 *\n".into()]).collect();
        let read = |text: &str| {
            let mut ended = Ended::default();
            ended.add_lines(text, NOW).unwrap();
            let mut lines: Vec<_> = ended.text(NOW).lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let backwards: String = lines.iter().rev().map(String::as_str).collect();
        assert_eq!(read(&lines.concat()), read(&(lines.concat() + &backwards)));
        assert_eq!(read(&lines.concat()).len(), 8);
        assert_eq!(read(&backwards), read(&lines.concat()));
        let mut ended = Ended::default();
        ended.add_lines(&backwards, NOW).unwrap();
        assert!(sessions.iter().all(|session| ended.contains(session)));
        assert!(ended.contains(&session("bob", 1, 3_000)));
        for wrong in ["ann 1\n", "ann x *\n", "ann 5000 00\n", "ann", "%ff 5000 *\n"] {
            assert_eq!(Ended::default().add_lines(wrong, NOW), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_has_expired_is_forgotten() {
        let mut ended = Ended::default();
        for at in 0..10 * ADDED_MIN as u64 {
            ended.add(&session(&format!("user{at}"), 0, at + 10), at);
        }
        assert!(ended.count() <= 3 * ADDED_MIN, "{}", ended.count());
    }
}
