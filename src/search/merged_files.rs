//! A page of a log that goes on from file to file: which file is read next, and when it is enough.
//! Pure; the files are read by the caller.
//!
//! Lines before the first time of a file stand where the last line of the file before does. So a page
//! that has such lines needs the last row of that file, too.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::search::merge::Direction;
use crate::search::merged::LogPage;
use crate::search::rows::RANGE_BYTES_MAX;

/// The most files that are read for one page.
const FILES_MAX: usize = 16;
/// The most files before the page whose last row is read.
const FILES_BEFORE_MAX: usize = 4;
/// A page begins to read no further file after this time.
const TIME_MAX: Duration = Duration::from_millis(150);

/// What has to be read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Rows of this file: the first ones, or backward the last ones.
    Rows {
        /// Its place among the files, of which the oldest is the first.
        at: usize,
        /// The most rows.
        count: usize,
    },
    /// The last row of this file, whatever the page searches for.
    LastRow {
        /// Its place among the files.
        at: usize,
    },
}

/// A page that goes on from file to file.
#[derive(Debug)]
pub struct FilesPage {
    page: LogPage,
    direction: Direction,
    /// The most rows.
    count: usize,
    /// The files in which the wanted part lies.
    files: Range<usize>,
    /// The oldest and the newest of the files that were read.
    oldest: usize,
    newest: usize,
    /// How many files were read for rows, and for the last row.
    read: usize,
    looked_at: usize,
    /// Rows of further files are not wanted: what is searched for one page is bounded.
    is_search: bool,
    until: Instant,
}

impl FilesPage {
    /// Begins with the page of one of the files. Reading began at `begun`.
    #[must_use]
    pub fn new(
        page: LogPage,
        at: usize,
        files: Range<usize>,
        (direction, count): (Direction, usize),
        is_search: bool,
        begun: Instant,
    ) -> Self {
        let (oldest, newest, read, looked_at) = (at, at, 1, 0);
        let until = begun + TIME_MAX;
        Self { page, direction, count, files, oldest, newest, read, looked_at, is_search, until }
    }

    /// What has to be read next; `None` if the page is complete, or has all that one may have.
    #[must_use]
    pub fn next_step(&self, now: Instant) -> Option<Step> {
        let count = self.count.saturating_sub(self.page.rows.len());
        let next = match self.direction {
            Direction::Forward => Some(self.newest + 1).filter(|at| *at < self.files.end),
            Direction::Backward => self.oldest.checked_sub(1).filter(|at| *at >= self.files.start),
        };
        let is_over = match self.direction {
            Direction::Forward => self.page.at_end,
            Direction::Backward => self.page.at_start,
        };
        let is_full = count == 0 || self.is_search || self.page.weight() >= RANGE_BYTES_MAX;
        let is_late = self.read >= FILES_MAX || now >= self.until;
        if let Some(at) = next
            && is_over
            && !is_full
            && !is_late
        {
            return Some(Step::Rows { at, count });
        }
        let at = self.oldest.checked_sub(self.looked_at + 1)?;
        let is_late =
            self.looked_at >= FILES_BEFORE_MAX || (self.looked_at > 0 && now >= self.until);
        (self.page.lacks_key(self.direction) && !is_late).then_some(Step::LastRow { at })
    }

    /// Takes what was read in a step; `None` if the file is gone.
    #[must_use]
    pub fn with(mut self, step: Step, read: Option<LogPage>) -> Self {
        match step {
            Step::Rows { at, .. } => {
                self.read += 1;
                (self.oldest, self.newest) = (self.oldest.min(at), self.newest.max(at));
                if let Some(read) = read {
                    self.page = match self.direction {
                        Direction::Forward => self.page.followed_by(read, self.direction),
                        Direction::Backward => read.followed_by(self.page, self.direction),
                    };
                }
            }
            Step::LastRow { .. } => {
                self.looked_at += 1;
                if let Some(read) = read {
                    self.page.stand_behind_page(&read);
                }
            }
        }
        self
    }

