//! How many handshakes go on at once, and what they may take from viewers.
//!
//! A handshake costs memory while it waits for its client, and a core for a moment: the signature. A
//! client may wait without end, so the oldest handshake gives way to a new one when there are many.
//! And signatures are made on some of the threads only, so that viewers find the others.

use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::PollSemaphore;

use crate::serve::idle_connections::{IdleConnections, TrackedConnection};
use crate::serve::socket::{Peer, Socket};
use crate::serve::tls::{Arrival, Certificate, arrive};

/// About so many handshakes go on at a time.
const BEGUN_MAX: usize = 256;
/// So many connections that are turned away get a handshake and an answer at a time.
const TURNED_AWAY_MAX: usize = 2;
/// How long such a handshake may take, with the answer.
const TURN_AWAY_TIME_MAX: Duration = Duration::from_secs(2);
/// The alert `internal_error` (RFC 8446, section 6), as the first record of a connection.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 80];

/// The handshakes of a server.
#[derive(Debug)]
pub(in crate::serve) struct Handshakes {
    begun: IdleConnections,
    threads: Arc<Semaphore>,
    turned_away: Semaphore,
}

impl Default for Handshakes {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self {
            begun: IdleConnections::default(),
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            turned_away: Semaphore::new(TURNED_AWAY_MAX),
        }
    }
}

impl Handshakes {
    /// Counts a handshake until the result is dropped. When there are too many, the one that began
    /// first is asked to close.
    pub(in crate::serve) async fn begin(&self) -> TrackedConnection {
        while self.begun.count() >= BEGUN_MAX && self.begun.close_oldest().await {}
        self.begun.track()
    }

    /// A handshake that occupies some of the threads only, and these only while it calculates.
    pub(in crate::serve) fn on_few_threads<F: Future>(
        &self,
        handshake: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let threads = PollSemaphore::new(Arc::clone(&self.threads));
        OnFewThreads { threads, handshake: Box::pin(handshake) }
    }

    /// Answers a connection for which there is no room, if few others are answered. A client that
    /// awaits a handshake can read nothing else than an alert before it.
    pub(in crate::serve) async fn turn_away(
        &self,
        socket: Socket,
        peer: Peer,
        certificate: Option<&Certificate>,
        answer: &[u8],
    ) {
        let Ok(_place) = self.turned_away.try_acquire() else {
            if let Err(error) = socket.try_write(ALERT) {
                tracing::debug!(%peer, %error, "can't turn a connection away with an alert");
            }
            return;
        };
        let answering = async {
            let arriving = arrive(socket, peer, certificate);
            let mut socket = match self.on_few_threads(arriving).await? {
                Arrival::Ready(socket, _) | Arrival::PlainHttp(socket) => socket,
            };
            socket.write_all(answer).await?;
            socket.shutdown().await?;
            // The kernel may take the answer back if something that came stays unread.
            while socket.read(&mut [0; 1024]).await? > 0 {}
            std::io::Result::Ok(())
        };
        if let Ok(Err(error)) = timeout(TURN_AWAY_TIME_MAX, answering).await {
            tracing::debug!(%peer, %error, "can't turn a connection away with an answer");
        }
    }
}

struct OnFewThreads<F> {
    threads: PollSemaphore,
    handshake: Pin<Box<F>>,
}

impl<F: Future> Future for OnFewThreads<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let _thread = ready!(self.threads.poll_acquire(cx));
        self.handshake.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn handshakes_calculate_on_few_threads_and_wait_on_none() {
        let handshakes =
            Handshakes { threads: Arc::new(Semaphore::new(1)), ..Handshakes::default() };
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // This one waits for its client all the time.
        let waiting = tokio::spawn(handshakes.on_few_threads(std::future::pending::<()>()));
        let calculating: Vec<_> = (0..20)
            .map(|_| {
                let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(handshakes.on_few_threads(async move {
                    for _ in 0..3 {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(1));
                        now.fetch_sub(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                    }
                }))
            })
            .collect();
        for calculated in calculating {
            timeout(Duration::from_secs(20), calculated)
                .await
                .expect("it finds no thread")
                .unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 1);
        waiting.abort();
    }
}
