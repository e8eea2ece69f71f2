//! One WebSocket connection to a server.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

#[cfg(feature = "tls")]
use crate::client::tls::{TlsError, Trust};
use crate::client::{Credentials, Disconnect, Refused};
use crate::wire::frame::MESSAGE_BYTES_MAX;
use crate::wire::message::SUBPROTOCOL;

/// The longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that was silent for this time is pinged. It pings every 15 s by itself.
const PING_AFTER: Duration = Duration::from_secs(20);
/// A server that was silent for this time is gone.
const SILENCE_MAX: Duration = Duration::from_secs(40);
const _: () = assert!(PING_AFTER.as_secs() < SILENCE_MAX.as_secs());
/// The longest time for a closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no connection.
pub(crate) enum ConnectionError {
    /// A new attempt may succeed.
    Lost(Disconnect),
    /// A new attempt would fail, too.
    Refused(Refused),
}

/// What a WebSocket runs over: a TCP or a unix connection, or TLS.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection.
pub(crate) struct Connection {
    socket: WebSocketStream<Box<dyn Io>>,
    since: Instant,
    /// When the server last sent anything.
    last_received: Instant,
    /// A ping was sent since then.
    ping_sent: bool,
    /// A ping is to be sent.
    ping_due: bool,
}

impl Connection {
    /// Connects to the server in the URL, or to the one at this unix socket.
    pub(crate) async fn connect(
        url: String,
        socket: Option<PathBuf>,
        credentials: Option<Credentials>,
        #[cfg(feature = "tls")] trust: Option<Trust>,
    ) -> Result<Self, ConnectionError> {
        let mut request = url.into_client_request().map_err(connect_error)?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        if let Some(credentials) = credentials {
            request.headers_mut().insert(AUTHORIZATION, credentials.header());
        }
        let config = WebSocketConfig::default().max_message_size(Some(4 * MESSAGE_BYTES_MAX));
        let connecting = async {
            let io: Box<dyn Io> = match socket {
                Some(path) => Box::new(UnixStream::connect(path).await?),
                None => {
                    let (host, port) = authority(request.uri());
                    let stream = TcpStream::connect((host.as_str(), port)).await?;
                    #[cfg(feature = "tls")]
                    let io: Box<dyn Io> = if has_tls(request.uri()) {
                        let trust = trust.unwrap_or_else(Trust::system);
                        let shaking = trust.connect(&host, stream).await;
                        Box::new(shaking.map_err(|error| Failed::Tls(TlsError::of(&error)))?)
                    } else {
                        Box::new(stream)
                    };
                    #[cfg(not(feature = "tls"))]
                    let io: Box<dyn Io> = Box::new(stream);
                    io
                }
            };
            Ok(client_async_with_config(request, io, Some(config)).await?)
        };
        let (socket, _) = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| {
                ConnectionError::Lost(Disconnect::Unreachable("no answer within 10 s".to_owned()))
            })?
            .map_err(|failed: Failed| match failed {
                Failed::WebSocket(error) => connect_error(*error),
                #[cfg(feature = "tls")]
                Failed::Tls(error) => tls_error(error),
            })?;
        let now = Instant::now();
        Ok(Self { socket, since: now, last_received: now, ping_sent: false, ping_due: false })
    }

    /// The time since it was opened.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn next_message(&mut self) -> Result<Message, Disconnect> {
        loop {
            let silent = self.last_received + SILENCE_MAX;
            if self.ping_due {
                // If the future is dropped here, the ping is sent twice, which is harmless.
                let ping = Message::Ping(Bytes::new());
                if let Ok(Err(error)) = timeout_at(silent, self.socket.send(ping)).await {
                    return Err(broken(&error));
                }
                self.ping_due = false;
            }
            let until = if self.ping_sent { silent } else { self.last_received + PING_AFTER };
            match timeout_at(until, self.socket.next()).await {
                Ok(Some(Ok(message))) => {
                    self.last_received = Instant::now();
                    self.ping_sent = false;
                    return Ok(message);
                }
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => {
                    return Err(Disconnect::Broken("the server ended the connection".to_owned()));
                }
                Err(_) if self.ping_sent => return Err(Disconnect::Silent),
                Err(_) => (self.ping_sent, self.ping_due) = (true, true),
            }
        }
    }

    /// Closes the connection, in at most a second.
    pub(crate) async fn close(mut self) {
        let handshake = async {
            // The connection may be gone already.
            let _sent = self.socket.close(None).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        let _late = timeout(CLOSE_TIMEOUT, handshake).await;
    }
}

/// What failed before the connection is open.
enum Failed {
    WebSocket(Box<Error>),
    #[cfg(feature = "tls")]
    Tls(TlsError),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::WebSocket(Box::new(error.into()))
    }
}

/// The meaning of an error of a TLS handshake.
#[cfg(feature = "tls")]
fn tls_error(error: TlsError) -> ConnectionError {
    match error {
        TlsError::Untrusted(untrusted) => ConnectionError::Refused(Refused::Certificate(untrusted)),
        TlsError::NotTls => ConnectionError::Refused(Refused::NotTls),
        TlsError::Broken(_) => ConnectionError::Lost(Disconnect::Unreachable(error.to_string())),
    }
}

pub(super) fn has_tls(url: &Uri) -> bool {
    matches!(url.scheme_str(), Some("wss" | "https"))
}

/// The host and the port to connect to.
pub(super) fn authority(url: &Uri) -> (String, u16) {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    (bare.to_owned(), url.port_u16().unwrap_or(if has_tls(url) { 443 } else { 80 }))
}

fn broken(error: &Error) -> Disconnect {
    Disconnect::Broken(match error {
        Error::Io(error) => without_code(error),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "closed without a closing handshake".to_owned()
        }
        error => error.to_string(),
    })
}

/// The message of an IO error, in lower case and without its number.
pub(crate) fn without_code(error: &std::io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The meaning of an error before the connection is open.
fn connect_error(error: Error) -> ConnectionError {
    match error {
        Error::Io(error) => ConnectionError::Lost(Disconnect::Unreachable(without_code(&error))),
        Error::Http(answer) => upgrade_error(&answer),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            ConnectionError::Lost(Disconnect::Unreachable("closed without an answer".to_owned()))
        }
        error => ConnectionError::Refused(Refused::Foreign(error.to_string())),
    }
}

/// The meaning of an HTTP response that refuses the upgrade.
pub(crate) fn upgrade_error(answer: &Response<Option<Vec<u8>>>) -> ConnectionError {
    let status = answer.status();
    let body = answer.body().as_deref().unwrap_or_default();
    let words: String = String::from_utf8_lossy(body)
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect();
    match status.as_u16() {
        429 | 503 => ConnectionError::Lost(Disconnect::Full),
        // A proxy whose server is down.
        502 | 504 => {
            ConnectionError::Lost(Disconnect::Unreachable(format!("HTTP status {status}")))
        }
        403 if words.is_empty() => ConnectionError::Refused(Refused::Forbidden),
        404 => ConnectionError::Refused(Refused::NotFound),
        200..400 => ConnectionError::Refused(Refused::Foreign(format!("HTTP status {status}"))),
        code => ConnectionError::Refused(Refused::Status(code, words)),
    }
}
