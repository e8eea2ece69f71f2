//! Whether the agent of a machine answers, and the lease of the logs that are followed there.
//!
//! One task for each machine asks it every second, for all of its logs together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::broker::agent::LEASE;
use crate::broker::ask::{Answer, Request};
use crate::broker::edge::ANSWER_TIME_MAX;
use crate::broker::edge::hosts::Hosts;
use crate::broker::names::{self, HostName};
use crate::broker::nats::{AskFailure, Broker};

/// How often a machine is asked whether it is there.
const BEAT: Duration = Duration::from_secs(1);
/// How often the lease is renewed. A request or two may be lost.
const RENEWAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);
/// The most logs in one request.
const PATHS_AT_ONCE: usize = 200;

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
    /// The logs that are wanted, and by how many.
    wanted: Mutex<HashMap<Arc<[u8]>, usize>>,
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
}

impl Drop for Interest {
    fn drop(&mut self) {
        let mut wanted = self.reach.wanted.lock();
        if let Some(count) = wanted.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(&self.path);
            }
        }
    }
}

impl Reach {
    /// Starts to watch.
    pub(super) fn start(broker: Broker, hosts: Arc<Hosts>, host: HostName) -> Arc<Self> {
        let reach =
            Arc::new(Self { there: watch::channel(There::Unknown).0, wanted: Mutex::default() });
        tokio::spawn(beat(Arc::downgrade(&reach), broker, hosts, host));
        reach
    }

    /// Wants a log from now on.
    pub(super) fn want(self: Arc<Self>, path: &Arc<[u8]>) -> Interest {
        *self.wanted.lock().entry(Arc::clone(path)).or_insert(0) += 1;
        Interest { reach: self, path: Arc::clone(path) }
    }

    fn paths(&self) -> Vec<Vec<u8>> {
        self.wanted.lock().keys().map(|path| path.to_vec()).collect()
    }

    fn note(&self, there: There) {
        self.there.send_if_modified(|known| std::mem::replace(known, there) != there);
    }
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
            let mut is_taken = true;
            for paths in reach.paths().chunks(PATHS_AT_ONCE) {
                let want = Request::Want(paths.to_vec()).encode();
                is_taken &= broker.request(&subject, want, ANSWER_TIME_MAX).await.is_ok();
            }
            told = is_taken.then(|| (instance, Instant::now()));
        }
        reach.note(There::Yes);
    }
}
