//! What comes from viewers that may deflate it, inflated below tungstenite, which knows nothing of RFC 7692.
//!
//! A deflated message is handed on in the shape that it came in: its first fragment as an empty one, the last with all
//! of it. So tungstenite sees to the order of frames as ever. What is wrong is handed on so that tungstenite finds it
//! wrong too: a reserved bit where nothing can be inflated, a length above the limit where it is too long.

use std::io::Cursor;

use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::serve::websocket::stream::INBOUND_BYTES_MAX;
use crate::wire::deflate::{Unreadable, inflate};

/// What has come and has not been handed on.
#[derive(Debug, Default)]
pub(in crate::serve) struct InflateStream {
    /// The head of a frame that is not complete, or a frame of a deflated message that is not.
    partial: Vec<u8>,
    /// So much is to come of a frame that is handed on as it is.
    passing: u64,
    /// What came so far of a deflated message in several frames.
    message: Option<Vec<u8>>,
    /// What is handed on.
    ready: Vec<u8>,
}

impl InflateStream {
    /// Takes what came.
    pub(in crate::serve) fn take(&mut self, bytes: &[u8]) {
        let mut came = std::mem::take(&mut self.partial);
        came.extend_from_slice(bytes);
        let mut rest = came.as_slice();
        while let Some(taken) = self.step(rest) {
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.partial = rest.to_vec();
    }

    /// Hands on what there is room for. False when there is nothing.
    pub(in crate::serve) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let given = self.ready.len().min(buffer.remaining());
        buffer.put_slice(self.ready.get(..given).unwrap_or_default());
        self.ready.drain(..given);
        given > 0
    }

