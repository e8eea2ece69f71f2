//! A viewer's position in a log, and what the viewer does next, as a value without IO, clock or
//! task.
//!
//! Each input results in the next [`Step`]. The [`viewer`](crate::session::viewer) does the IO that
//! a step requires, and passes the result back.
//!
//! Invariant: within a generation the offset moves only over bytes that are delivered, each once
//! and in order. Every other move is a [`Step::Reset`] or a [`Step::Gap`].
//!
//! The splice rule joins what is read and what is broadcast: a chunk that ends at or before the
//! cursor is dropped, one that covers the cursor is cut to its suffix, and one that starts after
//! it sends the cursor back to reading the file.

mod place;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::log::fingerprint::Fingerprint;
use crate::log::timeline::{ROTATED_NUMBER_MAX, Reason, Span, WaitReason};
use crate::log::{Chunk, Generation, Offset, Splice, TimelinePosition};
pub use place::{SpanCursor, SpanHandle};
pub use step::{Ending, NextSpan, ReadOutcome, SpanState, Step};

/// How a viewer follows, according to its request.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where a viewer that does not follow stops. None for one that follows.
    pub until: Option<TimelinePosition>,
    /// Where the wanted part of the log ends, also for one that follows.
    pub stop: Option<TimelinePosition>,
    /// Announce longer signatures of a generation.
    pub signed: bool,
    /// After a lag, leave out what was missed.
    pub skip: bool,
}

/// What a viewer is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Looks for the start of the stream, in the span after this number.
    Seeking {
        /// The number of a span.
        after: u64,
    },
    /// Has a start that is not announced yet.
    Opening,
    /// Reads the file up to the end of what is published.
    CatchingUp,
    /// Reads late bytes of a file that was rotated away, before it continues at its own position.
    LateReplay,
    /// Is about to leave out what it missed.
    Skipping,
    /// Takes the shared chunks.
    Live,
    /// Waits for the span after this number: the log has no file that can be read.
    Waiting {
        /// The number of a span.
        after: u64,
    },
}

/// Late bytes to be read before the stream continues at its position.
#[derive(Clone, Debug)]
pub enum Replay<H> {
    /// The bytes from this position to the end of its span.
    Bytes(SpanCursor<H>),
    /// The bytes from this offset on can't be found.
    Lost(Generation, Offset),
}

#[derive(Clone, Debug)]
struct LateReplay<H> {
    due: VecDeque<Replay<H>>,
    /// Where the stream continues after the last replay, once the first has begun.
    home: Option<SpanCursor<H>>,
}

/// Whether other files may have had the log's name before the next span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum MissingFiles {
    #[default]
    None,
    /// It is announced with the next span: the viewer had no position when it became known.
    Due,
    Announced,
}

/// A viewer's position and mode.
#[derive(Clone, Debug)]
pub struct Cursor<H> {
    options: Options,
    mode: Mode,
    /// None while seeking or waiting.
    at: Option<SpanCursor<H>>,
    late: Option<Box<LateReplay<H>>>,
    /// Why a reset to the present position is announced next.
    reset_due: Option<Reason>,
    /// Whether files may be missing before the next span.
    missing_files: MissingFiles,
    /// The reason for waiting that was announced last, until something else is sent.
    announced: Option<WaitReason>,
    /// The viewer has been live, or it was announced that the viewer has everything.
    caught_up: bool,
    /// The number of the last span that was passed before a file that was found.
    passed: u64,
}

impl<H: Clone> Cursor<H> {
    /// A cursor without a position. The stream starts in the span after number `after`, or
    /// wherever [`open_at`](Self::open_at) says.
    #[must_use]
    pub fn new(options: Options, after: u64) -> Self {
        let mode = Mode::Seeking { after };
        Self {
            options,
            mode,
            at: None,
            late: None,
            reset_due: None,
            missing_files: MissingFiles::None,
            announced: None,
            caught_up: false,
            passed: ROTATED_NUMBER_MAX,
        }
    }

