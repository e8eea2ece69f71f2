//! Finding files again that were rotated away while nobody followed the log.
//!
//! They lie under other names, beside the log or in a directory of old files. A file whose position
//! is known is recognised by its inode and its head, since another file may have got the inode
//! meanwhile. It may have any name. A file that had the log's name after it is recognised by its
//! present name and by its creation time, which a renaming does not change. A compressed file is
//! recognised by its content. All calls may block.
//!
//! The [`past`] of a log is all of these files, in the order of their [names](order). A search that
//! finds no file proves nothing. [`succession`] decides whether one file followed another directly.

mod names;
mod order;
mod past;
mod places;
pub(super) mod succession;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::log::access::{Access, Identity, LogPath, Refusal};
use crate::log::file::LogFile;
use crate::log::pattern::{Match, Pattern, Rank, first_admitted};
use crate::log::position::{Generation, Offset};
use order::Own;
use past::KnownPast;
pub(super) use past::{Identified, PastFile, nonce_of};
use places::Name;

/// A shorter signature is not enough to recognise a file: any file may have got the inode of one
/// that was not held open.
const SIGNED_BYTES_MIN: usize = 64;
/// How long a search goes on while files are being renamed: one look at the directories may miss some
/// of them.
pub(super) const MOVING_TIME_MAX: Duration = Duration::from_secs(2);
/// The pause between two readings.
const READING_INTERVAL: Duration = Duration::from_millis(20);
/// How many links are followed from one to the next.
const LINKS_MAX: usize = 8;
/// How long writers may go on with a file that has lost the log's name.
const LATE_TIME: Duration = Duration::from_secs(60);
/// A list of old files is used for this long, so that a viewer that goes from one file to the next
/// does not cause a reading of the directories for each.
const LISTING_TIME: Duration = Duration::from_secs(1);

/// The file of the generation `wanted`, if it lies where old files do and provably has the
/// generation's bytes up to `offset`. `end` is that of all that was published of the generation, if
/// this is known: a few bytes are enough if these are all.
pub(super) fn find(
    access: &Access,
    log: &LogPath,
    wanted: Generation,
    offset: Offset,
    end: Option<Offset>,
) -> Option<LogFile> {
    let is_entire = wanted.signature.is_entire(end);
    if wanted.signature.bytes() < SIGNED_BYTES_MIN && !is_entire {
        return None;
    }
    let proved = |name: &Name<'_>| {
        if name.inode != wanted.identity.inode {
            return None;
        }
        let file = open(access, &name.log_path(access)?)?;
        let (identity, head) = (file.identity(), file.head().ok()?);
        let has_all = || is_entire && identity == wanted.identity && wanted.is_of(&head);
        let is_proved = (wanted.is_proved_by(identity, &head, offset) || has_all())
            && (file.still_unpacking().is_some() || offset.0 <= file.status().ok()?.size);
        is_proved.then_some(file)
    };
    places::search(access, log, proved)
}

/// What a search finds. It may miss a file that is renamed meanwhile, or replaced by a compressed one.
/// So a search that finds nothing is repeated until no old file of the log has got or lost a name
/// before it is over, nor a moment before it.
pub(super) fn while_renamed<T>(
    access: &Access,
    log: &LogPath,
    mut search: impl FnMut() -> Option<T>,
) -> Option<T> {
    let until = Instant::now() + MOVING_TIME_MAX;
    if let Some(found) = search() {
        return Some(found);
    }
    let (mut known, mut since) = (past::names(access, log), Instant::now());
    loop {
        let were_at_rest = places::are_at_rest(access, log);
        if let Some(found) = search() {
            return Some(found);
        }
        let now = past::names(access, log);
        let is_over = now == known && (were_at_rest || since.elapsed() >= places::REST_TIME);
        if is_over || Instant::now() >= until {
            return None;
        }
        if now != known {
            (known, since) = (now, Instant::now());
        }
        thread::sleep(READING_INTERVAL);
    }
}

/// The file with the inode of a generation whose signature is too short for proof, if it lies where
/// old files do, under the name of a rotated file.
pub(super) fn find_unproved(access: &Access, log: &LogPath, wanted: Generation) -> Option<LogFile> {
    if wanted.signature.bytes() >= SIGNED_BYTES_MIN {
        return None;
    }
    find_by_inode(access, log, wanted.identity, |_| true)
}

