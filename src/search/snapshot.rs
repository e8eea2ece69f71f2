//! One generation of a log, up to a fixed end.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::encoding::{Detection, Encoding, Layout, Newline};
use crate::log::archive::Notice;
use crate::log::file::{LogFile, Nuls, Read};
use crate::log::line_starts::LinesBefore;
use crate::log::timeline::Span;
use crate::log::{Follower, Generation, LogPath, Offset, Refusal};
use crate::render::{Interpretation, Size, Terminal};
use crate::session::checkpoints::Checkpoints;
use crate::session::{Hub, WantedGeneration};
use crate::time::{Reading, TimedFile, Zone};

/// The bytes of one generation of a log that were published when it was opened.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The generation, under the name that the request used.
    pub generation: Generation,
    /// The offset after the last readable byte.
    pub end: Offset,
    /// How its bytes are read.
    detection: Detection,
    screen: Option<Size>,
    file: Arc<LogFile>,
    span: Arc<Span>,
    /// Terminal states from the log's viewers.
    checkpoints: Arc<Checkpoints>,
}

/// Why a request for rows, lines or matches fails.
#[derive(Debug)]
pub enum SearchError {
    /// Access to the log is refused, or the log does not exist.
    Refused(Refusal),
    /// The requested generation no longer exists. Contains the present one, if there is one.
    Gone(Option<Generation>),
    /// The file could not be read.
    Unreadable(io::Error),
    /// The lines of the log are still being counted. Contains the offset up to which they are.
    Counting(Offset),
    /// The process ends, or the work panicked.
    Interrupted,
}

impl Display for SearchError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "access is refused: {refusal:?}"),
            Self::Gone(_) => f.write_str("the generation no longer exists"),
            Self::Unreadable(_) => f.write_str("the file cannot be read"),
            Self::Counting(offset) => write!(f, "lines are counted up to offset {offset} only"),
            Self::Interrupted => f.write_str("the work was interrupted"),
        }
    }
}

impl std::error::Error for SearchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            Self::Refused(_) | Self::Gone(_) | Self::Counting(_) | Self::Interrupted => None,
        }
    }
}

impl From<Refusal> for SearchError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for SearchError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl Snapshot {
    /// Opens the present generation of a log, or an older one that is still open or can be found.
    /// It is understood as it was `chosen`.
    ///
    /// # Errors
    /// [`SearchError::Refused`] and [`SearchError::Gone`].
    pub async fn open(
        hub: &Hub,
        log: &LogPath,
        wanted: WantedGeneration,
        chosen: Interpretation,
    ) -> Result<Self, SearchError> {
        let subscription = match wanted {
            // An older generation can be open although no file has the log's name now.
            WantedGeneration::Generation(_) => hub.registry().visit(log).await?,
            WantedGeneration::Present | WantedGeneration::Nothing => {
                hub.registry().join(log, false).await?
            }
        };
        if subscription.is_barred {
            return Err(Refusal::Unreadable.into());
        }
        let follower = &subscription.follower;
        let present = {
            let timeline = follower.timeline();
            timeline.present().cloned()
        };
        let gone = || SearchError::Gone(present.as_ref().map(|span| span.signed()));
        let (span, generation) = match wanted {
            WantedGeneration::Present => {
                let span = present.clone().ok_or(Refusal::NotFound)?;
                let signed = span.signed();
                (span, signed)
            }
            WantedGeneration::Generation(generation) => {
                (find(follower, generation).await.ok_or_else(gone)?, generation)
            }
            WantedGeneration::Nothing => return Err(gone()),
        };
        Self::of_span(hub, follower, span, generation, chosen).ok_or_else(gone)
    }

    /// All that was published of the generation of a span. None when its file is not open any more.
    pub(super) fn of_span(
        hub: &Hub,
        follower: &Arc<Follower>,
        span: Arc<Span>,
        generation: Generation,
        chosen: Interpretation,
    ) -> Option<Self> {
        // In this order: a file that takes the place of this one has all that was published by then.
        let end = span.end();
        let file = span.file()?;
        let checkpoints = hub.checkpoints(follower, chosen);
        // Asked after the end: where that is behind the first bytes, these are known.
        let detection = chosen.applied_to(span.detection()).so_far();
        Some(Self { generation, end, detection, screen: chosen.screen, file, span, checkpoints })
    }

