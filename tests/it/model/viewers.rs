//! The viewers of the log and their records.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::host::Door;
use super::log::HELD_FILES;
use super::received::is_same;
use crate::clients::{Close, Viewer};
use crate::servers::{DEADLINE, pace};

/// The pause between two attempts to connect.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A viewer sends its position in a rotated file for this long after the rotation.
const LATE_TIME: Duration = Duration::from_secs(10);

/// A generation and an offset.
pub type Position = (String, u64);

/// An order to a viewer.
pub enum Order {
    Stall(Duration),
    /// Drop the connection and reconnect after this time.
    Away(Duration),
    /// Pause for this time after each message from now on.
    Slow(Duration),
}

/// An action of a viewer or a received message.
#[derive(Clone, Debug)]
pub enum FollowEvent {
    /// A connection to the server in this life.
    Connected {
        life: usize,
    },
    Asked {
        generation: String,
        offset: u64,
        /// Its positions in rotated files.
        late: Vec<Position>,
    },
    Open {
        generation: String,
        from: u64,
        recovered: bool,
    },
    /// The new name of the present generation.
    Signed {
        generation: String,
    },
    Data {
        offset: u64,
        bytes: Vec<u8>,
    },
    Reset {
        generation: String,
        from: u64,
        reason: String,
    },
    Gap {
        generation: String,
        from: u64,
        to: Option<u64>,
    },
    Waiting,
    /// The end of the connection, with the close code if there was one.
    Ended(Option<u16>),
    /// A violation of the protocol.
    Wrong(String),
}

pub type Record = Arc<Mutex<Vec<(Instant, FollowEvent)>>>;

pub struct Watcher {
    pub kind: &'static str,
    pub record: Record,
    pub orders: mpsc::UnboundedSender<Order>,
    pub task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    pub fn start(kind: &'static str, door: Door, log: &str, query: &str) -> Self {
        let record = Record::default();
        let (orders, heard) = mpsc::unbounded_channel();
        // Without `signed` a position is recovered less often.
        let signed = if kind == "stalls" { "" } else { "&signed=1" };
        let seat = Seat {
            door,
            target: format!("{log}?tail=1&format=raw{signed}"),
            query: query.to_owned(),
            at: None,
            home: None,
            before: kind.contains("resumes").then(Vec::new),
            record: Arc::clone(&record),
        };
        Self { kind, record, orders, task: tokio::spawn(watch(seat, heard)) }
    }

    /// Whether a message, or two consecutive messages together, end with these bytes.
    pub fn has(&self, last: &[u8]) -> bool {
        let record = self.record.lock().unwrap();
        let mut tail: Vec<u8> = Vec::new();
        record.iter().any(|(_, heard)| {
            if let FollowEvent::Data { bytes, .. } = heard {
                tail.extend_from_slice(&bytes[bytes.len().saturating_sub(last.len())..]);
                tail.drain(..tail.len().saturating_sub(last.len()));
            }
            tail == last
        })
    }

    pub fn len(&self) -> usize {
        self.record.lock().unwrap().len()
    }
}

/// The state of a viewer over its connections.
struct Seat {
    door: Door,
    target: String,
    /// The query while it has no position.
    query: String,
    at: Option<Position>,
    /// During late bytes: the position in the present file.
    home: Option<Position>,
    /// Its positions in rotated files, and the times at which it left them. None if it does not
    /// send them when it resumes.
    before: Option<Vec<(Position, Instant)>>,
    record: Record,
}

impl Seat {
    fn tell(&self, heard: FollowEvent) {
        self.record.lock().unwrap().push((Instant::now(), heard));
    }

    /// Connects, or reconnects with its position.
    async fn connect(&mut self) -> Viewer {
        if let Some(home) = self.home.take() {
            let late = self.at.replace(home);
            self.leave(late);
        }
        let before = self.before.iter_mut().flatten();
        let late: Vec<Position> = before
            .filter(|(_, left)| left.elapsed() < LATE_TIME)
            .map(|(position, _)| position.clone())
            .collect();
        let named = late.iter().map(|(generation, next)| format!("&late={generation}:{next}"));
        let query = match &self.at {
            Some((generation, offset)) => {
                format!("&from={offset}&generation={generation}{}", named.collect::<String>())
            }
            None => self.query.clone(),
        };
        let target = format!("{}{query}", self.target);
        let until = Instant::now() + DEADLINE;
        loop {
            let (came, life) = (Instant::now(), self.door.lives.load(Ordering::SeqCst));
            let protocol = [("sec-websocket-protocol", "tailcast.v1")];
            match Viewer::connect(self.door.address, &target, &protocol).await {
                // Otherwise the connection could belong to the life before or after the restart.
                Ok((viewer, _)) if life == self.door.lives.load(Ordering::SeqCst) => {
                    self.record.lock().unwrap().push((came, FollowEvent::Connected { life }));
                    if let Some((generation, offset)) = self.at.clone() {
                        self.tell(FollowEvent::Asked { generation, offset, late });
                    }
                    return viewer;
                }
                Ok(_) => {}
                Err(error) => {
                    let may_be = self.door.restarts && Instant::now() < until;
                    assert!(may_be, "no connection with {target}: {error}");
                    pace(RETRY_INTERVAL).await;
                }
            }
        }
    }

