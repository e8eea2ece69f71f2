//! Compressed files when something goes wrong: no room for their content, no right to read them any
//! more, another file in their place, or none.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::archives::{gzipped, numbered};
use crate::clients::{Answer, get};
use crate::reader::Reader;
use crate::servers::{Program, TestServer, eventually, put, target};

async fn rows(server: std::net::SocketAddr, log: &str, query: &str) -> Answer {
    get(server, &format!("/_/rows{log}?count=1{query}"), &[]).await
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Content of many megabytes, which takes a while to be unpacked and to be sent.
fn large(of: &str) -> String {
    numbered(of, 0..150_000)
}

#[tokio::test]
async fn a_full_disk_shows_what_there_was_room_for_until_there_is_more() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let text = numbered("line", 0..200_000);
    assert!(text.len() > 4 << 20);
    std::fs::write(root.join("a.log.gz"), gzipped(text.as_bytes())).unwrap();
    std::fs::write(root.join("b.log"), "fine\n").unwrap();
    let log = target(&root.join("a.log.gz"));
    let limits = "mount -t tmpfs -o size=16m none /mnt && head -c 14M /dev/zero > /mnt/ballast";
    let arguments = [root.to_str().unwrap(), "--cache-dir", "/mnt/cache"];
    let program = Program::serve_under(limits, &arguments);
    let page = json(&rows(program.address, &log, "").await);
    assert_eq!(page["notice"]["code"], "no-room", "{page}");
    let message = page["notice"]["message"].as_str().unwrap();
    assert!(message.contains("--cache-dir"), "{message}");
    let shown = page["size"].as_u64().unwrap();
    assert!(shown > 0 && shown < text.len() as u64, "{page}");
    let part = get(program.address, &format!("/_/text{log}"), &[]).await;
    assert!(text.as_bytes().starts_with(&part.body) && !part.body.is_empty());
    // Other logs go on, and the file itself can be had.
    let other = target(&root.join("b.log"));
    assert_eq!(get(program.address, &other, &[]).await.body, b"fine\n");
    let file = get(program.address, &log, &[]).await;
    assert!(file.body == std::fs::read(root.join("a.log.gz")).unwrap());
    program.inside("rm /mnt/ballast");
    eventually("all of it is unpacked", async || {
        let page = json(&rows(program.address, &log, "").await);
        let is_whole = page["notice"].is_null() && page["size"] == text.len();
        if is_whole { Ok(()) } else { Err(page) }
    })
    .await;
    let all = get(program.address, &format!("/_/text{log}"), &[]).await;
    assert!(all.body == text.as_bytes());
}

#[tokio::test]
async fn what_may_no_longer_be_read_is_refused_though_its_content_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let path = root.join("a.log.gz");
    let text = numbered("line", 0..1_000);
    std::fs::write(&path, gzipped(text.as_bytes())).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    let log = target(&path);
    let program = Program::serve_without_rights("true", &[root.to_str().unwrap()]);
    let mode = |mode: u32| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let whole = get(program.address, &format!("/_/text{log}"), &[]).await;
    assert!(whole.body == text.as_bytes(), "{}", whole.text());
    mode(0o000);
    for target in [format!("/_/text{log}"), format!("/_/rows{log}?count=1"), log.clone()] {
        let refused = get(program.address, &target, &[]).await;
        assert!(refused.status >= 400, "{target}: {}", refused.status);
        assert!(!refused.text().contains("line 1"), "{target}");
    }
    mode(0o644);
    let again = get(program.address, &format!("/_/text{log}"), &[]).await;
    assert!(again.body == text.as_bytes(), "{}", again.text());
}

#[tokio::test]
async fn an_archive_that_is_replaced_while_it_is_read_is_never_mixed_with_the_next_one() {
    let server = TestServer::start().await;
    let (old, new) = (large("old"), large("new"));
    let log = server.log("a.log.gz", gzipped(old.as_bytes()));
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    while reader.bytes.is_empty() {
        reader.read_message().await;
    }
    assert!(reader.bytes.len() < old.len(), "it has only begun");
    put(server.path("a.log.gz"), gzipped(new.as_bytes()));
    reader.read_until(&new.as_bytes()[new.len() - 40..]).await;
    assert_eq!(reader.bytes.len(), old.len() + new.len(), "{:?}", reader.heads());
    assert!(reader.bytes.starts_with(old.as_bytes()) && reader.bytes.ends_with(new.as_bytes()));
    assert_eq!(reader.heads(), ["open true", "reset replaced 0"]);
}

#[tokio::test]
async fn an_archive_that_is_removed_while_it_is_read_is_read_to_its_end() {
    let server = TestServer::start().await;
    let text = large("line");
    let log = server.log("a.log.gz", gzipped(text.as_bytes()));
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    while reader.bytes.is_empty() {
        reader.read_message().await;
    }
    assert!(reader.bytes.len() < text.len(), "it has only begun");
    std::fs::remove_file(server.path("a.log.gz")).unwrap();
    reader.read_until_event("waiting").await;
    assert!(reader.bytes == text.as_bytes(), "{} of {}", reader.bytes.len(), text.len());
    assert_eq!(rows(server.address, &log, "").await.status, 404);
}
