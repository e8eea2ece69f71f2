//! What the command writes goes into the file and to the terminal, in that order, in large pieces.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::Signal;
use tokio::sync::oneshot;

use crate::source::recorder::Recorder;
use crate::source::run::Told;
use crate::source::run::leader::Leader;

/// The most bytes that are read and written at once.
const PIECE_BYTES: usize = 256 * 1024;
/// What a pipe from the command holds. The command runs on while a terminal is slow.
const PIPE_BYTES: usize = 1024 * 1024;

/// The end of a pipe or pty from which the output of the command comes.
#[derive(Clone)]
pub(super) enum From {
    Pipe(Arc<PipeReader>),
    Pty(Arc<pty_process::blocking::Pty>),
}

impl From {
    /// The reading end of a pipe. A larger pipe than usual makes fewer switches.
    pub(super) fn pipe(reader: PipeReader) -> Self {
        // The limit of the user may be lower, and the usual size works too.
        let _enlarged = fcntl_setpipe_size(&reader, PIPE_BYTES);
        Self::Pipe(Arc::new(reader))
    }

    /// Reads a piece; an empty one at the end.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(reader) => (&**reader).read(buffer),
            Self::Pty(pty) => match (&**pty).read(buffer) {
                // Nobody has the other end open any more, and everything was read.
                Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Ok(0),
                read => read,
            },
        }
    }
}

impl AsFd for From {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(reader) => reader.as_fd(),
            Self::Pty(pty) => pty.as_fd(),
        }
    }
}

/// A thread that copies one stream of the command.
pub(super) struct Output {
    /// None when the thread has ended: a pipe without a reader tells its writers so.
    from: Arc<Mutex<Option<From>>>,
    /// How many bytes were read, and how many of them were written.
    taken: Arc<AtomicU64>,
    copied: Arc<AtomicU64>,
    done: oneshot::Receiver<()>,
    is_done: bool,
}

/// What a thread copies with.
struct Copying {
    from: From,
    to: File,
    recorder: Arc<Recorder>,
    leader: Arc<Leader>,
    taken: Arc<AtomicU64>,
    copied: Arc<AtomicU64>,
    told: Arc<Told>,
}

impl Output {
    /// Copies everything from one end to a stream of this process, and into the recorder.
    pub(super) fn copy(
        from: From,
        to: File,
        recorder: Arc<Recorder>,
        leader: Arc<Leader>,
        told: Arc<Told>,
    ) -> io::Result<Self> {
        let (taken, copied) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let copying = Copying {
            from: from.clone(),
            to,
            recorder,
            leader,
            taken: Arc::clone(&taken),
            copied: Arc::clone(&copied),
            told,
        };
        let from = Arc::new(Mutex::new(Some(from)));
        let shared = Arc::clone(&from);
        let (sender, done) = oneshot::channel();
        std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            copying.run();
            *shared.lock() = None;
            // The receiver may be gone at the end of the program.
            let _sent = sender.send(());
        })?;
        Ok(Self { from, taken, copied, done, is_done: false })
    }

    /// How many bytes it will have copied when everything is copied that was written so far.
    pub(super) fn owed(&self) -> u64 {
        // In this order: what is read in between counts twice rather than not at all, and then it waits
        // for the end.
        let unread = self.from.lock().as_ref().and_then(|from| ioctl_fionread(from).ok());
        let taken = self.taken.load(Ordering::SeqCst);
        taken + unread.unwrap_or(0)
    }

    /// Whether it has copied so many bytes, or has ended.
    pub(super) fn has_copied(&self, bytes: u64) -> bool {
        self.is_done || self.copied.load(Ordering::Relaxed) >= bytes
    }

    /// Completes when everything was copied. Dropping the future loses nothing.
    pub(super) async fn done(&mut self) {
        if !self.is_done {
            // A thread that panicked has ended, too.
            let _done = (&mut self.done).await;
            self.is_done = true;
        }
    }
}

impl Copying {
    fn run(self) {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut has_reader = true;
        loop {
            let taken = match self.from.read(&mut buffer) {
                Ok(0) => return,
                Ok(taken) => taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.told.cannot_read(&error),
            };
            self.taken.fetch_add(taken as u64, Ordering::SeqCst);
            let piece = buffer.get(..taken).unwrap_or_default();
            if !self.recorder.record(piece) {
                return;
            }
            if has_reader && let Err(error) = write_all(&self.to, piece) {
                has_reader = false;
                if error.kind() == io::ErrorKind::BrokenPipe {
                    // A reader such as `head` has enough. The command is to notice it as it would
                    // without us.
                    match self.from {
                        From::Pipe(_) => return,
                        From::Pty(_) => self.leader.signal(Signal::HUP),
                    }
                } else {
                    self.told.cannot_print(&error);
                }
            }
            self.copied.fetch_add(taken as u64, Ordering::Relaxed);
        }
    }
}

/// Writes all bytes, also to a stream that somebody has set not to block.
pub(super) fn write_all(mut to: impl Write + AsFd, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut watched = [PollFd::new(&to, PollFlags::OUT)];
                match poll(&mut watched, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
