//! Streams that may go on no longer, because the prefixes, the rules or the identity have changed.
//!
//! A log is checked when it is opened. A stream that began earlier holds the log open, so it waits
//! here for the end of its right. It begins to wait before its log is opened: then either the open
//! is refused, or the stream hears of the change. All streams are reviewed when something has
//! changed, and every few seconds, since sessions expire by themselves.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::log::{Access, LogPath, Refusal, Scope};
use crate::serve::identity::{Gate, Session, Sessions, Standing, Visitor};
use crate::serve::settings::Settings;
use crate::wire::message::Message;

/// How often all streams are reviewed.
pub(super) const REVIEW_INTERVAL: Duration = Duration::from_secs(2);
/// How long a review waits for file systems.
const LOOK_TIME_MAX: Duration = Duration::from_secs(1);

/// What a stream has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The right to its log.
    Right,
    /// The identity of its visitor.
    Identity,
    /// A place in which old files of its log may lie. The log itself may still be read.
    Place,
}

impl Loss {
    /// Its name in the access log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Right => "withdrawn",
            Self::Identity => "signed out",
            Self::Place => "narrowed",
        }
    }

    /// The close code and the message that tell the viewer. None when the viewer should connect
    /// again, and go on with what it may still read.
    pub(super) fn message(self) -> Option<(u16, Message)> {
        match self {
            Self::Right => Some(Message::refusal(Refusal::Forbidden)),
            Self::Identity => Some(Message::signed_out()),
            Self::Place => None,
        }
    }
}

/// Which files a stream reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    /// Those that have the log's name while it runs.
    Log,
    /// The old files of the log, too.
    History,
}

impl Reads {
    /// What a request with or without `history=1` reads.
    pub(super) fn of(history: bool) -> Self {
        if history { Self::History } else { Self::Log }
    }
}

/// Tells streams that they may go on no longer.
#[derive(Debug, Default)]
pub(super) struct Withdrawals {
    streams: Arc<Mutex<Streams>>,
    /// Whether a thread looks up where logs lead.
    is_looking: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    watched: HashMap<u64, Arc<Watched>>,
}

/// A stream, and what it has lost. There is one for each viewer, so it is small: it has room in what
/// the heap leaves free between the blocks of tokio, which are aligned.
#[derive(Debug)]
struct Watched {
    visitor: Visitor,
    log: LogPath,
    /// What its visitor could read when the stream began. None for a stream without old files.
    places: Option<Box<[PathBuf]>>,
    /// How often something had changed when the stream was reviewed last. 0 for never.
    reviewed: AtomicU64,
    loss: Mutex<Option<Loss>>,
    /// Wakes the stream's task.
    waker: AtomicWaker,
}

/// A stream whose log may lead to a place that its visitor may read no longer.
struct Doubtful {
    stream: u64,
    /// What the visitor may read now.
    access: Arc<Access>,
    /// The log, as it was located when the stream began.
    log: LogPath,
}

impl Watched {
    /// Whether the visitor may read no longer what it could when the stream began, where that
    /// matters. Where old files lie is for the follower to find, so each place counts.
    fn has_lost_a_place(&self, now: &Access) -> bool {
        let Some(places) = &self.places else { return false };
        let kept = now.prefixes();
        !now.is_at_least(self.log.scope())
            || !places.iter().all(|place| kept.iter().any(|kept| place.starts_with(kept)))
    }

    fn end(&self, loss: Loss) {
        *self.loss.lock() = Some(loss);
        self.waker.wake();
    }
}

impl Streams {
    fn end(&self, stream: u64, loss: Loss) {
        if let Some(watched) = self.watched.get(&stream) {
            watched.end(loss);
        }
    }

