//! The log on stdout, as bytes or as text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::encoding::{Detection, Encoding};
use crate::render::{Appender, Terminal};

/// The size of the output buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// The size of the pieces that a terminal is fed. It bounds memory for logs with many short rows.
const PIECE_BYTES: usize = 8 * 1024;

/// stdout, and what was printed so far.
pub(super) struct Output {
    out: BufWriter<File>,
    text: Option<Text>,
    mid_line: bool,
}

/// Renders the log as a terminal would show it.
struct Text {
    terminal: Terminal,
    /// The encoding of the present file.
    detection: Detection,
    appender: Appender,
}

impl Output {
    pub(super) fn to_stdout(text: bool) -> io::Result<Self> {
        // The standard library's own buffer would copy every byte once more.
        let out = BufWriter::with_capacity(BUFFER_BYTES, File::from(stdout()?));
        let text = text.then(|| {
            let detection = Detection::default();
            let terminal = Terminal::with_encoding(0, detection);
            Text { terminal, detection, appender: Appender::new() }
        });
        Ok(Self { out, text, mid_line: false })
    }

    /// Prints bytes of the log.
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

    /// The stream starts at this offset, for the first time or after a reconnect.
    pub(super) fn open(&mut self, at: u64, encoding: Option<&str>) -> io::Result<()> {
        if self.text.as_ref().is_some_and(|text| text.terminal.at() != at) {
            return self.restart_at(at, encoding);
        }
        Ok(())
    }

    /// The log continues at another offset, in this encoding if it is known and not UTF-8. Text that
    /// was held back is printed first.
    pub(super) fn restart_at(&mut self, at: u64, encoding: Option<&str>) -> io::Result<()> {
        let Some(text) = &mut self.text else { return Ok(()) };
        let encoding = encoding.and_then(Encoding::for_label);
        text.detection = encoding.map_or_else(Detection::default, Detection::of_encoding);
        self.skip_to(at)
    }

    /// The file continues at another offset.
    pub(super) fn skip_to(&mut self, at: u64) -> io::Result<()> {
        let Some(text) = &mut self.text else { return Ok(()) };
        text.terminal = Terminal::with_encoding(at, text.detection);
        let held = text.appender.finish_text();
        self.put(held.as_bytes())
    }

    /// Prints what was held back, at the end.
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

    /// Whether the last printed line has no newline yet.
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

/// Completes when nobody reads stdout any more, even if nothing is written. It never completes for
/// a file.
pub(super) async fn reader_gone() {
    let (sender, receiver) = oneshot::channel();
    // A thread, since files, pipes and terminals cannot all be awaited in one way. It ends with the
    // process.
    let watching = std::thread::Builder::new().spawn(move || {
        let Ok(out) = stdout() else { return };
        // Errors and hang-ups are reported without being requested.
        let mut watched = [PollFd::new(&out, PollFlags::empty())];
        while poll(&mut watched, None) == Err(Errno::INTR) {}
        let wrong = PollFlags::ERR | PollFlags::HUP;
        if watched.iter().any(|watched| watched.revents().intersects(wrong)) {
            // The program may be ending already.
            let _sent = sender.send(());
        }
    });
    if watching.is_err() || receiver.await.is_err() {
        std::future::pending().await
    }
}
