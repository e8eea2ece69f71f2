//! A WebSocket to a viewer: shared frames go straight to the socket, everything else through tungstenite.
//!
//! tungstenite copies each message into a buffer of its own for each connection, and keeps the largest it ever had.
//! So data frames, which are encoded once for all viewers, are written past it. Two rules keep the frames whole: a
//! shared frame is only taken when tungstenite has nothing half written, and while a shared frame is half written the
//! [`Gate`] makes tungstenite wait, though it goes on reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// A viewer has little to say: heartbeats, and a close.
const INBOUND_BYTES_MAX: usize = 4 * 1024;
/// tungstenite allocates and clears so much for each connection.
const READ_BUFFER_BYTES: usize = 1024;

/// The stream under tungstenite.
struct Gate {
    io: TcpStream,
    /// The rest of a shared frame.
    frame: Bytes,
    /// Bytes that the socket has taken since the connection began.
    taken: u64,
}

impl Gate {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.frame.has_remaining() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.frame))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.frame.advance(written);
            self.taken += written as u64;
        }
        // An empty slice of a shared frame would keep the whole of it.
        self.frame = Bytes::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_frame(cx))?;
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.taken += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// What the socket has to say.
#[derive(Debug)]
pub(super) enum Turn {
    /// All that was given has been taken by the kernel: there is room for a frame.
    Clear,
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
    /// Nothing is half written, in tungstenite or in the gate.
    clear: bool,
}

impl Socket {
    /// Takes over a connection after the handshake, with the bytes that came right behind it.
    pub(super) async fn new(io: TcpStream, read_already: &Bytes) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024)
            .max_message_size(Some(INBOUND_BYTES_MAX))
            .max_frame_size(Some(INBOUND_BYTES_MAX));
        let gate = Gate { io, frame: Bytes::new(), taken: 0 };
        let stream = WebSocketStream::from_partially_read(
            gate,
            read_already.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;
        Self { stream, clear: true }
    }

    /// Whether a frame may be given.
    pub(super) fn is_clear(&self) -> bool {
        self.clear
    }

    /// Bytes that the kernel has taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.stream.get_ref().taken
    }

    /// Gives an encoded frame to be written. Only when the socket is clear.
    pub(super) fn give(&mut self, frame: Bytes) {
        debug_assert!(self.clear, "a frame was given while another is half written");
        self.stream.get_mut().frame = frame;
        self.clear = false;
    }

    /// Sends a ping, after what is being written.
    pub(super) fn ping(&mut self) {
        self.queue(Message::Ping(Bytes::new()));
    }

    fn queue(&mut self, message: Message) {
        self.clear = false;
        if let Err(error) = Pin::new(&mut self.stream).start_send(message) {
            // The next turn meets the same end.
            tracing::debug!(%error, "can't send");
        }
    }

    /// Writes on, and waits for the next thing that happens.
    pub(super) async fn turn(&mut self) -> Turn {
        std::future::poll_fn(|cx| self.poll_turn(cx)).await
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Poll::Ready(inbound) = Pin::new(&mut self.stream).poll_next(cx) {
            // tungstenite may have an answer to write now.
            self.clear = false;
            return Poll::Ready(match inbound {
                Some(Ok(_)) => Turn::Inbound,
                Some(Err(error)) => judge(&error),
                None => Turn::Over { clean: true },
            });
        }
        if self.clear {
            return Poll::Pending;
        }
        if ready!(self.stream.get_mut().poll_frame(cx)).is_err()
            || ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err()
        {
            return Poll::Ready(Turn::Over { clean: false });
        }
        self.clear = true;
        Poll::Ready(Turn::Clear)
    }

    /// Sends a close after what is being written, and waits for the viewer's. The caller bounds the time.
    pub(super) async fn close(mut self, code: CloseCode, reason: &'static str) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
        loop {
            match self.turn().await {
                Turn::Clear | Turn::Inbound => {}
                // What the viewer still sends must be read, or the kernel resets the connection under the close.
                Turn::Misbehaved(_) => break self.drain().await,
                Turn::Over { .. } => break,
            }
        }
    }

    /// Ends a connection that tungstenite reads no more: sends what is left, and throws away what comes.
    async fn drain(mut self) {
        let flushed = std::future::poll_fn(|cx| {
            ready!(self.stream.get_mut().poll_frame(cx))?;
            Pin::new(&mut self.stream).poll_flush(cx).map_err(io::Error::other)
        });
        if flushed.await.is_err() {
            return;
        }
        let mut io = self.stream.into_inner().io;
        if io.shutdown().await.is_ok() {
            let mut rubbish = [0; 4096];
            while matches!(io.read(&mut rubbish).await, Ok(1..)) {}
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
