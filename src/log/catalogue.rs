//! The logs that exist below the prefixes.
//!
//! The walk goes from directory handle to directory handle and never follows a link to a directory.
//! So a directory that is swapped for a link during the walk cannot make it list files outside.
//! Every dimension of the walk is bounded, and the answer reports whether a bound was reached.
//! Hidden files are listed. Hidden directories are not entered, because they contain caches and
//! repositories far more often than logs. A log that is not listed can still be opened by its path.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, Stat};
use rustix::io::Result;
use tokio_util::sync::CancellationToken;

use crate::log::access::{Access, Identity, LogPath, is_kernel_made, path_of, type_of};
use crate::log::file::Status;
use crate::log::position::fnv1a;

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, by which it can be opened.
    pub log: LogPath,
    /// Its size in bytes when it was listed.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// The file that it was.
    pub identity: Identity,
    /// The name by which people know it, where that is not its path:
    /// [`ContainerNames::give`](crate::log::ContainerNames::give).
    pub name: Option<String>,
    /// It is on another machine, which does not answer.
    pub is_away: bool,
}

/// The logs below the prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// The logs by last change, newest first, then by path.
    pub entries: Vec<Entry>,
    /// Whether logs may be missing, because a bound was reached or the walk was stopped.
    pub truncated: bool,
}

/// The bounds of a walk.
struct Bounds {
    /// The most logs in the answer: those that changed last.
    entries: usize,
    /// The most nested directories below a prefix's directory. Each needs a descriptor while the
    /// walk is in it.
    depth: usize,
    /// The most directories that are entered.
    directories: usize,
    /// The most names that are read, of any type.
    names: usize,
}

const BOUNDS: Bounds = Bounds { entries: 10_000, depth: 16, directories: 10_000, names: 200_000 };

/// After this many names the walk checks whether it has to stop, and pauses for [`REST_TIME`], so
/// that a large tree does not keep a core busy that viewers need.
const STEP_NAMES: usize = 1024;
const REST_TIME: Duration = Duration::from_micros(200);

/// Walks the prefixes. If `stop` is cancelled, it ends early and the answer is truncated. It
/// blocks: call it from a blocking thread, and from few at a time.
pub fn list(access: &Access, stop: &CancellationToken) -> Catalogue {
    list_within(access, &BOUNDS, stop)
}

fn list_within(access: &Access, bounds: &Bounds, stop: &CancellationToken) -> Catalogue {
    let Ok(mut roots) = access.roots() else {
        return Catalogue { truncated: true, ..Catalogue::default() };
    };
    // Inner prefixes first, because the depth is counted from the nearest prefix. Files last, when
    // the listed directories are known.
    roots.sort_by_key(|(name, root)| (root.only.is_some(), Reverse(name.components().count())));
    let mut walk = DirectoryWalk {
        access,
        bounds,
        stop,
        entered: HashSet::new(),
        names: 0,
        oldest: None,
        catalogue: Catalogue::default(),
    };
    for (name, root) in &roots {
        match &root.only {
            None => walk.enter(root.directory.as_fd(), Path::new("."), name, 0, None),
            Some(_) => walk.add_file_prefix(root.directory.as_fd(), name),
        }
    }
    walk.add_mirrored();
    walk.keep_newest();
    let Catalogue { entries, .. } = &mut walk.catalogue;
    entries.sort_unstable_by(newest_first);
    walk.catalogue
}

fn newest_first(one: &Entry, other: &Entry) -> std::cmp::Ordering {
    other.modified.cmp(&one.modified).then_with(|| one.log.cmp(&other.log))
}

struct DirectoryWalk<'a> {
    access: &'a Access,
    bounds: &'a Bounds,
    stop: &'a CancellationToken,
    /// The directories that were read, so that overlapping prefixes list a file once.
    entered: HashSet<Identity>,
    names: usize,
    /// The last change of the oldest log that is kept; None before there are too many.
    oldest: Option<SystemTime>,
    catalogue: Catalogue,
}

