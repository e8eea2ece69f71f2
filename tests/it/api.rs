//! The API for random access to a log: `/_/rows`, `/_/lines`, `/_/find` and `/_/text`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients::{Rows, Streaming, Viewer, get, request};
use crate::servers::{TestServer, append, eventually, write_big};

/// The status and the body of `/_/QUESTION` for a log.
async fn ask(server: &TestServer, question: &str, log: &str, query: &str) -> (u16, Value) {
    let answer = get(server.address, &format!("/_/{question}{log}?{query}"), &[]).await;
    let value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| answer.text().into());
    (answer.status, value)
}

/// The rows of an answer, without their annotations.
fn pairs(answer: &Value) -> Vec<(u64, String)> {
    let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let row = |row: &Value| (row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned());
    rows.iter().map(row).collect()
}

/// All rows of a log, requested in pages.
async fn pages(server: &TestServer, log: &str, count: usize) -> Vec<(u64, String)> {
    let (mut rows, mut at) = (Vec::new(), 0);
    loop {
        let (status, page) = ask(server, "rows", log, &format!("from={at}&count={count}")).await;
        assert_eq!(status, 200, "{page}");
        rows.extend(pairs(&page));
        at = page["next"].as_u64().unwrap();
        if page["at_end"] == true {
            return rows;
        }
    }
}

/// The rows and the generation that a viewer of the whole log receives.
async fn seen(server: &TestServer, log: &str) -> (Rows, String) {
    let mut viewer = Viewer::v1(server.address, &format!("{log}?lines=all")).await;
    let generation = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    let mut rows = Rows::default();
    loop {
        let message = viewer.json().await;
        match message["type"].as_str() {
            Some("end") => return (rows, generation),
            Some("rows") => rows.apply(&message),
            _ => {}
        }
    }
}

#[tokio::test]
async fn rows_of_the_api_are_those_of_a_stream() {
    let server = TestServer::start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/goldens");
    for name in ["cargo-build", "git-clone", "docker-build", "playwright", "pytest", "npm", "wget"]
    {
        let recorded = std::fs::read(folder.join(name).with_extension("log")).unwrap();
        let log = server.log(name, recorded);
        let (viewed, generation) = seen(&server, &log).await;
        for count in [2000, 7] {
            assert_eq!(pages(&server, &log, count).await, viewed.0, "{name} by {count}");
        }
        let query = format!("generation={generation}&before=99999999&count=2000");
        let (_, page) = ask(&server, "rows", &log, &query).await;
        assert_eq!(pairs(&page), viewed.0, "{name} from the end");
        assert_eq!(page["generation"], generation.as_str());
        assert_eq!((&page["at_start"], &page["at_end"]), (&true.into(), &true.into()), "{name}");
    }
}

#[tokio::test]
async fn what_was_overwritten_is_sent_found_and_downloaded_as_it_was_written() {
    let server = TestServer::start().await;
    let log = server.log("a.log", b"10%\r20%\r\x1b[31mred\x1b[m\r\nlast");
    let written = [(0, "10%"), (4, "20%"), (8, "␛[31mred␛[m"), (21, "last")];
    let written = written.map(|(offset, text)| (offset, text.to_owned()));
    let shown = [(0, "red".to_owned()), written[3].clone()];
    for (raw, expected) in [("1", &written[..]), ("0", &shown[..])] {
        let (_, page) = ask(&server, "rows", &log, &format!("raw={raw}&format=text")).await;
        assert_eq!(pairs(&page), expected, "raw={raw}");
        let mut viewer =
            Viewer::v1(server.address, &format!("{log}?lines=all&format=text&raw={raw}")).await;
        viewer.expect("open").await;
        let mut rows = Rows::default();
        rows.apply(&viewer.expect("rows").await);
        assert_eq!(rows.texts(), expected.iter().map(|(_, text)| text).collect::<Vec<_>>());
    }
    let (_, page) = ask(&server, "rows", &log, "raw=1&filter=1&q=0%25&format=text").await;
    assert_eq!(pairs(&page), written[..2]);
    let found = get(server.address, &format!("/_/find{log}?raw=1&q=20%25"), &[]).await;
    assert!(found.text().contains("[[4,1]]"), "{}", found.text());
    let text = get(server.address, &format!("/_/text{log}?raw=1&plain=1"), &[]).await;
    assert_eq!(text.text(), "10%\n20%\n␛[31mred␛[m\nlast");
    let refused = get(server.address, &format!("{log}?format=text&raw=1"), &[]).await;
    assert_eq!(refused.status, 400, "a form that only grows has no such rows");
}

