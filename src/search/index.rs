//! Which line an offset is in, and where a line begins.
//!
//! A sparse table holds how many newlines come before each block of the file. It is made when somebody asks, grows with
//! the log, and belongs to one generation. Within a block the newlines are counted anew each time, which takes
//! microseconds; the table for 4 GiB weighs 128 KiB.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::log::{Generation, LogPath, Offset};
use crate::search::Snapshot;

/// The size of the blocks at first. It doubles when there are too many of them.
const BLOCK_BYTES: u64 = 256 * 1024;
/// The unit in which the newlines within a block are counted.
const READ_BYTES: usize = 64 * 1024;
/// So many blocks of one log are kept count of, at most: 1 MiB.
const BLOCKS_MAX: usize = 128 * 1024;
/// So many logs are kept count of, at most. The one that nobody has asked about for longest goes first.
const INDEXES_MAX: usize = 16;
/// A log that nobody asks about for so long is kept count of no more.
const IDLE: Duration = Duration::from_secs(300);

/// The newlines of one generation of a log, as far as they have been counted.
#[derive(Debug)]
struct BlockCounts {
    block_bytes: u64,
    /// How many newlines come before each block. The last of them is still being counted.
    before: Vec<u64>,
    /// Newlines before `to`.
    lines: u64,
    to: Offset,
}

impl Default for BlockCounts {
    fn default() -> Self {
        Self { block_bytes: BLOCK_BYTES, before: vec![0], lines: 0, to: Offset(0) }
    }
}

impl BlockCounts {
    /// Where the block ends that is being counted.
    fn block_end(&self) -> u64 {
        self.before.len() as u64 * self.block_bytes
    }

    /// Takes note of newlines that come next. They do not reach beyond the block.
    fn add(&mut self, len: usize, newlines: usize) {
        self.to = self.to.plus(len);
        self.lines += newlines as u64;
        if self.to.0 == self.block_end() {
            self.before.push(self.lines);
        }
        if self.before.len() > BLOCKS_MAX {
            let mut nth = 0;
            self.before.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.block_bytes *= 2;
        }
    }
}

/// The line index of one generation of a log.
#[derive(Debug, Default)]
pub struct LineIndex {
    counts: Mutex<BlockCounts>,
    /// Somebody sees to it that it grows.
    pub(super) is_growing: AtomicBool,
}

impl LineIndex {
    fn counts(&self) -> MutexGuard<'_, BlockCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of the file has been counted.
    #[must_use]
    pub fn indexed(&self) -> Offset {
        self.counts().to
    }

