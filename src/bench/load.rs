//! A load: thousands of viewers of a log in a few threads, which find out how late each line is and whether one is
//! missing or comes twice.
//!
//! Lines are known by the [`Stamp`]s in them, whatever the server makes of the rest; in `tailcast.v1` the offsets of
//! the bytes are checked as well. The viewers are no library clients: each is a socket and a few numbers, and reads
//! frames where they lie, so that one core loads a server with 5,000 of them.

mod decode;
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

/// What a load consists of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Viewers go to these in turn.
    pub(crate) targets: Vec<Target>,
    /// Viewers at full speed.
    pub(crate) viewers: u64,
    /// So many connect in a second; none: all at once.
    pub(crate) ramp: Option<f64>,
    /// More viewers, each with the bytes a second that it reads.
    pub(crate) slow: Vec<u64>,
    /// The run whose lines are written by this process.
    pub(crate) run: Option<u32>,
    pub(crate) threads: u64,
}

impl Plan {
    /// Viewers in all.
    pub(crate) fn all(&self) -> u64 {
        self.viewers + self.slow.len() as u64
    }

    fn target(&self, number: u64) -> &Target {
        &self.targets[number as usize % self.targets.len()]
    }

    /// When a viewer connects, after the start.
    fn due(&self, number: u64) -> Duration {
        self.ramp.map_or(Duration::ZERO, |ramp| Duration::from_secs_f64(number as f64 / ramp))
    }

    /// What a slow viewer reads in a second.
    fn pace(&self, number: u64) -> Option<u64> {
        number.checked_sub(self.viewers).and_then(|slow| self.slow.get(slow as usize).copied())
    }
}

/// Whose lines are counted.
#[derive(Debug)]
enum Run {
    /// Those that this process writes.
    Own(u32),
    /// Those of the run that is met first, and was written after this moment.
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

/// What the threads of a load share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    run: Run,
    counts: LiveCounts,
    across: LastViewerLatency,
    is_over: AtomicBool,
    /// How many lines were written in all.
    total: OnceLock<u32>,
}

/// A load that is under way. It ends with [`Load::finish`].
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<Statistics>>>,
}

impl Load {
    /// Lets the viewers come.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let threads = plan.threads.clamp(1, plan.viewers.max(1));
        let shared = Arc::new(Shared {
            started: Instant::now(),
            run: plan.run.map_or_else(|| Run::Met(OnceLock::new(), now()), Run::Own),
            counts: LiveCounts::default(),
            across: LastViewerLatency::new(threads as u32),
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

    /// What has been counted so far.
    pub(crate) fn counts(&self) -> &LiveCounts {
        &self.shared.counts
    }

    /// Whether every viewer at full speed whose connection stands has so many lines.
    pub(crate) fn have_all(&self, lines: u32) -> bool {
        let counts = self.counts();
        let (standing, advanced) =
            (LiveCounts::get(&counts.standing), LiveCounts::get(&counts.advanced));
        advanced >= standing * u64::from(lines)
    }

    /// Whether a thread has ended by itself, which it only does when something is wrong.
    pub(crate) fn is_broken(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Ends it. `total` lines were written, if this process wrote them. Besides what was counted it gives how late each
    /// line was for the last viewer.
    pub(crate) fn finish(self, total: Option<u32>) -> io::Result<(Statistics, Histogram<u64>)> {
        if let Some(total) = total {
            self.shared.total.get_or_init(|| total);
        }
        self.shared.is_over.store(true, Ordering::Release);
        let mut statistics = Statistics::new();
        for thread in self.threads {
            statistics.add(thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
        }
        Ok((statistics, self.shared.across.histogram()))
    }
}
