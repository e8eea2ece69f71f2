//! One task for one log: it looks when it is woken, and publishes what it finds, once.
//!
//! Each chunk goes out once on a `tokio::sync::broadcast`, whatever the number of viewers. The timeline beside it says
//! what has been published, so that a viewer that missed chunks reads them from the file. Subscribe first, look at
//! the timeline second: then nothing falls between the two.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant as TokioInstant, sleep, sleep_until, timeout};

use crate::log::access::LogPath;
use crate::log::position::Chunk;
use crate::log::timeline::Timeline;
use crate::log::tracker::{Look, Sighting, Tracker};
use crate::log::watch::{Watch, WatchError, Watches};

/// The stat that backs every watch up: file systems without events, hard links, mounts, a queue that overflowed.
pub const BACKSTOP_INTERVAL: Duration = Duration::from_secs(2);
/// The interval where nothing can be watched.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long a log that nobody looks at any more is kept ready for the next.
pub const LINGER: Duration = Duration::from_secs(3);
/// Pause after a look that saw a generation end: it bounds what a storm of truncations costs.
const TURN_PAUSE: Duration = Duration::from_millis(20);
/// So many messages a viewer can be behind before it reads the file instead; a power of two.
pub const BROADCAST_MESSAGES: usize = 32;
/// The last looks before a shutdown take no longer, however fast the log grows.
const LAST_LOOKS: Duration = Duration::from_secs(2);

/// What is broadcast.
#[derive(Clone, Debug)]
pub enum Event {
    /// New bytes.
    Chunk(Arc<Chunk>),
    /// The timeline has turned: look at it.
    Turn,
}

/// The one who follows a log.
#[derive(Debug)]
pub struct Follower {
    log: LogPath,
    timeline: Mutex<Timeline>,
    events: broadcast::Sender<Event>,
    wake: Arc<Notify>,
    asked: AtomicU64,
    answered: watch::Sender<u64>,
    viewers: AtomicUsize,
    polling: AtomicBool,
}

impl Follower {
    pub(super) fn new(log: LogPath) -> Self {
        Self {
            log,
            timeline: Mutex::default(),
            events: broadcast::channel(BROADCAST_MESSAGES).0,
            wake: Arc::default(),
            asked: AtomicU64::new(0),
            answered: watch::channel(0).0,
            viewers: AtomicUsize::new(0),
            polling: AtomicBool::new(false),
        }
    }

    /// Which log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        &self.log
    }

    /// How many look at it.
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

    /// Waits for a look that began after this call. Many who ask at once share one.
    pub async fn refresh(&self) {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        let mut answered = self.answered.subscribe();
        // The sender lives as long as `self`, so this ends with the answer only.
        let _answer = answered.wait_for(|&answered| answered >= mine).await;
    }

    pub(super) fn enter(&self) -> broadcast::Receiver<Event> {
        self.viewers.fetch_add(1, Ordering::SeqCst);
        self.events.subscribe()
    }

    pub(super) fn leave(&self) {
        if self.viewers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake.notify_one();
        }
    }

    pub(super) fn publish(&self, look: Look) {
        for sighting in look.sightings {
            let mut timeline = self.timeline();
            let event = match sighting {
                Sighting::Began { generation, from, reason, file } => {
                    timeline.begin(generation, from, from, reason, file);
                    Event::Turn
                }
                Sighting::Bytes { start, bytes } => {
                    let Some(span) = timeline.extend(start.plus(bytes.len())) else { continue };
                    Event::Chunk(Arc::new(Chunk { span, start, bytes }))
                }
                Sighting::Lost => {
                    timeline.close(true);
                    Event::Turn
                }
                Sighting::Waiting(reason) => {
                    timeline.wait(reason);
                    Event::Turn
                }
            };
            drop(timeline);
            self.send(event);
        }
        self.timeline().prune();
    }

    fn send(&self, event: Event) {
        // Nobody listening is no error: the file keeps the bytes.
        let _receivers = self.events.send(event);
    }
}

