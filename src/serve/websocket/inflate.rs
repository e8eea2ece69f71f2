//! Inflates compressed messages from viewers below tungstenite, which does not know RFC 7692.
//!
//! Of a compressed message in several frames, tungstenite gets the first frame empty and the last
//! one with the whole message. So it checks the order of frames as always. An error is passed on
//! in a form that tungstenite detects: a reserved bit if a message can't be inflated, or a length
//! above the limit if a message is too long.

use std::io::Cursor;

use tokio::io::ReadBuf;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::serve::websocket::stream::INBOUND_BYTES_MAX;
use crate::wire::deflate::{Unreadable, inflate};

/// Input that has not been passed on yet.
#[derive(Debug, Default)]
pub(in crate::serve) struct InflateStream {
    /// An incomplete head of a frame, or an incomplete frame of a compressed message.
    partial: Vec<u8>,
    /// The number of bytes that are missing of a frame that is passed on unchanged.
    passing: u64,
    /// The part so far of a compressed message in several frames.
    message: Option<Vec<u8>>,
    /// Bytes for tungstenite.
    ready: Vec<u8>,
}

impl InflateStream {
    /// Adds input.
    pub(in crate::serve) fn take(&mut self, bytes: &[u8]) {
        let mut came = std::mem::take(&mut self.partial);
        came.extend_from_slice(bytes);
        let mut rest = came.as_slice();
        while let Some(taken) = self.step(rest) {
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.partial = rest.to_vec();
    }

    /// Passes on as much as the buffer has room for. False when there is nothing.
    pub(in crate::serve) fn read(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let given = self.ready.len().min(buffer.remaining());
        buffer.put_slice(self.ready.get(..given).unwrap_or_default());
        self.ready.drain(..given);
        given > 0
    }

    /// Whether everything has been passed on and no message is incomplete.
    pub(in crate::serve) fn is_empty(&self) -> bool {
        self.partial.is_empty()
            && self.passing == 0
            && self.message.is_none()
            && self.ready.is_empty()
    }

    /// Handles a frame, or a part of one that is passed on unchanged, and returns its length. None
    /// when more input is needed.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.passing > 0 && !bytes.is_empty() {
            let passed = bytes.len().min(usize::try_from(self.passing).unwrap_or(usize::MAX));
            self.ready.extend_from_slice(bytes.get(..passed)?);
            self.passing -= passed as u64;
            return Some(passed);
        }
        let mut cursor = Cursor::new(bytes);
        let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
            // Nothing after it can be parsed.
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

    /// Passes on a frame in place of a frame of a compressed message.
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

    /// Writes a frame for tungstenite. The mask is zero because the payload is unmasked already.
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

    /// The frames that are passed on when the input comes in pieces of this size: first byte and
    /// payload.
    fn handed_on(came: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
        let mut inflating = InflateStream::default();
        let mut ready = Vec::new();
        for piece in came.chunks(piece) {
            inflating.take(piece);
            loop {
                let mut room = [0; 7];
                let mut room = ReadBuf::new(&mut room);
                if !inflating.read(&mut room) {
                    break;
                }
                ready.extend_from_slice(room.filled());
            }
        }
        assert!(inflating.is_empty(), "{inflating:?}");
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

    /// A text, compressed as the server does it.
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
    fn an_error_stays_an_error() {
        let frames = |frames: &[Vec<u8>]| {
            let mut inflating = InflateStream::default();
            frames.iter().for_each(|frame| inflating.take(frame));
            inflating.ready
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
        // No compressor produces this.
        assert_eq!(
            frames(&[frame(FINAL | RSV1 | TEXT, &[0xff; 9])])[..2],
            [FINAL | RSV1 | TEXT, 0x80]
        );
        // A first frame in the middle of a message, and the bit on a later frame.
        let begun = frame(RSV1 | TEXT, &deflated);
        for second in [begun.clone(), frame(FINAL | TEXT, b"a"), frame(FINAL | RSV1, &deflated)] {
            let handed_on = frames(&[begun.clone(), second.clone()]);
            assert!(handed_on.ends_with(&second), "{handed_on:x?} after {second:x?}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_not_kept() {
        let too_long = (INBOUND_BYTES_MAX + 1).to_be_bytes();
        let announced = [&[FINAL | TEXT, 0x80 | 126], &too_long[6..], &[0; 4]].concat();
        let mut inflating = InflateStream::default();
        inflating.take(&frame(FINAL | RSV1 | TEXT, &deflated(&"a".repeat(INBOUND_BYTES_MAX + 1))));
        assert_eq!(inflating.ready, announced);
        let mut inflating = InflateStream::default();
        inflating.take(&frame(RSV1 | TEXT, &[0; 3000]));
        inflating.take(&frame(0, &[0; 3000]));
        assert!(inflating.ready.ends_with(&[&[0, 0x80 | 126], &too_long[6..], &[0; 4]].concat()));
        // A frame that is too long is passed on as it comes.
        let mut inflating = InflateStream::default();
        inflating.take(&[FINAL | RSV1 | TEXT, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!((inflating.ready.len(), inflating.partial.len()), (14, 0));
    }

    proptest! {
        /// A compressed message, once inflated, is the message that other viewers get.
        #[test]
        fn a_compressed_message_is_the_same_message(rows in prop::collection::vec("[a-c<ü ]{0,40}\n", 0..120)) {
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
        fn no_input_takes_much_memory(came in prop::collection::vec(any::<u8>(), 0..300), piece in 1..50_usize) {
            let mut inflating = InflateStream::default();
            for piece in came.chunks(piece) {
                inflating.take(piece);
                prop_assert!(inflating.partial.len() <= INBOUND_BYTES_MAX + 14);
            }
        }
    }
}
