//! Finding rows in a whole log.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::log::Offset;
use crate::render::Row;
use crate::search::pattern::{self, Pattern};
use crate::search::scan::{Lines, Reader, Scan};
use crate::search::{SearchError, Snapshot};

/// So long one search may take, the waiting for others not counted.
pub const SEARCH_TIME_MAX: Duration = Duration::from_secs(10);

/// Where to search, and how much of what is found is wanted.
#[derive(Clone, Copy, Debug)]
pub struct FindRequest {
    /// From the row on that begins here or first behind it.
    pub from: Offset,
    /// Up to here.
    pub to: Offset,
    /// Begin with what is behind this, and end with what is before.
    pub near: Option<Offset>,
    /// Tell at most so many rows; count the rest.
    pub max: usize,
}

/// Why a search ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// It took too long.
    Time,
    /// The file was cut.
    Gone,
}

/// A search that is going on.
pub struct Find {
    view: Snapshot,
    scan: Scan,
    /// Where the present scan began.
    began: Offset,
    /// What is searched after it.
    then: Option<(Offset, Offset)>,
    hits: Hits,
    /// How much was searched in earlier scans.
    searched: u64,
    spent: Duration,
    cut: Option<EndedEarly>,
}

impl Find {
    /// Begins to search.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn new(view: Snapshot, pattern: Pattern, part: FindRequest) -> Result<Self, SearchError> {
        let to = part.to.min(view.end);
        let (began, then) = match part.near.filter(|near| (part.from..to).contains(near)) {
            Some(near) => (near, Some((part.from, near))),
            None => (part.from, None),
        };
        let scan = Scan::new(&view, began, to, true)?;
        let tally = FindCounts { found: Vec::new(), max: part.max, rows: 0, matches: 0 };
        let hits = Hits { pattern, lines: pattern::LineMatcher::default(), tally };
        Ok(Self { view, scan, began, then, hits, searched: 0, spent: Duration::ZERO, cut: None })
    }

    /// Searches on for so long. It blocks.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn run(&mut self, slice: Duration) -> Result<(), SearchError> {
        let since = Instant::now();
        let until = since + slice;
        loop {
            self.scan.run(&mut self.hits, until)?;
            if !self.scan.is_done() {
                break;
            }
            let Some((from, to)) = self.then.take() else { break };
            self.searched += self.scan.position().0.saturating_sub(self.began.0);
            self.scan = Scan::new(&self.view, from, to, true)?;
            self.began = from;
        }
        self.spent += since.elapsed();
        if !self.view.is_intact()? {
            self.cut = Some(EndedEarly::Gone);
        } else if !self.is_complete() && self.spent >= SEARCH_TIME_MAX {
            self.cut = Some(EndedEarly::Time);
        }
        Ok(())
    }

    /// Whether it has come to its end, or was cut short.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.cut.is_some() || self.is_complete()
    }

    /// Whether all of the part has been searched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.cut.is_none() && self.scan.is_done() && self.then.is_none()
    }

    /// Why it was cut short, if it was.
    #[must_use]
    pub fn cut(&self) -> Option<EndedEarly> {
        self.cut
    }

    /// How many bytes have been searched.
    #[must_use]
    pub fn searched(&self) -> u64 {
        self.searched + self.scan.position().0.saturating_sub(self.began.0)
    }

    /// Up to where has been searched, last.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.scan.position()
    }

    /// How many rows there were, and how many matches in them.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.hits.tally.rows, self.hits.tally.matches)
    }

    /// The rows that were found since the last call: their offsets, and how many matches are in each.
    pub fn take(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.hits.tally.found)
    }

    /// Whether there were more rows than are told.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.hits.tally.rows > self.hits.tally.max as u64
    }
}

/// Who looks at the rows.
struct Hits {
    pattern: Pattern,
    lines: pattern::LineMatcher,
    tally: FindCounts,
}

/// What was found.
struct FindCounts {
    found: Vec<(u64, usize)>,
    max: usize,
    rows: u64,
    matches: u64,
}

impl FindCounts {
    fn note(&mut self, matches: usize, offset: impl FnOnce() -> Offset) {
        if self.rows < self.max as u64 {
            self.found.push((offset().0, matches));
        }
        self.rows += 1;
        self.matches += matches as u64;
    }
}

impl Reader for Hits {
    fn row(&mut self, row: &Row, _: Offset) -> ControlFlow<Offset> {
        let text = row.text().as_bytes();
        if self.pattern.accepts(text) {
            self.tally.note(self.pattern.count(text), || Offset(row.offset));
        }
        ControlFlow::Continue(())
    }

