//! What the follower has published, compared with what was written.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::log_files::LogFiles;
use crate::log::access::Identity;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::tailed_file::RememberedFile;
use crate::log::timeline::{OLD_FILES_MAX, ROTATED_NUMBER_MAX, Reason, WaitReason};
use crate::log::{Access, Follower, Generation, LogPath, Offset, Presence, Subscription};

const ROTATE_WAIT: Duration = Duration::from_secs(5);

/// How a follower ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is killed. The next follower remembers nothing.
    Killed,
    /// Nobody viewed the log for a while. The next follower gets what this one remembered.
    Retired,
    /// The server shuts down, after everything is published.
    Closed,
}

/// A generation without its signature, which may grow.
pub(super) type Key = (Identity, u32);

pub(super) fn key(generation: Generation) -> Key {
    (generation.identity, generation.nonce)
}

/// The published content of a generation, from the file's first byte on.
pub(super) struct PublishedGeneration {
    pub(super) file: usize,
    /// The file's epoch when the generation was first published.
    pub(super) epoch: usize,
    pub(super) bytes: Vec<u8>,
    /// A truncation was published.
    pub(super) lost: bool,
}

/// A span as it was published.
pub(super) struct PublishedSpan {
    pub(super) key: Key,
    pub(super) from: Offset,
    pub(super) end: Offset,
    pub(super) reason: Reason,
}

struct Following {
    follower: Arc<Follower>,
    tracker: RotationTracker,
    /// The generation of the file that has the log's name, or that last had it.
    present: Option<Key>,
    /// The generations that were rotated away, and the time until which their late bytes are read.
    late: VecDeque<(Key, Instant)>,
}

/// The followers of the log, one after the other, and everything that they have published.
pub(super) struct Record {
    access: Arc<Access>,
    log: LogPath,
    messages: usize,
    pub(super) now: Instant,
    following: Option<Following>,
    memory: Option<RememberedFile>,
    /// How many followers there have been.
    pub(super) life: usize,
    /// The spans of the present follower.
    pub(super) spans: Vec<PublishedSpan>,
    pub(super) waiting: Option<WaitReason>,
    /// How many files the present follower has begun after another one.
    begun: usize,
    /// The spans of the present follower after which files may be missing.
    pub(super) missed_after: HashSet<u64>,
    pub(super) generations: HashMap<Key, PublishedGeneration>,
    /// Files of which all was in another one when that took their name.
    written_anew: HashSet<usize>,
    /// Files that had the log's name at some poll.
    seen: HashSet<usize>,
    /// Files that had the name between two polls, and were beside the log at the next one.
    rename_away: HashSet<usize>,
}

impl Record {
    pub(super) fn new(log_files: &LogFiles, messages: usize) -> Self {
        let access = Arc::new(Access::new([log_files.root()]).unwrap());
        let log = access.locate(log_files.log.as_os_str().as_encoded_bytes()).unwrap();
        Self {
            access,
            log,
            messages,
            now: Instant::now(),
            following: None,
            memory: None,
            life: 0,
            spans: Vec::new(),
            waiting: None,
            begun: 0,
            missed_after: HashSet::new(),
            generations: HashMap::new(),
            written_anew: HashSet::new(),
            seen: HashSet::new(),
            rename_away: HashSet::new(),
        }
    }

    pub(super) fn is_following(&self) -> bool {
        self.following.is_some()
    }

    pub(super) fn subscribe(&self) -> Subscription {
        Subscription::new(Presence::enter(&self.following.as_ref().unwrap().follower))
    }

    /// The span of this number. None for spans of files that were found again.
    pub(super) fn span(&self, number: u64) -> Option<&PublishedSpan> {
        self.spans.get(usize::try_from(number.checked_sub(ROTATED_NUMBER_MAX + 1)?).unwrap())
    }

    /// The end of the log. None while it has no file.
    pub(super) fn end(&self) -> Option<Offset> {
        self.spans.last().filter(|_| self.waiting.is_none()).map(|span| span.end)
    }

    /// Starts a follower, unless there is one.
    pub(super) fn begin(&mut self, log_files: &mut LogFiles) {
        if self.is_following() {
            return;
        }
        let access = Arc::clone(&self.access);
        let mut tracker = RotationTracker::new(Arc::clone(&access), self.log.clone(), ROTATE_WAIT);
        let poll = tracker.first_poll(access.open(&self.log), self.memory.take()).unwrap();
        let follower = Arc::new(Follower::new(access, self.log.clone(), 0, self.messages));
        self.life += 1;
        self.spans.clear();
        self.waiting = None;
        self.seen.clear();
        self.rename_away.clear();
        log_files.rename_away.clear();
        self.seen.extend(log_files.named);
        let late = VecDeque::new();
        self.following = Some(Following { follower, tracker, present: None, late });
        // The follower does not get the events from before its start.
        log_files.wake.take_all_renamed();
        log_files.wake.take_appearances();
        (log_files.appeared, self.begun) = (0, 0);
        self.missed_after.clear();
        self.take(poll, log_files);
    }

