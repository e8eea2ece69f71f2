//! Rows of several logs as one sequence, by the times of their lines.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::clients::{Streaming, get};
use crate::servers::{TestServer, append, eventually};

/// 2026-11-28T14:02:00Z in milliseconds.
const T: i64 = 1_795_874_520_000;

/// A line with the time of so many milliseconds after [`T`].
fn line(after: i64, text: &str) -> String {
    let time = T + after;
    format!("{}.{:03} {text}\n", time.div_euclid(1000), time.rem_euclid(1000))
}

async fn ask(server: &TestServer, query: &str) -> Value {
    let answer = get(server.address, &format!("/_/merged-rows?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Each row as its log and what follows the time.
fn rows(answer: &Value) -> Vec<(u64, String)> {
    let rows = answer["rows"].as_array().unwrap().iter().zip(answer["of"].as_array().unwrap());
    rows.map(|(row, of)| {
        let log = answer["files"][of.as_u64().unwrap() as usize]["log"].as_u64().unwrap();
        let text = row[1].as_str().unwrap();
        (log, text.split_once(' ').map_or(text, |(_, rest)| rest).to_owned())
    })
    .collect()
}

/// All rows, page by page: the first request, then from where each log was left.
async fn all(server: &TestServer, logs: &[&str], common: &str, is_up: bool) -> Vec<(u64, String)> {
    let (side, parameter) = if is_up { ("from", "before") } else { ("next", "from") };
    let begin = logs.iter().map(|log| format!("&log={log}")).collect::<String>();
    let last = if is_up { "&last=1" } else { "" };
    let mut query = format!("{common}{last}{begin}");
    let mut pages = Vec::new();
    loop {
        let answer = ask(server, &query).await;
        pages.push(rows(&answer));
        if answer[if is_up { "at_start" } else { "at_end" }] == true {
            break;
        }
        let place = |(log, at): (&&str, &Value)| {
            let Value::String(generation) = &at[side]["generation"] else { panic!("{at}") };
            format!("&log={log}&generation={generation}&{parameter}={}", at[side]["offset"])
        };
        let places: String =
            logs.iter().zip(answer["logs"].as_array().unwrap()).map(place).collect();
        let next = format!("{common}{places}");
        assert_ne!(next, query, "{answer}");
        query = next;
    }
    if is_up {
        pages.reverse();
    }
    pages.concat()
}

#[tokio::test]
async fn rows_of_several_logs_with_their_old_files_are_one_sequence_in_both_directions() {
    let server = TestServer::start().await;
    let numbered = |from: i64, to: i64, step: i64, name: &str| {
        (from..to).map(|nth| line(nth * step, &format!("{name} {nth}"))).collect::<String>()
    };
    server.log("one.log.1", numbered(0, 300, 20, "one"));
    let one = server.log("one.log", numbered(300, 400, 20, "one") + "  of one 399\n");
    let two = server.log("two.log", numbered(0, 260, 31, "two"));
    let mut expected: Vec<(i64, u64, String)> = Vec::new();
    expected.extend((0..400).map(|nth| (nth * 20, 0, format!("one {nth}"))));
    expected.push((399 * 20, 0, " of one 399".to_owned()));
    expected.extend((0..260).map(|nth| (nth * 31, 1, format!("two {nth}"))));
    expected.sort_by_key(|(time, log, _)| (*time, *log));
    let expected: Vec<(u64, String)> =
        expected.into_iter().map(|(_, log, text)| (log, text)).collect();
    for count in [7, 64, 2000] {
        let common = format!("count={count}&history=1");
        for is_up in [false, true] {
            let found = all(&server, &[&one, &two], &common, is_up).await;
            assert_eq!(found.len(), expected.len(), "{count} {is_up}");
            let differs = found.iter().zip(&expected).position(|(row, wanted)| row != wanted);
            assert_eq!(differs, None, "{count} {is_up}: {:?}", differs.map(|at| &found[at]));
        }
    }
    // Only what passes.
    let filtered: Vec<(u64, String)> =
        expected.iter().filter(|(_, text)| text.ends_with('7')).cloned().collect();
    for is_up in [false, true] {
        let common = "count=5&history=1&filter=1&q=7%24&regex=1";
        assert_eq!(all(&server, &[&one, &two], common, is_up).await, filtered, "{is_up}");
    }
    // Without the old files, one begins later.
    let present = all(&server, &[&one, &two], "count=50", false).await;
    assert_eq!(present.len(), expected.len() - 300);
}

#[tokio::test]
async fn rows_of_several_logs_are_those_of_a_span_of_time() {
    let server = TestServer::start().await;
    let numbered = |from: i64, to: i64, step: i64, ahead: i64, name: &str| {
        let line = |nth| line(nth * step + ahead, &format!("{name} {nth}")) + "  more\n";
        (from..to).map(line).collect::<String>()
    };
    server.log("one.log.2", numbered(0, 60, 20, 0, "one"));
    server.log("one.log.1", numbered(60, 150, 20, 0, "one"));
    let one = server.log("one.log", numbered(150, 200, 20, 0, "one"));
    // Its clock is an hour ahead.
    let two = server.log("two.log", numbered(0, 130, 31, 3_600_000, "two"));
    let (one_shifted, two_shifted) = (one.as_str(), format!("{two}&shift=-3600000"));
    let mut lines: Vec<(i64, u64, String)> = Vec::new();
    lines.extend((0..200).map(|nth| (nth * 20, 0, format!("one {nth}"))));
    lines.extend((0..130).map(|nth| (nth * 31, 1, format!("two {nth}"))));
    lines.sort();
    let seconds = |after: i64| format!("{}.{:03}", (T + after) / 1000, after % 1000);
    // Within one file, from file to file, from the first line on, behind the last one, without a line.
    for (since, until) in
        [(1300, 1500), (700, 3600), (0, 1200), (-5000, 500), (3000, 90_000), (3100, 3100)]
    {
        let range = format!("since={}&until={}", seconds(since), seconds(until));
        let in_span = lines.iter().filter(|(time, ..)| (since..until).contains(time));
        let expected: Vec<(u64, String)> = in_span
            .flat_map(|(_, log, text)| [(*log, text.clone()), (*log, " more".to_owned())])
            .collect();
        let logs = [one_shifted, &two_shifted];
        // A page has a few rows, or most of them.
        for count in [expected.len() / 12 + 3, 2000] {
            let common = format!("count={count}&history=1&{range}");
            for is_up in [false, true] {
                let found = all(&server, &logs, &common, is_up).await;
                let differs = found.iter().zip(&expected).position(|(row, wanted)| row != wanted);
                assert_eq!(differs, None, "{common} {is_up}");
                assert_eq!(found.len(), expected.len(), "{common} {is_up}");
            }
        }
        let filtered: Vec<(u64, String)> =
            expected.iter().filter(|(_, text)| text.ends_with('7')).cloned().collect();
        for is_up in [false, true] {
            let common = format!("count=5&history=1&filter=1&q=7%24&regex=1&{range}");
            assert_eq!(all(&server, &logs, &common, is_up).await, filtered, "{common} {is_up}");
        }
        // The present files alone.
        let present = format!("{range}&log={one_shifted}&log={two_shifted}");
        let is_there = |row: &&(u64, String)| {
            let nth = row.1.strip_prefix("one ").and_then(|nth| nth.parse::<i64>().ok());
            nth.is_some_and(|nth| nth >= 150)
        };
        let wanted = expected.iter().filter(is_there).count();
        let found = rows(&ask(&server, &present).await);
        assert_eq!(found.iter().filter(is_there).count(), wanted, "{present}");
        // A place that is outside leads to the nearest end.
        let early = format!("history=1&{range}&time={}", seconds(-9000));
        let logs = format!("log={one_shifted}&log={two_shifted}");
        let found = rows(&ask(&server, &format!("{early}&count=2000&{logs}")).await);
        // Of several files, an answer may have the first ones alone.
        assert_eq!(found.first(), expected.first(), "{early}");
        assert!(expected.starts_with(&found), "{early}");
        let late =
            ask(&server, &format!("history=1&{range}&time={}&{logs}", seconds(95_000))).await;
        assert_eq!((rows(&late).len(), &late["at_end"]), (0, &Value::Bool(true)), "{late}");
    }
}

#[tokio::test]
async fn a_stream_goes_on_behind_a_span_only_where_the_log_ends_with_it() {
    let server = TestServer::start().await;
    let one = server.log("one.log", line(0, "a") + &line(2000, "c"));
    let two = server.log("two.log", line(1000, "b"));
    let until = |seconds: i64| format!("last=1&until={}&log={one}&log={two}", T / 1000 + seconds);
    for history in ["", "history=1&"] {
        let past = ask(&server, &format!("{history}{}", until(2))).await;
        assert_eq!(rows(&past), [(0, "a".to_owned()), (1, "b".to_owned())], "{past}");
        assert_eq!((&past["logs"][0]["live"], &past["at_end"]), (&Value::Null, &Value::Bool(true)));
        assert_eq!(past["logs"][1]["live"]["offset"], 17, "{past}");
        let future = ask(&server, &format!("{history}{}", until(3))).await;
        assert_eq!(future["logs"][0]["live"]["offset"], 34, "{future}");
    }
}

#[tokio::test]
async fn a_page_begins_at_a_time_by_the_right_clock_of_each_log() {
    let server = TestServer::start().await;
    let one = server.log("one.log", line(0, "a") + &line(2000, "c") + &line(4000, "e"));
    // Its clock is an hour ahead.
    let two = server.log("two.log", line(3_601_000, "b") + &line(3_603_000, "d"));
    let shifted = format!("log={one}&log={two}&shift=-3600000");
    let answer = ask(&server, &shifted).await;
    let texts = |answer: &Value| rows(answer).into_iter().map(|(_, text)| text).collect::<String>();
    assert_eq!(texts(&answer), "abcde");
    let times: Vec<i64> =
        answer["times"].as_array().unwrap().iter().map(|time| time.as_i64().unwrap() - T).collect();
    assert_eq!(times, [0, 1000, 2000, 3000, 4000]);
    assert_eq!(answer["times"], answer["keys"]);
    assert_eq!(texts(&ask(&server, &format!("log={one}&log={two}")).await), "acebd");
    let from = |after: i64| format!("time={}.{:03}&{shifted}", (T + after) / 1000, after % 1000);
    assert_eq!(texts(&ask(&server, &from(2000)).await), "cde");
    assert_eq!(texts(&ask(&server, &from(2001)).await), "de");
    let late = ask(&server, &from(4001)).await;
    assert_eq!((texts(&late).as_str(), &late["at_end"]), ("", &Value::Bool(true)));
    // What is before that place comes by the positions of the answer.
    let at = |log: usize| late["logs"][log]["from"]["offset"].clone();
    let before =
        format!("count=2&log={one}&before={}&log={two}&before={}&shift=-3600000", at(0), at(1));
    assert_eq!(texts(&ask(&server, &before).await), "de");
}

#[tokio::test]
async fn an_answer_says_where_streams_go_on_and_which_logs_are_missing() {
    let server = TestServer::start().await;
    let one = server.log("one.log", line(0, "a") + &line(1000, "b"));
    let two = server.log("two.log", line(500, "c") + "1795874522.000 half");
    let none = one.replace("one.log", "none.log");
    let answer =
        ask(&server, &format!("last=1&log={none}&log={one}&log=/etc/passwd&log={two}")).await;
    assert_eq!(answer["logs"][0]["error"], "not-found", "{answer}");
    assert_eq!(answer["logs"][2]["error"], "forbidden", "{answer}");
    let texts: Vec<(u64, String)> = rows(&answer);
    let wanted =
        [(1, "a"), (3, "c"), (1, "b"), (3, "half")].map(|(log, text)| (log, text.to_owned()));
    assert_eq!(texts, wanted);
    let live = |log: usize| {
        (answer["logs"][log]["live"]["offset"].clone(), answer["logs"][log]["key"].clone())
    };
    assert_eq!(live(1), (34.into(), (T + 1000).into()));
    // The last row may grow, so a stream has it again.
    assert_eq!(live(3), (17.into(), (T + 500).into()));
    let generation = answer["logs"][3]["live"]["generation"].as_str().unwrap();
    append(&two, " and whole\n");
    let rest = format!("{two}?from=17&generation={generation}&format=text");
    let rest = get(server.address, &rest, &[]).await.text();
    assert_eq!(rest, "1795874522.000 half and whole\n");
    for (query, named) in
        [("", "`log`"), ("log=/a&line=3", "`line`"), ("log=/a&filter=1&q=(&regex=1", "pattern")]
    {
        let answer = get(server.address, &format!("/_/merged-rows?{query}"), &[]).await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text().contains(named), "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn arrival_orders_logs_that_say_no_times() {
    let server = TestServer::start().await;
    let one = server.log("one.log", "old of one\n");
    let two = server.log("two.log", "old of two\n");
    let query = format!("log={one}&log={two}");
    let said = ask(&server, &query).await;
    assert_eq!(said["keys"], serde_json::json!([null, null]), "{said}");
    assert_eq!(said["logs"][0]["timed"], false, "{said}");
    let timed = server.log("timed.log", line(0, "a"));
    let said = ask(&server, &format!("log={timed}&log={one}")).await;
    assert_eq!(
        (&said["logs"][0]["timed"], &said["logs"][1]["timed"]),
        (&true.into(), &false.into())
    );
    // They are followed while somebody views them.
    let mut viewers = Vec::new();
    for (log, last) in [(&one, "old of one\n"), (&two, "old of two\n")] {
        let mut stream = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
        stream.read_until(last).await;
        viewers.push(stream);
    }
    for (nth, log, line) in [(1, &two, "first\n"), (0, &one, "second\n"), (1, &two, "third\n")] {
        append(log, line);
        viewers[nth].read_until(line).await;
        // The times of arrivals have a grain.
        let arrived = SystemTime::now();
        eventually("another moment has begun", async || match arrived.elapsed().unwrap() {
            since if since > Duration::from_millis(120) => Ok(()),
            since => Err(since),
        })
        .await;
    }
    let order: Vec<u64> = rows(&ask(&server, &query).await).into_iter().map(|row| row.0).collect();
    assert_eq!(order, [0, 1, 1, 0, 1]);
}

#[tokio::test]
async fn a_pattern_is_one_of_the_logs() {
    let server = TestServer::start().await;
    server.log("app-2026-11-27.log", line(0, "yesterday"));
    server.log("app-2026-11-28.log", line(1000, "a") + &line(3000, "c"));
    let other = server.log("other.log", line(2000, "b"));
    let pattern = other.replace("other.log", "app-*.log");
    let answer = ask(&server, &format!("log={pattern}&log={other}")).await;
    let texts: Vec<String> = rows(&answer).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["a", "b", "c"], "{answer}");
}

#[tokio::test]
async fn a_place_in_a_file_that_is_gone_is_before_what_is_left() {
    let server = TestServer::start().await;
    let one = server.log("one.log", line(0, "a") + &line(2000, "c"));
    let two = server.log("two.log", line(1000, "b"));
    let gone = "log={}&generation=1-2-3-4-5".replace("{}", &one);
    for history in ["", "history=1&"] {
        let forward = ask(&server, &format!("{history}{gone}&from=7&log={two}")).await;
        let texts: Vec<String> = rows(&forward).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["a", "b", "c"], "{history}");
        let backward = ask(&server, &format!("{history}last=1&{gone}&before=7&log={two}")).await;
        assert_eq!(backward["logs"][0]["error"], "gone", "{history}: {backward}");
        assert_eq!(rows(&backward), [(1, "b".to_owned())], "{history}");
    }
}

#[tokio::test]
async fn rows_of_several_logs_are_filtered_and_found_by_their_fields() {
    let server = TestServer::start().await;
    server.log("one.log.1", line(0, "status=503 path=/old") + &line(1000, "status=200"));
    let one = server
        .log("one.log", line(2000, "{\"status\":500,\"path\":\"/a\"}") + &line(4000, "status=404"));
    let two = server.log("two.log", line(3000, "status=502 path=/b") + &line(5000, "no fields"));
    let rows_of = |rows: &[(u64, &str)]| -> Vec<(u64, String)> {
        rows.iter().map(|(log, text)| (*log, (*text).to_owned())).collect()
    };
    let [old, new, other] = [
        (0, "status=503 path=/old"),
        (0, "{\"status\":500,\"path\":\"/a\"}"),
        (1, "status=502 path=/b"),
    ];
    for (query, expected) in [
        ("where=status%3E%3D500&history=1", &[old, new, other][..]),
        ("where=status%3E%3D500", &[new, other]),
        ("where=status%3E%3D500+path%3A%2Fb&history=1", &[other]),
        ("where=status&history=1&q=%2F&invert=1", &[(0, "status=200"), (0, "status=404")]),
    ] {
        for (is_up, count) in [(false, 1), (true, 1), (false, 9), (true, 9)] {
            let common = format!("filter=1&format=text&count={count}&{query}");
            let found = all(&server, &[&one, &two], &common, is_up).await;
            assert_eq!(found, rows_of(expected), "{common} {is_up}");
        }
    }
    for (query, told) in [("where=", "write one as"), ("where=status%3E", "a value is missing")] {
        let refused = async |target: String| {
            let answer = get(server.address, &format!("{target}filter=1&{query}"), &[]).await;
            assert_eq!(answer.status, 400, "{target} {query}");
            answer.text()
        };
        let said = refused(format!("/_/merged-rows?log={one}&log={two}&")).await;
        assert!(said.contains(told), "{query}: {said}");
        assert_eq!(said, refused(format!("/_/rows{one}?")).await, "{query}");
    }
}
