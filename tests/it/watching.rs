//! What the watcher is not told: writes behind its back, watches that are used up, a queue that overflows, directories
//! that come and go, and mounts. What events do not tell, the backstop finds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::listeners::{Listener, Mode, in_both_modes};
use crate::servers::{DEADLINE, Program, append, eventually};

in_both_modes! {
    a_write_through_a_name_elsewhere_is_seen,
    many_names_of_one_file_are_each_followed,
    a_directory_that_is_made_again_is_watched_again,
    neighbours_in_a_directory_that_is_made_again_both_see_again,
    two_names_of_a_directory_do_not_take_each_others_events,
    stores_through_a_mapping_are_seen,
    a_mount_over_the_log_and_its_end_are_seen,
}

async fn a_write_through_a_name_elsewhere_is_seen(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let elsewhere = tempfile::tempdir_in(server.directory.path().parent().unwrap()).unwrap();
    let other = elsewhere.path().join("other");
    std::fs::hard_link(&log, &other).unwrap();
    let mut viewer = Listener::of_all(&server, &log).await;
    append(&other, "through another name\n");
    viewer.until("name\n").await;
    viewer.assert_story(&[("open", 0, "through another name\n")]);
}

async fn many_names_of_one_file_are_each_followed(mode: Mode) {
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
        viewers.push(Listener::of_all(&server, name.to_str().unwrap()).await);
    }
    append(&names[13], "through one of them\n");
    for viewer in &mut viewers {
        viewer.until("one of them\n").await;
        viewer.assert_story(&[("open", 0, "start\nthrough one of them\n")]);
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
    let mut viewer = Listener::of_all(&server, &log).await;
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    append(&log, "new home\n");
    viewer.until("new home\n").await;
    viewer.assert_story(&[("open", 0, ""), ("replaced", 0, "new home\n")]);
    if mode == Mode::Events {
        viewer.assert_events_wake(&log).await;
    }
}

async fn neighbours_in_a_directory_that_is_made_again_both_see_again(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let logs = ["sub/a.log", "sub/b.log"].map(|name| server.log(name, ""));
    let mut viewers = Vec::new();
    for log in &logs {
        viewers.push(Listener::of_all(&server, log).await);
    }
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    logs.iter().for_each(|log| append(log, "new home\n"));
    for (log, viewer) in logs.iter().zip(&mut viewers) {
        viewer.until("new home\n").await;
        viewer.assert_story(&[("open", 0, ""), ("replaced", 0, "new home\n")]);
        if mode == Mode::Events {
            viewer.assert_events_wake(log).await;
        }
    }
}

