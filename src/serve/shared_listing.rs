//! The list of logs, built once for all requests at about the same time.
//!
//! Walking the prefixes and rendering ten thousand entries occupies a thread for a while. Only one
//! thread at a time does it for those who may read the same, however many requests there are. The
//! others wait for its result without a thread, and get the same bytes.
//!
//! The lists of different rights are made one after another, but a list that takes long holds up no
//! other one: its file system may not answer at all. There are at most [`SCOPES_MAX`] threads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::log::catalogue;
use crate::log::{ContainerNames, Scope};
use crate::serve::content_coding::Compressed;
use crate::serve::identity::Visitor;
use crate::serve::listing::{Listed, Viewers};
use crate::serve::{BasePath, listing};
use crate::source::run_ends::RunEnds;

/// For so many different rights a list is kept.
const SCOPES_MAX: usize = 16;
/// So many forms of a list are kept.
const BODIES_MAX: usize = 8;
/// So long the lists of other rights wait for one that is made.
const TURN_TIME_MAX: Duration = Duration::from_millis(250);
/// How often a request for which there is no room looks for some.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);
/// How old a list may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The requested form of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListFormat {
    Html,
    Text,
    Json,
}

impl ListFormat {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// The list, ready to be sent.
#[derive(Clone, Debug, Default)]
pub(super) struct ListBody {
    pub(super) bytes: Bytes,
    /// Changes with the bytes; for an `ETag`.
    pub(super) tag: String,
    pub(super) compressed: Compressed,
}

/// A tag that changes with the text.
fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What a list is made with.
#[derive(Clone, Copy)]
struct Sources<'s> {
    base: &'s BasePath,
    viewers: &'s Viewers,
    names: &'s ContainerNames,
    ends: &'s RunEnds,
}

/// The last list of those who may read the same.
#[derive(Default)]
struct Made {
    catalogue: Option<(Instant, Listed)>,
    /// The list in the requested forms. A page has the name of its visitor in it.
    bodies: Vec<(ListFormat, Option<String>, ListBody)>,
}

impl Made {
    /// Whether the list is recent enough for a request that arrived at this time. A list that was
    /// built while the request waited is.
    fn is_fresh(&self, arrived: Instant) -> bool {
        let made = self.catalogue.as_ref().map(|(made, _)| *made);
        made.is_some_and(|made| arrived.saturating_duration_since(made) < MAX_AGE)
    }

    fn body(&self, arrived: Instant, format: ListFormat, name: Option<&str>) -> Option<ListBody> {
        let is_it = |kept: &ListFormat, of: &Option<String>| {
            self.is_fresh(arrived) && *kept == format && of.as_deref() == name
        };
        let mut bodies = self.bodies.iter().filter(|(kept, of, _)| is_it(kept, of));
        bodies.next().map(|(.., body)| body.clone())
    }

    /// Builds the list in a form. It blocks, at most until `stop` is cancelled.
    fn make(
        &mut self,
        Sources { base, viewers, names, ends }: Sources<'_>,
        visitor: &Visitor,
        stop: &CancellationToken,
        arrived: Instant,
        format: ListFormat,
    ) -> ListBody {
        if !self.is_fresh(arrived) {
            self.bodies.clear();
            let mut catalogue = catalogue::list(visitor.access(), stop);
            names.give(visitor.access(), &mut catalogue);
            let ends = ends.of(visitor.access(), &catalogue);
            self.catalogue = Some((Instant::now(), Listed { catalogue, ends }));
        }
        let empty = Listed::default();
        let listed = self.catalogue.as_ref().map_or(&empty, |(_, listed)| listed);
        let text = match format {
            ListFormat::Html => listing::page(base, visitor, listed, viewers),
            ListFormat::Text => listing::text(&listed.catalogue),
            ListFormat::Json => listing::json(base, listed, viewers),
        };
        let compressed = Compressed::default();
        let body = ListBody { tag: tag(&text), bytes: Bytes::from(text), compressed };
        if self.bodies.len() == BODIES_MAX {
            self.bodies.remove(0);
        }
        self.bodies.push((format, named(visitor, format).map(str::to_owned), body.clone()));
        body
    }
}

/// The name that a list has in it.
fn named(visitor: &Visitor, format: ListFormat) -> Option<&str> {
    visitor.name().filter(|_| format == ListFormat::Html)
}

/// A list, and for whom it is.
struct Kept {
    /// What they may read. None for all prefixes.
    scope: Option<Arc<Scope>>,
    /// Locked while it is made.
    made: Arc<tokio::sync::Mutex<Made>>,
}

