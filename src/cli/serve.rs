//! `tailcast serve`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::{Failure, OrFail};
use crate::cli::{HINT_LIMITS, init_logging, raise_descriptor_limit};
use crate::log::Access;
use crate::serve::{HEARTBEAT_INTERVAL, Heartbeat, Server, Settings};

/// Serve log files to browsers, terminals and scripts
#[derive(Debug, clap::Args)]
#[command(after_help = "A log's URL is its absolute path: http://127.0.0.1:8765/var/log/syslog\n\
                        `/` lists all logs. Log output goes to stderr; TAILCAST_LOG=debug shows more.\n\n\
                        Exit codes: 0 after SIGTERM or Ctrl-C, 2 wrong arguments")]
pub(super) struct Arguments {
    /// Directories and files to serve [default: the current directory]
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<PathBuf>,

    /// A directory or file to serve, like PREFIX; can be given more than once
    /// [env: TAILCAST_PREFIX, several separated by `:`]
    #[arg(long = "prefix", value_name = "PREFIX")]
    more_prefixes: Vec<PathBuf>,

    /// Address or host name to listen on
    #[arg(long, default_value = "127.0.0.1", env = "TAILCAST_HOST")]
    host: String,

    /// Port to listen on; 0 picks a free port
    #[arg(long, default_value_t = 8765, env = "TAILCAST_PORT")]
    port: u16,

    /// Allow pages of another server to connect, by their origin (http://host:port); can be given
    /// more than once
    #[arg(
        long = "allow-origin",
        value_name = "URL",
        env = "TAILCAST_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    allow_origins: Vec<String>,

    /// Allow a host name in the URL of this server, besides IP addresses and localhost; can be
    /// given more than once
    #[arg(
        long = "allow-host",
        value_name = "NAME",
        env = "TAILCAST_ALLOW_HOST",
        value_delimiter = ','
    )]
    allow_hosts: Vec<String>,

    /// How to detect viewers that are gone: `ping` (WebSocket pings every 15 s), `text` (text
    /// messages, as the original server sends them), a number of seconds between pings, or `0` for
    /// never
    #[arg(long, default_value = "ping", value_parser = heartbeat, env = "TAILCAST_HEARTBEAT")]
    heartbeat: (Heartbeat, Duration),

    /// Maximum number of viewers, of all logs together
    #[arg(long, default_value_t = 10_000, value_name = "N", env = "TAILCAST_MAX_VIEWERS")]
    max_viewers: usize,

    /// Close a viewer (code 4408) that has read nothing for this many seconds; more than 0
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = positive_seconds, env = "TAILCAST_STALL_TIMEOUT")]
    stall_timeout: f64,

    /// Compress messages for viewers that support it, as browsers do: `auto` or `off`
    #[arg(
        long,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        env = "TAILCAST_COMPRESS"
    )]
    compress: Compress,

    /// Keep reading a rotated file for this many seconds, since writers reopen late
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = seconds, env = "TAILCAST_ROTATE_WAIT")]
    rotate_wait: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Compress {
    Auto,
    Off,
}

fn heartbeat(text: &str) -> Result<(Heartbeat, Duration), String> {
    match text {
        "ping" => Ok((Heartbeat::Ping, HEARTBEAT_INTERVAL)),
        "text" => Ok((Heartbeat::Text, HEARTBEAT_INTERVAL)),
        "0" | "off" => Ok((Heartbeat::Off, HEARTBEAT_INTERVAL)),
        number => match number.parse() {
            Ok(seconds @ 1..=86_400) => Ok((Heartbeat::Ping, Duration::from_secs(seconds))),
            _ => Err("expected `ping`, `text`, `0`, or a number of seconds".to_owned()),
        },
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds from 0 to 3600".to_owned()),
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
pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    init_logging("tailcast=info,warn");
    let mut prefixes = arguments.prefixes;
    if arguments.more_prefixes.is_empty() {
        prefixes.extend(prefixes_of_environment());
    } else {
        prefixes.extend(arguments.more_prefixes);
    }
    if prefixes.is_empty() {
        prefixes.push(PathBuf::from("."));
    }
    let access = Access::new(prefixes).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error, hint)
    })?;
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
    reserve_descriptors(arguments.max_viewers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_usage(HINT_LIMITS)?;
    let served = runtime.block_on(async {
        let shutdown = signals().context("cannot handle signals").or_usage(HINT_LIMITS)?;
        let (host, port) = (&arguments.host, arguments.port);
        let cannot_listen = |error| cannot_listen(host, port, error);
        let listener = bind(host, port).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        for prefix in access.prefixes() {
            tracing::info!(prefix = %prefix.display(), "serving");
        }
        announce(address);
        Server::new(access, settings).serve(listener, shutdown).await.map_err(cannot_listen)
    });
    // A read that hangs on a dead disk must not delay the exit.
    runtime.shutdown_background();
    served
}

/// The prefixes that `TAILCAST_PREFIX` names, separated like the directories in `PATH`. On the
/// command line a `:` is part of a name.
fn prefixes_of_environment() -> Vec<PathBuf> {
    let value = std::env::var_os("TAILCAST_PREFIX").unwrap_or_default();
    std::env::split_paths(&value).filter(|prefix| !prefix.as_os_str().is_empty()).collect()
}

/// The length of the accept queue, as far as `net.core.somaxconn` allows. When all viewers
/// reconnect at once, those that find no place try again after 1, 3, 7, 15 and 31 s.
const BACKLOG: u32 = 16_384;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on the first address of the host on which that succeeds.
async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in lookup_host((bare, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn cannot_listen(host: &str, port: u16, error: io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses the port: give `--port 0` for a free one".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "only root can listen on ports below 1024: give `--port 8765`".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "`{host}` is not an address of this machine: give `--host 127.0.0.1`, or \
             `--host 0.0.0.0` for all addresses"
        ),
        _ => format!("check that `{host}` is a name or an address of this machine"),
    };
    let error = anyhow::Error::new(error).context(format!("cannot listen on `{host}:{port}`"));
    Failure::usage(error, hint)
}

/// Prints the address as a link, once it is bound.
fn announce(address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let link = SocketAddr::new(ip, address.port());
    let mut out = io::stdout().lock();
    // The server works without stdout, too.
    if let Err(error) = writeln!(out, "http://{link}/").and_then(|()| out.flush()) {
        tracing::debug!(%error, "cannot print the address");
    }
}

/// Completes at the first SIGTERM or SIGINT. The second signal ends the process at once.
fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            "shutting down: sending what was written so far; a second signal ends at once"
        );
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            exit_at_once();
        });
    })
}

#[expect(clippy::exit, reason = "the second signal asks for an exit without clean-up")]
fn exit_at_once() {
    std::process::exit(130);
}

/// Each viewer takes a descriptor; 1024 more are for logs and short connections.
fn reserve_descriptors(viewers: usize) {
    let wanted = viewers as u64 + 1024;
    let limit = raise_descriptor_limit(wanted);
    if limit < wanted {
        tracing::warn!(
            limit,
            "the limit of open files allows fewer than {viewers} viewers; hint: raise `ulimit -n`"
        );
    }
}
