//! A span: a run of bytes of one generation, in the order in which the follower published them.
//!
//! The follower extends the last span, and viewers read any of them from the span's file. The end
//! of a closed span is final. When the file is closed, its arrival times are dropped with it.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};

use crate::encoding::Detection;
use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::position::{Generation, Offset};
use crate::log::timeline::arrival_times::ArrivalTimes;

/// The follower publishes spans with greater numbers. Files that were rotated away before it
/// started, and were found later, get the numbers from 1.
pub const ROTATED_NUMBER_MAX: u64 = 1 << 32;

/// Why a span began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the first span of the follower.
    Joined,
    /// The file was renamed, and another file has the log's name.
    Rotated,
    /// The file was truncated, and may have grown since.
    Truncated,
    /// Another file has the log's name, and the old one was not renamed: it was removed, or a link
    /// leads elsewhere.
    Replaced,
    /// A writer still wrote to a file that was rotated away.
    Late,
    /// The present file continues, or a file that got its name back while its late writes were
    /// read.
    Back,
}

impl Reason {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 6] =
        [Self::Joined, Self::Rotated, Self::Truncated, Self::Replaced, Self::Late, Self::Back];
}

/// Why there is nothing to follow at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Nothing has the log's name.
    Missing,
    /// The name leads to something that is not a regular file inside the prefixes.
    Untailable,
    /// The file cannot be opened or read.
    Unreadable,
    /// It is on another machine, which does not answer. What is here of it can be read.
    Unreachable,
}

/// A run of bytes of one generation.
#[derive(Debug)]
pub struct Span {
    /// Grows by one from span to span. Above [`ROTATED_NUMBER_MAX`] where the follower published
    /// it.
    pub number: u64,
    /// The generation of its bytes, as it was signed when the span began.
    pub generation: Generation,
    /// The offset of its first byte.
    pub from: Offset,
    /// Why it began.
    pub reason: Reason,
    /// Other files may have had the log's name before it, and can't be given.
    pub are_files_missing: bool,
    end: AtomicU64,
    readers: AtomicUsize,
    state: Mutex<SpanState>,
}

/// What changes in a span, besides its end.
#[derive(Debug)]
pub(super) struct SpanState {
    /// The generation with its latest signature.
    pub(super) signed: Generation,
    /// What the first bytes of the file say of its encoding.
    pub(super) detection: Detection,
    pub(super) closed: bool,
    /// The bytes are gone for good: the file was truncated.
    pub(super) lost: bool,
    /// The last bytes that were published.
    pub(super) tail: Fingerprint,
    /// The file that has the bytes.
    identity: Identity,
    /// When the file was created that is proved to have had the log's name directly after this one.
    next_born: Option<SystemTime>,
    /// None once the bytes can't be read any more.
    pub(super) source: Option<Source>,
}

/// Where the bytes of a span are read from. Spans of one generation share it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) file: Arc<LogFile>,
    /// The number of the file among those that were found again. 0 for a file that was not.
    pub(super) found: u64,
    pub(super) arrivals: Arc<Mutex<ArrivalTimes>>,
}

impl Source {
    pub(super) fn new(file: Arc<LogFile>, found: u64) -> Self {
        Self { file, found, arrivals: Arc::default() }
    }

    pub(super) fn is_of(&self, file: &Arc<LogFile>) -> bool {
        Arc::ptr_eq(&self.file, file)
    }
}

impl Span {
    /// An open span that begins behind the bytes of `before`.
    pub(super) fn open(
        number: u64,
        generation: Generation,
        before: Fingerprint,
        reason: Reason,
        source: Source,
    ) -> Self {
        let from = before.offset();
        let state = SpanState {
            signed: generation,
            detection: Detection::default(),
            closed: false,
            lost: false,
            tail: before,
            identity: source.file.identity(),
            next_born: None,
            source: Some(source),
        };
        Self {
            number,
            generation,
            from,
            reason,
            are_files_missing: false,
            end: AtomicU64::new(from.0),
            readers: AtomicUsize::new(0),
            state: Mutex::new(state),
        }
    }

    /// The closed span of a whole file that was rotated away before the follower started.
    pub(super) fn rotated(
        number: u64,
        generation: Generation,
        detection: Detection,
        file: Arc<LogFile>,
        end: Offset,
    ) -> Self {
        let before = Fingerprint::at(Offset(0));
        let source = Source::new(file, number);
        let span = Self::open(number, generation, before, Reason::Joined, source);
        span.end.store(end.0, Ordering::Release);
        let mut state = span.state();
        state.tail = Fingerprint::at(end);
        state.detection = detection;
        state.closed = true;
        drop(state);
        span
    }

