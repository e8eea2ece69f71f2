//! Times in a log's file.

use std::io;

use crate::encoding::Newline;
use crate::log::file::LogFile;
use crate::log::position::Offset;
use crate::time::{Profile, Reading, TimedFile, Zone};

impl LogFile {
    /// The file up to `end` as one in which times are sought. A stamp without a zone is of `zone`.
    ///
    /// # Errors
    /// Those of `fstat` and `pread`.
    pub fn timed(
        &self,
        newline: Newline,
        end: Offset,
        zone: &Zone,
    ) -> io::Result<TimedFile<Reading<'_>>> {
        let written = self.status()?.modified;
        let read: Reading<'_> = Box::new(|from, len| self.read_at(Offset(from), len));
        TimedFile::open(read, newline.align(end.0), newline, written, zone)
    }

    /// The same for a file whose profile is known, without a look at its lines.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn timed_as(
        &self,
        profile: Profile,
        newline: Newline,
        end: Offset,
        zone: &Zone,
    ) -> io::Result<TimedFile<Reading<'_>>> {
        let written = self.status()?.modified;
        let read: Reading<'_> = Box::new(|from, len| self.read_at(Offset(from), len));
        Ok(TimedFile::known(read, newline.align(end.0), newline, written, zone, profile))
    }
}
