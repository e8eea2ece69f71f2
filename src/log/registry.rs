//! Who follows what: one follower for each log, from the first viewer until a little after the last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::access::{Access, Admitted, LogPath, Refusal};
use crate::log::follower::rotation::{Poll, RotationTracker};
use crate::log::follower::tailed_file::RememberedFile;
use crate::log::follower::{self, BROADCAST_MESSAGES, Event, Follower, STAYS_MAX};
use crate::log::watch::Watches;

/// How long a file that was rotated away is heard.
pub const ROTATE_WAIT: Duration = Duration::from_secs(5);

/// So many logs are remembered after nobody follows them any more.
const MEMORIES_MAX: usize = 1024;

/// The followers.
pub struct Registry {
    access: Arc<Access>,
    rotate_wait: Duration,
    watches: Watches,
    followers: DashMap<LogPath, Arc<Follower>>,
    /// What is known of logs that nobody follows any more, the latest last.
    memories: Mutex<VecDeque<(LogPath, RememberedFile)>>,
    tasks: TaskTracker,
    closing: CancellationToken,
    /// Which followers may keep a thread while their log is busy.
    stays: Arc<Semaphore>,
}

/// That a viewer polls at a log, whose follower goes on for as long. Dropping it leaves.
#[derive(Debug)]
pub struct Presence(Arc<Follower>);

impl Presence {
    /// Comes to poll.
    pub(crate) fn enter(follower: &Arc<Follower>) -> Self {
        follower.enter();
        Self(Arc::clone(follower))
    }

    /// Whose log it is.
    #[must_use]
    pub fn follower(&self) -> &Arc<Follower> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A viewer that listens to a follower.
#[derive(Debug)]
pub struct Subscription {
    /// Whom it listens to.
    pub follower: Arc<Follower>,
    /// What it hears from now on.
    pub events: broadcast::Receiver<Event>,
    presence: Option<Presence>,
    /// The log could not be opened when it was joined, though others follow it.
    pub(crate) is_barred: bool,
}

impl Subscription {
    /// Listens from now on.
    #[must_use]
    pub fn new(presence: Presence) -> Self {
        let follower = Arc::clone(presence.follower());
        let presence = Some(presence);
        Self { events: follower.subscribe(), follower, presence, is_barred: false }
    }

    /// Listens on without being counted as a viewer, for others that are.
    pub fn cede(&mut self) -> Option<Presence> {
        self.presence.take()
    }
}

impl Registry {
    /// No followers yet.
    #[must_use]
    pub fn new(access: Arc<Access>, rotate_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            watches: Watches::new(access.faults().clone()),
            access,
            rotate_wait,
            followers: DashMap::new(),
            memories: Mutex::default(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stays: Arc::new(Semaphore::new(STAYS_MAX)),
        })
    }

    /// What may be read.
    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Joins the log's follower and starts it if need be. The follower has polled at the file since the call.
    ///
    /// # Errors
    /// When the log can't be opened now, unless the caller can `wait` for it. What is outside is refused always.
    pub async fn join(
        self: &Arc<Self>,
        log: &LogPath,
        wait: bool,
    ) -> Result<Subscription, Refusal> {
        let registry = Arc::clone(self);
        let named = log.clone();
        // The open checks the path as it is now, whoever follows it already.
        let entering = spawn_blocking(move || match registry.access.open(&named) {
            Err(refusal @ (Refusal::Forbidden | Refusal::Exhausted)) => Err(refusal),
            Err(refusal) if !wait => Err(refusal),
            opened => {
                let is_barred = matches!(opened, Err(Refusal::Unreadable));
                let entered = registry.enter(&named, opened);
                entered.map(|subscription| Subscription { is_barred, ..subscription })
            }
        });
        let subscription = entering.await.unwrap_or(Err(Refusal::Unreadable))?;
        subscription.follower.refresh().await;
        Ok(subscription)
    }

    fn enter(
        self: &Arc<Self>,
        log: &LogPath,
        opened: Result<Admitted, Refusal>,
    ) -> Result<Subscription, Refusal> {
        if let Some(subscription) = self.enter_if_followed(log) {
            return Ok(subscription);
        }
        let mut tracker =
            RotationTracker::new(Arc::clone(&self.access), log.clone(), self.rotate_wait);
        let poll = tracker.first_poll(opened, self.recall(log)).map_err(|error| {
            tracing::warn!(log = %log.display(), %error, "can't read");
            Refusal::Unreadable
        })?;
        Ok(self.start_or_enter(log, tracker, poll))
    }

    fn recall(&self, log: &LogPath) -> Option<RememberedFile> {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories
            .iter()
            .rev()
            .find(|(remembered, _)| remembered == log)
            .map(|(_, memory)| memory.clone())
    }

    fn remember(&self, log: &LogPath, memory: RememberedFile) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|(remembered, _)| remembered != log);
        if memories.len() == MEMORIES_MAX {
            memories.pop_front();
        }
        memories.push_back((log.clone(), memory));
    }

    fn enter_if_followed(&self, log: &LogPath) -> Option<Subscription> {
        // The viewer is counted under the map's guard, where a follower that would retire polls for viewers too.
        let follower = self.followers.get(log)?;
        Some(Subscription::new(Presence::enter(&follower)))
    }

    fn start_or_enter(
        self: &Arc<Self>,
        log: &LogPath,
        tracker: RotationTracker,
        first: Poll,
    ) -> Subscription {
        match self.followers.entry(log.clone()) {
            Entry::Occupied(entry) => Subscription::new(Presence::enter(entry.get())),
            Entry::Vacant(entry) => {
                let follower = Arc::new(Follower::new(
                    Arc::clone(&self.access),
                    log.clone(),
                    BROADCAST_MESSAGES,
                ));
                follower.publish(first);
                let subscription = Subscription::new(Presence::enter(&follower));
                entry.insert(Arc::clone(&follower));
                let registry = Arc::clone(self);
                let retire = move |follower: &Follower, memory| registry.retire(follower, memory);
                self.tasks.spawn(follower::run(
                    follower,
                    tracker,
                    self.watches.clone(),
                    self.closing.clone(),
                    Arc::clone(&self.stays),
                    retire,
                ));
                subscription
            }
        }
    }

    /// Ends a follower that nobody polls at, and keeps what it remembers.
    fn retire(&self, follower: &Follower, memory: Option<RememberedFile>) -> bool {
        let log = follower.log();
        let retired =
            self.followers.remove_if(log, |_, follower| follower.viewers() == 0).is_some();
        if let (true, Some(memory)) = (retired, memory) {
            self.remember(log, memory);
        }
        retired
    }

    /// How many poll at the log now.
    #[must_use]
    pub fn viewers(&self, log: &LogPath) -> usize {
        self.followers.get(log).map_or(0, |follower| follower.viewers())
    }

    /// How many logs are followed now.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.followers.len()
    }

    /// Looks at every log once more, publishes what has been written so far, and ends the followers.
    pub async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
