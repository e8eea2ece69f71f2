//! `tailcast.v1`, over WebSocket and as server-sent events.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tailcast::serve::{Heartbeat, Settings};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Rows, Streaming, Viewer, get};
use crate::servers::{DEADLINE, TestServer, append, eventually};

#[tokio::test]
async fn a_stream_opens_with_its_position_and_continues_with_rows() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\nthr");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=2")).await;
    let open = viewer.expect("open").await;
    assert_eq!(open["path"], log.as_str());
    assert_eq!((&open["from"], &open["size"]), (&Value::from(4), &Value::from(11)));
    assert_eq!(
        (&open["tail"], &open["recovered"], &open["watch"]),
        (&true.into(), &true.into(), &"events".into())
    );
    let mut rows = Rows::default();
    rows.apply(&viewer.expect("rows").await);
    assert_eq!(rows.0, [(4, "two".to_owned()), (8, "thr".to_owned())]);
    append(&log, "ee\nfour\n");
    let message = viewer.expect("rows").await;
    assert_eq!((&message["from"], &message["next"]), (&Value::from(8), &Value::from(19)));
    rows.apply(&message);
    assert_eq!(rows.texts(), ["two", "three", "four"]);
}

#[tokio::test]
async fn raw_messages_carry_their_offset() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "0123456789");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&from=4&format=raw")).await;
    assert_eq!(viewer.expect("open").await["from"], 4);
    append(&log, b"\xff\x00");
    let mut offset = 4u64;
    let mut bytes = Vec::new();
    while bytes.len() < 8 {
        let Ok(Message::Binary(message)) = viewer.next().await else {
            panic!("not a binary message")
        };
        let (head, data) = message.split_at(8);
        assert_eq!(u64::from_be_bytes(head.try_into().unwrap()), offset);
        bytes.extend_from_slice(data);
        offset += data.len() as u64;
    }
    assert_eq!(bytes, b"456789\xff\x00");
}

#[tokio::test]
async fn text_rows_have_no_markup() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "\x1b[31m<red>\x1b[0m\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?format=text")).await;
    viewer.expect("open").await;
    assert_eq!(viewer.expect("rows").await["rows"][0][1], "<red>");
    viewer.expect("end").await;
    assert_eq!(viewer.rest().await.1.unwrap().0, 1000);
}

#[tokio::test]
async fn a_row_says_which_group_it_opens() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "##[group]<Run>\nx\n::error::no\n##[endgroup]\n");
    for format in ["rows", "text"] {
        let mut viewer = Viewer::v1(server.address, &format!("{log}?format={format}")).await;
        viewer.expect("open").await;
        let message = viewer.expect("rows").await;
        let note = |i: usize| message["rows"][i][2].to_string();
        assert_eq!(note(0), r#"{"group":{"level":1,"opens":"<Run>"}}"#);
        assert_eq!(message["rows"][1], serde_json::json!([15, "x"]));
        assert_eq!(note(2), r#"{"level":"error"}"#);
        assert_eq!(note(3), r#"{"group":{"closes":1}}"#);
    }
}

#[tokio::test]
async fn a_progress_bar_rewrites_its_row() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    let mut rows = Rows::default();
    rows.apply(&viewer.expect("rows").await);
    for percent in ["\r10 %", "\r50 %", "\r100 %\ndone\n"] {
        append(&log, percent);
        rows.apply(&viewer.expect("rows").await);
    }
    assert_eq!(rows.texts(), ["start", "100 %", "done"]);
}

#[tokio::test]
async fn refusals_are_errors_with_a_close_of_the_same_code() {
    let server = TestServer::start().await;
    let inside = server.path("none.log").to_str().unwrap().to_owned();
    for (target, code, message) in
        [("/etc/passwd", 4403, "Forbidden"), (&format!("{inside}?wait=0"), 4404, "Not found")]
    {
        let mut viewer = Viewer::v1(server.address, target).await;
        let error = viewer.expect("error").await;
        assert_eq!(
            (&error["code"], &error["message"]),
            (&Value::from(code), &Value::from(message)),
            "{target}"
        );
        assert_eq!(viewer.rest().await.1.unwrap().0, code, "{target}");
    }
}

#[tokio::test]
async fn a_viewer_waits_for_a_log_that_does_not_exist_yet() {
    let server = TestServer::start().await;
    let path = server.path("later.log");
    let target = path.to_str().unwrap();
    let mut viewer = Viewer::v1(server.address, &format!("{target}?tail=1")).await;
    assert_eq!(viewer.expect("waiting").await["reason"], "missing");
    let mut original = Viewer::original(server.address, &format!("{target}?tail=1&wait=1")).await;
    std::fs::write(&path, "here\n").unwrap();
    assert_eq!(viewer.expect("open").await["from"], 0);
    let mut rows = Rows::default();
    while rows.texts() != ["here"] {
        rows.apply(&viewer.expect("rows").await);
    }
    assert_eq!(original.text_until("here\n").await, "here\n");
}

#[tokio::test]
async fn a_position_resumes_at_the_byte() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\nthree\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let open = viewer.expect("open").await;
    let generation = open["generation"].as_str().unwrap().to_owned();
    let mut rows = Rows::default();
    let first = viewer.expect("rows").await;
    rows.apply(&first);
    drop(viewer);
    append(&log, "four\npart");
    let next = first["next"].as_u64().unwrap();
    let mut back =
        Viewer::v1(server.address, &format!("{log}?tail=1&from={next}&generation={generation}"))
            .await;
    let open = back.expect("open").await;
    assert_eq!((&open["recovered"], &open["from"]), (&true.into(), &next.into()));
    rows.apply(&back.expect("rows").await);
    assert_eq!(rows.texts(), ["one", "two", "three", "four", "part"]);
    // For a position within a row the whole row is sent again.
    let mut back = Viewer::v1(
        server.address,
        &format!("{log}?tail=1&from={}&generation={generation}", next + 7),
    )
    .await;
    assert_eq!(back.expect("open").await["recovered"], true);
    rows.apply(&back.expect("rows").await);
    assert_eq!(rows.texts(), ["one", "two", "three", "four", "part"]);
}

