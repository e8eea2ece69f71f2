//! What `tailcast run` costs a command, beside `| tee FILE` and, on a terminal, beside `script`.
//!
//! `cargo bench --bench run`; words after `--` select from `pipe` and `pty`. `MIB=256` is how much the command
//! writes, `ROUNDS=5` how often each is done; the programs take turns.

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

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use pty_process::Size;
use pty_process::blocking::Command as PtyCommand;
use stage::figures::{Figure, Goal};
use stage::logs::{size, write_lines};
use stage::{Stage, TAILCAST, is_wanted, median, row, setting};

/// What a program took.
struct Took {
    wall: f64,
    /// Of the program and all that it has started, in seconds.
    cpu: f64,
}

/// The CPU time of all processes that this one has waited for, in seconds.
fn waited_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / rustix::param::clock_ticks_per_second() as f64
}

fn measured(work: impl FnOnce()) -> Took {
    let (began, before) = (Instant::now(), waited_cpu());
    work();
    Took { wall: began.elapsed().as_secs_f64(), cpu: waited_cpu() - before }
}

/// Runs a line of a shell whose output is a pipe that is read to its end, as by another program.
fn in_pipe(line: &str) -> Took {
    measured(|| {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", line]).stdin(Stdio::null());
        let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = shell.stdout.take().unwrap();
        drain(&mut output);
        assert!(shell.wait().unwrap().success(), "{line}");
    })
}

/// Runs a line of a shell on a terminal of its own, which somebody reads as fast as it can.
fn on_terminal(line: &str) -> Took {
    measured(|| {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(Size::new(40, 120)).unwrap();
        let mut shell = PtyCommand::new("sh").arg("-c").arg(line).spawn(pts).unwrap();
        // The end of a terminal is an error.
        drain(&mut { pty });
        assert!(shell.wait().unwrap().success(), "{line}");
    })
}

fn drain(from: &mut impl Read) {
    let mut buffer = vec![0; 256 * 1024];
    while from.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

fn fill(path: &Path, bytes: u64) {
    write_lines(path, bytes, |number| {
        format!(
            "2026-01-02T03:04:05Z INFO compiling part {number:012} of the program, which has a name\n"
        )
    });
}

/// Measures the lines in turns. The first is what the others are compared with.
fn compare(title: &str, bytes: u64, run: fn(&str) -> Took, lines: &[(&str, String)], copy: &Path) {
    println!("\n## {title}: {:.2} GB\n", bytes as f64 / 1e9);
    row(&[&"", &"s, median", &"ratio", &"CPU s, median", &"ratio"]);
    println!("|---|--:|--:|--:|--:|");
    let mut took: Vec<Vec<Took>> = lines.iter().map(|_| Vec::new()).collect();
    for round in 0..setting("ROUNDS", 5) as usize {
        for turn in 0..lines.len() {
            let at = (round + turn) % lines.len();
            // To write over a file costs more than to make one.
            let _removed = std::fs::remove_file(copy);
            took[at].push(run(&lines[at].1));
            if lines[at].1.contains("copy.log") {
                let size = size(copy);
                assert!(size >= bytes, "{}: {size} of {bytes} bytes are in the file", lines[at].0);
            }
        }
    }
    let ratio = |of: fn(&Took) -> f64, at: usize| {
        median(took[at].iter().zip(&took[0]).map(|(one, other)| of(one) / of(other)).collect())
    };
    for (at, (name, _)) in lines.iter().enumerate() {
        let middle = |of: fn(&Took) -> f64| median(took[at].iter().map(of).collect());
        row(&[
            name,
            &format!("{:.2}", middle(|took| took.wall)),
            &format!("{:.2}", ratio(|took| took.wall, at)),
            &format!("{:.2}", middle(|took| took.cpu)),
            &format!("{:.2}", ratio(|took| took.cpu, at)),
        ]);
        if *name == "`tailcast run`" {
            let wall = |at: usize| median(took[at].iter().map(|took| took.wall).collect());
            Figure::new(format!("a command that writes at full speed, {title}"), wall(at), "s")
                .beside(lines[0].0, wall(0), ratio(|took| took.wall, at))
                .goal(Goal::RatioAtMost(1.1))
                .note();
        }
    }
}

fn main() {
    let stage = Stage::new();
    let source = stage.path().join("source.log");
    let copy = stage.path().join("copy.log");
    let bytes = setting("MIB", 256) << 20;
    fill(&source, bytes);
    // The usual size of what programs write at once.
    let command = format!("dd if={} bs=16k status=none", source.display());
    let to = copy.display();
    let tee = ("`COMMAND \\| tee FILE`", format!("{command} | tee {to}"));
    let run = |more: &str| format!("{TAILCAST} run {more} --to {to} -- {command}");
    if is_wanted("pipe") {
        let lines = [
            tee.clone(),
            ("`tailcast run`", run("")),
            ("`tailcast run --serve`", run("--serve=127.0.0.1:0")),
            ("the command alone", command.clone()),
        ];
        compare("into a pipe", bytes, in_pipe, &lines, &copy);
    }
    if is_wanted("pty") {
        let lines = [
            ("`script -qc COMMAND FILE`", format!("script -qc '{command}' {to}")),
            ("`tailcast run`", run("")),
            ("`tailcast run --pty never`", run("--pty never")),
            tee,
            ("the command alone", command),
        ];
        compare("on a terminal", bytes, on_terminal, &lines, &copy);
    }
}
