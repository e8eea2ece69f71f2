//! A log that is truncated and written again: each truncation is announced, and the new generation
//! is the file's content.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use tailcast::log::Access;
use tailcast::serve::Settings;

use crate::checked_viewer::{CheckedViewer, Mode, Writer, in_both_modes};
use crate::servers::{append, pace_blocking};

in_both_modes! {
    a_truncation_is_noticed_even_after_a_refill,
    a_refill_with_the_same_head_is_noticed_by_the_bytes_before_the_offset,
    a_refill_with_the_same_bytes_is_sent_whole_or_not_at_all,
    the_rest_of_a_truncated_file_is_sent_again,
    copies_that_are_truncated_lose_nothing_silently,
    ten_thousand_truncations_end_at_the_last_line_with_few_resets,
    bytes_overwritten_far_behind_are_sent_to_new_viewers_only,
    overwritten_bytes_before_the_offset_are_announced,
    a_position_truncated_away_while_the_server_was_down_is_not_recovered,
}

async fn a_truncation_is_noticed_even_after_a_refill(mode: Mode) {
    let server = mode.server().await;
    let lines = |from: u32, to| (from..=to).map(|n| format!("{n}\n")).collect::<String>();
    let contents = [
        lines(1, 10),
        lines(11, 15),
        "a longer text than was there before the truncation\n".to_owned(),
        "A LONGER TEXT THAN WAS THERE BEFORE THE TRUNCATION\n".to_owned(),
    ];
    let log = server.log("a.log", &contents[0]);
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    for content in &contents[1..] {
        viewer.read_until("\n").await;
        std::fs::write(&log, content).unwrap();
        viewer.read_until(content).await;
    }
    let mut story: Vec<_> =
        contents.iter().map(|content| ("truncated", 0, content.as_str())).collect();
    story[0].0 = "open";
    viewer.assert_events(&story);
}

async fn a_refill_with_the_same_head_is_noticed_by_the_bytes_before_the_offset(mode: Mode) {
    let server = mode.server().await;
    let head = format!("{}\n", "the same banner at each start ".repeat(20));
    let (old, new) = (format!("{head}first run\n"), format!("{head}the second run, longer\nend\n"));
    let log = server.log("a.log", &old);
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("first run\n").await;
    std::fs::write(&log, &new).unwrap();
    viewer.read_until("end\n").await;
    viewer.assert_events(&[("open", 0, &old), ("truncated", 0, &new)]);
}

async fn a_refill_with_the_same_bytes_is_sent_whole_or_not_at_all(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("two\n").await;
    std::fs::write(&log, "one\ntwo\n").unwrap();
    append(&log, "three\n");
    viewer.read_until("three\n").await;
    let seen = [("open", 0, "one\ntwo\n"), ("truncated", 0, "one\ntwo\nthree\n")];
    let unseen = [("open", 0, "one\ntwo\nthree\n")];
    viewer.assert_events(if viewer.has_event("truncated") { &seen } else { &unseen });
}

async fn the_rest_of_a_truncated_file_is_sent_again(mode: Mode) {
    let server = mode.server().await;
    let path = server.path("a.log");
    let mut writer = Writer::create(&path);
    writer.append("AAAAA\nBBBBB\n");
    let mut viewer = CheckedViewer::from_start(&server, path.to_str().unwrap()).await;
    viewer.read_until("B\n").await;
    writer.truncate(6);
    writer.append("CCCC\n");
    viewer.read_until("C\n").await;
    viewer.assert_events(&[("open", 0, "AAAAA\nBBBBB\n"), ("truncated", 0, "AAAAA\nCCCC\n")]);
}

