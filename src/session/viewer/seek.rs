//! Finds where a stream starts: lines before the end, or a position, which is accepted only if its
//! file is provably the same.
//!
//! All that it needs is read in one call on a blocking thread: line starts, the bytes before the
//! start, the size of the file, and the first bytes of the stream. A start in the log's history is
//! sought first.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::file::{LogFile, Read, Status};
use crate::log::fingerprint::Fingerprint;
use crate::log::line_starts::LinesBefore;
use crate::log::timeline::{Next, Span};
use crate::log::{Generation, Offset, TimelinePosition};
use crate::render::Interpretation;
use crate::session::cursor::{Cursor, NextSpan, Replay, SpanCursor, SpanHandle};
use crate::session::viewer::late::LateBytes;
use crate::session::viewer::{
    ByteRange, Item, RETRY_INTERVAL, Start, Viewer, options, read_checked,
};
use crate::wire::request::{StartAt, WantedGeneration};

/// How far back in one file of a log's history the lines are counted at which a stream starts, in
/// bytes.
const BACK_BYTES_MAX: u64 = 1 << 30;

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
    /// Keeps its file open, where that is not the present one.
    handle: Option<SpanHandle>,
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
            (latest, timeline.present().cloned())
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
        let found = match self.find_in_history(present, end).await {
            Some(found) => Some(found),
            None => self.find_start(present, end).await,
        };
        let is_position = matches!(self.request.begin, StartAt::From { .. });
        self.recovered = found.as_ref().map_or(!is_position, |found| found.is_requested);
        if let Some(found) = found {
            self.open_stream(found, reads_ahead).await;
        }
    }

    /// The start in a file that had the log's name before, where the history is wanted and reaches
    /// so far back.
    async fn find_in_history(&self, present: Option<&Arc<Span>>, end: Offset) -> Option<Found> {
        let wanted = match self.request.begin {
            _ if !self.request.history => return None,
            StartAt::Lines(0) | StartAt::From { .. } => return None,
            StartAt::Lines(lines) => Some(lines),
            StartAt::All => None,
        };
        let follower = &self.subscription.follower;
        let mut past = follower.history().await;
        past.retain(|file| file.past_path().is_some());
        let Some(mut left) = wanted else {
            for file in &past {
                if let Some(reader) = follower.open_history(file).await {
                    let (span, handle) = (Arc::clone(reader.span()), Some(reader.into()));
                    let place = Place::At(Offset(0));
                    return Some(Found { span, handle, place, is_requested: true });
                }
            }
            return None;
        };
        if let Some(present) = present {
            left -= self.count_back(present, end, left).await?.1;
        }
        let mut oldest = None;
        for file in past.iter().rev() {
            if left == 0 {
                break;
            }
            let Some(reader) = follower.open_history(file).await else { break };
            let span = Arc::clone(reader.span());
            let end = {
                let timeline = follower.timeline();
                timeline.last_of(file.generation).map_or_else(|| span.end(), |last| last.end())
            };
            let (start, lines) = self.count_back(&span, end, left).await?;
            left -= lines;
            let at = follower.timeline().find(file.generation, start);
            let (span, handle) = match at.filter(|at| at.number != span.number) {
                Some(at) => (Arc::clone(&at), SpanHandle::new(&at)),
                None => (span, reader.into()),
            };
            let (place, handle) = (Place::At(start), Some(handle));
            oldest = Some(Found { span, handle, place, is_requested: true });
        }
        oldest
    }

    /// The start of so many lines before an offset of a span, and how many there are. None where
    /// that is too far back, or the file can't be read.
    async fn count_back(&self, span: &Arc<Span>, end: Offset, lines: u64) -> Option<(Offset, u64)> {
        let (chosen, known) = (self.request.interpretation.encoding, span.detection());
        let newline = chosen.unwrap_or_else(|| known.encoding()).newline();
        let counting = move |file: &LogFile| file.count_back(newline, end, lines, BACK_BYTES_MAX);
        match self.reads.run(&span.file()?, counting).await.ok()? {
            (LinesBefore::All(start), lines) => Some((start, lines)),
            (LinesBefore::Fewer(_), _) => None,
        }
    }

    async fn find_start(&self, present: Option<&Arc<Span>>, end: Offset) -> Option<Found> {
        let lines = match self.request.begin {
            StartAt::Lines(lines) => Some(lines),
            StartAt::All => None,
            StartAt::From { offset, otherwise, .. } => {
                if let Some(span) = self.find_position(present).await {
                    let span = self.span_to_resume(span, offset);
                    let place = Place::At(offset);
                    return Some(Found { span, handle: None, place, is_requested: true });
                }
                if self.subscription.follower.is_out_of_reach() {
                    // Whether the position is good is known when its machine answers.
                    return None;
                }
                if let Some(span) = self.find_unproved().await {
                    let place = Place::At(Offset(0));
                    return Some(Found { span, handle: None, place, is_requested: false });
                }
                otherwise
            }
        };
        let place = lines.map_or(Place::At(Offset(0)), |lines| Place::LinesBefore(lines, end));
        let is_requested = !matches!(self.request.begin, StartAt::From { .. });
        Some(Found { span: Arc::clone(present?), handle: None, place, is_requested })
    }

    /// Reads what the start needs, and opens the stream there.
    async fn open_stream(
        &mut self,
        Found { span, handle, place, is_requested }: Found,
        reads_ahead: impl FnOnce(ByteRange) -> bool + Send + 'static,
    ) {
        // The span is entered first, so that its file stays open during the search for others.
        let handle = handle.unwrap_or_else(|| SpanHandle::new(&span));
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
                let chosen = self.request.interpretation;
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
    chosen: Interpretation,
    place: Place,
    wants: impl FnOnce(ByteRange) -> bool,
) -> Reading {
    let detection = chosen.applied_to(span.detection());
    let newline = detection.encoding().newline();
    let from = match place {
        Place::At(from) => from,
        Place::LinesBefore(0, end) => end,
        Place::LinesBefore(lines, end) => {
            let line = file.last_lines(newline, lines, end).unwrap_or(Offset(0));
            file.joined_start(detection, line).unwrap_or(line)
        }
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
    let begins_row = file.row_start(detection, from).is_ok_and(|start| start == from);
    Reading { before, status, first, begins_row }
}
