//! The followers: one for each log, from its first viewer until a little after its last.
//!
//! The number of followers is bounded, and that of followers of files that do not exist is bounded
//! more tightly where no viewer waits for them. A follower leaves the registry however its task
//! ends, so that the next viewer starts a new one. When the registry ends, its followers stay: a
//! viewer that comes then gets what has been published, in the generations that it knows.

mod remembered;
mod subscription;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::access::{Access, Admitted, LogPath, Refusal};
use crate::log::archive::Unpacked;
use crate::log::blocking;
use crate::log::descriptors::Reserve;
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::tailed_file::RememberedFile;
use crate::log::follower::{
    BROADCAST_MESSAGES, Follower, LAST_POLLS_TIME_MAX, Pool, Registration, publish_feed,
};
use crate::log::mirrored::{Feed, Mirror};
use crate::log::mounts::Mounts;
use crate::log::position::{Generation, Offset};
use crate::log::registry::remembered::Remembered;
pub use crate::log::registry::subscription::{Presence, Subscription};
use crate::log::timeline::WaitReason;
use crate::log::watch::Watches;

/// How long a file that was rotated away is still read.
pub const ROTATE_WAIT: Duration = Duration::from_secs(5);
/// At most this many logs are followed at a time. A follower of a file that does not exist takes
/// about 7 KiB.
pub const FOLLOWERS_MAX: usize = 16_384;
/// At most this many files that do not exist are followed for short visits to a log.
pub const MISSING_VISITS_MAX: usize = 64;

/// When there are too many followers, a new viewer waits at most this long for the end of one that
/// nobody views.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// At most this many logs are remembered after nobody follows them any more.
const REMEMBERED_MAX: usize = 1024;
/// How many followed logs are checked against new prefixes at a time, and for how long in all.
const CHECKS_AT_ONCE: usize = 64;
const CHECKS_TIME_MAX: Duration = Duration::from_secs(1);
/// After the last polls at shutdown, threads have this much time to end.
const THREADS_END_TIME: Duration = Duration::from_millis(500);

/// The followers.
pub struct Registry {
    access: Arc<Access>,
    rotate_wait: Duration,
    watches: Watches,
    followers: DashMap<LogPath, Arc<Follower>>,
    /// One permit for each follower that may exist.
    slots: Arc<Semaphore>,
    missing_visits: Arc<Semaphore>,
    /// What is known of files that nobody follows any more.
    remembered: Mutex<Remembered>,
    /// The paths of logs to which nothing will be written any more.
    complete: Mutex<HashSet<PathBuf>>,
    pool: Pool,
    mounts: Mounts,
    reserve: Arc<Reserve>,
    is_closing: AtomicBool,
    /// The tasks of the followers of logs of other machines, and what ends them.
    fed: TaskTracker,
    closing: CancellationToken,
}

/// What to do with a log that can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfMissing {
    Refuse,
    Wait,
    /// Follow it for a short visit, which may find files that had its name.
    Visit,
}

/// What entering a log's follower came to.
enum Entered {
    Subscribed(Subscription),
    /// The log is a compressed file, and has an end only when it is unpacked.
    Unpacking(Arc<Unpacked>),
}

/// The entry of a follower's task in its registry.
struct RegistryEntry {
    registry: Arc<Registry>,
    follower: Arc<Follower>,
    _slots: Slots,
}

/// The permits that a new follower takes from the limits.
struct Slots {
    _slot: OwnedSemaphorePermit,
    _missing_visit: Option<OwnedSemaphorePermit>,
}

impl Registration for RegistryEntry {
    fn retire(&mut self, remembered: Option<RememberedFile>) -> bool {
        let log = self.follower.log();
        // Viewers are counted under the map's guard, so none joins between this check and the
        // removal.
        let is_idle = |_: &_, other: &mut Arc<Follower>| {
            Arc::ptr_eq(other, &self.follower) && other.viewers() == 0
        };
        let is_retired = self.registry.followers.remove_if_mut(log, is_idle).is_some();
        if let (true, Some(remembered)) = (is_retired, remembered) {
            self.registry.remember(log, remembered);
        }
        is_retired
    }

