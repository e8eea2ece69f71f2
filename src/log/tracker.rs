//! What really happened to a log's file since the last look.
//!
//! The tracker is told only when to look. It compares what the path leads to with the file that it holds open, the
//! file's size with its own offset, and the bytes before that offset with those that it read there. So it recognises
//! a rotation, a replacement, a truncation, and a truncation that has grown again, whatever events came or did not
//! come. An old file is read to its end before the new one begins, and is held for the rotate-wait more, because
//! writers reopen late. All its calls block; the follower runs it on a blocking thread.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::log::access::{Access, Admitted, LogPath, Refusal};
use crate::log::file::{CHUNK_BYTES_MAX, LogFile, Marker, Read};
use crate::log::position::{Generation, Offset, SIGNATURE_BYTES_MAX};
use crate::log::timeline::{OLD_FILES_MAX, Reason, WaitReason};

/// Late writers are heard no more often than this: where both files are written, each hearing turns the stream twice.
const LATE_INTERVAL: Duration = Duration::from_millis(100);
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
    late_heard: Option<Instant>,
    waiting: Option<WaitReason>,
}

/// What is known of a file after nobody follows it any more, so that its positions are recognised when somebody does.
#[derive(Clone, Debug)]
pub struct Memory {
    generation: Generation,
    marker: Marker,
    head: Vec<u8>,
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
    Bytes { bytes: Bytes, more: bool },
    End,
    Truncated,
}

