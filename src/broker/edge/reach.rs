//! Whether the agent of a machine answers, and the lease of the logs that are followed there.
//!
//! One task for each machine asks it every second, for all of its logs together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::agent::LEASE;
use crate::broker::ask::{Answer, KnownPlace, Request, WantedLog};
use crate::broker::edge::ANSWER_TIME_MAX;
use crate::broker::edge::hosts::Hosts;
use crate::broker::names::{self, HostName};
use crate::broker::nats::{AskFailure, Broker};
use crate::log::fingerprint::Fingerprint;
use crate::log::{Generation, Offset};
use crate::mirror::RemotePosition;

/// How often a machine is asked whether it is there.
const BEAT: Duration = Duration::from_secs(1);
/// How often the lease is renewed. A request or two may be lost.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// A request has at most so many bytes, and less where the broker takes less.
const REQUEST_BYTES_MAX: usize = 256 * 1024;

/// What is known of the agent of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// It has not been asked yet.
    Unknown,
    /// It answers.
    Yes,
    /// It does not.
    No,
}

/// Watches over one machine while somebody holds it.
pub(super) struct Reach {
    there: watch::Sender<There>,
    /// The logs that the machine has refused last.
    refused: watch::Sender<HashSet<Vec<u8>>>,
    wanted: Mutex<HashMap<Arc<[u8]>, Wanted>>,
}

/// A log that is wanted.
#[derive(Default)]
struct Wanted {
    /// By how many.
    count: usize,
    /// The generation and the bytes to which one of them got.
    known: Option<(Generation, Fingerprint)>,
}

impl Wanted {
    fn known_place(&self) -> Option<KnownPlace> {
        let (generation, end) = self.known.as_ref()?;
        let at = RemotePosition { generation: *generation, offset: end.offset() };
        Some(KnownPlace { at, tail: end.bytes().to_vec() })
    }
}

/// Wants a log until it is dropped.
pub(super) struct Interest {
    reach: Arc<Reach>,
    path: Arc<[u8]>,
}

impl Interest {
    /// Whether the machine answers.
    pub(super) fn there(&self) -> watch::Receiver<There> {
        self.reach.there.subscribe()
    }

    /// The paths of the logs that the machine has refused last.
    pub(super) fn refused(&self) -> watch::Receiver<HashSet<Vec<u8>>> {
        self.reach.refused.subscribe()
    }

    /// The log as it is wanted.
    pub(super) fn wanted_log(&self) -> WantedLog {
        let wanted = self.reach.wanted.lock();
        let known = wanted.get(&self.path).and_then(Wanted::known_place);
        WantedLog { path: self.path.to_vec(), known }
    }

    /// Notes to where the log is known. `tail` are the last bytes before that.
    pub(super) fn note(&self, at: RemotePosition, tail: &[u8]) {
        let mut wanted = self.reach.wanted.lock();
        let Some(wanted) = wanted.get_mut(&self.path) else { return };
        let start = at.offset.0.saturating_sub(tail.len() as u64);
        let mut end = match wanted.known.take() {
            Some((of, end)) if of.is(&at.generation) && end.offset().0 == start => end,
            _ => Fingerprint::at(Offset(start)),
        };
        end.advance(tail);
        wanted.known = Some((at.generation, end));
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut wanted = self.reach.wanted.lock();
        if let Some(log) = wanted.get_mut(&self.path) {
            log.count -= 1;
            if log.count == 0 {
                wanted.remove(&self.path);
            }
        }
    }
}

impl Reach {
    /// Starts to watch.
    pub(super) fn start(broker: Broker, hosts: Arc<Hosts>, host: HostName) -> Arc<Self> {
        let reach = Arc::new(Self {
            there: watch::channel(There::Unknown).0,
            refused: watch::channel(HashSet::new()).0,
            wanted: Mutex::default(),
        });
        tokio::spawn(beat(Arc::downgrade(&reach), broker, hosts, host));
        reach
    }

