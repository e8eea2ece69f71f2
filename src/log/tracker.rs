//! What really happened to a log's file since the last look.
//!
//! The tracker is told only when to look. It compares what the path leads to with the file that it holds open, the
//! file's size with its own offset, and the bytes before that offset with those that it read there. So it recognises
//! a rotation, a replacement, a truncation, and a truncation that has grown again, whatever events came or did not
//! come. An old file is read to its end before the new one begins, and is held for the rotate-wait more, because
//! writers reopen late. All its calls block; the follower runs it on a blocking thread.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::log::access::{Access, Admitted, LogPath, Refusal};
use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Marker, Read};
use crate::log::position::{Generation, Offset, SIGNATURE_BYTES_MAX};
use crate::log::timeline::{OLD_FILES_MAX, Reason, WaitReason};

/// So many chunks come from one look at most, so that a fast writer does not fill the memory.
const LOOK_CHUNKS_MAX: usize = 16;

/// One thing that a look found, in order.
#[derive(Debug)]
pub enum Sighting {
    /// What follows belongs to this generation, from this offset.
    Began {
        /// The generation.
        generation: Generation,
        /// Where it goes on.
        from: Offset,
        /// Why.
        reason: Reason,
        /// Where its bytes are.
        file: Arc<LogFile>,
    },
    /// New bytes.
    Bytes {
        /// The offset of the first.
        start: Offset,
        /// Never empty.
        bytes: Bytes,
    },
    /// The bytes of the present span can't be read any more: the file was truncated.
    Lost,
    /// There is nothing to follow.
    Waiting(WaitReason),
}

/// What a look found.
#[derive(Debug, Default)]
pub struct Look {
    /// In order.
    pub sightings: Vec<Sighting>,
    /// There may be more right now: look again at once.
    pub more: bool,
    /// A generation ended: a storm of these is to be slowed down.
    pub turned: bool,
}

/// Follows one path over its files.
#[derive(Debug)]
pub struct Tracker {
    access: Arc<Access>,
    log: LogPath,
    rotate_wait: Duration,
    present: Option<Held>,
    /// Files that were rotated away, oldest first, with the time until which they are heard.
    late: VecDeque<(Held, Instant)>,
    /// Since when the path has led to nothing that can be followed.
    gone_since: Option<Instant>,
    waiting: Option<WaitReason>,
}

/// A file that is being read.
#[derive(Debug)]
struct Held {
    file: Arc<LogFile>,
    real_path: PathBuf,
    generation: Generation,
    marker: Marker,
    /// The file's first bytes as they were read, at most [`SIGNATURE_BYTES_MAX`].
    head: Vec<u8>,
    unreadable: bool,
}

/// What reading on in a held file gave.
enum Step {
    Bytes(Bytes),
    End,
    Truncated,
}

impl Held {
    fn new(admitted: Admitted) -> io::Result<Self> {
        let real_path = admitted.real_path().to_owned();
        let file = LogFile::new(admitted.into_file())?;
        let head = file.head()?;
        let generation = Generation::new(file.identity(), nonce(), &head);
        Ok(Self {
            file: Arc::new(file),
            real_path,
            generation,
            marker: Marker::at(Offset(0)),
            head: Vec::new(),
            unreadable: false,
        })
    }

    fn step(&mut self) -> io::Result<Step> {
        // One stat may be stale or wrong (network file systems): a file is called shorter when two say so.
        let offset = self.marker.offset().0;
        if self.file.status()?.size < offset && self.file.status()?.size < offset {
            return Ok(Step::Truncated);
        }
        if self.file.read_at(Offset(0), self.head.len())? != self.head {
            return Ok(Step::Truncated);
        }
        match self.file.read_after(&self.marker, CHUNK_BYTES_MAX)? {
            Read::Changed => Ok(Step::Truncated),
            Read::Bytes(bytes) if bytes.is_empty() => Ok(Step::End),
            Read::Bytes(bytes) => {
                if self.marker.offset().0 == self.head.len() as u64 {
                    let wanted = (SIGNATURE_BYTES_MAX - self.head.len()).min(bytes.len());
                    self.head.extend_from_slice(&bytes[..wanted]);
                }
                self.marker.advance(&bytes);
                Ok(Step::Bytes(bytes))
            }
        }
    }

