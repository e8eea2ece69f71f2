//! The hardest script: a log is written at full speed and rotated, and the server is killed during
//! rotations, with a fast and a slow viewer.

use std::time::Duration;

use rustix::process::Signal;
use tokio::task::yield_now;

use crate::servers::pace;

use super::host::Host;
use super::log::Model;
use super::outcome::Outcome;
use super::random::Random;
use super::transcript::Transcript;
use super::viewers::{Order, Watcher};

/// The number of rotations. The server is killed during the first one, and during each other one
/// with a probability of one half.
const ROTATIONS: u64 = 4;

/// Runs the script of a seed.
pub async fn run(seed: u64) -> Outcome {
    let mut host = Host::program().await;
    let transcript = Transcript::new();
    let mut model = Model::new(Random(seed), host.root(), transcript.clone());
    let log = model.log();
    let watchers: Vec<_> = ["fast", "slow"]
        .into_iter()
        .map(|kind| Watcher::start(kind, host.door(), &log, "&lines=all"))
        .collect();
    let pause = Duration::from_millis(3 + model.random.below(15));
    watchers[1].orders.send(Order::Slow(pause)).ok();
    // Waits until the fast viewer has received something.
    while watchers[0].len() < 2 {
        pace(Duration::from_millis(5)).await;
    }
    for rotation in 0..ROTATIONS {
        let megabytes = 1 + model.random.below(4);
        write(&mut model, megabytes << 20).await;
        let moment = Duration::from_micros(model.random.below(6000));
        if rotation > 0 && model.random.one_in(2) {
            rotate(&mut model).await;
            continue;
        }
        let kill = async {
            pace(moment).await;
            transcript.note(format_args!("the server is killed"));
            host.end(Signal::KILL);
        };
        let turn = async {
            rotate(&mut model).await;
            write(&mut model, 1 << 20).await;
        };
        tokio::join!(kill, turn);
        let dead_for = Duration::from_millis(model.random.below(300));
        let restart = async {
            pace(dead_for).await;
            host.start_again().await;
            transcript.note(format_args!("the server has been started again"));
        };
        tokio::join!(restart, go_on(&mut model));
    }
    Outcome::of(seed, host, model, watchers).await
}

/// Writes at full speed.
async fn write(model: &mut Model, bytes: u64) {
    let mut written = 0;
    while let (true, Some(present)) = (written < bytes, model.present) {
        let len = 1 + model.random.below(1 << 16) as usize;
        model.append(present, len);
        model.steps += 1;
        written += len as u64;
        yield_now().await;
    }
}

/// Continues writing while no server runs.
async fn go_on(model: &mut Model) {
    let bytes = model.random.below(3 << 20);
    write(model, bytes).await;
    if model.random.one_in(3) {
        rotate(model).await;
        write(model, bytes / 2).await;
    }
}

/// Renames the log and creates the next file, with random pauses before the writer reopens it.
async fn rotate(model: &mut Model) {
    let Some(old) = model.present else { return };
    moment(model).await;
    model.rename_away(old);
    moment(model).await;
    if model.random.one_in(2) {
        let len = 1 + model.random.below(1 << 18) as usize;
        model.append(old, len);
        moment(model).await;
    }
    let new = model.create();
    moment(model).await;
    let len = 1 + model.random.below(5000) as usize;
    model.append(new, len);
}

async fn moment(model: &mut Model) {
    match model.random.below(4) {
        0 => {}
        1 => yield_now().await,
        _ => pace(Duration::from_micros(model.random.below(2000))).await,
    }
}
