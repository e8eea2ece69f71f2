//! How many viewers there may be, and the two lines of talk that each one leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// ConnectionLimit for viewers.
pub(super) struct ConnectionLimit {
    free: Arc<Semaphore>,
    all: usize,
}

/// A taken seat, free again when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit(
    #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit,
);

impl ConnectionLimit {
    pub(super) fn new(all: usize) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    /// A seat, if one is free.
    pub(super) fn take(&self) -> Option<ConnectionPermit> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(ConnectionPermit)
    }

    pub(super) fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }
}

/// One viewer's stay: it says so when it begins, and when it is dropped.
#[derive(Debug)]
pub(super) struct AccessLogEntry {
    remote: SocketAddr,
    log: String,
    since: Instant,
    /// Bytes of messages that were given to the connection.
    pub(super) bytes: u64,
    /// Why it ended. As long as nobody says otherwise the viewer has left.
    pub(super) reason: &'static str,
    _seat: Option<ConnectionPermit>,
}

impl AccessLogEntry {
    /// `log` is shown as it is: escaped by the caller.
    pub(super) fn begin(
        remote: SocketAddr,
        log: String,
        by: &'static str,
        seat: Option<ConnectionPermit>,
    ) -> Self {
        tracing::info!(%remote, %log, by, "viewer came");
        Self { remote, log, since: Instant::now(), bytes: 0, reason: "left", _seat: seat }
    }
}

impl AccessLogEntry {
    /// Ends it for this reason.
    pub(super) fn end(mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        let Self { remote, log, bytes, reason, .. } = self;
        tracing::info!(%remote, %log, bytes, seconds, reason, "viewer gone");
    }
}
