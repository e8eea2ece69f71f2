//! Logs that are not plain UTF-8: what is shown and found is text, offsets and downloads are those
//! of the file.

use serde_json::{Value, json};

use crate::clients::{Answer, Rows, Streaming, Viewer, get};
use crate::servers::{TestServer, append, command, eventually, output_of};

/// Lines in all kinds of scripts. The third has characters beyond 16 bits, and an ending of two
/// characters.
const LINES: [&str; 5] = [
    "2026-03-14 ERROR 连接不上 retry=3\r\n",
    "한국어 로그\n",
    "🙂 emoji 🚀\r\n",
    "上 WARN one\n",
    "last ERROR",
];

/// A file that has every line of a text in an encoding, and where each begins.
struct Encoded {
    bytes: Vec<u8>,
    starts: Vec<u64>,
}

fn utf16(to_bytes: fn(u16) -> [u8; 2]) -> impl Fn(&str) -> Vec<u8> {
    move |text| text.encode_utf16().flat_map(to_bytes).collect()
}

fn utf16le(text: &str) -> Vec<u8> {
    utf16(u16::to_le_bytes)(text)
}

/// The lines behind a byte order mark.
fn marked(encode: impl Fn(&str) -> Vec<u8>) -> Encoded {
    let (mut bytes, mut starts) = (encode("\u{feff}"), vec![0]);
    for (nth, line) in LINES.iter().enumerate() {
        if nth > 0 {
            starts.push(bytes.len() as u64);
        }
        bytes.extend(encode(line));
    }
    Encoded { bytes, starts }
}

