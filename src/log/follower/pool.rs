//! The threads that run followers.
//!
//! All that a follower does may block, so it runs on threads of its own, not on the runtime's. A
//! wake queues the follower, and a thread of the pool runs it. One thread more, the timer, queues
//! those that are due. Threads are started when they are needed and end with the last follower.
//!
//! A thread that has run a follower also runs a [small task](crate::log::nearby) that was woken by that,
//! if no follower waits. What happens to the log meanwhile lets the same thread run the follower once more.
//!
//! The thread of the watcher, which sees that a log was written to, runs the follower of that log itself where
//! this takes little time and nothing else waits: to wake another thread may cost more than the run. It
//! does so for a quarter of its time at most, so that a busy log does not delay the events of others.
//!
//! A file system that hangs keeps a thread in a call. The schedule lets each device keep a few
//! threads, and the timer starts another for each that is stuck, up to [`THREADS_MAX`] in all.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::log::follower::schedule::{After, DEVICE_RUNS_MAX, Id, Schedule};
use crate::log::nearby::{self, Woken};

/// At most this many threads run followers, not counting those that are stuck.
const THREADS: usize = 2 * DEVICE_RUNS_MAX;
/// At most this many threads run followers, including those that are stuck.
const THREADS_MAX: usize = 32;
/// While all threads are busy and followers are queued, the timer looks this often for stuck
/// threads.
const STUCK_CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The watcher's thread rests from jobs for so many times as long as the last one took.
const WATCHER_RESTS: u32 = 3;
/// The timer sleeps no longer than this.
const TIMER_SLEEP_MAX: Duration = Duration::from_secs(3600);

/// What the pool runs. It is dropped on a thread of the pool when it has ended or panicked.
pub(super) trait Job: Send {
    /// Runs once, and returns when to run again. `closing` is true in the last runs, when the pool
    /// ends.
    fn run(&mut self, closing: bool) -> After;

    /// Runs once on the watcher's thread. None, with nothing done, if that may take long or wait for
    /// anything, above all for the watcher.
    fn run_at_once(&mut self) -> Option<After>;
}

/// A job, which the thread that runs it locks.
type SharedJob = Arc<Mutex<Box<dyn Job>>>;

/// The threads, shared by the followers of one registry. Clones share them.
#[derive(Clone)]
pub(in crate::log) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<PoolState>,
    /// How many threads there are. [`Pool::close`] waits until there are none.
    threads: watch::Sender<usize>,
}

#[derive(Default)]
struct PoolState {
    schedule: Schedule,
    jobs: HashMap<Id, SharedJob>,
    /// Threads that wait for a follower to run, the latest last: it has the warmest caches.
    idle: Vec<Thread>,
    /// Threads that run followers, idle ones included.
    workers: usize,
    timer: Option<Timer>,
    /// The watcher's thread runs no job before this.
    watcher_rests_until: Option<Instant>,
    closing: bool,
}

/// The thread that queues followers that are due.
struct Timer {
    thread: Thread,
    /// The time of its next check at the latest.
    wakes_at: Instant,
}

impl Pool {
    /// A pool without threads.
    pub(in crate::log) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), threads: watch::channel(0).0 }))
    }

    /// Adds a job of a device, and runs it for the first time. Before that, `set_wake` is called
    /// with the job's number.
    pub(super) fn add(&self, device: u64, job: Box<dyn Job>, set_wake: impl FnOnce(Id)) {
        let mut state = self.0.state.lock();
        let id = state.schedule.add(device);
        state.jobs.insert(id, Arc::new(Mutex::new(job)));
        set_wake(id);
        let called = self.0.call_worker(&mut state);
        self.0.set_timer(&mut state, Instant::now() + TIMER_SLEEP_MAX);
        drop(state);
        unpark(called);
    }

    /// Makes a job run soon.
    pub(super) fn wake(&self, id: Id) {
        let mut state = self.0.state.lock();
        let called = state.schedule.wake(id).then(|| self.0.call_worker(&mut state)).flatten();
        // A thread that runs at once finds the state unlocked.
        drop(state);
        unpark(called);
    }

    /// The same on the thread of the watcher, which runs the job itself if that is soon done.
    pub(super) fn wake_for_write(&self, id: Id) {
        let mut state = self.0.state.lock();
        if !state.schedule.wake(id) {
            return;
        }
        let now = Instant::now();
        let is_rested = state.watcher_rests_until.is_none_or(|until| until <= now);
        if is_rested && state.schedule.queued() == 1 && !state.closing {
            self.0.run_at_once(&mut state, now);
        }
        let called = self.0.call_worker(&mut state);
        drop(state);
        unpark(called);
    }

    /// Runs all jobs until they have ended, and waits for their threads for at most this long.
    /// Returns whether all threads have ended. A thread that is stuck in a file system can't be
    /// ended.
    pub(in crate::log) async fn close(&self, at_most: Duration) -> bool {
        {
            let mut state = self.0.state.lock();
            state.closing = true;
            state.schedule.wake_all();
            self.0.call_workers(&mut state);
        }
        let mut threads = self.0.threads.subscribe();
        // The sender lives as long as `self`.
        timeout(at_most, threads.wait_for(|&threads| threads == 0)).await.is_ok()
    }
}

