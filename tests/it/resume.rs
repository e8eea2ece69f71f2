//! Resuming with a position: at the byte, or with an announced loss of the position.

use std::fs::File;
use std::io::Write;

use tempfile::TempDir;

use crate::clients::Viewer;
use crate::reader::{Position, Reader, lines, make_later, server_over};
use crate::servers::{DEADLINE, Program, TestServer, append, eventually, put, target};

#[tokio::test]
async fn a_file_that_was_rotated_while_the_server_was_down_is_finished_first() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, lines("old"));
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    server.stop().await.unwrap();
    append(&path, "the last of the old\n");
    std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    append(&path, lines("new"));

    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"new 99\n").await;
    assert_eq!(again.heads(), ["open true", "reset rotated 0"]);
    let expected = format!("the last of the old\n{}", lines("new"));
    assert_eq!(String::from_utf8_lossy(&again.bytes), expected);
    append(&path, "live\n");
    again.read_until(b"live\n").await;
    // The same for rows, and for a viewer that does not follow.
    let query = format!("?from={}&generation={}", reader.at.next, reader.at.generation);
    let mut rows = Viewer::v1(server.address, &format!("{log}{query}&format=text")).await;
    assert_eq!(rows.expect("open").await["recovered"], true);
    assert_eq!(rows.expect("rows").await["rows"][0][1], "the last of the old");
    assert_eq!(rows.expect("reset").await["reason"], "rotated");
    assert_eq!(rows.expect("rows").await["rows"][0][1], "new 0");
    // Without the rotated file the position is not recovered.
    std::fs::remove_file(directory.path().join("a.log.1")).unwrap();
    drop((again, rows));
    eventually("the readers leave", async || match server.viewers().await {
        0 => Ok(()),
        some => Err(some),
    })
    .await;
    let mut third = Reader::resume(&server, &log, &reader.at).await;
    third.read_until(b"live\n").await;
    assert_eq!(third.heads(), ["open false", "reset replaced 0"]);
}

#[tokio::test]
async fn files_created_and_rotated_while_the_server_was_down_are_sent_in_order() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let aside = |number: u32| directory.path().join(format!("a.log.{number}"));
    let log = target(&path);
    append(&path, lines("file 0"));
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"file 0 99\n").await;
    server.stop().await.unwrap();
    let mut expected = String::new();
    for file in 1..=6 {
        // Like logrotate: each file gets the next number.
        for number in (1..file).rev() {
            std::fs::rename(aside(number), aside(number + 1)).unwrap();
        }
        std::fs::rename(&path, aside(1)).unwrap();
        let content = lines(&format!("file {file}"));
        make_later(&path, &aside(1)).write_all(content.as_bytes()).unwrap();
        expected += &content;
    }
    // These two files never had the log's name.
    std::fs::write(directory.path().join("b.log"), "of another log\n").unwrap();
    std::fs::write(directory.path().join("a.log.2.gz"), "of another kind\n").unwrap();

    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"file 6 99\n").await;
    // These rotations came so fast that gaps may say that more files had the name.
    let resets: Vec<_> = again.told.iter().filter(|told| told["type"] != "gap").collect();
    let kinds: Vec<_> = resets.iter().map(|told| told["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["open", "reset", "reset", "reset", "reset", "reset", "reset"]);
    assert_eq!(String::from_utf8_lossy(&again.bytes), expected);
    // From the middle of one that was found so.
    let fourth = &resets[4]["generation"];
    let at = Position { generation: fourth.as_str().unwrap().to_owned(), next: 9 };
    let mut third = Reader::resume(&server, &log, &at).await;
    third.read_until(b"file 6 99\n").await;
    let at = expected.find("file 4 1\n").unwrap();
    assert_eq!(String::from_utf8_lossy(&third.bytes), expected[at..]);
}

#[tokio::test]
async fn a_file_that_was_empty_when_it_was_opened_is_not_missed_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, "");
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    while reader.told.is_empty() {
        reader.read_message().await;
    }
    server.stop().await.unwrap();
    append(&path, lines("old"));
    let aside = directory.path().join("a.log.1");
    std::fs::rename(&path, &aside).unwrap();
    make_later(&path, &aside).write_all(b"new\n").unwrap();

    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"new\n").await;
    assert_eq!(again.heads(), ["open false", "reset replaced 0", "reset rotated 0"]);
    assert_eq!(String::from_utf8_lossy(&again.bytes), lines("old") + "new\n");
}

