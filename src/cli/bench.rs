//! `tailcast bench`.

mod arguments;

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bench::load::{BadTarget, LiveCounts, Load, Plan, STAMP_BYTES, Target};
use crate::bench::process::Usage;
use crate::bench::report::{Delivered, Report, Server, Viewers, thousands};
use crate::bench::writer;
use crate::bench::writer::{Schedule, Writer};
use crate::cli::{failure, raise_descriptor_limit, unmet};
use crate::client::BadUrl;
pub(super) use arguments::Arguments;

/// So long nothing may change before what is awaited is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long it is waited where the protocol does not say that a viewer is up to date.
const SETTLE: Duration = Duration::from_secs(1);
/// So long it is listened when everything has come: something might come again.
const LINGER: Duration = Duration::from_millis(300);
/// So often it is looked.
const LOOK: Duration = Duration::from_millis(10);
/// So often the progress is told.
const TELL: Duration = Duration::from_millis(250);
/// Descriptors besides those of the viewers.
const DESCRIPTORS: u64 = 32;

/// Measures, and prints what came out.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = check(arguments)?;
    let plan = plan(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| unmet(format!("can't start: {error}"), "look at `ulimit -a`"))?;
    let measured = runtime.block_on(measure(arguments, plan, file));
    runtime.shutdown_background();
    let report = measured?;
    let printed =
        if arguments.json { format!("{}\n", report.to_json()) } else { report.to_table() };
    match io::stdout().lock().write_all(printed.as_bytes()) {
        // Nobody reads it; the exit code is still of use.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(|error| {
            unmet(format!("can't write to stdout: {error}"), "look at where it leads to")
        })?,
    }
    let wrong = report.verdict();
    if wrong.is_empty() {
        return Ok(());
    }
    let nothing_came = report.delivered.lines == 0 && report.statistics.lost > 0;
    let hint = if nothing_came {
        "none of the lines came: is the file of `--write` the log that the URL names?"
    } else if report.viewers.failed > 0 {
        "the table says why; look at the server's limits, as `--max-viewers` and `ulimit -n`"
    } else {
        "the table names the first; what a server leaves out it may have said on its stderr"
    };
    Err(unmet(wrong.join(", "), hint))
}

/// Looks whether the arguments make sense together, and opens the file to be written.
fn check(arguments: &Arguments) -> anyhow::Result<Option<File>> {
    let viewers = all(arguments);
    if viewers == 0 {
        return Err(failure("there is no viewer", "give `--viewers 100`"));
    }
    if arguments.write.is_some() && arguments.urls.len() > 1 {
        let hint =
            "give one URL with `--write`; the other logs can have a `tailcast bench` of their own";
        return Err(failure("one file can't be the log of several URLs", hint));
    }
    if arguments.line_bytes <= STAMP_BYTES || arguments.line_bytes > 1 << 24 {
        let wanted = format!("give `--line-bytes` {} to {}", STAMP_BYTES + 1, 1 << 24);
        return Err(failure(format!("no line of {} bytes", arguments.line_bytes), wanted));
    }
    if arguments.write.is_some() && !(1.0..4e9).contains(&lines(arguments)) {
        let hint = "lines are `--rate` times `--duration`: at least 1, at most 4,000,000,000";
        return Err(failure(format!("can't write {:.0} lines", lines(arguments)), hint));
    }
    let wanted = viewers + DESCRIPTORS;
    let limit = raise_descriptor_limit(wanted);
    if limit < wanted {
        return Err(unmet(
            format!("{viewers} viewers need {wanted} descriptors, and {limit} are allowed"),
            "raise `ulimit -n`, or share them among several `tailcast bench`, one of which writes",
        ));
    }
    if let Err(error) = Usage::of(&arguments.pids) {
        return Err(failure(
            format!("can't look at the process of `--pid`: {error}"),
            "give the number that `pidof` tells, of a process on this machine",
        ));
    }
    let Some(path) = &arguments.write else { return Ok(None) };
    let opened = writer::open(path);
    opened.map(Some).map_err(|error| {
        let hint = "give the path of the log on this machine, which may be written";
        failure(format!("can't write {}: {error}", path.display()), hint)
    })
}

fn all(arguments: &Arguments) -> u64 {
    let slow: u64 = arguments.slow.iter().map(|(viewers, _)| u64::from(*viewers)).sum();
    slow + u64::from(arguments.viewers)
}

/// Lines that are to be written.
fn lines(arguments: &Arguments) -> f64 {
    (arguments.rate * arguments.duration).round()
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let mut targets = Vec::new();
    for url in &arguments.urls {
        let protocol = arguments.protocol.into();
        let target = Target::new(url, protocol, arguments.lines, arguments.compress);
        targets.push(target.map_err(|error| bad_target(url, &error))?);
    }
    let slow = arguments.slow.iter();
    let slow = slow.flat_map(|(viewers, pace)| std::iter::repeat_n(*pace, *viewers as usize));
    Ok(Plan {
        targets,
        viewers: arguments.viewers.into(),
        ramp: Some(arguments.ramp).filter(|ramp| *ramp > 0.0),
        slow: slow.collect(),
        // The standard library's hash maps are seeded by chance.
        run: arguments.write.as_ref().map(|_| RandomState::new().build_hasher().finish() as u32),
        threads: arguments.threads,
    })
}

