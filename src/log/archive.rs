//! Compressed files, read as the text that is in them.
//!
//! Nobody knows the size of a compressed file's content, or can read its end, without unpacking all
//! of it. So it is unpacked once, into a file without a name, and read from there at offsets as any
//! other log. The [`store`](Archives) keeps such copies for a while, up to a number of bytes. A
//! compressed file is recognised by its first bytes, whatever its name is, and is never written to.
//!
//! What can't be unpacked to its end is shown as far as it could be, with a [`Notice`].

mod content;
mod decoder;
mod store;
mod unpacked;

use std::fmt::{self, Display, Formatter};

pub(super) use content::Content;
pub use store::{Archives, CACHE_BYTES, CacheDirectoryError};
pub use unpacked::Unpacked;

/// How many first bytes tell the kind of compression.
pub(super) const MAGIC_BYTES: usize = 10;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Zstd, Self::Xz, Self::Bzip2];

    /// The compression of a file that begins with these bytes; None for a plain file.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        let is_block = |at: &[u8]| at.starts_with(b"1AY&SY") || at.starts_with(b"\x17rE8P\x90");
        if head.starts_with(b"\x1f\x8b\x08") {
            Some(Self::Gzip)
        } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else if head.starts_with(b"\xfd7zXZ\0") {
            Some(Self::Xz)
        } else if let [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] = head
            && is_block(block)
        {
            Some(Self::Bzip2)
        } else {
            None
        }
    }

    /// The usual ending of such a file's name, without the dot.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gzip => "gz",
            Self::Zstd => "zst",
            Self::Xz => "xz",
            Self::Bzip2 => "bz2",
        }
    }
}

/// Why a compressed file could not be unpacked to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// It ends in the middle of the compressed data.
    Truncated,
    /// Its compressed data are not valid from some byte on.
    Damaged,
    /// Its content is larger than may be unpacked.
    TooLarge,
    /// There is no room left for unpacked files.
    NoRoom,
    /// This program was built without the library for it.
    Unsupported,
    /// It could not be read.
    Unreadable,
}

impl Shortfall {
    /// A word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::TooLarge => "too-large",
            Self::NoRoom => "no-room",
            Self::Unsupported => "unsupported",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What has to be said about a compressed file that was not unpacked to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Why.
    pub shortfall: Shortfall,
    /// How it is compressed.
    pub compression: Compression,
    /// How many bytes of its content can be read.
    pub readable: u64,
}

impl Display for Notice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { shortfall, compression, readable } = self;
        let ending = compression.ending();
        let why = match shortfall {
            Shortfall::Truncated => {
                "ends early: it was cut off, or is still being written".to_owned()
            }
            Shortfall::Damaged => "is damaged".to_owned(),
            Shortfall::TooLarge => {
                "has more content than may be unpacked: raise --cache-max, or download the file"
                    .to_owned()
            }
            Shortfall::NoRoom => {
                "could not be unpacked further: there is no room left in --cache-dir".to_owned()
            }
            Shortfall::Unsupported => {
                format!("can't be unpacked: this build reads no .{ending} files")
            }
            Shortfall::Unreadable => "could not be read to its end".to_owned(),
        };
        write!(f, "this {ending} file {why}; {readable} bytes of its content are shown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_is_recognised_by_its_first_bytes() {
        for (head, expected) in [
            (&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], Some(Compression::Gzip)),
            (b"\x28\xb5\x2f\xfd\x04\x58", Some(Compression::Zstd)),
            (b"\xfd7zXZ\0\0\x04", Some(Compression::Xz)),
            (b"BZh91AY&SY", Some(Compression::Bzip2)),
            (b"BZh9\x17rE8P\x90", Some(Compression::Bzip2)),
            (b"BZh9 is a text", None),
            (b"BZh", None),
            (b"\x1f\x8b", None),
            (b"plain text", None),
            (b"", None),
        ] {
            assert_eq!(Compression::of(head), expected, "{head:?}");
        }
    }
}
