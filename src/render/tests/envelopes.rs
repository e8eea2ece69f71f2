//! Logs of container runtimes: the rows are those of what the programs wrote.

use proptest::prelude::*;

use super::chance::{chunks, noise};
use super::encodings::{encoding, rows_in};
use super::*;
use crate::encoding::envelope::Stream;
use crate::encoding::{Detection, Layout};
use crate::render::screen_modes::ALTERNATE_BYTES_MAX;

/// The rows, and the name of the stream where they say it.
fn shown(rows: &[Row]) -> Vec<(u64, &str, bool)> {
    let is_error = |row: &Row| row.note().and_then(|note| note.stream) == Some(Stream::Stderr);
    rows.iter().map(|row| (row.offset, row.text(), is_error(row))).collect()
}

fn rows_however(log: &[u8]) -> Vec<Row> {
    let whole = rows_in(Detection::default(), [log]);
    for len in [1, 2, 7, 61] {
        let rows = rows_in(Detection::default(), log.chunks(len));
        assert_eq!(shown(&rows), shown(&whole), "in pieces of {len}");
        assert_eq!(rows, whole, "in pieces of {len}");
    }
    whole
}

fn cri(stream: &str, tag: &str, text: &str) -> String {
    format!("2026-11-28T14:02:07.123456789Z {stream} {tag} {text}\n")
}

fn docker(stream: &str, text: &str) -> String {
    let log = serde_json::to_string(text).unwrap();
    format!(
        "{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-11-28T14:02:07.123456789Z\"}}\n"
    )
}

#[test]
fn the_records_of_a_real_runtime_show_what_the_program_wrote() {
    let mixed = include_bytes!("../../../tests/it/containers/podman-mixed.log");
    let rows = rows_however(mixed);
    let starts: Vec<u64> = std::iter::once(0)
        .chain(memchr::memchr_iter(b'\n', mixed).map(|at| at as u64 + 1))
        .collect();
    let expected = [
        (0, "starting", false),
        (1, "listening on 8080", false),
        (2, "loading 100%", false),
        (3, "warning: no configuration", true),
        (4, "error: cannot read a", true),
        (7, r#"{"level":50,"time":1795874527123,"msg":"pool is empty"}"#, false),
        (8, "", false),
        (9, "done", false),
    ];
    let expected: Vec<_> =
        expected.iter().map(|&(line, text, error)| (starts[line], text, error)).collect();
    assert_eq!(shown(&rows), expected);
    assert!(rows[1].html().contains("listening</"), "{}", rows[1].html());
    let times: Vec<Option<u64>> =
        rows.iter().map(|row| row.note().and_then(|note| note.time)).collect();
    let first = times[0].unwrap();
    assert!(
        times.iter().all(|time| time.is_some_and(|time| (first..first + 3000).contains(&time)))
    );

    let terminal = include_bytes!("../../../tests/it/containers/podman-terminal.log");
    let rows = rows_however(terminal);
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, ["first", "all steps", "last"]);

    let long = include_bytes!("../../../tests/it/containers/podman-long.log");
    let rows = rows_in(Detection::default(), long.chunks(1000));
    let numbers: Vec<String> = (1..=5000).map(|n| n.to_string()).collect();
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, ["before", &numbers.join(" "), "after"]);
}

