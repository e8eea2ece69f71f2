//! A log on a server, followed over `tailcast.v1`.

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
use crate::client::{
    Disconnect, FollowEvent, FollowRequest, Format, LogUrl, Position, Refused, StartAt,
};
use crate::wire::message::Message;

/// A connection that has stood so long was a good one.
const GOOD_AGE: Duration = Duration::from_secs(60);

/// So long the server may take to close when it has told the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A viewer of a log on a server.
///
/// It connects when it is first asked what comes [`next`](Self::next), and again when the connection is lost or the
/// server has shown no sign of life for 40 s, after a pause of at most 0.5 to 15 s that is drawn by chance.
pub struct Follow {
    url: LogUrl,
    ask: FollowRequest,
    /// Where to go on, once the stream has been opened.
    at: ResumeState,
    /// The log has been there, or has been waited for: it is waited for from now on.
    met: bool,
    link: Link,
    backoff: Backoff,
    told: VecDeque<FollowEvent>,
}

enum Link {
    Away {
        until: Instant,
    },
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, ConnectionError>> + Send>>),
    Up(Box<Connection>),
    /// The end has been told by the server, which closes now.
    Closing(Box<Connection>, Instant),
    Ended,
    Refused(Refused),
}

impl Follow {
    /// A viewer that will ask for this.
    #[must_use]
    pub fn new(url: LogUrl, ask: FollowRequest) -> Self {
        let position = match &ask.begin {
            StartAt::From(position) => Some(position.clone()),
            StartAt::Lines(_) | StartAt::All => None,
        };
        Self {
            url,
            ask,
            at: ResumeState::new(position),
            met: false,
            link: Link::Away { until: Instant::now() },
            backoff: Backoff::default(),
            told: VecDeque::new(),
        }
    }

