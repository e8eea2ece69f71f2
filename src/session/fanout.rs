//! Each chunk is rendered and encoded once for each form, by the first viewer that meets it.
//!
//! The painter that renders the live chunks is shared too. A viewer that has read history with a painter of its own
//! gives it to the others when nobody else has one at that place, and drops it otherwise: viewers that keep up hold
//! no terminal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dashmap::DashMap;

use crate::log::fingerprint::Fingerprint;
use crate::log::metrics::Counter;
use crate::log::timeline::Span;
use crate::log::{Chunk, Follower, LogPath, Offset};
use crate::session::checkpoints::{Checkpoint, Checkpoints, replay};
use crate::session::renderer::Renderer;
use crate::session::viewer::ByteRange;
use crate::wire::frame::{Form, Frame, Frames};

/// The fan-outs of all logs that are looked at.
#[derive(Default)]
pub struct Fanouts {
    logs: DashMap<LogPath, Weak<Fanout>>,
    /// They outlive the last viewer for a little, as the follower does, since viewers often come back soon.
    checkpoints: DashMap<LogPath, (Weak<Follower>, Arc<Checkpoints>)>,
    renders: Counter,
}

impl Fanouts {
    /// How often a piece of a log was rendered and encoded in a form, for all viewers or for one.
    pub(super) fn renders(&self) -> u64 {
        self.renders.get()
    }

    /// The checkpoints of a follower's log, which are kept until the follower ends.
    pub(super) fn checkpoints(self: &Arc<Self>, follower: &Arc<Follower>) -> Arc<Checkpoints> {
        let is_own = |other: &Weak<Follower>| std::ptr::eq(other.as_ptr(), Arc::as_ptr(follower));
        let kept = self.checkpoints.get(follower.log());
        if let Some((_, checkpoints)) = kept.as_deref().filter(|(other, _)| is_own(other)) {
            return Arc::clone(checkpoints);
        }
        drop(kept);
        let own = Arc::downgrade(follower);
        let mut entry = self.checkpoints.entry(follower.log().clone()).or_default();
        if !is_own(&entry.0) {
            *entry = (Weak::clone(&own), Arc::default());
            let (fanouts, log, ended) =
                (Arc::clone(self), follower.log().clone(), follower.ended());
            tokio::spawn(async move {
                ended.await;
                // Another follower may have the log by now.
                fanouts.checkpoints.remove_if(&log, |_, (other, _)| other.ptr_eq(&own));
            });
        }
        Arc::clone(&entry.1)
    }

    /// The fan-out of a follower's log, for as long as somebody holds it.
    pub(super) fn of(self: &Arc<Self>, follower: &Arc<Follower>) -> Arc<Fanout> {
        let states = self.checkpoints(follower);
        let mut entry = self.logs.entry(follower.log().clone()).or_default();
        if let Some(fanout) = entry.upgrade() {
            return fanout;
        }
        let fanout = Arc::new(Fanout {
            fanouts: Arc::clone(self),
            log: follower.log().clone(),
            shared: std::array::from_fn(|_| Mutex::default()),
            histories: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            states,
            replaying: tokio::sync::Mutex::default(),
        });
        *entry = Arc::downgrade(&fanout);
        fanout
    }
}

/// What the viewers of one log share.
pub struct Fanout {
    fanouts: Arc<Fanouts>,
    log: LogPath,
    shared: [Mutex<Shared>; Form::COUNT],
    /// What was rendered last for one that joined, while somebody is still at it.
    histories: [tokio::sync::Mutex<Weak<History>>; Form::COUNT],
    states: Arc<Checkpoints>,
    /// Who holds it finds out a state for those who wait.
    replaying: tokio::sync::Mutex<()>,
}

/// The lines that a viewer is given when it joins. Many who come at the same time are given the same.
#[derive(Debug)]
pub(super) struct History {
    pub(super) stretch: ByteRange,
    pub(super) frames: Frames,
    /// The place behind it.
    pub(super) fingerprint: Fingerprint,
}

impl Drop for Fanout {
    fn drop(&mut self) {
        // Another may have taken the place since the last holder left.
        self.fanouts.logs.remove_if(&self.log, |_, fanout| fanout.strong_count() == 0);
    }
}

