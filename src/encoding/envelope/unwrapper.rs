//! Opens envelopes, piece by piece. However the log is divided, what comes out is the same but for
//! where texts are divided.

use super::{Envelope, NoEnvelope, cri, docker};
use crate::encoding::Text;

/// Up to this size, each piece of an unfinished line is followed by a look at all of it. Behind it
/// the line has to double, so that reading stays linear.
const EAGER_BYTES: usize = 1024;

/// A piece of a log with envelopes.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'p> {
    /// Lines or parts of lines that are in no envelope, with their newlines. They may be in the
    /// encoding that was chosen.
    Bare(Text<'p>),
    /// An envelope begins at this offset, at the start of a line.
    Begin(u64, Envelope),
    /// Text in an envelope of CRI, which may be in the encoding that was chosen.
    Bytes(Text<'p>),
    /// Text in an envelope of Docker's, which is always UTF-8.
    Text(Text<'p>),
    /// The envelope ends with a newline at this offset.
    End {
        /// The offset.
        newline: u64,
        /// The program's line goes on in the next envelope of its stream.
        is_partial: bool,
    },
}

/// Opens the envelopes of a log. Holds at most one line of Docker's, of at most 256 KiB, or a head
/// of CRI, until it is known to be one.
#[derive(Clone, Debug)]
pub struct Unwrapper {
    /// The offset of the next byte.
    at: u64,
    within: Within,
    /// The bytes of an unfinished line.
    held: Vec<u8>,
    /// How many of them were looked at.
    seen: usize,
    unescaped: docker::Unescaped,
}

#[derive(Clone, Copy, Debug)]
enum Within {
    /// At the start of a line, of which some bytes may be held.
    Start,
    /// In a line that is no envelope.
    Bare,
    /// In the text of an envelope of CRI.
    Cri { is_partial: bool },
}

/// What the first bytes of a line are.
enum Found {
    /// These first lines are no envelopes.
    Bare(usize),
    /// The start of a line that is none.
    BareStart,
    /// A line of Docker's, with so many bytes before its newline.
    Docker(usize),
    Cri(cri::Head),
    /// More must tell.
    Unfinished,
}

impl Unwrapper {
    /// The first byte will be the first of a line, and have this offset.
    #[must_use]
    pub fn new(at: u64) -> Self {
        let unescaped = docker::Unescaped::default();
        Self { at, within: Within::Start, held: Vec::new(), seen: 0, unescaped }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.held.len()
    }

    /// The memory that it uses, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.held.capacity() + self.unescaped.weight()
    }

    /// Whether the next byte is the first of a line.
    #[must_use]
    pub fn is_at_line(&self) -> bool {
        matches!(self.within, Within::Start) && self.held.is_empty()
    }

    /// The next byte will have this offset. What was held is dropped.
    pub fn skip_to(&mut self, at: u64) {
        self.at = at;
        self.held = Vec::new();
        self.seen = 0;
    }

    /// Gives up what it holds, at the end of the log: a line that has not ended.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.seen = 0;
        std::mem::take(&mut self.held)
    }

    /// Takes the next bytes and gives what is in them.
    pub fn take(&mut self, bytes: &[u8], give: &mut impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        if !self.held.is_empty() {
            let taken = self.continue_held(rest, give);
            rest = rest.get(taken..).unwrap_or_default();
        }
        while !rest.is_empty() {
            let taken = self.step(rest, give);
            self.at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Continues a line of which some bytes are held. Returns how many bytes that took.
    fn continue_held(&mut self, bytes: &[u8], give: &mut impl FnMut(Piece<'_>)) -> usize {
        let line = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |newline| newline + 1);
        let room = (docker::LINE_BYTES_MAX + 1).saturating_sub(self.held.len());
        let taken = line.min(room);
        let (new, _) = bytes.split_at(taken);
        self.held.extend_from_slice(new);
        self.at += taken as u64;
        let is_finished = new.ends_with(b"\n");
        let is_due = self.held.len() < EAGER_BYTES || self.held.len() >= 2 * self.seen;
        if !is_finished && !is_due && self.held.len() <= docker::LINE_BYTES_MAX {
            return taken;
        }
        let held = std::mem::take(&mut self.held);
        self.at -= held.len() as u64;
        let mut rest = held.as_slice();
        while !rest.is_empty() {
            let taken = self.step(rest, give);
            self.at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
        taken
    }

    /// Takes some of the next bytes. Returns how many.
    fn step(&mut self, bytes: &[u8], give: &mut impl FnMut(Piece<'_>)) -> usize {
        match self.within {
            Within::Start => self.begin(bytes, give),
            Within::Bare => {
                let newline = memchr::memchr(b'\n', bytes);
                if newline.is_some() {
                    self.within = Within::Start;
                }
                let len = newline.map_or(bytes.len(), |newline| newline + 1);
                give(Piece::Bare(Text::at(self.at, bytes).slice(0..len)));
                len
            }
            Within::Cri { is_partial } => {
                let newline = memchr::memchr(b'\n', bytes);
                let len = newline.unwrap_or(bytes.len());
                if len > 0 {
                    give(Piece::Bytes(Text::at(self.at, bytes).slice(0..len)));
                }
                if newline.is_none() {
                    return len;
                }
                self.within = Within::Start;
                give(Piece::End { newline: self.at + len as u64, is_partial });
                len + 1
            }
        }
    }

    /// Takes the start of a line.
    fn begin(&mut self, bytes: &[u8], give: &mut impl FnMut(Piece<'_>)) -> usize {
        match self.look(bytes) {
            Found::Bare(len) => {
                give(Piece::Bare(Text::at(self.at, bytes).slice(0..len)));
                len
            }
            Found::BareStart => {
                self.within = Within::Bare;
                0
            }
            Found::Docker(len) => {
                let line = bytes.get(..len).unwrap_or_default();
                let Ok(read) = docker::read(line, self.at, &mut self.unescaped) else {
                    self.within = Within::Bare;
                    return 0;
                };
                give(Piece::Begin(self.at, read.envelope));
                if !read.text.is_empty() {
                    give(Piece::Text(read.text));
                }
                let (newline, is_partial) = (self.at + len as u64, read.is_partial);
                give(Piece::End { newline, is_partial });
                len + 1
            }
            Found::Cri(cri::Head { len, envelope, is_partial }) => {
                self.within = Within::Cri { is_partial };
                give(Piece::Begin(self.at, envelope));
                len
            }
            Found::Unfinished => {
                self.held.clear();
                self.held.extend_from_slice(bytes);
                self.seen = bytes.len();
                bytes.len()
            }
        }
    }

    fn look(&mut self, bytes: &[u8]) -> Found {
        match bytes.first() {
            Some(b'{') => {
                let newline = memchr::memchr(b'\n', bytes);
                match newline {
                    Some(len) if len <= docker::LINE_BYTES_MAX => Found::Docker(len),
                    None if bytes.len() <= docker::LINE_BYTES_MAX => {
                        match docker::read(bytes, self.at, &mut self.unescaped) {
                            Err(NoEnvelope::Other) => Found::BareStart,
                            // Also a whole one whose newline is still to come.
                            Ok(_) | Err(NoEnvelope::Unfinished) => Found::Unfinished,
                        }
                    }
                    _ => Found::BareStart,
                }
            }
            Some(byte) if byte.is_ascii_digit() => match cri::read(bytes) {
                Ok(head) => Found::Cri(head),
                Err(NoEnvelope::Other) => Found::BareStart,
                Err(NoEnvelope::Unfinished) => Found::Unfinished,
            },
            // A file that was truncated while a program wrote has NULs before the next line.
            Some(0) => Found::Bare(bytes.iter().take_while(|byte| **byte == 0).count()),
            _ => Found::BareStart,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;
    use proptest::prelude::*;

    /// A piece with its text, and the offset of each byte of that.
    #[derive(Clone, Debug, PartialEq)]
    enum Seen {
        Bare(Vec<(u8, u64)>),
        Begin(u64, Stream, u64),
        Bytes(Vec<(u8, u64)>),
        Text(Vec<(u8, u64)>),
        End(u64, bool),
    }

    fn located(text: Text<'_>) -> Vec<(u8, u64)> {
        let places = (0..text.bytes().len()).map(|at| text.place().plus(at).offset());
        text.bytes().iter().copied().zip(places).collect()
    }

    /// What is in the log, with texts of the same kind in one.
    fn opened<'p>(from: u64, pieces: impl Iterator<Item = &'p [u8]>) -> Vec<Seen> {
        let mut unwrapper = Unwrapper::new(from);
        let mut seen: Vec<Seen> = Vec::new();
        for piece in pieces {
            unwrapper.take(piece, &mut |piece| match piece {
                Piece::Bare(text) => match seen.last_mut() {
                    Some(Seen::Bare(before)) => before.extend(located(text)),
                    _ => seen.push(Seen::Bare(located(text))),
                },
                Piece::Begin(at, envelope) => {
                    seen.push(Seen::Begin(at, envelope.stream, envelope.time));
                }
                Piece::Bytes(text) => match seen.last_mut() {
                    Some(Seen::Bytes(before)) => before.extend(located(text)),
                    _ => seen.push(Seen::Bytes(located(text))),
                },
                Piece::Text(text) => seen.push(Seen::Text(located(text))),
                Piece::End { newline, is_partial } => seen.push(Seen::End(newline, is_partial)),
            });
            assert!(unwrapper.pending() <= docker::LINE_BYTES_MAX, "{}", unwrapper.pending());
        }
        seen
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => "2026-11-28T14:02:0[0-9]\\.[0-9]{0,9}(Z|\\+01:00) std(out|err) [FP] [a-z é\r]{0,9}\n",
            6 => "\\{\"log\":\"([a-z é]|\\\\\"|\\\\u001b|\\\\n){0,9}(\\\\n)?\",\"stream\":\"std(out|err)\",\"time\":\"2026-11-28T14:02:07\\.[0-9]{1,9}Z\"\\}\n",
            1 => "\\{\"log\":\"[a-z]{0,3}\",\"stream\":\"std(out|in)\"(,\"time\":1)?\\}\n",
            1 => "\\{\"(log|time|level)\":\"[a-z]{0,3}\\}?\n?",
            1 => "2026-11-28T14:02:07Z std(out|err)( [FP]?)?\n?",
            1 => "[a-z0-9{\u{0}]{0,9}\n",
            1 => "\u{0}{1,3}",
        ]
    }

    proptest! {
        #![proptest_config(crate::testing::cases(128))]
        #[test]
        fn what_is_in_a_log_does_not_depend_on_the_pieces(
            lines in prop::collection::vec(line(), 0..9),
            sizes in prop::collection::vec(1_usize..40, 1..9),
        ) {
            let log = lines.concat();
            let log = log.as_bytes();
            let whole = opened(0, std::iter::once(log));
            prop_assert_eq!(&opened(0, log.chunks(1)), &whole);
            let mut rest = log;
            let mut pieces = Vec::new();
            for &size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, others) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = others;
            }
            prop_assert_eq!(&opened(0, pieces.into_iter()), &whole);
        }

        #[test]
        fn reading_begins_at_any_line(lines in prop::collection::vec(line(), 1..9), at: prop::sample::Index) {
            let log = lines.concat();
            let starts: Vec<usize> = std::iter::once(0).chain(log.match_indices('\n').map(|(at, _)| at + 1)).collect();
            let start = starts[at.index(starts.len())];
            let (before, rest) = log.as_bytes().split_at(start);
            let halves = [opened(0, std::iter::once(before)), opened(start as u64, std::iter::once(rest))];
            let mut joined = halves[0].clone();
            let mut later = halves[1].iter();
            // Bare texts on both sides are one.
            if let (Some(Seen::Bare(last)), Some(Seen::Bare(first))) = (joined.last_mut(), halves[1].first()) {
                last.extend(first);
                later.next();
            }
            joined.extend(later.cloned());
            prop_assert_eq!(joined, opened(0, std::iter::once(log.as_bytes())));
        }
    }

    #[test]
    fn a_line_that_is_too_long_for_docker_stays_as_it_is_however_it_comes() {
        let time = r#""stream":"stdout","time":"2026-11-28T14:02:07Z"}"#;
        for (len, is_envelope) in
            [(200_000, true), (docker::LINE_BYTES_MAX, false), (900_000, false)]
        {
            let line = format!("{{\"log\":\"{}\\n\",{time}\n", "a".repeat(len));
            for size in [line.len(), 4096, 65_537] {
                let seen = opened(0, line.as_bytes().chunks(size));
                assert_eq!(matches!(seen[0], Seen::Begin(..)), is_envelope, "{len} by {size}");
            }
        }
    }

    #[test]
    fn a_line_that_is_no_envelope_is_not_held_back() {
        let mut unwrapper = Unwrapper::new(0);
        for part in ["{\"level\":", "7}\n2026-11-28T14:02:07Z INFO"] {
            unwrapper.take(part.as_bytes(), &mut |_| {});
            assert_eq!(unwrapper.pending(), 0, "{part}");
        }
    }
}
