//! Wakes from the file system: "look again", and nothing more.
//!
//! One `notify` watcher serves the whole process, since each is an inotify instance and a thread of its own and a user
//! has 128. It watches directories, not files: a watch on a file goes blind when the file is renamed and created
//! again, and two names of one inode share a watch and report one name only. So a log costs one watch, on the
//! directory that it lies in, shared with its neighbours.
//!
//! A wake carries no claim. What happened is found out from the file.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::EventKind;
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::log::access::Identity;

/// The process's watches. Cheap to clone.
#[derive(Clone, Default)]
pub struct Watches {
    /// Held while a watch is added or removed, so that the two never cross. The handler never takes it.
    changes: Arc<Mutex<Option<RecommendedWatcher>>>,
    listeners: Arc<Listeners>,
}

/// Who wants to be woken: by directory, then by file name.
#[derive(Default)]
struct Listeners(Mutex<HashMap<PathBuf, Directory>>);

struct Directory {
    /// What the path led to when the watch was added: a directory that was removed and made again has lost it.
    identity: Option<Identity>,
    names: HashMap<OsString, Vec<Arc<Notify>>>,
}

/// Why a directory can't be watched.
#[derive(Debug)]
pub enum WatchError {
    /// The user's inotify watches are used up.
    NoWatchesLeft,
    /// The user's inotify instances, or the process's descriptors, are used up.
    NoInstancesLeft,
    /// The directory is not there.
    Missing,
    /// Anything else, in the system's words.
    Other(String),
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWatchesLeft => f.write_str(
                "inotify watches are used up; hint: raise them with `sysctl fs.inotify.max_user_watches=1048576`",
            ),
            Self::NoInstancesLeft => f.write_str(
                "inotify instances are used up; hint: raise them with `sysctl fs.inotify.max_user_instances=1024`",
            ),
            Self::Missing => f.write_str("the directory is missing"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl From<notify::Error> for WatchError {
    fn from(error: notify::Error) -> Self {
        match error.kind {
            ErrorKind::MaxFilesWatch => Self::NoWatchesLeft,
            ErrorKind::PathNotFound => Self::Missing,
            ErrorKind::Io(io) => {
                match io.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                        Self::NoInstancesLeft
                    }
                    Some(rustix::io::Errno::NOSPC) => Self::NoWatchesLeft,
                    Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Self::Missing,
                    _ => Self::Other(io.to_string()),
                }
            }
            ErrorKind::Generic(words) => Self::Other(words),
            kind @ (ErrorKind::WatchNotFound | ErrorKind::InvalidConfig(_)) => {
                Self::Other(format!("{kind:?}"))
            }
        }
    }
}

impl Watches {
    /// Wakes `wake` at each event that concerns `name` in `directory`, until the guard is dropped.
    ///
    /// # Errors
    /// When the kernel has no watch left, or the directory is not there. The caller then polls.
    pub fn watch(
        &self,
        directory: &Path,
        name: &OsStr,
        wake: &Arc<Notify>,
    ) -> Result<Watch, WatchError> {
        let mut watcher = locked(&self.changes);
        if watcher.is_none() {
            let listeners = Arc::clone(&self.listeners);
            *watcher = Some(notify::recommended_watcher(move |event| listeners.handle(event))?);
        }
        let first = self.listeners.add(directory, name, wake);
        let watch = Watch {
            watches: self.clone(),
            directory: directory.to_owned(),
            name: name.to_owned(),
            wake: Arc::clone(wake),
        };
        if let (true, Some(notify)) = (first, watcher.as_mut())
            && let Err(error) = notify.watch(directory, RecursiveMode::NonRecursive)
        {
            self.listeners.remove(directory, name, wake);
            drop(watcher);
            // The guard's own clean-up finds nothing left to do.
            return Err(error.into());
        }
        Ok(watch)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = path.metadata().ok()?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listeners {
    /// Whether the directory was not listened to before.
    fn add(&self, directory: &Path, name: &OsStr, wake: &Arc<Notify>) -> bool {
        let mut directories = locked(&self.0);
        let first = !directories.contains_key(directory);
        let listeners = directories
            .entry(directory.to_owned())
            .or_insert_with(|| Directory { identity: identity(directory), names: HashMap::new() });
        listeners.names.entry(name.to_owned()).or_default().push(Arc::clone(wake));
        first
    }

    /// Whether nobody listens to the directory any more, and somebody did.
    fn remove(&self, directory: &Path, name: &OsStr, wake: &Arc<Notify>) -> bool {
        let mut directories = locked(&self.0);
        let Some(listeners) = directories.get_mut(directory) else { return false };
        if let Some(wakes) = listeners.names.get_mut(name) {
            if let Some(at) = wakes.iter().position(|other| Arc::ptr_eq(other, wake)) {
                wakes.swap_remove(at);
            }
            if wakes.is_empty() {
                listeners.names.remove(name);
            }
        }
        let last = listeners.names.is_empty();
        if last {
            directories.remove(directory);
        }
        last
    }

    /// Runs on the watcher's thread: it wakes and does nothing else.
    fn handle(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else { return self.wake_all() };
        if event.need_rescan() {
            return self.wake_all();
        }
        // Readers, ourselves among them, open and close files: that is no news.
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        let directories = locked(&self.0);
        for path in &event.paths {
            if let Some(listeners) = directories.get(path) {
                listeners.names.values().flatten().for_each(|wake| wake.notify_one());
            }
            if let (Some(directory), Some(name)) = (path.parent(), path.file_name())
                && let Some(wakes) =
                    directories.get(directory).and_then(|listeners| listeners.names.get(name))
            {
                wakes.iter().for_each(|wake| wake.notify_one());
            }
        }
    }

    fn wake_all(&self) {
        let directories = locked(&self.0);
        directories
            .values()
            .flat_map(|listeners| listeners.names.values())
            .flatten()
            .for_each(|wake| wake.notify_one());
    }
}

/// A registered wake. Dropping it frees the watch, if it was the directory's last.
pub struct Watch {
    watches: Watches,
    directory: PathBuf,
    name: OsString,
    wake: Arc<Notify>,
}

impl Watch {
    /// Whether the directory is still the one that is watched. A directory that was removed, or moved and made again,
    /// is not: drop this, and watch anew.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let watched = locked(&self.watches.listeners.0)
            .get(&self.directory)
            .and_then(|listeners| listeners.identity);
        watched.is_some() && watched == identity(&self.directory)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watcher = locked(&self.watches.changes);
        if self.watches.listeners.remove(&self.directory, &self.name, &self.wake)
            && let Some(watcher) = watcher.as_mut()
            && let Err(error) = watcher.unwatch(&self.directory)
        {
            // The kernel drops the watch of a directory that was removed: there is nothing left to free then.
            tracing::debug!(directory = %self.directory.display(), %error, "the watch was gone already");
        }
    }
}
