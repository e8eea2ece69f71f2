//! One viewer's stream as messages, whatever transport carries them.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::log::archive::Notice;
use crate::log::{Generation, Offset};
use crate::render::Appender;
use crate::session::audience::AudienceMessages;
use crate::session::backlog::Backlog;
use crate::session::checkpoints::Checkpoint;
use crate::session::cursor::Ending;
use crate::session::fanout::{Fanout, History};
use crate::session::group::{Detached, GroupKey, GroupPosition};
use crate::session::pieces::{Behind, Piece};
use crate::session::renderer::Renderer;
use crate::session::viewer::{ByteRange, Item, SavedCursor, Viewer};
use crate::wire::frame::{Form, Frame, Frames};
use crate::wire::message::Message;
use crate::wire::request::StreamRequest;

/// The messages of one step have little more than this many bytes, because each viewer holds them.
pub(super) const STEP_BYTES: usize = 192 * 1024;

/// The output of a session.
#[derive(Debug)]
pub enum Output {
    /// Send these messages, in order. There are none when the viewer has just caught up.
    Frames(Frames),
    /// Nothing follows, except [`Session::end_frames`].
    End(Ending),
}

/// One viewer's messages.
pub struct Session {
    viewer: Viewer,
    fanout: Arc<Fanout>,
    form: Form,
    request: StreamRequest,
    /// The session's own renderer, while it does not use the shared one.
    renderer: Option<Renderer>,
    /// Without one, while the session is behind: what was sent and held back, in a form that only
    /// grows.
    appended: Option<Arc<Appender>>,
    /// While the session does not keep up.
    behind: Option<Behind>,
    /// An item of the viewer that is not rendered yet.
    pending: Option<Item>,
    /// The terminal state after a pending gap.
    after_gap: Option<Box<Checkpoint>>,
    /// Messages that are sent before anything else.
    ready: Frames,
    /// The lines that this viewer started with, shared with viewers that join at the same time.
    history: Option<Arc<History>>,
    /// When the bytes of the last chunk were written.
    written: Option<SystemTime>,
    /// Everything up to here has been rendered: the number of a span, and an offset.
    rendered: (u64, Offset),
    sent_anything: bool,
    audience: Option<AudienceMessages>,
}

impl Session {
    pub(super) fn new(
        viewer: Viewer,
        fanout: Arc<Fanout>,
        form: Form,
        request: StreamRequest,
    ) -> Self {
        Self {
            viewer,
            fanout,
            form,
            request,
            renderer: None,
            appended: None,
            behind: None,
            pending: None,
            after_gap: None,
            ready: Frames::new(),
            history: None,
            written: None,
            rendered: (0, Offset(0)),
            sent_anything: false,
            audience: None,
        }
    }

    /// The session also sends these messages.
    pub(super) fn with_audience(self, audience: Option<AudienceMessages>) -> Self {
        Self { audience, ..self }
    }

    /// A session whose viewer has received everything before its cursor.
    pub(super) fn resumed(
        viewer: Viewer,
        fanout: Arc<Fanout>,
        form: Form,
        request: StreamRequest,
    ) -> Self {
        let at = viewer.timeline_position();
        let rendered = at.map_or((0, Offset(0)), |(at, _)| (at.span, at.offset));
        let behind = Behind::new(&fanout, form);
        Self { rendered, behind, sent_anything: true, ..Self::new(viewer, fanout, form, request) }
    }

    /// Prepares the first messages: the start of the stream, and the lines that exist already.
    /// Viewers that join at the same time share their rendering. Call it at most once, before
    /// [`next`](Self::next).
    pub async fn begin(&mut self) {
        while let Some(item) = self.viewer.announcement() {
            if let Output::Frames(frames) = self.announce(item) {
                self.ready.extend(frames);
            }
        }
        let Some(range) = self.viewer.history() else { return };
        if range.len() > STEP_BYTES as u64 {
            return;
        }
        let fanout = Arc::clone(&self.fanout);
        let lock = fanout.history(self.form);
        let mut shared = match lock.try_lock() {
            Ok(shared) => shared,
            Err(_) => {
                // Many may wait here for the one that renders. They hold no bytes meanwhile.
                self.viewer.forget_read_ahead();
                lock.lock().await
            }
        };
        if let Some(history) = shared.upgrade().filter(|history| history.range == range) {
            self.viewer.pass(&history.fingerprint);
            self.rendered = (range.span, range.end);
            self.ready.extend_from_slice(&history.frames);
            self.history = Some(history);
        } else {
            self.history = self.render_history(range).await.map(Arc::new);
            *shared = self.history.as_ref().map_or_else(Weak::new, Arc::downgrade);
        }
    }

