//! Rows of several logs as one sequence, by the times of their lines.
//!
//! A page begins at a place in each log. So many rows of each log are read on one side of its place as
//! the page may have, and are merged by their keys. A place in the sequence is therefore a position in
//! each log: a row that comes later stands in one page or the next, and in no two.

use std::io;

use crate::log::{Generation, Offset};
use crate::search::merge::{self, Direction, Key, Strand};
use crate::search::pattern::Pattern;
use crate::search::rows::{self, RANGE_BYTES_MAX, RenderedRow};
use crate::search::{
    LineIndex, Part, RowPosition, RowRange, RowsRequest, SearchError, Snapshot, filter,
};
use crate::time::{Placed, Zone};
use crate::wire::frame::Form;

/// The key of rows that have no time, and of which nobody knows when they arrived.
const NO_KEY: Key = Key::MIN;

/// How the times of a log are read.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The zone of stamps that say none.
    pub zone: Zone,
    /// What has to be added to the times of the log, in milliseconds, because its clock is wrong.
    pub shift: i64,
}

/// A position in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The generation.
    pub generation: Generation,
    /// The offset in it.
    pub offset: Offset,
}

/// A row with its place among those of other logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRow {
    /// The generation of its file.
    pub generation: Generation,
    /// The row.
    pub row: RenderedRow,
    /// The time that its line says, or that of the last line before it that says one, or else when it
    /// arrived; in milliseconds since 1970, by a right clock.
    pub time: Option<i64>,
    /// Where it stands among the rows of other logs; `None` if nothing says it, so that it comes first.
    pub key: Option<i64>,
}

/// Which rows of a log are read.
#[derive(Clone, Copy, Debug)]
pub struct LogRequest {
    /// Of which part of the file.
    pub part: Part,
    /// On which side of the place.
    pub direction: Direction,
    /// The place.
    pub offset: Offset,
    /// The most rows.
    pub count: usize,
    /// Rows as HTML or as text.
    pub form: Form,
}

/// What was read of one log on one side of a place.
#[derive(Clone, Debug)]
pub struct LogPage {
    /// The rows, in order.
    pub rows: Vec<PlacedRow>,
    /// What was read begins here.
    pub from: Position,
    /// What was read ends here.
    pub next: Position,
    /// Nothing of the wanted part comes before.
    pub at_start: bool,
    /// Nothing of the wanted part comes after.
    pub at_end: bool,
    /// The lines of the log say times; else their arrival orders them.
    pub is_timed: bool,
    /// The file goes on behind the wanted part.
    is_cut: bool,
    /// The key of the line right before the rows that were read backward, or right behind those that
    /// were read forward. `None` if nothing says it.
    edge: Option<Key>,
    /// Rows without a key come behind one that was not read and may have one.
    is_far: bool,
}

impl LogPage {
    /// Reads rows of one file. Blocks.
    ///
    /// # Errors
    /// When the file can't be read, or was truncated meanwhile.
    pub fn read(
        snapshot: &Snapshot,
        request: LogRequest,
        pattern: Option<&Pattern>,
        clock: &Clock,
    ) -> Result<Self, SearchError> {
        let LogRequest { part, direction, .. } = request;
        let offset = part.nearest(request.offset);
        let place = match direction {
            Direction::Forward => RowPosition::From(offset),
            Direction::Backward => RowPosition::Before(offset),
        };
        let wanted = RowsRequest { place, count: request.count, form: request.form };
        let index = LineIndex::default();
        // The file ends where its wanted part does.
        let ended = part.ended(snapshot);
        let range = match pattern {
            Some(pattern) => filter::filtered(&ended, &index, wanted, pattern)?,
            None => rows::rows(&ended, &index, wanted)?,
        };
        let mut page = Self::placed(snapshot, part.begun(range), direction, clock)?;
        page.is_cut = ended.end < snapshot.end;
        if snapshot.is_intact()? { Ok(page) } else { Err(SearchError::Gone(None)) }
    }

