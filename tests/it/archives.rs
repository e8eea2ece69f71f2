//! Compressed files as logs: each is shown as its content, and is never changed itself.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::clients::{Close, Viewer, get};
use crate::reader::Reader;
use crate::servers::{Program, TestServer, eventually, put, target};

/// The programs that compress, with the endings of their files.
pub const COMPRESSORS: [(&str, &str); 4] =
    [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")];

/// What a program makes of some bytes. None where this machine has no such program.
pub fn compressed(program: &str, content: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut input = child.stdin.take().unwrap();
    let content = content.to_vec();
    let writing = std::thread::spawn(move || input.write_all(&content));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}");
    Some(output.stdout)
}

/// What gzip makes of some bytes, without the program.
pub fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Lines that differ.
pub fn numbered(of: &str, lines: std::ops::Range<usize>) -> String {
    lines.map(|line| format!("{of} {line} {:x}\n", line.wrapping_mul(0x9e37_79b9))).collect()
}

/// A log's bytes as a stream without `tail=1` sends them, and the messages.
pub async fn streamed(server: &TestServer, log: &str, query: &str) -> (Vec<u8>, Vec<Value>) {
    streamed_from(server.address, log, query).await.unwrap()
}

/// The same of the server at an address, which may refuse.
pub async fn streamed_from(
    address: SocketAddr,
    log: &str,
    query: &str,
) -> Result<(Vec<u8>, Vec<Value>), Close> {
    let target = format!("{log}?format=raw&{query}");
    let mut viewer = Viewer::v1(address, &target).await;
    let (mut bytes, mut told) = (Vec::new(), Vec::new());
    loop {
        match viewer.next().await? {
            tokio_tungstenite::tungstenite::Message::Binary(data) => {
                bytes.extend_from_slice(&data[8..]);
            }
            tokio_tungstenite::tungstenite::Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "end" {
                    return Ok((bytes, told));
                }
                told.push(message);
            }
            other => panic!("{other:?} after {told:?}"),
        }
    }
}

