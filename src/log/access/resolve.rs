//! The system calls for access: open a path without reading it, ask for the present path of an open
//! object, and open that object for reading.
//!
//! All of them work on handles. `O_PATH` opens nothing for reading (open(2)), so a lookup of a
//! FIFO, a device or a socket neither blocks nor has an effect.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

use crate::log::access::Identity;
use crate::log::access::prefix::Root;

/// The most attempts to resolve a path when the kernel reports that the tree has changed (EAGAIN).
const RESOLVE_ATTEMPTS_MAX: usize = 16;

/// The kernel appends this to the path of an object whose name was removed (proc(5)).
const DELETED: &[u8] = b" (deleted)";

/// Resolves paths with openat2(2) if the kernel has it, else with openat(2).
///
/// The opened object is checked either way. openat2 also refuses magic links.
#[derive(Debug)]
pub(super) struct Resolver {
    has_openat2: AtomicBool,
}

impl Resolver {
    pub(super) const fn new() -> Self {
        Self { has_openat2: AtomicBool::new(true) }
    }

    /// Behaves as on a kernel before 5.6, or under a seccomp filter that does not know openat2.
    #[cfg(test)]
    pub(super) fn forget_openat2(&self) {
        self.has_openat2.store(false, Ordering::Relaxed);
    }

    /// Opens the object at a path without opening it for reading.
    pub(super) fn look_up(
        &self,
        directory: BorrowedFd<'_>,
        path: &Path,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
        let mut attempts = 0;
        while self.has_openat2.load(Ordering::Relaxed) {
            match rustix::fs::openat2(directory, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < RESOLVE_ATTEMPTS_MAX => attempts += 1,
                // O_PATH needs no permission of the object, so EPERM can only come from a filter.
                Err(Errno::NOSYS | Errno::PERM) => self.has_openat2.store(false, Ordering::Relaxed),
                other => return other,
            }
        }
        rustix::io::retry_on_intr(|| rustix::fs::openat(directory, path, flags, Mode::empty()))
    }

    /// Looks up a path below a root. The kernel ensures that the path never leaves the root, so no
    /// other proof is needed.
    ///
    /// # Errors
    /// XDEV if the path leaves the root (as with any absolute link, even one that leads back), or
    /// if there is no openat2. LOOP if the only file of a root is a link.
    pub(super) fn look_up_beneath(&self, root: &Root, path: &Path) -> Result<OwnedFd> {
        let links = if root.only.is_some() {
            ResolveFlags::NO_SYMLINKS
        } else {
            ResolveFlags::NO_MAGICLINKS
        };
        let object = self.look_up(
            root.directory.as_fd(),
            path,
            OFlags::empty(),
            ResolveFlags::BENEATH | links,
        )?;
        // `look_up` itself may have found that openat2 is missing, and continued without it.
        if self.has_openat2.load(Ordering::Relaxed) { Ok(object) } else { Err(Errno::XDEV) }
    }

    /// Opens the directory at a path without links.
    pub(super) fn directory_without_links(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = self.look_up(CWD, path, flags, ResolveFlags::NO_SYMLINKS)?;
        // Without openat2 only the last component is checked for a link, so compare the whole path.
        if !self.has_openat2.load(Ordering::Relaxed)
            && ResolvedPath::of(directory.as_fd())?.path != path
        {
            return Err(Errno::LOOP);
        }
        Ok(directory)
    }
}

/// The present path of an open object.
#[derive(Debug)]
pub(super) struct ResolvedPath {
    /// Its present path, or its last path if that was removed.
    pub(super) path: PathBuf,
    /// Whether the name by which it was opened has been removed. It may have others.
    pub(super) gone: bool,
}

impl ResolvedPath {
    /// Asks the kernel. For an object without a path, such as a pipe, the text is not absolute.
    pub(super) fn of(object: BorrowedFd<'_>) -> Result<Self> {
        let path = link_text(CWD, &proc_link(object))?;
        let Some(bare) = path.as_os_str().as_bytes().strip_suffix(DELETED) else {
            return Ok(Self { path, gone: false });
        };
        // A name may really end like this. Then it exists and leads to this object.
        let itself = rustix::fs::fstat(object)?;
        let named = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW);
        if itself.st_nlink > 0
            && named.is_ok_and(|named| Identity::of(&named) == Identity::of(&itself))
        {
            return Ok(Self { path, gone: false });
        }
        Ok(Self { path: PathBuf::from(OsStr::from_bytes(bare)), gone: true })
    }
}

/// The present path of an open file. None if the name by which it was opened was removed.
///
/// # Errors
/// Those of `readlink` and `fstat`.
pub(in crate::log) fn path_of(object: BorrowedFd<'_>) -> Result<Option<PathBuf>> {
    let place = ResolvedPath::of(object)?;
    Ok((!place.gone).then_some(place.path))
}

/// Opens the object of a handle for reading, whatever is at its path now.
pub(super) fn open_for_reading(object: BorrowedFd<'_>) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| {
        rustix::fs::openat(CWD, proc_link(object), flags, Mode::empty())
    })?;
    Ok(File::from(opened))
}

/// The target of a link; None if the object is not a link.
pub(super) fn link_target(object: BorrowedFd<'_>) -> Option<PathBuf> {
    link_text(object, Path::new("")).ok()
}

/// Whether the object belongs to a virtual file system of the kernel, by its magic in statfs(2):
/// procfs, sysfs, debugfs, tracefs, securityfs, configfs, cgroup, cgroup2. Their files have the
/// type of regular files, but no real size, and reading them may block (tracefs) or have effects.
pub(in crate::log) fn is_kernel_made(object: BorrowedFd<'_>) -> Result<bool> {
    let magic = rustix::fs::fstatfs(object)?.f_type;
    Ok(matches!(
        magic,
        rustix::fs::PROC_SUPER_MAGIC
            | 0x6265_6572
            | 0x6462_6720
            | 0x7472_6163
            | 0x7363_6673
            | 0x6265_6570
            | 0x0027_e0eb
            | 0x6367_7270
    ))
}

/// The type of an object by its `st_mode`.
pub(in crate::log) fn type_of(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The link in procfs that leads to the open object itself, not to its path (proc(5)).
fn proc_link(object: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", object.as_raw_fd()))
}

fn link_text(directory: BorrowedFd<'_>, path: &Path) -> Result<PathBuf> {
    let text = rustix::fs::readlinkat(directory, path, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
}
