//! `tailcast bench`: its arguments, its progress line and its report.

mod arguments;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::bench::load::{BadTarget, Plan, STAMP_BYTES, Target};
use crate::bench::process::Usage;
use crate::bench::report::{Report, thousands};
use crate::bench::run::{self, Measurement, Progress, RunError};
use crate::bench::writer::{self, Schedule};
use crate::cli::failure::{Failure, OrFail};
use crate::cli::{HINT_LIMITS, print, raise_descriptor_limit};
use crate::client::BadUrl;
pub(super) use arguments::Arguments;

/// The interval at which the progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Descriptors besides those of the viewers.
const DESCRIPTORS: u64 = 32;
/// The longest line that can be written, in bytes.
const LINE_BYTES_MAX: usize = 1 << 24;

/// Measures, and prints the report.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = check(arguments)?;
    let run = arguments.write.as_ref().map(|_| fastrand::u32(..));
    let measurement = Measurement {
        urls: arguments.urls.clone(),
        plan: plan(arguments, run)?,
        write: file.zip(run).map(|(file, run)| (file, schedule(arguments, run))),
        listen: Duration::from_secs_f64(arguments.duration),
        pids: arguments.pids.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .or_unavailable(HINT_LIMITS)?;
    let mut progress_line = ProgressLine::new();
    let measured = runtime.block_on(async {
        let stop = interrupted().context("cannot handle signals").or_unavailable(HINT_LIMITS)?;
        let measured = run::measure(measurement, stop, |progress| progress_line.print(progress));
        measured.await.map_err(|error| run_failure(arguments, error))
    });
    runtime.shutdown_background();
    progress_line.clear();
    let report = measured?;
    print(&if arguments.json { format!("{}\n", report.to_json()) } else { report.to_table() })?;
    verdict(&report)
}

/// Fails if anything was lost, came twice or could not connect.
fn verdict(report: &Report) -> Result<(), Failure> {
    let wrong = report.verdict();
    if wrong.is_empty() {
        return Ok(());
    }
    let is_nothing_delivered = report.delivered.lines == 0 && report.statistics.lost > 0;
    let hint = if is_nothing_delivered {
        "no line arrived: is the file of `--write` the log that the URL names?"
    } else if report.viewers.failed > 0 {
        "the report says why; check the limits of the server: `--max-viewers` and `ulimit -n`"
    } else {
        "the report lists the first faults; check the log output of the server"
    };
    Err(Failure::unavailable(anyhow!(wrong.join(", ")), hint))
}

/// Checks the arguments together, and opens the file of `--write`.
fn check(arguments: &Arguments) -> Result<Option<File>, Failure> {
    let viewers = viewers(arguments);
    if viewers == 0 {
        return Err(Failure::usage(anyhow!("there is no viewer"), "give `--viewers 100`"));
    }
    if arguments.write.is_some() && arguments.urls.len() > 1 {
        let error = anyhow!("`--write` cannot write the logs of several URLs");
        let hint =
            "give one URL with `--write`, and start another `tailcast bench` for each other log";
        return Err(Failure::usage(error, hint));
    }
    if arguments.line_bytes <= STAMP_BYTES || arguments.line_bytes > LINE_BYTES_MAX {
        let error = anyhow!("cannot write lines of {} bytes", arguments.line_bytes);
        let hint = format!("give `--line-bytes` {} to {LINE_BYTES_MAX}", STAMP_BYTES + 1);
        return Err(Failure::usage(error, hint));
    }
    if arguments.write.is_some() && !(1.0..4e9).contains(&lines(arguments)) {
        let error = anyhow!("cannot write {:.0} lines", lines(arguments));
        let hint = "`--rate` times `--duration` must be at least 1 and at most 4,000,000,000 lines";
        return Err(Failure::usage(error, hint));
    }
    let wanted = viewers + DESCRIPTORS;
    let limit = raise_descriptor_limit(wanted);
    if limit < wanted {
        let error =
            anyhow!("{viewers} viewers need {wanted} descriptors, but the limit is {limit}");
        let hint = "raise `ulimit -n`, or start several `tailcast bench`, of which one writes";
        return Err(Failure::unavailable(error, hint));
    }
    Usage::of(&arguments.pids)
        .context("cannot read the process of `--pid`")
        .or_usage("give the PID of a process on this machine, as `pidof` prints it")?;
    let Some(path) = &arguments.write else { return Ok(None) };
    let file = writer::open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))
        .or_usage("give the path of the log on this machine; this user must be able to write it")?;
    Ok(Some(file))
}

/// All viewers, slow ones included.
fn viewers(arguments: &Arguments) -> u64 {
    let slow: u64 = arguments.slow.iter().map(|(viewers, _)| u64::from(*viewers)).sum();
    slow + u64::from(arguments.viewers)
}

/// The number of lines to write.
fn lines(arguments: &Arguments) -> f64 {
    (arguments.rate * arguments.duration).round()
}

