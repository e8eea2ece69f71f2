//! The style of a cell: colours and attributes, and how SGR sequences change them (ECMA-48,
//! 8.3.117).

/// A colour as the log specifies it. The page determines its look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Color {
    #[default]
    Default,
    /// 0 to 15 are the theme colours, 16 to 255 the fixed cube and greys.
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// The shape of an underline; the numbers are those of `4:n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Underline {
    #[default]
    None,
    Single,
    Double,
    Curly,
    Dotted,
    Dashed,
}

/// Attributes that are on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const BOLD: Self = Self(1);
    pub(super) const FAINT: Self = Self(2);
    pub(super) const ITALIC: Self = Self(4);
    pub(super) const BLINK: Self = Self(8);
    pub(super) const INVERSE: Self = Self(16);
    pub(super) const CONCEAL: Self = Self(32);
    pub(super) const STRIKE: Self = Self(64);
    pub(super) const OVERLINE: Self = Self(128);

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }
}

/// The style of a run of text. `link` is 0 for none, else one more than an index into the row's
/// links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Style {
    pub(super) fg: Color,
    pub(super) bg: Color,
    pub(super) line_color: Color,
    pub(super) underline: Underline,
    pub(super) flags: Flags,
    pub(super) link: u8,
}

impl Style {
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The colours and the other attributes as numbers, which differ where the styles do.
    fn parts(&self) -> [u32; 4] {
        let color = |color: Color| match color {
            Color::Default => 0,
            Color::Indexed(n) => 1 + u32::from(n),
            Color::Rgb(r, g, b) => u32::from_be_bytes([1, r, g, b]),
        };
        let rest = u32::from_be_bytes([0, self.link, self.underline as u8, self.flags.0]);
        [color(self.fg), color(self.bg), color(self.line_color), rest]
    }

    /// The same as two words.
    pub(super) fn words(&self) -> [u64; 2] {
        let [fg, bg, line, rest] = self.parts().map(u64::from);
        [fg << 32 | bg, line << 32 | rest]
    }

    /// A hash of the style.
    pub(super) fn number(&self) -> usize {
        let mix = |sum: u32, part| sum.rotate_left(11).wrapping_mul(31) ^ part;
        let mixed = self.parts().into_iter().fold(0, mix);
        usize::try_from(mixed ^ mixed >> 13).unwrap_or_default()
    }

    /// Whether a blank in this style is visible.
    #[inline]
    pub(super) fn paints_blanks(&self) -> bool {
        let lined = self.flags.has(Flags::STRIKE) || self.flags.has(Flags::OVERLINE);
        lined
            || self.flags.has(Flags::INVERSE)
            || self.bg != Color::Default
            || self.underline != Underline::None
    }

