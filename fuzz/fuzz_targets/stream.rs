//! The output for append-only viewers is safe in every message, and contains all lines without
//! control characters.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tailcast::render::{Appender, Terminal, stamped_line};

#[allow(dead_code, reason = "it is shared with the tests")]
#[path = "../../tests/it/markup.rs"]
mod markup;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let mut terminal = Terminal::new(7);
    let (mut html, mut text) = (Appender::new(), Appender::new());
    let check = |sent: &str| {
        let shown: String = markup::parts(sent).into_iter().map(|(text, _)| text).collect();
        assert!(!shown.chars().any(|ch| ch.is_control() && ch != '\t' && ch != '\n'));
    };
    let mut sent = String::new();
    for piece in bytes.chunks(1 + usize::from(size)) {
        let patch = terminal.feed(piece);
        check(&html.html(&patch));
        sent += &text.text(&patch);
    }
    check(&html.finish_html());
    sent += &text.finish_text();
    // Lines without control characters and stamps arrive unchanged.
    if stamped_line(bytes).is_none()
        && bytes.iter().all(|&byte| byte == b'\n' || (b' '..=b'~').contains(&byte))
    {
        assert_eq!(sent.as_bytes(), bytes);
    }
});