#[tokio::test]
async fn late_writes_over_a_rotation_and_a_restart_are_sent() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, lines("old"));
    let mut late = File::options().append(true).open(&path).unwrap();
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    server.stop().await.unwrap();
    let aside = directory.path().join("a.log.1");
    std::fs::rename(&path, &aside).unwrap();
    make_later(&path, &aside).write_all(b"new\n").unwrap();

    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"new\n").await;
    late.write_all(b"late\n").unwrap();
    again.read_until(b"late\n").await;
    append(&path, "and on\n");
    again.read_until(b"and on\n").await;
    let end = lines("old").len();
    let heads = ["open true", "reset rotated 0", &format!("reset late {end}"), "reset back 4"];
    assert_eq!(again.heads(), heads);
    assert_eq!(String::from_utf8_lossy(&again.bytes), "new\nlate\nand on\n");
    // A viewer that resumes later gets the late bytes in the same place.
    let mut third = Reader::resume(&server, &log, &reader.at).await;
    third.read_until(b"and on\n").await;
    assert_eq!(third.heads(), again.heads());
    assert_eq!(third.bytes, again.bytes);
}

/// A log that was rotated while a writer still has the old file open. The server was killed after
/// its viewer had received `new`, and before any late byte.
struct Killed {
    directory: TempDir,
    log: String,
    late: File,
    at: Position,
    before: Position,
}

impl Killed {
    async fn after_a_rotation() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.log");
        let log = target(&path);
        append(&path, lines("old"));
        let late = File::options().append(true).open(&path).unwrap();
        let mut program = Self::serve(&directory);
        let mut reader = Reader::of(program.address, &log, "&lines=all").await;
        reader.read_until(b"old 99\n").await;
        let before = reader.at.clone();
        std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
        // In one step, because the generation of an empty file would prove nothing to the next
        // server.
        put(&path, lines("new"));
        reader.read_until(b"new 99\n").await;
        assert_eq!(reader.heads(), ["open true", "reset rotated 0"]);
        program.signal(rustix::process::Signal::KILL);
        program.wait().await;
        Self { directory, log, late, at: reader.at, before }
    }

    fn serve(directory: &TempDir) -> Program {
        let rotate_wait = DEADLINE.as_secs().to_string();
        Program::serve(&["--rotate-wait", &rotate_wait, directory.path().to_str().unwrap()])
    }
}

#[tokio::test]
async fn late_bytes_that_a_killed_server_did_not_send_are_sent_by_the_next() {
    let Killed { directory, log, late: mut writer, at, before } = Killed::after_a_rotation().await;
    writer.write_all(b"late 1\n").unwrap();
    let program = Killed::serve(&directory);
    let (log, at, before) = (&log, &at, &before);
    let mut again = Reader::resume_late(program.address, log, at, before).await;
    let late = format!("reset late {}", before.next);
    let back = format!("reset back {}", at.next);
    again.read_until_event(&back).await;
    assert_eq!(again.heads(), ["open true", &late, &back]);
    assert_eq!(String::from_utf8_lossy(&again.bytes), "late 1\n");
    // The new server also follows the rotated file and the log.
    writer.write_all(b"late 2\n").unwrap();
    again.read_until(b"late 2\n").await;
    append(directory.path().join("a.log"), "and on\n");
    again.read_until(b"and on\n").await;
    assert_eq!(String::from_utf8_lossy(&again.bytes), "late 1\nlate 2\nand on\n");
    // A viewer that has already received a part of the late bytes gets the rest.
    let half = Position { next: before.next + 3, ..before.clone() };
    let mut third = Reader::resume_late(program.address, log, at, &half).await;
    third.read_until(b"and on\n").await;
    assert_eq!(String::from_utf8_lossy(&third.bytes), "e 1\nlate 2\nand on\n");
    // The same for rows. A viewer that sends no position in the rotated file gets only late bytes
    // that were written since.
    let query = format!("?from={}&generation={}", at.next, at.generation);
    let late = format!("&late={}:{}", before.generation, before.next);
    let mut rows = Viewer::v1(program.address, &format!("{log}{query}{late}&format=text")).await;
    assert_eq!(rows.expect("open").await["recovered"], true);
    assert_eq!(rows.expect("reset").await["reason"], "late");
    assert_eq!(rows.expect("rows").await["rows"][0][1], "late 1");
    assert_eq!(rows.expect("reset").await["reason"], "back");
    let mut silent = Reader::of(program.address, log, &query.replace('?', "&")).await;
    silent.read_until(b"and on\n").await;
    assert_eq!(String::from_utf8_lossy(&silent.bytes), "late 2\nand on\n");
}

