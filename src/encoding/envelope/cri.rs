//! Lines of the Container Runtime Interface: `TIME STREAM TAGS TEXT`.

use super::{Envelope, NoEnvelope, Stream, time};

/// The most bytes of the tags, of which only the first one means something today.
const TAGS_BYTES_MAX: usize = 64;

/// What comes before the text of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// In bytes, with the blank behind it.
    pub(super) len: usize,
    pub(super) envelope: Envelope,
    /// The program's line goes on in the next envelope of its stream.
    pub(super) is_partial: bool,
}

/// The head of a line that begins with these bytes, which may go on behind its newline.
pub(super) fn read(line: &[u8]) -> Result<Head, NoEnvelope> {
    let (time, len) = time::read(line)?;
    let rest = line.get(len..).unwrap_or_default();
    let stream = rest.get(..b" stdout ".len());
    let stream = match stream {
        Some(b" stdout ") => Stream::Stdout,
        Some(b" stderr ") => Stream::Stderr,
        None if b" stdout ".starts_with(rest) || b" stderr ".starts_with(rest) => {
            return Err(NoEnvelope::Unfinished);
        }
        _ => return Err(NoEnvelope::Other),
    };
    let rest = rest.get(b" stdout ".len()..).unwrap_or_default();
    let is_partial = match rest.first().ok_or(NoEnvelope::Unfinished)? {
        b'F' => false,
        b'P' => true,
        _ => return Err(NoEnvelope::Other),
    };
    let mut tags = 1;
    if rest.get(tags) == Some(&b':') {
        let more = rest.iter().take(TAGS_BYTES_MAX);
        tags = more.take_while(|byte| byte.is_ascii_graphic()).count();
    }
    let tags_end = match rest.get(tags) {
        _ if tags >= TAGS_BYTES_MAX => return Err(NoEnvelope::Other),
        Some(b' ') => tags + 1,
        // An empty text may have lost its blank.
        Some(b'\n') => tags,
        None => return Err(NoEnvelope::Unfinished),
        Some(_) => return Err(NoEnvelope::Other),
    };
    let len = len + b" stdout ".len() + tags_end;
    Ok(Head { len, envelope: Envelope { stream, time }, is_partial })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_time_a_stream_and_tags() {
        let time = 1_795_874_527_123;
        for (head, stream, is_partial) in [
            ("2026-11-28T14:02:07.123456789Z stdout F ", Stream::Stdout, false),
            ("2026-11-28T15:02:07.1234567+01:00 stderr P ", Stream::Stderr, true),
            ("2026-11-28T14:02:07.123Z stdout F:a:b ", Stream::Stdout, false),
            ("2026-11-28T14:02:07.123Z stdout P:a ", Stream::Stdout, true),
        ] {
            let expected =
                Head { len: head.len(), envelope: Envelope { stream, time }, is_partial };
            for text in ["", " text", "{\"a\":1}", "F", "\n"] {
                assert_eq!(read(format!("{head}{text}").as_bytes()), Ok(expected), "{head:?}");
            }
            let empty = Head { len: head.len() - 1, ..expected };
            assert_eq!(read(format!("{}\n", head.trim_end()).as_bytes()), Ok(empty), "{head:?}");
            for len in 0..head.len() {
                let part = read(&head.as_bytes()[..len]);
                assert_eq!(part, Err(NoEnvelope::Unfinished), "{len} bytes of {head:?}");
            }
        }
    }

    #[test]
    fn other_lines_with_a_time_have_no_head() {
        for line in [
            "2026-11-28T14:02:07.123456789Z stdin F text",
            "2026-11-28T14:02:07.123456789Z stdout G text",
            "2026-11-28T14:02:07.123456789Z stdout Ftext",
            "2026-11-28T14:02:07.123456789Z  stdout F text",
            "2026-11-28T14:02:07.123456789Z stdout\n",
            "2026-11-28T14:02:07.123456789Z\n",
            "2026-11-28T14:02:07.123456789Z INFO text",
            " 2026-11-28T14:02:07.123456789Z stdout F text",
        ] {
            assert_eq!(read(line.as_bytes()), Err(NoEnvelope::Other), "{line:?}");
        }
        let many = format!("2026-11-28T14:02:07Z stdout F:{} ", "a".repeat(TAGS_BYTES_MAX));
        assert_eq!(read(many.as_bytes()), Err(NoEnvelope::Other));
    }
}
