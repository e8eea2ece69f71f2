//! Servers to test: in this process, or as the real program.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tailcast::log::Access;
use tailcast::log::failpoints::Failpoints;
use tailcast::serve::{Handle, Heartbeat, Server, Settings};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::transport::{self, Pem};

/// No test waits longer than this for one condition.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A server in this process, on a free port, that serves a temporary directory.
pub struct TestServer {
    pub directory: TempDir,
    pub address: SocketAddr,
    pub handle: Handle,
    /// Its failpoints.
    #[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "there is nothing to set"))]
    pub faults: Failpoints,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl TestServer {
    /// Whether it gets no events of the file system.
    #[cfg(feature = "faults")]
    pub fn is_deaf(&self) -> bool {
        self.faults.is_deaf()
    }

    #[cfg(not(feature = "faults"))]
    pub fn is_deaf(&self) -> bool {
        false
    }

    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new([directory.path()]).unwrap();
        Self::over(directory, access, settings).await
    }

    pub async fn over(directory: TempDir, access: Access, mut settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        if transport::is_everything_encrypted() {
            settings.certificate.get_or_insert_with(|| Pem::new().certificate());
        }
        transport::note(address, settings.certificate.is_some());
        let (shutdown, ask) = oneshot::channel();
        let faults = access.faults().clone();
        let server = Server::new(access, settings);
        let handle = server.handle();
        let serving = tokio::spawn(server.serve(listener, async move {
            ask.await.ok();
        }));
        Self { directory, address, handle, faults, shutdown: Some(shutdown), serving }
    }

    /// The health answer.
    pub async fn health(&self) -> serde_json::Value {
        let answer = crate::clients::get(self.address, "/_/healthz", &[]).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The number of viewers, from the health answer.
    pub async fn viewers(&self) -> u64 {
        self.health().await["viewers"].as_u64().unwrap()
    }

    /// The number of rendered pieces, from the health answer.
    pub async fn renders(&self) -> u64 {
        self.health().await["counters"]["renders"].as_u64().unwrap()
    }

    /// Asserts that the followers of so many unchanged logs poll by their timer only: more system
    /// calls than two polls of each log need take at least the interval of the timer.
    #[cfg(feature = "faults")]
    pub async fn assert_polls_by_timer(&self, logs: u64, calls_per_poll: u64) {
        use tailcast::log::follower::BACKSTOP_INTERVAL;

        let wanted = 2 * logs * calls_per_poll + 1;
        let (mut before, mut began) = (self.faults.calls(), Instant::now());
        // A recent write may still cause polls.
        eventually("they poll by the timer", async || {
            let (calls, took) = (self.faults.calls() - before, began.elapsed());
            if calls < wanted {
                return Err(format!("{calls} calls"));
            }
            if took >= BACKSTOP_INTERVAL {
                return Ok(());
            }
            (before, began) = (self.faults.calls(), Instant::now());
            Err(format!("{calls} calls in {took:?}; {}", inotify_left()))
        })
        .await;
    }

    /// A path in the served directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a whole log, and returns its target on this server.
    pub fn log(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        target(&path)
    }

    /// Ends the server, and waits for its end.
    pub async fn stop(mut self) -> std::io::Result<()> {
        self.begin_stop();
        tokio::time::timeout(DEADLINE, &mut self.serving)
            .await
            .expect("the server did not end in time")
            .unwrap()
    }

    /// Begins the shutdown of the server.
    pub fn begin_stop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).ok();
        }
    }
}

