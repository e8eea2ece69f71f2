//! The bytes of a log as text: their encoding and layout, once these are known.

use crate::encoding::{Decoder, Detection, Encoding, Layout, Text};

use super::Terminal;
use super::envelopes::Enveloped;
use super::terminal::offset;

/// What the bytes of the log are.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The first bytes of the log are still to come.
    Detecting(Box<Detecting>),
    /// UTF-8, which needs no decoding.
    Utf8,
    /// In another encoding.
    Encoded(Box<Decoder>),
    /// In the envelopes of a container runtime.
    Enveloped(Box<Enveloped>),
}

/// What the first bytes of a log say so far.
#[derive(Clone, Debug)]
pub(super) struct Detecting {
    /// What is known without them.
    known: Detection,
    head: Vec<u8>,
    /// How the head is shown while the layout is not known: as the text that it may be. None while
    /// the encoding is not known either, and nothing is shown.
    shown: Option<Input>,
}

impl Input {
    /// For bytes from this offset on.
    fn new(detection: Detection, at: u64) -> Self {
        let encoding = detection.encoding();
        match detection.layout() {
            Layout::Enveloped => Self::Enveloped(Box::new(Enveloped::new(encoding, at))),
            Layout::Plain if encoding == Encoding::UTF_8 => Self::Utf8,
            Layout::Plain => Self::Encoded(Box::new(Decoder::new(encoding, at))),
        }
    }

    /// How many of the last bytes it holds, which are not decoded yet.
    pub(super) fn pending(&self) -> usize {
        match self {
            Self::Utf8 => 0,
            Self::Detecting(detecting) => match &detecting.shown {
                Some(shown) => shown.pending(),
                None => detecting.head.len(),
            },
            Self::Encoded(decoder) => decoder.pending(),
            Self::Enveloped(enveloped) => enveloped.pending(),
        }
    }

    /// The memory that it uses, in bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Utf8 | Self::Encoded(_) => 0,
            Self::Detecting(detecting) => detecting.head.capacity(),
            Self::Enveloped(enveloped) => enveloped.weight(),
        }
    }

    /// Whether the next byte begins something, as far as the input knows it.
    pub(super) fn is_at_rest(&self) -> bool {
        match self {
            Self::Enveloped(enveloped) => enveloped.is_at_rest(),
            input => input.pending() == 0,
        }
    }

    /// The next byte has this offset.
    pub(super) fn skip_to(&mut self, at: u64) {
        match self {
            Self::Encoded(decoder) => decoder.skip_to(at),
            Self::Enveloped(enveloped) => enveloped.skip_to(at),
            Self::Detecting(detecting) => {
                *self = detecting.shown.take().unwrap_or(Self::Utf8);
                self.skip_to(at);
            }
            Self::Utf8 => {}
        }
    }
}

impl Terminal {
    /// A terminal like [`new`](Self::new) for a log of this encoding and layout. While these are not
    /// detected, the first bytes of the log say what they are. One that begins in the middle of an
    /// enveloped log begins with a line.
    pub fn with_encoding(at: u64, detection: Detection) -> Self {
        let mut terminal = Self::new(at);
        let first = detection.first().filter(|_| at == 1);
        let detects = detection.is_open() && (at == 0 || first.is_some());
        terminal.input = if detects {
            let head = first.into_iter().collect();
            Input::Detecting(Box::new(Detecting { known: detection, head, shown: None }))
        } else {
            Input::new(detection.so_far(), at)
        };
        terminal
    }

    /// The layout of the log, if it is known.
    pub fn layout(&self) -> Option<Layout> {
        match self.input {
            Input::Detecting(_) => None,
            Input::Enveloped(_) => Some(Layout::Enveloped),
            Input::Utf8 | Input::Encoded(_) => Some(Layout::Plain),
        }
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
            Input::Detecting(_) => self.detect(bytes),
            Input::Encoded(_) => self.decode(bytes),
            Input::Enveloped(_) => self.open_envelopes(bytes),
        }
    }

    /// Reads the first bytes of a log.
    fn detect(&mut self, bytes: &[u8]) {
        let Input::Detecting(mut detecting) = std::mem::replace(&mut self.input, Input::Utf8)
        else {
            return;
        };
        let before = detecting.head.len();
        let wanted = Detection::HEAD_BYTES.saturating_sub(before).min(bytes.len());
        detecting.head.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
        let found = detecting.known.completed_by(Detection::of_head(&detecting.head));
        if found.is_encoding_open() {
            self.at += offset(bytes.len());
            self.input = Input::Detecting(detecting);
            return;
        }
        if !found.is_open() && found.layout() == Layout::Enveloped {
            // What was shown of the head was none of the program's text.
            self.begin_again();
            self.input = Input::new(found, 0);
            self.show_bytes(detecting.head.get(..before).unwrap_or_default());
            self.show_bytes(bytes);
            return;
        }
        match detecting.shown.take() {
            Some(shown) => {
                self.input = shown;
                self.show_bytes(bytes);
            }
            None => {
                self.at -= offset(before);
                self.input = Input::new(found.so_far(), self.at);
                self.show_bytes(detecting.head.get(..before).unwrap_or_default());
                self.show_bytes(bytes);
            }
        }
        if found.is_open() {
            detecting.shown = Some(std::mem::replace(&mut self.input, Input::Utf8));
            self.input = Input::Detecting(detecting);
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
