//! The size of the screen that a program believes in.
//!
//! A log says nothing of it, but a program that counts rows of the screen relies on it: a text of
//! 100 columns takes two rows of a screen of 80, and the program goes up a row to erase it. Where
//! nothing says more, a screen has 80 columns and 24 rows, since a small screen lets a program reach
//! fewer lines of the log. It is larger once the program does what needs more.

use super::screen::Screen;
use super::{COLUMNS_MAX, SCREEN_ROWS};

/// The number of columns and rows of a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// The columns of a row.
    pub columns: usize,
    /// The rows.
    pub rows: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// The widest screen. A larger number in a sequence means the last column.
const REAL_COLUMNS_MAX: usize = 400;

/// The narrowest screen.
pub(super) const WIDTH_MIN: usize = 40;

/// No program counts so many rows. One that goes up further means the top of its screen.
pub(super) const ROWS_COUNTED: usize = 100;

/// The size that a program is believed to know.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ScreenSize {
    size: Size,
    /// It was said, and nothing that the program does can change it.
    is_known: bool,
    /// A program went up as many rows as its lines take on a screen of so many columns.
    has_wrapped: bool,
}

impl ScreenSize {
    pub(super) fn known(size: Size) -> Self {
        let columns = size.columns.clamp(1, COLUMNS_MAX);
        let size = Size { columns, rows: size.rows.clamp(1, SCREEN_ROWS) };
        Self { size, is_known: true, has_wrapped: false }
    }

    pub(super) fn is_known(self) -> bool {
        self.is_known
    }

    pub(super) fn columns(self) -> usize {
        self.size.columns
    }

    pub(super) fn rows(self) -> usize {
        self.size.rows
    }

    /// Whether a program was seen to count the rows that its lines take on this screen.
    pub(super) fn has_wrapped(self) -> bool {
        self.has_wrapped
    }

    /// A program goes up as on a screen of so many columns, where its lines wrap or do not.
    pub(super) fn believe(&mut self, columns: usize, has_wrapped: bool) {
        if !self.is_known && columns <= REAL_COLUMNS_MAX {
            self.size.columns = columns;
            self.has_wrapped = has_wrapped;
        }
    }

    /// A program asks for a screen of this size; 0 stands for the present measure.
    pub(super) fn ask_for(&mut self, columns: usize, rows: usize) {
        if (1..=COLUMNS_MAX).contains(&columns) {
            self.believe(columns.max(WIDTH_MIN), false);
        }
        if rows > 0 && !self.is_known {
            self.size.rows = rows.min(SCREEN_ROWS);
        }
    }

    /// The program needs so many columns.
    pub(super) fn need_columns(&mut self, columns: usize) {
        if columns > self.size.columns {
            self.believe(columns, false);
        }
    }

    /// The program needs so many rows.
    pub(super) fn need_rows(&mut self, rows: usize) {
        if !self.is_known {
            self.size.rows = self.size.rows.max(rows).min(SCREEN_ROWS);
        }
    }
}

/// How many rows of a screen a text takes.
pub(super) fn height(text_columns: usize, columns: usize) -> usize {
    text_columns.div_ceil(columns).max(1)
}

/// Where the cursor is among the rows of the screen that its line takes, when its column does not
/// say so.
#[derive(Clone, Copy, Debug)]
pub(super) enum ScreenRow {
    /// It went back to the start of the row in which the text had so many columns.
    Behind(usize),
    /// It went up or down to the row with this number. The first one is 0.
    Nth(usize),
}

impl Screen {
    /// How many rows of the screen a line takes.
    pub(super) fn height(&mut self, row: usize) -> usize {
        let columns = self.size.columns();
        height(self.lines[row].columns_over(columns), columns)
    }

    /// The number of the row of the screen in which the cursor is, from the start of its line.
    pub(super) fn screen_row(&mut self) -> usize {
        match self.screen_row {
            Some(ScreenRow::Nth(number)) => number,
            _ => self.written_columns().saturating_sub(1) / self.size.columns(),
        }
    }

