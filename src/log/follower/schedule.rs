//! Which follower runs next: a run queue, a list of due times, and a limit for each device.
//!
//! It is a value without threads or clocks, so that its rules can be tested alone. A follower is in
//! one state at a time: it rests, is queued, is parked because its device is busy, or runs. So it
//! runs on one thread at a time, and a wake that comes while it runs lets it run once more.
//! Followers run in the order in which they were queued, and a follower that has more to do goes to
//! the end of the queue: a busy log does not delay the others.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// At most this many followers of one device run at a time. When a device hangs, the other threads
/// still serve the logs of other devices.
pub(super) const DEVICE_RUNS_MAX: usize = 4;
/// A follower that has run for this long is assumed to be stuck in a call to its file system.
pub(super) const STUCK_TIME: Duration = Duration::from_millis(500);

/// The number of a follower in the schedule. It is never used again.
pub(super) type Id = u64;

/// When a follower runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// As soon as all others that are queued have run.
    Now,
    /// At this time, or at a wake before.
    At(Instant),
    /// At this time. A wake does not make it earlier.
    NotBefore(Instant),
    /// Never.
    Ended,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Resting { until: Instant, ignores_wakes: bool },
    Queued,
    Parked,
    Running { since: Instant, was_woken: bool },
}

#[derive(Debug)]
struct Entry {
    device: u64,
    state: State,
}

#[derive(Debug, Default)]
struct Device {
    running: usize,
    parked: VecDeque<Id>,
}

/// The followers of a registry, and when each runs.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: HashMap<Id, Entry>,
    queue: VecDeque<Id>,
    /// The due times of the followers that rest.
    dues: BTreeSet<(Instant, Id)>,
    /// The devices with a follower that runs or is parked.
    devices: HashMap<u64, Device>,
    last_id: Id,
}

impl Schedule {
    /// Adds a follower, which runs as soon as it can.
    pub(super) fn add(&mut self, device: u64) -> Id {
        self.last_id += 1;
        self.entries.insert(self.last_id, Entry { device, state: State::Queued });
        self.queue.push_back(self.last_id);
        self.last_id
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many followers are queued.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether no follower waits for a thread, nor for its device.
    pub(super) fn is_nobody_waiting(&self) -> bool {
        self.queue.is_empty() && self.devices.values().all(|device| device.parked.is_empty())
    }

    /// Makes a follower run soon. Returns whether this call queued it.
    pub(super) fn wake(&mut self, id: Id) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        match &mut entry.state {
            State::Resting { ignores_wakes: true, .. } | State::Queued | State::Parked => false,
            State::Resting { until, ignores_wakes: false } => {
                self.dues.remove(&(*until, id));
                entry.state = State::Queued;
                self.queue.push_back(id);
                true
            }
            State::Running { was_woken, .. } => {
                *was_woken = true;
                false
            }
        }
    }

    /// Makes all followers run soon, also those that ignore wakes.
    pub(super) fn wake_all(&mut self) {
        for (&id, entry) in &mut self.entries {
            match &mut entry.state {
                State::Resting { .. } => {
                    entry.state = State::Queued;
                    self.queue.push_back(id);
                }
                State::Running { was_woken, .. } => *was_woken = true,
                State::Queued | State::Parked => {}
            }
        }
        self.dues.clear();
    }