impl Shared {
    /// Makes a thread run what is queued: an idle one, which the caller has to unpark, or a new
    /// one.
    #[must_use]
    fn call_worker(self: &Arc<Self>, state: &mut PoolState) -> Option<Thread> {
        if state.schedule.queued() == 0 {
            return None;
        }
        if let Some(idle) = state.idle.pop() {
            return Some(idle);
        }
        if state.workers >= THREADS {
            let stuck = state.schedule.stuck(Instant::now());
            if state.workers >= (THREADS + stuck).min(THREADS_MAX) {
                // One of the threads will run it, or the timer finds them stuck.
                self.set_timer(state, Instant::now() + STUCK_CHECK_INTERVAL);
                return None;
            }
        }
        let shared = Arc::clone(self);
        match thread::Builder::new().name("follower".to_owned()).spawn(move || shared.work()) {
            Ok(_detached) => {
                state.workers += 1;
                self.threads.send_modify(|threads| *threads += 1);
            }
            Err(error) => {
                tracing::error!(%error, "can't start a thread for followers");
                self.set_timer(state, Instant::now() + STUCK_CHECK_INTERVAL);
            }
        }
        None
    }

    /// Calls a thread for each queued follower, up to the limit of threads.
    fn call_workers(self: &Arc<Self>, state: &mut PoolState) {
        for _ in 0..state.schedule.queued().min(THREADS_MAX) {
            unpark(self.call_worker(state));
        }
    }

    /// Makes the timer check at this time, or earlier. Starts the timer if necessary.
    fn set_timer(self: &Arc<Self>, state: &mut PoolState, at: Instant) {
        if let Some(timer) = &mut state.timer {
            if at < timer.wakes_at {
                timer.wakes_at = at;
                timer.thread.unpark();
            }
            return;
        }
        let shared = Arc::clone(self);
        match thread::Builder::new().name("follow-timer".to_owned()).spawn(move || shared.time()) {
            Ok(handle) => {
                state.timer = Some(Timer { thread: handle.thread().clone(), wakes_at: at });
                self.threads.send_modify(|threads| *threads += 1);
            }
            // The next run sets it again.
            Err(error) => tracing::error!(%error, "can't start the thread that times followers"),
        }
    }

    /// Runs on the timer's thread until there is no follower.
    fn time(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while !state.schedule.is_empty() {
            let now = Instant::now();
            for _ in 0..state.schedule.queue_due(now).min(THREADS) {
                unpark(self.call_worker(&mut state));
            }
            let mut wakes_at = state.schedule.next_due().unwrap_or(now + TIMER_SLEEP_MAX);
            if state.schedule.queued() > 0 && state.idle.is_empty() {
                // A thread that was called a moment ago runs it, unless there is none or all are
                // stuck.
                if state.workers == 0 || state.workers >= THREADS {
                    self.call_workers(&mut state);
                }
                wakes_at = wakes_at.min(now + STUCK_CHECK_INTERVAL);
            }
            if let Some(timer) = &mut state.timer {
                timer.wakes_at = wakes_at;
            }
            MutexGuard::unlocked(&mut state, || {
                thread::park_timeout(wakes_at.saturating_duration_since(Instant::now()));
            });
        }
        state.timer = None;
        drop(state);
        self.threads.send_modify(|threads| *threads -= 1);
    }

