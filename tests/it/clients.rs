//! Clients: a WebSocket viewer, and plain HTTP as bytes on a socket.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response as Handshake;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::servers::DEADLINE;
use crate::transport::Io;

/// A WebSocket viewer.
pub struct Viewer {
    pub stream: WebSocketStream<Io>,
    /// All received messages, for the report of a failure.
    seen: Vec<Message>,
}

/// The end of a viewer's connection: the code and the reason of the close, if there was one.
pub type Close = Option<(u16, String)>;

impl Viewer {
    /// A viewer in the original's protocol.
    pub async fn original(address: SocketAddr, target: &str) -> Self {
        Self::connect(address, target, &[]).await.unwrap().0
    }

    /// A viewer in `tailcast.v1`.
    pub async fn v1(address: SocketAddr, target: &str) -> Self {
        let (viewer, handshake) =
            Self::connect(address, target, &[("sec-websocket-protocol", "tailcast.v1")])
                .await
                .unwrap();
        assert_eq!(handshake.headers()["sec-websocket-protocol"], "tailcast.v1");
        viewer
    }

    pub async fn connect(
        address: SocketAddr,
        target: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(Self, Handshake), Error> {
        let mut request = format!("ws://{address}{target}").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let connecting =
            async { tokio_tungstenite::client_async(request, Io::to(address).await?).await };
        let (stream, handshake) =
            timeout(DEADLINE, connecting).await.expect("no handshake in time")?;
        Ok((Self { stream, seen: Vec::new() }, handshake))
    }

    /// The next data message, or the end of the connection.
    pub async fn next(&mut self) -> Result<Message, Close> {
        // One deadline for the whole call, because heartbeats arrive for ever.
        let until = Instant::now() + DEADLINE;
        loop {
            let message = match timeout_at(until, self.stream.next()).await {
                Err(_) => panic!("nothing came within {DEADLINE:?} after {:#?}", self.seen),
                Ok(None) => return Err(None),
                Ok(Some(Err(error))) => {
                    tracing::debug!(%error, "the connection broke");
                    return Err(None);
                }
                Ok(Some(Ok(message))) => message,
            };
            match message {
                Message::Close(frame) => {
                    // Further polling answers the close.
                    let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                    while let Ok(Some(Ok(_))) = timeout(DEADLINE, self.stream.next()).await {}
                    return Err(frame);
                }
                Message::Ping(_) | Message::Pong(_) => {}
                message => {
                    if self.seen.len() < 50 {
                        self.seen.push(message.clone());
                    }
                    return Ok(message);
                }
            }
        }
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Ok(Message::Text(text)) => text.to_string(),
            other => panic!("expected text, got {other:?} after {:#?}", self.seen),
        }
    }

    /// All text up to a message that ends with `wanted`.
    pub async fn text_until(&mut self, wanted: &str) -> String {
        let mut all = String::new();
        let received = timeout(DEADLINE, async {
            while !all.ends_with(wanted) {
                all += &self.text().await;
            }
        });
        assert!(received.await.is_ok(), "no {wanted:?} at the end of {all:?}");
        all
    }

    /// The next control or rows message of `tailcast.v1`.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// The next message, which must have this type.
    pub async fn expect(&mut self, kind: &str) -> Value {
        let message = self.json().await;
        assert_eq!(message["type"], kind, "{message} after {:#?}", self.seen);
        message
    }

    /// All text up to the end of the connection, and that end.
    pub async fn rest(&mut self) -> (String, Close) {
        let mut all = String::new();
        loop {
            match self.next().await {
                Ok(Message::Text(text)) => all += &text,
                Ok(other) => panic!("expected text, got {other:?}"),
                Err(close) => return (all, close),
            }
        }
    }

    /// The client's address.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.get_ref().tcp().local_addr().unwrap()
    }

    pub async fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }
}

/// The rows of a log after the `rows` messages of `tailcast.v1`.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Rows(pub Vec<(u64, String)>);

impl Rows {
    /// Applies a `rows` message.
    pub fn apply(&mut self, message: &Value) {
        let from = message["from"].as_u64().unwrap();
        self.0.retain(|(offset, _)| *offset < from);
        for row in message["rows"].as_array().unwrap() {
            self.0.push((row[0].as_u64().unwrap(), row[1].as_str().unwrap().to_owned()));
        }
    }

    pub fn texts(&self) -> Vec<&str> {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// An answer over plain HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a GET request with these headers.
pub async fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    request(address, "GET", target, headers).await
}

pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    exchange(address, format!("{head}\r\n").as_bytes()).await
}

