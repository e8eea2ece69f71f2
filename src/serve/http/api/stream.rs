//! Answers that are sent while a log is searched.
//!
//! The search goes on only while the peer reads: it pauses when the peer takes nothing, and ends
//! when the peer leaves.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderValue};
use parking_lot::Mutex;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::encoding::Encoding;
use crate::log::LogPath;
use crate::search::extract::Extract;
use crate::search::find::{Find, FindRequest};
use crate::search::limiter::{Limiter, SearchPermit, TIME_SLICE};
use crate::search::pattern::BadPattern;
use crate::search::top_values::TopValues;
use crate::search::{Part, SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::{self, Body};
use crate::serve::http::api::bodies::{self, FilesCounted};
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::{LogView, bad_pattern, compile, compile_filter, crowded, report};
use crate::serve::viewer_limit::ViewerPermit;
use crate::serve::withdrawal::Withdrawal;
use crate::structure::Key;

/// The right to search. A peer that takes nothing loses it.
///
/// A search waits until its peer has taken what was found. After `stall_timeout` it releases its
/// permit for other searches, and needs a new one when the peer is ready again.
pub(super) struct SearchTurn {
    pub(super) app: Arc<App>,
    permit: Arc<Mutex<Option<SearchPermit>>>,
    /// Ends the wait for the peer.
    waiting: Option<DropGuard>,
    right: Withdrawal,
}

impl SearchTurn {
    /// Begins a search. `None` when too many are open.
    pub(super) fn begin(app: &Arc<App>, right: Withdrawal) -> Option<Self> {
        let permit = app.limiter.search()?;
        let permit = Arc::new(Mutex::new(Some(permit)));
        Some(Self { app: Arc::clone(app), permit, waiting: None, right })
    }

    /// Called after output for the peer, which now has to take it.
    pub(super) fn wait_for_peer(&mut self) {
        let has_asked = CancellationToken::new();
        self.waiting = Some(has_asked.clone().drop_guard());
        let permit = Arc::clone(&self.permit);
        let closing = self.app.closing.clone();
        let patience: Duration = self.app.stall_timeout();
        self.app.tasks.spawn(async move {
            tokio::select! {
                () = has_asked.cancelled() => {}
                () = closing.cancelled() => {}
                () = sleep(patience) => drop(permit.lock().take()),
            }
        });
    }

    /// Ends the search of a log that may no longer be read.
    pub(super) fn check_right(&self) -> io::Result<()> {
        match self.right.loss() {
            Some(_) => Err(io::ErrorKind::PermissionDenied.into()),
            None => Ok(()),
        }
    }

    /// Called when the peer is ready for more.
    ///
    /// # Errors
    /// When the peer took so long that the permit was released, and no other is free.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        self.waiting = None;
        let mut permit = self.permit.lock();
        if permit.is_none() {
            *permit = self.app.limiter.search();
        }
        match *permit {
            Some(_) => Ok(()),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "the peer took too long")),
        }
    }
}

