//! A file of a log that is being read.
//!
//! Each step takes the bytes that have come since the one before, and sees by size, head and fingerprint that the file was
//! truncated, though it may have grown again since.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::log::access::Admitted;
use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Nuls, Read};
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::rotation::{FileEvent, Poll};
use crate::log::position::{Generation, Offset, SIGNATURE_BYTES_MAX, SIGNATURE_BYTES_MIN};
use crate::log::sparse::ALLOCATED_BYTES_MIN;
use crate::log::timeline::{Reason, WaitReason};

/// So many chunks come from one poll at most, so that a fast writer does not fill the memory.
const POLL_CHUNKS_MAX: usize = 16;
/// The pause after a read that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// What is known of a file after nobody follows it any more, so that its positions are recognised when somebody does.
#[derive(Clone, Debug)]
pub struct RememberedFile {
    pub(in crate::log) generation: Generation,
    fingerprint: Fingerprint,
    head: Vec<u8>,
}

/// A file that is being read.
#[derive(Debug)]
pub(in crate::log) struct TailedFile {
    pub(in crate::log) file: Arc<LogFile>,
    pub(in crate::log) real_path: PathBuf,
    pub(in crate::log) generation: Generation,
    pub(in crate::log) fingerprint: Fingerprint,
    /// The file's first bytes as they were read, at most [`SIGNATURE_BYTES_MAX`].
    head: Vec<u8>,
    /// It was opened under a name that it was given later.
    pub(in crate::log) was_set_aside: bool,
    /// It has been the present one.
    pub(in crate::log) has_begun: bool,
    trouble: Option<Trouble>,
    nuls: Allocated,
}

/// A file that can't be read.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    retry_at: Instant,
}

/// What is known of the NULs at the end of a file.
#[derive(Debug, Default)]
struct Allocated {
    /// How large the file was when they were met last.
    to: Offset,
    /// So far they have been searched for something behind them.
    searched: Offset,
    /// Size and time of the file when nothing was found.
    without_data: Option<(u64, SystemTime)>,
}

/// What reading on in a held file gave.
enum Step {
    /// New bytes, behind a hole where they do not begin at the fingerprint.
    Bytes {
        start: Offset,
        bytes: Bytes,
        more: bool,
    },
    /// NULs were searched.
    Nothing,
    End,
    Truncated,
}

/// How far a file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Progress {
    Drained,
    More,
    Unreadable,
}

impl TailedFile {
    pub(in crate::log) fn new(admitted: Admitted) -> io::Result<Self> {
        let real_path = admitted.real_path().to_owned();
        let file = LogFile::new(admitted);
        let head = file.written_head()?;
        let generation = Generation::new(file.identity(), nonce(), &head);
        Ok(Self {
            file: Arc::new(file),
            real_path,
            generation,
            fingerprint: Fingerprint::at(Offset(0)),
            head: Vec::new(),
            was_set_aside: false,
            has_begun: false,
            trouble: None,
            nuls: Allocated::default(),
        })
    }

    /// A file that was found again, to be heard from here on.
    pub(in crate::log) fn found(file: LogFile, at: Offset) -> io::Result<Self> {
        let mut head = file.head()?;
        head.truncate(usize::try_from(at.0).unwrap_or(usize::MAX));
        Ok(Self {
            real_path: file.path_now().unwrap_or_default(),
            fingerprint: file.fingerprint(at)?,
            generation: Generation::new(file.identity(), nonce(), &head),
            file: Arc::new(file),
            head,
            was_set_aside: true,
            has_begun: true,
            trouble: None,
            nuls: Allocated::default(),
        })
    }

