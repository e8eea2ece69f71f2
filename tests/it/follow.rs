//! Following a growing file: from the first byte of a line on, by any of its names, with any number
//! of writers.
//!
//! Rotations, truncations and changes without events have their own modules.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tailcast::log::Access;
use tailcast::serve::Settings;
use tokio_tungstenite::tungstenite::Message;

use crate::checked_viewer::{CheckedViewer, Mode, PROMPT, Writer, in_both_modes};
use crate::clients::{Rows, Viewer, get};
use crate::servers::{Program, TestServer, append, eventually, not_run, pace, pace_blocking};

/// The number of system calls in one poll of a log that cannot be read.
#[cfg(feature = "faults")]
const CALLS_PER_POLL: u64 = 1;

in_both_modes! {
    a_part_of_a_line_is_sent_at_once,
    a_plain_viewer_gets_the_rest_of_a_row_when_it_is_final,
    a_viewer_that_joins_while_lines_are_written_misses_and_repeats_nothing,
    a_viewer_that_joins_while_the_file_is_replaced_ends_on_the_new_one,
    a_new_log_is_sent_once,
    a_link_into_another_directory_is_followed_by_its_events,
    a_link_with_a_new_target_is_followed,
    two_logs_written_alternately_are_each_in_order,
    a_busy_log_does_not_delay_a_quiet_one,
    a_log_that_becomes_unreadable_is_still_followed,
    an_append_only_log_is_followed,
    a_read_only_mount_is_followed,
    files_of_proc_and_sys_are_refused,
}

async fn viewer_of(server: &TestServer, log: &str) -> Viewer {
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0")).await;
    viewer.expect("open").await;
    viewer
}

/// The reasons of the resets and the rows, up to a row with this text.
async fn until_row(viewer: &mut Viewer, wanted: &str) -> (Vec<String>, Vec<String>) {
    let (mut resets, mut texts, mut rows) = (Vec::new(), Vec::new(), Rows::default());
    loop {
        let message = viewer.json().await;
        match message["type"].as_str().unwrap() {
            "reset" => {
                resets.push(message["reason"].as_str().unwrap().to_owned());
                texts.extend(rows.texts().into_iter().map(str::to_owned));
                rows = Rows::default();
            }
            "rows" => rows.apply(&message),
            "waiting" => resets.push(format!("waiting: {}", message["reason"].as_str().unwrap())),
            other => panic!("{other}: {message}"),
        }
        if rows.texts().last() == Some(&wanted) {
            texts.extend(rows.texts().into_iter().map(str::to_owned));
            return (texts, resets);
        }
    }
}

fn rename(from: &str, to: impl AsRef<Path>) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn fifty_instant_rotations_lose_nothing() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "before\n");
    let mut viewer = viewer_of(&server, &log).await;
    let mut plain = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(plain.text().await, "before\n");
    for round in 0..50 {
        append(&log, format!("last of {round}\n"));
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, format!("first after {round}\n"));
    }
    append(&log, "end\n");
    let (texts, resets) = until_row(&mut viewer, "end").await;
    assert!(
        resets.iter().all(|reason| reason == "rotated" || reason == "late" || reason == "back"),
        "{resets:?}"
    );
    // Events report the new name of each file, so no file is missed, however briefly it had the
    // log's name.
    let mut expected = Vec::new();
    for round in 0..50 {
        expected.extend([format!("last of {round}"), format!("first after {round}")]);
    }
    expected.push("end".to_owned());
    assert_eq!(texts, expected, "{resets:?}");
    let all = expected.join("\n") + "\n";
    assert_eq!(plain.text_until("end\n").await, all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_joins_after_a_burst_gets_all_of_it() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    let _watching = viewer_of(&server, &log).await;
    let block = "x".repeat((1 << 20) - 1) + "\n";
    for _ in 0..100 {
        append(&log, &block);
    }
    // The follower has not published all of it yet, but the file contains it.
    let answer = get(server.address, &format!("{log}?lines=all&format=raw"), &[]).await;
    assert_eq!(answer.body.len(), "start\n".len() + 100 * block.len());
    let last = get(server.address, &format!("{log}?lines=1&format=raw"), &[]).await;
    assert_eq!(last.body.len(), block.len());
}