    /// Whether its file was rotated away before the follower started.
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        self.number <= ROTATED_NUMBER_MAX
    }

    /// The generation with its latest signature. A short file is signed again as it grows.
    #[must_use]
    pub fn signed(&self) -> Generation {
        self.state().signed
    }

    /// Whether its signature tells the content of its file from others: it is whole, or covers all
    /// that was published.
    pub(in crate::log) fn is_signed(&self) -> bool {
        let signature = self.signed().signature;
        signature.is_whole() || signature.is_entire(Some(self.end()))
    }

    /// The encoding of its file, by the first bytes of that.
    #[must_use]
    pub fn detection(&self) -> Detection {
        self.state().detection
    }

    /// The offset after the last published byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// Whether nothing more will be published in it. Call this before [`end`](Self::end): the end
    /// of a closed span is final.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The fingerprint of the last published bytes. While the file has them there, the bytes before
    /// them are unchanged, too.
    #[must_use]
    pub fn tail(&self) -> Fingerprint {
        self.state().tail.clone()
    }

    /// When the byte at `offset` was first seen, to about a tenth of a second, or coarser in a long
    /// log. None for a byte that was there before the log was followed, and after the file is
    /// closed.
    #[must_use]
    pub fn arrived(&self, offset: Offset) -> Option<SystemTime> {
        if offset >= self.end() {
            return None;
        }
        let arrivals = Arc::clone(&self.state().source.as_ref()?.arrivals);
        arrivals.lock().of(offset)
    }

    /// The file with the span's bytes. None when it was truncated or closed.
    #[must_use]
    pub fn file(&self) -> Option<Arc<LogFile>> {
        self.state().source.as_ref().map(|source| Arc::clone(&source.file))
    }

    /// The file, and the last bytes that were published, as they are at one moment.
    #[must_use]
    pub fn file_and_tail(&self) -> Option<(Arc<LogFile>, Fingerprint)> {
        let state = self.state();
        let file = Arc::clone(&state.source.as_ref()?.file);
        Some((file, state.tail.clone()))
    }

    /// Whether a file that was created then had the log's name directly after this one. `proves`
    /// decides it. A proof is kept, because later writes to this file change its times.
    pub(in crate::log) fn precedes(&self, born: SystemTime, proves: impl FnOnce() -> bool) -> bool {
        if self.state().next_born != Some(born) && proves() {
            self.state().next_born = Some(born);
        }
        self.state().next_born == Some(born)
    }

    /// The identity of the file that has the bytes, open or not.
    pub(in crate::log) fn identity(&self) -> Identity {
        self.state().identity
    }

    /// The bytes are read from another file from now on, which has all of them.
    pub(super) fn replace_file(&self, file: &Arc<LogFile>) {
        let mut state = self.state();
        state.identity = file.identity();
        if let Some(source) = &mut state.source {
            source.file = Arc::clone(file);
        }
    }

    /// Adds published bytes at the end.
    pub(super) fn extend(&self, start: Offset, bytes: &[u8], now: SystemTime) {
        let end = start.plus(bytes.len());
        let mut state = self.state();
        if state.tail.offset() != start {
            state.tail = Fingerprint::at(start);
        }
        state.tail.advance(bytes);
        if let Some(source) = &state.source {
            source.arrivals.lock().note(start, now);
        }
        drop(state);
        self.end.store(end.0, Ordering::Release);
    }

    /// Moves the end on over bytes that are read from the file alone.
    pub(super) fn extend_to(&self, end: Offset) {
        self.state().tail = Fingerprint::at(end);
        self.end.store(end.0, Ordering::Release);
    }

    pub(super) fn source(&self) -> Option<Source> {
        self.state().source.clone()
    }

    pub(super) fn is_read(&self) -> bool {
        self.readers.load(Ordering::SeqCst) > 0
    }

    pub(super) fn let_go(&self) {
        self.state().source = None;
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SpanState> {
        self.state.lock()
    }
}

/// Keeps the files of a span and of those after it open while a viewer reads them.
#[derive(Debug)]
pub struct SpanReader(Arc<Span>);

impl SpanReader {
    /// Starts to read a span.
    #[must_use]
    pub fn enter(span: &Arc<Span>) -> Self {
        span.readers.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(span))
    }

    /// The span that is read.
    #[must_use]
    pub fn span(&self) -> &Arc<Span> {
        &self.0
    }
}

impl Deref for SpanReader {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for SpanReader {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}
