//! Finding a file again that was rotated away while nobody followed.
//!
//! Its directory has it under another name. It is known by its inode, and by its head, since another file may have
//! been given the inode meanwhile.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::PathBuf;

use crate::log::access::{Access, LogPath};
use crate::log::file::LogFile;
use crate::log::position::{Generation, Offset};

/// So many bytes of its head must have been signed.
const HEAD_BYTES_MIN: usize = 64;
/// So many names are looked at in a directory.
const NAMES_MAX: usize = 100_000;

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
    let real = access.open(log).ok().map(|admitted| admitted.real_path().to_owned());
    let mut directories: Vec<PathBuf> = Vec::with_capacity(2);
    for path in std::iter::once(log.as_path().to_owned()).chain(real) {
        if let Some(directory) =
            path.parent().filter(|directory| !directories.contains(&(*directory).to_owned()))
        {
            directories.push(directory.to_owned());
        }
    }
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok());
    let names = entries.flat_map(|entries| entries.take(NAMES_MAX).flatten());
    names.filter(|name| name.ino() == wanted.identity.inode).find_map(|name| {
        // Its name is as good as any that a viewer may ask for: it is opened with the same proof.
        let log = access.locate(name.path().as_os_str().as_bytes()).ok()?;
        let file = LogFile::new(access.open(&log).ok()?);
        let is_wanted = wanted.is_proved_by(file.identity(), &file.head().ok()?, offset)
            && offset.0 <= file.status().ok()?.size;
        is_wanted.then_some(file)
    })
}
