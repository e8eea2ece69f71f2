//! The shared rendering: each chunk is rendered and encoded once for each form, by the first
//! session that takes it. Viewers that have chosen an encoding have a rendering of their own for it.
//!
//! The renderer of the live chunks is shared, too. A session that has read history with a renderer
//! of its own shares it if there is no shared one at that position, and drops it otherwise. So
//! viewers that keep up hold no terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::encoding::Detection;
use crate::log::fingerprint::Fingerprint;
use crate::log::follower::LINGER;
use crate::log::metrics::Counter;
use crate::log::timeline::Span;
use crate::log::{Chunk, Follower, LogPath, Offset};
use crate::render::{Appender, Interpretation, Rendition};
use crate::session::checkpoints::{Checkpoint, Checkpoints, replay};
use crate::session::merge::MergedChunks;
use crate::session::pieces::{Piece, Pieces, Total};
use crate::session::reads::FileReads;
use crate::session::renderer::Renderer;
use crate::session::session::STEP_BYTES;
use crate::session::viewer::ByteRange;
use crate::wire::frame::{Form, Frames};

/// How many renderers are kept that sessions which are behind have left for others.
const LEFT_RENDERERS_MAX: usize = 4;

/// How many pieces of a log can be rendered at the same time for sessions that are behind.
const TURNS: usize = 8;

/// The fan-outs of all logs.
pub struct Fanouts {
    logs: DashMap<LogKey, LogEntry>,
    renders: Counter,
    gaps: Counter,
    /// What all pieces together take.
    total: Total,
    /// A task is waiting to drop the entries of logs that nobody follows.
    is_cleaning: AtomicBool,
    closed: CancellationToken,
    _close: DropGuard,
}

/// A log, and how its viewers have it understood.
type LogKey = (LogPath, Interpretation);

/// What belongs to one follower. The checkpoints live as long as the follower, which is a little
/// longer than the last viewer, because that viewer may return soon. Those of a chosen
/// interpretation live as long as its viewers.
struct LogEntry {
    follower: Weak<Follower>,
    fanout: Weak<Fanout>,
    checkpoints: Arc<Checkpoints>,
    reads: Arc<FileReads>,
}

impl LogEntry {
    fn new(follower: &Arc<Follower>) -> Self {
        Self {
            follower: Arc::downgrade(follower),
            fanout: Weak::new(),
            checkpoints: Arc::default(),
            reads: Arc::default(),
        }
    }

    fn is_of(&self, follower: &Arc<Follower>) -> bool {
        std::ptr::eq(self.follower.as_ptr(), Arc::as_ptr(follower))
    }

    fn is_used(&self, interpretation: Interpretation) -> bool {
        self.follower.strong_count() > 0
            && (interpretation.is_default() || self.fanout.strong_count() > 0)
    }
}

impl Default for Fanouts {
    fn default() -> Self {
        let closed = CancellationToken::new();
        Self {
            logs: DashMap::new(),
            renders: Counter::default(),
            gaps: Counter::default(),
            total: Total::default(),
            is_cleaning: AtomicBool::new(false),
            _close: closed.clone().drop_guard(),
            closed,
        }
    }
}

impl Fanouts {
    /// How many pieces of logs have been rendered and encoded, for one viewer or for all.
    pub(super) fn renders(&self) -> u64 {
        self.renders.get()
    }

