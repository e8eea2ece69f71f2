//! Whether a file with a date in its name is the newest of its kind.
//!
//! The kind is the name without the date: `app-2026-11-27.log` and `app-2026-11-28.log` are of one
//! kind, `app-error-2026-11-28.log` is of another.

use std::ops::Range;
use std::os::unix::ffi::OsStrExt;

use crate::log::access::{Access, LogPath};
use crate::log::pattern::rank::place_of_date;
use crate::log::pattern::{Match, Pattern, Symbol, first_admitted, matches};
use crate::log::rotated::is_compressed;

/// What is newer than a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newer {
    /// The newest file of its kind.
    pub newest: LogPath,
    /// A pattern that only files of this kind match now.
    pub pattern: LogPath,
}

/// The newest file of the log's kind, if it is newer than the log. None if the name of the log has
/// no date. The call may block.
#[must_use]
pub fn newer(access: &Access, log: &LogPath) -> Option<Newer> {
    let name = log.as_path().file_name()?.as_bytes();
    if log.pattern().is_some() || is_compressed(name) {
        return None;
    }
    let date = place_of_date(name)?;
    let any = with_date(name, &date, &[Symbol::Any]);
    let digit = |&byte: &u8| if byte.is_ascii_digit() { Symbol::One } else { Symbol::Byte(byte) };
    let of_kind = with_date(name, &date, &name[date.clone()].iter().map(digit).collect::<Vec<_>>());
    let all = matches(access, log, &any).ok()?;
    let is_of_kind = |found: &Match| {
        found.log.as_path().file_name().is_some_and(|name| of_kind.matches(name.as_bytes()))
    };
    let are_of_kind = all.iter().all(is_of_kind);
    let newest_first = all.iter().rev().filter(|found| is_of_kind(found));
    let (newest, _) = first_admitted(newest_first, |log| access.identify(log)).ok()?;
    // The text before the date is the same, so that the names compare as the dates do.
    let is_newer = newest.log.as_path() > log.as_path();
    let pattern = log.with_pattern(if are_of_kind { any.clone() } else { of_kind.clone() });
    is_newer.then(|| Newer { newest: newest.log.clone(), pattern })
}

/// A name with these symbols in place of its date.
fn with_date(name: &[u8], date: &Range<usize>, symbols: &[Symbol]) -> Pattern {
    let (before, behind) = (&name[..date.start], &name[date.end..]);
    let literal = |text: &[u8]| text.iter().copied().map(Symbol::Byte).collect::<Vec<_>>();
    Pattern([&literal(before), symbols, &literal(behind)].concat().into())
}