fn bad_target(url: &str, error: &BadTarget) -> anyhow::Error {
    match error {
        BadTarget::Url(BadUrl::Tls) => failure(
            format!("can't load {url}: TLS is not supported"),
            "give the http:// URL of the server itself, not that of a proxy before it",
        ),
        BadTarget::Url(error) => failure(
            format!("can't load {url}: {error}"),
            "a log's URL is like http://127.0.0.1:8765/var/log/app.log",
        ),
        BadTarget::Host(error) => {
            unmet(format!("can't load {url}: {error}"), "look at the name of the host")
        }
    }
}

/// A load that is measured.
struct Bench<'a> {
    arguments: &'a Arguments,
    load: Load,
    ending: CancellationToken,
    told: Option<Instant>,
    lines_told: (Instant, u64),
}

async fn measure(arguments: &Arguments, plan: Plan, file: Option<File>) -> anyhow::Result<Report> {
    let usage = || Usage::of(&arguments.pids).map_err(|error| gone(&error));
    let ending = interrupted()
        .map_err(|error| unmet(format!("can't listen to signals: {error}"), "try again"))?;
    let run = plan.run.unwrap_or_default();
    let mut server = Server { before: usage()?, ..Server::default() };
    let load = Load::start(plan)
        .map_err(|error| unmet(format!("can't start: {error}"), "look at `ulimit -a`"))?;
    let now = Instant::now();
    let shows = io::stderr().is_terminal();
    let mut bench =
        Bench { arguments, load, ending, told: shows.then_some(now), lines_told: (now, 0) };
    bench.gather().await?;

    let counts = bench.load.counts();
    let before =
        [&counts.lines, &counts.messages, &counts.compressed, &counts.bytes].map(LiveCounts::get);
    server.begun = usage()?;
    let own = Usage::own().unwrap_or_default();
    let began = Instant::now();
    let (written, ended) = match file {
        Some(file) => {
            let schedule = Schedule {
                run,
                rate: arguments.rate,
                burst: arguments.burst,
                line_bytes: arguments.line_bytes,
                lines: lines(arguments) as u32,
            };
            let (written, ended) = bench.write(file, schedule).await?;
            (Some(written), ended)
        }
        None => {
            let until = began + Duration::from_secs_f64(arguments.duration);
            while Instant::now() < until && !bench.ending.is_cancelled() {
                bench.look(None).await?;
            }
            (None, Instant::now())
        }
    };
    let seconds = ended.duration_since(began).as_secs_f64();
    // What was lost is told all the same when the server is gone: most of all then.
    let gone = match usage() {
        Ok(ended) => {
            server.ended = ended;
            None
        }
        Err(error) => Some(format!("the process of `--pid` is gone: {error}")),
    };
    let client = Usage::own().unwrap_or_default().cpu - own.cpu;
    let until = Instant::now() + LINGER;
    while written.is_some() && Instant::now() < until {
        bench.look(None).await?;
    }
    bench.tell_nothing();

    let counts = bench.load.counts();
    let after =
        [&counts.lines, &counts.messages, &counts.compressed, &counts.bytes].map(LiveCounts::get);
    let [lines, messages, compressed, bytes] = [0, 1, 2, 3].map(|at| after[at] - before[at]);
    let viewers = Viewers {
        asked: all(arguments),
        slow: all(arguments) - u64::from(arguments.viewers),
        connected: LiveCounts::get(&counts.connected),
        live: LiveCounts::get(&counts.live),
        failed: LiveCounts::get(&counts.failed),
        closed: LiveCounts::get(&counts.closed),
        polled: LiveCounts::get(&counts.polled),
        live_after: LiveCounts::get(&counts.live_after) as f64 / 1e9,
    };
    let interrupted = bench.ending.is_cancelled();
    let total = written.as_ref().map(|written| written.lines);
    let (statistics, last) = bench.load.finish(total).map_err(|error| broken(&error))?;
    Ok(Report {
        urls: arguments.urls.clone(),
        viewers,
        written,
        delivered: Delivered { lines, messages, compressed, bytes, seconds },
        statistics,
        last,
        server: (!arguments.pids.is_empty() && gone.is_none()).then_some(server),
        gone,
        client: (client, arguments.threads),
        interrupted,
    })
}

fn gone(error: &io::Error) -> anyhow::Error {
    unmet(format!("the process of `--pid` is gone: {error}"), "look at why the server ended")
}

fn broken(error: &io::Error) -> anyhow::Error {
    unmet(format!("can't go on: {error}"), "look at `ulimit -a`")
}

