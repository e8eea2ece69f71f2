//! What really happened to a log's file since the last poll.
//!
//! The tracker is told when to poll, and when it was for writes alone, which move no name. It compares what the path
//! leads to with the file that it holds open, the file's size with its own offset, and the bytes before that offset with those that it read there. So it recognises
//! a rotation, a replacement, a truncation, and a truncation that has grown again, whatever events came or did not
//! come. An old file is read to its end before the new one begins, and is held for the rotate-wait more, because
//! writers reopen late. Files that had the name only between two polls are found under the names that they were given
//! since, which events tell. All its calls block; the follower runs it on a blocking thread.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::log::access::{Access, Admitted, Identity, LogPath, Refusal};
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::tailed_file::{Progress, RememberedFile, TailedFile};
use crate::log::position::{Generation, Offset};
use crate::log::timeline::{OLD_FILES_MAX, Reason, WaitReason};
use crate::log::watch::Wake;

/// Late writers are heard no more often than this: where both files are written, each hearing turns the stream twice.
const LATE_INTERVAL: Duration = Duration::from_millis(100);
/// So long a file that has taken the name waits for the events that tell which others had it before.
const SETTLE_TIME: Duration = Duration::from_millis(5);
/// So many files take the name in one poll at most, and the next ones so much later, so that viewers can follow.
const POLL_ROTATIONS_MAX: usize = 3;
const TURNS_INTERVAL: Duration = Duration::from_millis(2);
/// While bytes come, and events tell of nothing but writes, the path is polled up so often: not all that lies on the way
/// to the log is watched.
const NAME_INTERVAL: Duration = Duration::from_millis(500);
/// So many files that have taken the name are held until it is their turn.
const NEXT_FILES_MAX: usize = 16;

/// One thing that a poll found, in order.
#[derive(Debug)]
pub enum FileEvent {
    /// What follows belongs to this generation, from this offset.
    Began {
        /// The generation.
        generation: Generation,
        /// The same, signed by as much of the file's head as has been read.
        signed: Generation,
        /// Where it goes on, and the bytes that stand before.
        before: Fingerprint,
        /// Why.
        reason: Reason,
        /// Where its bytes are.
        file: Arc<LogFile>,
    },
    /// New bytes.
    Bytes {
        /// The offset of the first.
        start: Offset,
        /// Never empty.
        bytes: Bytes,
        /// The generation as it is signed with them.
        signed: Generation,
    },
    /// The bytes of the present span can't be read any more: the file was truncated.
    Lost,
    /// There is nothing to follow.
    Waiting(WaitReason),
}

/// What a poll found.
#[derive(Debug, Default)]
pub struct Poll {
    /// In order.
    pub events: Vec<FileEvent>,
    /// There may be more right now: poll again at once.
    pub more: bool,
    /// A generation ended.
    pub turned: bool,
    /// It was cut: a storm of these is to be slowed down.
    pub cut: bool,
}

/// How far a file went at some moment.
#[derive(Clone, Copy, Debug)]
pub struct FileExtent {
    identity: Identity,
    size: u64,
}

/// Follows one path over its files.
#[derive(Debug)]
pub struct RotationTracker {
    access: Arc<Access>,
    log: LogPath,
    rotate_wait: Duration,
    present: Option<TailedFile>,
    /// Files that were rotated away, oldest first, with the time until which they are heard.
    late: VecDeque<(TailedFile, Instant)>,
    /// Files that have taken the name since, in that order, and when the first of them was seen.
    next: VecDeque<TailedFile>,
    next_seen: Option<Instant>,
    /// When the next of them may begin.
    turn_at: Option<Instant>,
    /// When the path led to the present file; none when it has to be polled up at the next poll.
    named_at: Option<Instant>,
    /// Since when the path has led to nothing that can be followed.
    gone_since: Option<Instant>,
    late_heard: Option<Instant>,
    waiting: Option<WaitReason>,
}

impl From<Refusal> for WaitReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::Missing,
            Refusal::Forbidden | Refusal::Untailable => Self::Untailable,
            Refusal::Unreadable | Refusal::Exhausted => Self::Unreadable,
        }
    }
}

