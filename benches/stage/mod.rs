//! Shared by the benches: servers as processes, the load client, and the printing of tables.

pub mod contest;
pub mod figures;
pub mod logs;
pub mod peers;

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The release build of the program.
pub const TAILCAST: &str = env!("CARGO_BIN_EXE_tailcast");

/// The words after `--`.
pub fn words() -> Vec<String> {
    std::env::args().skip(1).filter(|word| word != "--bench").collect()
}

/// Whether a part runs: the words name it, or there are none.
pub fn is_wanted(part: &str) -> bool {
    let words = words();
    words.is_empty() || words.iter().any(|word| word == part)
}

/// A number from the environment, or the default.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is a number, not {value:?}")),
        Err(_) => default,
    }
}

/// Another build of the program, to be compared in the same run.
pub fn before() -> Option<String> {
    std::env::var("BEFORE").ok().filter(|program| !program.is_empty())
}

/// A server that prints its address. Killed when dropped.
pub struct Server {
    child: Child,
    scheme: &'static str,
    pub address: String,
    /// Where a server with TLS keeps its certificate and a unix socket without TLS.
    tls: Option<tempfile::TempDir>,
    /// What the paths of logs begin with: `/@HOST` on an edge.
    machine: &'static str,
    /// What it needs besides: a broker, an agent.
    others: Vec<Companion>,
    /// Another edge, which has as many viewers.
    beside: Option<Box<Self>>,
    /// Where these keep what they store.
    store: Option<tempfile::TempDir>,
}

/// Another process. Killed when dropped.
pub struct Companion {
    name: &'static str,
    child: Child,
}

impl Drop for Companion {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    pub fn start(mut command: Command) -> Self {
        let quiet = std::env::var_os("SHOW_LOG").is_none();
        if quiet {
            command.stderr(Stdio::null());
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (scheme, address) = match line.trim().split_once("://") {
            Some(("http", address)) => ("http", address),
            Some(("https", address)) => ("https", address),
            _ => panic!("{line:?}"),
        };
        let address = address.trim_end_matches('/').to_owned();
        let (machine, others, beside) = ("", Vec::new(), None);
        Self { child, scheme, address, tls: None, machine, others, beside, store: None }
    }

    /// A directory with a new certificate for this machine.
    fn certificate() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let names = ["127.0.0.1".to_owned()];
        let own = rcgen::generate_simple_self_signed(names).unwrap();
        let write = |name: &str, pem: String| {
            std::fs::write(directory.path().join(name), pem).unwrap();
        };
        write("chain.pem", own.cert.pem());
        write("key.pem", own.signing_key.serialize_pem());
        directory
    }

    /// The floor with TLS.
    pub fn floor_tls(log: &Path) -> Self {
        let directory = Self::certificate();
        let mut command = Self::floor_command("serve-tls", log);
        command.arg(directory.path());
        let mut server = Self::start(command);
        server.tls = Some(directory);
        server
    }

    /// The flags with which the load client trusts the server.
    pub fn trust(&self) -> Vec<String> {
        let flag = |directory: &tempfile::TempDir| {
            let file = directory.path().join("chain.pem");
            ["--ca".to_owned(), file.display().to_string()]
        };
        self.tls.iter().flat_map(flag).collect()
    }

    /// This program in the role of the floor.
    pub fn floor(log: &Path) -> Self {
        Self::start(Self::floor_command("serve", log))
    }

    /// The same on the thread of a `notify` watcher.
    pub fn floor_notified(log: &Path) -> Self {
        Self::start(Self::floor_command("serve-notify", log))
    }

    /// The same as a server of tokio, which also reads from its viewers.
    pub fn floor_tokio(log: &Path) -> Self {
        Self::start(Self::floor_command("serve-tokio", log))
    }

    fn floor_command(mode: &str, log: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(mode).arg(log);
        command
    }

    pub fn tailcast(directory: &Path) -> Self {
        Self::build(TAILCAST.as_ref(), directory)
    }

    /// With this many threads that write to viewers.
    pub fn with_threads(directory: &Path, threads: &str) -> Self {
        let mut command = Self::command(TAILCAST.as_ref(), directory, &["--port", "0"]);
        command.env("TOKIO_WORKER_THREADS", threads);
        Self::start(command)
    }

    /// Another build of the program.
    pub fn build(program: &OsStr, directory: &Path) -> Self {
        Self::start(Self::command(program, directory, &["--port", "0"]))
    }

    /// Another build of the program, which `BEFORE` names.
    pub fn before(directory: &Path) -> Self {
        Self::build(before().unwrap().as_ref(), directory)
    }

