//! Changes without events: writes through other names, exhausted watches, an overflow of the event
//! queue, recreated directories, and mounts. The backstop finds them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::checked_viewer::{CheckedViewer, Mode, in_both_modes};
use crate::servers::{Program, append, eventually, output_of};

in_both_modes! {
    a_write_through_a_hard_link_elsewhere_is_noticed,
    each_hard_link_of_a_file_is_followed,
    a_directory_that_is_made_again_is_watched_again,
    both_logs_in_a_directory_that_is_made_again_are_watched_again,
    two_names_of_a_directory_each_get_their_events,
    stores_through_a_mapping_are_noticed,
    a_mount_over_the_log_and_an_unmount_are_noticed,
}

async fn a_write_through_a_hard_link_elsewhere_is_noticed(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let elsewhere = tempfile::tempdir_in(server.directory.path().parent().unwrap()).unwrap();
    let other = elsewhere.path().join("other");
    std::fs::hard_link(&log, &other).unwrap();
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    append(&other, "through another name\n");
    viewer.read_until("name\n").await;
    viewer.assert_events(&[("open", 0, "through another name\n")]);
}

async fn each_hard_link_of_a_file_is_followed(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let first = server.log("0.log", "start\n");
    let mut names = vec![PathBuf::from(&first)];
    for number in 1..20 {
        let folder = if number % 2 == 0 { "" } else { "sub/" };
        names.push(server.path(&format!("{folder}{number}.log")));
        std::fs::hard_link(&first, &names[number]).unwrap();
    }
    let mut viewers = Vec::new();
    for name in &names {
        viewers.push(CheckedViewer::from_start(&server, name.to_str().unwrap()).await);
    }
    append(&names[13], "through one of them\n");
    for viewer in &mut viewers {
        viewer.read_until("one of them\n").await;
        viewer.assert_events(&[("open", 0, "start\nthrough one of them\n")]);
    }
    if mode == Mode::Events {
        for (name, viewer) in names.iter().zip(&mut viewers) {
            viewer.assert_events_wake(name).await;
        }
    }
}

async fn a_directory_that_is_made_again_is_watched_again(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let log = server.log("sub/a.log", "");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    // The directory has no events until it is watched again, so the times of the files decide.
    viewer.expects_gaps = true;
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    append(&log, "new home\n");
    viewer.read_until("new home\n").await;
    viewer.assert_events(&[("open", 0, ""), ("replaced", 0, "new home\n")]);
    if mode == Mode::Events {
        viewer.assert_events_wake(&log).await;
    }
}

async fn both_logs_in_a_directory_that_is_made_again_are_watched_again(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let logs = ["sub/a.log", "sub/b.log"].map(|name| server.log(name, ""));
    let mut viewers = Vec::new();
    for log in &logs {
        let mut viewer = CheckedViewer::from_start(&server, log).await;
        viewer.expects_gaps = true;
        viewers.push(viewer);
    }
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    logs.iter().for_each(|log| append(log, "new home\n"));
    for (log, viewer) in logs.iter().zip(&mut viewers) {
        viewer.read_until("new home\n").await;
        viewer.assert_events(&[("open", 0, ""), ("replaced", 0, "new home\n")]);
        if mode == Mode::Events {
            viewer.assert_events_wake(log).await;
        }
    }
}

async fn two_names_of_a_directory_each_get_their_events(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("real")).unwrap();
    std::os::unix::fs::symlink("real", server.path("link")).unwrap();
    let (real, link) = (server.log("real/a.log", ""), server.log("link/b.log", ""));
    let mut by_real = CheckedViewer::from_start(&server, &real).await;
    let mut by_link = CheckedViewer::from_start(&server, &link).await;
    for (log, viewer) in [(&real, &mut by_real), (&link, &mut by_link)] {
        append(log, "one\n");
        viewer.read_until("one\n").await;
        if mode == Mode::Events {
            viewer.assert_events_wake(log).await;
        }
    }
    drop(by_link);
    eventually("the second log is let go", async || match server.health().await["logs"].as_u64() {
        Some(1) => Ok(()),
        other => Err(other),
    })
    .await;
    append(&real, "two\n");
    by_real.read_until("two\n").await;
    if mode == Mode::Events {
        by_real.assert_events_wake(&real).await;
    }
}

