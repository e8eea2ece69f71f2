//! Broadcast groups: one session that sends to many viewers.
//!
//! Viewers that are up to date are at the same position of a log and get the same frames. So one
//! session produces them: it is woken once for each chunk, renders and encodes once, and writes to
//! all sockets, with one system call for each. A viewer whose socket is full leaves the group with
//! the frames that it still lacks, catches up in a session of its own, and joins again. Chunks that
//! come during a broadcast are sent together in the next one.
//!
//! All members are at the position of the group's session. A viewer that joins must be at the same
//! position, or be ahead and wait.

use std::sync::Arc;

use dashmap::{DashMap, Entry};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::log::nearby::{self, IsSmall};
use crate::serve::App;
use crate::serve::metrics::Delivery;
use crate::serve::websocket::connection::{Connection, Handback, Notice, Sent};
use crate::serve::websocket::members::{Departed, Members};
use crate::session::{Detached, Ending, GroupKey, GroupPosition, Output, SavedCursor, Session};
use crate::wire::frame::{Frame, Frames, Packing};

/// The groups of a server. Viewers without compression have groups of their own, so that they never
/// wait for compression.
pub(in crate::serve) type BroadcastGroups = DashMap<(GroupKey, Packing), Arc<BroadcastGroup>>;

/// A group, as its members see it.
pub(in crate::serve) struct BroadcastGroup {
    key: GroupKey,
    admission: Mutex<Admission>,
    /// Wakes the group's task when `admission` has changed.
    changed: Notify,
}

#[derive(Default)]
struct Admission {
    joining: Vec<JoiningViewer>,
    /// Some of the members have left.
    has_lost_members: bool,
    /// The group has ended, or is about to end. No viewer can join it any more.
    is_closed: bool,
}

/// A viewer that wants to join.
struct JoiningViewer {
    connection: Arc<Connection>,
    position: GroupPosition,
    cursor: SavedCursor,
}

impl JoiningViewer {
    /// Returns the viewer to its own session, which sends what it lacks.
    fn decline(self) {
        let (frames, cursor) = (Frames::new(), self.cursor);
        let handback = Handback { frames, cursor, behind: None, ending: None };
        self.connection.notify(Notice::Handback(Box::new(handback)));
    }
}

impl BroadcastGroup {
    /// What its sessions have in common.
    pub(in crate::serve) fn key(&self) -> &GroupKey {
        &self.key
    }

    /// Called when a member's connection [has left](Connection::leave).
    pub(in crate::serve) fn member_left(&self) {
        self.admission.lock().has_lost_members = true;
        self.changed.notify_one();
    }
}

/// Lets a viewer that is up to date join the group of its log and form. If there is no such group,
/// its session becomes that of a new group. None when the session's log has ended.
pub(in crate::serve) fn join(
    app: &Arc<App>,
    mut session: Session,
    position: GroupPosition,
    connection: &Arc<Connection>,
) -> Option<(Detached, Arc<BroadcastGroup>)> {
    let cursor = session.saved_cursor();
    let joining = JoiningViewer { connection: Arc::clone(connection), position, cursor };
    let key = (session.group_key(), connection.packing());
    let detached = session.detach()?;
    let entry = app.groups.entry(key.clone());
    if let Entry::Occupied(group) = &entry {
        let mut admission = group.get().admission.lock();
        if !admission.is_closed {
            admission.joining.push(joining);
            group.get().changed.notify_one();
            drop(admission);
            return Some((detached, Arc::clone(group.get())));
        }
    }
    let admission = Mutex::new(Admission { joining: vec![joining], ..Admission::default() });
    let changed = Notify::new();
    let group = Arc::new(BroadcastGroup { key: key.0.clone(), admission, changed });
    entry.insert(Arc::clone(&group));
    let is_small = IsSmall::default();
    let task = GroupTask {
        members: Members::new(),
        is_small: is_small.clone(),
        position: Some(position),
        session,
        group: Arc::clone(&group),
        delivery: app.metrics.delivery.clone(),
        sent: Arc::clone(&app.sent),
    };
    let owner = Arc::clone(app);
    app.tasks.spawn(async move {
        let ended = nearby::spawn(task.run(), is_small).await;
        owner.groups.remove_if(&key, |_, group| Arc::ptr_eq(group, &ended));
    });
    Some((detached, group))
}

/// What a group does with a viewer that wants to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Admit,
    /// It is ahead. The group will reach its position.
    Wait,
    /// It is behind, or in another generation.
    Decline,
}