fn schedule(arguments: &Arguments, run: u32) -> Schedule {
    Schedule {
        run,
        rate: arguments.rate,
        burst: arguments.burst,
        line_bytes: arguments.line_bytes,
        lines: lines(arguments) as u32,
    }
}

fn plan(arguments: &Arguments, run: Option<u32>) -> Result<Plan, Failure> {
    let mut targets = Vec::new();
    #[cfg(feature = "tls")]
    let trust = arguments.trust.trust()?;
    for url in &arguments.urls {
        let protocol = arguments.protocol.into();
        let target = Target::new(url, protocol, arguments.lines, arguments.compress);
        #[cfg(feature = "tls")]
        let target = target.map(|target| target.with_trust(trust.as_ref()));
        targets.push(target.map_err(|error| bad_target(url, error))?);
    }
    let slow = arguments.slow.iter();
    let slow = slow.flat_map(|(viewers, pace)| std::iter::repeat_n(*pace, *viewers as usize));
    Ok(Plan {
        targets,
        viewers: arguments.viewers.into(),
        ramp: Some(arguments.ramp).filter(|ramp| *ramp > 0.0),
        slow: slow.collect(),
        run,
        threads: arguments.threads,
    })
}

fn bad_target(url: &str, error: BadTarget) -> Failure {
    let connect = format!("cannot connect to `{url}`");
    match error {
        BadTarget::Url(error) => {
            let hint = match error {
                BadUrl::Tls => "give the http:// URL of the server itself, not that of a proxy",
                _ => "give a URL such as http://127.0.0.1:8765/var/log/app.log",
            };
            Failure::usage(anyhow::Error::new(error).context(connect), hint)
        }
        BadTarget::Host(error) => {
            Failure::unavailable(anyhow::Error::new(error).context(connect), "check the host name")
        }
    }
}

/// Adds to an error what the arguments say about it, and a hint.
fn run_failure(arguments: &Arguments, error: RunError) -> Failure {
    let (context, hint) = match &error {
        RunError::Load(_) => (None, HINT_LIMITS),
        RunError::Process(_) => (None, "check the log output of the server"),
        RunError::Write(_) => {
            let path = arguments.write.clone().unwrap_or_default();
            (Some(format!("cannot write `{}`", path.display())), "check the space on the disk")
        }
        RunError::NoViewer(reason) => {
            let context = format!("cannot connect to `{}`", arguments.urls.join("` or `"));
            (Some(context), no_viewer_hint(reason))
        }
    };
    let error = anyhow::Error::new(error);
    let error = match context {
        Some(context) => error.context(context),
        None => error,
    };
    Failure::unavailable(error, hint)
}

fn no_viewer_hint(reason: &str) -> &'static str {
    match reason {
        "connection refused" => "is the server running there?",
        reason if reason.to_lowercase().contains("not found") => {
            "the server lists its logs at `/`; the log must exist"
        }
        reason if reason.to_lowercase().contains("forbidden") => {
            "the server serves other directories: it lists its logs at `/`"
        }
        reason if reason.contains("tailcast.v1") => {
            "give `--protocol original` for servers other than tailcast"
        }
        reason if reason.contains("421") => {
            "start the server with `--allow-host NAME`, or use its IP address"
        }
        _ => "check the URL, and the log output of the server",
    }
}

/// One line on stderr that shows the progress, if stderr is a terminal.
struct ProgressLine {
    is_shown: bool,
    /// When it was printed, and the lines that had been delivered then.
    last: (Instant, u64),
}

impl ProgressLine {
    fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), last: (Instant::now(), 0) }
    }

    fn print(&mut self, progress: Progress) {
        let (now, (then, before)) = (Instant::now(), self.last);
        if !self.is_shown || now.duration_since(then) < PROGRESS_INTERVAL {
            return;
        }
        let Progress { connected, viewers, delivered, written, faults } = progress;
        self.last = (now, delivered);
        let rate = (delivered - before) as f64 / now.duration_since(then).as_secs_f64();
        let mut line = format!(
            "{} of {} viewers · {} lines delivered · {}/s",
            thousands(connected),
            thousands(viewers),
            thousands(delivered),
            thousands(rate as u64),
        );
        if let Some(written) = written {
            line += &format!(" · {} written", thousands(written));
        }
        if faults > 0 {
            line += &format!(" · {} faults", thousands(faults));
        }
        // Without stderr nobody watches the progress.
        let _printed = write!(io::stderr(), "\r\x1b[K{line}");
    }

    fn clear(&self) {
        if self.is_shown {
            let _printed = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Cancelled at the first SIGINT or SIGTERM, after which the report is printed. The second signal
/// ends the process at once.
fn interrupted() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        let mut signalled = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signalled().await;
        cancelled.cancel();
        signalled().await;
        exit_at_once();
    });
    Ok(stop)
}

#[expect(clippy::exit, reason = "the second signal asks for an exit without clean-up")]
fn exit_at_once() {
    std::process::exit(130);
}
