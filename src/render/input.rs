//! The bytes of a log as text: their encoding, once it is known.

use crate::encoding::{Decoder, Detection, Encoding, Text};

use super::Terminal;
use super::terminal::offset;

/// What the bytes of the log are.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The first bytes of the log are still to come. Contains the first one if it has come.
    Detecting(Option<u8>),
    /// UTF-8, which needs no decoding.
    Utf8,
    /// In another encoding.
    Encoded(Box<Decoder>),
}

impl Input {
    fn new(encoding: Encoding, at: u64) -> Self {
        if encoding == Encoding::UTF_8 {
            Self::Utf8
        } else {
            Self::Encoded(Box::new(Decoder::new(encoding, at)))
        }
    }

    /// How many of the last bytes it holds, which are not decoded yet.
    pub(super) fn pending(&self) -> usize {
        match self {
            Self::Utf8 => 0,
            Self::Detecting(first) => usize::from(first.is_some()),
            Self::Encoded(decoder) => decoder.pending(),
        }
    }

    /// The next byte has this offset.
    pub(super) fn skip_to(&mut self, at: u64) {
        if let Self::Encoded(decoder) = self {
            decoder.skip_to(at);
        }
    }
}

impl Terminal {
    /// A terminal like [`new`](Self::new) for a log of this encoding. While that is not detected, the
    /// first bytes of the log say what it is.
    pub fn with_encoding(at: u64, detection: Detection) -> Self {
        let mut terminal = Self::new(at);
        terminal.input = match detection {
            Detection::Done(encoding) => Input::new(encoding, at),
            Detection::Open(_) if at == 0 => Input::Detecting(None),
            Detection::Open(first) if at == 1 && first.is_some() => Input::Detecting(first),
            Detection::Open(_) => Input::Utf8,
        };
        terminal
    }

    /// From now on the terminal is fed text. Returns the offset of the first byte that it has not
    /// decoded, and forgets what it holds of an incomplete character.
    pub fn undecoded(&mut self) -> u64 {
        let pending = self.input.pending();
        self.input = Input::Utf8;
        self.at = self.at.saturating_sub(offset(pending));
        self.at
    }

    pub(super) fn show_bytes(&mut self, bytes: &[u8]) {
        match self.input {
            Input::Utf8 => self.show_text(Text::at(self.at, bytes)),
            Input::Detecting(first) => self.detect(first, bytes),
            Input::Encoded(_) => self.decode(bytes),
        }
    }

    /// Reads the first bytes of a log, of which `first` came before.
    fn detect(&mut self, first: Option<u8>, bytes: &[u8]) {
        let head: Vec<u8> = first.iter().chain(bytes).take(2).copied().collect();
        match Detection::of_head(&head) {
            Detection::Open(first) => {
                self.input = Input::Detecting(first);
                self.at += offset(bytes.len());
            }
            Detection::Done(encoding) => {
                let held = usize::from(first.is_some());
                self.at -= offset(held);
                self.input = Input::new(encoding, self.at);
                self.show_bytes(head.get(..held).unwrap_or_default());
                self.show_bytes(bytes);
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) {
        let Input::Encoded(decoder) = &mut self.input else { return };
        let end = self.at + offset(bytes.len());
        let decoded = decoder.decode(bytes);
        self.show_text(decoded.text());
        self.at = end;
    }
}
