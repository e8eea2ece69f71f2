//! What the follower has published, held against what was written.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stage::Stage;
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
    /// The next one knows nothing.
    Killed,
    /// Nobody polled for a while. The next one is told what this one knew.
    Retired,
    /// With the server, that has the time to send what there is.
    Closed,
}

/// A generation, however well it is signed.
pub(super) type Key = (Identity, u32);

pub(super) fn key(generation: Generation) -> Key {
    (generation.identity, generation.nonce)
}

/// What has been published of a generation, from the file's first byte on.
pub(super) struct Truth {
    pub(super) file: usize,
    /// Which of the file's epochs it was when it was met first.
    pub(super) epoch: usize,
    pub(super) bytes: Vec<u8>,
    /// It is said that the file was cut.
    pub(super) lost: bool,
}

/// A span as it was published.
pub(super) struct Told {
    pub(super) key: Key,
    pub(super) from: Offset,
    pub(super) end: Offset,
    pub(super) reason: Reason,
}

struct Following {
    follower: Arc<Follower>,
    tracker: RotationTracker,
    /// That of the file that has the name, or had it last.
    present: Option<Key>,
    /// Those that have lost it, and are heard until then.
    late: VecDeque<(Key, Instant)>,
}

/// The followers of the log, one after the other, and all that they have published.
pub(super) struct Record {
    access: Arc<Access>,
    log: LogPath,
    messages: usize,
    pub(super) now: Instant,
    following: Option<Following>,
    memory: Option<RememberedFile>,
    /// How many followers there have been.
    pub(super) life: usize,
    /// Of the present one.
    pub(super) spans: Vec<Told>,
    pub(super) waiting: Option<WaitReason>,
    pub(super) truths: HashMap<Key, Truth>,
    /// Files that had the name when the follower polled.
    seen: HashSet<usize>,
    /// Those that had it before, and lay beside the log by then.
    set_aside: HashSet<usize>,
}

