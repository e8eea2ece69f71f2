//! Reading each message once: what thousands of viewers are sent is the same, and is recognised by comparing bytes.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::bench::load::stamp::{STAMP_BYTES, Stamp, Stamps};
use crate::wire::deflate::inflate;
use crate::wire::message::Message;

/// So many messages are remembered. A read brings a few at once, and viewers get them one after the other.
const REMEMBERED: usize = 8;
/// The most bytes of a compressed message, expanded.
const EXPANDED_MAX: usize = 1024 * 1024;

/// What a message of the server says.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// A part of the log, in any form.
    #[default]
    Part,
    /// Bytes of the log.
    Bytes {
        /// Offset of the first.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Rows of the log, and the offset of each, in the order of the stamps.
    Rows {
        /// Rows of this offset and after are made anew.
        from: u64,
        /// The offset after them.
        next: u64,
        /// Of each stamp, the row that it stands in.
        rows: Vec<u64>,
    },
    /// Something else that `tailcast.v1` says.
    Control(Message),
    /// The text heartbeat.
    Heartbeat,
}

/// A message that has been read.
#[derive(Debug, Default)]
pub(super) struct DecodedMessage {
    is_v1: bool,
    is_text: bool,
    /// As it came.
    payload: Vec<u8>,
    /// What it says, where it came compressed.
    expanded: Option<Vec<u8>>,
    pub(super) content: Content,
    pub(super) stamps: Vec<Stamp>,
    /// The part of the payload that is the log's.
    log_at: usize,
    unfinished: usize,
}

impl DecodedMessage {
    /// The part of the message in which a stamp may end that was begun before it.
    pub(super) fn head(&self) -> &[u8] {
        let log = self.words().get(self.log_at..).unwrap_or_default();
        log.get(..STAMP_BYTES).unwrap_or(log)
    }

    /// The end of the message that may be the beginning of a stamp.
    pub(super) fn unfinished(&self) -> &[u8] {
        let words = self.words();
        words.get(words.len() - self.unfinished..).unwrap_or_default()
    }

    /// The message, as if it had not been compressed.
    fn words(&self) -> &[u8] {
        self.expanded.as_deref().unwrap_or(&self.payload)
    }

    fn read(&mut self, stamps: &Stamps) {
        let expanded = self.expanded.take();
        let words = expanded.as_deref().unwrap_or(&self.payload);
        self.stamps.clear();
        (self.log_at, self.unfinished) = (0, 0);
        self.content = match (self.is_v1, self.is_text) {
            (false, true) if words == b"ping" => Content::Heartbeat,
            (true, true) => match serde_json::from_slice(words) {
                Ok(Message::Rows { from, next, rows }) => {
                    let mut of_stamps = Vec::new();
                    for (offset, row) in &rows {
                        for stamp in stamps.find(row.as_bytes()) {
                            self.stamps.push(stamp);
                            of_stamps.push(*offset);
                        }
                    }
                    Content::Rows { from, next, rows: of_stamps }
                }
                Ok(message) => Content::Control(message),
                Err(_) => Content::Control(Message::Unknown),
            },
            (true, false) if words.len() >= 8 => {
                let (offset, log) = words.split_at(8);
                self.log_at = 8;
                let offset = offset.iter().fold(0, |offset, byte| offset << 8 | u64::from(*byte));
                Content::Bytes { offset, len: log.len() as u64 }
            }
            _ => Content::Part,
        };
        if let Content::Part | Content::Bytes { .. } = self.content {
            let log = words.get(self.log_at..).unwrap_or_default();
            self.stamps.extend(stamps.find(log));
            self.unfinished = stamps.unfinished(log).len();
        }
        self.expanded = expanded;
    }
}

/// The messages that came last.
pub(super) struct MessageCache {
    stamps: Stamps,
    known: [DecodedMessage; REMEMBERED],
    /// The one that was looked up last.
    at: usize,
    /// The one that came first.
    oldest: usize,
}

impl MessageCache {
    pub(super) fn new() -> Self {
        Self { stamps: Stamps::new(), known: Default::default(), at: 0, oldest: 0 }
    }

    /// What this message says, and by what stamps are found. None when it is compressed and can't be expanded.
    pub(super) fn look_up(
        &mut self,
        is_v1: bool,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Option<(&DecodedMessage, &Stamps)> {
        let is_text = header.opcode == OpCode::Data(Data::Text);
        let is_compressed = header.rsv1;
        let same = |known: &DecodedMessage| {
            known.is_text == is_text
                && known.is_v1 == is_v1
                && known.expanded.is_some() == is_compressed
                && known.payload == payload
        };
        let found = (0..REMEMBERED)
            .map(|step| (self.at + step) % REMEMBERED)
            .find(|at| same(&self.known[*at]));
        if let Some(found) = found {
            self.at = found;
        } else {
            let expanded =
                if is_compressed { Some(inflate(payload, EXPANDED_MAX).ok()?) } else { None };
            let known = &mut self.known[self.oldest];
            known.is_v1 = is_v1;
            known.is_text = is_text;
            known.payload.clear();
            known.payload.extend_from_slice(payload);
            known.expanded = expanded;
            known.read(&self.stamps);
            self.at = self.oldest;
            self.oldest = (self.oldest + 1) % REMEMBERED;
        }
        Some((&self.known[self.at], &self.stamps))
    }
}
