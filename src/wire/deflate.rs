//! Compression of messages by RFC 7692 (`permessage-deflate`). Each message is compressed by
//! itself, so that one result serves all viewers.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// The size of the compression window, in bits: 4 KiB. A client may require a window as small as
/// this, and all clients get the same frames. A larger window saves nothing in messages of a few
/// lines, and at most a tenth in messages of 64 KiB.
pub const WINDOW_BITS: u8 = 12;
/// The fastest level, which suits small messages.
const LEVEL: u32 = 1;
/// Smaller messages are not compressed, because that could save less than a packet.
const BYTES_MIN: usize = 128;
/// The end of a flush, which is left out of a message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// How many bytes are inflated at once.
const PIECE_BYTES: usize = 4 * 1024;

fn compressor() -> Compress {
    Compress::new_with_window_bits(Compression::new(LEVEL), false, WINDOW_BITS)
}

thread_local! {
    /// Kept for each thread, since creating one costs as much as deflating a small message.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(compressor());
}

/// Deflates a message. None for a short message, or when that saves less than an eighth.
pub(crate) fn deflate(message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < BYTES_MIN {
        return None;
    }
    let enough = message.len() - message.len() / 8;
    let mut deflated = Vec::with_capacity(enough);
    COMPRESSOR.with_borrow_mut(|shared| {
        let done = shared.compress_vec(message, &mut deflated, FlushCompress::Sync);
        if done.is_ok() && deflated.len() < enough && deflated.ends_with(&TAIL) {
            shared.reset();
            deflated.truncate(deflated.len() - TAIL.len());
            Some(deflated)
        } else {
            // A compressor that ran out of room keeps the rest of the input even after a reset.
            *shared = compressor();
            None
        }
    })
}

/// Why a message can't be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not a valid deflate stream.
    Invalid,
    /// The inflated message is longer than allowed.
    TooLong,
}

/// Inflates a message of at most `bytes_max` bytes that was deflated by itself.
///
/// # Errors
/// When it is no valid deflate stream, or the inflated message is longer.
pub fn inflate(deflated: &[u8], bytes_max: usize) -> Result<Vec<u8>, Unreadable> {
    let mut inflater = Decompress::new(false);
    let mut message = Vec::new();
    for mut input in [deflated, &TAIL] {
        loop {
            message.reserve(PIECE_BYTES);
            let before = inflater.total_in();
            let status = inflater.decompress_vec(input, &mut message, FlushDecompress::Sync);
            let status = status.map_err(|_| Unreadable::Invalid)?;
            if message.len() > bytes_max {
                return Err(Unreadable::TooLong);
            }
            // The last block may be marked as the last (section 7.2.3.4 has an example).
            if status == Status::StreamEnd {
                return Ok(message);
            }
            let taken = (inflater.total_in() - before) as usize;
            input = input.get(taken..).unwrap_or_default();
            if input.is_empty() && message.len() < message.capacity() {
                break;
            }
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deflated_messages_inflate_to_what_they_were() {
        let lines: String = (0..9_000).map(|line| format!("line {line} is a line\n")).collect();
        for len in [BYTES_MIN, 1_000, PIECE_BYTES, 70_000, lines.len()] {
            let message = &lines.as_bytes()[..len];
            let deflated = deflate(message).unwrap();
            assert!(deflated.len() <= len - len / 8, "{} of {len} bytes", deflated.len());
            assert_eq!(inflate(&deflated, len).as_deref(), Ok(message));
            assert_eq!(inflate(&deflated, len - 1), Err(Unreadable::TooLong));
        }
    }

    /// Messages of any length and noise, one after the other: none changes the next.
    #[test]
    fn every_message_is_deflated_by_itself() {
        let mut seed = 7_u32;
        let mut random = move || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let (mut smaller, mut alone) = (0, 0);
        for _ in 0..300 {
            let len = random() as usize % (1 << (8 + random() % 11));
            let words = 1 << (random() % 12);
            let is_noise = random() % 2 == 0;
            let mut message = Vec::new();
            while message.len() < len {
                let word = if is_noise { random() } else { random() % words };
                let word = word.wrapping_mul(2_654_435_761).to_be_bytes();
                message.extend_from_slice(&word);
            }
            let len = message.len();
            let Some(deflated) = deflate(&message) else {
                alone += usize::from(len >= BYTES_MIN);
                continue;
            };
            smaller += 1;
            assert_eq!(inflate(&deflated, len).as_ref(), Ok(&message));
        }
        assert!(smaller > 50 && alone > 50, "{smaller} became smaller, {alone} did not");
    }

    /// Bytes that can't be compressed.
    fn noise(len: usize) -> Vec<u8> {
        let mut seed = 1_u32;
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        noise.take(len).collect()
    }

    #[test]
    fn short_and_incompressible_messages_are_not_deflated() {
        assert_eq!(deflate(b""), None);
        assert_eq!(deflate(&[b'a'; BYTES_MIN - 1]), None);
        assert!(deflate(&[b'a'; BYTES_MIN]).is_some());
        assert_eq!(deflate(&noise(10_000)), None);
    }

    /// The inflater accepts references that reach too far back, so the test checks the compressed
    /// size.
    #[test]
    fn repetitions_further_back_than_the_window_are_not_used() {
        let window = 1 << WINDOW_BITS;
        assert!(deflate(&noise(window / 2).repeat(2)).is_some());
        assert_eq!(deflate(&noise(window + 1).repeat(2)), None);
    }

    /// The examples of RFC 7692, section 7.2.3.
    #[test]
    fn messages_of_other_compressors_are_inflated() {
        let no_compression = b"\x00\x05\x00\xfa\xffHello\x00";
        let final_block = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        let two_blocks = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
        for deflated in
            [b"\xf2\x48\xcd\xc9\xc9\x07\x00".as_slice(), no_compression, final_block, two_blocks]
        {
            assert_eq!(inflate(deflated, 5).as_deref(), Ok(b"Hello".as_slice()), "{deflated:?}");
        }
        assert_eq!(inflate(b"\x00", 0).as_deref(), Ok(b"".as_slice()), "an empty message");
        assert_eq!(inflate(b"\xff\xff\xff", 100), Err(Unreadable::Invalid));
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = deflate(&vec![0; 1 << 20]).unwrap();
        assert!(bomb.len() < 10_000, "{}", bomb.len());
        assert_eq!(inflate(&bomb, 4096), Err(Unreadable::TooLong));
    }
}