    /// Renders a range of the log for this viewer. None when it could not be read in one go. The
    /// part that was read is ready to be sent all the same.
    async fn render_history(&mut self, range: ByteRange) -> Option<History> {
        let first = self.ready.len();
        let is_before_end = |session: &Self| {
            session.viewer.timeline_position().is_some_and(|(at, _)| at.offset < range.end)
        };
        while self.pending.is_none() && is_before_end(self) {
            match self.viewer.next().await {
                Item::Bytes { start, bytes } => {
                    if self.lacks_renderer(start) {
                        self.renderer = Some(self.renderer_at(start).await);
                    }
                    let frames = self.render_own(start, &bytes);
                    self.ready.extend(frames);
                }
                other => self.pending = Some(other),
            }
        }
        let is_whole = self.pending.is_none() && self.rendered == (range.span, range.end);
        let (frames, fingerprint) = (self.ready.get(first..)?.to_vec(), self.viewer.fingerprint()?);
        is_whole.then_some(History { range, frames, fingerprint })
    }

    /// The next messages. Dropping the future loses nothing: an item stays pending until it has
    /// been turned into messages.
    pub async fn next(&mut self) -> Output {
        if !self.ready.is_empty() {
            self.sent_anything = true;
            return Output::Frames(std::mem::take(&mut self.ready));
        }
        loop {
            if let Some(frames) = self.audience_frames().or_else(|| self.take_next_piece()) {
                self.sent_anything = true;
                return Output::Frames(frames);
            }
            let item = match self.pending.take() {
                Some(item) => item,
                None => tokio::select! {
                    biased;
                    // Rare, and so not to be starved by a log that always has more.
                    frame = next_of(&mut self.audience), if self.sent_anything => {
                        return Output::Frames(vec![frame]);
                    }
                    item = self.viewer.next() => item,
                },
            };
            let has_caught_up = matches!(item, Item::CaughtUp);
            match self.output(item).await {
                None => {}
                Some(Output::Frames(frames)) if frames.is_empty() && !has_caught_up => {}
                Some(output) => {
                    self.sent_anything = true;
                    return output;
                }
            }
        }
    }

    /// The messages of an item. None when something had to be prepared first, and the item is
    /// pending again.
    async fn output(&mut self, item: Item) -> Option<Output> {
        match item {
            Item::Chunk(chunk) => {
                let Some(piece) = self.fanout.piece_of(&chunk, self.form, &mut self.renderer)
                else {
                    // Nobody has rendered up to here, or others have divided the log in another
                    // way. This session renders, and may share its renderer afterwards.
                    let (start, bytes) = (chunk.start, chunk.bytes.clone());
                    self.pending = Some(Item::Bytes { start, bytes });
                    return None;
                };
                self.written = Some(chunk.written);
                let frames = self.take(&piece);
                if self.behind.is_some() && self.viewer.idle_position().is_some() {
                    self.behind = None;
                }
                Some(Output::Frames(frames))
            }
            Item::Bytes { start, bytes } => {
                let frames = self.render(start, &bytes);
                if frames.is_none() {
                    self.pending = Some(Item::Bytes { start, bytes });
                    self.renderer = Some(self.renderer_at(start).await);
                }
                frames.map(Output::Frames)
            }
            Item::Gap { to: Some(to), .. } if self.lacks_state_after_gap(to) => {
                self.pending = Some(item);
                let state = match self.viewer.span() {
                    Some(span) => {
                        let rendition = self.form.rendition();
                        self.fanout.checkpoint_at(span, to, false, rendition).await
                    }
                    None => self.fanout.empty_state(None, to),
                };
                self.after_gap = Some(Box::new(state));
                None
            }
            item => Some(self.announce(item)),
        }
    }

