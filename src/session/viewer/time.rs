//! A viewer of a part of a log, by the times of its lines: where that begins and ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::log::file::LogFile;
use crate::log::timeline::Span;
use crate::log::{Event, Offset, TimelinePosition};
use crate::session::cursor::SpanHandle;
use crate::session::viewer::Viewer;
use crate::session::viewer::seek::{Found, Place};
use crate::wire::request::StartAt;

/// How long after the end of the wanted time lines of that time are awaited.
const LATE_LINES: Duration = Duration::from_secs(1);

/// A place in a file of the log.
struct Timed {
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
                _ if self.request.tail => self.ends_at = Some(until),
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
            (Some(first), last, Some(lines)) => {
                let end = match last {
                    Some(last) if last.span.number == first.span.number => last.offset,
                    // The end is in a later file.
                    Some(last) => {
                        let (span, handle) = (last.span, last.handle);
                        let place = Place::LinesBefore(lines, last.offset, Offset(0));
                        return Some(Found { span, handle, place, is_requested });
                    }
                    None if Some(first.span.number) == present.map(|span| span.number) => end,
                    None => first.span.end(),
                };
                let place = Place::LinesBefore(lines, end.max(first.offset), first.offset);
                Some(Found { span: first.span, handle: first.handle, place, is_requested })
            }
            (None, Some(last), Some(lines)) => {
                let place = Place::LinesBefore(lines, last.offset, Offset(0));
                Some(Found { span: last.span, handle: last.handle, place, is_requested })
            }
        }
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
            let end = span.end();
            let Some(offset) = self.seek_time(&span, end, time).await else { break };
            if offset >= end && end > Offset(0) {
                break;
            }
            let handle = Some(reader.into());
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
            if line >= end {
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
            let Some(until) = self.ends_at else {
                return Some(self.subscription.events.recv().await);
            };
            let end = UNIX_EPOCH + Duration::from_millis(u64::try_from(until).unwrap_or(0));
            // The clock may be set meanwhile.
            let left = (end + LATE_LINES).duration_since(SystemTime::now()).unwrap_or_default();
            let pause = left.min(Duration::from_secs(60));
            match timeout(pause, self.subscription.events.recv()).await {
                Ok(event) => return Some(event),
                Err(_) if pause < left => {}
                Err(_) => {
                    self.stop_at_time(until).await;
                    return None;
                }
            }
        }
    }

    /// Ends the stream before the first line that is not before a time.
    async fn stop_at_time(&mut self, time: i64) {
        let span = self.span().cloned();
        let stop = match &span {
            Some(span) => self.seek_time(span, span.end(), time).await,
            None => None,
        };
        self.ends_at = None;
        self.cursor.stop_at(span.map(|span| TimelinePosition {
            span: span.number,
            offset: stop.unwrap_or(span.end()),
        }));
    }
}
