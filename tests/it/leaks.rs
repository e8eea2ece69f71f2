//! Viewers that disconnect leave nothing behind, in whatever way they disconnect.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use crate::clients::{Streaming, Viewer, get};
use crate::heartbeats::{Bare, Frame};
use crate::servers::{Program, append, eventually, put};

const LOGS: usize = 20;
/// The number of viewers of each kind for each log in a round.
const OF_EACH_KIND: usize = 4;
const ROUNDS: usize = 4;
/// The number of viewers in all rounds. One kind connects twice.
const CAME: u64 = (ROUNDS * LOGS * OF_EACH_KIND * 6) as u64;
/// The allowed memory for each viewer afterwards: freed memory may still belong to the process. A
/// leaked viewer would need several times as much.
const LEFT_BYTES_MAX: u64 = 4096;

/// The way in which a viewer disconnects.
#[derive(Clone, Copy)]
enum Leaving {
    WithAClose,
    WithoutAWord,
    ByReset,
    /// It stays connected and stops answering.
    ByTimeout,
    /// By HTTP: it drops an event stream, and downloads the log.
    InTheMiddle,
}

async fn come_and_go(address: SocketAddr, log: String, leaving: Leaving) {
    let target = format!("{log}?tail=1");
    match leaving {
        Leaving::WithAClose => {
            let mut viewer = Viewer::v1(address, &target).await;
            viewer.expect("open").await;
            viewer.stream.close(None).await.unwrap();
            while viewer.next().await.is_ok() {}
        }
        Leaving::WithoutAWord => {
            Viewer::original(address, &format!("{target}&format=text")).await.text().await;
        }
        Leaving::ByReset => {
            let viewer = Bare::join(address, &log).await;
            SockRef::from(viewer.0.tcp()).set_linger(Some(Duration::ZERO)).unwrap();
        }
        Leaving::ByTimeout => {
            let mut viewer = Bare::join(address, &log).await;
            while viewer.hear().await != Frame::Close(1011) {}
        }
        Leaving::InTheMiddle => {
            let accept = [("Accept", "text/event-stream")];
            Streaming::get(address, &target, &accept).await;
            get(address, &log, &[]).await;
        }
    }
}

/// Connects and disconnects all kinds of viewers of all logs, which are rotated meanwhile.
async fn round(address: SocketAddr, logs: &[PathBuf]) {
    let mut coming = tokio::task::JoinSet::new();
    for count in 0..OF_EACH_KIND {
        for log in logs {
            let name = log.to_str().unwrap();
            for leaving in [
                Leaving::WithAClose,
                Leaving::WithoutAWord,
                Leaving::ByReset,
                Leaving::ByTimeout,
                Leaving::InTheMiddle,
            ] {
                coming.spawn(come_and_go(address, name.to_owned(), leaving));
            }
            tokio::task::yield_now().await;
            if count % 4 == 1 {
                let aside = format!("{name}.1");
                std::fs::remove_file(&aside).ok();
                std::fs::hard_link(log, &aside).unwrap();
                put(log, "another file\n");
            }
            append(log, format!("line {count}\n"));
        }
    }
    coming.join_all().await;
}

/// The resources of a program.
#[derive(Clone, Copy, Debug)]
struct TailedFile {
    descriptors: usize,
    sockets: usize,
    watches: usize,
    threads: usize,
}

impl TailedFile {
    fn by(program: &Program) -> Self {
        let of = |what: &str| std::fs::read_dir(format!("/proc/{}/{what}", program.child.id()));
        let links =
            of("fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let links: Vec<_> = links.collect();
        let is_socket = |link: &&PathBuf| link.to_string_lossy().starts_with("socket:");
        Self {
            descriptors: links.len(),
            sockets: links.iter().filter(is_socket).count(),
            watches: program.watches(),
            threads: of("task").unwrap().count(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_come_and_go_leave_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let logs: Vec<_> =
        (0..LOGS).map(|number| directory.path().join(format!("{number}.log"))).collect();
    logs.iter().for_each(|log| append(log, "start\n"));
    let program = Program::serve(&["--heartbeat", "2", directory.path().to_str().unwrap()]);
    let at_first = TailedFile::by(&program);
    let all_are_gone = async || {
        eventually("all are gone", async || {
            let health = get(program.address, "/_/healthz", &[]).await;
            let health: Value = serde_json::from_slice(&health.body).unwrap();
            let now = TailedFile::by(&program);
            // One socket is that of this request.
            let is_so = health["logs"] == 0 && now.sockets <= at_first.sockets + 1;
            if is_so && now.watches == 0 { Ok(()) } else { Err((now, health)) }
        })
        .await;
    };
    // The first round causes the one-time allocations.
    round(program.address, &logs).await;
    all_are_gone().await;
    let (before, memory_before) = (TailedFile::by(&program), program.resident());
    for _ in 0..ROUNDS {
        round(program.address, &logs).await;
    }
    all_are_gone().await;
    let memory = program.resident();
    let each = memory.saturating_sub(memory_before) / CAME;
    eprintln!("{memory_before} bytes before, {memory} after {CAME} more had come and gone");
    assert!(each < LEFT_BYTES_MAX, "{each} bytes are left of each");
    eventually("nothing else is held", async || {
        let now = TailedFile::by(&program);
        // The watcher is created for the first viewer, with its own thread.
        let is_so = now.descriptors <= before.descriptors && now.threads <= at_first.threads + 1;
        if is_so { Ok(()) } else { Err((at_first, before, now)) }
    })
    .await;
}

/// The names of this process's threads, and the targets of its descriptors.
fn held_here() -> (Vec<String>, Vec<PathBuf>) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let threads = tasks.filter_map(|task| name(task.ok()?)).collect();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    (threads, links.collect())
}

#[tokio::test]
async fn a_registry_that_is_closed_leaves_no_thread_watch_or_descriptor() {
    const ALONE: &str = "TAILCAST_TEST_ALONE";
    // Other tests have threads and descriptors in this process, so this test runs itself in another
    // process.
    if std::env::var_os(ALONE).is_none() {
        let test = "leaks::a_registry_that_is_closed_leaves_no_thread_watch_or_descriptor";
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", test]).env(ALONE, "yes").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    append(&path, "start\n");
    let access = std::sync::Arc::new(tailcast::log::Access::new([directory.path()]).unwrap());
    let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
    let (_, before) = held_here();
    let registry = tailcast::log::Registry::new(access, Duration::from_secs(5));
    let subscription = registry.join(&log, false).await.unwrap();
    std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    append(&path, "another file\n");
    subscription.follower.refresh().await;
    let (threads, descriptors) = held_here();
    let is_ours = |name: &&String| name.starts_with("follow") || name.starts_with("notify");
    assert!(threads.iter().filter(is_ours).count() >= 3, "{threads:?}");
    assert!(descriptors.len() > before.len() + 3, "{descriptors:?}");
    // The registry itself still exists.
    drop(subscription);
    registry.close().await;
    eventually("nothing is left", async || {
        let (threads, descriptors) = held_here();
        let is_left = threads.iter().any(|name| is_ours(&name)) || descriptors.len() > before.len();
        if is_left { Err((threads, descriptors)) } else { Ok(()) }
    })
    .await;
}
