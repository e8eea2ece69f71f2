//! The bytes of a log as they were written, without a terminal: nothing is drawn over anything.
//!
//! Each text between two ends of a line is a row. A line ends with LF, CR LF or a CR alone. Control
//! characters are shown as the pictures that Unicode has for them (`␛[31m`), so that what a
//! terminal would overwrite or swallow can be read, found and copied.

use crate::encoding::Text;

use super::screen::Screen;

/// What the rows of a log show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rendition {
    /// What a terminal would have left.
    #[default]
    Shown,
    /// Everything that was written.
    Written,
}

/// What the next byte may still belong to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// A CR was the last byte: an LF would be part of the same end of a line.
    after_return: bool,
    /// A NUL was the last byte. A run of them is shown as one, because holes are full of them.
    after_nul: bool,
}

impl Written {
    /// Whether the last byte belongs to nothing that is still to come.
    pub(super) fn is_at_rest(self) -> bool {
        !self.after_return && !self.after_nul
    }

    /// Takes control characters from the start of a text. Returns how many bytes it took; none where
    /// other text begins.
    pub(super) fn take(&mut self, text: Text<'_>, screen: &mut Screen) -> usize {
        let (bytes, at) = (text.bytes(), text.place());
        let Some(&byte) = bytes.first() else { return 0 };
        if std::mem::take(&mut self.after_return) && byte != b'\n' {
            screen.locate(at.offset(), at.offset());
            screen.newline();
        }
        let follows_nul = std::mem::take(&mut self.after_nul);
        match byte {
            b'\r' => self.after_return = true,
            0 => {
                if !follows_nul {
                    screen.print("␀", at);
                }
                self.after_nul = true;
                return bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len());
            }
            b'\n' | b'\t' | b' '..=b'~' | 0x80.. => return 0,
            _ => screen.print(picture(byte).encode_utf8(&mut [0; 4]), at),
        }
        1
    }
}

/// The picture of a control character.
fn picture(byte: u8) -> char {
    let code = if byte == 0x7f { 0x2421 } else { 0x2400 + u32::from(byte) };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}
