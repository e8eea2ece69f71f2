//! A network between programs that delays, halves, holds up and cuts what goes over it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::servers::pace;

/// The most bytes that are taken at once.
const PIECE_BYTES: usize = 16 * 1024;
/// So many failures are remembered.
const FAILURES_MAX: usize = 20;
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A place that passes on what comes, and what is done to it.
pub struct Proxy {
    pub port: u16,
    weather: Arc<Weather>,
    accepting: JoinHandle<()>,
}

/// What is done to all connections now.
struct Weather {
    /// Each piece waits for so many milliseconds.
    delay: AtomicU64,
    /// Each piece is written in two parts, with a pause between.
    halves: AtomicBool,
    /// Nothing is taken and nothing is passed on.
    holds: watch::Sender<bool>,
    /// New connections end at once.
    refuses: AtomicBool,
    /// Grows when all connections are cut.
    cuts: watch::Sender<u64>,
    /// How many connections came.
    came: AtomicU64,
    /// Why some of them, or those to the other side, could not be had.
    failures: Mutex<Vec<String>>,
}

impl Weather {
    fn fail(&self, what: &str, error: &std::io::Error) {
        let mut failures = self.failures.lock().unwrap();
        if failures.len() < FAILURES_MAX {
            failures.push(format!("{what}: {error}"));
        }
    }
}

impl Proxy {
    /// A proxy before a port of this machine.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let weather = Arc::new(Weather {
            delay: AtomicU64::new(0),
            halves: AtomicBool::new(false),
            holds: watch::channel(false).0,
            refuses: AtomicBool::new(false),
            cuts: watch::channel(0).0,
            came: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, port, Arc::clone(&weather)));
        Self { port: own, weather, accepting }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Each piece waits for so long.
    pub fn delay(&self, time: Duration) {
        self.weather.delay.store(time.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether each piece is written in two parts.
    pub fn halve(&self, halves: bool) {
        self.weather.halves.store(halves, Ordering::Relaxed);
    }

    /// Whether nothing goes through, while all connections stay.
    pub fn hold(&self, holds: bool) {
        self.weather.holds.send_replace(holds);
    }

    /// Whether new connections end at once.
    pub fn refuse(&self, refuses: bool) {
        self.weather.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Ends all connections, in the middle of what they carry.
    pub fn cut(&self) {
        self.weather.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// What became of the connections, in words.
    pub fn said(&self) -> String {
        let Weather { came, failures, .. } = &*self.weather;
        let (came, failures) = (came.load(Ordering::Relaxed), failures.lock().unwrap());
        format!("a proxy of {came} connections with the failures {failures:?}")
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        self.delay(Duration::ZERO);
        self.halve(false);
        self.refuse(false);
        self.hold(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, port: u16, weather: Arc<Weather>) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // There are too many descriptors, maybe.
                weather.fail("accept", &error);
                pace(RETRY_INTERVAL).await;
                continue;
            }
        };
        weather.came.fetch_add(1, Ordering::Relaxed);
        if weather.refuses.load(Ordering::Relaxed) {
            continue;
        }
        let weather = Arc::clone(&weather);
        tokio::spawn(async move {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let mut cuts = weather.cuts.subscribe();
            let server = match TcpStream::connect(address).await {
                Ok(server) => server,
                Err(error) => return weather.fail("connect", &error),
            };
            for socket in [&client, &server] {
                socket.set_nodelay(true).ok();
                // What was not sent is lost, and the other side hears it at once.
                socket.set_zero_linger().ok();
            }
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, &weather) => {}
                () = pass(from_server, to_client, &weather) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    weather: &Weather,
) {
    let mut piece = vec![0; PIECE_BYTES];
    let mut holds = weather.holds.subscribe();
    loop {
        let Ok(len @ 1..) = from.read(&mut piece).await else { return };
        let delay = weather.delay.load(Ordering::Relaxed);
        if delay > 0 {
            pace(Duration::from_millis(delay)).await;
        }
        let first = if weather.halves.load(Ordering::Relaxed) { len / 2 } else { len };
        for part in [&piece[..first], &piece[first..len]] {
            if holds.wait_for(|holds| !holds).await.is_err() || to.write_all(part).await.is_err() {
                return;
            }
            if first < len {
                pace(Duration::from_millis(1)).await;
            }
        }
    }
}
