//! What is written: bytes that tell their epoch.
//!
//! Each epoch's bytes come from one of eight alphabets that take turns (but for the newline), so
//! that one byte is enough to see that it belongs elsewhere. Each write begins with a number of its
//! own, so that no two epochs begin alike and no two places look alike.

use std::sync::OnceLock;

use super::random::Random;

/// So many alphabets take turns.
pub const ALPHABETS: usize = 8;
/// What is written is cut out of so many bytes of each alphabet: to draw each byte anew is what a
/// script's time would go to.
const POOL_BYTES: usize = 1 << 18;
/// At most so much is cut out at once.
const CUT_BYTES_MAX: u64 = 1 << 16;

/// Lines of one alphabet, with one letter in six a character of two bytes. A cut may fall inside
/// one.
fn pool(alphabet: u8) -> Vec<u8> {
    let mut random = Random(u64::from(alphabet));
    let mut bytes = Vec::with_capacity(POOL_BYTES + 1);
    while bytes.len() < POOL_BYTES {
        let drawn = random.next();
        let low = (drawn >> 8) as u8;
        match drawn % 40 {
            0 => bytes.push(b'\n'),
            1..7 => bytes.extend([0xc4 + alphabet, 0x80 + 8 * (low % 8) + alphabet]),
            _ => bytes.push(0x20 + 8 * (low % 11) + alphabet),
        }
    }
    bytes
}

/// So many bytes of an alphabet. The number is in them, if there is room.
pub fn content(random: &mut Random, alphabet: u8, number: u64, len: usize) -> Vec<u8> {
    static POOLS: [OnceLock<Vec<u8>>; ALPHABETS] = [const { OnceLock::new() }; ALPHABETS];
    let pool = POOLS[usize::from(alphabet)].get_or_init(|| pool(alphabet));
    let digits = (0..6).map(|place| 0x20 + 8 * (number / 11u64.pow(place) % 11) as u8 + alphabet);
    let mut bytes: Vec<u8> = digits.take(len).collect();
    bytes.reserve_exact(len - bytes.len());
    while bytes.len() < len {
        let from = random.below(POOL_BYTES as u64 - CUT_BYTES_MAX) as usize;
        let cut = (len - bytes.len()).min(CUT_BYTES_MAX as usize);
        bytes.extend_from_slice(&pool[from..from + cut]);
    }
    bytes
}
