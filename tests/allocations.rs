//! A delivery to a viewer allocates no memory, and neither does a line that is rendered. A viewer
//! that waits keeps little.
//!
//! This is a test program of its own, because it counts with its own allocator. The allocator
//! counts for one thread, on which the whole server runs, except its file reads. The viewers run on
//! another thread.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test ends with the first thing that is wrong"
)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use allocation_counter::measure;
use tailcast::log::Access;
use tailcast::render::Terminal;
use tailcast::serve::{Server, Settings};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const VIEWERS: usize = 100;
/// The lines of each round.
const LINES: usize = 100;
/// The first round is not counted.
const ROUNDS: usize = 4;
/// The batches in which viewers join. A read may free on its thread what was allocated on the server's,
/// or the other way round, so single batches deviate.
const BATCHES: usize = 9;
/// What a viewer keeps while it waits, without what the allocator adds.
const KEPT_BYTES_MAX: i64 = 1408;
/// What a viewer takes for a moment while it joins.
const JOINING_BYTES_MAX: u64 = 36 * 1024;
/// The longest wait for an expected event.
const DEADLINE: Duration = Duration::from_secs(20);

/// A minimal viewer.
struct Viewer {
    socket: BufReader<TcpStream>,
    message: Vec<u8>,
}

impl Viewer {
    fn open(address: SocketAddr, log: &Path, protocol: &str) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = format!(
            "GET {}?tail=1&lines=1 HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n",
            log.display(),
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut viewer = Self { socket: BufReader::new(socket), message: Vec::new() };
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert_ne!(viewer.socket.read_line(&mut line).unwrap(), 0, "it was refused");
        }
        viewer
    }

    /// Reads messages up to the one that contains this text.
    fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.message).contains(text) {
            let mut head = [0; 2];
            self.socket.read_exact(&mut head).unwrap();
            let mut long = [0; 2];
            let len = match head[1] {
                126 => {
                    self.socket.read_exact(&mut long).unwrap();
                    usize::from(u16::from_be_bytes(long))
                }
                len => usize::from(len),
            };
            self.message.resize(len, 0);
            self.socket.read_exact(&mut self.message).unwrap();
        }
    }
}

/// Writes the lines of a round, each after all viewers have received the one before. They are so long that
/// the server's thread writes them to the viewers, and not that of the follower, of which nothing is counted.
fn deliver(log: &mut File, viewers: &mut [Viewer], round: usize) {
    for number in 0..LINES {
        let line = format!("round {round} line {number}; {}\n", "x".repeat(5000));
        log.write_all(line.as_bytes()).unwrap();
        viewers.iter_mut().for_each(|viewer| viewer.until(line.trim_end()));
    }
}

/// A server with one log, on one thread.
struct Scene {
    directory: tempfile::TempDir,
    runtime: Runtime,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.log"), b"start;\n").unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let settings =
            Settings { heartbeat_interval: Duration::from_secs(3600), ..Settings::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(Server::new(access, settings).serve(listener, async {
            stopped.await.ok();
        }));
        Self { directory, runtime, address, stop, serving }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("a.log")
    }

    fn end(self) {
        self.stop.send(()).unwrap();
        self.runtime.block_on(self.serving).unwrap().unwrap();
    }
}

/// The number of allocations while this many viewers received the lines of a round, in the round
/// with the fewest. Allocations for each delivery occur in every round, occasional ones do not.
fn allocations(viewers: usize, protocol: &'static str) -> u64 {
    let scene = Scene::new();
    let (address, path) = (scene.address, scene.log());
    let mut log = File::options().append(true).open(&path).unwrap();
    let (begin, begun) = mpsc::channel();
    let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
    let crowd = std::thread::spawn(move || {
        let mut viewers: Vec<Viewer> =
            (0..viewers).map(|_| Viewer::open(address, &path, protocol)).collect();
        viewers.iter_mut().for_each(|viewer| viewer.until("start;"));
        for round in begun {
            deliver(&mut log, &mut viewers, round);
            done.send(()).unwrap();
        }
    });
    let rounds: Vec<u64> = (0..ROUNDS)
        .map(|round| {
            let spent = measure(|| {
                begin.send(round).unwrap();
                scene.runtime.block_on(is_done.recv()).unwrap();
            });
            spent.count_total
        })
        .collect();
    drop(begin);
    crowd.join().unwrap();
    scene.end();
    eprintln!("{viewers} viewers: {rounds:?}");
    rounds.into_iter().skip(1).min().unwrap()
}

