//! Measures delays of the machine, so that deadlines apply to the server and not to a busy machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The probe sleeps for this time.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// If the wake-up and a small task on a blocking thread take longer than this, the machine is
/// delayed.
const DELAY_MAX: Duration = Duration::from_millis(150);

static DELAYS: Mutex<Vec<(Instant, Instant)>> = Mutex::new(Vec::new());

/// Records delays for as long as it is polled. Like a follower, it sleeps, then checks a file.
pub async fn watch() {
    loop {
        let began = Instant::now();
        sleep(PROBE_INTERVAL).await;
        let looking =
            tokio::task::spawn_blocking(|| std::fs::metadata(env!("CARGO_TARGET_TMPDIR")));
        looking.await.unwrap().unwrap();
        if began.elapsed() > PROBE_INTERVAL + DELAY_MAX {
            let mut delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
            delays.push((began, Instant::now()));
        }
    }
}

/// The delays since a time.
pub fn delays(since: Instant) -> Vec<(Instant, Instant)> {
    let delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    delays.iter().copied().filter(|(_, ended)| *ended > since).collect()
}
