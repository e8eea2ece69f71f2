//! Which of two files is newer.
//!
//! A date in the name decides, because nothing changes it: a `touch`, a late line, a copy or a
//! decompression make an old file look new by its times. Among files without a date, or with the
//! same one, that is newer which was created later. A file with a date is newer than one without.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

/// The years of a date. Other numbers of four digits are most likely none.
const YEARS: std::ops::RangeInclusive<u32> = 1970..=2199;
/// The characters between the parts of a date.
const DATE_SEPARATORS: &[u8] = b"-_.";
/// The characters between a date and a time, and between the parts of a time.
const TIME_SEPARATORS: &[u8] = b"-_.T:+ ";

/// The place of a file in the order of the matches of a pattern: the greatest is the newest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::log) struct Rank {
    /// Its name is the text of the pattern.
    is_exact: bool,
    date: Option<Date>,
    /// None where the file system does not tell it.
    born: Option<SystemTime>,
    /// Decides between files that were created in the same tick of the clock.
    name: NaturalName,
}

impl Rank {
    pub(in crate::log) fn new(name: &OsStr, is_exact: bool, born: Option<SystemTime>) -> Self {
        let date = Date::find(name.as_bytes()).map(|(date, _)| date);
        Self { is_exact, date, born, name: NaturalName::new(name) }
    }
}

/// Year, month, day, hour, minute and second; 0 for those that are not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Date([u32; 6]);

impl Date {
    /// The first date in a name, and the place of its text there: `2026-11-28`, `20261128` or
    /// `2026-11`, with a time behind it or without.
    fn find(name: &[u8]) -> Option<(Self, Range<usize>)> {
        let mut starts = (0..name.len()).filter(|&at| at == 0 || !name[at - 1].is_ascii_digit());
        starts.find_map(|at| {
            let (date, rest) = Self::at_start(&name[at..])?;
            Some((date, at..name.len() - rest.len()))
        })
    }

    /// The date at the start of a text, and the text after it.
    fn at_start(text: &[u8]) -> Option<(Self, &[u8])> {
        let mut date = [0; 6];
        let (year, rest) = number(text, 4)?;
        let separator = separator(rest, DATE_SEPARATORS);
        let (month, rest) = number(behind(rest, separator)?, 2)?;
        if !YEARS.contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        (date[0], date[1]) = (year, month);
        let day = behind(rest, separator).and_then(|rest| number(rest, 2));
        let Some((day, rest)) = day.filter(|(day, _)| (1..=31).contains(day)) else {
            // Six digits are no month of a year: they may be any number.
            let is_month = separator.is_some() && !rest.first().is_some_and(u8::is_ascii_digit);
            return is_month.then_some((Self(date), rest));
        };
        date[2] = day;
        let rest = time(rest, &mut date[3..]);
        Some((Self(date), rest))
    }
}

/// The place of the date in a name.
pub(super) fn place_of_date(name: &[u8]) -> Option<Range<usize>> {
    Date::find(name).map(|(_, place)| place)
}

/// Reads the time behind a date, as far as there is one. Returns the text after it.
fn time<'a>(mut rest: &'a [u8], parts: &mut [u32]) -> &'a [u8] {
    for (part, end) in parts.iter_mut().zip([24, 60, 61]) {
        let at = behind(rest, separator(rest, TIME_SEPARATORS));
        let Some((value, after)) = at.and_then(|at| number(at, 2)) else { break };
        if value >= end {
            break;
        }
        (*part, rest) = (value, after);
    }
    rest
}

/// The number that these digits are, and the text after them.
fn number(text: &[u8], digits: usize) -> Option<(u32, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let digit =
        |number, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0'));
    Some((number.iter().try_fold(0, digit)?, rest))
}

fn separator(text: &[u8], separators: &[u8]) -> Option<u8> {
    text.first().copied().filter(|first| separators.contains(first))
}

/// The text after this separator, or all of it if there is none.
fn behind(text: &[u8], separator: Option<u8>) -> Option<&[u8]> {
    match separator {
        Some(byte) => text.strip_prefix(&[byte]),
        None => Some(text),
    }
}

