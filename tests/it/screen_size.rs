//! Programs that count the rows of their screen, on screens of several sizes, compared with what a
//! terminal of that size shows.

use std::fmt::Write as _;

use tailcast::render::{Row, Size, Terminal};

use crate::emulators::of_avt;
use crate::markup;
use crate::oracle::{rows_in, seen};

const SIZES: [(usize, usize); 8] =
    [(60, 24), (80, 24), (120, 24), (160, 24), (60, 50), (80, 50), (120, 50), (160, 50)];

/// A line of the log that a program leaves behind.
fn line(n: usize) -> String {
    format!("line {n}: {}", "something_was_done_".repeat(1 + n * 7 % 3))
}

/// What a program writes on a screen of so many columns.
type Program = fn(usize) -> String;

/// A spinner like that of `ora`: one text that wraps, erased row by row from its last.
fn spinner(columns: usize) -> String {
    let mut out = String::new();
    for n in 0..60 {
        let text = format!("- {} {}", n % 10, "working on a rather long task ".repeat(1 + n % 5));
        let text = text.trim_end();
        let rows = text.len().div_ceil(columns);
        for frame in 0..4 {
            write!(out, "{frame}{}", &text[1..]).unwrap();
            for row in 0..rows {
                out += if row > 0 { "\x1b[1A" } else { "" };
                out += "\x1b[1G\x1b[0K";
            }
        }
        write!(out, "{}\r\n", line(n)).unwrap();
    }
    out
}

/// A list like those of `listr` and `ink`: wrapped by the program, erased line by line.
fn list(columns: usize) -> String {
    let mut out = String::new();
    let mut drawn = 0;
    for n in 0..60 {
        for row in 0..drawn {
            out += if row > 0 { "\x1b[1A\x1b[2K" } else { "\x1b[2K" };
        }
        out += if drawn > 0 { "\x1b[G" } else { "" };
        if n % 3 == 0 {
            write!(out, "{}\r\n", line(n)).unwrap();
        }
        let tasks =
            (0..1 + n % 6).map(|task| format!("> task {task} {}", "of many ".repeat(n % 20)));
        let rows: Vec<String> = tasks
            .flat_map(|text| {
                text.as_bytes().chunks(columns).map(<[u8]>::to_vec).collect::<Vec<_>>()
            })
            .map(|row| String::from_utf8(row).unwrap().trim_end().to_owned())
            .collect();
        drawn = rows.len() + 1;
        write!(out, "{}\r\n", rows.join("\r\n")).unwrap();
    }
    out
}

/// Steps like those of `docker build`: each line is padded to the width of the screen.
fn steps(columns: usize) -> String {
    let mut out = String::new();
    let mut drawn = 0;
    for n in 0..60 {
        let count = 1 + n / 6;
        write!(out, "{}\x1b[0G", "\x1b[1A".repeat(drawn)).unwrap();
        write!(out, "[+] Building {n} s\x1b[K\r\n").unwrap();
        for step in 0..count {
            let text = format!(" => step {step} of the build");
            let time = format!("{n}.0s");
            write!(out, "{text}{time:>width$}\r\n", width = columns - text.len()).unwrap();
        }
        drawn = 1 + count;
    }
    out + &line(0) + "\r\n"
}

/// Bars like those of `indicatif` and `tqdm`: as wide as the screen, the last one without a newline.
fn bars(columns: usize) -> String {
    let mut out = String::new();
    for n in 0..60 {
        if n > 0 {
            out += "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K";
        }
        if n % 4 == 0 {
            write!(out, "\r{}\r\n", line(n)).unwrap();
        }
        let bar = |name: &str| {
            let full = (columns - 12) * n / 59;
            format!("\r{name} {}{} {n:>2}/59", "#".repeat(full), "-".repeat(columns - 12 - full))
        };
        write!(out, "{}\r\n{}\r\n{}", bar("one"), bar("two"), bar("sum")).unwrap();
    }
    out + "\r\n"
}

/// A panel like that of `rich`: cropped to the screen, and drawn again with logs above it.
fn panel(columns: usize) -> String {
    let mut out = String::new();
    for n in 0..60 {
        if n > 0 {
            out += "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K";
        }
        if n % 2 == 0 {
            write!(out, "{}\r\n", line(n)).unwrap();
        }
        let edge = "─".repeat(columns - 2);
        write!(out, "╭{edge}╮\r\n│{:<width$}│\r\n╰{edge}╯\r\n", n, width = columns - 2).unwrap();
    }
    out
}

/// A loop around `clear`, of a terminal that clears from the first row on, with more output than
/// fits.
fn pages(columns: usize) -> String {
    let mut out = String::new();
    for page in 0..4 {
        out += "\x1b[H\x1b[J";
        (0..columns / 2).for_each(|n| write!(out, "page {page}: line {n}\r\n").unwrap());
    }
    out
}

const PROGRAMS: [(&str, Program); 6] = [
    ("spinner", spinner),
    ("list", list),
    ("steps", steps),
    ("bars", bars),
    ("panel", panel),
    // A terminal forgets what is cleared, and a log keeps some of it: this one comes last.
    ("pages", pages),
];

fn log_of(program: Program, columns: usize) -> String {
    let lines: String = (900..950).map(|n| format!("line {n}\r\n")).collect();
    lines + &program(columns) + "the end\r\n"
}

/// The lines of the log in what is shown.
fn lines_in<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let is_line = |text: &&str| text.contains("line ") || text.contains("the end");
    texts.map(str::trim_end).filter(is_line).map(str::to_owned).collect()
}

#[test]
fn no_line_is_lost_that_a_terminal_of_the_programs_size_still_has() {
    let mut lost = String::new();
    for (name, program) in PROGRAMS {
        for (columns, height) in SIZES {
            let log = log_of(program, columns);
            let theirs: Vec<String> = of_avt(columns, height, &log)
                .iter()
                .map(|row| row.iter().map(|cell| cell.text.as_str()).collect())
                .collect();
            let rows = rows_in(Terminal::new(0), log.as_bytes(), usize::MAX);
            let mut ours = lines_in(rows.iter().map(Row::text)).into_iter();
            for line in lines_in(theirs.iter().map(String::as_str)) {
                if !ours.any(|row| row == line) {
                    writeln!(lost, "{name} on {columns}x{height}: {line}").unwrap();
                    break;
                }
            }
            for piece in [1, 17, 300] {
                let divided = rows_in(Terminal::new(0), log.as_bytes(), piece);
                assert_eq!(divided, rows, "{name} on {columns}x{height} in pieces of {piece}");
            }
        }
    }
    assert!(lost.is_empty(), "{lost}");
}

#[test]
fn with_its_size_a_program_looks_as_in_a_terminal() {
    let mut differences = String::new();
    for &(name, program) in &PROGRAMS[..PROGRAMS.len() - 1] {
        for (columns, height) in SIZES {
            let log = log_of(program, columns);
            let terminal = Terminal::with_size(Size { columns, rows: height }, 0);
            let ours = seen(&rows_in(terminal, log.as_bytes(), usize::MAX));
            let theirs = markup::trimmed(of_avt(columns, height, &log));
            let found = markup::differences(&ours, &theirs);
            if !found.is_empty() {
                let few: String = found.lines().take(4).map(|line| format!("{line}\n")).collect();
                write!(differences, "{name} on {columns}x{height}:\n{few}").unwrap();
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
