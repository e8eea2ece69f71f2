//! One prefix: its path as given, the real path at the start, and the directory there.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::log::access::path::{Visible, normalise};
use crate::log::access::resolve::{ResolvedPath, Resolver, type_of};

/// A directory or a regular file that may be served, held open from the start.
#[derive(Debug)]
pub(super) struct Prefix {
    /// The given path, made absolute.
    pub(super) given: PathBuf,
    /// The path without links at the start.
    canonical: PathBuf,
    /// The directory, or the directory that contains the file.
    directory: OwnedFd,
    /// The directory's canonical path.
    place: PathBuf,
    /// The only name that is served, if the prefix is a file.
    only: Option<OsString>,
    /// It is served by its given name, and not by its own path.
    is_renamed: bool,
}

/// The present directory of a prefix.
#[derive(Debug)]
pub(in crate::log) struct Root {
    pub(in crate::log) directory: OwnedFd,
    /// The path of the directory.
    pub(in crate::log) place: PathBuf,
    /// The only name that is served in it, if the prefix is a file.
    pub(in crate::log) only: Option<OsString>,
}

impl Prefix {
    pub(super) fn open(asked: PathBuf, resolver: &Resolver) -> Result<Self, PrefixError> {
        let failed = |path: &Path, error: Errno| PrefixError::new(path, error);
        let absolute = match std::env::current_dir() {
            Ok(here) => here.join(&asked),
            Err(_) if asked.is_absolute() => asked.clone(),
            Err(source) => return Err(PrefixError::NoCurrentDirectory { path: asked, source }),
        };
        if asked.as_os_str().is_empty() {
            return Err(PrefixError::new(&asked, Errno::NOENT));
        }
        let object = resolver
            .look_up(CWD, &absolute, OFlags::empty(), ResolveFlags::empty())
            .map_err(|error| failed(&asked, error))?;
        let canonical = ResolvedPath::of(object.as_fd())
            .map_err(|error| PrefixError::NoProc { source: error.into() })?
            .path;
        let stat = rustix::fs::fstat(&object).map_err(|error| failed(&asked, error))?;
        let given = given_path(&absolute, &canonical);
        match (type_of(&stat), canonical.parent(), canonical.file_name()) {
            (FileType::Directory, ..) => {
                // O_PATH does not check the right to search the directory; looking up `.` does.
                resolver
                    .look_up(
                        object.as_fd(),
                        Path::new("."),
                        OFlags::DIRECTORY,
                        ResolveFlags::empty(),
                    )
                    .map_err(|error| failed(&asked, error))?;
                Ok(Self {
                    given,
                    place: canonical.clone(),
                    canonical,
                    directory: object,
                    only: None,
                    is_renamed: false,
                })
            }
            (FileType::RegularFile, Some(parent), Some(name)) => {
                let directory = resolver
                    .directory_without_links(parent)
                    .map_err(|error| failed(&asked, error))?;
                let (place, only) = (parent.to_path_buf(), Some(name.to_os_string()));
                Ok(Self { given, canonical, directory, place, only, is_renamed: false })
            }
            _ => Err(PrefixError::NeitherFileNorDirectory { path: asked }),
        }
    }

    /// Where a path in this prefix leads to if no link below the prefix is followed. None if it is not
    /// inside, by its text.
    pub(super) fn unlinked(&self, path: &Path) -> Option<PathBuf> {
        let rest = self.rest(path)?;
        let is_prefix = self.only.is_some() || rest.as_os_str().is_empty();
        Some(if is_prefix { self.canonical.clone() } else { self.canonical.join(rest) })
    }

    /// A regular file or a directory that is served under another name alone, whatever lies at that
    /// path.
    ///
    /// # Errors
    /// When it cannot be opened, or is neither.
    pub(super) fn named(
        name: PathBuf,
        own: PathBuf,
        resolver: &Resolver,
    ) -> Result<Self, PrefixError> {
        let prefix = Self::open(own, resolver)?;
        Ok(Self { given: name, is_renamed: true, ..prefix })
    }

    /// Whether it is a file.
    pub(super) fn is_file(&self) -> bool {
        self.only.is_some()
    }

    /// The part of a normalised path below this prefix's directory, by its text alone. None if it
    /// is not inside.
    pub(super) fn rest<'a>(&'a self, path: &'a Path) -> Option<&'a Path> {
        if let Some(name) = &self.only {
            let is_real = path == self.canonical && !self.is_renamed;
            return (path == self.given || is_real).then_some(Path::new(name));
        }
        let below = |top: &Path| path.strip_prefix(top).ok();
        if self.is_renamed {
            return below(&self.given);
        }
        match (below(&self.given), below(&self.canonical)) {
            (Some(a), Some(b)) => {
                Some(if a.as_os_str().len() <= b.as_os_str().len() { a } else { b })
            }
            (a, b) => a.or(b),
        }
    }

