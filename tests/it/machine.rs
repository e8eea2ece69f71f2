//! A machine whose logs are mirrored: what it has and tells is what the test says.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tailcast::log::access::Identity;
use tailcast::log::mirrored::Successor;
use tailcast::log::timeline::{Reason, WaitReason};
use tailcast::log::{Access, Generation, Offset};
use tailcast::mirror::{
    Connection, FetchError, Fetched, Host, MirroredLogs, Remote, RemoteEvent, RemoteLog,
    RemoteName, RemotePast, RemotePosition, Spool,
};
use tailcast::serve::Settings;
use tokio::sync::{mpsc, watch};

use crate::servers::TestServer;

/// The name of the machine, and a log on it.
pub const HOST: &str = "web1";
pub const PATH: &str = "/var/log/a.log";
/// The same log on an edge.
pub const LOG: &str = "/@web1/var/log/a.log";

/// One machine, as all edges see it.
#[derive(Clone, Debug, Default)]
pub struct Machine(Arc<Mutex<State>>, Arc<AtomicU64>);

#[derive(Debug, Default)]
struct State {
    logs: HashMap<String, Log>,
    is_away: bool,
    /// What was written before a new follower came is not told again.
    forgets: bool,
    /// What was written before a new follower came is told only when this ends.
    holds_back: bool,
    /// What is asked for waits until this ends, and is not answered then.
    hangs: Option<watch::Sender<()>>,
    /// Who answers knows at most so many bytes of a file, but the machine itself says where one ends.
    known: Option<usize>,
    /// The machine does not answer, and somebody else has so many bytes of each file.
    published: Option<usize>,
    /// How often bytes were asked for.
    asked: usize,
    revision: u64,
}

#[derive(Debug, Default)]
struct Log {
    /// The generations, the present one last.
    generations: Vec<Written>,
    followers: Vec<mpsc::Sender<RemoteEvent>>,
    /// It has no file.
    is_missing: bool,
    held_back: Vec<(mpsc::Sender<RemoteEvent>, RemoteEvent)>,
}

#[derive(Debug)]
struct Written {
    generation: Generation,
    reason: Reason,
    bytes: Vec<u8>,
    /// Nobody has these bytes any more.
    lost: Range<usize>,
}

impl Written {
    fn at(&self, offset: usize) -> RemotePosition {
        let generation = self.generation.signed_by(&self.bytes);
        RemotePosition { generation, offset: Offset(offset as u64) }
    }

    fn end(&self) -> RemotePosition {
        self.at(self.bytes.len())
    }
}

impl Log {
    fn present(&mut self) -> &mut Written {
        self.generations.last_mut().expect("the log has a file")
    }

    fn turn(&self, number: usize, from: usize, reason: Reason) -> RemoteEvent {
        let before = number.checked_sub(1).map(|before| self.generations[before].end());
        let file = &self.generations[number];
        let size = file.bytes.len() as u64;
        RemoteEvent::Turn { at: file.at(from), reason, size, before }
    }

    fn tell(&mut self, event: &RemoteEvent) {
        self.followers.retain(|follower| follower.try_send(event.clone()).is_ok());
    }
}

fn bytes_event(file: &Written, from: usize) -> RemoteEvent {
    let bytes = Bytes::copy_from_slice(&file.bytes[from..]);
    RemoteEvent::Bytes { at: file.at(from), bytes, written: SystemTime::now() }
}

impl Machine {
    /// With one log.
    pub fn with(content: impl AsRef<[u8]>) -> Self {
        let machine = Self::default();
        machine.begin(PATH, Reason::Joined, 1);
        machine.change(PATH, |log| log.present().bytes = content.as_ref().to_vec());
        machine
    }

    fn change<T>(&self, path: &str, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        state.revision += 1;
        change(state.logs.entry(path.to_owned()).or_default())
    }

    fn begin(&self, path: &str, reason: Reason, inode: u64) {
        let is_away = self.0.lock().unwrap().is_away;
        self.change(path, |log| {
            let generation = Generation::new(Identity { device: 7, inode }, fastrand::u32(..), b"");
            let (bytes, lost) = (Vec::new(), 0..0);
            log.generations.push(Written { generation, reason, bytes, lost });
            let turn = log.turn(log.generations.len() - 1, 0, reason);
            if !is_away {
                log.tell(&turn);
            }
        });
    }

    /// The log is removed.
    pub fn remove(&self) {
        self.change(PATH, |log| {
            log.is_missing = true;
            log.tell(&RemoteEvent::Waiting(WaitReason::Missing));
        });
    }

