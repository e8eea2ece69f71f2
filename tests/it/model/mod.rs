//! A model of a log beside the real server: nothing is lost, repeated or hidden, whatever happens
//! to the file and to the server.
//!
//! A script that is drawn by chance writes, rotates, truncates, removes and links real files while
//! viewers of `tailcast.v1` with `format=raw` come, stall, drop and resume over real WebSockets.
//! Meanwhile a [`disturbance`] hits the server: calls that fail for a time, more events than the
//! kernel queues, no events at all; or, where it is the real program, it is stopped, killed, or
//! told to end, and started again. The model keeps, for each file and each of its *epochs* (a
//! truncation ends one), the exact bytes. In the end each viewer's stream is held against it.
//!
//! # What is demanded
//!
//! 1. Within a generation offsets are contiguous. All that a viewer gets under one generation, over
//!    late writes and resumptions, is the content of *one* epoch of a file with the inode that the
//!    generation names.
//! 2. Offsets go elsewhere only by a `reset` or a `gap`. A `gap` begins where the viewer is. A
//!    `reset` that goes back to a generation goes on where this viewer left it; one that turns to a
//!    new file or epoch begins at its first byte.
//! 3. No byte comes twice, but for what a `reset` that begins a new generation tells anew: the head
//!    that a truncation left, a file that came back after it was forgotten, a position that was not
//!    recovered, the files that follow one that was recovered after a restart. There are no more of
//!    these than there were truncations, files that took the name, positions that were lost, and
//!    restarts.
//! 4. A byte *must* arrive if the server could see it. That is, it was not truncated within `SEEN`
//!    after it was written, and
//!    * was written to a file that has the name still, or had it for `SEEN`, or of which a viewer
//!      had heard when it lost the name: then the server held it; or
//!    * was written to such a file at most `LATE` after it lost the name, while fewer than four
//!      other files took it, and nobody truncated it in between.
//!
//!    `SEEN` counts only where the server was well all that time: not stopped, and none of its
//!    calls failed; and where the machine let it run.
//! 5. A file is read to its end before the next one begins: what was written before it lost the
//!    name never comes as late.
//! 6. In the end the present file has been read to its end, a line that is nowhere else.
//!
//! # And over restarts
//!
//! 7. The above holds within each life of the server, for what a viewer got to: it need not get
//!    what was published for it when the server died, unless it got something later in that life. A
//!    viewer that is closed with 1001 got all that was written before the server was told to end.
//! 8. A position is continued in the same epoch only, or in one of the same file with the same
//!    first 256 bytes: then the file was cut while nobody could tell, and what was cut out before
//!    the position is `unproved`. It is never continued in a file that was created after its
//!    generation had been told.
//! 9. A position *must* be honoured when its file has the name, or lies beside it, was never cut,
//!    and had 256 bytes when it was signed (or at least 64 before the position, all of them
//!    signed).
//! 10. One that is not is followed at once by a `reset` to the first byte of the present file.
//! 11. A file that had the name only while the server was dead comes, or a `gap` without an end (or
//!     the loss of the position) tells that it may be missing.
//! 12. What was written to a file while it had the name, and is there still, is not missing without
//!     a discontinuity that was told later. Nor is a late write, within `LATE`, that was done when
//!     a viewer came the last time and said how far it had that file.
//!
//! # What is not
//!
//! * A file that came and went between two looks was never seen. Nor were bytes that were written
//!   and truncated between two looks. They are `announced` if the viewer was told of a
//!   discontinuity after they were written, and else `unseen`: what it got is the truth about the
//!   file, before and after. A truncation that cuts nothing that was read can't be told, and need
//!   not be. Nor can a late write that was still to be sent when the server died.
//! * A viewer that stalls or was away may be given a `gap` instead of what is gone, and so may one
//!   that keeps up if the bytes were truncated or four more files took the name.
//! * A position is one pair. A viewer that resumes exactly where one run of a generation ends and
//!   another begins, as a late write divides them, hears again what came between, at its own
//!   generations and offsets, rather than never.
//!
//! `TAILCAST_SEED=n` runs one script of each kind; `TAILCAST_SEEDS=n` as many of each, and
//! `TAILCAST_STEPS=n` sets how long they are. A seed draws the same script again, but not the same
//! time: run one that failed several times. What became of the bytes is shown on the terminal, and
//! in `tmp/model-*.txt` where cargo builds; with `TAILCAST_TOLD` set, all that happened in each
//! script that failed, otherwise in the first.

mod content;
mod disturbance;
mod epochs;
mod host;
mod log;
mod machine;
mod oracle;
mod outcome;
mod random;
mod received;
mod rotation;
mod runs;
mod steps;
mod table;
mod transcript;
mod viewers;

use disturbance::Disturbance;
use runs::{run, run_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_repeated_or_hidden() {
    run_all("model-troubles", 120, |seed| run(Disturbance::Troubles, seed)).await;
}

#[cfg(feature = "faults")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_repeated_or_hidden_without_events() {
    run_all("model-deafness", 60, |seed| run(Disturbance::Deafness, seed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_repeated_or_hidden_when_the_server_stops_or_dies() {
    run_all("model-restarts", 120, |seed| run(Disturbance::Restarts, seed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_during_a_rotation_under_load_loses_nothing_silently() {
    run_all("model-rotation", 30, rotation::run).await;
}
