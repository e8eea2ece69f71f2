//! One viewer of a log: it moves a [`Cursor`] by the follower's events and by reads of the file.
//!
//! The cursor decides, and the viewer does the IO. A viewer that is behind reads the file, and one
//! that keeps up takes the shared chunks. At the end of a span the viewer enters the next one. So
//! late join, lag and reconnect follow one rule.

mod item;
mod late;
mod seek;
mod time;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;

use crate::encoding::{Encoding, Layout};
use crate::log::file::{LogFile, Nuls, Read, Status};
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::mirrored::is_mirrored;
use crate::log::timeline::{Next, ROTATED_NUMBER_MAX, Reason, Span};
use crate::log::{
    Event, Follower, Generation, LogPath, Offset, Presence, Subscription, TimelinePosition,
};
use crate::session::cursor::{
    Cursor, Mode, NextSpan, Options, ReadOutcome, SpanCursor, SpanHandle, SpanState, Step,
};
use crate::session::merge::MergedChunks;
use crate::session::reads::FileReads;
use crate::session::viewer::time::AwaitedEnd;
use crate::wire::message::Opening;
use crate::wire::request::{StartAt, StreamRequest};
pub use item::Item;

/// The most bytes that a viewer reads of the file at once. A thousand usual lines fit into one
/// message.
const READ_BYTES_MAX: usize = 192 * 1024;

/// The pause after a read that failed.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// A range of bytes of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The number of the span.
    pub span: u64,
    /// The offset of the first byte.
    pub from: Offset,
    /// The offset after the last byte.
    pub end: Offset,
}

impl ByteRange {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.end.0.saturating_sub(self.from.0)
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A viewer's cursor without its viewer: enough to continue the stream for another one.
#[derive(Debug)]
pub struct SavedCursor(Cursor<SpanHandle>);

impl SavedCursor {
    /// The same cursor at an earlier offset of its span.
    pub(super) fn rewound_to(mut self, offset: Offset) -> Self {
        self.0.rewind_to(offset);
        self
    }
}

/// Where a stream starts, with what was read there.
struct Start {
    status: Option<Status>,
    /// The first bytes, until they are returned.
    bytes: Option<(TimelinePosition, Bytes)>,
}

/// One viewer of one log.
pub struct Viewer {
    subscription: Subscription,
    request: StreamRequest,
    reads: Arc<FileReads>,
    cursor: Cursor<SpanHandle>,
    /// Whether the stream starts at the requested position, as far as that is known.
    recovered: bool,
    /// The start of the stream, until it has been opened and the first bytes are returned.
    start: Option<Box<Start>>,
    /// The start of the stream, if a row of the log begins there.
    row_start: Option<TimelinePosition>,
    /// For a viewer that serves a group: chunks that have queued up are merged into one.
    merged: Option<Arc<MergedChunks>>,
    /// An event that was received with the chunks before it, and is due.
    received: Option<Result<Event, RecvError>>,
    /// The end of the wanted time, for a viewer that follows up to then.
    ends_at: Option<Box<AwaitedEnd>>,
    /// Where the next read of the file ends at the latest.
    reads_up_to: Option<Offset>,
    /// Where in an old file of another machine's log the viewer was when there was nothing to follow.
    left: Option<Box<Left>>,
}

/// A place in a file that the viewer has left.
struct Left {
    span: Arc<Span>,
    before: Fingerprint,
}

fn look(handle: &SpanHandle) -> SpanState {
    SpanState::of(handle.span())
}

fn options(request: &StreamRequest, until: TimelinePosition) -> Options {
    let (signed, skip) = (request.signed, request.skip);
    Options { until: (!request.tail).then_some(until), stop: None, signed, skip }
}

impl Viewer {
    /// A viewer with a subscription to a log. Finds the start of the stream.
    ///
    /// The first bytes are read in the same step, unless `reads_ahead` returns false for them
    /// because another session already has them.
    pub async fn new(
        subscription: Subscription,
        request: StreamRequest,
        reads: Arc<FileReads>,
        reads_ahead: impl FnOnce(ByteRange) -> bool + Send + 'static,
    ) -> Self {
        let nowhere = TimelinePosition { span: 0, offset: Offset(0) };
        let cursor = Cursor::new(options(&request, nowhere), ROTATED_NUMBER_MAX);
        let mut viewer = Self::at_cursor(subscription, request, reads, cursor);
        if !viewer.subscription.is_barred {
            viewer.seek_from_present(reads_ahead).await;
        }
        viewer
    }

