//! Going to a time, and the parts of a log between two times: in streams, in the API, on the command
//! line, and over the old files of a log.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tailcast::serve::Settings;

use crate::clients::{Rows, Streaming, Viewer, get};
use crate::servers::{Program, TestServer, append, command, output_of};
use crate::tail::Tail;

/// 2026-11-28T14:02:00Z in seconds.
const T: u64 = 1_795_874_520;

/// The stamp of a second after [`T`], within the same minute.
fn stamp(second: u64) -> String {
    format!("2026-11-28T14:02:{second:02}Z")
}

/// Lines of these seconds, each followed by one without a time.
fn lines(seconds: impl Iterator<Item = u64>) -> Vec<String> {
    seconds
        .flat_map(|second| [format!("{} {second}\n", stamp(second)), format!("  at {second}\n")])
        .collect()
}

/// A log of the seconds from 10 to 29.
fn log() -> Vec<String> {
    lines(10..30)
}

/// The lines from one second of [`log`] up to another.
fn part(from: usize, to: usize) -> String {
    log()[(from - 10) * 2..(to - 10) * 2].concat()
}

async fn text_of(server: &TestServer, target: &str) -> String {
    let answer = get(server.address, target, &[]).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.text()
}

async fn ask(server: &TestServer, target: &str) -> Value {
    serde_json::from_str(&text_of(server, target).await).unwrap()
}

/// The rows of an answer, and whether they are the first and the last.
fn rows(answer: &Value) -> (String, bool, bool) {
    let rows = answer["rows"].as_array().unwrap();
    let text = rows.iter().map(|row| row[1].as_str().unwrap().to_owned() + "\n").collect();
    (text, answer["at_start"] == true, answer["at_end"] == true)
}

