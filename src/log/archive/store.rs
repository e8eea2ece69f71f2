//! The unpacked files that are kept, and the threads that unpack.
//!
//! A copy is found again by the identity, the size and the time of its original. The copies that
//! were used least recently make room for new ones; a copy that is in use stays. Compressed data of
//! a few bytes can have any amount of content, so every step is bounded.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug, Display, Formatter};
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::log::access::Identity;
use crate::log::archive::decoder::Decoder;
use crate::log::archive::{Compression, MAGIC_BYTES, Shortfall, Unpacked};
use crate::log::position::SIGNATURE_BYTES_MAX;

/// The most bytes of unpacked files that are kept, unless another number is set.
pub const CACHE_BYTES: u64 = 4 << 30;
/// The content of one file may be so many times as large as the file, and this much besides. Logs
/// with much repetition are compressed to about a hundredth.
const RATIO_MAX: u64 = 200;
const CONTENT_BYTES: u64 = 64 << 20;
/// At least this part of the file system stays free, or so many bytes if that is less.
const FREE_PART: u64 = 20;
const FREE_BYTES: u64 = 1 << 30;
/// How often that is checked, in unpacked bytes.
const FREE_CHECK_BYTES: u64 = 32 << 20;
/// How many files are unpacked at a time, and how many may be begun.
const THREADS_MAX: usize = 2;
const BEGUN_MAX: usize = 32;
/// A file is unpacked this far before anybody waits for a thread: its head names its generation.
const FIRST_BYTES: usize = 4096;
/// The unit in which the content is written.
const BLOCK_BYTES: usize = 256 * 1024;
/// How much is asked of a decoder at a time. What it has decoded when it fails is lost.
const READ_BYTES: usize = 16 * 1024;
/// A file for which nobody waits any more is unpacked on for so long: a client whose patience ended
/// asks again.
const UNWANTED_TIME: Duration = Duration::from_secs(60);
/// How many heads are remembered: more than the files that a list of old ones has.
const HEADS_MAX: usize = 32 * 1024;
/// How many copies are kept. Each has a descriptor.
const COPIES_MAX: usize = 64;
/// A copy for which there was no room, or whose original could not be read, is not tried again for so
/// long.
const FAILED_TIME: Duration = Duration::from_secs(5);

/// The compressed files that are unpacked now, or were lately.
#[derive(Default)]
pub struct Archives {
    settings: Mutex<Settings>,
    copies: Mutex<Copies>,
    jobs: Mutex<Jobs>,
    heads: Mutex<HashMap<Key, Vec<u8>>>,
}

struct Settings {
    /// None for the usual places.
    directory: Option<PathBuf>,
    bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { directory: None, bytes_max: CACHE_BYTES }
    }
}

/// The directory for unpacked files can't be used.
#[derive(Debug)]
pub struct CacheDirectoryError {
    path: PathBuf,
    error: io::Error,
}

impl Display for CacheDirectoryError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to the cache directory `{}`: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for CacheDirectoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What a copy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::log) struct Key {
    identity: Identity,
    size: u64,
    modified: (i64, i64),
    /// When it was created, or last changed where that is not known. Nobody can set these: another
    /// file with the inode, size and time of one that is gone is not taken for it.
    created: Result<SystemTime, (i64, i64)>,
}

impl Key {
    pub(in crate::log) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            identity: Identity { device: metadata.dev(), inode: metadata.ino() },
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            created: metadata.created().map_err(|_| (metadata.ctime(), metadata.ctime_nsec())),
        })
    }
}

struct Kept {
    key: Key,
    copy: Arc<Unpacked>,
    /// When it was used, by the counter of uses.
    used: u64,
    /// When it failed for a reason that may pass.
    failed_at: Option<Instant>,
}

#[derive(Default)]
struct Copies {
    kept: Vec<Kept>,
    uses: u64,
}

impl Copies {
    fn find(&mut self, key: Key) -> Option<Arc<Unpacked>> {
        self.uses += 1;
        let is_over = |kept: &Kept| kept.failed_at.is_some_and(|at| at.elapsed() >= FAILED_TIME);
        self.kept.retain(|kept| kept.key != key || !is_over(kept));
        let kept = self.kept.iter_mut().find(|kept| kept.key == key)?;
        kept.used = self.uses;
        Some(Arc::clone(&kept.copy))
    }

