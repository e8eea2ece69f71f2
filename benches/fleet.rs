//! What an agent costs, and how long a line takes from the file of one machine to an edge.
//!
//! `cargo bench --bench fleet`; words after `--` select from `latency`, `edges`, `throughput`, `whole` and
//! `idle`. It needs `nats-server`. `SECONDS=20` sets the length of a part, `LOGS=10000` how many logs the idle
//! agent has, `ROUNDS=3` how often what goes through the broker at full speed is measured in turns with its
//! reference, and `MEGABYTES=512` how much goes the whole way.
//!
//! The edge is this process: the time ends when a mirror is given the bytes. Beside it the same file is
//! followed here without agent and broker.

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench panics at the first error, and prints its results"
)]

#[allow(unreachable_pub, reason = "shared with the other benches")]
#[path = "stage/figures.rs"]
mod figures;
#[path = "fleet/whole.rs"]
mod whole;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use figures::{Figure, Goal};
use tailcast::broker::{Broker, Edge, Options, names};
use tailcast::log::{Access, Event, Registry};
use tailcast::mirror::{Remote, RemoteEvent, RemoteName};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A process that is killed at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Killed {
    /// Starts a process, and waits for the first line that it prints.
    fn first_line(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line)
    }

    fn status(&self, field: &str) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>().unwrap() / 1024.0
    }

    /// CPU time in seconds.
    fn cpu(&self) -> f64 {
        cpu_of(self.0.id())
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn wanted(part: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench").peekable();
    words.peek().is_none() || words.any(|word| word == part)
}

fn start_broker(directory: &Path) -> (Killed, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = directory.join("nats.conf");
    let store = directory.join("store");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {store:?}, max_file: 4GB }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut broker = Command::new("nats-server");
    let broker = broker.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    (Killed(broker.spawn().unwrap()), format!("nats://127.0.0.1:{port}"))
}

fn start_agent(url: &str, logs: &Path) -> Killed {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_tailcast"));
    agent.args(["agent", "--name", "bench", "--nats", url]).arg(logs);
    let (agent, line) = Killed::first_line(agent.stderr(Stdio::null()));
    assert!(line.starts_with("bench at "), "{line:?}");
    agent
}

async fn edge(url: &str) -> Edge {
    let options = Options {
        address: url.parse().unwrap(),
        login: None,
        authorities: None,
        name: "bench".to_owned(),
        inbox: names::EDGE_INBOX.to_owned(),
    };
    Edge::new(Broker::connect_in_time(&options).await.unwrap())
}

fn name(log: &Path) -> RemoteName {
    RemoteName { host: "bench".into(), path: log.as_os_str().as_encoded_bytes().into() }
}

async fn until_turned(events: &mut mpsc::Receiver<RemoteEvent>) {
    while !matches!(events.recv().await.unwrap(), RemoteEvent::Turn { .. }) {}
}

fn percentile(times: &mut [Duration], nth: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * nth / 100].as_secs_f64() * 1000.0
}

/// A line each 10 ms: from before the write until the bytes are here.
async fn latency(root: &Path) {
    let logs = root.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let log = logs.join("app.log");
    let mut file = File::create(&log).unwrap();
    let (_broker, url) = start_broker(root);
    let agent = start_agent(&url, &logs);
    let edge = edge(&url).await;
    let mut events = edge.follow(&name(&log), None);
    until_turned(&mut events).await;
    let access = Arc::new(Access::new([&logs]).unwrap());
    let located = access.locate(log.as_os_str().as_encoded_bytes()).unwrap();
    let registry = Registry::new(access, Duration::from_secs(5));
    let mut local = registry.join(&located, false).await.unwrap();
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let lines = setting("SECONDS", 20) * 100;
    let line = [b"x".repeat(199), b"\n".to_vec()].concat();
    let before = agent.cpu();
    for nth in 1..=lines {
        let end = nth * line.len() as u64;
        let since = Instant::now();
        file.write_all(&line).unwrap();
        let follow = async {
            while let Ok(event) = local.events.recv().await {
                if matches!(event, Event::Chunk(chunk) if chunk.end().0 == end) {
                    return since.elapsed();
                }
            }
            unreachable!("the log is followed")
        };
        let mirror = async {
            loop {
                if let RemoteEvent::Bytes { at, bytes, .. } = events.recv().await.unwrap()
                    && at.offset.plus(bytes.len()).0 == end
                {
                    return since.elapsed();
                }
            }
        };
        let (one, other) = tokio::join!(follow, mirror);
        here.push(one);
        there.push(other);
        tokio::time::sleep(Duration::from_millis(10).saturating_sub(since.elapsed())).await;
    }
    let cpu = (agent.cpu() - before) / lines as f64 * 1e6;
    println!("latency of a line of 200 bytes, 100 a second, in ms    p50      p99");
    println!(
        "the file followed here                              {:7.2}  {:7.2}",
        percentile(&mut here, 50),
        percentile(&mut here, 99)
    );
    println!(
        "through agent, broker and edge                      {:7.2}  {:7.2}",
        percentile(&mut there, 50),
        percentile(&mut there, 99)
    );
    println!("CPU of the agent for a message: {cpu:.0} µs");
    let (other, here) = (percentile(&mut there, 99), percentile(&mut here, 99));
    Figure::new("a line from another machine, p99", other, "ms")
        .beside("followed here", here, other / here)
        .goal(Goal::AtMost(here + 10.0))
        .note();
}

