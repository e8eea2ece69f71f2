use super::*;
use crate::render::Rendition;
use crate::search::snapshot::tests::{reopened, snapshot_in, snapshot_of};
use proptest::prelude::*;
use std::time::Duration;

/// Keeps everything that it receives.
#[derive(Default)]
struct Taken {
    rows: Vec<(u64, u64, String)>,
    bytes_of_lines: usize,
}

impl RowSink for Taken {
    fn row(&mut self, row: &Row, end: Offset) -> ControlFlow<Offset> {
        self.rows.push((row.offset, end.0, row.text().to_owned()));
        ControlFlow::Continue(())
    }

    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
        self.bytes_of_lines += lines.raw.bytes().len();
        let mut offsets = lines.line_offsets();
        let mut at = 0;
        for text in lines.text.split_inclusive(|&byte| byte == b'\n') {
            let raw = offsets.of(at);
            at += text.len();
            let text = std::str::from_utf8(text).unwrap().trim_end_matches('\n').to_owned();
            self.rows.push((raw.offset(), raw.end(), text));
        }
        ControlFlow::Continue(())
    }
}

/// The rows of a terminal that is fed the whole log, and the end of each.
fn expected(log: &[u8], rendition: Rendition) -> Vec<(u64, u64, String)> {
    expected_of(Terminal::of(rendition, 0), log)
}

fn expected_of(mut terminal: Terminal, log: &[u8]) -> Vec<(u64, u64, String)> {
    let mut rows: Vec<(u64, String)> = Vec::new();
    for piece in log.chunks(1 << 16) {
        let patch = terminal.feed(piece);
        rows.retain(|(offset, _)| *offset < patch.from);
        rows.extend(patch.rows().map(|row| (row.offset, row.text().to_owned())));
    }
    let ends: Vec<u64> =
        rows.iter().skip(1).map(|(offset, _)| *offset).chain([log.len() as u64]).collect();
    rows.into_iter().zip(ends).map(|((offset, text), end)| (offset, end, text)).collect()
}

fn scanned(snapshot: &Snapshot, from: u64, to: u64, form: Form) -> Taken {
    let mut scan = Scan::new(snapshot, Offset(from), Offset(to), form).unwrap();
    let mut taken = Taken::default();
    while !scan.is_done() {
        scan.run(&mut taken, Instant::now() + Duration::from_micros(50)).unwrap();
    }
    assert_eq!(scan.position(), Offset(to).min(snapshot.end));
    taken
}

/// Lines of all kinds.
pub(crate) fn line() -> impl Strategy<Value = Vec<u8>> {
    let text = |regex: &str| {
        proptest::string::string_regex(regex).unwrap().prop_map(String::into_bytes).boxed()
    };
    prop_oneof![
        40 => text("[a-z<\t ]{0,60}\n"),
        4 => text("[a-zäé…✓\u{1F600}]{0,20}\n"),
        8 => text("\x1b\\[3[0-9];1m[a-z]{0,9}\x1b\\[0?[mK][a-z]{0,9}\x1b\\[0m\x1b\\[K\n"),
        8 => text("[a-z]{0,9}\r\n"),
        2 => text("2026-11-28T14:02:07\\.123456(7Z|Z INFO) [a-z]{0,9}\n"),
        1 => text("\\[2026-11-28T14:02:07\\.123Z\\] [a-z]{0,9}\n"),
        2 => text("[a-z]{1,9}\r[a-z]{1,9}\x1b\\[K\r[A-Z]{1,3}\n"),
        2 => text("\x1b\\[[1-9]A[A-Z]{1,3}\x1b\\[[1-9]?B\n"),
        1 => text("(\x1b\\[[1-9][0-9];?[0-9]?[A-HJ-MPSTX@`defmr]|[a-z]){1,4}\n?"),
        1 => text("a\x08b\x0bc\x0c[a-z]\x7f\n"),
        1 => text("\x1b\\(0[a-z]{1,5}\n?"),
        1 => text("\x1b\\]8;;http://x\x07link\x1b\\]8;;\x07\n"),
        1 => text("\x1b\\[\\?1049[hl]"),
        1 => text("\x1b[P_][a-z]{0,9}(\x1b\\\\)?"),
        1 => text("[a-z]\u{202e}[a-z]\u{85}\n"),
        1 => text("x{0,99}"),
        1 => (8000usize..9000).prop_map(|len| [vec![b'y'; len], b"\n".to_vec()].concat()),
        1 => (30_000usize..70_000).prop_map(|len| vec![b'z'; len]),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ]
}

