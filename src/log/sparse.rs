//! Long runs of NULs: space that was allocated and is not written yet, or that a truncation left
//! under a writer that does not append.
//!
//! A run of more than [`HOLE_BYTES_MIN`] with data after it is left out. A run at the end of the
//! file is not sent until data follows: the writer of a preallocated file will overwrite it, and
//! NULs that were already sent would be wrong. A few NULs at the end are data.

use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::log::file::LogFile;
use crate::log::position::Offset;

/// A longer run of NULs is left out, in bytes.
pub const HOLE_BYTES_MIN: usize = 64 * 1024;
/// A shorter run of NULs at the end of a file is data, in bytes.
pub const ALLOCATED_BYTES_MIN: usize = 4096;
/// The unit, in bytes, in which the end of a run is searched for.
const BLOCK_BYTES: usize = 64 * 1024;
/// How much of a run is searched in one call, in bytes.
const SEARCH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Where a run of NULs ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
    /// At this offset, where data begins.
    Data(Offset),
    /// At the end of the file.
    File,
    /// Not before this offset, at which the search has to continue.
    NotBefore(Offset),
}

/// How many of these bytes come before the first run of NULs that may be a hole. All of them when
/// there is none.
pub(super) fn data_before(bytes: &[u8]) -> usize {
    // A run that is long enough covers one of these probes.
    for probe in (0..bytes.len()).step_by(HOLE_BYTES_MIN) {
        let start = probe - nuls_at_end(&bytes[..probe]);
        let len = nuls_at_start(&bytes[start..]);
        if bytes[probe] == 0 && len > HOLE_BYTES_MIN {
            return start;
        }
    }
    let last = nuls_at_end(bytes);
    if last >= ALLOCATED_BYTES_MIN { bytes.len() - last } else { bytes.len() }
}

pub(super) fn nuls_at_end(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|&&byte| byte == 0).count()
}

fn nuls_at_start(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&byte| byte == 0).count()
}

impl LogFile {
    /// Where the run of NULs around `from` ends. The search goes no further than `end`.
    ///
    /// # Errors
    /// Those of `lseek` and `pread`.
    pub(super) fn run_end(&self, from: Offset, end: Offset) -> io::Result<RunEnd> {
        let mut at = from;
        while at < end {
            if at.0 - from.0 >= SEARCH_BYTES_MAX {
                return Ok(RunEnd::NotBefore(at));
            }
            let len = BLOCK_BYTES.min((end.0 - at.0) as usize);
            let block = self.read_at(at, len)?;
            let run = nuls_at_start(&block);
            if run < block.len() {
                return Ok(RunEnd::Data(at.plus(run)));
            }
            if block.len() < len {
                break;
            }
            at = match self.next_data(at.plus(len))? {
                Some(data) => data,
                None => break,
            };
        }
        Ok(RunEnd::File)
    }

    /// The next offset at or after `from` where the file system has data (`SEEK_DATA`, lseek(2)).
    /// None when there is none.
    fn next_data(&self, from: Offset) -> io::Result<Option<Offset>> {
        if self.is_mirrored() {
            // What is not here may be data.
            return Ok(Some(from));
        }
        match self.seek(SeekFrom::Data(from.0)) {
            Ok(data) => Ok(Some(Offset(data))),
            Err(Errno::NXIO) => Ok(None),
            // Not every file system supports it.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some(from)),
            Err(error) => Err(self.failed_to("find the data of", &error.into())),
        }
    }

    /// The end of the written data in a file of this size: the start of preallocated NULs at its
    /// end, if there are any. A binary search finds it in few reads. Data after a hole may be
    /// missed.
    ///
    /// # Errors
    /// Those of `pread`.
    pub(super) fn written_end(&self, size: u64) -> io::Result<Offset> {
        let nuls = |from: u64, to: u64| -> io::Result<bool> {
            let block = self.read_at(Offset(from), (to - from) as usize)?;
            Ok(nuls_at_start(&block) == block.len())
        };
        let Some(last) = size.checked_sub(ALLOCATED_BYTES_MIN as u64) else {
            return Ok(Offset(size));
        };
        if !nuls(last, size)? {
            return Ok(Offset(size));
        }
        // Blocks from `empty` on are assumed to be empty. The block before `some` has data.
        let block = BLOCK_BYTES as u64;
        let (mut some, mut empty) = (0, size.div_ceil(block));
        while some < empty {
            let middle = some + (empty - some) / 2;
            if nuls(middle * block, ((middle + 1) * block).min(size))? {
                empty = middle;
            } else {
                some = middle + 1;
            }
        }
        let Some(start) = some.checked_sub(1).map(|at| Offset(at * block)) else {
            return Ok(Offset(0));
        };
        let bytes = self.read_at(start, BLOCK_BYTES.min((size - start.0) as usize))?;
        Ok(start.plus(bytes.len() - nuls_at_end(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_before_a_long_run_and_a_few_nuls_are_data() {
        let text = |nuls: usize, after: &[u8]| [b"text", &vec![0; nuls][..], after].concat();
        for (what, bytes, taken) in [
            ("nothing", Vec::new(), 0),
            ("no NUL", b"text".to_vec(), 4),
            ("one at the end", text(1, b""), 5),
            ("almost a page at the end", text(4095, b""), 4099),
            ("a page at the end", text(4096, b""), 4),
            ("a page between", text(4096, b"x"), 4101),
            ("64 KiB between", text(64 * 1024, b"x"), 5 + 64 * 1024),
            ("more between", text(64 * 1024 + 1, b"x"), 4),
            ("two runs", [text(1000, b"x"), text(70_000, b"x")].concat(), 1009),
        ] {
            assert_eq!(data_before(&bytes), taken, "{what}");
        }
    }
}