#[tokio::test]
async fn a_viewer_behind_in_a_rotated_file_that_is_truncated_gets_a_gap() {
    let settings = Settings { rotate_wait: Duration::ZERO, ..Settings::default() };
    let server = TestServer::with(settings).await;
    let path = server.path("a.log");
    std::fs::write(&path, vec![b'x'; 30 << 20]).unwrap();
    let log = path.to_str().unwrap();
    let mut viewer =
        Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
    viewer.expect("open").await;
    let old = server.path("a.log.1");
    rename(log, &old);
    append(log, "new\n");
    let mut other = viewer_of(&server, log).await;
    // The first line is read after the rotation. When the second one is read, the old file is
    // closed.
    for line in ["more", "yet more"] {
        append(log, format!("{line}\n"));
        until_row(&mut other, line).await;
    }
    std::fs::File::options().write(true).open(&old).unwrap().set_len(0).unwrap();
    // The bytes in the sockets still arrive. Then a gap replaces the rest, and the new file is
    // sent.
    let mut gap = None;
    loop {
        match viewer.next().await.unwrap() {
            Message::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "gap" => gap = message["to"].as_u64(),
                    "reset" => break assert_eq!(message["reason"], "rotated"),
                    other => panic!("{other}"),
                }
            }
            data => assert!(data.len() > 8 && gap.is_none()),
        }
    }
    assert_eq!(gap, Some(30 << 20));
    assert_eq!(&viewer.next().await.unwrap().into_data()[8..], b"new\nmore\nyet more\n");
}

#[tokio::test]
async fn a_position_truncated_away_while_nobody_followed_is_not_recovered() {
    let server = TestServer::start().await;
    let head = "the same head of more than 256 bytes ".repeat(10);
    let log = server.log("a.log", format!("{head}{}\n", "old ".repeat(100)));
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0")).await;
    let open = viewer.expect("open").await;
    drop(viewer);
    // After the follower has ended, the file is rewritten after its head.
    eventually("nobody follows", async || match server.health().await["logs"].as_u64() {
        Some(0) => Ok(()),
        other => Err(other),
    })
    .await;
    std::fs::write(&log, format!("{head}{}\n", "new ".repeat(200))).unwrap();
    let (from, generation) = (&open["from"], open["generation"].as_str().unwrap());
    let target = format!("{log}?tail=1&from={from}&generation={generation}");
    let mut viewer = Viewer::v1(server.address, &target).await;
    assert_eq!(viewer.expect("open").await["recovered"], false);
    assert_eq!(viewer.expect("reset").await["from"], 0);
}

async fn a_part_of_a_line_is_sent_at_once(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let mut viewer = CheckedViewer::from_end(&server, &log).await;
    append(&log, "a");
    viewer.read_until("a").await;
    append(&log, "b\nc");
    viewer.read_until("c").await;
    viewer.assert_events(&[("open", 0, "ab\nc")]);
    assert_eq!(viewer.segments[0].messages, [1, 3], "bytes to a message");
}

async fn a_plain_viewer_gets_the_rest_of_a_row_when_it_is_final(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "first\n10%\r20%");
    for (form, expected) in [("html", "first\n20%"), ("text", "first\n20%")] {
        let answer = get(server.address, &format!("{log}?lines=9&format={form}"), &[]).await;
        assert_eq!(answer.text(), expected);
        let mut viewer = Viewer::original(server.address, &format!("{log}?format={form}")).await;
        assert_eq!(viewer.rest().await.0, expected);
    }
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, "first\n");
    append(&log, "\r99%");
    rename(&log, server.path("a.log.1"));
    append(&log, "new file\n40%\r50%");
    assert_eq!(viewer.text_until("new file\n").await, "99%\nnew file\n");
    std::fs::write(&log, "cut\n").unwrap();
    assert_eq!(viewer.text_until("cut\n").await, "50%\ncut\n");
}

async fn a_viewer_that_joins_while_lines_are_written_misses_and_repeats_nothing(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    // 16 bytes each.
    let records: Arc<str> =
        (0..300_000).map(|number| format!("record {number:08}\n")).collect::<String>().into();
    let (path, written) = (log.clone(), Arc::clone(&records));
    let writer = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::options().append(true).open(path).unwrap();
        let began = Instant::now();
        for (number, record) in written.as_bytes().chunks(16).enumerate() {
            file.write_all(record).unwrap();
            if number % 1000 == 0 {
                // 5 MB in a second.
                let due = Duration::from_secs_f64(number as f64 * 16.0 / 5e6);
                pace_blocking(due.saturating_sub(began.elapsed()));
            }
        }
    });
    let mut joined = Vec::new();
    while joined.len() < 40 || !writer.is_finished() && joined.len() < 300 {
        let mut viewer = CheckedViewer::open(server.address, &log, "&lines=100").await;
        let records = Arc::clone(&records);
        joined.push(tokio::spawn(async move {
            viewer.read_until(&records[records.len() - 16..]).await;
            let [segment] = &viewer.segments[..] else {
                panic!("more was told than where it starts")
            };
            assert_eq!(segment.from % 16, 0, "it starts inside a record");
            assert!(segment.bytes == records.as_bytes()[segment.from as usize..], "other bytes");
        }));
    }
    writer.await.unwrap();
    for viewer in joined {
        viewer.await.unwrap();
    }
}

