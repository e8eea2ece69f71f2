//! The files that keep the output of commands, and their usual place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Nobody else may read what a command prints, unless its user decides so.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The longest name of a command in the name of a file, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How many files of one command may have been begun in the same second.
const SAME_SECOND_MAX: u32 = 1000;

/// A file that takes the output of a command.
#[derive(Debug)]
pub struct RunFile {
    /// It appends.
    pub file: File,
    /// Its absolute path.
    pub path: PathBuf,
    /// Whether it did not exist before.
    pub is_new: bool,
}

impl RunFile {
    /// A new file in `directory`, which is made if it is missing: `NAME-TIME.log`, with the time in
    /// UTC. Only its user may read it.
    ///
    /// # Errors
    /// When the directory or the file cannot be made.
    pub fn create_in(directory: &Path, name: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let (name, time) = (file_name(name), utc(SystemTime::now()));
        for n in 1..=SAME_SECOND_MAX {
            let suffix = if n == 1 { String::new() } else { format!("-{n}") };
            let path = directory.join(format!("{name}-{time}{suffix}.log"));
            let mut options = OpenOptions::new();
            match options.append(true).create_new(true).mode(FILE_MODE).open(&path) {
                Ok(file) => return Ok(Self { file, path, is_new: true }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The file that somebody has named. What is in it goes, as with `tee`, unless `keeps`: then the
    /// output is appended on a line of its own.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn named(path: &Path, keeps: bool) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let mut options = OpenOptions::new();
        options.append(true).mode(FILE_MODE);
        let (mut file, is_new) = match options.clone().create_new(true).open(&path) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.create(true).open(&path)?, false)
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_file() && !is_new && metadata.len() > 0 {
            match keeps {
                true => file.write_all(b"\n")?,
                false => file.set_len(0)?,
            }
        }
        Ok(Self { file, path, is_new })
    }

    /// Removes it, if it was made for this run. The command was never started.
    pub fn withdraw(&self) {
        if self.is_new {
            // An empty file may stay: that it does is no second error.
            let _removed = std::fs::remove_file(&self.path);
        }
    }
}

/// A name in which every character is usual in the name of a file.
fn file_name(name: &str) -> String {
    let usual = |ch: char| if ch.is_ascii_alphanumeric() || "._+-".contains(ch) { ch } else { '_' };
    let name: String = name.chars().map(usual).take(NAME_BYTES_MAX).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "command".to_owned() } else { name.to_owned() }
}

/// Whether a file has a name such as [`RunFile::create_in`] gives: `NAME-TIME.log`, or
/// `NAME-TIME-N.log` for a later run in the same second.
pub(super) fn has_run_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".log") else { return false };
    let is_time = |text: &str| {
        let is_digit = |at: usize| at != 8 && at != 15;
        let bytes = text.as_bytes();
        bytes.len() == 16
            && bytes.iter().enumerate().all(|(at, byte)| !is_digit(at) || byte.is_ascii_digit())
            && bytes.get(8) == Some(&b'T')
            && bytes.get(15) == Some(&b'Z')
    };
    let ends_with_time = |stem: &str| {
        stem.rsplit_once('-').is_some_and(|(name, time)| !name.is_empty() && is_time(time))
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
    let numbered = stem.rsplit_once('-').filter(|(_, number)| is_number(number));
    ends_with_time(stem) || numbered.is_some_and(|(stem, _)| ends_with_time(stem))
}

/// A time such as `20261129T075150Z`.
fn utc(time: SystemTime) -> String {
    let time = Timestamp::try_from(time.max(UNIX_EPOCH)).unwrap_or(Timestamp::MAX);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_a_date_of_the_calendar() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_795_938_710, "20261129T075150Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn the_name_of_a_command_becomes_a_usual_name() {
        for (name, expected) in [
            ("make", "make"),
            ("./a b/c", "_a_b_c"),
            ("..", "command"),
            ("-rf", "rf"),
            ("günther*", "g_nther_"),
            ("g++", "g++"),
        ] {
            assert_eq!(file_name(name), expected, "{name}");
        }
        assert_eq!(file_name(&"x".repeat(1000)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_run_in_the_same_second_gets_a_file_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a/b");
        let files: Vec<_> = (0..5).map(|_| RunFile::create_in(&place, "x").unwrap()).collect();
        let mut paths: Vec<_> = files.iter().map(|file| &file.path).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 5);
        for path in paths {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(has_run_name(name), "{name}");
        }
    }

    #[test]
    fn other_names_are_not_those_of_runs() {
        for name in [
            "make.log",
            "-20261129T075150Z.log",
            "make-20261129T075150Z",
            "make-20261129T075150Z.log.gz",
            "make-20261129T07515Z.log",
            "make-2026112xT075150Z.log",
            "make-20261129T075150Z-.log",
            "make-20261129T075150Z-x.log",
            "make-20261129T075150Z-2-3.log",
            "make-20261129-075150Z.log",
        ] {
            assert!(!has_run_name(name), "{name}");
        }
    }
}
