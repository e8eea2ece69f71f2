//! Scans a log from one end to the other, row by row, as fast as it can be read.
//!
//! Plain text is passed on without a terminal; the rest goes through a terminal. The sink receives
//! each row once, complete and in order, as soon as no later byte can change it. A log that is not
//! UTF-8 is decoded block by block, and the envelopes of a container runtime are opened.

use std::collections::VecDeque;
use std::io;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use bytes::Bytes;

use crate::encoding::{Decoder, Encoding, OffsetMap, Text, envelope};
use crate::log::Offset;
use crate::log::file::Read;
use crate::render::{Row, SCREEN_ROWS, Terminal};
use crate::search::plain::{self, PlainText};
use crate::search::prefilter::Glance;
use crate::search::{Snapshot, rows, skim};
use crate::wire::frame::Form;

/// The unit in which a log is read.
const BLOCK_BYTES: usize = 256 * 1024;
/// The same for a log that is decoded: its text may have three times the bytes, and a map.
const ENCODED_BLOCK_BYTES: usize = 64 * 1024;
/// The most bytes of a container runtime's lines that are opened at once.
const OPENED_BYTES_MAX: usize = 64 * 1024;
/// The approximate size of the pieces that a terminal is fed.
const FEED_BYTES: usize = 16 * 1024;

/// How many bytes are looked at before lines are passed over: as many as the processor has close by.
const SKIMMED_BYTES: usize = 32 * 1024;

/// After so many steps in which no lines could be passed over, only one in so many tries to.
const VAIN_GLANCES_MAX: usize = 8;

/// Receives the rows of a scan. Each method may break at the first row that it does not accept.
pub(super) trait RowSink {
    /// Whether it has enough for now.
    fn is_full(&self) -> bool {
        false
    }

    /// A quick look at whole lines, to tell which of them it ignores, whatever is around them. If it
    /// tells that they are coloured, it gets these lines with their colours.
    fn glance(&mut self, _lines: &[u8]) -> Glance {
        Glance::Unknown
    }

    /// A row, which ends at `end`.
    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset>;

    /// Lines that are one row each.
    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset>;
}

/// Lines whose rows are known without a terminal.
pub(super) struct PlainLines<'s> {
    /// The lines in the file, as UTF-8. Those of a container runtime are not opened.
    pub(super) raw: Text<'s>,
    /// The shown text.
    pub(super) text: &'s [u8],
    /// The text has colours in it, as the sink wants them.
    pub(super) has_colours: bool,
    /// A terminal whose position is before the lines. It can be fed any of them, in order. Their
    /// colours are right unless the scan strips colours.
    pub(super) terminal: &'s Terminal,
}

impl<'s> PlainLines<'s> {
    /// Finds lines of the text in the file. Ask for them in order.
    pub(super) fn line_offsets(&self) -> LineOffsets<'s> {
        LineOffsets { raw: self.raw, text: self.text, raw_at: 0, text_at: 0 }
    }

    /// Splits at the first line that begins at or after an offset.
    fn split(self, offset: Offset) -> (Self, Self) {
        let raw = self.raw.bytes();
        let before = self.raw.index(offset.0);
        let (raw_at, text_at) = if before == 0 {
            (0, 0)
        } else if before >= raw.len() {
            (raw.len(), self.text.len())
        } else {
            let newline = memchr::memchr(b'\n', &raw[before - 1..]);
            let raw_at = newline.map_or(raw.len(), |newline| before + newline);
            (raw_at, self.text_at(raw_at))
        };
        let first = Self { raw: self.raw.slice(0..raw_at), text: &self.text[..text_at], ..self };
        (first, Self { raw: self.raw.skip(raw_at), text: &self.text[text_at..], ..self })
    }

    /// The position in the text of the line that begins at `raw_at` in the file.
    fn text_at(&self, raw_at: usize) -> usize {
        let raw = self.raw.bytes();
        if raw.len() == self.text.len() {
            return raw_at;
        }
        let lines = memchr::memchr_iter(b'\n', &raw[..raw_at]).count();
        let newline =
            lines.checked_sub(1).map(|nth| memchr::memchr_iter(b'\n', self.text).nth(nth));
        newline.map_or(0, |newline| newline.map_or(self.text.len(), |newline| newline + 1))
    }
}

