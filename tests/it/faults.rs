//! Failing system calls, and what viewers receive then.

use std::fs::File;

use rustix::io::Errno;
use tailcast::log::failpoints::Call;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::checked_viewer::{CheckedViewer, Mode, in_both_modes};
use crate::clients::Viewer;
use crate::servers::{DEADLINE, TestServer, append, eventually};

/// The bytes and control messages that a viewer received.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    told: Vec<String>,
}

impl Received {
    /// Reads until the bytes end with `last`. Returns false if the connection ends before.
    async fn listen(&mut self, viewer: &mut Viewer, last: &[u8]) -> bool {
        while !self.bytes.ends_with(last) {
            match viewer.next().await {
                Ok(Message::Binary(message)) => self.bytes.extend_from_slice(&message[8..]),
                Ok(Message::Text(text)) => self.told.push(text.to_string()),
                Ok(other) => panic!("{other:?}"),
                Err(_) => return false,
            }
        }
        true
    }
}

/// Rotates a log with a viewer while the `nth` call of a kind fails, and returns all bytes that the
/// viewer received.
async fn survive(server: &TestServer, call: Call, nth: u64, errno: Errno) -> Vec<u8> {
    let log = server.log("a.log", "one\n");
    server.faults.fail_nth(call, nth, errno);
    let mut heard = Received::default();
    let query = format!("{log}?tail=1&lines=all&format=raw");
    let mut viewer = Viewer::v1(server.address, &query).await;
    // A viewer that is refused because of the fault reconnects. The fault occurs once.
    if !heard.listen(&mut viewer, b"one\n").await {
        assert!(heard.bytes.is_empty(), "{heard:?}");
        viewer = Viewer::v1(server.address, &query).await;
        assert!(heard.listen(&mut viewer, b"one\n").await, "refused twice: {heard:?}");
    }
    append(&log, "two\n");
    assert!(heard.listen(&mut viewer, b"two\n").await, "{heard:?}");
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    append(server.path("a.log.1"), "three\n");
    append(&log, "four\n");
    assert!(heard.listen(&mut viewer, b"four\n").await, "{heard:?}");
    append(&log, "five\n");
    assert!(heard.listen(&mut viewer, b"five\n").await, "{heard:?}");
    // The line is after a hole that is larger than one read.
    let file = File::options().write(true).open(&log).unwrap();
    file.set_len(1 << 20).unwrap();
    append(&log, "six\n");
    assert!(heard.listen(&mut viewer, b"six\n").await, "{heard:?}");
    let gap = r#""from":10,"to":1048576"#;
    let gaps = heard.told.iter().filter(|told| told.contains(gap)).count();
    assert_eq!(gaps, 1, "{heard:?}");
    heard.bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_call_may_fail_once_and_nothing_is_lost() {
    let calls =
        [Call::Look, Call::Open, Call::Stat, Call::Read, Call::Seek, Call::Link, Call::Watch];
    for call in calls {
        for round in 0.. {
            let mut running = tokio::task::JoinSet::new();
            // In rounds, because each server needs an inotify instance, and a user has 128.
            for nth in round * 4..(round + 1) * 4 {
                for errno in [Errno::IO, Errno::STALE, Errno::ACCESS, Errno::MFILE, Errno::NOENT] {
                    running.spawn(async move {
                        let server = TestServer::start().await;
                        let what = format!("{call:?} {nth} with {errno:?}");
                        let surviving = survive(&server, call, nth, errno);
                        let Ok(bytes) = timeout(DEADLINE, surviving).await else {
                            panic!("{what}: stuck")
                        };
                        let got = String::from_utf8_lossy(&bytes);
                        assert_eq!(got, "one\ntwo\nthree\nfour\nfive\nsix\n", "{what}");
                        let has_failed = server.faults.has_failed();
                        server.stop().await.unwrap();
                        (nth, has_failed)
                    });
                }
            }
            let outcomes = running.join_all().await;
            assert!(round > 0 || outcomes.contains(&(0, true)), "{call:?} never failed");
            if outcomes.iter().any(|(_, has_failed)| !has_failed) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_reported_recovers_and_delays_no_other() {
    for errno in [Errno::IO, Errno::STALE, Errno::ACCESS] {
        let server = TestServer::start().await;
        let log = server.log("a.log", "one\n");
        let other = server.log("b.log", "");
        let mut viewer =
            Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
        let mut neighbour =
            Viewer::v1(server.address, &format!("{other}?tail=1&lines=all&format=raw")).await;
        let (mut heard, mut nearby) = (Received::default(), Received::default());
        heard.listen(&mut viewer, b"one\n").await;
        server.faults.fail(Call::Read, &log, errno);
        append(&log, "two\n");
        loop {
            match viewer.next().await {
                Ok(Message::Text(text)) if text.contains("unreadable") => break,
                other => assert!(matches!(other, Ok(Message::Text(_))), "{other:?}"),
            }
        }
        append(&other, "meanwhile\n");
        assert!(nearby.listen(&mut neighbour, b"meanwhile\n").await);
        let failed = server.faults.calls_of(Call::Read);
        eventually("the follower tries again", async || {
            let now = server.faults.calls_of(Call::Read);
            if now > failed { Ok(()) } else { Err(now) }
        })
        .await;
        server.faults.mend();
        append(&log, "three\n");
        assert!(heard.listen(&mut viewer, b"three\n").await);
        assert_eq!(String::from_utf8_lossy(&heard.bytes), "one\ntwo\nthree\n", "{errno:?}");
        let last = heard.told.last().unwrap();
        assert!(last.contains(r#""from":4,"reason":"back""#), "{errno:?}: {:?}", heard.told);
        server.stop().await.unwrap();
    }
}

in_both_modes! {
    one_wrong_size_is_not_taken_for_a_truncation,
}

async fn one_wrong_size_is_not_taken_for_a_truncation(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "0123456789\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("9\n").await;
    server.faults.shorten_once(&log, 5);
    append(&log, "more\n");
    viewer.read_until("more\n").await;
    viewer.assert_events(&[("open", 0, "0123456789\nmore\n")]);
}
