//! The rows that a cursor can still reach, and what it does to them.
//!
//! The screen has no height: it grows with each newline, and rows that are more than [`SCREEN_ROWS`] above its end are final.
//! The last line is always open, every other one has ended or was cut, and their offsets increase.

use super::line::{Line, Pen};
use super::{COLUMNS_MAX, Patch, SCREEN_ROWS, cells};

/// How many bytes a full-screen program may write before the log is shown again although it never left its screen.
/// Without a limit, a program that was killed would hide all that follows.
pub(super) const ALTERNATE_BYTES_MAX: u64 = 1024 * 1024;

/// The row that stands for all that a full-screen program drew.
const ALTERNATE_NOTE: &str = "⟨full-screen program⟩";

#[derive(Clone, Debug)]
struct Saved {
    row: usize,
    column: usize,
    pen: Pen,
}

#[derive(Clone, Debug)]
pub(super) struct Screen {
    lines: Vec<Line>,
    /// The first line that can still change.
    top: usize,
    /// The first line that was changed since the last patch.
    dirty: usize,
    /// The line that absolute addressing calls the first.
    home: Option<usize>,
    row: usize,
    /// None behind the last character of the row, which spares measuring it.
    column: Option<usize>,
    pub(super) pen: Pen,
    saved: Option<Saved>,
    last_char: Option<char>,
    /// The offset at which a full-screen program is given up, while there is one.
    alternate: Option<u64>,
    /// The offsets that new rows may have: those of the bytes that are being carried out, and of the byte after them.
    fresh: (u64, u64),
}

impl Screen {
    pub(super) fn new(at: u64) -> Self {
        Self {
            lines: vec![Line::new(at)],
            top: 0,
            dirty: usize::MAX,
            home: None,
            row: 0,
            column: None,
            pen: Pen::default(),
            saved: None,
            last_char: None,
            alternate: None,
            fresh: (at, at),
        }
    }

    /// Says which bytes are carried out next: those from `start` up to `end`.
    pub(super) fn locate(&mut self, start: u64, end: u64) {
        self.fresh = (start, end);
    }

    /// The offset of the first byte that is being carried out.
    pub(super) fn offset(&self) -> u64 {
        self.fresh.0
    }

    /// What changed since the last patch. Rows that have become final are handed over and forgotten.
    pub(super) fn take_patch(&mut self, next: u64) -> Patch {
        let mut visible = self.lines.len();
        if self.lines.last().is_some_and(Line::is_empty) {
            visible -= 1;
        }
        let from = self.lines.get(self.dirty).map_or(next, Line::offset);
        self.lines.iter_mut().for_each(Line::flatten);
        if self.column.is_some_and(|column| column == self.lines[self.row].columns()) {
            self.column = None;
        }
        debug_assert!(self.top <= self.row && self.row < self.lines.len());
        let top = self.top.min(self.row);
        let dirty = self.dirty.min(visible);
        let kept = dirty.max(top);
        let mut rows = Vec::with_capacity(visible - dirty);
        rows.extend(self.lines.drain(..top).skip(dirty).map(Line::into_row));
        rows.extend(self.lines.iter().take(visible - top).skip(kept - top).map(Line::to_row));
        self.row -= top;
        self.home = self.home.map(|home| home.saturating_sub(top));
        if let Some(saved) = &mut self.saved {
            saved.row = saved.row.saturating_sub(top);
        }
        self.top = 0;
        self.dirty = usize::MAX;
        Patch { from, next, rows }
    }

    fn touch(&mut self, row: usize) {
        self.dirty = self.dirty.min(row);
    }

    fn current(&mut self) -> &mut Line {
        &mut self.lines[self.row]
    }

    /// Adds an open line below the last, if an offset for it is left: one sequence cannot make more rows than it has bytes.
    fn push_line(&mut self) -> bool {
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

    /// Shows text without control characters; tabs may be in it. `at` is the offset of its first byte.
    pub(super) fn print(&mut self, text: &str, at: u64) {
        if self.alternate.is_some() || text.is_empty() {
            return;
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
                let done = text.len() - rest.len();
                self.wrap(at + u64::try_from(done).unwrap_or_default());
            }
        }
        self.last_char = text.chars().next_back();
    }

