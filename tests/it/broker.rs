//! Agents, a real broker, and what an edge gets of them: each byte once, at its offset, whichever of
//! them dies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tailcast::broker::message::{Content, Message};
use tailcast::broker::{Edge, names};
use tailcast::log::timeline::{Reason, WaitReason};
use tailcast::log::{Generation, Offset};
use tailcast::mirror::{FetchError, Remote, RemoteEvent, RemoteName, RemotePosition};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::machines::{Agent, Nats};
use crate::servers::DEADLINE;
use crate::servers::{append, eventually, not_run, pace, put};

/// Starts a broker, or leaves the test out where there is none.
macro_rules! broker {
    ($test:expr) => {
        match Nats::start().await {
            Some(nats) => nats,
            None => return not_run($test, "there is no nats-server"),
        }
    };
}

mod always;
mod login;
mod trouble;

/// A directory of logs of a machine.
fn logs() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A machine called `web` with one log, its agent, and an edge.
struct Web {
    logs: TempDir,
    log: PathBuf,
    agent: Agent,
    edge: Arc<Edge>,
}

impl Web {
    /// The log has this content.
    async fn with(nats: &Nats, content: impl AsRef<[u8]>) -> Self {
        let logs = logs();
        let log = logs.path().join("app.log");
        put(&log, content);
        let agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
        let edge = Arc::new(nats.edge().await);
        Self { logs, log, agent, edge }
    }
}

fn name(host: &str, path: &Path) -> RemoteName {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    RemoteName { host: host.into(), path: path.as_os_str().as_encoded_bytes().into() }
}

/// What has come of one generation.
struct Copy {
    generation: Generation,
    bytes: BTreeMap<u64, Vec<u8>>,
    gaps: Vec<(u64, u64)>,
}

impl Copy {
    /// Adds bytes. Those that came before have to be the same.
    fn add(&mut self, offset: u64, bytes: &[u8]) {
        for (nth, byte) in bytes.iter().enumerate() {
            let at = offset + nth as u64;
            if let Some(known) = self.at(at) {
                assert_eq!(known, *byte, "another byte at {at}");
            }
        }
        let known = self.bytes.entry(offset).or_default();
        if bytes.len() > known.len() {
            *known = bytes.to_vec();
        }
    }

    fn at(&self, offset: u64) -> Option<u8> {
        let mut before = self.bytes.range(..=offset).rev().take(3);
        before.find_map(|(start, bytes)| bytes.get((offset - start) as usize).copied())
    }

    /// The bytes from an offset on, as far as there are no holes.
    fn from(&self, from: u64) -> Vec<u8> {
        let mut all = Vec::new();
        for (start, bytes) in &self.bytes {
            let next = from + all.len() as u64;
            if *start <= next && start + bytes.len() as u64 > next {
                all.extend_from_slice(&bytes[(next - start) as usize..]);
            }
        }
        all
    }

    fn end(&self) -> u64 {
        self.bytes.iter().map(|(start, bytes)| start + bytes.len() as u64).max().unwrap_or(0)
    }
}

/// A mirror of one log that keeps all that it is told.
struct Mirror {
    edge: Arc<Edge>,
    name: RemoteName,
    events: mpsc::Receiver<RemoteEvent>,
    copies: Vec<Copy>,
    /// The turns: why, whether the end of the one before was said, and which that was.
    turns: Vec<(Reason, Option<u64>)>,
    reach: Vec<bool>,
    waiting: Vec<WaitReason>,
    at: Option<RemotePosition>,
}

impl Mirror {
    fn follow(edge: &Arc<Edge>, name: &RemoteName, from: Option<RemotePosition>) -> Self {
        let events = edge.follow(name, from);
        Self {
            edge: Arc::clone(edge),
            name: name.clone(),
            events,
            copies: Vec::new(),
            turns: Vec::new(),
            reach: Vec::new(),
            waiting: Vec::new(),
            at: from,
        }
    }

    fn copy(&mut self, generation: Generation) -> &mut Copy {
        if let Some(nth) = self.copies.iter().position(|copy| copy.generation.is(&generation)) {
            self.copies[nth].generation = generation;
            return &mut self.copies[nth];
        }
        self.copies.push(Copy { generation, bytes: BTreeMap::new(), gaps: Vec::new() });
        self.copies.last_mut().unwrap()
    }