/// Finds the offsets of lines.
pub(super) struct LineOffsets<'s> {
    raw: Text<'s>,
    text: &'s [u8],
    raw_at: usize,
    text_at: usize,
}

impl<'s> LineOffsets<'s> {
    /// The line in the file that begins at `text_at` in the text.
    pub(super) fn of(&mut self, text_at: usize) -> Text<'s> {
        let passed = &self.text[self.text_at..text_at];
        let raw = self.raw.bytes();
        if raw.len() == self.text.len() {
            self.raw_at += passed.len();
        } else {
            let lines = memchr::memchr_iter(b'\n', passed).count();
            for _ in 0..lines {
                self.raw_at += line_len(&raw[self.raw_at..]);
            }
        }
        self.text_at = text_at;
        let end = self.raw_at + line_len(&raw[self.raw_at..]);
        self.raw.slice(self.raw_at..end)
    }
}

/// The length of the first line, with its newline if it has one.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1)
}

/// A piece of a log as UTF-8, and what has been taken of it.
#[derive(Default)]
struct Block {
    bytes: Bytes,
    /// The offset of its first byte, and with a map those of all others.
    start: u64,
    map: Option<OffsetMap>,
    taken: usize,
    /// The offset after it, where nothing of it is left out.
    end: Offset,
}

impl Block {
    fn rest(&self) -> Text<'_> {
        Text::mapped(self.start, &self.bytes, self.map.as_ref()).skip(self.taken)
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
    /// The steps since lines could be passed over.
    vain_glances: usize,
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

