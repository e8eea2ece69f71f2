//! Rows anywhere in a log.
//!
//! Rows are made as they are for viewers: by a terminal that is fed from the start of a line. It is
//! fed some more lines on both sides of the requested rows, because earlier lines may set their
//! colours, and lines on either side may draw over them.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::encoding::Encoding;
use crate::log::Offset;
use crate::log::file::Read;
use crate::render::{Annotation, ROW_BYTES_MAX, Rendition, Row, SCREEN_ROWS, Terminal};
use crate::search::{LineIndex, SearchError, Snapshot};
use crate::session::renderer;
use crate::wire::frame::Form;

/// The size of the pieces that a terminal is fed.
const FEED_BYTES: usize = 8 * 1024;
/// The most bytes before the first requested line that are fed as well.
const LEAD_IN_BYTES_MAX: u64 = 64 * 1024;
/// The most bytes behind the last requested row that are fed as well.
const LEAD_OUT_BYTES_MAX: u64 = 1024 * 1024;
/// How far back the start of a line is searched for. In a longer line a row begins at the requested
/// offset itself.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The longest distance between a checkpoint and the requested line.
const CHECKPOINT_DISTANCE_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes that are fed for one range of rows.
const FEED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The approximate maximum weight of the rows of one range.
pub(super) const RANGE_BYTES_MAX: usize = 1024 * 1024;
/// The weight of a row without its content.
const ROW_OVERHEAD_BYTES: usize = 48;
/// The weight of a match in a row.
const MATCH_BYTES: usize = 10;

/// The position of the requested rows in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPosition {
    /// Rows from this line on, counted from 1.
    Line(u64),
    /// Rows from the row on that contains this byte.
    From(Offset),
    /// Rows before the row that begins here.
    Before(Offset),
}

/// A request for rows.
#[derive(Clone, Copy, Debug)]
pub struct RowsRequest {
    /// Which rows.
    pub place: RowPosition,
    /// The most rows.
    pub count: usize,
    /// Rows as HTML or as text.
    pub form: Form,
}

/// A row as viewers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedRow {
    /// The offset of the byte that began the row.
    pub offset: Offset,
    /// Its HTML or text.
    pub content: String,
    /// What the log says about the row: groups, level, time.
    pub note: Option<Box<Annotation>>,
    /// The matches in its text, in UTF-16 code units.
    pub matches: Vec<(usize, usize)>,
    /// Later bytes may add to the row.
    pub is_open: bool,
    /// Its line is too long for one row and continues in the next.
    pub is_cut: bool,
}

impl RenderedRow {
    pub(super) fn new(row: &Row, form: Form) -> Self {
        let mut content = String::new();
        renderer::write_content(row, form, &mut content);
        Self {
            offset: Offset(row.offset),
            content,
            note: row.note().cloned().map(Box::new),
            matches: Vec::new(),
            is_open: !row.ended && !row.cut,
            is_cut: row.cut,
        }
    }

    pub(super) fn weight(&self) -> usize {
        self.content.len() + self.matches.len() * MATCH_BYTES + ROW_OVERHEAD_BYTES
    }
}

/// Consecutive rows. There may be fewer than requested although there are more: continue at `next`,
/// or before `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The offset of the first row.
    pub from: Offset,
    /// The offset after the last row.
    pub next: Offset,
    /// No row comes before the first.
    pub at_start: bool,
    /// No row comes after the last.
    pub at_end: bool,
    /// The rows.
    pub rows: Vec<RenderedRow>,
}

/// The requested rows of a log. Blocks.
///
/// # Errors
/// When the log cannot be read, or the requested line is not counted yet.
pub fn rows(
    snapshot: &Snapshot,
    index: &LineIndex,
    request: RowsRequest,
) -> Result<RowRange, SearchError> {
    Ok(match request.place {
        RowPosition::From(offset) => forward(snapshot, offset.min(snapshot.end), request)?,
        RowPosition::Before(offset) => backward(snapshot, offset.min(snapshot.end), request)?,
        RowPosition::Line(line) => {
            let start =
                index.start_of(snapshot, line)?.ok_or(SearchError::Counting(index.indexed()))?;
            forward(snapshot, start, request)?
        }
    })
}

