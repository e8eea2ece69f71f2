//! Names with wildcards: the newest file that matches is followed, and the next one after it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tailcast::log::Access;
use tailcast::serve::Settings;
use tempfile::TempDir;

use crate::checked_viewer::{CheckedViewer, Mode, Writer, in_both_modes};
use crate::clients::{A_MOMENT, Streaming, Viewer, get};
use crate::servers::{TestServer, append, pace, target};
use crate::tail::Tail;

in_both_modes! {
    the_next_day_begins_after_the_last_line_of_the_day_before,
    days_that_come_at_once_are_sent_in_order,
    an_older_file_that_is_touched_written_or_made_again_does_not_turn_the_log_back,
    a_writer_that_goes_on_with_yesterdays_file_is_heard,
    a_file_that_is_renamed_to_a_newer_name_is_followed,
    after_the_newest_file_is_removed_the_log_goes_on_at_the_end_of_the_one_before,
}

/// The target of a pattern in the served directory.
fn pattern(server: &TestServer, name: &str) -> String {
    target(&server.path(name))
}

fn day(server: &TestServer, day: u32) -> PathBuf {
    server.path(&format!("app-2026-11-{day:02}.log"))
}

async fn the_next_day_begins_after_the_last_line_of_the_day_before(mode: Mode) {
    let server = mode.server().await;
    append(day(&server, 26), "two days ago\n");
    append(day(&server, 27), "yesterday\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    viewer.read_until("yesterday\n").await;
    append(day(&server, 27), "last\n");
    append(day(&server, 28), "today\n");
    viewer.read_until("today\n").await;
    append(day(&server, 28), "more\n");
    viewer.read_until("more\n").await;
    viewer.assert_events(&[("open", 0, "yesterday\nlast\n"), ("rotated", 0, "today\nmore\n")]);
}

async fn days_that_come_at_once_are_sent_in_order(mode: Mode) {
    let server = mode.server().await;
    append(day(&server, 1), "1\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    for number in 2..=9 {
        append(day(&server, number), format!("{number}\n"));
    }
    viewer.read_until("9\n").await;
    let contents: Vec<String> = (1..=9).map(|number| format!("{number}\n")).collect();
    let mut story: Vec<_> = contents.iter().map(|content| ("rotated", 0, &**content)).collect();
    story[0].0 = "open";
    viewer.assert_events(&story);
}

async fn an_older_file_that_is_touched_written_or_made_again_does_not_turn_the_log_back(
    mode: Mode,
) {
    let server = mode.server().await;
    for number in 24..=28 {
        append(day(&server, number), format!("{number}\n"));
    }
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    viewer.read_until("28\n").await;
    let touched = File::options().append(true).open(day(&server, 27)).unwrap();
    touched.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
    append(day(&server, 26), "written\n");
    std::fs::remove_file(day(&server, 25)).unwrap();
    append(day(&server, 25), "made again\n");
    append(day(&server, 23), "new, but old\n");
    append(day(&server, 28), "more\n");
    viewer.read_until("more\n").await;
    // Nothing else may come, even after a look at the directory.
    pace(A_MOMENT).await;
    append(day(&server, 29), "next\n");
    viewer.read_until("next\n").await;
    viewer.assert_events(&[("open", 0, "28\nmore\n"), ("rotated", 0, "next\n")]);
}

async fn a_writer_that_goes_on_with_yesterdays_file_is_heard(mode: Mode) {
    let server = mode.server().await;
    append(day(&server, 27), "yesterday\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    append(day(&server, 28), "today\n");
    viewer.read_until("today\n").await;
    append(day(&server, 27), "late\n");
    viewer.read_until_event("back").await;
    append(day(&server, 28), "more\n");
    viewer.read_until("more\n").await;
    viewer.assert_events(&[
        ("open", 0, "yesterday\n"),
        ("rotated", 0, "today\n"),
        ("late", 10, "late\n"),
        ("back", 6, "more\n"),
    ]);
}

async fn a_file_that_is_renamed_to_a_newer_name_is_followed(mode: Mode) {
    let server = mode.server().await;
    append(day(&server, 27), "yesterday\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    viewer.read_until("yesterday\n").await;
    append(server.path("app.tmp"), "today\n");
    std::fs::rename(server.path("app.tmp"), day(&server, 28)).unwrap();
    viewer.read_until("today\n").await;
    // The file of today is rotated by its size, too.
    std::fs::rename(day(&server, 28), server.path("app-2026-11-28.log.1")).unwrap();
    append(day(&server, 28), "second\n");
    viewer.read_until("second\n").await;
    viewer.assert_events(&[
        ("open", 0, "yesterday\n"),
        ("rotated", 0, "today\n"),
        ("rotated", 0, "second\n"),
    ]);
}

async fn after_the_newest_file_is_removed_the_log_goes_on_at_the_end_of_the_one_before(mode: Mode) {
    let settings = Settings { rotate_wait: A_MOMENT, ..Settings::default() };
    let server = mode.server_with(settings).await;
    append(day(&server, 27), "never sent\n");
    // The name of a day that never comes.
    let wrong = server.path("app-2062-11-28.log");
    append(&wrong, "wrong\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    viewer.read_until("wrong\n").await;
    std::fs::remove_file(&wrong).unwrap();
    viewer.read_until_event("back").await;
    append(day(&server, 27), "more\n");
    viewer.read_until("more\n").await;
    append(day(&server, 28), "today\n");
    viewer.read_until("today\n").await;
    // It waits only until the older file is found, and a busy viewer may not notice.
    viewer.segments.retain(|segment| segment.event != "waiting missing");
    viewer.assert_events(&[
        ("open", 0, "wrong\n"),
        ("back", 11, "more\n"),
        ("rotated", 0, "today\n"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_tells_of_the_next_file() {
    let server = TestServer::start().await;
    append(day(&server, 1), "first\n");
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    viewer.read_until("first\n").await;
    let mut number = 1;
    let next = |line: &str| {
        number += 1;
        append(day(&server, number), line);
    };
    viewer.assert_prompt(next).await;
}

/// A server for a directory that outlives it.
async fn server_over(directory: &Path) -> TestServer {
    let access = Access::new([directory]).unwrap();
    TestServer::over(tempfile::tempdir().unwrap(), access, Settings::default()).await
}

#[tokio::test]
async fn a_viewer_that_comes_back_days_later_gets_every_file_since() {
    let directory = tempfile::tempdir().unwrap();
    let path = |day: u32| directory.path().join(format!("app-2026-11-{day}.log"));
    let log = target(&directory.path().join("app-*.log"));
    // A file of less than 64 bytes can't be recognised by its content.
    let line = |day: u32| {
        format!("line of day {day}, which is long enough for a proof that the file is this one\n")
    };
    append(path(20), "too old\n");
    append(path(21), line(21));
    let first = server_over(directory.path()).await;
    let mut viewer = CheckedViewer::from_start(&first, &log).await;
    viewer.read_until(line(21)).await;
    let last = viewer.segments.last().unwrap();
    let query = format!("&from={}&generation={}", last.bytes.len(), last.generation);
    drop(viewer);
    first.stop().await.unwrap();
    append(path(21), "rest\n");
    for day in 22..=28 {
        append(path(day), line(day));
    }
    // Neither the time of the last write nor that of the creation decides.
    std::fs::remove_file(path(23)).unwrap();
    append(path(23), line(23));
    let second = server_over(directory.path()).await;
    let mut viewer = CheckedViewer::open(second.address, &log, &query).await;
    viewer.read_until(line(28)).await;
    append(path(28), "more\n");
    viewer.read_until("more\n").await;
    let mut contents: Vec<String> = (22..=28).map(line).collect();
    contents[6] += "more\n";
    let mut story = vec![("open", line(21).len() as u64, "rest\n")];
    story.extend(contents.iter().map(|content| ("rotated", 0, &**content)));
    viewer.assert_events(&story);
}

#[tokio::test]
async fn a_position_in_an_earlier_file_is_resumed_while_the_log_is_followed() {
    let server = TestServer::start().await;
    let log = pattern(&server, "app-*.log");
    append(day(&server, 27), "yesterday\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("yesterday\n").await;
    let generation = viewer.segments[0].generation.clone();
    append(day(&server, 28), "today\n");
    viewer.read_until("today\n").await;
    let query = format!("&from=4&generation={generation}");
    let mut again = CheckedViewer::open(server.address, &log, &query).await;
    again.read_until("today\n").await;
    again.assert_events(&[("open", 4, "erday\n"), ("rotated", 0, "today\n")]);
    let id = format!("{generation}:4");
    let headers = [("accept", "text/event-stream"), ("last-event-id", id.as_str())];
    let target = format!("{log}?tail=1&format=text");
    let mut events = Streaming::get(server.address, &target, &headers).await;
    let body = events.read_until("\"today\"]]}\n\n").await;
    assert!(body.contains("\"recovered\":true") && body.contains("\"rotated\""), "{body}");
}

#[tokio::test]
async fn a_file_with_a_wildcard_in_its_name_is_reached_by_that_name() {
    let server = TestServer::start().await;
    append(server.path("a*.log"), "the star\n");
    append(server.path("a?.log"), "the question mark\n");
    append(server.path("ab.log"), "a match\n");
    append(server.path("c.log"), "another match\n");
    let body = async |name: &str| {
        let answer = get(server.address, &pattern(&server, name), &[]).await;
        (answer.status, answer.text())
    };
    let found = |text: &str| (200, text.to_owned());
    assert_eq!(body("a*.log").await, found("the star\n"));
    assert_eq!(body("a%2A.log").await, found("the star\n"));
    assert_eq!(body("a%3F.log").await, found("the question mark\n"));
    assert_eq!(body("c%2A").await.0, 404, "it is encoded, so it is no wildcard");
    assert_eq!(body("c*").await, found("another match\n"));
    assert_eq!(body("%3F.log").await, found("another match\n"));
}

#[tokio::test]
async fn a_match_that_leads_outside_is_skipped_and_never_read() {
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.log");
    append(&secret, "secret\n");
    let server = TestServer::start().await;
    append(day(&server, 27), "yesterday\n");
    std::os::unix::fs::symlink(&secret, day(&server, 28)).unwrap();
    std::fs::create_dir(day(&server, 29)).unwrap();
    let log = pattern(&server, "app-*.log");
    assert_eq!(get(server.address, &log, &[]).await.text(), "yesterday\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("yesterday\n").await;
    std::os::unix::fs::symlink(&secret, day(&server, 30)).unwrap();
    append(server.path("app-2026-12-01.log"), "inside\n");
    viewer.read_until("inside\n").await;
    viewer.assert_events(&[("open", 0, "yesterday\n"), ("rotated", 0, "inside\n")]);
    let only = pattern(&server, "app-2026-11-*8.log");
    assert_eq!(get(server.address, &only, &[]).await.status, 404);
    let parent = outside.path().join("*.log");
    assert_eq!(get(server.address, &target(&parent), &[]).await.status, 403);
    std::os::unix::fs::symlink(outside.path(), server.path("way")).unwrap();
    let way = pattern(&server, "way/*.log");
    assert_eq!(get(server.address, &way, &[]).await.status, 403, "a directory that leads outside");
}

#[tokio::test]
async fn a_bad_pattern_gets_400_with_the_reason() {
    let server = TestServer::start().await;
    append(server.path("a.log"), "a\n");
    let above = target(server.directory.path());
    for (target, reason) in [
        (format!("{above}/d*/a.log"), "directory"),
        (format!("{above}/a*/"), "directory"),
        (format!("{above}/**.log"), "`**`"),
        (format!("/_/rows{above}/d*/a.log"), "directory"),
        (format!("/_/find{above}/**?q=a"), "`**`"),
    ] {
        let answer = get(server.address, &target, &[]).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        assert!(answer.text().contains(reason), "{target}: {}", answer.text());
    }
    let upgrade = Viewer::connect(server.address, &format!("{above}/d*/a.log"), &[]).await;
    match upgrade.err() {
        Some(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status(), 400)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pattern_without_a_match_is_a_log_that_does_not_exist() {
    let server = TestServer::start().await;
    let log = pattern(&server, "app-*.log");
    assert_eq!(get(server.address, &log, &[]).await.status, 404);
    assert_eq!(get(server.address, &format!("/_/rows{log}"), &[]).await.status, 404);
    let page = get(server.address, &log, &[("accept", "text/html")]).await;
    assert_eq!(page.status, 404);
    let mut refused = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert!(refused.text().await.contains("Not found"));
    let mut waiting = CheckedViewer::start(server.address, &log, "&lines=all").await;
    waiting.read_until_event("waiting missing").await;
    append(day(&server, 28), "first\n");
    waiting.read_until("first\n").await;
    assert_eq!(waiting.segments.last().unwrap().from, 0);
}

#[tokio::test]
async fn names_without_a_date_go_by_the_time_of_their_creation() {
    let server = TestServer::start().await;
    let born = |name: &str| server.path(name).metadata().unwrap().created().unwrap();
    let mut last = SystemTime::UNIX_EPOCH;
    let mut create = |name: &str| {
        // The clock of a file system has ticks: a file is made again until it is younger.
        while server.path(name).metadata().is_err() || born(name) <= last {
            std::fs::remove_file(server.path(name)).ok();
            append(server.path(name), format!("{name}\n"));
        }
        last = born(name);
    };
    create("app-zebra.log");
    create("app-ant.log");
    let log = pattern(&server, "app-*.log");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("app-ant.log\n").await;
    create("app-10.log");
    viewer.read_until("app-10.log\n").await;
    create("app-9.log");
    viewer.read_until("app-9.log\n").await;
    append(day(&server, 1), "a date\n");
    viewer.read_until("a date\n").await;
    create("app-copy.log");
    append(day(&server, 1), "more\n");
    viewer.read_until("more\n").await;
    create("app-2026-11-01-second.log");
    viewer.read_until("app-2026-11-01-second.log\n").await;
    let names: Vec<_> = viewer.events().into_iter().map(|(_, _, bytes)| bytes).collect();
    let wanted = [
        "app-ant.log\n",
        "app-10.log\n",
        "app-9.log\n",
        "a date\nmore\n",
        "app-2026-11-01-second.log\n",
    ];
    assert_eq!(names, wanted);
}

#[tokio::test]
async fn rows_lines_text_and_find_are_of_the_newest_file_or_of_a_generation() {
    let server = TestServer::start().await;
    let log = pattern(&server, "app-*.log");
    append(day(&server, 27), "old one\nold two\n");
    let rows = async |query: &str| {
        let answer = get(server.address, &format!("/_/rows{log}?{query}"), &[]).await;
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let old = rows("").await;
    assert_eq!(old["rows"][1][1], "old two");
    let generation = old["generation"].as_str().unwrap();
    append(day(&server, 28), "new\n");
    assert_eq!(rows("").await["rows"], serde_json::json!([[0, "new"]]));
    let again = rows(&format!("generation={generation}")).await;
    assert_eq!(again["rows"][1][1], "old two", "{again}");
    let text = async |call: &str| get(server.address, call, &[]).await.text();
    assert_eq!(text(&format!("/_/text{log}")).await, "new\n");
    assert!(text(&format!("/_/find{log}?q=new")).await.contains("\"matches\":1"));
    assert!(text(&format!("/_/find{log}?q=old")).await.contains("\"matches\":0"));
    let lines = text(&format!("/_/lines{log}?at=0")).await;
    assert!(lines.contains("lines"), "{lines}");
    assert_eq!(text(&log).await, "new\n");
}

#[tokio::test]
async fn a_dated_file_is_told_from_the_newest_one_of_its_kind() {
    let server = TestServer::start().await;
    let newer = async |name: &str| {
        let answer = get(server.address, &format!("/_/newer{}", pattern(&server, name)), &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let newer: Value = serde_json::from_slice(&answer.body).unwrap();
        let name = |of: &str| {
            let href = newer[of]["href"].as_str()?;
            Some(href.strip_prefix(&pattern(&server, ""))?.to_owned())
        };
        (name("newest"), name("pattern"))
    };
    let found = |newest: &str, pattern: &str| (Some(newest.to_owned()), Some(pattern.to_owned()));
    append(day(&server, 27), "yesterday\n");
    assert_eq!(newer("app-2026-11-27.log").await, (None, None));
    append(day(&server, 28), "today\n");
    append(server.path("app-2026-11-29.log.gz"), "compressed\n");
    append(server.path("zzz.log"), "no date\n");
    let today = "app-2026-11-28.log";
    assert_eq!(newer("app-2026-11-27.log").await, found(today, "app-*.log"));
    assert_eq!(newer("app-2026-11-26.log").await, found(today, "app-*.log"), "it is gone");
    assert_eq!(newer(today).await, (None, None));
    assert_eq!(newer("zzz.log").await, (None, None));
    assert_eq!(newer("app-*.log").await, (None, None));
    append(server.path("app-error-2026-11-29.log"), "another kind\n");
    let digits = "app-%3F%3F%3F%3F-%3F%3F-%3F%3F.log";
    assert_eq!(newer("app-2026-11-27.log").await, found(today, digits));
    assert_eq!(get(server.address, &pattern(&server, digits), &[]).await.text(), "today\n");
    let outside = get(server.address, "/_/newer/etc/app-2026-11-27.log", &[]).await;
    assert_eq!(outside.status, 403);
}

#[tokio::test]
async fn plain_viewers_see_a_seamless_stream() {
    let server = TestServer::start().await;
    let log = pattern(&server, "app-*.log");
    append(day(&server, 27), "yesterday\n");
    let mut original = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    let mut curl = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
    let accept = [("accept", "text/event-stream")];
    let mut events = Streaming::get(server.address, &format!("{log}?format=text"), &accept).await;
    let mut tailed =
        Streaming::get(server.address, &format!("{log}?tail=1&format=text"), &accept).await;
    assert_eq!(original.text_until("yesterday\n").await, "yesterday\n");
    curl.read_until("yesterday\n").await;
    while !tailed.body().contains("yesterday") {
        tailed.read_until("\n\n").await;
    }
    append(day(&server, 28), "today\n");
    assert_eq!(original.text_until("today\n").await, "today\n");
    assert_eq!(curl.read_until("today\n").await, "yesterday\ntoday\n");
    append(day(&server, 29), "tomorrow\n");
    assert_eq!(original.text_until("tomorrow\n").await, "tomorrow\n");
    assert_eq!(curl.read_until("tomorrow\n").await, "yesterday\ntoday\ntomorrow\n");
    tailed.read_until("\"tomorrow\"]]}\n\n").await;
    let resets = tailed.body().matches("\"reason\":\"rotated\"").count();
    assert_eq!(resets, 2, "{}", tailed.body());
    assert!(events.rest().await.contains("yesterday"));
}

#[tokio::test]
async fn tail_follows_a_pattern_on_this_machine_and_on_a_server() {
    let server = TestServer::start().await;
    append(day(&server, 26), "too old\n");
    append(day(&server, 27), "yesterday\n");
    let log = pattern(&server, "app-*.log");
    let url = format!("http://{}{log}", server.address);
    let tails = [Tail::start(&[&log]), Tail::start(&[&url])];
    for tail in &tails {
        tail.prints("yesterday\n").await;
    }
    append(day(&server, 27), "last\n");
    append(day(&server, 28), "today\n");
    append(day(&server, 29), "tomorrow\n");
    for tail in &tails {
        tail.prints("yesterday\nlast\ntoday\ntomorrow\n").await;
    }
    let question_marks = pattern(&server, "app-????-??-?7.log");
    Tail::start(&["--no-follow", &question_marks]).prints("yesterday\nlast\n").await;
}

#[tokio::test]
async fn tail_waits_for_the_first_match_and_refuses_a_bad_pattern() {
    let directory = TempDir::new().unwrap();
    let log = target(&directory.path().join("app-*.log"));
    let waiting = Tail::start(&["-F", &log]);
    waiting.says("waiting").await;
    append(directory.path().join("app-1.log"), "first\n");
    waiting.prints("first\n").await;
    let two_stars = target(&directory.path().join("**.log"));
    let mut refused = Tail::start(&[&two_stars]);
    assert_eq!(refused.wait().await.code(), Some(1));
    refused.says("hint: `**` does not search directories").await;
    let mut refused = Tail::start(&[&target(&directory.path().join("d*/a.log"))]);
    assert_eq!(refused.wait().await.code(), Some(1));
    refused.says("not of a directory's").await;
    append(&two_stars, "its name\n");
    Tail::start(&[&two_stars]).prints("its name\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_quick_days_lose_nothing() {
    let server = TestServer::start().await;
    let path = |number: u32| server.path(&format!("app-{:04}-01-01.log", 2000 + number));
    let mut files = vec![Writer::create(path(0))];
    let mut viewer = CheckedViewer::from_start(&server, &pattern(&server, "app-*.log")).await;
    for number in 1..=60 {
        files.last_mut().unwrap().append(format!("last of {}\n", number - 1));
        files.push(Writer::create(path(number)));
        files.last_mut().unwrap().append(format!("first of {number}\n"));
    }
    files.last_mut().unwrap().append("end\n");
    viewer.read_until("end\n").await;
    let came = viewer.assert_written_by(&files.iter().collect::<Vec<_>>());
    assert_eq!(came.len(), 61);
    for (&(file, _), &end) in &came {
        assert_eq!(end, files[file].now().len() as u64, "file {file} is not whole");
    }
}
