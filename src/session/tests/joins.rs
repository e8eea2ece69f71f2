//! The cost of a join: one call on a blocking thread to open the log, and one to read it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::request;
use crate::log::{Access, LogPath, Offset, Registry};
use crate::session::{Form, Hub, Output, Session, StartAt, StreamRequest, WantedGeneration};

pub(super) struct Log {
    directory: TempDir,
    pub(super) hub: Hub,
    log: LogPath,
}

impl Log {
    pub(super) fn new(content: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, content).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        let hub = Hub::new(Registry::new(access, Duration::from_secs(5)));
        Self { directory, hub, log }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("a.log")
    }

    /// Appends bytes, and waits until the follower has published them.
    pub(super) async fn append(&self, bytes: &[u8]) {
        let mut file = std::fs::File::options().append(true).open(self.path()).unwrap();
        file.write_all(bytes).unwrap();
        self.published().await;
    }

    /// Waits until the follower has published everything in the file: each join does.
    pub(super) async fn published(&self) {
        let _viewer = self.hub.registry().join(&self.log, true).await.unwrap();
    }

    pub(super) async fn join(&self, begin: StartAt, form: Form) -> Session {
        let request = StreamRequest { signed: form.has_control(), ..request(begin) };
        let mut session = self.hub.join(&self.log, request, form).await.unwrap();
        session.begin().await;
        session
    }
}

/// The payloads of the session's messages up to the one that contains `last`.
async fn until(session: &mut Session, last: &str) -> String {
    let mut text = String::new();
    while !text.contains(last) {
        let next = tokio::time::timeout(Duration::from_secs(10), session.next());
        let Output::Frames(frames) = next.await.expect("messages are due") else { break };
        for frame in frames {
            text.push_str(&String::from_utf8_lossy(&frame.payload()));
        }
    }
    text
}

/// Takes everything that the session has, until it waits for new lines.
pub(super) async fn catch_up(session: &mut Session) {
    while session.idle_position().is_none() {
        let next = tokio::time::timeout(Duration::from_secs(10), session.next());
        next.await.expect("messages are due");
    }
}

fn lines(count: usize) -> String {
    (0..count).map(|line| format!("line {line}\n")).collect()
}

#[tokio::test]
async fn a_join_reads_the_file_in_one_call_on_a_blocking_thread() {
    let of = WantedGeneration::Present;
    for (begin, first) in [
        (StartAt::Lines(10), "line 90"),
        (StartAt::Lines(1000), "line 0"),
        (StartAt::All, "line 0"),
        (StartAt::From { offset: Offset(7), of, otherwise: None }, "line 1"),
    ] {
        for form in [Form::Rows, Form::Html, Form::Text, Form::Raw, Form::RawMessages] {
            let log = Log::new(&lines(100));
            let mut session = log.join(begin, form).await;
            let text = until(&mut session, "line 99").await;
            assert!(text.contains(first), "{begin:?} in {form:?}: {text}");
            catch_up(&mut session).await;
            assert_eq!(session.file_reads(), 1, "{begin:?} in {form:?}");
        }
    }
}

#[tokio::test]
async fn a_join_without_lines_and_one_of_an_empty_log_cost_no_more() {
    for (content, begin) in [(lines(100), StartAt::Lines(0)), (String::new(), StartAt::All)] {
        let log = Log::new(&content);
        let mut session = log.join(begin, Form::Rows).await;
        catch_up(&mut session).await;
        assert_eq!(session.file_reads(), 1, "{begin:?}");
    }
}

#[tokio::test]
async fn viewers_that_join_at_the_same_time_share_the_first_lines_and_read_no_bytes() {
    let log = Log::new(&lines(100));
    let mut first = log.join(StartAt::Lines(10), Form::Rows).await;
    let renders = log.hub.renders();
    let mut second = log.join(StartAt::Lines(10), Form::Rows).await;
    let last = "line 99";
    assert_eq!(until(&mut first, last).await, until(&mut second, last).await);
    assert_eq!((log.hub.renders(), second.file_reads()), (renders, 2));
}

#[tokio::test]
async fn the_first_bytes_are_sent_once_even_if_the_log_grows_before_that() {
    let log = Log::new("one\ntwo\n");
    let mut session = log.join(StartAt::All, Form::Raw).await;
    log.append(b"three\n").await;
    assert_eq!(until(&mut session, "three\n").await, "one\ntwo\nthree\n");
}