    fn hear(&mut self, message: &Message) {
        let heard = match message {
            Message::Binary(message) => {
                let offset = u64::from_be_bytes(message[..8].try_into().unwrap());
                if let Some((_, next)) = &mut self.at {
                    *next = offset + message.len() as u64 - 8;
                }
                FollowEvent::Data { offset, bytes: message[8..].to_vec() }
            }
            Message::Text(text) => self.hear_control(text),
            other => FollowEvent::Wrong(format!("{other:?}")),
        };
        self.tell(heard);
    }

    fn hear_control(&mut self, text: &str) -> FollowEvent {
        let said: serde_json::Value = serde_json::from_str(text).unwrap();
        let generation = said["generation"].as_str().unwrap_or_default().to_owned();
        let from = said["from"].as_u64().unwrap_or_default();
        match said["type"].as_str().unwrap() {
            "open" => {
                self.at = Some((generation.clone(), from));
                FollowEvent::Open {
                    generation,
                    from,
                    recovered: said["recovered"].as_bool().unwrap(),
                }
            }
            "reset" => {
                let reason = said["reason"].as_str().unwrap().to_owned();
                self.turn(&(generation.clone(), from), &reason);
                FollowEvent::Reset { generation, from, reason }
            }
            "gap" => {
                let to = said["to"].as_u64();
                if let (Some(to), Some((_, next))) = (to, &mut self.at) {
                    *next = to;
                }
                FollowEvent::Gap { generation, from, to }
            }
            "signed" => {
                if let Some((at, _)) = &mut self.at {
                    let known = std::mem::replace(at, generation.clone());
                    self.forget(&known);
                }
                FollowEvent::Signed { generation }
            }
            "waiting" => FollowEvent::Waiting,
            _ => FollowEvent::Wrong(text.to_owned()),
        }
    }

    /// Stores its position in the file that it leaves, as the protocol requires of viewers that
    /// resume.
    fn turn(&mut self, to: &Position, reason: &str) {
        let left = self.at.replace(to.clone());
        let is_elsewhere = |position: &Position| !is_same(&position.0, &to.0);
        match reason {
            "late" if self.home.is_none() => self.home = left,
            "truncated" => {}
            _ => {
                if reason != "late" {
                    self.forget(&to.0);
                    let home = self.home.take();
                    self.leave(home.filter(is_elsewhere));
                }
                self.leave(left.filter(is_elsewhere));
            }
        }
    }

    fn leave(&mut self, left: Option<Position>) {
        let Some(left) = left else { return };
        self.forget(&left.0);
        let Some(before) = &mut self.before else { return };
        before.push((left, Instant::now()));
        // The server follows no more rotated files than this.
        if before.len() > HELD_FILES {
            before.remove(0);
        }
    }

    fn forget(&mut self, generation: &str) {
        let before = self.before.iter_mut();
        before.for_each(|before| before.retain(|((known, _), _)| !is_same(known, generation)));
    }

    /// Records the end of a connection. Returns whether the viewer reconnects.
    fn hear_end(&self, close: Close) -> bool {
        let code = close.map(|(code, _)| code);
        let may_be = self.door.restarts && matches!(code, None | Some(1001));
        self.tell(if may_be {
            FollowEvent::Ended(code)
        } else {
            FollowEvent::Wrong(format!("closed with {code:?}"))
        });
        may_be
    }
}

async fn watch(mut seat: Seat, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut viewer = seat.connect().await;
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Stall(time)) => pace(time).await,
                Some(Order::Slow(time)) => pause = time,
                Some(Order::Away(time)) => {
                    drop(viewer);
                    pace(time).await;
                    viewer = seat.connect().await;
                }
            },
            message = viewer.next() => match message {
                Ok(message) => {
                    seat.hear(&message);
                    if !pause.is_zero() {
                        pace(pause).await;
                    }
                }
                Err(close) if seat.hear_end(close.clone()) => viewer = seat.connect().await,
                Err(_) => return,
            },
        }
    }
}
