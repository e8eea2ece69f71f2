//! What the follower of a log has published, in order: a list of spans.
//!
//! A span is a run of bytes of one generation. A rotation, a truncation or a late write to a file
//! that was rotated away closes the span and begins the next. A viewer that could not keep up reads
//! the spans in order, and so receives each discontinuity in its place, however late.

mod arrival_times;
mod retention;
mod span;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use crate::encoding::Detection;
use crate::log::access::Identity;
use crate::log::file::LogFile;
use crate::log::fingerprint::Fingerprint;
use crate::log::position::{Generation, Offset, SIGNATURE_BYTES_MIN, Signature, TimelinePosition};
use crate::log::rotated::Followed;
use crate::log::timeline::span::Source;

pub use span::{ROTATED_NUMBER_MAX, Reason, Span, SpanReader, WaitReason};

/// The most spans that are remembered.
pub const SPANS_MAX: usize = 1024;
/// The most old files of a log that are open: those that viewers have not read to the end, those that
/// may still get late bytes, and those that were found again for a viewer that came back.
pub const OLD_FILES_MAX: usize = 4;

/// What is known of the head of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The generation, signed by it.
    pub signed: Generation,
    /// The encoding that it names.
    pub detection: Detection,
}

/// What follows a span.
#[derive(Debug)]
pub enum Next {
    /// The next span.
    Span(SpanReader),
    /// Nothing yet: the span is open, or the follower is between two spans.
    Nothing,
    /// There is no file to follow.
    Waiting(WaitReason),
    /// The follower has ended.
    Ended,
}

/// The spans of one log.
#[derive(Debug, Default)]
pub struct Timeline {
    spans: VecDeque<Arc<Span>>,
    /// How many spans have begun.
    begun: u64,
    /// How many rotated files have been found again.
    found: u64,
    waiting: Option<WaitReason>,
    ended: bool,
    /// When the file of the first span was created. The file of a late writer does not count.
    first_born: Option<SystemTime>,
    /// Files that were rotated away before the follower started and were found again.
    rotated: VecDeque<Arc<Span>>,
    /// Other files may have had the log's name before the span that begins next.
    are_files_missing: bool,
    /// A file other than that of the open span may be open, so there may be one to close.
    may_hold_old_files: bool,
}

