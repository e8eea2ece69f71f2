//! Requests in general: bounds, origins, many connections, and settings of the server.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tailcast::serve::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::clients::{Streaming, Viewer, exchange, get, head_of};
use crate::servers::{DEADLINE, Program, TestServer, append, command, eventually, write_big};
use crate::transport::Io;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_for_the_list_take_one_thread_and_delay_no_line() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    for folder in 0..20 {
        let folder = directory.path().join(folder.to_string());
        std::fs::create_dir(&folder).unwrap();
        for number in 0..500 {
            std::fs::File::create(folder.join(format!("{number}.log"))).unwrap();
        }
    }
    append(&log, "start\n");
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let address = program.address;
    let mut viewer = Viewer::v1(address, &format!("{}?tail=1", log.display())).await;
    viewer.expect("open").await;
    viewer.expect("rows").await;
    let threads =
        || std::fs::read_dir(format!("/proc/{}/task", program.child.id())).unwrap().count();
    let before = threads();
    let crowd = tokio::spawn(join_all((0..400).map(|number| {
        let target = if number % 2 == 0 { "/_/logs" } else { "/" };
        async move { get(address, target, &[]).await.status }
    })));
    let mut most = before;
    let mut slowest = Duration::ZERO;
    let mut lines = 0;
    while !crowd.is_finished() {
        let written = Instant::now();
        append(&log, format!("line {lines}\n"));
        viewer.expect("rows").await;
        slowest = slowest.max(written.elapsed());
        most = most.max(threads());
        lines += 1;
    }
    let statuses = crowd.await.unwrap();
    assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
    // One thread makes the list; a few others belong to the followed log.
    assert!(most <= before + 8, "{most} threads, {before} before");
    assert!(slowest < Duration::from_secs(2), "a line took {slowest:?}");
}

#[tokio::test]
async fn a_list_that_the_client_has_is_not_sent_again() {
    let server = TestServer::start().await;
    server.log("a.log", "x\n");
    let list = get(server.address, "/_/logs", &[]).await;
    let tag = list.header("etag").unwrap();
    for known in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = get(server.address, "/_/logs", &[("If-None-Match", &known)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
    }
    assert_eq!(get(server.address, "/_/logs", &[("If-None-Match", "\"x\"")]).await.status, 200);
}

#[tokio::test]
async fn a_request_about_a_log_without_viewers_counts_as_a_viewer() {
    let server = TestServer::with(Settings { max_viewers: 1, ..Settings::default() }).await;
    let [watched, other] = ["a.log", "b.log"].map(|name| server.log(name, "x\n"));
    let mut viewer = Viewer::original(server.address, &format!("{watched}?tail=1")).await;
    viewer.text().await;
    for (call, query) in [("rows", ""), ("lines", "?at=0"), ("find", "?q=x"), ("text", "")] {
        let full = get(server.address, &format!("/_/{call}{other}{query}"), &[]).await;
        assert_eq!((full.status, full.header("retry-after")), (503, Some("5")), "{call}");
        let own = get(server.address, &format!("/_/{call}{watched}{query}"), &[]).await;
        assert_eq!(own.status, 200, "{call} of a log that has a viewer: {}", own.text());
    }
    assert_eq!(server.health().await["logs"], 1);
    drop(viewer);
    eventually("the viewer has gone", async || {
        let status = get(server.address, &format!("/_/rows{other}"), &[]).await.status;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
    eventually("the question no longer counts", async || match server.viewers().await {
        0 => Ok(()),
        viewers => Err(viewers),
    })
    .await;
}

#[tokio::test]
async fn searches_of_other_logs_keep_the_count_of_lines() {
    let server = TestServer::start().await;
    let log = server.log("counted.log", "");
    write_big(&log, 64);
    let target = format!("/_/lines{log}?at=0");
    let indexed = async || {
        let answer = get(server.address, &target, &[]).await;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer["indexed"].as_u64().unwrap(), answer["size"].as_u64().unwrap())
    };
    eventually("all lines are counted", async || match indexed().await {
        (indexed, size) if indexed == size => Ok(()),
        counted => Err(counted),
    })
    .await;
    for number in 0..20 {
        let other = server.log(&format!("{number}.log"), "x\n");
        assert_eq!(get(server.address, &format!("/_/find{other}?q=x"), &[]).await.status, 200);
        assert_eq!(get(server.address, &format!("/_/text{other}"), &[]).await.status, 200);
    }
    let (indexed, size) = indexed().await;
    assert_eq!(indexed, size, "the count began again");
}

#[tokio::test]
async fn pages_of_a_listed_origin_may_read_data_and_no_page() {
    const LISTED: &str = "http://app.example:3000";
    let allow_origins = vec![LISTED.to_owned()];
    let server = TestServer::with(Settings { allow_origins, ..Settings::default() }).await;
    let log = server.log("a.log", "x\n");
    let origin = ("Origin", LISTED);
    let accept_events = [origin, ("Accept", "text/event-stream")];
    let events = Streaming::get(server.address, &log, &accept_events).await.head.to_lowercase();
    assert!(events.contains(&format!("access-control-allow-origin: {LISTED}")), "{events}");
    let rows = format!("/_/rows{log}");
    for target in [log.as_str(), &rows, "/_/logs", "/_/rows/outside", "/_/none"] {
        let answer = get(server.address, target, &[origin]).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(LISTED), "{target}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"), "{target}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{target}");
    }
    let own = format!("http://{}", server.address);
    for headers in [&[][..], &[("Origin", own.as_str())], &[origin, ("Accept", "text/html")]] {
        let answer = get(server.address, &log, headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{headers:?}");
        let policy = answer.header("cross-origin-resource-policy");
        assert_eq!(policy, Some("same-origin"), "{headers:?}");
    }
    let other = get(server.address, &log, &[("Origin", "http://evil.example")]).await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None));
    // Every answer has `Vary: Origin`, for caches.
    let head =
        format!("GET {log} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    let answer = exchange(server.address, head.as_bytes()).await;
    let vary = answer.header("vary").unwrap();
    assert!(vary.to_lowercase().contains("origin"), "{vary}");
}

