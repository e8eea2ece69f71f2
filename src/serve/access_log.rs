//! The access log: two lines for each viewer, one when it joins and one after it has left, and one
//! for each refused request.

use std::sync::Arc;
use std::time::Instant;

use crate::log::LogPath;
use crate::serve::forwarded::Remote;
use crate::serve::metrics::ViewerMetrics;
use crate::serve::viewer_limit::ViewerPermit;
use crate::session::{AudienceMember, Audiences};

/// The target of these lines, by which a subscriber can tell them apart from all others.
pub const ACCESS_LOG: &str = "tailcast::access";

/// One viewer's entry. Its creation logs that the viewer joined, its drop that the viewer has left.
#[derive(Debug)]
pub(super) struct AccessLogEntry {
    remote: Remote,
    /// None where nobody signs in.
    user: Option<Arc<str>>,
    /// The log's name. None for a member of its audience, which knows it.
    log: Option<Box<str>>,
    transport: &'static str,
    since: Instant,
    /// Bytes that were passed to the connection.
    pub(super) bytes: u64,
    metrics: ViewerMetrics,
    /// Why the viewer's stream ended. Without another reason the viewer left.
    pub(super) reason: &'static str,
    _permit: Option<ViewerPermit>,
    member: Option<AudienceMember>,
}

impl AccessLogEntry {
    /// Begins an entry.
    pub(super) fn begin(
        remote: Remote,
        user: Option<&str>,
        log: String,
        transport: &'static str,
        metrics: ViewerMetrics,
        permit: Option<ViewerPermit>,
    ) -> Self {
        tracing::info!(target: ACCESS_LOG, %remote, user, log, transport, "viewer came");
        let since = Instant::now();
        Self {
            remote,
            user: user.map(Arc::from),
            log: Some(log.into()),
            transport,
            since,
            bytes: 0,
            metrics,
            reason: "left",
            _permit: permit,
            member: None,
        }
    }

    /// Makes the viewer a member of a log's audience, as long as this entry lives.
    pub(super) fn join(mut self, audiences: &Arc<Audiences>, log: &LogPath) -> Self {
        self.member = Some(audiences.enter(log, self.user.clone()));
        self.log = None;
        self
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
        let Self { remote, transport, bytes, reason, .. } = self;
        let of_member = self.member.as_ref().and_then(AudienceMember::log);
        let of_member = of_member.map(|log| log.display().to_string());
        let log = of_member.as_deref().or(self.log.as_deref());
        let user = self.user.as_deref();
        tracing::info!(
            target: ACCESS_LOG,
            %remote,
            user,
            log,
            transport,
            bytes,
            seconds,
            reason,
            "viewer gone"
        );
    }
}
