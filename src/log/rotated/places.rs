//! The directories in which the old files of a log may lie, and their names.
//!
//! These are the directory of the log, the directory of the file to which its name leads, and
//! directories in or beside them with names such as `old` or `archive`. Each is opened with the
//! same checks as a log: nothing outside the prefixes is read, and the target of a link decides.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, StatxFlags};

use crate::log::access::{Access, Identity, LogPath};
use crate::log::rotated::names;

/// How many names are read, in all directories together.
const NAMES_MAX: usize = 100_000;
/// How many directories are read.
const DIRECTORIES_MAX: usize = 16;
/// A directory in which no name has changed for this long is read once.
const REST_TIME: Duration = Duration::from_millis(100);

/// A directory that is to be read.
struct Place {
    path: PathBuf,
    /// It is the directory of the log.
    is_beside: bool,
}

/// A file in one of the directories.
pub(super) struct Name<'a> {
    pub(super) directory: &'a Path,
    pub(super) name: &'a OsStr,
    pub(super) inode: u64,
    /// It lies in the directory of the log.
    pub(super) is_beside: bool,
    /// The number of the directory.
    pub(super) place: usize,
    open_directory: BorrowedFd<'a>,
}

/// What a directory says of a regular file.
pub(super) struct Stated {
    /// When it was created. None where the file system does not say.
    pub(super) born: Option<SystemTime>,
    /// When it was last written.
    pub(super) written: SystemTime,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Name<'_> {
    /// Its path, if it can be opened.
    pub(super) fn log_path(&self, access: &Access) -> Option<LogPath> {
        access.locate(self.directory.join(self.name).as_os_str().as_bytes()).ok()
    }

    /// None for what is no regular file.
    pub(super) fn stat(&self) -> Option<Stated> {
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statx(self.open_directory, self.name, flags, wanted).ok()?;
        let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
        if kind != FileType::RegularFile {
            return None;
        }
        let time = |seconds: i64, nanoseconds: u32| {
            let since = Duration::new(u64::try_from(seconds).ok()?, nanoseconds);
            SystemTime::UNIX_EPOCH.checked_add(since)
        };
        let is_born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
        let born = time(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec).filter(|_| is_born);
        let written = time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)?;
        Some(Stated { born, written, size: stat.stx_size })
    }
}

/// Calls `visit` with the names of all files, until it gives something.
pub(super) fn search<T>(
    access: &Access,
    log: &LogPath,
    mut visit: impl FnMut(&Name<'_>) -> Option<T>,
) -> Option<T> {
    let mut ahead = places(access, log);
    let mut entered: Vec<Identity> = Vec::new();
    let mut names_left = NAMES_MAX;
    while let Some(Place { path, is_beside }) = ahead.pop_front() {
        if entered.len() >= DIRECTORIES_MAX {
            return None;
        }
        let Ok(directory) = access.open_directory(&path) else { continue };
        let Ok(identity) = rustix::fs::fstat(&directory).map(|stat| Identity::of(&stat)) else {
            continue;
        };
        if entered.contains(&identity) {
            continue;
        }
        entered.push(identity);
        let Ok(mut entries) = Dir::read_from(&directory) else { continue };
        while let Some(Ok(entry)) = entries.read() {
            if names_left == 0 {
                return None;
            }
            names_left -= 1;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let kind = entry.file_type();
            let may_be_directory =
                matches!(kind, FileType::Directory | FileType::Symlink | FileType::Unknown);
            if is_beside && may_be_directory && names::is_old_directory(name) {
                ahead.push_back(Place { path: path.join(name), is_beside: false });
            }
            if matches!(kind, FileType::RegularFile | FileType::Unknown) {
                let (directory, open_directory, inode) = (&path, directory.as_fd(), entry.ino());
                let place = entered.len();
                let name = Name { directory, name, inode, is_beside, place, open_directory };
                if let Some(found) = visit(&name) {
                    return Some(found);
                }
            }
        }
    }
    None
}

/// Whether no file is being renamed where the log lies.
pub(super) fn are_at_rest(access: &Access, log: &LogPath) -> bool {
    let now = SystemTime::now();
    places(access, log).iter().filter(|place| place.is_beside).all(|place| {
        let changed = place.path.metadata().and_then(|metadata| metadata.modified());
        changed
            .is_ok_and(|changed| now.duration_since(changed).is_ok_and(|since| since >= REST_TIME))
    })
}

/// The directories of the log, then those beside these.
fn places(access: &Access, log: &LogPath) -> VecDeque<Place> {
    let real = access.open(log).ok().map(|admitted| admitted.real_path().to_owned());
    let mut places: VecDeque<Place> = VecDeque::new();
    let names: Vec<PathBuf> = std::iter::once(log.as_path().to_owned()).chain(real).collect();
    for directory in names.iter().filter_map(|name| name.parent()) {
        if !places.iter().any(|place| place.path == directory) {
            places.push_back(Place { path: directory.to_owned(), is_beside: true });
        }
    }
    for name in &names {
        let above = name.parent().and_then(Path::parent);
        let (Some(above), Some(own)) = (above, name.file_name()) else { continue };
        // Where a log of this name lies above, its old files do, too.
        let is_of_another = access
            .locate(above.join(own).as_os_str().as_bytes())
            .is_ok_and(|other| access.identify(&other).is_ok());
        if !is_of_another {
            let paths = names::NEIGHBOURS.iter().map(|neighbour| above.join(neighbour));
            places.extend(paths.map(|path| Place { path, is_beside: false }));
        }
    }
    places
}
