//! A row that is being written: text while it only grows, cells once it is edited before its end.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::annotation::Annotation;
use super::cells::{self, Cells};
use super::row::{Row, Run, Styled};
use super::style::Style;
use super::{ROW_BYTES_MAX, ROW_RUNS_MAX};

/// A row with more bytes of text, more runs or more bytes of link targets than this becomes final
/// when the cursor leaves it, and so do the rows above it. This bounds the memory of a terminal.
const REACH_BYTES_MAX: usize = 2048;
const REACH_RUNS_MAX: usize = 256;
const REACH_LINK_BYTES_MAX: usize = 4096;

/// Lines of up to this many bytes and runs are edited in place. Longer lines become cells once; in
/// cells the cost of an edit does not depend on its position.
const SIMPLE_BYTES_MAX: usize = 512;
const SIMPLE_RUNS_MAX: usize = 32;

/// The initial capacity of a line that arrives in parts, in bytes and in runs: that of a usual
/// line.
const PARTS_BYTES: usize = 128;
const RUNS_USUAL: usize = 4;

/// Final lines with larger buffers are not used again. Most lines are shorter.
const SPARE_BYTES_MAX: usize = 256;
const SPARE_RUNS_MAX: usize = 16;

/// At the start of a line it is no text, and must not hide the line's level or marker.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The style of new text. The link is separate, because each row has its own list of links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pen {
    pub(super) style: Style,
    pub(super) link: Option<Arc<str>>,
}

impl Pen {
    pub(super) fn is_plain(&self) -> bool {
        self.link.is_none() && self.style.is_plain()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its text and its runs are out of date while there are cells.
    row: Row,
    cells: Option<Box<Cells>>,
    /// It continues the line of a full row, so it does not begin a line.
    pub(super) continues: bool,
    /// Its columns, if they were measured since its text changed. Each method that changes the
    /// text forgets them.
    measured: Option<usize>,
    /// Whether each byte of the text is one column, if that is known since the text changed.
    is_ascii: Option<bool>,
    /// Empty styles of an earlier line, for their buffers.
    spare: Spare,
}

/// Buffers that are not copied with a line.
#[derive(Debug, Default)]
struct Spare(Option<Box<Styled>>);

impl Clone for Spare {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Line {
    pub(super) fn new(offset: u64) -> Self {
        Self {
            row: Row::new(offset),
            cells: None,
            continues: false,
            measured: None,
            is_ascii: None,
            spare: Spare::default(),
        }
    }

    /// Whether its buffers may be used again.
    pub(super) fn is_small(&self) -> bool {
        let styled = self.row.styled.as_deref();
        let has_few_runs = styled.is_none_or(|styled| styled.runs.capacity() <= SPARE_RUNS_MAX);
        self.cells.is_none() && has_few_runs && self.row.text.capacity() <= SPARE_BYTES_MAX
    }

    /// Becomes a new line without cells, with the buffers of this one.
    pub(super) fn renew(&mut self, offset: u64) {
        if let Some(mut styled) = self.row.styled.take() {
            styled.runs.clear();
            styled.links.clear();
            self.spare.0 = Some(styled);
        }
        let row = &mut self.row;
        row.text.clear();
        row.note = None;
        (row.offset, row.ended, row.cut, row.edited) = (offset, false, false, false);
        (self.continues, self.measured, self.is_ascii) = (false, None, None);
    }

    #[inline]
    pub(super) fn row(&mut self) -> &mut Row {
        &mut self.row
    }

    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.row.offset
    }

    /// Becomes like another line. Its buffers are used again.
    pub(super) fn copy(&mut self, other: &Self) {
        let (row, from) = (&mut self.row, &other.row);
        (self.cells, self.continues) = (None, other.continues);
        (self.measured, self.is_ascii) = (other.measured, other.is_ascii);
        (row.offset, row.ended, row.cut, row.edited) =
            (from.offset, from.ended, from.cut, from.edited);
        row.note.clone_from(&from.note);
        match &other.cells {
            Some(cells) => cells.flatten(row),
            None => {
                row.text.clone_from(&from.text);
                match (&mut row.styled, &from.styled) {
                    (Some(styled), Some(from)) => {
                        styled.runs.clone_from(&from.runs);
                        styled.links.clone_from(&from.links);
                    }
                    (styled, from) => styled.clone_from(from),
                }
            }
        }
    }

