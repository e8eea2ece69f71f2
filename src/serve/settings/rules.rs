//! Who may read what: the rules `[[allow]]` of the configuration file.

use std::fmt::{self, Display, Formatter};
use std::path::{Component, PathBuf};
use std::str::FromStr;

/// Lets somebody read something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom it lets read. Never empty.
    pub who: Vec<Who>,
    /// The files and directories with everything below them: absolute, without `.` and `..`. Never
    /// empty.
    pub read: Vec<PathBuf>,
}

/// Somebody, as a rule names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// `*`: everybody who is signed in.
    Everybody,
    /// `@ops`: the members of a group.
    Group(String),
    /// `ann`: the user or token of this name.
    Named(String),
}

/// Why a rule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRule {
    /// It names nobody.
    Nobody,
    /// It names nothing to read.
    Nothing,
    /// The name of a user or a group is empty, or has a space, a control character, `:` or `,`.
    Name(String),
    /// A path is not absolute, or has a `.` or `..` in it.
    Path(String),
}

impl Display for BadRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("the rule has no `who`: name users, `@groups` or `*`"),
            Self::Nothing => f.write_str("the rule has no `read`: name directories or files"),
            Self::Name(name) => {
                write!(f, "{name:?} is not the name of a user, an `@group` or `*`")
            }
            Self::Path(path) => write!(f, "{path:?} is not an absolute path without `.` and `..`"),
        }
    }
}

impl std::error::Error for BadRule {}

impl Rule {
    /// The rule that these texts describe.
    ///
    /// # Errors
    /// When one of them is empty or makes no sense.
    pub fn new(who: &[String], read: &[String]) -> Result<Self, BadRule> {
        if who.is_empty() {
            return Err(BadRule::Nobody);
        }
        if read.is_empty() {
            return Err(BadRule::Nothing);
        }
        Ok(Self {
            who: who.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
            read: read.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
        })
    }
}

fn absolute(text: &str) -> Result<PathBuf, BadRule> {
    let path = PathBuf::from(text);
    // `components` leaves out a `.` in the middle, so the text is compared as well.
    let is_plain = path.is_absolute()
        && !text.contains('\0')
        && !text.split('/').any(|part| part == "." || part == "..")
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if is_plain { Ok(path) } else { Err(BadRule::Path(text.to_owned())) }
}

impl FromStr for Who {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        if text == "*" {
            return Ok(Self::Everybody);
        }
        let (name, is_group) = text.strip_prefix('@').map_or((text, false), |name| (name, true));
        // A line of the users file separates its fields by `:`, and a list of groups by `,`.
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '*');
        if name.is_empty() || name.starts_with('@') || name.contains(is_bad) {
            return Err(BadRule::Name(text.to_owned()));
        }
        let name = name.to_owned();
        Ok(if is_group { Self::Group(name) } else { Self::Named(name) })
    }
}

impl Display for Who {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("*"),
            Self::Group(name) => write!(f, "@{name}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_rule_names_users_groups_or_everybody_and_absolute_paths() {
        let rule = Rule::new(&texts(&["ann", "@ops", "*"]), &texts(&["/var/log", "/srv/ci"]));
        let who = vec![Who::Named("ann".into()), Who::Group("ops".into()), Who::Everybody];
        let read = vec!["/var/log".into(), "/srv/ci".into()];
        assert_eq!(rule, Ok(Rule { who, read }));
    }

    #[test]
    fn a_rule_that_makes_no_sense_is_refused() {
        let refused = |who: &[&str], read: &[&str]| Rule::new(&texts(who), &texts(read));
        assert_eq!(refused(&[], &["/a"]), Err(BadRule::Nobody));
        assert_eq!(refused(&["ann"], &[]), Err(BadRule::Nothing));
        for name in ["", "@", "@@ops", "a b", "a:b", "a,b", "a\n", "**", "@*"] {
            assert_eq!(refused(&[name], &["/a"]), Err(BadRule::Name(name.into())), "{name:?}");
        }
        for path in ["", "a", "./a", "/a/../b", "/a/./b", "/..", "/a\0"] {
            assert_eq!(refused(&["ann"], &[path]), Err(BadRule::Path(path.into())), "{path:?}");
        }
    }
}
