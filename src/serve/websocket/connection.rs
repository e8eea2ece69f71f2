//! The write half of a WebSocket, shared by the viewer's task, the broadcast group and the
//! heartbeats.
//!
//! A task that writes holds the lock and writes whole frames. If the socket does not take all of a
//! frame, the viewer's task writes the rest. So no frame is interrupted: while one is half written,
//! the broadcast group does not use the connection, and a heartbeat waits.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::ReadBuf;
use tokio::task::coop;
use tokio::time::Instant;

use crate::log::metrics::Counter;
use crate::serve::socket::Socket;
use crate::session::{Behind, Ending, SavedCursor};
use crate::wire::frame::{Frame, Frames, Packing};

/// A viewer's connection.
#[derive(Debug)]
pub(in crate::serve) struct Connection {
    io: Socket,
    sent: Arc<Sent>,
    packing: Packing,
    outbound: Mutex<Outbound>,
    /// Wakes the viewer's task.
    waker: AtomicWaker,
}

/// Counts what was sent, for all viewers of a server together.
#[derive(Debug, Default)]
pub(in crate::serve) struct Sent {
    /// Data frames that were written to sockets, counted for each viewer.
    pub(in crate::serve) frames: Counter,
    /// Calls of `write` on sockets, for data and control frames and their rests.
    pub(in crate::serve) writes: Counter,
    /// Bytes that sockets have taken.
    pub(in crate::serve) bytes: Counter,
}

/// What was sent for some viewers, before it is added to what was sent in all. Threads that add to one
/// number for each write would wait for each other.
#[derive(Debug, Default)]
pub(in crate::serve) struct Tally {
    frames: usize,
    writes: usize,
    bytes: usize,
}

impl Sent {
    pub(in crate::serve) fn add(&self, tally: &Tally) {
        self.frames.add(tally.frames);
        self.writes.add(tally.writes);
        self.bytes.add(tally.bytes);
    }
}

#[derive(Debug)]
struct Outbound {
    /// The rest of a frame that the socket did not take at once.
    rest: Bytes,
    /// A heartbeat that waits for the end of that frame.
    heartbeat: Option<Beat>,
    /// tungstenite has written a part of a frame of its own.
    is_tungstenite_writing: bool,
    /// Bytes that were passed to the socket since the connection began.
    written: u64,
    /// When the socket last took bytes, or when new bytes were due after it had taken all.
    progress_at: Instant,
    /// The viewer has sent something since the last heartbeat.
    has_heard: bool,
    /// While the answer to a heartbeat is awaited: how many bytes the socket has taken when it has
    /// taken the heartbeat itself.
    heartbeat_end: Option<NonZeroU64>,
    notice: Option<Notice>,
    /// The viewer has left its broadcast group for good.
    has_left: bool,
}

/// A kind of heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Beat {
    /// A ping without content (RFC 6455, section 5.5.2).
    Ping,
    /// The text `ping`, as the original sends it.
    Text,
}

impl Beat {
    /// Its frame.
    pub(in crate::serve) fn frame(self) -> &'static [u8] {
        match self {
            Self::Ping => b"\x89\x00",
            Self::Text => b"\x81\x04ping",
        }
    }
}

/// A notice from another task to a viewer's task. A later notice replaces one that has not been
/// read.
#[derive(Debug)]
pub(in crate::serve) enum Notice {
    /// The broadcast group no longer sends for the viewer.
    Handback(Box<Handback>),
    /// The viewer did not answer a heartbeat.
    Silent,
    /// The server can't wait any longer.
    Cut,
}

/// What a viewer's own session needs to continue after its broadcast group.
#[derive(Debug)]
pub(in crate::serve) struct Handback {
    /// Frames that are still to be sent, in order.
    pub(in crate::serve) frames: Frames,
    /// The viewer's cursor after these frames.
    pub(in crate::serve) cursor: SavedCursor,
    /// Keeps what others are sent meanwhile.
    pub(in crate::serve) behind: Option<Behind>,
    /// Set if nothing comes after these frames.
    pub(in crate::serve) ending: Option<Ending>,
}

