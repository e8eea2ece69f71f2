//! Ways up, to lines that are drawn again.
//!
//! A program that redraws its last lines goes up to the first of them, and may erase rows on its
//! way. It counts rows of the screen, so that the number of lines that it goes over depends on the
//! width of the screen. The whole way tells that width better than its first step. So the steps are
//! kept until the program writes, and carried out then.

use super::group::Groups;
use super::line::Line;
use super::screen::Screen;
use super::size::{ROWS_COUNTED, ScreenRow, ScreenSize, WIDTH_MIN, height};
use super::style::Style;

/// The most steps of one way. More are carried out before the program writes.
const STEPS_MAX: usize = 256;

/// Widths that screens often have.
const COMMON_WIDTHS: [usize; 12] = [200, 160, 150, 140, 132, 120, 110, 100, 90, 80, 72, 60];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Up(usize),
    Return,
    Column(usize),
    Left(usize),
    EraseRowAfter,
    EraseRowBefore,
    EraseRow,
    EraseAfter,
}

/// A way up that is not carried out yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Ascent {
    /// With the style of the pen, whose background an erasing leaves.
    steps: Vec<(Step, Style)>,
    /// The rows before the way, if it was carried out to be shown.
    before: Option<Box<Before>>,
}

/// Rows are counted from the first one that can change, since final ones are dropped meanwhile.
#[derive(Clone, Debug)]
struct Before {
    /// The lines that can change.
    lines: Vec<Line>,
    /// The first row that the shown way has changed.
    changed: usize,
    row: usize,
    column: Option<usize>,
    screen_row: Option<ScreenRow>,
    landing: Option<usize>,
    size: ScreenSize,
    covered: Option<Covered>,
    groups: Groups,
}

/// Lines that a program may have drawn over because its screen is narrower than was believed.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    /// The row of the first.
    row: usize,
    lines: Vec<Line>,
    /// The offset of the line from which the program went up.
    offset: u64,
}

impl Covered {
    /// The most lines that are kept.
    const LINES_MAX: usize = 4;

    /// The first lines were forgotten. None if these were among them.
    pub(super) fn scroll(self, lines: usize) -> Option<Self> {
        Some(Self { row: self.row.checked_sub(lines)?, ..self })
    }

    /// The same below so many more lines.
    fn below(self, lines: usize) -> Self {
        Self { row: self.row + lines, ..self }
    }

    /// The memory of the lines, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.lines.iter().map(Line::weight).sum()
    }
}

impl Ascent {
    /// How many rows of the screen it goes up.
    fn rows(&self) -> usize {
        let up = |step: &(Step, Style)| if let Step::Up(rows) = step.0 { rows } else { 0 };
        self.steps.iter().map(up).fold(0, usize::saturating_add)
    }

    /// The memory that it takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        let lines = |before: &Before| before.lines.iter().map(Line::weight).sum::<usize>();
        self.before.as_deref().map_or(0, lines) + self.steps.capacity() * size_of::<(Step, Style)>()
    }
}

impl Screen {
    /// Takes a step of a way up, or carries it out if none has begun.
    pub(super) fn step(&mut self, step: Step) {
        if self.ascent.is_none() {
            let begins = matches!(step, Step::Up(_)) && !self.current().is_heavy();
            if !begins {
                return self.carry_out(step);
            }
        }
        self.hide_ascent();
        let ascent = self.ascent.get_or_insert_default();
        match (ascent.steps.last_mut(), step) {
            (Some((Step::Up(rows), _)), Step::Up(more)) => *rows = rows.saturating_add(more),
            _ => ascent.steps.push((step, self.pen.style)),
        }
        if ascent.steps.len() >= STEPS_MAX {
            self.end_ascent();
        }
    }

    /// The way up has ended: carries it out.
    pub(super) fn end_ascent(&mut self) {
        self.hide_ascent();
        let Some(ascent) = self.ascent.take() else { return };
        self.climb(&ascent);
    }

    /// Carries the way out as far as it is known, until more of it comes.
    pub(super) fn show_ascent(&mut self) {
        let Some(mut ascent) = self.ascent.take_if(|ascent| ascent.before.is_none()) else {
            return;
        };
        let (top, dirty) = (self.top, self.replace_dirty(usize::MAX));
        let mut before = Box::new(Before {
            lines: self.lines.get(top..).unwrap_or_default().to_vec(),
            changed: usize::MAX,
            row: self.row - top,
            column: self.column,
            screen_row: self.screen_row,
            landing: self.landing.and_then(|landing| landing.checked_sub(top)),
            size: self.size,
            covered: self.covered.clone().and_then(|covered| covered.scroll(top)),
            groups: self.groups.clone(),
        });
        self.climb(&ascent);
        // Nothing becomes final that the rest of the way may still change.
        self.top = top;
        let changed = self.replace_dirty(dirty);
        self.touch(changed);
        before.changed = changed.saturating_sub(top);
        ascent.before = Some(before);
        self.ascent = Some(ascent);
    }