async fn json(server: &TestServer, target: &str) -> Value {
    let answer = get(server.address, target, &[]).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_compressed_file_is_a_log_whatever_its_name_is() {
    let server = TestServer::start().await;
    let text = numbered("line", 0..5_000);
    for (program, ending) in COMPRESSORS {
        let Some(archive) = compressed(program, text.as_bytes()) else {
            crate::servers::not_run("a_compressed_file_is_a_log", &format!("no {program}"));
            continue;
        };
        for name in [format!("a.log.{ending}"), format!("{program}.log")] {
            let log = server.log(&name, &archive);
            let (bytes, told) = streamed(&server, &log, "lines=all").await;
            assert!(bytes == text.as_bytes(), "{name}: {} bytes", bytes.len());
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!(told[0]["size"], text.len(), "{name}");
            let (last, _) = streamed(&server, &log, "lines=2").await;
            assert_eq!(last, numbered("line", 4_998..5_000).as_bytes(), "{name}");
            let page = json(&server, &format!("/_/rows{log}?line=4321&count=1&format=text")).await;
            assert_eq!(page["rows"][0][1], numbered("line", 4_320..4_321).trim_end());
            assert_eq!(page["lines"][0], 4321);
            let page =
                json(&server, &format!("/_/rows{log}?filter=1&q=line+77+&format=text")).await;
            assert_eq!(page["rows"][0][1], numbered("line", 77..78).trim_end(), "{page}");
            let found = get(server.address, &format!("/_/find{log}?q=line+4999"), &[]).await.text();
            assert!(found.contains("\"complete\":true") && found.contains(",1]]"), "{found}");
            let plain = get(server.address, &format!("/_/text{log}"), &[]).await;
            assert!(plain.body == text.as_bytes(), "{name}: as text");
            let plain = get(server.address, &format!("{log}?lines=1"), &[]).await;
            assert_eq!(plain.body, numbered("line", 4_999..5_000).as_bytes());
            // A download is the file as it is.
            for query in ["", "?format=raw"] {
                let whole = get(server.address, &format!("{log}{query}"), &[]).await;
                assert!(whole.body == archive, "{name}{query}");
            }
            let range = [("range", "bytes=1-4")];
            assert_eq!(get(server.address, &log, &range).await.body, archive[1..5]);
            assert!(std::fs::read(server.path(&name)).unwrap() == archive, "it was changed");
        }
    }
}

#[tokio::test]
async fn archives_that_were_written_one_after_the_other_are_one_log() {
    let server = TestServer::start().await;
    for (program, ending) in COMPRESSORS {
        let parts = ["one\n", "two\n", ""].map(|part| compressed(program, part.as_bytes()));
        let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() else { continue };
        let log = server.log(&format!("a.{ending}"), parts.concat());
        let (bytes, told) = streamed(&server, &log, "lines=all").await;
        assert_eq!(bytes, b"one\ntwo\n", "{ending}");
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[tokio::test]
async fn what_can_be_read_of_a_truncated_or_damaged_archive_is_shown_with_a_notice() {
    let server = TestServer::start().await;
    let text = numbered("line", 0..60_000);
    for (program, ending) in COMPRESSORS {
        let Some(whole) = compressed(program, text.as_bytes()) else { continue };
        let half = whole.len() / 2;
        let mut damaged = whole.clone();
        damaged[half..half + 64].fill(0xa5);
        for (kind, archive, codes) in [
            ("truncated", whole[..half].to_vec(), &["truncated"][..]),
            // Some formats read a damage as an early end.
            ("damaged", damaged, &["damaged", "truncated"]),
        ] {
            let name = format!("{kind}.{ending}");
            let log = server.log(&name, archive);
            let (bytes, told) = streamed(&server, &log, "lines=all").await;
            let is_part = text.as_bytes().starts_with(&bytes) || kind == "damaged";
            // A damage may change bytes and leave their number.
            let is_short = bytes.len() < text.len() || kind == "damaged";
            assert!(is_part && is_short, "{name}: {} bytes", bytes.len());
            // These two have large blocks, of which each is read whole or not at all.
            let has_large_blocks = ["xz", "bz2"].contains(&ending);
            assert!(bytes.len() > 100_000 || has_large_blocks, "{name}: {} bytes", bytes.len());
            let notice = told.iter().find(|message| message["type"] == "notice");
            let notice = notice.unwrap_or_else(|| panic!("{name}: {told:?}"));
            assert!(codes.contains(&notice["code"].as_str().unwrap()), "{name}: {notice}");
            assert_eq!(notice["generation"], told[0]["generation"]);
            let page = json(&server, &format!("/_/rows{log}")).await;
            assert_eq!(page["notice"]["code"], notice["code"], "{name}");
            for target in [format!("/_/text{log}"), format!("{log}?lines=all")] {
                let answer = get(server.address, &target, &[]).await;
                assert_eq!(
                    answer.header("tailcast-notice"),
                    notice["message"].as_str(),
                    "{target}"
                );
                assert!(answer.body == bytes, "{target}");
            }
        }
    }
}

#[tokio::test]
async fn an_archive_of_very_much_content_is_shown_in_part() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access::new([directory.path()]).unwrap();
    let cache = directory.path().join("cache");
    access.archives().configure(Some(cache.clone()), 8 << 20).unwrap();
    let server = TestServer::over(directory, access, Settings::default()).await;
    let log = server.log("bomb.gz", gzipped(&vec![b'x'; 64 << 20]));
    let page = json(&server, &format!("/_/rows{log}?count=1")).await;
    assert_eq!((&page["notice"]["code"], &page["size"]), (&"too-large".into(), &(8 << 20).into()));
    assert!(page["notice"]["message"].as_str().unwrap().contains("--cache-max"), "{page}");
    // The next one has room again, because nobody reads the first one any more.
    let small = server.log("small.gz", gzipped(&vec![b'y'; 4 << 20]));
    eventually("there is room", async || {
        let page = json(&server, &format!("/_/rows{small}?count=1")).await;
        if page["notice"].is_null() && page["size"] == 4 << 20 { Ok(()) } else { Err(page) }
    })
    .await;
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0, "the files have no names");
}

#[tokio::test]
async fn a_position_in_an_archive_is_good_after_a_restart_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let text = numbered("line", 0..1_000);
    let path = directory.path().join("a.log.gz");
    std::fs::write(&path, gzipped(text.as_bytes())).unwrap();
    let log = target(&path);
    let server = crate::reader::server_over(directory.path()).await;
    let (_, told) = streamed(&server, &log, "lines=all").await;
    let generation = told[0]["generation"].as_str().unwrap().to_owned();
    server.stop().await.unwrap();
    let server = crate::reader::server_over(directory.path()).await;
    let query = format!("from=100&generation={generation}");
    let (bytes, told) = streamed(&server, &log, &query).await;
    assert_eq!(told[0]["recovered"], true, "{told:?}");
    assert!(bytes == text.as_bytes()[100..]);
    let page = json(&server, &format!("/_/rows{log}?{query}&count=1")).await;
    assert_eq!(page["generation"], generation.as_str());
}

