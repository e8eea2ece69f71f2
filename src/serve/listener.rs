//! Connections: accepting them, bounding what one may take, ending them.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::serve::write_timeout::WriteTimeout;
use crate::serve::{App, routes};

/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What the kernel may hold of what a peer has not taken. The kernel doubles it for its own book-keeping.
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// What may lie unsent in the kernel before a socket counts as full.
const UNSENT_BYTES: u32 = 64 * 1024;
/// The pause after an accept that failed doubles between these.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(5);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Accepts connections until `shutdown` is done.
pub(super) async fn accept_until(
    app: &Arc<App>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let bound = listener.local_addr()?;
    tokio::pin!(shutdown);
    let mut pause = ACCEPT_PAUSE_MIN;
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                pause = ACCEPT_PAUSE_MIN;
                app.tasks.spawn(connection(Arc::clone(app), stream, remote));
            }
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely. Those that are open go on, and as they end there is room again.
                if pause == ACCEPT_PAUSE_MIN {
                    tracing::warn!(%bound, %error, "can't accept a connection; hint: raise `ulimit -n`");
                }
                tokio::select! {
                    () = &mut shutdown => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
            }
        }
    }
}

/// Whether an accept failed because of the one connection, which is gone.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn bound_buffers(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)
}

async fn connection(app: Arc<App>, stream: TcpStream, remote: SocketAddr) {
    if let Err(error) = bound_buffers(&stream) {
        tracing::debug!(%remote, %error, "can't bound the socket's buffers");
        return;
    }
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (app, asked) = (Arc::clone(&app), Arc::clone(&asked));
        service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            let app = Arc::clone(&app);
            async move { Ok::<_, Infallible>(routes::answer(&app, remote, request).await) }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(app.settings.head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(WriteTimeout::new(stream, app.settings.stall_timeout)),
            service,
        )
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = app.closing.cancelled() => {
            if !asked.load(Ordering::Relaxed) {
                // It has asked for nothing yet.
                return;
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => ended,
                () = app.cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%remote, %error, "the connection ended early");
    }
}
