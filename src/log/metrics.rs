//! Counters of work done. They are the same on every machine, however fast it is.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many threads add to. It synchronises nothing else.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The work to follow and read the logs of one [`Access`](crate::log::Access).
#[derive(Debug, Default)]
pub struct Metrics {
    /// Calls of `pread`.
    pub reads: Counter,
    /// Lookups of what a log's path leads to.
    pub lookups: Counter,
    /// Published chunks.
    pub chunks: Counter,
}
