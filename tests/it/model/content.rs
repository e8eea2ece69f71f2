//! The content of the files: bytes from which the epoch can be recognised.
//!
//! The bytes of an epoch, except newlines, are from one of eight alphabets, which alternate. So a
//! single byte shows that it belongs to another epoch. Each write begins with its own number, so
//! that all epochs begin differently and each place is unique.

use std::sync::OnceLock;

use super::random::Random;

/// The number of alphabets.
pub const ALPHABETS: usize = 8;
/// The size of the pool of random bytes of one alphabet, from which the content is copied. To
/// generate each byte would take most of a script's time.
const POOL_BYTES: usize = 1 << 18;
/// The most bytes that are copied from the pool at once.
const CUT_BYTES_MAX: u64 = 1 << 16;

/// Lines of one alphabet. One in six characters has two bytes; a copy may begin or end within one.
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

/// `len` bytes of an alphabet. They begin with the number, if they are long enough.
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