    /// Queues the followers that are due. Returns how many.
    pub(super) fn queue_due(&mut self, now: Instant) -> usize {
        let mut queued = 0;
        while let Some(&(due, id)) = self.dues.first()
            && due <= now
        {
            self.dues.pop_first();
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.state = State::Queued;
                self.queue.push_back(id);
                queued += 1;
            }
        }
        queued
    }

    /// When the next resting follower is due. None when none rests.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.dues.first().map(|&(due, _)| due)
    }

    /// Takes the next follower to run. Those whose device is busy are parked. None when no follower
    /// can run now.
    pub(super) fn take(&mut self, now: Instant) -> Option<Id> {
        while let Some(id) = self.queue.pop_front() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let device = self.devices.entry(entry.device).or_default();
            if device.running < DEVICE_RUNS_MAX {
                device.running += 1;
                entry.state = State::Running { since: now, was_woken: false };
                return Some(id);
            }
            entry.state = State::Parked;
            device.parked.push_back(id);
        }
        None
    }

    /// Ends the run of a follower. One that was parked for its device is queued before all others.
    pub(super) fn finish(&mut self, id: Id, after: After) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let State::Running { was_woken, .. } = entry.state else { return };
        let number = entry.device;
        entry.state = match after {
            After::NotBefore(until) => State::Resting { until, ignores_wakes: true },
            After::At(until) if !was_woken => State::Resting { until, ignores_wakes: false },
            After::At(_) | After::Now | After::Ended => State::Queued,
        };
        match (after, &entry.state) {
            (After::Ended, _) => {
                self.entries.remove(&id);
            }
            (_, State::Resting { until, .. }) => {
                self.dues.insert((*until, id));
            }
            _ => self.queue.push_back(id),
        }
        let Some(device) = self.devices.get_mut(&number) else { return };
        device.running -= 1;
        match device.parked.pop_front() {
            Some(parked) => {
                if let Some(entry) = self.entries.get_mut(&parked) {
                    entry.state = State::Queued;
                }
                self.queue.push_front(parked);
            }
            None if device.running == 0 => {
                self.devices.remove(&number);
            }
            None => {}
        }
    }

    /// How many followers have run for longer than [`STUCK_TIME`].
    pub(super) fn stuck(&self, now: Instant) -> usize {
        let is_stuck = |entry: &&Entry| matches!(entry.state, State::Running { since, .. } if now.duration_since(since) > STUCK_TIME);
        self.entries.values().filter(is_stuck).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_follower_runs_once_for_many_wakes_and_once_more_for_those_that_come_while_it_runs() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let id = schedule.add(1);
        assert!(!schedule.wake(id), "it is queued already");
        assert_eq!((schedule.take(now), schedule.take(now)), (Some(id), None));
        assert!(!schedule.wake(id) && !schedule.wake(id));
        assert_eq!(schedule.take(now), None, "it runs on one thread at a time");
        schedule.finish(id, After::At(now + SECOND));
        assert_eq!(schedule.take(now), Some(id), "a wake came while it ran");
        schedule.finish(id, After::At(now + SECOND));
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.next_due(), Some(now + SECOND));
        assert!(schedule.wake(id));
        assert_eq!(schedule.next_due(), None, "it is queued before it is due");
    }

    #[test]
    fn a_follower_that_is_due_runs_without_a_wake_and_not_earlier() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let id = schedule.add(1);
        schedule.take(now);
        schedule.finish(id, After::At(now + SECOND));
        assert_eq!(schedule.queue_due(now + SECOND / 2), 0);
        assert_eq!(schedule.queue_due(now + SECOND), 1);
        assert_eq!(schedule.take(now), Some(id));
    }

    #[test]
    fn a_wake_does_not_end_a_rest_that_ignores_wakes() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let id = schedule.add(1);
        schedule.take(now);
        schedule.wake(id);
        schedule.finish(id, After::NotBefore(now + SECOND));
        assert!(!schedule.wake(id));
        assert_eq!(schedule.take(now), None);
        assert_eq!(schedule.queue_due(now + SECOND), 1);
        schedule.take(now);
        schedule.finish(id, After::NotBefore(now + SECOND));
        schedule.wake_all();
        assert_eq!(schedule.take(now), Some(id), "the end of the registry does");
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn a_follower_with_more_to_do_goes_behind_the_others() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let (busy, other) = (schedule.add(1), schedule.add(1));
        assert_eq!(schedule.take(now), Some(busy));
        schedule.finish(busy, After::Now);
        assert_eq!(schedule.take(now), Some(other));
        assert_eq!(schedule.take(now), Some(busy));
    }

    #[test]
    fn a_device_that_hangs_takes_a_few_threads_and_delays_only_its_own_followers() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        let hung: Vec<Id> = (0..10 * DEVICE_RUNS_MAX).map(|_| schedule.add(1)).collect();
        let other = schedule.add(2);
        let taken: Vec<Id> = std::iter::from_fn(|| schedule.take(now)).collect();
        let (first, parked) = hung.split_at(DEVICE_RUNS_MAX);
        assert_eq!(taken, [first, &[other]].concat());
        assert_eq!(schedule.queued(), 0);
        assert_eq!(schedule.stuck(now + STUCK_TIME), 0);
        assert_eq!(schedule.stuck(now + 2 * STUCK_TIME), DEVICE_RUNS_MAX + 1);
        schedule.finish(first[0], After::Ended);
        assert_eq!(schedule.take(now), Some(parked[0]), "one returned, one goes on");
        assert_eq!(schedule.take(now), None);
        let mut ran = vec![first[0]];
        while ran.len() < hung.len() {
            let running = hung.iter().copied().filter(|id| !ran.contains(id));
            let next = running.into_iter().next().unwrap();
            schedule.finish(next, After::Ended);
            ran.push(next);
            schedule.take(now);
        }
        schedule.finish(other, After::Ended);
        assert!(schedule.is_empty() && schedule.devices.is_empty(), "nothing is left");
    }
}
