//! Following a file through what happens to it.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use tailcast::serve::Settings;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::{Rows, Viewer, get};
use crate::servers::{TestServer, append, eventually};

async fn viewer_of(server: &TestServer, log: &str) -> Viewer {
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0")).await;
    viewer.expect("open").await;
    viewer
}

/// Rows until one of them is this, and the resets before it.
async fn until_row(viewer: &mut Viewer, wanted: &str) -> (Vec<String>, Vec<String>) {
    let (mut resets, mut texts, mut rows) = (Vec::new(), Vec::new(), Rows::default());
    loop {
        let message = viewer.json().await;
        match message["type"].as_str().unwrap() {
            "reset" => {
                resets.push(message["reason"].as_str().unwrap().to_owned());
                texts.extend(rows.texts().into_iter().map(str::to_owned));
                rows = Rows::default();
            }
            "rows" => rows.apply(&message),
            "waiting" => resets.push(format!("waiting: {}", message["reason"].as_str().unwrap())),
            other => panic!("{other}: {message}"),
        }
        if rows.texts().last() == Some(&wanted) {
            texts.extend(rows.texts().into_iter().map(str::to_owned));
            return (texts, resets);
        }
    }
}

fn rename(from: &str, to: impl AsRef<Path>) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test]
async fn fifty_instant_rotations_lose_nothing() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "before\n");
    let mut viewer = viewer_of(&server, &log).await;
    let mut plain = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(plain.text().await, "before\n");
    for round in 0..50 {
        append(&log, format!("last of {round}\n"));
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, format!("first after {round}\n"));
    }
    append(&log, "end\n");
    let (texts, resets) = until_row(&mut viewer, "end").await;
    assert!(
        resets.iter().all(|reason| reason == "rotated" || reason == "late" || reason == "back"),
        "{resets:?}"
    );
    // However short the time for which a file had the name: events tell where it has gone.
    let mut expected = Vec::new();
    for round in 0..50 {
        expected.extend([format!("last of {round}"), format!("first after {round}")]);
    }
    expected.push("end".to_owned());
    assert_eq!(texts, expected, "{resets:?}");
    let all = expected.join("\n") + "\n";
    assert_eq!(plain.text_until("end\n").await, all);
}

#[tokio::test]
async fn slow_rotations_lose_nothing() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    for round in 0..10 {
        append(&log, format!("last of {round}\n"));
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, format!("first after {round}\n"));
        let (texts, resets) = until_row(&mut viewer, &format!("first after {round}")).await;
        assert_eq!(texts, [format!("last of {round}"), format!("first after {round}")]);
        assert_eq!(resets, ["rotated"]);
    }
}

#[tokio::test]
async fn a_late_writer_is_heard() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    let old = server.path("a.log.1");
    rename(&log, &old);
    append(&log, "new\n");
    until_row(&mut viewer, "new").await;
    append(&old, "late\n");
    let (texts, resets) = until_row(&mut viewer, "late").await;
    assert_eq!((texts, resets), (vec!["late".to_owned()], vec!["late".to_owned()]));
    append(&log, "more\n");
    let (texts, resets) = until_row(&mut viewer, "more").await;
    assert_eq!((texts, resets), (vec!["more".to_owned()], vec!["back".to_owned()]));
}

#[tokio::test]
async fn a_truncation_is_seen_even_after_a_refill() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\nthree\n");
    let mut viewer = viewer_of(&server, &log).await;
    for content in
        ["short\n", "a longer text than was there before the truncation\n", "twelve bytes\nsame\n"]
    {
        std::fs::write(&log, content).unwrap();
        let (texts, resets) = until_row(&mut viewer, content.lines().last().unwrap()).await;
        assert_eq!(texts, content.lines().collect::<Vec<_>>());
        assert_eq!(resets.last().map(String::as_str), Some("truncated"), "{content}");
    }
}

#[tokio::test]
async fn a_refill_with_the_same_head_is_seen_by_what_stands_before_the_offset() {
    let server = TestServer::start().await;
    let head = format!("{}\n", "the same banner at each start ".repeat(20));
    let log = server.log("a.log", format!("{head}first run\n"));
    let mut viewer = viewer_of(&server, &log).await;
    std::fs::write(&log, format!("{head}the second run, with more to say\nend\n")).unwrap();
    let (texts, resets) = until_row(&mut viewer, "end").await;
    assert_eq!(texts, [head.trim_end_matches('\n'), "the second run, with more to say", "end"]);
    assert_eq!(resets, ["truncated"]);
}

#[tokio::test]
async fn a_replaced_file_and_a_removed_one_are_told() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    let next = server.path("next");
    std::fs::write(&next, "renamed over\n").unwrap();
    std::fs::rename(&next, &log).unwrap();
    let (_, resets) = until_row(&mut viewer, "renamed over").await;
    assert_eq!(resets, ["replaced"]);
    std::fs::remove_file(&log).unwrap();
    assert_eq!(viewer.expect("waiting").await["reason"], "missing");
    std::fs::create_dir(&log).unwrap();
    assert_eq!(viewer.expect("waiting").await["reason"], "untailable");
    std::fs::remove_dir(&log).unwrap();
    append(&log, "back again\n");
    let (_, resets) = until_row(&mut viewer, "back again").await;
    assert_eq!(resets.last().map(String::as_str), Some("replaced"), "{resets:?}");
}

