//! Patterns that rows are searched for.
//!
//! Patterns come from strangers, so their size, memory and nesting are bounded, and matching takes
//! time linear in the text.

use std::io;
use std::ops::Range;

use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use memchr::memmem::Finder;
use regex_syntax::ast::parse::ParserBuilder;

use crate::render::Level;
use crate::search::level_shapes::LevelShapes;
use crate::search::levels::LevelFilter;
use crate::search::prefilter::{self, Glance, Prefilter};
use crate::structure::{BadCondition, FieldFilter};

/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 2048;
/// The largest compiled pattern, in bytes: `\w{1000}` is too large.
const COMPILED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most memory of the lazy DFA while a pattern is used, in bytes.
const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How deep groups may be nested.
const NEST_MAX: u32 = 50;
/// The most matches that are counted and shown in one row. For some patterns each match costs a
/// search of the whole row.
pub const ROW_MATCHES_MAX: usize = 500;

/// A shorter text may be searched as a line of its own.
const LONE_BYTES_MAX: usize = 512;

/// A pattern and its options, as a request names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternSpec {
    /// A text or a regular expression.
    pub pattern: Option<String>,
    /// The pattern is a regular expression.
    pub is_regex: bool,
    /// Distinguish upper and lower case.
    pub has_case: bool,
    /// Match whole words only.
    pub is_word: bool,
    /// Match rows of this level only.
    pub level: Option<Level>,
    /// Match rows of a worse level, too.
    pub or_worse: bool,
    /// Match rows only whose fields fit these conditions.
    pub fields: Option<String>,
    /// Match the other rows. With a pattern and a level or fields: those rows of these without the
    /// pattern.
    pub invert: bool,
}

impl PatternSpec {
    /// Whether it asks for nothing in particular.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pattern.is_none() && self.level.is_none() && self.fields.is_none()
    }
}

/// Why a pattern is refused: one line for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(pub String);

/// A compiled [`PatternSpec`].
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Option<RegexMatcher>,
    /// The same if it is nothing but bytes.
    bytes: Option<Finder<'static>>,
    prefilter: Option<Prefilter>,
    level: Option<LevelFilter>,
    fields: Option<FieldFilter>,
    invert: bool,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// When it is empty, not valid or too large.
    pub fn new(spec: &PatternSpec) -> Result<Self, BadPattern> {
        let text = match spec.pattern.as_deref() {
            Some(pattern) => Some(compile(pattern, spec)?),
            None if spec.is_empty() => {
                return Err(BadPattern("there is nothing to look for".to_owned()));
            }
            None => None,
        };
        let or_worse = spec.or_worse;
        let level = spec.level.map(|level| LevelFilter { level, or_worse });
        let fields = spec.fields.as_deref().map(FieldFilter::parse).transpose();
        let fields = fields.map_err(|BadCondition(message)| BadPattern(message))?;
        let is_bytes = !spec.is_regex && spec.has_case && !spec.is_word;
        let bytes = spec.pattern.as_ref().filter(|_| is_bytes);
        let bytes = bytes.map(|bytes| Finder::new(bytes).into_owned());
        let sought = spec.pattern.as_deref().filter(|_| !spec.invert);
        let prefilter = sought.and_then(|pattern| Prefilter::new(pattern, spec));
        Ok(Self { text, bytes, prefilter, level, fields, invert: spec.invert })
    }

    /// Whether a row with this text matches.
    #[must_use]
    pub fn accepts(&self, text: &[u8]) -> bool {
        match &self.text {
            Some(matcher) => is_match(matcher, text) != self.invert && self.fits(text),
            None => self.fits(text) != self.invert,
        }
    }

    /// The level, if a row of it matches.
    fn only_level(&self) -> Option<LevelFilter> {
        let is_all = !self.invert && self.text.is_none() && self.fields.is_none();
        self.level.filter(|_| is_all)
    }

    /// Whether it matches the rows that do not fit the spec.
    pub(super) fn is_inverted(&self) -> bool {
        self.invert
    }

    /// Whether a row fits besides the pattern's text: by its level and its fields.
    fn fits(&self, text: &[u8]) -> bool {
        self.level.is_none_or(|level| is_match(level.candidates(), text) && level.accepts(text))
            && self.fields.as_ref().is_none_or(|fields| fields.accepts(text))
    }

    /// The number of matches in a matching row, at most [`ROW_MATCHES_MAX`]. It is 1 for a spec
    /// without a pattern and for an inverted one.
    #[must_use]
    pub fn count(&self, text: &[u8]) -> usize {
        match &self.text {
            Some(matcher) if !self.invert => each_match(matcher, text, |_| {}),
            _ => 1,
        }
    }

    /// The bytes of the pattern, if a row that has them matches.
    fn only_bytes(&self) -> Option<&Finder<'static>> {
        let is_all = !self.invert && self.level.is_none() && self.fields.is_none();
        self.bytes.as_ref().filter(|_| is_all)
    }

    /// The ranges of the matches in a row, in bytes. Empty matches are left out.
    #[must_use]
    pub fn ranges(&self, text: &str) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        if let Some(matcher) = self.text.as_ref().filter(|_| !self.invert) {
            each_match(matcher, text.as_bytes(), |range| {
                if !range.is_empty() {
                    ranges.push(range);
                }
            });
        }
        ranges
    }
}

