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
pub mod envelope;
mod newline;
mod text;

pub use decoder::{Decoded, Decoder};
pub use envelope::Layout;
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

/// How the bytes of a log are to be read, as far as its first bytes say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detection {
    encoding: Option<Encoding>,
    layout: Option<Layout>,
    /// The first byte, if it may begin a byte order mark and the next one is not there yet.
    first: Option<u8>,
}

impl Detection {
    /// How many of the first bytes of a log are enough.
    pub const HEAD_BYTES: usize = Layout::HEAD_BYTES;

    /// What is known of a log that begins with these bytes.
    #[must_use]
    pub fn of_head(head: &[u8]) -> Self {
        let encoding = match head {
            [] => return Self::default(),
            [first @ (0xfe | 0xff)] => return Self { first: Some(*first), ..Self::default() },
            [0xff, 0xfe, ..] => Encoding::UTF_16LE,
            [0xfe, 0xff, ..] => Encoding::UTF_16BE,
            _ => Encoding::UTF_8,
        };
        Self { encoding: Some(encoding), layout: Layout::of_head(head), first: None }
    }

    /// A log of this encoding, whose layout its first bytes say.
    #[must_use]
    pub fn of_encoding(encoding: Encoding) -> Self {
        Self { encoding: Some(encoding), ..Self::default() }
    }

    /// The same with an encoding and a layout that were chosen.
    #[must_use]
    pub fn or_chosen(self, encoding: Option<Encoding>, layout: Option<Layout>) -> Self {
        let first = self.first.filter(|_| encoding.is_none());
        Self { encoding: encoding.or(self.encoding), layout: layout.or(self.layout), first }
    }

    /// The same, and where it is open what another one says.
    pub(crate) fn completed_by(self, other: Self) -> Self {
        let first = other.first.filter(|_| self.encoding.is_none());
        Self {
            encoding: self.encoding.or(other.encoding),
            layout: self.layout.or(other.layout),
            first,
        }
    }

    /// The same, where what is not known yet is read as the plain text that it is so far.
    #[must_use]
    pub fn so_far(self) -> Self {
        Self { encoding: Some(self.encoding()), layout: Some(self.layout()), first: None }
    }

    /// The first byte, if the encoding is not known yet because of it.
    pub(crate) fn first(self) -> Option<u8> {
        self.first
    }

    /// Whether more bytes may say more.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.encoding.is_none() || self.is_layout_open()
    }

    /// Whether the encoding is known, and more bytes may say more of the layout.
    fn is_layout_open(self) -> bool {
        self.layout.is_none() && !self.encoding.is_some_and(Encoding::is_utf16)
    }

    /// Whether the encoding is not known yet.
    #[must_use]
    pub fn is_encoding_open(self) -> bool {
        self.encoding.is_none()
    }

    /// The encoding; UTF-8 while it is open.
    #[must_use]
    pub fn encoding(self) -> Encoding {
        self.encoding.unwrap_or(Encoding::UTF_8)
    }

    /// The layout, if it is not open.
    pub(crate) fn known_layout(self) -> Option<Layout> {
        (!self.is_layout_open()).then(|| self.layout())
    }

    /// The layout; plain while it is open. Envelopes are never in UTF-16.
    #[must_use]
    pub fn layout(self) -> Layout {
        self.layout.filter(|_| !self.encoding().is_utf16()).unwrap_or(Layout::Plain)
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
        let open = |first| Detection { first, ..Detection::default() };
        for (head, expected) in [
            (&b""[..], Err(open(None))),
            (b"\xff", Err(open(Some(0xff)))),
            (b"\xfe", Err(open(Some(0xfe)))),
            (b"\xef", Ok(Encoding::UTF_8)),
            (b"\xff\xfe", Ok(Encoding::UTF_16LE)),
            (b"\xfe\xff\0a", Ok(Encoding::UTF_16BE)),
            (b"\xff\xff", Ok(Encoding::UTF_8)),
            (b"\xef\xbb\xbfa", Ok(Encoding::UTF_8)),
            (b"a", Ok(Encoding::UTF_8)),
        ] {
            let detection = Detection::of_head(head);
            let known = detection.encoding.ok_or(detection);
            assert_eq!(known, expected, "{head:?}");
            assert_eq!(detection.is_encoding_open(), expected.is_err(), "{head:?}");
            assert_eq!(detection.layout(), Layout::Plain, "{head:?}");
        }
    }

    #[test]
    fn what_was_chosen_stands_above_the_first_bytes() {
        let head = b"2026-11-28T14:02:07Z stdout F a\n";
        let found = Detection::of_head(head);
        assert_eq!((found.is_open(), found.layout()), (false, Layout::Enveloped));
        let (gbk, utf16) = (Encoding::for_label("gbk"), Some(Encoding::UTF_16LE));
        for (detection, encoding, layout, is_open) in [
            (found.or_chosen(gbk, None), gbk, Layout::Enveloped, false),
            (
                found.or_chosen(None, Some(Layout::Plain)),
                Some(Encoding::UTF_8),
                Layout::Plain,
                false,
            ),
            (found.or_chosen(utf16, None), utf16, Layout::Plain, false),
            (Detection::default().or_chosen(utf16, None), utf16, Layout::Plain, false),
            (Detection::default().or_chosen(gbk, None), gbk, Layout::Plain, true),
            (Detection::of_head(b"2026").so_far(), Some(Encoding::UTF_8), Layout::Plain, false),
        ] {
            assert_eq!(Some(detection.encoding()), encoding);
            assert_eq!(
                (detection.layout(), detection.is_open()),
                (layout, is_open),
                "{detection:?}"
            );
        }
    }
}
