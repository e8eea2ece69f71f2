//! The files of a log of another machine, as far as that says and gives them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::log::fingerprint::Fingerprint;
use crate::log::follower::events::FileEvent;
use crate::log::follower::history::{HistoryFile, Past};
use crate::log::follower::old_files::NextRotated;
use crate::log::follower::{Event, Follower};
use crate::log::mirrored::{FoundFile, Mirror, Successor};
use crate::log::position::{Generation, Offset};
use crate::log::timeline::{Reason, Span, SpanReader, Timeline};

/// What another server has shown of a log of another machine already is waited for this long.
const COMING_TIME_MAX: Duration = Duration::from_secs(5);
/// So many files may a server have to come to after its start, and for so long is that waited for.
const REPLAYED_MAX: usize = 64;
const REPLAY_TIME_MAX: Duration = Duration::from_secs(10);

impl Follower {
    /// The span of a position in a log of another machine.
    pub(super) async fn find_elsewhere(
        &self,
        mirror: &Arc<dyn Mirror>,
        generation: Generation,
        offset: Offset,
    ) -> Option<Arc<Span>> {
        let known = self.timeline().last_of(generation).map(|span| span.end());
        let may_come = match known {
            Some(end) => end < offset,
            None => mirror.next(&self.log, generation).await.is_none(),
        };
        if may_come {
            // It may be the present one. Another server may have been a moment ahead.
            let find = |timeline: &Timeline| timeline.find(generation, offset);
            if let Some(found) = self.wait_for(find).await {
                return Some(found);
            }
        }
        let found = mirror.find(&self.log, generation, offset).await.ok()??;
        self.take_in_mirrored(found, offset)
    }

    /// Adds a file that was found. Its machine may have said that there is more of the present one than
    /// was published.
    fn take_in_mirrored(&self, found: FoundFile, offset: Offset) -> Option<Arc<Span>> {
        let (span, has_grown) = {
            let mut timeline = self.timeline();
            let end = |timeline: &Timeline| timeline.latest().map(|span| span.end());
            let before = end(&timeline);
            let span = timeline.add_mirrored(found, offset);
            (span, end(&timeline) != before)
        };
        if has_grown {
            self.send(Event::TimelineChanged);
        }
        span
    }

