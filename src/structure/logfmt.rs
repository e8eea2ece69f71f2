//! The fields of logfmt: `key=value key="a \"quoted\" value"`, among any other words.

use std::borrow::Cow;

use super::json::Wanted;
use super::{Found, Value};

/// Finds the first value of each key that has none yet.
pub(super) fn fields<'l>(line: &'l [u8], wanted: &[Wanted<'l>], found: &mut [Option<Found<'l>>]) {
    if memchr::memchr(b'=', line).is_none() {
        return;
    }
    for wanted in wanted {
        if found[wanted.key].is_none()
            && let Some(value) = value_of(line, wanted.name)
        {
            found[wanted.key] = Some(Found { name: wanted.full, value: Value::Text(value) });
        }
    }
}

/// The first value of this name.
fn value_of<'l>(line: &'l [u8], name: &str) -> Option<Cow<'l, str>> {
    // A line has few of these, and a search for the name would have to be prepared for each line.
    for sign in memchr::memchr_iter(b'=', line) {
        let Some(before) = line[..sign].strip_suffix(name.as_bytes()) else { continue };
        let begins = matches!(before, [] | [.., b' ' | b'\t' | b'[' | b'(' | b'{' | b',']);
        // Inside of a quoted value it is text.
        if begins && !is_quoted(line, before.len()) {
            return Some(value(&line[sign + 1..]));
        }
    }
    None
}

/// Whether a place is inside of a quoted value. A quote opens one only behind `=`: others are inches,
/// or quotes of a sentence.
fn is_quoted(line: &[u8], place: usize) -> bool {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'"', &line[at..place]) {
        let begin = at + found + 1;
        if !line[at..begin].ends_with(b"=\"") {
            at = begin;
            continue;
        }
        match end_of_quoted(&line[begin..]) {
            Some(len) if begin + len < place => at = begin + len + 1,
            _ => return true,
        }
    }
    false
}

/// Where a quoted text ends.
fn end_of_quoted(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..)?) {
        if text[at + found] == b'"' {
            return Some(at + found);
        }
        at += found + 2;
    }
    None
}

/// The value with which a text begins.
pub(super) fn value(text: &[u8]) -> Cow<'_, str> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr2(b' ', b'\t', text).unwrap_or(text.len());
        return String::from_utf8_lossy(without_closing(&text[..end]));
    };
    let mut unescaped: Option<Vec<u8>> = None;
    let (mut at, mut from) = (0, 0);
    while let Some(next) = memchr::memchr2(b'"', b'\\', &quoted[at..]) {
        at += next;
        if quoted[at] == b'"' {
            break;
        }
        let text = unescaped.get_or_insert_default();
        text.extend(&quoted[from..at]);
        match quoted.get(at + 1) {
            Some(b'n') => text.push(b'\n'),
            Some(b't') => text.push(b'\t'),
            Some(byte) => text.push(*byte),
            None => {}
        }
        at = (at + 2).min(quoted.len());
        from = at;
    }
    if memchr::memchr2(b'"', b'\\', &quoted[at..]).is_none() {
        at = quoted.len();
    }
    match unescaped {
        None => String::from_utf8_lossy(&quoted[..at]),
        Some(mut text) => {
            text.extend(&quoted[from..at]);
            Cow::Owned(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

/// A value without the punctuation of the sentence around it: `(user=7, id=8)`.
fn without_closing(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., last] = value {
        let opening = match last {
            b',' | b';' => None,
            b')' => Some(b'('),
            b']' => Some(b'['),
            b'}' => Some(b'{'),
            _ => return value,
        };
        if opening.is_some_and(|opening| rest.contains(&opening)) {
            return value;
        }
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_among_words() {
        for (line, name, wanted) in [
            ("user=7", "user", Some("7")),
            ("12:00 INFO request failed user=7 latency=812ms", "latency", Some("812ms")),
            (r#"msg="a \"b\" c" d=e"#, "msg", Some(r#"a "b" c"#)),
            (r#"msg="a \"b\" c" d=e"#, "d", Some("e")),
            (r#"msg="user=8 \" user=9" user=7"#, "user", Some("7")),
            (r#"msg="user=8"#, "user", None),
            (r#"a="b\nc\td\\""#, "a", Some("b\nc\td\\")),
            (r#"a="open"#, "a", Some("open")),
            (r#"a="open\"#, "a", Some("open")),
            ("superuser=8 user=7", "user", Some("7")),
            (r#"disk 5" user=7"#, "user", Some("7")),
            (r#"said "user=8" user=7"#, "user", Some("7")),
            ("user: 7", "user", None),
            ("[user=7] x", "user", Some("7")),
            ("(a=1, b=2)", "a", Some("1")),
            ("(a=1, b=2)", "b", Some("2")),
            ("call=f(x) b={}", "call", Some("f(x)")),
            ("call=f(x) b={}", "b", Some("{}")),
            ("user=", "user", Some("")),
            ("http.status=500", "http.status", Some("500")),
            ("http.status=500", "status", None),
            ("url=/a?b=c", "url", Some("/a?b=c")),
            ("", "a", None),
        ] {
            assert_eq!(value_of(line.as_bytes(), name).as_deref(), wanted, "{line:?}: {name}");
        }
    }
}
