//! Positions: which byte of which file.
//!
//! An [`Offset`] alone means nothing once a file has been rotated or truncated, so a position on the wire is a
//! [`Generation`] and an offset. Inside the process a position is a [`TimelinePosition`]: the number of a span of the timeline
//! and an offset in it. The splice rule, the only join logic there is, compares a place with a [`Chunk`].

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::log::access::Identity;

/// A byte position in a log, counted from the start of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The position `bytes` further on.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self(self.0.saturating_add(bytes as u64))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// So few bytes of a head prove nothing.
pub(crate) const SIGNATURE_BYTES_MIN: usize = 4;

/// How many bytes of the head of a file go into its generation's signature.
pub const SIGNATURE_BYTES_MAX: usize = 256;

/// The identity of the bytes behind a path: it changes when the file is replaced or truncated.
///
/// It names the inode, and the file's first bytes as they were when the generation was first seen, so that a position
/// can be recognised after the server was started again and never continues in another file that got the same inode.
/// `nonce` tells two generations of one inode apart while the server runs (a truncation begins a new one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Device and inode of the file.
    pub identity: Identity,
    /// Drawn anew for each generation.
    pub nonce: u32,
    /// How many bytes of the head were signed, at most [`SIGNATURE_BYTES_MAX`].
    pub head_len: u16,
    /// FNV-1a of those bytes.
    pub head_hash: u64,
}

impl Generation {
    /// The generation of a file that begins with `head`.
    #[must_use]
    pub fn new(identity: Identity, nonce: u32, head: &[u8]) -> Self {
        let head = head.get(..SIGNATURE_BYTES_MAX).unwrap_or(head);
        Self { identity, nonce, head_len: head.len() as u16, head_hash: fnv1a(head) }
    }

    /// Whether a file of this identity that begins with `head` has this generation's bytes up to `offset` beyond doubt.
    /// Where the file was shorter than a whole signature when it was signed, only those bytes are sure: other files
    /// begin like that too.
    #[must_use]
    pub fn is_proved_by(&self, identity: Identity, head: &[u8], offset: Offset) -> bool {
        let signed = usize::from(self.head_len);
        signed >= SIGNATURE_BYTES_MIN
            && (self.is_signed_in_full() || offset.0 <= signed as u64)
            && self.identity == identity
            && self.is_of(head)
    }

    /// Whether it is signed by the beginning of this head.
    #[must_use]
    pub fn is_of(&self, head: &[u8]) -> bool {
        head.get(..usize::from(self.head_len)).is_some_and(|head| fnv1a(head) == self.head_hash)
    }

    /// Whether it is signed by as much of the head as there can be.
    #[must_use]
    pub fn is_signed_in_full(&self) -> bool {
        usize::from(self.head_len) == SIGNATURE_BYTES_MAX
    }

    /// The same generation, signed by more of its head if there is more by now.
    #[must_use]
    pub fn signed_by(self, head: &[u8]) -> Self {
        if head.len() > usize::from(self.head_len) {
            Self::new(self.identity, self.nonce, head)
        } else {
            self
        }
    }

    /// Whether both were signed by the same whole head of the same file.
    #[must_use]
    pub fn has_signature_of(&self, other: &Self) -> bool {
        self.is_signed_in_full()
            && (self.identity, self.head_len, self.head_hash)
                == (other.identity, other.head_len, other.head_hash)
    }

    /// Whether both name the same bytes, though one may have been signed when there were fewer.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.identity, self.nonce) == (other.identity, other.nonce)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { device, inode } = self.identity;
        write!(f, "{device:x}-{inode:x}-{:x}-{:x}-{:x}", self.nonce, self.head_len, self.head_hash)
    }
}

/// A text that is not a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAGeneration;

impl FromStr for Generation {
    type Err = NotAGeneration;

    fn from_str(text: &str) -> Result<Self, NotAGeneration> {
        let mut parts = text.split('-');
        let mut number = || {
            let part = parts
                .next()
                .filter(|part| !part.is_empty() && part.len() <= 16)
                .ok_or(NotAGeneration)?;
            u64::from_str_radix(part, 16).map_err(|_| NotAGeneration)
        };
        let identity = Identity { device: number()?, inode: number()? };
        let nonce = u32::try_from(number()?).map_err(|_| NotAGeneration)?;
        let head_len = u16::try_from(number()?).map_err(|_| NotAGeneration)?;
        let head_hash = number()?;
        if parts.next().is_some() || usize::from(head_len) > SIGNATURE_BYTES_MAX {
            return Err(NotAGeneration);
        }
        Ok(Self { identity, nonce, head_len, head_hash })
    }
}

/// FNV-1a, 64 bits: stable over versions and machines, which `std`'s hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// New bytes of a log, read once and published once. At most [`CHUNK_BYTES_MAX`](crate::log::file::CHUNK_BYTES_MAX).
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Number of the span of the timeline that it belongs to.
    pub span: u64,
    /// Offset of its first byte.
    pub start: Offset,
    /// The bytes, never empty.
    pub bytes: Bytes,
}