    /// Applies a `CSI … m`. Unknown parameters are skipped.
    pub(super) fn sgr<'p>(&mut self, params: impl IntoIterator<Item = &'p [u16]>) {
        let mut groups = params.into_iter();
        while let Some(group) = groups.next() {
            match *group {
                [code @ (38 | 48 | 58)] => {
                    let color = match groups.next() {
                        Some([5]) => groups.next().and_then(indexed),
                        Some([2]) => {
                            // Consumes all three, so that after an invalid one the others are not
                            // read as codes.
                            let (r, g, b) = (groups.next(), groups.next(), groups.next());
                            rgb(&[first(r), first(g), first(b)])
                        }
                        _ => None,
                    };
                    self.paint(code, color);
                }
                [code @ (38 | 48 | 58), 5, ref n @ ..] => self.paint(code, indexed(n)),
                // With a colour space, as in the standard, or without, as many programs write it.
                [code @ (38 | 48 | 58), 2, _, r, g, b, ..]
                | [code @ (38 | 48 | 58), 2, r, g, b] => {
                    self.paint(code, rgb(&[Some(r), Some(g), Some(b)]));
                }
                [4, shape] => self.underline_shape(shape),
                [code] => self.code(code),
                _ => {}
            }
        }
    }

    /// Applies the parameters of a `CSI … m` as text, with the effect of [`sgr`](Self::sgr).
    /// Returns false, without an effect, if they contain anything other than digits and semicolons,
    /// which is rare.
    pub(super) fn sgr_text(&mut self, text: &[u8]) -> bool {
        const PARAMS_MAX: usize = 16;
        let mut params = [0_u16; PARAMS_MAX];
        let mut last = 0;
        for &byte in text {
            match byte {
                b'0'..=b'9' => {
                    let digit = u16::from(byte - b'0');
                    params[last] = params[last].saturating_mul(10).saturating_add(digit);
                }
                b';' if last + 1 < PARAMS_MAX => last += 1,
                _ => return false,
            }
        }
        match params[..=last] {
            [code] if code != 38 && code != 48 && code != 58 => self.code(code),
            ref params => self.sgr(params.iter().map(std::slice::from_ref)),
        }
        true
    }

    fn paint(&mut self, code: u16, color: Option<Color>) {
        let Some(color) = color else { return };
        match code {
            38 => self.fg = color,
            48 => self.bg = color,
            _ => self.line_color = color,
        }
    }

    fn underline_shape(&mut self, shape: u16) {
        self.underline = match shape {
            0 => Underline::None,
            1 => Underline::Single,
            2 => Underline::Double,
            3 => Underline::Curly,
            4 => Underline::Dotted,
            5 => Underline::Dashed,
            _ => return,
        };
    }

    fn code(&mut self, code: u16) {
        let indexed = |base: u16| Color::Indexed(u8::try_from(code - base).unwrap_or_default());
        match code {
            0 => *self = Self { link: self.link, ..Self::default() },
            1 => self.flags.set(Flags::BOLD),
            2 => self.flags.set(Flags::FAINT),
            3 => self.flags.set(Flags::ITALIC),
            4 => self.underline = Underline::Single,
            5 | 6 => self.flags.set(Flags::BLINK),
            7 => self.flags.set(Flags::INVERSE),
            8 => self.flags.set(Flags::CONCEAL),
            9 => self.flags.set(Flags::STRIKE),
            21 => self.underline = Underline::Double,
            22 => {
                self.flags.clear(Flags::BOLD);
                self.flags.clear(Flags::FAINT);
            }
            23 => self.flags.clear(Flags::ITALIC),
            24 => self.underline = Underline::None,
            25 => self.flags.clear(Flags::BLINK),
            27 => self.flags.clear(Flags::INVERSE),
            28 => self.flags.clear(Flags::CONCEAL),
            29 => self.flags.clear(Flags::STRIKE),
            30..=37 => self.fg = indexed(30),
            39 => self.fg = Color::Default,
            40..=47 => self.bg = indexed(40),
            49 => self.bg = Color::Default,
            53 => self.flags.set(Flags::OVERLINE),
            55 => self.flags.clear(Flags::OVERLINE),
            59 => self.line_color = Color::Default,
            90..=97 => self.fg = indexed(82),
            100..=107 => self.bg = indexed(92),
            _ => {}
        }
    }
}

fn first(group: Option<&[u16]>) -> Option<u16> {
    group.and_then(|group| group.first().copied())
}

fn indexed(group: &[u16]) -> Option<Color> {
    first(Some(group)).and_then(|n| u8::try_from(n).ok()).map(Color::Indexed)
}

fn rgb(parts: &[Option<u16>; 3]) -> Option<Color> {
    let part = |i: usize| parts[i].and_then(|n| u8::try_from(n).ok());
    Some(Color::Rgb(part(0)?, part(1)?, part(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn styles_that_differ_in_anything_have_different_words() {
        let indexed = [0, 255].map(Color::Indexed);
        let rgb = [(0, 0, 0), (0, 0, 1), (255, 255, 255)].map(|(r, g, b)| Color::Rgb(r, g, b));
        let plain = Style::default();
        let mut styles = vec![plain];
        for color in indexed.into_iter().chain(rgb) {
            styles.push(Style { fg: color, ..plain });
            styles.push(Style { bg: color, ..plain });
            styles.push(Style { line_color: color, ..plain });
        }
        for underline in [Underline::Single, Underline::Double, Underline::Dashed] {
            styles.push(Style { underline, ..plain });
        }
        styles.extend((0..8).map(|bit| Style { flags: Flags(1 << bit), ..plain }));
        styles.extend([1, 2, 255].map(|link| Style { link, ..plain }));
        let words: HashSet<[u64; 2]> = styles.iter().map(Style::words).collect();
        assert_eq!(words.len(), styles.len());
    }
}
