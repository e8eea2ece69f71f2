//! The past of a log: the files that had its name, kept as long as nothing changes where they lie.
//!
//! To read thousands of names and to open each file for its first bytes takes long. So a follower
//! keeps what it found. It is good while each directory is the one that was read and has not changed
//! since, and while each file has its size and its times. Whether the directories may be read is
//! checked each time. A directory or file that changed a moment before it was looked at is not
//! trusted, because the next change may get the same time: the clocks of file systems are coarse.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::log::access::{Access, Identity, LogPath};
use crate::log::archive::Compression;
use crate::log::file::LogFile;
use crate::log::position::{Generation, SIGNATURE_BYTES_MAX, Signature};
use crate::log::rotated::order::{self, Entry};
use crate::log::rotated::places::{self, Stated, Survey};
use crate::log::rotated::{LATE_TIME, MOVING_TIME_MAX, OwnNames, READING_INTERVAL};
use crate::log::rotated::{is_compressed, names, open};

/// The most files of a past.
const FILES_MAX: usize = 10_000;
/// What changed less than this long before it was looked at may change again unseen.
const SETTLING_TIME: Duration = Duration::from_secs(2);
/// The directories are read again after this time. Some file systems note no times for them.
const KEPT_TIME: Duration = Duration::from_secs(60);

/// A file of a log's past: it had the log's name, as far as its own name says so.
#[derive(Clone, Debug)]
pub(in crate::log) struct PastFile {
    pub(in crate::log) path: LogPath,
    /// Old files may lie on several file systems, each with inodes of its own.
    pub(super) identity: Identity,
    /// When it was created. None where the file system does not say.
    pub(super) born: Option<SystemTime>,
    /// When it was last written. A compressor keeps the time of the original.
    pub(in crate::log) modified: SystemTime,
    /// How many bytes it has on the disk.
    pub(in crate::log) size: u64,
    /// Its name has the ending of a compressed file.
    pub(super) is_compressed: bool,
    /// A file is missing between this one and the next, by their numbers.
    pub(in crate::log) is_gap_after: bool,
}

/// What names a file of the past.
#[derive(Debug)]
pub(in crate::log) struct Identified {
    pub(in crate::log) generation: Generation,
    pub(in crate::log) compression: Option<Compression>,
    /// The first bytes of its content.
    pub(in crate::log) head: Vec<u8>,
}

impl PastFile {
    /// Whether it was written before a file that was created then. A file that is still written to
    /// may be another log, whatever its name is.
    pub(super) fn is_older_than(&self, born: SystemTime) -> bool {
        // A compressor creates its file at any time.
        let is_old = self.is_compressed || self.born.is_some_and(|own| own <= born);
        is_old && born.checked_add(LATE_TIME).is_none_or(|until| self.modified <= until)
    }

    /// The file, if it still lies at its path and can be read.
    pub(in crate::log) fn open(&self, access: &Access) -> Option<LogFile> {
        let file = open(access, &self.path)?;
        let is_same =
            file.identity() == self.identity && (self.born.is_none() || file.born() == self.born);
        (is_same && !names::is_compressed(&file.head().ok()?)).then_some(file)
    }

    /// Whether the file still lies at its path, though it may not be readable.
    pub(in crate::log) fn is_in_place(&self, access: &Access) -> bool {
        access.identify(&self.path).is_ok_and(|identity| identity == self.identity)
    }

    /// The generation that this file has when nobody has followed it, how it is compressed, and the
    /// first bytes of its content.
    pub(super) fn identify(&self, access: &Access) -> Option<Identified> {
        let admitted = access.open(&self.path).ok()?;
        let identity = admitted.identity();
        let (compression, head) = admitted.content_head().ok()?;
        let is_same = identity == self.identity && !names::is_compressed(&head);
        let nonce = nonce_of(self.born, &head);
        let generation = Generation::new(identity, nonce, &head);
        is_same.then_some(Identified { generation, compression, head })
    }
}

/// The nonce of a file that was not followed when it had the log's name: always the same, so that a
/// position in it is good after a restart of the server, too.
pub(in crate::log) fn nonce_of(born: Option<SystemTime>, head: &[u8]) -> u32 {
    let since = born.and_then(|born| born.duration_since(SystemTime::UNIX_EPOCH).ok());
    let mut named = since.unwrap_or_default().as_nanos().to_le_bytes().to_vec();
    // A short file may still grow.
    named.extend(head.get(..SIGNATURE_BYTES_MAX).unwrap_or_default());
    let hash = Signature::new(&named[..named.len().min(SIGNATURE_BYTES_MAX)]).hash;
    (hash ^ (hash >> 32)) as u32
}

