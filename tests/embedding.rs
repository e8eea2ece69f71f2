//! A server in a process that continues: when the server has ended, nothing of it is left.
//!
//! This is a test program of its own, because it counts the threads, tasks and descriptors of its
//! process.

#![allow(clippy::unwrap_used, reason = "a test that meets something unexpected fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tailcast::log::Access;
use tailcast::serve::{Server, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// The resources of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    threads: usize,
    descriptors: usize,
    inotify_instances: usize,
    tasks: usize,
}

impl Held {
    fn now() -> Self {
        let entries = |folder: &str| std::fs::read_dir(format!("/proc/self/{folder}")).unwrap();
        let links: Vec<_> =
            entries("fd").filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
        let is_inotify = |link: &&std::path::PathBuf| link.ends_with("anon_inode:inotify");
        Self {
            threads: entries("task").count(),
            descriptors: links.len(),
            inotify_instances: links.iter().filter(is_inotify).count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        }
    }

    /// Whether the process holds no more than before.
    fn is_within(self, before: Self) -> bool {
        self.threads <= before.threads
            && self.descriptors <= before.descriptors
            && self.inotify_instances <= before.inotify_instances
            && self.tasks <= before.tasks
    }
}

/// Serves a log to a viewer, requests a count of its lines, and ends the server while the viewer is
/// connected.
async fn round(directory: &Path) {
    let log = directory.join("a.log");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access::new([directory]).unwrap();
    let (shutdown, ended) = oneshot::channel::<()>();
    let server = Server::new(access, Settings::default());
    let serving = tokio::spawn(server.serve(listener, async move {
        ended.await.ok();
    }));
    let target = format!("ws://{address}{}?tail=1&lines=1", log.display());
    let (mut viewer, _) = tokio_tungstenite::connect_async(target).await.unwrap();
    viewer.next().await.unwrap().unwrap();
    let held = Held::now();
    assert_eq!(held.inotify_instances, 1, "the log is watched: {held:?}");
    // This counts lines in the background.
    let request = format!(
        "GET /_/lines{}?at=0 HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
        log.display()
    );
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    shutdown.send(()).unwrap();
    while let Some(Ok(_)) = timeout(DEADLINE, viewer.next()).await.unwrap() {}
    timeout(DEADLINE, serving).await.expect("the server did not end").unwrap().unwrap();
}

#[test]
fn a_server_that_has_ended_leaves_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_millis(50))
        .enable_all()
        .build()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let line = "a line of a log that is quite as long as most lines of logs are\n";
    std::fs::write(directory.path().join("a.log"), line.repeat(2 << 20)).unwrap();
    runtime.block_on(async {
        let before = Held::now();
        for number in 0..3 {
            round(directory.path()).await;
            let until = Instant::now() + Duration::from_secs(5);
            loop {
                let now = Held::now();
                if now.is_within(before) {
                    break;
                }
                assert!(Instant::now() < until, "round {number}: {before:?} before, {now:?} after");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
}