    /// The position of a session whose viewer follows and has received everything so far.
    #[must_use]
    pub fn idle_position(&self) -> Option<GroupPosition> {
        let has_more = self.pending.is_some() || !self.ready.is_empty();
        self.viewer.idle_position().filter(|_| !has_more).map(GroupPosition::new)
    }

    /// The position up to which everything has been sent. None in the middle of an item.
    #[must_use]
    pub fn group_position(&self) -> Option<GroupPosition> {
        self.viewer.timeline_position().filter(|_| self.pending.is_none()).map(GroupPosition::new)
    }

    /// When the bytes of the chunk that was sent last were written. None if no chunk was sent since
    /// the last call.
    pub fn take_written(&mut self) -> Option<SystemTime> {
        self.written.take()
    }

    /// What the session has not sent yet.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let position = self.viewer.timeline_position().map(|(at, _)| at);
        Backlog::new(self.viewer.follower(), position)
    }

    /// The cursor from which another viewer that has received the same can continue.
    #[must_use]
    pub fn saved_cursor(&self) -> SavedCursor {
        match &self.pending {
            Some(Item::Bytes { start, .. }) => self.viewer.saved_cursor().rewound_to(*start),
            _ => self.viewer.saved_cursor(),
        }
    }

    /// The group that can serve the session's viewer while the session is idle.
    #[must_use]
    pub fn group_key(&self) -> GroupKey {
        let log = self.viewer.log().clone();
        let interpretation = self.fanout.interpretation();
        let StreamRequest { signed, audience, history, .. } = self.request;
        GroupKey { log, form: self.form, interpretation, signed, audience, history }
    }

    /// From now on the session serves a group. Returns what is kept of its own viewer's session.
    pub fn detach(&mut self) -> Option<Detached> {
        self.behind = None;
        let presence = self.viewer.detach(Arc::clone(self.fanout.merged()))?;
        Some(Detached { presence, skip: self.request.skip })
    }

    /// Whether the stream starts at the requested position. True when none was requested.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.viewer.is_recovered()
    }

    /// The position from which a viewer resumes after everything sent so far: the text of the
    /// generation, and the offset of the next byte. None while the log has no file.
    #[must_use]
    pub fn position(&self) -> Option<(String, Offset)> {
        self.viewer.position().map(|(generation, offset)| (generation.to_string(), offset))
    }

    /// The last messages of a stream that has ended: output that was held back, and `end` if the
    /// stream is complete.
    #[must_use]
    pub fn end_frames(&mut self, ending: Ending) -> Frames {
        let form = self.form;
        let mut frames =
            self.last_renderer().map(|mut renderer| renderer.finish(form)).unwrap_or_default();
        if ending == Ending::Complete {
            frames.extend(self.control(|| Message::End));
        }
        frames
    }

    /// How many reads of the log's file its viewers have begun.
    #[cfg(test)]
    pub(super) fn file_reads(&self) -> u64 {
        self.fanout.reads().count()
    }

    fn lacks_renderer(&self, start: Offset) -> bool {
        let span = self.viewer.span_number();
        let is_there = |renderer: &Renderer| renderer.is_at(span, start);
        self.form.is_rendered() && !self.renderer.as_ref().is_some_and(is_there)
    }

    fn lacks_state_after_gap(&self, to: Offset) -> bool {
        self.form.is_rendered() && self.after_gap.as_ref().is_none_or(|state| state.at() != to)
    }

    /// A renderer for the bytes from `start` on.
    async fn renderer_at(&self, start: Offset) -> Renderer {
        let span = self.viewer.span_number();
        let renderer = match self.viewer.span() {
            Some(span) => {
                let begins_row = self.viewer.begins_row(start);
                self.fanout.renderer(span, start, begins_row, self.form).await
            }
            None => {
                let state = self.fanout.empty_state(None, start);
                self.fanout.new_renderer(span, state, self.form)
            }
        };
        match &self.appended {
            Some(appended) if self.rendered == (span, start) => renderer.after(appended),
            _ => renderer,
        }
    }

    /// A message about the audience that is due while there is something to take.
    fn audience_frames(&mut self) -> Option<Frames> {
        let is_due = self.behind.is_some() && self.sent_anything && self.audience.is_some();
        let frame = is_due.then(|| next_of(&mut self.audience).now_or_never())?;
        frame.map(|frame| vec![frame])
    }

    /// Notices when the session has to read what exists already, and takes what others have
    /// rendered of it. Otherwise the next read ends where that begins.
    fn take_next_piece(&mut self) -> Option<Frames> {
        if self.pending.is_some() || self.request.skip || !self.form.is_rendered() {
            return None;
        }
        let range = self.viewer.history()?;
        if self.behind.is_none() {
            self.behind = Behind::new(&self.fanout, self.form);
        }
        let (at, limit) = ((range.span, range.from), self.viewer.limit(range.end));
        let piece = self.fanout.piece_at(at, limit, self.form, self.renderer.as_ref());
        if let Some(piece) = piece {
            return Some(self.take(&piece));
        }
        self.viewer.read_up_to(self.fanout.next_piece(range.span, range.from, self.form));
        None
    }

    /// Takes what was rendered of the log at the session's position.
    fn take(&mut self, piece: &Piece) -> Frames {
        let end = piece.end.offset();
        if self.renderer.as_ref().is_none_or(|own| !own.is_at(piece.span, end)) {
            self.renderer = None;
        }
        self.appended.clone_from(&piece.appender);
        self.rendered = (piece.span, end);
        if self.viewer.timeline_position().is_some_and(|(at, _)| at.offset < end) {
            self.viewer.pass(&piece.end);
        }
        piece.frames.clone()
    }

    /// Renders bytes, up to the limit of one step, or takes them from a session that has rendered
    /// them. The rest stays pending. None without a renderer.
    fn render(&mut self, start: Offset, bytes: &Bytes) -> Option<Frames> {
        let own = usize::from(self.behind.is_some());
        if !self.form.is_rendered() || !self.fanout.are_others_behind(own, self.form) {
            return (!self.lacks_renderer(start)).then(|| self.render_own(start, bytes));
        }
        let fanout = Arc::clone(&self.fanout);
        let span = self.viewer.span_number();
        let _turn = fanout.turn(start);
        let limit = self.viewer.limit(start.plus(bytes.len()));
        let piece = fanout.piece_at((span, start), limit, self.form, self.renderer.as_ref());
        if let Some(piece) = piece {
            self.keep_rest(piece.end.offset(), start, bytes);
            return Some(self.take(&piece));
        }
        if self.lacks_renderer(start) {
            self.renderer = Some(fanout.take_left_renderer(span, start, self.form)?);
        }
        let frames = self.render_own(start, bytes);
        let taken = usize::try_from(self.rendered.1.0 - start.0).unwrap_or(usize::MAX);
        let rendered = bytes.get(..taken).unwrap_or_default();
        let piece = Piece::new(span, start, rendered, frames.clone());
        if let Some(renderer) = self.renderer.take() {
            self.appended = fanout.leave(piece, renderer, self.form);
        }
        Some(frames)
    }

    /// Renders bytes with the session's own renderer, up to the limit of one step. The rest stays
    /// pending.
    fn render_own(&mut self, start: Offset, bytes: &Bytes) -> Frames {
        self.fanout.count_own_render();
        let (frames, taken) = match &mut self.renderer {
            Some(renderer) if self.form.is_rendered() => {
                renderer.render(bytes, self.form, STEP_BYTES)
            }
            _ => (self.form.raw(start, bytes), bytes.len()),
        };
        let end = start.plus(taken);
        self.appended = None;
        self.rendered = (self.viewer.span_number(), end);
        self.keep_rest(end, start, bytes);
        frames
    }

    /// Keeps the bytes from an offset on, which were not sent yet. They began at `start`.
    fn keep_rest(&mut self, from: Offset, start: Offset, bytes: &Bytes) {
        let sent = usize::try_from(from.0 - start.0).unwrap_or(usize::MAX);
        if sent < bytes.len() {
            self.pending = Some(Item::Bytes { start: from, bytes: bytes.slice(sent..) });
        }
    }

    /// The messages of an item that has no bytes.
    fn announce(&mut self, item: Item) -> Output {
        Output::Frames(match item {
            Item::Open(opening) => {
                let mut frames = self.control(|| Message::open(&opening));
                frames.extend(self.notice_frames(opening.generation));
                frames
            }
            Item::Reset { generation, from, reason, encoding, is_container } => {
                let state = self.fanout.empty_state(self.viewer.span(), from);
                let mut frames = self.move_renderer(state);
                frames.extend(
                    self.control(|| {
                        Message::reset(generation, from, reason, encoding, is_container)
                    }),
                );
                frames.extend(self.notice_frames(generation));
                frames
            }
            Item::Gap { generation, from, to } => {
                self.fanout.count_gap();
                let state = match self.after_gap.take() {
                    Some(state) => *state,
                    None => self.fanout.empty_state(self.viewer.span(), to.unwrap_or(from)),
                };
                let mut frames = self.move_renderer(state);
                frames.extend(self.control(|| Message::gap(generation, from, to)));
                frames
            }
            Item::Signed(generation) => self.control(|| Message::signed(generation)),
            Item::Waiting(reason) => self.control(|| Message::waiting(reason)),
            Item::CaughtUp => {
                let (span, at) = self.rendered;
                self.fanout.share_renderer(span, at, self.form, &mut self.renderer);
                if self.viewer.idle_position().is_some() {
                    self.behind = None;
                }
                // A viewer that waits for the last lines of an empty log is sent an empty message.
                let is_awaited = !self.sent_anything && self.viewer.wants_history();
                if is_awaited { self.form.empty() } else { Frames::new() }
            }
            Item::Chunk(_) | Item::Bytes { .. } => Frames::new(),
            Item::End(ending) => return Output::End(ending),
        })
    }

    /// Moves the renderer to where the log continues. Returns the output that it has held back.
    fn move_renderer(&mut self, to: Checkpoint) -> Frames {
        if !self.form.is_rendered() {
            return Frames::new();
        }
        let (span, form) = (self.viewer.span_number(), self.form);
        let (renderer, frames) = match self.last_renderer() {
            Some(mut renderer) => {
                let frames = renderer.move_to(span, to, form);
                (renderer, frames)
            }
            None => (self.fanout.new_renderer(span, to, form), Frames::new()),
        };
        self.renderer = Some(renderer);
        frames
    }

    /// The renderer that has rendered what this viewer has received, or one that holds back the
    /// same.
    fn last_renderer(&mut self) -> Option<Renderer> {
        let (span, at) = self.rendered;
        let own = self.renderer.take().filter(|renderer| renderer.is_at(span, at));
        if let (None, Some(appended)) = (&own, self.appended.take()) {
            return Some(self.fanout.ending_renderer((span, at), &appended));
        }
        own.or_else(|| self.fanout.renderer_at(span, at, self.form))
    }

    /// While it exists, what others render is kept for a viewer of this session that has fallen
    /// behind.
    #[must_use]
    pub fn one_behind(&self) -> Option<Behind> {
        Behind::new(&self.fanout, self.form)
    }

    /// What has to be said about the file that the viewer reads now.
    #[must_use]
    pub fn notice(&self) -> Option<Notice> {
        self.viewer.span()?.file()?.notice()
    }

    fn notice_frames(&self, generation: Generation) -> Frames {
        let notice = self.notice();
        notice
            .map(|notice| self.control(|| Message::notice(generation, &notice)))
            .unwrap_or_default()
    }

    fn control(&self, message: impl FnOnce() -> Message) -> Frames {
        if self.form.has_control() {
            vec![Frame::text(&message().to_json())]
        } else {
            Frames::new()
        }
    }
}

/// The next message about the audience; never, without an audience.
async fn next_of(audience: &mut Option<AudienceMessages>) -> Frame {
    match audience {
        Some(messages) => messages.next().await,
        None => std::future::pending().await,
    }
}
