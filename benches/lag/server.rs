//! The real program, and what the kernel reports about it.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The program on a free port. Killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tailcast"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TAILCAST_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--port", "0"]).args(arguments).arg(directory);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/'));
        let address = address.and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("it printed {line:?}")), child }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The bytes in the send queues of its open connections, by remote port.
    pub fn send_queues(&self) -> HashMap<u16, u64> {
        const ESTABLISHED: &str = "01";
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port_of = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
        let connection = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, remote, state, queues, ..] = fields[..] else { return None };
            let is_ours = port_of(local)? == self.address.port() && state == ESTABLISHED;
            let queued = u64::from_str_radix(queues.split_once(':')?.0, 16).ok()?;
            is_ours.then_some((port_of(remote)?, queued))
        };
        table.lines().skip(1).filter_map(connection).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The machine, and its load from other programs.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(1).collect();
    format!(
        "Linux {}, {} processors, load {} before",
        read("/proc/sys/kernel/osrelease").trim(),
        std::thread::available_parallelism().map_or(0, usize::from),
        load.join(" "),
    )
}

/// The resident memory of a process in KiB: anonymous, and with mapped files.
fn resident(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("RssAnon:")?, field("VmRSS:")?))
}

/// A thread that watches the memory of a process.
pub struct Memory {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Growth>,
}

/// What it measured, in KiB of resident memory.
#[derive(Default)]
pub struct Growth {
    first: u64,
    last: u64,
    most: u64,
    most_own: u64,
    first_own: u64,
}

impl Memory {
    pub fn watch(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (own, all) = resident(pid).unwrap();
        let mut growth = Growth { first: all, last: all, most: all, most_own: own, first_own: own };
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if let Some((own, all)) = resident(pid) {
                    growth.last = all;
                    growth.most = growth.most.max(all);
                    growth.most_own = growth.most_own.max(own);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            growth
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Growth {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        let Self { first, last, most, most_own, first_own } = self;
        write!(
            f,
            "{:.1} MiB resident before, {:.1} MiB at most, {:.1} MiB after; anonymous at most {:+.1} MiB",
            mib(*first),
            mib(*most),
            mib(*last),
            mib(*most_own) - mib(*first_own),
        )
    }
}
