//! Streams over plain HTTP: server-sent events, and plain streams for `curl`.
//!
//! The session goes on only while the peer reads: nothing is read from the log before the
//! connection has room for it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::sleep;

use crate::encoding::Encoding;
use crate::log::{LogPath, Offset};
use crate::serve::App;
use crate::serve::access_log::AccessLogEntry;
use crate::serve::body::{self, Body, text_plain};
use crate::serve::dispatch::LogRequest;
use crate::serve::metrics::Behind;
use crate::serve::query::{self, BadParameter, Format, LINES, Lines, Query};
use crate::serve::refusal::Refused;
use crate::serve::withdrawal::{Loss, Reads, Withdrawal};
use crate::session::{Ending, Output, Session, WantedGeneration};
use crate::wire::frame::{Form, Frame};

/// An event stream with nothing to send gets a comment after this time, so that proxies keep it
/// open and a write to a dead peer fails.
pub(super) const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// The comment.
pub(super) const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// How a stream's messages become a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamFormat {
    /// Server-sent events.
    Events,
    /// HTML, one payload after the other.
    Html,
    /// Text, or the unchanged bytes, one payload after the other. The charset is none if it is not
    /// known.
    Text(Option<Encoding>),
}

impl StreamFormat {
    fn content_type(self) -> HeaderValue {
        match self {
            Self::Events => HeaderValue::from_static("text/event-stream"),
            Self::Html => HeaderValue::from_static("text/html; charset=utf-8"),
            Self::Text(charset) => text_plain(charset),
        }
    }
}

/// Server-sent events of a log. `Last-Event-ID` overrides the position in the URL, which is older.
///
/// # Errors
/// 400 for a format that events lack, 503 when the server is full, and what joining the log
/// refuses.
pub(in crate::serve) async fn events(
    request: &LogRequest<'_>,
    log: &LogPath,
) -> Result<Response<Body>, Refused> {
    let form = event_form(&request.query)?;
    let mut query = request.query.clone();
    if let Some(id) = request.parts.headers.get("last-event-id") {
        resume(&mut query, id.to_str().unwrap_or_default());
    }
    let entry = request.admit(log, "events")?;
    let start = query.start(Lines::Last(LINES), true);
    let reads = Reads::of(query.history);
    let withdrawal = request.app.watch_right(request.visitor, log, reads);
    let session = request.app.hub.join(log, start, form).await?;
    Ok(answer(request.app, session, entry, withdrawal, StreamFormat::Events))
}

/// A log as a stream of its bytes, text or HTML, which follows with `tail=1`.
///
/// # Errors
/// 400 for a format that needs messages, 416 for a position that the log does not have now, 503
/// when the server is full, and what joining the log refuses.
pub(in crate::serve) async fn plain(
    request: &LogRequest<'_>,
    log: &LogPath,
) -> Result<Response<Body>, Refused> {
    let query = &request.query;
    let form = match query.format {
        None | Some(Format::Raw) => Form::Raw,
        Some(Format::Text) => Form::Text,
        Some(Format::Html) => Form::Html,
        Some(Format::Rows) => {
            return Err(BadParameter(
                "`format=rows` is for WebSockets and event streams".to_owned(),
            )
            .into());
        }
    };
    let form = query::rendered(form, query.rendition)?;
    let lines = if query.tail { Lines::Last(LINES) } else { Lines::All };
    let entry = request.admit(log, "stream")?;
    let reads = Reads::of(query.history);
    let withdrawal = request.app.watch_right(request.visitor, log, reads);
    let session = request.app.hub.join(log, query.start(lines, false), form).await?;
    if !session.is_recovered() {
        return Err(Refused::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "the log has no such position now: `from` is beyond its end, or of another generation",
            "ask without `from`",
        ));
    }
    let notice = session.notice();
    let format = match form {
        Form::Html => StreamFormat::Html,
        Form::Raw => StreamFormat::Text(query.interpretation.encoding),
        _ => StreamFormat::Text(Some(Encoding::UTF_8)),
    };
    let mut response = answer(request.app, session, entry, withdrawal, format);
    body::say_notice(&mut response, notice.as_ref());
    Ok(response)
}

/// The form of a log's messages as events.
///
/// # Errors
/// For a format that events lack.
pub(super) fn event_form(query: &Query) -> Result<Form, BadParameter> {
    let form = match query.format {
        None | Some(Format::Rows | Format::Html) => Form::Rows,
        Some(Format::Text) => Form::TextRows,
        Some(Format::Raw) => {
            return Err(BadParameter(
                "`format=raw` has no form as events; `rows` and `text` have".to_owned(),
            ));
        }
    };
    query::rendered(form, query.rendition)
}

