//! Confinement to the prefixes and origins, over every protocol.

use std::os::unix::ffi::OsStrExt;

use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::clients::{Viewer, get};
use crate::servers::{TestServer, append};
use crate::transport::{Transport, over_tcp_and_tls, scheme};

over_tcp_and_tls!(requests_from_other_origins_are_refused_before_anything_is_opened,);

/// A directory with a log, a secret file outside of it, and links. Only `logs` is served.
async fn fortress() -> (TestServer, String) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("logs");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::create_dir(directory.path().join("logs-secret")).unwrap();
    std::fs::write(root.join("a.log"), "open\n").unwrap();
    std::fs::write(directory.path().join("logs-secret/x"), "SECRET\n").unwrap();
    std::fs::write(directory.path().join("x"), "SECRET\n").unwrap();
    let link =
        |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    link("/etc/passwd", "to-passwd");
    link("../x", "to-secret");
    link("../logs-secret", "to-directory");
    link("to-secret", "chain");
    link("/proc/self/root/etc/passwd", "magic");
    link("/no/such/target", "dangling-outside");
    link(root.join("a.log").to_str().unwrap(), "absolute-inside");
    link("sub/../a.log", "relative-inside");
    let access = Access::new([&root]).unwrap();
    let base = root.to_str().unwrap().to_owned();
    (TestServer::over(directory, access, Settings::default()).await, base)
}

#[tokio::test]
async fn every_entrance_serves_only_what_is_inside_the_prefixes() {
    let (server, base) = fortress().await;
    let long = "n".repeat(256);
    let deep = "a/".repeat(300);
    for (path, status) in [
        ("/a.log".to_owned(), 200),
        ("//.///a.log".to_owned(), 200),
        ("/./sub/../a.log".to_owned(), 200),
        ("/%61.log".to_owned(), 200),
        ("/absolute-inside".to_owned(), 200),
        ("/relative-inside".to_owned(), 200),
        ("-secret/x".to_owned(), 403),
        ("/../x".to_owned(), 403),
        ("/%2e%2e/x".to_owned(), 403),
        ("/%252e%252e/x".to_owned(), 404),
        ("/..%5cx".to_owned(), 404),
        ("/%c0%ae%c0%ae/x".to_owned(), 404),
        ("/a.log%00".to_owned(), 404),
        (String::new(), 404),
        ("/".to_owned(), 404),
        ("/sub".to_owned(), 404),
        ("/none".to_owned(), 404),
        ("/to-passwd".to_owned(), 403),
        ("/to-secret".to_owned(), 403),
        ("/to-directory/x".to_owned(), 403),
        ("/chain".to_owned(), 403),
        ("/magic".to_owned(), 403),
        ("/dangling-outside".to_owned(), 403),
        (format!("/{long}"), 404),
        (format!("/{deep}"), 404),
        ("/%zz".to_owned(), 400),
    ] {
        let target = format!("{base}{path}");
        let mut seen = Vec::new();
        for accept in ["*/*", "text/html", "text/event-stream"] {
            let query = if accept == "text/event-stream" { "?wait=0" } else { "" };
            let answer =
                get(server.address, &format!("{target}{query}"), &[("Accept", accept)]).await;
            assert_eq!(answer.status, status, "{path} as {accept}: {}", answer.text());
            seen.push(answer.text());
        }
        for query in ["?lines=10", "?format=text"] {
            let answer = get(server.address, &format!("{target}{query}"), &[]).await;
            assert_eq!(answer.status, status, "{path}{query}");
            seen.push(answer.text());
        }
        for question in ["rows?q=", "lines?", "find?q=e", "text?"] {
            let (name, query) = question.split_once('?').unwrap();
            let answer = get(server.address, &format!("/_/{name}{target}?{query}"), &[]).await;
            assert_eq!(answer.status, status, "{question} of {path}: {}", answer.text());
            seen.push(answer.text());
        }
        let events = get(server.address, &format!("/_/events?wait=0&log={target}"), &[]).await;
        assert_eq!(events.status, if status == 400 { 400 } else { 200 }, "events of {path}");
        let code = format!("\"code\":4{status}");
        let is_refused = events.text().contains(&code);
        assert!(matches!(status, 200 | 400) || is_refused, "{path}: {}", events.text());
        seen.push(events.text());
        if status != 400 {
            let mut viewer = Viewer::original(server.address, &target).await;
            seen.push(viewer.rest().await.0);
        }
        assert!(
            seen.iter().all(|seen| !seen.contains("SECRET") && !seen.contains("root:")),
            "{path}: {seen:?}"
        );
    }
    let list = get(server.address, "/", &[]).await.text();
    let mut listed: Vec<&str> =
        list.lines().map(|line| line.strip_prefix(&base).unwrap()).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["/a.log", "/absolute-inside", "/relative-inside"], "the list");
}

#[tokio::test]
async fn outside_the_prefixes_no_answer_depends_on_whether_a_file_exists() {
    let (server, _) = fortress().await;
    let mut there = get(server.address, "/etc/passwd", &[]).await;
    let missing = get(server.address, "/etc/no-such-file", &[]).await;
    assert_eq!((there.status, &there.body), (missing.status, &missing.body));
    let page = [("Accept", "text/html")];
    there = get(server.address, "/etc/passwd", &page).await;
    assert_eq!(there.body, get(server.address, "/etc/no-such-file", &page).await.body);
}