/// Where a pattern matches: lines of JSON.
pub(super) async fn find(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
    wanted: Part,
) -> Result<Response<Body>, SearchError> {
    let LogView { log, snapshot, permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let (from, to) = wanted.within(query.from(), query.to.unwrap_or(snapshot.end));
    let pattern = match compile(app, query.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let (near, rows_max, rendition) = (query.near, query.max, query.form.rendition());
    let request = FindRequest { from, to, near, rows_max, rendition };
    let limiter = app.limiter.of(&snapshot);
    let find = limiter.quick(move || Find::new(snapshot, pattern, request)).await?;
    let step = |find: &mut Find| {
        find.run(TIME_SLICE)?;
        Ok((bodies::found(find), find.is_done()))
    };
    Ok(lines_of(find, turn, (log, permit), limiter, step))
}

/// The most frequent values of a field: lines of JSON, each with the values so far.
pub(super) async fn field_values(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
    wanted: Part,
) -> Result<Response<Body>, SearchError> {
    let LogView { log, snapshot, permit, right } = view;
    let key = match wanted_field(&query) {
        Ok(key) => key,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let part = wanted.within(query.from(), query.to.unwrap_or(snapshot.end));
    let pattern = match compile_filter(app, query.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let max = query.top;
    let limiter = app.limiter.of(&snapshot);
    let begin = move || TopValues::new(snapshot, part, key, pattern);
    let count = limiter.quick(begin).await?;
    let step = move |count: &mut TopValues| {
        count.run(TIME_SLICE)?;
        let files = FilesCounted { is_last: true, is_one_gone: false };
        Ok((bodies::field_values(count, max, files), count.is_done()))
    };
    Ok(lines_of(count, turn, (log, permit), limiter, step))
}

/// The field whose values are counted.
///
/// # Errors
/// When none is named.
pub(super) fn wanted_field(query: &ApiQuery) -> Result<Key, BadPattern> {
    let name = query.field.as_deref().filter(|name| !name.is_empty());
    name.map(Key::new)
        .ok_or_else(|| BadPattern("`field` is missing: the name of a field".to_owned()))
}

/// An answer of lines of JSON, made by one step after another, each in a time slice. A step returns its
/// lines, and whether it was the last one.
fn lines_of<T: Send + 'static>(
    work: T,
    turn: SearchTurn,
    (log, permit): (LogPath, Option<ViewerPermit>),
    limiter: Limiter,
    step: impl Fn(&mut T) -> Result<(String, bool), SearchError> + Copy + Send + 'static,
) -> Response<Body> {
    let state = (Some(work), turn, log, permit, limiter);
    let lines =
        stream::try_unfold(state, move |(work, mut turn, log, permit, limiter)| async move {
            let Some(mut work) = work.filter(|_| !turn.app.closing.is_cancelled()) else {
                return Ok(None);
            };
            turn.resume()?;
            turn.check_right()?;
            let run = move || {
                let (lines, is_done) = step(&mut work)?;
                Ok((lines, (!is_done).then_some(work)))
            };
            let made = limiter.time_slice(run).await;
            let (lines, rest) = made.map_err(|error| broken_off(&log, &error))?;
            let lines = BodyFrame::data(Bytes::from(lines));
            turn.wait_for_peer();
            Ok::<_, io::Error>(Some((lines, (rest, turn, log, permit, limiter))))
        });
    let content_type = HeaderValue::from_static("application/x-ndjson");
    streamed(StreamBody::new(lines).boxed_unsync(), content_type)
}

/// Lines of a log as a download: all of a part, or those that match a pattern.
pub(super) async fn text(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
    wanted: Part,
) -> Result<Response<Body>, SearchError> {
    let LogView { log, snapshot, permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let (from, to) = wanted.within(query.from(), query.to.unwrap_or(snapshot.end));
    let part = from..to;
    let (is_plain, chosen) = (query.plain, query.interpretation.encoding);
    let rendition = query.form.rendition();
    let pattern = match query.filter {
        true => match compile(app, query.sought).await? {
            Ok(pattern) => Some(pattern),
            Err(bad) => return Ok(bad_pattern(&bad)),
        },
        false => None,
    };
    let begin = |snapshot: Snapshot| {
        move || {
            let charset = match (is_plain, chosen) {
                (true, _) => Some(Encoding::UTF_8),
                (false, None) => snapshot.charset(part.start)?,
                (false, chosen) => chosen,
            };
            Ok((Extract::new(snapshot, part, pattern, is_plain, rendition)?, charset))
        }
    };
    let notice = snapshot.notice();
    let limiter = app.limiter.of(&snapshot);
    let (extract, charset) = limiter.quick(begin(snapshot)).await?;
    let disposition = attachment(&log);
    let state = (extract, turn, log, permit, limiter);
    let pieces = stream::try_unfold(state, |state| async move {
        let (mut extract, mut turn, log, permit, limiter) = state;
        turn.resume()?;
        loop {
            turn.check_right()?;
            if turn.app.closing.is_cancelled() {
                // The download must not look complete.
                return Err(io::ErrorKind::Interrupted.into());
            }
            let run = move || {
                let piece = extract.next(TIME_SLICE)?;
                Ok((extract, piece))
            };
            let extracted = limiter.time_slice(run).await;
            let (rest, piece) = extracted.map_err(|error| broken_off(&log, &error))?;
            match piece {
                None => return Ok::<_, io::Error>(None),
                Some(piece) if piece.is_empty() => extract = rest,
                Some(piece) => {
                    let piece = BodyFrame::data(Bytes::from(piece));
                    turn.wait_for_peer();
                    return Ok(Some((piece, (rest, turn, log, permit, limiter))));
                }
            }
        }
    });
    let mut response = streamed(StreamBody::new(pieces).boxed_unsync(), body::text_plain(charset));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    body::say_notice(&mut response, notice.as_ref());
    Ok(response)
}

/// Logs why a stream ends early. The response has begun, so its status can no longer report it.
pub(super) fn broken_off(log: &LogPath, error: &SearchError) -> io::Error {
    report(log, error);
    io::ErrorKind::Other.into()
}

/// `Content-Disposition` with the log's file name. Characters with a meaning in a header, a shell
/// or a file system become `_`.
pub(super) fn attachment(log: &LogPath) -> String {
    let name = log.as_path().file_name().unwrap_or_default().to_string_lossy();
    let is_safe = |ch: &char| ch.is_ascii_alphanumeric() || matches!(ch, '.' | '_' | '-');
    let name: String = name.chars().map(|ch| if is_safe(&ch) { ch } else { '_' }).collect();
    format!("attachment; filename=\"{}\"", name.trim_start_matches('.'))
}

pub(super) fn streamed(body: Body, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Without this header nginx buffers streams.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Access;
    use crate::serve::identity::Visitor;
    use crate::serve::withdrawal::Reads;
    use crate::serve::{Server, Settings};

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_loses_its_search_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let settings = Settings::default();
        let patience = settings.stall_timeout;
        let app = Server::new(access, settings).app;
        let visitor = Visitor::anybody(app.hub.registry().access());
        let path = directory.path().join("a.log");
        let log = visitor.log_at(path.as_os_str().as_encoded_bytes()).unwrap();
        let right = || app.watch_right(&visitor, &log, Reads::Log);
        let mut turns: Vec<SearchTurn> =
            std::iter::from_fn(|| SearchTurn::begin(&app, right())).collect();
        turns.iter_mut().for_each(SearchTurn::wait_for_peer);
        assert!(SearchTurn::begin(&app, right()).is_none(), "all are taken");
        // Sleeping lets all waiting tasks run first.
        sleep(patience - Duration::from_secs(1)).await;
        assert!(SearchTurn::begin(&app, right()).is_none(), "their time is not up");
        let mut in_time = turns.pop().unwrap();
        in_time.resume().unwrap();
        sleep(Duration::from_secs(2)).await;
        let others: Vec<SearchTurn> =
            std::iter::from_fn(|| SearchTurn::begin(&app, right())).collect();
        assert_eq!(others.len(), turns.len(), "all but the one that was in time");
        assert!(turns[0].resume().is_err(), "another has its place");
        drop(others);
        turns[0].resume().unwrap();
    }
}
