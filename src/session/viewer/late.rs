//! Late bytes that a resuming viewer has missed.
//!
//! A writer may keep a file that was rotated away, and write to it when the stream is already in
//! the next file. A position names only one file. A viewer that was disconnected when such bytes
//! came, or whose server ended before it sent them, would never receive them. So the viewer also
//! sends the offsets that it has reached in earlier files. The server first sends the rest of those
//! files, one after the other, and then continues at the viewer's position.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::timeline::Span;
use crate::log::{Generation, Offset};
use crate::session::viewer::Viewer;
use crate::wire::request::Late;

/// The rest of an earlier file.
pub(super) enum LateBytes {
    /// From this offset to the end of the span.
    Found(Arc<Span>, Offset),
    /// There may be such bytes, but they can't be found.
    Lost(Generation, Offset),
    /// Like [`Lost`](Self::Lost), for a generation that this program has not issued.
    Unknown,
}

impl Viewer {
    /// The span in which a viewer that has `span` up to `offset` continues. When the stream returns
    /// to a file later, the same offset is in two of its spans.
    pub(super) fn span_to_resume(&self, span: Arc<Span>, offset: Offset) -> Arc<Span> {
        if !span.is_closed() || span.end() != offset {
            return span;
        }
        let is_begun = |next: &Span| {
            self.request.late.iter().any(|late| {
                late.generation.is_some_and(|known| next.generation.is(&known))
                    && next.from < late.offset
            })
        };
        self.subscription.follower.timeline().resume_span(&span, is_begun)
    }

    /// The late bytes of earlier files that a viewer that continues in `span` would not receive, in
    /// the order in which the viewer left the files.
    pub(super) async fn late_bytes(&self, span: &Arc<Span>) -> VecDeque<LateBytes> {
        let mut found = VecDeque::new();
        // Two servers may have issued two generations for one file. The viewer's last one counts.
        let mut seen: Vec<Generation> = Vec::new();
        for late in self.request.late.iter().rev() {
            if let Some(one) = self.late_bytes_of(*late, span, &mut seen).await {
                found.push_front(one);
            }
        }
        found
    }

    async fn late_bytes_of(
        &self,
        Late { generation, offset }: Late,
        span: &Arc<Span>,
        seen: &mut Vec<Generation>,
    ) -> Option<LateBytes> {
        let Some(generation) = generation else { return Some(LateBytes::Unknown) };
        // The position itself says how much of its file the viewer has.
        if generation.is(&span.generation) || self.request.begin.is_of(generation) {
            return None;
        }
        let follower = &self.subscription.follower;
        let known = follower.timeline().last_before(span.number, generation);
        let before = match known {
            Some(before) => before,
            None if follower.timeline().contains(generation) => return None,
            None => match self.find_generation(generation, offset).await {
                // Under the generation of this server, a later span may have more of the file.
                Some(found) => {
                    let last = follower.timeline().last_before(span.number, found.generation);
                    last.unwrap_or(found)
                }
                None => return Some(LateBytes::Lost(generation, offset)),
            },
        };
        if before.generation.is(&span.generation)
            || seen.iter().any(|other| before.generation.is(other))
        {
            return None;
        }
        seen.push(before.generation);
        let is_met_later = before.number > span.number && !before.is_rotated();
        (before.end() > offset && !is_met_later).then_some(LateBytes::Found(before, offset))
    }
}
