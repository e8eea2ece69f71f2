//! The agent of a machine: it publishes the logs that are wanted, and answers what edges ask.
//!
//! A log is wanted as long as an edge says so again and again. Nothing is kept for one that nobody
//! wants: no consumer, no subject and no message.

mod answers;
mod claim;
mod figures;
mod list;
mod places;
mod publisher;
mod stream;

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use crate::broker::ask::{Answer, Denial, Here, KnownPlace, Request};
use crate::broker::names::{self, HELLO, HostName};
use crate::broker::nats::{
    Broker, ConnectFailure, Incoming, StreamFailure, StreamLimits, Subscription,
};
use crate::log::access::Refusal;
use crate::log::registry::{FOLLOWERS_MAX, ROTATE_WAIT};
use crate::log::{Access, LogPath, Registry};
use crate::mirror::RemoteName;
use crate::mirror::remote::requested;
pub use figures::{Denied, Figures, Unstored};
use list::List;
pub use places::Places;
use places::stream_number;
use publisher::Publisher;

/// A log is published for so long after an edge has last said that it is wanted.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often an agent says that it is there.
pub const HERE_INTERVAL: Duration = Duration::from_secs(5);
/// The most logs that are published at a time.
pub const PUBLISHED_MAX: usize = 10_000;
/// Of so many logs it is remembered how far they were published, until they are followed: of all that
/// may begin at once, and of some that are only read.
const REMEMBERED_MAX: usize = 2 * PUBLISHED_MAX;
/// How many answers with bytes or lists are prepared at a time.
const ANSWERS_MAX: usize = 16;
/// How many may be prepared besides, for whoever asks again: a large file has to be unpacked first.
const SLOW_ANSWERS_MAX: usize = 64;
/// How many logs may collect a whole message of bytes at a time; the others collect less.
const LARGE_MESSAGES_MAX: usize = 64;
/// How often `--publish always` looks for new logs.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);
/// The pause before the stream is looked for again.
const STREAM_RETRY: Duration = Duration::from_secs(3);
/// How often it is looked whether there still is a stream.
const STREAM_INTERVAL: Duration = Duration::from_secs(10);
/// What was written so far is published for so long at the end.
const LAST_MESSAGES_TIME_MAX: Duration = Duration::from_secs(5);

/// How often it is saved how far the logs were published.
const SAVE_INTERVAL: Duration = Duration::from_secs(3);

/// Which logs are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publish {
    /// Those that an edge wants, from their present end on. What is older is given when it is asked
    /// for.
    Wanted,
    /// All, from their first byte on.
    Always,
}

/// How an agent works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the machine.
    pub host: HostName,
    /// Which logs are published.
    pub publish: Publish,
    /// The limits of the stream, if this agent is the one that makes it.
    pub limits: StreamLimits,
}

/// Why an agent ends.
#[derive(Debug)]
pub enum AgentFailure {
    /// The broker refuses it.
    Connect(ConnectFailure),
    /// Another agent has its name.
    Taken(HostName),
    /// The broker does not let it have this name.
    NotPermitted(HostName),
}

impl Display for AgentFailure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(failure) => failure.fmt(f),
            Self::Taken(host) => write!(f, "another agent has the name `{host}` already"),
            Self::NotPermitted(host) => {
                write!(f, "the broker does not permit this user to be the agent of `{host}`")
            }
        }
    }
}

impl std::error::Error for AgentFailure {}

impl From<ConnectFailure> for AgentFailure {
    fn from(failure: ConnectFailure) -> Self {
        Self::Connect(failure)
    }
}

/// What the tasks of an agent share.
struct Agent {
    broker: Broker,
    registry: Arc<Registry>,
    settings: Settings,
    figures: Arc<Figures>,
    /// With `--publish always`.
    places: Arc<Places>,
    /// The stream that there is, once one was found.
    stream: watch::Sender<Option<u64>>,
    here: Here,
    list: List,
    /// The logs that are wanted, by their paths. An entry belongs to a running publisher.
    wanted: Mutex<HashMap<LogPath, Wanted>>,
    /// The broker was found to have no stream.
    stream_missing: Notify,
    /// It was told that the broker does not answer, although there is a connection.
    is_silence_told: AtomicBool,
    answers: Semaphore,
    /// For answers that go on being prepared when nobody waits for them any more.
    slow_answers: Arc<Semaphore>,
    large_messages: Arc<Semaphore>,
    publishers: TaskTracker,
}

