//! What a viewer that comes back may have missed of the files before that of its position.
//!
//! A writer may stay with a file that was rotated away, and its bytes come when the stream has turned to the next. A
//! position is in one file: a viewer that was away when they came, or before the server that was to tell them ended,
//! walks on and never meets them. It says how far it had those files, gets their bytes first, one file after the other,
//! and then goes back.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::timeline::{Reason, Span, SpanReader};
use crate::log::{Generation, Offset};
use crate::session::viewer::saved_cursor::{SpanCursor, fingerprint};
use crate::session::viewer::{Item, Viewer};
use crate::wire::request::Late;

/// Ways aside, once the stream has been opened.
#[derive(Clone, Debug)]
pub(super) struct LateReplay {
    due: VecDeque<PendingReplay>,
    /// Where it goes back to after the last, once it has set out.
    home: Option<SpanCursor>,
    /// The bytes of one are being read.
    reading: bool,
}

/// One way aside.
#[derive(Clone, Debug)]
enum PendingReplay {
    /// The bytes from this place on come first.
    Bytes(SpanCursor),
    /// There may be such bytes, and they can't be found.
    Lost(Generation, Offset),
}

impl Viewer {
    /// The span in which the viewer goes on: where a file ends and is gone back to later, the same offset is in both spans.
    pub(super) fn behind_late(&self, span: Arc<Span>, offset: Offset) -> Arc<Span> {
        if !span.is_closed() || span.end() != offset {
            return span;
        }
        let is_begun = |next: &Span| {
            self.start.late.iter().any(|late| {
                late.generation.is_some_and(|known| next.generation.is(&known))
                    && next.from < late.offset
            })
        };
        self.subscription.follower.timeline().resume_span(&span, is_begun)
    }

    /// What of the files before is not met on the way from this place.
    pub(super) async fn look_aside(&self, span: &Arc<Span>, at: Offset) -> Option<LateReplay> {
        let mut due: VecDeque<PendingReplay> = VecDeque::new();
        // One file may be known by two names, given by two servers: what was had last counts.
        let mut seen: Vec<Generation> = Vec::new();
        for late in self.start.late.iter().rev() {
            if let Some(one) = self.look_at(*late, span, at, &mut seen).await {
                due.push_front(one);
            }
        }
        (!due.is_empty()).then_some(LateReplay { due, home: None, reading: false })
    }

    async fn look_at(
        &self,
        late: Late,
        span: &Arc<Span>,
        at: Offset,
        seen: &mut Vec<Generation>,
    ) -> Option<PendingReplay> {
        let Late { generation, offset } = late;
        // What was never a generation of ours has no text that could be told.
        let Some(generation) = generation else {
            return Some(PendingReplay::Lost(span.generation, at));
        };
        // How far it had the file of its position, that position says, whether it was honoured or not.
        if generation.is(&span.generation) || self.start.begin.is_of(generation) {
            return None;
        }
        let follower = &self.subscription.follower;
        let known = follower.timeline().last_before(span.number, generation);
        let before = match known {
            Some(before) => before,
            None if follower.timeline().contains(generation) => return None,
            None => match self.find_generation(generation, offset).await {
                // Under the name by which this server knows it there may be more of it, further on.
                Some(found) => {
                    follower.timeline().last_before(span.number, found.generation).unwrap_or(found)
                }
                None => return Some(PendingReplay::Lost(generation, offset)),
            },
        };
        if before.generation.is(&span.generation)
            || seen.iter().any(|other| before.generation.is(other))
        {
            return None;
        }
        seen.push(before.generation);
        if before.end() <= offset || (before.number > span.number && !before.is_rotated()) {
            return None;
        }
        let fingerprint = fingerprint(before.file().as_ref(), offset).await;
        Some(PendingReplay::Bytes(SpanCursor::new(
            SpanReader::enter(&before),
            fingerprint,
            self.start.signed,
        )))
    }

    /// Goes to the bytes that come first. Behind what is lost nothing is read before the next step.
    pub(super) fn step_aside(&mut self) -> Option<Item> {
        let aside = self.aside.as_mut().filter(|aside| !aside.reading)?;
        if aside.home.is_none() {
            aside.home = Some(self.at.clone()?);
        }
        self.step_back()
    }

    /// Goes to those that come next when they have been given, or back.
    pub(super) fn step_back(&mut self) -> Option<Item> {
        let aside = self.aside.as_mut()?;
        let next = aside.due.pop_front();
        aside.reading = matches!(next, Some(PendingReplay::Bytes(_)));
        match next {
            Some(PendingReplay::Bytes(at)) => {
                let (generation, from) = (at.generation, at.offset());
                self.at = Some(at);
                Some(Item::Reset { generation, from, reason: Reason::Late })
            }
            Some(PendingReplay::Lost(generation, from)) => {
                Some(Item::Gap { generation, from, to: None })
            }
            None => {
                let home = self.aside.take()?.home?;
                let (generation, from) = (home.generation, home.offset());
                self.at = Some(home);
                Some(Item::Reset { generation, from, reason: Reason::Back })
            }
        }
    }
}
