//! Follows a log on a server over `tailcast.v1`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::client::backoff::Backoff;
use crate::client::connection::{Connection, ConnectionError};
use crate::client::resume::ResumeState;
#[cfg(feature = "tls")]
use crate::client::tls::Trust;
use crate::client::{
    Credentials, Disconnect, FollowEvent, FollowRequest, Format, LogUrl, Position, Refused, StartAt,
};
use crate::time::Moment;
use crate::wire::message::Message;

/// After a connection of this age the first pause is short again.
const GOOD_AGE: Duration = Duration::from_secs(60);

/// The time that the server has to close the connection after the end of the stream.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Follows a log on a server.
///
/// It connects at the first call of [`next`](Self::next). It connects again when the connection is
/// lost, or when the server was silent for 40 s, after a random pause of at most 0.5 to 15 s.
pub struct Follow {
    url: LogUrl,
    credentials: Option<Credentials>,
    request: FollowRequest,
    /// Where to continue, once the stream was open.
    resume: ResumeState,
    /// The log existed or was waited for. From now on it is always waited for.
    has_started: bool,
    state: State,
    backoff: Backoff,
    events: VecDeque<FollowEvent>,
    /// Whom to trust, if it is not whom the machine trusts.
    #[cfg(feature = "tls")]
    trust: Option<Trust>,
}

enum State {
    Paused {
        until: Instant,
    },
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, ConnectionError>> + Send>>),
    Up(Box<Connection>),
    /// The server has sent everything, and closes the connection.
    Closing(Box<Connection>, Instant),
    Ended,
    Refused(Refused),
}

impl Follow {
    /// Follows the log at `url` as `request` says.
    #[must_use]
    pub fn new(url: LogUrl, request: FollowRequest) -> Self {
        let position = match &request.begin {
            StartAt::From(position) => Some(position.clone()),
            StartAt::Lines(_) | StartAt::All => None,
        };
        Self {
            url,
            credentials: None,
            request,
            resume: ResumeState::new(position),
            has_started: false,
            state: State::Paused { until: Instant::now() },
            backoff: Backoff::default(),
            events: VecDeque::new(),
            #[cfg(feature = "tls")]
            trust: None,
        }
    }

