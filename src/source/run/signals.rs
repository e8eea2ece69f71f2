//! The signals that reach this process while the command runs.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// The signals that are for the command.
const PASSED_ON: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
/// Those that are for us: the terminal has another size; this process goes on after a stop; the file
/// has reached the limit of its size, which is an error of the next write then.
const OWN: [Signal; 3] = [Signal::WINCH, Signal::CONT, Signal::XFSZ];

/// The signals as they come.
#[derive(Debug)]
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

impl Signals {
    /// Catches them from now on, in the runtime of the caller. What this process was started to
    /// ignore, as `nohup` does, stays ignored, also by the command.
    ///
    /// # Errors
    /// When a signal cannot be caught.
    pub fn catch() -> io::Result<Self> {
        let ignored = ignored();
        let (sender, caught) = mpsc::unbounded_channel();
        let wanted = PASSED_ON.into_iter().filter(|wanted| !is_in(ignored, *wanted)).chain(OWN);
        for wanted in wanted {
            let mut signals = signal(SignalKind::from_raw(wanted.as_raw()))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() && sender.send(wanted).is_ok() {}
            });
        }
        Ok(Self(caught))
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(caught) => caught,
            None => std::future::pending().await,
        }
    }

    /// Whether it is one that would end this process.
    #[must_use]
    pub fn is_final(caught: Signal) -> bool {
        PASSED_ON.contains(&caught)
    }
}

/// The set of the signals that this process ignores (proc(5)); empty where the kernel does not say.
#[expect(clippy::disallowed_methods, reason = "it is no log")]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(set: u64, signal: Signal) -> bool {
    u32::try_from(signal.as_raw() - 1).is_ok_and(|bit| set.checked_shr(bit).unwrap_or(0) & 1 == 1)
}
