//! Taking lines out of a log: all of a part, or those that are looked for, as they stand in the file or as they are shown.

use std::io;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use crate::log::Offset;
use crate::render::Row;
use crate::search::pattern::{self, Pattern};
use crate::search::scan::{Lines, Reader, Scan};
use crate::search::{SearchError, Snapshot};

/// So much is taken at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Lines that are being taken out of a log.
pub struct Extract {
    view: Snapshot,
    scan: Scan,
    taker: Taker,
    /// What of the file is given next.
    ranges: std::vec::IntoIter<Range<u64>>,
    range: Range<u64>,
}

impl Extract {
    /// Begins to take the rows of a part; those that are looked for, if something is; as they are shown, or as they stand.
    ///
    /// # Errors
    /// When the log can't be read.
    pub fn new(
        view: Snapshot,
        part: Range<Offset>,
        pattern: Option<Pattern>,
        is_shown: bool,
    ) -> Result<Self, SearchError> {
        let scan = Scan::new(&view, part.start, part.end, true)?;
        let taker = Taker {
            pattern,
            lines: pattern::LineMatcher::default(),
            is_shown,
            text: Vec::new(),
            ranges: Vec::new(),
        };
        Ok(Self { view, scan, taker, ranges: Vec::new().into_iter(), range: 0..0 })
    }

    /// Goes on for so long at most, and gives what comes next; empty where nothing was found in that time. None at the
    /// end. It blocks.
    ///
    /// # Errors
    /// When the log can't be read, or was cut meanwhile.
    pub fn next(&mut self, slice: Duration) -> Result<Option<Vec<u8>>, SearchError> {
        if let Some(bytes) = self.next_of_file()? {
            return Ok(Some(bytes));
        }
        if self.scan.is_done() {
            return Ok(None);
        }
        self.scan.run(&mut self.taker, Instant::now() + slice)?;
        if !self.view.is_intact()? {
            return Err(SearchError::Gone(None));
        }
        self.ranges = std::mem::take(&mut self.taker.ranges).into_iter();
        if self.taker.is_shown {
            return Ok(Some(std::mem::take(&mut self.taker.text)));
        }
        Ok(Some(self.next_of_file()?.unwrap_or_default()))
    }

    /// The bytes of the ranges that were found: those that are near to each other at once.
    fn next_of_file(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut read: (u64, Vec<u8>) = (0, Vec::new());
        while bytes.len() < PIECE_BYTES {
            if self.range.is_empty() {
                let Some(next) = self.ranges.next() else { break };
                self.range = next;
            }
            let start = self.range.start;
            let known = start.checked_sub(read.0).map(|at| at as usize);
            let rest = known.and_then(|at| read.1.get(at..)).filter(|rest| !rest.is_empty());
            let Some(rest) = rest else {
                read = (start, self.view.read(Offset(start), PIECE_BYTES)?);
                if read.1.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            };
            let wanted = usize::try_from(self.range.end - start).unwrap_or(usize::MAX);
            let taken = rest.get(..wanted).unwrap_or(rest);
            bytes.extend_from_slice(taken);
            self.range.start += taken.len() as u64;
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}

struct Taker {
    pattern: Option<Pattern>,
    lines: pattern::LineMatcher,
    is_shown: bool,
    /// What is shown.
    text: Vec<u8>,
    /// What stands in the file.
    ranges: Vec<Range<u64>>,
}

impl Taker {
    fn take(&mut self, range: Range<u64>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

impl Reader for Taker {
    fn is_full(&self) -> bool {
        self.text.len() >= PIECE_BYTES || self.ranges.len() >= PIECE_BYTES / size_of::<Range<u64>>()
    }

    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset> {
        let text = row.text().as_bytes();
        if self.pattern.as_ref().is_none_or(|pattern| pattern.accepts(text)) {
            if self.is_shown {
                self.text.extend_from_slice(text);
                if row.ended {
                    self.text.push(b'\n');
                }
            } else {
                self.take(row.offset..end.0);
            }
        }
        ControlFlow::Continue(())
    }

    fn lines(&mut self, lines: &Lines<'_>) -> ControlFlow<Offset> {
        let Some(pattern) = self.pattern.clone() else {
            if self.is_shown {
                self.text.extend_from_slice(lines.text);
            } else {
                self.take(lines.at.0..lines.at.plus(lines.raw.len()).0);
            }
            return ControlFlow::Continue(());
        };
        let mut searcher = std::mem::take(&mut self.lines);
        let mut places = lines.places();
        searcher.each(&pattern, lines.text, |at, text| {
            let (offset, raw) = places.of(at);
            if self.is_shown {
                self.text.extend_from_slice(text);
                if raw.ends_with(b"\n") {
                    self.text.push(b'\n');
                }
            } else {
                self.take(offset.0..offset.plus(raw.len()).0);
            }
            true
        });
        self.lines = searcher;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::view_of;

    fn taken(view: &Snapshot, part: Range<u64>, text: Option<&str>, is_shown: bool) -> Vec<u8> {
        let pattern = text.map(|text| {
            let sought = PatternSpec { pattern: Some(text.to_owned()), ..PatternSpec::default() };
            Pattern::new(&sought).unwrap()
        });
        let part = Offset(part.start)..Offset(part.end);
        let mut extract = Extract::new(view.clone(), part, pattern, is_shown).unwrap();
        let mut all = Vec::new();
        while let Some(bytes) = extract.next(Duration::from_micros(10)).unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn lines_come_as_they_stand_or_as_they_are_shown() {
        let one = "first\r\n\x1b[31mtwo\x1b[m\n10%\r20% two\nthree\n\x1b[2Ktwo\n";
        let log = format!("{}two", one.repeat(20_000));
        let (view, _directory) = view_of(log.as_bytes());
        let all = || 0..u64::MAX;
        assert!(taken(&view, all(), None, false) == log.as_bytes(), "all of it");
        let shown = "first\ntwo\n20% two\nthree\ntwo\n";
        let shown_log = format!("{}two", shown.repeat(20_000));
        assert!(taken(&view, all(), None, true) == shown_log.as_bytes(), "all of its text");
        let some = format!("{}two", "\x1b[31mtwo\x1b[m\n10%\r20% two\n\x1b[2Ktwo\n".repeat(20_000));
        assert!(taken(&view, all(), Some("two"), false) == some.as_bytes(), "some of it");
        let some = format!("{}two", "two\n20% two\ntwo\n".repeat(20_000));
        assert!(taken(&view, all(), Some("two"), true) == some.as_bytes(), "the text of that");
        let part = taken(&view, 7..37, None, false);
        assert_eq!(part, b"\x1b[31mtwo\x1b[m\n10%\r20% two\nthree\n");
    }
}
