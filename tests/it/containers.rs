//! Logs that container runtimes wrote: what is shown and found is what the programs wrote, downloads
//! and offsets are those of the file.
//!
//! The files in `containers` were written by podman 4.3.1 with its driver `k8s-file`, whose lines are
//! those of CRI. Lines of Docker are made here as its json-file driver writes them.

use std::io::Write;

use serde_json::{Value, json};
use tailcast::serve::Settings;

use crate::clients::{Rows, Streaming, Viewer, get};
use crate::encodings::{ask, found};
use crate::servers::{TestServer, append, command, eventually, output_of};

const MIXED: &[u8] = include_bytes!("containers/podman-mixed.log");

/// What the program of the mixed log wrote, line by line.
const SHOWN: [&str; 8] = [
    "starting",
    "listening on 8080",
    "loading 100%",
    "warning: no configuration",
    "error: cannot read a",
    r#"{"level":50,"time":1795874527123,"msg":"pool is empty"}"#,
    "",
    "done",
];
/// The lines of the file that begin these rows.
const FIRST_LINES: [usize; 8] = [0, 1, 2, 3, 4, 7, 8, 9];

fn starts(log: &[u8]) -> Vec<u64> {
    let newlines = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    std::iter::once(0).chain(newlines.map(|(at, _)| at as u64 + 1)).collect()
}

fn row_starts() -> Vec<u64> {
    let starts = starts(MIXED);
    FIRST_LINES.iter().map(|&line| starts[line]).collect()
}

fn docker(stream: &str, text: &str) -> String {
    let log = serde_json::to_string(text).unwrap();
    format!(
        "{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-11-28T14:02:07.123456789Z\"}}\n"
    )
}

/// The `open` message and the rows messages of a stream that does not follow.
async fn stream_of(server: &TestServer, target: &str) -> (Value, Vec<Value>) {
    let mut viewer = Viewer::v1(server.address, target).await;
    let open = viewer.expect("open").await;
    let mut rows = Vec::new();
    loop {
        let message = viewer.json().await;
        match message["type"].as_str() {
            Some("end") => return (open, rows),
            Some("rows") => rows.push(message),
            _ => {}
        }
    }
}

fn applied(messages: &[Value]) -> Rows {
    let mut rows = Rows::default();
    messages.iter().for_each(|message| rows.apply(message));
    rows
}

fn expected() -> Vec<(u64, String)> {
    row_starts().into_iter().zip(SHOWN.iter().map(|&text| text.to_owned())).collect()
}

#[tokio::test]
async fn a_container_shows_what_its_program_wrote_in_every_stream() {
    let server = TestServer::start().await;
    let target = server.log("a.log", MIXED);
    let text = SHOWN.map(|line| format!("{line}\n")).concat();
    let (open, rows) = stream_of(&server, &format!("{target}?lines=all&format=text")).await;
    assert_eq!(open["container"], json!(true));
    assert_eq!(applied(&rows).0, expected());
    let (_, rows) = stream_of(&server, &format!("{target}?lines=all")).await;
    let all: Vec<&Value> = rows.iter().flat_map(|rows| rows["rows"].as_array().unwrap()).collect();
    let errors: Vec<bool> = all.iter().map(|row| row[2]["stream"] == "stderr").collect();
    assert_eq!(errors, [false, false, false, true, true, false, false, false]);
    let times: Vec<u64> = all.iter().map(|row| row[2]["time"].as_u64().unwrap()).collect();
    assert!(times.iter().all(|time| (times[0]..times[0] + 3000).contains(time)), "{times:?}");
    // Colours are those of the program.
    assert!(all[1][1].as_str().unwrap().contains("--green"), "{}", all[1]);
    // The last lines may begin with the rest of one: then they begin with its start.
    let (open, rows) = stream_of(&server, &format!("{target}?lines=4&format=text")).await;
    assert_eq!(open["from"], json!(row_starts()[2]));
    assert_eq!(applied(&rows).0, expected()[2..]);
    let mut events =
        Streaming::get(server.address, &target, &[("accept", "text/event-stream")]).await;
    let events = events.rest().await;
    assert!(events.contains(&format!("[{},\"loading 100%\"", row_starts()[2])), "{events}");
    let merged = format!("/_/events?log={target}&lines=all");
    let merged = Streaming::get(server.address, &merged, &[]).await.rest().await;
    assert!(merged.contains(&format!("[{},\"loading 100%\"", row_starts()[2])), "{merged}");
    let (html, _) = Viewer::original(server.address, &target).await.rest().await;
    assert!(html.contains("loading 100%\nwarning: no configuration\n"), "{html}");
    let plain = get(server.address, &format!("{target}?format=text"), &[]).await;
    assert_eq!(plain.text(), text);
    // The bytes are those of the file.
    for query in ["", "?format=raw", "?format=raw&decode=auto"] {
        assert_eq!(get(server.address, &format!("{target}{query}"), &[]).await.body, MIXED);
    }
    let range = get(server.address, &target, &[("range", "bytes=3-60")]).await;
    assert_eq!((range.status, &range.body[..]), (206, &MIXED[3..=60]));
    let last = get(server.address, &format!("{target}?lines=2&format=raw"), &[]).await;
    assert_eq!(last.body, &MIXED[starts(MIXED)[8] as usize..]);
}

