//! A log on a server, followed over `tailcast.v1`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::client::backoff::Backoff;
use crate::client::line::{Line, Trouble};
use crate::client::whereabouts::Whereabouts;
use crate::client::{Ask, Begin, Format, Heard, LogUrl, Loss, Position, Refused};
use crate::session::wire::Message;

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
    ask: Ask,
    /// Where to go on, once the stream has been opened.
    at: Whereabouts,
    /// The log has been there, or has been waited for: it is waited for from now on.
    met: bool,
    link: Link,
    backoff: Backoff,
    told: VecDeque<Heard>,
}

enum Link {
    Away {
        until: Instant,
    },
    Connecting(Pin<Box<dyn Future<Output = Result<Line, Trouble>> + Send>>),
    Up(Box<Line>),
    /// The end has been told by the server, which closes now.
    Closing(Box<Line>, Instant),
    Ended,
    Refused(Refused),
}

impl Follow {
    /// A viewer that will ask for this.
    #[must_use]
    pub fn new(url: LogUrl, ask: Ask) -> Self {
        let position = match &ask.begin {
            Begin::From(position) => Some(position.clone()),
            Begin::Lines(_) | Begin::All => None,
        };
        Self {
            url,
            ask,
            at: Whereabouts::new(position),
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
    pub async fn next(&mut self) -> Result<Heard, Refused> {
        loop {
            if let Some(heard) = self.told.pop_front() {
                return Ok(heard);
            }
            match &mut self.link {
                Link::Away { until } => {
                    sleep_until(*until).await;
                    let url = self.url.socket(&self.parameters());
                    self.link = Link::Connecting(Box::pin(Line::connect(url)));
                }
                Link::Connecting(connecting) => match connecting.await {
                    Ok(line) => self.link = Link::Up(Box::new(line)),
                    Err(trouble) => self.fail(trouble),
                },
                Link::Up(line) => match line.hear().await {
                    Ok(message) => self.hear(message),
                    Err(loss) => self.fail(Trouble::Lost(loss)),
                },
                Link::Closing(line, until) => {
                    if !matches!(timeout_at(*until, line.hear()).await, Ok(Ok(_))) {
                        self.link = Link::Ended;
                    }
                }
                Link::Ended => return Ok(Heard::End),
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
            (None, Begin::Lines(lines)) => {
                parameters.append_pair("lines", &lines.to_string());
            }
            (None, Begin::All | Begin::From(_)) => {
                parameters.append_pair("lines", "all");
            }
        }
        parameters.finish()
    }

    fn fail(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Refused(refused) => self.link = Link::Refused(refused),
            Trouble::Lost(why) => {
                self.at.part();
                if let Link::Up(line) = &self.link
                    && line.age() >= GOOD_AGE
                {
                    self.backoff.reset();
                }
                let retry_in = self.backoff.pause();
                self.link = Link::Away { until: Instant::now() + retry_in };
                self.told.push_back(Heard::Lost { why, retry_in });
            }
        }
    }

    fn hear(&mut self, message: tungstenite::Message) {
        match message {
            tungstenite::Message::Text(text) => match Message::from_json(&text) {
                Ok(message) => self.mind(message),
                Err(words) => self.fail(Trouble::Refused(Refused::Foreign(words))),
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
                Heard::Opened { generation, from, size, recovered }
            }
            Message::Rows { from, next, rows } => {
                self.backoff.reset();
                if let Some(position) = &mut self.at.position {
                    position.offset = next;
                }
                Heard::Rows { from, rows }
            }
            Message::Reset { generation, from, reason } => {
                let position = Position { generation: generation.clone(), offset: from };
                self.at.turn(&position, reason);
                Heard::Reset { generation, from, reason }
            }
            Message::Gap { generation, from, to } => {
                if let (Some(position), Some(to)) = (&mut self.at.position, to) {
                    position.offset = to;
                }
                Heard::Gap { generation, from, to }
            }
            Message::Signed { generation } => {
                self.at.sign(generation);
                return;
            }
            Message::Waiting { reason } => {
                self.met = true;
                Heard::Waiting { reason }
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
            return self.fail(Trouble::Refused(Refused::Foreign(words)));
        };
        self.backoff.reset();
        let start = message.get_u64();
        if start > position.offset {
            let generation = position.generation.clone();
            self.told.push_back(Heard::Gap { generation, from: position.offset, to: Some(start) });
            position.offset = start;
        }
        let known = (position.offset - start).min(message.len() as u64);
        message.advance(known as usize);
        if !message.is_empty() {
            let offset = position.offset;
            position.offset += message.len() as u64;
            self.told.push_back(Heard::Bytes { offset, bytes: message });
        }
    }

    fn closed(&mut self, frame: Option<CloseFrame>) {
        let Some(frame) = frame else {
            return self.fail(Trouble::Lost(Loss::Broken("the server closed it".to_owned())));
        };
        self.turned_away(frame.code.into(), frame.reason.to_string());
    }

    /// The server has said why it goes no further.
    fn turned_away(&mut self, code: u16, words: String) {
        self.fail(match code {
            1000 => return self.finish(),
            1001 => Trouble::Lost(Loss::GoingAway),
            1011 => Trouble::Lost(Loss::Silent),
            1013 => Trouble::Lost(Loss::Full),
            4403 => Trouble::Refused(Refused::Forbidden),
            4404 => Trouble::Refused(Refused::NotFound),
            4408 => Trouble::Lost(Loss::TooSlow),
            1002 | 1003 | 1007..=1010 => Trouble::Refused(Refused::Closed(code, words)),
            code => Trouble::Lost(Loss::Broken(format!("closed with code {code}"))),
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
