//! The socket of a connection, whatever its kind.
//!
//! The WebSocket side writes to it without blocking and without a future; hyper drives it as an
//! asynchronous stream. Another kind of connection is another variant here.

use std::fmt::{self, Display, Formatter};
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::SendFlags;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[cfg(feature = "tls")]
use crate::serve::tls::TlsStream;

/// The size of the kernel's send buffer. The kernel doubles it for its own book-keeping (socket(7),
/// SO_SNDBUF).
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// Unsent bytes in the kernel above which a socket counts as full (tcp(7), TCP_NOTSENT_LOWAT).
const UNSENT_BYTES: u32 = 64 * 1024;
/// The most bytes that TLS adds to what is encrypted at once, if it fits into one record (RFC 5246,
/// section 6.2.3).
#[cfg(feature = "tls")]
const RECORD_OVERHEAD_BYTES: u64 = 64;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

/// The other end of a connection, as log lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    /// The same, after a TLS handshake.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "there is no handshake"))]
    Tls(SocketAddr),
    /// A program of this machine. Its socket has no name.
    Unix,
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) | Self::Tls(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Where a server listens.
#[derive(Debug)]
pub enum Listener {
    /// A TCP address.
    Tcp(TcpListener),
    /// A unix socket. Whoever bound it removes its file.
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// All addresses of a server.
#[derive(Debug, Default)]
pub struct Listeners(pub(super) Vec<Listener>);

impl<L: Into<Listener>> From<L> for Listeners {
    fn from(listener: L) -> Self {
        Self(vec![listener.into()])
    }
}

impl FromIterator<Listener> for Listeners {
    fn from_iter<I: IntoIterator<Item = Listener>>(listeners: I) -> Self {
        Self(listeners.into_iter().collect())
    }
}

impl Listener {
    /// Waits for a connection. Dropping the future loses none.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Peer::Tcp(address)))
            }
            Self::Unix(listener) => Ok((Socket::Unix(listener.accept().await?.0), Peer::Unix)),
        }
    }
}

impl Display for Listener {
    /// The address, as `--listen` names it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("tcp"),
            },
            Self::Unix(listener) => {
                let address = listener.local_addr();
                match address.as_ref().map(|address| address.as_pathname()) {
                    Ok(Some(path)) => write!(f, "unix:{}", path.display()),
                    Ok(None) | Err(_) => f.write_str("unix"),
                }
            }
        }
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// Sends what the socket takes at once.
fn send_now(socket: impl AsFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
}

impl Socket {
    /// Bounds what the kernel holds for the peer.
    pub(super) fn bound_buffers(&self) -> io::Result<()> {
        let socket = SockRef::from(self);
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        if let Self::Tcp(stream) = self {
            stream.set_nodelay(true)?;
            socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
        }
        Ok(())
    }

    /// Gives the connection the lowest free descriptor.
    pub(super) fn renumber(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(TcpStream::from_std(stream.into_std()?.try_clone()?)?),
            Self::Unix(stream) => {
                Self::Unix(UnixStream::from_std(stream.into_std()?.try_clone()?)?)
            }
            // Its number was found before the handshake.
            #[cfg(feature = "tls")]
            Self::Tls(_) => self,
        })
    }

    /// Writes as much as the socket takes at once. With TLS, of the last bytes a part may
    /// [wait](Self::has_unsent).
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // A socket that is full is a matter for tokio, which then knows when it takes more. Most
            // are not, and that is known without a look at what tokio knows of them.
            Self::Tcp(stream) => send_now(stream, bytes).or_else(|_| stream.try_write(bytes)),
            Self::Unix(stream) => send_now(stream, bytes).or_else(|_| stream.try_write(bytes)),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_write(bytes),
        }
    }

    /// Reads what is there.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_read(buffer),
        }
    }

    /// Writes what waits in the connection itself. False when the socket takes no more.
    pub(super) fn try_flush(&self) -> io::Result<bool> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_flush(),
        }
    }

    /// Whether bytes wait in the connection itself. Only TLS holds any: the rest of a record.
    pub(super) fn has_unsent(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.has_unsent(),
        }
    }

    /// Bytes that the kernel has taken, if `written` bytes were passed to this socket.
    pub(super) fn taken(&self, written: u64) -> u64 {
        match self {
            Self::Tcp(_) | Self::Unix(_) => written,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.taken(),
        }
    }

    /// The most bytes that the kernel takes for a message of this length, if it is a short one.
    pub(super) fn sent_len(&self, len: usize) -> u64 {
        match self {
            Self::Tcp(_) | Self::Unix(_) => len as u64,
            #[cfg(feature = "tls")]
            Self::Tls(_) => len as u64 + RECORD_OVERHEAD_BYTES,
        }
    }

    /// Waits until the socket takes bytes.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.stream().poll_write_ready(cx),
        }
    }

    /// Waits until the peer has sent something.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.stream().poll_read_ready(cx),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => SockRef::from(self).shutdown(Shutdown::Write),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.shutdown_write(),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.stream().as_fd(),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            // Not called, because of the answer below.
            #[cfg(feature = "tls")]
            Self::Tls(stream) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                stream.poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(_) => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}