/// The lists of logs of a server.
#[derive(Clone)]
pub(super) struct SharedListing {
    base: BasePath,
    /// The lists for the last different rights, the latest last.
    kept: Arc<Mutex<Vec<Kept>>>,
    turn: Arc<Semaphore>,
    names: Arc<ContainerNames>,
    ends: Arc<RunEnds>,
}

impl Default for SharedListing {
    fn default() -> Self {
        Self::new(BasePath::default())
    }
}

impl SharedListing {
    /// A list whose links begin with this path.
    pub(super) fn new(base: BasePath) -> Self {
        Self {
            base,
            kept: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            names: Arc::default(),
            ends: Arc::default(),
        }
    }

    /// The names of containers that lists have.
    pub(super) fn names(&self) -> &Arc<ContainerNames> {
        &self.names
    }

    /// The list for a scope, which is the latest then. None if all that are kept are being made.
    fn kept_for(&self, scope: Option<&Arc<Scope>>) -> Option<Arc<tokio::sync::Mutex<Made>>> {
        let mut all = self.kept.lock();
        let kept = match all.iter().position(|kept| kept.scope.as_ref() == scope) {
            Some(at) => all.remove(at),
            None => {
                if all.len() == SCOPES_MAX {
                    let unused = |kept: &Kept| Arc::strong_count(&kept.made) == 1;
                    let oldest = all.iter().position(unused)?;
                    all.remove(oldest);
                }
                Kept { scope: scope.cloned(), made: Arc::default() }
            }
        };
        let made = Arc::clone(&kept.made);
        all.push(kept);
        Some(made)
    }