#[tokio::test]
async fn a_preflight_is_answered_for_a_listed_origin_only() {
    let allow_origins = vec!["http://app.example".to_owned()];
    let server = TestServer::with(Settings { allow_origins, ..Settings::default() }).await;
    let log = server.log("a.log", "x\n");
    let ask = async |origin: &str| {
        let head = format!(
            "OPTIONS {log} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: if-none-match\r\n\r\n",
            server.address
        );
        exchange(server.address, head.as_bytes()).await
    };
    let listed = ask("http://app.example").await;
    assert_eq!(listed.status, 204);
    assert_eq!(listed.header("access-control-allow-origin"), Some("http://app.example"));
    assert_eq!(listed.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert!(listed.header("access-control-allow-headers").unwrap().contains("if-none-match"));
    assert_eq!(ask("http://evil.example").await.status, 403);
}

#[tokio::test]
async fn a_second_host_or_origin_is_refused_on_every_route() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "SECRET\n");
    let own = format!("http://{}", server.address);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let events = "Accept: text/event-stream\r\n";
    let page = "Accept: text/html\r\n";
    let rows = format!("/_/rows{log}");
    for (target, more) in [
        (log.as_str(), ""),
        (&log, upgrade),
        (&log, events),
        (&log, page),
        (&rows, ""),
        ("/", ""),
        ("/_/logs", ""),
    ] {
        for twice in [
            format!("Host: {}\r\nOrigin: {own}\r\nOrigin: http://evil.example\r\n", server.address),
            format!("Host: {}\r\nOrigin: http://evil.example\r\nOrigin: {own}\r\n", server.address),
            format!("Host: {}\r\nOrigin: {own}\r\nOrigin: {own}\r\n", server.address),
            format!("Host: {}\r\nHost: evil.example\r\n", server.address),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\n{twice}{more}\r\n");
            let answer = head_of(server.address, &head).await;
            assert!(matches!(answer.status, 400 | 403), "{} for {head}", answer.status);
        }
    }
}

#[tokio::test]
async fn health_and_explanations_of_a_refusal_are_served_under_any_host_name() {
    let server = TestServer::start().await;
    server.log("a.log", "SECRET\n");
    let page = get(server.address, "/", &[("Accept", "text/html")]).await.text();
    let asset = page.split('"').find(|text| text.starts_with("/_/page/")).expect("an asset");
    for target in ["/_/healthz", "/_/levels.json", asset, "/_/check?origin=http://evil.example"] {
        for head in [
            format!("GET {target} HTTP/1.0\r\n\r\n"),
            format!("HEAD {target} HTTP/1.0\r\n\r\n"),
            format!("GET {target} HTTP/1.1\r\nHost: logs.internal\r\nConnection: close\r\n\r\n"),
            format!(
                "GET {target} HTTP/1.1\r\nHost: {}\r\nOrigin: https://logs.example\r\n\
                 Connection: close\r\n\r\n",
                server.address
            ),
        ] {
            let answer = exchange(server.address, head.as_bytes()).await;
            assert_eq!(answer.status, 200, "{head}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{head}");
            let body = answer.text();
            assert!(!body.contains("SECRET") && !body.contains("a.log"), "{head}: {body}");
        }
    }
    // Under such a name no content of a log is served, whatever `Sec-Fetch-Site` says.
    let head = "GET /_/logs HTTP/1.1\r\nHost: logs.internal\r\nSec-Fetch-Site: same-origin\r\n\
                Connection: close\r\n\r\n";
    assert_eq!(exchange(server.address, head.as_bytes()).await.status, 421);
}

