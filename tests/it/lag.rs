//! Viewers that are not at the end of the log: they start earlier, stop reading, reconnect, or
//! request an impossible position.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tailcast::serve::Settings;
use tokio::time::{pause, sleep};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::checked_viewer::{CheckedViewer, PROMPT, Writer};
use crate::clients::{Streaming, Viewer, get};
use crate::servers::{
    DEADLINE, Program, StoppedClock, TestServer, append, eventually, no_heartbeat, pace,
    pace_blocking, send_queue,
};
use crate::transport::{Transport, over_tcp_and_tls};

over_tcp_and_tls!(
    a_reader_that_pauses_gets_everything_once,
    a_viewer_that_reconnects_anywhere_continues_at_the_next_byte,
);

/// Text of this many MiB, in which each piece is unique.
fn numbered(mebibytes: usize) -> Vec<u8> {
    let block: Vec<u8> =
        (0..1 << 17).flat_map(|number| format!("{number:07x}\n").into_bytes()).collect();
    let mut all = Vec::with_capacity(mebibytes << 20);
    for number in 0..mebibytes {
        let start = all.len();
        all.extend_from_slice(&block);
        for page in all[start..].chunks_mut(4096) {
            page[..7].copy_from_slice(format!("{number:07}").as_bytes());
        }
    }
    all
}

#[tokio::test]
async fn a_stream_starts_at_the_requested_line_or_byte() {
    let server = TestServer::start().await;
    let many: String = (0..1500).map(|number| format!("line {number}\n")).collect();
    for (name, content) in [
        ("empty", ""),
        ("no newline at its end", "one\ntwo\nthree"),
        ("CRLF", "one\r\ntwo\r\nthree\r\n"),
        ("only newlines", "\n\n\n\n\n"),
        ("many lines", &many),
    ] {
        let log = server.log("a.log", content);
        let lines: Vec<&str> = content.split_inclusive('\n').collect();
        let before_last = |count: usize| -> usize {
            lines[..lines.len().saturating_sub(count)].iter().map(|line| line.len()).sum()
        };
        let mut starts: Vec<(String, usize)> = [0, 1, 10, 1000]
            .iter()
            .map(|&count| (format!("lines={count}"), before_last(count)))
            .collect();
        starts.push(("lines=all".to_owned(), 0));
        for offset in [0, content.len() / 2, content.len()] {
            starts.push((format!("from={offset}"), offset));
        }
        let mut viewers = Vec::new();
        for (query, from) in &starts {
            let answer = get(server.address, &format!("{log}?format=raw&{query}"), &[]).await;
            let expected = &content.as_bytes()[*from..];
            assert!(answer.body == expected, "{name}, {query}: {:?}", answer.text());
            let mut viewer = CheckedViewer::open(server.address, &log, &format!("&{query}")).await;
            assert_eq!(viewer.opened["from"], *from, "{name}, {query}");
            assert_eq!(viewer.opened["size"], content.len(), "{name}, {query}");
            viewer.read_until(expected).await;
            viewers.push(viewer);
        }
        append(&log, "after it\n");
        for (viewer, (query, from)) in viewers.iter_mut().zip(&starts) {
            viewer.read_until("after it\n").await;
            let expected = format!("{}after it\n", &content[*from..]);
            assert_eq!(viewer.events(), [("open", *from as u64, expected)], "{name}, {query}");
        }
    }
}

#[tokio::test]
async fn a_line_of_50_mib_is_one_line() {
    const LONG: usize = 50 << 20;
    let server = TestServer::start().await;
    let mut content = b"first\n".to_vec();
    content.resize(content.len() + LONG, b'x');
    let log = server.log("a.log", &content);
    for (query, from) in [("lines=0", 6 + LONG), ("lines=1", 6), ("lines=2", 0), ("lines=1000", 0)]
    {
        let asked = Instant::now();
        let mut viewer = CheckedViewer::open(server.address, &log, &format!("&{query}")).await;
        assert_eq!(viewer.opened["from"], from, "{query}");
        if query == "lines=1" {
            viewer.read_until("x").await;
            eprintln!("the first bytes of a line of 50 MiB came after {:?}", asked.elapsed());
            viewer.read_until_length(LONG).await;
            assert!(viewer.segments[0].bytes == content[6..]);
        }
    }
}

