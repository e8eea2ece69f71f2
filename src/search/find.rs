//! Finds matching rows in a whole log, in steps that are bounded in time.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::log::Offset;
use crate::render::{Rendition, Row};
use crate::search::pattern::{self, Pattern};
use crate::search::plain_lines::PlainLines;
use crate::search::prefilter::Glance;
use crate::search::reading::Reading;
use crate::search::scan::RowSink;
use crate::search::{SearchError, Snapshot};
use crate::wire::frame::Form;

pub use crate::search::reading::{EndedEarly, FIND_TIME_MAX};

/// Where to search, and how many matching rows to report.
#[derive(Clone, Copy, Debug)]
pub struct FindRequest {
    /// Search rows that begin at this offset or after it.
    pub from: Offset,
    /// Search rows that begin before this offset.
    pub to: Offset,
    /// Search the rows after this offset first, then the rows before it.
    pub near: Option<Offset>,
    /// Report at most this many rows; count the rest.
    pub rows_max: usize,
    /// What the rows show.
    pub rendition: Rendition,
}

/// A search in progress.
pub struct Find {
    reading: Reading,
    sink: FindSink,
}

impl Find {
    /// Starts a search.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(
        snapshot: Snapshot,
        pattern: Pattern,
        request: FindRequest,
    ) -> Result<Self, SearchError> {
        let to = request.to.min(snapshot.end);
        let (first, then) = match request.near.filter(|near| (request.from..to).contains(near)) {
            Some(near) => ((near, to), Some((request.from, near))),
            None => ((request.from, to), None),
        };
        let form = Form::TextRows.with(request.rendition);
        let reading = Reading::new(snapshot, first, then, form)?;
        let counts = FindCounts { found: Vec::new(), max: request.rows_max, rows: 0, matches: 0 };
        let sink = FindSink { pattern, lines: pattern::LineMatcher::default(), counts };
        Ok(Self { reading, sink })
    }

    /// Continues the search for `slice`. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn run(&mut self, slice: Duration) -> Result<(), SearchError> {
        self.reading.run(&mut self.sink, slice)
    }

    /// Whether the search is complete or ended early.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reading.is_done()
    }

    /// Whether all of the requested part was searched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reading.is_complete()
    }

    /// Why the search ended early; `None` if it did not.
    #[must_use]
    pub fn ended_early(&self) -> Option<EndedEarly> {
        self.reading.ended_early()
    }

    /// The number of bytes searched so far.
    #[must_use]
    pub fn searched(&self) -> u64 {
        self.reading.bytes()
    }

    /// The end of the last part that was searched.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.reading.position()
    }

    /// The number of matching rows, and of matches in them.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.sink.counts.rows, self.sink.counts.matches)
    }

    /// The rows found since the last call: the offset of each, and the number of matches in it.
    pub fn take(&mut self) -> Vec<(u64, usize)> {
        std::mem::take(&mut self.sink.counts.found)
    }

    /// Whether there are more matching rows than are reported.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.sink.counts.rows > self.sink.counts.max as u64
    }
}

/// Collects the matches of a scan.
struct FindSink {
    pattern: Pattern,
    lines: pattern::LineMatcher,
    counts: FindCounts,
}

/// The matches so far.
struct FindCounts {
    found: Vec<(u64, usize)>,
    max: usize,
    rows: u64,
    matches: u64,
}

impl FindCounts {
    fn add(&mut self, matches: usize, offset: impl FnOnce() -> Offset) {
        if self.rows < self.max as u64 {
            self.found.push((offset().0, matches));
        }
        self.rows += 1;
        self.matches += matches as u64;
    }
}

impl RowSink for FindSink {
    fn glance(&mut self, lines: &[u8]) -> Glance {
        self.lines.glance(&self.pattern, lines)
    }

    fn row(&mut self, row: &Row, _: Offset) -> ControlFlow<Offset> {
        let text = row.text().as_bytes();
        if self.pattern.accepts(text) {
            self.counts.add(self.pattern.count(text), || Offset(row.offset));
        }
        ControlFlow::Continue(())
    }

    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
        let Self { pattern, lines: matcher, counts } = self;
        let mut offsets = lines.line_offsets();
        matcher.for_each_row(pattern, lines.text, lines.has_colours, |at, matches| {
            counts.add(matches, || Offset(offsets.of(start_of_line(lines.text, at)).offset()));
        });
        ControlFlow::Continue(())
    }
}

