//! How many lines, errors and warnings a log has in spans of equal time: estimated by samples at
//! first, and exact once it has been read.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::encoding::envelope::open_line;
use crate::log::{Generation, Offset};
use crate::render::Level;
use crate::search::levels::level_of;
use crate::search::plain::without_colours;
use crate::search::{SearchError, Snapshot};
use crate::time::{TimeRange, TimedLine};

/// What is read of a span for an estimate, in bytes.
const SAMPLE_BYTES: u64 = 16 * 1024;
/// What is counted before the clock is looked at, in bytes.
const STEP_BYTES: u64 = 512 * 1024;
/// How long a count of a log that has grown since is still good.
const FRESH_TIME: Duration = Duration::from_secs(5);

/// A span of time in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Where it begins, in milliseconds since 1970.
    pub time: i64,
    /// The offset of its first line, or of the next one if it has none.
    pub offset: Offset,
    /// How many lines it has. A line without a time belongs to the line before it.
    pub lines: u64,
    /// How many of them are errors.
    pub errors: u64,
    /// How many of them are warnings.
    pub warnings: u64,
}

/// The spans of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The first time, in milliseconds since 1970; `None` if no line says a time.
    pub first: Option<i64>,
    /// The last one.
    pub last: Option<i64>,
    /// Whether all lines were counted.
    pub exact: bool,
    /// Spans of equal time.
    pub buckets: Vec<Bucket>,
}

/// Divides a span of time into equal ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) count: usize,
}

impl Spans {
    fn length(self) -> i128 {
        i128::from(self.last) - i128::from(self.first) + 1
    }

    /// Where the nth one begins.
    pub(super) fn start(self, nth: usize) -> i64 {
        let count = self.count as i128;
        let after = (self.length() * nth as i128 + count - 1) / count;
        i64::try_from(i128::from(self.first) + after).unwrap_or(self.last)
    }

    /// Which one a time is in. Times out of order are in the first or the last.
    pub(super) fn of(self, time: i64) -> usize {
        let after = i128::from(time.clamp(self.first, self.last)) - i128::from(self.first);
        (after * self.count as i128 / self.length()) as usize
    }
}

/// The count of a log's lines. It goes on by [`run`](Self::run), and has an estimate meanwhile.
#[derive(Debug)]
pub struct Count {
    /// The log, until it is counted.
    snapshot: Option<Snapshot>,
    generation: Generation,
    own_generation: Generation,
    size: Offset,
    range: TimeRange,
    wanted: usize,
    /// None if no line says a time.
    spans: Option<Spans>,
    /// Where the spans of the estimate begin, and where the last one ends.
    starts: Vec<u64>,
    estimate: Vec<Bucket>,
    counted: Vec<Bucket>,
    /// The next line that is counted.
    at: Offset,
    /// Where the wanted part ends.
    end: Offset,
    counting: Counting,
    /// The time of the last line.
    time: Option<i64>,
    done: Option<Instant>,
}

