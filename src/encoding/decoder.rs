//! Decodes a log piece by piece. However it is divided, the text and the offsets are the same.

use crate::encoding::{Encoding, Newline, OffsetMap, Text};

/// The most bytes of text of a unit, with room to spare.
const UNIT_TEXT_BYTES: usize = 64;

/// Text, and where it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    text: String,
    map: OffsetMap,
}

impl Decoded {
    fn new(start: u64) -> Self {
        Self { text: String::new(), map: OffsetMap::new(start) }
    }

    /// The text with its offsets.
    #[must_use]
    pub fn text(&self) -> Text<'_> {
        Text::mapped(0, self.text.as_bytes(), Some(&self.map))
    }

    /// The text and its offsets.
    #[must_use]
    pub fn into_parts(self) -> (String, OffsetMap) {
        (self.text, self.map)
    }

    /// No more follows. The last bytes are a part of a character, and are counted to the text.
    pub fn end_with(&mut self, bytes: usize) {
        self.map.extend(bytes);
    }

    fn push(&mut self, ch: char, log_len: usize) {
        self.text.push(ch);
        self.map.push(ch.len_utf8(), log_len, 1);
    }

    /// Adds text that is one character in the log, or can't be divided.
    fn push_unit(&mut self, text: &str, log_len: usize) {
        self.text.push_str(text);
        self.map.push(text.len(), log_len, 1);
    }

    /// Adds ASCII, of which each character has so many bytes in the log.
    fn push_ascii(&mut self, text: &str, log_unit: usize) {
        self.text.push_str(text);
        if !text.is_empty() {
            self.map.push(1, log_unit, text.len());
        }
    }
}

/// The state of a log's decoding between two pieces: at most a few bytes of an incomplete
/// character.
#[derive(Clone, Debug)]
pub struct Decoder {
    encoding: Encoding,
    at: u64,
    pending: Vec<u8>,
}

impl Decoder {
    /// A decoder whose first byte will have this offset.
    #[must_use]
    pub fn new(encoding: Encoding, at: u64) -> Self {
        let mut decoder = Self { encoding, at, pending: Vec::new() };
        decoder.skip_to(at);
        decoder
    }

    /// How many bytes of a character that is not complete it holds.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The next byte will have this offset. What was held is dropped.
    pub fn skip_to(&mut self, at: u64) {
        self.at = at;
        self.pending.clear();
        // Reading begins within a unit of UTF-16 only behind a hole, whose bytes are NULs.
        if self.encoding.is_utf16() && !at.is_multiple_of(2) {
            self.pending.push(0);
        }
    }

    /// Decodes the next bytes, up to the last complete character.
    pub fn decode(&mut self, bytes: &[u8]) -> Decoded {
        let start = self.at - self.pending.len() as u64;
        self.at += bytes.len() as u64;
        let mut decoded = Decoded::new(start);
        if self.pending.is_empty() {
            let used = decode(self.encoding, bytes, &mut decoded);
            self.pending.extend_from_slice(bytes.get(used..).unwrap_or_default());
        } else {
            self.pending.extend_from_slice(bytes);
            let used = decode(self.encoding, &self.pending, &mut decoded);
            self.pending.drain(..used);
            self.pending.shrink_to_fit();
        }
        decoded
    }
}

/// Decodes complete characters. Returns how many bytes they have.
fn decode(encoding: Encoding, bytes: &[u8], decoded: &mut Decoded) -> usize {
    match encoding.newline() {
        Newline::Utf16Le => utf16(bytes, u16::from_le_bytes, decoded),
        Newline::Utf16Be => utf16(bytes, u16::from_be_bytes, decoded),
        Newline::Byte if encoding.0.is_single_byte() => {
            single_byte(encoding.0, bytes, decoded);
            bytes.len()
        }
        Newline::Byte => multi_byte(encoding.0, bytes, decoded),
    }
}

fn utf16(bytes: &[u8], read: fn([u8; 2]) -> u16, decoded: &mut Decoded) -> usize {
    let unit = |at: usize| Some(read([*bytes.get(at)?, *bytes.get(at + 1)?]));
    decoded.text.reserve(bytes.len() / 2);
    let mut at = 0;
    while let Some(first) = unit(at) {
        let (ch, len) = match first {
            0xd800..=0xdbff => match unit(at + 2) {
                None => break,
                Some(second) => {
                    match char::decode_utf16([first, second]).next() {
                        Some(Ok(ch)) => (ch, 4),
                        // The second one stands for itself.
                        _ => (char::REPLACEMENT_CHARACTER, 2),
                    }
                }
            },
            other => (char::from_u32(other.into()).unwrap_or(char::REPLACEMENT_CHARACTER), 2),
        };
        decoded.push(ch, len);
        at += len;
    }
    at
}

