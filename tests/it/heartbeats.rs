//! Heartbeats, and viewers that never answer them, or whose answers arrive while the server is
//! stopped.
//!
//! The timing is tested in the module of the scheduler, on a paused clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tailcast::serve::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::clients::get;
use crate::servers::{DEADLINE, Program, TestServer, append, put};
use crate::transport::Io;

/// A viewer of the original's protocol that answers only when the test tells it to, and that
/// requests no lines.
pub struct Bare(pub Io);

/// A short frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Ping,
    Text(String),
    Close(u16),
}

impl Bare {
    pub async fn join(address: SocketAddr, log: &str) -> Self {
        let mut stream = Io::to(address).await.unwrap();
        let head = format!(
            "GET {log}?tail=1&lines=0 HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = timeout(DEADLINE, stream.read_u8()).await.expect("no answer").unwrap();
            answer.push(byte);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(stream)
    }

    pub async fn hear(&mut self) -> Frame {
        timeout(DEADLINE, self.read()).await.expect("nothing came").expect("it broke off")
    }

    async fn read(&mut self) -> std::io::Result<Frame> {
        let [opcode, length] = [self.0.read_u8().await?, self.0.read_u8().await?];
        assert!(length < 126, "a long message");
        let mut payload = vec![0; length.into()];
        self.0.read_exact(&mut payload).await?;
        Ok(match opcode {
            0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
            0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
            0x89 => Frame::Ping,
            other => panic!("a frame of {other:#x}"),
        })
    }

    async fn answer(&mut self) {
        self.0.write_all(&[0x8a, 0x80, 1, 2, 3, 4]).await.unwrap();
    }

    /// The next text. Answers pings before it.
    async fn next_text(&mut self) -> String {
        loop {
            match self.hear().await {
                Frame::Ping => self.answer().await,
                Frame::Text(text) => return text,
                Frame::Close(code) => panic!("closed with {code}"),
            }
        }
    }
}

#[tokio::test]
async fn a_viewer_that_reads_and_answers_nothing_is_closed_after_one_heartbeat() {
    let (interval, wait) = (Duration::from_millis(500), Duration::from_millis(300));
    let settings =
        Settings { heartbeat_interval: interval, pong_timeout: wait, ..Settings::default() };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "x\n");
    let joined = Instant::now();
    let mut viewer = Bare::join(server.address, &log).await;
    assert_eq!(viewer.hear().await, Frame::Ping);
    assert_eq!(viewer.hear().await, Frame::Close(1011));
    let after = joined.elapsed();
    assert!(after >= interval + wait, "closed after {after:?}, before its time was over");
}

#[tokio::test]
async fn viewers_that_answer_are_kept_after_the_server_was_stopped_for_long() {
    const INTERVAL: Duration = Duration::from_secs(3);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "x\n");
    let program = Program::serve(&["--heartbeat", "3", directory.path().to_str().unwrap()]);
    let target = log.to_str().unwrap();
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(Bare::join(program.address, target).await);
    }
    let mut dead = Bare::join(program.address, target).await;
    for viewer in &mut viewers {
        assert_eq!(viewer.hear().await, Frame::Ping);
    }
    assert_eq!(dead.hear().await, Frame::Ping);
    program.signal(Signal::STOP);
    for viewer in &mut viewers {
        viewer.answer().await;
    }
    append(&log, "meanwhile\n");
    sleep(INTERVAL + Duration::from_secs(1)).await;
    program.signal(Signal::CONT);
    for viewer in &mut viewers {
        assert_eq!(viewer.next_text().await, "meanwhile\n");
    }
    append(&log, "and on\n");
    for viewer in &mut viewers {
        assert_eq!(viewer.next_text().await, "and on\n");
    }
    while dead.hear().await != Frame::Close(1011) {}
}

/// A library to preload, which shifts the wall clock by the number of seconds in a file, and no
/// other clock.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("CLOCK_FILE"), "r") : NULL;
    long seconds = 0;
    if (file) {
        if (fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds;
        fclose(file);
    }
    return failed;
}
"#;

#[tokio::test]
async fn a_clock_that_is_set_closes_no_viewer() {
    const DAY: i64 = 24 * 60 * 60;
    let outside = tempfile::tempdir().unwrap();
    let [source, library, clock] =
        ["clock.c", "clock.so", "clock"].map(|name| outside.path().join(name));
    std::fs::write(&source, CLOCK).unwrap();
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(cc.status().unwrap().success());
    put(&clock, "0");
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "x\n");
    let program = Program::serve_under(
        &format!("export CLOCK_FILE={} LD_PRELOAD={}", clock.display(), library.display()),
        &["--heartbeat", "2", directory.path().to_str().unwrap()],
    );
    let mut viewer = Bare::join(program.address, log.to_str().unwrap()).await;
    for (number, days) in [0, 1, -1, 0].into_iter().enumerate() {
        put(&clock, (days * DAY).to_string());
        for asked in 0..2 {
            assert_eq!(viewer.hear().await, Frame::Ping, "after {asked} answers, {days} days on");
            viewer.answer().await;
        }
        if number > 0 {
            std::fs::rename(&log, directory.path().join(format!("a.log.{number}"))).unwrap();
        }
        append(&log, format!("line {number}\n"));
        assert_eq!(viewer.next_text().await, format!("line {number}\n"));
        // The arrival time of the line is that of the shifted clock.
        let rows = get(program.address, &format!("/_/rows{}", log.display()), &[]).await;
        let rows: serde_json::Value = serde_json::from_slice(&rows.body).unwrap();
        let told = rows["times"].as_array().unwrap().last().unwrap().as_i64().unwrap() / 1000;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ahead = told - now.as_secs().cast_signed();
        assert!((ahead - days * DAY).abs() < DAY / 2, "told {ahead} s ahead of {days} days");
    }
}
