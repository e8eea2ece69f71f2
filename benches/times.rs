//! Times in logs: how fast stamps are read, how fast a time is found, how fast lines are counted.
//!
//! `cargo bench --bench times`; words after `--` select from `stamps`, `seek`, `count` and `merged`.
//! `GIB=2` is the size of the log in which times are sought, and `MERGED_MIB=1024` that of each of the
//! eight logs that are merged.

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

use std::hint::black_box;
use std::io::Read;
use std::ops::Range;
use std::time::Instant;

use stage::figures::{Figure, Goal};
use stage::logs::write_lines;
use stage::{Server, Stage, get, heading, is_wanted, median, range, row, setting};
use tailcast::time::{Profile, Recognizer, Zone};

const ROUNDS: usize = 7;
const LINES: u64 = 400_000;
/// Times that are sought.
const PLACES: u64 = 40;
/// 2026-11-28T14:00:00Z in milliseconds.
const T: u64 = 1_795_874_400_000;

type Form = (&'static str, fn(u64) -> String);

/// Logs with a line each millisecond.
const FORMS: [Form; 8] = [
    ("RFC 3339", |n| {
        format!(
            "2026-11-28T14:{}.{:03}Z INFO  server: request {n} served in 12 ms from 10.0.0.1 for /api/v1/things",
            clock(n),
            n % 1000
        )
    }),
    ("ISO 8601, local", |n| {
        format!(
            "2026-11-28 14:{},{:03} INFO  server: request {n} served in 12 ms from 10.0.0.1 for /api/v1/things",
            clock(n),
            n % 1000
        )
    }),
    ("syslog", |n| {
        format!(
            "Nov 28 14:{} host app[{n}]: request served in 12 ms from 10.0.0.1 for /api/v1/things",
            clock(n)
        )
    }),
    ("common log format", |n| {
        format!(
            "10.0.0.1 - frank [28/Nov/2026:14:{} +0000] \"GET /api/v1/things/{n} HTTP/1.1\" 200 2326 \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\"",
            clock(n)
        )
    }),
    ("seconds since 1970", |n| {
        format!(
            "{}.{:03} 42 10.0.0.1 TCP_MISS/200 {n} GET http://example.org/api/v1/things - DIRECT/10.0.0.9 text/html",
            (T + n) / 1000,
            n % 1000
        )
    }),
    ("JSON", |n| {
        format!(
            "{{\"level\":\"info\",\"ts\":{}.{:03},\"caller\":\"server/http.go:123\",\"msg\":\"request served\",\"id\":{n},\"status\":200,\"path\":\"/api/v1/things\"}}",
            (T + n) / 1000,
            n % 1000
        )
    }),
    ("Docker", |n| {
        format!(
            "{{\"log\":\"request {n} served in 12 ms from 10.0.0.1 for \\\"/api/v1/things\\\"\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-28T14:{}.{:03}456789Z\"}}",
            clock(n),
            n % 1000
        )
    }),
    ("logfmt", |n| {
        format!(
            "time=\"2026-11-28T14:{}Z\" level=info msg=\"request served\" id={n} status=200 path=/api/v1/things/and/more",
            clock(n)
        )
    }),
];

fn clock(n: u64) -> String {
    format!("{:02}:{:02}", n / 60_000 % 60, n / 1000 % 60)
}

fn stamps() {
    heading("log | bytes in a line | GB/s | newlines alone, GB/s | ratio");
    let zone: Zone = "Europe/Berlin".parse().unwrap();
    for (name, form) in FORMS {
        let log: String = (0..LINES).map(|n| form(n) + "\n").collect();
        let bytes = log.as_bytes();
        let written = (T + 3_600_000) as i64;
        let sample = log.lines().take(500).map(str::as_bytes);
        let profile = Profile::of(sample, &zone, written);
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begin = Instant::now();
            let mut recognizer = Recognizer::new(profile, zone.clone(), written);
            let (mut start, mut found) = (0, 0);
            for end in memchr::memchr_iter(b'\n', bytes) {
                found += u64::from(recognizer.time_of(&bytes[start..end]).is_some());
                start = end + 1;
            }
            assert_eq!(found, LINES, "{name}");
            with.push(bytes.len() as f64 / begin.elapsed().as_secs_f64() / 1e9);
            let begin = Instant::now();
            black_box(memchr::memchr_iter(b'\n', bytes).fold(0, |sum, end| sum ^ end));
            without.push(bytes.len() as f64 / begin.elapsed().as_secs_f64() / 1e9);
        }
        let (with, without) = (median(with), median(without));
        Figure::new(format!("reading times, {name}"), with, "GB/s")
            .beside("newlines alone", without, with / without)
            .goal(Goal::AtLeast(1.0))
            .note();
        let ratio = format!("{:.2}", with / without);
        let (with, without) = (format!("{with:.2}"), format!("{without:.1}"));
        row(&[&name, &(log.len() as u64 / LINES), &with, &without, &ratio]);
    }
}

