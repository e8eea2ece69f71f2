//! Big logs: their last lines, the whole of them, and a log that is written faster than most disks.
//!
//! `cargo bench --bench catchup`; words after `--` select from `tail`, `http`, `messages`, `html`
//! and `stream`. `GIB=4` is the size of the big log, `HTML_MIB=512` that of the log for `html`,
//! `SECONDS=10` the length of the stream, at `MB_PER_SECOND=200`. `BEFORE=PATH` is another build of
//! the program, which `html` and `stream` measure as well.

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

mod floor;
mod stage;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stage::figures::{Figure, Goal};
use stage::logs::{size, write_lines};
use stage::{
    Counter, Server, Stage, get, heading, is_wanted, median, median_ratio, range, row, setting,
    words,
};

const MEBI: f64 = 1048576.0;
/// Repetitions of the quick measurements.
const TIMES: usize = 15;
/// Viewers of the stream.
const VIEWERS: usize = 10;

const LEVELS: [&str; 4] = ["INFO", "INFO", "WARN", "ERROR"];

/// Writes a log of this size with lines that differ.
fn fill(path: &Path, bytes: u64, levels: [&str; 4]) {
    write_lines(path, bytes, |number| {
        format!(
            "2026-01-02T03:04:05.{:06}Z {} worker-{}: request {number:012} took {} us, queue {}\n",
            number % 1_000_000,
            levels[(number * 7 % 4) as usize],
            number % 16,
            number * 2_654_435_761 % 90_000,
            number % 977
        )
    });
}

/// Reads a response to its end, and returns its length.
fn read_all(mut body: impl Read) -> u64 {
    let mut buffer = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match body.read(&mut buffer).unwrap() {
            0 => return read,
            more => read += more as u64,
        }
    }
}

/// The last 1,000 lines, of a small log and of the big one.
fn tail(stage: &Stage, big: &Path) {
    let small = stage.path().join("small.log");
    fill(&small, 1 << 20, LEVELS);
    println!("\n## the last 1,000 lines\n");
    row(&[&"log, MiB", &"HTTP, ms", &"WebSocket `rows`, ms", &"server RSS, + MiB"]);
    println!("|---|---|---|---|");
    for log in [small.as_path(), big] {
        let server = Server::tailcast(stage.path());
        let target = log.display().to_string();
        let rss = server.rss();
        server.forget_peak();
        let mut http = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..TIMES {
            let began = Instant::now();
            let read = read_all(get(&server.address, &format!("{target}?lines=1000")));
            http.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(read > 80_000 && read < 120_000, "{read} bytes");
            let began = Instant::now();
            let arguments = format!("{target}?lines=1000&format=rows");
            Counter::connect(&server.address, &arguments, true).read_to_close();
            messages.push(began.elapsed().as_secs_f64() * 1e3);
        }
        row(&[
            &format!("{:.0}", size(log) as f64 / MEBI),
            &range(&http),
            &range(&messages),
            &format!("{:.1}", (server.peak() - rss) / MEBI),
        ]);
        let what = format!("the last 1,000 lines of {:.0} MiB", size(log) as f64 / MEBI);
        Figure::new(what, median(http), "ms").goal(Goal::AtMost(20.0)).note();
    }
}

/// The whole log over HTTP, beside a bare `sendfile` and nginx.
fn http(stage: &Stage, big: &Path) {
    println!("\n## the whole log over HTTP, {:.1} GiB\n", size(big) as f64 / MEBI / 1024.0);
    let server = Server::tailcast(stage.path());
    let rss = server.rss();
    server.forget_peak();
    let bare = bare_sendfile(big);
    let nginx = Server::nginx_files(stage.path());
    let target = big.display().to_string();
    let mut speeds = [const { Vec::new() }; 3];
    for round in 0..setting("ROUNDS", 5) as usize {
        for turn in 0..speeds.len() {
            let at = (round + turn) % speeds.len();
            let address = match (at, &nginx) {
                (0, _) => &server.address,
                (1, _) => &bare,
                (_, Some(nginx)) => &nginx.address,
                (_, None) => continue,
            };
            let began = Instant::now();
            assert_eq!(read_all(get(address, &target)), size(big));
            speeds[at].push(size(big) as f64 / 1e9 / began.elapsed().as_secs_f64());
        }
    }
    row(&[&"server", &"GB/s", &"tailcast / server"]);
    println!("|---|---|---|");
    for (name, of) in [("tailcast", 0), ("a bare `sendfile`", 1), ("nginx with `sendfile`", 2)] {
        if speeds[of].is_empty() {
            row(&[&name, &"not installed", &""]);
            continue;
        }
        let ratios = speeds[0].iter().zip(&speeds[of]).map(|(one, other)| one / other);
        row(&[&name, &range(&speeds[of]), &range(&ratios.collect::<Vec<_>>())]);
    }
    println!("\npeak memory of tailcast: + {:.1} MiB", (server.peak() - rss) / MEBI);
}

