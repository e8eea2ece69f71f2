//! The watches of one follower, renewed as its files move.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::access::LogPath;
use crate::log::watch::{Wake, Watch, WatchError, Watches};

/// The watches of one follower, on the directories where its files lie.
pub(in crate::log) struct WatchSet {
    watches: Watches,
    held: Vec<((PathBuf, bool), Watch)>,
    /// A directory of the log is missing, and this tells of its coming, or of that of one above it.
    pub(in crate::log) is_missing: bool,
    coming: Option<Watch>,
    complained: bool,
}

impl WatchSet {
    /// Nothing is watched yet.
    pub(in crate::log) fn new(watches: Watches) -> Self {
        Self { watches, held: Vec::new(), is_missing: false, coming: None, complained: false }
    }

    /// Watches these places. False when it can't, and polling is all there is. It blocks for a moment.
    pub(in crate::log) fn renew(
        &mut self,
        log: &LogPath,
        wake: &Arc<Wake>,
        places: Vec<(PathBuf, bool)>,
    ) -> bool {
        self.held.retain(|(place, watch)| places.contains(place) && watch.is_alive());
        self.coming = None;
        self.is_missing = false;
        let mut works = true;
        for place in places {
            if self.held.iter().any(|(held, _)| *held == place) {
                continue;
            }
            let (path, is_own) = &place;
            let directory = path.parent().unwrap_or(path);
            let name = path.file_name().unwrap_or(OsStr::new(""));
            match self.watches.watch(directory, name, *is_own, wake) {
                Ok(watch) => {
                    self.held.push((place, watch));
                    // What happened while nobody watched is found by one more poll.
                    wake.wake();
                }
                // A directory that is not there has no events to miss but its own coming.
                Err(WatchError::Missing) => {
                    self.is_missing = true;
                    self.watch_for(directory, wake);
                }
                Err(error) => {
                    works = false;
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(log = %log.display(), "polling instead of watching: {error}");
                    }
                }
            }
        }
        self.complained &= !works;
        works
    }

    /// Watches the nearest directory above a missing one that is there. Where that can't be, the next renewal sees.
    fn watch_for(&mut self, missing: &Path, wake: &Arc<Wake>) {
        let mut wanted = missing;
        while let (Some(above), Some(name)) = (wanted.parent(), wanted.file_name()) {
            match self.watches.watch(above, name, false, wake) {
                Err(WatchError::Missing) => wanted = above,
                watch => return self.coming = watch.ok(),
            }
        }
    }
}
