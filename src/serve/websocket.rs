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
use crate::serve::line::Notice;
use crate::serve::seats::Visit;
use crate::serve::socket::{Socket, Turn};
use crate::serve::walk::{self, Walk};
use crate::session::frame::{Form, Frame, Packing};
use crate::session::start::Start;
use crate::session::wire::Message;
use crate::session::{Ending, Output, Parked, Session};

/// The close code for a viewer whose socket took nothing for too long.
const STALLED: u16 = 4408;
/// How long a close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a viewer asked for with its upgrade.
#[derive(Debug)]
pub(super) struct Asked {
    /// The log, or why there is none.
    pub(super) log: Result<LogPath, Denial>,
    pub(super) start: Start,
    pub(super) form: Form,
    pub(super) packing: Packing,
}

/// Why a viewer gets nothing. It is told over the WebSocket: a browser does not show a page what an upgrade was
/// refused for.
#[derive(Debug)]
pub(super) enum Denial {
    /// There is no such log for it.
    Refused(Refusal),
    /// All seats are taken.
    Full,
}

/// How a viewer's stream ended.
#[derive(Clone, Copy)]
enum Gone {
    Ended(Ending),
    Misbehaved(CloseCode),
    Silent,
    Stalled,
    Over { clean: bool },
    Cut,
}

/// What is given to a viewer next.
enum Source {
    /// What its own session says.
    Session(Box<Session>),
    /// What a walk says, until it tells otherwise.
    Walk(Parked, Arc<Walk>),
    /// Nothing.
    Over(Gone),
}

/// Serves one viewer until it leaves or the log ends.
///
/// What a viewer needs at its beginning, at its end, and while it is behind, is boxed apart: one that is up to date is
/// to hold little.
pub(super) async fn serve(
    app: Arc<App>,
    io: TcpStream,
    read_already: Bytes,
    asked: Asked,
    mut visit: Visit,
) {
    let opening = Box::pin(open(&app, io, read_already, asked, &mut visit));
    let Some((mut socket, session)) = opening.await else { return };
    let mut source = Source::Session(session);
    let mut queue = VecDeque::new();
    let gone = loop {
        source = match source {
            Source::Session(session) => {
                Box::pin(live(&app, &mut socket, session, &mut queue)).await
            }
            Source::Walk(parked, walk) => {
                let turn = socket.turn_but_inbound().await;
                match turn {
                    Turn::Told(Notice::Left(left)) => {
                        queue.extend(left.frames);
                        match left.ending {
                            Some(ending) => Source::Over(Gone::Ended(ending)),
                            None => {
                                Source::Session(Box::new(app.hub.resume(parked, left.standpoint)))
                            }
                        }
                    }
                    turn => {
                        socket.line().close();
                        walk.left();
                        Source::Over(gone_by(&turn))
                    }
                }
            }
            Source::Over(gone) => break gone,
        };
    };
    visit.bytes = socket.line().taken();
    Box::pin(leave(&app, socket, queue, gone, &mut visit)).await;
}

/// What a turn means that is not about data.
fn gone_by(turn: &Turn) -> Gone {
    match *turn {
        Turn::Misbehaved(code) => Gone::Misbehaved(code),
        Turn::Over { clean } => Gone::Over { clean },
        Turn::Told(Notice::Silent) => Gone::Silent,
        Turn::Told(Notice::Cut | Notice::Left(_)) | Turn::Clear | Turn::Inbound => Gone::Cut,
    }
}

/// Takes the connection over and joins the log. None when that is refused, and has been told.
async fn open(
    app: &App,
    io: TcpStream,
    read_already: Bytes,
    asked: Asked,
    visit: &mut Visit,
) -> Option<(Socket, Box<Session>)> {
    let socket = Socket::new(io, &read_already, asked.packing, Arc::clone(&app.sent)).await;
    let session = match asked.log {
        Ok(log) => app.hub.join(&log, asked.start, asked.form).await.map_err(Denial::Refused),
        Err(denial) => Err(denial),
    };
    match session {
        Ok(mut session) => {
            session.begin().await;
            app.pulse.enter(app, socket.line(), !asked.form.has_control());
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
async fn leave(app: &App, socket: Socket, queue: VecDeque<Frame>, gone: Gone, visit: &mut Visit) {
    let (reason, code, words) = match gone {
        Gone::Over { clean } => {
            visit.reason = if clean { "left" } else { "lost" };
            return;
        }
        Gone::Cut => {
            visit.reason = "cut";
            return;
        }
        Gone::Misbehaved(code) => {
            visit.reason = "broke the protocol";
            return bounded(app, CLOSE_TIMEOUT, socket.refuse(code)).await;
        }
        Gone::Stalled => ("stalled", CloseCode::from(STALLED), "nothing was taken for too long"),
        Gone::Silent => ("silent", CloseCode::Error, "no heartbeat"),
        Gone::Ended(Ending::Shutdown) => ("shutdown", CloseCode::Away, "the server is going away"),
        Gone::Ended(Ending::Complete) => ("complete", CloseCode::Normal, ""),
    };
    visit.reason = reason;
    // One that takes its time is given it; one that is gone is not.
    let patience =
        if let Gone::Ended(_) = gone { app.settings.stall_timeout } else { CLOSE_TIMEOUT };
    bounded(app, patience, farewell(socket, queue, code, words)).await;
}

/// Nobody's goodbye takes for ever.
async fn bounded(app: &App, patience: Duration, goodbye: impl Future<Output = ()>) {
    tokio::select! {
        _late = timeout(patience, goodbye) => {}
        () = app.cut.cancelled() => {}
    }
}

async fn refuse(socket: Socket, form: Form, refusal: Refusal) {
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
    mut socket: Socket,
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
        if let Turn::Over { .. } | Turn::Misbehaved(_) = socket.turn().await {
            return;
        }
    }
}

/// Gives a viewer what its session says, until it is up to date and a walk speaks for it.
async fn live(
    app: &Arc<App>,
    socket: &mut Socket,
    mut session: Box<Session>,
    queue: &mut VecDeque<Frame>,
) -> Source {
    loop {
        let mut is_clear = socket.is_clear();
        if is_clear && let Some(frame) = queue.pop_front() {
            socket.give(&frame);
            is_clear = false;
        }
        let is_idle = queue.is_empty() && is_clear;
        if is_idle && let Some(standing) = session.standing() {
            return match walk::join(app, *session, standing, socket.line()) {
                Some((parked, walk)) => Source::Walk(parked, walk),
                None => Source::Over(Gone::Cut),
            };
        }
        let give_up_at = socket.line().stuck_since() + app.settings.stall_timeout;
        tokio::select! {
            // In order: what a viewer has sent counts before its time is over.
            biased;
            turn = socket.turn() => match turn {
                Turn::Clear | Turn::Inbound => {}
                turn => return Source::Over(gone_by(&turn)),
            },
            () = sleep_until(give_up_at), if !is_clear => {
                if socket.line().stuck_since() + app.settings.stall_timeout <= Instant::now() {
                    return Source::Over(Gone::Stalled);
                }
            }
            output = session.next(), if is_idle => match output {
                Output::Frames(frames) => queue.extend(frames),
                Output::End(ending) => {
                    queue.extend(session.end_frames(ending));
                    return Source::Over(Gone::Ended(ending));
                }
            },
        }
    }
}
