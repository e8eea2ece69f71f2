//! The counts and the statistics of a load.

use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// The longest latency that is recorded exactly, in nanoseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// The most faults that are described.
const FAULTS_MAX: usize = 8;
/// The most lines that have reached only some of the viewers. Older ones are dropped from the
/// latency of the last viewer.
const IN_FLIGHT_MAX: usize = 1 << 20;

/// A histogram of nanoseconds, with three significant digits.
pub(crate) fn histogram() -> Histogram<u64> {
    let wanted = Histogram::new_with_bounds(1_000, LATENCY_MAX, 3);
    // These bounds are valid.
    wanted.unwrap_or_else(|_| unreachable!("the bounds of the histogram"))
}

/// The counts of all threads, readable while the load runs.
#[derive(Debug, Default)]
pub(crate) struct LiveCounts {
    /// Connections that are or were open.
    pub(crate) connected: AtomicU64,
    /// Viewers that have received their history.
    pub(crate) live: AtomicU64,
    /// Connections that could not be made.
    pub(crate) failed: AtomicU64,
    /// Connections that ended before the load did.
    pub(crate) closed: AtomicU64,
    /// Viewers whose log the server polls, because it gets no events for it.
    pub(crate) polled: AtomicU64,
    /// Viewers at full speed whose connection is open.
    pub(crate) standing: AtomicU64,
    /// The sum of the line positions of these viewers.
    pub(crate) advanced: AtomicU64,
    /// Stamped lines that arrived.
    pub(crate) lines: AtomicU64,
    /// Data messages that arrived.
    pub(crate) messages: AtomicU64,
    /// Of these, the compressed ones.
    pub(crate) compressed: AtomicU64,
    /// Bytes that arrived.
    pub(crate) bytes: AtomicU64,
    /// Payload bytes (without heartbeats) received by full-speed viewers.
    pub(crate) progress: AtomicU64,
    /// Payload bytes (without heartbeats) received by slow viewers.
    pub(crate) slow_progress: AtomicU64,
    /// Missing and repeated lines, and faults in offsets.
    pub(crate) faults: AtomicU64,
    /// When the last viewer was up to date, in nanoseconds since the start.
    pub(crate) live_after: AtomicU64,
    /// Why the first connection failed or ended.
    first_reason: OnceLock<String>,
}

impl LiveCounts {
    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// Why the first connection failed or ended; empty if none did.
    pub(crate) fn first_reason(&self) -> &str {
        self.first_reason.get().map_or("", String::as_str)
    }

    pub(super) fn subtract(counter: &AtomicU64, less: u64) {
        counter.fetch_sub(less, Ordering::Relaxed);
    }
}

/// The results of one thread, or the sum over all.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// The latency of each line for each viewer, in nanoseconds.
    pub(crate) each: Histogram<u64>,
    /// Lines that never arrived, summed over the viewers at full speed.
    pub(crate) lost: u64,
    /// Lines that arrived again, or after a later line.
    pub(crate) twice: u64,
    /// Runs of missing lines or bytes.
    pub(crate) gaps: u64,
    /// Missing bytes of the log, if the protocol sends offsets.
    pub(crate) lost_bytes: u64,
    /// Repeated bytes of the log.
    pub(crate) twice_bytes: u64,
    /// The time until each viewer was up to date, in nanoseconds.
    pub(crate) joins: Histogram<u64>,
    /// The first faults, in words.
    pub(crate) faults: Vec<String>,
    /// Why connections failed or ended, and how many.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// The results of each slow viewer.
    pub(crate) slow: Vec<Slow>,
}

/// The result of a slow viewer.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// The most bytes per second that it reads.
    pub(crate) pace: u64,
    /// The bytes that it has read.
    pub(crate) bytes: u64,
    /// The number of the next line.
    pub(crate) lines: u64,
    /// Whether its connection was open until the end.
    pub(crate) stood: bool,
}

