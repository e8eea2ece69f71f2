//! Long runs of NULs: preallocated files, and files that were truncated under a writer.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::FallocateFlags;
use tokio_tungstenite::tungstenite::Message;

use crate::checked_viewer::{CheckedViewer, Mode, in_both_modes};
use crate::clients::Viewer;
use crate::servers::{TestServer, append};

/// The most system calls in one poll of a log.
#[cfg(feature = "faults")]
const CALLS_PER_POLL: u64 = 3;

in_both_modes! {
    a_preallocated_file_is_followed_as_it_is_written,
    stores_into_a_preallocated_file_are_noticed,
    a_truncated_log_with_a_writer_at_an_offset_gets_a_hole,
    a_huge_hole_is_a_gap_and_a_small_one_is_sent,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Bytes(u64, Vec<u8>),
    Gap(u64, u64),
    Reset(String, u64),
}

/// All messages up to bytes that end with `last`.
async fn read_until(viewer: &mut Viewer, last: &[u8]) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    loop {
        match viewer.next().await.unwrap() {
            Message::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                let number = |field: &str| message[field].as_u64().unwrap();
                match message["type"].as_str().unwrap() {
                    "open" => {}
                    "gap" => all.push(Told::Gap(number("from"), number("to"))),
                    "reset" => {
                        let reason = message["reason"].as_str().unwrap().to_owned();
                        all.push(Told::Reset(reason, number("from")));
                    }
                    other => panic!("{other} after {all:?}"),
                }
            }
            data => {
                let data = data.into_data();
                let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
                match all.last_mut() {
                    Some(Told::Bytes(start, bytes)) if *start + bytes.len() as u64 == offset => {
                        bytes.extend_from_slice(&data[8..]);
                    }
                    _ => all.push(Told::Bytes(offset, data[8..].to_vec())),
                }
            }
        }
        if let Some(Told::Bytes(_, bytes)) = all.last()
            && bytes.ends_with(last)
        {
            return all;
        }
    }
}

async fn viewer_of(server: &TestServer, log: &str) -> Viewer {
    Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await
}

fn bytes(start: u64, bytes: &[u8]) -> Told {
    Told::Bytes(start, bytes.to_vec())
}

async fn a_preallocated_file_is_followed_as_it_is_written(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let file = File::options().write(true).open(&log).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 20).unwrap();
    let mut viewer = viewer_of(&server, &log).await;
    viewer.expect("open").await;
    let mut written = Vec::new();
    let one_by_one = if mode == Mode::Events { 300 } else { 20 };
    for record in 0..100 {
        let record = format!("record {record}\n");
        file.write_all_at(record.as_bytes(), written.len() as u64).unwrap();
        written.extend_from_slice(record.as_bytes());
        if written.len() < one_by_one {
            read_until(&mut viewer, record.as_bytes()).await;
        }
    }
    read_until(&mut viewer, b"record 99\n").await;
    // A viewer that joins now gets the lines, but not the megabyte of NULs after them.
    let mut late = Viewer::v1(server.address, &format!("{log}?tail=1&lines=2&format=raw")).await;
    let from = (written.len() - 20) as u64;
    assert_eq!(read_until(&mut late, b"99\n").await, [bytes(from, b"record 98\nrecord 99\n")]);
    // Fills the allocated space to its last bytes, then shrinks the file to its written length and
    // appends.
    let rest = vec![b'x'; (1 << 20) - written.len() - 100];
    file.write_all_at(&rest, written.len() as u64).unwrap();
    written.extend_from_slice(&rest);
    read_until(&mut viewer, b"x").await;
    file.write_all_at(b"almost\n", written.len() as u64).unwrap();
    file.set_len((written.len() + 7) as u64).unwrap();
    append(&log, "the end\n");
    let told = read_until(&mut late, b"the end\n").await;
    let Told::Bytes(start, got) = &told[0] else { panic!("{told:?}") };
    assert_eq!((*start, told.len()), (from + 20, 1), "no reset, no gap, no NUL");
    assert!(!got.contains(&0));
}

