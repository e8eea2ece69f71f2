//! The pause before the next attempt: drawn by chance, from a range that grows.
//!
//! Full jitter: when a server comes back, its viewers do not all come at the same moment.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The longest first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(15);
const _: () = assert!(FIRST.as_millis() < LONGEST.as_millis());

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        // The standard library's hash maps are seeded by chance; there is no secret in a pause.
        let chance =
            (RandomState::new().build_hasher().finish() >> 32) as f64 / f64::from(u32::MAX);
        let pause = self.ceiling().mul_f64(chance);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn ceiling(&self) -> Duration {
        LONGEST.min(FIRST.saturating_mul(2u32.saturating_pow(self.failures)))
    }

    /// It went well: the next pause is short.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<f64> = (0..7)
            .map(|_| {
                let ceiling = backoff.ceiling();
                assert!(backoff.pause() <= ceiling);
                ceiling.as_secs_f64()
            })
            .collect();
        assert_eq!(ceilings, [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]);
        backoff.failures = u32::MAX;
        let pauses: Vec<Duration> = (0..20).map(|_| backoff.pause()).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses.iter().any(|pause| *pause > LONGEST / 4), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
