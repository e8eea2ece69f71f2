//! A model of a log on another machine, compared with what viewers of two edges get of it, whatever
//! happens to the agent, the broker, the edges and the network between them.
//!
//! A random script writes to one log, rotates and truncates it. Meanwhile agent, broker and edges are
//! killed with SIGKILL and started again, stopped and continued, and a [`Proxy`] on each way to the broker
//! delays, halves, holds up and cuts what goes over it. At the end everything is well again, and a last
//! line is written. There are three viewers of `tailcast.v1` with `format=raw`: one of each edge, and one
//! that changes the edge with each connection.
//!
//! # Requirements
//!
//! 1. What a viewer gets under one generation is the content of one *epoch* at the offsets it has there. A
//!    rotation and a truncation end an epoch. No line is in two of them.
//! 2. Nothing comes twice, and nothing comes before what was written before it.
//! 3. What does not come was truncated away, or a `gap` said so before that which comes next.
//! 4. A `gap` with an end says that only of bytes that were truncated away.
//! 5. All viewers get the last line.
//!
//! A `gap` without an end, which may stand where nothing is missing, is counted.
//!
//! `TAILCAST_SEED=n` runs one script, `TAILCAST_SEEDS=n` runs `n`, and `TAILCAST_STEPS=n` sets their
//! length. A seed gives the same script, but not the same timing.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio_tungstenite::tungstenite::Message;

use super::proxy::Proxy;
use super::{HOST, not_run};
use crate::clients::Viewer;
use crate::machines::{Agent, Nats};
use crate::model::random::Random;
use crate::model::runs::setting;
use crate::servers::{Program, append, pace};

/// The scripts in a usual run.
const SEEDS: u64 = 12;
/// The steps of a script.
const STEPS: u64 = 60;
/// Scripts that run at once: each has five programs.
const AT_ONCE: usize = 4;
/// After the last line a viewer has it within this time.
const END_TIME_MAX: Duration = Duration::from_secs(60);
/// Shorter than what a viewer of a test waits for a message at most.
const SILENCE_TIME: Duration = Duration::from_secs(5);
const LAST_LINE: &[u8] = b"the last line\n";

/// What one file had until it was rotated away or truncated.
#[derive(Default)]
struct Epoch {
    content: Vec<u8>,
    is_truncated: bool,
}

/// What a viewer got in one run of offsets.
#[derive(Clone, Debug)]
struct Piece {
    /// Why it began there.
    why: String,
    generation: String,
    from: u64,
    bytes: Vec<u8>,
    /// What was said to be missing before it; None for a gap without an end.
    gaps: Vec<Option<(u64, u64)>>,
}

/// A viewer, and all that it got.
struct Watcher {
    edges: Vec<SocketAddr>,
    target: String,
    pieces: Vec<Piece>,
    gaps: Vec<Option<(u64, u64)>>,
    connections: usize,
    leave: watch::Receiver<u64>,
    /// Gets a permit when the stream has begun.
    begun: Arc<Semaphore>,
}

impl Watcher {
    fn next(&self) -> Option<(String, u64)> {
        let piece = self.pieces.last()?;
        Some((piece.generation.clone(), piece.from + piece.bytes.len() as u64))
    }

    fn begin(&mut self, why: String, generation: &Value, from: u64) {
        let generation = generation.as_str().unwrap().to_owned();
        let gaps = std::mem::take(&mut self.gaps);
        self.pieces.push(Piece { why, generation, from, bytes: Vec::new(), gaps });
    }

