//! An open log: reads at offsets, and nothing that depends on a shared file position.
//!
//! A [`Fingerprint`] holds the last bytes that were read before an offset. Each read of new bytes takes the fingerprint's bytes
//! from the file in the same call and compares them, so that a file that was truncated and has grown past the offset
//! again is recognised: its size says nothing, its bytes do.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, Bytes};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::log::access::{Admitted, Identity};
use crate::log::failpoints::{Call, Failpoint};
use crate::log::metrics::Metrics;
use crate::log::position::{Offset, SIGNATURE_BYTES_MAX};
use crate::log::sparse::{self, HOLE_BYTES_MIN, RunEnd};

/// The most bytes that one chunk carries.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How many bytes before an offset are compared at each read.
pub const MARKER_BYTES: usize = 64;
/// The unit in which a file is searched backwards for line starts.
const SCAN_BLOCK_BYTES: usize = 64 * 1024;
/// So far back are line starts searched for: a log with longer lines begins in the middle of one.
const SCAN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How far back the start of a row is searched for.
const ROW_SCAN_BYTES: u64 = 64 * 1024;

/// A log's file, held open.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    identity: Identity,
    point: Failpoint,
    metrics: Arc<Metrics>,
}

/// What a file is now.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// What NULs at the end are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nuls {
    /// They were published before.
    Written,
    /// They may have been allocated for what is still to be written, as they have been up to `to`. The search for their
    /// end goes on at `searched`.
    Allocated {
        /// The size of the file when they were met.
        to: Offset,
        /// NULs are known to go as far.
        searched: Offset,
    },
}

/// What a read after a fingerprint found.
#[derive(Debug)]
pub enum Read {
    /// The bytes after the fingerprint; empty where there are none yet.
    Bytes(Bytes),
    /// A long run of NULs up to here, with data behind it.
    Hole(Offset),
    /// NULs as far as they have been searched.
    Searching(Offset),
    /// The bytes before the offset are not those that were read there: the file was truncated or written over.
    Changed,
}

impl LogFile {
    /// Takes over a file that has been opened.
    #[must_use]
    pub fn new(admitted: Admitted) -> Self {
        let (identity, point) = (admitted.identity(), admitted.point());
        let metrics = admitted.metrics();
        Self { file: admitted.into_file(), identity, point, metrics }
    }

    /// Device and inode, which nobody else gets while this is open.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Where the file lies now; none when it has been removed.
    #[must_use]
    pub fn path_now(&self) -> Option<PathBuf> {
        self.point.check(Call::Stat).ok()?;
        if self.file.metadata().ok()?.nlink() == 0 {
            return None;
        }
        self.point.check(Call::Link).ok()?;
        std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    /// Size and time of the last write.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn status(&self) -> io::Result<Status> {
        self.point.check(Call::Stat)?;
        let metadata = self.file.metadata()?;
        Ok(Status { size: self.point.size(metadata.len()), modified: metadata.modified()? })
    }

    /// When the file was made, where the file system remembers that.
    #[must_use]
    pub fn born(&self) -> Option<SystemTime> {
        self.point.check(Call::Stat).ok()?;
        self.file.metadata().ok()?.created().ok()
    }

