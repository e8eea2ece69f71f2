//! Files that were rotated away, and are still read for a while because writers reopen late.
//!
//! Each is read until its own deadline, the rotate-wait after it lost the name. At most
//! [`OLD_FILES_MAX`] are held.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::log::access::Identity;
use crate::log::follower::events::Poll;
use crate::log::follower::tailed_file::{Progress, TailedFile};
use crate::log::timeline::OLD_FILES_MAX;

/// Late files are read at most this often. Where both files are written, each such read adds two
/// spans to the timeline.
const LATE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct LateFiles {
    /// Oldest first.
    files: VecDeque<LateFile>,
    /// When they were last read. None when the next poll has to read them.
    polled_at: Option<Instant>,
}

#[derive(Debug)]
struct LateFile {
    file: TailedFile,
    /// When the file lost the name.
    since: Instant,
    /// After this time the file is dropped as soon as it has been read to its end.
    until: Instant,
}

impl LateFiles {
    pub(super) fn is_full(&self) -> bool {
        self.files.len() >= OLD_FILES_MAX
    }

    pub(super) fn contains(&self, identity: Identity) -> bool {
        self.files.iter().any(|late| late.file.file.identity() == identity)
    }

    /// Adds the file that has just lost the name. If there are too many, the oldest is dropped.
    pub(super) fn push(&mut self, file: TailedFile, since: Instant, until: Instant) {
        self.files.push_back(LateFile { file, since, until });
        while self.files.len() > OLD_FILES_MAX {
            self.files.pop_front();
        }
    }

    /// Adds a file that lost the name before all of these, if there is room.
    pub(super) fn push_oldest(&mut self, file: TailedFile, until: Instant, now: Instant) {
        if !self.is_full() {
            self.files.push_front(LateFile { file, since: now, until });
            self.polled_at.get_or_insert(now);
        }
    }

    /// Drops this many of the oldest: their descriptors are needed for files that viewers read.
    pub(super) fn drop_oldest(&mut self, files: usize) {
        self.files.drain(..files.min(self.files.len()));
    }

    /// When the oldest file lost the name, if the next file displaces it. None while there is room.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        self.files.front().filter(|_| self.is_full()).map(|late| late.since)
    }

    pub(super) fn remove(&mut self, identity: Identity) -> Option<TailedFile> {
        let at = self.files.iter().position(|late| late.file.file.identity() == identity)?;
        self.files.remove(at).map(|late| late.file)
    }

    /// The present paths of the files.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.files.iter().filter_map(|late| late.file.file.path_now())
    }

    /// Makes the next poll read them, even if they were read a moment ago.
    pub(super) fn poll_next_time(&mut self) {
        self.polled_at = None;
    }

    /// Reads the new bytes, unless the files were read a moment ago. Drops each file that was
    /// truncated or whose time is over.
    pub(super) fn poll(&mut self, now: Instant, poll: &mut Poll) {
        if self.polled_at.is_some_and(|polled_at| now.duration_since(polled_at) < LATE_INTERVAL) {
            return;
        }
        self.polled_at = Some(now);
        self.files.retain_mut(|late| match late.file.read_late(poll) {
            Some(Progress::More) => true,
            Some(Progress::Drained | Progress::Unreadable) => now < late.until,
            None => false,
        });
    }

    /// When to read them next. None when there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        let polled_at = self.polled_at.filter(|_| !self.files.is_empty())?;
        Some(polled_at + LATE_INTERVAL)
    }
}