    /// The log that was removed is made again.
    pub fn make_again(&self) {
        self.change(PATH, |log| log.is_missing = false);
        self.rotate();
    }

    /// It could not be heard for a moment, in which nothing has happened.
    pub fn blink(&self) {
        let mut state = self.0.lock().unwrap();
        for log in state.logs.values_mut() {
            log.tell(&RemoteEvent::Unreachable);
            log.tell(&RemoteEvent::Reachable);
        }
    }

    /// From now on nothing that is asked for is answered.
    pub fn hang(&self) {
        let mut state = self.0.lock().unwrap();
        (state.hangs, state.asked) = (Some(watch::Sender::new(())), 0);
    }

    /// What was asked for has failed. What is asked for from now on is answered.
    pub fn hang_up(&self) {
        self.0.lock().unwrap().hangs = None;
    }

    /// The same, and nothing is answered from now on either.
    pub fn hang_on(&self) {
        self.0.lock().unwrap().hangs = Some(watch::Sender::new(()));
    }

    /// Only so many bytes of each file are known to who gives them; None for all.
    pub fn know(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().known = bytes;
    }

    /// What is asked for comes from somebody else, who has so many bytes of each file and knows that there
    /// may be more; None for the machine itself.
    pub fn published(&self, bytes: Option<usize>) {
        self.0.lock().unwrap().published = bytes;
    }

