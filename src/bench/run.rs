//! One measurement: viewers connect, lines are written or awaited, and a report is made.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::bench::load::{LiveCounts, Load, Plan};
use crate::bench::process::Usage;
use crate::bench::report::{Delivered, Report, Server, Viewers};
use crate::bench::writer::{Schedule, Writer, Written};

/// Waiting ends when nothing has changed for this time.
const NO_CHANGE_MAX: Duration = Duration::from_secs(10);
/// The pause before lines are written. Not every protocol tells when a viewer is up to date.
const SETTLE_TIME: Duration = Duration::from_secs(1);
/// The time after the last line in which lines that come twice are still counted.
const LINGER_TIME: Duration = Duration::from_millis(300);
/// The interval at which the counts are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(10);

/// What to measure.
pub(crate) struct Measurement {
    /// The URLs, for the report.
    pub(crate) urls: Vec<String>,
    /// The viewers.
    pub(crate) plan: Plan,
    /// What to write, and where. Without it the lines of others are measured.
    pub(crate) write: Option<(File, Schedule)>,
    /// The time to listen, if nothing is written.
    pub(crate) listen: Duration,
    /// The processes of the server.
    pub(crate) pids: Vec<u32>,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// Viewers whose connection is open.
    pub(crate) connected: u64,
    /// Viewers in all.
    pub(crate) viewers: u64,
    /// Stamped lines that arrived, summed over the viewers.
    pub(crate) delivered: u64,
    /// Lines written so far; `None` while nothing is written.
    pub(crate) written: Option<u64>,
    /// Missing and repeated lines, and failed connections.
    pub(crate) faults: u64,
}

/// Why a measurement has no report.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The load client could not start, or one of its threads ended.
    Load(io::Error),
    /// The server's processes cannot be read.
    Process(io::Error),
    /// No viewer could connect. Contains the first reason.
    NoViewer(String),
    /// The log could not be written.
    Write(io::Error),
}

impl Display for RunError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("the load client failed"),
            Self::Process(_) => f.write_str("the process of `--pid` is gone"),
            Self::NoViewer(reason) => write!(f, "no viewer could connect: {reason}"),
            Self::Write(_) => f.write_str("the log cannot be written"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Load(error) | Self::Process(error) | Self::Write(error) => Some(error),
            Self::NoViewer(_) => None,
        }
    }
}

/// The load while it is measured.
struct Run<P> {
    load: Load,
    viewers: u64,
    /// Cancelled to end early; the report then covers the time so far.
    stop: CancellationToken,
    on_progress: P,
}

/// Measures. `on_progress` is called every 10 ms. Cancelling `stop` ends the measurement early,
/// with a report of the time so far.
///
/// # Errors
/// See [`RunError`]. A server that ends during the measurement is no error: the report says so.
pub(crate) async fn measure(
    measurement: Measurement,
    stop: CancellationToken,
    on_progress: impl FnMut(Progress),
) -> Result<Report, RunError> {
    let Measurement { urls, plan, write, listen, pids } = measurement;
    let usage = || Usage::of(&pids);
    let threads = plan.threads;
    let (viewers, slow) = (plan.all(), plan.slow.len() as u64);
    let mut server = Server { before: usage().map_err(RunError::Process)?, ..Server::default() };
    let load = Load::start(plan).map_err(RunError::Load)?;
    let mut run = Run { load, viewers, stop, on_progress };
    run.connect().await?;
    if write.is_some() {
        run.wait(SETTLE_TIME).await?;
    }

    let before = run.counts();
    server.begun = usage().map_err(RunError::Process)?;
    let client_before = Usage::own().unwrap_or_default();
    let began = Instant::now();
    let (written, ended) = match write {
        Some((file, schedule)) => {
            let (written, ended) = run.write(file, schedule).await?;
            (Some(written), ended)
        }
        None => {
            run.wait(listen).await?;
            (None, Instant::now())
        }
    };
    let seconds = ended.duration_since(began).as_secs_f64();
    // If the server is gone the report is still made, since that is when lines are lost.
    let gone = match usage() {
        Ok(ended) => {
            server.ended = ended;
            None
        }
        Err(error) => Some(format!("the process of `--pid` is gone: {error}")),
    };
    let client = Usage::own().unwrap_or_default().cpu_since(&client_before);
    let is_interrupted = run.stop.is_cancelled();
    if written.is_some() {
        run.linger().await?;
    }
    let after = run.counts();
    let delivered = Delivered {
        lines: after.lines - before.lines,
        messages: after.messages - before.messages,
        compressed: after.compressed - before.compressed,
        bytes: after.bytes - before.bytes,
        seconds,
    };
    let viewers = run.viewers(slow);
    let total = written.as_ref().map(|written| written.lines);
    let (statistics, last) = run.load.finish(total).map_err(RunError::Load)?;
    Ok(Report {
        urls,
        viewers,
        written,
        delivered,
        statistics,
        last,
        server: (!pids.is_empty() && gone.is_none()).then_some(server),
        gone,
        client: (client, threads),
        interrupted: is_interrupted,
    })
}

