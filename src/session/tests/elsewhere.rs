//! Viewers of a log of another machine.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::request;
use crate::encoding::Detection;
use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::events::FileEvent;
use crate::log::mirrored::{Feed, FoundFile};
use crate::log::timeline::{Head, Reason, WaitReason};
use crate::log::{Access, Generation, Offset, Registry};
use crate::session::viewer::{Item, Viewer};
use crate::session::{StartAt, WantedGeneration};
use crate::testing::Elsewhere;
use crate::wire::message::Opening;

fn generation(nonce: u32) -> Generation {
    Generation::new(Identity { device: 7, inode: 1 }, nonce, b"")
}

fn head(nonce: u32) -> Head {
    Head { signed: generation(nonce), detection: Detection::of_head(b"one\n") }
}

/// A server that was started again has kept a file, does not hear its machine, and then hears of that
/// file anew.
#[tokio::test(start_paused = true)]
async fn a_viewer_that_has_waited_at_the_end_of_a_file_does_not_get_it_again() {
    let directory = tempfile::tempdir().unwrap();
    let access = Arc::new(Access::new([directory.path()]).unwrap());
    let file = |content: &str| {
        let path = directory.path().join(content.trim());
        std::fs::write(&path, content).unwrap();
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        LogFile::new(access.open(&log).unwrap())
    };
    let (old, first, second) = (file("one\n"), Arc::new(file("one\n")), Arc::new(file("two\n")));
    let (feeding, events) = mpsc::channel(1);
    let waiting = vec![FileEvent::Waiting(WaitReason::Unreachable)];
    access.mirror(Arc::new(Elsewhere {
        feed: Some(Feed { first: waiting, events, device: 7 }).into(),
        kept: Some(FoundFile { file: old, head: head(1), end: Offset(4) }).into(),
        next: |_| None,
        answer_time: Duration::ZERO,
    }));
    let log = access.locate(b"/@web1/a.log").unwrap();
    let registry = Registry::new(access, Duration::from_secs(5));
    let begin = StartAt::From {
        offset: Offset(4),
        of: WantedGeneration::Generation(generation(1)),
        otherwise: None,
    };
    let subscription = registry.join(&log, true).await.unwrap();
    let mut viewer = Viewer::new(subscription, request(begin), Arc::default(), |_| true).await;
    let began = |nonce, reason, file: &Arc<LogFile>| FileEvent::Began {
        generation: generation(nonce),
        head: head(nonce),
        before: Fingerprint::at(Offset(0)),
        reason,
        file: Arc::clone(file),
    };
    let bytes = |nonce, bytes: &'static str| FileEvent::Bytes {
        start: Offset(0),
        bytes: bytes.into(),
        written: SystemTime::UNIX_EPOCH,
        head: head(nonce),
    };
    let all = vec![
        began(1, Reason::Joined, &first),
        bytes(1, "one\n"),
        began(2, Reason::Truncated, &second),
        bytes(2, "two\n"),
    ];
    let mut items = Vec::new();
    let mut until = async |is_last: fn(&Item) -> bool| {
        while !items.last().is_some_and(is_last) {
            items.push(timeout(Duration::from_secs(60), viewer.next()).await.expect("more is due"));
        }
    };
    until(|item| matches!(item, Item::Waiting(WaitReason::Unreachable))).await;
    feeding.send(all).await.unwrap();
    until(|item| told(item).is_some_and(|told| told.contains("two"))).await;
    let told: Vec<String> = items.iter().filter_map(told).collect();
    let expected = ["open 1 4", "waiting", "Back 1 4", "Truncated 2 0", "0 b\"two\\n\""];
    assert_eq!(told, expected, "{items:?}");
}

/// An item that says something to its reader.
fn told(item: &Item) -> Option<String> {
    match item {
        Item::Open(Opening { generation, from, .. }) => {
            Some(format!("open {} {from}", generation.nonce))
        }
        Item::Reset { generation, from, reason, .. } => {
            Some(format!("{reason:?} {} {from}", generation.nonce))
        }
        Item::Bytes { start, bytes } => Some(format!("{start} {bytes:?}")),
        Item::Chunk(chunk) => Some(format!("{} {:?}", chunk.start, chunk.bytes)),
        Item::Gap { from, to, .. } => Some(format!("gap {from} {to:?}")),
        Item::Waiting(_) => Some("waiting".to_owned()),
        Item::End(ending) => Some(format!("{ending:?}")),
        Item::CaughtUp | Item::Signed(_) => None,
    }
}
