//! The end of the command whose output the log is.

use crate::cli::tail::messages::{self, Messages};
use crate::render::{Exit, ExitMark};

/// Watches for the end of the command whose output the log is.
pub(super) struct Finish {
    mark: ExitMark,
    /// How it ended, if nothing has come after its end.
    pub(super) exit: Option<Exit>,
    is_told: bool,
    /// Whether it is the end of the log.
    is_end: bool,
}

impl Finish {
    /// The end of a log that was not read yet. `is_end`: the end of the command is the end of the log.
    pub(super) fn new(is_end: bool) -> Self {
        Self { mark: ExitMark::default(), exit: None, is_told: false, is_end }
    }

    /// The next bytes of the log.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let ends = self.mark.ends();
        self.exit = self.mark.feed(bytes);
        self.is_told &= self.mark.ends() == ends;
    }

    /// Another file begins.
    pub(super) fn restart(&mut self) {
        (self.mark, self.exit, self.is_told) = (ExitMark::default(), None, false);
    }

    /// Says once that the command has ended, if it has. Returns whether that is the end.
    pub(super) fn is_over(&mut self, messages: &Messages, is_mid_line: bool) -> bool {
        let Some(exit) = self.exit else { return false };
        if !std::mem::replace(&mut self.is_told, true) {
            messages.print(&messages::finished(exit), is_mid_line);
        }
        self.is_end
    }
}