pub(super) fn is_match(matcher: &RegexMatcher, text: &[u8]) -> bool {
    matcher.is_match(text).unwrap_or(false)
}

/// Calls `on_match` for the first matches, and returns their number.
fn each_match(
    matcher: &RegexMatcher,
    text: &[u8],
    mut on_match: impl FnMut(Range<usize>),
) -> usize {
    let mut count = 0;
    // This kind of matcher never fails.
    let _never = matcher.find_iter(text, |found| {
        count += 1;
        on_match(found.start()..found.end());
        count < ROW_MATCHES_MAX
    });
    count
}

fn compile(pattern: &str, spec: &PatternSpec) -> Result<RegexMatcher, BadPattern> {
    if pattern.is_empty() {
        return Err(BadPattern("the pattern is empty".to_owned()));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(BadPattern(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes")));
    }
    if pattern.contains('\n') {
        return Err(BadPattern(
            "a pattern cannot contain a newline, since rows are searched one by one".to_owned(),
        ));
    }
    if spec.is_regex {
        parse(pattern)?;
    }
    builder()
        .fixed_strings(!spec.is_regex)
        .case_insensitive(!spec.has_case)
        .word(spec.is_word)
        .build(pattern)
        .map_err(|error| {
            let error = error.to_string();
            BadPattern(error.lines().next_back().unwrap_or_default().trim().to_owned())
        })
}

/// The options that all patterns are compiled with.
pub(super) fn builder() -> RegexMatcherBuilder {
    let mut builder = RegexMatcherBuilder::new();
    builder
        .multi_line(true)
        .line_terminator(Some(b'\n'))
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(CACHE_BYTES_MAX)
        .nest_limit(NEST_MAX);
    builder
}

/// Checks the syntax of a regular expression. The engine would report errors in the expression that
/// it builds from this one, and accepts some patterns that are wrong by themselves.
fn parse(pattern: &str) -> Result<(), BadPattern> {
    let parsed = ParserBuilder::new().nest_limit(NEST_MAX).build().parse(pattern);
    parsed.map(drop).map_err(|error| {
        BadPattern(format!("{}, at character {}", error.kind(), error.span().start.column))
    })
}

/// Searches many lines at once.
#[derive(Debug)]
pub(super) struct LineMatcher {
    searcher: Searcher,
    /// Of the lines so far.
    shapes: LevelShapes,
}

impl Default for LineMatcher {
    fn default() -> Self {
        let searcher = SearcherBuilder::new()
            .line_number(false)
            .bom_sniffing(false)
            .binary_detection(BinaryDetection::none())
            .build();
        Self { searcher, shapes: LevelShapes::default() }
    }
}

impl LineMatcher {
    /// A quick look at whole lines.
    pub(super) fn glance(&self, pattern: &Pattern, lines: &[u8]) -> Glance {
        match &pattern.prefilter {
            Some(prefilter) => prefilter.glance(lines),
            None if pattern.only_level().is_some() && self.shapes.are_usual() => {
                prefilter::glance(lines)
            }
            None => Glance::Unknown,
        }
    }

    /// Calls `on_row` with a place in each matching line, and the number of matches in the line. The
    /// text has colours only if [`glance`](Self::glance) told so.
    pub(super) fn for_each_row(
        &mut self,
        pattern: &Pattern,
        text: &[u8],
        has_colours: bool,
        mut on_row: impl FnMut(usize, usize),
    ) {
        if let Some(level) = pattern.only_level().filter(|_| has_colours) {
            return level.for_each_coloured_line(text, &mut self.shapes, |at| on_row(at, 1));
        }
        if let Some(bytes) = pattern.only_bytes() {
            return count_bytes(bytes, text, on_row);
        }
        let line = text.strip_suffix(b"\n").unwrap_or(text);
        // A search of many lines takes more preparation.
        if text.len() <= LONE_BYTES_MAX && memchr::memchr(b'\n', line).is_none() {
            if pattern.accepts(line) && !text.is_empty() {
                on_row(0, pattern.count(line));
            }
            return;
        }
        self.for_each_line(pattern, text, |at, line| {
            on_row(at, pattern.count(line));
            true
        });
    }

    /// Calls `on_match` with the start and the text of each matching line, until it returns false.
    pub(super) fn for_each_line(
        &mut self,
        pattern: &Pattern,
        text: &[u8],
        mut on_match: impl FnMut(usize, &[u8]) -> bool,
    ) {
        match pattern {
            Pattern { invert: true, .. } => {}
            Pattern { text: Some(first), .. } => {
                let sink = EachLine(|at, line: &[u8]| !pattern.fits(line) || on_match(at, line));
                // A search of a slice without IO never fails.
                let _never = self.searcher.search_slice(first, text, sink);
                return;
            }
            Pattern { fields: Some(fields), level: None, .. } => {
                return fields.for_each_line(text, on_match);
            }
            Pattern { level: Some(level), fields, .. } => {
                return level.for_each_line(text, &mut self.shapes, |at, line| {
                    let fits = fields.as_ref().is_none_or(|fields| fields.accepts(line));
                    !fits || on_match(at, line)
                });
            }
            Pattern { .. } => {}
        }
        let mut at = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            if pattern.accepts(content) && !on_match(at, content) {
                return;
            }
            at += line.len();
        }
    }
}

/// Calls `on_row` with a place in each line that has the bytes, and the number of matches in the line.
fn count_bytes(bytes: &Finder<'_>, text: &[u8], mut on_row: impl FnMut(usize, usize)) {
    let mut matches = bytes.find_iter(text).peekable();
    while let Some(at) = matches.next() {
        let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |len| at + len);
        let mut count = 1;
        while matches.next_if(|&next| next < end).is_some() {
            count += 1;
        }
        on_row(at, count.min(ROW_MATCHES_MAX));
    }
}

