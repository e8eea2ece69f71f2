//! The end of a script: all viewers have come to the end of the log, and are held against it.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::host::Host;
use super::log::Model;
use super::machine::delays;
use super::oracle::Witness;
use super::table::Totals;
use super::viewers::Watcher;
use super::walk::Walk;

/// The last line comes within this, or never: less than the time after which a viewer gives up.
const PATIENCE: Duration = Duration::from_secs(15);
/// When nothing more has come for so long, nothing more comes.
const QUIET: Duration = Duration::from_millis(400);

/// What became of a script.
pub struct Outcome {
    pub seed: u64,
    pub steps: u64,
    pub written: u64,
    pub restarts: u64,
    pub totals: Vec<(&'static str, Totals)>,
    pub faults: Vec<String>,
    pub told: String,
}

impl Outcome {
    /// Writes the last line, waits until all viewers have it, and judges.
    pub async fn of(seed: u64, mut host: Host, mut model: Model, watchers: Vec<Watcher>) -> Self {
        let present = model.present.unwrap_or_else(|| model.create());
        model.write(present, b"\n", None);
        let last = format!("the end of {seed}\n").into_bytes();
        model.write(present, &last, None);
        wait_for(&last, &watchers).await;
        host.history.add_delays(delays(model.tale.began));
        let mut walks = Vec::new();
        for watcher in watchers {
            watcher.task.abort();
            let has_all = watcher.has(&last);
            let record = std::mem::take(&mut *watcher.record.lock().unwrap());
            let mut walk = Walk::new(&record);
            if !has_all {
                walk.fault("never got the last line".to_owned());
            }
            walk.find(&model);
            walks.push((watcher.kind, walk, record));
        }
        let heard: Vec<&Walk> = walks.iter().map(|(_, walk, _)| walk).collect();
        let witness = Witness::new(&model, &host.history, &heard);
        let (mut totals, mut faults) = (Vec::new(), Vec::new());
        let mut told = model.tale.text();
        for (at, (kind, walk, record)) in walks.iter_mut().enumerate() {
            walk.weigh(&witness, *kind == "keeps up");
            walk.check_losses(&witness);
            walk.count_turns(&model);
            totals.push((*kind, walk.totals));
            if !walk.faults.is_empty() {
                let of = walk.faults.iter();
                faults.extend(of.map(|fault| format!("viewer {at}, which {kind}: {fault}")));
                told += &format!("viewer {at} heard:\n{}", model.tale.text_of(record));
            }
        }
        let written = model.segments.iter().map(|segment| segment.end - segment.start).sum();
        let (steps, restarts) = (model.steps, host.history.lives.len() as u64 - 1);
        host.close().await;
        Self { seed, steps, written, restarts, totals, faults, told }
    }
}

/// Waits until all have the last line, or should have it, and nothing more comes.
async fn wait_for(last: &[u8], watchers: &[Watcher]) {
    let until = Instant::now() + PATIENCE;
    while !watchers.iter().all(|watcher| watcher.has(last)) && Instant::now() < until {
        sleep(Duration::from_millis(20)).await;
    }
    loop {
        let heard: usize = watchers.iter().map(Watcher::len).sum();
        sleep(QUIET).await;
        if heard == watchers.iter().map(Watcher::len).sum::<usize>() {
            return;
        }
    }
}
