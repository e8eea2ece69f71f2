//! Whether the machine lets anybody run: what is demanded in time is demanded of the server, not of
//! the machine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// The probe sleeps so long each time.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// What it takes longer, to be woken and to do a small thing on a blocking thread, is the machine's
/// delay.
const DELAY_MAX: Duration = Duration::from_millis(150);

static DELAYS: Mutex<Vec<(Instant, Instant)>> = Mutex::new(Vec::new());

/// Notes delays for as long as it is polled. It does what a follower does that has to look: it
/// sleeps, and has a file looked at.
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

/// When it was delayed, since then.
pub fn delays(since: Instant) -> Vec<(Instant, Instant)> {
    let delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    delays.iter().copied().filter(|(_, ended)| *ended > since).collect()
}
