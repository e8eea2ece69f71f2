//! How the bytes of a log become text: encodings, newlines, and where in the log each character
//! lies.
//!
//! A log is UTF-8 unless a byte order mark at its start says UTF-16, or a viewer chooses another
//! encoding. One encoding holds for a whole generation, so that any place in the log can be read
//! without what comes before it. Text keeps the offsets of its bytes in the file: a [`Decoder`]
//! gives an [`OffsetMap`] with the text.
//!
//! What is no text in the encoding becomes U+FFFD. Nothing is left out. Pure.

mod decoder;
mod newline;
mod text;

pub use decoder::{Decoded, Decoder};
pub use newline::Newline;
pub use text::{OffsetMap, Place, Text};

use std::fmt;

/// An encoding of the Encoding Standard (<https://encoding.spec.whatwg.org>).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// UTF-8.
    pub const UTF_8: Self = Self(&encoding_rs::UTF_8_INIT);
    /// UTF-16, the low byte of each unit first.
    pub const UTF_16LE: Self = Self(&encoding_rs::UTF_16LE_INIT);
    /// UTF-16, the high byte of each unit first.
    pub const UTF_16BE: Self = Self(&encoding_rs::UTF_16BE_INIT);

    /// The encoding with this label, in any case, or with another name that is common for it. None
    /// for an unknown label, and for ISO-2022-JP: what its bytes mean depends on all bytes before
    /// them.
    #[must_use]
    pub fn for_label(label: &str) -> Option<Self> {
        let label = label.trim().to_ascii_lowercase();
        let common = match label.trim_start_matches("ms").trim_start_matches("cp") {
            "932" => "shift_jis",
            "936" => "gbk",
            "949" => "euc-kr",
            "950" => "big5",
            _ => &label,
        };
        // Python and others write `latin-1`, `euc_kr` and `iso8859_15`.
        let spellings = [common.to_owned(), common.replace('_', "-"), common.replace('-', "")];
        let encoding = spellings
            .iter()
            .find_map(|label| encoding_rs::Encoding::for_label_no_replacement(label.as_bytes()))?;
        (encoding != encoding_rs::ISO_2022_JP).then_some(Self(encoding))
    }

    /// How many bytes of a file are enough for [`of_sample`](Self::of_sample).
    pub const SAMPLE_BYTES: usize = 16 * 1024;

    /// The encoding of a file that begins with these bytes, if it is known: by a byte order mark, or
    /// as UTF-8 because of characters that hardly ever look so in another encoding.
    #[must_use]
    pub fn of_sample(bytes: &[u8]) -> Option<Self> {
        let marked = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| Self(encoding));
        marked.or_else(|| {
            let valid = match std::str::from_utf8(bytes) {
                Ok(text) => text.len(),
                // The last character may be incomplete.
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => return None,
            };
            let is_ascii = bytes.get(..valid).unwrap_or_default().is_ascii();
            (!is_ascii).then_some(Self::UTF_8)
        })
    }

    /// Its name in the standard, which is one of its labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What ends a line in it.
    #[must_use]
    pub fn newline(self) -> Newline {
        if self == Self::UTF_16LE {
            Newline::Utf16Le
        } else if self == Self::UTF_16BE {
            Newline::Utf16Be
        } else {
            Newline::Byte
        }
    }

    fn is_utf16(self) -> bool {
        self.newline() != Newline::Byte
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The encoding of a log, as far as its first bytes say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// The first bytes are not all there yet. Contains the first one, if it may begin a byte order
    /// mark.
    Open(Option<u8>),
    /// It is this one.
    Done(Encoding),
}

impl Default for Detection {
    fn default() -> Self {
        Self::Open(None)
    }
}

impl Detection {
    /// The encoding of a log that begins with these bytes: two are enough. UTF-8 needs no byte
    /// order mark.
    #[must_use]
    pub fn of_head(head: &[u8]) -> Self {
        match head {
            [] => Self::Open(None),
            [first @ (0xfe | 0xff)] => Self::Open(Some(*first)),
            [0xff, 0xfe, ..] => Self::Done(Encoding::UTF_16LE),
            [0xfe, 0xff, ..] => Self::Done(Encoding::UTF_16BE),
            _ => Self::Done(Encoding::UTF_8),
        }
    }

    /// The encoding; UTF-8 while it is open.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        match self {
            Self::Open(_) => Encoding::UTF_8,
            Self::Done(encoding) => encoding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_has_many_labels_and_one_name() {
        for (label, name) in [
            ("UTF8", "UTF-8"),
            (" utf-16 ", "UTF-16LE"),
            ("latin1", "windows-1252"),
            ("iso-8859-15", "ISO-8859-15"),
            ("gb2312", "GBK"),
            ("Shift-JIS", "Shift_JIS"),
            ("euc-kr", "EUC-KR"),
            ("big5-hkscs", "Big5"),
            ("latin-1", "windows-1252"),
            ("ISO8859_15", "ISO-8859-15"),
            ("euc_kr", "EUC-KR"),
            ("cp932", "Shift_JIS"),
            ("MS936", "GBK"),
            ("cp949", "EUC-KR"),
            ("cp950", "Big5"),
            ("cp1251", "windows-1251"),
        ] {
            let encoding = Encoding::for_label(label).unwrap();
            assert_eq!(encoding.name(), name);
            assert_eq!(Encoding::for_label(name), Some(encoding), "the name is a label");
        }
        for label in ["", "utf-9", "cp", "iso-2022-jp", "replacement", "iso-2022-kr", "850"] {
            assert_eq!(Encoding::for_label(label), None, "{label:?}");
        }
    }

    #[test]
    fn the_encoding_of_a_sample_is_known_or_not() {
        for (sample, expected) in [
            (&b""[..], None),
            (b"only ascii", None),
            (b"\xef\xbb\xbfa", Some(Encoding::UTF_8)),
            (b"\xff\xfea\0", Some(Encoding::UTF_16LE)),
            ("größer".as_bytes(), Some(Encoding::UTF_8)),
            (b"gr\xc3\xb6\xc3", Some(Encoding::UTF_8)),
            (b"ascii\xc3", None),
            (b"gr\xf6\xdfer", None),
        ] {
            assert_eq!(Encoding::of_sample(sample), expected, "{sample:x?}");
        }
    }

    #[test]
    fn two_bytes_say_the_encoding() {
        for (head, expected) in [
            (&b""[..], Detection::Open(None)),
            (b"\xff", Detection::Open(Some(0xff))),
            (b"\xfe", Detection::Open(Some(0xfe))),
            (b"\xef", Detection::Done(Encoding::UTF_8)),
            (b"\xff\xfe", Detection::Done(Encoding::UTF_16LE)),
            (b"\xfe\xff\0a", Detection::Done(Encoding::UTF_16BE)),
            (b"\xff\xff", Detection::Done(Encoding::UTF_8)),
            (b"\xef\xbb\xbfa", Detection::Done(Encoding::UTF_8)),
            (b"a", Detection::Done(Encoding::UTF_8)),
        ] {
            assert_eq!(Detection::of_head(head), expected, "{head:x?}");
        }
    }
}
