//! A log with the files that had its name before, as one log: streams, rows, search and downloads
//! with `history=1`, and the list of the files.

mod logrotate;
mod week;

use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;

use crate::archives::{compressed, gzipped, numbered, streamed, streamed_from};
use crate::clients::{get, request};
use crate::reader::Reader;
use crate::servers::{Program, TestServer, append, eventually, target};

/// A log with three older files: two of them compressed, as logrotate leaves them.
struct Scene {
    server: TestServer,
    log: String,
    /// The content of each file, the oldest first.
    parts: [String; 4],
}

fn set_time(path: &std::path::Path, seconds_ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds_ago);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

async fn scene() -> Scene {
    let server = TestServer::start().await;
    let parts = [0, 1, 2, 3].map(|part| numbered("line", part * 1_000..(part + 1) * 1_000));
    let zstd = compressed("zstd", parts[0].as_bytes()).unwrap_or(gzipped(parts[0].as_bytes()));
    for (name, content, age) in [
        ("a.log.3.zst", zstd, 3000),
        ("a.log.2.gz", gzipped(parts[1].as_bytes()), 2000),
        ("a.log.1", parts[2].clone().into_bytes(), 1000),
        // These are other logs.
        ("a.log-errors", b"error\n".to_vec(), 500),
        ("a-2.log", b"two\n".to_vec(), 500),
        ("a.log-errors.1.gz", gzipped(b"error\n"), 500),
    ] {
        std::fs::write(server.path(name), content).unwrap();
        set_time(&server.path(name), age);
    }
    let log = server.log("a.log", &parts[3]);
    Scene { server, log, parts }
}

