//! Agent, broker and edges as processes: whichever of them is killed in the middle of a storm, each
//! viewer gets each byte once, in order, at its offset.

mod clocks;
mod cluster;
mod commands;
mod disk;
mod metrics;
mod model;
mod past;
mod proxy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Viewer, get};
use crate::machines::{Agent, Nats};
use crate::reader::{Position, take};
use crate::servers::{Program, append, eventually, not_run, pace, pace_blocking};
use crate::tail::Tail;

/// A storm with restarts takes so long at most.
const STORM_TIME_MAX: Duration = Duration::from_secs(90);
const HOST: &str = "web1";

/// A machine with logs, a broker, and edges.
struct Fleet {
    nats: Nats,
    agent: Agent,
    edges: Vec<Program>,
    logs: TempDir,
    spools: Vec<TempDir>,
}

impl Fleet {
    async fn start(edges: usize) -> Option<Self> {
        let nats = Nats::start().await?;
        let logs = tempfile::tempdir().unwrap();
        let agent = Agent::start(&nats.url(), HOST, logs.path(), &[]);
        let mut fleet = Self { nats, agent, edges: Vec::new(), logs, spools: Vec::new() };
        for _ in 0..edges {
            fleet.spools.push(tempfile::tempdir().unwrap());
            let edge = fleet.edge(fleet.spools.len() - 1, 0);
            fleet.edges.push(edge);
        }
        Some(fleet)
    }

    fn edge(&self, number: usize, port: u16) -> Program {
        let spool = self.spools[number].path().to_str().unwrap();
        Program::serve_on(port, &["--nats", &self.nats.url(), "--spool", spool])
    }

    fn log(&self) -> PathBuf {
        self.logs.path().canonicalize().unwrap().join("a.log")
    }

    /// The address of the log on each edge.
    fn target(&self) -> String {
        format!("/@{HOST}{}", self.log().display())
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.edges.iter().map(|edge| edge.address).collect()
    }

    fn kill_edge(&mut self, number: usize) {
        self.edges[number].child.kill().unwrap();
        self.edges[number].child.wait().unwrap();
    }

    fn start_edge(&mut self, number: usize) {
        self.edges[number] = self.edge(number, self.edges[number].address.port());
    }

    fn kill_agent(&mut self) {
        self.agent.kill();
    }

    fn start_agent(&mut self) {
        self.agent = Agent::start(&self.nats.url(), HOST, self.logs.path(), &[]);
    }

    /// Waits until an edge lists the log.
    async fn is_listed(&self) {
        for edge in self.addresses() {
            eventually("the log is listed", async || {
                let list = get(edge, "/", &[]).await.text();
                if list.contains(&self.target()) { Ok(()) } else { Err(list) }
            })
            .await;
        }
    }
}

/// Appends lines until it is told to stop.
struct Storm {
    stop: Arc<AtomicBool>,
    writing: std::thread::JoinHandle<Vec<u8>>,
}

impl Storm {
    /// Appends lines at a pace, and rotates the log after so many, if at all.
    fn begin(log: &Path, rotate_after: Option<usize>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (its, log) = (Arc::clone(&stop), log.to_owned());
        let writing = std::thread::spawn(move || {
            let mut all = Vec::new();
            for number in 0.. {
                if its.load(Ordering::Relaxed) {
                    break;
                }
                let line = format!("line {number} of the storm {}\n", "x".repeat(number % 300));
                append(&log, &line);
                all.extend_from_slice(line.as_bytes());
                if let Some(after) = rotate_after
                    && number % after == after - 1
                {
                    let old = log.with_extension(format!("log.{}", number / after));
                    std::fs::rename(&log, old).unwrap();
                    std::fs::write(&log, "").unwrap();
                }
                pace_blocking(Duration::from_millis(2));
            }
            append(&log, "the end\n");
            all.extend_from_slice(b"the end\n");
            all
        });
        Self { stop, writing }
    }

