//! Where in a file a time lies: a binary search without an index.
//!
//! Logs are nearly ordered: several threads or machines write to one, so lines are seconds or minutes
//! out of order, and there are stretches without times. Each step therefore looks at several lines, and
//! the last lines before the time are read one by one.

use std::io;
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

use super::stamp::Bare;
use super::{Profile, Recognizer, Zone};
use crate::encoding::Newline;

/// How much of the head, the middle and the end of a file is its sample, in bytes.
const SAMPLE_BYTES: u64 = 64 * 1024;
/// The first read for some lines, in bytes. Each further one is twice as long, up to
/// [`PIECE_BYTES_MAX`].
const PIECE_BYTES_MIN: usize = 16 * 1024;
const PIECE_BYTES_MAX: usize = 256 * 1024;
/// A line is looked at up to this length, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
/// How many times one step of the search sees. The middle one counts, so that one wrong clock does
/// not mislead it.
const PROBE_TIMES: usize = 5;
/// How far one step looks for a time, in bytes.
const PROBE_BYTES_MAX: u64 = 1024 * 1024;
/// The search ends in a part of this length, which is read.
const PART_BYTES: u64 = 64 * 1024;
/// Where the search for the last day begins, in bytes before the end.
const DAY_BYTES_MIN: u64 = 512;
/// How much later than its neighbours a line may be written, in milliseconds.
pub(super) const DISORDER: i64 = 5 * 60 * 1000;
/// How far back the lines are read that may be out of order, in bytes.
const BACK_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How far the lines are read for the first one that is not before a time, in bytes.
const FORWARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How far a step reads on that has seen no time, in bytes: there may be one now and then.
const FAR_BYTES: u64 = 8 * 1024 * 1024;
/// How much of that is read in one file, in bytes.
const FAR_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads at most so many bytes at an offset.
pub type Reading<'a> = Box<dyn Fn(u64, usize) -> io::Result<Vec<u8>> + 'a>;

/// A line of a file, and the time that it says.
#[derive(Clone, Copy, Debug)]
pub struct TimedLine<'a> {
    /// The offset of its first byte.
    pub offset: u64,
    /// Its text without the newline. Only the beginning of a very long line; in UTF-16 its ASCII
    /// characters.
    pub text: &'a [u8],
    /// In milliseconds since 1970; `None` if it says none.
    pub time: Option<i64>,
}

/// A file in which times are sought, up to a fixed end. `R` reads at most so many bytes at an
/// offset.
pub struct TimedFile<R> {
    read: R,
    end: u64,
    newline: Newline,
    recognizer: Recognizer,
    /// The least of the first times, once it was looked for.
    first: Option<Option<i64>>,
    /// Where the times begin that can be told from later ones.
    begin: u64,
    is_timed: bool,
    /// The long stretch without times that was found last.
    stretch: Option<Stretch>,
    /// What may still be read where no time is near, in bytes.
    far_bytes: u64,
}

/// A long stretch without times.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: u64,
    to: u64,
    /// The time behind it, and the offset of the line that says it.
    next: Option<(i64, u64)>,
}

/// What one step of a search sees.
enum Probe {
    /// The time, and the offset of the first line that says one.
    Time(i64, u64),
    /// No line up to the end of the part says one.
    Nothing,
    /// No line near the place says one.
    Far,
}

