//! The line drawing characters: old programs draw boxes by switching to another character set.

/// The characters that the codes `_` to `~` stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Charsets {
    /// Whether G0 and G1 hold the line drawing set.
    drawing: [bool; 2],
    /// SO was seen: G1 is in use.
    shifted: bool,
}

/// DEC's special graphics in the places of `_` to `~`.
const DRAWING: [char; 32] = [
    ' ', '◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺', '⎻', '─',
    '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
];

impl Charsets {
    /// Whether text is shown unchanged, which is nearly always the case.
    pub(super) fn is_ascii(self) -> bool {
        !self.drawing[usize::from(self.shifted)]
    }

    pub(super) fn shift(&mut self, shifted: bool) {
        self.shifted = shifted;
    }

    /// SCS: `ESC ( …` and `ESC ) …`.
    pub(super) fn designate(&mut self, which: u8, set: u8) {
        match which {
            b'(' => self.drawing[0] = set == b'0',
            b')' => self.drawing[1] = set == b'0',
            _ => {}
        }
    }

    /// The character that is shown for this one.
    pub(super) fn translate(self, ch: char) -> char {
        let drawn = |ch: char| {
            let i = u32::from(ch).checked_sub(0x5f)?;
            DRAWING.get(usize::try_from(i).ok()?).copied()
        };
        if self.is_ascii() { ch } else { drawn(ch).unwrap_or(ch) }
    }
}
