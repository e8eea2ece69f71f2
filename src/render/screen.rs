//! The rows that the cursor can reach, and edits at the cursor.
//!
//! The screen has no height: it grows with each newline, and rows that are more than
//! [`SCREEN_ROWS`] above its end are final. The last line is always open, every other one has ended
//! or was cut, and their offsets increase.

use crate::encoding::Place;

use super::annotation::Annotation;
use super::ascent::{Ascent, Covered};
use super::charset::Charsets;
use super::ci_marker::{self, CiMarker};
use super::envelopes::LeftLine;
use super::group::Groups;
use super::line::{Line, Pen};
use super::line_start::{Continuable, LineStart, Unfinished};
use super::returns::{Returns, Undivided};
use super::screen_modes::ScreenModes;
use super::size::{ScreenRow, ScreenSize};
use super::{COLUMNS_MAX, Patch, SCREEN_ROWS, cells, spare};

#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) pen: Pen,
    pub(super) charsets: Charsets,
}

#[derive(Clone, Debug)]
pub(super) struct Screen {
    pub(super) lines: Vec<Line>,
    /// The first line that can still change.
    pub(super) top: usize,
    /// The first line that was changed since the last patch.
    dirty: usize,
    pub(super) page: ScreenModes,
    pub(super) row: usize,
    /// None after the last character of the row, where it is not measured.
    pub(super) column: Option<usize>,
    pub(super) pen: Pen,
    pub(super) charsets: Charsets,
    pub(super) saved: Option<Saved>,
    pub(super) last_char: Option<char>,
    /// A return has led to the start of the last row, and nothing was drawn over it yet.
    pub(super) returned: bool,
    /// The column from which it has led there.
    pub(super) returned_from: usize,
    pub(super) returns: Option<Box<Returns>>,
    /// Nothing but text and returns has come since the start of the log.
    pub(super) is_unbroken: bool,
    /// The row whose texts are shown as rows.
    pub(super) undivided: Option<Box<Undivided>>,
    pub(super) size: ScreenSize,
    pub(super) screen_row: Option<ScreenRow>,
    pub(super) ascent: Option<Box<Ascent>>,
    /// What the last way up may have led over by mistake.
    pub(super) covered: Option<Covered>,
    /// The row on which the last way up ended, if the program has only written lines since.
    pub(super) landing: Option<usize>,
    pub(super) line_start: LineStart,
    /// A start of a line that had no stamp, for its buffers.
    pub(super) spare_start: Option<Box<Unfinished>>,
    /// The next line may continue the present one.
    pub(super) joins_next: bool,
    /// Where the line before ended, if the present one may continue it.
    pub(super) continuable: Option<Continuable>,
    /// Lines of a container's streams that the cursor left, and that go on.
    pub(super) left_lines: Vec<LeftLine>,
    /// The present line went on above rows of other lines.
    pub(super) is_above: bool,
    pub(super) groups: Groups,
    /// How long the command ran whose end comes next, in milliseconds.
    pub(super) took: Option<u64>,
    /// Whether stamps and markers annotate rows.
    pub(super) annotates: bool,
    /// The offsets that new rows may get: those of the bytes that are being processed, and of the
    /// byte after them.
    pub(super) fresh: (u64, u64),
}

impl Screen {
    pub(super) fn new(at: u64) -> Self {
        Self {
            lines: vec![Line::new(at)],
            top: 0,
            dirty: usize::MAX,
            page: ScreenModes::default(),
            row: 0,
            column: None,
            pen: Pen::default(),
            charsets: Charsets::default(),
            saved: None,
            last_char: None,
            returned: false,
            returned_from: 0,
            returns: None,
            is_unbroken: at == 0,
            undivided: None,
            size: ScreenSize::default(),
            screen_row: None,
            ascent: None,
            covered: None,
            landing: None,
            line_start: LineStart::Fresh,
            spare_start: None,
            joins_next: false,
            continuable: None,
            left_lines: Vec::new(),
            is_above: false,
            groups: Groups::default(),
            took: None,
            annotates: true,
            fresh: (at, at),
        }
    }

    /// Sets the range of bytes that are processed next.
    #[inline]
    pub(super) fn locate(&mut self, start: u64, end: u64) {
        self.fresh = (start, end);
    }