#[tokio::test]
async fn a_link_between_two_prefixes_works() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["containers", "pods"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    let real = directory.path().join("pods/app.log");
    std::fs::write(&real, "pod\n").unwrap();
    let link = directory.path().join("containers/app.log");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let prefixes = [directory.path().join("containers"), directory.path().join("pods")];
    let access = Access::new(prefixes).unwrap();
    let server = TestServer::over(directory, access, Settings::default()).await;
    let mut viewer = Viewer::original(server.address, &format!("{}?tail=1", link.display())).await;
    assert_eq!(viewer.text().await, "pod\n");
    append(&real, "more\n");
    assert_eq!(viewer.text().await, "more\n");
}

#[tokio::test]
async fn a_prefix_that_is_replaced_by_a_link_stays_confined() {
    let (server, base) = fortress().await;
    let moved = format!("{base}-moved");
    std::fs::rename(&base, &moved).unwrap();
    std::os::unix::fs::symlink("/", &base).unwrap();
    assert_ne!(get(server.address, &format!("{base}/etc/passwd"), &[]).await.status, 200);
    let list = get(server.address, "/", &[]).await.text();
    assert!(!list.contains("passwd") || list.contains("to-passwd"), "{list}");
    assert!(!list.contains("/etc/"), "{list}");
    // The directory that was opened at the start is still served, by its name.
    assert_eq!(get(server.address, &format!("{base}/a.log"), &[]).await.text(), "open\n");
}

#[tokio::test]
async fn a_fifo_or_a_socket_is_refused_and_never_blocks() {
    let server = TestServer::start().await;
    let fifo = server.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .unwrap();
    let socket = server.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [&fifo, &socket] {
        let target = path.to_str().unwrap();
        assert_eq!(get(server.address, target, &[]).await.status, 404, "{target}");
        let mut viewer = Viewer::original(server.address, target).await;
        assert!(viewer.rest().await.0.contains("Not found"), "{target}");
    }
    assert_eq!(get(server.address, "/", &[]).await.text(), "", "the list names regular files only");
}

#[tokio::test]
async fn odd_names_are_reachable_and_shown_safely() {
    let server = TestServer::start().await;
    let names: [&[u8]; 8] = [
        b"sp ace",
        b"quo\"te'",
        b"<b>",
        b"new\nline",
        b"100%",
        b"q?#",
        b"\xff\xfe",
        "дом\u{202e}".as_bytes(),
    ];
    for name in names {
        let path = server.directory.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::write(&path, name).unwrap();
    }
    let json = get(server.address, "/_/logs", &[]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    let logs = json["logs"].as_array().unwrap();
    assert_eq!(logs.len(), names.len());
    let mut reached = Vec::new();
    for log in logs {
        let (href, path) = (log["href"].as_str().unwrap(), log["path"].as_str().unwrap());
        assert!(!path.chars().any(|c| c.is_control() || c == '\u{202e}'), "{path:?}");
        reached.push(get(server.address, href, &[]).await.body);
        let page = get(server.address, href, &[("Accept", "text/html")]).await;
        assert_eq!(page.status, 200, "{href}");
        assert!(!page.text().contains("<b>"), "{}", page.text());
    }
    reached.sort();
    let mut expected = names.map(<[u8]>::to_vec);
    expected.sort();
    assert_eq!(reached, expected);
    let list = get(server.address, "/", &[("Accept", "text/html")]).await.text();
    assert!(!list.contains("<b>") && !list.contains("\u{202e}"), "{list}");
}

async fn requests_from_other_origins_are_refused_before_anything_is_opened(transport: Transport) {
    let settings = Settings {
        allow_origins: vec!["http://app.example:3000".to_owned()],
        allow_hosts: vec!["logs.example".to_owned()],
        ..Settings::default()
    };
    let server = TestServer::with(transport.of(settings)).await;
    let log = server.log("a.log", "x\n");
    let own = format!("{}://{}", scheme(server.address), server.address);
    for (origin, expected) in [
        (own.as_str(), 101),
        ("http://app.example:3000", 101),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let upgrade = Viewer::connect(server.address, &log, &[("origin", origin)]).await;
        let status = match upgrade {
            Ok(_) => 101,
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                let said = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default())
                    .into_owned();
                assert!(said.contains("--allow-origin"), "the answer names the flag: {said}");
                answer.status().as_u16()
            }
            Err(other) => panic!("{other}"),
        };
        assert_eq!(status, expected, "{origin}");
        let expected = if expected == 101 { 200 } else { expected };
        for accept in ["text/event-stream", "text/html"] {
            let answer = get(server.address, &log, &[("Origin", origin), ("Accept", accept)]).await;
            assert_eq!(answer.status, expected, "{origin} as {accept}");
            let rows = format!("/_/rows{log}");
            let answer =
                get(server.address, &rows, &[("Origin", origin), ("Accept", accept)]).await;
            assert_eq!(answer.status, expected, "rows for {origin}");
        }
    }
    for (host, expected) in [
        ("localhost", 200),
        ("logs.example", 200),
        ("[::1]:1", 200),
        ("evil.example", 421),
        ("", 400),
    ] {
        for target in [log.clone(), format!("/_/rows{log}")] {
            let answer = get(server.address, &target, &[("Host", host)]).await;
            assert_eq!(answer.status, expected, "{host}");
        }
    }
    let rebound = get(server.address, &log, &[("Host", "evil.example")]).await.text();
    assert!(rebound.contains("--allow-host evil.example"), "{rebound}");
    let absolute = get(server.address, &format!("http://evil.example{log}"), &[]).await;
    assert_eq!(absolute.status, 400, "a target and a host that differ");
    let none =
        crate::clients::exchange(server.address, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await;
    assert_eq!(none.status, 400, "no host at all");
}