impl Count {
    /// Begins with the part of a log between two times, divided into so many spans. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(snapshot: Snapshot, range: TimeRange, wanted: usize) -> Result<Self, SearchError> {
        let seek = |time: Option<i64>, otherwise: Offset| match time {
            Some(time) => snapshot.seek_time(time, &range.zone),
            None => Ok(otherwise),
        };
        let at = seek(range.since, Offset(0))?;
        let end = seek(range.until, snapshot.end)?.max(at);
        let mut file = snapshot.timed(&range.zone)?;
        let last = file.last()?;
        let first = file.first()?;
        // One of both may be the time of a wrong clock.
        let times = first.or(last).zip(last.or(first));
        let spans = times.and_then(|(one, other)| {
            let (first, last) = (one.min(other), one.max(other));
            let first = range.since.map_or(first, |since| since.max(first));
            let last = range.until.map_or(last, |until| last.min(until.saturating_sub(1)));
            (first <= last).then_some(Spans { first, last, count: wanted })
        });
        drop(file);
        let buckets = |spans: Spans| -> Vec<Bucket> {
            let bucket = |nth| Bucket { time: spans.start(nth), ..Bucket::default() };
            (0..wanted).map(bucket).collect()
        };
        let counted = spans.map(buckets).unwrap_or_default();
        let done = spans.is_none().then(Instant::now);
        let is_enveloped = snapshot.is_enveloped();
        Ok(Self {
            generation: snapshot.generation,
            own_generation: snapshot.own_generation(),
            size: snapshot.end,
            snapshot: spans.is_some().then_some(snapshot),
            range,
            wanted,
            spans,
            starts: Vec::new(),
            estimate: Vec::new(),
            counted,
            at,
            end,
            counting: Counting { is_enveloped, ..Counting::default() },
            time: None,
            done,
        })
    }

    /// Whether it answers the same question about a log that is now like this.
    #[must_use]
    pub fn is_for(&self, present: &Snapshot, wanted: usize) -> bool {
        let is_fresh = match self.done {
            Some(done) => self.size == present.end || done.elapsed() < FRESH_TIME,
            None => true,
        };
        let is_same = self.own_generation.is(&present.own_generation());
        is_same && is_fresh && self.wanted == wanted
    }

    /// The part of the log that is counted.
    #[must_use]
    pub fn range(&self) -> &TimeRange {
        &self.range
    }

    /// The generation of the offsets.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether all lines are counted.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// The size of the log that is counted.
    #[must_use]
    pub fn size(&self) -> Offset {
        self.size
    }

    /// Counts for this long. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read, or was truncated meanwhile.
    pub fn run(&mut self, time: Duration) -> Result<(), SearchError> {
        let until = Instant::now() + time;
        let (Some(spans), Some(snapshot)) = (self.spans, &self.snapshot) else { return Ok(()) };
        let mut file = snapshot.timed(&self.range.zone)?;
        loop {
            let to = self.end.min(Offset(self.at.0 + STEP_BYTES));
            let (buckets, last) = (&mut self.counted, &mut self.time);
            let counting = &mut self.counting;
            file.lines(self.at.0, self.at.0 > 0, to.0, |line| {
                *last = line.time.or(*last);
                if let Some(time) = *last
                    && let Some(bucket) = buckets.get_mut(spans.of(time))
                {
                    counting.add(bucket, line);
                }
                ControlFlow::Continue(())
            })?;
            self.at = to;
            if to >= self.end {
                break;
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
        drop(file);
        if !snapshot.is_intact()? {
            return Err(SearchError::Gone(None));
        }
        // Its file need not stay open.
        self.snapshot = None;
        fill_offsets(&mut self.counted, self.end);
        (self.estimate, self.done) = (Vec::new(), Some(Instant::now()));
        Ok(())
    }

    /// Estimates what is not counted, for this long. Returns whether that is done. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn estimate(&mut self, time: Duration) -> io::Result<bool> {
        let until = Instant::now() + time;
        let (Some(spans), Some(snapshot)) = (self.spans, &self.snapshot) else { return Ok(true) };
        if self.estimate.len() == spans.count {
            return Ok(true);
        }
        let is_enveloped = snapshot.is_enveloped();
        let mut file = snapshot.timed(&self.range.zone)?;
        while self.starts.len() <= spans.count {
            let nth = self.starts.len();
            let start = match (self.starts.last(), self.range.since) {
                (None, None) => 0,
                (None, Some(since)) => file.seek_near(since, 0)?,
                (Some(_), _) if nth == spans.count => self.end.0,
                (Some(from), _) => file.seek_near(spans.start(nth), *from)?.min(self.end.0),
            };
            self.starts.push(start);
            if Instant::now() >= until {
                return Ok(false);
            }
        }
        let done = self.estimate.len();
        for (nth, part) in self.starts.windows(2).enumerate().skip(done) {
            let &[from, to] = part else { continue };
            let mut bucket =
                Bucket { time: spans.start(nth), offset: Offset(from), ..Bucket::default() };
            let bytes = to.saturating_sub(from);
            let is_sampled = bytes > SAMPLE_BYTES;
            let at = if is_sampled { from + (bytes - SAMPLE_BYTES) / 2 } else { from };
            let at = snapshot.newline().align(at);
            let end = to.min(at + SAMPLE_BYTES);
            let mut counting = Counting { is_enveloped, ..Counting::default() };
            file.lines(at, is_sampled, end, |line| {
                counting.add(&mut bucket, line);
                ControlFlow::Continue(())
            })?;
            bucket.offset = Offset(from);
            if is_sampled {
                let scale = |number: u64| {
                    (u128::from(number) * u128::from(bytes) / u128::from(SAMPLE_BYTES)) as u64
                };
                bucket.lines = scale(bucket.lines).max(1);
                bucket.errors = scale(bucket.errors);
                bucket.warnings = scale(bucket.warnings);
            }
            self.estimate.push(bucket);
            if Instant::now() >= until {
                break;
            }
        }
        Ok(self.estimate.len() == spans.count)
    }

    /// What is known so far.
    #[must_use]
    pub fn times(&self) -> Times {
        let exact = self.done.is_some();
        let buckets = if exact { self.counted.clone() } else { self.estimate.clone() };
        let (first, last) = (self.spans.map(|it| it.first), self.spans.map(|it| it.last));
        Times { first, last, exact, buckets }
    }
}

