//! What a fleet costs, by simulation: hosts with logs, edges, and viewers that choose logs by a
//! Zipf distribution. The costs are measured, on a virtual machine with two cores: replace them by what
//! `cargo bench --bench fleet` and `PEERS=edge cargo bench --bench fanout` print on yours.
//!
//!     cargo run --example scale                      # 1,000 hosts, 100 edges, 100,000 viewers
//!     cargo run --example scale -- viewers=20000 edges=20 rate=50

use std::collections::HashSet;
use std::io::Write;

/// The size of a fleet. Each can be set by its name.
struct Fleet {
    /// Machines with an agent.
    hosts: u64,
    /// Logs of a machine.
    logs: u64,
    edges: u64,
    viewers: u64,
    /// Lines that a watched log gets in a second.
    rate: f64,
    /// Bytes of a line.
    line: f64,
    /// Lines that arrive within this time, in ms, travel as one message.
    batch: f64,
    /// How uneven the choice of logs is. 0: all are chosen alike; 1: the second log has half the
    /// viewers of the first one, the third a third.
    skew: f64,
    seed: u64,
}

/// What one thing costs. Times are microseconds of CPU.
mod cost {
    /// A message from an edge to one viewer, plain, in a group of some viewers.
    pub(crate) const TO_A_VIEWER: f64 = 4.0;
    /// A message on an edge, from the broker to its viewers, besides those. Measured with one edge, in one
    /// process with the writer of the log; with nine edges in one process it was 36.
    pub(crate) const ON_AN_EDGE: f64 = 275.0;
    /// A message on an agent, from the file to the acknowledgement: 230 to 400 were measured.
    pub(crate) const ON_AN_AGENT: f64 = 300.0;
    /// A message on the broker: stored once, and sent to one edge.
    pub(crate) const ON_THE_BROKER: f64 = 475.0;
    /// The same for each further edge. With nine edges a message cost the broker no more than with one; this is
    /// what the measure could have missed.
    pub(crate) const TO_AN_EDGE: f64 = 10.0;
    /// Bytes of a message besides the lines: subject, headers, acknowledgement.
    pub(crate) const MESSAGE_BYTES: f64 = 400.0;
    /// Memory of a viewer on an edge, in bytes: its own, and the socket's in the kernel.
    pub(crate) const VIEWER_BYTES: f64 = 2.8 * 1024.0 + 8.0 * 1024.0;
    /// Memory of the broker for a subject and for a consumer, in bytes.
    pub(crate) const SUBJECT_BYTES: f64 = 3.4 * 1024.0;
    pub(crate) const CONSUMER_BYTES: f64 = 34.0 * 1024.0;
    /// Consumers of one stream that a broker was seen to carry. With 4,000 it refused more.
    pub(crate) const CONSUMERS_MAX: f64 = 4_000.0;
}

impl Fleet {
    fn from_arguments() -> Result<Self, String> {
        let mut fleet = Self {
            hosts: 1_000,
            logs: 100,
            edges: 100,
            viewers: 100_000,
            rate: 20.0,
            line: 120.0,
            batch: 5.0,
            skew: 1.0,
            seed: 1,
        };
        for argument in std::env::args().skip(1) {
            let (name, value) =
                argument.split_once('=').ok_or_else(|| format!("`{argument}`: NAME=NUMBER"))?;
            let number: f64 = value.parse().map_err(|error| format!("`{argument}`: {error}"))?;
            match name {
                "hosts" => fleet.hosts = number as u64,
                "logs" => fleet.logs = number as u64,
                "edges" => fleet.edges = number as u64,
                "viewers" => fleet.viewers = number as u64,
                "rate" => fleet.rate = number,
                "line" => fleet.line = number,
                "batch" => fleet.batch = number,
                "skew" => fleet.skew = number,
                "seed" => fleet.seed = number as u64,
                _ => {
                    return Err(format!(
                        "`{name}` is none of hosts, logs, edges, viewers, rate, line, batch, skew, seed"
                    ));
                }
            }
        }
        Ok(fleet)
    }

    /// Messages of one watched log in a second: lines that come close together share one.
    fn messages(&self) -> f64 {
        self.rate.min(1_000.0 / self.batch)
    }

