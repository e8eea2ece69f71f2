//! Where the lines of one log stand among those of others.
//!
//! Lines of a log keep the order of their file, although their times may go back. So a line stands at
//! its key: the greatest time of the lines before it and its own. Only the lines shortly before it
//! count ([`WINDOW_BYTES`]), so that a line has the same key from wherever the log is read, and a clock
//! that was put back does no lasting harm. A time that most of the lines behind it contradict is that
//! of a wrong clock, and counts as none.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;

use super::TimedFile;
use super::seek::{DISORDER, LINE_BYTES_MAX};

/// How far before a line others count for its key, in bytes.
const WINDOW_BYTES: u64 = 256 * 1024;
/// How many of the next times may contradict a time.
const JUDGES: usize = 4;
/// How many of them make it the time of a wrong clock.
const JUDGES_MIN: usize = 3;
/// How far behind a line they are, in bytes.
const JUDGES_BYTES: u64 = 64 * 1024;
/// How far back the last time is looked for that was before a place, in bytes.
const BACK_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How much is read back for all the places of one call, in bytes.
const BACK_BYTES_IN_ALL: u64 = 32 * 1024 * 1024;
/// The first step of that. Each further one is so many times as long.
const BACK_BYTES_MIN: u64 = 64 * 1024;
const BACK_FACTOR: u64 = 4;

/// A line, its time and its key, both in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The time that it says, or that of the last line before it that says one.
    pub time: Option<i64>,
    /// Where it stands among the lines of other logs. `None` if no line up to it says a time.
    pub key: Option<i64>,
    /// It has no key because not all lines before it were read: one that is far away may say a time.
    pub is_far: bool,
}

impl<R: Fn(u64, usize) -> io::Result<Vec<u8>>> TimedFile<R> {
    /// The places of the lines that contain the bytes at these ascending offsets. Far from each other
    /// they cost the read of 320 KiB each, and of 32 MiB in all where no times are near.
    ///
    /// # Errors
    /// Those of the reads.
    pub fn places(&mut self, offsets: &[u64]) -> io::Result<Vec<Placed>> {
        if !self.is_timed() {
            return Ok(vec![Placed::default(); offsets.len()]);
        }
        let mut places: Vec<Placed> = Vec::with_capacity(offsets.len());
        let mut back = Back { left: BACK_BYTES_IN_ALL, known: None };
        for near in offsets.chunk_by(|one, next| next.saturating_sub(*one) <= WINDOW_BYTES) {
            self.places_near(near, &mut places, &mut back)?;
            back.known = near.last().copied().zip(places.last().copied());
        }
        Ok(places)
    }

    /// The same for offsets that are not far from each other.
    fn places_near(
        &mut self,
        offsets: &[u64],
        places: &mut Vec<Placed>,
        back: &mut Back,
    ) -> io::Result<()> {
        let Some(first) = offsets.first() else { return Ok(()) };
        let start = self.align(first.saturating_sub(WINDOW_BYTES + LINE_BYTES_MAX as u64));
        let known = places.len();
        let mut order = Order::default();
        let mut wanted = offsets.iter();
        let mut next = wanted.next().copied();
        let mut present = Placed::default();
        let mut take = |offset: u64, placed: Placed| {
            while next.is_some_and(|at| at < offset) {
                places.push(present);
                next = wanted.next().copied();
            }
            present = placed;
            if next.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut is_over = false;
        self.lines(start, start > 0, u64::MAX, |line| {
            let flow = order.add(line.offset, line.time, &mut take);
            is_over = flow.is_break();
            flow
        })?;
        if !is_over {
            order.finish(&mut take);
        }
        // The last line of the file contains all that is behind its start.
        places.resize(known + offsets.len(), present);
        let is_missing = |placed: &Placed| placed.key.is_none();
        if start > 0 && places.get(known).is_some_and(is_missing) {
            let Placed { time, is_far, .. } = self.last_before(start, back)?;
            for placed in places[known..].iter_mut().take_while(|placed| is_missing(placed)) {
                *placed = Placed { time: placed.time.or(time), key: time, is_far };
            }
        }
        Ok(())
    }

    /// The place of the last line before an offset, by the last time that a line says.
    fn last_before(&mut self, place: u64, back: &mut Back) -> io::Result<Placed> {
        let at = |time| Placed { time, key: time, is_far: false };
        let (mut to, mut reach) = (place, BACK_BYTES_MIN);
        let bound = place.saturating_sub(BACK_BYTES_MAX.min(back.left));
        let floor = back.known.map_or(bound, |(offset, _)| bound.max(offset.min(place)));
        while to > floor {
            let from = self.align(to.saturating_sub(reach).max(floor));
            let mut last = None;
            self.lines(from, from > 0, to, |line| {
                last = line.time.or(last);
                ControlFlow::Continue(())
            })?;
            back.left = back.left.saturating_sub(to - from);
            if last.is_some() {
                return Ok(at(last));
            }
            (to, reach) = (from, reach * BACK_FACTOR);
        }
        Ok(match back.known {
            Some((_, Placed { time: Some(time), .. })) => at(Some(time)),
            Some((offset, known)) if offset >= floor => Placed { is_far: known.is_far, ..at(None) },
            _ => Placed { is_far: to > 0, ..at(None) },
        })
    }
}

/// What the places before have told about what is read back for the next ones.
struct Back {
    /// What may still be read, in bytes.
    left: u64,
    /// The last offset of which the place is known, and that place.
    known: Option<(u64, Placed)>,
}

/// Gives the lines of a file their keys, one after the other. A line has its key once the times behind
/// it are known that may contradict its own.
#[derive(Debug, Default)]
struct Order {
    /// Lines without a key yet: offset and time.
    waiting: VecDeque<(u64, Option<i64>)>,
    /// How many of them say a time.
    times: usize,
    /// The times that count for the next line: each is greater than those behind it.
    greatest: VecDeque<(u64, i64)>,
    /// The last time that counts.
    last_counted: Option<i64>,
    /// The last time.
    last: Option<i64>,
}

impl Order {
    /// Adds the next line. `placed` gets the lines that have a key now.
    fn add(
        &mut self,
        offset: u64,
        time: Option<i64>,
        placed: &mut impl FnMut(u64, Placed) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.waiting.push_back((offset, time));
        self.times += usize::from(time.is_some());
        while let Some(&(first, said)) = self.waiting.front() {
            let judges = self.times - usize::from(said.is_some());
            let is_judged = said.is_none() || judges >= JUDGES || offset - first > JUDGES_BYTES;
            if !is_judged {
                break;
            }
            self.place_first(placed)?;
        }
        ControlFlow::Continue(())
    }

