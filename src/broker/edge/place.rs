//! Finds the message of a stream that has a position of a log.

use crate::broker::message::{Content, Message};
use crate::broker::nats::{Broker, Stored, StreamFailure};
use crate::mirror::RemotePosition;

/// A message of a log and its place in the stream.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) sequence: u64,
    pub(super) content: Content,
}

/// What a stored message says about the log at this path. None for what is none, or of another log.
pub(super) fn placed(stored: &Stored, path: &[u8]) -> Option<Placed> {
    match Message::decode(&stored.fields, stored.payload.clone()) {
        Ok(message) if message.path == path => {
            Some(Placed { sequence: stored.sequence, content: message.content })
        }
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(subject = stored.subject, %error, "a message is not understood: left out");
            None
        }
    }
}

/// The first message of the subject at this sequence or later that is one of the log.
pub(super) async fn next(
    broker: &Broker,
    subject: &str,
    path: &[u8],
    mut from: u64,
) -> Result<Option<Placed>, StreamFailure> {
    while let Some(stored) = broker.next(subject, from).await? {
        if let Some(placed) = placed(&stored, path) {
            return Ok(Some(placed));
        }
        from = stored.sequence + 1;
    }
    Ok(None)
}

/// Whether a message has the byte at a position, or comes after it in the same generation.
fn has_reached(content: &Content, wanted: &RemotePosition) -> bool {
    let (of, is_covered) = match content {
        Content::Bytes { at, bytes, .. } => (at, at.offset.plus(bytes.len()) > wanted.offset),
        Content::Turn { at, .. } => (at, at.offset > wanted.offset),
        Content::Gap { from, to } => (from, *to > wanted.offset),
        Content::Waiting { .. } => return false,
    };
    of.generation.is(&wanted.generation) && is_covered
}

/// The first message with the byte at a position, or after it, if the last message of the log is of
/// the same generation. `last` is that message, `first` the sequence from which on to look.
///
/// Offsets grow within a generation, so it is found in as many steps as the sequence has bits.
pub(super) async fn find(
    broker: &Broker,
    subject: &str,
    path: &[u8],
    wanted: &RemotePosition,
    first: u64,
    last: &Placed,
) -> Result<Option<Placed>, StreamFailure> {
    if !has_reached(&last.content, wanted) {
        return Ok(None);
    }
    let mut found = last.clone();
    // Whatever comes first at `high` or later has reached it, and is `found`. Nothing before `low` has.
    let (mut low, mut high) = (first, last.sequence);
    while low < high {
        let middle = low + (high - low) / 2;
        match next(broker, subject, path, middle).await? {
            Some(placed) if has_reached(&placed.content, wanted) => {
                (high, found) = (middle, placed);
            }
            Some(placed) => low = placed.sequence + 1,
            // The stream was trimmed meanwhile.
            None => break,
        }
    }
    Ok(Some(found))
}
