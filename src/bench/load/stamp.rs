//! Stamps: each written line carries its number and the time at which it was due.
//!
//! The latency of a line counts from that time, not from the time of the write. So a writer that is
//! held up, and the lines that wait behind it, count as late ("coordinated omission" does not
//! occur). A stamp consists of lower-case letters and digits, which no rendering changes.

use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem::Finder;

/// The begin of each stamp.
const MARKER: &[u8] = b"tcbench";
const RUN_AT: usize = MARKER.len();
const SEQUENCE_AT: usize = RUN_AT + 8;
const DUE_AT: usize = SEQUENCE_AT + 8;
/// The length of a stamp, in bytes.
pub(crate) const STAMP_BYTES: usize = DUE_AT + 16;

/// The run and the number of a line, and the time at which it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Distinguishes the run from others in the same log.
    pub(crate) run: u32,
    /// The number of the line in its run, from 0.
    pub(crate) sequence: u32,
    /// Nanoseconds since 1970.
    pub(crate) due: u64,
}

/// The present time, in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

impl Stamp {
    /// The stamp as it is written.
    pub(crate) fn to_bytes(self) -> [u8; STAMP_BYTES] {
        let mut bytes = [0; STAMP_BYTES];
        let (marker, rest) = bytes.split_at_mut(RUN_AT);
        marker.copy_from_slice(MARKER);
        let (run, rest) = rest.split_at_mut(8);
        let (sequence, due) = rest.split_at_mut(8);
        put_hex(run, self.run.into());
        put_hex(sequence, self.sequence.into());
        put_hex(due, self.due);
        bytes
    }

    /// The stamp at the start of these bytes.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..STAMP_BYTES)?;
        Some(Self {
            run: hex(bytes.get(RUN_AT..SEQUENCE_AT)?)? as u32,
            sequence: hex(bytes.get(SEQUENCE_AT..DUE_AT)?)? as u32,
            due: hex(bytes.get(DUE_AT..)?)?,
        })
    }
}

fn put_hex(bytes: &mut [u8], mut number: u64) {
    for byte in bytes.iter_mut().rev() {
        *byte = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

fn hex(bytes: &[u8]) -> Option<u64> {
    bytes.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// Finds stamps.
pub(super) struct Stamps(Finder<'static>);

impl Stamps {
    pub(super) fn new() -> Self {
        Self(Finder::new(MARKER))
    }

    /// The whole stamps in these bytes.
    pub(super) fn find(&self, bytes: &[u8]) -> impl Iterator<Item = Stamp> {
        let found = self.0.find_iter(bytes);
        found.filter_map(|at| Stamp::parse(bytes.get(at..)?))
    }

    /// The stamp at the start of these bytes, if it is whole.
    pub(super) fn whole(&self, bytes: &[u8]) -> Option<Stamp> {
        bytes.starts_with(MARKER).then(|| Stamp::parse(bytes)).flatten()
    }

    /// The end of these bytes that may be the start of a stamp.
    pub(super) fn unfinished<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let from = bytes.len().saturating_sub(STAMP_BYTES - 1);
        let mut end = bytes.get(from..).unwrap_or_default();
        while let Some(at) = memchr::memchr(MARKER[0], end) {
            end = end.get(at..).unwrap_or_default();
            let marker = MARKER.len().min(end.len());
            let after = end.get(marker..).unwrap_or_default();
            if end.get(..marker) == MARKER.get(..marker)
                && (after.is_empty() || hex(after).is_some())
            {
                return end;
            }
            end = end.get(1..).unwrap_or_default();
        }
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 0xfade, sequence: 7, due: 0x18a_0000_0000_0001 };

    #[test]
    fn a_stamp_is_found_at_any_position() {
        let stamps = Stamps::new();
        let other = Stamp { sequence: 8, ..STAMP };
        let mut text = b"<b>tcbench not a stamp</b>".to_vec();
        text.extend(STAMP.to_bytes());
        text.extend(b" xxx\n<br>");
        text.extend(other.to_bytes());
        assert_eq!(stamps.find(&text).collect::<Vec<_>>(), [STAMP, other]);
        assert!(stamps.unfinished(&text).is_empty());
    }

    #[test]
    fn a_stamp_that_is_cut_anywhere_counts_as_unfinished() {
        let stamps = Stamps::new();
        let bytes = STAMP.to_bytes();
        for cut in 1..STAMP_BYTES {
            let mut text = b"tc tcbench-- ttc".to_vec();
            text.extend(&bytes[..cut]);
            assert_eq!(stamps.find(&text).count(), 0);
            assert_eq!(stamps.unfinished(&text), &bytes[..cut], "cut at {cut}");
        }
    }
}
