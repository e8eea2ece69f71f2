//! Limits on clients: heads, messages, time and number.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tailcast::serve::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::clients::{Viewer, exchange, get, head_of};
use crate::servers::{DEADLINE, Program, TestServer, append, command, eventually, write_big};
use crate::transport::{Io, Pem, Transport, over_tcp_and_tls};

over_tcp_and_tls!(
    answers_to_pings_never_cut_into_a_frame,
    a_broken_protocol_is_closed_with_its_code,
    a_ping_is_answered_while_much_is_queued,
    viewers_that_send_as_fast_as_they_can_delay_no_other,
);

#[tokio::test]
async fn a_request_head_that_never_ends_is_closed_and_delays_no_other() {
    let settings = Settings { head_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = TestServer::with(settings).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = Io::to(server.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        slow.push(stream);
    }
    let asked = Instant::now();
    assert_eq!(get(server.address, "/_/healthz", &[]).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "a good client waited {:?}", asked.elapsed());
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed, with or without an answer.
        let ended = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "still open");
    }
}

#[tokio::test]
async fn a_request_head_that_is_too_large_is_refused() {
    let server = TestServer::start().await;
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(1 << 20));
    for headers in [many, large] {
        let head = format!("GET / HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.address);
        assert_eq!(exchange(server.address, head.as_bytes()).await.status, 431);
    }
    let target = format!("/{}", "y".repeat(100_000));
    let status = get(server.address, &target, &[]).await.status;
    assert!(matches!(status, 414 | 431), "{status}");
    assert_eq!(get(server.address, "/_/healthz", &[]).await.status, 200);
}

/// Sends raw frames and returns the code of the close that follows.
async fn answer_to(
    server: &TestServer,
    log: &str,
    frames: impl IntoIterator<Item = Message>,
) -> Option<u16> {
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    for frame in frames {
        if viewer.stream.send(frame).await.is_err() {
            break;
        }
    }
    viewer.rest().await.1.map(|(code, _)| code)
}

fn fragment(opcode: OpCode, payload: &[u8], last: bool) -> Message {
    Message::Frame(Frame::message(payload.to_vec(), opcode, last))
}

#[tokio::test]
async fn a_message_that_is_too_large_is_closed_with_its_code() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    assert_eq!(answer_to(&server, &log, [Message::binary(vec![0; 5000])]).await, Some(1009));
    let first = [fragment(OpCode::Data(Data::Binary), b"a", false)];
    let more = (0..300_000).map(|_| fragment(OpCode::Data(Data::Continue), b"a", false));
    assert_eq!(answer_to(&server, &log, first.into_iter().chain(more)).await, Some(1009));
    // A message within the limit is ignored.
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    viewer.stream.send(Message::binary(vec![0; 4000])).await.unwrap();
    append(&log, "y\n");
    assert_eq!(viewer.text().await, "y\n");
}

#[tokio::test]
async fn an_announced_frame_length_reserves_no_memory() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    let io = viewer.stream.get_mut();
    // A masked binary frame of 2^40 bytes.
    io.write_all(&[0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]).await.unwrap();
    assert_eq!(viewer.rest().await.1.unwrap().0, 1009);
}

async fn a_broken_protocol_is_closed_with_its_code(transport: Transport) {
    let server = TestServer::with(transport.of(Settings::default())).await;
    let log = server.log("a.log", "x\n");
    for (name, bytes) in [
        ("an unmasked frame", &[0x81, 0x01, b'x'][..]),
        ("a reserved bit", &[0xf1, 0x81, 1, 2, 3, 4, b'x' ^ 1][..]),
        ("a reserved opcode", &[0x83, 0x80, 1, 2, 3, 4][..]),
        ("a continuation of nothing", &[0x80, 0x80, 1, 2, 3, 4][..]),
    ] {
        let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
        viewer.text().await;
        let io = viewer.stream.get_mut();
        io.write_all(bytes).await.unwrap();
        assert_eq!(viewer.rest().await.1.map(|(code, _)| code), Some(1002), "{name}");
    }
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    let not_text = fragment(OpCode::Data(Data::Text), b"\xff", true);
    viewer.stream.send(not_text).await.unwrap();
    assert_eq!(viewer.rest().await.1.map(|(code, _)| code), Some(1007), "a text that is none");
}

