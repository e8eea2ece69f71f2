//! Text, and where in the log each of its bytes lies.

use std::ops::Range;

/// The offsets of the characters of a text that was decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMap {
    /// The offset of the first byte that was decoded.
    start: u64,
    runs: Vec<Run>,
    /// The lengths of the text and of what it was decoded from, in bytes.
    text_len: usize,
    log_len: usize,
}

/// Characters of the same lengths in a row. Where it begins, in the text and in the log, and the
/// lengths of a character in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    text_at: u32,
    log_at: u32,
    text_unit: u8,
    log_unit: u8,
}

impl OffsetMap {
    pub(super) fn new(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    /// Forgets everything. What is pushed next begins at this offset.
    pub(super) fn restart(&mut self, start: u64) {
        self.runs.clear();
        (self.start, self.text_len, self.log_len) = (start, 0, 0);
    }

    /// Adds characters of the same lengths, in the text and in the log.
    pub(super) fn push(&mut self, text_unit: usize, log_unit: usize, count: usize) {
        // A text is decoded in pieces, and a unit is short.
        let (text_unit8, log_unit8) = (text_unit as u8, log_unit as u8);
        let is_same = |run: &Run| (run.text_unit, run.log_unit) == (text_unit8, log_unit8);
        if !self.runs.last().is_some_and(is_same) {
            let (text_at, log_at) = (self.text_len as u32, self.log_len as u32);
            self.runs.push(Run { text_at, log_at, text_unit: text_unit8, log_unit: log_unit8 });
        }
        self.text_len += text_unit * count;
        self.log_len += log_unit * count;
    }

    /// Adds bytes of the log that have no text. Nothing is pushed afterwards.
    pub(super) fn extend(&mut self, log_bytes: usize) {
        self.log_len += log_bytes;
    }

    /// The memory of its runs, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }

    /// The offset of the character that has the byte `index` of the text; after the text, that of
    /// the byte after it.
    #[must_use]
    pub fn offset(&self, index: usize) -> u64 {
        let behind = self.runs.partition_point(|run| run.text_at as usize <= index);
        let run = behind.checked_sub(1).and_then(|at| self.runs.get(at));
        let within = run.filter(|_| index < self.text_len).map(|run| {
            let nth = (index - run.text_at as usize) / usize::from(run.text_unit);
            run.log_at as usize + nth * usize::from(run.log_unit)
        });
        self.start + within.unwrap_or(self.log_len) as u64
    }

    /// The first byte of the text that lies at this offset or behind it.
    #[must_use]
    pub fn index(&self, offset: u64) -> usize {
        let wanted = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        if wanted >= self.log_len {
            return self.text_len;
        }
        let behind = self.runs.partition_point(|run| run.log_at as usize <= wanted);
        let Some(run) = behind.checked_sub(1).and_then(|at| self.runs.get(at)) else { return 0 };
        let nth = (wanted - run.log_at as usize).div_ceil(usize::from(run.log_unit));
        run.text_at as usize + nth * usize::from(run.text_unit)
    }

    /// The offset after the last byte that was decoded.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.log_len as u64
    }
}

/// Where a byte of a text lies in the log.
#[derive(Clone, Copy, Debug)]
pub struct Place<'m> {
    /// Without a map, the offset of the byte 0 of the text.
    start: u64,
    index: usize,
    map: Option<&'m OffsetMap>,
}

impl Place<'_> {
    /// At this offset.
    #[must_use]
    #[inline]
    pub fn at(offset: u64) -> Self {
        Self { start: offset, index: 0, map: None }
    }

    /// So many bytes of text further on.
    #[must_use]
    #[inline]
    pub fn plus(self, bytes: usize) -> Self {
        Self { index: self.index + bytes, ..self }
    }

    /// The offset.
    #[must_use]
    #[inline]
    pub fn offset(self) -> u64 {
        match self.map {
            None => self.start.saturating_add(self.index as u64),
            Some(map) => map.offset(self.index),
        }
    }
}

/// Bytes of UTF-8, valid or not, and where they lie in the log.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    bytes: &'a [u8],
    place: Place<'a>,
}

impl<'a> Text<'a> {
    /// Text that is in the log as it is.
    #[must_use]
    #[inline]
    pub fn at(offset: u64, bytes: &'a [u8]) -> Self {
        Self { bytes, place: Place::at(offset) }
    }

    /// Text with the map that it was decoded with; without one, it is in the log as it is.
    #[must_use]
    #[inline]
    pub fn mapped(offset: u64, bytes: &'a [u8], map: Option<&'a OffsetMap>) -> Self {
        Self { bytes, place: Place { start: offset, index: 0, map } }
    }

    /// The bytes of the text.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it has no bytes.
    #[must_use]
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// Where its first byte lies.
    #[must_use]
    #[inline]
    pub fn place(self) -> Place<'a> {
        self.place
    }

    /// The offset of its first byte.
    #[must_use]
    #[inline]
    pub fn offset(self) -> u64 {
        self.place.offset()
    }

    /// The offset after its last byte.
    #[must_use]
    #[inline]
    pub fn end(self) -> u64 {
        self.place.plus(self.bytes.len()).offset()
    }

    /// A part of it.
    #[must_use]
    #[inline]
    pub fn slice(self, range: Range<usize>) -> Self {
        let place = self.place.plus(range.start);
        Self { bytes: self.bytes.get(range).unwrap_or_default(), place }
    }

    /// It without its first bytes.
    #[must_use]
    #[inline]
    pub fn skip(self, bytes: usize) -> Self {
        self.slice(bytes..self.bytes.len())
    }

    /// The first of its bytes that lies at this offset or behind it; its length where none does.
    #[must_use]
    #[inline]
    pub fn index(self, offset: u64) -> usize {
        let index = match self.place.map {
            None => usize::try_from(offset.saturating_sub(self.place.start)).unwrap_or(usize::MAX),
            Some(map) => map.index(offset),
        };
        index.saturating_sub(self.place.index).min(self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_text_have_the_offsets_of_their_characters() {
        let mut map = OffsetMap::new(100);
        map.push(1, 2, 3);
        map.push(3, 2, 2);
        map.push(4, 4, 1);
        map.push(1, 2, 1);
        let offsets: Vec<u64> = (0..16).map(|index| map.offset(index)).collect();
        let expected =
            [100, 102, 104, 106, 106, 106, 108, 108, 108, 110, 110, 110, 110, 114, 116, 116];
        assert_eq!(offsets, expected);
        assert_eq!(map.end(), 116);
        for offset in 90..120 {
            let first = expected[..14].iter().position(|&at| at >= offset).unwrap_or(14);
            assert_eq!(map.index(offset), first, "{offset}");
        }
        assert_eq!((OffsetMap::new(7).offset(0), OffsetMap::new(7).index(7)), (7, 0));
    }

    #[test]
    fn a_part_of_a_text_keeps_its_place() {
        let mut map = OffsetMap::new(10);
        map.push(1, 2, 4);
        for (text, expected) in
            [(Text::at(10, b"abcd"), [11, 13]), (Text::mapped(10, b"abcd", Some(&map)), [12, 16])]
        {
            let part = text.slice(1..3);
            assert_eq!((part.bytes(), [part.offset(), part.end()]), (&b"bc"[..], expected));
            assert_eq!(part.skip(1).offset(), part.place().plus(1).offset());
            assert_eq!(part.index(part.offset()), 0);
            assert_eq!(part.index(part.offset() + 1), 1);
            assert_eq!((part.index(0), part.index(99)), (0, 2));
        }
    }
}
