//! `tailcast tail`.

mod messages;
mod output;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli::{failure, unmet};
use crate::client::{
    self, BadUrl, Disconnect, Follow, FollowEvent, FollowRequest, Local, LogUrl, Refused, StartAt,
};
use messages::Messages;
use output::{Output, reader_gone};

/// Follow a log in the terminal: one on a server, or a file of this machine
///
/// The log goes to stdout, byte for byte; what happens to it (rotated, truncated, connection lost) is told on stderr.
/// When the connection is lost it is made again, and the log goes on where it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  tailcast tail http://127.0.0.1:8765/var/log/syslog    a log on a server
  tailcast tail -n 100 /var/log/syslog                  a file of this machine, no server needed
  tailcast tail -F app.log                              wait for it if it is not there yet
  tailcast tail --no-follow -n all app.log | wc -l      all of it, then end

Exit codes: 0 at the end or at Ctrl-C, 1 refused or not found, 2 wrong arguments")]
pub(super) struct Arguments {
    /// A log's URL on a server (http:// or ws://), or the path of a file
    #[arg(value_name = "URL|PATH")]
    log: String,

    /// Start N lines before the end; `all` or `+1` at the first byte
    #[arg(short = 'n', long, value_name = "N", default_value = "10", value_parser = lines, allow_hyphen_values = true)]
    lines: Lines,

    /// Follow the log as it grows; it is the default
    #[arg(short, long, conflicts_with = "no_follow")]
    follow: bool,

    /// Follow, and wait for a log or a server that is not there yet
    #[arg(short = 'F', long, conflicts_with = "no_follow")]
    retry: bool,

    /// End where the log ends now
    #[arg(long)]
    no_follow: bool,

    /// Bytes as they are, or text as a terminal would show it: without colours, progress bars once they are done
    #[arg(long, value_name = "FORMAT", default_value = "raw", env = "TAILCAST_FORMAT")]
    format: Format,

    /// Say nothing on stderr but errors
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

/// So long the end may take that a signal asks for: what is to be printed still, and the farewell to the server.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Prints until the log ends, nobody reads any more, or a signal comes.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    talk();
    let url = if LogUrl::looks_like_url(&arguments.log) {
        Some(arguments.log.parse().map_err(|error| bad_url(&arguments.log, &error))?)
    } else {
        None
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| unmet(format!("can't start: {error}"), "look at `ulimit -a`"))?;
    let printed = runtime.block_on(print(arguments, url));
    // A read that hangs on a dead disk must not hold the end up.
    runtime.shutdown_background();
    printed
}

/// The library's own log, for those who want it.
fn talk() {
    let filter = EnvFilter::try_from_env("TAILCAST_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    // A second subscriber in one process changes nothing.
    let _first =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).try_init();
}

/// Where the log comes from.
enum Source {
    Remote(Follow),
    Local(Local),
}

impl Source {
    async fn next(&mut self) -> Result<FollowEvent, Refused> {
        match self {
            Self::Remote(follow) => follow.next().await,
            Self::Local(local) => Ok(local.next().await),
        }
    }
}

async fn print(arguments: &Arguments, url: Option<LogUrl>) -> anyhow::Result<()> {
    let ending = signals()
        .map_err(|error| unmet(format!("can't listen to signals: {error}"), "try again"))?;
    let ask = FollowRequest {
        begin: match arguments.lines {
            Lines::Last(lines) => StartAt::Lines(lines),
            Lines::All => StartAt::All,
        },
        // Text is made here: so the newest line shows before the next one comes.
        format: client::Format::Raw,
        tail: !arguments.no_follow,
        wait: arguments.retry,
    };
    let refuse = |refused: &Refused| refused_words(arguments, refused);
    let source = match url {
        Some(url) => Source::Remote(Follow::new(url, ask)),
        None => {
            let path = PathBuf::from(&arguments.log);
            Source::Local(Local::join(&path, &ask).await.map_err(|refused| refuse(&refused))?)
        }
    };
    let mut printer = Printer {
        source,
        output: Output::to_stdout(matches!(arguments.format, Format::Text))
            .map_err(|error| cannot_write(&error))?,
        talk: Messages::new(arguments.quiet),
        patient: arguments.retry,
        met: false,
        away: false,
    };
    let printed = printer.print(&ending).await;
    if let Source::Remote(follow) = printer.source {
        follow.close().await;
    }
    match printed {
        // Nobody reads any more: that is what `head` is for.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(error)) => Err(cannot_write(&error)),
        Err(Stop::Refused(refused)) => Err(refuse(&refused)),
        Err(Stop::Unreachable(loss)) => Err(unmet(
            format!("can't follow {}: {loss}", arguments.log),
            match loss {
                Disconnect::Full => "come back later; `-F` keeps trying",
                _ => "is `tailcast serve` running there? `-F` keeps trying",
            },
        )),
        Ok(()) => Ok(()),
    }
}

