//! One viewer, from joining to leaving, whatever transport carries its messages.
//!
//! A [`viewer`] holds a position in the log: it reads the file while it is behind and takes the shared chunks while it
//! keeps up. The [`fanout`] renders and encodes each chunk once for all viewers of a log that want it in the same form.
//! [`checkpoints`] of the terminal state let a viewer begin in the middle. A [`Session`] puts these together.

pub mod checkpoints;
pub mod fanout;
pub mod renderer;
#[cfg(test)]
mod tests;
pub mod viewer;

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::log::timeline::Span;
use crate::log::{
    Follower, Generation, LogPath, Offset, Presence, Refusal, Registry, Subscription,
    TimelinePosition,
};
use crate::wire::frame::{Frame, Frames};
use crate::wire::message::Message;
use checkpoints::Checkpoint;
use fanout::{Fanout, Fanouts, History};
use renderer::Renderer;
use viewer::{ByteRange, Item, Viewer};

pub use crate::wire::frame::Form;
pub use crate::wire::request::{StartAt, StreamRequest, WantedGeneration};
pub use viewer::{Ending, SavedCursor};

/// Everything that sessions share.
pub struct Hub {
    registry: Arc<Registry>,
    fanouts: Arc<Fanouts>,
}

impl Hub {
    /// A hub over the logs of a registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, fanouts: Arc::default() }
    }

    /// The followers.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The checkpoints of a follower's log.
    pub(crate) fn checkpoints(&self, follower: &Arc<Follower>) -> Arc<checkpoints::Checkpoints> {
        self.fanouts.checkpoints(follower)
    }

    /// How often a piece of a log was rendered and encoded in a form, for all viewers or for one.
    #[must_use]
    pub fn renders(&self) -> u64 {
        self.fanouts.renders()
    }

    /// Joins a log as a new viewer.
    ///
    /// # Errors
    /// When the log may not be read, or is not there and `start.wait` is off.
    pub async fn join(
        &self,
        log: &LogPath,
        start: StreamRequest,
        form: Form,
    ) -> Result<Session, Refusal> {
        // Where nothing is told but bytes, those of another file can't be told from the rest.
        let late = if form.has_control() { start.late } else { Vec::new() };
        let start = StreamRequest { late: Vec::new(), ..start };
        let subscription: Subscription = self.registry.join(log, start.wait).await?;
        let fanout = self.fanouts.of(&subscription.follower);
        let viewer = Viewer::new(subscription, StreamRequest { late, ..start.clone() }).await;
        Ok(Session {
            viewer,
            fanout,
            form,
            start,
            painter: None,
            pending: None,
            beyond: None,
            ready: Frames::new(),
            history: None,
            rendered: (0, Offset(0)),
            sent_anything: false,
        })
    }

    /// What a terminal is like that has seen everything of a span before a place, as far as that is known.
    pub async fn state_at(
        &self,
        follower: &Arc<Follower>,
        span: &Arc<Span>,
        at: Offset,
    ) -> Checkpoint {
        self.fanouts.of(follower).state_at(span, at).await
    }

    /// Goes on with a session that was parked, from where the one that spoke for it stood.
    #[must_use]
    pub fn resume(&self, parked: Detached, from: SavedCursor) -> Session {
        let Detached { presence, form, signed, skip } = parked;
        let start = StreamRequest {
            begin: StartAt::Lines(0),
            late: Vec::new(),
            tail: true,
            wait: true,
            signed,
            skip,
        };
        let subscription = Subscription::new(presence);
        let fanout = self.fanouts.of(&subscription.follower);
        let viewer = Viewer::resume(subscription, start.clone(), from);
        let rendered =
            viewer.place().map_or((0, Offset(0)), |(place, _)| (place.span, place.offset));
        let (painter, pending, beyond) = (None, None, None);
        Session {
            viewer,
            fanout,
            form,
            start,
            painter,
            pending,
            beyond,
            ready: Frames::new(),
            history: None,
            rendered,
            sent_anything: true,
        }
    }
}

