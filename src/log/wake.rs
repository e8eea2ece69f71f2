//! A wake: the request to check the log again, and nothing more.
//!
//! A wake says nothing about the file. The follower examines the file itself. A wake only remembers
//! whether anything but writes happened, how many files got the log's name, and the new names of
//! files that lost it between two polls.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::Mutex;

/// At most this many renamed files are remembered for each log. The oldest are forgotten first.
const RENAMED_FILES_MAX: usize = 256;

/// The function that each wake calls.
type Callback = Box<dyn Fn(Woken) + Send + Sync>;

/// What has called a wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The watcher, on its own thread, because the log was written to. It holds no lock.
    ByWrite,
    /// Anything else.
    Otherwise,
}

/// What wakes one follower. The watcher, viewers and the follower itself share it.
#[derive(Default)]
pub struct Wake {
    state: Mutex<WakeState>,
    callback: OnceLock<Callback>,
    settle: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Debug, Default)]
struct WakeState {
    /// An event other than a write came since the name was checked.
    is_name_in_doubt: bool,
    /// An event of the log has come. Some file systems have none.
    has_events: bool,
    /// How many files got the log's name since the name was checked.
    appeared: i64,
    /// Events may have been lost since then.
    are_events_lost: bool,
    /// The present paths of files that had the log's name, in the order of the events.
    renamed: VecDeque<PathBuf>,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Wake {
    /// Sets the function that each wake calls. Only the first call has an effect.
    pub(crate) fn on_wake(&self, callback: impl Fn(Woken) + Send + Sync + 'static) {
        // A wake belongs to one follower, which sets it once.
        let _already_set = self.callback.set(Box::new(callback));
    }

    /// Sets the function that waits for the watcher. Only the first call has an effect.
    pub(crate) fn on_settle(&self, settle: impl Fn() + Send + Sync + 'static) {
        let _already_set = self.settle.set(Box::new(settle));
    }

    /// Waits until the watcher has handled the events of all that has happened so far. It may stand still in
    /// the middle of them, where the machine is busy.
    pub(crate) fn settle(&self) {
        if let Some(settle) = self.settle.get() {
            settle();
        }
    }

    /// Wakes the follower. Anything may have happened.
    pub fn wake(&self) {
        self.state.lock().is_name_in_doubt = true;
        self.call(Woken::Otherwise);
    }

    /// Wakes the follower because bytes were written to the file with the log's name. No name has
    /// changed. The watcher calls it without a lock, since the follower may run at once.
    pub(crate) fn wake_for_write(&self) {
        self.state.lock().has_events = true;
        self.call(Woken::ByWrite);
    }

    /// Wakes the follower because a file got the log's name.
    pub(crate) fn wake_for_appearance(&self) {
        let mut state = self.state.lock();
        state.appeared += 1;
        state.has_events = true;
        drop(state);
        self.wake();
    }

    /// Whether an event of the log has ever come.
    pub(crate) fn has_events(&self) -> bool {
        self.state.lock().has_events
    }

    /// Wakes the follower because events may have been lost.
    pub(crate) fn wake_for_lost_events(&self) {
        self.lose_events();
        self.wake();
    }

    /// Events may have been lost: the number of those that came proves nothing.
    pub(crate) fn lose_events(&self) {
        let mut state = self.state.lock();
        (state.appeared, state.are_events_lost) = (0, true);
    }

    /// How many files got the log's name since the last call, and whether events may have been lost
    /// before these. Call this before the name is checked.
    pub(crate) fn take_appearances(&self) -> (i64, bool) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.appeared), std::mem::take(&mut state.are_events_lost))
    }

    fn call(&self, woken: Woken) {
        if let Some(callback) = self.callback.get() {
            callback(woken);
        }
    }

    /// Whether an event other than a write came since the last call of
    /// [`take_name_doubt`](Self::take_name_doubt).
    pub(crate) fn has_name_doubt(&self) -> bool {
        self.state.lock().is_name_in_doubt
    }

    /// Whether an event other than a write came since the last call. Call this before the name is
    /// checked.
    #[must_use]
    pub fn take_name_doubt(&self) -> bool {
        std::mem::take(&mut self.state.lock().is_name_in_doubt)
    }

    /// The present path of the oldest renamed file. None when there is none.
    #[must_use]
    pub fn first_renamed(&self) -> Option<PathBuf> {
        self.state.lock().renamed.front().cloned()
    }

    /// Removes the renamed file with this present path.
    pub(crate) fn take_renamed(&self, path: &Path) {
        self.state.lock().renamed.retain(|other| other != path);
    }

    /// Whether a renamed file lies at this path and has not been taken yet.
    #[must_use]
    pub fn has_renamed_to(&self, path: &Path) -> bool {
        self.state.lock().renamed.iter().any(|other| other == path)
    }

    /// Whether any renamed file has not been taken yet.
    #[must_use]
    pub fn has_renamed(&self) -> bool {
        !self.state.lock().renamed.is_empty()
    }

    /// Records a renaming. `had_name` says whether the file had the log's own name, and `has_name`
    /// whether it has that now: then it is counted among the files that got it.
    pub(crate) fn record_rename(&self, from: &Path, to: &Path, had_name: bool, has_name: bool) {
        let mut state = self.state.lock();
        // A file that gets its name back is no other file.
        let is_back = state.renamed.iter().any(|path| path == from);
        state.appeared += i64::from(has_name && !is_back);
        state.has_events |= has_name;
        let renamed = &mut state.renamed;
        // The renaming has replaced the file that had the new name.
        renamed.retain(|path| path != to);
        if let Some(path) = renamed.iter_mut().find(|path| *path == from) {
            to.clone_into(path);
        } else if had_name {
            if renamed.len() == RENAMED_FILES_MAX {
                renamed.pop_front();
            }
            renamed.push_back(to.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    impl Wake {
        pub(crate) fn take_all_renamed(&self) -> Vec<PathBuf> {
            self.state.lock().renamed.drain(..).collect()
        }
    }

    #[test]
    fn each_wake_calls_and_only_a_write_leaves_the_name_undoubted() {
        let (wake, calls) = (Wake::default(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&calls);
        wake.on_wake(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        wake.wake_for_write();
        assert!(!wake.take_name_doubt(), "a write");
        wake.wake();
        wake.wake_for_write();
        assert!(wake.take_name_doubt(), "a write does not remove a doubt");
        assert!(!wake.take_name_doubt(), "it was taken");
        assert_eq!(calls.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn renamed_files_are_known_by_their_latest_names() {
        let wake = Wake::default();
        let path = |name: &str| Path::new("/logs").join(name);
        let rename = |from: &str, to: &str| {
            wake.record_rename(&path(from), &path(to), from == "a.log", to == "a.log");
        };
        rename("b.log", "b.log.1");
        assert!(!wake.has_renamed(), "a neighbour");
        rename("a.log", "a.log.1");
        rename("a.log.1", "a.log.2");
        rename("a.log", "a.log.1");
        rename("a.log", "gone");
        rename("b.log", "gone");
        assert!(wake.has_renamed_to(&path("a.log.2")) && !wake.has_renamed_to(&path("gone")));
        let names = wake.take_all_renamed();
        assert_eq!(names, ["a.log.2", "a.log.1"].map(path));
    }

    #[test]
    fn the_oldest_of_too_many_renamed_files_is_forgotten() {
        let wake = Wake::default();
        let to = |number: usize| PathBuf::from(format!("/logs/a.log.{number}"));
        for number in 0..=RENAMED_FILES_MAX {
            wake.record_rename(Path::new("/logs/a.log"), &to(number), true, false);
        }
        assert_eq!(wake.first_renamed(), Some(to(1)));
    }

    #[test]
    fn a_file_that_gets_its_name_back_is_no_other_file() {
        let wake = Wake::default();
        let (log, aside) = (Path::new("/logs/a.log"), Path::new("/logs/a.log.1"));
        wake.wake_for_appearance();
        wake.record_rename(log, aside, true, false);
        wake.record_rename(aside, log, false, true);
        assert_eq!(wake.take_appearances(), (1, false));
        wake.record_rename(Path::new("/logs/b.log"), log, false, true);
        assert_eq!(wake.take_appearances(), (1, false), "another one");
        wake.wake_for_appearance();
        wake.wake_for_lost_events();
        wake.wake_for_appearance();
        assert_eq!(wake.take_appearances(), (1, true), "what came before proves nothing");
        assert_eq!(wake.take_appearances(), (0, false), "they were taken");
    }
}
