//! The socket of a viewer, with TLS or without.

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use rustls::ClientConnection;

use crate::bench::load::Target;
use crate::client::connection::without_code;
#[cfg(feature = "tls")]
use crate::client::tls::TlsError;

/// A connection that reads and writes without blocking.
pub(super) struct Io {
    stream: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Box<ClientConnection>>,
}

impl Io {
    /// A connection to a target, with a handshake that is not begun.
    pub(super) fn new(stream: TcpStream, target: &Target) -> io::Result<Self> {
        #[cfg(feature = "tls")]
        {
            let begin = |(config, name): &(Arc<_>, rustls::pki_types::ServerName<'static>)| {
                ClientConnection::new(Arc::clone(config), name.clone()).map(Box::new)
            };
            let tls = target.tls.as_ref().map(begin).transpose().map_err(io::Error::other)?;
            Ok(Self { stream, tls })
        }
        #[cfg(not(feature = "tls"))]
        {
            let _ = target;
            Ok(Self { stream })
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// Writes what waits, as far as the socket takes it at once.
#[cfg(feature = "tls")]
fn flush(tls: &mut ClientConnection, stream: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(stream) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
                tls.read_tls(&mut self.stream)?;
                let processed = tls.process_new_packets();
                flush(tls, &mut self.stream)?;
                processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
        }
        self.stream.read(buffer)
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            // Before the end of the handshake it waits in the connection.
            let written = tls.writer().write(bytes)?;
            flush(tls, &mut self.stream)?;
            return Ok(written);
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An error of a connection, in words.
pub(super) fn words(error: &io::Error) -> String {
    #[cfg(feature = "tls")]
    if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        return TlsError::of(error).to_string();
    }
    without_code(error)
}
