//! The machines that there are, and their lists of logs.
//!
//! An agent says every few seconds that it is there. Its list is asked for while somebody looks at it,
//! and now and then otherwise. What the stream has of machines that are away is listed, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::broker::agent::HERE_INTERVAL;
use crate::broker::ask::{Answer, Here, ListedLog, Request};
use crate::broker::edge::ANSWER_TIME_MAX;
use crate::broker::edge::reach::Reach;
use crate::broker::fields::Fields;
use crate::broker::message::path_and_size;
use crate::broker::names::{self, ALL_HERE, HELLO, HostName, STREAM_SUBJECTS};
use crate::broker::nats::{AskFailure, Broker, Ended, From, Incoming};
use crate::mirror::{Host, RemoteLog};

/// A machine of which nothing is heard for so long is away.
const AWAY_AFTER: Duration = HERE_INTERVAL.saturating_mul(3);
/// How often a list is asked for while somebody looks at it.
const LIST_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is asked for while nobody does.
const IDLE_LIST_INTERVAL: Duration = Duration::from_secs(120);
/// Somebody looks at a list for so long after it was last shown.
const LOOK_TIME: Duration = Duration::from_secs(20);
/// How often it is decided whose list is due.
const TURN: Duration = Duration::from_secs(1);
/// The most lists that are asked for at a time.
const LISTS_AT_ONCE: usize = 8;
/// The most logs of one machine that are listed.
const LOGS_MAX: usize = 100_000;
/// The most machines that are known.
const HOSTS_MAX: usize = 10_000;
/// The broker does not go on with what the stream has when nothing comes for so long.
const ARCHIVE_SILENCE_MAX: Duration = Duration::from_secs(10);

/// What is known of one machine.
struct Known {
    /// The run of its agent that was heard last; None for one that is known by the stream alone.
    here: Option<Here>,
    heard: Instant,
    away: Option<SystemTime>,
    logs: Arc<[RemoteLog]>,
    /// The tag of the list; None if it did not come from the agent.
    tag: Option<u64>,
    listed: Option<Instant>,
    looked: Option<Instant>,
    is_being_listed: bool,
}

impl Known {
    fn new() -> Self {
        Self {
            here: None,
            heard: Instant::now(),
            away: None,
            logs: Arc::from([]),
            tag: None,
            listed: None,
            looked: None,
            is_being_listed: false,
        }
    }

    fn is_list_due(&self, now: Instant) -> bool {
        let is_looked_at = self.looked.is_some_and(|looked| now - looked < LOOK_TIME);
        let every = if is_looked_at { LIST_INTERVAL } else { IDLE_LIST_INTERVAL };
        let is_old = self.listed.is_none_or(|listed| now - listed >= every);
        self.away.is_none() && self.here.is_some() && !self.is_being_listed && is_old
    }
}

/// The machines.
pub(super) struct Hosts {
    broker: Broker,
    known: Mutex<BTreeMap<HostName, Known>>,
    revision: AtomicU64,
    /// A list may be due now.
    look: Notify,
    arrivals: watch::Sender<()>,
    /// The machines of which logs are followed.
    watched: Mutex<HashMap<HostName, Weak<Reach>>>,
}

impl Hosts {
    pub(super) fn new(broker: Broker) -> Self {
        Self {
            broker,
            known: Mutex::default(),
            revision: AtomicU64::new(1),
            look: Notify::new(),
            arrivals: watch::channel(()).0,
            watched: Mutex::default(),
        }
    }

    pub(super) fn all(&self) -> Vec<Host> {
        let known = self.known.lock();
        let host = |(name, known): (&HostName, &Known)| Host {
            name: Arc::clone(name.as_str()),
            away: known.away,
        };
        known.iter().map(host).collect()
    }

