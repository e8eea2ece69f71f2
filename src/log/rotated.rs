//! Finding files again that were rotated away while nobody followed the log.
//!
//! They lie under other names, beside the log or in a directory of old files. A file whose position
//! is known is recognised by its inode and its head, since another file may have got the inode
//! meanwhile. It may have any name. A file that had the log's name after it is recognised by its
//! present name and by its creation time, which a renaming does not change. All calls may block.
//!
//! A search that finds no file proves nothing. [`succession`] decides whether one file followed
//! another directly.

mod names;
mod places;
pub(super) mod succession;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::log::access::{Access, Identity, LogPath};
use crate::log::file::LogFile;
use crate::log::pattern::{Match, Pattern, Rank, first_admitted};
use crate::log::position::{Generation, Offset};
use names::NameOrder;
use places::Name;

/// A shorter signature is not enough to recognise a file: any file may have got the inode of one
/// that was not held open.
const SIGNED_BYTES_MIN: usize = 64;
/// How often the directories are read. While files are being renamed, a reading may miss some of
/// them.
const READINGS_MAX: usize = 5;
/// The pause between two readings.
const READING_INTERVAL: Duration = Duration::from_millis(20);
/// How long writers may go on with a file that has lost the log's name.
const LATE_TIME: Duration = Duration::from_secs(60);
/// A list of old files is used for this long, so that a viewer that goes from one file to the next
/// does not cause a reading of the directories for each.
const LISTING_TIME: Duration = Duration::from_secs(1);
/// The most files in such a list.
const LISTED_MAX: usize = 10_000;

/// The file of the generation `wanted`, if it lies where old files do and provably has the
/// generation's bytes up to `offset`.
pub(super) fn find(
    access: &Access,
    log: &LogPath,
    wanted: Generation,
    offset: Offset,
) -> Option<LogFile> {
    if wanted.signature.bytes() < SIGNED_BYTES_MIN {
        return None;
    }
    let proved = |name: &Name<'_>| {
        if name.inode != wanted.identity.inode {
            return None;
        }
        let file = open(access, &name.log_path(access)?)?;
        let is_proved = wanted.is_proved_by(file.identity(), &file.head().ok()?, offset)
            && offset.0 <= file.status().ok()?.size;
        is_proved.then_some(file)
    };
    for _ in 1..READINGS_MAX {
        let were_at_rest = places::are_at_rest(access, log);
        let file = places::search(access, log, proved);
        if file.is_some() || were_at_rest {
            return file;
        }
        thread::sleep(READING_INTERVAL);
    }
    places::search(access, log, proved)
}

/// The file with the inode of a generation whose signature is too short for proof, if it lies where
/// old files do, under the name of a rotated file.
pub(super) fn find_unproved(access: &Access, log: &LogPath, wanted: Generation) -> Option<LogFile> {
    if wanted.signature.bytes() >= SIGNED_BYTES_MIN {
        return None;
    }
    let own = OwnNames::of(access, log);
    places::search(access, log, |name| {
        let is_wanted = name.inode == wanted.identity.inode && own.are_of_log(name);
        let file = open(access, &name.log_path(access).filter(|_| is_wanted)?)?;
        (file.identity() == wanted.identity).then_some(file)
    })
}

/// The match of a pattern that comes after a file which matches, or did, if nobody `is_followed`
/// it: the next newer one that may be read. `all` are the matches, the oldest first.
pub(super) fn find_next_match(
    access: &Access,
    all: &[Match],
    file: &LogFile,
    is_followed: impl Fn(Identity) -> bool,
) -> Option<LogFile> {
    let at = all.iter().position(|found| found.identity == file.identity());
    let after = match at {
        Some(at) => at + 1,
        // The file has another name now. That may have a date, too.
        None => {
            let name = file.path_now()?;
            let rank = Rank::new(name.file_name()?, false, file.born());
            all.partition_point(|found| found.rank <= rank)
        }
    };
    let newer = all[after..].iter().take_while(|found| !is_followed(found.identity));
    let (_, admitted) = first_admitted(newer, |log| access.open(log)).ok()?;
    Some(LogFile::new(admitted))
}

/// Whether the file is compressed, by its name.
pub(super) fn is_compressed(name: &[u8]) -> bool {
    names::is_compressed_name(name)
}

/// The old files of a log: those that had its name before the file with which following began.
#[derive(Debug, Default)]
pub(super) struct OldFiles(Mutex<Option<Listing>>);

#[derive(Debug)]
struct Listing {
    at: Instant,
    /// In the order in which they were created.
    files: Vec<Listed>,
}

#[derive(Clone, Debug)]
struct Listed {
    order: Order,
    path: LogPath,
}

/// The order of old files: that of their creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    born: SystemTime,
    /// Of files that were created within one tick.
    name: NameOrder,
    inode: u64,
}

/// What bounds a search among the old files of a log.
pub(super) struct Followed {
    /// When the file was created with which following began.
    pub(super) born: SystemTime,
    /// The files that have been followed since. They are no old ones.
    pub(super) files: Vec<Identity>,
}

