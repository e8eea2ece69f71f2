//! A log whose name has wildcards: the newest of the files that match it.
//!
//! Many programs begin a file with the date in its name each day. A pattern such as
//! `/var/log/app-*.log` is one log over all of them. `*` stands for any text and `?` for one
//! character, in the name of the file only. `matches` finds the files, `rank` says
//! which of two is newer, and a `Chooser` decides which of them a follower turns to. [`newer`] says of
//! a file with a date in its name which file came after it.
//!
//! A file that has the pattern's text as its very name is newer than every other match: it is
//! reached by its own name. As in a shell, a wildcard at the beginning matches no dot.

mod chooser;
mod matches;
mod newer;
mod rank;

use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

pub(in crate::log) use chooser::{Chooser, Chosen};
pub(in crate::log) use matches::{Match, first_admitted, matches};
pub use newer::{Newer, newer};
pub(in crate::log) use rank::Rank;

/// A part of a path as a user gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Symbol {
    /// This byte.
    Byte(u8),
    /// `?`: any one character.
    One,
    /// `*`: any text.
    Any,
}

impl Symbol {
    /// The byte that stands for it in a path.
    fn byte(self) -> u8 {
        match self {
            Self::Byte(byte) => byte,
            Self::One => b'?',
            Self::Any => b'*',
        }
    }
}

/// Why a path is no pattern that can be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPattern {
    /// A `*` stands in the name of a directory.
    Directory,
    /// `**`, which elsewhere searches directories.
    TwoStars,
}

impl Display for BadPattern {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => {
                "`*` stands for a part of a file's name, not of a directory's; `%2A` is the character"
            }
            Self::TwoStars => "`**` does not search directories; one `*` stands for any text",
        })
    }
}

impl std::error::Error for BadPattern {}

/// The name of a file with at least one wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<[Symbol]>);

impl Pattern {
    /// The symbols, in their order.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol> {
        self.0.iter().copied()
    }

    /// Whether a file of this name matches.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        let is_hidden = name.first() == Some(&b'.');
        if is_hidden && self.0.first() != Some(&Symbol::Byte(b'.')) {
            return false;
        }
        let (mut rest, mut symbols) = (name, &*self.0);
        // Where to go on when the text that the last `*` stands for has to be longer.
        let mut retry: Option<(&[u8], &[Symbol])> = None;
        loop {
            match (symbols.split_first(), rest.split_first()) {
                (Some((Symbol::Any, after)), _) => {
                    retry = Some((rest, after));
                    symbols = after;
                    continue;
                }
                (Some((Symbol::One, after)), Some(_)) => {
                    (rest, symbols) = (&rest[character_len(rest)..], after);
                    continue;
                }
                (Some((Symbol::Byte(wanted), after)), Some((byte, behind))) if wanted == byte => {
                    (rest, symbols) = (behind, after);
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            match retry {
                Some(([_, behind @ ..], after)) => {
                    retry = Some((behind, after));
                    (rest, symbols) = (behind, after);
                }
                _ => return false,
            }
        }
    }

    /// The text of the pattern, as it stands in a path.
    pub(super) fn text(&self) -> Vec<u8> {
        self.symbols().map(Symbol::byte).collect()
    }
}

/// The length of the first character in bytes. A byte that is no UTF-8 is a character.
fn character_len(text: &[u8]) -> usize {
    let chunk = text.utf8_chunks().next();
    let first = chunk.and_then(|chunk| chunk.valid().chars().next());
    first.map_or(1, char::len_utf8)
}

/// The path that a user asks for, decoded, with the pattern if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestedPath {
    pub(super) path: Vec<u8>,
    pub(super) pattern: Option<Pattern>,
}

