//! Finds the message of a stream that has a position of a log.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::broker::fields::Fields;
use crate::broker::message::{self, Content, Message};
use crate::broker::nats::{Broker, Ended, From, Stored, StreamFailure, StreamState};
use crate::log::Generation;
use crate::log::mirrored::Successor;
use crate::mirror::RemotePosition;

/// Messages of a log are looked through for so long at most before whoever waits is told so.
const SCAN_TIME_MAX: Duration = Duration::from_secs(3);
/// Of so many generations it is kept what was found, if these are not more messages together.
const SCANS_MAX: usize = 16;
const SCANNED_PIECES_MAX: usize = 128 * 1024;
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) range: Range<u64>,
}

/// What the stream has of one generation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pieces {
    /// Its messages, in their order.
    pub(super) all: Vec<Piece>,
    /// The offset after its last byte, as far as that is known.
    pub(super) size: Option<u64>,
    /// The generation that came directly after it.
    pub(super) next: Option<Successor>,
}

impl Pieces {
    /// Takes what the headers of a message say of a generation.
    fn take(&mut self, sequence: u64, fields: &Fields, path: &[u8], generation: &Generation) {
        let has_size = |size: Option<u64>, end: u64| Some(size.map_or(end, |size| size.max(end)));
        if let Some((at, end)) = message::place(fields, path)
            && at.generation.is(generation)
        {
            self.size = has_size(self.size, end.0);
            self.all.push(Piece { sequence, range: at.offset.0..end.0 });
        }
        if let Some((before, next)) = message::succession(fields, path)
            && before.generation.is(generation)
        {
            self.size = has_size(self.size, before.offset.0);
            self.next = Some(Successor { generation: next, is_direct: true });
        }
    }
}

/// How far the messages of logs were looked through for a generation. A log that has very many is looked
/// through in parts, and no message is looked at again for each piece of the generation.
#[derive(Debug, Default)]
struct Scans(Mutex<VecDeque<Scan>>);

#[derive(Clone, Debug, PartialEq)]
struct Scan {
    subject: String,
    generation: Generation,
    /// When the stream was made.
    created: SystemTime,
    /// The sequence of the first message that was not looked at.
    next: u64,
    found: Pieces,
}

impl Scans {
    /// The scan for a generation as it stands. Nobody else goes on with it meanwhile.
    fn take(&self, subject: &str, generation: &Generation, state: &StreamState) -> Scan {
        let is_it = |scan: &Scan| {
            scan.subject == subject
                && scan.generation.is(generation)
                && scan.created == state.created
        };
        let mut scans = self.0.lock();
        let known = scans.iter().position(is_it).and_then(|at| scans.remove(at));
        drop(scans);
        let mut scan = known.unwrap_or_else(|| Scan {
            subject: subject.to_owned(),
            generation: *generation,
            created: state.created,
            next: state.first,
            found: Pieces::default(),
        });
        // The others are not in the stream any more.
        scan.found.all.retain(|piece| piece.sequence >= state.first);
        scan.next = scan.next.max(state.first);
        scan
    }

    fn put(&self, scan: Scan) {
        let mut scans = self.0.lock();
        scans.push_back(scan);
        let are_too_many = |scans: &VecDeque<Scan>| {
            let pieces: usize = scans.iter().map(|scan| scan.found.all.len()).sum();
            scans.len() > 1 && (scans.len() > SCANS_MAX || pieces > SCANNED_PIECES_MAX)
        };
        while are_too_many(&scans) {
            scans.pop_front();
        }
    }
}

/// The broker, and how far the messages of its stream were looked through.
#[derive(Clone, Debug)]
pub(super) struct StreamReader {
    pub(super) broker: Broker,
    scans: Arc<Scans>,
}

impl StreamReader {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker, scans: Arc::default() }
    }

    /// The messages of a generation that the stream has, by their headers. An error where the broker does
    /// not give them now, or there are too many messages of the log to look through all of them at once:
    /// the stream may have some. The next call goes on where this one got to.
    pub(super) async fn pieces(
        &self,
        subject: &str,
        path: &[u8],
        generation: &Generation,
        state: &StreamState,
    ) -> Result<Pieces, StreamFailure> {
        let mut scan = self.scans.take(subject, generation, state);
        let scanned = look_on(&self.broker, path, &mut scan).await;
        let found = scanned.map(|()| scan.found.clone());
        self.scans.put(scan);
        found
    }
}

async fn look_on(broker: &Broker, path: &[u8], scan: &mut Scan) -> Result<(), StreamFailure> {
    let until = Instant::now() + SCAN_TIME_MAX;
    let ended = |Ended(why)| StreamFailure::Away(why);
    let mut consumer =
        broker.consume(&scan.subject, From::Headers(scan.next)).await.map_err(ended)?;
    for _ in 0..consumer.pending() {
        let late = |_| StreamFailure::Away(format!("not all came within {SCAN_TIME_MAX:?}"));
        let stored = timeout_at(until, consumer.next()).await.map_err(late)?.map_err(ended)?;
        scan.found.take(stored.sequence, &stored.fields, path, &scan.generation);
        scan.next = stored.sequence + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;
    use crate::log::access::Identity;

    fn generation(inode: u64) -> Generation {
        Generation::new(Identity { device: 1, inode }, 1, b"")
    }

    fn state(made: u64, first: u64) -> StreamState {
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(made);
        StreamState { created, first, last: 99 }
    }

    /// The scan after messages of three bytes with the sequences up to `last`.
    fn looked(scans: &Scans, of: u64, state: &StreamState, last: u64) -> Scan {
        let mut scan = scans.take("log", &generation(of), state);
        for sequence in scan.next..=last {
            let at = RemotePosition { generation: generation(of), offset: Offset(3 * sequence) };
            let (bytes, written) = ("abc".into(), SystemTime::UNIX_EPOCH);
            let content = Content::Bytes { at, bytes, written };
            let (fields, _) = Message { path: b"/x".to_vec(), content }.encode();
            scan.found.take(sequence, &fields, b"/x", &generation(of));
            scan.next = sequence + 1;
        }
        scans.put(scan.clone());
        scan
    }

    #[test]
    fn a_scan_goes_on_where_it_got_to_without_what_the_stream_has_dropped() {
        let scans = Scans::default();
        assert_eq!(looked(&scans, 1, &state(1, 5), 7).found.all.len(), 3);
        let scan = scans.take("log", &generation(1), &state(1, 7));
        let first = scan.found.all.first().cloned();
        assert_eq!((scan.next, scan.found.size), (8, Some(24)));
        assert_eq!(first, Some(Piece { sequence: 7, range: 21..24 }));
        scans.put(scan);
        // Others have their own, and so has a stream that was made anew.
        for (subject, of, made) in [("log", 2, 1), ("other", 1, 1), ("log", 1, 2)] {
            let scan = scans.take(subject, &generation(of), &state(made, 3));
            assert_eq!((scan.next, scan.found), (3, Pieces::default()));
        }
    }

    #[test]
    fn what_is_known_of_scans_is_bounded_and_the_last_one_stays() {
        let scans = Scans::default();
        for of in 0..3 * SCANS_MAX as u64 {
            looked(&scans, of, &state(1, 1), 1);
        }
        assert_eq!(scans.0.lock().len(), SCANS_MAX);
        let many = looked(&scans, 1, &state(1, 1), SCANNED_PIECES_MAX as u64 + 1);
        assert_eq!(*scans.0.lock(), [many]);
    }
}
