//! A followed log, and what has been published of it for all its viewers.
//!
//! Each chunk goes out once on a `tokio::sync::broadcast`, whatever the number of viewers. The
//! timeline records what has been published, so that a viewer that missed chunks reads them from
//! the file. Viewers subscribe first and look at the timeline second, so no chunk is missed between
//! the two.
//!
//! `task` polls the files and publishes; `pool` runs the tasks of all followers.

mod appearances;
pub mod events;
mod fed;
mod late_files;
mod pool;
mod replacement;
pub mod rotation;
mod schedule;
pub mod tailed_file;
mod task;
mod watch_set;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::log::access::{Access, Identity, LogPath};
use crate::log::archive::{Compression, Unpacked};
use crate::log::blocking;
use crate::log::file::{LogFile, Nuls, Read};
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::follower::rotation::RotationTracker;
use crate::log::follower::tailed_file::{RememberedFile, TailedFile};
use crate::log::mirrored::{FoundFile, Mirror, Successor, is_mirrored};
use crate::log::pattern::{self, Pattern};
use crate::log::position::{Chunk, Generation, Offset};
use crate::log::rotated::{self, Identified, OldFiles, PastFile};
use crate::log::timeline::{OLD_FILES_MAX, Reason, Span, SpanReader, Timeline, WaitReason};
use crate::log::wake::Wake;
use crate::log::watch::Watches;
pub(in crate::log) use fed::publish_feed;
pub(in crate::log) use pool::Pool;
pub(in crate::log) use task::{FollowerTask, LAST_POLLS_TIME_MAX, Registration};

/// A watched log is polled this often even without an event, because some changes cause none: on
/// file systems without events, through hard links, by mounts, or after an overflow of the event
/// queue.
pub const BACKSTOP_INTERVAL: Duration = Duration::from_secs(2);
/// A log that can't be watched is polled this often.
pub const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// A log is still followed for this long after its last viewer has left.
pub const LINGER: Duration = Duration::from_secs(3);
/// A search for a rotated file waits at most this long until other files are closed.
const ROOM_TIME_MAX: Duration = Duration::from_secs(1);
/// What another server has shown of a log of another machine already is waited for this long.
const COMING_TIME_MAX: Duration = Duration::from_secs(5);
/// So many files may a server have to come to after its start, and for so long is that waited for.
const REPLAYED_MAX: usize = 64;
const REPLAY_TIME_MAX: Duration = Duration::from_secs(10);
/// How often the history is listed for one step, while files are being renamed.
const LISTINGS_MAX: usize = 3;
/// Nobody writes any more to a rotated file that has not been written to for this long.
const LATE_TIME: Duration = Duration::from_secs(60);
/// A viewer that is more messages behind than this reads the file instead. A power of two.
pub const BROADCAST_MESSAGES: usize = 32;

/// What is broadcast to viewers.
#[derive(Clone, Debug)]
pub enum Event {
    /// New bytes.
    Chunk(Arc<Chunk>),
    /// The timeline has changed in another way: read it.
    TimelineChanged,
}

/// What a search for a file came to.
enum Sought<T> {
    Found(T),
    Nothing,
    /// The file is compressed. When this is unpacked, the search can go on.
    Unpacking(Arc<Unpacked>),
}

/// A file of a log's history: one that had the log's name, or the present one.
#[derive(Clone, Debug)]
pub struct HistoryFile {
    /// The generation of its content.
    pub generation: Generation,
    /// How it is compressed; None where it is read as it is.
    pub compression: Option<Compression>,
    /// When it was last written, if known.
    pub modified: Option<SystemTime>,
    /// How many bytes it has on the disk.
    pub disk_size: u64,
    /// None for the present file.
    past: Option<Past>,
}

/// Where a file of the past lies.
#[derive(Clone, Debug)]
enum Past {
    Here(PastFile),
    /// On another machine, which gives it by its generation.
    Elsewhere {
        path: LogPath,
        is_gap_after: bool,
    },
}

impl HistoryFile {
    /// The path of a file that has lost the log's name; None for the present file.
    #[must_use]
    pub fn past_path(&self) -> Option<&LogPath> {
        self.past.as_ref().map(|past| match past {
            Past::Here(past) => &past.path,
            Past::Elsewhere { path, .. } => path,
        })
    }

    /// Whether, by the names, a file is missing between this one and the next.
    #[must_use]
    pub fn is_gap_after(&self) -> bool {
        self.past.as_ref().is_some_and(|past| match past {
            Past::Here(past) => past.is_gap_after,
            Past::Elsewhere { is_gap_after, .. } => *is_gap_after,
        })
    }
}

