//! A WebSocket to a viewer: shared frames go straight to the socket, everything else through tungstenite.
//!
//! tungstenite copies each message into a buffer of its own for each connection, and keeps the largest it ever had.
//! So data frames, which are encoded once for all viewers, are written past it, on the same [`Line`].

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::serve::inflow::Inflow;
use crate::serve::line::{Line, Notice, Sent};
use crate::session::frame::{Frame, Packing};

/// A viewer has little to say: heartbeats, and a close.
pub(super) const INBOUND_BYTES_MAX: usize = 4 * 1024;
/// tungstenite allocates and clears so much for each connection.
const READ_BUFFER_BYTES: usize = 128;

/// The stream under tungstenite.
struct Gate {
    line: Arc<Line>,
    /// What came deflated, while there is something of it.
    inflow: Option<Box<Inflow>>,
}

impl Gate {
    fn take(&mut self, bytes: &[u8]) {
        self.inflow.get_or_insert_default().take(bytes);
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.line.packing() == Packing::Plain {
            return gate.line.poll_read(cx, buffer);
        }
        loop {
            if let Some(inflow) = &mut gate.inflow
                && inflow.give(buffer)
            {
                gate.inflow.take_if(|inflow| inflow.is_at_rest());
                return Poll::Ready(Ok(()));
            }
            let mut read = [0; READ_BUFFER_BYTES];
            let mut read = ReadBuf::new(&mut read);
            ready!(gate.line.poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            gate.take(read.filled());
        }
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.line.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.line.io()).shutdown(Shutdown::Write))
    }
}

/// What the socket has to say.
#[derive(Debug)]
pub(super) enum Turn {
    /// All that was given has been taken by the kernel: there is room for a frame.
    Clear,
    /// Somebody has something to tell.
    Told(Notice),
    /// The viewer sent something.
    Inbound,
    /// The viewer broke the protocol: tell it by this code.
    Misbehaved(CloseCode),
    /// The connection is over; `clean` after a close handshake.
    Over {
        /// Whether it ended as it should.
        clean: bool,
    },
}

/// One viewer's WebSocket.
pub(super) struct Socket {
    stream: WebSocketStream<Gate>,
    /// tungstenite may have something to write.
    flushing: bool,
}

impl Socket {
    /// Takes over a connection after the handshake, with the bytes that came right behind it.
    pub(super) async fn new(
        io: TcpStream,
        read_already: &[u8],
        packing: Packing,
        sent: Arc<Sent>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024)
            .max_message_size(Some(INBOUND_BYTES_MAX))
            .max_frame_size(Some(INBOUND_BYTES_MAX));
        let mut gate = Gate { line: Arc::new(Line::new(io, packing, sent)), inflow: None };
        let read_already = match packing {
            Packing::Plain => read_already.to_vec(),
            Packing::Deflated => {
                gate.take(read_already);
                Vec::new()
            }
        };
        let stream =
            WebSocketStream::from_partially_read(gate, read_already, Role::Server, Some(config))
                .await;
        Self { stream, flushing: false }
    }

    /// The connection, for others that write to it.
    pub(super) fn line(&self) -> &Arc<Line> {
        &self.stream.get_ref().line
    }

    /// Whether a frame may be given.
    pub(super) fn is_clear(&self) -> bool {
        !self.flushing && self.line().is_clear()
    }

    /// Gives an encoded frame to be written. Only when the socket is clear.
    pub(super) fn give(&mut self, frame: &Frame) {
        self.line().give(frame);
    }

    fn queue(&mut self, message: Message) {
        self.flushing = true;
        if let Err(error) = Pin::new(&mut self.stream).start_send(message) {
            // The next turn meets the same end.
            tracing::debug!(%error, "can't send");
        }
    }

    /// Writes on, and waits for the next thing that happens.
    pub(super) async fn turn(&mut self) -> Turn {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    /// The next thing that is more than a sign of life.
    pub(super) async fn turn_but_inbound(&mut self) -> Turn {
        std::future::poll_fn(|cx| {
            loop {
                match ready!(self.poll_turn(cx)) {
                    Turn::Clear | Turn::Inbound => {}
                    turn => return Poll::Ready(turn),
                }
            }
        })
        .await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Poll::Ready(notice) = self.line().poll_notice(cx) {
            return Poll::Ready(Turn::Told(notice));
        }
        if let Poll::Ready(inbound) = Pin::new(&mut self.stream).poll_next(cx) {
            // tungstenite may have an answer to write now.
            self.flushing = true;
            self.line().hear();
            return Poll::Ready(match inbound {
                Some(Ok(_)) => Turn::Inbound,
                Some(Err(error)) => judge(&error),
                None => Turn::Over { clean: true },
            });
        }
        if self.is_clear() {
            return Poll::Pending;
        }
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(Turn::Over { clean: false });
        }
        Poll::Ready(Turn::Clear)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.line().poll_rest(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(io::Error::other)?;
        self.line().settle();
        self.flushing = false;
        Poll::Ready(Ok(()))
    }

    /// Sends a close after what is being written, and waits for the viewer's. The caller bounds the time.
    pub(super) async fn close(mut self, code: CloseCode, reason: &'static str) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
        loop {
            match self.turn().await {
                Turn::Clear | Turn::Inbound | Turn::Told(_) => {}
                // What the viewer still sends must be read, or the kernel resets the connection under the close.
                Turn::Misbehaved(_) => break self.drain().await,
                Turn::Over { .. } => break,
            }
        }
    }

    /// Ends a connection that tungstenite reads no more: sends what is left, and throws away what comes.
    async fn drain(mut self) {
        if std::future::poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return;
        }
        let line = self.line();
        if SockRef::from(line.io()).shutdown(Shutdown::Write).is_ok() {
            let mut rubbish = [0; 512];
            let mut buffer = ReadBuf::new(&mut rubbish);
            while std::future::poll_fn(|cx| line.poll_read(cx, &mut buffer)).await.is_ok()
                && !buffer.filled().is_empty()
            {
                buffer.clear();
            }
        }
    }

    /// Tells a viewer that broke the protocol so, and ends. The caller bounds the time.
    pub(super) async fn refuse(mut self, code: CloseCode) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: "".into() })));
        self.drain().await;
    }
}

fn judge(error: &Error) -> Turn {
    match error {
        Error::Capacity(_) => Turn::Misbehaved(CloseCode::Size),
        Error::Utf8(_) => Turn::Misbehaved(CloseCode::Invalid),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => Turn::Over { clean: false },
        Error::Protocol(_) => Turn::Misbehaved(CloseCode::Protocol),
        _ => Turn::Over { clean: false },
    }
}
