//! What an agent answers.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::broker::agent::{Agent, LEASE, Said};
use crate::broker::ask::{Answer, Denial, PastFile, Request, WantedLog};
use crate::broker::message::MESSAGE_BYTES_MAX;
use crate::log::Follower;
use crate::log::access::Refusal;
use crate::log::file::{LogFile, Nuls, Read};
use crate::log::mirrored::Successor;
use crate::log::timeline::{Next, ROTATED_NUMBER_MAX, Reason, Span};
use crate::mirror::{RemotePast, RemotePosition};
use crate::session::reads::FileReads;
use crate::session::viewer::Viewer;
use crate::session::{StartAt, StreamRequest, WantedGeneration};

/// An answer that has not begun to be prepared after this time is not given now.
const WAIT_TIME_MAX: Duration = Duration::from_secs(1);
/// Bytes that have not been read after this time are not given. Edges wait a little longer than both.
const READ_TIME_MAX: Duration = Duration::from_secs(3);
/// What takes longer is given up after this time.
const SLOW_TIME_MAX: Duration = Duration::from_secs(120);
/// The same for a list.
const LIST_TIME_MAX: Duration = Duration::from_secs(8);

impl Agent {
    /// The answer to a request.
    pub(super) async fn answer(self: &Arc<Self>, request: Request) -> Answer {
        match request {
            Request::Who => Answer::Here(self.here.clone()),
            Request::Want { logs, tell } => {
                let mut refused = Vec::new();
                for WantedLog { path, known } in logs {
                    // One that is not there yet is waited for.
                    if let Err(refusal) = self.want(&path, LEASE, Said { known, tell }) {
                        tracing::debug!(%refusal, path = %path.escape_ascii(), "a log is refused");
                        refused.push(path);
                    }
                }
                Answer::Wanted { here: self.here.clone(), refused }
            }
            Request::List { page, known } => {
                let room = self.broker.payload_max();
                in_time(&self.answers, LIST_TIME_MAX, self.list.page(page, known, room)).await
            }
            Request::Past { path } => {
                let listing = async { self.past(&path).await.unwrap_or_else(Answer::Denied) };
                in_time(&self.answers, READ_TIME_MAX, listing).await
            }
            Request::Range { path, from, length, next } => {
                let agent = Arc::clone(self);
                let reading = async move {
                    agent.read(&path, from, length, next).await.unwrap_or_else(Answer::Denied)
                };
                let reading = going_on(&self.slow_answers, reading);
                in_time(&self.answers, READ_TIME_MAX, reading).await
            }
        }
    }

