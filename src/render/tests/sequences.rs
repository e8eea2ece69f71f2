//! Control characters and escape sequences.

use super::*;

#[test]
fn control_characters_act_as_in_a_terminal() {
    check_texts(&[
        ("x\n", &["x"]),
        ("\n\n", &["", ""]),
        ("a\r\nb\r\n", &["a", "b"]),
        ("a\0\0b\x07c\x7fd", &["abcd"]),
        ("ab\x0bc\x0cd", &["ab", "  c", "   d"]),
        ("a\tb\n", &["a\tb"]),
        ("10%\r100%", &["100%"]),
        ("100%\r9%", &["9%0%"]),
        ("abc\x08\x08X", &["aXc"]),
        ("|\x08/\x08-", &["-"]),
        ("\x08\x08a", &["a"]),
        ("a\tb\rX", &["X\tb"]),
        ("a\tb\r\x1b[3CX", &["a  X    b"]),
        ("abc\r\tx", &["abc     x"]),
        ("漢字\r\x1b[Cx", &[" x字"]),
        ("ab\r漢", &["漢"]),
        ("abc\r漢", &["漢c"]),
        ("e\u{301}f\rx", &["xf"]),
        ("ef\r\x1b[C\u{301}", &["e\u{301}f"]),
        ("\u{301}a", &["\u{301}a"]),
    ]);
}
#[test]
fn cursor_movements_act_as_in_a_terminal() {
    check_texts(&[
        ("a\nb\n\x1b[2AX", &["X", "b"]),
        ("a\nb\n\x1b[99AX", &["X", "b"]),
        ("ab\ncd\x1b[AX", &["abX", "cd"]),
        ("ab\ncd\x1b[FX", &["Xb", "cd"]),
        ("a\nb\nc\x1b[2A\x1b[BX", &["a", "bX", "c"]),
        ("a\x1b[5BX", &["aX"]),
        ("a\nb\x1b[A\x1b[EX", &["a", "X"]),
        ("ab\x1b[2Dxy", &["xy"]),
        ("a\x1b[2Cb", &["a  b"]),
        ("abc\x1b[2GX", &["aXc"]),
        ("abc\x1b[GX", &["Xbc"]),
        ("log\n\x1b[Hpage", &["log", "page"]),
        ("log\x1b[Hone\n\x1b[1;3HX\x1b[2;1Htwo", &["log", "onX", "two"]),
        ("\x1b[1;1Ha\x1b[2;1Hb\x1b[1;1HA", &["A", "b"]),
        ("\x1b[3;2Hx", &["", "", " x"]),
        ("a\nb\nc\x1b[1;1H1\x1b[2d2", &["a", "b", "c", "1", " 2"]),
        ("ab\x1b7cd\x1b8X", &["abXd"]),
        ("ab\x1b[scd\x1b[uX", &["abXd"]),
        ("a\x1bMb", &["ab"]),
        ("a\nb\x1bMX", &["aX", "b"]),
        ("a\x1bEb\x1bDc", &["a", "b", " c"]),
        ("a\x1b[3b", &["aaaa"]),
    ]);
}
#[test]
fn erasing_inserting_and_deleting_act_as_in_a_terminal() {
    check_texts(&[
        ("abc\r\x1b[Kx", &["x"]),
        ("abc\x1b[2K\rx", &["x"]),
        ("abc\x1b[2Kx", &["   x"]),
        ("abc\x1b[2D\x1b[K", &["a"]),
        ("abcd\x1b[2D\x1b[1K", &["   d"]),
        ("abcd\r\x1b[2@", &["  abcd"]),
        ("abcd\r\x1b[2P", &["cd"]),
        ("abcd\r\x1b[2X", &["  cd"]),
        ("abcd\x1b[2D\x1b[9X", &["ab"]),
        ("a\nb\nc\x1b[2A\r\x1b[J", &[]),
        ("a\nb\nc\x1b[A\r\x1b[Jx\ny", &["a", "x", "y"]),
        ("a\nb\nc\x1b[1J", &["", "", " "]),
        ("a\nb\x1b[2J\x1b[Hc", &["a", "b", "c"]),
        ("a\nb\x1bcc", &["a", "b", "c"]),
        ("a\nb\nc\x1b[2A\x1b[Lx", &["x", "a", "b", "c"]),
        ("a\nb\x1b[A\x1b[9Lx", &["x", "", "", "", "a", "b"]),
        ("a\nb\nc\x1b[2A\x1b[Mx", &["x", "c"]),
        ("a\nb\nc\x1b[9A\x1b[9Mx", &["x"]),
        ("1\n2\n3\n\x1b[3A\x1b[2K1a\n\x1b[2K2a\n\x1b[2K3a\n4", &["1a", "2a", "3a", "4"]),
    ]);
}
#[test]
fn sequences_without_meaning_show_nothing() {
    check_texts(&[
        ("a\x1b[?25lb\x1b[?2004hc\x1b[>4;1md\x1b[=1uf", &["abcdf"]),
        ("a\x1b(Ab\x1b)Bc\x1b=d\x1b>e", &["abcde"]),
        ("a\x1b]0;title \u{2733} x\x07b\x1b]2;t\x1b\\c", &["abc"]),
        ("a\x1bPq#0\x1b\\b\x1b_Gx\x1b\\c\x1b^pm\x1b\\d\x1bXs\x1b\\e", &["abcde"]),
        ("a\x1bPq\x1b[31mb", &["ab"]),
        ("a\x1b]0;x\x18b", &["ab"]),
        ("a\x1b[3\x18b", &["ab"]),
        ("a\x1b[3\nb", &["a", "b"]),
        ("a\x1b]0;never closed\nb", &["a", "b"]),
        ("a\x1bPnever closed\nb", &["a", "b"]),
        ("a\x1b\nb", &["a", "b"]),
        ("a\x1béb\x1b[3é", &["aébé"]),
        ("a\x1b\x1b[31mb", &["ab"]),
        ("a\x1b[12\x08mb", &["b"]),
        ("a\u{9b}31mb\u{85}c", &["a31mbc"]),
        (
            "log\n\x1b[?1049hvim\x1b[2J\nx\x1b[?1049lafter",
            &["log", "⟨full-screen program⟩", "after"],
        ),
        ("log\x1b[?47hvim\x1b[?47lafter", &["log", "⟨full-screen program⟩", "after"]),
    ]);
}

