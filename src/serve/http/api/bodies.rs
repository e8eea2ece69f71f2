//! The bodies of the random-access API's answers: JSON, from what [`search`](crate::search) returns.
//! Their status and headers are set in [`api`](crate::serve::http::api).

use crate::log::{Generation, Offset};
use crate::search::find::{EndedEarly, Find};
use crate::search::pattern::BadPattern;
use crate::search::rows::RenderedRow;
use crate::search::{RowRange, Snapshot};
use crate::wire::answer::{self, Failure, Incomplete, to_json};

/// A range of rows, with the line number and the arrival time of each.
#[must_use]
pub(super) fn rows(snapshot: &Snapshot, range: &RowRange, lines: &[Option<u64>]) -> String {
    to_json(&answer::Rows {
        generation: snapshot.generation,
        size: snapshot.end,
        from: range.from,
        next: range.next,
        at_start: range.at_start,
        at_end: range.at_end,
        rows: range.rows.iter().map(row).collect(),
        lines,
        times: range.rows.iter().map(|row| snapshot.arrived(row.offset)).collect(),
    })
}

fn row(row: &RenderedRow) -> answer::Row<'_> {
    let RenderedRow { offset, content, note, matches, .. } = row;
    answer::Row { offset: *offset, content, note: note.as_deref(), matches }
}

/// The line numbers of offsets, and the number of newlines if all of them are counted.
#[must_use]
pub(super) fn lines(
    snapshot: &Snapshot,
    lines: &[Option<u64>],
    total: Option<u64>,
    indexed: Offset,
) -> String {
    let (generation, size) = (snapshot.generation, snapshot.end);
    to_json(&answer::LineNumbers { generation, lines, total, indexed, size })
}

/// The offset at which a line begins.
#[must_use]
pub(super) fn line(snapshot: &Snapshot, line: u64, offset: Offset) -> String {
    to_json(&answer::LineStart { generation: snapshot.generation, line, offset })
}

/// The rows found since the last call, if there are any, and the progress: lines of JSON.
#[must_use]
pub(super) fn found(find: &mut Find) -> String {
    let found = find.take();
    let ((rows, matches), scanned) = (find.counts(), find.searched());
    let mut lines = String::new();
    if !found.is_empty() {
        lines = to_json(&answer::Find::Found { rows: found });
        lines.push('\n');
    }
    lines += &to_json(&if find.is_done() {
        let reason = match find.ended_early() {
            Some(EndedEarly::Time) => Some(Incomplete::Time),
            Some(EndedEarly::Gone) => Some(Incomplete::Gone),
            None => find.is_full().then_some(Incomplete::Results),
        };
        let (to, complete) = (find.position(), find.is_complete());
        answer::Find::Done { rows, matches, scanned, to, complete, reason }
    } else {
        answer::Find::Progress { scanned, rows, matches }
    });
    lines.push('\n');
    lines
}

/// Lines are still being counted.
#[must_use]
pub(super) fn counting(indexed: Offset) -> String {
    to_json(&Failure::Counting { indexed })
}

/// The pattern is not valid.
#[must_use]
pub(super) fn bad_pattern(BadPattern(message): &BadPattern) -> String {
    to_json(&Failure::Pattern { message })
}

/// Too many searches run.
#[must_use]
pub(super) fn crowded() -> String {
    to_json(&Failure::Crowded)
}

/// The generation no longer exists.
#[must_use]
pub(super) fn gone(generation: Option<Generation>) -> String {
    to_json(&Failure::Gone { generation })
}
