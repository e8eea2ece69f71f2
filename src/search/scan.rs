//! Going over a log from one end to the other, row by row, as fast as it can be read.
//!
//! What is plain text is handed over as it stands in the file; the rest goes through a terminal. Rows are handed over
//! once nothing can change them any more, in the order in which they stand, whole and once each, whichever way they
//! came.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;

use crate::log::Offset;
use crate::log::file::Read;
use crate::render::{Row, SCREEN_ROWS, Terminal};
use crate::search::plain::{self, Plain};
use crate::search::{Snapshot, rows};

/// The unit in which a log is read.
const BLOCK_BYTES: usize = 256 * 1024;
/// A terminal is fed in pieces of about this size.
const PIECE_BYTES: usize = 16 * 1024;

/// Who is handed the rows. It may say where to stop: at the first row that is not taken.
pub(super) trait Reader {
    /// Whether it has enough for now.
    fn is_full(&self) -> bool {
        false
    }

    /// A row, which goes up to `end`.
    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset>;

    /// Lines that are a row each.
    fn lines(&mut self, lines: &Lines<'_>) -> ControlFlow<Offset>;
}

/// Lines whose rows are what stands in the file.
pub(super) struct Lines<'s> {
    /// The offset of the first byte.
    pub(super) at: Offset,
    /// As they stand in the file.
    pub(super) raw: &'s [u8],
    /// As they are shown.
    pub(super) text: &'s [u8],
    /// A terminal that stands before them, and can be given any of them, in order: where colours are not passed over,
    /// they look there as they do after all that came before them.
    pub(super) terminal: &'s Terminal,
}

impl<'s> Lines<'s> {
    /// Where lines of the text stand in the file. To be asked in order.
    pub(super) fn places(&self) -> Places<'s> {
        Places { raw: self.raw, text: self.text, raw_at: 0, text_at: 0, at: self.at }
    }

    /// Those that begin before an offset, and the others.
    fn split(self, offset: Offset) -> (Self, Self) {
        let before = usize::try_from(offset.0.saturating_sub(self.at.0)).unwrap_or(usize::MAX);
        let (raw_at, text_at) = if before == 0 {
            (0, 0)
        } else if before >= self.raw.len() {
            (self.raw.len(), self.text.len())
        } else {
            let newline = memchr::memchr(b'\n', &self.raw[before - 1..]);
            let raw_at = newline.map_or(self.raw.len(), |newline| before + newline);
            (raw_at, self.text_at(raw_at))
        };
        let first = Self { raw: &self.raw[..raw_at], text: &self.text[..text_at], ..self };
        let at = self.at.plus(raw_at);
        (first, Self { at, raw: &self.raw[raw_at..], text: &self.text[text_at..], ..self })
    }

    /// Where the line begins in the text that begins here in the file.
    fn text_at(&self, raw_at: usize) -> usize {
        if self.raw.len() == self.text.len() {
            return raw_at;
        }
        let lines = memchr::memchr_iter(b'\n', &self.raw[..raw_at]).count();
        let newline =
            lines.checked_sub(1).map(|nth| memchr::memchr_iter(b'\n', self.text).nth(nth));
        newline.map_or(0, |newline| newline.map_or(self.text.len(), |newline| newline + 1))
    }
}

/// Finds the places of lines in the file.
pub(super) struct Places<'s> {
    raw: &'s [u8],
    text: &'s [u8],
    raw_at: usize,
    text_at: usize,
    at: Offset,
}

impl<'s> Places<'s> {
    /// The offset of the line that begins here in the text, and the line as it stands in the file.
    pub(super) fn of(&mut self, text_at: usize) -> (Offset, &'s [u8]) {
        let passed = &self.text[self.text_at..text_at];
        if self.raw.len() == self.text.len() {
            self.raw_at += passed.len();
        } else {
            let lines = memchr::memchr_iter(b'\n', passed).count();
            for _ in 0..lines {
                let rest = &self.raw[self.raw_at..];
                self.raw_at +=
                    memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            }
        }
        self.text_at = text_at;
        let rest = &self.raw[self.raw_at..];
        let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        (self.at.plus(self.raw_at), &rest[..len])
    }
}