    /// Whether it has more characters than this.
    pub(super) fn is_longer(&mut self, chars: usize) -> bool {
        if self.bytes() <= chars {
            return false;
        }
        self.flatten();
        self.row.text.chars().nth(chars).is_some()
    }

    /// Whether another line without cells has the same text in the same styles.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.row.text == other.row.text && self.row.styled == other.row.styled
    }

    /// The same line, with the annotation of another one.
    pub(super) fn noted_like(mut self, other: &Self, edited: bool) -> Self {
        self.row.edited = edited;
        self.row.note = other.row.note.clone();
        self
    }

    /// Its text, while it has no cells.
    pub(super) fn as_row(&self) -> &Row {
        &self.row
    }

    pub(super) fn is_empty(&self) -> bool {
        match &self.cells {
            Some(cells) => cells.len() == 0,
            None => self.row.text.is_empty(),
        }
    }

    /// Whether there is neither text nor the end of a command on it.
    pub(super) fn shows_nothing(&self) -> bool {
        let ends_command = self.row.note.as_ref().is_some_and(|note| note.exit.is_some());
        self.is_empty() && !ends_command
    }

    /// The first byte of its text.
    pub(super) fn first_byte(&self) -> Option<u8> {
        match &self.cells {
            Some(cells) => cells.first_byte(),
            None => self.row.text.as_bytes().first().copied(),
        }
    }

