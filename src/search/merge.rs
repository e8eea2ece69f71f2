//! The merge of several logs: rows in the order of their keys, those of one log in the order of their
//! file. Pure.
//!
//! Each log gives the rows that were read on one side of a place. Where there may be more, its edge says
//! where these begin; nothing behind an edge is merged, since a row that was not read may stand before
//! it. Rows with the same key stand in the order of the logs.

/// Where a row stands among those of other logs: milliseconds since 1970. The least one is that of rows
/// without a time.
pub type Key = i64;

/// On which side of a place rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Behind the place: the first rows are wanted.
    Forward,
    /// Before the place: the last rows are wanted.
    Backward,
}

/// What was read of one log on that side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strand {
    /// The key of each row, in the order of the file.
    keys: Vec<Key>,
    /// The key of the nearest row that was not read; `None` if all were.
    edge: Option<Key>,
}

impl Strand {
    /// The rows that were read in this direction, and the nearest row that was not. In one log keys
    /// never fall: where they do, because the log is far out of order, a row stands at the key of the
    /// row that was read before it.
    ///
    /// A row without a key has that of the last row before it in the log that has one. If that was not
    /// read, the row stands as near to the place as the rows between allow: it comes next to the rows of
    /// its own log, and does not hide that others may come before those of other logs.
    #[must_use]
    pub fn new(
        mut keys: Vec<Option<Key>>,
        edge: Option<Option<Key>>,
        direction: Direction,
    ) -> Self {
        let mut bound = match direction {
            Direction::Forward => Key::MIN,
            Direction::Backward => Key::MAX,
        };
        let mut level = |key: Option<Key>| {
            bound = match direction {
                Direction::Forward => key.map_or(bound, |key| key.max(bound)),
                Direction::Backward => key.map_or(bound, |key| key.min(bound)),
            };
            bound
        };
        let keys: Vec<Key> = match direction {
            Direction::Forward => keys.into_iter().map(&mut level).collect(),
            Direction::Backward => {
                // Forward, the bound is the key of the last row that has one.
                let mut last = edge.flatten();
                for key in &mut keys {
                    *key = key.or(last);
                    last = *key;
                }
                let mut keys: Vec<Key> = keys.into_iter().rev().map(&mut level).collect();
                keys.reverse();
                keys
            }
        };
        let edge = edge.map(level);
        Self { keys, edge }
    }

    /// The key of the nth row from the place on.
    fn nth(&self, nth: usize, direction: Direction) -> Option<Key> {
        let at = match direction {
            Direction::Forward => nth,
            Direction::Backward => self.keys.len().checked_sub(nth + 1)?,
        };
        self.keys.get(at).copied()
    }
}