#[tokio::test]
async fn rows_search_and_levels_are_of_what_the_program_wrote() {
    let server = TestServer::start().await;
    let target = server.log("a.log", MIXED);
    let starts = row_starts();
    let page = ask(&server, "rows", &target, "format=text").await;
    let rows: Vec<(u64, String)> = page["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(rows, expected());
    // The names of rows are those of the file's lines, by which they are counted.
    assert_eq!(page["lines"], json!(FIRST_LINES.map(|line| line + 1)));
    for (nth, start) in starts.iter().enumerate() {
        let page =
            ask(&server, "rows", &target, &format!("from={start}&count=2&format=text")).await;
        assert_eq!(page["rows"][0][0], json!(start));
        assert_eq!(page["rows"][0][1], json!(SHOWN[nth]), "from {start}");
    }
    assert_eq!(found(&server, &target, "q=stdout").await, [0; 0], "no text of the program's");
    assert_eq!(found(&server, &target, "q=^loading+100%25$&regex=1").await, [starts[2]]);
    assert_eq!(found(&server, &target, "q=^error&regex=1").await, [starts[4]]);
    // Behind the envelope the level is found that the program's own line states.
    assert_eq!(found(&server, &target, "level=error").await, [starts[4], starts[5]]);
    assert_eq!(found(&server, &target, "level=warning").await, [starts[3]]);
    let page = ask(&server, "rows", &target, "filter=1&q=cannot&format=text").await;
    assert_eq!(page["rows"][0][1], json!(SHOWN[4]));
    assert_eq!(page["rows"][0][2]["stream"], json!("stderr"));
    assert!(page["rows"][0][2]["time"].is_u64(), "{page}");
    let text = |query: &str| format!("/_/text{target}?{query}");
    let plain = get(server.address, &text("filter=1&plain=1&q=listening"), &[]).await;
    assert_eq!(plain.text(), "listening on 8080\n");
}

#[tokio::test]
async fn lines_of_containers_are_shown_as_they_are_where_that_is_wanted() {
    let log = format!("{}{}", docker("stderr", "a \"b\"\n"), docker("stdout", "c\n"));
    let second = docker("stderr", "a \"b\"\n").len() as u64;
    let as_it_is: Vec<(u64, String)> =
        [0, second].into_iter().zip(log.lines().map(str::to_owned)).collect();
    let opened = vec![(0, "a \"b\"".to_owned()), (second, "c".to_owned())];
    let off = Settings { decode: tailcast::render::Decode::Off, ..Settings::default() };
    for (server, by_default) in
        [(TestServer::start().await, &opened), (TestServer::with(off).await, &as_it_is)]
    {
        let target = server.log("a.log", &log);
        for (query, expected) in
            [("", by_default), ("&decode=off", &as_it_is), ("&decode=auto", &opened)]
        {
            let query = format!("lines=all&format=text{query}");
            let (_, rows) = stream_of(&server, &format!("{target}?{query}")).await;
            assert_eq!(&applied(&rows).0, expected, "{query}");
            let lines: String = expected.iter().map(|(_, line)| format!("{line}\n")).collect();
            let plain = get(server.address, &format!("{target}?{query}"), &[]).await;
            assert_eq!(plain.text(), lines, "{query}");
            let query = query.replace("lines=all&", "");
            let page = ask(&server, "rows", &target, &query).await;
            assert_eq!(page["rows"][1][1], json!(expected[1].1), "{query}");
            let is_found =
                !found(&server, &target, &format!("q=%22stream%22&{query}")).await.is_empty();
            assert_eq!(is_found, expected == &as_it_is, "{query}");
            let text = format!("/_/text{target}?filter=1&plain=1&q=b&{query}");
            let text = get(server.address, &text, &[]).await.text();
            assert_eq!(text, format!("{}\n", expected[0].1), "{query}");
        }
        let wrong = get(server.address, &format!("{target}?decode=on&format=text"), &[]).await;
        assert_eq!(wrong.status, 400);
        assert!(wrong.text().contains("`decode` is `auto` or `off`"), "{}", wrong.text());
    }
}

#[tokio::test]
async fn what_containers_write_is_seen_live_and_later_alike() {
    let server = TestServer::start().await;
    let target = server.log("a.log", "");
    let mut viewer = Viewer::v1(server.address, &format!("{target}?tail=1&format=text")).await;
    viewer.expect("open").await;
    let parts = [
        docker("stdout", "begins"),
        docker("stderr", "an error\n"),
        docker("stdout", " and goes on"),
        docker("stdout", ", and ends\n"),
    ];
    let second = parts[0].len() as u64;
    let mut rows = Rows::default();
    for (nth, part) in parts.iter().enumerate() {
        // A line that comes in two pieces is shown when it is whole.
        let (first, rest) = part.split_at(20 * nth);
        append(server.path("a.log"), first);
        append(server.path("a.log"), rest);
        let wanted = [
            vec![(0, "begins")],
            vec![(0, "begins"), (second, "an error")],
            vec![(0, "begins and goes on"), (second, "an error")],
            vec![(0, "begins and goes on, and ends"), (second, "an error")],
        ];
        let wanted: Vec<(u64, String)> =
            wanted[nth].iter().map(|&(at, text)| (at, text.to_owned())).collect();
        while rows.0 != wanted {
            rows.apply(&viewer.expect("rows").await);
        }
    }
    let (_, later) = stream_of(&server, &format!("{target}?lines=all&format=text")).await;
    assert_eq!(applied(&later), rows);
}

#[test]
fn tail_prints_what_the_program_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    std::fs::write(&path, MIXED).unwrap();
    let printed = |arguments: &[&str]| {
        let mut tail = command();
        tail.args(["tail", "--no-follow", "-q"]).args(arguments).arg(&path);
        let output = output_of(&mut tail);
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let text = SHOWN.map(|line| format!("{line}\n")).concat();
    let bytes =
        "starting\n\x1b[32mlistening\x1b[m on 8080\nloading 10%\nwarning: no configuration\n\
        error: cannot read a\n\rloading 55%\rloading 100%\n"
            .to_owned()
            + &text[text.find('{').unwrap()..];
    assert_eq!(String::from_utf8(printed(&["-n", "all", "--format", "text"])).unwrap(), text);
    assert_eq!(String::from_utf8(printed(&["-n", "all"])).unwrap(), bytes);
    assert_eq!(printed(&["-n", "1"]), b"done\n");
    assert_eq!(printed(&["-n", "1", "--format", "text"]), b"done\n");
    assert_eq!(printed(&["-n", "all", "--decode", "off"]), MIXED);
    assert_eq!(printed(&["-n", "all", "--decode", "off", "--format", "text"]), mixed_as_text());
}

/// The file's lines as a terminal would show them.
fn mixed_as_text() -> Vec<u8> {
    let mut terminal = tailcast::render::Terminal::new(0);
    let rows: Vec<String> =
        terminal.feed(MIXED).rows().map(|row| format!("{}\n", row.text())).collect();
    rows.concat().into_bytes()
}

/// A directory of a node, as the kubelet and Docker lay it out.
struct Node {
    server: TestServer,
    pods: std::path::PathBuf,
    docker: std::path::PathBuf,
}

impl Node {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let pods = server.path("log/pods/shop_web-7d9f_0a1b-2c/nginx");
        let links = server.path("log/containers");
        let id = "0123456789abcdef".repeat(4);
        let docker = server.path("docker/containers").join(&id);
        for directory in [&pods, &links, &docker] {
            std::fs::create_dir_all(directory).unwrap();
        }
        std::fs::write(pods.join("0.log"), MIXED).unwrap();
        let link = links.join(format!("web-7d9f_shop_nginx-{id}.log"));
        std::os::unix::fs::symlink(pods.join("0.log"), link).unwrap();
        std::fs::write(docker.join(format!("{id}-json.log")), docker_log()).unwrap();
        std::fs::write(docker.join("config.v2.json"), "{\"Name\":\"/web-1\"}").unwrap();
        Self { server, pods, docker }
    }

    async fn listed(&self) -> Vec<(String, Value)> {
        let answer = get(self.server.address, "/_/logs", &[]).await;
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        let logs = list["logs"].as_array().unwrap().iter();
        logs.map(|log| (log["path"].as_str().unwrap().to_owned(), log["name"].clone())).collect()
    }
}

