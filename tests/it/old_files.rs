//! Files that had a log's name while a viewer was away: each is sent, or a gap says that files may
//! be missing. That none is found proves nothing.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::reader::{Position, Reader, lines, make_later, server_over};
use crate::servers::{append, pace, target};

/// A file that lasted for so long was not rotated away within some ticks of a clock.
const LIFE_MIN: Duration = Duration::from_millis(100);
/// The clock with which files are stamped ticks several times in this time.
const SEVERAL_TICKS: Duration = Duration::from_millis(30);
/// Times that are so close are the same, or a tick apart.
const AT_ONCE: Duration = Duration::from_millis(2);

/// A log, the server of which ended when its viewer had all of the first file.
struct Away {
    directory: TempDir,
    path: PathBuf,
    at: Position,
}

impl Away {
    /// `log` is the log's path below the served directory.
    async fn from(log: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().canonicalize().unwrap().join(log);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        Self::served(directory, path).await
    }

    async fn served(directory: TempDir, path: PathBuf) -> Self {
        append(&path, lines("file 0"));
        let server = server_over(directory.path()).await;
        let mut reader = Reader::open(&server, &target(&path), "&lines=all").await;
        reader.read_until(b"file 0 99\n").await;
        let at = reader.at.clone();
        // A server that ends waits for its viewers.
        drop(reader);
        server.stop().await.unwrap();
        Self { directory, path, at }
    }

    /// Gives the file another name, in the log's directory or by a way from there.
    fn rename(&self, to: &str) {
        self.rename_from(&self.path, to);
    }

    fn rename_from(&self, from: &Path, to: &str) {
        let to = self.path.parent().unwrap().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(from, to).unwrap();
    }

    /// What the viewer is told, and which files it gets, when it comes back, up to this one.
    async fn come_back(&self, last: &str) -> (Vec<String>, Vec<String>) {
        let server = server_over(self.directory.path()).await;
        let mut reader = Reader::resume(&server, &target(&self.path), &self.at).await;
        reader.read_until(format!("{last} 99\n").as_bytes()).await;
        (reader.heads(), files_in(&reader.bytes))
    }
}

/// What the files are called whose lines these are. Each has to be whole.
fn files_in(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (mut files, mut rest) = (Vec::new(), text);
    while let Some((file, _)) = rest.split_once(" 0\n") {
        rest = rest.strip_prefix(&lines(file)).expect("a file is not whole");
        files.push(file.to_owned());
    }
    assert!(rest.is_empty(), "lines of no file: {rest}");
    files
}

/// Makes room for another file between the last renaming and the next file.
async fn make_room() {
    let began = std::time::Instant::now();
    while began.elapsed() < SEVERAL_TICKS {
        pace(SEVERAL_TICKS).await;
    }
}

/// What is told of so many files, of which nobody knows whether there were others between them.
fn told_of(files: usize) -> Vec<String> {
    let end = lines("file 0").len();
    let turn = [format!("gap {end} null"), "reset rotated 0".to_owned()];
    std::iter::once("open true".to_owned())
        .chain(std::iter::repeat_n(turn, files).flatten())
        .collect()
}

