//! A followed log, and what has been published of it for all its viewers.
//!
//! Each chunk goes out once on a `tokio::sync::broadcast`, whatever the number of viewers. The
//! timeline records what has been published, so that a viewer that missed chunks reads them from
//! the file. Viewers subscribe first and look at the timeline second, so no chunk is missed between
//! the two.
//!
//! `task` polls the files and publishes; `pool` runs the tasks of all followers. `old_files` finds
//! files that have lost the log's name, `history` puts them in their order, and `elsewhere` does both
//! for logs of other machines.

mod appearances;
mod elsewhere;
pub mod events;
mod fed;
mod history;
mod late_files;
mod old_files;
mod pool;
mod replacement;
pub mod rotation;
mod schedule;
pub mod tailed_file;
mod task;
mod watch_set;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};

use crate::log::access::{Access, LogPath};
use crate::log::blocking;
use crate::log::follower::elsewhere::without_known;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::tailed_file::{RememberedFile, TailedFile};
use crate::log::mirrored::is_mirrored;
use crate::log::nearby;
use crate::log::position::Chunk;
use crate::log::rotated::OldFiles;
use crate::log::timeline::{OLD_FILES_MAX, Timeline, WaitReason};
use crate::log::wake::{Wake, Woken};
use crate::log::watch::Watches;
pub(in crate::log) use fed::publish_feed;
pub use history::HistoryFile;
pub use old_files::NextRotated;
pub(in crate::log) use pool::Pool;
pub(in crate::log) use task::{FollowerTask, LAST_POLLS_TIME_MAX, Registration};

/// A watched log is polled this often even without an event, because some changes cause none: on
/// file systems without events, through hard links, by mounts, or after an overflow of the event
/// queue.
pub const BACKSTOP_INTERVAL: Duration = Duration::from_secs(2);
/// A log that can't be watched is polled this often.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// A log is still followed for this long after its last viewer has left.
pub const LINGER: Duration = Duration::from_secs(3);
/// A viewer that is more messages behind than this reads the file instead. A power of two.
pub const BROADCAST_MESSAGES: usize = 32;
/// A follower's thread does not itself write more than this to viewers, so that it soon can read again.
const NEARBY_BYTES_MAX: usize = 4 * 1024;

/// What is broadcast to viewers.
#[derive(Clone, Debug)]
pub enum Event {
    /// New bytes.
    Chunk(Arc<Chunk>),
    /// The timeline has changed in another way: read it.
    TimelineChanged,
}

/// A log that is followed.
#[derive(Debug)]
pub struct Follower {
    access: Arc<Access>,
    log: LogPath,
    /// The device of the log's file system, if known.
    device: u64,
    timeline: Mutex<Timeline>,
    events: broadcast::Sender<Event>,
    wake: Arc<Wake>,
    /// How many refreshes have been requested.
    asked: AtomicU64,
    /// How many of them have been completed.
    answered: watch::Sender<u64>,
    viewers: AtomicUsize,
    is_polling: AtomicBool,
    /// When nobody views the log, the follower ends at once.
    is_unwanted: AtomicBool,
    /// Nothing will be written to the log any more.
    is_complete: AtomicBool,
    /// Files that were found again and are still to be handed to the tracker.
    found: Mutex<Vec<TailedFile>>,
    /// How many late files the tracker is to drop to make room for files that were found again.
    excess_files: AtomicUsize,
    /// How many old files are open that the timeline does not know.
    unpublished_files: AtomicUsize,
    /// Files that had the name before the first poll.
    old_files: OldFiles,
    /// What was published of the log last, before this follower began.
    recalled: Mutex<Option<RememberedFile>>,
    /// Locked during a search for a file, because another viewer may need the same file.
    finding: tokio::sync::Mutex<()>,
}

impl Follower {
    /// A follower that has published nothing yet. A viewer that is more than `messages` behind,
    /// rounded up to a power of two, reads the file instead.
    pub(crate) fn new(access: Arc<Access>, log: LogPath, device: u64, messages: usize) -> Self {
        Self {
            access,
            log,
            device,
            timeline: Mutex::default(),
            events: broadcast::channel(messages).0,
            wake: Arc::default(),
            asked: AtomicU64::new(0),
            answered: watch::channel(0).0,
            viewers: AtomicUsize::new(0),
            is_polling: AtomicBool::new(false),
            is_unwanted: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            found: Mutex::default(),
            excess_files: AtomicUsize::new(0),
            unpublished_files: AtomicUsize::new(0),
            old_files: OldFiles::default(),
            recalled: Mutex::default(),
            finding: tokio::sync::Mutex::default(),
        }
    }

    /// Says what was published of the log last, before this follower began. Where the file proves to be
    /// the same, it goes on with its generation, also under another name.
    pub(crate) fn recall(&self, file: RememberedFile) {
        *self.recalled.lock() = Some(file);
    }

