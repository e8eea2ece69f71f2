//! What rotations make of a log's name, and where they put the old files.
//!
//! Pure: it looks at names alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The endings of compressed files, which can't be read as they are.
const COMPRESSED: [&str; 7] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z"];
/// How compressed data begin: gzip, bzip2, xz, zstd, LZ4, zip, compress. A program may compress an
/// old file and leave it its name.
const COMPRESSED_HEADS: [&[u8]; 7] = [
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\0",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"PK\x03\x04",
    b"\x1f\x9d",
];
/// What stands between the parts of a rotated file's suffix.
const SEPARATORS: &[u8] = b".-_~:+";
/// The words that mark a rotated file, besides numbers and dates.
const OLD_WORDS: [&str; 9] =
    ["old", "bak", "backup", "orig", "prev", "previous", "save", "archived", "rotated"];
/// The words that mark a directory of old files, besides those and dates.
const OLD_DIRECTORY_WORDS: [&str; 8] =
    ["archive", "archives", "arch", "backups", "history", "oldlogs", "log", "logs"];
/// The letters in dates besides the names of the months: `2026-11-28T10:15Z`, `2026-W48`.
const DATE_LETTERS: [&str; 3] = ["T", "Z", "W"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// A number with so many digits is a date, and no count of rotations.
const DATE_DIGITS_MIN: usize = 4;
/// A TAI64N label: `@` and so many hexadecimal digits.
const TAI64N_DIGITS: usize = 24;

/// The directories beside that of a log in which its old files may lie, by their names.
pub(super) const NEIGHBOURS: [&str; 8] =
    ["old", "archive", "archived", "archives", "backup", "backups", "oldlogs", "rotated"];

/// Whether `name` is what a rotation makes of the log's `own` name: with a number, a date or a word
/// such as `old` behind it, before it or before its extension, and not compressed. For `app.log`
/// these are `app.log.1`, `app-20261127.log` and `app.log.old`, but not `app.log.err`. For
/// `current`, the log of svlogd, s6-log and multilog, these are time stamps such as
/// `@4000000069297af12a1b2c3d.s`.
pub(super) fn is_rotated(name: &OsStr, own: &OsStr) -> bool {
    let (name, own) = (name.as_bytes(), own.as_bytes());
    if is_compressed_name(name) {
        return false;
    }
    added(name, own).is_some()
}

/// What a rotation added to a log's `own` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added<'a> {
    /// Behind the whole name.
    Behind(&'a [u8]),
    /// Before the name, or before its extension.
    Within(&'a [u8]),
    /// The whole name is a TAI64N label.
    Label(&'a [u8]),
}

/// What a rotation added to make `name` of the log's `own` name; None where `name` is not such a
/// name. `name` has no ending of a compressed file.
pub(super) fn added<'a>(name: &'a [u8], own: &[u8]) -> Option<Added<'a>> {
    if own == b"current" && is_tai64n(name) {
        return Some(Added::Label(name));
    }
    let between =
        |start: &[u8], end: &[u8]| name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    if let Some(suffix) = between(own, b"").filter(|suffix| is_rotation_suffix(suffix)) {
        return Some(Added::Behind(suffix));
    }
    if let Some(prefix) = between(b"", own).filter(|prefix| is_rotation_prefix(prefix)) {
        return Some(Added::Within(prefix));
    }
    let dots = own.iter().enumerate().filter(|&(at, &byte)| byte == b'.' && at > 0);
    let mut splits = dots.map(|(at, _)| own.split_at(at));
    let suffix = splits.find_map(|(stem, extension)| {
        between(stem, extension).filter(|suffix| is_rotation_suffix(suffix))
    });
    suffix.map(Added::Within)
}

/// The name without the ending of a compressed file, and whether it had one.
pub(super) fn without_compression(name: &[u8]) -> (&[u8], bool) {
    let stem = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending.as_bytes()));
    stem.map_or((name, false), |stem| (stem, true))
}

/// The number of a month by the first three letters of its name, from 1.
pub(super) fn month(word: &[u8]) -> Option<u64> {
    let at = MONTHS.iter().position(|month| word.eq_ignore_ascii_case(month.as_bytes()))?;
    Some(at as u64 + 1)
}