/// The result of writing frames for a broadcast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum WriteResult {
    /// The socket has taken all of them.
    Complete,
    /// The socket is full. This many frames were begun. The connection keeps the rest of the last
    /// one.
    Full(usize),
    /// The viewer has left.
    Left,
}

impl Outbound {
    /// Writes the rest of a frame, then a waiting heartbeat. False when the socket takes no more.
    fn flush(&mut self, io: &Socket, sent: &Sent) -> io::Result<bool> {
        let before = self.taken(io);
        let mut tally = Tally::default();
        let flushed = self.flush_rest(io, &mut tally);
        sent.add(&tally);
        if self.taken(io) != before {
            self.progress_at = Instant::now();
        }
        flushed
    }

    fn flush_rest(&mut self, io: &Socket, tally: &mut Tally) -> io::Result<bool> {
        loop {
            while self.rest.has_remaining() {
                let Some(written) = self.write(io, tally, &self.rest.clone())? else {
                    return Ok(false);
                };
                self.rest.advance(written);
            }
            // An empty slice of a shared frame would keep the whole frame.
            self.rest = Bytes::new();
            match self.heartbeat.take() {
                Some(beat) => self.rest = Bytes::from_static(beat.frame()),
                None => return io.try_flush(),
            }
        }
    }

    /// Bytes that the socket has taken.
    fn taken(&self, io: &Socket) -> u64 {
        io.taken(self.written)
    }