/// Why nothing more is printed.
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
    talk: Messages,
    /// It goes on trying from the start.
    patient: bool,
    /// The log, or the wait for it, has begun.
    met: bool,
    /// The connection was lost, and does not stand again.
    away: bool,
}

impl Printer {
    async fn print(&mut self, ending: &CancellationToken) -> Result<(), Stop> {
        let mut gone = pin!(reader_gone());
        while !ending.is_cancelled() {
            let heard = {
                let mut next = pin!(self.source.next());
                match next.as_mut().now_or_never() {
                    Some(heard) => heard,
                    // Nothing more is ready: what there is shows now.
                    None => {
                        self.output.flush()?;
                        tokio::select! {
                            () = ending.cancelled() => break,
                            () = &mut gone => return Ok(()),
                            heard = next => heard,
                        }
                    }
                }
            };
            match heard.map_err(Stop::Refused)? {
                FollowEvent::End => break,
                heard => self.hear(&heard)?,
            }
        }
        Ok(self.output.finish()?)
    }

    fn hear(&mut self, heard: &FollowEvent) -> Result<(), Stop> {
        match heard {
            FollowEvent::Bytes { bytes, .. } => return Ok(self.output.write(bytes)?),
            FollowEvent::Opened { from, .. } => self.output.open(*from)?,
            FollowEvent::Reset { from, .. } => self.output.turn(*from)?,
            FollowEvent::Gap { from, to, .. } => self.output.turn(to.unwrap_or(*from))?,
            FollowEvent::Lost { why, .. } if !self.met && !self.patient => {
                return Err(Stop::Unreachable(why.clone()));
            }
            FollowEvent::Lost { .. }
            | FollowEvent::Waiting { .. }
            | FollowEvent::Rows { .. }
            | FollowEvent::End => {}
        }
        self.met |= matches!(heard, FollowEvent::Opened { .. } | FollowEvent::Waiting { .. });
        let back = std::mem::replace(&mut self.away, matches!(heard, FollowEvent::Lost { .. }));
        if let Some(words) = messages::notice(heard, back) {
            // In the order in which it happened, where both go to one terminal.
            self.output.flush()?;
            self.talk.say(&words, self.output.is_mid_line());
        }
        Ok(())
    }
}

fn cannot_write(error: &io::Error) -> anyhow::Error {
    unmet(format!("can't write to stdout: {error}"), "look at where it leads to")
}

fn bad_url(typed: &str, error: &BadUrl) -> anyhow::Error {
    let hint = match error {
        BadUrl::Tls => {
            "tailcast speaks no TLS: give the http:// URL of the server itself, or reach it through `ssh -L`"
        }
        BadUrl::Scheme(_) => {
            "a log's URL begins with http:// or ws://, and a file is named by its path"
        }
        BadUrl::Host => "as in http://127.0.0.1:8765/var/log/app.log",
        BadUrl::NoLog => "add the log's absolute path, as in http://127.0.0.1:8765/var/log/app.log",
    };
    failure(format!("can't follow {typed}: {error}"), hint)
}

fn refused_words(arguments: &Arguments, refused: &Refused) -> anyhow::Error {
    let log = &arguments.log;
    let remote = LogUrl::looks_like_url(log);
    let hint = match refused {
        Refused::NotFound if arguments.no_follow => "look at the path",
        Refused::NotFound if remote => {
            "the server lists its logs at `/`; `-F` waits for one that is not there yet"
        }
        Refused::NotFound => {
            "`-F` waits for it; a log on a server is named by its URL, http://host:port/path"
        }
        Refused::Forbidden if remote => {
            "the server serves other directories: it lists its logs at `/`"
        }
        Refused::Forbidden | Refused::Unreadable => "look at its permissions with `ls -l`",
        Refused::Untailable => "only regular files can be followed",
        Refused::Foreign(_) => "is that the address that `tailcast serve` printed?",
        Refused::Status(421, _) => {
            "start the server with `--allow-host NAME`, or call it by its address"
        }
        Refused::Status(..) | Refused::Closed(..) => "look at the URL, and at what the server says",
    };
    unmet(format!("can't follow {log}: {refused}"), hint)
}

/// Cancelled at the first SIGTERM or SIGINT. The second ends the process at once, and so does an output that is stuck.
fn signals() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ending = CancellationToken::new();
    let told = ending.clone();
    tokio::spawn(async move {
        let mut asked = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        asked().await;
        told.cancel();
        let _second = tokio::time::timeout(END_TIMEOUT, asked()).await;
        leave_at_once();
    });
    Ok(ending)
}

#[expect(clippy::exit, reason = "a write to an output that takes nothing can't be ended otherwise")]
fn leave_at_once() {
    std::process::exit(0);
}