impl RotationTracker {
    /// A tracker of a log. The first poll tells where it stands.
    #[must_use]
    pub fn new(access: Arc<Access>, log: LogPath, rotate_wait: Duration) -> Self {
        Self {
            access,
            log,
            rotate_wait,
            present: None,
            late: VecDeque::new(),
            next: VecDeque::new(),
            next_seen: None,
            turn_at: None,
            named_at: None,
            gone_since: None,
            late_heard: None,
            waiting: None,
        }
    }

    /// Takes the file as it was opened, or the reason why it was not, and its present end for the first position:
    /// what is there already is read by viewers, from the file.
    ///
    /// # Errors
    /// Those of reading the file; a log that can't be opened is waited for.
    pub fn first_poll(
        &mut self,
        opened: Result<Admitted, Refusal>,
        memory: Option<RememberedFile>,
    ) -> io::Result<Poll> {
        let mut poll = Poll::default();
        match opened {
            Ok(admitted) => {
                let mut held = TailedFile::new(admitted)?;
                let remembered = memory.as_ref().map(|memory| memory.generation);
                held.go_to_end(memory)?;
                let is_cut = |known: &Generation| {
                    known.identity == held.generation.identity && *known != held.generation
                };
                if let Some(generation) = remembered.filter(is_cut) {
                    // It was cut while nobody followed: known as gone, its positions are not taken for the new one's.
                    let (before, file) = (Fingerprint::at(Offset(0)), Arc::clone(&held.file));
                    let reason = Reason::Joined;
                    poll.events.push(FileEvent::Began {
                        generation,
                        signed: generation,
                        before,
                        reason,
                        file,
                    });
                    poll.events.push(FileEvent::Lost);
                }
                poll.events.push(held.goes_on(Reason::Joined));
                held.has_begun = true;
                self.present = Some(held);
            }
            Err(refusal) => self.wait(refusal.into(), &mut poll),
        }
        Ok(poll)
    }

    /// Hears a file that lost the name before the first poll, as it does one that loses it now.
    pub(in crate::log) fn adopt(&mut self, held: TailedFile, now: Instant) {
        let identity = held.file.identity();
        let mut others = self.next.iter().chain(self.late.iter().map(|(held, _)| held));
        let is_known =
            self.is_present(identity) || others.any(|other| other.file.identity() == identity);
        if !is_known && self.late.len() < OLD_FILES_MAX {
            self.late.push_front((held, now + self.rotate_wait));
            self.late_heard.get_or_insert(now);
        }
    }

    /// What is to be kept when nobody follows any more.
    #[must_use]
    pub fn memory(&self) -> Option<RememberedFile> {
        self.present.as_ref().map(TailedFile::memory)
    }

    /// Where events are to be expected: the log's own name and where its file lay, and, marked as not its own, where
    /// files that were rotated away lie now.
    #[must_use]
    pub fn places(&self) -> Vec<(PathBuf, bool)> {
        let mut places = vec![(self.log.as_path().to_owned(), true)];
        let real = self.present.as_ref().map(|held| held.real_path.clone());
        let late = self.late.iter().filter_map(|(held, _)| held.file.path_now());
        let real = real.into_iter().map(|place| (place, true));
        for (place, is_own) in real.chain(late.map(|place| (place, false))) {
            if !places.iter().any(|(other, _)| *other == place) {
                places.push((place, is_own));
            }
        }
        places
    }

