//! The matching rows of a log, without the others, in answers that are bounded in time and bytes.
//! The stack trace of an error comes with it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::log::Offset;
use crate::render::{Annotation, Row};
use crate::search::pattern::Pattern;
use crate::search::plain_lines::PlainLines;
use crate::search::rows::{RANGE_BYTES_MAX, RenderedRow};
use crate::search::scan::{RowSink, Scan};
use crate::search::trace_matcher::TraceMatcher;
use crate::search::{LineIndex, RowPosition, RowRange, RowsRequest, SearchError, Snapshot};
use crate::wire::frame::Form;

/// The longest search for one answer.
const TIME_MAX: Duration = Duration::from_millis(150);
/// The most bytes that are searched for one answer.
const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The unit in which a log is searched backwards, at first and at most.
const WINDOW_BYTES: u64 = 512 * 1024;
const WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The matching rows of a log, from an offset on or before it. The answer may be empty although
/// there are more: its range is the part that was searched. Blocks.
///
/// # Errors
/// When the log cannot be read, or the requested line is not counted yet.
pub fn filtered(
    snapshot: &Snapshot,
    index: &LineIndex,
    request: RowsRequest,
    pattern: &Pattern,
) -> Result<RowRange, SearchError> {
    let filter = RowFilter {
        pattern,
        matcher: TraceMatcher::default(),
        form: request.form,
        count: request.count,
        keeps_last: matches!(request.place, RowPosition::Before(_)),
        has_dropped: false,
        open: None,
        rows: VecDeque::new(),
        weight: 0,
    };
    Ok(match request.place {
        RowPosition::From(offset) => forward(snapshot, offset.min(snapshot.end), filter, TIME_MAX)?,
        RowPosition::Before(offset) => backward(snapshot, offset.min(snapshot.end), filter)?,
        RowPosition::Line(line) => {
            let start =
                index.start_of(snapshot, line)?.ok_or(SearchError::Counting(index.indexed()))?;
            forward(snapshot, start, filter, TIME_MAX)?
        }
    })
}

fn forward(
    snapshot: &Snapshot,
    from: Offset,
    mut filter: RowFilter<'_>,
    time: Duration,
) -> Result<RowRange, SearchError> {
    filter.matcher = TraceMatcher::starting_at(snapshot, from, filter.pattern)?;
    let to = Offset(from.0.saturating_add(SEARCH_BYTES_MAX)).min(snapshot.end);
    let mut scan = Scan::new(snapshot, from, to, filter.form)?;
    scan.run(&mut filter, Instant::now() + time)?;
    // However slow it is, an answer gets on: who asks again from the same place gets the same.
    while scan.position() <= from && !scan.is_done() && !filter.is_full(filter.rows.len()) {
        scan.run(&mut filter, Instant::now() + time)?;
    }
    let next = scan.position();
    let at_end = scan.is_done() && next >= snapshot.end;
    // A row that can still grow is searched again, even if it does not match so far.
    let next = filter.open.filter(|_| at_end).unwrap_or(next);
    let at_start = from == Offset(0);
    Ok(RowRange { from, next, at_start, at_end, rows: filter.rows.into() })
}

fn backward(
    snapshot: &Snapshot,
    next: Offset,
    mut filter: RowFilter<'_>,
) -> Result<RowRange, SearchError> {
    let until = Instant::now() + TIME_MAX;
    let floor = next.0.saturating_sub(SEARCH_BYTES_MAX);
    let mut found: VecDeque<RenderedRow> = VecDeque::new();
    let (mut from, mut window) = (next, WINDOW_BYTES);
    while from.0 > floor {
        let start = Offset(from.0.saturating_sub(window).max(floor));
        let mut scan = Scan::new(snapshot, start, from, filter.form)?;
        filter.matcher = TraceMatcher::starting_at(snapshot, start, filter.pattern)?;
        // A part must be searched to its end, since its last rows are wanted first.
        while !scan.is_done() {
            scan.run(&mut filter, Instant::now() + TIME_MAX)?;
        }
        let rows = std::mem::take(&mut filter.rows);
        let is_full = filter.is_full(rows.len()) || filter.has_dropped;
        filter.count -= rows.len();
        let first = rows.front().map(|row| row.offset);
        rows.into_iter().rev().for_each(|row| found.push_front(row));
        from = first.filter(|_| is_full).unwrap_or(start);
        if is_full || Instant::now() >= until {
            break;
        }
        window = (window * 2).min(WINDOW_BYTES_MAX);
    }
    let at_start = from == Offset(0);
    Ok(RowRange { from, next, at_start, at_end: next >= snapshot.end, rows: found.into() })
}

/// Collects the matching rows.
struct RowFilter<'p> {
    pattern: &'p Pattern,
    matcher: TraceMatcher,
    form: Form,
    /// The most rows.
    count: usize,
    /// Keep the last rows instead of the first.
    keeps_last: bool,
    /// Rows were dropped to make room for later ones.
    has_dropped: bool,
    /// The start of the open row.
    open: Option<Offset>,
    rows: VecDeque<RenderedRow>,
    weight: usize,
}

