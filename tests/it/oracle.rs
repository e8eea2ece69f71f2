//! Compares rows with those of real terminal emulators for the same random bytes.

use proptest::prelude::*;
use tailcast::render::{Patch, Row, Size, Terminal};

use crate::emulators::{of_avt, of_vt100};
use crate::markup::{self, Cell};

/// The number of rows that a log's screen can change.
const ROWS: usize = 64;
/// Enough columns that no line wraps.
const COLUMNS: usize = 500;

/// Applies a patch as a viewer does.
pub fn apply(rows: &mut Vec<Row>, patch: &Patch<'_>) {
    rows.retain(|row| row.offset < patch.from);
    rows.extend(patch.rows().cloned());
}

/// The rows of a log that is fed in pieces of this size.
pub fn rows_of(log: &[u8], piece: usize) -> Vec<Row> {
    rows_in(Terminal::new(0), log, piece)
}

/// The rows of a log that this terminal is fed in pieces of this size.
pub fn rows_in(mut terminal: Terminal, log: &[u8], piece: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for piece in log.chunks(piece) {
        apply(&mut rows, &terminal.feed(piece));
    }
    rows
}

/// The visible cells of the rows.
pub fn seen(rows: &[Row]) -> Vec<Vec<Cell>> {
    markup::trimmed(rows.iter().map(|row| markup::of_html(&row.html())).collect())
}

type Pieces = Vec<String>;

fn words(wide: bool) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-z<&' ]{1,10}",
        1 => if wide { "[漢字한é😀]{1,3}" } else { "[éñ]{1,3}" },
        1 => "\t",
    ]
}

/// Resets the attributes that a new row at the bottom of a screen would take from the pen: the
/// background, and in this emulator others as well.
const BREAK: &str = "\x1b[22;23;24;25;27;29;49m";

/// One or two SGR sequences. Without `blanks`, none is visible on blanks.
fn look(blanks: bool) -> impl Strategy<Value = String> {
    let seen_on_blanks = move |code: &String| {
        let lead = code.split([';', ':']).next().and_then(|lead| lead.parse::<u8>().ok());
        !lead.is_some_and(|lead| matches!(lead, 4 | 7 | 9 | 40..=48 | 100..=107))
    };
    let code = prop_oneof![
        // With a reset before bold and faint, because only this emulator makes them exclusive.
        3 => prop::sample::select(vec!["0", "", "22;1", "22;2", "3", "4", "7", "9", "5", "22", "23", "24", "25", "27", "29", "39", "49"]).prop_map(str::to_owned),
        2 => prop_oneof![30_u8..38, 40_u8..48, 90_u8..98, 100_u8..108].prop_map(|n| n.to_string()),
        1 => (prop::sample::select(vec![38_u8, 48]), any::<u8>()).prop_map(|(n, i)| format!("{n};5;{i}")),
        1 => (prop::sample::select(vec![38_u8, 48]), any::<u8>()).prop_map(|(n, i)| format!("{n}:5:{i}")),
        1 => (prop::sample::select(vec![38_u8, 48]), any::<[u8; 3]>()).prop_map(|(n, [r, g, b])| format!("{n};2;{r};{g};{b}")),
        1 => (prop::sample::select(vec![38_u8, 48]), any::<[u8; 3]>()).prop_map(|(n, [r, g, b])| format!("{n}:2::{r}:{g}:{b}")),
    ];
    let code = code.prop_filter("seen on blanks", move |code| blanks || seen_on_blanks(code));
    prop::collection::vec(code, 1..3).prop_map(|codes| format!("\x1b[{}m", codes.join(";")))
}

/// A sequence with a small number or with its default.
fn numbered(finals: &'static str, max: u8) -> impl Strategy<Value = String> {
    let finals: Vec<char> = finals.chars().collect();
    (0..=max, prop::sample::select(finals)).prop_map(|(n, last)| match n {
        0 => format!("\x1b[{last}"),
        n => format!("\x1b[{n}{last}"),
    })
}

/// Pieces that stay within a row. Two differences between emulators are avoided: the pen is set
/// before an erase, and there are no backgrounds together with wide characters, whose other half
/// they treat differently.
fn in_a_row(wide: bool) -> impl Strategy<Value = String> {
    let erased = if wide { 0 } else { 8_u8 };
    prop_oneof![
        8 => words(wide),
        4 => look(!wide),
        // Texts with nothing but returns between them may be lines, and not only one row.
        2 => Just("\r\x1b[?25l".to_owned()),
        2 => Just("\x08".to_owned()),
        3 => numbered("CDG`aIZ", 9),
        1 => ("[a-zé]", numbered("b", 5)).prop_map(|(ch, repeat)| ch + &repeat),
        // A log has no right edge, so erasing to the right edge must have no background.
        2 => prop::sample::select(vec!["\x1b[K", "\x1b[0K", "\x1b[2K", "\x1b[P", "\x1b[3P"]).prop_map(|erase| format!("\x1b[m{erase}")),
        3 => (0..=erased, prop_oneof![Just("\x1b[1K".to_owned()), numbered("X@", 4)]).prop_map(|(n, edit)| match n {
            0 => format!("\x1b[m{edit}"),
            n => format!("\x1b[0;{}m{edit}", 39 + n),
        }),
        1 => Just("\x1b(0lqxk\x1b(B".to_owned()),
        1 => prop::sample::select(vec!["\x1b]0;title\x07", "\x1b]8;;http://a\x1b\\", "\x1b]8;;\x1b\\", "\x1b[?25l", "\x1bPq\x1b\\", "\x1b_x\x1b\\"]).prop_map(str::to_owned),
    ]
}

