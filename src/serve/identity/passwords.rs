//! Checks passwords and tokens.
//!
//! To hash a password takes long on purpose. It happens on blocking threads, few at a time, and once
//! for a password that is sent with each request: what was right is remembered by a keyed hash, for
//! as long as the user stays the same. A name that does not exist takes the same time.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::serve::identity::accounts::{Digest, Token, Tokens, User, Users, sha256};
use crate::serve::identity::throttle::Throttle;

/// How many passwords are hashed at a time.
const HASHES_AT_ONCE: usize = 2;
/// How many attempts wait at a time.
const WAITING_MAX: usize = 1024;
/// How many right passwords are remembered.
const REMEMBERED_MAX: usize = 1024;
/// bcrypt does not look at what comes after so many bytes, so a longer password is never right.
pub(super) const PASSWORD_BYTES_MAX: usize = 71;
/// The cost for a name that does not exist, where there is no user at all.
const COST: u32 = 12;
/// When too many attempts wait.
const CROWDED_WAIT: Duration = Duration::from_secs(5);

/// Whether a secret is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict<T> {
    /// It is that of this account.
    Right(T),
    Wrong,
    /// It was not checked. The client may try again after this time.
    TooMany(Duration),
}

/// Checks the secrets of one server.
#[derive(Debug)]
pub(super) struct Passwords {
    /// A key that only this process knows.
    key: hmac::Key,
    hashing: Arc<Semaphore>,
    waiting: Semaphore,
    remembered: Arc<Mutex<Remembered>>,
    throttle: Throttle,
    /// How many passwords were hashed.
    hashes: Arc<AtomicU64>,
}

/// The passwords that were right, by a keyed hash, with the fingerprint of their user.
#[derive(Debug, Default)]
struct Remembered {
    users: HashMap<Digest, Digest>,
    order: VecDeque<Digest>,
}

impl Remembered {
    fn add(&mut self, secret: Digest, fingerprint: Digest) {
        if self.users.insert(secret, fingerprint).is_none() {
            self.order.push_back(secret);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.users.remove(&first);
        }
    }
}

/// A new random key.
///
/// # Panics
/// When the system has no random numbers, without which nothing here is safe.
#[expect(clippy::expect_used, reason = "without random numbers nothing here is safe")]
pub(super) fn random_key() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("random numbers")
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            key: random_key(),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            waiting: Semaphore::new(WAITING_MAX),
            remembered: Arc::default(),
            throttle: Throttle::default(),
            hashes: Arc::default(),
        }
    }
}