/// The past of a log, the oldest file first, without a look at what is in the files. Compressed files
/// are among them; the present file is not.
pub(super) fn list(access: &Access, log: &LogPath) -> Vec<PastFile> {
    Reading::at_rest(access, log).into_files()
}

/// The same without a pause while files are being renamed.
pub(super) fn list_once(access: &Access, log: &LogPath) -> Vec<PastFile> {
    Reading::new(access, log).into_files()
}

/// Which files have the names of old files of the log now.
pub(super) fn names(access: &Access, log: &LogPath) -> Vec<(Identity, LogPath)> {
    Reading::new(access, log).names()
}

/// A file of the past, with what proves that it has not changed.
#[derive(Clone, Debug)]
struct Found {
    file: PastFile,
    /// The number of its directory.
    place: usize,
    name: OsString,
    stated: Stated,
    /// None until it is asked for, and for what can't be read.
    identified: Option<Arc<Identified>>,
}

/// What the directories contained at one moment.
#[derive(Debug)]
struct Reading {
    survey: Survey,
    names: OwnNames,
    /// The present file, which is no file of the past.
    present: Option<Identity>,
    /// The oldest first.
    files: Vec<Found>,
    /// When it was read.
    at: Instant,
    /// Whether each later change of the directories can be seen by their times.
    is_trusted: bool,
}

impl Reading {
    fn new(access: &Access, log: &LogPath) -> Self {
        let at = Instant::now();
        let present = access.identify(log).ok();
        let names = OwnNames::of(access, log);
        let own = names.own();
        let mut survey = Survey::default();
        let mut found: HashMap<(usize, OsString), Found> = HashMap::new();
        let mut entries: Vec<Entry> = Vec::new();
        let mut taken: HashSet<Identity> = present.into_iter().collect();
        places::survey::<()>(access, log, &mut survey, |name| {
            let (place, is_beside) = (name.place, name.is_beside);
            let entry = Entry {
                place,
                name: name.name.to_owned(),
                modified: SystemTime::UNIX_EPOCH,
                born: None,
                is_beside,
            };
            if entries.len() >= FILES_MAX || !own.has(&entry) {
                return None;
            }
            let path = name.log_path(access).filter(|path| path != log)?;
            let stated = name.stat()?;
            // A file may have several names.
            if !taken.insert(stated.identity) {
                return None;
            }
            let (born, modified, size) = (stated.born, stated.written, stated.size);
            let is_compressed = is_compressed(name.name.as_bytes());
            let (identity, is_gap_after) = (stated.identity, false);
            let file =
                PastFile { path, identity, born, modified, size, is_compressed, is_gap_after };
            let name = entry.name.clone();
            let known = Found { file, place, name, stated, identified: None };
            found.insert((place, entry.name.clone()), known);
            entries.push(Entry { modified, born, ..entry });
            None
        });
        let ordered = order::ordered(&own, entries).into_iter().filter_map(|ordered| {
            let found = found.remove(&(ordered.entry.place, ordered.entry.name))?;
            let file = PastFile { is_gap_after: ordered.is_gap_after, ..found.file };
            Some(Found { file, ..found })
        });
        Self { files: ordered.collect(), survey, names, present, at, is_trusted: false }
    }

    /// A reading during which no file was renamed, as far as can be seen. A name that is changed
    /// while names are read may be left out.
    fn at_rest(access: &Access, log: &LogPath) -> Self {
        let until = Instant::now() + MOVING_TIME_MAX;
        let mut last = None;
        loop {
            let were_at_rest = places::are_at_rest(access, log);
            let reading = Self::new(access, log);
            let are_at_rest = were_at_rest && reading.survey.unchanged(access, log).is_some();
            let names = reading.names();
            if are_at_rest || last.as_ref() == Some(&names) || Instant::now() >= until {
                return reading;
            }
            last = Some(names);
            thread::sleep(READING_INTERVAL);
        }
    }

    fn names(&self) -> Vec<(Identity, LogPath)> {
        self.files.iter().map(|found| (found.file.identity, found.file.path.clone())).collect()
    }