/// From which log the next row is, again and again, from the place on: at most `count` rows, and none
/// that `takes` refuses, which is asked with the log and which of its rows it would be, both from 0.
#[must_use]
pub fn merge(
    strands: &[Strand],
    direction: Direction,
    count: usize,
    mut takes: impl FnMut(usize, usize) -> bool,
) -> Vec<usize> {
    let is_before = |one: (Key, usize), other: (Key, usize)| match direction {
        Direction::Forward => one < other,
        Direction::Backward => one > other,
    };
    let mut taken = vec![0; strands.len()];
    let mut order = Vec::new();
    while order.len() < count {
        let mut first: Option<(Key, usize)> = None;
        for (log, strand) in strands.iter().enumerate() {
            let head = strand.nth(taken[log], direction).map(|key| (key, log));
            if let Some(head) =
                head.filter(|head| first.is_none_or(|first| is_before(*head, first)))
            {
                first = Some(head);
            }
        }
        let Some((key, log)) = first else { break };
        // Rows of the same log that were not read come later in any case.
        let mut edges = strands.iter().enumerate().filter(|(other, _)| *other != log);
        let is_behind_an_edge = edges.any(|(other, strand)| {
            strand.edge.is_some_and(|edge| is_before((edge, other), (key, log)))
        });
        if is_behind_an_edge || !takes(log, taken[log]) {
            break;
        }
        taken[log] += 1;
        order.push(log);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(logs: &[(&[Key], Option<Key>)], direction: Direction, count: usize) -> Vec<usize> {
        let strand = |(keys, edge): &(&[Key], Option<Key>)| {
            let keys = keys.iter().copied().map(Some).collect();
            Strand::new(keys, edge.map(Some), direction)
        };
        let strands: Vec<Strand> = logs.iter().map(strand).collect();
        merge(&strands, direction, count, |_, _| true)
    }

    #[test]
    fn rows_come_by_key_then_by_log_then_as_in_their_file() {
        let logs: [(&[Key], Option<Key>); 3] =
            [(&[1, 3, 3], None), (&[1, 2, 3], None), (&[], None)];
        assert_eq!(merged(&logs, Direction::Forward, 9), [0, 1, 1, 0, 0, 1]);
        assert_eq!(merged(&logs, Direction::Backward, 9), [1, 0, 0, 1, 1, 0]);
        assert_eq!(merged(&logs, Direction::Forward, 2), [0, 1]);
        // A row that goes back in time stands behind the one before it.
        let logs: [(&[Key], Option<Key>); 2] = [(&[5, 1, 6], None), (&[2, 5, 6], None)];
        assert_eq!(merged(&logs, Direction::Forward, 9), [1, 0, 0, 1, 0, 1]);
    }

    #[test]
    fn nothing_is_merged_that_a_row_which_was_not_read_may_stand_before() {
        let logs: [(&[Key], Option<Key>); 2] = [(&[1, 2], Some(4)), (&[3, 4, 5], None)];
        assert_eq!(merged(&logs, Direction::Forward, 9), [0, 0, 1]);
        let logs: [(&[Key], Option<Key>); 2] = [(&[7, 9], Some(6)), (&[5, 6, 8], None)];
        assert_eq!(merged(&logs, Direction::Backward, 9), [0, 1, 0, 1]);
        // Of a log without matches yet, only the edge is known.
        let logs: [(&[Key], Option<Key>); 2] = [(&[], Some(4)), (&[3, 4], None)];
        assert_eq!(merged(&logs, Direction::Forward, 9), [1]);
        let logs: [(&[Key], Option<Key>); 2] = [(&[], Some(1)), (&[3, 4], None)];
        assert!(merged(&logs, Direction::Forward, 9).is_empty());
    }

    #[test]
    fn a_row_without_a_key_has_that_of_the_row_before_it() {
        let two = |keys: &[Option<Key>], edge, direction| {
            let other = Strand::new(vec![Some(1), Some(4), Some(8)], None, direction);
            merge(&[Strand::new(keys.to_vec(), edge, direction), other], direction, 9, |_, _| true)
        };
        let keys = [Some(2), None, None, Some(6)];
        assert_eq!(two(&keys, None, Direction::Forward), [1, 0, 0, 0, 1, 0, 1]);
        assert_eq!(two(&keys, None, Direction::Backward), [1, 0, 1, 0, 0, 0, 1]);
        // The row that was not read has it.
        let keys = [None, None, Some(6)];
        assert_eq!(two(&keys, Some(Some(2)), Direction::Backward), [1, 0, 1, 0, 0]);
        // Nobody knows it: the row comes next, and what was not read may come next, too.
        assert_eq!(two(&keys, Some(None), Direction::Backward), [1, 0, 0, 0]);
        let keys = [None, Some(2), None, Some(6)];
        assert_eq!(two(&keys, Some(Some(1)), Direction::Backward), [1, 0, 1, 0, 0, 1, 0]);
        assert_eq!(two(&[], Some(None), Direction::Backward), [0usize; 0]);
        assert_eq!(two(&[None, Some(6)], Some(None), Direction::Forward), [0, 1, 1, 0]);
    }

    /// The rows of some logs from a cursor on, as if at most so many of each had been read.
    fn page(
        logs: &[Vec<Option<Key>>],
        cursor: &mut [usize],
        direction: Direction,
        reads: &[usize],
        count: usize,
    ) -> Vec<(usize, usize)> {
        let strand = |(log, keys): (usize, &Vec<Option<Key>>)| {
            let at = cursor[log];
            let (read, edge) = match direction {
                Direction::Forward => {
                    let end = keys.len().min(at + reads[log]);
                    (at..end, keys.get(end))
                }
                Direction::Backward => {
                    let start = at.saturating_sub(reads[log]);
                    (start..at, start.checked_sub(1).map(|before| &keys[before]))
                }
            };
            Strand::new(keys[read].to_vec(), edge.copied(), direction)
        };
        let strands: Vec<Strand> = logs.iter().enumerate().map(strand).collect();
        let order = merge(&strands, direction, count, |_, _| true);
        let take = |log: usize| match direction {
            Direction::Forward => {
                cursor[log] += 1;
                (log, cursor[log] - 1)
            }
            Direction::Backward => {
                cursor[log] -= 1;
                (log, cursor[log])
            }
        };
        order.into_iter().map(take).collect()
    }

    proptest! {
        #[test]
        fn pages_forward_and_backward_are_one_sequence(
            // How much later each row is than the one before it, and whether it says so.
            steps in proptest::collection::vec(
                proptest::collection::vec((0i64..3, prop::bool::weighted(0.8)), 0..40), 1..5),
            reads in proptest::collection::vec(1usize..9, 5),
            count in 1usize..20,
            begin in 0.0..1.0f64,
        ) {
            // Rows before the first time come first. Of the others, a row that says nothing follows
            // one that does, so that no key is out of reach.
            let rise = |steps: &Vec<(i64, bool)>| {
                let (mut key, mut last) = (0, Some(Key::MIN));
                steps.iter().map(|(step, says)| {
                    last = match (says, last) {
                        (false, Some(Key::MIN)) => last,
                        (false, Some(_)) => None,
                        (true, _) | (false, None) => { key += step; Some(key) }
                    };
                    (last, if last == Some(Key::MIN) { Key::MIN } else { key })
                }).collect::<Vec<(Option<Key>, Key)>>()
            };
            let rows: Vec<Vec<(Option<Key>, Key)>> = steps.iter().map(rise).collect();
            let mut all: Vec<(Key, usize, usize)> = rows.iter().enumerate().flat_map(|(log, keys)| {
                keys.iter().enumerate().map(move |(nth, (_, key))| (*key, log, nth))
            }).collect();
            let logs: Vec<Vec<Option<Key>>> =
                rows.iter().map(|rows| rows.iter().map(|(said, _)| *said).collect()).collect();
            all.sort_unstable();
            let all: Vec<(usize, usize)> = all.into_iter().map(|(_, log, nth)| (log, nth)).collect();
            let place = (all.len() as f64 * begin) as usize;
            let mut cursor = vec![0; logs.len()];
            all[..place].iter().for_each(|(log, _)| cursor[*log] += 1);
            let mut back = cursor.clone();
            let mut rows = Vec::new();
            loop {
                let page = page(&logs, &mut cursor, Direction::Forward, &reads, count);
                if page.is_empty() { break }
                rows.extend(page);
            }
            prop_assert_eq!(&rows[..], &all[place..]);
            rows.clear();
            loop {
                let page = page(&logs, &mut back, Direction::Backward, &reads, count);
                if page.is_empty() { break }
                rows.extend(page);
            }
            rows.reverse();
            prop_assert_eq!(&rows[..], &all[..place]);
        }
    }
}
