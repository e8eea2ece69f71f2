//! The envelopes in which container runtimes keep what a program wrote: a line for each piece of its
//! output, with the time and the stream.
//!
//! - CRI, as containerd, CRI-O and podman write it: `2026-11-28T14:02:07.123456789Z stdout F text`.
//!   Behind a `P` in place of the `F` the program's line goes on in the next envelope of the same
//!   stream.
//! - Docker's driver json-file: `{"log":"text\n","stream":"stdout","time":"2026-11-28T14:…Z"}`. Without
//!   a newline at the end of its text the program's line goes on.
//!
//! Whether a log has envelopes is said by its first line. In such a log each line counts by itself,
//! so that reading can begin at any of them. A line that is no envelope stays as it is.

mod cri;
mod docker;
mod join;
mod lines;
mod time;
mod unwrapper;

pub use join::{JOIN_LINES_MAX, Joined};
pub use lines::{OpenedLine, OpenedLines, are_bare, open_line, open_lines};
pub(crate) use time::days;
pub use unwrapper::{Piece, Unwrapper};

/// How the lines of a log are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A program wrote them as they are.
    Plain,
    /// A container runtime wrote them: those that are envelopes are opened.
    Enveloped,
}

impl Layout {
    /// How many of the first bytes of a log are enough to tell.
    pub const HEAD_BYTES: usize = 64;

    /// The layout of a log that begins with these bytes. None where more of them must tell.
    #[must_use]
    pub fn of_head(head: &[u8]) -> Option<Self> {
        let head = head.get(..Self::HEAD_BYTES).unwrap_or(head);
        let is_enveloped = match head.first()? {
            b'{' => docker::may_begin(head),
            byte if byte.is_ascii_digit() => match cri::read(head) {
                Ok(_) => Some(true),
                Err(NoEnvelope::Unfinished) if head.len() < Self::HEAD_BYTES => None,
                Err(_) => Some(false),
            },
            _ => Some(false),
        };
        is_enveloped.map(|is| if is { Self::Enveloped } else { Self::Plain })
    }
}

/// The stream to which a program wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"stdout" => Some(Self::Stdout),
            b"stderr" => Some(Self::Stderr),
            _ => None,
        }
    }
}

/// What an envelope says about the text in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The stream.
    pub stream: Stream,
    /// When the program wrote it, in milliseconds since 1970.
    pub time: u64,
}

/// Why a line is no envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoEnvelope {
    /// It is something else.
    Other,
    /// It may be one if it goes on.
    Unfinished,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_whether_there_are_envelopes() {
        let (enveloped, plain) = (Some(Layout::Enveloped), Some(Layout::Plain));
        for (head, expected) in [
            ("", None),
            ("{", None),
            (r#"{"lo"#, None),
            (r#"{"log":"#, None),
            (r#"{"log":""#, enveloped),
            (r#"{"stream":"stderr""#, enveloped),
            (r#"{"time":"2026"#, enveloped),
            (r#"{"level":"info""#, plain),
            (r#"{"logger":"a""#, plain),
            ("{\n", plain),
            ("2026-11-28T14:02:07.1", None),
            ("2026-11-28T14:02:07.123456789Z stdout", None),
            ("2026-11-28T14:02:07.123456789Z stdout F ", enveloped),
            ("2026-11-28T14:02:07Z stderr P text", enveloped),
            ("2026-11-28T14:02:07.123456789+01:00 stdout F\n", enveloped),
            ("2026-11-28T14:02:07.123456789Z stdout\n", plain),
            ("2026-11-28T14:02:07.123456789Z INFO text", plain),
            ("2026-11-28 14:02:07 stdout F text", plain),
            ("text", plain),
            ("\n", plain),
        ] {
            assert_eq!(Layout::of_head(head.as_bytes()), expected, "{head:?}");
        }
        let long = format!("2026-11-28T14:02:07Z stdout F:{}", "a".repeat(99));
        assert_eq!(Layout::of_head(&long.as_bytes()[..Layout::HEAD_BYTES]), plain);
    }
}
