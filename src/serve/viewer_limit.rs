//! The limit of viewers at a time (`--max-viewers`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the viewers of all logs together. The bound comes with each request, since it can change
/// while the server runs.
#[derive(Debug, Default)]
pub(super) struct ViewerLimit {
    viewers: Arc<AtomicUsize>,
}

/// The right to be one of the viewers. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct ViewerPermit(Arc<AtomicUsize>);

impl Drop for ViewerPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ViewerLimit {
    /// Admits one more viewer; `None` when there are `max` already, or more.
    pub(super) fn admit(&self, max: usize) -> Option<ViewerPermit> {
        let more = |viewers: usize| (viewers < max).then(|| viewers + 1);
        self.viewers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| ViewerPermit(Arc::clone(&self.viewers)))
    }

    /// How many viewers there are now.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_are_admitted_up_to_the_limit_and_make_room_when_they_leave() {
        let limit = ViewerLimit::default();
        let first = limit.admit(2);
        let second = limit.admit(2);
        assert!(first.is_some() && second.is_some());
        assert!(limit.admit(2).is_none());
        assert_eq!(limit.viewers(), 2);
        drop(first);
        assert_eq!(limit.viewers(), 1);
        assert!(limit.admit(2).is_some());
    }

    #[test]
    fn a_lower_limit_ends_no_viewer_and_admits_none() {
        let limit = ViewerLimit::default();
        let viewers = [limit.admit(3), limit.admit(3), limit.admit(3)];
        assert!(limit.admit(1).is_none());
        assert_eq!(limit.viewers(), viewers.len());
        drop(viewers);
        assert!(limit.admit(1).is_some());
    }
}
