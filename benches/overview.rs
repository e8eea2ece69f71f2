//! What matters to a user, in one table: goal, figure, ratio to what it is compared with, and the machine.
//!
//! `cargo bench` runs this alone, in under ten minutes after the build: it runs parts of the other benches, shortly,
//! and collects their figures. Servers and programs to compare with join if they are installed. Words after `--`
//! select benches by name; `--plot FILE` also draws the cost of a delivered line, and the speed of a search, as SVG.

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

#[path = "stage/figures.rs"]
mod figures;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use figures::{Figure, Goal};
use serde_json::Value;

/// A bench, the words that choose its parts, and how short it is.
type Part = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const PARTS: [Part; 11] = [
    (
        "fanout",
        &["100x100"],
        &[("ROUNDS", "3"), ("SECONDS", "3"), ("PEERS", "installed"), ("ONLY", "tailcast,peers")],
    ),
    (
        "fanout",
        &["1000x100", "5000x20"],
        &[("ROUNDS", "3"), ("SECONDS", "3"), ("ONLY", "tailcast")],
    ),
    ("idle", &["memory"], &[("VIEWERS", "5000")]),
    (
        "catchup",
        &["tail", "messages", "html", "stream"],
        &[("GIB", "1"), ("ROUNDS", "2"), ("SECONDS", "3")],
    ),
    ("find", &["find", "rows", "fields"], &[("GIB", "1"), ("ROWS_GIB", "1"), ("ROUNDS", "1")]),
    ("times", &["stamps", "seek", "merged"], &[("GIB", "1"), ("MERGED_MIB", "128")]),
    ("archive", &["gz", "zst"], &[("MIB", "512"), ("ROUNDS", "1")]),
    ("run", &["pipe"], &[("ROUNDS", "3")]),
    ("list", &["crowd"], &[("ROUNDS", "1")]),
    ("render", &["coloured", "plain"], &[]),
    ("fleet", &["latency", "throughput", "whole"], &[("SECONDS", "5")]),
];

/// Builds the benches, and returns the program of each.
fn build(benches: &[&str]) -> BTreeMap<String, PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--locked", "--no-run", "--message-format=json-render-diagnostics"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for bench in benches {
        command.args(["--bench", bench]);
    }
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the benches cannot be built");
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter_map(|message| {
            let program = PathBuf::from(message["executable"].as_str()?);
            let is_bench = message["target"]["kind"][0] == "bench";
            is_bench.then(|| (message["target"]["name"].as_str().unwrap().to_owned(), program))
        })
        .collect()
}

/// Runs a part. Returns whether it succeeded.
fn run(program: &Path, part: Part, figures: &Path) -> bool {
    let (bench, words, settings) = part;
    println!("\n# {bench} {}\n", words.join(" "));
    let began = Instant::now();
    let status = Command::new(program)
        .args(words)
        .envs(settings.iter().copied())
        .env(figures::FILE, figures)
        .status()
        .unwrap();
    println!("\n{bench} took {:.0} s", began.elapsed().as_secs_f64());
    status.success()
}

fn first_value(file: &str, key: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
}

/// This machine and how busy it is.
fn machine() -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores ({}), {} of memory, Linux {}, load average {}",
        first_value("/proc/cpuinfo", "model name"),
        first_value("/proc/meminfo", "MemTotal"),
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("?")
    )
}

/// Whether a figure is at its goal. None without one.
fn is_met(figure: &Figure) -> Option<bool> {
    let ratio = figure.ratio.unwrap_or(f64::NAN);
    figure.goal.map(|goal| match goal {
        Goal::AtMost(most) => figure.value <= most,
        Goal::AtLeast(least) => figure.value >= least,
        Goal::RatioAtMost(most) => ratio <= most,
        Goal::RatioAtLeast(least) => ratio >= least,
    })
}

fn wanted(figure: &Figure) -> String {
    match figure.goal {
        None => String::new(),
        Some(Goal::AtMost(most)) => format!("≤ {} {}", digits(most), figure.unit),
        Some(Goal::AtLeast(least)) => format!("≥ {} {}", digits(least), figure.unit),
        Some(Goal::RatioAtMost(most)) => format!("ratio ≤ {most}"),
        Some(Goal::RatioAtLeast(least)) => format!("ratio ≥ {least}"),
    }
}

