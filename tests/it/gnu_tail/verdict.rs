//! Compares the written records with the output of a follower.
//!
//! The rules are the same for all followers. A missing record counts as *announced* if the follower
//! printed any message about the file (GNU tail on stderr; tailcast a `reset`, a `gap` or a
//! `waiting`) at the place of the missing record: after the last earlier record that it printed,
//! and before the next later one. Otherwise it was lost silently. A repeated record counts as sent
//! again if the follower announced before that it starts again, otherwise as duplicated. A line
//! that is not a written record is malformed, unless it consists of two pieces of records with a
//! message between them: then a reader knows that they do not belong together.

use std::collections::HashMap;

/// The number of digits at the start of a record.
const DIGITS: usize = 8;

/// The written records, in order. A *run* is the content of a file between two turns: a rotation or
/// a truncation ends it.
#[derive(Default)]
pub struct Ledger {
    records: Vec<(Vec<u8>, usize)>,
    run: usize,
}

impl Ledger {
    /// A new record of `width` letters, without its newline.
    pub fn record(&mut self, width: usize) -> Vec<u8> {
        let number = self.records.len();
        let letters = (0..width).map(|at| b'a' + ((number + at) % 26) as u8);
        let mut record = format!("{number:0DIGITS$} ").into_bytes();
        record.extend(letters);
        self.records.push((record.clone(), self.run));
        record
    }

    pub fn turn(&mut self) {
        self.run += 1;
    }

    pub fn written(&self) -> usize {
        self.records.len()
    }

    /// The number of the record in this line, if it is one.
    fn find(&self, line: &[u8]) -> Option<usize> {
        let digits = std::str::from_utf8(line.get(..DIGITS)?).ok()?;
        let number = digits.parse().ok()?;
        let (record, _) = self.records.get(number)?;
        (record == line).then_some(number)
    }

    /// Whether these are the beginning of a record and the end of a record.
    fn has_pieces(&self, beginning: &[u8], end: &[u8]) -> bool {
        let any = |is: &dyn Fn(&[u8]) -> bool| self.records.iter().any(|(record, _)| is(record));
        any(&|record| record.starts_with(beginning)) && any(&|record| record.ends_with(end))
    }
}

/// An item in the output of a follower.
#[derive(Clone, Debug)]
pub enum Item {
    /// A line. `cut` is the position of a message within it, if there was one.
    Line { text: Vec<u8>, cut: Option<usize> },
    /// A message. `anew`: the follower starts again and may repeat records.
    Notice { words: String, anew: bool },
    /// Bytes at a wrong offset.
    Misplaced(String),
}

/// The output of a follower.
#[derive(Clone, Default)]
pub struct FollowerOutput {
    pub items: Vec<Item>,
    lines: usize,
    /// The incomplete last line.
    line: Vec<u8>,
    cut: Option<usize>,
}

impl FollowerOutput {
    pub fn bytes(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
    }

    pub fn notice(&mut self, words: impl Into<String>, anew: bool) {
        if !self.line.is_empty() {
            self.cut = Some(self.line.len());
        }
        self.items.push(Item::Notice { words: words.into(), anew });
    }

    /// Processes the end of the output.
    pub fn end(&mut self) {
        // A message at the end of a partial line announces that it is partial.
        if !self.line.is_empty() && self.cut != Some(self.line.len()) {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        self.lines += 1;
        self.items.push(Item::Line { text: std::mem::take(&mut self.line), cut: self.cut.take() });
    }

    pub fn lines(&self) -> usize {
        self.lines
    }

    /// The messages and their places.
    pub fn notices(&self) -> Vec<String> {
        let notice = |(at, item): (usize, &Item)| match item {
            Item::Notice { words, .. } => Some(format!("  item {at}: {words}")),
            Item::Line { .. } | Item::Misplaced(_) => None,
        };
        self.items.iter().enumerate().filter_map(notice).collect()
    }

    /// Whether this record was printed.
    pub fn has(&self, record: &[u8]) -> bool {
        // Only recent records are asked for.
        let recent = self.items.iter().rev().take(1000);
        recent
            .into_iter()
            .any(|item| matches!(item, Item::Line { text, .. } if text.ends_with(record)))
    }
}

/// The result for a follower, in numbers of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub written: usize,
    /// Printed at least once.
    pub once: usize,
    pub lost_announced: usize,
    pub lost_silently: usize,
    /// Repeated, as announced.
    pub sent_again: usize,
    pub duplicated: usize,
    pub malformed: usize,
    /// Descriptions of the first faults.
    pub faults: Vec<String>,
}

