//! A server under a path of its host name (`--base-path`).

use serde_json::Value;
use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::clients::{Streaming, Viewer, get};
use crate::servers::{Program, TestServer, append, command, output_of};
use crate::transport::scheme;

fn under(base: &str) -> Settings {
    Settings { base_path: base.parse().unwrap(), ..Settings::default() }
}

#[tokio::test]
async fn everything_is_found_with_the_base_and_without_it() {
    let server = TestServer::with(under("/logs")).await;
    let log = server.log("a.log", "first\n");
    for base in ["/logs", ""] {
        let status =
            async |target: &str| get(server.address, &format!("{base}{target}"), &[]).await.status;
        for target in ["/", "/_/logs", "/_/healthz", "/_/levels.json", "/_/beside", "/_/merged"] {
            assert_eq!(status(target).await, 200, "{base}{target}");
        }
        for call in ["rows", "lines", "text", "newer"] {
            assert_eq!(status(&format!("/_/{call}{log}")).await, 200, "{base} {call}");
        }
        assert_eq!(status(&format!("/_/find{log}?q=f")).await, 200, "{base}");
        assert_eq!(get(server.address, &format!("{base}{log}"), &[]).await.text(), "first\n");
        assert_eq!(status("/etc/passwd").await, 403);
        let target = format!("{base}{log}?tail=1");
        assert!(Viewer::original(server.address, &target).await.text().await.contains("first"));
        let events = [("accept", "text/event-stream")];
        let mut events = Streaming::get(server.address, &target, &events).await;
        while !events.body().contains("first") {
            events.read_more().await;
        }
        let merged = format!("{base}/_/events?tail=1&log={log}&log={log}");
        let mut merged = Streaming::get(server.address, &merged, &[]).await;
        while merged.body().matches("first").count() < 2 {
            merged.read_more().await;
        }
    }
    assert_eq!(get(server.address, "/logs", &[]).await.status, 200);
    assert_eq!(get(server.address, "/logsfoo", &[]).await.status, 403);
}

#[tokio::test]
async fn every_address_in_an_answer_has_the_base() {
    let server = TestServer::with(under("/logs")).await;
    let log = server.log("app-2026-11-27.log", "x\n");
    server.log("app-2026-11-28.log", "x\n");
    let html = [("accept", "text/html")];
    for target in ["/", &log, "/_/beside", "/_/merged", "/etc/passwd"] {
        let page = get(server.address, target, &html).await.text();
        let mut found = 0;
        for attribute in ["href=\"", "src=\""] {
            for rest in page.split(attribute).skip(1) {
                let address = rest.split('"').next().unwrap();
                let is_within = address.is_empty() || address.starts_with(['#', '?']);
                assert!(is_within || address.starts_with("/logs/"), "{address} in {target}");
                found += usize::from(!is_within);
            }
        }
        assert!(found > 3, "{target}: {page}");
    }
    let list: Value =
        serde_json::from_str(&get(server.address, "/_/logs", &[]).await.text()).unwrap();
    for entry in list["logs"].as_array().unwrap() {
        let (href, path) = (entry["href"].as_str().unwrap(), entry["path"].as_str().unwrap());
        assert_eq!(href, format!("/logs{path}"));
        assert_eq!(get(server.address, href, &[]).await.status, 200);
    }
    let newer = get(server.address, &format!("/_/newer{log}"), &[]).await.text();
    let newer: Value = serde_json::from_str(&newer).unwrap();
    for kind in ["newest", "pattern"] {
        assert!(newer[kind]["href"].as_str().unwrap().starts_with("/logs/"), "{newer}");
    }
}

#[tokio::test]
async fn a_prefix_that_is_called_like_the_base_is_not_confused_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap().to_owned();
    let log = directory.path().join("a.log");
    append(&log, "inside\n");
    let access = Access::new([directory.path()]).unwrap();
    // The base is the path of the prefix.
    let server = TestServer::over(directory, access, under(&root)).await;
    let log = log.to_str().unwrap();
    // As the page asks for it, and as a proxy passes it on that has removed the base.
    for target in [format!("{root}{log}"), log.to_owned()] {
        let answer = get(server.address, &target, &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "inside\n"), "{target}");
    }
    assert_eq!(get(server.address, "/a.log", &[]).await.status, 403);
    assert!(get(server.address, &root, &[]).await.text().ends_with("a.log\n"), "the list");
}

#[tokio::test]
async fn the_program_prints_its_address_with_the_base_and_tail_follows_there() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "first\n");
    let program =
        Program::serve(&[directory.path().to_str().unwrap(), "--base-path", "/team/logs/"]);
    assert_eq!(
        program.printed.trim(),
        format!("{}://{}/team/logs/", scheme(program.address), program.address)
    );
    let url = format!("{}{}", program.printed.trim().trim_end_matches('/'), log.display());
    let output = output_of(command().args(["tail", "--no-follow", &url]));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "first\n");
    let said = output_of(command().args(["serve", "--base-path", "logs"])).stderr;
    assert!(String::from_utf8(said).unwrap().contains("expected a path such as `/logs`"));
}
