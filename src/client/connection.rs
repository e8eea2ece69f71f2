//! One connection to a server.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::client::{Disconnect, Refused};
use crate::wire::frame::MESSAGE_BYTES_MAX;
use crate::wire::message::SUBPROTOCOL;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server pings every 15 s. One that has said nothing for so long is asked.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// One that has said nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(40);
const _: () = assert!(ASK_AFTER.as_secs() < SILENCE_MAX.as_secs());
/// How long a farewell may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What went wrong with a connection.
pub(crate) enum ConnectionError {
    /// It may be made again.
    Lost(Disconnect),
    /// It need not be.
    Refused(Refused),
}

/// A connection that stands.
pub(crate) struct Connection {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    since: Instant,
    /// When there was a sign of life.
    heard: Instant,
    /// The server has been asked for one since.
    asked: bool,
    /// The question is still to be sent.
    ask_due: bool,
}

impl Connection {
    /// Connects.
    pub(crate) async fn connect(url: String) -> Result<Self, ConnectionError> {
        let mut request = url.into_client_request().map_err(at_start)?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default().max_message_size(Some(4 * MESSAGE_BYTES_MAX));
        let connecting = connect_async_with_config(request, Some(config), false);
        let (socket, _) = timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| {
                ConnectionError::Lost(Disconnect::Unreachable("no answer in time".to_owned()))
            })?
            .map_err(at_start)?;
        let now = Instant::now();
        Ok(Self { socket, since: now, heard: now, asked: false, ask_due: false })
    }

    /// How long it has stood.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// The next message. Dropping the future loses nothing.
    pub(crate) async fn hear(&mut self) -> Result<Message, Disconnect> {
        loop {
            let silent = self.heard + SILENCE_MAX;
            if self.ask_due {
                // Asked twice does no harm.
                let ask = Message::Ping(Bytes::new());
                if let Ok(Err(error)) = timeout_at(silent, self.socket.send(ask)).await {
                    return Err(broken(&error));
                }
                self.ask_due = false;
            }
            let until = if self.asked { silent } else { self.heard + ASK_AFTER };
            match timeout_at(until, self.socket.next()).await {
                Ok(Some(Ok(message))) => {
                    self.heard = Instant::now();
                    self.asked = false;
                    return Ok(message);
                }
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(None) => return Err(Disconnect::Broken("the server ended it".to_owned())),
                Err(_) if self.asked => return Err(Disconnect::Silent),
                Err(_) => (self.asked, self.ask_due) = (true, true),
            }
        }
    }

    /// Says goodbye, in a time that is bounded.
    pub(crate) async fn leave(mut self) {
        let farewell = async {
            // It may be gone already.
            let _sent = self.socket.close(None).await;
            while let Some(Ok(_)) = self.socket.next().await {}
        };
        let _late = timeout(CLOSE_TIMEOUT, farewell).await;
    }
}

fn broken(error: &Error) -> Disconnect {
    Disconnect::Broken(match error {
        Error::Io(error) => plain(error),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            "closed without a word".to_owned()
        }
        error => error.to_string(),
    })
}

/// An error's words without its number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let words = error.to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// What an error means that came before the connection stood.
fn at_start(error: Error) -> ConnectionError {
    match error {
        Error::Io(error) => ConnectionError::Lost(Disconnect::Unreachable(plain(&error))),
        Error::Http(answer) => answered(&answer),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            ConnectionError::Lost(Disconnect::Unreachable("closed without an answer".to_owned()))
        }
        error => ConnectionError::Refused(Refused::Foreign(error.to_string())),
    }
}

/// The upgrade was answered by something else.
pub(crate) fn answered(answer: &Response<Option<Vec<u8>>>) -> ConnectionError {
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
        // A proxy whose server is away.
        502 | 504 => {
            ConnectionError::Lost(Disconnect::Unreachable(format!("HTTP status {status}")))
        }
        403 if words.is_empty() => ConnectionError::Refused(Refused::Forbidden),
        404 => ConnectionError::Refused(Refused::NotFound),
        200..400 => ConnectionError::Refused(Refused::Foreign(format!("HTTP status {status}"))),
        code => ConnectionError::Refused(Refused::Status(code, words)),
    }
}