/// The target of a file on a server; these names need no encoding.
pub fn target(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Appends to a log, in one write.
pub fn append(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

/// Replaces a file by one with this content in one step, so that it is never seen empty or partly
/// written.
pub fn put(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(content.as_ref()).unwrap();
    file.persist(path).unwrap();
}

/// Writes a log with this many MiB of lines.
pub fn write_big(path: impl AsRef<Path>, mebibytes: usize) {
    std::fs::write(
        path,
        "a line of a log that is quite as long as most lines of logs are\n".repeat(mebibytes << 14),
    )
    .unwrap();
}

/// Stops the paused clock of a test's runtime until it is dropped: tokio advances a paused clock
/// only while nothing runs on a blocking thread. After [`DEADLINE`] of real time it ends by itself,
/// so that a test fails by its timeouts and does not hang.
pub struct StoppedClock {
    _release: std::sync::mpsc::Sender<()>,
}

impl StoppedClock {
    pub fn new() -> Self {
        let (release, released) = std::sync::mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv_timeout(DEADLINE).ok());
        Self { _release: release }
    }
}

/// Settings without heartbeats, because a viewer that does not read cannot answer them.
pub fn no_heartbeat() -> Settings {
    Settings { heartbeat: Heartbeat::Off, ..Settings::default() }
}

/// Slows a writer or a reader down, or lets time pass in a random script, to shape a load. No
/// assertion may depend on its duration. To wait for a condition, use [`eventually`].
pub async fn pace(time: Duration) {
    tokio::time::sleep(time).await;
}

/// The same on a blocking thread.
pub fn pace_blocking(time: Duration) {
    std::thread::sleep(time);
}

/// Sends a signal to a process. After SIGSTOP it waits until all its threads have stopped: each of them goes
/// on until it has its turn, which on a busy machine is many milliseconds.
pub fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
    if signal != Signal::STOP {
        return;
    }
    let until = Instant::now() + DEADLINE;
    while !is_stopped(child.id()) {
        assert!(Instant::now() < until, "process {} does not stop", child.id());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether all threads of a process have stopped, or ended.
fn is_stopped(process: u32) -> bool {
    let mut threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.all(|thread| {
        // One that ends meanwhile is not there at the next look.
        let stat = std::fs::read_to_string(thread.unwrap().path().join("stat"));
        // The name before the state is in parentheses, and may have some itself.
        stat.is_ok_and(|stat| {
            stat.rsplit(") ").next().is_some_and(|state| state.starts_with(['T', 'Z', 'X']))
        })
    })
}

/// Runs a program to its end. Kills it and fails if that takes longer than [`DEADLINE`].
pub fn output_of(command: &mut Command) -> Output {
    let what = format!("{command:?}");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()).ok());
    result.recv_timeout(DEADLINE).map_or_else(
        |_| {
            kill_process(pid, Signal::KILL).ok();
            panic!("{what} did not end within {DEADLINE:?}");
        },
        Result::unwrap,
    )
}

/// The first line of a program's output, or an empty string. Kills the program and fails if neither
/// a line nor the end of the output arrives within [`DEADLINE`].
pub fn first_line(child: &mut Child) -> String {
    let stdout = child.stdout.take().expect("its output is piped");
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        done.send(BufReader::new(stdout).read_line(&mut line).map(|_| line)).ok();
    });
    match result.recv_timeout(DEADLINE) {
        Ok(line) => line.unwrap(),
        Err(_) => {
            child.kill().ok();
            panic!("it printed no line within {DEADLINE:?}");
        }
    }
}

/// Whether this user has an inotify instance left, for the report of a failure. Without one a
/// server polls, and all programs of a user, including other test runs, share 128.
pub fn inotify_left() -> &'static str {
    match rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
        Ok(_) => "this user has inotify instances left",
        Err(_) => "this user has no inotify instance left",
    }
}

/// The bytes that a server has sent to a peer and that are still in the kernel.
pub fn send_queue(server: SocketAddr, peer: SocketAddr) -> u64 {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let [local, remote] = [server, peer].map(|end| format!(":{:04X}", end.port()));
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields[1].ends_with(&local) && fields[2].ends_with(&remote) {
            let (queue, _) = fields[4].split_once(':').unwrap();
            return u64::from_str_radix(queue, 16).unwrap();
        }
    }
    0
}

/// Reports that a test cannot run on this machine. `tests/run` prints it at its end.
pub fn not_run(test: &str, why: &str) {
    eprintln!("{test}: NOT RUN: {why}");
    if let Some(file) = std::env::var_os("TAILCAST_NOT_RUN") {
        append(PathBuf::from(file), format!("{test}: {why}\n"));
    }
}

/// Waits for a condition. If it fails, the panic contains the last error of `look`.
pub async fn eventually<T: std::fmt::Debug>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<(), T>,
) {
    let until = Instant::now() + DEADLINE;
    while let Err(seen) = look().await {
        assert!(Instant::now() < until, "{what}: not within {DEADLINE:?}; seen last: {seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port of this machine that nobody else is given by chance while this lives, whoever listens there
/// now and then. It is bound and does not listen, which leaves it to those who ask for it by its number.
pub struct Port {
    pub number: u16,
    _holder: socket2::Socket,
}

impl Port {
    pub fn hold() -> Self {
        let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let holder = holder.unwrap();
        // As listeners do: only those who do may bind it, too.
        holder.set_reuse_address(true).unwrap();
        holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let number = holder.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _holder: holder }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.number))
    }
}

