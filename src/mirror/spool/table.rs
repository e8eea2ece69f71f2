//! The files of the spool by their names.
//!
//! While something is done with a file on the disk, its entry is busy: whoever wants the same file
//! waits, and nobody else does.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::mirror::spool::{Key, SpoolFile, Stored};

/// A file of the spool.
#[derive(Debug)]
pub(super) enum Kept {
    Open(Arc<SpoolFile>),
    Closed(Stored),
    /// Somebody opens, closes or removes it. It was closed, if something is known of it.
    Busy(Option<Stored>),
}

/// All files of a spool.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Mutex<HashMap<Key, Kept>>,
    /// An entry is no longer busy.
    done: Condvar,
}

/// A file, or the right to make it one.
pub(super) enum Taken<'t> {
    Open(Arc<SpoolFile>),
    Busy(Busy<'t>),
}

/// An entry that nobody else changes. Dropped, it is again what it was.
pub(super) struct Busy<'t> {
    table: &'t Table,
    key: Key,
    /// What it becomes; None if it is to be no more.
    becomes: Option<Kept>,
}

impl Table {
    /// What is known at the start.
    pub(super) fn with(closed: impl IntoIterator<Item = (Key, Stored)>) -> Self {
        let entries = closed.into_iter().map(|(key, stored)| (key, Kept::Closed(stored)));
        Self { entries: Mutex::new(entries.collect()), done: Condvar::new() }
    }

    /// The file, if it is open; else its entry. Waits while somebody else is busy with it.
    pub(super) fn take(&self, key: &Key) -> Taken<'_> {
        let mut entries = self.entries.lock();
        loop {
            match entries.get(key) {
                Some(Kept::Open(file)) => return Taken::Open(Arc::clone(file)),
                Some(Kept::Busy(_)) => self.done.wait(&mut entries),
                Some(Kept::Closed(stored)) => {
                    let stored = stored.clone();
                    entries.insert(key.clone(), Kept::Busy(Some(stored.clone())));
                    return Taken::Busy(self.busy(key, Some(Kept::Closed(stored))));
                }
                None => {
                    entries.insert(key.clone(), Kept::Busy(None));
                    return Taken::Busy(self.busy(key, None));
                }
            }
        }
    }

    /// The entry of a file that is closed now, and what is known of it.
    pub(super) fn take_closed(&self, key: &Key) -> Option<(Busy<'_>, Stored)> {
        let mut entries = self.entries.lock();
        let Some(Kept::Closed(stored)) = entries.get(key) else { return None };
        let stored = stored.clone();
        entries.insert(key.clone(), Kept::Busy(None));
        Some((self.busy(key, Some(Kept::Closed(stored.clone()))), stored))
    }

    /// The entry of an open file that nobody but the table and the caller holds.
    pub(super) fn take_unused(&self, key: &Key, file: &Arc<SpoolFile>) -> Option<Busy<'_>> {
        let mut entries = self.entries.lock();
        let is_its = matches!(entries.get(key), Some(Kept::Open(open)) if Arc::ptr_eq(open, file));
        if !is_its || Arc::strong_count(file) > 2 {
            return None;
        }
        entries.insert(key.clone(), Kept::Busy(Some(file.stored())));
        Some(self.busy(key, Some(Kept::Open(Arc::clone(file)))))
    }

    fn busy(&self, key: &Key, becomes: Option<Kept>) -> Busy<'_> {
        Busy { table: self, key: key.clone(), becomes }
    }

    /// What is known of one, open or closed. None of the questions is asked under the lock.
    pub(super) fn stored(&self, key: &Key) -> Option<Stored> {
        let open = match self.entries.lock().get(key)? {
            Kept::Open(file) => Arc::clone(file),
            Kept::Closed(stored) => return Some(stored.clone()),
            Kept::Busy(stored) => return stored.clone(),
        };
        Some(open.stored())
    }

    /// Whether there is one.
    pub(super) fn contains(&self, key: &Key) -> bool {
        !matches!(self.entries.lock().get(key), None | Some(Kept::Busy(None)))
    }

    /// The files that are open.
    pub(super) fn open(&self) -> Vec<(Key, Arc<SpoolFile>)> {
        let entries = self.entries.lock();
        let open = entries.iter().filter_map(|(key, kept)| match kept {
            Kept::Open(file) => Some((key.clone(), Arc::clone(file))),
            Kept::Closed(_) | Kept::Busy(_) => None,
        });
        open.collect()
    }

    /// What is known of those that are not open, as far as it is wanted.
    pub(super) fn closed<T>(&self, wanted: impl Fn(&Key, &Stored) -> Option<T>) -> Vec<T> {
        let entries = self.entries.lock();
        let closed = entries.iter().filter_map(|(key, kept)| match kept {
            Kept::Closed(stored) | Kept::Busy(Some(stored)) => wanted(key, stored),
            Kept::Open(_) | Kept::Busy(None) => None,
        });
        closed.collect()
    }
}