/// The rows, of which the last one ends at the end of the log if nothing that follows it shows. Whether
/// the bytes after the last newline are its own or those of a row that does not show is not said.
fn with_tail(mut rows: Vec<(u64, u64, String)>, log: &[u8]) -> Vec<(u64, u64, String)> {
    let tail = log.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    if let Some((_, end, _)) = rows.last_mut()
        && *end == tail as u64
    {
        *end = log.len() as u64;
    }
    rows
}

proptest! {
    #![proptest_config(crate::testing::cases(96))]
    #[test]
    fn a_scan_gives_the_rows_of_a_terminal_that_saw_everything(
        parts in proptest::collection::vec((line(), 1usize..150), 0..12),
        from in 0.0..1.0f64,
        to in 0.0..1.0f64,
    ) {
        let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
        let (snapshot, _directory) = snapshot_of(&log);
        let written = scanned(&snapshot, 0, u64::MAX, Form::WrittenRows);
        prop_assert_eq!(&written.rows, &expected(&log, Rendition::Written));
        let expected = expected(&log, Rendition::Shown);
        let whole = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
        prop_assert_eq!(&with_tail(whole.rows, &log), &expected);
        let rows = scanned(&snapshot, 0, u64::MAX, Form::Rows).rows;
        prop_assert_eq!(&with_tail(rows, &log), &expected);
        // A part begins at a row. Its rows need not look as in the whole log.
        let at = |place: f64| expected.get((expected.len() as f64 * place) as usize).map_or(0, |row| row.0);
        let (from, to) = (at(from), at(to));
        let part = scanned(&snapshot, 0, to, Form::TextRows);
        let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
        prop_assert_eq!(&part.rows, &wanted);
        let part = scanned(&snapshot, from, to.max(from), Form::TextRows);
        prop_assert!(part.rows.iter().all(|row| row.0 >= from && row.0 < to), "{:?}", part.rows);
    }
}

/// The log with its characters in another encoding.
pub(crate) fn encoded(label: &str, log: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(log);
    match label {
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        _ => {
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            encoding.encode(&text).0.into_owned()
        }
    }
}

proptest! {
    #![proptest_config(crate::testing::cases(64))]
    #[test]
    fn a_scan_of_an_encoded_log_gives_the_rows_of_a_terminal_that_saw_everything(
        label in prop::sample::select(vec!["utf-16le", "utf-16be", "gb18030", "shift_jis", "windows-1252"]),
        parts in proptest::collection::vec((line(), 1usize..150), 0..12),
        others in proptest::collection::vec(any::<u8>(), 0..3),
        to in 0.0..1.0f64,
    ) {
        let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
        let log = [encoded(label, &log), others].concat();
        let encoding = Encoding::for_label(label);
        let (snapshot, _directory) = snapshot_in(&log, encoding);
        let expected = expected_of(snapshot.terminal(Offset(0)), &log);
        for form in [Form::TextRows, Form::Rows] {
            prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, form).rows, &expected);
        }
        let to = expected.get((expected.len() as f64 * to) as usize).map_or(0, |row| row.0);
        let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
        prop_assert_eq!(&scanned(&snapshot, 0, to, Form::TextRows).rows, &wanted);
    }
}

/// Each line of the log in an envelope of CRI or Docker's, of which some are cut in two.
pub(crate) fn enveloped(log: &[u8], is_docker: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(log);
    let mut enveloped = b"2026-11-28T14:02:07Z stdout F first\n".to_vec();
    let mut put = |stream: &str, part: &str, end: &str| {
        let envelope = if is_docker {
            let log = serde_json::to_string(&format!("{part}{end}")).unwrap();
            format!(r#"{{"log":{log},"stream":"{stream}","time":"2026-11-28T14:02:07Z"}}"#)
        } else {
            let tag = if end.is_empty() { "P" } else { "F" };
            format!("2026-11-28T14:02:07Z {stream} {tag} {part}")
        };
        enveloped.extend(envelope.bytes());
        enveloped.push(b'\n');
    };
    for (nth, line) in text.lines().enumerate() {
        let (first, rest) = line.split_at(line.floor_char_boundary(line.len() / 2));
        match nth % 11 {
            3 => {
                put("stdout", first, "");
                put("stdout", rest, "\n");
            }
            5 => {
                put("stderr", first, "");
                put("stdout", "between", "\n");
                put("stderr", rest, "\n");
            }
            7 => put("stderr", line, "\n"),
            _ => put("stdout", line, "\n"),
        }
    }
    enveloped
}

proptest! {
    #![proptest_config(crate::testing::cases(64))]
    #[test]
    fn a_scan_of_a_container_gives_the_rows_of_a_terminal_that_saw_everything(
        parts in proptest::collection::vec((line(), 1usize..150), 0..12),
        is_docker: bool,
        to in 0.0..1.0f64,
    ) {
        let log: Vec<u8> = parts.into_iter().flat_map(|(line, times)| line.repeat(if line.len() > 1000 { 2 } else { times })).collect();
        let log = enveloped(&log, is_docker);
        let (snapshot, _directory) = snapshot_of(&log);
        let expected = expected_of(snapshot.terminal(Offset(0)), &log);
        for form in [Form::TextRows, Form::Rows] {
            prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, form).rows, &expected);
        }
        let written = snapshot.terminal(Offset(0)).into_rendition(Rendition::Written);
        prop_assert_eq!(&scanned(&snapshot, 0, u64::MAX, Form::WrittenRows).rows, &expected_of(written, &log));
        let to = expected.get((expected.len() as f64 * to) as usize).map_or(0, |row| row.0);
        let wanted: Vec<_> = expected.iter().filter(|row| row.0 < to).cloned().collect();
        prop_assert_eq!(&scanned(&snapshot, 0, to, Form::TextRows).rows, &wanted);
    }
}

