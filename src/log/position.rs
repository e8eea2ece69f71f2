//! Positions: which byte of which file.
//!
//! An [`Offset`] alone means nothing once a file has been rotated or truncated. So a position on
//! the wire is a [`Generation`] and an offset. Inside the process a position is a
//! [`TimelinePosition`]: the number of a span and an offset. The splice rule, the only join logic
//! there is, compares such a position with a [`Chunk`].

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;

use crate::log::access::Identity;

/// A byte position in a log, counted from the start of its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset `bytes` further on.
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

/// A signature of fewer bytes proves nothing.
pub(crate) const SIGNATURE_BYTES_MIN: usize = 4;

/// How many bytes of the head of a file a signature covers at most.
pub const SIGNATURE_BYTES_MAX: usize = 256;

/// The identity of the bytes behind a path: it changes when the file is replaced or truncated.
///
/// Its text is `DEVICE-INODE-NONCE-LENGTH-HASH`, each in hexadecimal. The first three numbers are
/// the generation itself and never change. The last two are its [`Signature`], which changes while
/// the file is shorter than a whole signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Generation {
    /// Device and inode of the file.
    pub identity: Identity,
    /// A random number. It tells two generations of one inode apart while the server runs: a
    /// truncation begins a new generation.
    pub nonce: u32,
    /// The first bytes of the file when the generation was last seen.
    pub signature: Signature,
}

/// The length and the hash of a file's first bytes.
///
/// With it a position is recognised after a restart of the server, and never continues in another
/// file that got the same inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// How many bytes were hashed, at most [`SIGNATURE_BYTES_MAX`].
    pub len: u16,
    /// FNV-1a of those bytes, 64 bits.
    pub hash: u64,
}

impl Signature {
    /// The signature of a file that begins with `head`.
    #[must_use]
    pub fn new(head: &[u8]) -> Self {
        let head = head.get(..SIGNATURE_BYTES_MAX).unwrap_or(head);
        Self { len: head.len() as u16, hash: fnv1a(head) }
    }

    /// How many bytes it covers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether it covers as many bytes as a signature can.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.bytes() == SIGNATURE_BYTES_MAX
    }

    /// Whether `head` begins with the signed bytes.
    #[must_use]
    pub fn is_of(&self, head: &[u8]) -> bool {
        head.get(..self.bytes()).is_some_and(|head| fnv1a(head) == self.hash)
    }

    /// Whether it covers all bytes up to the known end, and there are some.
    #[must_use]
    pub fn is_entire(&self, end: Option<Offset>) -> bool {
        self.len > 0 && end == Some(Offset(u64::from(self.len)))
    }

    /// Whether a content that begins with `head` begins with the signed bytes, and does so beyond
    /// doubt: the signature is whole, or the content has no more bytes than these.
    #[must_use]
    pub fn is_of_content(&self, head: &[u8]) -> bool {
        (self.is_whole() || head.len() == self.bytes()) && self.is_of(head)
    }
}

impl Generation {
    /// The generation of a file that begins with `head`.
    #[must_use]
    pub fn new(identity: Identity, nonce: u32, head: &[u8]) -> Self {
        Self { identity, nonce, signature: Signature::new(head) }
    }

    /// Whether a file of this identity that begins with `head` provably has this generation's
    /// bytes up to `offset`. A partial signature proves only the signed bytes, because other files
    /// may begin with the same bytes.
    #[must_use]
    pub fn is_proved_by(&self, identity: Identity, head: &[u8], offset: Offset) -> bool {
        let signed = self.signature.bytes();
        signed >= SIGNATURE_BYTES_MIN
            && (self.signature.is_whole() || offset.0 <= signed as u64)
            && self.identity == identity
            && self.is_of(head)
    }

    /// Whether `head` begins with the bytes of its signature.
    #[must_use]
    pub fn is_of(&self, head: &[u8]) -> bool {
        self.signature.is_of(head)
    }

    /// The same generation, with a longer signature if `head` is longer than the signed bytes.
    #[must_use]
    pub fn signed_by(self, head: &[u8]) -> Self {
        if head.len() > self.signature.bytes() {
            Self::new(self.identity, self.nonce, head)
        } else {
            self
        }
    }

    /// Whether both have the same whole signature of the same file.
    #[must_use]
    pub fn has_signature_of(&self, other: &Self) -> bool {
        self.signature.is_whole()
            && (self.identity, self.signature) == (other.identity, other.signature)
    }

