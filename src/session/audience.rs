//! Who views each log now, for viewers that want to know.
//!
//! Viewers come and go all the time. So what changed is told at most once a second for each log, and
//! less often the more viewers there are, in one message that all of them share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::log::LogPath;
use crate::wire::frame::Frame;
use crate::wire::message::Message;

/// The shortest time between two messages about one log.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// What changes within this time is told together, even after a long quiet.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// Above this number of viewers, the interval grows with the number: one message goes to all of them.
const VIEWERS_PER_INTERVAL: u32 = 1000;
/// The most names in a message.
pub const NAMES_MAX: usize = 20;

/// The audiences of all logs.
#[derive(Debug)]
pub struct Audiences {
    logs: DashMap<LogPath, Arc<Audience>>,
    closed: CancellationToken,
    _close: DropGuard,
}

impl Default for Audiences {
    fn default() -> Self {
        let closed = CancellationToken::new();
        Self { logs: DashMap::new(), _close: closed.clone().drop_guard(), closed }
    }
}

/// The viewers of one log.
#[derive(Debug)]
struct Audience {
    log: LogPath,
    members: Mutex<Members>,
    told: watch::Sender<Option<Frame>>,
}

#[derive(Debug, Default)]
struct Members {
    count: u32,
    /// The names of those that are signed in, with how many of them have that name.
    names: BTreeMap<Arc<str>, u32>,
    /// When the last message was made.
    told_at: Option<Instant>,
    is_due: bool,
}

/// An audience as long as somebody needs it.
#[derive(Debug)]
struct AudienceHandle {
    audiences: Arc<Audiences>,
    /// Always there until the drop.
    audience: Option<Arc<Audience>>,
}

/// One viewer as a member of its log's audience. It leaves when it is dropped.
#[derive(Debug)]
pub struct AudienceMember {
    handle: AudienceHandle,
    name: Option<Arc<str>>,
}

/// The messages about a log's audience.
#[derive(Debug)]
pub struct AudienceMessages {
    told: watch::Receiver<Option<Frame>>,
    _handle: AudienceHandle,
}

impl Members {
    fn message(&self) -> Message {
        Message::Viewers { count: self.count, names: self.first_names() }
    }

    fn first_names(&self) -> Vec<String> {
        self.names.keys().take(NAMES_MAX).map(ToString::to_string).collect()
    }

    /// When the next message may be made.
    fn due_at(&self, now: Instant) -> Instant {
        let interval = INTERVAL_MIN * (self.count / VIEWERS_PER_INTERVAL).max(1);
        let earliest = now + SETTLE_TIME;
        self.told_at.map_or(earliest, |told_at| earliest.max(told_at + interval))
    }
}

impl Audience {
    /// Makes a message about what has changed, if it is not the same as the last one.
    fn tell(&self) {
        let mut members = self.members.lock();
        members.is_due = false;
        members.told_at = Some(Instant::now());
        let frame = Frame::text(&members.message().to_json());
        drop(members);
        self.told.send_if_modified(|told| {
            let is_new = told.as_ref().is_none_or(|told| told.payload() != frame.payload());
            if is_new {
                *told = Some(frame);
            }
            is_new
        });
    }
}

impl Audiences {
    /// A viewer comes. Its name is none if nobody signs in here.
    pub fn enter(self: &Arc<Self>, log: &LogPath, name: Option<Arc<str>>) -> AudienceMember {
        let member = AudienceMember { handle: self.handle(log), name };
        member.change(|members, name| {
            members.count += 1;
            if let Some(name) = name {
                *members.names.entry(Arc::clone(name)).or_default() += 1;
            }
        });
        member
    }

    /// The names of those who view each log now, as in the messages. Logs whose viewers have none
    /// are left out, and so are patterns.
    pub fn names_by_path(&self) -> HashMap<PathBuf, Vec<String>> {
        let named = |log: &LogPath, audience: &Audience| {
            let names = audience.members.lock().first_names();
            let is_told = log.pattern().is_none() && !names.is_empty();
            is_told.then(|| (log.as_path().to_owned(), names))
        };
        self.logs.iter().filter_map(|entry| named(entry.key(), entry.value())).collect()
    }

    /// The messages about a log's audience, beginning with the last one.
    pub(super) fn messages(self: &Arc<Self>, log: &LogPath) -> AudienceMessages {
        let handle = self.handle(log);
        let told = handle.audience.as_ref().map_or_else(
            || watch::channel(None).1,
            |audience| {
                let mut told = audience.told.subscribe();
                if told.borrow().is_some() {
                    told.mark_changed();
                }
                told
            },
        );
        AudienceMessages { told, _handle: handle }
    }

    fn handle(self: &Arc<Self>, log: &LogPath) -> AudienceHandle {
        // Those with other rights view the same log.
        let log = log.in_scope(None);
        let audience = self.logs.entry(log.clone()).or_insert_with(|| {
            let (told, _) = watch::channel(None);
            Arc::new(Audience { log, members: Mutex::default(), told })
        });
        let audience = Some(Arc::clone(&audience));
        AudienceHandle { audiences: Arc::clone(self), audience }
    }

