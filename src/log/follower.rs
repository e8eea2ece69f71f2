//! One task for one log: it polls when it is woken, and publishes what it finds, once.
//!
//! Each chunk goes out once on a `tokio::sync::broadcast`, whatever the number of viewers. The timeline beside it says
//! what has been published, so that a viewer that missed chunks reads them from the file. Subscribe first, poll at
//! the timeline second: then nothing falls between the two.

pub mod rotation;
pub mod tailed_file;
mod watch_set;

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::log::access::{Access, LogPath};
use crate::log::file::LogFile;
use crate::log::follower::rotation::{FileEvent, FileExtent, Poll, RotationTracker};
use crate::log::follower::tailed_file::{RememberedFile, TailedFile};
use crate::log::follower::watch_set::WatchSet;
use crate::log::position::{Chunk, Generation, Offset};
use crate::log::rotated;
use crate::log::timeline::{Span, Timeline};
use crate::log::watch::{Wake, Watches};

/// The stat that backs every watch up: file systems without events, hard links, mounts, a queue that overflowed.
pub const BACKSTOP_INTERVAL: Duration = Duration::from_secs(2);
/// The interval where nothing can be watched.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long a log that nobody polls at any more is kept ready for the next.
pub const LINGER: Duration = Duration::from_secs(3);
/// Truncations come no faster than one in this time, which bounds what a storm of them costs. One that comes alone
/// holds nothing up.
const CUT_INTERVAL: Duration = Duration::from_millis(20);
/// So many messages a viewer can be behind before it reads the file instead; a power of two.
pub const BROADCAST_MESSAGES: usize = 32;
/// Who asks for a poll is answered by then, though not all may have been read that was there.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Looks that come one so soon after the other are made on one thread, which waits so long for the next wake.
const BUSY_INTERVAL: Duration = Duration::from_millis(2);
/// It leaves the thread to others after this time, however busy the log is.
const BUSY_TIME: Duration = Duration::from_millis(100);
/// Some logs have a thread that waits longer, and for longer. This is for a log with a line now and then, for which the way
/// to a thread and back takes more than the poll.
const STAY_INTERVAL: Duration = Duration::from_millis(25);
const STAY_TIME: Duration = Duration::from_secs(1);
/// So many logs have one at a time. Most of the runtime's threads are for those who come and go.
pub(super) const STAYS_MAX: usize = 16;
/// The last polls before a shutdown take no longer, however fast the log grows.
const LAST_POLLS_MAX: Duration = Duration::from_secs(2);

/// What is broadcast.
#[derive(Clone, Debug)]
pub enum Event {
    /// New bytes.
    Chunk(Arc<Chunk>),
    /// The timeline has turned: poll at it.
    TimelineChanged,
}

/// The one who follows a log.
#[derive(Debug)]
pub struct Follower {
    access: Arc<Access>,
    log: LogPath,
    timeline: Mutex<Timeline>,
    events: broadcast::Sender<Event>,
    wake: Arc<Wake>,
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    viewers: AtomicUsize,
    polling: AtomicBool,
    /// Files that were found again, for the tracker.
    found: Mutex<Vec<TailedFile>>,
    companion: Companion,
}

/// What others make of the log and share for as long as it is followed.
#[derive(Default)]
struct Companion(OnceLock<Arc<dyn Any + Send + Sync>>);

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").finish_non_exhaustive()
    }
}

impl Follower {
    /// Nothing has been published yet. A viewer may be so many `messages` behind, rounded up to a power of two, before it
    /// reads the file instead.
    pub(crate) fn new(access: Arc<Access>, log: LogPath, messages: usize) -> Self {
        Self {
            access,
            log,
            timeline: Mutex::default(),
            events: broadcast::channel(messages).0,
            wake: Arc::default(),
            asked: AtomicU64::new(0),
            answered: watch::channel(0).0,
            viewers: AtomicUsize::new(0),
            polling: AtomicBool::new(false),
            found: Mutex::default(),
            companion: Companion::default(),
        }
    }