#[tokio::test]
async fn streams_begin_and_end_at_times() {
    let server = TestServer::start().await;
    let target = server.log("a.log", log().concat());
    let since = format!("since={}", stamp(15));
    let until = format!("until={}", stamp(20));
    let seconds = format!("since={}&until={}", T + 15, T + 20);
    for (query, expected) in [
        (since.as_str(), part(15, 30)),
        (&until, part(10, 20)),
        (&seconds, part(15, 20)),
        (&format!("{since}&{until}&tail=1"), part(15, 20)),
        (&format!("{since}&{until}&lines=4"), part(18, 20)),
        (&format!("{since}&{until}&lines=40"), part(15, 20)),
        (&format!("{until}&lines=4"), part(18, 20)),
        (&format!("{since}&lines=4"), part(28, 30)),
        ("since=2026-11-28T15:02:15%2B01:00&until=2026-11-28T14:02:20Z", part(15, 20)),
        ("since=2026-11-28T15:02:15+01:00&until=2026-11-28T14:02:20Z", part(15, 20)),
        ("since=2026-11-28T14:02:14.5Z&until=2026-11-28T14:02:19.001Z", part(15, 20)),
        ("since=2100-01-01T00:00:00Z", String::new()),
        ("until=1970-01-01T00:00:00Z", String::new()),
        ("since=0", part(10, 30)),
        (&format!("since={}&until={}", stamp(20), stamp(15)), String::new()),
    ] {
        assert_eq!(text_of(&server, &format!("{target}?{query}")).await, expected, "{query}");
        let target = format!("{target}?{query}&lines=all");
        if query.contains("lines") {
            continue;
        }
        let mut viewer = Viewer::v1(server.address, &format!("{target}&format=text")).await;
        viewer.expect("open").await;
        let mut rows = Rows::default();
        loop {
            let message = viewer.json().await;
            match message["type"].as_str() {
                Some("rows") => rows.apply(&message),
                Some("end") => break,
                other => panic!("{query}: {other:?}"),
            }
        }
        assert_eq!(rows.texts(), expected.lines().collect::<Vec<_>>(), "{query}");
        let accepts = [("accept", "text/event-stream")];
        let mut events = Streaming::get(server.address, &target, &accepts).await;
        let events = events.rest().await;
        let seconds = (10..30).filter(|second| events.contains(&format!("{} ", stamp(*second))));
        let expected = (10..30).filter(|second| expected.contains(&format!("{} ", stamp(*second))));
        assert_eq!(seconds.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{query}");
    }
}

#[tokio::test]
async fn a_stream_that_begins_at_a_time_goes_on() {
    let server = TestServer::start().await;
    let target = server.log("a.log", log().concat());
    let query = format!("{target}?since={}&tail=1", stamp(29));
    let mut stream = Streaming::get(server.address, &query, &[]).await;
    stream.read_until("at 29\n").await;
    append(&target, lines(30..31).concat());
    let body = stream.read_until("at 30\n").await;
    assert_eq!(body, part(29, 30) + &lines(30..31).concat());
}

#[tokio::test]
async fn a_stream_up_to_a_time_that_is_to_come_ends_there() {
    let server = TestServer::start().await;
    let target = server.log("a.log", "");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let query = format!("{target}?tail=1&lines=all&until={}", now + 2);
    let mut stream = Streaming::get(server.address, &query, &[]).await;
    append(&target, format!("{now} before\n{} at the end\n", now + 2));
    let body = stream.rest().await;
    assert_eq!(body, format!("{now} before\n"));
    assert!(stream.is_complete());
}

#[tokio::test]
async fn a_line_of_the_end_ends_a_stream_before_its_time_comes() {
    let server = TestServer::start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (until, line) = (now + 600, |after: u64| format!("{} {after}\n", now + after));
    for (name, first) in
        [("a.log", String::new()), ("b.log", line(0)), ("c.log", line(0).repeat(50_000))]
    {
        let target = server.log(name, &first);
        let query = format!("{target}?tail=1&lines=all&until={until}");
        let mut stream = Streaming::get(server.address, &query, &[]).await;
        append(&target, line(1));
        stream.read_until(&line(1)).await;
        // The end is in the same bytes as lines before it, and others come behind it.
        append(&target, [599, 600, 598, 601].map(line).concat());
        let body = stream.rest().await;
        let expected = first + &line(1) + &line(599);
        assert!(body == expected, "{name}: {} of {} bytes", body.len(), expected.len());
        assert!(stream.is_complete());
    }
}

#[tokio::test]
async fn a_stream_up_to_a_time_to_come_awaits_the_rest_of_a_stamp() {
    let server = TestServer::start().await;
    let target = server.log("a.log", format!("{} one\n", stamp(1)));
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(2);
    let shown = |hours| {
        (end + jiff::SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%S").to_string()
    };
    let query = format!("{target}?tail=1&lines=all&until={}", end.as_second());
    let mut stream = Streaming::get(server.address, &query, &[]).await;
    let mut all = Streaming::get(server.address, &format!("{target}?tail=1"), &[]).await;
    stream.read_until(" one\n").await;
    // What is written so far seems to be after the end, and is an hour before it.
    append(&target, shown(0));
    all.read_until(&shown(0)).await;
    append(&target, "+01:00 two\n");
    stream.read_until("+01:00 two\n").await;
    append(&target, format!("{}+01:00 three\n", shown(1)));
    let expected = format!("{} one\n{}+01:00 two\n", stamp(1), shown(0));
    assert_eq!(stream.rest().await, expected);
}

#[tokio::test]
async fn a_stream_of_lines_without_times_ends_with_what_was_written_before() {
    let server = TestServer::start().await;
    let target = server.log("a.log", "one\n");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let query = format!("{target}?tail=1&lines=all&until={}", now + 2);
    let mut stream = Streaming::get(server.address, &query, &[]).await;
    append(&target, "two\n");
    assert_eq!(stream.rest().await, "one\ntwo\n");
}

#[tokio::test]
async fn lines_before_the_end_of_a_time_are_counted_from_file_to_file() {
    let server = TestServer::start().await;
    server.log("a.log.2", lines(10..20).concat());
    server.log("a.log.1", lines(20..30).concat());
    let log = server.log("a.log", lines(30..40).concat());
    for (since, until, number, expected) in [
        (Some(15), None, 10, 35..40),
        (Some(12), None, 30, 25..40),
        (Some(35), None, 40, 35..40),
        (Some(25), Some(28), 4, 26..28),
        (Some(29), Some(32), 100, 29..32),
        (Some(12), Some(32), 20, 22..32),
        (None, Some(32), 10, 27..32),
        (None, Some(32), 100, 10..32),
        (None, Some(25), 20, 15..25),
        (Some(12), Some(25), 0, 25..25),
    ] {
        let moment = |name, second: Option<u64>| {
            second.map_or_else(String::new, |second| format!("&{name}={}", stamp(second)))
        };
        let query = moment("since", since) + &moment("until", until);
        let query = format!("{log}?history=1&lines={number}{query}");
        assert_eq!(text_of(&server, &query).await, lines(expected).concat(), "{query}");
    }
}

#[tokio::test]
async fn late_bytes_of_an_old_file_have_times_too() {
    let server = TestServer::start().await;
    let log = server.log("a.log", lines(10..20).concat());
    let mut viewer = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
    viewer.read_until("at 19\n").await;
    let old = server.path("a.log.1");
    std::fs::rename(server.path("a.log"), &old).unwrap();
    server.log("a.log", lines(30..32).concat());
    viewer.read_until("at 31\n").await;
    append(&old, lines(20..22).concat());
    viewer.read_until("at 21\n").await;
    for query in [format!("since={}", stamp(21)), format!("since={}&lines=6", stamp(15))] {
        let body = text_of(&server, &format!("{log}?history=1&{query}")).await;
        for line in lines((21..22).chain(30..32)) {
            assert_eq!(body.matches(&line).count(), 1, "{query}: {body}");
        }
        assert!(!body.contains("at 14"), "{query}: {body}");
    }
}

#[tokio::test]
async fn rows_matches_and_text_are_those_of_a_time() {
    let server = TestServer::start().await;
    let log = server.log("a.log", log().concat());
    let answer =
        ask(&server, &format!("/_/rows{log}?format=text&count=4&time={}", stamp(15))).await;
    assert_eq!(rows(&answer), (part(15, 17), false, false));
    let wanted = format!("since={}&until={}", stamp(15), stamp(20));
    for (query, expected) in [
        (wanted.clone(), (part(15, 20), true, true)),
        (format!("{wanted}&count=4"), (part(15, 17), true, false)),
        (format!("{wanted}&from=0&count=4"), (String::new(), true, false)),
        (format!("{wanted}&before=1000000&count=4"), (part(18, 20), false, true)),
        (format!("{wanted}&before=1000000"), (part(15, 20), true, true)),
        (format!("{wanted}&time={}", stamp(18)), (part(18, 20), false, true)),
        (
            format!("{wanted}&filter=1&q=at"),
            (
                part(15, 20)
                    .lines()
                    .filter(|line| line.contains("at"))
                    .map(|line| line.to_owned() + "\n")
                    .collect(),
                true,
                true,
            ),
        ),
        (format!("time={}&count=2", T + 29), (part(29, 30), false, true)),
        ("time=2100-01-01T00:00:00Z".to_owned(), (String::new(), false, true)),
        ("time=2001-01-01".to_owned(), (part(10, 30), true, true)),
    ] {
        let answer = ask(&server, &format!("/_/rows{log}?format=text&{query}")).await;
        let found = rows(&answer);
        if query.contains("from=0") {
            // What is before the part is left out, whatever a page begins with.
            assert!(part(15, 20).starts_with(&found.0) && found.1, "{query}: {answer}");
            continue;
        }
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(text_of(&server, &format!("/_/text{log}?{wanted}")).await, part(15, 20));
    let found = text_of(&server, &format!("/_/find{log}?q=at&{wanted}")).await;
    assert!(found.contains("\"rows\":5"), "{found}");
    for question in ["rows", "find", "text"] {
        for bad in ["since=soon", "until=14:02", "since=1m&since=2m"] {
            let answer = get(server.address, &format!("/_/{question}{log}?q=x&{bad}"), &[]).await;
            assert_eq!(answer.status, 400, "{question} {bad}");
        }
    }
    for (target, named) in [
        (format!("/_/rows{log}?time=x"), "`time` is a time such as"),
        (format!("/_/rows{log}?time=1d&from=0"), "only one of"),
        (format!("{log}?since=tomorrow"), "`since` is a time such as"),
        (format!("{log}?until="), "`until` is a time such as"),
    ] {
        let answer = get(server.address, &target, &[]).await;
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text().contains(named), "{target}: {}", answer.text());
    }
}

#[tokio::test]
async fn times_are_found_in_old_files_too() {
    let server = TestServer::start().await;
    server.log("a.log.2", lines(10..20).concat());
    server.log("a.log.1", lines(20..30).concat());
    let log = server.log("a.log", lines(30..40).concat());
    let all = |from: u64, to: u64| lines(from..to).concat();
    for (since, until) in
        [(15, 35), (10, 40), (25, 28), (20, 30), (32, 35), (12, 14), (29, 30), (30, 40)]
    {
        let wanted = format!("history=1&since={}&until={}", stamp(since), stamp(until));
        let expected = all(since, until);
        let stream = text_of(&server, &format!("{log}?{wanted}")).await;
        assert_eq!(stream, expected, "{wanted}");
        let text = text_of(&server, &format!("/_/text{log}?{wanted}")).await;
        assert_eq!(text, expected, "{wanted}");
        let found = text_of(&server, &format!("/_/find{log}?q=at&{wanted}")).await;
        let matches = format!("\"rows\":{}", until - since);
        assert!(found.lines().last().unwrap().contains(&matches), "{wanted}: {found}");
        // Page by page, from file to file.
        let mut seen = String::new();
        let mut page = ask(&server, &format!("/_/rows{log}?format=text&count=3&{wanted}")).await;
        assert_eq!(page["at_start"], true, "{wanted}");
        loop {
            seen += &rows(&page).0;
            if page["at_end"] == true {
                break;
            }
            let (generation, next) = (page["generation"].as_str().unwrap(), &page["next"]);
            let query = format!("generation={generation}&from={next}&count=3&format=text&{wanted}");
            page = ask(&server, &format!("/_/rows{log}?{query}")).await;
        }
        assert_eq!(seen, expected, "{wanted}");
        let time = format!("history=1&count=2&format=text&time={}", stamp(since));
        let page = ask(&server, &format!("/_/rows{log}?{time}")).await;
        assert_eq!(rows(&page).0, all(since, since + 1), "{time}");
    }
    // Without the history, the log begins in its present file.
    let present = text_of(&server, &format!("{log}?since={}", stamp(15))).await;
    assert_eq!(present, all(30, 40));
}

#[tokio::test]
async fn times_of_containers_are_those_of_their_records() {
    let server = TestServer::start().await;
    let record = |second: u64, text: &str| {
        json!({"log": text, "stream": "stdout", "time": stamp(second)}).to_string() + "\n"
    };
    let records = [
        (10, "one\n"),
        (11, "tw"),
        (12, "o\n"),
        (13, "three\n"),
        (14, "2001-01-01 00:00:00 four\n"),
    ];
    let log = server.log("c-json.log", records.map(|(second, text)| record(second, text)).concat());
    let rows_since = async |second: u64| {
        let query = format!("/_/rows{log}?format=text&time={}", stamp(second));
        rows(&ask(&server, &query).await).0
    };
    assert_eq!(rows_since(13).await, "three\n2001-01-01 00:00:00 four\n");
    assert_eq!(rows_since(11).await, "two\nthree\n2001-01-01 00:00:00 four\n");
    // A line is whole.
    let whole = "two\nthree\n2001-01-01 00:00:00 four\n";
    let since = format!("since={}", stamp(12));
    assert_eq!(text_of(&server, &format!("/_/text{log}?plain=1&{since}")).await, whole);
    assert_eq!(text_of(&server, &format!("{log}?format=text&{since}")).await, whole);
    assert_eq!(rows_since(12).await, "two\nthree\n2001-01-01 00:00:00 four\n");
}

#[tokio::test]
async fn the_zone_of_stamps_is_that_of_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    std::fs::write(&path, "2026-11-28 14:02:07 one\n2026-11-28 14:02:08 two\n").unwrap();
    let log = path.display();
    for (zone, time) in [
        ("UTC", "2026-11-28T14:02:08Z"),
        ("America/New_York", "2026-11-28T19:02:08Z"),
        ("+05:30", "2026-11-28T08:32:08Z"),
        ("Asia/Kolkata", "2026-11-28T14:02:08"),
    ] {
        let server = Program::serve(&["--zone", zone, directory.path().to_str().unwrap()]);
        let answer = get(server.address, &format!("{log}?since={time}"), &[]).await;
        assert_eq!(answer.text(), "2026-11-28 14:02:08 two\n", "{zone}");
        let local = ["tail", "--zone", zone, "--no-follow", "--since", time, &log.to_string()];
        let printed = output_of(command().args(local)).stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), "2026-11-28 14:02:08 two\n", "{zone}");
        // A time that says no zone is one of the server's, wherever it is asked for.
        let url = format!("http://{}{log}", server.address);
        let remote = ["tail", "--zone", "Asia/Tokyo", "--no-follow", "--since"];
        let remote = [&remote[..], &["2026-11-28 14:02:08", &url]].concat();
        let printed = output_of(command().args(remote)).stdout;
        assert_eq!(String::from_utf8(printed).unwrap(), "2026-11-28 14:02:08 two\n", "{zone}");
    }
    let wrong = output_of(command().args(["serve", "--zone", "Mars/Phobos", "/tmp"]));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("Europe/Berlin"), "{said}");
}

