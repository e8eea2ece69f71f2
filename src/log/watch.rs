//! Wakes from the file system: "look again", and nothing more.
//!
//! One `notify` watcher serves the whole process, since each is an inotify instance and a thread of its own and a user
//! has 128. It watches directories, not files: a watch on a file goes blind when the file is renamed and created
//! again, and two names of one inode share a watch and report one name only. So a log costs one watch, on the
//! directory that it lies in, shared with its neighbours.
//!
//! A wake carries no claim: what happened is found out from the file. It only remembers whether it was more than writes,
//! and under which names files may be found that had the log's name for a moment, between two looks.

use std::collections::{HashMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::log::access::Identity;
use crate::log::failpoints::{Call, Failpoints};

/// So many names of files that were set aside are remembered for each log; of more the oldest are forgotten.
const ASIDE_MAX: usize = 256;

/// What a listener waits for.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    state: Mutex<WakeState>,
    called: Condvar,
    aside: Mutex<VecDeque<PathBuf>>,
}

#[derive(Debug, Default)]
struct WakeState {
    /// It has woken, and nobody has looked yet.
    is_due: bool,
    /// Something else came than writes since a look asked.
    is_name_in_doubt: bool,
    /// A thread waits, rather than a task.
    is_awaited: bool,
}

impl Wake {
    /// Wakes, now or when somebody waits next. Anything may have happened.
    pub fn wake(&self) {
        self.call(true);
    }

    /// Wakes since bytes were written to the file that had the name. That touches no name.
    pub(crate) fn written(&self) {
        self.call(false);
    }

    fn call(&self, is_name_in_doubt: bool) {
        let mut state = locked(&self.state);
        state.is_due = true;
        state.is_name_in_doubt |= is_name_in_doubt;
        let is_awaited = state.is_awaited;
        // Who is woken takes the lock.
        drop(state);
        if is_awaited { self.called.notify_one() } else { self.notify.notify_one() }
    }

    /// Waits for the next wake.
    pub async fn woken(&self) {
        while !std::mem::take(&mut locked(&self.state).is_due) {
            self.notify.notified().await;
        }
    }

    /// Waits for it on this thread, so long at most. Whether it came.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut state = locked(&self.state);
        state.is_awaited = true;
        let waiting = self.called.wait_timeout_while(state, at_most, |state| !state.is_due);
        let (mut state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.is_awaited = false;
        std::mem::take(&mut state.is_due)
    }

    /// Whether it has woken for more than writes since this was asked last. Ask first, look at the name second.
    #[must_use]
    pub fn take_doubt(&self) -> bool {
        std::mem::take(&mut locked(&self.state).is_name_in_doubt)
    }

    /// Where the next file lies now that had the listener's name and was given another, in the order of the events.
    #[must_use]
    pub fn next_aside(&self) -> Option<PathBuf> {
        locked(&self.aside).pop_front()
    }

    /// Whether such a file lies there, and is still to come.
    #[must_use]
    pub fn awaits(&self, path: &Path) -> bool {
        locked(&self.aside).iter().any(|other| other == path)
    }

    /// Whether no such file is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        locked(&self.aside).is_empty()
    }

    /// Follows a renaming. `is_ours` when the file had the listener's name.
    pub(crate) fn renamed(&self, from: &Path, to: &Path, is_ours: bool) {
        let mut aside = locked(&self.aside);
        // What had the new name is gone.
        aside.retain(|path| path != to);
        if let Some(path) = aside.iter_mut().find(|path| *path == from) {
            to.clone_into(path);
        } else if is_ours {
            if aside.len() == ASIDE_MAX {
                aside.pop_front();
            }
            aside.push_back(to.to_owned());
        }
    }
}

/// The process's watches. Cheap to clone.
#[derive(Clone)]
pub struct Watches {
    faults: Failpoints,
    /// TailedFile while a watch is added or removed, so that the two never cross. The handler never takes it.
    changes: Arc<Mutex<Option<RecommendedWatcher>>>,
    listeners: Arc<Listeners>,
}