struct EachLine<F>(F);

impl<F: FnMut(usize, &[u8]) -> bool> Sink for EachLine<F> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        let line = found.bytes();
        let at = usize::try_from(found.absolute_byte_offset()).unwrap_or(usize::MAX);
        Ok((self.0)(at, line.strip_suffix(b"\n").unwrap_or(line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn regex(pattern: &str) -> Result<Pattern, BadPattern> {
        let pattern = Some(pattern.to_owned());
        Pattern::new(&PatternSpec { pattern, is_regex: true, ..PatternSpec::default() })
    }

    #[test]
    fn a_bad_pattern_is_reported_in_one_line() {
        for (pattern, told) in [
            ("", "empty"),
            ("a(b", "unclosed group, at character 2"),
            ("a)(b", "unopened group, at character 2"),
            ("[z-a]", "invalid character class range"),
            ("x{100000}", "size limit"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("a\nb", "newline"),
            (r"a\nb", "not allowed"),
            (r"((\w{200}){200}){200}", "size limit"),
        ] {
            let BadPattern(message) = regex(pattern).unwrap_err();
            assert!(message.contains(told), "{pattern:?}: {message:?}");
            assert!(!message.contains('\n'), "{pattern:?}: {message:?}");
        }
        assert!(regex(&"a".repeat(10_000)).is_err());
        assert!(regex(&"(".repeat(2000)).is_err());
        assert!(regex("\0").is_ok());
    }

    proptest! {
        #[test]
        fn matches_in_many_lines_are_those_of_each_line(
            lines in proptest::collection::vec("[ab]{0,6}|[ab\t]{500,2000}", 0..12),
            pattern in "[ab]{1,3}",
            has_case: bool,
            is_regex: bool,
            is_word: bool,
            is_ended: bool,
        ) {
            let pattern = Some(pattern);
            let spec = PatternSpec { pattern, has_case, is_regex, is_word, ..PatternSpec::default() };
            let pattern = Pattern::new(&spec).unwrap();
            let text = lines.join("\n") + if is_ended { "\n" } else { "" };
            let mut found = Vec::new();
            LineMatcher::default().for_each_row(&pattern, text.as_bytes(), false, |at, matches| {
                let line = text.get(..at).unwrap().matches('\n').count();
                found.push((line, matches));
            });
            let each = lines.iter().map(|line| line.as_bytes()).enumerate();
            let wanted: Vec<_> = each
                .filter(|(_, line)| pattern.accepts(line))
                .map(|(nth, line)| (nth, pattern.count(line)))
                .collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn matches_have_ranges_and_a_bounded_number() {
        let pattern = regex("b+|x*").unwrap();
        assert_eq!(pattern.ranges("abbäb"), [1..3, 5..6]);
        assert_eq!(regex("a").unwrap().count("a".repeat(10_000).as_bytes()), ROW_MATCHES_MAX);
    }
}
