//! The server under test: in this process, or the real program, which is stopped, killed and
//! started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::servers::{Program, TestServer};

/// The server sees a state of the log that lasts this long, with or without events.
pub const SEEN: Duration = Duration::from_millis(2500);

/// One life of the server: from a start to the end.
#[derive(Default)]
pub struct Life {
    /// The time at which it got the signal to end.
    pub to: Option<Instant>,
}

/// The lives of the server, and the times at which it was blind: stopped, with failing system
/// calls, or without CPU time.
#[derive(Default)]
pub struct History {
    pub lives: Vec<Life>,
    blind: Vec<(Instant, Option<Instant>)>,
}

impl History {
    /// The time by which a running server must have seen a state that exists since `from`.
    pub fn seen_by(&self, from: Instant) -> Option<Instant> {
        self.well_for(SEEN, from)
    }

    /// The time by which the server was not blind for so long, since `from`. None if never.
    pub fn well_for(&self, time: Duration, mut from: Instant) -> Option<Instant> {
        for &(begun, ended) in &self.blind {
            if begun.saturating_duration_since(from) < time {
                from = from.max(ended?);
            }
        }
        Some(from + time)
    }

    /// Whether it was never blind between these times.
    pub fn sees(&self, from: Instant, to: Instant) -> bool {
        self.blind.iter().all(|(begun, ended)| *begun > to || ended.is_some_and(|end| end < from))
    }

    /// Adds the machine's delays as times of blindness.
    pub fn add_delays(&mut self, delays: Vec<(Instant, Instant)>) {
        self.blind.extend(delays.into_iter().map(|(begun, ended)| (begun, Some(ended))));
        self.blind.sort_unstable_by_key(|(begun, _)| *begun);
    }

    fn begin_blindness(&mut self) {
        self.blind.push((Instant::now(), None));
    }

    fn end_blindness(&mut self) {
        if let Some((_, end @ None)) = self.blind.last_mut() {
            *end = Some(Instant::now());
        }
    }
}

enum Running {
    Within(TestServer),
    /// None while it does not run.
    Program(Option<Program>, TempDir),
}

/// The server and its history.
pub struct Host {
    running: Running,
    #[cfg(feature = "faults")]
    deaf: bool,
    pub address: SocketAddr,
    pub history: History,
    lives: Arc<AtomicUsize>,
}

/// The address of the server for viewers, and the number of its present life.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub lives: Arc<AtomicUsize>,
    /// Whether the server is restarted, so that it may be unreachable.
    pub restarts: bool,
}

impl Host {
    /// A server in this process.
    pub async fn within() -> Self {
        let server = TestServer::start().await;
        Self::new(server.address, Running::Within(server))
    }

    /// The real program. It has its own IP address, so that no other process takes its port while
    /// it does not run.
    pub async fn program() -> Self {
        static HOSTS: AtomicU32 = AtomicU32::new(0);
        let [.., first] = std::process::id().to_be_bytes();
        let [.., second, third] = HOSTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let host = SocketAddr::from(([127, first | 1, second, third], 0));
        let directory = tempfile::tempdir().unwrap();
        let program = start(host, directory.path().to_owned()).await;
        Self::new(program.address, Running::Program(Some(program), directory))
    }

    fn new(address: SocketAddr, running: Running) -> Self {
        let history = History { lives: vec![Life::default()], blind: Vec::new() };
        Self {
            running,
            #[cfg(feature = "faults")]
            deaf: false,
            address,
            history,
            lives: Arc::default(),
        }
    }

    /// The directory that it serves.
    pub fn root(&self) -> PathBuf {
        let directory = match &self.running {
            Running::Within(server) => &server.directory,
            Running::Program(_, directory) => directory,
        };
        directory.path().canonicalize().unwrap()
    }

    pub fn door(&self) -> Door {
        let restarts = matches!(self.running, Running::Program(..));
        Door { address: self.address, lives: Arc::clone(&self.lives), restarts }
    }

    fn signal(&self, signal: Signal) {
        if let Running::Program(Some(program), _) = &self.running {
            program.signal(signal);
        }
    }

    /// Stops it by SIGSTOP, until [`go_on`](Self::go_on).
    pub fn stop(&mut self) {
        self.history.begin_blindness();
        self.signal(Signal::STOP);
    }

    /// Continues it by SIGCONT.
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.history.end_blindness();
    }

    /// Ends it by a signal.
    pub fn end(&mut self, signal: Signal) {
        self.history.lives.last_mut().unwrap().to = Some(Instant::now());
        self.signal(signal);
    }

    /// Waits for its end, and starts it again at the same address.
    pub async fn start_again(&mut self) {
        let root = self.root();
        let Running::Program(running, _) = &mut self.running else { return };
        if let Some(mut program) = running.take() {
            program.wait().await;
        }
        self.lives.fetch_add(1, Ordering::SeqCst);
        self.history.lives.push(Life::default());
        *running = Some(start(self.address, root).await);
    }

    /// Ends it after the script.
    pub async fn close(self) {
        if let Running::Within(server) = self.running {
            server.stop().await.unwrap();
        }
    }
}

async fn start(at: SocketAddr, root: PathBuf) -> Program {
    let serving = move || {
        let (host, root) = (at.ip().to_string(), root.to_str().unwrap().to_owned());
        Program::serve_on(at.port(), &["--host", &host, &root])
    };
    tokio::task::spawn_blocking(serving).await.unwrap()
}

/// Faults, which exist only in a server in this process.
#[cfg(feature = "faults")]
impl Host {
    fn faults(&self) -> Option<&tailcast::log::failpoints::Failpoints> {
        match &self.running {
            Running::Within(server) => Some(&server.faults),
            Running::Program(..) => None,
        }
    }

    /// Drops all events from now on.
    pub fn deafen(&mut self) {
        self.deaf = true;
        if let Some(faults) = self.faults() {
            faults.deafen();
        }
    }

    /// Makes a system call fail for all served files, until [`mend`](Self::mend).
    pub fn fail(&mut self, call: tailcast::log::failpoints::Call, errno: rustix::io::Errno) {
        self.history.begin_blindness();
        let root = self.root();
        if let Some(faults) = self.faults() {
            faults.fail(call, root, errno);
        }
    }

    /// Ends failing calls. Dropped events stay dropped.
    pub fn mend(&mut self) {
        if let Some(faults) = self.faults() {
            faults.mend();
            if self.deaf {
                faults.deafen();
            }
        }
        self.history.end_blindness();
    }
}
