//! Rows anywhere in a log.
//!
//! The rows are made as they are for viewers: a terminal is fed from the start of a line on. It is fed some lines more on
//! both sides of those that are wanted, because what stands before them may have set their colours or may draw over
//! them, and so may what comes after them.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::log::Offset;
use crate::log::file::Read;
use crate::render::{Annotation, ROW_BYTES_MAX, Row, SCREEN_ROWS, Terminal};
use crate::search::{LineIndex, SearchError, Snapshot};
use crate::session::renderer;
use crate::wire::frame::Form;

/// A terminal is fed in pieces of this size.
const PIECE_BYTES: usize = 8 * 1024;
/// So many bytes before the first wanted line are fed as well, at most.
const LEAD_BYTES: u64 = 64 * 1024;
/// So many bytes behind the last wanted row are fed as well, at most.
const LEAD_OUT_BYTES: u64 = 1024 * 1024;
/// The start of a line is searched for so far back. In longer lines a row begins at the very offset that is asked for.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// So far back a terminal is taken that has shown the log to viewers.
const KNOWN_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The most bytes that are fed for one stretch.
const FEED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The rows of one stretch weigh little more than this.
pub(super) const STRETCH_BYTES: usize = 1024 * 1024;
/// What a row weighs besides its content.
const ROW_OVERHEAD_BYTES: usize = 48;
/// What a match in it weighs.
const MATCH_BYTES: usize = 10;

/// Which rows of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowPosition {
    /// Those from a line on, counted from 1.
    Line(u64),
    /// Those from the row on that holds this byte.
    From(Offset),
    /// Those that end before the row which begins here.
    Before(Offset),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RowsRequest {
    /// Where.
    pub place: RowPosition,
    /// At most so many rows.
    pub count: usize,
    /// Rows of HTML or of text.
    pub form: Form,
}

/// A row as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedRow {
    /// The offset of the byte that began it.
    pub offset: Offset,
    /// What it shows.
    pub content: String,
    /// What the log says about it.
    pub note: Option<Box<Annotation>>,
    /// Where in its text something was found, in UTF-16 units.
    pub matches: Vec<(usize, usize)>,
    /// Bytes to come may add to it.
    pub is_open: bool,
    /// Its line is too long for one row, and goes on in the next.
    pub is_cut: bool,
}

impl RenderedRow {
    /// A row of a terminal.
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

/// Rows that stand together. They may be fewer than were asked for though there are more: go on at `next`, or before
/// `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// The offset of the first row.
    pub from: Offset,
    /// The offset after the last row.
    pub next: Offset,
    /// There is nothing before it.
    pub at_start: bool,
    /// There is nothing behind it.
    pub at_end: bool,
    /// The rows.
    pub rows: Vec<RenderedRow>,
}

/// The rows of a log that are asked for. It blocks.
///
/// # Errors
/// When the log can't be read, or the wanted line has not been counted so far.
pub fn stretch(
    view: &Snapshot,
    index: &LineIndex,
    wanted: RowsRequest,
) -> Result<RowRange, SearchError> {
    let stretch = match wanted.place {
        RowPosition::From(offset) => forward(view, offset.min(view.end), wanted)?,
        RowPosition::Before(offset) => backward(view, offset.min(view.end), wanted)?,
        RowPosition::Line(line) => {
            let start =
                index.start_of(view, line)?.ok_or(SearchError::Counting(index.indexed()))?;
            forward(view, start, wanted)?
        }
    };
    Ok(stretch)
}

