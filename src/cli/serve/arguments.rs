//! The flags of `tailcast serve`, and the settings that they stand for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderName;

use crate::cli::AccessLogFormat;
use crate::cli::decode::Decode;
use crate::cli::listen::ListenAddress;
use crate::cli::serve::accounts::Accounts;
use crate::cli::size::bytes;
use crate::serve::{
    BasePath, HEARTBEAT_INTERVAL, Heartbeat, Rule, Settings, TrustedProxy, can_name_visitors,
};
use crate::source::spool;
use crate::time::Zone;

/// Serve log files to browsers, terminals and scripts
#[derive(Debug, clap::Args)]
#[command(after_help = "A log's URL is its absolute path: http://127.0.0.1:8765/var/log/syslog\n\
                        `/` lists all logs. `make 2>&1 | tailcast serve -` shows a pipe at /stdin. Log output goes to stderr; TAILCAST_LOG=debug shows more.\n\n\
                        SIGHUP reads the files of `--config`, `--users` and `--tokens` and the certificate again.\n\n\
                        Exit codes: 0 after SIGTERM or Ctrl-C, 2 wrong arguments")]
pub(in crate::cli) struct Arguments {
    /// Directories and files to serve [default: the current directory]; `-` serves standard input, as
    /// the log /stdin
    #[arg(value_name = "PREFIX")]
    pub(super) prefixes: Vec<PathBuf>,

    /// A directory or file to serve, like PREFIX; can be given more than once
    /// [env: TAILCAST_PREFIX, several separated by `:`]
    #[arg(long = "prefix", value_name = "PREFIX")]
    pub(super) more_prefixes: Vec<PathBuf>,

    /// Serve the journal of systemd, too: as the log /journal, and each unit as /journal/UNIT. Its
    /// entries are copied into `--state-dir`
    #[arg(long, env = "TAILCAST_JOURNAL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", value_name = "true|false", action = clap::ArgAction::Set)]
    pub(super) journal: bool,

