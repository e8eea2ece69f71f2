//! Runs random scripts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::disturbance::{Disturbance, disturb};
use super::host::{Door, Host};
use super::log::Model;
use super::machine;
use super::outcome::Outcome;
use super::random::Random;
use super::table::show;
use super::transcript::Transcript;
use super::viewers::{Order, Watcher};
use crate::servers::{DEADLINE, pace};

/// The scripts that run at once, in all tests together. They sleep most of the time. Each needs an
/// inotify instance, and a user has 128.
static AT_ONCE: Semaphore = Semaphore::const_new(48);
/// The most viewers of a log.
const VIEWERS_MAX: usize = 7;

pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Runs the scripts of the first `seeds` seeds, or of those that the environment sets. Fails if one
/// of them has a fault.
pub async fn run_all<F: Future<Output = Outcome> + Send + 'static>(
    name: &str,
    seeds: u64,
    run: fn(u64) -> F,
) {
    let seeds = match setting("TAILCAST_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=setting("TAILCAST_SEEDS").unwrap_or(seeds),
    };
    let began = Instant::now();
    let watching = tokio::spawn(machine::watch());
    let mut running = JoinSet::new();
    for seed in seeds {
        running.spawn(async move {
            let _turn = AT_ONCE.acquire().await.unwrap();
            run(seed).await
        });
    }
    let mut outcomes = running.join_all().await;
    watching.abort();
    outcomes.sort_by_key(|outcome| outcome.seed);
    let delayed = machine::delays(began).iter().map(|(begun, ended)| *ended - *begun).sum();
    let failed = show(name, &outcomes, began.elapsed(), delayed);
    assert_eq!(failed, 0, "scripts with faults");
}

/// Runs the script of a seed.
pub async fn run(disturbance: Disturbance, seed: u64) -> Outcome {
    let mut host = if disturbance == Disturbance::Restarts {
        Host::program().await
    } else {
        Host::within().await
    };
    let transcript = Transcript::new();
    let mut random = Random(seed << 8 | disturbance as u64);
    let befalls = Random(random.next());
    let one_in = if disturbance == Disturbance::Restarts || disturbance == Disturbance::Troubles {
        6
    } else {
        2
    };
    let turns = !random.one_in(one_in);
    let model = Model { turns, ..Model::new(random, host.root(), transcript.clone()) };
    let mut script = Script::new(model, host.door());
    // While the log cannot be read, a first viewer may be refused, but a present viewer may not. So
    // all viewers must be connected before the disturbances.
    until_all_look(&script.watchers).await;
    let over = AtomicBool::new(false);
    let play = async {
        script.play(setting("TAILCAST_STEPS").unwrap_or(40)).await;
        over.store(true, Ordering::SeqCst);
    };
    tokio::join!(play, disturb(disturbance, &mut host, befalls, &transcript, &over));
    Outcome::of(seed, host, script.model, script.watchers).await
}

/// Waits until all viewers have heard something of the log.
pub async fn until_all_look(watchers: &[Watcher]) {
    let until = Instant::now() + DEADLINE;
    while let Some(late) = watchers.iter().find(|watcher| watcher.len() < 2) {
        assert!(Instant::now() < until, "{} has heard nothing", late.kind);
        pace(Duration::from_millis(1)).await;
    }
}

/// A log and its viewers.
struct Script {
    model: Model,
    door: Door,
    watchers: Vec<Watcher>,
}

impl Script {
    fn new(model: Model, door: Door) -> Self {
        let mut script = Self { model, door, watchers: Vec::new() };
        ["keeps up", "stalls", "resumes"]
            .into_iter()
            .for_each(|kind| script.come(kind, "&lines=all"));
        script
    }

    fn come(&mut self, kind: &'static str, query: &str) {
        let log = self.model.log();
        self.watchers.push(Watcher::start(kind, self.door.clone(), &log, query));
    }

    async fn play(&mut self, steps: u64) {
        for _ in 0..steps {
            self.model.step().await;
            self.model.pause().await;
            match self.model.random.below(12) {
                0 => self.stall(),
                1 | 2 => self.leave(),
                3 if self.watchers.len() < VIEWERS_MAX => self.come_late().await,
                _ => {}
            }
        }
    }

    fn stall(&mut self) {
        let time = Duration::from_millis(self.model.random.below(2000));
        self.watchers[1].orders.send(Order::Stall(time)).ok();
        self.model.note(format_args!("viewer 1 stalls for {time:?}"));
    }

    fn leave(&mut self) {
        let time = Duration::from_millis(self.model.random.below(60).pow(2) / 3);
        let which = if self.watchers.len() > 5 && self.model.random.one_in(3) { 5 } else { 2 };
        self.watchers[which].orders.send(Order::Away(time)).ok();
        self.model.note(format_args!("viewer {which} goes away for {time:?}"));
    }

    async fn come_late(&mut self) {
        let query = match self.model.random.below(3) {
            0 => "&lines=all".to_owned(),
            _ => format!("&lines={}", 1 + self.model.random.below(300)),
        };
        let at = self.watchers.len();
        self.come(if at == 5 { "late, resumes" } else { "late" }, &query);
        self.model.note(format_args!("viewer {at} comes with {query}"));
        // Writes while the viewer joins, so that the file is ahead of the published bytes.
        while let Some(present) = self.model.present
            && self.watchers[at].len() < 4
            && self.model.random.below(60) > 0
        {
            let len = 1 + self.model.random.below(3000) as usize;
            self.model.append(present, len);
            tokio::task::yield_now().await;
        }
    }
}