    /// With TLS, and a unix socket without it for the health answer.
    pub fn tailcast_tls(directory: &Path) -> Self {
        let tls = Self::certificate();
        let path = |name: &str| tls.path().join(name).display().to_string();
        let socket = format!("unix:{}", path("socket"));
        let (chain, key) = (path("chain.pem"), path("key.pem"));
        let flags = ["--listen", "127.0.0.1:0", "--listen", &socket];
        let flags = [&flags[..], &["--tls-cert", &chain, "--tls-key", &key]].concat();
        let mut server = Self::start(Self::command(TAILCAST.as_ref(), directory, &flags));
        server.tls = Some(tls);
        server
    }

    fn command(program: &OsStr, directory: &Path, flags: &[&str]) -> Command {
        let mut command = Command::new(program);
        // The access log is not part of the measurement.
        command.env("TAILCAST_LOG", "warn").args(["serve", "--max-viewers", "20000"]);
        command.args(flags).arg(directory);
        command
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn url(&self, log: &Path) -> String {
        format!("{}://{}{}{}", self.scheme, self.address, self.machine, log.display())
    }

    /// As many viewers of the edge beside this one, for so many seconds, once all of them are there.
    pub fn viewers_beside(&self, log: &Path, viewers: u64, seconds: u64) -> Option<Client> {
        let edge = self.beside.as_ref()?;
        let [viewers_flag, duration] =
            [format!("--viewers={viewers}"), format!("--duration={seconds}")];
        let flags = [&viewers_flag, &duration, "--protocol=original"];
        let client = Client::start(&[edge.url(log)], &flags);
        loop {
            let mut health = String::new();
            get(&edge.address, "/_/healthz").read_to_string(&mut health).unwrap();
            let health: Value = serde_json::from_str(&health).unwrap();
            if health["viewers"] == viewers {
                return Some(client);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Resident memory in bytes that is no part of a file: all but the program's code.
    pub fn anonymous(&self) -> f64 {
        self.status("RssAnon:")
    }

    /// Peak resident memory in bytes.
    pub fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    /// Resets the peak.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    fn status(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        1024.0 * line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    }

    /// Seconds of CPU so far.
    pub fn cpu(&self) -> f64 {
        cpu_of(self.pid())
    }

    /// The same for each process that it needs, with its name.
    pub fn cpu_of_others(&self) -> Vec<(&'static str, f64)> {
        let others = self.others.iter().map(|other| (other.name, cpu_of(other.child.id())));
        others.chain(self.beside.iter().map(|edge| ("other edge", edge.cpu()))).collect()
    }
}

/// Seconds of CPU of a process so far.
fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A running load client. Its report is a JSON object.
pub struct Client {
    child: Child,
}

impl Client {
    pub fn start<A: AsRef<str>>(urls: &[String], arguments: &[A]) -> Self {
        let mut command = Command::new(TAILCAST);
        command.arg("bench").args(urls).arg("--json");
        command.args(arguments.iter().map(AsRef::as_ref));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child }
    }

    /// The report, and the messages of the client if it failed.
    pub fn report(self) -> (Value, Option<String>) {
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let report = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}; the client said {said:?}"));
        (report, (!output.status.success()).then_some(said))
    }
}

/// Runs one load to its end.
pub fn load<A: AsRef<str>>(url: String, arguments: &[A]) -> (Value, Option<String>) {
    Client::start(&[url], arguments).report()
}

/// A number in a report.
pub fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report:#}"))
}

/// The median; of an even count the lower of the two.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[(numbers.len() - 1) / 2]
}

/// The median of the ratios of two servers' figures, round by round.
pub fn median_ratio(ours: &[f64], others: &[f64]) -> f64 {
    median(ours.iter().zip(others).map(|(one, other)| one / other).collect())
}

/// The median, the minimum and the maximum.
pub fn range(numbers: &[f64]) -> String {
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(numbers.to_vec()))
}

