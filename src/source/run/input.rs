//! What is typed goes to the command, key by key. The key that suspends stops the command and this
//! program, as a shell's job.

use std::io::PipeReader;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp};

use crate::source::run::leader::Leader;
use crate::source::run::output::write_all;
use crate::source::run::terminal::Terminal;

/// How often a process in the background looks whether it was brought back. A shell sends no signal
/// for that to a process that runs.
const BACKGROUND_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// How long a stop may take to come into effect. One that cannot come into effect, since no shell
/// waits for this process, takes as long.
const STOP_TIME: Duration = Duration::from_millis(100);

/// Where the keys come from, and where they go.
pub(super) struct Input {
    pub(super) terminal: Arc<Terminal>,
    pub(super) pty: Arc<pty_process::blocking::Pty>,
    pub(super) leader: Arc<Leader>,
    /// Its other end is closed when no more keys are wanted.
    pub(super) over: PipeReader,
}

impl Input {
    /// Passes keys on until the end.
    pub(super) fn run(self) {
        let mut buffer = [0; 4096];
        loop {
            self.terminal.enter_raw();
            let is_raw = self.terminal.is_raw();
            let mut watched = [
                PollFd::new(&self.terminal, PollFlags::IN),
                PollFd::new(&self.over, PollFlags::IN),
            ];
            let wait = if is_raw { None } else { Some(&BACKGROUND_INTERVAL) };
            let polled = if is_raw {
                poll(&mut watched, wait)
            } else {
                // A key in the background is for the shell.
                poll(&mut watched[1..], wait)
            };
            let [key, over] = watched.map(|watched| !watched.revents().is_empty());
            match polled {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if over || self.terminal.is_over() => return,
                Ok(_) => {}
            }
            if !is_raw || !key || !self.terminal.is_in_foreground() {
                continue;
            }
            match rustix::io::read(&self.terminal, &mut buffer) {
                Ok(0) => return,
                Ok(taken) => self.pass_on(buffer.get(..taken).unwrap_or_default()),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // The terminal is gone.
                Err(_) => return,
            }
        }
    }

    fn pass_on(&self, keys: &[u8]) {
        let mut rest = keys;
        while let Some(at) = self.suspend_key().and_then(|key| memchr::memchr(key, rest)) {
            let (before, after) = rest.split_at(at);
            self.type_in(before);
            self.suspend();
            rest = after.get(1..).unwrap_or_default();
        }
        self.type_in(rest);
    }

    fn type_in(&self, keys: &[u8]) {
        // Nothing reads the keys any more when the command has ended.
        let _typed = write_all(&*self.pty, keys);
    }

    /// The key that suspends the command, if that is for us to do. A shell on the pty suspends its
    /// own jobs; a program that reads every key has none.
    fn suspend_key(&self) -> Option<u8> {
        let modes = tcgetattr(&*self.pty).ok()?;
        let is_ours = tcgetpgrp(&*self.pty).is_ok_and(|group| self.leader.is_group(group));
        let key = modes.special_codes[SpecialCodeIndex::VSUSP];
        (is_ours && modes.local_modes.contains(LocalModes::ISIG) && key != 0).then_some(key)
    }

    /// Stops the command, and then this process with everything that its shell started with it.
    fn suspend(&self) {
        // The kernel lets no terminal stop a session whose leader is not the child of a shell.
        self.leader.signal(Signal::STOP);
        self.terminal.leave_raw();
        // Without a shell that could continue it, the kernel does not stop this process.
        let _stopped = kill_current_process_group(Signal::TSTP);
        std::thread::sleep(STOP_TIME);
        self.terminal.has_come_back();
        self.leader.signal(Signal::CONT);
    }
}
