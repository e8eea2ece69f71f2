//! Carriage returns that end lines.
//!
//! A CR goes back to the start of the row. Progress bars draw over their row that way, and stay one
//! row. Old files and some devices end lines with nothing but a CR; these become rows, as if each
//! CR were a newline. What tells them apart is the text that follows the CR:
//!
//! - A program that redraws a row covers all of it: the new text is as long as the old one, or the
//!   program erases the row or pads the text. Mostly it has the same words, too.
//! - A line of a log knows nothing of the line before. If it is shorter and has other words, the end
//!   of that line would be left behind it, which makes no sense in either.
//!
//! So a CR ends a line if at least two of sixteen CRs in a row, of which it is one, leave such a
//! remnant. A text that is wider than any screen ends with its CR, too. A newline, any movement of
//! the cursor and any erasing end the row of CRs. The rule looks at a few texts on either side, so
//! a viewer that starts anywhere gets the same rows.
//!
//! Before the first newline of a log, little tells that its lines end with newlines at all. So two
//! CRs are enough there if most texts do not look like [progress]. They are shown as
//! rows until a newline comes, and stay rows once there are sixteen texts.
//!
//! Most texts are drawn over and never shown. So they are kept as they were written, in buffers that
//! are used again, and become lines only when they are shown as rows.

use std::collections::VecDeque;

use super::ci_marker;
use super::group::Groups;
use super::line::{Line, Pen};
use super::progress;
use super::screen::Screen;
use super::{SCREEN_ROWS, cells};

/// How many returns in a row are judged together.
const WINDOW: usize = 16;

/// How many of them must leave a remnant.
const REMNANTS_MIN: u32 = 2;

/// How many returns before the first newline show that there may be none.
const RETURNS_MIN: usize = 2;

/// The longest text that may be drawn over, in characters.
const TEXT_CHARS_MAX: usize = super::COLUMNS_MAX;

/// The texts between the last returns, which were all written from the start of a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Returns {
    /// The oldest first. The last one is being written.
    texts: VecDeque<Text>,
    /// Which texts leave a remnant of the text before them: a bit for each, that of the last one is
    /// the lowest.
    remnants: u32,
    /// How many columns the row had when the last text began.
    width: usize,
}

#[derive(Clone, Debug, Default)]
struct Text {
    /// The offset of its first byte.
    at: u64,
    /// It alone, as if it had a row of its own.
    text: String,
    /// The parts in which it was written, if one of them has a style.
    parts: Vec<Part>,
    before: Before,
    /// What the row showed before, if that was not just the text before it. Else it is a buffer.
    covered: Option<Box<Line>>,
    /// How many columns it takes, with and without blanks at its end. Known once it is complete.
    columns: (usize, usize),
    /// How many letters it has. Known once it is complete.
    letters: usize,
    /// It has characters that do not cover what was there: a tab, or a mark of byte order.
    has_gaps: bool,
    /// It looks like progress.
    is_progress: bool,
}

/// A part of a text reaches from the end of the part before it to the byte `end`.
#[derive(Clone, Debug)]
struct Part {
    end: usize,
    pen: Pen,
}

/// What the row showed before a text was drawn over that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// Nothing: the text began a row.
    #[default]
    Nothing,
    /// Just the text before it, which was drawn over something itself, if `edited`.
    Text { edited: bool },
    /// A line, which is kept beside this.
    Line,
}

/// The row before its texts were shown as rows.
#[derive(Clone, Debug)]
pub(super) struct Undivided {
    row: usize,
    line: Line,
    column: Option<usize>,
    groups: Groups,
}

impl Undivided {
    /// The first lines became final.
    pub(super) fn scroll(&mut self, lines: usize) {
        self.row = self.row.saturating_sub(lines);
    }

    /// The memory of the row, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.line.weight() + self.groups.weight()
    }
}

impl Text {
    /// It as a line that begins at an offset.
    fn line(&self, at: u64) -> Line {
        let mut line = Line::new(at);
        let mut start = 0;
        for part in &self.parts {
            let _whole = line.append(self.text.get(start..part.end).unwrap_or_default(), &part.pen);
            start = part.end;
        }
        let _whole = line.append(self.text.get(start..).unwrap_or_default(), &Pen::default());
        line
    }