impl Bench<'_> {
    /// Waits until all viewers are there and up to date, or nothing changes any more.
    async fn gather(&mut self) -> anyhow::Result<()> {
        let all = all(self.arguments);
        let mut seen = (0, 0, 0);
        let mut since = Instant::now();
        loop {
            let counts = self.load.counts();
            let failed = LiveCounts::get(&counts.failed) + LiveCounts::get(&counts.closed);
            let live = LiveCounts::get(&counts.live);
            let progress =
                LiveCounts::get(&counts.progress) + LiveCounts::get(&counts.slow_progress);
            let now = (failed, live, progress);
            if failed >= all {
                return Err(self.nobody());
            }
            // A viewer that is closed after it was live counts twice here, and does no harm.
            if failed + live >= all || self.ending.is_cancelled() {
                break;
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                break;
            }
            self.look(None).await?;
        }
        if self.arguments.write.is_some() {
            let until = Instant::now() + SETTLE;
            while Instant::now() < until && !self.ending.is_cancelled() {
                self.look(None).await?;
            }
        }
        Ok(())
    }

    /// Not one viewer could connect.
    fn nobody(&self) -> anyhow::Error {
        self.tell_nothing();
        let url = self.arguments.urls.join(" ");
        let words = self.load.counts().first_reason();
        let hint = match words {
            "connection refused" => "is the server running there?",
            words if words.to_lowercase().contains("not found") => {
                "the server lists its logs at `/`; the log has to be there"
            }
            words if words.to_lowercase().contains("forbidden") => {
                "the server serves other directories: it lists its logs at `/`"
            }
            words if words.contains("tailcast.v1") => {
                "give `--protocol original` for servers that are not tailcast"
            }
            words if words.contains("421") => {
                "start the server with `--allow-host NAME`, or call it by its address"
            }
            _ => "look at the URL, and at what the server says",
        };
        unmet(format!("no viewer of {url} could connect: {words}"), hint)
    }

    /// Writes, and waits until everybody has everything, or nothing comes any more. It gives when the last came.
    async fn write(
        &mut self,
        file: File,
        schedule: Schedule,
    ) -> anyhow::Result<(writer::Written, Instant)> {
        let cannot = |error: io::Error| {
            let path = self.arguments.write.clone().unwrap_or_default();
            unmet(format!("can't write {}: {error}", path.display()), "look at the disk")
        };
        let writer = Writer::start(file, schedule).map_err(cannot)?;
        while !writer.is_done() {
            if self.ending.is_cancelled() {
                writer.stop();
            }
            self.look(Some(&writer)).await?;
        }
        let path = self.arguments.write.clone().unwrap_or_default();
        let written = writer.finish().map_err(|error| {
            unmet(format!("can't write {}: {error}", path.display()), "look at the disk")
        })?;
        let mut came = (0, Instant::now());
        // A server that lives and sends nothing more, or only to the slow, is not waited for.
        while !self.load.have_all(written.lines) {
            let progress = LiveCounts::get(&self.load.counts().progress);
            if progress > came.0 {
                came = (progress, Instant::now());
            } else if came.1.elapsed() > PATIENCE {
                return Ok((written, came.1));
            }
            self.look(None).await?;
        }
        Ok((written, Instant::now()))
    }

    /// Lets a moment pass, and tells how it goes.
    async fn look(&mut self, writer: Option<&Writer>) -> anyhow::Result<()> {
        sleep(LOOK).await;
        if self.load.is_broken() {
            return Err(broken(&io::Error::other("a thread has ended")));
        }
        let now = Instant::now();
        if self.told.is_none_or(|told| now.duration_since(told) < TELL) {
            return Ok(());
        }
        self.told = Some(now);
        let counts = self.load.counts();
        let lines = LiveCounts::get(&counts.lines);
        let (then, before) = std::mem::replace(&mut self.lines_told, (now, lines));
        let rate = (lines - before) as f64 / now.duration_since(then).as_secs_f64();
        let mut words = format!(
            "{} of {} viewers · {} lines delivered · {}/s",
            thousands(LiveCounts::get(&counts.connected) - LiveCounts::get(&counts.closed)),
            thousands(all(self.arguments)),
            thousands(lines),
            thousands(rate as u64),
        );
        if let Some(writer) = writer {
            words += &format!(" · {} written", thousands(writer.lines()));
        }
        let wrong = LiveCounts::get(&counts.faults) + LiveCounts::get(&counts.failed);
        if wrong > 0 {
            words += &format!(" · {} faults", thousands(wrong));
        }
        // Where stderr is gone nobody watches.
        let _told = write!(io::stderr(), "\r\x1b[K{words}");
        Ok(())
    }

    /// Takes the progress away.
    fn tell_nothing(&self) {
        if self.told.is_some() {
            let _told = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Cancelled at the first SIGINT or SIGTERM: what there is is told then. The second ends the process at once.
fn interrupted() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
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
        asked().await;
        leave_at_once();
    });
    Ok(ending)
}

#[expect(clippy::exit, reason = "the second signal is a wish to be rid of the process now")]
fn leave_at_once() {
    std::process::exit(130);
}
