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
/// A directory in which files are renamed may not show each of them: it is read so often.
const READINGS: usize = 5;
/// So long after one reading comes the next.
const READING_INTERVAL: Duration = Duration::from_millis(20);
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
    for reading in 0..READINGS {
        if reading > 0 {
            std::thread::sleep(READING_INTERVAL);
        }
        let file = names(access, log).filter(is_wanted).find_map(found);
        if file.is_some() {
            return file;
        }
    }
    None
}

/// The file that had the log's name after one that was made at `born`, if it lies beside the log under a longer name, and
/// was made before that which has been followed since `until`. It blocks.
pub(super) fn find_next(
    access: &Access,
    log: &LogPath,
    born: SystemTime,
    until: SystemTime,
) -> Option<LogFile> {
    let own = log.as_path().file_name()?.as_bytes();
    let is_named_so = |name: &DirEntry| {
        let name = name.file_name();
        let name = name.as_bytes();
        name.len() > own.len()
            && name.starts_with(own)
            && !COMPRESSED.iter().any(|ending| name.ends_with(ending.as_bytes()))
    };
    let candidates = names(access, log).filter(is_named_so).filter_map(|name| {
        let metadata = name.metadata().ok()?;
        let made = metadata.created().ok()?;
        // One that is written on has the name of another log.
        let is_old = metadata.modified().ok()? <= until + LATE_TIME;
        (born < made && made < until && is_old).then_some((made, name))
    });
    let (_, name) = candidates.min_by_key(|(made, _)| *made)?;
    open(access, &name).filter(|file| file.identity().inode == name.ino())
}

/// Where the log lies, and where its name leads to.
fn names(access: &Access, log: &LogPath) -> impl Iterator<Item = DirEntry> {
    let real = access.open(log).ok().map(|admitted| admitted.real_path().to_owned());
    let mut directories: Vec<PathBuf> = Vec::with_capacity(2);
    for path in std::iter::once(log.as_path().to_owned()).chain(real) {
        if let Some(directory) =
            path.parent().filter(|directory| !directories.contains(&(*directory).to_owned()))
        {
            directories.push(directory.to_owned());
        }
    }
    let entries = directories.into_iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    entries.flat_map(|entries| entries.take(NAMES_MAX).flatten())
}

/// A name beside the log is as good as any that a viewer may ask for: it is opened with the same proof.
fn open(access: &Access, name: &DirEntry) -> Option<LogFile> {
    let log = access.locate(name.path().as_os_str().as_bytes()).ok()?;
    Some(LogFile::new(access.open(&log).ok()?))
}