    /// One step, told as sightings. False at the end of the file.
    fn read_on(&mut self, start: Offset, look: &mut Look) -> io::Result<bool> {
        let step = self.step()?;
        if std::mem::take(&mut self.unreadable) {
            let (generation, file) = (self.generation, Arc::clone(&self.file));
            look.sightings.push(Sighting::Began {
                generation,
                from: start,
                reason: Reason::Back,
                file,
            });
        }
        match step {
            Step::End => return Ok(false),
            Step::Bytes(bytes) => look.sightings.push(Sighting::Bytes { start, bytes }),
            Step::Truncated => {
                look.turned = true;
                look.sightings.push(Sighting::Lost);
                self.begin_anew()?;
                look.sightings.push(self.began(Reason::Truncated));
            }
        }
        Ok(true)
    }

    /// Takes the file as it is now for a new generation.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.generation = Generation::new(self.file.identity(), nonce(), &self.file.head()?);
        self.marker = Marker::at(Offset(0));
        self.head.clear();
        Ok(())
    }

    fn began(&self, reason: Reason) -> Sighting {
        Sighting::Began {
            generation: self.generation,
            from: self.marker.offset(),
            reason,
            file: Arc::clone(&self.file),
        }
    }

    fn was_renamed(&self) -> bool {
        self.file.path_now().is_some_and(|now| now != self.real_path)
    }
}

/// A number that no earlier generation of this inode is likely to have had.
fn nonce() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) as u32
}

impl From<Refusal> for WaitReason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::Missing,
            Refusal::Forbidden | Refusal::Untailable => Self::Untailable,
            Refusal::Unreadable => Self::Unreadable,
        }
    }
}

impl Tracker {
    /// A tracker of a log whose file was opened just now, or could not be. The first look tells where it stands.
    #[must_use]
    pub fn new(access: Arc<Access>, log: LogPath, rotate_wait: Duration) -> Self {
        Self {
            access,
            log,
            rotate_wait,
            present: None,
            late: VecDeque::new(),
            gone_since: None,
            waiting: None,
        }
    }

    /// Opens the log and takes its present end for the first position: what is there already is read by viewers, from
    /// the file.
    ///
    /// # Errors
    /// Those of reading the file; a log that can't be opened is waited for.
    pub fn first_look(&mut self) -> io::Result<Look> {
        let mut look = Look::default();
        match self.access.open(&self.log) {
            Ok(admitted) => {
                let mut held = Held::new(admitted)?;
                let end = Offset(held.file.status()?.size);
                held.marker = held.file.marker(end)?;
                held.head = held.file.head()?;
                held.head.truncate(usize::try_from(end.0).unwrap_or(usize::MAX));
                look.sightings.push(held.began(Reason::Joined));
                self.present = Some(held);
            }
            Err(refusal) => self.wait(refusal.into(), &mut look),
        }
        Ok(look)
    }

    /// The path of the file that is held, where it lay when it was opened.
    #[must_use]
    pub fn real_path(&self) -> Option<&Path> {
        self.present.as_ref().map(|held| held.real_path.as_path())
    }

    /// Looks at everything that may have changed.
    pub fn look(&mut self, now: Instant) -> Look {
        let mut look = Look::default();
        self.hear_late_writers(now, &mut look);
        match self.access.identify(&self.log) {
            Ok(identity)
                if self.present.as_ref().is_some_and(|held| held.file.identity() == identity) =>
            {
                self.gone_since = None;
                self.read_present(&mut look);
            }
            Ok(_) => {
                if !self.read_present(&mut look) {
                    self.open_next(now, &mut look);
                }
            }
            Err(refusal) => {
                if !self.read_present(&mut look) {
                    self.bear_absence(refusal, now, &mut look);
                }
            }
        }
        look
    }