    /// BlockCounts on until all of the view has been counted or the time is up. Says whether all has been. It blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn grow(&self, view: &Snapshot, until: Instant) -> io::Result<bool> {
        loop {
            let (from, block_end) = {
                let counts = self.counts();
                (counts.to, counts.block_end())
            };
            if from >= view.end {
                return Ok(true);
            }
            let len = BLOCK_BYTES.min(block_end - from.0) as usize;
            let bytes = view.read(from, len)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            let newlines = memchr::memchr_iter(b'\n', &bytes).count();
            let mut counts = self.counts();
            // Another may have counted the same.
            if counts.to == from && counts.block_end() == block_end {
                counts.add(bytes.len(), newlines);
            }
            drop(counts);
            if Instant::now() >= until {
                return Ok(self.indexed() >= view.end);
            }
        }
    }

    /// How many newlines come before an offset. None where it has not been counted so far. It blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn newlines(&self, view: &Snapshot, offset: Offset) -> io::Result<Option<u64>> {
        Counting::new(self, view).before(offset)
    }

    /// The numbers of the lines that begin at these offsets, which increase. None for one that begins no line, or has
    /// not been counted so far. It blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn numbers(
        &self,
        view: &Snapshot,
        offsets: impl IntoIterator<Item = Offset>,
    ) -> io::Result<Vec<Option<u64>>> {
        let mut counting = Counting::new(self, view);
        offsets.into_iter().map(|offset| counting.number(offset)).collect()
    }

    /// Where a line begins, counted from 1; the last one stands for those behind it. None where it has not been counted
    /// so far. It blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn start_of(&self, view: &Snapshot, line: u64) -> io::Result<Option<Offset>> {
        // It begins behind so many newlines.
        let mut newlines = line.saturating_sub(1);
        if let Some(all) = self.newlines(view, view.end)? {
            let last = view.read(Offset(view.end.0.saturating_sub(1)), 1)?;
            newlines = newlines.min(all.saturating_sub(u64::from(last == b"\n")));
        }
        if newlines == 0 {
            return Ok(Some(Offset(0)));
        }
        let (mut at, mut missing) = {
            let counts = self.counts();
            if newlines > counts.lines {
                return Ok(None);
            }
            let block = counts.before.partition_point(|&before| before < newlines) - 1;
            (Offset(block as u64 * counts.block_bytes), newlines - counts.before[block])
        };
        loop {
            let bytes = view.read(at, READ_BYTES)?;
            for newline in memchr::memchr_iter(b'\n', &bytes) {
                missing -= 1;
                if missing == 0 {
                    return Ok(Some(at.plus(newline + 1)));
                }
            }
            if bytes.is_empty() {
                // The file was cut.
                return Ok(Some(at));
            }
            at = at.plus(bytes.len());
        }
    }

    /// The newlines before the block that holds an offset, and where it begins.
    fn block_of(&self, offset: Offset) -> Option<(Offset, u64)> {
        let counts = self.counts();
        let last = counts.before.len() as u64 - 1;
        let block = (offset.0 / counts.block_bytes).min(last);
        let before = *counts.before.get(usize::try_from(block).ok()?)?;
        (offset <= counts.to).then_some((Offset(block * counts.block_bytes), before))
    }
}

/// BlockCounts from offset to offset, and reads what it needs once where they are near to each other.
struct Counting<'i> {
    index: &'i LineIndex,
    view: &'i Snapshot,
    /// So many newlines come before this offset.
    known: (Offset, u64),
    at: Offset,
    bytes: Vec<u8>,
}

impl<'i> Counting<'i> {
    fn new(index: &'i LineIndex, view: &'i Snapshot) -> Self {
        Self { index, view, known: (Offset(0), 0), at: Offset(0), bytes: Vec::new() }
    }

    /// What has been read from an offset on, up to another.
    fn bytes(&mut self, from: Offset, to: Offset) -> io::Result<&[u8]> {
        let end = self.at.plus(self.bytes.len());
        if from < self.at || from >= end {
            self.bytes = self.view.read(from, READ_BYTES)?;
            self.at = from;
        }
        let skipped = (from.0 - self.at.0) as usize;
        let wanted = usize::try_from(to.0 - self.at.0).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skipped..wanted.min(self.bytes.len())).unwrap_or_default())
    }

    fn before(&mut self, offset: Offset) -> io::Result<Option<u64>> {
        let Some(block) = self.index.block_of(offset) else { return Ok(None) };
        let is_near = self.known.0 <= offset && self.known.0 > block.0;
        let (mut at, mut newlines) = if is_near { self.known } else { block };
        while at < offset {
            let bytes = self.bytes(at, offset)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            newlines += memchr::memchr_iter(b'\n', bytes).count() as u64;
            at = at.plus(bytes.len());
        }
        self.known = (at, newlines);
        Ok(Some(newlines))
    }

    fn number(&mut self, offset: Offset) -> io::Result<Option<u64>> {
        if offset > Offset(0) {
            let before = Offset(offset.0 - 1);
            if self.bytes(before, offset)? != b"\n" {
                return Ok(None);
            }
        }
        Ok(self.before(offset)?.map(|newlines| newlines + 1))
    }
}

/// The line indexes of the logs that were asked about lately.
#[derive(Debug, Default)]
pub struct LineIndexes(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    log: LogPath,
    generation: Generation,
    index: Arc<LineIndex>,
    used: Instant,
}