/// Decides by the position of the viewer and that of the group, which is none in the middle of an
/// output of several steps.
fn judge(group: Option<&GroupPosition>, viewer: &GroupPosition) -> Verdict {
    match group {
        Some(group) if viewer == group => Verdict::Admit,
        Some(group) if !viewer.is_beyond(group) => Verdict::Decline,
        Some(_) | None => Verdict::Wait,
    }
}

/// A group, as its own task sees it.
struct GroupTask {
    session: Session,
    /// The position of all members. None in the middle of an output of several steps.
    position: Option<GroupPosition>,
    members: Members,
    /// Whether the follower's thread may write to all members.
    is_small: IsSmall,
    group: Arc<BroadcastGroup>,
    delivery: Delivery,
    sent: Arc<Sent>,
}

impl GroupTask {
    /// Sends the session's messages until no member is left or the log ends.
    async fn run(mut self) -> Arc<BroadcastGroup> {
        loop {
            if !self.admit() {
                return self.group;
            }
            let output = tokio::select! {
                biased;
                output = self.session.next() => output,
                () = self.group.changed.notified() => continue,
            };
            // Viewers that joined meanwhile are at the members' position, or ahead of it.
            self.admit();
            match output {
                Output::Frames(frames) => self.broadcast(&frames).await,
                Output::End(ending) => {
                    self.end(ending);
                    return self.group;
                }
            }
        }
    }

    /// Admits or declines joining viewers, and removes members that have left. Returns false when
    /// nobody is left, and the group is closed.
    fn admit(&mut self) -> bool {
        let mut admission = self.group.admission.lock();
        if std::mem::take(&mut admission.has_lost_members) {
            self.members.remove_left();
            admission.joining.retain(|joining| !joining.connection.has_left());
        }
        for joining in std::mem::take(&mut admission.joining) {
            match judge(self.position.as_ref(), &joining.position) {
                Verdict::Admit => self.members.push(joining.connection),
                Verdict::Wait => admission.joining.push(joining),
                Verdict::Decline => joining.decline(),
            }
        }
        self.is_small.set(self.members.are_few());
        admission.is_closed = self.members.is_empty() && admission.joining.is_empty();
        !admission.is_closed
    }

    /// Writes frames to all members. A member whose socket is full returns to its own session.
    async fn broadcast(&mut self, frames: &[Frame]) {
        if !frames.is_empty() {
            for Departed { connection, begun } in self.members.write(frames, &self.sent).await {
                // A viewer that has left needs nothing.
                let Some(begun) = begun else { continue };
                let frames = frames.get(begun..).unwrap_or_default().to_vec();
                let cursor = self.session.saved_cursor();
                let behind = self.session.one_behind();
                let handback = Handback { frames, cursor, behind, ending: None };
                connection.notify(Notice::Handback(Box::new(handback)));
            }
        }
        self.position = self.session.group_position();
        if let Some(written) = self.session.take_written()
            && !frames.is_empty()
            && !self.members.is_empty()
        {
            self.delivery.observe(written);
        }
    }

    /// Returns all members to their own sessions with the last frames, because nothing more comes.
    fn end(&mut self, ending: Ending) {
        let frames = self.session.end_frames(ending);
        let mut admission = self.group.admission.lock();
        admission.is_closed = true;
        for member in self.members.take() {
            let cursor = self.session.saved_cursor();
            let (frames, ending) = (frames.clone(), Some(ending));
            let handback = Handback { frames, cursor, behind: None, ending };
            member.notify(Notice::Handback(Box::new(handback)));
        }
        for joining in std::mem::take(&mut admission.joining) {
            joining.decline();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Access;
    use crate::serve::websocket::connection::tests::{connected, fill};
    use crate::serve::{Server, Settings};
    use crate::session::{Form, StartAt, StreamRequest};
    use std::future::poll_fn;
    use std::io::Write;
    use std::time::Duration;
    use tempfile::TempDir;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    const DEADLINE: Duration = Duration::from_secs(20);

    /// A log that is followed by a server without a port.
    struct Scene {
        directory: TempDir,
        app: Arc<App>,
    }

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let access = Access::new([directory.path()]).unwrap();
            let app = Server::new(access, Settings::default()).app;
            let scene = Self { directory, app };
            scene.append("start\n");
            scene
        }

        fn append(&self, line: &str) {
            let path = self.directory.path().join("a.log");
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        }

        /// A session that has sent everything so far.
        async fn session(&self) -> (Session, GroupPosition) {
            let path = self.directory.path().join("a.log");
            let log = self
                .app
                .hub
                .registry()
                .access()
                .locate(path.as_os_str().as_encoded_bytes())
                .unwrap();
            let start = StreamRequest { tail: true, ..StreamRequest::new(StartAt::Lines(0)) };
            let mut session = self.app.hub.join(&log, start, Form::Text).await.unwrap();
            session.begin().await;
            let until = Instant::now() + DEADLINE;
            loop {
                if let Some(position) = session.idle_position() {
                    return (session, position);
                }
                assert!(Instant::now() < until, "the session does not catch up");
                // It may only drop chunks that it already has, and then wait for more.
                let _output = timeout(Duration::from_millis(10), session.next()).await;
            }
        }

        /// A viewer that has joined its group.
        async fn member(&self) -> (Arc<Connection>, TcpStream, Arc<BroadcastGroup>, Detached) {
            let (session, position) = self.session().await;
            let (connection, viewer) = connected().await;
            let (detached, group) = join(&self.app, session, position, &connection).unwrap();
            (connection, viewer, group, detached)
        }
    }

