//! Rendering: tables of bytes and the resulting rows, and property tests.

mod bounds;
mod chance;
mod encodings;
mod envelopes;
#[path = "../../../tests/it/markup.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "what reads HTML is shared with the tests from outside"
)]
mod markup;
mod notes;
mod sequences;
mod styles;

use super::*;

/// Applies a patch as a viewer does.
fn apply(rows: &mut Vec<Row>, patch: &Patch<'_>) {
    assert!(patch.from <= patch.next);
    rows.retain(|row| row.offset < patch.from);
    rows.extend(patch.rows().cloned());
    assert!(
        rows.windows(2).all(|pair| pair[0].offset < pair[1].offset),
        "offsets increase: {rows:?}"
    );
    let complete = rows.iter().filter(|row| row.ended != row.cut).count();
    assert!(
        complete + 1 >= rows.len() && rows.iter().rev().skip(1).all(|row| row.ended || row.cut),
        "{rows:?}"
    );
}

pub(super) fn rows_of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Row> {
    let mut terminal = Terminal::new(0);
    let mut rows = Vec::new();
    for chunk in chunks {
        // A copy must behave like the original.
        terminal = terminal.clone();
        let start = terminal.at();
        let patch = terminal.feed(chunk);
        assert_eq!(patch.next, start + chunk.len() as u64);
        let next = patch.next;
        apply(&mut rows, &patch);
        drop(patch);
        assert_eq!(terminal.at(), next);
    }
    rows
}

pub(super) fn offsets(bytes: &[u8]) -> Vec<u64> {
    rows_of([bytes]).iter().map(|row| row.offset).collect()
}

pub(super) fn texts(bytes: &[u8]) -> Vec<String> {
    rows_of([bytes]).iter().map(|row| row.text().to_owned()).collect()
}

fn html(bytes: &[u8]) -> String {
    rows_of([bytes]).iter().map(Row::html).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_texts(table: &[(&str, &[&str])]) {
    for (bytes, expected) in table {
        assert_eq!(texts(bytes.as_bytes()), *expected, "{bytes:?}");
        // Byte by byte the result must be the same, which tests all chunk boundaries.
        let split: Vec<String> =
            rows_of(bytes.as_bytes().chunks(1)).iter().map(|row| row.text().to_owned()).collect();
        assert_eq!(split, *expected, "{bytes:?} in single bytes");
    }
}

#[test]
fn a_patch_contains_the_changed_rows() {
    let mut terminal = Terminal::new(0);
    let mut shape = |bytes: &[u8]| -> (u64, u64, Vec<(u64, bool, String)>) {
        let patch = terminal.feed(bytes);
        let rows = patch.rows().map(|row| (row.offset, row.ended, row.text().to_owned()));
        (patch.from, patch.next, rows.collect())
    };
    assert_eq!(shape(b"a"), (0, 1, vec![(0, false, "a".into())]));
    assert_eq!(shape(b"b\nc"), (0, 4, vec![(0, true, "ab".into()), (3, false, "c".into())]));
    assert_eq!(shape(b"\n"), (3, 5, vec![(3, true, "c".into())]));
    assert_eq!(shape(b"\x1b[31m"), (10, 10, vec![]));
    assert_eq!(shape(b"\n"), (5, 11, vec![(5, true, String::new())]));
    assert_eq!(shape(b""), (11, 11, vec![]));
    assert_eq!(Terminal::new(7).feed(b"x\n").rows().next().unwrap().offset, 7);
}
#[test]
fn bytes_that_are_not_text_are_replaced() {
    assert_eq!(texts(b"a\xffb\xe2\x82\nc\x9bd\xf0\x9f\x98"), ["a\u{fffd}b\u{fffd}", "c\u{fffd}d"]);
    let bytes = "añ漢😀z".as_bytes();
    for at in 0..bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(rows_of([a, b])[0].text(), "añ漢😀z");
    }
    assert_eq!(
        rows_of([&b"\xe2\x82"[..], b"A\xf0\x9f", b"\x98", b"\n"])[0].text(),
        "\u{fffd}A\u{fffd}"
    );
}

#[test]
fn characters_that_reorder_text_are_shown_as_marks() {
    let controls = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}";
    for ch in controls.chars() {
        let mark = format!("a⟨U+{:04X}⟩b", u32::from(ch));
        assert_eq!(texts(format!("a{ch}b").as_bytes()), [mark.as_str()]);
        assert_eq!(html(format!("a{ch}b").as_bytes()), mark);
        assert_eq!(rows_of(format!("a{ch}b").as_bytes().chunks(1))[0].text(), mark);
    }
}

#[test]
fn ways_up_do_not_depend_on_chunks() {
    // A way up from a row of 42 columns, over a row that it leaves again.
    let from_42 = "\n\t\t\t\t\t)\x1b[A)";
    let lines = "l\n".repeat(SCREEN_ROWS + 10);
    for log in [
        // Columns are measured behind tabs and cells.
        b"\n\t\t\xff\x08\t\t\te\x1b[A)\x1b[A)".to_vec(),
        // Rows become final while a way is shown.
        format!("{lines}{from_42}\x1b[A)").into_bytes(),
        // A row is given back, and the way goes on.
        format!("{from_42}\x1b[A\x1b[A").into_bytes(),
        // The rows that a program drew the last time have become final.
        format!("\n\x1b[A{}\n{lines}\x1b[75A\r{}\x1b[AZ", "w".repeat(150), "x".repeat(100))
            .into_bytes(),
        format!("\n\x1b[A{lines}{x}\n\x1b[64A\r{x}\n{x}\n\x1b[2AZ", x = "x".repeat(100))
            .into_bytes(),
    ] {
        let whole = rows_of([&log[..]]);
        for cut in 0..log.len() {
            let (head, tail) = log.split_at(cut);
            let rows = rows_of([head, tail]);
            let last = |rows: &[Row]| rows[rows.len().saturating_sub(3)..].to_vec();
            let text = log[cut.saturating_sub(20)..].escape_ascii();
            assert_eq!(last(&rows), last(&whole), "cut after {cut}, before {text}");
            assert!(rows == whole, "cut after {cut}, before {text}");
        }
    }
}
