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

use crate::log::Offset;
use crate::search::find::{Find, Part};
use crate::search::turns::SLICE;
use crate::search::{Lost, Place, View, wire};
use crate::serve::App;
use crate::serve::around::query::Around;
use crate::serve::around::{bad_pattern, compile, crowded};
use crate::serve::routes::Body;

/// Where something is in a log: lines of JSON.
pub(super) async fn find(
    app: &Arc<App>,
    around: Around,
    view: View,
) -> Result<Response<Body>, Lost> {
    let Some(searching) = app.turns.search() else { return Ok(crowded()) };
    let pattern = match compile(app, around.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let from = match around.place {
        Some(Place::From(offset)) => offset,
        Some(Place::Before(_) | Place::Line(_)) | None => Offset(0),
    };
    let to = around.to.unwrap_or(view.end);
    let part = Part { from, to, near: around.near, max: around.max };
    let find = app.turns.glance(move || Find::new(view, pattern, part)).await?;
    let app = Arc::clone(app);
    let lines = stream::try_unfold((Some(find), searching), move |(find, searching)| {
        let app = Arc::clone(&app);
        async move {
            let Some(mut find) = find.filter(|_| !app.closing.is_cancelled()) else {
                return Ok(None);
            };
            let run = move || {
                find.run(SLICE)?;
                Ok(find)
            };
            let mut find = app.turns.slice(run).await.map_err(|_| io::ErrorKind::Other)?;
            let lines = BodyFrame::data(Bytes::from(wire::found(&mut find)));
            let rest = Some(find).filter(|find| !find.is_done());
            Ok::<_, io::Error>(Some((lines, (rest, searching))))
        }
    });
    Ok(streamed(StreamBody::new(lines).boxed_unsync(), "application/x-ndjson"))
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
