//! The list of logs while many people open it at once, and what it costs those who watch a log.
//!
//! `cargo bench --bench list`; words after `--` select from `crowd` and `machines`.
//!
//! `crowd`, with `FILES=100000`, `REQUESTS=600` and `ROUNDS=3` by default: the files are in directories of
//! a hundred. All requests are sent at once, by a thread each; a reader of `?tail=1` meanwhile gets a line
//! every 5 ms, and the line says when it was written. The clients are on the same machine, and their
//! threads take a part of its cores. `BEFORE=PROGRAM` adds another build.
//!
//! `machines`: an edge of a hundred agents with a hundred logs each beside a server that has the same
//! files on its own disk. It needs `nats-server`.

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

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stage::figures::{Figure, Goal};
use stage::{
    Server, Stage, ask, before, get, heading, is_wanted, median, median_ratio, range, row, setting,
    wait_until,
};

/// How often a line is written.
const LINE_INTERVAL: Duration = Duration::from_millis(5);
/// How long lines are measured while nobody asks for the list.
const QUIET: Duration = Duration::from_secs(1);
/// Files in a directory.
const FILES_A_DIRECTORY: u64 = 100;

/// What the requests of one round took: seconds until the first and the last answer, seconds of CPU of
/// the server, bytes of all answers, and how late lines were meanwhile, in ms.
struct Round {
    first: f64,
    last: f64,
    cpu: f64,
    bytes: usize,
    late: Vec<f64>,
}

fn service(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("service-{number:04}"))
}

/// Makes the files, with a few bytes in each.
fn make_files(directory: &Path, files: u64) -> u64 {
    for number in 0..files {
        let directory = service(directory, number / FILES_A_DIRECTORY);
        if number % FILES_A_DIRECTORY == 0 {
            std::fs::create_dir(&directory).unwrap();
        }
        let path = directory.join(format!("worker-{}.log", number % FILES_A_DIRECTORY));
        std::fs::write(path, "2026-01-02T03:04:05Z INFO started\n").unwrap();
    }
    files
}

/// Runs `during` while lines are written and read, and returns how late each line was, in ms.
fn lateness(server: &Server, log: &Path, during: impl FnOnce()) -> Vec<f64> {
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let target = format!("{}?tail=1&lines=0&format=raw", log.display());
        let stream = BufReader::new(get(&server.address, &target));
        let reader = scope.spawn(|| {
            let mut late = Vec::new();
            for line in stream.lines() {
                let line = line.unwrap();
                if line == "end" {
                    break;
                }
                let Ok(written) = line.parse::<f64>() else { continue };
                late.push((began.elapsed().as_secs_f64() - written) * 1000.0);
            }
            late
        });
        let is_over = &is_over;
        scope.spawn(move || {
            let mut file = File::options().append(true).open(log).unwrap();
            for number in 1.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                writeln!(file, "{}", began.elapsed().as_secs_f64()).unwrap();
                let due = LINE_INTERVAL * number;
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            writeln!(file, "end").unwrap();
        });
        during();
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    })
}

