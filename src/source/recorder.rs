//! Writes what a source sends into its file. A file that takes no more never stops the source: what
//! is missing is counted, and the file says so as soon as it takes bytes again.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often a file that took no bytes is tried again, at most.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// What is told when bytes are missing for the first time.
type OnLoss = dyn Fn(&io::Error) + Send + Sync;

/// The file of a source. Several threads may write to it; each call is one piece.
pub struct Recorder {
    recording: Mutex<Recording>,
    on_loss: Box<OnLoss>,
}

struct Recording {
    /// It appends.
    file: File,
    loss: Option<Loss>,
    was_told: bool,
    is_mid_line: bool,
    has_ended: bool,
}

/// Bytes that the file did not take.
struct Loss {
    bytes: u64,
    why: io::Error,
    /// When the file was tried last; `None` to try it at once.
    tried: Option<Instant>,
}

impl Loss {
    fn retry_now(&mut self) {
        self.tried = None;
    }

    fn notice(&self, is_mid_line: bool) -> String {
        let newline = if is_mid_line { "\n" } else { "" };
        let Self { bytes, why, .. } = self;
        format!("{newline}[tailcast: {bytes} bytes are missing here: {why}]\n")
    }
}

impl Recorder {
    /// Writes to a file that appends. `on_loss` is called once, when it takes no bytes.
    pub fn new(file: File, on_loss: impl Fn(&io::Error) + Send + Sync + 'static) -> Self {
        let recording =
            Recording { file, loss: None, was_told: false, is_mid_line: false, has_ended: false };
        Self { recording: Mutex::new(recording), on_loss: Box::new(on_loss) }
    }

    /// Appends bytes. Returns false when the recording has ended, and nothing is appended any more.
    pub fn record(&self, bytes: &[u8]) -> bool {
        let mut recording = self.recording.lock();
        if recording.has_ended {
            return false;
        }
        if let Err(error) = recording.append(bytes)
            && !std::mem::replace(&mut recording.was_told, true)
        {
            drop(recording);
            (self.on_loss)(&error);
        }
        true
    }

    /// Goes on in another file, which appends. What is missing before is told at its beginning.
    pub fn turn_to(&self, file: File) {
        let mut recording = self.recording.lock();
        recording.file = file;
        recording.is_mid_line = false;
        if let Some(loss) = &mut recording.loss {
            loss.retry_now();
        }
    }

    /// Appends the last bytes. Returns how many of all bytes are missing at the end of the file.
    pub fn end(&self, bytes: &[u8]) -> u64 {
        let mut recording = self.recording.lock();
        recording.has_ended = true;
        if let Some(loss) = &mut recording.loss {
            // There is no later time.
            loss.retry_now();
        }
        let _told = recording.append(bytes);
        recording.loss.as_ref().map_or(0, |loss| loss.bytes)
    }
}

impl Recording {
    /// Appends bytes, or counts them. Gives the error of the first that are missing.
    fn append(&mut self, bytes: &[u8]) -> Result<(), io::Error> {
        if let Some(loss) = &mut self.loss {
            if loss.tried.is_some_and(|tried| tried.elapsed() < RETRY_INTERVAL) {
                loss.bytes += bytes.len() as u64;
                return Ok(());
            }
            let notice = loss.notice(self.is_mid_line);
            let (written, failed) = write(&mut self.file, notice.as_bytes());
            self.is_mid_line |= written > 0;
            if failed.is_some() {
                loss.bytes += bytes.len() as u64;
                loss.tried = Some(Instant::now());
                return Ok(());
            }
            self.is_mid_line = false;
            self.loss = None;
        }
        let (written, failed) = write(&mut self.file, bytes);
        if let Some(last) = written.checked_sub(1).and_then(|last| bytes.get(last)) {
            self.is_mid_line = *last != b'\n';
        }
        let Some(why) = failed else { return Ok(()) };
        let told = io::Error::new(why.kind(), why.to_string());
        let bytes = (bytes.len() - written) as u64;
        self.loss = Some(Loss { bytes, why, tried: Some(Instant::now()) });
        Err(told)
    }
}

/// Writes as many of the bytes as the file takes, and says why it takes no more.
fn write(mut file: impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(taken) => written += taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}
