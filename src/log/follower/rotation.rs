//! Which file a log's name leads to, across rotations, replacements and truncations.
//!
//! A poll compares what the path leads to with the file that is held open, the file's size with the
//! offset that was read, and the bytes before that offset with those that were read there. So the
//! tracker recognises a rotation, a replacement, a truncation, and a truncation that has grown
//! again, whatever events came. An old file is read to its end before the next one begins, and is
//! still read for the rotate-wait, because writers reopen late. A file that had the name only
//! between two polls is found under its later name, which the events report. If more files had the
//! name than were found, viewers are told that files may be missing. All calls may block.

mod missed;
mod present;
mod successors;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::encoding::Detection;
use crate::log::access::{Access, Admitted, Identity, LogPath, Refusal};
use crate::log::descriptors::Reserve;
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::appearances::Appearances;
use crate::log::follower::events::{FileEvent, FileExtent, Poll};
use crate::log::follower::late_files::LateFiles;
use crate::log::follower::replacement::{Comparison, Verdict};
use crate::log::follower::tailed_file::{Progress, RememberedFile, TailedFile};
use crate::log::pattern::Chooser;
use crate::log::position::{Generation, Offset};
use crate::log::timeline::{Head, Reason, WaitReason};
use crate::log::wake::Wake;
use missed::{FollowedFiles, Search};
use present::Present;
use successors::SETTLE_TIME;

/// A file whose name is gone is followed at least this long, however short the rotate-wait is: a
/// rotation removes the name and creates it again.
const GONE_TIME_MIN: Duration = Duration::from_millis(20);
/// One poll rotates at most this often, and the next rotation comes [`ROTATION_INTERVAL`] later, so
/// that viewers can follow.
const POLL_ROTATIONS_MAX: usize = 3;
const ROTATION_INTERVAL: Duration = Duration::from_millis(2);
/// While viewers are behind, a file that was rotated away stays open at least this long before the
/// next ones displace it. That is enough for a viewer on a busy machine to read it.
const HOLD_TIME: Duration = Duration::from_millis(200);
/// Meanwhile the follower checks this often whether viewers are still behind.
const HOLD_CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// While bytes come, and events report nothing but writes, the path is looked up this often: not
/// every directory on the way to the log is watched.
const NAME_INTERVAL: Duration = Duration::from_millis(500);

/// Follows one path across its files.
#[derive(Debug)]
pub struct RotationTracker {
    access: Arc<Access>,
    log: LogPath,
    rotate_wait: Duration,
    /// Which file the name leads to.
    chooser: Chooser,
    /// Descriptors for opens while the process has no others left.
    reserve: Arc<Reserve>,
    present: Present,
    late: LateFiles,
    /// Whether the first of the successors is the present file, written anew.
    comparison: Option<Comparison>,
    /// Whether each file that had the name is known.
    appearances: Appearances,
    /// The name leads to something that is no log.
    is_untailable: bool,
    /// When missed files were searched for.
    searched_at: Option<Instant>,
    /// What was followed cannot have been missed.
    followed: FollowedFiles,
    /// One more late file may be open.
    has_room: bool,
    /// The next file may begin then, since others began a moment ago.
    next_rotation_at: Option<Instant>,
    /// A viewer still reads a file that was rotated away.
    are_viewers_behind: bool,
}

impl From<Refusal> for WaitReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::Missing,
            Refusal::Forbidden | Refusal::Untailable => Self::Untailable,
            Refusal::Unreadable | Refusal::Exhausted => Self::Unreadable,
            Refusal::Unreachable => Self::Unreachable,
        }
    }
}

impl RotationTracker {
    /// A tracker of a log, before its first poll.
    #[must_use]
    pub fn new(access: Arc<Access>, log: LogPath, rotate_wait: Duration) -> Self {
        let chooser = Chooser::new(Arc::clone(&access), log.clone());
        Self {
            access,
            log,
            rotate_wait,
            chooser,
            reserve: Arc::default(),
            present: Present::default(),
            late: LateFiles::default(),
            comparison: None,
            appearances: Appearances::default(),
            is_untailable: false,
            searched_at: None,
            followed: FollowedFiles::default(),
            has_room: true,
            next_rotation_at: None,
            are_viewers_behind: false,
        }
    }

