//! Which viewers are behind their logs, and by how much.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::session::{Backlog, Session};

/// The viewers that have a session of their own now. Those of a broadcast group keep up.
#[derive(Clone, Debug, Default)]
pub(in crate::serve) struct BehindTable(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    backlogs: HashMap<u64, Backlog>,
    entered: u64,
}

/// A viewer's entry in the table, which ends with it.
#[derive(Debug)]
pub(in crate::serve) struct Behind {
    table: BehindTable,
    number: u64,
}

/// How far the viewers are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BehindNow {
    /// How many lack bytes.
    pub(super) viewers: u64,
    /// What they lack together.
    pub(super) bytes: u64,
    /// What the one lacks that is furthest behind.
    pub(super) most: u64,
}

impl BehindTable {
    /// Enters the viewer of a session.
    pub(in crate::serve) fn enter(&self, session: &Session) -> Behind {
        let mut table = self.0.lock();
        table.entered += 1;
        let number = table.entered;
        table.backlogs.insert(number, session.backlog());
        drop(table);
        Behind { table: self.clone(), number }
    }

    /// How far the viewers are behind now.
    pub(super) fn now(&self) -> BehindNow {
        let backlogs: Vec<Backlog> = self.0.lock().backlogs.values().cloned().collect();
        let lacking = backlogs.iter().filter_map(Backlog::bytes).filter(|&bytes| bytes > 0);
        lacking.fold(BehindNow::default(), |sum, bytes| BehindNow {
            viewers: sum.viewers + 1,
            bytes: sum.bytes + bytes,
            most: sum.most.max(bytes),
        })
    }
}

impl Behind {
    /// The session has sent more.
    pub(in crate::serve) fn update(&mut self, session: &Session) {
        self.table.0.lock().backlogs.insert(self.number, session.backlog());
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.table.0.lock().backlogs.remove(&self.number);
    }
}
