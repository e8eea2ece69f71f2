//! A followed log, and what has been published of it for all its viewers.
//!
//! Each chunk goes out once on a `tokio::sync::broadcast`, whatever the number of viewers. The
//! timeline records what has been published, so that a viewer that missed chunks reads them from
//! the file. Viewers subscribe first and look at the timeline second, so no chunk is missed between
//! the two.
//!
//! `task` polls the files and publishes; `pool` runs the tasks of all followers.

mod appearances;
pub mod events;
mod late_files;
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
use tokio::time::timeout;

use crate::log::access::{Access, LogPath};
use crate::log::blocking;
use crate::log::file::LogFile;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::tailed_file::TailedFile;
use crate::log::pattern::{self, Pattern};
use crate::log::position::{Chunk, Generation, Offset};
use crate::log::rotated::{self, OldFiles};
use crate::log::timeline::{OLD_FILES_MAX, Span, Timeline};
use crate::log::wake::Wake;
use crate::log::watch::Watches;
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
/// A search for a rotated file waits at most this long until other files are closed.
const ROOM_TIME_MAX: Duration = Duration::from_secs(1);
/// A viewer that is more messages behind than this reads the file instead. A power of two.
pub const BROADCAST_MESSAGES: usize = 32;

/// What is broadcast to viewers.
#[derive(Clone, Debug)]
pub enum Event {
    /// New bytes.
    Chunk(Arc<Chunk>),
    /// The timeline has changed in another way: read it.
    TimelineChanged,
}

