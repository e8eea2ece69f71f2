//! Bytes of a log that are older than what is followed: from the agent, or else from the stream.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use crate::broker::ask::{Answer, Denial, Request};
use crate::broker::edge::place::{self, Placed};
use crate::broker::message::Content;
use crate::broker::names::{self, HostName};
use crate::broker::nats::Broker;
use crate::log::{Generation, Offset};
use crate::mirror::remote::FETCH_BYTES_MAX;
use crate::mirror::{FetchError, Fetched, RemotePosition};

/// An agent has to read a file first, maybe from a slow disk.
const READ_TIME_MAX: Duration = Duration::from_secs(5);
/// How often an agent that does too much at once is asked again, and after which pause.
const ATTEMPTS_MAX: usize = 5;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of a generation.
pub(super) async fn fetch(
    broker: &Broker,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
) -> Result<Fetched, FetchError> {
    let end = range.end.min(range.start.saturating_add(FETCH_BYTES_MAX));
    let range = range.start..end.max(range.start);
    let failure = match ask(broker, host, path, generation, range.clone()).await {
        Ok(fetched) => return Ok(fetched),
        Err(FetchError::Refused) => return Err(FetchError::Refused),
        Err(failure) => failure,
    };
    // The stream may outlive the file, and the machine.
    let subject = names::log(host, path);
    match read_stream(broker, &subject, path, generation, range).await {
        Some(fetched) => Ok(fetched),
        None => Err(failure),
    }
}

/// The bytes, from the agent.
async fn ask(
    broker: &Broker,
    host: &HostName,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
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
                    return Err(FetchError::Unreachable);
                }
                sleep(BUSY_PAUSE).await;
                continue;
            }
            Answer::Denied(Denial::Refused | Denial::Unknown)
            | Answer::Here(_)
            | Answer::Wanted { .. }
            | Answer::Unchanged
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

/// The bytes, if the stream has all of them. It is asked only for the generation of the last message.
async fn read_stream(
    broker: &Broker,
    subject: &str,
    path: &[u8],
    generation: &Generation,
    range: Range<u64>,
) -> Option<Fetched> {
    let last = place::placed(&broker.last(subject).await.ok()??, path)?;
    let end = last.content.end().filter(|end| end.generation.is(generation))?;
    let size = end.offset.0;
    let wanted = RemotePosition { generation: *generation, offset: Offset(range.start) };
    let to = range.end.min(size);
    let mut all = BytesMut::new();
    if range.start >= to {
        return Some(Fetched { bytes: Bytes::new(), size, next: None });
    }
    let first = broker.stream_state().await.ok()?.first;
    let mut found = place::find(broker, subject, path, &wanted, first, &last).await.ok()?;
    while let Some(Placed { sequence, content }) = found {
        if let Content::Bytes { at, bytes, .. } = content
            && at.generation.is(generation)
        {
            let have = range.start + all.len() as u64;
            // Something is missing between.
            let skip = usize::try_from(have.checked_sub(at.offset.0)?).ok()?;
            if skip < bytes.len() {
                let wanted = usize::try_from(to - have).ok()?;
                all.extend_from_slice(&bytes[skip..bytes.len().min(skip.saturating_add(wanted))]);
            }
        }
        if range.start + all.len() as u64 >= to {
            return Some(Fetched { bytes: all.freeze(), size, next: None });
        }
        found = place::next(broker, subject, path, sequence + 1).await.ok()?;
    }
    None
}
