//! What those who look around are answered, as JSON.

use crate::log::{Generation, Offset};
use crate::search::find::{EndedEarly, Find};
use crate::search::pattern::BadPattern;
use crate::search::{RowRange, Snapshot};
use crate::wire::rows;

/// A stretch of rows, with the numbers of their lines, and the times at which they came.
#[must_use]
pub(super) fn stretch(view: &Snapshot, stretch: &RowRange, lines: &[Option<u64>]) -> String {
    let mut rows = String::new();
    for row in &stretch.rows {
        if !rows.is_empty() {
            rows.push(',');
        }
        rows.push_str(&rows::row(row.offset.0, &row.content, row.note.as_deref(), &row.matches));
    }
    let times: Vec<Option<u64>> = stretch.rows.iter().map(|row| view.arrived(row.offset)).collect();
    let RowRange { from, next, at_start, at_end, .. } = stretch;
    let (generation, size) = (view.generation, view.end);
    format!(
        r#"{{"generation":"{generation}","size":{size},"from":{from},"next":{next},"at_start":{at_start},"at_end":{at_end},"rows":[{rows}],"lines":{lines},"times":{times}}}"#,
        lines = numbers(lines),
        times = numbers(&times),
    )
}

/// The numbers of lines, and how many newlines there are.
#[must_use]
pub(super) fn lines(
    view: &Snapshot,
    lines: &[Option<u64>],
    total: Option<u64>,
    indexed: Offset,
) -> String {
    let (generation, size) = (view.generation, view.end);
    let total = total.map_or("null".to_owned(), |total| total.to_string());
    format!(
        r#"{{"generation":"{generation}","lines":{},"total":{total},"indexed":{indexed},"size":{size}}}"#,
        numbers(lines)
    )
}

/// Where a line begins.
#[must_use]
pub(super) fn line(view: &Snapshot, line: u64, start: Offset) -> String {
    let generation = view.generation;
    format!(r#"{{"generation":"{generation}","line":{line},"offset":{start}}}"#)
}

/// That lines are being counted, and how far they have been.
#[must_use]
pub(super) fn counting(indexed: Offset) -> String {
    format!(r#"{{"error":"counting","indexed":{indexed}}}"#)
}

/// What a search has found since the last line, if anything, and how far it is. Lines of JSON.
#[must_use]
pub(super) fn found(find: &mut Find) -> String {
    let rows = find.take();
    let (count, matches) = find.counts();
    let searched = find.searched();
    let mut lines = String::new();
    if !rows.is_empty() {
        let rows = serde_json::to_string(&rows).unwrap_or_default();
        lines = format!("{{\"type\":\"found\",\"rows\":{rows}}}\n");
    }
    lines += &if find.is_done() {
        let (to, complete) = (find.position(), find.is_complete());
        let reason = match find.cut() {
            Some(EndedEarly::Time) => "\"time\"",
            Some(EndedEarly::Gone) => "\"gone\"",
            None if find.is_full() => "\"results\"",
            None => "null",
        };
        format!(
            r#"{{"type":"done","rows":{count},"matches":{matches},"scanned":{searched},"to":{to},"complete":{complete},"reason":{reason}}}"#
        )
    } else {
        format!(r#"{{"type":"progress","scanned":{searched},"rows":{count},"matches":{matches}}}"#)
    };
    lines.push('\n');
    lines
}

/// What can't be looked for.
#[must_use]
pub(super) fn bad_pattern(BadPattern(message): &BadPattern) -> String {
    let message = serde_json::to_string(message).unwrap_or_default();
    format!(r#"{{"error":"pattern","message":{message}}}"#)
}

/// That too many search at the same time.
#[must_use]
pub(super) fn crowded() -> String {
    r#"{"error":"crowded"}"#.to_owned()
}

/// A list of numbers, null where there is none.
fn numbers(numbers: &[Option<u64>]) -> String {
    serde_json::to_string(numbers).unwrap_or_default()
}

/// That a generation is not there any more.
#[must_use]
pub(super) fn gone(present: Option<Generation>) -> String {
    let present = present.map_or("null".to_owned(), |present| format!("\"{present}\""));
    format!(r#"{{"error":"gone","generation":{present}}}"#)
}
