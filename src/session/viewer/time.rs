//! A viewer of a part of a log, by the times of its lines: where that begins and ends.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::log::file::LogFile;
use crate::log::timeline::Span;
use crate::log::{Chunk, Event, Offset, TimelinePosition};
use crate::session::cursor::{Mode, SpanHandle};
use crate::session::viewer::seek::{Found, Place};
use crate::session::viewer::{Item, Viewer};
use crate::time::Profile;
use crate::wire::request::StartAt;

/// How long after the end of the wanted time lines of that time are awaited.
const LATE_LINES: Duration = Duration::from_secs(1);

/// How many new bytes are looked through line by line; in more of them the end is sought.
const LOOK_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// From this size on the lines of a file are known by a sample.
const SAMPLE_BYTES_MIN: u64 = 256 * 1024;
/// A line that is longer than this has its whole stamp, in bytes.
const STAMP_BYTES_MAX: usize = 256;
/// How much of a long line is looked at, in bytes.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// The end of the wanted time, while that is to come.
pub(super) struct AwaitedEnd {
    /// In milliseconds since 1970.
    until: i64,
    seen: Option<Seen>,
}

impl AwaitedEnd {
    /// How long to wait until no line before the end can come.
    fn left(&self) -> Duration {
        let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(self.until).unwrap_or(0));
        (end + LATE_LINES).duration_since(SystemTime::now()).unwrap_or_default()
    }
}

/// What has been looked through for the end of the wanted time.
#[derive(Clone, Copy, Default)]
struct Seen {
    span: u64,
    /// No byte before it belongs to a line that is not wanted.
    clear: Offset,
    /// The last line; its rest may be to come.
    line: Offset,
    /// The offset is inside of a line.
    within: bool,
    profile: Option<Profile>,
}

/// The result of a look for the end of the wanted time.
enum Looked {
    Seen(Seen),
    End(Offset),
}

/// A place in a file of the log.
pub(super) struct Timed {
    span: Arc<Span>,
    /// Keeps its file open, where that is not the present one.
    handle: Option<SpanHandle>,
    offset: Offset,
    /// No line of the present file is behind it.
    is_end: bool,
}

impl Viewer {
    /// Finds where the wanted part of the log ends, and where it begins if the request has no
    /// position. None if nothing is known of its beginning but the lines that are wanted.
    pub(super) async fn find_in_range(
        &mut self,
        present: Option<&Arc<Span>>,
        end: Offset,
    ) -> Option<Found> {
        let (since, until) = (self.request.range.since, self.request.range.until);
        let mut last = None;
        if let Some(until) = until {
            match self.find_time(present, end, until).await {
                Some(place) if !place.is_end => {
                    let stop = TimelinePosition { span: place.span.number, offset: place.offset };
                    self.cursor.stop_at(Some(stop));
                    last = Some(place);
                }
                _ if self.request.tail => {
                    let seen = present.map(|span| Seen {
                        span: span.number,
                        clear: end,
                        ..Seen::default()
                    });
                    self.ends_at = Some(Box::new(AwaitedEnd { until, seen }));
                }
                _ => {}
            }
        }
        let lines = match self.request.begin {
            StartAt::From { .. } => return None,
            StartAt::Lines(lines) => Some(lines),
            StartAt::All => None,
        };
        let first = match since {
            Some(since) => Some(self.find_time(present, end, since).await?),
            None => None,
        };
        let is_requested = true;
        match (first, last, lines) {
            (Some(Timed { span, handle, offset, .. }), _, None) => {
                let place = Place::At(offset);
                Some(Found { span, handle, place, is_requested })
            }
            (None, _, None) | (None, None, Some(_)) => None,
            (first, last, Some(lines)) => {
                let present = present.map(|span| (span, end));
                self.lines_back(present, first.as_ref(), last.as_ref(), lines).await
            }
        }
    }

    /// The start of so many lines before the end of the wanted part, but not before its first line.
    /// They are counted from file to file where the history is wanted.
    pub(super) async fn lines_back(
        &self,
        present: Option<(&Arc<Span>, Offset)>,
        first: Option<&Timed>,
        last: Option<&Timed>,
        lines: u64,
    ) -> Option<Found> {
        let follower = &self.subscription.follower;
        let past = if self.request.history { follower.history().await } else { Vec::new() };
        let past = past.iter().rev().filter(|file| file.past_path().is_some());
        let present = present.map(|(span, end)| (Arc::clone(span), None, end));
        let mut files = present.map(Ok).into_iter().chain(past.map(Err));
        let (mut left, mut found, mut is_wanted) = (lines, None, last.is_none());
        while let Some(file) = files.next().filter(|_| found.is_none() || left > 0) {
            let (span, handle, mut end) = match file {
                Ok(present) => present,
                Err(file) => {
                    let Some(reader) = follower.open_history(file).await else { break };
                    let span = Arc::clone(reader.span());
                    let end = span.end();
                    (span, Some(SpanHandle::from(reader)), end)
                }
            };
            let is_of = |timed: &&Timed| timed.span.generation.is(&span.generation);
            if let Some(last) = last.filter(is_of) {
                (end, is_wanted) = (last.offset, true);
            }
            if !is_wanted {
                continue;
            }
            let first = first.filter(is_of);
            let floor = first.map_or(Offset(0), |first| first.offset);
            let place = Place::LinesBefore(left, end.max(floor), floor);
            let counted = self.count_back(&span, end, left).await;
            found = Some(Found { span, handle, place, is_requested: true });
            // Lines that are too far back to be counted are enough.
            left -= counted.map_or(left, |(_, lines)| lines);
            if first.is_some() {
                break;
            }
        }
        found
    }

