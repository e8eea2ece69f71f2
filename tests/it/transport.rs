//! The transports of the tests: TCP, and TLS over it.
//!
//! A server that speaks TLS is remembered by its address, and every client of these tests speaks it
//! to that server. So a test is the same over both. With `TAILCAST_TEST_TLS=1` in the environment
//! all servers speak TLS, in this process and as the program.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tailcast::serve::{Certificate, Settings};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

static WITH_TLS: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);

/// The authority that all clients of these tests trust.
static AUTHORITY: LazyLock<CertifiedIssuer<'static, KeyPair>> = LazyLock::new(|| {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority for tests");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
});

/// How the clients of a test reach its server.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    Tcp,
    Tls,
}

impl Transport {
    /// Settings of a server that is reached in this way.
    pub fn of(self, settings: Settings) -> Settings {
        match self {
            Self::Tcp => settings,
            Self::Tls => Settings { certificate: Some(Pem::new().certificate()), ..settings },
        }
    }
}

/// Makes tests of these functions, each over TCP and over TLS.
macro_rules! over_tcp_and_tls {
    ($($name:ident),+ $(,)?) => {
        mod over_tcp {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::transport::Transport::Tcp).await;
                }
            )+
        }
        mod over_tls {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::transport::Transport::Tls).await;
                }
            )+
        }
    };
}

pub(crate) use over_tcp_and_tls;

/// A certificate with its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pem {
    pub chain: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Pem {
    /// A new certificate for the server of a test.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// A new certificate, after these changes.
    pub fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let issuer: &Issuer<'_, KeyPair> = &AUTHORITY;
        let certificate = params.signed_by(&key, issuer).unwrap();
        Self { chain: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }

    /// Writes it where a server with [`arguments`](Self::arguments) reads it.
    pub fn write(&self, directory: &Path) {
        crate::servers::put(directory.join("chain.pem"), &self.chain);
        crate::servers::put(directory.join("key.pem"), &self.key);
    }

    /// The flags that name the files in a directory.
    pub fn arguments(directory: &Path) -> [String; 4] {
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        ["--tls-cert".to_owned(), path("chain.pem"), "--tls-key".to_owned(), path("key.pem")]
    }

    pub fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.chain.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// The certificate of the authority, as PEM.
pub fn authority() -> String {
    AUTHORITY.pem()
}

/// Whether all servers are to speak TLS.
pub fn is_everything_encrypted() -> bool {
    std::env::var_os("TAILCAST_TEST_TLS").is_some_and(|value| value == "1")
}

/// Settings of a server that speaks TLS.
pub fn encrypted() -> Settings {
    Transport::Tls.of(Settings::default())
}

/// Notes whether the server at this address speaks TLS. An earlier one at the same port may have.
pub fn note(address: SocketAddr, has_tls: bool) {
    let mut with_tls = WITH_TLS.lock().unwrap();
    if has_tls {
        with_tls.insert(address);
    } else {
        with_tls.remove(&address);
    }
}

/// The scheme of the server at this address.
pub fn scheme(address: SocketAddr) -> &'static str {
    if WITH_TLS.lock().unwrap().contains(&address) { "https" } else { "http" }
}

/// What a client offers in its handshake.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(AUTHORITY.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A connection to a server, with TLS if the server speaks it.
pub enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// Connects to a server.
    pub async fn to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        if scheme(address) == "http" {
            return Ok(Self::Plain(stream));
        }
        Self::tls(stream, client_config(rustls::ALL_VERSIONS)).await
    }

    /// Shakes hands.
    pub async fn tls(stream: TcpStream, config: ClientConfig) -> io::Result<Self> {
        let name = ServerName::IpAddress(stream.peer_addr()?.ip().into());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