    /// Whether both are the same generation. Their signatures may differ in length.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.identity, self.nonce) == (other.identity, other.nonce)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.len, self.hash)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity: Identity { device, inode }, nonce, signature } = self;
        write!(f, "{device:x}-{inode:x}-{nonce:x}-{signature}")
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
        let len = u16::try_from(number()?).map_err(|_| NotAGeneration)?;
        let signature = Signature { len, hash: number()? };
        if parts.next().is_some() || signature.bytes() > SIGNATURE_BYTES_MAX {
            return Err(NotAGeneration);
        }
        Ok(Self { identity, nonce, signature })
    }
}

/// FNV-1a, 64 bits: the same in every version and on every machine, which `std`'s hasher does not
/// promise. See <http://www.isthe.com/chongo/tech/comp/fnv/>.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// New bytes of a log, read once and published once: at most
/// [`CHUNK_BYTES_MAX`](crate::log::file::CHUNK_BYTES_MAX).
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The number of the span that it belongs to.
    pub span: u64,
    /// The offset of its first byte.
    pub start: Offset,
    /// The bytes, never empty.
    pub bytes: Bytes,
    /// When the file was last written to before these bytes were read.
    pub written: SystemTime,
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
    /// The number of the span.
    pub span: u64,
    /// The offset of the next byte wanted.
    pub offset: Offset,
}

/// What a viewer at some position does with a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// It has been seen already: drop it.
    Stale,
    /// Take the chunk without its first `skip` bytes.
    Take {
        /// How many bytes the viewer has already.
        skip: usize,
    },
    /// It starts after the position: read the file from the position first.
    Gap,
}

impl TimelinePosition {
    /// The splice rule: a chunk that ends at or before the position is dropped, one that covers it
    /// is cut to its suffix, one that starts after it is a gap.
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
        let (start, bytes) = (Offset(start), Bytes::from_static(bytes));
        Chunk { span, start, bytes, written: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn a_signature_tells_a_content_where_it_is_whole_or_all_of_it() {
        let long = [b'x'; SIGNATURE_BYTES_MAX + 10];
        let whole = Signature::new(&long);
        assert!(whole.is_of_content(&long) && !whole.is_entire(Some(Offset(266))));
        let few = Signature::new(b"few");
        assert!(few.is_of_content(b"few"));
        assert!(!few.is_of_content(b"few more") && !few.is_of_content(b"fe"));
        assert!(few.is_entire(Some(Offset(3))));
        assert!(!few.is_entire(Some(Offset(4))) && !few.is_entire(None));
        assert!(!Signature::new(b"").is_entire(Some(Offset(0))), "any file begins with nothing");
    }

    #[test]
    fn the_splice_rule_drops_cuts_and_sees_gaps() {
        let position = TimelinePosition { span: 2, offset: Offset(10) };
        for (name, chunk, expected) in [
            ("of an earlier span", chunk(1, 10, b"abc"), Splice::Stale),
            ("ends before", chunk(2, 0, b"abc"), Splice::Stale),
            ("ends at the position", chunk(2, 7, b"abc"), Splice::Stale),
            ("covers the position", chunk(2, 8, b"abc"), Splice::Take { skip: 2 }),
            ("begins at the position", chunk(2, 10, b"abc"), Splice::Take { skip: 0 }),
            ("begins after the position", chunk(2, 11, b"abc"), Splice::Gap),
            ("of a later span", chunk(3, 0, b"abc"), Splice::Gap),
        ] {
            assert_eq!(position.splice(&chunk), expected, "a chunk that {name}");
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

    #[test]
    fn the_text_of_a_generation_ends_with_its_signature() {
        let identity = Identity { device: 0x10, inode: 0x2a };
        let generation = Generation::new(identity, 7, b"abc");
        assert_eq!(generation.to_string(), "10-2a-7-3-e71fa2190541574b");
        assert_eq!(generation.signature.to_string(), "3-e71fa2190541574b");
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

        /// However a log is cut into chunks, and wherever they overlap or miss, splicing gives each
        /// byte once.
        #[test]
        fn splicing_gives_every_byte_once(log in proptest::collection::vec(any::<u8>(), 1..200),
                                          cuts in proptest::collection::vec((0usize..200, 1usize..60), 0..40)) {
            let mut position = TimelinePosition { span: 0, offset: Offset(0) };
            let mut got = Vec::new();
            let last = (0usize, log.len());
            for (start, len) in cuts.into_iter().chain([last]) {
                let start = start.min(log.len() - 1);
                let end = (start + len).min(log.len());
                let chunk = Chunk { span: 0, start: Offset(start as u64), bytes: Bytes::copy_from_slice(&log[start..end]), written: SystemTime::UNIX_EPOCH };
                if let Splice::Take { skip } = position.splice(&chunk) {
                    got.extend_from_slice(&chunk.bytes[skip..]);
                    position.offset = chunk.end();
                }
            }
            prop_assert_eq!(got, log);
        }
    }
}
