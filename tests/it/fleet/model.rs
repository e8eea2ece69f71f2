//! A model of a log on another machine, compared with what viewers of two edges get of it, whatever
//! happens to the agent, the broker, the edges and the network between them.
//!
//! A random script writes to one log, rotates and truncates it. Meanwhile agent, broker and edges are
//! killed with SIGKILL and started again, stopped and continued, and a [`Proxy`](super::proxy::Proxy) on each way to the broker
//! delays, halves, holds up and cuts what goes over it. At the end everything is well again, and a last
//! line is written. There are three viewers of `tailcast.v1` with `format=raw`: one of each edge, and one
//! that changes the edge with each connection.
//!
//! # Requirements
//!
//! 1. What a viewer gets under one generation is the content of one *epoch* at the offsets it has there. A
//!    rotation and a truncation end an epoch. No line is in two of them.
//! 2. Nothing comes twice, and nothing comes before what was written before it.
//! 3. What does not come was truncated away, or a `gap` said so before that which comes next. An `open`
//!    with `recovered: false` says so, too, but only where the file of the position is not known by its
//!    first bytes, or was truncated.
//! 4. A `gap` with an end says that only of bytes that were truncated away.
//! 5. All viewers get the last line.
//!
//! A `gap` without an end, which may stand where nothing is missing, is counted. All files are there at the end,
//! and so is their machine. So of many scripts, bytes that did not come because a gap said so are few: at
//! most so many as there are in [`ANNOUNCED_PART_MAX`] of all that was written. It may happen where fewer than 64
//! bytes of a file had come before its machine was out of reach: nothing proves then which file it was.
//!
//! `TAILCAST_SEED=n` runs one script, as often as `TAILCAST_SEEDS` says; alone, `TAILCAST_SEEDS=n` runs `n`
//! scripts, with `TAILCAST_FROM=n` from that seed on. `TAILCAST_AT_ONCE=n` sets how many run at once, and
//! `TAILCAST_STEPS=n` their length. A seed gives the same script, but not the same timing, so a script
//! that failed is run often. `TAILCAST_TEST_LOG=FILTER` sets what the programs log, and what they said is
//! printed with each fault.

mod verdict;
mod watcher;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::not_run;
use crate::model::runs::setting;
use verdict::judge;
use watcher::Piece;
use world::World;

/// The scripts in a usual run. More take a few minutes: `TAILCAST_SEEDS=500`.
const SEEDS: u64 = 200;
/// The steps of a script.
const STEPS: u64 = 60;
/// Scripts that run at once. Each has four programs, three of which take one of the 128 inotify instances
/// that a user usually has; and each mostly waits.
const AT_ONCE: usize = 24;
/// How often a script that has to wait looks whether the broker still runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// After the last line a viewer has it within this time.
const END_TIME_MAX: Duration = Duration::from_secs(60);
/// The part of what was written that a gap may announce to all viewers together, and of how many scripts
/// this is expected: one that announces a long line is much of a few.
const ANNOUNCED_PART_MAX: f64 = 0.05;
const ANNOUNCED_SEEDS_MIN: usize = 100;
const LAST_LINE: &[u8] = b"the last line\n";

/// What became of a script.
struct Outcome {
    seed: u64,
    faults: Vec<String>,
    needless_gaps: usize,
    announced_bytes: usize,
    bytes: usize,
    epochs: usize,
    connections: usize,
    told: String,
    took: Duration,
}

