//! Logs of a gigabyte and more: the cost of many readers, and the effect of a long catch-up on
//! other logs.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::checked_viewer::{CheckedViewer, PROMPT};
use crate::clients::Viewer;
use crate::servers::{Program, TestServer, append, pace};

const BLOCK_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;

/// A block of such a log. Each page begins with its number, so each is unique.
fn block(number: usize) -> Vec<u8> {
    static LINES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        (0..BLOCK_BYTES / 16).flat_map(|line| format!("{line:015}\n").into_bytes()).collect()
    });
    let mut block = LINES.clone();
    for (page, bytes) in block.chunks_mut(PAGE_BYTES).enumerate() {
        let page = number * (BLOCK_BYTES / PAGE_BYTES) + page;
        bytes[..15].copy_from_slice(format!("{page:015}").as_bytes());
    }
    block
}

fn write_blocks(path: &Path, blocks: usize) {
    let mut file = File::create(path).unwrap();
    (0..blocks).for_each(|number| file.write_all(&block(number)).unwrap());
}

/// A viewer of such a log that stores only its offset.
struct Reader {
    viewer: Viewer,
    at: usize,
    /// The number and the content of the last expected block.
    expected: (usize, Vec<u8>),
}

impl Reader {
    async fn open(server: std::net::SocketAddr, log: &str, at: usize) -> Self {
        let target = format!("{log}?tail=1&format=raw&from={at}");
        let mut viewer = Viewer::v1(server, &target).await;
        assert_eq!(viewer.expect("open").await["from"], at);
        Self { viewer, at, expected: (0, block(0)) }
    }

    /// Reads up to this offset or beyond it.
    async fn read_until(&mut self, end: usize) {
        while self.at < end {
            let message = self.viewer.next().await.unwrap().into_data();
            let (head, mut bytes) = message.split_at(8);
            assert_eq!(u64::from_be_bytes(head.try_into().unwrap()), self.at as u64);
            while !bytes.is_empty() {
                let (number, within) = (self.at / BLOCK_BYTES, self.at % BLOCK_BYTES);
                if self.expected.0 != number {
                    self.expected = (number, block(number));
                }
                let taken = bytes.len().min(BLOCK_BYTES - within);
                let expected = &self.expected.1[within..within + taken];
                assert!(&bytes[..taken] == expected, "other bytes in block {number}");
                bytes = &bytes[taken..];
                self.at += taken;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_readers_of_a_gigabyte_share_its_descriptor_and_cost_little() {
    const READERS: usize = 200;
    const BLOCKS: usize = 1024;
    // One message, and the base cost of a viewer.
    const EACH_BYTES_MAX: u64 = (256 + 32) * 1024;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    write_blocks(&log, BLOCKS);
    // Readers take turns, which takes long on a busy machine, and none of them must be closed for
    // that.
    let patient = ["--heartbeat", "0", "--stall-timeout", "3600"];
    let served = directory.path().to_str().unwrap();
    let program = Program::serve(&[&patient[..], &[served]].concat());
    let target = log.to_str().unwrap();
    // The first reader causes the one-time allocations.
    let mut first = Reader::open(program.address, target, 0).await;
    first.read_until(8 * BLOCK_BYTES).await;
    let before = program.resident();
    let mut readers = Vec::new();
    for number in 0..READERS {
        let at = number * (BLOCKS * BLOCK_BYTES / READERS) + 1;
        readers.push(Reader::open(program.address, target, at).await);
    }
    let mut growth = 0;
    for reader in &mut readers {
        reader.read_until(reader.at + 600_000).await;
        growth = growth.max(program.resident().saturating_sub(before));
    }
    let each = growth / READERS as u64;
    let queues = readers.iter().map(|reader| program.send_queue(reader.viewer.local_address()));
    let queue = queues.max().unwrap();
    eprintln!("each of {READERS} readers costs {each} bytes, and {queue} in the kernel at most");
    assert_eq!(program.descriptors_of(&log), 1);
    assert!(each <= EACH_BYTES_MAX, "{each} bytes each");
    assert!(each + queue <= 1 << 20, "{each} bytes each, and {queue} in the kernel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_catch_up_does_not_delay_another_log() {
    // If the environment sets a number of MiB, the machine is assumed to be idle.
    let asked = std::env::var("TAILCAST_CATCH_UP_MIB").ok().map(|mib| mib.parse().unwrap());
    let blocks = asked.unwrap_or(512);
    let server = TestServer::start().await;
    let (long, other) = (server.path("long.log"), server.log("other.log", ""));
    write_blocks(&long, blocks);
    let mut viewer = CheckedViewer::from_end(&server, &other).await;
    let mut behind = Reader::open(server.address, long.to_str().unwrap(), 0).await;
    let began = Instant::now();
    let catching_up = tokio::spawn(async move { behind.read_until(blocks * BLOCK_BYTES).await });
    let mut times = Vec::new();
    while !catching_up.is_finished() {
        let line = format!("line {}\n", times.len());
        let written = Instant::now();
        append(&other, &line);
        viewer.read_until(&line).await;
        times.push(written.elapsed());
        pace(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    catching_up.await.unwrap();
    times.sort();
    let (median, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    eprintln!(
        "{blocks} MiB in {took:?}; {} lines of another log meanwhile: median {median:?}, p99 {p99:?}, slowest {:?}",
        times.len(),
        times[times.len() - 1]
    );
    assert!(median < PROMPT, "{times:?}");
    assert!(asked.is_none() || p99 < PROMPT, "{times:?}");
}