    /// The offset of the first byte that is being processed.
    pub(super) fn place(&self) -> Place<'static> {
        Place::at(self.fresh.0)
    }

    /// The changes since the last patch.
    pub(super) fn patch(&mut self, next: u64) -> Patch<'_> {
        self.show_ascent();
        self.show_returns();
        let blank = self.lines.last().is_some_and(Line::shows_nothing);
        let visible = self.lines.len() - usize::from(blank);
        let from = self.lines.get(self.dirty).map_or(next, Line::offset);
        self.lines.iter_mut().for_each(Line::flatten);
        if self.column.is_some_and(|column| column == self.lines[self.row].columns()) {
            self.column = None;
        }
        let lines = self.dirty.min(visible)..visible;
        Patch { from, next, screen: self, lines }
    }

    /// Whether the cursor is on an empty last line that begins at the next byte, and the next text
    /// is appended to it unchanged.
    pub(super) fn is_at_rest(&self, at: u64) -> bool {
        let is_last = self.row + 1 == self.lines.len() && self.column.is_none();
        let is_new = self
            .lines
            .last()
            .is_some_and(|line| line.is_empty() && !line.continues && line.offset() == at);
        let is_fresh = matches!(self.line_start, LineStart::Fresh) && self.ascent.is_none();
        let is_fresh = is_fresh && self.left_lines.is_empty();
        is_last && is_new && is_fresh && self.charsets.is_ascii() && !self.page.is_hidden()
    }

    /// Sets the offset of the last line, which is empty.
    pub(super) fn begin_at(&mut self, offset: u64) {
        if let Some(line) = self.lines.last_mut() {
            line.row().offset = offset;
        }
        self.continuable = None;
        self.is_unbroken = false;
        self.locate(offset, offset);
    }

    /// Drops the lines that have become final and were in a patch.
    pub(super) fn settle(&mut self) {
        debug_assert!(self.top <= self.row && self.row < self.lines.len());
        let top = self.top.min(self.row);
        spare::keep(self.lines.drain(..top));
        self.row -= top;
        self.page.scroll(top);
        if let Some(undivided) = &mut self.undivided {
            undivided.scroll(top);
        }
        self.continuable = self.continuable.take().and_then(|end| end.scroll(top));
        if !self.left_lines.is_empty() {
            let left = std::mem::take(&mut self.left_lines);
            self.left_lines = left.into_iter().filter_map(|left| left.scroll(top)).collect();
        }
        self.covered = self.covered.take().and_then(|covered| covered.scroll(top));
        self.landing = self.landing.and_then(|landing| landing.checked_sub(top));
        if let Some(saved) = &mut self.saved {
            saved.row = saved.row.saturating_sub(top);
        }
        self.top = 0;
        self.dirty = usize::MAX;
    }

    #[inline]
    pub(super) fn touch(&mut self, row: usize) {
        self.dirty = self.dirty.min(row);
    }

    /// Says that this row is the first that was changed, and returns which one was.
    pub(super) fn replace_dirty(&mut self, row: usize) -> usize {
        std::mem::replace(&mut self.dirty, row)
    }

    #[inline]
    pub(super) fn current(&mut self) -> &mut Line {
        &mut self.lines[self.row]
    }

    /// Adds an open line after the last one, if an offset for it is left: a sequence cannot create
    /// more rows than it has bytes.
    pub(super) fn push_line(&mut self) -> bool {
        let Some(last) = self.lines.last_mut() else { return false };
        let offset = self.fresh.0.max(last.offset() + 1);
        if offset > self.fresh.1 {
            return false;
        }
        if !last.row().cut {
            last.row().ended = true;
        }
        self.touch(self.lines.len() - 1);
        self.lines.push(spare::line(offset));
        self.top = self.top.max(self.lines.len().saturating_sub(SCREEN_ROWS));
        true
    }

    // Text

    /// Shows lines of text, without control characters other than newlines and tabs. `at` is where
    /// the first byte lies.
    pub(super) fn print_lines(&mut self, text: &str, at: Place<'_>) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
            self.print(text.get(start..end).unwrap_or_default(), at.plus(start));
            start = end + 1;
            let next = at.plus(start).offset();
            self.locate(next, next);
            self.newline();
        }
        self.print(text.get(start..).unwrap_or_default(), at.plus(start));
    }

    /// Shows text without control characters; tabs may be in it. `at` is where its first byte lies.
    pub(super) fn print(&mut self, text: &str, at: Place<'_>) {
        if self.page.is_hidden() || text.is_empty() {
            return;
        }
        if !self.charsets.is_ascii() {
            for (i, ch) in text.char_indices() {
                let ch = self.charsets.translate(ch);
                self.write(ch.encode_utf8(&mut [0; 4]), at.plus(i));
            }
        } else if self.pen.style.paints_blanks() && text.contains('\t') {
            self.print_around_tabs(text, at);
        } else {
            self.write(text, at);
        }
    }

    /// Shows text with tabs. A tab moves the cursor and paints nothing, whatever the pen is.
    fn print_around_tabs(&mut self, text: &str, at: Place<'_>) {
        let mut at = at;
        for part in text.split_inclusive('\t') {
            let (words, tab) = part.split_at(part.len() - usize::from(part.ends_with('\t')));
            self.write(words, at);
            at = at.plus(words.len());
            let style = std::mem::take(&mut self.pen.style);
            self.write(tab, at);
            at = at.plus(tab.len());
            self.pen.style = style;
        }
    }

    pub(super) fn write(&mut self, text: &str, at: Place<'_>) {
        if self.ascent.is_some() {
            self.end_ascent();
        }
        let (mut text, mut at) = (text, at);
        if self.may_have_stamp(text) {
            let taken = self.read_stamp(text, at);
            text = text.get(taken..).unwrap_or_default();
            at = at.plus(taken);
            if text.is_empty() || self.page.is_hidden() {
                return;
            }
        }
        if self.screen_row.is_some() {
            self.end_screen_row();
        }
        // REP does not repeat a tab.
        self.last_char = text.chars().rfind(|&ch| ch != '\t').or(self.last_char);
        if self.returned {
            self.follow_return(at.offset());
        }
        if self.returns.is_some() {
            self.extend_text(text);
        }
        let mut rest = text;
        while !rest.is_empty() {
            self.touch(self.row);
            if self.column.is_none() && self.lines[self.row].is_flat() {
                let pen = &self.pen;
                rest = self.lines[self.row].append(rest, pen);
            } else {
                rest = self.overwrite(rest);
            }
            if !rest.is_empty() {
                self.wrap(at.plus(text.len() - rest.len()).offset());
            }
        }
    }

    /// Cuts the full row and continues in the next one.
    fn wrap(&mut self, at: u64) {
        self.locate(at, at.max(self.lines[self.row].offset() + 1));
        self.leave(1);
        if self.row + 1 == self.lines.len() {
            self.current().row().cut = true;
            if self.push_line()
                && let Some(line) = self.lines.last_mut()
            {
                line.continues = true;
            }
            self.column = None;
        } else {
            self.column = Some(0);
        }
        self.row += 1;
    }

    /// Shows text in the middle of a row, character by character, up to the first that no longer
    /// fits.
    fn overwrite<'t>(&mut self, text: &'t str) -> &'t str {
        let mut style = self.pen.style;
        let line = &mut self.lines[self.row];
        if let Some(column) = self.column
            && line.overwrite(column, text, &self.pen)
        {
            let end = column + text.len();
            self.column = (end < line.row().text.len()).then_some(end);
            return "";
        }
        let mut column = self.column.unwrap_or_else(|| line.cells().len());
        if let Some(link) = &self.pen.link {
            style.link = line.cells().link(link);
        }
        let mut chars = text.chars();
        let rest = loop {
            let rest = chars.as_str();
            let Some(ch) = chars.next() else { break rest };
            let len = line.cells().len();
            let mut width = cells::columns(ch, column);
            if ch == '\t' && column < len {
                // A tab skips existing characters.
                column += width;
                continue;
            }
            let mark = width == 0 && column > 0;
            let looks = if mark { line.cells().last_style().unwrap_or_default() } else { style };
            if column >= len && !line.takes(ch.len_utf8() + (column - len), looks) {
                break rest;
            }
            let edited = if mark {
                // Combining characters count towards the limit of the row.
                if column >= len || line.bytes() < super::ROW_BYTES_MAX {
                    line.cells().mark(column, ch);
                }
                column < len
            } else {
                width = width.max(1);
                let overwrites = line.cells().put(column, ch, width, style);
                column += width;
                overwrites
            };
            line.row().edited |= edited;
        };
        self.column = Some(column);
        rest
    }

    /// REP: the last character once more, `n` times.
    pub(super) fn repeat(&mut self, n: usize, at: Place<'_>) {
        if let Some(ch) = self.last_char {
            let mut buffer = [0; 4];
            let text = ch.encode_utf8(&mut buffer);
            (0..n.min(COLUMNS_MAX)).for_each(|_| self.print(text, at));
        }
    }

    // Annotations

    /// Looks for a marker in the line that the cursor is about to leave, and annotates the row.
    /// Returns whether there is one.
    pub(super) fn read_marker(&mut self, read: fn(&str) -> Option<CiMarker>) -> bool {
        let line = &mut self.lines[self.row];
        let may_begin = line.first_byte().is_some_and(ci_marker::may_begin);
        if !self.annotates || line.continues || !may_begin {
            return false;
        }
        let Some(marker) = read(&line.head(ci_marker::BYTES_MAX)) else { return false };
        let note = line.row().note.get_or_insert_default();
        match marker {
            CiMarker::Level(level) => note.level = Some(level),
            CiMarker::Time(time) => note.time = time.or(note.time),
            // A redrawn row does not open its group again.
            _ if marker.is_read_at_end() && note.group.is_some() => return true,
            _ => self.groups.apply(marker, &mut note.group),
        }
        if **note == Annotation::default() {
            line.row().note = None;
        }
        self.touch(self.row);
        true
    }

    /// Sets the time at which the program wrote this row, in milliseconds since 1970.
    pub(super) fn timestamp(&mut self, milliseconds: u64) {
        if self.page.is_hidden() {
            return;
        }
        self.current().row().note.get_or_insert_default().time = Some(milliseconds);
        self.touch(self.row);
    }
}