/// A log that is wanted.
struct Wanted {
    until: watch::Sender<Instant>,
    /// Somebody has to be told where it is.
    tell: Arc<Notify>,
}

/// What an edge says of a log that it wants.
#[derive(Debug, Default)]
struct Said {
    known: Option<KnownPlace>,
    tell: bool,
}

/// Publishes the logs of `access` until `shutdown`, and counts in `figures` what it does. `places` says
/// how far it got before, if it publishes all logs. `on_ready` is called when edges can see them.
///
/// # Errors
/// When another agent has the name. A connection that is lost is made again.
pub async fn run(
    broker: Broker,
    access: Access,
    settings: Settings,
    figures: Arc<Figures>,
    places: Places,
    on_ready: impl FnOnce(),
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentFailure> {
    tokio::pin!(shutdown);
    figures.connected(&broker);
    let host = settings.host.clone();
    let registry =
        Registry::with_limits(Arc::new(access), ROTATE_WAIT, FOLLOWERS_MAX, REMEMBERED_MAX);
    let mut denied = broker.denied();
    let claimed = tokio::select! {
        claimed = claim::claim(&broker, &host) => claimed,
        _ = denied.wait_for(|what| is_own_subject(what, &host)) => {
            return Err(AgentFailure::NotPermitted(host));
        }
        () = &mut shutdown => return Ok(()),
    };
    let Some((here, asked)) = claimed else { return Err(AgentFailure::Taken(host)) };
    let agent = Arc::new(Agent {
        list: List::new(Arc::clone(registry.access()), Arc::clone(&figures)),
        figures,
        places: Arc::new(places),
        stream: watch::channel(None).0,
        broker,
        registry,
        settings,
        here,
        wanted: Mutex::default(),
        stream_missing: Notify::new(),
        is_silence_told: AtomicBool::new(false),
        answers: Semaphore::new(ANSWERS_MAX),
        slow_answers: Arc::new(Semaphore::new(SLOW_ANSWERS_MAX)),
        large_messages: Arc::new(Semaphore::new(LARGE_MESSAGES_MAX)),
        publishers: TaskTracker::new(),
    });
    let ended = tokio::select! {
        () = agent.work(asked, on_ready) => Err(AgentFailure::Taken(host)),
        // A subscription that is not permitted is told only later.
        _ = denied.wait_for(|what| is_own_subject(what, &host)) => {
            Err(AgentFailure::NotPermitted(host.clone()))
        }
        () = &mut shutdown => Ok(()),
    };
    agent.end().await;
    ended
}

/// Whether what the broker does not permit is to be asked as the agent of this machine.
fn is_own_subject(denied: &str, host: &HostName) -> bool {
    denied.to_lowercase().contains(&format!("\"{}\"", names::ask(host)).to_lowercase())
}

impl Agent {
    /// Answers and publishes until another agent turns out to have had the name before.
    async fn work(self: &Arc<Self>, mut asked: Subscription, on_ready: impl FnOnce()) {
        let others = async {
            loop {
                if claim::another_was_first(&self.broker, &self.settings.host, &self.here).await {
                    return;
                }
            }
        };
        let answering = async {
            while let Some(request) = asked.next().await {
                self.receive(request);
            }
            std::future::pending().await
        };
        let announcing = async {
            self.find_stream().await;
            self.tell_here(false).await;
            on_ready();
            tokio::join!(self.announce(), self.keep_stream(), self.save_places());
        };
        tokio::select! {
            () = others => {}
            () = answering => {}
            () = announcing => {}
            () = self.publish_all() => {}
        }
    }

    /// Waits until there is a stream, and makes it if there is none.
    async fn find_stream(&self) {
        let mut told = String::new();
        loop {
            let found = match self.broker.stream_state().await {
                Ok(state) => {
                    self.note_stream(stream_number(state.created));
                    return;
                }
                Err(StreamFailure::Missing) => self.broker.make_stream(&self.settings.limits).await,
                Err(failure) => Err(failure),
            };
            let Err(failure) = found else {
                let StreamLimits { bytes, age, .. } = self.settings.limits;
                tracing::info!(stream = names::STREAM, bytes, ?age, "made the stream");
                continue;
            };
            let why = failure.to_string();
            if why != told {
                let hint = match failure {
                    StreamFailure::Off => "start the broker with `nats-server -js`",
                    StreamFailure::Refused(_) | StreamFailure::Missing => {
                        "let the broker have more room (`max_file_store`), or ask for less \
                         (`--stream-max-bytes`)"
                    }
                    StreamFailure::Away(_) => {
                        "check that this user may use the stream: docs/fleet.md has the permissions"
                    }
                };
                tracing::warn!(why, hint, "nothing can be published yet: trying again");
                told = why;
            }
            tokio::time::sleep(STREAM_RETRY).await;
        }
    }

    /// Tells the publishers which stream there is, if that is another one than before.
    fn note_stream(&self, number: u64) {
        self.stream.send_if_modified(|known| known.replace(number) != Some(number));
    }

    /// Makes the stream again when it is gone, with what the broker had of it.
    async fn keep_stream(&self) {
        let mut link = self.broker.link();
        let mut turns = interval(STREAM_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stream_missing.notified() => {}
                _ = link.changed() => {}
                // Also edges need it while no log is published.
                _ = turns.tick() => {}
            }
            if !link.borrow().is_up {
                continue;
            }
            match self.broker.stream_state().await {
                // Another agent may have made it again.
                Ok(state) => self.note_stream(stream_number(state.created)),
                Err(StreamFailure::Missing) => {
                    tracing::warn!(
                        stream = names::STREAM,
                        "the broker has no stream any more: making it again"
                    );
                    self.find_stream().await;
                }
                Err(_) => {}
            }
        }
    }

    async fn save_places(&self) {
        let mut problem = None;
        let mut turns = interval(SAVE_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let failed = self.save_places_once().await.err().map(|error| error.to_string());
            if failed.is_some() && failed != problem {
                let hint = "check the directory of `--state-dir`";
                let why = failed.as_deref();
                tracing::warn!(why, hint, "cannot save how far the logs were published");
            }
            problem = failed;
        }
    }

    async fn save_places_once(&self) -> std::io::Result<()> {
        let places = Arc::clone(&self.places);
        let saving = tokio::task::spawn_blocking(move || places.save());
        saving.await.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
    }

    async fn tell_here(&self, is_leaving: bool) {
        let here = Here { is_leaving, ..self.here.clone() };
        let subject = names::here(&self.settings.host);
        self.broker.send(&subject, (here.encode(), bytes::Bytes::new())).await;
    }

    /// Says again and again that this machine is there, also when somebody asks, and when the
    /// connection is back.
    async fn announce(&self) {
        let mut link = self.broker.link();
        let mut turns = interval(HERE_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Ok(mut hello) = self.broker.subscribe(HELLO).await else {
                return std::future::pending().await;
            };
            loop {
                tokio::select! {
                    _ = turns.tick() => {}
                    _ = link.changed() => {}
                    asked = hello.next() => if asked.is_none() { break },
                }
                self.tell_here(false).await;
                self.list.tidy();
            }
        }
    }

    /// Takes a request. What takes long is answered by a task of its own.
    fn receive(self: &Arc<Self>, Incoming { fields, payload, reply, .. }: Incoming) {
        let Some(reply) = reply else { return };
        let request = Request::decode(&fields, &payload);
        let agent = Arc::clone(self);
        tokio::spawn(async move {
            let answer = match request {
                Ok(request) => agent.answer(request).await,
                Err(error) => {
                    tracing::debug!(%error, "a request that is none");
                    Answer::Denied(Denial::Unknown)
                }
            };
            agent.figures.count_answer(&answer);
            agent.broker.answer(reply, answer.encode()).await;
        });
    }

    /// The log of a name that an edge gives, which may be that of a pattern.
    ///
    /// # Errors
    /// When it does not lie below the prefixes.
    fn locate(&self, name: &[u8]) -> Result<LogPath, Refusal> {
        let requested = requested(name).ok_or(Refusal::Forbidden)?;
        self.registry.access().locate_requested(&requested)
    }

    /// The name of a log, as edges give it.
    fn name_of(&self, log: &LogPath) -> Arc<[u8]> {
        let path = log.as_path().as_os_str().as_bytes();
        RemoteName::new(self.settings.host.as_str(), path, log.pattern()).path
    }

    /// Publishes a log for [`LEASE`] from now on.
    ///
    /// # Errors
    /// When it may not be given, or too many are published.
    fn want(self: &Arc<Self>, path: &[u8], lease: Duration, said: Said) -> Result<(), Refusal> {
        let log = self.locate(path)?;
        let until = Instant::now() + lease;
        let mut wanted = self.wanted.lock();
        if let Some(known) = wanted.get(&log) {
            known.until.send_replace(until);
            if said.tell {
                known.tell.notify_one();
            }
            return Ok(());
        }
        if wanted.len() >= PUBLISHED_MAX {
            return Err(Refusal::Exhausted);
        }
        let (until, lease) = watch::channel(until);
        // A new publisher says where the log is, if the stream does not.
        let tell = Arc::new(Notify::new());
        wanted.insert(log.clone(), Wanted { until, tell: Arc::clone(&tell) });
        self.figures.published.set(wanted.len());
        drop(wanted);
        let agent = Arc::clone(self);
        self.publishers.spawn(async move {
            let publisher = Publisher::new(Arc::clone(&agent), log.clone(), said.known, tell);
            tokio::select! {
                () = publisher.run() => agent.forget(&mut agent.wanted.lock(), &log),
                () = agent.wait_for_end(&log, lease) => {}
            }
        });
        Ok(())
    }

    fn forget(&self, wanted: &mut HashMap<LogPath, Wanted>, log: &LogPath) {
        wanted.remove(log);
        self.figures.published.set(wanted.len());
    }

    /// Waits until a log is no longer wanted, and removes it.
    async fn wait_for_end(&self, log: &LogPath, mut lease: watch::Receiver<Instant>) {
        loop {
            let until = *lease.borrow_and_update();
            tokio::select! {
                () = sleep_until(until) => {
                    let mut wanted = self.wanted.lock();
                    // An edge that renews it does so under the same lock.
                    if *lease.borrow() <= Instant::now() {
                        self.forget(&mut wanted, log);
                        return;
                    }
                }
                _ = lease.changed() => {}
            }
        }
    }

    /// With `--publish always`: wants all logs, also those that come.
    async fn publish_all(self: &Arc<Self>) {
        if self.settings.publish == Publish::Wanted {
            return std::future::pending().await;
        }
        let mut is_told = false;
        let mut turns = interval(SEARCH_INTERVAL);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let catalogue = List::walk(self.registry.access()).await;
            self.figures.listed.set(catalogue.entries.len());
            let mut are_all = !catalogue.truncated;
            for entry in catalogue.entries {
                let path = entry.log.as_path().as_os_str().as_bytes();
                // It is renewed long before that.
                let wanted = self.want(path, 10 * SEARCH_INTERVAL.max(LEASE), Said::default());
                are_all &= wanted != Err(Refusal::Exhausted);
            }
            if !are_all && !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    "there are more logs or directories than can be published: at most {PUBLISHED_MAX} \
                     logs are, and the others are left out"
                );
            }
        }
    }

    /// Publishes what was written so far, and says that the machine goes away.
    async fn end(&self) {
        self.publishers.close();
        let ending = async {
            self.registry.end_followers().await;
            self.publishers.wait().await;
        };
        if timeout(LAST_MESSAGES_TIME_MAX, ending).await.is_err() {
            tracing::warn!(
                "not everything could be published in time: the rest comes after the next start"
            );
        }
        if let Err(error) = self.save_places_once().await {
            tracing::warn!(%error, "cannot save how far the logs were published");
        }
        self.tell_here(true).await;
        self.broker.flush(Duration::from_secs(1)).await;
    }
}
