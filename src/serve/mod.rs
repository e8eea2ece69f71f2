//! The server: one port for pages, WebSockets, event streams and plain HTTP.
//!
//! [`Server`] takes bound listeners and a shutdown future, so that tests and embedders need
//! neither ports nor signals. hyper owns a connection until it becomes a WebSocket. After that
//! `websocket` owns the bare socket.

mod access_log;
mod assets;
mod body;
mod conditional;
mod content_coding;
mod cors;
mod dispatch;
mod first_rows;
mod forwarded;
mod health;
mod http;
mod identity;
mod idle_connections;
mod json;
mod listener;
mod listing;
mod metrics;
mod origin_check;
mod page;
mod query;
mod refusal;
mod route;
mod security;
mod settings;
mod shared_listing;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod viewer_limit;
mod websocket;
mod withdrawal;
mod write_timeout;

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::{Access, LogPath, Registry};
use crate::search::{Limiter, LineIndexes};
use crate::session::Hub;
use http::api::Counts;
use identity::{Gate, Visitor};
use idle_connections::IdleConnections;
use metrics::ServerMetrics;
use shared_listing::SharedListing;
use viewer_limit::{ViewerLimit, ViewerPermit};
use websocket::connection::Sent;
use websocket::group::BroadcastGroups;
use websocket::heartbeat::HeartbeatScheduler;
use withdrawal::{REVIEW_INTERVAL, Reads, Withdrawal, Withdrawals};

pub use access_log::ACCESS_LOG;
#[cfg(any(test, fuzzing))]
pub use identity::read_unknown;
pub use identity::{
    PASSWORD_BYTES_MAX, Sessions, StateError, Tokens, Users, WrongAccount, can_name_visitors,
    is_name, new_token, password_hash, token_digest,
};
#[cfg(feature = "nats")]
pub use metrics::serve_figures;
pub use query::path_in_url;
pub use settings::{
    BadBasePath, BadRule, BadTrustedProxy, BasePath, HEARTBEAT_INTERVAL, Heartbeat, Rule, Settings,
    TrustedProxy, Who,
};
pub use socket::{Listener, Listeners};
#[cfg(feature = "tls")]
pub use tls::{BadCertificate, BadFile, Certificate};

/// A server of the logs that an [`Access`] admits.
///
/// Each viewer takes a descriptor, and so does each open log. The library does not change the
/// process's limit (`RLIMIT_NOFILE`), and keeps within it: before none are left for logs, it closes
/// idle connections and refuses new ones with 503. Raise the limit before serving many viewers, as
/// `tailcast serve` does.
pub struct Server {
    app: Arc<App>,
}

/// What all connections share.
struct App {
    hub: Hub,
    /// Bounds reads and searches of whole logs.
    limiter: Limiter,
    lines: LineIndexes,
    /// Counts of lines by their times.
    counts: Counts,
    /// Says who visitors are, and what they may read.
    gate: Gate,
    withdrawals: Withdrawals,
    /// The path under which everything lies.
    base: BasePath,
    /// The present settings. A request takes them once.
    settings: RwLock<Arc<Settings>>,
    viewer_limit: ViewerLimit,
    idle_connections: IdleConnections,
    #[cfg(feature = "tls")]
    handshakes: tls::Handshakes,
    heartbeats: HeartbeatScheduler,
    groups: BroadcastGroups,
    sent: Arc<Sent>,
    metrics: ServerMetrics,
    listing: SharedListing,
    tasks: TaskTracker,
    /// Cancelled when no more requests are accepted.
    closing: CancellationToken,
    /// Cancelled when the server stops waiting for peers.
    cut: CancellationToken,
}

impl App {
    /// The settings now. Another call may return others.
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// How long a socket may take nothing of what waits for it.
    fn stall_timeout(&self) -> Duration {
        self.settings.read().stall_timeout
    }

    /// Watches for a stream of a visitor, from now on.
    fn watch_right(&self, visitor: &Visitor, log: &LogPath, reads: Reads) -> Withdrawal {
        self.withdrawals.watch(visitor, log, reads)
    }

    /// Ends the streams that may go on no longer.
    async fn review_streams(&self, lead_outside: &HashSet<LogPath>) {
        let changes = self.gate.changes();
        self.withdrawals.review(&self.gate, changes, &self.settings(), lead_outside).await;
    }

    /// Reviews all streams from time to time.
    async fn keep_reviewing(&self) {
        let mut problem = None;
        loop {
            sleep(REVIEW_INTERVAL).await;
            let settings = self.settings();
            if let Some(sessions) = &settings.sessions {
                self.read_ends(sessions, &mut problem).await;
            }
            if settings.needs_identity() {
                self.review_streams(&HashSet::new()).await;
            }
        }
    }

