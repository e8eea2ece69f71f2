//! Limits that hold for any input.

use super::*;

#[test]
fn an_unterminated_sequence_does_not_hide_the_log() {
    let mut terminal = Terminal::new(0);
    terminal.feed(b"a\x1b]0;");
    for _ in 0..64 {
        terminal.feed(&[b'x'; 64 * 1024]);
        assert!(
            format!("{terminal:?}").len() < 4 * 1024 * 1024,
            "the buffer of a sequence is bounded"
        );
    }
    let patch = terminal.feed(b"tail");
    assert!(patch.rows().last().is_some_and(|row| row.text().ends_with("tail")));
    let mut terminal = Terminal::new(0);
    terminal.feed(b"\x1b[?1049h");
    let hidden = vec![b'x'; usize::try_from(super::screen_modes::ALTERNATE_BYTES_MAX).unwrap()];
    assert_eq!(terminal.feed(&hidden).rows().len(), 0);
    assert_eq!(terminal.feed(b"back").rows().next().unwrap().text(), "back");
}

#[test]
fn a_long_line_is_cut_without_loss() {
    let long = "0123456789abcdé".repeat(20_000);
    for chunk in [1 << 12, 1 << 20] {
        let mut line = long.clone().into_bytes();
        line.push(b'\n');
        let rows = rows_of(line.chunks(chunk));
        assert_eq!(rows.iter().map(Row::text).collect::<String>(), long);
        assert!(rows.iter().all(|row| row.text().len() <= ROW_BYTES_MAX));
        let (last, cut) = rows.split_last().unwrap();
        assert!(last.ended && !last.cut && cut.iter().all(|row| row.cut && !row.ended));
        let offsets: Vec<u64> = rows.iter().map(|row| row.offset).collect();
        assert_eq!(offsets[1], rows[0].text().len() as u64);
    }
    let colourful = "\x1b[31ma\x1b[32mb".repeat(ROW_RUNS_MAX);
    let rows = rows_of([colourful.as_bytes()]);
    assert_eq!(rows.iter().map(Row::text).collect::<String>(), "ab".repeat(ROW_RUNS_MAX));
    assert_eq!(rows.len(), 2);
}

#[test]
fn rows_out_of_reach_are_final() {
    let lines: String = (0..100).map(|i| format!("{i}\n")).collect();
    let rows = rows_of([lines.as_bytes(), b"\x1b[99AX"]);
    // Inserted rows cannot move the cursor's row out of reach.
    let inserted = rows_of([lines.as_bytes(), b"x\x1b[99A\x1b[99L\rY"]);
    assert_eq!(inserted[100 + 1 - SCREEN_ROWS].text(), "Y7");
    let edited: Vec<usize> = (0..100).filter(|&i| rows[i].text() != i.to_string()).collect();
    assert_eq!(edited, [100 + 1 - SCREEN_ROWS]);
    let heavy = format!("a\n{}\nb\x1b[9AX", "y".repeat(10_000));
    assert_eq!(texts(heavy.as_bytes())[2], "bX");
    // A cursor that cannot leave a long row stays in it, and goes up a row of the screen.
    let long = "y".repeat(10_000);
    let drawn = format!("{}X{}X", "y".repeat(10_001 - 80), "y".repeat(78));
    assert_eq!(texts(format!("a\n{long}\x1b[BX\x1b[AX").as_bytes()), ["a", &*drawn]);
}

#[test]
fn the_end_of_a_long_line_changes_that_line_only() {
    let mut terminal = Terminal::new(0);
    terminal.feed(b"one\ntwo\n");
    terminal.feed(&[b'.'; 20_000]);
    let end = terminal.feed(b"\n");
    let touched: Vec<(u64, usize)> = end.rows().map(|row| (row.offset, row.text().len())).collect();
    assert_eq!((end.from, touched), (8, vec![(8, 20_000)]));
    drop(end);
    let next = terminal.feed(b"three\n");
    assert_eq!((next.from, next.rows().len()), (20_009, 1));
}