    /// Writes as much as the socket takes at once. None when it takes nothing.
    fn write(&mut self, io: &Socket, tally: &mut Tally, bytes: &[u8]) -> io::Result<Option<usize>> {
        loop {
            tally.writes += 1;
            match io.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.written += written as u64;
                    tally.bytes += written;
                    return Ok(Some(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a new frame may begin.
    fn is_clear(&self, io: &Socket) -> bool {
        self.rest.is_empty()
            && self.heartbeat.is_none()
            && !self.is_tungstenite_writing
            && !io.has_unsent()
    }
}

impl Connection {
    pub(in crate::serve) fn new(io: Socket, packing: Packing, sent: Arc<Sent>) -> Self {
        let outbound = Outbound {
            rest: Bytes::new(),
            heartbeat: None,
            is_tungstenite_writing: false,
            written: 0,
            progress_at: Instant::now(),
            has_heard: false,
            heartbeat_end: None,
            notice: None,
            has_left: false,
        };
        Self { io, sent, packing, outbound: Mutex::new(outbound), waker: AtomicWaker::new() }
    }

    /// Whether the viewer takes compressed messages.
    pub(in crate::serve) fn packing(&self) -> Packing {
        self.packing
    }

    /// The socket.
    pub(in crate::serve) fn io(&self) -> &Socket {
        &self.io
    }

    /// Whether no frame is half written and none waits.
    pub(in crate::serve) fn is_clear(&self) -> bool {
        self.outbound.lock().is_clear(&self.io)
    }

    /// Bytes that the kernel has taken so far.
    pub(in crate::serve) fn taken(&self) -> u64 {
        self.outbound.lock().taken(&self.io)
    }

    /// The time since which the socket has taken none of the waiting bytes. It has no meaning while
    /// nothing waits.
    pub(in crate::serve) fn stuck_since(&self) -> Instant {
        self.outbound.lock().progress_at
    }

    /// Begins a frame of the viewer's own task, which [`poll_flush`](Self::poll_flush) then writes.
    /// Call it only when the connection is clear.
    pub(in crate::serve) fn start_frame(&self, frame: &Frame) {
        let mut outbound = self.outbound.lock();
        debug_assert!(outbound.is_clear(&self.io), "a frame began while another is half written");
        outbound.rest = frame.encoded(self.packing).clone();
        self.sent.frames.add(1);
        outbound.progress_at = Instant::now();
    }

    /// Writes shared frames, as far as the socket takes them at once, and counts what it writes.
    pub(in crate::serve) fn write_frames(
        &self,
        frames: &[Frame],
        tally: &mut Tally,
    ) -> WriteResult {
        let mut outbound = self.outbound.lock();
        if outbound.has_left {
            return WriteResult::Left;
        }
        if !outbound.is_clear(&self.io) {
            return WriteResult::Full(0);
        }
        for (at, frame) in frames.iter().enumerate() {
            let encoded = frame.encoded(self.packing);
            match outbound.write(&self.io, tally, encoded) {
                Ok(Some(written)) if written == encoded.len() && !self.io.has_unsent() => {
                    tally.frames += 1;
                }
                Ok(Some(written)) => {
                    tally.frames += 1;
                    outbound.rest = encoded.slice(written..);
                    outbound.progress_at = Instant::now();
                    return WriteResult::Full(at + 1);
                }
                // The viewer's task will get the same error.
                Ok(None) | Err(_) => return WriteResult::Full(at),
            }
        }
        WriteResult::Complete
    }

    /// Writes the rest of a frame and a waiting heartbeat.
    pub(in crate::serve) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbound.lock().flush(&self.io, &self.sent)? {
            ready!(self.io.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes bytes of tungstenite's, after the rest of a frame.
    pub(in crate::serve) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            {
                let mut outbound = self.outbound.lock();
                if outbound.flush(&self.io, &self.sent)? {
                    let mut tally = Tally::default();
                    let written = outbound.write(&self.io, &mut tally, bytes);
                    self.sent.add(&tally);
                    let written = written?;
                    let is_partial = written.is_none_or(|written| written < bytes.len());
                    if written.is_some() || (is_partial && !outbound.is_tungstenite_writing) {
                        outbound.progress_at = Instant::now();
                    }
                    outbound.is_tungstenite_writing = is_partial;
                    if let Some(written) = written {
                        return Poll::Ready(Ok(written));
                    }
                }
            }
            ready!(self.io.poll_write_ready(cx))?;
        }
    }

    /// Writes what waits in the connection itself.
    pub(in crate::serve) fn poll_flush_socket(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.io.try_flush()? {
            ready!(self.io.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Records that tungstenite has no half-written frame any more.
    pub(in crate::serve) fn end_tungstenite_frame(&self) {
        self.outbound.lock().is_tungstenite_writing = false;
    }

    /// Reads what the viewer sent. A viewer that sends all the time leaves other tasks their turn.
    pub(in crate::serve) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let turn = ready!(coop::poll_proceed(cx));
        loop {
            // First this: with TLS there may be bytes that the socket no longer has.
            match self.io.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    turn.made_progress();
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.io.poll_read_ready(cx))?;
        }
    }

    /// Records that the viewer has sent something.
    pub(in crate::serve) fn mark_heard(&self) {
        self.outbound.lock().has_heard = true;
    }

    /// Sends a heartbeat, at once or after what is half written.
    pub(in crate::serve) fn send_heartbeat(&self, beat: Beat) {
        let mut outbound = self.outbound.lock();
        outbound.has_heard = false;
        let end = outbound.taken(&self.io) + self.io.sent_len(beat.frame().len());
        outbound.heartbeat_end = NonZeroU64::new(end);
        let is_clear = outbound.is_clear(&self.io);
        outbound.heartbeat = Some(beat);
        // The viewer's task handles errors, and writes what the socket does not take now.
        let is_sent = is_clear && matches!(outbound.flush(&self.io, &self.sent), Ok(true));
        drop(outbound);
        if !is_sent {
            self.waker.wake();
        }
    }

    /// Ends the wait for an answer to the heartbeat. True if the viewer has sent nothing since, and
    /// its socket has taken nothing. A viewer that reads slowly, with the heartbeat still behind
    /// data, is not silent.
    pub(in crate::serve) fn is_silent(&self) -> bool {
        let mut outbound = self.outbound.lock();
        let (has_heard, taken) = (outbound.has_heard, outbound.taken(&self.io));
        outbound.heartbeat_end.take().is_some_and(|end| !has_heard && taken <= end.get())
    }

    /// Sends a notice to the viewer's task.
    pub(in crate::serve) fn notify(&self, notice: Notice) {
        self.outbound.lock().notice = Some(notice);
        self.waker.wake();
    }

    /// Takes the notice to the viewer's task.
    pub(in crate::serve) fn poll_notice(&self, cx: &mut Context<'_>) -> Poll<Notice> {
        self.waker.register(cx.waker());
        self.outbound.lock().notice.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Leaves the broadcast group for good. The group then writes no more.
    pub(in crate::serve) fn leave(&self) {
        self.outbound.lock().has_left = true;
    }

    /// Whether the viewer has left its broadcast group for good.
    pub(in crate::serve) fn has_left(&self) -> bool {
        self.outbound.lock().has_left
    }
}

#[cfg(test)]
pub(in crate::serve) mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::advance;

    /// Both ends of a connection: the server's, and the viewer's.
    pub(in crate::serve) async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (viewer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (accepted.unwrap().0, viewer.unwrap())
    }

    /// A connection to a viewer that has read nothing yet.
    pub(in crate::serve) async fn connected() -> (Arc<Connection>, TcpStream) {
        let (io, viewer) = pair().await;
        io.writable().await.unwrap();
        (Arc::new(Connection::new(io.into(), Packing::Plain, Arc::default())), viewer)
    }

    /// The viewer's end of a connection.
    trait ViewerEnd: AsyncRead + AsyncWrite + Unpin {}

    impl<T: AsyncRead + AsyncWrite + Unpin> ViewerEnd for T {}

    /// Connections of each kind to viewers that have read nothing yet.
    async fn each_kind() -> Vec<(&'static str, Arc<Connection>, Box<dyn ViewerEnd>)> {
        let (plain, viewer) = connected().await;
        let mut all: Vec<(_, _, Box<dyn ViewerEnd>)> = vec![("TCP", plain, Box::new(viewer))];
        #[cfg(feature = "tls")]
        {
            let (io, viewer) = crate::serve::tls::tests::pair().await;
            let connection = Arc::new(Connection::new(io, Packing::Plain, Arc::default()));
            all.push(("TLS", connection, Box::new(viewer)));
        }
        all
    }

    /// Writes large frames until the socket is full. Returns how many were begun.
    pub(in crate::serve) fn fill(connection: &Connection) -> usize {
        let frame = Frame::text(&"x".repeat(100_000));
        for count in 0.. {
            match connection.write_frames(std::slice::from_ref(&frame), &mut Tally::default()) {
                WriteResult::Complete => assert!(count < 1000, "it is never full"),
                WriteResult::Full(begun) => return count + begun,
                WriteResult::Left => panic!("nobody left"),
            }
        }
        unreachable!("the loop has no end")
    }

    /// Writes everything while the viewer reads as much.
    async fn flush_to(
        connection: &Connection,
        viewer: &mut (impl AsyncRead + Unpin),
        len: usize,
    ) -> Vec<u8> {
        let mut got = vec![0; len];
        let flush = poll_fn(|cx| connection.poll_flush(cx));
        let (flushed, read) = tokio::join!(flush, viewer.read_exact(&mut got));
        flushed.unwrap();
        read.unwrap();
        got
    }

    #[tokio::test]
    async fn a_frame_is_never_cut_into() {
        for (kind, connection, mut viewer) in each_kind().await {
            let begun = fill(&connection);
            assert!(!connection.is_clear(), "a frame is half written over {kind}");
            connection.send_heartbeat(Beat::Ping);
            let other = [Frame::text("other")];
            assert_eq!(
                connection.write_frames(&other, &mut Tally::default()),
                WriteResult::Full(0)
            );
            let frame = Frame::text(&"x".repeat(100_000)).encoded(Packing::Plain).clone();
            let whole = frame.repeat(begun);
            let got =
                flush_to(&connection, &mut viewer, whole.len() + Beat::Ping.frame().len()).await;
            assert!(got[..whole.len()] == whole, "a frame is not as it was over {kind}");
            assert_eq!(
                &got[whole.len()..],
                Beat::Ping.frame(),
                "the heartbeat comes after the frames"
            );
            assert!(connection.is_clear());
            assert_eq!(
                connection.write_frames(&other, &mut Tally::default()),
                WriteResult::Complete
            );
        }
    }

    #[tokio::test]
    async fn frames_of_tungstenite_and_data_do_not_mix() {
        for (kind, connection, mut viewer) in each_kind().await {
            connection.start_frame(&Frame::text("data"));
            let data = Frame::text("data").encoded(Packing::Plain).clone();
            let pong = b"\x8a\x00";
            let written = poll_fn(|cx| connection.poll_write(cx, pong)).await.unwrap();
            assert_eq!(written, pong.len());
            let mut got = vec![0; data.len() + pong.len()];
            viewer.read_exact(&mut got).await.unwrap();
            assert_eq!(got, [data.as_ref(), pong].concat(), "{kind}");
        }
    }

    #[tokio::test]
    async fn a_viewer_that_has_left_gets_nothing() {
        let (connection, _viewer) = connected().await;
        connection.leave();
        assert_eq!(
            connection.write_frames(&[Frame::text("x")], &mut Tally::default()),
            WriteResult::Left
        );
        assert_eq!(connection.taken(), 0);
    }

    #[tokio::test]
    async fn only_a_viewer_that_neither_sends_nor_takes_is_silent() {
        for (kind, connection, mut viewer) in each_kind().await {
            assert!(!connection.is_silent(), "no heartbeat was sent over {kind}");
            connection.send_heartbeat(Beat::Ping);
            assert!(connection.is_silent());
            assert!(!connection.is_silent(), "each heartbeat is judged once");
            connection.send_heartbeat(Beat::Ping);
            connection.mark_heard();
            assert!(!connection.is_silent(), "it has sent something");
            fill(&connection);
            connection.send_heartbeat(Beat::Ping);
            assert!(connection.is_silent(), "its socket is full");
            connection.send_heartbeat(Beat::Ping);
            let mut some = vec![0; 1 << 20];
            let reading = async {
                while connection.outbound.lock().rest.has_remaining() {
                    let _read = viewer.read(&mut some).await.unwrap();
                }
            };
            tokio::join!(async { poll_fn(|cx| connection.poll_flush(cx)).await.unwrap() }, reading);
            assert!(!connection.is_silent(), "it takes what there is");
        }
    }

    #[tokio::test]
    async fn a_notice_is_read_once_and_wakes_the_viewers_task() {
        let (connection, _viewer) = connected().await;
        let told = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { poll_fn(|cx| connection.poll_notice(cx)).await }
        });
        tokio::task::yield_now().await;
        connection.notify(Notice::Cut);
        assert!(matches!(told.await.unwrap(), Notice::Cut));
        let again = poll_fn(|cx| Poll::Ready(connection.poll_notice(cx))).await;
        assert!(again.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_is_stuck_since_it_took_something_last() {
        for (kind, connection, mut viewer) in each_kind().await {
            let begun = Instant::now();
            fill(&connection);
            advance(Duration::from_secs(30)).await;
            assert_eq!(connection.stuck_since(), begun, "{kind}");
            let mut some = vec![0; 16 << 20];
            let mut left = true;
            while left {
                let _read = viewer.read(&mut some).await.unwrap();
                left = !connection.outbound.lock().flush(&connection.io, &connection.sent).unwrap();
            }
            assert!(connection.stuck_since() >= begun + Duration::from_secs(30));
            viewer.shutdown().await.unwrap();
        }
    }
}