/// Whether both names are the same but for the digits of a date, as `app-2026-11-27.log` and
/// `app-2026-11-28.log` are. A link may lead to one of these after the other.
pub(super) fn are_of_one_series(one: &OsStr, other: &OsStr) -> bool {
    let digits = one.as_bytes().iter().filter(|byte| byte.is_ascii_digit()).count();
    let texts = |name: &OsStr| -> Vec<Vec<u8>> {
        name.as_bytes().split(u8::is_ascii_digit).map(<[u8]>::to_vec).collect()
    };
    one != other && digits >= DATE_DIGITS_MIN && texts(one) == texts(other)
}

fn numbers(name: &OsStr) -> Vec<&[u8]> {
    digit_groups(name.as_bytes())
}

/// The runs of digits in a text.
pub(super) fn digit_groups(text: &[u8]) -> Vec<&[u8]> {
    let parts = text.split(|byte| !byte.is_ascii_digit());
    parts.filter(|part| !part.is_empty()).collect()
}

/// Whether the rotated file `name` of a log gets another name with each rotation: it has a number
/// above 1, as `app.log.2`, and no date.
pub(super) fn is_shifted(name: &OsStr, own: &OsStr) -> bool {
    let mut added = numbers(name);
    for number in numbers(own) {
        if let Some(at) = added.iter().position(|other| *other == number) {
            added.remove(at);
        }
    }
    let is_dated = added.iter().any(|number| number.len() >= DATE_DIGITS_MIN);
    // `0` and `1` are the first number that a file gets.
    let is_later = |number: &&[u8]| {
        let zeros = number.iter().take_while(|&&digit| digit == b'0').count();
        !matches!(&number[zeros..], b"" | b"1")
    };
    !is_dated && added.iter().any(is_later)
}

/// Whether a directory in that of a log may hold its old files: `old`, `archive`, `2026-11`.
pub(super) fn is_old_directory(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_plain = |part: &[u8]| part.eq_ignore_ascii_case(b"log") || part == b"logs";
    let is_word = |part: &[u8]| is_old_word(part) || is_one_of(part, &OLD_DIRECTORY_WORDS);
    let mut has_mark = digits >= DATE_DIGITS_MIN;
    let mut parts = name.split(|byte| SEPARATORS.contains(byte)).filter(|part| !part.is_empty());
    parts.all(|part| {
        has_mark |= is_word(part) && !is_plain(part);
        is_word(part) || is_date_part(part)
    }) && has_mark
}

/// Whether a file that begins with `head` is compressed.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    COMPRESSED_HEADS.iter().any(|magic| head.starts_with(magic))
}

