//! What joins a viewer to the follower of its log.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::log::follower::{Event, Follower};

/// A viewer's entry in a follower. The follower does not end before the entry is dropped.
#[derive(Debug)]
pub struct Presence(Arc<Follower>);

impl Presence {
    /// Adds a viewer.
    pub(crate) fn enter(follower: &Arc<Follower>) -> Self {
        follower.add_viewer();
        Self(Arc::clone(follower))
    }

    /// The follower that is viewed.
    #[must_use]
    pub fn follower(&self) -> &Arc<Follower> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.remove_viewer();
    }
}

/// A viewer's connection to a follower.
#[derive(Debug)]
pub struct Subscription {
    /// The log's follower.
    pub follower: Arc<Follower>,
    /// All events from the subscription on.
    pub events: broadcast::Receiver<Event>,
    presence: Option<Presence>,
    /// The log could not be opened when the viewer joined, though others follow it.
    pub(crate) is_barred: bool,
}

impl Subscription {
    /// Subscribes a viewer from now on.
    #[must_use]
    pub fn new(presence: Presence) -> Self {
        let follower = Arc::clone(presence.follower());
        let presence = Some(presence);
        Self { events: follower.subscribe(), follower, presence, is_barred: false }
    }

    /// Takes the presence out. The subscription continues, but no longer counts as a viewer.
    pub fn take_presence(&mut self) -> Option<Presence> {
        self.presence.take()
    }
}