    fn placed(
        snapshot: &Snapshot,
        range: RowRange,
        direction: Direction,
        clock: &Clock,
    ) -> io::Result<Self> {
        let RowRange { from, next, at_start, at_end, rows } = range;
        let mut offsets: Vec<u64> = rows.iter().map(|row| row.offset.0).collect();
        match direction {
            Direction::Forward => offsets.push(next.0),
            Direction::Backward => offsets.insert(0, from.0.saturating_sub(1)),
        }
        let mut timed = snapshot.timed(&clock.zone)?;
        let places = timed.places(&offsets)?;
        let place = |(offset, placed): (&u64, Placed)| {
            let arrived = snapshot.arrived(Offset(*offset)).and_then(|at| i64::try_from(at).ok());
            let shifted = |time: Option<i64>| time.map(|time| time.saturating_add(clock.shift));
            (shifted(placed.time).or(arrived), shifted(placed.key).or(arrived))
        };
        let is_far = places.iter().any(|placed| placed.is_far);
        let mut places: Vec<(Option<i64>, Option<i64>)> =
            offsets.iter().zip(places).map(place).collect();
        let edge = match direction {
            Direction::Forward => places.pop(),
            Direction::Backward => Some(places.remove(0)),
        };
        let generation = snapshot.generation;
        let placed = |(row, (time, key))| PlacedRow { generation, row, time, key };
        Ok(Self {
            rows: rows.into_iter().zip(places).map(placed).collect(),
            from: Position { generation, offset: from },
            next: Position { generation, offset: next },
            at_start,
            at_end,
            is_timed: timed.is_timed(),
            is_cut: false,
            edge: edge.and_then(|(_, key)| key),
            is_far,
        })
    }

    /// The page of a file, and that of the file right behind it.
    #[must_use]
    pub(super) fn followed_by(mut self, mut later: Self, direction: Direction) -> Self {
        if let Some(last) = self.rows.last() {
            later.stand_behind(last);
        }
        let is_far = self.is_far || (later.is_far && self.rows.iter().all(|row| row.key.is_none()));
        self.rows.append(&mut later.rows);
        let edge = match direction {
            Direction::Forward => later.edge,
            Direction::Backward => self.edge,
        };
        let Self { next, at_end, is_cut, .. } = later;
        let is_timed = self.is_timed || later.is_timed;
        Self { next, at_end, is_timed, is_cut, edge, is_far, ..self }
    }

    /// Whether the last row of the file before would say where rows of this one stand.
    pub(super) fn lacks_key(&self, direction: Direction) -> bool {
        let is_edge = direction == Direction::Backward && self.edge.is_none();
        !self.is_far && (is_edge || self.rows.first().is_some_and(|row| row.key.is_none()))
    }

    /// Lines before the first time of a file stand where the last row of the file before does.
    pub(super) fn stand_behind(&mut self, last: &PlacedRow) {
        if self.is_far {
            return;
        }
        for row in self.rows.iter_mut().take_while(|row| row.key.is_none()) {
            row.time = row.time.or(last.time);
            row.key = last.key;
        }
        self.edge = self.edge.or(last.key);
    }

    /// The same for the last row of a page of the file before.
    pub(super) fn stand_behind_page(&mut self, before: &Self) {
        if let Some(last) = before.rows.last() {
            self.stand_behind(last);
            self.is_far |= last.key.is_none() && before.is_far;
        }
    }

    /// The weight of its rows.
    pub(super) fn weight(&self) -> usize {
        self.rows.iter().map(|placed| placed.row.weight()).sum()
    }

    /// Where a row begins at the end of the log to which later bytes may add.
    #[must_use]
    pub fn open(&self) -> Option<Offset> {
        let last = self.rows.last().filter(|last| self.at_end && last.row.is_open)?;
        Some(last.row.offset)
    }

    /// Whether all rows up to the end of the log were read.
    #[must_use]
    pub fn is_to_end(&self) -> bool {
        self.at_end && !self.is_cut
    }

    /// The key of the last row before an offset.
    #[must_use]
    pub fn key_before(&self, position: Position) -> Option<i64> {
        let is_before = |placed: &&PlacedRow| {
            !placed.generation.is(&position.generation) || placed.row.offset < position.offset
        };
        self.rows.iter().rev().find(is_before)?.key
    }