    /// Goes back to what was before the way up was shown.
    fn hide_ascent(&mut self) {
        let Some(before) = self.ascent.as_mut().and_then(|ascent| ascent.before.take()) else {
            return;
        };
        self.touch(before.changed.saturating_add(self.top));
        self.lines.truncate(self.top);
        self.lines.extend(before.lines);
        self.row = self.top + before.row;
        self.column = before.column;
        self.screen_row = before.screen_row;
        self.landing = before.landing.map(|landing| landing + self.top);
        self.size = before.size;
        self.covered = before.covered.map(|covered| covered.below(self.top));
        self.groups = before.groups;
    }

    fn climb(&mut self, ascent: &Ascent) {
        self.returned = false;
        let rows = ascent.rows();
        if rows < ROWS_COUNTED {
            self.size.need_rows(rows + 1);
        }
        if !self.size.is_known() {
            self.prepare(rows);
        }
        let style = self.pen.style;
        for &(step, style) in &ascent.steps {
            self.pen.style = style;
            self.carry_out(step);
        }
        self.pen.style = style;
        self.landing = Some(self.row);
    }

    /// Finds out about the screen of a program that goes up so many rows.
    fn prepare(&mut self, rows: usize) {
        // Most programs go up as many rows as they have drawn lines.
        let landing = self.landing.filter(|&landing| landing >= self.top);
        if let Some(landing) = landing.filter(|&landing| landing + rows == self.row)
            && !self.size.has_wrapped()
        {
            let width = self.size.columns();
            let lines = self.lines[landing..self.row].iter_mut();
            let widest = lines.map(|line| line.columns_over(width)).max().unwrap_or(0);
            let cursor = self.written_columns();
            self.size.need_columns(widest.max(cursor));
            self.covered = None;
            return;
        }
        let way = self.way(rows);
        let (columns, has_wrapped) = way.width();
        if has_wrapped {
            self.uncover();
        }
        self.size.believe(columns, has_wrapped);
        self.cover(&way);
    }

    /// Keeps the lines over which the program goes, if they may not be its own.
    fn cover(&mut self, way: &Way) {
        self.covered = None;
        let start = self.row - way.rows.min(self.row - self.top);
        let is_sure = way.landing.is_some() || self.size.has_wrapped();
        let covers = (1..=Covered::LINES_MAX).contains(&(self.row - start));
        if is_sure || !covers || way.cursor <= WIDTH_MIN {
            return;
        }
        let lines = self.lines[start..self.row].to_vec();
        let offset = self.lines[self.row].offset();
        self.covered = Some(Covered { row: start, lines, offset });
    }

    /// Gives lines back that were drawn over, and their drawing a row below them.
    fn uncover(&mut self) {
        let Some(Covered { row, lines, offset }) = self.covered.take() else { return };
        let below = row + lines.len();
        if self.row != row || self.lines.len() > below + 1 {
            return;
        }
        self.touch(row);
        while self.lines.len() <= below {
            let at = lines.get(self.lines.len() - row).map_or(offset, Line::offset);
            self.lines.push(Line::new(at));
        }
        let (head, tail) = self.lines.split_at_mut(below);
        tail[0].take_content(&mut head[row]);
        for (line, kept) in head[row..].iter_mut().zip(lines) {
            *line = kept;
        }
        self.row = below;
        self.landing = Some(below);
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Up(rows) => self.up(rows),
            Step::Return => self.carriage_return(),
            Step::Column(column) => self.address_column(column),
            Step::Left(columns) => self.left(columns),
            Step::EraseRowAfter => self.erase_row_after(),
            Step::EraseRowBefore => self.erase_row_before(),
            Step::EraseRow => self.erase_row(),
            Step::EraseAfter => self.erase_after(),
        }
    }

    /// What is known of a way up so many rows of the screen.
    fn way(&mut self, rows: usize) -> Way {
        let lines = self.lines.get_mut(self.top..self.row).unwrap_or_default();
        let above = lines.iter_mut().map(|line| line.columns_over(WIDTH_MIN)).collect();
        let landing = self.landing.filter(|&landing| landing <= self.row);
        Way {
            above,
            cursor: self.written_columns(),
            rows,
            landing: landing.and_then(|landing| landing.checked_sub(self.top)),
            width: self.size.columns(),
            has_wrapped: self.size.has_wrapped(),
        }
    }
}

