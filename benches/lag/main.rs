//! The effect of one viewer on the others: their latency beside a slow viewer, beside viewers that
//! catch up and beside a hot log, and the cost of a viewer that never reads. `benches/README.md`
//! says how to run it and what it measured.
//!
//! The real program serves a temporary directory. The writer and the viewers are threads of this
//! process, on the same clock. Each record carries the time at which it was *due*, so a writer that
//! is held up adds to the latency instead of hiding it. The content of every byte is checked: a
//! lost, repeated or wrong byte fails the run. Latencies never do, since they depend on the
//! machine.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench prints its results, and panics at an unexpected error"
)]

mod figures;
mod log;
mod server;
mod viewer;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use figures::{Latencies, MIB, Table, millis, ratio};
use log::{Clock, RECORD_BYTES, Writer};
use server::{Memory, Server};
use viewer::{Pace, Position, Received, Viewer};

/// Settings from the environment.
struct Settings {
    /// Viewers beside the slow one.
    viewers: usize,
    /// Rounds, each with a half without the disturbance and a half with it.
    rounds: usize,
    /// The length of a half.
    half: Duration,
    /// The size of the log to catch up on.
    catch_up_bytes: u64,
    catching_up: usize,
    /// Disturb nothing. The ratio then shows the noise of the machine.
    control: bool,
}

fn setting(name: &str, otherwise: u64) -> u64 {
    let value = std::env::var(format!("TAILCAST_BENCH_{name}")).ok();
    value.map_or(otherwise, |value| value.parse().unwrap())
}

impl Settings {
    fn new() -> Self {
        Self {
            viewers: setting("VIEWERS", 5) as usize,
            rounds: setting("ROUNDS", 6) as usize,
            half: Duration::from_millis(setting("HALF_MS", 1500)),
            catch_up_bytes: setting("BYTES", 2 << 30),
            catching_up: setting("CATCHING_UP", 4) as usize,
            control: setting("CONTROL", 0) == 1,
        }
    }
}

/// The start of a half is not measured.
const RUN_IN: Duration = Duration::from_millis(300);
/// The pause between two halves, in which late records of the first arrive.
const BETWEEN: Duration = Duration::from_millis(200);

const HOT: u64 = 50_000_000;
const HOTTER: u64 = 100_000_000;
const SLOW: u64 = 64 * 1024;

fn main() -> ExitCode {
    let named: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let settings = Settings::new();
    println!("{}\n", server::machine());
    let mut faults = Vec::new();
    for (name, run) in [
        ("slow", slow as fn(&Settings) -> Vec<String>),
        ("never", never),
        ("catch-up", catch_up),
        ("hot", hot),
    ] {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            let began = Instant::now();
            faults.extend(run(&settings));
            println!("({name}: {:.0} s)\n", began.elapsed().as_secs_f64());
        }
    }
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A disturbance is measured in the order without, with, with, without, so that slow changes of the
/// machine affect both alike.
struct Halves {
    /// The time of each half, and whether it had the disturbance.
    windows: Vec<(u64, u64, bool)>,
}

impl Halves {
    fn run(settings: &Settings, clock: Clock, mut disturb: impl FnMut(bool)) -> Self {
        let mut windows = Vec::new();
        for round in 0..settings.rounds {
            for with in [round % 2 == 1, round % 2 == 0] {
                disturb(with && !settings.control);
                std::thread::sleep(RUN_IN);
                let from = clock.now();
                std::thread::sleep(settings.half);
                windows.push((from, clock.now(), with));
                std::thread::sleep(BETWEEN);
            }
        }
        disturb(false);
        Self { windows }
    }