    /// How many gaps sessions have announced.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps.get()
    }

    /// The fan-out of a follower. It exists as long as somebody holds it.
    pub(super) fn of(
        self: &Arc<Self>,
        follower: &Arc<Follower>,
        interpretation: Interpretation,
    ) -> Arc<Fanout> {
        // However a log is understood, the limit of reads is that of the log.
        let reads =
            self.with_entry(follower, Interpretation::default(), |entry| Arc::clone(&entry.reads));
        self.with_entry(follower, interpretation, |entry| {
            entry.fanout.upgrade().unwrap_or_else(|| {
                let fanout = Arc::new(Fanout {
                    fanouts: Arc::clone(self),
                    interpretation,
                    shared: std::array::from_fn(|_| Mutex::default()),
                    turns: std::array::from_fn(|_| Mutex::default()),
                    histories: std::array::from_fn(|_| tokio::sync::Mutex::default()),
                    checkpoints: Arc::clone(&entry.checkpoints),
                    reads,
                    merged: Arc::default(),
                    replaying: tokio::sync::Mutex::default(),
                });
                entry.fanout = Arc::downgrade(&fanout);
                fanout
            })
        })
    }

    /// The checkpoints that viewers of a log have left; empty ones where no viewer
    /// understands it like this.
    pub(super) fn checkpoints(
        self: &Arc<Self>,
        follower: &Arc<Follower>,
        interpretation: Interpretation,
    ) -> Arc<Checkpoints> {
        let key = (follower.log().clone(), interpretation);
        if !interpretation.is_default() && !self.logs.contains_key(&key) {
            return Arc::default();
        }
        self.with_entry(follower, interpretation, |entry| Arc::clone(&entry.checkpoints))
    }

    fn with_entry<T>(
        self: &Arc<Self>,
        follower: &Arc<Follower>,
        interpretation: Interpretation,
        take: impl FnOnce(&mut LogEntry) -> T,
    ) -> T {
        let mut is_new = false;
        let key = (follower.log().clone(), interpretation);
        let mut entry = self.logs.entry(key).or_insert_with(|| {
            is_new = true;
            LogEntry::new(follower)
        });
        // The numbers of spans are valid for one follower only.
        if !entry.is_of(follower) {
            *entry = LogEntry::new(follower);
        }
        let taken = take(&mut entry);
        drop(entry);
        if is_new {
            self.clean_up_later();
        }
        taken
    }

    /// Starts a task that drops the entries of followers when they have ended. The task ends with
    /// the last entry, or with `self`.
    fn clean_up_later(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.is_cleaning.swap(true, Ordering::SeqCst) {
            return;
        }
        let (fanouts, closed) = (Arc::downgrade(self), self.closed.clone());
        runtime.spawn(closed.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(LINGER).await;
                let Some(fanouts) = fanouts.upgrade() else { return };
                fanouts.logs.retain(|(_, interpretation), entry| entry.is_used(*interpretation));
                if fanouts.logs.is_empty() {
                    fanouts.is_cleaning.store(false, Ordering::SeqCst);
                    // An entry may have been added since, when this task was still running.
                    if fanouts.logs.is_empty() || fanouts.is_cleaning.swap(true, Ordering::SeqCst) {
                        return;
                    }
                }
            }
        }));
    }
}

/// What the viewers of one log share, those that have it understood in the same way.
pub struct Fanout {
    fanouts: Arc<Fanouts>,
    interpretation: Interpretation,
    shared: [Mutex<Shared>; Form::COUNT],
    /// Locked while a piece is rendered for sessions that are behind, each for a part of the
    /// positions. So those at the same position do not all render it.
    turns: [Mutex<()>; TURNS],
    /// The history that was rendered last in each form, while a session still has it.
    histories: [tokio::sync::Mutex<Weak<History>>; Form::COUNT],
    checkpoints: Arc<Checkpoints>,
    reads: Arc<FileReads>,
    merged: Arc<MergedChunks>,
    /// Held during a replay: the viewers that wait for it often need the same one.
    replaying: tokio::sync::Mutex<()>,
}

/// The lines that a viewer starts with. Viewers that join at the same time share them.
#[derive(Debug)]
pub(super) struct History {
    pub(super) range: ByteRange,
    pub(super) frames: Frames,
    /// The end of the range, with the bytes before it.
    pub(super) fingerprint: Fingerprint,
}

impl Fanout {
    /// The piece of a chunk. None when nobody has rendered up to its start: the session then
    /// renders by itself. `own` is the session's own renderer. It is taken when it is no longer
    /// needed.
    pub(super) fn piece_of(
        &self,
        chunk: &Arc<Chunk>,
        form: Form,
        own: &mut Option<Renderer>,
    ) -> Option<Arc<Piece>> {
        self.shared(form).piece_of(chunk, form, own, &self.fanouts)
    }

