//! A viewer's connection, as those see it that write to it: its own task, the walk that speaks for many, the pulse.
//!
//! Whoever writes holds the lock, and writes whole frames or leaves the rest behind for the viewer's own task. So
//! nobody cuts into a frame: the walk leaves a line alone that is in the middle of one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::log::metrics::Counter;
use crate::session::{Ending, SavedCursor};
use crate::wire::frame::{Frame, Frames, Packing};

/// A viewer's connection.
#[derive(Debug)]
pub(in crate::serve) struct Connection {
    io: TcpStream,
    sent: Arc<Sent>,
    /// How the viewer takes messages.
    packing: Packing,
    out: Mutex<Out>,
    waker: AtomicWaker,
}

/// What has been done to send, for all viewers of a server.
#[derive(Debug, Default)]
pub(in crate::serve) struct Sent {
    /// Frames of data that sockets were given.
    pub(in crate::serve) frames: Counter,
    /// Calls of `write` on sockets, for data, control and the rest of either.
    pub(in crate::serve) writes: Counter,
}

#[derive(Debug)]
struct Out {
    /// The rest of a frame that the socket did not take at once.
    rest: Bytes,
    /// A frame of control that waits for its end.
    control: Option<&'static [u8]>,
    /// tungstenite has written a part of a frame.
    is_busy: bool,
    /// Bytes that the socket has taken since the connection began.
    taken: u64,
    /// When it took some last, or was given some after it had taken all.
    moved: Instant,
    /// Something came since the last heartbeat.
    heard: bool,
    /// While an answer to a heartbeat is awaited: what the socket had taken, with the heartbeat itself.
    asked: Option<u64>,
    notice: Option<Notice>,
    is_closed: bool,
}

/// What a viewer's task is told by others.
#[derive(Debug)]
pub(in crate::serve) enum Notice {
    /// Nobody speaks for it any more.
    Handback(Box<Handback>),
    /// It gave no sign of life.
    Silent,
    /// The server can't wait any longer.
    Cut,
}

/// What a viewer goes on with that is not spoken for any more.
#[derive(Debug)]
pub(in crate::serve) struct Handback {
    /// What is still to be sent, in order.
    pub(in crate::serve) frames: Frames,
    /// Where it stands then.
    pub(in crate::serve) standpoint: SavedCursor,
    /// That nothing more comes.
    pub(in crate::serve) ending: Option<Ending>,
}

/// What became of frames that were offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum WriteResult {
    /// The socket has taken them.
    Taken,
    /// It took so many, the last perhaps in part.
    Full(usize),
    /// Nobody reads any more.
    Closed,
}

impl Out {
    /// Writes what is left. False when the socket takes no more.
    fn flush(&mut self, io: &TcpStream, sent: &Sent) -> io::Result<bool> {
        loop {
            while self.rest.has_remaining() {
                let Some(written) = self.write(io, sent, &self.rest.clone())? else {
                    return Ok(false);
                };
                self.rest.advance(written);
                self.moved = Instant::now();
            }
            // An empty slice of a shared frame would keep the whole of it.
            self.rest = Bytes::new();
            match self.control.take() {
                Some(control) => self.rest = Bytes::from_static(control),
                None => return Ok(true),
            }
        }
    }

