//! The file with the list of ended sessions, which several servers may share.
//!
//! Each server appends a line for each session that it ends, and reads the lines of the others. Now
//! and then the list is written anew without what has expired. A server that finds another file
//! under the name reads it from its beginning: it holds all that the file before held.
//!
//! Whoever writes holds a lock, so that nothing is appended to a file that is just being replaced.
//! Readers need none: they read whole lines only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::serve::identity::ended::Ended;
use crate::serve::identity::sessions::seconds_now;
use crate::serve::identity::state::{self, MODE};

/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A list is written anew when it has so many lines more than twice those that are needed.
const SPARE_LINES: usize = 1000;
/// How long a server waits for another one that writes.
const LOCK_TIME_MAX: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The list of ended sessions in a state directory.
#[derive(Debug)]
pub(super) struct EndedFile {
    path: PathBuf,
    /// The file that was read last.
    file: Option<File>,
    /// How many bytes of it were read: all lines that were complete.
    read: u64,
    lines: usize,
}

impl EndedFile {
    pub(super) fn in_directory(directory: &Path) -> Self {
        Self { path: directory.join("ended-sessions"), file: None, read: 0, lines: 0 }
    }

    /// Adds the lines that came since the last call to `ended`. Returns whether there are any.
    ///
    /// # Errors
    /// When the file cannot be read, or a line makes no sense.
    pub(super) fn read_new(&mut self, ended: &Mutex<Ended>) -> io::Result<bool> {
        let named = match fs::metadata(&self.path) {
            Ok(named) => named,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.begin(None);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let id = |of: &fs::Metadata| (of.dev(), of.ino());
        let known = self.file.as_ref().map(File::metadata).transpose()?;
        let is_known = known.is_some_and(|known| id(&known) == id(&named));
        if is_known && named.len() == self.read {
            return Ok(false);
        }
        if !is_known || named.len() < self.read {
            let file = OpenOptions::new().read(true).append(true).open(&self.path)?;
            self.begin(Some(file));
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        let came = file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        if came as u64 == FILE_BYTES_MAX {
            return Err(damaged());
        }
        // The rest of the last line may still come.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        text.truncate(whole);
        self.read += whole as u64;
        self.lines += text.lines().count();
        ended.lock().add_lines(&text, seconds_now()).ok_or_else(damaged)?;
        Ok(whole > 0)
    }

    /// Begins to read a file, none of which was read.
    fn begin(&mut self, file: Option<File>) {
        (self.file, self.read, self.lines) = (file, 0, 0);
    }

    /// Adds a line about a session that is in `ended`, and takes the lines of others there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or another server does not end its own writing.
    pub(super) fn append(&mut self, line: &str, ended: &Mutex<Ended>) -> io::Result<()> {
        let _locked = lock(&self.path.with_extension("lock"))?;
        self.read_new(ended)?;
        let is_long = self.lines > SPARE_LINES + 2 * ended.lock().count();
        match &mut self.file {
            Some(file) if !is_long => {
                // A server that ended while it wrote has left a part of a line.
                if file.metadata()?.len() > self.read {
                    file.set_len(self.read)?;
                }
                file.write_all(line.as_bytes())?;
                file.sync_data()?;
                self.read += line.len() as u64;
                self.lines += 1;
                Ok(())
            }
            _ => {
                let text = ended.lock().text(seconds_now());
                state::replace(&self.path, text.as_bytes())?;
                // Nothing in the new file is new, but other servers append to it from now on.
                self.read_new(ended).map(drop)
            }
        }
    }
}

fn damaged() -> io::Error {
    let what = "the list of ended sessions is damaged; remove it with the key";
    io::Error::new(ErrorKind::InvalidData, what)
}

/// Locks a file, as long as it is open.
fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(MODE).open(path)?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_TIME_MAX => {
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::identity::ended;
    use crate::serve::identity::sessions::Session;

    fn session(at: u64, expiry: u64) -> Session {
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&at.to_le_bytes());
        Session { name: format!("user{}", at / 50), fingerprint: [0; 32], expiry, nonce }
    }

    /// The list in a directory, and what is known of it.
    fn list(directory: &Path) -> (EndedFile, Mutex<Ended>) {
        (EndedFile::in_directory(directory), Mutex::default())
    }

    fn lines_in(path: &Path) -> usize {
        #[expect(clippy::disallowed_methods, reason = "it is no log")]
        let text = fs::read_to_string(path).unwrap();
        text.lines().count()
    }

    fn end(file: &mut EndedFile, ended: &Mutex<Ended>, session: &Session) {
        ended.lock().add(session, seconds_now());
        file.append(&ended::line(session), ended).unwrap();
    }

    #[test]
    fn an_end_is_appended_and_a_part_of_a_line_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (mut file, known) = list(directory.path());
        let later = seconds_now() + 1_000;
        let sessions = [0, 1, 2].map(|at| session(at, later));
        end(&mut file, &known, &sessions[0]);
        let inode = |file: &EndedFile| fs::metadata(&file.path).unwrap().ino();
        let first = inode(&file);
        let mode = fs::metadata(&file.path).unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
        // Another server is killed while it writes.
        let half = ended::line(&sessions[2]);
        let mut other = OpenOptions::new().append(true).open(&file.path).unwrap();
        other.write_all(&half.as_bytes()[..half.len() - 5]).unwrap();
        assert!(!file.read_new(&known).unwrap());
        end(&mut file, &known, &sessions[1]);
        assert_eq!(inode(&file), first, "it is written no second time");
        let (mut again, of_again) = list(directory.path());
        assert!(again.read_new(&of_again).unwrap());
        let mut of_again = of_again.into_inner();
        assert!(of_again.contains(&sessions[0]) && of_again.contains(&sessions[1]));
        assert_eq!(of_again.text(seconds_now()).lines().count(), 2);
    }

