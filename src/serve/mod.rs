//! The server: one port for pages, WebSockets, event streams and plain HTTP.
//!
//! [`Server`] takes a bound listener and a shutdown future, so that tests and embedders need neither ports nor
//! signals. A connection is hyper's until it asks for a WebSocket; then the bare socket is ours.

mod assets;
mod connection_limit;
mod health;
mod http;
mod json;
mod listener;
mod listing;
mod origin_check;
mod page;
mod query;
mod routes;
mod security;
mod websocket;
mod write_timeout;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::catalogue::{self, Catalogue};
use crate::log::{Access, Registry, registry};
use crate::search::{Limiter, LineIndexes};
use crate::session::Hub;
use connection_limit::ConnectionLimit;
use websocket::connection::Sent;
use websocket::group::BroadcastGroups;
use websocket::heartbeat::HeartbeatScheduler;

/// How the server finds out whether a viewer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// It does not.
    Off,
    /// WebSocket pings.
    Ping,
    /// The original's text message `ping`, answered by the text `pong`.
    Text,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which kind of heartbeat.
    pub heartbeat: Heartbeat,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A viewer from which nothing came, and whose socket took nothing, for so long after a heartbeat is gone.
    pub pong_timeout: Duration,
    /// So many viewers at once, of all logs together.
    pub max_viewers: usize,
    /// Origins of pages that may connect, besides the server's own: `http://host:port`.
    pub allow_origins: Vec<String>,
    /// Host names by which the server may be called, besides IP literals and `localhost`.
    pub allow_hosts: Vec<String>,
    /// Whether messages are deflated for viewers that offer to take them so (`permessage-deflate`).
    pub compress: bool,
    /// How long a file that was rotated away is heard.
    pub rotate_wait: Duration,
    /// Time for a connection to send its request's head, and between two requests.
    pub head_timeout: Duration,
    /// A viewer whose socket has taken nothing for so long, though there was something to take, is closed.
    pub stall_timeout: Duration,
    /// Time for the viewers to take what has been written when the server ends; those that are left are cut.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat::Ping,
            heartbeat_interval: Duration::from_secs(15),
            pong_timeout: Duration::from_secs(5),
            max_viewers: 10_000,
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
            compress: true,
            rotate_wait: registry::ROTATE_WAIT,
            head_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(8),
        }
    }
}

/// A server of the logs that an [`Access`] admits.
pub struct Server {
    app: Arc<App>,
}

/// What all connections share.
struct App {
    hub: Hub,
    /// Those who look around in logs.
    limiter: Limiter,
    lines: LineIndexes,
    access: Arc<Access>,
    settings: Settings,
    connection_limit: ConnectionLimit,
    heartbeats: HeartbeatScheduler,
    groups: BroadcastGroups,
    sent: Arc<Sent>,
    /// The list of logs, kept for a moment, so that many who look at it cost one walk.
    catalogue: Mutex<Option<(Instant, Arc<Catalogue>)>>,
    tasks: TaskTracker,
    /// No more requests.
    closing: CancellationToken,
    /// Whoever is still there is cut off.
    cut: CancellationToken,
}

/// How long the list of logs is kept.
const CATALOGUE_AGE: Duration = Duration::from_secs(1);

impl Server {
    /// A server that is not serving yet.
    #[must_use]
    pub fn new(access: Access, settings: Settings) -> Self {
        let access = Arc::new(access);
        let registry = Registry::new(Arc::clone(&access), settings.rotate_wait);
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let app = App {
            hub: Hub::new(registry),
            limiter: Limiter::new(tasks.clone(), closing.clone()),
            lines: LineIndexes::default(),
            access,
            connection_limit: ConnectionLimit::new(settings.max_viewers),
            heartbeats: HeartbeatScheduler::default(),
            groups: BroadcastGroups::default(),
            sent: Arc::default(),
            settings,
            catalogue: Mutex::default(),
            tasks,
            closing,
            cut: CancellationToken::new(),
        };
        Self { app: Arc::new(app) }
    }

    /// Serves until `shutdown` is done, then sends what has been written so far, closes the viewers and returns.
    ///
    /// # Errors
    /// When the listener's address can't be read. Nothing that a connection does ends the server.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let app = self.app;
        let heartbeats = Arc::clone(&app);
        tokio::spawn(async move { heartbeats.heartbeats.run(&heartbeats).await });
        listener::accept_until(&app, listener, shutdown).await?;
        app.closing.cancel();
        let drained = async {
            app.hub.registry().close().await;
            app.tasks.close();
            app.tasks.wait().await;
        };
        if timeout(app.settings.shutdown_timeout, drained).await.is_err() {
            tracing::warn!(
                viewers = app.connection_limit.taken(),
                "cutting off those who did not take the end in time"
            );
            app.cut.cancel();
            // Nothing waits for a peer any more; this only lets the tasks say goodbye to the log.
            let _late = timeout(Duration::from_secs(1), app.tasks.wait()).await;
        }
        Ok(())
    }
}

impl App {
    /// The list of logs, at most a second old.
    async fn catalogue(self: &Arc<Self>) -> Arc<Catalogue> {
        let app = Arc::clone(self);
        let walk = move || {
            // Those who ask at the same time wait for one walk, here.
            let mut kept = app.catalogue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some((at, catalogue)) = kept.as_ref()
                && at.elapsed() < CATALOGUE_AGE
            {
                return Arc::clone(catalogue);
            }
            let catalogue = Arc::new(catalogue::list(&app.access));
            *kept = Some((Instant::now(), Arc::clone(&catalogue)));
            catalogue
        };
        match tokio::task::spawn_blocking(walk).await {
            Ok(catalogue) => catalogue,
            Err(_) => Arc::new(Catalogue { entries: Vec::new(), truncated: true }),
        }
    }
}
