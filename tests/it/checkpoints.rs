//! A viewer that starts in the middle of a log sees the same rows as earlier viewers.

use crate::clients::{Rows, Viewer};
use crate::servers::{TestServer, append};

/// Follows a log until a row has this text. Returns the rows and the offset to resume at.
async fn rows_until(viewer: &mut Viewer, wanted: &str) -> (Rows, u64) {
    let mut rows = Rows::default();
    loop {
        let message = viewer.expect("rows").await;
        rows.apply(&message);
        if rows.0.iter().rev().take(3).any(|(_, html)| html.contains(wanted)) {
            return (rows, message["next"].as_u64().unwrap());
        }
    }
}

async fn open(server: &TestServer, log: &str, query: &str) -> Viewer {
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1{query}")).await;
    viewer.expect("open").await;
    viewer
}

fn red(text: &str) -> String {
    format!("<span style='color:var(--red,#a00)'>{text}</span>")
}

/// A log that begins with a colour and a group, followed by 5 MB.
fn long_log() -> String {
    let lines: String = (0..100_000)
        .map(|i| format!("line {i:07} of what is told in red: {}\n", i * 7919 % 997))
        .collect();
    format!("::group::all of it\n\x1b[31m{lines}")
}

#[tokio::test]
async fn a_viewer_that_starts_later_gets_the_colour_that_began_megabytes_before() {
    let server = TestServer::start().await;
    let log = server.log("a.log", long_log());
    let nothing_known = open(&server, &log, "&lines=2").await;
    let (rows, _) = rows_until(&mut { nothing_known }, "0099999").await;
    assert!(rows.texts()[0].starts_with("line 0099998"), "{rows:?}");

    let mut first = open(&server, &log, "&lines=all").await;
    let (all, next) = rows_until(&mut first, "0099999").await;
    for query in [
        "&lines=2",
        "&lines=1000",
        &format!("&from={}", next / 2 + 11),
        &format!("&from={}", next - 9),
    ] {
        let mut later = open(&server, &log, query).await;
        let (rows, _) = rows_until(&mut later, "0099999").await;
        let known = all.0.len() - rows.0.len();
        assert_eq!(rows.0[..], all.0[known..], "{query}");
        let last = rows.texts().last().map(|html| html.starts_with("<span style='color:var(--red"));
        assert_eq!(last, Some(true), "{query}: {:?}", rows.texts().last());
    }
}

#[tokio::test]
async fn all_viewers_get_the_same_messages() {
    let server = TestServer::start().await;
    let log = server.log("a.log", long_log());
    // This viewer does not get the colour until another viewer has read the log from the start.
    let mut short = open(&server, &log, "&lines=1").await;
    rows_until(&mut short, "0099999").await;
    let mut whole = open(&server, &log, "&lines=all").await;
    rows_until(&mut whole, "0099999").await;
    let mut late = open(&server, &log, "&lines=1").await;
    let (_, next) = rows_until(&mut late, "0099999").await;
    append(&log, "more\n::endgroup::\nend\n");
    for viewer in [&mut short, &mut whole, &mut late] {
        let (rows, _) = rows_until(viewer, ">end<").await;
        assert_eq!(rows.texts(), [red("more"), red("::endgroup::"), red("end")]);
    }
    // A viewer that reconnects gets the missed rows, with the end of the group.
    let mut back = open(&server, &log, &format!("&from={next}")).await;
    let message = back.expect("rows").await;
    assert_eq!(message["rows"][1][2].to_string(), r#"{"group":{"closes":1}}"#, "{message}");
}

#[tokio::test]
async fn a_viewer_that_reconnects_soon_gets_the_colours_as_they_were() {
    let server = TestServer::start().await;
    let log = server.log("a.log", format!("\x1b[31m{}", "red line\n".repeat(2000)));
    let mut viewer = open(&server, &log, "&lines=all").await;
    let mut rows = Rows::default();
    while rows.0.len() < 2000 {
        rows.apply(&viewer.expect("rows").await);
    }
    drop(viewer);
    append(&log, "after\n");
    let mut back = open(&server, &log, "&from=18005").await;
    let (rows, _) = rows_until(&mut back, "after").await;
    assert_eq!(rows.texts(), [red("after")]);
}

#[tokio::test]
async fn rows_above_the_start_that_are_redrawn_are_sent() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\nthree\n\x1b[2Anew\x1b[K\n\nfour\n");
    let mut first = open(&server, &log, "&lines=all").await;
    let (rows, _) = rows_until(&mut first, "four").await;
    assert_eq!(rows.texts(), ["one", "new", "three", "four"]);
    let mut later = open(&server, &log, "&from=8").await;
    let (rows, _) = rows_until(&mut later, "four").await;
    assert_eq!(rows.texts(), ["new", "three", "four"]);
}
