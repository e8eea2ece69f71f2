//! Each chunk is rendered and encoded once for each form, by the first viewer that meets it.
//!
//! The painter that renders the live chunks is shared too. A viewer that has read history with a painter of its own
//! gives it to the others when nobody else has one at that place, and drops it otherwise: viewers that keep up hold
//! no terminal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use dashmap::DashMap;

use crate::log::follower::BROADCAST_MESSAGES;
use crate::log::{Chunk, Follower, LogPath, Offset};
use crate::session::frame::{Form, Frame, Frames};
use crate::session::painter::Painter;

/// The fan-outs of all logs that are looked at.
#[derive(Default)]
pub struct Fanouts(DashMap<LogPath, Weak<Fanout>>);

impl Fanouts {
    /// The fan-out of a follower's log, for as long as somebody holds it.
    pub(super) fn of(self: &Arc<Self>, follower: &Follower) -> Arc<Fanout> {
        let mut entry = self.0.entry(follower.log().clone()).or_default();
        if let Some(fanout) = entry.upgrade() {
            return fanout;
        }
        let fanout = Arc::new(Fanout {
            fanouts: Arc::clone(self),
            log: follower.log().clone(),
            shared: std::array::from_fn(|_| Mutex::default()),
        });
        *entry = Arc::downgrade(&fanout);
        fanout
    }
}

/// What the viewers of one log share.
pub struct Fanout {
    fanouts: Arc<Fanouts>,
    log: LogPath,
    shared: [Mutex<Shared>; Form::SHARED],
}

impl Drop for Fanout {
    fn drop(&mut self) {
        // Another may have taken the place since the last holder left.
        self.fanouts.0.remove_if(&self.log, |_, fanout| fanout.strong_count() == 0);
    }
}

/// The most bytes of frames that are kept for those who are behind by a few chunks, for each log and form.
const RECENT_BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
struct Shared {
    painter: Option<Painter>,
    /// The frames of the last chunks: span, start, frames. No more chunks than a viewer can be behind.
    recent: VecDeque<(u64, Offset, Frames)>,
    /// What these frames weigh.
    recent_bytes: usize,
}

impl Fanout {
    /// Whether the chunk has been rendered already, or can be without a viewer's own painter.
    pub(super) fn can_render(&self, chunk: &Chunk, form: Form) -> bool {
        let Some(slot) = form.slot() else { return true };
        let shared = self.shared[slot].lock().unwrap_or_else(PoisonError::into_inner);
        shared.known(chunk).is_some()
            || shared.painter.as_ref().is_some_and(|painter| painter.is_at(chunk.span, chunk.start))
    }

    /// The frames of a chunk. None when nobody has rendered up to its start: the viewer then renders by itself.
    /// `own` is the viewer's own painter, given up in exchange for the shared one.
    pub(super) fn frames(
        &self,
        chunk: &Chunk,
        form: Form,
        own: &mut Option<Painter>,
    ) -> Option<Frames> {
        let Some(slot) = form.slot() else { return Some(form.raw(chunk.start, &chunk.bytes)) };
        let mut shared = self.shared[slot].lock().unwrap_or_else(PoisonError::into_inner);
        let frames = match shared.known(chunk) {
            Some(frames) => frames.clone(),
            None => {
                let frames = shared.encode(chunk, form, own)?;
                shared.keep(chunk, &frames);
                frames
            }
        };
        *own = None;
        Some(frames)
    }
}

impl Shared {
    fn known(&self, chunk: &Chunk) -> Option<&Frames> {
        let same = |(span, start, _): &&(u64, Offset, Frames)| {
            (*span, *start) == (chunk.span, chunk.start)
        };
        self.recent.iter().rev().find(same).map(|(_, _, frames)| frames)
    }

    fn keep(&mut self, chunk: &Chunk, frames: &Frames) {
        let weight = |frames: &Frames| frames.iter().map(Frame::weight).sum::<usize>();
        self.recent_bytes += weight(frames);
        self.recent.push_back((chunk.span, chunk.start, frames.clone()));
        while self.recent.len() > BROADCAST_MESSAGES
            || (self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1)
        {
            let Some((_, _, oldest)) = self.recent.pop_front() else { break };
            self.recent_bytes -= weight(&oldest);
        }
    }

    fn encode(&mut self, chunk: &Chunk, form: Form, own: &mut Option<Painter>) -> Option<Frames> {
        if !form.is_rendered() {
            return Some(form.raw(chunk.start, &chunk.bytes));
        }
        if !self.painter.as_ref().is_some_and(|painter| painter.is_at(chunk.span, chunk.start)) {
            self.painter = Some(own.take_if(|own| own.is_at(chunk.span, chunk.start))?);
        }
        Some(self.painter.as_mut()?.paint(&chunk.bytes, form))
    }
}