    /// Looks at everything that may have changed. The wake knows where files have gone that had the log's name.
    pub fn poll(&mut self, now: Instant, wake: &Wake) -> Poll {
        let mut poll = Poll::default();
        self.hear_late_writers(now, &mut poll);
        if !self.is_name_to_be_seen(now, wake) {
            self.read_present(now, &mut poll);
            if let Some(FileEvent::Bytes { .. }) = poll.events.last() {
                return poll;
            }
            // What was written and is not here went to another file.
        }
        self.named_at = None;
        let led = self.access.identify(&self.log);
        let named = led.as_ref().ok().copied();
        let progress = self.read_present(now, &mut poll);
        match led {
            Ok(identity) if self.is_present(identity) => {
                self.gone_since = None;
                self.named_at = Some(now);
            }
            Ok(identity) => self.hold_next(identity, now, &mut poll),
            // That the path can't be polled up now says nothing about the file that is held.
            Err(Refusal::Unreadable | Refusal::Exhausted) if self.present.is_some() => {}
            Err(refusal) if self.next.is_empty() && progress != Progress::More => {
                self.bear_absence(refusal, now, &mut poll);
            }
            Err(_) => {}
        }
        let since = self.present.as_ref().and_then(TailedFile::unreadable_since);
        let is_over = match progress {
            Progress::Drained => true,
            Progress::More => false,
            // It can't be waited for without end.
            Progress::Unreadable => {
                since.is_some_and(|since| now.duration_since(since) >= self.rotate_wait)
            }
        };
        if is_over {
            self.turn(now, named, wake, &mut poll);
        }
        poll
    }

    /// Has the next poll see what the path leads to, whatever it is made for.
    pub fn doubt(&mut self) {
        self.named_at = None;
    }

    /// Has the next poll see everything, late writers too, though they were heard a moment ago.
    pub fn doubt_all(&mut self) {
        self.doubt();
        self.late_heard = None;
    }

    /// Whether the path may lead elsewhere by now, or something is still to be done for what it led to.
    fn is_name_to_be_seen(&self, now: Instant, wake: &Wake) -> bool {
        let is_doubted = wake.take_doubt();
        let is_known =
            self.named_at.is_some_and(|named_at| now.duration_since(named_at) < NAME_INTERVAL);
        is_doubted || !is_known || self.is_turning() || self.turn_at.is_some()
    }

    fn is_present(&self, identity: Identity) -> bool {
        self.present.as_ref().is_some_and(|held| held.file.identity() == identity)
    }

    /// How far the present file goes now.
    #[must_use]
    pub fn extent(&self) -> Option<FileExtent> {
        let file = &self.present.as_ref()?.file;
        Some(FileExtent { identity: file.identity(), size: file.status().ok()?.size })
    }

    /// Whether as much of it has been read, and it is the present file still.
    #[must_use]
    pub fn has_read(&self, FileExtent { identity, size }: FileExtent) -> bool {
        self.is_present(identity)
            && self.present.as_ref().is_some_and(|held| held.fingerprint.offset().0 >= size)
    }

    /// Reads the present file on.
    fn read_present(&mut self, now: Instant, poll: &mut Poll) -> Progress {
        self.present.as_mut().map_or(Progress::Drained, |held| held.read(now, poll))
    }

    /// The path leads to another file: it is held from now on, whatever becomes of its name.
    fn hold_next(&mut self, identity: Identity, now: Instant, poll: &mut Poll) {
        if self.next.len() >= NEXT_FILES_MAX
            || self.next.back().is_some_and(|held| held.file.identity() == identity)
        {
            return;
        }
        let held = match self.access.open(&self.log) {
            Ok(admitted) => TailedFile::new(admitted).map_err(|error| {
                tracing::warn!(log = %self.log.display(), %error, "can't read the file that took the log's name");
                Refusal::Unreadable
            }),
            Err(refusal) => Err(refusal),
        };
        match held {
            // The old file has come back between the two polls at the path.
            Ok(held) if self.is_present(held.file.identity()) => poll.more = true,
            Ok(mut held) => {
                // One that has lost the name meanwhile may have been found where it lies now.
                held.was_set_aside = match self.access.identify(&self.log) {
                    Ok(led) => led != held.file.identity(),
                    Err(refusal) => refusal == Refusal::NotFound,
                };
                self.next_seen.get_or_insert(now);
                self.next.push_back(held);
            }
            Err(Refusal::Exhausted) if self.present.is_some() => {}
            Err(refusal) if self.next.is_empty() => self.bear_absence(refusal, now, poll),
            Err(_) => {}
        }
    }

