//! The whole way of a log: from its file through agent, broker and edge to a viewer's socket, beside the least
//! that does the same.
//!
//! That is a process that reads the file and publishes it with one message in flight, and one that
//! takes the messages, keeps them in a file and writes them to a socket. It has the client of the broker, the
//! size of the messages and their headers in common with tailcast, and nothing else: it does not notice a
//! rotation, cannot go on after a loss, and knows of no other viewer.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer, stream};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use crate::figures::{Figure, Goal};
use crate::{Killed, median, setting, start_agent, start_broker};

/// The size of a message, that of an agent that is behind.
const MESSAGE_BYTES: usize = 383 * 1024;
/// How many messages a consumer gets ahead, as on an edge.
const AHEAD: usize = 8;
const STREAM: &str = "bare";
/// Nothing takes so long.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What came of one run.
struct Run {
    seconds: f64,
    /// CPU seconds, by what used them.
    cpu: Vec<(&'static str, f64)>,
    /// How many messages the stream got.
    messages: u64,
}

/// So many logs of so many bytes each.
#[derive(Clone, Copy)]
struct Load {
    logs: usize,
    bytes: u64,
}

fn log(directory: &Path, nth: usize) -> PathBuf {
    directory.join(format!("{nth}.log"))
}

/// Measures both in turns.
pub(super) fn measure(root: impl Fn() -> tempfile::TempDir) {
    let total = setting("MEGABYTES", 512) * 1_000_000;
    for logs in [1, 100] {
        let load = Load { logs, bytes: total / logs as u64 };
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..setting("ROUNDS", 3) {
            for (name, runs) in [("tailcast", &mut ours), ("bare loop", &mut bare)] {
                let directory = root();
                let run = match name {
                    "tailcast" => tailcast(directory.path(), load),
                    _ => bare_loop(directory.path(), load),
                };
                let cost =
                    |(of, cpu): &(&str, f64)| format!("{of} {:.2}", cpu / total as f64 * 1e9);
                let costs: Vec<String> = run.cpu.iter().map(cost).collect();
                let speed = total as f64 / 1e6 / run.seconds;
                let size = total / 1024 / run.messages;
                println!(
                    "{name}, {logs} logs: {speed:.0} MB/s, {size} KiB a message; CPU s a GB: {}",
                    costs.join(", ")
                );
                runs.push(speed);
            }
        }
        let mut ratios: Vec<f64> = ours.iter().zip(&bare).map(|(one, other)| one / other).collect();
        let ratio = median(&mut ratios);
        println!("{logs} logs: tailcast has {ratio:.2} of the speed of the bare loop\n");
        Figure::new(format!("{logs} logs from file to viewer"), median(&mut ours), "MB/s")
            .beside("a bare loop", median(&mut bare), ratio)
            .goal(Goal::RatioAtLeast(0.7))
            .note();
    }
}

/// Writes all logs at once, and reads what comes over the sockets. Returns how long that took.
fn write_and_read(directory: &Path, load: Load, viewers: Vec<TcpStream>) -> f64 {
    let since = Instant::now();
    let directory = directory.to_owned();
    let writing = std::thread::spawn(move || {
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        let block = line.repeat(if load.logs == 1 { 10_000 } else { 500 });
        let mut files: Vec<File> = (0..load.logs)
            .map(|nth| File::options().append(true).open(log(&directory, nth)).unwrap())
            .collect();
        for _ in 0..load.bytes / block.len() as u64 {
            files.iter_mut().for_each(|file| file.write_all(&block).unwrap());
        }
        let rest = load.bytes % block.len() as u64;
        files.iter_mut().for_each(|file| file.write_all(&block[..rest as usize]).unwrap());
    });
    // One thread reads all of them in turn, as far as something is there.
    let mut left: Vec<(TcpStream, u64)> =
        viewers.into_iter().map(|viewer| (viewer, load.bytes)).collect();
    let mut piece = vec![0; 1 << 20];
    let alone = left.len() == 1;
    while !left.is_empty() {
        let missing: u64 = left.iter().map(|(_, left)| left).sum();
        assert!(since.elapsed() < TIME_MAX, "{missing} bytes are still missing");
        let mut is_idle = true;
        for (viewer, left) in &mut left {
            viewer.set_nonblocking(!alone).unwrap();
            viewer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            if let Ok(len) = viewer.read(&mut piece) {
                assert!(len > 0, "the connection was lost");
                *left = left.checked_sub(len as u64).expect("no more than was written");
                is_idle = false;
            }
        }
        left.retain(|(_, left)| *left > 0);
        if is_idle {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writing.join().unwrap();
    since.elapsed().as_secs_f64()
}

fn make_logs(root: &Path, load: Load) -> PathBuf {
    let logs = root.join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    (0..load.logs).for_each(|nth| std::fs::write(log(&logs, nth), "").unwrap());
    logs
}

fn tailcast(root: &Path, load: Load) -> Run {
    let logs = make_logs(root, load);
    let (broker, url) = start_broker(root);
    let agent = start_agent(&url, &logs);
    let mut edge = Command::new(env!("CARGO_BIN_EXE_tailcast"));
    edge.args(["serve", "--port", "0", "--nats", &url, "--spool"]).arg(root.join("spool"));
    let (edge, line) = Killed::first_line(edge.env("TAILCAST_LOG", "warn"));
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let viewers = (0..load.logs).map(|nth| {
        let mut viewer = TcpStream::connect(&address).unwrap();
        let target = format!("/@bench{}?tail=1&format=raw&lines=0", log(&logs, nth).display());
        write!(viewer, "GET {target} HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain\r\n\r\n")
            .unwrap();
        // The head comes when the log is followed.
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            viewer.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(
            head.starts_with(b"HTTP/1.0 200") || head.starts_with(b"HTTP/1.1 200"),
            "{}",
            head.escape_ascii()
        );
        viewer
    });
    let viewers = viewers.collect();
    let all = [("agent", &agent), ("broker", &broker), ("edge", &edge)];
    timed(&all, &url, "TAILCAST", || write_and_read(&logs, load, viewers))
}

fn bare_loop(root: &Path, load: Load) -> Run {
    let logs = make_logs(root, load);
    let (broker, url) = start_broker(root);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let part = |role: &str, directory: &Path| {
        let mut part = Command::new(std::env::current_exe().unwrap());
        part.args([role, &url, &load.logs.to_string(), &load.bytes.to_string(), &port])
            .arg(directory);
        part
    };
    let kept = root.join("kept");
    std::fs::create_dir_all(&kept).unwrap();
    let (consumer, ready) = Killed::first_line(&mut part(CONSUME, &kept));
    assert_eq!(ready, "ready\n");
    let mut viewers: Vec<(u64, TcpStream)> = (0..load.logs)
        .map(|_| {
            let (mut viewer, _) = listener.accept().unwrap();
            let mut nth = [0; 8];
            viewer.read_exact(&mut nth).unwrap();
            (u64::from_be_bytes(nth), viewer)
        })
        .collect();
    viewers.sort_by_key(|(nth, _)| *nth);
    let viewers = viewers.into_iter().map(|(_, viewer)| viewer).collect();
    let (publisher, ready) = Killed::first_line(&mut part(PUBLISH, &logs));
    assert_eq!(ready, "ready\n");
    let all = [("publisher", &publisher), ("broker", &broker), ("consumer", &consumer)];
    timed(&all, &url, STREAM, || write_and_read(&logs, load, viewers))
}

fn timed(
    all: &[(&'static str, &Killed)],
    url: &str,
    stream: &str,
    run: impl FnOnce() -> f64,
) -> Run {
    let cpu = || all.iter().map(|(name, process)| (*name, process.cpu())).collect::<Vec<_>>();
    let before = cpu();
    let seconds = run();
    let used = cpu().into_iter().zip(before);
    let cpu = used.map(|((name, after), (_, before))| (name, after - before)).collect();
    let messages = tokio::runtime::Handle::current().block_on(async {
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        context.get_stream(stream).await.unwrap().cached_info().state.last_sequence
    });
    Run { seconds, cpu, messages }
}

/// The roles of the bare loop, each a process of this program.
const PUBLISH: &str = "bare-publish";
const CONSUME: &str = "bare-consume";

/// Plays a role of the bare loop, if this process has one.
pub(super) async fn play(words: &[String]) -> bool {
    let [role, url, logs, bytes, port, directory] = words else { return false };
    let load = Load { logs: logs.parse().unwrap(), bytes: bytes.parse().unwrap() };
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let mut context = jetstream::new(options.connect(url).await.unwrap());
    // It retries nothing, so it waits on a machine that is busy.
    context.set_timeout(TIME_MAX);
    let made = context.get_or_create_stream(stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{STREAM}.*")],
        max_bytes: 1 << 30,
        duplicate_window: Duration::from_secs(120),
        ..stream::Config::default()
    });
    let made = made.await.unwrap();
    let mut parts = tokio::task::JoinSet::new();
    for nth in 0..load.logs {
        match role.as_str() {
            PUBLISH => {
                let file = File::open(log(directory.as_ref(), nth)).unwrap();
                parts.spawn(publish(context.clone(), file, nth, load.bytes));
            }
            CONSUME => {
                let config = consumer::pull::Config {
                    ack_policy: consumer::AckPolicy::None,
                    filter_subject: format!("{STREAM}.{nth}"),
                    memory_storage: true,
                    ..consumer::pull::Config::default()
                };
                let consumer = made.create_consumer(config).await.unwrap();
                let mut viewer =
                    tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                viewer.write_all(&(nth as u64).to_be_bytes()).await.unwrap();
                let kept = File::create(log(directory.as_ref(), nth)).unwrap();
                parts.spawn(consume(consumer, viewer, kept));
            }
            _ => return false,
        }
    }
    println!("ready");
    parts.join_all().await;
    true
}

/// Publishes a file to its end, a message at a time.
async fn publish(context: jetstream::Context, file: File, nth: usize, bytes: u64) {
    let mut offset = 0;
    while offset < bytes {
        let mut piece = vec![0; MESSAGE_BYTES];
        let len = file.read_at(&mut piece, offset).unwrap();
        if len == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        piece.truncate(len);
        let mut headers = async_nats::HeaderMap::new();
        headers
            .insert("Nats-Msg-Id", format!("fe00-98e12e-8b12c6ff:{nth}:{offset}:{len}").as_str());
        headers.insert("Kind", "bytes");
        headers.insert("Path", format!("/var/log/bench/{nth}.log").as_str());
        headers.insert("Generation", "fe00-98e12e-8b12c6ff-100-37d6f74359c33354");
        headers.insert("Offset", offset.to_string().as_str());
        headers.insert("Written", "1764000000000");
        let sent =
            context.publish_with_headers(format!("{STREAM}.{nth}"), headers, Bytes::from(piece));
        sent.await.unwrap().await.unwrap();
        offset += len as u64;
    }
}

/// Keeps all that comes, and writes it to a viewer.
async fn consume(
    consumer: consumer::Consumer<consumer::pull::Config>,
    mut viewer: tokio::net::TcpStream,
    kept: File,
) {
    let pulling = consumer.stream().max_messages_per_batch(AHEAD).messages();
    let (mut messages, mut offset) = (pulling.await.unwrap(), 0);
    while let Some(message) = messages.next().await {
        let payload = message.unwrap().message.payload;
        kept.write_all_at(&payload, offset).unwrap();
        offset += payload.len() as u64;
        viewer.write_all(&payload).await.unwrap();
    }
}