    /// What has to be said about a compressed file that was not unpacked to its end.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        self.file.notice()
    }

    /// The generation by the name that the server gives it now.
    pub(super) fn own_generation(&self) -> Generation {
        self.span.signed()
    }

    /// The encoding of the log.
    pub(super) fn encoding(&self) -> Encoding {
        self.detection.encoding()
    }

    /// What ends a line of the log.
    pub(super) fn newline(&self) -> Newline {
        self.encoding().newline()
    }

    /// The encoding of the file's own bytes from an offset on, if it is known.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn charset(&self, from: Offset) -> io::Result<Option<Encoding>> {
        if self.encoding() != Encoding::UTF_8 {
            return Ok(Some(self.encoding()));
        }
        Ok(Encoding::of_sample(&self.read(from, Encoding::SAMPLE_BYTES)?))
    }

    /// Whether its lines are those of a container runtime, and are opened.
    pub(super) fn is_enveloped(&self) -> bool {
        self.detection.layout() == Layout::Enveloped
    }

    /// The first line that is not before a time, in milliseconds since 1970, or the end.
    ///
    /// # Errors
    /// Those of `fstat` and `pread`.
    pub fn seek_time(&self, time: i64, zone: &Zone) -> io::Result<Offset> {
        let line = self.timed(zone)?.seek(time)?;
        if line >= self.newline().align(self.end.0) {
            return Ok(self.end);
        }
        // A line of a container runtime may continue the one before it.
        self.joined_start(Offset(line))
    }

    /// The file as one in which times are sought.
    ///
    /// # Errors
    /// Those of `fstat` and `pread`.
    pub(super) fn timed(&self, zone: &Zone) -> io::Result<TimedFile<Reading<'_>>> {
        self.file.timed(self.newline(), self.end, zone)
    }

    /// The last line up to the one that starts here which reading may begin with, as
    /// [`LogFile::joined_start`] finds it.
    ///
    /// # Errors
    /// Those of `pread`.
    pub(super) fn joined_start(&self, line: Offset) -> io::Result<Offset> {
        self.file.joined_start(self.detection, line)
    }

    /// An empty terminal that will be fed the log from an offset on.
    pub(super) fn terminal(&self, at: Offset) -> Terminal {
        Terminal::with_encoding(at.0, self.detection).on_screen(self.screen)
    }

    /// The same snapshot with an earlier end.
    #[must_use]
    pub fn truncated_to(&self, end: Offset) -> Self {
        Self { end: end.min(self.end), ..self.clone() }
    }

    /// At most `len` bytes from an offset; fewer at the end, and none behind it.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read(&self, from: Offset, len: usize) -> io::Result<Vec<u8>> {
        let len = len.min(usize::try_from(self.end.0.saturating_sub(from.0)).unwrap_or(len));
        self.file.read_at(from, len)
    }

    /// Whether these bytes, as far as there are so many, can be read without asking another machine.
    pub(super) fn is_here(&self, from: Offset, len: usize) -> bool {
        from >= self.end || self.file.here_before(from.plus(len).min(self.end)) <= from
    }

    /// Whether the log is one of another machine.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.file.is_mirrored()
    }

    /// The device that a read may have to wait for.
    pub(super) fn device(&self) -> u64 {
        self.file.device()
    }

    /// The start of the last `lines` lines before `end`, or of as many as start within `reach`
    /// bytes. None if no line does.
    ///
    /// # Errors
    /// Those of `pread`.
    pub(super) fn lines_before(
        &self,
        end: Offset,
        lines: usize,
        reach: u64,
    ) -> io::Result<Option<Offset>> {
        let newline = self.newline();
        let found = self.file.lines_before(newline, end, lines as u64, reach);
        let found = match found {
            // What is here of a log is shown although its machine does not answer.
            Err(error) if self.is_mirrored() => {
                let here = self.file.here_before(end).plus(newline.width() - 1);
                let reach = end.0.saturating_sub(newline.align(here.0));
                match self.file.lines_before(newline, end, lines as u64, reach)? {
                    LinesBefore::Fewer(None) => return Err(error),
                    found => found,
                }
            }
            found => found?,
        };
        Ok(match found {
            LinesBefore::All(start) => Some(start),
            LinesBefore::Fewer(earliest) => earliest,
        })
    }

    /// Like [`read`](Self::read), but skips a long run of NULs and reports it.
    ///
    /// # Errors
    /// Those of `pread` and `lseek`.
    pub(super) fn read_on(&self, from: Offset, len: usize) -> io::Result<Read> {
        let fingerprint = crate::log::fingerprint::Fingerprint::at(from);
        self.file.read_after(&fingerprint, len, self.end, Nuls::Written)
    }

    /// When a byte arrived, in milliseconds since 1970. `None` if nobody followed the log then.
    #[must_use]
    pub fn arrived(&self, offset: Offset) -> Option<u64> {
        let since = self.span.arrived(offset)?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    /// The terminal of the last checkpoint before an offset, at most `reach` bytes before it.
    pub(super) fn checkpoint_before(&self, offset: Offset, reach: u64) -> Option<Terminal> {
        let checkpoint = self.checkpoints.before(self.span.number, offset)?;
        (offset.0 - checkpoint.at().0 <= reach).then_some(checkpoint.terminal)
    }

    /// Whether the bytes before the published end are unchanged. If not, the file was truncated,
    /// and bytes read from it may belong to other content.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn is_intact(&self) -> io::Result<bool> {
        // The log may go on in another file that has the same bytes, and more.
        let present = self.span.file_and_tail();
        let (file, tail) = present.unwrap_or_else(|| (Arc::clone(&self.file), self.span.tail()));
        if file.is_mirrored() {
            // A truncation on its machine begins another file here.
            return Ok(true);
        }
        let found = file.read_after(&tail, 0, tail.offset(), Nuls::Written)?;
        Ok(!matches!(found, Read::Changed))
    }
}

