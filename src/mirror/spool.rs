//! The files in which bytes of other machines are kept: one for each generation of a log.
//!
//! All together have a bounded size. What nobody reads and was used least lately is removed first; if
//! that is not enough, files that are read give back their oldest bytes. Whatever is not here any more
//! is fetched again when somebody wants it.

mod file;
mod note;
mod table;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use tokio::runtime::Handle;

use crate::log::Generation;
use crate::log::metrics::Counter;
use crate::mirror::remote::{Remote, RemoteName};
pub(super) use file::SpoolFile;
use file::{Origin, punch_hole};
use note::{Note, Proofs};
use table::{Kept, Table, Taken};

/// Logs are not for everybody.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// So many servers can have spools in one place: during an upgrade the old one is there for a while.
const SPOOLS_MAX: u32 = 8;
/// The smallest size that makes sense.
pub const BYTES_MIN: u64 = 16 * 1024 * 1024;
/// The most bytes that a note may have.
const NOTE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So many bytes are counted for each file besides those that are kept in it: its note, and the rest of
/// a block.
const FILE_BYTES: u64 = 8192;
/// When there is too much, so large a part of the bound is freed at once.
const FREED_PART: u64 = 16;

const DATA: &str = "data";
const NOTE: &str = "note";
const NEW: &str = "new";

/// The kept bytes of all logs of other machines.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    directory: PathBuf,
    bytes_max: u64,
    /// How many bytes are kept.
    used: AtomicU64,
    files: Table,
    cleaning: Mutex<()>,
    /// Bytes that were fetched for it.
    fetched: Counter,
    /// Files that were removed for others.
    evicted: Counter,
    /// Locked, so that no other process writes here.
    _lock: File,
}

/// The name of a file: of its log, and of its generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(String);

impl Key {
    fn of(name: &RemoteName, generation: &Generation) -> Self {
        let mut named = name.host.as_bytes().to_vec();
        named.push(0);
        named.extend_from_slice(&name.path);
        let hash = ring::digest::digest(&ring::digest::SHA256, &named);
        let hash: String =
            hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let Generation { identity, nonce, .. } = generation;
        Self(format!("{hash}-{:x}-{:x}-{nonce:x}", identity.device, identity.inode))
    }
}

/// What is known of a file that is not open.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    name: RemoteName,
    pub(super) generation: Generation,
    /// The generation that came directly after it.
    pub(super) next: Option<Generation>,
    /// The offset after the last byte that is here.
    pub(super) end: u64,
    /// When it was noted last.
    pub(super) noted: SystemTime,
    /// When its machine last told of it as of the present file of its log.
    followed: Option<SystemTime>,
    bytes: u64,
}