    /// A viewer that continues from a saved cursor, and has received everything before it.
    #[must_use]
    pub fn resume(
        subscription: Subscription,
        request: StreamRequest,
        reads: Arc<FileReads>,
        SavedCursor(cursor): SavedCursor,
    ) -> Self {
        let nowhere = TimelinePosition { span: 0, offset: Offset(0) };
        let cursor = cursor.resumed(options(&request, nowhere));
        Self::at_cursor(subscription, request, reads, cursor)
    }

    fn at_cursor(
        subscription: Subscription,
        request: StreamRequest,
        reads: Arc<FileReads>,
        cursor: Cursor<SpanHandle>,
    ) -> Self {
        let (start, row_start, merged, received) = (None, None, None, None);
        Self {
            subscription,
            request,
            reads,
            cursor,
            recovered: true,
            start,
            row_start,
            merged,
            received,
            ends_at: None,
            reads_up_to: None,
            left: None,
        }
    }

    /// The cursor, to continue from it later.
    #[must_use]
    pub fn saved_cursor(&self) -> SavedCursor {
        SavedCursor(self.cursor.clone())
    }

    /// The position of a viewer that follows and has received everything. None while there is
    /// something to send.
    #[must_use]
    pub fn idle_position(&self) -> Option<(TimelinePosition, Generation)> {
        let is_idle = self.received.is_none()
            && self.ends_at.is_none()
            && self.subscription.events.is_empty()
            && self.cursor.is_idle(look);
        if is_idle { self.timeline_position() } else { None }
    }

    /// The position up to which everything was sent, and its generation as the viewer knows it.
    /// None while the log has no file.
    #[must_use]
    pub fn timeline_position(&self) -> Option<(TimelinePosition, Generation)> {
        self.cursor.at().map(|at| (at.position(), at.generation))
    }

    /// From now on this viewer serves a group, whose viewers are counted themselves. It leaves
    /// nothing out, and merges chunks that have queued up. Returns its own presence.
    pub fn detach(&mut self, merged: Arc<MergedChunks>) -> Option<Presence> {
        self.cursor.keep_all();
        self.merged = Some(merged);
        self.subscription.take_presence()
    }

    /// The follower of the log.
    #[must_use]
    pub fn follower(&self) -> &Arc<Follower> {
        &self.subscription.follower
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &LogPath {
        self.subscription.follower.log()
    }

    /// Whether lines that exist already were requested.
    #[must_use]
    pub fn wants_history(&self) -> bool {
        self.request.begin != StartAt::Lines(0)
    }

    /// Whether the stream starts at the requested position, as far as that is known.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovered
    }

    /// The number of the span that the viewer is in, or was last in.
    #[must_use]
    pub fn span_number(&self) -> u64 {
        self.cursor.span_number()
    }

    /// The position from which a client resumes. None while the log has no file.
    #[must_use]
    pub fn position(&self) -> Option<(Generation, Offset)> {
        self.cursor.at().map(|at| (at.generation, at.offset()))
    }

    /// The span that the viewer is in. None while the log has no file.
    #[must_use]
    pub fn span(&self) -> Option<&Arc<Span>> {
        self.cursor.at().map(|at| at.handle.span())
    }

    /// The existing bytes that come next. None when something else comes first.
    #[must_use]
    pub fn history(&self) -> Option<ByteRange> {
        // Whether the bytes are wanted is found out as they are given.
        if self.ends_at.is_some() {
            return None;
        }
        let end = self.cursor.history_end(look)?;
        self.cursor.at().map(|at| ByteRange { span: at.span, from: at.offset(), end })
    }

