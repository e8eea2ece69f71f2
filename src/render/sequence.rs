//! Finds the end of an escape sequence, even if a program was killed within one.
//!
//! `vte` would buffer an unterminated string without limit and swallow everything after it. This
//! module passes on complete sequences only, and a newline ends any open sequence, so that no
//! unterminated sequence hides the next lines.

/// The longest sequence that has an effect, in bytes. A longer one is swallowed to its end.
const KEPT_BYTES_MAX: usize = 4096;

/// The longest sequence that is swallowed, in bytes. After that the bytes are text again.
const SWALLOWED_BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Escape,
    EscapeIntermediate,
    Csi,
    Osc,
    /// APC, which Buildkite uses for timestamps. Programs may end it with BEL.
    Apc,
    /// DCS, SOS, PM, and the window title of `screen` and `tmux`: swallowed.
    Text,
    /// An ESC in a string, which ends it if a backslash comes next.
    StringEscape {
        kind: StringKind,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringKind {
    Osc,
    Apc,
    Text,
}

/// The effect of a byte on a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    /// The sequence is complete; `vte` parses it.
    Escape,
    /// The string is complete.
    String(StringKind),
    /// The sequence ends with this byte, without an effect.
    Nothing,
    /// The sequence ends before this byte, which is not part of it.
    Aborted,
    /// The string ended at the ESC before this byte, and a new sequence began with that ESC.
    Restarted(StringKind),
}

#[derive(Clone, Debug)]
pub(super) struct Sequence {
    stage: Stage,
    bytes: Vec<u8>,
    len: usize,
}

impl Sequence {
    /// A sequence after its ESC.
    pub(super) fn new() -> Self {
        Self { stage: Stage::Escape, bytes: vec![0x1b], len: 1 }
    }

    /// The sequence from its ESC on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The command between `ESC ]` or `ESC _` and its terminator.
    pub(super) fn command(&self) -> &[u8] {
        let kept = self.len == self.bytes.len();
        self.bytes.get(2..).filter(|_| kept).unwrap_or_default()
    }

    pub(super) fn push(&mut self, byte: u8) -> Step {
        if self.len >= SWALLOWED_BYTES_MAX {
            return Step::Aborted;
        }
        let step = match self.stage {
            _ if byte == b'\n' => return Step::Aborted,
            Stage::StringEscape { kind } => match byte {
                b'\\' => Step::String(kind),
                _ => return Step::Restarted(kind),
            },
            // CAN and SUB cancel a sequence anywhere.
            _ if byte == 0x18 || byte == 0x1a => Step::Nothing,
            Stage::Osc => self.string(byte, StringKind::Osc),
            Stage::Apc => self.string(byte, StringKind::Apc),
            Stage::Text => self.string(byte, StringKind::Text),
            _ if byte == 0x1b => return Step::Aborted,
            _ if byte >= 0x80 => return Step::Aborted,
            Stage::Escape => self.escape(byte),
            Stage::EscapeIntermediate => match byte {
                0x30..=0x7e => Step::Escape,
                _ => Step::More,
            },
            Stage::Csi => match byte {
                0x40..=0x7e => Step::Escape,
                _ => Step::More,
            },
        };
        // The terminator of a string is not part of its command. The last byte of another sequence
        // is.
        let keep = match step {
            Step::More => {
                self.bytes.len() < KEPT_BYTES_MAX
                    && !matches!(self.stage, Stage::StringEscape { .. })
            }
            Step::Escape => true,
            _ => false,
        };
        if keep {
            self.bytes.push(byte);
        }
        if step == Step::More && !matches!(self.stage, Stage::StringEscape { .. }) {
            self.len += 1;
        }
        step
    }

    fn escape(&mut self, byte: u8) -> Step {
        self.stage = match byte {
            b'[' => Stage::Csi,
            b']' => Stage::Osc,
            b'_' => Stage::Apc,
            b'P' | b'X' | b'^' | b'k' => Stage::Text,
            0x20..=0x2f => Stage::EscapeIntermediate,
            0x30..=0x7e => return Step::Escape,
            _ => Stage::Escape,
        };
        Step::More
    }

    fn string(&mut self, byte: u8, kind: StringKind) -> Step {
        match byte {
            0x07 if kind != StringKind::Text => return Step::String(kind),
            0x1b => self.stage = Stage::StringEscape { kind },
            _ => {}
        }
        Step::More
    }
}
