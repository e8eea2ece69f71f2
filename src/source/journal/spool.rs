//! The files that the entries of the journal are copied into: one with all of them, and one for each
//! unit.
//!
//! What was copied is noted from time to time: where the journal goes on, and how long each file was
//! then. A server that died in between copies the entries since the note once more. It compares them
//! with what is already in the files and appends only what is missing, so that each entry is there
//! once and the files only ever grow.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The file with all entries, and the directory with those of the units.
pub(super) const ALL: &str = "all";
pub(super) const UNITS: &str = "units";
/// Where the journal goes on in the first line, and below it `LENGTH FILE`.
const NOTE: &str = "position";
/// Journals are not for everybody.
const FILE_MODE: u32 = 0o600;

/// The copies of a journal.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    /// A file that becomes longer is renamed, and a new one is begun.
    length_max: u64,
    cursor: Option<String>,
    /// How much of each file was compared or written, by its name below the directory. Files that are
    /// not known yet have 0.
    lengths: BTreeMap<String, u64>,
    /// What is not yet in the files.
    pending: BTreeMap<String, Vec<u8>>,
    /// Locked, so that no other process writes here.
    _lock: File,
}

impl Spool {
    /// Opens the copies in a directory, which is made if it does not exist.
    ///
    /// # Errors
    /// When the directory or its note can't be used. `WouldBlock` if another process uses it.
    pub(super) fn open(directory: &Path, length_max: u64) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(builder.recursive(true), 0o700);
        builder.create(directory.join(UNITS))?;
        let mut options = File::options();
        let lock = options.write(true).create(true).mode(FILE_MODE).open(directory.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        // A log exists from the start.
        let all = directory.join(ALL);
        File::options().append(true).create(true).mode(FILE_MODE).open(all)?;
        let mut spool = Self {
            _lock: lock,
            directory: directory.to_owned(),
            length_max,
            cursor: None,
            lengths: BTreeMap::new(),
            pending: BTreeMap::new(),
        };
        #[expect(clippy::disallowed_methods, reason = "it is no log")]
        let note = fs::read_to_string(directory.join(NOTE));
        match note {
            Ok(note) => spool.take(&note),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(spool)
    }

    /// A note that is damaged is none: the journal is copied from where a new one begins.
    fn take(&mut self, note: &str) {
        let mut lines = note.lines();
        let (Some(cursor), Some(lengths)) = (
            lines.next().filter(|cursor| !cursor.is_empty()),
            lines
                .map(|line| {
                    let (length, name) = line.split_once(' ')?;
                    Some((name.to_owned(), length.parse().ok()?))
                })
                .collect::<Option<_>>(),
        ) else {
            return;
        };
        (self.cursor, self.lengths) = (Some(cursor.to_owned()), lengths);
    }

    /// Where the journal goes on; None for a new copy.
    pub(super) fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Takes the lines of an entry that belongs to these units.
    pub(super) fn add(&mut self, lines: &[u8], units: &[&str], cursor: &str) {
        self.pending.entry(ALL.to_owned()).or_default().extend_from_slice(lines);
        for unit in units {
            let name = format!("{UNITS}/{unit}");
            self.pending.entry(name).or_default().extend_from_slice(lines);
        }
        self.cursor = Some(cursor.to_owned());
    }

    /// Writes what was taken. On an error, what was not written stays to be written.
    ///
    /// # Errors
    /// Of the first file that takes no more.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(mut entry) = self.pending.first_entry() {
            let written = self.lengths.entry(entry.key().clone()).or_default();
            append(&self.directory.join(entry.key()), written, entry.get_mut())?;
            entry.remove();
        }
        let is_long = |length: &u64| *length >= self.length_max;
        let long = self.lengths.iter_mut().filter(|(_, length)| is_long(length));
        let mut was_renamed = false;
        for (name, length) in long {
            let path = self.directory.join(name);
            let mut old = path.clone().into_os_string();
            old.push(".1");
            fs::rename(&path, old)?;
            *length = 0;
            was_renamed = true;
        }
        // The noted lengths would else be those of files that have other names.
        if was_renamed { self.note() } else { Ok(()) }
    }

    /// Notes how far the copies are, unless something is still to be written.
    ///
    /// # Errors
    /// When the note can't be written. The one before stays then.
    pub(super) fn note(&self) -> io::Result<()> {
        // The position of entries that are not written yet must not be noted: they would be lost.
        let Some(cursor) = self.cursor.as_ref().filter(|_| self.pending.is_empty()) else {
            return Ok(());
        };
        let mut note = format!("{cursor}\n");
        for (name, length) in &self.lengths {
            note += &format!("{length} {name}\n");
        }
        let new = self.directory.join(format!("{NOTE}.new"));
        let mut options = File::options();
        let mut file =
            options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        file.write_all(note.as_bytes())?;
        fs::rename(new, self.directory.join(NOTE))
    }
}