    /// Continues after bytes that the viewer received from another source.
    pub fn pass(&mut self, end: &Fingerprint) {
        self.start = None;
        self.cursor.pass(end);
    }

    /// How far beyond `end`, up to where bytes are wanted for certain, the viewer may go on with what
    /// others were sent.
    #[must_use]
    pub fn limit(&self, end: Offset) -> Offset {
        let is_unlimited = self.ends_at.is_none() && self.cursor.is_unlimited();
        if is_unlimited { Offset(u64::MAX) } else { end }
    }

    /// The next read of the file ends at this offset or before it.
    pub fn read_up_to(&mut self, end: Option<Offset>) {
        self.reads_up_to = end;
    }

    /// Whether the stream starts at this offset of its span and a row of the log begins there.
    #[must_use]
    pub fn begins_row(&self, offset: Offset) -> bool {
        self.row_start == Some(TimelinePosition { span: self.span_number(), offset })
    }

    /// Drops the first bytes, if they were read already. They are read again when they are due.
    pub fn forget_read_ahead(&mut self) {
        if let Some(start) = &mut self.start {
            start.bytes = None;
        }
    }

    /// The next offset with the bytes before it. None while the log has no file.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.cursor.at().map(|at| at.fingerprint.clone())
    }

    /// The next announcement before the stream continues. None when there is none.
    pub(super) fn announcement(&mut self) -> Option<Item> {
        let step = self.cursor.announcement(look)?;
        self.announce(step)
    }

    /// The next item. Dropping the future loses nothing: the cursor moves only together with an
    /// item that is returned.
    pub async fn next(&mut self) -> Item {
        loop {
            // A viewer that has missed more than the broadcast holds is too slow.
            if self.cursor.mode() == Mode::CatchingUp
                && self.subscription.events.len() > BROADCAST_MESSAGES
            {
                self.cursor.on_lag();
            }
            let step = self.cursor.step(look);
            if let Some(item) = self.perform(step).await {
                return item;
            }
        }
    }

    /// Carries out a step. None when it has no item, and the cursor's next step is due.
    async fn perform(&mut self, step: Step) -> Option<Item> {
        match step {
            Step::Wait => self.listen().await,
            Step::Read { from, to } => {
                let end = self.reads_up_to.filter(|end| *end > from);
                self.read_wanted(from, end.map_or(to, |end| to.min(end))).await
            }
            Step::Skip => self.skip().await,
            // Boxed, so that a viewer that waits for lines takes little memory.
            Step::Seek { after } => Box::pin(self.seek_after(after)).await,
            Step::Enter { after } => self.enter(after).await,
            step => self.announce(step),
        }
    }

    /// The item of a step that announces something.
    fn announce(&self, step: Step) -> Option<Item> {
        Some(match step {
            Step::Open { generation, from } => self.opening(generation, from),
            Step::Reset { generation, from, reason } => Item::Reset {
                generation,
                from,
                reason,
                encoding: self.encoding(),
                is_container: self.is_container(),
            },
            Step::Gap { generation, from, to } => Item::Gap { generation, from, to },
            Step::Signed(generation) => Item::Signed(generation),
            Step::Waiting(reason) => Item::Waiting(reason),
            Step::CaughtUp => Item::CaughtUp,
            Step::End(ending) => Item::End(ending),
            Step::Deliver { .. }
            | Step::Read { .. }
            | Step::ReadFingerprint
            | Step::Retry
            | Step::Skip
            | Step::Seek { .. }
            | Step::Enter { .. }
            | Step::Wait
            | Step::Continue => return None,
        })
    }

    fn opening(&self, generation: Generation, from: Offset) -> Item {
        let status = self.start.as_ref().and_then(|start| start.status);
        let end = self.span().map_or(from, |span| span.end());
        Item::Open(Opening {
            log: self.log().clone(),
            generation,
            from,
            size: status.map_or(end.0, |status| status.size),
            modified: status.map(|status| status.modified),
            tail: self.request.tail,
            recovered: self.recovered,
            polling: self.subscription.follower.is_polling(),
            encoding: self.encoding(),
            is_container: self.is_container(),
        })
    }

