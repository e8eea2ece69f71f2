//! A log to look around in.

use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::log::file::{LogFile, Nuls, Read};
use crate::log::line_starts::LinesBefore;
use crate::log::timeline::Span;
use crate::log::{Follower, Generation, LogPath, Offset, Refusal, Registry};
use crate::render::Terminal;
use crate::session::WantedGeneration;
use crate::session::checkpoints::Checkpoints;

/// What was published of one generation of a log up to a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The generation, by the name by which it was asked for.
    pub generation: Generation,
    /// The offset after the last byte that can be seen.
    pub end: Offset,
    file: Arc<LogFile>,
    span: Arc<Span>,
    /// What terminals were like that have shown the log to viewers.
    states: Arc<Checkpoints>,
}

/// Why there is nothing to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// The log may not be read, or is not there.
    Refused(Refusal),
    /// The generation that was asked for is not there any more. This is the present one, if there is one.
    Gone(Option<Generation>),
    /// The bytes could not be read.
    Unreadable,
    /// The lines of the log are being counted, and have been up to here.
    Counting(Offset),
}

impl From<Refusal> for SearchError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for SearchError {
    fn from(error: io::Error) -> Self {
        tracing::warn!(%error, "can't read");
        Self::Unreadable
    }
}

impl Snapshot {
    /// Looks at a log: at its present file, or at a generation that is still held or can be found.
    ///
    /// # Errors
    /// When the log may not be read, or what was asked for is not there.
    pub async fn open(
        registry: &Arc<Registry>,
        log: &LogPath,
        of: WantedGeneration,
    ) -> Result<Self, SearchError> {
        // Others may hold what was rotated away while nothing has the name.
        let is_named = matches!(of, WantedGeneration::Generation(_));
        let subscription = registry.join(log, is_named).await?;
        if subscription.is_barred {
            return Err(Refusal::Unreadable.into());
        }
        let follower = &subscription.follower;
        let present = {
            let timeline = follower.timeline();
            timeline.latest().filter(|_| !timeline.is_waiting()).cloned()
        };
        let gone = || SearchError::Gone(present.as_ref().map(|span| span.signed()));
        let (span, generation) = match of {
            WantedGeneration::Present => {
                let span = present.clone().ok_or(Refusal::NotFound)?;
                let signed = span.signed();
                (span, signed)
            }
            WantedGeneration::Generation(wanted) => {
                (find(follower, wanted).await.ok_or_else(gone)?, wanted)
            }
            WantedGeneration::Nothing => return Err(gone()),
        };
        let file = span.file().ok_or_else(gone)?;
        Ok(Self { generation, end: span.end(), file, span, states: follower.companion() })
    }

    /// The same without what lies behind an offset.
    pub(super) fn until(&self, end: Offset) -> Self {
        Self { end: end.min(self.end), ..self.clone() }
    }

    /// At most `len` bytes from an offset; fewer at the end.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn read(&self, from: Offset, len: usize) -> io::Result<Vec<u8>> {
        let len = len.min(usize::try_from(self.end.0.saturating_sub(from.0)).unwrap_or(len));
        self.file.read_at(from, len)
    }

    /// Where the last `lines` lines before `end` start, or as many of them as start within `reach`
    /// bytes. None when none does.
    ///
    /// # Errors
    /// Those of `pread`.
    pub(super) fn lines_before(
        &self,
        end: Offset,
        lines: usize,
        reach: u64,
    ) -> io::Result<Option<Offset>> {
        Ok(match self.file.lines_before(end, lines as u64, reach)? {
            LinesBefore::All(start) => Some(start),
            LinesBefore::Fewer(earliest) => earliest,
        })
    }

    /// The same, but a long run of NULs is told and not read.
    ///
    /// # Errors
    /// Those of `pread` and `lseek`.
    pub(super) fn read_on(&self, from: Offset, len: usize) -> io::Result<Read> {
        let fingerprint = crate::log::fingerprint::Fingerprint::at(from);
        self.file.read_after(&fingerprint, len, self.end, Nuls::Written)
    }

    /// When a byte came, in milliseconds since 1970, if somebody followed then.
    #[must_use]
    pub fn arrived(&self, offset: Offset) -> Option<u64> {
        let since = self.span.arrived(offset)?.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }

    /// A terminal that has shown viewers what stands before an offset, not further before it than `reach` bytes.
    pub(super) fn known_terminal(&self, offset: Offset, reach: u64) -> Option<Terminal> {
        let state = self.states.before(self.span.number, offset)?;
        (offset.0 - state.at().0 <= reach).then_some(state.terminal)
    }

    /// Whether the file still ends as what was published of it did: otherwise it was cut, and what was read of it may be
    /// of other content.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn is_intact(&self) -> io::Result<bool> {
        let tail = self.span.tail();
        let found = self.file.read_after(&tail, 0, tail.offset(), Nuls::Written)?;
        Ok(!matches!(found, Read::Changed))
    }
}

/// The last span of a generation, if its bytes can be read.
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
    // It was named by a server before this one. All of its bytes are asked for, and so all of its head must prove it.
    if !wanted.signature.is_whole() {
        return None;
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
    use crate::log::Access;
    use std::time::Duration;

    /// A log of its own with this content.
    pub(crate) fn view_of(content: &[u8]) -> (Snapshot, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, content).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let view = runtime.block_on(async {
            let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
            let registry = Registry::new(access, Duration::from_secs(5));
            Snapshot::open(&registry, &log, WantedGeneration::Present).await.unwrap()
        });
        (view, directory)
    }

    #[test]
    fn a_file_that_was_cut_and_filled_again_is_not_what_was_looked_at() {
        let (view, directory) = view_of(b"one\ntwo\n");
        assert!(view.is_intact().unwrap());
        std::fs::write(directory.path().join("a.log"), "other lines\n").unwrap();
        assert!(!view.is_intact().unwrap());
    }
}