fn forward(view: &Snapshot, offset: Offset, wanted: RowsRequest) -> io::Result<RowRange> {
    let mut reel = RowWindow::new(view, terminal_for(view, offset)?, wanted.form);
    let limit = offset.0 + FEED_BYTES_MAX;
    let (first, last) = loop {
        let more = reel.fed.0 < limit && reel.feed(view)?;
        reel.forget_before(reel.holder(offset));
        let first = reel.holder(offset);
        let last = reel.count(first, wanted.count);
        let is_settled = reel.is_settled(last) || reel.fed.0 >= reel.end_of(last) + LEAD_OUT_BYTES;
        if !more || (last < reel.rows.len() && is_settled) {
            break (first, last);
        }
    };
    let next = Offset(reel.end_of(last));
    let at_start = first == 0 && reel.began == Offset(0);
    let rows: Vec<RenderedRow> = reel.rows.drain(first..last).collect();
    let from = rows.first().map_or(offset, |row| row.offset);
    Ok(RowRange { from, next, at_start, at_end: next >= view.end, rows })
}

fn backward(view: &Snapshot, offset: Offset, wanted: RowsRequest) -> io::Result<RowRange> {
    let lines = view.lines_before(offset, wanted.count, STRETCH_BYTES as u64)?;
    let line = match lines {
        Some(line) => line,
        None => match line_start(view, Offset(offset.0.saturating_sub(1)))? {
            Some(line) => line,
            None => {
                let reach = wanted.count.min(STRETCH_BYTES / ROW_BYTES_MAX) * ROW_BYTES_MAX;
                character_start(view, Offset(offset.0.saturating_sub(reach as u64)))?
            }
        },
    };
    let known = view.known_terminal(line, KNOWN_BYTES_MAX);
    let is_known = known.is_some();
    let terminal = match known {
        Some(terminal) => terminal,
        None => Terminal::new(lead(view, line)?.0),
    };
    let mut reel = RowWindow::new(view, terminal, wanted.form);
    let last = loop {
        let more = reel.feed(view)?;
        reel.forget_before(reel.count_back(reel.before(offset), wanted.count));
        let last = reel.before(offset);
        let is_past = reel.fed >= offset;
        let is_settled = reel.is_settled(last) || reel.fed.0 >= offset.0 + LEAD_OUT_BYTES;
        if !more || (is_past && is_settled) {
            break last;
        }
    };
    if reel.end_of(last) > offset.0 && last > 0 && reel.rows[last - 1].is_cut {
        // Rows of a very long line were cut elsewhere when their line's start was too far away.
        let until = view.until(offset);
        return backward(&until, offset, wanted)
            .map(|stretch| RowRange { at_end: false, ..stretch });
    }
    // What the lead left behind has not seen what came before it.
    let has_seen_all = is_known || reel.began == Offset(0);
    let lead = if has_seen_all { 0 } else { reel.before(line) };
    let first = reel.count_back(last, wanted.count).max(lead);
    let at_start = first == 0 && reel.began == Offset(0);
    let next = Offset(reel.end_of(last)).min(offset);
    let rows: Vec<RenderedRow> = reel.rows.drain(first..last).collect();
    let from = rows.first().map_or(line, |row| row.offset);
    Ok(RowRange { from, next, at_start, at_end: next >= view.end, rows })
}

/// A terminal that runs over a log, and the rows that it has left behind.
struct RowWindow {
    terminal: Terminal,
    form: Form,
    /// The first byte that its rows are made of; none before it is left out.
    began: Offset,
    /// Fed up to here.
    fed: Offset,
    end: Offset,
    rows: VecDeque<RenderedRow>,
}

impl RowWindow {
    fn new(view: &Snapshot, mut terminal: Terminal, form: Form) -> Self {
        let rows: VecDeque<RenderedRow> =
            terminal.screen().rows().map(|row| RenderedRow::new(row, form)).collect();
        let fed = Offset(terminal.at());
        let began = rows.front().map_or(fed, |row| row.offset);
        Self { terminal, form, began, fed, end: view.end, rows }
    }

