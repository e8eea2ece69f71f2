//! What a viewer that comes back may have missed of the file before that of its position.
//!
//! A writer may stay with a file that was rotated away, and its bytes come when the stream has turned to the next. A
//! position is in one file: a viewer that was away when they came, or before the server that was to tell them ended,
//! walks on and never meets them. It says how far it had that file, gets its bytes first, and then goes back.

use std::sync::Arc;

use crate::log::timeline::{Reader, Reason, Span};
use crate::log::{Generation, Offset};
use crate::session::start::Late;
use crate::session::viewer::stand::{At, marker};
use crate::session::viewer::{Item, Viewer};

/// A way aside, once the stream has been opened.
#[derive(Clone, Debug)]
pub(super) enum Aside {
    /// The bytes from this place on come first.
    Due(At),
    /// There may be such bytes, and they can't be found.
    Lost(Generation, Offset),
    /// The viewer is at them, and goes back to this place.
    Home(At),
}

impl Viewer {
    /// The span in which the viewer goes on: where a file ends and is gone back to later, the same offset is in both spans.
    pub(super) fn behind_late(&self, span: Arc<Span>, offset: Offset) -> Arc<Span> {
        match self.start.late {
            Some(Late { generation: Some(late), offset: given })
                if span.is_closed() && span.end() == offset =>
            {
                self.subscription.follower.timeline().behind(&span, late, given)
            }
            _ => span,
        }
    }

    /// What of the file before is not met on the way from this place.
    pub(super) async fn look_aside(&self, span: &Arc<Span>, at: Offset) -> Option<Aside> {
        let Late { generation, offset } = self.start.late?;
        // What was never a generation of ours has no text that could be told.
        let Some(generation) = generation else { return Some(Aside::Lost(span.generation, at)) };
        if generation.is(&span.generation) {
            return None;
        }
        let follower = &self.subscription.follower;
        let known = follower.timeline().last_before(span.number, generation);
        let before = match known {
            Some(before) => before,
            None if follower.timeline().knows(generation) => return None,
            None => match self.find_generation(generation, offset).await {
                Some(before) => before,
                None => return Some(Aside::Lost(generation, offset)),
            },
        };
        if before.end() <= offset || (before.number > span.number && !before.is_before_all()) {
            return None;
        }
        let marker = marker(before.file().as_ref(), offset).await;
        Some(Aside::Due(At::new(Reader::enter(&before), marker, self.start.signed)))
    }

    /// Goes to the bytes that come first.
    pub(super) fn step_aside(&mut self) -> Option<Item> {
        let aside = self.aside.take()?;
        let home = self.at.clone()?;
        match *aside {
            Aside::Due(at) => {
                let (generation, from) = (at.generation, at.offset());
                self.at = Some(at);
                self.aside = Some(Box::new(Aside::Home(home)));
                Some(Item::Reset { generation, from, reason: Reason::Late })
            }
            Aside::Lost(generation, from) => {
                self.told = Some(back(&home));
                Some(Item::Gap { generation, from, to: None })
            }
            there @ Aside::Home(_) => {
                self.aside = Some(Box::new(there));
                None
            }
        }
    }

    /// Goes back when they have been given.
    pub(super) fn step_back(&mut self) -> Option<Item> {
        let Aside::Home(home) = *self.aside.take()? else { return None };
        let reset = back(&home);
        self.at = Some(home);
        Some(reset)
    }
}

fn back(home: &At) -> Item {
    Item::Reset { generation: home.generation, from: home.offset(), reason: Reason::Back }
}
