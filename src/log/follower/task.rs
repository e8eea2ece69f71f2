//! What a follower does at each run: it polls its files, publishes what it found and answers
//! refreshes.
//!
//! The task owns the watches and the rotation state. Nothing else changes them, and the pool runs
//! the task on one thread at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::follower::events::{FileExtent, Poll};
use crate::log::follower::pool::Job;
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::schedule::After;
use crate::log::follower::tailed_file::RememberedFile;
use crate::log::follower::watch_set::WatchSet;
use crate::log::follower::{BACKSTOP_INTERVAL, Follower, LINGER, POLL_INTERVAL};
use crate::log::watch::Watches;

/// Truncations in quick succession are published at most this often, which bounds their cost. A
/// single truncation is published at once.
const TRUNCATION_INTERVAL: Duration = Duration::from_millis(20);
/// A refresh is completed after this time, even if not everything has been read.
const REFRESH_TIME_MAX: Duration = Duration::from_secs(10);
/// The last polls at shutdown take at most this long, however fast the log grows.
pub(in crate::log) const LAST_POLLS_TIME_MAX: Duration = Duration::from_secs(2);

/// The entry of a follower in its registry. Its drop removes the follower from there and ends it,
/// however the task ended.
pub(in crate::log) trait Registration: Send {
    /// Removes the follower if nobody views it, and stores what is remembered of its file. Returns
    /// whether it was removed.
    fn retire(&mut self, remembered: Option<RememberedFile>) -> bool;

    /// Stores what is remembered of the file of a log that is complete.
    fn remember(&self, remembered: Option<RememberedFile>);
}

/// One follower's task.
pub(in crate::log) struct FollowerTask<R: Registration> {
    follower: Arc<Follower>,
    registration: R,
    tracker: RotationTracker,
    watches: WatchSet,
    /// The places that are watched.
    places: Vec<(PathBuf, bool)>,
    next_renewal: Instant,
    /// The refresh that is completed next.
    pending: Option<PendingRefresh>,
    /// How many refreshes had been requested at the last poll.
    asked: u64,
    idle_since: Option<Instant>,
    /// The time by which all truncations so far would have come at [`TRUNCATION_INTERVAL`].
    truncations_until: Instant,
    closing_since: Option<Instant>,
}

/// A refresh that is complete when everything has been read that the file had at its request.
struct PendingRefresh {
    /// How many refreshes had been requested.
    asked: u64,
    since: Instant,
    extent: Option<FileExtent>,
}

impl<R: Registration> FollowerTask<R> {
    /// A task without watches. The tracker has already opened the file.
    pub(in crate::log) fn new(
        follower: Arc<Follower>,
        registration: R,
        tracker: RotationTracker,
        watches: Watches,
    ) -> Self {
        let now = Instant::now();
        Self {
            follower,
            registration,
            tracker,
            watches: WatchSet::new(watches),
            places: Vec::new(),
            next_renewal: now,
            pending: None,
            asked: 0,
            idle_since: None,
            truncations_until: now,
            closing_since: None,
        }
    }

    /// Polls once, publishes what was found and completes refreshes. Returns whether there may be
    /// more, and whether a file was truncated. Where it may not wait for the watcher, the watches of files
    /// that have moved are renewed by the next poll.
    fn poll(&mut self, may_wait: bool) -> (bool, bool) {
        let now = Instant::now();
        let asked = self.follower.asked();
        // A refresh needs a full check, even when the wake of an event has not arrived yet.
        if std::mem::replace(&mut self.asked, asked) != asked || self.follower.is_polling() {
            self.tracker.doubt_name();
        }
        if self.follower.is_polling() {
            self.follower.wake.lose_events();
        }
        if may_wait && self.must_renew_watches(now) {
            self.renew_watches();
        }
        self.follower.hand_over_found_files(&mut self.tracker, now);
        let excess = self.follower.take_excess_files();
        self.tracker.close_late_files(excess);
        if self.tracker.has_closed_late_files() {
            self.tracker.set_has_room(self.follower.has_room());
        }
        self.tracker.set_viewers_behind(self.follower.timeline().are_readers_behind());
        let poll = self.tracker.poll(now, &self.follower.wake);
        self.follower.set_unpublished_files(self.tracker.unpublished_files());
        if poll.rotated && self.tracker.watch_places() != self.places {
            if may_wait {
                self.renew_watches();
            } else {
                self.next_renewal = now;
            }
        }
        let Poll { more, rotated, truncated, .. } = poll;
        self.follower.publish(poll);
        if rotated || excess > 0 {
            // Files in use now are closed at the next rotation, or when the next file is found.
            let _in_use = self.follower.close_excess_files();
        }
        self.answer(asked, more);
        (more, truncated)
    }

