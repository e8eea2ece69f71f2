//! Merges the chunks that queue up for a broadcast group, so that the group writes once to each
//! socket instead of once for each chunk.
//!
//! Groups of one log that are at the same offset share the merged chunks. So they also share the
//! rendering, which is stored by chunk.

use std::sync::{Arc, Weak};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::log::file::CHUNK_BYTES_MAX;
use crate::log::{Chunk, Event};

/// The chunk that was merged last for a group of a log, while somebody still needs it.
#[derive(Debug, Default)]
pub struct MergedChunks(Mutex<Weak<Chunk>>);

impl MergedChunks {
    /// Merges a chunk with those that follow it in the queue, up to [`CHUNK_BYTES_MAX`] bytes. The
    /// event that ends the run is stored in `received`.
    pub(super) fn merge(
        &self,
        first: Arc<Chunk>,
        queue: &mut Receiver<Event>,
        received: &mut Option<Result<Event, RecvError>>,
    ) -> Arc<Chunk> {
        if queue.is_empty() {
            return first;
        }
        let mut last = self.0.lock();
        let is_same_start =
            |merged: &Arc<Chunk>| (merged.span, merged.start) == (first.span, first.start);
        if let Some(merged) = last.upgrade().filter(is_same_start) {
            // Its parts are still in the queue. They will end before the cursor, and be dropped.
            return merged;
        }
        let mut bytes: Option<BytesMut> = None;
        let mut end = first.end();
        while received.is_none() {
            match queue.try_recv() {
                Ok(Event::Chunk(chunk))
                    if (chunk.span, chunk.start) == (first.span, end)
                        && chunk.end().0 - first.start.0 <= CHUNK_BYTES_MAX as u64 =>
                {
                    end = chunk.end();
                    bytes
                        .get_or_insert_with(|| BytesMut::from(first.bytes.as_ref()))
                        .extend_from_slice(&chunk.bytes);
                }
                Ok(event) => *received = Some(Ok(event)),
                Err(TryRecvError::Lagged(missed)) => {
                    *received = Some(Err(RecvError::Lagged(missed)));
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let Some(bytes) = bytes else { return first };
        // The viewers have waited longest for the first chunk.
        let (span, start, written) = (first.span, first.start, first.written);
        let merged = Arc::new(Chunk { span, start, bytes: bytes.freeze(), written });
        *last = Arc::downgrade(&merged);
        merged
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use tokio::sync::broadcast;

    use super::*;
    use crate::log::Offset;

    fn chunk(span: u64, start: u64, bytes: &[u8]) -> Arc<Chunk> {
        let (start, bytes) = (Offset(start), Bytes::copy_from_slice(bytes));
        Arc::new(Chunk { span, start, bytes, written: SystemTime::UNIX_EPOCH })
    }

    /// What two groups of a log receive, one after the other, when these chunks have queued up.
    fn merge(chunks: &[Arc<Chunk>]) -> [Vec<Arc<Chunk>>; 2] {
        let (sender, receiver) = broadcast::channel(32);
        let mut queues = [receiver, sender.subscribe()];
        for chunk in chunks {
            sender.send(Event::Chunk(Arc::clone(chunk))).unwrap();
        }
        let merged = MergedChunks::default();
        let mut given = [Vec::new(), Vec::new()];
        let mut received = [None, None];
        while !queues[0].is_empty() || received[0].is_some() {
            for group in 0..2 {
                let event = received[group]
                    .take()
                    .unwrap_or_else(|| queues[group].try_recv().map_err(|_| RecvError::Closed));
                let Ok(Event::Chunk(first)) = event else { continue };
                let has = given[group].last().is_some_and(|last: &Arc<Chunk>| {
                    last.span == first.span && first.end() <= last.end()
                });
                if !has {
                    let chunk = merged.merge(first, &mut queues[group], &mut received[group]);
                    given[group].push(chunk);
                }
            }
        }
        given
    }

    #[test]
    fn chunks_that_follow_each_other_are_merged_up_to_the_limit() {
        let large = vec![b'x'; CHUNK_BYTES_MAX - 2];
        let end = CHUNK_BYTES_MAX as u64;
        let [given, _] = merge(&[
            chunk(1, 0, b"ab"),
            chunk(1, 2, &large),
            chunk(1, end, b"c"),
            chunk(1, end + 1, b"d"),
            chunk(2, 0, b"e"),
        ]);
        let parts: Vec<_> = given.iter().map(|chunk| (chunk.span, chunk.start.0)).collect();
        assert_eq!(parts, [(1, 0), (1, end), (2, 0)]);
        assert_eq!(given[0].bytes.len(), CHUNK_BYTES_MAX);
        assert_eq!(&given[1].bytes[..], b"cd");
    }

    #[test]
    fn groups_at_the_same_offset_share_a_merged_chunk() {
        let [first, second] = merge(&[chunk(1, 0, b"a"), chunk(1, 1, b"b"), chunk(1, 2, b"c")]);
        assert_eq!((first.len(), second.len()), (1, 1));
        assert!(Arc::ptr_eq(&first[0], &second[0]), "merged twice");
    }
}
