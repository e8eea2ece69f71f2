//! Disturbances of the server while the log is written.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::servers::pace;

use super::host::Host;
use super::log::NEIGHBOURS;
use super::random::Random;
use super::transcript::Transcript;

/// More than the 16,384 that `fs.inotify.max_queued_events` allows.
const STORM_EVENTS: usize = 20_000;

/// The kind of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Nothing, or temporarily failing system calls and overflows of the event queue.
    Troubles,
    /// No events from some time on, and temporarily failing system calls.
    #[cfg(feature = "faults")]
    Deafness,
    /// The server is stopped for a time, or ends and is started again.
    Restarts,
}

/// Disturbs the server until the script is over. Afterwards the server runs normally again.
pub async fn disturb(
    disturbance: Disturbance,
    host: &mut Host,
    mut random: Random,
    transcript: &Transcript,
    over: &AtomicBool,
) {
    let is_calm = disturbance == Disturbance::Troubles && random.one_in(3);
    #[cfg(feature = "faults")]
    if disturbance == Disturbance::Deafness {
        if random.one_in(2) {
            pace(random.millis(5000)).await;
        }
        transcript.note(format_args!("deaf from now on"));
        host.deafen();
    }
    while !over.load(Ordering::SeqCst) {
        pace(random.millis(1500)).await;
        if random.one_in(5) {
            pace(Duration::from_millis(2000)).await;
        }
        match disturbance {
            _ if is_calm => {}
            Disturbance::Troubles if random.one_in(6) => storm(host, transcript).await,
            Disturbance::Troubles => trouble(host, &mut random, transcript).await,
            #[cfg(feature = "faults")]
            Disturbance::Deafness => trouble(host, &mut random, transcript).await,
            Disturbance::Restarts => match random.below(5) {
                0 | 1 => stop(host, &mut random, transcript).await,
                2 | 3 => end(host, Signal::KILL, &mut random, transcript).await,
                _ => end(host, Signal::TERM, &mut random, transcript).await,
            },
        }
    }
}

/// Lets a system call fail for a time.
#[cfg(feature = "faults")]
async fn trouble(host: &mut Host, random: &mut Random, transcript: &Transcript) {
    use rustix::io::Errno;
    use tailcast::log::failpoints::Call;
    let call = [Call::Look, Call::Open, Call::Read][random.below(3) as usize];
    let errno = [Errno::ACCESS, Errno::IO][random.below(2) as usize];
    transcript.note(format_args!("each {call:?} fails with {errno:?}"));
    host.fail(call, errno);
    pace(random.outage()).await;
    host.mend();
    transcript.note(format_args!("each {call:?} works"));
}

#[cfg(not(feature = "faults"))]
async fn trouble(_: &mut Host, random: &mut Random, _: &Transcript) {
    pace(random.outage()).await;
}

/// Overflows the event queue with events of other files, so that events of the log are lost.
async fn storm(host: &Host, transcript: &Transcript) {
    let directory = host.root().join("d");
    transcript.note(format_args!("{STORM_EVENTS} events of neighbours begin"));
    tokio::task::spawn_blocking(move || make_events(&directory)).await.unwrap();
    transcript.note(format_args!("they end"));
}

fn make_events(directory: &Path) {
    let open = |name| std::fs::File::options().write(true).open(directory.join(name));
    let files: Vec<_> = NEIGHBOURS.into_iter().filter_map(|name| open(name).ok()).collect();
    // The directory may just have been removed.
    for nth in 0..STORM_EVENTS {
        let Some(file) = files.get(nth % NEIGHBOURS.len()) else { return };
        file.write_all_at(b"x", 0).unwrap();
    }
}

async fn stop(host: &mut Host, random: &mut Random, transcript: &Transcript) {
    transcript.note(format_args!("the server is stopped"));
    host.stop();
    if random.one_in(3) {
        storm(host, transcript).await;
    }
    pace(random.outage()).await;
    host.go_on();
    transcript.note(format_args!("the server goes on"));
}

async fn end(host: &mut Host, signal: Signal, random: &mut Random, transcript: &Transcript) {
    transcript.note(format_args!("the server gets {signal:?}"));
    host.end(signal);
    pace(random.outage()).await;
    host.start_again().await;
    transcript.note(format_args!("the server has been started again"));
}

impl Random {
    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }

    /// The duration of an outage. Most are short.
    fn outage(&mut self) -> Duration {
        match self.below(10) {
            0 => Duration::from_millis(3000),
            _ => Duration::from_millis(self.below(36).pow(2)),
        }
    }
}
