//! Which bytes of a file are there: a set of ranges of offsets, as a value.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of offsets. None is empty, and no two of them overlap or touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// The ends, by their starts.
    ends: BTreeMap<u64, u64>,
    bytes: u64,
}

impl Ranges {
    /// The ranges, by their starts.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(&start, &end)| start..end)
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The offset after the last byte; 0 for none.
    pub(super) fn end(&self) -> u64 {
        self.ends.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// The range that contains an offset.
    pub(super) fn at(&self, offset: u64) -> Option<Range<u64>> {
        let (&start, &end) = self.ends.range(..=offset).next_back()?;
        (offset < end).then_some(start..end)
    }

    /// Whether all bytes of a range are there. An empty one is.
    pub(super) fn covers(&self, wanted: &Range<u64>) -> bool {
        wanted.is_empty() || self.at(wanted.start).is_some_and(|found| wanted.end <= found.end)
    }

    /// The first part of a range that is not there.
    pub(super) fn first_missing(&self, wanted: &Range<u64>) -> Option<Range<u64>> {
        let start = self.at(wanted.start).map_or(wanted.start, |found| found.end);
        if start >= wanted.end {
            return None;
        }
        let next = self.ends.range(start..).next().map_or(wanted.end, |(&next, _)| next);
        Some(start..next.min(wanted.end))
    }

    /// Adds a range.
    pub(super) fn insert(&mut self, added: Range<u64>) {
        if added.is_empty() {
            return;
        }
        let Range { mut start, mut end } = added;
        // The last one that begins at or before the end may reach into the range or touch it.
        while let Some((&other, &its_end)) = self.ends.range(..=end).next_back() {
            if its_end < start {
                break;
            }
            start = start.min(other);
            end = end.max(its_end);
            self.ends.remove(&other);
            self.bytes -= its_end - other;
        }
        self.ends.insert(start, end);
        self.bytes += end - start;
    }

    /// Takes a range out.
    pub(super) fn remove(&mut self, gone: &Range<u64>) {
        if gone.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.ends.range(..gone.end).next_back() {
            if end <= gone.start {
                break;
            }
            self.ends.remove(&start);
            self.bytes -= end.min(gone.end) - start.max(gone.start);
            if start < gone.start {
                self.ends.insert(start, gone.start);
            }
            if gone.end < end {
                self.ends.insert(gone.end, end);
            }
        }
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(all: I) -> Self {
        let mut ranges = Self::default();
        all.into_iter().for_each(|range| ranges.insert(range));
        ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES: u64 = 64;

    fn range() -> impl Strategy<Value = Range<u64>> {
        (0..BYTES, 0..BYTES).prop_map(|(one, other)| one.min(other)..one.max(other))
    }

    proptest! {
        /// The ranges say the same as one flag for each byte.
        #[test]
        fn ranges_are_a_set_of_bytes(steps in proptest::collection::vec((any::<bool>(), range()), 0..30), asked in range()) {
            let (mut ranges, mut flags) = (Ranges::default(), [false; BYTES as usize]);
            for (is_added, range) in steps {
                if is_added {
                    ranges.insert(range.clone());
                } else {
                    ranges.remove(&range);
                }
                flags[range.start as usize..range.end as usize].fill(is_added);
            }
            let there = |at: u64| flags[at as usize];
            prop_assert_eq!(ranges.bytes(), (0..BYTES).filter(|&at| there(at)).count() as u64);
            prop_assert_eq!(ranges.end(), (0..BYTES).rev().find(|&at| there(at)).map_or(0, |at| at + 1));
            for at in 0..BYTES {
                prop_assert_eq!(ranges.at(at).is_some(), there(at), "at {}", at);
            }
            prop_assert_eq!(ranges.covers(&asked), asked.clone().all(there));
            let missing = asked.clone().find(|&at| !there(at)).map(|start| {
                start..(start..asked.end).find(|&at| there(at)).unwrap_or(asked.end)
            });
            prop_assert_eq!(ranges.first_missing(&asked), missing);
            let all: Vec<_> = ranges.iter().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start), "{:?}", all);
            prop_assert_eq!(all.into_iter().collect::<Ranges>(), ranges);
        }
    }
}
