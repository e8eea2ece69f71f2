//! The address that the server listens on.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::cli::failure::Failure;

/// The length of the accept queue, as far as `net.core.somaxconn` allows. When all viewers
/// reconnect at once, those that find no place try again after 1, 3, 7, 15 and 31 s.
const BACKLOG: u32 = 16_384;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on the first address of the host on which that succeeds.
pub(super) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::ErrorKind::AddrNotAvailable.into();
    for address in lookup_host((bare, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

pub(super) fn cannot_listen(host: &str, port: u16, error: io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program uses the port: give `--port 0` for a free one".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "only root can listen on ports below 1024: give `--port 8765`".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => format!(
            "`{host}` is not an address of this machine: give `--host 127.0.0.1`, or \
             `--host 0.0.0.0` for all addresses"
        ),
        _ => format!("check that `{host}` is a name or an address of this machine"),
    };
    let error = anyhow::Error::new(error).context(format!("cannot listen on `{host}:{port}`"));
    Failure::usage(error, hint)
}

/// Prints the address as a link, once it is bound.
pub(super) fn announce(address: SocketAddr) {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let link = SocketAddr::new(ip, address.port());
    let mut out = io::stdout().lock();
    // The server works without stdout, too.
    if let Err(error) = writeln!(out, "http://{link}/").and_then(|()| out.flush()) {
        tracing::debug!(%error, "cannot print the address");
    }
}
