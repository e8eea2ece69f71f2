//! What is read of an open compressed file, whose original may still be written.

use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::log::archive::Shortfall;
use crate::log::archive::store::{Archives, Key};
use crate::log::archive::unpacked::Unpacked;

/// A file that was changed is unpacked again when nobody has written to it for this long.
const REST_TIME: Duration = Duration::from_secs(1);
/// A file that is written to all the time is unpacked again this often.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);
/// A file for which there was no room is tried again after this time, and after so many times the
/// time that the try took.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);
const RETRY_PART: u32 = 10;

/// The content of an open compressed file.
pub(in crate::log) struct Content {
    archives: Arc<Archives>,
    state: Mutex<State>,
}

struct State {
    key: Key,
    copy: Arc<Unpacked>,
    /// The content after a change of the original, until it is unpacked.
    next: Option<(Key, Arc<Unpacked>)>,
    begun_at: Instant,
    /// What the original was changed to, and since when it stays so.
    changed: Option<(Key, Instant)>,
    /// When its end was noticed.
    ended_at: Option<Instant>,
}

impl State {
    /// Whether the original has changed since it was unpacked, and nobody writes to it now.
    fn is_changed(&mut self, original: &File) -> bool {
        let Some(key) = Key::of(original).ok().filter(|key| *key != self.key) else { return false };
        match self.changed {
            Some((seen, since)) if seen == key => {
                since.elapsed() >= REST_TIME || self.begun_at.elapsed() >= BUSY_INTERVAL
            }
            _ => {
                self.changed = Some((key, Instant::now()));
                self.begun_at.elapsed() >= BUSY_INTERVAL
            }
        }
    }

    /// Whether the copy was ended by something that may be over by now.
    fn is_retry_due(&self) -> bool {
        let may_be_over = self.copy.notice().is_some_and(|notice| {
            matches!(notice.shortfall, Shortfall::NoRoom | Shortfall::Unreadable)
        });
        let took = self.ended_at.map_or(Duration::ZERO, |ended| ended - self.begun_at);
        may_be_over && self.begun_at.elapsed() >= RETRY_INTERVAL.max(took * RETRY_PART)
    }
}

impl Debug for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.copy()).finish()
    }
}

impl Content {
    pub(in crate::log) fn new(archives: Arc<Archives>, key: Key, copy: Arc<Unpacked>) -> Self {
        let begun_at = Instant::now();
        let state = State { key, copy, next: None, begun_at, changed: None, ended_at: None };
        Self { archives, state: Mutex::new(state) }
    }

    pub(in crate::log) fn copy(&self) -> Arc<Unpacked> {
        Arc::clone(&self.state.lock().copy)
    }

    /// The same after a look at the original. Where that has changed, it is unpacked again, and its
    /// new content takes the place of the old one when it is complete. So a file that is still being
    /// compressed grows, as any other log.
    pub(in crate::log) fn refreshed(&self, original: &File) -> Arc<Unpacked> {
        let mut state = self.state.lock();
        if let Some((key, copy)) = state.next.take_if(|(_, copy)| copy.has_ended()) {
            (state.key, state.copy, state.ended_at) = (key, copy, None);
        }
        if state.next.is_some() || !state.copy.has_ended() {
            return Arc::clone(&state.copy);
        }
        state.ended_at.get_or_insert_with(Instant::now);
        if state.is_changed(original) || state.is_retry_due() {
            state.begun_at = Instant::now();
            state.next = self.archives.unpack(original).ok().flatten();
        }
        Arc::clone(&state.copy)
    }
}