    /// Whether the first bytes of the file say that a container runtime wrote its lines.
    fn is_container(&self) -> bool {
        self.span().is_some_and(|span| span.detection().layout() == Layout::Enveloped)
    }

    /// The encoding that was chosen, or that the first bytes of the file say; none for UTF-8, and
    /// while it is not known.
    fn encoding(&self) -> Option<Encoding> {
        let detected = || self.span().map(|span| span.detection().encoding());
        let encoding = self.request.interpretation.encoding.or_else(detected)?;
        (encoding != Encoding::UTF_8).then_some(encoding)
    }

    /// Takes the next event of the follower.
    async fn listen(&mut self) -> Option<Item> {
        let event = match self.received.take() {
            Some(event) => event,
            None => self.next_event().await?,
        };
        let step = match event {
            Ok(Event::Chunk(chunk)) => {
                let chunk = match &self.merged {
                    Some(merged) => {
                        let queue = &mut self.subscription.events;
                        merged.merge(chunk, queue, &mut self.received)
                    }
                    None => chunk,
                };
                if self.ends_at.is_some() && !self.is_wanted(&chunk).await {
                    return None;
                }
                match self.cursor.on_chunk(&chunk) {
                    Step::Deliver { skip: 0 } => return Some(Item::Chunk(chunk)),
                    Step::Deliver { skip } => {
                        let (start, bytes) = (chunk.start.plus(skip), chunk.bytes.slice(skip..));
                        return Some(Item::Bytes { start, bytes });
                    }
                    step => step,
                }
            }
            Ok(Event::TimelineChanged) => self.cursor.on_timeline(look),
            Err(RecvError::Lagged(_)) => self.cursor.on_lag(),
            Err(RecvError::Closed) => self.cursor.on_closed(),
        };
        match step {
            // The next span is entered without a read, so that its chunks in the queue are taken.
            Step::Enter { after } => self.enter(after).await,
            step => self.announce(step),
        }
    }

    /// Reads the file from the cursor on.
    async fn read(&mut self, from: Offset, to: Offset) -> Option<Item> {
        let at = self.cursor.at()?;
        let span = Arc::clone(at.handle.span());
        let closed = look(&at.handle).closed;
        let ahead = self.start.take().and_then(|start| start.bytes);
        if let Some((_, mut bytes)) = ahead.filter(|(position, _)| *position == at.position()) {
            bytes.truncate(usize::try_from(to.0 - from.0).unwrap_or(usize::MAX));
            return self.read_gave(ReadOutcome::Bytes(bytes), from, to, closed).await;
        }
        let Some((file, tail)) = span.file_and_tail() else {
            // It was closed in favour of others, and may still lie beside the log.
            if self.is_open_again(&span, to).await {
                return None;
            }
            return self.read_gave(ReadOutcome::Gone, from, to, closed).await;
        };
        let (before, signed) = (at.fingerprint.clone(), span.signed());
        let reading = move |file: &LogFile| read_checked(file, &before, to, &tail, signed);
        let outcome = match self.reads.run(&file, reading).await {
            Ok(Read::Bytes(bytes)) if !bytes.is_empty() => ReadOutcome::Bytes(bytes),
            Ok(Read::Hole(hole)) => ReadOutcome::Hole(hole),
            Ok(Read::Changed) => ReadOutcome::Changed,
            Ok(Read::Bytes(_) | Read::Searching(_)) => ReadOutcome::Short,
            Err(error) => return self.read_failed(&error, to, closed).await,
        };
        if !closed && matches!(outcome, ReadOutcome::Short | ReadOutcome::Changed) {
            // If the file was truncated, the follower notices that too, and closes the span.
            self.subscription.follower.refresh().await;
            if span.is_closed() {
                return None;
            }
        }
        self.read_gave(outcome, from, to, closed).await
    }

    /// Whether the file of a span is open again, after a search for it beside the log.
    async fn is_open_again(&self, span: &Span, to: Offset) -> bool {
        let follower = &self.subscription.follower;
        let generation = span.signed();
        let is_lost = follower.timeline().is_lost(generation);
        !is_lost && follower.find_rotated(generation, to).await.is_some() && span.file().is_some()
    }

