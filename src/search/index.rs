//! Line numbers of offsets, and offsets of lines.
//!
//! A sparse table holds the number of newlines before each block of the file. The first request
//! creates it, it grows with the log, and it belongs to one generation. Newlines within a block are
//! counted again for each request, which takes microseconds. The table for 4 GiB takes 128 KiB.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::encoding::Newline;
use crate::log::{Generation, LogPath, Offset};
use crate::search::Snapshot;

/// The size of a block at first. It doubles when there are too many blocks.
const BLOCK_BYTES: u64 = 256 * 1024;
/// The unit in which newlines within a block are counted.
const READ_BYTES: usize = 64 * 1024;
/// The most blocks of one log: a table of 1 MiB.
const BLOCKS_MAX: usize = 128 * 1024;
/// The most logs with an index. The least recently used index is dropped first.
const INDEXES_MAX: usize = 16;
/// An index that was not used for this time is dropped.
const IDLE: Duration = Duration::from_secs(300);

/// The newlines of one generation of a log that are counted so far.
#[derive(Debug)]
struct BlockCounts {
    block_bytes: u64,
    /// The newlines before each block. The last block is still being counted.
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
    /// The end of the block that is being counted.
    fn block_end(&self) -> u64 {
        self.before.len() as u64 * self.block_bytes
    }

    /// Adds the next `len` bytes, which lie within the block that is being counted.
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

/// Which bytes of a log of another machine are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Those that are here, up to the first that is not.
    Here,
    /// All. Those that are not here are fetched.
    All,
}

/// The line index of one generation of a log.
#[derive(Debug, Default)]
pub struct LineIndex {
    counts: Mutex<BlockCounts>,
    /// A background task is counting.
    pub(super) is_growing: AtomicBool,
}

impl LineIndex {
    /// The offset up to which lines are counted.
    #[must_use]
    pub fn indexed(&self) -> Offset {
        self.counts.lock().to
    }

    /// Whether all newlines of a snapshot are counted.
    fn is_counted(&self, snapshot: &Snapshot) -> bool {
        self.indexed().0 >= snapshot.newline().align(snapshot.end.0)
    }

    /// Counts until all that is to be counted is, or the time is up. Returns whether all of it is
    /// counted. Blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn grow(&self, snapshot: &Snapshot, counted: Counted, until: Instant) -> io::Result<bool> {
        loop {
            let (from, block_end) = {
                let counts = self.counts.lock();
                (counts.to, counts.block_end())
            };
            if from >= snapshot.end {
                return Ok(true);
            }
            let len = BLOCK_BYTES.min(block_end - from.0) as usize;
            if counted == Counted::Here && !snapshot.is_here(from, len) {
                return Ok(true);
            }
            let mut bytes = snapshot.read(from, len)?;
            // Half a newline is counted with its other half.
            bytes.truncate(snapshot.newline().align(bytes.len() as u64) as usize);
            if bytes.is_empty() {
                return Ok(true);
            }
            let newlines = snapshot.newline().count(&bytes);
            let mut counts = self.counts.lock();
            // Another thread may have counted the same bytes.
            if counts.to == from && counts.block_end() == block_end {
                counts.add(bytes.len(), newlines);
            }
            drop(counts);
            if Instant::now() >= until {
                return Ok(self.is_counted(snapshot));
            }
        }
    }

    /// The number of newlines before an offset; `None` if they are not counted yet. Blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn newlines(&self, snapshot: &Snapshot, offset: Offset) -> io::Result<Option<u64>> {
        LineCounter::new(self, snapshot).before(offset)
    }

    /// The numbers, from 1, of the lines that begin at these offsets, which must be sorted. `None`
    /// for an offset at which no line begins, or which is not counted yet. Blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn numbers(
        &self,
        snapshot: &Snapshot,
        offsets: impl IntoIterator<Item = Offset>,
    ) -> io::Result<Vec<Option<u64>>> {
        let mut counter = LineCounter::new(self, snapshot);
        offsets.into_iter().map(|offset| counter.number(offset)).collect()
    }

    /// The offset at which a line begins. Lines are numbered from 1; a number past the last line
    /// gives the last line. `None` if the line is not counted yet. Blocks.
    ///
    /// # Errors
    /// Those of `pread`.
    pub fn start_of(&self, snapshot: &Snapshot, line: u64) -> io::Result<Option<Offset>> {
        let mut newlines = line.saturating_sub(1);
        if let Some(all) = self.newlines(snapshot, snapshot.end)? {
            let ends_line = LineCounter::new(self, snapshot).begins_line(snapshot.end)?;
            newlines = newlines.min(all.saturating_sub(u64::from(ends_line)));
        }
        if newlines == 0 {
            return Ok(Some(Offset(0)));
        }
        let (mut at, mut missing) = {
            let counts = self.counts.lock();
            if newlines > counts.lines {
                return Ok(None);
            }
            let block = counts.before.partition_point(|&before| before < newlines) - 1;
            (Offset(block as u64 * counts.block_bytes), newlines - counts.before[block])
        };
        loop {
            let bytes = snapshot.read(at, READ_BYTES)?;
            for end in snapshot.newline().ends(&bytes) {
                missing -= 1;
                if missing == 0 {
                    return Ok(Some(at.plus(end)));
                }
            }
            if bytes.is_empty() {
                // The file was truncated.
                return Ok(Some(at));
            }
            at = at.plus(bytes.len());
        }
    }

    /// The start of the block that contains an offset, and the newlines before that block.
    fn block_of(&self, offset: Offset) -> Option<(Offset, u64)> {
        let counts = self.counts.lock();
        let last = counts.before.len() as u64 - 1;
        let block = (offset.0 / counts.block_bytes).min(last);
        let before = *counts.before.get(usize::try_from(block).ok()?)?;
        (offset <= counts.to).then_some((Offset(block * counts.block_bytes), before))
    }
}

