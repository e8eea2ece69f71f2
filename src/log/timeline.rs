//! What the follower has published, in order: the spans.
//!
//! A span is a run of bytes of one generation. A rotation, a truncation or a late write to a file that was rotated
//! away closes the span and begins the next. A viewer that could not keep up walks the spans in order and so meets
//! each discontinuity at its place, however late it comes.

mod arrival_times;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::log::file::{Fingerprint, LogFile};
use crate::log::position::{Generation, Offset};
use crate::log::timeline::arrival_times::ArrivalTimes;

/// So many spans are remembered at most.
pub const SPANS_MAX: usize = 1024;
/// So many files that are no longer the present one are held open for viewers that have not read them to the end.
pub const OLD_FILES_MAX: usize = 4;

/// So many files that were found again are remembered.
const ROTATED_MAX: usize = 256;
/// The spans that the follower publishes are counted from the next number; those of files that were found again, from 1.
pub const BEFORE_ALL: u64 = 1 << 32;

/// Why a span began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The follower's first.
    Joined,
    /// The file was renamed, and another has its name.
    Rotated,
    /// The file was cut, and may have grown since.
    Truncated,
    /// Another file has the name, and the old one was not renamed: it was removed, or a link leads elsewhere.
    Replaced,
    /// A writer still wrote to a file that was rotated away.
    Late,
    /// On with the present file, or with one that got its name back while it was still heard.
    Back,
}

/// Why there is nothing to follow at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Nothing has the log's name.
    Missing,
    /// Something has it that is no regular file inside the prefixes.
    Untailable,
    /// It can't be opened or read.
    Unreadable,
}

/// A run of bytes of one generation, in the order in which the follower published them.
#[derive(Debug)]
pub struct Span {
    /// Counted up for each follower, from [`BEFORE_ALL`] for what it publishes.
    pub number: u64,
    /// Whose bytes they are.
    pub generation: Generation,
    /// Where it begins.
    pub from: Offset,
    /// Why it began.
    pub reason: Reason,
    end: AtomicU64,
    readers: AtomicUsize,
    state: Mutex<TimelineState>,
}

/// A viewer that has not left a span yet: its file is kept for it, and so are those of the spans that follow.
#[derive(Debug)]
pub struct Reader(Arc<Span>);

impl Reader {
    /// Enters a span.
    #[must_use]
    pub fn enter(span: &Arc<Span>) -> Self {
        span.readers.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(span))
    }

    /// The span that was entered.
    #[must_use]
    pub fn span(&self) -> &Arc<Span> {
        &self.0
    }
}

impl Deref for Reader {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.0
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug)]
struct TimelineState {
    /// The generation as it is signed by now.
    signed: Generation,
    closed: bool,
    /// The bytes are gone for good: the file was truncated.
    lost: bool,
    /// The last bytes that were published.
    tail: Fingerprint,
    arrivals: ArrivalTimes,
    /// None once the bytes can't be read any more.
    file: Option<Arc<LogFile>>,
}

impl Span {
    /// A file that was rotated away before the follower began: it comes before all that is published.
    fn before_all(number: u64, generation: Generation, file: Arc<LogFile>, end: Offset) -> Self {
        Self {
            number,
            generation,
            from: Offset(0),
            reason: Reason::Joined,
            end: AtomicU64::new(end.0),
            readers: AtomicUsize::new(0),
            state: Mutex::new(TimelineState {
                signed: generation,
                tail: Fingerprint::at(end),
                arrivals: ArrivalTimes::default(),
                closed: true,
                lost: false,
                file: Some(file),
            }),
        }
    }

    /// Whether it is of a file that was rotated away before the follower began, and was found again.
    #[must_use]
    pub fn is_before_all(&self) -> bool {
        self.number <= BEFORE_ALL
    }

    /// The generation as it is signed by now: a short file is signed anew as it grows.
    #[must_use]
    pub fn signed(&self) -> Generation {
        self.state().signed
    }

