//! The life of a viewer that came by WebSocket, in the original's protocol or in `tailcast.v1`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::log::{LogPath, Refusal};
use crate::serve::seats::Visit;
use crate::serve::socket::{Socket, Turn};
use crate::serve::{App, Heartbeat, Settings};
use crate::session::frame::{Form, Frame};
use crate::session::start::Start;
use crate::session::wire::Message;
use crate::session::{Ending, Output, Session};

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

/// Serves one viewer until it leaves or the log ends.
pub(super) async fn serve(
    app: Arc<App>,
    io: TcpStream,
    read_already: Bytes,
    asked: Asked,
    mut visit: Visit,
) {
    // Boxed apart, so that the long life of a viewer does not carry the room of its beginning and its end.
    let socket = Box::pin(Socket::new(io, &read_already)).await;
    drop(read_already);
    let session = match asked.log {
        Ok(log) => {
            let joining = app.hub.join(&log, asked.start, asked.form);
            Box::pin(joining).await.map_err(Denial::Refused)
        }
        Err(denial) => Err(denial),
    };
    let session = match session {
        Ok(session) => session,
        Err(Denial::Full) => {
            visit.reason = "full";
            let words = "as many viewers as this server takes";
            let goodbye = farewell(socket, VecDeque::new(), CloseCode::Again, words);
            return bounded(&app, CLOSE_TIMEOUT, Box::pin(goodbye)).await;
        }
        Err(Denial::Refused(refusal)) => {
            visit.reason = "refused";
            return bounded(&app, CLOSE_TIMEOUT, Box::pin(refuse(socket, asked.form, refusal)))
                .await;
        }
    };
    let mut life = Life {
        socket,
        session,
        queue: VecDeque::new(),
        heartbeat: Pulse::new(&app.settings, asked.form),
        stall: (0, Instant::now() + app.settings.stall_timeout),
    };
    let gone = life.live(&app, &mut visit).await;
    let Life { socket, mut session, mut queue, .. } = life;
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
            return bounded(&app, CLOSE_TIMEOUT, Box::pin(socket.refuse(code))).await;
        }
        Gone::Stalled => ("stalled", CloseCode::from(STALLED), "nothing was taken for too long"),
        Gone::Silent => ("silent", CloseCode::Error, "no heartbeat"),
        Gone::Ended(Ending::Shutdown) => ("shutdown", CloseCode::Away, "the server is going away"),
        Gone::Ended(Ending::Complete) => ("complete", CloseCode::Normal, ""),
    };
    visit.reason = reason;
    if let Gone::Ended(ending) = gone {
        queue.extend(session.end_frames(ending));
    }
    drop(session);
    // One that takes its time is given it; one that is gone is not.
    let patience =
        if let Gone::Ended(_) = gone { app.settings.stall_timeout } else { CLOSE_TIMEOUT };
    bounded(&app, patience, Box::pin(farewell(socket, queue, code, words))).await;
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
                Some(frame) => socket.give(frame.encoded()),
                None => break socket.close(code, words).await,
            }
        }
        if let Turn::Over { .. } | Turn::Misbehaved(_) = socket.turn().await {
            return;
        }
    }
}

struct Life {
    socket: Socket,
    session: Session,
    /// Frames that wait for the socket, from one step of the session: the next is asked for when they are gone.
    queue: VecDeque<Frame>,
    heartbeat: Pulse,
    /// What the socket had taken when that last changed, and when it is too long ago.
    stall: (u64, Instant),
}

impl Life {
    async fn live(&mut self, app: &App, visit: &mut Visit) -> Gone {
        loop {
            if self.socket.is_clear()
                && let Some(frame) = self.queue.pop_front()
            {
                let encoded = frame.encoded();
                visit.bytes += encoded.len() as u64;
                self.socket.give(encoded);
            }
            let idle = self.queue.is_empty() && self.socket.is_clear();
            if self.socket.is_clear() || self.stall.0 != self.socket.taken() {
                self.stall = (self.socket.taken(), Instant::now() + app.settings.stall_timeout);
            }
            tokio::select! {
                // In order: what a viewer has sent counts before its time is over.
                biased;
                turn = self.socket.turn() => match turn {
                    Turn::Clear => {}
                    Turn::Inbound => self.heartbeat.heard(),
                    Turn::Misbehaved(code) => return Gone::Misbehaved(code),
                    Turn::Over { clean } => return Gone::Over { clean },
                },
                () = app.cut.cancelled() => return Gone::Cut,
                () = sleep_until(self.stall.1), if !self.socket.is_clear() => {
                    if self.stall.0 == self.socket.taken() {
                        return Gone::Stalled;
                    }
                }
                () = self.heartbeat.due() => match self.heartbeat.beat(self.socket.taken()) {
                    Beat::Quiet => {}
                    Beat::Gone => return Gone::Silent,
                    Beat::Send(Heartbeat::Text) => self.queue.push_front(Frame::text("ping")),
                    Beat::Send(_) => self.socket.ping(),
                },
                output = self.session.next(), if idle => match output {
                    Output::Frames(frames) => self.queue.extend(frames),
                    Output::End(ending) => return Gone::Ended(ending),
                },
            }
        }
    }
}

/// The heartbeat of one viewer, on the clock that no one sets.
struct Pulse {
    kind: Heartbeat,
    interval: Duration,
    timeout: Duration,
    /// When there is something to do.
    next: Instant,
    /// While an answer is awaited: what the socket had taken, with the heartbeat itself.
    asked: Option<u64>,
    heard: bool,
}

enum Beat {
    Quiet,
    Gone,
    Send(Heartbeat),
}

impl Pulse {
    fn new(settings: &Settings, form: Form) -> Self {
        let kind = match settings.heartbeat {
            // Who speaks `tailcast.v1` is promised that text is JSON.
            Heartbeat::Text if form.has_control() => Heartbeat::Ping,
            kind => kind,
        };
        Self {
            kind,
            interval: settings.heartbeat_interval,
            timeout: settings.pong_timeout.min(settings.heartbeat_interval),
            next: Instant::now() + settings.heartbeat_interval,
            asked: None,
            heard: false,
        }
    }

    fn heard(&mut self) {
        self.heard = true;
    }

    async fn due(&self) {
        if self.kind == Heartbeat::Off {
            return std::future::pending().await;
        }
        sleep_until(self.next).await;
    }

    /// Something is due. `taken` is what the socket has taken so far.
    fn beat(&mut self, taken: u64) -> Beat {
        match self.asked.take() {
            None => {
                // Two bytes of frame, and the text's four.
                let own = if self.kind == Heartbeat::Text { 6 } else { 2 };
                self.asked = Some(taken + own);
                self.heard = false;
                self.next = Instant::now() + self.timeout;
                Beat::Send(self.kind)
            }
            Some(before) if !self.heard && taken <= before => Beat::Gone,
            Some(_) => {
                self.next = Instant::now() + self.interval.saturating_sub(self.timeout);
                Beat::Quiet
            }
        }
    }
}
