//! Encoded messages, made once and shared by all viewers that receive them.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::log::Offset;
use crate::render::Rendition;
use crate::wire::deflate::deflate;

/// The most bytes that one message carries.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Messages in order.
pub type Frames = Vec<Frame>;

/// Whether a viewer takes compressed messages (`permessage-deflate`, RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Uncompressed.
    Plain,
    /// Each message is compressed by itself, or uncompressed if that saves too little.
    Deflated,
}

/// One message, encoded as a WebSocket frame. Other transports use the payload alone.
///
/// The first connection that sends it compressed compresses it, once for all others.
#[derive(Clone, Debug)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    kind: Data,
    plain: Bytes,
    payload_at: usize,
    /// The compressed frame, after its first use. None inside if it saves too little.
    deflated: OnceLock<Option<Bytes>>,
}

/// The bytes of a frame, and where in them the payload begins.
fn encode(header: &FrameHeader, parts: &[&[u8]]) -> (Bytes, usize) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let payload_at = header.len(len as u64);
    let mut bytes = BytesMut::with_capacity(payload_at + len).writer();
    // Writing to memory does not fail.
    let _written = header.format(len as u64, &mut bytes);
    let mut bytes = bytes.into_inner();
    parts.iter().for_each(|part| bytes.put_slice(part));
    (bytes.freeze(), payload_at)
}

impl Frame {
    /// A text message.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::new(Data::Text, &[text.as_bytes()])
    }

    /// A text message made of these parts, which together are UTF-8.
    pub(crate) fn text_of(parts: &[&[u8]]) -> Self {
        Self::new(Data::Text, parts)
    }

    /// A binary message made of these parts.
    #[must_use]
    pub fn binary(parts: &[&[u8]]) -> Self {
        Self::new(Data::Binary, parts)
    }

    pub(crate) fn new(kind: Data, parts: &[&[u8]]) -> Self {
        let header = FrameHeader { opcode: OpCode::Data(kind), ..FrameHeader::default() };
        let (plain, payload_at) = encode(&header, parts);
        let len = plain.len() - payload_at;
        debug_assert!(len <= MESSAGE_BYTES_MAX, "a message of {len} bytes");
        Self(Arc::new(Encoded { kind, plain, payload_at, deflated: OnceLock::new() }))
    }

    /// The size of the uncompressed frame, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.plain.len()
    }

    /// Header and payload, as they are written to a WebSocket.
    #[must_use]
    pub fn encoded(&self, packing: Packing) -> &Bytes {
        match packing {
            Packing::Plain => &self.0.plain,
            Packing::Deflated => self.deflated().unwrap_or(&self.0.plain),
        }
    }

    pub(crate) fn deflated(&self) -> Option<&Bytes> {
        let deflate = || {
            let deflated = deflate(self.0.plain.get(self.0.payload_at..)?)?;
            let opcode = OpCode::Data(self.0.kind);
            let header = FrameHeader { opcode, rsv1: true, ..FrameHeader::default() };
            Some(encode(&header, &[&deflated]).0)
        };
        self.0.deflated.get_or_init(deflate).as_ref()
    }

    /// The uncompressed payload.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.0.plain.slice(self.0.payload_at..)
    }
}

/// The form in which a viewer wants the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// HTML that is only appended to, as the original server sent it.
    Html,
    /// The text of the rows, which is only appended to.
    Text,
    /// The bytes of the log.
    Raw,
    /// `tailcast.v1`: rows of HTML that may be rewritten.
    Rows,
    /// `tailcast.v1`: rows of text.
    TextRows,
    /// `tailcast.v1`: rows of HTML with everything that was written (`raw=1`).
    WrittenRows,
    /// `tailcast.v1`: the same rows as text.
    WrittenTextRows,
    /// `tailcast.v1`: binary messages of an offset and bytes.
    RawMessages,
}

impl Form {
    /// How many forms there are.
    pub(crate) const COUNT: usize = 8;

    /// Its index among them.
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::Html => 0,
            Self::Text => 1,
            Self::Raw => 2,
            Self::Rows => 3,
            Self::TextRows => 4,
            Self::RawMessages => 5,
            Self::WrittenRows => 6,
            Self::WrittenTextRows => 7,
        }
    }

    /// Whether it has control messages.
    #[must_use]
    pub fn has_control(self) -> bool {
        self.has_rows() || self == Self::RawMessages
    }

    /// Whether its messages are rows, which later ones may replace.
    #[must_use]
    pub fn has_rows(self) -> bool {
        match self {
            Self::Rows | Self::TextRows | Self::WrittenRows | Self::WrittenTextRows => true,
            Self::Html | Self::Text | Self::Raw | Self::RawMessages => false,
        }
    }

    /// Whether it is text that viewers can only append.
    #[must_use]
    pub fn only_grows(self) -> bool {
        matches!(self, Self::Html | Self::Text)
    }

    /// Whether its rows are text without markup.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::TextRows | Self::WrittenTextRows)
    }

    /// What its rows show.
    #[must_use]
    pub fn rendition(self) -> Rendition {
        match self {
            Self::WrittenRows | Self::WrittenTextRows => Rendition::Written,
            _ => Rendition::Shown,
        }
    }

    /// The form of the same rows in a rendition. Forms without rows stay as they are.
    #[must_use]
    pub fn with(self, rendition: Rendition) -> Self {
        match (self, rendition) {
            (Self::Rows, Rendition::Written) => Self::WrittenRows,
            (Self::TextRows, Rendition::Written) => Self::WrittenTextRows,
            (Self::WrittenRows, Rendition::Shown) => Self::Rows,
            (Self::WrittenTextRows, Rendition::Shown) => Self::TextRows,
            (form, _) => form,
        }
    }

    /// Whether the bytes go through the terminal.
    #[must_use]
    pub fn is_rendered(self) -> bool {
        !matches!(self, Self::Raw | Self::RawMessages)
    }

    /// Bytes as messages, in the forms that are not rendered.
    pub(crate) fn raw(self, start: Offset, bytes: &Bytes) -> Frames {
        match self {
            Self::RawMessages => vec![Frame::binary(&[&start.0.to_be_bytes(), bytes])],
            _ => vec![Frame::binary(&[bytes])],
        }
    }

    /// The messages for a viewer of an empty log, as the original server sent them.
    pub(crate) fn empty(self) -> Frames {
        if self == Self::Html { vec![Frame::text("")] } else { Frames::new() }
    }
}