#[tokio::test]
async fn tail_prints_from_one_time_to_another() {
    let server = TestServer::start().await;
    let target = server.log("a.log", log().concat());
    server.log("a.log.1", lines(5..10).concat());
    let url = format!("http://{}{target}", server.address);
    for log in [&url, &target] {
        for (arguments, expected) in [
            (&["--since", &stamp(15), "--until", &stamp(20)][..], part(15, 20)),
            (&["--since", &stamp(28), "--no-follow"], part(28, 30)),
            (&["--since", &stamp(15), "--until", &stamp(20), "-n", "4"], part(18, 20)),
            (&["--until", &stamp(20)], part(15, 20)),
            (&["--since", &stamp(8), "--until", &stamp(11), "--history"], lines(8..11).concat()),
        ] {
            let mut tail = Tail::start(&[arguments, &[log.as_str()]].concat());
            assert!(tail.wait().await.success(), "{log} {arguments:?}: {}", tail.said());
            tail.prints(expected).await;
        }
    }
    let tail = Tail::start(&["--since", &stamp(29), &url]);
    tail.prints(part(29, 30)).await;
    append(&target, lines(30..31).concat());
    tail.prints(part(29, 30) + &lines(30..31).concat()).await;
    let wrong = output_of(command().args(["tail", "--since", "soon", &target]));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && said.contains("10m"), "{said}");
}