    fn add(&mut self, key: Key, copy: &Arc<Unpacked>) {
        self.uses += 1;
        self.kept.push(Kept { key, copy: Arc::clone(copy), used: self.uses, failed_at: None });
        while self.kept.len() > COPIES_MAX && self.remove_oldest() {}
    }

    /// A copy failed for a reason that may pass. Whoever asks soon gets what there is of it.
    fn fail(&mut self, copy: &Arc<Unpacked>) {
        let failed = self.kept.iter_mut().find(|kept| Arc::ptr_eq(&kept.copy, copy));
        if let Some(failed) = failed {
            failed.failed_at = Some(Instant::now());
        }
    }

    /// Removes the copy that was used least recently and that nobody uses now: only this list has it.
    fn remove_oldest(&mut self) -> bool {
        let unused = self.kept.iter().filter(|kept| Arc::strong_count(&kept.copy) == 1);
        let Some(oldest) = unused.min_by_key(|kept| kept.used) else { return false };
        let copy = Arc::clone(&oldest.copy);
        self.remove(&copy);
        true
    }

    fn remove(&mut self, copy: &Arc<Unpacked>) {
        self.kept.retain(|kept| !Arc::ptr_eq(&kept.copy, copy));
    }

    fn bytes(&self) -> u64 {
        self.kept.iter().map(|kept| kept.copy.size()).sum()
    }

    /// Makes room for so many more bytes. Returns whether there is.
    fn make_room(&mut self, bytes: u64, bytes_max: u64) -> bool {
        while self.bytes() + bytes > bytes_max {
            if !self.remove_oldest() {
                return false;
            }
        }
        true
    }
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    threads: usize,
    begun: usize,
}

impl Jobs {
    /// Whether one more may begin.
    fn admit(&mut self) -> bool {
        let is_admitted = self.begun < BEGUN_MAX;
        self.begun += usize::from(is_admitted);
        is_admitted
    }
}

/// A file that is being unpacked.
struct Job {
    copy: Arc<Unpacked>,
    decoder: Decoder,
    limit: u64,
}