/// A writer in another process that stores into a mapping of the whole file.
struct Mapping(Child);

impl Mapping {
    fn of(path: &str) -> Self {
        const PROGRAM: &str = "import mmap, sys\n\
            with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as mapping:\n\
            \x20   for line in sys.stdin.buffer:\n\
            \x20       mapping.write(line)\n";
        let mut python = Command::new("python3");
        let python = python.args(["-c", PROGRAM, path]).stdin(Stdio::piped());
        Self(python.spawn().unwrap())
    }

    /// Stores a line after the previous ones.
    fn store(&mut self, line: &str) {
        self.0.stdin.as_ref().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

async fn stores_into_a_preallocated_file_are_noticed(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    File::options().write(true).open(&log).unwrap().set_len(1 << 20).unwrap();
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    assert_eq!(viewer.opened["size"], 1 << 20);
    let mut mapping = Mapping::of(&log);
    // The first store into a page may change the file's time; later ones do not.
    for line in ["stored\n", "stored beside it\n", "and another\n"] {
        mapping.store(line);
        viewer.read_until(line).await;
    }
    viewer.assert_events(&[("open", 0, "stored\nstored beside it\nand another\n")]);
}

async fn a_truncated_log_with_a_writer_at_an_offset_gets_a_hole(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let file = File::options().write(true).open(&log).unwrap();
    let mut before = vec![b'o'; 1 << 20];
    before.splice((1 << 20) - 4.., *b"end\n");
    file.write_all_at(&before, 0).unwrap();
    let mut viewer = viewer_of(&server, &log).await;
    read_until(&mut viewer, b"end\n").await;
    file.set_len(0).unwrap();
    file.write_all_at(b"goes on\n", 1 << 20).unwrap();
    let told = read_until(&mut viewer, b"goes on\n").await;
    let expected = [
        Told::Reset("truncated".to_owned(), 0),
        Told::Gap(0, 1 << 20),
        bytes(1 << 20, b"goes on\n"),
    ];
    assert_eq!(told, expected);
    let mut late = viewer_of(&server, &log).await;
    assert_eq!(read_until(&mut late, b"goes on\n").await, expected[1..]);
}

async fn a_huge_hole_is_a_gap_and_a_small_one_is_sent(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "start");
    let mut viewer = viewer_of(&server, &log).await;
    read_until(&mut viewer, b"start").await;
    let file = File::options().write(true).open(&log).unwrap();
    file.write_all_at(b"far\n", 1 << 40).unwrap();
    let told = read_until(&mut viewer, b"far\n").await;
    assert_eq!(told, [Told::Gap(5, 1 << 40), bytes(1 << 40, b"far\n")]);
    // Written zeros, which are data for the file system: first in the middle, then at the end.
    let at = (1 << 40) + 4;
    file.write_all_at(&[&vec![0; 300_000][..], b"zeros\n"].concat(), at).unwrap();
    let told = read_until(&mut viewer, b"zeros\n").await;
    assert_eq!(told, [Told::Gap(at, at + 300_000), bytes(at + 300_000, b"zeros\n")]);
    let at = at + 300_006;
    file.write_all_at(&[&[0; 60_000][..], b"few\n"].concat(), at).unwrap();
    let told = read_until(&mut viewer, b"few\n").await;
    assert_eq!(told, [bytes(at, &[&[0; 60_000][..], b"few\n"].concat())]);
    append(&log, "record\0");
    read_until(&mut viewer, b"record\0").await;
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn trailing_nuls_are_polled_by_the_timer_alone() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    File::options().write(true).open(&log).unwrap().set_len(1 << 30).unwrap();
    let mut viewer = viewer_of(&server, &log).await;
    read_until(&mut viewer, b"start\n").await;
    server.assert_polls_by_timer(1, CALLS_PER_POLL).await;
}