impl Verdict {
    fn fault(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < 10 {
            self.faults.push(words());
        }
    }
}

/// Compares what a follower printed with what was written.
pub fn judge(ledger: &Ledger, heard: &FollowerOutput) -> Verdict {
    let mut verdict = Verdict { written: ledger.written(), ..Verdict::default() };
    // The record of each item, and the places of each record.
    let mut numbers: Vec<Option<usize>> = Vec::with_capacity(heard.items.len());
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); ledger.written()];
    for (at, item) in heard.items.iter().enumerate() {
        let number = match item {
            Item::Line { text, cut } => {
                let number = ledger.find(text).or_else(|| ledger.find(&text[(*cut)?..]));
                let is_told = cut.is_some_and(|at| ledger.has_pieces(&text[..at], &text[at..]));
                if number.is_none() && !is_told {
                    verdict.malformed += 1;
                    let text = String::from_utf8_lossy(text).into_owned();
                    verdict.fault(|| format!("malformed: {text:?}, item {at}"));
                }
                number
            }
            Item::Misplaced(words) => {
                verdict.malformed += 1;
                verdict.fault(|| words.clone());
                None
            }
            Item::Notice { .. } => None,
        };
        if let Some(number) = number {
            places[number].push(at);
        }
        numbers.push(number);
    }
    let speaks = |range: std::ops::Range<usize>| {
        heard.items[range].iter().any(|item| matches!(item, Item::Notice { .. }))
    };
    // The place of the last printed record of the earlier runs, and of the present run.
    let (mut before_run, mut latest, mut run) = (0, 0, 0);
    let mut known: HashMap<(usize, usize), bool> = HashMap::new();
    for (number, places) in places.iter().enumerate() {
        let its_run = ledger.records[number].1;
        if its_run != run {
            (run, before_run, latest) = (its_run, before_run.max(latest), 0);
        }
        let Some(&first) = places.first() else {
            let after = if latest > 0 { latest } else { before_run };
            let is_announced = *known.entry((its_run, after)).or_insert_with(|| {
                let is_later = |other: usize| match ledger.records[other].1 {
                    other_run if other_run == its_run => other > number,
                    other_run => other_run > its_run,
                };
                let next = (after + 1..numbers.len())
                    .find(|&at| numbers[at].is_some_and(is_later))
                    .unwrap_or(numbers.len());
                speaks(after.min(next)..next)
            });
            if is_announced {
                verdict.lost_announced += 1;
            } else {
                verdict.lost_silently += 1;
                verdict.fault(|| {
                    format!(
                        "record {number} of run {its_run} was lost silently, after item {after}"
                    )
                });
            }
            continue;
        };
        verdict.once += 1;
        latest = latest.max(*places.last().unwrap());
        let mut before = first;
        for &again in &places[1..] {
            let is_told = heard.items[before..again]
                .iter()
                .any(|item| matches!(item, Item::Notice { anew: true, .. }));
            if is_told {
                verdict.sent_again += 1;
            } else {
                verdict.duplicated += 1;
                verdict.fault(|| {
                    format!("record {number} of run {its_run} came at items {before} and {again}")
                });
            }
            before = again;
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on an output of three runs with three records each. A digit is a record, `!` a
    /// message, `*` a message that the follower starts again, `<` the first half of the next
    /// record, and `?` a line that is no record.
    fn verdict(heard_of: &str) -> Verdict {
        let mut ledger = Ledger::default();
        let mut lines = Vec::new();
        for _ in 0..3 {
            for width in [5, 9, 7] {
                lines.push([ledger.record(width).as_slice(), b"\n"].concat());
            }
            ledger.turn();
        }
        let mut heard = FollowerOutput::default();
        let mut half = 0;
        for letter in heard_of.chars() {
            match letter {
                '!' => heard.notice("something happened", false),
                '*' => heard.notice("from the beginning", true),
                '?' => heard.bytes(b"00000001 abc\n"),
                '<' => {
                    half = 6;
                    heard.bytes(b"000000");
                }
                record => {
                    let line = &lines[record.to_digit(10).unwrap() as usize];
                    heard.bytes(&line[std::mem::take(&mut half)..]);
                }
            }
        }
        heard.end();
        judge(&ledger, &heard)
    }

    #[test]
    fn losses_repetitions_and_partial_records_are_distinguished() {
        // The output; then printed once, lost and announced, lost silently, sent again, duplicated,
        // malformed.
        for (heard, expected) in [
            ("012345678", [9, 0, 0, 0, 0, 0]),
            ("012!345!678", [9, 0, 0, 0, 0, 0]),
            ("012678", [6, 0, 3, 0, 0, 0]),
            ("012!678", [6, 3, 0, 0, 0, 0]),
            ("01!345678", [8, 1, 0, 0, 0, 0]),
            ("013!45678", [8, 0, 1, 0, 0, 0]),
            ("02!345678", [8, 0, 1, 0, 0, 0]),
            ("01!234568", [8, 0, 1, 0, 0, 0]),
            ("!12345678", [8, 1, 0, 0, 0, 0]),
            ("12345678!", [8, 0, 1, 0, 0, 0]),
            ("01234567!", [8, 1, 0, 0, 0, 0]),
            ("01234567", [8, 0, 1, 0, 0, 0]),
            ("01!34!2!5678", [9, 0, 0, 0, 0, 0]),
            ("0!34!2!5678", [8, 1, 0, 0, 0, 0]),
            ("034!2!5678", [8, 0, 1, 0, 0, 0]),
            ("0122345678", [9, 0, 0, 0, 1, 0]),
            ("012!2345678", [9, 0, 0, 0, 1, 0]),
            ("012*012345678", [9, 0, 0, 3, 0, 0]),
            ("012?345678", [9, 0, 0, 0, 0, 1]),
            ("01<!2345678", [9, 0, 0, 0, 0, 0]),
            ("01<2345678", [9, 0, 0, 0, 0, 0]),
            ("", [0, 0, 9, 0, 0, 0]),
        ] {
            let it = verdict(heard);
            let counts = [
                it.once,
                it.lost_announced,
                it.lost_silently,
                it.sent_again,
                it.duplicated,
                it.malformed,
            ];
            assert_eq!(counts, expected, "{heard}: {:?}", it.faults);
        }
    }

    #[test]
    fn a_partial_record_is_malformed_unless_the_follower_reported_something_there() {
        let mut ledger = Ledger::default();
        let lines: Vec<_> = (0..2).map(|_| [ledger.record(5).as_slice(), b"\n"].concat()).collect();
        for (notice, second, malformed, once) in [
            (true, &lines[1][..], 0, 1),
            (false, &lines[1][..], 1, 0),
            (true, &lines[1][9..], 0, 0),
            (false, &lines[1][9..], 1, 0),
            (true, b"rubbish\n", 1, 0),
        ] {
            let mut heard = FollowerOutput::default();
            heard.bytes(&lines[0][..7]);
            if notice {
                heard.notice("truncated", false);
            }
            heard.bytes(second);
            heard.end();
            let verdict = judge(&ledger, &heard);
            assert_eq!((verdict.malformed, verdict.once), (malformed, once), "{verdict:?}");
        }
    }
}
