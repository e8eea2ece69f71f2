//! Everything that a script plays with: the log, and the programs with their ways to the broker.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::task::block_in_place;

use super::verdict::Epoch;
use super::watcher::Watcher;
use crate::fleet::HOST;
use crate::fleet::proxy::Proxy;
use crate::machines::{Agent, Nats};
use crate::model::random::Random;
use crate::servers::{Port, Program, append, pace};

/// An edge and its way to the broker.
pub(super) struct Edge {
    pub(super) program: Option<Program>,
    is_stopped: bool,
    port: Port,
    spool: TempDir,
    way: Proxy,
}

impl Edge {
    fn start(&mut self) {
        let (url, spool) = (self.way.url(), self.spool.path().to_str().unwrap());
        let program = Program::begin_at(&self.port, &["--nats", &url, "--spool", spool]);
        (self.program, self.is_stopped) = (Some(program), false);
    }
}

/// Everything that a script plays with.
pub(super) struct World {
    random: Random,
    begun: Instant,
    pub(super) told: Arc<Mutex<String>>,
    nats: Nats,
    is_nats_up: bool,
    is_nats_stopped: bool,
    pub(super) agent: Option<Agent>,
    is_agent_stopped: bool,
    agent_way: Proxy,
    pub(super) edges: Vec<Edge>,
    logs: TempDir,
    pub(super) epochs: Vec<Epoch>,
    lines: u64,
    leave: Vec<watch::Sender<u64>>,
    /// A permit for each viewer whose stream has begun.
    pub(super) streams_begun: Arc<Semaphore>,
}

impl World {
    pub(super) async fn new(seed: u64) -> Option<Self> {
        let nats = block_in_place(|| tokio::runtime::Handle::current().block_on(Nats::start()))?;
        let mut edges = Vec::new();
        for _ in 0..2 {
            let (spool, way) =
                (tempfile::tempdir().unwrap(), Proxy::before(nats.port.number).await);
            edges.push(Edge { program: None, is_stopped: false, port: Port::hold(), spool, way });
        }
        let agent_way = Proxy::before(nats.port.number).await;
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

    pub(super) fn tell(&self, what: &str) {
        let mut told = self.told.lock().unwrap();
        writeln!(told, "{:8.3} {what}", self.begun.elapsed().as_secs_f64()).unwrap();
    }

    /// What everybody has said, and what went over the network, for a script that does not even begin.
    pub(super) fn said(&self) -> String {
        let mut said = self.told.lock().unwrap().clone();
        let agent = self.agent.as_ref().map(Agent::said).unwrap_or_default();
        let (way, nats) = (self.agent_way.said(), self.nats.said());
        writeln!(said, "the agent, over {way}, said:\n{agent}\nthe broker said:\n{nats}").unwrap();
        for (at, edge) in self.edges.iter().enumerate() {
            let program = edge.program.as_ref().map(Program::said).unwrap_or_default();
            writeln!(said, "edge {at}, over {}, said:\n{program}", edge.way.said()).unwrap();
        }
        said
    }

    fn start_agent(&mut self) {
        let url = self.agent_way.url();
        let mut agent = Agent::command(&url, HOST, self.logs.path(), &[]);
        if std::env::var_os("TAILCAST_TEST_LOG").is_none() {
            // What it does until it is connected is wanted when it is not.
            agent.env("TAILCAST_LOG", "tailcast=debug,warn,async_nats=off");
        }
        let agent = Agent::spawn(&mut agent);
        (self.agent, self.is_agent_stopped) = (Some(agent), false);
    }

    pub(super) fn watcher(&mut self, edges: &[usize]) -> Watcher {
        let (leave, receiver) = watch::channel(0);
        self.leave.push(leave);
        let address = |edge: &usize| self.edges[*edge].port.address();
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

    pub(super) fn write(&mut self, text: &[u8]) {
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
    pub(super) fn mend(&mut self, all: bool) {
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
            } else if std::mem::take(&mut self.edges[at].is_stopped) {
                self.edges[at].program.as_ref().unwrap().signal(Signal::CONT);
                self.tell(&format!("continue edge {at}"));
            }
        }
    }

    /// Starts a broker again that has ended by itself, as a service manager does. nats-server 2.9.10 sometimes
    /// crashes when it is asked for a message of a stream that it is just making.
    pub(super) fn start_crashed_broker(&mut self) {
        if self.is_nats_up && self.nats.has_crashed() {
            self.nats.start_again();
            self.tell(&format!(
                "the broker has crashed, and is started again: {}",
                self.nats.said()
            ));
        }
    }

    pub(super) async fn step(&mut self) {
        self.start_crashed_broker();
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