impl OldFiles {
    /// The file that had the log's name after the file `before`, if it lies where old files do,
    /// under the name of a rotated file.
    pub(super) fn find_next(
        &self,
        access: &Access,
        log: &LogPath,
        before: &LogFile,
        followed: &Followed,
    ) -> Option<LogFile> {
        let path = before.path_now().unwrap_or_default();
        let after = Order {
            born: before.life()?.born,
            name: NameOrder::of(path.file_name().unwrap_or_default()),
            inode: before.identity().inode,
        };
        let mut listing = self.0.lock();
        let is_fresh = |listing: &Listing| listing.at.elapsed() < LISTING_TIME;
        if let Some(known) = listing.as_ref().filter(|listing| is_fresh(listing)) {
            // Where the file was renamed since, the list is made anew.
            match known.next(&after, followed) {
                Some(next) => {
                    if let Some(file) = next.open(access) {
                        return Some(file);
                    }
                }
                None => return None,
            }
        }
        let listing = listing.insert(Listing::new(access, log, followed));
        let mut after = after;
        while let Some(next) = listing.next(&after, followed) {
            if let Some(file) = next.open(access) {
                return Some(file);
            }
            after = next.order.clone();
        }
        None
    }
}

impl Listing {
    fn new(access: &Access, log: &LogPath, followed: &Followed) -> Self {
        let (at, mut files) = (Instant::now(), Vec::new());
        let own = OwnNames::of(access, log);
        places::search::<()>(access, log, |name| {
            let is_wanted = files.len() < LISTED_MAX && own.are_of_log(name);
            let times = is_wanted.then(|| name.times())??;
            // A file that is still written to is another log.
            let is_old = times.born <= followed.born && times.written <= followed.born + LATE_TIME;
            let path = name.log_path(access).filter(|path| is_old && path != log)?;
            let (born, inode) = (times.born, name.inode);
            let order = Order { born, name: NameOrder::of(name.name), inode };
            files.push(Listed { order, path });
            None
        });
        files.sort_by(|one, other| one.order.cmp(&other.order));
        Self { at, files }
    }

    fn next(&self, after: &Order, followed: &Followed) -> Option<&Listed> {
        let is_followed = |file: &Listed| {
            followed.files.iter().any(|identity| identity.inode == file.order.inode)
        };
        let mut later = self.files.iter().filter(|file| file.order > *after);
        later.find(|file| !is_followed(file))
    }
}

impl Listed {
    /// The file, if it still lies at its path and can be read as it is.
    fn open(&self, access: &Access) -> Option<LogFile> {
        let file = open(access, &self.path)?;
        let Order { born, inode, .. } = self.order;
        let is_same = file.identity().inode == inode && file.life()?.born == born;
        (is_same && !names::is_compressed(&file.head().ok()?)).then_some(file)
    }
}

/// The files that were created after `before` and before `next`, and lie where old files do, under
/// the names of rotated files, in the order of their creation.
pub(super) fn find_between(
    access: &Access,
    log: &LogPath,
    before: &LogFile,
    next: &LogFile,
) -> Vec<LogFile> {
    let (Some(first), Some(last)) = (before.born(), next.born()) else { return Vec::new() };
    let ends = [before.identity().inode, next.identity().inode];
    let followed = Followed { born: last, files: Vec::new() };
    let listing = Listing::new(access, log, &followed);
    let between = listing.files.iter().filter(|file| {
        (first..=last).contains(&file.order.born) && !ends.contains(&file.order.inode)
    });
    between.filter_map(|file| file.open(access)).collect()
}

/// Whether the file `next_born` had the log's name right after `before`, by the times of both.
pub(super) fn follows_directly(before: &LogFile, log: &LogPath, next_born: SystemTime) -> bool {
    let Some(life) = before.life() else { return false };
    let (path, own) = (before.path_now(), log.as_path().file_name().unwrap_or_default());
    let name = path.as_deref().and_then(|path| path.file_name());
    let is_shifted = name.is_none_or(|name| names::is_shifted(name, own));
    succession::follows_directly(&life, is_shifted, next_born, *succession::TICK)
}

/// The names of a log: its own, and that of the file to which it leads.
struct OwnNames {
    /// None where the name is no pattern.
    pattern: Option<Pattern>,
    log: OsString,
    /// None where the name is no link.
    file: Option<OsString>,
}

impl OwnNames {
    fn of(access: &Access, log: &LogPath) -> Self {
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        let own = name_of(log.as_path());
        let file = access.open(log).ok().map(|admitted| name_of(admitted.real_path()));
        Self { pattern: log.pattern().cloned(), file: file.filter(|file| *file != own), log: own }
    }

    /// Whether the name is one of a rotated file. In a directory of old files it may be the log's
    /// own.
    fn are_of_log(&self, name: &Name<'_>) -> bool {
        if let Some(pattern) = &self.pattern {
            let name = name.name.as_bytes();
            return pattern.matches(name) && !is_compressed(name);
        }
        let is_rotated = |own: &OsString| {
            names::is_rotated(name.name, own) || (!name.is_beside && name.name == own)
        };
        let is_of_series = |file: &OsString| names::are_of_one_series(name.name, file);
        is_rotated(&self.log)
            || self.file.as_ref().is_some_and(|file| is_rotated(file) || is_of_series(file))
    }
}

/// Opens a file with the same checks as for any path that a viewer requests.
fn open(access: &Access, path: &LogPath) -> Option<LogFile> {
    Some(LogFile::new(access.open(path).ok()?))
}