#[test]
fn a_line_in_many_envelopes_is_one_row_of_its_stream() {
    const OUT: &str = "stdout";
    const ERR: &str = "stderr";
    let (out, err) = (OUT, ERR);
    let envelope = |is_docker: bool, stream: &str, text: &str, goes_on: bool| {
        if is_docker {
            docker(stream, &format!("{text}{}", if goes_on { "" } else { "\n" }))
        } else {
            cri(stream, if goes_on { "P" } else { "F" }, text)
        }
    };
    for is_docker in [false, true] {
        // The stream, the text, whether it goes on, and the number of the row.
        type Case =
            (&'static [(&'static str, &'static str, bool)], &'static [(usize, &'static str, bool)]);
        let table: [Case; 9] = [
            (&[(OUT, "a", true), (OUT, "b", false)], &[(0, "ab", false)]),
            (
                &[(OUT, "a", true), (ERR, "x", false), (OUT, "b", false), (OUT, "c", false)],
                &[(0, "ab", false), (1, "x", true), (3, "c", false)],
            ),
            (
                &[(OUT, "a", true), (ERR, "x", true), (OUT, "b", false), (ERR, "y", false)],
                &[(0, "ab", false), (1, "xy", true)],
            ),
            (
                &[
                    (OUT, "a", true),
                    (ERR, "x", true),
                    (OUT, "b", true),
                    (ERR, "y", true),
                    (OUT, "c", false),
                    (OUT, "d", false),
                    (ERR, "z", false),
                    (ERR, "w", false),
                ],
                &[(0, "abc", false), (1, "xyz", true), (5, "d", false), (7, "w", true)],
            ),
            (&[(OUT, "a", true), (ERR, "x", false)], &[(0, "a", false), (1, "x", true)]),
            // Colours and characters are whole again.
            (
                &[(OUT, "a\x1b[3", true), (ERR, "x", false), (OUT, "1mb\x1b[m", false)],
                &[(0, "ab", false), (1, "x", true)],
            ),
            (
                &[
                    (OUT, "10%", true),
                    (ERR, "x", false),
                    (OUT, "\r20%", true),
                    (OUT, "\r99%", false),
                ],
                &[(0, "99%", false), (1, "x", true)],
            ),
            // A way up leads over rows, not over lines of the log.
            (
                &[
                    (OUT, "a", false),
                    (OUT, "b", false),
                    (OUT, "\x1b[2A\x1b[2Kc", false),
                    (OUT, "d", false),
                ],
                &[(0, "c", false), (1, "d", false)],
            ),
            (&[(OUT, "", false), (OUT, "a", false)], &[(0, "", false), (1, "a", false)]),
        ];
        for (envelopes, expected) in table {
            let lines: Vec<String> =
                envelopes.iter().map(|&(s, text, on)| envelope(is_docker, s, text, on)).collect();
            let start = |nth: usize| lines[..nth].iter().map(String::len).sum::<usize>() as u64;
            let expected: Vec<_> =
                expected.iter().map(|&(nth, text, error)| (start(nth), text, error)).collect();
            let rows = rows_however(lines.concat().as_bytes());
            assert_eq!(shown(&rows), expected, "{envelopes:?}");
        }
    }
    // Runtimes cut lines at 16 KiB.
    let long = "x".repeat(16 * 1024);
    let lines =
        [cri(out, "P", &long), cri(out, "F", &long), docker(err, &long), docker(err, "a\n")];
    let rows = rows_in(Detection::default(), [lines.concat().as_bytes()]);
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, [long.repeat(2), long + "a"]);
    let time = |row: &Row| row.note().and_then(|note| note.time);
    assert!(rows.iter().all(|row| time(row) == Some(1_795_874_527_123)), "{rows:?}");
    let split = [cri(out, "P", "a"), cri(err, "F", "x"), cri(out, "F", "b")].concat();
    let split = split.into_bytes();
    let [a, b] = [b"P a\n", b"F b\n"].map(|s| memchr::memmem::find(&split, s).unwrap());
    let e_acute =
        [&split[..a + 2], b"\xc3", &split[a + 3..b + 2], b"\xa9", &split[b + 3..]].concat();
    assert_eq!(rows_however(&e_acute)[0].text(), "é");
}

#[test]
fn other_lines_in_a_log_of_envelopes_stay_as_they_are() {
    let looks_like = "{\"log\":\"a\",\"stream\":\"stdout\"}";
    let lines = [
        cri("stdout", "F", "a"),
        format!("{looks_like}\n"),
        "bare\n".to_owned(),
        cri("stdout", "P", "b"),
        "bare\n".to_owned(),
        cri("stdout", "F", "c"),
        docker("stderr", "d\n"),
    ];
    let rows = rows_however(lines.concat().as_bytes());
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, ["a", looks_like, "bare", "bc", "bare", "d"]);
    assert_eq!(rows[2].note(), None);
    // And envelopes in any other log.
    let log = ["bare\n".to_owned(), docker("stdout", "a\n"), cri("stdout", "F", "b")].concat();
    let rows = rows_however(log.as_bytes());
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, log.lines().collect::<Vec<_>>());
}