    /// The same position for a viewer that has received everything before it.
    #[must_use]
    pub fn resumed(self, options: Options) -> Self {
        let mode = match self.mode {
            Mode::Live | Mode::Skipping | Mode::Opening => Mode::CatchingUp,
            Mode::Seeking { after } | Mode::Waiting { after } => Mode::Waiting { after },
            mode @ (Mode::CatchingUp | Mode::LateReplay) => mode,
        };
        Self { options, mode, caught_up: true, ..self }
    }

    /// Starts the stream at a position, after the `late` bytes of earlier files. A start that is
    /// not the requested one is announced as a reset.
    pub fn open_at(&mut self, at: SpanCursor<H>, late: VecDeque<Replay<H>>, is_requested: bool) {
        self.reset_due = (!is_requested).then_some(Reason::Replaced);
        self.late = (!late.is_empty()).then(|| Box::new(LateReplay { due: late, home: None }));
        (self.mode, self.at, self.announced) = (Mode::Opening, Some(at), None);
        self.missing_files = MissingFiles::None;
    }

    /// What the viewer is doing.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The position. None while there is no file.
    #[must_use]
    pub fn at(&self) -> Option<&SpanCursor<H>> {
        self.at.as_ref()
    }

    /// The number of the present span, or of the last one.
    #[must_use]
    pub fn span_number(&self) -> u64 {
        match (&self.at, self.mode) {
            (Some(at), _) => at.span,
            (None, Mode::Seeking { after } | Mode::Waiting { after }) => after,
            (None, _) => ROTATED_NUMBER_MAX,
        }
    }

    /// Whether the viewer follows, and has received all bytes and announcements.
    #[must_use]
    pub fn is_idle(&self, look: impl FnOnce(&H) -> SpanState) -> bool {
        let is_told =
            |at: &SpanCursor<H>| !self.options.signed || at.generation == look(&at.handle).signed;
        self.options.until.is_none()
            && self.options.stop.is_none()
            && self.mode == Mode::Live
            && self.reset_due.is_none()
            && self.at.as_ref().is_some_and(is_told)
    }

    /// The end of the bytes that exist already, if nothing else comes before them.
    #[must_use]
    pub fn history_end(&self, look: impl FnOnce(&H) -> SpanState) -> Option<Offset> {
        let is_next =
            self.mode == Mode::CatchingUp && self.late.is_none() && self.reset_due.is_none();
        let at = self.at.as_ref().filter(|_| is_next)?;
        let published = look(&at.handle).end;
        let stop = self.options.until.filter(|until| until.span == at.span);
        let end = self.before_stop(at, stop.map_or(published, |until| until.offset));
        (at.offset() < end).then_some(end)
    }

    /// The end of what is wanted of a span whose bytes end at `end`.
    fn before_stop(&self, at: &SpanCursor<H>, end: Offset) -> Offset {
        let stop = self.options.stop.filter(|stop| stop.span == at.span);
        stop.map_or(end, |stop| stop.offset.min(end))
    }

    /// The end of what is wanted of a span.
    #[must_use]
    pub fn end_in(&self, span: &Span) -> Offset {
        let stop = self.options.stop.filter(|stop| stop.span == span.number);
        stop.map_or(Offset(u64::MAX), |stop| stop.offset)
    }

    /// Whether a position is behind the wanted part of the log. Files that were found again have
    /// numbers in no order.
    fn is_behind_stop(&self, position: TimelinePosition) -> bool {
        self.options.stop.is_some_and(|stop| match position.span == stop.span {
            true => position.offset >= stop.offset,
            false => stop.span > ROTATED_NUMBER_MAX && position.span > stop.span,
        })
    }

    /// From now on the wanted part of the log ends here: at a position, or where the viewer is if
    /// the log has no file.
    pub fn stop_at(&mut self, stop: Option<TimelinePosition>) {
        self.options.stop = stop;
        if stop.is_none() {
            self.options.until = Some(TimelinePosition { span: 0, offset: Offset(0) });
        }
        self.read_on();
    }

    /// What comes next is read, although it is published.
    pub fn read_on(&mut self) {
        if self.mode == Mode::Live {
            self.mode = Mode::CatchingUp;
        }
    }

