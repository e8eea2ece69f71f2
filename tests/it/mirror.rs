//! Logs of another machine, as an edge serves them: at the same positions everywhere, and with a word
//! about each byte that is missing.

use serde_json::Value;
use tailcast::serve::Settings;

use crate::clients::{Viewer, get};
use crate::machine::{Edge, LOG, Machine};
use crate::reader::{Position, Reader, lines};
use crate::servers::{eventually, pace};

async fn follow(edge: &Edge, query: &str) -> Reader {
    let mut reader = Reader::open(&edge.server, LOG, query).await;
    reader.read_until_event("open true").await;
    reader
}

#[tokio::test]
async fn what_a_machine_appends_is_seen_at_its_own_position() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=2").await;
    reader.read_until(b"early 98\nearly 99\n").await;
    machine.append("now\n");
    reader.read_until(b"now\n").await;
    let written = machine.written();
    assert_eq!(reader.bytes, b"early 98\nearly 99\nnow\n");
    assert_eq!(reader.at.generation, written[0].0);
    assert_eq!(reader.at.next, written[0].1.len() as u64);
}

#[tokio::test]
async fn a_rotation_a_truncation_and_late_bytes_are_told_as_they_happened() {
    let machine = Machine::with(lines("first"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=0").await;
    machine.append("the end of the first\n");
    machine.rotate();
    machine.append(lines("second"));
    machine.append_late("late\n");
    machine.append("on\n");
    reader.read_until(b"on\n").await;
    machine.truncate();
    machine.append("third\n");
    reader.read_until(b"third\n").await;
    let expected = format!("the end of the first\n{}late\non\nthird\n", lines("second"));
    assert_eq!(String::from_utf8_lossy(&reader.bytes), expected);
    let first_end = lines("first").len() + "the end of the first\n".len();
    let second_end = lines("second").len();
    assert_eq!(
        reader.heads(),
        [
            "open true",
            "reset rotated 0",
            &format!("reset late {first_end}"),
            &format!("reset back {second_end}"),
            "reset truncated 0"
        ]
    );
}

#[tokio::test]
async fn an_old_file_of_which_only_late_bytes_were_told_is_in_the_history_as_a_whole() {
    let machine = Machine::with(lines("first"));
    for file in ["second", "third"] {
        machine.rotate();
        machine.append(lines(file));
    }
    let (edge, _spool) = machine.edge().await;
    let mut present = follow(&edge, "&lines=0").await;
    machine.append_late("late\n");
    machine.append("on\n");
    present.read_until(b"on\n").await;
    let mut reader = follow(&edge, "&history=1&lines=all").await;
    reader.read_until(b"on\n").await;
    let expected = [lines("first"), lines("second"), lines("third"), "late\non\n".into()];
    assert_eq!(String::from_utf8_lossy(&reader.bytes), expected.concat());
    let heads = reader.heads();
    assert!(heads.iter().all(|head| !head.starts_with("gap")), "{heads:?}");
    // A download has each file as a whole.
    let text = get(edge.server.address, &format!("/_/text{LOG}?history=1"), &[]).await.text();
    let expected =
        [lines("first"), lines("second"), "late\n".into(), lines("third"), "on\n".into()];
    assert_eq!(text, expected.concat());
}

#[tokio::test]
async fn while_a_machine_is_away_its_viewers_wait_and_then_get_the_rest() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=1").await;
    reader.read_until(b"early 99\n").await;
    machine.go_away();
    reader.read_until_event("waiting").await;
    assert_eq!(reader.told.last().unwrap()["reason"], "unreachable");
    // Who comes now finds what is here.
    let mut other = follow(&edge, "&lines=1").await;
    other.read_until(b"early 99\n").await;
    other.read_until_event("waiting").await;
    machine.append(lines("missed"));
    machine.come_back();
    for reader in [&mut reader, &mut other] {
        reader.read_until(b"missed 99\n").await;
        assert_eq!(
            String::from_utf8_lossy(&reader.bytes),
            format!("early 99\n{}", lines("missed"))
        );
        let end = lines("early").len();
        assert_eq!(reader.heads().last().unwrap(), &format!("reset back {end}"));
    }
}

#[tokio::test]
async fn a_log_that_rotated_while_its_machine_was_away_is_read_to_its_end() {
    let machine = Machine::with(lines("first"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=0").await;
    machine.go_away();
    reader.read_until_event("waiting").await;
    machine.append("the end of the first\n");
    machine.rotate();
    machine.append("second\n");
    machine.come_back();
    reader.read_until(b"second\n").await;
    assert_eq!(String::from_utf8_lossy(&reader.bytes), "the end of the first\nsecond\n");
    let heads = reader.heads();
    assert!(heads.iter().all(|head| !head.starts_with("gap")), "{heads:?}");
    assert_eq!(heads.last().unwrap(), "reset rotated 0");
}

#[tokio::test]
async fn files_that_had_the_name_while_its_machine_was_away_are_read_in_their_order() {
    let machine = Machine::with(lines("first"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=0").await;
    machine.go_away();
    reader.read_until_event("waiting").await;
    machine.append("the end of the first\n");
    for file in ["second\n", "third\n", "fourth\n"] {
        machine.rotate();
        machine.append(file);
    }
    machine.come_back();
    machine.append("now\n");
    reader.read_until(b"now\n").await;
    let expected = "the end of the first\nsecond\nthird\nfourth\nnow\n";
    assert_eq!(String::from_utf8_lossy(&reader.bytes), expected);
    let heads = reader.heads();
    assert!(heads.iter().all(|head| !head.starts_with("gap")), "{heads:?}");
}

#[tokio::test]
async fn a_file_that_its_machine_calls_something_else_goes_on_if_its_bytes_prove_it() {
    for is_same in [true, false] {
        let machine = Machine::with(lines("first"));
        let (edge, _spool) = machine.edge().await;
        let mut reader = follow(&edge, "&lines=0").await;
        machine.go_away();
        reader.read_until_event("waiting").await;
        if is_same {
            machine.append("the end of the first\n");
            machine.rename();
        } else {
            // Another file has the inode, and begins in the same way.
            machine.truncate();
            machine.append(lines("first").replace("99", "##"));
            machine.append("the end of the first\n");
        }
        machine.come_back();
        machine.append("now\n");
        machine.rotate();
        machine.append("second\n");
        reader.read_until(b"second\n").await;
        let end = lines("first").len();
        let heads = reader.heads();
        let own = "the end of the first\nnow\nsecond\n";
        if is_same {
            assert_eq!(heads[2..], [format!("reset back {end}"), "reset rotated 0".to_owned()]);
            assert_eq!(String::from_utf8_lossy(&reader.bytes), own);
        } else {
            let back = format!("reset back {end}");
            assert_eq!(heads[2..], [&back, "reset truncated 0", "reset rotated 0"]);
            let whole = lines("first").replace("99", "##") + own;
            assert_eq!(String::from_utf8_lossy(&reader.bytes), whole);
        }
    }
}

#[tokio::test]
async fn files_that_nobody_has_any_more_are_told_as_a_gap() {
    let machine = Machine::with(lines("first"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=0").await;
    machine.go_away();
    reader.read_until_event("waiting").await;
    for file in ["second\n", "third\n"] {
        machine.lose(0..usize::MAX);
        machine.rotate();
        machine.append(file);
    }
    machine.come_back();
    reader.read_until(b"third\n").await;
    let heads = reader.heads();
    assert!(
        heads.iter().any(|head| head.starts_with("gap") && head.ends_with("null")),
        "{heads:?}"
    );
}

#[tokio::test]
async fn bytes_that_nobody_has_are_a_gap_and_never_nuls() {
    let machine = Machine::with(lines("early").repeat(1000));
    let size = machine.written()[0].1.len();
    let (from, to) = (256 * 1024, 512 * 1024);
    assert!(to < size);
    machine.lose(from..to);
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=all").await;
    let written = machine.written().remove(0).1;
    while reader.at.next < size as u64 {
        reader.read_message().await;
    }
    // One gap after the other, from the first byte that is missing to the last.
    let mut at = from as u64;
    for gap in &reader.told[1..] {
        assert_eq!((&gap["type"], gap["from"].as_u64()), (&Value::from("gap"), Some(at)));
        at = gap["to"].as_u64().unwrap();
    }
    assert_eq!(at, to as u64);
    assert_eq!(reader.bytes, [&written[..from], &written[to..]].concat());
    let found = get(edge.server.address, &format!("/_/find{LOG}?q=%00"), &[]).await;
    let found = found.text();
    assert!(found.contains(r#""matches":0"#), "{found}");
    assert!(found.contains(r#""complete":true"#), "{found}");
}

#[tokio::test]
async fn a_few_bytes_that_nobody_has_are_a_gap_too() {
    let machine = Machine::with(lines("early").repeat(940));
    let size = machine.written()[0].1.len();
    let from = size - size % (256 * 1024);
    // So few NULs would be shown if they were in the file.
    assert!(size - from < 64 * 1024);
    machine.lose(from..size);
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=all").await;
    while reader.at.next < size as u64 {
        reader.read_message().await;
    }
    machine.append("now\n");
    reader.read_until(b"now\n").await;
    assert_eq!(reader.heads(), ["open true", &format!("gap {from} {size}")]);
    let written = machine.written().remove(0).1;
    assert_eq!(reader.bytes, [&written[..from], b"now\n"].concat());
}

#[tokio::test]
async fn two_edges_have_the_same_positions_and_a_viewer_moves_between_them() {
    let machine = Machine::with(lines("early"));
    let ((one, _one), (other, _other)) = (machine.edge().await, machine.edge().await);
    let mut reader = follow(&one, "&lines=1").await;
    reader.read_until(b"early 99\n").await;
    let at = reader.at.clone();
    machine.append("next\n");
    let mut moved = Reader::resume(&other.server, LOG, &at).await;
    moved.read_until(b"next\n").await;
    assert_eq!((moved.heads(), moved.bytes), (vec!["open true".to_owned()], b"next\n".to_vec()));
    // The other one has not followed the log when it was rotated.
    reader.read_until(b"next\n").await;
    let at: Position = reader.at.clone();
    drop(other);
    let (third, _third) = machine.edge().await;
    machine.append("the end\n");
    machine.rotate();
    machine.append("second\n");
    let mut moved = Reader::resume(&third.server, LOG, &at).await;
    moved.read_until(b"second\n").await;
    assert_eq!(String::from_utf8_lossy(&moved.bytes), "the end\nsecond\n");
    assert_eq!(moved.heads(), ["open true", "reset rotated 0"]);
}

#[tokio::test]
async fn an_edge_goes_on_after_its_restart_and_fetches_nothing_twice() {
    for forgets in [false, true] {
        let machine = Machine::with(lines("early").repeat(300));
        let spool = tempfile::tempdir().unwrap();
        let start = || machine.edge_over(spool.path(), 1 << 30, Settings::default());
        let edge = start().await;
        let mut reader = follow(&edge, "&lines=all").await;
        machine.append("seen\n");
        reader.read_until(b"seen\n").await;
        let at = reader.at.clone();
        drop(reader);
        edge.stop().await;
        let fetched = machine.fetched();
        machine.append("missed\n");
        if forgets {
            machine.forget();
        }
        let edge = start().await;
        let mut reader = Reader::resume(&edge.server, LOG, &at).await;
        machine.append("now\n");
        reader.read_until(b"now\n").await;
        assert_eq!(reader.heads(), ["open true"]);
        assert_eq!(reader.bytes, b"missed\nnow\n");
        let mut whole = follow(&edge, "&lines=all").await;
        whole.read_until(b"now\n").await;
        assert_eq!(whole.bytes, machine.written()[0].1);
        let again = machine.fetched() - fetched;
        assert!(again <= "missed\nnow\n".len() as u64, "{again} bytes were fetched again");
    }
}

#[tokio::test]
async fn what_is_kept_can_be_read_while_the_machine_is_away_after_a_restart() {
    let machine = Machine::with(lines("early"));
    let spool = tempfile::tempdir().unwrap();
    let edge = machine.edge_over(spool.path(), 1 << 30, Settings::default()).await;
    let mut reader = follow(&edge, "&lines=all").await;
    reader.read_until(b"early 99\n").await;
    let at = reader.at.clone();
    drop(reader);
    edge.stop().await;
    machine.go_away();
    let edge = machine.edge_over(spool.path(), 1 << 30, Settings::default()).await;
    let mut reader = Reader::resume(&edge.server, LOG, &at).await;
    reader.read_until_event("waiting").await;
    assert_eq!(reader.heads(), ["open true", "waiting"]);
    let mut whole = follow(&edge, "&lines=all").await;
    whole.read_until(b"early 99\n").await;
    assert_eq!(whole.bytes, lines("early").as_bytes());
    machine.append("now\n");
    machine.come_back();
    reader.read_until(b"now\n").await;
    whole.read_until(b"now\n").await;
}

#[tokio::test]
async fn a_torn_spool_is_found_out_and_fetched_again() {
    let files = |spool: &std::path::Path, kind: &str| -> Vec<std::path::PathBuf> {
        let all = std::fs::read_dir(spool.join("1")).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|it| it == kind)).collect()
    };
    let cut = |path: &std::path::Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    for kind in ["data", "note"] {
        let machine = Machine::with(lines("early").repeat(300));
        let spool = tempfile::tempdir().unwrap();
        let edge = machine.edge_over(spool.path(), 1 << 30, Settings::default()).await;
        let mut reader = follow(&edge, "&lines=all").await;
        machine.append("seen\n");
        reader.read_until(b"seen\n").await;
        drop(reader);
        edge.stop().await;
        let found = files(spool.path(), kind);
        assert_eq!(found.len(), 1, "{kind}");
        cut(&found[0]);
        let edge = machine.edge_over(spool.path(), 1 << 30, Settings::default()).await;
        let mut reader = follow(&edge, "&lines=all").await;
        reader.read_until(b"seen\n").await;
        assert_eq!(reader.bytes, machine.written()[0].1, "{kind}");
        assert_eq!(reader.heads(), ["open true"], "{kind}");
    }
}

#[tokio::test]
async fn a_spool_stays_within_its_bound_while_more_is_read() {
    const BOUND: u64 = 16 << 20;
    let machine = Machine::with(lines("a line of a log that is long enough").repeat(12_000));
    let written = machine.written().remove(0).1;
    assert!(written.len() as u64 > 2 * BOUND);
    let spool = tempfile::tempdir().unwrap();
    let edge = machine.edge_over(spool.path(), BOUND, Settings::default()).await;
    let mut reader = follow(&edge, "&lines=all").await;
    while reader.at.next < written.len() as u64 {
        reader.read_message().await;
        assert!(edge.spool.bytes() <= BOUND + (1 << 20), "{} bytes", edge.spool.bytes());
    }
    assert!(reader.bytes == written, "it has other bytes");
    let blocks = |entry: std::io::Result<std::fs::DirEntry>| {
        use std::os::unix::fs::MetadataExt;
        entry.unwrap().metadata().unwrap().blocks() * 512
    };
    let used: u64 = std::fs::read_dir(spool.path().join("1")).unwrap().map(blocks).sum();
    assert!(used <= BOUND + (2 << 20), "{used} bytes on the disk");
}

#[tokio::test]
async fn a_machine_is_asked_for_a_log_only_while_somebody_looks() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    get(edge.server.address, "/_/logs", &[]).await;
    assert_eq!(machine.followers(), 0);
    let readers = [follow(&edge, "").await, follow(&edge, "").await];
    assert_eq!(machine.followers(), 1, "two viewers share it");
    drop(readers);
    eventually("it is let go", async || match machine.followers() {
        0 => Ok(()),
        more => Err(more),
    })
    .await;
}

#[tokio::test]
async fn every_protocol_serves_the_log() {
    let machine = Machine::with(lines("early"));
    machine.create("/var/log/other.log", "other\n");
    let (edge, _spool) = machine.edge().await;
    let address = edge.server.address;
    let whole = lines("early");
    let answer = get(address, LOG, &[]).await;
    assert_eq!((answer.status, answer.text()), (200, whole.clone()));
    let tag = answer.header("etag").unwrap().to_owned();
    assert_eq!(get(address, LOG, &[("if-none-match", &tag)]).await.status, 304);
    let part = get(address, LOG, &[("range", "bytes=6-7")]).await;
    assert_eq!((part.status, part.text()), (206, "0\n".to_owned()));
    assert_eq!(get(address, &format!("{LOG}?lines=1"), &[]).await.text(), "early 99\n");
    let page = get(address, LOG, &[("accept", "text/html")]).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains(LOG), "{}", page.text());
    let none = get(address, "/@web1/none.log", &[("accept", "text/html")]).await;
    assert_eq!(none.status, 404);
    for (target, wanted) in [
        (format!("/_/find{LOG}?q=early+42"), "\"matches\""),
        (format!("/_/rows{LOG}"), "early 0"),
        (format!("/_/text{LOG}"), "early 99"),
        (format!("/_/lines{LOG}?line=3"), "\"offset\""),
        (format!("/_/history{LOG}"), "generation"),
        (format!("/_/merged-rows?last=1&log={LOG}&log=/@web1/var/log/other.log"), "early 99"),
        (format!("/_/merged-rows?last=1&log={LOG}&log=/@web1/var/log/other.log"), "other"),
        (format!("/_/merged-rows?history=1&last=1&log={LOG}"), "early 99"),
    ] {
        let answer = get(address, &target, &[]).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        assert!(answer.text().contains(wanted), "{target}: {}", answer.text());
    }
    assert_eq!(get(address, "/@web1/none.log", &[]).await.status, 404);
    assert_eq!(get(address, "/@web2/var/log/a.log", &[]).await.status, 404);
    assert_eq!(get(address, "/@web1", &[]).await.status, 404);
    let mut original = Viewer::original(address, &format!("{LOG}?lines=1")).await;
    assert!(original.text().await.contains("early 99"));
    let events = get(address, &format!("{LOG}?lines=1"), &[("accept", "text/event-stream")]).await;
    assert!(events.text().contains("early 99"), "{}", events.text());
    let merged = format!("/_/events?log={LOG}&lines=1&log=/@web1/var/log/other.log");
    let merged = get(address, &merged, &[]).await.text();
    assert!(merged.contains("early 99") && merged.contains("other"), "{merged}");
}

#[tokio::test]
async fn a_machine_that_is_away_is_in_the_list_as_away() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    let listed = async || -> Value {
        let list = get(edge.server.address, "/_/logs", &[]).await;
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        list["logs"][0].clone()
    };
    let log = listed().await;
    assert_eq!((log["path"].as_str(), &log["away"]), (Some(LOG), &Value::Null), "{log}");
    assert_eq!(log["size"], lines("early").len());
    machine.go_away();
    eventually("it is away", async || match listed().await {
        log if log["away"] == true => Ok(()),
        log => Err(log),
    })
    .await;
    // Nothing of it is here, so only who waits can be served.
    assert_eq!(get(edge.server.address, LOG, &[]).await.status, 504);
    let mut reader = Reader::open(&edge.server, LOG, "").await;
    reader.read_until_event("waiting").await;
    machine.come_back();
    reader.read_until(b"early 99\n").await;
}

#[tokio::test]
async fn a_viewer_that_is_ahead_of_an_edge_is_waited_for() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    let mut present = follow(&edge, "&lines=0").await;
    // Another edge has these already.
    let bytes = "a moment later\n";
    let generation = present.at.generation.clone();
    let next = present.at.next + bytes.len() as u64;
    let at = Position { generation, next };
    let resuming = Reader::resume(&edge.server, LOG, &at);
    let later = async {
        pace(std::time::Duration::from_millis(200)).await;
        machine.append(bytes);
    };
    let (mut ahead, ()) = tokio::join!(resuming, later);
    machine.append("now\n");
    ahead.read_until(b"now\n").await;
    assert_eq!((ahead.heads(), ahead.bytes), (vec!["open true".to_owned()], b"now\n".to_vec()));
    present.read_until(b"now\n").await;
}
