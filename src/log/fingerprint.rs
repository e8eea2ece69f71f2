//! The fingerprint of an offset: the 64 bytes before it.
//!
//! Each read of new bytes takes the fingerprint's bytes from the file in the same call and compares
//! them. So a file that was truncated and has grown past the offset again is recognised: its size
//! says nothing, its bytes do.

use std::io;

use crate::log::file::LogFile;
use crate::log::position::Offset;

/// The most bytes before an offset that are compared at each read.
pub const FINGERPRINT_BYTES: usize = 64;

/// An offset with the bytes before it, at most [`FINGERPRINT_BYTES`].
#[derive(Clone, Debug)]
pub struct Fingerprint {
    offset: Offset,
    len: u8,
    bytes: [u8; FINGERPRINT_BYTES],
}

impl Fingerprint {
    /// The empty fingerprint of an offset: any bytes before it match.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self { offset, len: 0, bytes: [0; FINGERPRINT_BYTES] }
    }

    /// The offset after its bytes.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// The offset of its first byte.
    pub(super) fn start(&self) -> Offset {
        Offset(self.offset.0 - u64::from(self.len))
    }

    /// Moves on over the bytes that follow its offset.
    pub fn advance(&mut self, bytes: &[u8]) {
        self.offset = self.offset.plus(bytes.len());
        let len = usize::from(self.len);
        let (old, new) = if bytes.len() >= FINGERPRINT_BYTES {
            (0, FINGERPRINT_BYTES)
        } else {
            (len.min(FINGERPRINT_BYTES - bytes.len()), bytes.len())
        };
        self.bytes.copy_within(len - old..len, 0);
        self.bytes[old..old + new].copy_from_slice(&bytes[bytes.len() - new..]);
        self.len = (old + new) as u8;
    }

    /// Moves on to a later fingerprint.
    pub(crate) fn move_to(&mut self, later: &Self) {
        let known = self.offset.0.checked_sub(later.start().0);
        match known.and_then(|known| later.bytes().get(usize::try_from(known).ok()?..)) {
            Some(new) => self.advance(new),
            None => *self = later.clone(),
        }
    }

    /// The bytes before its offset, as far as they are known.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl LogFile {
    /// The fingerprint of `offset`, from the file's bytes before it.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn fingerprint(&self, offset: Offset) -> io::Result<Fingerprint> {
        let start = Offset(offset.0.saturating_sub(FINGERPRINT_BYTES as u64));
        let mut fingerprint = Fingerprint::at(start);
        fingerprint.advance(&self.read_at(start, (offset.0 - start.0) as usize)?);
        fingerprint.offset = offset;
        Ok(fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fingerprint_holds_the_bytes_before_its_offset(parts in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..150), 0..8)) {
            let mut fingerprint = Fingerprint::at(Offset(0));
            let mut all = Vec::new();
            for part in parts {
                fingerprint.advance(&part);
                all.extend_from_slice(&part);
                let tail = &all[all.len().saturating_sub(FINGERPRINT_BYTES)..];
                prop_assert_eq!(fingerprint.offset(), Offset(all.len() as u64));
                prop_assert_eq!(fingerprint.bytes(), tail);
            }
            let log = LogFile::with_bytes(&all);
            let from_file = log.fingerprint(Offset(all.len() as u64)).unwrap();
            prop_assert_eq!(from_file.bytes(), fingerprint.bytes());
        }
    }
}
