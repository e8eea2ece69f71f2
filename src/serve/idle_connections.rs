//! Idle connections, which have no request at the moment, in the order in which they may be closed.
//!
//! An idle connection costs a descriptor. When descriptors run short, the connection that has been
//! idle for longest is closed first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long closing a connection may take before the next one is tried.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// The idle connections of a server.
#[derive(Debug, Default)]
pub(super) struct IdleConnections(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The idle connections by number. A connection gets a new number each time it becomes idle, so
    /// the first has been idle for longest.
    idle: Mutex<BTreeMap<u64, Arc<Signals>>>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Signals {
    /// The connection is to close.
    close: Notify,
    /// The connection is closed.
    closed: Notify,
}

/// The table's entry of a connection. Its drop reports that the connection is closed.
#[derive(Debug)]
pub(super) struct TrackedConnection {
    table: Arc<Table>,
    signals: Arc<Signals>,
    /// Its number while it is idle.
    number: Mutex<Option<u64>>,
}

impl IdleConnections {
    /// Tracks a new connection, which is idle until its first request.
    pub(super) fn track(&self) -> TrackedConnection {
        let connection = TrackedConnection {
            table: Arc::clone(&self.0),
            signals: Arc::default(),
            number: Mutex::default(),
        };
        connection.set_idle();
        connection
    }

    /// How many there are.
    #[cfg(feature = "tls")]
    pub(super) fn count(&self) -> usize {
        self.0.idle.lock().len()
    }

    /// Closes the connection that has been idle for longest. False when there is none.
    pub(super) async fn close_oldest(&self) -> bool {
        loop {
            let oldest = self.0.idle.lock().pop_first();
            let Some((_, signals)) = oldest else { return false };
            signals.close.notify_one();
            // A connection that still sends an answer may take longer.
            if timeout(CLOSE_TIMEOUT, signals.closed.notified()).await.is_ok() {
                return true;
            }
        }
    }
}

impl TrackedConnection {
    pub(super) fn set_idle(&self) {
        let number = self.table.next.fetch_add(1, Ordering::Relaxed);
        let previous = self.number.lock().replace(number);
        let mut idle = self.table.idle.lock();
        if let Some(previous) = previous {
            idle.remove(&previous);
        }
        idle.insert(number, Arc::clone(&self.signals));
    }

    pub(super) fn set_busy(&self) {
        if let Some(number) = self.number.lock().take() {
            self.table.idle.lock().remove(&number);
        }
    }

    /// Waits until the connection is to be closed.
    pub(super) async fn close_wanted(&self) {
        self.signals.close.notified().await;
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.set_busy();
        self.signals.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that closes when the table requests it.
    fn connect(idle: &IdleConnections) -> (Arc<TrackedConnection>, tokio::task::JoinHandle<()>) {
        let connection = Arc::new(idle.track());
        let weak = Arc::downgrade(&connection);
        let signals = Arc::clone(&connection.signals);
        let closing = tokio::spawn(async move {
            signals.close.notified().await;
            if let Some(connection) = weak.upgrade() {
                connection.signals.closed.notify_one();
            }
        });
        (connection, closing)
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_has_been_idle_for_longest_is_closed_first() {
        let idle = IdleConnections::default();
        let (first, first_closed) = connect(&idle);
        let (_second, second_closed) = connect(&idle);
        first.set_busy();
        first.set_idle();
        assert!(idle.close_oldest().await);
        second_closed.await.unwrap();
        assert!(!first_closed.is_finished());
        assert!(idle.close_oldest().await);
        first_closed.await.unwrap();
        assert!(!idle.close_oldest().await, "there is none left");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_or_closed_connection_is_left_alone() {
        let idle = IdleConnections::default();
        let busy = idle.track();
        busy.set_busy();
        drop(idle.track());
        assert!(!idle.close_oldest().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_close_is_passed_over() {
        let idle = IdleConnections::default();
        let _stuck = idle.track();
        let (_willing, closed) = connect(&idle);
        assert!(idle.close_oldest().await);
        closed.await.unwrap();
    }
}
