//! A log as its publisher gets it: what a viewer receives, as the content of messages.

use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use crate::broker::message::Content;
use crate::log::Offset;
use crate::log::timeline::{Reason, WaitReason};
use crate::mirror::RemotePosition;
use crate::session::viewer::{Item, Viewer};

/// A log as it is published.
pub(super) struct Stream {
    pub(super) viewer: Viewer,
    /// Where it has got to.
    pub(super) position: Option<RemotePosition>,
    /// Bytes that come next, if they did not fit into the last message.
    pub(super) rest: Option<(RemotePosition, Bytes)>,
    /// What comes after them.
    pub(super) held: Option<Content>,
    pub(super) has_ended: bool,
    /// Why there is nothing to follow now.
    pub(super) waiting: Option<WaitReason>,
    /// When the file was last written to, as far as that is known.
    pub(super) written: SystemTime,
    /// What came before the next turn is not known to be all.
    pub(super) is_before_unknown: bool,
    /// When the last message was stored.
    pub(super) stored: Option<Instant>,
}

impl Stream {
    /// Whether the log has bytes that come at once.
    pub(super) fn is_behind(&self) -> bool {
        self.viewer.history().is_some_and(|range| !range.is_empty())
    }

    /// Says where the log is.
    pub(super) fn place(&self) -> Option<Content> {
        if let Some(reason) = self.waiting {
            return Some(Content::Waiting { reason, after: self.position });
        }
        let at = self.position?;
        // What there is behind that comes as bytes.
        Some(Content::Turn { at, reason: Reason::Joined, size: at.offset.0, before: None })
    }

    /// Bytes as a message that has at most as many as there is room for. The others come next.
    pub(super) fn in_room(&mut self, room: usize, at: RemotePosition, mut bytes: Bytes) -> Content {
        if bytes.len() > room {
            let rest = bytes.split_off(room);
            let next = RemotePosition { offset: at.offset.plus(room), ..at };
            self.rest = Some((next, rest));
        }
        Content::Bytes { at, bytes, written: self.written }
    }

    /// The bytes of an item, and their offset; the item if it has none.
    pub(super) fn bytes_of(&mut self, item: Item) -> Result<(Offset, Bytes), Item> {
        match item {
            Item::Bytes { start, bytes } => {
                self.waiting = None;
                Ok((start, bytes))
            }
            Item::Chunk(chunk) => {
                self.waiting = None;
                self.written = chunk.written;
                Ok((chunk.start, chunk.bytes.clone()))
            }
            item => Err(item),
        }
    }

    /// Collects the bytes that follow directly until there are enough, or it is late.
    pub(super) async fn collect(
        &mut self,
        start: Offset,
        first: Bytes,
        enough: usize,
        until: Instant,
    ) -> Bytes {
        let mut all = BytesMut::new();
        let mut len = first.len();
        while len < enough && !self.has_ended && self.held.is_none() && Instant::now() < until {
            let Ok(item) = timeout_at(until, self.viewer.next()).await else { break };
            match self.bytes_of(item) {
                Ok((from, bytes)) => {
                    debug_assert_eq!(from, start.plus(len), "a viewer announces each other move");
                    if all.is_empty() {
                        // Mostly there are two parts.
                        all.reserve(len + bytes.len());
                        all.extend_from_slice(&first);
                    }
                    all.extend_from_slice(&bytes);
                    len += bytes.len();
                }
                Err(item) => {
                    self.advance(start.plus(len));
                    self.held = self.take(item);
                }
            }
        }
        if all.is_empty() { first } else { all.freeze() }
    }

    fn advance(&mut self, offset: Offset) {
        if let Some(position) = &mut self.position {
            position.offset = offset;
        }
    }

    /// What an item that has no bytes says to others; None if it says nothing.
    pub(super) fn take(&mut self, item: Item) -> Option<Content> {
        match item {
            Item::Reset { generation, from, reason, .. } => {
                self.waiting = None;
                let at = RemotePosition { generation, offset: from };
                let size = self.viewer.span().map_or(from, |span| span.end()).max(from).0;
                let is_unknown = std::mem::take(&mut self.is_before_unknown);
                let before = self.position.replace(at).filter(|_| !is_unknown);
                let reason = match reason {
                    // What came between is not to be looked for: an edge would come past it again.
                    Reason::Back | Reason::Late => reason,
                    _ if before.is_none() => Reason::Joined,
                    reason => reason,
                };
                Some(Content::Turn { at, reason, size, before })
            }
            Item::Open(opening) => {
                let at = RemotePosition { generation: opening.generation, offset: opening.from };
                (self.is_before_unknown, self.waiting) = (false, None);
                self.written = opening.modified.unwrap_or(self.written);
                self.position = Some(at);
                // Not that of the file, which may be larger than what is written.
                let size = self.viewer.span().map_or(at.offset, |span| span.end()).max(at.offset).0;
                // Whether it follows directly on what was told before is not known.
                Some(Content::Turn { at, reason: Reason::Joined, size, before: None })
            }
            Item::Gap { generation, from, to: Some(to) } => {
                let from = RemotePosition { generation, offset: from };
                self.position = Some(RemotePosition { offset: to, ..from });
                Some(Content::Gap { from, to })
            }
            Item::Gap { to: None, .. } => {
                self.is_before_unknown = true;
                None
            }
            Item::Waiting(reason) => {
                self.waiting = Some(reason);
                Some(Content::Waiting { reason, after: self.position })
            }
            Item::Signed(generation) => {
                if let Some(position) = &mut self.position
                    && position.generation.is(&generation)
                {
                    position.generation = generation;
                }
                None
            }
            Item::End(_) => {
                self.has_ended = true;
                None
            }
            Item::Bytes { .. } | Item::Chunk(_) | Item::CaughtUp => None,
        }
    }
}