    /// The most bytes of standard input that are kept (with `-`), and of each log of the journal, such as
    /// `100MiB` or `2GB`. Older ones go
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = spool_size, env = "TAILCAST_SPOOL_MAX")]
    pub(super) spool_max: u64,

    /// Serve the logs of other machines, too: as /@HOST/absolute/path, which `tailcast agent` publishes
    /// over this NATS broker, `nats://HOST:PORT` or `tls://HOST:PORT`. A user and a password may stand
    /// before the host; others see the arguments of a program, so rather set the variable
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "URL", env = "TAILCAST_NATS", hide_env_values = true)]
    pub(super) nats: Option<String>,

    /// Sign in at the broker with this credentials file, or the seed of a key (NKEY) in it
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "FILE", env = "TAILCAST_NATS_CREDS")]
    pub(super) nats_creds: Option<PathBuf>,

    /// Speak TLS with the broker, and trust the certificate authorities in this file (PEM), too
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "FILE", env = "TAILCAST_NATS_TLS_CA")]
    pub(super) nats_tls_ca: Option<PathBuf>,

    /// Keep what was brought of other machines' logs in this directory
    /// [default: `mirror` in the state directory]
    #[cfg(feature = "nats")]
    #[arg(long, value_name = "DIR", env = "TAILCAST_SPOOL")]
    pub(super) spool: Option<PathBuf>,

    /// At most so much of it, such as `500MiB` or `100GB`. What nobody reads goes first, and is fetched
    /// again when somebody does
    #[cfg(feature = "nats")]
    #[arg(long, default_value = "10GiB", value_name = "SIZE", value_parser = mirror_size, env = "TAILCAST_SPOOL_BYTES")]
    pub(super) spool_bytes: u64,

    /// Read settings from this file (TOML). Each flag is a key of the same name in it; flags and
    /// variables win over it. A change of the file takes effect while the server runs
    #[arg(long, value_name = "FILE", env = "TAILCAST_CONFIG")]
    pub(super) config: Option<PathBuf>,

    /// Address or host name to listen on
    #[arg(long, default_value = "127.0.0.1", env = "TAILCAST_HOST")]
    pub(super) host: String,

    /// Port to listen on; 0 picks a free port
    #[arg(long, default_value_t = 8765, env = "TAILCAST_PORT")]
    pub(super) port: u16,

    /// Listen on this address instead of --host and --port: `HOST:PORT`, or `unix:/path` for a unix
    /// socket; can be given more than once
    #[arg(long, value_name = "ADDRESS", env = "TAILCAST_LISTEN", value_delimiter = ',')]
    pub(super) listen: Vec<ListenAddress>,

    /// Speak TLS on the TCP addresses (https), with the certificate in this file (PEM): the server's
    /// own first, then those of its issuers. A change of the file takes effect while the server runs
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", env = "TAILCAST_TLS_CERT")]
    pub(super) tls_cert: Option<PathBuf>,

    /// The private key of the certificate (PEM, without a passphrase)
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", env = "TAILCAST_TLS_KEY")]
    pub(super) tls_key: Option<PathBuf>,

    /// Serve everything under this path, for a proxy that shares its host name with other programs:
    /// `/logs`. The proxy may remove it from its requests or not
    #[arg(long, default_value = "/", value_name = "PATH", env = "TAILCAST_BASE_PATH")]
    pub(super) base_path: BasePath,

    /// Allow pages of another server to connect, by their origin (http://host:port); can be given
    /// more than once
    #[arg(
        long = "allow-origin",
        value_name = "URL",
        env = "TAILCAST_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    pub(super) allow_origins: Vec<String>,

    /// Allow a host name in the URL of this server, besides IP addresses and localhost; can be
    /// given more than once
    #[arg(
        long = "allow-host",
        value_name = "NAME",
        env = "TAILCAST_ALLOW_HOST",
        value_delimiter = ','
    )]
    pub(super) allow_hosts: Vec<String>,

    /// Believe this proxy when it says for whom it asks (X-Forwarded-For, -Proto, -Host and -Prefix,
    /// or Forwarded): an IP address, a network such as 10.0.0.0/8, or `unix` for those that connect
    /// to a unix socket; can be given more than once
    #[arg(
        long = "trusted-proxy",
        value_name = "CIDR",
        env = "TAILCAST_TRUSTED_PROXY",
        value_delimiter = ','
    )]
    pub(super) trusted_proxies: Vec<TrustedProxy>,

    /// Let the people in this file sign in with a password, and nobody read anything without:
    /// lines `NAME:HASH` or `NAME:HASH:group,group`, as `tailcast password` and `htpasswd -B` write
    /// them. A change of the file takes effect while the server runs
    #[arg(long, value_name = "FILE", env = "TAILCAST_USERS")]
    pub(super) users: Option<PathBuf>,

    /// Let scripts read with the tokens in this file (`Authorization: Bearer`): lines
    /// `NAME:SHA256` or `NAME:SHA256:group,group`, as `tailcast token` writes them
    #[arg(long, value_name = "FILE", env = "TAILCAST_TOKENS")]
    pub(super) tokens: Option<PathBuf>,

    /// Believe a proxy of --trusted-proxy when it says in this header who the visitor is. The
    /// header does not count when others send it
    #[arg(long, value_name = "NAME", value_parser = visitor_header, env = "TAILCAST_USER_HEADER")]
    pub(super) user_header: Option<HeaderName>,

    /// Believe it when it lists the visitor's groups in this header, separated by commas
    #[arg(long, value_name = "NAME", value_parser = visitor_header, env = "TAILCAST_GROUP_HEADER")]
    pub(super) group_header: Option<HeaderName>,

    /// Keep the key of the sessions in this directory, so that nobody has to sign in again after a
    /// restart [default: $STATE_DIRECTORY, $XDG_STATE_HOME/tailcast or ~/.local/state/tailcast]
    #[arg(long, value_name = "DIR", env = "TAILCAST_STATE_DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// How to detect viewers that are gone: `ping` (WebSocket pings every 15 s), `text` (text
    /// messages, as the original server sends them), a number of seconds between pings, or `0` for
    /// never
    #[arg(long, default_value = "ping", value_parser = heartbeat, env = "TAILCAST_HEARTBEAT")]
    pub(super) heartbeat: (Heartbeat, Duration),

    /// Maximum number of viewers, of all logs together
    #[arg(long, default_value_t = 10_000, value_name = "N", env = "TAILCAST_MAX_VIEWERS")]
    pub(super) max_viewers: usize,

    /// Close a viewer (code 4408) that has read nothing for this many seconds; more than 0
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS", value_parser = positive_seconds, env = "TAILCAST_STALL_TIMEOUT")]
    pub(super) stall_timeout: f64,

    /// Compress messages for viewers that support it, as browsers do: `auto` or `off`
    #[arg(
        long,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        env = "TAILCAST_COMPRESS"
    )]
    pub(super) compress: Compress,

    /// Write a line to stderr when a viewer comes or goes, and for each refused request: `text`,
    /// `json` (one object each, for programs) or `off`
    #[arg(
        long,
        default_value = "text",
        value_name = "FORMAT",
        hide_possible_values = true,
        env = "TAILCAST_ACCESS_LOG"
    )]
    pub(super) access_log: AccessLogFormat,

    /// Show what programs in containers wrote, out of the lines of Docker and Kubernetes: `auto` or
    /// `off`, which shows these lines as they are in the file
    #[arg(
        long,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        env = "TAILCAST_DECODE"
    )]
    pub(super) decode: Decode,

    /// The time zone of times in logs that say none: a name such as `Europe/Berlin`, `UTC`, an offset
    /// such as `+01:00`, or `local`, which is that of this machine
    #[arg(long, default_value = "local", value_name = "ZONE", env = "TAILCAST_ZONE")]
    pub(super) zone: Zone,

    /// Keep reading a rotated file for this many seconds, since writers reopen late
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = seconds, env = "TAILCAST_ROTATE_WAIT")]
    pub(super) rotate_wait: f64,

    /// Keep the content of compressed logs in this directory, in files without a name, while they are
    /// read and for a while after [default: $CACHE_DIRECTORY, $XDG_CACHE_HOME/tailcast or
    /// ~/.cache/tailcast]
    #[arg(long, value_name = "DIR", env = "TAILCAST_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// At most so much of it, such as `500MiB` or `4GB`. A compressed log with more content is shown
    /// in part
    #[arg(long, default_value = "4GiB", value_name = "SIZE", value_parser = cache_size, env = "TAILCAST_CACHE_MAX")]
    pub(super) cache_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Compress {
    Auto,
    Off,
}

