//! Which of the files in a directory are a log's past, and in which order they were written.
//!
//! Pure: it looks at names and times alone. A rotation either counts, and then the file with the
//! highest number is the oldest, or it writes the date into the name. Where a log has files of several
//! such kinds, because its rotation was changed, the time of the last write says which come first.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::log::pattern::Pattern;
use crate::log::rotated::names::{self, Added};

/// A number with fewer digits than this, between the log's name and its extension, may also tell
/// one log from another: `app-2.log`.
const SHORT_DIGITS_MAX: usize = 3;
/// The years that a number of four digits may be.
const YEARS: std::ops::RangeInclusive<u64> = 1970..=2200;

/// A file, as a directory lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The number of the directory. Directories have no order.
    pub(super) place: usize,
    pub(super) name: OsString,
    /// When it was last written. A compressor keeps the time of the original.
    pub(super) modified: SystemTime,
    /// When it was created. None where the file system does not say.
    pub(super) born: Option<SystemTime>,
    /// It lies in the directory of the log.
    pub(super) is_beside: bool,
}

/// A file of a log's past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) entry: Entry,
    /// Whether a file is missing between this one and the next, by their numbers.
    pub(super) is_gap_after: bool,
}

/// What a name says of the age of a file. Files of one kind are in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// A date: year, month, day, and what follows.
    Date(Vec<u64>),
    /// A TAI64N label.
    Label(Vec<u8>),
    /// A word such as `old`: only the time says more.
    Word,
    /// A count of rotations.
    Count(Vec<u64>),
}

/// The kind of the names of a sequence; for counts its directory and the text of the names, too.
type SequenceName = (u8, usize, Vec<u8>);

/// The names of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// Its own name, and that of the file to which it leads.
    pub(super) names: Vec<OsString>,
    /// A link: the name of the file to which it leads, which may be one of a series.
    pub(super) series: Option<OsString>,
    /// Its name is a pattern.
    pub(super) pattern: Option<Pattern>,
}

impl Own {
    /// What the name says of the age of the file; None for a file that is none of the log's past.
    fn age(&self, entry: &Entry) -> Option<Age> {
        let (stem, _) = names::without_compression(entry.name.as_bytes());
        let dated = || date(stem).map_or(Age::Word, Age::Date);
        if let Some(pattern) = &self.pattern {
            return pattern.matches(stem).then(dated);
        }
        let of_series =
            |file: &OsString| names::are_of_one_series(OsStr::from_bytes(stem), file).then(dated);
        let named = self.names.iter().find_map(|own| age(entry, own));
        named.or_else(|| self.series.as_ref().and_then(of_series))
    }

    /// Whether the file is one of the log's past.
    pub(super) fn has(&self, entry: &Entry) -> bool {
        self.age(entry).is_some()
    }
}

/// The past of a log with these names, the oldest file first, each once.
pub(super) fn ordered(own: &Own, entries: Vec<Entry>) -> Vec<Ordered> {
    let aged = entries.into_iter().filter_map(|entry| Some((own.age(&entry)?, entry)));
    let mut sequences: BTreeMap<SequenceName, Vec<(Age, Entry)>> = BTreeMap::new();
    for (age, entry) in without_twins(aged.collect()) {
        let sequence = match age {
            Age::Date(_) => (0, 0, Vec::new()),
            Age::Label(_) => (1, 0, Vec::new()),
            Age::Word => (2, 0, Vec::new()),
            // Each directory and each way to write the number has its own count.
            Age::Count(_) => (3, entry.place, text_of(&entry.name)),
        };
        sequences.entry(sequence).or_default().push((age, entry));
    }
    let mut sequences: Vec<Vec<Ordered>> = sequences.into_values().map(in_order).collect();
    if let [only] = sequences.as_mut_slice() {
        return std::mem::take(only);
    }
    merged(sequences)
}

/// What the name says of the age of the file; None for a file that is none of the log's past.
fn age(entry: &Entry, own: &OsStr) -> Option<Age> {
    let (name, own) = (entry.name.as_bytes(), own.as_bytes());
    let (stem, _) = names::without_compression(name);
    if stem == own {
        // Beside the log it is a copy, or the log itself.
        return (!entry.is_beside).then_some(Age::Word);
    }
    let text = match names::added(stem, own)? {
        Added::Label(label) => return Some(Age::Label(label.to_vec())),
        Added::Behind(text) if own.contains(&b'.') => text,
        Added::Behind(text) | Added::Within(text) => {
            let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
            let is_joined = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
            let is_short = (1..=SHORT_DIGITS_MAX).contains(&digits);
            if is_joined && is_short && !text.iter().any(u8::is_ascii_alphabetic) {
                return None;
            }
            text
        }
    };
    Some(date(text).map_or_else(|| count(text), Age::Date))
}