    /// From now on the viewer leaves nothing out when it lags.
    pub fn keep_all(&mut self) {
        self.options.skip = false;
    }

    /// Goes back to an earlier offset of the span.
    pub fn rewind_to(&mut self, offset: Offset) {
        if let Some(at) = &mut self.at {
            at.fingerprint = Fingerprint::at(offset);
        }
    }

    /// Moves past bytes that the viewer received from another source.
    pub fn pass(&mut self, end: &Fingerprint) {
        if let Some(at) = &mut self.at {
            at.fingerprint.move_to(end);
            self.announced = None;
        }
    }

    /// Whether the viewer follows to no end that was set before, and reads no late bytes.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        let Options { until, stop, .. } = self.options;
        until.is_none() && stop.is_none() && self.late.is_none()
    }

    /// The next step. `look` is called only when the state of the span matters.
    pub fn step(&mut self, look: impl Fn(&H) -> SpanState) -> Step {
        if let Some(step) = self.announcement(&look) {
            return step;
        }
        match self.mode {
            Mode::Seeking { after } => Step::Seek { after },
            Mode::Waiting { after } => Step::Enter { after },
            Mode::Live => Step::Wait,
            Mode::Opening | Mode::CatchingUp | Mode::LateReplay | Mode::Skipping => {
                self.catch_up(look)
            }
        }
    }

    /// The next announcement before the stream continues. None when there is none.
    pub fn announcement(&mut self, look: impl Fn(&H) -> SpanState) -> Option<Step> {
        let at = self.at.as_mut()?;
        if self.mode == Mode::Opening {
            self.mode = Mode::CatchingUp;
            return Some(Step::Open { generation: at.generation, from: at.offset() });
        }
        if let Some(reason) = self.reset_due.take() {
            return Some(Step::Reset { generation: at.generation, from: at.offset(), reason });
        }
        if !self.options.signed || at.generation.signature.is_whole() {
            return None;
        }
        let signed = look(&at.handle).signed;
        (std::mem::replace(&mut at.generation, signed) != signed).then_some(Step::Signed(signed))
    }

    fn catch_up(&mut self, look: impl Fn(&H) -> SpanState) -> Step {
        if self.mode != Mode::LateReplay
            && let Some(step) = self.next_replay()
        {
            return step;
        }
        let Some(at) = &self.at else { return Step::Enter { after: self.span_number() } };
        let position = at.position();
        let is_past = |until: TimelinePosition| {
            (position.span, position.offset) >= (until.span, until.offset)
        };
        if self.options.until.is_some_and(is_past) || self.is_behind_stop(position) {
            // A viewer that waits for the first lines has to learn that there are no more.
            let is_told = std::mem::replace(&mut self.caught_up, true);
            return if is_told { Step::End(Ending::Complete) } else { Step::CaughtUp };
        }
        let SpanState { closed, end, .. } = look(&at.handle);
        if self.mode == Mode::Skipping {
            return Step::Skip;
        }
        let wanted = self.before_stop(at, end);
        if position.offset < wanted {
            return Step::Read { from: position.offset, to: wanted };
        }
        if let Some(step) = self.next_replay() {
            return step;
        }
        if closed {
            return Step::Enter { after: position.span };
        }
        (self.mode, self.caught_up) = (Mode::Live, true);
        Step::CaughtUp
    }

    /// Moves to the next late bytes, and after the last of them back to the viewer's own position.
    fn next_replay(&mut self) -> Option<Step> {
        let late = self.late.as_mut()?;
        if late.home.is_none() {
            late.home = self.at.clone();
        }
        let (at, reason) = match late.due.pop_front() {
            Some(Replay::Lost(generation, from)) => {
                self.mode = Mode::CatchingUp;
                return Some(Step::Gap { generation, from, to: None });
            }
            Some(Replay::Bytes(at)) => (at, Reason::Late),
            None => (self.late.take()?.home?, Reason::Back),
        };
        self.mode = if reason == Reason::Late { Mode::LateReplay } else { Mode::CatchingUp };
        let (generation, from) = (at.generation, at.offset());
        self.at = Some(at);
        Some(Step::Reset { generation, from, reason })
    }

    /// The follower published a chunk.
    pub fn on_chunk(&mut self, chunk: &Chunk) -> Step {
        let Some(at) = self.at.as_mut().filter(|_| self.mode == Mode::Live) else {
            return Step::Continue;
        };
        match at.position().splice(chunk) {
            Splice::Stale => Step::Continue,
            Splice::Take { skip } => {
                at.fingerprint.advance(chunk.bytes.get(skip..).unwrap_or_default());
                self.announced = None;
                Step::Deliver { skip }
            }
            Splice::Gap => {
                self.mode = Mode::CatchingUp;
                Step::Continue
            }
        }
    }

    /// The timeline has changed. A viewer that has received all of a closed span enters the next
    /// one. The bytes of that span are among the next events, so the viewer need not read its file,
    /// which may be gone already.
    pub fn on_timeline(&mut self, look: impl Fn(&H) -> SpanState) -> Step {
        let Some(at) = self.at.as_ref().filter(|_| self.mode == Mode::Live) else {
            return Step::Continue;
        };
        let SpanState { closed, end, .. } = look(&at.handle);
        if at.offset() != end {
            self.mode = Mode::CatchingUp;
        } else if closed {
            return Step::Enter { after: at.span };
        }
        Step::Continue
    }

    /// The viewer has missed more events than the broadcast holds.
    pub fn on_lag(&mut self) -> Step {
        if self.mode == Mode::Live {
            self.mode = Mode::CatchingUp;
        }
        if self.mode == Mode::CatchingUp && self.options.skip && self.caught_up {
            self.mode = Mode::Skipping;
        }
        Step::Continue
    }

    /// No more events come.
    pub fn on_closed(&mut self) -> Step {
        if self.mode == Mode::Live {
            self.mode = Mode::CatchingUp;
        }
        Step::Continue
    }

    /// Enters the span after the present one, or handles its absence.
    pub fn on_rotation(&mut self, next: NextSpan<H>) -> Step {
        let after = self.span_number().max(self.passed);
        match next {
            NextSpan::Span(at, reason) => self.enter(at, reason, after),
            NextSpan::Ended => Step::End(Ending::Shutdown),
            NextSpan::Complete => Step::End(Ending::Complete),
            NextSpan::Waiting(reason) if self.announced != Some(reason) => {
                self.announced = Some(reason);
                self.at = None;
                if !matches!(self.mode, Mode::Seeking { .. }) {
                    self.mode = Mode::Waiting { after };
                }
                Step::Waiting(reason)
            }
            NextSpan::Waiting(_) | NextSpan::Nothing if self.options.until.is_some() => {
                Step::End(Ending::Complete)
            }
            NextSpan::Waiting(_) | NextSpan::Nothing => {
                if self.mode == Mode::Live {
                    self.mode = Mode::CatchingUp;
                }
                Step::Wait
            }
        }
    }

    /// The follower has come to the file that the viewer reads. The viewer goes on in its span, at the
    /// same position: there is nothing to announce.
    pub fn on_same_file(&mut self, span: u64, handle: H) -> Step {
        if let Some(at) = &mut self.at {
            (at.span, at.handle) = (span, handle);
        }
        self.mode = Mode::CatchingUp;
        Step::Continue
    }

    /// The viewer has passed the spans up to this number, though a file that was found, which has no
    /// place among them, comes before the next one. Returns the number of the last one passed.
    pub fn pass_spans(&mut self, number: u64) -> u64 {
        self.passed = self.passed.max(number);
        self.passed
    }

    /// Other files may have had the log's name after the present span's, and can't be given. Gives
    /// nothing where that is announced already, and where it is announced with the next span.
    pub fn on_unknown_files(&mut self) -> Option<Step> {
        if self.missing_files == MissingFiles::Announced {
            return None;
        }
        let Some(at) = &self.at else {
            self.missing_files = MissingFiles::Due;
            return None;
        };
        self.missing_files = MissingFiles::Announced;
        if self.mode == Mode::Live {
            self.mode = Mode::CatchingUp;
        }
        Some(Step::Gap { generation: at.generation, from: at.offset(), to: None })
    }

    fn enter(&mut self, mut at: SpanCursor<H>, reason: Reason, after: u64) -> Step {
        let is_gap_due = std::mem::take(&mut self.missing_files) == MissingFiles::Due;
        let reason = match reason {
            // The file before it was rotated away before anybody followed the log.
            Reason::Joined => {
                at.fingerprint = Fingerprint::at(Offset(0));
                Reason::Rotated
            }
            reason => reason,
        };
        let (are_spans_missing, is_found) = (at.span > after + 1, at.span <= ROTATED_NUMBER_MAX);
        let (generation, from) = (at.generation, at.offset());
        self.at = Some(at);
        self.announced = None;
        // Nothing is published of a file that was found.
        if self.mode != Mode::Live || is_found {
            self.mode = Mode::CatchingUp;
        }
        if are_spans_missing || is_gap_due {
            self.reset_due = Some(reason);
            return Step::Gap { generation, from, to: None };
        }
        Step::Reset { generation, from, reason }
    }

    /// Takes the result of a read from the cursor up to `to`. `closed` says whether the span was
    /// closed when the read began. If an open span has fewer bytes than that, the follower has
    /// polled the file since.
    pub fn on_read(&mut self, outcome: &ReadOutcome, to: Offset, closed: bool) -> Step {
        let Some(at) = &mut self.at else { return Step::Continue };
        match outcome {
            ReadOutcome::Bytes(bytes) => {
                at.fingerprint.advance(bytes);
                self.announced = None;
                Step::Deliver { skip: 0 }
            }
            ReadOutcome::Hole(hole) => self.leave_out((*hole).min(to)),
            ReadOutcome::Changed if !closed => Step::ReadFingerprint,
            ReadOutcome::Short | ReadOutcome::Changed | ReadOutcome::Gone => self.leave_out(to),
            ReadOutcome::Failed => self.retry(WaitReason::Unreadable),
            ReadOutcome::Unreachable => self.retry(WaitReason::Unreachable),
        }
    }

    /// A read is tried again. The reason is announced once. A stream that does not follow does not wait
    /// for another machine.
    fn retry(&mut self, reason: WaitReason) -> Step {
        if self.announced.replace(reason) != Some(reason) {
            return Step::Waiting(reason);
        }
        match reason {
            WaitReason::Unreachable if self.options.until.is_some() => {
                Step::End(Ending::Unreachable)
            }
            _ => Step::Retry,
        }
    }

    /// Takes the bytes before the cursor, read again.
    pub fn on_fingerprint(&mut self, fingerprint: Fingerprint) -> Step {
        if let Some(at) = &mut self.at {
            at.fingerprint = fingerprint;
        }
        Step::Continue
    }

    /// Moves a viewer that skips to the end of the span.
    pub fn on_skip(&mut self, end: Fingerprint) -> Step {
        self.mode = Mode::CatchingUp;
        let Some(at) = &mut self.at else { return Step::Continue };
        let (from, to) = (at.offset(), end.offset());
        if from >= to {
            return Step::Continue;
        }
        at.fingerprint = end;
        Step::Gap { generation: at.generation, from, to: Some(to) }
    }

    /// The log can't be read at the moment. None when that was announced already.
    pub fn on_unreadable(&mut self) -> Option<Step> {
        let reason = WaitReason::Unreadable;
        (self.announced.replace(reason) != Some(reason)).then_some(Step::Waiting(reason))
    }

    /// Continues at `to`: the bytes before it can't be read.
    fn leave_out(&mut self, to: Offset) -> Step {
        let Some(at) = &mut self.at else { return Step::Continue };
        let (generation, from) = (at.generation, at.offset());
        at.fingerprint = Fingerprint::at(to);
        self.announced = None;
        Step::Gap { generation, from, to: Some(to) }
    }
}
