//! Plain HTTP: the answers to `curl` and to browsers.

use crate::clients::{Streaming, get, request};
use crate::servers::{TestServer, append, eventually};

#[tokio::test]
async fn a_request_without_a_query_returns_the_file() {
    let server = TestServer::start().await;
    let content: Vec<u8> = (0..1_000_000u32).flat_map(|n| n.to_le_bytes()).collect();
    let log = server.log("a.log", &content);
    let answer = get(server.address, &log, &[("Accept", "*/*")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain"), "it is not UTF-8");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.body == content, "{} of {} bytes", answer.body.len(), content.len());
    let head = request(server.address, "HEAD", &log, &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some("4000000"));
    assert_eq!(head.header("accept-ranges"), Some("bytes"));
}

#[tokio::test]
async fn ranges_are_honoured() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "0123456789");
    for (range, status, content_range, body) in [
        ("bytes=0-3", 206, Some("bytes 0-3/10"), "0123"),
        ("bytes=4-", 206, Some("bytes 4-9/10"), "456789"),
        ("bytes=-3", 206, Some("bytes 7-9/10"), "789"),
        ("bytes=8-99", 206, Some("bytes 8-9/10"), "89"),
        ("bytes=10-", 416, Some("bytes */10"), "the log has 10 bytes\n"),
        ("bytes=0-1,3-4", 200, None, "0123456789"),
        ("lines=0-3", 200, None, "0123456789"),
        ("bytes=x", 200, None, "0123456789"),
    ] {
        let answer = get(server.address, &log, &[("Range", range)]).await;
        assert_eq!(answer.status, status, "{range}: {answer:?}");
        assert_eq!(answer.header("content-range"), content_range, "{range}");
        assert_eq!(answer.text(), body, "{range}");
    }
}

#[tokio::test]
async fn an_etag_identifies_one_state_of_the_file() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n");
    let first = get(server.address, &log, &[]).await;
    let etag = first.header("etag").unwrap();
    let date = first.header("last-modified").unwrap();
    let again = get(server.address, &log, &[("If-None-Match", etag)]).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(get(server.address, &log, &[("If-Modified-Since", date)]).await.status, 304);
    let part = get(server.address, &log, &[("Range", "bytes=1-"), ("If-Range", etag)]).await;
    assert_eq!((part.status, part.text().as_str()), (206, "ne\n"));
    append(&log, "two\n");
    assert_eq!(get(server.address, &log, &[("If-None-Match", etag)]).await.status, 200);
    let whole = get(server.address, &log, &[("Range", "bytes=1-"), ("If-Range", etag)]).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, "one\ntwo\n"));
}

#[tokio::test]
async fn curl_with_tail_follows_the_log() {
    let server = TestServer::start().await;
    let all: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    let log = server.log("a.log", &all);
    let mut stream =
        Streaming::get(server.address, &format!("{log}?tail=1"), &[("Accept", "*/*")]).await;
    assert!(stream.head.starts_with("HTTP/1.1 200"), "{}", stream.head);
    let history = stream.read_until("3000\n").await;
    assert!(
        history.starts_with("2001\n2002\n"),
        "it starts 1000 lines before the end: {history:.40}"
    );
    append(&log, b"\x1b[1mbold\x1b[0m <b>\n");
    assert!(
        stream.read_until("<b>\n").await.ends_with("\x1b[1mbold\x1b[0m <b>\n"),
        "the bytes as they are"
    );
}