#[tokio::test]
async fn invalid_handshakes_are_refused() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    for (name, version, key, connection, expected) in [
        ("as it should be", Some("13"), Some(key), "Upgrade", 101),
        (
            "several connection tokens, mixed case",
            Some("13"),
            Some(key),
            "keep-alive, uPGRADE",
            101,
        ),
        ("no version", None, Some(key), "Upgrade", 426),
        ("another version", Some("14"), Some(key), "Upgrade", 426),
        ("no number", Some("banana"), Some(key), "Upgrade", 426),
        ("no key", Some("13"), None, "Upgrade", 400),
        ("a short key", Some("13"), Some("abc"), "Upgrade", 400),
        ("no connection header", Some("13"), Some(key), "close", 400),
    ] {
        let mut head =
            format!("GET {log} HTTP/1.1\r\nHost: {}\r\nUpgrade: WebSocket\r\n", server.address);
        head += &format!("Connection: {connection}\r\n");
        version
            .into_iter()
            .for_each(|version| head += &format!("Sec-WebSocket-Version: {version}\r\n"));
        key.into_iter().for_each(|key| head += &format!("Sec-WebSocket-Key: {key}\r\n"));
        let answer = head_of(server.address, &format!("{head}\r\n")).await;
        assert_eq!(answer.status, expected, "{name}: {}", answer.text());
        match expected {
            101 => assert_eq!(
                answer.header("sec-websocket-accept"),
                Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            ),
            426 => assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{name}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn viewers_over_the_limit_are_refused_until_one_leaves() {
    let server = TestServer::with(Settings { max_viewers: 3, ..Settings::default() }).await;
    let log = server.log("a.log", "x\n");
    let target = format!("{log}?tail=1");
    let mut admitted = Vec::new();
    for _ in 0..3 {
        let mut viewer = Viewer::original(server.address, &target).await;
        viewer.text().await;
        admitted.push(viewer);
    }
    let mut refused = Viewer::original(server.address, &target).await;
    assert_eq!(refused.rest().await.1.unwrap().0, 1013);
    let stream = get(server.address, &target, &[]).await;
    assert_eq!((stream.status, stream.header("retry-after")), (503, Some("5")));
    assert_eq!(
        get(server.address, &log, &[]).await.status,
        503,
        "a download counts as a viewer, too"
    );
    assert_eq!(get(server.address, "/", &[]).await.status, 200, "the list does not");
    drop(admitted.pop());
    eventually("there is room again", async || match server.viewers().await {
        2 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(Viewer::original(server.address, &target).await.text().await, "x\n");
}

#[tokio::test]
async fn messages_are_bounded_and_a_long_line_arrives_complete() {
    let server = TestServer::start().await;
    let line = "x".repeat(3 << 20) + "\n";
    let log = server.log("a.log", &line);
    let mut viewer = Viewer::original(server.address, &log).await;
    let mut all = String::new();
    while let Ok(message) = viewer.next().await {
        let Message::Text(text) = message else { panic!("{message:?}") };
        assert!(text.len() <= 256 * 1024, "a message of {} bytes", text.len());
        all += &text;
    }
    assert!(all == line, "{} of {} bytes", all.len(), line.len());
}

async fn a_ping_is_answered_while_much_is_queued(transport: Transport) {
    let server = TestServer::with(transport.of(Settings::default())).await;
    let path = server.path("big.log");
    write_big(&path, 100);
    let target = format!("{}?lines=all&format=raw", path.display());
    let mut viewer = Viewer::original(server.address, &target).await;
    viewer.stream.send(Message::Ping(b"are you there".as_slice().into())).await.unwrap();
    let mut before = 0;
    loop {
        match timeout(DEADLINE, viewer.stream.next()).await.expect("nothing came").unwrap().unwrap()
        {
            Message::Pong(payload) => {
                assert_eq!(payload.as_ref(), b"are you there");
                break;
            }
            message => before += message.len(),
        }
    }
    assert!(before < 50 << 20, "the pong came after {before} bytes");
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_is_closed_even_if_it_sends() {
    let settings = Settings { stall_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = TestServer::with(settings).await;
    let path = server.path("big.log");
    write_big(&path, 128);
    let target = path.to_str().unwrap();
    let taking = Viewer::original(server.address, &format!("{target}?lines=0&tail=1")).await;
    let stuck =
        Viewer::original(server.address, &format!("{target}?lines=all&format=raw&tail=1")).await;
    let (mut says, _hears) = stuck.stream.split();
    let talking = tokio::spawn(async move {
        while says.send(Message::text("pong")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut curl = Io::to(server.address).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    curl.write_all(head.as_bytes()).await.unwrap();
    eventually("only the one that takes is left", async || match server.viewers().await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    timeout(DEADLINE, talking).await.expect("the connection is still open").unwrap();
    let mut got = Vec::new();
    let ended =
        timeout(DEADLINE, curl.read_to_end(&mut got)).await.expect("the download is still open");
    assert!(got.len() < 128 << 20, "{ended:?} after {} bytes", got.len());
    drop(taking);
}

async fn viewers_that_send_as_fast_as_they_can_delay_no_other(transport: Transport) {
    // With one thread it is enough that one of them keeps it.
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "start\n").unwrap();
    let mut serve = command();
    serve.args(["serve", "--port", "0"]).arg(directory.path()).env("TOKIO_WORKER_THREADS", "1");
    let pem = Pem::new();
    if matches!(transport, Transport::Tls) {
        pem.write(directory.path());
        serve.args(Pem::arguments(directory.path()));
    }
    let server = Program::start(&mut serve);
    let target = format!("{}?tail=1", log.display());
    let mut floods = JoinSet::new();
    for _ in 0..2 {
        let mut viewer = Viewer::original(server.address, &target).await;
        viewer.text().await;
        // Pongs with a mask of zeros.
        let pongs = b"\x8a\x80\0\0\0\0".repeat(10_000);
        floods
            .spawn(async move { while viewer.stream.get_mut().write_all(&pongs).await.is_ok() {} });
    }
    let mut viewer = Viewer::original(server.address, &target).await;
    viewer.text().await;
    for number in 0..20 {
        append(&log, format!("line {number}\n"));
        while !viewer.text().await.contains(&format!("line {number}\n")) {}
    }
    assert!(floods.try_join_next().is_none(), "a viewer that floods was closed");
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_is_closed_within_twice_the_stall_timeout() {
    let stall_timeout = Duration::from_secs(4);
    let server = TestServer::with(Settings { stall_timeout, ..Settings::default() }).await;
    let path = server.path("big.log");
    std::fs::write(&path, vec![b'x'; 32 << 20]).unwrap();
    let target = format!("{}?lines=all&format=raw&tail=1", path.display());
    let began = Instant::now();
    let _never_reads = Viewer::original(server.address, &target).await;
    let mut reads_too_late = Viewer::original(server.address, &target).await;
    // The server waits for the close handshake for two seconds.
    tokio::time::sleep(stall_timeout + Duration::from_secs(1)).await;
    let close = async {
        loop {
            if let Err(close) = reads_too_late.next().await {
                return close;
            }
        }
    };
    let close =
        timeout(stall_timeout, close).await.expect("its time is over, and it is not closed");
    assert_eq!(close.map(|(code, _)| code), Some(4408));
    eventually("nobody is left", async || match server.viewers().await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
    let after = began.elapsed();
    assert!(after < 2 * stall_timeout, "closed after {after:?}");
}

#[tokio::test]
async fn without_inotify_the_server_polls_and_names_the_limit() {
    for (limit, named) in [
        ("max_inotify_instances", "fs.inotify.max_user_instances"),
        ("max_inotify_watches", "fs.inotify.max_user_watches"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        std::fs::write(&log, "").unwrap();
        let limits = format!("echo 0 > /proc/sys/user/{limit}");
        let program = Program::serve_under(&limits, &[directory.path().to_str().unwrap()]);
        let target = format!("{}?tail=1", log.display());
        let mut viewer = Viewer::v1(program.address, &target).await;
        viewer.expect("open").await;
        for line in ["one", "two", "three"] {
            let written = Instant::now();
            append(&log, format!("{line}\n"));
            viewer.expect("rows").await;
            assert!(
                written.elapsed() < Duration::from_millis(2500),
                "{limit}: {:?}",
                written.elapsed()
            );
        }
        let said = program.said();
        assert!(said.contains("polling") && said.contains(named), "{limit}: {said}");
        let mut later = Viewer::v1(program.address, &target).await;
        assert_eq!(later.expect("open").await["watch"], "poll", "{limit}");
    }
}

#[tokio::test]
async fn a_server_out_of_descriptors_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let served = directory.path().to_str().unwrap();
    let program = Program::serve_under("ulimit -n 40", &[served, "--max-viewers", "10"]);
    let mut viewer = Viewer::original(program.address, &format!("{}?tail=1", log.display())).await;
    assert_eq!(viewer.text().await, "x\n");
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(program.address).await.unwrap());
    }
    eventually("it says that it can't accept", async || match program.said() {
        said if said.contains("can't accept") => Ok(()),
        said => Err(said),
    })
    .await;
    append(&log, "those who are there go on\n");
    assert_eq!(viewer.text().await, "those who are there go on\n");
    drop(crowd);
    // The server closes the connections of the crowd one by one.
    eventually("the log can be had again", async || {
        match get(program.address, log.to_str().unwrap(), &[]).await.status {
            200 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

async fn answers_to_pings_never_cut_into_a_frame(transport: Transport) {
    let server = TestServer::with(transport.of(Settings::default())).await;
    let content: Vec<u8> = (0..8u32 << 20).map(|n| (n / 7) as u8).collect();
    let log = server.log("a.log", &content);
    let target = format!("{log}?lines=all&format=raw");
    let (mut says, mut hears) = Viewer::original(server.address, &target).await.stream.split();
    let asking = tokio::spawn(async move {
        for number in 0..2000u32 {
            let ping = Message::Ping(number.to_be_bytes().to_vec().into());
            if says.send(ping).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        says
    });
    let mut got = Vec::new();
    let mut answers = 0;
    while let Some(message) = timeout(DEADLINE, hears.next()).await.expect("nothing came") {
        match message.expect("a broken frame") {
            Message::Binary(data) => got.extend_from_slice(&data),
            Message::Pong(_) => answers += 1,
            Message::Close(_) => break,
            other => panic!("{other:?}"),
        }
        // A slow reader, so that the socket is full and frames are partially written.
        if got.len() % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(got == content, "{} of {} bytes", got.len(), content.len());
    assert!(answers > 0, "no ping was answered");
    drop(asking.await.unwrap());
}
