//! A viewer with an independent client library: `websockets` from PyPI, which the original uses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tailcast::serve::{Heartbeat, Settings};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::servers::{DEADLINE, TestServer, append};

/// A Python process that follows a log. Killed when dropped.
struct Follower {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: NamedTempFile,
    /// Its first line of output, after the handshake.
    handshake: Value,
}

impl Follower {
    async fn start(address: SocketAddr, target: &str, subprotocols: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = std::env::var_os("TAILCAST_TEST_PYTHON")
            .map_or_else(|| folder.join("target/foreign-venv/bin/python"), PathBuf::from);
        let stderr = NamedTempFile::new().unwrap();
        let mut child = Command::new(&python)
            .arg(folder.join("tests/it/foreign/follow.py"))
            .arg(format!("ws://{address}{target}"))
            .args(subprotocols)
            .env("NO_PROXY", "*")
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "can't run {}: {error}\nthe tests with a foreign client need a Python with `websockets`\n\
                     hint: `tests/run` makes it, or name one in `TAILCAST_TEST_PYTHON`",
                    python.display()
                )
            });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut follower = Self { _child: child, lines, stderr, handshake: Value::Null };
        follower.handshake = follower.next().await;
        follower
    }

    /// The next line of its output.
    async fn next(&mut self) -> Value {
        let line = timeout(DEADLINE, self.lines.next_line()).await;
        let said = || std::fs::read_to_string(self.stderr.path()).unwrap();
        match line.unwrap_or_else(|_| panic!("it says nothing any more; stderr: {}", said())) {
            Ok(Some(line)) => serde_json::from_str(&line).unwrap(),
            end => panic!(
                "it ended, {end:?}; without `websockets`, run `tests/run`; stderr: {}",
                said()
            ),
        }
    }

    /// The next message.
    async fn text(&mut self) -> String {
        let said = self.next().await;
        said["text"].as_str().unwrap_or_else(|| panic!("{said} instead of text")).to_owned()
    }

    /// All messages up to one that ends with this text.
    async fn text_until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        while !all.ends_with(wanted) {
            all += &self.text().await;
        }
        all
    }
}

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|line| format!("line {line}\n")).collect()
}

#[tokio::test]
async fn the_foreign_client_gets_the_last_thousand_lines_and_a_normal_close() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(1..=3000));
    let mut follower = Follower::start(server.address, &log, &[]).await;
    assert_eq!(follower.text_until("line 3000\n").await, lines(2001..=3000));
    assert_eq!(follower.next().await, json!({"close": 1000, "reason": ""}));
}

#[tokio::test]
async fn compression_offered_by_the_foreign_client_is_used_and_loses_nothing() {
    let server = TestServer::start().await;
    let history = "grün ✓\n".repeat(900);
    let log = server.log("a.log", &history);
    let mut follower = Follower::start(server.address, &format!("{log}?tail=1"), &[]).await;
    let offered = follower.handshake["offered"].as_str().unwrap_or_default();
    assert!(offered.starts_with("permessage-deflate"), "{offered}");
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(follower.handshake["extensions"], agreed);
    assert_eq!(follower.handshake["subprotocol"], Value::Null);
    assert_eq!(follower.text().await, history);
    let more = lines(1..=2000);
    append(&log, &more);
    assert_eq!(follower.text_until("line 2000\n").await, more);
}

#[tokio::test]
async fn the_foreign_client_follows_a_storm_of_appends_line_by_line() {
    const LINES: u32 = 20_000;
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(1..=10));
    let mut follower = Follower::start(server.address, &format!("{log}?tail=1"), &[]).await;
    assert_eq!(follower.text_until("line 10\n").await, lines(1..=10));
    let writing = tokio::task::spawn_blocking(move || {
        // Writes that end at any place in a line.
        for piece in lines(11..=LINES).as_bytes().chunks(777) {
            append(&log, piece);
        }
    });
    let text = follower.text_until(&format!("line {LINES}\n")).await;
    writing.await.unwrap();
    let wanted = lines(11..=LINES);
    let same = text.lines().zip(wanted.lines()).take_while(|(line, wanted)| line == wanted).count();
    assert!(
        text == wanted,
        "{} bytes instead of {}, alike for {same} lines",
        text.len(),
        wanted.len()
    );
}

#[tokio::test]
async fn refusals_reach_the_foreign_client_as_the_original_sent_them() {
    let server = TestServer::start().await;
    let missing = server.path("none.log").display().to_string();
    for (target, words) in [("/etc/passwd", "Forbidden"), (&missing, "Not found")] {
        let mut follower = Follower::start(server.address, target, &[]).await;
        let refusal = format!("<font color=\"red\"><strong>{words}</strong></font>");
        assert_eq!(follower.text().await, refusal, "{target}");
        assert_eq!(follower.next().await["close"], 1008, "{target}");
    }
}

#[tokio::test]
async fn the_foreign_client_can_speak_the_subprotocol() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n");
    let target = format!("{log}?tail=1");
    let mut follower = Follower::start(server.address, &target, &["other", "tailcast.v1"]).await;
    assert_eq!(follower.handshake["subprotocol"], "tailcast.v1");
    let mut json = async || -> Value { serde_json::from_str(&follower.text().await).unwrap() };
    let open = json().await;
    assert_eq!((&open["type"], &open["path"]), (&json!("open"), &json!(log)), "{open}");
    let rows = json().await;
    assert_eq!(rows, json!({"type": "rows", "from": 0, "next": 4, "rows": [[0, "one"]]}));
    append(&log, "two\n");
    let rows = json().await;
    assert_eq!(rows, json!({"type": "rows", "from": 4, "next": 8, "rows": [[4, "two"]]}));
}

#[tokio::test]
async fn the_text_heartbeat_is_answered_and_the_foreign_client_stays() {
    let settings = Settings {
        heartbeat: Heartbeat::Text,
        heartbeat_interval: Duration::from_millis(300),
        pong_timeout: Duration::from_millis(250),
        ..Settings::default()
    };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "one\n");
    let mut follower = Follower::start(server.address, &format!("{log}?tail=1"), &[]).await;
    assert_eq!(follower.text().await, "one\n");
    // If the first one were not answered, there would be no second one.
    for _ in 0..5 {
        assert_eq!(follower.next().await, json!({"ping": true}));
    }
    append(&log, "two\n");
    loop {
        match follower.next().await {
            said if said == json!({"ping": true}) => {}
            said => break assert_eq!(said, json!({"text": "two\n"})),
        }
    }
}