    /// Emits the first `count` pending rows. `end` is the end of the last one.
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
            at: Offset(if snapshot.is_enveloped() { terminal.at() } else { terminal.undecoded() }),
            terminal,
            rows: PendingRows { pending, from, to, stopped },
            // Rows of text need no colours. What was written has them as text.
            strips_colours: form == Form::TextRows,
            vain_glances: 0,
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
        let mut block = Block::default();
        while !self.is_done() && !sink.is_full() && Instant::now() < until {
            if block.rest().bytes().len() < FEED_BYTES && block.end < self.snapshot.end {
                // So that the next one takes its place in the memory that is close by.
                drop(std::mem::take(&mut block));
                block = match self.read()? {
                    Ok(block) => block,
                    Err(nuls_to) => {
                        self.skip_nuls(nuls_to.min(self.snapshot.end));
                        continue;
                    }
                };
            }
            let is_last = block.rest().is_empty() || block.end >= self.snapshot.end;
            block.taken += self.step(block.rest(), is_last, sink);
            if is_last && block.rest().is_empty() {
                self.rows.flush(usize::MAX, self.at.max(block.end), sink);
                self.rows.stopped.get_or_insert(self.rows.to);
            }
        }
        Ok(())
    }

    /// The next piece of the log, empty at the end, or the end of a long run of NULs.
    fn read(&self) -> io::Result<Result<Block, Offset>> {
        let encoding = self.snapshot.encoding();
        let len = if encoding == Encoding::UTF_8 { BLOCK_BYTES } else { ENCODED_BLOCK_BYTES };
        let bytes = match self.snapshot.read_on(self.at, len)? {
            Read::Bytes(bytes) => bytes,
            Read::Hole(to) => return Ok(Err(to)),
            Read::Searching(_) | Read::Changed => Bytes::new(),
        };
        let (start, end) = (self.at.0, self.at.plus(bytes.len()));
        if encoding == Encoding::UTF_8 || self.snapshot.is_enveloped() {
            return Ok(Ok(Block { bytes, start, end, ..Block::default() }));
        }
        let mut decoder = Decoder::new(encoding, start);
        let mut decoded = decoder.decode(&bytes);
        if end >= self.snapshot.end {
            decoded.end_with(decoder.pending());
        } else if decoded.text().is_empty() && !bytes.is_empty() {
            // The first NUL of a hole ends the character.
            decoded = Decoder::new(encoding, start).decode(&[&bytes[..], &[0]].concat());
        }
        let (text, map) = decoded.into_parts();
        Ok(Ok(Block { bytes: Bytes::from(text), start, map: Some(map), taken: 0, end }))
    }

    /// Consumes some of the next bytes, and returns how many.
    fn step(&mut self, next: Text<'_>, is_last: bool, sink: &mut impl RowSink) -> usize {
        let bytes = next.bytes();
        let is_at_rest = self.terminal.is_at_rest();
        if self.snapshot.is_enveloped() && !self.is_bare(bytes) {
            if is_at_rest && self.snapshot.encoding() == Encoding::UTF_8 {
                let taken = self.step_envelopes(next, is_last, sink);
                if taken > 0 {
                    return taken;
                }
            }
        } else if is_at_rest {
            let end = if is_last { bytes.len() } else { after_last_line(bytes) };
            self.vain_glances += 1;
            if self.vain_glances < VAIN_GLANCES_MAX
                || self.vain_glances.is_multiple_of(VAIN_GLANCES_MAX)
            {
                let passed = self.pass_over(next, end, is_last, sink);
                if passed > 0 {
                    self.vain_glances = 0;
                    return passed;
                }
            }
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
                self.emit_plain(next.slice(0..raw.len()), text, sink);
                return raw.len();
            }
        }
        let piece = &bytes[..bytes.len().min(FEED_BYTES)];
        // The terminal is in its initial state more often at the end of a line.
        let len = Some(after_last_line(piece)).filter(|&len| len > 0).unwrap_or(piece.len());
        self.feed(next.slice(0..len), sink);
        len
    }

    /// Whether none of the next lines of what may be a container runtime's log is an envelope.
    fn is_bare(&self, bytes: &[u8]) -> bool {
        self.snapshot.encoding() == Encoding::UTF_8
            && envelope::are_bare(&bytes[..after_last_line(bytes)])
    }

    /// Consumes the next lines before `end` as far as the sink ignores them, and the few between them
    /// that it may not. Returns how many bytes they have.
    fn pass_over(
        &mut self,
        next: Text<'_>,
        end: usize,
        is_last: bool,
        sink: &mut impl RowSink,
    ) -> usize {
        let bytes = next.bytes();
        let (mut seen, mut pieces) = (0, Vec::new());
        while self.strips_colours && !self.is_done() {
            let rest = &bytes[seen..end];
            let lines = &rest[..after_last_line(&rest[..rest.len().min(SKIMMED_BYTES)])];
            let behind = seen + lines.len();
            // The line behind them may be joined with the last one.
            let ends_here = !skim::may_begin_joined(&bytes[behind..]);
            let is_wanted = next.place().plus(behind).offset() <= self.rows.to.0;
            if lines.is_empty() || !ends_here || !is_wanted {
                break;
            }
            match sink.glance(lines) {
                Glance::Unknown => break,
                glance => pieces.push((seen..behind, glance)),
            }
            seen = behind;
        }
        // Later bytes may draw over the last lines.
        let is_all = is_last && seen == bytes.len();
        let settled = if is_all { seen } else { before_last_lines(&bytes[..seen]).len() };
        for (Range { start, end }, glance) in pieces {
            let end = end.min(settled);
            if start < end && !self.is_done() {
                let taken = self.take_seen(next.slice(start..end), &glance, sink);
                if start + taken < end {
                    return start + taken;
                }
            }
        }
        settled
    }

    /// Consumes lines at which the sink has looked. Returns how many bytes: not all of them if one of
    /// the lines needs a terminal.
    fn take_seen(&mut self, lines: Text<'_>, glance: &Glance, sink: &mut impl RowSink) -> usize {
        let bytes = lines.bytes();
        let starts = match glance {
            Glance::Few(starts) => &starts[..],
            Glance::Coloured | Glance::Unknown => {
                self.emit(lines, bytes, true, sink);
                return bytes.len();
            }
        };
        self.rows.flush(usize::MAX, self.at, sink);
        for &start in starts.iter().take_while(|&&start| start < bytes.len()) {
            let line = start..start + line_len(&bytes[start..]);
            let Some(text) = plain::text_of(&bytes[line.clone()]) else {
                self.pass_to(lines.place().plus(start).offset());
                return start;
            };
            self.emit_plain(lines.slice(line), &text, sink);
        }
        self.pass_to(lines.end());
        bytes.len()
    }

    /// Leaves out lines, the last of which ends here.
    fn pass_to(&mut self, offset: u64) {
        self.at = Offset(offset);
        self.terminal.pass(offset);
    }

    /// Consumes the next lines of a container runtime, if they need no terminal. Returns how many
    /// bytes they have.
    fn step_envelopes(&mut self, next: Text<'_>, is_last: bool, sink: &mut impl RowSink) -> usize {
        let bytes = next.bytes();
        let bytes = &bytes[..bytes.len().min(OPENED_BYTES_MAX)];
        let opened = envelope::open_lines(bytes);
        let rendition = self.terminal.rendition();
        let PlainText { len, text } = plain::lines(&opened.text, self.strips_colours, rendition);
        // Later bytes may draw over the last lines.
        let is_all = is_last && opened.len == next.bytes().len() && len == opened.text.len();
        let text = if is_all { &*text } else { before_last_lines(&text) };
        let Some(lines) = memchr::memchr_iter(b'\n', text).count().checked_sub(1) else { return 0 };
        let newline = memchr::memchr_iter(b'\n', bytes).nth(lines);
        let len = newline.map_or(0, |newline| newline + 1);
        self.emit_plain(next.slice(0..len), text, sink);
        len
    }

    /// Emits lines without feeding them to the terminal.
    fn emit_plain(&mut self, raw: Text<'_>, text: &[u8], sink: &mut impl RowSink) {
        self.emit(raw, text, false, sink);
    }

    /// The same for lines with or without their colours.
    fn emit(&mut self, raw: Text<'_>, text: &[u8], has_colours: bool, sink: &mut impl RowSink) {
        self.rows.flush(usize::MAX, self.at, sink);
        let lines = PlainLines { raw, text, has_colours, terminal: &self.terminal };
        let (_, lines) = lines.split(self.rows.from);
        let (lines, behind) = lines.split(self.rows.to);
        if self.rows.stopped.is_none() && !lines.raw.is_empty() {
            self.rows.stopped = sink.lines(&lines).break_value();
        }
        if !behind.raw.is_empty() {
            self.rows.stopped.get_or_insert(self.rows.to);
        }
        self.pass_to(raw.end());
    }

    /// Feeds the terminal, and emits the rows that are final then.
    fn feed(&mut self, text: Text<'_>, sink: &mut impl RowSink) {
        self.at = Offset(text.end());
        let patch = self.terminal.feed_text(text);
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
    use crate::search::snapshot::tests::{reopened, snapshot_in, snapshot_of};
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
            self.bytes_of_lines += lines.raw.bytes().len();
            let mut offsets = lines.line_offsets();
            let mut at = 0;
            for text in lines.text.split_inclusive(|&byte| byte == b'\n') {
                let raw = offsets.of(at);
                at += text.len();
                let text = std::str::from_utf8(text).unwrap().trim_end_matches('\n').to_owned();
                self.rows.push((raw.offset(), raw.end(), text));
            }
            ControlFlow::Continue(())
        }
    }

    /// The rows of a terminal that is fed the whole log, and the end of each.
    fn expected(log: &[u8], rendition: Rendition) -> Vec<(u64, u64, String)> {
        expected_of(Terminal::of(rendition, 0), log)
    }

    fn expected_of(mut terminal: Terminal, log: &[u8]) -> Vec<(u64, u64, String)> {
        let mut rows: Vec<(u64, String)> = Vec::new();
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
            2 => text("2026-11-28T14:02:07\\.123456(7Z|Z INFO) [a-z]{0,9}\n"),
            1 => text("\\[2026-11-28T14:02:07\\.123Z\\] [a-z]{0,9}\n"),
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

    /// The rows, of which the last one ends at the end of the log if nothing that follows it shows. Whether
    /// the bytes after the last newline are its own or those of a row that does not show is not said.
    fn with_tail(mut rows: Vec<(u64, u64, String)>, log: &[u8]) -> Vec<(u64, u64, String)> {
        let tail = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        if let Some((_, end, _)) = rows.last_mut()
            && *end == tail as u64
        {
            *end = log.len() as u64;
        }
        rows
    }

    proptest! {
        #![proptest_config(crate::testing::cases(96))]
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
            prop_assert_eq!(&with_tail(whole.rows, &log), &expected);
            let rows = scanned(&snapshot, 0, u64::MAX, Form::Rows).rows;
            prop_assert_eq!(&with_tail(rows, &log), &expected);
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

    /// The log with its characters in another encoding.
    pub(crate) fn encoded(label: &str, log: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(log);
        match label {
            "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => {
                let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
                encoding.encode(&text).0.into_owned()
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn a_scan_of_an_encoded_log_gives_the_rows_of_a_terminal_that_saw_everything(
            label in prop::sample::select(vec!["utf-16le", "utf-16be", "gb18030", "shift_jis", "windows-1252"]),
            parts in proptest::collection::vec((line(), 1usize..150), 0..12),
            others in proptest::collection::vec(any::<u8>(), 0..3),
            to in 0.0..1.0f64,
        ) {
            let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
            let log = [encoded(label, &log), others].concat();
            let encoding = Encoding::for_label(label);
            let (snapshot, _directory) = snapshot_in(&log, encoding);
            let expected = expected_of(snapshot.terminal(Offset(0)), &log);
            for form in [Form::TextRows, Form::Rows] {
                prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, form).rows, &expected);
            }
            let to = expected.get((expected.len() as f64 * to) as usize).map_or(0, |row| row.0);
            let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
            prop_assert_eq!(&scanned(&snapshot, 0, to, Form::TextRows).rows, &wanted);
        }
    }

    /// Each line of the log in an envelope of CRI or Docker's, of which some are cut in two.
    pub(crate) fn enveloped(log: &[u8], is_docker: bool) -> Vec<u8> {
        let text = String::from_utf8_lossy(log);
        let mut enveloped = b"2026-11-28T14:02:07Z stdout F first\n".to_vec();
        let mut put = |stream: &str, part: &str, end: &str| {
            let envelope = if is_docker {
                let log = serde_json::to_string(&format!("{part}{end}")).unwrap();
                format!(r#"{{"log":{log},"stream":"{stream}","time":"2026-11-28T14:02:07Z"}}"#)
            } else {
                let tag = if end.is_empty() { "P" } else { "F" };
                format!("2026-11-28T14:02:07Z {stream} {tag} {part}")
            };
            enveloped.extend(envelope.bytes());
            enveloped.push(b'\n');
        };
        for (nth, line) in text.lines().enumerate() {
            let (first, rest) = line.split_at(line.floor_char_boundary(line.len() / 2));
            match nth % 11 {
                3 => {
                    put("stdout", first, "");
                    put("stdout", rest, "\n");
                }
                5 => {
                    put("stderr", first, "");
                    put("stdout", "between", "\n");
                    put("stderr", rest, "\n");
                }
                7 => put("stderr", line, "\n"),
                _ => put("stdout", line, "\n"),
            }
        }
        enveloped
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn a_scan_of_a_container_gives_the_rows_of_a_terminal_that_saw_everything(
            parts in proptest::collection::vec((line(), 1usize..150), 0..12),
            is_docker: bool,
            to in 0.0..1.0f64,
        ) {
            let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
            let log = enveloped(&log, is_docker);
            let (snapshot, _directory) = snapshot_of(&log);
            let expected = expected_of(snapshot.terminal(Offset(0)), &log);
            for form in [Form::TextRows, Form::Rows] {
                prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, form).rows, &expected);
            }
            let written = snapshot.terminal(Offset(0)).into_rendition(Rendition::Written);
            prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, Form::WrittenRows).rows, &expected_of(written, &log));
            let to = expected.get((expected.len() as f64 * to) as usize).map_or(0, |row| row.0);
            let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
            prop_assert_eq!(&scanned(&snapshot, 0, to, Form::TextRows).rows, &wanted);
        }
    }

    #[test]
    fn most_lines_of_a_container_need_no_terminal() {
        let log = "2026-11-28T14:02:07.123456789Z stdout F plain text\n{\"log\":\"\\u001b[31mred\\u001b[m\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-28T14:02:07Z\"}\n".repeat(20_000);
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
        let others = log.len() - taken.bytes_of_lines;
        assert!(others < 40_000, "{others} of {} bytes went through a terminal", log.len());
        assert_eq!(taken.rows.len(), 40_000);
    }

    #[test]
    fn most_lines_of_an_encoded_log_need_no_terminal() {
        let log = "连接 text\n\x1b[31mred\x1b[m\n".repeat(20_000);
        let (snapshot, _directory) =
            snapshot_in(&encoded("gbk", log.as_bytes()), Encoding::for_label("gbk"));
        let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
        assert!(
            taken.bytes_of_lines + 20_000 > log.len(),
            "{} of {}",
            taken.bytes_of_lines,
            log.len()
        );
        assert_eq!(taken.rows.len(), 40_000);
    }

    #[test]
    fn half_a_character_before_a_hole_is_ended_by_it() {
        use std::os::unix::fs::FileExt;

        let (_, directory) = snapshot_of(&encoded("utf-16le", "\u{feff}one\ntwo\n".as_bytes()));
        let path = directory.path().join("a.log");
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // The hole begins with the last byte of the newline, and ends within U+4E00.
        file.write_all_at(&encoded("utf-16le", "\u{4e00}hi\n".as_bytes()), 200_000).unwrap();
        let snapshot = reopened(&directory);
        let rows = scanned(&snapshot, 0, u64::MAX, Form::TextRows).rows;
        let texts: Vec<(u64, &str)> = rows.iter().map(|row| (row.0, row.2.as_str())).collect();
        assert_eq!(texts, [(0, "one"), (10, "two"), (18, "一hi")]);
    }

    #[test]
    fn a_row_that_an_earlier_line_began_keeps_its_offset() {
        // The cursor goes up, and comes back to the empty last row where a piece ends.
        let tail = "\x1b[2Aup\nnext\n";
        let head = "\x1b[1mbold\x1b[m\x0b\r\n".repeat((FEED_BYTES - tail.len()) / 15);
        let fill = "x".repeat(FEED_BYTES - tail.len() - head.len() - 1);
        let log = format!("{fill}\n{head}{tail}last\nplain\n");
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let rows = scanned(&snapshot, 0, u64::MAX, Form::TextRows).rows;
        assert!(
            rows == expected(log.as_bytes(), Rendition::Shown),
            "{:?}",
            &rows[rows.len() - 4..]
        );
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