/// The watches of one follower: on the directory that its path names, and on the one where its file really lies.
struct Sight {
    watches: Watches,
    held: Vec<(PathBuf, Watch)>,
    complained: bool,
}

impl Sight {
    /// Watches what is to be watched now. False when it can't, and polling is all there is.
    fn renew(&mut self, follower: &Follower, tracker: &Tracker) -> bool {
        let named = follower.log.as_path();
        let mut wanted = vec![named.to_owned()];
        wanted.extend(tracker.real_path().filter(|real| *real != named).map(ToOwned::to_owned));
        self.held.retain(|(path, watch)| wanted.contains(path) && watch.is_alive());
        let mut works = true;
        for path in wanted {
            if self.held.iter().any(|(held, _)| *held == path) {
                continue;
            }
            let directory = path.parent().unwrap_or(&path);
            match self.watches.watch(
                directory,
                path.file_name().unwrap_or(OsStr::new("")),
                &follower.wake,
            ) {
                Ok(watch) => {
                    self.held.push((path, watch));
                    // What happened while nobody watched is found by one more look.
                    follower.wake.notify_one();
                }
                // A directory that is not there has no events to miss but its own coming.
                Err(WatchError::Missing) => {}
                Err(error) => {
                    works = false;
                    if !std::mem::replace(&mut self.complained, true) {
                        tracing::warn!(log = %follower.log.display(), "polling instead of watching: {error}");
                    }
                }
            }
        }
        self.complained &= !works;
        works
    }
}

/// Follows until nobody has looked for a while (`retire` then says whether it may end) or until `closing`.
pub(super) async fn run(
    follower: Arc<Follower>,
    mut tracker: Tracker,
    watches: Watches,
    closing: tokio_util::sync::CancellationToken,
    retire: impl Fn(&Follower) -> bool,
) {
    let mut sight = Sight { watches, held: Vec::new(), complained: false };
    let mut idle_since: Option<Instant> = None;
    let mut next_tick = TokioInstant::now();
    loop {
        let now = TokioInstant::now();
        if now >= next_tick {
            let works = sight.renew(&follower, &tracker);
            follower.polling.store(!works, Ordering::Relaxed);
            next_tick = now + if works { BACKSTOP_INTERVAL } else { POLL_INTERVAL };
        }
        let asked = follower.asked.load(Ordering::SeqCst);
        let real_path = tracker.real_path().map(ToOwned::to_owned);
        let Some((back, look)) = look(tracker).await else { return };
        tracker = back;
        let (more, turned) = (look.more, look.turned);
        follower.publish(look);
        follower.answered.send_replace(asked);
        if tracker.real_path() != real_path.as_deref() {
            next_tick = TokioInstant::now();
            continue;
        }
        if turned {
            sleep(TURN_PAUSE).await;
        }
        if more && !closing.is_cancelled() {
            tokio::task::yield_now().await;
            continue;
        }
        if follower.viewers() > 0 {
            idle_since = None;
        } else if idle_since.get_or_insert_with(Instant::now).elapsed() >= LINGER
            && retire(&follower)
        {
            return;
        }
        tokio::select! {
            () = follower.wake.notified() => {}
            () = sleep_until(next_tick) => {}
            () = closing.cancelled() => break,
        }
    }
    let last_looks = async {
        loop {
            let Some((back, look)) = look(tracker).await else { return };
            tracker = back;
            let more = look.more;
            follower.publish(look);
            if !more {
                return;
            }
        }
    };
    if timeout(LAST_LOOKS, last_looks).await.is_err() {
        tracing::warn!(log = %follower.log.display(), "the log grows faster than it can be read: its end is left unread");
    }
    follower.timeline().end();
    follower.send(Event::Turn);
    follower.answered.send_replace(u64::MAX);
}

async fn look(mut tracker: Tracker) -> Option<(Tracker, Look)> {
    let looked = tokio::task::spawn_blocking(move || {
        let look = tracker.look(Instant::now());
        (tracker, look)
    });
    // It fails only when the runtime is going down.
    looked.await.ok()
}
