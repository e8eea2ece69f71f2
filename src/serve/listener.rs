//! Connections: how they are accepted, bounded and ended.
//!
//! Some descriptors are always reserved for logs: a log that rotates must be opened however many
//! connections there are. When descriptors run short, the connection that has been idle for longest
//! is closed for a new one. When none is idle, the new one is refused with 503.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::task::JoinSet;
use tokio::time::Instant;
#[cfg(feature = "tls")]
use tokio::time::timeout;

use crate::serve::body::Body;
use crate::serve::idle_connections::TrackedConnection;
use crate::serve::socket::{Listener, Listeners, Peer, Socket};
#[cfg(feature = "tls")]
use crate::serve::tls::{self, Arrival};
use crate::serve::websocket::upgrade::{Upgrade, UpgradeSlot};
use crate::serve::websocket::viewer::{OwnSession, Viewer};
use crate::serve::write_timeout::WriteTimeout;
use crate::serve::{App, dispatch};

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The pause after a failed accept doubles from this minimum to the maximum below.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A quarter of the descriptors is reserved for logs, within these bounds.
const LOG_DESCRIPTORS_MIN: u64 = 8;
const LOG_DESCRIPTORS_MAX: u64 = 512;
/// A shortage of descriptors is logged at most this often.
const SHORTAGE_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The answer to a connection for which no descriptor is left.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 33\r\n\r\nthe server is out of descriptors\n";

/// Accepts connections on all addresses until `shutdown` completes.
pub(super) async fn accept_until(
    app: &Arc<App>,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) {
    // On the runtime's workers, so that a connection is allocated by the threads that serve it: the
    // heap of another thread would keep the gaps beside aligned blocks, which nothing there needs.
    let mut accepting = JoinSet::new();
    for listener in listeners.0 {
        accepting.spawn(accept(Arc::clone(app), listener));
    }
    tokio::select! {
        () = shutdown => {}
        // It accepts without end, unless it panics.
        Some(Err(error)) = accepting.join_next() => {
            if let Ok(panic) = error.try_into_panic() {
                resume_unwind(panic);
            }
        }
    }
    // The addresses are free when this returns.
    accepting.shutdown().await;
}

/// Accepts connections on one address, without end.
async fn accept(app: Arc<App>, listener: Listener) -> Infallible {
    let mut pause = ACCEPT_PAUSE_MIN;
    let mut shortage = Shortage::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                pause = ACCEPT_PAUSE_MIN;
                let socket = if is_kept_back(&socket) {
                    shortage.log(&listener);
                    make_room(&app, socket, peer).await
                } else {
                    Some(socket)
                };
                if let Some(socket) = socket {
                    app.tasks.spawn(connection(Arc::clone(&app), socket, peer));
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Something else in the process has used up the reserved descriptors.
                if pause == ACCEPT_PAUSE_MIN {
                    tracing::warn!(bound = %listener, %error, "can't accept a connection; hint: raise `ulimit -n`");
                }
                app.idle_connections.close_oldest().await;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// When a shortage of descriptors was last logged.
#[derive(Default)]
struct Shortage(Option<Instant>);

impl Shortage {
    fn log(&mut self, bound: &Listener) {
        if self.0.is_none_or(|logged| logged.elapsed() >= SHORTAGE_LOG_INTERVAL) {
            tracing::warn!(
                %bound,
                "can't accept more connections: the other descriptors are kept for logs; idle connections are closed \
                 for new ones; hint: raise `ulimit -n`"
            );
            self.0 = Some(Instant::now());
        }
    }
}

/// Whether the descriptor of a connection is one of those that are reserved for logs.
///
/// The kernel assigns the lowest free number (open(2)), so a high number means that about as many
/// descriptors are open, whoever opened them.
fn is_kept_back(socket: &Socket) -> bool {
    let limit = getrlimit(Resource::Nofile).current;
    let number = u64::try_from(socket.as_raw_fd()).unwrap_or(0);
    limit.is_some_and(|limit| number >= first_kept_back(limit))
}

/// Closes idle connections until a new one has a descriptor that is not reserved. None when the new
/// connection had to be refused.
async fn make_room(app: &Arc<App>, mut socket: Socket, peer: Peer) -> Option<Socket> {
    while app.idle_connections.close_oldest().await {
        match socket.renumber() {
            Ok(renumbered) if is_kept_back(&renumbered) => socket = renumbered,
            Ok(renumbered) => return Some(renumbered),
            Err(error) => {
                tracing::debug!(%error, "can't give a connection another descriptor");
                return None;
            }
        }
    }
    #[cfg(feature = "tls")]
    if speaks_tls(app, &socket) {
        let app = Arc::clone(app);
        app.tasks.clone().spawn(async move {
            let certificate = app.settings().certificate.clone();
            let turning = app.handshakes.turn_away(socket, peer, certificate.as_ref(), FULL);
            app.closing.run_until_cancelled(turning).await;
        });
        return None;
    }
    turn_away(&socket, peer);
    None
}

/// Whether the peer awaits a handshake before anything that it can read.
#[cfg(feature = "tls")]
fn speaks_tls(app: &App, socket: &Socket) -> bool {
    matches!(socket, Socket::Tcp(_)) && app.settings().certificate.is_some()
}

/// The first of the reserved descriptors, under a limit.
fn first_kept_back(limit: u64) -> u64 {
    limit.saturating_sub((limit / 4).clamp(LOG_DESCRIPTORS_MIN, LOG_DESCRIPTORS_MAX))
}

/// Answers 503 without waiting for the request.
fn turn_away(socket: &Socket, peer: Peer) {
    if let Err(error) = socket.try_write(FULL) {
        tracing::debug!(%peer, %error, "can't turn a connection away with an answer");
    }
}

/// Whether an accept failed because of a single connection, which has ended.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// The body of an answer, after which its connection is idle again.
struct AnswerBody {
    body: Body,
    /// None for a connection that becomes a WebSocket: it is never idle.
    connection: Option<Arc<TrackedConnection>>,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.set_idle();
        }
    }
}

