//! When the bytes of a file were first seen, while somebody followed it.
//!
//! A sparse table from offsets to times. Its size is bounded: in a long log all times become
//! coarser, old and new alike.

use std::time::{Duration, SystemTime};

use crate::log::position::Offset;

/// Bytes that arrive within this time share one entry.
const GRAIN: Duration = Duration::from_millis(100);
/// The most entries of one table.
const ENTRIES_MAX: usize = 4096;
/// The most memory that one table takes: 96 KiB. Each open file of a log has one, so a log has at
/// most [`OLD_FILES_MAX`](super::OLD_FILES_MAX) + 1 of them that fill up.
pub(in crate::log) const ARRIVAL_BYTES_MAX: usize = ENTRIES_MAX * size_of::<Entry>();

const _: () = assert!(ARRIVAL_BYTES_MAX == 96 * 1024);

/// The offset of the first byte that arrived at a time, and the time.
type Entry = (Offset, SystemTime);

/// The times at which the bytes of one file arrived.
#[derive(Debug)]
pub(in crate::log) struct ArrivalTimes {
    /// In order.
    entries: Vec<Entry>,
    grain: Duration,
}

impl Default for ArrivalTimes {
    fn default() -> Self {
        Self { entries: Vec::new(), grain: GRAIN }
    }
}

impl ArrivalTimes {
    /// Records that the bytes from `start` on arrived at `now`.
    pub(in crate::log) fn note(&mut self, start: Offset, now: SystemTime) {
        let is_same =
            |&(_, time): &Entry| now.duration_since(time).is_ok_and(|since| since < self.grain);
        if self.entries.last().is_some_and(is_same) {
            return;
        }
        if self.entries.len() == ENTRIES_MAX {
            self.thin();
        }
        self.entries.push((start, now));
    }

    /// Drops every second entry, and their memory.
    fn thin(&mut self) {
        let mut nth = 0;
        self.entries.retain(|_| {
            nth += 1;
            nth % 2 == 1
        });
        self.entries.shrink_to_fit();
        self.grain *= 2;
    }

    /// When the byte at `offset` arrived. None for one that was there before the first entry.
    pub(in crate::log) fn of(&self, offset: Offset) -> Option<SystemTime> {
        let after = self.entries.partition_point(|&(start, _)| start <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.1)
    }

    /// The memory that the table takes, in bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds)
    }

    #[test]
    fn bytes_have_the_time_at_which_the_first_of_them_arrived() {
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
    fn a_long_log_has_coarser_times_and_no_more_memory() {
        let mut arrivals = ArrivalTimes::default();
        for n in 0..20_000 {
            arrivals.note(Offset(n * 10), at(n * 100));
            assert!(arrivals.bytes() <= ARRIVAL_BYTES_MAX, "{} bytes", arrivals.bytes());
        }
        for n in [0, 1, 5000, 19_999] {
            let time = arrivals.of(Offset(n * 10)).unwrap();
            let late = at(n * 100).duration_since(time).unwrap();
            assert!(late < arrivals.grain, "{n}: {late:?} too early");
        }
        assert_eq!(arrivals.grain, GRAIN * 8);
    }
}