fn docker_log() -> String {
    docker("stdout", "first\n") + &docker("stderr", "second\n")
}

#[tokio::test]
async fn containers_have_the_names_that_people_know() {
    let node = Node::start().await;
    let mut listed = node.listed().await;
    listed.retain(|(path, _)| path.ends_with(".log"));
    let names: Vec<&Value> = listed.iter().map(|(_, name)| name).collect();
    assert_eq!(names.len(), 2, "the link is no other log: {listed:?}");
    assert!(names.contains(&&json!("web-1")), "{listed:?}");
    assert!(names.contains(&&json!("shop/web-7d9f/nginx")), "{listed:?}");
    let page = get(node.server.address, "/", &[("accept", "text/html")]).await.text();
    assert!(page.contains(">web-1</span>"), "{page}");
    let (path, _) = listed.iter().find(|(_, name)| name == "web-1").unwrap();
    let page = get(node.server.address, path, &[("accept", "text/html")]).await.text();
    assert!(page.contains("data-name=\"web-1\""), "{page}");
    // `docker rename`
    std::fs::write(node.docker.join("config.v2.json"), "{\"Name\":\"/web-renamed\"}").unwrap();
    eventually("the new name is listed", async || {
        let listed = node.listed().await;
        let is_there = listed.iter().any(|(_, name)| name == "web-renamed");
        if is_there { Ok(()) } else { Err(listed) }
    })
    .await;
}