    #[inline]
    fn extend(&mut self, more: &str, pen: &Pen) {
        let start = self.text.len();
        let shown = if start == 0 { without_mark(more) } else { more };
        self.has_gaps |=
            shown.len() < more.len() || memchr::memchr(b'\t', more.as_bytes()).is_some();
        let more = shown;
        self.text.push_str(more);
        if self.parts.is_empty() {
            if pen.is_plain() || more.is_empty() {
                return;
            }
            self.parts.extend((start > 0).then(|| Part { end: start, pen: Pen::default() }));
        }
        let end = self.text.len();
        match self.parts.last_mut() {
            Some(last) if last.pen == *pen => last.end = end,
            _ => self.parts.push(Part { end, pen: pen.clone() }),
        }
    }

    /// It is what a line shows.
    fn copy(&mut self, line: &Line) {
        self.at = line.offset();
        self.text.clear();
        self.parts.clear();
        for (pen, text) in line.as_row().pens() {
            self.extend(text, &pen);
        }
    }

    /// It is complete, and takes so many columns.
    fn complete(&mut self, columns: usize) {
        let trimmed = self.text.trim_end();
        let blanks = self.text.get(trimmed.len()..).unwrap_or_default();
        let is_simple = blanks.bytes().all(|byte| byte == b' ');
        let without = if is_simple {
            columns.saturating_sub(blanks.len())
        } else {
            cells::text_columns(trimmed)
        };
        self.columns = (columns, without);
        self.letters = letters(&self.text);
    }

    /// Whether something of this text would be left if the other one were drawn over it, and the
    /// other one has nothing to do with it.
    fn shows_behind(&self, other: &Self) -> bool {
        let shorter = self.letters.min(other.letters);
        self.columns.1 > other.columns.0 && !have_same_words(&self.text, &other.text, shorter)
    }

    /// The memory that it takes, in bytes.
    fn weight(&self) -> usize {
        let covered = self.covered.as_ref().map_or(0, |line| line.weight());
        self.text.capacity() + self.parts.capacity() * size_of::<Part>() + covered
    }
}

/// Whether the letters of two texts are mostly the same, from their starts or from their ends. The
/// digits and bars of a redrawn row change, and most of its words do not. The shorter one has so many
/// letters.
fn have_same_words(one: &str, other: &str, shorter: usize) -> bool {
    if one.is_ascii() && other.is_ascii() {
        let (one, other) = (one.bytes(), other.bytes());
        let (one, other) =
            (one.filter(u8::is_ascii_alphabetic), other.filter(u8::is_ascii_alphabetic));
        return are_mostly_same(one, other, shorter);
    }
    are_mostly_same(one.chars().filter(is_letter), other.chars().filter(is_letter), shorter)
}

fn are_mostly_same<T: PartialEq>(
    one: impl DoubleEndedIterator<Item = T> + Clone,
    other: impl DoubleEndedIterator<Item = T> + Clone,
    shorter: usize,
) -> bool {
    let enough = shorter.div_ceil(2);
    let is_same = |(one, other): &(T, T)| one == other;
    let start = one.clone().zip(other.clone()).take(enough).take_while(is_same).count();
    start == enough
        || start + one.rev().zip(other.rev()).take(enough).take_while(is_same).count() >= enough
}

/// How many letters a text has.
fn letters(text: &str) -> usize {
    if text.is_ascii() {
        text.bytes().map(|byte| usize::from(byte.is_ascii_alphabetic())).sum()
    } else {
        text.chars().filter(is_letter).count()
    }
}

/// Whether a character is a letter. For most this is known without a table.
fn is_letter(&ch: &char) -> bool {
    let is_in_table = !ch.is_ascii() && !progress::is_of_drawing(ch);
    ch.is_ascii_alphabetic() || (is_in_table && ch.is_alphabetic())
}

