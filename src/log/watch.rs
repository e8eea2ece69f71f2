//! Watches on the file system, which wake followers.
//!
//! One `notify` watcher serves the whole process, because each watcher is an inotify instance and a
//! thread of its own, and a user has 128 instances. It watches directories, not files: a watch on a
//! file sees nothing more once the file is renamed and created again, and two names of one inode
//! share a watch and report one name only. So a log costs one watch, on its directory, and shares
//! it with its neighbours.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use notify::event::{CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;

use crate::log::access::Identity;
use crate::log::failpoints::{Call, Failpoints};
use crate::log::pattern::Pattern;
use crate::log::wake::Wake;

thread_local! {
    /// Whether this is the thread of a watcher. What it runs can't wait for the watcher.
    static IS_WATCHER: Cell<bool> = const { Cell::new(false) };
}

/// The process's watches. Cheap to clone.
#[derive(Clone)]
pub struct Watches {
    faults: Failpoints,
    /// Locked while a watch is added or removed, so that the two never run at the same time. The
    /// event handler never locks it.
    watcher: Arc<Mutex<WatcherState>>,
    listeners: Arc<Listeners>,
}

#[derive(Default)]
enum WatcherState {
    /// No watch has been requested yet.
    #[default]
    Idle,
    Running(RecommendedWatcher),
    Closed,
}

impl WatcherState {
    fn running(&mut self) -> Option<&mut RecommendedWatcher> {
        match self {
            Self::Running(notify) => Some(notify),
            Self::Idle | Self::Closed => None,
        }
    }
}

/// The wakes that are registered: by directory, then by file name.
///
/// A directory is known by its inode. The kernel has one watch for it, whatever its names, and
/// reports its events with the path by which it was watched first.
#[derive(Default)]
struct Listeners(Mutex<Directories>);

#[derive(Default)]
struct Directories {
    by_identity: HashMap<Identity, Directory>,
    /// The directory of each watched path.
    watched: HashMap<PathBuf, Identity>,
    /// The first half of a renaming: its number, and the path that the file had.
    moved_from: Option<(usize, PathBuf)>,
}

impl Directories {
    /// Records a renaming at its second half. Returns whether the file has stayed in its directory: then it
    /// is counted, if it has got a log's name. A single call does both, so that no follower sees the one
    /// without the other.
    fn record_rename(&mut self, event: &notify::Event) -> bool {
        let EventKind::Modify(ModifyKind::Name(mode)) = event.kind else { return false };
        let (Some(path), Some(number)) = (event.paths.first(), event.tracker()) else {
            return false;
        };
        if mode == RenameMode::From {
            self.moved_from = Some((number, path.clone()));
        }
        if mode != RenameMode::To {
            return false;
        }
        let Some((_, from)) = self.moved_from.take_if(|(of, _)| *of == number) else {
            return false;
        };
        let identity = |path: &Path| self.watched.get(path.parent()?).copied();
        let Some(directory) = identity(&from).and_then(|from| self.by_identity.get(&from)) else {
            return false;
        };
        let has_stayed = identity(path) == identity(&from);
        // Each wake records the renaming once, whatever the number of names under which it is
        // registered.
        let mut wakes: Vec<(&Arc<Wake>, bool, bool)> = Vec::new();
        for (name, listeners) in &directory.names {
            for listener in listeners {
                let had_name = listener.is_own && from.file_name() == Some(name);
                let has_name = listener.is_own && has_stayed && path.file_name() == Some(name);
                match wakes.iter_mut().find(|(wake, ..)| Arc::ptr_eq(wake, &listener.wake)) {
                    Some((_, had, has)) => (*had, *has) = (*had | had_name, *has | has_name),
                    None => wakes.push((&listener.wake, had_name, has_name)),
                }
            }
        }
        for (wake, had_name, has_name) in wakes {
            wake.record_rename(&from, path, had_name, has_name);
        }
        has_stayed
    }
}

/// A wake that is registered under a name.
struct Listener {
    wake: Arc<Wake>,
    /// The name is the log's own. Otherwise it is the name of a file that has lost the log's name.
    is_own: bool,
}

#[derive(Default)]
struct Directory {
    names: HashMap<OsString, Vec<Listener>>,
    /// The wakes of logs whose name is a pattern.
    patterns: Vec<(Pattern, Arc<Wake>)>,
}

