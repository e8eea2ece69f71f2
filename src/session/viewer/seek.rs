//! Finds where a stream starts: lines before the end, or a position, which is accepted only if its
//! file is provably the same.
//!
//! All that it needs is read in one call on a blocking thread: line starts, the bytes before the
//! start, the size of the file, and the first bytes of the stream.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::encoding::Encoding;
use crate::log::file::{LogFile, Read, Status};
use crate::log::fingerprint::Fingerprint;
use crate::log::timeline::{Next, Span};
use crate::log::{Generation, Offset, TimelinePosition};
use crate::session::cursor::{Cursor, NextSpan, Replay, SpanCursor, SpanHandle};
use crate::session::viewer::late::LateBytes;
use crate::session::viewer::{
    ByteRange, Item, RETRY_INTERVAL, Start, Viewer, options, read_checked,
};
use crate::wire::request::{StartAt, WantedGeneration};

/// Where in a span a stream starts.
#[derive(Clone, Copy)]
enum Place {
    /// At this offset.
    At(Offset),
    /// This many lines before this offset.
    LinesBefore(u64, Offset),
}

/// A start that has been found.
struct Found {
    span: Arc<Span>,
    place: Place,
    /// The start is the requested position, or none was requested.
    is_requested: bool,
}

/// What was read at the start of a stream.
struct Reading {
    before: Fingerprint,
    status: Option<Status>,
    first: Option<Bytes>,
    begins_row: bool,
}

impl Viewer {
    /// Finds the start in the log as it is now.
    pub(super) async fn seek_from_present(
        &mut self,
        reads_ahead: impl FnOnce(ByteRange) -> bool + Send + 'static,
    ) {
        let (latest, present) = {
            let timeline = self.subscription.follower.timeline();
            let latest = timeline.latest().cloned();
            (latest.clone(), latest.filter(|_| !timeline.is_waiting()))
        };
        // The log may grow meanwhile: a viewer that does not follow stops here.
        let until =
            present.as_ref().map_or(TimelinePosition { span: 0, offset: Offset(0) }, |present| {
                TimelinePosition { span: present.number, offset: present.end() }
            });
        let after = latest.map_or(self.cursor.span_number(), |span| span.number);
        self.cursor = Cursor::new(options(&self.request, until), after);
        self.seek(present.as_ref(), until.offset, reads_ahead).await;
    }

    /// Finds the start in the span after this one, for a viewer that joined before that span began.
    pub(super) async fn seek_after(&mut self, after: u64) -> Option<Item> {
        if self.subscription.is_barred {
            return self.wait_for_permission().await;
        }
        let next = self.subscription.follower.timeline().after(after);
        let next = match next {
            Next::Span(reader) => {
                self.seek(Some(reader.span()), reader.from, |_| true).await;
                return None;
            }
            Next::Nothing => NextSpan::Nothing,
            Next::Waiting(reason) => NextSpan::Waiting(reason),
            Next::Ended if self.subscription.follower.is_complete() => NextSpan::Complete,
            Next::Ended => NextSpan::Ended,
        };
        self.entered(next).await
    }

