//! The logs that lie under the prefixes now.
//!
//! The walk goes from directory handle to directory handle and never over a directory link, so a directory that is
//! swapped for a link while it runs cannot make it name what lies outside.  It is bounded in every direction, and says
//! so when a bound was met.  Hidden files are listed, hidden directories are not entered: they hold caches and
//! repositories far more often than logs.  What is not listed can still be opened by its path.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat};
use rustix::io::Result;

use super::access::{Access, Identity, LogPath, is_kernel_made, type_of};

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, by which it can be opened.
    pub log: LogPath,
    /// Its size in bytes when it was seen.
    pub size: u64,
    /// When it was last written to.
    pub modified: SystemTime,
}

/// The logs under the prefixes, the last changed one first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The logs, by last change, newest first, then by path.
    pub entries: Vec<Entry>,
    /// Whether a bound kept something out.
    pub truncated: bool,
}

/// How far a walk goes.
struct Bounds {
    /// Logs in the answer; the ones that changed last are kept.
    entries: usize,
    /// Directories below a prefix's own, one in another.  Each takes a descriptor while the walk is in it.
    depth: usize,
    /// Directories entered in all.
    directories: usize,
    /// Names read in all, whatever they name.
    names: usize,
}

const BOUNDS: Bounds = Bounds { entries: 10_000, depth: 16, directories: 10_000, names: 200_000 };

/// Walks the prefixes.  It blocks: call it from a thread that may.
pub fn list(access: &Access) -> Catalogue {
    list_within(access, &BOUNDS)
}

fn list_within(access: &Access, bounds: &Bounds) -> Catalogue {
    let Ok(mut roots) = access.roots() else {
        return Catalogue { truncated: true, ..Catalogue::default() };
    };
    // Inner prefixes go first, for the depth is counted from the nearest one; files go last, when it is known which
    // directories have named them.
    roots.sort_by_key(|(name, root)| (root.only.is_some(), Reverse(name.components().count())));
    let mut walk = DirectoryWalk {
        access,
        bounds,
        entered: HashSet::new(),
        names: 0,
        catalogue: Catalogue::default(),
    };
    for (name, root) in &roots {
        match &root.only {
            None => walk.enter(root.directory.as_fd(), Path::new("."), name, 0),
            Some(_) => walk.add_file_prefix(root.directory.as_fd(), name),
        }
    }
    walk.keep_newest();
    walk.catalogue
}

struct DirectoryWalk<'a> {
    access: &'a Access,
    bounds: &'a Bounds,
    /// The directories that were read, so that overlapping prefixes name a file once.
    entered: HashSet<Identity>,
    names: usize,
    catalogue: Catalogue,
}

impl DirectoryWalk<'_> {
    /// Lists a directory, if it can be read.
    fn enter(&mut self, parent: BorrowedFd<'_>, name: &Path, path: &Path, depth: usize) {
        let Ok(directory) = open_directory(parent, name) else { return };
        let (Ok(stat), Ok(false)) =
            (rustix::fs::fstat(&directory), is_kernel_made(directory.as_fd()))
        else {
            return;
        };
        if self.entered.contains(&Identity::of(&stat)) {
            return;
        }
        if depth > self.bounds.depth || self.entered.len() >= self.bounds.directories {
            self.catalogue.truncated = true;
            return;
        }
        self.entered.insert(Identity::of(&stat));
        let Ok(mut entries) = Dir::new(directory) else { return };
        while let Some(Ok(entry)) = entries.read() {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if self.names >= self.bounds.names {
                self.catalogue.truncated = true;
                return;
            }
            self.names += 1;
            if let Ok(directory) = entries.fd() {
                self.visit(directory, &entry, path, depth);
            }
        }
    }

    fn visit(&mut self, directory: BorrowedFd<'_>, entry: &DirEntry, parent: &Path, depth: usize) {
        let name = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        let path = parent.join(name);
        let mut stat = None;
        let mut file_type = entry.file_type();
        if matches!(file_type, FileType::RegularFile | FileType::Unknown) {
            // Some file systems do not keep the type beside the name (readdir(3), DT_UNKNOWN).
            stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok();
            file_type = stat.as_ref().map_or(FileType::Unknown, type_of);
        }
        match (file_type, stat) {
            (FileType::RegularFile, Some(stat)) => self.add(&path, Some(&stat)),
            (FileType::Symlink, _) => self.add(&path, None),
            (FileType::Directory, _) if !entry.file_name().to_bytes().starts_with(b".") => {
                self.enter(directory, name, &path, depth + 1);
            }
            _ => {}
        }
    }

    /// Adds a file that is a prefix itself, unless its directory was listed.
    fn add_file_prefix(&mut self, directory: BorrowedFd<'_>, path: &Path) {
        let listed = rustix::fs::fstat(directory)
            .is_ok_and(|stat| self.entered.contains(&Identity::of(&stat)));
        let named = |entry: &Entry| entry.log.as_path() == path;
        if !listed && !self.catalogue.entries.iter().any(named) {
            self.add(path, None);
        }
    }

    /// Adds a log; without a stat of its own it is one that access must follow to see.
    fn add(&mut self, path: &Path, stat: Option<&Stat>) {
        let Ok(log) = self.access.locate(path.as_os_str().as_bytes()) else { return };
        let followed = if stat.is_none() { self.access.stat(&log).ok() } else { None };
        let Some(stat) = stat.or(followed.as_ref()) else { return };
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.catalogue.entries.push(Entry { log, size, modified: modified(stat) });
        // Twice the bound is let in before the older half goes, so that the newest are kept at little cost.
        if self.catalogue.entries.len() >= self.bounds.entries.saturating_mul(2) {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        let Catalogue { entries, truncated } = &mut self.catalogue;
        entries
            .sort_unstable_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.log.cmp(&b.log)));
        *truncated |= entries.len() > self.bounds.entries;
        entries.truncate(self.bounds.entries);
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The time of the last write; before 1970 the seconds are negative and the nanoseconds still count forward.
fn modified(stat: &Stat) -> SystemTime {
    let seconds = Duration::from_secs(stat.st_mtime.unsigned_abs());
    let whole = if stat.st_mtime < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    let nanoseconds = Duration::from_nanos(stat.st_mtime_nsec);
    whole.and_then(|time| time.checked_add(nanoseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}
