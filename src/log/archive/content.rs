//! What is read of an open compressed file, whose original may still be written.

use std::fmt::{self, Debug, Formatter};
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::log::archive::store::{Archives, Key};
use crate::log::archive::unpacked::Unpacked;

/// A file that was changed is unpacked again when nobody has written to it for this long.
const REST_TIME: Duration = Duration::from_secs(1);
/// A file that is written to all the time is unpacked again this often.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);

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
}

impl Debug for Content {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Content").field(&self.copy()).finish()
    }
}

impl Content {
    pub(in crate::log) fn new(archives: Arc<Archives>, key: Key, copy: Arc<Unpacked>) -> Self {
        let state = State { key, copy, next: None, begun_at: Instant::now() };
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
            (state.key, state.copy) = (key, copy);
        }
        let key = Key::of(original);
        if state.next.is_none()
            && state.copy.has_ended()
            && key.is_ok_and(|key| key != state.key)
            && (is_at_rest(original) || state.begun_at.elapsed() >= BUSY_INTERVAL)
        {
            state.begun_at = Instant::now();
            state.next = self.archives.unpack(original).ok().flatten();
        }
        Arc::clone(&state.copy)
    }
}

fn is_at_rest(original: &File) -> bool {
    let written = original.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| {
        // A time in the future was set by hand.
        SystemTime::now().duration_since(written).map_or(true, |since| since >= REST_TIME)
    })
}