/// A place that two sessions share when each has given the same up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPosition((TimelinePosition, Generation));

impl GroupPosition {
    /// Whether one that stands there has been given more.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        let place = |standing: &Self| (standing.0.0.span, standing.0.0.offset);
        place(self) > place(other)
    }
}

/// What is left of a session whose viewer is up to date: enough to go on.
#[derive(Debug)]
pub struct Detached {
    presence: Presence,
    form: Form,
    signed: bool,
    skip: bool,
}

/// What sessions that stand at the same place have in common: one can speak for all of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// Which log.
    pub log: LogPath,
    /// In which form.
    pub form: Form,
    /// Told of signatures.
    pub signed: bool,
}

/// One viewer's messages.
pub struct Session {
    viewer: Viewer,
    fanout: Arc<Fanout>,
    form: Form,
    start: StreamRequest,
    /// The session's own rendering, while it does not take the shared one.
    painter: Option<Renderer>,
    /// What the viewer gave and is not rendered yet.
    pending: Option<Item>,
    /// The state behind a gap that is pending.
    beyond: Option<Checkpoint>,
    /// What is sent first.
    ready: Frames,
    /// What this viewer was given to begin with, for others who come at the same time.
    history: Option<Arc<History>>,
    /// Up to where everything has been rendered.
    rendered: (u64, Offset),
    sent_anything: bool,
}

/// The messages of one step weigh little more than this: a viewer is to hold no more.
const STEP_BYTES: usize = 192 * 1024;

/// What a session gives next.
#[derive(Debug)]
pub enum Output {
    /// Send these, in order.
    Frames(Frames),
    /// Nothing more comes.
    End(Ending),
}

impl Session {
    /// The next messages; none where the viewer has just been given all there is. Dropping the future loses nothing: an
    /// item stays pending until it has been turned into them.
    pub async fn next(&mut self) -> Output {
        if !self.ready.is_empty() {
            self.sent_anything = true;
            return Output::Frames(std::mem::take(&mut self.ready));
        }
        loop {
            let item = match self.pending.take() {
                Some(item) => item,
                None => self.viewer.next().await,
            };
            let has_caught_up = matches!(item, Item::CaughtUp);
            let output = match item {
                Item::Chunk(chunk) => {
                    match self.fanout.frames(&chunk, self.form, &mut self.painter) {
                        Some(frames) => {
                            self.rendered = (chunk.span, chunk.end());
                            Output::Frames(frames)
                        }
                        // Nobody has rendered up to here: this viewer does, and the others may have its painter then.
                        None => {
                            self.pending = Some(Item::Bytes {
                                start: chunk.start,
                                bytes: chunk.bytes.clone(),
                            });
                            continue;
                        }
                    }
                }
                Item::Bytes { start, bytes } => {
                    if self.lacks_painter(start) {
                        self.pending = Some(Item::Bytes { start, bytes });
                        self.painter = Some(self.prime(start).await);
                        continue;
                    }
                    Output::Frames(self.paint(start, &bytes))
                }
                Item::Gap { to: Some(to), .. } if self.lacks_state(to) => {
                    self.pending = Some(item);
                    self.beyond = match self.viewer.span() {
                        Some(span) => Some(self.fanout.state_at(span, to).await),
                        None => Some(Checkpoint::new(to)),
                    };
                    continue;
                }
                item => self.tell(item),
            };
            match output {
                Output::Frames(frames) if frames.is_empty() && !has_caught_up => {}
                output => {
                    self.sent_anything = true;
                    return output;
                }
            }
        }
    }

    /// Where the session stands, if its viewer follows and has been given all there is.
    #[must_use]
    pub fn standing(&self) -> Option<GroupPosition> {
        let standing =
            self.viewer.standing().filter(|_| self.pending.is_none() && self.ready.is_empty())?;
        Some(GroupPosition(standing))
    }