impl<R: Fn(u64, usize) -> io::Result<Vec<u8>>> TimedFile<R> {
    /// Looks at a sample of a file that was last `written` at this time.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn open(
        read: R,
        end: u64,
        newline: Newline,
        written: SystemTime,
        zone: &Zone,
    ) -> io::Result<Self> {
        let written = milliseconds(written);
        let recognizer = Recognizer::new(Profile::default(), zone.clone(), written);
        let mut file = Self {
            read,
            end,
            newline,
            recognizer,
            first: None,
            begin: 0,
            is_timed: false,
            stretch: None,
            far_bytes: FAR_BYTES_MAX,
        };
        let mut sample: Vec<Vec<u8>> = Vec::new();
        for at in file.sampled() {
            let to = at + SAMPLE_BYTES;
            file.lines(at, at > 0, to, |line| {
                sample.push(line.text[..line.text.len().min(4096)].to_vec());
                ControlFlow::Continue(())
            })?;
        }
        let profile = Profile::of(sample.iter().map(Vec::as_slice), zone, written);
        file.recognizer = Recognizer::new(profile, zone.clone(), written);
        file.is_timed = sample.iter().any(|line| file.recognizer.time_of(line).is_some());
        if profile.bare == Some(Bare::Clock) {
            file.begin = file.last_day()?;
        }
        Ok(file)
    }

    /// The same for a file whose lines say times in a known way. Reads nothing.
    pub fn known(
        read: R,
        end: u64,
        newline: Newline,
        written: SystemTime,
        zone: &Zone,
        profile: Profile,
    ) -> Self {
        let recognizer = Recognizer::new(profile, zone.clone(), milliseconds(written));
        let (first, begin, is_timed) = (None, 0, true);
        let (stretch, far_bytes) = (None, FAR_BYTES_MAX);
        Self { read, end, newline, recognizer, first, begin, is_timed, stretch, far_bytes }
    }

    /// Where the parts of the sample begin.
    fn sampled(&self) -> Vec<u64> {
        if self.end <= 3 * SAMPLE_BYTES {
            return (0..self.end).step_by(SAMPLE_BYTES as usize).collect();
        }
        let align = |at| self.newline.align(at);
        vec![0, align(self.end / 2), align(self.end - SAMPLE_BYTES)]
    }

    /// The start of the character that contains the byte at an offset.
    pub(super) fn align(&self, offset: u64) -> u64 {
        self.newline.align(offset)
    }

    /// Whether lines of the sample say times.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.is_timed
    }

    /// The least time that the first lines say; `None` if none of them does.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn first(&mut self) -> io::Result<Option<i64>> {
        if let Some(first) = self.first {
            return Ok(first);
        }
        let (mut first, mut times) = (None, 0);
        let mut to = self.begin + FORWARD_BYTES_MAX;
        if self.is_timed {
            self.lines(self.begin, false, to, |line| {
                if let Some(time) = line.time {
                    if first.is_none() {
                        to = line.offset + PROBE_BYTES_MAX;
                    }
                    first = Some(first.map_or(time, |first: i64| first.min(time)));
                    times += 1;
                }
                // One clock may be wrong.
                if times == PROBE_TIMES || line.offset > to {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
        }
        self.first = Some(first);
        Ok(first)
    }

    /// Recognises the lines of the file.
    #[must_use]
    pub fn recognizer(&self) -> &Recognizer {
        &self.recognizer
    }

    /// Where the last day of a log begins that says times of day alone. Those of earlier days seem
    /// to be later than those behind them.
    fn last_day(&mut self) -> io::Result<u64> {
        let (mut high, mut least) = (self.end, i64::MAX - DISORDER);
        let mut reach = DAY_BYTES_MIN;
        let mut low = loop {
            let at = self.newline.align(self.end.saturating_sub(reach));
            if let Probe::Time(said, _) = self.probe(at, high, PROBE_BYTES_MAX)? {
                if said > least + DISORDER {
                    break at;
                }
                (high, least) = (at, least.min(said));
            }
            if at == 0 {
                return Ok(0);
            }
            reach += reach / 2;
        };
        while high - low > PART_BYTES {
            let middle = self.newline.align(low + (high - low) / 2);
            match self.probe(middle, high, PROBE_BYTES_MAX)? {
                Probe::Time(said, _) if said > least + DISORDER => low = middle,
                _ => high = middle,
            }
        }
        let (mut begin, mut is_before) = (high, false);
        self.lines(low, low > 0, high, |line| {
            if let Some(time) = line.time {
                if is_before && time <= least + DISORDER {
                    begin = line.offset;
                }
                is_before = time > least + DISORDER;
            }
            ControlFlow::Continue(())
        })?;
        Ok(begin)
    }

    /// The greatest time that the last lines say; `None` if none of them does.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn last(&mut self) -> io::Result<Option<i64>> {
        let mut reach = PART_BYTES;
        while self.is_timed {
            let from = self.newline.align(self.end.saturating_sub(reach));
            let mut last = None;
            self.lines(from, from > 0, self.end, |line| {
                last = last.max(line.time);
                ControlFlow::Continue(())
            })?;
            if last.is_some() || from == 0 || reach >= FORWARD_BYTES_MAX {
                return Ok(last);
            }
            reach *= 8;
        }
        Ok(None)
    }

    /// The offset of the first line that is not before a time: that of the end if there is none. A
    /// time before all others is that of the first byte, and so is one in a file without times that was
    /// written later.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn seek(&mut self, time: i64) -> io::Result<u64> {
        if !self.is_timed {
            return Ok(if time <= self.recognizer.written() { 0 } else { self.end });
        }
        if self.first()?.is_some_and(|first| time < first) {
            return Ok(0);
        }
        let (near, known) = self.narrow(time, 0)?;
        let (early, _) = self.narrow(time.saturating_sub(DISORDER), 0)?;
        let from = self.newline.align(early.max(near.saturating_sub(BACK_BYTES_MAX)));
        let to = near.saturating_add(FORWARD_BYTES_MAX);
        let mut found = None;
        self.lines(from, from > early, to, |line| {
            if line.time.is_some_and(|said| said >= time) {
                found = Some(line.offset);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.or(known).unwrap_or(self.end))
    }

    /// A line close to the first one that is not before a time, behind the line that begins at
    /// `from`. Faster than [`seek`](Self::seek): what is out of order is not looked for.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn seek_near(&mut self, time: i64, from: u64) -> io::Result<u64> {
        let (near, known) = self.narrow(time, from)?;
        let mut found = None;
        self.lines(near, false, near.saturating_add(PROBE_BYTES_MAX), |line| {
            if line.time.is_some_and(|said| said >= time) {
                found = Some(line.offset);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found.or(known).unwrap_or(self.end))
    }

    /// The start of a line before which all are before a time, apart from those that are out of
    /// order, and which is close to the first that is not; and that one, if a step has seen it.
    fn narrow(&mut self, time: i64, from: u64) -> io::Result<(u64, Option<u64>)> {
        let (mut low, mut high, mut known) = (from.max(self.begin).min(self.end), self.end, None);
        while high - low > PART_BYTES {
            let middle = self.newline.align(low + (high - low) / 2);
            match self.probe_on(middle, high)? {
                Probe::Time(said, line) if said < time => low = line,
                Probe::Time(_, line) => (high, known) = (middle, Some(line)),
                Probe::Nothing | Probe::Far => high = middle,
            }
        }
        Ok((low, known))
    }

    /// The first time at a place or behind it, however far.
    fn probe_on(&mut self, at: u64, end: u64) -> io::Result<Probe> {
        let mut stretch = self.stretch.filter(|stretch| (stretch.from..stretch.to).contains(&at));
        if stretch.is_none() {
            let mut probe = self.probe(at, end, PROBE_BYTES_MAX)?;
            if matches!(probe, Probe::Far) && self.far_bytes > 0 {
                self.far_bytes = self.far_bytes.saturating_sub(FAR_BYTES);
                probe = self.probe(at, end, FAR_BYTES)?;
            }
            if !matches!(probe, Probe::Far) {
                return Ok(probe);
            }
            stretch = Some(self.stretch_from(at)?);
            self.stretch = stretch;
        }
        Ok(match stretch.and_then(|stretch| stretch.next) {
            Some((time, line)) if line < end => Probe::Time(time, line),
            _ => Probe::Nothing,
        })
    }

    /// Where a stretch without times ends.
    fn stretch_from(&mut self, from: u64) -> io::Result<Stretch> {
        // It may go on as the one that is known.
        let behind = self.stretch.filter(|stretch| stretch.from > from);
        let (mut low, mut next) = (from, None);
        let mut high = behind.map_or(self.end, |stretch| stretch.from);
        while high - low > PROBE_BYTES_MAX {
            let middle = self.newline.align(low + (high - low) / 2);
            match self.probe(middle, high, PROBE_BYTES_MAX)? {
                Probe::Time(time, line) => (high, next) = (middle, Some((time, line))),
                Probe::Nothing => high = middle,
                Probe::Far => low = middle,
            }
        }
        Ok(match behind {
            Some(behind) if next.is_none() => Stretch { from, ..behind },
            _ => Stretch { from, to: high, next },
        })
    }

    fn probe(&mut self, at: u64, end: u64, reach: u64) -> io::Result<Probe> {
        let to = end.min(at + reach);
        let mut times = Vec::with_capacity(PROBE_TIMES);
        let mut first = None;
        self.lines(at, true, to, |line| {
            if let Some(time) = line.time {
                first = first.or(Some(line.offset));
                times.push(time);
            }
            if times.len() == PROBE_TIMES {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        times.sort_unstable();
        Ok(match (times.get(times.len() / 2), first) {
            (Some(&time), Some(first)) => Probe::Time(time, first),
            _ if to == end => Probe::Nothing,
            _ => Probe::Far,
        })
    }

    /// Calls `each` with the lines that begin at `from` or behind it and before `to`, until it breaks.
    /// `from` is inside of a line if `within` says so; a line that begins right there counts.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn lines(
        &mut self,
        from: u64,
        within: bool,
        to: u64,
        mut each: impl FnMut(TimedLine<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let width = self.newline.width() as u64;
        let mut passes = within && from >= width;
        let mut start = if passes { from - width } else { from };
        let to = to.min(self.end);
        let mut bytes: Vec<u8> = Vec::new();
        let mut piece_bytes = PIECE_BYTES_MIN;
        let mut ascii = Vec::new();
        while start < to {
            let at = start + bytes.len() as u64;
            let len = piece_bytes.min(usize::try_from(self.end - at).unwrap_or(usize::MAX));
            piece_bytes = (piece_bytes * 2).min(PIECE_BYTES_MAX);
            let piece = (self.read)(at, len)?;
            let is_last = piece.is_empty() || at + piece.len() as u64 >= self.end;
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend_from_slice(&piece);
            }
            let mut begin = 0;
            let mut call = |begin: usize, end: usize| {
                let offset = start + begin as u64;
                if offset >= to {
                    return ControlFlow::Break(());
                }
                let text = text_of(&bytes[begin..end], self.newline, &mut ascii);
                let time = self.recognizer.time_of(text);
                each(TimedLine { offset, text, time })
            };
            for end in self.newline.ends(&bytes) {
                let line_end = end - width as usize;
                if !std::mem::take(&mut passes) && call(begin, line_end).is_break() {
                    return Ok(());
                }
                begin = end;
            }
            let rest = bytes.len() - begin;
            if rest > 0 && (is_last || rest > LINE_BYTES_MAX) {
                if !passes && call(begin, begin + rest.min(LINE_BYTES_MAX)).is_break() {
                    return Ok(());
                }
                passes = true;
                begin = bytes.len();
            }
            if is_last {
                return Ok(());
            }
            start += begin as u64;
            bytes.drain(..begin);
        }
        Ok(())
    }
}

fn milliseconds(written: SystemTime) -> i64 {
    match written.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// The text of a line. Stamps are ASCII.
fn text_of<'a>(line: &'a [u8], newline: Newline, ascii: &'a mut Vec<u8>) -> &'a [u8] {
    let low = match newline {
        Newline::Byte => return line,
        Newline::Utf16Le => 0,
        Newline::Utf16Be => 1,
    };
    let mark: &[u8] = if low == 0 { b"\xff\xfe" } else { b"\xfe\xff" };
    let line = line.strip_prefix(mark).unwrap_or(line);
    ascii.clear();
    ascii
        .extend(line.chunks_exact(2).map(|unit| if unit[1 - low] == 0 { unit[low] } else { b'?' }));
    ascii
}