#[tokio::test]
async fn files_that_had_the_name_meanwhile_are_sent_whatever_rotation_renamed_them() {
    // Where the log is, and what the first three files are called in the end.
    let cases: [(&str, [&str; 3]); 12] = [
        ("a.log", ["a.log.3", "a.log.2", "a.log.1"]),
        ("a.log", ["a.3.log", "a.2.log", "a.1.log"]),
        ("a.log", ["a-2026-11-26.log", "a-2026-11-27.log", "a-2026-11-28.log"]),
        ("a.log", ["a.log-20261126", "a.log-20261127", "a.log-20261128"]),
        ("a.log", ["a.2026-11-28.0.log", "a.2026-11-28.1.log", "a.2026-11-28.2.log"]),
        ("a.log", ["archived/a.2026-11-28.0.log", "archived/a.2026-11-28.1.log", "a.1.log"]),
        ("a.log", ["old/a.log.3", "old/a.log.2", "old/a.log.1"]),
        ("app/a.log", ["../old/a.log-20261126", "../old/a.log-20261127", "../archive/a.log.1"]),
        ("a.log", ["2026-10/a-10-31-2026-1.log", "2026-11/a-11-01-2026-1.log", "archive/a.log"]),
        ("a.log", ["a.log~", "a.log.old", "2026-11-28.a.log"]),
        (
            "current",
            [
                "@4000000069297af12a1b2c3d.s",
                "@4000000069297af22a1b2c3d.u",
                "@4000000069297af32a1b2c3d.s",
            ],
        ),
        ("0.log", ["0.log.20261126-101500", "0.log.20261127-101500", "0.log.20261128-101500"]),
    ];
    for (log, names) in cases {
        let away = Away::from(log).await;
        for (file, name) in names.iter().enumerate() {
            away.rename(name);
            make_room().await;
            let mut next = if names.contains(&"a.log~") {
                // The names say nothing about which of them was first.
                make_later(&away.path, &away.path.with_file_name(name))
            } else {
                File::create_new(&away.path).unwrap()
            };
            next.write_all(lines(&format!("file {}", file + 1)).as_bytes()).unwrap();
        }
        let (told, files) = away.come_back("file 3").await;
        assert_eq!(files, ["file 1", "file 2", "file 3"], "{names:?}: {told:?}");
        assert_eq!(told, told_of(3), "{names:?}");
    }
}

#[tokio::test]
async fn files_to_which_a_link_led_meanwhile_are_sent() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().canonicalize().unwrap().join("current.log");
    let (day, aside) = (
        |day: u32| path.with_file_name(format!("a-2026-11-2{day}.log")),
        path.with_extension("new"),
    );
    let lead_to = |day: &Path| {
        std::os::unix::fs::symlink(day, &aside).unwrap();
        std::fs::rename(&aside, &path).unwrap();
    };
    lead_to(&day(5));
    let away = Away::served(directory, path.clone()).await;
    for file in 1..=3 {
        make_room().await;
        append(day(5 + file), lines(&format!("file {file}")));
        lead_to(&day(5 + file));
    }
    append(path.with_file_name("b-2026-11-26.log"), "of another series\n");
    let (told, files) = away.come_back("file 3").await;
    assert_eq!(files, ["file 1", "file 2", "file 3"], "{told:?}");
    assert_eq!(told, told_of(3));
}

#[tokio::test]
async fn a_file_that_can_not_be_found_or_read_is_a_gap() {
    let beyond = TempDir::new().unwrap();
    for what in ["removed", "moved out", "called something"] {
        let away = Away::from("a.log").await;
        away.rename("a.log.1");
        make_room().await;
        append(&away.path, lines("missing"));
        match what {
            "removed" => std::fs::remove_file(&away.path).unwrap(),
            "moved out" => {
                let to = beyond.path().join("a.log.2");
                std::fs::copy(&away.path, &to).unwrap();
                std::fs::remove_file(&away.path).unwrap();
            }
            _ => away.rename("incident-4711.txt"),
        }
        append(&away.path, lines("file 2"));
        let (told, files) = away.come_back("file 2").await;
        assert_eq!(files, ["file 2"], "{what}: {told:?}");
        assert_eq!(told, told_of(1), "{what}");
    }
}

#[tokio::test]
async fn a_file_that_was_compressed_meanwhile_is_sent() {
    for name in ["a.log.0.gz", "a.log.0"] {
        let away = Away::from("a.log").await;
        away.rename("a.log.1");
        make_room().await;
        append(&away.path, lines("file 1"));
        std::fs::remove_file(&away.path).unwrap();
        let archive = crate::archives::gzipped(lines("file 1").as_bytes());
        std::fs::write(away.path.with_file_name(name), archive).unwrap();
        append(&away.path, lines("file 2"));
        let (told, files) = away.come_back("file 2").await;
        assert_eq!(files, ["file 1", "file 2"], "{name}: {told:?}");
        assert_eq!(told, told_of(2), "{name}");
    }
}

/// Makes the next file under the log's name, a tick at most after the one before was renamed.
fn rotate_at_once(log: &Path, aside: &Path) {
    loop {
        std::fs::rename(log, aside).unwrap();
        std::fs::write(log, lines("file 1")).unwrap();
        let (old, new) = (aside.metadata().unwrap(), log.metadata().unwrap());
        let changed = Duration::new(old.ctime() as u64, old.ctime_nsec() as u32);
        let born = new.created().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        if changed.abs_diff(born) <= AT_ONCE {
            return;
        }
        std::fs::remove_file(log).unwrap();
        std::fs::rename(aside, log).unwrap();
    }
}