    /// Makes a message when it is due.
    fn tell_later(&self, audience: Weak<Audience>, at: Instant) {
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(self.closed.clone().run_until_cancelled_owned(async move {
            sleep_until(at).await;
            if let Some(audience) = audience.upgrade() {
                audience.tell();
            }
        }));
    }
}

impl Drop for AudienceHandle {
    fn drop(&mut self) {
        let Some(audience) = self.audience.take() else { return };
        let log = audience.log.clone();
        drop(audience);
        self.audiences.logs.remove_if(&log, |_, audience| Arc::strong_count(audience) == 1);
    }
}

impl AudienceMember {
    /// The log.
    #[must_use]
    pub fn log(&self) -> Option<&LogPath> {
        self.handle.audience.as_ref().map(|audience| &audience.log)
    }

    /// The viewer's name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn change(&self, change: impl FnOnce(&mut Members, Option<&Arc<str>>)) {
        let Some(audience) = &self.handle.audience else { return };
        let mut members = audience.members.lock();
        change(&mut members, self.name.as_ref());
        if !std::mem::replace(&mut members.is_due, true) {
            let at = members.due_at(Instant::now());
            self.handle.audiences.tell_later(Arc::downgrade(audience), at);
        }
    }
}

impl Drop for AudienceMember {
    fn drop(&mut self) {
        self.change(|members, name| {
            members.count -= 1;
            if let Some(name) = name
                && let Some(number) = members.names.get_mut(name)
            {
                *number -= 1;
                if *number == 0 {
                    members.names.remove(name);
                }
            }
        });
    }
}

impl AudienceMessages {
    /// The next message. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Frame {
        loop {
            if self.told.changed().await.is_err() {
                // The sender lives as long as the handle, so this does not happen.
                std::future::pending::<()>().await;
            }
            if let Some(frame) = self.told.borrow_and_update().clone() {
                return frame;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::log::Access;

    fn scene() -> (tempfile::TempDir, LogPath, Arc<Audiences>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, "x\n").unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let log = access.locate(path.as_os_str().as_encoded_bytes()).unwrap();
        (directory, log, Arc::default())
    }

    async fn next(messages: &mut AudienceMessages) -> String {
        let frame = timeout(Duration::from_secs(3600), messages.next()).await.expect("a message");
        String::from_utf8(frame.payload().to_vec()).unwrap()
    }

    async fn is_silent(messages: &mut AudienceMessages, time: Duration) -> bool {
        timeout(time, messages.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_told_together_and_at_most_once_a_second() {
        let (_directory, log, audiences) = scene();
        let mut messages = audiences.messages(&log);
        let first = audiences.enter(&log, None);
        let second = audiences.enter(&log, None);
        assert_eq!(next(&mut messages).await, r#"{"type":"viewers","count":2}"#);
        let told_at = Instant::now();
        let third = audiences.enter(&log, None);
        assert!(is_silent(&mut messages, Duration::from_millis(900)).await);
        assert_eq!(next(&mut messages).await, r#"{"type":"viewers","count":3}"#);
        assert!(told_at.elapsed() >= INTERVAL_MIN);
        drop((first, second));
        assert_eq!(next(&mut messages).await, r#"{"type":"viewers","count":1}"#);
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_back_in_time_is_not_told_and_who_comes_later_hears_the_last() {
        let (_directory, log, audiences) = scene();
        let _stays = audiences.enter(&log, None);
        let mut messages = audiences.messages(&log);
        assert!(next(&mut messages).await.contains("\"count\":1"));
        drop(audiences.enter(&log, None));
        assert!(is_silent(&mut messages, Duration::from_secs(60)).await);
        assert!(next(&mut audiences.messages(&log)).await.contains("\"count\":1"));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_told_once_each_in_order_and_not_without_bound() {
        let (_directory, log, audiences) = scene();
        let enter = |name: &str| audiences.enter(&log, Some(Arc::from(name)));
        let mut messages = audiences.messages(&log);
        let _two = (enter("bob"), enter("ann"));
        let again = enter("bob");
        let both = r#"{"type":"viewers","count":3,"names":["ann","bob"]}"#;
        assert_eq!(next(&mut messages).await, both);
        drop(again);
        assert_eq!(next(&mut messages).await, both.replace('3', "2"));
        let _many: Vec<_> = (0..50).map(|number| enter(&format!("z{number}"))).collect();
        let told = next(&mut messages).await;
        assert!(told.contains("\"count\":52"), "{told}");
        assert_eq!(told.matches(",\"z").count() + 2, NAMES_MAX, "{told}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_viewers_the_fewer_messages() {
        let (_directory, log, audiences) = scene();
        let mut messages = audiences.messages(&log);
        let _many: Vec<_> = (0..5000).map(|_| audiences.enter(&log, None)).collect();
        assert!(next(&mut messages).await.contains("\"count\":5000"));
        let _one = audiences.enter(&log, None);
        assert!(is_silent(&mut messages, Duration::from_millis(4900)).await);
        assert!(next(&mut messages).await.contains("\"count\":5001"));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_a_log_without_viewers() {
        let (_directory, log, audiences) = scene();
        let messages = audiences.messages(&log);
        drop(audiences.enter(&log, None));
        assert_eq!(audiences.logs.len(), 1);
        drop(messages);
        advance(Duration::from_secs(5)).await;
        assert!(audiences.logs.is_empty());
    }
}
