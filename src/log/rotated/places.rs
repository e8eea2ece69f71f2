//! The directories in which the old files of a log may lie, and their names.
//!
//! These are the directory of the log, the directory of the file to which its name leads, and
//! directories in or beside them with names such as `old` or `archive`. Each is opened with the
//! same checks as a log: nothing outside the prefixes is read, and the target of a link decides.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, StatxFlags};

use crate::log::access::{Access, Identity, LogPath};
use crate::log::rotated::{names, real_path};

/// How many names are read, in all directories together.
const NAMES_MAX: usize = 100_000;
/// How many directories are read.
const DIRECTORIES_MAX: usize = 16;
/// A directory in which no name has changed for this long is read once.
pub(super) const REST_TIME: Duration = Duration::from_millis(100);

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) identity: Identity,
    /// When it was created. None where the file system does not say.
    pub(super) born: Option<SystemTime>,
    /// When it was last written.
    pub(super) written: SystemTime,
    /// When anything of it last changed, its name or its rights, too. Nobody can set this time.
    changed: SystemTime,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Stated {
    /// Whether it last changed before that time.
    pub(super) fn is_settled(&self, before: SystemTime) -> bool {
        self.written < before && self.changed < before
    }
}

/// What a search read, each directory as it was before its names were read.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    places: Vec<Surveyed>,
    /// Not all names could be read.
    is_partial: bool,
}

#[derive(Clone, Debug)]
struct Surveyed {
    path: PathBuf,
    /// None where no directory could be read.
    state: Option<State>,
    /// Its names were read. A directory may have several paths.
    is_entered: bool,
}

/// What changes with the names in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    identity: Identity,
    written: SystemTime,
    changed: SystemTime,
}

impl State {
    fn of(directory: BorrowedFd<'_>) -> Option<Self> {
        let stat = rustix::fs::fstat(directory).ok()?;
        Some(Self {
            identity: Identity::of(&stat),
            written: time(stat.st_mtime, stat.st_mtime_nsec.try_into().ok()?)?,
            changed: time(stat.st_ctime, stat.st_ctime_nsec.try_into().ok()?)?,
        })
    }
}

impl Survey {
    /// Whether the names last changed before that time.
    pub(super) fn is_settled(&self, before: SystemTime) -> bool {
        let mut states = self.places.iter().filter_map(|place| place.state);
        !self.is_partial && states.all(|state| state.written < before && state.changed < before)
    }

    /// The directories whose names were read, in their order, if a search would read the same names
    /// now. Each is opened with all checks.
    pub(super) fn unchanged(&self, access: &Access, log: &LogPath) -> Option<Vec<OwnedFd>> {
        let first = places(access, log);
        let is_same = |(first, known): (&Place, &Surveyed)| first.path == known.path;
        if self.places.len() < first.len() || !first.iter().zip(&self.places).all(is_same) {
            return None;
        }
        let mut directories = Vec::new();
        for known in &self.places {
            let directory = access.open_directory(&known.path).ok();
            if directory.as_ref().and_then(|directory| State::of(directory.as_fd())) != known.state
            {
                return None;
            }
            directories.extend(directory.filter(|_| known.is_entered));
        }
        Some(directories)
    }
}

impl Name<'_> {
    /// Its path, if it can be opened.
    pub(super) fn log_path(&self, access: &Access) -> Option<LogPath> {
        access.locate(self.directory.join(self.name).as_os_str().as_bytes()).ok()
    }

    /// None for what is no regular file.
    pub(super) fn stat(&self) -> Option<Stated> {
        stat(self.open_directory, self.name)
    }
}

/// What a directory says of a name. None for what is no regular file.
pub(super) fn stat(directory: impl AsFd, name: &OsStr) -> Option<Stated> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(directory, name, flags, wanted).ok()?;
    let kind = FileType::from_raw_mode(u32::from(stat.stx_mode));
    if kind != FileType::RegularFile {
        return None;
    }
    let is_born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let born = time(stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec).filter(|_| is_born);
    let written = time(stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)?;
    let changed = time(stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)?;
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let identity = Identity { device, inode: stat.stx_ino };
    Some(Stated { identity, born, written, changed, size: stat.stx_size })
}

fn time(seconds: i64, nanoseconds: u32) -> Option<SystemTime> {
    let since = Duration::new(u64::try_from(seconds).ok()?, nanoseconds);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// Calls `visit` with the names of all files, until it gives something.
pub(super) fn search<T>(
    access: &Access,
    log: &LogPath,
    visit: impl FnMut(&Name<'_>) -> Option<T>,
) -> Option<T> {
    survey(access, log, &mut Survey::default(), visit)
}

/// The same; `survey` gets what was read.
pub(super) fn survey<T>(
    access: &Access,
    log: &LogPath,
    survey: &mut Survey,
    mut visit: impl FnMut(&Name<'_>) -> Option<T>,
) -> Option<T> {
    let mut ahead = places(access, log);
    let mut entered: Vec<Identity> = Vec::new();
    let mut names_left = NAMES_MAX;
    while let Some(Place { path, is_beside }) = ahead.pop_front() {
        if entered.len() >= DIRECTORIES_MAX {
            survey.is_partial = true;
            return None;
        }
        let directory = access.open_directory(&path).ok();
        let state = directory.as_ref().and_then(|directory| State::of(directory.as_fd()));
        let identity = state.map(|state| state.identity).filter(|own| !entered.contains(own));
        let is_entered = identity.is_some();
        survey.places.push(Surveyed { path: path.clone(), state, is_entered });
        let (Some(directory), Some(identity)) = (directory, identity) else { continue };
        entered.push(identity);
        access.metrics().directories.add(1);
        let Ok(mut entries) = Dir::read_from(&directory) else {
            survey.is_partial = true;
            continue;
        };
        while let Some(entry) = entries.read() {
            let Ok(entry) = entry else {
                survey.is_partial = true;
                break;
            };
            if names_left == 0 {
                survey.is_partial = true;
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
    let real = real_path(access, log);
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