    /// The piece that begins at a position, for a session with this renderer of its own. None if
    /// there is none up to `limit`, or if the session's terminal has seen more of the log.
    pub(super) fn piece_at(
        &self,
        (span, at): (u64, Offset),
        limit: Offset,
        form: Form,
        own: Option<&Renderer>,
    ) -> Option<Arc<Piece>> {
        let shared = self.shared(form);
        let piece = shared.pieces.at(span, at).filter(|piece| piece.end.offset() <= limit)?;
        let is_whole = piece.appender.is_some() || !form.only_grows();
        let has_seen_more =
            own.is_some_and(|own| own.is_at(span, at) && own.origin() < piece.origin);
        (is_whole && !has_seen_more).then(|| Arc::clone(piece))
    }

    /// Where the first piece after a position begins.
    pub(super) fn next_piece(&self, span: u64, after: Offset, form: Form) -> Option<Offset> {
        self.shared(form).pieces.next_start(span, after)
    }

    /// Waits until no other session renders at this position.
    pub(super) fn turn(&self, at: Offset) -> MutexGuard<'_, ()> {
        // Sessions that are behind read pieces of at least some KiB.
        let number = at.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.turns[number as usize % TURNS].lock()
    }

    /// Keeps what a session has rendered of a span, and its renderer, for others that are behind.
    /// Returns what was sent and held back up to there, in a form that only grows.
    pub(super) fn leave(
        &self,
        mut piece: Piece,
        renderer: Renderer,
        form: Form,
    ) -> Option<Arc<Appender>> {
        piece.rendered_by(&renderer, form);
        let mut shared = self.shared(form);
        if shared.left.len() == LEFT_RENDERERS_MAX {
            shared.left.remove(0);
        }
        shared.left.push(renderer);
        let appender = piece.appender.clone();
        shared.pieces.keep(&Arc::new(piece), &self.fanouts.total);
        appender
    }

    /// The renderer that a session has left at this position.
    pub(super) fn take_left_renderer(&self, span: u64, at: Offset, form: Form) -> Option<Renderer> {
        self.shared(form).take_left(span, at)
    }

    /// Whether there are sessions that are behind, besides this many.
    pub(super) fn are_others_behind(&self, but: usize, form: Form) -> bool {
        self.shared(form).pieces.behind() > but
    }

    pub(super) fn fall_behind(&self, form: Form) {
        self.shared(form).pieces.fall_behind();
    }

    pub(super) fn catch_up(&self, form: Form) {
        let mut shared = self.shared(form);
        if shared.pieces.catch_up(&self.fanouts.total) {
            shared.left.clear();
        }
    }

    /// Shares the renderer of a session that has caught up. Drops it when the shared one is at the
    /// same position and has seen as much of the log.
    pub(super) fn share_renderer(
        &self,
        span: u64,
        at: Offset,
        form: Form,
        own: &mut Option<Renderer>,
    ) {
        let mut shared = self.shared(form);
        if own.is_none() {
            *own = shared.take_left(span, at);
        }
        if !own.as_ref().is_some_and(|own| own.is_at(span, at)) {
            return;
        }
        match &shared.renderer {
            Some(renderer) if renderer.is_at(span, at) => {
                *own = own.take().and_then(|own| shared.merge(own));
            }
            Some(_) => {}
            None => shared.renderer = own.take(),
        }
    }

    /// Counts a gap that a session announces.
    pub(super) fn count_gap(&self) {
        self.fanouts.gaps.add(1);
    }

    /// Counts a piece that a session has rendered for itself.
    pub(super) fn count_own_render(&self) {
        self.fanouts.renders.add(1);
    }

    /// A renderer that continues at a position whose rows have been sent: a copy of the shared
    /// one, or a new one with the terminal state of the log there.
    /// `begins_row` says that a row is known to begin there.
    pub(super) async fn renderer(
        &self,
        span: &Arc<Span>,
        at: Offset,
        begins_row: bool,
        form: Form,
    ) -> Renderer {
        match self.renderer_at(span.number, at, form) {
            Some(renderer) => renderer,
            None => {
                let state = self.checkpoint_at(span, at, begins_row, form.rendition()).await;
                self.new_renderer(span.number, state, form)
            }
        }
    }

    /// A renderer that continues from a checkpoint.
    pub(super) fn new_renderer(&self, span: u64, state: Checkpoint, form: Form) -> Renderer {
        Renderer::new(span, state, form, &self.checkpoints)
    }

    /// A renderer that can only end or move what was sent and held back up to a position.
    pub(super) fn ending_renderer(&self, at: (u64, Offset), appender: &Appender) -> Renderer {
        Renderer::ending(at, appender, &self.checkpoints)
    }

    /// How the viewers have the log understood.
    pub(super) fn interpretation(&self) -> Interpretation {
        self.interpretation
    }

    /// What is known of the encoding of a span, if there is one.
    fn detection(&self, span: Option<&Arc<Span>>) -> Detection {
        let detected = span.map(|span| span.detection()).unwrap_or_default();
        self.interpretation.applied_to(detected)
    }

    /// An empty terminal at an offset of a span.
    pub(super) fn empty_state(&self, span: Option<&Arc<Span>>, at: Offset) -> Checkpoint {
        Checkpoint::new(at, self.detection(span)).on_screen(self.interpretation.screen)
    }

    /// The terminal state at an offset, for rows of a rendition. If no viewer has seen anything
    /// before it, the terminal has seen only the beginning of its row. If a row begins there,
    /// nothing is read.
    pub(super) async fn checkpoint_at(
        &self,
        span: &Arc<Span>,
        at: Offset,
        begins_row: bool,
        rendition: Rendition,
    ) -> Checkpoint {
        let _replaying = self.replaying.lock().await;
        let is_shown = rendition == Rendition::Shown;
        let before = self.checkpoints.before(span.number, at).filter(|_| is_shown);
        let state = match (before, span.file()) {
            (Some(state), _) if state.at() == at => return state,
            (None, _) if begins_row || at == Offset(0) => {
                self.empty_state(Some(span), at).of(rendition)
            }
            (before, Some(file)) => {
                let detection = self.detection(Some(span));
                let empty = |at| self.empty_state(Some(span), at).of(rendition);
                // Boxed: it is large, and a viewer that joins at the end needs none.
                Box::pin(replay(before, &self.reads, &file, at, detection, empty)).await
            }
            (_, None) => return self.empty_state(Some(span), at).of(rendition),
        };
        if is_shown {
            self.checkpoints.keep_requested(span.number, &state);
        }
        state
    }

    /// A copy of the shared renderer that has rendered up to this position, if there is one.
    pub(super) fn renderer_at(&self, span: u64, at: Offset, form: Form) -> Option<Renderer> {
        let shared = self.shared(form);
        let renderers = [&shared.renderer, &shared.previous_span].into_iter().flatten();
        let mut renderers = renderers.chain(&shared.left);
        renderers.find(|renderer| renderer.is_at(span, at)).cloned()
    }

    /// The history that was rendered last in this form. The session that holds the lock renders
    /// for those that wait for it.
    pub(super) fn history(&self, form: Form) -> &tokio::sync::Mutex<Weak<History>> {
        &self.histories[form.slot()]
    }

    /// Whether these bytes have been rendered as a history already, or are probably being rendered
    /// now.
    pub(super) fn has_history(&self, range: ByteRange, form: Form) -> bool {
        let is_shared = range.len() <= STEP_BYTES as u64;
        is_shared
            && self.history(form).try_lock().map_or(true, |history| {
                history.upgrade().is_some_and(|history| history.range == range)
            })
    }

    /// The reads of the log's viewers.
    pub(super) fn reads(&self) -> &Arc<FileReads> {
        &self.reads
    }

    /// The chunks that are merged for broadcast groups.
    pub(super) fn merged(&self) -> &Arc<MergedChunks> {
        &self.merged
    }

    fn shared(&self, form: Form) -> MutexGuard<'_, Shared> {
        self.shared[form.slot()].lock()
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        for shared in &mut self.shared {
            shared.get_mut().pieces.clear(&self.fanouts.total);
        }
    }
}

