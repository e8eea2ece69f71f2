//! One event stream of several logs: `/_/events?log=PATH&log=PATH`.
//!
//! A browser opens at most six connections to a server with HTTP/1.1, and all its tabs share them.
//! So a page that shows several logs without WebSockets takes one stream for all. Each log has its
//! own session. A log that is refused, or whose file system hangs, delays no other.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame as BodyFrame;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use tokio::time::sleep;

use crate::log::{LogPath, Refusal};
use crate::serve::App;
use crate::serve::access_log::AccessLogEntry;
use crate::serve::body::Body;
use crate::serve::dispatch::admit;
use crate::serve::forwarded::Remote;
use crate::serve::http::stream::{COMMENT, COMMENT_INTERVAL, event_form, resume, streaming};
use crate::serve::identity::Visitor;
use crate::serve::metrics::Behind;
use crate::serve::query::{LINES, Lines, Query};
use crate::serve::refusal::Refused;
use crate::serve::withdrawal::{Reads, Withdrawal};
use crate::session::{Output, Session};
use crate::wire::frame::{Form, Frame, Frames};
use crate::wire::message::Message;

/// Stands in an `id` for a log without a position.
const NO_POSITION: &str = "-";

/// Events of several logs. Each is `{"log":N,"message":MESSAGE}`, where N is the log's place in the
/// request. `Last-Event-ID` overrides the positions in the URL, which are older.
///
/// # Errors
/// 400 for a format that events lack. A log that is refused gets an `error` message instead.
pub(in crate::serve) fn answer(
    app: &Arc<App>,
    remote: Remote,
    visitor: &Visitor,
    parts: &Parts,
    logs: Vec<(Vec<u8>, Query)>,
) -> Result<Response<Body>, Refused> {
    let last_id = parts.headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default());
    let mut positions = vec![NO_POSITION.to_owned(); logs.len()];
    let mut streams = SelectAll::new();
    for (at, (path, mut query)) in logs.into_iter().enumerate() {
        if let Some(ids) = last_id {
            let id = ids.split(' ').nth(at).unwrap_or_default();
            if id != NO_POSITION {
                id.clone_into(&mut positions[at]);
                resume(&mut query, id);
            }
        }
        let form = event_form(&query)?;
        let path = visitor.log_at(&path);
        let (app, visitor) = (Arc::clone(app), visitor.clone());
        let request = LogRequest { app, remote, visitor, query, form };
        streams.push(messages(at, request, path));
    }
    let stream = MergedStream { streams, positions };
    let events = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((Ok(BodyFrame::data(bytes)), stream))
    });
    let content_type = HeaderValue::from_static("text/event-stream");
    Ok(streaming(StreamBody::new(events).boxed_unsync(), content_type))
}

/// The request for one of the logs.
struct LogRequest {
    app: Arc<App>,
    remote: Remote,
    visitor: Visitor,
    query: Query,
    form: Form,
}

/// Messages of one log, and the position after them. `None` leaves the earlier position.
struct LogMessages {
    log: usize,
    frames: Frames,
    position: Option<String>,
}

/// The messages of one log. It is joined when the stream is read first.
fn messages(
    log: usize,
    request: LogRequest,
    path: Result<LogPath, Refusal>,
) -> BoxStream<'static, LogMessages> {
    let joined = async move {
        match join(&request, path).await {
            Ok((session, entry, withdrawal)) => {
                let app = Arc::clone(&request.app);
                let behind = app.metrics.behind.enter(&session);
                let viewer =
                    LogViewer { log, app, session, entry, withdrawal, has_ended: false, behind };
                stream::unfold(viewer, |mut viewer| async move {
                    let messages = viewer.next().await?;
                    Some((messages, viewer))
                })
                .boxed()
            }
            Err(error) => {
                let frames = vec![Frame::text(&error.to_json())];
                stream::iter([LogMessages { log, frames, position: None }]).boxed()
            }
        }
    };
    joined.flatten_stream().boxed()
}

/// Joins the log as a viewer.
///
/// # Errors
/// The message for a viewer that is refused.
async fn join(
    request: &LogRequest,
    path: Result<LogPath, Refusal>,
) -> Result<(Session, AccessLogEntry, Withdrawal), Message> {
    let refused = |refusal| Message::refusal(refusal).1;
    let path = path.map_err(refused)?;
    let entry = admit(&request.app, request.remote, &request.visitor, &path, "events")
        .ok_or_else(Message::full)?;
    let start = request.query.start(Lines::Last(LINES), true);
    let withdrawal = request.app.watch_right(&request.visitor, &path, Reads::Log);
    let session = request.app.hub.join(&path, start, request.form).await.map_err(refused)?;
    Ok((session, entry, withdrawal))
}

/// The viewer of one of the logs.
struct LogViewer {
    log: usize,
    app: Arc<App>,
    session: Session,
    entry: AccessLogEntry,
    withdrawal: Withdrawal,
    has_ended: bool,
    behind: Behind,
}

impl LogViewer {
    /// The next messages; `None` when they are complete or the server can't wait any longer.
    async fn next(&mut self) -> Option<LogMessages> {
        if self.has_ended {
            return None;
        }
        let output = tokio::select! {
            output = self.session.next() => output,
            loss = self.withdrawal.withdrawn() => {
                self.has_ended = true;
                self.entry.reason = loss.name();
                let (_, message) = loss.message()?;
                let frames = vec![Frame::text(&message.to_json())];
                return Some(LogMessages { log: self.log, frames, position: None });
            }
            () = self.app.cut.cancelled() => {
                self.entry.reason = "cut";
                return None;
            }
        };
        let frames = match output {
            Output::Frames(frames) => frames,
            Output::End(ending) => {
                self.has_ended = true;
                self.entry.reason = ending.name();
                self.session.end_frames(ending)
            }
        };
        self.behind.update(&self.session);
        self.entry.sent(frames.iter().map(|frame| frame.payload().len()).sum());
        let position =
            self.session.position().map(|(generation, offset)| format!("{generation}:{offset}"));
        Some(LogMessages { log: self.log, frames, position })
    }
}

/// The messages of all logs, in the order in which they are ready.
struct MergedStream {
    streams: SelectAll<BoxStream<'static, LogMessages>>,
    /// The position in each log after the last message.
    positions: Vec<String>,
}

impl MergedStream {
    /// The next events; `None` when all logs have ended.
    async fn next(&mut self) -> Option<Bytes> {
        let LogMessages { log, frames, position } = tokio::select! {
            messages = self.streams.next() => messages?,
            () = sleep(COMMENT_INTERVAL) => return Some(COMMENT),
        };
        if let (Some(position), Some(last)) = (position, self.positions.get_mut(log)) {
            *last = position;
        }
        let mut events = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            // The positions are those after the last frame.
            if at + 1 == frames.len() {
                events.extend_from_slice(format!("id: {}\n", self.positions.join(" ")).as_bytes());
            }
            events.extend_from_slice(format!("data: {{\"log\":{log},\"message\":").as_bytes());
            events.extend_from_slice(&frame.payload());
            events.extend_from_slice(b"}\n\n");
        }
        Some(Bytes::from(events))
    }
}