/// The answer of `/_/times` when it is exact.
async fn counted(server: &TestServer, target: &str) -> Value {
    let mut answer = Value::Null;
    crate::servers::eventually("all lines are counted", async || {
        answer = ask(server, target).await;
        if answer["exact"] == true { Ok(()) } else { Err(answer.to_string().len()) }
    })
    .await;
    answer
}

#[tokio::test]
async fn lines_errors_and_warnings_are_counted_in_spans_of_equal_time() {
    let server = TestServer::start().await;
    let mut log = String::new();
    let mut starts = Vec::new();
    for (second, rest) in [
        (0, "INFO one\n"),
        (1, "ERROR two\n  at three\n"),
        (5, "WARN four\n"),
        (4, "ERROR five\n"),
        (9, "ERROR six\n"),
    ] {
        starts.push(log.len());
        log += &format!("{} {rest}", stamp(second));
    }
    let target = server.log("a.log", &log);
    let answer = counted(&server, &format!("/_/times{target}?buckets=3")).await;
    let first = T * 1000;
    let (second, third) = (first + 3000 + 1, first + 6000 + 1);
    assert_eq!((&answer["first"], &answer["last"]), (&json!(first), &json!(first + 9000)));
    let expected = json!([
        {"time": first, "offset": 0, "lines": 3, "errors": 1, "warnings": 0},
        {"time": second, "offset": starts[2], "lines": 2, "errors": 1, "warnings": 1},
        {"time": third, "offset": starts[4], "lines": 1, "errors": 1, "warnings": 0},
    ]);
    assert_eq!(answer["buckets"], expected);
    // Of a part, with a span that has no line.
    let part = format!("/_/times{target}?buckets=3&since={}&until={}", stamp(1), stamp(10));
    let answer = counted(&server, &part).await;
    let lines: Vec<u64> = answer["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["lines"].as_u64().unwrap())
        .collect();
    assert_eq!(lines, [2, 2, 1], "{answer}");
    // It grows.
    append(&target, format!("{} INFO seven\n", stamp(12)));
    crate::servers::eventually("the new line is counted", async || {
        let answer = ask(&server, &format!("/_/times{target}?buckets=1")).await;
        if answer["buckets"][0]["lines"] == 7 { Ok(()) } else { Err(answer) }
    })
    .await;
    // A part that ends now goes on to be counted with the next request.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let long = format!("{now} ERROR a line of a long log\n").repeat(400_000);
    let long = server.log("c.log", long);
    let answer = counted(&server, &format!("/_/times{long}?buckets=1&since=10m")).await;
    assert_eq!(answer["buckets"][0]["lines"], 400_000, "{answer}");
    let untimed = server.log("b.log", "no\ntimes\n");
    let answer = ask(&server, &format!("/_/times{untimed}")).await;
    let nothing = json!([null, null, true, []]);
    assert_eq!(
        json!([answer["first"], answer["last"], answer["exact"], answer["buckets"]]),
        nothing
    );
    for bad in ["buckets=0", "buckets=2001", "buckets=x", "since=soon"] {
        let answer = get(server.address, &format!("/_/times{target}?{bad}"), &[]).await;
        assert_eq!(answer.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_lines_of_old_files_are_counted_with_those_of_the_log() {
    let settings = Settings { rotate_wait: Duration::from_secs(120), ..Settings::default() };
    let server = TestServer::with(settings).await;
    let numbered = |from: u64, to: u64| {
        let line = |second| match second % 10 {
            3 => format!("{} ERROR {second}\n", stamp(second)),
            7 => format!("{} WARN {second}\n", stamp(second)),
            _ => format!("{} INFO {second}\n", stamp(second)),
        };
        (from..to).map(line).collect::<String>()
    };
    let log = server.log("a.log", numbered(30, 40));
    let newer = server.log("a.log.1", numbered(20, 30));
    server.log("a.log.2.gz", crate::archives::gzipped(numbered(10, 20).as_bytes()));
    server.log("a.log.3", "no\ntimes\n");
    let sums = |answer: &Value| {
        let buckets = answer["buckets"].as_array().unwrap();
        ["lines", "errors", "warnings"]
            .map(|count| buckets.iter().map(|it| it[count].as_u64().unwrap()).sum::<u64>())
    };
    let asked = |query: &str| format!("/_/times{log}?{query}");
    let whole = counted(&server, &asked("history=1&buckets=3")).await;
    let at = |second: u64| json!((T + second) * 1000);
    assert_eq!((&whole["first"], &whole["last"]), (&at(10), &at(39)), "{whole}");
    assert_eq!(sums(&whole), [30, 3, 3], "{whole}");
    for bucket in whole["buckets"].as_array().unwrap() {
        let lines = bucket["lines"].as_u64().unwrap();
        assert!((9..=11).contains(&lines), "{whole}");
        assert!(bucket.get("offset").is_none() && whole.get("generation").is_none(), "{whole}");
    }
    let part = format!("history=1&since={}&until={}", stamp(15), stamp(32));
    let part = counted(&server, &asked(&part)).await;
    assert_eq!(sums(&part), [17, 1, 2], "{part}");
    let end = json!((T + 32) * 1000 - 1);
    assert_eq!((&part["first"], &part["last"]), (&at(15), &end), "{part}");
    // Without the history, only the present file has lines.
    assert_eq!(sums(&counted(&server, &asked("buckets=3")).await), [10, 1, 1]);
    // So is what comes after a rotation, also late in the file that lost the name.
    let mut viewer = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
    viewer.read_until("INFO 39\n").await;
    for (from, to) in [("3", "4"), ("2.gz", "3.gz"), ("1", "2"), ("", "1")] {
        let path = |ending: &str| match ending {
            "" => server.path("a.log"),
            ending => server.path(&format!("a.log.{ending}")),
        };
        std::fs::rename(path(from), path(to)).unwrap();
    }
    server.log("a.log", numbered(40, 44));
    let sum = async |expected: [u64; 3]| {
        crate::servers::eventually("all lines are counted", async || {
            let answer = ask(&server, &asked("history=1&buckets=3")).await;
            let is_all = answer["exact"] == true && sums(&answer) == expected;
            if is_all { Ok(()) } else { Err(answer) }
        })
        .await;
    };
    sum([34, 4, 3]).await;
    append(&newer, format!("{} ERROR late\n", stamp(39)));
    sum([35, 5, 3]).await;
}
