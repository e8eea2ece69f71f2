//! Searches lines, and takes the stack trace of an error along with it.
//!
//! A line that continues the message of an error shares its fate: it matches if the error does. It
//! also matches by its own text, unless the pattern is inverted.

use std::borrow::Cow;

use crate::log::Offset;
use crate::render::Level;
use crate::search::levels::level_of;
use crate::search::pattern::{LineMatcher, Pattern};
use crate::search::rows::{RowPosition, RowsRequest, rows};
use crate::search::stack_trace::{Continuation, is_cause};
use crate::search::{LineIndex, SearchError, Snapshot};
use crate::wire::frame::Form;

/// How many rows before the first one are searched for the error that it belongs to: most traces
/// are short.
const ROWS_BEFORE: [usize; 2] = [16, 512];

/// Searches lines in order.
#[derive(Debug, Default)]
pub(super) struct TraceMatcher {
    lines: LineMatcher,
    head: Option<Head<'static>>,
}

impl TraceMatcher {
    /// A matcher for rows from an offset on, which may lie in a stack trace.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn starting_at(
        snapshot: &Snapshot,
        from: Offset,
        pattern: &Pattern,
    ) -> Result<Self, SearchError> {
        let mut matcher = Self::default();
        if from == Offset(0) {
            return Ok(matcher);
        }
        let rows = |place, count| {
            let request = RowsRequest { place, count, form: Form::TextRows };
            rows(snapshot, &LineIndex::default(), request)
        };
        let here = rows(RowPosition::From(from), 2)?;
        let Some(first) = here.rows.iter().find(|row| row.offset >= from) else {
            return Ok(matcher);
        };
        let may_continue = |text: &str| Continuation::of(text.as_bytes()) != Continuation::None;
        if !may_continue(&first.content) {
            return Ok(matcher);
        }
        for count in ROWS_BEFORE {
            let before = rows(RowPosition::Before(first.offset), count)?;
            if let Some(head) = before.rows.iter().rposition(|row| !may_continue(&row.content)) {
                for row in &before.rows[head..] {
                    matcher.accepts(pattern, row.content.as_bytes());
                }
                break;
            }
            if before.at_start {
                break;
            }
        }
        Ok(matcher)
    }

    /// Whether the next row matches, given its text.
    pub(super) fn accepts(&mut self, pattern: &Pattern, text: &[u8]) -> bool {
        let is_match = pattern.accepts(text);
        if let Some(head) = &mut self.head
            && head.is_continued_by(text)
        {
            return head.is_match || (is_match && !pattern.is_inverted());
        }
        let counts = is_match || pattern.is_inverted();
        self.head = counts.then(|| Head::new(Cow::Owned(text.to_vec()), is_match));
        is_match
    }

    /// Calls `on_match` with the start and the text of each of the next lines that matches, until
    /// it returns false.
    pub(super) fn for_each_line(
        &mut self,
        pattern: &Pattern,
        text: &[u8],
        mut on_match: impl FnMut(usize, &[u8]) -> bool,
    ) {
        if pattern.is_inverted() {
            let mut at = 0;
            for line in text.split_inclusive(|&byte| byte == b'\n') {
                let content = line.strip_suffix(b"\n").unwrap_or(line);
                if self.accepts(pattern, content) && !on_match(at, content) {
                    return;
                }
                at += line.len();
            }
            return;
        }
        let mut traces = Traces { text, at: 0, head: self.head.take() };
        let mut wants_more = true;
        self.lines.for_each_line(pattern, text, |at, line| {
            wants_more = traces.take_until(at, &mut on_match) && {
                traces.take(at, line);
                on_match(at, line)
            };
            wants_more
        });
        if wants_more {
            traces.take_until(text.len(), &mut on_match);
        }
        self.head = traces.head.map(Head::into_owned);
    }
}

/// The matching line that the lines behind it may belong to.
#[derive(Debug)]
struct Head<'t> {
    text: Cow<'t, [u8]>,
    is_match: bool,
    /// Looked up when a line continues it.
    is_error: Option<bool>,
}

impl<'t> Head<'t> {
    fn new(text: Cow<'t, [u8]>, is_match: bool) -> Self {
        Self { text, is_match, is_error: None }
    }

    /// Whether it is an error, or the cause of one, and a line goes on with it.
    fn is_continued_by(&mut self, line: &[u8]) -> bool {
        let text = &self.text;
        Continuation::of(line).continues(text)
            && *self
                .is_error
                .get_or_insert_with(|| level_of(text) == Some(Level::Error) || is_cause(text))
    }

    fn into_owned(self) -> Head<'static> {
        Head { text: Cow::Owned(self.text.into_owned()), ..self }
    }
}

/// The stack traces between the matching lines of a text.
struct Traces<'t> {
    text: &'t [u8],
    /// The line behind the last one that matched.
    at: usize,
    head: Option<Head<'t>>,
}

impl<'t> Traces<'t> {
    /// Passes on the lines before `end` that belong to the last match. Returns whether `on_match`
    /// wants more.
    fn take_until(&mut self, end: usize, on_match: &mut impl FnMut(usize, &[u8]) -> bool) -> bool {
        while self.at < end {
            let Some(head) = &mut self.head else { break };
            let rest = &self.text[self.at..];
            let line = memchr::memchr(b'\n', rest).map_or(rest, |newline| &rest[..newline]);
            if !head.is_continued_by(line) {
                self.head = None;
                break;
            }
            let start = self.at;
            self.at += line.len() + 1;
            if !on_match(start, line) {
                return false;
            }
        }
        true
    }

