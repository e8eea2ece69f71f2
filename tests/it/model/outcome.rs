//! The end of a script: all viewers have reached the end of the log, and their streams are checked.

use std::time::{Duration, Instant};

use crate::servers::pace;

use super::host::Host;
use super::log::Model;
use super::machine::delays;
use super::oracle::Witness;
use super::received::ReceivedStreams;
use super::table::Totals;
use super::viewers::Watcher;

/// The deadline for the last line. It is shorter than that of a viewer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Viewers that have received nothing for this time have received everything.
const QUIET: Duration = Duration::from_millis(400);

/// The result of a script.
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
    /// Writes the last line, waits until all viewers have it, and checks their streams.
    pub async fn of(seed: u64, mut host: Host, mut model: Model, watchers: Vec<Watcher>) -> Self {
        let present = model.present.unwrap_or_else(|| model.create());
        model.outgrow_cuts(present);
        model.write(present, b"\n", None);
        let last = format!("the end of {seed}\n").into_bytes();
        model.write(present, &last, None);
        wait_for(&last, &watchers).await;
        host.history.add_delays(delays(model.transcript.began));
        let mut all_received = Vec::new();
        for watcher in watchers {
            watcher.task.abort();
            let has_all = watcher.has(&last);
            let record = std::mem::take(&mut *watcher.record.lock().unwrap());
            let mut received = ReceivedStreams::new(&record);
            if !has_all {
                received.fault("never got the last line".to_owned());
            }
            received.find(&model);
            all_received.push((watcher.kind, received, record));
        }
        let heard: Vec<&ReceivedStreams> =
            all_received.iter().map(|(_, received, _)| received).collect();
        let witness = Witness::new(&model, &host.history, &heard);
        let (mut totals, mut faults) = (Vec::new(), Vec::new());
        let mut told = model.transcript.text();
        for (at, (kind, received, record)) in all_received.iter_mut().enumerate() {
            received.weigh(&witness, *kind == "keeps up");
            received.check_losses(&witness);
            received.count_turns(&model);
            totals.push((*kind, received.totals));
            if !received.faults.is_empty() {
                let of = received.faults.iter();
                faults.extend(of.map(|fault| format!("viewer {at}, which {kind}: {fault}")));
                told += &format!("viewer {at} heard:\n{}", model.transcript.text_of(record));
            }
        }
        let written = model.segments.iter().map(|segment| segment.end - segment.start).sum();
        let (steps, restarts) = (model.steps, host.history.lives.len() as u64 - 1);
        host.close().await;
        Self { seed, steps, written, restarts, totals, faults, told }
    }
}

/// Waits until all viewers have the last line, or the deadline is over, and nothing more arrives.
async fn wait_for(last: &[u8], watchers: &[Watcher]) {
    let until = Instant::now() + PATIENCE;
    while !watchers.iter().all(|watcher| watcher.has(last)) && Instant::now() < until {
        pace(Duration::from_millis(20)).await;
    }
    loop {
        let heard: usize = watchers.iter().map(Watcher::len).sum();
        pace(QUIET).await;
        if heard == watchers.iter().map(Watcher::len).sum::<usize>() {
            return;
        }
    }
}
