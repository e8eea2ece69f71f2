//! Serves one WebSocket viewer, from joining its log to the close, in the original's protocol or in
//! `tailcast.v1`.
//!
//! Frames come from the viewer's own session while it catches up, and from a broadcast group while
//! it is up to date.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::log::{LogPath, Refusal};
use crate::serve::App;
use crate::serve::access_log::AccessLogEntry;
use crate::serve::identity::Visitor;
use crate::serve::metrics::RefusalReason;
use crate::serve::socket::Socket;
use crate::serve::websocket::connection::{Handback, Notice};
use crate::serve::websocket::group::{self, BroadcastGroup};
use crate::serve::websocket::stream::{SocketEvent, WebSocket};
use crate::serve::withdrawal::{Loss, Reads, Withdrawal};
use crate::session::{Detached, Ending, Output, Session};
use crate::wire::frame::{Form, Frame, Frames, Packing};
use crate::wire::message::{FULL, Message};
use crate::wire::request::StreamRequest;

/// The close code for a viewer whose socket took nothing for too long.
const STALLED: u16 = 4408;
/// How long a close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a viewer requests with its upgrade.
pub(in crate::serve) struct ViewerRequest {
    pub(in crate::serve) visitor: Visitor,
    /// The log, or why the viewer gets none.
    pub(in crate::serve) log: Result<LogPath, Denial>,
    pub(in crate::serve) start: StreamRequest,
    pub(in crate::serve) form: Form,
    pub(in crate::serve) packing: Packing,
    pub(in crate::serve) entry: AccessLogEntry,
}

/// Why a viewer gets nothing. The close reports it.
#[derive(Debug)]
pub(in crate::serve) enum Denial {
    /// The log may not be read, or does not exist.
    Refused(Refusal),
    /// The viewer had the log, and has lost it.
    Lost(Loss),
    /// The server is full.
    Full,
}

/// How a viewer's stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamEnd {
    /// The log has ended, or the server ends.
    Ended(Ending),
    /// The viewer violated the protocol.
    ProtocolError(CloseCode),
    /// The viewer did not answer a heartbeat.
    Silent,
    /// The socket took nothing for `stall_timeout`.
    Stalled,
    /// The viewer may no longer read the log.
    Withdrawn(Loss),
    /// The viewer closed the connection, cleanly or not.
    Closed { clean: bool },
    /// The server can't wait any longer.
    Cut,
}

/// What sends to a viewer that is not up to date.
pub(in crate::serve) struct OwnSession {
    session: Session,
    /// They are sent before those of the session.
    frames: Frames,
}

/// A viewer that has joined its log. It is boxed, so that the task of its connection has few bytes.
pub(in crate::serve) struct Viewer {
    socket: WebSocket,
    withdrawal: Withdrawal,
    /// The group that sends to the viewer while it is up to date, and what its session needs to
    /// continue afterwards.
    membership: Option<(Detached, Arc<BroadcastGroup>)>,
    form: Form,
    entry: AccessLogEntry,
}

