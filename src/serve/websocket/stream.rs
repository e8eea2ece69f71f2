//! A WebSocket to a viewer: data frames are written directly to the socket, everything else by
//! tungstenite.
//!
//! tungstenite copies each message into a buffer of the connection, which stays as large as the
//! largest message so far. Data frames are encoded once for all viewers, so they bypass it, on the
//! same [`Connection`].
//!
//! A viewer says little: it answers heartbeats, and closes. So tungstenite's state exists only while
//! it has something to do, and a viewer that waits for the next line takes no memory for it.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::serve::socket::Socket;
use crate::serve::websocket::connection::{Connection, Notice, Sent};
use crate::serve::websocket::inflate::InflateStream;
use crate::wire::frame::{Frame, Packing};

/// The largest message that a viewer may send, in bytes. A viewer only sends answers to heartbeats
/// and a close.
pub(in crate::serve) const INBOUND_BYTES_MAX: usize = 4 * 1024;
/// How many bytes are read at once. A viewer sends little: the answer to a heartbeat has 6 to 10 bytes.
const READ_BUFFER_BYTES: usize = 32;
/// The bytes of a viewer's frame besides its payload, if that is short: the type, the length, and the
/// mask (RFC 6455, section 5.2).
const SHORT_HEADER_BYTES: usize = 6;
/// The longest payload of such a frame.
const SHORT_PAYLOAD_BYTES_MAX: usize = 125;

/// What tungstenite does for a viewer, from the first byte of a frame until all of it has been read
/// and answered.
struct Exchange {
    context: WebSocketContext,
    /// At least as many bytes as tungstenite holds. Each message takes off the fewest bytes in which
    /// it can have come. So one that came in several frames, or with a long header, leaves some here
    /// for good, and this state stays until the viewer leaves.
    bytes_left: usize,
    /// tungstenite may have something to write.
    needs_flush: bool,
    /// tungstenite reads no more.
    has_ended: bool,
}

impl Exchange {
    /// Begins with these bytes from the viewer.
    fn begin(bytes: &[u8]) -> Box<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(64 * 1024)
            .max_message_size(Some(INBOUND_BYTES_MAX))
            .max_frame_size(Some(INBOUND_BYTES_MAX));
        let context =
            WebSocketContext::from_partially_read(bytes.to_vec(), Role::Server, Some(config));
        Box::new(Self { context, bytes_left: bytes.len(), needs_flush: false, has_ended: false })
    }

    /// Counts a message that tungstenite has returned.
    fn count(&mut self, message: &Message) {
        // tungstenite may have an answer to write now.
        self.needs_flush = true;
        // After a close this state stays, and tungstenite may return other words than those that came.
        if !message.is_close() && message.len() <= SHORT_PAYLOAD_BYTES_MAX {
            self.bytes_left -= SHORT_HEADER_BYTES + message.len();
        }
    }

    /// Whether tungstenite has nothing to do until the viewer sends something.
    fn is_over(&self) -> bool {
        self.bytes_left == 0 && !self.needs_flush && self.context.can_write()
    }
}

/// A connection as tungstenite reads and writes it. What would have to wait is
/// [`WouldBlock`](io::ErrorKind::WouldBlock), and wakes the task later.
struct Gate<'a, 'b> {
    connection: &'a Connection,
    inflate: &'a mut Option<Box<InflateStream>>,
    /// Bytes that were read.
    read: usize,
    cx: &'a mut Context<'b>,
}

impl Gate<'_, '_> {
    fn poll_read(&mut self, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.packing() == Packing::Plain {
            return self.connection.poll_read(self.cx, buffer);
        }
        loop {
            if let Some(inflate) = self.inflate
                && inflate.read(buffer)
            {
                self.inflate.take_if(|inflate| inflate.is_empty());
                return Poll::Ready(Ok(()));
            }
            let mut read = [0; READ_BUFFER_BYTES];
            let mut read = ReadBuf::new(&mut read);
            ready!(self.connection.poll_read(self.cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.inflate.get_or_insert_default().take(read.filled());
        }
    }
}

/// The result of a call that does not wait.
fn now<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl Read for Gate<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        now(self.poll_read(&mut buffer))?;
        let read = buffer.filled().len();
        self.read += read;
        Ok(read)
    }
}

