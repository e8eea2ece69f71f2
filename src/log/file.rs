//! An open log: reads at offsets, and nothing that depends on a shared file position.
//!
//! Errors name the file and what could not be done with it. Their kind is that of the system call.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;
use rustix::fs::SeekFrom;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use crate::log::access::{self, Admitted, Identity};
use crate::log::archive::{Compression, Content, Notice, Unpacked};
use crate::log::failpoints::{Call, Failpoint};
use crate::log::fingerprint::Fingerprint;
use crate::log::metrics::Metrics;
use crate::log::mirrored::MirroredBytes;
use crate::log::position::{Offset, SIGNATURE_BYTES_MAX};
use crate::log::rotated::succession::Life;
use crate::log::sparse::{self, HOLE_BYTES_MIN, RunEnd};

/// The most bytes that one chunk carries.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// A log's file, held open.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    /// What is read instead of a compressed file.
    content: Option<Content>,
    /// What brings the bytes of a file that is on another machine. Its handle is that of what is here.
    mirrored: Option<Arc<dyn MirroredBytes>>,
    /// The path at which the file was opened, for messages.
    opened_path: PathBuf,
    identity: Identity,
    point: Failpoint,
    metrics: Arc<Metrics>,
}

/// The size and time of a file at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// The size in bytes.
    pub size: u64,
    /// When the file was last written.
    pub modified: SystemTime,
}

/// What NULs at the end of a file mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nuls {
    /// They were published before: they are data.
    Written,
    /// They may be space that was allocated before it is written.
    Allocated {
        /// The size of the file when they were found.
        to: Offset,
        /// All bytes up to here are known to be NUL. The search for their end continues here.
        searched: Offset,
    },
}

/// What a read after a fingerprint found.
#[derive(Debug)]
pub enum Read {
    /// The bytes after the fingerprint; empty where there are none yet.
    Bytes(Bytes),
    /// A long run of NULs, with data after it at this offset.
    Hole(Offset),
    /// The search has found nothing but NULs up to this offset, and is not over.
    Searching(Offset),
    /// The bytes before the offset have changed: the file was truncated or overwritten.
    Changed,
}

impl LogFile {
    /// Takes over a file that has been opened, to be read as it is.
    #[must_use]
    pub fn new(admitted: Admitted) -> Self {
        let (identity, point) = (admitted.identity(), admitted.point());
        let metrics = admitted.metrics();
        let opened_path = admitted.real_path().to_owned();
        let file = admitted.into_file();
        Self { file, content: None, mirrored: None, opened_path, identity, point, metrics }
    }

    /// A file of another machine, which has this identity there. Of it, `file` has what is here.
    #[must_use]
    pub fn mirrored(
        bytes: Arc<dyn MirroredBytes>,
        file: File,
        path: PathBuf,
        identity: Identity,
    ) -> Self {
        Self {
            file,
            content: None,
            mirrored: Some(bytes),
            opened_path: path,
            identity,
            point: Failpoint::default(),
            metrics: Arc::default(),
        }
    }

