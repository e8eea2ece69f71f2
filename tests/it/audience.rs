//! Who views a log: `viewers` messages for those that want them.

use serde_json::Value;
use tokio::time::timeout;

use crate::clients::{Streaming, Viewer};
use crate::servers::{DEADLINE, TestServer, append};

/// Receives until a `viewers` message has this count. Returns it, and all messages before it.
async fn until_count(viewer: &mut Viewer, count: u64) -> (Value, Vec<Value>) {
    let mut others = Vec::new();
    let receiving = async {
        loop {
            let message = viewer.json().await;
            if message["type"] == "viewers" && message["count"] == count {
                return message;
            }
            others.push(message);
        }
    };
    let found = timeout(DEADLINE, receiving).await;
    (found.unwrap_or_else(|_| panic!("not {count} viewers; {others:?}")), others)
}

#[tokio::test]
async fn viewers_of_every_transport_are_counted_for_those_that_want_to_know() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "first\n");
    let wanting = format!("{log}?tail=1&viewers=1");
    let mut first = Viewer::v1(server.address, &wanting).await;
    let (message, before) = until_count(&mut first, 1).await;
    assert_eq!(message, serde_json::json!({"type": "viewers", "count": 1}));
    assert_eq!(before[0]["type"], "open", "after the first messages: {before:?}");
    let second = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let mut events =
        Streaming::get(server.address, &wanting, &[("accept", "text/event-stream")]).await;
    events.read_until("{\"type\":\"viewers\",\"count\":3}\n\n").await;
    let begun = events.body();
    let first_event = begun.lines().find(|line| line.starts_with("data: ")).unwrap();
    assert!(first_event.contains("\"type\":\"open\""), "{first_event}");
    until_count(&mut first, 3).await;
    // Other logs have audiences of their own.
    let other = server.log("b.log", "x\n");
    let _other = Viewer::v1(server.address, &format!("{other}?tail=1")).await;
    drop((second, events));
    let (_, between) = until_count(&mut first, 1).await;
    let counts: Vec<_> = between.iter().filter_map(|message| message["count"].as_u64()).collect();
    assert!(counts.iter().all(|&count| count <= 3), "{counts:?}");
    append(server.path("a.log"), "more\n");
    let rows = first.expect("rows").await;
    assert_eq!(rows["rows"][0][1], "more", "the log goes on as before");
}

#[tokio::test]
async fn viewers_that_do_not_ask_are_told_nothing() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "first\n");
    let mut silent = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let mut raw = Streaming::get(server.address, &format!("{log}?tail=1&viewers=1"), &[]).await;
    let mut wanting = Viewer::v1(server.address, &format!("{log}?tail=1&viewers=1")).await;
    until_count(&mut wanting, 3).await;
    append(server.path("a.log"), "end\n");
    raw.read_until("end\n").await;
    assert_eq!(raw.body(), "first\nend\n");
    loop {
        let message = silent.json().await;
        assert_ne!(message["type"], "viewers");
        if message["type"] == "rows" && message["rows"][0][1] == "end" {
            break;
        }
    }
}

#[tokio::test]
async fn many_viewers_share_each_message() {
    const VIEWERS: usize = 50;
    let server = TestServer::start().await;
    let log = server.log("a.log", "first\n");
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        viewers.push(Viewer::v1(server.address, &format!("{log}?tail=1&viewers=1")).await);
    }
    for viewer in &mut viewers {
        until_count(viewer, VIEWERS as u64).await;
    }
    let renders = server.renders().await;
    viewers.pop();
    for viewer in &mut viewers {
        until_count(viewer, VIEWERS as u64 - 1).await;
    }
    assert_eq!(server.renders().await, renders, "the log is not rendered for it");
    append(server.path("a.log"), "more\n");
    for viewer in &mut viewers {
        while viewer.json().await["type"] != "rows" {}
    }
    assert_eq!(server.renders().await, renders + 1);
}

#[tokio::test]
async fn downloads_are_no_viewers() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n".repeat(32 << 20));
    let wanting = format!("{log}?tail=1&lines=1&viewers=1");
    let mut first = Viewer::v1(server.address, &wanting).await;
    until_count(&mut first, 1).await;
    // It is not read, so it does not end.
    let _download = Streaming::get(server.address, &log, &[]).await;
    let _second = Viewer::v1(server.address, &wanting).await;
    until_count(&mut first, 2).await;
    let _third = Viewer::v1(server.address, &wanting).await;
    until_count(&mut first, 3).await;
}
