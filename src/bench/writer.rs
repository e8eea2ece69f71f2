//! Writes stamped lines at their times.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::bench::load::{STAMP_BYTES, Stamp, histogram, now};

/// The longest sleep between two checks of the stop flag.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// What to write, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The number of the run, in each stamp.
    pub(crate) run: u32,
    /// Lines per second.
    pub(crate) rate: f64,
    /// Lines per write.
    pub(crate) burst: u32,
    /// Bytes of a line, with its newline.
    pub(crate) line_bytes: usize,
    /// The number of lines.
    pub(crate) lines: u32,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) lines: u32,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
    /// The delay of each write, in nanoseconds.
    pub(crate) late: Histogram<u64>,
}

/// A thread that writes.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    lines: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<Written>>,
}

/// Opens a log to append to it, and creates it if necessary.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Writer {
    pub(crate) fn start(file: File, schedule: Schedule) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let lines = Arc::new(AtomicU64::new(0));
        let (should_stop, written_lines) = (Arc::clone(&stop), Arc::clone(&lines));
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || write(file, schedule, &should_stop, &written_lines))?;
        Ok(Self { stop, lines, thread })
    }

    /// The lines written so far.
    pub(crate) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    pub(crate) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Makes it stop before all lines are written.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for the end, and returns what was written.
    pub(crate) fn finish(self) -> io::Result<Written> {
        self.thread.join().map_err(|_| io::Error::other("the writer panicked"))?
    }
}

fn write(
    mut file: File,
    schedule: Schedule,
    stop: &AtomicBool,
    written_lines: &AtomicU64,
) -> io::Result<Written> {
    let Schedule { run, rate, burst, line_bytes, lines } = schedule;
    let mut line = vec![b'.'; line_bytes];
    line[STAMP_BYTES..].fill(b'-');
    line[line_bytes - 1] = b'\n';
    let mut block = line.repeat(burst as usize);
    let mut late = histogram();
    let (began, began_at) = (Instant::now(), now());
    let mut sequence = 0;
    while sequence < lines && !stop.load(Ordering::Relaxed) {
        let due = Duration::from_secs_f64(f64::from(sequence) / rate);
        while let Some(left) = due.checked_sub(began.elapsed()).filter(|left| !left.is_zero())
            && !stop.load(Ordering::Relaxed)
        {
            thread::sleep(left.min(SLEEP_MAX));
        }
        let due_at = began_at + due.as_nanos() as u64;
        let count = burst.min(lines - sequence);
        let bytes = count as usize * line_bytes;
        for (number, line) in (sequence..).zip(block[..bytes].chunks_exact_mut(line_bytes)) {
            let stamp = Stamp { run, sequence: number, due: due_at };
            line[..STAMP_BYTES].copy_from_slice(&stamp.to_bytes());
        }
        file.write_all(&block[..bytes])?;
        late.saturating_record(now().saturating_sub(due_at));
        sequence += count;
        written_lines.store(sequence.into(), Ordering::Relaxed);
    }
    let bytes = u64::from(sequence) * line_bytes as u64;
    Ok(Written { lines: sequence, bytes, seconds: began.elapsed().as_secs_f64(), late })
}