    /// The beginning of its text, at most `max` bytes.
    pub(super) fn head(&self, bytes_max: usize) -> Cow<'_, str> {
        match &self.cells {
            Some(cells) => Cow::Owned(cells.head(bytes_max)),
            None => Cow::Borrowed(self.row.text.split_at(boundary(&self.row.text, bytes_max)).0),
        }
    }

    #[inline]
    pub(super) fn is_flat(&self) -> bool {
        self.cells.is_none()
    }

    pub(super) fn columns(&self) -> usize {
        match &self.cells {
            Some(cells) => cells.len(),
            None if self.is_ascii.unwrap_or_else(|| is_short_ascii(&self.row.text)) => {
                self.row.text.len()
            }
            None => cells::text_columns(&self.row.text),
        }
    }

    /// How many columns it has, if it may be wider than this; else any number that is not. Most
    /// lines are short, and need not be measured.
    pub(super) fn columns_over(&mut self, width: usize) -> usize {
        let text = self.row.text.as_bytes();
        if self.is_flat() && text.len() <= width && memchr::memchr(b'\t', text).is_none() {
            return text.len();
        }
        if let Some(columns) = self.measured {
            return columns;
        }
        if self.is_flat() {
            self.learn_ascii();
        }
        let columns = self.columns();
        self.measured = Some(columns);
        columns
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.as_ref().map_or(self.row.text.len(), |cells| cells.bytes())
    }

    /// Whether each byte is one column, so that the text can be edited in place.
    fn is_simple(&mut self) -> bool {
        self.cells.is_none()
            && self.learn_ascii()
            && self.row.styled.as_deref().is_none_or(Styled::is_simple)
    }

    fn learn_ascii(&mut self) -> bool {
        *self.is_ascii.get_or_insert_with(|| is_short_ascii(&self.row.text))
    }

    /// The text is about to change.
    fn forget_text(&mut self) {
        (self.measured, self.is_ascii) = (None, None);
    }

    /// Overwrites the text at a column in place. Returns false, without a change, if that needs
    /// cells.
    pub(super) fn overwrite(&mut self, column: usize, text: &str, pen: &Pen) -> bool {
        let end = column + text.len();
        let fits = end <= SIMPLE_BYTES_MAX && pen.link.is_none() && is_plain_ascii(text);
        if !fits || !self.is_simple() {
            return false;
        }
        let row = &mut self.row;
        let len = row.text.len();
        row.edited |= column < len && !text.is_empty();
        if row.styled.is_some() || !pen.style.is_plain() {
            let styled = row.styled.get_or_insert_default();
            styled.paint(len, column, end, pen.style);
            if styled.runs.iter().all(|run| run.style.is_plain()) {
                row.styled = None;
            }
        }
        if end < len {
            overwrite_ascii(&mut row.text, column, text);
        } else {
            row.text.truncate(column);
            row.text.extend(std::iter::repeat_n(' ', column.saturating_sub(len)));
            row.text.push_str(text);
        }
        // It stays simple.
        self.measured = Some(row.text.len());
        true
    }

    /// Removes the text from a column on in place, and returns whether there was any. None if that
    /// needs cells.
    pub(super) fn truncate(&mut self, column: usize) -> Option<bool> {
        if !self.is_simple() {
            return None;
        }
        self.measured = None;
        let row = &mut self.row;
        let removes = column < row.text.len();
        if removes {
            row.text.truncate(column);
            row.edited = true;
            if let Some(styled) = row.styled.as_deref_mut() {
                styled.truncate(column);
                if styled.runs.iter().all(|run| run.style.is_plain()) {
                    row.styled = None;
                }
            }
        }
        Some(removes)
    }

    fn runs(&mut self) -> usize {
        match &mut self.cells {
            Some(cells) => cells.runs(),
            None => self.row.styled.as_deref().map_or(1, |styled| styled.runs.len()),
        }
    }

    /// Whether it is too large to stay editable.
    pub(super) fn is_heavy(&mut self) -> bool {
        self.bytes() > REACH_BYTES_MAX
            || self.runs() > REACH_RUNS_MAX
            || self.link_bytes() > REACH_LINK_BYTES_MAX
    }

    fn link_bytes(&self) -> usize {
        match &self.cells {
            Some(cells) => cells.link_bytes(),
            None => self
                .row
                .styled
                .as_deref()
                .map_or(0, |styled| styled.links.iter().map(|link| link.len()).sum()),
        }
    }

    /// The memory that its buffers use, in bytes.
    pub(super) fn weight(&self) -> usize {
        let styled = self.row.styled.as_deref().map_or(0, |styled| {
            styled.runs.capacity() * size_of::<Run>() + styled.links.len() * 16
        });
        let cells = self.cells.as_ref().map_or(0, |cells| cells.weight());
        let note = self.row.note.as_deref().map_or(0, Annotation::weight);
        size_of::<Self>() + self.row.text.capacity() + styled + cells + self.link_bytes() + note
    }

    /// Its text as cells, which may be edited.
    pub(super) fn cells(&mut self) -> &mut Cells {
        self.forget_text();
        self.cells.get_or_insert_with(|| Box::new(Cells::explode(&self.row)))
    }

    pub(super) fn flatten(&mut self) {
        if let Some(cells) = self.cells.take() {
            cells.flatten(&mut self.row);
        }
    }

    /// Removes all text. Returns whether there was any.
    pub(super) fn clear(&mut self) -> bool {
        let had = !self.is_empty();
        self.cells = None;
        self.forget_text();
        self.row.text.clear();
        self.row.styled = None;
        self.row.edited |= had;
        had
    }

    /// Moves the content of another line into this one. The offset and the end are not moved.
    pub(super) fn take_content(&mut self, from: &mut Self) {
        from.flatten();
        self.cells = None;
        self.forget_text();
        from.forget_text();
        self.row.text = std::mem::take(&mut from.row.text);
        self.row.styled = from.row.styled.take();
        self.row.note = from.row.note.take();
        self.row.edited = true;
        from.row.edited = true;
    }

    /// Appends as much of the text as fits into the row, and returns the rest. The line must have
    /// no cells.
    pub(super) fn append<'t>(&mut self, text: &'t str, pen: &Pen) -> &'t str {
        self.forget_text();
        let mut text = text;
        if self.row.text.is_empty() && !self.continues {
            // A byte order mark, which a file begins with, and each that was appended to it.
            text = text.trim_start_matches(BYTE_ORDER_MARK);
        }
        if pen.link.is_some() || !pen.style.is_plain() || self.row.styled.is_some() {
            text = self.append_marks(text);
            if text.is_empty() {
                return text;
            }
            // Reserves memory once, not for each part.
            if self.row.text.capacity() < PARTS_BYTES {
                self.row.text.reserve(PARTS_BYTES);
            }
        }
        let room = ROW_BYTES_MAX.saturating_sub(self.row.text.len());
        let (now, later) = text.split_at(boundary(text, room));
        if now.is_empty() || !self.append_style(now.len(), pen) {
            return text;
        }
        self.row.text.push_str(now);
        later
    }

    /// Appends combining characters in the style of the preceding character, whatever the pen is.
    fn append_marks<'t>(&mut self, text: &'t str) -> &'t str {
        if self.row.text.is_empty() || !text.starts_with(cells::is_mark) {
            return text;
        }
        let marks = text.find(|ch| !cells::is_mark(ch)).unwrap_or(text.len());
        let marks = boundary(text, marks.min(ROW_BYTES_MAX.saturating_sub(self.row.text.len())));
        let (marks, rest) = text.split_at(marks);
        self.row.text.push_str(marks);
        if let Some(run) = self.row.styled.as_deref_mut().and_then(|styled| styled.runs.last_mut())
        {
            run.end += marks.len();
        }
        rest
    }

    /// Extends the last run by text of this length, or adds a run. Returns false if the row cannot
    /// hold more runs.
    fn append_style(&mut self, len: usize, pen: &Pen) -> bool {
        let start = self.row.text.len();
        if self.row.styled.is_none() {
            if pen.link.is_none() && pen.style.is_plain() {
                return true;
            }
            let mut styled = self.spare.0.take().unwrap_or_else(|| {
                let runs = Vec::with_capacity(RUNS_USUAL);
                Box::new(Styled { runs, links: Vec::new() })
            });
            styled.runs.extend((start > 0).then_some(Run { end: start, style: Style::default() }));
            self.row.styled = Some(styled);
        }
        let Some(styled) = self.row.styled.as_deref_mut() else { return true };
        let mut style = pen.style;
        let links = styled.links.len();
        if let Some(link) = &pen.link {
            style.link = cells::intern(&mut styled.links, link).unwrap_or(0);
        }
        let full = styled.runs.len() >= ROW_RUNS_MAX;
        match styled.runs.last_mut() {
            Some(run) if run.style == style => run.end += len,
            _ if full => styled.links.truncate(links),
            _ => styled.runs.push(Run { end: start + len, style }),
        }
        styled.runs.last().is_some_and(|run| run.end == start + len)
    }

    /// Whether another character fits into the row.
    pub(super) fn takes(&mut self, bytes: usize, style: Style) -> bool {
        let cells = self.cells();
        cells.bytes() + bytes <= ROW_BYTES_MAX
            && (cells.last_style() == Some(style)
                || cells.len() < ROW_RUNS_MAX
                || cells.runs() < ROW_RUNS_MAX)
    }
}