/// Serves a connection from its beginning to its end.
///
/// The future that answers its requests and opens the log is boxed. It takes no memory once the
/// connection is that of a viewer.
fn connection(app: Arc<App>, socket: Socket, peer: Peer) -> impl Future<Output = ()> {
    let opening = Box::pin(open(Arc::clone(&app), socket, peer));
    async move {
        if let Some((viewer, session)) = opening.await {
            viewer.follow(app, session).await;
        }
    }
}

/// Answers the requests of a connection. None when it has ended, and else the viewer that it has
/// become.
async fn open(app: Arc<App>, socket: Socket, peer: Peer) -> Option<(Box<Viewer>, Box<OwnSession>)> {
    let upgrade = Box::pin(answer_requests(Arc::clone(&app), socket, peer)).await?;
    Box::pin(upgrade.open(&app)).await
}

/// Answers the requests of a connection, until it ends or becomes that of a viewer.
async fn answer_requests(app: Arc<App>, socket: Socket, peer: Peer) -> Option<Box<Upgrade>> {
    if let Err(error) = socket.bound_buffers() {
        tracing::debug!(%peer, %error, "can't bound the socket's buffers");
        return None;
    }
    // A handshake counts like a request that has not come yet.
    let tracked = Arc::new(app.idle_connections.track());
    #[cfg(feature = "tls")]
    let (socket, peer) = match shake_hands(&app, socket, peer, &tracked).await {
        Some(Arrival::Ready(socket, peer)) => (socket, peer),
        Some(Arrival::PlainHttp(socket)) => {
            let service =
                service_fn(async |request| Ok::<_, Infallible>(tls::answer_plain_http(&request)));
            serve(&app, socket, peer, &tracked, &AtomicBool::new(false), service).await;
            return None;
        }
        None => return None,
    };
    let has_asked = Arc::new(AtomicBool::new(false));
    let slot = UpgradeSlot::default();
    let service = {
        let (app, tracked, has_asked) =
            (Arc::clone(&app), Arc::clone(&tracked), Arc::clone(&has_asked));
        let slot = slot.clone();
        service_fn(move |request| {
            has_asked.store(true, Ordering::Relaxed);
            tracked.set_busy();
            let (app, tracked, slot) = (Arc::clone(&app), Arc::clone(&tracked), slot.clone());
            async move {
                let response = dispatch::answer(&app, peer, request, &slot).await;
                let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                let connection = Some(tracked).filter(|_| !is_upgrade);
                let response: Response<AnswerBody> =
                    response.map(|body| AnswerBody { body, connection });
                Ok::<_, Infallible>(response)
            }
        })
    };
    serve(&app, socket, peer, &tracked, &has_asked, service).await;
    slot.take()
}

/// Begins a connection, with TLS where that is spoken. None when the peer is to blame, or too slow,
/// or the connection is to be closed.
#[cfg(feature = "tls")]
async fn shake_hands(
    app: &App,
    socket: Socket,
    peer: Peer,
    tracked: &TrackedConnection,
) -> Option<Arrival> {
    if !speaks_tls(app, &socket) {
        return Some(Arrival::Ready(socket, peer));
    }
    let settings = app.settings();
    let begun = app.handshakes.begin().await;
    let arriving = tls::arrive(socket, peer, settings.certificate.as_ref());
    let arriving = app.handshakes.on_few_threads(arriving);
    let arrived = tokio::select! {
        arrived = timeout(settings.head_timeout, arriving) => arrived,
        () = app.closing.cancelled() => return None,
        () = tracked.close_wanted() => return None,
        () = begun.close_wanted() => return None,
    };
    match arrived {
        Ok(Ok(arrival)) => Some(arrival),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "the TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "the TLS handshake took too long");
            None
        }
    }
}

/// Answers the requests of a connection.
async fn serve<S, B>(
    app: &App,
    socket: Socket,
    peer: Peer,
    tracked: &TrackedConnection,
    has_asked: &AtomicBool,
    service: S,
) where
    S: HttpService<Incoming, ResBody = B, Error = Infallible>,
    B: HttpBody<Data = Bytes, Error = io::Error> + Send + 'static,
{
    let settings = app.settings();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(WriteTimeout::new(socket, settings.stall_timeout)), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async {
            tokio::select! {
                () = app.closing.cancelled() => {}
                () = tracked.close_wanted() => {}
            }
        } => {
            if !has_asked.load(Ordering::Relaxed) {
                return;
            }
            // An answer may still be in progress.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = app.cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "the connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_back_under_every_limit() {
        for (limit, expected) in [(4, 0), (20, 12), (64, 48), (1024, 768), (11_024, 10_512)] {
            assert_eq!(first_kept_back(limit), expected, "of {limit}");
        }
    }

    #[test]
    fn a_connection_that_is_turned_away_gets_a_whole_answer() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{text}");
        assert!(!head.contains("\\"), "{text}");
    }
}
