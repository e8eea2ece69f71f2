//! Counters of work done. They are the same on every machine, however fast it is.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::log::timeline::Reason;

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
    /// Directories whose names were read to find old files.
    pub directories: Counter,
    /// Published chunks.
    pub chunks: Counter,
    /// Published bytes. Those that viewers read from the file by themselves do not count.
    pub bytes: Counter,
    /// Line feeds among them.
    pub lines: Counter,
    /// Spans that began, by their reason.
    spans: [Counter; Reason::ALL.len()],
}

impl Metrics {
    /// Counts a chunk that is published.
    pub(super) fn count_chunk(&self, bytes: &[u8]) {
        self.chunks.add(1);
        self.bytes.add(bytes.len());
        self.lines.add(memchr::memchr_iter(b'\n', bytes).count());
    }

    /// Counts a span that begins for this reason.
    pub(super) fn count_span(&self, reason: Reason) {
        self.spans[reason as usize].add(1);
    }

    /// How many spans began for this reason.
    #[must_use]
    pub fn spans(&self, reason: Reason) -> u64 {
        self.spans[reason as usize].get()
    }
}
