//! How often something was done. The metrics say what the work of a server is made of, whatever the machine's speed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, from many threads. It orders nothing else.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// How many there have been.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is done to follow and to read the logs of one [`Access`](crate::log::Access).
#[derive(Debug, Default)]
pub struct Metrics {
    /// Calls of `pread` on logs.
    pub reads: Counter,
    /// How often it was found out what a log's name leads to.
    pub lookups: Counter,
    /// Chunks that followers have published.
    pub chunks: Counter,
}
