//! The beginning of a connection to a TCP address with TLS.

use std::io;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::serve::socket::{Peer, Socket};
use crate::serve::tls::{Certificate, TlsStream};

/// How a connection begins.
pub(in crate::serve) enum Arrival {
    /// As it should.
    Ready(Socket, Peer),
    /// With HTTP where TLS is spoken.
    PlainHttp(Socket),
}

/// Shakes hands, if the address is one with TLS. The caller bounds the time.
///
/// # Errors
/// Those of the socket, and of a peer that speaks another protocol.
pub(in crate::serve) async fn arrive(
    socket: Socket,
    peer: Peer,
    certificate: Option<&Certificate>,
) -> io::Result<Arrival> {
    match (socket, peer, certificate) {
        (Socket::Tcp(stream), Peer::Tcp(address), Some(certificate)) => {
            if begins_with_http(&stream).await? {
                return Ok(Arrival::PlainHttp(stream.into()));
            }
            let acceptor = TlsAcceptor::from(certificate.config());
            let (stream, connection) = Box::pin(acceptor.accept(stream)).await?.into_inner();
            let socket = Socket::Tls(Box::new(TlsStream::new(stream, connection)));
            Ok(Arrival::Ready(socket, Peer::Tls(address)))
        }
        (socket, peer, _) => Ok(Arrival::Ready(socket, peer)),
    }
}

/// Whether the first byte is that of a method. A TLS handshake begins with 22.
async fn begins_with_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first.iter().all(u8::is_ascii_alphabetic)),
    }
}