    /// The page.
    #[must_use]
    pub fn finish(mut self) -> LogPage {
        self.page.at_start &= self.oldest <= self.files.start;
        self.page.at_end &= self.newest + 1 >= self.files.end;
        self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;
    use crate::search::merged::{Clock, LogRequest, MergedPage, Position, merged};
    use crate::search::pattern::{Pattern, PatternSpec};
    use crate::search::snapshot::tests::snapshot_of;
    use crate::search::{Part, Snapshot};
    use crate::time::Zone;
    use crate::wire::frame::Form;
    use proptest::prelude::*;

    /// 2026-11-28T14:02:00Z in seconds.
    const T: i64 = 1_795_874_520;

    /// Logs that have several files each, and a search in them.
    struct Logs {
        logs: Vec<Vec<Snapshot>>,
        pattern: Option<Pattern>,
        count: usize,
    }

    /// A place in a log: which of its files, and the offset.
    type Place = (usize, u64);

    impl Logs {
        fn read(
            &self,
            (log, at): (usize, usize),
            offset: u64,
            direction: Direction,
            count: usize,
            pattern: Option<&Pattern>,
        ) -> LogPage {
            let request = LogRequest {
                part: Part::default(),
                direction,
                offset: Offset(offset),
                count,
                form: Form::TextRows,
            };
            let clock = Clock { zone: Zone::UTC, shift: 0 };
            LogPage::read(&self.logs[log][at], request, pattern, &clock).unwrap()
        }

        fn log_page(&self, log: usize, place: Place, direction: Direction) -> LogPage {
            let files = &self.logs[log];
            let (mut at, mut offset) = place;
            match direction {
                Direction::Forward => {
                    while offset >= files[at].end.0 && at + 1 < files.len() {
                        (at, offset) = (at + 1, 0);
                    }
                }
                Direction::Backward => {
                    while (offset == 0 || files[at].end.0 == 0) && at > 0 {
                        (at, offset) = (at - 1, u64::MAX);
                    }
                }
            }
            let (now, pattern) = (Instant::now(), self.pattern.as_ref());
            let page = self.read((log, at), offset, direction, self.count, pattern);
            let wanted = (direction, self.count);
            let mut page = FilesPage::new(page, at, 0..files.len(), wanted, pattern.is_some(), now);
            let begin = if direction == Direction::Forward { 0 } else { u64::MAX };
            while let Some(step) = page.next_step(now) {
                let read = match step {
                    Step::Rows { at, count } => {
                        self.read((log, at), begin, direction, count, pattern)
                    }
                    Step::LastRow { at } => {
                        self.read((log, at), u64::MAX, Direction::Backward, 1, None)
                    }
                };
                page = page.with(step, Some(read));
            }
            page.finish()
        }

        fn page(&self, places: &[Place], direction: Direction) -> MergedPage {
            let pages = places.iter().enumerate();
            let pages = pages.map(|(log, place)| self.log_page(log, *place, direction)).collect();
            merged(pages, direction, self.count)
        }

        /// All rows on one side of the places, with their logs.
        fn all(&self, mut places: Vec<Place>, direction: Direction) -> Vec<(usize, String)> {
            let mut pages: Vec<Vec<(usize, String)>> = Vec::new();
            loop {
                let page = self.page(&places, direction);
                let text = page.rows.iter().map(|(log, placed)| (*log, placed.row.content.clone()));
                pages.push(text.collect());
                let place = |(log, position): (usize, Position)| {
                    let is_it = |file: &Snapshot| file.generation.is(&position.generation);
                    (self.logs[log].iter().position(is_it).unwrap(), position.offset.0)
                };
                let is_over = page.parts.iter().all(|part| match direction {
                    Direction::Forward => part.at_end,
                    Direction::Backward => part.at_start,
                });
                if is_over {
                    break;
                }
                let next = page.parts.iter().map(|part| match direction {
                    Direction::Forward => part.next,
                    Direction::Backward => part.from,
                });
                let next: Vec<Place> = next.enumerate().map(place).collect();
                assert!(next != places, "no way on from {places:?}");
                places = next;
            }
            if direction == Direction::Backward {
                pages.reverse();
            }
            pages.concat()
        }
    }

    /// Of each log the lines of each file: milliseconds since the line before, and whether it says a time.
    fn files() -> impl Strategy<Value = Vec<Vec<(i64, bool)>>> {
        let line = (0i64..40, prop::bool::weighted(0.7));
        let file = (0usize..4, prop::collection::vec(line, 0..40)).prop_map(|(head, lines)| {
            let silent = (0..head).map(|_| (0, false));
            silent.chain(lines).collect()
        });
        prop::collection::vec(file, 1..5)
    }

    proptest! {
        #![proptest_config(crate::testing::cases(48))]
        #[test]
        fn pages_of_logs_with_several_files_are_one_sequence(
            logs in prop::collection::vec(files(), 1..4),
            count in 1usize..60,
            begin in 0.0..1.0f64,
            word in prop::option::of("[a-c] [0-9]|7|nowhere"),
        ) {
            let mut all: Vec<(Option<i64>, usize, usize, Place, String)> = Vec::new();
            let (mut snapshots, mut kept) = (Vec::new(), Vec::new());
            for (log, files) in logs.iter().enumerate() {
                let (name, mut clock, mut key, mut nth) = ((b'a' + log as u8) as char, T * 1000, None, 0);
                let mut own = Vec::new();
                for (at, lines) in files.iter().enumerate() {
                    let mut text = String::new();
                    for (step, says) in lines {
                        clock += step;
                        let row = if *says {
                            key = Some(clock);
                            format!("{clock} {name} {nth}")
                        } else {
                            format!("  of {name} {nth}")
                        };
                        all.push((key, log, nth, (at, text.len() as u64), row.clone()));
                        text += &row;
                        text.push('\n');
                        nth += 1;
                    }
                    let (snapshot, directory) = snapshot_of(text.as_bytes());
                    own.push(snapshot);
                    kept.push(directory);
                }
                snapshots.push(own);
            }
            all.sort();
            let place = (all.len() as f64 * begin) as usize;
            let cut = |log: usize| {
                let next = all[place..].iter().find(|row| row.1 == log).map(|row| row.3);
                let last = snapshots[log].len() - 1;
                next.unwrap_or((last, snapshots[log][last].end.0))
            };
            let places: Vec<Place> = (0..snapshots.len()).map(cut).collect();
            let pattern = word.map(|word| {
                let spec = PatternSpec {
                    pattern: Some(word), is_regex: true, has_case: true, ..PatternSpec::default()
                };
                Pattern::new(&spec).unwrap()
            });
            let logs = Logs { logs: snapshots, pattern, count };
            let expected = |rows: &[(Option<i64>, usize, usize, Place, String)]| {
                let pattern = logs.pattern.as_ref();
                let passes = |text: &str| pattern.is_none_or(|one| one.accepts(text.as_bytes()));
                let passing = rows.iter().filter(|row| passes(&row.4));
                passing.map(|row| (row.1, row.4.clone())).collect::<Vec<_>>()
            };
            prop_assert_eq!(logs.all(places.clone(), Direction::Forward), expected(&all[place..]));
            prop_assert_eq!(logs.all(places, Direction::Backward), expected(&all[..place]));
        }
    }

    #[test]
    fn a_stretch_without_times_that_is_longer_than_what_is_read_moves_no_other_row() {
        let timed = |name: char, from: i64, to: i64| {
            (from..to).map(|at| format!("{} {name}\n", T + at)).collect::<String>()
        };
        let silent = format!("  {}\n", "x".repeat(1000)).repeat(12_000);
        let long = timed('a', 0, 20) + &silent + &timed('a', 40, 60);
        let (one, _kept) = snapshot_of(long.as_bytes());
        let (other, _kept_too) = snapshot_of(timed('b', 0, 80).as_bytes());
        let (begin, end) = (vec![(0, 0); 2], vec![(0, one.end.0), (0, other.end.0)]);
        let logs = Logs { logs: vec![vec![one], vec![other]], pattern: None, count: 2000 };
        for (places, direction) in [(begin, Direction::Forward), (end, Direction::Backward)] {
            let rows = logs.all(places, direction);
            let is_timed = |row: &&(usize, String)| !row.1.starts_with(' ');
            let times: Vec<&str> = rows.iter().filter(is_timed).map(|row| row.1.as_str()).collect();
            assert!(times.is_sorted(), "{direction:?}: {times:?}");
            assert_eq!((times.len(), rows.len()), (120, 12_120), "{direction:?}");
        }
    }

    /// Reads pages of a log with so many files from its beginning, and returns how many files each page
    /// read.
    fn files_of_pages(text: &str, files: usize, time: Duration) -> Vec<usize> {
        let (snapshot, _kept) = snapshot_of(text.as_bytes());
        let request = LogRequest {
            part: Part::default(),
            direction: Direction::Forward,
            offset: Offset(0),
            count: 2000,
            form: Form::TextRows,
        };
        let clock = Clock { zone: Zone::UTC, shift: 0 };
        let read = || LogPage::read(&snapshot, request, None, &clock).unwrap();
        let (now, wanted) = (Instant::now(), (Direction::Forward, 2000));
        let (mut at, mut pages) = (0, Vec::new());
        while at < files {
            let mut page = FilesPage::new(read(), at, 0..files, wanted, false, now);
            let mut of_page = 1;
            while let Some(step) = page.next_step(now + time) {
                let Step::Rows { at: next, .. } = step else { panic!("{step:?}") };
                assert_eq!(next, at + of_page);
                of_page += 1;
                page = page.with(step, Some(read()));
            }
            at += of_page;
            let page = page.finish();
            assert_eq!(page.at_end, at == files);
            pages.push(of_page);
        }
        pages
    }

    #[test]
    fn one_page_reads_a_bounded_part_of_a_long_history() {
        let short = format!("{T} one\n");
        assert_eq!(files_of_pages(&short, 40, Duration::ZERO), [16, 16, 8]);
        assert_eq!(files_of_pages(&short, 3, TIME_MAX), [1, 1, 1]);
        let long = format!("{T} {}\n", "x".repeat(4000)).repeat(100);
        assert_eq!(files_of_pages(&long, 7, Duration::ZERO), [3, 3, 1]);
    }
}
