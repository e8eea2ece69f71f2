//! The list of the logs of a machine, in pages.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::agent::Figures;
use crate::broker::ask::{Answer, Denial, ListedLog};
use crate::log::Access;
use crate::log::catalogue::{self, Catalogue};

/// A list is given again for so long, so that many edges cost one walk.
const KEPT: Duration = Duration::from_secs(2);
/// The most bytes of a page, and less where the broker takes less. The names of logs are at most
/// 4 KiB, encoded 12 KiB.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// The list, and when it was made.
pub(super) struct List {
    access: Arc<Access>,
    /// Locked during a walk.
    made: Arc<tokio::sync::Mutex<Made>>,
    /// It was told that not all logs are listed.
    is_told: Arc<AtomicBool>,
    figures: Arc<Figures>,
}

/// The pages, since when there are these, and for how long they are given.
type Made = Option<(Instant, Duration, Arc<Pages>)>;

struct Pages {
    tag: u64,
    pages: Vec<Bytes>,
}

impl List {
    pub(super) fn new(access: Arc<Access>, figures: Arc<Figures>) -> Self {
        Self { access, made: Arc::default(), is_told: Arc::default(), figures }
    }

    /// The logs that there are now.
    pub(super) async fn walk(access: &Arc<Access>) -> Catalogue {
        let access = Arc::clone(access);
        let stop = CancellationToken::new();
        let _stops_with_this = stop.clone().drop_guard();
        let walking = spawn_blocking(move || catalogue::list(&access, &stop));
        walking.await.unwrap_or_default()
    }

    /// A page of the list with at most so many bytes if possible; `known` is the tag of the one that
    /// the edge has.
    pub(super) async fn page(&self, page: usize, known: Option<u64>, room: usize) -> Answer {
        let Some(pages) = self.pages(page, room).await else { return Answer::Denied(Denial::Busy) };
        if page == 0 && known == Some(pages.tag) {
            return Answer::Unchanged;
        }
        match pages.pages.get(page) {
            Some(lines) => {
                Answer::Page { tag: pages.tag, pages: pages.pages.len(), lines: lines.clone() }
            }
            None => Answer::Denied(Denial::Gone),
        }
    }

    /// None when the walk fails.
    async fn pages(&self, page: usize, room: usize) -> Option<Arc<Pages>> {
        let mut made = Arc::clone(&self.made).lock_owned().await;
        // Later pages are those of the list that was begun.
        if let Some((since, kept, pages)) = made.as_ref()
            && (since.elapsed() < *kept || (page > 0 && since.elapsed() < 5 * *kept))
        {
            return Some(Arc::clone(pages));
        }
        let (access, is_told) = (Arc::clone(&self.access), Arc::clone(&self.is_told));
        let figures = Arc::clone(&self.figures);
        // It goes on when nobody waits for it any more. Each attempt would begin another walk, on a
        // file system that maybe does not answer.
        let walking = tokio::spawn(async move {
            let begun = Instant::now();
            let catalogue = Self::walk(&access).await;
            figures.listed.set(catalogue.entries.len());
            // The first edge may have given up meanwhile. It asks again after a while.
            let kept = KEPT.max(2 * begun.elapsed());
            if catalogue.truncated && !is_told.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    "there are more logs or directories than can be listed: the others can be opened \
                     by their paths"
                );
            }
            let pages = Arc::new(in_pages(&catalogue, room.min(PAGE_BYTES_MAX)));
            *made = Some((Instant::now(), kept, Arc::clone(&pages)));
            pages
        });
        walking.await.ok()
    }

    /// Forgets a list that nobody has asked for in a while. It waits for no walk.
    pub(super) fn tidy(&self) {
        let Ok(mut made) = self.made.try_lock() else { return };
        if made.as_ref().is_some_and(|(since, kept, _)| since.elapsed() > 10 * *kept) {
            *made = None;
        }
    }
}

fn in_pages(catalogue: &Catalogue, room: usize) -> Pages {
    let (mut hasher, mut pages, mut page) = (DefaultHasher::new(), Vec::new(), String::new());
    for entry in &catalogue.entries {
        let path = entry.log.as_path().as_os_str().as_bytes().to_vec();
        let line = ListedLog { size: entry.size, modified: entry.modified, path }.line();
        line.hash(&mut hasher);
        if page.len() + line.len() > room && !page.is_empty() {
            pages.push(std::mem::take(&mut page).into());
        }
        page.push_str(&line);
    }
    pages.push(page.into());
    Pages { tag: hasher.finish(), pages }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_walk_that_hangs_holds_up_nothing_but_lists() {
        let directory = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let list = List::new(access, Arc::default());
        let walk = Arc::clone(&list.made).lock_owned().await;
        list.tidy();
        let page = timeout(Duration::from_millis(10), list.page(0, None, 1000)).await;
        assert!(page.is_err(), "{page:?}");
        drop(walk);
        let page = list.page(0, None, 1000).await;
        assert!(matches!(page, Answer::Page { pages: 1, .. }), "{page:?}");
    }
}