    /// The same, which opens files with these descriptors where no others are left.
    #[must_use]
    pub(in crate::log) fn with_reserve(self, reserve: Arc<Reserve>) -> Self {
        let chooser = self.chooser.with_reserve(Arc::clone(&reserve));
        Self { reserve, chooser, ..self }
    }

    /// Begins with the opened file, or with the reason why it could not be opened. The first
    /// position is the file's present end: viewers read earlier bytes from the file.
    ///
    /// # Errors
    /// Those of reading the file. A log that can't be opened is waited for.
    pub fn first_poll(
        &mut self,
        opened: Result<Admitted, Refusal>,
        remembered: Option<RememberedFile>,
    ) -> io::Result<Poll> {
        let mut poll = Poll::default();
        match opened {
            Ok(admitted) => {
                self.chooser.begin(&admitted);
                let mut tailed = TailedFile::new(admitted)?;
                self.followed.add(&tailed.file);
                let identity = tailed.file.identity();
                let known = remembered.as_ref().filter(|known| known.identity() == identity);
                let generation = known.map(|known| known.generation);
                tailed.go_to_end(remembered)?;
                let was_truncated = |known: &Generation| *known != tailed.generation;
                if let Some(generation) = generation.filter(was_truncated) {
                    // The file was truncated while nobody followed. Its earlier generation is
                    // recorded as lost, so that positions in it are not mistaken for positions in
                    // the new one.
                    poll.events.push(FileEvent::Began {
                        generation,
                        head: Head { signed: generation, detection: Detection::default() },
                        before: Fingerprint::at(Offset(0)),
                        reason: Reason::Joined,
                        file: Arc::clone(&tailed.file),
                    });
                    poll.events.push(FileEvent::Lost);
                }
                poll.events.push(tailed.goes_on(Reason::Joined));
                tailed.has_begun = true;
                self.appearances.begin(Instant::now());
                self.present = Present::Named { file: tailed, checked_at: None };
            }
            Err(refusal) => self.wait(refusal.into(), &mut poll),
        }
        Ok(poll)
    }

    /// Adds a file that lost the name before the first poll. It is read for late writers as if it
    /// lost the name now.
    pub(in crate::log) fn add_late_file(&mut self, tailed: TailedFile, now: Instant) {
        self.followed.add(&tailed.file);
        let identity = tailed.file.identity();
        let is_successor = self.position_in_successors(identity).is_some();
        if !self.present.is(identity) && !is_successor && !self.late.contains(identity) {
            self.late.push_oldest(tailed, now + self.rotate_wait, now);
        }
    }

    /// What is remembered of the present file when the follower ends. None when there is no file.
    #[must_use]
    pub fn remembered_file(&self) -> Option<RememberedFile> {
        self.present.file().map(TailedFile::remembered)
    }

    /// The paths whose events concern the log. Its own name and the path of its file are marked
    /// true. The present paths of the late files are marked false.
    #[must_use]
    pub fn watch_places(&self) -> Vec<(PathBuf, bool)> {
        let mut places = vec![(self.log.as_path().to_owned(), true)];
        let real = self.present.file().map(|tailed| (tailed.real_path.clone(), true));
        for (place, is_own) in real.into_iter().chain(self.late.paths().map(|path| (path, false))) {
            if !places.iter().any(|(other, _)| *other == place) {
                places.push((place, is_own));
            }
        }
        places
    }

    /// Checks everything that may have changed, and reads new bytes. The wake holds the new paths
    /// of files that had the log's name.
    pub fn poll(&mut self, now: Instant, wake: &Wake) -> Poll {
        let mut poll = Poll::default();
        self.poll_late_files(now, &mut poll);
        if !self.must_check_name(now, wake) {
            self.read_present(now, &mut poll);
            if let Some(FileEvent::Bytes { .. }) = poll.events.last() {
                return poll;
            }
            // The write that woke the follower went to another file.
        }
        self.present.doubt_name();
        self.record_appearances(now, wake);
        let identified = self.chooser.identify();
        let is_untailable = matches!(identified, Err(Refusal::Untailable | Refusal::Forbidden));
        let was_untailable = std::mem::replace(&mut self.is_untailable, is_untailable);
        if is_untailable && !was_untailable {
            // Its event is accounted for.
            self.count_opened(now);
        }
        let named = identified.as_ref().ok().copied();
        let progress = self.read_present(now, &mut poll);
        match identified {
            Ok(identity) if self.present.is(identity) => {
                if self.present.name_confirmed(now) {
                    // It got its name back, which is an appearance of the name.
                    self.count_opened(now);
                }
            }
            Ok(identity) => self.open_successor(identity, now, &mut poll),
            // A failed lookup says nothing about the file that is followed.
            Err(Refusal::Unreadable | Refusal::Exhausted) if self.present.file().is_some() => {}
            Err(refusal) if !self.present.has_successors() && progress != Progress::More => {
                self.name_is_gone(refusal, now, &mut poll);
            }
            Err(_) => {}
        }
        let is_over = match progress {
            Progress::Drained => true,
            Progress::More => false,
            Progress::Unreadable => self.is_given_up(now, wake, &mut poll),
        };
        if is_over {
            self.rotate(now, named, wake, &mut poll);
        }
        let is_named = |identity| self.present.is(identity) && !self.present.has_successors();
        if named.is_some_and(is_named) && !wake.has_renamed() {
            self.settle(now, &mut poll);
        }
        poll
    }