    /// Whether it is between two messages, and everything has been handed on.
    pub(in crate::serve) fn is_at_rest(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::{Frame, Packing};

    const FINAL: u8 = 0x80;
    const RSV1: u8 = 0x40;
    const TEXT: u8 = 1;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x9c, 1, 0xff, 0];
        let mut frame = vec![first, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// What is handed on, by opcode with its bits and unmasked payload, when it comes in pieces of this size.
    fn handed_on(came: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
        let mut inflow = InflateStream::default();
        let mut ready = Vec::new();
        for piece in came.chunks(piece) {
            inflow.take(piece);
            loop {
                let mut room = [0; 7];
                let mut room = ReadBuf::new(&mut room);
                if !inflow.give(&mut room) {
                    break;
                }
                ready.extend_from_slice(room.filled());
            }
        }
        assert!(inflow.is_at_rest(), "{inflow:?}");
        let mut frames = Vec::new();
        let mut rest = ready.as_slice();
        while !rest.is_empty() {
            let mut cursor = Cursor::new(rest);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let start = cursor.position() as usize;
            let (payload, after) = rest[start..].split_at(len as usize);
            let mask = header.mask.unwrap();
            let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            frames.push((rest[0], payload.collect()));
            rest = after;
        }
        frames
    }

    /// A text of some length, deflated as the server does it.
    fn deflated(text: &str) -> Vec<u8> {
        let frame = Frame::text(text);
        let encoded = frame.encoded(Packing::Deflated);
        assert_eq!(encoded[0], FINAL | RSV1 | TEXT);
        let mut cursor = Cursor::new(encoded);
        FrameHeader::parse(&mut cursor).unwrap().unwrap();
        encoded[cursor.position() as usize..].to_vec()
    }

    #[test]
    fn a_message_in_fragments_keeps_its_shape() {
        let text = "ü and more, ".repeat(40);
        let deflated = deflated(&text);
        let (head, tail) = deflated.split_at(10);
        let (middle, tail) = tail.split_at(1);
        let came = [
            frame(FINAL | TEXT, b"pong"),
            frame(RSV1 | TEXT, head),
            frame(FINAL | 9, b"ping"),
            frame(0, middle),
            frame(0, b""),
            frame(FINAL, tail),
            frame(TEXT, b"po"),
            frame(FINAL, b"ng"),
            frame(FINAL | RSV1 | TEXT, &deflated),
        ]
        .concat();
        let whole = [
            (FINAL | TEXT, b"pong".to_vec()),
            (TEXT, vec![]),
            (FINAL | 9, b"ping".to_vec()),
            (FINAL, text.clone().into_bytes()),
            (TEXT, b"po".to_vec()),
            (FINAL, b"ng".to_vec()),
            (FINAL | TEXT, text.into_bytes()),
        ];
        for piece in [1, 2, 7, 100, came.len()] {
            assert_eq!(handed_on(&came, piece), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_wrong_stays_wrong() {
        let frames = |frames: &[Vec<u8>]| {
            let mut inflow = InflateStream::default();
            frames.iter().for_each(|frame| inflow.take(frame));
            inflow.ready
        };
        let deflated = deflated(&"a".repeat(200));
        for reserved in [
            frame(FINAL | RSV1 | 9, b"ping"),
            frame(FINAL | RSV1 | 8, b"\x03\xe8"),
            frame(FINAL | RSV1, &deflated),
            frame(FINAL | 0x20 | TEXT, b"a"),
            frame(FINAL | RSV1 | 0x10 | TEXT, &deflated),
            frame(FINAL | 3, b"a"),
        ] {
            assert_eq!(frames(std::slice::from_ref(&reserved)), reserved, "as it came");
        }
        // No compressor makes this.
        assert_eq!(
            frames(&[frame(FINAL | RSV1 | TEXT, &[0xff; 9])])[..2],
            [FINAL | RSV1 | TEXT, 0x80]
        );
        // A second beginning, and a bit on what is no beginning.
        let begun = frame(RSV1 | TEXT, &deflated);
        for second in [begun.clone(), frame(FINAL | TEXT, b"a"), frame(FINAL | RSV1, &deflated)] {
            let handed_on = frames(&[begun.clone(), second.clone()]);
            assert!(handed_on.ends_with(&second), "{handed_on:x?} after {second:x?}");
        }
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        let too_long = (INBOUND_BYTES_MAX + 1).to_be_bytes();
        let announced = [&[FINAL | TEXT, 0x80 | 126], &too_long[6..], &[0; 4]].concat();
        let mut inflow = InflateStream::default();
        inflow.take(&frame(FINAL | RSV1 | TEXT, &deflated(&"a".repeat(INBOUND_BYTES_MAX + 1))));
        assert_eq!(inflow.ready, announced);
        let mut inflow = InflateStream::default();
        inflow.take(&frame(RSV1 | TEXT, &[0; 3000]));
        inflow.take(&frame(0, &[0; 3000]));
        assert!(inflow.ready.ends_with(&[&[0, 0x80 | 126], &too_long[6..], &[0; 4]].concat()));
        // A frame that is too long is passed on as it comes.
        let mut inflow = InflateStream::default();
        inflow.take(&[FINAL | RSV1 | TEXT, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!((inflow.ready.len(), inflow.partial.len()), (14, 0));
    }

    proptest! {
        /// Whatever is sent to a viewer that takes deflated messages is, once inflated, what all others are sent.
        #[test]
        fn what_is_sent_deflated_is_what_is_sent(rows in prop::collection::vec("[a-c<ü ]{0,40}\n", 0..120)) {
            let message = rows.concat();
            let frame = Frame::text(&message);
            let encoded = frame.encoded(Packing::Deflated);
            let plain = frame.encoded(Packing::Plain);
            prop_assert!(encoded.len() <= plain.len());
            let mut cursor = Cursor::new(encoded);
            let (header, len) = FrameHeader::parse(&mut cursor).unwrap().unwrap();
            let payload = &encoded[cursor.position() as usize..];
            prop_assert_eq!(payload.len() as u64, len);
            if header.rsv1 {
                prop_assert_eq!(inflate(payload, message.len()), Ok(message.into_bytes()));
            } else {
                prop_assert_eq!(encoded, plain);
            }
        }

        #[test]
        fn nothing_that_comes_is_too_much(came in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
            let mut inflow = InflateStream::default();
            for piece in came.chunks(piece) {
                inflow.take(piece);
                prop_assert!(inflow.partial.len() <= INBOUND_BYTES_MAX + 14);
            }
        }
    }
}