    /// The files that are wanted, each with what names it, and whether they are all that can be read:
    /// a file that is renamed before it is opened is left out.
    fn identify(
        &mut self,
        access: &Access,
        settled_before: SystemTime,
        is_wanted: impl Fn(&PastFile) -> bool,
    ) -> (Vec<(PastFile, Arc<Identified>)>, bool) {
        let (mut files, mut are_all) = (Vec::new(), true);
        for found in self.files.iter_mut().filter(|found| is_wanted(&found.file)) {
            let known = found.identified.take();
            let identified = known.or_else(|| found.file.identify(access).map(Arc::new));
            let Some(identified) = identified else {
                are_all &= found.file.is_in_place(access);
                continue;
            };
            if found.stated.is_settled(settled_before) {
                found.identified = Some(Arc::clone(&identified));
            }
            files.push((found.file.clone(), identified));
        }
        (files, are_all)
    }

    fn into_files(self) -> Vec<PastFile> {
        self.files.into_iter().map(|found| found.file).collect()
    }

    /// The reading with each file as it is now, if the same files have the same names and may still be
    /// read.
    fn renewed(&self, access: &Access, log: &LogPath) -> Option<Self> {
        if !self.is_trusted || self.at.elapsed() >= KEPT_TIME {
            return None;
        }
        let directories = self.survey.unchanged(access, log)?;
        let present = access.identify(log).ok();
        if present != self.present || OwnNames::of(access, log) != self.names {
            return None;
        }
        let files: Option<_> =
            self.files.iter().map(|found| found.renewed(access, &directories)).collect();
        Some(Self {
            files: files?,
            survey: self.survey.clone(),
            names: self.names.clone(),
            ..*self
        })
    }
}

impl Found {
    /// The same file as it is now; None if another one has its name, or if its order may change.
    fn renewed(&self, access: &Access, directories: &[OwnedFd]) -> Option<Self> {
        let directory = directories.get(self.place.checked_sub(1)?)?;
        let stated = places::stat(directory, &self.name)?;
        let is_same = stated.identity == self.file.identity
            && stated.born == self.file.born
            && stated.written == self.file.modified;
        if !is_same || !access.admits(&self.file.path) {
            return None;
        }
        let identified = self.identified.clone().filter(|_| stated == self.stated);
        let file = PastFile { size: stated.size, ..self.file.clone() };
        Some(Self { file, stated, identified, name: self.name.clone(), place: self.place })
    }
}

/// The past of a log as it was found last.
#[derive(Debug, Default)]
pub(super) struct KnownPast(Mutex<Option<Arc<Reading>>>);

impl KnownPast {
    /// The files of a log's past that are wanted, the oldest first, each with what names it.
    /// Compressed files are among them; the present file is not, and no file that can't be read. It
    /// may block.
    pub(super) fn files(
        &self,
        access: &Access,
        log: &LogPath,
        is_wanted: impl Fn(&PastFile) -> bool,
    ) -> Vec<(PastFile, Arc<Identified>)> {
        self.files_at(access, log, SystemTime::now(), is_wanted)
    }

    /// The same by another clock.
    fn files_at(
        &self,
        access: &Access,
        log: &LogPath,
        now: SystemTime,
        is_wanted: impl Fn(&PastFile) -> bool,
    ) -> Vec<(PastFile, Arc<Identified>)> {
        let settled_before = now.checked_sub(SETTLING_TIME).unwrap_or(SystemTime::UNIX_EPOCH);
        let until = Instant::now() + MOVING_TIME_MAX;
        loop {
            // A file system may hang, so nobody waits for the reading of another one.
            let known = self.0.lock().clone();
            let mut reading = renewed_or_new(access, log, known.as_deref(), settled_before);
            let (files, are_all) = reading.identify(access, settled_before, &is_wanted);
            *self.0.lock() = Some(Arc::new(reading));
            if are_all || Instant::now() >= until {
                return files;
            }
            thread::sleep(READING_INTERVAL);
        }
    }
}

/// The last reading as it is now, or a new one where that is no longer good.
fn renewed_or_new(
    access: &Access,
    log: &LogPath,
    known: Option<&Reading>,
    settled_before: SystemTime,
) -> Reading {
    if let Some(renewed) = known.and_then(|known| known.renewed(access, log)) {
        return renewed;
    }
    let mut reading = Reading::at_rest(access, log);
    reading.is_trusted = reading.survey.is_settled(settled_before);
    let known = known.into_iter().flat_map(|known| &known.files);
    let known: HashMap<&LogPath, &Found> = known.map(|found| (&found.file.path, found)).collect();
    for found in &mut reading.files {
        let same = known.get(&found.file.path).filter(|known| known.stated == found.stated);
        found.identified = same.and_then(|known| known.identified.clone());
    }
    reading
}

#[cfg(test)]
mod tests;