/// Each sequence with its default and, if it takes one, with a number.
#[test]
fn every_supported_sequence_has_its_effect() {
    check_texts(&[
        // BS HT LF VT FF CR SO SI
        ("ab\x08X", &["aX"]),
        ("ab\x08\x08\x08\x08X", &["Xb"]),
        ("a\tb", &["a\tb"]),
        ("abc\r\tX", &["abc     X"]),
        ("a\nb", &["a", "b"]),
        ("ab\x0bX", &["ab", "  X"]),
        ("ab\x0cX", &["ab", "  X"]),
        ("ab\nc\x1b[A\x0bX", &["ab", "cX"]),
        ("ab\rX", &["Xb"]),
        ("\x1b)0a\x0eqx\x0fqx", &["a─│qx"]),
        // SCS, which ends with its line
        ("\x1b(0lqk\x1b(Blqk", &["┌─┐lqk"]),
        ("\x1b(0x y\nx", &["│ ≤", "x"]),
        ("\x1b(0q\x1b7\x1b(Bq\x1b8q", &["──"]),
        ("\x1b(0q\x1b[2b", &["───"]),
        // ICH
        ("abc\r\x1b[@X", &["Xabc"]),
        ("abc\r\x1b[2@X", &["X abc"]),
        // CUU, CUD
        ("a\nb\nc\x1b[AX", &["a", "bX", "c"]),
        ("a\nb\nc\x1b[2AX", &["aX", "b", "c"]),
        ("a\nb\nc\x1b[0AX", &["a", "bX", "c"]),
        ("a\nb\nc\x1b[2A\x1b[BX", &["a", "bX", "c"]),
        ("a\nb\nc\x1b[2A\x1b[2BX", &["a", "b", "cX"]),
        ("a\nb\nc\x1b[2A\x1b[9BX", &["a", "b", "cX"]),
        // CUF, CUB, HPR, HPB
        ("a\x1b[CX", &["a X"]),
        ("a\x1b[3CX", &["a   X"]),
        ("a\x1b[3aX", &["a   X"]),
        ("abc\x1b[DX", &["abX"]),
        ("abc\x1b[2DX", &["aXc"]),
        ("abc\x1b[2jX", &["aXc"]),
        ("abc\x1b[9DX", &["Xbc"]),
        // CNL, CPL
        ("ab\ncd\x1b[A\x1b[EX", &["ab", "Xd"]),
        ("ab\ncd\nef\x1b[2FX", &["Xb", "cd", "ef"]),
        // CHA, HPA
        ("abc\x1b[GX", &["Xbc"]),
        ("abc\x1b[2GX", &["aXc"]),
        ("abc\x1b[2`X", &["aXc"]),
        ("abc\x1b[6GX", &["abc  X"]),
        // CUP, HVP, VPA, VPR
        ("a\n\x1b[2;3HX\x1b[HY\x1b[;2HZ", &["a", "YZ", "  X"]),
        ("a\n\x1b[2;3fX", &["a", "", "  X"]),
        ("\x1b[Hab\x1b[3dX\x1b[dY", &["ab Y", "", "  X"]),
        ("a\nb\nc\x1b[2A\x1b[eX", &["a", "bX", "c"]),
        // CHT, CBT
        ("ab\x1b[IX", &["ab      X"]),
        ("\x1b[2IX", &["                X"]),
        ("abcdefghij\x1b[ZX", &["abcdefghXj"]),
        ("abcdefgh\x1b[ZX", &["Xbcdefgh"]),
        ("abcdefghij\x1b[2ZX", &["Xbcdefghij"]),
        // ED
        ("ab\ncd\nef\x1b[2D\x1b[A\x1b[J", &["ab"]),
        ("ab\ncd\nef\x1b[1D\x1b[A\x1b[0J", &["ab", "c"]),
        ("ab\ncd\nef\x1b[2D\x1b[A\x1b[1J", &["", " d", "ef"]),
        ("ab\ncd\x1b[2J\x1b[HX", &["ab", "cd", "X"]),
        ("ab\ncd\x1b[H\x1b[2J\x1b[3JX", &["ab", "cd", "X"]),
        ("ab\ncd\x1b[3JX", &["ab", "cdX"]),
        ("ab\ncd\nef\x1b[2D\x1b[A\x1b[?J", &["ab"]),
        // EL
        ("abc\x1b[2D\x1b[K", &["a"]),
        ("abc\x1b[2D\x1b[0K", &["a"]),
        ("abc\x1b[2D\x1b[1K", &["  c"]),
        ("abc\x1b[2D\x1b[2KX", &[" X"]),
        ("abc\x1b[2D\x1b[?K", &["a"]),
        ("abc\x1b[2D\x1b[3K", &["abc"]),
        // IL, DL
        ("a\nb\nc\x1b[A\x1b[LX", &["a", "X", "b", "c"]),
        ("a\nb\nc\x1b[A\x1b[2LX", &["a", "X", "", "b", "c"]),
        ("a\nb\nc\x1b[A\x1b[M", &["a", "c"]),
        ("a\nb\nc\x1b[2A\x1b[2MX", &["X"]),
        // DCH, ECH, REP
        ("abcd\r\x1b[P", &["bcd"]),
        ("abcd\r\x1b[3P", &["d"]),
        ("abcd\r\x1b[X", &[" bcd"]),
        ("abcd\r\x1b[3X", &["   d"]),
        ("ab\x1b[b", &["abb"]),
        ("ab\x1b[3b", &["abbbb"]),
        ("a\t\x1b[2b", &["a\taa"]),
        ("\x1b[3bx", &["x"]),
        ("漢\x1b[2b", &["漢漢漢"]),
        // SU, SD
        ("ab\x1b[SX", &["ab", "  X"]),
        ("ab\ncd\x1b[A\x1b[SX", &["ab", "cdX"]),
        ("\x1b[Hab\ncd\x1b[SX\x1b[HY", &["ab", "Yd", "  X"]),
        ("\x1b[Hab\ncd\x1b[TX", &["", "abX", "cd"]),
        ("ab\ncd\x1b[TX", &["ab", "cdX"]),
        // DECSC, DECRC, SCOSC, SCORC
        ("ab\x1b7cd\x1b8X", &["abXd"]),
        ("ab\x1b[scd\x1b[uX", &["abXd"]),
        ("ab\x1b[?1048hcd\x1b[?1048lX", &["abXd"]),
        ("ab\x1b7\ncd\x1b8X", &["abX", "cd"]),
        ("ab\x1b8X", &["abX"]),
        // IND, NEL, RI, RIS
        ("ab\x1bDX", &["ab", "  X"]),
        ("ab\x1bEX", &["ab", "X"]),
        ("ab\ncd\x1bMX", &["abX", "cd"]),
        ("ab\x1bcX", &["ab", "X"]),
        // A scroll region moves nothing; what is drawn under it is a status line.
        ("a\nb\x1b[1;2rc", &["a", "bc"]),
        ("a\nb\x1b[2;3rc\x1b[rd", &["a", "bcd"]),
        ("a\x1b7\x1b[1;23r\x1b8b\x1b7\x1b[24;1HProgress\x1b[K\x1b8c\nd", &["abc", "d"]),
        ("a\x1b[1;23r\x1b[24;1HProgress\nb", &["a", "b"]),
        ("a\x1b[1;23r\x1b[24;1HProgress\x1b[H\x1b[2Cb", &["a", "  b"]),
        ("a\x1b[1;23r\x1b[24dProgress\x1b[1;24r\x1b[ub", &["ab"]),
    ]);
}