/// What tells the width of the screen when a program goes up.
struct Way {
    /// The columns of the lines above that of the cursor.
    above: Vec<usize>,
    /// How many columns of the cursor's line are before it.
    cursor: usize,
    /// How many rows of the screen the program goes up.
    rows: usize,
    /// The line on which it landed the last time.
    landing: Option<usize>,
    /// The width that it was believed to know, and whether it was seen to count on that.
    width: usize,
    has_wrapped: bool,
}

impl Way {
    /// The lines from one on.
    fn lines(&self, from: usize) -> &[usize] {
        self.above.get(from..).unwrap_or_default()
    }

    /// How many rows it is up to the start of a line.
    fn distance(&self, to: usize, width: usize) -> usize {
        let rows: usize = self.lines(to).iter().map(|&columns| height(columns, width)).sum();
        rows + self.cursor.saturating_sub(1) / width
    }

    /// The widest line.
    fn widest(&self, from: usize) -> usize {
        self.lines(from).iter().copied().max().unwrap_or(0).max(self.cursor)
    }

    /// The width of a screen on which the way makes sense, and whether lines wrap there.
    fn width(&self) -> (usize, bool) {
        if let Some(landing) = self.landing {
            // What the program drew the last time, it draws again.
            let mut own_lines = landing..=self.above.len();
            if self.has_wrapped && own_lines.any(|to| self.distance(to, self.width) == self.rows) {
                return (self.width, true);
            }
            let lines = self.lines(landing).len();
            if self.rows == lines {
                return (self.width.max(self.widest(landing)), false);
            }
            if self.rows > lines {
                let mut widths = std::iter::once(self.width)
                    .chain(COMMON_WIDTHS)
                    .chain((WIDTH_MIN..COMMON_WIDTHS[0]).rev());
                if let Some(width) =
                    widths.find(|&width| self.distance(landing, width) == self.rows)
                {
                    return (width, true);
                }
            }
        }
        if self.has_wrapped {
            return (self.width, true);
        }
        let first = self.above.len().saturating_sub(self.rows);
        // Lines that are padded to the width of the screen are all alike.
        let padded = self.widest(first);
        let alike = self.lines(first).iter().filter(|&&line| line == padded).count();
        if padded > self.width && self.cursor <= padded && alike > 1 {
            return (padded, false);
        }
        // A program does not land within a line that it drew.
        let mut widths: Vec<usize> = self.lines(first).to_vec();
        widths.retain(|&columns| columns > self.width);
        widths.sort_unstable();
        let mut widths = std::iter::once(self.width).chain(widths);
        (widths.find(|&width| self.lands_at_start(width)).unwrap_or(self.width), false)
    }

    /// Whether it leads to the start of a line, or stays in the line of the cursor, or leads further
    /// than there are lines.
    fn lands_at_start(&self, width: usize) -> bool {
        let mut distance = self.cursor.saturating_sub(1) / width;
        if distance >= self.rows {
            return true;
        }
        for &columns in self.above.iter().rev() {
            distance += height(columns, width);
            if distance >= self.rows {
                return distance == self.rows;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Way;

    #[test]
    fn the_width_of_a_screen_shows_in_the_ways_up() {
        for (above, cursor, rows, landing, expected, why) in [
            (&[3, 3][..], 100, 1, None, (80, false), "a line of two rows is erased"),
            (&[3, 3], 70, 1, None, (80, false), "nothing tells that it wraps"),
            (&[3, 3], 100, 1, Some(2), (80, true), "it goes up in its line again"),
            (&[3, 3], 70, 1, Some(2), (60, true), "it goes up further than it has drawn"),
            (&[3, 3], 150, 2, Some(2), (72, true), "the same"),
            (&[3, 100, 100], 0, 2, None, (100, false), "padded lines"),
            (&[3, 30, 100, 90], 0, 3, Some(1), (100, false), "as many rows as lines"),
            (&[3, 30, 100, 90], 0, 5, Some(1), (80, true), "as many rows as they take"),
            (&[3, 100, 3], 0, 2, None, (100, false), "else it would land within a line"),
            (&[3, 3, 3], 0, 2, Some(1), (80, false), "short lines tell nothing"),
            (&[3, 3, 3], 0, 9, Some(1), (80, false), "no width explains it"),
        ] {
            let above = above.to_vec();
            let way = Way { above, cursor, rows, landing, width: 80, has_wrapped: false };
            assert_eq!(way.width(), expected, "{why}: {:?} {cursor} {rows} {landing:?}", way.above);
        }
    }

    #[test]
    fn a_line_between_two_ways_does_not_undo_what_was_seen() {
        let way = |has_wrapped| Way {
            above: vec![3, 3],
            cursor: 100,
            rows: 1,
            landing: Some(1),
            width: 80,
            has_wrapped,
        };
        assert_eq!((way(false).width(), way(true).width()), ((100, false), (80, true)));
    }
}
