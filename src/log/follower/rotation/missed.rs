//! Files that had the log's name only between two looks of the tracker.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::follower::appearances::Missed;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::rotation::present::{Present, Successors};
use crate::log::follower::rotation::successors::SUCCESSORS_MAX;
use crate::log::follower::tailed_file::TailedFile;
use crate::log::rotated;
use crate::log::timeline::Reason;
use crate::log::wake::Wake;

/// Missed files are searched for at most this often.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The state of a search for files that were missed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// An event may still report them.
    Undecided,
    Over,
}

/// The most files that are remembered as followed. The oldest are forgotten first.
const FOLLOWED_MAX: usize = 4096;

/// The files that the tracker has followed. Another file may get the inode of one that is gone, but
/// is younger.
#[derive(Debug, Default)]
pub(super) struct FollowedFiles(VecDeque<(Identity, Option<SystemTime>)>);

impl FollowedFiles {
    pub(super) fn add(&mut self, file: &LogFile) {
        if !self.contains(file) {
            self.0.truncate(FOLLOWED_MAX - 1);
            self.0.push_front((file.identity(), file.born()));
        }
    }

    pub(super) fn contains(&self, file: &LogFile) -> bool {
        let (identity, born) = (file.identity(), file.born());
        // A file system may not say when a file was created.
        let is_same =
            |other: Option<SystemTime>| other.is_none() || born.is_none() || other == born;
        self.0.iter().any(|(other, time)| *other == identity && is_same(*time))
    }
}

impl RotationTracker {
    /// The present file has the name, and no successor is known. If events report more files
    /// nevertheless, they had the name before it, and viewers learn that now.
    pub(super) fn settle(&mut self, now: Instant, poll: &mut Poll) {
        if self.chooser.is_pattern() {
            return;
        }
        self.appearances.confirm_first(now);
        match self.appearances.missed(0, now) {
            Missed::Nothing => self.appearances.confirm(),
            Missed::Undecided => self.present.doubt_name(),
            Missed::Files(_) => {
                self.appearances.confirm();
                poll.events.push(FileEvent::FilesMissing);
                poll.events.extend(self.present.file().map(|file| file.goes_on(Reason::Back)));
            }
        }
    }

    /// Looks whether other files had the name between the present one and its first successor.
    /// Those that lie where old files do become successors before it. For others, viewers are told
    /// that files may be missing.
    pub(super) fn look_for_missed_files(
        &mut self,
        now: Instant,
        named: Option<Identity>,
        wake: &Wake,
        poll: &mut Poll,
    ) -> Search {
        // The files of a pattern keep their names, so none of them is missed.
        if self.chooser.is_pattern() {
            return Search::Over;
        }
        let Some(Successors { files, .. }) = self.present.successors() else { return Search::Over };
        if files.front().is_none_or(|next| next.was_found) {
            return Search::Over;
        }
        if wake.has_events() && self.appearances.are_events_outstanding(now) {
            return Search::Undecided;
        }
        let last = files.back().map(|last| last.file.identity());
        let to_open = named.is_some() && named != last;
        let missed = match self.appearances.missed(usize::from(to_open), now) {
            Missed::Undecided => return Search::Undecided,
            Missed::Files(missed) => Some(missed),
            Missed::Nothing
                if self.appearances.are_events_lost() && !self.is_followed_directly() =>
            {
                if self.appearances.may_events_be_late(wake.has_events(), now) {
                    return Search::Undecided;
                }
                None
            }
            Missed::Nothing => return Search::Over,
        };
        self.appearances.forgive();
        let found = self.find_missed_files(now);
        if missed != Some(found.len()) {
            poll.events.push(FileEvent::FilesMissing);
        }
        found.into_iter().rev().for_each(|file| self.present.push_first_successor(file, now));
        Search::Over
    }

    /// Whether the times of the present file and of its first successor prove that no other file
    /// had the name in between. True where no file is present: viewers know that they wait.
    fn is_followed_directly(&self) -> bool {
        let Present::Draining { file: Some(file), successors } = &self.present else { return true };
        let born = successors.files.front().and_then(|next| next.file.born());
        born.is_some_and(|born| rotated::follows_directly(&file.file, &self.log, born))
    }

    /// The files that were created between the present one and its first successor, and lie where
    /// old files do, under the names of rotated files.
    fn find_missed_files(&mut self, now: Instant) -> Vec<TailedFile> {
        let is_recent = |at: Instant| now.duration_since(at) < SEARCH_INTERVAL;
        let Present::Draining { file: Some(file), successors } = &self.present else {
            return Vec::new();
        };
        let next = successors.files.front().map(|next| &next.file);
        let (Some(next), false) = (next, self.searched_at.is_some_and(is_recent)) else {
            return Vec::new();
        };
        self.searched_at = Some(now);
        let files = rotated::find_between(&self.access, &self.log, &file.file, next);
        let found = files.into_iter().filter_map(|file| {
            let identity = file.identity();
            let is_known =
                self.followed.contains(&file) || self.position_in_successors(identity).is_some();
            TailedFile::missed(file).ok().filter(|_| !is_known)
        });
        found.take(SUCCESSORS_MAX).collect()
    }
}
