//! The cost of a line in counted operations, which are the same on every machine.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::Value;
use tailcast::log::follower::BACKSTOP_INTERVAL;

use crate::clients::{Viewer, get};
use crate::servers::{Program, append, eventually};

/// The viewers of each load. The members of the last group have several tasks that write to them.
const LOADS: [u64; 3] = [10, 100, 1000];
const APPENDS: u64 = 200;
/// Two are necessary. A third is allowed for an event that arrives after its bytes were read.
const READS_PER_APPEND: u64 = 3;
/// A poll by the timer reads the head and the bytes before the offset.
const READS_PER_POLL: u64 = 2;
/// The watcher waits for an event, the follower for the watcher, and for many viewers a thread of the runtime for
/// the follower. What one of them wakes may wait for a lock that it still holds, and the runtime wakes another
/// thread to look whether there is more.
const WAITS_PER_APPEND: u64 = 8;
/// To few viewers the follower's thread writes itself. Sometimes it has something else to do.
const RUNTIME_WAITS_FOR_FEW: f64 = 0.5;
/// So many viewers are few.
const FEW: u64 = 511;
/// Writes do not change a name, so while lines arrive the name is looked up only once in this time,
/// and at each backstop poll.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(500);

/// The counters of the server.
#[derive(Clone, Copy, Debug)]
struct Counters {
    reads: u64,
    lookups: u64,
    chunks: u64,
    renders: u64,
    frames: u64,
    writes: u64,
}

impl Counters {
    async fn of(program: &Program) -> Self {
        let answer = get(program.address, "/_/healthz", &[]).await;
        let health: Value = serde_json::from_slice(&answer.body).unwrap();
        let count = |name: &str| {
            health["counters"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {health}"))
        };
        Self {
            reads: count("reads"),
            lookups: count("lookups"),
            chunks: count("chunks"),
            renders: count("renders"),
            frames: count("frames"),
            writes: count("writes"),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            reads: self.reads - before.reads,
            lookups: self.lookups - before.lookups,
            chunks: self.chunks - before.chunks,
            renders: self.renders - before.renders,
            frames: self.frames - before.frames,
            writes: self.writes - before.writes,
        }
    }
}

/// Appends a line, and waits until all viewers have it.
async fn tell(log: &Path, line: &str, viewers: &mut [Viewer]) {
    append(log, line);
    for viewer in viewers {
        assert_eq!(viewer.text().await, line);
    }
}

/// Appends lines until one is rendered once for all viewers, and returns the counters then. A viewer
/// may have a line before it joins the group that gets the next ones.
async fn all_in_one_group(program: &Program, log: &Path, viewers: &mut [Viewer]) -> Counters {
    let count = viewers.len() as u64;
    let mut before = counted(program, count).await;
    eventually("a line is rendered once for all viewers", async || {
        tell(log, "are all live?\n", viewers).await;
        let now = counted(program, before.frames + count).await;
        let spent = now.since(std::mem::replace(&mut before, now));
        if spent.renders == 1 { Ok(()) } else { Err(spent) }
    })
    .await;
    before
}

/// The counters when so many frames are counted. They are counted after the write to the socket; the last viewer may
/// have its frame before that.
async fn counted(program: &Program, frames: u64) -> Counters {
    let mut seen = None;
    eventually("each viewer has got one frame for each line", async || {
        let now = Counters::of(program).await;
        seen = Some(now);
        if now.frames == frames { Ok(()) } else { Err(now) }
    })
    .await;
    seen.expect("the counters were read")
}

/// How often each thread of a process has waited for something, by its number and its name.
fn waits(process: u32) -> HashMap<(OsString, String), u64> {
    let of_thread = |thread: std::fs::DirEntry| {
        // A thread may end meanwhile.
        let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
        let name = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Some(((thread.file_name(), name), line.unwrap().trim().parse().unwrap()))
    };
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.filter_map(|thread| of_thread(thread.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_is_read_and_rendered_once_and_written_once_to_each_viewer() {
    for viewers in LOADS {
        measure(viewers).await;
    }
}

/// Counts what lines cost with this many viewers.
async fn measure(count: u64) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "start\n").unwrap();
    // Without heartbeats, because each is a write.
    let program = Program::serve(&["--heartbeat", "0", directory.path().to_str().unwrap()]);
    let target = format!("{}?tail=1", log.display());
    let mut viewers: Vec<Viewer> = stream::iter(0..count)
        .map(|_| Viewer::original(program.address, &target))
        .buffer_unordered(50)
        .collect()
        .await;
    for viewer in &mut viewers {
        assert_eq!(viewer.text().await, "start\n");
    }
    let before = all_in_one_group(&program, &log, &mut viewers).await;
    let waits_before = waits(program.child.id());
    let began = Instant::now();
    for number in 0..APPENDS {
        tell(&log, &format!("line {number}\n"), &mut viewers).await;
    }
    let waits = waits(program.child.id());
    let (mut waits_of_all, mut waits_of_runtime) = (0, 0);
    for (thread, waits) in &waits {
        let waits = waits - waits_before.get(thread).copied().unwrap_or(0);
        waits_of_all += waits;
        waits_of_runtime += if thread.1.starts_with("tokio-rt-worker") { waits } else { 0 };
    }
    assert!(waits.keys().any(|(_, name)| name.starts_with("tokio-rt-worker")), "{waits:?}");
    let deliveries = APPENDS * count;
    let spent = counted(&program, before.frames + deliveries).await.since(before);
    let expired =
        |interval: Duration| (began.elapsed().as_millis() / interval.as_millis()) as u64 + 1;
    let lookups_max = expired(LOOKUP_INTERVAL) + expired(BACKSTOP_INTERVAL);
    eprintln!(
        "{APPENDS} lines to {count} viewers: {spent:?}, {waits_of_all} waits, {waits_of_runtime} of the runtime"
    );
    assert_eq!(spent.chunks, APPENDS, "{spent:?}");
    assert_eq!(spent.renders, APPENDS, "{spent:?}");
    assert_eq!(spent.writes, deliveries, "{spent:?}");
    assert!(spent.lookups <= lookups_max, "{spent:?}, and at most {lookups_max} lookups are due");
    let reads_max = READS_PER_APPEND * APPENDS + READS_PER_POLL * expired(BACKSTOP_INTERVAL);
    assert!(spent.reads <= reads_max, "{spent:?}, and at most {reads_max} reads are due");
    // However many viewers there are.
    let waits_max = WAITS_PER_APPEND * APPENDS;
    assert!(
        waits_of_all <= waits_max,
        "{waits_of_all} waits for {count} viewers, and at most {waits_max} are due"
    );
    let per_append = waits_of_runtime as f64 / APPENDS as f64;
    assert!(
        count > FEW || per_append <= RUNTIME_WAITS_FOR_FEW,
        "the runtime waits {per_append} times for each of the lines to {count} viewers"
    );
}
