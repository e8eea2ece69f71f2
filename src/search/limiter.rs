//! Whose turn it is: reading and searching takes threads and cores that viewers need too.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::search::{LineIndex, SearchError, Snapshot};

/// So many short reads run at once, in the whole process.
const GLANCES: usize = 4;
/// Who searches or counts gives way to the others after so long.
pub const SLICE: Duration = Duration::from_millis(50);
/// So long an answer waits for its lines to be counted.
const COUNTING: Duration = Duration::from_millis(20);

/// So long the counting goes on though nobody asks about it.
const GROWING: Duration = Duration::from_secs(60);

/// So many search whole logs at the same time, in limiter.
const SEARCHES_MAX: usize = 256;

/// That somebody searches. Dropping it leaves.
#[derive(Debug)]
pub struct SearchPermit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Limiter of those who look around, given in the order in which they ask. Half of the cores, at least one, may be taken
/// by those who search; the others are left to the viewers.
#[derive(Clone, Debug)]
pub struct Limiter {
    searches: Arc<Semaphore>,
    glances: Arc<Semaphore>,
    slices: Arc<Semaphore>,
}

impl Default for Limiter {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let slices = Arc::new(Semaphore::new((cores / 2).max(1)));
        let searches = Arc::new(Semaphore::new(SEARCHES_MAX));
        Self { searches, glances: Arc::new(Semaphore::new(GLANCES)), slices }
    }
}

async fn run<T: Send + 'static>(
    limiter: &Semaphore,
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, SearchError> {
    let Ok(_turn) = limiter.acquire().await else { return Err(SearchError::Unreadable) };
    spawn_blocking(work).await.unwrap_or(Err(SearchError::Unreadable))
}

impl Limiter {
    /// Enters those who search a whole log, if there is room. The limiter of a search are [slices](Self::slice).
    #[must_use]
    pub fn search(&self) -> Option<SearchPermit> {
        Arc::clone(&self.searches).try_acquire_owned().ok().map(SearchPermit)
    }

    /// Runs something that takes some milliseconds on a thread that may block.
    ///
    /// # Errors
    /// Its own, and when the process is going down.
    pub async fn glance<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        run(&self.glances, look).await
    }

    /// Runs something that takes no longer than a [`SLICE`], behind all others who want one.
    ///
    /// # Errors
    /// Its own, and when the process is going down.
    pub async fn slice<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
    ) -> Result<T, SearchError> {
        run(&self.slices, work).await
    }

    /// Counts lines of the view, and goes on with it behind the back of who asks where that takes longer.
    ///
    /// # Errors
    /// When the log can't be read.
    pub async fn count(&self, index: &Arc<LineIndex>, view: &Snapshot) -> Result<(), SearchError> {
        let counting = (Arc::clone(index), view.clone());
        let counted = self
            .glance(move || Ok(counting.0.grow(&counting.1, Instant::now() + COUNTING)?))
            .await?;
        if !counted && !index.is_growing.swap(true, Ordering::AcqRel) {
            let (limiter, index, view) = (self.clone(), Arc::clone(index), view.clone());
            tokio::spawn(async move {
                // Who still wants it after that asks again.
                let until = Instant::now() + GROWING;
                while Instant::now() < until {
                    let counting = (Arc::clone(&index), view.clone());
                    let grow = move || Ok(counting.0.grow(&counting.1, Instant::now() + SLICE)?);
                    if limiter.slice(grow).await.unwrap_or(true) {
                        break;
                    }
                }
                index.is_growing.store(false, Ordering::Release);
            });
        }
        Ok(())
    }
}
