//! When bytes came, as far as somebody followed.
//!
//! A sparse table from offsets to the time at which they were first seen. It is bounded: in a long log the times of what
//! came long ago and what came just now get the same, coarser grain.

use std::time::{Duration, SystemTime};

use crate::log::position::Offset;

/// Bytes that come within this time have one time.
const GRAIN: Duration = Duration::from_millis(100);
/// So many times are kept for one span: 64 KiB.
const MARKS_MAX: usize = 4096;

/// The times at which the bytes of a span came.
#[derive(Debug)]
pub(in crate::log) struct ArrivalTimes {
    /// The first bytes of each time, in order.
    marks: Vec<(Offset, SystemTime)>,
    grain: Duration,
}

impl Default for ArrivalTimes {
    fn default() -> Self {
        Self { marks: Vec::new(), grain: GRAIN }
    }
}

impl ArrivalTimes {
    /// Takes note that what begins at an offset has come now.
    pub(in crate::log) fn note(&mut self, start: Offset, now: SystemTime) {
        let is_same = |&(_, time): &(Offset, SystemTime)| {
            now.duration_since(time).is_ok_and(|since| since < self.grain)
        };
        if self.marks.last().is_some_and(is_same) {
            return;
        }
        self.marks.push((start, now));
        if self.marks.len() > MARKS_MAX {
            let mut nth = 0;
            self.marks.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.grain *= 2;
        }
    }

    /// When the byte came. None for one that was there before.
    pub(in crate::log) fn of(&self, offset: Offset) -> Option<SystemTime> {
        let behind = self.marks.partition_point(|&(start, _)| start <= offset);
        Some(self.marks.get(behind.checked_sub(1)?)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn bytes_have_the_time_at_which_the_first_of_them_came() {
        let mut arrivals = ArrivalTimes::default();
        assert_eq!(arrivals.of(Offset(10)), None);
        for (start, now) in [(10, 1000), (20, 1099), (30, 1100), (40, 5000)] {
            arrivals.note(Offset(start), at(now));
        }
        for (offset, expected) in
            [(9, None), (10, Some(1000)), (29, Some(1000)), (30, Some(1100)), (99, Some(5000))]
        {
            assert_eq!(arrivals.of(Offset(offset)), expected.map(at), "{offset}");
        }
    }

    #[test]
    fn a_long_log_has_coarser_times_and_not_more_of_them() {
        let mut arrivals = ArrivalTimes::default();
        for n in 0..20_000 {
            arrivals.note(Offset(n * 10), at(n * 100));
            assert!(arrivals.marks.len() <= MARKS_MAX);
        }
        for n in [0, 1, 5000, 19_999] {
            let time = arrivals.of(Offset(n * 10)).unwrap();
            let late = at(n * 100).duration_since(time).unwrap();
            assert!(late < arrivals.grain, "{n}: {late:?} too early");
        }
        assert_eq!(arrivals.grain, GRAIN * 8);
    }
}
