//! Times in the fields of structured lines: JSON and logfmt.

use super::stamp::{Stamp, value};

/// How far into a line its logfmt fields are looked at, in bytes.
const LOGFMT_REACH: usize = 512;

/// Whether a field of this name is the time of its line.
fn is_time(key: &[u8]) -> bool {
    matches!(
        key,
        b"ts"
            | b"time"
            | b"timestamp"
            | b"@timestamp"
            | b"@t"
            | b"datetime"
            | b"t"
            | b"asctime"
            | b"Timestamp"
            | b"Time"
            | b"eventTime"
            | b"timeUnixNano"
    )
}

/// The time among the fields of a line that is an object of JSON. Those of inner objects do not
/// count, but for `{"t":{"$date":…}}`, which is MongoDB's.
pub(super) fn json(line: &[u8]) -> Option<Stamp> {
    let start = line.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if line[start] != b'{' {
        return None;
    }
    let mut at = start + 1;
    let (mut depth, mut is_mongo) = (1, false);
    loop {
        let next = at + memchr::memchr3(b'"', b'{', b'}', line.get(at..)?)?;
        at = next + 1;
        match line[next] {
            b'{' => depth += 1,
            b'}' if depth == 1 => return None,
            b'}' => depth -= 1,
            _ => {
                let end = string_end(line, at)?;
                let key = &line[at..end];
                at = end + 1;
                let rest = line.get(at..)?.trim_ascii_start();
                let Some(rest) = rest.strip_prefix(b":") else { continue };
                let rest = rest.trim_ascii_start();
                let wanted = if depth == 1 {
                    is_mongo = key == b"t" && rest.first() == Some(&b'{');
                    is_time(key)
                } else {
                    depth == 2 && is_mongo && key == b"$date"
                };
                if wanted && let Some(stamp) = json_value(rest) {
                    return Some(stamp);
                }
                // The text of a value is no key.
                at = line.len() - rest.len();
                if rest.first() == Some(&b'"') {
                    at = string_end(line, at + 1)? + 1;
                }
            }
        }
    }
}

/// Where a string that begins at `at` ends.
fn string_end(line: &[u8], mut at: usize) -> Option<usize> {
    // Most strings are short.
    for (nth, byte) in line.get(at..)?.iter().take(24).enumerate() {
        match byte {
            b'"' => return Some(at + nth),
            b'\\' => {
                at += nth;
                break;
            }
            _ => {}
        }
    }
    loop {
        at += memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
        match line[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
}

fn json_value(rest: &[u8]) -> Option<Stamp> {
    match rest.strip_prefix(b"\"") {
        Some(text) => value(&text[..memchr::memchr2(b'"', b'\\', text)?]),
        None => {
            let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' ' | b'\r'))?;
            value(&rest[..end])
        }
    }
}

/// The time among the first fields of a line of logfmt: `time="2026-11-28 14:02:07" level=info`.
pub(super) fn logfmt(line: &[u8]) -> Option<Stamp> {
    let reach = &line[..line.len().min(LOGFMT_REACH)];
    let mut rest = reach;
    while let Some(mark) = memchr::memchr(b'=', rest) {
        let key_start = rest[..mark].iter().rposition(|byte| byte.is_ascii_whitespace());
        let key = &rest[key_start.map_or(0, |at| at + 1)..mark];
        let after = &rest[mark + 1..];
        let (text, end) = match after.strip_prefix(b"\"") {
            Some(text) => match string_end(text, 0) {
                Some(end) => (&text[..end], end + 1),
                None => return None,
            },
            None => {
                let end = after.iter().position(u8::is_ascii_whitespace).unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        if is_time(key)
            && let Some(stamp) = value(text)
        {
            return Some(stamp);
        }
        rest = &after[end.min(after.len())..];
    }
    None
}
