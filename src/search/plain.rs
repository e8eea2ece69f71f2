//! Lines whose text can be searched without a terminal.
//!
//! Most lines of most logs are text, or text with colours. The text that a terminal would show is
//! their bytes without the colours. All other lines go through a terminal.

use std::borrow::Cow;

use crate::render::{Rendition, shown_as_it_is, stamped_line};

/// Every block of this size must contain the end of a line. A longer line may be cut into several
/// rows, and may have more changes of colour than a row can hold.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Escape sequences with more parameter bytes go through a terminal.
const PARAMS_BYTES_MAX: usize = 128;

/// The first lines of a piece of a log, which a terminal in its initial state shows as their text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlainText<'b> {
    /// Their length in the file, in bytes.
    pub(super) len: usize,
    /// Their text with newlines, without colours.
    pub(super) text: Cow<'b, [u8]>,
}

/// The longest run of plain lines from the first byte on. Lines with colours count only if
/// `with_colours` is set. The last line has no newline if the bytes end without one.
pub(super) fn lines(bytes: &[u8], with_colours: bool, rendition: Rendition) -> PlainText<'_> {
    let controls = controls_at(bytes);
    let escape = if with_colours { None } else { memchr::memchr(0x1b, &bytes[..controls]) };
    let len = escape.unwrap_or(controls);
    let candidate = &bytes[..if len < bytes.len() { line_before(bytes, len) } else { len }];
    let candidate = short_lines(valid_text(candidate));
    // A stamp is no part of what is shown.
    let stamped = match rendition {
        Rendition::Shown => stamped_line(candidate),
        Rendition::Written => None,
    };
    without_colours(stamped.map_or(candidate, |stamped| &candidate[..stamped]))
}

/// The position of the first control character other than tab, line ends and escape.
fn controls_at(bytes: &[u8]) -> usize {
    fn is_harmless(byte: u8) -> bool {
        (byte >= 0x20 && byte != 0x7f) || matches!(byte, b'\t' | b'\n' | b'\r' | 0x1b)
    }
    const BLOCK: usize = 64;
    let mut len = 0;
    // Without an early exit in a block the compiler uses vector instructions.
    for block in bytes.chunks_exact(BLOCK) {
        if !block.iter().fold(true, |all, &byte| all & is_harmless(byte)) {
            break;
        }
        len += BLOCK;
    }
    let rest = &bytes[len..];
    len + rest.iter().position(|&byte| !is_harmless(byte)).unwrap_or(rest.len())
}

/// The start of the line that contains the byte `at`.
fn line_before(bytes: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |newline| newline + 1)
}

/// The lines before the first line that is not valid UTF-8 or has a character that is replaced when
/// it is shown.
fn valid_text(bytes: &[u8]) -> &[u8] {
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

/// The lines before the first long line.
fn short_lines(bytes: &[u8]) -> &[u8] {
    let mut blocks = bytes.chunks_exact(LINE_BYTES_MAX).enumerate();
    let long = blocks.find(|(_, block)| memchr::memchr(b'\n', block).is_none());
    match long {
        Some((nth, _)) => &bytes[..line_before(bytes, nth * LINE_BYTES_MAX)],
        None => bytes,
    }
}

/// The lines before the first line with other escape sequences, without their colours.
pub(super) fn without_colours(bytes: &[u8]) -> PlainText<'_> {
    let mut text = Vec::new();
    let mut copied = 0;
    for at in memchr::memchr2_iter(b'\x1b', b'\r', bytes) {
        // It is part of a sequence that is skipped.
        if at < copied {
            continue;
        }
        let Some(len) = invisible_len(&bytes[at..]) else {
            let line = line_before(bytes, at);
            if copied == 0 {
                return PlainText { len: line, text: Cow::Borrowed(&bytes[..line]) };
            }
            match bytes.get(copied..line) {
                Some(rest) => text.extend_from_slice(rest),
                // A part of this line has been copied already.
                None => text.truncate(line_before(&text, text.len())),
            }
            return PlainText { len: line, text: Cow::Owned(text) };
        };
        if text.capacity() == 0 {
            text.reserve(bytes.len());
        }
        text.extend_from_slice(&bytes[copied..at]);
        copied = at + len;
    }
    if copied == 0 {
        return PlainText { len: bytes.len(), text: Cow::Borrowed(bytes) };
    }
    text.extend_from_slice(&bytes[copied..]);
    PlainText { len: bytes.len(), text: Cow::Owned(text) }
}

/// The length of a sequence that shows nothing: a colour, an erase to the end of the line, or a
/// carriage return before a newline.
fn invisible_len(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(1),
        [b'\x1b', b'[', rest @ ..] => {
            let params = rest.get(..PARAMS_BYTES_MAX).unwrap_or(rest);
            let end = params.iter().position(|byte| !(0x30..=0x3b).contains(byte))?;
            let is_erase = matches!(&rest[..end], b"" | b"0") && rest[end] == b'K';
            // Concealed text may be a note of Jenkins.
            let is_colour = rest[end] == b'm' && &rest[..end] != b"8";
            (is_colour || is_erase).then_some(end + 3)
        }
        _ => None,
    }
}
