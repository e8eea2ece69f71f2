//! Slows down whoever guesses passwords.
//!
//! Wrong attempts are counted by address and by name, for a while. An address that was wrong too
//! often has to wait before it may try again. An attempt on a name that was tried too often is
//! delayed, whoever makes it, but only by a bounded time: a right password is never locked out by
//! the guesses of others.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// So many wrong attempts of an address are free.
const FREE_BY_ADDRESS: u32 = 10;
/// The longest time that an address has to wait.
const ADDRESS_WAIT_MAX: Duration = Duration::from_secs(60);
/// So many wrong attempts on a name are free.
const FREE_BY_NAME: u32 = 5;
/// The delay after the first attempt that is not free. It doubles with each.
const NAME_DELAY: Duration = Duration::from_millis(100);
/// The longest delay of an attempt on a name.
const NAME_DELAY_MAX: Duration = Duration::from_secs(5);
/// Wrong attempts are forgotten when none has followed for this time.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// At most so many addresses, and so many names, are remembered.
const ENTRIES_MAX: usize = 4096;

/// The attempts of the last while.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    by_address: Mutex<Table<IpAddr>>,
    /// By a digest of the name, which has a bounded size.
    by_name: Mutex<Table<super::accounts::Digest>>,
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    wrong: u32,
    last: Instant,
}

/// A bounded table. The key that came first makes room for a new one.
#[derive(Debug)]
struct Table<K> {
    attempts: HashMap<K, Attempts>,
    order: VecDeque<K>,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { attempts: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Copy + Eq + Hash> Table<K> {
    fn get(&self, key: &K, now: Instant) -> Attempts {
        let kept = self.attempts.get(key).copied();
        let is_recent = |attempts: &Attempts| now.saturating_duration_since(attempts.last) < MEMORY;
        kept.filter(is_recent).unwrap_or(Attempts { wrong: 0, last: now })
    }

    fn add(&mut self, key: K, now: Instant) {
        let wrong = self.get(&key, now).wrong.saturating_add(1);
        if self.attempts.insert(key, Attempts { wrong, last: now }).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > ENTRIES_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.attempts.remove(&first);
        }
    }

    fn take_back(&mut self, key: &K) {
        if let Some(attempts) = self.attempts.get_mut(key) {
            attempts.wrong = attempts.wrong.saturating_sub(1);
        }
    }
}

impl Throttle {
    /// How long this address has to wait before it may try again; `None` if it may now.
    pub(super) fn wait_of(&self, address: Option<IpAddr>) -> Option<Duration> {
        let now = Instant::now();
        let attempts = self.by_address.lock().get(&network(address?), now);
        let over = attempts.wrong.checked_sub(FREE_BY_ADDRESS)?;
        let pause = Duration::from_secs(1).saturating_mul(1 << over.min(6)).min(ADDRESS_WAIT_MAX);
        let left = pause.saturating_sub(now.saturating_duration_since(attempts.last));
        (!left.is_zero()).then_some(left)
    }

    /// How long an attempt on this name is delayed.
    pub(super) fn delay_of(&self, name: &super::accounts::Digest) -> Duration {
        let attempts = self.by_name.lock().get(name, Instant::now());
        match attempts.wrong.checked_sub(FREE_BY_NAME) {
            None => Duration::ZERO,
            Some(over) => NAME_DELAY.saturating_mul(1 << over.min(6)).min(NAME_DELAY_MAX),
        }
    }

    /// Counts an attempt, before it is known whether it is right: a client that does not wait for
    /// the answer has tried as well.
    pub(super) fn count(&self, address: Option<IpAddr>, name: &super::accounts::Digest) {
        let now = Instant::now();
        if let Some(address) = address {
            self.by_address.lock().add(network(address), now);
        }
        self.by_name.lock().add(*name, now);
    }

    /// Takes an attempt back that was right. Earlier ones stay counted, so that nobody can hide
    /// guesses behind an account of their own.
    pub(super) fn take_back(&self, address: Option<IpAddr>, name: &super::accounts::Digest) {
        if let Some(address) = address {
            self.by_address.lock().take_back(&network(address));
        }
        self.by_name.lock().take_back(name);
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const ANN: [u8; 32] = [1; 32];

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_wrong_too_often_waits_ever_longer_up_to_a_bound() {
        let throttle = Throttle::default();
        let guesser = address("10.0.0.1");
        for _ in 0..9 {
            throttle.count(guesser, &ANN);
        }
        assert_eq!(throttle.wait_of(guesser), None);
        let mut waits = Vec::new();
        for _ in 0..9 {
            throttle.count(guesser, &ANN);
            waits.push(throttle.wait_of(guesser).unwrap().as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(throttle.wait_of(address("10.0.0.2")), None, "others do not wait");
        advance(ADDRESS_WAIT_MAX).await;
        assert_eq!(throttle.wait_of(guesser), None);
        advance(MEMORY).await;
        throttle.count(guesser, &ANN);
        assert_eq!(throttle.wait_of(guesser), None, "the attempts are forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_on_a_name_is_delayed_by_a_bounded_time() {
        let throttle = Throttle::default();
        for at in 0..1000_u32 {
            throttle.count(Some(IpAddr::V4(at.into())), &ANN);
        }
        assert_eq!(throttle.delay_of(&ANN), NAME_DELAY_MAX);
        assert_eq!(throttle.delay_of(&[2; 32]), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_hides_no_guesses() {
        let throttle = Throttle::default();
        let guesser = address("10.0.0.1");
        for _ in 0..20 {
            throttle.count(guesser, &ANN);
            throttle.count(guesser, &[2; 32]);
            throttle.take_back(guesser, &[2; 32]);
        }
        assert!(throttle.wait_of(guesser).is_some());
        assert_eq!(throttle.delay_of(&[2; 32]), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_one_network_are_one_and_the_tables_are_bounded() {
        let throttle = Throttle::default();
        for at in 0..20 {
            throttle.count(address(&format!("2001:db8::{at:x}")), &ANN);
        }
        assert!(throttle.wait_of(address("2001:db8::ffff")).is_some());
        assert!(throttle.wait_of(address("2001:db8:0:1::1")).is_none());
        for at in 0..(2 * ENTRIES_MAX as u32) {
            throttle.count(Some(IpAddr::V4(at.into())), &ANN);
        }
        let table = throttle.by_address.lock();
        assert_eq!((table.attempts.len(), table.order.len()), (ENTRIES_MAX, ENTRIES_MAX));
    }
}
