//! Bytes as text: its end, the parts that may be shown, and characters split between chunks.

use super::written::Rendition;

/// Whether a byte may be in lines of text. A tab may, so that a search finds the text.
fn is_text(byte: u8) -> bool {
    (byte >= 0x20 || byte == b'\t' || byte == b'\n') && byte != 0x7f
}

/// The number of bytes before the first control character other than newlines and tabs.
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let len = blocks_of_text::<64>(bytes);
    let rest = bytes.get(len..).unwrap_or_default();
    let len = len + blocks_of_text::<16>(rest);
    let rest = bytes.get(len..).unwrap_or_default();
    len + rest.iter().position(|&byte| !is_text(byte)).unwrap_or(rest.len())
}

/// The length of the first blocks of so many bytes that are text.
fn blocks_of_text<const BLOCK: usize>(bytes: &[u8]) -> usize {
    let is_text = |block: &&[u8; BLOCK]| {
        // Without an early exit inside a block the compiler uses vector instructions.
        block.iter().fold(0, |other, &byte| other | u8::from(!is_text(byte))) == 0
    };
    bytes.as_chunks().0.iter().take_while(is_text).count() * BLOCK
}

/// The length of the beginning of a text without control characters that is shown unchanged. It ends
/// before a byte order mark, which is shown or not depending on what comes before it.
pub fn shown_as_it_is(text: &str) -> usize {
    let mark = memchr::memmem::find(text.as_bytes(), "\u{feff}".as_bytes());
    let text = text.split_at(mark.unwrap_or(text.len())).0;
    let unsafe_at = memchr::memchr3_iter(0xc2, 0xd8, 0xe2, text.as_bytes())
        .find(|&i| text.get(i..).and_then(|rest| rest.chars().next()).is_some_and(is_unsafe));
    unsafe_at.unwrap_or(text.len())
}

/// Divides text into parts that may be shown, each with the index of its first byte in the text.
/// Characters that reorder or end lines in a browser become visible marks. So do C1 controls in
/// what was written; elsewhere they are dropped.
pub(super) fn shown(text: &str, rendition: Rendition, mut show: impl FnMut(usize, &str)) {
    if text.is_ascii() {
        return show(0, text);
    }
    let mut start = 0;
    // The first bytes of all unsafe characters. They never occur within another character.
    for i in memchr::memchr3_iter(0xc2, 0xd8, 0xe2, text.as_bytes()) {
        let Some(ch) =
            text.get(i..).and_then(|rest| rest.chars().next()).filter(|&ch| is_unsafe(ch))
        else {
            continue;
        };
        show(start, text.get(start..i).unwrap_or_default());
        start = i + ch.len_utf8();
        let code = u32::from(ch);
        if code > 0x9f || rendition == Rendition::Written {
            // Each character separately, so that a row that begins within the mark gets the right
            // offset.
            for part in format!("⟨U+{code:04X}⟩").chars() {
                show(i, part.encode_utf8(&mut [0; 4]));
            }
        }
    }
    show(start, text.get(start..).unwrap_or_default());
}

/// The twelve characters with the Unicode property `Bidi_Control`, the line and paragraph
/// separators, and C1. In UTF-8 they begin with C2, D8 or E2.
fn is_unsafe(ch: char) -> bool {
    ch > '~'
        && matches!(
            ch,
            '\u{80}'..='\u{9f}'
                | '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// The beginning of a character whose other bytes are still to come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partial {
    bytes: [u8; 4],
    len: usize,
}

impl Partial {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut partial = Self::default();
        for (to, from) in partial.bytes.iter_mut().zip(bytes) {
            *to = *from;
            partial.len += 1;
        }
        partial
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Continues with these bytes. Returns the character, if it is complete now, and how many of
    /// the bytes belong to it.
    pub(super) fn join(&mut self, bytes: &[u8]) -> (Option<char>, usize) {
        let old = self.len;
        let joined = [&self.bytes[..old], bytes.get(..4 - old).unwrap_or(bytes)].concat();
        let decided = match std::str::from_utf8(&joined) {
            Ok(text) => text.chars().next().map(|ch| (ch, ch.len_utf8())),
            Err(error) if error.valid_up_to() > 0 => {
                let valid = std::str::from_utf8(&joined[..error.valid_up_to()]).unwrap_or_default();
                valid.chars().next().map(|ch| (ch, ch.len_utf8()))
            }
            Err(error) => error.error_len().map(|len| (char::REPLACEMENT_CHARACTER, len)),
        };
        match decided {
            Some((ch, len)) => {
                *self = Self::default();
                (Some(ch), len - old)
            }
            None => {
                *self = Self::new(&joined);
                (None, joined.len() - old)
            }
        }
    }
}