    /// The logs of each edge that somebody watches there, after each viewer has chosen a log and an
    /// edge.
    fn watched(&self) -> Vec<HashSet<u64>> {
        let all = self.hosts * self.logs;
        // The sum of the weights up to each log.
        let mut sums = Vec::with_capacity(all as usize);
        let mut sum = 0.0;
        for rank in 1..=all {
            sum += (rank as f64).powf(-self.skew);
            sums.push(sum);
        }
        let mut chance = fastrand::Rng::with_seed(self.seed);
        let mut watched = vec![HashSet::new(); self.edges as usize];
        for _ in 0..self.viewers {
            let chosen = chance.f64() * sum;
            let log = sums.partition_point(|sum| *sum < chosen) as u64;
            let edge = chance.usize(..watched.len());
            watched[edge].insert(log);
        }
        watched
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let fleet = Fleet::from_arguments()?;
    let watched = fleet.watched();
    let (edges, messages) = (fleet.edges as f64, fleet.messages());
    let consumers: f64 = watched.iter().map(|logs| logs.len() as f64).sum();
    let distinct = watched.iter().flatten().collect::<HashSet<_>>().len() as f64;
    let bytes = messages * cost::MESSAGE_BYTES + fleet.rate * fleet.line;
    let of_an_edge = consumers / edges;
    let viewers = fleet.viewers as f64 / edges;

    // The logs that an agent publishes lie on few hosts, if few are watched by many.
    let mut published = vec![0.0_f64; fleet.hosts as usize];
    for log in watched.iter().flatten().collect::<HashSet<_>>() {
        // Logs that are chosen often are spread over the machines.
        published[(log % fleet.hosts) as usize] += 1.0;
    }
    let busiest = published.iter().copied().fold(0.0, f64::max);

    let cores = |microseconds: f64| microseconds / 1e6;
    let edge = of_an_edge * messages * cost::ON_AN_EDGE + viewers * messages * cost::TO_A_VIEWER;
    let broker = distinct * messages * cost::ON_THE_BROKER
        + (consumers - distinct) * messages * cost::TO_AN_EDGE;
    let out = &mut std::io::stdout().lock();
    writeln!(
        out,
        "| {} hosts × {} logs, {} edges, {} viewers, {} lines/s of {} bytes | |",
        fleet.hosts, fleet.logs, fleet.edges, fleet.viewers, fleet.rate, fleet.line
    )?;
    writeln!(out, "|---|---:|")?;
    let mut row =
        |what: &str, figure: f64, unit: &str| writeln!(out, "| {what} | {figure:.1} {unit} |");
    row(
        "logs that somebody watches, of all",
        100.0 * distinct / (fleet.hosts * fleet.logs) as f64,
        "%",
    )?;
    row("these logs", distinct, "")?;
    row("messages of a watched log", messages, "/s")?;
    row(
        "the busiest agent: CPU",
        100.0 * cores(busiest * messages * cost::ON_AN_AGENT),
        "% of a core",
    )?;
    row("the busiest agent: to the broker", busiest * bytes / 1e6, "MB/s")?;
    row("broker: messages in", distinct * messages, "/s")?;
    row("broker: bytes in", distinct * bytes / 1e6, "MB/s")?;
    row("broker: messages out", consumers * messages, "/s")?;
    row("broker: bytes out", consumers * bytes / 1e6, "MB/s")?;
    row("broker: CPU", cores(broker), "cores")?;
    row("broker: consumers", consumers, "")?;
    row(
        "broker: memory for subjects and consumers",
        (distinct * cost::SUBJECT_BYTES + consumers * cost::CONSUMER_BYTES) / 1e6,
        "MB",
    )?;
    row("an edge: logs", of_an_edge, "")?;
    row("an edge: viewers", viewers, "")?;
    row("an edge: CPU", cores(edge), "cores")?;
    row("an edge: to viewers", viewers * (fleet.rate * fleet.line + messages * 4.0) / 1e6, "MB/s")?;
    row("an edge: memory of viewers", viewers * cost::VIEWER_BYTES / 1e6, "MB")?;

    // How many times the present load each part can carry.
    let mut limits = [
        ("consumers of the stream", cost::CONSUMERS_MAX / consumers),
        ("the broker's CPU, on 8 cores", 8.0 / cores(broker)),
        ("the broker's network, 10 Gbit/s", 1.25e9 / (consumers * bytes)),
        ("an edge's CPU, on 2 cores", 2.0 / cores(edge)),
        ("an edge's network, 1 Gbit/s", 1.25e8 / (viewers * fleet.rate * fleet.line)),
        ("the busiest agent, 5 % of a core", 0.05 / cores(busiest * messages * cost::ON_AN_AGENT)),
    ];
    limits.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    writeln!(out, "\n| what breaks first | times this load |\n|---|---:|")?;
    for (what, times) in limits {
        writeln!(out, "| {what} | {times:.2} |")?;
    }
    Ok(())
}