    /// Writes as much as the socket takes at once. None when it takes nothing.
    fn write(&mut self, io: &TcpStream, sent: &Sent, bytes: &[u8]) -> io::Result<Option<usize>> {
        loop {
            sent.writes.add(1);
            match io.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.taken += written as u64;
                    return Ok(Some(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn is_clear(&self) -> bool {
        self.rest.is_empty() && self.control.is_none() && !self.is_busy
    }
}

impl Connection {
    pub(in crate::serve) fn new(io: TcpStream, packing: Packing, sent: Arc<Sent>) -> Self {
        let out = Out {
            rest: Bytes::new(),
            control: None,
            is_busy: false,
            taken: 0,
            moved: Instant::now(),
            heard: false,
            asked: None,
            notice: None,
            is_closed: false,
        };
        Self { io, sent, packing, out: Mutex::new(out), waker: AtomicWaker::new() }
    }

    /// How the viewer takes messages.
    pub(in crate::serve) fn packing(&self) -> Packing {
        self.packing
    }

    /// The connection itself.
    pub(in crate::serve) fn io(&self) -> &TcpStream {
        &self.io
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is half written.
    pub(in crate::serve) fn is_clear(&self) -> bool {
        self.out().is_clear()
    }

    /// Bytes that the kernel has taken so far.
    pub(in crate::serve) fn taken(&self) -> u64 {
        self.out().taken
    }

    /// Since when the socket has taken nothing of what there is for it.
    pub(in crate::serve) fn stuck_since(&self) -> Instant {
        self.out().moved
    }

    /// The viewer's own frame, to be written by its task. Only when the line is clear.
    pub(in crate::serve) fn give(&self, frame: &Frame) {
        let mut out = self.out();
        debug_assert!(out.is_clear(), "a frame was given while another is half written");
        out.rest = frame.encoded(self.packing).clone();
        self.sent.frames.add(1);
        out.moved = Instant::now();
    }

    /// Frames that many viewers get, written at once as far as the socket takes them.
    pub(in crate::serve) fn offer(&self, frames: &[Frame]) -> WriteResult {
        let mut out = self.out();
        if out.is_closed {
            return WriteResult::Closed;
        }
        if !out.is_clear() {
            return WriteResult::Full(0);
        }
        for (at, frame) in frames.iter().enumerate() {
            let encoded = frame.encoded(self.packing);
            match out.write(&self.io, &self.sent, encoded) {
                Ok(Some(written)) if written == encoded.len() => self.sent.frames.add(1),
                Ok(Some(written)) => {
                    self.sent.frames.add(1);
                    out.rest = encoded.slice(written..);
                    out.moved = Instant::now();
                    return WriteResult::Full(at + 1);
                }
                // What is wrong with the connection is for the viewer's task to find out.
                Ok(None) | Err(_) => return WriteResult::Full(at),
            }
        }
        WriteResult::Taken
    }

    /// Writes on what is left of a frame.
    pub(in crate::serve) fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out().flush(&self.io, &self.sent)? {
            ready!(self.io.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what tungstenite has, after what is left of a frame.
    pub(in crate::serve) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            {
                let mut out = self.out();
                if out.flush(&self.io, &self.sent)? {
                    let written = out.write(&self.io, &self.sent, bytes)?;
                    let is_busy = written.is_none_or(|written| written < bytes.len());
                    if written.is_some() || (is_busy && !out.is_busy) {
                        out.moved = Instant::now();
                    }
                    out.is_busy = is_busy;
                    if let Some(written) = written {
                        return Poll::Ready(Ok(written));
                    }
                }
            }
            ready!(self.io.poll_write_ready(cx))?;
        }
    }

    /// tungstenite has nothing half written any more.
    pub(in crate::serve) fn settle(&self) {
        self.out().is_busy = false;
    }

    /// Reads what the viewer sent.
    pub(in crate::serve) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.io.poll_read_ready(cx))?;
            match self.io.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Something came from the viewer.
    pub(in crate::serve) fn hear(&self) {
        self.out().heard = true;
    }

    /// A heartbeat: this frame, at once or after what is being written.
    pub(in crate::serve) fn beat(&self, frame: &'static [u8]) {
        let mut out = self.out();
        out.heard = false;
        out.asked = Some(out.taken + frame.len() as u64);
        let is_clear = out.is_clear();
        out.control = Some(frame);
        // What fails is found out by the viewer's task, and so is what the socket does not take now.
        let is_out = is_clear && matches!(out.flush(&self.io, &self.sent), Ok(true));
        drop(out);
        if !is_out {
            self.waker.wake();
        }
    }

    /// Whether nothing came since the heartbeat, and nothing was taken either.
    pub(in crate::serve) fn is_silent(&self) -> bool {
        let mut out = self.out();
        let (heard, taken) = (out.heard, out.taken);
        out.asked.take().is_some_and(|before| !heard && taken <= before)
    }

    /// Tells the viewer's task.
    pub(in crate::serve) fn notify(&self, notice: Notice) {
        self.out().notice = Some(notice);
        self.waker.wake();
    }

    /// What the viewer's task was told.
    pub(in crate::serve) fn poll_notice(&self, cx: &mut Context<'_>) -> Poll<Notice> {
        self.waker.register(cx.waker());
        self.out().notice.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Nobody else is to write any more.
    pub(in crate::serve) fn close(&self) {
        self.out().is_closed = true;
    }

    /// Whether nobody is to write any more.
    pub(in crate::serve) fn is_closed(&self) -> bool {
        self.out().is_closed
    }
}
