//! Which paths may be read, with proof.
//!
//! A path is first judged by its text alone, without a look at the file system: a path outside the
//! prefixes gets the same answer in the same time whether or not it exists. A path inside is looked
//! up without opening it for reading. Either the kernel keeps the whole way below the prefix, or
//! links are followed anywhere and the kernel is asked where the object lies that was found. What
//! is opened for reading is that object, through its handle. So there is no gap between check and
//! open, and no FIFO or device is ever opened.
//!
//! A link works when its final target lies in any of the prefixes. A prefix that is itself a link
//! stands for the place it led to at the start. Two things are beyond this check. A hard link to a
//! foreign file is a file like any other (`fs.protected_hardlinks=1` is the defence). And a user
//! who may put links into a prefix can learn whether an outside directory exists, by a link that
//! passes through it and comes back.

mod path;
mod prefix;
mod resolve;
mod symlink_walk;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::log::failpoints::{Call, Failpoint, Failpoints};
use crate::log::metrics::Metrics;

use prefix::{Prefix, Root};
use resolve::{ResolvedPath, Resolver};

pub use path::LogPath;
pub use prefix::PrefixError;
pub(super) use resolve::{is_kernel_made, path_of, type_of};

/// How often a path is looked up again when the object that was found was moved or removed
/// meanwhile.
const FIND_ATTEMPTS_MAX: usize = 8;

/// The prefixes that may be served.
#[derive(Debug)]
pub struct Access {
    prefixes: Vec<Prefix>,
    resolver: Resolver,
    faults: Failpoints,
    metrics: Arc<Metrics>,
}

/// Why a path is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The path lies outside the prefixes, by its text or by where its links lead, whether or not
    /// anything is there.
    Forbidden,
    /// The path lies inside, but nothing is there.
    NotFound,
    /// The file cannot be read now: permission, an input error, a stale handle.
    Unreadable,
    /// This process has no descriptor or memory left to find out.
    Exhausted,
    /// The path leads to something that is not a regular file, or that the kernel makes up, as in
    /// `/proc`.
    Untailable,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not found",
            Self::Unreadable => "not readable",
            Self::Exhausted => "out of descriptors",
            Self::Untailable => "not a regular file",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Errno> for Refusal {
    /// The reason of a failed system call on a path inside.
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Self::NotFound,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Exhausted,
            _ => Self::Unreadable,
        }
    }
}

/// Tells a file from every other one for as long as it is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The number of the device that holds the file (`st_dev`).
    pub device: u64,
    /// The number of the file on it (`st_ino`), which is used again once the file is gone.
    pub inode: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Proof that the file behind a path was inside the prefixes when it was opened, and is a regular
/// file.
#[derive(Debug)]
pub struct Admitted {
    file: File,
    real_path: PathBuf,
    identity: Identity,
    faults: Failpoints,
    metrics: Arc<Metrics>,
}

impl Admitted {
    /// The failpoints of this file.
    pub(super) fn point(&self) -> Failpoint {
        self.faults.point(&self.real_path)
    }

    /// The counters of its reads.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The file, open for reading.
    pub fn into_file(self) -> File {
        self.file
    }

    /// The path of the file, without links, when it was opened.
    pub fn real_path(&self) -> &Path {
        &self.real_path
    }

    /// The identity of the file.
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

/// A regular file inside the prefixes, not yet open for reading.
struct Found {
    object: OwnedFd,
    real_path: PathBuf,
    stat: Stat,
}

impl Access {
    /// Opens the prefixes, which are directories or regular files; relative ones start at the
    /// current directory. Without any prefix, everything is forbidden.
    ///
    /// # Errors
    /// The first prefix that cannot be served, and why.
    pub fn new<I, P>(prefixes: I) -> Result<Self, PrefixError>
    where
        I: IntoIterator<Item = P>,
        P: Into<PathBuf>,
    {
        let resolver = Resolver::new();
        let opened: Result<_, _> =
            prefixes.into_iter().map(|asked| Prefix::open(asked.into(), &resolver)).collect();
        Ok(Self {
            prefixes: opened?,
            resolver,
            faults: Failpoints::default(),
            metrics: Arc::default(),
        })
    }

