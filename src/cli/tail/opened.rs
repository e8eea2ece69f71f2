//! What programs in a container wrote, out of the lines of the runtime, as the bytes that they are.

use std::borrow::Cow;

use crate::encoding::envelope::{Piece, Stream, Unwrapper};
use crate::encoding::{Detection, Layout};

/// The bytes of programs from a place in a log on.
#[derive(Debug)]
pub(super) struct Opened {
    /// The offset of the next byte.
    at: u64,
    state: State,
    out: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// The first bytes of the log must tell what it is.
    Head(Vec<u8>),
    /// The log is as the program wrote it.
    Plain,
    /// With the stream of the last line, and whether that goes on.
    Enveloped(Box<Unwrapper>, Stream, bool),
}

impl Opened {
    /// From this offset on, of a log whose layout is this, if it is known.
    pub(super) fn new(at: u64, layout: Option<Layout>) -> Self {
        let state = match layout {
            None => State::Head(Vec::new()),
            Some(Layout::Plain) => State::Plain,
            Some(Layout::Enveloped) => {
                State::Enveloped(Box::new(Unwrapper::new(at)), Stream::Stdout, false)
            }
        };
        Self { at, state, out: Vec::new() }
    }

    /// The offset of the next byte.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The layout, if it is known.
    pub(super) fn layout(&self) -> Option<Layout> {
        match self.state {
            State::Head(_) => None,
            State::Plain => Some(Layout::Plain),
            State::Enveloped(..) => Some(Layout::Enveloped),
        }
    }

    /// What the program wrote of the next bytes.
    pub(super) fn take<'b>(&'b mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        self.at += bytes.len() as u64;
        let State::Head(head) = &mut self.state else { return self.open(bytes) };
        head.extend_from_slice(bytes);
        let detection = Detection::of_head(head);
        if detection.is_open() {
            return Cow::Borrowed(&[]);
        }
        let head = std::mem::take(head);
        self.state = Self::new(0, Some(detection.layout())).state;
        Cow::Owned(self.open(&head).into_owned())
    }

    fn open<'b>(&'b mut self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let State::Enveloped(unwrapper, stream, is_open) = &mut self.state else {
            return Cow::Borrowed(bytes);
        };
        let out = &mut self.out;
        out.clear();
        unwrapper.take(bytes, &mut |piece| match piece {
            Piece::Bare(text) => {
                if std::mem::take(is_open) {
                    out.push(b'\n');
                }
                out.extend_from_slice(text.bytes());
            }
            Piece::Begin(_, envelope) => {
                if std::mem::take(is_open) && *stream != envelope.stream {
                    out.push(b'\n');
                }
                *stream = envelope.stream;
            }
            Piece::Bytes(text) | Piece::Text(text) => out.extend_from_slice(text.bytes()),
            Piece::End { is_partial: true, .. } => *is_open = true,
            Piece::End { is_partial: false, .. } => out.push(b'\n'),
        });
        Cow::Borrowed(out)
    }

    /// What is not known to be a container runtime's, at the end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        match &mut self.state {
            State::Head(head) => std::mem::take(head),
            State::Plain => Vec::new(),
            State::Enveloped(unwrapper, ..) => unwrapper.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken<'p>(layout: Option<Layout>, pieces: impl Iterator<Item = &'p [u8]>) -> String {
        let mut opened = Opened::new(0, layout);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&opened.take(piece));
        }
        out.extend(opened.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_programs_wrote_comes_out_line_by_line_however_it_comes_in() {
        let time = "2026-11-28T14:02:07Z";
        let cri = [
            format!("{time} stdout P a\n{time} stdout F b\n"),
            format!("{time} stdout P c\n{time} stderr F x\n{time} stdout F d\n"),
            format!("{{\"log\":\"\\u001b[1me\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n"),
            format!("{time} stdout P f\nbare\n{{\"log\":\"unfinished"),
        ]
        .concat();
        let expected = "ab\nc\nx\nd\n\x1b[1me\nf\nbare\n{\"log\":\"unfinished";
        for (log, expected) in
            [(&*cri, expected), ("2026\n", "2026\n"), ("2026", "2026"), ("a\n{", "a\n{")]
        {
            for size in [1, 7, 1000] {
                assert_eq!(taken(None, log.as_bytes().chunks(size)), expected, "by {size}");
            }
            let kept = taken(Some(Layout::Plain), log.as_bytes().chunks(7));
            assert_eq!(kept, log);
        }
    }
}