fn value(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value: u64, digit| {
        value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}

fn count(text: &[u8]) -> Age {
    let groups = names::digit_groups(text);
    let is_month = |word: &[u8]| names::month(word).is_some();
    // A day without its year says nothing.
    if groups.is_empty() || text.split(|byte| !byte.is_ascii_alphabetic()).any(is_month) {
        return Age::Word;
    }
    Age::Count(groups.into_iter().map(value).collect())
}

/// The date in a text, as year, month, day, and the numbers behind it.
fn date(text: &[u8]) -> Option<Vec<u64>> {
    let groups = names::digit_groups(text);
    let month = text.split(|byte| !byte.is_ascii_alphabetic()).find_map(names::month);
    let at = groups.iter().position(|group| group.len() >= 4)?;
    let (before, long, after) = (groups.get(..at)?, groups.get(at)?, groups.get(at + 1..)?);
    let mut date = Vec::new();
    match long.len() {
        4 => {
            let year = value(long);
            let is_alone = before.is_empty() && after.is_empty() && month.is_none();
            if !YEARS.contains(&year) || (is_alone && text.len() == 5) {
                return None;
            }
            // `28Nov2026` and `11-28-2026` have the year last.
            date.push(year);
            date.extend(month);
            date.extend(before.iter().map(|group| value(group)));
        }
        8.. if YEARS.contains(&value(long.get(..4)?))
            && (1..=12).contains(&value(long.get(4..6)?)) =>
        {
            date.push(value(long.get(..4)?));
            date.extend(long.get(4..)?.chunks(2).map(value));
        }
        // Seconds or more since 1970.
        10.. => {
            let seconds = i64::try_from(value(long.get(..10)?)).ok()?;
            let time = Offset::UTC.to_datetime(Timestamp::from_second(seconds).ok()?);
            date.push(u64::try_from(time.year()).ok()?);
            let rest = [time.month(), time.day(), time.hour(), time.minute(), time.second()];
            date.extend(rest.into_iter().filter_map(|part| u64::try_from(part).ok()));
        }
        _ => date.push(value(long)),
    }
    date.extend(after.iter().flat_map(|group| match group.len() {
        // A time of day behind a date: `20261127-130501`.
        6 => group.chunks(2).map(value).collect::<Vec<u64>>(),
        _ => vec![value(group)],
    }));
    Some(date)
}

/// A name without its digits, and without the ending of a compressed file.
fn text_of(name: &OsStr) -> Vec<u8> {
    let (stem, _) = names::without_compression(name.as_bytes());
    stem.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect()
}

/// Leaves out a file that is being compressed under a second name, or was and is still there.
fn without_twins(aged: Vec<(Age, Entry)>) -> Vec<(Age, Entry)> {
    let mut plain: BTreeMap<(usize, Vec<u8>), SystemTime> = BTreeMap::new();
    let stem = |entry: &Entry| {
        let (stem, is_compressed) = names::without_compression(entry.name.as_bytes());
        ((entry.place, stem.to_vec()), is_compressed)
    };
    for (_, entry) in &aged {
        if let (key, false) = stem(entry) {
            plain.insert(key, entry.modified);
        }
    }
    let mut seen = HashSet::new();
    let is_once = |(_, entry): &(Age, Entry)| {
        let (key, is_compressed) = stem(entry);
        // An older one is of another file: that before this.
        let is_twin = is_compressed
            && (plain.get(&key).is_some_and(|plain| *plain <= entry.modified)
                || seen.contains(&(key.clone(), entry.modified)));
        seen.insert((key, entry.modified));
        !is_twin
    };
    aged.into_iter().filter(is_once).collect()
}

/// One sequence, the oldest file first.
fn in_order(mut sequence: Vec<(Age, Entry)>) -> Vec<Ordered> {
    let later = |(age, entry): &(Age, Entry)| (age.clone(), entry.modified, entry.name.clone());
    sequence.sort_by_cached_key(later);
    let is_count = matches!(sequence.first(), Some((Age::Count(_), _)));
    if is_count {
        // The highest number is the oldest, unless the times say that the numbers grow. Not every
        // compressor keeps the time, so the time of its file proves nothing beside a plain one.
        let is_compressed = |entry: &Entry| names::without_compression(entry.name.as_bytes()).1;
        let (mut rising, mut falling) = (0, 0);
        for two in sequence.windows(2) {
            let ((_, one), (_, other)) = (&two[0], &two[1]);
            if is_compressed(one) == is_compressed(other) {
                // A late writer changes the time of the last write only.
                let times = one.born.zip(other.born).unwrap_or((one.modified, other.modified));
                rising += usize::from(times.0 < times.1);
                falling += usize::from(times.0 > times.1);
            }
        }
        let is_falling = rising <= falling;
        // Two files of one number were written one after the other.
        sequence.sort_by(|(one, first), (other, second)| {
            let ages = if is_falling { other.cmp(one) } else { one.cmp(other) };
            ages.then(first.modified.cmp(&second.modified))
        });
    } else if matches!(sequence.first(), Some((Age::Word, _))) {
        sequence.sort_by_key(|(_, entry)| entry.modified);
    }
    let number = |age: &Age| match age {
        Age::Count(numbers) => numbers.last().copied(),
        Age::Date(_) | Age::Label(_) | Age::Word => None,
    };
    let numbers: Vec<Option<u64>> = sequence.iter().map(|(age, _)| number(age)).collect();
    let is_falling = numbers.first() >= numbers.last();
    let ordered = sequence.into_iter().enumerate().map(|(at, (_, entry))| {
        let next = numbers.get(at + 1).copied().flatten();
        let is_gap_after = match (numbers[at], next) {
            (Some(number), Some(next)) => number.abs_diff(next) > 1,
            // The log itself follows on the first number.
            (Some(number), None) => is_falling && number > 1,
            (None, _) => false,
        };
        Ordered { entry, is_gap_after }
    });
    ordered.collect()
}

/// Several sequences as one, by the times of their files.
fn merged(sequences: Vec<Vec<Ordered>>) -> Vec<Ordered> {
    let mut heads: Vec<_> =
        sequences.into_iter().map(|sequence| sequence.into_iter().peekable()).collect();
    let mut all = Vec::new();
    loop {
        let next = heads
            .iter_mut()
            .enumerate()
            .filter_map(|(at, head)| Some((head.peek()?.entry.modified, at)));
        let Some((_, at)) = next.min() else { return all };
        // A number says nothing of the files of another sequence.
        all.extend(heads[at].next().map(|file| Ordered { is_gap_after: false, ..file }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn entry(name: &str, seconds: u64) -> Entry {
        let (place, name, is_beside) = match name.split_once('/') {
            Some((_, name)) => (1, name, false),
            None => (0, name, true),
        };
        Entry { place, name: name.into(), modified: at(seconds), born: None, is_beside }
    }

    fn named(own: &str) -> Own {
        Own { names: vec![own.into()], ..Own::default() }
    }

    fn past(own: &str, entries: Vec<Entry>) -> Vec<String> {
        let ordered = ordered(&named(own), entries);
        ordered.into_iter().map(|file| file.entry.name.into_string().unwrap()).collect()
    }

    #[test]
    fn the_files_of_a_log_are_in_the_order_of_their_numbers_or_dates() {
        // The oldest first. All were written at the same time, so that the names decide.
        for (own, expected) in [
            ("app.log", &["app.log.10.gz", "app.log.9.gz", "app.log.2.gz", "app.log.1"][..]),
            ("app.log", &["app.10.log", "app.2.log", "app.1.log"]),
            ("app.log", &["app.log-20261126.zst", "app.log-20261127.xz", "app.log-20261128"]),
            ("app.log", &["app.log-20261126-1764100000.gz", "app.log-20261126-1764200000"]),
            ("app.log", &["app.log.2026-11-26.gz", "app.log.2026-11-27"]),
            ("app.log", &["app.log.2026-11-27_09-00.gz", "app.log.2026-11-27_13-00"]),
            ("app.log", &["app-2026-11-27_9.log", "app-2026-11-27_13.log"]),
            (
                "app.log",
                &["app.2026-11-27.0.log.gz", "app.2026-11-27.10.log.gz", "app.2026-11-28.0.log"],
            ),
            ("app.log", &["app-2026-11-27-2.log", "app-2026-11-27-10.log"]),
            ("app.log", &["app-12-31-2025-1.log.gz", "app-11-28-2026-1.log.gz"]),
            ("app.log", &["app.log.27Nov2026", "app.log.01Dec2026"]),
            ("app.log", &["app-2026-11-27T10-15-00.000.log.gz", "app-2026-11-27T10-16-00.000.log"]),
            ("app.log", &["app.log.1795780000.gz", "app.log.1795790000"]),
            ("0.log", &["0.log.20261127-130501.gz", "0.log.20261127-140501"]),
            ("c-json.log", &["c-json.log.3.gz", "c-json.log.2.gz", "c-json.log.1"]),
            ("messages", &["messages-20261127.bz2", "messages-20261128"]),
            ("app", &["app.2", "app.1"]),
            ("current", &["@4000000069297af12a1b2c3d.u", "@4000000069297af22a1b2c3d.s"]),
        ] {
            let entries = expected.iter().rev().map(|name| entry(name, 7)).collect();
            assert_eq!(past(own, entries), expected, "of {own}");
            let entries = expected.iter().map(|name| entry(name, 7)).collect();
            assert_eq!(past(own, entries), expected, "of {own}");
        }
    }

    #[test]
    fn files_of_other_logs_are_left_out() {
        for (own, name) in [
            ("app.log", "app.log"),
            ("app.log", "app.log.gz"),
            ("app.log", "app.log-errors"),
            ("app.log", "app.log-errors.1"),
            ("app.log", "app.log-errors-20261127.gz"),
            ("app.log", "app-2.log"),
            ("app.log", "app_2.log.gz"),
            ("app.log", "app-worker.log.1"),
            ("app.log", "app2.log.1"),
            ("app.log", "my-app.log.1"),
            ("app.log", "app.log.1.gz.tmp"),
            ("app.log", "app.txt.1"),
            ("worker", "worker-2"),
            ("app.log", "@4000000069297af12a1b2c3d.s"),
            ("app.log.1", "app.log.2"),
            ("app.log.2.gz", "app.log.3.gz"),
        ] {
            let found = past(own, vec![entry(name, 1)]);
            assert_eq!(found, Vec::<String>::new(), "{name} is none of {own}");
        }
    }

    #[test]
    fn a_file_that_is_being_compressed_is_there_once() {
        let both = |archive: u64| vec![entry("a.log.1", 100), entry("a.log.1.gz", archive)];
        assert_eq!(past("a.log", both(130)), ["a.log.1"], "it is being compressed");
        assert_eq!(past("a.log", both(100)), ["a.log.1"], "it has been compressed");
        assert_eq!(past("a.log", both(50)), ["a.log.1.gz", "a.log.1"], "it is another file");
        let two = vec![entry("a.log.1.gz", 100), entry("a.log.1.zst", 100)];
        assert_eq!(past("a.log", two).len(), 1, "it was compressed twice");
        let other = vec![entry("old/a.log.1.gz", 100), entry("a.log.1", 100)];
        assert_eq!(past("a.log", other).len(), 2, "they lie in two directories");
    }

    #[test]
    fn where_the_names_are_of_several_kinds_the_times_decide_between_these() {
        let mixed = vec![
            entry("a.log.1", 400),
            entry("a.log.2.gz", 300),
            entry("a.log-20261101.gz", 100),
            entry("a.log-20261102.gz", 200),
            entry("a.log.old", 150),
            entry("old/a.log.1.gz", 50),
            entry("old/a.log", 60),
        ];
        let expected = [
            "a.log.1.gz",
            "a.log",
            "a.log-20261101.gz",
            "a.log.old",
            "a.log-20261102.gz",
            "a.log.2.gz",
            "a.log.1",
        ];
        assert_eq!(past("a.log", mixed), expected);
        let rising = vec![entry("a.3.log", 3), entry("a.1.log", 1), entry("a.2.log", 2)];
        assert_eq!(past("a.log", rising), ["a.1.log", "a.2.log", "a.3.log"], "numbers that grow");
        let born = |name, born| Entry { born: Some(at(born)), ..entry(name, 10 - born) };
        let late = vec![born("a.log.1", 1), born("a.log.2", 2)];
        assert_eq!(past("a.log", late), ["a.log.1", "a.log.2"], "a late writer of the first");
        let late = vec![entry("a.log.1", 1), entry("a.log.2.gz", 9)];
        assert_eq!(past("a.log", late), ["a.log.2.gz", "a.log.1"], "the time of the compression");
    }

    #[test]
    fn a_link_to_the_newest_file_of_a_series_has_the_others_as_its_past() {
        let series = Some("app-2026-11-28.log".into());
        let own = Own {
            names: vec!["app.log".into(), "app-2026-11-28.log".into()],
            series,
            ..Own::default()
        };
        let names = ["app-2026-11-26.log.gz", "app-2026-11-27.log", "web-2026-11-27.log"];
        let entries = names.iter().map(|name| entry(name, 1)).collect();
        let found = ordered(&own, entries).into_iter().map(|file| file.entry.name);
        assert_eq!(found.collect::<Vec<_>>(), names[..2]);
    }

    #[test]
    fn a_number_that_is_missing_is_a_gap() {
        let gaps = |names: &[&str]| -> Vec<bool> {
            let entries = names.iter().map(|name| entry(name, 1)).collect();
            let ordered = ordered(&named("a.log"), entries);
            ordered.into_iter().map(|file| file.is_gap_after).collect()
        };
        assert_eq!(gaps(&["a.log.3.gz", "a.log.2.gz", "a.log.1"]), [false, false, false]);
        assert_eq!(gaps(&["a.log.4", "a.log.2"]), [true, true]);
        assert_eq!(gaps(&["a.log.0"]), [false]);
        assert_eq!(
            gaps(&["a.log-20261101", "a.log-20261128"]),
            [false, false],
            "days without lines"
        );
    }
}
