//! The heartbeats of all WebSocket viewers, sent by one task.
//!
//! All viewers wait equally long, so those that are due are at the front of a queue, and nothing
//! has to be sorted. The clock is monotonic: no viewer is closed because the time is set.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::serve::websocket::connection::{Beat, Connection, Notice};
use crate::serve::{Heartbeat, Settings};

/// When a check is this late, the whole server was held up: it was stopped, or the machine slept.
/// The sockets may then have unread answers.
const LATE: Duration = Duration::from_millis(500);
/// How many heartbeats are sent before other tasks get their turn.
const BURST: usize = 128;

/// Sends heartbeats, and finds viewers that do not answer.
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
    /// Viewers that wait for their next heartbeat, with the time when it is due.
    beats: VecDeque<(Instant, ScheduledHeartbeat)>,
    /// Viewers that have got a heartbeat, with the time when their answer is due.
    answers: VecDeque<(Instant, ScheduledHeartbeat)>,
}

/// Small, because there is one for each viewer.
struct ScheduledHeartbeat {
    connection: Weak<Connection>,
    beat: Beat,
    /// The viewer has been given more time to answer this heartbeat.
    has_more_time: bool,
}

/// Removes the first of a queue if it is due.
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

    /// Adds a viewer. Only a viewer in the original's protocol gets text heartbeats: in
    /// `tailcast.v1` all text is JSON.
    pub(in crate::serve) fn add(&self, connection: &Arc<Connection>, is_original: bool) {
        let beat = match self.kind {
            Heartbeat::Text if is_original => Beat::Text,
            Heartbeat::Text | Heartbeat::Ping | Heartbeat::Off => Beat::Ping,
        };
        // It waits as if it had answered just now, so that the queues stay in order.
        let due = Instant::now() + self.timeout;
        let connection = Arc::downgrade(connection);
        let heartbeat = ScheduledHeartbeat { connection, beat, has_more_time: false };
        self.queues.lock().answers.push_back((due, heartbeat));
        self.added.notify_one();
    }

    fn next_due(&self) -> Option<Instant> {
        let queues = self.queues.lock();
        let fronts = [queues.beats.front(), queues.answers.front()];
        fronts.into_iter().flatten().map(|(due, _)| *due).min()
    }

    /// Sends heartbeats until `cut` is cancelled. Then cuts off the viewers that are left.
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

    /// Sends the heartbeats that are due, and checks the answers that are due.
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
                connection.send_heartbeat(heartbeat.beat);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::websocket::connection::tests::connected;
    use std::future::poll_fn;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio::time::{advance, sleep};

    const INTERVAL: Duration = Duration::from_secs(15);
    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A scheduler that runs, with one viewer.
    struct Scene {
        heartbeats: Arc<HeartbeatScheduler>,
        connection: Arc<Connection>,
        viewer: TcpStream,
        cut: CancellationToken,
    }

    impl Scene {
        async fn new(kind: Heartbeat, is_original: bool) -> Self {
            let settings = Settings {
                heartbeat: kind,
                heartbeat_interval: INTERVAL,
                pong_timeout: TIMEOUT,
                ..Settings::default()
            };
            let heartbeats = Arc::new(HeartbeatScheduler::new(&settings));
            let (connection, viewer) = connected().await;
            let cut = CancellationToken::new();
            tokio::spawn({
                let (heartbeats, cut) = (Arc::clone(&heartbeats), cut.clone());
                async move { heartbeats.run(&cut).await }
            });
            heartbeats.add(&connection, is_original);
            Self { heartbeats, connection, viewer, cut }
        }

        async fn expect(&mut self, beat: Beat) {
            let mut got = vec![0; beat.frame().len()];
            self.viewer.read_exact(&mut got).await.unwrap();
            assert_eq!(got, beat.frame());
        }

        async fn notice(&self) -> Notice {
            poll_fn(|cx| self.connection.poll_notice(cx)).await
        }

        /// Lets the scheduler handle what is due.
        async fn settle(&self) {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }

        async fn assert_kept(&self) {
            let notice = poll_fn(|cx| std::task::Poll::Ready(self.connection.poll_notice(cx)));
            assert!(notice.await.is_pending(), "it was told something");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_answers_nothing_is_asked_once_and_found_silent() {
        let mut scene = Scene::new(Heartbeat::Ping, false).await;
        let joined = Instant::now();
        assert!(matches!(scene.notice().await, Notice::Silent));
        let after = joined.elapsed();
        let expected = INTERVAL + TIMEOUT;
        assert!(after >= expected && after < expected + Duration::from_millis(20), "{after:?}");
        scene.expect(Beat::Ping).await;
        scene.assert_kept().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_answers_in_time_is_kept_however_long_there_is_nothing_to_read() {
        for delay in [Duration::ZERO, TIMEOUT - Duration::from_millis(10)] {
            let mut scene = Scene::new(Heartbeat::Ping, false).await;
            for _ in 0..20 {
                scene.expect(Beat::Ping).await;
                sleep(delay).await;
                scene.connection.mark_heard();
            }
            sleep(TIMEOUT).await;
            scene.assert_kept().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_gets_more_time_after_the_server_was_held_up() {
        let mut scene = Scene::new(Heartbeat::Ping, false).await;
        scene.expect(Beat::Ping).await;
        advance(TIMEOUT + LATE).await;
        scene.settle().await;
        scene.assert_kept().await;
        scene.connection.mark_heard();
        sleep(TIMEOUT).await;
        scene.assert_kept().await;
        scene.expect(Beat::Ping).await;
        advance(TIMEOUT + LATE).await;
        assert!(matches!(scene.notice().await, Notice::Silent), "more time is given once");
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_originals_protocol_gets_text() {
        Scene::new(Heartbeat::Text, true).await.expect(Beat::Text).await;
        Scene::new(Heartbeat::Text, false).await.expect(Beat::Ping).await;
        Scene::new(Heartbeat::Ping, true).await.expect(Beat::Ping).await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_no_viewer_is_asked_and_all_are_cut_at_the_end() {
        let scene = Scene::new(Heartbeat::Off, true).await;
        sleep(INTERVAL * 10).await;
        scene.assert_kept().await;
        assert_eq!(scene.connection.taken(), 0);
        scene.cut.cancel();
        assert!(matches!(scene.notice().await, Notice::Cut));
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_has_left_is_removed() {
        let Scene { heartbeats, connection, .. } = Scene::new(Heartbeat::Ping, false).await;
        drop(connection);
        sleep(INTERVAL * 2).await;
        let queues = heartbeats.queues.lock();
        assert!(queues.beats.is_empty() && queues.answers.is_empty());
    }
}