    async fn read_gave(
        &mut self,
        outcome: ReadOutcome,
        start: Offset,
        to: Offset,
        closed: bool,
    ) -> Option<Item> {
        let step = self.cursor.on_read(&outcome, to, closed);
        match (step, outcome) {
            (Step::Deliver { .. }, ReadOutcome::Bytes(bytes)) => Some(Item::Bytes { start, bytes }),
            (Step::ReadFingerprint, _) => {
                let file = self.span().and_then(|span| span.file());
                let fingerprint = self.fingerprint_of(file, start).await;
                let step = self.cursor.on_fingerprint(fingerprint);
                self.announce(step)
            }
            (step, _) => self.announce(step),
        }
    }

    async fn read_failed(&mut self, error: &io::Error, to: Offset, closed: bool) -> Option<Item> {
        let outcome = match error.kind() {
            io::ErrorKind::NotConnected => ReadOutcome::Unreachable,
            _ => ReadOutcome::Failed,
        };
        let step = self.cursor.on_read(&outcome, to, closed);
        if step == Step::Retry {
            tokio::time::sleep(RETRY_INTERVAL).await;
            return None;
        }
        tracing::warn!(log = %self.log().display(), %error, "can't read");
        self.announce(step)
    }

    /// The fingerprint of an offset. It is empty when the bytes before the offset can't be read.
    async fn fingerprint_of(&self, file: Option<Arc<LogFile>>, offset: Offset) -> Fingerprint {
        let Some(file) = file else { return Fingerprint::at(offset) };
        let reading = self.reads.run(&file, move |file| file.fingerprint(offset));
        reading.await.unwrap_or_else(|_| Fingerprint::at(offset))
    }

    /// Enters the span after this one.
    async fn enter(&mut self, after: u64) -> Option<Item> {
        let follower = Arc::clone(&self.subscription.follower);
        // After a file that was rotated away before anybody followed the log comes the file that
        // had the name next, if it can be found. Unless it is proved that no other one came in
        // between, the viewer is told that some may be missing.
        let (mut after, mut is_unknown) = (after, false);
        let rotated = self.span().filter(|span| span.is_rotated()).cloned();
        let left = self.left.as_ref().map(|left| Arc::clone(&left.span));
        if let Some(span) = rotated.or(left) {
            let next = follower.find_next_rotated(&span, self.request.history).await;
            let offset = self.rotated_offset().unwrap_or(span.end());
            if let Some(same) = follower.come_to(&span, offset) {
                let step = self.go_on_in(same.span().number, same.into());
                return self.announce(step);
            }
            // Another machine has said meanwhile that there is more of it. That comes first.
            if offset < span.end() {
                if self.cursor.at().is_some() {
                    return None;
                }
                let step = self.go_on_in(span.number, SpanHandle::new(&span));
                return self.announce(step);
            }
            is_unknown = !next.follows_directly;
            // A machine that does not answer may say later what came next.
            if is_unknown
                && !follower.is_out_of_reach()
                && let Some(step) = self.cursor.on_unknown_files()
            {
                return self.announce(step);
            }
            if let Some(found) = next.span {
                let reason = found.reason;
                let at = self.span_cursor(found.into(), Fingerprint::at(Offset(0)));
                self.left = None;
                let step = self.cursor.on_rotation(NextSpan::Span(at, reason));
                return self.announce(step);
            }
            after = next.after.unwrap_or(after);
        }
        after = self.cursor.pass_spans(after);
        let next = follower.timeline().after(after);
        let next = match next {
            Next::Span(reader) => {
                if reader.are_files_missing
                    && let Some(step) = self.enter_missed(&reader).await
                {
                    return self.announce(step);
                }
                if (reader.are_files_missing || is_unknown)
                    && let Some(step) = self.cursor.on_unknown_files()
                {
                    return self.announce(step);
                }
                let (from, reason) = (reader.from, reader.reason);
                let at = self.span_cursor(reader.into(), Fingerprint::at(from));
                self.left = None;
                NextSpan::Span(at, reason)
            }
            Next::Nothing => NextSpan::Nothing,
            Next::Waiting(reason) => {
                self.leave_for_now();
                NextSpan::Waiting(reason)
            }
            Next::Ended if self.subscription.follower.is_complete() => NextSpan::Complete,
            Next::Ended => NextSpan::Ended,
        };
        self.entered(next).await
    }