    /// All that was written.
    fn end(self) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        self.writing.join().unwrap()
    }
}

/// A viewer that comes back with its position when its connection is lost: to the next edge, or to
/// the same.
struct Roaming {
    edges: Vec<SocketAddr>,
    log: String,
    at: Position,
    bytes: Vec<u8>,
    told: Vec<Value>,
    /// How often it came back.
    returns: usize,
    /// How many bytes it has, for those who wait for them.
    progress: Arc<AtomicUsize>,
}

impl Roaming {
    fn new(edges: Vec<SocketAddr>, log: &str) -> Self {
        let (at, log) = (Position::default(), log.to_owned());
        let (bytes, told, progress) = (Vec::new(), Vec::new(), Arc::default());
        Self { edges, log, at, bytes, told, returns: 0, progress }
    }

    /// Reads until the last line of a storm.
    async fn read(mut self) -> Self {
        let until = Instant::now() + STORM_TIME_MAX;
        while !self.bytes.ends_with(b"the end\n") {
            let begin = match self.at.generation.as_str() {
                "" => "&lines=all".to_owned(),
                generation => format!("&from={}&generation={generation}", self.at.next),
            };
            let target = format!("{}?tail=1&format=raw&signed=1{begin}", self.log);
            let edge = self.edges[self.returns % self.edges.len()];
            self.returns += 1;
            let v1 = [("sec-websocket-protocol", "tailcast.v1")];
            if let Ok((mut viewer, _)) = Viewer::connect(edge, &target, &v1).await {
                self.listen(&mut viewer).await;
            }
            let told = self.told.last();
            assert!(Instant::now() < until, "{} bytes came, then {told:?}", self.bytes.len());
            pace(Duration::from_millis(50)).await;
        }
        self
    }

    async fn listen(&mut self, viewer: &mut Viewer) {
        while !self.bytes.ends_with(b"the end\n") {
            let Ok(message) = viewer.next().await else { return };
            if take(&mut self.at, &mut self.bytes, &mut self.told, message).is_err() {
                return;
            }
            self.progress.store(self.bytes.len(), Ordering::Relaxed);
        }
    }

    /// Everything was received once, and nothing had to be left out. If the log was rotated while its
    /// agent was not there, the times of the files may leave room for another file: then it may be
    /// told that one is missing (`to` is null), although none is.
    fn assert_has(&self, written: &[u8], is_rotated: bool) {
        let is_honest = |told: &Value| is_rotated && told["to"].is_null();
        let is_gap = |told: &&Value| told["type"] == "gap" && !is_honest(told);
        assert_eq!(self.told.iter().filter(is_gap).count(), 0, "{:#?}", self.told);
        let lost = self.told.iter().any(|told| told["recovered"] == false);
        assert!(!lost, "a position was not honoured: {:#?}", self.told);
        let same = self.bytes.iter().zip(written).take_while(|(one, other)| one == other).count();
        assert!(
            self.bytes == written,
            "{} of {} bytes, different from {same} on; told {:#?}",
            self.bytes.len(),
            written.len(),
            self.told
        );
    }
}