/// What has arrived so far.
struct Counts {
    lines: u64,
    messages: u64,
    compressed: u64,
    bytes: u64,
}

impl<P: FnMut(Progress)> Run<P> {
    fn counts(&self) -> Counts {
        let counts = self.load.counts();
        Counts {
            lines: LiveCounts::get(&counts.lines),
            messages: LiveCounts::get(&counts.messages),
            compressed: LiveCounts::get(&counts.compressed),
            bytes: LiveCounts::get(&counts.bytes),
        }
    }

    fn viewers(&self, slow: u64) -> Viewers {
        let counts = self.load.counts();
        Viewers {
            asked: self.viewers,
            slow,
            connected: LiveCounts::get(&counts.connected),
            live: LiveCounts::get(&counts.live),
            failed: LiveCounts::get(&counts.failed),
            closed: LiveCounts::get(&counts.closed),
            polled: LiveCounts::get(&counts.polled),
            live_after: LiveCounts::get(&counts.live_after) as f64 / 1e9,
        }
    }

    /// Waits until all viewers are up to date, or nothing changes any more.
    async fn connect(&mut self) -> Result<(), RunError> {
        let mut last = (0, 0, 0);
        let mut changed = Instant::now();
        loop {
            let counts = self.load.counts();
            let failed = LiveCounts::get(&counts.failed) + LiveCounts::get(&counts.closed);
            let live = LiveCounts::get(&counts.live);
            let progress =
                LiveCounts::get(&counts.progress) + LiveCounts::get(&counts.slow_progress);
            if failed >= self.viewers {
                return Err(RunError::NoViewer(counts.first_reason().to_owned()));
            }
            // A viewer that is closed after it was live counts twice here, which is harmless.
            if failed + live >= self.viewers || self.stop.is_cancelled() {
                return Ok(());
            }
            if (failed, live, progress) != last {
                (last, changed) = ((failed, live, progress), Instant::now());
            } else if changed.elapsed() > NO_CHANGE_MAX {
                return Ok(());
            }
            self.pause(None).await?;
        }
    }

    /// Writes, and waits until all lines have arrived everywhere, or nothing arrives any more.
    /// Returns the time of the last arrival.
    async fn write(
        &mut self,
        file: File,
        schedule: Schedule,
    ) -> Result<(Written, Instant), RunError> {
        let writer = Writer::start(file, schedule).map_err(RunError::Write)?;
        while !writer.is_done() {
            if self.stop.is_cancelled() {
                writer.stop();
            }
            self.pause(Some(&writer)).await?;
        }
        let written = writer.finish().map_err(RunError::Write)?;
        let mut last = (0, Instant::now());
        // Progress of slow viewers alone does not prolong the wait.
        while !self.load.have_all(written.lines) {
            let progress = LiveCounts::get(&self.load.counts().progress);
            if progress > last.0 {
                last = (progress, Instant::now());
            } else if last.1.elapsed() > NO_CHANGE_MAX {
                return Ok((written, last.1));
            }
            self.pause(None).await?;
        }
        Ok((written, Instant::now()))
    }

    /// Waits for this time, or until the measurement is stopped.
    async fn wait(&mut self, time: Duration) -> Result<(), RunError> {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.stop.is_cancelled() {
            self.pause(None).await?;
        }
        Ok(())
    }

    /// Waits for lines that come twice.
    async fn linger(&mut self) -> Result<(), RunError> {
        let until = Instant::now() + LINGER_TIME;
        while Instant::now() < until {
            self.pause(None).await?;
        }
        Ok(())
    }

    /// Waits for a moment, and reports the progress.
    async fn pause(&mut self, writer: Option<&Writer>) -> Result<(), RunError> {
        sleep(CHECK_INTERVAL).await;
        if self.load.is_broken() {
            return Err(RunError::Load(io::Error::other("a thread ended")));
        }
        let counts = self.load.counts();
        let open =
            LiveCounts::get(&counts.connected).saturating_sub(LiveCounts::get(&counts.closed));
        (self.on_progress)(Progress {
            connected: open,
            viewers: self.viewers,
            delivered: LiveCounts::get(&counts.lines),
            written: writer.map(Writer::lines),
            faults: LiveCounts::get(&counts.faults) + LiveCounts::get(&counts.failed),
        });
        Ok(())
    }
}
