//! Who follows what: one follower for each log, from the first viewer until a little after the last.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dashmap::{DashMap, Entry};
use tokio::sync::broadcast;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::access::{Access, LogPath, Refusal};
use crate::log::follower::{self, Event, Follower};
use crate::log::tracker::{Look, Tracker};
use crate::log::watch::Watches;

/// How long a file that was rotated away is heard.
pub const ROTATE_WAIT: Duration = Duration::from_secs(5);

/// The followers.
pub struct Registry {
    access: Arc<Access>,
    rotate_wait: Duration,
    watches: Watches,
    followers: DashMap<LogPath, Arc<Follower>>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// A viewer's place at a follower. Dropping it leaves.
#[derive(Debug)]
pub struct Subscription {
    /// Whom it listens to.
    pub follower: Arc<Follower>,
    /// What it hears from now on.
    pub events: broadcast::Receiver<Event>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.follower.leave();
    }
}

impl Registry {
    /// No followers yet.
    #[must_use]
    pub fn new(access: Arc<Access>, rotate_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            access,
            rotate_wait,
            watches: Watches::default(),
            followers: DashMap::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        })
    }

    /// What may be read.
    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// Joins the log's follower and starts it if need be. The follower has looked at the file since the call.
    ///
    /// # Errors
    /// When the log can't be opened now, unless the caller can `wait` for it. What is outside is refused always.
    pub async fn join(
        self: &Arc<Self>,
        log: &LogPath,
        wait: bool,
    ) -> Result<Subscription, Refusal> {
        let opened = {
            let (registry, log) = (Arc::clone(self), log.clone());
            // The open checks the path as it is now, whoever follows it already.
            spawn_blocking(move || registry.try_open(&log))
                .await
                .unwrap_or(Err(Refusal::Unreadable))
        };
        match opened {
            Err(Refusal::Forbidden) => return Err(Refusal::Forbidden),
            Err(refusal) if !wait => return Err(refusal),
            Ok(()) | Err(_) => {}
        }
        let subscription = self.enter(log).await?;
        subscription.follower.refresh().await;
        Ok(subscription)
    }

    fn try_open(&self, log: &LogPath) -> Result<(), Refusal> {
        self.access.open(log).map(drop)
    }

    async fn enter(self: &Arc<Self>, log: &LogPath) -> Result<Subscription, Refusal> {
        if let Some(subscription) = self.enter_if_followed(log) {
            return Ok(subscription);
        }
        let mut tracker = Tracker::new(Arc::clone(&self.access), log.clone(), self.rotate_wait);
        let first = spawn_blocking(move || tracker.first_look().map(|look| (tracker, look)));
        let (tracker, look) = first
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
            .map_err(|error| {
                tracing::warn!(log = %log.display(), %error, "can't read");
                Refusal::Unreadable
            })?;
        Ok(self.start_or_enter(log, tracker, look))
    }

    fn enter_if_followed(&self, log: &LogPath) -> Option<Subscription> {
        // The viewer is counted under the map's guard, where a follower that would retire looks for viewers too.
        let follower = self.followers.get(log)?;
        Some(Subscription { events: follower.enter(), follower: Arc::clone(&follower) })
    }

    fn start_or_enter(
        self: &Arc<Self>,
        log: &LogPath,
        tracker: Tracker,
        first: Look,
    ) -> Subscription {
        match self.followers.entry(log.clone()) {
            Entry::Occupied(entry) => {
                Subscription { events: entry.get().enter(), follower: Arc::clone(entry.get()) }
            }
            Entry::Vacant(entry) => {
                let follower = Arc::new(Follower::new(log.clone()));
                follower.publish(first);
                let subscription =
                    Subscription { events: follower.enter(), follower: Arc::clone(&follower) };
                entry.insert(Arc::clone(&follower));
                let registry = Arc::clone(self);
                let retire = move |follower: &Follower| {
                    registry
                        .followers
                        .remove_if(follower.log(), |_, follower| follower.viewers() == 0)
                        .is_some()
                };
                self.tasks.spawn(follower::run(
                    follower,
                    tracker,
                    self.watches.clone(),
                    self.closing.clone(),
                    retire,
                ));
                subscription
            }
        }
    }

    /// How many look at the log now.
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