    /// Waits until the log may be opened, although others have it open.
    async fn wait_for_permission(&mut self) -> Option<Item> {
        if let Some(step) = self.cursor.on_unreadable() {
            return self.announce(step);
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
        if self.subscription.follower.can_be_opened().await {
            self.seek_from_present(|_| true).await;
            self.subscription.is_barred = false;
        }
        None
    }

    /// Opens the stream at the requested start, with the lines before `end` as its history. Without
    /// a present span the stream is opened only if the requested position is in an earlier span.
    async fn seek(
        &mut self,
        present: Option<&Arc<Span>>,
        end: Offset,
        reads_ahead: impl FnOnce(ByteRange) -> bool + Send + 'static,
    ) {
        let found = self.find_start(present, end).await;
        let is_position = matches!(self.request.begin, StartAt::From { .. });
        self.recovered = found.as_ref().map_or(!is_position, |found| found.is_requested);
        if let Some(found) = found {
            self.open_stream(found, reads_ahead).await;
        }
    }

    async fn find_start(&self, present: Option<&Arc<Span>>, end: Offset) -> Option<Found> {
        let lines = match self.request.begin {
            StartAt::Lines(lines) => Some(lines),
            StartAt::All => None,
            StartAt::From { offset, otherwise, .. } => {
                if let Some(span) = self.find_position(present).await {
                    let span = self.span_to_resume(span, offset);
                    return Some(Found { span, place: Place::At(offset), is_requested: true });
                }
                if let Some(span) = self.find_unproved().await {
                    let place = Place::At(Offset(0));
                    return Some(Found { span, place, is_requested: false });
                }
                otherwise
            }
        };
        let place = lines.map_or(Place::At(Offset(0)), |lines| Place::LinesBefore(lines, end));
        let is_requested = !matches!(self.request.begin, StartAt::From { .. });
        Some(Found { span: Arc::clone(present?), place, is_requested })
    }

    /// Reads what the start needs, and opens the stream there.
    async fn open_stream(
        &mut self,
        Found { span, place, is_requested }: Found,
        reads_ahead: impl FnOnce(ByteRange) -> bool + Send + 'static,
    ) {
        // The span is entered first, so that its file stays open during the search for others.
        let handle = SpanHandle::new(&span);
        let late = self.late_bytes(&span).await;
        let late_files = late.iter().map(|late| match late {
            LateBytes::Found(span, offset) => (span.file(), *offset),
            LateBytes::Lost(_, offset) => (None, *offset),
            LateBytes::Unknown => (None, Offset(0)),
        });
        let late_files: Vec<_> = late_files.collect();
        // Late bytes come before those at the start.
        let has_late = !late.is_empty();
        let from = match place {
            Place::At(from) => from,
            Place::LinesBefore(0, end) => end,
            Place::LinesBefore(..) => Offset(0),
        };
        let nothing = || {
            let before = Fingerprint::at(from);
            let late = late_files.iter().map(|&(_, offset)| Fingerprint::at(offset)).collect();
            (Reading { before, status: None, first: None, begins_row: false }, late)
        };
        let (reading, late_before): (Reading, Vec<Fingerprint>) = match span.file() {
            None => nothing(),
            Some(file) => {
                let (span, files) = (Arc::clone(&span), late_files.clone());
                let chosen = self.request.interpretation.encoding;
                let reading = move |file: &LogFile| {
                    let wants = |range| !has_late && reads_ahead(range);
                    let late = files.into_iter().map(|(file, offset)| {
                        let before = file.and_then(|file| file.fingerprint(offset).ok());
                        before.unwrap_or_else(|| Fingerprint::at(offset))
                    });
                    Ok((read_start(file, &span, chosen, place, wants), late.collect()))
                };
                self.reads.run(&file, reading).await.unwrap_or_else(|_: io::Error| nothing())
            }
        };
        let at = self.span_cursor(handle, reading.before);
        let late = self.replays(late, late_before, &at);
        let first = reading.first.map(|bytes| (at.position(), bytes));
        self.row_start = reading.begins_row.then(|| at.position());
        self.start = Some(Box::new(Start { status: reading.status, bytes: first }));
        self.request.late = Vec::new();
        self.cursor.open_at(at, late, is_requested);
    }

    fn replays(
        &self,
        late: VecDeque<LateBytes>,
        before: Vec<Fingerprint>,
        start: &SpanCursor<SpanHandle>,
    ) -> VecDeque<Replay<SpanHandle>> {
        let replay = |(late, before)| match late {
            LateBytes::Found(span, _) => {
                Replay::Bytes(self.span_cursor(SpanHandle::new(&span), before))
            }
            LateBytes::Lost(generation, offset) => Replay::Lost(generation, offset),
            LateBytes::Unknown => Replay::Lost(start.handle.span().generation, start.offset()),
        };
        late.into_iter().zip(before).map(replay).collect()
    }

    /// The span that holds the requested position, if its file is provably the same.
    async fn find_position(&self, present: Option<&Arc<Span>>) -> Option<Arc<Span>> {
        let StartAt::From { offset, of, .. } = self.request.begin else { return None };
        if let WantedGeneration::Generation(wanted) = of {
            let known = self.subscription.follower.timeline().find(wanted, offset);
            if known.is_some() {
                return known;
            }
        }
        match of {
            WantedGeneration::Present => present.filter(|present| offset <= present.end()).cloned(),
            WantedGeneration::Nothing => None,
            WantedGeneration::Generation(wanted) => self.find_generation(wanted, offset).await,
        }
    }

    /// The span of a file to which the requested position may belong, although that can't be
    /// proved. A stream that starts at the first byte of that file misses nothing.
    async fn find_unproved(&self) -> Option<Arc<Span>> {
        match self.request.begin {
            StartAt::From { of: WantedGeneration::Generation(wanted), otherwise: None, .. } => {
                self.subscription.follower.find_unproved(wanted).await
            }
            _ => None,
        }
    }

    /// The span of a generation that is not the present one, or was not present when it was issued.
    pub(super) async fn find_generation(
        &self,
        wanted: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let follower = &self.subscription.follower;
        let (is_known, is_lost) = {
            let timeline = follower.timeline();
            (timeline.contains(wanted), timeline.is_lost(wanted))
        };
        // A truncation has ended the wanted generation, so it is not the present one. Both may have
        // the same head, which proves nothing.
        if is_lost {
            return None;
        }
        if !is_known {
            // Another server may have issued another generation for the same file.
            let twin = follower.timeline().latest_of_inode(wanted);
            if let Some(twin) = twin
                && self.is_proved(&twin, wanted, offset).await
            {
                let known = follower.timeline().find(twin.generation, offset);
                return match known {
                    Some(span) => Some(span),
                    None => follower.find_rotated(twin.signed(), offset).await,
                };
            }
        }
        follower.find_rotated(wanted, offset).await
    }

    /// Whether the file of a span has the bytes of the wanted generation up to an offset.
    async fn is_proved(&self, span: &Span, wanted: Generation, offset: Offset) -> bool {
        match span.file() {
            Some(file) => {
                let head = self.reads.run(&file, LogFile::head).await;
                head.is_ok_and(|head| wanted.is_proved_by(file.identity(), &head, offset))
            }
            None => wanted.has_signature_of(&span.signed()),
        }
    }
}

/// Reads what a start needs. Runs on a blocking thread.
fn read_start(
    file: &LogFile,
    span: &Span,
    chosen: Option<Encoding>,
    place: Place,
    wants: impl FnOnce(ByteRange) -> bool,
) -> Reading {
    let newline = chosen.unwrap_or_else(|| span.detection().encoding()).newline();
    let from = match place {
        Place::At(from) => from,
        Place::LinesBefore(lines, end) => file.last_lines(newline, lines, end).unwrap_or(Offset(0)),
    };
    let before = file.fingerprint(from).unwrap_or_else(|_| Fingerprint::at(from));
    let status = file.status().ok();
    let range = ByteRange { span: span.number, from, end: span.end() };
    let mut first = None;
    if !range.is_empty()
        && wants(range)
        && let Ok(Read::Bytes(bytes)) =
            read_checked(file, &before, range.end, &span.tail(), span.signed())
        && !bytes.is_empty()
    {
        first = Some(bytes);
    }
    let begins_row = file.row_start(newline, from).is_ok_and(|start| start == from);
    Reading { before, status, first, begins_row }
}
