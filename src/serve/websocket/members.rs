//! The members of a broadcast group, and the tasks that write to them.
//!
//! A group of many members is divided into shares. Each share has a task that writes to it, so that
//! a message reaches the last member sooner where threads are free. The next message waits for all
//! of them: each member gets its messages in order.

use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::serve::websocket::connection::{Connection, Sent, Tally, WriteResult};
use crate::wire::frame::Frame;

/// How many sockets are written to before other tasks get their turn.
const BURST: usize = 1024;
/// A share has at least this many members. To write to them takes longer by far than to wake the
/// task that does it.
const SHARE_MIN: usize = if cfg!(test) { 2 } else { 256 };

/// The connections of the members.
pub(super) struct Members {
    /// At least one.
    shares: Vec<Vec<Arc<Connection>>>,
    /// The runtime's threads.
    threads: usize,
}

/// A member that no longer takes messages from the group.
pub(super) struct Departed {
    pub(super) connection: Arc<Connection>,
    /// How many of the frames were begun. None when the viewer has left.
    pub(super) begun: Option<usize>,
}

/// What became of a share.
#[derive(Default)]
struct Written {
    members: Vec<Arc<Connection>>,
    departed: Vec<Departed>,
    tally: Tally,
}

impl Members {
    /// No members yet. Call it in a task of the runtime.
    pub(super) fn new() -> Self {
        Self { shares: vec![Vec::new()], threads: Handle::current().metrics().num_workers() }
    }

    pub(super) fn len(&self) -> usize {
        self.shares.iter().map(Vec::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shares.iter().all(Vec::is_empty)
    }

    /// Whether they are too few for two shares, and written to before long.
    pub(super) fn are_few(&self) -> bool {
        self.len() < 2 * SHARE_MIN
    }

    pub(super) fn push(&mut self, member: Arc<Connection>) {
        if let Some(smallest) = self.shares.iter_mut().min_by_key(|share| share.len()) {
            smallest.push(member);
        }
    }

    /// Removes the members that have left.
    pub(super) fn remove_left(&mut self) {
        for share in &mut self.shares {
            share.retain(|member| !member.has_left());
        }
    }

    /// Removes all.
    pub(super) fn take(&mut self) -> Vec<Arc<Connection>> {
        std::mem::replace(&mut self.shares, vec![Vec::new()]).into_iter().flatten().collect()
    }

    /// Writes frames to all members. Returns those that have not taken all of them, and are members
    /// no more.
    pub(super) async fn write(&mut self, frames: &[Frame], sent: &Sent) -> Vec<Departed> {
        self.divide();
        let mut shares = std::mem::take(&mut self.shares).into_iter();
        let first = shares.next().unwrap_or_default();
        let writing: Vec<_> = if shares.len() == 0 {
            Vec::new()
        } else {
            let frames: Arc<[Frame]> = frames.into();
            let write = |share| {
                let frames = Arc::clone(&frames);
                tokio::spawn(async move { write_share(share, &frames).await })
            };
            shares.map(write).collect()
        };
        let mut all = vec![write_share(first, frames).await];
        for share in writing {
            match share.await {
                Ok(written) => all.push(written),
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                    // The runtime ends.
                }
            }
        }
        let mut departed = Vec::new();
        for written in all {
            sent.add(&written.tally);
            self.shares.push(written.members);
            departed.extend(written.departed);
        }
        departed
    }

    /// Divides the members anew when they have become too many or too few for their shares.
    fn divide(&mut self) {
        let len = self.len();
        let shares = shares(len, self.threads);
        if shares != self.shares.len() {
            let mut members = self.take().into_iter();
            let share = len.div_ceil(shares);
            self.shares = (0..shares).map(|_| members.by_ref().take(share).collect()).collect();
        }
    }
}

/// Into how many shares so many members are divided for so many threads.
fn shares(members: usize, threads: usize) -> usize {
    (members / SHARE_MIN).clamp(1, threads.max(1))
}

/// Writes frames to the members of a share.
async fn write_share(mut members: Vec<Arc<Connection>>, frames: &[Frame]) -> Written {
    let mut departed = Vec::new();
    let mut tally = Tally::default();
    let mut kept = 0;
    for at in 0..members.len() {
        if at % BURST == BURST - 1 {
            tokio::task::yield_now().await;
        }
        let begun = match members[at].write_frames(frames, &mut tally) {
            WriteResult::Complete => {
                members.swap(kept, at);
                kept += 1;
                continue;
            }
            WriteResult::Full(begun) => Some(begun),
            WriteResult::Left => None,
        };
        departed.push(Departed { connection: Arc::clone(&members[at]), begun });
    }
    members.truncate(kept);
    Written { members, departed, tally }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::websocket::connection::tests::{connected, fill};
    use crate::wire::frame::Packing;
    use tokio::io::AsyncReadExt;

    #[test]
    fn a_share_is_worth_a_task_and_there_are_no_more_than_threads() {
        for (members, threads, expected) in [
            (0, 4, 1),
            (1, 4, 1),
            (2 * SHARE_MIN - 1, 4, 1),
            (2 * SHARE_MIN, 4, 2),
            (100 * SHARE_MIN, 4, 4),
            (100 * SHARE_MIN, 1, 1),
        ] {
            assert_eq!(shares(members, threads), expected, "{members} for {threads}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn each_member_gets_each_message_once_and_in_order_whoever_writes() {
        let sent = Sent::default();
        let mut members = Members::new();
        let mut viewers = Vec::new();
        let frames: Vec<Frame> = (0..20).map(|n| Frame::text(&format!("message {n}"))).collect();
        for (number, pair) in frames.chunks(2).enumerate() {
            // One comes between any two messages.
            let (connection, viewer) = connected().await;
            members.push(connection);
            viewers.push((number, viewer));
            let departed = members.write(pair, &sent).await;
            assert!(departed.is_empty());
        }
        assert_eq!(members.shares.len(), 3);
        for (came, viewer) in &mut viewers {
            let expected: Vec<u8> = frames[2 * *came..]
                .iter()
                .flat_map(|frame| frame.encoded(Packing::Plain).to_vec())
                .collect();
            let mut got = vec![0; expected.len()];
            viewer.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected, "the viewer that came at {came}");
        }
        assert_eq!(sent.frames.get(), (1..=10).sum::<u64>() * 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn members_that_are_full_or_have_left_depart_from_any_share() {
        let sent = Sent::default();
        let mut members = Members::new();
        let mut viewers = Vec::new();
        for number in 0..9 {
            let (connection, viewer) = connected().await;
            if number % 3 == 1 {
                fill(&connection);
            }
            if number % 3 == 2 {
                connection.leave();
            }
            members.push(connection);
            viewers.push(viewer);
        }
        let departed = members.write(&[Frame::text("message")], &sent).await;
        assert_eq!(departed.iter().filter(|one| one.begun == Some(0)).count(), 3);
        assert_eq!(departed.iter().filter(|one| one.begun.is_none()).count(), 3);
        assert_eq!(members.len(), 3);
        members.take()[0].leave();
        assert!(members.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn few_members_are_one_share_again() {
        let mut members = Members::new();
        for _ in 0..8 {
            members.push(connected().await.0);
        }
        members.divide();
        assert_eq!(members.shares.iter().map(Vec::len).collect::<Vec<_>>(), [2; 4]);
        for member in members.shares.iter().flatten().skip(1) {
            member.leave();
        }
        members.remove_left();
        members.divide();
        assert_eq!(members.shares.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
    }
}
