//! Which paths may be read, with proof.
//!
//! A path is first judged by its name alone, without a look at the file system, so that a path outside the prefixes
//! gets the same answer in the same time whether or not it exists.  One whose name lies inside is looked up without
//! opening it for reading.  Either the kernel itself kept the way below the prefix, or links were followed anywhere and it
//! is asked where that very object lies.  What is opened for reading is that object, through its handle, never a path
//! that was checked earlier.  So there is no gap between check and open, and no FIFO or device is ever opened.
//!
//! The rule for links: a link works when what it leads to in the end lies in any of the prefixes.  A prefix that is
//! itself a link stands for the place it led to at the start.  Two things cannot be told from here.  A hard link
//! to a foreign file is a file like any other (`fs.protected_hardlinks=1` is the defence).  And who may put links into
//! a prefix can learn whether an outside directory exists, by a link that passes through it and comes back.

mod path;
mod prefix;
mod resolve;
mod symlink_walk;
#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::failpoints::{Call, Failpoint, Failpoints};
use super::metrics::Metrics;

pub use path::LogPath;
pub use prefix::PrefixError;
use prefix::{Prefix, Root};
use resolve::{ResolvedPath, Resolver};
pub(super) use resolve::{is_kernel_made, path_of, type_of};

/// How often a path is looked up anew when what was found has been moved or removed meanwhile.
const LOOKS_MAX: usize = 8;

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
    /// Outside the prefixes, by its name or by where its links lead, whether or not anything is there.
    Forbidden,
    /// Inside, but nothing is there.
    NotFound,
    /// Inside, but not readable now: permission, an input error, a stale handle.
    Unreadable,
    /// Not known: this process has no descriptor or memory left to find out.
    Exhausted,
    /// Inside and there, but not a regular file on a file system that holds files.
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
    /// What a failed call says about a path that leads nowhere outside.
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Self::NotFound,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Exhausted,
            _ => Self::Unreadable,
        }
    }
}

/// What tells a file from every other one as long as it is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The number of the device that holds the file.
    pub device: u64,
    /// Its number there, which is used again once the file is gone.
    pub inode: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Proof that the file behind a path was inside the prefixes when it was opened, and is a regular file.
#[derive(Debug)]
pub struct Admitted {
    file: File,
    real_path: PathBuf,
    identity: Identity,
    faults: Failpoints,
    metrics: Arc<Metrics>,
}

impl Admitted {
    /// Where its calls are made to fail.
    pub(super) fn point(&self) -> Failpoint {
        self.faults.point(&self.real_path)
    }

    /// Where its reads are counted.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The file, open for reading.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Where the file lay, without links, when it was opened.
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
    /// Opens the prefixes, which are directories or regular files; relative ones start at the current directory.
    /// With no prefix at all, everything is forbidden.
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

    /// What a test makes fail.
    #[must_use]
    pub fn faults(&self) -> &Failpoints {
        &self.faults
    }

    /// What has been done with the logs so far.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The prefixes as they were given, made absolute, in that order.
    pub fn prefixes(&self) -> impl Iterator<Item = &Path> {
        self.prefixes.iter().map(|prefix| prefix.given.as_path())
    }

    /// Judges a decoded URL path by its name alone; touches no file.
    ///
    /// `.`, `..` and empty components are resolved by the text.  A path outside is Forbidden; one inside that can name
    /// no file (a NUL, a component over 255 bytes, more than 4095 bytes in all) is NotFound.
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

    /// Opens a log for reading, checked now; for the first open and for every later one.
    pub fn open(&self, log: &LogPath) -> Result<Admitted, Refusal> {
        let found = self.find(log)?;
        self.faults.check(Call::Open, log.as_path())?;
        let file = resolve::open_for_reading(found.object.as_fd())?;
        let (real_path, identity) = (found.real_path, Identity::of(&found.stat));
        let (faults, metrics) = (self.faults.clone(), Arc::clone(&self.metrics));
        Ok(Admitted { file, real_path, identity, faults, metrics })
    }

    /// What the path leads to now, under the same confinement, without opening it for reading.
    pub fn identify(&self, log: &LogPath) -> Result<Identity, Refusal> {
        self.stat(log).map(|stat| Identity::of(&stat))
    }

    /// Size, times and identity of what the path leads to now.
    pub(super) fn stat(&self, log: &LogPath) -> Result<Stat, Refusal> {
        self.find(log).map(|found| found.stat)
    }

    /// The prefixes that are there now, by their given names, with the directories they stand on.
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

    /// The prefix that lies nearest above a normalised path, by name.
    fn nearest(&self, path: &Path) -> Option<&Prefix> {
        let above =
            self.prefixes.iter().filter_map(|prefix| Some((prefix.distance(path)?, prefix)));
        above.min_by_key(|(distance, _)| *distance).map(|(_, prefix)| prefix)
    }

    fn find(&self, log: &LogPath) -> Result<Found, Refusal> {
        self.metrics.lookups.add(1);
        self.faults.check(Call::Look, log.as_path())?;
        for _ in 0..LOOKS_MAX {
            if let Some(found) = self.look(log.as_path())? {
                return Ok(found);
            }
        }
        Err(Refusal::NotFound)
    }

    /// One look at what a path leads to; `None` when it moved or went away under the look.
    fn look(&self, path: &Path) -> Result<Option<Found>, Refusal> {
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
            // The root may have been moved between the looks, and the object with it.
            let stands = ResolvedPath::of(root.directory.as_fd())?.path == root.place;
            let lies = ResolvedPath::of(object.as_fd())?.path == place.path;
            return if stands && lies { Err(Refusal::Forbidden) } else { Ok(None) };
        }
        if place.gone {
            return Ok(None);
        }
        let stat = rustix::fs::fstat(&object)?;
        if type_of(&stat) != FileType::RegularFile || is_kernel_made(object.as_fd())? {
            return Err(Refusal::Untailable);
        }
        Ok(Some(Found { object, real_path: place.path, stat }))
    }

    /// Follows links wherever they lead; what is found must then be asked where it lies.
    fn look_up_anywhere(&self, root: &Root, rest: &Path) -> Result<OwnedFd, Refusal> {
        let found = self.resolver.look_up(
            root.directory.as_fd(),
            rest,
            OFlags::empty(),
            ResolveFlags::NO_MAGICLINKS,
        );
        found.map_err(|error| self.refusal(root, rest, error))
    }

    /// What to answer when a path inside could not be looked up.
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

    /// An absolute path that begins with a prefix's given name, with its real place instead.
    fn real_name(&self, target: &Path) -> Option<PathBuf> {
        let plain = target.is_absolute()
            && !target.components().any(|step| step == std::path::Component::ParentDir);
        let prefix = plain.then(|| self.nearest(target)).flatten()?;
        let root = prefix.root(&self.resolver).ok()?;
        Some(root.place.join(prefix.rest(target)?))
    }
}
