//! Where the cursor goes.

use super::charset::Charsets;
use super::line_start::{Continuable, LineStart};
use super::screen::{Saved, Screen};
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
        self.set_column(column);
    }

    pub(super) fn set_column(&mut self, column: usize) {
        self.column = (column > 0 || !self.current().is_empty()).then_some(column);
    }

    pub(super) fn newline(&mut self) {
        if self.page.alternate().is_some() {
            return;
        }
        self.end_line_start();
        if self.returned || self.returns.is_some() {
            self.end_returns();
        }
        let end = self.continuable();
        self.page.set_in_status(false);
        // A stray shift to the line drawing set must not garble the next line, too.
        self.charsets = Charsets::default();
        self.read_marker(ci_marker::at_line_end);
        match end {
            None => self.next_row(),
            end => self.next_row_of_line(end),
        }
        self.set_column(0);
        self.line_start = LineStart::Fresh;
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
        self.end_line_start();
        if self.read_marker(ci_marker::at_return) {
            // A program that writes these knows that it draws over them.
            self.forget_returns();
        }
        self.set_column(0);
        self.returned = self.row + 1 == self.lines.len() && self.column.is_some();
    }

    pub(super) fn up(&mut self, n: usize) {
        self.go_to_row(self.row.saturating_sub(n));
    }

    /// Goes down, to the last row at most, as at the bottom of a screen.
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
        self.page.set_in_status(false);
        let Some(saved) = self.saved.clone() else { return };
        self.go_to_row(saved.row);
        self.set_column(saved.column);
        self.pen = saved.pen;
        self.charsets = saved.charsets;
    }
}
