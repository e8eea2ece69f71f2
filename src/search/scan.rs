//! Scans a log from one end to the other, row by row, as fast as it can be read.
//!
//! Plain text is passed on as it is in the file; the rest goes through a terminal. The sink
//! receives each row once, whole and in order, as soon as no later byte can change it.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;

use bytes::Bytes;

use crate::log::Offset;
use crate::log::file::Read;
use crate::render::{Row, SCREEN_ROWS, Terminal};
use crate::search::plain::{self, PlainText};
use crate::search::{Snapshot, rows};
use crate::wire::frame::Form;

/// The unit in which a log is read.
const BLOCK_BYTES: usize = 256 * 1024;
/// The approximate size of the pieces that a terminal is fed.
const FEED_BYTES: usize = 16 * 1024;

/// Receives the rows of a scan. Each method may break at the first row that it does not take.
pub(super) trait RowSink {
    /// Whether it has enough for now.
    fn is_full(&self) -> bool {
        false
    }

    /// A row, which ends at `end`.
    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset>;

    /// Lines that are one row each.
    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset>;
}

/// Lines whose rows are known without a terminal.
pub(super) struct PlainLines<'s> {
    /// The offset of the first byte.
    pub(super) at: Offset,
    /// The bytes in the file.
    pub(super) raw: &'s [u8],
    /// The shown text.
    pub(super) text: &'s [u8],
    /// A terminal that stands before the lines. It can be fed any of them, in order. Their colours
    /// are right unless the scan strips colours.
    pub(super) terminal: &'s Terminal,
}

impl<'s> PlainLines<'s> {
    /// Finds lines of the text in the file. Ask for them in order.
    pub(super) fn line_offsets(&self) -> LineOffsets<'s> {
        LineOffsets { raw: self.raw, text: self.text, raw_at: 0, text_at: 0, at: self.at }
    }

    /// Splits at the first line that begins at or after an offset.
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

    /// The position in the text of the line that begins at `raw_at` in the file.
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

/// Finds the offsets of lines.
pub(super) struct LineOffsets<'s> {
    raw: &'s [u8],
    text: &'s [u8],
    raw_at: usize,
    text_at: usize,
    at: Offset,
}

impl<'s> LineOffsets<'s> {
    /// The offset and the raw bytes of the line that begins at `text_at` in the text.
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

/// A scan in progress.
pub(super) struct Scan {
    snapshot: Snapshot,
    terminal: Terminal,
    /// The next byte for the terminal.
    at: Offset,
    rows: PendingRows,
    /// Treat lines of text with colours as plain, and drop their colours.
    strips_colours: bool,
}

/// The rows on their way to the sink.
struct PendingRows {
    /// Rows that may still change.
    pending: VecDeque<Row>,
    /// Rows that begin before it are left out.
    from: Offset,
    /// Rows that begin here or later are left out.
    to: Offset,
    /// Where the scan ended or the sink stopped it.
    stopped: Option<Offset>,
}

impl PendingRows {
    fn emit(&mut self, row: &Row, end: Offset, sink: &mut impl RowSink) {
        let offset = Offset(row.offset);
        if self.stopped.is_some() || offset < self.from {
            return;
        }
        if offset >= self.to {
            self.stopped = Some(self.to);
        } else if let ControlFlow::Break(at) = sink.row(row, end) {
            self.stopped = Some(at);
        }
    }

    /// Emits the first `count` pending rows. Whatever follows the last of them begins at `end`.
    fn flush(&mut self, count: usize, end: Offset, sink: &mut impl RowSink) {
        for _ in 0..count {
            let Some(row) = self.pending.pop_front() else { return };
            let end = self.pending.front().map_or(end, |next| Offset(next.offset));
            self.emit(&row, end, sink);
        }
    }
}

impl Scan {
    /// A scan of the rows of a form that begin in a part of the log.
    pub(super) fn new(
        snapshot: &Snapshot,
        from: Offset,
        to: Offset,
        form: Form,
    ) -> io::Result<Self> {
        let to = to.min(snapshot.end);
        let mut terminal = rows::terminal_for(snapshot, from, form.rendition())?;
        let pending = terminal.screen().rows().cloned().collect();
        let stopped = (from >= to).then_some(to);
        Ok(Self {
            snapshot: snapshot.clone(),
            at: Offset(terminal.at()),
            terminal,
            rows: PendingRows { pending, from, to, stopped },
            // Rows of text need no colours. What was written has them as text.
            strips_colours: form == Form::TextRows,
        })
    }