#[tokio::test]
async fn parameters_choose_the_part_and_the_form() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "1\n\x1b[31m2\x1b[0m\n<3>\n4");
    for (query, expected) in [
        ("lines=2", "<3>\n4"),
        ("lines=0", ""),
        ("lines=all", "1\n\x1b[31m2\x1b[0m\n<3>\n4"),
        ("lines=99", "1\n\x1b[31m2\x1b[0m\n<3>\n4"),
        ("from=2", "\x1b[31m2\x1b[0m\n<3>\n4"),
        ("from=1", "\n\x1b[31m2\x1b[0m\n<3>\n4"),
        ("format=raw", "1\n\x1b[31m2\x1b[0m\n<3>\n4"),
        ("format=text", "1\n2\n<3>\n4"),
        ("format=text&lines=3", "2\n<3>\n4"),
        ("format=html&lines=3", "<span style='color:var(--red,#a00)'>2</span>\n&lt;3&gt;\n4"),
        ("tail=0", "1\n\x1b[31m2\x1b[0m\n<3>\n4"),
        ("unknown=parameter", "1\n\x1b[31m2\x1b[0m\n<3>\n4"),
    ] {
        let answer = get(server.address, &format!("{log}?{query}"), &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn bad_parameters_are_named() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    for (query, named) in [
        ("lines=x", "lines"),
        ("tail=maybe", "tail"),
        ("from=-1", "from"),
        ("format=pdf", "format"),
        ("from=1&from=2", "from"),
    ] {
        for accept in ["*/*", "text/html", "text/event-stream"] {
            let answer =
                get(server.address, &format!("{log}?{query}"), &[("Accept", accept)]).await;
            assert_eq!(answer.status, 400, "{query} as {accept}");
            assert!(answer.text().contains(named), "{query} as {accept}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_browser_gets_the_page_and_others_the_bytes() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "content\n");
    let browser = [("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")];
    let page = get(server.address, &log, &browser).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(
        !policy.contains("script-src 'self' 'unsafe")
            && !policy.contains("style-src 'self' 'unsafe"),
        "{policy}"
    );
    let raw = get(server.address, &format!("{log}?format=raw"), &browser).await;
    assert_eq!(
        (raw.header("content-type"), raw.text().as_str()),
        (Some("text/plain"), "content\n")
    );
    let missing = get(server.address, &format!("{log}.not-yet"), &browser).await;
    assert_eq!(
        (missing.status, missing.header("content-type")),
        (404, Some("text/html; charset=utf-8"))
    );
    assert!(
        missing.text().contains("/viewer/main.js\""),
        "the page of a log that is not there waits for it"
    );
}

#[tokio::test]
async fn page_assets_are_cached_by_their_version() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "content\n");
    let browser = [("accept", "text/html")];
    for target in [&log, "/", "/_/beside", "/_/merged", "/etc/passwd"] {
        let page = get(server.address, target, &browser).await.text();
        let links = page.split('"').filter(|link| link.starts_with("/_/page/"));
        let links: Vec<String> = links.map(ToOwned::to_owned).collect();
        assert!(links.iter().any(|link| link.ends_with("/styles/base.css")), "{target}: {page}");
        for link in links {
            let asset = get(server.address, &link, &[]).await;
            let kept = Some("public, max-age=31536000, immutable");
            assert_eq!((asset.status, asset.header("cache-control")), (200, kept), "{link}");
            // The content under another version's URL may change, so it is not cached.
            let (_, name) = link["/_/page/".len()..].split_once('/').unwrap();
            let other = format!("/_/page/0123456789abcdef/{name}");
            let asset = get(server.address, &other, &[]).await;
            let passing = Some("private, no-cache");
            assert_eq!((asset.status, asset.header("cache-control")), (200, passing));
        }
    }
    for nothing in [
        "/_/page/",
        "/_/page/view.js",
        "/_/page/x/none.js",
        "/_/page/x/y/main.js",
        "/_/page/x/net/wire.js",
    ] {
        assert_eq!(get(server.address, nothing, &[]).await.status, 404, "{nothing}");
    }
}

#[tokio::test]
async fn the_list_names_the_logs_for_people_and_for_scripts() {
    let server = TestServer::start().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let older = server.log("sub/older.log", "x");
    let newer = server.log("new <&> er.log", "xy");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3 * 3600);
    std::fs::File::options().write(true).open(&older).unwrap().set_modified(long_ago).unwrap();
    let text = get(server.address, "/", &[]).await;
    assert_eq!(text.text(), format!("{newer}\n{older}\n"), "newest first");
    let page = get(server.address, "/", &[("Accept", "text/html")]).await.text();
    assert!(
        page.contains("new &#60;&#38;&#62; er.log") && page.contains("%20%3C%26%3E%20er.log"),
        "{page}"
    );
    assert!(page.contains("3 h ago"), "{page}");
    let json = get(server.address, "/_/logs", &[]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(json["logs"][0]["path"], newer.as_str());
    assert_eq!(json["logs"][0]["size"], 2);
    assert_eq!(json["logs"][1]["viewers"], 0);
}

#[tokio::test]
async fn methods_that_write_are_not_allowed() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer = request(server.address, method, &log, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[tokio::test]
async fn a_load_balancer_may_ask_for_the_methods_by_any_name() {
    let server = TestServer::start().await;
    for target in ["/", "*", "/_/healthz"] {
        let answer = request(server.address, "OPTIONS", target, &[("Host", "lb.example")]).await;
        assert_eq!((answer.status, answer.header("allow")), (204, Some("GET, HEAD")), "{target}");
        assert!(answer.body.is_empty());
    }
}

#[tokio::test]
async fn a_handshake_that_a_proxy_has_robbed_of_its_upgrade_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "secret\n");
    let key = [("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")];
    let answer = get(server.address, &format!("{log}?tail=1"), &key).await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")));
    assert!(answer.text().contains("proxy_set_header Upgrade"), "{}", answer.text());
}

#[tokio::test]
async fn the_health_answer_is_ok() {
    let server = TestServer::start().await;
    let answer = get(server.address, "/_/healthz", &[]).await;
    assert_eq!(answer.status, 200);
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["status"], "ok");
}