/// Counts newlines before increasing offsets, and reads a part of the file once for offsets that
/// are near each other.
struct LineCounter<'i> {
    index: &'i LineIndex,
    snapshot: &'i Snapshot,
    /// The last offset, and the newlines before it.
    last_count: (Offset, u64),
    at: Offset,
    bytes: Vec<u8>,
}

impl<'i> LineCounter<'i> {
    fn new(index: &'i LineIndex, snapshot: &'i Snapshot) -> Self {
        Self { index, snapshot, last_count: (Offset(0), 0), at: Offset(0), bytes: Vec::new() }
    }

    /// The bytes between two offsets, as far as they fit in one read.
    fn bytes(&mut self, from: Offset, to: Offset) -> io::Result<&[u8]> {
        let end = self.at.plus(self.bytes.len());
        if from < self.at || from >= end {
            self.bytes = self.snapshot.read(from, READ_BYTES)?;
            self.at = from;
        }
        let skipped = (from.0 - self.at.0) as usize;
        let wanted = usize::try_from(to.0 - self.at.0).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skipped..wanted.min(self.bytes.len())).unwrap_or_default())
    }

    fn before(&mut self, offset: Offset) -> io::Result<Option<u64>> {
        let newline = self.snapshot.newline();
        let offset = Offset(newline.align(offset.0));
        let Some(block) = self.index.block_of(offset) else { return Ok(None) };
        let is_near = self.last_count.0 <= offset && self.last_count.0 > block.0;
        let (mut at, mut newlines) = if is_near { self.last_count } else { block };
        while at < offset {
            let bytes = self.bytes(at, offset)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            newlines += newline.count(bytes) as u64;
            at = at.plus(bytes.len());
        }
        self.last_count = (at, newlines);
        Ok(Some(newlines))
    }

    /// Whether a newline ends at an offset.
    fn begins_line(&mut self, offset: Offset) -> io::Result<bool> {
        let newline = self.snapshot.newline();
        let before = Offset(offset.0.saturating_sub(newline.width() as u64));
        Ok(newline.align(offset.0) == offset.0 && newline.is(self.bytes(before, offset)?))
    }

    fn number(&mut self, offset: Offset) -> io::Result<Option<u64>> {
        if offset > Offset(0) && !self.begins_line(offset)? {
            return Ok(None);
        }
        Ok(self.before(offset)?.map(|newlines| newlines + 1))
    }
}

/// The line indexes that were used recently, the most recent last.
#[derive(Debug, Default)]
pub struct LineIndexes(Mutex<Vec<CachedIndex>>);

#[derive(Debug)]
struct CachedIndex {
    log: LogPath,
    generation: Generation,
    newline: Newline,
    index: Arc<LineIndex>,
    used: Instant,
}