    /// What is shared by all who poll at the log, made by the first of them. It lives as long as the follower, and so a
    /// little longer than the last of them. All have to ask for the same type, or each gets one of its own.
    pub fn companion<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let companion = self.companion.0.get_or_init(|| Arc::new(T::default()));
        Arc::clone(companion).downcast().unwrap_or_default()
    }

    /// Which log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        &self.log
    }

    /// How many poll at it.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::SeqCst)
    }

    /// Whether it polls, since the file system gives no events here.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Relaxed)
    }

    /// What has been published. Never held across an await.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all has been published that is there now. Many who ask at once share the polls.
    pub async fn refresh(&self) {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.wake();
        let mut answered = self.answered.subscribe();
        // The sender lives as long as `self`, so this ends with the answer only.
        let _answer = answered.wait_for(|&answered| answered >= mine).await;
    }

    /// Whether the log can be opened now: who comes new is to see no more than what may be read.
    pub async fn can_be_opened(self: &Arc<Self>) -> bool {
        let follower = Arc::clone(self);
        let opening = spawn_blocking(move || follower.access.open(&follower.log).is_ok());
        opening.await.unwrap_or(false)
    }

    /// The span of a position in a file that was rotated away while nobody followed, or was let go since, if the file
    /// still lies beside the log and is the same beyond doubt.
    pub async fn find_rotated(
        self: &Arc<Self>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let known = self.timeline().find(generation, offset);
        if known.is_some() {
            return known;
        }
        let follower = Arc::clone(self);
        let finding = spawn_blocking(move || {
            let file = rotated::find(&follower.access, &follower.log, generation, offset)?;
            follower.take_in(Some(generation), offset, file)
        });
        finding.await.ok()?
    }

    /// What had the name after a file that was rotated away before the first poll, and before what has been followed
    /// since: a span of its own, if the file lies beside the log.
    pub async fn find_next_rotated(self: &Arc<Self>, span: &Arc<Span>) -> Option<Arc<Span>> {
        let file = match span.file() {
            Some(file) => file,
            None => self.find_rotated(span.signed(), span.end()).await?.file()?,
        };
        let until = self.timeline().first_born()?;
        let follower = Arc::clone(self);
        let finding = spawn_blocking(move || {
            let next = rotated::find_next(&follower.access, &follower.log, file.born()?, until)?;
            follower.take_in(None, Offset(0), next)
        });
        finding.await.ok()?
    }

    /// The span of a file that was rotated away before the first poll, and may be that of a position which can't be proved.
    /// It is taken for another one, and has to be begun anew.
    pub async fn find_unproved(self: &Arc<Self>, wanted: Generation) -> Option<Arc<Span>> {
        if self.timeline().latest_of_inode(wanted).is_some() {
            return None;
        }
        let follower = Arc::clone(self);
        let finding = spawn_blocking(move || {
            let file = rotated::find_unproved(&follower.access, &follower.log, wanted)?;
            follower.take_in(None, Offset(0), file)
        });
        finding.await.ok()?
    }

    /// Takes in a file that was found again, as the one that was `asked` for if that was named here, and has it heard for
    /// late writers.
    fn take_in(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Option<Arc<Span>> {
        let end = file.written_end(file.status().ok()?.size).ok()?;
        let held = TailedFile::found(file, end).ok()?;
        let (generation, file) = (held.generation, Arc::clone(&held.file));
        let (span, is_new) =
            self.timeline().add_rotated(asked, offset, generation, held.head(), file, end)?;
        if is_new {
            self.found.lock().unwrap_or_else(PoisonError::into_inner).push(held);
            self.wake.wake();
        }
        Some(span)
    }

    /// Files that were found again since this was asked last.
    pub(crate) fn hand_over(&self, tracker: &mut RotationTracker, now: Instant) {
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        found.into_iter().for_each(|held| tracker.adopt(held, now));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn enter(&self) {
        self.viewers.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn leave(&self) {
        if self.viewers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake.wake();
        }
    }

    /// Publishes what a poll found. The timeline takes it all at once: nobody meets it between two turns.
    pub(crate) fn publish(&self, poll: Poll) {
        let mut events = Vec::with_capacity(poll.events.len());
        let mut timeline = self.timeline();
        for event in poll.events {
            events.push(match event {
                FileEvent::Began { generation, signed, before, reason, file } => {
                    timeline.begin(generation, before, reason, file);
                    timeline.sign(signed);
                    Event::TimelineChanged
                }
                FileEvent::Bytes { start, bytes, signed } => {
                    timeline.sign(signed);
                    let Some(span) = timeline.extend(start, &bytes) else { continue };
                    self.access.metrics().chunks.add(1);
                    Event::Chunk(Arc::new(Chunk { span, start, bytes }))
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
        timeline.prune();
        drop(timeline);
        events.into_iter().for_each(|event| self.send(event));
    }

    /// Nothing comes any more, and nobody is to wait for it.
    pub(crate) fn end(&self) {
        self.timeline().end();
        self.send(Event::TimelineChanged);
        self.answer(u64::MAX);
    }

    /// How often a poll has been asked for. Those that begin after this are an answer to all of them.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Tells so many who asked that all has been published.
    pub(crate) fn answer(&self, asked: u64) {
        self.answered.send_replace(asked);
    }

    fn answered(&self) -> u64 {
        *self.answered.borrow()
    }

    fn send(&self, event: Event) {
        // Nobody listening is no error: the file keeps the bytes.
        let _receivers = self.events.send(event);
    }
}

/// What a follower's task keeps. All that it does may block, so it does it on a blocking thread.
struct FollowerState {
    tracker: RotationTracker,
    sight: WatchSet,
    /// Where the tracker's files lay when the watches were set.
    places: Vec<(PathBuf, bool)>,
    next_renewal: Instant,
    /// When it polled last.
    polled: Option<Instant>,
    /// The answer to those who asked for a poll first.
    owing: Option<PendingRefresh>,
    /// How often a poll had been asked for when it polled last.
    asked: u64,
    /// One for each that may stay longer.
    stays: Arc<Semaphore>,
    closing: CancellationToken,
}

/// An answer that is due when as much has been read as was there when it was asked for.
struct PendingRefresh {
    /// How often a poll had been asked for.
    asked: u64,
    since: Instant,
    extent: Option<FileExtent>,
}

/// What the last of some polls found.
struct PollResult {
    more: bool,
    cut: bool,
}

impl FollowerState {
    /// Looks, publishes what it finds and, where the log is written all the time, stays for the next wakes: to come back
    /// to this thread each time takes longer than a poll.
    fn attend(&mut self, follower: &Follower) -> PollResult {
        let began = Instant::now();
        let stays = Arc::clone(&self.stays);
        let mut stay = None;
        loop {
            let asked = follower.asked();
            // Who asks, asks for everything; the wake may be still to come.
            if std::mem::replace(&mut self.asked, asked) != asked || follower.is_polling() {
                self.tracker.doubt();
            }
            let poll = self.poll(follower);
            let seen = PollResult { more: poll.more, cut: poll.cut };
            follower.publish(poll);
            self.answer(follower, asked, seen.more);
            let now = Instant::now();
            let pause = self.polled.replace(now).map_or(Duration::MAX, |last| now - last);
            if stay.is_none() && pause < STAY_INTERVAL {
                stay = stays.try_acquire().ok();
            }
            let (interval, time) = match stay {
                Some(_) => (STAY_INTERVAL, STAY_TIME),
                None => (BUSY_INTERVAL, BUSY_TIME),
            };
            if seen.more
                || seen.cut
                || pause >= interval
                || now - began > time
                || self.closing.is_cancelled()
                || !follower.wake.wait(interval.min(self.due() - now))
            {
                return seen;
            }
        }
    }

    /// Who asks wants all that is there, which is not all that comes meanwhile: it may grow as fast as it is read.
    fn answer(&mut self, follower: &Follower, asked: u64, more: bool) {
        let is_turning = self.tracker.is_turning();
        if !more && !is_turning {
            follower.answer(asked);
            self.owing = None;
        } else if follower.answered() < asked {
            let owing = self.owing.get_or_insert_with(|| PendingRefresh {
                asked,
                since: Instant::now(),
                extent: self.tracker.extent(),
            });
            let is_read = owing.extent.is_some_and(|extent| self.tracker.has_read(extent));
            if (is_read && !is_turning) || owing.since.elapsed() >= ANSWER_TIME {
                follower.answer(owing.asked);
                self.owing = None;
            }
        }
    }

    fn poll(&mut self, follower: &Follower) -> Poll {
        let now = Instant::now();
        if now >= self.next_renewal || self.sight.is_missing {
            self.renew(follower);
        }
        follower.hand_over(&mut self.tracker, now);
        let poll = self.tracker.poll(now, &follower.wake);
        if poll.turned && self.tracker.places() != self.places {
            self.renew(follower);
        }
        poll
    }

    fn renew(&mut self, follower: &Follower) {
        self.places = self.tracker.places();
        let works = self.sight.renew(&follower.log, &follower.wake, self.places.clone());
        follower.polling.store(!works, Ordering::Relaxed);
        self.next_renewal = Instant::now() + if works { BACKSTOP_INTERVAL } else { POLL_INTERVAL };
    }

    /// When there is something to do though nobody wakes.
    fn due(&self) -> Instant {
        self.tracker.due().map_or(self.next_renewal, |due| due.min(self.next_renewal))
    }
}

/// Follows until nobody has polled for a while (`retire` then says whether it may end) or until `closing`. Gives what
/// the tracker remembers.
pub(super) async fn run(
    follower: Arc<Follower>,
    tracker: RotationTracker,
    watches: Watches,
    closing: CancellationToken,
    stays: Arc<Semaphore>,
    retire: impl Fn(&Follower, Option<RememberedFile>) -> bool,
) {
    let sight = WatchSet::new(watches);
    let mut eye = FollowerState {
        tracker,
        sight,
        places: Vec::new(),
        next_renewal: Instant::now(),
        polled: None,
        owing: None,
        asked: 0,
        stays,
        closing: closing.clone(),
    };
    let mut idle_since: Option<Instant> = None;
    // When all the truncations so far may have come.
    let mut cuts_until = Instant::now();
    loop {
        let Some((back, PollResult { more, cut })) = attend(&follower, eye).await else {
            return follower.end();
        };
        eye = back;
        if cut {
            let now = Instant::now();
            cuts_until = cuts_until.max(now) + CUT_INTERVAL;
            sleep((cuts_until - now).saturating_sub(CUT_INTERVAL)).await;
        }
        if more && !closing.is_cancelled() {
            tokio::task::yield_now().await;
            continue;
        }
        if follower.viewers() > 0 {
            idle_since = None;
        } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= LINGER
            && retire(&follower, eye.tracker.memory())
        {
            // To end a watch blocks for a moment.
            tokio::task::spawn_blocking(move || drop(eye));
            return;
        }
        tokio::select! {
            () = follower.wake.woken() => {}
            () = sleep_until(eye.due().into()) => {}
            () = closing.cancelled() => break,
        }
    }
    let last_polls = async {
        loop {
            eye.tracker.doubt_all();
            let Some((back, PollResult { more, .. })) = attend(&follower, eye).await else {
                return;
            };
            eye = back;
            // A file that took the name a moment ago is part of all that was written.
            match (more, eye.tracker.is_turning()) {
                (true, _) => {}
                (false, true) => sleep_until(eye.due().into()).await,
                (false, false) => return,
            }
        }
    };
    if timeout(LAST_POLLS_MAX, last_polls).await.is_err() {
        tracing::warn!(log = %follower.log.display(), "the log grows faster than it can be read: its end is left unread");
    }
    follower.end();
}

/// Attends to the log on a blocking thread. None when that failed, or the runtime is going down.
async fn attend(
    follower: &Arc<Follower>,
    mut eye: FollowerState,
) -> Option<(FollowerState, PollResult)> {
    let watched = Arc::clone(follower);
    let attended = tokio::task::spawn_blocking(move || {
        let seen = eye.attend(&watched);
        (eye, seen)
    });
    match attended.await {
        Ok(attended) => Some(attended),
        Err(error) => {
            tracing::error!(log = %follower.log.display(), %error, "following has failed");
            None
        }
    }
}
