//! The journal of systemd, copied into files by `journalctl`.
//!
//! One process reads all of the journal and follows it. Its entries go into one file, and those of a
//! unit into the unit's, too, so that everything else reads them as it reads all files. What the
//! journal has while this program does not run is copied when it runs again.

mod entry;
mod export;
mod spool;

use std::fmt::{self, Display, Formatter};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use entry::Entry;
use export::{ExportReader, Exported};
use spool::Spool;

/// So many entries are copied of what was there before the first start.
const FIRST_ENTRIES: u32 = 100_000;
/// So many processes can have copies in one place.
const COPIES_MAX: u32 = 8;
/// How often it is noted how far the copies are.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// How long it waits before `journalctl` is started again, or a full disk is tried again.
const RETRY_TIME_MIN: Duration = Duration::from_millis(500);
const RETRY_TIME_MAX: Duration = Duration::from_secs(30);

/// Why the journal can't be served.
#[derive(Debug)]
pub enum JournalError {
    /// There is no `journalctl`, or it can't be run.
    NoProgram(io::Error),
    /// It says this.
    Refused(String),
    /// The directory of the copies can't be used.
    Directory(PathBuf, io::Error),
}

impl Display for JournalError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(_) => f.write_str("there is no journal here: cannot run `journalctl`"),
            Self::Refused(said) => write!(f, "cannot read the journal: {said}"),
            Self::Directory(path, _) => {
                write!(f, "cannot keep copies of the journal in `{}`", path.display())
            }
        }
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoProgram(error) | Self::Directory(_, error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

/// The copies of the journal, which grow until this is dropped.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    shared: Arc<Shared>,
    copying: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ending: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_ending: bool,
    child: Option<Child>,
}

impl Journal {
    /// The file with all entries.
    #[must_use]
    pub fn all(&self) -> PathBuf {
        self.directory.join(spool::ALL)
    }

    /// The directory with a file for each unit.
    #[must_use]
    pub fn units(&self) -> PathBuf {
        self.directory.join(spool::UNITS)
    }

    /// Begins to copy the journal into a directory, where each file is renamed when it is longer than
    /// `length_max` bytes. If another process does so there, into a directory beside it. It blocks
    /// until `journalctl` has said whether it can read the journal.
    ///
    /// # Errors
    /// When there is no journal, or it can't be read or copied.
    pub fn start(directory: &Path, length_max: u64) -> Result<Self, JournalError> {
        can_be_read()?;
        let cannot_keep = |error| JournalError::Directory(directory.to_owned(), error);
        let (spool, own) = open(directory, length_max).map_err(cannot_keep)?;
        let shared = Arc::<Shared>::default();
        let its = Arc::clone(&shared);
        let copying = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || Copying { spool, noted: Instant::now(), shared: its }.run())
            .map_err(cannot_keep)?;
        Ok(Self { directory: own, shared, copying: Some(copying) })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state.lock();
            state.is_ending = true;
            if let Some(child) = &mut state.child {
                // It may have ended by itself.
                let _killed = child.kill();
            }
        }
        self.shared.ending.notify_all();
        if let Some(copying) = self.copying.take() {
            // A panic was printed by its thread.
            let _panicked = copying.join();
        }
    }
}

/// Opens the first of the directories `NAME`, `NAME-2`, … that no other process uses. During an upgrade
/// the old server is there for a while.
fn open(directory: &Path, length_max: u64) -> io::Result<(Spool, PathBuf)> {
    let mut own = directory.to_owned();
    for number in 2.. {
        match Spool::open(&own, length_max) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && number <= COPIES_MAX => {
                let mut name = directory.as_os_str().to_owned();
                name.push(format!("-{number}"));
                own = PathBuf::from(name);
            }
            opened => return opened.map(|spool| (spool, own)),
        }
    }
    unreachable!("the last one is returned")
}

fn journalctl() -> Command {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=export"]).stdin(Stdio::null());
    command
}