impl Styled {
    fn is_simple(&self) -> bool {
        self.links.is_empty() && self.runs.len() <= SIMPLE_RUNS_MAX
    }

    /// Sets the style of a part of a text of `len` bytes. The part may reach beyond the end.
    fn paint(&mut self, len: usize, start: usize, end: usize, style: Style) {
        if self.runs.is_empty() {
            self.push(len, Style::default());
        }
        // Blanks fill the space between the end and the part.
        self.push(start, Style::default());
        let runs = &mut self.runs;
        let first = runs.partition_point(|run| run.end <= start);
        let after = first + runs[first..].iter().take_while(|run| run.end <= end).count();
        let begin = first.checked_sub(1).map_or(0, |before| runs[before].end);
        let is_like = |run: Option<&Run>| run.is_some_and(|run| run.style == style);
        let joins_next = is_like(runs.get(after));
        let head = runs.get(first).filter(|_| begin < start).map(|run| Run { end: start, ..*run });
        let part = (!joins_next).then_some(Run { end, style });
        match head {
            Some(head) if head.style != style => self.replace(first..after, [Some(head), part]),
            None if first > 0 && is_like(runs.get(first - 1)) => {
                self.replace(first - 1..after, [part, None]);
            }
            _ => self.replace(first..after, [part, None]),
        }
    }