/// Kills what is killed while a storm goes on, and checks what all viewers got.
async fn storm(rotate_after: Option<usize>, kill: impl AsyncFnOnce(&mut Fleet)) {
    let Some(mut fleet) = Fleet::start(2).await else {
        return not_run("fleet", "there is no nats-server");
    };
    append(fleet.log(), "");
    fleet.is_listed().await;
    let storm = Storm::begin(&fleet.log(), rotate_after);
    let addresses = fleet.addresses();
    let [one, other] = [0, 1].map(|edge| vec![addresses[edge]]);
    let viewers = [one, other, addresses].map(|edges| Roaming::new(edges, &fleet.target()));
    let reading = viewers.map(|viewer| tokio::spawn(viewer.read()));
    pace(Duration::from_secs(1)).await;
    kill(&mut fleet).await;
    pace(Duration::from_secs(1)).await;
    let written = storm.end();
    for viewer in reading {
        viewer.await.unwrap().assert_has(&written, rotate_after.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_a_storm_loses_nobody_a_byte() {
    storm(None, async |fleet| {
        fleet.kill_agent();
        pace(Duration::from_millis(500)).await;
        fleet.start_agent();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_in_a_storm_loses_nobody_a_byte() {
    storm(None, async |fleet| {
        fleet.nats.kill();
        pace(Duration::from_millis(500)).await;
        fleet.nats.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_killed_in_a_storm_loses_nobody_a_byte() {
    storm(None, async |fleet| {
        fleet.kill_edge(0);
        pace(Duration::from_millis(500)).await;
        fleet.start_edge(0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_that_is_killed_while_the_log_rotates_loses_nobody_a_byte() {
    storm(Some(400), async |fleet| {
        fleet.kill_edge(1);
        pace(Duration::from_millis(500)).await;
        fleet.start_edge(1);
        fleet.kill_agent();
        pace(Duration::from_millis(500)).await;
        fleet.start_agent();
        fleet.nats.kill();
        pace(Duration::from_millis(500)).await;
        fleet.nats.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_begins_without_its_broker_and_finds_the_machines_when_it_is_there() {
    let Some(mut nats) = Nats::start().await else {
        return not_run("fleet", "there is no nats-server");
    };
    let [logs, own, spool] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let path = |directory: &TempDir| directory.path().canonicalize().unwrap().join("a.log");
    std::fs::write(path(&logs), "a line of the machine\n").unwrap();
    std::fs::write(path(&own), "a line of the edge\n").unwrap();
    let agent = Agent::start(&nats.url(), HOST, logs.path(), &[]);
    nats.kill();
    let [own_directory, spool] = [&own, &spool].map(|it| it.path().to_str().unwrap());
    let edge = Program::serve_on(0, &["--nats", &nats.url(), "--spool", spool, own_directory]);
    let target = path(&own).to_str().unwrap().to_owned();
    assert_eq!(get(edge.address, &target, &[]).await.text(), "a line of the edge\n");
    let target = format!("/@{HOST}{}", path(&logs).display());
    let mut waiting = Viewer::v1(edge.address, &format!("{target}?tail=1&format=raw")).await;
    let told = waiting.expect("waiting").await;
    assert_eq!(told["reason"], "unreachable", "{}", edge.said());
    nats.start_again();
    waiting.expect("open").await;
    let Ok(Message::Binary(bytes)) = waiting.next().await else { panic!("{}", edge.said()) };
    assert_eq!(&bytes[8..], b"a line of the machine\n");
    drop(agent);
}

#[tokio::test]
async fn an_edge_serves_its_own_logs_while_its_brokers_say_nothing() {
    // Together they would be waited for longer than for the first line of a program.
    let silent: Vec<_> =
        (0..8).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let urls = silent.iter().map(|it| format!("nats://{}", it.local_addr().unwrap()));
    let urls = urls.collect::<Vec<_>>().join(",");
    let [own, spool] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let log = own.path().canonicalize().unwrap().join("a.log");
    std::fs::write(&log, "a line of the edge\n").unwrap();
    let [directory, spool] = [&own, &spool].map(|it| it.path().to_str().unwrap());
    let edge = Program::serve(&["--nats", &urls, "--spool", spool, directory]);
    let answer = get(edge.address, log.to_str().unwrap(), &[]).await;
    assert_eq!(answer.text(), "a line of the edge\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_follows_a_log_of_another_machine() {
    let Some(fleet) = Fleet::start(1).await else {
        return not_run("fleet", "there is no nats-server");
    };
    append(fleet.log(), "first\n");
    fleet.is_listed().await;
    let url = format!("http://{}{}", fleet.edges[0].address, fleet.target());
    let tail = Tail::start(&[&url]);
    tail.prints("first\n").await;
    append(fleet.log(), "second\n");
    tail.prints("first\nsecond\n").await;
}