/// Where a scan is.
pub(super) struct Scan {
    view: Snapshot,
    terminal: Terminal,
    /// The next byte for the terminal.
    at: Offset,
    rows: Rows,
    /// Lines of text with colours are handed over as text.
    passes_colours: bool,
}

/// The rows that are handed over.
struct Rows {
    /// Those that may still change.
    pending: VecDeque<Row>,
    /// Not those that begin before it.
    from: Offset,
    /// Not those that begin there or behind it.
    to: Offset,
    /// Where it came to its end, or was told to stop.
    stopped: Option<Offset>,
}

impl Rows {
    fn hand(&mut self, row: &Row, end: Offset, reader: &mut impl Reader) {
        let offset = Offset(row.offset);
        if self.stopped.is_some() || offset < self.from {
            return;
        }
        if offset >= self.to {
            self.stopped = Some(self.to);
        } else if let ControlFlow::Break(at) = reader.row(row, end) {
            self.stopped = Some(at);
        }
    }

    /// Hands over the first of those that were pending. What comes behind the last of them begins at `end`.
    fn flush(&mut self, count: usize, end: Offset, reader: &mut impl Reader) {
        for _ in 0..count {
            let Some(row) = self.pending.pop_front() else { return };
            let end = self.pending.front().map_or(end, |next| Offset(next.offset));
            self.hand(&row, end, reader);
        }
    }
}

impl Scan {
    /// A scan of the rows that begin in a part of the log.
    pub(super) fn new(
        view: &Snapshot,
        from: Offset,
        to: Offset,
        passes_colours: bool,
    ) -> io::Result<Self> {
        let to = to.min(view.end);
        let mut terminal = rows::terminal_for(view, from)?;
        let pending = terminal.screen().rows().cloned().collect();
        let stopped = (from >= to).then_some(to);
        Ok(Self {
            view: view.clone(),
            at: Offset(terminal.at()),
            terminal,
            rows: Rows { pending, from, to, stopped },
            passes_colours,
        })
    }

    /// All rows that begin before it have been handed over.
    pub(super) fn position(&self) -> Offset {
        let Rows { pending, from, to, stopped } = &self.rows;
        let settled = pending.front().map_or(self.at, |row| Offset(row.offset));
        stopped.unwrap_or_else(|| settled.min(*to).max(*from))
    }

    /// Whether there are no more rows to hand over.
    pub(super) fn is_done(&self) -> bool {
        self.rows.stopped.is_some()
    }

    /// Goes on until it is done, the reader has enough, or the time is up. It blocks.
    pub(super) fn run(&mut self, reader: &mut impl Reader, until: Instant) -> io::Result<()> {
        let mut block = Bytes::new();
        while !self.is_done() && !reader.is_full() && Instant::now() < until {
            if block.len() < PIECE_BYTES {
                block = match self.view.read_on(self.at, BLOCK_BYTES)? {
                    Read::Bytes(bytes) => bytes,
                    Read::Hole(to) => {
                        self.leap(to.min(self.view.end));
                        continue;
                    }
                    Read::Searching(_) | Read::Changed => Bytes::new(),
                };
            }
            let is_last = block.is_empty() || self.at.plus(block.len()) >= self.view.end;
            let taken = self.step(&block, is_last, reader);
            block = block.slice(taken..);
            if is_last && block.is_empty() {
                self.rows.flush(usize::MAX, self.at, reader);
                self.rows.stopped.get_or_insert(self.rows.to);
            }
        }
        Ok(())
    }

    /// Takes some of the bytes that come next, and says how many.
    fn step(&mut self, bytes: &[u8], is_last: bool, reader: &mut impl Reader) -> usize {
        if self.terminal.is_at_rest() {
            let end = if is_last { bytes.len() } else { after_last_line(bytes) };
            let Plain { len, text } = plain::lines(&bytes[..end], self.passes_colours);
            // What comes behind them may draw over the last of them.
            let (raw, text) = if is_last && len == bytes.len() {
                (bytes, &*text)
            } else {
                (before_last_lines(&bytes[..len]), before_last_lines(&text))
            };
            if !raw.is_empty() {
                self.pass(raw, text, reader);
                return raw.len();
            }
        }
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        // At the end of a line it is at rest sooner.
        let len = Some(after_last_line(piece)).filter(|&len| len > 0).unwrap_or(piece.len());
        self.feed(&piece[..len], reader);
        len
    }