    /// Takes the next event.
    async fn next(&mut self) {
        let event = timeout(DEADLINE, self.events.recv()).await;
        let event = event.expect("an event in time").expect("the stream goes on");
        match event {
            RemoteEvent::Turn { at, reason, size, before } => {
                assert!(size >= at.offset.0, "{size} {at:?}");
                self.copy(at.generation);
                self.turns.push((reason, before.map(|before| before.offset.0)));
                self.at = Some(at);
            }
            RemoteEvent::Bytes { at, bytes, .. } => {
                self.copy(at.generation).add(at.offset.0, &bytes);
                self.at = Some(RemotePosition { offset: at.offset.plus(bytes.len()), ..at });
            }
            RemoteEvent::Gap { from, to } => {
                self.copy(from.generation).gaps.push((from.offset.0, to.0));
            }
            RemoteEvent::Waiting(reason) => self.waiting.push(reason),
            RemoteEvent::Unreachable => self.reach.push(false),
            RemoteEvent::Reachable => self.reach.push(true),
        }
    }

    /// Takes events until a condition holds.
    async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !holds(self) {
            let left = until.saturating_duration_since(Instant::now());
            let said = || {
                let copies: Vec<_> = self
                    .copies
                    .iter()
                    .map(|copy| (copy.generation.to_string(), copy.end()))
                    .collect();
                format!("{copies:?} {:?} {:?} {:?}", self.turns, self.reach, self.waiting)
            };
            let said = said();
            let next = timeout(left, self.next()).await;
            assert!(next.is_ok(), "{what}: not in time; so far {said}");
        }
    }

    /// Takes events until the latest generation ends at this offset.
    async fn until_end(&mut self, end: u64) {
        self.until(&format!("the bytes up to {end}"), |mirror| {
            mirror.copies.last().is_some_and(|copy| copy.end() >= end)
        })
        .await;
    }

    /// All bytes of a generation. What was not told is fetched.
    async fn all(&mut self, nth: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let copy = &self.copies[nth];
            let known = copy.from(all.len() as u64);
            all.extend_from_slice(&known);
            let (end, generation) = (copy.end(), copy.generation);
            if all.len() as u64 >= end {
                return all;
            }
            let next = copy.bytes.range(all.len() as u64..).next().map_or(end, |(start, _)| *start);
            let range = all.len() as u64..next.min(all.len() as u64 + 512 * 1024);
            let fetched = self.edge.fetch(&self.name, &generation, range.clone()).await;
            let fetched = fetched.unwrap_or_else(|error| panic!("{range:?}: {error}"));
            assert!(!fetched.bytes.is_empty(), "{range:?} of {}", fetched.size);
            all.extend_from_slice(&fetched.bytes);
        }
    }
}

/// Writes numbered lines until it is told to stop. Returns all that was written.
struct Storm {
    stop: Arc<AtomicBool>,
    writing: std::thread::JoinHandle<Vec<u8>>,
}