#[tokio::test]
async fn a_directory_that_is_made_again_is_watched_again() {
    let server = TestServer::start().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let log = server.log("sub/a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    append(&log, "new home\n");
    until_row(&mut viewer, "new home").await;
    assert!(median_delay(&log, &mut viewer).await < Duration::from_millis(300));
}

#[tokio::test]
async fn a_link_that_is_set_anew_is_followed() {
    let server = TestServer::start().await;
    for name in ["1", "2"] {
        std::fs::write(server.path(name), "").unwrap();
    }
    let link = server.path("current.log");
    std::os::unix::fs::symlink("1", &link).unwrap();
    let mut viewer = viewer_of(&server, link.to_str().unwrap()).await;
    append(server.path("1"), "from the first\n");
    until_row(&mut viewer, "from the first").await;
    std::os::unix::fs::symlink("2", server.path("new-link")).unwrap();
    std::fs::rename(server.path("new-link"), &link).unwrap();
    append(server.path("2"), "from the second\n");
    let (_, resets) = until_row(&mut viewer, "from the second").await;
    assert_eq!(resets, ["replaced"]);
}

#[tokio::test]
async fn a_write_without_an_event_is_seen_by_the_backstop() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let elsewhere = tempfile::tempdir_in(server.directory.path().parent().unwrap()).unwrap();
    let hard = elsewhere.path().join("hard");
    std::fs::hard_link(&log, &hard).unwrap();
    let mut viewer = viewer_of(&server, &log).await;
    append(&hard, "through another name\n");
    until_row(&mut viewer, "through another name").await;
}

#[tokio::test]
async fn a_storm_of_truncations_ends_at_the_last_line() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    let path = log.clone();
    let storm = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        for round in 0..10_000 {
            file.set_len(0).unwrap();
            std::os::unix::fs::FileExt::write_all_at(
                &file,
                format!("round {round}\n").as_bytes(),
                0,
            )
            .unwrap();
        }
    });
    let mut last = String::new();
    while last != "round 9999" {
        let message = viewer.json().await;
        if let Some(row) = message["rows"].as_array().and_then(|rows| rows.last()) {
            last = row[1].as_str().unwrap().to_owned();
        }
    }
    storm.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_a_burst_gets_all_of_it() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "start\n");
    let _watching = viewer_of(&server, &log).await;
    let block = "x".repeat((1 << 20) - 1) + "\n";
    for _ in 0..100 {
        append(&log, &block);
    }
    // The follower has not read all of it yet; the file has it all.
    let answer = get(server.address, &format!("{log}?lines=all&format=raw"), &[]).await;
    assert_eq!(answer.body.len(), "start\n".len() + 100 * block.len());
    let last = get(server.address, &format!("{log}?lines=1&format=raw"), &[]).await;
    assert_eq!(last.body.len(), block.len());
}

#[tokio::test]
async fn a_viewer_behind_in_an_old_file_that_is_cut_is_told() {
    let settings = Settings { rotate_wait: Duration::from_millis(100), ..Settings::default() };
    let server = TestServer::with(settings).await;
    let path = server.path("a.log");
    std::fs::write(&path, vec![b'x'; 30 << 20]).unwrap();
    let log = path.to_str().unwrap();
    let mut viewer =
        Viewer::v1(server.address, &format!("{log}?tail=1&lines=all&format=raw")).await;
    viewer.expect("open").await;
    let old = server.path("a.log.1");
    rename(log, &old);
    append(log, "new\n");
    let mut other = viewer_of(&server, log).await;
    append(log, "more\n");
    until_row(&mut other, "more").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::File::options().write(true).open(&old).unwrap().set_len(0).unwrap();
    // What the sockets hold still comes; then the rest is told to be missing, and the new file follows.
    let mut gap = None;
    loop {
        match viewer.next().await.unwrap() {
            Message::Text(text) => {
                let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str().unwrap() {
                    "gap" => gap = message["to"].as_u64(),
                    "reset" => break assert_eq!(message["reason"], "rotated"),
                    other => panic!("{other}"),
                }
            }
            data => assert!(data.len() > 8 && gap.is_none()),
        }
    }
    assert_eq!(gap, Some(30 << 20));
    assert_eq!(&viewer.next().await.unwrap().into_data()[8..], b"new\nmore\n");
}

