//! One thread of a load: it waits for the sockets of all of its viewers at once.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use crate::bench::load::decode::MessageCache;
use crate::bench::load::stats::{LinesInFlight, LiveCounts, Statistics};
use crate::bench::load::viewer::{READ_BYTES, Readiness, Results, ThreadState, Viewer};
use crate::bench::load::{Plan, Shared};
use crate::client::connection::without_code;

/// The longest wait before the end of the load is noticed.
const WAIT: Duration = Duration::from_millis(50);
/// The interval at which slow viewers read.
const TICK: Duration = Duration::from_millis(20);
/// The most viewers that start to connect before sockets are read again.
const CONNECT_BURST: usize = 64;
/// The most sockets of one wait.
const EVENTS: usize = 1024;

/// The viewers of one thread.
struct Worker<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    viewers: Vec<Viewer>,
    /// Viewers that read at each tick.
    slow: Vec<usize>,
    state: ThreadState<'a>,
}

/// Runs the viewers whose number modulo `threads` is `rest`, until the load is over.
pub(super) fn run(
    plan: &Plan,
    shared: &Arc<Shared>,
    rest: u64,
    threads: u64,
) -> std::io::Result<Statistics> {
    let results =
        Results { shared, statistics: Statistics::new(), in_flight: LinesInFlight::default() };
    let mut worker = Worker {
        plan,
        epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        viewers: Vec::new(),
        slow: Vec::new(),
        state: ThreadState {
            cache: MessageCache::new(),
            buffer: vec![0; READ_BYTES],
            heartbeats: 0,
            results,
        },
    };
    let mut numbers = (rest..plan.all()).step_by(threads as usize).peekable();
    let mut events = Vec::with_capacity(EVENTS);
    let mut ticked = Instant::now();
    while !shared.is_over.load(Ordering::Acquire) {
        for _ in 0..CONNECT_BURST {
            match numbers.next_if(|number| plan.due(*number) <= shared.started.elapsed()) {
                Some(number) => worker.connect(number),
                None => break,
            }
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            worker.tick();
        }
        let next = numbers.peek().map(|number| plan.due(*number));
        let until_next = next.map(|due| due.saturating_sub(shared.started.elapsed()));
        let tick = if worker.slow.is_empty() { WAIT } else { TICK };
        worker.wait(&mut events, until_next.map_or(tick, |until| until.min(tick)))?;
    }
    let total = shared.total.get().copied();
    for viewer in &mut worker.viewers {
        viewer.leave(total, &mut worker.state.results);
    }
    Ok(worker.state.results.statistics)
}

impl Worker<'_> {
    fn connect(&mut self, number: u64) {
        let connecting = Viewer::connect(self.plan.target(number), number, self.plan.pace(number));
        let added = connecting.and_then(|viewer| {
            let data = epoll::EventData::new_u64(self.viewers.len() as u64);
            epoll::add(&self.epoll, viewer.io(), data, epoll::EventFlags::OUT)?;
            self.viewers.push(viewer);
            Ok(())
        });
        if let Err(error) = added {
            let counts = &self.state.results.shared.counts;
            LiveCounts::add(&counts.failed, 1);
            self.state.results.statistics.reason(&without_code(&error), counts);
        }
    }

    /// Waits for events for at most this time, and handles them.
    fn wait(&mut self, events: &mut Vec<epoll::Event>, wait: Duration) -> std::io::Result<()> {
        events.clear();
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            let at = event.data.u64() as usize;
            let viewer = &mut self.viewers[at];
            let target = self.plan.target(viewer.number());
            let change = viewer.ready(target, &mut self.state);
            self.apply(at, change)?;
        }
        Ok(())
    }

    fn apply(&mut self, at: usize, change: Readiness) -> std::io::Result<()> {
        let io = self.viewers[at].io();
        match change {
            Readiness::On => {}
            Readiness::Read => {
                let data = epoll::EventData::new_u64(at as u64);
                epoll::modify(&self.epoll, io, data, epoll::EventFlags::IN)?;
            }
            Readiness::Slowly => {
                epoll::delete(&self.epoll, io)?;
                self.slow.push(at);
            }
            Readiness::Gone => {
                // A slow viewer has been removed already.
                let _gone = epoll::delete(&self.epoll, io);
                let _shut = io.shutdown(std::net::Shutdown::Both);
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        for at in &self.slow {
            let viewer = &mut self.viewers[*at];
            let target = self.plan.target(viewer.number());
            if viewer.tick(target, &mut self.state) == Readiness::Gone {
                let _shut = viewer.io().shutdown(std::net::Shutdown::Both);
            }
        }
        let viewers = &self.viewers;
        self.slow.retain(|at| !viewers[*at].is_gone());
    }
}
