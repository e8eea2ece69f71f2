//! One session that speaks for many viewers, and writes what it says to their sockets itself.
//!
//! Viewers that are up to date stand at the same place of a log, and would all be told the same. So one session tells
//! it for all of them: it is woken once for each chunk, renders and encodes once, and walks over the sockets, with one
//! system call for each. A viewer whose socket takes no more leaves the walk with the rest of what was said, catches
//! up in a session of its own, and comes back. Chunks that come while a walk is under way go out together in the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::{DashMap, Entry};
use tokio::sync::Notify;

use crate::serve::App;
use crate::serve::websocket::connection::{Connection, Handback, Notice, WriteResult};
use crate::session::{Detached, Ending, GroupKey, GroupPosition, Output, SavedCursor, Session};
use crate::wire::frame::{Frame, Frames, Packing};

/// So many sockets are written to before others get their turn.
const BURST: usize = 1024;

/// The walks there are. Who takes messages as they are does not wait until they are deflated for others.
pub(in crate::serve) type BroadcastGroups = DashMap<(GroupKey, Packing), Arc<BroadcastGroup>>;

/// One walk, as its members know it.
pub(in crate::serve) struct BroadcastGroup {
    door: Mutex<Admission>,
    changed: Notify,
}

#[derive(Default)]
struct Admission {
    joining: Vec<JoiningViewer>,
    /// Some of the members have gone.
    left: bool,
    is_shut: bool,
}

/// A viewer that wants to be spoken for.
struct JoiningViewer {
    line: Arc<Connection>,
    standing: GroupPosition,
    standpoint: SavedCursor,
}

impl JoiningViewer {
    fn turn_away(self, frames: Frames, ending: Option<Ending>) {
        let standpoint = self.standpoint;
        self.line.notify(Notice::Handback(Box::new(Handback { frames, standpoint, ending })));
    }
}

impl BroadcastGroup {
    fn door(&self) -> MutexGuard<'_, Admission> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member has closed its line.
    pub(in crate::serve) fn left(&self) {
        self.door().left = true;
        self.changed.notify_one();
    }
}

/// Lets a viewer that is up to date be spoken for: by the walk that there is, or by its own session as a new one.
pub(in crate::serve) fn join(
    app: &Arc<App>,
    mut session: Session,
    standing: GroupPosition,
    line: &Arc<Connection>,
) -> Option<(Detached, Arc<BroadcastGroup>)> {
    let joiner =
        JoiningViewer { line: Arc::clone(line), standing, standpoint: session.saved_cursor() };
    let kind = (session.group_key(), line.packing());
    let parked = session.detach()?;
    let entry = app.groups.entry(kind.clone());
    if let Entry::Occupied(walk) = &entry {
        let mut door = walk.get().door();
        if !door.is_shut {
            door.joining.push(joiner);
            walk.get().changed.notify_one();
            drop(door);
            return Some((parked, Arc::clone(walk.get())));
        }
    }
    let door = Mutex::new(Admission { joining: vec![joiner], ..Admission::default() });
    let walk = Arc::new(BroadcastGroup { door, changed: Notify::new() });
    entry.insert(Arc::clone(&walk));
    let walking =
        GroupTask { members: Vec::new(), at: Some(standing), session, walk: Arc::clone(&walk) };
    let owner = Arc::clone(app);
    app.tasks.spawn(async move {
        let ended = walking.run().await;
        owner.groups.remove_if(&kind, |_, walk| Arc::ptr_eq(walk, &ended));
    });
    Some((parked, walk))
}

/// A walk, as its own task knows it.
struct GroupTask {
    session: Session,
    /// Where all members stand; none in the middle of something that takes several steps to say.
    at: Option<GroupPosition>,
    members: Vec<Arc<Connection>>,
    walk: Arc<BroadcastGroup>,
}

impl GroupTask {
    async fn run(mut self) -> Arc<BroadcastGroup> {
        loop {
            if !self.admit() {
                return self.walk;
            }
            let output = tokio::select! {
                biased;
                output = self.session.next() => output,
                () = self.walk.changed.notified() => continue,
            };
            // Who came meanwhile stands where the others do, or ahead.
            self.admit();
            match output {
                Output::Frames(frames) => self.say(&frames).await,
                Output::End(ending) => {
                    self.end(ending);
                    return self.walk;
                }
            }
        }
    }

    /// Lets those in who stand here, sends those away who are behind, and forgets those who have gone. False when
    /// nobody is left, and the door is shut.
    fn admit(&mut self) -> bool {
        let mut door = self.walk.door();
        if std::mem::take(&mut door.left) {
            self.members.retain(|line| !line.is_closed());
            door.joining.retain(|joiner| !joiner.line.is_closed());
        }
        for joiner in std::mem::take(&mut door.joining) {
            match &self.at {
                Some(at) if joiner.standing == *at => self.members.push(joiner.line),
                Some(at) if !joiner.standing.is_beyond(at) => joiner.turn_away(Frames::new(), None),
                _ => door.joining.push(joiner),
            }
        }
        door.is_shut = self.members.is_empty() && door.joining.is_empty();
        !door.is_shut
    }

    /// BroadcastGroups over the members.
    async fn say(&mut self, frames: &[Frame]) {
        let mut kept = 0;
        // Nothing to say is no reason to walk.
        let len = if frames.is_empty() { 0 } else { self.members.len() };
        for at in 0..len {
            if at % BURST == BURST - 1 {
                tokio::task::yield_now().await;
            }
            match self.members[at].offer(frames) {
                WriteResult::Taken => {
                    self.members.swap(kept, at);
                    kept += 1;
                }
                WriteResult::Full(taken) => {
                    let frames = frames.get(taken..).unwrap_or_default().to_vec();
                    let standpoint = self.session.saved_cursor();
                    let left = Handback { frames, standpoint, ending: None };
                    self.members[at].notify(Notice::Handback(Box::new(left)));
                }
                WriteResult::Closed => {}
            }
        }
        if len > 0 {
            self.members.truncate(kept);
        }
        self.at = self.session.group_position();
    }

    /// Nothing more comes: everybody gets what was held back, and takes leave by itself.
    fn end(&mut self, ending: Ending) {
        let frames = self.session.end_frames(ending);
        let mut door = self.walk.door();
        door.is_shut = true;
        for line in self.members.drain(..) {
            let standpoint = self.session.saved_cursor();
            let left = Handback { frames: frames.clone(), standpoint, ending: Some(ending) };
            line.notify(Notice::Handback(Box::new(left)));
        }
        for joiner in std::mem::take(&mut door.joining) {
            // It finds out by itself what it has not been given yet.
            joiner.turn_away(Frames::new(), None);
        }
    }
}
