//! The pauses before attempts to connect.
//!
//! The client counts the attempts since the last connection, from 1, and asks for the pause before each,
//! also before the very first one.

use std::time::{Duration, Instant};

/// The usual pause is between half of this and one and a half.
const USUAL_PAUSE: Duration = Duration::from_secs(1);
/// A connection that was lost is tried again within this time. What lost its connection together does
/// not come back in the same moment.
const SPREAD: Duration = Duration::from_millis(100);
/// One that is lost again so soon has the usual pause.
const STEADY_TIME_MIN: Duration = Duration::from_secs(3);

/// The pauses of one client.
pub(super) struct Pauses {
    /// How many servers there are. Each of them is tried once without the usual pause.
    servers: usize,
    /// When the attempts began last.
    begun: Option<Instant>,
    /// The longest pause before a server is tried for the first time in these attempts.
    first: Duration,
}

impl Pauses {
    pub(super) fn new(servers: usize) -> Self {
        Self { servers, begun: None, first: Duration::ZERO }
    }

    /// The pause before this attempt.
    pub(super) fn before(&mut self, attempt: usize, now: Instant) -> Duration {
        if attempt <= 1 {
            let is_steady = |begun: Instant| now.duration_since(begun) >= STEADY_TIME_MIN;
            self.first = match self.begun.replace(now) {
                None => Duration::ZERO,
                Some(begun) if is_steady(begun) => SPREAD,
                Some(_) => return usual(),
            };
        }
        if attempt <= self.servers { self.first.mul_f64(fastrand::f64()) } else { usual() }
    }
}

/// A usual pause.
pub(super) fn usual() -> Duration {
    USUAL_PAUSE.mul_f64(0.5 + fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_usual(pause: Duration) -> bool {
        (USUAL_PAUSE / 2..USUAL_PAUSE * 3 / 2).contains(&pause)
    }

    #[test]
    fn a_start_tries_each_server_at_once_and_then_with_pauses() {
        let (mut pauses, now) = (Pauses::new(2), Instant::now());
        assert_eq!(pauses.before(1, now), Duration::ZERO);
        assert_eq!(pauses.before(2, now), Duration::ZERO);
        assert!((3..9).all(|attempt| is_usual(pauses.before(attempt, now))));
    }

    #[test]
    fn a_connection_that_was_lost_is_tried_again_at_once() {
        let (mut pauses, now) = (Pauses::new(1), Instant::now());
        pauses.before(1, now);
        let lost = now + STEADY_TIME_MIN;
        let pause = pauses.before(1, lost);
        assert!(pause < SPREAD, "{pause:?}");
        assert!(is_usual(pauses.before(2, lost)));
    }

    #[test]
    fn one_that_is_lost_again_and_again_is_tried_with_pauses() {
        let (mut pauses, mut now) = (Pauses::new(2), Instant::now());
        pauses.before(1, now);
        for _ in 0..9 {
            now += STEADY_TIME_MIN / 2;
            assert!(is_usual(pauses.before(1, now)));
        }
        assert!(pauses.before(1, now + STEADY_TIME_MIN) < SPREAD);
    }
}
