//! The limit of viewers at a time (`--max-viewers`).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on the number of viewers, of all logs together.
pub(super) struct ViewerLimit {
    free: Arc<Semaphore>,
    max: usize,
}

/// The right to be one of the viewers. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct ViewerPermit(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl ViewerLimit {
    pub(super) fn new(max: usize) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(max)), max }
    }

    /// Admits one more viewer; `None` when the server is full.
    pub(super) fn admit(&self) -> Option<ViewerPermit> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(ViewerPermit)
    }

    /// How many viewers there are now.
    pub(super) fn viewers(&self) -> usize {
        self.max - self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_are_admitted_up_to_the_limit_and_make_room_when_they_leave() {
        let limit = ViewerLimit::new(2);
        let first = limit.admit();
        let second = limit.admit();
        assert!(first.is_some() && second.is_some());
        assert!(limit.admit().is_none());
        assert_eq!(limit.viewers(), 2);
        drop(first);
        assert_eq!(limit.viewers(), 1);
        assert!(limit.admit().is_some());
    }
}