/// Appends the bytes that are not yet in a file behind the first `written` ones, and removes from
/// `bytes` what is in the file then.
fn append(path: &Path, written: &mut u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut options = File::options();
    let file = options.read(true).append(true).create(true).mode(FILE_MODE).open(path)?;
    let length = file.metadata()?.len();
    if *written < length {
        let known = usize::try_from(length - *written).map_or(bytes.len(), |n| n.min(bytes.len()));
        let mut there = vec![0; known];
        file.read_exact_at(&mut there, *written)?;
        if there == bytes[..known] {
            bytes.drain(..known);
            *written += known as u64;
        } else {
            // The journal has lost these entries, or has others now.
            *written = length;
        }
    } else {
        // Somebody has shortened the file.
        *written = length;
    }
    while !bytes.is_empty() {
        let taken = match (&file).write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes.drain(..taken);
        *written += taken as u64;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests look at the files")]
mod tests {
    use super::*;

    fn open(directory: &Path) -> Spool {
        Spool::open(directory, 1000).unwrap()
    }

    #[test]
    fn each_entry_is_there_once_wherever_the_server_died() {
        let entries: Vec<String> = (0..20).map(|n| format!("entry {n}\n  and more\n")).collect();
        let all = entries.concat();
        let of_unit: String = entries.iter().step_by(2).map(String::as_str).collect();
        for noted in [0, 1, 7, 20] {
            for torn in [0, 1, 12] {
                let directory = tempfile::tempdir().unwrap();
                let at = directory.path();
                let write = |spool: &mut Spool, range: std::ops::Range<usize>| {
                    for n in range {
                        let units: &[&str] = if n % 2 == 0 { &["a.service"] } else { &[] };
                        spool.add(entries[n].as_bytes(), units, &n.to_string());
                        spool.flush().unwrap();
                        if n + 1 == noted {
                            spool.note().unwrap();
                        }
                    }
                };
                let mut spool = open(at);
                assert_eq!(spool.cursor(), None);
                write(&mut spool, 0..15.max(noted));
                drop(spool);
                // The last write was cut off.
                let file = File::options().write(true).open(at.join(ALL)).unwrap();
                let length = file.metadata().unwrap().len();
                if noted < 15 {
                    file.set_len(length - torn).unwrap();
                }
                let mut spool = open(at);
                let from = spool.cursor().map_or(0, |cursor| cursor.parse::<usize>().unwrap() + 1);
                assert_eq!(from, noted);
                write(&mut spool, from..20);
                assert_eq!(fs::read_to_string(at.join(ALL)).unwrap(), all, "{noted} {torn}");
                let unit = at.join(UNITS).join("a.service");
                assert_eq!(fs::read_to_string(unit).unwrap(), of_unit, "{noted} {torn}");
            }
        }
    }

    #[test]
    fn what_the_journal_has_lost_stays_in_the_copy() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(directory.path());
        spool.add(b"one\n", &[], "1");
        spool.flush().unwrap();
        spool.note().unwrap();
        spool.add(b"two\n", &[], "2");
        spool.flush().unwrap();
        drop(spool);
        let mut spool = open(directory.path());
        spool.add(b"three\n", &[], "3");
        spool.flush().unwrap();
        let all = fs::read_to_string(directory.path().join(ALL)).unwrap();
        assert_eq!(all, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_long_file_is_renamed_and_one_before_it_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path(), 10).unwrap();
        for n in 0..5 {
            spool.add(format!("entry {n}\n").as_bytes(), &[], &n.to_string());
            spool.flush().unwrap();
            // It dies and comes back.
            spool.note().unwrap();
            drop(spool);
            spool = Spool::open(directory.path(), 10).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(read("all.1"), "entry 2\nentry 3\n");
        assert_eq!(read("all"), "entry 4\n");
    }

    #[test]
    fn what_could_not_be_written_is_copied_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = open(directory.path());
        spool.add(b"one\n", &[], "1");
        spool.flush().unwrap();
        spool.note().unwrap();
        // The file of a unit is none.
        fs::create_dir(directory.path().join(UNITS).join("a.service")).unwrap();
        spool.add(b"two\n", &["a.service"], "2");
        spool.flush().unwrap_err();
        spool.note().unwrap();
        drop(spool);
        assert_eq!(open(directory.path()).cursor(), Some("1"));
    }

    #[test]
    fn two_processes_never_write_to_the_same_copies() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path());
        let error = Spool::open(directory.path(), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        open(directory.path());
    }

    #[test]
    fn a_damaged_note_is_none() {
        let directory = tempfile::tempdir().unwrap();
        for note in ["", "\n", "s=1\nmany all\n", "s=1\n7\n"] {
            fs::create_dir_all(directory.path().join(UNITS)).unwrap();
            fs::write(directory.path().join(NOTE), note).unwrap();
            assert_eq!(open(directory.path()).cursor(), None, "{note:?}");
        }
    }
}
