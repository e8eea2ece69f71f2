//! Erasing, inserting and deleting cells and rows.

use super::cells::Cells;
use super::line::Line;
use super::screen::Screen;
use super::size::ScreenRow;
use super::style::Style;
use super::{COLUMNS_MAX, SCREEN_ROWS};

impl Screen {
    /// Edits the cells of the row. The closure returns whether it changed anything.
    fn edit(&mut self, edit: impl FnOnce(&mut Cells, usize) -> bool) {
        let column = self.column_number();
        if (self.column.is_some() || !self.erased().is_plain())
            && edit(self.current().cells(), column)
        {
            self.current().row().edited = true;
            self.touch(self.row);
        }
        self.set_column(column);
    }

    /// The style of erased cells: only the background. Erasing to the right edge leaves no cells,
    /// because a row has no right edge.
    fn erased(&self) -> Style {
        Style { bg: self.pen.style.bg, ..Style::default() }
    }

    pub(super) fn erase_row_after(&mut self) {
        match self.column {
            None => {}
            Some(0) => self.erase_row(),
            Some(column) => match self.current().truncate(column) {
                Some(true) => self.touch(self.row),
                Some(false) => {}
                None => self.edit(|cells, column| cells.truncate(column)),
            },
        }
    }

    pub(super) fn erase_row_before(&mut self) {
        self.column = Some(self.column_number());
        let style = self.erased();
        self.edit(|cells, column| {
            let painted = !style.is_plain() && cells.pad((column + 1).min(COLUMNS_MAX));
            cells.blank(0, column + 1, style) | painted
        });
    }

    pub(super) fn erase_row(&mut self) {
        let column = self.column_number();
        if let Some(ScreenRow::Nth(number)) = self.screen_row.filter(|_| column > 0)
            && column >= number * self.size.columns()
            && number > 0
        {
            // The rows of the screen above belong to the same line.
            self.column = Some(number * self.size.columns());
            self.edit(|cells, column| cells.truncate(column));
            return self.set_column(column);
        }
        if self.current().clear() {
            self.touch(self.row);
        }
        self.set_column(column);
    }

    pub(super) fn erase_chars(&mut self, n: usize) {
        let style = self.erased();
        self.edit(|cells, column| {
            let end = column.saturating_add(n);
            if style.is_plain() && end >= cells.len() {
                return cells.truncate(column);
            }
            let painted = cells.pad(end.min(COLUMNS_MAX));
            cells.blank(column, n, style) | painted
        });
    }

    pub(super) fn delete_chars(&mut self, n: usize) {
        self.edit(|cells, column| cells.delete(column, n));
    }

    pub(super) fn insert_chars(&mut self, n: usize) {
        let style = self.erased();
        self.edit(|cells, column| {
            if column < cells.len() {
                return cells.insert(column, n, COLUMNS_MAX, style);
            }
            // Blanks after the end are visible only with a background.
            !style.is_plain()
                && cells.pad(column.saturating_add(n).min(COLUMNS_MAX))
                && cells.blank(column, n, style)
        });
    }

    /// Erases from the cursor to the end: removes the rows below and opens this one again.
    pub(super) fn erase_after(&mut self) {
        self.erase_row_after();
        self.truncate_lines(self.row + 1);
    }

    /// Erases from the start of the page, or from the first row in reach, to the cursor.
    pub(super) fn erase_before(&mut self) {
        let first = self.page.home().unwrap_or(0).max(self.screen_top()).min(self.row);
        for row in first..self.row {
            if self.lines[row].clear() {
                self.touch(row);
            }
        }
        self.erase_row_before();
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

    /// IL (insert lines): contents move down. The rows keep their offsets, which must stay in
    /// order.
    pub(super) fn insert_rows(&mut self, n: usize) {
        // The last row will not be empty, so its offset must be that of an existing byte.
        self.fresh.1 = self.fresh.1.saturating_sub(1);
        for _ in 0..n.min(SCREEN_ROWS) {
            // A new row must neither move the cursor's row out of reach nor drop the last content.
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

    /// DL (delete lines): contents move up, and the last rows are removed.
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
}
