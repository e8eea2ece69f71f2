//! The marks that shells, and whatever runs a command, put around its output.
//!
//! FinalTerm's OSC 133 ; C and OSC 133 ; D ; STATUS say where it begins and ends. How long the command
//! ran stands before the end as a property of VS Code's terminal: OSC 633 ; P ; Duration=SECONDS.

use super::annotation::Exit;
use super::screen::Screen;
use super::sequence::{Sequence, Step, StringKind};

/// The longest time that is believed, in seconds: a century.
const SECONDS_MAX: f64 = 3.2e9;

/// What a command to the terminal says about a command that runs in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Began,
    Took(u64),
    Ended(Option<i32>),
}

impl Mark {
    /// Reads what is between `ESC ]` and the terminator.
    fn read(command: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(command).ok()?;
        if let Some(seconds) = text.strip_prefix("633;P;Duration=") {
            let seconds: f64 = seconds.parse().ok()?;
            let is_sensible = (0.0..=SECONDS_MAX).contains(&seconds);
            // Within these bounds, nothing but the fraction is lost.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "see above"
            )]
            return is_sensible.then_some(Self::Took((seconds * 1000.0).round() as u64));
        }
        let mut parts = text.strip_prefix("133;")?.split(';');
        match parts.next()? {
            "C" => Some(Self::Began),
            // Options may follow.
            "D" => Some(Self::Ended(parts.next().and_then(|status| status.parse().ok()))),
            _ => None,
        }
    }
}

impl Screen {
    /// OSC 133 and OSC 633: a command begins or ends.
    pub(super) fn command_mark(&mut self, command: &[u8]) {
        if !self.annotates {
            return;
        }
        match Mark::read(command) {
            Some(Mark::Began) => self.took = None,
            Some(Mark::Took(milliseconds)) => self.took = Some(milliseconds),
            Some(Mark::Ended(status)) => {
                // A full-screen program that was killed leaves its screen with the command.
                self.leave_alternate();
                self.page.set_in_status(false);
                self.forget_returns();
                self.end_ascent();
                let exit = Exit { status, duration: self.took.take() };
                self.current().row().note.get_or_insert_default().exit = Some(exit);
                self.touch(self.row);
            }
            None => {}
        }
    }
}

/// Finds the end of a command in bytes that nobody renders.
#[derive(Clone, Debug, Default)]
pub struct ExitMark {
    sequence: Option<Sequence>,
    took: Option<u64>,
    exit: Option<Exit>,
    ends: u64,
}

impl ExitMark {
    /// How many ends of commands there were.
    #[must_use]
    pub fn ends(&self) -> u64 {
        self.ends
    }

    /// Takes the next bytes. Gives how the command ended, if these bytes end with its end: more bytes
    /// mean that something goes on.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Exit> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(sequence) = &mut self.sequence else {
                let Some(at) = memchr::memchr(0x1b, rest) else {
                    self.exit = None;
                    return None;
                };
                if at > 0 {
                    self.exit = None;
                }
                self.sequence = Some(Sequence::new());
                rest = rest.get(at + 1..).unwrap_or_default();
                continue;
            };
            let Some((&byte, after)) = rest.split_first() else { break };
            match sequence.push(byte) {
                Step::More => {}
                Step::String(kind) => {
                    let command = if kind == StringKind::Osc { sequence.command() } else { b"" };
                    let mark = Mark::read(command);
                    self.sequence = None;
                    self.on_mark(mark);
                }
                Step::Escape | Step::Nothing => self.sequence = None,
                Step::Aborted => {
                    (self.sequence, self.exit) = (None, None);
                    continue;
                }
                Step::Restarted(kind) => {
                    let command = if kind == StringKind::Osc { sequence.command() } else { b"" };
                    let mark = Mark::read(command);
                    self.sequence = Some(Sequence::new());
                    self.on_mark(mark);
                    continue;
                }
            }
            rest = after;
        }
        self.exit.filter(|_| self.sequence.is_none())
    }

    fn on_mark(&mut self, mark: Option<Mark>) {
        match mark {
            Some(Mark::Began) => (self.took, self.exit) = (None, None),
            Some(Mark::Took(milliseconds)) => self.took = Some(milliseconds),
            Some(Mark::Ended(status)) => {
                self.exit = Some(Exit { status, duration: self.took.take() });
                self.ends += 1;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_with_its_options() {
        for (command, expected) in [
            ("133;C", Some(Mark::Began)),
            ("133;C;cmdline=make", Some(Mark::Began)),
            ("133;D;1", Some(Mark::Ended(Some(1)))),
            ("133;D", Some(Mark::Ended(None))),
            ("133;D;0;aid=7", Some(Mark::Ended(Some(0)))),
            ("133;D;aid=7", Some(Mark::Ended(None))),
            ("633;P;Duration=182.4", Some(Mark::Took(182_400))),
            ("633;P;Duration=nan", None),
            ("633;P;Duration=-1", None),
            ("633;P;Cwd=/", None),
            ("133;A", None),
            ("1337;D", None),
            ("133", None),
        ] {
            assert_eq!(Mark::read(command.as_bytes()), expected, "{command}");
        }
    }

    #[test]
    fn the_end_is_the_end_until_more_comes() {
        let one = Some(Exit { status: Some(1), duration: None });
        for (bytes, expected) in [
            ("a\n\x1b]133;D;1\x07", one),
            ("a\n\x1b]133;D;1\x1b\\", one),
            (
                "\x1b]633;P;Duration=2\x07\x1b]133;D;1\x07",
                Some(Exit { duration: Some(2000), ..one.unwrap() }),
            ),
            ("\x1b]133;D;1\x07\x1b[m", one),
            ("\x1b]133;D;1\x07$ ", None),
            ("\x1b]133;D;1\x07\x1b]133;C\x07", None),
            ("\x1b]133;D;1\x07\x1b]0;title", None),
            ("\x1b]133;D;1\n", None),
            ("133;D;1\x07", None),
        ] {
            let mut whole = ExitMark::default();
            assert_eq!(whole.feed(bytes.as_bytes()), expected, "{bytes:?}");
            let mut split = ExitMark::default();
            let last = bytes.as_bytes().iter().fold(None, |_, byte| split.feed(&[*byte]));
            assert_eq!(last, expected, "{bytes:?} in single bytes");
        }
    }
}
