//! Files that were rotated away, and are still read for a while because writers reopen late.
//!
//! Each is read until its own deadline, the rotate-wait after it lost the name. There are at most
//! [`OLD_FILES_MAX`]. When a viewer needs the descriptor of one, it is closed, and opened again by
//! the name that it has now: as soon as there is room, or at its deadline.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::follower::events::Poll;
use crate::log::follower::tailed_file::{Progress, RememberedFile, TailedFile};
use crate::log::timeline::OLD_FILES_MAX;

/// Late files are read at most this often. Where both files are written, each such read adds two
/// spans to the timeline.
const LATE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct LateFiles {
    /// Oldest first.
    files: VecDeque<LateFile>,
    /// Those that were closed for viewers, the oldest first.
    closed: VecDeque<ClosedFile>,
    /// When they were read last. None when they are to be read at the next poll.
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

/// What is needed to go on reading a late file that was closed.
#[derive(Debug)]
struct ClosedFile {
    path: PathBuf,
    remembered: RememberedFile,
    since: Instant,
    until: Instant,
}

/// Opens the file at a path, if it is this one.
pub(super) type Reopen<'a> = &'a dyn Fn(&Path, Identity) -> Option<LogFile>;

impl LateFiles {
    pub(super) fn is_full(&self) -> bool {
        self.files.len() + self.closed.len() >= OLD_FILES_MAX
    }

    /// How many open files are known here only.
    pub(super) fn unpublished(&self) -> usize {
        self.files.iter().filter(|late| !late.file.is_published).count()
    }

    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    pub(super) fn contains(&self, identity: Identity) -> bool {
        self.files.iter().any(|late| late.file.file.identity() == identity)
            || self.closed.iter().any(|closed| closed.remembered.identity() == identity)
    }

    /// Adds the file that has just lost the name. If there are too many, the oldest is dropped.
    pub(super) fn push(&mut self, file: TailedFile, since: Instant, until: Instant) {
        self.files.push_back(LateFile { file, since, until });
        while self.files.len() + self.closed.len() > OLD_FILES_MAX {
            let closed = self.closed.front().map(|closed| closed.since);
            match self.files.front() {
                Some(open) if closed.is_none_or(|closed| open.since < closed) => {
                    self.files.pop_front();
                }
                _ => {
                    self.closed.pop_front();
                }
            }
        }
    }

    /// Adds a file that lost the name before all of these, if there is room.
    pub(super) fn push_oldest(&mut self, file: TailedFile, until: Instant, now: Instant) {
        if !self.is_full() {
            self.files.push_front(LateFile { file, since: now, until });
            self.polled_at.get_or_insert(now);
        }
    }

    /// Closes so many of the oldest that have a name: their descriptors are needed for files that
    /// viewers read. A file without a name could not be opened again.
    pub(super) fn close_oldest(&mut self, files: usize) {
        for _ in 0..files {
            let named = self.files.iter().enumerate().find_map(|(at, late)| {
                let path = late.file.file.path_now()?;
                Some((at, path))
            });
            let Some((at, path)) = named else { break };
            let Some(late) = self.files.remove(at) else { break };
            self.closed.push_back(ClosedFile {
                path,
                remembered: late.file.remembered(),
                since: late.since,
                until: late.until,
            });
        }
        self.closed.make_contiguous().sort_by_key(|closed| closed.since);
    }

    /// When the oldest file lost the name, if the next file displaces it. None while there is room.
    pub(super) fn oldest_since(&self) -> Option<Instant> {
        let open = self.files.front().map(|late| late.since);
        let closed = self.closed.front().map(|closed| closed.since);
        [open, closed].into_iter().flatten().min().filter(|_| self.is_full())
    }

    /// Takes the file out, if it is read here. `reopen` opens it if it was closed.
    pub(super) fn remove(&mut self, identity: Identity, reopen: Reopen<'_>) -> Option<TailedFile> {
        if let Some(at) =
            self.closed.iter().position(|closed| closed.remembered.identity() == identity)
        {
            return self.closed.remove(at)?.open(reopen);
        }
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

    /// Reads what came since, unless they were read a moment ago. A file that was truncated, or is
    /// over its time, is dropped. `has_room` says that one more may be open.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        poll: &mut Poll,
        has_room: bool,
        reopen: Reopen<'_>,
    ) {
        if self.polled_at.is_some_and(|polled_at| now.duration_since(polled_at) < LATE_INTERVAL) {
            return;
        }
        // All are wanted at the next poll, whether or not there is room.
        let is_asked = self.polled_at.is_none();
        self.polled_at = Some(now);
        self.open_closed(now, has_room, is_asked, reopen);
        self.files.retain_mut(|late| match late.file.read_late(poll) {
            Some(Progress::More) => true,
            Some(Progress::Drained | Progress::Unreadable) => now < late.until,
            None => false,
        });
        let to_close = self.files.len().saturating_sub(OLD_FILES_MAX);
        self.close_oldest(to_close);
    }

    /// Opens the closed files that are due: the oldest when there is room, and all whose time is
    /// over or that are asked for.
    fn open_closed(
        &mut self,
        now: Instant,
        mut has_room: bool,
        is_asked: bool,
        reopen: Reopen<'_>,
    ) {
        for closed in std::mem::take(&mut self.closed) {
            if !std::mem::take(&mut has_room) && !is_asked && now < closed.until {
                self.closed.push_back(closed);
                continue;
            }
            let (since, until) = (closed.since, closed.until);
            if let Some(file) = closed.open(reopen) {
                self.files.push_back(LateFile { file, since, until });
            }
        }
        self.files.make_contiguous().sort_by_key(|late| late.since);
    }

    /// When to read them next. None when there are none.
    pub(super) fn due(&self) -> Option<Instant> {
        let has_files = !self.files.is_empty() || self.has_closed();
        let polled_at = self.polled_at.filter(|_| has_files)?;
        Some(polled_at + LATE_INTERVAL)
    }
}

impl ClosedFile {
    /// None when another file has its name now, or none.
    fn open(self, reopen: Reopen<'_>) -> Option<TailedFile> {
        let file = reopen(&self.path, self.remembered.identity())?;
        Some(TailedFile::reopened(file, self.remembered))
    }
}
