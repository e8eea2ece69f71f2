//! A file of a log that is open and read as it grows.
//!
//! Each step reads the bytes that came since the step before. It recognises by size, head and
//! fingerprint that the file was truncated, even when the file has grown again since.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::encoding::Detection;
use crate::log::access::{Admitted, Identity};
use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Nuls, Read, Status};
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::events::{FileEvent, Poll};
use crate::log::pattern::Chosen;
use crate::log::position::{Generation, Offset, SIGNATURE_BYTES_MAX, SIGNATURE_BYTES_MIN};
use crate::log::rotated::nonce_of;
use crate::log::sparse::ALLOCATED_BYTES_MIN;
use crate::log::timeline::{Head, Reason, WaitReason};

/// One poll reads at most this many chunks, so that a fast writer neither fills the memory nor
/// delays other logs.
const POLL_CHUNKS_MAX: usize = 16;
/// The pause after a failed read.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What is remembered of a file that nobody follows any more. When the file is followed again, its
/// positions are recognised by this.
#[derive(Clone, Debug)]
pub struct RememberedFile {
    pub(in crate::log) generation: Generation,
    /// The file's, which need not be the one that the generation is named after.
    identity: Identity,
    fingerprint: Fingerprint,
    /// None where only the signature of the generation was told.
    head: Option<Vec<u8>>,
}

impl RememberedFile {
    /// A file of which an earlier process has told this generation and the bytes before an offset.
    pub(in crate::log) fn told(generation: Generation, fingerprint: Fingerprint) -> Self {
        Self { generation, identity: generation.identity, fingerprint, head: None }
    }

    /// Whether a file that begins with `head` may be this one.
    fn is_of(&self, head: &[u8]) -> bool {
        let Some(known) = &self.head else {
            let to = self.fingerprint.offset();
            // Where nothing was told, nothing can be contradicted.
            let is_untold = to == Offset(0) && self.generation.signature.bytes() == 0;
            return is_untold || self.generation.is_proved_by(self.identity, head, to);
        };
        known.len() >= SIGNATURE_BYTES_MIN && head.starts_with(known)
    }

    pub(in crate::log) fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether a file that begins with `head` provably is this one, with all that was published of it.
    pub(in crate::log) fn is_in(&self, file: &LogFile, head: &[u8]) -> bool {
        let end = self.fingerprint.offset();
        let has_same_end = || file.read_after(&self.fingerprint, 0, end, Nuls::Written);
        self.identity == file.identity()
            && self.is_of(head)
            && has_same_end().is_ok_and(|read| !matches!(read, Read::Changed))
    }
}

/// An open file, and how far it has been read.
#[derive(Debug)]
pub(in crate::log) struct TailedFile {
    pub(in crate::log) file: Arc<LogFile>,
    pub(in crate::log) real_path: PathBuf,
    pub(in crate::log) generation: Generation,
    pub(in crate::log) fingerprint: Fingerprint,
    /// The file's first bytes as they were read, at most [`SIGNATURE_BYTES_MAX`].
    head: Vec<u8>,
    /// The file had the log's name, was renamed, and was then opened under its new name.
    pub(in crate::log) was_renamed: bool,
    /// It had the log's name unnoticed, and was found under another name.
    pub(in crate::log) was_found: bool,
    /// It has been the present file.
    pub(in crate::log) has_begun: bool,
    /// Its generation has been published. Otherwise only the tracker knows of the file.
    pub(in crate::log) is_published: bool,
    read_error: Option<ReadError>,
    nuls: TrailingNuls,
}

/// Since when the file can't be read.
#[derive(Debug)]
struct ReadError {
    since: Instant,
    retry_at: Instant,
}

/// What is known of the NULs at the end of a file, which may be space that was allocated before it
/// is written.
#[derive(Debug, Default)]
struct TrailingNuls {
    /// The file's size when they were last found.
    to: Offset,
    /// The search for data among them has got as far as this.
    searched: Offset,
    /// The file's size and modification time when the search found no data.
    without_data: Option<(u64, SystemTime)>,
}

/// What one read found.
enum Step {
    /// New bytes. If they do not begin at the offset that was read to, there is a hole between.
    Bytes {
        start: Offset,
        bytes: Bytes,
        /// When the file was last written to.
        written: SystemTime,
        more: bool,
    },
    /// Only NULs were found so far, and the search is not over.
    Searched,
    End,
    Truncated,
}

/// What one step of a poll leaves to do.
enum ReadOn {
    More,
    End,
    /// The file was truncated again. The next poll tells it: viewers get one reset for each poll.
    Later,
}