async fn copies_that_are_truncated_lose_nothing_silently(mode: Mode) {
    let server = mode.server().await;
    let path = server.path("a.log");
    let log = path.to_str().unwrap().to_owned();
    let mut writer = Writer::create(&path);
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let copy = server.path("a.log.1");
    let writing = tokio::task::spawn_blocking(move || {
        for round in 0..50 {
            for number in 0..2000 {
                writer.append(format!("{round:02} record {number:04}\n"));
            }
            std::fs::copy(&path, &copy).unwrap();
            writer.truncate(0);
            pace_blocking(Duration::from_millis(20));
        }
        writer.append("end\n");
        writer
    });
    viewer.read_until("end\n").await;
    let writer = writing.await.unwrap();
    let came: BTreeMap<_, _> = viewer
        .assert_written_by(&[&writer])
        .into_iter()
        .map(|((_, epoch), end)| (epoch, end))
        .collect();
    let written: usize = writer.epochs.iter().map(Vec::len).sum();
    let lost = written as u64 - came.values().sum::<u64>();
    eprintln!(
        "{mode:?}: {lost} of {written} bytes were truncated before they were read ({:.1} %)",
        100.0 * lost as f64 / written as f64
    );
    // Each missing end of a file and each missing file is announced.
    for segment in &viewer.segments[1..] {
        assert!(
            segment.event == "truncated" || segment.event.starts_with("gap"),
            "{}",
            segment.event
        );
    }
    let resets = viewer.segments.iter().filter(|segment| segment.event == "truncated").count();
    assert!(resets + 1 >= came.len(), "{} files came, {resets} resets", came.len());
    let first_bytes: Vec<&str> = viewer
        .segments
        .iter()
        .filter(|segment| !segment.bytes.is_empty() && segment.from == 0)
        .map(|segment| std::str::from_utf8(&segment.bytes[..2]).unwrap())
        .collect();
    assert!(first_bytes.is_sorted(), "in another order than written: {first_bytes:?}");
}

async fn ten_thousand_truncations_end_at_the_last_line_with_few_resets(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    let path = log.clone();
    let storm = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        for round in 0..10_000 {
            file.set_len(0).unwrap();
            file.write_all_at(format!("round {round}\n").as_bytes(), 0).unwrap();
        }
    });
    viewer.read_until("round 9999\n").await;
    storm.await.unwrap();
    let resets = viewer.segments.iter().filter(|segment| segment.event == "truncated").count();
    let seconds = (viewer.segments.last().unwrap().at - viewer.segments[0].at).as_secs_f64();
    assert!(resets as f64 <= 50.0 * seconds + 5.0, "{resets} resets in {seconds} s");
}

async fn bytes_overwritten_far_behind_are_sent_to_new_viewers_only(mode: Mode) {
    let server = mode.server().await;
    // The overwritten bytes are neither in the head nor right before the viewers' position.
    let content = "x".repeat(99) + "\n";
    let log = server.log("a.log", content.repeat(100));
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("\n").await;
    let file = std::fs::File::options().write(true).open(&log).unwrap();
    file.write_all_at(b"over", 5000).unwrap();
    append(&log, "more\n");
    viewer.read_until("more\n").await;
    viewer.assert_events(&[("open", 0, &(content.repeat(100) + "more\n"))]);
    let mut late = CheckedViewer::from_start(&server, &log).await;
    late.read_until("more\n").await;
    assert_eq!(late.segments[0].bytes, std::fs::read(&log).unwrap());
    assert_eq!(&late.segments[0].bytes[5000..5004], b"over");
}

async fn overwritten_bytes_before_the_offset_are_announced(mode: Mode) {
    let server = mode.server().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    viewer.read_until("two\n").await;
    std::fs::File::options().write(true).open(&log).unwrap().write_all_at(b"TWO", 4).unwrap();
    viewer.read_until("TWO\n").await;
    append(&log, "three\n");
    viewer.read_until("three\n").await;
    viewer.assert_events(&[("open", 0, "one\ntwo\n"), ("truncated", 0, "one\nTWO\nthree\n")]);
}

async fn a_position_truncated_away_while_the_server_was_down_is_not_recovered(mode: Mode) {
    let directory = tempfile::tempdir().unwrap();
    for (name, old) in
        [("short.log", "old line\n".to_owned()), ("long.log", "old line\n".repeat(99))]
    {
        let path = directory.path().join(name);
        let log = path.to_str().unwrap();
        append(&path, &old);
        let serve = async || {
            let access = Access::new([directory.path()]).unwrap();
            mode.server_over(tempfile::tempdir().unwrap(), access, Settings::default()).await
        };
        let server = serve().await;
        let mut viewer = CheckedViewer::from_start(&server, log).await;
        viewer.read_until(&old).await;
        let generation = viewer.opened["generation"].as_str().unwrap().to_owned();
        drop(viewer);
        server.stop().await.unwrap();
        // The same inode, and the new content is longer than the position.
        let new = "new line\n".repeat(200);
        std::fs::write(&path, &new).unwrap();
        let server = serve().await;
        let query = format!("&from={}&generation={generation}", old.len());
        let mut viewer = CheckedViewer::open(server.address, log, &query).await;
        viewer.read_until(&new).await;
        viewer.assert_events(&[("open elsewhere", 0, &new)]);
    }
}
