//! The access log: two lines for each viewer, one when it joins and one after it has left.

use std::time::Instant;

use crate::serve::forwarded::Remote;
use crate::serve::metrics::ViewerMetrics;
use crate::serve::viewer_limit::ViewerPermit;

/// One viewer's entry. Its creation logs that the viewer joined, its drop that the viewer has left.
#[derive(Debug)]
pub(super) struct AccessLogEntry {
    remote: Remote,
    log: String,
    since: Instant,
    /// Bytes that were passed to the connection.
    pub(super) bytes: u64,
    metrics: ViewerMetrics,
    /// Why the viewer's stream ended. Without another reason the viewer left.
    pub(super) reason: &'static str,
    _permit: Option<ViewerPermit>,
}

impl AccessLogEntry {
    /// Begins an entry. `log` is logged unchanged, so the caller has to escape it.
    pub(super) fn begin(
        remote: Remote,
        log: String,
        transport: &'static str,
        metrics: ViewerMetrics,
        permit: Option<ViewerPermit>,
    ) -> Self {
        tracing::info!(%remote, %log, by = transport, "viewer came");
        let since = Instant::now();
        Self { remote, log, since, bytes: 0, metrics, reason: "left", _permit: permit }
    }

    /// Counts bytes that were passed to the connection.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.metrics.count_sent(bytes);
    }

    /// Ends the entry for this reason.
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
