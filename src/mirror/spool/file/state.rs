//! Which bytes of a generation are here, which ones nobody has, and what its machine said of it.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use crate::log::Generation;
use crate::mirror::ranges::Ranges;

/// What is fetched at once: the pieces begin at multiples of this.
pub(super) const PIECE_BYTES: u64 = 256 * 1024;
/// How long it is believed that nobody has bytes which were asked for in vain. Their machine may only
/// have been unable to read them for a moment.
pub(super) const DENIAL_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct State {
    /// With the latest signature.
    pub(super) generation: Generation,
    /// The machine said so. Else it is what a visitor has asked for.
    pub(super) is_told: bool,
    /// What its machine calls it now, where that is another name.
    pub(super) alias: Option<Generation>,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    pub(super) next: Option<Generation>,
    /// When its machine last told of it as of the present file of its log.
    pub(super) followed: Option<SystemTime>,
    pub(super) present: Ranges,
    /// What nobody has. It is not noted: the next server asks again.
    pub(super) gone: Ranges,
    /// What of it is gone for good.
    pub(super) lost: Ranges,
    /// Since when some of the rest is not asked for.
    pub(super) denied: Option<Instant>,
    /// What is present, in the order in which it came.
    pub(super) order: VecDeque<Range<u64>>,
    pub(super) is_noted: bool,
    /// When the note was written; None if there is none.
    pub(super) noted: Option<SystemTime>,
}

impl State {
    /// The first part of a range of which it is not known where it is, and the first that nobody has.
    pub(super) fn look(&self, range: &Range<u64>) -> (Option<Range<u64>>, Option<Range<u64>>) {
        let (mut at, mut gone) = (range.start, None);
        while at < range.end {
            if let Some(present) = self.present.at(at) {
                at = present.end;
            } else if let Some(its) = self.gone.at(at) {
                gone.get_or_insert(at..its.end.min(range.end));
                at = its.end;
            } else {
                let next = |ranges: &Ranges| ranges.first_missing(&(at..range.end));
                let end = [next(&self.present), next(&self.gone)].into_iter().flatten();
                let end = end.map(|missing| missing.end).min().unwrap_or(range.end);
                return (Some(at..end), gone);
            }
        }
        (None, gone)
    }

    /// Nobody has these bytes now.
    pub(super) fn deny(&mut self, range: &Range<u64>, now: Instant) {
        let mut at = range.start;
        while let Some(missing) = self.present.first_missing(&(at..range.end)) {
            at = missing.end;
            self.gone.insert(missing);
        }
        self.denied.get_or_insert(now);
    }

    /// The next read of bytes that were asked for in vain asks again.
    pub(super) fn forget_denials(&mut self) {
        self.gone = self.lost.clone();
        self.denied = None;
    }

    pub(super) fn is_denial_over(&self, now: Instant) -> bool {
        self.denied.is_some_and(|since| now.duration_since(since) >= DENIAL_TIME_MAX)
    }

    /// The piece in which a missing range is fetched: more than that, as far as it is missing, too.
    pub(super) fn piece(&self, missing: &Range<u64>) -> Range<u64> {
        let from = missing.start - missing.start % PIECE_BYTES;
        let before = [&self.present, &self.gone].into_iter().filter_map(|ranges| {
            ranges.iter().rev().find(|range| range.end <= missing.start).map(|range| range.end)
        });
        let from = before.fold(from, u64::max);
        let to = (missing.start - missing.start % PIECE_BYTES) + PIECE_BYTES;
        let (missing, _) = self.look(&(missing.start..to.min(self.size.max(missing.end))));
        from..missing.map_or(to, |missing| missing.end.min(to))
    }
}