/// How far a poll has read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Progress {
    Drained,
    More,
    Unreadable,
}

impl TailedFile {
    pub(in crate::log) fn new(admitted: Admitted) -> io::Result<Self> {
        let real_path = admitted.real_path().to_owned();
        Self::from_start(LogFile::with_content(admitted)?, real_path)
    }

    fn from_start(file: LogFile, real_path: PathBuf) -> io::Result<Self> {
        let head = file.written_head()?;
        let generation = Generation::new(file.identity(), nonce(), &head);
        Ok(Self {
            file: Arc::new(file),
            real_path,
            generation,
            fingerprint: Fingerprint::at(Offset(0)),
            head: Vec::new(),
            was_renamed: false,
            was_found: false,
            has_begun: false,
            is_published: true,
            read_error: None,
            nuls: TrailingNuls::default(),
        })
    }

    /// The file that took the log's name, to be read from its beginning. One that is older than
    /// those before it is read from its end.
    pub(in crate::log) fn chosen(Chosen { admitted, is_older }: Chosen) -> io::Result<Self> {
        let mut tailed = Self::new(admitted)?;
        if is_older {
            tailed.go_to_end(None)?;
            tailed.has_begun = true;
        }
        Ok(tailed)
    }

    /// A file that had the log's name unnoticed, and was found under another name.
    pub(in crate::log) fn missed(file: LogFile) -> io::Result<Self> {
        let real_path = file.path_now().unwrap_or_default();
        Ok(Self { was_renamed: true, was_found: true, ..Self::from_start(file, real_path)? })
    }

    /// A file that was found again, to be read from `at` on.
    pub(in crate::log) fn found(file: LogFile, at: Offset) -> io::Result<Self> {
        let mut head = file.head()?;
        head.truncate(usize::try_from(at.0).unwrap_or(usize::MAX));
        Ok(Self {
            real_path: file.path_now().unwrap_or_default(),
            fingerprint: file.fingerprint(at)?,
            generation: Generation::new(file.identity(), nonce_of(file.born(), &head), &head),
            file: Arc::new(file),
            head,
            was_renamed: true,
            was_found: false,
            has_begun: true,
            is_published: true,
            read_error: None,
            nuls: TrailingNuls::default(),
        })
    }

    /// A late file that was closed and is open again. Its next read proves that it is the same.
    pub(in crate::log) fn reopened(file: LogFile, remembered: RememberedFile) -> Self {
        let RememberedFile { generation, fingerprint, head, identity: _ } = remembered;
        Self {
            real_path: file.path_now().unwrap_or_default(),
            generation,
            fingerprint,
            file: Arc::new(file),
            head: head.unwrap_or_default(),
            was_renamed: true,
            was_found: false,
            has_begun: true,
            is_published: true,
            read_error: None,
            nuls: TrailingNuls::default(),
        }
    }

    /// Goes to the file's present end. Where it is the remembered file, its generation goes on.
    /// That file was not held open and another may have its inode now, so the head has to prove
    /// that it is the same.
    pub(in crate::log) fn go_to_end(
        &mut self,
        remembered: Option<RememberedFile>,
    ) -> io::Result<()> {
        let end = self.file.written_end(self.file.status()?.size)?;
        self.head = self.file.head()?;
        self.head.truncate(usize::try_from(end.0).unwrap_or(usize::MAX));
        self.generation = Generation::new(self.file.identity(), nonce(), &self.head);
        if let Some(remembered) = remembered
            && remembered.identity == self.file.identity()
            && remembered.is_of(&self.head)
            && matches!(
                self.file.read_after(&remembered.fingerprint, 0, end, Nuls::Written)?,
                Read::Bytes(_)
            )
        {
            self.generation = remembered.generation;
        }
        self.fingerprint = self.file.fingerprint(end)?;
        Ok(())
    }

