//! What is looked for in the text of rows.

use std::io;
use std::ops::Range;

use grep_matcher::Matcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use regex_syntax::ast::parse::ParserBuilder;

use crate::render::Level;
use crate::search::levels;

/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 2048;
/// What a compiled pattern may weigh, in bytes: `\w{1000}` is too much.
const COMPILED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What may be kept of it while it is used, in bytes.
const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How deep its groups may be nested.
const NEST_MAX: u32 = 50;
/// So many matches are counted and shown in one row. There may be patterns for which each of them costs a look at the
/// whole row.
pub const ROW_MATCHES_MAX: usize = 500;

/// What somebody looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatternSpec {
    /// A text, or a regular expression.
    pub pattern: Option<String>,
    /// The pattern is a regular expression.
    pub is_regex: bool,
    /// Upper and lower case differ.
    pub has_case: bool,
    /// Whole words only.
    pub is_word: bool,
    /// Rows of this level only.
    pub level: Option<Level>,
    /// Rows of a worse level, too.
    pub or_worse: bool,
    /// The rows that are otherwise: where there are a pattern and a level, those of the level that the pattern is not in.
    pub invert: bool,
}

/// What can't be looked for, in a line for who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPattern(pub String);

/// A compiled [`PatternSpec`]. Its time is linear in the text, whatever the pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Option<RegexMatcher>,
    level: Option<(&'static RegexMatcher, Option<&'static RegexMatcher>)>,
    invert: bool,
}

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// When it has no meaning, or is too large.
    pub fn new(sought: &PatternSpec) -> Result<Self, BadPattern> {
        let text = match sought.pattern.as_deref() {
            Some(pattern) => Some(compile(pattern, sought)?),
            None if sought.level.is_none() => {
                return Err(BadPattern("there is nothing to look for".to_owned()));
            }
            None => None,
        };
        let level = sought.level.map(|level| levels::matchers(level, sought.or_worse));
        Ok(Self { text, level, invert: sought.invert })
    }

    /// Whether a row with this text is looked for.
    #[must_use]
    pub fn accepts(&self, text: &[u8]) -> bool {
        match &self.text {
            Some(matcher) => is_match(matcher, text) != self.invert && self.is_of_level(text),
            None => self.is_of_level(text) != self.invert,
        }
    }

    fn is_of_level(&self, text: &[u8]) -> bool {
        self.level.is_none_or(|(level, higher)| {
            is_match(level, text) && !higher.is_some_and(|higher| is_match(higher, text))
        })
    }

    /// How often it is found in the text of a row that is looked for: once where it is only about the row as a whole.
    #[must_use]
    pub fn count(&self, text: &[u8]) -> usize {
        match &self.text {
            Some(matcher) if !self.invert => each_match(matcher, text, |_| {}),
            _ => 1,
        }
    }

    /// Where it is found in the text of a row, in bytes.
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

fn is_match(matcher: &RegexMatcher, text: &[u8]) -> bool {
    matcher.is_match(text).unwrap_or(false)
}

/// Tells the first matches, and says how many these were.
fn each_match(matcher: &RegexMatcher, text: &[u8], mut tell: impl FnMut(Range<usize>)) -> usize {
    let mut count = 0;
    // This kind of matcher never fails.
    let _never = matcher.find_iter(text, |found| {
        count += 1;
        tell(found.start()..found.end());
        count < ROW_MATCHES_MAX
    });
    count
}

fn compile(pattern: &str, sought: &PatternSpec) -> Result<RegexMatcher, BadPattern> {
    if pattern.is_empty() {
        return Err(BadPattern("the pattern is empty".to_owned()));
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(BadPattern(format!("a pattern has {PATTERN_BYTES_MAX} bytes at most")));
    }
    if pattern.contains('\n') {
        return Err(BadPattern(
            "rows are searched one by one: no pattern has a newline".to_owned(),
        ));
    }
    if sought.is_regex {
        parse(pattern)?;
    }
    builder()
        .fixed_strings(!sought.is_regex)
        .case_insensitive(!sought.has_case)
        .word(sought.is_word)
        .build(pattern)
        .map_err(|error| {
            let error = error.to_string();
            BadPattern(error.lines().next_back().unwrap_or_default().trim().to_owned())
        })
}

/// How all patterns are compiled.
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

/// Says what is wrong with a regular expression, and where. The engine would tell it of the expression that it makes of
/// this one, and might take one that is wrong by itself.
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
}

impl Default for LineMatcher {
    fn default() -> Self {
        let searcher = SearcherBuilder::new()
            .line_number(false)
            .bom_sniffing(false)
            .binary_detection(BinaryDetection::none())
            .build();
        Self { searcher }
    }
}

impl LineMatcher {
    /// Tells each line that is looked for: where it begins, and its text. Ends when it is told to.
    pub(super) fn each(
        &mut self,
        pattern: &Pattern,
        text: &[u8],
        mut tell: impl FnMut(usize, &[u8]) -> bool,
    ) {
        let first = match pattern {
            Pattern { invert: true, .. } => None,
            Pattern { text: Some(matcher), .. } => Some(matcher),
            Pattern { level, .. } => level.map(|(matcher, _)| matcher),
        };
        if let Some(first) = first {
            // Who has been found by this has all that is asked for, where nothing else is.
            let is_all =
                pattern.level.is_none_or(|(_, higher)| pattern.text.is_none() && higher.is_none());
            let sink =
                Each(|at, line: &[u8]| (!is_all && !pattern.accepts(line)) || tell(at, line));
            // Nothing here reads or writes, so nothing fails.
            let _never = self.searcher.search_slice(first, text, sink);
            return;
        }
        let mut at = 0;
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            if pattern.accepts(content) && !tell(at, content) {
                return;
            }
            at += line.len();
        }
    }
}

struct Each<F>(F);

impl<F: FnMut(usize, &[u8]) -> bool> Sink for Each<F> {
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

    fn regex(pattern: &str) -> Result<Pattern, BadPattern> {
        let pattern = Some(pattern.to_owned());
        Pattern::new(&PatternSpec { pattern, is_regex: true, ..PatternSpec::default() })
    }

    #[test]
    fn a_bad_pattern_is_told_in_a_line() {
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

    #[test]
    fn matches_have_places_in_the_text() {
        let pattern = regex("b+|x*").unwrap();
        assert_eq!(pattern.ranges("abbäb"), [1..3, 5..6]);
        assert_eq!(regex("a").unwrap().count("a".repeat(10_000).as_bytes()), ROW_MATCHES_MAX);
    }
}
