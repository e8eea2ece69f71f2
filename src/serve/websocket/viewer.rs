//! The life of a viewer that came by WebSocket, in the original's protocol or in `tailcast.v1`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::log::{LogPath, Refusal};
use crate::serve::App;
use crate::serve::connection_limit::AccessLogEntry;
use crate::serve::websocket::connection::Notice;
use crate::serve::websocket::group::{self, BroadcastGroup};
use crate::serve::websocket::stream::{SocketEvent, WebSocket};
use crate::session::{Detached, Ending, Output, Session};
use crate::wire::frame::{Form, Frame, Packing};
use crate::wire::message::Message;
use crate::wire::request::StreamRequest;

/// The close code for a viewer whose socket took nothing for too long.
const STALLED: u16 = 4408;
/// How long a close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a viewer asked for with its upgrade.
#[derive(Debug)]
pub(in crate::serve) struct ViewerRequest {
    /// The log, or why there is none.
    pub(in crate::serve) log: Result<LogPath, Denial>,
    pub(in crate::serve) start: StreamRequest,
    pub(in crate::serve) form: Form,
    pub(in crate::serve) packing: Packing,
}

/// Why a viewer gets nothing. It is told over the WebSocket: a browser does not show a page what an upgrade was
/// refused for.
#[derive(Debug)]
pub(in crate::serve) enum Denial {
    /// There is no such log for it.
    Refused(Refusal),
    /// All seats are taken.
    Full,
}

/// How a viewer's stream ended.
#[derive(Clone, Copy)]
enum StreamEnd {
    Ended(Ending),
    Misbehaved(CloseCode),
    Silent,
    Stalled,
    Over { clean: bool },
    Cut,
}

/// What is given to a viewer next.
enum FrameSource {
    /// What its own session says.
    Session(Box<Session>),
    /// What a walk says, until it tells otherwise.
    BroadcastGroup(Detached, Arc<BroadcastGroup>),
    /// Nothing.
    Over(StreamEnd),
}

/// Serves one viewer until it leaves or the log ends.
///
/// What a viewer needs at its beginning, at its end, and while it is behind, is boxed apart: one that is up to date is
/// to hold little.
pub(in crate::serve) async fn serve(
    app: Arc<App>,
    io: TcpStream,
    read_already: Bytes,
    asked: ViewerRequest,
    mut visit: AccessLogEntry,
) {
    let opening = Box::pin(open(&app, io, read_already, asked, &mut visit));
    let Some((mut socket, session)) = opening.await else { return };
    let mut source = FrameSource::Session(session);
    let mut queue = VecDeque::new();
    let gone = loop {
        source = match source {
            FrameSource::Session(session) => {
                Box::pin(live(&app, &mut socket, session, &mut queue)).await
            }
            FrameSource::BroadcastGroup(parked, walk) => {
                let turn = socket.turn_but_inbound().await;
                match turn {
                    SocketEvent::Told(Notice::Handback(left)) => {
                        queue.extend(left.frames);
                        match left.ending {
                            Some(ending) => FrameSource::Over(StreamEnd::Ended(ending)),
                            None => FrameSource::Session(Box::new(
                                app.hub.resume(parked, left.standpoint),
                            )),
                        }
                    }
                    turn => {
                        socket.line().close();
                        walk.left();
                        FrameSource::Over(gone_by(&turn))
                    }
                }
            }
            FrameSource::Over(gone) => break gone,
        };
    };
    visit.bytes = socket.line().taken();
    Box::pin(leave(&app, socket, queue, gone, &mut visit)).await;
}

/// What a turn means that is not about data.
fn gone_by(turn: &SocketEvent) -> StreamEnd {
    match *turn {
        SocketEvent::Misbehaved(code) => StreamEnd::Misbehaved(code),
        SocketEvent::Over { clean } => StreamEnd::Over { clean },
        SocketEvent::Told(Notice::Silent) => StreamEnd::Silent,
        SocketEvent::Told(Notice::Cut | Notice::Handback(_))
        | SocketEvent::Clear
        | SocketEvent::Inbound => StreamEnd::Cut,
    }
}

/// Takes the connection over and joins the log. None when that is refused, and has been told.
async fn open(
    app: &App,
    io: TcpStream,
    read_already: Bytes,
    asked: ViewerRequest,
    visit: &mut AccessLogEntry,
) -> Option<(WebSocket, Box<Session>)> {
    let socket = WebSocket::new(io, &read_already, asked.packing, Arc::clone(&app.sent)).await;
    let session = match asked.log {
        Ok(log) => app.hub.join(&log, asked.start, asked.form).await.map_err(Denial::Refused),
        Err(denial) => Err(denial),
    };
    match session {
        Ok(mut session) => {
            session.begin().await;
            app.heartbeats.enter(app, socket.line(), !asked.form.has_control());
            Some((socket, Box::new(session)))
        }
        Err(Denial::Full) => {
            visit.reason = "full";
            let words = "as many viewers as this server takes";
            let goodbye = farewell(socket, VecDeque::new(), CloseCode::Again, words);
            bounded(app, CLOSE_TIMEOUT, goodbye).await;
            None
        }
        Err(Denial::Refused(refusal)) => {
            visit.reason = "refused";
            bounded(app, CLOSE_TIMEOUT, refuse(socket, asked.form, refusal)).await;
            None
        }
    }
}

