//! The old files of a log of another machine, and patterns of its logs, as on one machine.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{Fleet, HOST, not_run};
use crate::archives::{gzipped, numbered, streamed_from};
use crate::clients::{Answer, Viewer, get};
use crate::reader::{Position, take};
use crate::servers::{append, eventually, put};

/// A machine with a log that has three older files, one of them compressed; and two edges.
struct Scene {
    fleet: Fleet,
    /// The content of each file, the oldest first.
    parts: [String; 4],
}

impl Scene {
    async fn new(edges: usize) -> Option<Self> {
        let fleet = Fleet::start(edges).await?;
        let parts = [0, 1, 2, 3].map(|part| numbered("line", part * 1_000..(part + 1) * 1_000));
        for (name, content, age) in [
            ("a.log.3.gz", gzipped(parts[0].as_bytes()), 3000),
            ("a.log.2", parts[1].clone().into_bytes(), 2000),
            ("a.log.1", parts[2].clone().into_bytes(), 1000),
            ("a.log", parts[3].clone().into_bytes(), 0),
        ] {
            let path = fleet.log().with_file_name(name);
            put(&path, content);
            let time = SystemTime::now() - Duration::from_secs(age);
            std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        fleet.is_listed().await;
        Some(Self { fleet, parts })
    }

    async fn get(&self, edge: usize, target: &str) -> Answer {
        let answer = get(self.fleet.edges[edge].address, target, &[]).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer
    }

    async fn files(&self, edge: usize) -> Vec<Value> {
        let history = self.get(edge, &format!("/_/history{}", self.fleet.target())).await;
        let history: Value = serde_json::from_slice(&history.body).unwrap();
        history["files"].as_array().unwrap().clone()
    }
}

fn heads(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_files_of_a_log_stand_before_it_on_every_edge() {
    let Some(scene) = Scene::new(2).await else {
        return not_run("the_old_files_of_a_log_stand_before_it", "there is no nats-server");
    };
    let (edge, target) = (scene.fleet.edges[0].address, scene.fleet.target());
    let files = scene.files(0).await;
    let of = |field: &str| -> Vec<Value> { files.iter().map(|file| file[field].clone()).collect() };
    assert_eq!(of("name"), ["a.log.3.gz", "a.log.2", "a.log.1", "a.log"]);
    assert_eq!(of("present"), [false, false, false, true]);
    assert_eq!(of("compressed"), [Value::from("gz"), Value::Null, Value::Null, Value::Null]);
    assert_eq!(of("size")[1..], [1, 2, 3].map(|part: usize| scene.parts[part].len()));
    assert!(files[2]["href"].as_str().unwrap().ends_with("a.log.1"), "{files:?}");
    let all = scene.parts.concat();
    let last = |lines: usize| numbered("line", 4_000 - lines..4_000);
    for (query, expected, resets) in [
        ("lines=1001", last(1_001), 1),
        ("lines=3000", last(3_000), 2),
        ("lines=all", all.clone(), 3),
        ("lines=3", last(3), 0),
    ] {
        let (bytes, told) =
            streamed_from(edge, &target, &format!("history=1&{query}")).await.unwrap();
        assert!(bytes == expected.as_bytes(), "{query}: {} bytes; {told:?}", bytes.len());
        let mut expected = vec!["open"];
        expected.extend(vec!["reset"; resets]);
        assert_eq!(heads(&told), expected, "{query}: {told:?}");
        let generations: Vec<&Value> = told.iter().map(|message| &message["generation"]).collect();
        let listed: Vec<&Value> =
            files[3 - resets..].iter().map(|file| &file["generation"]).collect();
        assert_eq!(generations, listed, "{query}");
    }
    let plain = scene.get(0, &format!("{target}?history=1")).await;
    assert!(plain.body == all.as_bytes(), "curl gets all of it");
    let text = scene.get(0, &format!("/_/text{target}?history=1")).await;
    assert!(text.body == all.as_bytes());
    let found = scene.get(0, &format!("/_/find{target}?history=1&q=line+1500+")).await.text();
    let in_second = format!("\"generation\":{},\"rows\":[[", files[1]["generation"]);
    assert!(found.contains("a.log.2") && found.contains(&in_second), "{found}");
    let found = scene.get(0, &format!("/_/find{target}?history=1&q=line+500+")).await.text();
    let in_first = format!("\"generation\":{},\"rows\":[[", files[0]["generation"]);
    assert!(found.contains(&in_first), "also in the compressed one: {found}");
    // A position in an old file is good on another edge, which has nothing of it yet.
    let (generation, from) = (files[1]["generation"].as_str().unwrap(), 1000);
    let query = format!("history=1&from={from}&generation={generation}");
    let (bytes, told) = streamed_from(scene.fleet.edges[1].address, &target, &query).await.unwrap();
    assert_eq!(told[0]["recovered"], true, "{told:?}");
    let expected = [&scene.parts[1][from..], &scene.parts[2], &scene.parts[3]].concat();
    assert!(bytes == expected.as_bytes(), "{} bytes; {told:?}", bytes.len());
    let there: Vec<Value> =
        scene.files(1).await.iter().map(|it| it["generation"].clone()).collect();
    assert_eq!(there, of("generation"), "the same names everywhere");
    // Rows of an old file name their neighbours.
    let rows = format!("/_/rows{target}?history=1&generation={generation}&from=0&count=2");
    let rows: Value = serde_json::from_slice(&scene.get(0, &rows).await.body).unwrap();
    assert!(rows["file"]["path"].as_str().unwrap().ends_with("a.log.2"), "{rows}");
    assert_eq!(rows["file"]["previous"], files[0]["generation"], "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_history_goes_on_over_rotations() {
    let Some(scene) = Scene::new(1).await else {
        return not_run("a_stream_of_the_history_goes_on", "there is no nats-server");
    };
    let (fleet, edge) = (&scene.fleet, scene.fleet.edges[0].address);
    let v1 = [("sec-websocket-protocol", "tailcast.v1")];
    let target = format!("{}?tail=1&format=raw&history=1&lines=all", fleet.target());
    let (mut viewer, _) = Viewer::connect(edge, &target, &v1).await.unwrap();
    let (mut at, mut bytes, mut told) = (Position::default(), Vec::new(), Vec::new());
    let mut expected = scene.parts.concat();
    append(fleet.log(), "more\n");
    expected.push_str("more\n");
    let mut is_rotated = false;
    while bytes.len() < expected.len() || !is_rotated {
        let message = viewer.next().await.unwrap();
        take(&mut at, &mut bytes, &mut told, message).unwrap();
        if bytes.len() == expected.len() && !is_rotated {
            is_rotated = true;
            std::fs::rename(fleet.log(), fleet.log().with_file_name("a.log.0")).unwrap();
            put(fleet.log(), "the new file\n");
            expected.push_str("the new file\n");
        }
    }
    assert!(bytes == expected.as_bytes(), "{} bytes, {told:?}", bytes.len());
    assert_eq!(heads(&told), ["open", "reset", "reset", "reset", "reset"], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_machine_a_log_has_no_past_and_is_read_all_the_same() {
    let Some(mut scene) = Scene::new(1).await else {
        return not_run("without_its_machine_a_log_has_no_past", "there is no nats-server");
    };
    let target = scene.fleet.target();
    let whole = scene.get(0, &target).await;
    assert!(whole.body == scene.parts[3].as_bytes());
    scene.fleet.kill_agent();
    eventually("only the present file is known", async || {
        let files = scene.files(0).await;
        let names: Vec<_> = files.iter().map(|file| file["name"].clone()).collect();
        if names == ["a.log"] { Ok(()) } else { Err(names) }
    })
    .await;
    scene.fleet.start_agent();
    eventually("it has a past again", async || {
        let files = scene.files(0).await;
        if files.len() == 4 { Ok(()) } else { Err(files) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_leads_to_the_newest_file_of_a_machine_and_then_to_the_next() {
    let Some(fleet) = Fleet::start(2).await else {
        return not_run("a_pattern_leads_to_the_newest_file", "there is no nats-server");
    };
    append(fleet.log(), "another log\n");
    let file = |day: u32| fleet.log().with_file_name(format!("app-2026-11-{day}.log"));
    put(file(27), "the day before\n");
    put(file(28), "today\n");
    fleet.is_listed().await;
    let directory = fleet.log().parent().unwrap().display().to_string();
    let pattern = format!("/@{HOST}{directory}/app-*.log");
    let v1 = [("sec-websocket-protocol", "tailcast.v1")];
    let target = format!("{pattern}?tail=1&format=raw");
    let mut viewers = Vec::new();
    for edge in fleet.addresses() {
        let (viewer, _) = Viewer::connect(edge, &target, &v1).await.unwrap();
        viewers.push((viewer, Position::default(), Vec::new(), Vec::new()));
    }
    for (viewer, at, bytes, told) in &mut viewers {
        while !bytes.ends_with(b"today\n") {
            let message = viewer.next().await.unwrap();
            take(at, bytes, told, message).unwrap();
        }
        assert_eq!(bytes, b"today\n");
    }
    append(file(28), "its end\n");
    put(file(29), "tomorrow\n");
    for (viewer, at, bytes, told) in &mut viewers {
        while !bytes.ends_with(b"tomorrow\n") {
            let message = viewer.next().await.unwrap();
            take(at, bytes, told, message).unwrap();
        }
        assert_eq!(bytes, b"today\nits end\ntomorrow\n", "{told:?}");
        assert!(heads(told).contains(&"reset"), "{told:?}");
        assert!(!heads(told).contains(&"gap"), "{told:?}");
    }
    // Who comes back with a position of the day before gets the rest.
    let edge = fleet.edges[1].address;
    let (_, told) = (&viewers[0].1, &viewers[0].3);
    let first = told.iter().find_map(|told| told["generation"].as_str()).unwrap();
    let query = format!("from=6&generation={first}");
    let (bytes, told) = streamed_from(edge, &pattern, &query).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), "its end\ntomorrow\n", "{told:?}");
    // Rows, and the whole newest file.
    let answer = get(edge, &pattern, &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "tomorrow\n".to_owned()));
    let rows = get(edge, &format!("/_/rows{pattern}?lines=10"), &[]).await;
    assert!(rows.status == 200 && rows.text().contains("tomorrow"), "{}", rows.text());
    // A name with a star in it is a name.
    let literal = format!("/@{HOST}{directory}/app-%2A.log");
    assert_eq!(get(edge, &literal, &[]).await.status, 404);
    let nothing = format!("/@{HOST}{directory}/none-*.log");
    assert_eq!(get(edge, &nothing, &[]).await.status, 404);
}
