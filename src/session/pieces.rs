//! Pieces of a log that were rendered once, kept while sessions may still need them.
//!
//! A session that keeps up takes the piece of each chunk as it is published. One that has fallen
//! behind takes the pieces that others have rendered since, and neither reads nor renders that part
//! of the log. Where the pieces are gone already, it reads the file up to the next one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crate::log::fingerprint::Fingerprint;
use crate::log::{Chunk, Offset};
use crate::render::Appender;
use crate::session::fanout::Fanout;
use crate::session::renderer::Renderer;
use crate::wire::frame::{Form, Frame, Frames};

/// The most bytes of frames that are kept of a log and form while nobody is behind: for sessions
/// that have not yet taken the latest chunks. Compressed copies come on top, and are smaller.
const RECENT_BYTES_MAX: usize = 512 * 1024;

/// The most bytes of frames that are kept of a log and form for sessions that are behind.
const BEHIND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// While all logs together have more bytes of frames than this, each keeps only the latest.
const TOTAL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A part of a span in one form, and what a session needs to continue after it.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) span: u64,
    pub(super) start: Offset,
    /// The end, with the bytes before it.
    pub(super) end: Fingerprint,
    pub(super) frames: Frames,
    /// Where the terminal that rendered it began.
    pub(super) origin: Offset,
    /// What was sent and held back up to the end. Only for forms that only grow, and only if
    /// somebody was behind.
    pub(super) appender: Option<Arc<Appender>>,
    /// The chunk, if the piece is one.
    chunk: Weak<Chunk>,
}

impl Piece {
    pub(super) fn new(span: u64, start: Offset, bytes: &[u8], frames: Frames) -> Self {
        let mut end = Fingerprint::at(start);
        end.advance(bytes);
        let (origin, chunk) = (Offset(0), Weak::new());
        Self { span, start, end, frames, origin, appender: None, chunk }
    }

    pub(super) fn of_chunk(chunk: &Arc<Chunk>, frames: Frames) -> Self {
        let piece = Self::new(chunk.span, chunk.start, &chunk.bytes, frames);
        Self { chunk: Arc::downgrade(chunk), ..piece }
    }

    /// Stores what a session needs of the renderer to continue without it.
    pub(super) fn rendered_by(&mut self, renderer: &Renderer, form: Form) {
        self.origin = renderer.origin();
        self.appender = form.only_grows().then(|| Arc::new(renderer.appender().clone()));
    }

    fn key(&self) -> (u64, Offset) {
        (self.span, self.start)
    }

    fn size(&self) -> usize {
        self.frames.iter().map(Frame::size).sum()
    }

    fn is_of(&self, chunk: &Chunk) -> bool {
        self.key() == (chunk.span, chunk.start) && self.end.offset() == chunk.end()
    }
}

/// The bytes of the frames that are kept for all logs.
#[derive(Debug, Default)]
pub(super) struct Total(AtomicUsize);

/// The pieces of a log in one form.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    by_start: BTreeMap<(u64, Offset), Arc<Piece>>,
    /// The oldest first. A piece that was replaced since is no longer among the others.
    order: VecDeque<Weak<Piece>>,
    bytes: usize,
    /// How many sessions are behind.
    behind: usize,
}

impl Pieces {
    pub(super) fn of_chunk(&self, chunk: &Chunk) -> Option<&Arc<Piece>> {
        self.by_start.get(&(chunk.span, chunk.start)).filter(|piece| piece.is_of(chunk))
    }

    pub(super) fn at(&self, span: u64, start: Offset) -> Option<&Arc<Piece>> {
        self.by_start.get(&(span, start))
    }

    /// Where the first piece after this offset begins.
    pub(super) fn next_start(&self, span: u64, after: Offset) -> Option<Offset> {
        let later = self.by_start.range((span, after.plus(1))..=(span, Offset(u64::MAX)));
        later.map(|(&(_, start), _)| start).next()
    }

    pub(super) fn behind(&self) -> usize {
        self.behind
    }

    pub(super) fn keep(&mut self, piece: &Arc<Piece>, total: &Total) {
        self.bytes += piece.size();
        total.0.fetch_add(piece.size(), Ordering::Relaxed);
        self.order.push_back(Arc::downgrade(piece));
        if let Some(replaced) = self.by_start.insert(piece.key(), Arc::clone(piece)) {
            self.discount(&replaced, total);
        }
        self.drop_unneeded(total);
    }

    fn discount(&mut self, piece: &Piece, total: &Total) {
        self.bytes -= piece.size();
        total.0.fetch_sub(piece.size(), Ordering::Relaxed);
    }

    fn drop_unneeded(&mut self, total: &Total) {
        while let Some(oldest) = self.order.front() {
            let oldest = oldest.upgrade().filter(|piece| {
                self.by_start.get(&piece.key()).is_some_and(|kept| Arc::ptr_eq(kept, piece))
            });
            if oldest.as_ref().is_some_and(|piece| self.is_needed(piece, total)) {
                return;
            }
            self.order.pop_front();
            if let Some(piece) = oldest {
                self.by_start.remove(&piece.key());
                self.discount(&piece, total);
            }
        }
    }

    /// Whether the oldest piece is kept.
    fn is_needed(&self, oldest: &Piece, total: &Total) -> bool {
        let is_little = self.bytes <= RECENT_BYTES_MAX || self.by_start.len() == 1;
        if self.behind == 0 {
            // The broadcast drops a chunk that everybody has taken.
            return is_little && oldest.chunk.strong_count() > 0;
        }
        let has_room = total.0.load(Ordering::Relaxed) <= TOTAL_BYTES_MAX;
        is_little || (has_room && self.bytes <= BEHIND_BYTES_MAX)
    }

    pub(super) fn fall_behind(&mut self) {
        self.behind += 1;
    }

    /// A session is no longer behind. Returns whether it was the last.
    pub(super) fn catch_up(&mut self, total: &Total) -> bool {
        self.behind -= 1;
        self.drop_unneeded(total);
        self.behind == 0
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self, total: &Total) {
        total.0.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        self.by_start.clear();
        self.order.clear();
    }
}

/// While it exists, a session is behind, and pieces are kept for it.
pub struct Behind {
    fanout: Arc<Fanout>,
    form: Form,
}

impl Behind {
    /// None in a form that is not rendered: to read the bytes again costs less than to keep them.
    pub(super) fn new(fanout: &Arc<Fanout>, form: Form) -> Option<Self> {
        form.is_rendered().then(|| {
            fanout.fall_behind(form);
            Self { fanout: Arc::clone(fanout), form }
        })
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.fanout.catch_up(self.form);
    }
}

impl fmt::Debug for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Behind").field("form", &self.form).finish_non_exhaustive()
    }
}