#[tokio::test]
async fn a_position_of_another_file_is_never_continued() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut viewer = Viewer::v1(server.address, &log).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    drop(viewer);
    // The follower closes the old file some time after its last viewer has left.
    nobody_follows(&server).await;
    std::fs::remove_file(&log).unwrap();
    std::fs::write(&log, "another file that is longer\n").unwrap();
    for position in [
        format!("from=4&generation={generation}"),
        "from=4&generation=rubbish".to_owned(),
        format!("from=99999&generation={generation}"),
        "from=99999".to_owned(),
        "from=18446744073709551615".to_owned(),
    ] {
        let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&{position}")).await;
        let open = viewer.expect("open").await;
        assert_eq!(open["recovered"], false, "{position}");
        let reset = viewer.expect("reset").await;
        assert_eq!(
            (&reset["generation"], &reset["from"]),
            (&open["generation"], &open["from"]),
            "{position}"
        );
        let rows = viewer.expect("rows").await;
        assert_eq!(rows["rows"][0][1], "another file that is longer", "{position}");
    }
}

#[tokio::test]
async fn a_position_in_a_rotated_file_that_is_still_open_is_resumed_there_first() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    std::fs::write(&log, "new\n").unwrap();
    viewer.expect("rows").await;
    assert_eq!(viewer.expect("reset").await["reason"], "rotated");
    let mut back =
        Viewer::v1(server.address, &format!("{log}?tail=1&from=4&generation={generation}")).await;
    let open = back.expect("open").await;
    assert_eq!(
        (&open["recovered"], &open["generation"]),
        (&true.into(), &generation.as_str().into())
    );
    assert_eq!(back.expect("rows").await["rows"][0][1], "two");
    assert_eq!(back.expect("reset").await["reason"], "rotated");
    assert_eq!(back.expect("rows").await["rows"][0][1], "new");
}

#[tokio::test]
async fn events_carry_the_same_messages_and_resume_by_their_id() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n");
    let accept = ("Accept", "text/event-stream");
    let mut stream = Streaming::get(server.address, &format!("{log}?tail=1"), &[accept]).await;
    assert!(
        stream.head.to_ascii_lowercase().contains("content-type: text/event-stream"),
        "{}",
        stream.head
    );
    let first = stream.read_until("[0,\"one\"]]}\n\n").await;
    assert!(first.contains("data: {\"type\":\"open\""), "{first}");
    let id = first.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    assert!(id.ends_with(":4"), "{id}");
    drop(stream);
    append(&log, "two\n");
    let mut stream =
        Streaming::get(server.address, &format!("{log}?tail=1"), &[accept, ("Last-Event-ID", &id)])
            .await;
    let second = stream.read_until("[4,\"two\"]]}\n\n").await;
    assert!(second.contains("\"recovered\":true") && !second.contains("\"one\""), "{second}");
    let foreign = [accept, ("Last-Event-ID", "rubbish:4")];
    let third = Streaming::get(server.address, &format!("{log}?tail=1"), &foreign)
        .await
        .read_until("[4,\"two\"]]}\n\n")
        .await;
    assert!(third.contains("\"recovered\":false") && third.contains("\"reset\""), "{third}");
    // Without `tail` the stream ends with `end`, because otherwise a browser would reconnect.
    let whole = Streaming::get(server.address, &log, &[accept]).await.rest().await;
    assert!(whole.ends_with("data: {\"type\":\"end\"}\n\n"), "{whole}");
}