    /// Where the viewer is, when everything up to there has been given; none in the middle of something.
    #[must_use]
    pub fn stand(&self) -> Option<GroupPosition> {
        self.viewer.place().filter(|_| self.pending.is_none()).map(GroupPosition)
    }

    /// Enough to go on from here, for one that has been given the same.
    #[must_use]
    pub fn standpoint(&self) -> SavedCursor {
        match &self.pending {
            Some(Item::Bytes { start, .. }) => self.viewer.standpoint().back_at(*start),
            _ => self.viewer.standpoint(),
        }
    }

    /// With which others it can be spoken for.
    #[must_use]
    pub fn kind(&self) -> GroupKey {
        let log = self.viewer.log().clone();
        GroupKey { log, form: self.form, signed: self.start.signed }
    }

    /// Speaks for others from now on, and gives what is left of its own viewer.
    pub fn lead(&mut self) -> Option<Detached> {
        let StreamRequest { signed, skip, .. } = self.start;
        let presence = self.viewer.lead()?;
        Some(Detached { presence, form: self.form, signed, skip })
    }

    /// Gets ready what comes first, where the stream starts and the lines that are there already, together with others
    /// who come at the same time. To be called once, before anything else.
    pub async fn begin(&mut self) {
        while let Some(item) = self.viewer.open() {
            if let Output::Frames(frames) = self.tell(item) {
                self.ready.extend(frames);
            }
        }
        if let Some(stretch) = self.viewer.history()
            && stretch.end.0 - stretch.from.0 <= STEP_BYTES as u64
        {
            let fanout = Arc::clone(&self.fanout);
            let mut kept = fanout.history(self.form).lock().await;
            let known = kept.upgrade().filter(|history| history.stretch == stretch);
            if known.is_none() {
                self.history = self.recount(stretch).await.map(Arc::new);
                *kept = self.history.as_ref().map_or_else(Weak::new, Arc::downgrade);
            } else if let Some(history) = known {
                self.viewer.pass(history.fingerprint.clone());
                self.rendered = (stretch.span, stretch.end);
                self.ready.extend_from_slice(&history.frames);
                self.history = Some(history);
            }
        }
    }

    /// Renders a stretch of the log for this viewer. None when it could not be read in one go; then what was read is
    /// ready all the same.
    async fn recount(&mut self, stretch: ByteRange) -> Option<History> {
        let first = self.ready.len();
        while self.pending.is_none()
            && self.viewer.place().is_some_and(|(place, _)| place.offset < stretch.end)
        {
            match self.viewer.next().await {
                Item::Bytes { start, bytes } => {
                    if self.lacks_painter(start) {
                        self.painter = Some(self.prime(start).await);
                    }
                    let frames = self.paint(start, &bytes);
                    self.ready.extend(frames);
                }
                other => self.pending = Some(other),
            }
        }
        let is_whole = self.pending.is_none() && self.rendered == (stretch.span, stretch.end);
        let (frames, fingerprint) = (self.ready.get(first..)?.to_vec(), self.viewer.fingerprint()?);
        is_whole.then_some(History { stretch, frames, fingerprint })
    }

    fn lacks_painter(&self, start: Offset) -> bool {
        let span = self.viewer.span_number();
        self.form.is_rendered()
            && !self.painter.as_ref().is_some_and(|painter| painter.is_at(span, start))
    }

    /// Whether it has to be found out what the log is like behind a gap.
    fn lacks_state(&self, to: Offset) -> bool {
        self.form.is_rendered() && self.beyond.as_ref().is_none_or(|state| state.at() != to)
    }

    /// A painter at a place where the viewer goes on.
    async fn prime(&self, start: Offset) -> Renderer {
        match self.viewer.span() {
            Some(span) => self.fanout.painter(span, start, self.form).await,
            None => self.fanout.new_painter(
                self.viewer.span_number(),
                Checkpoint::new(start),
                self.form,
            ),
        }
    }