impl Busy<'_> {
    /// What is known of the file, as of one that was closed.
    pub(super) fn stored(&self) -> Option<&Stored> {
        match &self.becomes {
            Some(Kept::Closed(stored)) => Some(stored),
            Some(Kept::Open(_) | Kept::Busy(_)) | None => None,
        }
    }

    /// The file is this from now on.
    pub(super) fn put(mut self, kept: Kept) {
        self.becomes = Some(kept);
    }

    /// There is no such file any more.
    pub(super) fn remove(mut self) {
        self.becomes = None;
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut entries = self.table.entries.lock();
        let before = match self.becomes.take() {
            Some(kept) => entries.insert(self.key.clone(), kept),
            None => entries.remove(&self.key),
        };
        self.table.done.notify_all();
        drop(entries);
        // To close a file may take a while.
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::log::Generation;
    use crate::log::access::Identity;
    use crate::mirror::RemoteName;

    fn stored(inode: u64) -> (Key, Stored) {
        let name = RemoteName { host: "web".into(), path: b"/x".as_slice().into() };
        let generation = Generation::new(Identity { device: 1, inode }, 1, b"");
        let key = Key::of(&name, &generation);
        let (next, followed, noted) = (None, None, SystemTime::UNIX_EPOCH);
        (key, Stored { name, generation, next, end: 0, noted, followed, bytes: inode })
    }

    #[test]
    fn who_wants_a_busy_file_waits_and_nobody_else() {
        let ((one, its), (other, others)) = (stored(1), stored(2));
        let table = Table::with([(one.clone(), its), (other.clone(), others)]);
        let Taken::Busy(busy) = table.take(&one) else { panic!("it is not open") };
        std::thread::scope(|scope| {
            let (tell, told) = channel();
            let (table, same) = (&table, one.clone());
            let telling = tell.clone();
            scope.spawn(move || {
                let taken = table.take(&same);
                let bytes =
                    matches!(&taken, Taken::Busy(busy) if busy.stored().unwrap().bytes == 9);
                telling.send(("the same", bytes)).unwrap();
            });
            scope.spawn(move || {
                let taken = table.take(&other);
                let bytes =
                    matches!(&taken, Taken::Busy(busy) if busy.stored().unwrap().bytes == 2);
                tell.send(("another", bytes)).unwrap();
            });
            let limit = Duration::from_secs(30);
            assert_eq!(told.recv_timeout(limit), Ok(("another", true)));
            assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "it is busy");
            assert!(table.take_closed(&one).is_none(), "it is not removed meanwhile");
            assert!(table.contains(&one) && table.stored(&one).is_some());
            let (_, changed) = stored(1);
            busy.put(Kept::Closed(Stored { bytes: 9, ..changed }));
            assert_eq!(told.recv_timeout(limit), Ok(("the same", true)));
        });
        assert_eq!(table.stored(&one).unwrap().bytes, 9, "dropped, it is what it was");
    }

    #[test]
    fn what_is_removed_or_could_not_be_made_is_not_there() {
        let ((one, its), (other, _)) = (stored(1), stored(2));
        let table = Table::with([(one.clone(), its)]);
        let Taken::Busy(failed) = table.take(&other) else { panic!("it is not open") };
        assert!(!table.contains(&other));
        drop(failed);
        assert!(!table.contains(&other) && table.stored(&other).is_none());
        let (busy, its) = table.take_closed(&one).unwrap();
        assert_eq!(its.bytes, 1);
        assert!(!table.contains(&one), "nobody finds what goes");
        busy.remove();
        assert!(!table.contains(&one) && table.take_closed(&one).is_none());
    }
}