    /// Ends what may go on no longer. Returns what cannot be decided without a look at the files.
    fn review(
        &self,
        gate: &Gate,
        changes: u64,
        settings: &Settings,
        lead_outside: &HashSet<LogPath>,
    ) -> Vec<Doubtful> {
        let mut doubtful = Vec::new();
        for (stream, watched) in &self.watched {
            if watched.reviewed.load(Ordering::Relaxed) == changes && !watched.visitor.has_expired()
            {
                continue;
            }
            watched.reviewed.store(changes, Ordering::Relaxed);
            let now = match gate.standing(settings, &watched.visitor) {
                Standing::Admitted(now) => now,
                Standing::Gone => {
                    watched.end(Loss::Identity);
                    continue;
                }
            };
            let is_named = now.access().admits(&watched.log);
            if !is_named || lead_outside.contains(&watched.log) {
                watched.end(Loss::Right);
            } else if watched.has_lost_a_place(now.access()) {
                watched.end(Loss::Place);
            } else if !now.access().is_at_least(watched.log.scope()) {
                // Its follower opens what could be read when the stream began. That may lie elsewhere
                // at the next look.
                watched.reviewed.store(0, Ordering::Relaxed);
                let (access, log) = (Arc::clone(now.access()), watched.log.clone());
                doubtful.push(Doubtful { stream: *stream, access, log });
            }
        }
        doubtful
    }
}

impl Withdrawals {
    /// Watches for a stream of this log, from now on.
    pub(super) fn watch(&self, visitor: &Visitor, log: &LogPath, reads: Reads) -> Withdrawal {
        let places = (reads == Reads::History).then(|| visitor.access().prefixes().into());
        let watched = Arc::new(Watched {
            visitor: visitor.clone(),
            log: log.clone(),
            places,
            reviewed: AtomicU64::new(0),
            loss: Mutex::default(),
            waker: AtomicWaker::new(),
        });
        let mut streams = self.streams.lock();
        streams.next += 1;
        let stream = streams.next;
        streams.watched.insert(stream, Arc::clone(&watched));
        Withdrawal { stream, streams: Arc::clone(&self.streams), watched }
    }

    /// Ends the streams of those sessions that have ended, among those that `may_have` ended. No
    /// other stream is looked at.
    pub(super) fn end_sessions(&self, sessions: &Sessions, may_have: impl Fn(&Session) -> bool) {
        for watched in self.streams.lock().watched.values() {
            let session = watched.visitor.session();
            if session.is_some_and(|session| may_have(session) && !sessions.is_valid(session)) {
                watched.end(Loss::Identity);
            }
        }
    }

    /// Ends the streams that may go on no longer. `lead_outside` are the logs that only lead outside:
    /// their own paths lie inside the prefixes. A stream is reviewed once after each change, and when
    /// its session has expired.
    pub(super) async fn review(
        &self,
        gate: &Gate,
        changes: u64,
        settings: &Settings,
        lead_outside: &HashSet<LogPath>,
    ) {
        let doubtful = self.streams.lock().review(gate, changes, settings, lead_outside);
        if doubtful.is_empty() || self.is_looking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (streams, is_looking) = (Arc::clone(&self.streams), Arc::clone(&self.is_looking));
        let looking = spawn_blocking(move || {
            // Many visitors may read the same of one log.
            let mut seen: HashMap<(Option<Arc<Scope>>, LogPath), bool> = HashMap::new();
            for Doubtful { stream, access, log } in doubtful {
                let case = (access.scope().cloned(), log.clone());
                if *seen.entry(case).or_insert_with(|| access.leads_outside(&log)) {
                    streams.lock().end(stream, Loss::Right);
                }
            }
            is_looking.store(false, Ordering::Release);
        });
        // A file system that does not answer delays nobody. The thread goes on.
        let _looked = timeout(LOOK_TIME_MAX, looking).await;
    }
}

/// The end of a stream's right to its log.
#[derive(Debug)]
pub(super) struct Withdrawal {
    stream: u64,
    streams: Arc<Mutex<Streams>>,
    watched: Arc<Watched>,
}

impl Withdrawal {
    /// Completes once the stream may go on no longer. Dropping the future loses nothing. One task
    /// waits at a time.
    pub(super) async fn withdrawn(&mut self) -> Loss {
        poll_fn(|cx| self.poll_withdrawn(cx)).await
    }