    /// Goes to the file's present end. Where it is the file that is remembered, its generation goes on. Nobody held that
    /// one: another may have its inode now, so its head has to prove it.
    pub(in crate::log) fn go_to_end(&mut self, memory: Option<RememberedFile>) -> io::Result<()> {
        let end = self.file.written_end(self.file.status()?.size)?;
        self.head = self.file.head()?;
        self.head.truncate(usize::try_from(end.0).unwrap_or(usize::MAX));
        self.generation = Generation::new(self.file.identity(), nonce(), &self.head);
        if let Some(memory) = memory
            && memory.generation.identity == self.file.identity()
            && memory.head.len() >= SIGNATURE_BYTES_MIN
            && self.head.starts_with(&memory.head)
            && matches!(
                self.file.read_after(&memory.fingerprint, 0, end, Nuls::Written)?,
                Read::Bytes(_)
            )
        {
            self.generation = memory.generation;
        }
        self.fingerprint = self.file.fingerprint(end)?;
        Ok(())
    }

    fn step(&mut self) -> io::Result<Step> {
        // One stat may be stale or wrong (network file systems): a file is called shorter when two say so.
        let offset = self.fingerprint.offset().0;
        let mut status = self.file.status()?;
        if status.size < offset {
            status = self.file.status()?;
        }
        let size = status.size;
        if size < offset || self.file.read_at(Offset(0), self.head.len())? != self.head {
            return Ok(Step::Truncated);
        }
        // Between being opened and being read for the first time it may have been cut as well.
        if self.head.is_empty() && !self.generation.is_of(&self.file.head()?) {
            return Ok(Step::Truncated);
        }
        if self.nuls.without_data == Some((size, status.modified)) && !self.is_stored_on()? {
            return Ok(Step::End);
        }
        self.nuls.without_data = None;
        let look_on = |fingerprint: &Fingerprint, searched: Offset| {
            let nuls = Nuls::Allocated { to: self.nuls.to, searched };
            self.file.read_after(fingerprint, CHUNK_BYTES_MAX, Offset(size), nuls)
        };
        match look_on(&self.fingerprint, self.nuls.searched)? {
            Read::Changed => Ok(Step::Truncated),
            Read::Bytes(bytes) if bytes.is_empty() => {
                if size > offset {
                    self.nuls = Allocated {
                        to: Offset(size),
                        searched: Offset(0),
                        without_data: Some((size, status.modified)),
                    };
                }
                Ok(Step::End)
            }
            // It is passed with what is behind it, or not at all: until something is told from there on, nobody would be
            // told that it was left out.
            Read::Hole(to) => {
                let behind = self.file.fingerprint(to)?;
                let found = look_on(&behind, Offset(0))?;
                self.nuls.searched = Offset(0);
                Ok(match found {
                    Read::Bytes(bytes) if !bytes.is_empty() => {
                        self.fingerprint = behind;
                        self.take(bytes, size)
                    }
                    _ => Step::Nothing,
                })
            }
            Read::Searching(to) => {
                self.nuls.searched = to;
                Ok(Step::Nothing)
            }
            Read::Bytes(bytes) => {
                self.nuls.searched = Offset(0);
                Ok(self.take(bytes, size))
            }
        }
    }