fn shown() -> Vec<String> {
    LINES.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The answer to a question about a log, which is one JSON value.
pub async fn ask(server: &TestServer, question: &str, log: &str, query: &str) -> Value {
    let answer = get(server.address, &format!("/_/{question}{log}?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{question}?{query}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The rows that a search found.
pub async fn found(server: &TestServer, log: &str, query: &str) -> Vec<u64> {
    let answer = get(server.address, &format!("/_/find{log}?{query}"), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = lines.filter(|line| line["type"] == "found");
    found
        .flat_map(|line| line["rows"].as_array().unwrap().clone())
        .map(|row| row[0].as_u64().unwrap())
        .collect()
}

/// What a viewer of `tailcast.v1` that does not follow has in the end.
async fn rows_of(server: &TestServer, target: &str) -> Rows {
    let mut viewer = Viewer::v1(server.address, target).await;
    let mut rows = Rows::default();
    loop {
        let message = viewer.json().await;
        match message["type"].as_str() {
            Some("end") => return rows,
            Some("rows") => rows.apply(&message),
            _ => {}
        }
    }
}

fn with_texts(starts: &[u64], texts: &[String]) -> Vec<(u64, String)> {
    starts.iter().copied().zip(texts.iter().cloned()).collect()
}

#[tokio::test]
async fn a_log_with_a_byte_order_mark_is_text_in_every_stream() {
    let server = TestServer::start().await;
    let text = shown().join("\n");
    for (name, log) in [
        ("le.log", marked(utf16le)),
        ("be.log", marked(utf16(u16::to_be_bytes))),
        ("utf8.log", marked(|text| text.as_bytes().to_vec())),
    ] {
        let target = server.log(name, &log.bytes);
        let rows = rows_of(&server, &format!("{target}?lines=all")).await;
        assert_eq!(rows.0, with_texts(&log.starts, &shown()), "{name}");
        let rows = rows_of(&server, &format!("{target}?lines=3&format=text")).await;
        assert_eq!(rows.0, with_texts(&log.starts[2..], &shown()[2..]), "{name}");
        // Within a line, between the halves of a character: the whole row is there, as always.
        let from = log.starts[2] + 3;
        let rows = rows_of(&server, &format!("{target}?from={from}")).await;
        assert_eq!(rows.0.last().unwrap(), &(log.starts[4], shown()[4].clone()), "{name}");
        let mut events =
            Streaming::get(server.address, &target, &[("accept", "text/event-stream")]).await;
        let events = events.rest().await;
        assert!(events.contains(&format!("[{},\"{}\"", log.starts[2], shown()[2])), "{events}");
        let (html, _) = Viewer::original(server.address, &target).await.rest().await;
        assert_eq!(html, text, "{name}");
        let plain = get(server.address, &format!("{target}?format=text"), &[]).await;
        assert_eq!(plain.text(), text, "{name}");
        assert_eq!(plain.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn a_log_with_a_byte_order_mark_is_text_for_rows_search_and_line_numbers() {
    let server = TestServer::start().await;
    for (name, log) in [
        ("le.log", marked(utf16le)),
        ("be.log", marked(utf16(u16::to_be_bytes))),
        ("utf8.log", marked(|text| text.as_bytes().to_vec())),
    ] {
        let target = server.log(name, &log.bytes);
        let Encoded { starts, bytes } = &log;
        let page = ask(&server, "rows", &target, "").await;
        let rows: Vec<Value> =
            starts.iter().zip(shown()).map(|(at, text)| json!([at, text])).collect();
        assert_eq!(page["rows"], Value::from(rows.clone()), "{name}");
        assert_eq!(page["lines"], json!([1, 2, 3, 4, 5]), "{name}");
        let page = ask(&server, "rows", &target, "line=4&count=1").await;
        assert_eq!(page["rows"], json!([rows[3]]), "{name}");
        let page = ask(&server, "rows", &target, &format!("before={}&count=2", starts[3])).await;
        assert_eq!(page["rows"], json!([rows[1], rows[2]]), "{name}");
        let page = ask(&server, "rows", &target, "filter=1&q=emoji+%F0%9F%9A%80").await;
        assert_eq!(page["rows"], json!([[starts[2], shown()[2], {"match": [[3, 11]]}]]), "{name}");
        // All lines of a search, and those of a level.
        assert_eq!(found(&server, &target, "q=%E8%BF%9E%E6%8E%A5").await, [0], "{name}");
        assert_eq!(found(&server, &target, "q=^last&regex=1").await, [starts[4]], "{name}");
        assert_eq!(found(&server, &target, "q=^2026&regex=1").await, [0], "{name}");
        assert_eq!(found(&server, &target, "level=error").await, [0, starts[4]], "{name}");
        assert_eq!(found(&server, &target, "level=warning").await, [starts[3]], "{name}");
        let lines =
            ask(&server, "lines", &target, &format!("at={},{}", starts[3], starts[1])).await;
        assert_eq!((&lines["lines"], &lines["total"]), (&json!([4, 2]), &json!(4)), "{name}");
        let line = ask(&server, "lines", &target, "line=3").await;
        assert_eq!(line["offset"], json!(starts[2]), "{name}");
        let text = |query: &str| format!("/_/text{target}?{query}");
        let plain = get(server.address, &text("filter=1&level=error&plain=1"), &[]).await;
        assert_eq!(plain.text(), format!("{}\n{}", shown()[0], shown()[4]), "{name}");
        // Downloads have the bytes of the file.
        let part = get(server.address, &text("filter=1&q=emoji"), &[]).await;
        assert!(part.body == bytes[starts[2] as usize..starts[3] as usize], "{name}");
        assert!(get(server.address, &text(""), &[]).await.body == *bytes, "{name}");
        assert!(get(server.address, &target, &[]).await.body == *bytes, "{name}");
        let last = get(server.address, &format!("{target}?format=raw&lines=2"), &[]).await;
        assert!(last.body == bytes[starts[3] as usize..], "{name}");
    }
}

/// Waits until the server has published so many chunks in all.
async fn published(server: &TestServer, chunks: u64) {
    eventually("the bytes are published", async || {
        let seen = server.health().await["counters"]["chunks"].as_u64().unwrap();
        if seen >= chunks { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn a_character_that_is_written_in_parts_arrives_whole() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let path = server.path("a.log");
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    let mut html = Viewer::original(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    assert_eq!(html.text().await, "");
    let bytes = utf16le("\u{feff}连\r\n🙂 x\n");
    // The mark, the newline and both halves of the emoji are divided.
    for (nth, byte) in bytes.iter().enumerate() {
        append(&path, [*byte]);
        published(&server, nth as u64 + 1).await;
    }
    let mut rows = Rows::default();
    while rows.texts() != ["连", "🙂 x"] {
        rows.apply(&viewer.expect("rows").await);
        assert!(!format!("{rows:?}").contains('\u{fffd}'), "{rows:?}");
    }
    assert_eq!(rows.0, [(0, "连".to_owned()), (8, "🙂 x".to_owned())]);
    assert_eq!(html.text_until("x\n").await, "连\n🙂 x\n");
    // One who comes now, when half a character is there, sees the same as the others do.
    append(&path, &utf16le("🚀")[..3]);
    published(&server, bytes.len() as u64 + 1).await;
    let mut late = Viewer::v1(server.address, &format!("{log}?tail=1&lines=0")).await;
    late.expect("open").await;
    append(&path, &utf16le("🚀\n")[3..]);
    let mut seen = Rows::default();
    while seen.texts() != ["🚀"] {
        seen.apply(&late.expect("rows").await);
    }
    assert_eq!(seen.0, [(18, "🚀".to_owned())]);
}

/// The same text in several encodings, each of which has it.
fn in_charsets() -> [(&'static str, &'static str, &'static [u8]); 5] {
    [
        (
            "gbk",
            "ERROR 连接不上\n重试 2\n",
            b"ERROR \xc1\xac\xbd\xd3\xb2\xbb\xc9\xcf\n\xd6\xd8\xca\xd4 2\n",
        ),
        ("big5", "ERROR 連線\n重試 2\n", b"ERROR \xb3\x73\xbd\x75\n\xad\xab\xb8\xd5 2\n"),
        (
            "Shift_JIS",
            "ERROR 接続\nソート 2\n",
            b"ERROR \x90\xda\x91\xb1\n\x83\x5c\x81\x5b\x83\x67 2\n",
        ),
        ("euc-kr", "ERROR 연결\n다시 2\n", b"ERROR \xbf\xac\xb0\xe1\n\xb4\xd9\xbd\xc3 2\n"),
        ("latin1", "ERROR größer\nça va 2\n", b"ERROR gr\xf6\xdfer\n\xe7a va 2\n"),
    ]
}

#[tokio::test]
async fn a_viewer_chooses_another_encoding() {
    let server = TestServer::start().await;
    for (label, text, bytes) in in_charsets() {
        let log = server.log("a.log", bytes);
        let second = 1 + bytes.iter().position(|&byte| byte == b'\n').unwrap() as u64;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let expected = with_texts(&[0, second], &lines);
        let rows = rows_of(&server, &format!("{log}?encoding={label}")).await;
        assert_eq!(rows.0, expected, "{label}");
        let events = format!("{log}?encoding={label}");
        let accept = [("accept", "text/event-stream")];
        let events = Streaming::get(server.address, &events, &accept).await.rest().await;
        assert!(events.contains(&lines[1]), "{events}");
        let (html, _) =
            Viewer::original(server.address, &format!("{log}?encoding={label}")).await.rest().await;
        assert_eq!(html, text, "{label}");
        let plain = get(server.address, &format!("{log}?format=text&encoding={label}"), &[]).await;
        assert_eq!(plain.text(), text, "{label}");
        let page = ask(&server, "rows", &log, &format!("encoding={label}&line=2")).await;
        assert_eq!(page["rows"], json!([[second, lines[1]]]), "{label}");
        let word: String = lines[0].chars().skip(6).collect();
        let word = percent_encoding::utf8_percent_encode(&word, percent_encoding::NON_ALPHANUMERIC);
        assert_eq!(found(&server, &log, &format!("encoding={label}&q={word}")).await, [0]);
        assert_eq!(found(&server, &log, &format!("q={word}")).await, [0; 0], "as UTF-8");
        let text = format!("/_/text{log}?plain=1&from={second}&encoding={label}");
        assert_eq!(get(server.address, &text, &[]).await.text(), format!("{}\n", lines[1]));
        let raw = get(server.address, &format!("{log}?format=raw&encoding={label}"), &[]).await;
        assert_eq!(raw.body, bytes, "{label}");
    }
}

#[tokio::test]
async fn an_unknown_encoding_is_refused_by_name() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "line\n");
    let refused = |answer: &Answer| {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("`encoding`"), "{}", answer.text());
    };
    for label in ["utf-9", "", "iso-2022-jp", "replacement"] {
        for target in [
            format!("{log}?encoding={label}"),
            format!("{log}?format=text&encoding={label}"),
            format!("/_/rows{log}?encoding={label}"),
            format!("/_/find{log}?q=a&encoding={label}"),
            format!("/_/text{log}?encoding={label}"),
            format!("/_/lines{log}?line=1&encoding={label}"),
        ] {
            refused(&get(server.address, &target, &[]).await);
        }
        let target = format!("{log}?encoding={label}");
        let upgrade = Viewer::connect(server.address, &target, &[]).await;
        let error = upgrade.err().expect("the upgrade is refused").to_string();
        assert!(error.contains("400"), "{error}");
    }
}

#[tokio::test]
async fn viewers_of_each_encoding_share_one_rendering() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let mut viewers = Vec::new();
    for encoding in ["", "&encoding=gbk", "&encoding=gb2312", "&encoding=latin1", ""] {
        let target = format!("{log}?tail=1{encoding}");
        let mut viewer = Viewer::v1(server.address, &target).await;
        viewer.expect("open").await;
        viewers.push(viewer);
    }
    // The first line brings the viewers together.
    append(&log, "start\n");
    for viewer in &mut viewers {
        while viewer.expect("rows").await["rows"] != json!([[0, "start"]]) {}
    }
    let before = server.renders().await;
    append(&log, b"\xc1\xac\n");
    let mut shown = Vec::new();
    for viewer in &mut viewers {
        shown.push(viewer.expect("rows").await["rows"][0][1].as_str().unwrap().to_owned());
    }
    assert_eq!(shown, ["\u{fffd}\u{fffd}", "连", "连", "Á¬", "\u{fffd}\u{fffd}"]);
    assert_eq!(server.renders().await - before, 3, "one for each encoding");
}

#[tokio::test]
async fn a_viewer_resumes_at_any_byte_of_a_utf_16_log() {
    let server = TestServer::start().await;
    let line = |nth: usize| format!("行 {nth} 🙂 ::{}\n", "x".repeat(40));
    let text: String = (0..3000).map(line).collect();
    let bytes = utf16le(&format!("\u{feff}{text}"));
    let log = server.log("a.log", &bytes);
    let whole = rows_of(&server, &format!("{log}?lines=all")).await;
    assert_eq!(whole.0.len(), 3000);
    assert!(whole.0.iter().enumerate().all(|(nth, (_, text))| *text == line(nth).trim_end()));
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1&lines=2500")).await;
    let open = viewer.expect("open").await;
    let generation = open["generation"].as_str().unwrap().to_owned();
    assert_eq!(open["from"], json!(whole.0[500].0));
    // Wherever a connection breaks, the rest follows.
    for cut in [3, 4, 5, 20_001, 20_002, 20_003] {
        let from = whole.0[1000].0 + cut;
        let target = format!("{log}?from={from}&generation={generation}");
        let mut rows = Rows(whole.0.iter().filter(|(at, _)| *at < from).cloned().collect());
        let mut resumed = Viewer::v1(server.address, &target).await;
        assert_eq!(resumed.expect("open").await["recovered"], json!(true));
        loop {
            let message = resumed.json().await;
            match message["type"].as_str() {
                Some("end") => break,
                Some("rows") => rows.apply(&message),
                _ => {}
            }
        }
        assert!(rows == whole, "resumed {cut} bytes behind a line");
    }
}

#[tokio::test]
async fn a_charset_is_claimed_where_it_is_known() {
    let server = TestServer::start().await;
    for (content, query, charset) in [
        (&b"only ascii\n"[..], "", None),
        ("größer\n".as_bytes(), "", Some("utf-8")),
        (b"gr\xf6\xdfer\n", "", None),
        (b"gr\xf6\xdfer\n", "?encoding=latin1", Some("windows-1252")),
        (b"\xef\xbb\xbfa\n", "", Some("utf-8")),
        (b"\xff\xfea\0", "", Some("utf-16le")),
        (b"gr\xf6\xdfer\n", "?format=raw&lines=1", None),
        (b"gr\xf6\xdfer\n", "?format=raw&lines=1&encoding=latin1", Some("windows-1252")),
        (b"gr\xf6\xdfer\n", "?format=text&lines=1", Some("utf-8")),
    ] {
        let log = server.log("a.log", content);
        let expected = charset.map_or_else(
            || "text/plain".to_owned(),
            |charset| format!("text/plain; charset={charset}"),
        );
        let answer = get(server.address, &format!("{log}{query}"), &[]).await;
        assert_eq!(answer.header("content-type"), Some(expected.as_str()), "{query} {content:x?}");
        if query.is_empty() {
            let answer = get(server.address, &format!("/_/text{log}"), &[]).await;
            assert_eq!(answer.header("content-type"), Some(expected.as_str()), "{content:x?}");
        }
    }
}

#[tokio::test]
async fn the_next_file_may_have_another_encoding() {
    let server = TestServer::start().await;
    let log = server.log("a.log", utf16le("\u{feff}eins 连\n"));
    let mut viewer = Viewer::v1(server.address, &format!("{log}?tail=1")).await;
    viewer.expect("open").await;
    assert_eq!(viewer.expect("rows").await["rows"], json!([[0, "eins 连"]]));
    std::fs::rename(&log, server.path("a.log.1")).unwrap();
    std::fs::write(&log, "zwei ß\n").unwrap();
    while viewer.json().await["type"] != "reset" {}
    let mut rows = Rows::default();
    while rows.texts() != ["zwei ß"] {
        rows.apply(&viewer.expect("rows").await);
    }
    let be: Vec<u8> = utf16(u16::to_be_bytes)("\u{feff}drei 한\n");
    std::fs::rename(&log, server.path("a.log.2")).unwrap();
    std::fs::write(&log, be).unwrap();
    while viewer.json().await["type"] != "reset" {}
    let mut rows = Rows::default();
    while rows.texts() != ["drei 한"] {
        rows.apply(&viewer.expect("rows").await);
    }
}

#[tokio::test]
async fn in_a_terminal_a_log_is_byte_for_byte_and_its_text_is_text() {
    let server = TestServer::start().await;
    let log = marked(utf16le);
    let target = server.log("a.log", &log.bytes);
    for source in [format!("http://{}{target}", server.address), target.clone()] {
        let printed = async |arguments: &[&str]| {
            let mut tail = command();
            tail.args(["tail", "--no-follow", "-q"]).args(arguments).arg(&source);
            let output = tokio::task::spawn_blocking(move || output_of(&mut tail)).await.unwrap();
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        assert_eq!(printed(&["-n", "all"]).await, log.bytes, "{source}");
        assert_eq!(printed(&["-n", "2"]).await, log.bytes[log.starts[3] as usize..], "{source}");
        let text = String::from_utf8(printed(&["-n", "all", "--format", "text"]).await).unwrap();
        assert_eq!(text, shown().join("\n"), "{source}");
        let text = String::from_utf8(printed(&["-n", "3", "--format", "text"]).await).unwrap();
        assert_eq!(text, shown()[2..].join("\n"), "{source}");
    }
}

#[tokio::test]
async fn in_a_terminal_a_log_is_read_in_the_chosen_encoding() {
    let server = TestServer::start().await;
    let gbk = b"\xc1\xac\xbd\xd3\n\xb2\xbb\xc9\xcf\n";
    let gbk = server.log("gbk.log", gbk);
    let utf16 = server.log("utf16.log", utf16le("eins\n上下\nzwei\n"));
    for (log, label, expected) in [(&gbk, "gbk", "不上\n"), (&utf16, "UTF-16LE", "zwei\n")] {
        for source in [format!("http://{}{log}", server.address), log.clone()] {
            let mut tail = command();
            tail.args(["tail", "--no-follow", "-q", "-n", "1", "--format", "text", "--encoding"]);
            tail.args([label, &source]);
            let output = tokio::task::spawn_blocking(move || output_of(&mut tail)).await.unwrap();
            let printed = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(printed, expected, "{source}");
        }
    }
    let mut tail = command();
    tail.args(["tail", "--encoding", "utf-9", &gbk]);
    let output = tokio::task::spawn_blocking(move || output_of(&mut tail)).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("a label of the Encoding Standard"), "{told}");
}