impl RowFilter<'_> {
    fn is_full(&self, rows: usize) -> bool {
        rows >= self.count || self.weight >= RANGE_BYTES_MAX
    }

    /// Adds a row, or breaks at it if the answer is full.
    fn take(&mut self, row: RenderedRow) -> ControlFlow<Offset> {
        if self.is_full(self.rows.len()) && !self.keeps_last {
            return ControlFlow::Break(row.offset);
        }
        self.weight += row.weight();
        self.rows.push_back(row);
        while self.keeps_last
            && (self.rows.len() > self.count || self.weight > RANGE_BYTES_MAX)
            && let Some(first) = self.rows.pop_front()
        {
            self.weight -= first.weight();
            self.has_dropped = true;
        }
        ControlFlow::Continue(())
    }

    /// A row without its neighbours. It has no group annotation, because other rows of the group
    /// may be missing.
    fn rendered(&self, row: &Row) -> RenderedRow {
        let mut shown = RenderedRow::new(row, self.form);
        shown.matches = in_utf16(row.text(), &self.pattern.ranges(row.text()));
        if let Some(note) = shown.note.take() {
            let note = Annotation { group: None, ..*note };
            shown.note = (note != Annotation::default()).then(|| Box::new(note));
        }
        shown
    }
}

impl RowSink for RowFilter<'_> {
    fn row(&mut self, row: &Row, _: Offset) -> ControlFlow<Offset> {
        if !row.ended && !row.cut {
            self.open = Some(Offset(row.offset));
        }
        if !self.matcher.accepts(self.pattern, row.text().as_bytes()) {
            return ControlFlow::Continue(());
        }
        let shown = self.rendered(row);
        self.take(shown)
    }

    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
        let raw = lines.raw.bytes();
        let ended = memchr::memrchr(b'\n', raw).map_or(0, |newline| newline + 1);
        if ended < raw.len() {
            self.open = Some(Offset(lines.raw.place().plus(ended).offset()));
        }
        let mut matcher = std::mem::take(&mut self.matcher);
        let mut offsets = lines.line_offsets();
        let mut terminal = None;
        let mut flow = ControlFlow::Continue(());
        matcher.for_each_line(self.pattern, lines.text, |at, _| {
            let raw = offsets.of(at);
            let terminal = terminal.get_or_insert_with(|| lines.terminal.clone());
            terminal.pass(raw.offset());
            // A complete line is a row even if it has no text.
            if let Some(shown) = terminal.feed_text(raw).rows().next().map(|row| self.rendered(row))
            {
                flow = self.take(shown);
            }
            flow.is_continue()
        });
        self.matcher = matcher;
        flow
    }
}