#[tokio::test]
async fn late_bytes_are_sent_even_if_the_present_file_was_empty_and_is_not_recognised() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, lines("old"));
    let mut late = File::options().append(true).open(&path).unwrap();
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    let before = reader.at.clone();
    std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    append(&path, "");
    reader.read_until_event("reset rotated 0").await;
    server.stop().await.unwrap();
    late.write_all(b"late\n").unwrap();
    append(&path, "new\n");
    let server = server_over(directory.path()).await;
    let mut again = Reader::resume_late(server.address, &log, &reader.at, &before).await;
    again.read_until(b"new\n").await;
    let late = format!("reset late {}", before.next);
    assert_eq!(again.heads(), ["open false", "reset replaced 0", &late, "reset back 0"]);
    assert_eq!(String::from_utf8_lossy(&again.bytes), "late\nnew\n");
}

#[tokio::test]
async fn the_unread_rest_of_a_missing_rotated_file_is_a_gap() {
    let mut killed = Killed::after_a_rotation().await;
    killed.late.write_all(b"late\n").unwrap();
    std::fs::remove_file(killed.directory.path().join("a.log.1")).unwrap();
    let program = Killed::serve(&killed.directory);
    let Killed { directory, log, at, before, .. } = &killed;
    let back = format!("reset back {}", at.next);
    let unknown = Position { generation: "of:another:making".to_owned(), next: 5 };
    for (late, gap) in [(before, before.next), (&unknown, at.next)] {
        let mut again = Reader::resume_late(program.address, log, at, late).await;
        again.read_until_event(&back).await;
        assert_eq!(again.heads(), ["open true", &format!("gap {gap} null"), &back]);
        let line = format!("on with {gap}\n");
        append(directory.path().join("a.log"), &line);
        again.read_until(line.as_bytes()).await;
        assert!(again.heads().len() == 3, "{:?}", again.told);
    }
}

#[tokio::test]
async fn late_bytes_written_while_a_viewer_was_away_are_sent_once() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines("old"));
    let mut late = File::options().append(true).open(&log).unwrap();
    let mut other = Reader::open(&server, &log, "&lines=all").await;
    other.read_until(b"old 99\n").await;
    let before = other.at.clone();
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(&log, "new\n");
    other.read_until(b"new\n").await;
    let at = other.at.clone();
    late.write_all(b"late\n").unwrap();
    other.read_until(b"late\n").await;
    other.read_until_event("reset back 4").await;
    let after = Position { next: before.next + 5, ..before.clone() };
    append(&log, "and on\n");
    other.read_until(b"and on\n").await;
    let further = other.at.clone();
    let half = Position { next: before.next + 2, ..before.clone() };
    // The position, the position in the rotated file, and the expected bytes.
    let cases = [
        (&at, &before, "late\nand on\nlast\n"),
        (&at, &half, "te\nand on\nlast\n"),
        (&at, &after, "and on\nlast\n"),
        (&further, &before, "late\nlast\n"),
        (&further, &after, "last\n"),
    ];
    let mut readers = Vec::new();
    for (at, late, expected) in cases {
        let reader = Reader::resume_late(server.address, &log, at, late).await;
        readers.push((reader, expected));
    }
    append(&log, "last\n");
    for (mut reader, expected) in readers {
        reader.read_until(b"last\n").await;
        assert_eq!(String::from_utf8_lossy(&reader.bytes), expected, "{:#?}", reader.told);
    }
}