/// Sends all requests at once. Returns the seconds until each answer, and the bytes of all.
fn request_all(server: &Server, encoding: &str, requests: u64) -> (Vec<f64>, usize) {
    let request = format!(
        "GET /_/logs HTTP/1.0\r\nHost: {}\r\nAccept-Encoding: {encoding}\r\n\r\n",
        server.address
    );
    let barrier = Barrier::new(requests as usize);
    let answers: Vec<(f64, usize)> = std::thread::scope(|scope| {
        let (barrier, request) = (&barrier, &request);
        let threads: Vec<_> = (0..requests)
            .map(|_| {
                scope.spawn(move || {
                    barrier.wait();
                    let began = Instant::now();
                    let (mut stream, head, mut body) = ask(&server.address, request);
                    assert!(head.contains(" 200 "), "{head}");
                    stream.read_to_end(&mut body).unwrap();
                    (began.elapsed().as_secs_f64(), body.len())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (times, sizes): (Vec<f64>, Vec<usize>) = answers.into_iter().unzip();
    (times, sizes.into_iter().sum())
}

fn measure(server: &Server, log: &Path, encoding: &str, requests: u64) -> Round {
    // The list is kept for a second.
    std::thread::sleep(Duration::from_millis(1_500));
    let cpu = server.cpu();
    let mut round = Round { first: 0.0, last: 0.0, cpu: 0.0, bytes: 0, late: Vec::new() };
    round.late = lateness(server, log, || {
        let (times, bytes) = request_all(server, encoding, requests);
        round.first = times.iter().copied().fold(f64::INFINITY, f64::min);
        round.last = most(&times);
        round.bytes = bytes;
    });
    round.cpu = server.cpu() - cpu;
    round
}

fn most(numbers: &[f64]) -> f64 {
    numbers.iter().copied().fold(0.0, f64::max)
}

/// What it takes to look at all files, without a server.
fn walk(directory: &Path) -> f64 {
    let began = Instant::now();
    let mut find = Command::new("find");
    let find = find.arg(directory).args(["-type", "f", "-printf", "%s %T@ %p\n"]);
    assert!(find.stdout(Stdio::null()).status().unwrap().success());
    began.elapsed().as_secs_f64()
}

/// Many requests at once.
fn crowd() {
    let stage = Stage::new();
    let files = make_files(stage.path(), setting("FILES", 100_000));
    let log = stage.log("a.log");
    let requests = setting("REQUESTS", 600);
    let mut servers = vec![("tailcast", Server::tailcast(stage.path()))];
    if before().is_some() {
        servers.push(("before", Server::before(stage.path())));
    }
    let walks: Vec<f64> = (0..3).map(|_| walk(stage.path())).collect();
    println!("\n{files} files; `find -printf` of them takes {} s\n", range(&walks));
    row(&[
        &"server",
        &"requests",
        &"encoding",
        &"first answer, s",
        &"last answer, s",
        &"CPU, s",
        &"MB of answers",
        &"latest line, ms",
        &"latest line when quiet, ms",
    ]);
    println!("|---|---:|---|---:|---:|---:|---:|---:|---:|");
    for (requests, encoding) in [(1, "gzip"), (requests, "gzip"), (requests, "identity")] {
        let mut rounds: Vec<Vec<Round>> = servers.iter().map(|_| Vec::new()).collect();
        for _ in 0..setting("ROUNDS", 3) {
            for ((_, server), rounds) in servers.iter().zip(&mut rounds) {
                rounds.push(measure(server, &log, encoding, requests));
            }
        }
        for ((name, server), rounds) in servers.iter().zip(&rounds) {
            let quiet = most(&lateness(server, &log, || std::thread::sleep(QUIET)));
            let of = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
            let (last, late) = (of(|round| round.last), of(|round| most(&round.late)));
            row(&[
                name,
                &requests,
                &encoding,
                &range(&of(|round| round.first)),
                &range(&last),
                &range(&of(|round| round.cpu)),
                &format!("{:.1}", rounds[0].bytes as f64 / 1e6),
                &range(&late),
                &format!("{quiet:.2}"),
            ]);
            if requests > 1 && *name == "tailcast" {
                let what = format!("{requests} lists of {files} files at once, {encoding}");
                let walk = median(walks.clone());
                Figure::new(&what, median(last.clone()), "s")
                    .beside("one `find -printf`", walk, median(last) / walk)
                    .goal(Goal::AtMost(1.0))
                    .note();
                Figure::new(format!("the latest line during {what}"), median(late.clone()), "ms")
                    .beside("when quiet", quiet, median(late) / quiet)
                    .goal(Goal::AtMost(50.0))
                    .note();
            }
        }
    }
}

/// The time until an answer is whole, in ms.
fn answer_time(server: &Server, target: &str) -> f64 {
    let began = Instant::now();
    let mut body = Vec::new();
    get(&server.address, target).read_to_end(&mut body).unwrap();
    assert!(!body.is_empty(), "{target}");
    began.elapsed().as_secs_f64() * 1000.0
}

/// The list, and a log in it, on an edge of many machines and on one machine.
fn machines() {
    let stage = Stage::new();
    let machines = setting("MACHINES", 100);
    let files = make_files(stage.path(), machines * FILES_A_DIRECTORY);
    let of = |number| (format!("host-{number:04}"), service(stage.path(), number));
    let Some(edge) = Server::fleet((0..machines).map(of), false) else {
        println!("\nnats-server is not installed");
        return;
    };
    let local = Server::tailcast(stage.path());
    wait_until("all machines are there", || {
        let mut body = String::new();
        get(&edge.address, "/_/logs").read_to_string(&mut body).unwrap();
        (0..machines).all(|number| body.contains(&format!("/@host-{number:04}/")))
    });
    println!("\n{files} logs of {machines} machines, and the same files on one machine; ms\n");
    row(&[&"request", &"an edge", &"one machine", &"ratio"]);
    println!("|---|---:|---:|---:|");
    let logs: Vec<String> = (0..machines)
        .map(|number| service(stage.path(), number).join("worker-7.log").display().to_string())
        .collect();
    let rounds = setting("ROUNDS", 3) * 3;
    type Target<'a> = Box<dyn Fn(u64, bool) -> String + 'a>;
    let of_log = |number: u64, on_edge: bool| {
        let nth = number % machines;
        let machine = if on_edge { format!("/@host-{nth:04}") } else { String::new() };
        machine + &logs[nth as usize]
    };
    let requests: [(&str, bool, Target<'_>); 4] = [
        ("the list as JSON", true, Box::new(|_, _| "/_/logs".to_owned())),
        ("the list as a page", true, Box::new(|_, _| "/".to_owned())),
        (
            "the last lines of a log, first visit",
            false,
            Box::new(|number, on_edge| format!("{}?lines=100", of_log(number, on_edge))),
        ),
        (
            "its rows, then",
            false,
            Box::new(|number, on_edge| {
                format!("/_/rows{}?from=0&count=100", of_log(number, on_edge))
            }),
        ),
    ];
    for (what, is_kept, target) in requests {
        let (mut there, mut here) = (Vec::new(), Vec::new());
        for number in 0..rounds {
            if is_kept {
                // A list is kept for a second.
                std::thread::sleep(Duration::from_millis(1_100));
            }
            there.push(answer_time(&edge, &target(number, true)));
            here.push(answer_time(&local, &target(number, false)));
        }
        let ratio = median_ratio(&there, &here);
        row(&[&what, &range(&there), &range(&here), &format!("{ratio:.2}")]);
        Figure::new(format!("{what}, of {machines} machines"), median(there), "ms")
            .beside("one machine", median(here), ratio)
            .note();
    }
}

fn main() {
    heading("list");
    if is_wanted("crowd") {
        crowd();
    }
    if is_wanted("machines") {
        machines();
    }
}