impl Passwords {
    /// Checks the password of a user, whether or not there is a user of this name.
    pub(super) async fn check<'a>(
        &self,
        users: &'a Users,
        name: &str,
        password: &str,
        address: Option<IpAddr>,
    ) -> Verdict<&'a User> {
        let user = users.named(name);
        let secret = self.mac(&[name.as_bytes(), password.as_bytes()]);
        if let Some(user) = user.filter(|user| self.is_remembered(&secret, user)) {
            return Verdict::Right(user);
        }
        if let Some(wait) = self.throttle.wait_of(address) {
            return Verdict::TooMany(wait);
        }
        let name = sha256(name.as_bytes());
        sleep(self.throttle.delay_of(&name)).await;
        // Attempts that are delayed take no place: else the guesses on one name would turn away all
        // others.
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Verdict::TooMany(CROWDED_WAIT);
        };
        let Ok(turn) = Arc::clone(&self.hashing).acquire_owned().await else {
            return Verdict::TooMany(CROWDED_WAIT);
        };
        // The requests of one page come together, and the first of them may have been checked.
        if let Some(user) = user.filter(|user| self.is_remembered(&secret, user)) {
            return Verdict::Right(user);
        }
        if let Some(wait) = self.throttle.wait_of(address) {
            return Verdict::TooMany(wait);
        }
        self.throttle.count(address, &name);
        let hash = self.hash_for(users, user, &name);
        let (password, hashes) = (password.to_owned(), Arc::clone(&self.hashes));
        let (remembered, fingerprint) =
            (Arc::clone(&self.remembered), user.map(|user| user.fingerprint));
        let is_right = spawn_blocking(move || {
            hashes.fetch_add(1, Ordering::Relaxed);
            let is_right = bcrypt::verify(&password, &hash).is_ok_and(|is_right| is_right)
                && password.len() <= PASSWORD_BYTES_MAX;
            if let Some(fingerprint) = fingerprint.filter(|_| is_right) {
                remembered.lock().add(secret, fingerprint);
            }
            // The next attempt with this password finds it.
            drop(turn);
            is_right
        });
        let is_right = is_right.await.unwrap_or(false);
        let Some(user) = user.filter(|_| is_right) else { return Verdict::Wrong };
        self.throttle.take_back(address, &name);
        Verdict::Right(user)
    }

    /// The token with this text. Its digest is compared with all others in the same time. Nobody
    /// guesses 256 random bits, so wrong ones are not counted: a script with an old token keeps nobody
    /// else at its address from signing in.
    pub(super) fn check_token<'a>(&self, tokens: &'a Tokens, token: &str) -> Option<&'a Token> {
        let sought = hmac::sign(&self.key, &sha256(token.as_bytes()));
        let is_it =
            |token: &&Token| hmac::verify(&self.key, &token.digest, sought.as_ref()).is_ok();
        tokens.iter().filter(is_it).last()
    }

    /// How many passwords were hashed.
    #[cfg(test)]
    fn hashes(&self) -> u64 {
        self.hashes.load(Ordering::Relaxed)
    }

    fn is_remembered(&self, secret: &Digest, user: &User) -> bool {
        self.remembered.lock().users.get(secret) == Some(&user.fingerprint)
    }

    /// The hash to check a password against. For a name that does not exist it is one that no
    /// password has, with the cost of some user: always of the same one, so that the time tells
    /// nothing.
    fn hash_for(&self, users: &Users, user: Option<&User>, name: &Digest) -> String {
        if let Some(user) = user {
            return user.hash.clone();
        }
        let [a, b, c, d, ..] = self.mac(&[b"cost", name]);
        let cost =
            users.any(u32::from_le_bytes([a, b, c, d]) as usize).map_or(COST, |user| user.cost);
        format!("$2b${cost:02}$......................{}", ".".repeat(31))
    }

    /// A keyed hash of texts, each with its length.
    fn mac(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut result = Digest::default();
        result.copy_from_slice(context.sign().as_ref());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(passwords: &[(&str, &str)]) -> Users {
        let lines = passwords
            .iter()
            .map(|(name, password)| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap()));
        lines.collect::<String>().parse().unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn name(verdict: Verdict<&User>) -> Option<&str> {
        match verdict {
            Verdict::Right(user) => Some(user.name.as_str()),
            Verdict::Wrong | Verdict::TooMany(_) => None,
        }
    }

    #[tokio::test]
    async fn a_password_is_hashed_once_for_as_long_as_its_user_stays_the_same() {
        let passwords = Passwords::default();
        let first = users(&[("ann", "open"), ("bob", "sesame")]);
        let here = address("10.0.0.1");
        for _ in 0..5 {
            assert_eq!(name(passwords.check(&first, "ann", "open", here).await), Some("ann"));
        }
        assert_eq!(passwords.hashes(), 1);
        // The boundary between name and password is part of what is remembered.
        assert_eq!(name(passwords.check(&first, "an", "nopen", here).await), None);
        assert_eq!(name(passwords.check(&first, "bob", "open", here).await), None);
        let changed = users(&[("ann", "other")]);
        let hashed = passwords.hashes();
        assert_eq!(name(passwords.check(&changed, "ann", "open", here).await), None);
        assert_eq!(passwords.hashes(), hashed + 1, "the user is another one");
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_takes_as_many_hashes_of_the_same_cost() {
        let passwords = Passwords::default();
        let all = users(&[("ann", "open")]);
        let mut counts = Vec::new();
        for (name, address_of) in [("ann", "10.0.0.1"), ("eve", "10.0.0.2")] {
            let before = passwords.hashes();
            let verdict = passwords.check(&all, name, "wrong", address(address_of)).await;
            assert_eq!(verdict, Verdict::Wrong);
            counts.push(passwords.hashes() - before);
        }
        assert_eq!(counts, [1, 1]);
        let hash = passwords.hash_for(&all, None, &[0; 32]);
        assert_eq!(hash.parse::<bcrypt::HashParts>().unwrap().get_cost(), 4);
        assert_eq!(bcrypt::verify("", &hash).ok(), Some(false), "it is hashed, and never right");
        let none: Users = "".parse().unwrap();
        assert_eq!(passwords.check(&none, "eve", "", address("10.0.0.3")).await, Verdict::Wrong);
    }

    #[tokio::test]
    async fn an_address_that_guesses_has_to_wait_and_others_do_not() {
        let passwords = Passwords::default();
        let all = users(&[("ann", "open")]);
        let guesser = address("10.0.0.1");
        let mut refused = 0;
        for at in 0..30 {
            let guess = format!("{at}");
            let verdict = passwords.check(&all, &guess, &guess, guesser).await;
            refused += u32::from(matches!(verdict, Verdict::TooMany(_)));
        }
        assert_eq!((passwords.hashes(), refused), (10, 20));
        let elsewhere = address("10.0.0.2");
        assert_eq!(name(passwords.check(&all, "ann", "open", elsewhere).await), Some("ann"));
        assert_eq!(name(passwords.check(&all, "ann", "open", guesser).await), Some("ann"), "known");
    }

    #[tokio::test]
    async fn requests_that_come_together_are_hashed_a_few_times_only() {
        let passwords = Passwords::default();
        let all = users(&[("ann", "open")]);
        let here = address("10.0.0.1");
        let checks = (0..30).map(|_| passwords.check(&all, "ann", "open", here));
        let verdicts = futures_util::future::join_all(checks).await;
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Right(_))));
        assert!(passwords.hashes() <= HASHES_AT_ONCE as u64, "{}", passwords.hashes());
    }

    #[tokio::test]
    async fn a_password_longer_than_bcrypt_looks_at_is_never_right() {
        let passwords = Passwords::default();
        let long = "x".repeat(100);
        let all = users(&[("ann", &long)]);
        assert_eq!(passwords.check(&all, "ann", &long, None).await, Verdict::Wrong);
        assert_eq!(passwords.hashes(), 1);
    }

    #[test]
    fn a_token_is_found_by_its_digest() {
        let passwords = Passwords::default();
        let digest = crate::serve::identity::accounts::token_digest;
        let text = format!("ci:{}\ncd:{}\n", digest("one"), digest("two"));
        let tokens: Tokens = text.parse().unwrap();
        let name =
            |token: &str| passwords.check_token(&tokens, token).map(|token| token.name.as_str());
        assert_eq!((name("one"), name("two")), (Some("ci"), Some("cd")));
        for wrong in ["", "three", &digest("two")] {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }
}
