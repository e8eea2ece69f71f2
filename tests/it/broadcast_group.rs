//! Viewers that are up to date form a broadcast group. A viewer that falls behind leaves the group,
//! catches up and rejoins.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tailcast::serve::Settings;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Rows, Viewer};
use crate::servers::{DEADLINE, Program, TestServer, append, eventually, no_heartbeat, pace};
use crate::transport::{Transport, over_tcp_and_tls};

over_tcp_and_tls!(
    a_viewer_that_falls_behind_rejoins_its_group_without_a_lost_byte,
    every_viewer_in_a_broadcast_group_gets_each_rotation_once,
    a_viewer_that_falls_behind_within_a_burst_gets_every_row,
);

/// The bytes that a viewer received, in runs: each begins with an `open`, a `reset` or a `gap`.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Runs(Vec<(String, Vec<u8>)>);

impl Runs {
    fn take(&mut self, message: Message) {
        match message {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                let what = match message["type"].as_str().unwrap() {
                    "reset" => message["reason"].as_str().unwrap(),
                    other => other,
                };
                self.0.push((format!("{what} {}", message["from"]), Vec::new()));
            }
            Message::Binary(data) => {
                let (head, bytes) = self.0.last_mut().unwrap();
                let from: usize = head.split(' ').nth(1).unwrap().parse().unwrap();
                let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
                assert_eq!(offset, (from + bytes.len()) as u64, "in the run `{head}`");
                bytes.extend_from_slice(&data[8..]);
            }
            _ => {}
        }
    }

    fn ends_with(&self, last: &[u8]) -> bool {
        self.0.last().is_some_and(|(_, bytes)| bytes.ends_with(last))
    }

    fn heads(&self) -> Vec<&str> {
        self.0.iter().map(|(head, _)| head.as_str()).collect()
    }
}

/// Reads to the last bytes, with a pause before each message.
async fn read(mut viewer: Viewer, pause: Duration, last: &'static [u8]) -> Runs {
    let mut runs = Runs::default();
    while !runs.ends_with(last) {
        pace(pause).await;
        let next = timeout(DEADLINE, viewer.stream.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing came after {:?}", runs.heads()));
        runs.take(next.unwrap().unwrap());
    }
    runs
}

async fn a_viewer_that_falls_behind_rejoins_its_group_without_a_lost_byte(transport: Transport) {
    let server = TestServer::with(transport.of(no_heartbeat())).await;
    let log = server.log("a.log", "");
    let target = format!("{log}?tail=1&lines=all&format=raw");
    let mut reading = Vec::new();
    for number in 0..40u64 {
        let viewer = Viewer::v1(server.address, &target).await;
        // Every eighth viewer is slow, each with another pause.
        let pause =
            if number % 8 == 7 { Duration::from_millis(number / 4) } else { Duration::ZERO };
        reading.push(tokio::spawn(read(viewer, pause, b"the end\n")));
    }
    let mut expected = Runs(vec![("open 0".to_owned(), Vec::new())]);
    for round in 0..3 {
        for block in 0..60u32 {
            let line = format!("{round} {block} ");
            let block: Vec<u8> = line.bytes().cycle().take(97_001).chain(*b"\n").collect();
            append(&log, &block);
            expected.0.last_mut().unwrap().1.extend_from_slice(&block);
            pace(Duration::from_millis(2)).await;
        }
        std::fs::rename(&log, server.path(&format!("a.log.{round}"))).unwrap();
        append(&log, "");
        expected.0.push(("rotated 0".to_owned(), Vec::new()));
    }
    append(&log, "the end\n");
    expected.0.last_mut().unwrap().1.extend_from_slice(b"the end\n");
    for (number, reading) in reading.into_iter().enumerate() {
        let got = reading.await.unwrap();
        assert_eq!(got.heads(), expected.heads(), "viewer {number}");
        assert!(got == expected, "viewer {number} got other bytes");
    }
}

async fn every_viewer_in_a_broadcast_group_gets_each_rotation_once(transport: Transport) {
    let server = TestServer::with(transport.of(Settings::default())).await;
    let log = server.log("a.log", "before\n");
    let mut viewers = Vec::new();
    for query in ["", "&format=text", "&signed=1", "&format=raw"].iter().cycle().take(40) {
        let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1{query}")).await;
        viewer.expect("open").await;
        viewer.next().await.unwrap();
        viewers.push(viewer);
    }
    append(&log, "together\n");
    for viewer in &mut viewers {
        viewer.next().await.unwrap();
    }
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(&log, "after\n");
    for (number, viewer) in viewers.iter_mut().enumerate() {
        let mut told = Vec::new();
        let data = loop {
            match viewer.next().await.unwrap() {
                Message::Text(text) if text.contains("after") => break text.to_string(),
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    told.push(message["type"].as_str().unwrap().to_owned());
                }
                data => break String::from_utf8_lossy(&data.into_data()[8..]).into_owned(),
            }
        };
        assert!(data.contains("after"), "viewer {number}: {data}");
        told.retain(|kind| kind != "signed");
        assert_eq!(told, ["reset"], "viewer {number}");
    }
}

/// Few bytes of the log make many bytes of rows, so that they are rendered in several steps.
async fn a_viewer_that_falls_behind_within_a_burst_gets_every_row(transport: Transport) {
    let server = TestServer::with(transport.of(no_heartbeat())).await;
    let log = server.log("a.log", "");
    let mut reading = Vec::new();
    for number in 0..6u64 {
        let target = format!("{log}?tail=1&lines=all&format=text");
        let mut viewer = Viewer::v1(server.address, &target).await;
        reading.push(tokio::spawn(async move {
            pace(Duration::from_millis(if number % 3 == 2 { 300 } else { 0 })).await;
            viewer.expect("open").await;
            let mut rows = Rows::default();
            while rows.texts().last() != Some(&"the end") {
                rows.apply(&viewer.expect("rows").await);
            }
            rows
        }));
    }
    let mut expected = Vec::new();
    let mut written = 0;
    for block in 0..12 {
        let mut lines = String::new();
        for line in 0..500 {
            let start = format!("{block}.{line}");
            expected.push((written + lines.len() as u64, format!("{start:400}|")));
            lines += &format!("{start}\x1b[401G|\n");
        }
        append(&log, &lines);
        written += lines.len() as u64;
        pace(Duration::from_millis(3)).await;
    }
    append(&log, "the end\n");
    expected.push((written, "the end".to_owned()));
    for (number, reading) in reading.into_iter().enumerate() {
        let got = reading.await.unwrap().0;
        let differs = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert_eq!((differs, got.len()), (None, expected.len()), "viewer {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_leaves_a_silent_log_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let target = format!("{}?tail=1", log.display());
    let mut stays = Viewer::original(program.address, &target).await;
    assert_eq!(stays.text().await, "x\n");
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", program.child.id())).unwrap().count();
    let before = descriptors();
    let mut leaves = Vec::new();
    for number in 0..20 {
        let mut viewer = Viewer::original(program.address, &target).await;
        assert_eq!(viewer.text().await, "x\n");
        if number % 2 == 0 {
            viewer.stream.close(None).await.unwrap();
        }
        leaves.push(viewer);
    }
    drop(leaves);
    eventually("their sockets are closed", async || match descriptors() {
        now if now <= before => Ok(()),
        now => Err((before, now)),
    })
    .await;
    append(&log, "y\n");
    assert_eq!(stays.text().await, "y\n");
}