fn forward(snapshot: &Snapshot, offset: Offset, request: RowsRequest) -> io::Result<RowRange> {
    let terminal = terminal_for(snapshot, offset, request.form.rendition())?;
    let mut window = RowWindow::new(snapshot, terminal, request.form);
    let limit = offset.0 + FEED_BYTES_MAX;
    let (first, last) = loop {
        let more = window.end_fed.0 < limit && window.feed(snapshot)?;
        window.drop_before(window.row_at(offset));
        let first = window.row_at(offset);
        let last = window.count(first, request.count);
        let is_settled =
            window.is_settled(last) || window.end_fed.0 >= window.end_of(last) + LEAD_OUT_BYTES_MAX;
        if !more || (last < window.rows.len() && is_settled) {
            break (first, last);
        }
    };
    let next = Offset(window.end_of(last));
    let at_start = first == 0 && window.start == Offset(0);
    let rows: Vec<RenderedRow> = window.rows.drain(first..last).collect();
    let from = rows.first().map_or(offset, |row| row.offset);
    Ok(RowRange { from, next, at_start, at_end: next >= snapshot.end, rows })
}

fn backward(snapshot: &Snapshot, offset: Offset, request: RowsRequest) -> io::Result<RowRange> {
    let lines = snapshot.lines_before(offset, request.count, RANGE_BYTES_MAX as u64)?;
    let line = match lines {
        Some(line) => snapshot.joined_start(line)?,
        None => match line_start(snapshot, Offset(offset.0.saturating_sub(1)))? {
            Some(line) => line,
            None => {
                let reach = request.count.min(RANGE_BYTES_MAX / ROW_BYTES_MAX) * ROW_BYTES_MAX;
                character_start(snapshot, Offset(offset.0.saturating_sub(reach as u64)))?
            }
        },
    };
    let rendition = request.form.rendition();
    let checkpoint = checkpoint_before(snapshot, line, rendition);
    let has_checkpoint = checkpoint.is_some();
    let terminal = match checkpoint {
        Some(terminal) => terminal,
        None => snapshot.terminal(lead_in_start(snapshot, line)?).into_rendition(rendition),
    };
    let mut window = RowWindow::new(snapshot, terminal, request.form);
    let last = loop {
        let more = window.feed(snapshot)?;
        window.drop_before(window.count_back(window.before(offset), request.count));
        let last = window.before(offset);
        let is_past = window.end_fed >= offset;
        let is_settled =
            window.is_settled(last) || window.end_fed.0 >= offset.0 + LEAD_OUT_BYTES_MAX;
        if !more || (is_past && is_settled) {
            break last;
        }
    };
    if window.end_of(last) > offset.0 && last > 0 && window.rows[last - 1].is_cut {
        // The start of a very long line is too far away, so its rows are cut at other offsets.
        let before = snapshot.truncated_to(offset);
        return backward(&before, offset, request).map(|range| RowRange { at_end: false, ..range });
    }
    // The rows of the lead-in were rendered without the bytes before it.
    let has_seen_all = has_checkpoint || window.start == Offset(0);
    let first_final = if has_seen_all { 0 } else { window.before(line) };
    let first = window.count_back(last, request.count).max(first_final);
    let at_start = first == 0 && window.start == Offset(0);
    let next = Offset(window.end_of(last)).min(offset);
    let rows: Vec<RenderedRow> = window.rows.drain(first..last).collect();
    let from = rows.first().map_or(line, |row| row.offset);
    Ok(RowRange { from, next, at_start, at_end: next >= snapshot.end, rows })
}

