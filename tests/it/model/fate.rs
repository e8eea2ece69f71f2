//! What befalls the server while the log goes on.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::sleep;

use super::host::Host;
use super::log::NEIGHBOURS;
use super::random::Random;
use super::tale::Tale;

/// More than the 16,384 that `fs.inotify.max_queued_events` allows.
const STORM_EVENTS: usize = 20_000;

/// The kind of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing, or calls that fail for a time, and more events than the kernel queues.
    Troubles,
    /// No events from some time on; calls that fail.
    #[cfg(feature = "faults")]
    Deafness,
    /// It is stopped for a time, or ends and is started again.
    Restarts,
}

/// Lets what is to happen happen, until the script is over. It ends with a server that is well.
pub async fn befall(
    fate: Fate,
    host: &mut Host,
    mut random: Random,
    tale: &Tale,
    over: &AtomicBool,
) {
    let is_calm = fate == Fate::Troubles && random.one_in(3);
    #[cfg(feature = "faults")]
    if fate == Fate::Deafness {
        if random.one_in(2) {
            sleep(random.millis(5000)).await;
        }
        tale.note(format_args!("deaf from now on"));
        host.deafen();
    }
    while !over.load(Ordering::SeqCst) {
        sleep(random.millis(1500)).await;
        if random.one_in(5) {
            sleep(Duration::from_millis(2000)).await;
        }
        match fate {
            _ if is_calm => {}
            Fate::Troubles if random.one_in(6) => storm(host, tale).await,
            Fate::Troubles => trouble(host, &mut random, tale).await,
            #[cfg(feature = "faults")]
            Fate::Deafness => trouble(host, &mut random, tale).await,
            Fate::Restarts => match random.below(5) {
                0 | 1 => stop(host, &mut random, tale).await,
                2 | 3 => end(host, Signal::KILL, &mut random, tale).await,
                _ => end(host, Signal::TERM, &mut random, tale).await,
            },
        }
    }
}

/// Calls that fail for a time.
#[cfg(feature = "faults")]
async fn trouble(host: &mut Host, random: &mut Random, tale: &Tale) {
    use rustix::io::Errno;
    use tailcast::log::failpoints::Call;
    let call = [Call::Look, Call::Open, Call::Read][random.below(3) as usize];
    let errno = [Errno::ACCESS, Errno::IO][random.below(2) as usize];
    tale.note(format_args!("each {call:?} fails with {errno:?}"));
    host.fail(call, errno);
    sleep(random.outage()).await;
    host.mend();
    tale.note(format_args!("each {call:?} works"));
}

#[cfg(not(feature = "faults"))]
async fn trouble(_: &mut Host, random: &mut Random, _: &Tale) {
    sleep(random.outage()).await;
}

/// More events than are queued, none of them about the log. Those about it are lost among them.
async fn storm(host: &Host, tale: &Tale) {
    let directory = host.root().join("d");
    tale.note(format_args!("{STORM_EVENTS} events of neighbours begin"));
    tokio::task::spawn_blocking(move || make_events(&directory)).await.unwrap();
    tale.note(format_args!("they end"));
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

async fn stop(host: &mut Host, random: &mut Random, tale: &Tale) {
    tale.note(format_args!("the server is stopped"));
    host.stop();
    if random.one_in(3) {
        storm(host, tale).await;
    }
    sleep(random.outage()).await;
    host.go_on();
    tale.note(format_args!("the server goes on"));
}

async fn end(host: &mut Host, signal: Signal, random: &mut Random, tale: &Tale) {
    tale.note(format_args!("the server gets {signal:?}"));
    host.end(signal);
    sleep(random.outage()).await;
    host.start_again().await;
    tale.note(format_args!("the server has been started again"));
}

impl Random {
    fn millis(&mut self, below: u64) -> Duration {
        Duration::from_millis(self.below(below))
    }

    /// Most are short.
    fn outage(&mut self) -> Duration {
        match self.below(10) {
            0 => Duration::from_millis(3000),
            _ => Duration::from_millis(self.below(36).pow(2)),
        }
    }
}