impl Storm {
    fn begin(log: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, log) = (Arc::clone(&stop), log.to_owned());
        let writing = std::thread::spawn(move || {
            let mut all = std::fs::read(&log).unwrap_or_default();
            let mut nth = 0_u64;
            while !stopped.load(Ordering::SeqCst) {
                let lines: String =
                    (0..5).map(|line| format!("line {} of the storm\n", nth + line)).collect();
                append(&log, &lines);
                all.extend_from_slice(lines.as_bytes());
                nth += 5;
                crate::servers::pace_blocking(Duration::from_millis(1));
            }
            all
        });
        Self { stop, writing }
    }

    fn end(self) -> Vec<u8> {
        self.stop.store(true, Ordering::SeqCst);
        self.writing.join().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_another_machine_is_listed_and_followed_to_the_byte() {
    let nats = broker!("a_log_of_another_machine_is_listed_and_followed_to_the_byte");
    let logs = logs();
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    put(logs.path().join("other.log"), "not wanted\n");
    let agent = Agent::start(&nats.url(), "web-1.example", logs.path(), &[]);
    assert!(agent.printed.starts_with("web-1.example at nats://127.0.0.1:"), "{}", agent.printed);
    let edge = Arc::new(nats.edge().await);
    let name = name("web-1.example", &log);
    eventually("the machine and its logs are listed", async || {
        let hosts = edge.hosts();
        let paths: Vec<_> = edge.logs("web-1.example").iter().map(|log| log.size).collect();
        let is_there =
            hosts.iter().any(|host| &*host.name == "web-1.example" && host.away.is_none());
        if is_there && paths.contains(&4) && paths.contains(&11) {
            Ok(())
        } else {
            Err((hosts, paths))
        }
    })
    .await;
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the present end", |mirror| !mirror.turns.is_empty()).await;
    assert_eq!(mirror.at.unwrap().offset, Offset(4));
    append(&log, "two\n");
    mirror.until_end(8).await;
    assert_eq!(mirror.all(0).await, b"one\ntwo\n");
    // Its generation is that of the file, as the machine itself would name it.
    let text = mirror.copies[0].generation.to_string();
    assert!(
        text.contains(&format!(
            "-{:x}-",
            std::os::unix::fs::MetadataExt::ino(&log.metadata().unwrap())
        )),
        "{text}"
    );
    let broker = nats.connect().await;
    let state = broker.stream_state().await.unwrap();
    assert_eq!(state.last, 2, "a turn and two\\n; nothing of what nobody wants");
    // A second edge costs the agent nothing more.
    let other_edge = Arc::new(nats.edge().await);
    let mut other = Mirror::follow(&other_edge, &name, mirror.at);
    other.until("where it goes on", |mirror| !mirror.turns.is_empty()).await;
    assert_eq!(other.at, mirror.at, "the same position on each edge");
    append(&log, "three\n");
    mirror.until_end(14).await;
    other.until_end(14).await;
    assert_eq!(other.at, mirror.at);
    assert_eq!(broker.stream_state().await.unwrap().last, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_goes_on_at_the_byte() {
    let nats = broker!("an_agent_that_dies_goes_on_at_the_byte");
    let Web { logs, log, mut agent, edge } = Web::with(&nats, "").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    let storm = Storm::begin(&log);
    for round in 1..=3 {
        mirror.until_end(round * 20_000).await;
        agent.kill();
        mirror.until("that it is away", |mirror| mirror.reach.last() == Some(&false)).await;
        agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
        mirror.until("that it is back", |mirror| mirror.reach.last() == Some(&true)).await;
    }
    let written = storm.end();
    mirror.until_end(written.len() as u64).await;
    assert_eq!(mirror.copies.len(), 1, "one generation over all runs: {:?}", mirror.turns);
    assert!(mirror.copies[0].from(0) == written, "all bytes came by themselves");
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_dies_loses_nothing() {
    let mut nats = broker!("a_broker_that_dies_loses_nothing");
    let Web { logs: _logs, log, agent, edge } = Web::with(&nats, "").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    let storm = Storm::begin(&log);
    for round in 1..=3 {
        mirror.until_end(round * 20_000).await;
        nats.kill();
        mirror.until("that it is away", |mirror| mirror.reach.last() == Some(&false)).await;
        nats.start_again();
        mirror.until("that it is back", |mirror| mirror.reach.last() == Some(&true)).await;
    }
    let written = storm.end();
    mirror.until_end(written.len() as u64).await;
    assert_eq!(mirror.copies.len(), 1, "{:?}", mirror.turns);
    assert!(mirror.copies[0].from(0) == written, "all bytes came by themselves");
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_and_a_truncation_are_told_in_their_place() {
    let nats = broker!("a_rotation_and_a_truncation_are_told_in_their_place");
    let Web { logs, log, agent: _agent, edge } = Web::with(&nats, "first file\n").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "its end\n");
    std::fs::rename(&log, logs.path().join("app.log.1")).unwrap();
    put(&log, "second file\n");
    mirror
        .until("the second file", |mirror| mirror.copies.len() == 2 && mirror.copies[1].end() == 12)
        .await;
    // `put` would write another file.
    std::fs::write(&log, "third\n").unwrap();
    mirror
        .until("the truncation", |mirror| mirror.copies.len() == 3 && mirror.copies[2].end() == 6)
        .await;
    let reasons: Vec<_> = mirror.turns[1..].to_vec();
    assert_eq!(reasons, [(Reason::Rotated, Some(19)), (Reason::Truncated, Some(12))]);
    assert_eq!(
        mirror.all(0).await,
        b"first file\nits end\n",
        "also what is no longer there by name"
    );
    assert_eq!(mirror.all(2).await, b"third\n");
    // What was truncated away is still in the stream, and nothing else is given instead of it.
    let lost = mirror.copies[1].generation;
    let edge = &mirror.edge;
    assert_eq!(edge.fetch(&name, &lost, 0..12).await.unwrap().bytes, "second file\n");
    let old = edge.fetch(&name, &mirror.copies[0].generation, 0..100).await.unwrap();
    assert_eq!((&old.bytes[..], old.size), (&b"first file\nits end\n"[..], 19));
    let old = edge.ending(&name, &mirror.copies[0].generation).await.unwrap();
    assert!(old.next.is_some_and(|next| next.generation.is(&lost)), "{:?}", old.next);
    std::fs::remove_file(&log).unwrap();
    mirror.until("that it is missing", |mirror| mirror.waiting == [WaitReason::Missing]).await;
    put(&log, "fourth\n");
    mirror
        .until("the fourth", |mirror| mirror.copies.len() == 4 && mirror.copies[3].end() == 7)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_goes_on_where_another_one_was() {
    let nats = broker!("an_edge_goes_on_where_another_one_was");
    let Web { logs: _logs, log, agent: _agent, edge } = Web::with(&nats, "").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    let mut positions = Vec::new();
    let mut written = Vec::new();
    for nth in 0..40 {
        let line = format!("line {nth}\n");
        append(&log, &line);
        written.extend_from_slice(line.as_bytes());
        mirror.until_end(written.len() as u64).await;
        positions.push(mirror.at.unwrap());
    }
    // From any position the messages of the stream come, with nothing left out.
    for position in [positions[0], positions[17], positions[38], positions[39]] {
        let edge = Arc::new(nats.edge().await);
        let mut other = Mirror::follow(&edge, &name, Some(position));
        append(&log, "!\n");
        written.extend_from_slice(b"!\n");
        other.until_end(written.len() as u64).await;
        let from = position.offset.0;
        assert_eq!(other.copies[0].from(from), written[from as usize..], "from {from}");
        let starts: Vec<u64> = other.copies[0].bytes.keys().copied().collect();
        assert!(starts[0] <= from && starts[0] + 10 > from, "from {from}: {starts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_not_wanted_for_long_goes_on_at_its_end() {
    let nats = broker!("a_log_that_was_not_wanted_for_long_goes_on_at_its_end");
    let Web { logs, log, mut agent, edge } = Web::with(&nats, "head\n").await;
    let name = name("web", &log);
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "told\n");
    mirror.until_end(10).await;
    // While the agent is away, much is written.
    agent.kill();
    let block: Vec<u8> = (0..6 << 20).map(|nth: u32| (nth % 251) as u8).collect();
    append(&log, &block);
    let agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    mirror.until("the new place", |mirror| mirror.turns.len() > 1).await;
    assert_eq!(mirror.at.unwrap().offset.0, 10 + block.len() as u64);
    append(&log, "end\n");
    mirror.until_end(14 + block.len() as u64).await;
    assert_eq!(mirror.copies.len(), 1);
    let published: usize = mirror.copies[0].bytes.values().map(Vec::len).sum();
    assert_eq!(published, 9, "what was missed is not published");
    let all = mirror.all(0).await;
    assert_eq!(all.len(), 14 + block.len());
    assert!(all[10..all.len() - 4] == block[..], "but fetched, when it is wanted");
    drop(agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_always_published_outlives_its_machine() {
    let nats = broker!("a_log_that_is_always_published_outlives_its_machine");
    let logs = logs();
    let log = logs.path().join("build.log");
    put(&log, "begin\n");
    let mut agent = Agent::start(&nats.url(), "worker", logs.path(), &["--publish", "always"]);
    let name = name("worker", &log);
    append(&log, "work\n");
    let broker = nats.connect().await;
    eventually("all is published", async || {
        let last = broker.stream_state().await.unwrap().last;
        let subject = tailcast::broker::names::log(&"worker".parse().unwrap(), &name.path);
        let stored = broker.last(&subject).await.unwrap();
        let end = stored.as_ref().and_then(|last| last.fields.get("Tc-Offset").map(str::to_owned));
        if stored.is_some_and(|last| last.payload.ends_with(b"work\n")) {
            Ok(())
        } else {
            Err((last, end))
        }
    })
    .await;
    agent.signal(Signal::TERM);
    assert!(agent.wait().await.success(), "{}", agent.said());
    drop(logs);
    let edge = Arc::new(nats.edge().await);
    eventually("the machine is listed as away, with its log", async || {
        let (hosts, logs) = (edge.hosts(), edge.logs("worker"));
        let is_away = hosts.iter().any(|host| &*host.name == "worker" && host.away.is_some());
        if is_away && logs.len() == 1 && logs[0].size == 11 { Ok(()) } else { Err((hosts, logs)) }
    })
    .await;
    let mut mirror = Mirror::follow(&edge, &name, None);
    mirror.until("that it is away", |mirror| mirror.reach == [false]).await;
    assert_eq!(mirror.copies[0].from(0), b"begin\nwork\n", "what is there comes first");
    let generation = mirror.copies[0].generation;
    let fetched = edge.fetch(&name, &generation, 2..8).await.unwrap();
    assert_eq!((&fetched.bytes[..], fetched.size), (&b"gin\nwo"[..], 11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_missing_or_forbidden_is_not_given() {
    let nats = broker!("a_log_that_is_missing_or_forbidden_is_not_given");
    let (logs, outside) = (logs(), self::logs());
    let secret = outside.path().join("secret.log");
    put(&secret, "s3cret\n");
    std::os::unix::fs::symlink(&secret, logs.path().join("link.log")).unwrap();
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    let mut forbidden = Mirror::follow(&edge, &name("web", &secret), None);
    forbidden.until("the refusal", |mirror| mirror.waiting == [WaitReason::Unreadable]).await;
    let link = RemoteName {
        host: "web".into(),
        path: logs
            .path()
            .canonicalize()
            .unwrap()
            .join("link.log")
            .as_os_str()
            .as_encoded_bytes()
            .into(),
    };
    let some = Generation::new(tailcast::log::access::Identity { device: 1, inode: 2 }, 7, b"head");
    for name in [name("web", &secret), link] {
        let fetched = edge.fetch(&name, &some, 0..10).await;
        assert_eq!(fetched.unwrap_err(), FetchError::Refused, "{name:?}");
    }
    let later = logs.path().canonicalize().unwrap().join("later.log");
    let mut missing = Mirror::follow(&edge, &name("web", &later), None);
    missing.until("that it is missing", |mirror| mirror.waiting == [WaitReason::Missing]).await;
    put(&later, "now\n");
    missing.until_end(4).await;
    assert_eq!(missing.copies[0].from(0), b"now\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_agent_of_a_name_is_refused() {
    let nats = broker!("the_second_agent_of_a_name_is_refused");
    let (logs, others) = (logs(), self::logs());
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let mut agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    let mut second = Agent::begin(&nats.url(), "web", others.path(), &[]);
    assert_eq!(second.wait().await.code(), Some(1));
    let said = second.said();
    assert!(
        said.contains("another agent has the name `web` already\nhint: end the other one"),
        "{said}"
    );
    // The first one goes on.
    let edge = Arc::new(nats.edge().await);
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
    // Another name is free, and the name itself once it is given up.
    drop(Agent::start(&nats.url(), "web-2", others.path(), &[]));
    agent.signal(Signal::TERM);
    assert!(agent.wait().await.success(), "{}", agent.said());
    drop(Agent::start(&nats.url(), "web", others.path(), &[]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_that_did_not_hear_of_each_other_one_ends() {
    let nats = broker!("of_two_agents_that_did_not_hear_of_each_other_one_ends");
    let logs = logs();
    let mut agent = Agent::start(&nats.url(), "web", logs.path(), &[]);
    // One that is stopped answers nothing, so its name is taken.
    agent.signal(Signal::STOP);
    let mut second = Agent::start(&nats.url(), "web", logs.path(), &[]);
    agent.signal(Signal::CONT);
    assert_eq!(second.wait().await.code(), Some(1), "{}", second.said());
    assert!(
        second.said().contains("another agent has the name `web` already"),
        "{}",
        second.said()
    );
    assert!(agent.child.try_wait().unwrap().is_none(), "{}", agent.said());
}

/// The permissions in `docs/fleet.md`.
fn documented_permissions() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let begin = text.find("authorization {").expect("docs/fleet.md has the permissions");
    let end = text[begin..].find("```").unwrap();
    text[begin..begin + end].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_documented_permissions_an_agent_has_its_own_name_only() {
    let Some(nats) = Nats::with(&documented_permissions()).await else {
        return not_run("with_the_documented_permissions_…", "there is no nats-server");
    };
    let logs = logs();
    let log = logs.path().join("app.log");
    put(&log, "one\n");
    let web = nats.url_as("web-1", "web-1-secret");
    let admin = nats.url_as("admin", "admin-secret");
    // Whoever may, makes the stream.
    drop(Agent::start(&admin, "first", logs.path(), &[]));
    let _agent = Agent::start(&web, "web-1", logs.path(), &[]);
    let edge = Arc::new(Edge::new(nats.connect_as(&nats.url_as("edge", "edge-secret")).await));
    eventually("the list", async || {
        let logs = edge.logs("web-1");
        if logs.len() == 1 { Ok(()) } else { Err((edge.hosts(), logs)) }
    })
    .await;
    let mut mirror = Mirror::follow(&edge, &name("web-1", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    append(&log, "two\n");
    mirror.until_end(8).await;
    assert_eq!(mirror.all(0).await, b"one\ntwo\n");
    let mut other = Agent::begin(&web, "web-2", logs.path(), &[]);
    assert_eq!(other.wait().await.code(), Some(1), "{}", other.said());
    let said = other.said();
    assert!(said.contains("does not permit this user to be the agent of `web-2`"), "{said}");
    assert!(!said.contains("web-1-secret"), "{said}");
    // Even one that does not stop at that cannot publish as another machine.
    let inbox = tailcast::broker::names::agent_inbox(&"web-1".parse().unwrap());
    let broker = nats.connect_with(&web, inbox).await;
    let message = || (tailcast::broker::fields::Fields::default(), bytes::Bytes::from_static(b"x"));
    let before = broker.stream_state().await.unwrap().last;
    let subject = "tailcast.log.web-2.0123456789abcdef";
    assert!(broker.publish(subject, message(), None, None).await.is_err());
    assert_eq!(broker.stream_state().await.unwrap().last, before);
    assert!(broker.denied().borrow().contains(subject), "{:?}", broker.denied());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_broker_is_said_without_the_password() {
    let Some(nats) = Nats::with(&documented_permissions()).await else {
        return not_run("what_is_wrong_with_the_broker_…", "there is no nats-server");
    };
    let logs = logs();
    let file = logs.path().join("no.creds");
    put(&file, "nothing\n");
    let file = file.to_str().unwrap();
    let wrong = nats.url_as("web-1", "s3cret");
    for (url, more, code, expected) in [
        (&*wrong, &[][..], 1, "hint: check the user and the password in the URL"),
        ("nats://a:s3cret@b:port", &[], 2, "the port is wrong"),
        ("http://a:s3cret@b", &[], 2, "this is the address of a web server"),
        (&wrong, &["--nats-creds", file][..], 2, "-----BEGIN NATS USER JWT-----"),
        (&wrong, &["--nats-creds", "/none"], 2, "cannot use `/none`, which `--nats-creds` names"),
        (&wrong, &["--nats-tls-ca", file], 2, "-----BEGIN CERTIFICATE-----"),
    ] {
        let mut agent = Agent::begin(url, "web-1", logs.path(), more);
        assert_eq!(agent.wait().await.code(), Some(code), "{url} {more:?}: {}", agent.said());
        let said = agent.said();
        assert!(said.contains(expected) && said.contains("\nhint: "), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
    // One that is not there yet is waited for.
    let mut agent = Agent::begin("nats://127.0.0.1:9", "web-1", logs.path(), &[]);
    eventually("it says so", async || {
        let said = agent.said();
        if said.contains("the broker does not answer: trying again") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(agent.child.try_wait().unwrap().is_none());
}

/// Waits until the stream has all of a log.
async fn until_last(nats: &Nats, name: &RemoteName, size: u64) {
    let broker = nats.connect().await;
    let subject = names::log(&name.host.parse().unwrap(), &name.path);
    eventually("all of it is stored", async || {
        let last = broker.last(&subject).await.unwrap();
        let last = last.map(|last| Message::decode(&last.fields, last.payload).unwrap().content);
        let end = last.as_ref().and_then(Content::end).map(|end| end.offset.0);
        if end == Some(size) { Ok(()) } else { Err(end) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_stream_has_dropped_is_fetched() {
    let nats = broker!("what_a_full_stream_has_dropped_is_fetched");
    let logs = logs();
    let log = logs.path().join("app.log");
    put(&log, "");
    let small = ["--stream-max-bytes", "1MiB"];
    let _agent = Agent::start(&nats.url(), "web", logs.path(), &small);
    let edge = Arc::new(nats.edge().await);
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    // While the mirror takes nothing, ten times as much goes through the stream as that keeps.
    let mut written = Vec::new();
    for nth in 0..160 {
        let block = format!("{nth} {}\n", "x".repeat(64 * 1024)).into_bytes();
        append(&log, &block);
        written.extend_from_slice(&block);
    }
    until_last(&nats, &mirror.name, written.len() as u64).await;
    let broker = nats.connect().await;
    assert!(broker.stream_state().await.unwrap().first > 3, "the stream has dropped much");
    mirror.until_end(written.len() as u64).await;
    let came = mirror.copies[0].bytes.values().map(Vec::len).sum::<usize>();
    assert!(came < written.len(), "not all of it can have come by itself");
    assert!(mirror.all(0).await == written, "the rest is fetched");
    assert_eq!(mirror.copies.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_or_an_agent_that_stands_still_is_told_and_loses_nothing() {
    let nats = broker!("a_broker_or_an_agent_that_stands_still_is_told_and_loses_nothing");
    let Web { logs: _logs, log, agent, edge } = Web::with(&nats, "").await;
    let mut mirror = Mirror::follow(&edge, &name("web", &log), None);
    mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    let storm = Storm::begin(&log);
    mirror.until_end(10_000).await;
    nats.signal(Signal::STOP);
    mirror.until("that nothing answers", |mirror| mirror.reach.last() == Some(&false)).await;
    nats.signal(Signal::CONT);
    mirror.until("that it answers", |mirror| mirror.reach.last() == Some(&true)).await;
    agent.signal(Signal::STOP);
    mirror.until("that the agent does not", |mirror| mirror.reach.last() == Some(&false)).await;
    agent.signal(Signal::CONT);
    mirror.until("that it does", |mirror| mirror.reach.last() == Some(&true)).await;
    let written = storm.end();
    mirror.until_end(written.len() as u64).await;
    assert_eq!(mirror.copies.len(), 1, "{:?}", mirror.turns);
    assert!(mirror.copies[0].from(0) == written, "all bytes came by themselves");
}

/// Lines are written to all of so many logs by turns, while one edge follows each of them.
async fn follow_at_once(test: &str, count: usize, rounds: usize) {
    let Some(nats) = Nats::start().await else { return not_run(test, "there is no nats-server") };
    let directory = self::logs();
    let path = |nth| directory.path().join(format!("{nth}.log"));
    let files: Vec<PathBuf> = (0..count).map(path).collect();
    for file in &files {
        put(file, "");
    }
    let _agent = Agent::start(&nats.url(), "web", directory.path(), &[]);
    let edge = Arc::new(nats.edge().await);
    let mut mirrors: Vec<_> =
        files.iter().map(|file| Mirror::follow(&edge, &name("web", file), None)).collect();
    for mirror in &mut mirrors {
        mirror.until("the start", |mirror| !mirror.turns.is_empty()).await;
    }
    for round in 0..rounds {
        for (nth, file) in files.iter().enumerate() {
            append(file, format!("{round} of {nth} {}\n", "x".repeat(round * nth)));
        }
        pace(Duration::from_millis(1)).await;
    }
    for (file, mirror) in files.iter().zip(&mut mirrors) {
        let written = std::fs::read(file).unwrap();
        mirror.until_end(written.len() as u64).await;
        assert!(mirror.copies[0].from(0) == written, "{}", file.display());
        assert_eq!(mirror.copies.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_logs_at_once_come_whole() {
    follow_at_once("many_logs_at_once_come_whole", 50, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_thousand_logs_at_once_come_whole() {
    follow_at_once("more_than_a_thousand_logs_at_once_come_whole", 1100, 2).await;
}