    /// The list in a form. It was at most [`MAX_AGE`] old when the request arrived, and has the
    /// numbers of viewers from the time when the form was built. When `stop` is cancelled, the list
    /// ends early.
    pub(super) async fn get(
        &self,
        visitor: &Visitor,
        viewers: &Viewers,
        stop: &CancellationToken,
        format: ListFormat,
    ) -> ListBody {
        let arrived = Instant::now();
        let kept = loop {
            match self.kept_for(visitor.access().scope()) {
                Some(kept) => break kept,
                None => sleep(ROOM_INTERVAL).await,
            }
        };
        // The thread that builds the list holds the lock until it is built, even if its request is
        // cancelled meanwhile.
        let mut made: OwnedMutexGuard<Made> = kept.lock_owned().await;
        if let Some(body) = made.body(arrived, format, named(visitor, format)) {
            return body;
        }
        let turn = self.turn.acquire().await;
        let (visitor, viewers, stop) = (visitor.clone(), viewers.clone(), stop.clone());
        let (base, names) = (self.base.clone(), Arc::clone(&self.names));
        let ends = Arc::clone(&self.ends);
        let mut making = spawn_blocking(move || {
            let sources = Sources { base: &base, viewers: &viewers, names: &names, ends: &ends };
            made.make(sources, &visitor, &stop, arrived, format)
        });
        let in_turn = timeout(TURN_TIME_MAX, &mut making).await;
        drop(turn);
        let body = match in_turn {
            Ok(body) => body,
            Err(_) => making.await,
        };
        // This fails only when the runtime shuts down.
        body.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::registry::ROTATE_WAIT;
    use crate::log::{Access, Registry};
    use crate::session::Hub;

    fn viewers(access: &Arc<Access>) -> Viewers {
        Viewers::of(&Hub::new(Registry::new(Arc::clone(access), ROTATE_WAIT)))
    }

    #[tokio::test]
    async fn simultaneous_requests_get_the_same_list() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.log"), "x\n").unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let viewers = viewers(&access);
        let listing = SharedListing::default();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (listing, visitor, viewers) =
                (listing.clone(), Visitor::anybody(&access), viewers.clone());
            asking.spawn(async move {
                listing
                    .get(&visitor, &viewers, &CancellationToken::new(), ListFormat::Json)
                    .await
                    .bytes
            });
        }
        let bodies = asking.join_all().await;
        assert!(bodies[0].starts_with(b"{"), "{:?}", bodies[0]);
        let first = bodies[0].as_ptr();
        assert!(bodies.iter().all(|body| body.as_ptr() == first), "it was made more than once");
        let going_on = CancellationToken::new();
        let text =
            listing.get(&Visitor::anybody(&access), &viewers, &going_on, ListFormat::Text).await;
        assert!(text.bytes.ends_with(b"/a.log\n"), "{text:?}");
    }

    #[tokio::test]
    async fn a_server_that_ends_walks_no_further() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.log"), "x\n").unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let viewers = viewers(&access);
        let stop = CancellationToken::new();
        stop.cancel();
        let visitor = Visitor::anybody(&access);
        let list =
            SharedListing::default().get(&visitor, &viewers, &stop, ListFormat::Json).await.bytes;
        let list: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(list["truncated"], true, "{list}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_gets_a_list_built_while_it_waited_but_no_older_one() {
        let directory = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let viewers = viewers(&access);
        let mut kept = Made::default();
        let arrived = Instant::now();
        tokio::time::advance(MAX_AGE * 10).await;
        kept.make(
            Sources {
                base: &BasePath::default(),
                viewers: &viewers,
                names: &ContainerNames::default(),
                ends: &RunEnds::default(),
            },
            &Visitor::anybody(&access),
            &CancellationToken::new(),
            arrived,
            ListFormat::Json,
        );
        tokio::time::advance(MAX_AGE / 2).await;
        assert!(kept.body(arrived, ListFormat::Json, None).is_some());
        assert!(kept.body(Instant::now(), ListFormat::Json, None).is_some());
        assert!(kept.body(arrived, ListFormat::Html, None).is_none(), "nobody asked for that form");
        tokio::time::advance(MAX_AGE).await;
        assert!(kept.body(Instant::now(), ListFormat::Json, None).is_none(), "it is too old");
        assert!(kept.body(arrived, ListFormat::Json, None).is_some());
    }

    #[tokio::test]
    async fn those_who_may_read_something_else_have_a_list_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let viewers = viewers(&access);
        let (listing, going_on) = (SharedListing::default(), CancellationToken::new());
        let mut visitors = Vec::new();
        for at in 0..2 * SCOPES_MAX {
            let own = directory.path().join(format!("{at}"));
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("a.log"), "x\n").unwrap();
            let scope = access.scope_of([own.as_path()]);
            visitors.push((Visitor::anybody(&Arc::new(access.within(Some(Arc::new(scope))))), own));
        }
        for _ in 0..2 {
            for (visitor, own) in &visitors {
                let list = listing.get(visitor, &viewers, &going_on, ListFormat::Text).await;
                let expected = format!("{}/a.log\n", own.display());
                assert_eq!(list.bytes, expected.as_bytes());
            }
        }
        assert_eq!(listing.kept.lock().len(), SCOPES_MAX);
    }

    #[cfg(feature = "faults")]
    #[tokio::test]
    async fn a_list_that_hangs_holds_up_no_other_and_takes_a_bounded_number_of_threads() {
        use crate::log::failpoints::Call;
        use std::os::unix::fs::symlink;

        let deadline = Duration::from_secs(20);
        let directory = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let viewers = viewers(&access);
        let listing = SharedListing::default();
        let get = |name: &str| {
            let own = directory.path().join(name);
            std::fs::create_dir(&own).unwrap();
            symlink("b.log", own.join("a.log")).unwrap();
            std::fs::write(own.join("b.log"), "x\n").unwrap();
            let scope = Arc::new(access.scope_of([own.as_path()]));
            let visitor = Visitor::anybody(&Arc::new(access.within(Some(scope))));
            let (listing, viewers) = (listing.clone(), viewers.clone());
            async move {
                let going_on = CancellationToken::new();
                let list = listing.get(&visitor, &viewers, &going_on, ListFormat::Text).await;
                String::from_utf8(list.bytes.to_vec()).unwrap().lines().count()
            }
        };
        access.faults().hang(Call::Look, directory.path().join("hung0/a.log"));
        let hung = tokio::spawn(get("hung0"));
        let others = timeout(deadline, async { (get("one").await, get("other").await) });
        assert_eq!(others.await.expect("they wait for the list that hangs"), (2, 2));
        access.faults().mend();
        assert_eq!(hung.await.unwrap(), 2);

        let mut all = tokio::task::JoinSet::new();
        for at in 1..=2 * SCOPES_MAX {
            access.faults().hang(Call::Look, directory.path().join(format!("hung{at}/a.log")));
            all.spawn(get(&format!("hung{at}")));
        }
        let full = async {
            while access.faults().hanging() < SCOPES_MAX {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(deadline, full).await.expect("each has a turn");
        assert!(listing.kept_for(Some(&Arc::default())).is_none(), "there is room for more");
        access.faults().mend();
        assert_eq!(timeout(deadline, all.join_all()).await.unwrap(), [2; 2 * SCOPES_MAX]);
    }
}
