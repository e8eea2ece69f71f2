//! The original's protocol: a page or script for the Python server works unchanged.

use futures_util::StreamExt;
use tailcast::serve::{Heartbeat, Settings};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{DEADLINE, TestServer, append, eventually};

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    range.map(|line| format!("line {line}\n")).collect()
}

#[tokio::test]
async fn without_tail_the_last_thousand_lines_are_sent_and_a_normal_close() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(1..=5000));
    let mut viewer = Viewer::original(server.address, &log).await;
    let (text, close) = viewer.rest().await;
    assert_eq!(text, lines(4001..=5000));
    assert_eq!(close.unwrap().0, 1000);
}

#[tokio::test]
async fn an_empty_log_is_one_empty_message() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = Viewer::original(server.address, &log).await;
    assert_eq!(viewer.text().await, "");
    assert_eq!(viewer.rest().await.1.unwrap().0, 1000);
}

#[tokio::test]
async fn a_viewer_that_wants_no_lines_gets_no_empty_message() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "history\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1&lines=0")).await;
    eventually("the viewer has joined", async || match server.health().await["logs"].as_u64() {
        Some(1) => Ok(()),
        other => Err(other),
    })
    .await;
    // The follower exists before the viewer has determined the end of the log, so the first lines
    // may be before the viewer's start.
    let mut number = 0;
    let first = loop {
        append(&log, format!("{number}\n"));
        number += 1;
        if let Ok(text) = tokio::time::timeout(Duration::from_millis(50), viewer.text()).await {
            break text;
        }
    };
    assert!(!first.is_empty() && !first.contains("history"), "{first:?}");
}

#[tokio::test]
async fn with_tail_appended_lines_are_sent() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(1..=3));
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, lines(1..=3));
    for line in 4..=20 {
        append(&log, format!("line {line}\n"));
        assert_eq!(viewer.text().await, format!("line {line}\n"));
    }
}

#[tokio::test]
async fn an_appended_line_arrives_within_300_ms() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    let mut times: Vec<Duration> = Vec::new();
    for line in 0..20 {
        let written = Instant::now();
        append(&log, format!("{line}\n"));
        viewer.text().await;
        times.push(written.elapsed());
    }
    times.sort();
    // The median, because a single delay may be that of a busy machine. The backstop alone would
    // take 2 s for each line.
    assert!(times[10] < Duration::from_millis(300), "{times:?}");
}

#[tokio::test]
async fn refusals_have_the_wording_of_the_original() {
    let server = TestServer::start().await;
    server.log("a.log", "secret\n");
    let inside = server.directory.path().to_str().unwrap();
    for (target, words) in [
        ("/etc/passwd".to_owned(), "Forbidden"),
        ("/no/such/file".to_owned(), "Forbidden"),
        (format!("{inside}x/a.log"), "Forbidden"),
        (format!("{inside}/../a.log"), "Forbidden"),
        (format!("{inside}/none.log"), "Not found"),
        (format!("{inside}/none.log?tail=1"), "Not found"),
        (inside.to_owned(), "Not found"),
    ] {
        let mut viewer = Viewer::original(server.address, &target).await;
        let (text, close) = viewer.rest().await;
        assert_eq!(
            text,
            format!("<font color=\"red\"><strong>{words}</strong></font>"),
            "{target}"
        );
        assert_eq!(close.unwrap().0, 1008, "{target}");
    }
}

#[tokio::test]
async fn text_is_escaped_and_colours_are_inline_styles() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "<b> & \"quotes\" 'too'\n\x1b[31mred\x1b[0m plain\n");
    let mut viewer = Viewer::original(server.address, &log).await;
    let (text, _) = viewer.rest().await;
    let (escaped, coloured) = text.split_once('\n').unwrap();
    assert_eq!(escaped, "&lt;b&gt; &amp; &quot;quotes&quot; &#39;too&#39;");
    assert_eq!(coloured, "<span style='color:var(--red,#a00)'>red</span> plain\n");
}

#[tokio::test]
async fn characters_and_sequences_split_between_two_writes_arrive_whole() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.text().await;
    let bytes = "\x1b[32mgrün ✓\x1b[0m done\n".as_bytes();
    // A second viewer of the raw bytes shows that the server has read each byte before the next one
    // is written.
    let mut raw = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0&format=raw")).await;
    raw.expect("open").await;
    for byte in bytes {
        append(&log, [*byte]);
        raw.next().await.unwrap();
    }
    let html = viewer.text_until("done\n").await;
    let text = html.replace("<span style='color:var(--green,#0a0)'>", "").replace("</span>", "");
    assert_eq!(text, "grün ✓ done\n", "{html}");
    assert!(html.contains("color:var(--green,#0a0)'>"), "{html}");
}

#[tokio::test]
async fn an_invalid_byte_becomes_a_replacement_character() {
    let server = TestServer::start().await;
    let log = server.log("a.log", b"a\xffb\xc3\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, "a\u{fffd}b\u{fffd}\n");
    append(&log, b"\xfe\n");
    assert_eq!(viewer.text().await, "\u{fffd}\n");
}

#[tokio::test]
async fn the_text_heartbeat_asks_and_is_answered() {
    let settings = Settings {
        heartbeat: Heartbeat::Text,
        heartbeat_interval: Duration::from_millis(200),
        pong_timeout: Duration::from_millis(150),
        ..Settings::default()
    };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "x\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, "x\n");
    for _ in 0..5 {
        assert_eq!(viewer.text().await, "ping");
        viewer.say("pong").await;
    }
    assert_eq!(viewer.text().await, "ping");
    // Without an answer the server closes the connection.
    let (text, close) = viewer.rest().await;
    assert_eq!(text, "");
    assert!(close.is_some(), "closed with a handshake");
}

#[tokio::test]
async fn a_text_pong_is_never_an_error_and_a_line_ping_is_a_line() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "ping\n");
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, "ping\n");
    viewer.say("pong").await;
    viewer.say("anything else").await;
    append(&log, "ping\n");
    assert_eq!(viewer.text().await, "ping\n");
}

#[tokio::test]
async fn a_viewer_that_answers_no_ping_is_closed_in_time() {
    let (interval, wait) = (Duration::from_millis(500), Duration::from_millis(300));
    let settings =
        Settings { heartbeat_interval: interval, pong_timeout: wait, ..Settings::default() };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "");
    // A viewer that answers is kept for many intervals. It answers a ping only while it reads, so
    // it reads until the other viewer is closed.
    let mut answering = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    answering.text().await;
    let (stop, mut stopped) = oneshot::channel::<()>();
    let answered = tokio::spawn(async move {
        let mut pings = 0;
        loop {
            tokio::select! {
                message = timeout(DEADLINE, answering.stream.next()) => {
                    let message = message.expect("no heartbeat").unwrap().unwrap();
                    assert!(matches!(message, Message::Ping(_)), "{message:?}");
                    pings += 1;
                }
                _ = &mut stopped, if pings >= 5 => return answering,
            }
        }
    });
    // A viewer that reads nothing does not answer, because tungstenite answers pings while reading.
    let silent = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    let joined = Instant::now();
    eventually("the silent viewer is closed", async || match server.viewers().await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
    let after = joined.elapsed();
    assert!(after >= interval + wait, "closed after {after:?}, before its time was over");
    drop(silent);
    stop.send(()).unwrap();
    let mut answering = answered.await.unwrap();
    append(&log, "still here\n");
    assert_eq!(answering.text().await, "still here\n");
}
