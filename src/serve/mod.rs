//! The server: one port for pages, WebSockets, event streams and plain HTTP.
//!
//! [`Server`] takes a bound listener and a shutdown future, so that tests and embedders need
//! neither ports nor signals. hyper owns a connection until it becomes a WebSocket. After that
//! `websocket` owns the bare socket.

mod access_log;
mod assets;
mod body;
mod conditional;
mod cors;
mod dispatch;
mod health;
mod http;
mod idle_connections;
mod json;
mod listener;
mod listing;
mod origin_check;
mod page;
mod query;
mod refusal;
mod route;
mod security;
mod shared_listing;
mod viewer_limit;
mod websocket;
mod write_timeout;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::log::{Access, Registry, registry};
use crate::search::{Limiter, LineIndexes};
use crate::session::Hub;
use idle_connections::IdleConnections;
use shared_listing::SharedListing;
use viewer_limit::ViewerLimit;
use websocket::connection::Sent;
use websocket::group::BroadcastGroups;
use websocket::heartbeat::HeartbeatScheduler;

/// The time between two heartbeats, unless the settings say otherwise.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// How the server detects viewers that are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Not at all.
    Off,
    /// WebSocket pings.
    Ping,
    /// The original's text message `ping`, answered by the text `pong`.
    Text,
}

/// The settings of a server. The help of the command line describes most of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which kind of heartbeat.
    pub heartbeat: Heartbeat,
    /// Time between two heartbeats.
    pub heartbeat_interval: Duration,
    /// A viewer is gone if, for this time after a heartbeat, it sends nothing and its socket takes
    /// nothing.
    pub pong_timeout: Duration,
    /// The most viewers at a time, of all logs together. A request for rows, lines, matches or text
    /// counts as a viewer, unless its log already has viewers.
    pub max_viewers: usize,
    /// Origins of pages that may read logs, besides the server's own: `http://host:port`. This
    /// applies to WebSockets, event streams and `fetch`.
    pub allow_origins: Vec<String>,
    /// Host names by which the server may be reached, besides IP addresses and `localhost`.
    pub allow_hosts: Vec<String>,
    /// Whether messages are compressed for viewers that offer `permessage-deflate`.
    pub compress: bool,
    /// How long a file that was rotated away is still read.
    pub rotate_wait: Duration,
    /// The time that a connection has to send the head of a request, and the longest pause between
    /// two requests.
    pub head_timeout: Duration,
    /// A viewer is closed when its socket has taken none of the waiting bytes for this time. Zero
    /// closes every viewer that does not take them at once.
    pub stall_timeout: Duration,
    /// The time that viewers have to take the rest when the server ends. After that they are cut
    /// off.
    pub shutdown_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Heartbeat::Ping,
            heartbeat_interval: HEARTBEAT_INTERVAL,
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
    access: Arc<Access>,
    settings: Settings,
    viewer_limit: ViewerLimit,
    idle_connections: IdleConnections,
    heartbeats: HeartbeatScheduler,
    groups: BroadcastGroups,
    sent: Arc<Sent>,
    listing: SharedListing,
    tasks: TaskTracker,
    /// Cancelled when no more requests are accepted.
    closing: CancellationToken,
    /// Cancelled when the server stops waiting for peers.
    cut: CancellationToken,
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
            access,
            viewer_limit: ViewerLimit::new(settings.max_viewers),
            idle_connections: IdleConnections::default(),
            heartbeats: HeartbeatScheduler::new(&settings),
            groups: BroadcastGroups::default(),
            sent: Arc::default(),
            settings,
            listing: SharedListing::default(),
            tasks,
            closing,
            cut: CancellationToken::new(),
        };
        Self { app: Arc::new(app) }
    }

    /// Serves until `shutdown` completes, then sends what has been written so far, closes the
    /// viewers and returns.
    ///
    /// After it has returned, or its future is dropped, nothing of the server is left: no task, no
    /// watch, no descriptor.
    ///
    /// # Errors
    /// When the listener's address can't be read. No connection can end the server.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let app = self.app;
        // The tasks end whenever this function ends.
        let _closing = app.closing.clone().drop_guard();
        let cut = app.cut.clone().drop_guard();
        let heartbeats = tokio::spawn({
            let app = Arc::clone(&app);
            async move { app.heartbeats.run(&app.cut).await }
        });
        listener::accept_until(&app, listener, shutdown).await?;
        app.closing.cancel();
        let drained = async {
            app.hub.registry().close().await;
            app.tasks.close();
            app.tasks.wait().await;
        };
        let has_drained = timeout(app.settings.shutdown_timeout, drained).await.is_ok();
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
        Ok(())
    }
}