impl Write for Gate<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        now(self.connection.poll_write(self.cx, bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        now(self.connection.poll_flush_socket(self.cx))
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
    connection: Arc<Connection>,
    /// Exists only while there is compressed input that has not been passed on.
    inflate: Option<Box<InflateStream>>,
    exchange: Option<Box<Exchange>>,
}

impl WebSocket {
    /// Takes over a connection after the handshake, with the bytes that came directly after it.
    pub(in crate::serve) fn new(
        io: Socket,
        read_already: &[u8],
        packing: Packing,
        sent: Arc<Sent>,
    ) -> Self {
        let connection = Arc::new(Connection::new(io, packing, sent));
        let mut socket = Self { connection, inflate: None, exchange: None };
        if !read_already.is_empty() {
            match packing {
                Packing::Plain => socket.exchange = Some(Exchange::begin(read_already)),
                Packing::Deflated => socket.inflate.get_or_insert_default().take(read_already),
            }
        }
        socket
    }

    /// The connection, for other tasks that write to it.
    pub(in crate::serve) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether a frame may begin.
    pub(in crate::serve) fn is_clear(&self) -> bool {
        let needs_flush = self.exchange.as_ref().is_some_and(|exchange| exchange.needs_flush);
        !needs_flush && self.connection.is_clear()
    }

    /// Begins an encoded frame. Call it only when the socket is clear.
    pub(in crate::serve) fn start_frame(&mut self, frame: &Frame) {
        self.connection.start_frame(frame);
    }

    /// tungstenite's state, if there is any, and the connection that it reads and writes.
    fn parts<'a, 'b>(
        &'a mut self,
        cx: &'a mut Context<'b>,
    ) -> (&'a mut Option<Box<Exchange>>, Gate<'a, 'b>) {
        let Self { connection, inflate, exchange } = self;
        (exchange, Gate { connection, inflate, read: 0, cx })
    }

    /// The same, with a state that is made if there is none.
    fn exchange<'a, 'b>(&'a mut self, cx: &'a mut Context<'b>) -> (&'a mut Exchange, Gate<'a, 'b>) {
        let (exchange, gate) = self.parts(cx);
        (exchange.get_or_insert_with(|| Exchange::begin(&[])), gate)
    }

    /// Passes a control message to tungstenite.
    fn queue(&mut self, message: Message) {
        // Whoever waits for the next event also writes what waits.
        let mut cx = Context::from_waker(Waker::noop());
        let (exchange, mut gate) = self.exchange(&mut cx);
        exchange.needs_flush = true;
        match exchange.context.write(&mut gate, message) {
            Ok(()) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The next event says how the connection ends.
            Err(error) => tracing::debug!(%error, "can't send"),
        }
    }

    /// Continues writing and reading until something happens.
    pub(in crate::serve) async fn next_event(&mut self) -> SocketEvent {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next event other than [`Clear`](SocketEvent::Clear) and
    /// [`Inbound`](SocketEvent::Inbound).
    pub(in crate::serve) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        loop {
            match ready!(self.poll_event(cx)) {
                SocketEvent::Clear | SocketEvent::Inbound => {}
                event => return Poll::Ready(event),
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        if let Poll::Ready(notice) = self.connection.poll_notice(cx) {
            return Poll::Ready(SocketEvent::Notice(notice));
        }
        if let Poll::Ready(event) = self.poll_inbound(cx) {
            self.connection.mark_heard();
            return Poll::Ready(event);
        }
        if self.is_clear() {
            return Poll::Pending;
        }
        if ready!(self.poll_flush(cx)).is_err() {
            return Poll::Ready(SocketEvent::Closed { clean: false });
        }
        Poll::Ready(SocketEvent::Clear)
    }

    /// Reads a message.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        if self.exchange.is_none() {
            let mut first = [0; READ_BUFFER_BYTES];
            let mut first = ReadBuf::new(&mut first);
            let (exchange, mut gate) = self.parts(cx);
            if ready!(gate.poll_read(&mut first)).is_err() || first.filled().is_empty() {
                return Poll::Ready(SocketEvent::Closed { clean: false });
            }
            *exchange = Some(Exchange::begin(first.filled()));
        }
        let (exchange, mut gate) = self.exchange(cx);
        if exchange.has_ended {
            return Poll::Ready(SocketEvent::Closed { clean: true });
        }
        let message = exchange.context.read(&mut gate);
        exchange.bytes_left += gate.read;
        match message {
            Ok(message) => {
                exchange.count(&message);
                Poll::Ready(SocketEvent::Inbound)
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.exchange.take_if(|exchange| exchange.is_over());
                Poll::Pending
            }
            Err(error) => {
                exchange.needs_flush = true;
                exchange.has_ended = true;
                Poll::Ready(event_of(&error))
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.connection.poll_flush(cx))?;
        if self.exchange.is_some() {
            let (exchange, mut gate) = self.exchange(cx);
            match exchange.context.flush(&mut gate) {
                // The answer to the viewer's close has been written.
                Ok(()) | Err(Error::ConnectionClosed) => exchange.needs_flush = false,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        self.connection.end_tungstenite_frame();
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
        let connection = &self.connection;
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
        Error::ConnectionClosed | Error::AlreadyClosed => SocketEvent::Closed { clean: true },
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
    use socket2::SockRef;
    use std::future::poll_fn;
    use std::mem::MaybeUninit;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn socket() -> (WebSocket, TcpStream) {
        socket_after(&[], Packing::Plain).await
    }

    /// A socket to a viewer that has sent this with its handshake.
    async fn socket_after(read_already: &[u8], packing: Packing) -> (WebSocket, TcpStream) {
        let (io, viewer) = pair().await;
        viewer.set_nodelay(true).unwrap();
        io.writable().await.unwrap();
        (WebSocket::new(io.into(), read_already, packing, Arc::default()), viewer)
    }

    /// Sends to a socket, which reads it.
    async fn say(viewer: &mut TcpStream, bytes: &[u8], socket: &mut WebSocket) {
        viewer.write_all(bytes).await.unwrap();
        if !bytes.is_empty() {
            wait_readable(socket).await;
        }
        settle(socket).await;
    }

    async fn wait_readable(socket: &WebSocket) {
        let ready = poll_fn(|cx| socket.connection.io().poll_read_ready(cx));
        timeout(DEADLINE, ready).await.unwrap().unwrap();
    }

    async fn event(socket: &mut WebSocket) -> SocketEvent {
        timeout(DEADLINE, socket.next_event()).await.unwrap()
    }

    async fn next_end(socket: &mut WebSocket) -> SocketEvent {
        timeout(DEADLINE, poll_fn(|cx| socket.poll_end(cx))).await.unwrap()
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

    /// What a viewer says, and the answers that it gets.
    fn exchanges() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
        let long = &[b'x'; 125];
        vec![
            ("a pong", masked(0x8a, b""), vec![]),
            ("a text", masked(0x81, b"pong"), vec![]),
            ("a ping", masked(0x89, b"here"), b"\x8a\x04here".to_vec()),
            ("the longest ping", masked(0x89, long), [b"\x8a\x7d", &long[..]].concat()),
            ("a long text", masked(0x81, long), vec![]),
            ("two in a row", [masked(0x8a, b""), masked(0x81, b"pong")].concat(), vec![]),
        ]
    }

    /// Passes on events until nothing more happens.
    async fn settle(socket: &mut WebSocket) {
        let idle = poll_fn(|cx| {
            loop {
                match socket.poll_event(cx) {
                    Poll::Ready(SocketEvent::Inbound | SocketEvent::Clear) => {}
                    Poll::Ready(event) => panic!("{event:?}"),
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        });
        timeout(DEADLINE, idle).await.unwrap();
    }

    #[tokio::test]
    async fn what_takes_more_bytes_than_it_must_is_understood_and_so_is_what_follows() {
        for (name, sent) in [
            ("two frames", [masked(0x01, b"po"), masked(0x80, b"ng")].concat()),
            ("an empty frame", [masked(0x01, b""), masked(0x80, b"pong")].concat()),
            ("a long length", b"\x81\xfe\x00\x04\0\0\0\0pong".to_vec()),
            ("a long text", [b"\x81\xfe\x00\xc8\0\0\0\0", &[b'x'; 200][..]].concat()),
        ] {
            let (mut socket, mut viewer) = socket().await;
            for byte in sent.chunks(1) {
                viewer.write_all(byte).await.unwrap();
                settle(&mut socket).await;
            }
            viewer.write_all(&masked(0x89, b"here")).await.unwrap();
            let mut got = [0; 6];
            let answered = async {
                tokio::select! {
                    end = next_end(&mut socket) => panic!("{name}: {end:?}"),
                    read = viewer.read_exact(&mut got) => read.unwrap(),
                }
            };
            timeout(DEADLINE, answered).await.unwrap();
            assert_eq!(&got, b"\x8a\x04here", "{name}");
        }
    }

    #[tokio::test]
    async fn a_viewer_that_has_said_all_takes_no_memory_for_it() {
        let (mut socket, mut viewer) = socket().await;
        for (name, sent, answer) in exchanges() {
            for at in 0..=sent.len() {
                let (first, rest) = sent.split_at(at);
                say(&mut viewer, first, &mut socket).await;
                say(&mut viewer, rest, &mut socket).await;
                assert!(socket.exchange.is_none(), "{name}, cut after {at} bytes");
                let mut got = vec![0; answer.len()];
                timeout(DEADLINE, viewer.read_exact(&mut got)).await.unwrap().unwrap();
                assert_eq!(got, answer, "{name}");
            }
        }
    }

    #[tokio::test]
    async fn a_message_that_begins_with_the_handshake_ends_after_it() {
        let mut deflated = Vec::with_capacity(64);
        let mut compress = flate2::Compress::new(flate2::Compression::fast(), false);
        compress.compress_vec(b"pong", &mut deflated, flate2::FlushCompress::Sync).unwrap();
        // Without the empty block of the flush (RFC 7692, section 7.2.1).
        let compressed = masked(0xc1, &deflated[..deflated.len() - 4]);
        for (packing, sent) in
            [(Packing::Plain, masked(0x89, b"here")), (Packing::Deflated, compressed)]
        {
            for at in 0..=sent.len() {
                let (first, rest) = sent.split_at(at);
                let (mut socket, mut viewer) = socket_after(first, packing).await;
                settle(&mut socket).await;
                say(&mut viewer, rest, &mut socket).await;
                let is_over = socket.exchange.is_none() && socket.inflate.is_none();
                assert!(is_over, "{packing:?}, cut after {at} bytes");
                if packing == Packing::Plain {
                    let mut got = [0; 6];
                    timeout(DEADLINE, viewer.read_exact(&mut got)).await.unwrap().unwrap();
                    assert_eq!(&got, b"\x8a\x04here");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_ping_is_answered_when_a_full_socket_has_room_again() {
        let (mut socket, mut viewer) = socket().await;
        // So that the kernel does not find more room later.
        SockRef::from(&viewer).set_recv_buffer_size(4096).unwrap();
        SockRef::from(socket.connection.io()).set_send_buffer_size(4096).unwrap();
        while socket.is_clear() {
            fill(&socket.connection);
            settle(&mut socket).await;
        }
        say(&mut viewer, &masked(0x89, b"here"), &mut socket).await;
        assert!(socket.exchange.is_some(), "the answer is forgotten");
        let mut got = Vec::new();
        let mut block = vec![0; 1 << 20];
        let reading = async {
            while !got.ends_with(b"\x8a\x04here") {
                let read = viewer.read(&mut block).await.unwrap();
                got.extend_from_slice(&block[..read]);
            }
        };
        tokio::select! {
            end = next_end(&mut socket) => panic!("{end:?}"),
            read = timeout(DEADLINE, reading) => read.expect("the ping is not answered"),
        }
    }

    #[tokio::test]
    async fn a_viewer_that_sends_all_the_time_leaves_others_their_turn() {
        let (mut socket, mut viewer) = socket().await;
        let pongs = masked(0x8a, b"").repeat(4000);
        viewer.write_all(&pongs).await.unwrap();
        wait_readable(&socket).await;
        let is_pending = poll_fn(|cx| Poll::Ready(socket.poll_end(cx).is_pending())).await;
        assert!(is_pending);
        let unread = SockRef::from(socket.connection.io()).peek(&mut [MaybeUninit::uninit()]);
        assert!(matches!(unread, Ok(1)), "all was read in one turn: {unread:?}");
        viewer.write_all(&masked(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        assert!(matches!(next_end(&mut socket).await, SocketEvent::Closed { clean: true }));
    }

    #[tokio::test]
    async fn a_close_with_a_code_that_may_not_be_sent_is_answered() {
        let (mut socket, mut viewer) = socket().await;
        viewer.write_all(&masked(0x88, &1005_u16.to_be_bytes())).await.unwrap();
        assert!(matches!(next_end(&mut socket).await, SocketEvent::Closed { clean: true }));
        drop(socket);
        let mut answer = Vec::new();
        timeout(DEADLINE, viewer.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, b"\x88\x14\x03\xeaProtocol violation");
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
            let SocketEvent::ProtocolError(told) = next_end(&mut socket).await else {
                panic!("{name} is no error");
            };
            assert_eq!(told, code, "{name}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_a_close_is_not_clean() {
        let (mut socket, viewer) = socket().await;
        drop(viewer);
        let end = next_end(&mut socket).await;
        assert!(matches!(end, SocketEvent::Closed { clean: false }), "{end:?}");
        let (mut closing, mut viewer) = self::socket().await;
        viewer.write_all(&masked(0x88, &1000_u16.to_be_bytes())).await.unwrap();
        let end = async {
            let end = next_end(&mut closing).await;
            drop(closing);
            end
        };
        let mut answer = Vec::new();
        let (end, read) = tokio::join!(end, async { viewer.read_to_end(&mut answer).await });
        read.unwrap();
        assert!(matches!(end, SocketEvent::Closed { clean: true }));
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