async fn a_viewer_that_joins_while_the_file_is_replaced_ends_on_the_new_one(mode: Mode) {
    let server = mode.server().await;
    let sentinel = server.path("sentinel.log");
    let mut waiting = CheckedViewer::start(server.address, sentinel.to_str().unwrap(), "").await;
    waiting.read_until_event("waiting").await;
    let mut files = Vec::new();
    for round in 0..40u64 {
        let path = server.path(&format!("{round}.log"));
        let mut old = Writer::create(&path);
        old.append("old one\nold two\n");
        let next = server.path(&format!("{round}.next"));
        let mut new = Writer::create(&next);
        new.append("the new content\n");
        files.push((path, old, next, new));
    }
    // Events come in order. The event of a file that was made a moment before its log is followed cannot be
    // told from that of a file which had the name later, so all of them have to be here first.
    append(&sentinel, "all are there\n");
    waiting.read_until("all are there\n").await;
    let mut rounds = Vec::new();
    for (round, (path, old, next, new)) in (0..).zip(files) {
        let (address, log) = (server.address, path.to_str().unwrap().to_owned());
        rounds.push(tokio::spawn(async move {
            // At some time in the first 5 ms after the start of the connection.
            let replacing = tokio::task::spawn_blocking(move || {
                pace_blocking(Duration::from_micros(round * 125));
                std::fs::rename(next, path).unwrap();
            });
            let mut viewer = CheckedViewer::start(address, &log, "&lines=all").await;
            viewer.read_until("the new content\n").await;
            replacing.await.unwrap();
            viewer.assert_written_by(&[&old, &new]);
            // Without events, the times of two files that were made at once do not prove that there was no
            // third one in between.
            let is_proved = |event: &&str| mode == Mode::Events || *event != crate::rotate::GAP;
            let told = viewer.segments.iter().map(|segment| segment.event.as_str());
            let told: Vec<_> = told.filter(is_proved).collect();
            assert!(matches!(told[..], ["open"] | ["open", "replaced"]), "{told:?}");
        }));
    }
    for round in rounds {
        round.await.unwrap();
    }
}

async fn a_new_log_is_sent_once(mode: Mode) {
    let server = mode.server().await;
    let path = server.path("later.log");
    let log = path.to_str().unwrap();
    let refused = get(server.address, &format!("{log}?tail=1"), &[]).await;
    assert_eq!(refused.status, 404, "one that does not wait");
    let mut viewer = CheckedViewer::start(server.address, log, "").await;
    viewer.read_until_event("waiting").await;
    append(&path, "ok ok ok\n");
    viewer.read_until("ok\n").await;
    append(&path, "and on\n");
    viewer.read_until("and on\n").await;
    viewer.assert_events(&[("waiting missing", 0, ""), ("open", 0, "ok ok ok\nand on\n")]);
}

async fn a_link_into_another_directory_is_followed_by_its_events(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("targets")).unwrap();
    let target = server.log("targets/a.log", "");
    let link = server.path("current.log");
    symlink("targets/a.log", &link).unwrap();
    let mut viewer = CheckedViewer::from_end(&server, link.to_str().unwrap()).await;
    for line in ["a\n", "b\n"] {
        append(&target, line);
        viewer.read_until(line).await;
    }
    viewer.assert_events(&[("open", 0, "a\nb\n")]);
    if mode == Mode::Events {
        viewer.assert_events_wake(target).await;
    }
}

async fn a_link_with_a_new_target_is_followed(mode: Mode) {
    let settings = Settings { rotate_wait: Duration::from_secs(2), ..Settings::default() };
    let server = mode.server_with(settings).await;
    std::fs::create_dir(server.path("targets")).unwrap();
    let [first, second, third] =
        ["targets/1", "targets/2", "targets/3"].map(|name| server.path(name));
    let link = server.path("current.log");
    let set = |target: &Path| {
        symlink(target, server.path("new-link")).unwrap();
        std::fs::rename(server.path("new-link"), &link).unwrap();
    };
    append(&first, "");
    set(&first);
    let mut viewer = CheckedViewer::from_end(&server, link.to_str().unwrap()).await;
    append(&first, "X1\n");
    viewer.read_until("X1\n").await;
    // The next target does not exist yet.
    set(&second);
    viewer.read_until_event("waiting").await;
    append(&first, "too late\n");
    append(&second, "X2\n");
    viewer.read_until("X2\n").await;
    append(&third, "X3\n");
    set(&third);
    viewer.read_until("X3\n").await;
    append(&second, "in time\n");
    viewer.read_until_event("back").await;
    viewer.assert_events(&[
        ("open", 0, "X1\n"),
        ("waiting missing", 0, ""),
        ("replaced", 0, "X2\n"),
        ("replaced", 0, "X3\n"),
        ("late", 3, "in time\n"),
        ("back", 3, ""),
    ]);
    if mode == Mode::Events {
        viewer.assert_events_wake(third).await;
    }
}