    /// The lines that are left at the end of the file.
    fn finish(&mut self, placed: &mut impl FnMut(u64, Placed) -> ControlFlow<()>) {
        while !self.waiting.is_empty() && self.place_first(placed).is_continue() {}
    }

    fn place_first(
        &mut self,
        placed: &mut impl FnMut(u64, Placed) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some((offset, said)) = self.waiting.pop_front() else {
            return ControlFlow::Continue(());
        };
        if let Some(time) = said {
            self.times -= 1;
            self.last = said;
            if !self.is_contradicted(offset, time) {
                self.count(offset, time);
            }
        }
        let floor = offset.saturating_sub(WINDOW_BYTES);
        while self.greatest.front().is_some_and(|(at, _)| *at < floor) {
            self.greatest.pop_front();
        }
        let key = self.greatest.front().map(|(_, time)| *time).or(self.last_counted);
        placed(offset, Placed { time: self.last, key, is_far: false })
    }

    /// Whether most of the next lines are much earlier than a time.
    fn is_contradicted(&self, offset: u64, time: i64) -> bool {
        let next = self.waiting.iter().take_while(|(at, _)| at - offset <= JUDGES_BYTES);
        let judges = next.filter_map(|(_, said)| *said).take(JUDGES);
        let against = judges.filter(|said| *said < time.saturating_sub(DISORDER));
        against.count() >= JUDGES_MIN
    }

    fn count(&mut self, offset: u64, time: i64) {
        self.last_counted = Some(time);
        while self.greatest.back().is_some_and(|(_, other)| *other <= time) {
            self.greatest.pop_back();
        }
        self.greatest.push_back((offset, time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Newline;
    use crate::time::{Reading, Zone};
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::time::{Duration, UNIX_EPOCH};

    /// 2026-11-28T14:02:00Z in seconds.
    const T: i64 = 1_795_874_520;

    fn file_of(log: &str) -> TimedFile<Reading<'_>> {
        let read: Reading<'_> = Box::new(move |from, len| {
            let from = (from as usize).min(log.len());
            Ok(log.as_bytes()[from..log.len().min(from + len)].to_vec())
        });
        let written = UNIX_EPOCH + Duration::from_secs(T as u64 + 86_400);
        let file = TimedFile::open(read, log.len() as u64, Newline::Byte, written, &Zone::UTC);
        file.unwrap()
    }

    /// A line at this many milliseconds after T.
    fn line(after: i64, text: &str) -> String {
        format!("{}.{:03} {text}\n", T + after.div_euclid(1000), after.rem_euclid(1000))
    }

    /// Time and key of each line, in milliseconds after T.
    fn keys(log: &str) -> Vec<(Option<i64>, Option<i64>)> {
        let mut at = 0;
        let offsets: Vec<u64> = log
            .split_inclusive('\n')
            .map(|line| {
                at += line.len() as u64;
                at - line.len() as u64
            })
            .collect();
        let after = |time: Option<i64>| Some(time? - T * 1000);
        let places = file_of(log).places(&offsets).unwrap();
        places.into_iter().map(|placed| (after(placed.time), after(placed.key))).collect()
    }

