//! A WebSocket to a viewer: shared frames go straight to the socket, everything else through tungstenite.
//!
//! tungstenite copies each message into a buffer of its own for each connection, and keeps the largest it ever had.
//! So data frames, which are encoded once for all viewers, are written past it, on the same [`Connection`].

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

use crate::serve::websocket::connection::{Connection, Notice, Sent};
use crate::serve::websocket::inflate::InflateStream;
use crate::wire::frame::{Frame, Packing};

/// A viewer has little to say: heartbeats, and a close.
pub(in crate::serve) const INBOUND_BYTES_MAX: usize = 4 * 1024;
/// tungstenite allocates and clears so much for each connection.
const READ_BUFFER_BYTES: usize = 128;

/// The stream under tungstenite.
struct ConnectionGate {
    line: Arc<Connection>,
    /// What came deflated, while there is something of it.
    inflow: Option<Box<InflateStream>>,
}

impl ConnectionGate {
    fn take(&mut self, bytes: &[u8]) {
        self.inflow.get_or_insert_default().take(bytes);
    }
}

impl AsyncRead for ConnectionGate {
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

impl AsyncWrite for ConnectionGate {
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
pub(in crate::serve) enum SocketEvent {
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
pub(in crate::serve) struct WebSocket {
    stream: WebSocketStream<ConnectionGate>,
    /// tungstenite may have something to write.
    flushing: bool,
}

impl WebSocket {
    /// Takes over a connection after the handshake, with the bytes that came right behind it.
    pub(in crate::serve) async fn new(
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
        let mut gate =
            ConnectionGate { line: Arc::new(Connection::new(io, packing, sent)), inflow: None };
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
    pub(in crate::serve) fn line(&self) -> &Arc<Connection> {
        &self.stream.get_ref().line
    }

    /// Whether a frame may be given.
    pub(in crate::serve) fn is_clear(&self) -> bool {
        !self.flushing && self.line().is_clear()
    }

    /// Gives an encoded frame to be written. Only when the socket is clear.
    pub(in crate::serve) fn give(&mut self, frame: &Frame) {
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
    pub(in crate::serve) async fn turn(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    /// The next thing that is more than a sign of life.
    pub(in crate::serve) async fn turn_but_inbound(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| {
            loop {
                match ready!(self.poll_turn(cx)) {
                    SocketEvent::Clear | SocketEvent::Inbound => {}
                    turn => return Poll::Ready(turn),
                }
            }
        })
        .await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        if let Poll::Ready(notice) = self.line().poll_notice(cx) {
            return Poll::Ready(SocketEvent::Told(notice));
        }
        if let Poll::Ready(inbound) = Pin::new(&mut self.stream).poll_next(cx) {
            // tungstenite may have an answer to write now.
            self.flushing = true;
            self.line().hear();
            return Poll::Ready(match inbound {
                Some(Ok(_)) => SocketEvent::Inbound,
                Some(Err(error)) => judge(&error),
                None => SocketEvent::Over { clean: true },
            });
        }
        if self.is_clear() {
            return Poll::Pending;
        }
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(SocketEvent::Over { clean: false });
        }
        Poll::Ready(SocketEvent::Clear)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.line().poll_rest(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(io::Error::other)?;
        self.line().settle();
        self.flushing = false;
        Poll::Ready(Ok(()))
    }

    /// Sends a close after what is being written, and waits for the viewer's. The caller bounds the time.
    pub(in crate::serve) async fn close(mut self, code: CloseCode, reason: &'static str) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
        loop {
            match self.turn().await {
                SocketEvent::Clear | SocketEvent::Inbound | SocketEvent::Told(_) => {}
                // What the viewer still sends must be read, or the kernel resets the connection under the close.
                SocketEvent::Misbehaved(_) => break self.drain().await,
                SocketEvent::Over { .. } => break,
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
    pub(in crate::serve) async fn refuse(mut self, code: CloseCode) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: "".into() })));
        self.drain().await;
    }
}

fn judge(error: &Error) -> SocketEvent {
    match error {
        Error::Capacity(_) => SocketEvent::Misbehaved(CloseCode::Size),
        Error::Utf8(_) => SocketEvent::Misbehaved(CloseCode::Invalid),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => SocketEvent::Over { clean: false },
        Error::Protocol(_) => SocketEvent::Misbehaved(CloseCode::Protocol),
        _ => SocketEvent::Over { clean: false },
    }
}
