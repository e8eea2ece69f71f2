//! A load: thousands of viewers of a log in a few threads. They measure the latency of each line,
//! and notice lines that are missing or come twice.
//!
//! Lines are recognised by their [`Stamp`]s, whatever the server makes of the rest. In
//! `tailcast.v1` the offsets of the bytes are checked as well. Each viewer is only a socket and a
//! few numbers, and parses frames in the read buffer, so that one core can load a server with 5,000
//! viewers.

mod decode;
mod socket;
mod stamp;
mod stats;
mod target;
mod viewer;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub(crate) use stamp::{STAMP_BYTES, Stamp, now};
pub(crate) use stats::{LiveCounts, Statistics, histogram};
pub(crate) use target::{BadTarget, Protocol, Target};

use stats::LastViewerLatency;

/// The viewers of a load.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Viewers use these in turn.
    pub(crate) targets: Vec<Target>,
    /// Viewers at full speed.
    pub(crate) viewers: u64,
    /// Viewers that connect per second; `None` for all at once.
    pub(crate) ramp: Option<f64>,
    /// The bytes per second of each additional slow viewer.
    pub(crate) slow: Vec<u64>,
    /// The run that this process writes, if it writes one.
    pub(crate) run: Option<u32>,
    pub(crate) threads: u64,
}

impl Plan {
    /// The number of viewers, with slow ones.
    pub(crate) fn all(&self) -> u64 {
        self.viewers + self.slow.len() as u64
    }

    fn target(&self, number: u64) -> &Target {
        &self.targets[number as usize % self.targets.len()]
    }

    /// The time from the start until a viewer connects.
    fn due(&self, number: u64) -> Duration {
        self.ramp.map_or(Duration::ZERO, |ramp| Duration::from_secs_f64(number as f64 / ramp))
    }

    /// The bytes per second of a slow viewer; `None` for others.
    fn pace(&self, number: u64) -> Option<u64> {
        number.checked_sub(self.viewers).and_then(|slow| self.slow.get(slow as usize).copied())
    }
}

/// The run whose lines are counted.
#[derive(Debug)]
enum Run {
    /// The run that this process writes.
    Own(u32),
    /// The first run that arrives, of those that were written after this moment.
    Met(OnceLock<u32>, u64),
}

impl Run {
    fn is_of(&self, stamp: &Stamp) -> bool {
        match self {
            Self::Own(run) => *run == stamp.run,
            Self::Met(run, since) => {
                *since <= stamp.due && *run.get_or_init(|| stamp.run) == stamp.run
            }
        }
    }
}

/// The state that the threads of a load share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    run: Run,
    counts: LiveCounts,
    last_viewer: LastViewerLatency,
    is_over: AtomicBool,
    /// The number of lines that were written.
    total: OnceLock<u32>,
}

/// A load in progress. [`Load::finish`] ends it.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Statistics>>>,
}

impl Load {
    /// Starts the threads, which connect the viewers.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let threads = plan.threads.clamp(1, plan.viewers.max(1));
        let shared = Arc::new(Shared {
            started: Instant::now(),
            run: plan.run.map_or_else(|| Run::Met(OnceLock::new(), now()), Run::Own),
            counts: LiveCounts::default(),
            last_viewer: LastViewerLatency::new(threads as u32),
            is_over: AtomicBool::new(false),
            total: OnceLock::new(),
        });
        let plan = Arc::new(plan);
        let threads = (0..threads).map(|rest| {
            let (plan, shared) = (Arc::clone(&plan), Arc::clone(&shared));
            let thread = std::thread::Builder::new().name(format!("load-{rest}"));
            thread.spawn(move || worker::run(&plan, &shared, rest, threads))
        });
        let threads = threads.collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// The counts so far.
    pub(crate) fn counts(&self) -> &LiveCounts {
        &self.shared.counts
    }

    /// Whether all connected viewers at full speed have this many lines.
    pub(crate) fn have_all(&self, lines: u32) -> bool {
        let counts = self.counts();
        let (standing, advanced) =
            (LiveCounts::get(&counts.standing), LiveCounts::get(&counts.advanced));
        advanced >= standing * u64::from(lines)
    }

    /// Whether a thread ended by itself, which happens only after an error.
    pub(crate) fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends the load. `total` is the number of written lines, if this process wrote them. Returns
    /// the statistics, and the latency of each line for the last viewer.
    pub(crate) fn finish(self, total: Option<u32>) -> io::Result<(Statistics, Histogram<u64>)> {
        if let Some(total) = total {
            self.shared.total.get_or_init(|| total);
        }
        self.shared.is_over.store(true, Ordering::Release);
        let mut statistics = Statistics::new();
        for thread in self.threads {
            statistics.add(thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
        }
        Ok((statistics, self.shared.last_viewer.histogram()))
    }
}