    /// The latencies without and with the disturbance, over all rounds, and the ratio of each
    /// round.
    fn split(&self, samples: &[(u64, u64)]) -> (Latencies, Latencies, Vec<f64>) {
        let of = |window: &(u64, u64, bool)| {
            let within = samples.iter().filter(|(due, _)| (window.0..window.1).contains(due));
            within.map(|&(_, took)| took).collect::<Vec<u64>>()
        };
        let all =
            |with| self.windows.iter().filter(|window| window.2 == with).flat_map(of).collect();
        let rounds = self.windows.chunks(2).map(|pair| {
            let mut pair: Vec<_> = pair.iter().collect();
            pair.sort_by_key(|window| window.2);
            let [without, with] = [Latencies::new(of(pair[0])), Latencies::new(of(pair[1]))];
            with.p99() as f64 / without.p99().max(1) as f64
        });
        (Latencies::new(all(false)), Latencies::new(all(true)), rounds.collect())
    }

    /// Prints the latencies of the viewers, and the lateness of the writer, which is part of them.
    fn report(&self, title: &str, who: &str, samples: &[(u64, u64)], writer: &[(u64, u64)]) {
        let mut table = Table::new(&["", "samples", "p50 ms", "p99 ms", "max ms"]);
        let (without, with, rounds) = self.split(samples);
        let (writer_without, writer_with, _) = self.split(writer);
        for (name, latencies) in [
            (format!("{who}, without"), &without),
            (format!("{who}, with"), &with),
            ("the writer's own lateness, without".to_owned(), &writer_without),
            ("the writer's own lateness, with".to_owned(), &writer_with),
        ] {
            table.row(&[
                name,
                latencies.count().to_string(),
                millis(latencies.p50()),
                millis(latencies.p99()),
                millis(latencies.max()),
            ]);
        }
        println!("### {title}\n\n{table}");
        let mut rounds: Vec<String> = rounds.iter().map(|ratio| format!("{ratio:.2}")).collect();
        rounds.sort_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
        println!(
            "ratio with : without: p50 {}, p99 {}; p99 of the rounds: median {}, all {}\n",
            ratio(without.p50(), with.p50()),
            ratio(without.p99(), with.p99()),
            rounds[rounds.len() / 2],
            rounds.join(", "),
        );
    }
}

/// The faults in what a viewer received.
fn faults_of(who: &str, received: &Received, expected: u64) -> Vec<String> {
    let mut faults: Vec<String> =
        received.faults.iter().map(|fault| format!("{who}: {fault}")).collect();
    if received.bytes != expected {
        faults.push(format!("{who}: {} of {expected} bytes arrived", received.bytes));
    }
    faults
}

/// One log at 50 MB/s, some viewers that keep up, and one that reads 64 KiB per second.
fn slow(settings: &Settings) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let clock = Clock::start();
    let path = directory.path().join("hot.log");
    let writer = Writer::start(&path, clock, HOT, Duration::from_millis(2));
    let viewers: Vec<Viewer> = (0..settings.viewers)
        .map(|_| Viewer::start(&server, &path, clock, None, Pace::Full))
        .collect();
    std::thread::sleep(RUN_IN);
    let memory = Memory::watch(server.pid());
    // The slow viewer leaves between its halves, and resumes at its own position, so its lag grows.
    let slow: Mutex<Option<Viewer>> = Mutex::new(None);
    let mut position: Option<Position> = None;
    let mut slowly_received = Received::default();
    let mut first_position = None;
    let halves = Halves::run(settings, clock, |with| {
        let mut slow = slow.lock().unwrap();
        if let Some(viewer) = slow.take() {
            let received = viewer.leave();
            position = received.position.clone();
            slowly_received.add(received);
        }
        if with {
            let viewer =
                Viewer::start(&server, &path, clock, position.clone(), Pace::BytesPerSecond(SLOW));
            first_position.get_or_insert_with(|| viewer.wait_for_position());
            *slow = Some(viewer);
        }
    });
    let written = writer.stop();
    let memory = memory.stop();
    let mut faults = Vec::new();
    let mut samples = Vec::new();
    for (at, viewer) in viewers.into_iter().enumerate() {
        let received = viewer.finish(written.bytes);
        faults.extend(faults_of(&format!("viewer {at}"), &received, written.bytes));
        samples.extend(received.samples);
    }
    halves.report(
        &format!(
            "A: {} viewers of a log at 50 MB/s, beside a viewer that reads 64 KiB/s",
            settings.viewers
        ),
        "latency",
        &samples,
        &written.lateness,
    );
    let lagged = slowly_received.bytes;
    let began = Instant::now();
    let rest = Viewer::start(&server, &path, clock, position, Pace::Full).finish(written.bytes);
    let took = began.elapsed().as_secs_f64();
    slowly_received.add(rest);
    let expected = written.bytes - first_position.map_or(0, |position: Position| position.offset);
    faults.extend(faults_of("the slow viewer", &slowly_received, expected));
    println!(
        "The slow viewer read {:.1} MiB of {:.1} MiB over {} connections. At full speed the rest came in \
         {took:.2} s ({:.0} MB/s), every byte once: {}.\n",
        lagged as f64 / MIB,
        expected as f64 / MIB,
        settings.rounds,
        (expected - lagged) as f64 / took / 1e6,
        if faults.is_empty() { "yes" } else { "NO" },
    );
    println!("Memory of the server over {:.0} MB written: {memory}.\n", written.bytes as f64 / 1e6);
    faults
}

