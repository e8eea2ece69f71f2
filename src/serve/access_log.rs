//! The access log: two lines for each viewer, one when it joins and one after it has left.

use std::time::Instant;

use crate::serve::forwarded::Remote;
use crate::serve::identity::Visitor;
use crate::serve::viewer_limit::ViewerPermit;

/// One viewer's entry. Its creation logs that the viewer joined, its drop that the viewer has left.
#[derive(Debug)]
pub(super) struct AccessLogEntry {
    remote: Remote,
    /// The name of the visitor, if the server asks for one.
    user: Option<String>,
    log: String,
    since: Instant,
    /// Bytes that were passed to the connection.
    pub(super) bytes: u64,
    /// Why the viewer's stream ended. Without another reason the viewer left.
    pub(super) reason: &'static str,
    _permit: Option<ViewerPermit>,
}

impl AccessLogEntry {
    /// Begins an entry. `log` is logged unchanged, so the caller has to escape it.
    pub(super) fn begin(
        remote: Remote,
        visitor: &Visitor,
        log: String,
        transport: &'static str,
        permit: Option<ViewerPermit>,
    ) -> Self {
        let user = visitor.name().map(str::to_owned);
        let shown = user.as_deref();
        tracing::info!(%remote, user = shown, %log, by = transport, "viewer came");
        Self { remote, user, log, since: Instant::now(), bytes: 0, reason: "left", _permit: permit }
    }

    /// Ends the entry for this reason.
    pub(super) fn end(mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        let seconds = self.since.elapsed().as_secs();
        let Self { remote, user, log, bytes, reason, .. } = self;
        tracing::info!(%remote, user = user.as_deref(), %log, bytes, seconds, reason, "viewer gone");
    }
}
