//! Bytes of a log that are older than what is followed: from the agent, or else from the stream.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use crate::broker::ask::{Answer, Denial, PastFile, Request};
use crate::broker::edge::place::{self, Placed, StreamReader};
use crate::broker::message::Content;
use crate::broker::names::{self, HostName};
use crate::broker::nats::{Broker, StreamFailure, StreamState};
use crate::log::{Generation, Offset};
use crate::mirror::remote::FETCH_BYTES_MAX;
use crate::mirror::{FetchError, Fetched, RemotePast, RemotePosition};

/// An agent has to read a file first, maybe from a slow disk.
const READ_TIME_MAX: Duration = Duration::from_secs(5);
/// How often an agent that does too much at once is asked again, and after which pause.
const ATTEMPTS_MAX: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of a generation.
pub(super) async fn fetch(
    reader: &StreamReader,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
) -> Result<Fetched, FetchError> {
    let end = range.end.min(range.start.saturating_add(FETCH_BYTES_MAX));
    let range = range.start..end.max(range.start);
    match ask(&reader.broker, host, path, generation, range.clone(), false).await {
        Err(failure) => fetch_otherwise(reader, host, path, generation, range, failure).await,
        fetched => fetched,
    }
}

/// How long a generation is, and which one came after it.
pub(super) async fn ending(
    reader: &StreamReader,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
) -> Result<Fetched, FetchError> {
    match ask(&reader.broker, host, path, generation, 0..0, true).await {
        // An agent that was started since may not know what came next, nor how long a generation was that
        // is gone. The stream may.
        Ok(fetched) if !fetched.next.is_some_and(|next| next.is_direct) => {
            let read = read_stream(reader, &names::log(host, path), path, generation, 0..0).await;
            Ok(match read {
                Ok(Some(read)) => Fetched {
                    size: fetched.size.max(read.size),
                    next: read.next.or(fetched.next),
                    ..fetched
                },
                Ok(None) | Err(_) => fetched,
            })
        }
        Err(failure) => fetch_otherwise(reader, host, path, generation, 0..0, failure).await,
        fetched => fetched,
    }
}

/// The same where the agent does not give it. The stream may outlive the file, and the machine.
async fn fetch_otherwise(
    reader: &StreamReader,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
    failure: FetchError,
) -> Result<Fetched, FetchError> {
    if failure == FetchError::Refused {
        return Err(failure);
    }
    let subject = names::log(host, path);
    let read = read_stream(reader, &subject, path, generation, range.clone()).await;
    from_either(read, failure, &range)
}

/// What follows from what the stream has of a range, and why the agent does not give it.
fn from_either(
    read: Result<Option<Fetched>, StreamFailure>,
    failure: FetchError,
    range: &Range<u64>,
) -> Result<Fetched, FetchError> {
    match (read, failure) {
        // A stream that does not answer now may have what the agent has not.
        (Err(_), FetchError::Gone) => Err(FetchError::Unreachable),
        // What neither of them has is gone, also where the stream knows the generation and has none of its
        // bytes.
        (Ok(Some(fetched)), FetchError::Gone) if range.is_empty() || !fetched.bytes.is_empty() => {
            Ok(fetched)
        }
        (Ok(Some(fetched)), FetchError::Unreachable | FetchError::Busy) if range.is_empty() => {
            Ok(fetched)
        }
        // The machine may have more than the stream. That is not gone.
        (Ok(Some(fetched)), FetchError::Unreachable | FetchError::Busy)
            if !fetched.bytes.is_empty() =>
        {
            Ok(Fetched { size: fetched.size.max(range.end), ..fetched })
        }
        (_, failure) => Err(failure),
    }
}