impl Record {
    pub(super) fn new(stage: &Stage, messages: usize) -> Self {
        let access = Arc::new(Access::new([stage.root()]).unwrap());
        let log = access.locate(stage.log.as_os_str().as_encoded_bytes()).unwrap();
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
            truths: HashMap::new(),
            seen: HashSet::new(),
            set_aside: HashSet::new(),
        }
    }

    pub(super) fn is_following(&self) -> bool {
        self.following.is_some()
    }

    pub(super) fn subscribe(&self) -> Subscription {
        Subscription::new(Presence::enter(&self.following.as_ref().unwrap().follower))
    }

    /// The span of this number, if the follower has published it. The others are of files that were found again.
    pub(super) fn span(&self, number: u64) -> Option<&Told> {
        self.spans.get(usize::try_from(number.checked_sub(ROTATED_NUMBER_MAX + 1)?).unwrap())
    }

    /// Where the log ends, if it is there.
    pub(super) fn end(&self) -> Option<Offset> {
        self.spans.last().filter(|_| self.waiting.is_none()).map(|span| span.end)
    }

    /// A follower begins, unless there is one.
    pub(super) fn begin(&mut self, stage: &mut Stage) {
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
        self.set_aside.clear();
        stage.set_aside.clear();
        self.seen.extend(stage.named);
        let late = VecDeque::new();
        self.following = Some(Following { follower, tracker, present: None, late });
        // What befell the name before is no news.
        while stage.wake.next_renamed().is_some() {}
        self.take(poll, stage);
    }

    /// All that there is has been published, and nothing comes any more.
    pub(super) fn close(&self) {
        self.following.as_ref().unwrap().follower.end();
    }

    pub(super) fn cease(&mut self, ending: Ending) {
        let following = self.following.take().unwrap();
        if ending == Ending::Retired {
            self.memory = following.tracker.remembered_file();
        }
    }

    /// Whether the follower has the file open, which has the name or had it a while ago.
    pub(super) fn holds(&self, key: Key) -> bool {
        self.following.as_ref().is_some_and(|Following { present, late, .. }| {
            *present == Some(key)
                || late.iter().any(|&(late, until)| late == key && self.now < until)
        })
    }

    /// The follower polls once. Whether there is more.
    pub(super) fn poll(&mut self, stage: &mut Stage, later: Duration) {
        self.now += later;
        self.look_once(stage);
    }

    fn look_once(&mut self, stage: &mut Stage) -> bool {
        let Some(following) = &mut self.following else { return false };
        let asked = following.follower.asked();
        self.seen.extend(stage.named);
        let set_aside = std::mem::take(&mut stage.set_aside);
        self.set_aside.extend(set_aside.into_iter().filter(|&file| stage.is_beside(file)));
        following.follower.hand_over_found_files(&mut following.tracker, self.now);
        let poll = following.tracker.poll(self.now, &stage.wake);
        let more = poll.more || following.tracker.is_rotating();
        let follower = Arc::clone(&following.follower);
        self.take(poll, stage);
        if !more {
            follower.answer(asked);
            self.assert_is_up_to_date(stage);
        }
        more
    }

    /// As the follower does for who asks for it.
    pub(super) fn look_until_all_is_read(&mut self, stage: &mut Stage) {
        for _ in 0..1000 {
            if !self.look_once(stage) {
                return;
            }
            self.now += Duration::from_millis(1);
        }
        panic!("the tracker finds no end");
    }

    /// Writes down what a poll found, and has it published.
    fn take(&mut self, poll: Poll, stage: &Stage) {
        let mut grown = HashSet::new();
        for event in &poll.events {
            match event {
                FileEvent::Began { generation, before, reason, .. } => {
                    self.turn(key(*generation), before.offset(), *reason, stage);
                    grown.insert(key(*generation));
                }
                FileEvent::Bytes { start, bytes, signed } => {
                    let span = self.spans.last_mut().expect("a span began before");
                    assert_eq!(key(*signed), span.key, "of another generation than the span's");
                    assert_eq!(*start, span.end, "{bytes:?} of {signed} do not follow");
                    span.end = start.plus(bytes.len());
                    let truth = self.truths.get_mut(&span.key).unwrap();
                    truth.bytes.extend_from_slice(bytes);
                    grown.insert(span.key);
                }
                FileEvent::Lost => {
                    let span = self.spans.last().expect("a span began before");
                    self.truths.get_mut(&span.key).unwrap().lost = true;
                    grown.remove(&span.key);
                }
                FileEvent::Waiting(reason) => {
                    self.waiting = Some(*reason);
                    self.following.as_mut().unwrap().present = None;
                }
            }
        }
        for key in grown {
            let truth = &self.truths[&key];
            let content = stage.files[truth.file].content();
            assert!(
                content.starts_with(&truth.bytes),
                "{key:?} goes on as another file: {} published, {} are there",
                truth.bytes.len(),
                content.len()
            );
        }
        self.following.as_ref().unwrap().follower.publish(poll);
    }

    /// A span begins.
    fn turn(&mut self, key: Key, from: Offset, reason: Reason, stage: &Stage) {
        let file = stage.file_of(key.0);
        // A file that was found again goes on where it ended then.
        let is_found = matches!(reason, Reason::Late | Reason::Back)
            && self.spans.iter().all(|span| span.key != key);
        match self.truths.get_mut(&key) {
            // What was written while nobody followed is history to who comes next.
            Some(truth) if is_found || (reason == Reason::Joined && from.0 > 0) => {
                let content = &stage.files[file].content()[..from.0 as usize];
                assert!(content.starts_with(&truth.bytes), "another file is taken for {key:?}");
                truth.bytes = content.to_vec();
            }
            Some(truth) if reason != Reason::Joined => {
                assert!(!truth.lost, "{key:?} goes on though it was cut");
                assert_eq!(
                    truth.bytes.len() as u64,
                    from.0,
                    "{reason:?}: {key:?} goes on elsewhere"
                );
            }
            Some(_) => {}
            None => {
                let is_at_its_place = from.0 == 0 || reason == Reason::Joined || is_found;
                assert!(is_at_its_place, "{reason:?} begins at {from}");
                let bytes = stage.files[file].content()[..from.0 as usize].to_vec();
                let epoch = stage.files[file].epochs.len() - 1;
                self.truths.insert(key, Truth { file, epoch, bytes, lost: false });
            }
        }
        self.spans.push(Told { key, from, end: from, reason });
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
                    self.assert_is_read(before, stage, "before the next file begins");
                }
            }
        }
    }

    /// As far as it can be: what a file holds now has all been published.
    fn assert_is_read(&self, key: Key, stage: &Stage, when: &str) {
        let truth = &self.truths[&key];
        let content = stage.files[truth.file].content();
        if stage.file_of(key.0) == truth.file && !truth.lost {
            assert_eq!(truth.bytes.len(), content.len(), "{when}, of {key:?} is published");
        }
    }

    /// After a poll that left nothing to be read.
    fn assert_is_up_to_date(&self, stage: &Stage) {
        let Some(following) = &self.following else { return };
        let present = following.present;
        if let Some(present) = present {
            self.assert_is_read(present, stage, "after a poll");
        }
        if let Some(named) = stage.named {
            let file = present.map(|present| self.truths[&present].file);
            assert_eq!(file, Some(named), "not the file that has the name: {:?}", self.waiting);
        }
    }

    /// After polls one after the other, over more time than late writers may have to wait.
    pub(super) fn assert_all_is_published(&self, stage: &Stage) {
        let following = self.following.as_ref().unwrap();
        for (late, until) in &following.late {
            if self.now < *until && self.was_never_cut(*late, stage) {
                self.assert_is_read(*late, stage, "though late, all that was written");
            }
        }
        let set_aside = self.set_aside.iter().filter(|&&file| stage.is_beside(file));
        for &file in self.seen.iter().chain(set_aside) {
            let is_known = self.truths.values().any(|truth| truth.file == file);
            assert!(is_known, "file {file} had the name, and never came");
        }
        // What was written is what was published and what is said to be lost: of each generation all, or it was cut.
        for (key, truth) in &self.truths {
            let epochs = &stage.files[truth.file].epochs;
            let is_whole =
                epochs[truth.epoch..].iter().any(|epoch| epoch.starts_with(&truth.bytes));
            assert!(is_whole, "{key:?} is no content of file {}", truth.file);
        }
    }

    /// Nobody hears a file that was cut after it had lost the name.
    fn was_never_cut(&self, key: Key, stage: &Stage) -> bool {
        let truth = &self.truths[&key];
        truth.epoch + 1 == stage.files[truth.file].epochs.len()
    }
}
