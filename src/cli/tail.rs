//! `tailcast tail`.

mod credentials;
mod failures;
mod finish;
mod messages;
mod opened;
mod output;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::builder::FalseyValueParser;
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::decode::Decode;
use crate::cli::failure::{Failure, OrFail};
#[cfg(feature = "tls")]
use crate::cli::trust::TrustArguments;
use crate::cli::{AccessLogFormat, HINT_LIMITS, HINT_STDOUT, init_logging};
use crate::client::{
    self, Credentials, Disconnect, Follow, FollowEvent, FollowRequest, Local, LogUrl, Refused,
    StartAt,
};
use crate::encoding::Encoding;
use crate::render::Exit;
use crate::time::{Moment, Zone};
use finish::Finish;
use messages::{Before, Messages};
use output::{FileForm, Output, reader_gone};

/// Follow a log in the terminal: a log on a server, or a file of this machine
///
/// With `*` (any text) or `?` (one character) in the name of the file, the newest file that matches
/// is followed, and then the next one: quote the name, so that the shell leaves it alone.
///
/// The log goes to stdout, byte for byte. Messages about it (rotated, truncated, connection lost)
/// go to stderr. When the connection is lost, tailcast connects again and continues at the next
/// byte.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tailcast tail http://127.0.0.1:8765/var/log/syslog    a log on a server
  tailcast tail -n 100 /var/log/syslog                  a file of this machine, no server needed
  tailcast tail -F app.log                              wait until the file exists
  tailcast tail 'app-*.log'                             the newest of these, and the next ones
  tailcast tail --no-follow -n all app.log | wc -l      print the whole file and exit
  tailcast tail --since 10m app.log                     what was written in the last 10 minutes, and on

Exit codes: 0 at the end of the log or after Ctrl-C, 1 refused or not found, 2 wrong arguments; with
--until-exit that of the command")]
pub(super) struct Arguments {
    /// The URL of a log on a server (http:// or https://), or the path of a file
    #[arg(value_name = "URL|PATH")]
    log: String,

    /// Start N lines before the end; `all` or `+1` starts at the first byte [default: 10]
    #[arg(short = 'n', long, value_name = "N", value_parser = lines, allow_hyphen_values = true)]
    lines: Option<Lines>,

    /// Start at the first line that is not before this time: `10m`, `2h30m` or `1d` ago,
    /// `2026-11-28T14:02:07Z`, or seconds since 1970
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,

    /// Leave out what is from this time on, and exit there
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,

    /// Look for `--since` and `-n` in the old files of the log, too
    #[arg(long)]
    history: bool,

    /// The time zone of times that say none, in a file of this machine: a name such as
    /// `Europe/Berlin`, `UTC`, an offset such as `+01:00`, or `local`
    #[arg(long, default_value = "local", value_name = "ZONE", env = "TAILCAST_ZONE")]
    zone: Zone,

    /// Follow the log as it grows (the default)
    #[arg(short, long, conflicts_with = "no_follow")]
    follow: bool,

    /// Follow, and wait for a log or a server that does not exist yet
    #[arg(short = 'F', long, conflicts_with = "no_follow")]
    retry: bool,

    /// Exit at the present end of the log
    #[arg(long)]
    no_follow: bool,

    /// Exit when the command ends whose output the log is, as `tailcast run` and shells mark it, with
    /// its exit code
    #[arg(long, conflicts_with = "no_follow")]
    until_exit: bool,

    /// `raw`: the bytes of the log. `text`: what a terminal would show, without colours, and
    /// progress bars once they are done
    #[arg(long, value_name = "FORMAT", default_value = "raw", env = "TAILCAST_FORMAT")]
    format: Format,

    /// Print what programs in containers wrote, out of the lines of Docker and Kubernetes: `auto` or
    /// `off`, which prints these lines as they are in the file
    #[arg(
        long,
        default_value = "auto",
        value_name = "WHEN",
        hide_possible_values = true,
        env = "TAILCAST_DECODE"
    )]
    decode: Decode,

    /// The encoding of the log, such as `gbk` or `shift_jis`, for the lines of `-n` and for
    /// `--format text`; without it, UTF-8 or what a byte order mark says
    #[arg(long, value_name = "LABEL", env = "TAILCAST_ENCODING", value_parser = encoding)]
    encoding: Option<Encoding>,

    /// Sign in to the server with this name (also as http://NAME@host/…). The password is asked for
    /// on the terminal, or is the first line of standard input
    #[arg(long, value_name = "NAME", env = "TAILCAST_USER")]
    user: Option<String>,

    /// The file whose first line is the password
    #[arg(long, value_name = "FILE", env = "TAILCAST_PASSWORD_FILE")]
    password_file: Option<PathBuf>,

    /// Sign in to the server with the token that is the first line of this file
    #[arg(long, value_name = "FILE", env = "TAILCAST_TOKEN_FILE", conflicts_with_all = ["user", "password_file"])]
    token_file: Option<PathBuf>,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    trust: TrustArguments,

    /// Print only errors to stderr
    #[arg(short, long, env = "TAILCAST_QUIET", value_parser = FalseyValueParser::new())]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Raw,
    Text,
}