/// The bytes, and what came `next`, from the agent.
async fn ask(
    broker: &Broker,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
    next: bool,
) -> Result<Fetched, FetchError> {
    let subject = names::ask(host);
    let mut all: Option<BytesMut> = None;
    let mut first = Bytes::new();
    let mut attempts = 0;
    loop {
        let len = all.as_ref().map_or(first.len(), BytesMut::len);
        let offset = Offset(range.start).plus(len);
        let request = Request::Range {
            path: path.to_vec(),
            from: RemotePosition { generation: *generation, offset },
            length: (range.end - offset.0) as usize,
            next,
        };
        let asked = broker.request(&subject, request.encode(), READ_TIME_MAX).await;
        let (fields, payload) = asked.map_err(|_| FetchError::Unreachable)?;
        let answer = Answer::decode(&fields, payload).map_err(|_| FetchError::Refused)?;
        let (size, bytes, next) = match answer {
            Answer::Range { size, bytes, next } => (size, bytes, next),
            Answer::Denied(Denial::Gone) => return Err(FetchError::Gone),
            Answer::Denied(Denial::Busy) => {
                attempts += 1;
                if attempts == ATTEMPTS_MAX {
                    return Err(FetchError::Busy);
                }
                sleep(BUSY_PAUSE).await;
                continue;
            }
            Answer::Denied(Denial::Refused | Denial::Unknown)
            | Answer::Here(_)
            | Answer::Wanted { .. }
            | Answer::Unchanged
            | Answer::Past { .. }
            | Answer::Page { .. } => return Err(FetchError::Refused),
        };
        let is_last = bytes.is_empty() || offset.plus(bytes.len()).0 >= range.end.min(size);
        if first.is_empty() {
            first = bytes;
        } else {
            all.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&bytes);
        }
        if is_last {
            let bytes = all.map_or(first, BytesMut::freeze);
            return Ok(Fetched { bytes, size, next });
        }
    }
}

/// The files that had the name of a log before, from the agent. Their lines are small: as many come as
/// fit into one answer, the newest.
pub(super) async fn past(
    broker: &Broker,
    host: &HostName,
    path: &[u8],
) -> Result<Vec<RemotePast>, FetchError> {
    let request = Request::Past { path: path.to_vec() };
    let asked = broker.request(&names::ask(host), request.encode(), READ_TIME_MAX).await;
    let (fields, payload) = asked.map_err(|_| FetchError::Unreachable)?;
    match Answer::decode(&fields, payload).map_err(|_| FetchError::Refused)? {
        Answer::Past { lines } => {
            let lines = String::from_utf8_lossy(&lines).into_owned();
            Ok(lines.lines().filter_map(PastFile::of_line).collect())
        }
        Answer::Denied(Denial::Gone) => Err(FetchError::Gone),
        Answer::Denied(Denial::Busy) => Err(FetchError::Busy),
        // An agent of an earlier version does not understand it.
        _ => Err(FetchError::Refused),
    }
}

/// The bytes, or the first of them, if the stream has these. An error where it cannot be read now.
async fn read_stream(
    reader: &StreamReader,
    subject: &str,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
) -> Result<Option<Fetched>, StreamFailure> {
    let broker = &reader.broker;
    let Some(last) = lacking(broker.last(subject).await)?.flatten() else { return Ok(None) };
    let last = place::placed(&last, path);
    let Some(state) = lacking(broker.stream_state().await)? else { return Ok(None) };
    let first = state.first;
    let end = last.as_ref().and_then(|last| last.content.end());
    let wanted = RemotePosition { generation: *generation, offset: Offset(range.start) };
    let Some((last, end)) = last.zip(end).filter(|(_, end)| end.generation.is(generation)) else {
        return read_pieces(reader, subject, path, wanted, range.end, &state).await;
    };
    let size = end.offset.0;
    let mut part = Part::new(wanted, range.end.min(size));
    let mut found = None;
    if !part.is_whole() {
        found = place::find(broker, subject, path, &wanted, first, &last).await?;
    }
    while let Some(Placed { sequence, content }) = found.take() {
        if part.take(content) {
            found = place::next(broker, subject, path, sequence + 1).await?;
        }
    }
    Ok(part.fetched(size))
}