    /// Wants a log from now on.
    pub(super) fn want(self: Arc<Self>, path: &Arc<[u8]>) -> Interest {
        self.wanted.lock().entry(Arc::clone(path)).or_default().count += 1;
        Interest { reach: self, path: Arc::clone(path) }
    }

    fn logs(&self) -> Vec<WantedLog> {
        let wanted = self.wanted.lock();
        let log = |(path, wanted): (&Arc<[u8]>, &Wanted)| WantedLog {
            path: path.to_vec(),
            known: wanted.known_place(),
        };
        wanted.iter().map(log).collect()
    }

    /// Wants all logs for a while longer. Returns whether the machine has taken that.
    async fn renew(&self, broker: &Broker, subject: &str) -> bool {
        let mut refused = HashSet::new();
        for logs in in_parts(self.logs(), REQUEST_BYTES_MAX.min(broker.payload_max())) {
            let want = Request::Want { logs, tell: false };
            let Ok((fields, payload)) =
                broker.request(subject, want.encode(), ANSWER_TIME_MAX).await
            else {
                return false;
            };
            let Ok(Answer::Wanted { refused: some, .. }) = Answer::decode(&fields, payload) else {
                return false;
            };
            refused.extend(some);
        }
        self.refused.send_if_modified(|known| {
            let is_new = *known != refused;
            *known = refused;
            is_new
        });
        true
    }

    fn note(&self, there: There) {
        self.there.send_if_modified(|known| std::mem::replace(known, there) != there);
    }
}

/// Logs as parts whose lines have at most so many bytes together, if each of them has.
fn in_parts(logs: Vec<WantedLog>, room: usize) -> Vec<Vec<WantedLog>> {
    let (mut parts, mut left) = (Vec::<Vec<WantedLog>>::new(), 0);
    for log in logs {
        let len = log.line().len();
        match parts.last_mut() {
            Some(part) if len <= left => part.push(log),
            _ => {
                left = room;
                parts.push(vec![log]);
            }
        }
        left = left.saturating_sub(len);
    }
    parts
}

async fn beat(reach: Weak<Reach>, broker: Broker, hosts: Arc<Hosts>, host: HostName) {
    let subject = names::ask(&host);
    let (mut link, mut arrivals) = (broker.link(), hosts.arrivals());
    let mut turns = interval(BEAT);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The run of the agent that has been told what is wanted, and when.
    let mut told: Option<(u64, Instant)> = None;
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            _ = link.changed() => {}
            _ = arrivals.changed() => {}
        }
        if reach.strong_count() == 0 {
            return;
        }
        let asked = broker.request(&subject, Request::Who.encode(), ANSWER_TIME_MAX).await;
        let answer = asked.map(|(fields, payload)| Answer::decode(&fields, payload));
        let Some(reach) = reach.upgrade() else { return };
        let instance = match answer {
            Ok(Ok(Answer::Here(here))) => here.instance,
            Ok(Ok(_) | Err(_)) => continue,
            Err(failure) => {
                reach.note(There::No);
                told = None;
                if failure == AskFailure::Nobody {
                    hosts.note_away(&host);
                }
                continue;
            }
        };
        let is_told = |(known, at): (u64, Instant)| known == instance && at.elapsed() < RENEWAL;
        if !told.is_some_and(is_told) {
            let since = Instant::now();
            if !reach.renew(&broker, &subject).await {
                // What is not wanted is not published, so it cannot be said that it comes.
                told = None;
                continue;
            }
            told = Some((instance, since));
        }
        reach.note(There::Yes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_all_logs_and_fit(lens in proptest::collection::vec(1usize..99, 0..50)) {
            let log = |len: usize| WantedLog { path: vec![b'x'; len], known: None };
            let logs: Vec<_> = lens.into_iter().map(log).collect();
            let parts = in_parts(logs.clone(), 100);
            for part in &parts {
                let len: usize = part.iter().map(|log| log.line().len()).sum();
                prop_assert!(len <= 100 && !part.is_empty());
            }
            prop_assert_eq!(parts.concat(), logs);
        }
    }
}