    /// Reads the present file on, and says whether there may be more of it.
    fn read_present(&mut self, look: &mut Look) -> bool {
        let Some(held) = self.present.as_mut() else { return false };
        for _ in 0..LOOK_CHUNKS_MAX {
            let start = held.marker.offset();
            match held.read_on(start, look) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    if !std::mem::replace(&mut held.unreadable, true) {
                        tracing::warn!(file = %held.real_path.display(), %error, "can't read");
                        look.sightings.push(Sighting::Waiting(WaitReason::Unreadable));
                    }
                    return false;
                }
            }
        }
        look.more = true;
        true
    }

    /// The path leads to another file: the one before has been read to its end, and is heard for a while yet.
    fn open_next(&mut self, now: Instant, look: &mut Look) {
        let admitted = match self.access.open(&self.log) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.bear_absence(refusal, now, look),
        };
        let held = match Held::new(admitted) {
            Ok(held) => held,
            Err(error) => {
                tracing::warn!(log = %self.log.display(), %error, "can't read the file that took the log's name");
                return self.bear_absence(Refusal::Unreadable, now, look);
            }
        };
        if self
            .present
            .as_ref()
            .is_some_and(|present| present.file.identity() == held.file.identity())
        {
            // The old file has come back between the two looks at the path.
            look.more = true;
            return;
        }
        let reason = match self.present.take() {
            Some(old) => {
                let reason = if old.was_renamed() { Reason::Rotated } else { Reason::Replaced };
                self.late.push_back((old, now + self.rotate_wait));
                while self.late.len() > OLD_FILES_MAX {
                    self.late.pop_front();
                }
                reason
            }
            None => Reason::Replaced,
        };
        self.gone_since = None;
        self.waiting = None;
        look.turned = true;
        look.sightings.push(held.began(reason));
        self.present = Some(held);
        self.read_present(look);
    }

    /// The path leads nowhere. The file that is held is heard for the rotate-wait, then let go.
    fn bear_absence(&mut self, refusal: Refusal, now: Instant, look: &mut Look) {
        let since = *self.gone_since.get_or_insert(now);
        if self.present.is_none() || now.duration_since(since) >= self.rotate_wait {
            self.present = None;
            self.wait(refusal.into(), look);
        }
    }

    fn wait(&mut self, reason: WaitReason, look: &mut Look) {
        if self.waiting != Some(reason) {
            self.waiting = Some(reason);
            look.sightings.push(Sighting::Waiting(reason));
        }
    }

    fn hear_late_writers(&mut self, now: Instant, look: &mut Look) {
        let before = look.sightings.len();
        self.late.retain_mut(|(held, until)| {
            let start = held.marker.offset();
            for _ in 0..LOOK_CHUNKS_MAX {
                match held.step() {
                    Ok(Step::Bytes(bytes)) => {
                        let at = held.marker.offset().0 - bytes.len() as u64;
                        if at == start.0 {
                            let (generation, file) = (held.generation, Arc::clone(&held.file));
                            look.sightings.push(Sighting::Began {
                                generation,
                                from: start,
                                reason: Reason::Late,
                                file,
                            });
                        }
                        look.sightings.push(Sighting::Bytes { start: Offset(at), bytes });
                    }
                    Ok(Step::End) => return now < *until,
                    // Who cuts a file that was rotated away is clearing up: it is not the log any more.
                    Ok(Step::Truncated) | Err(_) => return false,
                }
            }
            look.more = true;
            true
        });
        if look.sightings.len() > before
            && let Some(present) = &self.present
        {
            look.sightings.push(present.began(Reason::Back));
        }
    }
}