    /// The offset after the last published byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    /// Whether nothing more will be published in it. Ask this before `end`: the end of a closed span is final.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The last bytes that were published: as long as the file has them there, what is before them is as it was.
    #[must_use]
    pub fn tail(&self) -> Fingerprint {
        self.state().tail.clone()
    }

    /// When a byte came, to about a tenth of a second; none for one that was there before it was followed.
    #[must_use]
    pub fn arrived(&self, offset: Offset) -> Option<SystemTime> {
        self.state().arrivals.of(offset).filter(|_| offset < self.end())
    }

    /// The file to read its bytes from; none when it was truncated, or had to be given up.
    #[must_use]
    pub fn file(&self) -> Option<Arc<LogFile>> {
        self.state().file.clone()
    }

    fn state(&self) -> MutexGuard<'_, TimelineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What follows a span.
#[derive(Debug)]
pub enum Next {
    /// The next span.
    Span(Reader),
    /// Nothing yet: the span is open, or the follower is between two.
    Nothing,
    /// The log is waited for.
    Waiting(WaitReason),
    /// The follower has ended.
    Ended,
}

/// The spans of one log.
#[derive(Debug, Default)]
pub struct Timeline {
    spans: VecDeque<Arc<Span>>,
    begun: u64,
    found: u64,
    waiting: Option<WaitReason>,
    ended: bool,
    /// When the file of the first span was made that is not of a late writer.
    first_born: Option<SystemTime>,
    /// Files that were rotated away before, and were found again.
    rotated: VecDeque<Arc<Span>>,
}

impl Timeline {
    /// Begins a span, behind the bytes that the file has `before`, and closes the one before.
    pub fn begin(
        &mut self,
        generation: Generation,
        before: Fingerprint,
        reason: Reason,
        file: Arc<LogFile>,
    ) {
        self.close(false);
        self.waiting = None;
        self.begun += 1;
        let from = before.offset();
        if reason != Reason::Late && self.first_born.is_none() {
            self.first_born = file.born();
        }
        self.spans.push_back(Arc::new(Span {
            number: BEFORE_ALL + self.begun,
            generation,
            from,
            reason,
            end: AtomicU64::new(from.0),
            readers: AtomicUsize::new(0),
            state: Mutex::new(TimelineState {
                signed: generation,
                tail: before,
                arrivals: ArrivalTimes::default(),
                closed: false,
                lost: false,
                file: Some(file),
            }),
        }));
    }

    /// Takes a generation's later signature for all its spans.
    pub fn sign(&mut self, signed: Generation) {
        if self.spans.back().is_some_and(|span| span.signed() != signed) {
            for span in self.spans.iter().filter(|span| span.generation.is(&signed)) {
                span.state().signed = signed;
            }
        }
    }

    /// Adds published bytes to the open span and gives its number.
    pub fn extend(&mut self, start: Offset, bytes: &[u8]) -> Option<u64> {
        let span = self.spans.back()?;
        let end = start.plus(bytes.len());
        let mut state = span.state();
        if state.tail.offset() != start {
            state.tail = Fingerprint::at(start);
        }
        state.tail.advance(bytes);
        state.arrivals.note(start, SystemTime::now());
        drop(state);
        span.end.store(end.0, Ordering::Release);
        Some(span.number)
    }

    /// Closes the open span. When its bytes are `lost`, so are those of every span of its file.
    pub fn close(&mut self, lost: bool) {
        let Some(last) = self.spans.back() else { return };
        last.state().closed = true;
        if lost && let Some(file) = last.file() {
            for span in &self.spans {
                let mut state = span.state();
                let is_same = |other: &mut Arc<LogFile>| Arc::ptr_eq(other, &file);
                state.lost |= state.file.take_if(is_same).is_some();
            }
        }
    }

    /// Closes the open span because there is nothing to follow.
    pub fn wait(&mut self, reason: WaitReason) {
        self.close(false);
        self.waiting = Some(reason);
    }

