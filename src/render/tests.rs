//! What bytes become, by table, and what holds for all bytes, by chance.

use proptest::prelude::*;

use super::*;

/// Applies a patch as a viewer does.
fn apply(rows: &mut Vec<Row>, patch: Patch) {
    assert!(patch.from <= patch.next);
    rows.retain(|row| row.offset < patch.from);
    rows.extend(patch.rows);
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

fn rows_of<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Row> {
    let mut terminal = Terminal::new(0);
    let mut rows = Vec::new();
    for chunk in chunks {
        // A copy must go on as the original would.
        terminal = terminal.clone();
        let start = terminal.at();
        let patch = terminal.feed(chunk);
        assert_eq!(patch.next, start + chunk.len() as u64);
        assert_eq!(terminal.at(), patch.next);
        apply(&mut rows, patch);
    }
    rows
}

fn texts(bytes: &[u8]) -> Vec<String> {
    rows_of([bytes]).iter().map(|row| row.text().to_owned()).collect()
}

fn html(bytes: &[u8]) -> String {
    rows_of([bytes]).iter().map(Row::html).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_texts(table: &[(&str, &[&str])]) {
    for (bytes, expected) in table {
        assert_eq!(texts(bytes.as_bytes()), *expected, "{bytes:?}");
        // Byte by byte it must be the same, so each entry tests the seams as well.
        let split: Vec<String> =
            rows_of(bytes.as_bytes().chunks(1)).iter().map(|row| row.text().to_owned()).collect();
        assert_eq!(split, *expected, "{bytes:?} in single bytes");
    }
}

#[test]
fn a_patch_names_what_changed() {
    let mut terminal = Terminal::new(0);
    let patch = terminal.feed(b"a");
    let shape = |patch: &Patch| -> (u64, u64, Vec<(u64, bool, String)>) {
        let rows = patch.rows.iter().map(|row| (row.offset, row.ended, row.text().to_owned()));
        (patch.from, patch.next, rows.collect())
    };
    assert_eq!(shape(&patch), (0, 1, vec![(0, false, "a".into())]));
    let patch = terminal.feed(b"b\nc");
    assert_eq!(shape(&patch), (0, 4, vec![(0, true, "ab".into()), (3, false, "c".into())]));
    let patch = terminal.feed(b"\n");
    assert_eq!(shape(&patch), (3, 5, vec![(3, true, "c".into())]));
    let patch = terminal.feed(b"\x1b[31m");
    assert_eq!(shape(&patch), (10, 10, vec![]));
    let patch = terminal.feed(b"\n");
    assert_eq!(shape(&patch), (5, 11, vec![(5, true, String::new())]));
    let patch = terminal.feed(b"");
    assert_eq!(shape(&patch), (11, 11, vec![]));
    assert_eq!(Terminal::new(7).feed(b"x\n").rows[0].offset, 7);
}

#[test]
fn lines_and_controls() {
    check_texts(&[
        ("x\n", &["x"]),
        ("\n\n", &["", ""]),
        ("a\r\nb\r\n", &["a", "b"]),
        ("a\0\0b\x07c\x7fd", &["abcd"]),
        ("a\x0bb\x0cc", &["abc"]),
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
fn cursor_movements() {
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
        ("a\x1bEb\x1bDc", &["a", "b", "c"]),
        ("a\x1b[3b", &["aaaa"]),
        ("1\n2\n3\x1b[2;3rx\x1b[Sy\x1b[Tz", &["1", "2", "3xyz"]),
    ]);
}

#[test]
fn erasing_and_shifting() {
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
fn sequences_without_meaning_are_swallowed() {
    check_texts(&[
        ("a\x1b[?25lb\x1b[?2004hc\x1b[>4;1md\x1b[=1uf", &["abcdf"]),
        ("a\x1b(0b\x1b)Bc\x1b=d\x1b>e", &["abcde"]),
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
fn styles_become_elements() {
    let red = "<span style='color:var(--red,#a00)'>";
    for (bytes, expected) in [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#39;".to_owned()),
        ("\x1b[31m<x>", format!("{red}&lt;x&gt;</span>")),
        ("a\x1b[31mb\x1b[0mc", format!("a{red}b</span>c")),
        ("a\x1b[31mb\nc\x1b[mc", format!("a{red}b</span>\n{red}c</span>c")),
        ("\x1b[1;3;4;9mx", "<b><i><s><u>x</u></s></i></b>".into()),
        ("\x1b[2mx", "<span style='opacity:0.67'>x</span>".into()),
        ("\x1b[53mx\x1b[55my", "<u style='text-decoration:overline'>x</u>y".into()),
        ("\x1b[21mx\x1b[24my", "<u style='text-decoration-style:double'>x</u>y".into()),
        ("\x1b[1;2mx\x1b[22my", "<b><span style='opacity:0.67'>x</span></b>y".into()),
        ("\x1b[95;104mx", "<span style='color:var(--bright-magenta,#f5f)'><span style='background:var(--bright-blue,#55f)'>x</span></span>".into()),
        ("\x1b[38;5;211mx", "<span style='color:#ff87af'>x</span>".into()),
        ("\x1b[38;5;9mx", "<span style='color:var(--bright-red,#f55)'>x</span>".into()),
        ("\x1b[38;2;1;2;3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[38:2::1:2:3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[38:2:1:2:3mx", "<span style='color:#010203'>x</span>".into()),
        ("\x1b[48:5:211mx\x1b[49my", "<span style='background:#ff87af'>x</span>y".into()),
        ("\x1b[;31mx\x1b[39my", format!("{red}x</span>y")),
        ("\x1b[4:3mx\x1b[4:0my", "<u style='text-decoration-style:wavy'>x</u>y".into()),
        ("\x1b[4;58;5;196mx\x1b[59;24my", "<u style='text-decoration-style:solid;text-decoration-color:#ff0000'>x</u>y".into()),
        ("\x1b[4;58;5;1mx", "<u style='text-decoration-style:solid;text-decoration-color:var(--red,#a00)'>x</u>".into()),
        ("\x1b[7mx\x1b[27my", "<span style='color:var(--bg,#fff);background:var(--fg,#000)'>x</span>y".into()),
        ("\x1b[7;31mx", "<span style='color:var(--bg,#fff)'><span style='background:var(--red,#a00)'>x</span></span>".into()),
        ("\x1b[5mx\x1b[25my", "<span style='animation:var(--blink,none)'>x</span>y".into()),
        ("\x1b[8;31mx\x1b[28m", "<span style='color:transparent'>x</span>".into()),
        // Parameters that mean nothing, one by one.
        ("\x1b[56;70;300;31;99mx", format!("{red}x</span>")),
        ("\x1b[38;5;999mx\x1b[38;2;300;0;0my\x1b[38;5mz\x1b[38;2;1;2mz\x1b[38mz", "xyzzz".into()),
        ("\x1b[38;2;300;1;4;31mx", format!("{red}x</span>")),
        ("\x1b[99999999999999999999mx\x1b[;;;my", "xy".into()),
        ("\x1b[31m\x1b[>4;1mx\x1b[?1my", format!("{red}xy</span>")),
    ] {
        assert_eq!(html(bytes.as_bytes()), expected, "{bytes:?}");
        let split = rows_of(bytes.as_bytes().chunks(1)).iter().map(Row::html).collect::<Vec<_>>().join("\n");
        assert_eq!(split, expected, "{bytes:?} in single bytes");
    }
    let many = format!("\x1b[{}mx\n\x1b[0my", "1;".repeat(10_000));
    assert_eq!(html(many.as_bytes()), "<b>x</b>\ny");
}

#[test]
fn links_lead_only_where_it_is_safe() {
    let link = |target: &str| html(format!("\x1b]8;;{target}\x1b\\x\x1b]8;;\x1b\\y").as_bytes());
    let shown =
        |target: &str| format!("<a href=\"{target}\" rel=\"noopener\" target=\"_blank\">x</a>y");
    for safe in ["http://a/b", "HTTPS://a/b;c;d", "mailto:a@b"] {
        assert_eq!(link(safe), shown(safe));
    }
    assert_eq!(link("http://a/\"'<>&"), shown("http://a/&quot;&#39;&lt;&gt;&amp;"));
    let long = format!("http://{}", "a".repeat(4096));
    let refused = [
        "javascript:x",
        "data:x",
        "JaVa\tScript:x",
        " http:x",
        "http://a\u{1}",
        "http://a b",
        "/relative",
        "http",
        &long,
    ];
    for refused in refused {
        assert_eq!(link(refused), "xy", "{refused:?}");
    }
    // The link goes on over styles and is one element.
    assert_eq!(
        html(b"\x1b]8;id=1;http://a\x07x\x1b[1my\x1b]8;;\x07z"),
        "<a href=\"http://a\" rel=\"noopener\" target=\"_blank\">x<b>y</b></a><b>z</b>"
    );
    let edited = b"\x1b]8;;http://a\x07xx\x1b]8;;http://b\x07\ry\x1b]8;;\x07";
    assert_eq!(
        html(edited),
        "<a href=\"http://b\" rel=\"noopener\" target=\"_blank\">y</a><a href=\"http://a\" rel=\"noopener\" target=\"_blank\">x</a>"
    );
}

#[test]
fn what_is_not_closed_does_not_swallow_the_log() {
    let mut terminal = Terminal::new(0);
    terminal.feed(b"a\x1b]0;");
    for _ in 0..64 {
        terminal.feed(&[b'x'; 64 * 1024]);
        assert!(
            format!("{terminal:?}").len() < 4 * 1024 * 1024,
            "what is kept of a sequence is bounded"
        );
    }
    let patch = terminal.feed(b"tail");
    assert!(patch.rows.last().is_some_and(|row| row.text().ends_with("tail")));
    let mut terminal = Terminal::new(0);
    terminal.feed(b"\x1b[?1049h");
    let hidden = vec![b'x'; usize::try_from(super::screen::ALTERNATE_BYTES_MAX).unwrap()];
    assert_eq!(terminal.feed(&hidden).rows, []);
    assert_eq!(terminal.feed(b"back").rows[0].text(), "back");
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
    let rows = rows_of([lines.as_bytes(), b"\x1b[999AX"]);
    // Rows that are inserted cannot push the cursor's row out of reach.
    let inserted = rows_of([lines.as_bytes(), b"x\x1b[999A\x1b[99L\rY"]);
    assert_eq!(inserted[100 + 1 - SCREEN_ROWS].text(), "Y7");
    let edited: Vec<usize> = (0..100).filter(|&i| rows[i].text() != i.to_string()).collect();
    assert_eq!(edited, [100 + 1 - SCREEN_ROWS]);
    let heavy = format!("a\n{}\nb\x1b[9AX", "y".repeat(10_000));
    assert_eq!(texts(heavy.as_bytes())[2], "bX");
    // A cursor that cannot leave a long row stays in it.
    let long = "y".repeat(10_000);
    assert_eq!(
        texts(format!("a\n{long}\x1b[BX\x1b[AX").as_bytes()),
        ["a".into(), format!("{long}XX")]
    );
}

#[test]
fn many_toggles_cost_no_more_than_their_bytes() {
    let toggles = "\x1b[1m\x1b[m".repeat(120_000);
    assert_eq!(html(format!("{toggles}x").as_bytes()), "x");
    let nested: String = (0..60_000).map(|i| format!("\x1b[{}mx", 30 + i % 8)).collect();
    let out = html(nested.as_bytes());
    assert!(out.len() <= 20 * nested.len(), "{} for {}", out.len(), nested.len());
    assert!(!out.contains("<span style='color:var(--red,#a00)'><span"), "styles do not pile up");
}

/// Bytes that look like a terminal's output more often than chance would have it.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z<>&\"' ]{0,12}".prop_map(String::into_bytes),
        2 => "[aé漢\u{301}😀\u{202e}\u{85}\t]{1,6}".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        2 => prop::sample::select(vec!["\r", "\x08", "\r\n", "\t", "\x1b7", "\x1b8", "\x1bM", "\x1bE", "\x1bc"]).prop_map(|s| s.as_bytes().to_vec()),
        6 => ("[0-9]{0,2}(;[0-9]{1,2})?", prop::sample::select(b"@ABCDEFGHJKLMPXbdmmmmmfsu".to_vec()))
            .prop_map(|(params, last)| [b"\x1b[", params.as_bytes(), &[last]].concat()),
        1 => prop::sample::select(vec!["\x1b]8;;http://a\x07", "\x1b]8;;http://b\x1b\\", "\x1b]8;;\x07", "\x1b]0;t", "\x1bP", "\x1b[?1049h", "\x1b[?1049l"])
            .prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    // Rarely something that reaches a limit.
    let big = prop_oneof![
        Just("x".repeat(2040).into_bytes()),
        Just("line\n".repeat(SCREEN_ROWS + 4).into_bytes()),
        Just([b"line\n".repeat(SCREEN_ROWS), b"\x1b[99A".to_vec()].concat()),
        Just("é".repeat(ROW_BYTES_MAX / 2).into_bytes()),
        Just("\x1b[31ma\x1b[32mb".repeat(130).into_bytes()),
        Just("\x1b[31ma\x1b[32mb".repeat(ROW_RUNS_MAX / 2 - 2).into_bytes()),
    ];
    let piece = prop_oneof![100 => piece, 1 => big];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn check_tags(html: &str) {
    let mut rest = html;
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains('>'));
        let (tag, after) = tag.split_once('>').expect("a tag that ends");
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(["a", "b", "i", "s", "span", "u"].contains(&name.as_str()), "{tag}");
        rest = after;
    }
    assert!(!html.chars().any(|ch| ch.is_control() && ch != '\t'), "{html:?}");
}

/// `PROPTEST_CASES` asks for more of them.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(1000), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_division_into_chunks_gives_the_same_rows(bytes in noise(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let whole = rows_of([&bytes[..]]);
        prop_assert_eq!(&rows_of(chunks(&bytes, &cuts)), &whole);
        // A long row that is sent for each of its bytes takes too long here.
        prop_assert_eq!(&rows_of(bytes.chunks(1 + bytes.len() / 4096)), &whole);
    }

    #[test]
    fn html_is_of_allowed_elements_and_without_controls(bytes in noise()) {
        for row in rows_of([&bytes[..]]) {
            check_tags(&row.html());
            prop_assert!(!row.text().chars().any(|ch| ch.is_control() && ch != '\t'));
            let runs: String = row.runs_from(0).map(|(_, text)| text).collect();
            prop_assert!(row.styled.is_none() || runs == row.text());
        }
    }

    #[test]
    fn a_log_without_controls_is_appended_as_it_is(log in "([ -~é漢\t]{0,20}\n?){0,20}", cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let mut terminal = Terminal::new(0);
        let mut appender = Appender::new();
        let sent: String = chunks(log.as_bytes(), &cuts).into_iter().map(|chunk| appender.text(&terminal.feed(chunk))).collect();
        prop_assert_eq!(sent, log);
    }
}