/// Converts byte ranges to ranges of UTF-16 code units, as JavaScript counts.
fn in_utf16(text: &str, ranges: &[std::ops::Range<usize>]) -> Vec<(usize, usize)> {
    let (mut at, mut units) = (0, 0);
    let mut to = |byte: usize| {
        let passed = text.get(at..byte).unwrap_or_default();
        units += passed.chars().map(char::len_utf16).sum::<usize>();
        at = byte;
        units
    };
    ranges.iter().map(|range| (to(range.start), to(range.end))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Terminal;
    use crate::search::pattern::PatternSpec;
    use crate::search::scan::tests::line;
    use crate::search::snapshot::tests::snapshot_of;
    use proptest::prelude::*;

    /// Offset, content, matches.
    type Filtered = (u64, String, Vec<(usize, usize)>);

    /// The matching rows of a terminal that is fed the whole log.
    fn all(log: &[u8], pattern: &Pattern) -> Vec<Filtered> {
        let mut rows: Vec<Row> = Vec::new();
        let mut terminal = Terminal::new(0);
        for piece in log.chunks(1 << 16) {
            let patch = terminal.feed(piece);
            rows.retain(|row| row.offset < patch.from);
            rows.extend(patch.rows().cloned());
        }
        let rows = rows.into_iter().filter(|row| pattern.accepts(row.text().as_bytes()));
        rows.map(|row| {
            let matches = in_utf16(row.text(), &pattern.ranges(row.text()));
            (row.offset, row.html(), matches)
        })
        .collect()
    }

    fn plain(rows: Vec<RenderedRow>) -> Vec<Filtered> {
        rows.into_iter().map(|row| (row.offset.0, row.content, row.matches)).collect()
    }

    fn look(snapshot: &Snapshot, place: RowPosition, count: usize, pattern: &Pattern) -> RowRange {
        let request = RowsRequest { place, count, form: Form::Rows };
        let found = filtered(snapshot, &LineIndex::default(), request, pattern).unwrap();
        assert!(found.rows.len() <= count);
        found
    }

    #[test]
    fn an_answer_gets_on_however_slow_the_search_is() {
        let log = format!("{}\n", "x".repeat(9000)).repeat(200);
        let (snapshot, _kept) = snapshot_of(log.as_bytes());
        let spec = PatternSpec { pattern: Some("nowhere".to_owned()), ..PatternSpec::default() };
        let pattern = Pattern::new(&spec).unwrap();
        let filter = RowFilter {
            pattern: &pattern,
            matcher: TraceMatcher::default(),
            form: Form::TextRows,
            count: 9,
            keeps_last: false,
            has_dropped: false,
            open: None,
            rows: VecDeque::new(),
            weight: 0,
        };
        let from = Offset(9001);
        let range = forward(&snapshot, from, filter, Duration::from_micros(1)).unwrap();
        assert!(range.next > from && !range.at_end, "{range:?}");
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn the_rows_are_the_matching_rows_of_a_terminal(
            parts in proptest::collection::vec((line(), 1usize..150), 0..9),
            count in 1usize..300,
            word in "[a-c]|é|[A-D]x?|z",
            invert in any::<bool>(),
        ) {
            let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 1 } else { times })).collect();
            let spec = PatternSpec { pattern: Some(word), has_case: true, is_regex: true, invert, ..PatternSpec::default() };
            let pattern = Pattern::new(&spec).unwrap();
            let expected = all(&log, &pattern);
            let (snapshot, _directory) = snapshot_of(&log);
            let page = look(&snapshot, RowPosition::From(Offset(0)), count, &pattern);
            let (next, at_end) = (page.next, page.at_end);
            let rows = plain(page.rows);
            prop_assert_eq!(&rows[..], &expected[..rows.len()]);
            if at_end {
                prop_assert_eq!(rows.len(), expected.len());
            } else {
                // The answer was full, or its time was up.
                prop_assert!(expected[..rows.len()].iter().all(|row| row.0 < next.0));
                prop_assert!(expected[rows.len()..].iter().all(|row| row.0 >= next.0));
            }
            // A log that is smaller than a window is searched back to its start, unless the answer is
            // full, or its time is up.
            let (mut rows, mut before) = (Vec::new(), snapshot.end);
            loop {
                let page = look(&snapshot, RowPosition::Before(before), count - rows.len(), &pattern);
                prop_assert_eq!(page.at_start, page.from == Offset(0));
                rows.splice(0..0, plain(page.rows));
                if page.at_start || rows.len() == count {
                    break;
                }
                prop_assert!(page.from < before);
                before = page.from;
            }
            prop_assert_eq!(&rows[..], &expected[expected.len().saturating_sub(count)..]);
        }
    }

    #[test]
    fn a_large_log_is_searched_backwards_in_steps() {
        let log: String = (0..300_000).map(|n| format!("line {n}\n")).collect();
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let spec =
            |text: &str| PatternSpec { pattern: Some(text.to_owned()), ..PatternSpec::default() };
        let up = |text: &str, count: usize| {
            let pattern = Pattern::new(&spec(text)).unwrap();
            let (mut found, mut at) = (Vec::new(), snapshot.end);
            loop {
                let page = look(&snapshot, RowPosition::Before(at), count, &pattern);
                assert!(page.from < at, "{page:?}");
                found.extend(page.rows.into_iter().rev().map(|row| row.content));
                at = page.from;
                if page.at_start {
                    return found;
                }
            }
        };
        assert_eq!(up("99999", 1), ["line 299999", "line 199999", "line 99999"]);
        let many: Vec<String> = (0..300_000)
            .rev()
            .map(|n| format!("line {n}"))
            .filter(|line| line.contains("007"))
            .collect();
        assert!(up("007", 11) == many, "several matches in a part, and no room for all");
    }

    #[test]
    fn colours_and_notes_are_those_of_the_row_at_its_place() {
        let log = "\x1b[32mgreen\nstill 😀 green\n\x1b[m##[group]x\n##[error]green?\ngreen";
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let spec = PatternSpec { pattern: Some("green".to_owned()), ..PatternSpec::default() };
        let page = look(&snapshot, RowPosition::From(Offset(0)), 9, &Pattern::new(&spec).unwrap());
        let note = page.rows[2].note.as_deref().unwrap();
        assert_eq!((note.level, &note.group), (Some(crate::render::Level::Error), &None));
        let green = |text: &str| format!("<span style='color:var(--green,#0a0)'>{text}</span>");
        assert_eq!(
            plain(page.rows),
            [
                (0, green("green"), vec![(0, 5)]),
                (11, green("still 😀 green"), vec![(9, 14)]),
                (42, "##[error]green?".to_owned(), vec![(9, 14)]),
                (58, "green".to_owned(), vec![(0, 5)]),
            ]
        );
        assert_eq!((page.next, page.at_end), (Offset(58), true), "the last row may still grow");
    }
}
