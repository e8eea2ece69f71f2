//! Rotations: the old file is read to its end, the new one is sent from its first byte, and each
//! change is announced.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode as Permissions};
use tailcast::serve::Settings;

use crate::checked_viewer::{CheckedViewer, Mode, Writer, in_both_modes};
use crate::clients::{Rows, Viewer};
use crate::servers::{append, eventually, pace};

in_both_modes! {
    slow_rotations_lose_nothing,
    fifty_logs_that_are_replaced_by_a_rename_are_followed_in_the_new_file,
    rotations_faster_than_polls_are_announced,
    late_writes_are_sent_as_late,
    files_renamed_over_the_log_arrive_complete_and_the_last_one_always,
    nine_logs_are_still_followed_when_one_is_renamed,
    a_log_that_is_renamed_over_another_one_replaces_it,
    writes_after_the_rotate_wait_are_never_sent,
    each_save_of_an_editor_is_noticed,
    a_removed_log_is_followed_for_the_rotate_wait_and_then_closed,
    a_log_with_a_hard_link_that_is_made_again_is_announced_as_replaced,
    a_log_that_is_rotated_and_compressed_continues_in_the_new_file,
    a_line_cut_by_a_rotation_does_not_leak_into_the_new_file,
    logs_that_are_shifted_by_number_are_each_followed_by_name,
    a_fifo_or_directory_in_place_of_the_log_is_announced,
}

/// A rotate-wait that is short enough for a test.
const SHORT_WAIT: Duration = Duration::from_millis(500);

/// The clock of a file system ticks a few times meanwhile, so that files have different birth times.
const BIRTH_INTERVAL: Duration = Duration::from_millis(30);

fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    std::fs::rename(from, to).unwrap();
}

fn short_wait() -> Settings {
    Settings { rotate_wait: SHORT_WAIT, ..Settings::default() }
}

/// Waits until this process has no descriptor of the removed file except the test's own.
async fn is_let_go(path: impl AsRef<Path>, by_the_test: usize) {
    let deleted = format!("{} (deleted)", path.as_ref().display());
    eventually("a removed file is let go", async || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let held = links.filter(|link| link.as_os_str() == deleted.as_str()).count();
        if held == by_the_test { Ok(()) } else { Err((&deleted, held)) }
    })
    .await;
}

async fn slow_rotations_lose_nothing(mode: Mode) {
    let rounds = if mode == Mode::Events { 10 } else { 2 };
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let mut contents = vec![String::new()];
    for round in 0..rounds {
        let (last, first) = (format!("last of {round}\n"), format!("first after {round}\n"));
        append(&log, &last);
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, &first);
        viewer.read_until(&first).await;
        contents.last_mut().unwrap().push_str(&last);
        contents.push(first);
    }
    let mut story: Vec<_> =
        contents.iter().map(|content| ("rotated", 0, content.as_str())).collect();
    story[0].0 = "open";
    viewer.assert_events(&story);
}

async fn fifty_logs_that_are_replaced_by_a_rename_are_followed_in_the_new_file(mode: Mode) {
    let server = mode.server().await;
    let logs: Vec<_> =
        (0..50).map(|number| server.log(&format!("{number}.log"), "tailed\n")).collect();
    let mut viewers = Vec::new();
    for log in &logs {
        let mut viewer = CheckedViewer::from_start(&server, log).await;
        viewer.read_until("tailed\n").await;
        viewers.push(viewer);
    }
    for log in &logs {
        let next = format!("{log}.next");
        append(&next, "moved\n");
        rename(&next, log);
        append(log, "ok\n");
    }
    for viewer in &mut viewers {
        viewer.read_until("ok\n").await;
        viewer.assert_events(&[("open", 0, "tailed\n"), ("replaced", 0, "moved\nok\n")]);
    }
}

async fn rotations_faster_than_polls_are_announced(mode: Mode) {
    let server = mode.server().await;
    let path = server.path("a.log");
    let mut files = vec![Writer::create(&path)];
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    for round in 0..50 {
        files[round].append(format!("last of {round}\n"));
        rename(&path, server.path(&format!("a.log.{round}")));
        files.push(Writer::create(&path));
        files[round + 1].append(format!("first after {round}\n"));
    }
    files[50].append("end\n");
    viewer.read_until("end\n").await;
    let came = viewer.assert_written_by(&files.iter().collect::<Vec<_>>());
    // Without events only the first and the last file are certain to be found.
    let least = if mode == Mode::Events { 51 } else { 2 };
    assert!(came.len() >= least, "{} files came", came.len());
    for (&(file, _), &end) in &came {
        assert_eq!(end, files[file].now().len() as u64, "file {file} is not whole");
    }
    assert!(came.contains_key(&(0, 0)) && came.contains_key(&(50, 0)), "{came:?}");
    let told: Vec<&str> =
        viewer.segments[1..].iter().map(|segment| segment.event.as_str()).collect();
    // If the event of a file is late, the next file may have begun already; then the stream returns
    // to it.
    assert!(told.iter().all(|told| matches!(*told, "rotated" | "back")), "{told:?}");
    assert!(viewer.expected_gaps >= usize::from(came.len() < 51), "{told:?}");
}