#[test]
fn a_line_is_shown_as_it_is_until_it_is_known_to_be_an_envelope() {
    let log = cri("stdout", "F", "text");
    for len in 1..log.find("F ").unwrap() {
        let (head, rest) = log.split_at(len);
        let mut terminal = Terminal::with_encoding(0, Detection::default());
        let mut rows = Vec::new();
        apply(&mut rows, &terminal.feed(head.as_bytes()));
        assert_eq!(shown(&rows), [(0, head, false)]);
        apply(&mut rows, &terminal.feed(rest.as_bytes()));
        assert_eq!(shown(&rows), [(0, "text", false)], "after {head:?}");
    }
    for text in ["2026", "{", "{\"log\""] {
        let rows = rows_in(Detection::default(), [text.as_bytes()]);
        assert_eq!(shown(&rows), [(0, text, false)]);
        let rows = rows_in(Detection::default(), [text.as_bytes(), b" items\n"]);
        assert_eq!(shown(&rows), [(0, &*format!("{text} items"), false)]);
    }
}

#[test]
fn a_chosen_encoding_is_that_of_the_text_and_envelopes_can_be_kept() {
    let gbk = [
        b"2026-11-28T14:02:07Z stdout P \xc1\n".to_vec(),
        b"2026-11-28T14:02:07Z stderr F \xbd\xd3\n".to_vec(),
        b"2026-11-28T14:02:07Z stdout F \xac\n".to_vec(),
        b"2026-11-28T14:02:07Z stdout F \xc1\n".to_vec(),
        docker("stdout", "接\n").into_bytes(),
        b"\xbd\xd3\n".to_vec(),
    ];
    let log = gbk.concat();
    let chosen = Detection::of_encoding(encoding("gbk"));
    for size in [1, 3, log.len()] {
        let rows = rows_in(chosen, log.chunks(size));
        let texts: Vec<&str> = rows.iter().map(Row::text).collect();
        assert_eq!(texts, ["连", "接", "\u{fffd}", "接", "接"], "in pieces of {size}");
    }
    let log = [cri("stdout", "F", "a"), docker("stdout", "b\n")].concat();
    let kept = Detection::default().or_chosen(None, Some(Layout::Plain));
    let rows = rows_in(kept, log.as_bytes().chunks(5));
    let texts: Vec<&str> = rows.iter().map(Row::text).collect();
    assert_eq!(texts, log.lines().collect::<Vec<_>>());
}

/// The lines of a log in envelopes of one stream, cut into parts of these lengths.
fn wrapped(log: &[u8], lengths: &[usize], is_docker: bool) -> Vec<u8> {
    let mut lengths = lengths.iter().cycle();
    let mut wrapped = Vec::new();
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
        loop {
            let mut len = (*lengths.next().unwrap()).min(rest.len());
            while is_docker && std::str::from_utf8(&rest[..len]).is_err() {
                len += 1;
            }
            let (part, others) = rest.split_at(len);
            let is_last = others.is_empty();
            let goes_on = !is_last || !line.ends_with(b"\n");
            if is_docker {
                let part = std::str::from_utf8(part).unwrap();
                let end = if goes_on { "" } else { "\n" };
                wrapped.extend(docker("stdout", &format!("{part}{end}")).into_bytes());
            } else {
                let head = cri("stdout", if goes_on { "P" } else { "F" }, "");
                wrapped.extend(&head.as_bytes()[..head.len() - 1]);
                wrapped.extend(part);
                wrapped.push(b'\n');
            }
            rest = others;
            if is_last {
                break;
            }
        }
    }
    wrapped
}