    /// At most `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read_at(&self, offset: Offset, len: usize) -> io::Result<Vec<u8>> {
        self.point.check(Call::Read)?;
        let mut buffer = Vec::with_capacity(len);
        while buffer.len() < len {
            self.metrics.reads.add(1);
            let at = offset.plus(buffer.len()).0;
            match pread(&self.file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // There may have been room for more.
        buffer.truncate(len);
        Ok(buffer)
    }

    /// At most `len` bytes from the fingerprint's offset and before `end`, if the bytes before it are still the fingerprint's.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read_after(
        &self,
        fingerprint: &Fingerprint,
        len: usize,
        end: Offset,
        nuls: Nuls,
    ) -> io::Result<Read> {
        let kept = fingerprint.bytes().len();
        let from = Offset(fingerprint.offset.0 - kept as u64);
        let len =
            len.min(usize::try_from(end.0.saturating_sub(fingerprint.offset.0)).unwrap_or(len));
        let mut bytes = Bytes::from(self.read_at(from, kept + len)?);
        if bytes.get(..kept) != Some(fingerprint.bytes()) {
            return Ok(Read::Changed);
        }
        bytes.advance(kept);
        let mut data = sparse::data_before(&bytes);
        let is_last = fingerprint.offset.plus(bytes.len()) >= end;
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
        let search_from =
            allocated.map_or(fingerprint.offset, |(_, from)| from.max(fingerprint.offset));
        Ok(match (self.run_end(search_from, end)?, allocated) {
            (RunEnd::Data(to), _) if to.0 - fingerprint.offset.0 > HOLE_BYTES_MIN as u64 => {
                Read::Hole(to)
            }
            // It was written since these bytes were read.
            (RunEnd::Data(to), Some(_)) if to < fingerprint.offset.plus(bytes.len()) => {
                Read::Searching(fingerprint.offset)
            }
            (RunEnd::Data(_), _) => Read::Bytes(bytes),
            (RunEnd::NotBefore(to), Some(_)) => Read::Searching(to),
            (RunEnd::File, Some(_)) => Read::Bytes(Bytes::new()),
            (RunEnd::NotBefore(to), None) => Read::Hole(to),
            (RunEnd::File, None) if end.0 - fingerprint.offset.0 > HOLE_BYTES_MIN as u64 => {
                Read::Hole(end)
            }
            (RunEnd::File, None) => Read::Bytes(bytes),
        })
    }

    pub(super) fn seek(&self, to: rustix::fs::SeekFrom) -> rustix::io::Result<u64> {
        self.point.check(Call::Seek)?;
        rustix::fs::seek(&self.file, to)
    }

    /// The first bytes, at most [`SIGNATURE_BYTES_MAX`].
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn head(&self) -> io::Result<Vec<u8>> {
        self.read_at(Offset(0), SIGNATURE_BYTES_MAX)
    }

    /// The same without the NULs at their end, which may be allocated for what is still to be written.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn written_head(&self) -> io::Result<Vec<u8>> {
        let mut head = self.head()?;
        head.truncate(head.len() - sparse::nuls_at_end(&head));
        Ok(head)
    }

    /// The fingerprint of `offset`, from the file's bytes before it.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn fingerprint(&self, offset: Offset) -> io::Result<Fingerprint> {
        let mut fingerprint = Fingerprint::at(Offset(offset.0.saturating_sub(MARKER_BYTES as u64)));
        let wanted = (offset.0 - fingerprint.offset.0) as usize;
        fingerprint.advance(&self.read_at(fingerprint.offset, wanted)?);
        fingerprint.offset = offset;
        Ok(fingerprint)
    }

    /// Where the last `lines` lines before `end` begin, found from the end in bounded reads.
    ///
    /// A last line without a newline metrics as one. Where they are not found within 64 MiB, the start lies there,
    /// in the middle of a line.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn last_lines(&self, lines: u64, end: Offset) -> io::Result<Offset> {
        if lines == 0 {
            return Ok(end);
        }
        // The newline that ends the last line begins none.
        let mut below = end.0.saturating_sub(1);
        let floor = end.0.saturating_sub(SCAN_BYTES_MAX);
        let mut found = 0;
        while below > floor {
            let from = below.saturating_sub(SCAN_BLOCK_BYTES as u64).max(floor);
            let block = self.read_at(Offset(from), (below - from) as usize)?;
            for newline in memchr::memrchr_iter(b'\n', &block) {
                found += 1;
                if found == lines {
                    return Ok(Offset(from + newline as u64 + 1));
                }
            }
            below = from;
        }
        Ok(Offset(floor))
    }

    /// Where the row that holds `offset` begins, looking at most 64 KiB back.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn row_start(&self, offset: Offset) -> io::Result<Offset> {
        // Most rows are short, and most starts are asked for where a row begins.
        for reach in [MARKER_BYTES as u64, ROW_SCAN_BYTES] {
            let floor = offset.0.saturating_sub(reach);
            let before = self.read_at(Offset(floor), (offset.0 - floor) as usize)?;
            match memchr::memrchr(b'\n', &before) {
                Some(newline) => return Ok(Offset(floor + newline as u64 + 1)),
                None if floor == 0 => return Ok(Offset(0)),
                None => {}
            }
        }
        Ok(Offset(offset.0.saturating_sub(ROW_SCAN_BYTES)))
    }
}

