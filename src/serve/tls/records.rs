//! A connection with TLS after the handshake.
//!
//! The records of a connection are its own: its keys, its numbers. So messages are shared among
//! viewers, and each connection encrypts them for itself. At most one record is made at a time, and
//! none while the socket has not taken the last one, so little memory waits in a connection whose
//! peer is slow.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Bytes that are encrypted before the socket must have taken them: one full record (RFC 8446,
/// section 5.1).
const RECORD_BYTES: usize = 16 * 1024;

/// A socket and the state of its records. Both directions share that state.
#[derive(Debug)]
pub(in crate::serve) struct TlsStream {
    stream: TcpStream,
    records: Mutex<Records>,
}

#[derive(Debug)]
struct Records {
    connection: ServerConnection,
    /// Bytes of records that the socket has taken since the handshake.
    taken: u64,
}

/// A socket that reads and writes at once or not at all.
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Records {
    /// Writes the records that wait. False when the socket takes no more.
    fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut AtOnce(stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.taken += written as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Encrypts and writes until the socket is full. Returns how many bytes were encrypted; of the
    /// last ones, a part of their record may wait.
    fn write(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        if !self.flush(stream)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let accepted = self.connection.writer().write(rest)?;
            rest = rest.get(accepted..).unwrap_or_default();
            if accepted == 0 || !self.flush(stream)? {
                break;
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Reads records until there are bytes in one. Zero is the end.
    fn read(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer has not said that it ends. HTTP and WebSocket tell the end of a message
                // themselves, so nothing can be cut off unseen.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.connection.read_tls(&mut AtOnce(stream))?;
            let processed = self.connection.process_new_packets();
            // What came may have an answer: an alert, or new keys.
            let flushed = self.flush(stream);
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            flushed?;
        }
    }
}

impl TlsStream {
    /// Takes over a connection after the handshake.
    pub(super) fn new(stream: TcpStream, mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(RECORD_BYTES));
        Self { stream, records: Mutex::new(Records { connection, taken: 0 }) }
    }

    /// The socket.
    pub(in crate::serve) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Encrypts and writes as much as the socket takes at once.
    pub(in crate::serve) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.records.lock().write(&self.stream, bytes)
    }

    /// Reads what is there.
    pub(in crate::serve) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.records.lock().read(&self.stream, buffer)
    }

    /// Writes the records that wait. False when the socket takes no more.
    pub(in crate::serve) fn try_flush(&self) -> io::Result<bool> {
        self.records.lock().flush(&self.stream)
    }

    /// Whether the socket has not taken all records.
    pub(in crate::serve) fn has_unsent(&self) -> bool {
        self.records.lock().connection.wants_write()
    }

    /// Bytes of records that the socket has taken since the handshake.
    pub(in crate::serve) fn taken(&self) -> u64 {
        self.records.lock().taken
    }

    /// Says that nothing more will be written, as far as the socket takes that at once.
    pub(in crate::serve) fn shutdown_write(&self) -> io::Result<()> {
        let mut records = self.records.lock();
        records.connection.send_close_notify();
        records.flush(&self.stream)?;
        SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }

    pub(in crate::serve) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|read| buffer.advance(read))),
            }
            ready!(self.stream.poll_read_ready(cx))?;
        }
    }

    pub(in crate::serve) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            ready!(self.stream.poll_write_ready(cx))?;
        }
    }

    pub(in crate::serve) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.try_flush()? {
            ready!(self.stream.poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    pub(in crate::serve) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Repeated calls send it once.
        self.records.lock().connection.send_close_notify();
        ready!(self.poll_flush(cx))?;
        Poll::Ready(SockRef::from(&self.stream).shutdown(Shutdown::Write))
    }
}

impl Drop for TlsStream {
    fn drop(&mut self) {
        // Without this a client must take the end for an interruption.
        let records = self.records.get_mut();
        records.connection.send_close_notify();
        if let Err(error) = records.flush(&self.stream) {
            tracing::debug!(%error, "can't tell the end of a connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::serve::socket::Socket;
    use crate::serve::tls::tests::pair;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Writes until the socket is full. Returns how many bytes were encrypted.
    fn fill(socket: &Socket, bytes: &[u8]) -> usize {
        let mut encrypted = 0;
        while !socket.has_unsent() {
            assert!(encrypted < 1 << 30, "it is never full");
            encrypted += socket.try_write(bytes).unwrap();
        }
        encrypted
    }

    #[tokio::test]
    async fn at_most_one_record_waits_for_a_full_socket_and_nothing_is_lost() {
        let (socket, mut viewer) = pair().await;
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
        let encrypted = fill(&socket, &bytes);
        let taken = socket.taken(0);
        // Each record adds some bytes, so that the difference is less than what waits.
        assert!(encrypted as u64 <= taken + super::RECORD_BYTES as u64, "{encrypted} {taken}");
        let error = socket.try_write(&bytes).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        let (mut got, mut block) = (Vec::new(), vec![0; 1 << 20]);
        while got.len() < encrypted {
            socket.try_flush().unwrap();
            let read = viewer.read(&mut block).await.unwrap();
            assert!(read > 0, "it ended");
            got.extend_from_slice(&block[..read]);
        }
        assert!(!socket.has_unsent());
        let expected: Vec<u8> = bytes.iter().copied().cycle().take(bytes.len()).collect();
        let (whole, rest) = got.as_chunks::<100_000>();
        assert!(whole.iter().all(|chunk| chunk[..] == expected[..]), "a byte is wrong");
        assert!(expected.starts_with(rest), "a byte of the last write is wrong");
    }

    #[tokio::test]
    async fn bytes_that_were_decrypted_are_read_although_the_socket_has_none_left() {
        let (mut socket, mut viewer) = pair().await;
        viewer.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        for at in 0..5 {
            let reading = timeout(DEADLINE, socket.read_exact(&mut got[at..=at]));
            reading.await.expect("it waits for the socket").unwrap();
        }
        assert_eq!(&got, b"hello");
    }

    #[tokio::test]
    async fn a_viewer_may_change_its_keys_at_any_time() {
        let (mut socket, mut viewer) = pair().await;
        for byte in 0..20 {
            viewer.get_mut().1.refresh_traffic_keys().unwrap();
            viewer.write_u8(byte).await.unwrap();
            assert_eq!(socket.read_u8().await.unwrap(), byte);
            socket.write_u8(byte).await.unwrap();
            assert_eq!(viewer.read_u8().await.unwrap(), byte);
        }
    }

    #[tokio::test]
    async fn an_end_is_told_however_a_connection_ends() {
        let (socket, mut viewer) = pair().await;
        drop(socket);
        // Without the alert this is an error.
        assert_eq!(viewer.read(&mut [0]).await.unwrap(), 0);
        let (mut socket, mut viewer) = pair().await;
        socket.shutdown().await.unwrap();
        assert_eq!(viewer.read(&mut [0]).await.unwrap(), 0);
        let (socket, mut viewer) = pair().await;
        socket.shutdown_write().unwrap();
        assert_eq!(viewer.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_is_no_record_is_answered_with_an_alert_and_ends() {
        let (mut socket, mut viewer) = pair().await;
        viewer.get_mut().0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let error = socket.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        let told = timeout(DEADLINE, viewer.read_u8()).await.expect("nothing is told");
        assert!(told.unwrap_err().to_string().contains("lert"));
    }
}