#[test]
fn most_lines_of_a_container_need_no_terminal() {
    let log = "2026-11-28T14:02:07.123456789Z stdout F plain text\n{\"log\":\"\\u001b[31mred\\u001b[m\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-28T14:02:07Z\"}\n".repeat(20_000);
    let (snapshot, _directory) = snapshot_of(log.as_bytes());
    let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
    let others = log.len() - taken.bytes_of_lines;
    assert!(others < 40_000, "{others} of {} bytes went through a terminal", log.len());
    assert_eq!(taken.rows.len(), 40_000);
}

#[test]
fn most_lines_of_an_encoded_log_need_no_terminal() {
    let log = "连接 text\n\x1b[31mred\x1b[m\n".repeat(20_000);
    let (snapshot, _directory) =
        snapshot_in(&encoded("gbk", log.as_bytes()), Encoding::for_label("gbk"));
    let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
    assert!(taken.bytes_of_lines + 20_000 > log.len(), "{} of {}", taken.bytes_of_lines, log.len());
    assert_eq!(taken.rows.len(), 40_000);
}

#[test]
fn half_a_character_before_a_hole_is_ended_by_it() {
    use std::os::unix::fs::FileExt;

    let (_, directory) = snapshot_of(&encoded("utf-16le", "\u{feff}one\ntwo\n".as_bytes()));
    let path = directory.path().join("a.log");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // The hole begins with the last byte of the newline, and ends within U+4E00.
    file.write_all_at(&encoded("utf-16le", "\u{4e00}hi\n".as_bytes()), 200_000).unwrap();
    let snapshot = reopened(&directory);
    let rows = scanned(&snapshot, 0, u64::MAX, Form::TextRows).rows;
    let texts: Vec<(u64, &str)> = rows.iter().map(|row| (row.0, row.2.as_str())).collect();
    assert_eq!(texts, [(0, "one"), (10, "two"), (18, "一hi")]);
}

#[test]
fn a_row_that_an_earlier_line_began_keeps_its_offset() {
    // The cursor goes up, and comes back to the empty last row where a piece ends.
    let tail = "\x1b[2Aup\nnext\n";
    let head = "\x1b[1mbold\x1b[m\x0b\r\n".repeat((FEED_BYTES - tail.len()) / 15);
    let fill = "x".repeat(FEED_BYTES - tail.len() - head.len() - 1);
    let log = format!("{fill}\n{head}{tail}last\nplain\n");
    let (snapshot, _directory) = snapshot_of(log.as_bytes());
    let rows = scanned(&snapshot, 0, u64::MAX, Form::TextRows).rows;
    assert!(rows == expected(log.as_bytes(), Rendition::Shown), "{:?}", &rows[rows.len() - 4..]);
}

#[test]
fn most_lines_need_no_terminal() {
    let mut log = "plain text\n\x1b[31mred\x1b[m\n".repeat(20_000);
    log.insert_str(200_000, "10%\r20%\n");
    let (snapshot, _directory) = snapshot_of(log.as_bytes());
    let taken = scanned(&snapshot, 0, u64::MAX, Form::TextRows);
    let others = log.len() - taken.bytes_of_lines;
    assert!(others < 40_000, "{others} of {} bytes went through a terminal", log.len());
    assert_eq!(taken.rows.len(), 40_001);
}
