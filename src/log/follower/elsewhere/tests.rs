use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::*;
use crate::encoding::Detection;
use crate::log::access::{Access, Identity, LogPath, Refusal};
use crate::log::file::{LogFile, Status};
use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::follower::events::Poll;
use crate::log::mirrored::{Feed, Figures, Listed, PastElsewhere};
use crate::log::timeline::Head;

/// A machine that takes its time to say what came after a generation, and always names another one.
#[derive(Debug)]
struct Slow;

const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Nobody knows what came after this one.
const LAST: u64 = 1000;

fn generation(inode: u64) -> Generation {
    Generation::new(Identity { device: 7, inode }, 7, b"")
}

impl Mirror for Slow {
    fn next(&self, _: &LogPath, before: Generation) -> BoxFuture<'static, Option<Successor>> {
        async move {
            sleep(ANSWER_TIME).await;
            let generation = generation(before.identity.inode + 1);
            (before.identity.inode != LAST).then_some(Successor { generation, is_direct: true })
        }
        .boxed()
    }

    fn follow(&self, _: &LogPath) -> BoxFuture<'static, Result<Feed, Refusal>> {
        std::future::ready(Err(Refusal::NotFound)).boxed()
    }

    fn find(
        &self,
        _: &LogPath,
        _: Generation,
        _: Offset,
    ) -> BoxFuture<'static, Result<Option<FoundFile>, Refusal>> {
        std::future::ready(Ok(None)).boxed()
    }

    fn past(&self, _: &LogPath) -> BoxFuture<'static, Result<Vec<PastElsewhere>, Refusal>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn status(&self, _: &LogPath) -> Result<Status, Refusal> {
        Err(Refusal::NotFound)
    }

    fn list(&self) -> (Vec<Listed>, bool) {
        (Vec::new(), false)
    }

    fn away(&self) -> Vec<(Arc<str>, SystemTime)> {
        Vec::new()
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_replay_holds_up_nobody_and_not_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    fs::write(&path, "one\n").unwrap();
    let access = Arc::new(Access::new([directory.path()]).unwrap());
    let mirror: Arc<dyn Mirror> = Arc::new(Slow);
    access.mirror(Arc::clone(&mirror));
    let here = access.locate(path.as_os_str().as_bytes()).unwrap();
    let file = || LogFile::new(access.open(&here).unwrap());
    let head = |inode| Head { signed: generation(inode), detection: Detection::of_head(b"one\n") };
    let log = access.locate(b"/@web1/a.log").unwrap();
    let follower = Arc::new(Follower::new(Arc::clone(&access), log, 7, BROADCAST_MESSAGES));
    let began = FileEvent::Began {
        generation: generation(1),
        head: head(1),
        before: Fingerprint::at(Offset(0)),
        reason: Reason::Joined,
        file: Arc::new(file()),
    };
    follower.publish(Poll { events: vec![began], ..Poll::default() });
    let found = FoundFile { file: file(), head: head(LAST), end: Offset(4) };
    let span = follower.take_in_mirrored(found, Offset(0)).unwrap();

    let begun = Instant::now();
    let waiting = tokio::spawn({
        let follower = Arc::clone(&follower);
        async move { follower.find_next_elsewhere(&mirror, &span).await }
    });
    sleep(ANSWER_TIME / 2).await;
    assert!(follower.finding.try_lock().is_err(), "it still looks for a file");
    sleep(2 * ANSWER_TIME).await;
    assert!(!waiting.is_finished());
    assert!(follower.finding.try_lock().is_ok(), "others may look for files meanwhile");
    let next = waiting.await.unwrap();
    assert!(next.span.is_none() && !next.follows_directly);
    assert_eq!(begun.elapsed(), ANSWER_TIME + REPLAY_TIME_MAX);
}