    /// The same, for a task that waits for something else, too.
    pub(super) fn poll_withdrawn(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        self.watched.waker.register(cx.waker());
        self.loss().map_or(Poll::Pending, Poll::Ready)
    }

    /// What the stream has lost by now.
    pub(super) fn loss(&self) -> Option<Loss> {
        *self.watched.loss.lock()
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        self.streams.lock().watched.remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::query::requested_path;
    use crate::serve::{Rule, TrustedProxy};
    use std::path::Path;

    /// The password `open sesame`, with the lowest cost.
    const HASH: &str = "$2y$04$snw.ZbTb2lDvV81UfXWzR.z0hLAugoLmvMq3FFkt1RggR80px.6hG";

    #[test]
    fn what_is_kept_of_a_stream_is_small() {
        // glibc leaves 104 bytes free beside a block of tokio, for instance. The counts of an `Arc` are in
        // the same block.
        assert!(size_of::<Watched>() + 2 * size_of::<usize>() <= 104, "{}", size_of::<Watched>());
    }

    struct Scene {
        gate: Gate,
        access: Arc<Access>,
        withdrawals: Withdrawals,
        settings: Settings,
    }

    impl Scene {
        fn new(prefixes: &[&Path]) -> Self {
            let access = Arc::new(Access::new(prefixes.iter().copied()).unwrap());
            let settings = Settings::default();
            let gate = Gate::new(Arc::clone(&access), &settings);
            Self { gate, access, withdrawals: Withdrawals::default(), settings }
        }

        fn with_rules(mut self, rules: &[(&str, &Path)]) -> Self {
            self.settings.user_header = Some("x-user".parse().unwrap());
            self.settings.trusted_proxies = vec![TrustedProxy::Unix];
            self.rule(rules);
            self
        }

        fn rule(&mut self, rules: &[(&str, &Path)]) {
            let rule = |(who, read): &(&str, &Path)| {
                Rule::new(&[(*who).to_owned()], &[read.to_str().unwrap().to_owned()]).unwrap()
            };
            self.settings.rules = rules.iter().map(rule).collect();
            let rules = Gate::rules_over(&self.access, &self.settings);
            let access = Access::new(self.access.prefixes()).unwrap();
            self.gate.adopt(access, rules);
            self.gate.changed();
        }

        fn watch(&self, who: &str, log: &Path) -> Withdrawal {
            let visitor = self.gate.visitor_named(&self.settings, who);
            let requested = requested_path(log.to_str().unwrap()).unwrap();
            let log = visitor.log_requested(&requested).unwrap();
            self.withdrawals.watch(&visitor, &log, Reads::Log)
        }

        fn watch_history(&self, who: &str, log: &Path) -> Withdrawal {
            let visitor = self.gate.visitor_named(&self.settings, who);
            let log = visitor.log_at(log.as_os_str().as_encoded_bytes()).unwrap();
            self.withdrawals.watch(&visitor, &log, Reads::History)
        }

        async fn review(&self) {
            let changes = self.gate.changes();
            self.withdrawals.review(&self.gate, changes, &self.settings, &HashSet::new()).await;
        }
    }

    /// What a stream hears within a time in which it must.
    async fn heard(stream: &mut Withdrawal) -> Loss {
        timeout(Duration::from_secs(20), stream.withdrawn()).await.expect("it hears nothing")
    }

    #[tokio::test]
    async fn a_stream_hears_when_its_log_may_no_longer_be_read() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [kept, lost] = [0, 1].map(|at| directories[at].path());
        let scene = Scene::new(&[kept, lost]);
        let mut linked = scene.watch("", &kept.join("link.log"));
        let mut ending = scene.watch("", &lost.join("a.log"));
        let staying = scene.watch("", &kept.join("a.log"));
        scene.access.adopt(Access::new([kept]).unwrap());
        scene.gate.changed();
        scene.review().await;
        assert_eq!(heard(&mut ending).await, Loss::Right, "its prefix is gone");
        assert_eq!((staying.loss(), linked.loss()), (None, None));
        let log = kept.join("link.log");
        let log = scene.access.locate(log.as_os_str().as_encoded_bytes()).unwrap();
        let outside = HashSet::from([log]);
        scene.gate.changed();
        let changes = scene.gate.changes();
        scene.withdrawals.review(&scene.gate, changes, &scene.settings, &outside).await;
        assert_eq!(heard(&mut linked).await, Loss::Right, "it leads outside");
        drop((linked, ending, staying));
        assert!(scene.withdrawals.streams.lock().watched.is_empty());
    }