    /// Completes the refreshes for which everything has been read that was there at their request.
    /// Later bytes do not count, since a log may grow as fast as it is read.
    fn answer(&mut self, asked: u64, more: bool) {
        let is_rotating = self.tracker.is_rotating();
        if !more && !is_rotating {
            self.follower.answer(asked);
            self.pending = None;
        } else if self.follower.answered() < asked {
            let pending = self.pending.get_or_insert_with(|| PendingRefresh {
                asked,
                since: Instant::now(),
                extent: self.tracker.extent(),
            });
            let is_read = pending.extent.is_some_and(|extent| self.tracker.has_read(extent));
            if (is_read && !is_rotating) || pending.since.elapsed() >= REFRESH_TIME_MAX {
                self.follower.answer(pending.asked);
                self.pending = None;
            }
        }
    }

    fn must_renew_watches(&self, now: Instant) -> bool {
        now >= self.next_renewal || self.watches.is_missing()
    }

    fn renew_watches(&mut self) {
        self.places = self.tracker.watch_places();
        let works = self.watches.renew(&self.follower.log, &self.follower.wake, &self.places);
        self.follower.set_polling(!works);
        self.next_renewal = Instant::now() + if works { BACKSTOP_INTERVAL } else { POLL_INTERVAL };
    }

    /// How long the next poll has to wait after a truncation. None when it may come at once.
    fn pause_after_truncation(&mut self, now: Instant) -> Option<Instant> {
        let until = self.truncations_until.max(now);
        self.truncations_until = until + TRUNCATION_INTERVAL;
        (until > now).then_some(until)
    }

    /// Ends the follower when nobody has viewed it for [`LINGER`]. Returns whether it has ended.
    fn retire_if_idle(&mut self, now: Instant) -> bool {
        if self.follower.viewers() > 0 {
            self.idle_since = None;
            return false;
        }
        let since = *self.idle_since.get_or_insert(now);
        let is_idle = now.duration_since(since) >= LINGER || self.follower.is_unwanted();
        is_idle && self.registration.retire(self.tracker.remembered_file())
    }

    /// When to run again after a poll.
    fn after(&mut self, more: bool, truncated: bool) -> After {
        let pause = truncated.then(|| self.pause_after_truncation(Instant::now())).flatten();
        match pause {
            Some(until) => After::NotBefore(until),
            None if more => After::Now,
            None => After::At(self.due()),
        }
    }

    /// The time of the next run that is due without a wake.
    fn due(&self) -> Instant {
        let lingers_until = self.idle_since.map(|since| since + LINGER);
        let dues = [self.tracker.due(), lingers_until].into_iter().flatten();
        dues.fold(self.next_renewal, Instant::min)
    }

    /// One of the last runs: reads and publishes what has been written so far, within
    /// [`LAST_POLLS_TIME_MAX`].
    fn run_last(&mut self) -> After {
        let since = *self.closing_since.get_or_insert_with(Instant::now);
        self.tracker.doubt_everything();
        let (more, _) = self.poll(true);
        let is_late = since.elapsed() >= LAST_POLLS_TIME_MAX;
        match (more, self.tracker.is_rotating()) {
            (true, _) if !is_late => After::Now,
            // A file that took the name a moment ago also belongs to what has been written.
            (false, true) if !is_late => After::At(self.due()),
            (more, is_rotating) => {
                if more || is_rotating {
                    let log = self.follower.log.display();
                    tracing::warn!(%log, "the log grows faster than it can be read: its end is left unread");
                }
                After::Ended
            }
        }
    }
}

impl<R: Registration> Job for FollowerTask<R> {
    fn run(&mut self, closing: bool) -> After {
        if closing {
            return self.run_last();
        }
        // What was written before the log was complete is seen by a poll that begins after that.
        let is_complete = self.follower.is_complete();
        if is_complete {
            self.tracker.doubt_everything();
        }
        let (more, truncated) = self.poll(true);
        if is_complete && !more && !self.tracker.is_rotating() {
            // Whoever comes back gets the same generation.
            self.registration.remember(self.tracker.remembered_file());
            return After::Ended;
        }
        match self.after(more, truncated) {
            After::At(_) if self.retire_if_idle(Instant::now()) => After::Ended,
            after => after,
        }
    }

    fn run_at_once(&mut self) -> Option<After> {
        let (now, follower) = (Instant::now(), &self.follower);
        let is_asked = follower.asked() != self.asked || self.pending.is_some();
        let is_quick = !self.must_renew_watches(now)
            && !is_asked
            && !follower.is_complete()
            && !follower.is_polling()
            && follower.viewers() > 0
            && self.tracker.reads_from_memory(now, &follower.wake);
        if !is_quick {
            return None;
        }
        let (more, truncated) = self.poll(false);
        let has_moved = self.must_renew_watches(Instant::now());
        Some(self.after(more || has_moved, truncated))
    }
}