impl Statistics {
    pub(super) fn new() -> Self {
        Self {
            each: histogram(),
            lost: 0,
            twice: 0,
            gaps: 0,
            lost_bytes: 0,
            twice_bytes: 0,
            joins: histogram(),
            faults: Vec::new(),
            reasons: BTreeMap::new(),
            slow: Vec::new(),
        }
    }

    /// Records a fault; only the first are described.
    pub(super) fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(words());
        }
    }

    /// Records why a connection failed or ended.
    pub(super) fn reason(&mut self, why: &str, counts: &LiveCounts) {
        counts.first_reason.get_or_init(|| why.to_owned());
        *self.reasons.entry(why.to_owned()).or_default() += 1;
    }

    /// Adds the results of another thread.
    pub(super) fn add(&mut self, other: Self) {
        // All histograms have the same bounds.
        let _added = self.each.add(&other.each);
        let _added = self.joins.add(&other.joins);
        self.lost += other.lost;
        self.twice += other.twice;
        self.gaps += other.gaps;
        self.lost_bytes += other.lost_bytes;
        self.twice_bytes += other.twice_bytes;
        self.faults.extend(other.faults);
        self.faults.truncate(FAULTS_MAX);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.slow.extend(other.slow);
    }
}

/// The latency of each line for the last viewer at full speed, across all threads.
#[derive(Debug)]
pub(super) struct LastViewerLatency {
    /// The threads that have such viewers.
    threads: u32,
    state: Mutex<(BTreeMap<u32, LineArrivals>, Histogram<u64>)>,
}

/// A line that has reached the viewers of some threads.
#[derive(Debug)]
struct LineArrivals {
    done: u32,
    last: u64,
}

impl LastViewerLatency {
    pub(super) fn new(threads: u32) -> Self {
        Self { threads, state: Mutex::new((BTreeMap::new(), histogram())) }
    }

    /// A line has reached the last viewer of a thread, with this latency.
    fn arrived(&self, sequence: u32, late: u64) {
        let mut state = self.state.lock();
        let (lines_in_threads, histogram) = &mut *state;
        if self.threads > 1 {
            let line =
                lines_in_threads.entry(sequence).or_insert(LineArrivals { done: 0, last: 0 });
            line.done += 1;
            line.last = line.last.max(late);
            if line.done < self.threads {
                if lines_in_threads.len() > IN_FLIGHT_MAX {
                    lines_in_threads.pop_first();
                }
                return;
            }
            let last = line.last;
            lines_in_threads.remove(&sequence);
            histogram.saturating_record(last);
        } else {
            histogram.saturating_record(late);
        }
    }

    pub(super) fn histogram(&self) -> Histogram<u64> {
        self.state.lock().1.clone()
    }
}

/// The lines that have reached some viewers of a thread, but not all.
#[derive(Debug, Default)]
pub(super) struct LinesInFlight {
    first: u32,
    lines: VecDeque<LineInFlight>,
    /// The thread's viewers at full speed that new lines are for.
    viewers: u32,
}

#[derive(Clone, Copy, Debug)]
struct LineInFlight {
    awaited: u32,
    late: u64,
}

impl LinesInFlight {
    /// Adds a viewer. Returns the first line that is counted for it.
    pub(super) fn enter(&mut self) -> u32 {
        self.viewers += 1;
        self.first.saturating_add(self.lines.len() as u32)
    }

    /// Removes a viewer that was counted from `first_counted` on and has all lines before `next`.
    pub(super) fn leave(&mut self, first_counted: u32, next: u32, last_viewer: &LastViewerLatency) {
        self.viewers = self.viewers.saturating_sub(1);
        let from = first_counted.max(next).saturating_sub(self.first) as usize;
        for line in self.lines.iter_mut().skip(from) {
            line.awaited = line.awaited.saturating_sub(1);
        }
        self.finish(last_viewer);
    }