    /// Feeds on. False at the end of the log.
    fn feed(&mut self, view: &Snapshot) -> io::Result<bool> {
        let bytes = match view.read_on(self.fed, PIECE_BYTES)? {
            Read::Bytes(bytes) => bytes,
            Read::Hole(to) => {
                // It shows nothing: rows go on behind it.
                self.fed = to.min(self.end);
                self.terminal.pass_nuls(self.fed.0);
                return Ok(self.fed < self.end);
            }
            Read::Searching(_) | Read::Changed => Bytes::new(),
        };
        if bytes.is_empty() {
            self.end = self.fed;
            return Ok(false);
        }
        let patch = self.terminal.feed(&bytes);
        self.fed = self.fed.plus(bytes.len());
        let kept = self.rows.partition_point(|row| row.offset.0 < patch.from);
        self.rows.truncate(kept);
        self.rows.extend(patch.rows().map(|row| RenderedRow::new(row, self.form)));
        Ok(self.fed < self.end)
    }

    /// The row that holds a byte, or would hold it: behind the last newline there is none yet.
    fn holder(&self, offset: Offset) -> usize {
        let behind = self.rows.partition_point(|row| row.offset <= offset);
        let is_last = behind == self.rows.len() && offset >= self.end;
        match self.rows.back() {
            Some(last) if is_last && !last.is_open => behind,
            _ => behind.saturating_sub(1),
        }
    }

    /// How many rows begin before an offset.
    fn before(&self, offset: Offset) -> usize {
        self.rows.partition_point(|row| row.offset < offset)
    }

    /// Up to which row those from `first` on are given.
    fn count(&self, first: usize, count: usize) -> usize {
        let mut weight = 0;
        let rows = self.rows.iter().skip(first).take(count).take_while(|row| {
            let is_room = weight < STRETCH_BYTES;
            weight += row.weight();
            is_room
        });
        first + rows.count()
    }

    /// From which row on those before `last` are given.
    fn count_back(&self, last: usize, count: usize) -> usize {
        let mut weight = 0;
        let rows = self.rows.iter().take(last).rev().take(count).take_while(|row| {
            let is_room = weight < STRETCH_BYTES;
            weight += row.weight();
            is_room
        });
        last - rows.count()
    }

    /// The offset behind the rows before `last`.
    fn end_of(&self, last: usize) -> u64 {
        self.rows.get(last).map_or(self.fed, |row| row.offset).0
    }

    /// Whether no byte that is still to come can change a row before `last`.
    fn is_settled(&self, last: usize) -> bool {
        self.fed >= self.end || self.rows.len() >= last + SCREEN_ROWS
    }

    /// Lets go of rows that are not wanted, though not of those that can still change.
    fn forget_before(&mut self, first: usize) {
        let first = first.min(self.rows.len().saturating_sub(SCREEN_ROWS));
        if let Some(row) = self.rows.get(first).filter(|_| first > 0) {
            self.began = row.offset;
            self.rows.drain(..first);
        }
    }
}

/// A terminal that stands before the row that holds a byte: one that has shown viewers what is before it, or one that
/// starts some lines before.
pub(super) fn terminal_for(view: &Snapshot, offset: Offset) -> io::Result<Terminal> {
    let line = line_start(view, offset)?;
    if let Some(known) = view.known_terminal(line.unwrap_or(offset), KNOWN_BYTES_MAX) {
        return Ok(known);
    }
    let start = match line {
        Some(line) => lead(view, line)?,
        None => character_start(view, offset)?,
    };
    Ok(Terminal::new(start.0))
}

/// Where the line starts that holds a byte. None where it is too long to find out.
fn line_start(view: &Snapshot, offset: Offset) -> io::Result<Option<Offset>> {
    view.lines_before(offset.plus(1), 1, LINE_BYTES_MAX)
}

/// Where a terminal starts for a line: some lines before it.
fn lead(view: &Snapshot, line: Offset) -> io::Result<Offset> {
    Ok(view.lines_before(line, SCREEN_ROWS, LEAD_BYTES)?.unwrap_or(line))
}

