//! The floor and tailcast in turns, under the same loads by the same client: the cost of a
//! delivery, and the time until a line has reached the last viewer.
//!
//! `cargo bench --bench fanout`, with `ROUNDS=5 SECONDS=10` by default; words after `--` select
//! loads by name. `ONLY="tailcast,tailcast TLS"` measures some of the servers. `BEFORE=PATH` is another
//! build of the program, which takes its turns as `before`. `THREADS=1,2,4` measures tailcast with so many
//! threads, which `ONLY=threads` names together. `PEERS="edge,two edges,original,websocketd,nchan,nchan TLS,frontail"`
//! measures other servers as well, if they are installed, and `PEERS=installed` all of them but the edges and those
//! with TLS; `ONLY=tailcast,peers` then leaves out the rest. `edge` is an edge of a machine that has the log, with
//! nats-server between; of `two edges` each has so many viewers, and the table has those of the first. `floor notify` is
//! the floor on the thread of a `notify` watcher, and `floor tokio` a floor that also reads what viewers send, with a task and a
//! lock for each.

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

use std::collections::BTreeMap;
use std::path::Path;

use stage::figures::{Figure, Goal};
use stage::{
    Server, Stage, heading, is_wanted, load, median, median_ratio, number, range, row, setting,
    words,
};

/// Viewers, and lines per second.
const LOADS: [(&str, u64, u64); 4] = [
    ("1000x100", 1000, 100),
    ("5000x20", 5000, 20),
    ("100x100", 100, 100),
    ("overload", 1000, 1000),
];

/// The other servers that `PEERS=installed` stands for.
const PEERS: &str = "original,websocketd,nchan,frontail";

/// The results of one server under one load, over the rounds.
#[derive(Default)]
struct Figures {
    cpu_per_line: Vec<f64>,
    cpu_per_message: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    lines_per_message: Vec<f64>,
    /// The percentage of a core that the client used.
    client: Vec<f64>,
    /// CPU time for each written line, in µs, of each process that the server needs.
    others: BTreeMap<&'static str, Vec<f64>>,
}

fn measure(figures: &mut Figures, server: &Server, log: &Path, query: &str, load_of: (u64, u64)) {
    let (viewers, rate) = load_of;
    let arguments = [
        "--write".to_owned(),
        log.display().to_string(),
        format!("--viewers={viewers}"),
        format!("--rate={rate}"),
        format!("--duration={}", setting("SECONDS", 10)),
        format!("--pid={}", server.pid()),
        format!("--protocol={}", if query.is_empty() { "original" } else { "v1" }),
    ];
    let arguments = [&arguments[..], &server.trust()].concat();
    let url = format!("{}{query}", server.url(log));
    // They come before the first line, and stay until after the last one.
    let beside = server.viewers_beside(log, viewers, setting("SECONDS", 10) + 8);
    let before = server.cpu_of_others();
    let (report, wrong) = load(url, &arguments);
    if let Some(wrong) = wrong {
        eprintln!("{report:#}");
        panic!("{wrong}");
    }
    let lines = number(&report, "/delivered/lines");
    if let Some(beside) = beside {
        let (of_other, wrong) = beside.report();
        let lines_of_other = number(&of_other, "/delivered/lines");
        assert!(wrong.is_none() && lines_of_other >= lines, "{wrong:?}; {of_other:#}");
    }
    figures.cpu_per_line.push(number(&report, "/server/cpu_us_per_line"));
    figures.cpu_per_message.push(number(&report, "/server/cpu_us_per_message"));
    figures.lines_per_message.push(lines / number(&report, "/delivered/messages"));
    let client = number(&report, "/client/cpu_seconds") / number(&report, "/delivered/seconds");
    figures.client.push(100.0 * client);
    let written = lines / viewers as f64;
    for ((other, before), (_, after)) in before.into_iter().zip(server.cpu_of_others()) {
        figures.others.entry(other).or_default().push(1e6 * (after - before) / written);
    }
    figures.p50.push(number(&report, "/last_viewer_ms/p50"));
    figures.p99.push(number(&report, "/last_viewer_ms/p99"));
}

/// Adds the figures of a load to the table of all benches.
fn note(load: &str, all: &[(String, &str, Figures)]) {
    let floor = &all[0].2;
    let Some((.., ours)) = all.iter().find(|(name, ..)| name == "tailcast") else { return };
    let goal = match load {
        "1000x100" => 1.05,
        "5000x20" => 1.10,
        "100x100" => 1.15,
        _ => return,
    };
    let pair = |ours: &[f64], floor: &[f64]| {
        (median(ours.to_vec()), median(floor.to_vec()), median_ratio(ours, floor))
    };
    let (cpu, of_floor, ratio) = pair(&ours.cpu_per_message, &floor.cpu_per_message);
    Figure::new(format!("CPU a message, {load}"), cpu, "µs")
        .beside("the floor", of_floor, ratio)
        .goal(Goal::RatioAtMost(goal))
        .note();
    let (p99, of_floor, ratio) = pair(&ours.p99, &floor.p99);
    Figure::new(format!("p99 to the last viewer, {load}"), p99, "ms")
        .beside("the floor", of_floor, ratio)
        .goal(Goal::RatioAtMost(1.10))
        .note();
    if load == "100x100" {
        for (name, _, figures) in all.iter().filter(|(.., figures)| !figures.p99.is_empty()) {
            let name = match name.as_str() {
                "floor" => "bare socket loop",
                // It looks once a second, and sends many lines at once.
                "original" => "original, 1 s late",
                name => name,
            };
            let cpu = median(figures.cpu_per_line.clone());
            Figure::new(format!("a line to a viewer: {name}"), cpu, "µs").note();
        }
    }
}

