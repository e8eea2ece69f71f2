//! Bringing what is missing here: a piece at a time, each once, however many readers wait for it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::mirror::remote::{FetchError, Remote};
use crate::mirror::spool::file::SpoolFile;

/// A fetch that takes longer has failed.
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);
/// A read within this time after a machine did not answer fails at once. All reads that waited for the
/// same bytes fail together, instead of one after the other.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// What brings the bytes that are missing.
#[derive(Clone, Debug)]
pub(in crate::mirror::spool) struct Origin {
    pub(in crate::mirror::spool) remote: Arc<dyn Remote>,
    pub(in crate::mirror::spool) runtime: Handle,
}

#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// The pieces that are being fetched.
    pieces: Vec<Range<u64>>,
    /// When the machine did not answer last.
    pub(super) failed: Option<Instant>,
}

impl SpoolFile {
    /// Keeps a range here from when it has come until this is dropped.
    pub(super) fn want(&self, range: &Range<u64>) -> Wanted<'_> {
        self.wanted.lock().push(range.clone());
        Wanted { file: self, range: range.clone() }
    }

    /// Brings a missing piece here, or waits for somebody who does.
    pub(super) fn fetch(&self, piece: &Range<u64>) -> io::Result<()> {
        {
            let mut fetching = self.fetching.lock();
            if fetching.failed.is_some_and(|failed| failed.elapsed() < FAILURE_TIME) {
                return Err(unreachable());
            }
            let overlaps = |other: &Range<u64>| other.start < piece.end && piece.start < other.end;
            if fetching.pieces.iter().any(overlaps) {
                self.fetched.wait_for(&mut fetching, FETCH_TIME_MAX);
                return Ok(());
            }
            fetching.pieces.push(piece.clone());
        }
        let result = self.fetch_alone(piece);
        let is_unreachable = |error: &io::Error| error.kind() == io::ErrorKind::NotConnected;
        {
            let mut fetching = self.fetching.lock();
            fetching.pieces.retain(|other| other != piece);
            fetching.failed =
                result.as_ref().err().filter(|it| is_unreachable(it)).map(|_| Instant::now());
        }
        self.fetched.notify_all();
        result
    }

    fn fetch_alone(&self, piece: &Range<u64>) -> io::Result<()> {
        let Origin { remote, runtime } = &self.origin;
        let called = {
            let state = self.state.read();
            state.alias.unwrap_or(state.generation)
        };
        let fetching = remote.fetch(&self.name, &called, piece.clone());
        let fetched = runtime.block_on(async { timeout(FETCH_TIME_MAX, fetching).await });
        match fetched.unwrap_or(Err(FetchError::Unreachable)) {
            Ok(fetched) => {
                let len = fetched.bytes.len().min((piece.end - piece.start) as usize);
                let bytes: Bytes = fetched.bytes.slice(..len);
                self.keep(piece.start, &bytes, None)?;
                if let Some(spool) = self.spool.upgrade() {
                    spool.count_fetched(len);
                }
                if let Some(next) = fetched.next.filter(|next| next.is_direct) {
                    self.hear_next(next.generation);
                }
                let end = piece.start + len as u64;
                // The rest is asked for alone. Who has given these bytes need not be who has that.
                if end >= piece.end || len > 0 {
                    return Ok(());
                }
                if fetched.size < piece.end {
                    // Who answers does not know all that was heard of: it may have been told by somebody
                    // else than the machine, or the machine is about to tell that the file is shorter.
                    return Err(unreachable());
                }
                self.state.write().deny(&(end..piece.end), Instant::now());
                Ok(())
            }
            Err(FetchError::Gone) => {
                self.state.write().deny(piece, Instant::now());
                Ok(())
            }
            Err(FetchError::Unreachable | FetchError::Busy) => Err(unreachable()),
            Err(error @ FetchError::Refused) => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, error))
            }
        }
    }
}

/// A range that somebody wants.
pub(super) struct Wanted<'f> {
    file: &'f SpoolFile,
    range: Range<u64>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut all = self.file.wanted.lock();
        if let Some(own) = all.iter().position(|range| *range == self.range) {
            all.swap_remove(own);
        }
    }
}

fn unreachable() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, FetchError::Unreachable)
}