impl Spool {
    /// Opens the spool in a directory, which is made if it does not exist. Where another process uses
    /// it, one beside it. It blocks.
    ///
    /// # Errors
    /// When no directory there can be used.
    pub fn open(place: &Path, bytes_max: u64) -> io::Result<Self> {
        for number in 1.. {
            let directory = place.join(number.to_string());
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&directory)?;
            let mut options = OpenOptions::new();
            let lock = options.write(true).create(true).truncate(false).mode(FILE_MODE);
            let lock = lock.open(directory.join("lock"))?;
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    empty_others(place, number);
                    return Self::read(directory, bytes_max, lock);
                }
                Err(rustix::io::Errno::WOULDBLOCK) if number < SPOOLS_MAX => {}
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("the last one is returned")
    }

    /// Finds out what there is. What cannot be understood is removed.
    fn read(directory: PathBuf, bytes_max: u64, lock: File) -> io::Result<Self> {
        let (mut files, mut used) = (Vec::new(), 0);
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            match extension {
                NOTE => {
                    let stem = path.file_stem().and_then(|it| it.to_str()).unwrap_or_default();
                    if let Some((key, stored)) = stored(&path).filter(|(key, _)| key.0 == stem) {
                        used += stored.bytes + FILE_BYTES;
                        files.push((key, stored));
                    } else {
                        remove(&path.with_extension(DATA));
                        remove(&path);
                    }
                }
                DATA if !path.with_extension(NOTE).exists() => remove(&path),
                NEW => remove(&path),
                _ => {}
            }
        }
        let shared = Arc::new(Shared {
            directory,
            bytes_max,
            used: AtomicU64::new(used),
            files: Table::with(files),
            cleaning: Mutex::new(()),
            fetched: Counter::default(),
            evicted: Counter::default(),
            _lock: lock,
        });
        shared.clean();
        Ok(Self(shared))
    }

    /// The file of a generation, which is made if it is not there. It blocks.
    pub(super) fn file(
        &self,
        name: &RemoteName,
        generation: &Generation,
        device: u64,
        remote: &Arc<dyn Remote>,
        runtime: &Handle,
    ) -> io::Result<Arc<SpoolFile>> {
        let key = Key::of(name, generation);
        let busy = match self.0.files.take(&key) {
            Taken::Open(file) => return Ok(file),
            Taken::Busy(busy) => busy,
        };
        let path = self.0.path(&key, DATA);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(&path)?;
        let known = busy.stored().and_then(|_| read_note(&self.0.path(&key, NOTE)));
        let noted = busy.stored().map(|stored| stored.noted);
        let note = match known.filter(|(note, _)| note.name == *name) {
            Some((note, proofs)) => note.verify(&proofs, &file),
            None => {
                file.set_len(0)?;
                Note {
                    name: name.clone(),
                    generation: *generation,
                    size: 0,
                    modified: SystemTime::UNIX_EPOCH,
                    next: None,
                    followed: None,
                    present: super::ranges::Ranges::default(),
                }
            }
        };
        let before = busy.stored().map_or(0, |stored| stored.bytes + FILE_BYTES);
        self.0.used.fetch_add(note.present.bytes() + FILE_BYTES, Ordering::Relaxed);
        self.0.used.fetch_sub(before, Ordering::Relaxed);
        let origin = Origin { remote: Arc::clone(remote), runtime: runtime.clone() };
        let spool = Arc::downgrade(&self.0);
        let file = Arc::new(SpoolFile::new(note, noted, file, path, device, origin, spool));
        busy.put(Kept::Open(Arc::clone(&file)));
        self.0.grew(0);
        Ok(file)
    }

    /// Whether something is kept of a generation.
    pub(super) fn has(&self, name: &RemoteName, generation: &Generation) -> bool {
        self.0.files.contains(&Key::of(name, generation))
    }

    /// The generation that came directly after another one, if that was noted.
    pub(super) fn next(&self, name: &RemoteName, generation: &Generation) -> Option<Generation> {
        self.0.files.stored(&Key::of(name, generation))?.next
    }

    /// The last generation of a log that was followed before this server began, or before nobody
    /// followed the log for a while.
    pub(super) fn latest(&self, name: &RemoteName) -> Option<Stored> {
        let open = self.0.files.open().into_iter().map(|(_, file)| file);
        let open: Vec<Stored> =
            open.filter(|file| file.name() == name).map(|file| file.stored()).collect();
        let closed = |_: &Key, stored: &Stored| (stored.name == *name).then(|| stored.clone());
        let all = self.0.files.closed(closed).into_iter().chain(open);
        // One that only was read since may be of long ago.
        let followed = all.filter(|stored| stored.next.is_none() && stored.followed.is_some());
        followed.max_by_key(|stored| stored.followed)
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The most bytes that are kept.
    pub(super) fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// How many bytes were fetched because somebody read them.
    pub(super) fn fetched_bytes(&self) -> u64 {
        self.0.fetched.get()
    }

    /// How many files were removed for others.
    pub(super) fn evicted_files(&self) -> u64 {
        self.0.evicted.get()
    }

    /// Notes what is there, and closes what nobody uses. It blocks.
    pub fn note(&self) {
        for (key, file) in self.0.files.open() {
            if let Err(error) = file.note(|text| self.0.put_note(&key, text)) {
                tracing::warn!(%error, path = %self.0.path(&key, NOTE).display(), "cannot note what is kept");
                continue;
            }
            let Some(busy) = self.0.files.take_unused(&key, &file) else { continue };
            match file.closed() {
                Some(stored) => busy.put(Kept::Closed(stored)),
                // Nothing was ever known of it.
                None if file.bytes() == 0 => {
                    remove(&self.0.path(&key, DATA));
                    busy.remove();
                    self.0.used.fetch_sub(FILE_BYTES, Ordering::Relaxed);
                }
                None => {}
            }
        }
    }
}