    /// A line has reached a viewer, with this latency.
    pub(super) fn arrive(&mut self, sequence: u32, late: u64, last_viewer: &LastViewerLatency) {
        if self.lines.is_empty() && self.first == 0 {
            // The run had begun before its first line arrived here.
            self.first = sequence;
        }
        let Some(at) = sequence.checked_sub(self.first).map(|at| at as usize) else { return };
        if at >= IN_FLIGHT_MAX {
            return;
        }
        while self.lines.len() <= at {
            self.lines.push_back(LineInFlight { awaited: self.viewers, late: 0 });
        }
        let line = &mut self.lines[at];
        line.late = line.late.max(late);
        line.awaited = line.awaited.saturating_sub(1);
        if line.awaited == 0 && at == 0 {
            self.finish(last_viewer);
        }
    }

    fn finish(&mut self, last_viewer: &LastViewerLatency) {
        while let Some(line) = self.lines.front()
            && (line.awaited == 0 || self.lines.len() == IN_FLIGHT_MAX)
        {
            if line.awaited == 0 && line.late > 0 {
                last_viewer.arrived(self.first, line.late);
            }
            self.lines.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of lines that have reached the last viewer, and the highest latency in ms.
    fn reached_all(last_viewer: &LastViewerLatency) -> (u64, u64) {
        let histogram = last_viewer.histogram();
        (histogram.len(), histogram.max() / 1_000_000)
    }

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_line_counts_when_it_reaches_the_last_viewer() {
        let last_viewer = LastViewerLatency::new(1);
        let mut in_flight = LinesInFlight::default();
        assert_eq!((in_flight.enter(), in_flight.enter()), (0, 0));
        in_flight.arrive(0, MILLISECOND, &last_viewer);
        in_flight.arrive(1, MILLISECOND, &last_viewer);
        assert_eq!(reached_all(&last_viewer).0, 0);
        in_flight.arrive(1, 9 * MILLISECOND, &last_viewer);
        assert_eq!(reached_all(&last_viewer).0, 0, "the second line reached all before the first");
        in_flight.arrive(0, 5 * MILLISECOND, &last_viewer);
        assert_eq!(reached_all(&last_viewer), (2, 9));
    }

    #[test]
    fn a_line_does_not_wait_for_viewers_that_joined_later_or_left() {
        let last_viewer = LastViewerLatency::new(1);
        let mut in_flight = LinesInFlight::default();
        in_flight.enter();
        in_flight.enter();
        in_flight.arrive(0, MILLISECOND, &last_viewer);
        assert_eq!(in_flight.enter(), 1);
        in_flight.leave(0, 0, &last_viewer);
        assert_eq!(reached_all(&last_viewer).0, 1);
        in_flight.arrive(1, MILLISECOND, &last_viewer);
        in_flight.arrive(1, MILLISECOND, &last_viewer);
        assert_eq!(reached_all(&last_viewer).0, 2);
    }

    #[test]
    fn a_line_that_one_viewer_missed_delays_no_other_line() {
        let last_viewer = LastViewerLatency::new(1);
        let mut in_flight = LinesInFlight::default();
        in_flight.enter();
        in_flight.enter();
        in_flight.arrive(0, MILLISECOND, &last_viewer);
        in_flight.arrive(1, MILLISECOND, &last_viewer);
        in_flight.arrive(0, 0, &last_viewer);
        in_flight.arrive(1, MILLISECOND, &last_viewer);
        assert_eq!(reached_all(&last_viewer).0, 2);
    }

    #[test]
    fn the_last_viewer_can_be_in_another_thread() {
        let last_viewer = LastViewerLatency::new(2);
        last_viewer.arrived(0, MILLISECOND);
        last_viewer.arrived(1, MILLISECOND);
        assert_eq!(reached_all(&last_viewer).0, 0);
        last_viewer.arrived(1, 7 * MILLISECOND);
        assert_eq!(reached_all(&last_viewer), (1, 7));
    }
}