#[derive(Default)]
struct Shared {
    renderer: Option<Renderer>,
    /// The renderer of the span before, at its end. Some sessions have not yet sent the output that
    /// it holds back.
    previous_span: Option<Renderer>,
    /// The renderers of sessions that are behind, each at the end of a piece.
    left: Vec<Renderer>,
    pieces: Pieces,
}

impl Shared {
    fn piece_of(
        &mut self,
        chunk: &Arc<Chunk>,
        form: Form,
        own: &mut Option<Renderer>,
        fanouts: &Fanouts,
    ) -> Option<Arc<Piece>> {
        let Some(piece) = self.pieces.of_chunk(chunk).cloned() else {
            let piece = Arc::new(self.encode(chunk, form, own)?);
            fanouts.renders.add(1);
            self.pieces.keep(&piece, &fanouts.total);
            *own = None;
            return Some(piece);
        };
        let has_seen_more = |own: &mut Renderer| {
            let shared = self.renderer.as_ref();
            own.is_at(chunk.span, chunk.start)
                && shared.is_some_and(|shared| own.origin() < shared.origin())
        };
        let Some(mut better) = own.take().take_if(has_seen_more) else { return Some(piece) };
        // The session renders by itself until it is at the position of the shared renderer.
        fanouts.renders.add(1);
        let (frames, _) = better.render(&chunk.bytes, form, usize::MAX);
        let mut piece = Piece::of_chunk(chunk, frames);
        piece.rendered_by(&better, form);
        *own = self.merge(better);
        Some(Arc::new(piece))
    }