async fn run(seed: u64) -> Option<Outcome> {
    let begun = Instant::now();
    let mut world = World::new(seed).await?;
    let watchers = [&[0][..], &[1], &[0, 1]].map(|edges| world.watcher(edges));
    let mut watching = JoinSet::new();
    for (nth, watcher) in watchers.into_iter().enumerate() {
        watching.spawn(async move { (nth, watcher.watch().await) });
    }
    // A viewer that comes after a rotation is not given what was written before it.
    let streams_begun = Arc::clone(&world.streams_begun);
    let until = Instant::now() + END_TIME_MAX;
    while tokio::time::timeout(LOOK_INTERVAL, streams_begun.acquire_many(3)).await.is_err() {
        world.start_crashed_broker();
        let is_late = Instant::now() > until;
        assert!(!is_late, "seed {seed}: not all streams have begun; {}", world.said());
    }
    for _ in 0..setting("TAILCAST_STEPS").unwrap_or(STEPS) {
        world.step().await;
    }
    world.tell("all is well");
    world.mend(true);
    world.write(LAST_LINE);
    let mut faults = Vec::new();
    let (mut needless_gaps, mut announced_bytes, mut connections) = (0, 0, 0);
    let until = tokio::time::Instant::now() + END_TIME_MAX;
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout_at(until, watching.join_next()).await {
            Ok(None) => break,
            Ok(Some(Ok((nth, watcher)))) => {
                let verdict = judge(&watcher.pieces, &world.epochs);
                faults.extend(verdict.faults.iter().map(|fault| format!("viewer {nth}: {fault}")));
                needless_gaps += verdict.needless_gaps;
                announced_bytes += verdict.announced_bytes;
                for note in verdict.notes {
                    world.tell(&format!("note: viewer {nth}: {note}"));
                }
                connections += watcher.connections;
                for (of, piece) in watcher.pieces.iter().enumerate() {
                    let Piece { why, generation, from, bytes, gaps, at, connection } = piece;
                    world.tell(&format!(
                        "viewer {nth}, piece {of}: at {:.3} over connection {connection}: {why} {generation} {from}..{} {gaps:?}",
                        (*at - begun).as_secs_f64(),
                        *from as usize + bytes.len()
                    ));
                }
                seen.push(nth);
            }
            Ok(Some(Err(error))) => faults.push(format!("a viewer failed: {error}")),
            Err(_) => {
                let missing: Vec<_> = (0..3).filter(|nth| !seen.contains(nth)).collect();
                faults.push(format!("the last line did not come in time to {missing:?}"));
                break;
            }
        }
    }
    for (at, edge) in world.edges.iter_mut().enumerate() {
        if let Some(Ok(Some(status))) = edge.program.as_mut().map(|it| it.child.try_wait()) {
            faults.push(format!("edge {at} has ended by itself: {status}"));
        }
        if let Some(program) = &edge.program
            && (!faults.is_empty() || setting("TAILCAST_TOLD").is_some())
        {
            let said = format!("edge {at} said:\n{}", program.said());
            world.told.lock().unwrap().push_str(&said);
        }
    }
    if let Some(agent) = &mut world.agent {
        if let Ok(Some(status)) = agent.child.try_wait() {
            faults.push(format!("the agent has ended by itself: {status}"));
        }
        world.told.lock().unwrap().push_str(&format!("the agent said:\n{}", agent.said()));
    }
    let bytes = world.epochs.iter().map(|epoch| epoch.content.len()).sum();
    let (told, epochs) = (world.told.lock().unwrap().clone(), world.epochs.len());
    let took = begun.elapsed();
    Some(Outcome {
        seed,
        faults,
        needless_gaps,
        announced_bytes,
        bytes,
        epochs,
        connections,
        told,
        took,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_viewers_of_all_edges_get_each_byte_once() {
    let (one, many) = (setting("TAILCAST_SEED"), setting("TAILCAST_SEEDS"));
    let seeds: Vec<u64> = match one {
        Some(seed) => vec![seed; many.unwrap_or(1) as usize],
        None => {
            (setting("TAILCAST_FROM").unwrap_or(1)..).take(many.unwrap_or(SEEDS) as usize).collect()
        }
    };
    let begun = Instant::now();
    let at_once = setting("TAILCAST_AT_ONCE").map_or(AT_ONCE, |count| count as usize);
    let turns = Arc::new(Semaphore::new(at_once));
    let mut running = JoinSet::new();
    for seed in seeds {
        let turns = Arc::clone(&turns);
        running.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            run(seed).await
        });
    }
    let all: Option<Vec<Outcome>> = running.join_all().await.into_iter().collect();
    let Some(mut all) = all else {
        return not_run("the model of a fleet", "there is no nats-server");
    };
    all.sort_by_key(|outcome| outcome.seed);
    let sum = |of: fn(&Outcome) -> usize| all.iter().map(of).sum::<usize>();
    let mut took: Vec<Duration> = all.iter().map(|it| it.took).collect();
    took.sort_unstable();
    println!(
        "{} scripts in {:.0?}, half of them within {:.1?} and each within {:.1?}: {} bytes in {} epochs, {} connections, {} gaps without an end where nothing is missing, {} bytes \
         that a gap announced, {} with faults",
        all.len(),
        begun.elapsed(),
        took[took.len() / 2],
        took[took.len() - 1],
        sum(|it| it.bytes),
        sum(|it| it.epochs),
        sum(|it| it.connections),
        sum(|it| it.needless_gaps),
        sum(|it| it.announced_bytes),
        sum(|it| usize::from(!it.faults.is_empty()))
    );
    let is_told = |it: &&Outcome| !it.faults.is_empty() || setting("TAILCAST_TOLD").is_some();
    for outcome in &all {
        for note in outcome.told.lines().filter(|line| line.contains("note: ")) {
            println!("seed {}: {note}", outcome.seed);
        }
    }
    for Outcome { seed, faults, told, took, .. } in all.iter().filter(is_told) {
        println!("seed {seed}, {took:?}: {faults:#?}\n{told}");
    }
    let failed: Vec<u64> =
        all.iter().filter(|it| !it.faults.is_empty()).map(|it| it.seed).collect();
    assert!(failed.is_empty(), "seeds with faults: {failed:?}");
    let (announced, bytes) = (sum(|it| it.announced_bytes), sum(|it| it.bytes));
    let announced_max = (bytes as f64 * ANNOUNCED_PART_MAX) as usize;
    assert!(
        all.len() < ANNOUNCED_SEEDS_MIN || announced <= announced_max,
        "gaps announced {announced} bytes that are there: at most {announced_max} were expected"
    );
}