    fn lines(&mut self, lines: &Lines<'_>) -> ControlFlow<Offset> {
        let Self { pattern, lines: searcher, tally } = self;
        let mut places = lines.places();
        searcher.each(pattern, lines.text, |at, text| {
            tally.note(pattern.count(text), || places.of(at).0);
            true
        });
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Level;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::view_of;

    fn find(view: &Snapshot, sought: &PatternSpec, part: FindRequest) -> Find {
        let mut find = Find::new(view.clone(), Pattern::new(sought).unwrap(), part).unwrap();
        while !find.is_done() {
            // So short that it comes to an end after each step.
            find.run(Duration::ZERO).unwrap();
            find.run(Duration::from_micros(1)).unwrap();
        }
        find
    }

    fn text(pattern: &str) -> PatternSpec {
        PatternSpec { pattern: Some(pattern.to_owned()), ..PatternSpec::default() }
    }

    const ALL: FindRequest =
        FindRequest { from: Offset(0), to: Offset(u64::MAX), near: None, max: 1000 };

    #[test]
    fn rows_are_found_by_what_they_show() {
        let log = "one ERROR\n\x1b[31mer\x1b[1mror\x1b[m two\n10%\rerror 20%\n\x1b]0;error\x07no\nErrors: terror\n";
        let (view, _directory) = view_of(log.as_bytes());
        let found = |sought: &PatternSpec| find(&view, sought, ALL).take();
        let rows = [(0, 1), (10, 1), (32, 1), (46, 0), (59, 2)];
        let all = || rows.iter().copied();
        let some = |wanted: &[u64]| all().filter(|(at, _)| wanted.contains(at)).collect::<Vec<_>>();
        assert_eq!(found(&text("error")), some(&[0, 10, 32, 59]));
        assert_eq!(
            found(&PatternSpec { has_case: true, ..text("error") }),
            [(10, 1), (32, 1), (59, 1)]
        );
        assert_eq!(found(&PatternSpec { is_word: true, ..text("error") }), some(&[0, 10, 32]));
        let regex = |pattern: &str| PatternSpec { is_regex: true, ..text(pattern) };
        assert_eq!(found(&regex("^error")), [(10, 1), (32, 1), (59, 1)]);
        assert_eq!(found(&regex("(error|no)$")), [(0, 1), (46, 1), (59, 1)]);
        assert_eq!(found(&regex("^$")), []);
        assert_eq!(found(&PatternSpec { invert: true, ..text("error") }), [(46, 1)]);
        assert_eq!(found(&text("[31m")), []);
        assert_eq!(found(&text("\0")), []);
    }

    #[test]
    fn the_nearest_come_first_and_the_rest_is_counted() {
        let log: String = (0..100_000).map(|n| format!("{}\n", n % 10)).collect();
        let (view, _directory) = view_of(log.as_bytes());
        let part = FindRequest { near: Some(Offset(100_002)), max: 3, ..ALL };
        let mut found = find(&view, &text("7"), part);
        assert_eq!(found.take(), [(100_014, 1), (100_034, 1), (100_054, 1)]);
        assert_eq!(found.counts(), (10_000, 10_000));
        assert!(found.is_complete() && found.is_full());
        assert_eq!(found.searched(), 200_000);
        let part = FindRequest { near: Some(Offset(199_990)), max: 3, ..ALL };
        assert_eq!(find(&view, &text("7"), part).take(), [(199_994, 1), (14, 1), (34, 1)]);
        let part = FindRequest { from: Offset(100), to: Offset(200), ..ALL };
        let found: Vec<u64> =
            find(&view, &text("7"), part).take().into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [114, 134, 154, 174, 194]);
    }

    #[test]
    fn rows_are_found_by_their_level() {
        let log = "ERROR one\nWARN two\nINFO three\nWARN: ERROR four\n";
        let (view, _directory) = view_of(log.as_bytes());
        let of = |level| PatternSpec { level: Some(level), ..PatternSpec::default() };
        assert_eq!(find(&view, &of(Level::Error), ALL).take(), [(0, 1), (30, 1)]);
        assert_eq!(find(&view, &of(Level::Warning), ALL).take(), [(10, 1)]);
        let both = PatternSpec { pattern: Some("four".to_owned()), ..of(Level::Error) };
        assert_eq!(find(&view, &both, ALL).take(), [(30, 1)]);
        let worse = PatternSpec { or_worse: true, ..of(Level::Warning) };
        assert_eq!(find(&view, &worse, ALL).take(), [(0, 1), (10, 1), (30, 1)]);
        let others = PatternSpec { pattern: Some("four".to_owned()), invert: true, ..worse };
        assert_eq!(find(&view, &others, ALL).take(), [(0, 1), (10, 1)]);
        let neither = PatternSpec { invert: true, ..of(Level::Error) };
        assert_eq!(find(&view, &neither, ALL).take(), [(10, 1), (19, 1)]);
    }
}
