//! A WebSocket to a viewer: data frames are written directly to the socket, everything else by
//! tungstenite.
//!
//! tungstenite copies each message into a buffer of the connection, which stays as large as the
//! largest message so far. Data frames are encoded once for all viewers, so they bypass it, on the
//! same [`Connection`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::serve::socket::Socket;
use crate::serve::websocket::connection::{Connection, Notice, Sent};
use crate::serve::websocket::inflate::InflateStream;
use crate::wire::frame::{Frame, Packing};

/// The largest message that a viewer may send, in bytes. A viewer only sends answers to heartbeats
/// and a close.
pub(in crate::serve) const INBOUND_BYTES_MAX: usize = 4 * 1024;
/// Bytes that tungstenite allocates for each connection. A viewer sends little: the answer to a
/// heartbeat has 6 to 10 bytes.
const READ_BUFFER_BYTES: usize = 32;

/// The stream under tungstenite.
struct ConnectionGate {
    connection: Arc<Connection>,
    /// Exists only while there is compressed input that has not been passed on.
    inflate: Option<Box<InflateStream>>,
}

impl ConnectionGate {
    fn take(&mut self, bytes: &[u8]) {
        self.inflate.get_or_insert_default().take(bytes);
    }
}

impl AsyncRead for ConnectionGate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        if gate.connection.packing() == Packing::Plain {
            return gate.connection.poll_read(cx, buffer);
        }
        loop {
            if let Some(inflate) = &mut gate.inflate
                && inflate.read(buffer)
            {
                gate.inflate.take_if(|inflate| inflate.is_empty());
                return Poll::Ready(Ok(()));
            }
            let mut read = [0; READ_BUFFER_BYTES];
            let mut read = ReadBuf::new(&mut read);
            ready!(gate.connection.poll_read(cx, &mut read))?;
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
        self.connection.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_flush_socket(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.connection.io().shutdown_write())
    }
}

/// An event of a socket.
#[derive(Debug)]
pub(in crate::serve) enum SocketEvent {
    /// The kernel has taken everything: a new frame may begin.
    Clear,
    /// Another task has sent a notice to the viewer's task.
    Notice(Notice),
    /// The viewer sent something.
    Inbound,
    /// The viewer violated the protocol, with this code.
    ProtocolError(CloseCode),
    /// The connection has ended. `clean` is true after a close handshake.
    Closed { clean: bool },
}

/// One viewer's WebSocket.
pub(in crate::serve) struct WebSocket {
    stream: WebSocketStream<ConnectionGate>,
    /// tungstenite may have something to write.
    needs_flush: bool,
}

impl WebSocket {
    /// Takes over a connection after the handshake, with the bytes that came directly after it.
    pub(in crate::serve) async fn new(
        io: Socket,
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
        let mut gate = ConnectionGate {
            connection: Arc::new(Connection::new(io, packing, sent)),
            inflate: None,
        };
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
        Self { stream, needs_flush: false }
    }

    /// The connection, for other tasks that write to it.
    pub(in crate::serve) fn connection(&self) -> &Arc<Connection> {
        &self.stream.get_ref().connection
    }

    /// Whether a frame may begin.
    pub(in crate::serve) fn is_clear(&self) -> bool {
        !self.needs_flush && self.connection().is_clear()
    }

    /// Begins an encoded frame. Call it only when the socket is clear.
    pub(in crate::serve) fn start_frame(&mut self, frame: &Frame) {
        self.connection().start_frame(frame);
    }

    /// Passes a control message to tungstenite.
    fn queue(&mut self, message: Message) {
        self.needs_flush = true;
        if let Err(error) = Pin::new(&mut self.stream).start_send(message) {
            // The next event is the same error.
            tracing::debug!(%error, "can't send");
        }
    }

    /// Continues writing and reading until something happens.
    pub(in crate::serve) async fn next_event(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event other than [`Clear`](SocketEvent::Clear) and
    /// [`Inbound`](SocketEvent::Inbound).
    pub(in crate::serve) async fn next_end(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| {
            loop {
                match ready!(self.poll_event(cx)) {
                    SocketEvent::Clear | SocketEvent::Inbound => {}
                    event => return Poll::Ready(event),
                }
            }
        })
        .await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        if let Poll::Ready(notice) = self.connection().poll_notice(cx) {
            return Poll::Ready(SocketEvent::Notice(notice));
        }
        if let Poll::Ready(inbound) = Pin::new(&mut self.stream).poll_next(cx) {
            // tungstenite may have an answer to write now.
            self.needs_flush = true;
            self.connection().mark_heard();
            return Poll::Ready(match inbound {
                Some(Ok(_)) => SocketEvent::Inbound,
                Some(Err(error)) => event_of(&error),
                None => SocketEvent::Closed { clean: true },
            });
        }
        if self.is_clear() {
            return Poll::Pending;
        }
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(SocketEvent::Closed { clean: false });
        }
        Poll::Ready(SocketEvent::Clear)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.connection().poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_flush(cx)).map_err(io::Error::other)?;
        self.connection().end_tungstenite_frame();
        self.needs_flush = false;
        Poll::Ready(Ok(()))
    }

    /// Sends a close after the rest of a frame, and waits for the viewer's close. The caller bounds
    /// the time.
    pub(in crate::serve) async fn close(mut self, code: CloseCode, reason: &'static str) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: reason.into() })));
        loop {
            match self.next_event().await {
                SocketEvent::Clear | SocketEvent::Inbound | SocketEvent::Notice(_) => {}
                // The viewer's remaining bytes must be read. Otherwise the kernel resets the
                // connection, and the close is lost.
                SocketEvent::ProtocolError(_) => break self.drain().await,
                SocketEvent::Closed { .. } => break,
            }
        }
    }

    /// Ends a connection that tungstenite no longer reads: sends the rest, and discards the input.
    async fn drain(mut self) {
        if std::future::poll_fn(|cx| self.poll_flush(cx)).await.is_err() {
            return;
        }
        let connection = self.connection();
        if connection.io().shutdown_write().is_ok() {
            let mut discarded = [0; 512];
            let mut buffer = ReadBuf::new(&mut discarded);
            while std::future::poll_fn(|cx| connection.poll_read(cx, &mut buffer)).await.is_ok()
                && !buffer.filled().is_empty()
            {
                buffer.clear();
            }
        }
    }

    /// Sends a close to a viewer that violated the protocol, and ends. The caller bounds the time.
    pub(in crate::serve) async fn close_broken(mut self, code: CloseCode) {
        self.queue(Message::Close(Some(CloseFrame { code, reason: "".into() })));
        self.drain().await;
    }
}