    /// All rows that begin before this offset have been emitted.
    pub(super) fn position(&self) -> Offset {
        let PendingRows { pending, from, to, stopped } = &self.rows;
        let settled = pending.front().map_or(self.at, |row| Offset(row.offset));
        stopped.unwrap_or_else(|| settled.min(*to).max(*from))
    }

    /// Whether all rows have been emitted.
    pub(super) fn is_done(&self) -> bool {
        self.rows.stopped.is_some()
    }

    /// Scans until the end, until the sink is full or until the time is up. Blocks.
    pub(super) fn run(&mut self, sink: &mut impl RowSink, until: Instant) -> io::Result<()> {
        let mut block = Bytes::new();
        while !self.is_done() && !sink.is_full() && Instant::now() < until {
            if block.len() < FEED_BYTES {
                block = match self.snapshot.read_on(self.at, BLOCK_BYTES)? {
                    Read::Bytes(bytes) => bytes,
                    Read::Hole(to) => {
                        self.skip_nuls(to.min(self.snapshot.end));
                        continue;
                    }
                    Read::Searching(_) | Read::Changed => Bytes::new(),
                };
            }
            let is_last = block.is_empty() || self.at.plus(block.len()) >= self.snapshot.end;
            let taken = self.step(&block, is_last, sink);
            block = block.slice(taken..);
            if is_last && block.is_empty() {
                self.rows.flush(usize::MAX, self.at, sink);
                self.rows.stopped.get_or_insert(self.rows.to);
            }
        }
        Ok(())
    }

    /// Consumes some of the next bytes, and returns how many.
    fn step(&mut self, bytes: &[u8], is_last: bool, sink: &mut impl RowSink) -> usize {
        if self.terminal.is_at_rest() {
            let end = if is_last { bytes.len() } else { after_last_line(bytes) };
            let rendition = self.terminal.rendition();
            let PlainText { len, text } =
                plain::lines(&bytes[..end], self.strips_colours, rendition);
            // Later bytes may draw over the last lines.
            let (raw, text) = if is_last && len == bytes.len() {
                (bytes, &*text)
            } else {
                (before_last_lines(&bytes[..len]), before_last_lines(&text))
            };
            if !raw.is_empty() {
                self.emit_plain(raw, text, sink);
                return raw.len();
            }
        }
        let piece = &bytes[..bytes.len().min(FEED_BYTES)];
        // The terminal is in its initial state more often at the end of a line.
        let len = Some(after_last_line(piece)).filter(|&len| len > 0).unwrap_or(piece.len());
        self.feed(&piece[..len], sink);
        len
    }

    /// Emits lines without feeding them to the terminal.
    fn emit_plain(&mut self, raw: &[u8], text: &[u8], sink: &mut impl RowSink) {
        self.rows.flush(usize::MAX, self.at, sink);
        let lines = PlainLines { at: self.at, raw, text, terminal: &self.terminal };
        let (_, lines) = lines.split(self.rows.from);
        let (lines, behind) = lines.split(self.rows.to);
        if self.rows.stopped.is_none() && !lines.raw.is_empty() {
            self.rows.stopped = sink.lines(&lines).break_value();
        }
        if !behind.raw.is_empty() {
            self.rows.stopped.get_or_insert(self.rows.to);
        }
        self.at = self.at.plus(raw.len());
        self.terminal.pass(self.at.0);
    }

    /// Feeds the terminal, and emits the rows that are final then.
    fn feed(&mut self, bytes: &[u8], sink: &mut impl RowSink) {
        self.at = self.at.plus(bytes.len());
        let patch = self.terminal.feed(bytes);
        let kept = self.rows.pending.partition_point(|row| row.offset < patch.from);
        self.rows.pending.truncate(kept);
        let rows: Vec<&Row> = patch.rows().collect();
        let end_of = |nth: usize| rows.get(nth).map_or(self.at, |next| Offset(next.offset));
        let excess = (kept + rows.len()).saturating_sub(SCREEN_ROWS);
        self.rows.flush(excess.min(kept), end_of(0), sink);
        let (last, rest) = rows.split_at(excess.saturating_sub(kept));
        for (nth, row) in last.iter().enumerate() {
            self.rows.emit(row, end_of(nth + 1), sink);
        }
        self.rows.pending.extend(rest.iter().map(|&row| row.clone()));
    }