    #[tokio::test]
    async fn a_stream_ends_when_the_rules_no_longer_let_its_visitor_read_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let [one, other] = ["one", "other"].map(|name| top.join(name));
        for directory in [&one, &other] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("a.log"), "").unwrap();
        }
        // Its name lies in the one directory, and its file in the other.
        std::os::unix::fs::symlink(other.join("a.log"), one.join("link.log")).unwrap();
        let mut scene = Scene::new(&[top]).with_rules(&[("ann", &one), ("*", &other)]);
        let staying = scene.watch("ann", &one.join("a.log"));
        let by_name = scene.watch("ann", &other.join("a.log"));
        let by_file = scene.watch("ann", &one.join("link.log"));
        let of_bob = scene.watch("bob", &other.join("a.log"));
        scene.review().await;
        let losses = || [&staying, &by_name, &by_file, &of_bob].map(Withdrawal::loss);
        assert_eq!(losses(), [None; 4]);
        scene.rule(&[("ann", &one), ("bob", &other)]);
        scene.review().await;
        assert_eq!(losses(), [None, Some(Loss::Right), Some(Loss::Right), None]);
        scene.settings.user_header = None;
        scene.gate.changed();
        scene.review().await;
        assert_eq!([staying.loss(), of_bob.loss()], [Some(Loss::Identity); 2]);
    }

    #[tokio::test]
    async fn a_pattern_ends_with_the_right_to_one_of_its_matches_and_with_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let [one, other] = ["one", "other"].map(|name| top.join(name));
        for directory in [&one, &other] {
            std::fs::create_dir_all(directory.join("linked")).unwrap();
            std::fs::write(directory.join("a-1.log"), "").unwrap();
        }
        let link = |name: &str| {
            std::os::unix::fs::symlink(other.join("a-1.log"), one.join(name)).unwrap();
        };
        link("linked/a-2.log");
        let mut scene = Scene::new(&[top]).with_rules(&[("ann", &one), ("ann", &other)]);
        let staying = scene.watch("ann", &one.join("a-*.log"));
        let by_name = scene.watch("ann", &other.join("a-*.log"));
        let by_file = scene.watch("ann", &one.join("linked/a-*.log"));
        let losses = || [&staying, &by_name, &by_file].map(Withdrawal::loss);
        scene.review().await;
        assert_eq!(losses(), [None; 3]);
        scene.rule(&[("ann", &one)]);
        scene.review().await;
        assert_eq!(losses(), [None, Some(Loss::Right), Some(Loss::Right)]);
        // Its follower may open the new match, as it could when the stream began.
        link("a-3.log");
        scene.review().await;
        assert_eq!(staying.loss(), Some(Loss::Right));
    }

    #[tokio::test]
    async fn a_stream_of_a_history_ends_with_a_place_where_old_files_may_lie() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let [present, old, new] = ["app", "old", "new"].map(|name| top.join(name));
        for directory in [&present, &old, &new] {
            std::fs::create_dir(directory).unwrap();
        }
        let log = present.join("a.log");
        let losses = |streams: &[Withdrawal; 3]| streams.each_ref().map(Withdrawal::loss);
        let of_all = |scene: &Scene, [first, other]: [&str; 2]| {
            let of_history = scene.watch_history(first, &log);
            [of_history, scene.watch(first, &log), scene.watch_history(other, &log)]
        };
        // By rules.
        let narrow = [("ann", &*present), ("ann", &old), ("bob", &present)];
        let mut scene = Scene::new(&[top]).with_rules(&narrow);
        let streams = of_all(&scene, ["ann", "bob"]);
        scene.rule(&[&narrow[..], &[("ann", &new)]].concat());
        scene.review().await;
        assert_eq!(losses(&streams), [None; 3], "more may be read");
        scene.rule(&[("*", &present)]);
        scene.review().await;
        assert_eq!(losses(&streams), [Some(Loss::Place), None, None]);
        // By prefixes.
        let scene = Scene::new(&[&present, &old]);
        let streams = of_all(&scene, ["", ""]);
        scene.access.adopt(Access::new([&present, &old, &new]).unwrap());
        scene.gate.changed();
        scene.review().await;
        assert_eq!(losses(&streams), [None; 3]);
        scene.access.adopt(Access::new([&present]).unwrap());
        scene.gate.changed();
        scene.review().await;
        assert_eq!(losses(&streams), [Some(Loss::Place), None, Some(Loss::Place)]);
    }

    #[tokio::test]
    async fn whom_a_proxy_names_is_gone_once_the_proxy_or_its_header_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        std::fs::write(top.join("a.log"), "").unwrap();
        let other: TrustedProxy = "10.0.0.0/8".parse().unwrap();
        let header = |name: &str| Some(name.parse().unwrap());
        let first = Settings {
            trusted_proxies: vec![TrustedProxy::Unix],
            user_header: header("x-user"),
            group_header: header("x-groups"),
            ..Settings::default()
        };
        let trusting = |proxies: &[&TrustedProxy]| Settings {
            trusted_proxies: proxies.iter().map(|&proxy| proxy.clone()).collect(),
            ..first.clone()
        };
        for (changed, loss) in [
            (trusting(&[&other, &TrustedProxy::Unix]), None),
            (trusting(&[&other]), Some(Loss::Identity)),
            (trusting(&[]), Some(Loss::Identity)),
            (Settings { user_header: header("x-name"), ..first.clone() }, Some(Loss::Identity)),
            (Settings { group_header: header("x-team"), ..first.clone() }, Some(Loss::Right)),
            (Settings { group_header: None, ..first.clone() }, Some(Loss::Right)),
        ] {
            let mut scene = Scene::new(&[top]).with_rules(&[("@ops", top)]);
            scene.settings = first.clone();
            let visitor = scene.gate.visitor_of_proxy(&scene.settings, "ann", &["ops"]);
            let log = visitor.log_at(top.join("a.log").as_os_str().as_encoded_bytes()).unwrap();
            let stream = scene.withdrawals.watch(&visitor, &log, Reads::Log);
            scene.review().await;
            assert_eq!(stream.loss(), None);
            scene.settings = changed;
            scene.gate.changed();
            scene.review().await;
            assert_eq!(stream.loss(), loss, "{:?}", scene.settings);
        }
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_its_streams_and_looks_at_those_of_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        let mut scene = Scene::new(&[directory.path()]);
        let users = ["ann", "bob"].map(|name| format!("{name}:{HASH}\n")).concat();
        scene.settings.users = Some(Arc::new(users.parse().unwrap()));
        let sessions = Sessions::in_memory();
        scene.settings.sessions = Some(sessions.clone());
        let [first, second, of_bob] = ["ann", "ann", "bob"]
            .map(|name| scene.gate.visitor_with_session(&scene.settings, name));
        let watch = |visitor: &Visitor| {
            let log = visitor.log_at(log.as_os_str().as_encoded_bytes()).unwrap();
            scene.withdrawals.watch(visitor, &log, Reads::Log)
        };
        let streams = [watch(&first), watch(&first), watch(&second), watch(&of_bob)];
        scene.review().await;
        let ending = first.session().unwrap();
        sessions.end(ending).await.unwrap();
        // This one has ended, too, and nobody asks for it.
        sessions.end(of_bob.session().unwrap()).await.unwrap();
        scene.withdrawals.end_sessions(&sessions, |session| session.name == ending.name);
        let losses = || streams.each_ref().map(Withdrawal::loss);
        let gone = Some(Loss::Identity);
        assert_eq!(losses(), [gone, gone, None, None]);
        scene.withdrawals.end_sessions(&sessions, |_| true);
        assert_eq!(losses(), [gone, gone, None, gone]);
    }
}
