//! Many followers: their number, their threads and descriptors, and the effect of one that fails or
//! hangs on the others.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Viewer, get};
use crate::servers::{DEADLINE, Program, append, eventually, pace, put, send_signal, target};

/// A line arrives within this time, whatever happens to other logs.
const LINE_TIME: Duration = Duration::from_millis(300);
/// The number of measured lines. Only half of them have to be in time, because the machine may be
/// busy.
const LINES: usize = 30;

/// Appends lines to a log and returns the median time until the viewer has them.
async fn median_line_time(viewer: &mut Viewer, log: &std::path::Path) -> Duration {
    let mut times = Vec::with_capacity(LINES);
    for number in 0..LINES {
        let line = format!("line {number}\n");
        let written = Instant::now();
        append(log, &line);
        viewer.text_until(&line).await;
        times.push(written.elapsed());
        // The lines are spread over more time than the interval of the backstop.
        pace(Duration::from_millis(100)).await;
    }
    times.sort();
    times[LINES / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_for_missing_logs_start_few_followers() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "start\n".repeat(100));
    let served = directory.path().to_str().unwrap();
    let program = Program::serve(&[served, "--max-viewers", "10"]);
    let mut viewer = Viewer::v1(program.address, &format!("{}?tail=1", target(&log))).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    let ask = async |number: usize| {
        let path = format!("/_/rows{served}/missing-{number}.log?generation={generation}");
        get(program.address, &path, &[]).await.status
    };
    let asking =
        async { stream::iter(0..500).map(ask).buffer_unordered(50).collect::<Vec<u16>>().await };
    let mut most = 0;
    let watching = async {
        loop {
            let health: Value =
                serde_json::from_slice(&get(program.address, "/_/healthz", &[]).await.body)
                    .unwrap();
            most = most.max(health["logs"].as_u64().unwrap());
            pace(Duration::from_millis(20)).await;
        }
    };
    let statuses = tokio::select! {
        statuses = asking => statuses,
        () = watching => unreachable!(),
    };
    assert!(most > 1 && most <= 64 + 1, "{most} logs are followed");
    // The requested generation exists in the same directory, so an answer may also be 200.
    assert!(statuses.iter().all(|status| [200, 404, 410, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&503), "none was refused");
    eventually("names can be asked for again", async || match ask(0).await {
        503 => Err(503),
        _ => Ok(()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_reads_ten_rotated_files_has_few_of_them_open_at_a_time() {
    /// The present file, four rotated files, and one that is being opened.
    const OPEN_MAX: usize = 1 + 4 + 1;
    const FILES: usize = 10;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    let content = |file: usize| format!("{file} {}\n", "x".repeat(1021)).repeat(3 << 10);
    append(&log, content(0));
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let query = "?tail=1&format=raw&lines=all";
    let mut viewer = Viewer::v1(program.address, &format!("{}{query}", target(&log))).await;
    viewer.expect("open").await;
    let open_files = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", program.child.id())).unwrap();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        // A set, because a file that is being opened may have two descriptors for a moment.
        let files: HashSet<_> = links.filter(|link| link.starts_with(directory.path())).collect();
        files.iter().filter(|file| *file != directory.path()).count()
    };
    // The first viewer reads nothing meanwhile.
    let query = "?tail=1&format=raw&lines=0";
    let mut other = Viewer::v1(program.address, &format!("{}{query}", target(&log))).await;
    other.expect("open").await;
    for file in 1..FILES {
        std::fs::rename(&log, directory.path().join(format!("a.log.{file}"))).unwrap();
        put(&log, format!("file {file}\n"));
        // The other viewer receives the beginning of this file.
        let begun = format!("file {file}\n");
        while !matches!(other.next().await.unwrap(), Message::Binary(data)
            if data.ends_with(begun.as_bytes()))
        {}
        append(&log, content(file));
    }
    let size = |file: usize| content(file).len() + format!("file {file}\n").len();
    let wanted = content(0).len() + (1..FILES).map(size).sum::<usize>();
    let (mut got, mut most, mut told) = (0, 0, Vec::new());
    while got < wanted {
        match viewer.next().await.unwrap() {
            Message::Binary(data) => got += data.len() - 8,
            Message::Text(text) => told.push(text.to_string()),
            other => panic!("{other:?}"),
        }
        most = most.max(open_files());
    }
    assert!(!told.iter().any(|text| text.contains("gap")), "{told:?}");
    assert!(most <= OPEN_MAX, "{most} files are open");
}

/// A directory that is mounted through a FUSE server, which can be stopped.
struct Fuse {
    below: tempfile::TempDir,
    mount: tempfile::TempDir,
    server: std::process::Child,
}

impl Fuse {
    /// None if the system has no FUSE.
    async fn start() -> Option<Self> {
        if !std::path::Path::new("/dev/fuse").exists() {
            return None;
        }
        let (below, mount) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = std::process::Command::new("bindfs");
        command.arg("-f").arg(below.path()).arg(mount.path());
        let server = command.spawn().expect("`bindfs` is needed: tests/run installs it");
        append(below.path().join("0.log"), "start\n");
        let fuse = Self { below, mount, server };
        eventually("it is mounted", async || {
            if fuse.mount.path().join("0.log").exists() { Ok(()) } else { Err(()) }
        })
        .await;
        Some(fuse)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        send_signal(&self.server, signal);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let unmount =
            std::process::Command::new("umount").arg("-l").arg(self.mount.path()).status();
        self.server.kill().ok();
        self.server.wait().ok();
        unmount.ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_server_that_stops_holds_up_its_own_logs_only() {
    const LOGS: usize = 20;
    let Some(fuse) = Fuse::start().await else {
        return eprintln!("there is no FUSE here: only injected hangs are tested");
    };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "start\n");
    let (plain, mounted) = (directory.path().to_str().unwrap(), fuse.mount.path());
    // Without heartbeats, because the viewers of the mounted logs read nothing meanwhile.
    let program = Program::serve(&["--heartbeat", "0", plain, mounted.to_str().unwrap()]);
    let query = "?tail=1&format=text";
    let mut viewer = Viewer::original(program.address, &format!("{}{query}", target(&log))).await;
    viewer.text_until("start\n").await;
    let mut theirs = Vec::new();
    for number in 0..LOGS {
        append(fuse.below.path().join(format!("{number}.log")), "there\n");
        let name = mounted.join(format!("{number}.log"));
        eventually("the log can be opened", async || if name.exists() { Ok(()) } else { Err(()) })
            .await;
        let mut viewer =
            Viewer::original(program.address, &format!("{}{query}", target(&name))).await;
        viewer.text_until("there\n").await;
        theirs.push(viewer);
    }
    fuse.signal(rustix::process::Signal::STOP);
    let mut coming = tokio::task::JoinSet::new();
    for number in 0..10 * LOGS {
        let name = target(&mounted.join(format!("{}.log", number % LOGS)));
        let address = program.address;
        coming.spawn(async move {
            Viewer::original(address, &format!("{name}{query}")).await.text().await
        });
    }
    let median = median_line_time(&mut viewer, &log).await;
    let mut late = Viewer::original(program.address, &format!("{}{query}", target(&log))).await;
    let last = format!("line {}\n", LINES - 1);
    let joined = timeout(DEADLINE, late.text_until(&last)).await;
    fuse.signal(rustix::process::Signal::CONT);
    assert!(median < LINE_TIME, "{median:?}");
    joined.expect("nobody can join another log");
    for (number, viewer) in theirs.iter_mut().enumerate() {
        append(fuse.below.path().join(format!("{number}.log")), "again\n");
        viewer.text_until("again\n").await;
    }
    coming.abort_all();
}

#[cfg(feature = "faults")]
mod injected {
    use std::sync::Arc;

    use tailcast::log::failpoints::Call;
    use tailcast::log::failpoints::Failpoints;
    use tailcast::log::{Access, Offset, Registry, Subscription};
    use tailcast::serve::{Heartbeat, Settings};

    use super::*;
    use crate::servers::TestServer;

    /// Ends all faults when it is dropped, because the end of the runtime waits for hanging calls.
    struct Mended(Failpoints);

    impl Drop for Mended {
        fn drop(&mut self) {
            self.0.mend();
        }
    }

    #[tokio::test]
    async fn a_follower_that_panics_is_replaced_for_the_next_viewer() {
        let server = TestServer::start().await;
        let log = server.log("a.log", "one\n");
        let query = format!("{log}?tail=1&format=text");
        let mut viewer = Viewer::original(server.address, &query).await;
        viewer.text_until("one\n").await;
        server.faults.panic(Call::Stat, server.path("a.log"));
        append(&log, "two\n");
        // Its viewer is closed, and can reconnect.
        let (_, close) = viewer.rest().await;
        server.faults.mend();
        assert_eq!(close.map(|(code, _)| code), Some(1001));
        let mut next = Viewer::original(server.address, &query).await;
        next.text_until("two\n").await;
        append(&log, "three\n");
        next.text_until("three\n").await;
        assert_eq!(server.health().await["logs"], 1);
        drop(next);
        server.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_file_system_that_hangs_holds_up_its_own_logs_only() {
        const LOGS: usize = 20;
        let directory = tempfile::tempdir().unwrap();
        // On another device.
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let access = Access::new([directory.path(), other.path()]).unwrap();
        let log = directory.path().join("a.log");
        append(&log, "start\n");
        let names: Vec<_> =
            (0..LOGS).map(|number| other.path().join(format!("{number}.log"))).collect();
        let _mended = Mended(access.faults().clone());
        // Without heartbeats, because the viewers of the other logs read nothing while the test
        // waits.
        let settings = Settings { heartbeat: Heartbeat::Off, ..Settings::default() };
        let server = TestServer::over(directory, access, settings).await;
        let query = "?tail=1&format=text";
        let open = async |name: &std::path::Path| {
            Viewer::original(server.address, &format!("{}{query}", target(name))).await
        };
        let mut viewer = open(&log).await;
        viewer.text_until("start\n").await;
        let mut theirs = Vec::new();
        for name in &names {
            append(name, "there\n");
            let mut viewer = open(name).await;
            viewer.text_until("there\n").await;
            theirs.push(viewer);
        }
        for call in [Call::Look, Call::Stat, Call::Read] {
            server.faults.hang(call, other.path());
        }
        names.iter().for_each(|name| append(name, "while it hangs\n"));
        let mut coming = tokio::task::JoinSet::new();
        for name in names.iter().cycle().take(10 * LOGS) {
            let (address, target) = (server.address, format!("{}{query}", target(name)));
            coming.spawn(async move { Viewer::original(address, &target).await.text().await });
        }
        eventually("calls hang", async || match server.faults.hanging() {
            0 => Err(()),
            _ => Ok(()),
        })
        .await;
        let median = median_line_time(&mut viewer, &log).await;
        let last = format!("line {}\n", LINES - 1);
        let mut late = open(&log).await;
        let joined = timeout(DEADLINE, late.text_until(&last)).await;
        let hanging = server.faults.hanging();
        server.faults.mend();
        assert!(median < LINE_TIME, "{median:?} with {hanging} calls that hang");
        joined.expect("nobody can join another log");
        for viewer in &mut theirs {
            viewer.text_until("while it hangs\n").await;
        }
        coming.abort_all();
        // A server ends in time even if calls hang.
        server.faults.hang(Call::Stat, other.path());
        names.iter().for_each(|name| append(name, "at the end\n"));
        eventually("calls hang again", async || match server.faults.hanging() {
            0 => Err(()),
            _ => Ok(()),
        })
        .await;
        drop((viewer, late, theirs));
        server.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_registry_is_bounded_and_ends_followers_without_viewers_for_new_ones() {
        let directory = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let name = |number: usize| {
            let path = directory.path().join(format!("{number}.log"));
            access.locate(path.as_os_str().as_encoded_bytes()).unwrap()
        };
        let registry = Registry::with_followers_max(Arc::clone(&access), Duration::from_secs(5), 2);
        let first = registry.join(&name(0), true).await.unwrap();
        let second = registry.join(&name(1), true).await.unwrap();
        let refused = registry.join(&name(2), true).await;
        assert_eq!(refused.unwrap_err(), tailcast::log::Refusal::Exhausted);
        let again = registry.join(&name(0), true).await;
        assert!(again.is_ok(), "a log that is followed can be joined");
        drop(second);
        let third = timeout(DEADLINE, registry.join(&name(2), true)).await.unwrap();
        assert!(third.is_ok(), "nobody views the second log");
        assert_eq!(registry.followed(), 2);
        drop((first, again, third));
        registry.close().await;
        assert_eq!(registry.followed(), 0);
    }

    #[tokio::test]
    async fn a_viewer_that_comes_at_the_end_gets_what_was_published_under_the_same_generation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        append(&path, "published\n");
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        let registry = Registry::new(access, Duration::from_secs(5));
        let latest = |viewer: &Subscription| {
            let span = Arc::clone(viewer.follower.timeline().latest().unwrap());
            (span.generation, span.end())
        };
        let (generation, _) = latest(&registry.join(&log, false).await.unwrap());
        append(&path, "at the end\n");
        registry.end_followers().await;
        let late = timeout(DEADLINE, registry.join(&log, false)).await.unwrap().unwrap();
        assert_eq!(latest(&late), (generation, Offset(21)));
        timeout(DEADLINE, late.follower.ended()).await.expect("it has not ended");
    }
}