/// A directory for logs: in `TAILCAST_BENCH_DIR`, or a temporary one.
pub struct Stage {
    directory: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let directory = match std::env::var_os("TAILCAST_BENCH_DIR") {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        Self { directory: directory.unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// An empty log.
    pub fn log(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, "").unwrap();
        path
    }
}

/// Waits for a condition, for at most a minute.
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !look() {
        assert!(Instant::now() < until, "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Prints where the bench runs.
pub fn heading(title: &str) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let busy = read("/proc/loadavg");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let busy = busy.split(' ').next().unwrap_or_default();
    println!("# {title}: Linux {}, {cpus} cores, load average {busy} at the start", kernel.trim());
}

/// Prints a row of a table.
pub fn row(columns: &[&dyn Display]) {
    let columns: Vec<String> = columns.iter().map(|column| format!("{column}")).collect();
    println!("| {} |", columns.join(" | "));
}

impl Server {
    /// The number of viewers that a tailcast server reports.
    pub fn viewers(&self) -> u64 {
        let mut body = Vec::new();
        match &self.tls {
            None => get(&self.address, "/_/healthz").read_to_end(&mut body).unwrap(),
            Some(directory) => {
                let mut socket = UnixStream::connect(directory.path().join("socket")).unwrap();
                socket.write_all(b"GET /_/healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
                let mut answer = Vec::new();
                socket.read_to_end(&mut answer).unwrap();
                let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                body.extend_from_slice(&answer[end + 4..]);
                body.len()
            }
        };
        serde_json::from_slice::<Value>(&body).unwrap()["viewers"].as_u64().unwrap()
    }
}

/// The body of an HTTP response. The request is HTTP/1.0, so that the body is not chunked.
pub fn get(address: &str, target: &str) -> impl Read + use<> {
    let request = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let (stream, head, begun) = ask(address, &request);
    assert!(head.lines().next().is_some_and(|status| status.contains(" 200 ")), "{head}");
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    std::io::Cursor::new(begun).chain(stream)
}

/// Sends a request, and reads the head of the response and the bytes that came with it.
pub fn ask(address: &str, request: &str) -> (TcpStream, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = head.windows(4).position(|end| end == b"\r\n\r\n") {
            let begun = head.split_off(end + 4);
            return (stream, String::from_utf8(head).unwrap(), begun);
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "no answer but {head:?}");
        head.extend_from_slice(&piece[..read]);
    }
}

/// A viewer that only counts the bytes of its messages.
pub struct Counter {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The unread range of the buffer.
    unread: std::ops::Range<usize>,
    is_v1: bool,
    /// Bytes of the log so far.
    pub bytes: u64,
    /// Bytes of messages so far.
    sent: u64,
}

impl Counter {
    /// Connects. With `is_v1` it uses `tailcast.v1`, and checks the offset of each message.
    pub fn connect(address: &str, target: &str, is_v1: bool) -> Self {
        let offer = if is_v1 { "Sec-WebSocket-Protocol: tailcast.v1\r\n" } else { "" };
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{offer}\r\n"
        );
        let (stream, head, mut buffer) = ask(address, &request);
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let unread = 0..buffer.len();
        buffer.resize(1 << 20, 0);
        Self { stream, buffer, unread, is_v1, bytes: 0, sent: 0 }
    }

    fn fill(&mut self) {
        if self.unread.is_empty() {
            self.unread = 0..0;
        } else if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let read = self.stream.read(&mut self.buffer[self.unread.end..]).unwrap();
        assert!(read > 0, "it ended after {} bytes", self.bytes);
        self.unread.end += read;
    }

    /// Reads until the server closes the connection. Returns the bytes of all messages.
    pub fn read_to_close(mut self) -> u64 {
        while self.read_frame() {}
        self.stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
        self.sent
    }

    /// Reads until this many bytes of the log have arrived.
    pub fn count_to(&mut self, bytes: u64) {
        while self.bytes < bytes {
            assert!(self.read_frame(), "closed after {} bytes", self.bytes);
        }
        assert_eq!(self.bytes, bytes, "more than there is");
    }

    /// Reads a frame. Returns false after the last one.
    fn read_frame(&mut self) -> bool {
        loop {
            let mut cursor = std::io::Cursor::new(&self.buffer[self.unread.clone()]);
            let header = FrameHeader::parse(&mut cursor).unwrap();
            let start = cursor.position() as usize;
            let is_bytes = |header: &FrameHeader| header.opcode == OpCode::Data(Data::Binary);
            let whole = |header: &FrameHeader| !is_bytes(header) || self.unread.len() >= start + 8;
            let Some((header, len)) = header.filter(|(header, _)| whole(header)) else {
                self.fill();
                continue;
            };
            self.unread.start += start;
            self.sent += len;
            let mut len = len as usize;
            match header.opcode {
                OpCode::Control(Control::Close) => return false,
                OpCode::Data(Data::Binary) if self.is_v1 => {
                    let offset = self.buffer[self.unread.start..].first_chunk().unwrap();
                    assert_eq!(u64::from_be_bytes(*offset), self.bytes, "another offset");
                    self.bytes += len as u64 - 8;
                }
                OpCode::Data(_) if !self.is_v1 => self.bytes += len as u64,
                _ => {}
            }
            // The rest of a long message replaces what was read of it.
            while len > self.unread.len() {
                len -= self.unread.len();
                self.unread = 0..0;
                self.fill();
            }
            self.unread.start += len;
            return true;
        }
    }
}
