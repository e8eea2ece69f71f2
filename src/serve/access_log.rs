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
    stream: Stream,
    transport: &'static str,
    since: Instant,
    /// Bytes that were passed to the connection.
    pub(super) bytes: u64,
    metrics: ViewerMetrics,
    /// Why the viewer's stream ended. Without another reason the viewer left.
    pub(super) reason: &'static str,
    _permit: Option<ViewerPermit>,
}

/// Who views what.
#[derive(Debug)]
enum Stream {
    /// A member of the audience of its log, which knows both.
    Member(AudienceMember),
    /// The name of a log, or of several. The user is none where nobody signs in.
    Other { user: Option<Arc<str>>, log: Box<str> },
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
            stream: Stream::Other { user: user.map(Arc::from), log: log.into() },
            transport,
            since,
            bytes: 0,
            metrics,
            reason: "left",
            _permit: permit,
        }
    }

    /// Makes the viewer a member of a log's audience, as long as this entry lives.
    pub(super) fn join(mut self, audiences: &Arc<Audiences>, log: &LogPath) -> Self {
        if let Stream::Other { user, .. } = &self.stream {
            self.stream = Stream::Member(audiences.enter(log, user.clone()));
        }
        self
    }

    /// The same log, as all members of its audience share it. They are many.
    pub(super) fn shared(&self, log: LogPath) -> LogPath {
        match &self.stream {
            Stream::Member(member) => {
                member.log().filter(|own| **own == log).cloned().unwrap_or(log)
            }
            Stream::Other { .. } => log,
        }
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
        let (user, log) = match &self.stream {
            Stream::Member(member) => {
                (member.name(), member.log().map(|log| log.display().to_string()))
            }
            Stream::Other { user, log } => (user.as_deref(), Some(log.to_string())),
        };
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