/// Says goodbye as it is due, with what is still to be sent.
async fn leave(
    app: &App,
    socket: WebSocket,
    queue: VecDeque<Frame>,
    gone: StreamEnd,
    visit: &mut AccessLogEntry,
) {
    let (reason, code, words) = match gone {
        StreamEnd::Over { clean } => {
            visit.reason = if clean { "left" } else { "lost" };
            return;
        }
        StreamEnd::Cut => {
            visit.reason = "cut";
            return;
        }
        StreamEnd::Misbehaved(code) => {
            visit.reason = "broke the protocol";
            return bounded(app, CLOSE_TIMEOUT, socket.refuse(code)).await;
        }
        StreamEnd::Stalled => {
            ("stalled", CloseCode::from(STALLED), "nothing was taken for too long")
        }
        StreamEnd::Silent => ("silent", CloseCode::Error, "no heartbeat"),
        StreamEnd::Ended(Ending::Shutdown) => {
            ("shutdown", CloseCode::Away, "the server is going away")
        }
        StreamEnd::Ended(Ending::Complete) => ("complete", CloseCode::Normal, ""),
    };
    visit.reason = reason;
    // One that takes its time is given it; one that is gone is not.
    let patience =
        if let StreamEnd::Ended(_) = gone { app.settings.stall_timeout } else { CLOSE_TIMEOUT };
    bounded(app, patience, farewell(socket, queue, code, words)).await;
}

/// Nobody's goodbye takes for ever.
async fn bounded(app: &App, patience: Duration, goodbye: impl Future<Output = ()>) {
    tokio::select! {
        _late = timeout(patience, goodbye) => {}
        () = app.cut.cancelled() => {}
    }
}

async fn refuse(socket: WebSocket, form: Form, refusal: Refusal) {
    let (code, message) = Message::refusal(refusal);
    if form.has_control() {
        let frame = Frame::text(&message.to_json());
        return farewell(socket, [frame].into(), CloseCode::from(code), "").await;
    }
    let words = match refusal {
        Refusal::Forbidden | Refusal::Unreadable => "Forbidden",
        Refusal::NotFound | Refusal::Untailable => "Not found",
        Refusal::Exhausted => {
            return farewell(socket, VecDeque::new(), CloseCode::Again, "out of descriptors").await;
        }
    };
    let frame = Frame::text(&format!("<font color=\"red\"><strong>{words}</strong></font>"));
    farewell(socket, [frame].into(), CloseCode::Policy, "").await;
}

/// Sends the last frames and closes.
async fn farewell(
    mut socket: WebSocket,
    mut queue: VecDeque<Frame>,
    code: CloseCode,
    words: &'static str,
) {
    loop {
        if socket.is_clear() {
            match queue.pop_front() {
                Some(frame) => socket.give(&frame),
                None => break socket.close(code, words).await,
            }
        }
        if let SocketEvent::Over { .. } | SocketEvent::Misbehaved(_) = socket.turn().await {
            return;
        }
    }
}

/// Gives a viewer what its session says, until it is up to date and a walk speaks for it.
async fn live(
    app: &Arc<App>,
    socket: &mut WebSocket,
    mut session: Box<Session>,
    queue: &mut VecDeque<Frame>,
) -> FrameSource {
    loop {
        let mut is_clear = socket.is_clear();
        if is_clear && let Some(frame) = queue.pop_front() {
            socket.give(&frame);
            is_clear = false;
        }
        let is_idle = queue.is_empty() && is_clear;
        if is_idle && let Some(standing) = session.idle_position() {
            return match group::join(app, *session, standing, socket.line()) {
                Some((parked, walk)) => FrameSource::BroadcastGroup(parked, walk),
                None => FrameSource::Over(StreamEnd::Cut),
            };
        }
        let give_up_at = socket.line().stuck_since() + app.settings.stall_timeout;
        tokio::select! {
            // In order: what a viewer has sent counts before its time is over.
            biased;
            turn = socket.turn() => match turn {
                SocketEvent::Clear | SocketEvent::Inbound => {}
                turn => return FrameSource::Over(gone_by(&turn)),
            },
            () = sleep_until(give_up_at), if !is_clear => {
                if socket.line().stuck_since() + app.settings.stall_timeout <= Instant::now() {
                    return FrameSource::Over(StreamEnd::Stalled);
                }
            }
            output = session.next(), if is_idle => match output {
                Output::Frames(frames) => queue.extend(frames),
                Output::End(ending) => {
                    queue.extend(session.end_frames(ending));
                    return FrameSource::Over(StreamEnd::Ended(ending));
                }
            },
        }
    }
}
