//! The start of a line in the log, where a [stamp](super::stamp) may be.
//!
//! Text that may become a stamp is shown until that is known, because the rest of it may never come.

use crate::encoding::Place;

use super::annotation::Annotation;
use super::charset::Charsets;
use super::group::Groups;
use super::line::Line;
use super::screen::Screen;
use super::stamp::{self, Joins, NoStamp, Stamp};

#[derive(Clone, Debug, Default)]
pub(super) enum LineStart {
    /// Nothing of the line was written yet.
    #[default]
    Fresh,
    /// The text so far may become a stamp.
    Unfinished(Box<Unfinished>),
    /// The line has a stamp or none.
    Past,
}

#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    text: String,
    /// The offset of its first byte.
    at: u64,
    /// The row and the column before it was written, and the character before it.
    before: Line,
    column: Option<usize>,
    last_char: Option<char>,
}

/// The end of a line that the next one may continue.
#[derive(Clone, Debug)]
pub(super) struct Continuable {
    row: usize,
    column: Option<usize>,
    charsets: Charsets,
    /// It ended in the status line.
    in_status: bool,
    /// A row was made for the next line.
    adds_row: bool,
    /// What markers said before the part of the line was read for one.
    groups: Groups,
    note: Option<Box<Annotation>>,
}

impl Continuable {
    /// The first lines were forgotten. None if this one was among them.
    pub(super) fn scroll(self, lines: usize) -> Option<Self> {
        Some(Self { row: self.row.checked_sub(lines)?, ..self })
    }
}

impl LineStart {
    /// The memory of the text, in bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Unfinished(unfinished) => unfinished.text.len() + unfinished.before.weight(),
            Self::Fresh | Self::Past => 0,
        }
    }
}

/// Whether a line that begins with this text surely has no stamp.
fn is_none(text: &[u8]) -> bool {
    !text.first().is_some_and(|&byte| stamp::may_begin(byte)) || stamp::is_other(text)
}

impl Screen {
    /// Whether text that is about to be written may be a stamp or a part of one. Most is neither.
    #[inline]
    pub(super) fn may_have_stamp(&mut self, text: &str) -> bool {
        match self.line_start {
            LineStart::Past => false,
            LineStart::Fresh if self.continuable.is_none() && is_none(text.as_bytes()) => {
                self.line_start = LineStart::Past;
                false
            }
            LineStart::Fresh | LineStart::Unfinished(_) => self.annotates,
        }
    }

    /// Reads a stamp in text that is about to be written. Returns how much of the text that took
    /// care of.
    pub(super) fn read_stamp(&mut self, text: &str, at: Place<'_>) -> usize {
        match std::mem::replace(&mut self.line_start, LineStart::Past) {
            LineStart::Fresh if is_none(text.as_bytes()) => self.no_stamp(),
            LineStart::Fresh => match stamp::read(text.as_bytes(), false) {
                Ok(stamp) => {
                    self.apply_stamp(&stamp);
                    return stamp.len;
                }
                Err(NoStamp::Other) => self.no_stamp(),
                Err(NoStamp::Unfinished) => self.begin_unfinished(text, at),
            },
            LineStart::Unfinished(mut unfinished) => {
                unfinished.text.push_str(text);
                match stamp::read(unfinished.text.as_bytes(), false) {
                    Ok(stamp) => {
                        self.take_back(*unfinished, &stamp);
                        return text.len();
                    }
                    Err(NoStamp::Other) => {
                        self.spare_start = Some(unfinished);
                        self.no_stamp();
                    }
                    Err(NoStamp::Unfinished) => {
                        self.line_start = LineStart::Unfinished(unfinished);
                    }
                }
            }
            LineStart::Past => {}
        }
        0
    }

    fn begin_unfinished(&mut self, text: &str, at: Place<'_>) {
        let line = &self.lines[self.row];
        let (at, column, last_char) = (at.offset(), self.column, self.last_char);
        let unfinished = match self.spare_start.take() {
            Some(mut spare) => {
                text.clone_into(&mut spare.text);
                spare.before.copy(line);
                (spare.at, spare.column, spare.last_char) = (at, column, last_char);
                spare
            }
            None => {
                let (text, before) = (text.to_owned(), line.clone());
                Box::new(Unfinished { text, at, before, column, last_char })
            }
        };
        self.line_start = LineStart::Unfinished(unfinished);
    }

    /// Something other than text comes: what was written is the whole beginning of the line.
    pub(super) fn end_line_start(&mut self) {
        match std::mem::replace(&mut self.line_start, LineStart::Past) {
            LineStart::Unfinished(unfinished) => {
                match stamp::read(unfinished.text.as_bytes(), true) {
                    Ok(stamp) => self.take_back(*unfinished, &stamp),
                    Err(_) => self.no_stamp(),
                }
            }
            LineStart::Fresh => self.no_stamp(),
            LineStart::Past => {}
        }
    }

    /// Takes a stamp back that was shown as text, and writes what follows it again.
    fn take_back(&mut self, unfinished: Unfinished, stamp: &Stamp) {
        let Unfinished { text, at, before, column, last_char } = unfinished;
        self.touch(self.row);
        self.lines[self.row] = before;
        (self.column, self.last_char) = (column, last_char);
        self.apply_stamp(stamp);
        if self.page.is_hidden() {
            return;
        }
        let rest = text.get(stamp.len..).unwrap_or_default();
        self.write(rest, Place::at(at).plus(stamp.len));
    }

    fn apply_stamp(&mut self, stamp: &Stamp) {
        let Joins { before, after } = stamp.joins;
        match self.continuable.take() {
            Some(end) if before => self.reopen(end),
            end => self.close(end),
        }
        self.joins_next = after;
        self.timestamp(stamp.time);
        if let Some(level) = stamp.level.filter(|_| !self.page.is_hidden()) {
            self.current().row().note.get_or_insert_default().level = Some(level);
        }
    }

    fn no_stamp(&mut self) {
        let end = self.continuable.take();
        self.close(end);
    }

    /// The end of the line that was just left, where the next one may continue it.
    pub(super) fn continuable(&mut self) -> Option<Continuable> {
        std::mem::take(&mut self.joins_next).then(|| Continuable {
            row: self.row,
            column: self.column,
            charsets: self.charsets,
            in_status: self.page.in_status(),
            adds_row: self.row + 1 == self.lines.len(),
            groups: self.groups.clone(),
            note: self.lines[self.row].as_row().note.clone(),
        })
    }

    /// Goes back to the end of the line before, which was none.
    fn reopen(&mut self, end: Continuable) {
        let last = self.lines.len() - 1;
        if end.row + 1 != self.row || end.row < self.top {
            return;
        }
        if end.adds_row && self.row == last && self.lines[last].is_empty() {
            self.lines.pop();
            self.lines[end.row].row().ended = false;
        }
        self.touch(end.row);
        self.row = end.row;
        self.column = end.column;
        self.charsets = end.charsets;
        self.page.set_in_status(end.in_status);
        self.groups = end.groups;
        self.lines[end.row].row().note = end.note;
    }

    /// The line before is at its end. A heavy row was kept for its continuation only.
    fn close(&mut self, end: Option<Continuable>) {
        if let Some(end) = end
            && end.row < self.row
            && self.lines.get_mut(end.row).is_some_and(Line::is_heavy)
        {
            self.top = self.top.max(end.row + 1);
        }
    }
}