    /// Notes a line that matches by itself.
    fn take(&mut self, at: usize, line: &[u8]) {
        let is_continuation =
            self.at == at && self.head.as_mut().is_some_and(|head| head.is_continued_by(line));
        if !is_continuation {
            let line = &self.text[at..at + line.len()];
            self.head = Some(Head::new(Cow::Borrowed(line), true));
        }
        self.at = at + line.len() + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::snapshot_of;
    use proptest::prelude::*;

    const LOG: &str = "\
INFO start
ERROR it broke
java.lang.IllegalStateException: no
\tat a.B.c(B.java:3)
Caused by: java.io.IOException: closed
\t... 3 more
INFO next
\tat no.error.of(Mine.java:1)
WARN slow
    indented under a warning
ERROR again
    at f (/src/a.js:1:79)
";

    fn level(level: Level) -> PatternSpec {
        PatternSpec { level: Some(level), ..PatternSpec::default() }
    }

    fn text(pattern: &str) -> PatternSpec {
        PatternSpec { pattern: Some(pattern.to_owned()), ..PatternSpec::default() }
    }

    /// The number of the line at an offset, from 1.
    fn number(log: &str, at: usize) -> usize {
        1 + log.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }

    /// The numbers of the lines that match, from 1.
    fn taken(spec: &PatternSpec, log: &str) -> Vec<usize> {
        let pattern = Pattern::new(spec).unwrap();
        let mut found = Vec::new();
        TraceMatcher::default().for_each_line(&pattern, log.as_bytes(), |at, line| {
            assert!(log.as_bytes()[at..].starts_with(line));
            found.push(number(log, at));
            true
        });
        found
    }

    #[test]
    fn the_stack_trace_of_an_error_matches_with_it() {
        assert_eq!(taken(&level(Level::Error), LOG), [2, 3, 4, 5, 6, 11, 12]);
        assert_eq!(taken(&level(Level::Warning), LOG), [9]);
        assert_eq!(taken(&text("again"), LOG), [11, 12]);
        assert_eq!(taken(&text("it broke"), LOG), [2], "line 3 is an error of its own");
        assert_eq!(taken(&text("next"), LOG), [7], "a trace belongs to errors only");
        assert_eq!(taken(&text("closed"), LOG), [5, 6], "a cause is an error, too");
        let others = PatternSpec { invert: true, ..level(Level::Error) };
        assert_eq!(taken(&others, LOG), [1, 7, 8, 9, 10]);
        let without = PatternSpec { invert: true, ..text("again") };
        assert_eq!(taken(&without, LOG), (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn a_search_that_begins_in_a_stack_trace_knows_its_error() {
        let trace = "\tat a.B.c(B.java:3)\n".repeat(100);
        let log = format!("ERROR it broke\n{trace}INFO next\n\tat a.B.c(B.java:3)\nend\n");
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let pattern = Pattern::new(&level(Level::Error)).unwrap();
        let from = |offset: usize| {
            let mut matcher =
                TraceMatcher::starting_at(&snapshot, Offset(offset as u64), &pattern).unwrap();
            let line = log.as_bytes()[offset..].split(|&byte| byte == b'\n').next().unwrap();
            matcher.accepts(&pattern, line)
        };
        let line =
            |number: usize| log.split_inclusive('\n').take(number - 1).map(str::len).sum::<usize>();
        for (number, expected) in [(1, true), (2, true), (101, true), (102, false), (103, false)] {
            assert_eq!(from(line(number)), expected, "line {number}");
        }
    }

    proptest! {
        #[test]
        fn pieces_of_a_text_match_as_the_whole_and_row_by_row(
            lines in proptest::collection::vec(
                proptest::sample::select(vec![
                    "ERROR a", "\tat a.B.c(B.java:3)", "INFO b", "Caused by: x.Y: z", "", "plain a",
                ]),
                0..30,
            ),
            cut in 0usize..30,
            spec in proptest::sample::select(vec![
                level(Level::Error), text("a"), text("z"),
                PatternSpec { invert: true, ..level(Level::Error) },
                PatternSpec { invert: true, ..text("a") },
            ]),
        ) {
            let pattern = Pattern::new(&spec).unwrap();
            let mut matcher = TraceMatcher::default();
            let by_row: Vec<usize> = (0..lines.len())
                .filter(|&at| matcher.accepts(&pattern, lines[at].as_bytes()))
                .map(|at| at + 1)
                .collect();
            let log: String = lines.iter().map(|line| format!("{line}\n")).collect();
            prop_assert_eq!(&taken(&spec, &log), &by_row);
            let cut = cut.min(lines.len());
            let at = lines[..cut].iter().map(|line| line.len() + 1).sum::<usize>();
            let mut matcher = TraceMatcher::default();
            let mut found = Vec::new();
            let (first, second) = log.as_bytes().split_at(at);
            for (start, piece) in [(0, first), (at, second)] {
                matcher.for_each_line(&pattern, piece, |at, _| {
                    found.push(number(&log, start + at));
                    true
                });
            }
            prop_assert_eq!(&found, &by_row);
        }
    }
}
