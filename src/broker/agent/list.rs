//! The list of the logs of a machine, in pages.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::ask::{Answer, Denial, ListedLog};
use crate::log::Access;
use crate::log::catalogue::{self, Catalogue};

/// A list is given again for so long, so that many edges cost one walk.
const KEPT: Duration = Duration::from_secs(2);
/// The most bytes of a page. The names of logs are at most 4 KiB, encoded 12 KiB.
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// The list, and when it was made.
pub(super) struct List {
    access: Arc<Access>,
    /// Locked during a walk.
    made: tokio::sync::Mutex<Option<(Instant, Arc<Pages>)>>,
}

struct Pages {
    tag: u64,
    pages: Vec<Bytes>,
}

impl List {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access, made: tokio::sync::Mutex::default() }
    }

    /// The logs that there are now.
    pub(super) async fn walk(&self) -> Catalogue {
        let access = Arc::clone(&self.access);
        let stop = CancellationToken::new();
        let _stops_with_this = stop.clone().drop_guard();
        let walking = spawn_blocking(move || catalogue::list(&access, &stop));
        walking.await.unwrap_or_default()
    }

    /// A page of the list; `known` is the tag of the one that the edge has.
    pub(super) async fn page(&self, page: usize, known: Option<u64>) -> Answer {
        let pages = self.pages(page).await;
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

    async fn pages(&self, page: usize) -> Arc<Pages> {
        let mut made = self.made.lock().await;
        // Later pages are those of the list that was begun.
        if let Some((since, pages)) = made.as_ref()
            && (since.elapsed() < KEPT || (page > 0 && since.elapsed() < 5 * KEPT))
        {
            return Arc::clone(pages);
        }
        let pages = Arc::new(in_pages(&self.walk().await));
        *made = Some((Instant::now(), Arc::clone(&pages)));
        pages
    }

    /// Forgets a list that nobody has asked for in a while.
    pub(super) async fn tidy(&self) {
        let mut made = self.made.lock().await;
        if made.as_ref().is_some_and(|(since, _)| since.elapsed() > 10 * KEPT) {
            *made = None;
        }
    }
}

fn in_pages(catalogue: &Catalogue) -> Pages {
    let (mut hasher, mut pages, mut page) = (DefaultHasher::new(), Vec::new(), String::new());
    for entry in &catalogue.entries {
        let path = entry.log.as_path().as_os_str().as_bytes().to_vec();
        let line = ListedLog { size: entry.size, modified: entry.modified, path }.line();
        line.hash(&mut hasher);
        if page.len() + line.len() > PAGE_BYTES_MAX && !page.is_empty() {
            pages.push(std::mem::take(&mut page).into());
        }
        page.push_str(&line);
    }
    pages.push(page.into());
    Pages { tag: hasher.finish(), pages }
}