/// What came after a file that was rotated away before anybody followed the log.
#[derive(Debug)]
pub struct NextRotated {
    /// The span of a file that had the name next and was found. None where the file comes next with
    /// which following began.
    pub span: Option<SpanReader>,
    /// Whether it is proved that no other file had the name in between.
    pub follows_directly: bool,
}

/// A log that is followed.
#[derive(Debug)]
pub struct Follower {
    access: Arc<Access>,
    log: LogPath,
    /// The device of the log's file system, if known.
    device: u64,
    timeline: Mutex<Timeline>,
    events: broadcast::Sender<Event>,
    wake: Arc<Wake>,
    /// How many refreshes have been requested.
    asked: AtomicU64,
    /// How many of them have been completed.
    answered: watch::Sender<u64>,
    viewers: AtomicUsize,
    is_polling: AtomicBool,
    /// When nobody views the log, the follower ends at once.
    is_unwanted: AtomicBool,
    /// Nothing will be written to the log any more.
    is_complete: AtomicBool,
    /// Files that were found again and are still to be handed to the tracker.
    found: Mutex<Vec<TailedFile>>,
    /// How many late files the tracker is to drop to make room for files that were found again.
    excess_files: AtomicUsize,
    /// How many old files are open that the timeline does not know.
    unpublished_files: AtomicUsize,
    /// Files that had the name before the first poll.
    old_files: OldFiles,
    /// What was published of the log last, before this follower began.
    recalled: Mutex<Option<RememberedFile>>,
    /// Locked during a search for a file, because another viewer may need the same file.
    finding: tokio::sync::Mutex<()>,
}

impl Follower {
    /// A follower that has published nothing yet. A viewer that is more than `messages` behind,
    /// rounded up to a power of two, reads the file instead.
    pub(crate) fn new(access: Arc<Access>, log: LogPath, device: u64, messages: usize) -> Self {
        Self {
            access,
            log,
            device,
            timeline: Mutex::default(),
            events: broadcast::channel(messages).0,
            wake: Arc::default(),
            asked: AtomicU64::new(0),
            answered: watch::channel(0).0,
            viewers: AtomicUsize::new(0),
            is_polling: AtomicBool::new(false),
            is_unwanted: AtomicBool::new(false),
            is_complete: AtomicBool::new(false),
            found: Mutex::default(),
            excess_files: AtomicUsize::new(0),
            unpublished_files: AtomicUsize::new(0),
            old_files: OldFiles::default(),
            recalled: Mutex::default(),
            finding: tokio::sync::Mutex::default(),
        }
    }

    /// Says what was published of the log last, before this follower began. Where the file proves to be
    /// the same, it goes on with its generation, also under another name.
    pub(crate) fn recall(&self, file: RememberedFile) {
        *self.recalled.lock() = Some(file);
    }