/// The last span of a generation; `None` if its file cannot be read.
async fn find(follower: &Arc<Follower>, wanted: Generation) -> Option<Arc<Span>> {
    let (known, is_lost) = {
        let timeline = follower.timeline();
        (timeline.last_of(wanted), timeline.is_lost(wanted))
    };
    if is_lost {
        return None;
    }
    if let Some(span) = known {
        if span.file().is_none() {
            follower.find_rotated(wanted, span.end()).await?;
        }
        return Some(span).filter(|span| span.file().is_some());
    }
    // An earlier server process created this name. The request is for all bytes of the file, so its
    // whole head must prove that the file is the same.
    if !wanted.signature.is_whole() {
        return follower.find_named(wanted).await;
    }
    let twin = follower.timeline().latest_of_inode(wanted);
    if let Some(twin) = twin
        && wanted.has_signature_of(&twin.signed())
    {
        return Some(twin).filter(|twin| twin.file().is_some());
    }
    follower.find_rotated(wanted, Offset(0)).await
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::log::{Access, Registry};
    use std::time::Duration;

    /// A snapshot of a new log with this content.
    pub(crate) fn snapshot_of(content: &[u8]) -> (Snapshot, tempfile::TempDir) {
        snapshot_in(content, None)
    }

    /// The same with a chosen encoding.
    pub(crate) fn snapshot_in(
        content: &[u8],
        chosen: Option<Encoding>,
    ) -> (Snapshot, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.log"), content).unwrap();
        (
            open(&directory, Interpretation { encoding: chosen, ..Interpretation::default() }),
            directory,
        )
    }

    /// A snapshot of a new log of this size that takes no space on the disk.
    pub(crate) fn snapshot_of_sparse(bytes: u64) -> (Snapshot, tempfile::TempDir) {
        use std::os::unix::fs::FileExt;

        let directory = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(directory.path().join("a.log")).unwrap();
        file.write_all_at(b"\n", bytes - 1).unwrap();
        (open(&directory, Interpretation::default()), directory)
    }

    /// A snapshot of the log as it is now.
    pub(crate) fn reopened(directory: &tempfile::TempDir) -> Snapshot {
        open(directory, Interpretation::default())
    }

    fn open(directory: &tempfile::TempDir, chosen: Interpretation) -> Snapshot {
        let path = directory.path().join("a.log");
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
            let hub = Hub::new(Registry::new(access, Duration::from_secs(5)));
            Snapshot::open(&hub, &log, WantedGeneration::Present, chosen).await.unwrap()
        })
    }

    #[test]
    fn a_snapshot_of_a_truncated_and_refilled_file_is_not_intact() {
        let (snapshot, directory) = snapshot_of(b"one\ntwo\n");
        assert!(snapshot.is_intact().unwrap());
        std::fs::write(directory.path().join("a.log"), "other lines\n").unwrap();
        assert!(!snapshot.is_intact().unwrap());
    }
}
