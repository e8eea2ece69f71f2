//! The server that is looked through: in this process, or the real program, which is stopped,
//! killed and started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::servers::{Program, TestServer};

/// What lasts so long is seen, whether events come or not.
pub const SEEN: Duration = Duration::from_millis(2500);

/// A server's time.
#[derive(Default)]
pub struct Life {
    /// When it was told to end.
    pub to: Option<Instant>,
}

/// When the server lived, and when it was blind: stopped, failed by its system calls, or not let
/// run by the machine.
#[derive(Default)]
pub struct History {
    pub lives: Vec<Life>,
    blind: Vec<(Instant, Option<Instant>)>,
}

impl History {
    /// By when a server that lives has seen beyond doubt what has been there since `from`.
    pub fn seen_by(&self, from: Instant) -> Option<Instant> {
        self.well_for(SEEN, from)
    }

    /// By when it has been well for so long, since `from`.
    pub fn well_for(&self, time: Duration, mut from: Instant) -> Option<Instant> {
        for &(begun, ended) in &self.blind {
            if begun.saturating_duration_since(from) < time {
                from = from.max(ended?);
            }
        }
        Some(from + time)
    }

    /// Whether it was not blind between.
    pub fn sees(&self, from: Instant, to: Instant) -> bool {
        self.blind.iter().all(|(begun, ended)| *begun > to || ended.is_some_and(|end| end < from))
    }

    /// Takes the machine's delays in, once all is over.
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
    /// None while it is dead.
    Program(Option<Program>, TempDir),
}

/// The server.
pub struct Host {
    running: Running,
    #[cfg(feature = "faults")]
    deaf: bool,
    pub address: SocketAddr,
    pub history: History,
    lives: Arc<AtomicUsize>,
}

/// Where a viewer finds the server, and which of its lives it has met.
#[derive(Clone)]
pub struct Door {
    pub address: SocketAddr,
    pub lives: Arc<AtomicUsize>,
    /// Whether it may be dead.
    pub restarts: bool,
}

impl Host {
    /// A server in this process.
    pub async fn within() -> Self {
        let server = TestServer::start().await;
        Self::new(server.address, Running::Within(server))
    }

    /// The real program. It has an address of its own, where nobody takes its port while it is
    /// dead.
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

    /// Stops it where it is, until [`go_on`](Self::go_on).
    pub fn stop(&mut self) {
        self.history.begin_blindness();
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
        self.history.end_blindness();
    }

    /// Ends it, at once or as it ends itself.
    pub fn end(&mut self, signal: Signal) {
        self.history.lives.last_mut().unwrap().to = Some(Instant::now());
        self.signal(signal);
    }

    /// Starts it anew where it was, once it has ended.
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

    /// Ends it for good.
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

/// A server in this process can be made to fail.
#[cfg(feature = "faults")]
impl Host {
    fn faults(&self) -> Option<&tailcast::log::failpoints::Failpoints> {
        match &self.running {
            Running::Within(server) => Some(&server.faults),
            Running::Program(..) => None,
        }
    }

    /// Lets no event through any more.
    pub fn deafen(&mut self) {
        self.deaf = true;
        if let Some(faults) = self.faults() {
            faults.deafen();
        }
    }

    /// Makes a call fail on all that it serves, until [`mend`](Self::mend).
    pub fn fail(&mut self, call: tailcast::log::failpoints::Call, errno: rustix::io::Errno) {
        self.history.begin_blindness();
        let root = self.root();
        if let Some(faults) = self.faults() {
            faults.fail(call, root, errno);
        }
    }

    /// Ends what fails. What is deaf stays so.
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
