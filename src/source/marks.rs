//! The marks that say where the output of a command begins and ends. Terminals do not show them.
//!
//! They are those of FinalTerm, which shells write too: `OSC 133 ; C` and `OSC 133 ; D ; STATUS`.
//! Before the end stands how long it took, as a property in the form of VS Code's terminal:
//! `OSC 633 ; P ; Duration=SECONDS`.

use std::time::Duration;

use crate::source::run::Status;

/// The output of a command begins.
pub const BEGIN: &[u8] = b"\x1b]133;C\x1b\\";

/// The output of a command has ended.
#[must_use]
pub fn end(status: Status, took: Duration) -> Vec<u8> {
    let (seconds, status) = (took.as_secs_f64(), status.code());
    format!("\x1b]633;P;Duration={seconds:.3}\x1b\\\x1b]133;D;{status}\x1b\\").into_bytes()
}
