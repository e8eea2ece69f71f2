//! Finding files again that were rotated away while nobody followed the log.
//!
//! They lie beside the log under other names. A file whose position is known is recognised by its
//! inode and its head, since another file may have got the inode meanwhile. A file that had the
//! log's name after it is recognised by its present name and by its creation time, which a renaming
//! does not change. All calls may block.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::log::access::{Access, Identity, LogPath};
use crate::log::file::LogFile;
use crate::log::pattern::{Match, Rank, first_admitted};
use crate::log::position::{Generation, Offset};

/// A shorter signature is not enough to recognise a file: any file may have got the inode of one
/// that was not held open.
const SIGNED_BYTES_MIN: usize = 64;
/// How many names of a directory are read.
const NAMES_MAX: usize = 100_000;
/// How often a directory is read. While files are being renamed, a reading may miss some of them.
const READINGS_MAX: usize = 5;
/// The pause between two readings.
const READING_INTERVAL: Duration = Duration::from_millis(20);
/// A directory in which no name has changed for this long is read once.
const REST_TIME: Duration = Duration::from_millis(100);
/// How long writers may go on with a file that has lost the log's name.
const LATE_TIME: Duration = Duration::from_secs(60);
/// The endings of compressed files, which cannot be read as they are.
const COMPRESSED: [&str; 7] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z"];
/// The characters between the parts of a rotated file's suffix.
const SEPARATORS: &[u8] = b".-_~:+";
/// The words that mark a rotated file, besides numbers and dates.
const OLD_WORDS: [&str; 7] = ["old", "bak", "backup", "orig", "prev", "previous", "save"];

/// The file of the generation `wanted`, if it lies beside the log and provably has the
/// generation's bytes up to `offset`.
pub(super) fn find(
    access: &Access,
    log: &LogPath,
    wanted: Generation,
    offset: Offset,
) -> Option<LogFile> {
    if wanted.signature.bytes() < SIGNED_BYTES_MIN {
        return None;
    }
    let has_inode = |name: &DirEntry| name.ino() == wanted.identity.inode;
    let proved = |name: DirEntry| {
        let file = open(access, &name)?;
        let is_proved = wanted.is_proved_by(file.identity(), &file.head().ok()?, offset)
            && offset.0 <= file.status().ok()?.size;
        is_proved.then_some(file)
    };
    for _ in 1..READINGS_MAX {
        let were_at_rest = are_at_rest(access, log);
        let file = names(access, log).filter(has_inode).find_map(proved);
        if file.is_some() || were_at_rest {
            return file;
        }
        thread::sleep(READING_INTERVAL);
    }
    names(access, log).filter(has_inode).find_map(proved)
}

/// The file with the inode of a generation whose signature is too short for proof, if it lies
/// beside the log under the name of a rotated file.
pub(super) fn find_unproved(access: &Access, log: &LogPath, wanted: Generation) -> Option<LogFile> {
    if wanted.signature.bytes() >= SIGNED_BYTES_MIN {
        return None;
    }
    let mut names = names(access, log).filter(|name| is_rotated(&name.file_name(), log));
    let name = names.find(|name| name.ino() == wanted.identity.inode)?;
    open(access, &name).filter(|file| file.identity() == wanted.identity)
}

/// The file that had the log's name after a file that was created at `born`, if it lies beside the
/// log under the name of a rotated file. It was created before `until`, the creation time of the
/// file with which following began.
pub(super) fn find_next(
    access: &Access,
    log: &LogPath,
    born: SystemTime,
    until: SystemTime,
) -> Option<LogFile> {
    let rotated = names(access, log).filter(|name| is_rotated(&name.file_name(), log));
    let candidates = rotated.filter_map(|name| {
        let metadata = name.metadata().ok()?;
        let created = metadata.created().ok()?;
        // A file that is still written to is another log.
        let is_idle = metadata.modified().ok()? <= until + LATE_TIME;
        (born < created && created < until && is_idle).then_some((created, name))
    });
    let (_, name) = candidates.min_by_key(|(created, _)| *created)?;
    open(access, &name).filter(|file| file.identity().inode == name.ino())
}

/// The match of a pattern that comes after a file which matches, or did, if nobody `is_following`
/// it: the next newer one that may be read. `all` are the matches, the oldest first.
pub(super) fn find_next_match(
    access: &Access,
    all: &[Match],
    file: &LogFile,
    is_followed: impl Fn(Identity) -> bool,
) -> Option<LogFile> {
    let at = all.iter().position(|found| found.identity == file.identity());
    let after = match at {
        Some(at) => at + 1,
        // The file has another name now. That may have a date, too.
        None => {
            let name = file.path_now()?;
            let rank = Rank::new(name.file_name()?, false, file.born());
            all.partition_point(|found| found.rank <= rank)
        }
    };
    let newer = all[after..].iter().take_while(|found| !is_followed(found.identity));
    let (_, admitted) = first_admitted(newer, |log| access.open(log)).ok()?;
    Some(LogFile::new(admitted))
}