#[tokio::test]
async fn neighbours_in_a_directory_that_is_made_again_both_see_again() {
    let server = TestServer::start().await;
    std::fs::create_dir(server.path("sub")).unwrap();
    let logs = ["sub/a.log", "sub/b.log"].map(|name| server.log(name, ""));
    let mut viewers = Vec::new();
    for log in &logs {
        viewers.push(viewer_of(&server, log).await);
    }
    std::fs::remove_dir_all(server.path("sub")).unwrap();
    std::fs::create_dir(server.path("sub")).unwrap();
    for (log, viewer) in logs.iter().zip(&mut viewers) {
        append(log, "new home\n");
        until_row(viewer, "new home").await;
    }
    for (log, viewer) in logs.iter().zip(&mut viewers) {
        assert!(median_delay(log, viewer).await < Duration::from_millis(300));
    }
}

#[tokio::test]
async fn two_names_of_a_directory_do_not_take_each_others_events() {
    let server = TestServer::start().await;
    std::fs::create_dir(server.path("real")).unwrap();
    std::os::unix::fs::symlink("real", server.path("link")).unwrap();
    let real = server.log("real/a.log", "");
    let link = server.log("link/b.log", "");
    let mut by_real = viewer_of(&server, &real).await;
    let mut by_link = viewer_of(&server, &link).await;
    assert!(median_delay(&real, &mut by_real).await < Duration::from_millis(300));
    assert!(median_delay(&link, &mut by_link).await < Duration::from_millis(300));
    drop(by_link);
    eventually("the second is not followed any more", async || match server.health().await["logs"]
        .as_u64()
    {
        Some(1) => Ok(()),
        other => Err(other),
    })
    .await;
    assert!(median_delay(&real, &mut by_real).await < Duration::from_millis(300));
}

/// How long an append usually takes to arrive: by events, or else by the backstop, which takes a second on average.
async fn median_delay(log: &str, viewer: &mut Viewer) -> Duration {
    let mut times = Vec::new();
    for round in 0..7 {
        let line = format!("timed {round}");
        let written = Instant::now();
        append(log, format!("{line}\n"));
        until_row(viewer, &line).await;
        times.push(written.elapsed());
    }
    times.sort();
    times[3]
}

#[tokio::test]
async fn what_a_plain_viewer_has_not_seen_of_a_row_comes_when_it_is_final() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "first\n10%\r20%");
    for (form, expected) in [("html", "first\n20%"), ("text", "first\n20%")] {
        let answer = get(server.address, &format!("{log}?lines=9&format={form}"), &[]).await;
        assert_eq!(answer.text(), expected);
        let mut viewer = Viewer::original(server.address, &format!("{log}?format={form}")).await;
        assert_eq!(viewer.rest().await.0, expected);
    }
    let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    assert_eq!(viewer.text().await, "first\n");
    append(&log, "\r99%");
    rename(&log, server.path("a.log.1"));
    append(&log, "new file\n");
    assert_eq!(viewer.text_until("new file\n").await, "99%\nnew file\n");
}

#[tokio::test]
async fn a_log_whose_permission_is_taken_away_is_followed_on() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = viewer_of(&server, &log).await;
    let file = std::fs::File::options().append(true).open(&log).unwrap();
    let locked = |mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&log, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    locked(0o000);
    (&file).write_all(b"while it is locked\n").unwrap();
    let (_, resets) = until_row(&mut viewer, "while it is locked").await;
    assert!(resets.is_empty(), "{resets:?}");
    locked(0o644);
    (&file).write_all(b"and after\n").unwrap();
    let (texts, resets) = until_row(&mut viewer, "and after").await;
    assert_eq!((texts, resets), (vec!["and after".to_owned()], Vec::new()));
}

#[tokio::test]
async fn a_position_that_was_truncated_away_while_nobody_looked_is_refused() {
    let server = TestServer::start().await;
    let head = "the same head of more than 256 bytes ".repeat(10);
    let log = server.log("a.log", format!("{head}{}\n", "old ".repeat(100)));
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0")).await;
    let open = viewer.expect("open").await;
    drop(viewer);
    // The follower retires, and then the file is cut behind the head.
    eventually("nobody follows", async || match server.health().await["logs"].as_u64() {
        Some(0) => Ok(()),
        other => Err(other),
    })
    .await;
    std::fs::write(&log, format!("{head}{}\n", "new ".repeat(200))).unwrap();
    let (from, generation) = (&open["from"], open["generation"].as_str().unwrap());
    let target = format!("{log}?tail=1&from={from}&generation={generation}");
    let mut viewer = Viewer::v1(server.address, &target).await;
    assert_eq!(viewer.expect("open").await["recovered"], false);
    assert_eq!(viewer.expect("reset").await["from"], 0);
}

#[tokio::test]
async fn who_comes_right_after_a_rotation_gets_the_new_file() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "old\n");
    let _stays = viewer_of(&server, &log).await;
    for round in 0..20 {
        rename(&log, server.path(&format!("a.log.{round}")));
        append(&log, format!("new {round}\n"));
        let answer = get(server.address, &format!("{log}?lines=1&format=raw"), &[]).await;
        assert_eq!(answer.text(), format!("new {round}\n"));
    }
}