/// A mix of such pieces and of others.
fn pieces(others: impl Fn() -> BoxedStrategy<String>) -> impl Strategy<Value = Pieces> {
    any::<bool>().prop_flat_map(move |wide| {
        prop::collection::vec(prop_oneof![1 => in_a_row(wide), 1 => others()], 0..80)
    })
}

fn one_of(sequences: &[&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(sequences.to_vec()).prop_map(str::to_owned)
}

fn line_break(sequences: &[&'static str]) -> impl Strategy<Value = String> {
    one_of(sequences).prop_map(|sequence| format!("{BREAK}{sequence}"))
}

/// A log whose end is at the bottom of the screen, and which redraws the rows above.
fn redrawing() -> impl Strategy<Value = Pieces> {
    pieces(|| {
        prop_oneof![
            3 => line_break(&["\r\n"]),
            3 => numbered("AF", 9),
            2 => numbered("BEe", 9),
            1 => line_break(&["\x1bD", "\x1bE", "\x0b", "\x0c"]),
            1 => Just("\x1b[m\x1b[1J".to_owned()),
        ]
        .boxed()
    })
}

/// The same with sequences that leave blank rows at the bottom of a screen. A log has no such rows,
/// so the cursor never moves down into them.
fn erasing() -> impl Strategy<Value = Pieces> {
    pieces(|| {
        prop_oneof![
            3 => line_break(&["\r\n"]),
            2 => numbered("AF", 3),
            1 => Just("\x1bM".to_owned()),
            1 => numbered("M", 2).prop_map(|delete| format!("\x1b[m{delete}\r")),
            1 => Just("\x1b[m\x1b[J".to_owned()),
            1 => Just("\x1b[m\x1b[S".to_owned()),
        ]
        .boxed()
    })
}

/// A page that is drawn by addresses. No row is deleted at the top, because this emulator moves it
/// into the scrollback.
fn addressing() -> impl Strategy<Value = Pieces> {
    pieces(|| {
        prop_oneof![
            4 => (1..=6_u8, 1..=40_u8, prop::sample::select(vec!['H', 'f'])).prop_map(|(row, column, last)| format!("\x1b[{row};{column}{last}")),
            2 => numbered("Hd", 6),
            2 => numbered("AF", 3),
            1 => (2..=6_u8, numbered("LM", 2)).prop_map(|(row, shift)| format!("\x1b[m\x1b[{row}H{shift}\r")),
            1 => one_of(&["\x1b[m\x1b[J", "\x1b[m\x1b[1J", "\x1b[m\x1b[T"]),
        ]
        .boxed()
    })
}

/// Saving and restoring the cursor, on a screen that does not scroll.
fn saving() -> impl Strategy<Value = Pieces> {
    // If no cursor was saved, a restored cursor moves home in a terminal, but not in a log.
    pieces(|| {
        prop_oneof![
            1 => numbered("AF", 3),
            1 => one_of(&["\x1b7", "\x1b[s"]),
            1 => one_of(&["\x1b8", "\x1b[u"]),
        ]
        .boxed()
    })
    .prop_map(|pieces| [vec!["\x1b7".to_owned()], pieces].concat())
}

#[track_caller]
fn compare(before: &str, pieces: &Pieces) -> Result<(), TestCaseError> {
    let log = format!("{before}{}", pieces.concat());
    let terminal = Terminal::with_size(Size { columns: COLUMNS, rows: ROWS }, 0);
    let ours = seen(&rows_in(terminal, log.as_bytes(), usize::MAX));
    let theirs = markup::trimmed(of_avt(COLUMNS, ROWS, &log));
    let differences = markup::differences(&ours, &theirs);
    prop_assert!(differences.is_empty(), "{}{:?}", differences, pieces);
    Ok(())
}

fn lines(n: usize) -> String {
    (0..n).map(|i| format!("line {i}\r\n")).collect()
}

/// At least 400 cases; `PROPTEST_CASES` can set more.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(400), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_log_that_redraws_its_end_looks_as_in_a_terminal(pieces in redrawing()) {
        compare(&lines(ROWS + 9), &pieces)?;
    }

    #[test]
    fn a_log_that_erases_its_end_looks_as_in_a_terminal(pieces in erasing()) {
        compare(&lines(ROWS * 2), &pieces)?;
    }

    #[test]
    fn a_page_drawn_by_addresses_looks_as_in_a_terminal(pieces in addressing()) {
        compare("\x1b[H", &pieces)?;
    }

    #[test]
    fn a_restored_cursor_is_where_it_was_in_a_terminal(pieces in saving()) {
        compare(&lines(20), &pieces)?;
    }
}

#[test]
fn combining_marks_join_their_character_as_in_a_terminal() {
    for log in [
        "e\u{301}x",
        "ae\u{301}\u{302}b\x1b[2DX",
        "漢\u{301}x\x1b[3DY",
        "e\u{301}f\r\u{1b}[CX",
        "e\rX\u{301}",
    ] {
        let ours = seen(&rows_of(log.as_bytes(), usize::MAX));
        let theirs = markup::trimmed(of_vt100(80, 24, log.as_bytes()));
        assert_eq!(markup::differences(&ours, &theirs), "", "{log:?}");
    }
}
