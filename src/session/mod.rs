//! One viewer, from joining to leaving, whatever carries its messages.
//!
//! A [`viewer`] holds a position and walks the log: it reads the file where it is behind and takes the shared chunks
//! where it keeps up. [`frame`] and [`wire`] say what is sent; the [`fanout`] renders and encodes each chunk once for
//! all the viewers of a log that want it in the same form; a [`Session`] puts these together. Nothing here knows how
//! a message travels.

pub mod fanout;
pub mod frame;
pub mod painter;
pub mod viewer;
pub mod wire;

use std::sync::Arc;

use bytes::Bytes;

use crate::log::{LogPath, Offset, Refusal, Registry, Subscription};
use fanout::{Fanout, Fanouts};
use frame::{Frame, Frames};
use painter::Painter;
use viewer::{Item, Viewer};
use wire::Message;

pub use frame::Form;
pub use viewer::{Begin, Ending, Start};

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

    /// Joins a log as a new viewer.
    ///
    /// # Errors
    /// When the log may not be read, or is not there and `start.wait` is off.
    pub async fn join(&self, log: &LogPath, start: Start, form: Form) -> Result<Session, Refusal> {
        let subscription: Subscription = self.registry.join(log, start.wait).await?;
        let fanout = self.fanouts.of(&subscription.follower);
        let viewer = Viewer::new(subscription, start).await;
        Ok(Session { viewer, fanout, form, painter: None, pending: None, sent_anything: false })
    }
}

/// One viewer's messages.
pub struct Session {
    viewer: Viewer,
    fanout: Arc<Fanout>,
    form: Form,
    /// The session's own rendering, while it does not take the shared one.
    painter: Option<Painter>,
    /// What the viewer gave and is not rendered yet.
    pending: Option<Item>,
    sent_anything: bool,
}

/// What a session gives next.
#[derive(Debug)]
pub enum Output {
    /// Send these, in order.
    Frames(Frames),
    /// Nothing more comes.
    End(Ending),
}

impl Session {
    /// The next messages. Dropping the future loses nothing: an item stays pending until it has been turned into them.
    pub async fn next(&mut self) -> Output {
        loop {
            let item = match self.pending.take() {
                Some(item) => item,
                None => self.viewer.next().await,
            };
            if let Some(start) = self.lacks_painter(&item) {
                self.pending = Some(item);
                let before = self.viewer.row_before(start).await;
                self.painter =
                    Some(Painter::primed(self.viewer.span_number(), start, before, self.form));
                continue;
            }
            match self.turn_into_frames(item) {
                Output::Frames(frames) if frames.is_empty() => {}
                output => {
                    self.sent_anything = true;
                    return output;
                }
            }
        }
    }

    /// Where a terminal has to be put before the item can be rendered, if it has to.
    fn lacks_painter(&self, item: &Item) -> Option<Offset> {
        let start = match item {
            Item::Bytes { start, .. } => *start,
            Item::Chunk(chunk) if !self.fanout.can_render(chunk, self.form) => chunk.start,
            _ => return None,
        };
        let span = self.viewer.span_number();
        let ready = self.painter.as_ref().is_some_and(|painter| painter.is_at(span, start));
        (self.form.is_rendered() && !ready).then_some(start)
    }

    fn turn_into_frames(&mut self, item: Item) -> Output {
        Output::Frames(match item {
            Item::Open(opening) => self.control(|| Message::open(&opening)),
            Item::Chunk(chunk) => match self.fanout.frames(&chunk, self.form, &mut self.painter) {
                Some(frames) => frames,
                None => self.paint(chunk.start, &chunk.bytes),
            },
            Item::Bytes { start, bytes } => self.paint(start, &bytes),
            Item::Reset { generation, from, reason } => {
                self.painter = Some(Painter::new(self.viewer.span_number(), from));
                self.control(|| Message::reset(generation, from, reason))
            }
            Item::Gap { generation, from, to } => {
                self.painter = to.map(|to| Painter::new(self.viewer.span_number(), to));
                self.control(|| Message::gap(generation, from, to))
            }
            Item::Waiting(reason) => self.control(|| Message::waiting(reason)),
            // Whoever waits for the last lines of an empty log gets them: none.
            Item::CaughtUp if !self.sent_anything => self.form.empty(),
            Item::CaughtUp => Frames::new(),
            Item::End(ending) => return Output::End(ending),
        })
    }

    fn paint(&mut self, start: Offset, bytes: &Bytes) -> Frames {
        match &mut self.painter {
            Some(painter) if self.form.is_rendered() => painter.paint(bytes, self.form),
            _ => self.form.raw(start, bytes),
        }
    }

    /// Where a viewer resumes after what was given so far: the text of its generation, and the next byte.
    #[must_use]
    pub fn position(&self) -> Option<(String, Offset)> {
        self.viewer.position().map(|(generation, offset)| (generation.to_string(), offset))
    }

    /// The last messages of a stream that came to its end by itself.
    #[must_use]
    pub fn end_frames(&mut self) -> Frames {
        let mut frames =
            self.painter.as_mut().map(|painter| painter.finish(self.form)).unwrap_or_default();
        frames.extend(self.control(|| Message::End));
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
