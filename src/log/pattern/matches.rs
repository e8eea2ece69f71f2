//! The files that match a pattern.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, StatxFlags};

use crate::log::access::{Access, Identity, LogPath, Refusal};
use crate::log::pattern::{Pattern, Rank};
use crate::log::rotated::is_compressed;

/// How many names of a directory are read.
const NAMES_MAX: usize = 100_000;

/// A file that matches. Only an open proves that it may be read.
#[derive(Debug)]
pub(in crate::log) struct Match {
    /// Its own name.
    pub(in crate::log) log: LogPath,
    /// Its place in the order of the matches.
    pub(in crate::log) rank: Rank,
    /// The file to which the name leads.
    pub(in crate::log) identity: Identity,
}

/// The files that match a pattern in the directory of `log`, the oldest first. Compressed files
/// are left out, unless their ending is part of the pattern. The call may block.
///
/// # Errors
/// When the directory may not be read, or is missing.
pub(in crate::log) fn matches(
    access: &Access,
    log: &LogPath,
    pattern: &Pattern,
) -> Result<Vec<Match>, Refusal> {
    let parent = log.as_path().parent().unwrap_or(Path::new("/"));
    let directory = access.open_directory(parent)?;
    let is_wanted = |name: &[u8]| {
        pattern.matches(name)
            && (!is_compressed(name) || is_compressed(log.as_path().as_os_str().as_bytes()))
    };
    let (mut found, text) = (Vec::new(), pattern.text());
    let mut entries = Dir::read_from(&directory)?;
    for _ in 0..NAMES_MAX {
        let Some(entry) = entries.read() else { break };
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !is_wanted(name.as_bytes()) {
            continue;
        }
        if let Some((identity, born)) = regular_file(&directory, name)
            && let Some(log) = access.locate_in(parent, name)
        {
            let rank = Rank::new(name, text == name.as_bytes(), born);
            found.push(Match { log, rank, identity });
        }
    }
    found.sort_unstable_by(|one, other| one.rank.cmp(&other.rank));
    Ok(found)
}

/// The identity of the regular file to which a name leads, and when that was created. None for
/// anything else. Nothing is opened.
fn regular_file(directory: &OwnedFd, name: &OsStr) -> Option<(Identity, Option<SystemTime>)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let Ok(status) = rustix::fs::statx(directory, name, AtFlags::empty(), wanted) else {
        // A kernel or a filter without statx(2) does not tell when a file was created.
        let status = rustix::fs::statat(directory.as_fd(), name, AtFlags::empty()).ok()?;
        let is_regular = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
        return is_regular.then(|| (Identity::of(&status), None));
    };
    if FileType::from_raw_mode(status.stx_mode.into()) != FileType::RegularFile {
        return None;
    }
    let device = rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor);
    let is_known = StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::BTIME);
    let born = is_known.then(|| {
        let seconds = u64::try_from(status.stx_btime.tv_sec).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::new(seconds, status.stx_btime.tv_nsec)
    });
    Some((Identity { device, inode: status.stx_ino }, born))
}

/// The first of the matches for which `open` succeeds, with what it gave. A match that may not be
/// read is skipped.
///
/// # Errors
/// [`Refusal::NotFound`] when there is none; [`Refusal::Unreadable`] if one of them could not be
/// read.
pub(in crate::log) fn first_admitted<'a, T>(
    matches: impl IntoIterator<Item = &'a Match>,
    open: impl Fn(&LogPath) -> Result<T, Refusal>,
) -> Result<(&'a Match, T), Refusal> {
    let mut refusal = Refusal::NotFound;
    for found in matches {
        match open(&found.log) {
            Ok(opened) => return Ok((found, opened)),
            Err(Refusal::Exhausted) => return Err(Refusal::Exhausted),
            Err(Refusal::Unreadable | Refusal::Unreachable) => refusal = Refusal::Unreadable,
            Err(Refusal::Forbidden | Refusal::NotFound | Refusal::Untailable) => {}
        }
    }
    Err(refusal)
}
