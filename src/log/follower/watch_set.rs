//! The watches of one follower, renewed as its files move.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::access::LogPath;
use crate::log::wake::Wake;
use crate::log::watch::{Watch, WatchError, Watches};

/// The watches of one follower, on the directories where its files lie.
pub(super) struct WatchSet {
    watches: Watches,
    held: Vec<((PathBuf, bool), Watch)>,
    /// A directory of the log is missing.
    is_missing: bool,
    /// Reports the creation of the missing directory, or of one above it.
    creation: Option<Watch>,
    has_warned: bool,
}

impl WatchSet {
    /// A set with no watch yet.
    pub(super) fn new(watches: Watches) -> Self {
        Self { watches, held: Vec::new(), is_missing: false, creation: None, has_warned: false }
    }

    /// Whether a directory of the log was missing at the last renewal.
    pub(super) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Watches these places. Returns false where a place can't be watched and has to be polled. The
    /// call may block.
    pub(super) fn renew(
        &mut self,
        log: &LogPath,
        wake: &Arc<Wake>,
        places: &[(PathBuf, bool)],
    ) -> bool {
        self.held.retain(|(place, watch)| places.contains(place) && watch.is_alive());
        self.creation = None;
        self.is_missing = false;
        let mut works = true;
        for place in places {
            if self.held.iter().any(|(held, _)| held == place) {
                continue;
            }
            let (path, is_own) = place;
            let directory = path.parent().unwrap_or(path);
            let name = path.file_name().unwrap_or(OsStr::new(""));
            let pattern = log.pattern().filter(|_| path == log.as_path());
            let watched = match pattern {
                Some(pattern) => self.watches.watch_matches(directory, pattern, wake),
                None => self.watches.watch(directory, name, *is_own, wake),
            };
            match watched {
                Ok(watch) => {
                    self.held.push((place.clone(), watch));
                    // One more poll finds the changes before the watch was added.
                    wake.wake();
                }
                // A missing directory has no events other than its own creation.
                Err(WatchError::Missing) => {
                    self.is_missing = true;
                    self.watch_for_creation(directory, wake);
                }
                Err(error) => {
                    works = false;
                    if !std::mem::replace(&mut self.has_warned, true) {
                        tracing::warn!(log = %log.display(), "polling instead of watching: {error}");
                    }
                }
            }
        }
        self.has_warned &= !works;
        works
    }

    /// Watches the nearest existing directory above a missing one. If that fails, the next renewal
    /// tries again.
    fn watch_for_creation(&mut self, missing: &Path, wake: &Arc<Wake>) {
        let mut wanted = missing;
        while let (Some(above), Some(name)) = (wanted.parent(), wanted.file_name()) {
            match self.watches.watch(above, name, false, wake) {
                Err(WatchError::Missing) => wanted = above,
                watch => return self.creation = watch.ok(),
            }
        }
    }
}