/// The event for an error of tungstenite.
fn event_of(error: &Error) -> SocketEvent {
    match error {
        Error::Capacity(_) => SocketEvent::ProtocolError(CloseCode::Size),
        Error::Utf8(_) => SocketEvent::ProtocolError(CloseCode::Invalid),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => SocketEvent::Closed { clean: false },
        Error::Protocol(_) => SocketEvent::ProtocolError(CloseCode::Protocol),
        _ => SocketEvent::Closed { clean: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::websocket::connection::tests::{fill, pair};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn socket() -> (WebSocket, TcpStream) {
        let (io, viewer) = pair().await;
        io.writable().await.unwrap();
        (WebSocket::new(io.into(), &[], Packing::Plain, Arc::default()).await, viewer)
    }

    async fn event(socket: &mut WebSocket) -> SocketEvent {
        timeout(DEADLINE, socket.next_event()).await.unwrap()
    }

    /// A frame from a viewer, with a mask of zeros.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test]
    async fn a_frame_is_written_and_the_socket_is_clear_again() {
        let (mut socket, mut viewer) = socket().await;
        assert!(socket.is_clear());
        socket.start_frame(&Frame::text("hello"));
        assert!(!socket.is_clear());
        assert!(matches!(event(&mut socket).await, SocketEvent::Clear));
        assert!(socket.is_clear());
        let mut got = [0; 7];
        viewer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"\x81\x05hello");
    }

    #[tokio::test]
    async fn a_ping_is_answered_between_frames() {
        let (mut socket, mut viewer) = socket().await;
        viewer.write_all(&masked(0x89, b"here")).await.unwrap();
        assert!(matches!(event(&mut socket).await, SocketEvent::Inbound));
        assert!(matches!(event(&mut socket).await, SocketEvent::Clear));
        let mut got = [0; 6];
        viewer.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"\x8a\x04here");
    }

    #[tokio::test]
    async fn violations_of_the_protocol_are_reported_with_their_code() {
        for (name, sent, code) in [
            ("a reserved bit", masked(0xf1, b"x"), CloseCode::Protocol),
            ("no mask", b"\x81\x01x".to_vec(), CloseCode::Protocol),
            ("no text", masked(0x81, b"\xff"), CloseCode::Invalid),
            ("too long", vec![0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], CloseCode::Size),
        ] {
            let (mut socket, mut viewer) = socket().await;
            viewer.write_all(&sent).await.unwrap();
            let SocketEvent::ProtocolError(told) =
                timeout(DEADLINE, socket.next_end()).await.unwrap()
            else {
                panic!("{name} is no error");
            };
            assert_eq!(told, code, "{name}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_a_close_is_not_clean() {
        let (mut socket, viewer) = socket().await;
        drop(viewer);
        let end = timeout(DEADLINE, socket.next_end()).await.unwrap();
        assert!(matches!(end, SocketEvent::Closed { clean: false }), "{end:?}");
        let (mut closing, mut viewer) = self::socket().await;
        viewer.write_all(&masked(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        let end = async {
            let end = closing.next_end().await;
            drop(closing);
            end
        };
        let mut answer = Vec::new();
        let (end, read) =
            tokio::join!(timeout(DEADLINE, end), async { viewer.read_to_end(&mut answer).await });
        read.unwrap();
        assert!(matches!(end.unwrap(), SocketEvent::Closed { clean: true }));
        assert_eq!(answer, b"\x88\x02\x03\xe8");
    }

    #[tokio::test]
    async fn a_close_waits_for_the_frame_that_is_half_written() {
        let (socket, mut viewer) = socket().await;
        fill(socket.connection());
        let closing = tokio::spawn(socket.close(CloseCode::Away, "bye"));
        let mut got = Vec::new();
        let mut block = vec![0; 1 << 20];
        while !got.ends_with(b"\x88\x05\x03\xe9bye") {
            let read = timeout(DEADLINE, viewer.read(&mut block)).await.unwrap().unwrap();
            assert!(read > 0, "it ended without a close");
            got.extend_from_slice(&block[..read]);
        }
        drop(viewer);
        timeout(DEADLINE, closing).await.unwrap().unwrap();
    }
}