impl LineIndexes {
    /// The index of a generation of a log.
    #[must_use]
    pub fn of(&self, log: &LogPath, view: &Snapshot) -> Arc<LineIndex> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| now.duration_since(kept.used) < IDLE);
        let is_it = |kept: &Kept| kept.log == *log && kept.generation.is(&view.generation);
        let mut kept = match all.iter().position(is_it) {
            Some(at) => all.remove(at),
            None => Kept {
                log: log.clone(),
                generation: view.generation,
                index: Arc::default(),
                used: now,
            },
        };
        kept.used = now;
        let index = Arc::clone(&kept.index);
        // The one that was asked about last stands last.
        all.push(kept);
        if all.len() > INDEXES_MAX {
            all.remove(0);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::snapshot::tests::view_of;
    use proptest::prelude::*;

    fn grown(view: &Snapshot, block_bytes: u64) -> LineIndex {
        let counts = BlockCounts { block_bytes, ..BlockCounts::default() };
        let index = LineIndex { counts: Mutex::new(counts), is_growing: AtomicBool::default() };
        // Nothing but the first step is taken in no time at all.
        while !index.grow(view, Instant::now()).unwrap() {}
        index
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn lines_are_those_of_a_simple_count(log in "([a-c]{0,5}\n){0,60}[a-c]{0,3}", block in 1u64..40) {
            let (view, _directory) = view_of(log.as_bytes());
            let index = grown(&view, block);
            let newlines = |offset: usize| log.bytes().take(offset).filter(|&byte| byte == b'\n').count() as u64;
            let starts: Vec<usize> = (0..=log.len()).filter(|&at| at == 0 || log.as_bytes()[at - 1] == b'\n').collect();
            let numbers = index.numbers(&view, (0..=log.len()).map(|at| Offset(at as u64))).unwrap();
            for (at, number) in numbers.into_iter().enumerate() {
                prop_assert_eq!(number, starts.contains(&at).then(|| newlines(at) + 1), "at {}", at);
                prop_assert_eq!(index.newlines(&view, Offset(at as u64)).unwrap(), Some(newlines(at)));
            }
            let lines: Vec<usize> = starts.iter().copied().filter(|&start| start < log.len() || start == 0).collect();
            for line in 0..lines.len() + 5 {
                let expected = lines[line.saturating_sub(1).min(lines.len() - 1)];
                prop_assert_eq!(index.start_of(&view, line as u64).unwrap(), Some(Offset(expected as u64)), "line {}", line);
            }
        }
    }

    #[test]
    fn what_has_not_been_counted_is_not_known() {
        let log = "line\n".repeat(200_000);
        let (view, _directory) = view_of(log.as_bytes());
        let index = LineIndex::default();
        assert!(!index.grow(&view, Instant::now()).unwrap(), "one block of four");
        let far_off = [Offset(0), Offset(5), Offset(999_995)];
        assert_eq!(index.numbers(&view, far_off).unwrap(), [Some(1), Some(2), None]);
        assert_eq!(index.newlines(&view, view.end).unwrap(), None);
        assert_eq!(index.start_of(&view, 3).unwrap(), Some(Offset(10)));
        assert_eq!(index.start_of(&view, 199_999).unwrap(), None);
        assert!(index.grow(&view, far()).unwrap());
        assert_eq!(index.numbers(&view, far_off).unwrap(), [Some(1), Some(2), Some(200_000)]);
        assert_eq!(index.newlines(&view, view.end).unwrap(), Some(200_000));
        assert_eq!(index.start_of(&view, 199_999).unwrap(), Some(Offset(999_990)));
        assert_eq!(index.start_of(&view, u64::MAX).unwrap(), Some(Offset(999_995)));
    }

    #[test]
    fn a_large_log_has_larger_blocks_and_not_more_of_them() {
        let log = "ab\n".repeat(250_000);
        let (view, _directory) = view_of(log.as_bytes());
        let index = grown(&view, 2);
        let counts = index.counts();
        assert_eq!(counts.block_bytes, 8);
        assert!(counts.before.len() <= BLOCKS_MAX, "{} blocks", counts.before.len());
        drop(counts);
        for line in [1, 2, 3, 1000, 199_999, 250_000] {
            let start = Offset(3 * (line - 1));
            assert_eq!(index.start_of(&view, line).unwrap(), Some(start));
            assert_eq!(index.numbers(&view, [start]).unwrap(), [Some(line)]);
        }
    }
}