    /// After what has been told so far: where to go on another time. When the connection is lost among late bytes it is in
    /// the present file again.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.at.position.as_ref()
    }

    /// What comes next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the server refuses, or is no tailcast server: there is no use in asking again.
    pub async fn next(&mut self) -> Result<FollowEvent, Refused> {
        loop {
            if let Some(heard) = self.told.pop_front() {
                return Ok(heard);
            }
            match &mut self.link {
                Link::Away { until } => {
                    sleep_until(*until).await;
                    let url = self.url.socket(&self.parameters());
                    self.link = Link::Connecting(Box::pin(Connection::connect(url)));
                }
                Link::Connecting(connecting) => match connecting.await {
                    Ok(line) => self.link = Link::Up(Box::new(line)),
                    Err(trouble) => self.fail(trouble),
                },
                Link::Up(line) => match line.hear().await {
                    Ok(message) => self.hear(message),
                    Err(loss) => self.fail(ConnectionError::Lost(loss)),
                },
                Link::Closing(line, until) => {
                    if !matches!(timeout_at(*until, line.hear()).await, Ok(Ok(_))) {
                        self.link = Link::Ended;
                    }
                }
                Link::Ended => return Ok(FollowEvent::End),
                Link::Refused(refused) => return Err(refused.clone()),
            }
        }
    }

    /// Says goodbye to the server, in a second at most.
    pub async fn leave(self) {
        if let Link::Up(line) | Link::Closing(line, _) = self.link {
            line.leave().await;
        }
    }

    fn parameters(&self) -> String {
        let mut parameters = form_urlencoded::Serializer::new(String::new());
        let switch = |on| if on { "1" } else { "0" };
        parameters.append_pair("tail", switch(self.ask.tail));
        parameters.append_pair("signed", "1");
        parameters.append_pair("wait", switch(self.ask.wait || self.met));
        parameters.append_pair(
            "format",
            match self.ask.format {
                Format::Raw => "raw",
                Format::Text => "text",
            },
        );
        match (&self.at.position, &self.ask.begin) {
            (Some(Position { generation, offset }), _) => {
                parameters.append_pair("from", &offset.to_string());
                parameters.append_pair("generation", generation);
                for Position { generation, offset } in self.at.late() {
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

    fn fail(&mut self, trouble: ConnectionError) {
        match trouble {
            ConnectionError::Refused(refused) => self.link = Link::Refused(refused),
            ConnectionError::Lost(why) => {
                self.at.part();
                if let Link::Up(line) = &self.link
                    && line.age() >= GOOD_AGE
                {
                    self.backoff.reset();
                }
                let retry_in = self.backoff.pause();
                self.link = Link::Away { until: Instant::now() + retry_in };
                self.told.push_back(FollowEvent::Lost { why, retry_in });
            }
        }
    }

    fn hear(&mut self, message: tungstenite::Message) {
        match message {
            tungstenite::Message::Text(text) => match Message::from_json(&text) {
                Ok(message) => self.mind(message),
                Err(words) => self.fail(ConnectionError::Refused(Refused::Foreign(words))),
            },
            tungstenite::Message::Binary(message) => self.take(message),
            tungstenite::Message::Close(frame) => self.closed(frame),
            // Pings have been answered.
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Frame(_) => {}
        }
    }

    fn mind(&mut self, message: Message) {
        let heard = match message {
            Message::Open { generation, from, size, recovered, .. } => {
                self.met = true;
                let position = Position { generation: generation.clone(), offset: from };
                self.at.open(position);
                FollowEvent::Opened { generation, from, size, recovered }
            }
            Message::Rows { from, next, rows } => {
                self.backoff.reset();
                if let Some(position) = &mut self.at.position {
                    position.offset = next;
                }
                FollowEvent::Rows { from, rows }
            }
            Message::Reset { generation, from, reason } => {
                let position = Position { generation: generation.clone(), offset: from };
                self.at.turn(&position, reason);
                FollowEvent::Reset { generation, from, reason }
            }
            Message::Gap { generation, from, to } => {
                if let (Some(position), Some(to)) = (&mut self.at.position, to) {
                    position.offset = to;
                }
                FollowEvent::Gap { generation, from, to }
            }
            Message::Signed { generation } => {
                self.at.sign(generation);
                return;
            }
            Message::Waiting { reason } => {
                self.met = true;
                FollowEvent::Waiting { reason }
            }
            Message::End => return self.finish(),
            Message::Error { code, message } => return self.turned_away(code, message),
            Message::Unknown => return,
        };
        self.told.push_back(heard);
    }

    /// Bytes come once and in order; but whatever the server sends, none is told twice and none left out silently.
    fn take(&mut self, mut message: Bytes) {
        let (Some(position), true) = (&mut self.at.position, message.len() >= 8) else {
            let words = "bytes where none can be".to_owned();
            return self.fail(ConnectionError::Refused(Refused::Foreign(words)));
        };
        self.backoff.reset();
        let start = message.get_u64();
        if start > position.offset {
            let generation = position.generation.clone();
            self.told.push_back(FollowEvent::Gap {
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
            self.told.push_back(FollowEvent::Bytes { offset, bytes: message });
        }
    }

    fn closed(&mut self, frame: Option<CloseFrame>) {
        let Some(frame) = frame else {
            return self.fail(ConnectionError::Lost(Disconnect::Broken(
                "the server closed it".to_owned(),
            )));
        };
        self.turned_away(frame.code.into(), frame.reason.to_string());
    }

    /// The server has said why it goes no further.
    fn turned_away(&mut self, code: u16, words: String) {
        self.fail(match code {
            1000 => return self.finish(),
            1001 => ConnectionError::Lost(Disconnect::GoingAway),
            1011 => ConnectionError::Lost(Disconnect::Silent),
            1013 => ConnectionError::Lost(Disconnect::Full),
            4403 => ConnectionError::Refused(Refused::Forbidden),
            4404 => ConnectionError::Refused(Refused::NotFound),
            4408 => ConnectionError::Lost(Disconnect::TooSlow),
            1002 | 1003 | 1007..=1010 => ConnectionError::Refused(Refused::Closed(code, words)),
            code => ConnectionError::Lost(Disconnect::Broken(format!("closed with code {code}"))),
        });
    }

    /// All has come: what is left is the close.
    fn finish(&mut self) {
        self.link = match std::mem::replace(&mut self.link, Link::Ended) {
            Link::Up(line) => Link::Closing(line, Instant::now() + CLOSE_TIMEOUT),
            link => link,
        };
    }
}
