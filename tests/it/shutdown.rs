//! Shutdown: everything written so far is sent, viewers are closed, and no viewer can delay it.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tailcast::serve::Settings;

use crate::checked_viewer::CheckedViewer;
use crate::clients::{Streaming, Viewer};
use crate::servers::{Program, TestServer, append, write_big};

#[tokio::test]
async fn everything_written_so_far_arrives_then_1001() {
    let mut server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewers = Vec::new();
    for _ in 0..5 {
        let mut viewer = Viewer::original(server.address, &format!("{log}?tail=1")).await;
        viewer.text().await;
        viewers.push(viewer);
    }
    let mut curl = Streaming::get(server.address, &format!("{log}?tail=1"), &[]).await;
    append(&log, "first\n");
    curl.read_until("first\n").await;
    let all: String = (0..50_000).map(|n| format!("{n}\n")).collect();
    append(&log, &all);
    server.begin_stop();
    for mut viewer in viewers {
        let (text, close) = viewer.rest().await;
        assert!(text == format!("first\n{all}"), "{} bytes", text.len());
        assert_eq!(close.unwrap().0, 1001);
    }
    assert_eq!(curl.rest().await, format!("first\n{all}"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn late_writes_are_read_to_the_end() {
    let mut server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewer = CheckedViewer::from_start(&server, &log).await;
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    server.log("a.log", "new\n");
    viewer.read_until("new\n").await;
    append(server.path("a.log.1"), "late\n");
    viewer.read_until("late\n").await;
    // The file was polled just now, so the timer does not poll it before the shutdown.
    append(server.path("a.log.1"), "later\n");
    server.begin_stop();
    viewer.read_until("later\n").await;
    drop(viewer);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stuck_viewer_does_not_delay_the_shutdown() {
    let settings = Settings { shutdown_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = TestServer::with(settings).await;
    let path = server.path("big.log");
    write_big(&path, 128);
    let mut stuck = Viewer::original(
        server.address,
        &format!("{}?lines=all&format=raw&tail=1", path.display()),
    )
    .await;
    let mut stuck_curl = Streaming::get(server.address, path.to_str().unwrap(), &[]).await;
    let asked = Instant::now();
    server.stop().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    // Their connections are ended, so a server that has ended serves nobody.
    let mut got = 0;
    while let Ok(message) = stuck.next().await {
        got += message.len();
    }
    assert!(got < 128 << 20, "the viewer still got everything");
    assert!(stuck_curl.rest_is_cut().await, "the download still went on");
}

#[tokio::test]
async fn a_signal_ends_the_program_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        std::fs::write(&log, "one\n").unwrap();
        let mut program = Program::serve(&[directory.path().to_str().unwrap()]);
        let mut viewer =
            Viewer::original(program.address, &format!("{}?tail=1", log.display())).await;
        assert_eq!(viewer.text().await, "one\n");
        append(&log, "two\n");
        program.signal(signal);
        let (text, close) = viewer.rest().await;
        assert_eq!((text.as_str(), close.unwrap().0), ("two\n", 1001));
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.said());
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("big.log");
    write_big(&log, 128);
    let mut program = Program::serve(&[directory.path().to_str().unwrap()]);
    let target = format!("{}?lines=all&format=raw&tail=1", log.display());
    let _stuck = Viewer::original(program.address, &target).await;
    program.signal(Signal::TERM);
    crate::servers::eventually("it says that it is ending", async || match program.said() {
        said if said.contains("ending") => Ok(()),
        said => Err(said),
    })
    .await;
    let asked = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().await.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}