impl DirectoryWalk<'_> {
    /// Lists a directory, if it can be read. `above` is the device of its parent directory.
    fn enter(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &Path,
        path: &Path,
        depth: usize,
        above: Option<u64>,
    ) {
        let Ok(directory) = open_directory(parent, name) else { return };
        let Ok(identity) = rustix::fs::fstat(&directory).map(|stat| Identity::of(&stat)) else {
            return;
        };
        // Directories on the same device belong to the same file system.
        if above != Some(identity.device) && is_kernel_made(directory.as_fd()) != Ok(false) {
            return;
        }
        if self.entered.contains(&identity) || !self.is_in_scope(path, directory.as_fd()) {
            return;
        }
        if depth > self.bounds.depth || self.entered.len() >= self.bounds.directories {
            self.catalogue.truncated = true;
            return;
        }
        self.entered.insert(identity);
        let Ok(mut entries) = Dir::new(directory) else { return };
        while let Some(Ok(entry)) = entries.read() {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if self.names >= self.bounds.names || self.is_stopped() {
                self.catalogue.truncated = true;
                return;
            }
            self.names += 1;
            if let Ok(directory) = entries.fd() {
                self.visit(directory, &entry, path, depth, identity.device);
            }
        }
    }

    /// Whether a directory lies in the scope, or something of the scope lies below it.
    fn is_in_scope(&self, name: &Path, directory: BorrowedFd<'_>) -> bool {
        let Some(scope) = self.access.scope() else { return true };
        let is_known = |path: &Path| scope.admits_real(path) || scope.is_below(path);
        (scope.admits_name(name) || scope.is_below(name))
            && path_of(directory).is_ok_and(|real| real.is_some_and(|real| is_known(&real)))
    }

    fn is_stopped(&self) -> bool {
        if !self.names.is_multiple_of(STEP_NAMES) {
            return false;
        }
        if self.names > 0 {
            thread::sleep(REST_TIME);
        }
        self.stop.is_cancelled()
    }

    fn visit(
        &mut self,
        directory: BorrowedFd<'_>,
        entry: &DirEntry,
        parent: &Path,
        depth: usize,
        device: u64,
    ) {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let mut stat = None;
        let mut file_type = entry.file_type();
        if matches!(file_type, FileType::RegularFile | FileType::Unknown) {
            // Some file systems do not return the type with the name (readdir(3), DT_UNKNOWN).
            stat = rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok();
            file_type = stat.as_ref().map_or(FileType::Unknown, type_of);
        }
        match (file_type, stat) {
            (FileType::RegularFile, Some(stat)) => {
                if self.is_wanted(&stat)
                    && let Some(log) = self.access.locate_in(parent, name)
                {
                    self.add(log, &stat);
                }
            }
            (FileType::Symlink, _) => {
                if let Some(log) = self.access.locate_in(parent, name) {
                    self.add_followed(log);
                }
            }
            (FileType::Directory, _) if !name.as_bytes().starts_with(b".") => {
                let path = parent.join(name);
                self.enter(directory, Path::new(name), &path, depth + 1, Some(device));
            }
            _ => {}
        }
    }

    /// Adds a file prefix, unless its directory was listed.
    fn add_file_prefix(&mut self, directory: BorrowedFd<'_>, path: &Path) {
        let listed = rustix::fs::fstat(directory)
            .is_ok_and(|stat| self.entered.contains(&Identity::of(&stat)));
        let is_named = |entry: &Entry| entry.log.as_path() == path;
        if !listed
            && !self.catalogue.entries.iter().any(is_named)
            && let Ok(log) = self.access.locate(path.as_os_str().as_bytes())
        {
            self.add_followed(log);
        }
    }

    /// Adds the target of a link or of a file prefix, if it may be read.
    fn add_followed(&mut self, log: LogPath) {
        if let Ok(stat) = self.access.stat(&log)
            && self.is_wanted(&stat)
        {
            self.add(log, &stat);
        }
    }

    /// Whether a log changed recently enough to be kept.
    fn is_wanted(&self, stat: &Stat) -> bool {
        self.oldest.is_none_or(|oldest| modified(stat) >= oldest)
    }

    fn add(&mut self, log: LogPath, stat: &Stat) {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let (modified, identity) = (modified(stat), Identity::of(stat));
        let entry = Entry { log, size, modified, identity, name: None, is_away: false };
        self.push(entry);
    }

    /// Adds the logs of other machines, as these list them.
    fn add_mirrored(&mut self) {
        let Some(mirror) = self.access.mirrors() else { return };
        let (all, is_more) = mirror.list();
        self.catalogue.truncated |= is_more;
        for listed in all {
            // The names of these files are known, and nothing else that identifies them.
            let identity = Identity { device: u64::MAX, inode: fnv1a(&listed.path) };
            let Ok(log) = self.access.locate(&listed.path) else { continue };
            // A machine must not list anything under a name that is not its own.
            if log.as_path().as_os_str().as_bytes() != listed.path {
                continue;
            }
            let (Status { size, modified }, is_away) = (listed.status, listed.is_away);
            if self.oldest.is_none_or(|oldest| modified >= oldest) {
                self.push(Entry { log, size, modified, identity, name: None, is_away });
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        self.catalogue.entries.push(entry);
        // The older half is removed only when there are twice as many, so that it happens rarely.
        if self.catalogue.entries.len() >= self.bounds.entries.saturating_mul(2) {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        let Catalogue { entries, truncated } = &mut self.catalogue;
        if entries.len() > self.bounds.entries {
            *truncated = true;
            entries.select_nth_unstable_by(self.bounds.entries, newest_first);
            entries.truncate(self.bounds.entries);
            self.oldest = entries.iter().map(|entry| entry.modified).min();
        }
    }
}

fn open_directory(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// The time of the last write. Before 1970 the seconds are negative, and the nanoseconds are still
/// added.
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
