//! Answers that come bit by bit, as a log is searched.
//!
//! What is searched next is asked for by the peer's taking of what was found: one that takes nothing is searched for no
//! further, and one that leaves ends its search.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderValue};

use crate::log::LogPath;
use crate::search::extract::Extract;
use crate::search::find::{Find, FindRequest};
use crate::search::limiter::TIME_SLICE;
use crate::search::{SearchError, Snapshot};
use crate::serve::App;
use crate::serve::http::api::answer;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::{bad_pattern, compile, crowded, report};
use crate::serve::routes::Body;

/// Where something is in a log: lines of JSON.
pub(super) async fn find(
    app: &Arc<App>,
    around: ApiQuery,
    view: Snapshot,
    log: &LogPath,
) -> Result<Response<Body>, SearchError> {
    let Some(searching) = app.limiter.search() else { return Ok(crowded()) };
    let from = around.from();
    let pattern = match compile(app, around.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let to = around.to.unwrap_or(view.end);
    let part = FindRequest { from, to, near: around.near, rows_max: around.max };
    let find = app.limiter.quick(move || Find::new(view, pattern, part)).await?;
    let (app, log) = (Arc::clone(app), log.clone());
    let lines = stream::try_unfold((Some(find), searching), move |(find, searching)| {
        let (app, log) = (Arc::clone(&app), log.clone());
        async move {
            let Some(mut find) = find.filter(|_| !app.closing.is_cancelled()) else {
                return Ok(None);
            };
            let run = move || {
                find.run(TIME_SLICE)?;
                Ok(find)
            };
            let found = app.limiter.time_slice(run).await;
            let mut find = found.map_err(|error| broken_off(&log, &error))?;
            let lines = BodyFrame::data(Bytes::from(answer::found(&mut find)));
            let rest = Some(find).filter(|find| !find.is_done());
            Ok::<_, io::Error>(Some((lines, (rest, searching))))
        }
    });
    Ok(streamed(StreamBody::new(lines).boxed_unsync(), "application/x-ndjson"))
}

/// Lines of a log, to be kept: all of a part, or those that are looked for.
pub(super) async fn text(
    app: &Arc<App>,
    around: ApiQuery,
    view: Snapshot,
    log: &LogPath,
) -> Result<Response<Body>, SearchError> {
    let Some(searching) = app.limiter.search() else { return Ok(crowded()) };
    let part = around.from()..around.to.unwrap_or(view.end);
    let is_shown = around.plain;
    let pattern = match around.filter {
        true => match compile(app, around.sought).await? {
            Ok(pattern) => Some(pattern),
            Err(bad) => return Ok(bad_pattern(&bad)),
        },
        false => None,
    };
    let extract = app.limiter.quick(move || Extract::new(view, part, pattern, is_shown)).await?;
    let (app, owned) = (Arc::clone(app), log.clone());
    let pieces = stream::try_unfold((extract, searching), move |(mut extract, searching)| {
        let (app, owned) = (Arc::clone(&app), owned.clone());
        async move {
            loop {
                if app.closing.is_cancelled() {
                    // It must not look as if it were all.
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let run = move || {
                    let piece = extract.next(TIME_SLICE)?;
                    Ok((extract, piece))
                };
                let (back, piece) = app
                    .limiter
                    .time_slice(run)
                    .await
                    .map_err(|error| broken_off(&owned, &error))?;
                match piece {
                    None => return Ok::<_, io::Error>(None),
                    Some(piece) if piece.is_empty() => extract = back,
                    Some(piece) => {
                        let piece = BodyFrame::data(Bytes::from(piece));
                        return Ok(Some((piece, (back, searching))));
                    }
                }
            }
        }
    });
    let mut response =
        streamed(StreamBody::new(pieces).boxed_unsync(), "text/plain; charset=utf-8");
    if let Ok(disposition) = HeaderValue::from_str(&attachment(log)) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// Under which name a log is kept: its own, as far as it says nothing else to a browser or a file system.
fn attachment(log: &LogPath) -> String {
    let name = log.as_path().file_name().unwrap_or_default().to_string_lossy();
    let is_safe = |ch: &char| ch.is_ascii_alphanumeric() || matches!(ch, '.' | '_' | '-');
    let name: String = name.chars().map(|ch| if is_safe(&ch) { ch } else { '_' }).collect();
    format!("attachment; filename=\"{}\"", name.trim_start_matches('.'))
}

/// Logs why a stream ends early: the response has begun, so its status can no longer say it.
fn broken_off(log: &LogPath, error: &SearchError) -> io::Error {
    report(log, error);
    io::ErrorKind::Other.into()
}

fn streamed(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds streams back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