impl Viewer {
    /// Sends the log to the viewer until it leaves or the log ends.
    ///
    /// The futures for catching up and leaving are boxed separately, so that a viewer that is up to date
    /// takes little memory.
    #[expect(
        clippy::manual_async_fn,
        reason = "the future of an `async fn` has room for each of its arguments twice"
    )]
    pub(in crate::serve) fn follow(
        mut self: Box<Self>,
        app: Arc<App>,
        mut own: Box<OwnSession>,
    ) -> impl Future<Output = ()> {
        async move {
            let (end, rest) = loop {
                if let Err(end) = Box::pin(self.catch_up(&app, own)).await {
                    break end;
                }
                let end = match poll_fn(|cx| self.poll_end(cx)).await {
                    Ok(SocketEvent::Notice(Notice::Handback(handback))) => {
                        own = match self.take_back(&app, *handback) {
                            Ok(back) => back,
                            Err(end) => break end,
                        };
                        continue;
                    }
                    Ok(event) => end_of(&event),
                    Err(end) => end,
                };
                self.leave_group();
                break (end, VecDeque::new());
            };
            self.entry.bytes = self.socket.connection().taken();
            Box::pin(leave(&app, *self, end, rest)).await;
        }
    }

    /// Sends frames and then the messages of the viewer's own session, until the viewer is up to date
    /// and joins a broadcast group.
    ///
    /// # Errors
    /// The end of the stream when it ends before, and the frames that are still to be sent.
    async fn catch_up(
        &mut self,
        app: &Arc<App>,
        own: Box<OwnSession>,
    ) -> Result<(), (StreamEnd, VecDeque<Frame>)> {
        let OwnSession { session, frames } = *own;
        let mut queue = VecDeque::from(frames);
        self.send(app, session, &mut queue).await.map_err(|end| (end, queue))
    }

    async fn send(
        &mut self,
        app: &Arc<App>,
        mut session: Session,
        queue: &mut VecDeque<Frame>,
    ) -> Result<(), StreamEnd> {
        let Self { socket, withdrawal, .. } = self;
        let mut behind = app.metrics.behind.enter(&session);
        loop {
            let mut is_clear = socket.is_clear();
            if is_clear && let Some(frame) = queue.pop_front() {
                socket.start_frame(&frame);
                is_clear = false;
            }
            let is_idle = queue.is_empty() && is_clear;
            if is_idle && let Some(position) = session.idle_position() {
                self.membership = group::join(app, session, position, socket.connection());
                return self.membership.is_some().then_some(()).ok_or(StreamEnd::Cut);
            }
            let give_up_at = socket.connection().stuck_since() + app.stall_timeout();
            tokio::select! {
                // The order matters: input of the viewer counts before its time is up.
                biased;
                event = socket.next_event() => match event {
                    SocketEvent::Clear | SocketEvent::Inbound => {}
                    event => return Err(end_of(&event)),
                },
                loss = withdrawal.withdrawn() => return Err(StreamEnd::Withdrawn(loss)),
                () = sleep_until(give_up_at), if !is_clear => {
                    if socket.connection().stuck_since() + app.stall_timeout() <= Instant::now() {
                        return Err(StreamEnd::Stalled);
                    }
                }
                output = session.next(), if is_idle => match output {
                    Output::Frames(frames) => {
                        behind.update(&session);
                        queue.extend(frames);
                    }
                    Output::End(ending) => {
                        queue.extend(session.end_frames(ending));
                        return Err(StreamEnd::Ended(ending));
                    }
                },
            }
        }
    }

    /// Continues with a session after the broadcast group, and with the frames that the group has not
    /// sent.
    ///
    /// # Errors
    /// The end of the stream when nothing comes after these frames.
    fn take_back(
        &mut self,
        app: &App,
        handback: Handback,
    ) -> Result<Box<OwnSession>, (StreamEnd, VecDeque<Frame>)> {
        let Handback { frames, cursor, behind, ending } = handback;
        if let Some(ending) = ending {
            return Err((StreamEnd::Ended(ending), frames.into()));
        }
        let Some((detached, group)) = self.membership.take() else {
            return Err((StreamEnd::Cut, frames.into()));
        };
        let session = app.hub.resume(detached, group.key(), cursor);
        // The session says itself that it is behind.
        drop(behind);
        Ok(Box::new(OwnSession { session, frames }))
    }

    /// Leaves the broadcast group.
    fn leave_group(&self) {
        self.socket.connection().leave();
        if let Some((_, group)) = &self.membership {
            group.member_left();
        }
    }

    /// What happens next to a member of a broadcast group.
    ///
    /// # Errors
    /// The end of the stream when the log may no longer be read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<SocketEvent, StreamEnd>> {
        if let Poll::Ready(event) = self.socket.poll_end(cx) {
            return Poll::Ready(Ok(event));
        }
        self.withdrawal.poll_withdrawn(cx).map(|loss| Err(StreamEnd::Withdrawn(loss)))
    }
}

/// The end of the stream after an event other than data.
fn end_of(event: &SocketEvent) -> StreamEnd {
    match *event {
        SocketEvent::ProtocolError(code) => StreamEnd::ProtocolError(code),
        SocketEvent::Closed { clean } => StreamEnd::Closed { clean },
        SocketEvent::Notice(Notice::Silent) => StreamEnd::Silent,
        SocketEvent::Notice(Notice::Cut | Notice::Handback(_))
        | SocketEvent::Clear
        | SocketEvent::Inbound => StreamEnd::Cut,
    }
}

/// Takes over a connection whose upgrade is complete, and joins the log. `read_already` came directly
/// after the handshake. None when the join was refused and the close has been sent.
pub(in crate::serve) async fn open(
    app: &App,
    io: Socket,
    read_already: Bytes,
    request: ViewerRequest,
) -> Option<(Box<Viewer>, Box<OwnSession>)> {
    let ViewerRequest { visitor, log, start, form, packing, mut entry } = request;
    let socket = WebSocket::new(io, &read_already, packing, Arc::clone(&app.sent));
    let session = match log {
        Ok(log) => {
            let withdrawal = app.watch_right(&visitor, &log, Reads::of(start.history));
            let joined = app.hub.join(&log, start, form).await;
            joined.map(|session| (session, withdrawal)).map_err(Denial::Refused)
        }
        Err(denial) => Err(denial),
    };
    match session {
        Ok((mut session, withdrawal)) => {
            session.begin().await;
            app.heartbeats.add(socket.connection(), !form.has_control());
            let viewer = Viewer { socket, withdrawal, membership: None, form, entry };
            Some((Box::new(viewer), Box::new(OwnSession { session, frames: Frames::new() })))
        }
        Err(denial) => {
            let (reason, cause) = match &denial {
                Denial::Full => ("full", RefusalReason::FULL),
                Denial::Refused(refusal) => ("refused", (*refusal).into()),
                Denial::Lost(loss) => (loss.name(), RefusalReason::UNAUTHORIZED),
            };
            entry.reason = reason;
            app.metrics.refused(cause);
            let Farewell { frame, code, reason } = farewell_of(&denial, form);
            let frames = frame.into_iter().collect();
            bounded(app, CLOSE_TIMEOUT, send_and_close(socket, frames, code, reason)).await;
            None
        }
    }
}

