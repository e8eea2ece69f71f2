//! Recorded output of real tools, compared with what a terminal shows at the end.

use std::path::{Path, PathBuf};

use tailcast::encoding::Detection;
use tailcast::render::{Annotation, Appender, Row, Terminal};

use crate::emulators::{of_avt, of_vt100};
use crate::markup::{self, Cell, Look};
use crate::oracle::{rows_in, rows_of, seen};

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

/// A log with a stamp in front of each line.
fn stamped(log: &[u8], stamp: &str) -> Vec<u8> {
    log.split_inclusive(|&byte| byte == b'\n')
        .flat_map(|line| [stamp.as_bytes(), line].concat())
        .collect()
}

/// The same log as the records of a runner that cuts lines behind blanks, into parts of `len` bytes
/// or more. `first` and `next` are the stamps of a line and of its continuation; a `?` in them
/// says whether another part follows.
fn cut(log: &[u8], [first, next]: [&str; 2], len: usize) -> Vec<u8> {
    let records = |line: &[u8]| -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
        for word in line.strip_suffix(b"\n").unwrap_or(line).split_inclusive(|&byte| byte == b' ') {
            match parts.last_mut() {
                Some(part) if part.len() < len => part.extend(word),
                _ => parts.push(word.to_vec()),
            }
        }
        let last = parts.len() - 1;
        let record = |(nth, part): (usize, &Vec<u8>)| {
            let stamp = if nth == 0 { first } else { next };
            let stamp = stamp.replace('?', if nth < last { "P" } else { "F" });
            [stamp.as_bytes(), part, b"\n"].concat()
        };
        parts.iter().enumerate().flat_map(record).collect()
    };
    let mut records: Vec<u8> =
        log.split_inclusive(|&byte| byte == b'\n').flat_map(records).collect();
    if !log.ends_with(b"\n") {
        records.pop();
    }
    records
}

/// What each row shows and says, but for its time and where it begins.
fn told(rows: &[Row]) -> Vec<String> {
    let note = |row: &Row| {
        let note = row.note().cloned().unwrap_or_default();
        format!("{} {:?}", row.html(), Annotation { time: None, ..note })
    };
    rows.iter().map(note).collect()
}

#[test]
fn a_stamp_before_each_line_changes_only_the_times() {
    const TIME: u64 = 1_795_874_527_123;
    let mut logs: Vec<Vec<u8>> = logs().iter().map(|path| std::fs::read(path).unwrap()).collect();
    logs.push(
        [
            "::group::a\n::error::b\n::endgroup::\n--- c\n\x1b[0Ksection_start:1:d\r\x1b[0KD\n",
            "travis_fold:start:e\r\x1b[0KE\n##teamcity[blockOpened name='f']\n##[section]Starting: g\n",
            "section_end:1:d\r\x1b[0K\nan\x1b[31m end\n",
        ]
        .concat()
        .into_bytes(),
    );
    let stamps = [
        "2026-11-28T14:02:07.123456Z 00O ",
        "2026-11-28T14:02:07.1234567Z ",
        "2026-11-28T14:02:07.123456789Z stdout F ",
        "[2026-11-28T14:02:07.123Z] ",
        "[2026-11-28T14:02:07.123+0000] {task.py:12} INFO - ",
    ];
    let cuts = [
        ["2026-11-28T14:02:07.123456Z 00O ", "2026-11-28T14:02:07.123456Z 01O+"],
        ["2026-11-28T14:02:07.123456789Z stdout ? ", "2026-11-28T14:02:07.123456789Z stdout ? "],
    ];
    for log in &logs {
        let expected = told(&rows_of(log, usize::MAX));
        let shown = String::from_utf8_lossy(log);
        let check = |stamped: &[u8], what: &str| {
            for piece in [1, 7, 61, usize::MAX] {
                let terminal = Terminal::with_encoding(0, Detection::default());
                let rows = rows_in(terminal, stamped, piece);
                assert_eq!(told(&rows), expected, "{what:?} before the lines of {shown:?}");
                let is_other = |row: &&Row| row.note().and_then(|note| note.time) != Some(TIME);
                let other = rows.iter().filter(|row| !row.text().is_empty()).find(is_other);
                assert_eq!(other, None, "{what:?}: a row with another time");
            }
        };
        stamps.iter().for_each(|stamp| check(&stamped(log, stamp), stamp));
        for stamps in cuts {
            [5, 40].iter().for_each(|&len| check(&cut(log, stamps, len), stamps[0]));
        }
    }
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
