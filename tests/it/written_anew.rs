//! A log that is written anew to another file, which then gets its name, as `rsync`, `sed -i`,
//! `git checkout` and editors do: where it begins with the bytes that were sent, it goes on.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::checked_viewer::{CheckedViewer, Mode, in_both_modes};
use crate::clients::get;
use crate::reader::{Position, Reader, lines};
use crate::servers::{TestServer, append, eventually, not_run, output_of, put};

in_both_modes! {
    a_log_that_rsync_copies_after_each_line_is_sent_line_by_line,
    a_replacement_that_adds_to_the_end_goes_on,
    a_replacement_that_differs_or_is_shorter_is_sent_whole,
    writes_to_a_file_that_was_written_anew_are_sent_as_late,
    a_file_that_is_kept_was_rotated_whatever_the_next_one_begins_with,
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = output_of(Command::new(program).args(arguments).current_dir(directory));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Whether a program is installed. `tests/run` installs what is not, or says so in the end.
fn has(program: &str, test: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        not_run(test, &format!("`{program}` is not installed"));
    }
    is_there
}

/// How many bytes of the log a viewer received.
fn received(viewer: &CheckedViewer) -> usize {
    viewer.segments.iter().flat_map(|segment| &segment.messages).sum()
}

/// The rows of the generation that the viewer was told first.
async fn rows_of(server: &TestServer, log: &str, viewer: &CheckedViewer) -> (u16, String) {
    let generation = &viewer.segments[0].generation;
    let target = format!("/_/rows{log}?generation={generation}&from=0&count=1&format=text");
    let answer = get(server.address, &target, &[]).await;
    (answer.status, answer.text().to_owned())
}

async fn a_log_that_rsync_copies_after_each_line_is_sent_line_by_line(mode: Mode) {
    if !has("rsync", "a_log_that_rsync_copies_after_each_line_is_sent_line_by_line") {
        return;
    }
    let syncs = if mode == Mode::Events { 20 } else { 3 };
    let server = mode.server().await;
    let source = TempDir::new().unwrap();
    let from = source.path().join("a.log");
    let to = format!("{}/", server.directory.path().display());
    let sync = || run("rsync", &["-a", "a.log", &to], source.path());
    // Several pieces of a comparison.
    let mut content = "a line that has been there for long\n".repeat(1 << 18);
    append(&from, &content);
    sync();
    let log = crate::servers::target(&server.path("a.log"));
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until_length(content.len()).await;
    for sync_number in 0..syncs {
        let line = format!("line {sync_number}\n");
        append(&from, &line);
        sync();
        viewer.read_until(&line).await;
        content += &line;
    }
    assert_eq!(received(&viewer), content.len());
    viewer.assert_events(&[("open", 0, &content)]);
    let (status, rows) = rows_of(&server, &log, &viewer).await;
    assert!(status == 200 && rows.contains("been there for long"), "{status} {rows}");
    // Those who come now get all of it, and follow the same generation.
    let again = CheckedViewer::from_end(&server, &log).await;
    assert_eq!(again.segments[0].generation, viewer.segments[0].generation);
}

async fn a_replacement_that_adds_to_the_end_goes_on(mode: Mode) {
    let test = "a_replacement_that_adds_to_the_end_goes_on";
    let server = mode.server().await;
    let has_git = has("git", test);
    let old = lines("old");
    for (what, is_there) in
        [("rename", true), ("sed", true), ("backup", true), ("kept backup", true), ("git", has_git)]
    {
        if !is_there {
            continue;
        }
        let directory = server.path(&what.replace(' ', "-"));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("a.log");
        append(&path, &old);
        let git = |arguments: &[&str]| {
            let own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
            run("git", &[&own, arguments].concat(), &directory);
        };
        if what == "git" {
            git(&["init", "--quiet"]);
            git(&["add", "a.log"]);
            git(&["commit", "--quiet", "-m", "old"]);
            append(&path, "new\n");
            git(&["commit", "--quiet", "-a", "-m", "new"]);
            git(&["checkout", "--quiet", "HEAD~"]);
        }
        let log = crate::servers::target(&path);
        let mut viewer = CheckedViewer::from_start(&server, &log).await;
        viewer.read_until(&old).await;
        let (new, backup) = (format!("{old}new\n"), directory.join("a.log~"));
        match what {
            "rename" => put(&path, &new),
            "sed" => run("sed", &["-i", "$a new", "a.log"], &directory),
            "git" => git(&["checkout", "--quiet", "-"]),
            _ => {
                std::fs::rename(&path, &backup).unwrap();
                append(&path, &new);
                if what == "backup" {
                    std::fs::remove_file(&backup).unwrap();
                }
            }
        }
        viewer.read_until("new\n").await;
        append(&path, "and on\n");
        viewer.read_until("and on\n").await;
        assert_eq!(viewer.events(), [("open", 0, format!("{old}new\nand on\n"))], "{what}");
        assert_eq!(rows_of(&server, &log, &viewer).await.0, 200, "{what}");
    }
}

