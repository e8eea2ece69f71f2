//! Decodes each message once. Thousands of viewers receive the same messages, which are recognised
//! by their bytes.

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::bench::load::stamp::{STAMP_BYTES, Stamp, Stamps};
use crate::wire::deflate::inflate;
use crate::wire::message::Message;

/// The number of remembered messages. A read returns a few, which the viewers receive one after the
/// other.
const CACHE_SIZE: usize = 8;
/// The most bytes of a message after decompression.
const EXPANDED_MAX: usize = 1024 * 1024;

/// The content of a message.
#[derive(Debug, Default)]
pub(super) enum Content {
    /// A part of the log, in any form.
    #[default]
    Part,
    /// Bytes of the log.
    Bytes {
        /// The offset of the first byte.
        offset: u64,
        /// The number of bytes.
        len: u64,
    },
    /// Rows of the log.
    Rows {
        /// Rows from this offset on are replaced.
        from: u64,
        /// The offset after the rows.
        next: u64,
        /// The row of each stamp, by offset.
        rows: Vec<u64>,
    },
    /// Another message of `tailcast.v1`.
    Control(Message),
    /// The text heartbeat.
    Heartbeat,
}

/// A decoded message.
#[derive(Debug, Default)]
pub(super) struct DecodedMessage {
    is_v1: bool,
    is_text: bool,
    /// The payload as received.
    payload: Vec<u8>,
    /// The payload after decompression, if it was compressed.
    expanded: Option<Vec<u8>>,
    pub(super) content: Content,
    pub(super) stamps: Vec<Stamp>,
    /// The start of the log's bytes in the payload.
    log_at: usize,
    unfinished: usize,
}

impl DecodedMessage {
    /// The part of the message in which a stamp can end that began before it.
    pub(super) fn head(&self) -> &[u8] {
        let log = self.text().get(self.log_at..).unwrap_or_default();
        log.get(..STAMP_BYTES).unwrap_or(log)
    }

    /// The end of the message that may be the start of a stamp.
    pub(super) fn unfinished(&self) -> &[u8] {
        let text = self.text();
        text.get(text.len() - self.unfinished..).unwrap_or_default()
    }

    /// The payload, decompressed if necessary.
    fn text(&self) -> &[u8] {
        self.expanded.as_deref().unwrap_or(&self.payload)
    }

    fn read(&mut self, stamps: &Stamps) {
        let expanded = self.expanded.take();
        let text = expanded.as_deref().unwrap_or(&self.payload);
        self.stamps.clear();
        (self.log_at, self.unfinished) = (0, 0);
        self.content = match (self.is_v1, self.is_text) {
            (false, true) if text == b"ping" => Content::Heartbeat,
            (true, true) => match serde_json::from_slice(text) {
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
            (true, false) if text.len() >= 8 => {
                let (offset, log) = text.split_at(8);
                self.log_at = 8;
                let offset = offset.iter().fold(0, |offset, byte| offset << 8 | u64::from(*byte));
                Content::Bytes { offset, len: log.len() as u64 }
            }
            _ => Content::Part,
        };
        if let Content::Part | Content::Bytes { .. } = self.content {
            let log = text.get(self.log_at..).unwrap_or_default();
            self.stamps.extend(stamps.find(log));
            self.unfinished = stamps.unfinished(log).len();
        }
        self.expanded = expanded;
    }
}

/// The last messages.
pub(super) struct MessageCache {
    stamps: Stamps,
    message: [DecodedMessage; CACHE_SIZE],
    /// The message that was looked up last.
    at: usize,
    /// The oldest message.
    oldest: usize,
}

impl MessageCache {
    pub(super) fn new() -> Self {
        Self { stamps: Stamps::new(), message: Default::default(), at: 0, oldest: 0 }
    }

    /// The decoded message, and the finder of its stamps. `None` if it cannot be decompressed.
    pub(super) fn look_up(
        &mut self,
        is_v1: bool,
        header: &FrameHeader,
        payload: &[u8],
    ) -> Option<(&DecodedMessage, &Stamps)> {
        let is_text = header.opcode == OpCode::Data(Data::Text);
        let is_compressed = header.rsv1;
        let same = |message: &DecodedMessage| {
            message.is_text == is_text
                && message.is_v1 == is_v1
                && message.expanded.is_some() == is_compressed
                && message.payload == payload
        };
        let found = (0..CACHE_SIZE)
            .map(|step| (self.at + step) % CACHE_SIZE)
            .find(|at| same(&self.message[*at]));
        if let Some(found) = found {
            self.at = found;
        } else {
            let expanded =
                if is_compressed { Some(inflate(payload, EXPANDED_MAX).ok()?) } else { None };
            let message = &mut self.message[self.oldest];
            message.is_v1 = is_v1;
            message.is_text = is_text;
            message.payload.clear();
            message.payload.extend_from_slice(payload);
            message.expanded = expanded;
            message.read(&self.stamps);
            self.at = self.oldest;
            self.oldest = (self.oldest + 1) % CACHE_SIZE;
        }
        Some((&self.message[self.at], &self.stamps))
    }
}