fn start_of_line(text: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Level;
    use crate::search::pattern::PatternSpec;
    use crate::search::scan::tests::enveloped;
    use crate::search::snapshot::tests::snapshot_of;
    use proptest::prelude::*;
    use proptest::sample::Index;

    fn find(snapshot: &Snapshot, spec: &PatternSpec, request: FindRequest) -> Find {
        let mut find = Find::new(snapshot.clone(), Pattern::new(spec).unwrap(), request).unwrap();
        while !find.is_done() {
            // So short that each call does one step.
            find.run(Duration::ZERO).unwrap();
            find.run(Duration::from_micros(1)).unwrap();
        }
        find
    }

    fn text(pattern: &str) -> PatternSpec {
        PatternSpec { pattern: Some(pattern.to_owned()), ..PatternSpec::default() }
    }

    const ALL: FindRequest = FindRequest {
        from: Offset(0),
        to: Offset(u64::MAX),
        near: None,
        rows_max: 1000,
        rendition: Rendition::Shown,
    };

    #[test]
    fn rows_are_found_by_their_shown_text() {
        let log = "one ERROR\n\x1b[31mer\x1b[1mror\x1b[m two\n10%\rerror 20%\n\x1b]0;error\x07no\nErrors: terror\n";
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let found = |spec: &PatternSpec| find(&snapshot, spec, ALL).take();
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
    fn the_nearest_rows_come_first_and_the_rest_is_counted() {
        let log: String = (0..100_000).map(|n| format!("{}\n", n % 10)).collect();
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let request = FindRequest { near: Some(Offset(100_002)), rows_max: 3, ..ALL };
        let mut found = find(&snapshot, &text("7"), request);
        assert_eq!(found.take(), [(100_014, 1), (100_034, 1), (100_054, 1)]);
        assert_eq!(found.counts(), (10_000, 10_000));
        assert!(found.is_complete() && found.is_full());
        assert_eq!(found.searched(), 200_000);
        let request = FindRequest { near: Some(Offset(199_990)), rows_max: 3, ..ALL };
        assert_eq!(find(&snapshot, &text("7"), request).take(), [(199_994, 1), (14, 1), (34, 1)]);
        let request = FindRequest { from: Offset(100), to: Offset(200), ..ALL };
        let found: Vec<u64> =
            find(&snapshot, &text("7"), request).take().into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [114, 134, 154, 174, 194]);
    }

    #[test]
    fn rows_are_found_by_their_level() {
        let log = "ERROR one\nWARN two\nINFO three\nERROR: WARN four\n";
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let of = |level| PatternSpec { level: Some(level), ..PatternSpec::default() };
        assert_eq!(find(&snapshot, &of(Level::Error), ALL).take(), [(0, 1), (30, 1)]);
        assert_eq!(find(&snapshot, &of(Level::Warning), ALL).take(), [(10, 1)]);
        let both = PatternSpec { pattern: Some("four".to_owned()), ..of(Level::Error) };
        assert_eq!(find(&snapshot, &both, ALL).take(), [(30, 1)]);
        let worse = PatternSpec { or_worse: true, ..of(Level::Warning) };
        assert_eq!(find(&snapshot, &worse, ALL).take(), [(0, 1), (10, 1), (30, 1)]);
        let others = PatternSpec { pattern: Some("four".to_owned()), invert: true, ..worse };
        assert_eq!(find(&snapshot, &others, ALL).take(), [(0, 1), (10, 1)]);
        let neither = PatternSpec { invert: true, ..of(Level::Error) };
        assert_eq!(find(&snapshot, &neither, ALL).take(), [(10, 1), (19, 1)]);
    }

    /// The offsets of the rows of a terminal that is fed the whole log, of those that match.
    fn accepted(snapshot: &Snapshot, log: &[u8], pattern: &Pattern) -> Vec<u64> {
        let mut rows: Vec<Row> = Vec::new();
        let mut terminal = snapshot.terminal(Offset(0));
        for piece in log.chunks(1 << 16) {
            let patch = terminal.feed(piece);
            rows.retain(|row| row.offset < patch.from);
            rows.extend(patch.rows().cloned());
        }
        let matching = rows.iter().filter(|row| pattern.accepts(row.text().as_bytes()));
        matching.map(|row| row.offset).collect()
    }

    proptest! {
        #![proptest_config(crate::testing::cases(48))]
        #[test]
        fn many_lines_at_once_give_the_rows_that_match_one_by_one(
            chosen in proptest::collection::vec((any::<Index>(), 0..12u32), 1..40),
            times in 1usize..60,
            container in proptest::option::of(any::<bool>()),
        ) {
            let examples = include_str!("../../tests/it/levels.json");
            let examples: Vec<serde_json::Value> = serde_json::from_str(examples).unwrap();
            let line = |(one, form): &(Index, u32)| {
                let line = one.get(&examples)["line"].as_str().unwrap();
                match form {
                    0 => format!("\x1b[31m{line}\x1b[0m\n"),
                    1 => format!("{line}\r\n"),
                    2 => format!("old\r{line}\x1b[K\n"),
                    3 => format!("{{\"level\":\"error\",\"msg\":{}}}\n", serde_json::json!(line)),
                    _ => format!("{line}\n"),
                }
            };
            let log = chosen.iter().map(line).collect::<String>().repeat(times).into_bytes();
            let log = container.map_or(log.clone(), |is_docker| enveloped(&log, is_docker));
            let (snapshot, _directory) = snapshot_of(&log);
            let level = |level, or_worse| PatternSpec { level: Some(level), or_worse, ..PatternSpec::default() };
            let fields = PatternSpec { fields: Some("level=error".to_owned()), ..PatternSpec::default() };
            for spec in [
                level(Level::Error, false),
                level(Level::Warning, true),
                fields,
                text("error"),
                PatternSpec { has_case: true, ..text("error") },
            ] {
                let request = FindRequest { rows_max: usize::MAX, ..ALL };
                let found = find(&snapshot, &spec, request).take();
                let found: Vec<u64> = found.into_iter().map(|(offset, _)| offset).collect();
                let wanted = accepted(&snapshot, &log, &Pattern::new(&spec).unwrap());
                prop_assert_eq!(found, wanted, "{:?}", spec);
            }
        }
    }

    /// Lines that are many in a log, with and without colours.
    fn usual(nth: usize) -> String {
        let level = ["INFO", "WARN", "ERROR", "INFO"][nth % 4];
        let head = format!("2026-01-02T03:04:05.{:06}Z", nth * 977 % 1_000_000);
        match nth % 3 {
            0 => format!("{head} {level} worker: request {nth} took 5 us\n"),
            1 => format!("{head} \x1b[3{}m{level}\x1b[0m worker: request {nth}\n", nth / 3 % 8),
            _ => format!("\x1b[2m{head}\x1b[0m \x1b[1;3{}m{level}\x1b[0m worker\r\n", nth / 3 % 8),
        }
    }

    const UNUSUAL: [&str; 16] = [
        "a needle here\n",
        "a NEEDLE and a Needle\n",
        "a ne\x1b[1med\x1b[m\x1b[Kle here\n",
        "a needl\x1b[31me here\n",
        "\x1b[32mneedle\x1b[0m\r\n",
        "10%\rneedle\x1b[K\n",
        "n\x1b[2Aneedle\n",
        "n\x1b[8meedle\x1b[m needle\n",
        "\x1b(0needle\x1b(B\n",
        "2026-11-28T14:02:07.123456Z 00O nee\n2026-11-28T14:02:07.123456Z 00O+dle\n",
        "2026-11-28T14:02:07.123456Z 00O ERROR needle\n",
        "2026-11-28T14:02:07.1234567Z needle\n",
        "ne\u{e9}dle \u{9b}1mneedle\n",
        "\x1b[48;5;31mERROR\x1b[m: 31m\n",
        "error: no colour\n",
        "\x1b[31;1mERR\x1b[0mOR\n",
    ];

    #[test]
    fn a_line_that_later_ones_change_is_not_passed_over() {
        for text in [UNUSUAL[9], "to be drawn\n\x1b[1Ahas a needle\n"] {
            let first = text.find('\n').unwrap() + 1;
            // At each place of the second line the bytes that are looked at together may end.
            for before in (0..text.len() - first).step_by(5) {
                let line = usual(0);
                let (bytes, rest) = (32 * 1024 - first - before, "a line\n".repeat(100));
                let (lines, fill) = ((bytes - 1) / line.len(), (bytes - 1) % line.len());
                let log = line.repeat(lines) + &"x".repeat(fill) + "\n" + text + &rest;
                let (snapshot, _directory) = snapshot_of(log.as_bytes());
                let spec = PatternSpec { has_case: true, ..self::text("needle") };
                let wanted = accepted(&snapshot, log.as_bytes(), &Pattern::new(&spec).unwrap());
                assert_eq!(wanted, [bytes as u64]);
                assert_eq!(
                    find(&snapshot, &spec, ALL).take(),
                    [(wanted[0], 1)],
                    "{before}: {text:?}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(24))]
        #[test]
        fn lines_that_are_passed_over_do_not_match(
            parts in proptest::collection::vec((0..3usize, 0..300usize, any::<Index>()), 1..12),
        ) {
            let mut log = String::new();
            for (form, times, unusual) in parts {
                // All alike, or all forms in turns.
                let lines = (0..times).map(|nth| usual(if form < 2 { 3 * nth + form } else { nth }));
                log.extend(lines);
                let unusual: &&str = unusual.get(&UNUSUAL);
                log.push_str(unusual);
            }
            let (snapshot, _directory) = snapshot_of(log.as_bytes());
            let case = |pattern: &str| PatternSpec { has_case: true, ..text(pattern) };
            let regex = |pattern: &str| PatternSpec { is_regex: true, ..case(pattern) };
            let level = |level, or_worse| PatternSpec { level: Some(level), or_worse, ..PatternSpec::default() };
            for spec in [
                case("needle"),
                text("needle"),
                PatternSpec { is_word: true, ..text("needle") },
                case("ERROR"),
                case("31m"),
                case("0"),
                case("\u{e9}d"),
                regex("^needle|ERROR.*[34]2$"),
                regex("n[eo]+dle$"),
                PatternSpec { level: Some(Level::Error), ..case("R") },
                level(Level::Error, false),
                level(Level::Warning, true),
            ] {
                let request = FindRequest { rows_max: usize::MAX, ..ALL };
                let pattern = Pattern::new(&spec).unwrap();
                let found = find(&snapshot, &spec, request).take();
                let offsets: Vec<u64> = found.iter().map(|(offset, _)| *offset).collect();
                prop_assert_eq!(offsets, accepted(&snapshot, log.as_bytes(), &pattern), "{:?}", spec);
            }
        }
    }
}