#[test]
fn a_viewer_that_waits_keeps_little_and_joining_takes_no_large_block() {
    for (protocol, head) in [("", ""), ("v1", "Sec-WebSocket-Protocol: tailcast.v1\r\n")] {
        let scene = Scene::new();
        let (address, path) = (scene.address, scene.log());
        let (done, mut is_done) = tokio::sync::mpsc::unbounded_channel();
        let (leave, left) = mpsc::channel::<()>();
        let crowd = std::thread::spawn(move || {
            let mut viewers = Vec::new();
            // The first one makes what all have in common.
            for batch in [1].into_iter().chain([VIEWERS; BATCHES]) {
                for _ in 0..batch {
                    let mut viewer = Viewer::open(address, &path, head);
                    viewer.until("start;");
                    viewers.push(viewer);
                }
                done.send(()).unwrap();
            }
            left.recv().unwrap_err();
        });
        scene.runtime.block_on(is_done.recv()).unwrap();
        let mut kept = [0; BATCHES];
        let mut moments = [0; BATCHES];
        for (kept, moment) in kept.iter_mut().zip(&mut moments) {
            let spent = measure(|| scene.runtime.block_on(is_done.recv()).unwrap());
            *kept = spent.bytes_current / VIEWERS as i64;
            *moment = spent.bytes_max - spent.bytes_current.unsigned_abs();
        }
        eprintln!("{protocol:?}: {kept:?} bytes a viewer, {moments:?} for a moment");
        kept.sort_unstable();
        moments.sort_unstable();
        let (kept, moment) = (kept[BATCHES / 2], moments[BATCHES / 2]);
        assert!(kept <= KEPT_BYTES_MAX, "{protocol:?}: a viewer keeps {kept} bytes");
        // A large block would leave a hole between what stays, which no other block may fill.
        assert!(moment <= JOINING_BYTES_MAX, "{protocol:?}: joining takes {moment} bytes");
        drop(leave);
        crowd.join().unwrap();
        scene.end();
    }
}

#[test]
fn a_delivery_allocates_nothing() {
    for protocol in ["", "Sec-WebSocket-Protocol: tailcast.v1\r\n"] {
        let (some, twice) = (allocations(VIEWERS, protocol), allocations(2 * VIEWERS, protocol));
        let more = twice.saturating_sub(some) as f64 / (LINES * VIEWERS) as f64;
        // On a busy machine a line may take another path than the one before, which costs a few
        // allocations for each line.
        assert!(
            more < 0.1,
            "{protocol:?}: {some} for {VIEWERS} viewers, {twice} for twice as many"
        );
    }
}

/// Feeds a log to a terminal in pieces, as a session does, and writes its rows as HTML.
fn render(terminal: &mut Terminal, log: &str, html: &mut String) {
    for piece in log.as_bytes().chunks(8 * 1024) {
        html.clear();
        terminal.feed(piece).rows().for_each(|row| row.write_html(html));
    }
}

#[test]
fn lines_are_rendered_without_allocations() {
    const LINES: usize = 2000;
    let plain = |number| format!("2026-03-14T15:09:26Z request {number} took 3 ms\n");
    // It begins like a line with a stamp of GitLab.
    let coloured = |number| {
        format!("2026-03-14T15:09:26.{number:06}Z \x1b[32mINFO\x1b[0m took \x1b[1m3\x1b[0m ms\n")
    };
    let logs: [String; 2] = [(0..LINES).map(plain).collect(), (0..LINES).map(coloured).collect()];
    for log in logs {
        let (mut terminal, mut html) = (Terminal::new(0), String::with_capacity(1 << 20));
        render(&mut terminal, &log, &mut html);
        let spent = measure(|| render(&mut terminal, &log, &mut html)).count_total;
        // A line that is cut between two pieces may need larger buffers than the lines before it.
        assert!(spent < LINES as u64 / 20, "{spent} allocations for {LINES} lines");
    }
}
