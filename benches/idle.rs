//! The cost of idle viewers, and of many viewers that connect at once.
//!
//! `cargo bench --bench idle`; words after `--` select from `memory`, `silence` and `herd`.
//! `VIEWERS=5000,9500` sets the numbers of viewers, `IDLE_SECONDS=60` the length of the silence.
//!
//! Memory is compared with a bare server: hyper answers the upgrade, and then one task waits for what
//! tungstenite reads. It sends nothing, so no server with these libraries takes less.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench panics at the first error, and prints its results"
)]

mod stage;

use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use stage::figures::{Figure, Goal};
use stage::{Client, Server, Stage, heading, is_wanted, number, row, setting, wait_until, words};

/// Viewers per client process; each takes a descriptor there.
const VIEWERS_A_CLIENT: u64 = 5000;
/// The pause before something of the server is read.
const REST: Duration = Duration::from_secs(2);
/// The pause before the memory of a server is read that viewers have just come to, in seconds. The
/// threads that have opened their log end 10 s after that.
const LONG_REST: u64 = 12;

fn sizes() -> Vec<u64> {
    let sizes = std::env::var("VIEWERS").unwrap_or_else(|_| "5000,9500".to_owned());
    sizes.split(',').map(|size| size.parse().unwrap()).collect()
}

/// Viewers that stay for this time, in as many processes as necessary.
fn crowd(
    server: &Server,
    urls: &[String],
    viewers: u64,
    protocol: &str,
    seconds: u64,
) -> Vec<Client> {
    let clients = viewers.div_ceil(VIEWERS_A_CLIENT);
    let share = |client| (viewers * (client + 1) / clients) - (viewers * client / clients);
    let start = |client| {
        let arguments = [
            format!("--viewers={}", share(client)),
            format!("--duration={seconds}"),
            format!("--protocol={protocol}"),
            "--ramp=2000".to_owned(),
        ];
        Client::start(urls, &[&arguments[..], &server.trust()].concat())
    };
    (0..clients).map(start).collect()
}

fn finish(clients: Vec<Client>) {
    for client in clients {
        let (report, wrong) = client.report();
        assert!(wrong.is_none(), "{wrong:?} {report:#}");
    }
}

fn kibibytes(bytes: f64) -> String {
    format!("{:.2}", bytes / 1024.0)
}

/// A server that only takes viewers, and tells how many there are. It prints its address.
#[tokio::main]
async fn bare() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}/", listener.local_addr().unwrap());
    let viewers = Arc::new(AtomicU64::new(0));
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let viewers = Arc::clone(&viewers);
        tokio::spawn(async move {
            let serving = hyper::service::service_fn(|mut request| {
                let answer = answer(&mut request, &viewers);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            // A client may end its connection in any way.
            let _ended =
                connection.serve_connection(TokioIo::new(socket), serving).with_upgrades().await;
        });
    }
}

