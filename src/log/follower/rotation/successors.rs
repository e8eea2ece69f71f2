//! The files that have taken a log's name and begin when the present one has been read to its end.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::log::access::{Identity, Refusal};
use crate::log::follower::events::Poll;
use crate::log::follower::replacement::{Comparison, Verdict};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::rotation::present::{Present, Successors};
use crate::log::follower::tailed_file::TailedFile;
use crate::log::wake::Wake;

/// A file that has taken the name begins no sooner than this: events may still report others that
/// had the name before it.
pub(super) const SETTLE_TIME: Duration = Duration::from_millis(5);
/// At most this many files that have taken the name are held open until they begin.
pub(super) const SUCCESSORS_MAX: usize = 16;

impl RotationTracker {
    /// Opens the other file to which the path leads now. The file is held open from now on,
    /// whatever happens to its name.
    pub(super) fn open_successor(&mut self, identity: Identity, now: Instant, poll: &mut Poll) {
        if let Some(successors) = self.present.successors()
            && (successors.files.len() >= SUCCESSORS_MAX
                || successors.files.back().is_some_and(|last| last.file.identity() == identity))
        {
            return;
        }
        let opened = self.chooser.open();
        let tailed = opened.and_then(|chosen| {
            TailedFile::chosen(chosen).map_err(|error| {
                tracing::warn!(log = %self.log.display(), %error, "can't read the file that took the log's name");
                Refusal::Unreadable
            })
        });
        match tailed {
            // The present file got its name back between the lookup and the open.
            Ok(next) if self.present.is(next.file.identity()) => poll.more = true,
            Ok(mut next) => {
                // A file that has lost the name meanwhile may have been opened under its new name.
                next.was_renamed = match self.chooser.identify() {
                    Ok(identity) => identity != next.file.identity(),
                    Err(refusal) => refusal == Refusal::NotFound,
                };
                self.count_opened(now);
                self.present.push_successor(next, now);
            }
            Err(Refusal::Exhausted) if self.present.file().is_some() => {}
            Err(refusal) if !self.present.has_successors() => {
                self.name_is_gone(refusal, now, poll);
            }
            Err(_) => {}
        }
    }

    /// Whether the first of the successors is the present file, written anew.
    pub(super) fn compare_successor(&mut self, now: Instant, wake: &Wake) -> Verdict {
        let Present::Draining { file: Some(file), successors } = &self.present else {
            return Verdict::Other;
        };
        let Some(next) = successors.files.front() else { return Verdict::Other };
        let is_next_match = self.chooser.is_pattern() && file.real_path != next.real_path;
        if is_next_match
            || file.unreadable_since().is_some()
            || self.late.contains(next.file.identity())
        {
            return Verdict::Other;
        }
        let known = self.comparison.take().filter(|known| known.is_of(file, next));
        let mut comparison = known.unwrap_or_else(|| Comparison::new(file, next, now));
        let may_grow = successors.files.len() == 1 && !wake.has_renamed();
        let verdict = comparison.go_on(file, next, may_grow, now);
        self.comparison = Some(comparison);
        verdict
    }

    /// The present file goes on in the first of the successors. Those who still write to what it
    /// was are heard as late writers.
    pub(super) fn go_on_in_successor(&mut self, now: Instant, poll: &mut Poll) {
        self.comparison = None;
        self.make_room_for_late_file(now, poll);
        let Some(next) = self.take_successor(0) else { return };
        self.followed.add(&next.file);
        let Some(present) = self.present.file_mut() else { return };
        let (event, late) = present.go_on_in(next);
        poll.events.push(event);
        self.late.push(late, now, now + self.rotate_wait);
        // Files in between were other states of the same log.
        self.appearances.forgive();
        // The name may have gone on to another file meanwhile.
        (poll.rotated, poll.more) = (true, true);
    }

    /// Whether the successors still have to wait. They never wait when there is no room for more
    /// of them.
    pub(super) fn is_too_early(&self, now: Instant) -> bool {
        let successors = self.present.successors();
        let is_settling =
            successors.is_some_and(|successors| now.duration_since(successors.since) < SETTLE_TIME);
        let is_full = successors.is_some_and(|successors| successors.files.len() >= SUCCESSORS_MAX);
        (is_settling || self.next_rotation_at.is_some_and(|at| now < at)) && !is_full
    }

    /// The next file that had the name and was renamed, according to the events. None when all of
    /// them are known.
    pub(super) fn open_renamed(&mut self, now: Instant, wake: &Wake) -> Option<TailedFile> {
        let mut settled = None;
        while let Some(path) = wake.first_renamed() {
            let log = self.access.locate(path.as_os_str().as_bytes()).ok();
            let Some(admitted) =
                log.and_then(|log| self.reserve.open(|| self.access.open(&log)).ok())
            else {
                // It may have moved on, or have got the log's name back, in an event that is not handled yet.
                if settled.as_ref() == Some(&path) {
                    wake.take_renamed(&path);
                } else {
                    wake.settle();
                    settled = Some(path);
                }
                continue;
            };
            wake.take_renamed(&path);
            let identity = admitted.identity();
            if let Some(at) = self.position_in_successors(identity) {
                return self.take_successor(at);
            }
            // A lookup of the name may have found the file long before its event comes.
            if !self.present.is(identity)
                && !self.late.contains(identity)
                && let Ok(mut next) = TailedFile::new(admitted)
                && !self.followed.contains(&next.file)
            {
                next.was_renamed = true;
                self.count_opened(now);
                return Some(next);
            }
        }
        None
    }

    pub(super) fn position_in_successors(&self, identity: Identity) -> Option<usize> {
        let mut files = self.present.successors()?.files.iter();
        files.position(|next| next.file.identity() == identity)
    }

    /// Removes one of the successors and returns it. After the last one, the next poll has to check
    /// the name of the present file.
    pub(super) fn take_successor(&mut self, at: usize) -> Option<TailedFile> {
        let Present::Draining { file, successors } = &mut self.present else { return None };
        let next = successors.files.remove(at);
        if successors.files.is_empty() {
            self.present = match file.take() {
                Some(file) => Present::Named { file, checked_at: None },
                None => Present::default(),
            };
        }
        next
    }

    /// Called when a file that had the name earlier is found. If the present file still has the
    /// name, or is known to have lost it later, then it began too early, and becomes the first
    /// successor. Returns whether that happened.
    pub(super) fn put_present_behind(&mut self, now: Instant, wake: &Wake) -> bool {
        // Looked up anew: since the poll began, the present file may have lost the name, and others
        // that had it after that may have been reported.
        let named = self.chooser.identify().ok();
        let is_later = self.present.file().is_some_and(|tailed| {
            named == Some(tailed.file.identity())
                || tailed.file.path_now().is_some_and(|path| wake.has_renamed_to(&path))
        });
        if !is_later {
            return false;
        }
        let (file, successors) = std::mem::take(&mut self.present).into_parts();
        let mut successors =
            successors.unwrap_or_else(|| Successors { files: VecDeque::new(), since: now });
        if let Some(file) = file {
            successors.files.push_front(file);
        }
        self.present = Present::Draining { file: None, successors };
        true
    }
}