async fn two_logs_written_alternately_are_each_in_order(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let logs = ["a.log", "b.log"].map(|name| directory.path().join(name));
    let program = mode.program(directory.path());
    let mut viewers = Vec::new();
    for log in &logs {
        append(log, "");
        viewers.push(CheckedViewer::open(program.address, log.to_str().unwrap(), "&lines=0").await);
    }
    program.signal(Signal::STOP);
    for line in ["one\n", "two\n"] {
        logs.iter().for_each(|log| append(log, line));
    }
    program.signal(Signal::CONT);
    for viewer in &mut viewers {
        viewer.read_until("two\n").await;
        viewer.assert_events(&[("open", 0, "one\ntwo\n")]);
    }
}

async fn a_busy_log_does_not_delay_a_quiet_one(mode: Mode) {
    const BLOCK: usize = 1 << 20;
    let megabytes = if mode == Mode::Events { 200 } else { 20 };
    let server = mode.server().await;
    let (busy, quiet) = (server.log("busy.log", ""), server.log("quiet.log", ""));
    let target = format!("{busy}?tail=1&format=raw");
    let mut watching = Viewer::v1(server.address, &target).await;
    watching.expect("open").await;
    let mut viewer = CheckedViewer::from_end(&server, &quiet).await;
    // 100 MB in a second.
    let writing = tokio::task::spawn_blocking(move || {
        let block: Vec<u8> = (0..BLOCK as u32 / 4).flat_map(u32::to_be_bytes).collect();
        let mut file = std::fs::File::options().append(true).open(busy).unwrap();
        let began = Instant::now();
        for number in 0..megabytes {
            file.write_all(&block).unwrap();
            let due = Duration::from_millis(10) * number;
            pace_blocking(due.saturating_sub(began.elapsed()));
        }
    });
    let reading = tokio::spawn(async move {
        let mut offset = 0;
        while offset < BLOCK * megabytes as usize {
            let message = watching.next().await.unwrap().into_data();
            assert_eq!(u64::from_be_bytes(message[..8].try_into().unwrap()), offset as u64);
            offset += message.len() - 8;
        }
    });
    let mut times = Vec::new();
    while !writing.is_finished() {
        let line = format!("line {}\n", times.len());
        let written = Instant::now();
        append(&quiet, &line);
        viewer.read_until(&line).await;
        times.push(written.elapsed());
        pace(Duration::from_millis(50)).await;
    }
    writing.await.unwrap();
    reading.await.unwrap();
    let lines: String = (0..times.len()).map(|number| format!("line {number}\n")).collect();
    viewer.assert_events(&[("open", 0, &lines)]);
    times.sort();
    let median = times[times.len() / 2];
    assert!(mode == Mode::Backstop || median < PROMPT, "{times:?}");
}

async fn a_log_that_becomes_unreadable_is_still_followed(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let log = path.to_str().unwrap();
    let mut writer = Writer::create(&path);
    writer.append("before\n");
    let program =
        Program::serve_without_rights(mode.limits(), &[directory.path().to_str().unwrap()]);
    let mut viewer = CheckedViewer::open(program.address, log, "&lines=all").await;
    let set_mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o000);
    writer.append("while it is locked\n");
    viewer.read_until("locked\n").await;
    for query in ["", "?tail=1", "?lines=1"] {
        let answer = get(program.address, &format!("{log}{query}"), &[]).await;
        assert_eq!(answer.status, 403, "{query}: {}", answer.text());
    }
    let mut refused = Viewer::v1(program.address, &format!("{log}?tail=1&wait=0")).await;
    assert_eq!(refused.expect("error").await["code"], 4403);
    set_mode(0o644);
    writer.append("and after\n");
    viewer.read_until("after\n").await;
    viewer.assert_events(&[("open", 0, "before\nwhile it is locked\nand after\n")]);
    let all = get(program.address, log, &[]).await.body;
    assert_eq!(all, writer.now());
}