impl Debug for Archives {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bytes = self.copies.lock().bytes();
        f.debug_struct("Archives").field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl Archives {
    /// Keeps unpacked files in this directory, and at most so many bytes of them. Without a
    /// directory, one of the usual places is taken.
    ///
    /// # Errors
    /// When no file can be made there.
    pub fn configure(
        &self,
        directory: Option<PathBuf>,
        bytes_max: u64,
    ) -> Result<(), CacheDirectoryError> {
        if let Some(path) = &directory {
            let made = make_directory(path).and_then(|()| unnamed_file(path));
            made.map_err(|error| CacheDirectoryError { path: path.clone(), error })?;
        }
        *self.settings.lock() = Settings { directory, bytes_max };
        Ok(())
    }

    /// The content of a compressed file, which may still be unpacked for a while. At least its first
    /// bytes are there. None for a plain file.
    ///
    /// # Errors
    /// Those of reading the file, and when too many files are being unpacked.
    pub(in crate::log) fn unpack(
        self: &Arc<Self>,
        file: &File,
    ) -> io::Result<Option<(Key, Arc<Unpacked>)>> {
        let Some(compression) = compression_of(file)? else { return Ok(None) };
        let key = Key::of(file)?;
        if let Some(copy) = self.copies.lock().find(key) {
            return Ok(Some((key, copy)));
        }
        if !self.jobs.lock().admit() {
            let crowded = "too many compressed files are being unpacked";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, crowded));
        }
        let begun = self.begin(key, compression, file);
        if begun.is_err() {
            self.jobs.lock().begun -= 1;
        }
        begun.map(|copy| Some((key, copy)))
    }

    /// Unpacks the first bytes, and leaves the rest to a thread.
    fn begin(
        self: &Arc<Self>,
        key: Key,
        compression: Compression,
        file: &File,
    ) -> io::Result<Arc<Unpacked>> {
        let bytes_max = self.settings.lock().bytes_max;
        let limit = key.size.saturating_mul(RATIO_MAX).saturating_add(CONTENT_BYTES).min(bytes_max);
        let made = self.new_file().or_else(|error| {
            if !is_short_of_descriptors(&error) {
                return Err(error);
            }
            while self.copies.lock().remove_oldest() {}
            self.new_file()
        });
        let copy = Unpacked::new(made?, compression);
        let mut decoder = Decoder::new(compression, file.try_clone()?);
        let first = match &mut decoder {
            Err(shortfall) => Err(*shortfall),
            Ok(decoder) => {
                let (bytes, end) = fill(decoder, FIRST_BYTES);
                copy.append(&bytes)?;
                end
            }
        };
        let mut copies = self.copies.lock();
        if let Some(other) = copies.find(key) {
            // Another viewer was faster.
            self.jobs.lock().begun -= 1;
            return Ok(other);
        }
        copies.add(key, &copy);
        drop(copies);
        match (first, decoder) {
            (Ok(false), Ok(decoder)) => {
                self.start(Job { copy: Arc::clone(&copy), decoder, limit });
            }
            (first, _) => {
                copy.end(first.err());
                self.jobs.lock().begun -= 1;
            }
        }
        Ok(copy)
    }

    fn start(self: &Arc<Self>, job: Job) {
        let mut jobs = self.jobs.lock();
        jobs.waiting.push_back(job);
        if jobs.threads >= THREADS_MAX {
            return;
        }
        jobs.threads += 1;
        let archives = Arc::clone(self);
        let thread = thread::Builder::new().name("unpack".to_owned());
        if thread.spawn(move || archives.work()).is_err() {
            jobs.threads -= 1;
            if let Some(job) = jobs.waiting.pop_back() {
                jobs.begun -= 1;
                job.copy.end(Some(Shortfall::NoRoom));
            }
        }
    }

    /// Unpacks what waits for it.
    fn work(self: &Arc<Self>) {
        loop {
            let mut jobs = self.jobs.lock();
            let Some(job) = jobs.waiting.pop_front() else {
                jobs.threads -= 1;
                return;
            };
            drop(jobs);
            self.run(job);
            self.jobs.lock().begun -= 1;
        }
    }

    fn run(&self, Job { copy, mut decoder, limit }: Job) {
        let mut checked_at = 0;
        let mut wanted_at = Instant::now();
        let shortfall = loop {
            if !is_unwanted(&copy) {
                wanted_at = Instant::now();
            } else if wanted_at.elapsed() >= UNWANTED_TIME && self.give_up(&copy) {
                // Who asks next begins anew.
                break Some(Shortfall::Unreadable);
            }
            let (mut bytes, end) = fill(&mut decoder, BLOCK_BYTES);
            let left = limit.saturating_sub(copy.size());
            let is_too_large = bytes.len() as u64 > left;
            if is_too_large {
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            let bytes_max = self.settings.lock().bytes_max;
            if !self.copies.lock().make_room(bytes.len() as u64, bytes_max) {
                break Some(Shortfall::NoRoom);
            }
            if copy.size() >= checked_at {
                checked_at = copy.size() + FREE_CHECK_BYTES;
                if !has_free_space(copy.file()) {
                    break Some(Shortfall::NoRoom);
                }
            }
            if copy.append(&bytes).is_err() {
                break Some(Shortfall::NoRoom);
            }
            match end {
                _ if is_too_large => break Some(Shortfall::TooLarge),
                Ok(true) => break None,
                Ok(false) => {}
                Err(shortfall) => break Some(shortfall),
            }
        };
        if matches!(shortfall, Some(Shortfall::NoRoom | Shortfall::Unreadable)) {
            // It may go better the next time, but who waits now gets this answer.
            self.copies.lock().fail(&copy);
        }
        copy.end(shortfall);
    }

    /// Forgets a copy, unless somebody has asked for it meanwhile.
    fn give_up(&self, copy: &Arc<Unpacked>) -> bool {
        let mut copies = self.copies.lock();
        let is_unwanted = is_unwanted(copy);
        if is_unwanted {
            copies.remove(copy);
        }
        is_unwanted
    }

    /// The first bytes of a file's content, without unpacking the rest; at most
    /// [`SIGNATURE_BYTES_MAX`]. Those of the file itself where it is not compressed.
    pub(in crate::log) fn head(&self, file: &File) -> io::Result<(Option<Compression>, Vec<u8>)> {
        let Some(compression) = compression_of(file)? else {
            let mut head = vec![0; SIGNATURE_BYTES_MAX];
            let read = read_at_start(file, &mut head)?;
            head.truncate(read);
            return Ok((None, head));
        };
        let key = Key::of(file)?;
        if let Some(head) = self.heads.lock().get(&key) {
            return Ok((Some(compression), head.clone()));
        }
        let (head, end) = match Decoder::new(compression, file.try_clone()?) {
            Ok(mut decoder) => fill(&mut decoder, SIGNATURE_BYTES_MAX),
            Err(shortfall) => (Vec::new(), Err(shortfall)),
        };
        if end == Err(Shortfall::Unreadable) {
            return Ok((Some(compression), head));
        }
        let mut heads = self.heads.lock();
        if heads.len() >= HEADS_MAX {
            heads.clear();
        }
        heads.insert(key, head.clone());
        Ok((Some(compression), head))
    }

    fn new_file(&self) -> io::Result<File> {
        let chosen = self.settings.lock().directory.clone();
        let mut last = io::ErrorKind::NotFound.into();
        for directory in chosen.map_or_else(usual_directories, |chosen| vec![chosen]) {
            match make_directory(&directory).and_then(|()| unnamed_file(&directory)) {
                Ok(file) => return Ok(file),
                Err(error) if is_short_of_descriptors(&error) => return Err(error),
                Err(error) => {
                    let words = format!("cannot write to `{}`: {error}", directory.display());
                    last = io::Error::new(error.kind(), words);
                }
            }
        }
        Err(last)
    }
}

