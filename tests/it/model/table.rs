//! The results of scripts as a table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::outcome::Outcome;

/// The numbers of received and missing bytes, and of positions.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub viewers: u64,
    pub once: u64,
    pub again: u64,
    pub announced: u64,
    pub unseen: u64,
    pub silent: u64,
    pub duplicated: u64,
    pub malformed: u64,
    /// Bytes that were not sent after a restart: the file had been truncated, and only its head,
    /// which was unchanged, proved the position.
    pub unproved: u64,
    /// The numbers of positions that were recovered and that were not.
    pub resumed: u64,
    pub lost: u64,
}

const HEADINGS: [&str; 11] = [
    "viewers",
    "once",
    "again",
    "announced",
    "unseen",
    "silent",
    "duplicated",
    "malformed",
    "unproved",
    "resumed",
    "lost",
];

impl Totals {
    fn cells(&mut self) -> [&mut u64; 11] {
        [
            &mut self.viewers,
            &mut self.once,
            &mut self.again,
            &mut self.announced,
            &mut self.unseen,
            &mut self.silent,
            &mut self.duplicated,
            &mut self.malformed,
            &mut self.unproved,
            &mut self.resumed,
            &mut self.lost,
        ]
    }

    fn add(&mut self, mut other: Self) {
        for (sum, more) in self.cells().into_iter().zip(other.cells()) {
            *sum += *more;
        }
    }
}

/// Writes the results of all scripts to the terminal and to a file in cargo's target directory.
/// Returns the number of failed scripts.
pub fn show(name: &str, outcomes: &[Outcome], took: Duration, delayed: Duration) -> usize {
    let mut text = format!("{name}: {}", table(outcomes, took, delayed));
    let failed = tell_faults(outcomes, &mut text);
    // Not by a macro, because the test harness captures its output when a test succeeds.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
    std::fs::write(path, text).unwrap();
    failed
}

fn table(outcomes: &[Outcome], took: Duration, delayed: Duration) -> String {
    let mut kinds: Vec<(&str, Totals)> = Vec::new();
    for (kind, totals) in outcomes.iter().flat_map(|outcome| &outcome.totals) {
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, sum)) => sum.add(*totals),
            None => kinds.push((kind, *totals)),
        }
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let mut text = format!(
        "{} scripts, {} steps, {} bytes written, {} restarts, {:.1} s, the machine was late for {:.1} s\n{:14}",
        outcomes.len(),
        sum(|outcome| outcome.steps),
        sum(|outcome| outcome.written),
        sum(|outcome| outcome.restarts),
        took.as_secs_f64(),
        delayed.as_secs_f64(),
        "viewer",
    );
    HEADINGS.iter().for_each(|heading| write!(text, "{heading:>12}").unwrap());
    for (kind, mut totals) in kinds {
        write!(text, "\n{kind:14}").unwrap();
        totals.cells().iter().for_each(|cell| write!(text, "{cell:>12}").unwrap());
    }
    text + "\n"
}

/// The first faults of each failed script, and the transcript of the first one.
fn tell_faults(outcomes: &[Outcome], text: &mut String) -> usize {
    let faulty: Vec<_> = outcomes.iter().filter(|outcome| !outcome.faults.is_empty()).collect();
    for (nth, outcome) in faulty.iter().enumerate() {
        let (seed, all) = (outcome.seed, outcome.faults.len());
        writeln!(text, "TAILCAST_SEED={seed} has {all} faults:").unwrap();
        outcome.faults.iter().take(8).for_each(|fault| writeln!(text, "{fault}").unwrap());
        if nth == 0 || std::env::var_os("TAILCAST_TOLD").is_some() {
            writeln!(text, "{}", outcome.told).unwrap();
        }
    }
    faulty.len()
}
