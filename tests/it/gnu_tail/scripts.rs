//! The scripts: each repeats one kind of rotation or truncation, called a turn.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::gnu_tail::verdict::Ledger;

use crate::servers::pace_blocking;

/// The followed log and its writer.
pub struct FollowedLog {
    /// Another directory on the same file system.
    elsewhere: PathBuf,
    /// The path that is followed.
    pub log: PathBuf,
    file: File,
    ledger: Arc<Mutex<Ledger>>,
    names: usize,
    /// The widths of the records in the present run.
    widths: Vec<usize>,
}

/// A script with one kind of turn.
pub struct Script {
    pub name: &'static str,
    /// The number of turns for the table.
    pub turns: usize,
    /// The number of turns in CI.
    pub few_turns: usize,
    pub turn: fn(&mut FollowedLog),
    /// The log's path is a link.
    pub linked: bool,
    /// The number of restarts of the server and of GNU tail during the script.
    pub restarts: usize,
    /// Slow enough that tailcast must lose nothing.
    pub is_lossless: bool,
}

impl Script {
    const fn new(
        name: &'static str,
        turns: usize,
        few_turns: usize,
        turn: fn(&mut FollowedLog),
    ) -> Self {
        Self { name, turns, few_turns, turn, linked: false, restarts: 0, is_lossless: false }
    }
}

const RECORDS: usize = 20;

pub const SCRIPTS: &[Script] = &[
    Script::new("renamed beside it, created; no pause", 50, 10, |followed| followed.rotate(0)),
    Script::new("renamed beside it, created; every 1 ms", 50, 10, |followed| followed.rotate(1)),
    Script::new("renamed beside it, created; every 20 ms", 50, 10, |followed| followed.rotate(20)),
    Script {
        is_lossless: true,
        ..Script::new("renamed beside it, created; every 500 ms", 10, 2, |followed| {
            followed.rotate(500)
        })
    },
    Script::new(
        "numbers shifted (.1 to .2, the log to .1), created; no pause",
        50,
        10,
        |followed| {
            followed.shift(0);
        },
    ),
    Script {
        is_lossless: true,
        ..Script::new(
            "numbers shifted (.1 to .2, the log to .1), created; every 5.5 s",
            5,
            2,
            |followed| {
                followed.shift(5500);
            },
        )
    },
    Script::new("renamed into another directory, created; no pause", 50, 10, |followed| {
        let aside = followed.elsewhere();
        followed.rotate_to(&aside, 0);
    }),
    Script::new("another file renamed over it; no pause", 50, 10, |followed| {
        followed.rename_over(0)
    }),
    Script::new("another file renamed over it; every 20 ms", 50, 10, |followed| {
        followed.rename_over(20)
    }),
    Script::new("copied and truncated after 2,000 records; every 20 ms", 50, 5, |followed| {
        followed.write(2000);
        let copy = followed.aside();
        std::fs::copy(&followed.log, copy).unwrap();
        followed.truncate();
        pause(20);
    }),
    Script::new("truncated, and at once longer than before; every 200 ms", 50, 3, |followed| {
        followed.write(RECORDS);
        pause(100);
        followed.refill(RECORDS / 2);
    }),
    Script::new("truncated, and at once as long as before; every 200 ms", 50, 3, |followed| {
        followed.write(RECORDS);
        pause(100);
        followed.refill(0);
    }),
    Script {
        is_lossless: true,
        ..Script::new("renamed; a writer stays with the old file for 2 s", 5, 1, |followed| {
            followed.write_late(Duration::from_secs(2));
        })
    },
    Script::new("removed and created; every 20 ms", 50, 10, |followed| {
        followed.write(RECORDS);
        std::fs::remove_file(&followed.log).unwrap();
        followed.create();
        pause(20);
    }),
    Script {
        linked: true,
        ..Script::new("a link to it is set to another file; every 20 ms", 50, 10, |followed| {
            followed.write(RECORDS);
            let (next, link) = (followed.elsewhere(), followed.aside());
            followed.open(&next);
            followed.write(RECORDS);
            symlink(&next, &link).unwrap();
            std::fs::rename(link, &followed.log).unwrap();
            pause(20);
        })
    },
    Script::new("its directory removed and created; every 500 ms", 10, 2, |followed| {
        followed.write(RECORDS);
        let folder = followed.log.parent().unwrap().to_owned();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
        followed.create();
        pause(500);
    }),
    Script::new("renamed in the middle of a line; every 20 ms", 50, 10, |followed| {
        followed.write(RECORDS);
        let record = followed.line(40);
        let (head, rest) = record.split_at(25);
        followed.file.write_all(head).unwrap();
        pause(10);
        let aside = followed.aside();
        std::fs::rename(&followed.log, aside).unwrap();
        followed.create();
        followed.file.write_all(rest).unwrap();
        pause(10);
    }),
    Script {
        restarts: 4,
        ..Script::new(
            "renamed beside it, created; every 100 ms, the follower started again",
            30,
            15,
            |followed| {
                for _ in 0..5 {
                    followed.write(RECORDS);
                    pause(20);
                }
                followed.rotate(0);
            },
        )
    },
];