async fn late_writes_are_sent_as_late(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "old\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let old = server.path("a.log.1");
    rename(&log, &old);
    append(&log, "new\n");
    viewer.read_until("new\n").await;
    append(&old, "late\n");
    viewer.read_until_event("back").await;
    append(&log, "more\n");
    viewer.read_until("more\n").await;
    viewer.assert_events(&[
        ("open", 0, "old\n"),
        ("rotated", 0, "new\n"),
        ("late", 4, "late\n"),
        ("back", 4, "more\n"),
    ]);
}

/// What is told where files may be missing.
pub const GAP: &str = "gap of unknown length";

async fn files_renamed_over_the_log_arrive_complete_and_the_last_one_always(mode: Mode) {
    let server = mode.server().await;
    let path = server.path("a.log");
    let mut files = vec![Writer::create(&path)];
    files[0].append("the first\n");
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    let nexts: Vec<_> = (1..=3).map(|number| server.path(&format!("next.{number}"))).collect();
    for (number, next) in nexts.iter().enumerate() {
        let mut file = Writer::create(next);
        file.append(format!("content {number}\n").repeat(10_000));
        files.push(file);
    }
    nexts.iter().for_each(|next| rename(next, &path));
    viewer.read_until("content 2\n").await;
    let last = files[3].now().len();
    while viewer.segments.last().unwrap().bytes.len() < last {
        viewer.read_message().await;
    }
    let came = viewer.assert_written_by(&files.iter().collect::<Vec<_>>());
    // A file that another one has replaced before the server looked is gone. The events tell so, or
    // that there are none.
    let is_missing = came.len() < files.len();
    while mode == Mode::Events
        && is_missing
        && viewer.segments.iter().all(|segment| segment.event != GAP)
    {
        viewer.read_message().await;
    }
    let told = viewer.segments[1..].iter().map(|segment| segment.event.as_str());
    let (gaps, resets): (Vec<_>, Vec<_>) = told.partition(|told| *told == GAP);
    // After a late gap, the stream returns to the present file.
    assert!(resets.iter().all(|told| matches!(*told, "replaced" | "back")), "{resets:?}");
    match mode {
        Mode::Events => assert_eq!(gaps.len(), usize::from(is_missing), "{came:?}"),
        Mode::Backstop => assert!(viewer.expected_gaps >= usize::from(is_missing), "{came:?}"),
    }
    for ((file, epoch), came) in came {
        assert_eq!(came, files[file].epochs[epoch].len() as u64, "file {file} is not whole");
    }
}

async fn nine_logs_are_still_followed_when_one_is_renamed(mode: Mode) {
    let server = mode.server().await;
    let logs: Vec<_> = (1..=9).map(|number| server.log(&number.to_string(), "x\n")).collect();
    let mut viewers = Vec::new();
    for log in &logs {
        viewers.push(CheckedViewer::from_start(&server, log).await);
    }
    rename(&logs[0], server.path("f"));
    append(&logs[0], "made again\n");
    viewers[0].read_until("made again\n").await;
    for log in &logs {
        append(log, "alive\n");
    }
    for viewer in &mut viewers {
        viewer.read_until("alive\n").await;
    }
    viewers[0].assert_events(&[("open", 0, "x\n"), ("rotated", 0, "made again\nalive\n")]);
    for viewer in &viewers[1..] {
        viewer.assert_events(&[("open", 0, "x\nalive\n")]);
    }
}

async fn a_log_that_is_renamed_over_another_one_replaces_it(mode: Mode) {
    let server = mode.server_with(short_wait()).await;
    let (a, b) = (server.log("a.log", "a one\n"), server.log("b.log", "b one\n"));
    let mut of_a = CheckedViewer::from_start(&server, &a).await;
    let mut of_b = CheckedViewer::from_start(&server, &b).await;
    append(&b, "b two\n");
    rename(&a, &b);
    of_b.read_until("a one\n").await;
    of_a.read_until_event("waiting").await;
    append(&b, "on\n");
    of_b.read_until("on\n").await;
    append(&a, "again\n");
    of_a.read_until("again\n").await;
    of_a.assert_events(&[
        ("open", 0, "a one\n"),
        ("waiting missing", 0, ""),
        ("replaced", 0, "again\n"),
    ]);
    of_b.assert_events(&[("open", 0, "b one\nb two\n"), ("replaced", 0, "a one\non\n")]);
}