fn single_byte(encoding: &'static encoding_rs::Encoding, bytes: &[u8], decoded: &mut Decoded) {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    let mut rest = &*text;
    while !rest.is_empty() {
        let ascii = encoding_rs::Encoding::ascii_valid_up_to(rest.as_bytes());
        let (ascii, others) = rest.split_at(ascii);
        decoded.push_ascii(ascii, 1);
        let mut others = others.chars();
        if let Some(ch) = others.next() {
            decoded.push(ch, 1);
        }
        rest = others.as_str();
    }
}

/// All these encodings have ASCII as it is, outside of other characters.
fn multi_byte(
    encoding: &'static encoding_rs::Encoding,
    bytes: &[u8],
    decoded: &mut Decoded,
) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        let ascii = encoding_rs::Encoding::ascii_valid_up_to(rest);
        let (ascii, others) = rest.split_at(ascii);
        decoded.push_ascii(std::str::from_utf8(ascii).unwrap_or_default(), 1);
        at += ascii.len();
        let used = units(encoding, others, decoded);
        at += used;
        if used == 0 {
            break;
        }
    }
    at
}

/// Decodes a run of bytes that are not ASCII at once if each two are one character, as they mostly
/// are. Returns how many bytes they have, none otherwise.
fn pairs(encoding: &'static encoding_rs::Encoding, bytes: &[u8], decoded: &mut Decoded) -> usize {
    let run = bytes.iter().position(u8::is_ascii).unwrap_or(bytes.len());
    let (run, _) = bytes.split_at(run & !1);
    let text = encoding.decode_without_bom_handling_and_without_replacement(run);
    // As many characters as pairs: no encoding has both shorter and longer ones in such a run.
    let Some(text) = text.filter(|text| 2 * text.chars().count() == run.len()) else { return 0 };
    text.chars().for_each(|ch| decoded.push(ch, 2));
    run.len()
}