/// The answer of the bare server to a viewer, or to anyone else.
fn answer(request: &mut Request<Incoming>, viewers: &Arc<AtomicU64>) -> Response<String> {
    if !request.headers().contains_key(header::UPGRADE) {
        let viewers = viewers.load(Ordering::Relaxed);
        return Response::new(format!("{{\"viewers\":{viewers}}}"));
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let viewers = Arc::clone(viewers);
    tokio::spawn(async move {
        let socket = upgrade.await.unwrap().downcast::<TokioIo<TcpStream>>().unwrap();
        tokio::spawn(wait(socket.io.into_inner(), viewers));
    });
    let mut bare = Request::new(());
    *bare.version_mut() = request.version();
    *bare.headers_mut() = request.headers().clone();
    create_response_with_body(&bare, String::new).unwrap()
}

/// Reads from a viewer until it leaves.
async fn wait(socket: TcpStream, viewers: Arc<AtomicU64>) {
    let config = WebSocketConfig::default().read_buffer_size(32).write_buffer_size(0);
    let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
    viewers.fetch_add(1, Ordering::Relaxed);
    while let Some(Ok(_)) = socket.next().await {}
    viewers.fetch_sub(1, Ordering::Relaxed);
}

/// The memory of a server in bytes: all that is resident, and that without the program's code, of which
/// the first viewers bring some into memory.
#[derive(Clone, Copy)]
struct Memory {
    resident: f64,
    anonymous: f64,
}

impl Memory {
    fn of(server: &Server) -> Self {
        Self { resident: server.rss(), anonymous: server.anonymous() }
    }

    /// How much more there is than before, for each of the viewers.
    fn each(self, before: Self, viewers: u64) -> Self {
        let each = |now: f64, before: f64| (now - before) / viewers as f64;
        Self {
            resident: each(self.resident, before.resident),
            anonymous: each(self.anonymous, before.anonymous),
        }
    }
}

/// Memory of the bare server per viewer.
fn memory_of_bare(stage: &Stage, viewers: u64) -> Memory {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("serve-bare");
    let server = Server::start(command);
    std::thread::sleep(REST);
    let before = Memory::of(&server);
    let log = stage.log("bare.log");
    let clients = crowd(&server, &[server.url(&log)], viewers, "original", LONG_REST + 10);
    wait_until("all viewers are connected", || server.viewers() == viewers);
    std::thread::sleep(Duration::from_secs(LONG_REST));
    let there = Memory::of(&server);
    drop(server);
    for client in clients {
        // It complains that its server is gone.
        let _report = client.report();
    }
    there.each(before, viewers)
}

/// Memory per viewer: idle, and after a broadcast.
fn memory(stage: &Stage) {
    println!("\n## memory per idle viewer, of the whole process, in KiB\n");
    row(&[
        &"viewers",
        &"protocol",
        &"before, MiB",
        &"per viewer",
        &"without the program's code",
        &"per viewer after 64 KiB to all",
    ]);
    println!("|---|---|---|---|---|---|");
    for viewers in sizes() {
        let bare = memory_of_bare(stage, viewers);
        let (resident, anonymous) = (kibibytes(bare.resident), kibibytes(bare.anonymous));
        row(&[&viewers, &"bare server", &"", &resident, &anonymous, &""]);
        for (name, protocol) in [("original", "original"), ("v1", "v1"), ("v1 with TLS", "v1")] {
            let log = stage.log("a.log");
            let server = match name {
                "v1 with TLS" => Server::tailcast_tls(stage.path()),
                _ => Server::tailcast(stage.path()),
            };
            std::thread::sleep(REST);
            let before = Memory::of(&server);
            let seconds = LONG_REST + 20;
            let clients = crowd(&server, &[server.url(&log)], viewers, protocol, seconds);
            wait_until("all viewers are connected", || server.viewers() == viewers);
            std::thread::sleep(Duration::from_secs(LONG_REST));
            let each = Memory::of(&server).each(before, viewers);
            append(&log, 64 * 1024);
            std::thread::sleep(REST);
            let after = Memory::of(&server).each(before, viewers);
            row(&[
                &viewers,
                &name,
                &format!("{:.1}", before.resident / 1048576.0),
                &kibibytes(each.resident),
                &kibibytes(each.anonymous),
                &kibibytes(after.resident),
            ]);
            let what = format!("memory of one of {viewers} idle viewers, {name}");
            let goal = if name == "v1 with TLS" { 16.0 } else { 2.0 };
            let (ours, theirs) = (each.resident / 1024.0, bare.resident / 1024.0);
            Figure::new(what, ours, "KiB")
                .beside("a bare server", theirs, ours / theirs)
                .goal(Goal::AtMost(goal))
                .note();
            finish(clients);
        }
    }
}

/// Appends lines of this size in one write.
fn append(log: &Path, bytes: usize) {
    let line = "a line of a log that is quite as long as most lines of logs are\n";
    let text = line.repeat(bytes / line.len());
    std::fs::File::options().append(true).open(log).unwrap().write_all(text.as_bytes()).unwrap();
}

/// CPU of viewers of silent logs, with their heartbeats.
fn silence(stage: &Stage) {
    let seconds = setting("IDLE_SECONDS", 60);
    let logs: Vec<PathBuf> =
        (0..100).map(|number| stage.log(&format!("silent-{number}.log"))).collect();
    let server = Server::tailcast(stage.path());
    let urls: Vec<String> = logs.iter().map(|log| server.url(log)).collect();
    let viewers = VIEWERS_A_CLIENT;
    let clients = crowd(&server, &urls, viewers, "original", seconds + 10);
    wait_until("all viewers are connected", || server.viewers() == viewers);
    std::thread::sleep(REST);
    let before = server.cpu();
    std::thread::sleep(Duration::from_secs(seconds));
    let used = server.cpu() - before;
    let share = 100.0 * used / seconds as f64;
    println!("\n## silence\n");
    println!(
        "{viewers} viewers of 100 silent logs, {seconds} s, a heartbeat every 15 s: \
         {used:.2} s of CPU, {share:.2} % of a core"
    );
    finish(clients);
}

/// All viewers connect at once, each with a history of 1,000 lines, twice.
fn herd(stage: &Stage) {
    println!("\n## all viewers at once, each with 1,000 lines of history\n");
    row(&[
        &"viewers",
        &"format",
        &"time",
        &"all up to date after, s",
        &"p50, s",
        &"peak RSS, + MiB",
        &"RSS after, + MiB",
        &"server CPU, s",
    ]);
    println!("|---|---|---|---|---|---|---|---|");
    let log = stage.log("herd.log");
    append(&log, 16 << 20);
    for format in ["raw", "rows"] {
        let server = Server::tailcast(stage.path());
        let before = server.rss();
        for which in ["first", "again"] {
            server.forget_peak();
            let cpu = server.cpu();
            let viewers = VIEWERS_A_CLIENT;
            let arguments = [
                format!("--viewers={viewers}"),
                "--ramp=0".to_owned(),
                "--lines=1000".to_owned(),
                "--duration=1".to_owned(),
                "--protocol=v1".to_owned(),
            ];
            let url = format!("{}?format={format}", server.url(&log));
            let (report, wrong) = stage::load(url, &arguments);
            assert!(wrong.is_none(), "{wrong:?} {report:#}");
            assert_eq!(number(&report, "/viewers/live"), viewers as f64, "{report:#}");
            let cpu = server.cpu() - cpu;
            let peak = server.peak();
            let gone = Instant::now();
            wait_until("all viewers are gone", || server.viewers() == 0);
            assert!(gone.elapsed() < Duration::from_secs(10));
            row(&[
                &viewers,
                &format,
                &which,
                &format!("{:.2}", number(&report, "/viewers/seconds_until_live")),
                &format!("{:.2}", number(&report, "/viewers/join_ms/p50") / 1000.0),
                &format!("{:.1}", (peak - before) / 1048576.0),
                &format!("{:.1}", (server.rss() - before) / 1048576.0),
                &format!("{cpu:.2}"),
            ]);
        }
    }
}

fn main() {
    if words().first().is_some_and(|mode| mode == "serve-bare") {
        return bare();
    }
    heading("idle");
    let stage = Stage::new();
    for (name, part) in [
        ("memory", memory as fn(&Stage)),
        ("silence", silence as fn(&Stage)),
        ("herd", herd as fn(&Stage)),
    ] {
        if is_wanted(name) {
            part(&stage);
        }
    }
}