/// Ends a viewer's stream: sends the rest of the data, and the close.
async fn leave(app: &App, viewer: Viewer, end: StreamEnd, rest: VecDeque<Frame>) {
    let Viewer { socket, form, mut entry, .. } = viewer;
    entry.reason = end.logged_as();
    // A viewer that is only slow gets the time to take the end of its log. A viewer that is gone
    // does not.
    let patience = match end {
        StreamEnd::Ended(_) => app.stall_timeout(),
        _ => CLOSE_TIMEOUT,
    };
    if let StreamEnd::ProtocolError(code) = end {
        bounded(app, patience, socket.close_broken(code)).await;
    } else if let StreamEnd::Withdrawn(loss) = end {
        // What waits is of a log that this viewer may not read.
        let Farewell { frame, code, reason } = farewell_of(&Denial::Lost(loss), form);
        let farewell = frame.into_iter().collect();
        bounded(app, patience, send_and_close(socket, farewell, code, reason)).await;
    } else if let Some((code, reason)) = end.close() {
        bounded(app, patience, send_and_close(socket, rest, code, reason)).await;
    }
}

impl StreamEnd {
    /// The reason in the access log.
    fn logged_as(self) -> &'static str {
        match self {
            Self::Ended(ending) => ending.name(),
            Self::ProtocolError(_) => "broke the protocol",
            Self::Silent => "silent",
            Self::Stalled => "stalled",
            Self::Withdrawn(loss) => loss.name(),
            Self::Closed { clean: true } => "left",
            Self::Closed { clean: false } => "lost",
            Self::Cut => "cut",
        }
    }

    /// The code and reason of the close. None if nobody would read it, the viewer violated the
    /// protocol, or the close depends on the viewer's protocol.
    fn close(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Ended(Ending::Complete) => Some((CloseCode::Normal, "")),
            Self::Ended(Ending::Shutdown) => Some((CloseCode::Away, "the server is going away")),
            Self::Ended(Ending::Unreachable) => {
                Some((CloseCode::Again, "the log's machine does not answer"))
            }
            Self::Silent => Some((CloseCode::Error, "no heartbeat")),
            Self::Stalled => Some((CloseCode::from(STALLED), "nothing was taken for too long")),
            Self::ProtocolError(_) | Self::Withdrawn(_) | Self::Closed { .. } | Self::Cut => None,
        }
    }
}

/// Runs `goodbye` until its time is up or the server can't wait any longer.
async fn bounded(app: &App, patience: Duration, goodbye: impl Future<Output = ()>) {
    tokio::select! {
        _late = timeout(patience, goodbye) => {}
        () = app.cut.cancelled() => {}
    }
}

/// The only messages of a viewer that is refused.
#[derive(Debug)]
struct Farewell {
    frame: Option<Frame>,
    code: CloseCode,
    reason: &'static str,
}

/// The messages to a viewer that is refused: the text that the original sends, or an `error`
/// message.
fn farewell_of(denial: &Denial, form: Form) -> Farewell {
    let refusal = match denial {
        Denial::Full => {
            return Farewell { frame: None, code: CloseCode::Again, reason: FULL };
        }
        Denial::Lost(Loss::Place) => {
            let reason = "what may be read has changed";
            return Farewell { frame: None, code: CloseCode::Away, reason };
        }
        Denial::Lost(Loss::Identity) if form.has_control() => {
            let (code, message) = Message::signed_out();
            let frame = Some(Frame::text(&message.to_json()));
            return Farewell { frame, code: CloseCode::from(code), reason: "" };
        }
        Denial::Lost(Loss::Identity) => return original_farewell("Signed out"),
        Denial::Lost(Loss::Right) => Refusal::Forbidden,
        Denial::Refused(refusal) => *refusal,
    };
    if form.has_control() {
        let (code, message) = Message::refusal(refusal);
        let frame = Some(Frame::text(&message.to_json()));
        return Farewell { frame, code: CloseCode::from(code), reason: "" };
    }
    let words = match refusal {
        Refusal::Forbidden | Refusal::Unreadable => "Forbidden",
        Refusal::NotFound | Refusal::Untailable => "Not found",
        Refusal::Exhausted => {
            return Farewell { frame: None, code: CloseCode::Again, reason: "out of descriptors" };
        }
        Refusal::Unreachable => {
            let reason = "the machine of this log does not answer";
            return Farewell { frame: None, code: CloseCode::Again, reason };
        }
    };
    original_farewell(words)
}