    /// The length of the part below this prefix in bytes, 0 for a file prefix. None if the path is
    /// not inside.
    pub(super) fn distance(&self, path: &Path) -> Option<usize> {
        let rest = self.rest(path)?;
        Some(if self.only.is_some() { 0 } else { rest.as_os_str().len() })
    }

    /// The prefix's directory now.
    ///
    /// A directory that was removed and created again, or swapped by a rename, is found by its
    /// path, in which no component may be a link. If a component is a link or missing, the
    /// directory that was opened at the start is used for as long as it exists. So a link in its
    /// place never leads elsewhere.
    ///
    /// # Errors
    /// ENOENT if neither exists.
    pub(super) fn root(&self, resolver: &Resolver) -> rustix::io::Result<Root> {
        let only = self.only.clone();
        if let Ok(directory) = resolver.directory_without_links(&self.place) {
            return Ok(Root { directory, place: self.place.clone(), only });
        }
        let held = ResolvedPath::of(self.directory.as_fd())?;
        if held.gone {
            return Err(Errno::NOENT);
        }
        let directory = rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)?;
        Ok(Root { directory, place: held.path, only })
    }
}

impl Root {
    /// Whether an object at this real path may be served. Paths compare by components.
    pub(super) fn admits(&self, real: &Path) -> bool {
        self.below(real).is_some()
    }

    /// The path of an object from this root's directory, if it may be served.
    pub(super) fn below<'a>(&self, real: &'a Path) -> Option<&'a Path> {
        let below = real.strip_prefix(&self.place).ok()?;
        self.only.as_ref().is_none_or(|name| below.as_os_str() == name).then_some(below)
    }
}

/// The given path without `.` and `..`; the canonical path if the given one has a `..` after a
/// link, because its text then names another place than the kernel opened.
fn given_path(absolute: &Path, canonical: &Path) -> PathBuf {
    let by_text = normalise(absolute.as_os_str().as_bytes());
    match std::fs::canonicalize(&by_text) {
        Ok(real) if real == canonical => by_text,
        _ => canonical.to_path_buf(),
    }
}

/// Why a prefix cannot be served.
///
/// The message does not repeat the error of the system, which is in
/// [`source`](std::error::Error::source).
#[derive(Debug)]
pub enum PrefixError {
    /// It does not exist.
    Missing {
        /// The prefix as it was given.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// It cannot be opened.
    Unopened {
        /// The prefix as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a FIFO, a device or a socket.
    NeitherFileNorDirectory {
        /// The prefix as it was given.
        path: PathBuf,
    },
    /// The prefix is relative, and the current directory is not known.
    NoCurrentDirectory {
        /// The prefix as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `/proc/self/fd` cannot be read. Without it the path of an open file cannot be checked.
    NoProc {
        /// What the system said.
        source: io::Error,
    },
}

impl PrefixError {
    fn new(path: &Path, error: Errno) -> Self {
        let path = path.to_path_buf();
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::Missing { path, source: error.into() },
            other => Self::Unopened { path, source: other.into() },
        }
    }

    /// A hint on what to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "create it first, or name another directory or file",
            Self::Unopened { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run as a user who may search the directory, or change its mode"
            }
            Self::Unopened { .. } => "name a directory or a file that can be opened",
            Self::NoCurrentDirectory { .. } => "give the prefix as an absolute path",
            Self::NeitherFileNorDirectory { .. } => "name a directory or a regular file",
            Self::NoProc { .. } => "mount procfs at `/proc`",
        }
    }
}

impl Display for PrefixError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path, .. } | Self::Unopened { path, .. } => {
                write!(f, "cannot serve prefix `{}`", Visible(path.as_os_str()))
            }
            Self::NeitherFileNorDirectory { path } => {
                write!(
                    f,
                    "cannot serve prefix `{}`: not a directory or a regular file",
                    Visible(path.as_os_str())
                )
            }
            Self::NoCurrentDirectory { path, .. } => {
                write!(
                    f,
                    "the current directory, where prefix `{}` starts, cannot be read",
                    Visible(path.as_os_str())
                )
            }
            Self::NoProc { .. } => f.write_str("`/proc/self/fd` cannot be read"),
        }
    }
}

impl std::error::Error for PrefixError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Missing { source, .. }
            | Self::Unopened { source, .. }
            | Self::NoCurrentDirectory { source, .. }
            | Self::NoProc { source } => Some(source),
            Self::NeitherFileNorDirectory { .. } => None,
        }
    }
}