    /// Cuts the row, which is full, and goes on in the next.
    fn wrap(&mut self, at: u64) {
        self.locate(at, at.max(self.lines[self.row].offset() + 1));
        self.leave(1);
        if self.row + 1 == self.lines.len() {
            self.current().row().cut = true;
            self.push_line();
            self.column = None;
        } else {
            self.column = Some(0);
        }
        self.row += 1;
    }

    /// Shows text in the middle of a row, character by character, up to the first that no longer fits.
    fn overwrite<'t>(&mut self, text: &'t str) -> &'t str {
        let mut style = self.pen.style;
        let line = &mut self.lines[self.row];
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
                // A tab moves over what is there.
                column += width;
                continue;
            }
            let mark = width == 0 && column > 0;
            let looks = if mark { line.cells().last_style().unwrap_or_default() } else { style };
            if column >= len && !line.takes(ch.len_utf8() + (column - len), looks) {
                break rest;
            }
            let edited = if mark {
                // Marks that pile up on one character are bounded as the row is.
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
    pub(super) fn repeat(&mut self, n: usize, at: u64) {
        if let Some(ch) = self.last_char {
            let mut buffer = [0; 4];
            let text = ch.encode_utf8(&mut buffer);
            (0..n.min(COLUMNS_MAX)).for_each(|_| self.print(text, at));
        }
    }

    // Movement

    /// Settles that rows above a heavy one are final, before the cursor leaves it. `down` is 1 if the row itself is, too.
    fn leave(&mut self, down: usize) {
        if self.row >= self.top && self.current().is_heavy() {
            self.top = self.top.max(self.row + down);
        }
    }

    fn column_number(&self) -> usize {
        self.column.unwrap_or_else(|| self.lines[self.row].columns())
    }

    fn go_to_row(&mut self, row: usize) {
        let column = self.column_number();
        let target = row.clamp(self.top, self.lines.len() - 1);
        if target != self.row {
            self.leave(usize::from(target > self.row));
        }
        // Leaving may have made rows final.
        self.row = target.max(self.top);
        self.set_column(column);
    }

    fn set_column(&mut self, column: usize) {
        self.column = (column > 0 || !self.current().is_empty()).then_some(column);
    }

    pub(super) fn newline(&mut self) {
        if self.alternate.is_some() {
            return;
        }
        self.leave(1);
        if self.row + 1 < self.lines.len() || self.push_line() {
            self.row += 1;
        }
        self.carriage_return();
    }

    pub(super) fn carriage_return(&mut self) {
        if self.alternate.is_none() {
            self.set_column(0);
        }
    }

    pub(super) fn up(&mut self, n: usize) {
        self.go_to_row(self.row.saturating_sub(n));
    }

    /// Down to the last row and no further, as at the bottom of a screen.
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

    pub(super) fn address_column(&mut self, column: usize) {
        self.set_column(column.min(COLUMNS_MAX - 1));
    }

    /// Goes to a row of the page, counted from 0; rows are made as far as the sequence has bytes to name them.
    pub(super) fn address_row(&mut self, row: usize) {
        let home = match self.home {
            Some(home) if home < self.lines.len() => home.max(self.top),
            _ => self.open_page(),
        };
        self.home = Some(home);
        let target = home.saturating_add(row);
        while self.lines.len() <= target && self.push_line() {}
        self.go_to_row(target);
    }

    /// The row on which a new page begins: the last one if it is empty, else a new one.
    fn open_page(&mut self) -> usize {
        if !self.lines.last().is_some_and(Line::is_empty) {
            self.push_line();
        }
        self.lines.len() - 1
    }

    pub(super) fn save(&mut self) {
        self.saved =
            Some(Saved { row: self.row, column: self.column_number(), pen: self.pen.clone() });
    }

    pub(super) fn restore(&mut self) {
        let Some(saved) = self.saved.clone() else { return };
        self.go_to_row(saved.row);
        self.set_column(saved.column);
        self.pen = saved.pen;
    }

    // Erasing and shifting

    /// Carries out an edit of the row's cells that says whether it changed anything.
    fn edit(&mut self, edit: impl FnOnce(&mut super::cells::Cells, usize) -> bool) {
        let column = self.column_number();
        if self.column.is_some() && edit(self.current().cells(), column) {
            self.current().row().edited = true;
            self.touch(self.row);
        }
        self.set_column(column);
    }

    pub(super) fn erase_row_after(&mut self) {
        match self.column {
            None => {}
            Some(0) => self.erase_row(),
            Some(_) => self.edit(|cells, column| cells.truncate(column)),
        }
    }

    pub(super) fn erase_row_before(&mut self) {
        self.column = Some(self.column_number());
        self.edit(|cells, column| cells.blank(0, column + 1));
    }

    pub(super) fn erase_row(&mut self) {
        let column = self.column_number();
        if self.current().clear() {
            self.touch(self.row);
        }
        self.set_column(column);
    }

    pub(super) fn erase_chars(&mut self, n: usize) {
        self.edit(|cells, column| match column.saturating_add(n) < cells.len() {
            true => cells.blank(column, n),
            false => cells.truncate(column),
        });
    }

    pub(super) fn delete_chars(&mut self, n: usize) {
        self.edit(|cells, column| cells.delete(column, n));
    }

    pub(super) fn insert_chars(&mut self, n: usize) {
        self.edit(|cells, column| cells.insert(column, n, COLUMNS_MAX));
    }

    /// Erases from the cursor to the end: the rows below are gone, and this one is open again.
    pub(super) fn erase_after(&mut self) {
        self.erase_row_after();
        self.truncate_lines(self.row + 1);
    }

    /// Erases from the beginning of the page, or of what can be reached, to the cursor.
    pub(super) fn erase_before(&mut self) {
        let first = self.home.unwrap_or(0).max(self.top);
        for row in first..self.row {
            if self.lines[row].clear() {
                self.touch(row);
            }
        }
        self.erase_row_before();
    }

    /// A cleared screen becomes history, as in terminals with a scrollback: what was there is final, and a page begins below it.
    pub(super) fn clear(&mut self) {
        let column = self.column_number();
        let page = self.open_page();
        self.home = Some(page);
        self.top = self.top.max(page);
        self.row = page;
        self.set_column(column);
    }

    fn truncate_lines(&mut self, len: usize) {
        if len < self.lines.len() {
            self.lines.truncate(len);
            self.touch(len - 1);
            let last = self.lines[len - 1].row();
            last.ended = false;
            last.cut = false;
        }
    }

    /// IL: contents move down. Offsets stay in their order, so it is the contents that move and not the rows.
    pub(super) fn insert_rows(&mut self, n: usize) {
        // The last row will not be empty, so it must be named by a byte that is already here.
        self.fresh.1 = self.fresh.1.saturating_sub(1);
        for _ in 0..n.min(SCREEN_ROWS) {
            // A row more may push neither the cursor's row out of reach nor content off the end.
            let room = self.lines.len() - self.row < SCREEN_ROWS;
            let blank = self.lines.last().is_some_and(Line::is_empty) || (room && self.push_line());
            if !blank {
                break;
            }
            for to in (self.row + 1..self.lines.len()).rev() {
                self.move_content(to - 1, to);
            }
        }
        self.set_column(0);
    }

    /// DL: contents move up, and the last rows are gone.
    pub(super) fn delete_rows(&mut self, n: usize) {
        let n = n.min(self.lines.len() - self.row);
        for to in self.row..self.lines.len() - n {
            self.move_content(to + n, to);
        }
        let len = self.lines.len() - n;
        if len == self.row {
            self.column = Some(0);
            self.erase_row();
        }
        self.truncate_lines(len.max(self.row + 1));
        self.set_column(0);
    }

    fn move_content(&mut self, from: usize, to: usize) {
        let (low, high) = (from.min(to), from.max(to));
        let (head, tail) = self.lines.split_at_mut(high);
        let (a, b) = (&mut head[low], &mut tail[0]);
        if from < to {
            b.take_content(a)
        } else {
            a.take_content(b)
        }
        self.touch(low);
    }

    // The alternate screen

    pub(super) fn alternate(&self) -> Option<u64> {
        self.alternate
    }

    pub(super) fn enter_alternate(&mut self) {
        if self.alternate.is_some() {
            return;
        }
        let page = self.open_page();
        self.go_to_row(page);
        self.column = None;
        let pen = std::mem::take(&mut self.pen);
        self.print(ALTERNATE_NOTE, self.fresh.0);
        self.pen = pen;
        self.newline();
        self.alternate = Some(self.fresh.1.saturating_add(ALTERNATE_BYTES_MAX));
    }

    pub(super) fn leave_alternate(&mut self) {
        self.alternate = None;
    }
}