impl Returns {
    /// The memory of the texts, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.texts.iter().map(Text::weight).sum()
    }

    /// The last text is complete, behind so many columns: judges it. Returns whether this line, with
    /// which it ends, shows nothing else.
    fn complete(&mut self, columns: usize, line: &mut Line) -> bool {
        let Some(last) = self.texts.len().checked_sub(1) else { return false };
        self.texts[last].complete(columns);
        self.remnants &= !1;
        if last > 0 && self.texts[last - 1].shows_behind(&self.texts[last]) {
            self.remnants |= 1;
        }
        self.shows_last(line)
    }

    /// Whether a line shows the last text and nothing else.
    fn shows_last(&self, line: &mut Line) -> bool {
        let Some(last) = self.texts.back() else { return false };
        if !last.has_gaps {
            return last.columns.0 >= self.width;
        }
        line.flatten();
        line.looks_like(&last.line(last.at))
    }

    /// Forgets the texts.
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last text is complete: finds out whether it looks like progress.
    fn look_for_progress(&mut self) {
        if let Some(text) = self.texts.back_mut() {
            text.is_progress = progress::is_progress(&text.text);
        }
    }

    /// The first text is what a line shows.
    fn begin_with(&mut self, line: &Line) {
        let mut text = Text::default();
        text.copy(line);
        self.texts.push_back(text);
    }

    /// Begins a text, which is drawn over a line or has a line of its own. The line shows the last
    /// text and nothing else if `shows_last`.
    fn begin(&mut self, at: u64, over: Option<&Line>, shows_last: bool) {
        // One more than is judged: the text before the first one that is.
        if self.texts.len() > WINDOW {
            // The oldest one's buffers are used again.
            self.texts.rotate_left(1);
        } else {
            self.texts.push_back(Text::default());
        }
        self.remnants <<= 1;
        let Some(text) = self.texts.back_mut() else { return };
        text.at = at;
        text.text.clear();
        text.parts.clear();
        (text.is_progress, text.has_gaps) = (false, false);
        self.width = over.map_or(0, Line::columns);
        text.before = match over {
            None => Before::Nothing,
            Some(line) if shows_last => Before::Text { edited: line.as_row().edited },
            Some(line) => {
                text.covered.get_or_insert_with(|| Box::new(Line::new(at))).copy(line);
                Before::Line
            }
        };
    }

    /// Whether enough of the last returns, up to `count`, leave a remnant.
    fn end_lines(&self, count: usize) -> bool {
        let last = self.remnants & ((1 << count) - 1);
        last.count_ones() >= REMNANTS_MIN
    }

    /// Whether there are so many texts, and most of the last ones do not look like progress.
    fn are_lines(&self, count: usize) -> bool {
        let progress = self.texts.iter().rev().take(count).filter(|text| text.is_progress).count();
        self.texts.len() >= count && progress * 2 < count
    }
}

/// A text at the start of a row, where a byte order mark is not shown.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

impl Screen {
    /// The cursor moves other than by returns, or something is erased.
    pub(super) fn forget_returns(&mut self) {
        (self.returned, self.is_unbroken) = (false, false);
        self.returns = None;
    }

    /// A newline ends the last text.
    pub(super) fn end_returns(&mut self) {
        let columns = self.text_columns();
        self.returned = false;
        if let Some(mut returns) = self.returns.take() {
            returns.complete(columns, &mut self.lines[self.row]);
            if returns.end_lines(WINDOW) {
                self.divide(&mut returns);
            }
        }
    }

    /// Text comes at the start of the row, after a return.
    pub(super) fn follow_return(&mut self, at: u64) {
        let columns = self.text_columns();
        self.returned = false;
        let is_last = self.row + 1 == self.lines.len();
        if !is_last || self.column != Some(0) {
            self.returns = None;
            return;
        }
        let line = &mut self.lines[self.row];
        let is_wide = line.continues || line.is_heavy() || line.is_longer(TEXT_CHARS_MAX);
        let mut returns: Box<Returns> = self.returns.take().unwrap_or_default();
        let is_first = returns.texts.is_empty();
        let mut shows_last = false;
        if is_wide {
            returns.clear();
        } else if is_first {
            line.flatten();
            returns.begin_with(line);
            shows_last = returns.complete(line.columns(), line);
        }
        if self.is_unbroken {
            returns.look_for_progress();
        }
        let are_lines = self.is_unbroken && returns.are_lines(WINDOW);
        if !is_first && !is_wide {
            shows_last = returns.complete(columns, &mut self.lines[self.row]);
            if are_lines || returns.end_lines(WINDOW) {
                shows_last |= self.divide(&mut returns);
            }
        }
        let ends_line = is_wide || are_lines || returns.end_lines(WINDOW - 1);
        if ends_line {
            self.end_line_at_return(at);
        }
        let over = Some(&self.lines[self.row]).filter(|_| !ends_line);
        returns.begin(at, over, shows_last);
        self.returns = Some(returns);
    }