pub(super) fn is_compressed_name(name: &[u8]) -> bool {
    COMPRESSED.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Whether it is a label as multilog writes it: `.s` for a file that was finished, `.u` for one
/// whose writer was interrupted.
fn is_tai64n(name: &[u8]) -> bool {
    let label = name.strip_prefix(b"@");
    let label = label.and_then(|rest| rest.strip_suffix(b".s").or(rest.strip_suffix(b".u")));
    label.is_some_and(|label| {
        label.len() == TAI64N_DIGITS && label.iter().all(u8::is_ascii_hexdigit)
    })
}

/// Whether all parts of a suffix are numbers, dates or words for old files.
fn is_rotation_suffix(suffix: &[u8]) -> bool {
    suffix.first().is_some_and(|byte| SEPARATORS.contains(byte))
        && (suffix == b"~" || is_rotation_text(suffix))
}

fn is_rotation_prefix(prefix: &[u8]) -> bool {
    prefix.last().is_some_and(|byte| SEPARATORS.contains(byte)) && is_rotation_text(prefix)
}

fn is_rotation_text(text: &[u8]) -> bool {
    let parts = || text.split(|byte| SEPARATORS.contains(byte)).filter(|part| !part.is_empty());
    let has_mark = |part: &[u8]| is_old_word(part) || part.iter().any(u8::is_ascii_digit);
    parts().any(has_mark) && parts().all(|part| is_old_word(part) || is_date_part(part))
}

fn is_old_word(part: &[u8]) -> bool {
    is_one_of(part, &OLD_WORDS)
}

fn is_one_of(part: &[u8], words: &[&str]) -> bool {
    words.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether it is a number or a part of a date: `1`, `20261128`, `28Nov2026`, `Nov`, `28T10`.
fn is_date_part(part: &[u8]) -> bool {
    let words = part.split(u8::is_ascii_digit).filter(|word| !word.is_empty());
    let has_digits = part.iter().any(u8::is_ascii_digit);
    let is_date_word = |word: &[u8]| {
        is_one_of(word, &MONTHS)
            || (has_digits && DATE_LETTERS.iter().any(|it| word == it.as_bytes()))
    };
    !part.is_empty() && words.into_iter().all(is_date_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_known_by_a_number_a_date_or_a_word_in_its_name() {
        let is_rotated = |own: &str, name: &str| is_rotated(OsStr::new(name), OsStr::new(own));
        for (own, name) in [
            ("app.log", "app.log.1"),
            ("app.log", "app.log-20261127"),
            ("app.log", "app.log.2026-11-27_10"),
            ("app.log", "app.log.2026-11-27T10:15:00Z"),
            ("app.log", "app.log.2026-W48"),
            ("app.log", "app.log.28Nov2026"),
            ("app.log", "app.log.Nov-28"),
            ("app.log", "app.log.old"),
            ("app.log", "app.log.OLD.2"),
            ("app.log", "app.log~"),
            ("app.log", "app.1.log"),
            ("app.log", "app_1.log"),
            ("app.log", "app-20261127.log"),
            ("app.log", "app-2026-11-28.log"),
            ("app.log", "app-11-28-2026-1.log"),
            ("app.log", "app-2026-11-27T10-15-00.000.log"),
            ("app.log", "app.2026-11-27.0.log"),
            ("app.log", "app.old.log"),
            ("app.log", "2026-11-28.app.log"),
            ("app.log", "bak_app.log"),
            ("app.json.log", "app.2026-11-28.json.log"),
            ("messages", "messages-20261127"),
            ("catalina.out", "catalina.out-20261127"),
            ("0.log", "0.log.20261128-101500"),
            (".hidden", ".hidden.1"),
            ("current", "@4000000069297af12a1b2c3d.s"),
            ("current", "@4000000069297af12a1b2c3d.u"),
        ] {
            assert!(is_rotated(own, name), "{name} of {own}");
        }
        for (own, name) in [
            ("app.log", "app.log"),
            ("app.log", "app.log.err"),
            ("app.log", "app.log.err.1"),
            ("app.log", "app.log.1.gz"),
            ("app.log", "app.log.5xx"),
            ("app.log", "app.log."),
            ("app.log", "app.log.Mar"),
            ("app.log", "app.log1"),
            ("app.log", "app2.log"),
            ("app.log", "app-worker.log"),
            ("app.log", "other.1.log"),
            ("app.log", "app.1.txt"),
            ("app.log", "my.app.log"),
            ("app.log", "@4000000069297af12a1b2c3d.s"),
            ("app", "app2"),
            (".hidden", ".1.hidden"),
            ("current", "@4000000069297af12a1b2c3.s"),
            ("current", "@4000000069297af12a1b2c3d.t"),
        ] {
            assert!(!is_rotated(own, name), "{name} of {own}");
        }
    }

    #[test]
    fn a_series_of_files_differs_in_the_digits_of_a_date() {
        let are_one =
            |one: &str, other: &str| are_of_one_series(OsStr::new(one), OsStr::new(other));
        assert!(are_one("app-2026-11-27.log", "app-2026-11-28.log"));
        assert!(!are_one("app-2026-11-27.log", "app-2026-11-27.log"), "the same");
        assert!(!are_one("app-2026-11-27.log", "web-2026-11-28.log"));
        assert!(!are_one("app-1.log", "app-2.log"), "no date");
    }

    #[test]
    fn a_shifted_file_has_a_number_above_1_and_no_date() {
        let is_shifted = |name: &str| is_shifted(OsStr::new(name), OsStr::new("app.log"));
        for name in ["app.log.2", "app.3.log", "app.log.old.10"] {
            assert!(is_shifted(name), "{name}");
        }
        for name in
            ["app.log.1", "app.log.0", "app.log-20261127", "app.2026-11-27.2.log", "app.log.old"]
        {
            assert!(!is_shifted(name), "{name}");
        }
        let (own, name) = (OsStr::new("node12.log"), OsStr::new("node12.log.1"));
        assert!(!super::is_shifted(name, own), "the number of the log's own name");
    }

    #[test]
    fn a_directory_of_old_files_has_a_word_for_them_or_a_date() {
        for name in [
            "old",
            "archive",
            "Archived",
            "old-logs",
            "log_archive",
            "2026-11",
            "20261128",
            "backup.1",
        ] {
            assert!(is_old_directory(OsStr::new(name)), "{name}");
        }
        for name in ["log", "logs", "nginx", "old-nginx", "1", "12", "app", ""] {
            assert!(!is_old_directory(OsStr::new(name)), "{name}");
        }
    }
}