impl LineIndexes {
    /// The index of the snapshot's generation; an empty one if there is none yet.
    #[must_use]
    pub fn of(&self, log: &LogPath, snapshot: &Snapshot) -> Arc<LineIndex> {
        let now = Instant::now();
        let mut all = self.0.lock();
        all.retain(|cached| now.duration_since(cached.used) < IDLE);
        let newline = snapshot.newline();
        let is_it = |cached: &CachedIndex| {
            cached.log == *log
                && cached.generation.is(&snapshot.generation)
                && cached.newline == newline
        };
        let mut cached = match all.iter().position(is_it) {
            Some(at) => all.remove(at),
            None => CachedIndex {
                log: log.clone(),
                generation: snapshot.generation,
                newline,
                index: Arc::default(),
                used: now,
            },
        };
        cached.used = now;
        let index = Arc::clone(&cached.index);
        all.push(cached);
        if all.len() > INDEXES_MAX {
            all.remove(0);
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::search::scan::tests::encoded;
    use crate::search::snapshot::tests::{snapshot_in, snapshot_of};
    use proptest::prelude::*;

    fn grown(snapshot: &Snapshot, block_bytes: u64) -> LineIndex {
        let counts = BlockCounts { block_bytes, ..BlockCounts::default() };
        let index = LineIndex { counts: Mutex::new(counts), is_growing: AtomicBool::default() };
        // Each call takes one step, since its time is up at once.
        while !index.grow(snapshot, Counted::All, Instant::now()).unwrap() {}
        index
    }

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn line_numbers_equal_those_of_a_simple_count(log in "([a-c]{0,5}\n){0,60}[a-c]{0,3}", block in 1u64..40) {
            let (snapshot, _directory) = snapshot_of(log.as_bytes());
            let index = grown(&snapshot, block);
            let newlines = |offset: usize| log.bytes().take(offset).filter(|&byte| byte == b'\n').count() as u64;
            let starts: Vec<usize> = (0..=log.len()).filter(|&at| at == 0 || log.as_bytes()[at - 1] == b'\n').collect();
            let numbers = index.numbers(&snapshot, (0..=log.len()).map(|at| Offset(at as u64))).unwrap();
            for (at, number) in numbers.into_iter().enumerate() {
                prop_assert_eq!(number, starts.contains(&at).then(|| newlines(at) + 1), "at {}", at);
                prop_assert_eq!(index.newlines(&snapshot, Offset(at as u64)).unwrap(), Some(newlines(at)));
            }
            let lines: Vec<usize> = starts.iter().copied().filter(|&start| start < log.len() || start == 0).collect();
            for line in 0..lines.len() + 5 {
                let expected = lines[line.saturating_sub(1).min(lines.len() - 1)];
                prop_assert_eq!(index.start_of(&snapshot, line as u64).unwrap(), Some(Offset(expected as u64)), "line {}", line);
            }
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(64))]
        #[test]
        fn lines_of_utf_16_are_counted_by_whole_newlines(
            log in "([a上\u{a41}\u{100}]{0,5}\n){0,60}[a上]{0,3}",
            label in prop::sample::select(vec!["utf-16le", "utf-16be"]),
            block in 1u64..40,
            half in 0usize..2,
        ) {
            let mut bytes = encoded(label, log.as_bytes());
            bytes.truncate(bytes.len().saturating_sub(half));
            let (snapshot, _directory) = snapshot_in(&bytes, Encoding::for_label(label));
            let index = grown(&snapshot, 2 * block);
            let units: Vec<u16> = log.encode_utf16().take(bytes.len() / 2).collect();
            let newline = u16::from(b'\n');
            let newlines = |offset: usize| units[..offset / 2].iter().filter(|&&unit| unit == newline).count() as u64;
            let starts: Vec<usize> = (0..=units.len()).filter(|&at| at == 0 || units[at - 1] == newline).map(|at| 2 * at).collect();
            let numbers = index.numbers(&snapshot, (0..=bytes.len()).map(|at| Offset(at as u64))).unwrap();
            for (at, number) in numbers.into_iter().enumerate() {
                prop_assert_eq!(number, starts.contains(&at).then(|| newlines(at) + 1), "at {}", at);
                prop_assert_eq!(index.newlines(&snapshot, Offset(at as u64)).unwrap(), Some(newlines(at)));
            }
            let lines: Vec<usize> = starts.iter().copied().filter(|&start| start < bytes.len() || start == 0).collect();
            for line in 0..lines.len() + 5 {
                let expected = lines[line.saturating_sub(1).min(lines.len() - 1)];
                prop_assert_eq!(index.start_of(&snapshot, line as u64).unwrap(), Some(Offset(expected as u64)), "line {}", line);
            }
        }
    }

    #[test]
    fn lines_that_are_not_counted_yet_have_no_number() {
        let log = "line\n".repeat(200_000);
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let index = LineIndex::default();
        assert!(!index.grow(&snapshot, Counted::All, Instant::now()).unwrap(), "one block of four");
        let far_off = [Offset(0), Offset(5), Offset(999_995)];
        assert_eq!(index.numbers(&snapshot, far_off).unwrap(), [Some(1), Some(2), None]);
        assert_eq!(index.newlines(&snapshot, snapshot.end).unwrap(), None);
        assert_eq!(index.start_of(&snapshot, 3).unwrap(), Some(Offset(10)));
        assert_eq!(index.start_of(&snapshot, 199_999).unwrap(), None);
        assert!(index.grow(&snapshot, Counted::All, far()).unwrap());
        assert_eq!(index.numbers(&snapshot, far_off).unwrap(), [Some(1), Some(2), Some(200_000)]);
        assert_eq!(index.newlines(&snapshot, snapshot.end).unwrap(), Some(200_000));
        assert_eq!(index.start_of(&snapshot, 199_999).unwrap(), Some(Offset(999_990)));
        assert_eq!(index.start_of(&snapshot, u64::MAX).unwrap(), Some(Offset(999_995)));
    }

    #[test]
    fn a_large_log_gets_larger_blocks_instead_of_more() {
        let log = "ab\n".repeat(250_000);
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let index = grown(&snapshot, 2);
        let counts = index.counts.lock();
        assert_eq!(counts.block_bytes, 8);
        assert!(counts.before.len() <= BLOCKS_MAX, "{} blocks", counts.before.len());
        drop(counts);
        for line in [1, 2, 3, 1000, 199_999, 250_000] {
            let start = Offset(3 * (line - 1));
            assert_eq!(index.start_of(&snapshot, line).unwrap(), Some(start));
            assert_eq!(index.numbers(&snapshot, [start]).unwrap(), [Some(line)]);
        }
    }
}