    /// Text is about to be written, and it continues the last one between returns.
    #[inline]
    pub(super) fn extend_text(&mut self, more: &str) {
        let Some(returns) = &mut self.returns else { return };
        let Some(text) = returns.texts.back_mut() else { return };
        let bytes = text.text.len() + more.len();
        if bytes > TEXT_CHARS_MAX
            && text.text.chars().count() + more.chars().count() > TEXT_CHARS_MAX
        {
            // No screen is so wide.
            if let Some(mut returns) = self.returns.take()
                && returns.texts.back().is_some_and(|text| !matches!(text.before, Before::Nothing))
            {
                self.divide(&mut returns);
                self.column = None;
            }
            return;
        }
        text.extend(more, &self.pen);
    }

    /// Shows texts as rows that no newline has made one row yet, until more comes.
    pub(super) fn show_returns(&mut self) {
        let Some(returns) = self.returns.as_ref().filter(|_| self.is_unbroken) else { return };
        let returned = returns.texts.len().saturating_sub(usize::from(!self.returned));
        let is_drawn_over =
            returns.texts.iter().any(|text| !matches!(text.before, Before::Nothing));
        if self.undivided.is_some() || returned < RETURNS_MIN || !is_drawn_over {
            return;
        }
        let mut returns = returns.clone();
        returns.look_for_progress();
        if !returns.are_lines(returns.texts.len().min(WINDOW)) {
            return;
        }
        let (row, column) = (self.row, self.column);
        let (line, groups) = (self.lines[row].clone(), self.groups.clone());
        self.undivided = Some(Box::new(Undivided { row, line, column, groups }));
        // Nothing becomes final that a newline may still change.
        let (top, returned) = (self.top, self.returned);
        self.divide(&mut returns);
        (self.top, self.returned) = (top, returned);
    }

    /// Goes back to the one row.
    pub(super) fn hide_returns(&mut self) {
        let Some(undivided) = self.undivided.take() else { return };
        let Undivided { row, line, column, groups } = *undivided;
        self.lines.truncate(row);
        self.lines.push(line);
        self.touch(row);
        (self.row, self.column, self.groups) = (row, column, groups);
    }

    /// How many columns the last text takes, after it or after the return behind it.
    fn text_columns(&self) -> usize {
        if self.returned { self.returned_from } else { self.column_number() }
    }

    /// Makes a row of each text that was drawn over another one. Returns whether there were any;
    /// the last row then shows the last text and nothing else.
    fn divide(&mut self, returns: &mut Returns) -> bool {
        let judged = returns.texts.len().saturating_sub(WINDOW);
        let mut is_first = true;
        for nth in judged..returns.texts.len() {
            let before = std::mem::take(&mut returns.texts[nth].before);
            let shown = &self.lines[self.row];
            let row = match before {
                Before::Nothing if is_first => continue,
                Before::Text { edited } if is_first && nth > 0 => {
                    Some(returns.texts[nth - 1].line(shown.offset()).noted_like(shown, edited))
                }
                Before::Line if is_first => returns.texts[nth].covered.take().map(|line| *line),
                _ => None,
            };
            if let Some(row) = row {
                self.lines[self.row] = row;
            }
            is_first = false;
            let text = &returns.texts[nth];
            self.end_line_at_return(text.at);
            self.lines[self.row] = text.line(text.at);
        }
        if !is_first {
            self.column = Some(0);
        }
        !is_first
    }