/// What the stream says, or nothing where it has nothing to say.
fn lacking<T>(said: Result<T, StreamFailure>) -> Result<Option<T>, StreamFailure> {
    match said {
        Err(StreamFailure::Missing | StreamFailure::Off | StreamFailure::Refused(_)) => Ok(None),
        said => said.map(Some),
    }
}

/// The same for a generation that is not the last one.
async fn read_pieces(
    reader: &StreamReader,
    subject: &str,
    path: &[u8],
    wanted: RemotePosition,
    end: u64,
    state: &StreamState,
) -> Result<Option<Fetched>, StreamFailure> {
    let pieces = reader.pieces(subject, path, &wanted.generation, state).await?;
    let (Some(size), next) = (pieces.size, pieces.next) else { return Ok(None) };
    let mut part = Part::new(wanted, end.min(size));
    for piece in pieces.all {
        if part.is_whole() {
            break;
        }
        if piece.range.is_empty() || piece.range.end <= wanted.offset.0 {
            continue;
        }
        let found = place::next(&reader.broker, subject, path, piece.sequence).await?;
        if !found.is_some_and(|found| part.take(found.content)) {
            break;
        }
    }
    Ok(part.fetched(size).map(|fetched| Fetched { next, ..fetched }))
}

/// The bytes of a generation from a position on, as they are found.
struct Part {
    from: RemotePosition,
    to: u64,
    bytes: BytesMut,
}

impl Part {
    fn new(from: RemotePosition, to: u64) -> Self {
        Self { from, to, bytes: BytesMut::new() }
    }

    fn end(&self) -> u64 {
        self.from.offset.plus(self.bytes.len()).0
    }

    fn is_whole(&self) -> bool {
        self.end() >= self.to
    }

    /// Takes the bytes of a message that has some. Returns whether more may be found.
    fn take(&mut self, content: Content) -> bool {
        let Content::Bytes { at, bytes, .. } = content else { return true };
        if !at.generation.is(&self.from.generation) {
            return true;
        }
        // Otherwise something is missing between.
        let Some(skip) = self.end().checked_sub(at.offset.0) else { return false };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        let wanted = usize::try_from(self.to - self.end()).unwrap_or(usize::MAX);
        let end = bytes.len().min(skip.saturating_add(wanted));
        self.bytes.extend_from_slice(&bytes[skip..end]);
        !self.is_whole()
    }

    /// What was found; None if it lacks the first byte.
    fn fetched(self, size: u64) -> Option<Fetched> {
        let is_any = self.is_whole() || !self.bytes.is_empty();
        is_any.then(|| Fetched { bytes: self.bytes.freeze(), size, next: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_stream_has_been_read_for_is_gone() {
        let away = || Err(StreamFailure::Away("no answer".to_owned()));
        let fetched = |bytes: &'static [u8], size| Fetched {
            bytes: Bytes::from_static(bytes),
            size,
            next: None,
        };
        let (gone, unreachable) = (FetchError::Gone, FetchError::Unreachable);
        for range in [0..0, 3..9] {
            assert_eq!(from_either(away(), gone, &range), Err(unreachable), "{range:?}");
            assert_eq!(from_either(away(), FetchError::Busy, &range), Err(FetchError::Busy));
            assert_eq!(from_either(Ok(None), gone, &range), Err(gone), "{range:?}");
        }
        let some = || Ok(Some(fetched(b"abc", 6)));
        assert_eq!(from_either(some(), gone, &(3..9)), Ok(fetched(b"abc", 6)));
        assert_eq!(from_either(some(), unreachable, &(3..9)), Ok(fetched(b"abc", 9)));
        assert_eq!(from_either(Ok(Some(fetched(b"", 6))), gone, &(6..9)), Err(gone));
    }

    #[test]
    fn a_stream_that_is_not_there_has_nothing() {
        let said = |failure| lacking::<()>(Err(failure)).is_ok_and(|said| said.is_none());
        assert!(said(StreamFailure::Missing) && said(StreamFailure::Off));
        assert!(!said(StreamFailure::Away("no answer".to_owned())));
    }
}