    fn record_appearances(&mut self, now: Instant, wake: &Wake) {
        let (appeared, are_lost) = wake.take_appearances();
        self.appearances.record(appeared, are_lost, now);
    }

    /// A file that has, or had, the name was opened in the poll that began at `now`. If the process was
    /// stopped since then, the events of that time are still to come.
    fn count_opened(&mut self, now: Instant) {
        self.appearances.open(now.max(Instant::now()));
    }

    /// Makes the next poll check what the path leads to, whatever woke the follower.
    pub fn doubt_name(&mut self) {
        self.present.doubt_name();
    }

    /// Makes the next poll check everything, also late files that were read a moment ago.
    pub fn doubt_everything(&mut self) {
        self.doubt_name();
        self.late.poll_next_time();
    }

    /// Sets whether a viewer still reads a file that was rotated away. Rotations then wait a
    /// little, since each may displace such a file.
    pub(super) fn set_viewers_behind(&mut self, are_behind: bool) {
        self.are_viewers_behind = are_behind;
    }

    /// Closes so many of the oldest late files for a while.
    pub(super) fn close_late_files(&mut self, files: usize) {
        self.late.close_oldest(files);
    }

    /// Whether late files are closed because there was no room for them.
    pub(super) fn has_closed_late_files(&self) -> bool {
        self.late.has_closed()
    }

    /// How many old files are open of which nothing has been published.
    pub(super) fn unpublished_files(&self) -> usize {
        self.late.unpublished()
    }