#[test]
fn rows_of_line_drawing_characters_have_offsets_within_the_log() {
    let log = format!("\x1b(0{}\n", "q".repeat(ROW_BYTES_MAX));
    for size in [1000, 1 << 20] {
        let rows = rows_of(log.as_bytes().chunks(size));
        assert_eq!(rows.iter().map(|row| row.text().len()).sum::<usize>(), 3 * ROW_BYTES_MAX);
        assert!(rows.iter().all(|row| row.offset < log.len() as u64));
    }
}

#[test]
fn a_string_ends_at_its_terminator() {
    check_texts(&[
        ("a\x1b]0;t\x07b\x1b]0;t\x1b\\c", &["abc"]),
        ("a\x1b]133;A\x07b\x1b]133;D;0\x07c\x1b]1337;SetMark\x07d\x1b]9;4;1;50\x07e", &["abcde"]),
        ("a\x1b]52;c;aGk=\x07b\x1b]4;1;rgb:00/00/00\x07c", &["abc"]),
        // Only OSC and, for Buildkite, APC may end with BEL.
        ("a\x1b_bk;t=1\x07b\x1b_Gf=1\x1b\\c", &["abc"]),
        ("a\x1bPx\x07y\x1b\\b\x1b^x\x07y\x1b\\c\x1bXx\x07y\x1b\\d", &["abcd"]),
        ("a\x1bktitle\x1b\\b", &["ab"]),
        // U+2733 holds the byte 0x9C, which would end a string in a terminal of eight bits.
        ("a\x1b]0;\u{2733} t\x07b", &["ab"]),
        ("a\u{9b}31mb\u{9d}0;t\u{9c}c\u{90}d\u{84}e\u{85}f", &["a31mb0;tcdef"]),
    ]);
}