    /// The log's name.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        &self.log
    }

    /// The device of the log's file system, if known.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Whether the log is on another machine, which does not answer.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        self.timeline().waiting() == Some(WaitReason::Unreachable)
    }

    /// How many viewers it has.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::SeqCst)
    }

    /// Whether it polls because the file system gives no events.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.is_polling.load(Ordering::Relaxed)
    }

    /// What has been published. The guard must not be held across an await.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock()
    }

    /// Waits until everything that the file contains now has been published. Simultaneous
    /// refreshes share the polls.
    pub async fn refresh(&self) {
        let own = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.wake();
        let mut answered = self.answered.subscribe();
        // The sender lives as long as `self`, so only the completion ends this wait.
        let _answer = answered.wait_for(|&answered| answered >= own).await;
    }

    /// Whether the log can be opened now. A new viewer may only see a log that can be read now.
    pub async fn can_be_opened(self: &Arc<Self>) -> bool {
        if is_mirrored(self.log.as_path()) {
            return self.access.admits(&self.log);
        }
        let follower = Arc::clone(self);
        let opening = move || follower.access.open(&follower.log).is_ok();
        blocking::run(self.device, opening).await.unwrap_or(false)
    }

    /// Whether one more old file may be open.
    fn has_room(&self) -> bool {
        let unpublished = self.unpublished_files.load(Ordering::SeqCst);
        self.timeline().old_files().len() + unpublished < OLD_FILES_MAX
    }

    /// Says how many old files are open that the timeline does not know.
    fn set_unpublished_files(&self, files: usize) {
        self.unpublished_files.store(files, Ordering::SeqCst);
    }

    /// How many late files are to be closed. The call resets the number.
    fn take_excess_files(&self) -> usize {
        self.excess_files.swap(0, Ordering::SeqCst)
    }

    /// Gives the tracker the files that were found again since the last call.
    pub(crate) fn hand_over_found_files(&self, tracker: &mut RotationTracker, now: Instant) {
        let found = std::mem::take(&mut *self.found.lock());
        found.into_iter().for_each(|tailed| tracker.add_late_file(tailed, now));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn add_viewer(&self) {
        self.viewers.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove_viewer(&self) {
        if self.viewers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake.wake();
        }
    }

    /// Makes the follower end at once, and not after [`LINGER`], if nobody views it.
    pub(super) fn end_if_idle(&self) {
        self.is_unwanted.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    /// Nothing will be written to the log any more: the follower ends when it has published all.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    /// Whether nothing will be written to the log any more.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::SeqCst)
    }

    fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::SeqCst)
    }

    fn set_polling(&self, is_polling: bool) {
        self.is_polling.store(is_polling, Ordering::Relaxed);
    }

    /// Lets the pool run the follower's task, and again at each wake.
    pub(super) fn start(
        self: &Arc<Self>,
        registration: impl Registration + 'static,
        tracker: RotationTracker,
        watches: Watches,
        pool: &Pool,
    ) {
        let watcher = watches.clone();
        self.wake.on_settle(move || watcher.settle());
        let task = FollowerTask::new(Arc::clone(self), registration, tracker, watches);
        pool.add(self.device, Box::new(task), |id| {
            let pool = pool.clone();
            self.wake.on_wake(move |woken| match woken {
                Woken::ByWrite => pool.wake_for_write(id),
                Woken::Otherwise => pool.wake(id),
            });
        });
    }

    /// Publishes what a poll found. The timeline changes at once: no viewer sees it between two
    /// events.
    pub(crate) fn publish(&self, poll: Poll) {
        let mut events = Vec::with_capacity(poll.events.len());
        let is_append = matches!(poll.events.as_slice(), [FileEvent::Bytes { .. }, ..])
            && poll.events.iter().all(|event| matches!(event, FileEvent::Bytes { .. }));
        let mut timeline = self.timeline();
        for event in poll.events {
            let event = match is_mirrored(self.log.as_path()) {
                true => without_known(event, &timeline),
                false => event,
            };
            events.push(match event {
                FileEvent::Began { generation, head, before, reason, file } => {
                    self.access.metrics().count_span(reason);
                    timeline.begin(generation, before, reason, file);
                    timeline.sign(head);
                    Event::TimelineChanged
                }
                FileEvent::Bytes { start, bytes, written, head } => {
                    timeline.sign(head);
                    if bytes.is_empty() {
                        continue;
                    }
                    let Some(span) = timeline.extend(start, &bytes) else { continue };
                    self.access.metrics().count_chunk(&bytes);
                    Event::Chunk(Arc::new(Chunk { span, start, bytes, written }))
                }
                FileEvent::Extended { to, head } => {
                    timeline.sign(head);
                    timeline.extend_to(to);
                    Event::TimelineChanged
                }
                FileEvent::WrittenAnew { generation, file } => {
                    timeline.replace_file(generation, &file);
                    continue;
                }
                FileEvent::FilesMissing => {
                    timeline.files_are_missing();
                    continue;
                }
                FileEvent::Lost => {
                    timeline.close(true);
                    Event::TimelineChanged
                }
                FileEvent::Waiting(reason) => {
                    timeline.wait(reason);
                    Event::TimelineChanged
                }
            });
        }
        // An append leaves no file to close. Files that viewers have left are closed by the next
        // poll that finds nothing, at the latest after the backstop interval.
        if !is_append {
            timeline.prune();
        }
        drop(timeline);
        let bytes = |event: &Event| match event {
            Event::Chunk(chunk) => chunk.bytes.len(),
            Event::TimelineChanged => 0,
        };
        if events.iter().map(bytes).sum::<usize>() > NEARBY_BYTES_MAX {
            nearby::keep_none();
        }
        events.into_iter().for_each(|event| self.send(event));
    }

    /// Publishes the end of the follower, and completes all refreshes.
    pub(crate) fn end(&self) {
        self.timeline().end();
        self.send(Event::TimelineChanged);
        self.answer(u64::MAX);
    }

    /// Resolves when the follower has ended.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut answered = self.answered.subscribe();
        async move {
            // A follower that was dropped has ended, too.
            let _ended = answered.wait_for(|&answered| answered == u64::MAX).await;
        }
    }

    /// How many refreshes have been requested. A poll that begins after this call completes all of
    /// them.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Completes the first `asked` refreshes.
    pub(crate) fn answer(&self, asked: u64) {
        self.answered.send_replace(asked);
    }

    fn answered(&self) -> u64 {
        *self.answered.borrow()
    }

    fn send(&self, event: Event) {
        // The send fails when the log has no receivers. That is no error: the file has the bytes.
        let _receivers = self.events.send(event);
    }
}