/// The start of a character, at an offset or up to three bytes behind it.
fn character_start(view: &Snapshot, offset: Offset) -> io::Result<Offset> {
    let bytes = view.read(offset, 3)?;
    let inside = bytes.iter().take_while(|&&byte| byte & 0xc0 == 0x80).count();
    Ok(offset.plus(if inside == bytes.len() { 0 } else { inside }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Terminal;
    use crate::search::snapshot::tests::view_of;
    use proptest::prelude::*;

    /// The rows that one terminal leaves that has seen everything.
    fn all(log: &[u8]) -> Vec<(u64, String)> {
        let mut rows: Vec<(u64, String)> = Vec::new();
        let mut terminal = Terminal::new(0);
        for piece in log.chunks(1000) {
            let patch = terminal.feed(piece);
            rows.retain(|(offset, _)| *offset < patch.from);
            rows.extend(patch.rows().map(|row| (row.offset, row.html())));
        }
        rows
    }

    fn look(view: &Snapshot, place: RowPosition, count: usize) -> RowRange {
        let wanted = RowsRequest { place, count, form: Form::Rows };
        let found = stretch(view, &LineIndex::default(), wanted).unwrap();
        assert!(found.rows.len() <= count);
        found
    }

    fn plain(rows: Vec<RenderedRow>) -> Vec<(u64, String)> {
        rows.into_iter().map(|row| (row.offset.0, row.content)).collect()
    }

    /// All rows, page by page, from the first on.
    fn down(view: &Snapshot, count: usize) -> Vec<(u64, String)> {
        let (mut rows, mut at) = (Vec::new(), Offset(0));
        loop {
            let page = look(view, RowPosition::From(at), count);
            assert_eq!(page.at_start, rows.is_empty(), "{page:?}");
            assert!(page.next > at || page.at_end, "{page:?} goes nowhere");
            at = page.next;
            rows.extend(plain(page.rows));
            if page.at_end {
                assert_eq!(at, view.end);
                return rows;
            }
        }
    }

    /// All rows, page by page, from the last on.
    fn up(view: &Snapshot, count: usize) -> Vec<(u64, String)> {
        let (mut pages, mut at) = (Vec::new(), view.end);
        loop {
            let page = look(view, RowPosition::Before(at), count);
            assert!(page.from < at || page.at_start, "{page:?} goes nowhere");
            assert!(page.next <= at, "{page:?}");
            at = page.from;
            pages.push(plain(page.rows));
            if page.at_start {
                return pages.into_iter().rev().flatten().collect();
            }
        }
    }

    /// Says where two lists of rows part, and not all that is in them.
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

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn rows_anywhere_are_those_of_one_terminal_that_saw_everything(
            lines in proptest::collection::vec(line(), 0..60),
            count in 1usize..70,
            places in proptest::collection::vec(0.0..1.0f64, 8),
        ) {
            let log = lines.concat().into_bytes();
            let expected = all(&log);
            let (view, _directory) = view_of(&log);
            prop_assert_eq!(&down(&view, count), &expected);
            prop_assert_eq!(&up(&view, count), &expected);
            for place in places {
                let offset = (log.len() as f64 * place) as u64;
                let page = look(&view, RowPosition::From(Offset(offset)), count);
                let first = expected.partition_point(|(row, _)| *row <= offset).saturating_sub(1);
                let wanted = expected.get(first..).unwrap_or_default();
                prop_assert_eq!(&plain(page.rows)[..], &wanted[..count.min(wanted.len())]);
                let page = look(&view, RowPosition::Before(Offset(offset)), count);
                let last = expected.partition_point(|(row, _)| *row < offset);
                prop_assert_eq!(&plain(page.rows)[..], &expected[last.saturating_sub(count)..last]);
            }
        }
    }

    #[test]
    fn far_from_the_start_rows_are_the_same_too() {
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
        let (view, _directory) = view_of(log.as_bytes());
        same(&down(&view, 500), &expected);
        same(&up(&view, 500), &expected);
    }

    #[test]
    fn long_lines_come_in_bounded_pages_without_a_hole_or_a_byte_twice() {
        let long = "0123456789abcdef".repeat(640 * 1024);
        let log = format!("first\n{long}\nlast\n");
        let (view, _directory) = view_of(log.as_bytes());
        for rows in [down(&view, 500), up(&view, 500)] {
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