/// Counts lines by what a viewer sees of them.
#[derive(Clone, Copy, Debug, Default)]
struct Counting {
    is_enveloped: bool,
    /// For each stream, whether its last line goes on in its next envelope.
    is_partial: [bool; 2],
}

impl Counting {
    fn add(&mut self, bucket: &mut Bucket, line: TimedLine<'_>) {
        if !self.is_enveloped {
            return add(bucket, line.offset, line.text);
        }
        let Some(opened) = open_line(line.text) else { return add(bucket, line.offset, line.text) };
        let is_partial = &mut self.is_partial[opened.stream as usize];
        // The rest of a line is counted with its beginning.
        if !std::mem::replace(is_partial, opened.is_partial) {
            add(bucket, line.offset, &opened.text);
        }
    }
}

/// Counts a line with this text.
fn add(bucket: &mut Bucket, offset: u64, text: &[u8]) {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let plain = memchr::memchr(0x1b, text).map(|_| without_colours(text));
    // A line with other sequences is taken as it is.
    let text = plain.as_ref().filter(|it| it.len == text.len()).map_or(text, |it| &it.text);
    if bucket.lines == 0 {
        bucket.offset = Offset(offset);
    }
    bucket.lines += 1;
    match level_of(text) {
        Some(Level::Error) => bucket.errors += 1,
        Some(Level::Warning) => bucket.warnings += 1,
        Some(Level::Notice | Level::Debug) | None => {}
    }
}

