//! Reads parts of a log from end to end for a sink, in steps that are bounded in time.

use std::time::{Duration, Instant};

use crate::log::Offset;
use crate::search::scan::{RowSink, Scan};
use crate::search::{SearchError, Snapshot};
use crate::wire::frame::Form;

/// The longest time of one reading, without the time that it waits for others.
pub const FIND_TIME_MAX: Duration = Duration::from_secs(10);

/// Why a reading ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedEarly {
    /// It took too long.
    Time,
    /// The file was truncated.
    Gone,
}

/// A reading in progress.
pub(super) struct Reading {
    snapshot: Snapshot,
    form: Form,
    scan: Scan,
    /// The start of the present scan.
    scan_start: Offset,
    /// The part that is read after the present scan.
    next_part: Option<(Offset, Offset)>,
    /// The number of bytes read in earlier scans.
    read_before: u64,
    spent: Duration,
    ended_early: Option<EndedEarly>,
}

impl Reading {
    /// Begins to read the rows that begin in a part of the log, from its first offset on and before
    /// the second one, and then those of another part.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn new(
        snapshot: Snapshot,
        (from, to): (Offset, Offset),
        next_part: Option<(Offset, Offset)>,
        form: Form,
    ) -> Result<Self, SearchError> {
        let scan = Scan::new(&snapshot, from, to, form)?;
        Ok(Self {
            snapshot,
            form,
            scan,
            scan_start: from,
            next_part,
            read_before: 0,
            spent: Duration::ZERO,
            ended_early: None,
        })
    }

    /// Goes on in a part of another file. Its time is that of the whole reading.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn go_on_in(
        &mut self,
        snapshot: Snapshot,
        (from, to): (Offset, Offset),
    ) -> Result<(), SearchError> {
        let scan = Scan::new(&snapshot, from, to, self.form)?;
        self.read_before = self.bytes();
        (self.snapshot, self.scan, self.scan_start) = (snapshot, scan, from);
        (self.next_part, self.ended_early) = (None, None);
        Ok(())
    }

    /// Reads on for `slice`. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) fn run(
        &mut self,
        sink: &mut impl RowSink,
        slice: Duration,
    ) -> Result<(), SearchError> {
        let since = Instant::now();
        let until = since + slice;
        loop {
            self.scan.run(sink, until)?;
            if !self.scan.is_done() {
                break;
            }
            let Some((from, to)) = self.next_part.take() else { break };
            self.read_before = self.bytes();
            self.scan = Scan::new(&self.snapshot, from, to, self.form)?;
            self.scan_start = from;
        }
        self.spent += since.elapsed();
        if !self.snapshot.is_intact()? {
            self.ended_early = Some(EndedEarly::Gone);
        } else if !self.is_complete() && self.spent >= FIND_TIME_MAX {
            self.ended_early = Some(EndedEarly::Time);
        }
        Ok(())
    }

    /// Whether all parts were read.
    pub(super) fn is_complete(&self) -> bool {
        self.ended_early.is_none() && self.scan.is_done() && self.next_part.is_none()
    }

    /// Whether the reading is complete or ended early.
    pub(super) fn is_done(&self) -> bool {
        self.ended_early.is_some() || self.is_complete()
    }

    /// Why it ended early; `None` if it did not.
    pub(super) fn ended_early(&self) -> Option<EndedEarly> {
        self.ended_early
    }

    /// The number of bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.read_before + self.scan.position().0.saturating_sub(self.scan_start.0)
    }

    /// The end of what was read last.
    pub(super) fn position(&self) -> Offset {
        self.scan.position()
    }
}