/// What came after a file that was rotated away before anybody followed the log.
#[derive(Debug)]
pub struct NextRotated {
    /// The span of a file that had the name next and was found. None where the file comes next with
    /// which following began.
    pub span: Option<Arc<Span>>,
    /// Whether it is proved that no other file had the name in between.
    pub follows_directly: bool,
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
            finding: tokio::sync::Mutex::default(),
        }
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
        let follower = Arc::clone(self);
        let opening = move || follower.access.open(&follower.log).is_ok();
        blocking::run(self.device, opening).await.unwrap_or(false)
    }

    /// The span of a position in a file that was rotated away while nobody followed, or that was
    /// closed since. None unless the file still lies beside the log and is provably the same.
    pub async fn find_rotated(
        self: &Arc<Self>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let _finding = self.finding.lock().await;
        let known = self.timeline().find(generation, offset);
        if known.is_some() {
            return known;
        }
        self.find(move |follower| {
            let on_disk = follower.timeline().on_disk(generation);
            let file = rotated::find(&follower.access, &follower.log, on_disk, offset)?;
            follower.take_in(Some(generation), offset, file)
        })
        .await
    }

    /// What had the name after the file of a span that was rotated away before the first poll.
    pub async fn find_next_rotated(self: &Arc<Self>, span: &Arc<Span>) -> NextRotated {
        let unknown = NextRotated { span: None, follows_directly: false };
        let file = match span.file() {
            Some(file) => Some(file),
            None => {
                let found = self.find_rotated(span.signed(), span.end()).await;
                found.and_then(|span| span.file())
            }
        };
        let Some(file) = file else { return unknown };
        let _finding = self.finding.lock().await;
        let span = Arc::clone(span);
        let found = self.find(move |follower| Some(follower.find_next(&span, &file))).await;
        found.unwrap_or(unknown)
    }

    /// The same. It may block.
    fn find_next(&self, before_span: &Span, before: &LogFile) -> NextRotated {
        if let Some(pattern) = self.log.pattern() {
            return self.find_next_match(pattern, before);
        }
        let followed = self.timeline().followed();
        let next = followed.as_ref().and_then(|followed| {
            self.old_files.find_next(&self.access, &self.log, before, followed)
        });
        let found = next.is_some();
        let born = next.as_ref().map_or(followed.map(|followed| followed.born), LogFile::born);
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let is_given = !found || span.is_some();
        let follows_directly = born.is_some_and(|born| {
            before_span.precedes(born, || rotated::follows_directly(before, &self.log, born))
        });
        NextRotated { span, follows_directly: is_given && follows_directly }
    }

    /// The same for a pattern. Its files keep their names, so the next match is the next file. It
    /// may block.
    fn find_next_match(&self, pattern: &Pattern, before: &LogFile) -> NextRotated {
        let (access, log) = (&self.access, &self.log);
        let Ok(all) = pattern::matches(access, log, pattern) else {
            return NextRotated { span: None, follows_directly: false };
        };
        let has_followed = |identity| self.timeline().has_followed(identity);
        let next = rotated::find_next_match(access, &all, before, has_followed);
        let found = next.is_some();
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let follows_directly = !found || span.is_some();
        NextRotated { span, follows_directly }
    }

    /// The span of a file that was rotated away before the first poll, for a position that can't be
    /// proved. It gets a new generation, and viewers read it from its beginning.
    pub async fn find_unproved(self: &Arc<Self>, wanted: Generation) -> Option<Arc<Span>> {
        if self.timeline().latest_of_inode(wanted).is_some() {
            return None;
        }
        self.find(move |follower| {
            let file = rotated::find_unproved(&follower.access, &follower.log, wanted)?;
            follower.take_in(None, Offset(0), file)
        })
        .await
    }

    /// Runs a search for a file, which may block, on a blocking thread.
    async fn find<T: Send + 'static>(
        self: &Arc<Self>,
        search: impl FnOnce(&Self) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let follower = Arc::clone(self);
        let found = blocking::run(self.device, move || search(&follower)).await.flatten();
        if self.excess_files.load(Ordering::SeqCst) > 0 {
            // The next search begins only after late files have been closed for this one.
            let _in_time = timeout(ROOM_TIME_MAX, self.refresh()).await;
        }
        found
    }

    /// Adds a file that was found again to the timeline. It keeps the generation that was `asked`
    /// for if this follower issued that generation. The tracker then reads the file for late
    /// writers.
    fn take_in(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Option<Arc<Span>> {
        let end = file.written_end(file.status().ok()?.size).ok()?;
        let tailed = TailedFile::found(file, end).ok()?;
        let (generation, file) = (tailed.generation, Arc::clone(&tailed.file));
        let (span, is_new) =
            self.timeline().add_rotated(asked, offset, generation, tailed.head(), file, end)?;
        if is_new {
            self.found.lock().push(tailed);
            self.wake.wake();
        }
        let in_use = self.close_excess_files();
        if in_use > 0 {
            self.excess_files.store(in_use, Ordering::SeqCst);
            self.wake.wake();
        }
        Some(span)
    }

    /// Closes old files beyond [`OLD_FILES_MAX`], in the order in which they were opened. Only
    /// files that can be found again by their names are closed. Returns how many are still too
    /// many because they are in use. The call may block.
    fn close_excess_files(&self) -> usize {
        let files = self.timeline().old_files();
        let open = files.len() + self.unpublished_files.load(Ordering::SeqCst);
        let excess = open.saturating_sub(OLD_FILES_MAX);
        if excess == 0 {
            return 0;
        }
        // The last one was opened a moment ago.
        let closable = files.iter().rev().skip(1).rev().filter(|old| !old.is_in_use);
        let named = closable.filter(|old| old.file.path_now().is_some()).take(excess);
        let closed: Vec<_> = named.map(|old| Arc::clone(&old.file)).collect();
        drop(files);
        self.timeline().close_files(&closed);
        excess - closed.len()
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
        let task = FollowerTask::new(Arc::clone(self), registration, tracker, watches);
        pool.add(self.device, Box::new(task), |id| {
            let pool = pool.clone();
            self.wake.on_wake(move || pool.wake(id));
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
            events.push(match event {
                FileEvent::Began { generation, head, before, reason, file } => {
                    self.access.metrics().count_span(reason);
                    timeline.begin(generation, before, reason, file);
                    timeline.sign(head);
                    Event::TimelineChanged
                }
                FileEvent::Bytes { start, bytes, written, head } => {
                    timeline.sign(head);
                    let Some(span) = timeline.extend(start, &bytes) else { continue };
                    self.access.metrics().count_chunk(&bytes);
                    Event::Chunk(Arc::new(Chunk { span, start, bytes, written }))
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
