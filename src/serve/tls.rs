//! TLS on the TCP addresses: the certificate, the handshake, and the records on a socket.
//!
//! rustls encrypts and tokio-rustls shakes hands. After the handshake this module drives the
//! connection itself, since viewers are written to without a future, from more than one task.

mod certificate;
mod handshake;
mod handshakes;
mod plain_http;
mod records;

pub use certificate::{BadCertificate, BadFile, Certificate};
pub(super) use handshake::{Arrival, arrive};
pub(super) use handshakes::Handshakes;
pub(super) use plain_http::answer as answer_plain_http;
pub(super) use records::TlsStream;

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream as ClientStream;

    use super::*;
    use crate::serve::socket::{Peer, Socket};
    use crate::serve::websocket::connection::tests::pair as tcp_pair;

    /// A new certificate, and a client that trusts it.
    fn certificate() -> (Certificate, Arc<ClientConfig>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["logs.example".to_owned()]).unwrap();
        let own = params.self_signed(&key).unwrap();
        let (chain, key) = (own.pem(), key.serialize_pem());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(certificate::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (certificate, Arc::new(client))
    }

    /// Both ends of a connection after the handshake: the server's, and the viewer's.
    pub(in crate::serve) async fn pair() -> (Socket, ClientStream<TcpStream>) {
        let (accepted, viewer) = tcp_pair().await;
        let peer = Peer::Tcp(accepted.peer_addr().unwrap());
        let (certificate, client) = certificate();
        let name = ServerName::try_from("logs.example").unwrap();
        let connecting = TlsConnector::from(client).connect(name, viewer);
        let (arrived, viewer) =
            tokio::join!(arrive(accepted.into(), peer, Some(&certificate)), connecting);
        match arrived.unwrap() {
            Arrival::Ready(socket, Peer::Tls(_)) => (socket, viewer.unwrap()),
            Arrival::Ready(..) | Arrival::PlainHttp(_) => panic!("it is no TLS"),
        }
    }
}