/// Lets a query start at the position that an `id` names. A text that is no `id` names a position
/// that can't be recovered.
pub(super) fn resume(query: &mut Query, id: &str) {
    let (from, of) = last_event_id(id).unwrap_or((Offset(0), WantedGeneration::Nothing));
    (query.from, query.of) = (Some(from), of);
    query.late.clear();
}

/// Parses `Last-Event-ID: generation:offset`, the `id` of an earlier event.
fn last_event_id(id: &str) -> Option<(Offset, WantedGeneration)> {
    let (generation, offset) = id.rsplit_once(':')?;
    Some((Offset(offset.parse().ok()?), query::of(generation)))
}

/// A session that is sent as a body.
struct StreamState {
    app: Arc<App>,
    session: Session,
    entry: AccessLogEntry,
    withdrawal: Withdrawal,
    is_events: bool,
    has_ended: bool,
    behind: Behind,
}

/// An answer that streams the messages of a session.
fn answer(
    app: &Arc<App>,
    session: Session,
    entry: AccessLogEntry,
    withdrawal: Withdrawal,
    format: StreamFormat,
) -> Response<Body> {
    let is_events = format == StreamFormat::Events;
    let app = Arc::clone(app);
    let behind = app.metrics.behind.enter(&session);
    let stream =
        StreamState { app, session, entry, withdrawal, is_events, has_ended: false, behind };
    let frames = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        stream.entry.sent(bytes.as_ref().map_or(0, Bytes::len));
        Some((bytes.map(BodyFrame::data), stream))
    });
    streaming(StreamBody::new(frames).boxed_unsync(), format.content_type())
}

/// An answer whose body goes on as long as its log.
pub(super) fn streaming(body: Body, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Without this header nginx buffers streams.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl StreamState {
    /// The next bytes of the body; `None` when it is complete or the server can't wait any longer.
    ///
    /// # Errors
    /// When the log may no longer be read and the form of the stream cannot say so. The body must
    /// then not look complete.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.has_ended {
            return None;
        }
        let silence = sleep(COMMENT_INTERVAL);
        let output = tokio::select! {
            output = self.session.next() => output,
            () = silence, if self.is_events => return Some(Ok(COMMENT)),
            loss = self.withdrawal.withdrawn() => {
                self.has_ended = true;
                self.entry.reason = loss.name();
                return self.refusal(loss);
            }
            () = self.app.cut.cancelled() => {
                self.entry.reason = "cut";
                return None;
            }
        };
        match output {
            Output::Frames(frames) => {
                self.behind.update(&self.session);
                Some(Ok(self.encode(&frames)))
            }
            Output::End(ending) => {
                self.has_ended = true;
                self.entry.reason = ending.name();
                if ending == Ending::Unreachable && !self.is_events {
                    // The body must not look complete.
                    return Some(Err(io::ErrorKind::NotConnected.into()));
                }
                // A browser reconnects an event stream that just ends, so the last event says that
                // the stream is complete.
                let last = self.session.end_frames(ending);
                (!last.is_empty()).then(|| Ok(self.encode(&last)))
            }
        }
    }

    /// The last bytes when the log may no longer be read. None lets a browser connect again.
    fn refusal(&self, loss: Loss) -> Option<io::Result<Bytes>> {
        if !self.is_events {
            return Some(Err(io::ErrorKind::PermissionDenied.into()));
        }
        let (_, message) = loss.message()?;
        Some(Ok(Bytes::from(format!("data: {}\n\n", message.to_json()))))
    }

    /// The bytes of the body for these frames.
    fn encode(&self, frames: &[Frame]) -> Bytes {
        match frames {
            [frame] if !self.is_events => frame.payload(),
            frames if !self.is_events => {
                let payloads: Vec<Bytes> = frames.iter().map(Frame::payload).collect();
                Bytes::from(payloads.concat())
            }
            frames => {
                let mut events = Vec::new();
                for (at, frame) in frames.iter().enumerate() {
                    // The session's position is the position after the last frame.
                    if let (true, Some((generation, offset))) =
                        (at + 1 == frames.len(), self.session.position())
                    {
                        events.extend_from_slice(format!("id: {generation}:{offset}\n").as_bytes());
                    }
                    events.extend_from_slice(b"data: ");
                    events.extend_from_slice(&frame.payload());
                    events.extend_from_slice(b"\n\n");
                }
                Bytes::from(events)
            }
        }
    }
}