    pub(super) fn logs(&self, host: &str) -> Arc<[RemoteLog]> {
        let Ok(host) = host.parse::<HostName>() else { return Arc::from([]) };
        let mut all = self.known.lock();
        let Some(known) = all.get_mut(&host) else { return Arc::from([]) };
        let now = Instant::now();
        known.looked = Some(now);
        if known.is_list_due(now) {
            self.look.notify_one();
        }
        Arc::clone(&known.logs)
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    fn change(&self) {
        self.revision.fetch_add(1, Ordering::SeqCst);
    }

    /// Changes when an agent arrives, of whichever machine.
    pub(super) fn arrivals(&self) -> watch::Receiver<()> {
        self.arrivals.subscribe()
    }

    /// What watches over the machine, shared by all who follow logs of it.
    pub(super) fn watch(self: &Arc<Self>, host: &HostName) -> Arc<Reach> {
        let mut watched = self.watched.lock();
        watched.retain(|_, reach| reach.strong_count() > 0);
        if let Some(reach) = watched.get(host).and_then(Weak::upgrade) {
            return reach;
        }
        let reach = Reach::start(self.broker.clone(), Arc::clone(self), host.clone());
        watched.insert(host.clone(), Arc::downgrade(&reach));
        reach
    }

    /// Listens for machines for ever.
    pub(super) async fn listen(self: Arc<Self>) {
        tokio::select! {
            () = self.hear() => {}
            () = self.ask_for_lists() => {}
            () = self.read_archive() => {}
        }
    }

    async fn hear(&self) {
        let mut link = self.broker.link();
        loop {
            let Ok(mut heard) = self.broker.subscribe(ALL_HERE).await else {
                sleep(TURN).await;
                continue;
            };
            self.say_hello().await;
            let mut turns = interval(TURN);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    message = heard.next() => match message {
                        Some(message) => self.take(&message),
                        None => break,
                    },
                    _ = link.changed() => {
                        if link.borrow_and_update().is_up {
                            self.say_hello().await;
                        }
                    }
                    _ = turns.tick() => self.miss(link.borrow().is_up),
                }
            }
        }
    }

    async fn say_hello(&self) {
        self.broker.send(HELLO, (Fields::default(), Bytes::new())).await;
    }

    /// Takes what an agent says of itself.
    fn take(&self, message: &Incoming) {
        let Some(host) = HostName::of_subject(&message.subject) else { return };
        let here = match Here::decode(&message.fields) {
            Ok(here) => here,
            Err(error) => {
                tracing::debug!(%host, %error, "what an agent says of itself is not understood");
                return;
            }
        };
        let mut all = self.known.lock();
        if !all.contains_key(&host) && !make_room(&mut all) {
            tracing::debug!(%host, "there are too many machines: it is left out");
            return;
        }
        let is_new = !all.contains_key(&host);
        let known = all.entry(host).or_insert_with(Known::new);
        known.heard = Instant::now();
        if here.is_leaving {
            // The last words of an earlier run say nothing of the present one.
            let is_last_run = known.here.as_ref().is_none_or(|last| last.instance == here.instance);
            if is_last_run && known.away.is_none() {
                known.away = Some(SystemTime::now());
                self.change();
            }
            return;
        }
        let is_other = known.here.as_ref().is_none_or(|last| last.instance != here.instance);
        let was_away = known.away.take().is_some();
        known.here = Some(here);
        if is_other || was_away {
            known.listed = None;
            self.arrivals.send_replace(());
            self.look.notify_one();
        }
        if is_new || was_away {
            self.change();
        }
    }

    /// Notes which machines have not been heard of for too long. Without a connection nothing can be
    /// said of any.
    fn miss(&self, is_up: bool) {
        let now = Instant::now();
        let mut is_changed = false;
        for known in self.known.lock().values_mut() {
            if !is_up {
                known.heard = now;
            } else if known.away.is_none() && now - known.heard > AWAY_AFTER {
                known.away = Some(SystemTime::now());
                is_changed = true;
            }
        }
        if is_changed {
            self.change();
        }
    }

    /// Notes that nobody is the agent of a machine now.
    pub(super) fn note_away(&self, host: &HostName) {
        let mut all = self.known.lock();
        if let Some(known) = all.get_mut(host)
            && known.away.is_none()
        {
            known.away = Some(SystemTime::now());
            self.change();
        }
    }

    async fn ask_for_lists(&self) {
        let mut asking = tokio::task::JoinSet::new();
        loop {
            let now = Instant::now();
            let due: Vec<(HostName, Option<u64>)> = {
                let mut all = self.known.lock();
                let free = LISTS_AT_ONCE.saturating_sub(asking.len());
                let due = all.iter_mut().filter(|(_, known)| known.is_list_due(now));
                due.take(free)
                    .map(|(host, known)| {
                        known.is_being_listed = true;
                        (host.clone(), known.tag)
                    })
                    .collect()
            };
            for (host, tag) in due {
                let broker = self.broker.clone();
                asking.spawn(async move {
                    let list = ask_for_list(&broker, &host, tag).await;
                    (host, list)
                });
            }
            tokio::select! {
                Some(Ok((host, list))) = asking.join_next() => self.take_list(&host, list),
                () = self.look.notified() => {}
                () = sleep(TURN) => {}
            }
        }
    }

    fn take_list(&self, host: &HostName, list: Listed) {
        let mut all = self.known.lock();
        let Some(known) = all.get_mut(host) else { return };
        known.is_being_listed = false;
        known.listed = Some(Instant::now());
        match list {
            Listed::Unchanged => {}
            Listed::Logs(tag, logs) => {
                known.tag = Some(tag);
                known.logs = logs;
                self.change();
            }
            Listed::Failed => tracing::debug!(%host, "the list of its logs does not come"),
        }
    }

    /// Reads which machines and logs the stream has messages of, until it has all, and again when the
    /// connection was lost. As long as there is one, agents say themselves that they are there.
    async fn read_archive(&self) {
        let mut link = self.broker.link();
        loop {
            link.mark_unchanged();
            match self.read_stream().await {
                Ok(()) => {
                    tracing::debug!("read what the stream has of machines");
                    if link.changed().await.is_err()
                        || link.wait_for(|link| link.is_up).await.is_err()
                    {
                        return std::future::pending().await;
                    }
                }
                // There may be no stream yet. An edge need not be permitted to read all machines.
                Err(error) => {
                    tracing::debug!(?error, "cannot read all that the stream has");
                    sleep(5 * TURN).await;
                }
            }
        }
    }

    async fn read_stream(&self) -> Result<(), Ended> {
        let mut consumer = self.broker.consume(STREAM_SUBJECTS, From::LastOfEach).await?;
        let mut ended = Ok(());
        let mut found: BTreeMap<HostName, (SystemTime, Vec<RemoteLog>)> = BTreeMap::new();
        for _ in 0..consumer.pending() {
            let next = timeout(ARCHIVE_SILENCE_MAX, consumer.next()).await;
            let stored = match next.unwrap_or_else(|_| Err(Ended("nothing comes".to_owned()))) {
                Ok(stored) => stored,
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            };
            let Some(host) = HostName::of_subject(&stored.subject) else { continue };
            let Some((path, size)) = path_and_size(&stored.fields) else { continue };
            if !is_plain(&path) {
                continue;
            }
            let log = RemoteLog { path: path.into(), size, modified: stored.time };
            let (last, logs) = found.entry(host).or_insert((stored.time, Vec::new()));
            *last = stored.time.max(*last);
            if logs.len() < LOGS_MAX {
                logs.push(log);
            }
        }
        let mut all = self.known.lock();
        for (host, (last, logs)) in found {
            if !all.contains_key(&host) && all.len() >= HOSTS_MAX {
                break;
            }
            let known = all.entry(host).or_insert_with(|| {
                let mut known = Known::new();
                known.away = Some(last);
                known
            });
            if known.tag.is_none() {
                known.logs = logs.into();
            }
        }
        drop(all);
        self.change();
        ended
    }
}