impl Directory {
    fn is_unwatched(&self) -> bool {
        self.names.is_empty() && self.patterns.is_empty()
    }

    /// All wakes, some of them more than once.
    fn wakes(&self) -> impl Iterator<Item = &Arc<Wake>> {
        let by_name = self.names.values().flatten().map(|listener| &listener.wake);
        by_name.chain(self.patterns.iter().map(|(_, wake)| wake))
    }
}

/// What a wake is registered for in a directory.
#[derive(Clone, Debug)]
enum Watched {
    Name(OsString),
    Pattern(Pattern),
}

/// Why a directory can't be watched.
#[derive(Debug)]
pub enum WatchError {
    /// The user's inotify watches are used up.
    NoWatchesLeft,
    /// The user's inotify instances, or the process's descriptors, are used up.
    NoInstancesLeft,
    /// The directory is missing.
    Missing,
    /// The watches of this process have been ended.
    Closed,
    /// Anything else, as the system describes it.
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
            Self::Closed => f.write_str("watching has ended"),
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
        Self { faults, watcher: Arc::default(), listeners: Arc::default() }
    }

    /// Ends the watcher: its inotify instance and its thread go. No directory can be watched
    /// afterwards.
    pub(crate) fn close(&self) {
        let watcher = std::mem::replace(&mut *self.watcher.lock(), WatcherState::Closed);
        // The drop waits for the watcher's thread, which may be about to lock this state.
        drop(watcher);
    }

    /// Wakes `wake` at each event that concerns `name` in `directory`, until the guard is dropped.
    /// If the name is the log's own, the wake records the new names of files that had it. The call
    /// may block.
    ///
    /// # Errors
    /// When the kernel has no watch left, or the directory is missing. The caller then polls.
    pub fn watch(
        &self,
        directory: &Path,
        name: &OsStr,
        is_own: bool,
        wake: &Arc<Wake>,
    ) -> Result<Watch, WatchError> {
        self.register(directory, Watched::Name(name.to_owned()), is_own, wake)
    }

    /// Wakes `wake` at each event in `directory` that may change which file is the newest match of
    /// a pattern, until the guard is dropped. Writes do not. The call may block.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub(crate) fn watch_matches(
        &self,
        directory: &Path,
        pattern: &Pattern,
        wake: &Arc<Wake>,
    ) -> Result<Watch, WatchError> {
        self.register(directory, Watched::Pattern(pattern.clone()), true, wake)
    }

    /// Waits until the watcher has handled the events of all that has happened so far. The call may block.
    pub(crate) fn settle(&self) {
        // The watcher's thread can't wait for itself.
        if IS_WATCHER.get() {
            return;
        }
        let mut watcher = self.watcher.lock();
        let Some(notify) = watcher.running() else { return };
        // It answers between two rounds of events. Those that had come may still be before it after the first
        // answer, and are not after the second.
        for _ in 0..2 {
            if let Err(error) = notify.configure(notify::Config::default()) {
                tracing::debug!(%error, "the watcher does not answer");
            }
        }
    }

    fn register(
        &self,
        directory: &Path,
        watched: Watched,
        is_own: bool,
        wake: &Arc<Wake>,
    ) -> Result<Watch, WatchError> {
        if IS_WATCHER.get() {
            return Err(WatchError::Other("the watcher's thread can't wait for it".to_owned()));
        }
        self.faults.check(Call::Watch, directory).map_err(std::io::Error::from)?;
        // This runs before the lock, so that a file system that hangs blocks only this call.
        let identity = identity(directory).ok_or(WatchError::Missing)?;
        let mut watcher = self.watcher.lock();
        if let WatcherState::Idle = *watcher {
            *watcher = WatcherState::Running(self.start_watcher()?);
        }
        let notify = watcher.running().ok_or(WatchError::Closed)?;
        let is_watched = self.listeners.0.lock().by_identity.contains_key(&identity);
        if !is_watched {
            // The path may still hold the watch of a directory that was moved away or removed.
            let had_watch = self.listeners.0.lock().watched.remove(directory).is_some();
            if had_watch {
                end_watch(notify, directory);
            }
            notify.watch(directory, RecursiveMode::NonRecursive)?;
            self.listeners.0.lock().watched.insert(directory.to_owned(), identity);
        }
        self.listeners.add(identity, &watched, is_own, wake);
        Ok(Watch {
            watches: self.clone(),
            directory: directory.to_owned(),
            identity,
            watched,
            wake: Arc::clone(wake),
        })
    }

    fn start_watcher(&self) -> notify::Result<RecommendedWatcher> {
        let (listeners, faults) = (Arc::clone(&self.listeners), self.faults.clone());
        notify::recommended_watcher(move |event| {
            IS_WATCHER.set(true);
            if !faults.is_deaf() {
                listeners.handle(event);
            }
        })
    }
}