impl Shared {
    fn path(&self, key: &Key, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", key.0))
    }

    /// Gives a note its name, from one moment to the next.
    fn put_note(&self, key: &Key, text: &str) -> io::Result<()> {
        let new = self.path(key, NEW);
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(new, self.path(key, NOTE))
    }

    /// So many bytes were fetched.
    pub(super) fn count_fetched(&self, bytes: usize) {
        self.fetched.add(bytes);
    }

    /// More bytes are kept.
    pub(super) fn grew(&self, more: u64) {
        if self.used.fetch_add(more, Ordering::Relaxed) + more > self.bytes_max {
            self.clean();
        }
    }

    /// Removes bytes until there are fewer than may be kept.
    fn clean(&self) {
        let Some(_cleaning) = self.cleaning.try_lock() else { return };
        let wanted = self.bytes_max - self.bytes_max / FREED_PART;
        let excess = || self.used.load(Ordering::Relaxed).saturating_sub(wanted);
        if self.used.load(Ordering::Relaxed) <= self.bytes_max {
            return;
        }
        let mut closed = self.files.closed(|key, stored| Some((stored.noted, key.clone())));
        closed.sort_by_key(|(noted, _)| *noted);
        for (_, key) in closed {
            if excess() == 0 {
                return;
            }
            // It may have been opened meanwhile.
            let Some((busy, stored)) = self.files.take_closed(&key) else { continue };
            remove(&self.path(&key, NOTE));
            remove(&self.path(&key, DATA));
            busy.remove();
            self.used.fetch_sub(stored.bytes + FILE_BYTES, Ordering::Relaxed);
            self.evicted.add(1);
        }
        let open = self.files.open().into_iter().map(|(_, file)| (file.used(), file));
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|(used, _)| *used);
        // Half of the bound at most, of all open files together.
        let kept_max = self.bytes_max / (4 * open.len().max(1) as u64);
        for (_, file) in open {
            if excess() == 0 {
                return;
            }
            let given_back = file.give_back(excess(), kept_max, punch_hole);
            self.used.fetch_sub(given_back, Ordering::Relaxed);
        }
    }
}

/// Removes what servers have left in the other spools of a place, which nobody uses any more.
fn empty_others(place: &Path, own: u32) {
    for number in (1..=SPOOLS_MAX).filter(|number| *number != own) {
        let directory = place.join(number.to_string());
        let lock = OpenOptions::new().write(true).open(directory.join("lock"));
        let Ok(lock) = lock else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|it| it == DATA || it == NOTE || it == NEW) {
                remove(&path);
            }
        }
    }
}

fn read_note(path: &Path) -> Option<(Note, Proofs)> {
    let mut text = String::new();
    let file = OpenOptions::new().read(true).open(path).ok()?;
    file.take(NOTE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Note::read(&text)
}

/// What the note at a path says, and the key of its file.
fn stored(path: &Path) -> Option<(Key, Stored)> {
    let stored = file_stored(path)?;
    Some((Key::of(&stored.name, &stored.generation), stored))
}

fn file_stored(path: &Path) -> Option<Stored> {
    let (Note { name, generation, next, followed, present, .. }, _) = read_note(path)?;
    let noted = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let (end, bytes) = (present.end(), present.bytes());
    Some(Stored { name, generation, next, end, noted, followed, bytes })
}

/// What cannot be removed stays, and is tried again by the next server.
fn remove(path: &Path) {
    let _removed = fs::remove_file(path);
}
