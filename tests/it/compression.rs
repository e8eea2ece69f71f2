//! `permessage-deflate`, in both directions: it is used if it was negotiated, and only then.

use std::net::SocketAddr;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tailcast::serve::{Heartbeat, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::clients::{Viewer, head_of};
use crate::servers::{DEADLINE, Program, TestServer, append, no_heartbeat, pace};
use crate::transport::Io;

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const FINAL: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A viewer on a raw socket, which receives single frames.
struct Taker {
    io: Io,
    came: Vec<u8>,
}

/// A received frame: its first byte and its payload.
#[derive(Debug, PartialEq, Eq)]
struct Frame(u8, Vec<u8>);

impl Frame {
    fn is_deflated(&self) -> bool {
        self.0 & RSV1 != 0
    }

    /// The inflated payload.
    fn content(&self) -> Vec<u8> {
        if !self.is_deflated() {
            return self.1.clone();
        }
        let mut inflater = Decompress::new(false);
        let mut content = Vec::with_capacity(1 << 20);
        let whole = [&self.1, b"\x00\x00\xff\xff".as_slice()].concat();
        inflater.decompress_vec(&whole, &mut content, FlushDecompress::Sync).unwrap();
        assert_eq!(inflater.total_in(), whole.len() as u64, "not all of it was inflated");
        content
    }
}

fn handshake(address: SocketAddr, target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

impl Taker {
    /// Connects and offers compression. The bytes `behind` are sent together with the handshake.
    async fn connect(address: SocketAddr, target: &str, headers: &str, behind: &[u8]) -> Self {
        let headers = format!("Sec-WebSocket-Extensions: {OFFER}\r\n{headers}");
        let mut io = Io::to(address).await.unwrap();
        let request = [handshake(address, target, &headers).as_bytes(), behind].concat();
        io.write_all(&request).await.unwrap();
        let mut taker = Self { io, came: Vec::new() };
        let end = loop {
            match taker.came.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at,
                None => assert!(taker.read().await, "no answer"),
            }
        };
        let answer = String::from_utf8(taker.came.drain(..end + 4).collect()).unwrap();
        let agreed = format!("sec-websocket-extensions: {AGREED}\r\n");
        assert!(answer.contains(&agreed), "{answer}");
        taker
    }

    async fn v1(address: SocketAddr, target: &str) -> Self {
        Self::connect(address, target, "Sec-WebSocket-Protocol: tailcast.v1\r\n", b"").await
    }

    async fn original(address: SocketAddr, target: &str) -> Self {
        Self::connect(address, target, "", b"").await
    }

    async fn read(&mut self) -> bool {
        let reading = timeout(DEADLINE, self.io.read_buf(&mut self.came)).await;
        let came = &self.came;
        reading
            .unwrap_or_else(|_| panic!("nothing came within {DEADLINE:?} after {came:x?}"))
            .unwrap()
            > 0
    }

    /// The next frame. None at the end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let (head, len) = match self.came[..] {
                [_, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
                [_, 127, _, _, _, _, a, b, c, d, ..] => {
                    (10, u32::from_be_bytes([a, b, c, d]) as usize)
                }
                [_, len @ ..126, ..] => (2, usize::from(len)),
                _ => (2, usize::MAX - 2),
            };
            if self.came.len() >= head + len {
                let mut frame: Vec<u8> = self.came.drain(..head + len).collect();
                let payload = frame.split_off(head);
                return Some(Frame(frame[0], payload));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// The next message, as text.
    async fn text(&mut self) -> String {
        loop {
            let frame = self.next().await.expect("a message");
            match frame.0 & 0x0f {
                PING => assert_eq!(frame.0, FINAL | PING),
                TEXT => break String::from_utf8(frame.content()).unwrap(),
                _ => panic!("{frame:?} instead of text"),
            }
        }
    }

    /// The close code at the end.
    async fn code(&mut self) -> u16 {
        loop {
            let frame = self.next().await.expect("a close");
            if frame.0 & 0x0f == CLOSE {
                assert_eq!(frame.0, FINAL | CLOSE);
                break u16::from_be_bytes(frame.1[..2].try_into().unwrap());
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) {
        self.io.write_all(frame).await.unwrap();
    }
}

/// A client's frame, which is masked.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 0x80, 0x33, 0xff];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A message that a client has deflated with the whole window.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut compressor = Compress::new(Compression::new(6), false);
    let mut deflated = Vec::with_capacity(message.len() + 100);
    compressor.compress_vec(message, &mut deflated, FlushCompress::Sync).unwrap();
    deflated.truncate(deflated.len() - 4);
    deflated
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|line| format!("line {line} with \x1b[3{}mcolour\x1b[m, grün\n", line % 8)).collect()
}

#[tokio::test]
async fn history_and_live_data_are_deflated_where_that_saves_bytes() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(0..5_000));
    let target = format!("{log}?tail=1&lines=all&format=text");
    let mut taker = Taker::original(server.address, &target).await;
    let plain = |lines: String| {
        (0..8)
            .fold(lines, |text, colour| text.replace(&format!("\x1b[3{colour}m"), ""))
            .replace("\x1b[m", "")
    };
    let history = plain(lines(0..5_000));
    let (mut got, mut bytes) = (String::new(), 0);
    while got.len() < history.len() {
        let frame = taker.next().await.unwrap();
        assert_eq!(frame.0, FINAL | RSV1 | TEXT);
        bytes += frame.1.len();
        got += std::str::from_utf8(&frame.content()).unwrap();
    }
    assert!(got == history, "{} bytes instead of {}", got.len(), history.len());
    assert!(bytes < got.len() / 3, "{bytes} bytes for {}", got.len());
    for (appended, first) in [
        (lines(0..200), FINAL | RSV1 | TEXT),
        ("small\n".to_owned(), FINAL | TEXT),
        (lines(7..99), FINAL | RSV1 | TEXT),
    ] {
        append(&log, &appended);
        let frame = taker.next().await.unwrap();
        assert_eq!(
            (frame.0, String::from_utf8(frame.content()).unwrap()),
            (first, plain(appended))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deflated_messages_say_the_same_as_plain_ones() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    for query in ["", "&format=text", "&format=raw"] {
        let target = format!("{log}?tail=1&lines=0{query}");
        let mut takers = Vec::new();
        let mut viewers = Vec::new();
        for _ in 0..3 {
            takers.push(Taker::v1(server.address, &target).await);
            viewers.push(Viewer::v1(server.address, &target).await);
            assert!(takers.last_mut().unwrap().text().await.contains("\"open\""));
            viewers.last_mut().unwrap().expect("open").await;
        }
        for round in 0..20 {
            append(&log, lines(round..round * 10 + 5));
            let first = viewers[0].next().await.unwrap().into_data();
            for viewer in &mut viewers[1..] {
                assert_eq!(viewer.next().await.unwrap().into_data(), first, "{query}");
            }
            for taker in &mut takers {
                let frame = taker.next().await.unwrap();
                assert_eq!(frame.content(), first, "{query} {:x}", frame.0);
                assert!(frame.is_deflated(), "{query}: {} bytes", first.len());
            }
        }
    }
}

/// Lines that deflate to about a third.
fn words(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut lines = Vec::new();
    while lines.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = (state >> 25).wrapping_mul(2_654_435_761);
        lines.extend_from_slice(
            format!("{word:08x}{}", if word.is_multiple_of(9) { "\n" } else { " " }).as_bytes(),
        );
    }
    lines.truncate(bytes - 1);
    lines.push(b'\n');
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_falls_behind_in_a_deflated_frame_rejoins_its_group_without_a_lost_byte() {
    let server = TestServer::with(no_heartbeat()).await;
    let log = server.log("a.log", "");
    let target = format!("{log}?tail=1&lines=all&format=raw");
    let mut reading = Vec::new();
    for number in 0..24 {
        let is_slow = number % 4 >= 2;
        let pause = Duration::from_millis(if is_slow { number / 2 } else { 0 });
        let mut taker = Taker::v1(server.address, &target).await;
        let mut viewer =
            if number % 2 == 0 { Some(Viewer::v1(server.address, &target).await) } else { None };
        reading.push(tokio::spawn(async move {
            let mut log = Vec::new();
            while !log.ends_with(b"the end\n") {
                pace(pause).await;
                let message = match &mut viewer {
                    Some(viewer) => viewer.next().await.unwrap().into_data().to_vec(),
                    None => {
                        let frame = taker.next().await.unwrap();
                        let content = frame.content();
                        assert!(
                            frame.is_deflated() || content.len() < 1000,
                            "viewer {number}: {} bytes as they are",
                            content.len()
                        );
                        content
                    }
                };
                if let Some(bytes) = message.get(8..).filter(|_| message[0] == 0) {
                    let offset = u64::from_be_bytes(message[..8].try_into().unwrap());
                    assert_eq!(offset, log.len() as u64, "viewer {number}");
                    log.extend_from_slice(bytes);
                }
            }
            log
        }));
    }
    let mut written = Vec::new();
    for block in 0..120 {
        let block = words(block, 60_000);
        append(&log, &block);
        written.extend_from_slice(&block);
        pace(Duration::from_millis(2)).await;
    }
    append(&log, "the end\n");
    written.extend_from_slice(b"the end\n");
    for (number, reading) in reading.into_iter().enumerate() {
        assert!(reading.await.unwrap() == written, "viewer {number} got other bytes");
    }
}

#[tokio::test]
async fn deflated_messages_from_viewers_are_understood() {
    let settings = Settings {
        heartbeat: Heartbeat::Text,
        heartbeat_interval: Duration::from_millis(300),
        pong_timeout: Duration::from_millis(250),
        ..Settings::default()
    };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "here\n");
    let pong = deflated(b"pong");
    let behind = masked(FINAL | RSV1 | TEXT, &pong);
    let target = format!("{log}?tail=1");
    let mut taker = Taker::connect(server.address, &target, "", &behind).await;
    assert_eq!(taker.text().await, "here\n");
    // If its answers were not understood, it would be closed after the first heartbeat.
    for round in 0..6 {
        assert_eq!(taker.text().await, "ping");
        match round % 3 {
            0 => taker.send(&masked(FINAL | RSV1 | TEXT, &pong)).await,
            1 => taker.send(&masked(FINAL | TEXT, b"pong")).await,
            _ => {
                for byte in masked(RSV1 | TEXT, &pong[..2]) {
                    taker.send(&[byte]).await;
                }
                taker.send(&masked(FINAL | PING, b"")).await;
                assert_eq!(taker.next().await, Some(Frame(FINAL | 10, Vec::new())));
                taker.send(&masked(FINAL, &pong[2..])).await;
            }
        }
    }
    let long = "a text of a length ".repeat(200);
    taker.send(&masked(FINAL | RSV1 | TEXT, &deflated(long.as_bytes()))).await;
    append(&log, "there\n");
    while taker.text().await != "there\n" {}
    taker.send(&masked(FINAL | CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(taker.code().await, 1000);
}

#[tokio::test]
async fn badly_deflated_messages_from_viewers_are_closed_with_their_code() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let hello = deflated(b"hello");
    let halves = |first, second| [masked(first, &hello[..3]), masked(second, &hello[3..])].concat();
    let bomb = deflated(&vec![b'a'; 1 << 20]);
    assert!(bomb.len() < 4096, "{}", bomb.len());
    let mut unmasked = vec![FINAL | RSV1 | TEXT, hello.len() as u8];
    unmasked.extend_from_slice(&hello);
    for (name, frames, code) in [
        ("no deflated data", masked(FINAL | RSV1 | TEXT, &[0xff; 20]), 1002),
        ("a deflated ping", masked(FINAL | RSV1 | PING, &hello), 1002),
        ("a bit in what goes on", halves(RSV1 | TEXT, FINAL | RSV1), 1002),
        (
            "a bit in what goes on with what is not deflated",
            [masked(TEXT, b"a"), masked(FINAL | RSV1, &hello)].concat(),
            1002,
        ),
        ("a beginning in the middle", halves(RSV1 | TEXT, FINAL | RSV1 | TEXT), 1002),
        ("another beginning in the middle", halves(RSV1 | TEXT, FINAL | TEXT), 1002),
        ("another bit", masked(FINAL | 0x20 | TEXT, b"x"), 1002),
        ("no mask", unmasked, 1002),
        ("a bomb", masked(FINAL | RSV1 | TEXT, &bomb), 1009),
        ("a long message", masked(FINAL | RSV1 | TEXT, &[0; 5000]), 1009),
        ("no text", masked(FINAL | RSV1 | TEXT, &deflated(b"\xff")), 1007),
    ] {
        let mut taker = Taker::original(server.address, &format!("{log}?tail=1")).await;
        assert_eq!(taker.text().await, "x\n");
        taker.send(&frames).await;
        assert_eq!(taker.code().await, code, "{name}");
    }
}

#[tokio::test]
async fn nothing_is_deflated_without_an_offer_or_with_compression_off() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(0..500));
    for offer in [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; mystery=1",
        "permessage-deflate; server_max_window_bits=9",
    ] {
        let extensions = if offer.is_empty() {
            String::new()
        } else {
            format!("Sec-WebSocket-Extensions: {offer}\r\n")
        };
        let answer = head_of(server.address, &handshake(server.address, &log, &extensions)).await;
        assert_eq!(
            (answer.status, answer.header("sec-websocket-extensions")),
            (101, None),
            "{offer}"
        );
        let offer: &[_] =
            if offer.is_empty() { &[] } else { &[("sec-websocket-extensions", offer)] };
        // This client fails if a frame has the bit of a deflated message.
        let (mut viewer, _) = Viewer::connect(server.address, &log, offer).await.unwrap();
        let (text, close) = viewer.rest().await;
        assert_eq!((text.lines().count(), close.unwrap().0), (500, 1000), "{offer:?}");
    }
    let directory = server.path("").display().to_string();
    let program = Program::serve(&["--compress", "off", &directory]);
    let offer = format!("Sec-WebSocket-Extensions: {OFFER}\r\n");
    let answer = head_of(program.address, &handshake(program.address, &log, &offer)).await;
    assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, None), "off");
    let program = Program::serve(&["--compress=auto", &directory]);
    Taker::original(program.address, &log).await.text().await;
}