    /// Remembers where the viewer is in an old file of another machine's log. A server that was started
    /// again may begin with that file, or with an older one, when it hears the machine.
    fn leave_for_now(&mut self) {
        let at = self.cursor.at().filter(|at| at.handle.span().is_rotated());
        if let Some(at) = at.filter(|_| is_mirrored(self.log().as_path())) {
            let (span, before) = (Arc::clone(at.handle.span()), at.fingerprint.clone());
            self.left = Some(Box::new(Left { span, before }));
        }
    }

    /// Where the viewer is in the old file that it reads, or has left for now.
    fn rotated_offset(&self) -> Option<Offset> {
        let left = || self.left.as_ref().map(|left| left.before.offset());
        self.cursor.at().map(|at| at.offset()).or_else(left)
    }

    /// Goes on at the same position of the old file, in this span of it.
    fn go_on_in(&mut self, number: u64, handle: SpanHandle) -> Step {
        match self.left.take() {
            Some(left) if self.cursor.at().is_none() => {
                let at = self.span_cursor(handle, left.before);
                self.cursor.on_rotation(NextSpan::Span(at, Reason::Back))
            }
            _ => self.cursor.on_same_file(number, handle),
        }
    }

    /// Enters the first of the files that had the log's name before the next span and were missed,
    /// where the history is wanted.
    async fn enter_missed(&mut self, next: &Span) -> Option<Step> {
        let is_in_missed = self.span().is_some_and(|span| span.is_rotated());
        if !self.request.history || is_in_missed {
            return None;
        }
        let found = self.subscription.follower.find_missed(next).await?;
        let at = self.span_cursor(found.into(), Fingerprint::at(Offset(0)));
        Some(self.cursor.on_rotation(NextSpan::Span(at, Reason::Rotated)))
    }

    /// Passes the next span to the cursor, and waits for an event when there is none.
    async fn entered(&mut self, next: NextSpan<SpanHandle>) -> Option<Item> {
        match self.cursor.on_rotation(next) {
            Step::Wait => {
                // Any event may add a span to the timeline.
                let _event = self.next_event().await;
                None
            }
            step => self.announce(step),
        }
    }

    fn span_cursor(&self, handle: SpanHandle, fingerprint: Fingerprint) -> SpanCursor<SpanHandle> {
        let span = handle.span();
        let generation = if self.request.signed { span.signed() } else { span.generation };
        SpanCursor { span: span.number, generation, fingerprint, handle }
    }

    /// Leaves out what was missed.
    async fn skip(&mut self) -> Option<Item> {
        // Resubscribe before the end is read, so that no later event is missed.
        self.subscription.events = self.subscription.events.resubscribe();
        let span = self.span()?;
        let (end, file) = (span.end(), span.file());
        let fingerprint = self.fingerprint_of(file, end).await;
        let step = self.cursor.on_skip(fingerprint);
        self.announce(step)
    }
}

/// Reads the bytes after a fingerprint and before `end`, if the file is still the same. A file that
/// was truncated and filled again may have the same bytes before the cursor. Then its `tail` or its
/// head differs.
fn read_checked(
    file: &LogFile,
    before: &Fingerprint,
    end: Offset,
    tail: &Fingerprint,
    signed: Generation,
) -> io::Result<Read> {
    let found = file.read_after(before, READ_BYTES_MAX, end, Nuls::Written)?;
    if file.is_mirrored() {
        return Ok(found);
    }
    let at_end = file.read_after(tail, 0, tail.offset(), Nuls::Written)?;
    let is_unchanged = !matches!(at_end, Read::Changed) && signed.is_of(&file.head()?);
    Ok(if is_unchanged { found } else { Read::Changed })
}