#[tokio::test]
async fn viewers_that_never_read_are_closed_and_cost_at_most_1_mib() {
    const STUCK: usize = 16;
    let directory = tempfile::tempdir().unwrap();
    let [text, empty, other] = ["text.log", "empty.log", "other.log"]
        .map(|name| directory.path().join(name).to_str().unwrap().to_owned());
    std::fs::write(&text, numbered(32)).unwrap();
    // Empty lines make the most rows for a number of bytes.
    std::fs::write(&empty, vec![b'\n'; 8 << 20]).unwrap();
    append(&other, "");
    let program = Program::serve(&["--stall-timeout", "3", directory.path().to_str().unwrap()]);
    let mut neighbour = CheckedViewer::open(program.address, &other, "&lines=0").await;
    // After one reader of everything, the process has made its one-time allocations.
    let all = get(program.address, &format!("{text}?format=raw&lines=all"), &[]).await.body;
    assert_eq!(all.len(), 32 << 20);
    let sockets = || -> usize {
        let links = std::fs::read_dir(format!("/proc/{}/fd", program.child.id())).unwrap();
        let links = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
    };
    let (sockets_before, memory_before) = (sockets(), program.resident());
    let mut stuck = Vec::new();
    for number in 0..STUCK {
        let log = if number % 2 == 0 { &text } else { &empty };
        let form = if number % 4 < 2 { "raw" } else { "rows" };
        let target = format!("{log}?tail=1&lines=all&format={form}");
        stuck.push(Viewer::v1(program.address, &target).await);
    }
    let (mut queue, mut growth) = (0, 0);
    let mut beside = Vec::new();
    let until = Instant::now() + DEADLINE;
    while program.said().matches("reason=\"stalled\"").count() < STUCK {
        assert!(Instant::now() < until, "not all are closed: {}", program.said());
        let peers = stuck.iter().map(Viewer::local_address);
        queue = queue.max(peers.map(|peer| program.send_queue(peer)).max().unwrap());
        growth = growth.max(program.resident().saturating_sub(memory_before));
        let line = format!("beside {}\n", beside.len());
        let written = Instant::now();
        append(&other, &line);
        neighbour.read_until(&line).await;
        beside.push(written.elapsed());
        pace(Duration::from_millis(50)).await;
    }
    let each = growth / STUCK as u64;
    eprintln!("each that never reads costs {each} bytes, and {queue} in the kernel at most");
    assert!(queue > 32 * 1024, "they were never stuck: {queue} bytes in the kernel");
    assert!(queue <= 512 * 1024, "{queue} bytes in the kernel's send queue");
    assert!(each + queue <= 1 << 20, "{each} bytes each, and {queue} in the kernel");
    beside.sort();
    assert!(beside[beside.len() / 2] < PROMPT, "they delay another log: {beside:?}");
    assert_eq!(neighbour.segments.len(), 1);
    eventually("their sockets are closed", async || match sockets() {
        now if now <= sockets_before => Ok(()),
        now => Err(now),
    })
    .await;
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_for_the_stall_timeout_is_closed_with_4408() {
    /// A socket that has accepted nothing for this time is full.
    const SETTLED: Duration = Duration::from_millis(500);
    let stall_timeout = Duration::from_secs(30);
    let server = TestServer::with(Settings { stall_timeout, ..no_heartbeat() }).await;
    let log = server.log("a.log", numbered(16));
    let mut viewer =
        Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
    // A paused clock does not wait for the threads on which the server reads files. So the test
    // first waits until the socket is full and the server waits only for the socket.
    let (mut queued, mut full_since) = (0, Instant::now());
    eventually("the socket is full", async || {
        let now = send_queue(server.address, viewer.local_address());
        if now == 0 || now != queued {
            (queued, full_since) = (now, Instant::now());
        }
        if full_since.elapsed() >= SETTLED { Ok(()) } else { Err(queued) }
    })
    .await;
    // A paused clock advances while the runtime is idle. When this sleep ends, the stall timeout is
    // over, and the server waits one more second for the close handshake.
    pause();
    sleep((stall_timeout + Duration::from_secs(1)).saturating_sub(full_since.elapsed())).await;
    let stopped = StoppedClock::new();
    let close = loop {
        if let Err(close) = viewer.next().await {
            break close;
        }
    };
    drop(stopped);
    assert_eq!(close.map(|(code, _)| code), Some(4408));
}

async fn a_reader_that_pauses_gets_everything_once(transport: Transport) {
    let server = TestServer::with(transport.of(no_heartbeat())).await;
    let path = server.path("a.log");
    let mut writer = Writer::create(&path);
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    let mut beside = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    let content = numbered(48);
    for half in content.chunks(content.len() / 2) {
        writer.append(half);
        // When the other viewer has everything, the server has filled the socket of this one.
        beside.read_until_length(writer.now().len()).await;
        viewer.read_until_length(writer.now().len()).await;
    }
    assert_eq!(viewer.segments.len(), 1);
    assert!(viewer.segments[0].bytes == writer.now());
}

async fn a_viewer_that_reconnects_anywhere_continues_at_the_next_byte(transport: Transport) {
    let server = TestServer::with(transport.of(Settings::default())).await;
    let path = server.path("a.log");
    let mut writer = Writer::create(&path);
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    let content = numbered(16);
    let total = content.len();
    let writing = tokio::task::spawn_blocking(move || {
        for block in content.chunks(1 << 14) {
            writer.append(block);
            pace_blocking(Duration::from_millis(1));
        }
        writer
    });
    for round in 0..30 {
        // It also disconnects within a message. The received part of it is dropped.
        let wanted = (round * 7919) % 10;
        for _ in 0..wanted {
            // The number of messages depends on how much of the log each contains.
            if viewer.segments.iter().map(|segment| segment.bytes.len()).sum::<usize>() < total {
                viewer.read_message().await;
            }
        }
        viewer.reconnect().await;
    }
    let writer = writing.await.unwrap();
    viewer.read_until_length(writer.now().len()).await;
    assert!(viewer.segments.iter().all(|segment| segment.event == "open"), "always recovered");
    let bytes: Vec<u8> = viewer.segments.iter().flat_map(|segment| segment.bytes.clone()).collect();
    assert!(bytes == writer.now(), "{} of {} bytes", bytes.len(), writer.now().len());
}

/// The result of a request for a stream.
#[derive(Debug, PartialEq)]
enum Answer {
    Refused(u16),
    Recovered(bool),
}

async fn by_websocket(address: SocketAddr, target: &str) -> Answer {
    let protocol = [("sec-websocket-protocol", "tailcast.v1")];
    match Viewer::connect(address, target, &protocol).await {
        Err(Error::Http(answer)) => Answer::Refused(answer.status().as_u16()),
        Err(error) => panic!("{target}: {error}"),
        Ok((mut viewer, _)) => {
            let open = viewer.expect("open").await;
            if open["recovered"] == false {
                assert_eq!(viewer.expect("reset").await["generation"], open["generation"]);
            }
            let Ok(Message::Binary(_)) = viewer.next().await else { panic!("{target}: no bytes") };
            Answer::Recovered(open["recovered"] == true)
        }
    }
}

async fn by_events(address: SocketAddr, target: &str, last: Option<&str>) -> Answer {
    let mut headers = vec![("Accept", "text/event-stream")];
    headers.extend(last.map(|last| ("Last-Event-ID", last)));
    let mut stream = Streaming::get(address, target, &headers).await;
    let status = stream.head.split(' ').nth(1).unwrap().parse().unwrap();
    if status != 200 {
        return Answer::Refused(status);
    }
    let body = stream.read_until("]]}\n\n").await;
    Answer::Recovered(body.contains("\"recovered\":true"))
}

#[tokio::test]
async fn an_impossible_position_is_refused_or_not_recovered() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "0123456789\n".repeat(10));
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("9\n").await;
    let generation = viewer.opened["generation"].as_str().unwrap().to_owned();
    let digits = "9".repeat(10_000);
    let zeros = "0".repeat(10_000);
    let bad = Answer::Refused(400);
    let (lost, kept) = (Answer::Recovered(false), Answer::Recovered(true));
    let mut table: Vec<(String, &Answer)> = Vec::new();
    for (offset, answer) in [
        ("-1", &bad),
        ("", &bad),
        ("1e9", &bad),
        ("0x10", &bad),
        ("1.0", &bad),
        ("%2B1", &bad),
        ("1%00", &bad),
        ("%ef%bc%91", &bad),
        ("18446744073709551616", &bad),
        (&digits, &bad),
        ("100", &kept),
        ("111", &lost),
        ("9007199254740993", &lost),
        ("18446744073709551615", &lost),
        (&zeros, &kept),
    ] {
        table.push((format!("from={offset}"), answer));
        table.push((format!("from={offset}&generation={generation}"), answer));
    }
    table.push((format!("from=1&from=1&generation={generation}"), &bad));
    table.push((format!("from=1&generation={generation}&generation={generation}"), &bad));
    table.push((format!("generation={generation}"), &bad));
    for wrong in [
        "",
        "-",
        "----",
        "-----",
        "x",
        "0",
        "1-2-3-4",
        "1-2-3-4-5",
        "1-2-3-4-5-6",
        "%ff%fe",
        "%00",
        "g-h-i-j-k",
        &generation[1..],
        &format!("{generation}0"),
        &format!("+{generation}"),
        &digits,
        &generation.to_uppercase().replace("FE", "EF"),
    ] {
        table.push((format!("from=1&generation={wrong}"), &lost));
    }
    for (query, answer) in &table {
        let shown: String = query.chars().take(100).collect();
        let asked = by_websocket(server.address, &format!("{log}?tail=1&format=raw&{query}")).await;
        assert_eq!(asked, **answer, "by WebSocket, {shown}");
        let asked = by_events(server.address, &format!("{log}?tail=1&{query}"), None).await;
        assert_eq!(asked, **answer, "by server-sent events, {shown}");
        let status = get(server.address, &format!("{log}?format=raw&{query}"), &[]).await.status;
        assert_eq!(status == 400, **answer == bad, "by curl, {shown}: {status}");
    }
    // An invalid `Last-Event-ID` is not refused; the position is not recovered.
    for wrong in [
        "",
        ":",
        "x",
        "1",
        &generation,
        &format!("{generation}:"),
        &format!("{generation}:x"),
        &format!("{generation}:-1"),
        &format!("{generation}:111"),
        &format!("{generation}:1:1"),
        &format!("{generation}:{digits}"),
        &format!("{generation}:18446744073709551615"),
    ] {
        let shown: String = wrong.chars().take(100).collect();
        let asked = by_events(server.address, &format!("{log}?tail=1"), Some(wrong)).await;
        assert_eq!(asked, lost, "Last-Event-ID: {shown}");
    }
    let last = format!("{generation}:100");
    assert_eq!(by_events(server.address, &format!("{log}?tail=1"), Some(&last)).await, kept);
    append(&log, "alive\n");
    viewer.read_until("alive\n").await;
}