    fn has_last_line(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.bytes.ends_with(LAST_LINE))
    }

    /// Watches until the last line, coming back whenever the connection is lost.
    async fn watch(mut self) -> Self {
        while !self.has_last_line() {
            let begin = match self.next() {
                None => "lines=all".to_owned(),
                Some((generation, next)) => format!("from={next}&generation={generation}"),
            };
            let target = format!("{}?tail=1&format=raw&signed=1&{begin}", self.target);
            let edge = self.edges[self.connections % self.edges.len()];
            self.connections += 1;
            let v1 = [("sec-websocket-protocol", "tailcast.v1")];
            let connecting = Viewer::connect(edge, &target, &v1);
            if let Ok(Ok((mut viewer, _))) =
                tokio::time::timeout(Duration::from_secs(10), connecting).await
            {
                self.leave.mark_unchanged();
                let mut leave = self.leave.clone();
                tokio::select! {
                    () = self.listen(&mut viewer) => {}
                    _ = leave.changed() => {}
                }
            }
            pace(Duration::from_millis(30)).await;
        }
        self
    }

    async fn listen(&mut self, viewer: &mut Viewer) {
        while !self.has_last_line() {
            // While an edge is cut off for long, nothing comes.
            let next = tokio::time::timeout(SILENCE_TIME, viewer.next());
            let Ok(next) = next.await else { continue };
            match next {
                Ok(Message::Binary(data)) => {
                    let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
                    let piece = self.pieces.last_mut().unwrap();
                    assert_eq!(offset, piece.from + piece.bytes.len() as u64, "{piece:?}");
                    piece.bytes.extend_from_slice(&data[8..]);
                }
                Ok(Message::Text(text)) => self.hear(&serde_json::from_str(&text).unwrap()),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self, told: &Value) {
        match told["type"].as_str().unwrap() {
            "open" => {
                let from = told["from"].as_u64().unwrap();
                match self.next() {
                    Some((_, next)) if told["recovered"] == true => {
                        assert_eq!(next, from, "{told}");
                        self.pieces.last_mut().unwrap().generation =
                            told["generation"].as_str().unwrap().to_owned();
                    }
                    Some(_) => self.begin("not recovered".to_owned(), &told["generation"], from),
                    None => {
                        self.begin("open".to_owned(), &told["generation"], from);
                        self.begun.add_permits(1);
                    }
                }
            }
            "reset" => {
                let why = told["reason"].as_str().unwrap().to_owned();
                self.begin(why, &told["generation"], told["from"].as_u64().unwrap());
            }
            "gap" => {
                let from = told["from"].as_u64().unwrap_or(0);
                let to = told["to"].as_u64();
                self.gaps.push(to.map(|to| (from, to)));
                if let Some(to) = to {
                    self.begin("gap".to_owned(), &told["generation"], to);
                }
            }
            _ => {}
        }
    }
}

/// What is wrong with what a viewer got, and how many gaps were said where nothing is missing.
#[derive(Default)]
struct Verdict {
    faults: Vec<String>,
    needless_gaps: usize,
    /// Bytes that are there and did not come, but a gap said so.
    announced_bytes: usize,
    notes: Vec<String>,
}

fn judge(pieces: &[Piece], epochs: &[Epoch]) -> Verdict {
    let mut verdict = Verdict::default();
    // What comes next if nothing is left out.
    let (mut epoch, mut next) = (0, 0);
    let mut gaps = Vec::new();
    for piece in pieces {
        gaps.extend(piece.gaps.iter().copied());
        if piece.bytes.is_empty() {
            continue;
        }
        let (from, len) = (piece.from as usize, piece.bytes.len());
        let has = |at: &usize| epochs[*at].content.get(from..from + len) == Some(&piece.bytes[..]);
        let found = (epoch..epochs.len()).filter(has).find(|at| *at > epoch || from >= next);
        let Some(found) = found else {
            let is_known = (0..epochs.len()).find(has);
            let bytes = String::from_utf8_lossy(&piece.bytes[..len.min(60)]).into_owned();
            verdict.faults.push(format!(
                "at {from} of {} after `{}` came {len} bytes, {bytes:?}…, where epoch {epoch} was to go on at {next}: \
                 they are {}",
                piece.generation,
                piece.why,
                is_known.map_or("in no epoch".to_owned(), |at| format!("in epoch {at}"))
            ));
            return verdict;
        };
        let mut missing = Vec::new();
        for (at, passed) in epochs.iter().enumerate().take(found + 1).skip(epoch) {
            let begin = if at == epoch { next } else { 0 };
            let end = if at == found { from } else { passed.content.len() };
            if begin < end {
                missing.push((at, begin, end));
            }
        }
        for (at, begin, end) in &missing {
            if epochs[*at].is_truncated {
                continue;
            }
            let says = |gap: &Option<(u64, u64)>| {
                gap.is_none_or(|(from, to)| from as usize <= *begin && *end <= to as usize)
            };
            if gaps.iter().any(says) {
                verdict.announced_bytes += end - begin;
                verdict.notes.push(format!(
                    "{begin}..{end} of epoch {at} did not come between epoch {epoch}{} and `{}` to epoch {found}: a gap says so",
                    if epochs[epoch].is_truncated { ", which was truncated," } else { "" },
                    piece.why
                ));
            } else {
                verdict.faults.push(format!(
                    "{begin}..{end} of epoch {at} ({} bytes long) did not come before `{}` to epoch {found} at {from}; \
                     gaps {gaps:?}",
                    epochs[*at].content.len(),
                    piece.why
                ));
            }
        }
        if missing.is_empty() && gaps.iter().any(Option::is_none) {
            verdict.notes.push(format!("a needless gap before `{}` to epoch {found}", piece.why));
            verdict.needless_gaps += gaps.iter().filter(|gap| gap.is_none()).count();
        }
        for (begin, end) in gaps.drain(..).flatten() {
            let (begin, end) = (begin as usize, end as usize);
            let is_lost = missing
                .iter()
                .any(|(at, from, to)| epochs[*at].is_truncated && *from <= begin && end <= *to);
            if !is_lost {
                verdict.faults.push(format!("a gap says {begin}..{end}, which is there"));
            }
        }
        (epoch, next) = (found, from + len);
    }
    let last = epochs.len() - 1;
    if epoch != last || next != epochs[last].content.len() {
        verdict.faults.push(format!("it ends at {next} of epoch {epoch} of {last}"));
    }
    verdict
}

/// An edge and its way to the broker.
struct Edge {
    program: Option<Program>,
    is_stopped: bool,
    port: u16,
    spool: TempDir,
    way: Proxy,
}

impl Edge {
    fn start(&mut self) {
        let spool = self.spool.path().to_str().unwrap();
        let (port, url) = (self.port, self.way.url());
        let program =
            block_in_place(|| Program::serve_on(port, &["--nats", &url, "--spool", spool]));
        self.port = program.address.port();
        (self.program, self.is_stopped) = (Some(program), false);
    }
}

/// Everything that a script plays with.
struct World {
    random: Random,
    begun: Instant,
    told: Arc<Mutex<String>>,
    nats: Nats,
    is_nats_up: bool,
    is_nats_stopped: bool,
    agent: Option<Agent>,
    is_agent_stopped: bool,
    agent_way: Proxy,
    edges: Vec<Edge>,
    logs: TempDir,
    epochs: Vec<Epoch>,
    lines: u64,
    leave: Vec<watch::Sender<u64>>,
    /// A permit for each viewer whose stream has begun.
    streams_begun: Arc<Semaphore>,
}

impl World {
    async fn new(seed: u64) -> Option<Self> {
        let nats = block_in_place(|| tokio::runtime::Handle::current().block_on(Nats::start()))?;
        let mut edges = Vec::new();
        for _ in 0..2 {
            let (spool, way) = (tempfile::tempdir().unwrap(), Proxy::before(nats.port).await);
            edges.push(Edge { program: None, is_stopped: false, port: 0, spool, way });
        }
        let agent_way = Proxy::before(nats.port).await;
        let mut world = Self {
            random: Random(seed),
            begun: Instant::now(),
            told: Arc::default(),
            nats,
            is_nats_up: true,
            is_nats_stopped: false,
            agent: None,
            is_agent_stopped: false,
            agent_way,
            edges,
            logs: tempfile::tempdir().unwrap(),
            epochs: vec![Epoch::default()],
            lines: 0,
            leave: Vec::new(),
            streams_begun: Arc::new(Semaphore::new(0)),
        };
        std::fs::write(world.log(), "").unwrap();
        world.start_agent();
        world.edges.iter_mut().for_each(Edge::start);
        Some(world)
    }

    fn log(&self) -> PathBuf {
        self.logs.path().canonicalize().unwrap().join("a.log")
    }

    fn tell(&self, what: &str) {
        let mut told = self.told.lock().unwrap();
        writeln!(told, "{:8.3} {what}", self.begun.elapsed().as_secs_f64()).unwrap();
    }

    fn start_agent(&mut self) {
        let agent = Agent::begin(&self.agent_way.url(), HOST, self.logs.path(), &[]);
        (self.agent, self.is_agent_stopped) = (Some(agent), false);
    }

    fn watcher(&mut self, edges: &[usize]) -> Watcher {
        let (leave, receiver) = watch::channel(0);
        self.leave.push(leave);
        let address = |edge: &usize| SocketAddr::from(([127, 0, 0, 1], self.edges[*edge].port));
        Watcher {
            edges: edges.iter().map(address).collect(),
            target: format!("/@{HOST}{}", self.log().display()),
            pieces: Vec::new(),
            gaps: Vec::new(),
            connections: 0,
            leave: receiver,
            begun: Arc::clone(&self.streams_begun),
        }
    }

    fn write(&mut self, text: &[u8]) {
        append(self.log(), text);
        self.epochs.last_mut().unwrap().content.extend_from_slice(text);
    }

    fn write_lines(&mut self) {
        let lines = 1 + self.random.below(20);
        let mut text = String::new();
        for _ in 0..lines {
            let pad = match self.random.below(200) {
                0 => 100_000,
                pad => pad as usize,
            };
            writeln!(text, "line {} {}", self.lines, "x".repeat(pad)).unwrap();
            self.lines += 1;
        }
        self.write(text.as_bytes());
    }

    fn rotate(&mut self) {
        // As by logrotate with `dateformat -%Y%m%d%H%M%S`, a minute for each.
        let old =
            format!("a.log-20261129{:02}{:02}00", self.epochs.len() / 60, self.epochs.len() % 60);
        self.tell(&format!("rotate to {old}: epoch {}", self.epochs.len()));
        std::fs::rename(self.log(), self.log().with_file_name(old)).unwrap();
        std::fs::write(self.log(), "").unwrap();
        self.epochs.push(Epoch::default());
    }

    fn truncate(&mut self) {
        self.tell(&format!("truncate: epoch {}", self.epochs.len()));
        std::fs::File::options().write(true).open(self.log()).unwrap().set_len(0).unwrap();
        self.epochs.last_mut().unwrap().is_truncated = true;
        self.epochs.push(Epoch::default());
    }

    fn kill(&mut self) {
        match self.random.below(4) {
            0 | 1 if self.agent.is_some() => {
                self.tell("kill the agent");
                self.agent = None;
            }
            2 if self.is_nats_up => {
                self.tell("kill the broker");
                self.nats.kill();
                (self.is_nats_up, self.is_nats_stopped) = (false, false);
            }
            _ => {
                let at = self.random.below(2) as usize;
                if self.edges[at].program.take().is_some() {
                    self.tell(&format!("kill edge {at}"));
                }
            }
        }
    }

    fn stop(&mut self) {
        match self.random.below(4) {
            0 | 1 => {
                if let Some(agent) = &self.agent {
                    agent.signal(Signal::STOP);
                    self.is_agent_stopped = true;
                    self.tell("stop the agent");
                }
            }
            2 if self.is_nats_up => {
                self.nats.signal(Signal::STOP);
                self.is_nats_stopped = true;
                self.tell("stop the broker");
            }
            _ => {
                let at = self.random.below(2) as usize;
                if let Some(program) = &self.edges[at].program {
                    program.signal(Signal::STOP);
                    self.edges[at].is_stopped = true;
                    self.tell(&format!("stop edge {at}"));
                }
            }
        }
    }

    fn way(&self, at: u64) -> (&Proxy, String) {
        match at {
            0 => (&self.agent_way, "the agent".to_owned()),
            edge => (&self.edges[edge as usize - 1].way, format!("edge {}", edge - 1)),
        }
    }

    fn disturb_a_way(&mut self) {
        let (at, how) = (self.random.below(3), self.random.below(10));
        let delay = Duration::from_millis(1 + self.random.below(60));
        let (way, of) = self.way(at);
        let what = match how {
            0..=3 => {
                way.cut();
                "cut"
            }
            4 => {
                way.refuse(true);
                way.cut();
                "cut and refuse"
            }
            5 => {
                way.hold(true);
                "hold up"
            }
            6 | 7 => {
                way.delay(delay);
                "delay"
            }
            _ => {
                way.halve(true);
                "halve"
            }
        };
        self.tell(&format!("{what} the way of {of}"));
    }

    /// Mends one thing, or all.
    fn mend(&mut self, all: bool) {
        let what = self.random.below(8);
        let is_meant = |at: u64| all || what == at;
        if is_meant(0) && self.is_nats_stopped {
            self.nats.signal(Signal::CONT);
            self.is_nats_stopped = false;
            self.tell("continue the broker");
        }
        if is_meant(1) && !self.is_nats_up {
            self.nats.start_again();
            self.is_nats_up = true;
            self.tell("start the broker");
        }
        for at in 0..3 {
            if is_meant(2 + at) {
                self.way(at).0.heal();
                self.tell(&format!("mend the way of {}", self.way(at).1));
            }
        }
        if is_meant(5) && self.agent.is_none() {
            self.tell("start the agent");
            self.start_agent();
        } else if is_meant(5)
            && let (true, Some(agent)) = (self.is_agent_stopped, &self.agent)
        {
            agent.signal(Signal::CONT);
            self.is_agent_stopped = false;
            self.tell("continue the agent");
        }
        for at in 0..self.edges.len() {
            if !is_meant(6 + at as u64) {
                continue;
            }
            if self.edges[at].program.is_none() {
                self.tell(&format!("start edge {at}"));
                self.edges[at].start();
                self.tell(&format!("started edge {at}"));
            } else if std::mem::take(&mut self.edges[at].is_stopped) {
                self.edges[at].program.as_ref().unwrap().signal(Signal::CONT);
                self.tell(&format!("continue edge {at}"));
            }
        }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..50 => self.write_lines(),
            50..58 => self.rotate(),
            58..61 => self.truncate(),
            61..70 => self.kill(),
            70..75 => self.stop(),
            75..86 => self.disturb_a_way(),
            86..90 => {
                let viewer = self.random.below(self.leave.len() as u64) as usize;
                self.tell(&format!("viewer {viewer} leaves"));
                self.leave[viewer].send_modify(|times| *times += 1);
            }
            _ => pace(Duration::from_millis(100 + self.random.below(400))).await,
        }
        if self.random.one_in(2) {
            self.mend(false);
        }
        pace(Duration::from_millis(self.random.below(80))).await;
    }
}

