//! The heartbeats of all WebSocket viewers, sent by one task.
//!
//! All viewers wait equally long, so those that are due are at the front of a queue, and nothing has to be sorted. The
//! clock is the monotonic one: nobody is closed because somebody sets the time.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::serve::websocket::connection::{Connection, Notice};
use crate::serve::{Heartbeat, Settings};

/// A ping without content (RFC 6455, section 5.5.2).
const PING: &[u8] = b"\x89\x00";
/// The text `ping`, as the original sends it.
const TEXT: &[u8] = b"\x81\x04ping";
/// A check that comes this late was held up with the whole server: it was stopped, or the machine slept. Answers may lie
/// unread in the sockets then.
const LATE: Duration = Duration::from_millis(500);
/// Heartbeats in a row before other tasks get their turn.
const BURST: usize = 128;

/// Sends heartbeats and finds out who does not answer.
pub(in crate::serve) struct HeartbeatScheduler {
    kind: Heartbeat,
    /// Time between two heartbeats.
    interval: Duration,
    /// Time for the answer, at most the interval.
    timeout: Duration,
    queues: Mutex<Queues>,
    added: Notify,
}

#[derive(Default)]
struct Queues {
    /// Viewers that wait for their next heartbeat, by when it is due.
    beats: VecDeque<(Instant, ScheduledHeartbeat)>,
    /// Viewers that have got one, by when their answer is due.
    answers: VecDeque<(Instant, ScheduledHeartbeat)>,
}

struct ScheduledHeartbeat {
    connection: Weak<Connection>,
    frame: &'static [u8],
    /// The viewer has been given more time to answer this heartbeat.
    has_more_time: bool,
}

/// Takes the first of a queue if it is due.
fn pop_due(
    queue: &mut VecDeque<(Instant, ScheduledHeartbeat)>,
    now: Instant,
) -> Option<(Instant, ScheduledHeartbeat)> {
    queue.front().is_some_and(|(due, _)| *due <= now).then(|| queue.pop_front()).flatten()
}

impl HeartbeatScheduler {
    pub(in crate::serve) fn new(settings: &Settings) -> Self {
        Self {
            kind: settings.heartbeat,
            interval: settings.heartbeat_interval,
            timeout: settings.pong_timeout.min(settings.heartbeat_interval),
            queues: Mutex::default(),
            added: Notify::new(),
        }
    }

    /// Adds a viewer. Only one in the original's protocol gets text heartbeats: in `tailcast.v1` all text is JSON.
    pub(in crate::serve) fn add(&self, connection: &Arc<Connection>, is_original: bool) {
        let frame = match self.kind {
            Heartbeat::Text if is_original => TEXT,
            Heartbeat::Text | Heartbeat::Ping | Heartbeat::Off => PING,
        };
        // It waits as if it had answered just now, so that the queues stay in order.
        let due = Instant::now() + self.timeout;
        let connection = Arc::downgrade(connection);
        let heartbeat = ScheduledHeartbeat { connection, frame, has_more_time: false };
        self.queues.lock().answers.push_back((due, heartbeat));
        self.added.notify_one();
    }

    fn next_due(&self) -> Option<Instant> {
        let queues = self.queues.lock();
        let fronts = [queues.beats.front(), queues.answers.front()];
        fronts.into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Sends heartbeats until `cut` is cancelled, and tells the viewers that are left then that they are cut off.
    pub(in crate::serve) async fn run(&self, cut: &CancellationToken) {
        loop {
            let due = self.next_due().filter(|_| self.kind != Heartbeat::Off);
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cut.cancelled() => break,
                () = self.added.notified() => {}
                () = is_due => self.handle_due().await,
            }
        }
        let queues = std::mem::take(&mut *self.queues.lock());
        for (_, heartbeat) in queues.beats.into_iter().chain(queues.answers) {
            if let Some(connection) = heartbeat.connection.upgrade() {
                connection.notify(Notice::Cut);
            }
        }
    }

    /// Sends the heartbeats that are due, and checks the answers that are.
    async fn handle_due(&self) {
        let now = Instant::now();
        for count in 1.. {
            if count % BURST == 0 {
                tokio::task::yield_now().await;
            }
            let mut queues = self.queues.lock();
            if let Some((due, heartbeat)) = pop_due(&mut queues.answers, now) {
                drop(queues);
                self.check_answer(now, due, heartbeat);
            } else if let Some((_, heartbeat)) = pop_due(&mut queues.beats, now) {
                drop(queues);
                let Some(connection) = heartbeat.connection.upgrade() else { continue };
                connection.send_heartbeat(heartbeat.frame);
                self.queues.lock().answers.push_back((now + self.timeout, heartbeat));
            } else {
                return;
            }
        }
    }

    fn check_answer(&self, now: Instant, due: Instant, mut heartbeat: ScheduledHeartbeat) {
        if now - due >= LATE && !heartbeat.has_more_time {
            heartbeat.has_more_time = true;
            self.queues.lock().answers.push_back((now + self.timeout, heartbeat));
            return;
        }
        heartbeat.has_more_time = false;
        let Some(connection) = heartbeat.connection.upgrade() else { return };
        if connection.is_silent() {
            connection.notify(Notice::Silent);
        }
        let due = now + self.interval.saturating_sub(self.timeout);
        self.queues.lock().beats.push_back((due, heartbeat));
    }
}