    #[test]
    fn a_list_stays_short_and_others_notice_that_it_was_written_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (mut file, known) = list(directory.path());
        let (mut other, of_other) = list(directory.path());
        let now = seconds_now();
        let staying = session(0, now + 1_000);
        end(&mut file, &known, &staying);
        // All of these have expired when the list is written anew.
        let expired: String = (50..3_000).map(|at| ended::line(&session(at, now))).collect();
        let mut appended = OpenOptions::new().append(true).open(&file.path).unwrap();
        appended.write_all(expired.as_bytes()).unwrap();
        assert!(other.read_new(&of_other).unwrap());
        assert!(other.lines > 2_900);
        let last = session(1, now + 1_000);
        end(&mut file, &known, &last);
        assert_eq!(lines_in(&file.path), 2);
        assert!(other.read_new(&of_other).unwrap());
        let of_other = of_other.into_inner();
        assert!(of_other.contains(&staying) && of_other.contains(&last));
        assert_eq!((other.lines, file.lines), (2, 2));
    }

    #[test]
    fn a_list_that_somebody_has_removed_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (mut file, known) = list(directory.path());
        let later = seconds_now() + 1_000;
        end(&mut file, &known, &session(0, later));
        let (mut other, of_other) = list(directory.path());
        assert!(other.read_new(&of_other).unwrap());
        fs::remove_file(&file.path).unwrap();
        assert!(!file.read_new(&known).unwrap());
        end(&mut file, &known, &session(1, later));
        assert_eq!(lines_in(&file.path), 2);
        assert!(other.read_new(&of_other).unwrap(), "it is another file, and no shorter");
        assert!(of_other.lock().contains(&session(1, later)));
    }

    #[test]
    fn a_list_that_makes_no_sense_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let (mut file, known) = list(directory.path());
        fs::write(&file.path, "ann 1\n").unwrap();
        assert_eq!(file.read_new(&known).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