    /// The failpoints of everything that is opened here, for tests.
    #[must_use]
    pub fn faults(&self) -> &Failpoints {
        &self.faults
    }

    /// The counters of everything that is opened here.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The prefixes in the order in which they were given, made absolute.
    pub fn prefixes(&self) -> impl Iterator<Item = &Path> {
        self.prefixes.iter().map(|prefix| prefix.given.as_path())
    }

    /// Judges a decoded URL path by its text alone, without touching the file system. `.`, `..` and
    /// empty components are resolved by the text.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a path outside; [`Refusal::NotFound`] for a path inside that can
    /// name no file: with a NUL, a component over 255 bytes, or more than 4095 bytes in all.
    pub fn locate(&self, decoded: &[u8]) -> Result<LogPath, Refusal> {
        if decoded.first() != Some(&b'/') {
            return Err(Refusal::Forbidden);
        }
        let normalised = path::normalise(decoded);
        self.nearest(&normalised).ok_or(Refusal::Forbidden)?;
        if path::can_name_a_file(&normalised) {
            Ok(LogPath::new(normalised))
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// The path of a name in a directory that was reached from a prefix, and so lies inside by its
    /// text. None when it is too long to be opened.
    pub(super) fn locate_in(&self, directory: &Path, name: &OsStr) -> Option<LogPath> {
        let path = directory.join(name);
        debug_assert!(self.nearest(&path).is_some(), "a walk starts at a prefix");
        path::can_name_a_file(&path).then(|| LogPath::new(path))
    }

    /// Opens a log for reading. The path is checked at this very moment, at each open.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn open(&self, log: &LogPath) -> Result<Admitted, Refusal> {
        let found = self.find(log)?;
        self.faults.check(Call::Open, log.as_path())?;
        let file = resolve::open_for_reading(found.object.as_fd())?;
        let (real_path, identity) = (found.real_path, Identity::of(&found.stat));
        let (faults, metrics) = (self.faults.clone(), Arc::clone(&self.metrics));
        Ok(Admitted { file, real_path, identity, faults, metrics })
    }

    /// The identity of the file to which the path leads now, without opening it for reading.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn identify(&self, log: &LogPath) -> Result<Identity, Refusal> {
        self.stat(log).map(|stat| Identity::of(&stat))
    }

    /// Size, times and identity of the file to which the path leads now.
    pub(super) fn stat(&self, log: &LogPath) -> Result<Stat, Refusal> {
        self.find(log).map(|found| found.stat)
    }

