//! The addresses that the server listens on.

use std::fmt::{self, Display, Formatter};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, lookup_host};

use crate::cli::failure::Failure;
use crate::serve::{BasePath, Listener};

/// The length of the accept queue, as far as `net.core.somaxconn` allows. When all viewers
/// reconnect at once, those that find no place try again after 1, 3, 7, 15 and 31 s.
const BACKLOG: u32 = 16_384;
/// Who may connect to a unix socket: its user and its group.
const SOCKET_MODE: u32 = 0o660;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ListenAddress {
    /// A host name or an IP address, and a port. An IPv6 address has no brackets here.
    Tcp { host: String, port: u16 },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The host name, which browsers may use.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Self::Unix(path)),
                false => Err("expected an absolute path after `unix:`".to_owned()),
            };
        }
        let expected = || "expected `HOST:PORT`, `[IPV6]:PORT` or `unix:/path`".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_valid = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty() && !host.contains([':', '[', ']', '/']),
        };
        if !is_valid {
            return Err(expected());
        }
        Ok(Self::Tcp { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl Display for ListenAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a server listens on. Dropping it removes the files of the unix sockets.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) listeners: Vec<Listener>,
    /// The link to each address, for people.
    pub(super) links: Vec<String>,
    files: Vec<SocketFile>,
}

impl Bound {
    /// Listens on all addresses. The links to TCP addresses have this scheme.
    ///
    /// # Errors
    /// The first address on which that fails. Nothing is left of the others.
    pub(super) async fn to(addresses: &[ListenAddress], scheme: &str) -> Result<Self, Failure> {
        let mut bound = Self::default();
        for address in addresses {
            let cannot_listen = |error| cannot_listen(address, error);
            match address {
                ListenAddress::Tcp { host, port } => {
                    let listener = bind(host, *port).await.map_err(cannot_listen)?;
                    let bound_to = listener.local_addr().map_err(cannot_listen)?;
                    bound.links.push(link(scheme, bound_to));
                    bound.listeners.push(listener.into());
                }
                ListenAddress::Unix(path) => {
                    let (listener, file) = bind_unix(path).map_err(cannot_listen)?;
                    bound.links.push(address.to_string());
                    bound.listeners.push(listener.into());
                    bound.files.push(file);
                }
            }
        }
        Ok(bound)
    }

    /// Whether other machines can connect.
    pub(super) fn is_reachable(&self) -> bool {
        self.listeners.iter().any(|listener| match listener {
            Listener::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|address| !address.ip().to_canonical().is_loopback()),
            Listener::Unix(_) => false,
        })
    }

    /// Prints the addresses, once they are bound. The server works without stdout, too.
    pub(super) fn announce(&self, base: &BasePath) {
        let mut out = io::stdout().lock();
        let printed = self.links.iter().try_for_each(|link| writeln!(out, "{link}{base}/"));
        if let Err(error) = printed.and_then(|()| out.flush()) {
            tracing::debug!(%error, "cannot print the address");
        }
    }
}

/// The file of a unix socket. It is removed with this value, if it still is the same.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|present| present == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    // Nobody else may connect before the mode is set.
    let previous = umask(Mode::from_raw_mode(0o177));
    let bound = socket.bind(path);
    umask(previous);
    bound?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Removes the socket of a server that has ended without doing so. A socket on which somebody
/// listens, and any other file, stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !is_socket {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is a file, and no socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Ok(_) | Err(_) => Err(rustix::io::Errno::ADDRINUSE.into()),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on the first address of the host on which that succeeds.
async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
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

fn cannot_listen(address: &ListenAddress, error: io::Error) -> Failure {
    let hint = match (address, error.kind()) {
        (ListenAddress::Unix(_), io::ErrorKind::AddrInUse) => {
            "another program listens there: end it, or give another path".to_owned()
        }
        (ListenAddress::Unix(path), io::ErrorKind::PermissionDenied) => {
            format!(
                "this user may not make `{}`: give a path in a directory of its own",
                path.display()
            )
        }
        (ListenAddress::Unix(_), _) => {
            "give the path of a socket in a directory that exists, of at most 107 bytes".to_owned()
        }
        (_, io::ErrorKind::AddrInUse) => {
            "another program uses the port: give `--port 0` for a free one".to_owned()
        }
        (_, io::ErrorKind::PermissionDenied) => {
            "only root can listen on ports below 1024: give `--port 8765`".to_owned()
        }
        (ListenAddress::Tcp { host, .. }, io::ErrorKind::AddrNotAvailable) => format!(
            "`{host}` is not an address of this machine: give `127.0.0.1`, or `0.0.0.0` for all \
             addresses"
        ),
        (ListenAddress::Tcp { host, .. }, _) => {
            format!("check that `{host}` is a name or an address of this machine")
        }
    };
    let error = anyhow::Error::new(error).context(format!("cannot listen on `{address}`"));
    Failure::usage(error, hint)
}

/// The link to an address.
pub(super) fn link(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_unix_socket() {
        for (text, host, port) in [
            ("127.0.0.1:80", "127.0.0.1", 80),
            ("logs.example:0", "logs.example", 0),
            ("[::1]:8765", "::1", 8765),
        ] {
            let address = ListenAddress::Tcp { host: host.to_owned(), port };
            assert_eq!(text.parse(), Ok(address.clone()), "{text}");
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("unix:/run/a.sock".parse(), Ok(ListenAddress::Unix("/run/a.sock".into())));
        for text in [
            "",
            "80",
            ":80",
            "host:",
            "host:70000",
            "::1:80",
            "[a]:80",
            "http://a:80",
            "unix:",
            "unix:a",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (listener, file) = bind_unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(file);
        assert!(!path.exists(), "it is removed at the end");
        drop(listener);
        let (_listener, file) = bind_unix(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "not a socket").unwrap();
        drop(file);
        assert!(std::fs::metadata(&path).unwrap().is_file(), "it is another's");
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 12, "it is as it was");
    }
}