    /// The files that had the name of a log before.
    async fn past(&self, path: &[u8]) -> Result<Answer, Denial> {
        let log = self.locate(path).map_err(denial)?;
        self.recall(&log).await.map_err(|_| Denial::Busy)?;
        let subscription = self.registry.visit(&log).await.map_err(denial)?;
        if subscription.is_barred {
            return Err(Denial::Refused);
        }
        let room = self.broker.payload_max().min(MESSAGE_BYTES_MAX);
        let (mut lines, mut len) = (Vec::new(), 0);
        // The newest are those that somebody comes to first.
        for file in subscription.follower.history().await.iter().rev() {
            let Some(path) = file.past_path() else { continue };
            let line = PastFile::line(&RemotePast {
                path: path.as_path().as_os_str().as_bytes().to_vec(),
                generation: file.generation,
                compression: file.compression,
                modified: file.modified,
                disk_size: file.disk_size,
                is_gap_after: file.is_gap_after(),
            });
            len += line.len();
            if len > room {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        Ok(Answer::Past { lines: lines.concat().into() })
    }

    /// Bytes of a log from a position on, and what came `next` after their generation.
    async fn read(
        &self,
        path: &[u8],
        from: RemotePosition,
        length: usize,
        next: bool,
    ) -> Result<Answer, Denial> {
        let log = self.locate(path).map_err(denial)?;
        // A follower that begins without that would give the file another generation.
        self.recall(&log).await.map_err(|_| Denial::Busy)?;
        let subscription = self.registry.visit(&log).await.map_err(denial)?;
        let begin = StartAt::From {
            offset: from.offset,
            of: WantedGeneration::Generation(from.generation),
            otherwise: Some(0),
        };
        let request = StreamRequest { wait: true, ..StreamRequest::new(begin) };
        let reads = Arc::<FileReads>::default();
        let viewer = Viewer::new(subscription, request, Arc::clone(&reads), |_| false).await;
        let Some(span) = viewer.span().filter(|_| viewer.is_recovered()) else {
            let generation = from.generation;
            tracing::debug!(log = %log.display(), %generation, "a generation is not found");
            // Of a generation that is gone it may be known at least what came after it.
            let other = match next {
                true => viewer.follower().find_other_content(from.generation, None).await,
                false => None,
            };
            let other = other.ok_or(Denial::Gone)?;
            let next = Successor { generation: other.span().signed(), is_direct: false };
            return Ok(Answer::Range { size: 0, bytes: Bytes::new(), next: Some(next) });
        };
        let last = viewer.follower().timeline().last_of(span.generation);
        let last = last.unwrap_or_else(|| Arc::clone(span));
        let (file, tail) = last.file_and_tail().ok_or(Denial::Gone)?;
        let (signed, size) = (last.signed(), last.end().0.max(span.end().0));
        let room = self.broker.payload_max().min(MESSAGE_BYTES_MAX) as u64;
        let left = size.checked_sub(from.offset.0).ok_or(Denial::Gone)?;
        let wanted = left.min(length as u64).min(room) as usize;
        let reading = move |file: &LogFile| -> io::Result<Option<Vec<u8>>> {
            let bytes = file.read_at(from.offset, wanted)?;
            // It may have been truncated and filled again meanwhile.
            let at_end = file.read_after(&tail, 0, tail.offset(), Nuls::Written)?;
            let is_same = !matches!(at_end, Read::Changed) && signed.is_of(&file.head()?);
            Ok((is_same && bytes.len() == wanted).then_some(bytes))
        };
        match reads.run(&file, reading).await {
            Ok(Some(bytes)) => {
                // That file may have to be unpacked to be known.
                let next = if next { next_generation(viewer.follower(), span).await } else { None };
                Ok(Answer::Range { size, bytes: bytes.into(), next })
            }
            Ok(None) => Err(Denial::Gone),
            Err(error) => {
                tracing::warn!(log = %log.display(), %error, "can't read");
                Err(Denial::Busy)
            }
        }
    }
}

/// An answer that costs something: a few at a time, and none for long, since a file system may hang.
async fn in_time(
    permits: &Semaphore,
    time_max: Duration,
    work: impl Future<Output = Answer>,
) -> Answer {
    match timeout(WAIT_TIME_MAX, permits.acquire()).await {
        Ok(Ok(_permit)) => timeout(time_max, work).await.unwrap_or(Answer::Denied(Denial::Busy)),
        _ => Answer::Denied(Denial::Busy),
    }
}

/// Work that is not given up when nobody waits for it any more, so that it is done when somebody asks
/// again. Of that there is not much at a time.
async fn going_on(
    permits: &Arc<Semaphore>,
    work: impl Future<Output = Answer> + Send + 'static,
) -> Answer {
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        return Answer::Denied(Denial::Busy);
    };
    let working = tokio::spawn(async move {
        let answer = timeout(SLOW_TIME_MAX, work).await;
        drop(permit);
        answer.unwrap_or(Answer::Denied(Denial::Busy))
    });
    working.await.unwrap_or(Answer::Denied(Denial::Busy))
}

/// The generation that had the log's name after that of a span, and whether that is certain.
async fn next_generation(follower: &Arc<Follower>, span: &Arc<Span>) -> Option<Successor> {
    let mut is_direct = true;
    let number = if span.is_rotated() {
        let next = follower.find_next_rotated(span, false).await;
        is_direct = next.follows_directly;
        if let Some(found) = next.span {
            return Some(Successor { generation: found.signed(), is_direct });
        }
        ROTATED_NUMBER_MAX
    } else {
        span.number
    };
    let timeline = follower.timeline();
    let mut after = number;
    loop {
        let Next::Span(next) = timeline.after(after) else { return None };
        is_direct &= !next.are_files_missing;
        let is_succession = !matches!(next.reason, Reason::Late | Reason::Back);
        if is_succession && !next.generation.is(&span.generation) {
            return Some(Successor { generation: next.signed(), is_direct });
        }
        after = next.number;
    }
}

fn denial(refusal: Refusal) -> Denial {
    match refusal {
        Refusal::Forbidden | Refusal::Untailable | Refusal::Unreadable => Denial::Refused,
        Refusal::NotFound => Denial::Gone,
        Refusal::Exhausted | Refusal::Unreachable => Denial::Busy,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_answered_and_does_not_hold_up_other_work_for_long() {
        let permits = Semaphore::new(2);
        let hung = || in_time(&permits, READ_TIME_MAX, std::future::pending());
        let begun = tokio::time::Instant::now();
        let answers = timeout(Duration::from_secs(60), join_all([hung(), hung(), hung()])).await;
        assert_eq!(answers, Ok(vec![Answer::Denied(Denial::Busy); 3]));
        assert_eq!(begun.elapsed(), READ_TIME_MAX);
        let answer = in_time(&permits, READ_TIME_MAX, std::future::ready(Answer::Unchanged)).await;
        assert_eq!(answer, Answer::Unchanged);
    }
}