/// Whether the file is compressed, by its name.
pub(super) fn is_compressed(name: &[u8]) -> bool {
    COMPRESSED.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Whether a rotation may have made `name` of the log's name: it has a number, a date or a word
/// such as `old` after the log's name or before its extension, and is not compressed. For `app.log`
/// these are `app.log.1`, `app-20261127.log` and `app.log.old`, but not `app.log.err`.
fn is_rotated(name: &OsStr, log: &LogPath) -> bool {
    let (name, own) = (name.as_bytes(), log.as_path().file_name().unwrap_or_default().as_bytes());
    if is_compressed(name) {
        return false;
    }
    if let Some(pattern) = log.pattern() {
        return pattern.matches(name);
    }
    let extension = own.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0);
    let (stem, extension) = own.split_at(extension.unwrap_or(own.len()));
    let between = |start: &[u8], end: &[u8]| {
        let suffix = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
        suffix.is_some_and(is_rotation_suffix)
    };
    between(own, b"") || between(stem, extension)
}

/// Whether all parts of a suffix are numbers, dates or words for old files.
fn is_rotation_suffix(suffix: &[u8]) -> bool {
    let is_separator = |byte: &u8| SEPARATORS.contains(byte);
    // The dates of ISO 8601 contain `T` and `Z`.
    let is_number = |part: &[u8]| {
        part.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'))
            && part.iter().any(u8::is_ascii_digit)
    };
    let is_word =
        |part: &[u8]| OLD_WORDS.iter().any(|word| part.eq_ignore_ascii_case(word.as_bytes()));
    let mut parts = suffix.split(is_separator).filter(|part| !part.is_empty());
    suffix.first().is_some_and(is_separator)
        && (suffix == b"~" || suffix.len() > 1)
        && parts.all(|part| is_number(part) || is_word(part))
}

/// Whether no file is being renamed in the log's directories.
fn are_at_rest(access: &Access, log: &LogPath) -> bool {
    let now = SystemTime::now();
    directories(access, log).iter().all(|directory| {
        let changed = directory.metadata().and_then(|metadata| metadata.modified());
        changed
            .is_ok_and(|changed| now.duration_since(changed).is_ok_and(|since| since >= REST_TIME))
    })
}

fn names(access: &Access, log: &LogPath) -> impl Iterator<Item = DirEntry> {
    let directories = directories(access, log).into_iter();
    let entries = directories.filter_map(|directory| std::fs::read_dir(directory).ok());
    entries.flat_map(|entries| entries.take(NAMES_MAX).flatten())
}

/// The directory of the log's name, and that of the file to which the name leads.
fn directories(access: &Access, log: &LogPath) -> Vec<PathBuf> {
    let real = access.open(log).ok().map(|admitted| admitted.real_path().to_owned());
    let mut directories: Vec<PathBuf> = Vec::with_capacity(2);
    for path in std::iter::once(log.as_path().to_owned()).chain(real) {
        if let Some(directory) =
            path.parent().filter(|directory| !directories.contains(&(*directory).to_owned()))
        {
            directories.push(directory.to_owned());
        }
    }
    directories
}

/// Opens a file beside the log, with the same checks as for any path that a viewer requests.
fn open(access: &Access, name: &DirEntry) -> Option<LogFile> {
    let log = access.locate(name.path().as_os_str().as_bytes()).ok()?;
    Some(LogFile::new(access.open(&log).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_known_by_a_number_a_date_or_a_word_in_its_name() {
        let access = Access::new(["/"]).unwrap();
        let is_rotated = |own: &str, name: &str| {
            is_rotated(OsStr::new(name), &access.locate(format!("/{own}").as_bytes()).unwrap())
        };
        for (own, name) in [
            ("app.log", "app.log.1"),
            ("app.log", "app.log-20261127"),
            ("app.log", "app.log.2026-11-27_10"),
            ("app.log", "app.log.2026-11-27T10:15:00Z"),
            ("app.log", "app.log.old"),
            ("app.log", "app.log.OLD.2"),
            ("app.log", "app.log~"),
            ("app.log", "app.1.log"),
            ("app.log", "app-20261127.log"),
            ("app.log", "app.2026-11-27.0.log"),
            ("app.log", "app.old.log"),
            ("messages", "messages-20261127"),
            (".hidden", ".hidden.1"),
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
            ("app.log", "app.log1"),
            ("app.log", "app2.log"),
            ("app.log", "app-worker.log"),
            ("app.log", "other.1.log"),
            ("app.log", "app.1.txt"),
            ("app", "app2"),
            (".hidden", ".1.hidden"),
        ] {
            assert!(!is_rotated(own, name), "{name} of {own}");
        }
    }

    #[test]
    fn another_log_is_never_mistaken_for_the_next_rotated_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let born = |name: &str| path(name).metadata().unwrap().created().unwrap();
        let mut last = SystemTime::UNIX_EPOCH;
        for name in ["app.log.2", "app.log.err", "app.log.1", "app.log"] {
            // The clock of a file system has ticks: each file is made again until it is younger.
            while path(name).metadata().is_err() || born(name) <= last {
                std::fs::remove_file(path(name)).ok();
                std::fs::write(path(name), name).unwrap();
            }
            last = born(name);
        }
        let access = Access::new([directory.path()]).unwrap();
        let log = access.locate(path("app.log").as_os_str().as_bytes()).unwrap();
        let next = |name: &str| find_next(&access, &log, born(name), born("app.log"));
        assert_eq!(next("app.log.2").unwrap().head().unwrap(), b"app.log.1");
        assert!(next("app.log.1").is_none());
    }
}
