//! A row as cells: the form of a row that was edited before its end.
//!
//! The conversion to cells and back to text is lossless, so the same bytes give the same row,
//! however they are divided into chunks.

use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

use super::row::{Row, Run, Styled};
use super::style::Style;

/// The distance of tab stops, in columns.
pub(super) const TAB_COLUMNS: usize = 8;

/// Fills the columns of a wide character or a tab after its first one.
const CONTINUATION: char = '\0';

#[derive(Clone, Debug)]
struct Cell {
    ch: char,
    style: Style,
    /// Combining characters, which are drawn over this one.
    marks: Option<Box<str>>,
}

impl Cell {
    fn new(ch: char, style: Style) -> Self {
        Self { ch, style, marks: None }
    }

    fn bytes(&self) -> usize {
        match self.ch {
            CONTINUATION => 0,
            ch => ch.len_utf8() + self.marks.as_deref().map_or(0, str::len),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    cells: Vec<Cell>,
    /// The length of the cells' text in bytes.
    bytes: usize,
    /// The number of runs of one style; None if an edit may have changed it.
    runs: Option<usize>,
    links: Vec<Arc<str>>,
}

/// How many columns a character takes at this column.
pub(super) fn columns(ch: char, column: usize) -> usize {
    match ch {
        '\t' => TAB_COLUMNS - column % TAB_COLUMNS,
        ' '..='~' => 1,
        _ => ch.width().unwrap_or(0),
    }
}

/// Whether a character is drawn over the one before it.
pub(super) fn is_mark(ch: char) -> bool {
    ch > '~' && columns(ch, 0) == 0
}

/// How many columns a text takes at the start of a row.
pub(super) fn text_columns(text: &str) -> usize {
    text.chars().fold(0, |column, ch| match columns(ch, column) {
        0 if column == 0 => 1,
        n => column + n,
    })
}

impl Cells {
    pub(super) fn explode(row: &Row) -> Self {
        let links = row.styled.as_deref().map(|styled| styled.links.clone()).unwrap_or_default();
        let mut cells =
            Self { cells: Vec::with_capacity(row.text.len() + 8), links, ..Self::default() };
        if row.styled.is_none() {
            cells.extend(&row.text, Style::default());
        }
        for (style, text) in row.runs_from(0) {
            cells.extend(text, style);
        }
        cells
    }

    fn extend(&mut self, text: &str, style: Style) {
        for ch in text.chars() {
            let column = self.cells.len();
            match columns(ch, column) {
                0 if column > 0 => self.mark(column, ch),
                n => {
                    self.put(column, ch, n.max(1), style);
                }
            }
        }
    }

    /// Writes the cells into the row as text and runs.
    pub(super) fn flatten(&self, row: &mut Row) {
        row.text.clear();
        row.text.reserve(self.bytes);
        let mut styled = Styled::default();
        let mut source = Style::default();
        let mut style = Style::default();
        for (i, cell) in self.cells.iter().enumerate() {
            if i == 0 || cell.style != source {
                source = cell.style;
                style = Style { link: 0, ..source };
                if let Some(link) =
                    usize::from(source.link).checked_sub(1).and_then(|i| self.links.get(i))
                {
                    style.link = intern(&mut styled.links, link).unwrap_or(0);
                }
            }
            if cell.ch != CONTINUATION {
                row.text.push(cell.ch);
                row.text.push_str(cell.marks.as_deref().unwrap_or_default());
            }
            let end = row.text.len();
            match styled.runs.last_mut() {
                Some(run) if run.style == style => run.end = end,
                _ => styled.runs.push(Run { end, style }),
            }
        }
        let plain = styled.runs.iter().all(|run| run.style.is_plain());
        row.styled = (!plain).then(|| Box::new(styled));
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn first_byte(&self) -> Option<u8> {
        let mut buffer = [0; 4];
        self.cells.first().and_then(|cell| cell.ch.encode_utf8(&mut buffer).bytes().next())
    }

    /// The beginning of the text, at most `max` bytes.
    pub(super) fn head(&self, bytes_max: usize) -> String {
        let mut head = String::new();
        for cell in self.cells.iter().filter(|cell| cell.ch != CONTINUATION) {
            for ch in
                std::iter::once(cell.ch).chain(cell.marks.iter().flat_map(|marks| marks.chars()))
            {
                if head.len() + ch.len_utf8() > bytes_max {
                    return head;
                }
                head.push(ch);
            }
        }
        head
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn runs(&mut self) -> usize {
        let cells = &self.cells;
        let count = || 1 + cells.windows(2).filter(|pair| pair[0].style != pair[1].style).count();
        *self.runs.get_or_insert_with(count)
    }

    /// The length in bytes of the links that cells refer to.
    pub(super) fn link_bytes(&self) -> usize {
        let mut used = [false; LINKS_MAX + 1];
        if !self.links.is_empty() {
            self.cells.iter().for_each(|cell| used[usize::from(cell.style.link)] = true);
        }
        let links = self.links.iter().enumerate();
        links.filter(|(i, _)| used[i + 1]).map(|(_, link)| link.len()).sum()
    }

    pub(super) fn weight(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
    }

    pub(super) fn last_style(&self) -> Option<Style> {
        self.cells.last().map(|cell| cell.style)
    }

    /// The link's number for a style of this row; 0 if the row cannot hold more links.
    pub(super) fn link(&mut self, link: &Arc<str>) -> u8 {
        if self.links.len() == LINKS_MAX {
            self.forget_unused_links();
        }
        intern(&mut self.links, link).unwrap_or(0)
    }

    /// Drops the links that no cell uses any more.
    fn forget_unused_links(&mut self) {
        let old = std::mem::take(&mut self.links);
        for cell in &mut self.cells {
            let link = usize::from(cell.style.link).checked_sub(1).and_then(|i| old.get(i));
            cell.style.link = link.and_then(|link| intern(&mut self.links, link)).unwrap_or(0);
        }
    }

    /// Puts a character of `n` columns at a column, after blanks if the row is shorter. Returns
    /// whether it has overwritten something.
    pub(super) fn put(&mut self, column: usize, ch: char, n: usize, style: Style) -> bool {
        let overwrites = column < self.cells.len();
        if overwrites {
            self.part(column);
            self.part(column + n);
        }
        self.pad(column);
        for i in 0..n {
            self.set(column + i, Cell::new(if i == 0 { ch } else { CONTINUATION }, style));
        }
        overwrites
    }

    /// Adds a combining character to the one before the column.
    pub(super) fn mark(&mut self, column: usize, ch: char) {
        self.pad(column);
        let Some(base) = (0..column).rev().find(|&i| self.cells[i].ch != CONTINUATION) else {
            return;
        };
        let mut marks = self.cells[base].marks.take().map(String::from).unwrap_or_default();
        marks.push(ch);
        self.cells[base].marks = Some(marks.into());
        self.bytes += ch.len_utf8();
    }

    /// Removes the cells from the column on. Returns whether there were any.
    pub(super) fn truncate(&mut self, column: usize) -> bool {
        let removes = column < self.cells.len();
        if removes {
            self.part(column);
            self.bytes -= self.cells.drain(column..).map(|cell| cell.bytes()).sum::<usize>();
            self.runs = None;
        }
        removes
    }

    /// Blanks `n` columns. Returns whether there was any cell.
    pub(super) fn blank(&mut self, column: usize, n: usize, style: Style) -> bool {
        let end = column.saturating_add(n).min(self.cells.len());
        if column < end {
            self.part(column);
            self.part(end);
            for i in column..end {
                self.set(i, Cell::new(' ', style));
            }
        }
        column < end
    }

    /// Removes `n` columns and moves the cells behind them to the left.
    pub(super) fn delete(&mut self, column: usize, n: usize) -> bool {
        let end = column.saturating_add(n).min(self.cells.len());
        if column < end {
            self.part(column);
            self.part(end);
            self.unbind(end);
            self.bytes -= self.cells.drain(column..end).map(|cell| cell.bytes()).sum::<usize>();
            self.runs = None;
        }
        column < end
    }

    /// Inserts `n` blank columns before the column. Cells that move past `max` columns are lost, as
    /// at the edge of a screen.
    pub(super) fn insert(&mut self, column: usize, n: usize, max: usize, style: Style) -> bool {
        if column >= self.cells.len() {
            return false;
        }
        let max = max.max(self.cells.len());
        self.part(column);
        self.unbind(column);
        let blanks = n.min(max - column);
        self.cells.splice(column..column, std::iter::repeat_n(Cell::new(' ', style), blanks));
        self.bytes += blanks;
        self.runs = None;
        self.truncate(max);
        true
    }

    /// Adds blanks up to a column. Returns whether it added any.
    pub(super) fn pad(&mut self, column: usize) -> bool {
        let pads = self.cells.len() < column;
        while self.cells.len() < column {
            self.set(self.cells.len(), Cell::new(' ', Style::default()));
        }
        pads
    }

    fn set(&mut self, i: usize, cell: Cell) {
        self.bytes += cell.bytes();
        if i < self.cells.len() {
            self.bytes -= self.cells[i].bytes();
            self.cells[i] = cell;
            self.runs = None;
        } else {
            // Appending updates the count, because counting a long row again at each change of
            // style is too slow.
            if let (Some(runs), Some(last)) = (&mut self.runs, self.cells.last()) {
                *runs += usize::from(last.style != cell.style);
            }
            self.cells.push(cell);
        }
    }

    /// Blanks the cells whose width would change when they move: tabs, and a combining character
    /// at the start of the row.
    fn unbind(&mut self, from: usize) {
        for i in from..self.cells.len() {
            match self.cells[i].ch {
                '\t' => {
                    self.set(i, Cell::new(' ', Style::default()));
                    self.part(i + 1);
                }
                CONTINUATION | ' '..='~' => {}
                ch if columns(ch, i) == 0 => self.set(i, Cell::new(' ', Style::default())),
                _ => {}
            }
        }
    }

    /// Replaces a wide character or a tab that overlaps this column from the left by blanks.
    fn part(&mut self, column: usize) {
        let is_continuation =
            |cells: &[Cell], i: usize| cells.get(i).is_some_and(|cell| cell.ch == CONTINUATION);
        if !is_continuation(&self.cells, column) {
            return;
        }
        let mut i = column;
        while is_continuation(&self.cells, i) {
            i -= 1;
        }
        loop {
            let style = self.cells[i].style;
            self.set(i, Cell::new(' ', style));
            i += 1;
            if !is_continuation(&self.cells, i) {
                break;
            }
        }
    }
}

/// The most links in one row; further text is shown without its link.
const LINKS_MAX: usize = 64;

/// The index of a link in the list plus one. A new link is added unless the list is full.
pub(super) fn intern(links: &mut Vec<Arc<str>>, link: &Arc<str>) -> Option<u8> {
    let index = links.iter().position(|known| known == link).or_else(|| {
        (links.len() < LINKS_MAX).then(|| {
            links.push(Arc::clone(link));
            links.len() - 1
        })
    })?;
    u8::try_from(index + 1).ok()
}