impl Fanout {
    /// The frames of a chunk. None when nobody has rendered up to its start: the viewer then renders by itself.
    /// `own` is the viewer's own painter, given up in exchange for the shared one.
    pub(super) fn frames(
        &self,
        chunk: &Arc<Chunk>,
        form: Form,
        own: &mut Option<Renderer>,
    ) -> Option<Frames> {
        self.shared(form).frames(chunk, form, own, &self.fanouts.renders)
    }

    /// Takes a viewer's painter into common use where nobody has one, and away where it has no more to say than the
    /// shared one: viewers that wait hold none.
    pub(super) fn settle(&self, span: u64, at: Offset, form: Form, own: &mut Option<Renderer>) {
        if !own.as_ref().is_some_and(|own| own.is_at(span, at)) {
            return;
        }
        let mut shared = self.shared(form);
        match &shared.painter {
            Some(painter) if painter.is_at(span, at) => {
                *own = own.take().and_then(|own| shared.teach(own));
            }
            Some(_) => {}
            None => shared.painter = own.take(),
        }
    }

    /// Counts what a viewer has rendered for itself.
    pub(super) fn count_own(&self) {
        self.fanouts.renders.add(1);
    }

    /// A painter at a place, whose rows have been seen: that of the others, or one with the state that the log has there.
    pub(super) async fn painter(&self, span: &Arc<Span>, at: Offset, form: Form) -> Renderer {
        match self.painter_at(span.number, at, form) {
            Some(painter) => painter,
            None => {
                let state = self.state_at(span, at).await;
                self.new_painter(span.number, state, form)
            }
        }
    }

    /// A painter that goes on where a terminal stands.
    pub(super) fn new_painter(&self, span: u64, state: Checkpoint, form: Form) -> Renderer {
        Renderer::new(span, state, form, &self.states)
    }

    /// What a terminal is like that has seen everything of a span before `at`, as far as it is known: a start where
    /// nothing was seen before knows the row that holds the place, and nothing else.
    pub async fn state_at(&self, span: &Arc<Span>, at: Offset) -> Checkpoint {
        let _turn = self.replaying.lock().await;
        let known = self.states.before(span.number, at);
        let state = match (known, span.file()) {
            (Some(state), _) if state.at() == at => return state,
            (known, Some(file)) => replay(known, &file, at).await,
            (_, None) => return Checkpoint::new(at),
        };
        self.states.keep_asked(span.number, &state);
        state
    }

    /// A copy of the painter that has rendered up to this place, if it is still there.
    pub(super) fn painter_at(&self, span: u64, at: Offset, form: Form) -> Option<Renderer> {
        let shared = self.shared(form);
        let painters = [&shared.painter, &shared.before_turn];
        painters.into_iter().flatten().find(|painter| painter.is_at(span, at)).cloned()
    }

    /// The history that was rendered last in this form. Who holds the lock renders for those who wait.
    pub(super) fn history(&self, form: Form) -> &tokio::sync::Mutex<Weak<History>> {
        &self.histories[form.slot()]
    }