    /// Ends the last row, and opens another one that begins at this offset.
    fn end_line_at_return(&mut self, at: u64) {
        self.read_marker(ci_marker::at_line_end);
        self.touch(self.row);
        self.lines[self.row].row().ended = true;
        self.lines.push(Line::new(at));
        self.row = self.lines.len() - 1;
        self.top = self.top.max(self.lines.len().saturating_sub(SCREEN_ROWS));
        self.column = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{offsets, rows_of, texts};
    use super::{have_same_words, letters};

    #[test]
    fn lines_that_end_with_carriage_returns_alone_are_rows() {
        let lines = [
            "Started the service on port 8080",
            "listening",
            "a client has connected from 10.0.0.7",
            "GET /index.html",
            "closed",
        ];
        for end in ["", "\r", "\r\n"] {
            let log = lines.join("\r") + end;
            assert_eq!(texts(log.as_bytes()), lines, "{log:?}");
            let starts: Vec<u64> = lines
                .iter()
                .scan(0, |at, line| {
                    *at += line.len() as u64 + 1;
                    Some(*at - line.len() as u64 - 1)
                })
                .collect();
            assert_eq!(offsets(log.as_bytes()), starts, "{log:?}");
        }
        // What follows is a line of its own again.
        let log = lines.join("\r") + "\n10%\r20%\n";
        assert_eq!(texts(log.as_bytes())[5..], ["20%"]);
    }

    #[test]
    fn what_draws_over_a_row_stays_one_row() {
        for log in [
            "10%\r20%\r30%\r100%\r9%",
            "Receiving objects:  99% (99/100)\rReceiving objects: 100% (100/100), done.\r",
            "Downloading index  \rUnpacking          \rDone               ",
            "Downloading index\r\x1b[KUnpacking\r\x1b[KDone\r\x1b[Kok",
            "\nProcessing one/two/three.txt\rProcessing a.txt\rProcessing b\rProcessing cd.txt",
            "\rStep 1\rStep 2\rStep 3",
            "Step 1\rStep 2\rStep 3\n",
            "\n\x1b[32ml1\rl2\rl3\r",
            "⠋ installing lodash\r⠙ installing d3   \r⠹ linking         \r⠸ building        ",
            "|####      | 40%\r|######    | 60%\r|##########| 100%\r",
            "  0 100M    0     0    0     0 --:--:--\r 10 100M   10   12M    0     0  0:00:01\r",
        ] {
            let rows = texts(log.trim_start_matches('\n').as_bytes());
            let rows = if log.starts_with('\n') { &texts(log.as_bytes())[1..] } else { &rows };
            assert_eq!(rows.len(), 1, "{log:?}: {rows:?}");
        }
    }

    #[test]
    fn a_log_without_newlines_has_rows_at_its_carriage_returns() {
        for log in ["l1\rl2\rl3\r", "line 1\rline 2\r\x1b[31mline 3", "aaa\rbbb\r", "1\r2\r3"] {
            let lines: Vec<&str> = log
                .trim_end_matches('\r')
                .split('\r')
                .map(|line| line.trim_start_matches("\x1b[31m"))
                .collect();
            assert_eq!(texts(log.as_bytes()), lines, "{log:?}");
            let pieces = rows_of(log.as_bytes().chunks(1));
            assert_eq!(pieces, rows_of([log.as_bytes()]), "{log:?}");
            // A newline tells what its lines end with.
            assert_eq!(texts(format!("{log}\n").as_bytes()).len(), 1, "{log:?}");
        }
        let lines: Vec<String> = (100..300).map(|n| format!("line {n}")).collect();
        for end in ["", "\r", "\r\n", "\n"] {
            let log = lines.join("\r") + end;
            assert_eq!(texts(log.as_bytes()), lines, "{end:?}");
            assert_eq!(rows_of(log.as_bytes().chunks(7)), rows_of([log.as_bytes()]), "{end:?}");
        }
        let marked = "::group::a\r::error::b\r::endgroup::\r";
        assert_eq!(rows_of(marked.as_bytes().chunks(1)), rows_of([marked.as_bytes()]));
        assert_eq!(
            rows_of([marked.as_bytes()]).iter().filter(|row| row.note().is_some()).count(),
            2
        );
    }

    #[test]
    fn rows_that_were_texts_are_taken_back_by_whatever_ends_them() {
        for end in ["\x1b[1C", "\x1b[D", "\x1b7", "\x08", "\n"] {
            let (texts, end) = (b"l1\rl2\rl3".as_slice(), end.as_bytes());
            let whole = rows_of([&[texts, end].concat()[..]]);
            assert_eq!(rows_of([texts, end]), whole, "{end:?}");
            assert_eq!(whole.len(), 1, "{end:?}");
        }
    }

    #[test]
    fn a_text_that_no_screen_could_hold_is_a_row_of_its_own() {
        let (long, short) = ("word ".repeat(200), "word");
        for parts in [[&*long, short], [short, &*long], [&*long, &*long]] {
            assert_eq!(texts(parts.join("\r").as_bytes()), parts, "{parts:?}");
        }
    }

    #[test]
    fn words_are_compared_without_what_changes_in_a_redrawn_row() {
        for (one, other, same) in [
            ("10%", "9%", true),
            ("Installing lodash", "Installing d3", true),
            ("Compiling foo v1", "Linking foo v1", true),
            ("2026-11-28 14:02:07 INFO starting", "2026-11-28 14:02:08 INFO loaded it", false),
            ("closed", "GET /index.html", false),
            ("━━━ 1 MB", "━━━ 22 MB", true),
            ("Téléchargement 9%", "Téléchargement 10%", true),
            ("été", "œuf", false),
            ("12", "345", true),
        ] {
            let shorter = letters(one).min(letters(other));
            assert_eq!(have_same_words(one, other, shorter), same, "{one:?} {other:?}");
        }
    }
}