    /// Hands over lines without a look at them.
    fn pass(&mut self, raw: &[u8], text: &[u8], reader: &mut impl Reader) {
        self.rows.flush(usize::MAX, self.at, reader);
        let lines = Lines { at: self.at, raw, text, terminal: &self.terminal };
        let (_, lines) = lines.split(self.rows.from);
        let (lines, behind) = lines.split(self.rows.to);
        if self.rows.stopped.is_none() && !lines.raw.is_empty() {
            self.rows.stopped = reader.lines(&lines).break_value();
        }
        if !behind.raw.is_empty() {
            self.rows.stopped.get_or_insert(self.rows.to);
        }
        self.at = self.at.plus(raw.len());
        self.terminal.pass(self.at.0);
    }

    /// Shows bytes in the terminal, and hands over what is final then.
    fn feed(&mut self, bytes: &[u8], reader: &mut impl Reader) {
        self.at = self.at.plus(bytes.len());
        let patch = self.terminal.feed(bytes);
        let kept = self.rows.pending.partition_point(|row| row.offset < patch.from);
        self.rows.pending.truncate(kept);
        let rows: Vec<&Row> = patch.rows().collect();
        let end_of = |nth: usize| rows.get(nth).map_or(self.at, |next| Offset(next.offset));
        let excess = (kept + rows.len()).saturating_sub(SCREEN_ROWS);
        self.rows.flush(excess.min(kept), end_of(0), reader);
        let (last, rest) = rows.split_at(excess.saturating_sub(kept));
        for (nth, row) in last.iter().enumerate() {
            self.rows.hand(row, end_of(nth + 1), reader);
        }
        self.rows.pending.extend(rest.iter().map(|&row| row.clone()));
    }

    /// Passes over a long run of NULs, which show nothing.
    fn leap(&mut self, to: Offset) {
        self.at = to;
        self.terminal.pass_nuls(to.0);
    }
}

/// Where the last whole line ends.
fn after_last_line(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1)
}

