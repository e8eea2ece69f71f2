//! What an edge does while the machine of a log hangs, is away, or has not got what was asked for.

use std::time::Duration;

use tailcast::serve::Settings;
use tokio::time::timeout;

use crate::clients::{Viewer, get};
use crate::machine::{Edge, LOG, Machine};
use crate::reader::{Position, Reader, lines};
use crate::servers::{DEADLINE, eventually};

/// Lines of a log that has many pieces, and of each how long it is.
const LINE: &str = "a line of a log that is long enough 00\n";

fn long(bytes: usize) -> String {
    LINE.repeat(bytes / LINE.len())
}

async fn follow(edge: &Edge, query: &str) -> Reader {
    let mut reader = Reader::open(&edge.server, LOG, query).await;
    reader.read_until_event("open true").await;
    reader
}

/// An edge that has the last bytes of a long log, and a viewer there who knows that its machine is
/// away.
async fn away(machine: &Machine) -> (Edge, tempfile::TempDir, Reader) {
    let (edge, spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=1").await;
    reader.read_until(LINE.as_bytes()).await;
    machine.go_away();
    reader.read_until_event("waiting").await;
    (edge, spool, reader)
}

#[tokio::test]
async fn the_last_lines_that_are_here_are_shown_while_their_machine_is_away() {
    let machine = Machine::with(long(3 << 20));
    let size = machine.written()[0].1.len() as u64;
    let (edge, _spool, _) = away(&machine).await;
    for lines in [10, 1_000_000] {
        let mut reader = follow(&edge, &format!("&lines={lines}")).await;
        let from = reader.at.next;
        reader.read_until_event("waiting").await;
        assert_eq!(reader.at.next, size, "{lines} lines");
        assert_eq!(from % LINE.len() as u64, 0, "{lines} lines: from the start of a line");
        let shown = (size - from) / LINE.len() as u64;
        match lines {
            10 => assert_eq!(shown, 10),
            _ => assert!((1000..8000).contains(&shown), "{shown} lines"),
        }
    }
}

#[tokio::test]
async fn bytes_that_their_machine_had_not_for_a_moment_are_there_when_it_is_back() {
    let machine = Machine::with(long(1 << 20));
    let written = machine.written().remove(0).1;
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=1").await;
    machine.lose(0..usize::MAX);
    let part = [("range", "bytes=400000-400009")];
    let address = edge.server.address;
    // The answer has begun when it turns out that it can't be completed.
    let denied = tokio::spawn(async move { get(address, LOG, &part).await.body.len() });
    assert_ne!(denied.await.unwrap_or_default(), 10);
    machine.lose(0..0);
    machine.go_away();
    reader.read_until_event("waiting").await;
    machine.come_back();
    reader.read_until_event(&format!("reset back {}", written.len())).await;
    let answer = get(edge.server.address, LOG, &part).await;
    assert_eq!(answer.body, &written[400_000..400_010]);
}

#[tokio::test]
async fn bytes_that_who_answers_has_not_heard_of_yet_are_not_lost() {
    let machine = Machine::with(long(1 << 20));
    let (edge, _spool) = machine.edge().await;
    let _reader = follow(&edge, "&lines=1").await;
    machine.know(Some(200_000));
    let rows = format!("/_/rows{LOG}?from=400000&count=10");
    let answer = get(edge.server.address, &rows, &[]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
    machine.know(None);
    eventually("they are there", async || {
        let answer = get(edge.server.address, &rows, &[]).await;
        match answer.text().contains("long enough") {
            true => Ok(()),
            false => Err(answer.text()),
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_that_only_the_machine_has_are_waited_for_behind_those_that_others_have() {
    let text = long(4_000);
    let machine = Machine::with(&text);
    let (edge, _spool) = machine.edge().await;
    machine.published(Some(1_000));
    let mut reader = follow(&edge, "&lines=all").await;
    reader.read_until_event("waiting").await;
    assert!(reader.bytes.len() <= 1_000, "{} bytes", reader.bytes.len());
    machine.published(None);
    while reader.bytes.len() < text.len() {
        reader.read_message().await;
    }
    assert!(reader.bytes == text.as_bytes(), "{:?}", reader.heads());
    let heads = reader.heads();
    assert!(heads.iter().all(|head| !head.starts_with("gap")), "{heads:?}");
}

#[tokio::test]
async fn a_file_of_which_less_was_known_is_read_to_its_end_before_the_next() {
    let machine = Machine::with(lines("first"));
    let (one, _one) = machine.edge().await;
    let reader = follow(&one, "&lines=0").await;
    let at = reader.at.clone();
    machine.append("the end\n");
    machine.rotate();
    machine.append("second\n");
    let (other, _other) = machine.edge().await;
    machine.know(Some(lines("first").len() + 4));
    let mut moved = Reader::resume(&other.server, LOG, &at).await;
    moved.read_until(b"the ").await;
    machine.know(None);
    moved.read_until(b"second\n").await;
    assert_eq!(String::from_utf8_lossy(&moved.bytes), "the end\nsecond\n");
    let heads = moved.heads();
    assert!(heads.iter().all(|head| !head.starts_with("gap")), "{heads:?}");
}

#[tokio::test]
async fn rows_that_are_here_are_given_without_the_rest_of_the_log() {
    let machine = Machine::with(long(8 << 20));
    let size = machine.written()[0].1.len();
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=1").await;
    reader.read_until(LINE.as_bytes()).await;
    let rows = format!("/_/rows{LOG}?before={size}&count=50");
    for _ in 0..3 {
        let answer = get(edge.server.address, &rows, &[]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    machine.go_away();
    reader.read_until_event("waiting").await;
    let answer = get(edge.server.address, &rows, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.text().matches("long enough").count(), 50);
    // From its beginning it can be read only when its machine is back.
    let first = get(edge.server.address, &format!("/_/rows{LOG}?from=1000000"), &[]).await;
    assert_eq!(first.status, 504, "{}", first.text());
    let fetched = machine.fetched();
    assert!(fetched < 2 << 20, "{fetched} bytes were fetched for the last rows");
}

#[tokio::test]
async fn all_who_wait_for_the_same_bytes_are_told_at_once_that_they_do_not_come() {
    const READERS: usize = 4;
    let machine = Machine::with(long(1 << 20));
    let (edge, _spool) = machine.edge().await;
    let _reader = follow(&edge, "&lines=1").await;
    machine.hang();
    let address = edge.server.address;
    let target = format!("/_/rows{LOG}?from=400000");
    let reading: Vec<_> = (0..READERS)
        .map(|_| {
            let target = target.clone();
            tokio::spawn(async move { get(address, &target, &[]).await.status })
        })
        .collect();
    eventually("bytes are asked for", async || match machine.asked() {
        0 => Err("not yet"),
        _ => Ok(()),
    })
    .await;
    machine.hang_on();
    for reading in reading {
        assert_eq!(reading.await.unwrap(), 504);
    }
    assert_eq!(machine.asked(), 1, "one after the other has asked in vain");
}

#[tokio::test]
async fn a_machine_that_hangs_delays_no_rows_and_searches_of_other_logs() {
    let machine = Machine::with(long(1 << 20));
    let (edge, _spool) = machine.edge().await;
    let _reader = follow(&edge, "&lines=1").await;
    let path = edge.server.directory.path().join("here.log");
    std::fs::write(&path, "a line that is here\n").unwrap();
    let address = edge.server.address;
    machine.hang();
    let mut hanging = Vec::new();
    for (nth, call) in ["rows", "rows", "rows", "rows", "rows", "find"].into_iter().enumerate() {
        let target = format!("/_/{call}{LOG}?q=x&from={}", 300_000 + nth);
        hanging.push(tokio::spawn(async move { get(address, &target, &[]).await.status }));
    }
    eventually("bytes are asked for", async || match machine.asked() {
        0 => Err("not yet"),
        _ => Ok(()),
    })
    .await;
    for (call, found) in [("rows", "a line that is here"), ("find", "\"matches\":1")] {
        let target = format!("/_/{call}{}?q=here", path.display());
        let answer = timeout(Duration::from_secs(9), get(address, &target, &[]));
        let answer = answer.await.expect("it waits for another machine");
        assert!(answer.text().contains(found), "{}", answer.text());
    }
    assert!(hanging.iter().any(|reading| !reading.is_finished()), "nothing has hung");
    machine.hang_up();
}

#[tokio::test]
async fn more_logs_than_the_spool_has_room_for_can_be_read_all_the_same() {
    const BOUND: u64 = 16 << 20;
    const LOGS: usize = 20;
    let machine = Machine::with("first\n");
    for log in 0..LOGS {
        machine.create(&format!("/var/log/{log}.log"), long(5 << 18));
    }
    let spool = tempfile::tempdir().unwrap();
    let edge = machine.edge_over(spool.path(), BOUND, Settings::default()).await;
    let mut readers = Vec::new();
    for log in 0..LOGS {
        let log = format!("/@web1/var/log/{log}.log");
        let mut reader = Reader::open(&edge.server, &log, "&lines=all").await;
        let size = long(5 << 18).len() as u64;
        while reader.at.next < size {
            timeout(DEADLINE, reader.read_message()).await.expect("it is read for ever");
        }
        readers.push(reader);
    }
    let part = [("range", "bytes=0-99999")];
    let answer = get(edge.server.address, "/@web1/var/log/0.log", &part).await;
    assert_eq!(answer.body.len(), 100_000);
    assert!(edge.spool.bytes() <= BOUND + (1 << 20), "{} bytes", edge.spool.bytes());
}

#[tokio::test]
async fn a_viewer_goes_on_where_its_edge_has_not_come_to_yet() {
    let machine = Machine::with(lines("early"));
    let spool = tempfile::tempdir().unwrap();
    let start = || machine.edge_over(spool.path(), 1 << 30, Settings::default());
    let edge = start().await;
    let mut reader = follow(&edge, "&lines=all").await;
    reader.read_until(b"early 99\n").await;
    drop(reader);
    edge.stop().await;
    machine.append("missed\n");
    let (other, _other) = machine.edge().await;
    let mut reader = follow(&other, "&lines=1").await;
    reader.read_until(b"missed\n").await;
    let at = reader.at.clone();
    machine.hold_back();
    let edge = start().await;
    let mut behind = follow(&edge, "&lines=0").await;
    let mut moved = Reader::resume(&edge.server, LOG, &at).await;
    moved.read_until_event("open true").await;
    machine.let_go();
    machine.append("now\n");
    moved.read_until(b"now\n").await;
    assert_eq!((moved.heads(), moved.bytes), (vec!["open true".to_owned()], b"now\n".to_vec()));
    behind.read_until(b"now\n").await;
    assert_eq!(String::from_utf8_lossy(&behind.bytes), "now\n", "what it has missed was history");
}

#[tokio::test]
async fn a_signature_that_a_visitor_has_made_up_is_nobody_elses() {
    let machine = Machine::with("a short log\n");
    let (edge, _spool) = machine.edge().await;
    let reader = follow(&edge, "&lines=all").await;
    let told = machine.written().remove(0).0;
    assert_eq!(reader.at.generation, told);
    let parts: Vec<&str> = told.split('-').collect();
    let forged = format!("{}-100-deadbeef", parts[..3].join("-"));
    let forger = Position { generation: forged, next: 99_999_999 };
    let mut forger = Reader::resume(&edge.server, LOG, &forger).await;
    forger.read_message().await;
    machine.append("more\n");
    let mut other = follow(&edge, "&lines=all").await;
    other.read_until(b"more\n").await;
    let rows = get(edge.server.address, &format!("/_/rows{LOG}"), &[]).await.text();
    assert!(rows.contains(&machine.written().remove(0).0), "{rows}");
}

#[tokio::test]
async fn a_log_that_was_removed_is_not_back_because_its_machine_was_away() {
    let machine = Machine::with(lines("early"));
    let (edge, _spool) = machine.edge().await;
    let mut reader = follow(&edge, "&lines=0").await;
    machine.remove();
    reader.read_until_event("waiting").await;
    machine.blink();
    machine.make_again();
    machine.append("new\n");
    reader.read_until(b"new\n").await;
    let heads = reader.heads();
    assert!(!heads.iter().any(|head| head.starts_with("reset back")), "{heads:?}");
    let waits = reader.told.iter().filter(|told| told["type"] == "waiting");
    let reasons: Vec<_> = waits.map(|told| told["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.last(), Some(&"missing"), "{reasons:?}");
}

#[tokio::test]
async fn a_log_that_never_was_is_missing_also_after_its_machine_was_away() {
    let machine = Machine::with("first\n");
    let (edge, _spool) = machine.edge().await;
    let none = "/@web1/var/log/none.log";
    let mut reader = Reader::open(&edge.server, none, "").await;
    reader.read_until_event("waiting").await;
    machine.blink();
    eventually("it is missing", async || match get(edge.server.address, none, &[]).await.status {
        404 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn files_between_two_that_were_not_followed_are_found_one_after_the_other() {
    let machine = Machine::with(lines("first"));
    let (one, _one) = machine.edge().await;
    let mut reader = follow(&one, "&lines=0").await;
    let at = reader.at.clone();
    machine.append("the end\n");
    for file in ["second\n", "third\n"] {
        machine.rotate();
        machine.append(file);
    }
    reader.read_until(b"third\n").await;
    let (other, _other) = machine.edge().await;
    let mut moved = Reader::resume(&other.server, LOG, &at).await;
    moved.read_until(b"third\n").await;
    assert_eq!(String::from_utf8_lossy(&moved.bytes), "the end\nsecond\nthird\n");
    assert_eq!(moved.heads(), ["open true", "reset rotated 0", "reset rotated 0"]);
}

#[tokio::test]
async fn a_log_that_has_changed_is_never_answered_as_unchanged() {
    let machine = Machine::with("one\n");
    let (edge, _spool) = machine.edge().await;
    let address = edge.server.address;
    let first = get(address, LOG, &[]).await;
    let tag = first.header("etag").unwrap().to_owned();
    let long_ago = [("if-modified-since", "Sun, 09 Sep 2001 01:46:40 GMT")];
    assert_eq!(get(address, LOG, &long_ago).await.status, 200, "{}", first.text());
    let mut reader = follow(&edge, "&lines=all").await;
    machine.truncate();
    reader.read_until_event("reset truncated 0").await;
    // It is as long as before, and was written to at the same time as far as is known.
    machine.append("two\n");
    reader.read_until(b"two\n").await;
    let again = get(address, LOG, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.text()), (200, "two\n".to_owned()));
}

#[tokio::test]
async fn a_stream_that_does_not_follow_ends_when_its_bytes_do_not_come() {
    let machine = Machine::with(long(1 << 20));
    let (edge, _spool, _reader) = away(&machine).await;
    let address = edge.server.address;
    let plain = tokio::spawn(async move { get(address, &format!("{LOG}?lines=all"), &[]).await });
    if let Ok(answer) = timeout(DEADLINE, plain).await.expect("it waits for ever") {
        assert!(!answer.text().ends_with("0\r\n\r\n"), "it looks complete");
    }
    let mut viewer = Viewer::v1(address, &format!("{LOG}?lines=all&format=raw&tail=0")).await;
    let code = timeout(DEADLINE, async {
        loop {
            if let Err(close) = viewer.next().await {
                break close.map(|(code, _)| code);
            }
        }
    });
    assert_eq!(code.await.expect("it waits for ever"), Some(1013));
}

#[tokio::test]
async fn what_was_only_read_is_not_the_log_after_a_restart() {
    let machine = Machine::with(lines("old"));
    let spool = tempfile::tempdir().unwrap();
    let start = || machine.edge_over(spool.path(), 1 << 30, Settings::default());
    let (other, _other) = machine.edge().await;
    let old = follow(&other, "&lines=0").await.at;
    machine.rotate();
    machine.append(lines("present"));
    let edge = start().await;
    let mut reader = follow(&edge, "&lines=all").await;
    reader.read_until(b"present 99\n").await;
    edge.mirror.note();
    let rows = format!("/_/rows{LOG}?generation={}", old.generation);
    assert_eq!(get(edge.server.address, &rows, &[]).await.status, 200);
    drop(reader);
    edge.stop().await;
    machine.go_away();
    let edge = start().await;
    let mut reader = follow(&edge, "&lines=all").await;
    reader.read_until(b"99\n").await;
    assert_eq!(String::from_utf8_lossy(&reader.bytes), lines("present"));
}

#[tokio::test]
async fn files_without_bytes_are_counted_and_what_others_have_left_is_removed() {
    const BOUND: u64 = 16 << 20;
    let spool = tempfile::tempdir().unwrap();
    let machine = Machine::with(lines("early"));
    let edge = machine.edge_over(spool.path(), BOUND, Settings::default()).await;
    let mut reader = follow(&edge, "&lines=all").await;
    for _ in 0..20 {
        machine.truncate();
        reader.read_until_event("reset truncated 0").await;
        reader.told.clear();
    }
    let files = |number: &str| std::fs::read_dir(spool.path().join(number)).unwrap().count();
    assert!(edge.spool.bytes() >= 20 * 4096, "{} bytes", edge.spool.bytes());
    // A second server uses the place at the same time.
    let second = machine.edge_over(spool.path(), BOUND, Settings::default()).await;
    let mut other = follow(&second, "&lines=all").await;
    machine.append("more\n");
    other.read_until(b"more\n").await;
    drop(other);
    second.stop().await;
    assert!(files("2") > 1);
    drop(reader);
    edge.stop().await;
    eventually("nobody uses the spool", async || {
        match tailcast::mirror::Spool::open(spool.path(), BOUND).map(|_| files("2")) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_machine_lists_logs_under_its_own_name_alone() {
    let machine = Machine::with("first\n");
    for path in ["2/var/log/a.log", "/../@web2/var/log/a.log", "/../var/log/a.log"] {
        machine.create(path, "forged\n");
    }
    machine.create("/var/log/more.log", "more\n");
    let (edge, _spool) = machine.edge().await;
    let list = get(edge.server.address, "/_/logs", &[]).await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    let logs = list["logs"].as_array().unwrap().iter();
    let mut paths: Vec<_> = logs.map(|log| log["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, [LOG, "/@web1/var/log/more.log"]);
}
