//! Directories that are removed when they are no longer needed.
//!
//! A process that is killed removes nothing. So each directory is locked by the process that uses it,
//! and who makes another one in the same place removes those that nobody locks.

use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::geteuid;

/// The name begins with this. Hidden directories are in no list of logs.
const BEGINNING: &str = ".tailcast-";
/// And it ends with this until the directory is locked.
const BEGUN: &str = ".begun";

/// A directory that only this user can enter. Dropping it removes it with everything in it.
#[derive(Debug)]
pub struct TemporaryDirectory {
    path: PathBuf,
    /// Locked until the process ends, however it does.
    _lock: File,
}

impl TemporaryDirectory {
    /// A new directory below `place`. Those of this user that were left behind there are removed.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create_in(place: &Path) -> io::Result<Self> {
        remove_left_behind(place);
        let name = format!("{BEGINNING}{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = place.join(&name);
        // It gets its name when it is locked, so that nobody takes it for one that was left behind.
        let begun = place.join(name + BEGUN);
        DirBuilder::new().mode(0o700).create(&begun)?;
        let named = lock(&begun).and_then(|lock| {
            std::fs::rename(&begun, &path)?;
            Ok(lock)
        });
        match named {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(error) => {
                // It is empty, and only the first error counts.
                let _removed = std::fs::remove_dir(&begun);
                Err(error)
            }
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it now.
    pub fn remove(&self) {
        // What cannot be removed stays.
        let _removed = std::fs::remove_dir_all(&self.path);
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Locks a directory of this process. Where the file system knows no locks, nobody removes what was
/// left behind.
fn lock(path: &Path) -> io::Result<File> {
    let directory = open(path)?;
    match directory.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(directory),
    }
}

/// A directory, which is no link.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?.into())
}

/// Removes the directories that no process uses any more.
fn remove_left_behind(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    for name in names.filter(|name| is_ours(name.as_bytes())) {
        let path = place.join(name);
        let Ok(directory) = open(&path) else { continue };
        let is_own = directory.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw());
        if is_own && directory.try_lock().is_ok() {
            // What cannot be removed stays.
            let _removed = std::fs::remove_dir_all(&path);
        }
    }
}

/// Whether [`TemporaryDirectory::create_in`] gives such a name to a directory that it has locked.
fn is_ours(name: &[u8]) -> bool {
    let parts = name.strip_prefix(BEGINNING.as_bytes()).and_then(|rest| {
        let dash = rest.iter().position(|&byte| byte == b'-')?;
        Some((rest.get(..dash)?, rest.get(dash + 1..)?))
    });
    parts.is_some_and(|(process, random)| {
        let is_number = !process.is_empty() && process.iter().all(u8::is_ascii_digit);
        is_number && random.len() == 16 && random.iter().all(u8::is_ascii_hexdigit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory as a process leaves it that was killed: with a file in it, and not locked.
    fn leave_behind(place: &Path, name: &str) -> PathBuf {
        let path = place.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("stdin"), "lines").unwrap();
        path
    }

    #[test]
    fn what_was_left_behind_goes_and_what_is_in_use_stays() {
        let place = tempfile::tempdir().unwrap();
        let left = leave_behind(place.path(), ".tailcast-4711-0123456789abcdef");
        let others = ["tailcast-4711-0123456789abcdef", ".tailcast-4711-notes", ".tailcast-x-0"];
        let others = others.map(|name| leave_behind(place.path(), name));
        let elsewhere = leave_behind(place.path(), "elsewhere");
        let link = place.path().join(".tailcast-4712-0123456789abcdef");
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();

        let first = TemporaryDirectory::create_in(place.path()).unwrap();
        assert!(!left.exists(), "nobody uses it");
        let second = TemporaryDirectory::create_in(place.path()).unwrap();
        assert!(first.path().exists() && second.path().exists(), "both are in use");
        assert!(others.iter().all(|other| other.join("stdin").exists()), "they are not ours");
        assert!(elsewhere.join("stdin").exists(), "a link leads to it");

        let path = first.path().to_owned();
        drop(first);
        assert!(!path.exists(), "it is removed at its end");
    }
}