/// What became of a script.
struct Outcome {
    seed: u64,
    faults: Vec<String>,
    needless_gaps: usize,
    announced_bytes: usize,
    bytes: usize,
    epochs: usize,
    connections: usize,
    told: String,
    took: Duration,
}

async fn run(seed: u64) -> Option<Outcome> {
    let begun = Instant::now();
    let mut world = World::new(seed).await?;
    let watchers = [&[0][..], &[1], &[0, 1]].map(|edges| world.watcher(edges));
    let mut watching = JoinSet::new();
    for (nth, watcher) in watchers.into_iter().enumerate() {
        watching.spawn(async move { (nth, watcher.watch().await) });
    }
    // A viewer that comes after a rotation is not given what was written before it.
    let all_begun = Arc::clone(&world.streams_begun);
    let all_begun = tokio::time::timeout(END_TIME_MAX, all_begun.acquire_many(3)).await;
    assert!(
        all_begun.is_ok(),
        "not all streams have begun; the agent said: {:?}",
        world.agent.map(|agent| agent.said())
    );
    for _ in 0..setting("TAILCAST_STEPS").unwrap_or(STEPS) {
        world.step().await;
    }
    world.tell("all is well");
    world.mend(true);
    world.write(LAST_LINE);
    let mut faults = Vec::new();
    let (mut needless_gaps, mut announced_bytes, mut connections) = (0, 0, 0);
    let until = tokio::time::Instant::now() + END_TIME_MAX;
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout_at(until, watching.join_next()).await {
            Ok(None) => break,
            Ok(Some(Ok((nth, watcher)))) => {
                let verdict = judge(&watcher.pieces, &world.epochs);
                faults.extend(verdict.faults.iter().map(|fault| format!("viewer {nth}: {fault}")));
                needless_gaps += verdict.needless_gaps;
                announced_bytes += verdict.announced_bytes;
                for note in verdict.notes {
                    world.tell(&format!("note: viewer {nth}: {note}"));
                }
                connections += watcher.connections;
                for piece in &watcher.pieces {
                    let Piece { why, generation, from, bytes, gaps } = piece;
                    world.tell(&format!(
                        "viewer {nth}: {why} {generation} {from}..{} {gaps:?}",
                        *from as usize + bytes.len()
                    ));
                }
                seen.push(nth);
            }
            Ok(Some(Err(error))) => faults.push(format!("a viewer failed: {error}")),
            Err(_) => {
                let missing: Vec<_> = (0..3).filter(|nth| !seen.contains(nth)).collect();
                faults.push(format!("the last line did not come in time to {missing:?}"));
                break;
            }
        }
    }
    for (at, edge) in world.edges.iter().enumerate() {
        if let (Some(program), Some(_)) = (&edge.program, setting("TAILCAST_TOLD")) {
            let said = format!("edge {at} said:\n{}", program.said());
            world.told.lock().unwrap().push_str(&said);
        }
    }
    if let Some(agent) = &mut world.agent {
        if let Ok(Some(status)) = agent.child.try_wait() {
            faults.push(format!("the agent has ended by itself: {status}"));
        }
        world.told.lock().unwrap().push_str(&format!("the agent said:\n{}", agent.said()));
    }
    let bytes = world.epochs.iter().map(|epoch| epoch.content.len()).sum();
    let (told, epochs) = (world.told.lock().unwrap().clone(), world.epochs.len());
    let took = begun.elapsed();
    Some(Outcome {
        seed,
        faults,
        needless_gaps,
        announced_bytes,
        bytes,
        epochs,
        connections,
        told,
        took,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_viewers_of_all_edges_get_each_byte_once() {
    let seeds = match setting("TAILCAST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=setting("TAILCAST_SEEDS").unwrap_or(SEEDS),
    };
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for seed in seeds {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            run(seed).await
        });
    }
    let all: Option<Vec<Outcome>> = running.join_all().await.into_iter().collect();
    let Some(mut all) = all else {
        return not_run("the model of a fleet", "there is no nats-server");
    };
    all.sort_by_key(|outcome| outcome.seed);
    let sum = |of: fn(&Outcome) -> usize| all.iter().map(of).sum::<usize>();
    println!(
        "{} scripts: {} bytes in {} epochs, {} connections, {} gaps without an end where nothing is missing, {} bytes \
         that a gap announced, {} with faults",
        all.len(),
        sum(|it| it.bytes),
        sum(|it| it.epochs),
        sum(|it| it.connections),
        sum(|it| it.needless_gaps),
        sum(|it| it.announced_bytes),
        sum(|it| usize::from(!it.faults.is_empty()))
    );
    let is_told = |it: &&Outcome| !it.faults.is_empty() || setting("TAILCAST_TOLD").is_some();
    for outcome in &all {
        for note in outcome.told.lines().filter(|line| line.contains("note: ")) {
            println!("seed {}: {note}", outcome.seed);
        }
    }
    for Outcome { seed, faults, told, took, .. } in all.iter().filter(is_told) {
        println!("seed {seed}, {took:?}: {faults:#?}\n{told}");
    }
    let failed: Vec<u64> =
        all.iter().filter(|it| !it.faults.is_empty()).map(|it| it.seed).collect();
    assert!(failed.is_empty(), "seeds with faults: {failed:?}");
}