#[tokio::test]
async fn a_screen_whose_size_is_said_keeps_the_lines_that_it_would() {
    let server = TestServer::start().await;
    // Seventy columns are two rows of a screen of sixty.
    let wide = "x".repeat(70);
    let log = format!("one\ntwo\n{wide}\x1b[1G\x1b[0K\x1b[1A\x1b[0Kdone\n");
    let log = server.log("a.log", log.as_bytes());
    for (query, expected) in [
        ("cols=60", &["one", "two", "done"][..]),
        ("cols=60&rows=50", &["one", "two", "done"]),
        ("cols=80", &["one", "done"]),
        ("rows=24", &["one", "done"]),
        ("", &["one", "done"]),
    ] {
        let (_, page) = ask(&server, "rows", &log, query).await;
        let texts: Vec<String> = pairs(&page).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected, "{query}");
        let mut viewer = Viewer::v1(server.address, &format!("{log}?lines=all&{query}")).await;
        viewer.expect("open").await;
        let mut rows = Rows::default();
        rows.apply(&viewer.expect("rows").await);
        assert_eq!(rows.texts(), expected, "{query}");
    }
    let found = get(server.address, &format!("/_/find{log}?cols=60&q=two"), &[]).await;
    assert!(found.text().contains("[[4,1]]"), "{}", found.text());
    for query in ["cols=0", "cols=1000", "rows=65", "rows=x"] {
        assert_eq!(ask(&server, "rows", &log, query).await.0, 400, "{query}");
    }
}

#[tokio::test]
async fn a_log_of_carriage_returns_alone_has_rows_that_are_found() {
    let server = TestServer::start().await;
    let log = server.log("a.log", b"l1\rl2\rl3\r");
    let (_, page) = ask(&server, "rows", &log, "").await;
    assert_eq!(pairs(&page), [(0, "l1".to_owned()), (3, "l2".to_owned()), (6, "l3".to_owned())]);
    let found = get(server.address, &format!("/_/find{log}?q=l2"), &[]).await;
    assert!(found.text().contains("[[3,1]]"), "{}", found.text());
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=all")).await;
    viewer.expect("open").await;
    let mut rows = Rows::default();
    rows.apply(&viewer.expect("rows").await);
    assert_eq!(rows.texts(), ["l1", "l2", "l3"]);
    append(server.path("a.log"), "l4\r");
    rows.apply(&viewer.expect("rows").await);
    assert_eq!(rows.texts(), ["l1", "l2", "l3", "l4"]);
}

#[tokio::test]
async fn rows_carry_their_annotations_or_come_as_text() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "::group::<Run>\n\x1b[31mred\x1b[m\n::error::no\nopen");
    let (_, page) = ask(&server, "rows", &log, "").await;
    assert_eq!(
        page["rows"],
        serde_json::json!([
            [0, "::group::&lt;Run&gt;", {"group": {"opens": "<Run>", "level": 1}}],
            [15, "<span style='color:var(--red,#a00)'>red</span>"],
            [27, "::error::no", {"level": "error"}],
            [39, "open"],
        ])
    );
    let (_, page) = ask(&server, "rows", &log, "format=text&from=16&count=1").await;
    assert_eq!(page["rows"], serde_json::json!([[15, "red"]]));
    assert_eq!((&page["from"], &page["next"]), (&15.into(), &27.into()));
    assert_eq!((&page["at_start"], &page["at_end"]), (&false.into(), &false.into()));
    let (_, end) = ask(&server, "rows", &log, "from=43").await;
    assert_eq!(end["rows"], serde_json::json!([[39, "open"]]), "the open row may still grow");
    append(&log, "ed\n");
    let (_, end) = ask(&server, "rows", &log, "from=39").await;
    assert_eq!(end["rows"], serde_json::json!([[39, "opened"]]), "at once, though nobody follows");
    let (_, end) = ask(&server, "rows", &log, "from=46").await;
    assert_eq!((&end["rows"], &end["next"]), (&serde_json::json!([]), &46.into()));
    assert_eq!((&end["size"], &end["at_end"]), (&46.into(), &true.into()));
}

