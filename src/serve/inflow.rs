//! What comes from viewers that may deflate it, inflated below tungstenite, which knows nothing of RFC 7692.
//!
//! A deflated message is handed on in the shape that it came in: its first fragment as an empty one, the last with all
//! of it. So tungstenite sees to the order of frames as ever. What is wrong is handed on so that tungstenite finds it
//! wrong too: a reserved bit where nothing can be inflated, a length above the limit where it is too long.

use std::io::Cursor;

use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::serve::socket::INBOUND_BYTES_MAX;
use crate::session::deflate::{Unreadable, inflate};

/// What has come and has not been handed on.
#[derive(Debug, Default)]
pub(super) struct Inflow {
    /// The head of a frame that is not complete, or a frame of a deflated message that is not.
    partial: Vec<u8>,
    /// So much is to come of a frame that is handed on as it is.
    passing: u64,
    /// What came so far of a deflated message in several frames.
    message: Option<Vec<u8>>,
    /// What is handed on.
    ready: Vec<u8>,
}

impl Inflow {
    /// Takes what came.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut came = std::mem::take(&mut self.partial);
        came.extend_from_slice(bytes);
        let mut rest = came.as_slice();
        while let Some(taken) = self.step(rest) {
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.partial = rest.to_vec();
    }

    /// Hands on what there is room for. False when there is nothing.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let given = self.ready.len().min(buffer.remaining());
        buffer.put_slice(self.ready.get(..given).unwrap_or_default());
        self.ready.drain(..given);
        given > 0
    }

    /// Whether it is between two messages, and everything has been handed on.
    pub(super) fn is_at_rest(&self) -> bool {
        self.partial.is_empty()
            && self.passing == 0
            && self.message.is_none()
            && self.ready.is_empty()
    }

    /// Takes a frame, or a part of one that is handed on as it is. None when there is too little of it.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.passing > 0 && !bytes.is_empty() {
            let passed = bytes.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
            self.ready.extend_from_slice(bytes.get(..passed)?);
            self.passing -= passed as u64;
            return Some(passed);
        }
        let mut cursor = Cursor::new(bytes);
        let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
            // Nothing behind it can be understood.
            self.passing = u64::MAX;
            return Some(0);
        };
        let (header, len) = parsed?;
        let head = cursor.position();
        let is_deflated = match header.opcode {
            OpCode::Data(Data::Continue) => self.message.is_some() && !header.rsv1,
            OpCode::Data(_) => self.message.is_none() && header.rsv1,
            OpCode::Control(_) => false,
        };
        let is_sound = !header.rsv2 && !header.rsv3 && len <= INBOUND_BYTES_MAX as u64;
        let Some(mask) = header.mask.filter(|_| is_deflated && is_sound) else {
            self.passing = head.saturating_add(len);
            return Some(0);
        };
        let payload = bytes.get(head as usize..(head + len) as usize)?;
        let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        self.message.get_or_insert_default().extend(unmasked);
        self.frame(&header);
        Some(head as usize + payload.len())
    }

    /// Hands on what stands for a frame of a deflated message.
    fn frame(&mut self, header: &FrameHeader) {
        let message = self.message.as_ref().map_or(0, Vec::len);
        if message > INBOUND_BYTES_MAX {
            return self.hand_on(header, Err(Unreadable::TooLong));
        }
        if header.is_final {
            let message = self.message.take().unwrap_or_default();
            self.hand_on(header, inflate(&message, INBOUND_BYTES_MAX));
        } else if header.opcode != OpCode::Data(Data::Continue) {
            self.hand_on(header, Ok(Vec::new()));
        }
    }

    /// The mask is all zeros: it has done its work.
    fn hand_on(&mut self, header: &FrameHeader, payload: Result<Vec<u8>, Unreadable>) {
        let (rsv1, len, payload) = match payload {
            Ok(payload) => (false, payload.len(), payload),
            Err(Unreadable::Invalid) => (true, 0, Vec::new()),
            Err(Unreadable::TooLong) => (false, INBOUND_BYTES_MAX + 1, Vec::new()),
        };
        let header = FrameHeader { rsv1, mask: Some([0; 4]), ..header.clone() };
        // Writing to memory does not fail.
        let _written = header.format(len as u64, &mut self.ready);
        self.ready.extend_from_slice(&payload);
    }
}