/// The real program, serving on a free port. Killed when dropped.
pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    /// The first line that it printed.
    pub printed: String,
    stderr: tempfile::NamedTempFile,
    _certificate: TempDir,
}

impl Program {
    pub fn serve(arguments: &[&str]) -> Self {
        Self::serve_on(0, arguments)
    }

    pub fn serve_on(port: u16, arguments: &[&str]) -> Self {
        Self::start(command().args(["serve", "--port", &port.to_string()]).args(arguments))
    }

    /// Serves in its own mount namespace, after a shell command that sets limits.
    pub fn serve_under(limits: &str, arguments: &[&str]) -> Self {
        Self::in_shell(&format!("{limits} && exec \"$0\" serve --port 0 \"$@\""), arguments)
    }

    /// The same without root's right to ignore file modes, so that a mode can deny access.
    pub fn serve_without_rights(limits: &str, arguments: &[&str]) -> Self {
        let line = format!("{limits} && exec unshare --user \"$0\" serve --port 0 \"$@\"");
        Self::in_shell(&line, arguments)
    }

    fn in_shell(line: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", line]);
        Self::start(shell.arg(env!("CARGO_BIN_EXE_tailcast")).args(arguments))
    }

    /// Runs a shell command with the program's limits and mounts.
    pub fn inside(&self, line: &str) {
        let pid = self.child.id().to_string();
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--preserve-credentials", "--user", "--mount", "--target", &pid]);
        let output = output_of(nsenter.args(["sh", "-c", line]));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A path in the program's mount namespace.
    pub fn through_mounts(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap())
    }

    pub fn start(command: &mut Command) -> Self {
        let mut program = Self::spawn(command, SocketAddr::from(([0, 0, 0, 0], 0)));
        program.printed = first_line(&mut program.child);
        let url = program.printed.trim().split_once("://");
        let Some((scheme, rest)) = url.filter(|(scheme, _)| ["http", "https"].contains(scheme))
        else {
            panic!(
                "printed {:?} instead of its address; stderr: {}",
                program.printed,
                program.said()
            );
        };
        program.address = rest.split('/').next().unwrap().parse().unwrap();
        transport::note(program.address, scheme == "https");
        program
    }

    /// Serves at a port, without waiting until it does.
    pub fn begin_at(port: &Port, arguments: &[&str]) -> Self {
        let address = port.address();
        transport::note(address, transport::is_everything_encrypted());
        let number = port.number.to_string();
        Self::spawn(command().args(["serve", "--port", &number]).args(arguments), address)
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> Self {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let certificate = tempfile::tempdir().unwrap();
        if transport::is_everything_encrypted() {
            Pem::new().write(certificate.path());
            command.args(Pem::arguments(certificate.path()));
        }
        command.stdout(Stdio::piped()).stderr(stderr.reopen().unwrap());
        let child = command.spawn().unwrap();
        Self { child, address, printed: String::new(), stderr, _certificate: certificate }
    }

    /// Its output on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        send_signal(&self.child, signal);
    }

    /// Waits for its end, with a deadline.
    pub async fn wait(&mut self) -> std::process::ExitStatus {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the program did not end; it said: {}", self.said());
            pace(Duration::from_millis(10)).await;
        }
    }

    /// The number of its inotify watches, from `/proc/PID/fdinfo`.
    pub fn watches(&self) -> usize {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())) else {
            return 0;
        };
        entries
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
            .map(|info| info.lines().filter(|line| line.starts_with("inotify ")).count())
            .sum()
    }

    /// The soft and the hard limit of open files.
    pub fn open_files_limits(&self) -> [String; 2] {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let mut words = line["Max open files".len()..].split_whitespace().map(str::to_owned);
        [words.next().unwrap(), words.next().unwrap()]
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The bytes sent to a peer that are still in the kernel.
    pub fn send_queue(&self, peer: SocketAddr) -> u64 {
        send_queue(self.address, peer)
    }

    /// The number of its descriptors of this file.
    pub fn descriptors_of(&self, path: &Path) -> usize {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())) else {
            return 0;
        };
        entries
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .filter(|link| link == path)
            .count()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The program, without settings from the environment. `TAILCAST_TEST_LOG` sets the filter of its log, for
/// a test that prints it.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailcast"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAILCAST_")) {
        command.env_remove(name);
    }
    if let Some(filter) = std::env::var_os("TAILCAST_TEST_LOG") {
        command.env("TAILCAST_LOG", filter);
    }
    command
}