    /// Whether it is a file of another machine. What is read of it is of its generation alone.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored.is_some()
    }

    /// The device that a read may have to wait for.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.mirrored.as_ref().map_or(self.identity.device, |mirrored| mirrored.device())
    }

    /// Whether there are bytes at this offset that are in memory, like the first ones of the file, so that
    /// a read of them waits for no disk. False where the file system does not say that, as those of other
    /// machines and processes do not.
    pub(in crate::log) fn is_at_hand(&self, offset: Offset) -> bool {
        let is_in_memory = |offset: u64| {
            let (mut byte, flags) = ([0], ReadWriteFlags::NOWAIT);
            preadv2(&self.file, &mut [IoSliceMut::new(&mut byte)], offset, flags) == Ok(1)
        };
        let is_itself = self.content.is_none() && self.mirrored.is_none();
        is_itself && !self.point.hangs() && is_in_memory(0) && is_in_memory(offset.0)
    }

    /// The same, to be read as the content of the file if it is compressed. That may still be
    /// unpacked for a while, and then grows.
    ///
    /// # Errors
    /// When the content can't be unpacked at all now.
    pub fn with_content(admitted: Admitted) -> io::Result<Self> {
        let archives = admitted.archives();
        let file = Self::new(admitted);
        let unpacked = archives.unpack(&file.file);
        let unpacked = unpacked.map_err(|error| file.failed_to("unpack", &error))?;
        let content = unpacked.map(|(key, copy)| Content::new(archives, key, copy));
        Ok(Self { content, ..file })
    }

    /// What has to be said about a compressed file that was not unpacked to its end.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        self.content.as_ref()?.copy().notice()
    }

    /// How the file is compressed; None where it is read as it is.
    #[must_use]
    pub fn compression(&self) -> Option<Compression> {
        self.content.as_ref().map(|content| content.copy().compression())
    }

    /// Its content, if it is compressed and not unpacked to its end yet.
    pub(super) fn still_unpacking(&self) -> Option<Arc<Unpacked>> {
        self.content.as_ref().map(Content::copy).filter(|copy| !copy.has_ended())
    }

    /// Device and inode, which no other file gets while this one is open.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The present path of the file: the name by which it was opened, or to which that name was
    /// changed. None when that name has been removed, though the file may have others.
    #[must_use]
    pub fn path_now(&self) -> Option<PathBuf> {
        if self.is_mirrored() {
            return Some(self.opened_path.clone());
        }
        self.point.check(Call::Stat).ok()?;
        if self.file.metadata().ok()?.nlink() == 0 {
            return None;
        }
        self.point.check(Call::Link).ok()?;
        access::path_of(self.file.as_fd()).ok().flatten()
    }

    /// Size and time of the last write.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn status(&self) -> io::Result<Status> {
        if let Some(mirrored) = &self.mirrored {
            return Ok(mirrored.status());
        }
        let status = || {
            self.point.check(Call::Stat)?;
            let metadata = self.file.metadata()?;
            let size = match &self.content {
                Some(content) => content.refreshed(&self.file).size(),
                None => metadata.len(),
            };
            Ok(Status { size: self.point.size(size), modified: metadata.modified()? })
        };
        status().map_err(|error| self.failed_to("stat", &error))
    }

    /// When the file was created, where the file system says (`statx`, `stx_btime`).
    #[must_use]
    pub fn born(&self) -> Option<SystemTime> {
        if self.is_mirrored() {
            return None;
        }
        self.point.check(Call::Stat).ok()?;
        self.file.metadata().ok()?.created().ok()
    }

    /// When it was created, written and changed. None where the file system does not say.
    pub(super) fn life(&self) -> Option<Life> {
        if self.is_mirrored() {
            return None;
        }
        self.point.check(Call::Stat).ok()?;
        let metadata = self.file.metadata().ok()?;
        let since = Duration::new(
            u64::try_from(metadata.ctime()).ok()?,
            u32::try_from(metadata.ctime_nsec()).ok()?,
        );
        Some(Life {
            born: metadata.created().ok()?,
            written: metadata.modified().ok()?,
            changed: SystemTime::UNIX_EPOCH.checked_add(since)?,
        })
    }

    /// At most `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Those of `pread`. [`NotConnected`](io::ErrorKind::NotConnected) when the bytes are on another
    /// machine, which does not answer.
    pub fn read_at(&self, offset: Offset, len: usize) -> io::Result<Vec<u8>> {
        if let Some(mirrored) = &self.mirrored {
            let read = mirrored.read_at(offset.0, len);
            return read.map_err(|error| self.failed_to("read", &error));
        }
        let failed = |error: Errno| self.failed_to("read", &error.into());
        self.point.check(Call::Read).map_err(failed)?;
        let copy = self.content.as_ref().map(Content::copy);
        let file = copy.as_ref().map_or(&self.file, |copy| copy.file());
        let mut buffer = Vec::with_capacity(len);
        while buffer.len() < len {
            self.metrics.reads.add(1);
            let at = offset.plus(buffer.len()).0;
            match pread(file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        // The buffer may have had room for more.
        buffer.truncate(len);
        Ok(buffer)
    }

    /// At most `len` bytes from the fingerprint's offset and before `end`, if the bytes before that
    /// offset still match the fingerprint.
    ///
    /// # Errors
    /// Those of `pread` and `lseek`.
    pub fn read_after(
        &self,
        fingerprint: &Fingerprint,
        len: usize,
        end: Offset,
        nuls: Nuls,
    ) -> io::Result<Read> {
        let (offset, expected) = (fingerprint.offset(), fingerprint.bytes());
        let mut len = len.min(usize::try_from(end.0.saturating_sub(offset.0)).unwrap_or(len));
        if let Some(missing) = self.missing(offset, len)? {
            if missing.start <= offset {
                return Ok(Read::Hole(missing.end.min(end)));
            }
            len = (missing.start.0 - offset.0) as usize;
        }
        let mut bytes = Bytes::from(self.read_at(fingerprint.start(), expected.len() + len)?);
        if bytes.get(..expected.len()) != Some(expected) {
            return Ok(Read::Changed);
        }
        bytes.advance(expected.len());
        let mut data = sparse::data_before(&bytes);
        let is_last = offset.plus(bytes.len()) >= end;
        let allocated = match nuls {
            Nuls::Written => None,
            Nuls::Allocated { to, searched } => Some((to, searched)),
        };
        if data == bytes.len() && is_last && allocated.is_some_and(|(to, _)| end <= to) {
            data -= sparse::nuls_at_end(&bytes);
        }
        if data > 0 || bytes.is_empty() {
            return Ok(Read::Bytes(bytes.slice(..data)));
        }
        let search_from = allocated.map_or(offset, |(_, searched)| searched.max(offset));
        let is_hole = |to: Offset| to.0 - offset.0 > HOLE_BYTES_MIN as u64;
        Ok(match (self.run_end(search_from, end)?, allocated) {
            (RunEnd::Data(to), _) if is_hole(to) => Read::Hole(to),
            // A writer has written there since these bytes were read.
            (RunEnd::Data(to), Some(_)) if to < offset.plus(bytes.len()) => Read::Searching(offset),
            (RunEnd::Data(_), _) => Read::Bytes(bytes),
            (RunEnd::NotBefore(to), Some(_)) => Read::Searching(to),
            (RunEnd::File, Some(_)) => Read::Bytes(Bytes::new()),
            (RunEnd::NotBefore(to), None) => Read::Hole(to),
            (RunEnd::File, None) if is_hole(end) => Read::Hole(end),
            (RunEnd::File, None) => Read::Bytes(bytes),
        })
    }

    /// The first part of a range that nobody has, of a file of another machine.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at).
    pub fn missing(&self, offset: Offset, len: usize) -> io::Result<Option<Range<Offset>>> {
        let Some(mirrored) = &self.mirrored else { return Ok(None) };
        let missing = mirrored.provide(offset.0..offset.plus(len).0);
        let missing = missing.map_err(|error| self.failed_to("read", &error))?;
        Ok(missing.map(|missing| Offset(missing.start)..Offset(missing.end)))
    }

    /// Where the bytes begin that can be read without asking another machine, and reach up to an
    /// offset. The start of the file, if it is one of this machine.
    #[must_use]
    pub fn here_before(&self, offset: Offset) -> Offset {
        self.mirrored.as_ref().map_or(Offset(0), |mirrored| Offset(mirrored.here_before(offset.0)))
    }

    pub(super) fn seek(&self, to: SeekFrom) -> rustix::io::Result<u64> {
        self.point.check(Call::Seek)?;
        match &self.content {
            // The handle's position is shared, but nothing else uses it.
            Some(content) => rustix::fs::seek(content.copy().file(), to),
            None => rustix::fs::seek(&self.file, to),
        }
    }

    /// The first bytes, at most [`SIGNATURE_BYTES_MAX`]; empty for an empty file.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        self.read_at(Offset(0), SIGNATURE_BYTES_MAX)
    }

    /// The same without the NULs at its end, which may be space that was allocated before it is
    /// written.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn written_head(&self) -> io::Result<Vec<u8>> {
        let mut head = self.head()?;
        head.truncate(head.len() - sparse::nuls_at_end(&head));
        Ok(head)
    }

    /// The error of a system call, with the action that failed and the path of the file.
    pub(super) fn failed_to(&self, verb: &str, error: &io::Error) -> io::Error {
        let path = self.opened_path.display();
        io::Error::new(error.kind(), format!("cannot {verb} `{path}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::log::access::Access;

    impl LogFile {
        /// A file without a name.
        pub(in crate::log) fn with_bytes(bytes: &[u8]) -> Self {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            let identity = Identity { device: 0, inode: 0 };
            let (opened_path, point) = (PathBuf::new(), Failpoint::default());
            Self {
                file,
                content: None,
                mirrored: None,
                opened_path,
                identity,
                point,
                metrics: Arc::default(),
            }
        }

        pub(in crate::log) fn set_len(&self, len: u64) {
            self.file.set_len(len).unwrap();
        }
    }

    fn open(access: &Access, path: &std::path::Path) -> LogFile {
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        LogFile::new(access.open(&log).unwrap())
    }

    #[test]
    fn a_refill_past_the_offset_is_recognised_by_the_fingerprint() {
        let log = LogFile::with_bytes(b"one\ntwo\n");
        let fingerprint = log.fingerprint(Offset(8)).unwrap();
        log.set_len(0);
        log.file.write_all_at(b"another text that is longer\n", 0).unwrap();
        let read = || log.read_after(&fingerprint, 100, Offset(100), Nuls::Written).unwrap();
        assert!(matches!(read(), Read::Changed));
        log.set_len(3);
        assert!(matches!(read(), Read::Changed), "a file that ends before the offset");
    }

    #[test]
    fn bytes_are_at_hand_that_were_just_written_and_not_those_that_lie_on_the_disk() {
        const SIZE: u64 = 8 << 20;
        let log = LogFile::with_bytes(&vec![b'x'; SIZE as usize]);
        let magic = rustix::fs::fstatfs(&log.file).unwrap().f_type;
        // tmpfs and overlayfs don't say it.
        let says = !matches!(magic, 0x0102_1994 | 0x794c_7630);
        assert_eq!(log.is_at_hand(Offset(SIZE - 1)), says);
        assert!(!log.is_at_hand(Offset(SIZE)), "there is nothing new");
        log.file.sync_all().unwrap();
        let advice = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&log.file, 0, None, advice).unwrap();
        log.file.write_all_at(b"new", SIZE).unwrap();
        assert!(!log.is_at_hand(Offset(SIZE)), "the first bytes are not");
        log.read_at(Offset(0), 1).unwrap();
        assert_eq!(log.is_at_hand(Offset(SIZE)), says);
        assert!(!log.is_at_hand(Offset(SIZE / 2)), "nobody has read them");
    }

    #[test]
    fn the_path_of_a_file_follows_its_name_and_ends_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let access = Access::new([&top]).unwrap();
        for name in ["a.log", "a.log (deleted)"] {
            let (path, moved, other) = (top.join(name), top.join("moved"), top.join("other"));
            std::fs::write(&path, "text").unwrap();
            let file = open(&access, &path);
            assert_eq!(file.path_now(), Some(path.clone()));
            std::fs::rename(&path, &moved).unwrap();
            assert_eq!(file.path_now(), Some(moved.clone()));
            std::fs::hard_link(&moved, &other).unwrap();
            std::fs::remove_file(&moved).unwrap();
            assert_eq!(file.path_now(), None, "its second name is not the one it was opened by");
            std::fs::remove_file(&other).unwrap();
            assert_eq!(file.path_now(), None);
        }
    }

    #[test]
    fn an_error_names_the_file_and_what_could_not_be_done_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("a.log");
        std::fs::write(&path, "text").unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let mut file = open(&access, &path);
        // A directory can be opened, but not read at an offset.
        file.file = rustix::fs::open(".", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
            .unwrap()
            .into();
        let error = file.read_at(Offset(0), 10).unwrap_err();
        let expected =
            format!("cannot read `{}`: Bad file descriptor (os error 9)", path.display());
        assert_eq!(error.to_string(), expected);
    }
}