    /// The prefixes that exist now: the path each was given, and its directory.
    pub(super) fn roots(&self) -> Result<Vec<(&Path, Root)>, Refusal> {
        let mut roots = Vec::with_capacity(self.prefixes.len());
        for prefix in &self.prefixes {
            match prefix.root(&self.resolver) {
                Ok(root) => roots.push((prefix.given.as_path(), root)),
                // A root left out for want of a descriptor would make its files look foreign.
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        Ok(roots)
    }

    /// The innermost prefix that holds a normalised path, by its text.
    fn nearest(&self, path: &Path) -> Option<&Prefix> {
        let above =
            self.prefixes.iter().filter_map(|prefix| Some((prefix.distance(path)?, prefix)));
        above.min_by_key(|(distance, _)| *distance).map(|(_, prefix)| prefix)
    }

    fn find(&self, log: &LogPath) -> Result<Found, Refusal> {
        self.metrics.lookups.add(1);
        self.faults.check(Call::Look, log.as_path())?;
        for _ in 0..FIND_ATTEMPTS_MAX {
            if let Some(found) = self.find_once(log.as_path())? {
                return Ok(found);
            }
        }
        Err(Refusal::NotFound)
    }

    /// Opens a directory to read its names. What the names are of is checked when it is opened.
    ///
    /// # Errors
    /// Any [`Refusal`]. [`Refusal::Untailable`] for what is no directory, or one that the kernel
    /// makes up.
    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, Refusal> {
        self.metrics.lookups.add(1);
        for _ in 0..FIND_ATTEMPTS_MAX {
            let Some((object, _)) = self.find_object(path)? else { continue };
            let stat = rustix::fs::fstat(&object)?;
            if type_of(&stat) != FileType::Directory || is_kernel_made(object.as_fd())? {
                return Err(Refusal::Untailable);
            }
            return Ok(resolve::open_for_reading(object.as_fd())?.into());
        }
        Err(Refusal::NotFound)
    }

    /// One attempt to find the file of a path; None when it was moved or removed meanwhile.
    fn find_once(&self, path: &Path) -> Result<Option<Found>, Refusal> {
        let Some((object, real_path)) = self.find_object(path)? else { return Ok(None) };
        let stat = rustix::fs::fstat(&object)?;
        if type_of(&stat) != FileType::RegularFile || is_kernel_made(object.as_fd())? {
            return Err(Refusal::Untailable);
        }
        Ok(Some(Found { object, real_path, stat }))
    }

    /// One attempt to find what a path leads to, inside the prefixes, and where that lies.
    fn find_object(&self, path: &Path) -> Result<Option<(OwnedFd, PathBuf)>, Refusal> {
        let prefix = self.nearest(path).ok_or(Refusal::Forbidden)?;
        let rest = match prefix.rest(path) {
            Some(rest) if !rest.as_os_str().is_empty() => rest,
            _ => Path::new("."),
        };
        let root = prefix.root(&self.resolver)?;
        let (object, proved) = match self.resolver.look_up_beneath(&root, rest) {
            Ok(object) => (object, true),
            Err(Errno::XDEV | Errno::LOOP | Errno::AGAIN) => {
                (self.look_up_anywhere(&root, rest)?, false)
            }
            Err(error) => return Err(self.refusal(&root, rest, error)),
        };
        let place = ResolvedPath::of(object.as_fd())?;
        if !proved
            && !root.admits(&place.path)
            && !self.roots()?.iter().any(|(_, other)| other.admits(&place.path))
        {
            // The root may have been moved between the two questions, and the object with it.
            let root_stays = ResolvedPath::of(root.directory.as_fd())?.path == root.place;
            let object_stays = ResolvedPath::of(object.as_fd())?.path == place.path;
            return if root_stays && object_stays { Err(Refusal::Forbidden) } else { Ok(None) };
        }
        Ok((!place.gone).then_some((object, place.path)))
    }

    /// Follows links wherever they lead. The caller has to check where the object lies.
    fn look_up_anywhere(&self, root: &Root, rest: &Path) -> Result<OwnedFd, Refusal> {
        let found = self.resolver.look_up(
            root.directory.as_fd(),
            rest,
            OFlags::empty(),
            ResolveFlags::NO_MAGICLINKS,
        );
        found.map_err(|error| self.refusal(root, rest, error))
    }

    /// The answer for a path inside whose lookup failed.
    fn refusal(&self, start: &Root, rest: &Path, error: Errno) -> Refusal {
        let all = match self.roots() {
            Ok(all) => all,
            Err(refusal) => return refusal,
        };
        let roots: Vec<&Root> = all.iter().map(|(_, root)| root).collect();
        let outside =
            symlink_walk::leads_outside(&self.resolver, &roots, &start.place, rest, |target| {
                self.real_name(target)
            });
        if outside { Refusal::Forbidden } else { error.into() }
    }

    /// An absolute path that begins with the given path of a prefix, with its real path instead.
    fn real_name(&self, target: &Path) -> Option<PathBuf> {
        let is_plain = target.is_absolute()
            && !target.components().any(|step| step == std::path::Component::ParentDir);
        let prefix = is_plain.then(|| self.nearest(target)).flatten()?;
        let root = prefix.root(&self.resolver).ok()?;
        Some(root.place.join(prefix.rest(target)?))
    }
}
