//! Any bytes give the same rows however they are divided, and the HTML of a row is safe and shows
//! its text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tailcast::render::{Row, Size, Terminal};

#[allow(dead_code, reason = "it is shared with the tests")]
#[path = "../../tests/it/markup.rs"]
mod markup;

/// Feeds the pieces, and applies the patches as a viewer does.
fn rows<'a>(size: Option<Size>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Row> {
    let mut terminal = Terminal::new(0).on_screen(size);
    let mut rows: Vec<Row> = Vec::new();
    for piece in pieces {
        let patch = terminal.feed(piece);
        assert!(patch.from <= patch.next);
        rows.retain(|row| row.offset < patch.from);
        rows.extend(patch.rows().cloned());
    }
    rows
}

fuzz_target!(|input: (Vec<u16>, &[u8])| {
    let (cuts, bytes) = input;
    // The size of the screen is known in every other run.
    let number = cuts.first().copied().map_or(0, usize::from);
    let size = Size { columns: number / 2 % 128, rows: number / 256 % 64 };
    let size = (number % 2 == 1).then_some(size);
    let cuts = cuts.iter().take(16).map(|&cut| usize::from(cut) % (bytes.len() + 1));
    let mut cuts: Vec<_> = cuts.collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let whole = rows(size, [bytes]);
    assert_eq!(rows(size, cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]])), whole);
    assert!(whole.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    for row in &whole {
        let text: String = markup::parts(&row.html()).into_iter().map(|(text, _)| text).collect();
        assert_eq!(text, row.text());
        assert!(!text.chars().any(|ch| ch.is_control() && ch != '\t'));
        assert!(text.len() <= tailcast::render::ROW_BYTES_MAX);
    }
});