    /// Puts new runs in the place of these.
    fn replace(&mut self, old: Range<usize>, new: [Option<Run>; 2]) {
        let mut at = old.start;
        for run in new.into_iter().flatten() {
            if at < old.end {
                self.runs[at] = run;
            } else {
                self.runs.insert(at, run);
            }
            at += 1;
        }
        self.runs.drain(at..old.end.max(at));
    }

    /// Appends a run that ends there, unless the others reach so far.
    fn push(&mut self, end: usize, style: Style) {
        match self.runs.last_mut() {
            Some(last) if last.end >= end => {}
            Some(last) if last.style == style => last.end = end,
            None if end == 0 => {}
            _ => self.runs.push(Run { end, style }),
        }
    }

    fn truncate(&mut self, len: usize) {
        let mut begin = 0;
        self.runs.retain_mut(|run| {
            run.end = run.end.min(len);
            let keeps = run.end > begin;
            begin = run.end;
            keeps
        });
    }
}

/// Whether each character of a line takes one byte and one column. Only short lines may be edited in
/// place.
fn is_short_ascii(text: &str) -> bool {
    text.len() <= SIMPLE_BYTES_MAX && is_plain_ascii(text)
}

/// Puts a text into another one. Both are ASCII.
fn overwrite_ascii(whole: &mut String, at: usize, text: &str) {
    let mut bytes = std::mem::take(whole).into_bytes();
    if let Some(part) = bytes.get_mut(at..at + text.len()) {
        part.copy_from_slice(text.as_bytes());
    }
    *whole = String::from_utf8(bytes).unwrap_or_default();
}

/// Whether each character takes one byte and one column.
fn is_plain_ascii(text: &str) -> bool {
    text.bytes().fold(true, |all, byte| all & (b' '..=b'~').contains(&byte))
}

/// The end of the last character that is whole in the first `max` bytes.
fn boundary(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::style::{Color, Style};
    use super::Styled;

    fn style(colour: u8) -> Style {
        Style {
            fg: if colour == 0 { Color::Default } else { Color::Indexed(colour) },
            ..Style::default()
        }
    }

    proptest! {
        #[test]
        fn a_painted_part_has_its_style_and_the_rest_keeps_its_own(
            len in 0_usize..12,
            parts in prop::collection::vec((0_usize..16, 1_usize..6, 0_u8..3), 1..12),
        ) {
            let (mut styled, mut styles) = (Styled::default(), vec![style(0); len]);
            for (start, count, colour) in parts {
                styled.paint(styles.len(), start, start + count, style(colour));
                styles.resize(styles.len().max(start + count), style(0));
                styles[start..start + count].fill(style(colour));
                let mut begin = 0;
                for run in &styled.runs {
                    prop_assert!(begin < run.end);
                    prop_assert!(styles[begin..run.end].iter().all(|style| *style == run.style));
                    begin = run.end;
                }
                prop_assert_eq!(begin, styles.len());
                let is_joined = |pair: &[super::Run]| pair[0].style != pair[1].style;
                prop_assert!(styled.runs.windows(2).all(is_joined));
            }
        }
    }
}
