//! A viewer that comes back whenever its connection is lost, and all that it got.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio_tungstenite::tungstenite::Message;

use super::LAST_LINE;
use crate::clients::Viewer;
use crate::servers::pace;

/// Shorter than what a viewer of a test waits for a message at most.
const SILENCE_TIME: Duration = Duration::from_secs(5);
/// Why a piece begins whose viewer asked for another place.
pub(super) const NOT_RECOVERED: &str = "not recovered";

/// What a viewer got in one run of offsets.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Why it began there.
    pub(super) why: String,
    pub(super) generation: String,
    pub(super) from: u64,
    pub(super) bytes: Vec<u8>,
    /// What was said to be missing before it; None for a gap without an end.
    pub(super) gaps: Vec<Option<(u64, u64)>>,
    /// When it began.
    pub(super) at: Instant,
    /// Which connection of the viewer it came over.
    pub(super) connection: usize,
}

/// A viewer, and all that it got.
pub(super) struct Watcher {
    pub(super) edges: Vec<SocketAddr>,
    pub(super) target: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) gaps: Vec<Option<(u64, u64)>>,
    pub(super) connections: usize,
    pub(super) leave: watch::Receiver<u64>,
    /// Gets a permit when the stream has begun.
    pub(super) begun: Arc<Semaphore>,
}

impl Watcher {
    fn next(&self) -> Option<(String, u64)> {
        let piece = self.pieces.last()?;
        Some((piece.generation.clone(), piece.from + piece.bytes.len() as u64))
    }

    fn begin(&mut self, why: String, generation: &Value, from: u64) {
        let generation = generation.as_str().unwrap().to_owned();
        let gaps = std::mem::take(&mut self.gaps);
        let (bytes, at, connection) = (Vec::new(), Instant::now(), self.connections);
        self.pieces.push(Piece { why, generation, from, bytes, gaps, at, connection });
    }

    fn has_last_line(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.bytes.ends_with(LAST_LINE))
    }

    /// Watches until the last line, coming back whenever the connection is lost.
    pub(super) async fn watch(mut self) -> Self {
        while !self.has_last_line() {
            let begin = match self.next() {
                None => "lines=all".to_owned(),
                Some((generation, next)) => format!("from={next}&generation={generation}"),
            };
            let target = format!("{}?tail=1&format=raw&signed=1&{begin}", self.target);
            let edge = self.edges[self.connections % self.edges.len()];
            self.connections += 1;
            let v1 = [("sec-websocket-protocol", "tailcast.v1")];
            let connecting = Viewer::connect(edge, &target, &v1);
            if let Ok(Ok((mut viewer, _))) =
                tokio::time::timeout(Duration::from_secs(10), connecting).await
            {
                self.leave.mark_unchanged();
                let mut leave = self.leave.clone();
                tokio::select! {
                    () = self.listen(&mut viewer) => {}
                    _ = leave.changed() => {}
                }
            }
            pace(Duration::from_millis(30)).await;
        }
        self
    }

    async fn listen(&mut self, viewer: &mut Viewer) {
        while !self.has_last_line() {
            // While an edge is cut off for long, nothing comes.
            let next = tokio::time::timeout(SILENCE_TIME, viewer.next());
            let Ok(next) = next.await else { continue };
            match next {
                Ok(Message::Binary(data)) => {
                    let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
                    let piece = self.pieces.last_mut().unwrap();
                    assert_eq!(offset, piece.from + piece.bytes.len() as u64, "{piece:?}");
                    piece.bytes.extend_from_slice(&data[8..]);
                }
                Ok(Message::Text(text)) => self.hear(&serde_json::from_str(&text).unwrap()),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self, told: &Value) {
        match told["type"].as_str().unwrap() {
            "open" => {
                let from = told["from"].as_u64().unwrap();
                match self.next() {
                    Some((_, next)) if told["recovered"] == true => {
                        assert_eq!(next, from, "{told}");
                        self.pieces.last_mut().unwrap().generation =
                            told["generation"].as_str().unwrap().to_owned();
                    }
                    Some(_) => {
                        self.gaps.push(None);
                        self.begin(NOT_RECOVERED.to_owned(), &told["generation"], from);
                    }
                    None => {
                        self.begin("open".to_owned(), &told["generation"], from);
                        self.begun.add_permits(1);
                    }
                }
            }
            "signed" => {
                let generation = told["generation"].as_str().unwrap().to_owned();
                self.pieces.last_mut().unwrap().generation = generation;
            }
            "reset" => {
                let why = told["reason"].as_str().unwrap().to_owned();
                self.begin(why, &told["generation"], told["from"].as_u64().unwrap());
            }
            "gap" => {
                let from = told["from"].as_u64().unwrap_or(0);
                let to = told["to"].as_u64();
                self.gaps.push(to.map(|to| (from, to)));
                if let Some(to) = to {
                    self.begin("gap".to_owned(), &told["generation"], to);
                }
            }
            _ => {}
        }
    }
}