    fn strand(&self, direction: Direction) -> Strand {
        // Rows of which nothing says where they stand come first.
        let known = |key: Option<Key>| key.or((!self.is_far).then_some(NO_KEY));
        let keys = self.rows.iter().map(|row| known(row.key)).collect();
        let is_all = match direction {
            Direction::Forward => self.at_end,
            Direction::Backward => self.at_start,
        };
        Strand::new(keys, (!is_all).then_some(known(self.edge)), direction)
    }
}

/// A part of one log that is in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    /// The first row of the log that stands in the page or behind it.
    pub from: Position,
    /// The first row of the log that stands behind the page.
    pub next: Position,
    /// No row of the log comes before the page.
    pub at_start: bool,
    /// No row of the log comes behind it.
    pub at_end: bool,
    /// The lines of the log say times.
    pub is_timed: bool,
}

/// Rows of several logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedPage {
    /// The rows in order, each with its log.
    pub rows: Vec<(usize, PlacedRow)>,
    /// What there is of each log.
    pub parts: Vec<LogPart>,
}

/// Merges what was read of several logs on the same side of their places.
#[must_use]
pub fn merged(pages: Vec<LogPage>, direction: Direction, count: usize) -> MergedPage {
    let strands: Vec<Strand> = pages.iter().map(|page| page.strand(direction)).collect();
    let row_of = |log: usize, nth: usize| {
        let rows = &pages[log].rows;
        let at = match direction {
            Direction::Forward => nth,
            Direction::Backward => rows.len() - 1 - nth,
        };
        &rows[at]
    };
    let mut weight = 0;
    let order = merge::merge(&strands, direction, count, |log, nth| {
        let is_room = weight < RANGE_BYTES_MAX;
        weight += row_of(log, nth).row.weight();
        is_room
    });
    let mut taken = vec![0; pages.len()];
    order.iter().for_each(|log| taken[*log] += 1);
    let (mut queues, mut parts) = (Vec::new(), Vec::new());
    for (page, taken) in pages.into_iter().zip(taken) {
        let LogPage { mut rows, from, next, at_start, at_end, is_timed, .. } = page;
        let position =
            |row: &PlacedRow| Position { generation: row.generation, offset: row.row.offset };
        let (rows, cut) = match direction {
            Direction::Forward => {
                let rest = rows.split_off(taken);
                (rows, rest.first().map(position))
            }
            Direction::Backward => {
                let left = rows.len() - taken;
                let kept = rows.split_off(left);
                let cut = (left > 0).then(|| kept.first().map_or(next, position));
                (kept, cut)
            }
        };
        let mut part = LogPart { from, next, at_start, at_end, is_timed };
        match (cut, direction) {
            (Some(cut), Direction::Forward) => (part.next, part.at_end) = (cut, false),
            (Some(cut), Direction::Backward) => (part.from, part.at_start) = (cut, false),
            (None, _) => {}
        }
        queues.push(rows.into_iter());
        parts.push(part);
    }
    let in_order: Vec<usize> = match direction {
        Direction::Forward => order,
        Direction::Backward => order.into_iter().rev().collect(),
    };
    let rows = in_order.into_iter().filter_map(|log| Some((log, queues[log].next()?))).collect();
    MergedPage { rows, parts }
}