/// A terminal that is fed from a log, and the rows that it has made.
struct RowWindow {
    terminal: Terminal,
    form: Form,
    /// The first byte of the rows. All bytes from it to `end_fed` were fed.
    start: Offset,
    /// The offset after the last byte that the terminal was fed.
    end_fed: Offset,
    end: Offset,
    rows: VecDeque<RenderedRow>,
}

impl RowWindow {
    fn new(snapshot: &Snapshot, mut terminal: Terminal, form: Form) -> Self {
        let rows: VecDeque<RenderedRow> =
            terminal.screen().rows().map(|row| RenderedRow::new(row, form)).collect();
        let end_fed = Offset(terminal.at());
        let start = rows.front().map_or(end_fed, |row| row.offset);
        Self { terminal, form, start, end_fed, end: snapshot.end, rows }
    }

    /// Feeds the next piece. Returns false at the end of the log.
    fn feed(&mut self, snapshot: &Snapshot) -> io::Result<bool> {
        let bytes = match snapshot.read_on(self.end_fed, FEED_BYTES)? {
            Read::Bytes(bytes) => bytes,
            Read::Hole(to) => {
                // A hole shows nothing; rows continue behind it.
                self.end_fed = to.min(self.end);
                self.terminal.pass_nuls(self.end_fed.0);
                return Ok(self.end_fed < self.end);
            }
            Read::Searching(_) | Read::Changed => Bytes::new(),
        };
        if bytes.is_empty() {
            self.end = self.end_fed;
            return Ok(false);
        }
        let patch = self.terminal.feed(&bytes);
        self.end_fed = self.end_fed.plus(bytes.len());
        let kept = self.rows.partition_point(|row| row.offset.0 < patch.from);
        self.rows.truncate(kept);
        self.rows.extend(patch.rows().map(|row| RenderedRow::new(row, self.form)));
        Ok(self.end_fed < self.end)
    }

    /// The index of the row that contains a byte. For a byte after the last newline it is the
    /// number of rows, because the next row does not exist yet.
    fn row_at(&self, offset: Offset) -> usize {
        let behind = self.rows.partition_point(|row| row.offset <= offset);
        let is_last = behind == self.rows.len() && offset >= self.end;
        match self.rows.back() {
            Some(last) if is_last && !last.is_open => behind,
            _ => behind.saturating_sub(1),
        }
    }

    /// The number of rows that begin before an offset.
    fn before(&self, offset: Offset) -> usize {
        self.rows.partition_point(|row| row.offset < offset)
    }

    /// The end of a run of at most `count` rows from `first` on, limited by weight.
    fn count(&self, first: usize, count: usize) -> usize {
        let mut weight = 0;
        let rows = self.rows.iter().skip(first).take(count).take_while(|row| {
            let is_room = weight < RANGE_BYTES_MAX;
            weight += row.weight();
            is_room
        });
        first + rows.count()
    }

    /// The start of a run of at most `count` rows before `last`, limited by weight.
    fn count_back(&self, last: usize, count: usize) -> usize {
        let mut weight = 0;
        let rows = self.rows.iter().take(last).rev().take(count).take_while(|row| {
            let is_room = weight < RANGE_BYTES_MAX;
            weight += row.weight();
            is_room
        });
        last - rows.count()
    }

    /// The offset after the rows before `last`.
    fn end_of(&self, last: usize) -> u64 {
        self.rows.get(last).map_or(self.end_fed, |row| row.offset).0
    }

    /// Whether no later byte can change a row before `last`.
    fn is_settled(&self, last: usize) -> bool {
        self.end_fed >= self.end || self.rows.len() >= last + SCREEN_ROWS
    }

    /// Drops rows that are not requested, except those that can still change.
    fn drop_before(&mut self, first: usize) {
        let first = first.min(self.rows.len().saturating_sub(SCREEN_ROWS));
        if let Some(row) = self.rows.get(first).filter(|_| first > 0) {
            self.start = row.offset;
            self.rows.drain(..first);
        }
    }
}