/// A name whose numbers are compared as numbers: `app-9` comes before `app-10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct NaturalName {
    parts: Vec<Part>,
    /// Names that differ only in leading zeros are not the same.
    name: OsString,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The number of digits without leading zeros, and these.
    Number(usize, Vec<u8>),
    Text(Vec<u8>),
}

impl NaturalName {
    fn new(name: &OsStr) -> Self {
        let part = |run: &[u8]| {
            if !run.first().is_some_and(u8::is_ascii_digit) {
                return Part::Text(run.to_vec());
            }
            let zeros = run.iter().take_while(|&&digit| digit == b'0').count();
            Part::Number(run.len() - zeros, run[zeros..].to_vec())
        };
        let runs =
            name.as_bytes().chunk_by(|one, other| one.is_ascii_digit() == other.is_ascii_digit());
        Self { parts: runs.map(part).collect(), name: name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rank(name: &str, born: u64) -> Rank {
        let born = SystemTime::UNIX_EPOCH + Duration::from_secs(born);
        Rank::new(OsStr::new(name), false, Some(born))
    }

    #[test]
    fn a_date_in_the_name_is_found() {
        for (name, date) in [
            ("app-2026-11-28.log", [2026, 11, 28, 0, 0, 0]),
            ("app-20261128.log", [2026, 11, 28, 0, 0, 0]),
            ("2026_11_28", [2026, 11, 28, 0, 0, 0]),
            ("app.2026.11.28.log", [2026, 11, 28, 0, 0, 0]),
            ("app-2026-11-28T09:30:15.log", [2026, 11, 28, 9, 30, 15]),
            ("app-20261128093015.log", [2026, 11, 28, 9, 30, 15]),
            ("app-20261128-09.log", [2026, 11, 28, 9, 0, 0]),
            ("app-2026-11-28_09-30.log", [2026, 11, 28, 9, 30, 0]),
            ("app-2026-11-28.99.log", [2026, 11, 28, 0, 0, 0]),
            ("app-2026-11.log", [2026, 11, 0, 0, 0, 0]),
            ("node12-4444-2026-11-28.log", [2026, 11, 28, 0, 0, 0]),
        ] {
            let found = Date::find(name.as_bytes()).map(|(date, _)| date);
            assert_eq!(found, Some(Date(date)), "{name}");
        }
        for name in [
            "app.log",
            "app-9.log",
            "app-202611.log",
            "app-1764288000.log",
            "app-28-11-2026.log",
            "app-2026-13-01.log",
            "port-8080-10-01.log",
            "app-12026-11-28.log",
            "app-2026.log",
            "app-2026",
        ] {
            assert_eq!(Date::find(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_later_date_is_newer_whenever_the_file_was_created() {
        assert!(rank("app-2026-11-28.log", 1) > rank("app-2026-11-27.log", 9));
        assert!(rank("app-2026-12-01.log", 1) > rank("app-2026-11-30.log", 9));
        assert!(rank("app-20261128-10.log", 1) > rank("app-20261128-09.log", 9));
        assert!(rank("app-2026-11-28.log", 1) > rank("app-copy.log", 9), "a date and none");
    }

    #[test]
    fn without_a_later_date_that_is_newer_which_was_created_later() {
        assert!(rank("app-ant.log", 2) > rank("app-zebra.log", 1));
        assert!(rank("app-2026-11-28.log", 2) > rank("app-2026-11-28.log.1", 1));
        assert!(rank("a-9.log", 2) > rank("a-10.log", 1));
        assert!(rank("a-10.log", 1) > rank("a-9.log", 1), "in one tick of the clock");
        assert!(rank("a-009.log", 1) < rank("a-10.log", 1));
        assert_ne!(rank("a-009.log", 1), rank("a-9.log", 1));
    }

    #[test]
    fn the_file_with_the_very_name_is_the_newest() {
        let exact = Rank::new(OsStr::new("a*"), true, None);
        assert!(exact > rank("app-2026-11-28.log", 9));
    }
}