    /// Goes on with the files that have taken the name, in that order. The one before has been read to its end.
    fn turn(&mut self, now: Instant, named: Option<Identity>, wake: &Wake, poll: &mut Poll) {
        let is_settling = self.next_seen.is_some_and(|seen| now.duration_since(seen) < SETTLE_TIME);
        let is_early = is_settling || self.turn_at.is_some_and(|turn_at| now < turn_at);
        if self.present.is_some() && is_early && self.next.len() < NEXT_FILES_MAX {
            return;
        }
        self.turn_at = None;
        for _ in 0..POLL_ROTATIONS_MAX {
            let (next, is_put_before) = match self.set_aside(wake) {
                Some(next) => (next, self.put_off_present(now, named, wake)),
                None => match self.next.pop_front() {
                    Some(next) => (next, false),
                    None => break,
                },
            };
            self.succeed(next, is_put_before, now, poll);
            self.turn_at = Some(now + TURNS_INTERVAL);
            if self.read_present(now, poll) != Progress::Drained {
                break;
            }
        }
        if self.next.is_empty() {
            self.next_seen = None;
        }
        if self.next.is_empty() && wake.is_empty() {
            self.turn_at = None;
        }
    }

    /// The next file that had the name and was given another, by what events tell.
    fn set_aside(&mut self, wake: &Wake) -> Option<TailedFile> {
        while let Some(path) = wake.next_aside() {
            let log = self.access.locate(path.as_os_str().as_bytes()).ok();
            let Some(admitted) = log.and_then(|log| self.access.open(&log).ok()) else { continue };
            let identity = admitted.identity();
            if let Some(at) = self.next.iter().position(|held| held.file.identity() == identity) {
                return self.next.remove(at);
            }
            let is_known = self.is_present(identity)
                || self.late.iter().any(|(held, _)| held.file.identity() == identity);
            if !is_known && let Ok(mut held) = TailedFile::new(admitted) {
                held.was_set_aside = true;
                return Some(held);
            }
        }
        None
    }

    /// A file has come to light that had the name before. A present one that has it still, or is known to have lost it
    /// later, began too early: it goes on behind. Whether it does.
    fn put_off_present(&mut self, now: Instant, named: Option<Identity>, wake: &Wake) -> bool {
        let is_later = |held: &mut TailedFile| {
            named == Some(held.file.identity())
                || held.file.path_now().is_some_and(|path| wake.awaits(&path))
        };
        let Some(present) = self.present.take_if(is_later) else { return false };
        self.next_seen.get_or_insert(now);
        self.next.push_front(present);
        true
    }

    /// Another file takes the place of the present one, which is heard for a while yet, or has been put off behind it.
    fn succeed(&mut self, held: TailedFile, is_put_before: bool, now: Instant, poll: &mut Poll) {
        // A file that got its name back while it was still heard goes on: heard twice, its bytes would come twice.
        let returned = self
            .late
            .iter()
            .position(|(late, _)| late.file.identity() == held.file.identity())
            .and_then(|at| self.late.remove(at))
            .map(|(late, _)| late);
        let is_back = returned.is_some() || held.has_begun;
        let mut held = match returned {
            Some(mut late) => {
                late.returned(held.real_path);
                late
            }
            None => held,
        };
        if self.late.len() >= OLD_FILES_MAX {
            // The oldest is let go for this one: what it was told since it was heard last is heard first.
            self.late_heard = None;
            self.hear_late_writers(now, poll);
        }
        let reason = match self.present.take() {
            Some(old) => {
                let reason = if old.was_renamed() { Reason::Rotated } else { Reason::Replaced };
                self.late.push_back((old, now + self.rotate_wait));
                while self.late.len() > OLD_FILES_MAX {
                    self.late.pop_front();
                }
                reason
            }
            None if is_put_before => Reason::Rotated,
            None => Reason::Replaced,
        };
        (self.gone_since, self.named_at) = (None, None);
        self.waiting = None;
        poll.turned = true;
        // What had the name when it was polled up may have lost it, or given it back, before this one's turn came.
        poll.more = true;
        poll.events.push(held.goes_on(if is_back { Reason::Back } else { reason }));
        held.has_begun = true;
        self.present = Some(held);
    }