    async fn notice(connection: &Connection) -> Notice {
        timeout(DEADLINE, poll_fn(|cx| connection.poll_notice(cx))).await.unwrap()
    }

    async fn expect_text(viewer: &mut TcpStream, text: &str) {
        let wanted = Frame::text(text).encoded(Packing::Plain).clone();
        let mut got = vec![0; wanted.len()];
        timeout(DEADLINE, viewer.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, wanted);
    }

    #[tokio::test]
    async fn viewers_join_at_the_groups_position_wait_ahead_of_it_and_are_declined_behind() {
        let scene = Scene::new();
        let (_first, here) = scene.session().await;
        scene.append("more\n");
        let ahead = async {
            loop {
                let (_second, position) = scene.session().await;
                if position != here {
                    break position;
                }
            }
        };
        let ahead = timeout(DEADLINE, ahead).await.unwrap();
        assert_eq!(judge(Some(&here), &here), Verdict::Admit);
        assert_eq!(judge(Some(&here), &ahead), Verdict::Wait);
        assert_eq!(judge(Some(&ahead), &here), Verdict::Decline);
        assert_eq!(judge(None, &here), Verdict::Wait);
    }

    #[tokio::test]
    async fn members_get_the_same_frames_from_one_group() {
        let scene = Scene::new();
        let (_first, mut a, group, _a) = scene.member().await;
        let (_second, mut b, same, _b) = scene.member().await;
        assert!(Arc::ptr_eq(&group, &same));
        scene.append("to all\n");
        expect_text(&mut a, "to all\n").await;
        expect_text(&mut b, "to all\n").await;
    }

    #[tokio::test]
    async fn a_member_whose_socket_is_full_is_handed_back_with_what_it_lacks() {
        let scene = Scene::new();
        let (slow, _unread, _group, _slow) = scene.member().await;
        let (_fast, mut viewer, _same, _fast_detached) = scene.member().await;
        scene.append("first\n");
        expect_text(&mut viewer, "first\n").await;
        fill(&slow);
        scene.append("second\n");
        expect_text(&mut viewer, "second\n").await;
        let Notice::Handback(handback) = notice(&slow).await else { panic!("no handback") };
        let lacking: Vec<_> = handback.frames.iter().map(Frame::payload).collect();
        assert_eq!(lacking, ["second\n".as_bytes()]);
        assert!(handback.ending.is_none());
        scene.append("third\n");
        expect_text(&mut viewer, "third\n").await;
    }

    #[tokio::test]
    async fn a_group_without_members_ends() {
        let scene = Scene::new();
        let (connection, _viewer, group, _detached) = scene.member().await;
        assert_eq!(scene.app.groups.len(), 1);
        connection.leave();
        group.member_left();
        let ended = async {
            while !scene.app.groups.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, ended).await.unwrap();
    }

    #[tokio::test]
    async fn at_the_end_every_member_is_handed_back_with_the_ending() {
        let scene = Scene::new();
        let (connection, _viewer, _group, _detached) = scene.member().await;
        scene.app.hub.registry().close().await;
        let Notice::Handback(handback) = notice(&connection).await else { panic!("no handback") };
        assert_eq!(handback.ending, Some(Ending::Shutdown));
    }
}