    fn take_left(&mut self, span: u64, at: Offset) -> Option<Renderer> {
        let place = self.left.iter().position(|left| left.is_at(span, at))?;
        Some(self.left.swap_remove(place))
    }

    /// Merges a renderer into the shared one. Returns it if the shared one is at another position.
    fn merge(&mut self, own: Renderer) -> Option<Renderer> {
        match &mut self.renderer {
            Some(renderer) if renderer.is_at_position_of(&own) => {
                renderer.merge(own);
                None
            }
            _ => Some(own),
        }
    }

    fn encode(
        &mut self,
        chunk: &Arc<Chunk>,
        form: Form,
        own: &mut Option<Renderer>,
    ) -> Option<Piece> {
        if !form.is_rendered() {
            return Some(Piece::of_chunk(chunk, form.raw(chunk.start, &chunk.bytes)));
        }
        let is_next = |renderer: &Renderer| renderer.is_at(chunk.span, chunk.start);
        if !self.renderer.as_ref().is_some_and(is_next) {
            let own = own.take_if(|own| is_next(own));
            let own = own.or_else(|| self.take_left(chunk.span, chunk.start))?;
            self.previous_span = self.renderer.replace(own);
        }
        *own = own.take().and_then(|own| self.merge(own));
        let renderer = self.renderer.as_mut()?;
        let (frames, _) = renderer.render(&chunk.bytes, form, usize::MAX);
        let mut piece = Piece::of_chunk(chunk, frames);
        if self.pieces.behind() > 0 {
            piece.rendered_by(renderer, form);
        } else {
            piece.origin = renderer.origin();
        }
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;

    fn chunk(start: u64, text: &'static str) -> Arc<Chunk> {
        Arc::new(Chunk {
            span: 1,
            start: Offset(start),
            bytes: Bytes::from_static(text.as_bytes()),
            written: SystemTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn a_session_that_has_seen_more_of_the_log_improves_the_shared_rendering() {
        let checkpoints = Arc::default();
        let renderer = |from: u64, log: &str| {
            let state = Checkpoint::new(Offset(from), Detection::default());
            let mut renderer = Renderer::new(1, state, Form::Rows, &checkpoints);
            renderer.render(log.as_bytes(), Form::Rows, usize::MAX);
            Some(renderer)
        };
        let mut shared = Shared::default();
        let chunks = [chunk(7, "a\n"), chunk(9, "b\n"), chunk(11, "c\n")];
        let mut frames = |i: usize, own: &mut Option<Renderer>| {
            let piece = shared
                .piece_of(&chunks[i], Form::Rows, own, &Fanouts::default())
                .expect("a renderer is there");
            String::from_utf8(piece.frames[0].payload().to_vec()).unwrap().contains("--red")
        };
        let mut from_the_middle = renderer(7, "");
        assert!(!frames(0, &mut from_the_middle) && from_the_middle.is_none());
        assert!(!frames(1, &mut None));
        // This one is merged later, and what it has seen is kept.
        let mut from_the_start = renderer(0, "\x1b[31m_\n");
        assert!(frames(0, &mut from_the_start) && from_the_start.is_some(), "the others are ahead");
        assert!(frames(1, &mut from_the_start) && from_the_start.is_none(), "merged");
        assert!(frames(2, &mut None), "shared with the others");
    }
}