/// Appends by stores into a mapping, which cause no event. Nor does the growth before them, if it
/// is through a name in another directory.
fn store_through_a_mapping(path: &Path, text: &str) {
    const PROGRAM: &str = "import mmap, os, sys\n\
        path, text = sys.argv[1], sys.argv[2].encode()\n\
        with open(path, 'r+b') as file:\n\
        \x20   size = os.fstat(file.fileno()).st_size\n\
        \x20   os.ftruncate(file.fileno(), size + len(text))\n\
        \x20   with mmap.mmap(file.fileno(), 0) as mapping:\n\
        \x20       mapping[size:] = text\n";
    let mut python = Command::new("python3");
    let output = output_of(python.arg("-c").arg(PROGRAM).arg(path).arg(text));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn stores_through_a_mapping_are_noticed(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir_in(directory.path().parent().unwrap()).unwrap();
    let (path, other) = (directory.path().join("a.log"), elsewhere.path().join("other"));
    std::fs::write(&path, "before\n").unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let mut viewer =
        CheckedViewer::open(program.address, path.to_str().unwrap(), "&lines=all").await;
    viewer.read_until("before\n").await;
    for text in ["stored\n", "stored again\n"] {
        // The server is stopped, so that it does not see the file between its growth and the store.
        program.signal(Signal::STOP);
        store_through_a_mapping(if mode == Mode::Events { &path } else { &other }, text);
        program.signal(Signal::CONT);
        viewer.read_until(text).await;
    }
    viewer.assert_events(&[("open", 0, "before\nstored\nstored again\n")]);
}

async fn a_mount_over_the_log_and_an_unmount_are_noticed(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let (log, other) = (directory.path().join("a.log"), directory.path().join("other.log"));
    std::fs::write(&log, "beneath\n").unwrap();
    std::fs::write(&other, "above\n").unwrap();
    let program = mode.program(directory.path());
    let name = log.to_str().unwrap();
    let mut viewer = CheckedViewer::open(program.address, name, "&lines=all").await;
    viewer.read_until("beneath\n").await;
    program.inside(&format!("mount --bind {} {name}", other.display()));
    viewer.read_until("above\n").await;
    append(program.through_mounts(&log), "and more above\n");
    viewer.read_until("more above\n").await;
    // The server has the mounted file open, so the mount ends when the server closes it.
    program.inside(&format!("umount --lazy {name}"));
    append(program.through_mounts(&log), "beneath again\n");
    viewer.read_until("beneath again\n").await;
    // Until the unmount is noticed, the file underneath counts as a rotated file, and its bytes are
    // late bytes.
    if viewer.has_event("late") {
        viewer.read_until_event("back").await;
        viewer.segments.retain(|segment| !segment.bytes.is_empty());
        viewer
            .segments
            .iter_mut()
            .for_each(|segment| segment.event = segment.event.replace("late", "back"));
    }
    viewer.assert_events(&[
        ("open", 0, "beneath\n"),
        ("replaced", 0, "above\nand more above\n"),
        ("back", 8, "beneath again\n"),
    ]);
}

#[tokio::test]
async fn writes_to_the_upper_layer_of_an_overlay_are_seen() {
    let directory = tempfile::tempdir().unwrap();
    let part = |name: &str| directory.path().join(name);
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(part(name)).unwrap();
    }
    std::fs::write(part("lower/image.log"), "from the image\n").unwrap();
    std::fs::write(part("upper/upper.log"), "from the layer\n").unwrap();
    let root = directory.path().to_str().unwrap();
    let mount = format!(
        "mount -t overlay overlay -o lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work {root}/merged"
    );
    let program = Program::serve_under(&mount, &[&format!("{root}/merged")]);
    let open = async |name| {
        let log = part("merged").join(name);
        CheckedViewer::open(program.address, log.to_str().unwrap(), "&lines=all").await
    };
    let (mut upper, mut image) = (open("upper.log").await, open("image.log").await);
    upper.read_until("layer\n").await;
    image.read_until("image\n").await;
    append(part("upper/upper.log"), "behind its back\n");
    upper.read_until("back\n").await;
    // The first write copies the file to the upper layer, while the server has the lower one open.
    append(program.through_mounts(&part("merged/image.log")), "copied up\n");
    image.read_until("up\n").await;
    append(part("upper/image.log"), "behind its back\n");
    image.read_until("back\n").await;
    upper.assert_events(&[("open", 0, "from the layer\nbehind its back\n")]);
    image.assert_events(&[("open", 0, "from the image\ncopied up\nbehind its back\n")]);
}