    #[test]
    fn a_line_stands_behind_those_before_it_and_a_wrong_clock_moves_nothing() {
        let log = [
            "no time yet\n".to_owned(),
            line(1000, "one"),
            "  of one\n".to_owned(),
            line(3000, "three"),
            line(2000, "late"),
            line(86_400_000, "a wrong clock"),
            "  of the wrong clock\n".to_owned(),
            line(4000, "four"),
            line(-86_400_000, "another wrong clock"),
            line(5000, "five"),
            line(6000, "six"),
            line(7000, "seven"),
        ];
        let (none, day) = ((None, None), 86_400_000);
        let both = |time| (Some(time), Some(time));
        assert_eq!(
            keys(&log.concat()),
            [
                none,
                both(1000),
                both(1000),
                both(3000),
                (Some(2000), Some(3000)),
                (Some(day), Some(3000)),
                (Some(day), Some(3000)),
                both(4000),
                (Some(-day), Some(4000)),
                both(5000),
                both(6000),
                both(7000),
            ]
        );
    }

    #[test]
    fn a_line_far_behind_the_last_time_has_that_time() {
        let trace = "  at a place in the source that has a long name\n".repeat(20_000);
        let log = line(1000, "early") + &line(500, "late") + &trace + &line(2000, "end");
        assert!(trace.len() as u64 > 3 * WINDOW_BYTES);
        let at = log.len() as u64 - 40;
        assert!(at > 3 * WINDOW_BYTES);
        let time = Some(T * 1000 + 500);
        let places = file_of(&log).places(&[at]).unwrap();
        assert_eq!(places, [Placed { time, key: time, is_far: false }]);
        assert_eq!(file_of("a\nb\n").places(&[0, 2, 9]).unwrap().len(), 3);
    }

    #[test]
    fn how_far_back_is_read_is_bounded_for_all_places_together() {
        let silent = "a line that says no time\n";
        let stretch = silent.repeat(60 * 1024 * 1024 / silent.len());
        let read_for = |log: &str, step: usize| {
            let read = Cell::new(0);
            let reading = |from: u64, len: usize| {
                let from = (from as usize).min(log.len());
                let bytes = log.as_bytes()[from..log.len().min(from + len)].to_vec();
                read.set(read.get() + bytes.len());
                Ok(bytes)
            };
            let end = log.len() as u64;
            let written = UNIX_EPOCH + Duration::from_secs(T as u64 + 86_400);
            let mut file =
                TimedFile::open(reading, end, Newline::Byte, written, &Zone::UTC).unwrap();
            assert!(file.is_timed());
            let offsets: Vec<u64> = (0..end).step_by(step).skip(1).collect();
            read.set(0);
            let places = file.places(&offsets).unwrap();
            (places, read.get() / (1024 * 1024))
        };
        // The time at the beginning is looked for once, not for each place.
        let (places, read) = read_for(&(line(1000, "one") + &stretch), 2 * 1024 * 1024);
        let time = Some(T * 1000 + 1000);
        assert!(places.iter().all(|placed| *placed == Placed { time, key: time, is_far: false }));
        assert!(read < 90, "{read} MiB");
        // Here it is too far away for the first place, and no one knows the keys of the others.
        let far = line(1000, "one") + &stretch + &line(3000, "end");
        let (places, read) = read_for(&far, 9 * 1024 * 1024);
        assert_eq!(places, [Placed { is_far: true, ..Placed::default() }; 6]);
        assert!(read < 40, "{read} MiB");
        // That no line says a time before the first of these is known.
        let (places, _) = read_for(&(stretch + &line(1000, "one")), 7 * 1024 * 1024);
        assert_eq!(places[..4], [Placed::default(); 4]);
    }

    proptest! {
        #![proptest_config(crate::testing::cases(48))]
        #[test]
        fn a_line_has_one_key_from_wherever_the_log_is_read(
            // Seconds between lines, how late a line is written in milliseconds, its length.
            lines in proptest::collection::vec((0i64..3, 0i64..9000, 1usize..400, 0u8..4), 1..3000),
            places in proptest::collection::vec(0.0..1.0f64, 6),
        ) {
            let (mut log, mut clock) = (String::new(), 0);
            let (mut offsets, mut expected, mut greatest) = (Vec::new(), Vec::new(), None);
            for (step, late, len, kind) in lines {
                clock += step * 1000;
                offsets.push(log.len() as u64);
                let text = "x".repeat(len);
                if kind == 0 {
                    log += &format!("{text}\n");
                } else {
                    greatest = greatest.max(Some(clock - late));
                    log += &line(clock - late, &text);
                }
                expected.push(greatest.map(|after| T * 1000 + after));
            }
            let mut file = file_of(&log);
            prop_assume!(file.is_timed());
            // The greatest time of all before is among those that count.
            let all = file.places(&offsets).unwrap();
            let all: Vec<Option<i64>> = all.into_iter().map(|placed| placed.key).collect();
            prop_assert_eq!(&all, &expected);
            for place in places {
                let nth = (offsets.len() as f64 * place) as usize;
                let inside = offsets[nth] + 1;
                let found = file.places(&[inside]).unwrap();
                prop_assert_eq!(found[0].key, expected[nth], "line {}", nth);
            }
        }
    }
}