    /// Runs on each of the other threads until there is no follower, or there is a thread too many.
    fn work(self: &Arc<Self>) {
        let mut state = self.state.lock();
        loop {
            let now = Instant::now();
            if let Some(id) = state.schedule.take(now) {
                let Some(job) = state.jobs.get(&id).map(Arc::clone) else { continue };
                let closing = state.closing;
                let (after, woken) = MutexGuard::unlocked(&mut state, || {
                    nearby::keeping(|| run(&job, |job| job.run(closing)))
                });
                if let Some(woken) = woken {
                    run_woken(&mut state, woken, after);
                }
                self.finish(&mut state, id, after);
                MutexGuard::unlocked(&mut state, || drop(job));
                continue;
            }
            let is_surplus =
                state.workers > THREADS && state.workers > THREADS + state.schedule.stuck(now);
            if state.schedule.is_empty() || is_surplus {
                break;
            }
            state.idle.push(thread::current());
            MutexGuard::unlocked(&mut state, thread::park);
            // Something else may have unparked the thread.
            let own = thread::current().id();
            state.idle.retain(|idle| idle.id() != own);
        }
        state.workers -= 1;
        if state.schedule.is_empty() {
            state.idle.drain(..).for_each(|idle| idle.unpark());
            if let Some(timer) = &state.timer {
                timer.thread.unpark();
            }
        }
        drop(state);
        self.threads.send_modify(|threads| *threads -= 1);
    }

    /// Runs the next job on the watcher's thread. One that does not want that is queued again.
    fn run_at_once(self: &Arc<Self>, state: &mut MutexGuard<'_, PoolState>, now: Instant) {
        let Some(id) = state.schedule.take(now) else { return };
        let Some(job) = state.jobs.get(&id).map(Arc::clone) else { return };
        let run_job = || run(&job, |job| job.run_at_once().unwrap_or(After::Now));
        let (after, woken) = MutexGuard::unlocked(state, || nearby::keeping(run_job));
        if let Some(woken) = woken {
            run_woken(state, woken, after);
        }
        self.finish(state, id, after);
        let done = Instant::now();
        state.watcher_rests_until = Some(done + WATCHER_RESTS * (done - now));
        MutexGuard::unlocked(state, || drop(job));
    }

    fn finish(self: &Arc<Self>, state: &mut PoolState, id: Id, after: After) {
        state.schedule.finish(id, after);
        match after {
            After::Ended => {
                state.jobs.remove(&id);
            }
            After::At(due) | After::NotBefore(due) => self.set_timer(state, due),
            After::Now => {}
        }
    }
}

fn unpark(called: Option<Thread>) {
    if let Some(thread) = called {
        thread.unpark();
    }
}

/// Runs a task that a job has woken. The runtime runs it where the thread has more to do.
fn run_woken(state: &mut MutexGuard<'_, PoolState>, woken: Woken, after: After) {
    let is_free = matches!(after, After::At(_)) && state.schedule.is_nobody_waiting();
    MutexGuard::unlocked(state, || if is_free { woken.run_here() } else { woken.run_in_runtime() });
}

/// Runs a job. A job that panics has ended. The pool continues.
fn run(job: &SharedJob, run: impl FnOnce(&mut dyn Job) -> After) -> After {
    let mut job = job.lock();
    catch_unwind(AssertUnwindSafe(|| run(&mut **job))).unwrap_or_else(|panic| {
        tracing::error!(reason = reason_of(panic.as_ref()), "following a log has failed");
        After::Ended
    })
}