/// Answers every request with this file, by `sendfile` alone. Returns the address.
fn bare_sendfile(path: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let file = File::open(path).unwrap();
    let len = size(path);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let asked = stream.read(&mut [0; 4096]).unwrap();
            assert!(asked > 0);
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").unwrap();
            let mut offset = 0;
            while offset < len {
                let left = (len - offset).min(1 << 30) as usize;
                rustix::fs::sendfile(&stream, &file, Some(&mut offset), left).unwrap();
            }
        }
    });
    address
}

/// The whole log as WebSocket messages of bytes.
fn messages(stage: &Stage, big: &Path) {
    let len = size(big);
    println!("\n## catching up as messages of bytes, {:.1} GiB\n", len as f64 / MEBI / 1024.0);
    let server = Server::tailcast(stage.path());
    let rss = server.rss();
    server.forget_peak();
    let target = format!("{}?tail=1&from=0&format=raw", big.display());
    let mut speeds = Vec::new();
    for _ in 0..setting("ROUNDS", 5) {
        let began = Instant::now();
        Counter::connect(&server.address, &target, true).count_to(len);
        speeds.push(len as f64 / 1e9 / began.elapsed().as_secs_f64());
    }
    println!("{} GB/s; peak memory + {:.1} MiB", range(&speeds), (server.peak() - rss) / MEBI);
    Figure::new("catching up as messages of bytes", median(speeds), "GB/s")
        .goal(Goal::AtLeast(1.0))
        .note();
}

/// A whole log as HTML, in both protocols: plain lines, and lines with one coloured word.
fn html(stage: &Stage) {
    let mebibytes = setting("HTML_MIB", 512);
    println!("\n## {mebibytes} MiB as HTML over a WebSocket, one viewer\n");
    row(&[
        &"log",
        &"program",
        &"`rows`, MB/s",
        &"for a second of CPU",
        &"the original's protocol, MB/s",
        &"for a second of CPU",
        &"peak RSS, + MiB",
    ]);
    println!("|---|---|---|---|---|---|---|");
    for (name, levels) in [
        ("plain lines", LEVELS),
        (
            "one coloured word in each line",
            [
                "\x1b[32mINFO\x1b[0m",
                "\x1b[34mINFO\x1b[0m",
                "\x1b[33mWARN\x1b[0m",
                "\x1b[31mERROR\x1b[0m",
            ],
        ),
    ] {
        let log = stage.path().join("html.log");
        fill(&log, mebibytes << 20, levels);
        let mut servers = vec![("tailcast", Server::tailcast(stage.path()))];
        if stage::before().is_some() {
            servers.push(("before", Server::before(stage.path())));
        }
        let rss: Vec<f64> = servers.iter().map(|(_, server)| server.rss()).collect();
        servers.iter().for_each(|(_, server)| server.forget_peak());
        let mut speeds = vec![[const { Vec::new() }; 4]; servers.len()];
        for _ in 0..setting("ROUNDS", 5) {
            for (at, is_v1) in [(0, true), (2, false)] {
                for ((_, server), speeds) in servers.iter().zip(&mut speeds) {
                    let target = format!("{}?lines=all", log.display());
                    let (began, cpu) = (Instant::now(), server.cpu());
                    let sent = Counter::connect(&server.address, &target, is_v1).read_to_close();
                    let megabytes = size(&log) as f64 / 1e6;
                    speeds[at].push(megabytes / began.elapsed().as_secs_f64());
                    speeds[at + 1].push(megabytes / (server.cpu() - cpu));
                    assert!(sent >= size(&log) * 9 / 10, "{sent} bytes of HTML");
                }
            }
        }
        for (((program, server), rss), speeds) in servers.iter().zip(rss).zip(&speeds) {
            let grown = format!("{:.1}", (server.peak() - rss) / MEBI);
            let [rows, rows_cpu, original, original_cpu] = speeds.each_ref().map(|of| range(of));
            if *program == "tailcast" {
                Figure::new(
                    format!("HTML over a WebSocket in a CPU second, {name}"),
                    median(speeds[1].clone()),
                    "MB",
                )
                .goal(Goal::AtLeast(300.0))
                .note();
            }
            row(&[&name, program, &rows, &rows_cpu, &original, &original_cpu, &grown]);
        }
    }
}

