//! Asks a server how it is.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Uri;

use crate::client::BadUrl;
#[cfg(feature = "tls")]
use crate::client::Trust;
use crate::client::connection::authority;
#[cfg(feature = "tls")]
use crate::client::connection::has_tls;
use crate::client::url::UrlParts;

/// The longest time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The address of a server: `http://host:8765/base`, `https://…` or `unix:/run/tailcast.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    socket: Option<PathBuf>,
    /// Without its path.
    url: Uri,
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
        let scheme = if has_tls { "https" } else { "http" };
        let url = format!("{scheme}://{authority}/").parse().map_err(|_| BadUrl::Host)?;
        Ok(Self { socket: None, url, base })
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
    let ServerUrl { socket, url, base } = server;
    let named = url.authority().map_or("", |authority| authority.as_str());
    let request = format!("GET {base}/_/healthz HTTP/1.0\r\nHost: {named}\r\n\r\n");
    if let Some(path) = socket {
        return exchange(UnixStream::connect(path).await?, &request).await;
    }
    let (host, port) = authority(url);
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    #[cfg(feature = "tls")]
    if has_tls(url) {
        return exchange(Trust::anybody().connect(&host, stream).await?, &request).await;
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
