//! The path of a log: normalised, absolute, bytes.
//!
//! A log path is compared and shown, never trusted. It lies inside a prefix by its text, but that
//! says nothing about the file behind it. Only an open handle proves where a file lies.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::access::Scope;
use crate::log::pattern::Pattern;

/// The longest path that the kernel accepts, in bytes without the final NUL (`PATH_MAX` in
/// limits.h).
pub(super) const PATH_BYTES_MAX: usize = 4095;

/// The longest component of a path, in bytes (`NAME_MAX` in limits.h).
pub(super) const NAME_BYTES_MAX: usize = 255;

/// The normalised absolute path of a log that lies, by its text, inside a prefix.
///
/// It is bytes, not UTF-8. Two log paths may lead to one file. The name may be a pattern, which
/// leads to the newest file that matches. A clone shares the path with its original.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogPath(Arc<Parts>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    path: Box<Path>,
    pattern: Option<Pattern>,
    /// In which part of the prefixes it was located; anywhere if there is none. Paths in different
    /// scopes are different, since their links may lead to different places.
    scope: Option<Arc<Scope>>,
}

impl LogPath {
    fn of(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Only `Access` creates log paths, after it has found the prefix.
    pub(super) fn new(normalised: PathBuf, scope: Option<Arc<Scope>>) -> Self {
        Self::of(Parts { path: normalised.into(), pattern: None, scope })
    }

    /// The same path with this pattern as its name.
    pub(in crate::log) fn with_pattern(&self, pattern: Pattern) -> Self {
        let path = self.as_path().with_file_name(OsStr::from_bytes(&pattern.text())).into();
        Self::of(Parts { path, pattern: Some(pattern), scope: self.scope().cloned() })
    }

    /// The part of the prefixes in which it was located; `None` for all of them.
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        self.0.scope.as_ref()
    }

    /// The same path in another scope.
    pub(crate) fn in_scope(&self, scope: Option<Arc<Scope>>) -> Self {
        if scope == self.0.scope {
            return self.clone();
        }
        Self::of(Parts { scope, ..(*self.0).clone() })
    }

    /// The pattern, if the name is one.
    pub fn pattern(&self) -> Option<&Pattern> {
        self.0.pattern.as_ref()
    }

    /// The path for the file system. In that of a pattern, `*` and `?` stand for the wildcards.
    pub fn as_path(&self) -> &Path {
        &self.0.path
    }

    /// The path for display: characters that could forge a line, hide or reorder text are escaped.
    pub fn display(&self) -> impl Display + '_ {
        Visible(self.0.path.as_os_str())
    }
}

/// Shows a name with control characters, line separators, bidi controls, invalid bytes and the
/// backslash escaped in Rust's notation, so that different names look different.
pub(super) struct Visible<'a>(pub(super) &'a OsStr);

impl Display for Visible<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || c.is_control() || reorders_or_hides(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    f.write_char(c)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The bidi controls (Unicode UAX #9), the line and paragraph separators, and zero-width characters
/// that no script needs within a word.
fn reorders_or_hides(c: char) -> bool {
    matches!(
        c,
        '\u{061c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// Resolves `.`, `..` and empty components of an absolute path by its text alone. `..` at the root
/// is the root.
pub(super) fn normalise(absolute: &[u8]) -> PathBuf {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in absolute.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let mut bytes = Vec::with_capacity(absolute.len());
    for part in parts {
        bytes.push(b'/');
        bytes.extend_from_slice(part);
    }
    if bytes.is_empty() {
        bytes.push(b'/');
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Whether a normalised path can name a file: it has no NUL and is within the kernel's lengths.
pub(super) fn can_name_a_file(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.len() <= PATH_BYTES_MAX
        && !bytes.contains(&0)
        && bytes.split(|&byte| byte == b'/').all(|name| name.len() <= NAME_BYTES_MAX)
}
