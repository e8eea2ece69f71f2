//! System calls that fail, and what a viewer is told then.

use std::time::Duration;

use rustix::io::Errno;
use tailcast::log::fault::Call;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{DEADLINE, TestServer, append};

/// What one viewer got of a log that was rotated while a call failed.
#[derive(Debug, Default)]
struct Heard {
    bytes: Vec<u8>,
    told: Vec<String>,
}

impl Heard {
    /// Listens until `last` has come. False when the connection ended before.
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

#[tokio::test]
async fn a_log_that_cannot_be_read_says_so_recovers_and_disturbs_no_other() {
    for errno in [Errno::IO, Errno::STALE, Errno::ACCESS] {
        let server = TestServer::start().await;
        let log = server.log("a.log", "one\n");
        let other = server.log("b.log", "");
        let mut viewer =
            Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
        let mut neighbour =
            Viewer::v1(server.address, &format!("{other}?tail=1&lines=all&format=raw")).await;
        let (mut heard, mut nearby) = (Heard::default(), Heard::default());
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
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.faults.mend();
        append(&log, "three\n");
        assert!(heard.listen(&mut viewer, b"three\n").await);
        assert_eq!(String::from_utf8_lossy(&heard.bytes), "one\ntwo\nthree\n", "{errno:?}");
        let last = heard.told.last().unwrap();
        assert!(last.contains(r#""from":4,"reason":"back""#), "{errno:?}: {:?}", heard.told);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn one_wrong_size_is_no_truncation() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "0123456789\n");
    let mut viewer =
        Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
    let mut heard = Heard::default();
    heard.listen(&mut viewer, b"9\n").await;
    server.faults.shorten_once(&log, 5);
    append(&log, "more\n");
    assert!(heard.listen(&mut viewer, b"more\n").await);
    assert_eq!(String::from_utf8_lossy(&heard.bytes), "0123456789\nmore\n");
    assert_eq!(heard.told.len(), 1, "no more than where it starts: {:?}", heard.told);
}