    /// How many columns of its line lie before the cursor, or lay there before it went back.
    pub(super) fn written_columns(&mut self) -> usize {
        match (self.screen_row, self.column) {
            (Some(ScreenRow::Behind(columns)), _) | (_, Some(columns)) => columns,
            (_, None) => {
                let width = self.size.columns().min(WIDTH_MIN);
                self.lines[self.row].columns_over(width)
            }
        }
    }

    /// The first line on the screen, whose last row holds the last line.
    pub(super) fn screen_top(&mut self) -> usize {
        let (mut row, mut rows) = (self.lines.len(), 0);
        while row > self.top {
            rows += self.height(row - 1);
            if rows > self.size.rows() {
                break;
            }
            row -= 1;
        }
        row.min(self.lines.len() - 1)
    }

    /// The cursor goes back within its line, and stays in its row of the screen.
    pub(super) fn go_back_to(&mut self, column: usize) {
        let columns = self.written_columns();
        if !matches!(self.screen_row, Some(ScreenRow::Nth(_))) && columns > WIDTH_MIN {
            self.screen_row = Some(ScreenRow::Behind(columns));
        }
        self.set_column(column);
    }

    /// Text follows. If the cursor went back and not up, the program takes its line for one row,
    /// however long the line was.
    pub(super) fn end_screen_row(&mut self) {
        if let Some(ScreenRow::Behind(columns)) = self.screen_row.take() {
            self.size.need_columns(columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Size;
    use crate::render::{Row, Terminal};

    fn texts(columns: usize, log: &str) -> Vec<String> {
        let mut terminal = Terminal::with_size(Size { columns, rows: 24 }, 0);
        terminal.feed(log.as_bytes()).rows().map(|row| row.text().to_owned()).collect()
    }

    #[test]
    fn characters_of_several_bytes_take_their_columns_of_a_narrow_screen() {
        for (log, expected) in [
            ("a\néééééééééé\x1b[A\rX", ["X", "éééééééééé"]),
            ("a\néééééééééé\x1b[A\x1b[2K\rX", ["X", "éééééééééé"]),
            ("a\néééééééééééééé\x1b[A\rX", ["a", "Xééééééééééééé"]),
        ] {
            assert_eq!(texts(10, log), expected, "{log:?}");
        }
    }

    #[test]
    fn a_way_up_leads_to_the_last_row_of_a_line_that_wraps() {
        for (log, expected) in [
            ("0123456789abcde\n\x1b[AX", "0123456789Xbcde"),
            ("0123456789abcde\n\x1b[A\x1b[2CX", "0123456789abXde"),
            ("0123456789abcde\n\x1b[A\x1b[2K", "0123456789"),
            ("0123456789abcde\n\x1b[2AX", "X123456789abcde"),
        ] {
            assert_eq!(texts(10, log), [expected], "{log:?}");
        }
    }

    #[test]
    fn a_way_up_ends_at_the_top_of_a_screen_that_is_known_or_meant() {
        let mut terminal = Terminal::with_size(Size { columns: 80, rows: 3 }, 0);
        let patch = terminal.feed(b"a\nb\nc\nd\x1b[3AX");
        assert_eq!(patch.rows().map(Row::text).collect::<Vec<_>>(), ["a", "bX", "c", "d"]);
        let lines: String = (0..30).map(|line| format!("{line}\n")).collect();
        for (up, expected) in [(29, 1), (100, 7)] {
            let mut terminal = Terminal::new(0);
            let patch = terminal.feed(format!("{lines}\x1b[{up}AX").as_bytes());
            let row = patch.rows().position(|row| row.text().starts_with('X'));
            assert_eq!(row, Some(expected), "{up} rows up");
        }
    }

    #[test]
    fn a_line_is_given_back_that_a_narrow_screen_did_not_hold() {
        let [x, y, z] = ["x", "y", "z"].map(|text| text.repeat(70));
        let log = format!("a\nb\n{x}\r\x1b[A\x1b[J{y}\r\x1b[A\x1b[J{z}");
        let mut terminal = Terminal::new(0);
        let patch = terminal.feed(log.as_bytes());
        let rows: Vec<&str> = patch.rows().map(Row::text).collect();
        assert_eq!(rows, ["a", "b", &*z]);
    }
}
