//! The rows that the cursor can reach, and edits at the cursor.
//!
//! The screen has no height: it grows with each newline, and rows that are more than
//! [`SCREEN_ROWS`] above its end are final. The last line is always open, every other one has ended
//! or was cut, and their offsets increase.

use crate::encoding::Place;

use super::annotation::Annotation;
use super::charset::Charsets;
use super::ci_marker;
use super::group::Groups;
use super::line::{Line, Pen};
use super::screen_modes::ScreenModes;
use super::{COLUMNS_MAX, Patch, SCREEN_ROWS, cells};

#[derive(Clone, Debug)]
pub(super) struct Saved {
    row: usize,
    column: usize,
    pen: Pen,
    charsets: Charsets,
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
    last_char: Option<char>,
    pub(super) groups: Groups,
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
            groups: Groups::default(),
            fresh: (at, at),
        }
    }

    /// Sets the range of bytes that are processed next.
    pub(super) fn locate(&mut self, start: u64, end: u64) {
        self.fresh = (start, end);
    }

    /// The offset of the first byte that is being processed.
    pub(super) fn place(&self) -> Place<'static> {
        Place::at(self.fresh.0)
    }

    /// The changes since the last patch.
    pub(super) fn patch(&mut self, next: u64) -> Patch<'_> {
        let blank = self.lines.last().is_some_and(Line::is_empty);
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
        is_last && is_new && self.charsets.is_ascii() && !self.page.is_hidden()
    }

    /// Sets the offset of the last line, which is empty.
    pub(super) fn begin_at(&mut self, offset: u64) {
        if let Some(line) = self.lines.last_mut() {
            line.row().offset = offset;
        }
        self.locate(offset, offset);
    }

    /// Drops the lines that have become final and were in a patch.
    pub(super) fn settle(&mut self) {
        debug_assert!(self.top <= self.row && self.row < self.lines.len());
        let top = self.top.min(self.row);
        self.lines.drain(..top);
        self.row -= top;
        self.page.scroll(top);
        if let Some(saved) = &mut self.saved {
            saved.row = saved.row.saturating_sub(top);
        }
        self.top = 0;
        self.dirty = usize::MAX;
    }

    pub(super) fn touch(&mut self, row: usize) {
        self.dirty = self.dirty.min(row);
    }

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
        self.lines.push(Line::new(offset));
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
        // REP does not repeat a tab.
        self.last_char = text.chars().rfind(|&ch| ch != '\t').or(self.last_char);
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

    fn write(&mut self, text: &str, at: Place<'_>) {
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

    // Movement

    /// Makes the rows above a heavy row final before the cursor leaves it. If `down` is 1, the row
    /// itself becomes final as well.
    pub(super) fn leave(&mut self, down: usize) {
        if self.row >= self.top && self.current().is_heavy() {
            self.top = self.top.max(self.row + down);
        }
    }

    pub(super) fn column_number(&self) -> usize {
        self.column.unwrap_or_else(|| self.lines[self.row].columns())
    }

    pub(super) fn go_to_row(&mut self, row: usize) {
        let column = self.column_number();
        let target = row.clamp(self.top, self.lines.len() - 1);
        if target != self.row {
            self.leave(usize::from(target > self.row));
        }
        // `leave` may have made rows final.
        self.row = target.max(self.top);
        self.set_column(column);
    }

    pub(super) fn set_column(&mut self, column: usize) {
        self.column = (column > 0 || !self.current().is_empty()).then_some(column);
    }

    pub(super) fn newline(&mut self) {
        if self.page.alternate().is_some() {
            return;
        }
        self.page.leave_status();
        // A stray shift to the line drawing set must not garble more than one line.
        self.charsets = Charsets::default();
        self.read_marker(ci_marker::at_line_end);
        self.next_row();
        self.set_column(0);
    }

    /// Moves the cursor to the next row, and creates it if there is none.
    pub(super) fn next_row(&mut self) {
        self.leave(1);
        if self.row + 1 < self.lines.len() || self.push_line() {
            self.row += 1;
        }
    }

    /// IND, VT and FF: down without a carriage return.
    pub(super) fn index(&mut self) {
        if self.page.is_hidden() {
            return;
        }
        let column = self.column_number();
        self.next_row();
        self.set_column(column);
    }

    pub(super) fn carriage_return(&mut self) {
        if self.page.is_hidden() || self.column == Some(0) {
            return;
        }
        self.read_marker(ci_marker::at_return);
        self.set_column(0);
    }

    // Annotations

    /// Looks for a marker in the line that the cursor is about to leave, and annotates the row.
    fn read_marker(&mut self, read: fn(&str) -> Option<ci_marker::CiMarker>) {
        let line = &mut self.lines[self.row];
        if line.continues || !line.first_byte().is_some_and(ci_marker::may_begin) {
            return;
        }
        let Some(marker) = read(&line.head(ci_marker::BYTES_MAX)) else { return };
        let note = line.row().note.get_or_insert_default();
        match marker {
            ci_marker::CiMarker::Level(level) => note.level = Some(level),
            // A redrawn row does not open its group again.
            _ if marker.is_read_at_end() && note.group.is_some() => return,
            _ => self.groups.apply(marker, &mut note.group),
        }
        if **note == Annotation::default() {
            line.row().note = None;
        }
        self.touch(self.row);
    }

    /// Sets the time at which the program wrote this row, in milliseconds since 1970.
    pub(super) fn timestamp(&mut self, milliseconds: u64) {
        if self.page.is_hidden() {
            return;
        }
        self.current().row().note.get_or_insert_default().time = Some(milliseconds);
        self.touch(self.row);
    }

    pub(super) fn up(&mut self, n: usize) {
        self.go_to_row(self.row.saturating_sub(n));
    }

    /// Moves the cursor down, at most to the last row, as at the bottom of a screen.
    pub(super) fn down(&mut self, n: usize) {
        self.go_to_row(self.row.saturating_add(n));
    }

    pub(super) fn left(&mut self, n: usize) {
        let column = self.column_number();
        self.set_column(column.saturating_sub(n));
    }

    pub(super) fn right(&mut self, n: usize) {
        let column = self.column_number();
        self.set_column(column.max(column.saturating_add(n).min(COLUMNS_MAX - 1)));
    }

    /// CHT and CBT: over `n` tab stops, forward or back.
    pub(super) fn tab(&mut self, n: usize, back: bool) {
        let column = self.column_number();
        let stop = cells::TAB_COLUMNS;
        match back {
            true => self.set_column(column.div_ceil(stop).saturating_sub(n) * stop),
            false => self.right((column / stop).saturating_add(n).saturating_mul(stop) - column),
        }
    }

    pub(super) fn save(&mut self) {
        self.saved = Some(Saved {
            row: self.row,
            column: self.column_number(),
            pen: self.pen.clone(),
            charsets: self.charsets,
        });
    }

    pub(super) fn restore(&mut self) {
        self.page.leave_status();
        let Some(saved) = self.saved.clone() else { return };
        self.go_to_row(saved.row);
        self.set_column(saved.column);
        self.pen = saved.pen;
        self.charsets = saved.charsets;
    }
}