#[tokio::test]
async fn a_rotated_file_can_be_read_while_it_is_held() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "old one\nold two\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let old = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    viewer.expect("rows").await;
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    std::fs::write(&log, "").unwrap();
    let reset = viewer.expect("reset").await;
    let new = reset["generation"].as_str().unwrap().to_owned();
    // The signature of the generation grows with the first bytes; the earlier name is still valid.
    append(&log, "new\n");
    viewer.expect("rows").await;
    let (status, page) = ask(&server, "rows", &log, &format!("generation={old}&from=8")).await;
    assert_eq!((status, page["rows"][0][1].as_str()), (200, Some("old two")), "{page}");
    for query in [String::new(), format!("generation={new}")] {
        let (status, page) = ask(&server, "rows", &log, &query).await;
        assert_eq!((status, page["rows"][0][1].as_str()), (200, Some("new")), "{query}: {page}");
    }
}

#[tokio::test]
async fn a_request_for_a_lost_generation_is_answered_with_the_present_one() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let old = viewer.expect("open").await["generation"].as_str().unwrap().to_owned();
    std::fs::write(&log, "1\n").unwrap();
    eventually("a gone generation", async || {
        let (status, answer) = ask(&server, "rows", &log, &format!("generation={old}")).await;
        let (_, present) = ask(&server, "rows", &log, "").await;
        let is_told = answer["generation"] == present["generation"] && answer["error"] == "gone";
        if status == 410 && is_told { Ok(()) } else { Err((status, answer, present)) }
    })
    .await;
    for generation in ["x", "1-2-3-0-5", "fe00-98c080-7510fbb6-100-b5d656c3b7c97a6d"] {
        let (status, answer) =
            ask(&server, "rows", &log, &format!("generation={generation}")).await;
        assert_eq!((status, &answer["error"]), (410, &"gone".into()), "{generation}");
    }
}

#[tokio::test]
async fn bad_parameters_of_the_api_are_named() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    for (query, named) in [
        ("from=-1", "from"),
        ("from=1&from=1", "from"),
        ("from=1&before=1", "before"),
        ("before=x", "before"),
        ("count=no", "count"),
        ("format=raw", "format"),
    ] {
        let (status, answer) = ask(&server, "rows", &log, query).await;
        assert_eq!(status, 400, "{query}: {answer}");
        assert!(answer.as_str().unwrap().contains(named), "{query}: {answer}");
    }
    for query in ["count=0", "count=99999999999999999999999", "from=18446744073709551615"] {
        let (status, answer) = ask(&server, "rows", &log, query).await;
        let expected = if query.len() > 28 { 400 } else { 200 };
        assert_eq!(status, expected, "{query}: {answer}");
    }
    let head = request(server.address, "HEAD", &format!("/_/rows{log}"), &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), Some("application/json"));
    let post = request(server.address, "POST", &format!("/_/rows{log}"), &[]).await;
    assert_eq!(post.status, 405);
}

#[tokio::test]
async fn api_requests_do_not_count_as_viewers() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    ask(&server, "rows", &log, "").await;
    let (_, list) = ask(&server, "logs", "", "").await;
    assert_eq!(list["logs"][0]["viewers"], 0);
    assert_eq!(server.viewers().await, 0);
}

#[tokio::test]
async fn lines_have_numbers_and_numbers_have_offsets() {
    let server = TestServer::start().await;
    let log =
        server.log("a.log", format!("one\ntwo\n{}\nfour\n10%\r20%\nopen", "x".repeat(40_000)));
    let (_, page) = ask(&server, "rows", &log, "").await;
    let numbers = serde_json::json!([1, 2, 3, null, 4, 5, 6]);
    assert_eq!(page["lines"], numbers, "a row that goes on in a line begins none");
    let at: Vec<String> = pairs(&page).iter().map(|(offset, _)| offset.to_string()).collect();
    let (_, lines) = ask(&server, "lines", &log, &format!("at={}", at.join(","))).await;
    assert_eq!((&lines["lines"], &lines["total"]), (&numbers, &5.into()), "{lines}");
    assert_eq!((&lines["indexed"], &lines["size"]), (&page["size"], &page["size"]));
    let (_, lines) = ask(&server, "lines", &log, "at=4,0,5,4").await;
    assert_eq!(lines["lines"], serde_json::json!([2, 1, null, 2]), "in any order");
    for (line, offset, row) in
        [(0, 0, "one"), (1, 0, "one"), (2, 4, "two"), (4, 40_009, "four"), (99, 40_022, "open")]
    {
        let (_, found) = ask(&server, "lines", &log, &format!("line={line}")).await;
        assert_eq!((&found["line"], &found["offset"]), (&line.into(), &offset.into()));
        let (_, page) = ask(&server, "rows", &log, &format!("line={line}&count=1")).await;
        assert_eq!(page["rows"], serde_json::json!([[offset, row]]), "line {line}");
    }
    append(&log, "\nseven\n");
    let (_, found) = ask(&server, "lines", &log, "line=7").await;
    assert_eq!(found["offset"], 40_027, "the index grows with the log");
    let too_many = "1,".repeat(501);
    assert_eq!(ask(&server, "lines", &log, &format!("at={too_many}")).await.0, 400);
    assert_eq!(ask(&server, "lines", &log, "at=1,x").await.0, 400);
    assert_eq!(ask(&server, "lines", &log, "line=x").await.0, 400);
}