#[tokio::test]
async fn a_download_whose_file_is_cut_ends_the_connection() {
    const PROMISED: u64 = 64 << 20;
    let server = TestServer::start().await;
    let path = server.path("big.log");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(PROMISED).unwrap();
    let mut stream = Streaming::get(server.address, path.to_str().unwrap(), &[]).await;
    assert!(stream.head.contains(&format!("content-length: {PROMISED}")), "{}", stream.head);
    // Only the head has been read. The sockets hold a few MiB, so most of the file is not sent yet.
    file.set_len(0).unwrap();
    let came = stream.read_to_end().await;
    assert!(came < PROMISED, "{came} bytes came of a file that was cut");
}

#[tokio::test]
async fn a_position_beyond_the_end_is_not_satisfiable() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "0123456789");
    for query in
        ["from=11", "from=5&generation=rubbish", "from=5&generation=1-2-3-100-4", "from=11&tail=1"]
    {
        let answer = get(server.address, &format!("{log}?{query}"), &[]).await;
        assert_eq!(answer.status, 416, "{query}: {}", answer.text());
    }
    assert_eq!(get(server.address, &format!("{log}?from=10"), &[]).await.text(), "");
}

#[tokio::test]
async fn only_our_own_page_may_have_a_log_in_a_frame_and_only_as_a_pane() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "content\n");
    let framing = async |target: String| {
        let page = get(server.address, &target, &[("Accept", "text/html")]).await;
        let policy = page.header("content-security-policy").unwrap().to_owned();
        let part = |name: &str| {
            policy.split("; ").find(|part| part.starts_with(name)).unwrap_or_default().to_owned()
        };
        (part("frame-src"), part("frame-ancestors"))
    };
    let none = || "frame-ancestors 'none'".to_owned();
    let panes = format!("/_/beside?log={log}");
    assert_eq!(framing(panes.clone()).await, ("frame-src 'self'".to_owned(), none()));
    // A pane and an error page in a pane may be framed by the server's own pages.
    for target in [format!("{log}?pane=1"), "/etc/passwd?pane=1".to_owned()] {
        let own = "frame-ancestors 'self'".to_owned();
        assert_eq!(framing(target.clone()).await, (String::new(), own), "{target}");
    }
    for target in [
        log.clone(),
        format!("{log}?pane=0"),
        format!("{log}?format=raw&pane=1"),
        "/etc/passwd".to_owned(),
        "/?pane=1".to_owned(),
        "/_/merged?pane=1".to_owned(),
        "/_/page/0/styles/base.css?pane=1".to_owned(),
        format!("{panes}&pane=1").replace("beside", "nothing"),
    ] {
        assert_eq!(framing(target.clone()).await, (String::new(), none()), "{target}");
    }
}

#[tokio::test]
async fn a_list_that_did_not_change_is_not_sent_again() {
    let server = TestServer::start().await;
    server.log("a.log", "content\n");
    let first = get(server.address, "/_/logs", &[]).await;
    let etag = first.header("etag").unwrap().to_owned();
    let again = get(server.address, "/_/logs", &[("If-None-Match", &etag)]).await;
    assert_eq!((again.status, again.text().as_str()), (304, ""));
    assert_eq!(again.header("etag"), Some(etag.as_str()));
    server.log("b.log", "content\n");
    eventually("the list changes", async || {
        let changed = get(server.address, "/_/logs", &[("If-None-Match", &etag)]).await;
        let is_sent = changed.status == 200 && changed.text().contains("b.log");
        if is_sent { Ok(()) } else { Err((changed.status, changed.text())) }
    })
    .await;
}