/// The message with which the original refuses a viewer.
fn original_farewell(words: &str) -> Farewell {
    let html = format!("<font color=\"red\"><strong>{words}</strong></font>");
    Farewell { frame: Some(Frame::text(&html)), code: CloseCode::Policy, reason: "" }
}

/// Sends the last frames and closes.
async fn send_and_close(
    mut socket: WebSocket,
    mut queue: VecDeque<Frame>,
    code: CloseCode,
    reason: &'static str,
) {
    loop {
        if socket.is_clear() {
            match queue.pop_front() {
                Some(frame) => socket.start_frame(&frame),
                None => break socket.close(code, reason).await,
            }
        }
        if let SocketEvent::Closed { .. } | SocketEvent::ProtocolError(_) =
            socket.next_event().await
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_stream_has_its_close_code_and_its_word_in_the_access_log() {
        for (end, word, code) in [
            (StreamEnd::Ended(Ending::Complete), "complete", Some(1000)),
            (StreamEnd::Ended(Ending::Shutdown), "shutdown", Some(1001)),
            (StreamEnd::Silent, "silent", Some(1011)),
            (StreamEnd::Stalled, "stalled", Some(4408)),
            (StreamEnd::Withdrawn(Loss::Right), "withdrawn", None),
            (StreamEnd::Withdrawn(Loss::Identity), "signed out", None),
            (StreamEnd::Withdrawn(Loss::Place), "narrowed", None),
            (StreamEnd::ProtocolError(CloseCode::Size), "broke the protocol", None),
            (StreamEnd::Closed { clean: true }, "left", None),
            (StreamEnd::Closed { clean: false }, "lost", None),
            (StreamEnd::Cut, "cut", None),
        ] {
            assert_eq!(end.logged_as(), word);
            assert_eq!(end.close().map(|(code, _)| u16::from(code)), code, "{end:?}");
        }
    }

    #[test]
    fn an_event_that_is_not_about_data_ends_the_stream() {
        for (event, end) in [
            (
                SocketEvent::ProtocolError(CloseCode::Size),
                StreamEnd::ProtocolError(CloseCode::Size),
            ),
            (SocketEvent::Closed { clean: true }, StreamEnd::Closed { clean: true }),
            (SocketEvent::Notice(Notice::Silent), StreamEnd::Silent),
            (SocketEvent::Notice(Notice::Cut), StreamEnd::Cut),
        ] {
            assert_eq!(end_of(&event), end, "{event:?}");
        }
    }

    #[test]
    fn a_denied_viewer_gets_the_reason_in_its_own_protocol() {
        let told = |denial, form| {
            let Farewell { frame, code, .. } = farewell_of(&denial, form);
            let text = frame.map(|frame| String::from_utf8(frame.payload().to_vec()).unwrap());
            (text, u16::from(code))
        };
        let original = |words| Some(format!("<font color=\"red\"><strong>{words}</strong></font>"));
        for (refusal, words, code) in [
            (Refusal::Forbidden, "Forbidden", 4403),
            (Refusal::Unreadable, "Forbidden", 4403),
            (Refusal::NotFound, "Not found", 4404),
            (Refusal::Untailable, "Not found", 4404),
        ] {
            let html = told(Denial::Refused(refusal), Form::Html);
            assert_eq!(html, (original(words), 1008), "{refusal:?}");
            let (message, v1) = told(Denial::Refused(refusal), Form::Rows);
            assert_eq!(v1, code, "{refusal:?}");
            assert!(message.unwrap().contains("\"type\":\"error\""), "{refusal:?}");
        }
        let signed_out = || Denial::Lost(Loss::Identity);
        assert_eq!(told(signed_out(), Form::Html), (original("Signed out"), 1008));
        assert_eq!(told(signed_out(), Form::Rows).1, 4401);
        assert_eq!(told(Denial::Lost(Loss::Right), Form::Rows).1, 4403);
        assert_eq!(told(Denial::Lost(Loss::Place), Form::Rows), (None, 1001));
        assert_eq!(told(Denial::Full, Form::Rows), (None, 1013));
        assert_eq!(told(Denial::Refused(Refusal::Exhausted), Form::Html), (None, 1013));
    }
}