#[derive(Clone, Copy, Debug)]
enum Lines {
    Last(u64),
    All,
}

impl Arguments {
    /// Whether something says who asks.
    fn has_credentials(&self) -> bool {
        let user = self.log.parse().ok().and_then(|url: LogUrl| url.user().map(str::to_owned));
        self.user.is_some() || self.token_file.is_some() || user.is_some()
    }
}

fn lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" | "+1" | "+0" => Ok(Lines::All),
        text => text
            .strip_prefix('-')
            .unwrap_or(text)
            .parse()
            .ok()
            .filter(|_| !text.contains('+'))
            .map(Lines::Last)
            .ok_or_else(|| "expected a number of lines, `all` or `+1`".to_owned()),
    }
}

fn encoding(label: &str) -> Result<Encoding, &'static str> {
    Encoding::for_label(label).ok_or(
        "expected a label of the Encoding Standard, such as `utf-16le`, `gbk`, `shift_jis` or `latin1`",
    )
}

/// The longest time between a signal and the exit: to print the rest, and to close the connection.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints until the log ends, nobody reads stdout any more, or a signal comes.
pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    init_logging("off", AccessLogFormat::Off);
    let url = if LogUrl::looks_like_url(&arguments.log) {
        Some(arguments.log.parse().map_err(|error| failures::bad_url(&arguments.log, error))?)
    } else {
        None
    };
    let credentials = match &url {
        Some(url) => credentials::of(arguments, url)?,
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_unavailable(HINT_LIMITS)?;
    let printed = runtime.block_on(print(arguments, url, credentials));
    // A read that hangs on a dead disk must not delay the exit.
    runtime.shutdown_background();
    printed.map(|exit| exit.map_or(ExitCode::SUCCESS, code_of))
}

/// The exit code for the end of a command. A mark without a status says nothing of a failure.
fn code_of(exit: Exit) -> ExitCode {
    let status = exit.status.unwrap_or(0);
    ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Where the log comes from.
enum Source {
    Remote(Box<Follow>),
    Local(Box<Local>),
}

impl Source {
    async fn next(&mut self) -> Result<FollowEvent, Refused> {
        match self {
            Self::Remote(follow) => follow.next().await,
            Self::Local(local) => Ok(local.next().await),
        }
    }
}

async fn print(
    arguments: &Arguments,
    url: Option<LogUrl>,
    credentials: Option<Credentials>,
) -> Result<Option<Exit>, Failure> {
    let ending = signals().context("cannot handle signals").or_unavailable(HINT_LIMITS)?;
    let now = SystemTime::now();
    // They keep meaning the same when the connection is made again.
    let fixed = |moment: Moment| moment.fixed(now);
    let ask = FollowRequest {
        begin: match arguments.lines {
            Some(Lines::Last(lines)) => StartAt::Lines(lines),
            Some(Lines::All) => StartAt::All,
            None if arguments.since.is_some() => StartAt::All,
            None => StartAt::Lines(10),
        },
        history: arguments.history,
        since: arguments.since.map(fixed),
        until: arguments.until.map(fixed),
        zone: arguments.zone.clone(),
        // Text is rendered here, so that the newest line shows before the next one arrives.
        format: client::Format::Raw,
        tail: !arguments.no_follow,
        wait: arguments.retry,
        encoding: arguments.encoding,
    };
    let source = match url {
        Some(url) => {
            let follow = Follow::new(url, ask);
            let follow = match credentials {
                Some(credentials) => follow.with_credentials(credentials),
                None => follow,
            };
            #[cfg(feature = "tls")]
            let follow = match arguments.trust.trust()? {
                Some(trust) => follow.with_trust(trust),
                None => follow,
            };
            Source::Remote(Box::new(follow))
        }
        None => {
            let path = PathBuf::from(&arguments.log);
            let local = Local::join(&path, &ask)
                .await
                .map_err(|refused| failures::refusal(arguments, refused))?;
            Source::Local(Box::new(local))
        }
    };
    let mut printer = Printer {
        source,
        output: Output::to_stdout(
            matches!(arguments.format, Format::Text),
            arguments.decode.into(),
        )
        .context("cannot write to stdout")
        .or_unavailable(HINT_STDOUT)?,
        messages: Messages::new(arguments.quiet),
        waits_for_server: arguments.retry,
        has_started: false,
        before: Before::Following,
        finish: Finish::new(arguments.until_exit),
    };
    let printed = printer.print(&ending).await;
    if let Source::Remote(follow) = printer.source {
        follow.close().await;
    }
    match printed {
        // A reader such as `head` has enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(Stop::Output(error)) => {
            Err(error).context("cannot write to stdout").or_unavailable(HINT_STDOUT)
        }
        Err(Stop::Refused(refused)) => Err(failures::refusal(arguments, refused)),
        Err(Stop::Unreachable(reason)) => Err(failures::unreachable(&arguments.log, &reason)),
        Ok(()) => Ok(printer.finish.exit.filter(|_| arguments.until_exit)),
    }
}