/// Makes room for another machine: the one that is away longest is forgotten. False if there is none.
fn make_room(all: &mut BTreeMap<HostName, Known>) -> bool {
    if all.len() < HOSTS_MAX {
        return true;
    }
    let away = all.iter().filter_map(|(host, known)| Some((known.away?, host)));
    let Some((_, longest)) = away.min() else { return false };
    let longest = longest.clone();
    all.remove(&longest).is_some()
}

/// Whether a path is that of a log of the machine that lists it: from the root on, and without any
/// part that leads elsewhere.
fn is_plain(path: &[u8]) -> bool {
    let Some(path) = path.strip_prefix(b"/") else { return false };
    let mut parts = path.split(|&byte| byte == b'/');
    parts.all(|part| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0))
}

enum Listed {
    Unchanged,
    Logs(u64, Arc<[RemoteLog]>),
    Failed,
}

async fn ask_for_list(broker: &Broker, host: &HostName, known: Option<u64>) -> Listed {
    let subject = names::ask(host);
    let (mut logs, mut page, mut list) = (Vec::new(), 0, None);
    loop {
        let request = Request::List { page, known: known.filter(|_| page == 0) };
        // A walk over many files takes a while.
        let asked = broker.request(&subject, request.encode(), 5 * ANSWER_TIME_MAX).await;
        let answer = asked.map(|(fields, payload)| Answer::decode(&fields, payload));
        let (tag, pages, lines) = match answer {
            Ok(Ok(Answer::Unchanged)) => return Listed::Unchanged,
            Ok(Ok(Answer::Page { tag, pages, lines })) => (tag, pages, lines),
            Ok(Ok(_) | Err(_)) | Err(AskFailure::Nobody | AskFailure::Silence) => {
                return Listed::Failed;
            }
        };
        // Another list was made meanwhile.
        if *list.get_or_insert(tag) != tag {
            return Listed::Failed;
        }
        let lines = String::from_utf8_lossy(&lines);
        let listed = lines.lines().filter_map(ListedLog::of_line);
        logs.extend(listed.filter(|log| is_plain(&log.path)).map(|log| RemoteLog {
            path: log.path.into(),
            size: log.size,
            modified: log.modified,
        }));
        page += 1;
        if page >= pages || logs.len() >= LOGS_MAX {
            return Listed::Logs(tag, logs.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_not_that_of_a_log() {
        for path in ["/var/log/x", "/x", "/ü/..x/.y"] {
            assert!(is_plain(path.as_bytes()), "{path}");
        }
        for path in ["", "/", "x", "-b/x", "//x", "/x/", "/./x", "/x/..", "/../@other/x", "/x\0"] {
            assert!(!is_plain(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn the_machine_that_is_away_longest_makes_room() {
        let name = |nth: usize| format!("m{nth}").parse::<HostName>().unwrap();
        let mut all: BTreeMap<_, _> = (0..HOSTS_MAX).map(|nth| (name(nth), Known::new())).collect();
        assert!(!make_room(&mut all), "each of them is there");
        for nth in [7, 5, 9] {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(nth as u64);
            all.get_mut(&name(nth)).unwrap().away = Some(since);
        }
        assert!(make_room(&mut all));
        assert!(!all.contains_key(&name(5)) && all.len() == HOSTS_MAX - 1);
        assert!(make_room(&mut all) && all.len() == HOSTS_MAX - 1);
    }
}