    /// The path leads nowhere, or to a file that can't be had. The file that is held is heard for the rotate-wait, then let go.
    fn bear_absence(&mut self, refusal: Refusal, now: Instant, poll: &mut Poll) {
        let since = *self.gone_since.get_or_insert(now);
        if self.present.is_none() || now.duration_since(since) >= self.rotate_wait {
            self.present = None;
            self.wait(refusal.into(), poll);
        }
    }

    fn wait(&mut self, reason: WaitReason, poll: &mut Poll) {
        if self.waiting != Some(reason) {
            self.waiting = Some(reason);
            poll.events.push(FileEvent::Waiting(reason));
        }
    }

    fn hear_late_writers(&mut self, now: Instant, poll: &mut Poll) {
        if self.late_heard.is_some_and(|heard| now.duration_since(heard) < LATE_INTERVAL) {
            return;
        }
        self.late_heard = Some(now);
        let before = poll.events.len();
        self.late.retain_mut(|(held, until)| match held.hear(poll) {
            Some(Progress::More) => true,
            Some(Progress::Drained | Progress::Unreadable) => now < *until,
            None => false,
        });
        if poll.events.len() > before {
            poll.events.extend(match &self.present {
                Some(present) => Some(present.goes_on(Reason::Back)),
                None => self.waiting.map(FileEvent::Waiting),
            });
        }
    }

    /// Whether another file has taken the name, and has not begun yet.
    #[must_use]
    pub fn is_turning(&self) -> bool {
        !self.next.is_empty()
    }

    /// When there is something to poll at though nothing wakes.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let late = (!self.late.is_empty()).then_some(self.late_heard).flatten();
        let dues = [
            late.map(|heard| heard + LATE_INTERVAL),
            self.next_seen.map(|seen| seen + SETTLE_TIME).max(self.turn_at),
            self.present.as_ref().and_then(TailedFile::retry_at),
        ];
        dues.into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    /// More files than are heard at a time.
    const FILES: usize = OLD_FILES_MAX + 3;

