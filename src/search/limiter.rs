//! Limits how many reads and searches run at once, so that viewers keep their threads and cores.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::search::index::Counted;
use crate::search::{LineIndex, SearchError, Snapshot};

/// Short reads that run at once, in the whole process.
const QUICK_READS_MAX: usize = 4;
/// A search or a count lets others run after this time.
pub const TIME_SLICE: Duration = Duration::from_millis(50);
/// An answer waits for the count of its lines for up to this time.
const COUNT_WAIT: Duration = Duration::from_millis(20);
/// Counting continues in the background for this time after the last request for it.
const BACKGROUND_COUNT_TIME: Duration = Duration::from_secs(60);
/// The most searches of whole logs that are open at once. They run in turns.
const SEARCHES_MAX: usize = 256;

/// The right to search a whole log. Dropping it gives the place to another search.
#[derive(Debug)]
pub struct SearchPermit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Runs reads and searches on blocking threads, in the order in which they were requested.
///
/// Searches use at most half of the cores, and at least one; the rest is left to the viewers.
#[derive(Clone, Debug)]
pub struct Limiter {
    searches: Arc<Semaphore>,
    quick_reads: Arc<Semaphore>,
    time_slices: Arc<Semaphore>,
    /// The reads and the time slices of each other machine.
    elsewhere: Arc<DashMap<u64, Elsewhere>>,
    /// Counts that continue in the background.
    tasks: TaskTracker,
    /// Cancelled at shutdown; ends the background counts.
    closing: CancellationToken,
}

/// The limits of what is read of one other machine.
#[derive(Clone, Debug)]
struct Elsewhere {
    quick_reads: Arc<Semaphore>,
    time_slices: Arc<Semaphore>,
}

async fn run<T: Send + 'static>(
    limiter: &Semaphore,
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, SearchError> {
    let Ok(_permit) = limiter.acquire().await else { return Err(SearchError::Interrupted) };
    spawn_blocking(work).await.unwrap_or(Err(SearchError::Interrupted))
}

impl Limiter {
    /// How many searches of whole logs are open now.
    #[must_use]
    pub fn searches(&self) -> u64 {
        (SEARCHES_MAX - self.searches.available_permits()) as u64
    }

    /// A limiter whose background tasks belong to `tasks` and end when `closing` is cancelled.
    #[must_use]
    pub fn new(tasks: TaskTracker, closing: CancellationToken) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            searches: Arc::new(Semaphore::new(SEARCHES_MAX)),
            quick_reads: Arc::new(Semaphore::new(QUICK_READS_MAX)),
            time_slices: Arc::new(Semaphore::new((cores / 2).max(1))),
            elsewhere: Arc::default(),
            tasks,
            closing,
        }
    }

    /// The limiter of what is read of a snapshot. Each other machine has its own limits: a read there
    /// may take seconds, and delays only those of the same machine.
    #[must_use]
    pub fn of(&self, snapshot: &Snapshot) -> Self {
        if !snapshot.is_mirrored() {
            return self.clone();
        }
        let its = self.elsewhere.entry(snapshot.device()).or_insert_with(|| Elsewhere {
            quick_reads: Arc::new(Semaphore::new(QUICK_READS_MAX)),
            time_slices: Arc::new(Semaphore::new(1)),
        });
        let Elsewhere { quick_reads, time_slices } = its.clone();
        Self { quick_reads, time_slices, ..self.clone() }
    }

    /// A permit for one search of a whole log; `None` when too many are open. The search itself
    /// runs in [time slices](Self::time_slice).
    #[must_use]
    pub fn search(&self) -> Option<SearchPermit> {
        Arc::clone(&self.searches).try_acquire_owned().ok().map(SearchPermit)
    }

    /// Runs `work`, which takes a few milliseconds, on a blocking thread.
    ///
    /// # Errors
    /// Those of `work`, and [`SearchError::Interrupted`] when the process ends.
    pub async fn quick<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        run(&self.quick_reads, work).await
    }

    /// Runs `work`, which takes at most a [`TIME_SLICE`], on a blocking thread, after all others
    /// that wait for a time slice.
    ///
    /// # Errors
    /// Those of `work`, and [`SearchError::Interrupted`] when the process ends.
    pub async fn time_slice<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        run(&self.time_slices, work).await
    }

    /// Counts lines of the snapshot for up to 20 ms, then continues in a background task. The
    /// task ends when everything is counted, after 60 s, or at shutdown. `counted` says how much is
    /// everything.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn count(
        &self,
        index: &Arc<LineIndex>,
        snapshot: &Snapshot,
        counted: Counted,
    ) -> Result<(), SearchError> {
        let (own_index, own_snapshot) = (Arc::clone(index), snapshot.clone());
        let count = move || {
            let until = Instant::now() + COUNT_WAIT;
            Ok(own_index.grow(&own_snapshot, counted, until)?)
        };
        let limiter = self.of(snapshot);
        if !limiter.quick(count).await? && !index.is_growing.swap(true, Ordering::AcqRel) {
            limiter.count_in_background(Arc::clone(index), snapshot.clone(), counted);
        }
        Ok(())
    }

    fn count_in_background(&self, index: Arc<LineIndex>, snapshot: Snapshot, counted: Counted) {
        let limiter = self.clone();
        self.tasks.spawn(async move {
            // A later request starts the count again.
            let until = Instant::now() + BACKGROUND_COUNT_TIME;
            while Instant::now() < until && !limiter.closing.is_cancelled() {
                let (own_index, own_snapshot) = (Arc::clone(&index), snapshot.clone());
                let grow = move || {
                    let until = Instant::now() + TIME_SLICE;
                    Ok(own_index.grow(&own_snapshot, counted, until)?)
                };
                // An error ends the count here; the next request meets it and reports it.
                if limiter.time_slice(grow).await.unwrap_or(true) {
                    break;
                }
            }
            index.is_growing.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::snapshot::tests::snapshot_of_sparse;

    #[test]
    fn a_background_count_ends_at_shutdown() {
        // Too large to be counted within the test's deadline.
        let (snapshot, _directory) = snapshot_of_sparse(1 << 42);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
            let limiter = Limiter::new(tasks.clone(), closing.clone());
            let index = Arc::new(LineIndex::default());
            limiter.count(&index, &snapshot, Counted::All).await.unwrap();
            assert_eq!(tasks.len(), 1, "the count continues in the background");
            closing.cancel();
            tasks.close();
            let ended = tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await;
            assert!(ended.is_ok(), "the count still runs 5 s after shutdown");
            assert!(!index.is_growing.load(Ordering::Acquire));
        });
        runtime.shutdown_background();
    }
}