#[tokio::test]
async fn the_log_of_a_container_that_is_removed_is_read_to_its_end() {
    let node = Node::start().await;
    let id = "0123456789abcdef".repeat(4);
    let target = crate::servers::target(&node.docker.join(format!("{id}-json.log")));
    let mut viewer = Viewer::v1(node.server.address, &format!("{target}?tail=1&format=text")).await;
    let open = viewer.expect("open").await;
    let mut rows = Rows::default();
    rows.apply(&viewer.expect("rows").await);
    assert_eq!(rows.texts(), ["first", "second"]);
    let log = node.docker.join(format!("{id}-json.log"));
    let mut runtime = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    std::fs::remove_dir_all(&node.docker).unwrap();
    // The runtime writes its last lines, and the reader scrolls up.
    runtime.write_all(docker("stderr", "last\n").as_bytes()).unwrap();
    while rows.texts() != ["first", "second", "last"] {
        rows.apply(&viewer.expect("rows").await);
    }
    let generation = open["generation"].as_str().unwrap();
    let query = format!("generation={generation}&format=text");
    let page = ask(&node.server, "rows", &target, &query).await;
    assert_eq!(page["rows"][1][1], json!("second"), "{page}");
    viewer.expect("waiting").await;
    // A container of the same name begins anew.
    std::fs::create_dir_all(&node.docker).unwrap();
    append(node.docker.join(format!("{id}-json.log")), docker("stdout", "again\n"));
    viewer.expect("reset").await;
    assert_eq!(viewer.expect("rows").await["rows"][0][1], json!("again"));
}

#[tokio::test]
async fn a_log_that_the_kubelet_rotates_goes_on() {
    let node = Node::start().await;
    let log = node.pods.join("0.log");
    let target = crate::servers::target(&log);
    let mut viewer = Viewer::v1(node.server.address, &format!("{target}?tail=1&format=text")).await;
    viewer.expect("open").await;
    viewer.expect("rows").await;
    for (nth, time) in ["20261129-120000", "20261129-130000", "20261129-140000"].iter().enumerate()
    {
        // It renames the file, compresses all but the newest of those, and the runtime makes a new one.
        let rotated = node.pods.join(format!("0.log.{time}"));
        std::fs::rename(&log, &rotated).unwrap();
        append(&rotated, "2026-11-29T12:00:00.1Z stdout F late\n");
        for entry in std::fs::read_dir(&node.pods).unwrap() {
            let path = entry.unwrap().path();
            let is_old = path != rotated && path.extension().is_none_or(|end| end != "gz");
            if is_old {
                std::fs::rename(&path, path.with_extension("gz")).unwrap();
            }
        }
        append(&log, format!("2026-11-29T12:00:01.1Z stdout F new {nth}\n"));
        let mut texts = Vec::new();
        while !texts.iter().any(|text| *text == format!("new {nth}")) {
            let message = viewer.json().await;
            if message["type"] == "rows" {
                let mut rows = Rows::default();
                rows.apply(&message);
                texts.extend(rows.texts().iter().map(|text| (*text).to_owned()));
            }
        }
        assert!(texts.contains(&"late".to_owned()), "{texts:?}");
    }
}