/// The file with the inode of a generation, if it lies where old files do, under the name of a rotated
/// file, and nothing of it was received as that generation: it was truncated since, or another file got
/// the inode. `received` is the offset up to which the generation was received; None if that is not
/// known.
pub(super) fn find_other_content(
    access: &Access,
    log: &LogPath,
    wanted: Generation,
    received: Option<Offset>,
) -> Option<LogFile> {
    let is_other = |file: &LogFile| {
        let (head, size) = (file.head().ok()?, file.status().ok()?.size);
        let is_shorter = received.is_some_and(|received| size < received.0);
        Some(!wanted.is_of(&head) || is_shorter || received == Some(Offset(0)))
    };
    find_by_inode(access, log, wanted.identity, |file| {
        file.compression().is_none() && is_other(file) == Some(true)
    })
}

/// The file of this identity under the name of a rotated file.
fn find_by_inode(
    access: &Access,
    log: &LogPath,
    wanted: Identity,
    is_wanted: impl Fn(&LogFile) -> bool,
) -> Option<LogFile> {
    let own = OwnNames::of(access, log);
    places::search(access, log, |name| {
        let is_its = name.inode == wanted.inode && own.are_of_log(name);
        let file = open(access, &name.log_path(access).filter(|_| is_its)?)?;
        (file.identity() == wanted && is_wanted(&file)).then_some(file)
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
    LogFile::with_content(admitted).ok()
}

/// Whether the file is compressed, by its name.
pub(super) fn is_compressed(name: &[u8]) -> bool {
    names::is_compressed_name(name)
}

/// The past of a log as it was found lately.
#[derive(Debug, Default)]
pub(super) struct OldFiles {
    /// For one who goes from file to file in the order of time.
    listing: Mutex<Option<Listing>>,
    past: KnownPast,
}

#[derive(Debug)]
struct Listing {
    at: Instant,
    /// The oldest first.
    files: Vec<PastFile>,
}

/// What bounds a search among the old files of a log.
pub(super) struct Followed {
    /// When the file was created with which following began.
    pub(super) born: SystemTime,
    /// The files that have been followed since. They are no old ones.
    pub(super) files: Vec<Identity>,
    /// Their generations, of those whose content is known beyond doubt.
    pub(super) contents: Vec<Generation>,
}

impl Followed {
    /// Whether a file of the past has been followed, or is a compressed one with the content of a
    /// file that has been.
    fn has_followed(&self, access: &Access, file: &PastFile) -> bool {
        if !file.is_compressed {
            return self.files.contains(&file.identity);
        }
        let Some(identified) = file.identify(access) else { return false };
        let head = &identified.head;
        self.contents.iter().any(|generation| generation.signature.is_of_content(head))
    }
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
        let mut listing = self.listing.lock();
        let is_fresh = |listing: &Listing| listing.at.elapsed() < LISTING_TIME;
        if let Some(known) = listing.as_ref().filter(|listing| is_fresh(listing)) {
            // Where a file was renamed since, the list is made anew.
            let (_, next) = known.next(access, before, followed)?;
            if let Some(file) = next.open(access) {
                return Some(file);
            }
        }
        let listing = listing.insert(Listing::new(access, log));
        let mut next = listing.next(access, before, followed);
        while let Some((at, file)) = next {
            if let Some(file) = file.open(access) {
                return Some(file);
            }
            next = listing.from(at + 1, access, followed);
        }
        None
    }

    /// The past of a log, the oldest file first, each with what names it. Compressed files are among
    /// them; the present file is not.
    pub(super) fn past(&self, access: &Access, log: &LogPath) -> Vec<(PastFile, Arc<Identified>)> {
        self.past.files(access, log, |_| true)
    }

    /// The file of the past that was given this generation because nobody had followed it. Its name
    /// for it is always the same, so that it is proved even where the file is short.
    pub(super) fn find_named(
        &self,
        access: &Access,
        log: &LogPath,
        wanted: Generation,
    ) -> Option<LogFile> {
        let is_it = |file: &PastFile| file.identity == wanted.identity;
        let is_named = |identified: &Identified| {
            identified.generation.is(&wanted) && wanted.is_of(&identified.head)
        };
        let mut files = self.past.files(access, log, is_it).into_iter();
        let (named, _) = files.find(|(_, identified)| is_named(identified))?;
        named.open(access)
    }

    /// The compressed file that has the content of a generation whose own file is gone: the only
    /// one in the log's past whose content begins as the generation's. It may still be unpacked for
    /// a while. `end` is that of all that was published of the generation, if this is known.
    pub(super) fn find_compressed(
        &self,
        access: &Access,
        log: &LogPath,
        wanted: Generation,
        end: Option<Offset>,
    ) -> Option<LogFile> {
        // Other files may begin with the same few bytes, unless these are all of them.
        let is_entire = wanted.signature.is_entire(end);
        if !wanted.signature.is_whole() && !is_entire {
            return None;
        }
        let is_found =
            |it: &Identified| it.compression.is_some() && wanted.signature.is_of_content(&it.head);
        let mut files = self.past(access, log).into_iter().filter(|(_, it)| is_found(it));
        let (found, _) = files.next()?;
        if wanted.signature.is_whole() && files.next().is_some() {
            return None;
        }
        found.open(access)
    }
}

impl Listing {
    fn new(access: &Access, log: &LogPath) -> Self {
        let (at, mut files) = (Instant::now(), past::list(access, log));
        // What happened to the names is not known, but a renaming does not change when a file was
        // created. Of a compressed file that says nothing.
        if files.iter().all(|file| file.born.is_some() && !file.is_compressed) {
            files.sort_by_key(|file| file.born);
        }
        Self { at, files }
    }

    /// The file after another one, with its place in the list.
    fn next(
        &self,
        access: &Access,
        before: &LogFile,
        followed: &Followed,
    ) -> Option<(usize, &PastFile)> {
        let known = self.files.iter().position(|file| file.identity == before.identity());
        let at = match known {
            Some(at) => at + 1,
            // It has another kind of name, or none. Then the times say where it belongs.
            None => {
                let life = before.life()?;
                let is_later = |file: &PastFile| match file.born.filter(|_| !file.is_compressed) {
                    Some(born) => born > life.born,
                    None => file.modified > life.written,
                };
                self.files.iter().position(is_later)?
            }
        };
        self.from(at, access, followed)
    }

    /// The first file from a place of the list on.
    fn from(&self, at: usize, access: &Access, followed: &Followed) -> Option<(usize, &PastFile)> {
        let mut later = self.files.iter().enumerate().skip(at);
        later.find(|(_, file)| {
            file.is_older_than(followed.born) && !followed.has_followed(access, file)
        })
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
    let ends = [before.identity(), next.identity()];
    let mut between = past::list_once(access, log);
    between.retain(|file| {
        let is_between = file.born.is_some_and(|born| (first..=last).contains(&born));
        is_between
            && !file.is_compressed
            && file.is_older_than(last)
            && !ends.contains(&file.identity)
    });
    between.sort_by_key(|file| file.born);
    between.into_iter().filter_map(|file| file.open(access)).collect()
}

/// Whether the file `next_born` had the log's name right after `before`, by the times of both.
pub(super) fn follows_directly(before: &LogFile, log: &LogPath, next_born: SystemTime) -> bool {
    let Some(life) = before.life() else { return false };
    let (path, own) = (before.path_now(), log.as_path().file_name().unwrap_or_default());
    let name = path.as_deref().and_then(|path| path.file_name());
    let is_shifted = name.is_none_or(|name| names::is_shifted(name, own));
    succession::follows_directly(&life, is_shifted, next_born, *succession::TICK)
}

/// The path of the file to which a log's name leads. A link leads there while a rotation has renamed
/// the file and has not made the next one yet.
fn real_path(access: &Access, log: &LogPath) -> Option<PathBuf> {
    match access.open(log) {
        Ok(admitted) => Some(admitted.real_path().to_owned()),
        Err(Refusal::NotFound) => target_of_link(access, log.as_path()),
        Err(_) => None,
    }
}

/// Where a link leads, by the text of the links, if that lies inside the prefixes.
fn target_of_link(access: &Access, link: &Path) -> Option<PathBuf> {
    let mut target = None;
    let mut at = link.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(text) = std::fs::read_link(&at) else { break };
        let next = at.parent()?.join(text);
        at = access.locate(next.as_os_str().as_bytes()).ok()?.as_path().to_owned();
        target = Some(at.clone());
    }
    target
}

/// The names of a log: its own, and that of the file to which it leads.
#[derive(Clone, Debug, PartialEq)]
struct OwnNames {
    /// None where the name is no pattern.
    pattern: Option<Pattern>,
    log: OsString,
    /// None where the name is no link.
    file: Option<OsString>,
}

impl OwnNames {
    fn own(&self) -> Own {
        let names = std::iter::once(&self.log).chain(&self.file).cloned().collect();
        Own { names, series: self.file.clone(), pattern: self.pattern.clone() }
    }

    fn of(access: &Access, log: &LogPath) -> Self {
        let name_of = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        let own = name_of(log.as_path());
        let file = real_path(access, log).map(|path| name_of(&path));
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
    LogFile::with_content(access.open(path).ok()?).ok()
}