/// An offset with the bytes before it, at most [`MARKER_BYTES`].
#[derive(Clone, Debug)]
pub struct Fingerprint {
    offset: Offset,
    len: u8,
    bytes: [u8; MARKER_BYTES],
}

impl Fingerprint {
    /// A fingerprint that has seen nothing yet.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self { offset, len: 0, bytes: [0; MARKER_BYTES] }
    }

    /// The offset that it marks.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Moves on over the bytes that follow its offset.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.offset = self.offset.plus(bytes.len());
        let kept = usize::from(self.len);
        let (old, new) = if bytes.len() >= MARKER_BYTES {
            (0, MARKER_BYTES)
        } else {
            (kept.min(MARKER_BYTES - bytes.len()), bytes.len())
        };
        self.bytes.copy_within(kept - old..kept, 0);
        self.bytes[old..old + new].copy_from_slice(&bytes[bytes.len() - new..]);
        self.len = (old + new) as u8;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use proptest::prelude::*;

    fn of(file: File) -> LogFile {
        let identity = Identity { device: 0, inode: 0 };
        LogFile { file, identity, point: Failpoint::default(), metrics: Arc::default() }
    }

    fn log(bytes: &[u8]) -> LogFile {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        of(file)
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        for (bytes, lines, expected) in [
            (&b""[..], 10, 0),
            (b"a\nb\nc\n", 0, 6),
            (b"a\nb\nc\n", 1, 4),
            (b"a\nb\nc\n", 2, 2),
            (b"a\nb\nc\n", 3, 0),
            (b"a\nb\nc\n", 99, 0),
            (b"a\nb\nc", 1, 4),
            (b"\n\n\n", 2, 1),
            (b"a\r\nb\r\n", 1, 3),
            (b"no newline at all", 5, 0),
        ] {
            let end = Offset(bytes.len() as u64);
            assert_eq!(
                log(bytes).last_lines(lines, end).unwrap(),
                Offset(expected),
                "{lines} of {bytes:?}"
            );
        }
    }

    #[test]
    fn a_search_for_line_starts_is_bounded() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let log = of(file);
        let start = log.last_lines(1, Offset(1 << 40)).unwrap();
        assert_eq!(start, Offset((1 << 40) - SCAN_BYTES_MAX));
    }

    #[test]
    fn a_refill_past_the_offset_is_seen_by_the_marker() {
        let log = log(b"one\ntwo\n");
        let fingerprint = log.fingerprint(Offset(8)).unwrap();
        log.file.set_len(0).unwrap();
        log.file.write_all_at(b"another text that is longer\n", 0).unwrap();
        let read = || log.read_after(&fingerprint, 100, Offset(100), Nuls::Written).unwrap();
        assert!(matches!(read(), Read::Changed));
        log.file.set_len(3).unwrap();
        assert!(matches!(read(), Read::Changed), "a file that ends before the offset");
    }

    proptest! {
        #[test]
        fn a_marker_holds_the_bytes_before_its_offset(parts in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..150), 0..8)) {
            let mut fingerprint = Fingerprint::at(Offset(0));
            let mut all = Vec::new();
            for part in parts {
                fingerprint.advance(&part);
                all.extend_from_slice(&part);
                prop_assert_eq!(fingerprint.offset(), Offset(all.len() as u64));
                prop_assert_eq!(fingerprint.bytes(), &all[all.len().saturating_sub(MARKER_BYTES)..]);
            }
            let log = log(&all);
            let from_file = log.fingerprint(Offset(all.len() as u64)).unwrap();
            prop_assert_eq!(from_file.bytes(), fingerprint.bytes());
        }

        #[test]
        fn the_last_lines_are_those_of_a_simple_count(text in "[ab\n]{0,300}", lines in 0u64..20) {
            let bytes = text.as_bytes();
            let all: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
            let kept = all.len().saturating_sub(lines as usize);
            let expected: usize = all[..kept].iter().map(|line| line.len()).sum();
            prop_assert_eq!(log(bytes).last_lines(lines, Offset(bytes.len() as u64)).unwrap(), Offset(expected as u64));
        }
    }
}
