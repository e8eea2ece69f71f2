//! Logs that are not UTF-8: the rows are those of the same text in UTF-8, at the offsets of the log.

use proptest::prelude::*;

use super::chance::{chunks, noise};
use super::*;
use crate::encoding::{Detection, Encoding};

const LABELS: [&str; 8] =
    ["utf-16le", "utf-16be", "windows-1252", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"];

pub(super) fn encoding(label: &str) -> Encoding {
    Encoding::for_label(label).unwrap()
}

/// A character in an encoding; as a question mark where it has none.
fn encode(label: &str, ch: char) -> Vec<u8> {
    let mut units = [0; 2];
    match label {
        "utf-16le" => {
            ch.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_le_bytes()).collect()
        }
        "utf-16be" => {
            ch.encode_utf16(&mut units).iter().flat_map(|unit| unit.to_be_bytes()).collect()
        }
        _ => {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            let text = ch.to_string();
            let (bytes, _, is_lost) = encoding.encode(&text);
            if is_lost { b"?".to_vec() } else { bytes.into_owned() }
        }
    }
}

/// The text that has the same characters in an encoding, and the log in that encoding. For each
/// byte of the text, and for its end, the offset of its character.
fn encoded(label: &str, text: &str) -> (String, Vec<u8>, Vec<u64>) {
    let (mut shown, mut log, mut offsets) = (String::new(), Vec::new(), Vec::new());
    for ch in text.chars() {
        let bytes = encode(label, ch);
        let ch = if bytes == b"?" { '?' } else { ch };
        offsets.extend(std::iter::repeat_n(log.len() as u64, ch.len_utf8()));
        shown.push(ch);
        log.extend(bytes);
    }
    offsets.push(log.len() as u64);
    (shown, log, offsets)
}

pub(super) fn rows_in<'a>(
    detection: Detection,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Row> {
    let mut terminal = Terminal::with_encoding(0, detection);
    let mut rows = Vec::new();
    for chunk in chunks {
        // A copy must go on as the original would.
        terminal = terminal.clone();
        let start = terminal.at();
        let patch = terminal.feed(chunk);
        assert_eq!(patch.next, start + chunk.len() as u64);
        apply(&mut rows, &patch);
    }
    rows
}

fn places(rows: &[Row]) -> Vec<(u64, &str)> {
    rows.iter().map(|row| (row.offset, row.text())).collect()
}

fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_byte_order_mark_names_the_encoding_and_is_not_shown() {
    let log = utf16le("\u{feff}2026 ERROR 连接不上 retry=3\r\n::group::한국어 😀\r\n");
    let mark = "\u{feff}::group::a\n\u{feff}ERROR b\n".as_bytes();
    let be: Vec<u8> = "\u{feff}a\nb".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (log, expected) in [
        (&log[..], &[(0, "2026 ERROR 连接不上 retry=3"), (52, "::group::한국어 😀")][..]),
        (&be, &[(0, "a"), (6, "b")]),
        (mark, &[(0, "::group::a"), (14, "ERROR b")]),
        (b"\xff\xffa\n", &[(0, "\u{fffd}\u{fffd}a")]),
        (b"\xfe", &[]),
    ] {
        for len in [1, 2, 3, log.len()] {
            let rows = rows_in(Detection::default(), log.chunks(len));
            assert_eq!(places(&rows), expected, "{log:x?} in pieces of {len}");
        }
    }
    let rows = rows_in(Detection::default(), [mark]);
    assert!(rows[0].note().is_some_and(|note| note.group.is_some()), "the marker is found");
    let rows = rows_in(Detection::default(), [&log[..]]);
    assert!(rows[1].note().is_some_and(|note| note.group.is_some()), "the marker is found");
}

#[test]
fn a_byte_order_mark_within_a_line_is_kept() {
    check_texts(&[
        ("a\u{feff}b\n\u{feff}\u{feff}c", &["a\u{feff}b", "c"]),
        ("\x1b[31m\u{feff}a", &["a"]),
    ]);
}

#[test]
fn a_chosen_encoding_stands_above_a_byte_order_mark() {
    let rows = rows_in(Detection::of_encoding(encoding("latin1")), [&b"\xef\xbb\xbfa"[..]]);
    assert_eq!(places(&rows), [(0, "ï»¿a")]);
    let log = [utf16le("\u{feff}a\n"), b"8 bits\n".to_vec()].concat();
    let rows = rows_in(Detection::of_encoding(Encoding::UTF_8), [&log[..]]);
    assert_eq!(places(&rows), [(0, "\u{fffd}\u{fffd}a"), (5, "8 bits")]);
    // Taken for UTF-16 it is other text, and none of it is missing.
    let rows = rows_in(Detection::default(), [&log[..]]);
    assert_eq!(places(&rows)[1], (6, "\u{2038}\u{6962}\u{7374}"));
}

#[test]
fn the_rows_of_a_long_line_are_cut_between_characters() {
    for label in LABELS {
        for text in ["日".repeat(40_000), "a".repeat(70_000), "日a".repeat(25_000)] {
            let (shown, log, offsets) = encoded(label, &text);
            let expected = rows_of([shown.as_bytes()]);
            assert!(expected.len() > 1);
            let rows = rows_in(Detection::of_encoding(encoding(label)), log.chunks(1001));
            let expected: Vec<(u64, &str)> =
                expected.iter().map(|row| (offsets[row.offset as usize], row.text())).collect();
            assert!(places(&rows) == expected, "{label}");
        }
    }
}

/// Noise in an encoding, with bytes between that mean nothing in it.
fn encoded_noise() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let part = (noise(), prop::collection::vec(any::<u8>(), 0..4));
    let parts = prop::collection::vec(part, 1..3);
    (prop::sample::select(LABELS.to_vec()), parts).prop_map(|(label, parts)| {
        let log = parts.into_iter().flat_map(|(noise, others)| {
            let mut log = encoded(label, &String::from_utf8_lossy(&noise)).1;
            log.extend(others);
            log
        });
        (label, log.collect())
    })
}

proptest! {
    #![proptest_config(crate::testing::cases(250))]

    #[test]
    fn any_division_of_an_encoded_log_gives_the_same_rows(
        (label, log) in encoded_noise(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let detection = Detection::of_encoding(encoding(label));
        let whole = rows_in(detection, [&log[..]]);
        prop_assert_eq!(&rows_in(detection, chunks(&log, &cuts)), &whole);
        prop_assert_eq!(&rows_in(detection, log.chunks(1 + log.len() / 4096)), &whole);
    }

    #[test]
    fn the_rows_of_an_encoded_log_are_those_of_its_text(
        label in prop::sample::select(LABELS.to_vec()),
        text in "([a-c<\t日本ä😀\u{feff}]{0,9}(\u{1b}\\[3[0-9]m|\r|\u{8}|\u{202e}|\n|\r\n|\u{1b}\\[2K|\u{1b}\\[A)?){0,40}",
        cut in any::<usize>(),
    ) {
        let (shown, log, offsets) = encoded(label, &text);
        let expected = rows_of([shown.as_bytes()]);
        let rows = rows_in(Detection::of_encoding(encoding(label)), chunks(&log, &[cut]));
        let shape = |row: &Row, offset: u64| (offset, row.html(), row.ended);
        let expected: Vec<_> =
            expected.iter().map(|row| shape(row, offsets[row.offset as usize])).collect();
        let rows: Vec<_> = rows.iter().map(|row| shape(row, row.offset)).collect();
        prop_assert_eq!(rows, expected);
    }
}
