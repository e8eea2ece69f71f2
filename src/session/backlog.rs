//! How far a viewer is behind its log.

use std::sync::{Arc, Weak};

use crate::log::{Follower, TimelinePosition};

/// What a session had not sent at one moment. It grows with the log.
#[derive(Clone, Debug)]
pub struct Backlog {
    follower: Weak<Follower>,
    position: Option<TimelinePosition>,
}

impl Backlog {
    pub(super) fn new(follower: &Arc<Follower>, position: Option<TimelinePosition>) -> Self {
        Self { follower: Arc::downgrade(follower), position }
    }

    /// How many published bytes it has now. None while the log has no file.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let follower = self.follower.upgrade()?;
        Some(follower.timeline().bytes_after(self.position?))
    }
}
