//! The last rows of a compressed log: the first time, again, and elsewhere in it.
//!
//! `cargo bench --bench archive`; words after `--` select endings: `gz`, `zst`, `xz`, `bz2`. `MIB=1024` is the
//! size of the content, `ROUNDS=3` how often each is done. The programs gzip, zstd, xz and bzip2 make the files.

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
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;
use stage::figures::{Figure, Goal};
use stage::logs::{size, write_lines};
use stage::{Server, Stage, get, is_wanted, median, range, row, setting};

/// The compressors, with the ending of their files.
const KINDS: [(&str, &str); 4] = [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")];
/// An offset behind every end that a number of JavaScript has.
const END: u64 = 9_007_199_254_740_991;
const ROWS: usize = 100;

/// Lines that are compressed to about a third, as those of servers are.
fn fill(path: &Path, bytes: u64) -> u64 {
    let mut random = fastrand::Rng::with_seed(1);
    let words: Vec<String> = (0..3_000)
        .map(|_| (0..random.usize(3..10)).map(|_| random.lowercase()).collect())
        .collect();
    let written = write_lines(path, bytes, |number| {
        let level = random.choice(["INFO", "DEBUG", "WARN"]).unwrap();
        let mut line = format!(
            "2026-01-02T{:02}:{:02}:{:02}.{:03}Z {level} [worker-{}] request {:08x} GET /{} in {} ms:",
            number / 720_000 % 24,
            number / 12_000 % 60,
            number / 200 % 60,
            number * 5 % 1_000,
            random.u8(1..17),
            random.u32(..),
            words[random.usize(..words.len())],
            random.u16(1..900),
        );
        for _ in 0..6 {
            line.push(' ');
            line += &words[random.usize(..300)];
        }
        line + "\n"
    });
    written.bytes
}

/// What `PROGRAM -dc FILE | tail -n 100` takes, in ms, and what it prints.
fn piped(program: &str, archive: &Path) -> (f64, String) {
    let began = Instant::now();
    let mut unpacking = Command::new(program);
    let unpacking = unpacking.arg("-dc").arg(archive).stdout(Stdio::piped());
    let mut unpacking = unpacking.spawn().unwrap();
    let mut tail = Command::new("tail");
    let tail = tail.args(["-n", &ROWS.to_string()]).stdin(unpacking.stdout.take().unwrap());
    let output = tail.output().unwrap();
    assert!(unpacking.wait().unwrap().success());
    (began.elapsed().as_secs_f64() * 1e3, String::from_utf8(output.stdout).unwrap())
}

/// What a request for rows takes, in ms, and its answer.
fn asked(server: &Server, archive: &Path, place: &str) -> (f64, Value) {
    let began = Instant::now();
    let target = format!("/_/rows{}?{place}&count={ROWS}", archive.display());
    let mut text = String::new();
    get(&server.address, &target).read_to_string(&mut text).unwrap();
    (began.elapsed().as_secs_f64() * 1e3, serde_json::from_str(&text).unwrap())
}

fn main() {
    let stage = Stage::new();
    let plain = stage.path().join("plain.log");
    let bytes = fill(&plain, setting("MIB", 1024) << 20);
    println!("\n## compressed logs of {:.2} GB; ms\n", bytes as f64 / 1e9);
    row(&[
        &"file",
        &"MB",
        &"`… -dc FILE \\| tail`",
        &"first visit",
        &"first visit / tail",
        &"second visit",
        &"the middle",
        &"CPU of the server, s",
        &"its peak memory, MiB",
    ]);
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for (program, ending) in KINDS {
        if !is_wanted(ending) {
            continue;
        }
        let archive = stage.path().join(format!("app.log.{ending}"));
        let mut making = Command::new(program);
        making.args(["-1", "-c"]).arg(&plain).stdout(File::create(&archive).unwrap());
        assert!(making.status().unwrap().success(), "{program}");
        let size = size(&archive);
        let mut times = [const { Vec::new() }; 4];
        let (mut cpu, mut peak) = (Vec::new(), 0.0f64);
        for round in 0..setting("ROUNDS", 3) {
            // A new server each time, so that nothing is unpacked.
            let server = Server::tailcast(stage.path());
            let last = format!("before={END}");
            let (mut tail, mut first) = (None, None);
            for turn in 0..2 {
                if (round + turn) % 2 == 0 {
                    tail = Some(piped(program, &archive));
                } else {
                    first = Some(asked(&server, &archive, &last));
                }
            }
            let ((tail_took, lines), (first_took, answer)) = (tail.unwrap(), first.unwrap());
            let rows = answer["rows"].as_array().unwrap();
            assert_eq!(answer["size"], bytes, "all of it is unpacked");
            assert_eq!(rows.len(), ROWS);
            for (row, line) in rows.iter().zip(lines.lines()) {
                assert_eq!(row[1], line, "the same last lines");
            }
            let (second_took, again) = asked(&server, &archive, &last);
            assert_eq!(again["rows"], answer["rows"]);
            let (middle_took, middle) = asked(&server, &archive, &format!("from={}", bytes / 2));
            assert_eq!(middle["rows"].as_array().unwrap().len(), ROWS);
            for (at, took) in [tail_took, first_took, second_took, middle_took].iter().enumerate() {
                times[at].push(*took);
            }
            cpu.push(server.cpu());
            peak = peak.max(server.peak() / 1048576.0);
        }
        let [tail, first, second, middle] = &times;
        let ratio = median(first.iter().zip(tail).map(|(first, tail)| first / tail).collect());
        row(&[
            &format!("`app.log.{ending}`"),
            &format!("{:.0}", size as f64 / 1e6),
            &range(tail),
            &range(first),
            &format!("{ratio:.2}"),
            &range(second),
            &range(middle),
            &format!("{:.1}", median(cpu)),
            &format!("{peak:.0}"),
        ]);
        Figure::new(
            format!("the end of a .{ending} for the first time"),
            median(first.clone()),
            "ms",
        )
        .beside(&format!("`{program} -dc \\| tail`"), median(tail.clone()), ratio)
        .goal(Goal::RatioAtMost(1.0))
        .note();
        Figure::new(format!("the same .{ending} again"), median(second.clone()), "ms")
            .goal(Goal::AtMost(100.0))
            .note();
        std::fs::remove_file(&archive).unwrap();
    }
}
