//! Standard input, or another stream, as a log: a file of bounded size in a directory of its own.
//!
//! When the file has half of the size it is rotated, as a log is: it gets another name, and a new file
//! has its name from one moment to the next. Of the old ones the latest stays.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::source::recorder::Recorder;
use crate::source::temporary::TemporaryDirectory;

/// The names in the directory.
const PRESENT: &str = "stdin";
const OLD: &str = "stdin.1";
const NEXT: &str = "next";
/// The most bytes that are read and written at once.
const PIECE_BYTES: usize = 256 * 1024;
/// How many more bytes a file may have that is not rotated within a line.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// The smallest size that makes sense.
pub const BYTES_MIN: u64 = 64 * 1024;

/// A stream that is written to a file. Dropping it removes the files.
#[derive(Debug)]
pub struct Spool {
    directory: TemporaryDirectory,
}

/// Writes a stream into a spool.
struct Writer {
    directory: PathBuf,
    recorder: Recorder,
    /// The size at which a file is rotated.
    file_bytes: u64,
    bytes: u64,
}

impl Spool {
    /// An empty spool in a new directory below `place`, which only this user can enter.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn create_in(place: &Path) -> io::Result<Self> {
        let directory = TemporaryDirectory::create_in(place)?;
        begin(directory.path(), PRESENT)?;
        Ok(Self { directory })
    }

    /// Removes the files now. What still comes goes nowhere.
    pub fn remove(&self) {
        self.directory.remove();
    }

    /// The file with the latest bytes.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.path().join(PRESENT)
    }

    /// Writes a stream to its end. All files together have `bytes_max` bytes at most, or little more
    /// where lines are long. `on_loss` is called once, when the disk takes no more. It blocks.
    ///
    /// # Errors
    /// When the stream cannot be read to its end.
    pub fn fill(
        &self,
        from: impl Read,
        bytes_max: u64,
        on_loss: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let file = OpenOptions::new().append(true).open(self.file())?;
        let writer = Writer {
            directory: self.directory.path().to_owned(),
            recorder: Recorder::new(file, on_loss),
            file_bytes: bytes_max.max(BYTES_MIN) / 2,
            bytes: 0,
        };
        writer.write(from)
    }
}

impl Writer {
    fn write(mut self, mut from: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(taken) => self.take(buffer.get(..taken).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.recorder.end(b"");
                    return Err(error);
                }
            }
        }
        self.recorder.end(b"");
        Ok(())
    }

    /// Appends a piece, and rotates the file at the end of a line if it is large enough.
    fn take(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let room = self.file_bytes.saturating_sub(self.bytes);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let now = match rest.get(room..) {
                // It has room for all of it.
                None => rest.len(),
                Some(after) => match memchr::memchr(b'\n', after) {
                    Some(newline) => room + newline + 1,
                    None => rest.len(),
                },
            };
            let (now, later) = rest.split_at(now);
            self.recorder.record(now);
            self.bytes += now.len() as u64;
            let is_within_line = now.last() != Some(&b'\n');
            let limit = self.file_bytes + if is_within_line { LINE_BYTES_MAX } else { 0 };
            // A disk that is full now may have room for the next file, once the old one is gone.
            if self.bytes >= limit && self.rotate().is_ok() {
                self.bytes = 0;
            }
            rest = later;
        }
    }

    /// Gives the file's name to a new one.
    fn rotate(&self) -> io::Result<()> {
        let path = |name| self.directory.join(name);
        if let Err(error) = std::fs::remove_file(path(OLD))
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        if std::fs::hard_link(path(PRESENT), path(OLD)).is_err() {
            // Not every file system has hard links. For a moment no file has the name then.
            std::fs::rename(path(PRESENT), path(OLD))?;
        }
        let file = begin(&self.directory, NEXT)?;
        std::fs::rename(path(NEXT), path(PRESENT))?;
        self.recorder.turn_to(file);
        Ok(())
    }
}

/// A new file that appends.
fn begin(directory: &Path, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).truncate(false).mode(0o600).open(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(spool: &Spool) -> Vec<(String, u64)> {
        let entries = std::fs::read_dir(spool.directory.path()).unwrap().map(Result::unwrap);
        let size = |entry: &std::fs::DirEntry| entry.metadata().unwrap().len();
        let mut all: Vec<_> =
            entries.map(|entry| (entry.file_name().into_string().unwrap(), size(&entry))).collect();
        all.sort();
        all
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test looks at the files")]
    fn the_last_bytes_stay_in_two_files_that_end_with_a_line() {
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(place.path()).unwrap();
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        spool.fill(text.as_bytes(), BYTES_MIN, |_| {}).unwrap();
        let sizes = sizes(&spool);
        let names: Vec<&str> = sizes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["stdin", "stdin.1"]);
        assert!(sizes.iter().map(|(_, size)| size).sum::<u64>() <= BYTES_MIN + 100, "{sizes:?}");
        let read = |name| std::fs::read_to_string(spool.directory.path().join(name)).unwrap();
        let kept = read(OLD) + &read(PRESENT);
        assert!(text.ends_with(&kept) && kept.len() > 30_000);
        assert!(read(OLD).starts_with("line ") && read(OLD).ends_with('\n'));
        let directory = spool.directory.path().to_owned();
        drop(spool);
        assert!(!directory.exists(), "nothing is left");
    }

    #[test]
    fn a_line_without_end_is_divided() {
        let place = tempfile::tempdir().unwrap();
        let spool = Spool::create_in(place.path()).unwrap();
        spool.fill(vec![b'x'; 5_000_000].as_slice(), BYTES_MIN, |_| {}).unwrap();
        let total = sizes(&spool).iter().map(|(_, size)| size).sum::<u64>();
        assert!(total < 2 * (LINE_BYTES_MAX + PIECE_BYTES as u64 + BYTES_MIN), "{total}");
    }
}