/// Ends the watch of a path. The kernel has ended it already when the directory was removed.
fn end_watch(notify: &mut RecommendedWatcher, directory: &Path) {
    if let Err(error) = notify.unwatch(directory) {
        tracing::debug!(directory = %directory.display(), %error, "the watch was gone already");
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = path.metadata().ok()?;
    Some(Identity { device: metadata.dev(), inode: metadata.ino() })
}

impl Listeners {
    fn add(&self, directory: Identity, watched: &Watched, is_own: bool, wake: &Arc<Wake>) {
        let mut directories = self.0.lock();
        let listeners = directories.by_identity.entry(directory).or_default();
        let wake = Arc::clone(wake);
        match watched {
            Watched::Name(name) => {
                let listeners = listeners.names.entry(name.clone()).or_default();
                listeners.push(Listener { wake, is_own });
            }
            Watched::Pattern(pattern) => listeners.patterns.push((pattern.clone(), wake)),
        }
    }

    /// Removes a wake. If it was the directory's last, returns the path whose watch has to be
    /// ended.
    fn remove(&self, directory: Identity, watched: &Watched, wake: &Arc<Wake>) -> Option<PathBuf> {
        let mut directories = self.0.lock();
        let listeners = directories.by_identity.get_mut(&directory)?;
        match watched {
            Watched::Name(name) => {
                if let Some(wakes) = listeners.names.get_mut(name) {
                    let mut all = wakes.iter();
                    if let Some(at) = all.position(|other| Arc::ptr_eq(&other.wake, wake)) {
                        wakes.swap_remove(at);
                    }
                    if wakes.is_empty() {
                        listeners.names.remove(name);
                    }
                }
            }
            Watched::Pattern(_) => {
                listeners.patterns.retain(|(_, other)| !Arc::ptr_eq(other, wake));
            }
        }
        if !listeners.is_unwatched() {
            return None;
        }
        directories.by_identity.remove(&directory);
        let path =
            directories.watched.iter().find(|(_, identity)| **identity == directory)?.0.clone();
        directories.watched.remove(&path);
        Some(path)
    }

    /// Runs on the watcher's thread: it wakes followers. Those of a log that was written to may run on
    /// this thread, at once.
    fn handle(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else { return self.wake_all() };
        if event.need_rescan() {
            return self.wake_all();
        }
        // Readers, this process among them, open and close files. No file changes by that.
        if matches!(event.kind, EventKind::Access(_)) {
            return;
        }
        let mut written = Vec::new();
        let mut directories = self.0.lock();
        let is_counted = directories.record_rename(&event);
        let of = |path: &Path| directories.by_identity.get(directories.watched.get(path)?);
        let is_write = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        let is_appearance = is_appearance(event.kind) && !is_counted;
        for path in &event.paths {
            if let Some(directory) = of(path) {
                directory.wakes().for_each(|wake| wake.wake());
            }
            if let (Some(directory), Some(name)) = (path.parent().and_then(of), path.file_name()) {
                let wakes = directory.names.get(name).map_or(&[][..], Vec::as_slice);
                for (at, Listener { wake, is_own }) in wakes.iter().enumerate() {
                    // A log may be registered for a name several times.
                    let is_again = wakes[..at].iter().any(|other| Arc::ptr_eq(&other.wake, wake));
                    if is_write {
                        written.push(Arc::clone(wake));
                    } else if is_appearance && *is_own && !is_again {
                        wake.wake_for_appearance();
                    } else {
                        wake.wake();
                    }
                }
                if !is_write {
                    let name = name.as_bytes();
                    let matched = directory.patterns.iter().filter(|(own, _)| own.matches(name));
                    matched.for_each(|(_, wake)| wake.wake());
                }
            }
        }
        drop(directories);
        written.iter().for_each(|wake| wake.wake_for_write());
    }

    fn wake_all(&self) {
        let directories = self.0.lock();
        let all = directories.by_identity.values().flat_map(Directory::wakes);
        all.for_each(|wake| wake.wake_for_lost_events());
    }
}

/// Whether a file gets the name of the event: it is created, or moved there.
fn is_appearance(kind: EventKind) -> bool {
    let is_folder = matches!(kind, EventKind::Create(CreateKind::Folder));
    let is_moved_to = matches!(kind, EventKind::Modify(ModifyKind::Name(RenameMode::To)));
    is_moved_to || (matches!(kind, EventKind::Create(_)) && !is_folder)
}

/// A registered wake. Dropping it ends the watch, if it was the directory's last. The drop may
/// block for a moment.
pub struct Watch {
    watches: Watches,
    /// The path by which the directory was requested.
    directory: PathBuf,
    identity: Identity,
    watched: Watched,
    wake: Arc<Wake>,
}

impl Watch {
    /// Whether the path still leads to the watched directory, and the watch still exists. If not,
    /// the caller has to watch again.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        identity(&self.directory) == Some(self.identity)
            && self
                .watches
                .listeners
                .0
                .lock()
                .watched
                .values()
                .any(|watched| *watched == self.identity)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if IS_WATCHER.get() {
            // It belonged to a follower that has failed on this thread.
            let own = ManuallyDrop::new(Self {
                watches: self.watches.clone(),
                directory: std::mem::take(&mut self.directory),
                identity: self.identity,
                watched: self.watched.clone(),
                wake: Arc::clone(&self.wake),
            });
            let end = move || drop(ManuallyDrop::into_inner(own));
            if let Err(error) = thread::Builder::new().spawn(end) {
                tracing::error!(%error, "can't start a thread to end a watch");
            }
            return;
        }
        let mut watcher = self.watches.watcher.lock();
        let last = self.watches.listeners.remove(self.identity, &self.watched, &self.wake);
        if let (Some(path), Some(notify)) = (last, watcher.running()) {
            end_watch(notify, &path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::pattern::{RequestedPath, Symbol};
    use crate::log::wake::Woken;
    use notify::event::{AccessKind, AccessMode, DataChange, Flag, MetadataKind, RemoveKind};
    use notify::{Event, EventKind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Listeners of one name in a directory that exists, and its wake.
    fn listeners() -> (Listeners, PathBuf, Arc<Wake>) {
        let directory = std::env::temp_dir();
        let listeners = Listeners::default();
        let identity = identity(&directory).unwrap();
        listeners.0.lock().watched.insert(directory.clone(), identity);
        let wake = Arc::default();
        listeners.add(identity, &Watched::Name("a.log".into()), true, &wake);
        (listeners, directory, wake)
    }

    /// The events of a renaming, as `notify` sends them.
    fn send_rename(listeners: &Listeners, directory: &Path, from: &str, to: &str) {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let (from, to) = (directory.join(from), directory.join(to));
        for (mode, paths) in [
            (RenameMode::From, &[&from][..]),
            (RenameMode::To, &[&to]),
            (RenameMode::Both, &[&from, &to]),
        ] {
            let event = Event::new(EventKind::Modify(ModifyKind::Name(mode))).set_tracker(number);
            let add = |event: Event, path: &&PathBuf| event.add_path(path.to_path_buf());
            listeners.handle(Ok(paths.iter().fold(event, add)));
        }
    }

    /// Counts the calls of a wake. The function that it returns says whether it was called since
    /// the last question.
    fn calls_of(wake: &Wake) -> impl Fn() -> bool {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        wake.on_wake(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        move || calls.swap(0, Ordering::SeqCst) > 0
    }

    #[test]
    fn what_runs_on_the_watchers_thread_never_waits_for_the_watcher() {
        let directory = tempfile::tempdir().unwrap();
        let watches = Watches::new(Failpoints::default());
        let (dropped, is_dropped) = std::sync::mpsc::channel();
        let watch = |watches: &Watches, wake| {
            watches.watch(directory.path(), OsStr::new("a.log"), true, wake)
        };
        let wake = Arc::<Wake>::default();
        let held = Mutex::new(Some(watch(&watches, &wake).unwrap()));
        let again = watches.clone();
        let path = directory.path().to_owned();
        wake.on_wake(move |woken| {
            if woken == Woken::ByWrite
                && let Some(watch) = held.lock().take()
            {
                drop(watch);
                let refused = again.watch(&path, OsStr::new("b.log"), true, &Arc::default());
                dropped.send(refused.is_err()).unwrap();
            }
        });
        std::fs::write(directory.path().join("a.log"), "text").unwrap();
        let deadline = std::time::Duration::from_secs(20);
        assert!(is_dropped.recv_timeout(deadline).unwrap(), "a watch would wait for itself");
        let until = std::time::Instant::now() + deadline;
        while !watches.listeners.0.lock().watched.is_empty() {
            assert!(std::time::Instant::now() < until, "the watch has not ended");
            thread::sleep(std::time::Duration::from_millis(1));
        }
        watch(&watches, &Arc::default()).unwrap();
    }

    #[test]
    fn events_of_the_name_and_of_the_directory_wake_and_others_do_not() {
        let (listeners, directory, wake) = listeners();
        let is_woken = calls_of(&wake);
        let event =
            |path: PathBuf| Ok(Event::new(EventKind::Create(CreateKind::File)).add_path(path));
        listeners.handle(event(directory.join("a.log")));
        assert!(is_woken(), "the name");
        listeners.handle(event(directory.clone()));
        assert!(is_woken(), "the directory itself");
        listeners.handle(event(directory.join("b.log")));
        assert!(!is_woken(), "a neighbour");
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        listeners.handle(Ok(Event::new(open).add_path(directory.join("a.log"))));
        assert!(!is_woken(), "a reader");
    }

    #[test]
    fn a_match_of_a_pattern_wakes_when_it_comes_or_goes_but_not_when_it_is_written() {
        let (listeners, directory, named) = listeners();
        let identity = identity(&directory).unwrap();
        let wake = Arc::default();
        let symbols = [Symbol::Byte(b'b'), Symbol::Any];
        let pattern = RequestedPath::new(&symbols).unwrap().pattern.unwrap();
        let watched = Watched::Pattern(pattern);
        listeners.add(identity, &watched, true, &wake);
        let (is_woken, is_named_woken) = (calls_of(&wake), calls_of(&named));
        let send = |kind: EventKind, name: &str| {
            listeners.handle(Ok(Event::new(kind).add_path(directory.join(name))));
        };
        send(EventKind::Create(CreateKind::File), "b.log");
        assert!(is_woken() && !is_named_woken());
        send(EventKind::Modify(ModifyKind::Name(RenameMode::To)), "b.log");
        assert!(is_woken(), "a new name");
        send(EventKind::Modify(ModifyKind::Data(DataChange::Any)), "b.log");
        assert!(!is_woken(), "a write");
        send(EventKind::Create(CreateKind::File), "a.log");
        assert!(!is_woken() && is_named_woken(), "no match");
        let rescan = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        listeners.handle(Ok(rescan));
        assert!(is_woken(), "a lost event");
        assert_eq!(listeners.remove(identity, &Watched::Name("a.log".into()), &named), None);
        assert_eq!(listeners.remove(identity, &watched, &wake), Some(directory));
    }

    #[test]
    fn a_write_puts_no_name_in_doubt_and_everything_else_does() {
        let (listeners, directory, wake) = listeners();
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
            assert_eq!(wake.take_name_doubt(), doubt, "{kind:?} of {}", path.display());
            assert!(!wake.take_name_doubt(), "it was taken");
        }
        wake.wake();
        listeners.handle(Ok(Event::new(written).add_path(directory.join("a.log"))));
        assert!(wake.take_name_doubt(), "a write does not remove a doubt");
    }

    #[test]
    fn a_queue_that_overflowed_and_a_watcher_that_failed_wake_all() {
        let (listeners, _, wake) = listeners();
        let is_woken = calls_of(&wake);
        listeners.handle(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(is_woken(), "the overflow, which names no path");
        assert_eq!(wake.take_appearances(), (0, true));
        listeners.handle(Err(notify::Error::generic("anything")));
        assert!(is_woken(), "an error");
        assert_eq!(wake.take_appearances(), (0, true));
    }

    #[test]
    fn each_file_that_gets_the_name_is_counted_once() {
        let (listeners, directory, wake) = listeners();
        // Once more by another path, and once as the name of an old file of another log.
        let identity = identity(&directory).unwrap();
        let other = Arc::default();
        listeners.add(identity, &Watched::Name("a.log".into()), true, &wake);
        listeners.add(identity, &Watched::Name("a.log".into()), false, &other);
        let name = |mode| EventKind::Modify(ModifyKind::Name(mode));
        for (kind, paths, appeared) in [
            (EventKind::Create(CreateKind::File), &["a.log"][..], 1),
            (EventKind::Create(CreateKind::Folder), &["a.log"], 0),
            (EventKind::Create(CreateKind::File), &["b.log"], 0),
            (EventKind::Remove(RemoveKind::File), &["a.log"], 0),
            (name(RenameMode::From), &["a.log"], 0),
            (name(RenameMode::To), &["a.log"], 1),
            // The kernel's two events come before it.
            (name(RenameMode::Both), &["b.log", "a.log"], 0),
        ] {
            let event = Event::new(kind);
            let add = |event: Event, name: &&str| event.add_path(directory.join(name));
            listeners.handle(Ok(paths.iter().fold(event, add)));
            assert_eq!(wake.take_appearances(), (appeared, false), "{kind:?} of {paths:?}");
            assert_eq!(other.take_appearances(), (0, false), "{kind:?} of {paths:?}");
        }
    }

    #[test]
    fn files_that_lose_the_name_are_recorded_and_their_later_names_too() {
        let (listeners, directory, wake) = listeners();
        let rename = |from: &str, to: &str| send_rename(&listeners, &directory, from, to);
        rename("b.log", "b.log.1");
        assert!(!wake.has_renamed(), "a neighbour");
        rename("a.log", "a.log.1");
        rename("a.log.1", "a.log.2");
        // A name that is not the log's own belongs to a file that was followed already.
        let identity = identity(&directory).unwrap();
        listeners.add(identity, &Watched::Name("old.log".into()), false, &wake);
        rename("old.log", "older.log");
        rename("a.log", "a.log.0");
        let names = wake.take_all_renamed();
        assert_eq!(names, ["a.log.2", "a.log.0"].map(|name| directory.join(name)));
    }

    #[test]
    fn whoever_settles_has_all_events_so_far() {
        let directory = tempfile::tempdir().unwrap();
        let watches = Watches::new(Failpoints::default());
        let (name, wake) = (OsStr::new("a.log"), Arc::<Wake>::default());
        let _watch = watches.watch(directory.path(), name, true, &wake).unwrap();
        let path = |name: &str| directory.path().join(name);
        wake.on_wake(|_| thread::sleep(std::time::Duration::from_millis(2)));
        for round in 1..=10 {
            std::fs::write(path("a.log"), "text").unwrap();
            std::fs::rename(path("a.log"), path(&format!("a.log.{round}"))).unwrap();
            watches.settle();
            assert_eq!(wake.take_appearances(), (1, false));
            assert!(wake.has_renamed_to(&path(&format!("a.log.{round}"))));
        }
    }

    #[test]
    fn a_file_that_gets_its_name_back_is_never_counted() {
        let (listeners, directory, wake) = listeners();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counts, counting) = (Arc::clone(&seen), Arc::downgrade(&wake));
        // A follower that looks at each wake.
        wake.on_wake(move |_| {
            let appeared = counting.upgrade().map(|wake| wake.take_appearances().0);
            counts.lock().extend(appeared);
        });
        send_rename(&listeners, &directory, "a.log", "a.log.1");
        send_rename(&listeners, &directory, "a.log.1", "a.log");
        assert!(seen.lock().iter().all(|appeared| *appeared == 0), "{:?}", seen.lock());
        send_rename(&listeners, &directory, "b.log", "a.log");
        assert_eq!(seen.lock().iter().sum::<i64>(), 1, "another one");
    }

    #[test]
    fn a_closed_watcher_watches_nothing_and_its_guards_can_be_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (watches, wake) = (Watches::new(Failpoints::default()), Arc::default());
        let watch = || watches.watch(directory.path(), OsStr::new("a.log"), true, &wake);
        let guard = watch().unwrap();
        watches.close();
        assert!(matches!(watch(), Err(WatchError::Closed)));
        drop(guard);
    }

    #[test]
    fn an_error_names_the_limit_that_was_reached() {
        let of = |errno: rustix::io::Errno| {
            WatchError::from(notify::Error::io(errno.into())).to_string()
        };
        assert!(of(rustix::io::Errno::MFILE).contains("fs.inotify.max_user_instances"));
        assert!(of(rustix::io::Errno::NOSPC).contains("fs.inotify.max_user_watches"));
        let watches = notify::Error::new(ErrorKind::MaxFilesWatch);
        assert!(WatchError::from(watches).to_string().contains("fs.inotify.max_user_watches"));
    }
}
