//! stdout: the log, as bytes or as text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::render::{Appender, Terminal};

/// Written at once, where more is ready than fits.
const BUFFER_BYTES: usize = 64 * 1024;
/// A terminal is fed in pieces of this size: a log that makes much out of little fills no memory.
const PIECE_BYTES: usize = 8 * 1024;

/// What has been printed so far, and how.
pub(super) struct Output {
    out: BufWriter<File>,
    text: Option<Text>,
    mid_line: bool,
}

/// The log as a terminal would show it.
struct Text {
    terminal: Terminal,
    appender: Appender,
}

impl Output {
    pub(super) fn to_stdout(text: bool) -> io::Result<Self> {
        // Not through the standard library's own buffer, which would copy every byte once more.
        let out = BufWriter::with_capacity(BUFFER_BYTES, File::from(stdout()?));
        let text = text.then(|| Text { terminal: Terminal::new(0), appender: Appender::new() });
        Ok(Self { out, text, mid_line: false })
    }

    /// Bytes of the log.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut text) = self.text.take() else { return self.put(bytes) };
        let mut written = Ok(());
        for piece in bytes.chunks(PIECE_BYTES) {
            let patch = text.terminal.feed(piece);
            written = written.and_then(|()| self.put(text.appender.text(&patch).as_bytes()));
        }
        self.text = Some(text);
        written
    }

    /// The log is at this offset now, for the first time or again.
    pub(super) fn open(&mut self, at: u64) -> io::Result<()> {
        if self.text.as_ref().is_some_and(|text| text.terminal.at() != at) {
            return self.turn(at);
        }
        Ok(())
    }

    /// The log goes on at another place: what was held back comes first.
    pub(super) fn turn(&mut self, at: u64) -> io::Result<()> {
        let Some(text) = &mut self.text else { return Ok(()) };
        text.terminal = Terminal::new(at);
        let held = text.appender.finish_text();
        self.put(held.as_bytes())
    }

    /// Everything has been printed.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(text) = &mut self.text {
            let held = text.appender.finish_text();
            self.put(held.as_bytes())?;
        }
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Whether something stands in the line that is printed now.
    pub(super) fn is_mid_line(&self) -> bool {
        self.mid_line
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.mid_line = *last != b'\n';
        }
        self.out.write_all(bytes)
    }
}

fn stdout() -> io::Result<OwnedFd> {
    io::stdout().as_fd().try_clone_to_owned()
}

/// Done when nobody reads stdout any more, though nothing is written at the moment. A file is read by nobody, and
/// that is no reason to end.
pub(super) async fn reader_gone() {
    let (tell, told) = oneshot::channel();
    // A thread, since a descriptor that may be a file, a pipe or a terminal can't be awaited in one way. It ends with
    // the process.
    let watching = std::thread::Builder::new().spawn(move || {
        let Ok(out) = stdout() else { return };
        // What is wrong is told without being asked for.
        let mut watched = [PollFd::new(&out, PollFlags::empty())];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
        let wrong = PollFlags::ERR | PollFlags::HUP;
        if watched.iter().any(|watched| watched.revents().intersects(wrong)) {
            // The program may be ending already.
            let _told = tell.send(());
        }
    });
    if watching.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}
