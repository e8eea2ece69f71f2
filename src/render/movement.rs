//! Where the cursor goes.
//!
//! Lines do not wrap here. But a program that goes up or down counts the rows of a screen on which
//! they do: to it, a long line is several rows.

use super::charset::Charsets;
use super::line_start::{Continuable, LineStart};
use super::screen::{Saved, Screen};
use super::size::{ROWS_COUNTED, ScreenRow};
use super::{COLUMNS_MAX, cells, ci_marker};

impl Screen {
    /// Makes the rows above a heavy one final before the cursor leaves it. `down` is 1 if the row
    /// itself becomes final, too.
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
        // Leaving may have made rows final.
        self.row = target.max(self.top);
        self.screen_row = None;
        self.set_column(column);
    }

    pub(super) fn set_column(&mut self, column: usize) {
        self.column = (column > 0 || !self.current().is_empty()).then_some(column);
    }

    pub(super) fn newline(&mut self) {
        if self.page.alternate().is_some() {
            return;
        }
        self.finish_text();
        let end = self.continuable();
        self.page.set_in_status(false);
        // A stray shift to the line drawing set must not garble the next line, too.
        self.charsets = Charsets::default();
        self.read_marker(ci_marker::at_line_end);
        match end {
            None => self.go_below(true),
            end => self.next_row_of_line(end),
        }
        self.set_column(0);
        self.line_start = LineStart::Fresh;
    }

    /// Nothing follows the text of the line for now.
    pub(super) fn finish_text(&mut self) {
        if self.ascent.is_some() {
            self.end_ascent();
        }
        if !matches!(self.line_start, LineStart::Past) {
            self.end_line_start();
        }
        if self.returned || self.returns.is_some() {
            self.end_returns();
        }
        self.is_unbroken = false;
        self.screen_row = None;
    }

    /// Goes down to the next row, and keeps the present one within reach.
    fn next_row_of_line(&mut self, end: Option<Continuable>) {
        if self.row + 1 < self.lines.len() || self.push_line() {
            self.row += 1;
            self.continuable = end;
        }
    }

    /// Goes down to the next row, and makes it if there is none.
    pub(super) fn next_row(&mut self) {
        self.leave(1);
        if self.row + 1 < self.lines.len() || self.push_line() {
            self.row += 1;
        }
    }

    /// IND, VT and FF: down without a return.
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
        // A program that begins with a return writes one before each text, and redraws its row.
        self.is_unbroken &= !self.current().is_empty();
        if !matches!(self.line_start, LineStart::Past) {
            self.end_line_start();
        }
        if self.current().first_byte().is_some_and(ci_marker::may_begin_at_return)
            && self.read_marker(ci_marker::at_return)
        {
            // A program that writes these knows that it draws over them.
            self.forget_returns();
        }
        self.returned_from = self.column_number();
        self.go_back_to(0);
        self.returned = self.row + 1 == self.lines.len() && self.column.is_some();
    }

    /// Goes up so many rows of the screen, and to its first one at most.
    pub(super) fn up(&mut self, n: usize) {
        let top = self.highest_row(n);
        let within = self.screen_row();
        if n <= within {
            return self.go_to_screen_row(self.row, within - n);
        }
        let (mut row, mut left) = (self.row, n - within);
        while row > top {
            row -= 1;
            let height = self.height(row);
            if left <= height {
                return self.go_to_screen_row(row, height - left);
            }
            left -= height;
        }
        self.go_to_screen_row(row, 0);
    }

    /// The first row that can be reached by going up `n` rows. A program that goes up further than
    /// any screen is high means the top of its screen.
    fn highest_row(&mut self, n: usize) -> usize {
        let is_bounded = self.size.is_known() || n >= ROWS_COUNTED;
        if is_bounded { self.screen_top().min(self.row) } else { self.top }
    }

    /// Goes down so many rows of the screen, to the last row at most, as at the bottom of a screen.
    pub(super) fn down(&mut self, n: usize) {
        let within = self.screen_row();
        let (mut row, mut left) = (self.row, within.saturating_add(n));
        loop {
            let height = self.height(row);
            if left < height {
                return self.go_to_screen_row(row, left);
            }
            if row + 1 >= self.lines.len() {
                return self.go_to_screen_row(row, height - 1);
            }
            left -= height;
            row += 1;
        }
    }

    /// Goes to one of the rows of the screen that a line takes. The column on the screen stays.
    fn go_to_screen_row(&mut self, row: usize, number: usize) {
        let width = self.size.columns();
        let (before, column) = (self.screen_row(), self.column_number());
        let column = match self.screen_row {
            Some(ScreenRow::Behind(_)) => column,
            _ => column.saturating_sub(before * width),
        };
        let column = if self.size.is_known() { column.min(width - 1) } else { column };
        self.go_to_row(row);
        self.set_column(column + number * width);
        self.screen_row = (before > 0 || number > 0).then_some(ScreenRow::Nth(number));
    }

    pub(super) fn left(&mut self, n: usize) {
        let column = self.column_number();
        self.go_back_to(column.saturating_sub(n));
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
        self.page.set_in_status(false);
        let Some(saved) = self.saved.clone() else { return };
        self.go_to_row(saved.row);
        self.set_column(saved.column);
        self.pen = saved.pen;
        self.charsets = saved.charsets;
    }
}