fn pause(milliseconds: u64) {
    if milliseconds > 0 {
        pace_blocking(Duration::from_millis(milliseconds));
    }
}

impl FollowedLog {
    pub fn new(root: &Path, linked: bool, ledger: Arc<Mutex<Ledger>>) -> Self {
        let elsewhere = root.join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        let log = root.join("d/a.log");
        let first = if linked { elsewhere.join("first") } else { log.clone() };
        if linked {
            symlink(&first, &log).unwrap();
        }
        let file = File::options().append(true).create_new(true).open(first).unwrap();
        Self { elsewhere, log, file, ledger, names: 0, widths: Vec::new() }
    }

    /// An unused path in the log's directory.
    fn aside(&mut self) -> PathBuf {
        self.names += 1;
        self.log.with_file_name(format!("a.log.{}", self.names))
    }

    /// An unused path in the other directory.
    fn elsewhere(&mut self) -> PathBuf {
        self.names += 1;
        self.elsewhere.join(format!("a.log.{}", self.names))
    }

    /// A new record, with its newline.
    fn line(&mut self, width: usize) -> Vec<u8> {
        self.widths.push(width);
        let mut line = self.ledger.lock().unwrap().record(width);
        line.push(b'\n');
        line
    }

    /// Writes records, each in a separate write. Returns the last one, without its newline.
    pub fn write(&mut self, records: usize) -> Vec<u8> {
        let mut line = Vec::new();
        for _ in 0..records {
            // Varied, so that an offset in one file is rarely the end of a record in another.
            let width = 5 + (self.widths.len() * 7 + self.names * 11) % 53;
            line = self.line(width);
            self.file.write_all(&line).unwrap();
        }
        line.pop();
        line
    }

    fn turn(&mut self) {
        self.ledger.lock().unwrap().turn();
        self.widths.clear();
    }

    /// Continues in a new file.
    fn open(&mut self, path: &Path) {
        self.turn();
        self.file = File::options().append(true).create_new(true).open(path).unwrap();
    }

    /// Continues in a new file with the log's path.
    fn create(&mut self) {
        self.open(&self.log.clone());
    }

    fn truncate(&mut self) {
        self.turn();
        self.file.set_len(0).unwrap();
    }

    /// Truncates the file, and writes the same number of bytes and `more` records in one write.
    fn refill(&mut self, more: usize) {
        let mut widths = std::mem::take(&mut self.widths);
        let len = widths.len();
        widths.extend((0..more).map(|at| 20 + (len + 7 * at) % 41));
        // In reverse order, so that no record begins at the offset of an earlier one.
        widths.reverse();
        self.truncate();
        let lines: Vec<u8> = widths.iter().flat_map(|&width| self.line(width)).collect();
        self.file.write_all(&lines).unwrap();
        pause(100);
    }

    fn rotate(&mut self, every: u64) {
        let aside = self.aside();
        self.rotate_to(&aside, every);
    }

    fn rotate_to(&mut self, aside: &Path, every: u64) {
        self.write(RECORDS);
        std::fs::rename(&self.log, aside).unwrap();
        self.create();
        self.write(RECORDS);
        pause(every);
    }

    /// Rotates like logrotate, which keeps five files.
    fn shift(&mut self, every: u64) {
        for number in (1..5).rev() {
            let name = |number: u32| self.log.with_file_name(format!("a.log.{number}"));
            if name(number).exists() {
                std::fs::rename(name(number), name(number + 1)).unwrap();
            }
        }
        self.rotate_to(&self.log.with_file_name("a.log.1"), every);
    }

    fn rename_over(&mut self, every: u64) {
        self.write(RECORDS);
        let next = self.aside();
        self.open(&next);
        self.write(RECORDS);
        std::fs::rename(next, &self.log).unwrap();
        pause(every);
    }

    /// Rotates, and writes to both files for a while.
    fn write_late(&mut self, during: Duration) {
        self.write(RECORDS);
        let mut late = self.file.try_clone().unwrap();
        let aside = self.aside();
        std::fs::rename(&self.log, aside).unwrap();
        let began = Instant::now();
        // Records of the old file belong to its run, so they are recorded before the turn. They are
        // written to the file after it.
        let lines: Vec<Vec<u8>> = (0..RECORDS).map(|_| self.line(17)).collect();
        self.create();
        for (at, line) in lines.iter().enumerate() {
            late.write_all(line).unwrap();
            self.write(1);
            let next = during * (at as u32 + 1) / RECORDS as u32;
            pace_blocking((began + next).saturating_duration_since(Instant::now()));
        }
    }
}
