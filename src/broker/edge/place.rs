//! Finds the message of a stream that has a position of a log.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::broker::message::{self, Content, Message};
use crate::broker::nats::{Broker, Ended, From, Stored, StreamFailure};
use crate::log::Generation;
use crate::log::mirrored::Successor;
use crate::mirror::RemotePosition;

/// All messages of a log are looked through for so long at most.
const SCAN_TIME_MAX: Duration = Duration::from_secs(3);
/// So many messages that say nothing of a generation may stand between two of it: late bytes of the
/// one before, and that there is nothing to follow.
const OTHERS_MAX: usize = 8;

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

/// Whether a message has the byte at a position, or comes after it in the same generation. None for
/// one that says nothing of that generation.
fn has_reached(content: &Content, wanted: &RemotePosition) -> Option<bool> {
    let (of, is_covered) = match content {
        Content::Bytes { at, bytes, .. } => (at, at.offset.plus(bytes.len()) > wanted.offset),
        Content::Turn { at, .. } => (at, at.offset > wanted.offset),
        Content::Gap { from, to } => (from, *to > wanted.offset),
        Content::Waiting { after, .. } => {
            let after = after.as_ref()?;
            (after, after.offset > wanted.offset)
        }
    };
    of.generation.is(&wanted.generation).then_some(is_covered)
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
    if has_reached(&last.content, wanted) != Some(true) {
        return Ok(None);
    }
    let mut found = last.clone();
    // The first message of the generation at `high` or later has reached it, and is `found`. None
    // before `low` has.
    let (mut low, mut high) = (first, last.sequence);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut probe = next(broker, subject, path, middle).await?;
        let mut others = 0;
        let reached = loop {
            let Some(placed) = &probe else { break None };
            match has_reached(&placed.content, wanted) {
                Some(reached) => break Some(reached),
                // What follows may be all of the generation before.
                None if others == OTHERS_MAX => break Some(false),
                None => others += 1,
            }
            probe = next(broker, subject, path, placed.sequence + 1).await?;
        };
        match (probe, reached) {
            (Some(placed), Some(true)) => (high, found) = (middle, placed),
            (Some(placed), Some(false)) => low = placed.sequence + 1,
            // The stream was trimmed meanwhile.
            _ => break,
        }
    }
    Ok(Some(found))
}

/// A message that has a part of a generation.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) range: Range<u64>,
}

/// What the stream has of one generation.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces {
    /// Its messages, in their order.
    pub(super) all: Vec<Piece>,
    /// The offset after its last byte, as far as that is known.
    pub(super) size: Option<u64>,
    /// The generation that came directly after it.
    pub(super) next: Option<Successor>,
}

/// The messages of a generation from a sequence on, by their headers. Nothing where there are none, or
/// too many messages of the log to look through all of them. An error where the broker does not give them
/// now: it may have some.
pub(super) async fn pieces(
    broker: &Broker,
    subject: &str,
    path: &[u8],
    generation: &Generation,
    from: u64,
) -> Result<Pieces, StreamFailure> {
    let until = Instant::now() + SCAN_TIME_MAX;
    let mut pieces = Pieces::default();
    let ended = |Ended(why)| StreamFailure::Away(why);
    let mut consumer = broker.consume(subject, From::Headers(from)).await.map_err(ended)?;
    for nth in 0..consumer.pending() {
        let stored = match timeout_at(until, consumer.next()).await {
            Ok(next) => next.map_err(ended)?,
            Err(_) if nth == 0 => return Err(StreamFailure::Away("it gives nothing".to_owned())),
            Err(_) => return Ok(Pieces::default()),
        };
        let has_size = |size: Option<u64>, end: u64| Some(size.map_or(end, |size| size.max(end)));
        if let Some((at, end)) = message::place(&stored.fields, path)
            && at.generation.is(generation)
        {
            pieces.size = has_size(pieces.size, end.0);
            pieces.all.push(Piece { sequence: stored.sequence, range: at.offset.0..end.0 });
        }
        if let Some((before, next)) = message::succession(&stored.fields, path)
            && before.generation.is(generation)
        {
            pieces.size = has_size(pieces.size, before.offset.0);
            pieces.next = Some(Successor { generation: next, is_direct: true });
        }
    }
    Ok(pieces)
}