    /// Skips a long run of NULs, which show nothing.
    fn skip_nuls(&mut self, to: Offset) {
        self.at = to;
        self.terminal.pass_nuls(to.0);
    }
}

/// The end of the last whole line.
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
    use crate::render::Rendition;
    use crate::search::snapshot::tests::snapshot_of;
    use proptest::prelude::*;
    use std::time::Duration;

    /// Keeps everything that it receives.
    #[derive(Default)]
    struct Taken {
        rows: Vec<(u64, u64, String)>,
        bytes_of_lines: usize,
    }

    impl RowSink for Taken {
        fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset> {
            self.rows.push((row.offset, end.0, row.text().to_owned()));
            ControlFlow::Continue(())
        }

        fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
            self.bytes_of_lines += lines.raw.len();
            let mut offsets = lines.line_offsets();
            let mut at = 0;
            for text in lines.text.split_inclusive(|&byte| byte == b'\n') {
                let (offset, raw) = offsets.of(at);
                at += text.len();
                let text = std::str::from_utf8(text).unwrap().trim_end_matches('\n').to_owned();
                self.rows.push((offset.0, offset.plus(raw.len()).0, text));
            }
            ControlFlow::Continue(())
        }
    }

    /// The rows of a terminal that is fed the whole log, and the end of each.
    fn expected(log: &[u8], rendition: Rendition) -> Vec<(u64, u64, String)> {
        let mut rows: Vec<(u64, String)> = Vec::new();
        let mut terminal = Terminal::of(rendition, 0);
        for piece in log.chunks(1 << 16) {
            let patch = terminal.feed(piece);
            rows.retain(|(offset, _)| *offset < patch.from);
            rows.extend(patch.rows().map(|row| (row.offset, row.text().to_owned())));
        }
        let ends: Vec<u64> =
            rows.iter().skip(1).map(|(offset, _)| *offset).chain([log.len() as u64]).collect();
        rows.into_iter().zip(ends).map(|((offset, text), end)| (offset, end, text)).collect()
    }

    fn scanned(snapshot: &Snapshot, from: u64, to: u64, form: Form) -> Taken {
        let mut scan = Scan::new(snapshot, Offset(from), Offset(to), form).unwrap();
        let mut taken = Taken::default();
        while !scan.is_done() {
            scan.run(&mut taken, Instant::now() + Duration::from_micros(50)).unwrap();
        }
        assert_eq!(scan.position(), Offset(to).min(snapshot.end));
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
            let (snapshot, _directory) = snapshot_of(&log);
            let written = scanned(&snapshot, 0, u64::MAX, Form::WrittenRows);
            prop_assert_eq!(&written.rows, &expected(&log, Rendition::Written));
            let expected = expected(&log, Rendition::Shown);
            let whole = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
            prop_assert_eq!(&whole.rows, &expected);
            prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, Form::Rows).rows, &expected);
            // A part begins at a row. Its rows need not look as in the whole log.
            let at = |place: f64| expected.get((expected.len() as f64 * place) as usize).map_or(0, |row| row.0);
            let (from, to) = (at(from), at(to));
            let part = scanned(&snapshot, 0, to, Form::TextRows);
            let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
            prop_assert_eq!(&part.rows, &wanted);
            let part = scanned(&snapshot, from, to.max(from), Form::TextRows);
            prop_assert!(part.rows.iter().all(|row| row.0 >= from && row.0 < to), "{:?}", part.rows);
        }
    }

    #[test]
    fn most_lines_need_no_terminal() {
        let mut log = "plain text\n\x1b[31mred\x1b[m\n".repeat(20_000);
        log.insert_str(200_000, "10%\r20%\n");
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
        let others = log.len() - taken.bytes_of_lines;
        assert!(others < 40_000, "{others} of {} bytes went through a terminal", log.len());
        assert_eq!(taken.rows.len(), 40_001);
    }
}
