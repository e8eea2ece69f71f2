//! How bad the news of a row is, by its text.
//!
//! The rules are a file of their own, because the page judges rows by the same ones: patterns that mean the same to both
//! engines.

use std::sync::LazyLock;

use grep_regex::RegexMatcher;
use serde_json::Value;

use crate::render::Level;
use crate::search::pattern::builder;

/// The rules as they are: a list of levels with their patterns, the worst first. A row has the first level whose pattern
/// is found in it.
pub const RULES: &str = include_str!("levels.json");

static ERROR: LazyLock<RegexMatcher> = LazyLock::new(|| rule(Level::Error));
static WARNING: LazyLock<RegexMatcher> = LazyLock::new(|| rule(Level::Warning));

fn rule(level: Level) -> RegexMatcher {
    let rules: Value = serde_json::from_str(RULES).unwrap_or_default();
    let is_it = |rule: &&Value| rule["level"] == level.name();
    let rule = rules.as_array().and_then(|rules| rules.iter().find(is_it));
    let pattern = rule.and_then(|rule| rule["pattern"].as_str());
    // They are part of the program, and its tests compile them.
    builder().build(pattern.unwrap_or_default()).expect("the rules are patterns")
}

/// What a row of this level matches, and what it must not match, because it would be of a worse level then.
pub(super) fn matchers(level: Level) -> (&'static RegexMatcher, Option<&'static RegexMatcher>) {
    match level {
        Level::Error => (&ERROR, None),
        Level::Warning | Level::Notice | Level::Debug => (&WARNING, Some(&ERROR)),
    }
}