    /// Renders bytes, or as many of them as a viewer is to hold. The rest stays pending.
    fn paint(&mut self, start: Offset, bytes: &Bytes) -> Frames {
        self.fanout.count_own();
        let (frames, taken) = match &mut self.painter {
            Some(painter) if self.form.is_rendered() => painter.paint(bytes, self.form, STEP_BYTES),
            _ => (self.form.raw(start, bytes), bytes.len()),
        };
        self.rendered = (self.viewer.span_number(), start.plus(taken));
        if taken < bytes.len() {
            self.pending =
                Some(Item::Bytes { start: start.plus(taken), bytes: bytes.slice(taken..) });
        }
        frames
    }

    /// Turns what is not log into messages.
    fn tell(&mut self, item: Item) -> Output {
        Output::Frames(match item {
            Item::Open(opening) => self.control(|| Message::open(&opening)),
            Item::Reset { generation, from, reason } => {
                let mut frames = self.turn(Checkpoint::new(from));
                frames.extend(self.control(|| Message::reset(generation, from, reason)));
                frames
            }
            Item::Gap { generation, from, to } => {
                let state =
                    self.beyond.take().unwrap_or_else(|| Checkpoint::new(to.unwrap_or(from)));
                let mut frames = self.turn(state);
                frames.extend(self.control(|| Message::gap(generation, from, to)));
                frames
            }
            Item::Signed(generation) => self.control(|| Message::signed(generation)),
            Item::Waiting(reason) => self.control(|| Message::waiting(reason)),
            Item::CaughtUp => {
                let (span, at) = self.rendered;
                self.fanout.settle(span, at, self.form, &mut self.painter);
                // Whoever waits for the last lines of an empty log gets them: none.
                let is_awaited = !self.sent_anything && self.viewer.wants_history();
                if is_awaited { self.form.empty() } else { Frames::new() }
            }
            Item::Chunk(_) | Item::Bytes { .. } => Frames::new(),
            Item::End(ending) => return Output::End(ending),
        })
    }

    /// The log goes on elsewhere: what was held back so far comes first.
    fn turn(&mut self, to: Checkpoint) -> Frames {
        if !self.form.is_rendered() {
            return Frames::new();
        }
        let (span, form) = (self.viewer.span_number(), self.form);
        let (painter, frames) = match self.last_painter() {
            Some(mut painter) => {
                let frames = painter.turn(span, to, form);
                (painter, frames)
            }
            None => (self.fanout.new_painter(span, to, form), Frames::new()),
        };
        self.painter = Some(painter);
        frames
    }

    /// The painter that has rendered what this viewer has been given.
    fn last_painter(&mut self) -> Option<Renderer> {
        let (span, at) = self.rendered;
        self.painter
            .take()
            .filter(|painter| painter.is_at(span, at))
            .or_else(|| self.fanout.painter_at(span, at, self.form))
    }

    /// Whether the position that was asked for could be honoured.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.viewer.is_recovered()
    }

    /// Where a viewer resumes after what was given so far: the text of its generation, and the next byte.
    #[must_use]
    pub fn position(&self) -> Option<(String, Offset)> {
        self.viewer.position().map(|(generation, offset)| (generation.to_string(), offset))
    }

    /// The last messages of a stream that has ended: what was held back, and that it is complete, if it is.
    #[must_use]
    pub fn end_frames(&mut self, ending: Ending) -> Frames {
        let form = self.form;
        let mut frames =
            self.last_painter().map(|mut painter| painter.finish(form)).unwrap_or_default();
        if ending == Ending::Complete {
            frames.extend(self.control(|| Message::End));
        }
        frames
    }

    fn control(&self, message: impl FnOnce() -> Message) -> Frames {
        if self.form.has_control() {
            vec![Frame::text(&message().to_json())]
        } else {
            Frames::new()
        }
    }
}
