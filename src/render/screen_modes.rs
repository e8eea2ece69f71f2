//! Screen modes: absolute addresses, cleared screens and full-screen programs on a screen that has
//! no height.
//!
//! A page begins where a program first addresses a row by its number, or clears the screen. The
//! rows above it are history. Programs such as `apt` draw a status line below a scroll region and
//! remove it at their end, so it is never shown.

use super::line::{Line, Pen};
use super::screen::Screen;
use super::{COLUMNS_MAX, SCREEN_ROWS};

/// The most bytes of a full-screen program that are hidden. After them the log is shown again, even
/// if the program has not left the alternate screen. Without a limit, a killed program would hide
/// everything after it.
pub(super) const ALTERNATE_BYTES_MAX: u64 = 1024 * 1024;

/// The text of the row that replaces all output of a full-screen program.
const ALTERNATE_NOTE: &str = "⟨full-screen program⟩";

#[derive(Clone, Debug, Default)]
pub(super) struct ScreenModes {
    /// The line that is row 1 for absolute addresses.
    home: Option<usize>,
    /// The number of rows in the scroll region, if there is one. The rows below are a status line.
    scrolling: Option<usize>,
    /// The cursor is on the status line. Its former row is kept.
    in_status: bool,
    /// A full-screen program is running: the offset at which its output is shown again, and the pen
    /// to restore after it.
    alternate: Option<(u64, Pen)>,
}

impl ScreenModes {
    pub(super) fn home(&self) -> Option<usize> {
        self.home
    }

    /// Adjusts the line numbers after the first `lines` lines were dropped.
    pub(super) fn scroll(&mut self, lines: usize) {
        self.home = self.home.map(|home| home.saturating_sub(lines));
    }

    /// The offset at which the output of a full-screen program is shown again, while there is one.
    pub(super) fn alternate(&self) -> Option<u64> {
        self.alternate.as_ref().map(|(until, _)| *until)
    }

    /// Whether text is hidden now.
    pub(super) fn is_hidden(&self) -> bool {
        self.in_status || self.alternate.is_some()
    }

    pub(super) fn in_status(&self) -> bool {
        self.in_status
    }

    pub(super) fn set_in_status(&mut self, in_status: bool) {
        self.in_status = in_status;
    }

    /// DECSTBM. The region itself is not implemented, because a log scrolls as a whole. The cursor
    /// does not move.
    pub(super) fn set_region(&mut self, first: usize, last: usize) {
        self.scrolling = (first <= 1 && last > 1).then_some(last);
    }
}

impl Screen {
    /// Goes to a row and a column of the page, counted from 0.
    pub(super) fn address(&mut self, row: usize, column: usize) {
        self.address_row(row);
        if !self.page.in_status {
            self.address_column(column);
        }
    }

    /// Goes to a row of the page, counted from 0. It creates missing rows, at most one for each
    /// byte of the sequence.
    pub(super) fn address_row(&mut self, row: usize) {
        self.page.in_status = self.page.scrolling.is_some_and(|rows| row >= rows);
        if self.page.in_status {
            return;
        }
        if row < SCREEN_ROWS {
            self.size.need_rows(row + 1);
        }
        // The first rows of a page that is higher than the screen have left it.
        let home = match self.page.home {
            Some(home) if home < self.lines.len() => home.max(self.screen_top()),
            _ => self.open_page(),
        };
        self.page.home = Some(home);
        let target = home.saturating_add(row);
        while self.lines.len() <= target && self.push_line() {}
        self.go_to_row(target);
    }

    pub(super) fn address_column(&mut self, column: usize) {
        let column = column.min(COLUMNS_MAX - 1);
        self.size.need_columns(column + 1);
        if column < self.column_number() {
            self.go_back_to(column);
        } else {
            self.set_column(column);
        }
    }

    /// The row on which a new page begins: the last one if it is empty, else a new one.
    fn open_page(&mut self) -> usize {
        if !self.lines.last().is_some_and(Line::is_empty) {
            self.push_line();
        }
        self.lines.len() - 1
    }

    /// Clears the screen. Its rows become history, as in terminals with a scrollback, and a page
    /// begins below them.
    pub(super) fn clear(&mut self) {
        let column = self.column_number();
        let page = self.open_page();
        self.page.home = Some(page);
        self.top = self.top.max(page);
        self.row = page;
        self.set_column(column);
    }

    /// SU (scroll up): the rows of the screen move up and the cursor does not. So it moves down in
    /// the log.
    pub(super) fn scroll_up(&mut self, n: usize) {
        let column = self.column_number();
        for _ in 0..n.min(SCREEN_ROWS) {
            self.next_row();
            let home = self.page.home.map(|home| home.max(self.top) + 1);
            self.page.home = home.map(|home| home.min(self.lines.len() - 1));
        }
        self.set_column(column);
    }

    /// SD (scroll down): blank rows appear at the top of the page. Without a page nothing moves.
    pub(super) fn scroll_down(&mut self, n: usize) {
        let Some(home) = self.page.home.filter(|&home| home <= self.row) else { return };
        let (row, column) = (self.row, self.column_number());
        self.row = home.max(self.top);
        self.insert_rows(n);
        self.row = row;
        self.set_column(column);
    }

    /// RIS: resets everything except history.
    pub(super) fn reset(&mut self) {
        self.page.alternate = None;
        self.page.in_status = false;
        self.page.scrolling = None;
        self.clear();
        self.set_column(0);
        self.reset_pen();
        self.pen.link = None;
        self.saved = None;
    }

    pub(super) fn enter_alternate(&mut self) {
        if self.page.alternate.is_some() {
            return;
        }
        self.page.in_status = false;
        let page = self.open_page();
        self.go_to_row(page);
        self.column = None;
        let pen = std::mem::take(&mut self.pen);
        self.charsets = super::charset::Charsets::default();
        self.print(ALTERNATE_NOTE, self.place());
        self.newline();
        self.page.alternate = Some((self.fresh.1.saturating_add(ALTERNATE_BYTES_MAX), pen));
    }

    /// Restores the pen: the colours of a full-screen program end with it, even if it was killed.
    pub(super) fn leave_alternate(&mut self) {
        if let Some((_, pen)) = self.page.alternate.take() {
            self.pen = pen;
        }
    }
}