impl Snapshot {
    /// The first row that is not before a time by the clock of a log, in milliseconds since 1970. In a
    /// log without times the time of arrival counts.
    ///
    /// # Errors
    /// Those of `fstat` and `pread`.
    pub fn seek_key(&self, time: i64, clock: &Clock) -> io::Result<Offset> {
        if self.timed(&clock.zone)?.is_timed() {
            return self.seek_time(time.saturating_sub(clock.shift), &clock.zone);
        }
        let is_before = |offset: u64| {
            self.arrived(Offset(offset))
                .is_none_or(|at| i64::try_from(at).is_ok_and(|at| at < time))
        };
        let (mut low, mut high) = (0, self.end.0);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        Ok(Offset(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::snapshot_of;
    use proptest::prelude::*;

    /// 2026-11-28T14:02:00Z in seconds.
    const T: i64 = 1_795_874_520;

    fn clock(shift: i64) -> Clock {
        Clock { zone: Zone::UTC, shift }
    }

    /// Each row as its log and its text.
    fn texts(page: &MergedPage) -> Vec<(usize, String)> {
        page.rows.iter().map(|(log, placed)| (*log, placed.row.content.clone())).collect()
    }

    /// Pages of some logs.
    struct Logs {
        snapshots: Vec<Snapshot>,
        clocks: Vec<Clock>,
        pattern: Option<Pattern>,
        count: usize,
    }

    impl Logs {
        fn page(&self, places: &[Offset], direction: Direction) -> MergedPage {
            let read = |((snapshot, clock), offset): ((&Snapshot, &Clock), &Offset)| {
                let (offset, count) = (*offset, self.count);
                let request = LogRequest {
                    part: Part::default(),
                    direction,
                    offset,
                    count,
                    form: Form::TextRows,
                };
                LogPage::read(snapshot, request, self.pattern.as_ref(), clock).unwrap()
            };
            let logs = self.snapshots.iter().zip(&self.clocks).zip(places);
            let page = merged(logs.map(read).collect(), direction, self.count);
            assert!(page.rows.len() <= self.count);
            page
        }

        /// All rows from the places on.
        fn down(&self, places: &[Offset]) -> Vec<(usize, String)> {
            let (mut rows, mut places) = (Vec::new(), places.to_vec());
            loop {
                let page = self.page(&places, Direction::Forward);
                let next: Vec<Offset> = page.parts.iter().map(|part| part.next.offset).collect();
                assert!(next != places || page.parts.iter().all(|part| part.at_end), "{page:?}");
                places = next;
                rows.extend(texts(&page));
                if page.parts.iter().all(|part| part.at_end) {
                    return rows;
                }
            }
        }

        /// All rows before the places.
        fn up(&self, places: &[Offset]) -> Vec<(usize, String)> {
            let (mut pages, mut places) = (Vec::new(), places.to_vec());
            loop {
                let page = self.page(&places, Direction::Backward);
                let from: Vec<Offset> = page.parts.iter().map(|part| part.from.offset).collect();
                let is_over = page.parts.iter().all(|part| part.at_start);
                assert!(from != places || is_over, "{page:?}");
                places = from;
                pages.push(texts(&page));
                if is_over {
                    return pages.into_iter().rev().flatten().collect();
                }
            }
        }
    }

    /// A log of these lines: steps in milliseconds, and how late each line is written; `None` for a line
    /// without a time. Returns its text and the key of each line.
    fn log_of(name: char, lines: &[(i64, Option<i64>)]) -> (String, Vec<i64>) {
        let (mut log, mut clock, mut key, mut keys) = (String::new(), T * 1000, NO_KEY, Vec::new());
        for (nth, (step, late)) in lines.iter().enumerate() {
            clock += step;
            match late {
                Some(late) => {
                    key = key.max(clock - late);
                    log += &format!("{} {name} {nth}\n", clock - late);
                }
                None => log += &format!("  of {name} {nth}\n"),
            }
            keys.push(key);
        }
        (log, keys)
    }

    fn line() -> impl Strategy<Value = (i64, Option<i64>)> {
        (0i64..40, prop::option::weighted(0.8, prop_oneof![3 => Just(0i64), 1 => 0i64..200]))
    }

    proptest! {
        #![proptest_config(crate::testing::cases(32))]
        #[test]
        fn pages_of_several_logs_are_one_sequence_from_any_place(
            logs in proptest::collection::vec(proptest::collection::vec(line(), 0..120), 1..5),
            shifts in proptest::collection::vec(-500i64..500, 5),
            count in 1usize..90,
            begin in 0.0..1.0f64,
            word in prop::option::of("[a-d]|7"),
        ) {
            let mut all: Vec<(i64, usize, usize, u64, String)> = Vec::new();
            let (mut snapshots, mut kept) = (Vec::new(), Vec::new());
            for (log, (lines, shift)) in logs.iter().zip(&shifts).enumerate() {
                let (text, keys) = log_of((b'a' + log as u8) as char, lines);
                let mut offset = 0;
                for (nth, (row, key)) in text.lines().zip(keys).enumerate() {
                    // Lines before the first time come first.
                    let key = if key == NO_KEY { NO_KEY } else { key + shift };
                    all.push((key, log, nth, offset, row.to_owned()));
                    offset += row.len() as u64 + 1;
                }
                let (snapshot, directory) = snapshot_of(text.as_bytes());
                snapshots.push(snapshot);
                kept.push(directory);
            }
            all.sort();
            let place = (all.len() as f64 * begin) as usize;
            let cut = |log: usize| {
                let next = all[place..].iter().find(|row| row.1 == log);
                next.map_or(snapshots[log].end, |row| Offset(row.3))
            };
            let places: Vec<Offset> = (0..snapshots.len()).map(cut).collect();
            let pattern = word.map(|word| {
                let spec = PatternSpec {
                    pattern: Some(word), is_regex: true, has_case: true, ..PatternSpec::default()
                };
                Pattern::new(&spec).unwrap()
            });
            let clocks = shifts.iter().map(|shift| clock(*shift)).collect();
            let logs = Logs { snapshots, clocks, pattern, count };
            let passes = |row: &&(i64, usize, usize, u64, String)| {
                logs.pattern.as_ref().is_none_or(|pattern| pattern.accepts(row.4.as_bytes()))
            };
            let expected = |rows: &[(i64, usize, usize, u64, String)]| {
                rows.iter().filter(passes).map(|row| (row.1, row.4.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(logs.down(&places), expected(&all[place..]));
            prop_assert_eq!(logs.up(&places), expected(&all[..place]));
            if let Some(row) = all.get(place).filter(|row| row.0 != NO_KEY) {
                // The place of a time is that of the first row that is not before it.
                let sought = logs.snapshots.iter().zip(&logs.clocks);
                let places: Vec<Offset> =
                    sought.map(|(log, clock)| log.seek_key(row.0, clock).unwrap()).collect();
                // The lines before the first time of a log belong to it.
                let is_found = |other: &&(i64, usize, usize, u64, String)| {
                    let is_head = other.0 == NO_KEY && places[other.1] == Offset(0);
                    other.0 >= row.0 || is_head
                };
                let found: Vec<_> = all.iter().filter(is_found).cloned().collect();
                prop_assert_eq!(logs.down(&places), expected(&found));
            }
        }
    }

    #[test]
    fn a_page_is_bounded_in_bytes_and_goes_on() {
        let long = "x".repeat(15_000);
        let log = |first: i64| {
            (0..100).map(|nth| format!("{} {long}\n", T + first + 2 * nth)).collect::<String>()
        };
        let (one, _kept) = snapshot_of(log(0).as_bytes());
        let (other, _kept_too) = snapshot_of(log(1).as_bytes());
        let ends = [one.end, other.end];
        let clocks = vec![clock(0), clock(0)];
        let logs = Logs { snapshots: vec![one, other], clocks, pattern: None, count: 2000 };
        let bytes = |rows: &[(usize, String)]| rows.iter().map(|row| row.1.len()).sum::<usize>();
        let page = texts(&logs.page(&[Offset(0), Offset(0)], Direction::Forward));
        assert!(bytes(&page) < RANGE_BYTES_MAX + long.len() * 2, "{} bytes", bytes(&page));
        let order: Vec<usize> =
            logs.down(&[Offset(0), Offset(0)]).iter().map(|row| row.0).collect();
        assert!(order.iter().enumerate().all(|(nth, log)| nth % 2 == *log), "{order:?}");
        assert_eq!(order.len(), 200);
        assert_eq!(logs.up(&ends).len(), 200);
    }

    #[test]
    fn a_last_row_that_can_grow_is_where_a_stream_goes_on() {
        let (snapshot, _kept) = snapshot_of(format!("{T} one\n{} tw", T + 1).as_bytes());
        let request = LogRequest {
            part: Part::default(),
            direction: Direction::Backward,
            offset: snapshot.end,
            count: 9,
            form: Form::Rows,
        };
        let page = LogPage::read(&snapshot, request, None, &clock(0)).unwrap();
        let open = page.open().unwrap();
        assert_eq!(open, Offset(15));
        let position = Position { offset: open, ..page.next };
        assert_eq!(page.key_before(position), Some(T * 1000));
    }
}