/// A terminal whose position is before the row that contains a byte: that of a checkpoint, or a
/// new one that starts some lines before.
pub(super) fn terminal_for(
    snapshot: &Snapshot,
    offset: Offset,
    rendition: Rendition,
) -> io::Result<Terminal> {
    let line = line_start(snapshot, offset)?;
    if let Some(checkpoint) = checkpoint_before(snapshot, line.unwrap_or(offset), rendition) {
        return Ok(checkpoint);
    }
    let line = match line {
        Some(line) => line,
        None => character_start(snapshot, offset)?,
    };
    Ok(snapshot.terminal(lead_in_start(snapshot, line)?).into_rendition(rendition))
}

/// The terminal of a checkpoint. They all are of what a terminal shows.
fn checkpoint_before(snapshot: &Snapshot, at: Offset, rendition: Rendition) -> Option<Terminal> {
    match rendition {
        Rendition::Shown => snapshot.checkpoint_before(at, CHECKPOINT_DISTANCE_MAX),
        Rendition::Written => None,
    }
}

/// The start of the line that contains a byte, or of one before it that it continues; `None` if it
/// is more than 4 MiB before it.
fn line_start(snapshot: &Snapshot, offset: Offset) -> io::Result<Option<Offset>> {
    let line = snapshot.lines_before(offset.plus(1), 1, LINE_BYTES_MAX)?;
    line.map(|line| snapshot.joined_start(line)).transpose()
}

/// Where a terminal for a line starts: some lines before it. In a very long line that has carriage
/// returns, `line` is a place in its middle, and rows may begin at them.
fn lead_in_start(snapshot: &Snapshot, line: Offset) -> io::Result<Offset> {
    match snapshot.lines_before(line, SCREEN_ROWS, LEAD_IN_BYTES_MAX) {
        Ok(Some(start)) => return Ok(start),
        Ok(None) => {}
        // Its machine does not answer. The rows can do without what is not here.
        Err(_) if snapshot.is_mirrored() => return Ok(line),
        Err(error) => return Err(error),
    }
    let start = Offset(line.0.saturating_sub(LEAD_IN_BYTES_MAX));
    let bytes = snapshot.read(start, usize::try_from(line.0 - start.0).unwrap_or_default())?;
    Ok(memchr::memchr(b'\r', &bytes).map_or(line, |at| start.plus(at + 1)))
}