async fn writes_after_the_rotate_wait_are_never_sent(mode: Mode) {
    let server = mode.server_with(short_wait()).await;
    let log = server.log("k", "first\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let aside = server.path("l");
    rename(&log, &aside);
    append(&log, "");
    rename(&log, &aside);
    viewer.read_until_event("waiting").await;
    append(&aside, "NO\n");
    append(&log, "second\n");
    viewer.read_until("second\n").await;
    append(&aside, "NO\n");
    append(&log, "end\n");
    viewer.read_until("end\n").await;
    // The server may have seen the empty file before or after it was renamed over the first one.
    viewer
        .segments
        .retain(|segment| !segment.bytes.is_empty() || segment.event.starts_with("waiting"));
    viewer.assert_events(&[
        ("open", 0, "first\n"),
        ("waiting missing", 0, ""),
        ("replaced", 0, "second\nend\n"),
    ]);
}

async fn each_save_of_an_editor_is_noticed(mode: Mode) {
    let server = mode.server().await;
    let logs = [server.log("a.log", "one\n"), server.log("b.log", "one\n")];
    let mut viewers = Vec::new();
    for log in &logs {
        viewers.push(CheckedViewer::from_start(&server, log).await);
    }
    for content in ["one\ntwo\n", "one\n2\nthree\n"] {
        // By a backup that is renamed away, written anew and removed; and by a copy that is renamed
        // over.
        let backup = server.path("a.log~");
        rename(&logs[0], &backup);
        std::fs::write(&logs[0], content).unwrap();
        std::fs::remove_file(&backup).unwrap();
        let copy = server.path(".b.log.swp");
        std::fs::write(&copy, content).unwrap();
        rename(&copy, &logs[1]);
        for viewer in &mut viewers {
            viewer.read_until(content).await;
        }
    }
    for viewer in &mut viewers {
        for segment in &mut viewer.segments[1..] {
            // The reason depends on whether the backup still exists when the server looks.
            assert!(matches!(segment.event.as_str(), "rotated" | "replaced"), "{}", segment.event);
            segment.event = "saved".to_owned();
        }
        // The first save added to the end.
        viewer.assert_events(&[("open", 0, "one\ntwo\n"), ("saved", 0, "one\n2\nthree\n")]);
    }
}

async fn a_removed_log_is_followed_for_the_rotate_wait_and_then_closed(mode: Mode) {
    let settings = Settings { rotate_wait: Duration::from_secs(1), ..Settings::default() };
    let server = mode.server_with(settings).await;
    let path = server.path("a.log");
    let mut writer = Writer::create(&path);
    writer.append("before\n");
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    // Measured before the removal, so not later than the server can notice it.
    let removed = Instant::now();
    std::fs::remove_file(&path).unwrap();
    let mut in_time = 0;
    for number in 0.. {
        writer.append(format!("line {number} since it was removed\n"));
        if removed.elapsed() < Duration::from_millis(800) {
            in_time = writer.now().len();
        }
        let waiting = viewer.read_until_event("waiting");
        if tokio::time::timeout(Duration::from_millis(50), waiting).await.is_ok() {
            break;
        }
    }
    let came = viewer.assert_written_by(&[&writer])[&(0, 0)] as usize;
    assert!(came >= in_time, "{came} bytes, {in_time} were written in time");
    assert_eq!(viewer.segments.len(), 2, "open and waiting");
    is_let_go(&path, 1).await;
    writer.append("too late\n");
    append(&path, "a new file\n");
    viewer.read_until("a new file\n").await;
    let last = viewer.events().pop().unwrap();
    assert_eq!(last, ("replaced", 0, "a new file\n".to_owned()));
}

async fn a_log_with_a_hard_link_that_is_made_again_is_announced_as_replaced(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "old\n");
    std::fs::hard_link(&log, server.path("kept")).unwrap();
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("old\n").await;
    std::fs::remove_file(&log).unwrap();
    server.log("a.log", "new\n");
    viewer.read_until("new\n").await;
    viewer.assert_events(&[("open", 0, "old\n"), ("replaced", 0, "new\n")]);
}

