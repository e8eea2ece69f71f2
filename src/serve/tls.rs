//! TLS on the TCP addresses: the certificate, the handshake, and the records on a socket.
//!
//! rustls encrypts and tokio-rustls shakes hands. After the handshake this module drives the
//! connection itself, since viewers are written to without a future, from more than one task.

mod certificate;
mod handshake;
mod plain_http;
mod records;

pub use certificate::{BadCertificate, BadFile, Certificate};
pub(super) use handshake::{Arrival, arrive};
pub(super) use plain_http::answer as answer_plain_http;
pub(super) use records::TlsStream;