    /// Ends the follower after everything is published.
    pub(super) fn close(&self) {
        self.following.as_ref().unwrap().follower.end();
    }

    pub(super) fn end_follower(&mut self, ending: Ending) {
        let following = self.following.take().unwrap();
        if ending == Ending::Retired {
            self.memory = following.tracker.remembered_file();
        }
    }

    /// Whether the follower has the generation's file open.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.following.as_ref().is_some_and(|Following { present, late, .. }| {
            *present == Some(key)
                || late.iter().any(|&(late, until)| late == key && self.now < until)
        })
    }

    /// The follower polls once.
    pub(super) fn poll(&mut self, log_files: &mut LogFiles, later: Duration) {
        self.now += later;
        self.poll_once(log_files);
    }

    fn poll_once(&mut self, log_files: &mut LogFiles) -> bool {
        let Some(following) = &mut self.following else { return false };
        let asked = following.follower.asked();
        self.seen.extend(log_files.named);
        let rename_away = std::mem::take(&mut log_files.rename_away);
        self.rename_away.extend(rename_away.into_iter().filter(|&file| log_files.is_beside(file)));
        following.follower.hand_over_found_files(&mut following.tracker, self.now);
        let poll = following.tracker.poll(self.now, &log_files.wake);
        let more = poll.more || following.tracker.is_rotating();
        let follower = Arc::clone(&following.follower);
        self.take(poll, log_files);
        if !more {
            follower.answer(asked);
            self.assert_is_up_to_date(log_files);
        }
        more
    }

    /// Polls until everything is read, as the follower does for a refresh.
    pub(super) fn poll_until_all_is_read(&mut self, log_files: &mut LogFiles) {
        for _ in 0..1000 {
            if !self.poll_once(log_files) {
                return;
            }
            self.now += Duration::from_millis(1);
        }
        panic!("the tracker finds no end");
    }

    /// Records what a poll found, and publishes it.
    fn take(&mut self, poll: Poll, log_files: &LogFiles) {
        let (mut grown, mut has_lost) = (HashSet::new(), false);
        for event in &poll.events {
            match event {
                FileEvent::Began { generation, before, reason, .. } => {
                    self.begun += usize::from(matches!(reason, Reason::Rotated | Reason::Replaced));
                    self.turn(key(*generation), before.offset(), *reason, log_files);
                    // A poll tells one truncation. That of a file which is gone back to after it is
                    // told by the next poll, before any bytes of that file.
                    if !has_lost || *reason != Reason::Back {
                        grown.insert(key(*generation));
                    }
                }
                FileEvent::Bytes { start, bytes, head, .. } => {
                    let signed = head.signed;
                    let span = self.spans.last_mut().expect("a span began before");
                    assert_eq!(key(signed), span.key, "of another generation than the span's");
                    assert_eq!(*start, span.end, "{bytes:?} of {signed} do not follow");
                    span.end = start.plus(bytes.len());
                    let known = self.generations.get_mut(&span.key).unwrap();
                    known.bytes.extend_from_slice(bytes);
                    grown.insert(span.key);
                }
                FileEvent::Extended { .. } => panic!("a tracker reads what it publishes"),
                FileEvent::WrittenAnew { generation, file } => {
                    self.go_on_in(key(*generation), file.identity(), log_files);
                    grown.insert(key(*generation));
                }
                FileEvent::FilesMissing => {
                    let (appeared, begun) = (log_files.appeared, self.begun);
                    assert!(appeared > begun, "{appeared} had the name, and {begun} began");
                    self.missed_after.insert(ROTATED_NUMBER_MAX + self.spans.len() as u64);
                }
                FileEvent::Lost => {
                    let span = self.spans.last().expect("a span began before");
                    self.generations.get_mut(&span.key).unwrap().lost = true;
                    grown.remove(&span.key);
                    has_lost = true;
                }
                FileEvent::Waiting(reason) => {
                    self.waiting = Some(*reason);
                    self.following.as_mut().unwrap().present = None;
                }
            }
        }
        for key in grown {
            let known = &self.generations[&key];
            let content = log_files.files[known.file].content();
            assert!(
                content.starts_with(&known.bytes),
                "{key:?} goes on as another file: {} published, {} are there",
                known.bytes.len(),
                content.len()
            );
        }
        self.following.as_ref().unwrap().follower.publish(poll);
    }

    /// Records that a generation goes on in another file.
    fn go_on_in(&mut self, key: Key, file: Identity, log_files: &LogFiles) {
        let next = log_files.file_of(file);
        let known = self.generations.get_mut(&key).expect("a generation that began");
        let old = std::mem::replace(&mut known.file, next);
        known.epoch = log_files.files[next].epochs.len() - 1;
        assert!(!known.lost && !known.bytes.is_empty(), "{key:?} goes on, but nothing was there");
        self.written_anew.insert(old);
        // Late bytes of the old file come under a generation that is told with the first of them.
        let until = self.now + ROTATE_WAIT;
        let following = self.following.as_mut().unwrap();
        assert_eq!(following.present, Some(key), "another generation than the present one");
        following.late.push_back(((log_files.files[old].identity, 0), until));
        while following.late.len() > OLD_FILES_MAX {
            following.late.pop_front();
        }
    }

    /// The file of a generation.
    fn file_of(&self, key: Key, log_files: &LogFiles) -> usize {
        let known = self.generations.get(&key);
        log_files.file_of(known.map_or(key.0, |known| log_files.files[known.file].identity))
    }

    /// Records a span that begins.
    fn turn(&mut self, key: Key, from: Offset, reason: Reason, log_files: &LogFiles) {
        let file = self.file_of(key, log_files);
        // The span of a file that was found again starts where the file ended then.
        let is_found = matches!(reason, Reason::Late | Reason::Back)
            && self.spans.iter().all(|span| span.key != key);
        match self.generations.get_mut(&key) {
            // What was written while nobody followed is history for the next viewers.
            Some(known) if is_found || (reason == Reason::Joined && from.0 > 0) => {
                let content = &log_files.files[file].content()[..from.0 as usize];
                assert!(content.starts_with(&known.bytes), "another file is taken for {key:?}");
                known.bytes = content.to_vec();
                // A file that was written anew may have got the inode of the one before.
                let old = std::mem::replace(&mut known.file, file);
                if old != file {
                    known.epoch = log_files.files[file].epochs.len() - 1;
                    self.written_anew.insert(old);
                }
            }
            Some(known) if reason != Reason::Joined => {
                assert!(!known.lost, "{key:?} goes on though it was truncate");
                assert_eq!(
                    known.bytes.len() as u64,
                    from.0,
                    "{reason:?}: {key:?} goes on elsewhere"
                );
            }
            Some(_) => {}
            None => {
                let is_at_its_place = from.0 == 0 || reason == Reason::Joined || is_found;
                assert!(is_at_its_place, "{reason:?} begins at {from}");
                let bytes = log_files.files[file].content()[..from.0 as usize].to_vec();
                let epoch = log_files.files[file].epochs.len() - 1;
                self.generations
                    .insert(key, PublishedGeneration { file, epoch, bytes, lost: false });
            }
        }
        self.spans.push(PublishedSpan { key, from, end: from, reason });
        self.waiting = None;
        let following = self.following.as_mut().unwrap();
        let until = self.now + ROTATE_WAIT;
        match reason {
            Reason::Late => {}
            Reason::Truncated | Reason::Joined => following.present = Some(key),
            Reason::Rotated | Reason::Replaced | Reason::Back => {
                let before = following.present.replace(key).filter(|before| *before != key);
                following.late.retain(|(late, _)| *late != key);
                if let Some(before) = before {
                    following.late.push_back((before, until));
                    while following.late.len() > OLD_FILES_MAX {
                        following.late.pop_front();
                    }
                    self.assert_is_read(before, log_files, "before the next file begins");
                }
            }
        }
    }

    /// Asserts that the content of a file is published, unless the file was truncated.
    fn assert_is_read(&self, key: Key, log_files: &LogFiles, when: &str) {
        let known = &self.generations[&key];
        let content = log_files.files[known.file].content();
        if self.file_of(key, log_files) == known.file && !known.lost {
            assert_eq!(known.bytes.len(), content.len(), "{when}, of {key:?} is published");
        }
    }

    /// Asserts that nothing is left to be read after a poll that reported that.
    fn assert_is_up_to_date(&self, log_files: &LogFiles) {
        let Some(following) = &self.following else { return };
        let present = following.present;
        if let Some(present) = present {
            self.assert_is_read(present, log_files, "after a poll");
        }
        if let Some(named) = log_files.named {
            let file = present.map(|present| self.generations[&present].file);
            assert_eq!(file, Some(named), "not the file that has the name: {:?}", self.waiting);
        }
    }

    /// Asserts that everything is published, after polls over more time than late bytes may take.
    pub(super) fn assert_all_is_published(&self, log_files: &LogFiles) {
        let following = self.following.as_ref().unwrap();
        for (late, until) in &following.late {
            let is_told = self.generations.contains_key(late);
            if is_told && self.now < *until && self.was_never_cut(*late, log_files) {
                self.assert_is_read(*late, log_files, "though late, all that was written");
            }
        }
        let rename_away = self.rename_away.iter().filter(|&&file| log_files.is_beside(file));
        for &file in self.seen.iter().chain(rename_away) {
            let is_known = self.generations.values().any(|known| known.file == file);
            assert!(
                is_known || self.written_anew.contains(&file),
                "file {file} had the name, and never came"
            );
        }
        // Each generation is the whole content of one epoch of its file, or the start of one.
        for (key, known) in &self.generations {
            let epochs = &log_files.files[known.file].epochs;
            let is_whole =
                epochs[known.epoch..].iter().any(|epoch| epoch.starts_with(&known.bytes));
            assert!(is_whole, "{key:?} is no content of file {}", known.file);
        }
    }

    /// Whether a file was never truncated. Late bytes are not read of a file that was truncated
    /// after it was rotated away.
    fn was_never_cut(&self, key: Key, log_files: &LogFiles) -> bool {
        let known = &self.generations[&key];
        known.epoch + 1 == log_files.files[known.file].epochs.len()
    }
}