/// Sends raw bytes, and reads the answer until the server ends the connection.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = Io::to(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    match timeout(DEADLINE, stream.read_to_end(&mut answer)).await {
        Ok(Ok(_)) => {}
        // A request that is refused before it was sent completely may end with a TCP reset after
        // the answer.
        Ok(Err(_)) if !answer.is_empty() => {}
        Ok(Err(error)) => panic!("{error} instead of an answer"),
        Err(_) => panic!("no end within {DEADLINE:?} after {:?}", String::from_utf8_lossy(&answer)),
    }
    parse(&answer)
}

/// Sends the head of a request, and reads only the head of the answer.
pub async fn head_of(address: SocketAddr, head: &str) -> Answer {
    let mut stream = Io::to(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = timeout(DEADLINE, stream.read_buf(&mut answer))
            .await
            .expect("no head in time")
            .unwrap();
        assert!(read > 0, "ended in {:?}", String::from_utf8_lossy(&answer));
    }
    parse(&answer)
}

pub fn parse(answer: &[u8]) -> Answer {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let at = at.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answer)));
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: answer[at + 4..].to_vec() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunk(&answer.body);
    }
    answer
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[at + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    whole
}

/// A streamed response, without its chunk headers.
pub struct Streaming {
    stream: Io,
    raw: Vec<u8>,
    pub head: String,
}

impl Streaming {
    pub async fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = Io::to(address).await.unwrap();
        let mut head = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut streaming = Self { stream, raw: Vec::new(), head: String::new() };
        while streaming.head.is_empty() {
            assert!(streaming.read().await, "the connection ended in the head");
            if let Some(at) = streaming.raw.windows(4).position(|window| window == b"\r\n\r\n") {
                streaming.head = String::from_utf8_lossy(&streaming.raw[..at]).into_owned();
                streaming.raw.drain(..at + 4);
            }
        }
        streaming
    }

    /// Reads some bytes. Returns false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = timeout(DEADLINE, self.stream.read(&mut buffer)).await;
        let read = read.unwrap_or_else(|_| {
            panic!("nothing came after {:?}", String::from_utf8_lossy(&self.raw))
        });
        let read = read.unwrap();
        self.raw.extend_from_slice(&buffer[..read]);
        read > 0
    }

    /// Reads some more of the body.
    pub async fn read_more(&mut self) {
        assert!(self.read().await, "ended after {:?}", self.body());
    }

    /// The body so far.
    pub fn body(&self) -> String {
        let mut body = self.raw.as_slice();
        let mut whole = Vec::new();
        while let Some(at) = body.windows(2).position(|window| window == b"\r\n") {
            let size =
                usize::from_str_radix(std::str::from_utf8(&body[..at]).unwrap(), 16).unwrap();
            let Some(chunk) = body.get(at + 2..at + 2 + size) else { break };
            whole.extend_from_slice(chunk);
            body = body.get(at + 2 + size + 2..).unwrap_or_default();
        }
        String::from_utf8_lossy(&whole).into_owned()
    }

    /// Reads until the body ends with this text.
    pub async fn read_until(&mut self, wanted: &str) -> String {
        let read = timeout(DEADLINE, async {
            while !self.body().ends_with(wanted) {
                assert!(self.read().await, "ended after {:?}", self.body());
            }
        });
        assert!(read.await.is_ok(), "no {wanted:?} at the end of {:?}", self.body());
        self.body()
    }

    /// Reads until the server ends the connection, cleanly or not. Returns the number of bytes of
    /// the body, including chunk headers. Fails if nothing arrives and the connection stays open.
    pub async fn read_to_end(&mut self) -> u64 {
        let mut came = self.raw.len() as u64;
        let mut buffer = vec![0; 1 << 20];
        loop {
            let reading = self.stream.read(&mut buffer);
            match timeout(DEADLINE, reading).await {
                Ok(Ok(read @ 1..)) => came += read as u64,
                Ok(Ok(0) | Err(_)) => return came,
                Err(_) => panic!("the connection is open, and nothing came after {came} bytes"),
            }
        }
    }

    /// Whether the connection ends before the promised length has arrived.
    pub async fn rest_is_cut(&mut self) -> bool {
        let length = self.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: u64 = length.expect("a length is promised").parse().unwrap();
        self.read_to_end().await < length
    }

    /// Whether the body has its last chunk.
    pub fn is_complete(&self) -> bool {
        self.raw.ends_with(b"0\r\n\r\n")
    }

    /// Reads until the server ends the stream.
    pub async fn rest(&mut self) -> String {
        while !self.is_complete() && self.read().await {}
        self.body()
    }
}

/// The time for which a test checks that something does not happen.
pub const A_MOMENT: Duration = Duration::from_millis(300);