/// Decodes characters that are not ASCII, up to the first that is ASCII or incomplete.
fn units(encoding: &'static encoding_rs::Encoding, bytes: &[u8], decoded: &mut Decoded) -> usize {
    let used = pairs(encoding, bytes, decoded);
    if used > 0 {
        return used;
    }
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut text = [0; UNIT_TEXT_BYTES];
    // The unit begins at `start`, and its text is `text[..len]`.
    let (mut start, mut len) = (0, 0);
    for (at, byte) in bytes.iter().enumerate() {
        if start == at && byte.is_ascii() {
            break;
        }
        let room = text.get_mut(len..).unwrap_or_default();
        let (_, _, written, _) = decoder.decode_to_utf8(&[*byte], room, false);
        len += written;
        let used = at + 1 - start;
        // Only between characters does it say how many of the next bytes are ASCII.
        if decoder.latin1_byte_compatible_up_to(&[]).is_some() {
            let unit = std::str::from_utf8(text.get(..len).unwrap_or_default());
            decoded.push_unit(unit.unwrap_or("\u{fffd}"), used);
            (start, len) = (at + 1, 0);
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The text, and the offset of each of its characters.
    type Characters = Vec<(char, u64)>;

    fn characters(decoded: &Decoded) -> Characters {
        let offset = |index: usize| decoded.text().place().plus(index).offset();
        decoded.text.char_indices().map(|(index, ch)| (ch, offset(index))).collect()
    }

    fn decoded(label: &str, at: u64, pieces: &[&[u8]]) -> Characters {
        let mut decoder = Decoder::new(Encoding::for_label(label).unwrap(), at);
        pieces.iter().flat_map(|piece| characters(&decoder.decode(piece))).collect()
    }

    #[test]
    fn characters_have_the_offsets_of_their_first_bytes() {
        for (label, bytes, expected) in [
            ("utf-16le", &b"\xff\xfea\0\x0a\x4e"[..], &[('\u{feff}', 0), ('a', 2), ('上', 4)][..]),
            ("utf-16be", b"\0a\xd8\x3d\xde\0\0b", &[('a', 0), ('😀', 2), ('b', 6)]),
            ("utf-16le", b"\x3d\xd8a\0", &[('\u{fffd}', 0), ('a', 2)]),
            ("utf-16le", b"\0\xdea\0\x3d", &[('\u{fffd}', 0), ('a', 2)]),
            ("latin1", b"a\xe4\x80\n", &[('a', 0), ('ä', 1), ('€', 2), ('\n', 3)]),
            ("shift_jis", b"\x93\xfa\xb1a", &[('日', 0), ('ｱ', 2), ('a', 3)]),
            ("euc-jp", b"\x8f\xb0\xa1\xc6\xfc", &[('丂', 0), ('日', 3)]),
            ("gb18030", b"\xc1\xac\x81\x30\x81\x30a", &[('连', 0), ('\u{80}', 2), ('a', 6)]),
            ("gbk", b"\xc1\n\xc1\xac", &[('\u{fffd}', 0), ('\n', 0), ('连', 2)]),
            ("big5", b"\x88\x62a", &[('\u{ca}', 0), ('\u{304}', 0), ('a', 2)]),
            ("euc-kr", b"\xc7\xd1\xb1", &[('한', 0)]),
        ] {
            assert_eq!(decoded(label, 0, &[bytes]), expected, "{label}: {bytes:x?}");
        }
    }

    #[test]
    fn behind_a_hole_the_missing_half_of_a_unit_is_nul() {
        assert_eq!(decoded("utf-16be", 7, &[b"a\0b"]), [('a', 6), ('b', 8)]);
        assert_eq!(decoded("utf-16le", 7, &[b"\x4e", b"a\0"]), [('一', 6), ('a', 8)]);
    }

    /// Text in an encoding, with bytes between that are none.
    fn log() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
        let labels = prop::sample::select(vec![
            "utf-16le",
            "utf-16be",
            "windows-1252",
            "koi8-u",
            "gbk",
            "gb18030",
            "big5",
            "shift_jis",
            "euc-jp",
            "euc-kr",
            "x-user-defined",
        ]);
        let part = prop_oneof![
            6 => "[a-c \\n]{1,9}|[连接不上한국어日本ｱ丂é…]{1,9}".prop_map(Ok),
            1 => "[😀𠀀]{1,3}".prop_map(Ok),
            1 => proptest::collection::vec(any::<u8>(), 0..9).prop_map(Err),
            1 => proptest::collection::vec(0x80u8..=0xff, 0..9).prop_map(Err),
        ];
        (labels, proptest::collection::vec(part, 0..12)).prop_map(|(label, parts)| {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            let encode = |text: String| match label {
                "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => encoding.encode(&text).0.into_owned(),
            };
            let bytes = parts.into_iter().flat_map(|part| part.map_or_else(|raw| raw, encode));
            (label, bytes.collect())
        })
    }

    proptest! {
        #[test]
        fn the_text_does_not_depend_on_the_pieces((label, bytes) in log()) {
            let whole = decoded(label, 0, &[&bytes]);
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                prop_assert_eq!(&decoded(label, 0, &[first, second]), &whole, "cut at {}", cut);
            }
            let each: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&decoded(label, 0, &each), &whole);
        }

        #[test]
        fn what_is_held_of_a_character_is_bounded(
            label in prop::sample::select(vec!["gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", "utf-16le"]),
            bytes in proptest::collection::vec(prop::sample::select(b"\x0a0149A\x80\x81\x8e\x8f\xa1\xe4\xfe\xff\xd8".to_vec()), 0..60),
        ) {
            let mut decoder = Decoder::new(Encoding::for_label(label).unwrap(), 0);
            for byte in bytes {
                decoder.decode(&[byte]);
                prop_assert!(decoder.pending() < 4, "{} bytes", decoder.pending());
            }
        }

        #[test]
        fn the_text_is_that_of_the_encoding_standard((label, bytes) in log()) {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            let (expected, _) = encoding.decode_without_bom_handling(&bytes);
            // What is not complete yet is an error at the end only.
            let text: String = decoded(label, 0, &[&bytes]).iter().map(|(ch, _)| ch).collect();
            let expected = expected.trim_end_matches('\u{fffd}');
            prop_assert_eq!(text.trim_end_matches('\u{fffd}'), expected);
        }

        #[test]
        fn newlines_are_where_the_bytes_have_them((label, bytes) in log()) {
            let characters = decoded(label, 0, &[&bytes]);
            let ends = characters.iter().enumerate().filter(|(_, (ch, _))| *ch == '\n').map(
                |(nth, _)| characters.get(nth + 1).map(|(_, offset)| *offset as usize),
            );
            let newline = Encoding::for_label(label).unwrap().newline();
            let found: Vec<usize> = newline.ends(&bytes).collect();
            prop_assert_eq!(ends.clone().count(), found.len());
            for (end, found) in ends.zip(found) {
                prop_assert!(end.is_none_or(|end| end == found), "{:?} and {}", end, found);
            }
        }
    }
}
