//! Logs that may no longer be read, because the server was given other prefixes.
//!
//! A log is checked when it is opened. A stream that began earlier holds the log open, so it waits
//! here for the end of its right. It begins to wait before its log is opened: then either the open
//! is refused, or the stream hears of the change.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;

use crate::log::{Access, LogPath};

/// Tells streams that their logs may no longer be read.
#[derive(Debug)]
pub(super) struct Withdrawals {
    access: Arc<Access>,
    /// The logs that only lead outside: their own paths lie inside the prefixes.
    lead_outside: watch::Sender<HashSet<LogPath>>,
}

impl Withdrawals {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access, lead_outside: watch::Sender::default() }
    }

    /// Whether the log may no longer be read. Its file is not looked at.
    pub(super) fn is_withdrawn(&self, log: &LogPath) -> bool {
        !self.access.admits(log) || self.lead_outside.borrow().contains(log)
    }

    /// Wakes all streams, after the prefixes have changed.
    pub(super) fn announce(&self, forbidden: HashSet<LogPath>) {
        self.lead_outside.send_replace(forbidden);
    }

    /// Watches for a stream of this log, from now on.
    pub(super) fn watch(&self, log: &LogPath) -> Withdrawal {
        Withdrawal {
            access: Arc::clone(&self.access),
            log: log.clone(),
            lead_outside: self.lead_outside.subscribe(),
        }
    }
}

/// The end of a stream's right to its log.
#[derive(Debug)]
pub(super) struct Withdrawal {
    access: Arc<Access>,
    log: LogPath,
    lead_outside: watch::Receiver<HashSet<LogPath>>,
}

impl Withdrawal {
    /// Completes once the log may no longer be read. Dropping the future loses nothing.
    pub(super) async fn withdrawn(&mut self) {
        let (access, log) = (&self.access, &self.log);
        let is_withdrawn =
            |lead_outside: &HashSet<LogPath>| !access.admits(log) || lead_outside.contains(log);
        if self.lead_outside.wait_for(is_withdrawn).await.is_err() {
            // The server is gone, and ends its streams itself.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn a_stream_hears_when_its_log_may_no_longer_be_read() {
        let minute = Duration::from_secs(60);
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [kept, lost] = [0, 1].map(|at| directories[at].path());
        let access = Arc::new(Access::new([kept, lost]).unwrap());
        let log = |directory: &std::path::Path| {
            access.locate(directory.join("a.log").as_os_str().as_encoded_bytes()).unwrap()
        };
        let withdrawals = Withdrawals::new(Arc::clone(&access));
        let (kept_log, lost_log) = (log(kept), log(lost));
        let mut linked = withdrawals.watch(&kept_log);
        let [mut staying, mut ending] = [&kept_log, &lost_log].map(|log| withdrawals.watch(log));
        access.adopt(Access::new([kept]).unwrap());
        withdrawals.announce(HashSet::new());
        timeout(minute, ending.withdrawn()).await.expect("its prefix is gone");
        assert!(withdrawals.is_withdrawn(&lost_log) && !withdrawals.is_withdrawn(&kept_log));
        assert!(timeout(minute, staying.withdrawn()).await.is_err(), "its prefix is still there");
        withdrawals.announce(HashSet::from([kept_log.clone()]));
        timeout(minute, linked.withdrawn()).await.expect("it leads outside");
        assert!(withdrawals.is_withdrawn(&kept_log));
    }
}