/// A span without lines begins where the next one does.
fn fill_offsets(buckets: &mut [Bucket], end: Offset) {
    let mut next = end;
    for bucket in buckets.iter_mut().rev() {
        if bucket.lines == 0 {
            bucket.offset = next;
        }
        next = bucket.offset;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::snapshot::tests::snapshot_of;
    use crate::time::Zone;

    /// 2026-11-28T14:02:00Z in seconds.
    const T: i64 = 1_795_874_520;

    fn run(count: &mut Count) -> Times {
        while !count.is_done() {
            count.run(Duration::ZERO).unwrap();
        }
        count.times()
    }

    #[test]
    fn a_long_log_is_estimated_before_it_is_counted() {
        let mut log = String::new();
        let mut lines = 0;
        while log.len() < 3 << 20 {
            // The second half is written ten times as fast.
            let time = T * 1000 + if lines < 20_000 { lines * 10 } else { 180_000 + lines };
            let level = if lines % 10 == 0 { "ERROR" } else { "INFO" };
            log += &format!("{time} {level} a line of an ordinary length, number {lines}\n");
            lines += 1;
        }
        let lines = lines as u64;
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let mut count = Count::new(snapshot, TimeRange::default(), 7).unwrap();
        let mut steps = 0;
        while !count.estimate(Duration::ZERO).unwrap() {
            steps += 1;
            assert!(count.times().buckets.len() <= steps);
        }
        assert!(steps >= 7, "{steps}");
        let estimate = count.times();
        let exact = run(&mut count);
        assert_eq!((estimate.exact, exact.exact), (false, true));
        assert_eq!((estimate.first, estimate.last), (exact.first, exact.last));
        let sum = |times: &Times, of: fn(&Bucket) -> u64| times.buckets.iter().map(of).sum::<u64>();
        assert_eq!(sum(&exact, |bucket| bucket.lines), lines);
        assert_eq!(sum(&exact, |bucket| bucket.errors), lines.div_ceil(10));
        for (estimate, exact) in estimate.buckets.iter().zip(&exact.buckets) {
            assert_eq!((estimate.time, estimate.offset), (exact.time, exact.offset));
            let is_near = |one: u64, other: u64| one.abs_diff(other) <= other / 20 + 5;
            assert!(is_near(estimate.lines, exact.lines), "{estimate:?}, {exact:?}");
            assert!(is_near(estimate.errors, exact.errors), "{estimate:?}, {exact:?}");
        }
    }

    #[test]
    fn levels_are_those_of_the_shown_text() {
        let at = |second: i64| format!("2026-11-28T14:02:{second:02}Z");
        let docker = |second: i64, text: &str| {
            let text = text.replace('"', "\\\"");
            format!("{{\"log\":\"{text}\",\"stream\":\"stdout\",\"time\":\"{}\"}}\n", at(second))
        };
        let coloured = format!("{} \x1b[31mERROR\x1b[0m one\n{} INFO\r\n", at(1), at(2));
        let records = [
            docker(1, "{\"level\":\"error\",\"msg\":\"one\"}\\n"),
            docker(2, "INFO again after ERROR: none\\n"),
            docker(3, "ERROR in "),
            docker(4, "ERROR parts\\n"),
        ];
        let cri = format!("{0} stdout P WARN one\n{0} stdout F WARN two\n{0} stderr F x\n", at(1));
        for (log, expected) in
            [(coloured, (2, 1, 0)), (records.concat(), (3, 2, 0)), (cri, (2, 0, 1))]
        {
            let (snapshot, _directory) = snapshot_of(log.as_bytes());
            let mut count = Count::new(snapshot, TimeRange::default(), 1).unwrap();
            let bucket = run(&mut count).buckets[0];
            assert_eq!((bucket.lines, bucket.errors, bucket.warnings), expected, "{log}");
        }
    }

    #[test]
    fn a_log_whose_first_clock_is_ahead_has_times() {
        let log =
            format!("{} ahead\n{} one\n{} two\n", (T + 9999) * 1000, T * 1000, (T + 1) * 1000);
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let times = run(&mut Count::new(snapshot, TimeRange::default(), 2).unwrap());
        assert_eq!(times.first, Some(T * 1000));
        assert_eq!(times.buckets.iter().map(|bucket| bucket.lines).sum::<u64>(), 3);
        // A long head without times.
        let head = "no time in this line\n".repeat(100_000);
        let log = format!("{head}{} one\n{} two\n", T * 1000, (T + 1) * 1000);
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        let times = run(&mut Count::new(snapshot, TimeRange::default(), 2).unwrap());
        assert_eq!((times.first, times.last), (Some(T * 1000), Some((T + 1) * 1000)));
    }

    #[test]
    fn every_line_is_in_the_span_of_its_time() {
        let mut log = String::from("no time\n");
        for nth in 0..1000_i64 {
            let out_of_order = nth * 7919 % 13;
            log += &format!("{}\n  more\n", (T + nth * 3 - out_of_order) * 1000);
        }
        let (snapshot, _directory) = snapshot_of(log.as_bytes());
        for wanted in [1, 2, 7, 100, 2000] {
            for range in [
                TimeRange::default(),
                TimeRange {
                    since: Some((T + 500) * 1000),
                    until: Some((T + 900) * 1000),
                    zone: Zone::UTC,
                },
            ] {
                let mut count = Count::new(snapshot.clone(), range.clone(), wanted).unwrap();
                let times = run(&mut count);
                let from = snapshot.seek_time(range.since.unwrap_or(0), &Zone::UTC).unwrap();
                let to = range
                    .until
                    .map_or(snapshot.end, |until| snapshot.seek_time(until, &Zone::UTC).unwrap());
                let (first, last) = (times.first.unwrap(), times.last.unwrap());
                let spans = Spans { first, last, count: wanted };
                let mut expected = vec![0; wanted];
                let part = log.get(from.0 as usize..to.0 as usize).unwrap();
                for line in part.lines() {
                    if let Ok(time) = line.parse::<i64>() {
                        let nth = (0..wanted).rev().find(|nth| spans.start(*nth) <= time);
                        expected[nth.unwrap_or(0)] += 2;
                    }
                }
                let lines: Vec<u64> = times.buckets.iter().map(|bucket| bucket.lines).collect();
                assert_eq!(lines, expected, "{wanted} {range:?}");
                assert!(times.buckets.is_sorted_by_key(|bucket| bucket.time));
            }
        }
    }
}