#[test]
fn characters_have_their_unicode_width() {
    check_texts(&[
        ("漢字\x1b[2DX", &["漢X "]),
        ("漢字\x1b[3DX", &[" X字"]),
        ("e\u{301}\x1b[DX", &["X"]),
        ("ae\u{301}\u{302}b\x1b[3DX", &["Xe\u{301}\u{302}b"]),
        ("😀x\x1b[3DXY", &["XYx"]),
        ("a\u{200d}b\x1b[DX", &["a\u{200d}X"]),
        ("ｱb\x1b[2DX", &["Xb"]),
        ("한국\x1b[4DXX", &["XX국"]),
    ]);
}

#[test]
fn runs_of_nul_show_nothing() {
    let mut log = vec![0; 1 << 20];
    log.extend(b"a\0\0b\n");
    assert_eq!(texts(&log), ["ab"]);
    assert_eq!(rows_of([&log[..]])[0].offset, 0);
}

#[test]
fn a_full_screen_program_is_shown_as_one_row() {
    check_texts(&[
        (
            "a\n\x1b[?1049h\x1b[1;31mvim\x1b[H~\x1b[?1049lb\x1b[?47hx\x1b[?47lc",
            &["a", "⟨full-screen program⟩", "b", "⟨full-screen program⟩", "c"],
        ),
        ("\x1b[?1047;25hx\x1bcb", &["⟨full-screen program⟩", "b"]),
        ("\x1b[?1049l\x1b[?1049la", &["a"]),
    ]);
    assert_eq!(
        html(b"\x1b[32m\x1b[?1049h\x1b[31mx\x1b[?1049ly").lines().last(),
        Some("<span style='color:var(--green,#0a0)'>y</span>")
    );
}