/// Asks `journalctl` for nothing, so that it says what is in its way.
fn can_be_read() -> Result<(), JournalError> {
    let output = journalctl().arg("--lines=0").output().map_err(JournalError::NoProgram)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(JournalError::Refused(said.trim().lines().next().unwrap_or("it says nothing").to_owned()))
}

/// The thread that copies.
struct Copying {
    spool: Spool,
    noted: Instant,
    shared: Arc<Shared>,
}

impl Copying {
    fn run(mut self) {
        let mut retry_time = RETRY_TIME_MIN;
        loop {
            let begun = Instant::now();
            let ended = self.copy();
            if self.is_ending() {
                break;
            }
            if begun.elapsed() > RETRY_TIME_MAX {
                retry_time = RETRY_TIME_MIN;
            }
            let error = ended.err().map(tracing::field::display);
            tracing::warn!(error, again_in = ?retry_time, "`journalctl` has ended");
            self.rest(retry_time);
            retry_time = (retry_time * 2).min(RETRY_TIME_MAX);
        }
        self.note();
    }

    fn is_ending(&self) -> bool {
        self.shared.state.lock().is_ending
    }

    /// Waits, but not for the end of the program.
    fn rest(&self, time: Duration) {
        let mut state = self.shared.state.lock();
        if !state.is_ending {
            self.shared.ending.wait_for(&mut state, time);
        }
    }

    /// Copies until `journalctl` ends.
    fn copy(&mut self) -> io::Result<()> {
        let mut command = journalctl();
        command.args(["--follow", "--all", "--output-fields"]).arg(entry::FIELDS);
        match self.spool.cursor() {
            Some(cursor) => command.arg("--no-tail").arg(format!("--after-cursor={cursor}")),
            None => command.arg(format!("--lines={FIRST_ENTRIES}")),
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take();
        {
            let mut state = self.shared.state.lock();
            if state.is_ending {
                let _killed = child.kill();
            }
            state.child = Some(child);
        }
        let copied = stdout.map_or(Ok(()), |stdout| self.copy_from(stdout));
        let child = self.shared.state.lock().child.take();
        if let Some(mut child) = child {
            let _killed = child.kill();
            child.wait()?;
        }
        copied
    }

    fn copy_from(&mut self, mut stdout: impl Read) -> io::Result<()> {
        let (mut reader, mut entry) = (ExportReader::default(), Entry::default());
        let (mut piece, mut lines) = (vec![0; 64 * 1024], Vec::new());
        loop {
            let length = match stdout.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let spool = &mut self.spool;
            let read = reader.read(&piece[..length], |exported| match exported {
                Exported::Field { name, value, is_cut } => entry.add(name, value, is_cut),
                Exported::End => {
                    let entry = std::mem::take(&mut entry);
                    lines.clear();
                    entry.append_lines(&mut lines);
                    spool.add(&lines, &entry.units(), entry.cursor());
                }
            });
            self.write();
            read.map_err(|_malformed| {
                io::Error::new(io::ErrorKind::InvalidData, "this is not the export format")
            })?;
            if self.is_ending() {
                return Ok(());
            }
        }
    }

    /// Writes what was read. While the disk is full nothing more is read, and the journal keeps it.
    fn write(&mut self) {
        let mut was_told = false;
        while let Err(error) = self.spool.flush() {
            if !std::mem::replace(&mut was_told, true) {
                tracing::warn!(%error, "the copy of the journal cannot be written, and waits");
            }
            if self.is_ending() {
                return;
            }
            self.rest(RETRY_TIME_MIN);
        }
        if self.noted.elapsed() >= NOTE_INTERVAL {
            self.note();
        }
    }

    fn note(&mut self) {
        self.noted = Instant::now();
        if let Err(error) = self.spool.note() {
            tracing::warn!(%error, "cannot note how far the copy of the journal is");
        }
    }
}