fn visitor_header(text: &str) -> Result<HeaderName, String> {
    let header: HeaderName =
        text.parse().map_err(|_| "expected the name of a header".to_owned())?;
    match can_name_visitors(&header) {
        true => Ok(header),
        false => {
            Err("this header has another meaning: take one such as `X-Remote-User`".to_owned())
        }
    }
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

/// The content of a smaller log would not be kept.
const CACHE_BYTES_MIN: u64 = 1024 * 1024;

fn cache_size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size if size >= CACHE_BYTES_MIN => Ok(size),
        _ => Err("expected at least 1MiB".to_owned()),
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

fn spool_size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size if size >= spool::BYTES_MIN => Ok(size),
        _ => Err("expected at least 64KiB".to_owned()),
    }
}

#[cfg(feature = "nats")]
fn mirror_size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        size if size >= crate::mirror::BYTES_MIN => Ok(size),
        _ => Err("expected at least 16MiB".to_owned()),
    }
}

/// What stands for standard input among the prefixes. A directory of this name is `./-`.
const STDIN: &str = "-";

impl Arguments {
    /// Whether standard input is to be served.
    pub(super) fn wants_stdin(&self) -> bool {
        self.wanted_prefixes()
            .is_some_and(|prefixes| prefixes.iter().any(|prefix| is_stdin(prefix)))
    }

    /// The prefixes to serve, without standard input.
    pub(super) fn wanted_paths(&self) -> Option<Vec<PathBuf>> {
        let prefixes = self.wanted_prefixes()?;
        Some(prefixes.into_iter().filter(|prefix| !is_stdin(prefix)).collect())
    }

    /// The prefixes to serve: those of the command line, else those of the environment. Those of the
    /// file are among the flags if neither has any. Without a file, the current directory. None if
    /// there is a file and nobody names a prefix: an empty file must not open a directory by chance.
    pub(super) fn wanted_prefixes(&self) -> Option<Vec<PathBuf>> {
        let mut prefixes = self.prefixes.clone();
        prefixes.extend(self.more_prefixes.iter().cloned());
        if prefixes.is_empty() {
            prefixes = prefixes_of_environment();
        }
        if prefixes.is_empty() && (self.journal || self.brings_others()) {
            return Some(prefixes);
        }
        if prefixes.is_empty() && self.config.is_none() {
            prefixes.push(PathBuf::from("."));
        }
        (!prefixes.is_empty()).then_some(prefixes)
    }

    /// Whether the logs of other machines are served.
    pub(super) fn brings_others(&self) -> bool {
        #[cfg(feature = "nats")]
        let brings = self.nats.is_some();
        #[cfg(not(feature = "nats"))]
        let brings = false;
        brings
    }

    /// The settings that the flags stand for.
    pub(super) fn settings(
        &self,
        listen: &[ListenAddress],
        rules: Vec<Rule>,
        accounts: &Accounts,
    ) -> Settings {
        let (heartbeat, heartbeat_interval) = self.heartbeat;
        let mut allow_hosts = self.allow_hosts.clone();
        allow_hosts.extend(listen.iter().filter_map(ListenAddress::host).map(ToOwned::to_owned));
        Settings {
            heartbeat,
            heartbeat_interval,
            max_viewers: self.max_viewers,
            allow_origins: self.allow_origins.clone(),
            allow_hosts,
            base_path: self.base_path.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            compress: self.compress == Compress::Auto,
            stall_timeout: Duration::from_secs_f64(self.stall_timeout),
            decode: self.decode.into(),
            zone: self.zone.clone(),
            rotate_wait: Duration::from_secs_f64(self.rotate_wait),
            users: accounts.users.clone(),
            tokens: accounts.tokens.clone(),
            user_header: self.user_header.clone(),
            group_header: self.group_header.clone(),
            rules,
            ..Settings::default()
        }
    }
}

fn is_stdin(prefix: &Path) -> bool {
    prefix.as_os_str() == STDIN
}

/// The prefixes that `TAILCAST_PREFIX` names, separated like the directories in `PATH`. On the
/// command line a `:` is part of a name.
pub(super) fn prefixes_of_environment() -> Vec<PathBuf> {
    let value = std::env::var_os("TAILCAST_PREFIX").unwrap_or_default();
    std::env::split_paths(&value).filter(|prefix| !prefix.as_os_str().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_makes_no_sense_is_refused() {
        assert_eq!((cache_size("1MiB"), spool_size("64KiB")), (Ok(1 << 20), Ok(64 << 10)));
        for refused in [cache_size("1048575"), spool_size("65535"), cache_size("4X")] {
            assert!(refused.is_err(), "{refused:?}");
        }
    }
}
