//! One event stream of several logs.

use serde_json::Value;
use tailcast::serve::Settings;

use crate::clients::{Streaming, get};
use crate::servers::{TestServer, append, eventually};

/// The messages in a body, each with the number of its log.
fn messages(body: &str) -> Vec<(u64, Value)> {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let parsed = data.map(|data| serde_json::from_str::<Value>(data).unwrap());
    parsed.map(|event| (event["log"].as_u64().unwrap(), event["message"].clone())).collect()
}

/// The texts of the rows of one log in a body.
fn rows(body: &str, log: u64) -> Vec<String> {
    let of_log = messages(body).into_iter().filter(|(at, _)| *at == log);
    let rows = of_log.flat_map(|(_, message)| message["rows"].as_array().cloned());
    rows.flatten().map(|row| row[1].as_str().unwrap().to_owned()).collect()
}

/// Reads until each of these logs has this row.
async fn read_until(stream: &mut Streaming, wanted: &[(u64, &str)]) -> String {
    loop {
        let body = stream.read_until("\n\n").await;
        if wanted.iter().all(|(log, row)| rows(&body, *log).iter().any(|text| text == row)) {
            return body;
        }
        stream.read_more().await;
    }
}

#[tokio::test]
async fn one_event_stream_carries_several_logs_each_from_its_own_start() {
    let server = TestServer::start().await;
    let one = server.log("one.log", "a\nb\nc\n");
    let two = server.log("two.log", "d\n");
    let target = format!("/_/events?tail=1&log={one}&lines=2&log={two}&from=0");
    let mut stream = Streaming::get(server.address, &target, &[]).await;
    let head = stream.head.to_ascii_lowercase();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let body = read_until(&mut stream, &[(0, "c"), (1, "d")]).await;
    assert_eq!((rows(&body, 0), rows(&body, 1)), (vec!["b".into(), "c".into()], vec!["d".into()]));
    let opened = |log| {
        let first = messages(&body).into_iter().find(|(at, _)| *at == log).unwrap().1;
        (first["type"].clone(), first["path"].clone())
    };
    assert_eq!(opened(0), ("open".into(), one.as_str().into()));
    assert_eq!(opened(1), ("open".into(), two.as_str().into()));
    append(&two, "e\n");
    append(&one, "f\n");
    read_until(&mut stream, &[(0, "f"), (1, "e")]).await;
    assert_eq!(server.viewers().await, 2);
    drop(stream);
    eventually("both viewers have left", async || match server.viewers().await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}

#[tokio::test]
async fn an_event_stream_of_several_logs_resumes_each_by_its_id() {
    let server = TestServer::start().await;
    let one = server.log("one.log", "a\n");
    let two = server.log("two.log", "b\n");
    let late = server.path("late.log");
    let late = late.to_str().unwrap();
    let target = format!("/_/events?tail=1&log={one}&log={two}&log={late}");
    let mut stream = Streaming::get(server.address, &target, &[]).await;
    let body = read_until(&mut stream, &[(0, "a"), (1, "b")]).await;
    let id = body.lines().rev().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(stream);
    append(&one, "c\n");
    append(&two, "d\n");
    append(late, "first\n");
    let last = [("Last-Event-ID", id.as_str())];
    let mut stream = Streaming::get(server.address, &target, &last).await;
    let body = read_until(&mut stream, &[(0, "c"), (1, "d"), (2, "first")]).await;
    assert_eq!((rows(&body, 0), rows(&body, 1)), (vec!["c".into()], vec!["d".into()]), "{body}");
    let recovered = messages(&body).into_iter().filter(|(_, message)| message["type"] == "open");
    assert!(recovered.into_iter().all(|(_, open)| open["recovered"] == true), "{body}");
    let foreign = [("Last-Event-ID", "rubbish:2 - -")];
    let mut stream = Streaming::get(server.address, &target, &foreign).await;
    let body = read_until(&mut stream, &[(0, "c"), (1, "b")]).await;
    assert!(body.contains("\"recovered\":false"), "{body}");
}

/// The logs that are refused in a body, with the codes, in the order of the logs.
fn refused(body: &str) -> Vec<(u64, u64)> {
    let errors = messages(body).into_iter().filter(|(_, message)| message["type"] == "error");
    let mut codes: Vec<(u64, u64)> =
        errors.map(|(log, error)| (log, error["code"].as_u64().unwrap())).collect();
    codes.sort_unstable();
    codes
}

#[tokio::test]
async fn a_log_that_is_refused_does_not_end_the_stream_of_the_others() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "a\n");
    let none = server.path("none.log");
    let none = none.to_str().unwrap();
    let target = format!("/_/events?tail=1&log=/etc/passwd&log={none}&wait=0&log={log}");
    let mut stream = Streaming::get(server.address, &target, &[]).await;
    read_until(&mut stream, &[(2, "a")]).await;
    append(&log, "b\n");
    let body = read_until(&mut stream, &[(2, "b")]).await;
    assert_eq!(refused(&body), [(0, 4403), (1, 4404)], "{body}");
    assert!(!body.contains("root:"), "{body}");
}

#[tokio::test]
async fn each_log_of_a_stream_is_a_viewer_and_a_full_server_refuses_the_rest() {
    let server = TestServer::with(Settings { max_viewers: 1, ..Settings::default() }).await;
    let log = server.log("a.log", "a\n");
    let target = format!("/_/events?tail=1&log={log}&log={log}");
    let mut stream = Streaming::get(server.address, &target, &[]).await;
    read_until(&mut stream, &[(0, "a")]).await;
    append(&log, "b\n");
    let body = read_until(&mut stream, &[(0, "b")]).await;
    assert_eq!(refused(&body), [(1, 1013)], "{body}");
}

#[tokio::test]
async fn a_stream_of_several_logs_ends_when_all_have_ended() {
    let server = TestServer::start().await;
    let one = server.log("one.log", "a\n");
    let two = server.log("two.log", "b\n");
    let whole = get(server.address, &format!("/_/events?log={one}&log={two}"), &[]).await;
    let ends = messages(&whole.text()).into_iter().filter(|(_, message)| message["type"] == "end");
    assert_eq!(ends.count(), 2, "{}", whole.text());
    for (query, named) in [("", "`log`"), ("?log=/a&format=raw", "`format=raw`")] {
        let refused = get(server.address, &format!("/_/events{query}"), &[]).await;
        assert_eq!(refused.status, 400, "{query}");
        assert!(refused.text().contains(named), "{query}: {}", refused.text());
    }
}