async fn a_log_that_is_rotated_and_compressed_continues_in_the_new_file(mode: Mode) {
    let server = mode.server_with(short_wait()).await;
    let log = server.log("a.log", "old\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    append(&log, "the last of it\n");
    let old = server.path("a.log.1");
    rename(&log, &old);
    let mut gzip = std::process::Command::new("gzip");
    assert!(gzip.arg(&old).status().unwrap().success());
    assert!(server.path("a.log.1.gz").exists() && !old.exists());
    append(&log, "new\n");
    viewer.read_until("new\n").await;
    is_let_go(&old, 0).await;
    append(&log, "on\n");
    viewer.read_until("on\n").await;
    viewer.assert_events(&[("open", 0, "old\nthe last of it\n"), ("replaced", 0, "new\non\n")]);
}

async fn a_line_cut_by_a_rotation_does_not_leak_into_the_new_file(mode: Mode) {
    let server = mode.server().await;
    // The rotations are within a colour and a character, and within an escape sequence.
    let contents: [&[u8]; 3] = [b"\x1b[31mred \xc3", b"\xa9 plain\n\x1b[1;3", b"1m plain\n"];
    let log = server.log("a.log", contents[0]);
    let mut raw = CheckedViewer::from_start(&server, &log).await;
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=all")).await;
    viewer.expect("open").await;
    let mut files = vec![Rows::default()];
    for (number, content) in contents.iter().enumerate() {
        if number > 0 {
            rename(&log, server.path(&format!("a.log.{number}")));
            append(&log, content);
        }
        raw.read_until(content).await;
    }
    while files.len() < 3 || files[2].0.is_empty() {
        let message = viewer.json().await;
        match message["type"].as_str().unwrap() {
            "rows" => files.last_mut().unwrap().apply(&message),
            "reset" => files.push(Rows::default()),
            "gap" if mode == Mode::Backstop => {}
            other => panic!("{other}: {message}"),
        }
    }
    // An incomplete character is not shown.
    assert_eq!(files[0].texts(), ["<span style='color:var(--red,#a00)'>red </span>"]);
    assert_eq!(files[1].texts(), ["\u{fffd} plain"]);
    assert_eq!(files[2].texts(), ["1m plain"]);
    let bytes: Vec<_> = raw.segments.iter().map(|segment| segment.bytes.as_slice()).collect();
    assert_eq!(bytes, contents);
}

async fn logs_that_are_shifted_by_number_are_each_followed_by_name(mode: Mode) {
    let server = mode.server().await;
    // As they come to be: the file with the highest number is the oldest.
    let mut logs = Vec::new();
    for name in ["f.2", "f.1", "f"] {
        logs.insert(0, server.log(name, format!("first of {name}\n")));
        pace(BIRTH_INTERVAL).await;
    }
    let mut viewers = Vec::new();
    for log in &logs {
        viewers.push(CheckedViewer::from_start(&server, log).await);
    }
    for shift in ["one", "two"] {
        rename(&logs[2], server.path("f.3"));
        rename(&logs[1], &logs[2]);
        rename(&logs[0], &logs[1]);
        append(&logs[0], format!("after shift {shift}\n"));
        for viewer in &mut viewers {
            let parts = if shift == "one" { 2 } else { 3 };
            while viewer.segments.len() < parts || viewer.segments[parts - 1].bytes.is_empty() {
                viewer.read_message().await;
            }
        }
    }
    let (one, two) = ("after shift one\n", "after shift two\n");
    let first = ["first of f\n", "first of f.1\n", "first of f.2\n"];
    viewers[0].assert_events(&[("open", 0, first[0]), ("rotated", 0, one), ("rotated", 0, two)]);
    viewers[1].assert_events(&[
        ("open", 0, first[1]),
        ("rotated", 0, first[0]),
        ("rotated", 0, one),
    ]);
    viewers[2].assert_events(&[
        ("open", 0, first[2]),
        ("rotated", 0, first[1]),
        ("rotated", 0, first[0]),
    ]);
    // The same write is new for one log, and a late write for another.
    append(&logs[1], "late\n");
    viewers[0].read_until_event("back").await;
    viewers[1].read_until("late\n").await;
    assert_eq!(
        viewers[0].events()[3..],
        [("late", 16, "late\n".to_owned()), ("back", 16, String::new())]
    );
    assert_eq!(viewers[1].events()[2], ("rotated", 0, format!("{one}late\n")));
}

async fn a_fifo_or_directory_in_place_of_the_log_is_announced(mode: Mode) {
    let settings = Settings { rotate_wait: Duration::ZERO, ..Settings::default() };
    let server = mode.server_with(settings).await;
    let log = server.log("a.log", "a file\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let (fifo, file) = (server.path("fifo"), server.path("file"));
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Permissions::RUSR | Permissions::WUSR, 0)
        .unwrap();
    rename(&fifo, &log);
    viewer.read_until_event("waiting untailable").await;
    append(&file, "a file again\n");
    rename(&file, &log);
    viewer.read_until("a file again\n").await;
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    viewer.read_until_event("waiting untailable").await;
    std::fs::remove_dir(&log).unwrap();
    append(&log, "and again\n");
    viewer.read_until("and again\n").await;
    // The server may notice the moments without a file.
    viewer.segments.retain(|segment| segment.event != "waiting missing");
    viewer.assert_events(&[
        ("open", 0, "a file\n"),
        ("waiting untailable", 0, ""),
        ("replaced", 0, "a file again\n"),
        ("waiting untailable", 0, ""),
        ("replaced", 0, "and again\n"),
    ]);
}