    /// Ends the streams of sessions that other servers have ended. `problem` is what was wrong last.
    async fn read_ends(&self, sessions: &Sessions, problem: &mut Option<String>) {
        match sessions.read_ends().await {
            Ok(false) => *problem = None,
            Ok(true) => self.withdrawals.end_sessions(sessions, |_| true),
            Err(error) => {
                let error = Some(error.to_string());
                if *problem != error {
                    let error = error.as_deref();
                    let hint = "check the directory of `--state-dir`";
                    tracing::warn!(
                        error,
                        hint,
                        "cannot read which sessions other servers have ended"
                    );
                }
                *problem = error;
            }
        }
    }

    /// Admits one more viewer; `None` when the server is full.
    fn admit_viewer(&self) -> Option<ViewerPermit> {
        self.viewer_limit.admit(self.settings.read().max_viewers)
    }
}

/// Changes a server while it runs.
#[derive(Clone)]
pub struct Handle {
    app: Arc<App>,
}

impl Handle {
    /// Gives the server other prefixes and settings. Both are complete and checked, so this cannot
    /// fail. Streams that their visitors may read no longer end. All other streams go on.
    ///
    /// What a running server cannot change stays as it was: see [`Settings`].
    pub async fn reload(&self, access: Access, settings: Settings) {
        let app = Arc::clone(&self.app);
        let adopted = spawn_blocking(move || {
            // What may take long, or never end, comes before anything changes.
            let rules = Gate::rules_over(&access, &settings);
            app.gate.adopt(access, rules);
            let mut present = app.settings.write();
            *present = Arc::new(settings.for_running(&present));
            drop(present);
            app.gate.changed();
        });
        if adopted.await.is_err() {
            return;
        }
        let lead_outside = self.app.hub.registry().forbidden().await;
        self.app.review_streams(&lead_outside).await;
        self.app.metrics.reloaded(true);
    }

    /// Says that nothing will be written any more to the log at this path, such as standard input
    /// after its end. Its viewers get all of it, and then its end.
    pub fn complete_log(&self, path: &Path) {
        self.app.hub.registry().complete_log(path);
    }

    /// Counts an attempt to give the server other settings that failed before [`reload`](Self::reload).
    pub fn reload_failed(&self) {
        self.app.metrics.reloaded(false);
    }
}

impl Server {
    /// A server, before it serves.
    #[must_use]
    pub fn new(access: Access, settings: Settings) -> Self {
        let access = Arc::new(access);
        let registry = Registry::new(Arc::clone(&access), settings.rotate_wait);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let app = App {
            hub: Hub::new(registry),
            limiter: Limiter::new(tasks.clone(), closing.clone()),
            lines: LineIndexes::default(),
            counts: Counts::default(),
            withdrawals: Withdrawals::default(),
            gate: Gate::new(access, &settings),
            viewer_limit: ViewerLimit::default(),
            idle_connections: IdleConnections::default(),
            #[cfg(feature = "tls")]
            handshakes: tls::Handshakes::default(),
            heartbeats: HeartbeatScheduler::new(&settings),
            groups: BroadcastGroups::default(),
            sent: Arc::default(),
            metrics: ServerMetrics::default(),
            listing: SharedListing::new(settings.base_path.clone()),
            base: settings.base_path.clone(),
            settings: RwLock::new(Arc::new(settings)),
            tasks,
            closing,
            cut: CancellationToken::new(),
        };
        Self { app: Arc::new(app) }
    }

    /// Changes this server while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { app: Arc::clone(&self.app) }
    }

    /// Serves until `shutdown` completes, then sends what has been written so far, closes the
    /// viewers and returns.
    ///
    /// After it has returned, or its future is dropped, nothing of the server is left: no task, no
    /// watch, no descriptor.
    ///
    /// # Errors
    /// None yet: no connection can end the server.
    pub async fn serve(
        self,
        listeners: impl Into<Listeners>,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let app = self.app;
        // The tasks end whenever this function ends.
        let _closing = app.closing.clone().drop_guard();
        let cut = app.cut.clone().drop_guard();
        let heartbeats = tokio::spawn({
            let app = Arc::clone(&app);
            async move {
                tokio::select! {
                    () = app.heartbeats.run(&app.cut) => {}
                    () = app.keep_reviewing() => {}
                }
            }
        });
        listener::accept_until(&app, listeners.into(), shutdown).await;
        app.closing.cancel();
        let drained = async {
            app.hub.registry().end_followers().await;
            app.tasks.close();
            app.tasks.wait().await;
        };
        let has_drained = timeout(app.settings().shutdown_timeout, drained).await.is_ok();
        if !has_drained {
            tracing::warn!(
                viewers = app.viewer_limit.viewers(),
                "cutting off the viewers that did not take the end of their logs in time"
            );
        }
        drop(cut);
        // No task waits for a peer any more. They only log how their viewers ended.
        let ended = async { (heartbeats.await, app.tasks.wait().await) };
        if timeout(Duration::from_secs(1), ended).await.is_err() {
            tracing::warn!("some tasks of the server have not ended yet");
        }
        app.hub.registry().forget();
        Ok(())
    }
}