/// The messages of a search.
async fn find(server: &TestServer, log: &str, query: &str) -> Vec<Value> {
    let answer = get(server.address, &format!("/_/find{log}?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn found(lines: &[Value]) -> Vec<(u64, u64)> {
    let rows = lines.iter().filter_map(|line| line["rows"].as_array()).flatten();
    rows.map(|row| (row[0].as_u64().unwrap(), row[1].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_search_sends_rows_and_its_progress() {
    let server = TestServer::start().await;
    let lines: String = (0..50_000).map(|n| format!("\x1b[3{}mline {n}\x1b[m\n", n % 8)).collect();
    let log = server.log("a.log", &lines);
    let answer = find(&server, &log, "q=LINE+1234%28.%29%24&regex=1").await;
    let rows = found(&answer);
    let (_, texts) =
        ask(&server, "rows", &log, &format!("from={}&count=1&format=text", rows[9].0)).await;
    assert_eq!((rows.len(), texts["rows"][0][1].as_str()), (10, Some("line 12349")));
    let done = answer.last().unwrap();
    assert_eq!(
        done,
        &serde_json::json!({"type": "done", "rows": 10, "matches": 10, "scanned": lines.len(),
            "to": lines.len(), "complete": true, "reason": null})
    );
    let done = find(&server, &log, "q=line&max=5").await.pop().unwrap();
    assert_eq!((&done["rows"], &done["reason"]), (&50_000.into(), &"results".into()));
    let near = rows[5].0;
    let answer = find(&server, &log, &format!("q=line+1234&max=7&near={near}")).await;
    assert_eq!(found(&answer)[..2], [(near, 1), (rows[6].0, 1)], "the nearest first");
    let nothing = find(&server, &log, &format!("q=line&from={}", lines.len())).await;
    assert_eq!((found(&nothing).len(), &nothing[0]["complete"]), (0, &true.into()));
    append(&log, "line 1234\n");
    let more = find(&server, &log, &format!("q=line+1234&from={}", lines.len())).await;
    assert_eq!(found(&more), [(lines.len() as u64, 1)], "what came since");
}

#[tokio::test]
async fn a_filter_returns_the_rows_that_match_and_how_far_it_searched() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n<TWO>\nthree\n\x1b[1mtwo two\x1b[m\nfour\n");
    let query = "filter=1&q=two";
    let (_, page) = ask(&server, "rows", &log, query).await;
    assert_eq!(
        page["rows"],
        serde_json::json!([
            [4, "&lt;TWO&gt;", {"match": [[1, 4]]}],
            [16, "<b>two two</b>", {"match": [[0, 3], [4, 7]]}],
        ])
    );
    assert_eq!((&page["lines"], &page["next"]), (&serde_json::json!([2, 4]), &36.into()));
    let (_, page) = ask(&server, "rows", &log, &format!("{query}&before=16&count=1")).await;
    assert_eq!((&page["rows"][0][0], page["rows"].as_array().unwrap().len()), (&4.into(), 1));
    let (_, page) = ask(&server, "rows", &log, &format!("{query}&invert=1&format=text")).await;
    assert_eq!(page["rows"], serde_json::json!([[0, "one"], [10, "three"], [31, "four"]]));
    append(&log, "the two\n");
    let (_, page) = ask(&server, "rows", &log, &format!("{query}&from=36")).await;
    assert_eq!((&page["rows"][0][1], &page["at_end"]), (&"the two".into(), &true.into()));
}

#[tokio::test]
async fn a_filter_checks_a_row_again_while_it_grows() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n");
    for (written, shown) in [("half a t", None), ("wo", Some("half a two")), ("\r\x1b[Kx", None)] {
        append(&log, written);
        eventually("the row as it is now", async || {
            let (_, page) = ask(&server, "rows", &log, "filter=1&q=two&from=4").await;
            let is_so = page["rows"][0][1].as_str() == shown && page["next"] == 4;
            if is_so { Ok(()) } else { Err(page) }
        })
        .await;
    }
}

#[tokio::test]
async fn an_impossible_search_is_refused_with_the_reason() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let long = "x".repeat(10_000);
    for (query, told) in [
        ("", "nothing to look for"),
        ("q=", "empty"),
        ("q=(x&regex=1", "unclosed group"),
        ("q=%5Cw%7B9999%7D&regex=1", "size limit"),
        ("q=a%0Ab", "newline"),
        (&format!("q={long}"), "2048 bytes"),
    ] {
        for question in ["find", "rows"] {
            let (status, answer) = ask(&server, question, &log, &format!("{query}&filter=1")).await;
            assert_eq!((status, &answer["error"]), (400, &"pattern".into()), "{query}: {answer}");
            assert!(answer["message"].as_str().unwrap().contains(told), "{query}: {answer}");
        }
    }
    for (query, named) in [
        ("q=x&level=bad", "level"),
        ("q=x&max=x", "max"),
        ("q=x&regex=yes", "regex"),
        ("q=x&near=-1", "near"),
        ("q=x&q=y", "`q`"),
    ] {
        let (status, answer) = ask(&server, "find", &log, query).await;
        assert_eq!(status, 400, "{query}: {answer}");
        assert!(answer.as_str().unwrap().contains(named), "{query}: {answer}");
    }
    assert_eq!(found(&find(&server, &log, "q=%00").await), []);
}

#[tokio::test]
async fn errors_are_found_by_rules_that_can_be_downloaded() {
    let server = TestServer::start().await;
    let log =
        server.log("a.log", "0 errors\nerror: one\nwarning: two\n\x1b[31mERROR\x1b[m three\n");
    assert_eq!(found(&find(&server, &log, "level=error").await), [(9, 1), (33, 1)]);
    assert_eq!(found(&find(&server, &log, "level=warning").await), [(20, 1)]);
    assert_eq!(found(&find(&server, &log, "level=error&q=three").await), [(33, 1)]);
    let (_, rules) = ask(&server, "levels.json", "", "").await;
    assert_eq!(rules[0]["level"], "error");
    assert!(rules[0]["pattern"].is_string(), "{rules}");
    let (_, traces) = ask(&server, "traces.json", "", "").await;
    let (_, both) = ask(&server, "rules.json", "", "").await;
    assert!(both["levels"] == rules && both["traces"] == traces, "they are the same");
}

#[tokio::test]
async fn rows_have_colours_that_were_switched_on_long_before() {
    let server = TestServer::start().await;
    let lines: String =
        (0..60_000).map(|n| format!("a line of what is told in red: {n}\n")).collect();
    let log = server.log("a.log", format!("::group::all\n\x1b[31m{lines}"));
    let middle = 1_000_000 + "::group::all\n".len();
    let red =
        |rows: &[(u64, String)]| rows.iter().filter(|(_, html)| html.contains("--red")).count();
    let (_, page) = ask(&server, "rows", &log, &format!("from={middle}&count=50")).await;
    assert_eq!(red(&pairs(&page)), 0, "nobody has seen it");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?lines=all&tail=1")).await;
    viewer.expect("open").await;
    let mut viewed = Rows::default();
    while viewed.0.len() < 60_001 {
        viewed.apply(&viewer.expect("rows").await);
    }
    let first = viewed.0.partition_point(|(offset, _)| *offset <= middle as u64) - 1;
    let (_, page) = ask(&server, "rows", &log, &format!("from={middle}&count=50")).await;
    assert_eq!(pairs(&page), viewed.0[first..first + 50]);
    let (_, page) =
        ask(&server, "rows", &log, &format!("before={}&count=50", viewed.0[first].0)).await;
    assert_eq!(pairs(&page), viewed.0[first - 50..first]);
    // An answer ends after a while, with or without rows, and says how far it searched.
    let (mut matching, mut from) = (Vec::new(), middle as u64);
    while matching.len() < 50 {
        let count = 50 - matching.len();
        let query = format!("filter=1&q=told&from={from}&count={count}");
        let (_, page) = ask(&server, "rows", &log, &query).await;
        matching.extend(pairs(&page));
        from = page["next"].as_u64().unwrap();
        assert_eq!(page["at_end"], false, "{page}");
    }
    assert_eq!(red(&matching), 50);
}

#[tokio::test]
async fn rows_that_arrived_while_the_log_was_followed_have_a_time() {
    let now = || {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()
            as u64
    };
    let server = TestServer::start().await;
    let log = server.log("a.log", "before\n");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    viewer.expect("rows").await;
    let since = now();
    append(&log, "after\n");
    viewer.expect("rows").await;
    let (_, page) = ask(&server, "rows", &log, "").await;
    assert_eq!(page["times"][0], Value::Null, "{page}");
    let time = page["times"][1].as_u64().unwrap();
    assert!((since..=now()).contains(&time), "{time} from {since} to {}", now());
}

#[tokio::test]
async fn filtered_rows_can_be_downloaded() {
    let server = TestServer::start().await;
    let log = server.log("..a b\"<.log", "one\n\x1b[31mtwo\x1b[m\nthree two\n");
    let log = log.replace(' ', "%20").replace('"', "%22").replace('<', "%3C");
    let text = async |query: &str| get(server.address, &format!("/_/text{log}?{query}"), &[]).await;
    let some = text("filter=1&q=two").await;
    assert_eq!((some.status, some.text().as_str()), (200, "\x1b[31mtwo\x1b[m\nthree two\n"));
    assert_eq!(some.header("content-disposition"), Some("attachment; filename=\"a_b__.log\""));
    assert_eq!(some.header("content-type"), Some("text/plain"), "no charset is known");
    let plain = text("filter=1&q=two&plain=1").await;
    assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text("filter=1&q=two&invert=1").await.text(), "one\n");
    assert_eq!(text("filter=1&q=two&plain=1").await.text(), "two\nthree two\n");
    assert_eq!(text("from=4&to=16").await.text(), "\x1b[31mtwo\x1b[m\n");
    assert_eq!(text("plain=1").await.text(), "one\ntwo\nthree two\n");
    assert_eq!(text("filter=1&q=").await.status, 400);
}

#[tokio::test]
async fn the_api_leaves_holes_out_as_streams_do() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\nbefore");
    std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(3 << 20).unwrap();
    append(&log, "behind\nlast\n");
    let (viewed, _) = seen(&server, &log).await;
    assert_eq!(viewed.texts(), ["one", "beforebehind", "last"]);
    assert_eq!(pages(&server, &log, 2).await, viewed.0);
    let (_, page) = ask(&server, "rows", &log, "before=99999999").await;
    assert_eq!(pairs(&page), viewed.0);
    let (_, page) = ask(&server, "rows", &log, "from=2000000&count=1").await;
    assert_eq!(pairs(&page), viewed.0[1..2], "from within the hole");
    assert_eq!(found(&find(&server, &log, "q=behind").await), [(4, 1)]);
    let (_, lines) = ask(&server, "lines", &log, &format!("at={}", viewed.0[2].0)).await;
    assert_eq!(lines["lines"][0], 3);
}

#[tokio::test]
async fn clients_that_leave_free_their_searches_for_others() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    write_big(&log, 8);
    let mut crowd = Vec::new();
    for _ in 0..256 {
        // These clients read only the head of the answer.
        crowd.push(Streaming::get(server.address, &format!("/_/text{log}?plain=1"), &[]).await);
    }
    let (status, answer) = ask(&server, "find", &log, "q=log").await;
    assert_eq!((status, &answer["error"]), (503, &"crowded".into()));
    assert_eq!(ask(&server, "rows", &log, "").await.0, 200, "rows can still be requested");
    drop(crowd);
    eventually("room for a search", async || {
        let (status, _) = ask(&server, "find", &log, "q=nothing").await;
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test]
async fn live_lines_arrive_while_many_searches_run() {
    let server = TestServer::start().await;
    let big = server.log("big.log", "");
    write_big(&big, 32);
    let log = server.log("a.log", "");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    let address = server.address;
    let searches: Vec<_> = (0..50)
        .map(|n| {
            let target = format!("/_/find{big}?q=%5Blg%5D.*{n}x&regex=1");
            tokio::spawn(async move { get(address, &target, &[]).await })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for n in 0..50 {
        let since = Instant::now();
        append(&log, format!("{n}\n"));
        let rows = viewer.expect("rows").await;
        assert_eq!(rows["rows"][0][1], n.to_string());
        slowest = slowest.max(since.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "a line took {slowest:?}");
    let unfinished = searches.iter().filter(|search| !search.is_finished()).count();
    assert!(unfinished > 0, "they were done before the viewer was");
    searches.iter().for_each(tokio::task::JoinHandle::abort);
}