impl RequestedPath {
    /// The path, in which `*` and `?` stand for the wildcards of a pattern.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The pattern, if the file's name is one.
    #[must_use]
    pub fn pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref()
    }

    /// A path by its symbols. In the name of a directory `?` is the character.
    ///
    /// # Errors
    /// A pattern that can't be followed.
    pub fn new(symbols: &[Symbol]) -> Result<Self, BadPattern> {
        let slash = symbols.iter().rposition(|symbol| *symbol == Symbol::Byte(b'/'));
        let (directory, name) = symbols.split_at(slash.map_or(0, |slash| slash + 1));
        if directory.contains(&Symbol::Any) {
            return Err(BadPattern::Directory);
        }
        if name.windows(2).any(|two| two == [Symbol::Any; 2]) {
            return Err(BadPattern::TwoStars);
        }
        let has_wildcards = name.iter().any(|symbol| matches!(symbol, Symbol::One | Symbol::Any));
        let pattern = has_wildcards.then(|| Pattern(name.into()));
        Ok(Self { path: symbols.iter().map(|symbol| symbol.byte()).collect(), pattern })
    }

    /// A path of this machine. Only in the name of the file `*` and `?` are wildcards.
    ///
    /// # Errors
    /// A pattern that can't be followed.
    pub fn of_path(path: &Path) -> Result<Self, BadPattern> {
        let bytes = path.as_os_str().as_bytes();
        let name_at = bytes.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let symbol = |(at, &byte): (usize, &u8)| match byte {
            b'*' if at >= name_at => Symbol::Any,
            b'?' if at >= name_at => Symbol::One,
            byte => Symbol::Byte(byte),
        };
        Self::new(&bytes.iter().enumerate().map(symbol).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn requested(text: &str) -> Result<RequestedPath, BadPattern> {
        RequestedPath::of_path(Path::new(text))
    }

    fn matches(pattern: &str, name: &str) -> bool {
        requested(pattern).unwrap().pattern.unwrap().matches(name.as_bytes())
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, name) in [
            ("app-*.log", "app-2026-11-28.log"),
            ("app-*.log", "app-.log"),
            ("app-*.log", "app-.log.log"),
            ("*", "a"),
            ("*a*b*", "xxaxbxabx"),
            ("app-????-??-??.log", "app-2026-11-28.log"),
            ("?.log", "ä.log"),
            ("?*", "€"),
            (".*", ".hidden"),
            ("[a]*{b}\\*", "[a]x{b}\\x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("app-*.log", "app-2026-11-28.log.1"),
            ("app-*.log", "xapp-1.log"),
            ("app-*.log", "app.log"),
            ("*", ".hidden"),
            ("?hidden", ".hidden"),
            ("?.log", ".log"),
            ("??.log", "ä.log"),
            ("*a*b*", "xxbxa"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        let invalid = requested("?.log").unwrap().pattern.unwrap();
        assert!(invalid.matches(b"\xff.log") && !invalid.matches(b"\xff\xff.log"));
    }

    #[test]
    fn only_the_name_of_a_file_is_a_pattern() {
        let is_pattern = |text: &str| requested(text).unwrap().pattern.is_some();
        assert!(is_pattern("/var/log/a*") && is_pattern("/a?b/*.log") && is_pattern("?"));
        assert!(!is_pattern("/var/log/a") && !is_pattern("/a*/b?/c") && !is_pattern("/a*/"));
        assert_eq!(requested("/a/**"), Err(BadPattern::TwoStars));
        let star = [Symbol::Byte(b'/'), Symbol::Any, Symbol::Byte(b'/'), Symbol::Byte(b'a')];
        assert_eq!(RequestedPath::new(&star), Err(BadPattern::Directory));
        let mark = [Symbol::Byte(b'/'), Symbol::One, Symbol::Byte(b'/'), Symbol::Byte(b'a')];
        let literal = RequestedPath { path: b"/?/a".to_vec(), pattern: None };
        assert_eq!(RequestedPath::new(&mark), Ok(literal));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_a_regular_expression_matches(
            // At least one star or question mark, never two stars.
            pattern in "[ab.]{0,2}[*?]([ab?.]{1,2}[*]?){0,3}",
            // No dot at the start, which a pattern has to say.
            name in "([abä][abä.]{0,7})?",
        ) {
            let expression = pattern.replace('.', "\\.").replace('*', ".*").replace('?', ".");
            let expression = regex_automata::meta::Regex::new(&format!("^{expression}$")).unwrap();
            prop_assert_eq!(matches(&pattern, &name), expression.is_match(&name));
        }
    }
}
