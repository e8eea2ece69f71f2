//! `tailcast serve`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::{failure, raise_descriptor_limit};
use crate::log::Access;
use crate::serve::{Heartbeat, Server, Settings};

/// Serve the logs under these directories or files
#[derive(Debug, clap::Args)]
#[command(after_help = "A log's URL is its absolute path: http://127.0.0.1:8765/var/log/syslog\n\
                        Messages goes to stderr; TAILCAST_LOG=debug says more.")]
pub(super) struct Arguments {
    /// Directories or files that may be read [default: the current directory]
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<PathBuf>,

    /// The same, repeatable, for one directory or file each [env: TAILCAST_PREFIX, several separated by `:`]
    #[arg(long = "prefix", value_name = "PREFIX")]
    more_prefixes: Vec<PathBuf>,

    /// Address or name to listen on
    #[arg(long, default_value = "127.0.0.1", env = "TAILCAST_HOST")]
    host: String,

    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8765, env = "TAILCAST_PORT")]
    port: u16,

    /// Origin of a page on another server that may connect, as http://host:port; repeatable
    #[arg(
        long = "allow-origin",
        value_name = "URL",
        env = "TAILCAST_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    allow_origins: Vec<String>,

    /// Name by which browsers may call this server, besides addresses and localhost; repeatable
    #[arg(
        long = "allow-host",
        value_name = "NAME",
        env = "TAILCAST_ALLOW_HOST",
        value_delimiter = ','
    )]
    allow_hosts: Vec<String>,

    /// How to notice viewers that are gone: `ping` (of the WebSocket protocol), `text` (the original's messages), a
    /// number of seconds between pings, or `0` for not at all
    #[arg(long, default_value = "ping", value_parser = heartbeat, env = "TAILCAST_HEARTBEAT")]
    heartbeat: (Heartbeat, Duration),

    /// Viewers at once, of all logs together
    #[arg(long, default_value_t = 10_000, value_name = "N", env = "TAILCAST_MAX_VIEWERS")]
    max_viewers: usize,

    /// Seconds after which a viewer that takes nothing is closed (code 4408); more than 0
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = positive_seconds, env = "TAILCAST_STALL_TIMEOUT")]
    stall_timeout: f64,

    /// Deflate messages for viewers that offer to take them so, as browsers do: `auto`, or `off`
    #[arg(
        long,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        env = "TAILCAST_COMPRESS"
    )]
    compress: Compress,

    /// Seconds for which a file that was rotated away is still heard
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = seconds, env = "TAILCAST_ROTATE_WAIT")]
    rotate_wait: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Compress {
    Auto,
    Off,
}

const INTERVAL: Duration = Duration::from_secs(15);
const LIMITS: &str = "look at the limits of this user, `ulimit -a`";

fn heartbeat(text: &str) -> Result<(Heartbeat, Duration), String> {
    match text {
        "ping" => Ok((Heartbeat::Ping, INTERVAL)),
        "text" => Ok((Heartbeat::Text, INTERVAL)),
        "0" | "off" => Ok((Heartbeat::Off, INTERVAL)),
        number => match number.parse() {
            Ok(seconds @ 1..=86_400) => Ok((Heartbeat::Ping, Duration::from_secs(seconds))),
            _ => Err("expected `ping`, `text`, `0`, or a number of seconds".to_owned()),
        },
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, at most 3600".to_owned()),
    }
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    match seconds(text) {
        Ok(seconds) if seconds > 0.0 => Ok(seconds),
        Ok(_) => Err("expected more than 0 seconds: 0 would close every viewer at once".to_owned()),
        Err(error) => Err(error),
    }
}