#[tokio::test]
async fn new_viewers_wait_for_a_log_that_became_unreadable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "before\n");
    let program = Program::serve_without_rights("true", &[directory.path().to_str().unwrap()]);
    let open =
        async || CheckedViewer::start(program.address, path.to_str().unwrap(), "&lines=all").await;
    let mut viewer = open().await;
    viewer.read_until("before\n").await;
    let set_mode = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o000);
    let mut late = open().await;
    late.read_until_event("").await;
    set_mode(0o644);
    late.read_until("before\n").await;
    late.assert_events(&[("waiting unreadable", 0, ""), ("open", 0, "before\n")]);
}

#[tokio::test]
async fn an_unreadable_next_file_is_reported_and_followed_once_it_is_readable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "before\n");
    let program = Program::serve_without_rights("true", &[directory.path().to_str().unwrap()]);
    let mut viewer =
        CheckedViewer::start(program.address, path.to_str().unwrap(), "&lines=all").await;
    viewer.read_until("before\n").await;
    // The next file is prepared under another name, so that it has the right mode from the start.
    let (next, old) = (directory.path().join("next"), directory.path().join("a.log.1"));
    append(&next, "after\n");
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o000)).unwrap();
    std::fs::rename(&path, &old).unwrap();
    std::fs::rename(&next, &path).unwrap();
    append(&old, "late\n");
    viewer.read_until("late\n").await;
    viewer.read_until_event("waiting").await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    viewer.read_until("after\n").await;
    viewer.assert_events(&[
        ("open", 0, "before\nlate\n"),
        ("waiting unreadable", 0, ""),
        ("replaced", 0, "after\n"),
    ]);
}

async fn an_append_only_log_is_followed(mode: Mode) {
    /// Resets the flag when it is dropped, because an append-only file cannot be removed.
    struct AppendOnly(PathBuf);
    impl AppendOnly {
        fn set(&self, flag: &str) -> bool {
            let mut chattr = std::process::Command::new("chattr");
            chattr.arg(flag).arg(&self.0).output().is_ok_and(|output| output.status.success())
        }
    }
    impl Drop for AppendOnly {
        fn drop(&mut self) {
            self.set("-a");
        }
    }
    let server = mode.server().await;
    let log = server.log("a.log", "before\n");
    let file = AppendOnly(PathBuf::from(&log));
    if !file.set("+a") {
        not_run(
            "an_append_only_log_is_followed",
            "this user or file system does not allow `chattr +a`",
        );
        return;
    }
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    std::fs::File::options().append(true).open(&log).unwrap().write_all(b"after\n").unwrap();
    viewer.read_until("after\n").await;
    viewer.assert_events(&[("open", 0, "before\nafter\n")]);
    drop(file);
}

async fn a_read_only_mount_is_followed(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "before\n");
    let mounts = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
    let program = Program::serve_under(&format!("{} && {mounts}", mode.limits()), &[path]);
    let inside = program.through_mounts(&log);
    std::fs::File::options().append(true).open(inside).expect_err("it is mounted read-only");
    let mut viewer =
        CheckedViewer::open(program.address, log.to_str().unwrap(), "&lines=all").await;
    append(&log, "after\n");
    viewer.read_until("after\n").await;
    viewer.assert_events(&[("open", 0, "before\nafter\n")]);
    if mode == Mode::Events {
        viewer.assert_events_wake(&log).await;
    }
}

async fn files_of_proc_and_sys_are_refused(mode: Mode) {
    let access = Access::new(["/proc", "/sys"]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let server = mode.server_over(directory, access, Settings::default()).await;
    let mut viewers = Vec::new();
    for path in ["/proc/version", "/proc/self/status", "/sys/kernel/notes"] {
        assert!(Path::new(path).exists(), "{path}");
        assert_eq!(get(server.address, path, &[]).await.status, 404, "{path}");
        let mut viewer = CheckedViewer::start(server.address, path, "&lines=all").await;
        viewer.read_until_event("waiting").await;
        viewers.push(viewer);
    }
    #[cfg(feature = "faults")]
    server.assert_polls_by_timer(viewers.len() as u64, CALLS_PER_POLL).await;
    for viewer in viewers {
        viewer.assert_events(&[("waiting untailable", 0, "")]);
    }
}

#[tokio::test]
async fn a_viewer_that_joins_right_after_a_rotation_gets_the_new_file() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "old\n");
    let mut stays = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    stays.expect("open").await;
    for round in 0..20 {
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, format!("new {round}\n"));
        let answer = get(server.address, &format!("{log}?lines=1&format=raw"), &[]).await;
        assert_eq!(answer.text(), format!("new {round}\n"));
    }
}
