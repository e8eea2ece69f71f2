//! Tasks that a follower's thread runs itself when it has woken them.
//!
//! To wake a task of the runtime is to wake a thread, and that thread wakes another one to look for more
//! work. Where the task has little to do, this takes longer than the task. So a follower's thread runs a small
//! task that it has woken, as soon as it has published what it read. Whoever else wakes the task lets
//! the runtime run it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_task::{Builder, Runnable, Task};
use tokio::runtime::Handle;

/// Whether a task has little to do when it is woken. It has not at first. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct IsSmall(Arc<AtomicBool>);

impl IsSmall {
    pub(crate) fn set(&self, is_small: bool) {
        self.0.store(is_small, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where a task may run.
#[derive(Debug)]
pub(crate) struct Places {
    runtime: Handle,
    is_small: IsSmall,
}

/// A task that was woken, and has to run.
pub(super) struct Woken(Runnable<Places>);

impl Woken {
    pub(super) fn run_here(self) {
        let runtime = self.0.metadata().runtime.clone();
        let _entered = runtime.enter();
        self.0.run();
    }

    pub(super) fn run_in_runtime(self) {
        let runtime = self.0.metadata().runtime.clone();
        // A runtime that ends drops it, and with it the task.
        let _detached = runtime.spawn(async move { self.0.run() });
    }
}

/// What a thread does with a small task that it wakes.
enum Slot {
    /// The runtime runs it.
    Closed,
    /// The thread keeps the first one.
    Open(Option<Woken>),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

/// Starts a task. It ends when what is returned is dropped, and a panic of the task goes to the one that
/// awaits that. Call it in a task of the runtime.
pub(crate) fn spawn<F>(future: F, is_small: IsSmall) -> Task<F::Output, Places>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let places = Places { runtime: Handle::current(), is_small };
    let builder = Builder::new().propagate_panic(true).metadata(places);
    let (runnable, task) = builder.spawn(|_| future, |woken| schedule(Woken(woken)));
    runnable.schedule();
    task
}

fn schedule(woken: Woken) {
    if let Some(woken) = keep(woken) {
        woken.run_in_runtime();
    }
}

/// Keeps a task for the present thread. Returns it if the thread does not run it.
fn keep(woken: Woken) -> Option<Woken> {
    if !woken.0.metadata().is_small.get() {
        return Some(woken);
    }
    SLOT.with_borrow_mut(|slot| match slot {
        Slot::Open(kept @ None) => {
            *kept = Some(woken);
            None
        }
        Slot::Open(Some(_)) | Slot::Closed => Some(woken),
    })
}

/// Calls a function. Returns its result, and the small task that it woke, which the caller has to run.
pub(super) fn keeping<T>(call: impl FnOnce() -> T) -> (T, Option<Woken>) {
    SLOT.set(Slot::Open(None));
    let result = call();
    match SLOT.replace(Slot::Closed) {
        Slot::Open(woken) => (result, woken),
        Slot::Closed => (result, None),
    }
}

/// Lets the runtime run what this thread wakes from now on, up to the next [`keeping`].
pub(super) fn keep_none() {
    SLOT.with_borrow_mut(|slot| {
        if let Slot::Open(None) = slot {
            *slot = Slot::Closed;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A task that says on which thread it runs, each time that it is woken.
    struct Scene {
        wakes: mpsc::UnboundedSender<()>,
        ran: mpsc::UnboundedReceiver<ThreadId>,
        task: Task<(), Places>,
    }

    impl Scene {
        async fn new(is_small: bool) -> Self {
            let (wakes, mut woken) = mpsc::unbounded_channel();
            let (runs, mut ran) = mpsc::unbounded_channel();
            let small = IsSmall::default();
            small.set(is_small);
            let future = async move {
                loop {
                    runs.send(thread::current().id()).unwrap();
                    if woken.recv().await.is_none() {
                        return;
                    }
                }
            };
            let task = spawn(future, small);
            // The runtime has one thread, so that the task waits when this goes on.
            timeout(DEADLINE, ran.recv()).await.unwrap().unwrap();
            Self { wakes, ran, task }
        }

        fn wake(&self) {
            self.wakes.send(()).unwrap();
        }

        async fn runs_on(&mut self) -> ThreadId {
            timeout(DEADLINE, self.ran.recv()).await.unwrap().unwrap()
        }
    }

    /// Calls a function on another thread, and returns what that is.
    fn there(call: impl FnOnce() + Send) -> ThreadId {
        let call = || {
            call();
            thread::current().id()
        };
        thread::scope(|scope| scope.spawn(call).join().unwrap())
    }

    #[tokio::test]
    async fn a_small_task_runs_on_the_thread_that_keeps_it_and_others_in_the_runtime() {
        let own = thread::current().id();
        let (mut first, mut second) = (Scene::new(true).await, Scene::new(true).await);
        let mut large = Scene::new(false).await;
        let other = there(|| {
            let ((), woken) = keeping(|| {
                large.wake();
                first.wake();
                second.wake();
            });
            woken.unwrap().run_here();
            second.wake();
        });
        assert_eq!(first.runs_on().await, other);
        assert_eq!(large.runs_on().await, own);
        assert_eq!(second.runs_on().await, own, "a thread keeps one task");
        assert_eq!(second.runs_on().await, own, "nothing is kept any more");
        there(|| keeping(|| first.wake()).1.unwrap().run_in_runtime());
        assert_eq!(first.runs_on().await, own);
        there(|| {
            let ((), woken) = keeping(|| {
                keep_none();
                first.wake();
            });
            assert!(woken.is_none());
        });
        assert_eq!(first.runs_on().await, own, "it has much to do");
        drop(first.wakes);
        timeout(DEADLINE, first.task).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_yields_goes_on_in_the_runtime() {
        let (wake, woken) = oneshot::channel();
        let (runs, mut ran) = mpsc::unbounded_channel();
        let small = IsSmall::default();
        small.set(true);
        let future = async move {
            runs.send(thread::current().id()).unwrap();
            woken.await.unwrap();
            runs.send(thread::current().id()).unwrap();
            yield_now().await;
            runs.send(thread::current().id()).unwrap();
        };
        let task = spawn(future, small);
        ran.recv().await.unwrap();
        let other = there(|| keeping(|| wake.send(()).unwrap()).1.unwrap().run_here());
        assert_eq!(ran.recv().await, Some(other));
        assert_eq!(ran.recv().await, Some(thread::current().id()));
        timeout(DEADLINE, task).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_goes_to_the_one_that_waits_for_the_task() {
        let (wake, woken) = oneshot::channel();
        let (started, has_started) = oneshot::channel();
        let small = IsSmall::default();
        small.set(true);
        let future = async move {
            started.send(()).unwrap();
            woken.await.unwrap();
            panic!("as the test wants it");
        };
        let task: Task<(), Places> = spawn(future, small);
        let waiting = tokio::spawn(task);
        has_started.await.unwrap();
        there(|| keeping(|| wake.send(()).unwrap()).1.unwrap().run_here());
        assert!(timeout(DEADLINE, waiting).await.unwrap().unwrap_err().is_panic());
    }

    #[test]
    fn a_task_ends_with_its_runtime() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (ends, ended) = channel::<()>();
        let (started, has_started) = channel();
        runtime.spawn(async move {
            let future = async move {
                let _ends = ends;
                started.send(()).unwrap();
                std::future::pending::<()>().await;
            };
            spawn(future, IsSmall::default()).await;
        });
        has_started.recv_timeout(DEADLINE).unwrap();
        drop(runtime);
        assert_eq!(ended.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected));
    }
}
