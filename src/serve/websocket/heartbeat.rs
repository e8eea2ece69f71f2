//! The heartbeats of all WebSocket viewers, from one task, on the clock that no one sets.
//!
//! All wait equally long, so those that are due are at the front of a queue, and nothing has to be sorted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::serve::websocket::connection::{Connection, Notice};
use crate::serve::{App, Heartbeat, Settings};

/// A ping without content, as RFC 6455, section 5.5.2 has it.
const PING: &[u8] = b"\x89\x00";
/// The text `ping`, as the original sent it.
const TEXT: &[u8] = b"\x81\x04ping";
/// A server that comes so late to see who has answered was held up itself: stopped, or on a machine that slept.
const LATE: Duration = Duration::from_millis(500);
/// So many heartbeats are sent before others get their turn.
const BURST: usize = 128;

/// Whose heart is to beat.
#[derive(Default)]
pub(in crate::serve) struct HeartbeatScheduler {
    queues: Mutex<Queues>,
    came: Notify,
}

#[derive(Default)]
struct Queues {
    /// Who gets a heartbeat next.
    beats: VecDeque<(Instant, ScheduledHeartbeat)>,
    /// Of whom an answer is awaited.
    answers: VecDeque<(Instant, ScheduledHeartbeat)>,
}

struct ScheduledHeartbeat {
    line: Weak<Connection>,
    frame: &'static [u8],
    /// It has been given more time to answer this one.
    is_spared: bool,
}

/// How long an answer is awaited.
fn timeout(settings: &Settings) -> Duration {
    settings.pong_timeout.min(settings.heartbeat_interval)
}

impl HeartbeatScheduler {
    /// Takes a viewer in. `plain` when it speaks the original's protocol; who speaks `tailcast.v1` is promised that
    /// text is JSON.
    pub(in crate::serve) fn enter(&self, app: &App, line: &Arc<Connection>, plain: bool) {
        let frame = match app.settings.heartbeat {
            Heartbeat::Text if plain => TEXT,
            Heartbeat::Text | Heartbeat::Ping | Heartbeat::Off => PING,
        };
        // It waits as if it had answered just now, so that the queues stay in order.
        let due = Instant::now() + timeout(&app.settings);
        let beat = ScheduledHeartbeat { line: Arc::downgrade(line), frame, is_spared: false };
        self.queues().answers.push_back((due, beat));
        self.came.notify_one();
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_due(&self) -> Option<Instant> {
        let queues = self.queues();
        let fronts = [queues.beats.front(), queues.answers.front()];
        fronts.into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Beats until the server ends; those that are still there then are told when they are cut.
    pub(in crate::serve) async fn run(&self, app: &App) {
        loop {
            let due = self.next_due().filter(|_| app.settings.heartbeat != Heartbeat::Off);
            tokio::select! {
                () = app.cut.cancelled() => break,
                () = self.came.notified() => {}
                () = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                } => self.beat(app).await,
            }
        }
        let queues = std::mem::take(&mut *self.queues());
        for (_, beat) in queues.beats.into_iter().chain(queues.answers) {
            if let Some(line) = beat.line.upgrade() {
                line.notify(Notice::Cut);
            }
        }
    }

    async fn beat(&self, app: &App) {
        let settings = &app.settings;
        let timeout = timeout(settings);
        let now = Instant::now();
        let is_due = |queue: &mut VecDeque<(Instant, ScheduledHeartbeat)>| {
            let is_due = queue.front().is_some_and(|(due, _)| *due <= now);
            is_due.then(|| queue.pop_front()).flatten()
        };
        for count in 1.. {
            if count % BURST == 0 {
                tokio::task::yield_now().await;
            }
            let mut queues = self.queues();
            if let Some((due, mut beat)) = is_due(&mut queues.answers) {
                // What came meanwhile may not have been read yet.
                if now - due >= LATE && !std::mem::replace(&mut beat.is_spared, true) {
                    queues.answers.push_back((now + timeout, beat));
                    continue;
                }
                drop(queues);
                beat.is_spared = false;
                let Some(line) = beat.line.upgrade() else { continue };
                if line.is_silent() {
                    line.notify(Notice::Silent);
                }
                let due = now + settings.heartbeat_interval.saturating_sub(timeout);
                self.queues().beats.push_back((due, beat));
            } else if let Some((_, beat)) = is_due(&mut queues.beats) {
                drop(queues);
                let Some(line) = beat.line.upgrade() else { continue };
                line.beat(beat.frame);
                self.queues().answers.push_back((now + timeout, beat));
            } else {
                return;
            }
        }
    }
}