#[tokio::test]
async fn an_archive_that_is_replaced_or_still_written_is_followed() {
    let server = TestServer::start().await;
    let text = numbered("line", 0..20_000);
    let whole = gzipped(text.as_bytes());
    let log = server.log("a.log.gz", &whole[..whole.len() / 2]);
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    while reader.bytes.is_empty() {
        reader.read_message().await;
    }
    assert_eq!(reader.heads()[..2], ["open true", "notice"]);
    // The rest of the file: a compressor writes on.
    crate::servers::append(server.path("a.log.gz"), &whole[whole.len() / 2..]);
    reader.read_until(numbered("line", 19_999..20_000).as_bytes()).await;
    assert!(reader.bytes == text.as_bytes(), "each byte once");
    assert_eq!(reader.heads(), ["open true", "notice"], "it is the same file");
    let other = numbered("other", 0..10);
    put(server.path("a.log.gz"), gzipped(other.as_bytes()));
    reader.read_until(other.as_bytes()).await;
    assert_eq!(reader.heads()[2], "reset replaced 0");
}

#[test]
fn tail_prints_the_content_of_a_compressed_file_and_says_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log.gz");
    let text = numbered("line", 0..5_000);
    let whole = gzipped(text.as_bytes());
    for (archive, notice) in [(&whole[..], ""), (&whole[..whole.len() / 2], "ends early")] {
        std::fs::write(&path, archive).unwrap();
        let mut tail = crate::servers::command();
        let output = crate::servers::output_of(
            tail.args(["tail", "--no-follow", "--lines", "all"]).arg(&path),
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.as_bytes().starts_with(&output.stdout) && !output.stdout.is_empty(), "{said}");
        assert_eq!(output.stdout.len() == text.len(), notice.is_empty(), "{said}");
        assert!(said.contains(notice), "{said}");
    }
}

#[tokio::test]
async fn the_program_keeps_content_where_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().canonicalize().unwrap();
    let (cache, log) = (top.join("cache"), top.join("a.log.gz"));
    std::fs::write(&log, gzipped(&vec![b'x'; 3 << 20])).unwrap();
    let [top, cache] = [&top, &cache].map(|path: &std::path::PathBuf| path.to_str().unwrap());
    let program = Program::serve(&[top, "--cache-dir", cache, "--cache-max", "2M"]);
    let answer = get(program.address, &format!("/_/rows{}?count=1", target(&log)), &[]).await;
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(page["size"], 2 << 20, "{page}");
    assert!(Path::new(cache).is_dir());
    let refused = crate::servers::output_of(crate::servers::command().args([
        "serve",
        "--port",
        "0",
        "--cache-dir",
        "/dev/null",
        top,
    ]));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("/dev/null") && said.contains("--cache-dir"), "{said}");
}
