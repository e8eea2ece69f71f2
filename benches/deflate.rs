//! The cost and the gain of compressed messages: the same load with and without, in turns.
//!
//! `cargo bench --bench deflate`, with `ROUNDS=3 SECONDS=5 VIEWERS=1000` by default. The lines are
//! like those of a service: a time, a level, words and random numbers. Viewers receive raw bytes,
//! and check their offsets.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench panics at the first error, and prints its results"
)]

mod stage;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stage::{Client, Server, Stage, heading, number, range, row, setting, wait_until};

/// Lines per write, and writes per second.
const LOADS: [(&str, u32, u32); 2] =
    [("messages of one line", 1, 100), ("messages of 34 lines, 4 KiB", 34, 25)];
const WORDS: [&str; 16] = [
    "request",
    "handled",
    "user",
    "session",
    "timeout",
    "retry",
    "GET",
    "POST",
    "/api/v1/items",
    "connection",
    "closed",
    "cache",
    "miss",
    "query",
    "took",
    "worker",
];

/// The results of one load, over the rounds.
#[derive(Default)]
struct Figures {
    bytes: Vec<f64>,
    cpu: Vec<f64>,
}

/// Writes lines until it is stopped.
fn write(log: &Path, (burst, often): (u32, u32), stop: &AtomicBool) {
    let mut file = File::options().append(true).open(log).unwrap();
    let mut seed = 1_u32;
    let mut random = move |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let began = Instant::now();
    for round in 1.. {
        let mut block = String::new();
        for _ in 0..burst {
            let (second, milli) = (round / 60 % 60, random(1000));
            write!(block, "2026-11-23T14:07:{second:02}.{milli:03}Z INFO [worker-{}]", random(16))
                .unwrap();
            for _ in 0..8 {
                block.push(' ');
                block.push_str(WORDS[random(16) as usize]);
            }
            writeln!(block, " id={:08x} ms={}", random(u32::MAX), random(2000)).unwrap();
        }
        file.write_all(block.as_bytes()).unwrap();
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let due = Duration::from_secs(1) * round / often;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
}

fn measure(stage: &Stage, figures: &mut Figures, load: (u32, u32), more: &[&str]) {
    let log = stage.log("a.log");
    let server = Server::tailcast(stage.path());
    let viewers = setting("VIEWERS", 1000);
    let mut arguments = vec![
        format!("--viewers={viewers}"),
        format!("--duration={}", setting("SECONDS", 5)),
        format!("--pid={}", server.pid()),
        "--protocol=v1".to_owned(),
    ];
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let client = Client::start(&[server.url(&log)], &arguments);
    wait_until("all viewers are connected", || server.viewers() == viewers);
    let stop = AtomicBool::new(false);
    let (report, wrong) = std::thread::scope(|scope| {
        scope.spawn(|| write(&log, load, &stop));
        let report = client.report();
        stop.store(true, Ordering::Relaxed);
        report
    });
    assert!(wrong.is_none(), "{wrong:?} {report:#}");
    let messages = number(&report, "/delivered/messages");
    let compressed = number(&report, "/delivered/compressed");
    assert!(more.is_empty() == (compressed == 0.0) || load.0 == 1, "{report:#}");
    figures.bytes.push(number(&report, "/delivered/bytes") / messages);
    figures.cpu.push(number(&report, "/server/cpu_us_per_message"));
}

/// Resident memory per idle viewer, in bytes.
fn idle(stage: &Stage, more: &[&str]) -> f64 {
    const VIEWERS: u64 = 5000;
    let log = stage.log("a.log");
    let server = Server::tailcast(stage.path());
    let before = server.rss();
    let mut arguments = vec![format!("--viewers={VIEWERS}"), "--ramp=2000".to_owned()];
    arguments.extend(["--duration=6", "--protocol=original"].map(str::to_owned));
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let client = Client::start(&[server.url(&log)], &arguments);
    wait_until("all viewers are connected", || server.viewers() == VIEWERS);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let there = server.rss();
    let (report, wrong) = client.report();
    assert!(wrong.is_none(), "{wrong:?} {report:#}");
    (there - before) / VIEWERS as f64
}

fn main() {
    heading("deflate");
    let stage = Stage::new();
    row(&[&"", &"bytes per message", &"CPU µs per message", &"bytes / plain", &"CPU / plain"]);
    println!("|---|---|---|---|---|");
    for (name, burst, often) in LOADS {
        let ways: [(&str, &[&str]); 2] = [("plain", &[]), ("deflated", &["--compress"])];
        let mut all = [Figures::default(), Figures::default()];
        for round in 0..setting("ROUNDS", 3) as usize {
            for turn in 0..2 {
                // Each of them is first in turn.
                let at = (turn + round) % 2;
                measure(&stage, &mut all[at], (burst, often), ways[at].1);
            }
        }
        let [plain, _] = &all;
        let ratios = |figures: &[f64], plain: &[f64]| {
            let ratios: Vec<f64> =
                figures.iter().zip(plain).map(|(one, other)| one / other).collect();
            range(&ratios)
        };
        for ((way, _), figures) in ways.iter().zip(&all) {
            row(&[
                &format!("{name}, {way}"),
                &range(&figures.bytes),
                &range(&figures.cpu),
                &ratios(&figures.bytes, &plain.bytes),
                &ratios(&figures.cpu, &plain.cpu),
            ]);
        }
    }
    let (mut plain, mut deflated) = (Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 3) {
        plain.push(idle(&stage, &[]));
        deflated.push(idle(&stage, &["--compress"]));
    }
    println!("\nbytes per idle viewer: {} plain, {} deflated", range(&plain), range(&deflated));
}