    #[test]
    fn a_file_that_began_before_earlier_ones_came_to_light_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let aside = |number: usize| directory.path().join(format!("a.log.{number}"));
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let mut tracker =
            RotationTracker::new(Arc::clone(&access), log.clone(), Duration::from_secs(5));
        std::fs::write(&path, "").unwrap();
        tracker.first_poll(access.open(&log), None).unwrap();
        for number in 0..FILES {
            std::fs::rename(&path, aside(number)).unwrap();
            std::fs::write(&path, format!("file {number}\n")).unwrap();
        }
        let (wake, began) = (Wake::default(), Instant::now());
        let (mut bytes, mut reasons) = (Vec::new(), Vec::new());
        for milliseconds in 0..200 {
            // The events come when the last file has begun already.
            if milliseconds == 20 {
                (0..FILES).for_each(|number| wake.renamed(&path, &aside(number), true));
            }
            for event in tracker.poll(began + Duration::from_millis(milliseconds), &wake).events {
                match event {
                    FileEvent::Began { reason, .. } => reasons.push(reason),
                    FileEvent::Bytes { bytes: read, .. } => bytes.extend_from_slice(&read),
                    other => panic!("{other:?}"),
                }
            }
        }
        let order = [FILES - 1].into_iter().chain(0..FILES - 1);
        let expected: String = order.map(|number| format!("file {number}\n")).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{reasons:?}");
        assert_eq!(reasons.last(), Some(&Reason::Back), "{reasons:?}");
    }

    #[test]
    fn a_file_over_which_the_next_is_renamed_was_replaced_whenever_that_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let mut tracker =
            RotationTracker::new(Arc::clone(&access), log.clone(), Duration::from_secs(5));
        std::fs::write(&path, "").unwrap();
        tracker.first_poll(access.open(&log), None).unwrap();
        let next = directory.path().join("next");
        let renaming = std::thread::spawn(move || {
            for _ in 0..3000 {
                std::fs::write(&next, "").unwrap();
                std::fs::rename(&next, &path).unwrap();
            }
        });
        let (wake, mut now, mut turns) = (Wake::default(), Instant::now(), 0);
        while !renaming.is_finished() {
            now += TURNS_INTERVAL.max(SETTLE_TIME);
            for event in tracker.poll(now, &wake).events {
                if let FileEvent::Began { reason, .. } = event {
                    assert_eq!(reason, Reason::Replaced, "after {turns} others");
                    turns += 1;
                }
            }
        }
        renaming.join().unwrap();
        assert!(turns > 0);
    }

    #[test]
    fn a_file_that_nobody_held_is_known_by_its_head_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        for (content, is_known) in [("", false), ("one", false), ("line\n", true)] {
            std::fs::write(&path, content).unwrap();
            let follow = |memory| {
                let mut tracker =
                    RotationTracker::new(Arc::clone(&access), log.clone(), Duration::from_secs(5));
                let poll = tracker.first_poll(access.open(&log), memory).unwrap();
                let began = poll.events.iter().rev().find_map(|event| match event {
                    FileEvent::Began { generation, .. } => Some(*generation),
                    _ => None,
                });
                (began.unwrap(), tracker.memory())
            };
            let (before, memory) = follow(None);
            let (after, _) = follow(memory);
            assert_eq!(before == after, is_known, "{content:?}: {before:?} and {after:?}");
        }
    }

    #[test]
    fn what_was_there_is_read_before_what_came_since() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut file = File::create(&path).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let mut tracker = RotationTracker::new(Arc::clone(&access), log.clone(), Duration::ZERO);
        tracker.first_poll(access.open(&log), None).unwrap();
        let much = vec![b'x'; 64 << 20];
        file.write_all(&much).unwrap();
        let there = tracker.extent().unwrap();
        file.write_all(&much).unwrap();
        let (wake, now) = (Wake::default(), Instant::now());
        let mut read = 0;
        while !tracker.has_read(there) {
            assert!(read < much.len(), "all of it has been read");
            let poll = tracker.poll(now, &wake);
            assert!(poll.more, "there is more");
            for event in poll.events {
                if let FileEvent::Bytes { bytes, .. } = event {
                    read += bytes.len();
                }
            }
        }
        assert!(read >= much.len() && read < 2 * much.len(), "{read}");
        std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
        std::fs::write(&path, "").unwrap();
        wake.wake();
        for milliseconds in 0..100 {
            tracker.poll(now + Duration::from_millis(milliseconds), &wake);
        }
        assert!(!tracker.has_read(there), "it is the present file no more");
    }

    #[test]
    fn the_name_is_seen_unless_writes_alone_are_told_and_found() {
        let interval = NAME_INTERVAL.as_millis() as u64;
        for (what, wait, is_written, told, is_seen) in [
            ("a write that is found", 10, true, "a write", false),
            ("a write that went elsewhere", 10, false, "a write", true),
            ("something else beside the write", 10, true, "anything", true),
            ("who polls wants to know", 10, true, "a doubt", true),
            ("a write after a long time", interval, true, "a write", true),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let log = directory.path().join("a.log");
            let mut file = File::create(&log).unwrap();
            let access = Arc::new(Access::new([directory.path()]).unwrap());
            let name = access.locate(log.as_os_str().as_bytes()).unwrap();
            let mut tracker =
                RotationTracker::new(Arc::clone(&access), name.clone(), Duration::ZERO);
            let (wake, start) = (Wake::default(), Instant::now());
            tracker.first_poll(access.open(&name), None).unwrap();
            tracker.poll(start, &wake);
            std::fs::rename(&log, directory.path().join("a.log.1")).unwrap();
            std::fs::write(&log, "").unwrap();
            if is_written {
                file.write_all(b"line\n").unwrap();
            }
            match told {
                "a write" => wake.written(),
                "anything" => wake.wake(),
                _ => tracker.doubt(),
            }
            let poll = tracker.poll(start + Duration::from_millis(wait), &wake);
            assert_eq!(poll.events.len(), usize::from(is_written), "{what}: the bytes");
            assert_eq!(tracker.is_turning(), is_seen, "{what}");
        }
    }
}
