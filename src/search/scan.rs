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
use crate::search::plain_lines::{PlainLines, line_len};
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
pub(super) mod tests;
