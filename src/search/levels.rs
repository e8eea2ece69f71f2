//! The log level of a row, judged by its text.
//!
//! The rules are in `levels.json`, because the page uses the same ones. Their patterns mean the
//! same to the regex engines of Rust and JavaScript.

use std::sync::LazyLock;

use grep_regex::RegexMatcher;
use serde_json::Value;

use crate::render::Level;
use crate::search::pattern::builder;

/// The rules as JSON: a list of patterns with a level each, the worst level first. A row has the
/// level of the first pattern that it matches.
pub const RULES: &str = include_str!("levels.json");

static ERROR: LazyLock<RegexMatcher> = LazyLock::new(|| matcher(&[Level::Error]));
static WARNING: LazyLock<RegexMatcher> = LazyLock::new(|| matcher(&[Level::Warning]));
static BOTH: LazyLock<RegexMatcher> = LazyLock::new(|| matcher(&[Level::Error, Level::Warning]));

fn matcher(levels: &[Level]) -> RegexMatcher {
    let rules: Value = serde_json::from_str(RULES).unwrap_or_default();
    let rules = rules.as_array().map_or(&[][..], Vec::as_slice);
    let patterns: Vec<&str> = rules
        .iter()
        .filter(|rule| levels.iter().any(|level| rule["level"] == level.name()))
        .filter_map(|rule| rule["pattern"].as_str())
        .collect();
    // JavaScript's character classes are ASCII. The rules are part of the program, and a test
    // compiles them.
    builder().unicode(false).build_many(&patterns).expect("`levels.json` contains valid patterns")
}

/// The pattern that a row of this level matches, and the pattern of worse levels, which it must not
/// match. With `or_worse` rows of worse levels match, too.
pub(super) fn matchers(
    level: Level,
    or_worse: bool,
) -> (&'static RegexMatcher, Option<&'static RegexMatcher>) {
    match level {
        Level::Error => (&ERROR, None),
        Level::Warning if or_worse => (&BOTH, None),
        Level::Warning | Level::Notice | Level::Debug => (&WARNING, Some(&ERROR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::{Pattern, PatternSpec};

    #[test]
    fn example_lines_have_their_level() {
        let examples = include_str!("../../tests/it/levels.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let pattern = |level| {
            Pattern::new(&PatternSpec { level: Some(level), ..PatternSpec::default() }).unwrap()
        };
        let (error, warning) = (pattern(Level::Error), pattern(Level::Warning));
        let mut wrong = Vec::new();
        for example in examples.as_array().unwrap() {
            let line = example["line"].as_str().unwrap();
            let found = match (error.accepts(line.as_bytes()), warning.accepts(line.as_bytes())) {
                (true, false) => Value::from("error"),
                (false, true) => Value::from("warning"),
                (false, false) => Value::Null,
                (true, true) => Value::from("both"),
            };
            if found != example["level"] {
                wrong.push((line, found));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn the_rules_are_sorted_worst_first() {
        let rules: Value = serde_json::from_str(RULES).unwrap();
        let levels: Vec<&str> =
            rules.as_array().unwrap().iter().map(|rule| rule["level"].as_str().unwrap()).collect();
        assert!(levels.is_sorted(), "{levels:?}");
        assert_eq!((levels.first(), levels.last()), (Some(&"error"), Some(&"warning")));
    }
}
