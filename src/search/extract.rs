//! Extracts lines of a log: all lines of a part or those that match, as raw bytes or as shown text.
//! The stack trace of an error comes with it.

use std::io;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use crate::log::Offset;
use crate::render::{Rendition, Row};
use crate::search::pattern::Pattern;
use crate::search::plain_lines::PlainLines;
use crate::search::scan::{RowSink, Scan};
use crate::search::trace_matcher::TraceMatcher;
use crate::search::{SearchError, Snapshot};
use crate::wire::frame::Form;

/// The size of one piece of the output.
const PIECE_BYTES: usize = 256 * 1024;

/// An extraction in progress.
pub struct Extract {
    snapshot: Snapshot,
    scan: Scan,
    sink: ExtractSink,
    /// The next ranges of the file.
    ranges: std::vec::IntoIter<Range<u64>>,
    range: Range<u64>,
}

impl Extract {
    /// Starts to extract the lines of a part, or only those that match `pattern`. `as_text` selects
    /// the text of the rows instead of the raw bytes.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(
        snapshot: Snapshot,
        part: Range<Offset>,
        pattern: Option<Pattern>,
        as_text: bool,
        rendition: Rendition,
    ) -> Result<Self, SearchError> {
        let form = Form::TextRows.with(rendition);
        let scan = Scan::new(&snapshot, part.start, part.end, form)?;
        let matcher = match &pattern {
            Some(pattern) => TraceMatcher::starting_at(&snapshot, part.start, pattern)?,
            None => TraceMatcher::default(),
        };
        let sink = ExtractSink { pattern, matcher, as_text, text: Vec::new(), ranges: Vec::new() };
        Ok(Self { snapshot, scan, sink, ranges: Vec::new().into_iter(), range: 0..0 })
    }

    /// The next piece, found within `slice`. It is empty if nothing matched in that time, and
    /// `None` at the end. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read, or was truncated meanwhile.
    pub fn next(&mut self, slice: Duration) -> Result<Option<Vec<u8>>, SearchError> {
        if let Some(bytes) = self.next_of_file()? {
            return Ok(Some(bytes));
        }
        if self.scan.is_done() {
            return Ok(None);
        }
        self.scan.run(&mut self.sink, Instant::now() + slice)?;
        if !self.snapshot.is_intact()? {
            return Err(SearchError::Gone(None));
        }
        self.ranges = std::mem::take(&mut self.sink.ranges).into_iter();
        if self.sink.as_text {
            return Ok(Some(std::mem::take(&mut self.sink.text)));
        }
        Ok(Some(self.next_of_file()?.unwrap_or_default()))
    }

    /// The bytes of the next ranges. Ranges close to each other are read at once.
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
                read = (start, self.snapshot.read(Offset(start), PIECE_BYTES)?);
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

struct ExtractSink {
    pattern: Option<Pattern>,
    matcher: TraceMatcher,
    as_text: bool,
    /// The shown text, with `as_text`.
    text: Vec<u8>,
    /// The ranges of the file, without `as_text`.
    ranges: Vec<Range<u64>>,
}

impl ExtractSink {
    fn take(&mut self, range: Range<u64>) {
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

impl RowSink for ExtractSink {
    fn is_full(&self) -> bool {
        self.text.len() >= PIECE_BYTES || self.ranges.len() >= PIECE_BYTES / size_of::<Range<u64>>()
    }

    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset> {
        let text = row.text().as_bytes();
        let Self { pattern, matcher, .. } = self;
        if pattern.as_ref().is_none_or(|pattern| matcher.accepts(pattern, text)) {
            if self.as_text {
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

    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
        let Some(pattern) = self.pattern.clone() else {
            if self.as_text {
                self.text.extend_from_slice(lines.text);
            } else {
                self.take(lines.raw.offset()..lines.raw.end());
            }
            return ControlFlow::Continue(());
        };
        let mut matcher = std::mem::take(&mut self.matcher);
        let mut offsets = lines.line_offsets();
        matcher.for_each_line(&pattern, lines.text, |at, text| {
            let raw = offsets.of(at);
            if self.as_text {
                self.text.extend_from_slice(text);
                if raw.bytes().ends_with(b"\n") {
                    self.text.push(b'\n');
                }
            } else {
                self.take(raw.offset()..raw.end());
            }
            true
        });
        self.matcher = matcher;
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::snapshot_of;

    fn taken(snapshot: &Snapshot, part: Range<u64>, text: Option<&str>, as_text: bool) -> Vec<u8> {
        let pattern = text.map(|text| {
            let spec = PatternSpec { pattern: Some(text.to_owned()), ..PatternSpec::default() };
            Pattern::new(&spec).unwrap()
        });
        let part = Offset(part.start)..Offset(part.end);
        let mut extract =
            Extract::new(snapshot.clone(), part, pattern, as_text, Rendition::Shown).unwrap();
        let mut all = Vec::new();
        while let Some(bytes) = extract.next(Duration::from_micros(10)).unwrap() {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn lines_are_extracted_as_raw_bytes_or_as_shown_text() {
        let one = "first\r\n\x1b[31mtwo\x1b[m\n10%\r20% two\nthree\n\x1b[2Ktwo\n";
        let log = format!("{}two", one.repeat(20_000));
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let all = || 0..u64::MAX;
        assert!(taken(&snapshot, all(), None, false) == log.as_bytes(), "all of it");
        let shown = "first\ntwo\n20% two\nthree\ntwo\n";
        let shown_log = format!("{}two", shown.repeat(20_000));
        assert!(taken(&snapshot, all(), None, true) == shown_log.as_bytes(), "all of its text");
        let some = format!("{}two", "\x1b[31mtwo\x1b[m\n10%\r20% two\n\x1b[2Ktwo\n".repeat(20_000));
        assert!(taken(&snapshot, all(), Some("two"), false) == some.as_bytes(), "some of it");
        let some = format!("{}two", "two\n20% two\ntwo\n".repeat(20_000));
        assert!(taken(&snapshot, all(), Some("two"), true) == some.as_bytes(), "the text of that");
        let part = taken(&snapshot, 7..37, None, false);
        assert_eq!(part, b"\x1b[31mtwo\x1b[m\n10%\r20% two\nthree\n");
    }
}