/// A log that is written fast, with viewers that keep up, beside a loop that reads once and sends
/// to each.
fn stream(stage: &Stage) {
    let seconds = setting("SECONDS", 10);
    let speed = setting("MB_PER_SECOND", 200);
    println!(
        "\n## a log written at {speed} MB/s for {seconds} s, {VIEWERS} viewers that keep up\n"
    );
    row(&[
        &"server",
        &"CPU, s",
        &"all viewers have everything after, s",
        &"peak RSS, + MiB",
        &"CPU / the loop",
    ]);
    println!("|---|---|---|---|---|");
    let mut names = vec!["read once, send to each", "tailcast, bytes", "tailcast, HTML"];
    if stage::before().is_some() {
        names.extend(["before, bytes", "before, HTML"]);
    }
    let mut cpu = vec![Vec::new(); names.len()];
    let mut took = cpu.clone();
    let mut grown = cpu.clone();
    for round in 0..setting("ROUNDS", 3) as usize {
        for turn in 0..cpu.len() {
            let at = (round + turn) % cpu.len();
            let log = stage.log("stream.log");
            let server = match at {
                0 => Server::floor(&log),
                1 | 2 => Server::tailcast(stage.path()),
                _ => Server::before(stage.path()),
            };
            let is_bytes = at == 1 || at == 3;
            let (used, after, rss) = keep_up(&server, &log, is_bytes, seconds, speed);
            cpu[at].push(used);
            took[at].push(after);
            grown[at].push(rss);
        }
    }
    for (at, name) in names.iter().enumerate() {
        let ratios: Vec<f64> =
            cpu[at].iter().zip(&cpu[0]).map(|(one, other)| one / other).collect();
        row(&[
            name,
            &range(&cpu[at]),
            &range(&took[at]),
            &format!("{:.1}", median(grown[at].clone()) / MEBI),
            &range(&ratios),
        ]);
        let of = |other: usize| (median(cpu[other].clone()), median_ratio(&cpu[at], &cpu[other]));
        let (name, value, ratio) = match at {
            1 => ("a loop that reads once", of(0).0, of(0).1),
            2 => ("as bytes", of(1).0, of(1).1),
            _ => continue,
        };
        let what = format!(
            "CPU of 10 viewers of {speed} MB/s for {seconds} s, {}",
            ["", "as bytes", "as HTML"][at]
        );
        Figure::new(what, median(cpu[at].clone()), "s")
            .beside(name, value, ratio)
            .goal(Goal::RatioAtMost(1.5))
            .note();
    }
}

/// Writes, and counts what arrives. Returns the CPU of the server, the time until all viewers have
/// everything, and the growth of its memory.
fn keep_up(server: &Server, log: &Path, is_v1: bool, seconds: u64, speed: u64) -> (f64, f64, f64) {
    // 64 KiB of whole lines without characters that HTML escapes.
    let line =
        format!("{}\n", "a line of a log that is as long as most lines are, or longer; ".repeat(2));
    let block = line.repeat(64 * 1024 / line.len());
    let blocks = speed * 1_000_000 * seconds / block.len() as u64;
    let total = blocks * block.len() as u64;
    let target = format!("{}?tail=1{}", log.display(), if is_v1 { "&format=raw" } else { "" });
    let counters: Vec<Counter> =
        (0..VIEWERS).map(|_| Counter::connect(&server.address, &target, is_v1)).collect();
    std::thread::sleep(Duration::from_secs(1));
    let (rss, cpu) = (server.rss(), server.cpu());
    server.forget_peak();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for mut counter in counters {
            scope.spawn(move || counter.count_to(total));
        }
        let mut file = File::options().append(true).open(log).unwrap();
        for number in 0..blocks {
            let due = Duration::from_secs_f64(
                (number * block.len() as u64) as f64 / (speed * 1_000_000) as f64,
            );
            if let Some(left) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(left);
            }
            file.write_all(block.as_bytes()).unwrap();
        }
    });
    let after = began.elapsed().as_secs_f64();
    (server.cpu() - cpu, after, server.peak() - rss)
}

fn main() {
    if let [mode, log] = &words()[..]
        && mode == "serve"
    {
        // Waiting for full sockets is fine here: there are few viewers, and they keep up.
        return floor::serve(Path::new(log), true, None);
    }
    heading("catchup");
    let stage = Stage::new();
    let big: PathBuf = stage.path().join("big.log");
    if ["tail", "http", "messages"].iter().any(|part| is_wanted(part)) {
        fill(&big, setting("GIB", 4) << 30, LEVELS);
    }
    for (name, part) in [
        ("tail", tail as fn(&Stage, &Path)),
        ("http", http as fn(&Stage, &Path)),
        ("messages", messages as fn(&Stage, &Path)),
    ] {
        if is_wanted(name) {
            part(&stage, &big);
        }
    }
    if is_wanted("html") {
        html(&stage);
    }
    if is_wanted("stream") {
        std::fs::remove_file(&big).ok();
        stream(&stage);
    }
}
