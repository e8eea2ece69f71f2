//! A quick look at lines that hold nothing that is sought, so that a search can pass over them.
//!
//! Most of a log has no match. What a search has to know of that part is only that its rows show no
//! more than its bytes do: that it is text with colours, and that no colour splits a text that is
//! sought. Masks of 64 bytes tell that for all colours among them at once.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::plain::invisible_len;
use crate::render::STAMP_HINTS;

/// The bytes that one mask stands for.
const CHUNK: usize = 64;

/// The pairs of bytes that are neighbours in texts that are sought.
#[derive(Clone, Debug)]
pub(super) struct Neighbours {
    /// Whether a byte is the first one of a pair.
    first: [bool; 256],
    /// Each bit stands for a pair.
    pairs: Box<[u64; PAIR_WORDS]>,
}

/// A bit for each pair of bytes.
const PAIR_WORDS: usize = (1 << 16) / 64;

impl Neighbours {
    /// Of these texts.
    pub(super) fn of<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Self {
        let mut neighbours = Self::none();
        for pair in texts.into_iter().flat_map(|text| text.windows(2)) {
            let (word, bit) = place_of(pair[0], pair[1]);
            neighbours.first[usize::from(pair[0])] = true;
            neighbours.pairs[word] |= bit;
        }
        neighbours
    }

    /// Of no text.
    pub(super) fn none() -> Self {
        Self { first: [false; 256], pairs: Box::new([0; PAIR_WORDS]) }
    }

    #[inline(always)]
    fn has(&self, before: u8, behind: u8) -> bool {
        let (word, bit) = place_of(before, behind);
        self.pairs[word] & bit != 0
    }
}

/// The word and the bit of a pair.
#[inline(always)]
fn place_of(before: u8, behind: u8) -> (usize, u64) {
    (usize::from(before) << 2 | usize::from(behind) >> 6, 1 << (behind & 63))
}

/// Looks at whole lines. Returns whether they are ASCII text with colours, each a row of its own, and
/// puts the places where a colour may split a text into `places`.
pub(super) fn skim(lines: &[u8], neighbours: &Neighbours, places: &mut Vec<usize>) -> bool {
    let mut look = Look { lines, neighbours, places };
    dispatch!(Level::new(), simd => simd.vectorize(
        #[inline(always)]
        || look.run(simd),
    ))
}

/// Whether a byte behind another one may end a stamp that joins the line with the one before it. A
/// line is joined only by a stamp that ends so.
pub(super) fn may_join(bytes: &[u8]) -> bool {
    matches!(bytes, [.., b'O' | b'E', b'+'])
}

/// Whether the first of these lines may be joined with the one before it.
pub(super) fn may_begin_joined(lines: &[u8]) -> bool {
    // The stamp may stand behind a mark, which is not ASCII.
    let is_ascii = lines.first().is_none_or(u8::is_ascii);
    !is_ascii || lines.get(..STAMP_HINTS[2] + 2).is_some_and(may_join)
}

/// Whether a byte may be a part of a colour.
pub(super) fn may_be_in_colour(byte: u8) -> bool {
    matches!(byte, 0x1b | b'[' | 0x30..=0x3b | b'm' | b'K')
}

struct Look<'l> {
    lines: &'l [u8],
    neighbours: &'l Neighbours,
    places: &'l mut Vec<usize>,
}