    /// Identifies itself with these at each connection.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..self }
    }

    /// Trusts these certificates of servers, and not those that the machine trusts.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust: Some(trust), ..self }
    }

    /// Where to continue after the events so far. While late bytes of a rotated file arrive this is
    /// in that file; after a lost connection it is in the present one again.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.resume.position.as_ref()
    }

    /// The next event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the server refuses the request, or is not a tailcast server. A new attempt would fail,
    /// too.
    pub async fn next(&mut self) -> Result<FollowEvent, Refused> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            match &mut self.state {
                State::Paused { until } => {
                    sleep_until(*until).await;
                    let url = self.url.websocket(&self.parameters());
                    let socket = self.url.socket().map(ToOwned::to_owned);
                    let credentials = self.credentials.clone();
                    #[cfg(feature = "tls")]
                    let connecting =
                        Connection::connect(url, socket, credentials, self.trust.clone());
                    #[cfg(not(feature = "tls"))]
                    let connecting = Connection::connect(url, socket, credentials);
                    self.state = State::Connecting(Box::pin(connecting));
                }
                State::Connecting(connecting) => match connecting.await {
                    Ok(connection) => self.state = State::Up(Box::new(connection)),
                    Err(error) => self.on_error(error),
                },
                State::Up(connection) => match connection.next_message().await {
                    Ok(message) => self.on_frame(message),
                    Err(disconnect) => self.on_error(ConnectionError::Lost(disconnect)),
                },
                State::Closing(connection, until) => {
                    if !matches!(timeout_at(*until, connection.next_message()).await, Ok(Ok(_))) {
                        self.state = State::Ended;
                    }
                }
                State::Ended => return Ok(FollowEvent::End),
                State::Refused(refused) => return Err(refused.clone()),
            }
        }
    }

    /// Closes the connection, in at most a second.
    pub async fn close(self) {
        if let State::Up(connection) | State::Closing(connection, _) = self.state {
            connection.close().await;
        }
    }

    fn parameters(&self) -> String {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        let switch = |on| if on { "1" } else { "0" };
        parameters.append_pair("tail", switch(self.request.tail));
        parameters.append_pair("signed", "1");
        parameters.append_pair("wait", switch(self.request.wait || self.has_started));
        parameters.append_pair(
            "format",
            match self.request.format {
                Format::Raw => "raw",
                Format::Text => "text",
            },
        );
        if let Some(encoding) = self.request.encoding {
            parameters.append_pair("encoding", encoding.name());
        }
        if self.request.history {
            parameters.append_pair("history", "1");
        }
        let mut moment = |name, time: Option<Moment>| {
            if let Some(time) = time {
                parameters.append_pair(name, &time.to_string());
            }
        };
        moment("until", self.request.until);
        if self.resume.position.is_none() {
            moment("since", self.request.since);
        }
        match (&self.resume.position, &self.request.begin) {
            (Some(Position { generation, offset }), _) => {
                parameters.append_pair("from", &offset.to_string());
                parameters.append_pair("generation", generation);
                for Position { generation, offset } in self.resume.late() {
                    parameters.append_pair("late", &format!("{generation}:{offset}"));
                }
            }
            (None, StartAt::Lines(lines)) => {
                parameters.append_pair("lines", &lines.to_string());
            }
            (None, StartAt::All | StartAt::From(_)) => {
                parameters.append_pair("lines", "all");
            }
        }
        parameters.finish()
    }

    fn on_error(&mut self, error: ConnectionError) {
        match error {
            ConnectionError::Refused(refused) => self.state = State::Refused(refused),
            ConnectionError::Lost(why) => {
                self.resume.on_disconnect();
                if let State::Up(connection) = &self.state
                    && connection.age() >= GOOD_AGE
                {
                    self.backoff.reset();
                }
                let retry_in = self.backoff.pause();
                self.state = State::Paused { until: Instant::now() + retry_in };
                self.events.push_back(FollowEvent::Lost { why, retry_in });
            }
        }
    }

    fn on_frame(&mut self, message: tungstenite::Message) {
        match message {
            tungstenite::Message::Text(text) => match Message::from_json(&text) {
                Ok(message) => self.on_message(message),
                Err(words) => self.on_error(ConnectionError::Refused(Refused::Foreign(words))),
            },
            tungstenite::Message::Binary(message) => self.on_bytes(message),
            tungstenite::Message::Close(frame) => self.on_close(frame),
            // The library has answered pings.
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Frame(_) => {}
        }
    }

    fn on_message(&mut self, message: Message) {
        let event = match message {
            Message::Open { generation, from, size, recovered, encoding, container, .. } => {
                self.has_started = true;
                let position = Position { generation: generation.clone(), offset: from };
                self.resume.open(position);
                FollowEvent::Opened { generation, from, size, recovered, encoding, container }
            }
            Message::Rows { from, next, rows } => {
                self.backoff.reset();
                if let Some(position) = &mut self.resume.position {
                    position.offset = next;
                }
                FollowEvent::Rows { from, rows }
            }
            Message::Reset { generation, from, reason, encoding, container } => {
                let position = Position { generation: generation.clone(), offset: from };
                self.resume.on_reset(&position, reason);
                FollowEvent::Reset { generation, from, reason, encoding, container }
            }
            Message::Gap { generation, from, to } => {
                if let (Some(position), Some(to)) = (&mut self.resume.position, to) {
                    position.offset = to;
                }
                FollowEvent::Gap { generation, from, to }
            }
            Message::Signed { generation } => {
                self.resume.rename(generation);
                return;
            }
            Message::Waiting { reason } => {
                self.has_started = true;
                FollowEvent::Waiting { reason }
            }
            Message::End => return self.finish(),
            Message::Error { code, message } => return self.on_close_code(code, message),
            Message::Notice { message, .. } => FollowEvent::Notice { message },
            Message::Viewers { .. } | Message::Unknown => return,
        };
        self.events.push_back(event);
    }

    /// Passes bytes on so that none comes twice and none is left out silently, whatever the server
    /// sends.
    fn on_bytes(&mut self, mut message: Bytes) {
        let (Some(position), true) = (&mut self.resume.position, message.len() >= 8) else {
            let words = "it sent bytes that the protocol does not allow here".to_owned();
            return self.on_error(ConnectionError::Refused(Refused::Foreign(words)));
        };
        self.backoff.reset();
        let start = message.get_u64();
        if start > position.offset {
            let generation = position.generation.clone();
            self.events.push_back(FollowEvent::Gap {
                generation,
                from: position.offset,
                to: Some(start),
            });
            position.offset = start;
        }
        let known = (position.offset - start).min(message.len() as u64);
        message.advance(known as usize);
        if !message.is_empty() {
            let offset = position.offset;
            position.offset += message.len() as u64;
            self.events.push_back(FollowEvent::Bytes { offset, bytes: message });
        }
    }

    fn on_close(&mut self, frame: Option<CloseFrame>) {
        let Some(frame) = frame else {
            return self.on_error(ConnectionError::Lost(Disconnect::Broken(
                "the server closed the connection".to_owned(),
            )));
        };
        self.on_close_code(frame.code.into(), frame.reason.to_string());
    }

    /// The server has said why it ends the stream.
    fn on_close_code(&mut self, code: u16, words: String) {
        self.on_error(match code {
            1000 => return self.finish(),
            1001 => ConnectionError::Lost(Disconnect::GoingAway),
            1011 => ConnectionError::Lost(Disconnect::Silent),
            1013 => ConnectionError::Lost(Disconnect::Full),
            4401 => ConnectionError::Refused(Refused::Closed(code, words)),
            4403 => ConnectionError::Refused(Refused::Forbidden),
            4404 => ConnectionError::Refused(Refused::NotFound),
            4408 => ConnectionError::Lost(Disconnect::TooSlow),
            1002 | 1003 | 1007..=1010 => ConnectionError::Refused(Refused::Closed(code, words)),
            code => ConnectionError::Lost(Disconnect::Broken(format!("closed with code {code}"))),
        });
    }

    /// The stream is complete; the server closes the connection next.
    fn finish(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Up(connection) => State::Closing(connection, Instant::now() + CLOSE_TIMEOUT),
            state => state,
        };
    }
}
