//! Decides which paths may be read, and proves it for each opened file.
//!
//! A path is first checked by its text, without access to the file system: a path outside the
//! prefixes gets the same answer in the same time whether or not it exists. A path inside is looked
//! up without opening it for reading. Either the kernel ensures that the path never leaves the
//! prefix, or links are followed anywhere, and then the kernel reports the path of the found
//! object. That same object is opened for reading, through its handle. So nothing can change
//! between check and open, and no FIFO or device is ever opened.
//!
//! A link works if its final target lies in any of the prefixes. A prefix that is itself a link is
//! the directory or file to which it led at the start. Two things are beyond this check. A hard
//! link to a foreign file is a file like any other (`fs.protected_hardlinks=1` is the defence). And
//! a user who may create links in a prefix can find out whether an outside directory exists, by a
//! link through it that leads back inside.

mod failed_lookup;
mod path;
mod prefix;
mod prefixes;
mod resolve;
mod scope;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustix::fs::{FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::log::archive::{Archives, Compression, Unpacked};
use crate::log::failpoints::{Call, Failpoint, Failpoints};
use crate::log::file::Status;
use crate::log::metrics::Metrics;
use crate::log::mirrored::{Mirror, is_mirrored};
use crate::log::pattern::{Match, Rank, RequestedPath, first_admitted, matches};

use prefix::Root;
use prefixes::Prefixes;
use resolve::{ResolvedPath, Resolver};

pub use path::LogPath;
pub use prefix::PrefixError;
pub(super) use resolve::{is_kernel_made, path_of, type_of};
pub use scope::Scope;

/// The most attempts to look up a path when the found object is moved or removed meanwhile.
const FIND_ATTEMPTS_MAX: usize = 8;

/// The prefixes that may be served.
#[derive(Debug)]
pub struct Access {
    /// The present prefixes. A check takes them once, so that it never sees two sets.
    prefixes: Arc<RwLock<Arc<Prefixes>>>,
    resolver: Arc<Resolver>,
    /// The part of them that may be read here; all of them if there is none.
    scope: Option<Arc<Scope>>,
    faults: Failpoints,
    metrics: Arc<Metrics>,
    archives: Arc<Archives>,
    /// What brings the logs of other machines, once there is something that does.
    mirror: Arc<OnceLock<Arc<dyn Mirror>>>,
}

/// The reason why a path is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The path lies outside the prefixes, by its text or by where its links lead, whether or not
    /// anything is there.
    Forbidden,
    /// The path lies inside, but nothing exists there.
    NotFound,
    /// The file cannot be read now: permission, an input error, a stale handle.
    Unreadable,
    /// This process has no descriptor or memory left for the check.
    Exhausted,
    /// The path leads to something other than a regular file, or to a virtual file of the kernel,
    /// as in `/proc`.
    Untailable,
    /// It is on another machine, which does not answer, and nothing of it is here.
    Unreachable,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "forbidden",
            Self::NotFound => "not found",
            Self::Unreadable => "not readable",
            Self::Exhausted => "out of descriptors",
            Self::Untailable => "not a regular file",
            Self::Unreachable => "its machine does not answer",
        })
    }
}

impl std::error::Error for Refusal {}

impl From<Errno> for Refusal {
    /// The reason for a failed system call on a path inside.
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => Self::NotFound,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => Self::Exhausted,
            _ => Self::Unreadable,
        }
    }
}

/// Identifies a file for as long as it is held open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The number of the device that holds the file (`st_dev`).
    pub device: u64,
    /// The number of the file on the device (`st_ino`). It is reused once the file is gone.
    pub inode: u64,
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// A regular file that was inside the prefixes when it was opened.
#[derive(Debug)]
pub struct Admitted {
    file: File,
    real_path: PathBuf,
    identity: Identity,
    faults: Failpoints,
    metrics: Arc<Metrics>,
    archives: Arc<Archives>,
    /// Its place among the matches of a pattern, if it was opened by one.
    rank: Option<Rank>,
}