/// Why printing stops.
enum Stop {
    Output(io::Error),
    Refused(Refused),
    Unreachable(Disconnect),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

struct Printer {
    source: Source,
    output: Output,
    messages: Messages,
    /// Keep trying although the server was never reached.
    waits_for_server: bool,
    /// The log was opened or waited for.
    has_started: bool,
    before: Before,
    finish: Finish,
}

impl Printer {
    async fn print(&mut self, ending: &CancellationToken) -> Result<(), Stop> {
        let mut gone = pin!(reader_gone());
        while !ending.is_cancelled() {
            let event = {
                let mut next = pin!(self.source.next());
                match next.as_mut().now_or_never() {
                    Some(event) => event,
                    // Nothing more is ready, so print what there is.
                    None => {
                        self.output.flush()?;
                        if self.finish.is_over(&self.messages, self.output.is_mid_line()) {
                            break;
                        }
                        tokio::select! {
                            () = ending.cancelled() => break,
                            () = &mut gone => return Ok(()),
                            event = next => event,
                        }
                    }
                }
            };
            match event.map_err(Stop::Refused)? {
                FollowEvent::End => break,
                event => self.on_event(&event)?,
            }
        }
        self.output.finish()?;
        self.finish.is_over(&self.messages, self.output.is_mid_line());
        Ok(())
    }

    fn on_event(&mut self, event: &FollowEvent) -> Result<(), Stop> {
        match event {
            FollowEvent::Bytes { bytes, .. } => {
                self.output.write(bytes)?;
                self.finish.feed(bytes);
                return Ok(());
            }
            FollowEvent::Opened { from, encoding, container, .. } => {
                let file = FileForm { encoding: encoding.as_deref(), is_container: *container };
                self.output.open(*from, file)?;
            }
            FollowEvent::Reset { from, encoding, container, .. } => {
                let file = FileForm { encoding: encoding.as_deref(), is_container: *container };
                self.finish.restart();
                self.output.restart_at(*from, file)?;
            }
            FollowEvent::Gap { from, to, .. } => self.output.skip_to(to.unwrap_or(*from))?,
            FollowEvent::Lost { why, .. } if !self.has_started && !self.waits_for_server => {
                return Err(Stop::Unreachable(why.clone()));
            }
            FollowEvent::Lost { .. }
            | FollowEvent::Notice { .. }
            | FollowEvent::Waiting { .. }
            | FollowEvent::Rows { .. }
            | FollowEvent::End => {}
        }
        self.has_started |=
            matches!(event, FollowEvent::Opened { .. } | FollowEvent::Waiting { .. });
        let now = match event {
            FollowEvent::Lost { .. } => Before::Lost,
            FollowEvent::Waiting { .. } => Before::Waiting,
            _ => Before::Following,
        };
        let before = std::mem::replace(&mut self.before, now);
        if let Some(message) = messages::message_for(event, before) {
            // On a terminal, stdout and stderr appear in the order of the events.
            self.output.flush()?;
            self.messages.print(&message, self.output.is_mid_line());
        }
        Ok(())
    }
}

/// Cancelled at the first SIGTERM or SIGINT. The second signal ends the process at once, and so
/// does an output that stays blocked.
fn signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ending = CancellationToken::new();
    let cancelled = ending.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signalled().await;
        cancelled.cancel();
        let _second = tokio::time::timeout(END_TIMEOUT, signalled()).await;
        exit_at_once();
    });
    Ok(ending)
}

#[expect(clippy::exit, reason = "a blocked write to stdout cannot be ended in another way")]
fn exit_at_once() {
    std::process::exit(0);
}