/// Serves until a signal ends it.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    talk();
    let mut prefixes = arguments.prefixes;
    if arguments.more_prefixes.is_empty() {
        prefixes.extend(prefixes_of_environment());
    } else {
        prefixes.extend(arguments.more_prefixes);
    }
    if prefixes.is_empty() {
        prefixes.push(PathBuf::from("."));
    }
    let access = Access::new(prefixes).map_err(|error| failure(&error, error.hint()))?;
    let (heartbeat, heartbeat_interval) = arguments.heartbeat;
    let mut allow_hosts = arguments.allow_hosts;
    allow_hosts.push(arguments.host.clone());
    let settings = Settings {
        heartbeat,
        heartbeat_interval,
        max_viewers: arguments.max_viewers,
        allow_origins: arguments.allow_origins,
        allow_hosts,
        compress: arguments.compress == Compress::Auto,
        stall_timeout: Duration::from_secs_f64(arguments.stall_timeout),
        rotate_wait: Duration::from_secs_f64(arguments.rotate_wait),
        ..Settings::default()
    };
    make_room(arguments.max_viewers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| failure(format!("can't start: {error}"), LIMITS))?;
    let served = runtime.block_on(async {
        let shutdown = signals()
            .map_err(|error| failure(format!("can't listen to signals: {error}"), LIMITS))?;
        let listener = bind(&arguments.host, arguments.port).await?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(&arguments.host, arguments.port, &error))?;
        for prefix in access.prefixes() {
            tracing::info!(prefix = %prefix.display(), "serving");
        }
        announce(address);
        let ended = Server::new(access, settings).serve(listener, shutdown).await;
        ended.map_err(|error| cannot_listen(&arguments.host, arguments.port, &error))
    });
    // A read that hangs on a dead disk must not hold the end up.
    runtime.shutdown_background();
    served
}

/// The prefixes that `TAILCAST_PREFIX` names, as `PATH` names directories. A `:` on the command line is part of a name.
fn prefixes_of_environment() -> Vec<PathBuf> {
    let value = std::env::var_os("TAILCAST_PREFIX").unwrap_or_default();
    std::env::split_paths(&value).filter(|prefix| !prefix.as_os_str().is_empty()).collect()
}

/// Starts the talk on stderr.
fn talk() {
    let filter = EnvFilter::try_from_env("TAILCAST_LOG")
        .unwrap_or_else(|_| EnvFilter::new("tailcast=info,warn"));
    let colours = io::IsTerminal::is_terminal(&io::stderr());
    // A second subscriber in one process changes nothing.
    let _first = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .try_init();
}

/// Connections that may wait to be accepted, as far as the system allows (`net.core.somaxconn`). When all viewers come
/// back at once, those that find no place here come again after 1, 3, 7, 15, 31 seconds.
const BACKLOG: u32 = 16_384;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let bind = async {
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for address in lookup_host((bare, port)).await? {
            match listen(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    bind.await.map_err(|error| cannot_listen(host, port, &error))
}

fn cannot_listen(host: &str, port: u16, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has the port: give `--port 0` for a free one".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for root: give `--port 8765`".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "`{host}` is no address of this machine: give `--host 127.0.0.1`, or `--host 0.0.0.0` for all"
            )
        }
        _ => format!("look up whether `{host}` is a name or address of this machine"),
    };
    failure(format!("can't listen on {host}:{port}: {error}"), hint)
}

/// Prints the address as a link, now that it is bound.
fn announce(address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let link = SocketAddr::new(ip, address.port());
    let mut out = io::stdout().lock();
    // With stdout closed the server serves all the same.
    if let Err(error) = writeln!(out, "http://{link}/").and_then(|()| out.flush()) {
        tracing::debug!(%error, "can't print the address");
    }
}

/// Done at the first SIGTERM or SIGINT. The second ends the process at once.
fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending: sending what has been written; a second signal ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            leave_at_once();
        });
    })
}

#[expect(clippy::exit, reason = "the second signal is a wish to be rid of the process now")]
fn leave_at_once() {
    std::process::exit(130);
}

/// Each viewer is a descriptor; the rest is for logs and connections that come and go.
fn make_room(viewers: usize) {
    let wanted = viewers as u64 + 1024;
    let limit = raise_descriptor_limit(wanted);
    if limit < wanted {
        tracing::warn!(limit, "room for fewer than {viewers} viewers; hint: raise `ulimit -n`");
    }
}