    /// The end of all that was published of the file of a span.
    fn end_of(&self, span: &Arc<Span>) -> Offset {
        let timeline = self.subscription.follower.timeline();
        timeline.last_of(span.generation).map_or(span.end(), |last| last.end().max(span.end()))
    }

    /// The first line that is not before a time, in the present file up to `end` or, with the
    /// history, in the oldest file that has one. None if there is no file that can be read.
    async fn find_time(
        &self,
        present: Option<&Arc<Span>>,
        end: Offset,
        time: i64,
    ) -> Option<Timed> {
        let mut found = None;
        if let Some(span) = present {
            let offset = self.seek_time(span, end, time).await?;
            let (span, is_end) = (Arc::clone(span), offset >= end);
            found = Some(Timed { span, handle: None, offset, is_end });
            if offset > Offset(0) {
                return found;
            }
        }
        if !self.request.history {
            return found;
        }
        let follower = &self.subscription.follower;
        let files = follower.history().await;
        for file in files.iter().rev().filter(|file| file.past_path().is_some()) {
            let Some(reader) = follower.open_history(file).await else { break };
            let span = Arc::clone(reader.span());
            let end = self.end_of(&span);
            let Some(offset) = self.seek_time(&span, end, time).await else { break };
            if offset >= end && end > Offset(0) {
                break;
            }
            // Late bytes come in the order in which they were published.
            let (offset, handle) = (offset.min(span.end()), Some(reader.into()));
            found = Some(Timed { span, handle, offset, is_end: false });
            if offset > Offset(0) {
                break;
            }
        }
        found
    }

    /// The first line of a span that is not before a time, or `end`.
    async fn seek_time(&self, span: &Arc<Span>, end: Offset, time: i64) -> Option<Offset> {
        let detection = self.request.interpretation.applied_to(span.detection());
        let newline = detection.encoding().newline();
        let zone = self.request.range.zone.clone();
        let seeking = move |file: &LogFile| {
            let line = Offset(file.timed(newline, end, &zone)?.seek(time)?);
            if line.0 >= newline.align(end.0) {
                return Ok(end);
            }
            // A line of a container runtime may continue the one before it.
            file.joined_start(detection, line)
        };
        self.reads.run(&span.file()?, seeking).await.ok()
    }

    /// The next event of the follower. None when the wanted part of the log has ended meanwhile,
    /// and the cursor knows it.
    pub(super) async fn next_event(&mut self) -> Option<Result<Event, RecvError>> {
        loop {
            let Some(awaited) = &self.ends_at else {
                return Some(self.subscription.events.recv().await);
            };
            // The clock may be set meanwhile.
            let left = awaited.left();
            if left.is_zero() {
                Box::pin(self.stop_at_time()).await;
                return None;
            }
            let pause = left.min(Duration::from_secs(60));
            if let Ok(event) = timeout(pause, self.subscription.events.recv()).await {
                return Some(event);
            }
        }
    }

    /// Reads the file from the cursor on, if what is there is wanted.
    pub(super) async fn read_wanted(&mut self, from: Offset, to: Offset) -> Option<Item> {
        let mut wanted = to;
        // Late bytes come before the position at which the wanted part ends.
        if self.ends_at.is_some() && self.cursor.mode() == Mode::CatchingUp {
            wanted = Box::pin(self.look_for_end(to)).await?;
            if wanted <= from {
                // The rest of a line is awaited.
                let _event = self.next_event().await;
                return None;
            }
        }
        self.read(from, wanted).await
    }

    /// Whether the viewer takes a chunk. If not, the cursor reads what is wanted of it.
    pub(super) async fn is_wanted(&mut self, chunk: &Arc<Chunk>) -> bool {
        let end = chunk.start.plus(chunk.bytes.len());
        // The future may be dropped.
        self.received = Some(Ok(Event::Chunk(Arc::clone(chunk))));
        let is_here = self.span().is_some_and(|span| span.number == chunk.span);
        let is_wanted = !is_here || Box::pin(self.look_for_end(end)).await == Some(end);
        self.received = None;
        if !is_wanted {
            self.cursor.read_on();
        }
        is_wanted
    }