impl Chunk {
    /// The offset after its last byte.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.start.plus(self.bytes.len())
    }
}

/// Where a viewer is: a span of the timeline, and an offset in that span's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelinePosition {
    /// Number of the span.
    pub span: u64,
    /// The next byte wanted.
    pub offset: Offset,
}

/// What a chunk is to a viewer at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// Seen already: drop it.
    Stale,
    /// Take it without its first `skip` bytes.
    Take {
        /// Bytes that the viewer has already.
        skip: usize,
    },
    /// It starts after the place: read the file from the place first.
    Gap,
}

impl TimelinePosition {
    /// The splice rule: a chunk that ends at or before the place is dropped, one that covers it is cut to its suffix,
    /// one that starts after it is a gap.
    #[must_use]
    pub fn splice(&self, chunk: &Chunk) -> Splice {
        if chunk.span < self.span {
            Splice::Stale
        } else if chunk.span > self.span || chunk.start > self.offset {
            Splice::Gap
        } else if chunk.end() <= self.offset {
            Splice::Stale
        } else {
            Splice::Take { skip: (self.offset.0 - chunk.start.0) as usize }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(span: u64, start: u64, bytes: &'static [u8]) -> Chunk {
        Chunk { span, start: Offset(start), bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn the_splice_rule_drops_cuts_and_sees_gaps() {
        let place = TimelinePosition { span: 2, offset: Offset(10) };
        for (name, chunk, expected) in [
            ("of an earlier span", chunk(1, 10, b"abc"), Splice::Stale),
            ("ends before", chunk(2, 0, b"abc"), Splice::Stale),
            ("ends at the place", chunk(2, 7, b"abc"), Splice::Stale),
            ("covers the place", chunk(2, 8, b"abc"), Splice::Take { skip: 2 }),
            ("begins at the place", chunk(2, 10, b"abc"), Splice::Take { skip: 0 }),
            ("begins after the place", chunk(2, 11, b"abc"), Splice::Gap),
            ("of a later span", chunk(3, 0, b"abc"), Splice::Gap),
        ] {
            assert_eq!(place.splice(&chunk), expected, "a chunk that {name}");
        }
    }

    #[test]
    fn a_generation_is_proved_by_its_inode_and_a_whole_head_only() {
        let identity = Identity { device: 1, inode: 2 };
        let head = [b'x'; SIGNATURE_BYTES_MAX];
        let generation = Generation::new(identity, 7, &head);
        let far = Offset(1 << 40);
        assert!(generation.is_proved_by(identity, &[b'x'; 1000], far));
        let mut other = head;
        other[SIGNATURE_BYTES_MAX - 1] = b'y';
        assert!(!generation.is_proved_by(identity, &other, far), "another head");
        assert!(!generation.is_proved_by(identity, &head[1..], far), "a head that is shorter");
        let elsewhere = Identity { device: 1, inode: 3 };
        assert!(!generation.is_proved_by(elsewhere, &head, far), "another inode");
        let short = Generation::new(identity, 7, b"banner\n");
        assert!(
            !short.is_proved_by(identity, b"banner\nof another run\n", Offset(8)),
            "too little was signed"
        );
        assert!(
            short.is_proved_by(identity, b"banner\nof another run\n", Offset(7)),
            "all that was before was signed"
        );
    }

    proptest! {
        #[test]
        fn a_generation_survives_its_text(device: u64, inode: u64, nonce: u32, head: Vec<u8>) {
            let generation = Generation::new(Identity { device, inode }, nonce, &head);
            prop_assert_eq!(generation.to_string().parse(), Ok(generation));
        }

        #[test]
        fn any_text_is_a_generation_or_is_refused(text in "\\PC*") {
            if let Ok(generation) = text.parse::<Generation>() {
                prop_assert_eq!(generation.to_string().parse(), Ok(generation));
            }
        }

        /// However a log is cut into chunks, and wherever they overlap or miss, splicing gives each byte once.
        #[test]
        fn splicing_gives_every_byte_once(log in proptest::collection::vec(any::<u8>(), 1..200),
                                          cuts in proptest::collection::vec((0usize..200, 1usize..60), 0..40)) {
            let mut place = TimelinePosition { span: 0, offset: Offset(0) };
            let mut got = Vec::new();
            let last = (0usize, log.len());
            for (start, len) in cuts.into_iter().chain([last]) {
                let start = start.min(log.len() - 1);
                let end = (start + len).min(log.len());
                let chunk = Chunk { span: 0, start: Offset(start as u64), bytes: Bytes::copy_from_slice(&log[start..end]) };
                if let Splice::Take { skip } = place.splice(&chunk) {
                    got.extend_from_slice(&chunk.bytes[skip..]);
                    place.offset = chunk.end();
                }
            }
            prop_assert_eq!(got, log);
        }
    }
}