/// Whole lines without the last ones, which a cursor can still reach.
fn before_last_lines(lines: &[u8]) -> &[u8] {
    let newline = memchr::memrchr_iter(b'\n', lines).nth(SCREEN_ROWS);
    &lines[..newline.map_or(0, |newline| newline + 1)]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::search::snapshot::tests::view_of;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Takes all that it is given.
    #[derive(Default)]
    struct Taken {
        rows: Vec<(u64, u64, String)>,
        bytes_of_lines: usize,
    }

    impl Reader for Taken {
        fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset> {
            self.rows.push((row.offset, end.0, row.text().to_owned()));
            ControlFlow::Continue(())
        }

        fn lines(&mut self, lines: &Lines<'_>) -> ControlFlow<Offset> {
            self.bytes_of_lines += lines.raw.len();
            let mut places = lines.places();
            let mut at = 0;
            for text in lines.text.split_inclusive(|&byte| byte == b'\n') {
                let (offset, raw) = places.of(at);
                at += text.len();
                let text = std::str::from_utf8(text).unwrap().trim_end_matches('\n').to_owned();
                self.rows.push((offset.0, offset.plus(raw.len()).0, text));
            }
            ControlFlow::Continue(())
        }
    }

    /// The rows that a terminal leaves that has seen everything, and where each ends.
    fn expected(log: &[u8]) -> Vec<(u64, u64, String)> {
        let mut rows: Vec<(u64, String)> = Vec::new();
        let mut terminal = Terminal::new(0);
        for piece in log.chunks(1 << 16) {
            let patch = terminal.feed(piece);
            rows.retain(|(offset, _)| *offset < patch.from);
            rows.extend(patch.rows().map(|row| (row.offset, row.text().to_owned())));
        }
        let ends: Vec<u64> =
            rows.iter().skip(1).map(|(offset, _)| *offset).chain([log.len() as u64]).collect();
        rows.into_iter().zip(ends).map(|((offset, text), end)| (offset, end, text)).collect()
    }

    fn scanned(view: &Snapshot, from: u64, to: u64, passes_colours: bool) -> Taken {
        let mut scan = Scan::new(view, Offset(from), Offset(to), passes_colours).unwrap();
        let mut taken = Taken::default();
        while !scan.is_done() {
            scan.run(&mut taken, Instant::now() + Duration::from_micros(50)).unwrap();
        }
        assert_eq!(scan.position(), Offset(to).min(view.end));
        taken
    }

    /// Lines of all kinds.
    pub(crate) fn line() -> impl Strategy<Value = Vec<u8>> {
        let text = |regex: &str| {
            proptest::string::string_regex(regex).unwrap().prop_map(String::into_bytes).boxed()
        };
        prop_oneof![
            40 => text("[a-z<\t ]{0,60}\n"),
            4 => text("[a-zäé…✓\u{1F600}]{0,20}\n"),
            8 => text("\x1b\\[3[0-9];1m[a-z]{0,9}\x1b\\[0?[mK][a-z]{0,9}\x1b\\[0m\x1b\\[K\n"),
            8 => text("[a-z]{0,9}\r\n"),
            2 => text("[a-z]{1,9}\r[a-z]{1,9}\x1b\\[K\r[A-Z]{1,3}\n"),
            2 => text("\x1b\\[[1-9]A[A-Z]{1,3}\x1b\\[[1-9]?B\n"),
            1 => text("(\x1b\\[[1-9][0-9];?[0-9]?[A-HJ-MPSTX@`defmr]|[a-z]){1,4}\n?"),
            1 => text("a\x08b\x0bc\x0c[a-z]\x7f\n"),
            1 => text("\x1b\\(0[a-z]{1,5}\n?"),
            1 => text("\x1b\\]8;;http://x\x07link\x1b\\]8;;\x07\n"),
            1 => text("\x1b\\[\\?1049[hl]"),
            1 => text("\x1b[P_][a-z]{0,9}(\x1b\\\\)?"),
            1 => text("[a-z]\u{202e}[a-z]\u{85}\n"),
            1 => text("x{0,99}"),
            1 => (8000usize..9000).prop_map(|len| [vec![b'y'; len], b"\n".to_vec()].concat()),
            1 => (30_000usize..70_000).prop_map(|len| vec![b'z'; len]),
            1 => proptest::collection::vec(any::<u8>(), 0..30),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
        #[test]
        fn a_scan_gives_the_rows_of_a_terminal_that_saw_everything(
            parts in proptest::collection::vec((line(), 1usize..150), 0..12),
            from in 0.0..1.0f64,
            to in 0.0..1.0f64,
        ) {
            let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
            let expected = expected(&log);
            let (view, _directory) = view_of(&log);
            let whole = scanned(&view, 0, u64::MAX, true);
            prop_assert_eq!(&whole.rows, &expected);
            prop_assert_eq!(&scanned(&view, 0, u64::MAX, false).rows, &expected);
            // A part begins at a row; that what was before is known is not promised.
            let at = |place: f64| expected.get((expected.len() as f64 * place) as usize).map_or(0, |row| row.0);
            let (from, to) = (at(from), at(to));
            let part = scanned(&view, 0, to, true);
            let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
            prop_assert_eq!(&part.rows, &wanted);
            let part = scanned(&view, from, to.max(from), true);
            prop_assert!(part.rows.iter().all(|row| row.0 >= from && row.0 < to), "{:?}", part.rows);
        }
    }

    #[test]
    fn most_lines_are_handed_over_as_they_are() {
        let mut log = "plain text\n\x1b[31mred\x1b[m\n".repeat(20_000);
        log.insert_str(200_000, "10%\r20%\n");
        let (view, _directory) = view_of(log.as_bytes());
        let taken = scanned(&view, 0, u64::MAX, true);
        let others = log.len() - taken.bytes_of_lines;
        assert!(others < 40_000, "{others} of {} bytes went through a terminal", log.len());
        assert_eq!(taken.rows.len(), 40_001);
    }
}