#[tokio::test]
async fn a_follower_without_a_watch_polls_and_gets_one_later() {
    let directory = tempfile::tempdir().unwrap();
    let logs = ["a", "b"].map(|name| {
        std::fs::create_dir(directory.path().join(name)).unwrap();
        let log = directory.path().join(name).join("x.log");
        std::fs::write(&log, "start\n").unwrap();
        log
    });
    let limit = |watches: u32| format!("echo {watches} > /proc/sys/user/max_inotify_watches");
    let program = Program::serve_under(&limit(10), &[directory.path().to_str().unwrap()]);
    let open = async |log: &PathBuf| {
        CheckedViewer::open(program.address, log.to_str().unwrap(), "&lines=all").await
    };
    let mut first = open(&logs[0]).await;
    assert_eq!(first.opened["watch"], "events");
    program.inside(&limit(1));
    let mut second = open(&logs[1]).await;
    assert_eq!(second.opened["watch"], "poll", "there is no watch left for it");
    for line in ["one\n", "two\n"] {
        let written = Instant::now();
        append(&logs[1], line);
        second.read_until(line).await;
        assert!(written.elapsed() < Duration::from_millis(2500), "{:?}", written.elapsed());
    }
    first.assert_events_wake(&logs[0]).await;
    assert!(program.said().contains("fs.inotify.max_user_watches"), "{}", program.said());
    program.inside(&limit(10));
    eventually("it is watched again", async || {
        match open(&logs[1]).await.opened["watch"].clone() {
            Value::String(watch) if watch == "events" => Ok(()),
            other => Err(other),
        }
    })
    .await;
    second.assert_events_wake(&logs[1]).await;
    second.segments[0].bytes.truncate(14);
    second.assert_events(&[("open", 0, "start\none\ntwo\n")]);
}

#[tokio::test]
async fn a_server_started_without_watches_gets_them_later() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        std::fs::write(&log, "").unwrap();
        let set = |number: u32| format!("echo {number} > /proc/sys/user/{limit}");
        let program = Program::serve_under(&set(0), &[directory.path().to_str().unwrap()]);
        let open = async || CheckedViewer::open(program.address, log.to_str().unwrap(), "").await;
        let mut viewer = open().await;
        assert_eq!(viewer.opened["watch"], "poll", "{limit}");
        append(&log, "polled\n");
        viewer.read_until("polled\n").await;
        program.inside(&set(10));
        eventually("it is watched", async || match open().await.opened["watch"].clone() {
            Value::String(watch) if watch == "events" => Ok(()),
            other => Err(other),
        })
        .await;
        viewer.assert_events(&[("open", 0, "polled\n")]);
        viewer.assert_events_wake(&log).await;
    }
}

#[tokio::test]
async fn an_event_queue_overflow_wakes_every_follower() {
    const EVENTS_MAX: usize = 16_384;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    for name in ["a.log", "noise.1", "noise.2"] {
        append(path(name), "");
    }
    let log = path("a.log");
    let mut viewer = CheckedViewer::open(program.address, log.to_str().unwrap(), "").await;
    let mut noise = ["noise.1", "noise.2"]
        .map(|name| std::fs::File::options().append(true).open(path(name)).unwrap());
    // With the backstop alone each round would take 2 s.
    viewer
        .assert_prompt(|line| {
            program.signal(Signal::STOP);
            // Two files alternately, because the kernel merges equal consecutive events.
            for number in 0..2 * EVENTS_MAX {
                std::io::Write::write_all(&mut noise[number % 2], b"x").unwrap();
            }
            append(&log, line);
            program.signal(Signal::CONT);
        })
        .await;
    assert_eq!(viewer.segments.len(), 1);
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    assert_eq!(queue.trim(), EVENTS_MAX.to_string(), "the queue is larger than what was sent");
}
