//! Recorded output of real tools, compared with what a terminal shows at the end.

use std::path::{Path, PathBuf};

use tailcast::render::{Appender, Terminal};

use crate::emulators::{of_avt, of_vt100};
use crate::markup::{self, Cell, Look};
use crate::oracle::{rows_of, seen};

const COLUMNS: u16 = 120;
const ROWS: u16 = 40;

fn logs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/goldens");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    assert!(logs.len() >= 18, "{logs:?}");
    logs
}

/// Runs a check on every log, and reports all failures.
fn for_each(check: impl Fn(&Path, &[u8]) -> String) {
    let mut failures = String::new();
    for path in logs() {
        let failure = check(&path, &std::fs::read(&path).unwrap());
        if !failure.is_empty() {
            failures += &format!("{}:\n{failure}\n", path.display());
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn recorded_logs_look_as_in_a_terminal() {
    for_each(|_, log| {
        let text = std::str::from_utf8(log).unwrap();
        let theirs = of_avt(COLUMNS.into(), ROWS.into(), text);
        markup::differences(&seen(&rows_of(log, usize::MAX)), &markup::trimmed(theirs))
    });
}

#[test]
fn recorded_logs_look_as_in_another_terminal() {
    // This emulator supports neither strike nor blink.
    let known = |rows: Vec<Vec<Cell>>| -> Vec<Vec<Cell>> {
        let plain =
            |cell: Cell| Cell { look: Look { strike: false, blink: false, ..cell.look }, ..cell };
        rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect()
    };
    for_each(|_, log| {
        let theirs = of_vt100(COLUMNS, ROWS, log);
        markup::differences(&known(seen(&rows_of(log, usize::MAX))), &markup::trimmed(theirs))
    });
}

#[test]
fn recorded_logs_look_as_in_the_reviewed_files() {
    for_each(|path, log| {
        let rows = rows_of(log, usize::MAX);
        let html: String = rows.iter().map(|row| row.html() + "\n").collect();
        let golden = path.with_extension("html");
        if std::env::var_os("TAILCAST_BLESS").is_some() {
            std::fs::write(&golden, &html).unwrap();
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        let lines = html.lines().zip(expected.lines()).enumerate();
        let differing = lines.filter(|(_, (now, then))| now != then);
        let told: String = differing
            .map(|(i, (now, then))| format!("row {i}:\n  now  {now}\n  then {then}\n"))
            .collect();
        match (told.is_empty(), html == expected) {
            (true, false) => "there are more rows or fewer".to_owned(),
            _ => told,
        }
    });
}

#[test]
fn recorded_logs_give_the_same_rows_live_and_later() {
    for_each(|_, log| {
        let whole = rows_of(log, usize::MAX);
        let pieces = [1, 2, 7, 61, 1000];
        let unlike: Vec<usize> =
            pieces.into_iter().filter(|&piece| rows_of(log, piece) != whole).collect();
        // The text of an appender contains the same rows.
        let mut terminal = Terminal::new(0);
        let mut appender = Appender::new();
        let mut sent = appender.text(&terminal.feed(log));
        sent += &appender.finish_text();
        let rows: String = whole
            .iter()
            .map(|row| format!("{}{}", row.text(), if row.ended { "\n" } else { "" }))
            .collect();
        match (unlike.is_empty(), sent == rows) {
            (true, true) => String::new(),
            (false, _) => format!("in pieces of {unlike:?} bytes it is not as in one"),
            (_, false) => format!("as text that grows it is:\n{sent}\nbut the rows are:\n{rows}"),
        }
    });
}
