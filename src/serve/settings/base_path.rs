//! The path under which everything of a server lies (`--base-path`).

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// A path such as `/logs`, or nothing. It begins with a slash and does not end with one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// Why a text is not a base path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBasePath(String);

impl Display for BadBasePath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected a path such as `/logs`, of letters, digits, `-`, `.`, `_` and `~`, not {:?}",
            self.0
        )
    }
}

impl std::error::Error for BadBasePath {}

impl FromStr for BasePath {
    type Err = BadBasePath;

    fn from_str(text: &str) -> Result<Self, BadBasePath> {
        let bad = || BadBasePath(text.chars().take(100).collect());
        let path = text.strip_suffix('/').unwrap_or(text);
        if path.is_empty() && text == "/" {
            return Ok(Self::default());
        }
        let names = path.strip_prefix('/').ok_or_else(bad)?;
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        // `/_/` is where the server's own addresses begin.
        let is_name =
            |name: &str| !matches!(name, "" | "." | ".." | "_") && name.bytes().all(is_plain);
        if names.split('/').all(is_name) { Ok(Self(path.to_owned())) } else { Err(bad()) }
    }
}

impl Display for BasePath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BasePath {
    /// The path as text; empty if there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a proxy names this path, with or without a slash at its end.
    pub(in crate::serve) fn is(&self, path: &str) -> bool {
        !self.0.is_empty() && path.strip_suffix('/').unwrap_or(path) == self.0
    }

    /// The path of a request as the rest of the server knows it: without the base.
    ///
    /// A proxy may have removed the base already. Then the path of a log in a directory that is
    /// called like the base looks as if it still began with the base. `is_log` says whether a path
    /// lies inside the prefixes: a path that does so only as a whole is one without the base.
    pub(in crate::serve) fn strip<'a>(
        &self,
        path: &'a str,
        is_log: impl Fn(&str) -> bool,
    ) -> &'a str {
        let Some(rest) = self.rest(path) else { return path };
        let is_own = rest == "/" || rest.starts_with("/_/");
        if is_own || is_log(rest) || !is_log(path) { rest } else { path }
    }

    /// What follows the base, which begins with a slash. None if the path does not begin with it.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        match path.strip_prefix(self.0.as_str())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_a_plain_absolute_path() {
        for (text, path) in
            [("/logs", "/logs"), ("/logs/", "/logs"), ("/a/b-c_d.e~1", "/a/b-c_d.e~1"), ("/", "")]
        {
            assert_eq!(text.parse::<BasePath>().unwrap().as_str(), path, "{text}");
        }
        for text in [
            "", "logs", "//", "/a//b", "/a/../b", "/.", "/_", "/a/_/b", "/a b", "/a?b", "/ä",
            "/a%20",
        ] {
            assert!(text.parse::<BasePath>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_base_is_removed_whether_or_not_a_proxy_did_so() {
        let base: BasePath = "/logs".parse().unwrap();
        let is_log = |path: &str| path.starts_with("/var/");
        for (path, expected) in [
            ("/logs", "/"),
            ("/logs/", "/"),
            ("/logs/var/a.log", "/var/a.log"),
            ("/logs/_/healthz", "/_/healthz"),
            ("/logs/etc/passwd", "/etc/passwd"),
            ("/", "/"),
            ("/var/a.log", "/var/a.log"),
            ("/_/healthz", "/_/healthz"),
            ("/logsfoo", "/logsfoo"),
            ("/logs2/var/a.log", "/logs2/var/a.log"),
            ("*", "*"),
        ] {
            assert_eq!(base.strip(path, is_log), expected, "{path}");
        }
        assert_eq!(BasePath::default().strip("/logs/a", is_log), "/logs/a");
    }

    #[test]
    fn a_directory_that_is_called_like_the_base_is_not_confused_with_it() {
        let base: BasePath = "/logs".parse().unwrap();
        let is_log = |path: &str| path.starts_with("/logs/");
        for (path, expected) in [
            ("/logs/logs/a.log", "/logs/a.log"),
            ("/logs/a.log", "/logs/a.log"),
            ("/logs/_/rows/logs/a.log", "/_/rows/logs/a.log"),
            ("/_/rows/logs/a.log", "/_/rows/logs/a.log"),
            ("/logs/", "/"),
        ] {
            assert_eq!(base.strip(path, is_log), expected, "{path}");
        }
    }
}