    fn step(&mut self) -> io::Result<Step> {
        // On network file systems one stat may be stale or wrong. A file counts as shorter only
        // after two of them.
        let offset = self.fingerprint.offset().0;
        let mut status = self.file.status()?;
        if status.size < offset {
            status = self.file.status()?;
        }
        let size = status.size;
        if size < offset || self.file.read_at(Offset(0), self.head.len())? != self.head {
            return Ok(Step::Truncated);
        }
        // It may have been truncated between the open and the first read.
        if self.head.is_empty() && !self.generation.is_of(&self.file.head()?) {
            return Ok(Step::Truncated);
        }
        if self.nuls.without_data == Some((size, status.modified)) && !self.has_data_next()? {
            return Ok(Step::End);
        }
        self.nuls.without_data = None;
        let read_after = |fingerprint: &Fingerprint, searched: Offset| {
            let nuls = Nuls::Allocated { to: self.nuls.to, searched };
            self.file.read_after(fingerprint, CHUNK_BYTES_MAX, Offset(size), nuls)
        };
        match read_after(&self.fingerprint, self.nuls.searched)? {
            Read::Changed => Ok(Step::Truncated),
            Read::Bytes(bytes) if bytes.is_empty() => {
                if size > offset {
                    self.nuls = TrailingNuls {
                        to: Offset(size),
                        searched: Offset(0),
                        without_data: Some((size, status.modified)),
                    };
                }
                Ok(Step::End)
            }
            // A hole is skipped only together with the data behind it. A hole alone publishes
            // nothing, and no viewer would learn that bytes were left out.
            Read::Hole(to) => {
                let behind = self.file.fingerprint(to)?;
                let found = read_after(&behind, Offset(0))?;
                self.nuls.searched = Offset(0);
                Ok(match found {
                    Read::Bytes(bytes) if !bytes.is_empty() => {
                        self.fingerprint = behind;
                        self.take(bytes, &status)
                    }
                    _ => Step::Searched,
                })
            }
            Read::Searching(to) => {
                self.nuls.searched = to;
                Ok(Step::Searched)
            }
            Read::Bytes(bytes) => {
                self.nuls.searched = Offset(0);
                Ok(self.take(bytes, &status))
            }
        }
    }