/// What a message costs agent, broker and edges in CPU time, with one edge and with more.
async fn edges(root: &Path) {
    let logs = root.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let (broker, url) = start_broker(root);
    let agent = start_agent(&url, &logs);
    let seconds = setting("SECONDS", 20) / 2;
    for count in [1_u64, 9] {
        let log = logs.join(format!("{count}.log"));
        let mut file = File::create(&log).unwrap();
        let mut following = Vec::new();
        for _ in 0..count {
            let edge = edge(&url).await;
            let mut events = edge.follow(&name(&log), None);
            until_turned(&mut events).await;
            following.push((edge, events));
        }
        let line = [b"x".repeat(199), b"\n".to_vec()].concat();
        let lines = seconds * 100;
        let before = [agent.cpu(), broker.cpu(), cpu_of(std::process::id())];
        for nth in 1..=lines {
            let (end, since) = (nth * line.len() as u64, Instant::now());
            file.write_all(&line).unwrap();
            for (_, events) in &mut following {
                loop {
                    if let RemoteEvent::Bytes { at, bytes, .. } = events.recv().await.unwrap()
                        && at.offset.plus(bytes.len()).0 == end
                    {
                        break;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(10).saturating_sub(since.elapsed())).await;
        }
        let after = [agent.cpu(), broker.cpu(), cpu_of(std::process::id())];
        let cost = |part: usize| (after[part] - before[part]) / lines as f64 * 1e6;
        println!(
            "CPU of a message with {count} edges, in µs: agent {:.0}, broker {:.0}, one edge without viewers {:.0}",
            cost(0),
            cost(1),
            cost(2) / count as f64
        );
    }
}

/// The CPU time of a process, in seconds.
fn cpu_of(process: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// Many logs, and nobody wants any.
async fn idle(root: &Path) {
    let logs = root.join("many");
    let count = setting("LOGS", 10_000);
    for nth in 0..count {
        let directory = logs.join((nth / 100).to_string());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{nth}.log")), "x".repeat(200)).unwrap();
    }
    let (_broker, url) = start_broker(root);
    let agent = start_agent(&url, &logs);
    let edge = edge(&url).await;
    let seconds = setting("SECONDS", 20);
    let rest = async |what: &str| {
        let before = agent.cpu();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        println!(
            "agent with {count} logs, {what}: {:.1} MiB, of it {:.1} MiB its own; {:.2} % of a core",
            agent.status("VmRSS"),
            agent.status("RssAnon"),
            (agent.cpu() - before) / seconds as f64 * 100.0
        );
    };
    while edge.logs("bench").len() as u64 != count {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Nobody looks at the list for long enough.
    tokio::time::sleep(Duration::from_secs(25)).await;
    rest("nobody looks").await;
    let looking = tokio::spawn(async move {
        loop {
            edge.logs("bench");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    rest("an edge looks at the list").await;
    looking.abort();
}

/// A file that exists already, published from its beginning on by reading it as fast as possible.
async fn throughput(root: &Path) -> f64 {
    let logs = root.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    let log = logs.join("large.log");
    let mut file = File::create(&log).unwrap();
    let (broker, url) = start_broker(root);
    let agent = start_agent(&url, &logs);
    let edge = edge(&url).await;
    let mut events = edge.follow(&name(&log), None);
    until_turned(&mut events).await;
    let block = [b"x".repeat(99), b"\n".to_vec()].concat().repeat(10_000);
    let blocks = 512;
    let size = (block.len() * blocks) as u64;
    let (before, broker_before, since) = (agent.cpu(), broker.cpu(), Instant::now());
    let writing = std::thread::spawn(move || {
        for _ in 0..blocks {
            file.write_all(&block).unwrap();
        }
    });
    let mut messages = 0;
    loop {
        if let RemoteEvent::Bytes { at, bytes, .. } = events.recv().await.unwrap() {
            messages += 1;
            if at.offset.plus(bytes.len()).0 == size {
                break;
            }
        }
    }
    let seconds = since.elapsed().as_secs_f64();
    writing.join().unwrap();
    println!(
        "one log of {} MB through agent, broker and edge: {:.0} MB/s, {} KiB a message; CPU s a GB: agent {:.1}, broker {:.1}",
        size / 1_000_000,
        size as f64 / 1e6 / seconds,
        size / 1024 / messages,
        (agent.cpu() - before) / (size as f64 / 1e9),
        (broker.cpu() - broker_before) / (size as f64 / 1e9),
    );
    size as f64 / 1e6 / seconds
}

/// The same bytes through the broker alone: messages of the same size, one in flight, each
/// acknowledged, and a consumer that takes them.
async fn bare(root: &Path) -> f64 {
    use async_nats::jetstream::{self, consumer, stream};
    use futures_util::StreamExt;

    let (broker, url) = start_broker(root);
    // The broker may not listen yet.
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(&url).await.unwrap();
    let context = jetstream::new(client);
    let made = context.create_stream(stream::Config {
        name: "bare".to_owned(),
        subjects: vec!["bare".to_owned()],
        max_bytes: 1 << 30,
        duplicate_window: Duration::from_secs(120),
        ..stream::Config::default()
    });
    let made = made.await.unwrap();
    let ordered = consumer::pull::OrderedConfig::default();
    let mut messages = made.create_consumer(ordered).await.unwrap().messages().await.unwrap();
    let payload = bytes::Bytes::from(vec![b'x'; 383 * 1024]);
    let count = 512_000_000 / payload.len();
    let (before, since) = (broker.cpu(), Instant::now());
    let sending = tokio::spawn(async move {
        for nth in 0..count {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", nth.to_string().as_str());
            let sent = context.publish_with_headers("bare", headers, payload.clone());
            sent.await.unwrap().await.unwrap();
        }
    });
    let mut size = 0;
    for _ in 0..count {
        size += messages.next().await.unwrap().unwrap().payload.len();
    }
    let seconds = since.elapsed().as_secs_f64();
    sending.await.unwrap();
    println!(
        "the same through the broker alone: {:.0} MB/s; CPU s a GB: broker {:.1}",
        size as f64 / 1e6 / seconds,
        (broker.cpu() - before) / (size as f64 / 1e9),
    );
    size as f64 / 1e6 / seconds
}

/// Measures both in turns: what the broker does in a second differs from run to run.
async fn one_log(root: impl Fn() -> TempDir) {
    let (mut ours, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..setting("ROUNDS", 5) {
        let (one, other) = (throughput(root().path()).await, bare(root().path()).await);
        ours.push(one);
        bares.push(other);
        ratios.push(one / other);
    }
    let ratio = median(&mut ratios);
    println!("one log: tailcast has {ratio:.2} of the speed of the broker alone\n");
    Figure::new("one log through agent, broker and edge", median(&mut ours), "MB/s")
        .beside("the broker alone", median(&mut bares), ratio)
        .goal(Goal::RatioAtLeast(0.7))
        .note();
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if whole::play(&words).await {
        return;
    }
    let new = || TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if wanted("latency") {
        latency(new().path()).await;
    }
    if wanted("edges") {
        edges(new().path()).await;
    }
    if wanted("throughput") {
        one_log(new).await;
    }
    if wanted("whole") {
        tokio::task::block_in_place(|| whole::measure(new));
    }
    if wanted("idle") {
        idle(new().path()).await;
    }
}
