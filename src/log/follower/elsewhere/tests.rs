use std::fs;
use std::os::unix::ffi::OsStrExt;

use tokio::time::{Instant, sleep};

use super::*;
use crate::encoding::Detection;
use crate::log::access::{Access, Identity, LogPath};
use crate::log::file::LogFile;
use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::follower::events::Poll;
use crate::log::timeline::{Head, WaitReason};
use crate::testing::Elsewhere;

const ANSWER_TIME: Duration = Duration::from_secs(1);
/// Nobody knows what came after this one.
const LAST: u64 = 1000;

fn generation(inode: u64) -> Generation {
    Generation::new(Identity { device: 7, inode }, 7, b"")
}

/// A machine that takes its time to say what came after a generation, and always names another one.
fn slow() -> Elsewhere {
    let next = |before: Generation| {
        let inode = before.identity.inode;
        (inode != LAST).then(|| generation(inode + 1))
    };
    Elsewhere { feed: None.into(), kept: None.into(), next, answer_time: ANSWER_TIME }
}

/// The follower of a log of another machine, with which it began at the file of this inode.
struct Setting {
    _directory: tempfile::TempDir,
    access: Arc<Access>,
    mirror: Arc<dyn Mirror>,
    here: LogPath,
    follower: Arc<Follower>,
}

impl Setting {
    fn new(inode: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        fs::write(&path, "one\n").unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let mirror: Arc<dyn Mirror> = Arc::new(slow());
        access.mirror(Arc::clone(&mirror));
        let here = access.locate(path.as_os_str().as_bytes()).unwrap();
        let log = access.locate(b"/@web1/a.log").unwrap();
        let follower = Arc::new(Follower::new(Arc::clone(&access), log, 7, BROADCAST_MESSAGES));
        let setting = Self { _directory: directory, access, mirror, here, follower };
        setting.follow(inode, Reason::Joined, 0);
        setting
    }

    fn file(&self) -> LogFile {
        LogFile::new(self.access.open(&self.here).unwrap())
    }

    fn head(inode: u64) -> Head {
        Head { signed: generation(inode), detection: Detection::of_head(b"one\n") }
    }

    /// The follower comes to the next file.
    fn follow(&self, inode: u64, reason: Reason, from: u64) {
        let began = FileEvent::Began {
            generation: generation(inode),
            head: Self::head(inode),
            before: Fingerprint::at(Offset(from)),
            reason,
            file: Arc::new(self.file()),
        };
        self.follower.publish(Poll { events: vec![began], ..Poll::default() });
    }

    /// All four bytes of a file that was found.
    fn found(&self, inode: u64) -> Arc<Span> {
        let found = FoundFile { file: self.file(), head: Self::head(inode), end: Offset(4) };
        self.follower.take_in_mirrored(found, Offset(0)).unwrap()
    }
}

#[test]
fn a_file_that_a_viewer_got_to_elsewhere_goes_on_where_it_comes_to_be_followed() {
    let setting = Setting::new(1);
    let span = setting.found(2);
    let come_to = |offset| {
        let reader = setting.follower.come_to(&span, Offset(offset));
        reader.map(|reader| (reader.span().number, reader.span().from))
    };
    let first = setting.follower.timeline().latest().unwrap().number;
    assert_eq!(come_to(4), None, "it is not followed yet");
    setting.follow(2, Reason::Rotated, 0);
    assert_eq!(come_to(0), Some((first + 1, Offset(0))), "more may be written to it");
    setting.follow(3, Reason::Rotated, 0);
    setting.follow(2, Reason::Back, 4);
    assert_eq!(come_to(0), Some((first + 1, Offset(0))), "the span that ends here comes first");
    assert_eq!(come_to(4), Some((first + 3, Offset(4))));
    assert_eq!(come_to(9), Some((first + 3, Offset(4))), "its end is not published yet");
    let local = Follower::new(Arc::clone(&setting.access), setting.here.clone(), 7, 1);
    assert!(local.come_to(&span, Offset(4)).is_none());
}

#[test]
fn what_a_viewer_had_before_it_came_to_a_file_is_not_published_again() {
    let setting = Setting::new(1);
    let span = setting.found(2);
    setting.follow(2, Reason::Rotated, 0);
    let reader = setting.follower.come_to(&span, Offset(4)).unwrap();
    assert_eq!(reader.span().end(), Offset(4), "others read it from the file");
    let waiting = FileEvent::Waiting(WaitReason::Unreachable);
    setting.follower.publish(Poll { events: vec![waiting], ..Poll::default() });
    // The machine goes on where it was heard last.
    setting.follow(2, Reason::Back, 1);
    let latest = setting.follower.timeline().latest().unwrap().from;
    assert_eq!(latest, Offset(4));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_replay_holds_up_nobody_and_not_for_long() {
    let setting = Setting::new(1);
    let span = setting.found(LAST);
    let Setting { mirror, follower, .. } = setting;
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
