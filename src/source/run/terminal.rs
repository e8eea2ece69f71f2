//! The terminal of whoever started the command: raw while the command has it, and as it was at every
//! end.

use std::os::fd::{AsFd, OwnedFd};

use parking_lot::Mutex;
use rustix::process::getpgrp;
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

/// A terminal that passes every key on while the command runs.
#[derive(Debug)]
pub(super) struct Terminal {
    descriptor: OwnedFd,
    mode: Mutex<Mode>,
}

#[derive(Debug)]
enum Mode {
    /// As it is when this process does not use it.
    Usual,
    /// Raw, and as it was before.
    Raw(Box<Termios>),
    /// It stays as it is from now on.
    Over,
}

impl Terminal {
    pub(super) fn new(descriptor: OwnedFd) -> Self {
        Self { descriptor, mode: Mutex::new(Mode::Usual) }
    }

    /// Its size now.
    pub(super) fn size(&self) -> Option<Winsize> {
        tcgetwinsize(&self.descriptor).ok()
    }

    /// Its modes now.
    pub(super) fn modes(&self) -> Option<Termios> {
        tcgetattr(&self.descriptor).ok()
    }

    /// Whether this process may read from it: its shell has not put it into the background. A
    /// terminal of another session knows no background.
    pub(super) fn is_in_foreground(&self) -> bool {
        tcgetpgrp(&self.descriptor).map_or(true, |group| group == getpgrp())
    }

    /// Lets every key through from now on, unless this process is in the background.
    pub(super) fn enter_raw(&self) {
        let mut mode = self.mode.lock();
        if !matches!(*mode, Mode::Usual) || !self.is_in_foreground() {
            return;
        }
        // What its shell has set meanwhile is what comes back at the end.
        let Ok(usual) = tcgetattr(&self.descriptor) else { return };
        let mut raw = usual.clone();
        raw.make_raw();
        if tcsetattr(&self.descriptor, OptionalActions::Now, &raw).is_ok() {
            *mode = Mode::Raw(Box::new(usual));
        }
    }

    /// Sets it back to what it was.
    pub(super) fn leave_raw(&self) {
        let mut mode = self.mode.lock();
        if let Mode::Raw(usual) = &*mode {
            // From the background, the attempt would stop this process. Its shell has set the
            // terminal for itself then.
            if self.is_in_foreground() {
                // A terminal that is gone needs nothing.
                let _set = tcsetattr(&self.descriptor, OptionalActions::Now, usual);
            }
            *mode = Mode::Usual;
        }
    }

    /// The process was stopped and goes on. Its shell may have changed the terminal.
    pub(super) fn has_come_back(&self) {
        let mut mode = self.mode.lock();
        if matches!(*mode, Mode::Raw(_)) {
            *mode = Mode::Usual;
        }
        drop(mode);
        self.enter_raw();
    }

    /// Sets it back for good.
    pub(super) fn end(&self) {
        self.leave_raw();
        *self.mode.lock() = Mode::Over;
    }

    /// Whether it is set back for good.
    pub(super) fn is_over(&self) -> bool {
        matches!(*self.mode.lock(), Mode::Over)
    }

    /// Whether keys are passed on now.
    pub(super) fn is_raw(&self) -> bool {
        matches!(*self.mode.lock(), Mode::Raw(_))
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave_raw();
    }
}

/// Whether this is a terminal.
pub(super) fn is_terminal(descriptor: &OwnedFd) -> bool {
    isatty(descriptor)
}