#[tokio::test]
async fn an_unknown_format_is_refused_by_name() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let rows = Viewer::connect(server.address, &format!("{log}?format=rows"), &[]).await;
    assert!(
        matches!(&rows, Err(tokio_tungstenite::tungstenite::Error::Http(answer)) if answer.status() == 400),
        "{:?}",
        rows.err()
    );
    let events =
        get(server.address, &format!("{log}?format=raw"), &[("Accept", "text/event-stream")]).await;
    assert_eq!(events.status, 400);
    assert!(events.text().contains("format=raw"), "{}", events.text());
}

#[tokio::test]
async fn a_log_that_began_empty_is_resumed_after_all_viewers_have_left() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    append(&log, "one\ntwo\n");
    let mut next = 0;
    while next < 8 {
        next = viewer.json().await["next"].as_u64().unwrap_or(0);
    }
    drop(viewer);
    nobody_follows(&server).await;
    append(&log, "three\n");
    let position = format!("{log}?tail=1&from=8&generation={generation}");
    let mut back = Viewer::v1(server.address, &position).await;
    assert_eq!(back.expect("open").await["recovered"], true);
    assert_eq!(back.expect("rows").await["rows"][0][1], "three");
    drop(back);
    nobody_follows(&server).await;
    // A file with the same beginning and other content is another file.
    std::fs::write(&log, "one\ntwo, but in another run\n").unwrap();
    let mut back = Viewer::v1(server.address, &position).await;
    assert_eq!(back.expect("open").await["recovered"], false);
    assert_eq!(back.expect("reset").await["from"], 0);
}

async fn nobody_follows(server: &TestServer) {
    eventually("nobody follows", async || match server.health().await["logs"].as_u64() {
        Some(0) => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_position_before_late_bytes_resumes_through_everything_after_it() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "old one\nold two\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    viewer.expect("rows").await;
    let old = server.path("a.log.1");
    std::fs::rename(&log, &old).unwrap();
    append(&log, "new\n");
    assert_eq!(viewer.expect("reset").await["reason"], "rotated");
    viewer.expect("rows").await;
    append(&old, "late\n");
    assert_eq!(viewer.expect("reset").await["reason"], "late");
    let position = format!("{log}?tail=1&from=8&generation={generation}");
    let mut back = Viewer::v1(server.address, &position).await;
    assert_eq!(back.expect("open").await["recovered"], true);
    for (reason, row) in [("", "old two"), ("rotated", "new"), ("late", "late")] {
        if !reason.is_empty() {
            assert_eq!(back.expect("reset").await["reason"], reason);
        }
        assert_eq!(back.expect("rows").await["rows"][0][1], row);
    }
}

#[tokio::test]
async fn a_position_in_a_missing_log_is_not_recovered_when_the_log_appears() {
    let server = TestServer::start().await;
    let path = server.path("later.log");
    let target = format!("{}?tail=1&from=3&generation=1-2-3-100-4", path.display());
    let mut viewer = Viewer::v1(server.address, &target).await;
    assert_eq!(viewer.expect("waiting").await["reason"], "missing");
    std::fs::write(&path, "here it is\n").unwrap();
    assert_eq!(viewer.expect("open").await["recovered"], false);
    assert_eq!(viewer.expect("reset").await["from"], 0);
    assert_eq!(viewer.expect("rows").await["rows"][0][1], "here it is");
}

#[tokio::test]
async fn a_row_with_too_much_markup_is_sent_as_text() {
    let server = TestServer::start().await;
    let quotes = "\"".repeat(60_000);
    let colours = "\x1b[95mx\x1b[4;9;1mx".repeat(10_000);
    let log = server.log("a.log", format!("before\n{quotes}\n{colours}\x1b[0m\nafter\n"));
    let mut viewer = Viewer::v1(server.address, &log).await;
    viewer.expect("open").await;
    let mut rows = Rows::default();
    loop {
        let message = viewer.json().await;
        assert!(message.to_string().len() <= 256 * 1024);
        match message["type"].as_str().unwrap() {
            "rows" => rows.apply(&message),
            _ => break,
        }
    }
    let texts = rows.texts();
    assert_eq!((texts.first(), texts.last()), (Some(&"before"), Some(&"after")));
    assert_eq!(texts.concat().matches("&quot;").count(), 60_000);
}

#[tokio::test]
async fn viewers_of_v1_get_no_text_heartbeats() {
    let settings = Settings {
        heartbeat: Heartbeat::Text,
        heartbeat_interval: Duration::from_millis(100),
        ..Settings::default()
    };
    let server = TestServer::with(settings).await;
    let log = server.log("a.log", "");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    for heartbeat in 0..5 {
        let message = timeout(DEADLINE, viewer.stream.next()).await.expect("no heartbeat came");
        let message = message.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_)), "heartbeat {heartbeat}: {message:?}");
    }
    append(&log, "x\n");
    assert_eq!(viewer.expect("rows").await["rows"][0][1], "x");
}