#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_cost_no_more_reads_than_one() {
    use futures_util::{StreamExt, stream};
    use tailcast::log::failpoints::Call;
    use tailcast::log::follower::BACKSTOP_INTERVAL;

    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n".repeat(100));
    let mut viewers: Vec<CheckedViewer> = stream::iter(0..1000)
        .map(|number| {
            let query = if number % 2 == 0 { "&lines=1" } else { "&lines=0" };
            CheckedViewer::open(server.address, &log, query)
        })
        .buffer_unordered(50)
        .collect()
        .await;
    let mut reads = Vec::new();
    let began = Instant::now();
    for round in 0..5 {
        let line = format!("{round}{}\n", "x".repeat(1022));
        let before = server.faults.calls_of(Call::Read);
        append(&log, &line);
        for viewer in &mut viewers {
            viewer.read_until(&line).await;
        }
        reads.push(server.faults.calls_of(Call::Read) - before);
    }
    // Two reads for each append, and a third for an additional poll. The backstop polls as well.
    let looks = began.elapsed().as_secs() / BACKSTOP_INTERVAL.as_secs() + 1;
    let most = 3 * reads.len() as u64 + 2 * looks;
    assert!(reads.iter().sum::<u64>() <= most, "reads of the file for each append: {reads:?}");
    assert!(viewers.iter().all(|viewer| viewer.segments.len() == 1));
}
