//! Finding files again that were rotated away while nobody followed.
//!
//! They lie beside the log under other names. One whose position is known is recognised by its inode, and by its head,
//! since another file may have been given the inode meanwhile. Those that had the log's name after it are told by their
//! names and by when they were made: a file that is renamed keeps its birth.

use std::fs::DirEntry;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::log::access::{Access, LogPath};
use crate::log::file::LogFile;
use crate::log::position::{Generation, Offset};

/// So many bytes of its head must have been signed.
const HEAD_BYTES_MIN: usize = 64;
/// So many names are looked at in a directory.
const NAMES_MAX: usize = 100_000;
/// A directory in which files are being renamed may not show each of them: it is read so often.
const READINGS: usize = 5;
/// So long after one reading comes the next.
const READING_INTERVAL: Duration = Duration::from_millis(20);
/// Names have come to rest when none has changed for so long.
const REST_TIME: Duration = Duration::from_millis(100);
/// So long writers may stay with a file that has lost the name.
const LATE_TIME: Duration = Duration::from_secs(60);
/// What a log is not called that can be read as it is.
const COMPRESSED: [&str; 7] = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z"];

/// The file of this generation, if it lies beside the log, and what it has up to `offset` is that generation's beyond
/// doubt. It blocks.
pub(super) fn find(
    access: &Access,
    log: &LogPath,
    wanted: Generation,
    offset: Offset,
) -> Option<LogFile> {
    // Any file may have been given the inode of one that is not held: so short a head is not enough to know it by.
    if usize::from(wanted.head_len) < HEAD_BYTES_MIN {
        return None;
    }
    let is_wanted = |name: &DirEntry| name.ino() == wanted.identity.inode;
    let found = |name: DirEntry| {
        let file = open(access, &name)?;
        let is_wanted = wanted.is_proved_by(file.identity(), &file.head().ok()?, offset)
            && offset.0 <= file.status().ok()?.size;
        is_wanted.then_some(file)
    };
    for _ in 1..READINGS {
        let were_at_rest = are_at_rest(access, log);
        let file = names(access, log).filter(is_wanted).find_map(found);
        if file.is_some() || were_at_rest {
            return file;
        }
        std::thread::sleep(READING_INTERVAL);
    }
    names(access, log).filter(is_wanted).find_map(found)
}

/// The file with the inode of a generation that was signed by too little to be proved, if it has been given a longer name
/// since. It blocks.
pub(super) fn find_unproved(access: &Access, log: &LogPath, wanted: Generation) -> Option<LogFile> {
    if usize::from(wanted.head_len) >= HEAD_BYTES_MIN {
        return None;
    }
    let mut names = names(access, log).filter(|name| is_named_after(name, log));
    let name = names.find(|name| name.ino() == wanted.identity.inode)?;
    open(access, &name).filter(|file| file.identity() == wanted.identity)
}

/// The file that had the log's name after one that was made at `born`, if it lies beside the log under a longer name, and
/// was made before that which has been followed since `until`. It blocks.
pub(super) fn find_next(
    access: &Access,
    log: &LogPath,
    born: SystemTime,
    until: SystemTime,
) -> Option<LogFile> {
    let named = names(access, log).filter(|name| is_named_after(name, log));
    let candidates = named.filter_map(|name| {
        let metadata = name.metadata().ok()?;
        let made = metadata.created().ok()?;
        // One that is written on has the name of another log.
        let is_old = metadata.modified().ok()? <= until + LATE_TIME;
        (born < made && made < until && is_old).then_some((made, name))
    });
    let (_, name) = candidates.min_by_key(|(made, _)| *made)?;
    open(access, &name).filter(|file| file.identity().inode == name.ino())
}

/// Whether it is the log's name with something behind it, and not that of a file that was compressed.
fn is_named_after(name: &DirEntry, log: &LogPath) -> bool {
    let (name, own) = (name.file_name(), log.as_path().file_name().unwrap_or_default());
    let (name, own) = (name.as_bytes(), own.as_bytes());
    name.len() > own.len()
        && name.starts_with(own)
        && !COMPRESSED.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Whether no file is being renamed where the log lies.
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

/// Where the log lies, and where its name leads to.
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

/// A name beside the log is as good as any that a viewer may ask for: it is opened with the same proof.
fn open(access: &Access, name: &DirEntry) -> Option<LogFile> {
    let log = access.locate(name.path().as_os_str().as_bytes()).ok()?;
    Some(LogFile::new(access.open(&log).ok()?))
}