/// About three significant digits.
fn digits(value: f64) -> String {
    let places = match value.abs() {
        small if small < 10.0 => 2,
        middle if middle < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

fn print_table(all: &[Figure]) {
    println!("\n| figure | goal | measured | beside, in the same run | ratio | |");
    println!("|---|---|---|---|---|---|");
    for figure in all {
        let beside = figure.beside.as_ref().map_or(String::new(), |(name, value)| {
            format!("{name} {} {}", digits(*value), figure.unit)
        });
        println!(
            "| {} | {} | {} {} | {beside} | {} | {} |",
            figure.what,
            wanted(figure),
            digits(figure.value),
            figure.unit,
            figure.ratio.map(digits).unwrap_or_default(),
            match is_met(figure) {
                None => "",
                Some(true) => "met",
                Some(false) => "**missed**",
            }
        );
    }
}

/// One group of bars: a title, a unit, and the names with their values.
struct Bars {
    title: &'static str,
    bars: Vec<(String, f64)>,
}

const WIDTH: f64 = 720.0;
const LABEL: f64 = 150.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;

/// The groups as SVG, with colours that are readable on light and on dark pages.
fn svg(groups: &[Bars]) -> String {
    let (mut text, mut y) = (String::new(), 24.0);
    for group in groups {
        let most = group.bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        writeln!(text, "<text x=\"0\" y=\"{y}\" font-weight=\"bold\">{}</text>", group.title)
            .unwrap();
        y += 12.0;
        for (name, value) in &group.bars {
            let length = (WIDTH - LABEL - 60.0) * value / most;
            let fill = if name.starts_with("tailcast") { "#0b7fab" } else { "#8b949e" };
            writeln!(
                text,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{fill}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{}</text>",
                LABEL - 8.0,
                y + 13.5,
                LABEL + length + 6.0,
                y + 13.5,
                digits(*value)
            )
            .unwrap();
            y += STEP;
        }
        y += 28.0;
    }
    let height = y - 28.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<style>text {{ fill: #24292f }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #d0d7de }} }}</style>\n{text}</svg>\n"
    )
}

/// What is drawn: figures whose names begin alike, and what they were compared with.
fn plotted(all: &[Figure]) -> Vec<Bars> {
    let named = |prefix: &str| -> Vec<(String, f64)> {
        let of =
            all.iter().filter_map(|figure| Some((figure.what.strip_prefix(prefix)?, figure.value)));
        of.map(|(name, value)| (name.trim_start_matches(": ").to_owned(), value)).collect()
    };
    let mut groups = Vec::new();
    for (title, prefix) in [
        (
            "CPU to deliver a line to a viewer, µs (100 viewers, 100 lines a second; less is better)",
            "a line to a viewer",
        ),
        ("Finding a rare text in 1 GiB, GB a second (more is better)", "a rare text in 1 GiB, by"),
    ] {
        let mut bars = named(prefix);
        bars.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        if bars.len() > 1 {
            groups.push(Bars { title, bars });
        }
    }
    groups
}

fn main() {
    let mut chosen = Vec::new();
    let mut plot = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--plot" => plot = Some(words.next().expect("--plot FILE")),
            _ => chosen.push(word),
        }
    }
    let parts = PARTS
        .iter()
        .filter(|(bench, ..)| chosen.is_empty() || chosen.iter().any(|word| word == bench));
    let parts: Vec<Part> = parts.copied().collect();
    assert!(!parts.is_empty(), "there is no bench of the names {chosen:?}");
    let mut benches: Vec<&str> = parts.iter().map(|(bench, ..)| *bench).collect();
    benches.dedup();
    let programs = build(&benches);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("figures");
    let machine = machine();
    let began = Instant::now();
    let failed: Vec<&str> = parts
        .iter()
        .filter(|part| !run(&programs[part.0], **part, &file))
        .map(|(bench, ..)| *bench)
        .collect();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let all: Vec<Figure> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    println!(
        "\n# tailcast {}\n\n{machine}; {:.0} s",
        env!("CARGO_PKG_VERSION"),
        began.elapsed().as_secs_f64()
    );
    print_table(&all);
    let missed = all.iter().filter(|figure| is_met(figure) == Some(false)).count();
    println!("\n{} figures, {missed} of them not at their goal", all.len());
    if let Some(plot) = plot {
        let plot = Path::new(env!("CARGO_MANIFEST_DIR")).join(plot);
        std::fs::write(&plot, svg(&plotted(&all))).unwrap();
        println!("drawn: {}", plot.display());
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