    /// The log's name.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        &self.log
    }

    /// The device of the log's file system, if known.
    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Whether the log is on another machine, which does not answer.
    #[must_use]
    pub fn is_out_of_reach(&self) -> bool {
        self.timeline().waiting() == Some(WaitReason::Unreachable)
    }

    /// How many viewers it has.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.viewers.load(Ordering::SeqCst)
    }

    /// Whether it polls because the file system gives no events.
    #[must_use]
    pub fn is_polling(&self) -> bool {
        self.is_polling.load(Ordering::Relaxed)
    }

    /// What has been published. The guard must not be held across an await.
    pub fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock()
    }

    /// Waits until everything that the file contains now has been published. Simultaneous
    /// refreshes share the polls.
    pub async fn refresh(&self) {
        let own = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.wake();
        let mut answered = self.answered.subscribe();
        // The sender lives as long as `self`, so only the completion ends this wait.
        let _answer = answered.wait_for(|&answered| answered >= own).await;
    }

    /// Whether the log can be opened now. A new viewer may only see a log that can be read now.
    pub async fn can_be_opened(self: &Arc<Self>) -> bool {
        if is_mirrored(self.log.as_path()) {
            return self.access.admits(&self.log);
        }
        let follower = Arc::clone(self);
        let opening = move || follower.access.open(&follower.log).is_ok();
        blocking::run(self.device, opening).await.unwrap_or(false)
    }

    /// The span of a position in a file that was rotated away while nobody followed, or that was
    /// closed since. None unless the file still lies beside the log and is provably the same, or a
    /// compressed file there has its content.
    pub async fn find_rotated(
        self: &Arc<Self>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let _finding = self.finding.lock().await;
        let known = self.timeline().find(generation, offset);
        if known.is_some() {
            return known;
        }
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            return self.find_elsewhere(&mirror, generation, offset).await;
        }
        let found = self.find(move |follower| follower.seek_rotated(generation, offset)).await;
        found.map(|reader| Arc::clone(reader.span()))
    }

    /// The span of a file of the log's past, by the generation that it has when nobody has followed
    /// it. That proves which file it is, even where the file is short.
    pub async fn find_named(self: &Arc<Self>, generation: Generation) -> Option<Arc<Span>> {
        let _finding = self.finding.lock().await;
        self.find(move |follower| {
            match follower.old_files.find_named(&follower.access, &follower.log, generation) {
                Some(file) => follower.sought(Some(generation), Offset(0), file),
                None => Sought::Nothing,
            }
        })
        .await
        .map(|reader| Arc::clone(reader.span()))
    }

    /// The span of a position in a log of another machine.
    async fn find_elsewhere(
        &self,
        mirror: &Arc<dyn Mirror>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let known = self.timeline().last_of(generation).map(|span| span.end());
        let may_come = match known {
            Some(end) => end < offset,
            None => mirror.next(&self.log, generation).await.is_none(),
        };
        if may_come {
            // It may be the present one. Another server may have been a moment ahead.
            let find = |timeline: &Timeline| timeline.find(generation, offset);
            if let Some(found) = self.wait_for(find).await {
                return Some(found);
            }
        }
        let found = mirror.find(&self.log, generation, offset).await.ok()??;
        self.take_in_mirrored(found, offset)
    }

    /// Adds a file that was found. Its machine may have said that there is more of the present one than
    /// was published.
    fn take_in_mirrored(&self, found: FoundFile, offset: Offset) -> Option<Arc<Span>> {
        let (span, has_grown) = {
            let mut timeline = self.timeline();
            let end = |timeline: &Timeline| timeline.latest().map(|span| span.end());
            let before = end(&timeline);
            let span = timeline.add_mirrored(found, offset);
            (span, end(&timeline) != before)
        };
        if has_grown {
            self.send(Event::TimelineChanged);
        }
        span
    }

    /// Waits for something to come into the timeline.
    async fn wait_for<T>(&self, find: impl Fn(&Timeline) -> Option<T>) -> Option<T> {
        let mut events = self.subscribe();
        let coming = async {
            loop {
                let found = find(&self.timeline());
                if found.is_some() {
                    return found;
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return None;
                }
            }
        };
        timeout(COMING_TIME_MAX, coming).await.ok().flatten()
    }

    /// What had the name after a file of another machine that was not followed to its end.
    async fn find_next_elsewhere(&self, mirror: &Arc<dyn Mirror>, span: &Span) -> NextRotated {
        let unknown = NextRotated { span: None, follows_directly: false };
        let before = span.signed();
        let finding = self.finding.lock().await;
        let next = mirror.next(&self.log, before).await;
        let Some(Successor { generation: next, is_direct }) =
            next.filter(|next| !next.generation.is(&before))
        else {
            // This finds no file, and may take long.
            drop(finding);
            self.wait_for_replay(mirror, before).await;
            return unknown;
        };
        let find = |timeline: &Timeline| {
            let first = timeline.first_of(next);
            first.map(|span| SpanReader::enter(&span))
        };
        let is_known = self.timeline().turned_to(next);
        let span = if is_known || mirror.next(&self.log, next).await.is_none() {
            self.wait_for(find).await
        } else {
            None
        };
        let span = match span {
            Some(span) => Some(span),
            None => {
                let Ok(Some(found)) = mirror.find(&self.log, next, Offset(0)).await else {
                    return unknown;
                };
                let span = self.take_in_mirrored(found, Offset(0));
                span.map(|span| SpanReader::enter(&span))
            }
        };
        NextRotated { follows_directly: is_direct && span.is_some(), span }
    }

    /// A server that was started again may begin with an older file than a viewer has got to elsewhere.
    /// Then waits until it has come to that one, too.
    async fn wait_for_replay(&self, mirror: &Arc<dyn Mirror>, generation: Generation) {
        let first = self.timeline().first_generation();
        let Some(mut earlier) = first.filter(|first| !first.is(&generation)) else { return };
        let replay = async {
            for _ in 0..REPLAYED_MAX {
                let Some(next) = mirror.next(&self.log, earlier).await else { return };
                if next.generation.is(&generation) {
                    let _replayed = self.wait_for(|timeline| timeline.last_of(generation)).await;
                    return;
                }
                earlier = next.generation;
            }
        };
        let _in_time = timeout(REPLAY_TIME_MAX, replay).await;
    }

    /// The number of the span after which a viewer goes on that has read all of a rotated one: its
    /// follower may have come to that file meanwhile, too.
    #[must_use]
    pub fn passed(&self, span: &Span) -> Option<u64> {
        self.timeline().last_passed(span.generation)
    }

    /// What comes next in the history of a log of another machine.
    async fn find_next_named_elsewhere(
        self: &Arc<Self>,
        mirror: &Arc<dyn Mirror>,
        span: &Span,
    ) -> NextRotated {
        let history = self.history_elsewhere(mirror).await;
        let own = history.iter().position(|file| file.generation.is(&span.generation));
        let Some(own) = own else { return self.find_next_elsewhere(mirror, span).await };
        let is_complete = !history[own].is_gap_after();
        let next = history.get(own + 1).filter(|next| {
            let is_followed = self.timeline().turned_to(next.generation);
            next.past.is_some() && !is_followed
        });
        let Some(next) = next else {
            return NextRotated { span: None, follows_directly: is_complete };
        };
        let span = self.open_elsewhere(mirror, next.generation).await;
        NextRotated { follows_directly: is_complete && span.is_some(), span }
    }

    /// The span of a file of another machine's log, from its first byte on.
    async fn open_elsewhere(
        &self,
        mirror: &Arc<dyn Mirror>,
        generation: Generation,
    ) -> Option<SpanReader> {
        let known = {
            let timeline = self.timeline();
            timeline.find(generation, Offset(0)).map(|span| SpanReader::enter(&span))
        };
        if known.is_some() {
            return known;
        }
        let found = mirror.find(&self.log, generation, Offset(0)).await.ok()??;
        self.take_in_mirrored(found, Offset(0)).map(|span| SpanReader::enter(&span))
    }

    fn seek_rotated(&self, generation: Generation, offset: Offset) -> Sought<SpanReader> {
        let on_disk = self.timeline().on_disk(generation);
        let (access, log) = (&self.access, &self.log);
        let last = self.timeline().last_of(generation);
        let end = last.as_ref().map(|span| span.end());
        let found = rotated::find(access, log, on_disk, offset, end);
        let found = found.or_else(|| self.old_files.find_named(access, log, generation));
        if let Some(file) = found {
            return self.sought(Some(generation), offset, file);
        }
        let Some(file) = self.old_files.find_compressed(access, log, generation, end) else {
            return Sought::Nothing;
        };
        let tail = last.map(|span| span.tail());
        let is_proved = || {
            let size = file.status().ok()?.size;
            // What was published last proves that all of it is the same.
            let at = tail.as_ref().map_or(offset, |tail| tail.offset().max(offset));
            let is_same = match &tail {
                Some(tail) => {
                    let read = file.read_after(tail, 0, tail.offset(), Nuls::Written).ok()?;
                    !matches!(read, Read::Changed)
                }
                None => true,
            };
            Some(is_same && at.0 <= size)
        };
        match file.still_unpacking() {
            Some(copy) => Sought::Unpacking(copy),
            None if is_proved() == Some(true) => self.sought(Some(generation), offset, file),
            None => Sought::Nothing,
        }
    }

    /// The span of a file that was found, or the wait until it is unpacked.
    fn sought(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Sought<SpanReader> {
        if let Some(copy) = file.still_unpacking() {
            return Sought::Unpacking(copy);
        }
        self.take_in(asked, offset, file).map_or(Sought::Nothing, Sought::Found)
    }

    /// What had the name after the file of a span that was rotated away before the first poll. With
    /// `by_name`, the names of the files say which these are, as for the whole past of the log.
    pub async fn find_next_rotated(
        self: &Arc<Self>,
        span: &Arc<Span>,
        by_name: bool,
    ) -> NextRotated {
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            if by_name {
                return self.find_next_named_elsewhere(&mirror, span).await;
            }
            return self.find_next_elsewhere(&mirror, span).await;
        }
        let unknown = NextRotated { span: None, follows_directly: false };
        let file = match span.file() {
            Some(file) => Some(file),
            None => {
                let found = self.find_rotated(span.signed(), span.end()).await;
                found.and_then(|span| span.file())
            }
        };
        let Some(file) = file else { return unknown };
        let _finding = self.finding.lock().await;
        let span = Arc::clone(span);
        let found = self.find(move |follower| follower.find_next(&span, &file, by_name)).await;
        found.unwrap_or(unknown)
    }

    /// The same. It may block.
    fn find_next(
        &self,
        before_span: &Span,
        before: &LogFile,
        by_name: bool,
    ) -> Sought<NextRotated> {
        if by_name {
            return self.find_next_by_name(before_span, before);
        }
        if let Some(pattern) = self.log.pattern() {
            return Sought::Found(self.find_next_match(pattern, before));
        }
        let followed = self.timeline().followed();
        let next = followed.as_ref().and_then(|followed| {
            self.old_files.find_next(&self.access, &self.log, before, followed)
        });
        if let Some(copy) = next.as_ref().and_then(LogFile::still_unpacking) {
            return Sought::Unpacking(copy);
        }
        let found = next.is_some();
        let born = next.as_ref().map_or(followed.map(|followed| followed.born), LogFile::born);
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let is_given = !found || span.is_some();
        let follows_directly = born.is_some_and(|born| {
            before_span.precedes(born, || rotated::follows_directly(before, &self.log, born))
        });
        Sought::Found(NextRotated { span, follows_directly: is_given && follows_directly })
    }

    /// What comes next in the history. After it come the files that have been followed. It may
    /// block.
    fn find_next_by_name(&self, before_span: &Span, before: &LogFile) -> Sought<NextRotated> {
        let mut follows_directly = true;
        for _ in 0..LISTINGS_MAX {
            let history = self.read_history();
            let is_before = |file: &HistoryFile| file.generation.is(&before_span.generation);
            let from = match history.iter().position(is_before) {
                Some(at) => {
                    follows_directly &= !history[at].is_gap_after();
                    at + 1
                }
                // It was removed since. The times say what comes next.
                None => {
                    follows_directly = false;
                    let written = before.status().ok().map(|status| status.modified);
                    let later = history.iter().position(|file| file.modified > written);
                    later.unwrap_or(history.len())
                }
            };
            let is_followed = |file: &HistoryFile| self.timeline().turned_to(file.generation);
            let next = history.get(from).filter(|file| !is_followed(file));
            let past = next.and_then(|next| Some((next, next.past.as_ref()?)));
            let Some((next, Past::Here(past))) = past else {
                return Sought::Found(NextRotated { span: None, follows_directly });
            };
            let Some(file) = past.open(&self.access) else { continue };
            if let Some(copy) = file.still_unpacking() {
                return Sought::Unpacking(copy);
            }
            let span = self.take_in(Some(next.generation), Offset(0), file);
            let follows_directly = follows_directly && span.is_some();
            return Sought::Found(NextRotated { span, follows_directly });
        }
        Sought::Found(NextRotated { span: None, follows_directly: false })
    }

    /// The same for a pattern. Its files keep their names, so the next match is the next file. It
    /// may block.
    fn find_next_match(&self, pattern: &Pattern, before: &LogFile) -> NextRotated {
        let (access, log) = (&self.access, &self.log);
        let Ok(all) = pattern::matches(access, log, pattern) else {
            return NextRotated { span: None, follows_directly: false };
        };
        let has_followed = |identity| self.timeline().has_followed(identity);
        let next = rotated::find_next_match(access, &all, before, has_followed);
        let found = next.is_some();
        let span = next.and_then(|next| self.take_in(None, Offset(0), next));
        let follows_directly = !found || span.is_some();
        NextRotated { span, follows_directly }
    }

    /// The span of a file that was rotated away before the first poll, for a position that can't be
    /// proved. It gets a new generation, and viewers read it from its beginning.
    pub async fn find_unproved(self: &Arc<Self>, wanted: Generation) -> Option<Arc<Span>> {
        if self.timeline().latest_of_inode(wanted).is_some() {
            return None;
        }
        self.find(move |follower| {
            match rotated::find_unproved(&follower.access, &follower.log, wanted) {
                Some(file) => follower.sought(None, Offset(0), file),
                None => Sought::Nothing,
            }
        })
        .await
        .map(|reader| Arc::clone(reader.span()))
    }

    /// The past of the log and its present file, the oldest file first.
    pub async fn history(self: &Arc<Self>) -> Vec<HistoryFile> {
        if let Some(mirror) = self.access.mirror_of(&self.log) {
            return self.history_elsewhere(&mirror).await;
        }
        let follower = Arc::clone(self);
        blocking::run(self.device, move || follower.read_history()).await.unwrap_or_default()
    }

    /// The same. It may block.
    fn read_history(&self) -> Vec<HistoryFile> {
        let past = self.old_files.past(&self.access, &self.log);
        let there: HashMap<Identity, Arc<Identified>> =
            past.iter().map(|(_, it)| (it.generation.identity, Arc::clone(it))).collect();
        let mut files: Vec<HistoryFile> = Vec::with_capacity(past.len() + 1);
        // The newest first: what was compressed a moment ago was followed a moment before.
        for (file, identified) in past.into_iter().rev() {
            let (named, head) = (identified.generation, &identified.head);
            let timeline = self.timeline();
            let known = timeline.known_file(named.identity, head).or_else(|| {
                let present = timeline.latest().map(|span| span.generation);
                let is_gone = |generation: &Generation, identity: Identity| {
                    let is_taken = files.iter().any(|other| other.generation.is(generation));
                    let is_present = present.is_some_and(|present| present.is(generation));
                    // Another file may have got the number of one that is gone.
                    let other = there.get(&identity);
                    let is_there = other.is_some_and(|other| generation.is_of(&other.head));
                    !is_present && !is_there && !is_taken
                };
                identified.compression.and_then(|_| timeline.known_content(head, is_gone))
            });
            drop(timeline);
            files.push(HistoryFile {
                generation: known.unwrap_or(named),
                compression: identified.compression,
                modified: Some(file.modified),
                disk_size: file.size,
                past: Some(Past::Here(file)),
            });
        }
        files.reverse();
        self.with_present(files)
    }

    /// The same for a log of another machine. What that does not say is not known.
    async fn history_elsewhere(&self, mirror: &Arc<dyn Mirror>) -> Vec<HistoryFile> {
        let past = match mirror.past(&self.log).await {
            Ok(past) => past,
            Err(refusal) => {
                tracing::debug!(log = %self.log.display(), %refusal, "its past is not known");
                Vec::new()
            }
        };
        let files = past.into_iter().filter_map(|file| {
            let path = self.access.locate(&file.path).ok()?;
            let known = self.timeline().known_twin(&file.generation);
            Some(HistoryFile {
                generation: known.unwrap_or(file.generation),
                compression: file.compression,
                modified: file.modified,
                disk_size: file.disk_size,
                past: Some(Past::Elsewhere { path, is_gap_after: file.is_gap_after }),
            })
        });
        self.with_present(files.collect())
    }

    /// The files of the past, and the present one.
    fn with_present(&self, mut files: Vec<HistoryFile>) -> Vec<HistoryFile> {
        let present = {
            let timeline = self.timeline();
            timeline.present().cloned()
        };
        let Some((present, file)) = present.and_then(|span| Some((span.signed(), span.file()?)))
        else {
            return files;
        };
        // It may have been renamed a moment ago.
        if !files.iter().any(|past| past.generation.is(&present)) {
            let status = match file.is_mirrored() {
                true => file.status().ok(),
                false => self.access.status(&self.log).ok(),
            };
            files.push(HistoryFile {
                generation: present,
                compression: file.compression(),
                modified: status.map(|status| status.modified),
                disk_size: status.map_or(0, |status| status.size),
                past: None,
            });
        }
        files
    }

    /// The span of a file of the log's history, whose file stays open as long as it is read.
    pub async fn open_history(self: &Arc<Self>, file: &HistoryFile) -> Option<SpanReader> {
        let generation = file.generation;
        let past = match file.past.clone() {
            Some(Past::Here(past)) => past,
            Some(Past::Elsewhere { .. }) => {
                let mirror = self.access.mirror_of(&self.log)?;
                return self.open_elsewhere(&mirror, generation).await;
            }
            None => {
                let timeline = self.timeline();
                return timeline.last_of(generation).map(|span| SpanReader::enter(&span));
            }
        };
        let _finding = self.finding.lock().await;
        let known = {
            let timeline = self.timeline();
            timeline.find(generation, Offset(0)).map(|span| SpanReader::enter(&span))
        };
        if known.is_some() {
            return known;
        }
        self.find(move |follower| {
            let file = past.open(&follower.access);
            match file.filter(|file| file.identity() == generation.identity) {
                Some(file) => follower.sought(Some(generation), Offset(0), file),
                // It was renamed or compressed since it was followed, or since the list was made.
                None => follower.seek_rotated(generation, Offset(0)),
            }
        })
        .await
    }

    /// Runs a search for a file, which may block, on a blocking thread. While the file is being
    /// unpacked, no thread waits for that.
    async fn find<T: Send + 'static>(
        self: &Arc<Self>,
        search: impl Fn(&Self) -> Sought<T> + Send + Sync + 'static,
    ) -> Option<T> {
        let search = Arc::new(search);
        let found = loop {
            let (follower, search) = (Arc::clone(self), Arc::clone(&search));
            let sought = blocking::run(self.device, move || search(&follower)).await?;
            match sought {
                Sought::Found(found) => break Some(found),
                Sought::Nothing => break None,
                Sought::Unpacking(copy) => copy.ended().await,
            }
        };
        if self.excess_files.load(Ordering::SeqCst) > 0 {
            // The next search begins only after late files have been closed for this one.
            let _in_time = timeout(ROOM_TIME_MAX, self.refresh()).await;
        }
        found
    }

    /// Adds a file that was found again to the timeline. It keeps the generation that was `asked`
    /// for if this follower issued that generation, or if that was published before it began. The
    /// tracker then reads the file for late writers.
    fn take_in(
        &self,
        asked: Option<Generation>,
        offset: Offset,
        file: LogFile,
    ) -> Option<SpanReader> {
        let end = file.written_end(file.status().ok()?.size).ok()?;
        let mut tailed = TailedFile::found(file, end).ok()?;
        let recalled = self.recalled.lock().clone();
        let is_wanted =
            |recalled: &RememberedFile| asked.is_none_or(|asked| recalled.generation.is(&asked));
        if let Some(recalled) = recalled.filter(is_wanted)
            && recalled.is_in(&tailed.file, tailed.head())
        {
            tailed.generation = recalled.generation.signed_by(tailed.head());
        }
        let (generation, file) = (tailed.generation, Arc::clone(&tailed.file));
        // Nobody writes to a file that was compressed, or that is much older than the present one.
        let written = |file: &LogFile| file.status().ok().map(|status| status.modified);
        let present = self.timeline().latest().and_then(|span| span.file());
        let latest = present.and_then(|present| written(&present));
        let at_rest_since = written(&file).and_then(|written| written.checked_add(LATE_TIME));
        let is_late = latest.is_none_or(|latest| at_rest_since.is_none_or(|since| since >= latest));
        let may_be_late = file.compression().is_none() && is_late;
        let (reader, is_new) = {
            let mut timeline = self.timeline();
            let (span, is_new) =
                timeline.add_rotated(asked, offset, generation, tailed.head(), file, end)?;
            // Under the lock, so that the file is not closed before somebody reads it.
            (SpanReader::enter(&span), is_new)
        };
        if is_new && may_be_late {
            self.found.lock().push(tailed);
            self.wake.wake();
        }
        let in_use = self.close_excess_files();
        if in_use > 0 {
            self.excess_files.store(in_use, Ordering::SeqCst);
            self.wake.wake();
        }
        Some(reader)
    }

    /// Closes old files beyond [`OLD_FILES_MAX`], in the order in which they were opened. Only
    /// files that can be found again by their names are closed. Returns how many are still too
    /// many because they are in use. The call may block.
    fn close_excess_files(&self) -> usize {
        let files = self.timeline().old_files();
        let open = files.len() + self.unpublished_files.load(Ordering::SeqCst);
        let excess = open.saturating_sub(OLD_FILES_MAX);
        if excess == 0 {
            return 0;
        }
        // The last one was opened a moment ago.
        let closable = files.iter().rev().skip(1).rev().filter(|old| !old.is_in_use);
        let named = closable.filter(|old| old.file.path_now().is_some()).take(excess);
        let closed: Vec<_> = named.map(|old| Arc::clone(&old.file)).collect();
        drop(files);
        self.timeline().close_files(&closed);
        excess - closed.len()
    }

    /// Whether one more old file may be open.
    fn has_room(&self) -> bool {
        let unpublished = self.unpublished_files.load(Ordering::SeqCst);
        self.timeline().old_files().len() + unpublished < OLD_FILES_MAX
    }

    /// Says how many old files are open that the timeline does not know.
    fn set_unpublished_files(&self, files: usize) {
        self.unpublished_files.store(files, Ordering::SeqCst);
    }

    /// How many late files are to be closed. The call resets the number.
    fn take_excess_files(&self) -> usize {
        self.excess_files.swap(0, Ordering::SeqCst)
    }

    /// Gives the tracker the files that were found again since the last call.
    pub(crate) fn hand_over_found_files(&self, tracker: &mut RotationTracker, now: Instant) {
        let found = std::mem::take(&mut *self.found.lock());
        found.into_iter().for_each(|tailed| tracker.add_late_file(tailed, now));
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(super) fn add_viewer(&self) {
        self.viewers.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove_viewer(&self) {
        if self.viewers.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.wake.wake();
        }
    }

    /// Makes the follower end at once, and not after [`LINGER`], if nobody views it.
    pub(super) fn end_if_idle(&self) {
        self.is_unwanted.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    /// Nothing will be written to the log any more: the follower ends when it has published all.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::SeqCst);
        self.wake.wake();
    }

    /// Whether nothing will be written to the log any more.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::SeqCst)
    }

    fn is_unwanted(&self) -> bool {
        self.is_unwanted.load(Ordering::SeqCst)
    }

    fn set_polling(&self, is_polling: bool) {
        self.is_polling.store(is_polling, Ordering::Relaxed);
    }

    /// Lets the pool run the follower's task, and again at each wake.
    pub(super) fn start(
        self: &Arc<Self>,
        registration: impl Registration + 'static,
        tracker: RotationTracker,
        watches: Watches,
        pool: &Pool,
    ) {
        let task = FollowerTask::new(Arc::clone(self), registration, tracker, watches);
        pool.add(self.device, Box::new(task), |id| {
            let pool = pool.clone();
            self.wake.on_wake(move || pool.wake(id));
        });
    }

    /// Publishes what a poll found. The timeline changes at once: no viewer sees it between two
    /// events.
    pub(crate) fn publish(&self, poll: Poll) {
        let mut events = Vec::with_capacity(poll.events.len());
        let is_append = matches!(poll.events.as_slice(), [FileEvent::Bytes { .. }, ..])
            && poll.events.iter().all(|event| matches!(event, FileEvent::Bytes { .. }));
        let mut timeline = self.timeline();
        for event in poll.events {
            let event = match is_mirrored(self.log.as_path()) {
                true => without_known(event, &timeline),
                false => event,
            };
            events.push(match event {
                FileEvent::Began { generation, head, before, reason, file } => {
                    self.access.metrics().count_span(reason);
                    timeline.begin(generation, before, reason, file);
                    timeline.sign(head);
                    Event::TimelineChanged
                }
                FileEvent::Bytes { start, bytes, written, head } => {
                    timeline.sign(head);
                    if bytes.is_empty() {
                        continue;
                    }
                    let Some(span) = timeline.extend(start, &bytes) else { continue };
                    self.access.metrics().count_chunk(&bytes);
                    Event::Chunk(Arc::new(Chunk { span, start, bytes, written }))
                }
                FileEvent::Extended { to, head } => {
                    timeline.sign(head);
                    timeline.extend_to(to);
                    Event::TimelineChanged
                }
                FileEvent::WrittenAnew { generation, file } => {
                    timeline.replace_file(generation, &file);
                    continue;
                }
                FileEvent::FilesMissing => {
                    timeline.files_are_missing();
                    continue;
                }
                FileEvent::Lost => {
                    timeline.close(true);
                    Event::TimelineChanged
                }
                FileEvent::Waiting(reason) => {
                    timeline.wait(reason);
                    Event::TimelineChanged
                }
            });
        }
        // An append leaves no file to close. Files that viewers have left are closed by the next
        // poll that finds nothing, at the latest after the backstop interval.
        if !is_append {
            timeline.prune();
        }
        drop(timeline);
        events.into_iter().for_each(|event| self.send(event));
    }

    /// Publishes the end of the follower, and completes all refreshes.
    pub(crate) fn end(&self) {
        self.timeline().end();
        self.send(Event::TimelineChanged);
        self.answer(u64::MAX);
    }

    /// Resolves when the follower has ended.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut answered = self.answered.subscribe();
        async move {
            // A follower that was dropped has ended, too.
            let _ended = answered.wait_for(|&answered| answered == u64::MAX).await;
        }
    }

    /// How many refreshes have been requested. A poll that begins after this call completes all of
    /// them.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Completes the first `asked` refreshes.
    pub(crate) fn answer(&self, asked: u64) {
        self.answered.send_replace(asked);
    }

    fn answered(&self) -> u64 {
        *self.answered.borrow()
    }

    fn send(&self, event: Event) {
        // The send fails when the log has no receivers. That is no error: the file has the bytes.
        let _receivers = self.events.send(event);
    }
}
/// An event of another machine without what was published before it was told: a viewer that knew more
/// may have asked how long the file is.
fn without_known(event: FileEvent, timeline: &Timeline) -> FileEvent {
    match event {
        FileEvent::Began { generation, head, before, reason: Reason::Back, file } => {
            let known = timeline.last_of(generation).map(|span| span.end());
            let before = match known.filter(|known| before.offset() < *known) {
                Some(known) => Fingerprint::at(known),
                None => before,
            };
            FileEvent::Began { generation, head, before, reason: Reason::Back, file }
        }
        FileEvent::Bytes { start, mut bytes, written, head } => {
            let end = timeline.latest().map_or(start, |span| span.end());
            let known = usize::try_from(end.0.saturating_sub(start.0)).unwrap_or(usize::MAX);
            let known = known.min(bytes.len());
            FileEvent::Bytes {
                start: start.plus(known),
                bytes: bytes.split_off(known),
                written,
                head,
            }
        }
        event => event,
    }
}