    /// Waits for something to come into the timeline.
    async fn wait_for<T>(&self, find: impl Fn(&Timeline) -> Option<T>) -> Option<T> {
        let mut events = self.subscribe();
        let coming = async {
            loop {
                let found = find(&self.timeline());
                if found.is_some() {
                    return found;
                }
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return None;
                }
            }
        };
        timeout(COMING_TIME_MAX, coming).await.ok().flatten()
    }

    /// What had the name after a file of another machine that was not followed to its end.
    pub(super) async fn find_next_elsewhere(
        &self,
        mirror: &Arc<dyn Mirror>,
        span: &Span,
    ) -> NextRotated {
        let before = span.signed();
        let finding = self.finding.lock().await;
        let next = mirror.next(&self.log, before).await;
        let Some(Successor { generation: next, is_direct }) =
            next.filter(|next| !next.generation.is(&before))
        else {
            // This finds no file, and may take long.
            drop(finding);
            self.wait_for_replay(mirror, before).await;
            return NextRotated::unknown();
        };
        // Who said how long it is when it was found may have known less of it than who says what comes
        // next.
        if let Ok(Some(found)) = mirror.find(&self.log, before, Offset(0)).await {
            self.take_in_mirrored(found, Offset(0));
        }
        let find = |timeline: &Timeline| {
            let first = timeline.first_of(next);
            first.map(|span| SpanReader::enter(&span))
        };
        let is_known = self.timeline().turned_to(next);
        let span = if is_known || mirror.next(&self.log, next).await.is_none() {
            self.wait_for(find).await
        } else {
            None
        };
        let span = match span {
            Some(span) => Some(span),
            None => {
                let Ok(Some(found)) = mirror.find(&self.log, next, Offset(0)).await else {
                    return NextRotated::unknown();
                };
                let span = self.take_in_mirrored(found, Offset(0));
                span.map(|span| SpanReader::enter(&span))
            }
        };
        let follows_directly = is_direct && span.is_some();
        NextRotated::new(span, follows_directly)
    }

    /// A server that was started again may begin with an older file than a viewer has got to elsewhere.
    /// Then waits until it has come to that one, too.
    async fn wait_for_replay(&self, mirror: &Arc<dyn Mirror>, generation: Generation) {
        let first = self.timeline().first_generation();
        let Some(mut earlier) = first.filter(|first| !first.is(&generation)) else { return };
        let replay = async {
            for _ in 0..REPLAYED_MAX {
                let Some(next) = mirror.next(&self.log, earlier).await else { return };
                if next.generation.is(&generation) {
                    let _replayed = self.wait_for(|timeline| timeline.last_of(generation)).await;
                    return;
                }
                earlier = next.generation;
            }
        };
        let _in_time = timeout(REPLAY_TIME_MAX, replay).await;
    }

    /// What comes next in the history of a log of another machine.
    pub(super) async fn find_next_named_elsewhere(
        self: &Arc<Self>,
        mirror: &Arc<dyn Mirror>,
        span: &Span,
    ) -> NextRotated {
        let history = self.history_elsewhere(mirror).await;
        let own = history.iter().position(|file| file.generation.is(&span.generation));
        let Some(own) = own else { return self.find_next_elsewhere(mirror, span).await };
        let is_complete = !history[own].is_gap_after();
        let next = history.get(own + 1).filter(|next| {
            let is_followed = self.timeline().turned_to(next.generation);
            next.past.is_some() && !is_followed
        });
        let Some(next) = next else {
            return NextRotated::new(None, is_complete);
        };
        let span = self.open_elsewhere(mirror, next.generation).await;
        let follows_directly = is_complete && span.is_some();
        NextRotated::new(span, follows_directly)
    }

    /// The span of a file of another machine's log, from its first byte on.
    pub(super) async fn open_elsewhere(
        &self,
        mirror: &Arc<dyn Mirror>,
        generation: Generation,
    ) -> Option<SpanReader> {
        let known = {
            let timeline = self.timeline();
            timeline.find(generation, Offset(0)).map(|span| SpanReader::enter(&span))
        };
        if known.is_some() {
            return known;
        }
        let found = mirror.find(&self.log, generation, Offset(0)).await.ok()??;
        self.take_in_mirrored(found, Offset(0)).map(|span| SpanReader::enter(&span))
    }

    /// The same for a log of another machine. What that does not say is not known.
    pub(super) async fn history_elsewhere(&self, mirror: &Arc<dyn Mirror>) -> Vec<HistoryFile> {
        let past = match mirror.past(&self.log).await {
            Ok(past) => past,
            Err(refusal) => {
                tracing::debug!(log = %self.log.display(), %refusal, "its past is not known");
                Vec::new()
            }
        };
        let files = past.into_iter().filter_map(|file| {
            let path = self.access.locate(&file.path).ok()?;
            let known = self.timeline().known_twin(&file.generation);
            Some(HistoryFile {
                generation: known.unwrap_or(file.generation),
                compression: file.compression,
                modified: file.modified,
                disk_size: file.disk_size,
                past: Some(Past::Elsewhere { path, is_gap_after: file.is_gap_after }),
            })
        });
        self.with_present(files.collect())
    }
}

/// An event of another machine without what was published before it was told: a viewer that knew more
/// may have asked how long the file is.
pub(super) fn without_known(event: FileEvent, timeline: &Timeline) -> FileEvent {
    match event {
        FileEvent::Began { generation, head, before, reason: Reason::Back, file } => {
            let known = timeline.last_of(generation).map(|span| span.end());
            let before = match known.filter(|known| before.offset() < *known) {
                Some(known) => Fingerprint::at(known),
                None => before,
            };
            FileEvent::Began { generation, head, before, reason: Reason::Back, file }
        }
        FileEvent::Bytes { start, mut bytes, written, head } => {
            let end = timeline.latest().map_or(start, |span| span.end());
            let known = usize::try_from(end.0.saturating_sub(start.0)).unwrap_or(usize::MAX);
            let known = known.min(bytes.len());
            FileEvent::Bytes {
                start: start.plus(known),
                bytes: bytes.split_off(known),
                written,
                head,
            }
        }
        event => event,
    }
}

#[cfg(test)]
mod tests;
