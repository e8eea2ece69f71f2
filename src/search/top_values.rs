//! The values of a field over the rows of a log, the most frequent ones first.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use crate::log::Offset;
use crate::render::{Rendition, Row};
use crate::search::pattern::{LineMatcher, Pattern};
use crate::search::plain_lines::PlainLines;
use crate::search::reading::{EndedEarly, Reading};
use crate::search::scan::RowSink;
use crate::search::{SearchError, Snapshot};
use crate::structure::{Key, each_value};
use crate::wire::frame::Form;

/// The most values that are told apart. Rows with others are counted together.
const VALUES_MAX: usize = 20_000;
/// Longer values are cut, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// A count in progress.
pub struct TopValues {
    reading: Reading,
    sink: ValueSink,
}

/// The values so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The rows that fit the search, or all.
    pub rows: u64,
    /// Those of them that have the field.
    pub with_field: u64,
    /// How many values there are that were told apart.
    pub distinct: usize,
    /// The most frequent values and their rows, the most frequent first, then by text.
    pub values: Vec<(String, u64)>,
    /// The bytes that were read.
    pub scanned: u64,
}

impl TopValues {
    /// Starts to count the values of a field over the rows that begin in a part of the log, from
    /// its first offset on and before the second one, or over those of them that match a pattern.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn new(
        snapshot: Snapshot,
        part: (Offset, Offset),
        key: Key,
        pattern: Option<Pattern>,
    ) -> Result<Self, SearchError> {
        let form = Form::TextRows.with(Rendition::Shown);
        let reading = Reading::new(snapshot, part, None, form)?;
        let counts = ValueCounts { key, rows: 0, with_field: 0, values: HashMap::new() };
        let sink = ValueSink { pattern, lines: LineMatcher::default(), counts };
        Ok(Self { reading, sink })
    }

    /// Goes on in a part of another file, with what was counted so far.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn go_on_in(
        &mut self,
        snapshot: Snapshot,
        part: (Offset, Offset),
    ) -> Result<(), SearchError> {
        self.reading.go_on_in(snapshot, part)
    }

    /// Counts for `slice`. Blocks.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn run(&mut self, slice: Duration) -> Result<(), SearchError> {
        self.reading.run(&mut self.sink, slice)
    }

    /// Whether all of the part was counted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reading.is_complete()
    }

    /// Whether the count is complete or ended early.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.reading.is_done()
    }

    /// Why it ended early; `None` if it did not.
    #[must_use]
    pub fn ended_early(&self) -> Option<EndedEarly> {
        self.reading.ended_early()
    }

    /// What was counted, with at most `max` values.
    #[must_use]
    pub fn counted(&self, max: usize) -> Counted {
        let ValueCounts { rows, with_field, values, .. } = &self.sink.counts;
        let mut all: Vec<(&String, u64)> =
            values.iter().map(|(value, rows)| (value, *rows)).collect();
        let by_rows = |&(one, one_rows): &(&String, u64), &(other, other_rows): &(&String, u64)| {
            other_rows.cmp(&one_rows).then_with(|| one.cmp(other))
        };
        if max < all.len() && max > 0 {
            all.select_nth_unstable_by(max - 1, by_rows);
            all.truncate(max);
        }
        all.sort_unstable_by(by_rows);
        Counted {
            rows: *rows,
            with_field: *with_field,
            distinct: values.len(),
            values: all.into_iter().map(|(value, rows)| (value.clone(), rows)).collect(),
            scanned: self.reading.bytes(),
        }
    }
}

struct ValueSink {
    pattern: Option<Pattern>,
    lines: LineMatcher,
    counts: ValueCounts,
}

struct ValueCounts {
    key: Key,
    rows: u64,
    with_field: u64,
    values: HashMap<String, u64>,
}

impl ValueCounts {
    fn add(&mut self, text: &[u8]) {
        let Self { key, values, .. } = self;
        let has_field = each_value(text, key, |value| {
            let (value, _) = value.split_at(value.floor_char_boundary(VALUE_BYTES_MAX));
            if let Some(rows) = values.get_mut(value) {
                *rows += 1;
            } else if values.len() < VALUES_MAX {
                values.insert(value.to_owned(), 1);
            }
        });
        self.rows += 1;
        self.with_field += u64::from(has_field);
    }
}

impl RowSink for ValueSink {
    fn row(&mut self, row: &Row, _: Offset) -> ControlFlow<Offset> {
        let text = row.text().as_bytes();
        if self.pattern.as_ref().is_none_or(|pattern| pattern.accepts(text)) {
            self.counts.add(text);
        }
        ControlFlow::Continue(())
    }