#[test]
fn many_changes_of_style_make_html_in_proportion_to_their_bytes() {
    let toggles = "\x1b[1m\x1b[m".repeat(120_000);
    assert_eq!(html(format!("{toggles}x").as_bytes()), "x");
    let nested: String = (0..60_000).map(|i| format!("\x1b[{}mx", 30 + i % 8)).collect();
    let out = html(nested.as_bytes());
    assert!(out.len() <= 20 * nested.len(), "{} for {}", out.len(), nested.len());
    assert!(!out.contains("<span style='color:var(--red,#a00)'><span"), "styles do not pile up");
}

/// Feeds a log of `len` bytes that repeats the pattern, and returns the length of its HTML. Checks
/// the memory of the terminal after each piece.
fn made_of(pattern: &[u8], len: usize) -> usize {
    const PIECE_BYTES: usize = 64 * 1024;
    let piece = pattern.repeat(PIECE_BYTES.div_ceil(pattern.len()));
    let mut terminal = Terminal::new(0);
    let mut made = 0;
    let mut out = String::new();
    let mut open = (0, 0);
    while terminal.at() < len as u64 {
        let patch = terminal.feed(&piece);
        // The open row counts once, however often it is sent.
        if patch.from <= open.0 {
            made -= open.1;
        }
        for row in patch.rows() {
            out.clear();
            row.write_html(&mut out);
            made += out.len();
            open = (row.offset, if row.ended || row.cut { 0 } else { out.len() });
        }
        drop(patch);
        assert!(terminal.weight() < 2 << 20, "it holds {} bytes", terminal.weight());
    }
    made
}

#[test]
fn no_log_makes_a_terminal_use_much_memory() {
    let long_link = |n: usize| format!("\x1b]8;;http://{n:04}{}\x07x", "a".repeat(2000));
    let links: String = (0..60).map(long_link).collect();
    let patterns: [&[u8]; 12] = [
        b"x",
        b"\0",
        "e\u{301}\u{302}\u{303}".as_bytes(),
        b"\x1b[31ma\x1b[32mb",
        b"\x1b[7;31;44ma\x1b[0;32mb",
        b"\x1b[31m\x1b[7m",
        b"x\ry\x1b[K",
        b"\x1b[500Gx\n\x1b[60A\x1b[30B",
        b"\x1b[9Lx\x1b[64A\x1b[9M",
        b"\x1b7\x1b[H\x1b[9;9Hx\x1b8\x1b[S\x1b[T\n",
        b"::group::a\nsection_start:1:a\r",
        &[links.as_bytes(), b"\n"].concat(),
    ];
    for pattern in patterns {
        let text = String::from_utf8_lossy(pattern).chars().take(40).collect::<String>();
        let made = made_of(pattern, 2 << 20);
        // A cursor movement far to the right makes many blanks.
        let most = if text.contains("500G") { 64 } else { 20 };
        assert!(made <= most * (3 << 20), "{text:?} made {made} bytes");
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_needs_little_memory() {
    for start in ["", "\x1b]0;", "\x1bP", "\x1b_", "\x1b[?1049h"] {
        let mut terminal = Terminal::new(0);
        terminal.feed(start.as_bytes());
        let piece = vec![b'x'; 1 << 20];
        let mut heaviest = 0;
        for _ in 0..100 {
            terminal.feed(&piece);
            heaviest = heaviest.max(terminal.weight());
        }
        assert!(heaviest < 1 << 20, "{start:?}: it holds {heaviest} bytes");
        let patch = terminal.feed(b"\nafter");
        assert!(patch.rows().last().is_some_and(|row| row.text() == "after"));
    }
    let mut terminal = Terminal::new(0);
    terminal.feed(b"\x1b[31");
    let parameters = b";1".repeat(1 << 16);
    for _ in 0..16 {
        terminal.feed(&parameters);
        assert!(terminal.weight() < 1 << 16);
    }
    // A sequence of this length becomes text again, and so do the bytes after it.
    let patch = terminal.feed(b"mx");
    assert!(patch.rows().last().is_some_and(|row| row.text().ends_with("mx")));
}
