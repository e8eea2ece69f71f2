//! The task of a follower that polls nothing: it publishes what it is fed.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::{Follower, LINGER, Registration};

/// Publishes what comes, until nobody has viewed the log for [`LINGER`], nothing more can come, or
/// everything ends. A refresh is complete when all has been published that had come.
pub(in crate::log) async fn publish_feed(
    follower: Arc<Follower>,
    mut registration: impl Registration,
    mut feed: mpsc::Receiver<Vec<FileEvent>>,
    closing: CancellationToken,
) {
    let woken = Arc::new(Notify::new());
    let wakes = Arc::clone(&woken);
    follower.wake.on_wake(move |_| wakes.notify_one());
    let publish = |events| follower.publish(Poll { events, ..Poll::default() });
    let mut idle_since = None;
    loop {
        let asked = follower.asked();
        // As many as can have come before: a feed that never pauses must not delay the refresh.
        for _ in 0..feed.max_capacity() {
            let Ok(events) = feed.try_recv() else { break };
            publish(events);
        }
        follower.answer(asked);
        if closing.is_cancelled() {
            break;
        }
        let mut until = None;
        if follower.viewers() > 0 {
            idle_since = None;
        } else {
            let since = *idle_since.get_or_insert_with(Instant::now);
            let is_idle = since.elapsed() >= LINGER || follower.is_unwanted();
            if is_idle && registration.retire(None) {
                break;
            }
            until = Some(since + LINGER);
        }
        let lingering = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            events = feed.recv() => match events {
                Some(events) => publish(events),
                None => break,
            },
            () = woken.notified() => {}
            () = lingering => {}
            () = closing.cancelled() => {}
        }
    }
}
