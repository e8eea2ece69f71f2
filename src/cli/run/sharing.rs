//! Serves the output of a command while it runs, and until its viewers have it.

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::cli::failure::Failure;
use crate::cli::listen::{Bound, ListenAddress};
use crate::cli::run::{Wanted, say};
use crate::cli::{AccessLogFormat, init_logging, reserve_descriptors};
use crate::log::Access;
use crate::serve::{Handle, Listener, Listeners, Server, Settings, path_in_url};
use crate::source::run::Signals;

/// Where the output is served if nobody says otherwise.
const HOST: &str = "127.0.0.1";
const PORT: u16 = 8765;
/// How long viewers have after the end to take the rest. With what the server needs to end, it is
/// less than 10 s.
const REST_TIMEOUT: Duration = Duration::from_secs(9);
/// An address of no machine (RFC 5737). Nothing is sent there: the kernel only says from which of our
/// addresses it would be.
const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);

/// A server of one file.
pub(super) struct Sharing {
    handle: Handle,
    /// The path of the log.
    path: PathBuf,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
    /// Keeps the file of a unix socket.
    _bound: Bound,
}

impl Sharing {
    /// Serves a file from now on, and prints its address.
    pub(super) async fn start(wanted: &Wanted, file: &Path, qr: bool) -> Result<Self, Failure> {
        init_logging("tailcast=error", AccessLogFormat::Off);
        let mut bound = bind(wanted).await?;
        let access = Access::new([file]).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error, hint)
        })?;
        let path = access.prefixes().into_iter().next().unwrap_or_else(|| file.to_owned());
        let allow_hosts = match wanted {
            Wanted::At(address) => address.host().map(ToOwned::to_owned).into_iter().collect(),
            Wanted::Anywhere => Vec::new(),
        };
        let settings =
            Settings { allow_hosts, shutdown_timeout: REST_TIMEOUT, ..Settings::default() };
        reserve_descriptors(settings.max_viewers);
        let server = Server::new(access, settings);
        let url_path = path_in_url(&path);
        let links: Vec<String> = links(&bound).map(|link| format!("{link}{url_path}")).collect();
        for link in &links {
            say(link);
        }
        if bound.is_reachable() {
            say("everybody who can reach this machine can read the output there");
        }
        if let Some(link) = links.last().filter(|_| qr) {
            print_code(link);
        }
        let (handle, stop) = (server.handle(), CancellationToken::new());
        let listeners: Listeners = std::mem::take(&mut bound.listeners).into_iter().collect();
        let serving = tokio::spawn(server.serve(listeners, stop.clone().cancelled_owned()));
        Ok(Self { handle, path, stop, serving, _bound: bound })
    }

    /// Tells the viewers the end. Serves for this long, or until a signal, and then until the viewers
    /// have everything.
    pub(super) async fn end(self, linger: Duration, signals: &mut Signals) {
        self.handle.complete_log(&self.path);
        if !linger.is_zero() {
            say(&format!("serving for {} more; Ctrl-C ends it", crate::source::span::Span(linger)));
        }
        let until = Instant::now() + linger;
        let interrupted = async { while !Signals::is_final(signals.next().await) {} };
        tokio::select! {
            () = sleep_until(until) => {}
            () = interrupted => {}
        }
        self.stop.cancel();
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => say(&format!("cannot serve: {error}")),
            Err(error) => say(&format!("cannot serve: {error}")),
        }
    }
}

/// Listens where that is wanted. A taken port is no reason not to run a command if nobody has named
/// it.
async fn bind(wanted: &Wanted) -> Result<Bound, Failure> {
    let tcp = |port| ListenAddress::Tcp { host: HOST.to_owned(), port };
    match wanted {
        Wanted::At(address) => Bound::to(std::slice::from_ref(address), "http").await,
        Wanted::Anywhere => match Bound::to(&[tcp(PORT)], "http").await {
            Ok(bound) => Ok(bound),
            Err(_taken) => Bound::to(&[tcp(0)], "http").await,
        },
    }
}

/// The addresses that others can use, the most useful one last: where the server listens on all
/// addresses of this machine, that is the one by which this machine reaches others.
fn links(bound: &Bound) -> impl Iterator<Item = String> {
    let outside = bound.listeners.iter().filter_map(|listener| match listener {
        Listener::Tcp(listener) => listener.local_addr().ok(),
        Listener::Unix(_) => None,
    });
    let outside = outside.filter(|address| address.ip().is_unspecified());
    let outside = outside.filter_map(|address| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect(ELSEWHERE).ok()?;
        Some(SocketAddr::new(socket.local_addr().ok()?.ip(), address.port()))
    });
    let outside: Vec<String> = outside.map(|address| format!("http://{address}")).collect();
    bound.links.clone().into_iter().chain(outside)
}

/// Prints a link as a QR code: light squares on a dark ground, whatever the colours of the terminal.
fn print_code(link: &str) {
    let Ok(code) = QrCode::new(link) else {
        return say("the address is too long for a QR code");
    };
    let image =
        code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let (begin, end) =
        if io::stderr().is_terminal() { ("\x1b[97;40m", "\x1b[m") } else { ("", "") };
    let mut stderr = io::stderr().lock();
    for line in image.lines() {
        // If stderr is closed there is no place left to print it.
        let _printed = writeln!(stderr, "{begin}{line}{end}");
    }
}