#[tokio::test]
async fn a_refused_page_learns_which_check_failed_and_how_to_fix_it() {
    let server = TestServer::start().await;
    let check = async |host: &str, origin: &str| {
        let head = format!(
            "GET /_/check?origin={origin} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(server.address, head.as_bytes()).await;
        serde_json::from_str::<serde_json::Value>(&answer.text()).unwrap()
    };
    let own = server.address.to_string();
    let served = check(&own, &format!("http://{own}")).await;
    assert_eq!(served, serde_json::json!({"status": null, "message": null, "hint": null}));
    let renamed = check("logs.internal", "https://logs.internal").await;
    assert_eq!(renamed["status"], 421, "{renamed}");
    assert!(renamed["hint"].as_str().unwrap().contains("--allow-host logs.internal"), "{renamed}");
    let behind = check(&own, "https://logs.example").await;
    assert_eq!(behind["status"], 403, "{behind}");
    for way in ["--allow-origin https://logs.example", "proxy_set_header Host $http_host;"] {
        assert!(behind["hint"].as_str().unwrap().contains(way), "{behind}");
    }
    let get = get(server.address, "/_/check", &[]).await;
    assert_eq!(get.status, 400, "{}", get.text());
}

#[tokio::test]
async fn a_log_that_rotates_is_followed_however_many_connections_are_silent() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let served = directory.path().to_str().unwrap();
    let program = Program::serve_under("ulimit -n 64", &[served, "--max-viewers", "10"]);
    let mut viewer = Viewer::original(program.address, &format!("{}?tail=1", log.display())).await;
    assert_eq!(viewer.text().await, "x\n");
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(program.address).await.unwrap();
        // Every second one has begun a request, so it is not idle.
        if number % 2 == 0 {
            stream.write_all(b"GET / HT").await.ok();
        }
        silent.push(stream);
    }
    eventually("the server runs short of descriptors", async || match program.said() {
        said if said.contains("can't accept") => Ok(()),
        said => Err(said),
    })
    .await;
    for round in 1..=3 {
        let rotated = Instant::now();
        std::fs::rename(&log, directory.path().join(format!("a.log.{round}"))).unwrap();
        append(&log, "of the new file\n");
        assert_eq!(viewer.text().await, "of the new file\n");
        assert!(rotated.elapsed() < Duration::from_secs(2), "it took {:?}", rotated.elapsed());
    }
    // Other requests are also served.
    let asked = Instant::now();
    assert_eq!(get(program.address, "/_/healthz", &[]).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "it took {:?}", asked.elapsed());
    drop(silent);
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let directory = tempfile::tempdir().unwrap();
    let served = directory.path().to_str().unwrap();
    let limits = "ulimit -S -n 300 && ulimit -H -n 3000";
    let program = Program::serve_under(limits, &[served, "--max-viewers", "10"]);
    assert_eq!(program.open_files_limits(), ["3000", "3000"]);
}

#[tokio::test]
async fn busy_connections_are_kept_and_a_new_one_is_refused_with_retry_after() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x\n").unwrap();
    let served = directory.path().to_str().unwrap();
    let program = Program::serve_under("ulimit -n 64", &[served]);
    let mut busy = Vec::new();
    let refused = loop {
        assert!(busy.len() < 64, "no end of connections");
        let mut stream = Io::to(program.address).await.unwrap();
        let head =
            format!("GET {}?tail=1 HTTP/1.1\r\nHost: {}\r\n\r\n", log.display(), program.address);
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = timeout(DEADLINE, stream.read(&mut answer)).await.expect("no answer").unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        busy.push(stream);
    };
    assert!(refused.contains("retry-after: 5"), "{refused}");
    assert!(busy.len() > 10, "{} connections", busy.len());
}

#[tokio::test]
async fn a_colon_on_the_command_line_is_part_of_a_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let colon = directory.path().join("a:b");
    std::fs::create_dir(&colon).unwrap();
    std::fs::write(colon.join("x.log"), "x\n").unwrap();
    let program = Program::serve(&["--prefix", colon.to_str().unwrap()]);
    let target = format!("{}/x.log", colon.display());
    assert_eq!(get(program.address, &target, &[]).await.text(), "x\n");
}

#[tokio::test]
async fn a_stall_timeout_of_zero_is_refused() {
    for zero in ["0", "0.0", "-1"] {
        let mut serve = tokio::process::Command::from(command());
        serve.args(["serve", "--port", "0", &format!("--stall-timeout={zero}")]).kill_on_drop(true);
        let output = timeout(DEADLINE, serve.output()).await.expect("it serves").unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{zero}: {said}");
        assert!(said.contains("--stall-timeout"), "{said}");
    }
}
