//! Asks a server how it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::client::BadUrl;
#[cfg(feature = "tls")]
use crate::client::Trust;
use crate::client::url::UrlParts;

/// The longest time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The address of a server: `http://host:8765/base`, `https://…` or `unix:/run/tailcast.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    socket: Option<PathBuf>,
    has_tls: bool,
    authority: String,
    base: String,
}

impl std::str::FromStr for ServerUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if let Some(path) = text.strip_prefix("unix:") {
            let local = Self::from_str("http://localhost")?;
            return Ok(Self { socket: Some(path.into()), ..local });
        }
        let UrlParts { has_tls, authority, path, .. } = UrlParts::parse(text)?;
        let base = path.trim_end_matches('/').to_owned();
        Ok(Self { socket: None, has_tls, authority: authority.to_owned(), base })
    }
}

/// What `/_/healthz` of a server answers: the body, if the status is 200.
///
/// The certificate of the server is not checked: nothing is sent that others may not know.
///
/// # Errors
/// When there is no answer within 5 s, or another one.
pub async fn health(server: &ServerUrl) -> io::Result<String> {
    let answering = timeout(ANSWER_TIMEOUT, answer(server));
    let answer = answering.await.map_err(|_| io::Error::other("no answer within 5 s"))??;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ if status.starts_with("HTTP/") => Err(io::Error::other(format!("it answers {status}"))),
        _ => Err(io::Error::other("it does not speak HTTP")),
    }
}

async fn answer(server: &ServerUrl) -> io::Result<String> {
    let ServerUrl { socket, has_tls, authority, base } = server;
    let request = format!("GET {base}/_/healthz HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    if let Some(path) = socket {
        return exchange(UnixStream::connect(path).await?, &request).await;
    }
    let after_host = authority.rsplit(']').next().unwrap_or_default();
    let has_port = after_host.contains(':');
    let port = if *has_tls { 443 } else { 80 };
    let address = if has_port { authority.clone() } else { format!("{authority}:{port}") };
    let stream = TcpStream::connect(&address).await?;
    #[cfg(feature = "tls")]
    if *has_tls {
        let host = address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        return exchange(Trust::anybody().connect(host, stream).await?, &request).await;
    }
    exchange(stream, &request).await
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