impl Held {
    fn new(admitted: Admitted) -> io::Result<Self> {
        let real_path = admitted.real_path().to_owned();
        let file = LogFile::new(admitted);
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

    /// Goes to the file's present end. Where it is the file that is remembered, its generation goes on.
    fn go_to_end(&mut self, memory: Option<Memory>) -> io::Result<()> {
        let end = Offset(self.file.status()?.size);
        self.head = self.file.head()?;
        self.head.truncate(usize::try_from(end.0).unwrap_or(usize::MAX));
        if let Some(memory) = memory
            && memory.generation.identity == self.file.identity()
            && self.head.starts_with(&memory.head)
            && matches!(self.file.read_after(&memory.marker, 0)?, Read::Bytes(_))
        {
            self.generation = memory.generation;
        }
        self.marker = self.file.marker(end)?;
        Ok(())
    }

    fn step(&mut self) -> io::Result<Step> {
        // One stat may be stale or wrong (network file systems): a file is called shorter when two say so.
        let offset = self.marker.offset().0;
        let mut size = self.file.status()?.size;
        if size < offset {
            size = self.file.status()?.size;
        }
        if size < offset || self.file.read_at(Offset(0), self.head.len())? != self.head {
            return Ok(Step::Truncated);
        }
        let len = usize::try_from(size - offset).unwrap_or(usize::MAX).min(CHUNK_BYTES_MAX);
        match self.file.read_after(&self.marker, len)? {
            Read::Changed => Ok(Step::Truncated),
            Read::Bytes(bytes) if bytes.is_empty() => Ok(Step::End),
            Read::Bytes(bytes) => {
                if self.marker.offset().0 == self.head.len() as u64 {
                    let wanted = (SIGNATURE_BYTES_MAX - self.head.len()).min(bytes.len());
                    self.head.extend_from_slice(&bytes[..wanted]);
                }
                self.marker.advance(&bytes);
                Ok(Step::Bytes { more: self.marker.offset().0 < size, bytes })
            }
        }
    }

    /// One step, told as sightings. False at the end of the file.
    fn read_on(&mut self, start: Offset, look: &mut Look) -> io::Result<bool> {
        let step = self.step()?;
        if std::mem::take(&mut self.unreadable) {
            look.sightings.push(self.began(start, Reason::Back));
        }
        match step {
            Step::End => return Ok(false),
            Step::Bytes { bytes, more } => {
                look.sightings.push(Sighting::Bytes { start, bytes });
                return Ok(more);
            }
            Step::Truncated => {
                look.turned = true;
                look.sightings.push(Sighting::Lost);
                self.begin_anew()?;
                look.sightings.push(self.goes_on(Reason::Truncated));
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

    /// That this file goes on, from this offset.
    fn began(&self, from: Offset, reason: Reason) -> Sighting {
        let (generation, file) = (self.generation, Arc::clone(&self.file));
        Sighting::Began { generation, from, reason, file }
    }

    /// That it goes on where it has been read to.
    fn goes_on(&self, reason: Reason) -> Sighting {
        self.began(self.marker.offset(), reason)
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
            Refusal::Unreadable | Refusal::Exhausted => Self::Unreadable,
        }
    }
}

impl Tracker {
    /// A tracker of a log. The first look tells where it stands.
    #[must_use]
    pub fn new(access: Arc<Access>, log: LogPath, rotate_wait: Duration) -> Self {
        Self {
            access,
            log,
            rotate_wait,
            present: None,
            late: VecDeque::new(),
            gone_since: None,
            late_heard: None,
            waiting: None,
        }
    }

    /// Takes the file as it was opened, or the reason why it was not, and its present end for the first position:
    /// what is there already is read by viewers, from the file.
    ///
    /// # Errors
    /// Those of reading the file; a log that can't be opened is waited for.
    pub fn first_look(
        &mut self,
        opened: Result<Admitted, Refusal>,
        memory: Option<Memory>,
    ) -> io::Result<Look> {
        let mut look = Look::default();
        match opened {
            Ok(admitted) => {
                let mut held = Held::new(admitted)?;
                let remembered = memory.as_ref().map(|memory| memory.generation);
                held.go_to_end(memory)?;
                if let Some(generation) = remembered.filter(|&known| known != held.generation) {
                    // It ended while nobody followed: known as gone, its positions are not taken for the new one's.
                    let (from, file) = (Offset(0), Arc::clone(&held.file));
                    let reason = Reason::Joined;
                    look.sightings.push(Sighting::Began { generation, from, reason, file });
                    look.sightings.push(Sighting::Lost);
                }
                look.sightings.push(held.goes_on(Reason::Joined));
                self.present = Some(held);
            }
            Err(refusal) => self.wait(refusal.into(), &mut look),
        }
        Ok(look)
    }

    /// What is to be kept when nobody follows any more.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let held = self.present.as_ref()?;
        Some(Memory {
            generation: held.generation,
            marker: held.marker.clone(),
            head: held.head.clone(),
        })
    }

    /// Where events are to be expected: the log's own name, where its file lay, and where files that were rotated
    /// away lie now.
    #[must_use]
    pub fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.log.as_path().to_owned()];
        let real = self.present.as_ref().map(|held| held.real_path.clone());
        let late = self.late.iter().filter_map(|(held, _)| held.file.path_now());
        for place in real.into_iter().chain(late) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
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
        // A file that got its name back while it was still heard goes on: heard twice, its bytes would come twice.
        let returned = self
            .late
            .iter()
            .position(|(late, _)| late.file.identity() == held.file.identity())
            .and_then(|at| self.late.remove(at))
            .map(|(late, _)| late);
        let is_back = returned.is_some();
        let held = match returned {
            Some(late) => Held { real_path: held.real_path, ..late },
            None => held,
        };
        if self.late.len() >= OLD_FILES_MAX {
            // The oldest is let go for this one: what it was told since it was heard last is heard first.
            self.late_heard = None;
            self.hear_late_writers(now, look);
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
        look.sightings.push(held.goes_on(if is_back { Reason::Back } else { reason }));
        self.present = Some(held);
        self.read_present(look);
    }

    /// The path leads nowhere. The file that is held is heard for the rotate-wait, then let go.
    fn bear_absence(&mut self, refusal: Refusal, now: Instant, look: &mut Look) {
        if self.present.is_some() && matches!(refusal, Refusal::Unreadable | Refusal::Exhausted) {
            // That the path can't be looked up now says nothing about the file that is held.
            return;
        }
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
        if self.late_heard.is_some_and(|heard| now.duration_since(heard) < LATE_INTERVAL) {
            return;
        }
        self.late_heard = Some(now);
        let before = look.sightings.len();
        self.late.retain_mut(|(held, until)| {
            let start = held.marker.offset();
            for _ in 0..LOOK_CHUNKS_MAX {
                let at = held.marker.offset();
                match held.step() {
                    Ok(Step::Bytes { bytes, .. }) => {
                        if at == start {
                            look.sightings.push(held.began(start, Reason::Late));
                        }
                        look.sightings.push(Sighting::Bytes { start: at, bytes });
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
            look.sightings.push(present.goes_on(Reason::Back));
        }
    }

    /// When late writers are to be heard next, if there are any.
    #[must_use]
    pub fn late_due(&self) -> Option<Instant> {
        (!self.late.is_empty()).then_some(self.late_heard? + LATE_INTERVAL)
    }
}