    fn lines(&mut self, lines: &PlainLines<'_>) -> ControlFlow<Offset> {
        let Self { pattern, lines: matcher, counts } = self;
        match pattern {
            Some(pattern) => matcher.for_each_line(pattern, lines.text, |_, text| {
                counts.add(text);
                true
            }),
            None => {
                for line in lines.text.split_inclusive(|&byte| byte == b'\n') {
                    counts.add(line.strip_suffix(b"\n").unwrap_or(line));
                }
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::pattern::PatternSpec;
    use crate::search::snapshot::tests::snapshot_of;

    fn count(log: &[u8], pattern: Option<PatternSpec>, max: usize) -> Counted {
        count_of("status", log, pattern, max)
    }

    fn count_of(field: &str, log: &[u8], pattern: Option<PatternSpec>, max: usize) -> Counted {
        let (snapshot, _directory) = snapshot_of(log);
        let part = (Offset(0), snapshot.end);
        let pattern = pattern.map(|spec| Pattern::new(&spec).unwrap());
        let mut count = TopValues::new(snapshot, part, Key::new(field), pattern).unwrap();
        while !count.is_done() {
            count.run(Duration::from_millis(50)).unwrap();
        }
        assert!(count.is_complete());
        count.counted(max)
    }

    #[test]
    fn values_are_counted_over_the_rows_that_fit() {
        let log = b"status=200 path=/a\n{\"status\":503,\"path\":\"/b\"}\nno field\n\
                    status=200 path=/b\n\x1b[31mstatus=404\x1b[0m path=/b\nstatus=503 path=/b\n";
        let all = count(log, None, 10);
        assert_eq!((all.rows, all.with_field, all.distinct), (6, 5, 3));
        let values = |counted: &Counted| -> Vec<(String, u64)> { counted.values.clone() };
        let named = |wanted: &[(&str, u64)]| -> Vec<(String, u64)> {
            wanted.iter().map(|&(value, rows)| (value.to_owned(), rows)).collect()
        };
        assert_eq!(values(&all), named(&[("200", 2), ("503", 2), ("404", 1)]));
        assert_eq!(all.scanned, log.len() as u64);
        assert_eq!(values(&count(log, None, 1)), named(&[("200", 2)]));

        let fields = Some("path=/b".to_owned());
        let some = count(log, Some(PatternSpec { fields, ..PatternSpec::default() }), 10);
        assert_eq!((some.rows, some.with_field), (4, 4));
        assert_eq!(values(&some), named(&[("503", 2), ("200", 1), ("404", 1)]));
    }

    #[test]
    fn a_level_is_counted_by_its_severity_and_found_by_what_is_counted() {
        let log = b"level=WARN a\n{\"severity\":\"Warning\",\"msg\":\"b\"}\nlvl=wrn c\n\
                    {\"level\":40,\"name\":\"d\"}\nlevel=E e\n{\"severityNumber\":17}\nlevel=strange f\n\
                    level=notice g\n{\"level\":\"Info\"}\n{\"level\":[\"b\",\"a\",\"b\"]}\nlevel= h\nno level\n";
        let all = count_of("level", log, None, 20);
        let named =
            [("warn", 4), ("error", 2), ("info", 2), ("", 1), ("a", 1), ("b", 1), ("strange", 1)];
        let named = named.map(|(value, rows)| (value.to_owned(), rows));
        assert_eq!(all.values, named);
        assert_eq!((all.rows, all.with_field), (12, 11));
        for (value, rows) in &named {
            let fields = Some(format!("level={value:?}"));
            let found =
                count_of("level", log, Some(PatternSpec { fields, ..PatternSpec::default() }), 20);
            assert_eq!(found.rows, *rows, "{value}");
            assert!(found.values.contains(&(value.clone(), *rows)), "{value}");
        }
        // A field by its own name says what is written.
        let written = count_of("lvl", log, None, 20);
        assert_eq!(written.values, [("wrn".to_owned(), 1)]);
    }

    #[test]
    fn more_values_than_can_be_told_apart_are_still_counted() {
        let log: String = (0..VALUES_MAX + 10).map(|nth| format!("status=s{nth}\n")).collect();
        let counted = count((log + "status=s0\n").as_bytes(), None, 3);
        assert_eq!(counted.with_field, VALUES_MAX as u64 + 11);
        assert_eq!(counted.distinct, VALUES_MAX);
        assert_eq!(counted.values[0], ("s0".to_owned(), 2));
        assert_eq!(counted.values.len(), 3);
    }
}