proptest! {
    #![proptest_config(crate::testing::cases(256))]

    #[test]
    fn a_program_in_a_container_shows_as_it_does_without(
        log in noise(),
        lengths in prop::collection::vec(1_usize..60, 1..9),
        cuts in prop::collection::vec(any::<usize>(), 0..9),
    ) {
        let text = String::from_utf8_lossy(&log).into_owned();
        for (log, is_docker) in [(&log[..], false), (text.as_bytes(), true)] {
            // Its first byte is none of a byte order mark. A sequence that goes to a row makes at
            // most as many rows as it has bytes, of which envelopes have more.
            let mut log = [b"a\n", log].concat();
            log.iter_mut().filter(|byte| b"HfdLMST".contains(byte)).for_each(|byte| *byte = b'm');
            let wrapped = wrapped(&log, &lengths, is_docker);
            // The bytes of the log after which a full-screen program counts as ended include envelopes.
            let is_ended = wrapped.len() as u64 > ALTERNATE_BYTES_MAX;
            prop_assume!(!is_ended || !log.windows(8).any(|bytes| bytes == b"\x1b[?1049h"));
            let rows = rows_in(Detection::default(), [&wrapped[..]]);
            let seen = |rows: &[Row]| rows.iter().map(Row::html).collect::<Vec<_>>();
            prop_assert_eq!(seen(&rows), seen(&rows_of([&log[..]])), "docker: {}", is_docker);
            prop_assert_eq!(rows_in(Detection::default(), chunks(&wrapped, &cuts)), rows);
        }
    }

    #[test]
    fn any_division_of_two_streams_gives_the_same_rows(
        pieces in prop::collection::vec((noise(), any::<bool>(), any::<bool>(), any::<bool>()), 1..20),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let mut log = cri("stdout", "F", "a").into_bytes();
        for (noise, is_docker, is_error, goes_on) in pieces {
            let stream = if is_error { "stderr" } else { "stdout" };
            let text = String::from_utf8_lossy(&noise).replace('\n', " ");
            let end = if goes_on { "" } else { "\n" };
            if is_docker {
                log.extend(docker(stream, &format!("{text}{end}")).into_bytes());
            } else {
                log.extend(cri(stream, if goes_on { "P" } else { "F" }, &text).into_bytes());
            }
        }
        let whole = rows_in(Detection::default(), [&log[..]]);
        prop_assert_eq!(&rows_in(Detection::default(), chunks(&log, &cuts)), &whole);
        prop_assert_eq!(&rows_in(Detection::default(), log.chunks(1 + log.len() / 2048)), &whole);
    }
}

#[test]
fn the_memory_for_envelopes_is_bounded() {
    let long = format!("{{\"log\":\"{}", "\\\"".repeat(100_000));
    let hostile = [
        cri("stdout", "F", "a") + &cri("stdout", "P", &"x".repeat(20_000)).repeat(400),
        (cri("stdout", "P", &"x".repeat(9000)) + &cri("stderr", "P", &"\x1b[31ma".repeat(900)))
            .repeat(400),
        cri("stdout", "F", "a") + &long + &long,
        (cri("stdout", "P", "\x1b]0;") + &cri("stderr", "P", "\x1b]8;;")).repeat(4000),
    ];
    for log in hostile {
        let mut terminal = Terminal::with_encoding(0, Detection::default());
        for piece in log.as_bytes().chunks(8192) {
            terminal.feed(piece);
            assert!(terminal.weight() < 2 << 20, "{} bytes", terminal.weight());
        }
    }
}