async fn a_replacement_that_differs_or_is_shorter_is_sent_whole(mode: Mode) {
    let server = mode.server().await;
    let old = "a line that is there\n".repeat(50_000);
    let differs_at = |at: usize| {
        let mut bytes = old.clone().into_bytes();
        bytes[at] = b'X';
        [bytes, b"new\n".to_vec()].concat()
    };
    let mut viewers = Vec::new();
    for (number, new) in [
        differs_at(0),
        differs_at(300),
        differs_at(old.len() / 2),
        differs_at(old.len() - 1000),
        differs_at(old.len() - 2),
        old.as_bytes()[..old.len() - 21].to_vec(),
        b"new\n".to_vec(),
    ]
    .into_iter()
    .enumerate()
    {
        // Once the last line has come, so has the event of the file itself.
        let (most, last) = old.split_at(old.len() - 21);
        let log = server.log(&format!("{number}.log"), most);
        let mut viewer = CheckedViewer::from_start(&server, &log).await;
        viewer.read_until_length(most.len()).await;
        append(&log, last);
        viewer.read_until_length(old.len()).await;
        put(&log, &new);
        viewers.push((viewer, new));
    }
    for (number, (viewer, new)) in viewers.iter_mut().enumerate() {
        viewer.read_until_length(old.len() + new.len()).await;
        let told: Vec<_> = viewer.segments.iter().map(|segment| segment.event.as_str()).collect();
        assert_eq!(told, ["open", "replaced"], "{number}");
        assert_eq!(viewer.segments[1].bytes, *new, "{number}");
    }
}

async fn writes_to_a_file_that_was_written_anew_are_sent_as_late(mode: Mode) {
    let server = mode.server().await;
    let old = lines("old");
    let log = server.log("a.log", &old);
    let mut writer = File::options().append(true).open(&log).unwrap();
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until(&old).await;
    put(&log, format!("{old}new\n"));
    viewer.read_until("new\n").await;
    writer.write_all(b"late\n").unwrap();
    viewer.read_until("late\n").await;
    viewer.read_until_event("back").await;
    append(&log, "and on\n");
    viewer.read_until("and on\n").await;
    let end = old.len() as u64;
    viewer.assert_events(&[
        ("open", 0, &format!("{old}new\n")),
        ("late", end, "late\n"),
        ("back", end + 4, "and on\n"),
    ]);
    let generations: Vec<_> = viewer.segments.iter().map(|segment| &segment.generation).collect();
    assert_eq!(generations[0], generations[2]);
    assert_ne!(generations[0], generations[1], "the same offsets have other bytes");
    // Written by the same writer when the next replacement has come already.
    put(&log, format!("{old}new\nand on\nnext\n"));
    viewer.read_until("next\n").await;
    writer.write_all(b"later\n").unwrap();
    viewer.read_until("later\n").await;
}

async fn a_file_that_is_kept_was_rotated_whatever_the_next_one_begins_with(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "a banner\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("banner\n").await;
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(&log, "a banner\nnew\n");
    viewer.read_until("new\n").await;
    viewer.assert_events(&[("open", 0, "a banner\n"), ("rotated", 0, "a banner\nnew\n")]);
}

#[tokio::test]
async fn a_replacement_that_is_too_long_to_be_compared_is_sent_as_another_file() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "first\n");
    let size = (256 << 20) + 1;
    let write = |path: &Path| {
        // It takes no space on the disk.
        let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
        file.write_all_at(b"first\n", 0).unwrap();
        file.write_all_at(b"last\n", size).unwrap();
    };
    write(Path::new(&log));
    let mut viewer = CheckedViewer::from_end(&server, &log).await;
    assert_eq!(viewer.segments[0].from, size + 5);
    let next = server.path("next");
    write(&next);
    append(&next, "new\n");
    std::fs::rename(&next, &log).unwrap();
    viewer.read_until("new\n").await;
    assert!(viewer.has_event("replaced"), "{:?}", viewer.events());
}

#[tokio::test]
async fn a_position_in_a_log_that_was_written_anew_is_honoured_later() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines("old"));
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    put(&log, lines("old") + "new\n");
    reader.read_until(b"new\n").await;
    let at = reader.at.clone();
    // Nobody follows it for a while.
    drop(reader);
    eventually("the follower ends", async || match server.health().await["logs"].as_u64() {
        Some(0) => Ok(()),
        other => Err(other),
    })
    .await;
    append(&log, "meanwhile\n");
    let mut again = Reader::resume(&server, &log, &at).await;
    again.read_until(b"meanwhile\n").await;
    assert_eq!(
        (again.heads(), again.bytes.as_slice()),
        (vec!["open true".to_owned()], &b"meanwhile\n"[..])
    );
    // It is rotated away, with more files than are held.
    for file in 1..=6 {
        std::fs::rename(&log, server.path(&format!("a.log.{file}"))).unwrap();
        let content = lines(&format!("file {file}"));
        append(&log, &content);
        again.read_until(format!("file {file} 99\n").as_bytes()).await;
    }
    let half = Position { next: at.next - 4, ..at };
    let mut third = Reader::resume(&server, &log, &half).await;
    third.read_until(b"file 6 99\n").await;
    assert_eq!(third.heads()[..2], ["open true", "reset rotated 0"], "{:?}", third.heads());
    assert!(third.bytes.starts_with(b"new\nmeanwhile\nfile 1 0\n"));
}
