//! Newlines in the bytes of a log.

/// The bytes that end a line.
///
/// In UTF-16 they are two, and lie at an even offset of the file. In each other encoding it is the
/// byte 0A, which is part of no other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Newline {
    /// 0A.
    Byte,
    /// 0A 00.
    Utf16Le,
    /// 00 0A.
    Utf16Be,
}

impl Newline {
    /// Its length in bytes. It begins at a multiple of that.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// The last offset up to this one at which a newline can begin.
    #[must_use]
    pub fn align(self, offset: u64) -> u64 {
        match self {
            Self::Byte => offset,
            Self::Utf16Le | Self::Utf16Be => offset & !1,
        }
    }

    /// Whether these bytes are a newline.
    #[must_use]
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Self::Byte => bytes == b"\n",
            Self::Utf16Le => bytes == b"\n\0",
            Self::Utf16Be => bytes == b"\0\n",
        }
    }

    /// Where the newlines in these bytes end, in order. The bytes begin at an aligned offset.
    pub fn ends(self, bytes: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
        memchr::memchr_iter(b'\n', bytes).filter_map(move |at| self.end(bytes, at))
    }

    /// How many newlines are in these bytes, which begin at an aligned offset.
    #[must_use]
    pub fn count(self, bytes: &[u8]) -> usize {
        match self {
            Self::Byte => memchr::memchr_iter(b'\n', bytes).count(),
            Self::Utf16Le | Self::Utf16Be => self.ends(bytes).count(),
        }
    }

    /// The end of the newline that has its byte 0A at `at`, if it is one.
    fn end(self, bytes: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Byte => Some(at + 1),
            Self::Utf16Le => {
                (at.is_multiple_of(2) && bytes.get(at + 1) == Some(&0)).then_some(at + 2)
            }
            Self::Utf16Be => {
                (!at.is_multiple_of(2) && bytes.get(at - 1) == Some(&0)).then_some(at + 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_of_utf_16_are_whole_units() {
        // U+4E0A has the byte 0A, too, and between the others lie 0A 00 and 00 0A.
        let text = "a\n上\u{a41}\u{100}\u{a41}\r\n\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (newline, bytes) in [(Newline::Utf16Le, &le), (Newline::Utf16Be, &be)] {
            assert_eq!(newline.ends(bytes).collect::<Vec<_>>(), [4, 16, 18], "{newline:?}");
            assert_eq!(newline.ends(bytes).rev().collect::<Vec<_>>(), [18, 16, 4]);
            assert_eq!(newline.count(bytes), 3);
            assert_eq!(newline.count(&bytes[..17]), 2, "half a newline");
            assert!(newline.is(&bytes[16..18]) && !newline.is(&bytes[15..17]));
            assert_eq!((newline.align(4), newline.align(5)), (4, 4));
        }
        assert_eq!(Newline::Byte.ends(text.as_bytes()).collect::<Vec<_>>(), [2, 15, 16]);
        assert_eq!(Newline::Byte.count(text.as_bytes()), 3);
    }
}
