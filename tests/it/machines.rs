//! Brokers and agents as processes, each with files of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use tailcast::broker::{Broker, Edge, Options, names};
use tempfile::{NamedTempFile, TempDir};

use crate::servers::{DEADLINE, Port, command, eventually, first_line, pace, send_signal};

/// A broker. Killed when dropped.
pub struct Nats {
    child: Child,
    pub port: Port,
    /// Lines of its configuration besides where it listens and where it keeps streams.
    pub more: String,
    directory: TempDir,
    /// The size of a disk of its own, in bytes.
    pub disk: Option<u64>,
}

impl Nats {
    /// A broker without users. None where it is not installed.
    pub async fn start() -> Option<Self> {
        Self::with("").await
    }

    /// The same with more lines of its configuration.
    pub async fn with(more: &str) -> Option<Self> {
        let program = Self::program()?;
        let directory = tempfile::tempdir().unwrap();
        Self { child: idle(), port: Port::hold(), more: more.to_owned(), directory, disk: None }
            .started(&program)
            .await
    }

    /// One whose streams lie on a disk of this size, which nobody else has. None where there are no
    /// namespaces either.
    pub async fn on_disk_of(bytes: u64) -> Option<Self> {
        let program = Self::program()?;
        let mut unshare = Command::new("unshare");
        let can = unshare.args(["--user", "--map-root-user", "--mount", "true"]).status();
        can.ok().filter(std::process::ExitStatus::success)?;
        let directory = tempfile::tempdir().unwrap();
        Self {
            child: idle(),
            port: Port::hold(),
            more: String::new(),
            directory,
            disk: Some(bytes),
        }
        .started(&program)
        .await
    }

    async fn started(self, program: &Path) -> Option<Self> {
        let mut nats = self;
        nats.child = nats.spawn(program);
        let ports = nats.directory.path().join("ports");
        eventually("the broker says where it listens", async || {
            let file = std::fs::read_dir(&ports).map_err(|error| error.to_string())?;
            let file = file.flatten().next().ok_or_else(|| nats.said())?;
            // It is made first, and filled then.
            let text = std::fs::read_to_string(file.path()).map_err(|error| error.to_string())?;
            text.contains(&nats.port.number.to_string()).then_some(()).ok_or(text)
        })
        .await;
        Some(nats)
    }

    /// Whether it has ended, though nobody has killed it.
    pub fn has_crashed(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn program() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
        places.push("/usr/sbin".into());
        places.into_iter().map(|place| place.join("nats-server")).find(|file| file.exists())
    }

    fn spawn(&self, program: &Path) -> Child {
        let root = self.directory.path();
        std::fs::create_dir_all(root.join("ports")).unwrap();
        let (ports, store) = (root.join("ports"), root.join("store"));
        let config = root.join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{}\"\nports_file_dir: {ports:?}\n\
             jetstream {{ store_dir: {store:?}, max_mem: 64MB, max_file: 2GB }}\n{}\n",
            self.port.number, self.more
        );
        std::fs::write(&config, text).unwrap();
        let log =
            std::fs::File::options().create(true).append(true).open(root.join("log")).unwrap();
        let mut broker = match self.disk {
            None => Command::new(program),
            Some(bytes) => {
                std::fs::create_dir_all(root.join("store")).unwrap();
                let line =
                    format!("mount -t tmpfs -o size={bytes} none \"$1\" && exec \"$0\" -c \"$2\"");
                let mut shell = Command::new("unshare");
                shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &line]);
                shell.arg(program).arg(&store).arg(&config);
                return shell.stdout(Stdio::null()).stderr(log).spawn().unwrap();
            }
        };
        broker.arg("-c").arg(config).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// A path of its disk, as others see it.
    fn on_disk(&self, name: &str) -> PathBuf {
        let store = self.directory.path().join("store").join(name);
        let root = format!("/proc/{}/root", self.child.id());
        Path::new(&root).join(store.strip_prefix("/").unwrap())
    }

    /// Leaves no room on its disk.
    pub fn fill_disk(&self) {
        let mut ballast = std::fs::File::create(self.on_disk("ballast")).unwrap();
        let block = vec![1; 64 * 1024];
        while std::io::Write::write_all(&mut ballast, &block).is_ok() {}
    }

    /// What it has written to its own log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port.number)
    }

    /// The same, as this user.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@127.0.0.1:{}", self.port.number)
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    /// Ends it without any chance to tidy up.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Starts it again with what it has stored.
    pub fn start_again(&mut self) {
        let program = Self::program().unwrap();
        self.child = self.spawn(&program);
    }

    /// A connection as an edge.
    pub async fn connect(&self) -> Broker {
        self.connect_as(&self.url()).await
    }

    pub async fn connect_as(&self, url: &str) -> Broker {
        self.connect_with(url, names::EDGE_INBOX.to_owned()).await
    }

    /// The same with its answers below this subject.
    pub async fn connect_with(&self, url: &str, inbox: String) -> Broker {
        let mut address: tailcast::broker::BrokerAddress = url.parse().unwrap();
        let login = address.take_login();
        let options = Options { address, login, authorities: None, name: "test".to_owned(), inbox };
        Broker::connect_in_time(&options).await.unwrap()
    }

    /// What brings the logs of all agents here.
    pub async fn edge(&self) -> Edge {
        Edge::new(self.connect().await)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A connection to whichever broker of these answers, as an edge.
pub async fn connect(url: &str) -> Broker {
    let address = url.parse().unwrap();
    let inbox = names::EDGE_INBOX.to_owned();
    let options =
        Options { address, login: None, authorities: None, name: "test".to_owned(), inbox };
    Broker::connect_in_time(&options).await.unwrap()
}

fn idle() -> Child {
    Command::new("true").spawn().unwrap()
}

/// `tailcast agent`. Killed when dropped.
pub struct Agent {
    pub child: Child,
    /// The line that it printed when it was ready.
    pub printed: String,
    stderr: NamedTempFile,
}

impl Agent {
    /// The agent of a machine of this name, with the logs below a directory.
    pub fn start(url: &str, name: &str, logs: &Path, more: &[&str]) -> Self {
        Self::begin(url, name, logs, more).ready()
    }

    /// The same without waiting until it is ready.
    pub fn begin(url: &str, name: &str, logs: &Path, more: &[&str]) -> Self {
        Self::spawn(&mut Self::command(url, name, logs, more))
    }

    /// The command for such an agent.
    pub fn command(url: &str, name: &str, logs: &Path, more: &[&str]) -> Command {
        let mut agent = command();
        agent.args(["agent", "--name", name]).args(more).arg(logs);
        // As an argument others could see it.
        agent.env("TAILCAST_NATS", url);
        agent
    }

    pub fn spawn(agent: &mut Command) -> Self {
        let stderr = NamedTempFile::new().unwrap();
        agent.stdout(Stdio::piped()).stderr(stderr.reopen().unwrap());
        Self { child: agent.spawn().unwrap(), printed: String::new(), stderr }
    }

    /// Waits until it is ready.
    pub fn ready(mut self) -> Self {
        self.printed = first_line(&mut self.child);
        assert!(!self.printed.is_empty(), "the agent said: {}", self.said());
        self
    }

    /// Its output on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Waits for its end, with a deadline.
    pub async fn wait(&mut self) -> std::process::ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the agent did not end; it said: {}", self.said());
            pace(std::time::Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}