async fn two_names_of_a_directory_do_not_take_each_others_events(mode: Mode) {
    let server = mode.server().await;
    std::fs::create_dir(server.path("real")).unwrap();
    std::os::unix::fs::symlink("real", server.path("link")).unwrap();
    let (real, link) = (server.log("real/a.log", ""), server.log("link/b.log", ""));
    let mut by_real = Listener::of_all(&server, &real).await;
    let mut by_link = Listener::of_all(&server, &link).await;
    for (log, viewer) in [(&real, &mut by_real), (&link, &mut by_link)] {
        append(log, "one\n");
        viewer.until("one\n").await;
        if mode == Mode::Events {
            viewer.assert_events_wake(log).await;
        }
    }
    drop(by_link);
    let until = Instant::now() + DEADLINE;
    while server.health().await["logs"] != 1 {
        assert!(Instant::now() < until, "the second log is still followed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    append(&real, "two\n");
    by_real.until("two\n").await;
    if mode == Mode::Events {
        by_real.assert_events_wake(&real).await;
    }
}

/// Appends by stores into a mapping, which raises no event; nor does the growth before it, through a name elsewhere.
fn store_through_a_mapping(path: &Path, text: &str) {
    const PROGRAM: &str = "import mmap, os, sys\n\
        path, text = sys.argv[1], sys.argv[2].encode()\n\
        with open(path, 'r+b') as file:\n\
        \x20   size = os.fstat(file.fileno()).st_size\n\
        \x20   os.ftruncate(file.fileno(), size + len(text))\n\
        \x20   with mmap.mmap(file.fileno(), 0) as mapping:\n\
        \x20       mapping[size:] = text\n";
    let mut python = Command::new("python3");
    let output = python.arg("-c").arg(PROGRAM).arg(path).arg(text).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn stores_through_a_mapping_are_seen(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir_in(directory.path().parent().unwrap()).unwrap();
    let (path, other) = (directory.path().join("a.log"), elsewhere.path().join("other"));
    std::fs::write(&path, "before\n").unwrap();
    std::fs::hard_link(&path, &other).unwrap();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let mut viewer = Listener::open(program.address, path.to_str().unwrap(), "&lines=all").await;
    viewer.until("before\n").await;
    for text in ["stored\n", "stored again\n"] {
        // The file is never seen between its growth and the store.
        program.signal(Signal::STOP);
        store_through_a_mapping(if mode == Mode::Events { &path } else { &other }, text);
        program.signal(Signal::CONT);
        viewer.until(text).await;
    }
    viewer.assert_story(&[("open", 0, "before\nstored\nstored again\n")]);
}

async fn a_mount_over_the_log_and_its_end_are_seen(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    let (log, other) = (directory.path().join("a.log"), directory.path().join("other.log"));
    std::fs::write(&log, "beneath\n").unwrap();
    std::fs::write(&other, "above\n").unwrap();
    let program = mode.program(directory.path());
    let name = log.to_str().unwrap();
    let mut viewer = Listener::open(program.address, name, "&lines=all").await;
    viewer.until("beneath\n").await;
    program.inside(&format!("mount --bind {} {name}", other.display()));
    viewer.until("above\n").await;
    append(program.through_mounts(&log), "and more above\n");
    viewer.until("more above\n").await;
    // The server holds the file that is mounted, so the mount ends when it lets go.
    program.inside(&format!("umount --lazy {name}"));
    append(program.through_mounts(&log), "beneath again\n");
    viewer.until("beneath again\n").await;
    // It is heard as a late one, too, until the mount is seen to have ended.
    if viewer.was_told("late") {
        viewer.until_told("back").await;
        viewer.parts.retain(|part| !part.bytes.is_empty());
        viewer.parts.iter_mut().for_each(|part| part.told = part.told.replace("late", "back"));
    }
    viewer.assert_story(&[
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
        Listener::open(program.address, log.to_str().unwrap(), "&lines=all").await
    };
    let (mut upper, mut image) = (open("upper.log").await, open("image.log").await);
    upper.until("layer\n").await;
    image.until("image\n").await;
    append(part("upper/upper.log"), "behind its back\n");
    upper.until("back\n").await;
    // The first write copies the file up: what is held open is the lower one.
    append(program.through_mounts(&part("merged/image.log")), "copied up\n");
    image.until("up\n").await;
    append(part("upper/image.log"), "behind its back\n");
    image.until("back\n").await;
    upper.assert_story(&[("open", 0, "from the layer\nbehind its back\n")]);
    image.assert_story(&[("open", 0, "from the image\ncopied up\nbehind its back\n")]);
}

#[tokio::test]
async fn watches_that_are_used_up_later_are_missed_and_had_again() {
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
        Listener::open(program.address, log.to_str().unwrap(), "&lines=all").await
    };
    let mut first = open(&logs[0]).await;
    assert_eq!(first.opened["watch"], "events");
    program.inside(&limit(1));
    let mut second = open(&logs[1]).await;
    assert_eq!(second.opened["watch"], "poll", "there is no watch left for it");
    for line in ["one\n", "two\n"] {
        let written = Instant::now();
        append(&logs[1], line);
        second.until(line).await;
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
    second.parts[0].bytes.truncate(14);
    second.assert_story(&[("open", 0, "start\none\ntwo\n")]);
}

#[tokio::test]
async fn watches_that_are_used_up_at_the_start_are_had_later() {
    for limit in ["max_inotify_instances", "max_inotify_watches"] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        std::fs::write(&log, "").unwrap();
        let set = |number: u32| format!("echo {number} > /proc/sys/user/{limit}");
        let program = Program::serve_under(&set(0), &[directory.path().to_str().unwrap()]);
        let open = async || Listener::open(program.address, log.to_str().unwrap(), "").await;
        let mut viewer = open().await;
        assert_eq!(viewer.opened["watch"], "poll", "{limit}");
        append(&log, "polled\n");
        viewer.until("polled\n").await;
        program.inside(&set(10));
        eventually("it is watched", async || match open().await.opened["watch"].clone() {
            Value::String(watch) if watch == "events" => Ok(()),
            other => Err(other),
        })
        .await;
        viewer.assert_story(&[("open", 0, "polled\n")]);
        viewer.assert_events_wake(&log).await;
    }
}

#[tokio::test]
async fn a_queue_that_overflows_wakes_everybody() {
    const EVENTS_MAX: usize = 16_384;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    for name in ["a.log", "noise.1", "noise.2"] {
        append(path(name), "");
    }
    let log = path("a.log");
    let mut viewer = Listener::open(program.address, log.to_str().unwrap(), "").await;
    let mut noise = ["noise.1", "noise.2"]
        .map(|name| std::fs::File::options().append(true).open(path(name)).unwrap());
    // By the backstop alone each round would take 2 s from the one before.
    viewer
        .assert_prompt(|line| {
            program.signal(Signal::STOP);
            // Events that are alike and follow each other count once.
            for number in 0..2 * EVENTS_MAX {
                std::io::Write::write_all(&mut noise[number % 2], b"x").unwrap();
            }
            append(&log, line);
            program.signal(Signal::CONT);
        })
        .await;
    assert_eq!(viewer.parts.len(), 1);
    let queue = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    assert_eq!(queue.trim(), EVENTS_MAX.to_string(), "the queue is larger than what was sent");
}
