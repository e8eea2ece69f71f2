//! The log on stdout, as bytes or as text.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::cli::tail::opened::Opened;
use crate::encoding::{Detection, Encoding, Layout};
use crate::render::{Appender, Decode, Interpretation, Terminal};

/// The size of the output buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// The size of the pieces that a terminal is fed. It bounds memory for logs with many short rows.
const PIECE_BYTES: usize = 8 * 1024;

/// stdout, and what was printed so far.
pub(super) struct Output {
    out: BufWriter<File>,
    form: Option<Form>,
    decode: Decode,
    mid_line: bool,
}

/// What is printed of the log.
enum Form {
    /// What a terminal would show.
    Text(Box<Text>),
    /// What the program wrote.
    Bytes(Opened),
}

/// Renders the log as a terminal would show it.
struct Text {
    terminal: Terminal,
    /// How the present file is read.
    detection: Detection,
    appender: Appender,
}

/// What is known of a file.
#[derive(Clone, Copy)]
pub(super) struct FileForm<'e> {
    /// Its encoding, if it is known and not UTF-8.
    pub(super) encoding: Option<&'e str>,
    /// A container runtime wrote its lines.
    pub(super) is_container: bool,
}

impl Output {
    pub(super) fn to_stdout(text: bool, decode: Decode) -> io::Result<Self> {
        // The standard library's own buffer would copy every byte once more.
        let out = BufWriter::with_capacity(BUFFER_BYTES, File::from(stdout()?));
        let mut output = Self { out, form: None, decode, mid_line: false };
        let detection = output.understood(Detection::default());
        output.form = Some(if text {
            let terminal = Terminal::with_encoding(0, detection);
            Form::Text(Box::new(Text { terminal, detection, appender: Appender::new() }))
        } else {
            Form::Bytes(Opened::new(0, (decode == Decode::Off).then_some(Layout::Plain)))
        });
        Ok(output)
    }

    /// How the log is read of which this is known.
    fn understood(&self, known: Detection) -> Detection {
        Interpretation { decode: self.decode, ..Interpretation::default() }.applied_to(known)
    }

    /// Prints bytes of the log.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut form) = self.form.take() else { return self.put(bytes) };
        let mut written = Ok(());
        match &mut form {
            Form::Bytes(opened) => written = self.put(&opened.take(bytes)),
            Form::Text(text) => {
                for piece in bytes.chunks(PIECE_BYTES) {
                    let patch = text.terminal.feed(piece);
                    written =
                        written.and_then(|()| self.put(text.appender.text(&patch).as_bytes()));
                }
            }
        }
        self.form = Some(form);
        written
    }

    /// The stream starts at this offset, for the first time or after a reconnect.
    pub(super) fn open(&mut self, at: u64, file: FileForm<'_>) -> io::Result<()> {
        let goes_on = match &self.form {
            Some(Form::Text(text)) => text.terminal.at() == at,
            Some(Form::Bytes(opened)) => opened.at() == at,
            None => true,
        };
        if goes_on { Ok(()) } else { self.restart_at(at, file) }
    }

    /// The log continues at another offset, in a file of this form. Text that was held back is
    /// printed first.
    pub(super) fn restart_at(&mut self, at: u64, file: FileForm<'_>) -> io::Result<()> {
        let encoding = file.encoding.and_then(Encoding::for_label);
        // What begins with the first byte says it itself.
        let layout =
            (at > 0).then_some(if file.is_container { Layout::Enveloped } else { Layout::Plain });
        let known = encoding.map_or_else(Detection::default, Detection::of_encoding);
        let detection = self.understood(known.or_chosen(None, layout));
        if let Some(Form::Text(text)) = &mut self.form {
            text.detection = detection;
        }
        self.begin_at(at, detection.known_layout())
    }

    /// The file continues at another offset.
    pub(super) fn skip_to(&mut self, at: u64) -> io::Result<()> {
        let layout = match &mut self.form {
            Some(Form::Bytes(opened)) => opened.layout(),
            Some(Form::Text(text)) => {
                text.detection = text.detection.or_chosen(None, text.terminal.layout());
                None
            }
            None => None,
        };
        self.begin_at(at, layout)
    }

    fn begin_at(&mut self, at: u64, layout: Option<Layout>) -> io::Result<()> {
        let held = match &mut self.form {
            Some(Form::Text(text)) => {
                text.terminal = Terminal::with_encoding(at, text.detection);
                text.appender.finish_text().into_bytes()
            }
            Some(Form::Bytes(opened)) => {
                std::mem::replace(opened, Opened::new(at, layout)).finish()
            }
            None => Vec::new(),
        };
        self.put(&held)
    }

    /// Prints what was held back, at the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let held = match &mut self.form {
            Some(Form::Text(text)) => text.appender.finish_text().into_bytes(),
            Some(Form::Bytes(opened)) => opened.finish(),
            None => Vec::new(),
        };
        self.put(&held)?;
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
