//! Calls to file systems on the runtime's blocking threads, bounded for each device.
//!
//! A file system that hangs keeps each of its calls on a thread. Since a device has a limited
//! number of them, the others still find threads.

use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// At most this many calls to one device run at a time. The runtime has 512 blocking threads.
pub(crate) const DEVICE_CALLS_MAX: usize = 64;

/// The limit of each device that was ever called. All servers of the process share its threads, and
/// so the limits.
static DEVICES: LazyLock<DashMap<u64, Arc<Semaphore>>> = LazyLock::new(DashMap::new);

/// Runs a call to a device's file system on a blocking thread. Returns None when the call panics or
/// the runtime ends.
pub(crate) async fn run<T: Send + 'static>(
    device: u64,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let limit = {
        let entry =
            DEVICES.entry(device).or_insert_with(|| Arc::new(Semaphore::new(DEVICE_CALLS_MAX)));
        Arc::clone(&entry)
    };
    let permit = limit.acquire_owned().await.ok()?;
    let calling = spawn_blocking(move || {
        // The call occupies its thread until it returns, even when nobody waits for it any more.
        let _permit = permit;
        call()
    });
    calling.await.ok()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_device_whose_calls_hang_leaves_threads_to_the_others() {
        let deadline = Duration::from_secs(20);
        // No file system has these numbers.
        let (hung, other) = (u64::MAX, u64::MAX - 1);
        let (started, starts) = channel();
        // The calls end when the sender is dropped.
        let (release, released) = channel::<()>();
        let released = Arc::new(parking_lot::Mutex::new(released));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..10 * DEVICE_CALLS_MAX {
            let (started, released) = (started.clone(), released.clone());
            calls.spawn(run(hung, move || {
                started.send(()).unwrap();
                released.lock().recv().unwrap_err();
            }));
        }
        tokio::task::yield_now().await;
        let answered = tokio::time::timeout(deadline, run(other, || "here")).await;
        assert_eq!(answered, Ok(Some("here")));
        for _ in 0..DEVICE_CALLS_MAX {
            starts.recv_timeout(deadline).expect("a call that may run does not");
        }
        assert!(starts.try_recv().is_err(), "too many calls run");
        drop(release);
        assert_eq!(calls.join_all().await.len(), 10 * DEVICE_CALLS_MAX);
    }
}