fn reason_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::log::nearby::IsSmall;

    const DEADLINE: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_secs(3600);

    /// A job that calls a function at each run.
    struct Calls<F>(F);

    impl<F: FnMut(bool) -> After + Send> Job for Calls<F> {
        fn run(&mut self, closing: bool) -> After {
            (self.0)(closing)
        }

        fn run_at_once(&mut self) -> Option<After> {
            Some((self.0)(false))
        }
    }

    impl Pool {
        fn add_calls(&self, device: u64, job: impl FnMut(bool) -> After + Send + 'static) -> Id {
            let mut number = 0;
            self.add(device, Box::new(Calls(job)), |id| number = id);
            number
        }
    }

    /// A job that reports each of its runs, and ends with the pool.
    fn reports(runs: Sender<Instant>) -> impl FnMut(bool) -> After + Send {
        move |closing| {
            runs.send(Instant::now()).unwrap();
            if closing { After::Ended } else { After::At(Instant::now() + HOUR) }
        }
    }

    fn next<T>(receiver: &Receiver<T>) -> T {
        receiver.recv_timeout(DEADLINE).expect("nothing came in time")
    }

    #[tokio::test]
    async fn a_job_runs_at_wakes_and_due_times_and_no_thread_is_left_at_the_end() {
        let (pool, (runs, ran)) = (Pool::new(), channel());
        let id = pool.add_calls(1, reports(runs));
        next(&ran);
        for _ in 0..100 {
            pool.wake(id);
            next(&ran);
        }
        let (dues, due) = channel();
        pool.add_calls(1, move |closing| {
            dues.send(()).unwrap();
            if closing {
                After::Ended
            } else {
                After::At(Instant::now() + Duration::from_millis(1))
            }
        });
        (0..10).for_each(|_| next(&due));
        assert!(pool.close(DEADLINE).await);
        assert_eq!((*pool.0.threads.borrow(), pool.0.state.lock().workers), (0, 0));
    }

    #[tokio::test]
    async fn jobs_that_hang_on_one_device_delay_those_of_others_by_nothing() {
        let (pool, released) = (Pool::new(), Arc::new(AtomicBool::new(false)));
        let hanging = Arc::new(AtomicUsize::new(0));
        for device in [1, 2, 3] {
            for _ in 0..2 * DEVICE_RUNS_MAX {
                let (released, hanging) = (Arc::clone(&released), Arc::clone(&hanging));
                pool.add_calls(device, move |_| {
                    hanging.fetch_add(1, Ordering::SeqCst);
                    while !released.load(Ordering::SeqCst) {
                        thread::sleep(Duration::from_millis(1));
                    }
                    After::Ended
                });
            }
        }
        // Three devices take more threads than there are. Others are started for those that are
        // stuck.
        let (runs, ran) = channel();
        let id = pool.add_calls(4, reports(runs));
        next(&ran);
        for _ in 0..20 {
            pool.wake(id);
            next(&ran);
        }
        assert_eq!(hanging.load(Ordering::SeqCst), 3 * DEVICE_RUNS_MAX, "the others are parked");
        assert!(!pool.close(Duration::from_millis(10)).await, "threads are stuck");
        released.store(true, Ordering::SeqCst);
        assert!(pool.close(DEADLINE).await, "no more");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_small_task_that_a_job_wakes_runs_on_its_thread_unless_the_job_has_more_to_do() {
        let (wakes, mut woken) = tokio::sync::mpsc::unbounded_channel();
        let (names, name) = channel();
        let small = IsSmall::default();
        small.set(true);
        let future = async move {
            while woken.recv().await.is_some() {
                names.send(thread::current().name().unwrap_or_default().to_owned()).unwrap();
            }
        };
        let _task = nearby::spawn(future, small);
        let (is_woken, has_more) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (wakes_it, more): (_, Arc<AtomicBool>) = (Arc::clone(&is_woken), Arc::clone(&has_more));
        let pool = Pool::new();
        let id = pool.add_calls(1, move |closing| {
            if closing {
                return After::Ended;
            }
            if wakes_it.swap(false, Ordering::SeqCst) {
                wakes.send(()).unwrap();
                if more.load(Ordering::SeqCst) {
                    return After::Now;
                }
            }
            After::At(Instant::now() + HOUR)
        });
        let run = || {
            is_woken.store(true, Ordering::SeqCst);
            pool.wake(id);
            next(&name)
        };
        // A task that does not wait yet is not woken.
        let until = Instant::now() + DEADLINE;
        while run() != "follower" {
            assert!(Instant::now() < until, "it never runs on the follower's thread");
        }
        has_more.store(true, Ordering::SeqCst);
        for _ in 0..20 {
            assert_ne!(run(), "follower");
        }
        assert!(pool.close(DEADLINE).await);
    }

    /// A job that says on which thread each run was, and what it does at once.
    struct Says {
        runs: Sender<String>,
        at_once: Option<After>,
    }

    impl Says {
        fn say(&self) {
            let name = thread::current().name().unwrap_or_default().to_owned();
            self.runs.send(name).unwrap();
        }
    }

    impl Job for Says {
        fn run(&mut self, closing: bool) -> After {
            self.say();
            if closing { After::Ended } else { After::At(Instant::now() + HOUR) }
        }

        fn run_at_once(&mut self) -> Option<After> {
            self.at_once.inspect(|_| self.say())
        }
    }

    /// Calls a function on a thread with the name "watcher".
    fn on_watcher(call: impl FnOnce() + Send) {
        thread::scope(|scope| {
            let watcher = thread::Builder::new().name("watcher".to_owned());
            watcher.spawn_scoped(scope, call).unwrap().join().unwrap();
        });
    }

    impl Pool {
        /// Waits until nothing runs.
        fn rest(&self) {
            let until = Instant::now() + DEADLINE;
            loop {
                let mut state = self.0.state.lock();
                if state.idle.len() == state.workers {
                    state.watcher_rests_until = None;
                    return;
                }
                drop(state);
                assert!(Instant::now() < until, "the pool does not come to rest");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[tokio::test]
    async fn the_watchers_thread_runs_a_job_that_is_soon_done_while_nothing_else_waits() {
        let (pool, (runs, ran)) = (Pool::new(), channel());
        let later = After::At(Instant::now() + HOUR);
        let job = |at_once| Box::new(Says { runs: runs.clone(), at_once });
        let [mut quick, mut other, mut slow] = [0; 3];
        pool.add(1, job(Some(later)), |id| quick = id);
        pool.add(1, job(Some(later)), |id| other = id);
        pool.add(1, job(None), |id| slow = id);
        (0..3).for_each(|_| assert_eq!(next(&ran), "follower"));

        pool.rest();
        on_watcher(|| pool.wake_for_write(quick));
        assert_eq!(next(&ran), "watcher");
        on_watcher(|| {
            pool.0.state.lock().watcher_rests_until = Some(Instant::now() + HOUR);
            pool.wake_for_write(quick);
        });
        assert_eq!(next(&ran), "follower", "it rests");
        pool.rest();
        on_watcher(|| pool.wake_for_write(slow));
        assert_eq!(next(&ran), "follower", "it may take long");
        pool.rest();
        on_watcher(|| {
            pool.0.state.lock().schedule.wake(other);
            pool.wake_for_write(quick);
        });
        assert_eq!([next(&ran), next(&ran)], ["follower"; 2], "another one waits");
        assert!(ran.try_recv().is_err(), "each wake is one run");
        assert!(pool.close(DEADLINE).await);
    }

    #[tokio::test]
    async fn the_watchers_thread_runs_jobs_for_a_quarter_of_its_time() {
        let (pool, (runs, ran)) = (Pool::new(), channel());
        let id = pool.add_calls(1, move |closing| {
            thread::sleep(Duration::from_millis(2));
            runs.send(()).unwrap();
            if closing { After::Ended } else { After::At(Instant::now() + HOUR) }
        });
        next(&ran);
        pool.rest();
        let began = Instant::now();
        on_watcher(|| pool.wake_for_write(id));
        let until = pool.0.state.lock().watcher_rests_until.unwrap();
        assert!(until - began >= Duration::from_millis(2) * (1 + WATCHER_RESTS));
        assert!(pool.close(DEADLINE).await);
    }

    #[tokio::test]
    async fn a_job_that_panics_ends_and_others_run_on() {
        struct Ends(Sender<()>);
        impl Job for Ends {
            fn run(&mut self, _: bool) -> After {
                panic!("as the test wants it");
            }

            fn run_at_once(&mut self) -> Option<After> {
                panic!("as the test wants it");
            }
        }
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let (pool, (ends, ended), (runs, ran)) = (Pool::new(), channel(), channel());
        let id = pool.add_calls(1, reports(runs));
        next(&ran);
        pool.add(1, Box::new(Ends(ends)), |_| {});
        next(&ended);
        pool.wake(id);
        next(&ran);

        struct FailsAtOnce(Sender<()>);
        impl Job for FailsAtOnce {
            fn run(&mut self, _: bool) -> After {
                self.0.send(()).unwrap();
                After::At(Instant::now() + HOUR)
            }

            fn run_at_once(&mut self) -> Option<After> {
                panic!("as the test wants it");
            }
        }
        let ((runs, began), mut failing) = (channel(), 0);
        pool.add(1, Box::new(FailsAtOnce(runs)), |id| failing = id);
        next(&began);
        pool.rest();
        on_watcher(|| pool.wake_for_write(failing));
        assert!(began.recv().is_err(), "it has ended, and is dropped");
        pool.wake(id);
        next(&ran);
        assert!(pool.close(DEADLINE).await);
    }

    #[tokio::test]
    async fn threads_end_with_the_last_job_and_come_again_with_the_next() {
        let pool = Pool::new();
        for _ in 0..3 {
            let (runs, ran) = channel();
            pool.add_calls(1, move |_| {
                runs.send(()).unwrap();
                After::Ended
            });
            next(&ran);
            let mut threads = pool.0.threads.subscribe();
            let ended = threads.wait_for(|&threads| threads == 0);
            timeout(DEADLINE, ended).await.expect("threads are left").unwrap();
        }
    }
}