#[tokio::test]
async fn a_new_file_with_the_old_inode_number_is_not_resumed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, lines("old"));
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    server.stop().await.unwrap();
    let aside = directory.path().join("a.log.1");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&aside, lines("something else that is longer")).unwrap();
    append(&path, lines("new"));
    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"new 99\n").await;
    assert_eq!(again.heads(), ["open false", "reset replaced 0"]);
    assert_eq!(String::from_utf8_lossy(&again.bytes), lines("new"));
}

#[tokio::test]
async fn a_file_that_was_rotated_while_nobody_followed_is_finished_first() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines("old"));
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"old 99\n").await;
    let at = reader.at.clone();
    drop(reader);
    eventually("the follower ends", async || match server.health().await["logs"].as_u64() {
        Some(0) => Ok(()),
        other => Err(other),
    })
    .await;
    append(&log, "the last of the old\n");
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(&log, lines("new"));
    let mut again = Reader::resume(&server, &log, &at).await;
    again.read_until(b"new 99\n").await;
    assert_eq!(again.heads(), ["open true", "reset rotated 0"]);
    assert!(again.bytes.starts_with(b"the last of the old\nnew 0\n"));
}

#[tokio::test]
async fn more_rotations_than_files_are_held_lose_nothing_while_the_files_are_there() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines("file 0"));
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"file 0 99\n").await;
    let at = reader.at.clone();
    drop(reader);
    let mut other = Reader::open(&server, &log, "&lines=all").await;
    other.read_until(b"file 0 99\n").await;
    let mut expected = Vec::new();
    for file in 1..=8 {
        std::fs::rename(&log, server.path(&format!("a.log.{file}"))).unwrap();
        let content = lines(&format!("file {file}"));
        append(&log, &content);
        expected.extend_from_slice(content.as_bytes());
        other.read_until(format!("file {file} 99\n").as_bytes()).await;
    }
    let mut again = Reader::resume(&server, &log, &at).await;
    again.read_until(b"file 8 99\n").await;
    let mut heads = vec!["open true"];
    heads.extend(["reset rotated 0"; 8]);
    assert_eq!(again.heads(), heads);
    assert_eq!(again.bytes, expected);
}

#[tokio::test]
async fn a_short_log_is_recognised_after_a_restart_up_to_the_signed_length() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, "a few bytes\n");
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(b"bytes\n").await;
    server.stop().await.unwrap();
    append(&path, "and more\n");
    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &reader.at).await;
    again.read_until(b"more\n").await;
    assert_eq!(again.heads(), ["open true"]);
    assert_eq!(again.bytes, b"and more\n");
    server.stop().await.unwrap();
    // Truncated and filled with other bytes: the position is never continued.
    std::fs::write(&path, "other bytes\nthat are longer than before\n").unwrap();
    let server = server_over(directory.path()).await;
    let mut third = Reader::resume(&server, &log, &reader.at).await;
    third.read_until(b"before\n").await;
    assert_eq!(third.heads(), ["open false", "reset replaced 0"]);
}

#[tokio::test]
async fn a_short_log_is_recognised_after_a_restart_by_its_signature() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.log");
    let log = target(&path);
    append(&path, "");
    let server = server_over(directory.path()).await;
    let mut reader = Reader::open(&server, &log, "&lines=all&signed=1").await;
    let mut plain = Reader::open(&server, &log, "&lines=all").await;
    for line in 0..40 {
        let line = format!("line {line}\n");
        append(&path, &line);
        reader.read_until(line.as_bytes()).await;
    }
    plain.read_until(b"line 39\n").await;
    assert_eq!(plain.heads(), ["open true"], "`signed` is sent only on request");
    // The message with the new signature follows the bytes that it covers.
    append(&path, "last\n");
    reader.read_until(b"last\n").await;
    let at = reader.at.clone();
    assert!(reader.heads().iter().skip(1).all(|head| head == "signed"), "{:?}", reader.heads());
    server.stop().await.unwrap();
    append(&path, "after\n");
    let server = server_over(directory.path()).await;
    let mut again = Reader::resume(&server, &log, &at).await;
    again.read_until(b"after\n").await;
    assert_eq!((again.heads(), again.bytes), (vec!["open true".to_owned()], b"after\n".to_vec()));
}