impl Timeline {
    /// Closes the open span and begins one behind the bytes of `before`.
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
        if reason != Reason::Late && self.first_born.is_none() {
            self.first_born = file.born();
        }
        let source = self.source_of(generation, file);
        self.open_again(generation, &source);
        let number = ROTATED_NUMBER_MAX + self.begun;
        let mut span = Span::open(number, generation, before, reason, source);
        span.are_files_missing = std::mem::take(&mut self.are_files_missing);
        self.spans.push_back(Arc::new(span));
    }

    /// Where the bytes of a generation are read from once this is its file.
    fn source_of(&self, generation: Generation, file: Arc<LogFile>) -> Source {
        let earlier = self.spans.iter().rev().filter(|span| span.generation.is(&generation));
        match earlier.filter_map(|span| span.source()).next() {
            Some(known) if known.is_of(&file) => known,
            Some(Source { arrivals, .. }) => Source { file, found: 0, arrivals },
            None => Source::new(file, 0),
        }
    }

    /// Lets viewers read all spans of a generation from this source. They share one open file, so
    /// none is closed for one span while another still has it open.
    fn open_again(&self, generation: Generation, source: &Source) {
        let spans = self.rotated.iter().chain(&self.spans);
        for span in spans.filter(|span| span.generation.is(&generation)) {
            let mut state = span.state();
            let is_open = state.source.as_ref().is_some_and(|open| open.is_of(&source.file));
            if !state.lost && !is_open {
                state.source = Some(source.clone());
            }
        }
    }

    /// Gives what is known of the head of a generation's file to all its spans.
    pub fn sign(&mut self, Head { signed, detection }: Head) {
        let is_new = |span: &Arc<Span>| {
            let state = span.state();
            (state.signed, state.detection) != (signed, detection)
        };
        if self.spans.back().is_some_and(is_new) {
            for span in self.spans.iter().filter(|span| span.generation.is(&signed)) {
                let mut state = span.state();
                (state.signed, state.detection) = (signed, detection);
            }
        }
    }

    /// Adds published bytes to the open span and returns its number. None when there is no span.
    pub fn extend(&mut self, start: Offset, bytes: &[u8]) -> Option<u64> {
        let span = self.spans.back()?;
        span.extend(start, bytes, SystemTime::now());
        Some(span.number)
    }

    /// Adds bytes to the open span that viewers have to read from its file.
    pub fn extend_to(&mut self, end: Offset) {
        if let Some(span) = self.spans.back().filter(|span| span.end() < end) {
            span.extend_to(end);
        }
    }

    /// Other files may have had the log's name before the span that begins next, and can't be given.
    pub fn files_are_missing(&mut self) {
        self.are_files_missing = true;
    }

    /// The bytes of a generation are read from another file from now on, which has all of them.
    pub fn replace_file(&mut self, generation: Generation, file: &Arc<LogFile>) {
        self.may_hold_old_files = true;
        for span in self.spans.iter().filter(|span| span.generation.is(&generation)) {
            span.replace_file(file);
        }
    }

    /// The generation by the name of the file that has its bytes, which need not be the one that it
    /// was named after.
    pub(super) fn on_disk(&self, generation: Generation) -> Generation {
        let mut spans = self.spans.iter().rev();
        let identity = spans
            .find(|span| span.generation.is(&generation))
            .map_or(generation.identity, |span| span.identity());
        Generation { identity, ..generation }
    }

    /// Closes the open span. When its bytes are `lost`, so are those of every span of its file.
    pub fn close(&mut self, lost: bool) {
        let Some(last) = self.spans.back() else { return };
        self.may_hold_old_files = true;
        last.state().closed = true;
        if lost && let Some(file) = last.file() {
            for span in &self.spans {
                let mut state = span.state();
                state.lost |= state.source.take_if(|source| source.is_of(&file)).is_some();
            }
        }
    }

    /// Closes the open span because there is nothing to follow.
    pub fn wait(&mut self, reason: WaitReason) {
        self.close(false);
        self.waiting = Some(reason);
    }

    /// Closes the open span for good: nothing will be published any more.
    pub fn end(&mut self) {
        self.close(false);
        self.ended = true;
    }

    /// The latest span, if there is one.
    #[must_use]
    pub fn latest(&self) -> Option<&Arc<Span>> {
        self.spans.back()
    }

    /// The latest span, if its file has the log's name as far as that is known.
    #[must_use]
    pub fn present(&self) -> Option<&Arc<Span>> {
        let is_there = matches!(self.waiting, None | Some(WaitReason::Unreachable));
        self.spans.back().filter(|_| is_there)
    }

    /// The first span of a generation that was followed.
    pub(super) fn first_of(&self, generation: Generation) -> Option<Arc<Span>> {
        let mut spans = self.spans.iter().filter(|span| span.reason != Reason::Late);
        spans.find(|span| span.generation.is(&generation)).cloned()
    }

    /// The number of the span before the first one of a file that was followed under this generation.
    /// A truncation may have ended another one of the same file.
    pub(super) fn before_first_of(&self, generation: Generation) -> Option<u64> {
        let is_followed = |span: &Arc<Span>| span.reason != Reason::Late;
        let mut first = self
            .spans
            .iter()
            .position(|span| is_followed(span) && span.generation.is(&generation))?;
        let is_of_it = |span: &&Arc<Span>| span.generation.identity == generation.identity;
        while let Some(before) = first.checked_sub(1)
            && self.spans.get(before).filter(is_of_it).is_some_and(is_followed)
        {
            first = before;
        }
        self.spans.get(first).map(|span| span.number - 1)
    }

    /// Why there is nothing to follow.
    #[must_use]
    pub fn waiting(&self) -> Option<WaitReason> {
        self.waiting
    }

    /// What follows the span of this number. The reader of the next span is created under the
    /// timeline's lock, so that the span's file is not closed before.
    #[must_use]
    pub fn after(&self, number: u64) -> Next {
        let first = self.spans.front().map_or(0, |span| span.number);
        let at = usize::try_from((number + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        if let Some(span) = self.spans.get(at) {
            Next::Span(SpanReader::enter(span))
        } else if self.ended {
            Next::Ended
        } else {
            self.waiting.map_or(Next::Nothing, Next::Waiting)
        }
    }

    /// The span that holds a position. None when there is none, or when its file is closed.
    #[must_use]
    pub fn find(&self, generation: Generation, offset: Offset) -> Option<Arc<Span>> {
        let mut spans =
            self.spans.iter().filter(|span| span.generation.is(&generation)).enumerate();
        let rotated = self.rotated(generation).filter(|span| offset <= span.end());
        let span = rotated.or_else(|| {
            let (_, span) = spans.find(|(nth, span)| {
                // The first span of a file also covers all bytes before it. A later one continues
                // after the span before.
                let is_first = *nth == 0 && span.reason != Reason::Late;
                let from = if is_first { Offset(0) } else { span.from };
                (from..=span.end()).contains(&offset)
            })?;
            Some(span)
        })?;
        span.file().is_some().then(|| Arc::clone(span))
    }

    /// The span of a followed file in which a reader of its first bytes goes on at this offset. None if
    /// the file was not followed.
    pub(super) fn followed_at(&self, generation: Generation, offset: Offset) -> Option<Arc<Span>> {
        let is_of_file =
            |span: &&Arc<Span>| span.generation.is(&generation) && span.reason != Reason::Late;
        let mut spans = self.spans.iter().filter(is_of_file);
        let last = spans.clone().next_back()?;
        Some(Arc::clone(spans.find(|span| span.end() >= offset).unwrap_or(last)))
    }

    /// The generation with which following began, as far as it is still known.
    pub(super) fn first_generation(&self) -> Option<Generation> {
        self.spans.front().map(|span| span.generation)
    }

    /// The last span of a generation. Its end is the end of all that was published of it.
    #[must_use]
    pub fn last_of(&self, generation: Generation) -> Option<Arc<Span>> {
        self.spans.iter().rev().find(|span| span.generation.is(&generation)).cloned()
    }

    /// The last span of `generation` before span `number`.
    #[must_use]
    pub fn last_before(&self, number: u64, generation: Generation) -> Option<Arc<Span>> {
        let earlier = self.spans.iter().filter(|span| span.number < number);
        let mut spans = self.rotated.iter().chain(earlier);
        spans.rfind(|span| span.generation.is(&generation)).cloned()
    }

    /// How many published bytes come after a position.
    #[must_use]
    pub fn bytes_after(&self, position: TimelinePosition) -> u64 {
        let spans = self.rotated.iter().chain(&self.spans);
        spans
            .map(|span| match span.number.cmp(&position.span) {
                Ordering::Less => 0,
                Ordering::Equal => span.end().0.saturating_sub(position.offset.0),
                Ordering::Greater => span.end().0.saturating_sub(span.from.0),
            })
            .sum()
    }

    /// The span in which to resume after `span`. Late spans that were delivered already, as
    /// `is_begun` says, are skipped.
    #[must_use]
    pub fn resume_span(&self, span: &Arc<Span>, is_begun: impl Fn(&Span) -> bool) -> Arc<Span> {
        let mut resumed = span;
        for next in self.spans.iter().filter(|next| next.number > span.number) {
            if next.generation.is(&span.generation) && next.from == span.end() {
                resumed = next;
            } else if !is_begun(next) {
                break;
            }
        }
        Arc::clone(resumed)
    }

    /// The generation under which this file is known already: one that was followed, or that was
    /// found before. `head` is what its content begins with.
    pub(super) fn known_file(&self, file: Identity, head: &[u8]) -> Option<Generation> {
        let spans = self.spans.iter().rev().chain(&self.rotated);
        let mut known = spans.filter(|span| !span.state().lost);
        // Of a few bytes any file may be that got the inode meanwhile.
        let is_enough = |signature: Signature| {
            signature.bytes() >= SIGNATURE_BYTES_MIN || signature.bytes() == head.len()
        };
        let is_of_it = |span: &&Arc<Span>| {
            let signed = span.signed();
            span.identity() == file && is_enough(signed.signature) && signed.is_of(head)
        };
        known.find(is_of_it).map(|span| span.signed())
    }

    /// The generation under which a file of another machine is known already, which now calls it so.
    pub(super) fn known_twin(&self, generation: &Generation) -> Option<Generation> {
        let spans = self.spans.iter().rev().chain(&self.rotated);
        let mut known = spans.filter(|span| !span.state().lost).map(|span| span.signed());
        known.find(|known| known.is(generation) || known.has_signature_of(generation))
    }

    /// The generation of a file which `is_gone`, and whose content begins as that of a compressed file:
    /// one that was followed, or that was found before.
    pub(super) fn known_content(
        &self,
        head: &[u8],
        is_gone: impl Fn(&Generation, Identity) -> bool,
    ) -> Option<Generation> {
        let spans = self.spans.iter().rev().chain(&self.rotated);
        let mut known = spans.filter(|span| !span.state().lost);
        let is_of_it = |span: &&Arc<Span>| {
            let signed = span.signed();
            span.is_signed()
                && signed.signature.is_of_content(head)
                && is_gone(&signed, span.identity())
        };
        known.find(is_of_it).map(|span| span.signed())
    }

    /// Whether the follower has published spans of this generation, though its bytes may be gone.
    #[must_use]
    pub fn contains(&self, generation: Generation) -> bool {
        self.spans.iter().any(|span| span.generation.is(&generation))
    }

    /// Whether a generation was followed from its beginning, or from where following began, and not
    /// only for late bytes.
    pub(super) fn turned_to(&self, generation: Generation) -> bool {
        let mut turned = self.spans.iter().filter(|span| span.reason != Reason::Late);
        turned.any(|span| span.generation.is(&generation))
    }

    /// Whether a truncation has removed this generation's bytes, whatever the file holds now.
    #[must_use]
    pub fn is_lost(&self, generation: Generation) -> bool {
        self.spans.iter().any(|span| span.generation.is(&generation) && span.state().lost)
    }

    /// Whether the follower has published a span of this file.
    #[must_use]
    pub fn has_followed(&self, file: Identity) -> bool {
        self.spans.iter().any(|span| span.generation.identity == file)
    }

    /// The latest span of a file with this generation's inode, whatever its generation. None when
    /// that file was truncated since.
    #[must_use]
    pub fn latest_of_inode(&self, generation: Generation) -> Option<Arc<Span>> {
        let is_same = |span: &&Arc<Span>| span.identity() == generation.identity;
        self.spans.iter().rev().find(is_same).filter(|span| !span.state().lost).cloned()
    }

    /// The span of a file that was rotated away before the first span and was found again.
    #[must_use]
    pub fn rotated(&self, generation: Generation) -> Option<&Arc<Span>> {
        self.rotated.iter().find(|span| span.generation.is(&generation))
    }

    /// What has been followed. None when no file has been followed, or the file system does not say
    /// when it was created.
    pub(super) fn followed(&self) -> Option<Followed> {
        let files = self.spans.iter().map(|span| span.identity()).collect();
        let signed = self.spans.iter().filter(|span| !span.state().lost && span.is_signed());
        let contents = signed.map(|span| span.signed()).collect();
        Some(Followed { born: self.first_born?, files, contents })
    }
}