#[test]
fn a_program_goes_up_over_rows_of_the_screen() {
    let wide = |n: usize| "w".repeat(n);
    let erase = "\x1b[1G\x1b[0K\x1b[1A\x1b[0K";
    let spinner = format!("one\ntwo\n{}{erase}done\n", wide(100));
    check_texts(&[(&spinner, &["one", "two", "done"])]);
    // Each frame is two rows of the screen.
    let frames = format!("one\ntwo\n{}done\n", format!("{}{erase}", wide(100)).repeat(9));
    check_texts(&[(&frames, &["one", "two", "done"])]);
    // The program has asked for a narrower screen.
    let narrow = format!("\x1b[8;24;60tone\ntwo\n{}{erase}done\n", wide(70));
    check_texts(&[(&narrow, &["one", "two", "done"])]);
    // Lines are padded to the width of a larger screen.
    let padded = format!("one\n{0}\n{0}\n\x1b[2A\x1b[Kx\n\x1b[Ky\n", wide(120));
    check_texts(&[(&padded, &["one", "x", "y"])]);
    // What is redrawn over a return was one row of the screen.
    let redrawn = format!("one\n{0}\r{0}\x1b[1Ax\n", wide(100));
    check_texts(&[(&redrawn, &[&format!("one{}x", " ".repeat(97)), &wide(100)])]);
    // The next frame goes up as many rows as the last one had.
    let shrinking =
        format!("one\ntwo\n{}\n\x1b[2A\x1b[J{}\n\x1b[1A\x1b[Jend\n", wide(100), wide(50));
    check_texts(&[(&shrinking, &["one", "two", "end"])]);
}

#[test]
fn a_page_that_is_higher_than_the_screen_has_left_it_at_the_top() {
    let lines = |n: usize| (0..n).map(|i| format!("{i}\n")).collect::<String>();
    let log = format!("\x1b[H\x1b[J{}\x1b[H\x1b[Jnext", lines(40));
    let shown = texts(log.as_bytes());
    // The cursor is in the last of 24 rows, so that 23 lines are still on the screen.
    assert_eq!((shown.len(), &*shown[16], &*shown[17]), (18, "16", "next"));
    let log = format!("{}\x1b[999A\x1b[Jnext", lines(40));
    assert_eq!(texts(log.as_bytes()).len(), 18);
}
