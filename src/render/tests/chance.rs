//! Properties that hold for any bytes.

use proptest::prelude::*;

use super::*;

/// Random bytes with many control characters, sequences and markers.
pub(super) fn noise() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z<>&\"' ]{0,12}".prop_map(String::into_bytes),
        2 => "[aé漢\u{301}😀\u{202e}\u{85}\t]{1,6}".prop_map(String::into_bytes),
        2 => Just(b"\n".to_vec()),
        2 => prop::sample::select(vec!["\r", "\x08", "\r\n", "\t", "\x0b", "\x0c", "\x0e", "\x0f", "\x1b7", "\x1b8", "\x1bM", "\x1bE", "\x1bD", "\x1bc", "\x1b(0", "\x1b(B", "\x1b)0", "\x1b[!p"]).prop_map(|s| s.as_bytes().to_vec()),
        6 => ("[0-9]{0,2}(;[0-9]{1,2})?", prop::sample::select(b"@ABCDEFGHIJKLMPSTXZ`abdemmmmmfrsu".to_vec()))
            .prop_map(|(params, last)| [b"\x1b[", params.as_bytes(), &[last]].concat()),
        1 => prop::sample::select(vec!["::group::g\n", "::endgroup::\n", "##[error]", "section_start:1:s\r", "section_end:1:s\r", "\n--- b\n", "\x1b_bk;t=9\x07"])
            .prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::sample::select(vec!["\x1b]8;;http://a\x07", "\x1b]8;;http://b\x1b\\", "\x1b]8;;\x07", "\x1b]0;t", "\x1bP", "\x1b[?1049h", "\x1b[?1049l"])
            .prop_map(|s| s.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    // Rare pieces that reach a limit.
    let big = prop_oneof![
        Just("x".repeat(2040).into_bytes()),
        Just(format!("\x1b(0{}", "q".repeat(ROW_BYTES_MAX / 3)).into_bytes()),
        Just("line\n".repeat(SCREEN_ROWS + 4).into_bytes()),
        Just([b"line\n".repeat(SCREEN_ROWS), b"\x1b[99A".to_vec()].concat()),
        Just("é".repeat(ROW_BYTES_MAX / 2).into_bytes()),
        Just("\x1b[31ma\x1b[32mb".repeat(130).into_bytes()),
        Just("\x1b[31ma\x1b[32mb".repeat(ROW_RUNS_MAX / 2 - 2).into_bytes()),
    ];
    let piece = prop_oneof![100 => piece, 1 => big];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

pub(super) fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// The text of HTML. Fails if the HTML contains anything that is not allowed.
fn text_of(html: &str) -> String {
    markup::parts(html).into_iter().map(|(text, _)| text).collect()
}

fn has_control(text: &str) -> bool {
    text.chars().any(|ch| ch.is_control() && ch != '\t')
}

proptest! {
    #![proptest_config(crate::testing::cases(1000))]

    #[test]
    fn any_division_into_chunks_gives_the_same_rows(bytes in noise(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let whole = rows_of([&bytes[..]]);
        prop_assert_eq!(&rows_of(chunks(&bytes, &cuts)), &whole);
        // Not byte by byte for long logs, because that takes too long.
        prop_assert_eq!(&rows_of(bytes.chunks(1 + bytes.len() / 4096)), &whole);
    }

    #[test]
    fn html_contains_allowed_elements_only_and_shows_the_text(bytes in noise(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        for row in rows_of([&bytes[..]]) {
            prop_assert_eq!(text_of(&row.html()), row.text());
            prop_assert!(!has_control(row.text()));
            let runs: String = row.runs_from(0).map(|(_, text)| text).collect();
            prop_assert!(row.styled.is_none() || runs == row.text());
        }
        // Each message of an appender is also complete HTML.
        let mut terminal = Terminal::new(0);
        let (mut html, mut text) = (Appender::new(), Appender::new());
        for chunk in chunks(&bytes, &cuts) {
            let patch = terminal.feed(chunk);
            let sent = [text_of(&html.html(&patch)), text.text(&patch)];
            prop_assert!(sent.iter().all(|sent| !has_control(&sent.replace('\n', ""))));
        }
        text_of(&html.finish_html());
    }

    #[test]
    fn a_log_without_control_characters_is_appended_unchanged(log in "([ -~é漢\t]{0,20}\n?){0,20}", cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let mut terminal = Terminal::new(0);
        let mut appender = Appender::new();
        let sent: String = chunks(log.as_bytes(), &cuts).into_iter().map(|chunk| appender.text(&terminal.feed(chunk))).collect();
        prop_assert_eq!(sent, log);
    }
}