    /// Looks for the end of the wanted time in the bytes of the cursor's span before `to`. Gives the
    /// offset up to which they are wanted, or None when the cursor knows the end.
    async fn look_for_end(&mut self, to: Offset) -> Option<Offset> {
        let (awaited, span) = (self.ends_at.as_ref()?, self.span().cloned()?);
        if awaited.left().is_zero() {
            self.stop_at_time().await;
            return None;
        }
        let until = awaited.until;
        let known = awaited.seen.filter(|seen| seen.span == span.number);
        if let Some(seen) = known.filter(|seen| to <= seen.clear) {
            return Some(to.min(seen.clear));
        }
        let Some(file) = span.file() else { return Some(to) };
        let is_whole = span.is_closed();
        let (number, zone) = (span.number, self.request.range.zone.clone());
        let detection = self.request.interpretation.applied_to(span.detection());
        let newline = detection.encoding().newline();
        let looking = move |file: &LogFile| {
            let profile = known.and_then(|seen| seen.profile);
            let mut timed = match profile {
                Some(profile) => file.timed_as(profile, newline, to, &zone)?,
                None => file.timed(newline, to, &zone)?,
            };
            let known = known.unwrap_or(Seen { span: number, ..Seen::default() });
            if !timed.is_timed() {
                // What was there before the end of the time is wanted.
                let is_over = until <= timed.recognizer().written();
                let seen = Seen { clear: to, ..known };
                return Ok(if is_over { Looked::End(known.clear) } else { Looked::Seen(seen) });
            }
            let is_long = to.0.saturating_sub(known.line.0) > LOOK_BYTES_MAX;
            let first = if is_long { timed.seek(until)? } else { known.line.0 };
            if is_long && first < newline.align(to.0) {
                return Ok(Looked::End(file.joined_start(detection, Offset(first))?));
            }
            let from = if is_long { newline.align(to.0 - LINE_BYTES_MAX) } else { first };
            let within = is_long || known.within;
            let width = newline.width() as u64;
            let (mut end, mut last, mut clear) = (None, None, to);
            timed.lines(from, within, to.0, |line| {
                let line_end = line.offset + (line.text.len() as u64 + 1) * width;
                last = Some((Offset(line.offset), line_end));
                if line.time.is_none_or(|time| time < until) {
                    return ControlFlow::Continue(());
                }
                // The zone may be missing yet.
                if line_end > to.0 && line.text.len() < STAMP_BYTES_MAX && !is_whole {
                    clear = Offset(line.offset);
                } else {
                    end = Some(Offset(line.offset));
                }
                ControlFlow::Break(())
            })?;
            if let Some(end) = end {
                return Ok(Looked::End(file.joined_start(detection, end)?));
            }
            let (line, within) = match last {
                // The start of a very long line has been seen.
                Some((_, line_end)) if line_end + LINE_BYTES_MAX < to.0 => {
                    (Offset(newline.align(to.0)), true)
                }
                Some((line, _)) => (line, false),
                None => (Offset(newline.align(to.0)).max(known.line), within),
            };
            // The sample of a short file may not be like the rest.
            let profile = Some(*timed.recognizer().profile()).filter(|_| to.0 >= SAMPLE_BYTES_MIN);
            Ok(Looked::Seen(Seen { span: number, clear, line, within, profile }))
        };
        match self.reads.run(&file, looking).await {
            Ok(Looked::Seen(seen)) => {
                if let Some(awaited) = &mut self.ends_at {
                    awaited.seen = Some(seen);
                }
                Some(seen.clear)
            }
            Ok(Looked::End(offset)) => {
                self.end_at(TimelinePosition { span: span.number, offset });
                None
            }
            // The read of the same bytes says why.
            Err(_) => Some(to),
        }
    }

    /// Ends the stream before the first line that is not before the end of the wanted time, or with
    /// the bytes that are there now.
    async fn stop_at_time(&mut self) {
        let Some(awaited) = &self.ends_at else { return };
        let (until, seen) = (awaited.until, awaited.seen);
        let Some(span) = self.span().cloned() else {
            self.ends_at = None;
            self.cursor.stop_at(None);
            return;
        };
        let found = self.seek_time(&span, span.end(), until).await;
        // A log without times has ended with what was there before.
        let seen = seen.filter(|seen| seen.span == span.number).map(|seen| seen.clear);
        let offset = found.unwrap_or_else(|| span.end()).max(seen.unwrap_or_default());
        self.end_at(TimelinePosition { span: span.number, offset });
    }

    fn end_at(&mut self, stop: TimelinePosition) {
        self.ends_at = None;
        self.cursor.stop_at(Some(stop));
    }
}
