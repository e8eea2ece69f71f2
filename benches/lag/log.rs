//! Logs whose every byte can be checked, and their writers.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The size of a record: its number, the time at which it was due, and padding.
pub const RECORD_BYTES: usize = 512;
/// Number and time as hexadecimal digits, each followed by a space.
const HEAD_BYTES: usize = 34;

/// Nanoseconds since its start, on the monotonic clock.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    fn sleep_until(self, due: u64) {
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(self.now())));
    }
}

fn filling() -> [u8; RECORD_BYTES] {
    let mut record = [b'.'; RECORD_BYTES];
    for (at, byte) in record.iter_mut().enumerate() {
        *byte = b'a' + (at % 26) as u8;
    }
    record[RECORD_BYTES - 1] = b'\n';
    record
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn put(into: &mut [u8], mut number: u64) {
    for digit in into[..16].iter_mut().rev() {
        *digit = DIGITS[(number & 15) as usize];
        number >>= 4;
    }
    into[16] = b' ';
}

fn get(from: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(&from[..16]).ok()?;
    (from[16] == b' ').then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Makes records.
struct RecordBuilder {
    record: [u8; RECORD_BYTES],
    next: u64,
}

impl RecordBuilder {
    fn new() -> Self {
        Self { record: filling(), next: 0 }
    }

    fn append(&mut self, into: &mut Vec<u8>, due: u64) {
        put(&mut self.record, self.next);
        put(&mut self.record[17..], due);
        into.extend_from_slice(&self.record);
        self.next += 1;
    }
}

/// Reads records, and reports bytes that differ from those written.
pub struct Checker {
    filling: [u8; RECORD_BYTES],
    /// The number of the next record; the first may be any.
    next: Option<u64>,
}

impl Checker {
    /// A checker that begins with the record at this offset.
    pub fn at(offset: u64) -> Self {
        Self { filling: filling(), next: Some(offset / RECORD_BYTES as u64) }
    }

    /// The time at which the record was due, or what is wrong with it.
    pub fn check(&mut self, record: &[u8]) -> Result<u64, String> {
        let wrong = |what: &str| {
            format!("{what} in {:?}", String::from_utf8_lossy(&record[..HEAD_BYTES + 8]))
        };
        let number = get(record).ok_or_else(|| wrong("no number"))?;
        let due = get(&record[17..]).ok_or_else(|| wrong("no time"))?;
        if record[HEAD_BYTES..] != self.filling[HEAD_BYTES..] {
            return Err(wrong("wrong bytes"));
        }
        if let Some(expected) = self.next
            && number != expected
        {
            self.next = Some(number + 1);
            return Err(format!("record {number} instead of {expected}"));
        }
        self.next = Some(number + 1);
        Ok(due)
    }
}

/// Writes a log of about this size as fast as possible. Returns the exact size.
pub fn fill(path: &Path, bytes: u64) -> u64 {
    const BATCH: u64 = 2048;
    let mut file = File::options().append(true).create_new(true).open(path).unwrap();
    let mut builder = RecordBuilder::new();
    let batches = bytes.div_ceil(BATCH * RECORD_BYTES as u64);
    let mut buffer = Vec::with_capacity(BATCH as usize * RECORD_BYTES);
    for _ in 0..batches {
        buffer.clear();
        (0..BATCH).for_each(|_| builder.append(&mut buffer, 0));
        file.write_all(&buffer).unwrap();
    }
    batches * BATCH * RECORD_BYTES as u64
}

/// What a writer has written.
pub struct Written {
    pub bytes: u64,
    /// For each batch: when it was due, and how much later it was written.
    pub lateness: Vec<(u64, u64)>,
}

/// A thread that appends batches at a rate. A writer that is late writes the next batches at once,
/// but each keeps the time at which it was due.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

impl Writer {
    pub fn start(path: &Path, clock: Clock, bytes_per_second: u64, interval: Duration) -> Self {
        let mut file = File::options().append(true).create_new(true).open(path).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let interval = interval.as_nanos() as u64;
        let records_per_batch =
            bytes_per_second as f64 * interval as f64 / 1e9 / RECORD_BYTES as f64;
        let thread = std::thread::spawn(move || {
            let mut builder = RecordBuilder::new();
            let mut written = Written { bytes: 0, lateness: Vec::new() };
            let mut buffer = Vec::new();
            let mut due = clock.now();
            let mut owed = 0.0;
            while !stopped.load(Ordering::Relaxed) {
                due += interval;
                clock.sleep_until(due);
                owed += records_per_batch;
                buffer.clear();
                while owed >= 1.0 {
                    builder.append(&mut buffer, due);
                    owed -= 1.0;
                }
                file.write_all(&buffer).unwrap();
                written.bytes += buffer.len() as u64;
                written.lateness.push((due, clock.now() - due));
            }
            written
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