/// A log of this size whose lines are two seconds out of order, and the time of its last line.
fn fill(path: &std::path::Path, size: u64) -> u64 {
    let written = write_lines(path, size, |n| {
        let time = T / 1000 - 86_400 + n / 1000 - n * 2_654_435_761 % 2;
        let level =
            ["INFO", "INFO", "INFO", "WARN", "INFO", "INFO", "INFO", "ERROR"][(n * 7 % 8) as usize];
        format!(
            "{time}.{:03} {level} worker-{}: request {n:012} took {} us, queue {}\n",
            n % 1000,
            n % 16,
            n * 2_654_435_761 % 90_000,
            n % 977
        )
    });
    T / 1000 - 86_400 + written.lines / 1000
}

fn seek_and_count() {
    let stage = Stage::new();
    let log = stage.log("big.log");
    let size = setting("GIB", 2) << 30;
    let last = fill(&log, size);
    let first = T / 1000 - 86_400;
    let server = Server::tailcast(stage.path());
    if is_wanted("seek") {
        heading("question | ms, median | least to most");
        for (name, question) in [
            ("/_/rows?time=", "/_/rows{log}?count=100&format=text&time={time}"),
            (
                "/_/rows?since=&until=",
                "/_/rows{log}?count=100&format=text&since={time}&until={until}",
            ),
            ("?since=&until= (10 ms of log)", "{log}?since={time}&until={time}.01"),
        ] {
            let question = question.replace("{log}", &log.display().to_string());
            go_to_times(&server, name, &question, first..last, 50.0);
        }
    }
    if is_wanted("count") {
        heading("question | ms");
        let target = format!("/_/times{}?buckets=200", log.display());
        let begin = Instant::now();
        let mut answer = read(&server, &target);
        row(&[&"the first answer", &format!("{:.0}", begin.elapsed().as_secs_f64() * 1e3)]);
        while String::from_utf8_lossy(&answer).contains("\"exact\":false") {
            answer = read(&server, &target);
        }
        row(&[&"the exact one", &format!("{:.0}", begin.elapsed().as_secs_f64() * 1e3)]);
    }
}

/// Asks for places all over the logs by their times, in seconds since 1970. The goal is in ms.
fn go_to_times(server: &Server, name: &str, question: &str, logs: Range<u64>, goal: f64) {
    let mut took = Vec::new();
    for nth in 0..PLACES {
        let time = logs.start + (logs.end - logs.start) * (nth * 7919 % PLACES) / PLACES + 1;
        let target = question
            .replace("{time}", &time.to_string())
            .replace("{until}", &(time + 1).to_string());
        let begin = Instant::now();
        let answer = read(server, &target);
        took.push(begin.elapsed().as_secs_f64() * 1e3);
        assert!(!answer.is_empty());
    }
    let spread = range(&took);
    let middle = median(took);
    row(&[&name, &format!("{middle:.1}"), &spread]);
    Figure::new(format!("going to a time, `{name}`"), middle, "ms").goal(Goal::AtMost(goal)).note();
}

/// Places in eight logs that are merged by the times of their lines.
fn merged() {
    let stage = Stage::new();
    let first = T / 1000 - 86_400;
    let mut last = first;
    let logs: Vec<String> = (0..8)
        .map(|number| {
            let log = stage.log(&format!("merged-{number}.log"));
            last = fill(&log, setting("MERGED_MIB", 1024) << 20);
            format!("&log={}", log.display())
        })
        .collect();
    let server = Server::tailcast(stage.path());
    heading("eight logs | ms, median | least to most");
    let logs = logs.concat();
    let place = format!("/_/merged-rows?count=100&format=text&time={{time}}{logs}");
    go_to_times(&server, "/_/merged-rows?time=", &place, first..last, 200.0);
    let found = format!("/_/merged-rows?count=1&filter=1&level=error&time={{time}}{logs}");
    go_to_times(&server, "the next error from a time on", &found, first..last, 200.0);
}

fn read(server: &Server, target: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    get(&server.address, target).read_to_end(&mut answer).unwrap();
    answer
}

fn main() {
    if is_wanted("stamps") {
        stamps();
    }
    if is_wanted("seek") || is_wanted("count") {
        seek_and_count();
    }
    if is_wanted("merged") {
        merged();
    }
}