impl Look<'_> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S) -> bool {
        let (chunks, rest) = self.lines.as_chunks::<CHUNK>();
        let mut at = 0;
        for chunk in chunks {
            if !self.is_text(simd, chunk, at) {
                return false;
            }
            at += CHUNK;
        }
        let mut last = [b' '; CHUNK];
        last[..rest.len()].copy_from_slice(rest);
        self.is_text(simd, &last, at)
    }

    /// Whether a chunk, which begins at `at`, is text with colours.
    #[inline(always)]
    fn is_text<S: Simd>(&mut self, simd: S, chunk: &[u8; CHUNK], at: usize) -> bool {
        let bytes = u8x64::from_slice(simd, chunk);
        let is_printable = (bytes - b' ').simd_lt(0x7f - b' ');
        let is_text = is_printable | bytes.simd_eq(b'\n') | bytes.simd_eq(b'\t');
        let special = (!is_text | bytes.simd_eq(b'+')).to_bitmask();
        special == 0 || self.is_special_text(bytes, at, special)
    }

    /// The same for one with other bytes, or with the end of a stamp that joins lines.
    #[inline(always)]
    fn is_special_text<S: Simd>(&mut self, bytes: u8x64<S>, at: usize, special: u64) -> bool {
        let escapes = bytes.simd_eq(0x1b).to_bitmask();
        if special != escapes && !self.are_others_text(at, special & !escapes) {
            return false;
        }
        if escapes == 0 {
            return true;
        }
        // The parameters of a sequence are a run of ones. To add its start carries to its end.
        let brackets = (escapes << 1) & bytes.simd_eq(b'[').to_bitmask();
        let params = (bytes - b'0').simd_lt(b'<' - b'0').to_bitmask();
        let last = bytes.simd_eq(b'm').to_bitmask();
        let starts = brackets << 1;
        let (carried, is_cut) = starts.overflowing_add(params);
        let ends = carried & !params;
        // Concealed text may be a note of Jenkins.
        let concealed = starts & (last >> 1) & bytes.simd_eq(b'8').to_bitmask();
        let are_colours = !is_cut
            && ends & !last == 0
            && concealed == 0
            && ends.count_ones() == escapes.count_ones();
        if !are_colours && !self.are_invisible(at, escapes) {
            return false;
        }
        let (mut left, mut is_first) = (escapes, false);
        while left != 0 {
            let before = self.before(at + left.trailing_zeros() as usize);
            is_first |= self.neighbours.first[usize::from(before)];
            left &= left - 1;
        }
        if is_first && (!are_colours || self.may_be_pairs(at, escapes, ends)) {
            self.look_for_splits(at, escapes);
        }
        true
    }

    /// The byte before a place. No text that is sought has a newline.
    #[inline(always)]
    fn before(&self, place: usize) -> u8 {
        self.lines[..place].last().copied().unwrap_or(b'\n')
    }

    /// Whether the bytes around one of these colours are a pair, or another colour is behind one.
    #[inline(always)]
    fn may_be_pairs(&self, at: usize, mut escapes: u64, mut ends: u64) -> bool {
        let mut may_be = false;
        while escapes != 0 {
            let before = self.before(at + escapes.trailing_zeros() as usize);
            let behind = self.lines.get(at + ends.trailing_zeros() as usize + 1);
            let behind = behind.filter(|&&behind| behind != 0x1b);
            may_be |= behind.is_none_or(|&behind| self.neighbours.has(before, behind));
            escapes &= escapes - 1;
            ends &= ends.wrapping_sub(1);
        }
        may_be
    }

    /// Whether these bytes, which are no escapes, are a part of text: a line end of two bytes, or a
    /// plus that joins no lines.
    #[cold]
    fn are_others_text(&self, at: usize, others: u64) -> bool {
        places(at, others).all(|place| match self.lines[place] {
            b'+' => !may_join(&self.lines[..=place]),
            b'\r' => self.lines.get(place + 1) == Some(&b'\n'),
            _ => false,
        })
    }

    #[cold]
    fn are_invisible(&self, at: usize, escapes: u64) -> bool {
        places(at, escapes).all(|place| invisible_len(&self.lines[place..]).is_some())
    }

    #[cold]
    fn look_for_splits(&mut self, at: usize, escapes: u64) {
        for place in places(at, escapes) {
            let Some(&before) = self.lines[..place].last() else { continue };
            if !self.neighbours.first[usize::from(before)] {
                continue;
            }
            let mut behind = place;
            while let Some(len) = self.lines.get(behind..).and_then(invisible_len) {
                behind += len;
            }
            let behind = self.lines.get(behind);
            if behind.is_some_and(|&behind| self.neighbours.has(before, behind)) {
                self.places.push(place);
            }
        }
    }
}