    fn shared(&self, form: Form) -> MutexGuard<'_, Shared> {
        self.shared[form.slot()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most bytes of frames that are kept for those who are behind by a few chunks, for each log and form.
/// What has been deflated of them comes on top, and is smaller.
const RECENT_BYTES_MAX: usize = 512 * 1024;

#[derive(Default)]
struct Shared {
    painter: Option<Renderer>,
    /// The painter of the span before, at its end: what it held back is still to be told to some.
    before_turn: Option<Renderer>,
    /// The frames of chunks that not everybody has had yet.
    recent: VecDeque<(Weak<Chunk>, Frames)>,
    /// What these frames weigh.
    recent_bytes: usize,
}

impl Shared {
    fn frames(
        &mut self,
        chunk: &Arc<Chunk>,
        form: Form,
        own: &mut Option<Renderer>,
        renders: &Counter,
    ) -> Option<Frames> {
        let Some(known) = self.known(chunk).cloned() else {
            let frames = self.encode(chunk, form, own)?;
            renders.add(1);
            self.keep(chunk, &frames);
            *own = None;
            return Some(frames);
        };
        let knows_more = |own: &mut Renderer| {
            let shared = self.painter.as_ref();
            own.is_at(chunk.span, chunk.start)
                && shared.is_some_and(|shared| own.origin() < shared.origin())
        };
        let Some(mut mine) = own.take().take_if(knows_more) else { return Some(known) };
        // It goes on by itself until it stands where the shared one stands.
        renders.add(1);
        let (frames, _) = mine.paint(&chunk.bytes, form, usize::MAX);
        *own = self.teach(mine);
        Some(frames)
    }

    fn known(&self, chunk: &Arc<Chunk>) -> Option<&Frames> {
        let same =
            |(known, _): &&(Weak<Chunk>, Frames)| std::ptr::eq(known.as_ptr(), Arc::as_ptr(chunk));
        self.recent.iter().rev().find(same).map(|(_, frames)| frames)
    }

    fn keep(&mut self, chunk: &Arc<Chunk>, frames: &Frames) {
        let weight = |frames: &Frames| frames.iter().map(Frame::weight).sum::<usize>();
        self.recent_bytes += weight(frames);
        self.recent.push_back((Arc::downgrade(chunk), frames.clone()));
        // A chunk that everybody has had is gone from the broadcast.
        while let Some((oldest, _)) = self.recent.front()
            && (oldest.strong_count() == 0
                || (self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1))
        {
            let Some((_, frames)) = self.recent.pop_front() else { break };
            self.recent_bytes -= weight(&frames);
        }
    }

    /// Takes over what a painter knows that stands at the same place. Gives it back if it stands elsewhere.
    fn teach(&mut self, own: Renderer) -> Option<Renderer> {
        match &mut self.painter {
            Some(painter) if painter.is_where(&own) => {
                painter.learn(own);
                None
            }
            _ => Some(own),
        }
    }

    fn encode(&mut self, chunk: &Chunk, form: Form, own: &mut Option<Renderer>) -> Option<Frames> {
        if !form.is_rendered() {
            return Some(form.raw(chunk.start, &chunk.bytes));
        }
        if !self.painter.as_ref().is_some_and(|painter| painter.is_at(chunk.span, chunk.start)) {
            let own = own.take_if(|own| own.is_at(chunk.span, chunk.start))?;
            self.before_turn = self.painter.replace(own);
        }
        *own = own.take().and_then(|own| self.teach(own));
        let (frames, _) = self.painter.as_mut()?.paint(&chunk.bytes, form, usize::MAX);
        Some(frames)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn chunk(start: u64, text: &'static str) -> Arc<Chunk> {
        Arc::new(Chunk {
            span: 1,
            start: Offset(start),
            bytes: Bytes::from_static(text.as_bytes()),
        })
    }

    #[test]
    fn who_has_seen_more_teaches_the_others() {
        let states = Arc::default();
        let painter = |from: u64, log: &str| {
            let mut painter = Renderer::new(1, Checkpoint::new(Offset(from)), Form::Rows, &states);
            painter.paint(log.as_bytes(), Form::Rows, usize::MAX);
            Some(painter)
        };
        let mut shared = Shared::default();
        let chunks = [chunk(7, "a\n"), chunk(9, "b\n"), chunk(11, "c\n")];
        let mut frames = |i: usize, own: &mut Option<Renderer>| {
            let frames = shared
                .frames(&chunks[i], Form::Rows, own, &Counter::default())
                .expect("a painter is there");
            String::from_utf8(frames[0].payload().to_vec()).unwrap().contains("--red")
        };
        let mut knows_little = painter(7, "");
        assert!(!frames(0, &mut knows_little) && knows_little.is_none());
        assert!(!frames(1, &mut None));
        // It comes late, and is not made to forget what it knows.
        let mut knows_all = painter(0, "\x1b[31m_\n");
        assert!(frames(0, &mut knows_all) && knows_all.is_some(), "the others are further on");
        assert!(frames(1, &mut knows_all) && knows_all.is_none(), "where the others stand");
        assert!(frames(2, &mut None), "the others know it now");
    }
}