/// The start of a character, at an offset or near it. In encodings other than UTF-8 and UTF-16 it
/// can't be told from other bytes.
fn character_start(snapshot: &Snapshot, offset: Offset) -> io::Result<Offset> {
    if snapshot.encoding() != Encoding::UTF_8 {
        return Ok(Offset(snapshot.newline().align(offset.0)));
    }
    let bytes = snapshot.read(offset, 3)?;
    let inside = bytes.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count();
    Ok(offset.plus(if inside == bytes.len() { 0 } else { inside }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Terminal;
    use crate::search::scan::tests::encoded;
    use crate::search::snapshot::tests::{snapshot_in, snapshot_of};
    use proptest::prelude::*;

    /// The rows of one terminal that is fed the whole log.
    fn all(log: &[u8]) -> Vec<(u64, String)> {
        all_of(Terminal::new(0), log)
    }

    fn all_of(mut terminal: Terminal, log: &[u8]) -> Vec<(u64, String)> {
        let mut rows: Vec<(u64, String)> = Vec::new();
        for piece in log.chunks(1000) {
            let patch = terminal.feed(piece);
            rows.retain(|(offset, _)| *offset < patch.from);
            rows.extend(patch.rows().map(|row| (row.offset, row.html())));
        }
        rows
    }

    fn look(snapshot: &Snapshot, place: RowPosition, count: usize) -> RowRange {
        let request = RowsRequest { place, count, form: Form::Rows };
        let found = rows(snapshot, &LineIndex::default(), request).unwrap();
        assert!(found.rows.len() <= count);
        found
    }

    fn plain(rows: Vec<RenderedRow>) -> Vec<(u64, String)> {
        rows.into_iter().map(|row| (row.offset.0, row.content)).collect()
    }

    /// All rows, page by page, from the first one on.
    fn down(snapshot: &Snapshot, count: usize) -> Vec<(u64, String)> {
        let (mut rows, mut at) = (Vec::new(), Offset(0));
        loop {
            let page = look(snapshot, RowPosition::From(at), count);
            assert_eq!(page.at_start, rows.is_empty(), "{page:?}");
            assert!(page.next > at || page.at_end, "{page:?} goes nowhere");
            at = page.next;
            rows.extend(plain(page.rows));
            if page.at_end {
                assert_eq!(at, snapshot.end);
                return rows;
            }
        }
    }

    /// All rows, page by page, from the last one back.
    fn up(snapshot: &Snapshot, count: usize) -> Vec<(u64, String)> {
        let (mut pages, mut at) = (Vec::new(), snapshot.end);
        loop {
            let page = look(snapshot, RowPosition::Before(at), count);
            assert!(page.from < at || page.at_start, "{page:?} goes nowhere");
            assert!(page.next <= at, "{page:?}");
            at = page.from;
            pages.push(plain(page.rows));
            if page.at_start {
                return pages.into_iter().rev().flatten().collect();
            }
        }
    }

    /// Reports where two lists of rows differ, without printing all of them.
    fn same(rows: &[(u64, String)], expected: &[(u64, String)]) {
        let at = rows.iter().zip(expected).take_while(|(row, expected)| row == expected).count();
        let around = |rows: &[(u64, String)]| {
            rows.iter().skip(at.saturating_sub(2)).take(4).cloned().collect::<Vec<_>>()
        };
        assert!(rows == expected, "{:?} and not {:?}", around(rows), around(expected));
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-z<ä]{0,30}\n",
            1 => "[a-z]{1,9}\r\n",
            1 => "\x1b\\[3[0-9]m[a-z]{0,9}\x1b\\[m\n",
            1 => "\x1b\\[3[0-9]m[a-z]{0,9}\n",
            1 => "[a-z]{1,9}\r[a-z]{1,9}\x1b\\[K\r[A-Z]{1,3}\n",
            1 => "\x1b\\[[1-9]A[A-Z]{1,3}\x1b\\[[1-9]B\n",
            1 => Just(String::from("::group::tests\n")),
            1 => "x{0,99}",
        ]
    }

    /// Lines of container runtimes: whole, partial, of both streams, and others.
    fn envelope() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => "2026-11-28T14:02:0[0-9]\\.123Z stdout [FFFP] [a-z<]{0,30}\n",
            4 => "2026-11-28T14:02:0[0-9]\\.123Z stderr [FP] [a-zä ]{0,9}\n",
            1 => "2026-11-28T14:02:0[0-9]\\.123Z stdout [FP] \r[A-Z]{1,9}\n",
            1 => "2026-11-28T14:02:0[0-9]\\.123Z stdout F \x1b\\[3[0-9]m[a-z]{0,9}\x1b\\[m\n",
            4 => "\\{\"log\":\"[a-z ]{0,9}(\\\\n)?\",\"stream\":\"std(out|err)\",\"time\":\"2026-11-28T14:02:07Z\"\\}\n",
            1 => "\\{\"log\":\"[a-z]{0,9}\\\\u001b[a-z]\\\\n[a-z]{0,9}\",\"stream\":\"stdout\",\"time\":\"2026-11-28T14:02:07Z\"\\}\n",
            1 => "[a-z]{0,9}\n",
        ]
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn rows_anywhere_equal_those_of_one_terminal_that_saw_everything(
            lines in proptest::collection::vec(line(), 0..60),
            count in 1usize..70,
            places in proptest::collection::vec(0.0..1.0f64, 8),
        ) {
            let log = lines.concat().into_bytes();
            let expected = all(&log);
            let (snapshot, _directory) = snapshot_of(&log);
            prop_assert_eq!(&down(&snapshot, count), &expected);
            prop_assert_eq!(&up(&snapshot, count), &expected);
            for place in places {
                let offset = (log.len() as f64 * place) as u64;
                let page = look(&snapshot, RowPosition::From(Offset(offset)), count);
                let first = expected.partition_point(|(row, _)| *row <= offset).saturating_sub(1);
                let request = expected.get(first..).unwrap_or_default();
                prop_assert_eq!(&plain(page.rows)[..], &request[..count.min(request.len())]);
                let page = look(&snapshot, RowPosition::Before(Offset(offset)), count);
                let last = expected.partition_point(|(row, _)| *row < offset);
                prop_assert_eq!(&plain(page.rows)[..], &expected[last.saturating_sub(count)..last]);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(48))]
        #[test]
        fn rows_of_an_encoded_log_equal_those_of_one_terminal_that_saw_everything(
            label in prop::sample::select(vec!["utf-16le", "utf-16be", "gb18030", "windows-1252"]),
            lines in proptest::collection::vec(line(), 0..60),
            count in 1usize..70,
            places in proptest::collection::vec(0.0..1.0f64, 8),
        ) {
            let log = encoded(label, lines.concat().as_bytes());
            let (snapshot, _directory) = snapshot_in(&log, Encoding::for_label(label));
            let expected = all_of(snapshot.terminal(Offset(0)), &log);
            prop_assert_eq!(&down(&snapshot, count), &expected);
            prop_assert_eq!(&up(&snapshot, count), &expected);
            for place in places {
                let offset = (log.len() as f64 * place) as u64;
                let page = look(&snapshot, RowPosition::From(Offset(offset)), count);
                let first = expected.partition_point(|(row, _)| *row <= offset).saturating_sub(1);
                let request = expected.get(first..).unwrap_or_default();
                prop_assert_eq!(&plain(page.rows)[..], &request[..count.min(request.len())]);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(24))]
        #[test]
        fn rows_of_a_container_equal_those_of_one_terminal_that_saw_everything(
            envelopes in proptest::collection::vec(envelope(), 1..70),
            count in 1usize..70,
            places in proptest::collection::vec(0.0..1.0f64, 8),
        ) {
            let log = format!("2026-11-28T14:02:07Z stdout F first\n{}", envelopes.concat());
            let log = log.as_bytes();
            let (snapshot, _directory) = snapshot_of(log);
            prop_assert!(snapshot.is_enveloped());
            let expected = all_of(snapshot.terminal(Offset(0)), log);
            prop_assert_eq!(&down(&snapshot, count), &expected);
            prop_assert_eq!(&up(&snapshot, count), &expected);
            // From any name of a row, and from any other byte.
            let names = expected.iter().map(|(name, _)| *name);
            for offset in names.chain(places.iter().map(|place| (log.len() as f64 * place) as u64)) {
                let page = look(&snapshot, RowPosition::From(Offset(offset)), count);
                let first = expected.partition_point(|(row, _)| *row <= offset).saturating_sub(1);
                let request = expected.get(first..).unwrap_or_default();
                prop_assert_eq!(&plain(page.rows)[..], &request[..count.min(request.len())]);
                let page = look(&snapshot, RowPosition::Before(Offset(offset)), count);
                let last = expected.partition_point(|(row, _)| *row < offset);
                // Several lines may be one row, so there may be fewer.
                let rows = plain(page.rows);
                prop_assert!(rows.len() <= count && (last == 0 || !rows.is_empty()));
                prop_assert_eq!(&rows[..], &expected[last - rows.len()..last]);
            }
        }
    }

    #[test]
    fn rows_far_from_the_start_are_the_same_too() {
        let mut log = String::new();
        for n in 0..40_000 {
            log += &match n % 7 {
                0 => format!("\x1b[3{}mred\x1b[m {n}\n", n % 8),
                1 => format!("{n} 10%\r{n} 50%\r{n} 100%\n"),
                2 => format!("\x1b[1A\x1b[2K{n} again\n"),
                _ => format!("line {n}\n"),
            };
        }
        let expected = all(log.as_bytes());
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        same(&down(&snapshot, 500), &expected);
        same(&up(&snapshot, 500), &expected);
    }

    #[test]
    fn lines_that_end_with_carriage_returns_are_the_same_rows_from_anywhere() {
        let line = |n: u64| match n % 5 {
            0 => format!("{n} the service has been started with its default options"),
            1 => format!("{n} ok"),
            2 => format!("{n} a client asks for something that takes a while: {}", n * 7919 % 997),
            3 => format!("a value of {n}"),
            _ => format!("{n} done"),
        };
        let line = |n: u64| line(n) + &".".repeat((n * 7919 % 499) as usize);
        // Longer than the line whose start is searched for.
        let lines: Vec<String> = (0..18_000).map(line).collect();
        let log = lines.join("\r");
        assert!(log.len() as u64 > LINE_BYTES_MAX + 2 * LEAD_IN_BYTES_MAX);
        let expected = all(log.as_bytes());
        let texts: Vec<&String> = expected.iter().map(|(_, text)| text).collect();
        assert!(texts == lines.iter().collect::<Vec<_>>(), "{} rows", texts.len());
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        for place in [0.1, 0.5, 0.75, 0.9, 0.99, 1.0] {
            let offset = (log.len() as f64 * place) as u64;
            let page = look(&snapshot, RowPosition::From(Offset(offset)), 200);
            let first = expected.partition_point(|(row, _)| *row <= offset) - 1;
            same(&plain(page.rows), &expected[first..expected.len().min(first + 200)]);
            let page = look(&snapshot, RowPosition::Before(Offset(offset)), 200);
            let last = expected.partition_point(|(row, _)| *row < offset);
            same(&plain(page.rows), &expected[last - 200..last]);
        }
    }

    #[test]
    fn what_was_written_is_in_rows_from_anywhere() {
        let log = "10%\r20%\rdone\r\n\x1b[31mred\x1b[m\n\n\x1b[1A\x08up\0\0\r\r\tx".repeat(50);
        let texts: Vec<&str> = vec!["10%", "20%", "done", "␛[31mred␛[m", "", "␛[1A␈up␀", ""];
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        for start in 0..log.len() as u64 {
            let place = RowPosition::From(Offset(start));
            let request = RowsRequest { place, count: 9, form: Form::WrittenTextRows };
            let page = rows(&snapshot, &LineIndex::default(), request).unwrap();
            let (before, after) = log.split_at(start as usize);
            let within = usize::from(before.ends_with('\r') && after.starts_with('\n'));
            let at = before.matches(['\r', '\n']).count() - before.matches("\r\n").count() - within;
            let wanted = (at..).map(|nth| match nth % 7 {
                0 if nth > 0 => "\tx10%",
                nth => texts[nth],
            });
            let last = 50 * 7;
            let wanted: Vec<&str> = wanted
                .zip(at..=last)
                .map(|(text, nth)| if nth == last { "\tx" } else { text })
                .collect();
            let found: Vec<&str> = page.rows.iter().map(|row| row.content.as_str()).collect();
            assert_eq!(found, wanted[..wanted.len().min(9)], "from {start}");
            assert!(
                page.rows[0].offset.0 <= start
                    && page.rows.get(1).is_none_or(|row| row.offset.0 > start)
            );
        }
    }

    #[test]
    fn long_lines_come_in_bounded_pages_with_every_byte_once() {
        let long = "0123456789abcdef".repeat(640 * 1024);
        let log = format!("first\n{long}\nlast\n");
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        for rows in [down(&snapshot, 500), up(&snapshot, 500)] {
            let text: Vec<&str> = rows.iter().map(|(_, text)| text.as_str()).collect();
            assert!(text.concat() == log.replace('\n', ""), "{} bytes", text.concat().len());
            let mut at = 0;
            for (offset, text) in &rows {
                assert!(*offset == at || *offset == at + 1, "{offset} after {at}");
                at = offset + text.len() as u64;
            }
        }
    }
}
