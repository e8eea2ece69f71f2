//! A model of a log, compared with the real server: nothing is lost, repeated or hidden, whatever
//! happens to the file and to the server.
//!
//! A random script writes, rotates, truncates, removes and links real files while viewers of
//! `tailcast.v1` with `format=raw` connect, stall, disconnect and resume over real WebSockets.
//! Meanwhile a [`disturbance`] affects the server: system calls fail for a time, the event queue
//! overflows, or there are no events at all. The real program is also stopped, killed, or ended by
//! SIGTERM, and started again. The model stores the exact bytes of each file and each of its
//! *epochs* (a truncation ends an epoch). At the end each viewer's stream is compared with it.
//!
//! # Requirements
//!
//! 1. Within a generation offsets are contiguous. All bytes that a viewer gets under one
//!    generation, including late writes and resumed connections, are the content of *one* epoch of
//!    a file with the generation's inode.
//! 2. Only a `reset` or a `gap` changes the offset. A `gap` begins at the viewer's position. A
//!    `reset` back to a generation continues where the viewer left it. A `reset` to a new file or
//!    epoch begins at its first byte.
//! 3. No byte is sent twice, except after a `reset` to a new generation: the head that a truncation
//!    left, a file that got the name back after it was forgotten, a position that was not
//!    recovered, and the files after a file that was recovered after a restart. There are no more
//!    such resets than truncations, files that took the name, lost positions and restarts.
//! 4. A byte *must* arrive if the server could see it. That is, it was not truncated within `SEEN`
//!    after it was written, and it
//!    * was written to a file that still has the name, or had it for `SEEN`, or was known to a
//!      viewer when it lost the name, so that the server followed it; or
//!    * was written to such a file at most `LATE` after it lost the name, while fewer than four
//!      other files took the name, and the file was not truncated in between.
//!
//!    `SEEN` counts only while the server could work: it was not stopped, none of its system calls
//!    failed, and the machine gave it CPU time.
//! 5. A file is read to its end before the next one begins: bytes that were written before it lost
//!    the name are never sent as late.
//! 6. At the end of the script all viewers have the last line of the present file, which is unique.
//!
//! # Requirements over restarts
//!
//! 7. The above holds within each life of the server, for bytes before a viewer's last received
//!    byte of that life: bytes that were not sent yet when the server died may be missing. A viewer
//!    that is closed with 1001 got everything that was written before the server began to end.
//! 8. A position is continued only in the same epoch, or in an epoch of the same file with the same
//!    first 256 bytes. In the second case the file was truncated while no server ran, and the bytes
//!    that differ before the position are `unproved`. A position is never continued in a file that
//!    was created after the generation was sent.
//! 9. A position *must* be recovered if its file has the name or is next to the log, was never
//!    truncated, and had 256 bytes when it was signed (or at least 64 before the position, all of
//!    them signed).
//! 10. After a position that was not recovered, the next message is a `reset` to the first byte of
//!     the present file.
//! 11. A file that had the name only while the server was dead, for more than 10 ms, comes, or a `gap` without an end, or
//!     the loss of the position, says that it may be missing.
//! 12. Bytes that were written to a file while it had the name, and still exist, are not missing
//!     unless a discontinuity was announced later. The same holds for a late write within `LATE`,
//!     if it was done before the viewer's last connection and that connection sent the viewer's
//!     position in the file.
//!
//! # Requirements for readers of old files
//!
//! 13. A reader with `history=1` gets everything that is on the disk when it comes, in files of
//!     whatever names and compressions a rotation has left, each byte once, in the order in which it
//!     was written, and no `gap` with an end. A file that the server may have missed while it followed
//!     the log need not be there: one that had the name for less than 250 ms, for which there is a `gap`
//!     without an end.
//!
//! # Not required
//!
//! * A file that existed only between two polls was never seen; a `gap` without an end says that
//!   there may be some. Nor were bytes seen that were written and truncated between two polls. They are `announced` if the viewer got a discontinuity after
//!   they were written, otherwise `unseen`: the bytes that it got before and after are right. A
//!   truncation that removes no read byte cannot be announced. Nor can a late write that was not
//!   sent yet when the server died.
//! * A viewer that stalls or was away may get a `gap` instead of bytes that are gone. So may a
//!   viewer that keeps up, if the bytes were truncated or four more files took the name.
//! * A position is a single pair. A late write divides a generation into two runs. A viewer that
//!   resumes exactly at this border gets the bytes of other generations between the two runs again,
//!   with their own generations and offsets.
//!
//! `TAILCAST_SEED=n` runs one script of each kind, `TAILCAST_SEEDS=n` runs `n` scripts of each, and
//! `TAILCAST_STEPS=n` sets their length. A seed gives the same script, but not the same timing: run
//! a failed one several times. The results are written to the terminal and to `tmp/model-*.txt` in
//! cargo's target directory, with the transcript of the first failed script, or of each failed
//! script if `TAILCAST_TOLD` is set.

mod content;
mod disturbance;
mod epochs;
mod host;
mod log;
mod machine;
mod old_files;
mod oracle;
mod outcome;
pub mod random;
pub mod received;
mod rotation;
pub mod runs;
mod steps;
mod table;
mod transcript;
mod viewers;

use disturbance::Disturbance;
pub use runs::setting;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_that_is_on_the_disk_is_read_while_old_files_are_compressed() {
    run_all("model-old-files", 30, old_files::run).await;
}