    fn remember(&self, remembered: Option<RememberedFile>) {
        if let Some(remembered) = remembered {
            self.registry.remember(self.follower.log(), remembered);
        }
    }
}

impl Drop for RegistryEntry {
    fn drop(&mut self) {
        if !self.registry.is_closing.load(Ordering::SeqCst) {
            // The next viewer starts a new follower. Viewers that joined this one receive its end.
            let followers = &self.registry.followers;
            followers.remove_if(self.follower.log(), |_, other| Arc::ptr_eq(other, &self.follower));
        }
        self.follower.end();
    }
}

impl Registry {
    /// A registry without followers. It keeps back a few descriptors, until it is closed or
    /// dropped.
    #[must_use]
    pub fn new(access: Arc<Access>, rotate_wait: Duration) -> Arc<Self> {
        Self::with_followers_max(access, rotate_wait, FOLLOWERS_MAX)
    }

    /// The same for at most so many followers.
    #[must_use]
    pub fn with_followers_max(
        access: Arc<Access>,
        rotate_wait: Duration,
        followers_max: usize,
    ) -> Arc<Self> {
        Self::with_limits(access, rotate_wait, followers_max, REMEMBERED_MAX)
    }

    /// The same, which remembers so many logs that nobody follows: at least as many as are
    /// [recalled](Self::recall) before they are joined.
    #[must_use]
    pub fn with_limits(
        access: Arc<Access>,
        rotate_wait: Duration,
        followers_max: usize,
        remembered_max: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            watches: Watches::new(access.faults().clone()),
            access,
            rotate_wait,
            followers: DashMap::new(),
            slots: Arc::new(Semaphore::new(followers_max)),
            missing_visits: Arc::new(Semaphore::new(MISSING_VISITS_MAX)),
            remembered: Mutex::new(Remembered::new(remembered_max)),
            complete: Mutex::default(),
            pool: Pool::new(),
            mounts: Mounts::default(),
            reserve: Arc::new(Reserve::take()),
            is_closing: AtomicBool::new(false),
            fed: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// What may be read.
    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// What a follower of the log may read: what those may who can name the log.
    fn access_for(&self, log: &LogPath) -> Arc<Access> {
        match log.scope() {
            None => Arc::clone(&self.access),
            Some(_) => Arc::new(self.access.for_log(log)),
        }
    }

    /// Joins the log's follower, and starts it if necessary. The follower has polled the file since
    /// the call.
    ///
    /// # Errors
    /// When the log can't be opened now, unless the caller can `wait` for it. What lies outside the
    /// prefixes is always refused. [`Refusal::Exhausted`] when too many logs are followed, or the
    /// process has no descriptor left.
    pub async fn join(
        self: &Arc<Self>,
        log: &LogPath,
        wait: bool,
    ) -> Result<Subscription, Refusal> {
        self.join_or(log, if wait { IfMissing::Wait } else { IfMissing::Refuse }).await
    }

    /// Joins for a short visit to a log. The log may be missing, since files that had its name may
    /// still lie beside it.
    ///
    /// # Errors
    /// When the log lies outside the prefixes. [`Refusal::Exhausted`] as for [`join`](Self::join),
    /// and when more than [`MISSING_VISITS_MAX`] missing logs are visited.
    pub async fn visit(self: &Arc<Self>, log: &LogPath) -> Result<Subscription, Refusal> {
        self.join_or(log, IfMissing::Visit).await
    }

    async fn join_or(
        self: &Arc<Self>,
        log: &LogPath,
        if_missing: IfMissing,
    ) -> Result<Subscription, Refusal> {
        if let Some(mirror) = self.access.mirror_of(log) {
            return self.join_mirrored(&mirror, log, if_missing).await;
        }
        let device = self.mounts.device_of(log.as_path()).await;
        let subscription = loop {
            let slot = self.take_slot(log).await?;
            let (registry, named) = (Arc::clone(self), log.clone());
            // The open checks the path as it is now, even when others follow the log already.
            let entering = move || registry.enter(&named, device, slot, if_missing);
            match blocking::run(device, entering).await.unwrap_or(Err(Refusal::Unreadable))? {
                Entered::Subscribed(subscription) => break subscription,
                // No thread of the device waits meanwhile. The copy is held, so that it is kept.
                Entered::Unpacking(copy) => copy.ended().await,
            }
        };
        subscription.follower.refresh().await;
        Ok(subscription)
    }

    /// The same for a log of another machine.
    async fn join_mirrored(
        self: &Arc<Self>,
        mirror: &Arc<dyn Mirror>,
        log: &LogPath,
        if_missing: IfMissing,
    ) -> Result<Subscription, Refusal> {
        if !self.access_for(log).admits(log) {
            return Err(Refusal::Forbidden);
        }
        let slot = self.take_slot(log).await?;
        let subscription = match self.enter_if_followed(log) {
            Some(subscription) => subscription,
            None => {
                let feed = mirror.follow(log).await?;
                let waits = match feed.first.as_slice() {
                    [FileEvent::Waiting(reason)] => Some(*reason),
                    _ => None,
                };
                let is_missing_visit = waits.is_some() && if_missing == IfMissing::Visit;
                let slots = self.complete(slot, is_missing_visit)?;
                self.insert_mirrored(log, slots, feed)
            }
        };
        subscription.follower.refresh().await;
        let is_refused = if_missing == IfMissing::Refuse;
        let missing = {
            let timeline = subscription.follower.timeline();
            if timeline.present().is_none() { timeline.waiting() } else { None }
        };
        match missing {
            Some(WaitReason::Unreachable) if is_refused => Err(Refusal::Unreachable),
            Some(WaitReason::Unreadable) if is_refused => Err(Refusal::Unreadable),
            Some(WaitReason::Untailable) if is_refused => Err(Refusal::Untailable),
            Some(WaitReason::Missing) if is_refused => Err(Refusal::NotFound),
            Some(_) | None => Ok(subscription),
        }
    }

    fn insert_mirrored(self: &Arc<Self>, log: &LogPath, slots: Slots, feed: Feed) -> Subscription {
        let entry = match self.followers.entry(log.clone()) {
            Entry::Occupied(entry) => return Subscription::new(Presence::enter(entry.get())),
            Entry::Vacant(entry) => entry,
        };
        let access = self.access_for(log);
        let messages = BROADCAST_MESSAGES;
        let follower = Arc::new(Follower::new(access, log.clone(), feed.device, messages));
        follower.publish(Poll { events: feed.first, ..Poll::default() });
        let subscription = Subscription::new(Presence::enter(&follower));
        entry.insert(Arc::clone(&follower));
        let registration = RegistryEntry {
            registry: Arc::clone(self),
            follower: Arc::clone(&follower),
            _slots: slots,
        };
        let closing = self.closing.clone();
        self.fed.spawn(publish_feed(follower, registration, feed.events, closing));
        subscription
    }

    /// A slot for a new follower. None when the log is followed already.
    async fn take_slot(&self, log: &LogPath) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if self.followers.contains_key(log) {
            return Ok(None);
        }
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(Some(slot));
        }
        if let Some(idle) = self.followers.iter().find(|follower| follower.viewers() == 0) {
            idle.end_if_idle();
        }
        match timeout(SLOT_WAIT, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Some(slot)),
            Ok(Err(_)) | Err(_) => Err(Refusal::Exhausted),
        }
    }

    /// Opens the log and enters its follower. It may block.
    fn enter(
        self: &Arc<Self>,
        log: &LogPath,
        device: u64,
        slot: Option<OwnedSemaphorePermit>,
        if_missing: IfMissing,
    ) -> Result<Entered, Refusal> {
        let opened = self.access_for(log).open(log);
        match (&opened, if_missing) {
            (Err(refusal @ (Refusal::Forbidden | Refusal::Exhausted)), _)
            | (Err(refusal), IfMissing::Refuse) => return Err(*refusal),
            (Ok(_) | Err(_), _) => {}
        }
        let is_barred = matches!(opened, Err(Refusal::Unreadable));
        let mut subscription = match self.enter_if_followed(log) {
            Some(subscription) => subscription,
            None => {
                if let Some(copy) = opened.as_ref().ok().and_then(Admitted::still_unpacking) {
                    return Ok(Entered::Unpacking(copy));
                }
                let is_missing_visit = opened.is_err() && if_missing == IfMissing::Visit;
                let slots = self.complete(slot, is_missing_visit)?;
                self.start(log, device, slots, opened)?
            }
        };
        subscription.is_barred = is_barred;
        Ok(Entered::Subscribed(subscription))
    }

    /// Takes the permits that a new follower still needs. The slot is missing when the log had a
    /// follower at first, which ended meanwhile.
    fn complete(
        &self,
        slot: Option<OwnedSemaphorePermit>,
        is_missing_visit: bool,
    ) -> Result<Slots, Refusal> {
        let take = |slots: &Arc<Semaphore>| {
            Arc::clone(slots).try_acquire_owned().map_err(|_| Refusal::Exhausted)
        };
        let slot = slot.map_or_else(|| take(&self.slots), Ok)?;
        let missing_visit = is_missing_visit.then(|| take(&self.missing_visits)).transpose()?;
        Ok(Slots { _slot: slot, _missing_visit: missing_visit })
    }

    fn enter_if_followed(&self, log: &LogPath) -> Option<Subscription> {
        // The viewer is added under the map's guard. A follower that is about to retire counts its
        // viewers under the same guard.
        let follower = self.followers.get(log)?;
        Some(Subscription::new(Presence::enter(&follower)))
    }

    /// Starts a follower, unless another viewer has started it meanwhile.
    fn start(
        self: &Arc<Self>,
        log: &LogPath,
        device: u64,
        slots: Slots,
        opened: Result<Admitted, Refusal>,
    ) -> Result<Subscription, Refusal> {
        let mut tracker = RotationTracker::new(self.access_for(log), log.clone(), self.rotate_wait)
            .with_reserve(Arc::clone(&self.reserve));
        let first = tracker.first_poll(opened, self.remembered(log)).map_err(|error| {
            tracing::warn!(log = %log.display(), %error, "can't read");
            Refusal::Unreadable
        })?;
        Ok(self.insert(log, device, slots, tracker, first))
    }

    fn insert(
        self: &Arc<Self>,
        log: &LogPath,
        device: u64,
        slots: Slots,
        tracker: RotationTracker,
        first: Poll,
    ) -> Subscription {
        let entry = match self.followers.entry(log.clone()) {
            Entry::Occupied(entry) => return Subscription::new(Presence::enter(entry.get())),
            Entry::Vacant(entry) => entry,
        };
        let access = self.access_for(log);
        let follower = Arc::new(Follower::new(access, log.clone(), device, BROADCAST_MESSAGES));
        if let Some(remembered) = self.remembered(log) {
            follower.recall(remembered);
        }
        follower.publish(first);
        let subscription = Subscription::new(Presence::enter(&follower));
        entry.insert(Arc::clone(&follower));
        if self.complete.lock().contains(log.as_path()) {
            follower.complete();
        }
        let registration = RegistryEntry {
            registry: Arc::clone(self),
            follower: Arc::clone(&follower),
            _slots: slots,
        };
        follower.start(registration, tracker, self.watches.clone(), &self.pool);
        subscription
    }

    /// Says that nothing will be written any more to the log at this path. Its viewers get all of it,
    /// and then its end.
    pub fn complete_log(&self, path: &Path) {
        self.complete.lock().insert(path.to_owned());
        // A follower that starts now finds it in the set.
        for follower in self.followers.iter().filter(|one| one.log().as_path() == path) {
            follower.complete();
        }
    }

    /// Says what an earlier process has published of a log last: its generation, and the bytes before
    /// the offset to which it got, as far as they are known. Where the file proves to be the same, its
    /// generation goes on. What this process itself knows of the log counts more.
    pub fn recall(&self, log: &LogPath, generation: Generation, to: Offset, before: &[u8]) {
        if self.knows(log) {
            return;
        }
        let mut fingerprint = Fingerprint::at(Offset(to.0.saturating_sub(before.len() as u64)));
        fingerprint.advance(before);
        self.remember(log, RememberedFile::told(generation, fingerprint));
    }

    /// Whether the log is followed, or was a while ago.
    #[must_use]
    pub fn knows(&self, log: &LogPath) -> bool {
        self.followers.contains_key(log) || self.remembered(log).is_some()
    }

    fn remembered(&self, log: &LogPath) -> Option<RememberedFile> {
        self.remembered.lock().get(log).cloned()
    }

    fn remember(&self, log: &LogPath, file: RememberedFile) {
        self.remembered.lock().put(log, file);
    }

    /// How many viewers the log has now, among those who may read the same.
    #[must_use]
    pub fn viewers(&self, log: &LogPath) -> usize {
        self.followers.get(log).map_or(0, |follower| follower.viewers())
    }

    /// How many viewers each log has now, whatever else these may read.
    #[must_use]
    pub fn viewers_by_path(&self) -> HashMap<PathBuf, usize> {
        let mut viewers = HashMap::new();
        for follower in self.followers.iter().filter(|follower| follower.log().pattern().is_none())
        {
            *viewers.entry(follower.log().as_path().to_owned()).or_default() += follower.viewers();
        }
        viewers
    }

    /// The logs that are followed now and that no present prefix admits, by their path or by where
    /// their links lead. A log whose file system does not answer is none of them.
    pub async fn forbidden(&self) -> HashSet<LogPath> {
        let followed: Vec<(LogPath, u64)> = self
            .followers
            .iter()
            .map(|follower| (follower.log().clone(), follower.device()))
            .collect();
        let checks = followed.into_iter().map(|(log, device)| {
            let access = Arc::clone(&self.access);
            async move {
                if !access.for_log(&log).admits(&log) {
                    return Some(log);
                }
                let named = log.clone();
                let checked =
                    blocking::run(device, move || access.identify(&named).map(drop)).await;
                (checked == Some(Err(Refusal::Forbidden))).then_some(log)
            }
        });
        let found = futures_util::stream::iter(checks)
            .buffer_unordered(CHECKS_AT_ONCE)
            .take_until(tokio::time::sleep(CHECKS_TIME_MAX));
        found.filter_map(std::future::ready).collect().await
    }

    /// How many logs are followed now.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.followers.len()
    }

    /// How many of these are polled, because their file system tells no events.
    #[must_use]
    pub fn polled(&self) -> usize {
        self.followers.iter().filter(|follower| follower.is_polling()).count()
    }

    /// Polls every log once more, publishes what has been written so far, and ends the followers,
    /// their threads, the watches and the reserve of descriptors. A thread that hangs in a file
    /// system is left behind, and its log ends.
    ///
    /// The followers that have ended keep their files until [`forget`](Self::forget), for viewers
    /// that still read or join.
    pub async fn end_followers(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        self.closing.cancel();
        self.fed.close();
        let _in_time = timeout(LAST_POLLS_TIME_MAX, self.fed.wait()).await;
        if !self.pool.close(LAST_POLLS_TIME_MAX + THREADS_END_TIME).await {
            let stuck: Vec<_> = self.followers.iter().map(|entry| Arc::clone(&entry)).collect();
            for follower in stuck {
                tracing::warn!(log = %follower.log().display(), "its file system does not answer");
                follower.end();
            }
        }
        self.reserve.release();
        let watches = self.watches.clone();
        // The watcher's end waits for its thread.
        let _ended = tokio::task::spawn_blocking(move || watches.close()).await;
    }

    /// Forgets the followers, so that a file is closed with its last viewer.
    pub fn forget(&self) {
        self.followers.clear();
    }

    /// Ends the followers and forgets them.
    pub async fn close(&self) {
        self.end_followers().await;
        self.forget();
    }
}