    /// Says whether there is room for one more late file.
    pub(super) fn set_has_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// Whether a poll now does nothing but read the present file, which has new bytes in memory, as far as
    /// is known before.
    pub(super) fn reads_from_memory(&self, now: Instant, wake: &Wake) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        let has_bytes = |tailed: &TailedFile| tailed.file.is_at_hand(tailed.fingerprint.offset());
        self.is_name_fresh(now)
            && !wake.has_name_doubt()
            && !is_due
            && self.present.file().is_some_and(has_bytes)
    }

    /// Whether the path may lead to another file by now, or a rotation is not finished.
    fn must_check_name(&self, now: Instant, wake: &Wake) -> bool {
        let is_doubted = wake.take_name_doubt();
        is_doubted || !self.is_name_fresh(now)
    }

    /// Whether the present file had the name a moment ago, and no rotation is to be finished.
    fn is_name_fresh(&self, now: Instant) -> bool {
        let is_fresh = match &self.present {
            Present::Named { checked_at, .. } => {
                checked_at.is_some_and(|checked_at| now.duration_since(checked_at) < NAME_INTERVAL)
            }
            Present::Absent(_) | Present::Gone { .. } | Present::Draining { .. } => false,
        };
        is_fresh && self.next_rotation_at.is_none()
    }

    /// The present file and its size now. None when nothing is followed, or the size can't be read.
    #[must_use]
    pub fn extent(&self) -> Option<FileExtent> {
        let file = &self.present.file()?.file;
        Some(FileExtent { identity: file.identity(), size: file.status().ok()?.size })
    }

    /// Whether that file is still the present one, and has been read up to that size.
    #[must_use]
    pub fn has_read(&self, FileExtent { identity, size }: FileExtent) -> bool {
        let is_read = |tailed: &TailedFile| tailed.fingerprint.offset().0 >= size;
        self.present.is(identity) && self.present.file().is_some_and(is_read)
    }

    fn read_present(&mut self, now: Instant, poll: &mut Poll) -> Progress {
        self.present.file_mut().map_or(Progress::Drained, |tailed| tailed.read(now, poll))
    }

    /// Whether to give up a file that can't be read. It delays its successors at most for the
    /// rotate-wait. It may have become readable since the last try, so it is read once more first.
    fn is_given_up(&mut self, now: Instant, wake: &Wake, poll: &mut Poll) -> bool {
        let is_awaited = self.present.has_successors() || wake.has_renamed();
        let Some(present) = self.present.file_mut() else { return true };
        let since = present.unreadable_since().unwrap_or(now);
        is_awaited
            && now.duration_since(since) >= self.rotate_wait
            && present.read_now(now, poll) != Progress::More
    }

    /// Continues with the files that have taken the name, in that order. The present file has been
    /// read to its end.
    fn rotate(&mut self, now: Instant, named: Option<Identity>, wake: &Wake, poll: &mut Poll) {
        if self.present.file().is_some() && self.is_too_early(now) {
            return;
        }
        self.next_rotation_at = None;
        if self.present.has_successors() {
            // What had the name before them is known only when their own events have been handled.
            wake.settle();
            self.record_appearances(now, wake);
        }
        for _ in 0..POLL_ROTATIONS_MAX {
            match self.compare_successor(now, wake) {
                Verdict::Same => {
                    self.go_on_in_successor(now, poll);
                    if self.read_present(now, poll) == Progress::Drained {
                        continue;
                    }
                    break;
                }
                Verdict::Undecided(at) => {
                    self.next_rotation_at = at;
                    poll.more |= at.is_none();
                    break;
                }
                Verdict::Other => {}
            }
            if self.waits_for_viewers(now) {
                self.next_rotation_at = Some(now + HOLD_CHECK_INTERVAL);
                break;
            }
            let (next, is_before_present) = match self.open_renamed(now, wake) {
                Some(next) => {
                    let is_before_present = self.put_present_behind(now, wake);
                    // The event came after the present file had lost the name. The last read may
                    // have missed bytes that were written before that, so read once more.
                    if !is_before_present && self.read_present(now, poll) == Progress::More {
                        self.present.push_first_successor(next, now);
                        break;
                    }
                    (next, is_before_present)
                }
                None => {
                    if self.look_for_missed_files(now, named, wake, poll) == Search::Undecided {
                        self.next_rotation_at = Some(now + HOLD_CHECK_INTERVAL);
                        break;
                    }
                    let Some(next) = self.take_successor(0) else { break };
                    (next, false)
                }
            };
            self.begin(next, is_before_present, now, poll);
            self.next_rotation_at = Some(now + ROTATION_INTERVAL);
            if self.read_present(now, poll) != Progress::Drained {
                break;
            }
        }
        if !self.present.has_successors() && !wake.has_renamed() {
            self.next_rotation_at = None;
        }
    }

    /// Before the oldest late file is dropped for another one, what was written to it since is
    /// read.
    fn make_room_for_late_file(&mut self, now: Instant, poll: &mut Poll) {
        if self.late.is_full() {
            self.late.poll_next_time();
            self.poll_late_files(now, poll);
        }
    }

    /// Whether the next rotation would displace a file that viewers may be about to read.
    fn waits_for_viewers(&self, now: Instant) -> bool {
        let is_fresh =
            self.late.oldest_since().is_some_and(|since| now.duration_since(since) < HOLD_TIME);
        self.are_viewers_behind && is_fresh
    }

    /// Makes `next` the present file. The present file before it becomes a late file, unless it is
    /// now a successor of `next`.
    fn begin(&mut self, next: TailedFile, is_before_present: bool, now: Instant, poll: &mut Poll) {
        // A file that gets its name back while it is still read as a late one goes on from there:
        // read twice, its bytes would come twice.
        let (access, reserve) = (&self.access, &self.reserve);
        let reopen = |path: &Path, identity| reopen(access, reserve, path, identity);
        let returned = self.late.remove(next.file.identity(), &reopen);
        let is_back = returned.is_some() || next.has_begun;
        let mut next = match returned {
            Some(mut late) => {
                late.regain_name(next.real_path);
                late
            }
            None => next,
        };
        self.make_room_for_late_file(now, poll);
        let (old, successors) = std::mem::take(&mut self.present).into_parts();
        let reason = match old {
            Some(old) => {
                // The file of a pattern keeps its name when the next one begins.
                let is_next_match = self.chooser.is_pattern() && old.real_path != next.real_path;
                let reason = if is_next_match || old.has_another_name() {
                    Reason::Rotated
                } else {
                    Reason::Replaced
                };
                self.late.push(old, now, now + self.rotate_wait);
                reason
            }
            None if is_before_present => Reason::Rotated,
            None => Reason::Replaced,
        };
        self.followed.add(&next.file);
        poll.rotated = true;
        // The file that had the name when it was looked up may have lost it, or given it back,
        // meanwhile.
        poll.more = true;
        poll.events.push(next.goes_on(if is_back { Reason::Back } else { reason }));
        next.has_begun = true;
        self.present = match successors {
            Some(successors) => Present::Draining { file: Some(next), successors },
            None => Present::Named { file: next, checked_at: None },
        };
    }

    /// Called when the path leads to nothing that can be followed. The present file is followed
    /// for the rotate-wait, then closed.
    fn name_is_gone(&mut self, refusal: Refusal, now: Instant, poll: &mut Poll) {
        let since = match &self.present {
            Present::Gone { since, .. } => *since,
            Present::Absent(_) | Present::Named { .. } | Present::Draining { .. } => now,
        };
        match std::mem::take(&mut self.present) {
            Present::Absent(told) => {
                self.present = Present::Absent(told);
                self.wait(refusal.into(), poll);
            }
            _ if now.duration_since(since) >= self.gone_time() => self.wait(refusal.into(), poll),
            present => {
                self.present = match present.into_parts() {
                    (Some(file), _) => Present::Gone { file, since },
                    (None, _) => Present::default(),
                };
            }
        }
    }

    /// How long a file without the log's name is followed.
    fn gone_time(&self) -> Duration {
        self.rotate_wait.max(GONE_TIME_MIN)
    }

    /// Begins to wait for a file to follow. Each change of the reason is published.
    fn wait(&mut self, reason: WaitReason, poll: &mut Poll) {
        if !matches!(self.present, Present::Absent(Some(told)) if told == reason) {
            self.present = Present::Absent(Some(reason));
            self.chooser.give_up();
            // A pattern may have an older match.
            poll.more |= self.chooser.is_pattern();
            poll.events.push(FileEvent::Waiting(reason));
        }
    }

    /// Reads the late files. If one had new bytes, an event afterwards returns to the present file
    /// or to waiting.
    fn poll_late_files(&mut self, now: Instant, poll: &mut Poll) {
        let before = poll.events.len();
        let (access, reserve) = (&self.access, &self.reserve);
        let reopen = |path: &Path, identity| reopen(access, reserve, path, identity);
        self.late.poll(now, poll, self.has_room, &reopen);
        if poll.events.len() > before {
            poll.events.extend(match &self.present {
                Present::Absent(reason) => reason.map(FileEvent::Waiting),
                present => present.file().map(|present| present.goes_on(Reason::Back)),
            });
        }
    }

    /// Whether another file has taken the name but has not begun yet.
    #[must_use]
    pub fn is_rotating(&self) -> bool {
        self.present.has_successors()
    }

    /// The time of the next poll that is due without a wake. None when none is due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let settled = self.present.successors().map(|successors| successors.since + SETTLE_TIME);
        let gone_until = match &self.present {
            Present::Gone { since, .. } => Some(*since + self.gone_time()),
            Present::Absent(_) | Present::Named { .. } | Present::Draining { .. } => None,
        };
        let dues = [
            gone_until,
            self.late.due(),
            settled.max(self.next_rotation_at),
            self.present.file().and_then(TailedFile::retry_at),
            self.appearances.due(),
        ];
        dues.into_iter().flatten().min()
    }
}

/// Opens a late file again, if it still has this name.
fn reopen(access: &Access, reserve: &Reserve, path: &Path, identity: Identity) -> Option<LogFile> {
    let log = access.locate(path.as_os_str().as_bytes()).ok()?;
    let admitted = reserve.open(|| access.open(&log)).ok()?;
    let admitted = Some(admitted).filter(|admitted| admitted.identity() == identity)?;
    LogFile::with_content(admitted).ok()
}

#[cfg(test)]
mod tests;