impl Scene {
    async fn json(&self, target: &str) -> Value {
        let answer = get(self.server.address, target, &[]).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn files(&self) -> Vec<Value> {
        let history = self.json(&format!("/_/history{}", self.log)).await;
        history["files"].as_array().unwrap().clone()
    }
}

fn heads(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_files_of_a_log_are_listed_the_oldest_first() {
    let scene = scene().await;
    let files = scene.files().await;
    let of = |field: &str| -> Vec<Value> { files.iter().map(|file| file[field].clone()).collect() };
    assert_eq!(of("name"), ["a.log.3.zst", "a.log.2.gz", "a.log.1", "a.log"]);
    assert_eq!(of("present"), [false, false, false, true]);
    assert_eq!(of("compressed")[1..], [Value::from("gz"), Value::Null, Value::Null]);
    assert_eq!(of("size")[2..], [scene.parts[2].len(), scene.parts[3].len()]);
    assert_eq!(of("bytes")[2], scene.parts[2].len());
    assert_eq!(scene.files().await, files, "their names stay the same");
}

#[tokio::test]
#[cfg(feature = "faults")]
async fn old_files_that_stay_as_they_are_are_not_opened_again() {
    use tailcast::log::failpoints::Call;

    const FILES: u64 = 100;
    let server = TestServer::start().await;
    // The oldest first.
    for number in (1..=FILES).rev() {
        std::fs::write(server.path(&format!("a.log.{number}")), numbered("old", 0..9)).unwrap();
    }
    let log = server.log("a.log", "present\n");
    let scene = Scene { server, log, parts: Default::default() };
    // A viewer keeps the log's follower.
    let _viewer = Reader::open(&scene.server, &scene.log, "&lines=1").await;
    let opened = async || {
        let before = scene.server.faults.calls_of(Call::Open);
        let files = scene.files().await;
        (files, scene.server.faults.calls_of(Call::Open) - before)
    };
    let rename = |from: &str, to: &str| {
        std::fs::rename(scene.server.path(from), scene.server.path(to)).unwrap();
    };
    let mut expected = FILES + 1;
    for turn in 0..2 {
        eventually("the files are known", async || match opened().await {
            (files, opens) if opens < FILES / 2 => {
                assert_eq!(files.len() as u64, expected);
                Ok(())
            }
            (_, opens) => Err(opens),
        })
        .await;
        // The next request sees each change.
        if turn == 0 {
            rename("a.log.100", "a.log.101");
            let (files, _) = opened().await;
            assert_eq!(files[0]["name"], "a.log.101");
        } else {
            std::fs::remove_file(scene.server.path("a.log.101")).unwrap();
            expected -= 1;
            let (files, _) = opened().await;
            assert_eq!((files.len() as u64, &files[0]["name"]), (expected, &"a.log.99".into()));
        }
    }
}

#[tokio::test]
async fn a_stream_begins_in_the_file_that_it_reaches() {
    let scene = scene().await;
    let all = scene.parts.concat();
    let files = scene.files().await;
    let last = |lines: usize| numbered("line", 4_000 - lines..4_000);
    for (query, expected, resets) in [
        ("lines=all", all.clone(), 3),
        ("lines=4000", all.clone(), 3),
        ("lines=9999", all.clone(), 3),
        ("lines=3999", last(3_999), 3),
        ("lines=3000", last(3_000), 2),
        ("lines=1500", last(1_500), 1),
        ("lines=1001", last(1_001), 1),
        ("lines=1000", last(1_000), 0),
        ("lines=3", last(3), 0),
        ("lines=0", String::new(), 0),
    ] {
        let (bytes, told) =
            streamed(&scene.server, &scene.log, &format!("history=1&{query}")).await;
        assert!(bytes == expected.as_bytes(), "{query}: {} bytes; {told:?}", bytes.len());
        let mut expected = vec!["open"];
        expected.extend(vec!["reset"; resets]);
        assert_eq!(heads(&told), expected, "{query}");
        let generations: Vec<&Value> = told.iter().map(|message| &message["generation"]).collect();
        let listed: Vec<&Value> =
            files[3 - resets..].iter().map(|file| &file["generation"]).collect();
        assert_eq!(generations, listed, "{query}");
        assert!(told[1..].iter().all(|reset| reset["from"] == 0 && reset["reason"] == "rotated"));
    }
    let (bytes, _) = streamed(&scene.server, &scene.log, "lines=all").await;
    assert!(bytes == scene.parts[3].as_bytes(), "without history=1 nothing changes");
    let plain = get(scene.server.address, &format!("{}?history=1", scene.log), &[]).await;
    assert!(plain.body == all.as_bytes(), "curl gets all of it");
}

#[tokio::test]
async fn a_stream_of_the_history_goes_on_with_what_is_appended() {
    let scene = scene().await;
    let mut reader = Reader::open(&scene.server, &scene.log, "&history=1&lines=all").await;
    reader.read_until(numbered("line", 3_999..4_000).as_bytes()).await;
    append(scene.server.path("a.log"), "more\n");
    reader.read_until(b"more\n").await;
    assert!(reader.bytes == (scene.parts.concat() + "more\n").as_bytes());
    let at = reader.at.clone();
    assert_eq!(reader.heads().len(), 4, "{:?}", reader.heads());
    drop(reader);
    // A position in an old file is good by itself.
    let oldest = scene.files().await[0]["generation"].as_str().unwrap().to_owned();
    let from = scene.parts[0].len() - 10;
    let query = format!("&history=1&generation={oldest}&from={from}");
    let mut reader = Reader::open(&scene.server, &scene.log, &query).await;
    reader.read_until(b"more\n").await;
    assert!(reader.bytes == (scene.parts.concat() + "more\n").as_bytes()[from..]);
    assert_eq!(reader.at.generation, at.generation);
}

#[tokio::test]
async fn rows_are_found_across_the_files_in_both_directions() {
    let scene = scene().await;
    let base = format!("/_/rows{}?history=1&format=text&count=300", scene.log);
    let lines: Vec<String> = scene.parts.concat().lines().map(str::to_owned).collect();
    let texts = |page: &Value| -> Vec<String> {
        let rows = page["rows"].as_array().unwrap();
        rows.iter().map(|row| row[1].as_str().unwrap().to_owned()).collect()
    };
    let (mut down, mut query) = (Vec::new(), String::new());
    loop {
        let page = scene.json(&format!("{base}{query}")).await;
        assert_eq!(page["at_start"], down.is_empty(), "{query}");
        down.extend(texts(&page));
        if page["at_end"] == true {
            assert_eq!(page["file"]["following"], Value::Null);
            break;
        }
        let generation = page["generation"].as_str().unwrap();
        query = format!("&generation={generation}&from={}", page["next"]);
        assert!(down.len() < 5_000, "{query}");
    }
    assert!(down == lines, "{} rows", down.len());
    let (mut up, mut query) = (Vec::new(), "&before=99999999".to_owned());
    loop {
        let page = scene.json(&format!("{base}{query}")).await;
        let rows = texts(&page);
        up.splice(0..0, rows);
        if page["at_start"] == true {
            assert_eq!(page["file"]["previous"], Value::Null);
            break;
        }
        let generation = page["generation"].as_str().unwrap();
        query = format!("&generation={generation}&before={}", page["from"]);
        assert!(up.len() < 5_000, "{query}");
    }
    assert!(up == lines, "{} rows", up.len());
    // Lines are numbered file by file.
    let oldest = scene.files().await[1]["generation"].as_str().unwrap().to_owned();
    let base = base.replace("&count=300", "&count=1");
    let page = scene.json(&format!("{base}&generation={oldest}&line=7")).await;
    assert_eq!((&page["lines"][0], &texts(&page)[0]), (&7.into(), &lines[1_006]));
    assert!(page["file"]["path"].as_str().unwrap().ends_with("/a.log.2.gz"));
}

#[tokio::test]
async fn text_and_matches_are_those_of_all_files() {
    let scene = scene().await;
    let text = get(scene.server.address, &format!("/_/text{}?history=1", scene.log), &[]).await;
    assert!(text.body == scene.parts.concat().as_bytes(), "{} bytes", text.body.len());
    let query = "history=1&filter=1&q=77&plain=1";
    let text =
        get(scene.server.address, &format!("/_/text{}?{query}", scene.log), &[]).await.text();
    let expected: Vec<&str> = scene.parts.iter().flat_map(|part| part.lines()).collect();
    let expected: Vec<&str> = expected.into_iter().filter(|line| line.contains("77")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let target = format!("/_/find{}?history=1&q=77", scene.log);
    let answer = get(scene.server.address, &target, &[]).await.text();
    let (mut files, mut found) = (Vec::new(), 0);
    let mut last = Value::Null;
    for line in answer.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        match line["type"].as_str().unwrap() {
            "file" => files.push(line["generation"].clone()),
            "found" => {
                assert_eq!(&line["generation"], files.last().unwrap());
                found += line["rows"].as_array().unwrap().len();
            }
            _ => last = line,
        }
    }
    let listed: Vec<Value> =
        scene.files().await.iter().map(|file| file["generation"].clone()).collect();
    assert_eq!(files, listed);
    assert_eq!((found, &last["rows"]), (expected.len(), &expected.len().into()), "{last}");
    assert_eq!((&last["type"], &last["complete"]), (&"done".into(), &true.into()));
    let head = request(scene.server.address, "HEAD", &scene.log, &[]).await;
    assert_eq!(head.header("content-length"), Some(scene.parts[3].len().to_string().as_str()));
}

#[tokio::test]
async fn a_missing_number_is_a_gap() {
    let scene = scene().await;
    std::fs::remove_file(scene.server.path("a.log.2.gz")).unwrap();
    let (bytes, told) = streamed(&scene.server, &scene.log, "history=1&lines=all").await;
    assert_eq!(heads(&told), ["open", "gap", "reset", "reset"], "{told:?}");
    assert!(told[1]["to"].is_null(), "{told:?}");
    let parts = [&scene.parts[0], &scene.parts[2], &scene.parts[3]].map(String::as_str);
    assert!(bytes == parts.concat().as_bytes());
}

#[tokio::test]
async fn a_position_is_found_again_when_its_file_was_renamed_and_compressed() {
    let server = TestServer::start().await;
    let first = numbered("first", 0..2_000);
    let log = server.log("a.log", &first);
    let mut reader = Reader::open(&server, &log, "&lines=all").await;
    reader.read_until(&first.as_bytes()[first.len() - 20..]).await;
    let generation = reader.at.generation.clone();
    drop(reader);
    std::fs::rename(server.path("a.log"), server.path("a.log.1")).unwrap();
    std::fs::write(server.path("a.log"), "second\n").unwrap();
    // Somebody has to see the rotation, or another server does with its past.
    let (bytes, _) = streamed(&server, &log, "history=1&lines=all").await;
    assert!(bytes == (first.clone() + "second\n").as_bytes());
    std::fs::write(server.path("a.log.1.gz"), gzipped(first.as_bytes())).unwrap();
    let written = std::fs::metadata(server.path("a.log.1")).unwrap().modified().unwrap();
    let archive = std::fs::File::options().append(true).open(server.path("a.log.1.gz")).unwrap();
    archive.set_modified(written).unwrap();
    std::fs::remove_file(server.path("a.log.1")).unwrap();
    let resumed = format!("history=1&generation={generation}&from=100");
    let (bytes, told) = streamed(&server, &log, &resumed).await;
    assert_eq!(told[0]["recovered"], true, "{told:?}");
    assert!(bytes == (first.clone() + "second\n").as_bytes()[100..], "{told:?}");
    let (bytes, told) = streamed(&server, &log, "history=1&lines=all").await;
    assert!(bytes == (first.clone() + "second\n").as_bytes(), "each file once: {told:?}");
    assert_eq!(told[0]["generation"], generation.as_str(), "it keeps its generation");
    let target = format!("/_/rows{log}?history=1&generation={generation}&from=0&count=1");
    let page = get(server.address, &target, &[]).await;
    assert_eq!(page.status, 200, "{}", page.text());
    // A server that has never seen the file as it was finds its content, too.
    let other = crate::reader::server_over(server.directory.path()).await;
    let (bytes, told) = streamed(&other, &log, &resumed).await;
    assert_eq!(told[0]["recovered"], true, "{told:?}");
    assert!(bytes == (first + "second\n").as_bytes()[100..], "{told:?}");
}

#[tokio::test]
async fn a_rotation_and_a_compression_under_the_reader_lose_nothing() {
    let server = TestServer::start().await;
    let log = server.log("a.log", numbered("part 0", 0..500));
    let mut expected = numbered("part 0", 0..500);
    let mut reader = Reader::open(&server, &log, "&history=1&lines=all").await;
    for part in 1..5 {
        reader.read_until(&expected.as_bytes()[expected.len() - 26..]).await;
        // The oldest number is moved first. Each file but the newest is compressed.
        for number in (1..part).rev() {
            let ending = if number == 1 { "" } else { ".gz" };
            let from = server.path(&format!("a.log.{number}{ending}"));
            let to = server.path(&format!("a.log.{}{ending}", number + 1));
            std::fs::rename(from, &to).unwrap();
            if number == 1 {
                let content = std::fs::read(&to).unwrap();
                std::fs::write(to.with_extension("2.gz"), gzipped(&content)).unwrap();
                std::fs::remove_file(&to).unwrap();
            }
        }
        std::fs::rename(server.path("a.log"), server.path("a.log.1")).unwrap();
        let next = numbered(&format!("part {part}"), 0..500);
        std::fs::write(server.path("a.log"), &next).unwrap();
        expected += &next;
        let target = format!("/_/text{log}?history=1");
        eventually("all of it is there", async || {
            let text = get(server.address, &target, &[]).await;
            let files = get(server.address, &format!("/_/history{log}"), &[]).await.text();
            let expected = expected.as_bytes();
            if text.body == expected {
                Ok(())
            } else {
                Err((text.body.len(), expected.len(), files))
            }
        })
        .await;
    }
    reader.read_until(&expected.as_bytes()[expected.len() - 26..]).await;
    assert!(reader.bytes == expected.as_bytes(), "{:?}", reader.heads());
    let (bytes, told) = streamed(&server, &log, "history=1&lines=all").await;
    assert!(bytes == expected.as_bytes(), "a new viewer: {told:?}");
}

#[tokio::test]
async fn files_that_were_missed_while_the_log_was_followed_are_in_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let path = |name: &str| root.join(name);
    let parts: Vec<String> =
        ["older", "first", "missed 1", "missed 2", "present"].map(|of| numbered(of, 0..300)).into();
    let archive = |name: &str, content: &str, seconds_ago: u64| {
        std::fs::write(path(name), gzipped(content.as_bytes())).unwrap();
        set_time(&path(name), seconds_ago);
    };
    archive("a.log.1.gz", &parts[0], 5000);
    std::fs::write(path("a.log"), &parts[1]).unwrap();
    let program = Program::serve(&[root.to_str().unwrap()]);
    let log = target(&path("a.log"));
    // Two follow the log all the time, of which one wants its history.
    let mut follows = Reader::of(program.address, &log, "&history=1&lines=all").await;
    let mut plain = Reader::of(program.address, &log, "&lines=all").await;
    for reader in [&mut follows, &mut plain] {
        reader.read_until(&parts[1].as_bytes()[parts[1].len() - 20..]).await;
    }
    program.signal(Signal::STOP);
    std::fs::rename(path("a.log.1.gz"), path("a.log.4.gz")).unwrap();
    std::fs::rename(path("a.log"), path("a.log.3")).unwrap();
    set_time(&path("a.log.3"), 400);
    for (number, part) in [(2, &parts[2]), (1, &parts[3])] {
        std::fs::write(path("a.log"), part).unwrap();
        std::fs::remove_file(path("a.log")).unwrap();
        archive(&format!("a.log.{number}.gz"), part, 100 * number);
    }
    std::fs::write(path("a.log"), &parts[4]).unwrap();
    program.signal(Signal::CONT);
    let present = &parts[4].as_bytes()[parts[4].len() - 20..];
    follows.read_until(present).await;
    assert!(follows.bytes == parts.concat().as_bytes(), "{:?}", follows.heads());
    // That there were no others is not known.
    let expected = ["open true", "reset rotated 0", "reset rotated 0", "reset rotated 0"];
    let heads = follows.heads();
    assert_eq!(heads[..4], expected, "{heads:?}");
    let gap = format!("gap {} null", parts[3].len());
    assert_eq!(heads[4..], [gap.as_str(), "reset rotated 0"], "{heads:?}");
    let (bytes, told) = streamed_from(program.address, &log, "history=1&lines=all").await.unwrap();
    assert!(bytes == parts.concat().as_bytes(), "a new viewer: {told:?}");
    // A stream that begins in a missed file goes on with the one behind it.
    let (bytes, told) = streamed_from(program.address, &log, "history=1&lines=500").await.unwrap();
    let lines: Vec<&str> = parts[3].split_inclusive('\n').skip(100).collect();
    assert!(bytes == (lines.concat() + &parts[4]).as_bytes(), "{told:?}");
    // Who does not want the history is told that there may be more.
    plain.read_until(present).await;
    assert!(plain.bytes == (parts[1].clone() + &parts[4]).as_bytes(), "{:?}", plain.heads());
    let gap = format!("gap {} null", parts[1].len());
    assert_eq!(plain.heads(), ["open true", gap.as_str(), "reset rotated 0"]);
}

#[tokio::test]
async fn an_old_file_that_is_compressed_under_its_reader_keeps_its_generation() {
    let server = TestServer::start().await;
    // Neither of the old files was followed. The first one is too large to be on its way at once.
    let parts = [numbered("first", 0..400_000), numbered("second", 0..100)];
    for (name, part) in [("a.log.2", &parts[0]), ("a.log.1", &parts[1])] {
        std::fs::write(server.path(name), part).unwrap();
    }
    set_time(&server.path("a.log.2"), 2000);
    set_time(&server.path("a.log.1"), 1000);
    let log = server.log("a.log", "present\n");
    let mut reader = Reader::open(&server, &log, "&history=1&lines=all").await;
    reader.read_until_event("open true").await;
    std::fs::write(server.path("a.log.2.gz"), gzipped(parts[0].as_bytes())).unwrap();
    set_time(&server.path("a.log.2.gz"), 2000);
    std::fs::remove_file(server.path("a.log.2")).unwrap();
    reader.read_until(b"present\n").await;
    assert!(reader.bytes == (parts.concat() + "present\n").as_bytes());
    assert_eq!(reader.heads(), ["open true", "reset rotated 0", "reset rotated 0"]);
}