    /// Says that nothing will come any more.
    pub fn end(&mut self) {
        self.close(false);
        self.ended = true;
    }

    /// The latest span, if there is one.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<Span>> {
        self.spans.back()
    }

    /// Whether there is nothing to follow.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// What follows the span of this number. A next span is entered at once, so that its file is not let go before.
    #[must_use]
    pub fn after(&self, number: u64) -> Next {
        let first = self.spans.front().map_or(0, |span| span.number);
        let at = usize::try_from((number + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(span) = self.spans.get(at) {
            Next::Span(Reader::enter(span))
        } else if self.ended {
            Next::Ended
        } else {
            self.waiting.map_or(Next::Nothing, Next::Waiting)
        }
    }

    /// The span in which a position lies, if its bytes can still be read.
    #[must_use]
    pub fn find(&self, generation: Generation, offset: Offset) -> Option<Arc<Span>> {
        let mut spans =
            self.spans.iter().filter(|span| span.generation.is(&generation)).enumerate();
        let rotated = self.rotated(generation).filter(|span| offset <= span.end());
        let span = rotated.or_else(|| {
            let (_, span) = spans.find(|(nth, span)| {
                // The first span of a file has all that was before it; those that follow go on after others.
                let is_first = *nth == 0 && span.reason != Reason::Late;
                let from = if is_first { Offset(0) } else { span.from };
                (from..=span.end()).contains(&offset)
            })?;
            Some(span)
        })?;
        span.file().is_some().then(|| Arc::clone(span))
    }

    /// The last span of a generation: where it ends, all that was published of that ends.
    #[must_use]
    pub fn last_of(&self, generation: Generation) -> Option<Arc<Span>> {
        self.spans.iter().rev().find(|span| span.generation.is(&generation)).cloned()
    }

    /// The last span of a generation that nobody meets any more who is in the span of this number or goes on from there.
    #[must_use]
    pub fn last_before(&self, number: u64, generation: Generation) -> Option<Arc<Span>> {
        let earlier = self.spans.iter().filter(|span| span.number < number);
        let mut spans = self.rotated.iter().chain(earlier);
        spans.rfind(|span| span.generation.is(&generation)).cloned()
    }

    /// Where one goes on who has been given a span, and of the late bytes behind it those that `is_begun` names:
    /// in that span, or behind those spans of late bytes.
    #[must_use]
    pub fn behind(&self, span: &Arc<Span>, is_begun: impl Fn(&Span) -> bool) -> Arc<Span> {
        let mut at = span;
        for next in self.spans.iter().filter(|next| next.number > span.number) {
            if next.generation.is(&span.generation) && next.from == span.end() {
                at = next;
            } else if !is_begun(next) {
                break;
            }
        }
        Arc::clone(at)
    }

    /// Whether this generation is the follower's own, though its bytes may be gone.
    #[must_use]
    pub fn knows(&self, generation: Generation) -> bool {
        self.spans.iter().any(|span| span.generation.is(&generation))
    }

    /// Whether this generation's bytes are gone, whatever its file has now.
    #[must_use]
    pub fn has_lost(&self, generation: Generation) -> bool {
        self.spans.iter().any(|span| span.generation.is(&generation) && span.state().lost)
    }

    /// The latest span of a file with this generation's inode, under whatever generation, if it was not truncated.
    #[must_use]
    pub fn twin(&self, generation: Generation) -> Option<Arc<Span>> {
        let is_twin = |span: &&Arc<Span>| span.generation.identity == generation.identity;
        self.spans.iter().rev().find(is_twin).filter(|span| !span.state().lost).cloned()
    }

    /// The span of a file that was rotated away before the first one, and was found again.
    #[must_use]
    pub fn rotated(&self, generation: Generation) -> Option<&Arc<Span>> {
        self.rotated.iter().find(|span| span.generation.is(&generation))
    }

    /// When the file was made with which the follower began.
    #[must_use]
    pub fn first_born(&self) -> Option<SystemTime> {
        self.first_born
    }

    /// Takes a file in that was found again, and gives the span that holds the position, and whether it is new. None when
    /// too many are read.
    ///
    /// It goes on under the generation that was `asked` for, or under the one that it had when it was found before, only
    /// if that was given here. A server before this one may have given its name to what a truncation has ended since.
    pub fn take_in(
        &mut self,
        asked: Option<Generation>,
        offset: Offset,
        generation: Generation,
        head: &[u8],
        file: Arc<LogFile>,
        end: Offset,
    ) -> Option<(Arc<Span>, bool)> {
        let is_own = |asked: &Generation| self.rotated(*asked).is_some() || self.knows(*asked);
        let was_found = |span: &&Arc<Span>| {
            let signed = span.signed();
            signed.identity == generation.identity && signed.is_of(head) && span.end() <= end
        };
        let found_before = || Some(self.rotated.iter().find(was_found)?.generation);
        if let Some(known) = asked.filter(is_own).or_else(found_before) {
            let spans = self.rotated.iter().chain(&self.spans);
            for span in spans.filter(|span| span.generation.is(&known)) {
                span.state().file.get_or_insert_with(|| Arc::clone(&file));
            }
            return self.find(known, offset).map(|span| (span, false));
        }
        self.let_go_of_rotated();
        if self.rotated.iter().filter(|span| span.file().is_some()).count() >= OLD_FILES_MAX {
            return None;
        }
        self.found += 1;
        let span = Arc::new(Span::before_all(self.found, generation, file, end));
        self.rotated.push_back(Arc::clone(&span));
        Some((span, true))
    }

    /// Files that were found again are held for as long as somebody reads them. Where they end is remembered.
    fn let_go_of_rotated(&mut self) {
        for span in &self.rotated {
            if span.readers.load(Ordering::SeqCst) == 0 {
                span.state().file = None;
            }
        }
        if self.rotated.len() > ROTATED_MAX {
            self.rotated.pop_front();
        }
    }

    /// Lets go of the files that nobody needs any more, and of the oldest of too many. What a viewer has not read by
    /// then is a gap to it.
    pub fn prune(&mut self) {
        self.let_go_of_rotated();
        while self.spans.len() > SPANS_MAX {
            if let Some(span) = self.spans.pop_front() {
                span.state().file = None;
            }
        }
        let open = self.spans.back().filter(|span| !span.is_closed()).map(|span| span.number);
        let mut files: Vec<(Arc<LogFile>, usize)> = Vec::new();
        for file in self.spans.iter().filter_map(|span| span.file()) {
            match files.iter_mut().find(|(other, _)| Arc::ptr_eq(other, &file)) {
                Some((_, spans)) => *spans += 1,
                None => files.push((file, 1)),
            }
        }
        // Whoever reads a span will need the files of those after it, and so will who reads one from before all these.
        let is_read = |span: &Arc<Span>| span.readers.load(Ordering::SeqCst) > 0;
        let mut read = self.rotated.iter().any(is_read);
        for span in &self.spans {
            read |= is_read(span);
            let Some(file) = span.file() else { continue };
            // A file is held by its spans, by the list above and by this variable; what is more is the tracker.
            let ours = files
                .iter()
                .find(|(other, _)| Arc::ptr_eq(other, &file))
                .map_or(0, |(_, spans)| *spans);
            let tracked = Arc::strong_count(&file) > ours + 2;
            if !read && !tracked && open != Some(span.number) {
                span.state().file = None;
            }
        }
        drop(files);
        self.give_up_oldest_files();
    }

    fn give_up_oldest_files(&self) {
        let mut kept: Vec<Arc<LogFile>> = Vec::with_capacity(OLD_FILES_MAX + 1);
        for span in self.spans.iter().rev() {
            let Some(file) = span.file() else { continue };
            if kept.iter().any(|other| Arc::ptr_eq(other, &file)) {
                continue;
            }
            if kept.len() > OLD_FILES_MAX {
                span.state().file = None;
            } else {
                kept.push(file);
            }
        }
    }
}