    /// How often bytes were asked for since it hangs.
    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }

    /// From now on a new follower is told later what was written before it came.
    pub fn hold_back(&self) {
        self.0.lock().unwrap().holds_back = true;
    }

    /// That is told now.
    pub fn let_go(&self) {
        let mut state = self.0.lock().unwrap();
        state.holds_back = false;
        for log in state.logs.values_mut() {
            for (follower, event) in log.held_back.drain(..) {
                follower.try_send(event).unwrap();
            }
        }
    }

    /// Another log.
    pub fn create(&self, path: &str, content: impl AsRef<[u8]>) {
        self.begin(path, Reason::Joined, 100);
        self.change(path, |log| log.present().bytes = content.as_ref().to_vec());
    }

    pub fn append(&self, bytes: impl AsRef<[u8]>) {
        let is_away = self.0.lock().unwrap().is_away;
        self.change(PATH, |log| {
            let from = log.present().bytes.len();
            log.present().bytes.extend_from_slice(bytes.as_ref());
            let event = bytes_event(log.present(), from);
            if !is_away {
                log.tell(&event);
            }
        });
    }

    pub fn rotate(&self) {
        let files = self.change(PATH, |log| log.generations.len() as u64);
        self.begin(PATH, Reason::Rotated, files + 1);
    }

    pub fn truncate(&self) {
        let inode = self.change(PATH, |log| {
            let present = log.present();
            present.lost = 0..usize::MAX;
            present.generation.identity.inode
        });
        self.begin(PATH, Reason::Truncated, inode);
    }

    /// A writer still writes to the file before the present one.
    pub fn append_late(&self, bytes: impl AsRef<[u8]>) {
        self.change(PATH, |log| {
            let late = log.generations.len() - 2;
            let from = log.generations[late].bytes.len();
            let (at, end) = (log.generations[late].at(from), log.present().end());
            let size = from as u64;
            let turn = RemoteEvent::Turn { at, reason: Reason::Late, size, before: Some(end) };
            log.generations[late].bytes.extend_from_slice(bytes.as_ref());
            let event = bytes_event(&log.generations[late], from);
            let before = Some(log.generations[late].end());
            let size = end.offset.0;
            let back = RemoteEvent::Turn { at: end, reason: Reason::Back, size, before };
            [turn, event, back].iter().for_each(|event| log.tell(event));
        });
    }

    /// Nobody has these bytes of the present file any more.
    pub fn lose(&self, range: Range<usize>) {
        self.change(PATH, |log| log.present().lost = range);
    }

    /// From now on a new follower is not told what was written before it came.
    pub fn forget(&self) {
        self.0.lock().unwrap().forgets = true;
    }

    /// Its agent does not know any more what it called the present file, and calls it something else.
    pub fn rename(&self) {
        self.change(PATH, |log| log.present().generation.nonce ^= 1);
    }

    /// It does not answer.
    pub fn go_away(&self) {
        let mut state = self.0.lock().unwrap();
        (state.is_away, state.revision) = (true, state.revision + 1);
        state.logs.values_mut().for_each(|log| log.tell(&RemoteEvent::Unreachable));
    }

    /// It answers again, and says where its logs are now.
    pub fn come_back(&self) {
        let mut state = self.0.lock().unwrap();
        (state.is_away, state.revision) = (false, state.revision + 1);
        for log in state.logs.values_mut() {
            log.tell(&RemoteEvent::Reachable);
            if log.is_missing || log.generations.is_empty() {
                continue;
            }
            let size = log.present().bytes.len();
            let turn = log.turn(log.generations.len() - 1, size, Reason::Joined);
            log.tell(&turn);
        }
    }

    /// How many bytes were fetched.
    pub fn fetched(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }

    /// How many follow the log.
    pub fn followers(&self) -> usize {
        self.change(PATH, |log| {
            log.followers.retain(|follower| !follower.is_closed());
            log.followers.len()
        })
    }

    /// What was written to each generation of the log.
    pub fn written(&self) -> Vec<(String, Vec<u8>)> {
        self.change(PATH, |log| {
            let files = log.generations.iter();
            files.map(|file| (file.end().generation.to_string(), file.bytes.clone())).collect()
        })
    }

    /// A server that mirrors this machine, with this spool.
    pub async fn edge_over(&self, spool: &Path, bytes_max: u64, settings: Settings) -> Edge {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let spool = Spool::open(spool, bytes_max).unwrap();
        let mirror = MirroredLogs::new(Arc::new(self.clone()), spool.clone());
        access.mirror(Arc::new(mirror.clone()));
        Edge { server: TestServer::over(directory, access, settings).await, mirror, spool }
    }

    /// Lets the logs be served by whoever uses this access.
    pub fn mirror_in(&self, access: &Access, spool: &Path) {
        let spool = Spool::open(spool, 1 << 30).unwrap();
        access.mirror(Arc::new(MirroredLogs::new(Arc::new(self.clone()), spool)));
    }

    /// Bytes, and what came `next`, as an agent says it to who asks for that.
    fn answer(
        &self,
        log: &RemoteName,
        generation: &Generation,
        range: Range<u64>,
        next: bool,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if let Some(hanging) = &state.hangs {
            let mut end = hanging.subscribe();
            return async move {
                while end.changed().await.is_ok() {}
                Err(FetchError::Unreachable)
            }
            .boxed();
        }
        let path = std::str::from_utf8(&log.path).unwrap();
        let answer = || {
            if state.is_away {
                return Err(FetchError::Unreachable);
            }
            let files = &state.logs.get(path).ok_or(FetchError::Refused)?.generations;
            let at = files.iter().position(|file| file.generation.is(generation));
            let at = at.ok_or(FetchError::Gone)?;
            let (file, size) = (&files[at], files[at].bytes.len());
            if let Some(published) = state.published.map(|published| published.min(size)) {
                let (from, to) = (range.start as usize, range.end as usize);
                if from < to && published <= from {
                    return Err(FetchError::Unreachable);
                }
                let its = &file.bytes[from.min(published)..to.min(published)];
                let (bytes, size) = (Bytes::copy_from_slice(its), published.max(to) as u64);
                return Ok(Fetched { bytes, size, next: None });
            }
            let size = state.known.filter(|_| !next).map_or(size, |known| known.min(size));
            let range = (range.start as usize).min(size)..(range.end as usize).min(size);
            if file.lost.start < range.end && range.start < file.lost.end
                || file.lost.end == usize::MAX
            {
                return Err(FetchError::Gone);
            }
            let next = files.get(at + 1).filter(|_| next);
            let next =
                next.map(|next| Successor { generation: next.end().generation, is_direct: true });
            self.1.fetch_add(range.len() as u64, Ordering::Relaxed);
            let bytes = Bytes::copy_from_slice(&file.bytes[range]);
            Ok(Fetched { bytes, size: size as u64, next })
        };
        let answer = answer();
        async move { answer }.boxed()
    }

    pub async fn edge(&self) -> (Edge, tempfile::TempDir) {
        let spool = tempfile::tempdir().unwrap();
        (self.edge_over(spool.path(), 1 << 30, Settings::default()).await, spool)
    }
}

/// A server that mirrors a machine.
pub struct Edge {
    pub server: TestServer,
    pub mirror: MirroredLogs,
    pub spool: Spool,
}

impl Edge {
    /// Ends it. What it has noted stays for the next one.
    pub async fn stop(self) {
        self.server.stop().await.unwrap();
        self.mirror.note();
    }
}

