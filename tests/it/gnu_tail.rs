//! Compares GNU `tail -F`, `tailcast tail` and a viewer of a server, which follow the same file at
//! the same time.
//!
//! This command makes the table in `docs/proof.md`: `cargo test --release --test it -- --ignored
//! makes_the_table_beside_gnu_tail`.

mod followers;
mod scripts;
mod verdict;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use crate::servers::{DEADLINE, Program, command, output_of, pace, target};
use followers::{Printer, SharedOutput, gnu_tail, view};
use scripts::{FollowedLog, SCRIPTS, Script};
use verdict::{FollowerOutput, Ledger, Verdict, judge};

/// The time that a follower has for missing records after the last one was written.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time between two starts of the follower.
const RESTART_INTERVAL: Duration = Duration::from_millis(350);

/// The number of scripts that run at the same time in CI.
const AT_ONCE: usize = 4;

const VIEWER: &str = "tailcast, viewer";
const TAIL: &str = "`tailcast tail`";
const GNU_TAIL: &str = "GNU `tail -F`";

/// The result of a script for one follower.
struct Outcome {
    who: &'static str,
    verdict: Verdict,
    heard: FollowerOutput,
    /// Whether it had printed the last record.
    arrived: bool,
}

/// Waits until all followers have printed this record. Returns false if one is too late.
async fn all_have(
    outputs: &[(&'static str, SharedOutput)],
    record: &[u8],
    patience: Duration,
) -> bool {
    let until = Instant::now() + patience;
    while !outputs.iter().all(|(_, output)| output.lock().has(record)) {
        if Instant::now() > until {
            return false;
        }
        pace(Duration::from_millis(5)).await;
    }
    true
}

/// Waits until all followers have printed this number of lines, or the time is over.
async fn settle(outputs: &[(&'static str, SharedOutput)], lines: usize) {
    let until = Instant::now() + PATIENCE;
    while !outputs.iter().all(|(_, output)| output.lock().lines() >= lines)
        && Instant::now() < until
    {
        pace(Duration::from_millis(5)).await;
    }
}

/// Runs a script with all followers at the same time.
async fn play(script: &'static Script, turns: usize) -> Vec<Outcome> {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut followed = FollowedLog::new(directory.path(), script.linked, Arc::clone(&ledger));
    let log = followed.log.clone();
    let served = directory.path().to_str().unwrap().to_owned();
    let mut program = Program::serve(&[&served]);
    let address = program.address;

    let mut outputs = vec![(VIEWER, SharedOutput::default()), (TAIL, SharedOutput::default())];
    if gnu_tail().is_some() {
        outputs.push((GNU_TAIL, SharedOutput::default()));
    }
    followed.write(1);
    let ending = CancellationToken::new();
    let viewing = tokio::spawn(view(address, target(&log), outputs[0].1.clone(), ending.clone()));
    // In a script with restarts of the server, `tailcast tail` follows through the server.
    let source = match script.restarts {
        0 => log.display().to_string(),
        _ => format!("http://{address}{}", log.display()),
    };
    let tail = Printer::start(
        command().args(["tail", "-F", "-n", "all", &source]),
        "tailcast: ",
        outputs[1].1.clone(),
    );
    let mut gnu_tail =
        outputs.get(2).map(|(_, output)| Printer::gnu_tail(&["-n", "+1"], &log, output.clone()));

    // Waits until all followers have printed a line.
    let first = followed.write(1);
    assert!(all_have(&outputs, &first, DEADLINE).await, "{}: not all follow", script.name);

    let playing = tokio::task::spawn_blocking(move || {
        for _ in 0..turns {
            (script.turn)(&mut followed);
        }
        followed
    });
    for restart in 0..script.restarts {
        pace(RESTART_INTERVAL).await;
        program.signal(if restart % 2 == 0 { Signal::TERM } else { Signal::KILL });
        if let (Some(running), Some((_, output))) = (gnu_tail.take(), outputs.get(2)) {
            running.stop();
            // As a user would do it: it prints the last ten lines, then follows.
            gnu_tail = Some(Printer::gnu_tail(&[], &log, output.clone()));
        }
        program.wait().await;
        program = Program::serve_on(address.port(), &[&served]);
    }
    let mut followed = playing.await.unwrap();
    let last = followed.write(1);
    all_have(&outputs, &last, 2 * PATIENCE).await;
    let written = ledger.lock().unwrap().written();
    settle(&outputs, written).await;

    ending.cancel();
    program.signal(Signal::TERM);
    viewing.await.unwrap();
    tail.stop();
    if let Some(running) = gnu_tail {
        running.stop();
    }
    let ledger = ledger.lock().unwrap();
    outputs
        .into_iter()
        .map(|(who, output)| {
            let mut heard = output.lock().clone();
            heard.end();
            let verdict = judge(&ledger, &heard);
            Outcome { who, verdict, arrived: heard.has(&last), heard }
        })
        .collect()
}

/// The violated requirements on a follower of tailcast.
fn faults(script: &Script, outcome: &Outcome) -> Vec<String> {
    let verdict = &outcome.verdict;
    let mut faults = Vec::new();
    let mut demand = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{}, {}: {what}: {verdict:#?}", script.name, outcome.who));
        }
    };
    demand(outcome.arrived, "the last record has not come");
    demand(verdict.lost_silently == 0, "records were lost silently");
    demand(verdict.duplicated == 0, "records were duplicated");
    demand(verdict.malformed == 0, "there are lines that nobody wrote");
    demand(!script.is_lossless || verdict.lost_announced == 0, "records were lost");
    demand(script.restarts > 0 || verdict.sent_again == 0, "records were sent again");
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_lose_nothing_silently_and_repeat_or_break_nothing() {
    let only = std::env::var("TAILCAST_SCRIPT").unwrap_or_default();
    let mut all = Vec::new();
    let mut waiting = SCRIPTS.iter().filter(|script| script.name.contains(&only));
    let mut playing = tokio::task::JoinSet::new();
    let begin =
        |script: &'static Script| async move { (script, play(script, script.few_turns).await) };
    for script in waiting.by_ref().take(AT_ONCE) {
        playing.spawn(begin(script));
    }
    while let Some(played) = playing.join_next().await {
        let (script, outcomes) = played.unwrap();
        for outcome in &outcomes {
            eprintln!("{}", row(script, outcome));
            if std::env::var_os("TAILCAST_TOLD").is_some() {
                eprintln!("{}", outcome.heard.notices().join("\n"));
            }
            let faults = match outcome.who {
                GNU_TAIL => Vec::new(),
                _ => faults(script, outcome),
            };
            if !faults.is_empty() {
                let said = outcome.heard.notices().join("\n");
                all.push(format!("{}\nit said:\n{said}", faults.join("\n")));
            }
        }
        if let Some(script) = waiting.next() {
            playing.spawn(begin(script));
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

fn row(script: &Script, outcome: &Outcome) -> String {
    let Verdict { written, once, lost_announced, lost_silently, .. } = outcome.verdict;
    let Verdict { sent_again, duplicated, malformed, .. } = outcome.verdict;
    format!(
        "| {} | {} | {written} | {once} | {lost_announced} | {lost_silently} | {sent_again} | {duplicated} | {malformed} |",
        script.name, outcome.who,
    )
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = output_of(Command::new(program).args(arguments));
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap_or_default().to_owned()
}

/// Replaces the text between the markers of the table.
fn replace(document: &Path, text: &str) {
    const MARKERS: [&str; 2] = ["<!-- the table begins -->\n", "<!-- the table ends -->"];
    let whole = std::fs::read_to_string(document).unwrap();
    let (before, rest) = whole.split_once(MARKERS[0]).expect("no marker");
    let (_, after) = rest.split_once(MARKERS[1]).expect("no second marker");
    std::fs::write(document, [before, MARKERS[0], text, MARKERS[1], after].concat()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it writes into docs/; run it by name"]
async fn makes_the_table_beside_gnu_tail() {
    let gnu_tail = gnu_tail().expect("GNU coreutils' tail is to be compared with");
    let mut table = format!(
        "Made on {} with {gnu_tail}, Linux {}, {} processors, a {} build.\n\n",
        first_line("date", &["-u", "+%F"]),
        first_line("uname", &["-r"]),
        std::thread::available_parallelism().unwrap(),
        if cfg!(debug_assertions) { "debug" } else { "release" },
    );
    table += "| what happens to the log | follower | written | came | lost, announced | lost silently | sent again, announced | duplicated | malformed |\n";
    table += "|---|---|---:|---:|---:|---:|---:|---:|---:|\n";
    let mut faulty = Vec::new();
    for script in SCRIPTS {
        for outcome in play(script, script.turns).await {
            let row = row(script, &outcome);
            eprintln!("{row}");
            writeln!(table, "{row}").unwrap();
            if outcome.who != GNU_TAIL {
                faulty.extend(faults(script, &outcome));
            }
        }
    }
    replace(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/proof.md"), &table);
    assert!(faulty.is_empty(), "{}", faulty.join("\n"));
}
