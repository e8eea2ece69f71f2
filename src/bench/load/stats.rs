//! What a load has counted: how late each line was, and what is missing or came twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in nanoseconds: an hour.
const LATENCY_MAX: u64 = 3_600_000_000_000;
/// So many faults are told one by one.
const FAULTS_TOLD: usize = 8;
/// So many lines may be under way to some of the viewers; more are given up, as far as the last viewer goes.
const UNDER_WAY_MAX: usize = 1 << 20;

/// A histogram of nanoseconds, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    let wanted = Histogram::new_with_bounds(1_000, LATENCY_MAX, 3);
    // These bounds are valid.
    wanted.unwrap_or_else(|_| unreachable!("the bounds of the histogram"))
}

/// What all threads count together, while it goes on.
#[derive(Debug, Default)]
pub(crate) struct LiveCounts {
    /// Connections that stand or stood.
    pub(crate) connected: AtomicU64,
    /// Those that have got their history.
    pub(crate) live: AtomicU64,
    /// Attempts that failed.
    pub(crate) failed: AtomicU64,
    /// Connections that ended before the load did.
    pub(crate) closed: AtomicU64,
    /// Viewers whose log the server looks at every now and then, because nothing wakes it.
    pub(crate) polled: AtomicU64,
    /// Viewers at full speed whose connection stands.
    pub(crate) standing: AtomicU64,
    /// How far these have come, in lines, all together.
    pub(crate) advanced: AtomicU64,
    /// Stamped lines that came.
    pub(crate) lines: AtomicU64,
    /// Messages of data that came.
    pub(crate) messages: AtomicU64,
    /// Of these, those that came compressed.
    pub(crate) compressed: AtomicU64,
    /// Bytes that came.
    pub(crate) bytes: AtomicU64,
    /// WantedGeneration these, those to viewers at full speed that are no heartbeats.
    pub(crate) progress: AtomicU64,
    /// The same of slow viewers.
    pub(crate) slow_progress: AtomicU64,
    /// Lines that are missing among those that came, that came twice, or bytes.
    pub(crate) faults: AtomicU64,
    /// When the last viewer was live, in nanoseconds since the start.
    pub(crate) live_after: AtomicU64,
    /// Why the first connection that was lost or not made was so.
    first_reason: OnceLock<String>,
}

impl LiveCounts {
    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    /// Why the first connection could not be made, or ended.
    pub(crate) fn first_reason(&self) -> &str {
        self.first_reason.get().map_or("", String::as_str)
    }

    pub(super) fn subtract(counter: &AtomicU64, less: u64) {
        counter.fetch_sub(less, Ordering::Relaxed);
    }
}

/// What one thread has counted, or all of them.
#[derive(Debug)]
pub(crate) struct Statistics {
    /// How late each line was for each viewer, in nanoseconds.
    pub(crate) each: Histogram<u64>,
    /// Lines that never came, summed over the viewers at full speed.
    pub(crate) lost: u64,
    /// Lines that came again or after a later one.
    pub(crate) twice: u64,
    /// Runs of lines or bytes that are missing.
    pub(crate) gaps: u64,
    /// Bytes of the log that are missing, where the protocol tells offsets.
    pub(crate) lost_bytes: u64,
    /// Bytes of the log that came again.
    pub(crate) twice_bytes: u64,
    /// How long it took to be live, for each viewer, in nanoseconds.
    pub(crate) joins: Histogram<u64>,
    /// The first faults, in words.
    pub(crate) faults: Vec<String>,
    /// Why connections could not be made or ended, and how many.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Of each slow viewer: bytes that it took, and the lines that it has come to.
    pub(crate) slow: Vec<Slow>,
}

/// How far a slow viewer has come.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    /// The bytes a second that it reads at most.
    pub(crate) pace: u64,
    /// The bytes that it has read.
    pub(crate) bytes: u64,
    /// The lines that it has come to.
    pub(crate) lines: u64,
    /// Whether its connection stood to the end.
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

    /// Notes a fault; only the first are put in words.
    pub(super) fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < FAULTS_TOLD {
            self.faults.push(words());
        }
    }

    /// Notes why a connection ended or could not be made.
    pub(super) fn reason(&mut self, why: &str, counts: &LiveCounts) {
        counts.first_reason.get_or_init(|| why.to_owned());
        *self.reasons.entry(why.to_owned()).or_default() += 1;
    }

    /// Adds what another thread has counted.
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
        self.faults.truncate(FAULTS_TOLD);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.slow.extend(other.slow);
    }
}

/// When each line reached the last of all viewers at full speed.
#[derive(Debug)]
pub(super) struct LastViewerLatency {
    /// How many threads have such viewers.
    threads: u32,
    state: Mutex<(BTreeMap<u32, LineArrivals>, Histogram<u64>)>,
}

/// A line on its way through the threads.
#[derive(Debug)]
struct LineArrivals {
    done: u32,
    last: u64,
}

impl LastViewerLatency {
    pub(super) fn new(threads: u32) -> Self {
        Self { threads, state: Mutex::new((BTreeMap::new(), histogram())) }
    }