impl Remote for Machine {
    fn hosts(&self) -> Vec<Host> {
        let is_away = self.0.lock().unwrap().is_away;
        vec![Host { name: HOST.into(), away: is_away.then(SystemTime::now) }]
    }

    fn logs(&self, host: &str) -> Arc<[RemoteLog]> {
        let state = self.0.lock().unwrap();
        let has_file = |log: &Log| !log.generations.is_empty() && !log.is_missing;
        let logs = state.logs.iter().filter(|(_, log)| host == HOST && has_file(log));
        logs.map(|(path, log)| RemoteLog {
            path: path.as_bytes().into(),
            size: log.generations.last().unwrap().bytes.len() as u64,
            modified: SystemTime::now() - Duration::from_secs(60),
        })
        .collect()
    }

    fn revision(&self) -> u64 {
        self.0.lock().unwrap().revision
    }

    fn connection(&self) -> Connection {
        Connection { is_up: !self.0.lock().unwrap().is_away, losses: 0 }
    }

    fn follow(
        &self,
        log: &RemoteName,
        from: Option<RemotePosition>,
    ) -> mpsc::Receiver<RemoteEvent> {
        let (sender, receiver) = mpsc::channel(1024);
        let mut state = self.0.lock().unwrap();
        let (is_away, forgets, holds_back) = (state.is_away, state.forgets, state.holds_back);
        let path = std::str::from_utf8(&log.path).unwrap();
        let (mut events, mut later) = (Vec::new(), Vec::new());
        let has_file = |log: &&Log| !log.generations.is_empty() && !log.is_missing;
        match state.logs.get(path).filter(|_| &*log.host == HOST).filter(has_file) {
            _ if is_away => events.push(RemoteEvent::Unreachable),
            None => events.push(RemoteEvent::Waiting(WaitReason::Missing)),
            Some(its) => {
                let known = |from: &RemotePosition| {
                    its.generations.iter().position(|file| file.generation.is(&from.generation))
                };
                match from.filter(|_| !forgets).and_then(|from| Some((known(&from)?, from.offset)))
                {
                    Some((first, offset)) => {
                        let offset = offset.0 as usize;
                        let mut turn = its.turn(first, offset, Reason::Joined);
                        if let (true, RemoteEvent::Turn { at, size, .. }) = (holds_back, &mut turn)
                        {
                            *size = at.offset.0;
                        }
                        events.push(turn);
                        for (number, file) in its.generations.iter().enumerate().skip(first) {
                            let from = if number == first { offset } else { 0 };
                            let told = if holds_back { &mut later } else { &mut events };
                            if number > first {
                                told.push(its.turn(number, 0, file.reason));
                            }
                            if from < file.bytes.len() {
                                told.push(bytes_event(file, from));
                            }
                        }
                    }
                    None => {
                        let last = its.generations.len() - 1;
                        let end = its.generations[last].bytes.len();
                        events.push(its.turn(last, end, Reason::Joined));
                    }
                }
            }
        }
        events.into_iter().for_each(|event| sender.try_send(event).unwrap());
        let its = state.logs.entry(path.to_owned()).or_default();
        its.held_back.extend(later.into_iter().map(|event| (sender.clone(), event)));
        its.followers.push(sender);
        receiver
    }

    fn fetch(
        &self,
        log: &RemoteName,
        generation: &Generation,
        range: Range<u64>,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        self.answer(log, generation, range, false)
    }

    fn ending(
        &self,
        log: &RemoteName,
        generation: &Generation,
    ) -> BoxFuture<'static, Result<Fetched, FetchError>> {
        self.answer(log, generation, 0..0, true)
    }

    fn past(&self, log: &RemoteName) -> BoxFuture<'static, Result<Vec<RemotePast>, FetchError>> {
        let state = self.0.lock().unwrap();
        let path = std::str::from_utf8(&log.path).unwrap();
        let answer = match state.logs.get(path) {
            _ if state.is_away => Err(FetchError::Unreachable),
            None => Err(FetchError::Refused),
            Some(log) => {
                let (files, last) = (log.generations.iter(), log.generations.len().max(1) - 1);
                let past = files.take(last).filter(|file| file.lost.end != usize::MAX);
                let past = past.enumerate().map(|(nth, file)| RemotePast {
                    path: format!("{path}.{}", last - nth).into_bytes(),
                    generation: file.end().generation,
                    compression: None,
                    modified: Some(SystemTime::now()),
                    disk_size: file.bytes.len() as u64,
                    is_gap_after: false,
                });
                Ok(past.collect())
            }
        };
        async move { answer }.boxed()
    }
}