/// The places of the ones in a mask whose first bit stands for `at`.
fn places(at: usize, mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = (mask != 0).then(|| at + mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Rendition;
    use crate::search::plain;
    use proptest::prelude::*;

    fn skimmed(lines: &[u8], text: &str) -> Option<Vec<usize>> {
        let mut places = Vec::new();
        skim(lines, &Neighbours::of([text.as_bytes()]), &mut places).then_some(places)
    }

    #[test]
    fn text_with_colours_is_told_from_the_rest() {
        for (line, wanted) in [
            ("\tplain text ~", true),
            ("\x1b[31mred\x1b[m \x1b[38;5;200;1mmore\x1b[0m\x1b[K\r", true),
            ("a + b, 10 O +", true),
            ("2026-11-28T14:02:07.123456Z 00O+joined", false),
            ("10%\r20%", false),
            ("\x1b[8mconcealed", false),
            ("\x1b[18mother", true),
            ("\x1b[2Aup", false),
            ("\x1b[3\x1b[1m", false),
            ("\x1b(0", false),
            ("\x1b", false),
            ("\x1b[", false),
            ("\x07", false),
            ("\x7f", false),
            ("caf\u{e9}", false),
        ] {
            // At each place of a chunk.
            for before in 0..70 {
                let lines = format!("{}{line}\n", " ".repeat(before));
                assert_eq!(skimmed(lines.as_bytes(), "x").is_some(), wanted, "{before}: {line:?}");
            }
        }
    }

    #[test]
    fn the_places_where_a_colour_splits_a_text_are_found() {
        for (line, wanted) in [
            ("err\x1b[1mor", Some(3)),
            ("err\x1b[1m\x1b[m\x1b[Kor", Some(3)),
            ("\x1b[1merror\x1b[m", None),
            ("or\x1b[1mer", None),
            ("r\x1b[1m", None),
        ] {
            for before in 0..70 {
                let lines = format!("{}{line}\n", " ".repeat(before));
                let wanted = wanted.map(|at| vec![before + at]).unwrap_or_default();
                assert_eq!(skimmed(lines.as_bytes(), "error"), Some(wanted), "{before}: {line:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_skimmed_is_plain_and_only_its_splits_hide_a_text(
            parts in proptest::collection::vec(
                prop_oneof![
                    "[ab ]{1,90}", "\x1b\\[[0-9;]{0,6}[mKA]", "\x1b\\[[0-9;]{40,80}m", Just("\n".to_owned()),
                    Just("\r\n".to_owned()), Just("\x1b[1m".to_owned()), Just("ab".to_owned()),
                ],
                0..24,
            ),
            sought in "[ab]{1,3}",
        ) {
            let lines = parts.concat() + "\n";
            let plain = plain::lines(lines.as_bytes(), true, Rendition::Shown);
            let found = skimmed(lines.as_bytes(), &sought);
            prop_assert_eq!(found.is_some(), plain.len == lines.len());
            let Some(places) = found else { return Ok(()) };
            let text = std::str::from_utf8(&plain.text).unwrap();
            prop_assert_eq!(text.lines().count(), lines.lines().count());
            for (nth, shown) in text.lines().enumerate() {
                let start = lines.split_inclusive('\n').take(nth).map(str::len).sum::<usize>();
                let line = lines.lines().nth(nth).unwrap();
                let has_split = places.iter().any(|place| (start..start + line.len()).contains(place));
                prop_assert!(!shown.contains(&sought) || line.contains(&sought) || has_split);
            }
        }
    }
}