#[tokio::test]
async fn a_gap_is_told_unless_the_times_of_two_files_leave_no_room_for_another() {
    let born = |path: &Path| path.metadata().unwrap().created().unwrap();
    // Renamed once, renamed again, and a second before the next file was made.
    let (once, again, before) =
        tokio::join!(Away::from("a.log"), Away::from("a.log"), Away::from("a.log"));
    for away in [&once, &again, &before] {
        while born(&away.path).elapsed().unwrap() < LIFE_MIN + SEVERAL_TICKS {
            pace(SEVERAL_TICKS).await;
        }
    }
    let aside = |away: &Away, name: &str| away.path.with_file_name(name);
    rotate_at_once(&once.path, &aside(&once, "a.log.1"));
    rotate_at_once(&again.path, &aside(&again, "a.log.2"));
    before.rename("a.log.1");
    make_room().await;
    append(&before.path, lines("file 1"));
    for (what, away, has_gap) in
        [("once", once, false), ("again", again, true), ("before", before, true)]
    {
        let (mut told, files) = away.come_back("file 1").await;
        assert_eq!(files, ["file 1"], "{what}: {told:?}");
        let gaps = told.extract_if(.., |told| told.starts_with("gap")).count();
        assert_eq!(
            (gaps, told.as_slice()),
            (usize::from(has_gap), &["open true".to_owned(), "reset rotated 0".to_owned()][..]),
            "{what}"
        );
    }
}

#[tokio::test]
async fn old_files_are_looked_for_only_inside_the_prefixes() {
    let directory = TempDir::new().unwrap();
    let top = directory.path().canonicalize().unwrap();
    let (served, outside) = (top.join("served"), top.join("outside"));
    std::fs::create_dir_all(&served).unwrap();
    let path = served.join("a.log");
    append(&path, lines("file 0"));
    let server = server_over(&served).await;
    let mut reader = Reader::open(&server, &target(&path), "&lines=all").await;
    reader.read_until(b"file 0 99\n").await;
    let at = reader.at.clone();
    drop(reader);
    server.stop().await.unwrap();
    std::fs::rename(&path, served.join("a.log.3")).unwrap();
    make_room().await;
    // Beside the prefix; behind a link to a directory; behind a link to a file.
    for directory in [top.join("old"), outside.clone(), served.join("archive")] {
        std::fs::create_dir_all(&directory).unwrap();
    }
    append(top.join("old/a.log.2"), lines("secret 1"));
    append(outside.join("a.log.1"), lines("secret 2"));
    std::os::unix::fs::symlink(&outside, served.join("old")).unwrap();
    std::os::unix::fs::symlink(outside.join("a.log.1"), served.join("archive/a.log.1")).unwrap();
    append(&path, lines("file 1"));
    let server = server_over(&served).await;
    let mut again = Reader::resume(&server, &target(&path), &at).await;
    again.read_until(b"file 1 99\n").await;
    assert_eq!(files_in(&again.bytes), ["file 1"]);
    assert_eq!(again.heads(), told_of(1));
}

#[tokio::test]
async fn logs_of_their_own_are_never_taken_for_old_files() {
    let away = Away::from("app/a.log").await;
    away.rename("a.log.1");
    make_room().await;
    let beside = |name: &str| away.path.with_file_name(name);
    for name in ["b.log.1", "a.log.err", "a-worker.log", "a.txt"] {
        append(beside(name), lines("of another"));
    }
    // The old files of a log of the same name in the directory above.
    let above = away.path.parent().unwrap().with_file_name("a.log");
    std::fs::create_dir_all(above.with_file_name("old")).unwrap();
    append(above.with_file_name("old/a.log.1"), lines("of another"));
    append(&above, lines("of another"));
    append(&away.path, lines("file 1"));
    let (told, files) = away.come_back("file 1").await;
    assert_eq!(files, ["file 1"], "{told:?}");
    assert_eq!(told, told_of(1));
}
