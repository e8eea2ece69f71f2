//! Lines whose text can be searched as it stands in the file.
//!
//! Most lines of most logs are text and nothing else, or text and colours. What a terminal shows of them is known
//! without one: the text, without the colours. Everything else goes through a terminal.

use std::borrow::Cow;

use crate::render::shown_as_it_is;

/// In every stretch of so many bytes a line ends. Longer lines may be cut into several rows, and have more changes of
/// colour than a row may.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Longer sequences are left to a terminal.
const PARAMS_BYTES_MAX: usize = 128;

/// Lines that a terminal at rest shows as their text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'b> {
    /// How many bytes they are.
    pub(super) len: usize,
    /// Their text, with their newlines.
    pub(super) text: Cow<'b, [u8]>,
}

/// The lines from the first byte on that are of this kind, with colours or only those without. The last of them may lack
/// its newline where the bytes end.
pub(super) fn lines(bytes: &[u8], with_colours: bool) -> Plain<'_> {
    let controls = controls_at(bytes);
    let escape = if with_colours { None } else { memchr::memchr(0x1b, &bytes[..controls]) };
    let len = escape.unwrap_or(controls);
    let candidate = &bytes[..if len < bytes.len() { line_before(bytes, len) } else { len }];
    let candidate = short_lines(as_text(candidate));
    without_colours(candidate)
}

/// Where the first control character is that does more than colours and line ends.
fn controls_at(bytes: &[u8]) -> usize {
    fn is_harmless(byte: u8) -> bool {
        (byte >= 0x20 && byte != 0x7f) || matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b)
    }
    const BLOCK: usize = 64;
    let mut len = 0;
    // Without an early exit inside a block the compiler uses vector instructions.
    for block in bytes.chunks_exact(BLOCK) {
        if !block.iter().fold(true, |all, &byte| all & is_harmless(byte)) {
            break;
        }
        len += BLOCK;
    }
    let rest = &bytes[len..];
    len + rest.iter().position(|&byte| !is_harmless(byte)).unwrap_or(rest.len())
}

/// Where the line begins that holds the byte `at`.
fn line_before(bytes: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |newline| newline + 1)
}

/// The lines before the first that is not valid text, or has a character that is shown otherwise.
fn as_text(bytes: &[u8]) -> &[u8] {
    if bytes.is_ascii() {
        return bytes;
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = &bytes[..line_before(bytes, error.valid_up_to())];
            std::str::from_utf8(valid).unwrap_or_default()
        }
    };
    let len = shown_as_it_is(valid);
    if len < valid.len() { &bytes[..line_before(bytes, len)] } else { &bytes[..len] }
}

/// The lines before the first long one.
fn short_lines(bytes: &[u8]) -> &[u8] {
    let mut stretches = bytes.chunks_exact(LINE_BYTES_MAX).enumerate();
    let long = stretches.find(|(_, stretch)| memchr::memchr(b'\n', stretch).is_none());
    match long {
        Some((nth, _)) => &bytes[..line_before(bytes, nth * LINE_BYTES_MAX)],
        None => bytes,
    }
}

/// The lines before the first that has other sequences than colours, without these.
fn without_colours(bytes: &[u8]) -> Plain<'_> {
    let mut text = Vec::new();
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'\x1b', b'\r', bytes) {
        // It belongs to a sequence that was passed over.
        if at < copied {
            continue;
        }
        let Some(len) = passed_over(&bytes[at..]) else {
            let line = line_before(bytes, at);
            if copied == 0 {
                return Plain { len: line, text: Cow::Borrowed(&bytes[..line]) };
            }
            match bytes.get(copied..line) {
                Some(rest) => text.extend_from_slice(rest),
                // Some of this very line has been copied already.
                None => text.truncate(line_before(&text, text.len())),
            }
            return Plain { len: line, text: Cow::Owned(text) };
        };
        if text.capacity() == 0 {
            text.reserve(bytes.len());
        }
        text.extend_from_slice(&bytes[copied..at]);
        copied = at + len;
    }
    if copied == 0 {
        return Plain { len: bytes.len(), text: Cow::Borrowed(bytes) };
    }
    text.extend_from_slice(&bytes[copied..]);
    Plain { len: bytes.len(), text: Cow::Owned(text) }
}

/// How many bytes of what begins here show nothing: a colour, an erasing of what is behind the last character, or the
/// return before a newline.
fn passed_over(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(1),
        [b'\x1b', b'[', rest @ ..] => {
            let params = rest.get(..PARAMS_BYTES_MAX).unwrap_or(rest);
            let end = params.iter().position(|byte| !(0x30..=0x3b).contains(byte))?;
            let is_erase = matches!(&rest[..end], b"" | b"0") && rest[end] == b'K';
            (rest[end] == b'm' || is_erase).then_some(end + 3)
        }
        _ => None,
    }
}