    /// Goes on behind these bytes of a file of this size.
    fn take(&mut self, bytes: Bytes, size: u64) -> Step {
        let start = self.fingerprint.offset();
        if start.0 == self.head.len() as u64 {
            let wanted = (SIGNATURE_BYTES_MAX - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..wanted]);
        }
        self.fingerprint.advance(&bytes);
        Step::Bytes { start, more: self.fingerprint.offset().0 < size, bytes }
    }

    /// Whether something stands where NULs were met last. What is stored through a mapping, or within one tick of the
    /// file system's clock, changes neither size nor time.
    fn is_stored_on(&self) -> io::Result<bool> {
        let next = self.file.read_at(self.fingerprint.offset(), ALLOCATED_BYTES_MIN)?;
        Ok(next.iter().any(|&byte| byte != 0))
    }

    /// What is kept of it when nobody follows any more.
    pub(in crate::log) fn memory(&self) -> RememberedFile {
        let (fingerprint, head) = (self.fingerprint.clone(), self.head.clone());
        RememberedFile { generation: self.generation, fingerprint, head }
    }

    /// Reads on, not too far at once.
    pub(in crate::log) fn read(&mut self, now: Instant, poll: &mut Poll) -> Progress {
        if self.retry_at().is_some_and(|retry_at| now < retry_at) {
            return Progress::Unreadable;
        }
        for _ in 0..POLL_CHUNKS_MAX {
            match self.read_on(poll) {
                Ok(true) => {}
                Ok(false) => return Progress::Drained,
                Err(error) => {
                    if self.trouble.is_none() {
                        tracing::warn!(file = %self.real_path.display(), %error, "can't read");
                        poll.events.push(FileEvent::Waiting(WaitReason::Unreadable));
                    }
                    let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
                    self.trouble = Some(Trouble { since, retry_at: now + RETRY_INTERVAL });
                    return Progress::Unreadable;
                }
            }
        }
        poll.more = true;
        Progress::More
    }

    /// What was written since the last poll to a file that was rotated away. None when it was cut: who does that is
    /// clearing up, and it is not the log any more.
    pub(in crate::log) fn hear(&mut self, poll: &mut Poll) -> Option<Progress> {
        let before = self.fingerprint.clone();
        let mut told = false;
        for _ in 0..POLL_CHUNKS_MAX {
            match self.step() {
                Ok(Step::Bytes { start, bytes, .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        poll.events.push(self.began(before.clone(), Reason::Late));
                    }
                    poll.events.push(FileEvent::Bytes { start, bytes, signed: self.signed() });
                }
                Ok(Step::Nothing) => {}
                Ok(Step::End) => return Some(Progress::Drained),
                Err(_) => return Some(Progress::Unreadable),
                Ok(Step::Truncated) => return None,
            }
        }
        poll.more = true;
        Some(Progress::More)
    }

    /// When to read again after a read that failed.
    pub(in crate::log) fn retry_at(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.retry_at)
    }

    /// Since when it can't be read.
    pub(in crate::log) fn unreadable_since(&self) -> Option<Instant> {
        self.trouble.as_ref().map(|trouble| trouble.since)
    }

    /// One step, told as events. False at the end of the file.
    fn read_on(&mut self, poll: &mut Poll) -> io::Result<bool> {
        let before = self.trouble.as_ref().map(|_| self.fingerprint.clone());
        let step = self.step()?;
        self.trouble = None;
        if let Some(before) = before {
            poll.events.push(self.began(before, Reason::Back));
        }
        match step {
            Step::End => return Ok(false),
            Step::Nothing => {}
            Step::Bytes { start, bytes, more } => {
                poll.events.push(FileEvent::Bytes { start, bytes, signed: self.signed() });
                return Ok(more);
            }
            Step::Truncated => {
                (poll.turned, poll.cut) = (true, true);
                poll.events.push(FileEvent::Lost);
                self.begin_anew()?;
                poll.events.push(self.goes_on(Reason::Truncated));
            }
        }
        Ok(true)
    }

    /// The file's first bytes as they were read.
    pub(in crate::log) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The generation, signed by as much of the head as has been read.
    fn signed(&self) -> Generation {
        self.generation.signed_by(&self.head)
    }

    /// Takes the file as it is now for a new generation.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.generation =
            Generation::new(self.file.identity(), nonce(), &self.file.written_head()?);
        self.fingerprint = Fingerprint::at(Offset(0));
        self.head.clear();
        self.nuls = Allocated::default();
        Ok(())
    }

    /// That this file goes on, from this place.
    fn began(&self, before: Fingerprint, reason: Reason) -> FileEvent {
        let (generation, file) = (self.generation, Arc::clone(&self.file));
        FileEvent::Began { generation, signed: self.signed(), before, reason, file }
    }

    /// That it goes on where it has been read to.
    pub(in crate::log) fn goes_on(&self, reason: Reason) -> FileEvent {
        self.began(self.fingerprint.clone(), reason)
    }

    /// It has got its name back.
    pub(in crate::log) fn returned(&mut self, real_path: PathBuf) {
        self.real_path = real_path;
        self.was_set_aside = false;
    }

    /// Whether it lies under another name than the log's. One that has none any more was replaced.
    pub(in crate::log) fn was_renamed(&self) -> bool {
        self.file.path_now().is_some_and(|now| self.was_set_aside || now != self.real_path)
    }
}

/// A number that no earlier generation of this inode is likely to have had.
fn nonce() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u32
}
