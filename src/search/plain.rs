//! Lines whose text can be searched without a terminal.
//!
//! Most lines of most logs are text, or text with colours. The text that a terminal would show is
//! their bytes without the colours. All other lines go through a terminal.

use std::borrow::Cow;

use fearless_simd::{Level, Simd as _, dispatch};

use crate::render::{Rendition, STAMP_HINTS, may_be_stamped, shown_as_it_is, stamped_line};

/// Every block of this size must contain the end of a line. A longer line may be cut into several
/// rows, and may have more changes of colour than a row can hold.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Escape sequences with more parameter bytes go through a terminal.
const PARAMS_BYTES_MAX: usize = 128;

/// So many simple bytes are worth a step of their own, although more plain lines may follow. It has
/// more lines than a later byte can draw over.
const SIMPLE_BYTES_MIN: usize = 32 * 1024;

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
    // A stamp is no part of what is shown.
    let has_stamps = rendition == Rendition::Shown;
    let first = &bytes[..memchr::memchr(b'\n', bytes).unwrap_or(bytes.len())];
    if has_stamps && stamped_line(first).is_some() {
        return PlainText { len: 0, text: Cow::Borrowed(&[]) };
    }
    // Of most logs all lines are simple, so that this is all that is done to them.
    let simple = text_len::<true>(bytes);
    if simple == bytes.len() || simple >= SIMPLE_BYTES_MIN {
        let end = if simple < bytes.len() { line_before(bytes, simple) } else { simple };
        let lines = short_lines(&bytes[..end]);
        return PlainText { len: lines.len(), text: Cow::Borrowed(lines) };
    }
    let unstamped = text_len::<false>(bytes);
    let controls = if unstamped < bytes.len() { controls_at(bytes) } else { unstamped };
    let escape = if with_colours { None } else { memchr::memchr(0x1b, &bytes[..controls]) };
    let len = escape.unwrap_or(controls);
    let candidate = &bytes[..if len < bytes.len() { line_before(bytes, len) } else { len }];
    let candidate = short_lines(valid_text(candidate));
    let may_be_stamped = has_stamps && unstamped < candidate.len();
    let stamped = may_be_stamped.then(|| stamped_line(candidate)).flatten();
    without_colours(stamped.map_or(candidate, |stamped| &candidate[..stamped]))
}

/// The bytes that are looked at together. Without an early exit in a block the compiler uses vector
/// instructions.
const BLOCK: usize = 256;

/// How many bytes there must be behind a block.
const BLOCK_TAIL: usize = 1 + STAMP_HINTS[2];

/// Whether no line has a stamp, and none is so long that it may be several rows. Lines of text only.
pub(super) fn has_no_stamps(lines: &[u8]) -> bool {
    let first = &lines[..memchr::memchr(b'\n', lines).unwrap_or(lines.len())];
    text_len::<false>(lines) == lines.len()
        && stamped_line(first).is_none()
        && short_lines(lines).len() == lines.len()
}

/// The text of a line of ASCII text with colours. None if that may not be what is shown.
pub(super) fn text_of(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    let is_row = line.len() < LINE_BYTES_MAX && stamped_line(line).is_none();
    let plain = is_row.then(|| without_colours(line))?;
    (plain.len == line.len()).then_some(plain.text)
}

/// How far bytes are text whose lines, but for the first, cannot begin with a stamp. With `SIMPLE`
/// only printable ASCII, tabs and newlines are text. Else so is all that [`is_harmless`]. Either all
/// bytes, or a multiple of [`BLOCK`].
fn text_len<const SIMPLE: bool>(bytes: &[u8]) -> usize {
    let len = vectorized(
        #[inline(always)]
        || text_blocks::<SIMPLE>(bytes),
    );
    if len + BLOCK + BLOCK_TAIL <= bytes.len() {
        return len;
    }
    let rest = &bytes[len..];
    let mut padded = [b' '; 2 * BLOCK + BLOCK_TAIL];
    padded[..rest.len()].copy_from_slice(rest);
    if text_blocks::<SIMPLE>(&padded) == 2 * BLOCK { bytes.len() } else { len }
}

/// The same for the blocks behind which there are enough bytes to tell.
#[inline(always)]
fn text_blocks<const SIMPLE: bool>(bytes: &[u8]) -> usize {
    let mut len = 0;
    // Lengths that are known let the compiler leave out checks of bounds.
    while let Some(block) = bytes.get(len..)
        && let Some(block) = block.first_chunk::<{ BLOCK + BLOCK_TAIL }>()
    {
        let mut is_text = true;
        let mut at = 0;
        while at < BLOCK {
            let byte = block[at];
            let is_newline = byte == b'\n';
            is_text &= if SIMPLE {
                // As a signed number only printable ASCII is greater than a blank, all by one.
                let is_printable = byte.wrapping_add(1) as i8 > b' ' as i8;
                is_printable | is_newline | (byte == b'\t')
            } else {
                is_harmless(byte)
            };
            // The line that begins behind this byte.
            let [first, after_digits, stream] = STAMP_HINTS;
            let hints =
                [block[at + 1 + first], block[at + 1 + after_digits], block[at + 1 + stream]];
            is_text &= !(is_newline & may_be_stamped(hints));
            at += 1;
        }
        if !is_text {
            break;
        }
        len += BLOCK;
    }
    len
}

/// Whether it is no control character, or tab, a line end or escape.
#[inline(always)]
fn is_harmless(byte: u8) -> bool {
    ((byte >= 0x20) & (byte != 0x7f))
        | (byte == b'\t')
        | (byte == b'\n')
        | (byte == b'\r')
        | (byte == 0x1b)
}

/// Runs a loop with the vector instructions of this processor. The loop has to be inlined.
#[inline(always)]
fn vectorized<R>(run: impl FnOnce() -> R) -> R {
    dispatch!(Level::new(), simd => simd.vectorize(run))
}

/// The position of the first control character other than tab, line ends and escape.
fn controls_at(bytes: &[u8]) -> usize {
    let len = vectorized(
        #[inline(always)]
        || harmless_blocks(bytes),
    );
    let rest = &bytes[len..];
    len + rest.iter().position(|&byte| !is_harmless(byte)).unwrap_or(rest.len())
}

/// The length of the blocks without other control characters.
#[inline(always)]
fn harmless_blocks(bytes: &[u8]) -> usize {
    let mut len = 0;
    while let Some(block) = bytes.get(len..)
        && let Some(block) = block.first_chunk::<BLOCK>()
    {
        let mut is_whole = true;
        let mut at = 0;
        while at < BLOCK {
            is_whole &= is_harmless(block[at]);
            at += 1;
        }
        if !is_whole {
            break;
        }
        len += BLOCK;
    }
    len
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
pub(super) fn invisible_len(bytes: &[u8]) -> Option<usize> {
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