impl Admitted {
    /// The place of the file among the matches of the pattern by which it was opened.
    pub(super) fn rank(&self) -> Option<&Rank> {
        self.rank.as_ref()
    }

    /// The failpoints of this file.
    pub(super) fn point(&self) -> Failpoint {
        self.faults.point(&self.real_path)
    }

    /// The counters of its reads.
    pub(super) fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The store that unpacks it if it is compressed.
    pub(super) fn archives(&self) -> Arc<Archives> {
        Arc::clone(&self.archives)
    }

    /// Its content, if it is compressed and not unpacked to its end yet. It may block for a moment.
    pub(super) fn still_unpacking(&self) -> Option<Arc<Unpacked>> {
        let (_, copy) = self.archives.unpack(&self.file).ok()??;
        (!copy.has_ended()).then_some(copy)
    }

    /// The first bytes of its content, whether or not it is compressed, and how it is.
    pub(super) fn content_head(&self) -> std::io::Result<(Option<Compression>, Vec<u8>)> {
        self.archives.head(&self.file)
    }

    /// The file, open for reading.
    pub fn into_file(self) -> File {
        self.file
    }

    /// The real path of the file when it was opened.
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
        Self::with_named(prefixes, [])
    }

    /// The same with more files and directories, which are served under absolute paths that are not
    /// their own: `(path, own)`. What lies at such a path cannot be read. A file and a directory may
    /// have the same path: the file is the log of that path, and the directory what lies below it.
    ///
    /// # Errors
    /// The first that cannot be served, and why.
    pub fn with_named<I, P>(
        prefixes: I,
        named: impl IntoIterator<Item = (PathBuf, PathBuf)>,
    ) -> Result<Self, PrefixError>
    where
        I: IntoIterator<Item = P>,
        P: Into<PathBuf>,
    {
        let resolver = Resolver::new();
        let mut opened = Prefixes::open(prefixes.into_iter().map(Into::into), &resolver)?;
        for (name, own) in named {
            opened = opened.with(name, own, &resolver)?;
        }
        Ok(Self {
            prefixes: Arc::new(RwLock::new(Arc::new(opened))),
            resolver: Arc::new(resolver),
            scope: None,
            faults: Failpoints::default(),
            metrics: Arc::default(),
            archives: Arc::default(),
            mirror: Arc::default(),
        })
    }

    /// Serves the logs of other machines, too, from now on: below `/@HOST`. Only the first call has an
    /// effect.
    pub fn mirror(&self, mirror: Arc<dyn Mirror>) {
        let _already_set = self.mirror.set(mirror);
    }

    /// What brings the logs of other machines.
    pub fn mirrors(&self) -> Option<&Arc<dyn Mirror>> {
        self.mirror.get()
    }

    /// Whether a log is one of another machine.
    #[must_use]
    pub fn is_mirrored(&self, log: &LogPath) -> bool {
        self.mirror_of(log).is_some()
    }

    /// What brings a log, if it is one of another machine.
    pub(super) fn mirror_of(&self, log: &LogPath) -> Option<Arc<dyn Mirror>> {
        self.mirror.get().filter(|_| is_mirrored(log.as_path())).cloned()
    }

    /// Whether a path is inside by its text: in a prefix, or on another machine.
    fn is_inside(&self, path: &Path) -> bool {
        let is_elsewhere = self.mirror.get().is_some() && is_mirrored(path);
        is_elsewhere || self.present().nearest(path).is_some()
    }

    /// The same prefixes, as far as they lie in a scope. With `None`, all of them. A later change of
    /// the prefixes changes both.
    #[must_use]
    pub fn within(&self, scope: Option<Arc<Scope>>) -> Self {
        Self {
            prefixes: Arc::clone(&self.prefixes),
            resolver: Arc::clone(&self.resolver),
            scope,
            faults: self.faults.clone(),
            metrics: Arc::clone(&self.metrics),
            archives: Arc::clone(&self.archives),
            mirror: Arc::clone(&self.mirror),
        }
    }

    /// The part of the prefixes that may be read here; `None` for all of them.
    #[must_use]
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    /// Whether a path lies in the scope by its text.
    fn is_in_scope(&self, path: &Path) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.admits_name(path))
    }

    /// Whether an object at this real path lies in the scope.
    fn is_really_in_scope(&self, real: &Path) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.admits_real(real))
    }

    /// What may be read of a log: a path keeps the scope in which it was located.
    pub(super) fn for_log(&self, log: &LogPath) -> Self {
        self.within(log.scope().cloned())
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

    /// What unpacks the compressed files of everything that is opened here.
    #[must_use]
    pub fn archives(&self) -> &Arc<Archives> {
        &self.archives
    }

    /// The prefixes in the order in which they were given, made absolute. Of one that lies only
    /// partly in the scope, those parts.
    pub fn prefixes(&self) -> Vec<PathBuf> {
        let prefixes = self.present().paths();
        let Some(scope) = &self.scope else { return prefixes };
        let part = |prefix: PathBuf| {
            if scope.admits_name(&prefix) {
                return vec![prefix];
            }
            let below = scope.paths().filter(|path| path.starts_with(&prefix));
            below.map(Path::to_path_buf).collect()
        };
        prefixes.into_iter().flat_map(part).collect()
    }

    /// Serves the prefixes of `other` from now on, in place of the present ones. Every later check
    /// is against them. A log that is already followed stays open; [`admits`](Self::admits) and
    /// [`identify`](Self::identify) say whether it may still be read.
    pub fn adopt(&self, other: Self) {
        let Self { prefixes, .. } = other;
        let adopted = Arc::clone(&prefixes.read());
        *self.prefixes.write() = adopted;
    }

    /// Whether a path lies inside the present prefixes by its text. It says nothing about where its
    /// links lead.
    #[must_use]
    pub fn admits(&self, log: &LogPath) -> bool {
        // Another machine gives all matches of a pattern, whose names are not checked here.
        let is_wholly = |directory: Option<&Path>| directory.is_some_and(|it| self.is_in_scope(it));
        self.is_in_scope(log.as_path())
            && self.is_inside(log.as_path())
            && (log.pattern().is_none()
                || !self.is_mirrored(log)
                || is_wholly(log.as_path().parent()))
    }

    /// Whether everything in a scope may be read here, as far as the prefixes go.
    #[must_use]
    pub fn is_at_least(&self, other: Option<&Arc<Scope>>) -> bool {
        match (&self.scope, other) {
            (None, _) => true,
            (Some(scope), Some(other)) => scope.contains(other),
            (Some(_), None) => false,
        }
    }

    /// Whether a log may lead to a file that may not be read here, though it may in the scope in
    /// which the log was located. Of a pattern all matches count, since each may be its newest at
    /// some time. The call may block.
    #[must_use]
    pub fn leads_outside(&self, log: &LogPath) -> bool {
        let Some(pattern) = log.pattern() else {
            return self.identify(&log.in_scope(self.scope.clone())) == Err(Refusal::Forbidden);
        };
        let located = self.for_log(log);
        let is_outside = |found: &Match| {
            let found = located.find(&found.log);
            found.is_ok_and(|found| !self.is_really_in_scope(&found.real_path))
        };
        matches(&located, log, pattern).is_ok_and(|all| all.iter().any(is_outside))
    }

    /// The scope of these absolute paths, which need not exist. What lies above the prefixes is looked
    /// up, so it may block.
    pub(crate) fn scope_of<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Scope {
        let prefixes = self.present();
        Scope::of(paths, |path| prefixes.unlinked(path))
    }

    fn present(&self) -> Arc<Prefixes> {
        Arc::clone(&self.prefixes.read())
    }

    /// Checks a decoded URL path by its text alone, without access to the file system. `.`, `..`
    /// and empty components are resolved by the text.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a path outside; [`Refusal::NotFound`] for a path inside that
    /// cannot name a file: with a NUL, a component over 255 bytes, or over 4095 bytes in all.
    pub fn locate(&self, decoded: &[u8]) -> Result<LogPath, Refusal> {
        if decoded.first() != Some(&b'/') {
            return Err(Refusal::Forbidden);
        }
        let normalised = path::normalise(decoded);
        if !self.is_inside(&normalised) || !self.is_in_scope(&normalised) {
            return Err(Refusal::Forbidden);
        }
        if path::can_name_a_file(&normalised) {
            Ok(LogPath::new(normalised, self.scope.clone()))
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// Checks the path that a user requests, which may be a pattern, by its text alone.
    ///
    /// # Errors
    /// As for [`locate`](Self::locate).
    pub fn locate_requested(&self, requested: &RequestedPath) -> Result<LogPath, Refusal> {
        let log = self.locate(&requested.path)?;
        Ok(match &requested.pattern {
            Some(pattern) => log.with_pattern(pattern.clone()),
            None => log,
        })
    }

    /// The path of a name in a directory below a prefix, so it lies inside by its text. None if it
    /// is too long to be opened, or lies outside the scope.
    pub(super) fn locate_in(&self, directory: &Path, name: &OsStr) -> Option<LogPath> {
        let path = directory.join(name);
        let is_inside = self.is_in_scope(&path) && path::can_name_a_file(&path);
        is_inside.then(|| LogPath::new(path, self.scope.clone()))
    }

    /// Opens a log for reading; of a pattern the newest match that may be read. Each call checks the
    /// path again.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn open(&self, log: &LogPath) -> Result<Admitted, Refusal> {
        let (rank, admitted) = self.with_newest(log, |log| self.open_file(log))?;
        Ok(Admitted { rank, ..admitted })
    }

    /// What `open` gives for a log; for a pattern, for the newest match for which it succeeds, with
    /// its rank.
    fn with_newest<T>(
        &self,
        log: &LogPath,
        open: impl Fn(&LogPath) -> Result<T, Refusal>,
    ) -> Result<(Option<Rank>, T), Refusal> {
        let Some(pattern) = log.pattern() else { return Ok((None, open(log)?)) };
        let all = match log.scope() {
            Some(scope) if self.scope.as_ref() != Some(scope) => {
                matches(&self.for_log(log), log, pattern)?
            }
            Some(_) | None => matches(self, log, pattern)?,
        };
        let (newest, opened) = first_admitted(all.iter().rev(), open)?;
        Ok((Some(newest.rank.clone()), opened))
    }

    fn open_file(&self, log: &LogPath) -> Result<Admitted, Refusal> {
        let found = self.find(log)?;
        self.faults.check(Call::Open, log.as_path())?;
        let file = resolve::open_for_reading(found.object.as_fd())?;
        let (real_path, identity) = (found.real_path, Identity::of(&found.stat));
        let (faults, metrics) = (self.faults.clone(), Arc::clone(&self.metrics));
        let archives = Arc::clone(&self.archives);
        Ok(Admitted { file, real_path, identity, faults, metrics, archives, rank: None })
    }

    /// Whether a log can be opened now, or is one that another machine lists.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn check(&self, log: &LogPath) -> Result<(), Refusal> {
        match self.mirror_of(log) {
            Some(_) if !self.admits(log) => Err(Refusal::Forbidden),
            Some(mirror) => mirror.status(log).map(drop),
            None => self.open(log).map(drop),
        }
    }

    /// The identity of the file to which the path leads now, without opening it for reading.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub fn identify(&self, log: &LogPath) -> Result<Identity, Refusal> {
        self.stat(log).map(|stat| Identity::of(&stat))
    }

    /// Size and time of the file to which the path leads now, as it is on the disk.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub(super) fn status(&self, log: &LogPath) -> Result<Status, Refusal> {
        let stat = self.stat(log)?;
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        let since = Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).unwrap_or_default());
        let modified = SystemTime::UNIX_EPOCH + since;
        Ok(Status { size: u64::try_from(stat.st_size).unwrap_or_default(), modified })
    }

    /// Size, times and identity of the file to which the path leads now.
    pub(super) fn stat(&self, log: &LogPath) -> Result<Stat, Refusal> {
        self.with_newest(log, |log| self.find(log)).map(|(_, found)| found.stat)
    }

    /// The prefixes that exist now, each with its given path and its directory.
    pub(super) fn roots(&self) -> Result<Vec<(PathBuf, Root)>, Refusal> {
        let prefixes = self.present();
        let roots = prefixes.roots(&self.resolver)?;
        Ok(roots.into_iter().map(|(path, root)| (path.to_path_buf(), root)).collect())
    }

    fn find(&self, log: &LogPath) -> Result<Found, Refusal> {
        if let Some(scope) = log.scope()
            && self.scope.as_ref() != Some(scope)
        {
            // It was located in a narrower scope, and must not be found by way of a wider one.
            let found = self.for_log(log).find(log)?;
            let is_inside =
                self.is_in_scope(log.as_path()) && self.is_really_in_scope(&found.real_path);
            return if is_inside { Ok(found) } else { Err(Refusal::Forbidden) };
        }
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

    /// One attempt to find the file of a path; None if it was moved or removed meanwhile.
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
        if self.mirror.get().is_some() && is_mirrored(path) {
            // Nothing of another machine lies in a file system of this one.
            return Err(if self.is_in_scope(path) {
                Refusal::NotFound
            } else {
                Refusal::Forbidden
            });
        }
        let prefixes = self.present();
        let prefix = prefixes.nearest(path).ok_or(Refusal::Forbidden)?;
        if !self.is_in_scope(path) {
            return Err(Refusal::Forbidden);
        }
        let rest = match prefix.rest(path) {
            Some(rest) if !rest.as_os_str().is_empty() => rest,
            _ => Path::new("."),
        };
        let root = prefix.root(&self.resolver)?;
        let (object, proved) = match self.resolver.look_up_beneath(&root, rest) {
            Ok(object) => (object, true),
            Err(Errno::XDEV | Errno::LOOP | Errno::AGAIN) => {
                (self.look_up_anywhere(&prefixes, &root, rest)?, false)
            }
            Err(error) => return Err(self.refusal(&prefixes, &root, rest, error)),
        };
        let place = ResolvedPath::of(object.as_fd())?;
        if !proved
            && !root.admits(&place.path)
            && !prefixes.roots(&self.resolver)?.iter().any(|(_, other)| other.admits(&place.path))
        {
            // The root, and the object with it, may have been moved between the two calls.
            let root_stays = ResolvedPath::of(root.directory.as_fd())?.path == root.place;
            let object_stays = ResolvedPath::of(object.as_fd())?.path == place.path;
            return if root_stays && object_stays { Err(Refusal::Forbidden) } else { Ok(None) };
        }
        if !self.is_really_in_scope(&place.path) {
            // As above, something may have been moved between the two calls.
            let stays = ResolvedPath::of(object.as_fd())?.path == place.path;
            return if stays { Err(Refusal::Forbidden) } else { Ok(None) };
        }
        Ok((!place.gone).then_some((object, place.path)))
    }

    /// Follows links wherever they lead. The caller has to check the path of the object.
    fn look_up_anywhere(
        &self,
        prefixes: &Prefixes,
        root: &Root,
        rest: &Path,
    ) -> Result<OwnedFd, Refusal> {
        let found = self.resolver.look_up(
            root.directory.as_fd(),
            rest,
            OFlags::empty(),
            ResolveFlags::NO_MAGICLINKS,
        );
        found.map_err(|error| self.refusal(prefixes, root, rest, error))
    }

    /// The answer for a path inside if its lookup failed.
    fn refusal(&self, prefixes: &Prefixes, start: &Root, rest: &Path, error: Errno) -> Refusal {
        let all = match prefixes.roots(&self.resolver) {
            Ok(all) => all,
            Err(refusal) => return refusal,
        };
        let roots: Vec<&Root> = all.iter().map(|(_, root)| root).collect();
        let scope = self.scope.as_deref();
        let outside = failed_lookup::leads_outside(
            &self.resolver,
            &roots,
            scope,
            &start.place,
            rest,
            |target| prefixes.real_name(target, &self.resolver),
        );
        if outside { Refusal::Forbidden } else { error.into() }
    }
}
