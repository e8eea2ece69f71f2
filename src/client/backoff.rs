//! The pause before the next attempt to connect: a random part of a range that doubles.
//!
//! The whole pause is random ("full jitter"), so that the viewers of a server that comes back do
//! not all connect at once.

use std::time::Duration;

/// The upper bound of the first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The upper bound of all pauses.
const LONGEST: Duration = Duration::from_secs(15);
const _: () = assert!(FIRST.as_millis() < LONGEST.as_millis());

#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.ceiling().mul_f64(fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn ceiling(&self) -> Duration {
        LONGEST.min(FIRST.saturating_mul(2u32.saturating_pow(self.failures)))
    }

    /// Starts again with a short pause, after a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_random_and_grow_to_a_bound() {
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