    /// Moves on past these bytes, in a file with this status.
    fn take(&mut self, bytes: Bytes, status: &Status) -> Step {
        let start = self.fingerprint.offset();
        if start.0 == self.head.len() as u64 {
            let wanted = (SIGNATURE_BYTES_MAX - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..wanted]);
        }
        self.fingerprint.advance(&bytes);
        let more = self.fingerprint.offset().0 < status.size;
        Step::Bytes { start, bytes, written: status.modified, more }
    }

    /// Whether there is data now where NULs were last found. A write through a mapping, or within
    /// one tick of the file system's clock, changes neither size nor time.
    fn has_data_next(&self) -> io::Result<bool> {
        let next = self.file.read_at(self.fingerprint.offset(), ALLOCATED_BYTES_MIN)?;
        Ok(next.iter().any(|&byte| byte != 0))
    }

    /// What is remembered of the file when nobody follows it any more.
    pub(in crate::log) fn remembered(&self) -> RememberedFile {
        let (fingerprint, head) = (self.fingerprint.clone(), self.head.clone());
        let (generation, identity) = (self.generation, self.file.identity());
        RememberedFile { generation, identity, fingerprint, head: Some(head) }
    }

    /// Reads at most [`POLL_CHUNKS_MAX`] chunks.
    pub(in crate::log) fn read(&mut self, now: Instant, poll: &mut Poll) -> Progress {
        if self.retry_at().is_some_and(|retry_at| now < retry_at) {
            return Progress::Unreadable;
        }
        self.read_now(now, poll)
    }

    /// The same without the pause after a failed read.
    pub(in crate::log) fn read_now(&mut self, now: Instant, poll: &mut Poll) -> Progress {
        for _ in 0..POLL_CHUNKS_MAX {
            match self.read_on(poll) {
                Ok(ReadOn::More) => {}
                Ok(ReadOn::End) => return Progress::Drained,
                Ok(ReadOn::Later) => break,
                Err(error) => {
                    if self.read_error.is_none() {
                        tracing::warn!(file = %self.real_path.display(), %error, "can't read");
                        poll.events.push(FileEvent::Waiting(WaitReason::Unreadable));
                    }
                    let since = self.unreadable_since().unwrap_or(now);
                    self.read_error = Some(ReadError { since, retry_at: now + RETRY_INTERVAL });
                    return Progress::Unreadable;
                }
            }
        }
        poll.more = true;
        Progress::More
    }

    /// Reads what was written to a rotated file since the last poll. None when the file was
    /// truncated: it is not part of the log any more.
    pub(in crate::log) fn read_late(&mut self, poll: &mut Poll) -> Option<Progress> {
        let before = self.fingerprint.clone();
        let mut has_begun = false;
        for _ in 0..POLL_CHUNKS_MAX {
            match self.step() {
                Ok(Step::Bytes { start, bytes, written, .. }) => {
                    if !std::mem::replace(&mut has_begun, true) {
                        self.is_published = true;
                        poll.events.push(self.began(before.clone(), Reason::Late));
                    }
                    let head = self.known_head();
                    poll.events.push(FileEvent::Bytes { start, bytes, written, head });
                }
                Ok(Step::Searched) => {}
                Ok(Step::End) => return Some(Progress::Drained),
                Err(_) => return Some(Progress::Unreadable),
                Ok(Step::Truncated) => return None,
            }
        }
        poll.more = true;
        Some(Progress::More)
    }

    /// When to read again after a failed read.
    pub(in crate::log) fn retry_at(&self) -> Option<Instant> {
        self.read_error.as_ref().map(|error| error.retry_at)
    }

    /// The time since which the file can't be read. None when it can.
    pub(in crate::log) fn unreadable_since(&self) -> Option<Instant> {
        self.read_error.as_ref().map(|error| error.since)
    }

    /// Reads one chunk and adds its events.
    fn read_on(&mut self, poll: &mut Poll) -> io::Result<ReadOn> {
        let before = self.read_error.as_ref().map(|_| self.fingerprint.clone());
        let step = self.step()?;
        if poll.truncated && matches!(step, Step::Truncated) {
            return Ok(ReadOn::Later);
        }
        self.read_error = None;
        if let Some(before) = before {
            poll.events.push(self.began(before, Reason::Back));
        }
        match step {
            Step::End => return Ok(ReadOn::End),
            Step::Searched => {}
            Step::Bytes { start, bytes, written, more } => {
                let head = self.known_head();
                poll.events.push(FileEvent::Bytes { start, bytes, written, head });
                return Ok(if more { ReadOn::More } else { ReadOn::End });
            }
            Step::Truncated => {
                (poll.rotated, poll.truncated) = (true, true);
                poll.events.push(FileEvent::Lost);
                self.begin_new_generation()?;
                poll.events.push(self.goes_on(Reason::Truncated));
            }
        }
        Ok(ReadOn::More)
    }

    /// The file's first bytes as they were read.
    pub(in crate::log) fn head(&self) -> &[u8] {
        &self.head
    }

    /// What is known of the head, as far as it has been read.
    fn known_head(&self) -> Head {
        let signed = self.generation.signed_by(&self.head);
        Head { signed, detection: Detection::of_head(&self.head) }
    }

    /// Begins a new generation with the file as it is now.
    fn begin_new_generation(&mut self) -> io::Result<()> {
        self.generation =
            Generation::new(self.file.identity(), nonce(), &self.file.written_head()?);
        self.fingerprint = Fingerprint::at(Offset(0));
        self.head.clear();
        self.nuls = TrailingNuls::default();
        Ok(())
    }

    /// The event that this file continues after these bytes.
    fn began(&self, before: Fingerprint, reason: Reason) -> FileEvent {
        let (generation, file) = (self.generation, Arc::clone(&self.file));
        FileEvent::Began { generation, head: self.known_head(), before, reason, file }
    }

    /// The event that the file continues at the offset that was read last.
    pub(in crate::log) fn goes_on(&self, reason: Reason) -> FileEvent {
        self.began(self.fingerprint.clone(), reason)
    }

    /// Called when the file has its name back.
    pub(in crate::log) fn regain_name(&mut self, real_path: PathBuf) {
        self.real_path = real_path;
        self.was_renamed = false;
    }

    /// Goes on in the file `next`, which begins with all bytes that were read of this one. Returns
    /// the event, and this file for those who still write to it: under a generation of its own, for
    /// what they write is not what follows in `next`.
    pub(in crate::log) fn go_on_in(&mut self, next: Self) -> (FileEvent, Self) {
        let file = std::mem::replace(&mut self.file, next.file);
        let late = Self {
            generation: Generation::new(file.identity(), nonce(), &self.head),
            file,
            real_path: std::mem::replace(&mut self.real_path, next.real_path),
            fingerprint: self.fingerprint.clone(),
            head: self.head.clone(),
            was_renamed: self.was_renamed,
            was_found: false,
            has_begun: true,
            is_published: false,
            read_error: self.read_error.take(),
            nuls: std::mem::take(&mut self.nuls),
        };
        self.was_renamed = next.was_renamed;
        let (generation, file) = (self.generation, Arc::clone(&self.file));
        (FileEvent::WrittenAnew { generation, file }, late)
    }

    /// Whether the file has a name other than the log's. A file without any name was replaced.
    pub(in crate::log) fn has_another_name(&self) -> bool {
        self.file.path_now().is_some_and(|now| self.was_renamed || now != self.real_path)
    }
}

/// A random number, most likely different from that of each earlier generation of this inode.
fn nonce() -> u32 {
    fastrand::u32(..)
}