/// Who wants to be woken: by directory, then by file name.
///
/// A directory is known by its inode, since the kernel has one watch for it whatever its names, and gives its events
/// the path by which it was watched first.
#[derive(Default)]
struct Listeners(Mutex<Directories>);

#[derive(Default)]
struct Directories {
    by_identity: HashMap<Identity, Directory>,
    /// Which directory the events of a watched path are about.
    watched: HashMap<PathBuf, Identity>,
}

/// One that is woken by a name.
struct Listener {
    wake: Arc<Wake>,
    /// The name is the log's own. Otherwise it is that of a file that has lost it.
    is_own: bool,
}

#[derive(Default)]
struct Directory {
    names: HashMap<OsString, Vec<Listener>>,
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

impl From<std::io::Error> for WatchError {
    fn from(error: std::io::Error) -> Self {
        notify::Error::io(error).into()
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
    /// No watch yet.
    #[must_use]
    pub fn new(faults: Failpoints) -> Self {
        Self { faults, changes: Arc::default(), listeners: Arc::default() }
    }

    /// Wakes `wake` at each event that concerns `name` in `directory`, until the guard is dropped. Where the name is the
    /// log's own, the wake remembers what files of that name are renamed to. It blocks for a moment: call it from a
    /// thread that may.
    ///
    /// # Errors
    /// When the kernel has no watch left, or the directory is not there. The caller then polls.
    pub fn watch(
        &self,
        directory: &Path,
        name: &OsStr,
        is_own: bool,
        wake: &Arc<Wake>,
    ) -> Result<Watch, WatchError> {
        self.faults.check(Call::Watch, directory).map_err(std::io::Error::from)?;
        let mut watcher = locked(&self.changes);
        let notify = match watcher.as_mut() {
            Some(notify) => notify,
            None => {
                let (listeners, faults) = (Arc::clone(&self.listeners), self.faults.clone());
                watcher.insert(notify::recommended_watcher(move |event| {
                    if !faults.is_deaf() {
                        listeners.handle(event);
                    }
                })?)
            }
        };
        let identity = identity(directory).ok_or(WatchError::Missing)?;
        if !locked(&self.listeners.0).by_identity.contains_key(&identity) {
            // The path may still hold the watch of a directory that was moved away or removed.
            if locked(&self.listeners.0).watched.remove(directory).is_some() {
                forget(notify, directory);
            }
            notify.watch(directory, RecursiveMode::NonRecursive)?;
            locked(&self.listeners.0).watched.insert(directory.to_owned(), identity);
        }
        self.listeners.add(identity, name, is_own, wake);
        Ok(Watch {
            watches: self.clone(),
            directory: directory.to_owned(),
            identity,
            name: name.to_owned(),
            wake: Arc::clone(wake),
        })
    }
}

/// Ends the watch of a path. The kernel drops that of a directory that was removed by itself: then there is none.
fn forget(notify: &mut RecommendedWatcher, directory: &Path) {
    if let Err(error) = notify.unwatch(directory) {
        tracing::debug!(directory = %directory.display(), %error, "the watch was gone already");
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
    fn add(&self, directory: Identity, name: &OsStr, is_own: bool, wake: &Arc<Wake>) {
        let mut directories = locked(&self.0);
        let listeners = directories.by_identity.entry(directory).or_default();
        let listener = Listener { wake: Arc::clone(wake), is_own };
        listeners.names.entry(name.to_owned()).or_default().push(listener);
    }

    /// The path whose watch is to be ended, if nobody listens to the directory any more.
    fn remove(&self, directory: Identity, name: &OsStr, wake: &Arc<Wake>) -> Option<PathBuf> {
        let mut directories = locked(&self.0);
        let listeners = directories.by_identity.get_mut(&directory)?;
        if let Some(wakes) = listeners.names.get_mut(name) {
            if let Some(at) = wakes.iter().position(|other| Arc::ptr_eq(&other.wake, wake)) {
                wakes.swap_remove(at);
            }
            if wakes.is_empty() {
                listeners.names.remove(name);
            }
        }
        if !listeners.names.is_empty() {
            return None;
        }
        directories.by_identity.remove(&directory);
        let path =
            directories.watched.iter().find(|(_, identity)| **identity == directory)?.0.clone();
        directories.watched.remove(&path);
        Some(path)
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
        let of = |path: &Path| directories.by_identity.get(directories.watched.get(path)?);
        if let (EventKind::Modify(ModifyKind::Name(RenameMode::Both)), [from, to]) =
            (event.kind, event.paths.as_slice())
            && let Some(directory) = from.parent().and_then(of)
        {
            // Each wake is told once, whatever the number of names under which it listens.
            let mut told: Vec<(&Arc<Wake>, bool)> = Vec::new();
            for (name, listeners) in &directory.names {
                for listener in listeners {
                    let is_ours = listener.is_own && from.file_name() == Some(name);
                    match told.iter_mut().find(|(wake, _)| Arc::ptr_eq(wake, &listener.wake)) {
                        Some((_, ours)) => *ours |= is_ours,
                        None => told.push((&listener.wake, is_ours)),
                    }
                }
            }
            told.into_iter().for_each(|(wake, is_ours)| wake.renamed(from, to, is_ours));
        }
        let is_write = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        for path in &event.paths {
            if let Some(directory) = of(path) {
                directory.names.values().flatten().for_each(|listener| listener.wake.wake());
            }
            if let (Some(directory), Some(name)) = (path.parent().and_then(of), path.file_name())
                && let Some(wakes) = directory.names.get(name)
            {
                for listener in wakes {
                    if is_write { listener.wake.written() } else { listener.wake.wake() }
                }
            }
        }
    }

    fn wake_all(&self) {
        let directories = locked(&self.0);
        let all = directories.by_identity.values().flat_map(|directory| directory.names.values());
        all.flatten().for_each(|listener| listener.wake.wake());
    }
}

/// A registered wake. Dropping it frees the watch, if it was the directory's last; that blocks for a moment.
pub struct Watch {
    watches: Watches,
    /// The path by which the directory was asked for.
    directory: PathBuf,
    identity: Identity,
    name: OsString,
    wake: Arc<Wake>,
}

impl Watch {
    /// Whether the path still leads to the directory that is watched, and the watch is there. If it is not, watch anew.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        identity(&self.directory) == Some(self.identity)
            && locked(&self.watches.listeners.0)
                .watched
                .values()
                .any(|watched| *watched == self.identity)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watcher = locked(&self.watches.changes);
        if let (Some(path), Some(notify)) =
            (self.watches.listeners.remove(self.identity, &self.name, &self.wake), watcher.as_mut())
        {
            forget(notify, &path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{
        AccessKind, AccessMode, CreateKind, DataChange, Flag, MetadataKind, RemoveKind,
    };
    use notify::{Event, EventKind};
    use tokio::time::{Duration, timeout};

    /// Listeners of one name in a directory that exists, and its wake.
    fn listening() -> (Listeners, PathBuf, Arc<Wake>) {
        let directory = std::env::temp_dir();
        let listeners = Listeners::default();
        let identity = identity(&directory).unwrap();
        locked(&listeners.0).watched.insert(directory.clone(), identity);
        let wake = Arc::default();
        listeners.add(identity, OsStr::new("a.log"), true, &wake);
        (listeners, directory, wake)
    }

    async fn is_woken(wake: &Wake) -> bool {
        timeout(Duration::from_millis(1), wake.woken()).await.is_ok()
    }

    #[tokio::test]
    async fn events_of_the_name_and_of_the_directory_wake_and_others_do_not() {
        let (listeners, directory, wake) = listening();
        let event =
            |path: PathBuf| Ok(Event::new(EventKind::Create(CreateKind::File)).add_path(path));
        listeners.handle(event(directory.join("a.log")));
        assert!(is_woken(&wake).await, "the name");
        listeners.handle(event(directory.clone()));
        assert!(is_woken(&wake).await, "the directory itself");
        listeners.handle(event(directory.join("b.log")));
        assert!(!is_woken(&wake).await, "a neighbour");
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        listeners.handle(Ok(Event::new(open).add_path(directory.join("a.log"))));
        assert!(!is_woken(&wake).await, "a reader");
    }

    #[test]
    fn a_write_puts_no_name_in_doubt_and_everything_else_does() {
        let (listeners, directory, wake) = listening();
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let created = EventKind::Create(CreateKind::File);
        let removed = EventKind::Remove(RemoveKind::File);
        let moved = EventKind::Modify(ModifyKind::Name(RenameMode::From));
        let mode = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
        for (kind, path, doubt) in [
            (written, "a.log", false),
            (created, "a.log", true),
            (removed, "a.log", true),
            (moved, "a.log", true),
            (mode, "a.log", true),
            (created, "b.log", false),
            (mode, "", true),
        ] {
            let path = if path.is_empty() { directory.clone() } else { directory.join(path) };
            listeners.handle(Ok(Event::new(kind).add_path(path.clone())));
            assert_eq!(wake.take_doubt(), doubt, "{kind:?} of {}", path.display());
            assert!(!wake.take_doubt(), "it was had");
        }
        wake.wake();
        listeners.handle(Ok(Event::new(written).add_path(directory.join("a.log"))));
        assert!(wake.take_doubt(), "a write takes no doubt away");
    }

    #[tokio::test]
    async fn a_wake_is_had_once_by_a_thread_or_a_task_though_it_came_before() {
        let wake = Arc::new(Wake::default());
        let moment = Duration::from_millis(1);
        assert!(!wake.wait(moment), "none yet");
        wake.wake();
        assert!(wake.wait(moment), "it came before");
        assert!(!wake.wait(moment) && !is_woken(&wake).await, "it was had by the thread");
        wake.wake();
        assert!(is_woken(&wake).await, "for the task again");
        assert!(!wake.wait(moment), "it was had by the task");
        let waker = Arc::clone(&wake);
        let waking = std::thread::spawn(move || {
            while !locked(&waker.state).is_awaited {
                std::thread::yield_now();
            }
            waker.wake();
        });
        assert!(wake.wait(Duration::from_secs(20)), "while it waits");
        waking.join().unwrap();
    }

    #[tokio::test]
    async fn a_queue_that_overflowed_and_a_watcher_that_failed_wake_everybody() {
        let (listeners, _, wake) = listening();
        listeners.handle(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(is_woken(&wake).await, "the overflow, which names no path");
        listeners.handle(Err(notify::Error::generic("anything")));
        assert!(is_woken(&wake).await, "an error");
    }

    #[test]
    fn files_that_had_the_name_are_known_by_their_latest_names() {
        let (listeners, directory, wake) = listening();
        let rename = |from: &str, to: &str| {
            let both = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
            let event =
                Event::new(both).add_path(directory.join(from)).add_path(directory.join(to));
            listeners.handle(Ok(event));
        };
        rename("b.log", "b.log.1");
        assert!(wake.is_empty(), "a neighbour");
        rename("a.log", "a.log.1");
        rename("a.log.1", "a.log.2");
        rename("a.log", "a.log.1");
        rename("a.log", "gone");
        rename("b.log", "gone");
        // What lies under a name that is not the log's own was followed already.
        let identity = identity(&directory).unwrap();
        listeners.add(identity, OsStr::new("old.log"), false, &wake);
        rename("old.log", "older.log");
        rename("a.log", "a.log.0");
        let names = std::iter::from_fn(|| wake.next_aside());
        assert_eq!(
            names.collect::<Vec<_>>(),
            ["a.log.2", "a.log.1", "a.log.0"].map(|name| directory.join(name))
        );
    }

    #[test]
    fn the_system_says_what_is_used_up() {
        let of = |errno: rustix::io::Errno| {
            WatchError::from(notify::Error::io(errno.into())).to_string()
        };
        assert!(of(rustix::io::Errno::MFILE).contains("fs.inotify.max_user_instances"));
        assert!(of(rustix::io::Errno::NOSPC).contains("fs.inotify.max_user_watches"));
        let watches = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert!(WatchError::from(watches).to_string().contains("fs.inotify.max_user_watches"));
    }
}
