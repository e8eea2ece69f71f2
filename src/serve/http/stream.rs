//! Streams over plain HTTP: server-sent events, and what `curl` follows.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderValue};
use tokio::time::sleep;

use crate::serve::App;
use crate::serve::connection_limit::AccessLogEntry;
use crate::serve::routes::Body;
use crate::session::{Ending, Output, Session};
use crate::wire::frame::Frame;

/// An event stream that is silent for so long gets a comment, so that proxies keep it and a dead peer shows.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// A stream in the making.
struct StreamState {
    app: Arc<App>,
    session: Session,
    visit: AccessLogEntry,
    events: bool,
    ended: bool,
}

/// What a stream is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::serve) enum StreamFormat {
    /// Server-sent events.
    Events,
    /// HTML, one payload after the other.
    Html,
    /// The same of text, or of bytes as they are.
    Text,
}

impl StreamFormat {
    fn content_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The messages of a session, as they come.
pub(in crate::serve) fn answer(
    app: &Arc<App>,
    session: Session,
    visit: AccessLogEntry,
    kind: StreamFormat,
) -> Response<Body> {
    let events = kind == StreamFormat::Events;
    let stream = StreamState { app: Arc::clone(app), session, visit, events, ended: false };
    let frames = stream::unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        stream.visit.bytes += bytes.len() as u64;
        Some((Ok(BodyFrame::data(bytes)), stream))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx holds streams back otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

impl StreamState {
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let silence = sleep(COMMENT_INTERVAL);
        let output = tokio::select! {
            output = self.session.next() => output,
            () = silence, if self.events => return Some(Bytes::from_static(b":\n\n")),
            () = self.app.cut.cancelled() => {
                self.visit.reason = "cut";
                return None;
            }
        };
        match output {
            Output::Frames(frames) => Some(self.join(&frames)),
            Output::End(ending) => {
                self.ended = true;
                self.visit.reason = match ending {
                    Ending::Complete => "complete",
                    Ending::Shutdown => "shutdown",
                };
                // An event stream that just ends is asked for again: it has to say that it is complete.
                let last = self.session.end_frames(ending);
                (!last.is_empty()).then(|| self.join(&last))
            }
        }
    }

    fn join(&self, frames: &[Frame]) -> Bytes {
        match frames {
            [frame] if !self.events => frame.payload(),
            frames if !self.events => {
                let payloads: Vec<Bytes> = frames.iter().map(Frame::payload).collect();
                Bytes::from(payloads.concat())
            }
            frames => {
                let mut events = Vec::new();
                for (at, frame) in frames.iter().enumerate() {
                    // The position is that after the last of them.
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