fn is_short_of_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Whether only the store still has the copy: its list and its job have one handle each.
fn is_unwanted(copy: &Arc<Unpacked>) -> bool {
    Arc::strong_count(copy) <= 2
}

/// How a file is compressed.
pub(in crate::log) fn compression_of(file: &File) -> io::Result<Option<Compression>> {
    let mut magic = [0; MAGIC_BYTES];
    let read = read_at_start(file, &mut magic)?;
    Ok(Compression::of(magic.get(..read).unwrap_or_default()))
}

fn read_at_start(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// At most so many bytes, and whether they are the last ones.
fn fill(decoder: &mut Decoder, bytes_max: usize) -> (Vec<u8>, Result<bool, Shortfall>) {
    let mut bytes = vec![0; bytes_max];
    let mut filled = 0;
    let end = loop {
        let to = bytes_max.min(filled + READ_BYTES);
        let Some(rest) = bytes.get_mut(filled..to).filter(|rest| !rest.is_empty()) else {
            break Ok(false);
        };
        match decoder.read(rest) {
            Ok(0) => break Ok(true),
            Ok(read) => filled += read,
            Err(shortfall) => break Err(shortfall),
        }
    };
    bytes.truncate(filled);
    (bytes, end)
}

/// Where unpacked files lie unless a directory is chosen. Often `/tmp` is memory, so it comes last.
fn usual_directories() -> Vec<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    // systemd sets the first one for `CacheDirectory=`.
    let own = from("CACHE_DIRECTORY").map(PathBuf::from);
    let caches = from("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| from("HOME").map(|home| Path::new(&home).join(".cache")));
    let shared = [PathBuf::from("/var/tmp"), std::env::temp_dir()];
    own.into_iter().chain(caches.map(|caches| caches.join("tailcast"))).chain(shared).collect()
}

fn make_directory(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A file without a name: its space is free when it is closed, however the process ends.
fn unnamed_file(directory: &Path) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => Ok(file.into()),
        // Not every file system can do that.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT | Errno::INVAL) => {
            let name = format!(".tailcast-{}-{:x}", std::process::id(), fastrand::u64(..));
            let path = directory.join(name);
            let file = rustix::fs::openat(CWD, &path, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rustix::fs::unlinkat(CWD, &path, rustix::fs::AtFlags::empty())?;
            Ok(file.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the file system has more free space than others may need.
fn has_free_space(file: &File) -> bool {
    let Ok(system) = rustix::fs::fstatvfs(file) else { return true };
    let bytes = |blocks: u64| blocks.saturating_mul(system.f_frsize);
    bytes(system.f_bavail) > (bytes(system.f_blocks) / FREE_PART).min(FREE_BYTES)
}