/// Viewers that request a large log and read nothing.
fn never(_: &Settings) -> Vec<String> {
    const VIEWERS: usize = 10;
    const STALL: u64 = 5;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.log");
    let written = log::fill(&path, 256 << 20);
    let server = Server::start(directory.path(), &["--stall-timeout", &STALL.to_string()]);
    let clock = Clock::start();
    // A viewer that reads first, so that the cost of the first viewer is not counted.
    let received = Viewer::start(&server, &path, clock, None, Pace::Full).finish(written);
    let mut faults = faults_of("a viewer that reads", &received, written);
    let memory = Memory::watch(server.pid());
    let began = Instant::now();
    let stuck: Vec<_> = (0..VIEWERS).map(|_| viewer::SilentViewer::start(&server, &path)).collect();
    let mut queued = [0; VIEWERS];
    let mut closed_after = [None; VIEWERS];
    let until = began + Duration::from_secs(STALL + 8);
    while Instant::now() < until && closed_after.iter().any(Option::is_none) {
        let queues = server.send_queues();
        for (at, stuck) in stuck.iter().enumerate() {
            match queues.get(&stuck.port()) {
                Some(bytes) => queued[at] = (*bytes).max(queued[at]),
                None => {
                    closed_after[at].get_or_insert(began.elapsed());
                }
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let memory = memory.stop();
    // Another viewer begins to read when its time is over, so it receives the reason.
    let late_reader = viewer::SilentViewer::start(&server, &path);
    std::thread::sleep(Duration::from_secs(STALL) + Duration::from_millis(700));
    let code = late_reader.close_code();
    let closed: Vec<Duration> = closed_after.iter().flatten().copied().collect();
    if closed.len() < VIEWERS {
        faults.push(format!(
            "{} of {VIEWERS} viewers that never read were not closed",
            VIEWERS - closed.len()
        ));
    }
    println!("### B: {VIEWERS} viewers that never read, `--stall-timeout {STALL}`\n");
    println!(
        "Send queue in the kernel, at most: {:.0} KiB each. Memory of the server for all of them: {memory}. \
         Closed after {:.1} to {:.1} s; a viewer that began to read then received code {code:?}.\n",
        queued.iter().max().unwrap().to_owned() as f64 / 1024.0,
        closed.iter().min().map_or(f64::NAN, Duration::as_secs_f64),
        closed.iter().max().map_or(f64::NAN, Duration::as_secs_f64),
    );
    faults
}

/// A log with a line every 10 ms, while other viewers catch up on a large one.
fn catch_up(settings: &Settings) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let clock = Clock::start();
    let large = directory.path().join("large.log");
    let bytes = log::fill(&large, settings.catch_up_bytes);
    let quiet = directory.path().join("quiet.log");
    let interval = Duration::from_millis(10);
    let writer = Writer::start(&quiet, clock, RECORD_BYTES as u64 * 100, interval);
    let viewer = Viewer::start(&server, &quiet, clock, None, Pace::Full);
    let memory = Memory::watch(server.pid());
    let faults = Arc::new(Mutex::new(Vec::new()));
    let mut whole = 0;
    let mut crowd: Option<(Arc<AtomicBool>, Vec<std::thread::JoinHandle<u64>>)> = None;
    let mut took = Duration::ZERO;
    let mut began = Instant::now();
    let halves = Halves::run(settings, clock, |with| {
        if let Some((stop, threads)) = crowd.take() {
            stop.store(true, Ordering::Relaxed);
            whole += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>();
            took += began.elapsed();
        }
        if with {
            began = Instant::now();
            let stop = Arc::new(AtomicBool::new(false));
            let threads = (0..settings.catching_up).map(|_| {
                let (stop, faults) = (Arc::clone(&stop), Arc::clone(&faults));
                let (server, large) = (server.address(), large.clone());
                std::thread::spawn(move || {
                    // Again and again, so that there is a catch-up as long as it is measured; each
                    // is read to its end.
                    let mut whole = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let received =
                            Viewer::start_at(server, &large, clock, None, Pace::Full).finish(bytes);
                        let of_this = faults_of("a viewer that catches up", &received, bytes);
                        faults.lock().unwrap().extend(of_this);
                        whole += 1;
                    }
                    whole
                })
            });
            let threads: Vec<_> = threads.collect();
            crowd = Some((stop, threads));
        }
    });
    let written = writer.stop();
    let memory = memory.stop();
    let received = viewer.finish(written.bytes);
    let mut faults = std::mem::take(&mut *faults.lock().unwrap());
    faults.extend(faults_of("the quiet log's viewer", &received, written.bytes));
    halves.report(
        &format!(
            "C: a log with a line every 10 ms, beside {} viewers that catch up on {:.1} GB",
            settings.catching_up,
            bytes as f64 / 1e9
        ),
        "latency",
        &received.samples,
        &written.lateness,
    );
    println!(
        "{whole} times {:.1} GB, at {:.0} MB/s in all. Memory of the server: {memory}.\n",
        bytes as f64 / 1e9,
        (whole * bytes) as f64 / took.as_secs_f64() / 1e6,
    );
    faults
}

/// A quiet log beside a log that is written at 100 MB/s, each with a viewer.
fn hot(settings: &Settings) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let clock = Clock::start();
    let quiet = directory.path().join("quiet.log");
    let interval = Duration::from_millis(50);
    let writer = Writer::start(&quiet, clock, RECORD_BYTES as u64 * 20, interval);
    let viewer = Viewer::start(&server, &quiet, clock, None, Pace::Full);
    let mut faults = Vec::new();
    let mut beside: Option<(Writer, Viewer)> = None;
    let mut nth = 0;
    let mut end = |beside: Option<(Writer, Viewer)>| {
        if let Some((writer, viewer)) = beside {
            let written = writer.stop();
            let received = viewer.finish(written.bytes);
            faults.extend(faults_of("the hot log's viewer", &received, written.bytes));
        }
    };
    let halves = Halves::run(settings, clock, |with| {
        end(beside.take());
        if with {
            nth += 1;
            let hot = directory.path().join(format!("hot-{nth}.log"));
            let writer = Writer::start(&hot, clock, HOTTER, Duration::from_millis(2));
            beside = Some((writer, Viewer::start(&server, &hot, clock, None, Pace::Full)));
        }
    });
    let written = writer.stop();
    let received = viewer.finish(written.bytes);
    faults.extend(faults_of("the quiet log's viewer", &received, written.bytes));
    halves.report(
        "D: a log with a line every 50 ms, beside one at 100 MB/s with a viewer",
        "latency",
        &received.samples,
        &written.lateness,
    );
    faults
}