fn main() {
    floor::serve_as(&words());
    heading("fanout");
    let stage = Stage::new();
    for (name, viewers, rate) in LOADS {
        if !is_wanted(name) {
            continue;
        }
        // The protocol of the page is compared with the floor as well.
        let ours = [
            ("floor", ""),
            ("tailcast", ""),
            ("tailcast rows", "?format=rows"),
            ("floor TLS", ""),
            ("tailcast TLS", ""),
        ];
        let before = stage::before().map(|_| ("before", ""));
        let threads = std::env::var("THREADS").unwrap_or_default();
        let threads = threads.split(',').filter(|number| !number.is_empty());
        let threads: Vec<String> = threads.map(|number| format!("{number} threads")).collect();
        let peers = std::env::var("PEERS").unwrap_or_default();
        let peers = if peers == "installed" { PEERS } else { &peers };
        let peers: Vec<_> =
            peers.split(',').filter(|peer| !peer.is_empty()).map(|peer| (peer, "")).collect();
        let only = std::env::var("ONLY").unwrap_or_default();
        let is_chosen = |name: &str| {
            let names = |one: &str| match one {
                "threads" => threads.iter().any(|threads| threads == name),
                "peers" => peers.iter().any(|(peer, _)| *peer == name),
                one => one == name,
            };
            only.is_empty() || name == "floor" || only.split(',').any(names)
        };
        let mut all: Vec<_> = ours
            .into_iter()
            .chain(before)
            .chain(threads.iter().map(|threads| (threads.as_str(), "")))
            .chain(peers.iter().copied())
            .filter(|(name, _)| is_chosen(name))
            .map(|(name, query)| (name.to_owned(), query, Figures::default()))
            .collect();
        for round in 0..setting("ROUNDS", 5) as usize {
            for turn in 0..all.len() {
                // Each server is first in turn.
                let at = (turn + round) % all.len();
                let (name, query, figures) = &mut all[at];
                let log = stage.log("a.log");
                let server = match name.as_str() {
                    "floor" => Some(Server::floor(&log)),
                    "floor notify" => Some(Server::floor_notified(&log)),
                    "floor tokio" => Some(Server::floor_tokio(&log)),
                    "floor TLS" => Some(Server::floor_tls(&log)),
                    "tailcast TLS" => Some(Server::tailcast_tls(stage.path())),
                    "before" => Some(Server::before(stage.path())),
                    "tailcast" | "tailcast rows" => Some(Server::tailcast(stage.path())),
                    other => match other.strip_suffix(" threads") {
                        Some(threads) => Some(Server::with_threads(stage.path(), threads)),
                        None => Server::peer(other, &log),
                    },
                };
                let Some(server) = server else {
                    eprintln!("{name}: not installed");
                    continue;
                };
                measure(figures, &server, &log, query, (viewers, rate));
            }
        }
        println!("\n## {name}: {viewers} viewers, {rate} lines per second of 120 bytes\n");
        row(&[
            &"",
            &"CPU µs per line",
            &"µs per message",
            &"lines per message",
            &"p50 ms",
            &"p99 ms",
            &"client, % of a core",
            &"message / floor",
            &"line / floor",
            &"p99 / floor",
        ]);
        println!("|---|---|---|---|---|---|---|---|---|---|");
        let ratios = |figures: &[f64], floor: &[f64]| -> String {
            let ratios: Vec<f64> =
                figures.iter().zip(floor).map(|(one, other)| one / other).collect();
            range(&ratios)
        };
        let floor = &all[0].2;
        for (name, _, figures) in all.iter().filter(|(.., figures)| !figures.p99.is_empty()) {
            row(&[
                name,
                &range(&figures.cpu_per_line),
                &range(&figures.cpu_per_message),
                &range(&figures.lines_per_message),
                &range(&figures.p50),
                &range(&figures.p99),
                &range(&figures.client),
                &ratios(&figures.cpu_per_message, &floor.cpu_per_message),
                &ratios(&figures.cpu_per_line, &floor.cpu_per_line),
                &ratios(&figures.p99, &floor.p99),
            ]);
        }
        note(name, &all);
        for (name, _, figures) in &all {
            for (other, cpu) in &figures.others {
                println!("\n{name}: its {other} uses {} µs for a written line", range(cpu));
            }
        }
    }
}