    /// A line has reached the last viewer of a thread, so late.
    fn arrived(&self, sequence: u32, late: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (rounds, histogram) = &mut *state;
        if self.threads > 1 {
            let round = rounds.entry(sequence).or_insert(LineArrivals { done: 0, last: 0 });
            round.done += 1;
            round.last = round.last.max(late);
            if round.done < self.threads {
                if rounds.len() > UNDER_WAY_MAX {
                    rounds.pop_first();
                }
                return;
            }
            let last = round.last;
            rounds.remove(&sequence);
            histogram.saturating_record(last);
        } else {
            histogram.saturating_record(late);
        }
    }

    pub(super) fn histogram(&self) -> Histogram<u64> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }
}

/// The lines that have reached some of a thread's viewers, and not all.
#[derive(Debug, Default)]
pub(super) struct LinesInFlight {
    first: u32,
    lines: VecDeque<LineInFlight>,
    /// The thread's viewers at full speed that a new line is for.
    attending: u32,
}

#[derive(Clone, Copy, Debug)]
struct LineInFlight {
    awaited: u32,
    late: u64,
}

impl LinesInFlight {
    /// One more viewer attends. It gives the first line that it is counted for.
    pub(super) fn enter(&mut self) -> u32 {
        self.attending += 1;
        self.first.saturating_add(self.lines.len() as u32)
    }

    /// A viewer that was counted from `entered` on, and has come to `next`, is gone.
    pub(super) fn leave(&mut self, entered: u32, next: u32, across: &LastViewerLatency) {
        self.attending = self.attending.saturating_sub(1);
        let from = entered.max(next).saturating_sub(self.first) as usize;
        for line in self.lines.iter_mut().skip(from) {
            line.awaited = line.awaited.saturating_sub(1);
        }
        self.finish(across);
    }

    /// A line has reached a viewer so late.
    pub(super) fn arrive(&mut self, sequence: u32, late: u64, across: &LastViewerLatency) {
        if self.lines.is_empty() && self.first == 0 {
            // The run was under way when it was first heard of.
            self.first = sequence;
        }
        let Some(at) = sequence.checked_sub(self.first).map(|at| at as usize) else { return };
        if at >= UNDER_WAY_MAX {
            return;
        }
        while self.lines.len() <= at {
            self.lines.push_back(LineInFlight { awaited: self.attending, late: 0 });
        }
        let line = &mut self.lines[at];
        line.late = line.late.max(late);
        line.awaited = line.awaited.saturating_sub(1);
        if line.awaited == 0 && at == 0 {
            self.finish(across);
        }
    }

    fn finish(&mut self, across: &LastViewerLatency) {
        while let Some(line) = self.lines.front()
            && (line.awaited == 0 || self.lines.len() == UNDER_WAY_MAX)
        {
            if line.awaited == 0 && line.late > 0 {
                across.arrived(self.first, line.late);
            }
            self.lines.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that have reached the last viewer, and how late.
    fn told(across: &LastViewerLatency) -> (u64, u64) {
        let histogram = across.histogram();
        (histogram.len(), histogram.max() / 1_000_000)
    }

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_line_counts_when_the_last_viewer_has_it() {
        let across = LastViewerLatency::new(1);
        let mut under_way = LinesInFlight::default();
        assert_eq!((under_way.enter(), under_way.enter()), (0, 0));
        under_way.arrive(0, MILLISECOND, &across);
        under_way.arrive(1, MILLISECOND, &across);
        assert_eq!(told(&across).0, 0);
        under_way.arrive(1, 9 * MILLISECOND, &across);
        assert_eq!(told(&across).0, 0, "the second line came to all before the first did");
        under_way.arrive(0, 5 * MILLISECOND, &across);
        assert_eq!(told(&across), (2, 9));
    }

    #[test]
    fn a_line_is_not_waited_for_by_those_who_came_later_or_have_gone() {
        let across = LastViewerLatency::new(1);
        let mut under_way = LinesInFlight::default();
        under_way.enter();
        under_way.enter();
        under_way.arrive(0, MILLISECOND, &across);
        assert_eq!(under_way.enter(), 1);
        under_way.leave(0, 0, &across);
        assert_eq!(told(&across).0, 1);
        under_way.arrive(1, MILLISECOND, &across);
        under_way.arrive(1, MILLISECOND, &across);
        assert_eq!(told(&across).0, 2);
    }

    #[test]
    fn a_line_that_was_missed_by_one_holds_up_no_other() {
        let across = LastViewerLatency::new(1);
        let mut under_way = LinesInFlight::default();
        under_way.enter();
        under_way.enter();
        under_way.arrive(0, MILLISECOND, &across);
        under_way.arrive(1, MILLISECOND, &across);
        under_way.arrive(0, 0, &across);
        under_way.arrive(1, MILLISECOND, &across);
        assert_eq!(told(&across).0, 2);
    }

    #[test]
    fn the_last_viewer_may_be_in_another_thread() {
        let across = LastViewerLatency::new(2);
        across.arrived(0, MILLISECOND);
        across.arrived(1, MILLISECOND);
        assert_eq!(told(&across).0, 0);
        across.arrived(1, 7 * MILLISECOND);
        assert_eq!(told(&across), (1, 7));
    }
}
