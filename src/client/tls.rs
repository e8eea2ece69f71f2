//! TLS from the client's side: whom it trusts, and what is wrong with a server's certificate.

use std::fmt::{self, Debug, Display, Formatter};
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Which certificates of servers are trusted.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl Debug for Trust {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

/// Why a server's certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// Nobody who is trusted has issued it.
    Issuer,
    /// It is the certificate of an authority, as `openssl req -x509` makes it.
    Authority,
    /// It has expired, or is not valid yet. Contains which of them, in words.
    Time(String),
    /// It is for other names. Contains them, as far as they are known.
    Name(Vec<String>),
    /// It is wrong in another way. Contains that in words.
    Other(String),
}

impl Display for Untrusted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer => {
                f.write_str("the server's certificate is not issued by anybody who is trusted here")
            }
            Self::Authority => f.write_str(
                "the server's certificate is that of an authority, which no server may have",
            ),
            Self::Time(words) => write!(f, "the server's certificate {words}"),
            Self::Name(names) if names.is_empty() => {
                f.write_str("the server's certificate is for another name")
            }
            Self::Name(names) => {
                write!(f, "the server's certificate is for another name: {}", names.join(", "))
            }
            Self::Other(words) => write!(f, "the server's certificate is wrong: {words}"),
        }
    }
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TlsError {
    Untrusted(Untrusted),
    /// The server speaks something else.
    NotTls,
    /// The connection or the handshake broke. Contains the error.
    Broken(String),
}

impl TlsError {
    /// The meaning of an error of a handshake.
    pub(crate) fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(wrong)) => Self::Untrusted(untrusted(wrong)),
            Some(rustls::Error::InvalidMessage(_)) => Self::NotTls,
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                Self::NotTls
            }
            Some(error) => Self::Broken(error.to_string()),
            None => Self::Broken(super::connection::without_code(error)),
        }
    }
}

impl Display for TlsError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(untrusted) => Display::fmt(untrusted, f),
            Self::NotTls => f.write_str("the server speaks no TLS there"),
            Self::Broken(words) => write!(f, "no TLS connection: {words}"),
        }
    }
}

fn untrusted(error: &CertificateError) -> Untrusted {
    match error {
        CertificateError::UnknownIssuer => Untrusted::Issuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            Untrusted::Time("has expired".to_owned())
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Untrusted::Time("is not valid yet".to_owned())
        }
        CertificateError::NotValidForName => Untrusted::Name(Vec::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            Untrusted::Name(presented.clone())
        }
        CertificateError::Other(other) if other.to_string() == "CaUsedAsEndEntity" => {
            Untrusted::Authority
        }
        error => Untrusted::Other(error.to_string()),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn with_roots(roots: RootCertStore) -> Trust {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.expect("ring has the suites of TLS 1.2 and 1.3");
    Trust::of(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Trust {
    fn of(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// Trusts whom this machine trusts. The variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name other
    /// authorities.
    #[must_use]
    pub fn system() -> Self {
        static SYSTEM: OnceLock<Trust> = OnceLock::new();
        let load = || {
            let loaded = rustls_native_certs::load_native_certs();
            for error in loaded.errors {
                tracing::warn!(%error, "cannot read a certificate of this machine");
            }
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(loaded.certs);
            with_roots(roots)
        };
        SYSTEM.get_or_init(load).clone()
    }

    /// Trusts only the authorities in the content of a PEM file. A server's own certificate can
    /// stand there, too, if it is its own issuer and says that it is no authority.
    ///
    /// # Errors
    /// When there is no certificate in it.
    pub fn in_authorities(pem: &[u8]) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("it is damaged: {error}"))?;
            roots.add(certificate).map_err(|error| format!("a certificate is wrong: {error}"))?;
        }
        if roots.is_empty() {
            return Err("it has no certificate".to_owned());
        }
        Ok(with_roots(roots))
    }

    /// Trusts everybody, so that anyone on the way can read and change everything.
    #[must_use]
    pub fn anybody() -> Self {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("ring has the suites of TLS 1.2 and 1.3").dangerous();
        let unverified = builder.with_custom_certificate_verifier(Arc::new(Unverified(provider())));
        Self::of(unverified.with_no_client_auth())
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// Shakes hands with the server of this name.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.config()).connect(server_name(host)?, stream).await
    }
}

/// The name or address of a server.
pub(crate) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let name = ServerName::try_from(host.to_owned());
    name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Accepts every certificate, but only from a server that has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
