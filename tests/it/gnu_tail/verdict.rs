//! What was written, what a follower printed of it, and what that makes.
//!
//! The rule is one for all. A record that is missing counts as *announced* if the follower said
//! anything at all about the file (GNU tail on its stderr; tailcast by a `reset`, a `gap` or a
//! `waiting`) in the place where the record is missing: after the last one that it printed of those
//! before, and before the next one that it printed of those after. Otherwise it was lost silently.
//! A record that comes again counts as sent again if the follower said before that it starts anew,
//! and otherwise as duplicated. A line that is no record that was written is malformed, unless it
//! is two pieces of records and the follower reported something between them: then a reader knows
//! that they do not belong together.

use std::collections::HashMap;

/// The digits that a record begins with.
const DIGITS: usize = 8;

/// What was written, in order. A *run* is what a file held between two turns: a rotation or a
/// truncation ends it.
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

    /// The number of the record that this line is, if it is one.
    fn find(&self, line: &[u8]) -> Option<usize> {
        let digits = std::str::from_utf8(line.get(..DIGITS)?).ok()?;
        let number = digits.parse().ok()?;
        let (record, _) = self.records.get(number)?;
        (record == line).then_some(number)
    }

    /// Whether these are the beginning of one record and the end of another.
    fn has_pieces(&self, beginning: &[u8], end: &[u8]) -> bool {
        let any = |is: &dyn Fn(&[u8]) -> bool| self.records.iter().any(|(record, _)| is(record));
        any(&|record| record.starts_with(beginning)) && any(&|record| record.ends_with(end))
    }
}

/// One thing that a follower printed.
#[derive(Clone, Debug)]
pub enum Item {
    /// A line, and how much of it had been printed when the follower spoke, if it spoke within it.
    Line { text: Vec<u8>, cut: Option<usize> },
    /// The follower spoke. `anew`: it starts again with what it may have printed already.
    Notice { words: String, anew: bool },
    /// Bytes where none can be.
    Misplaced(String),
}

/// What a follower has printed so far.
#[derive(Clone, Default)]
pub struct FollowerOutput {
    pub items: Vec<Item>,
    lines: usize,
    /// The line that has not ended yet.
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

    /// Nothing more comes.
    pub fn end(&mut self) {
        // A piece at whose end the follower spoke is told to be one.
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

    /// What the follower said, and where.
    pub fn notices(&self) -> Vec<String> {
        let notice = |(at, item): (usize, &Item)| match item {
            Item::Notice { words, .. } => Some(format!("  item {at}: {words}")),
            Item::Line { .. } | Item::Misplaced(_) => None,
        };
        self.items.iter().enumerate().filter_map(notice).collect()
    }

    /// Whether this record has come.
    pub fn has(&self, record: &[u8]) -> bool {
        // Those that are asked for were written last.
        let recent = self.items.iter().rev().take(1000);
        recent
            .into_iter()
            .any(|item| matches!(item, Item::Line { text, .. } if text.ends_with(record)))
    }
}

/// What a follower made of it, in records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub written: usize,
    /// They came, at least once.
    pub once: usize,
    pub lost_announced: usize,
    pub lost_silently: usize,
    /// They came again, as the follower had said.
    pub sent_again: usize,
    pub duplicated: usize,
    pub malformed: usize,
    /// The faults in words, a few of them.
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
    // For each item the record that it is; for each record the places where it came.
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
    // Where the last of the earlier runs, and of the present one, came.
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

    /// Runs of three records each, and what was heard of them: `0` is a record, `!` a word about
    /// the file, `*` that the follower starts anew, `<` the first half of the next record, `?` a
    /// line that nobody wrote.
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
    fn losses_repetitions_and_partial_records_are_told_apart() {
        // What was heard; once, lost and announced, lost silently, sent again, duplicated,
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
