//! The bodies of the random-access API's answers: JSON, from what [`search`](crate::search) returns.
//! Their status and headers are set in [`api`](crate::serve::http::api).

use std::time::UNIX_EPOCH;

use crate::log::archive::Compression;
use crate::log::{Generation, HistoryFile, LogPath, Offset};
use crate::search::find::{EndedEarly, Find};
use crate::search::merged::{LogPage, LogPart, MergedPage, Position};
use crate::search::pattern::BadPattern;
use crate::search::rows::RenderedRow;
use crate::search::times::{Bucket, Count, Times};
use crate::search::top_values::{Counted, TopValues};
use crate::search::{History, RowRange, SearchError, Snapshot};
use crate::serve::BasePath;
use crate::serve::http::api::merged::failure;
use crate::serve::query::href;
use crate::wire::answer::{self, Failure, HistoryPlace, Incomplete, to_json};

/// A range of rows, with the line number and the arrival time of each, and with their file in the
/// log's history if that is wanted.
#[must_use]
pub(super) fn rows(
    snapshot: &Snapshot,
    range: &RowRange,
    lines: &[Option<u64>],
    file: Option<HistoryPlace>,
) -> String {
    to_json(&answer::Rows {
        generation: snapshot.generation,
        size: snapshot.end,
        from: range.from,
        next: range.next,
        at_start: range.at_start,
        at_end: range.at_end,
        file,
        notice: snapshot.notice().map(Into::into),
        rows: range.rows.iter().map(row).collect(),
        lines,
        times: range.rows.iter().map(|row| snapshot.arrived(row.offset)).collect(),
    })
}

fn row(row: &RenderedRow) -> answer::Row<'_> {
    let RenderedRow { offset, content, note, matches, .. } = row;
    answer::Row { offset: *offset, content, note: note.as_deref(), matches }
}

/// Where a stream goes on behind the rows of one log, and where the last row before that stands among
/// those of other logs. `None` if there may be more rows.
#[must_use]
pub(super) fn live_end(page: &LogPage) -> Option<(Position, Option<i64>)> {
    page.is_to_end().then(|| {
        let live = Position { offset: page.open().unwrap_or(page.next.offset), ..page.next };
        (live, page.key_before(live))
    })
}

/// Rows of several logs. There is an end for each log that could be read, and a failure for each that
/// could not.
#[must_use]
pub(super) fn merged_rows(
    page: &MergedPage,
    ends: &[Option<(Position, Option<i64>)>],
    failures: &[Option<SearchError>],
) -> String {
    let place = |Position { generation, offset }: Position| answer::Place { generation, offset };
    let mut read = page.parts.iter().zip(ends);
    // The place in the request of each log that could be read.
    let mut places = Vec::new();
    let mut logs = Vec::with_capacity(failures.len());
    for (at, failed) in failures.iter().enumerate() {
        let part = if failed.is_none() { read.next() } else { None };
        logs.push(match (failed, part) {
            (None, Some((part, end))) => {
                places.push(at);
                let &LogPart { from, next, at_start, at_end, is_timed: timed } = part;
                let (live, key) = end.map_or((None, None), |(live, key)| (Some(place(live)), key));
                let (from, next) = (place(from), place(next));
                answer::MergedLog::Read { from, next, at_start, at_end, live, key, timed }
            }
            (failed, _) => {
                let (error, message) =
                    failure(failed.as_ref().unwrap_or(&SearchError::Interrupted));
                answer::MergedLog::Failed { error, message: message.to_owned() }
            }
        });
    }
    let mut files: Vec<answer::MergedFile> = Vec::new();
    let mut of = Vec::with_capacity(page.rows.len());
    for (log, placed) in &page.rows {
        let (log, generation) = (places.get(*log).copied().unwrap_or(*log), placed.generation);
        let is_it = |file: &answer::MergedFile| file.log == log && file.generation == generation;
        of.push(files.iter().rposition(is_it).unwrap_or_else(|| {
            files.push(answer::MergedFile { log, generation });
            files.len() - 1
        }));
    }
    to_json(&answer::MergedRows {
        at_start: page.parts.iter().all(|part| part.at_start),
        at_end: page.parts.iter().all(|part| part.at_end),
        logs,
        files,
        rows: page.rows.iter().map(|(_, placed)| row(&placed.row)).collect(),
        of,
        times: page.rows.iter().map(|(_, placed)| placed.time).collect(),
        keys: page.rows.iter().map(|(_, placed)| placed.key).collect(),
    })
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

/// The spans of time of a log.
#[must_use]
pub(super) fn times(count: &Count) -> String {
    let file = answer::TimesFile { generation: count.generation(), size: count.size() };
    spans(count.times(), Some(file))
}

/// The spans of time of a log with its old files.
#[must_use]
pub(super) fn times_of_history(times: Times) -> String {
    spans(times, None)
}

fn spans(times: Times, file: Option<answer::TimesFile>) -> String {
    let Times { first, last, exact, buckets } = times;
    let is_of_file = file.is_some();
    let bucket = |bucket: Bucket| {
        let Bucket { time, offset, lines, errors, warnings } = bucket;
        answer::Bucket { time, offset: is_of_file.then_some(offset.0), lines, errors, warnings }
    };
    let buckets = buckets.into_iter().map(bucket).collect();
    to_json(&answer::Times { file, first, last, exact, buckets })
}

/// The files of a log.
#[must_use]
pub(super) fn history(base: &BasePath, log: &LogPath, history: &History) -> String {
    let file = |(at, file): (usize, &HistoryFile)| {
        let path = history.path_of(file);
        let content = history.content_of(file);
        let since = file.modified.and_then(|modified| modified.duration_since(UNIX_EPOCH).ok());
        answer::HistoryFile {
            generation: file.generation,
            name: path.as_path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            path: path.display().to_string(),
            href: href(base, &path),
            bytes: file.disk_size,
            size: content.as_ref().map(|(size, _)| *size),
            compressed: file.compression.map(Compression::ending),
            modified: since.map(|since| since.as_millis() as u64),
            present: file.past_path().is_none() && at + 1 == history.files().len(),
            notice: content.and_then(|(_, notice)| notice).map(Into::into),
        }
    };
    let files = history.files().iter().enumerate().map(file).collect();
    to_json(&answer::History { path: log.display().to_string(), files })
}

/// The file of a log's history that is searched next: a line of JSON.
#[must_use]
pub(super) fn file(path: &LogPath, snapshot: &Snapshot) -> String {
    let (generation, size) = (snapshot.generation, snapshot.end);
    let (path, notice) = (path.display().to_string(), snapshot.notice().map(Into::into));
    to_json(&answer::Find::File { generation, path, size, notice }) + "\n"
}

/// The rows found since the last call, and the progress over all files that were searched before:
/// lines of JSON. The last file's end is that of the search.
#[must_use]
pub(super) fn found_in_history(
    find: &mut Find,
    generation: Generation,
    before: &FoundBefore,
    is_last: bool,
) -> String {
    let rows = find.take();
    let mut lines = String::new();
    if !rows.is_empty() {
        let generation = Some(generation);
        lines = to_json(&answer::Find::Found { generation, rows }) + "\n";
    }
    let total = before.with(find);
    let FoundBefore { rows, matches, scanned, .. } = total;
    let is_over = find.is_done() && (is_last || find.ended_early() == Some(EndedEarly::Time));
    lines += &to_json(&if is_over {
        let reason = match find.ended_early() {
            Some(EndedEarly::Time) => Some(Incomplete::Time),
            _ if total.is_file_gone => Some(Incomplete::Gone),
            _ => total.is_full.then_some(Incomplete::Results),
        };
        let complete = find.is_complete() && !total.is_file_gone;
        answer::Find::Done { rows, matches, scanned, to: find.position(), complete, reason }
    } else {
        answer::Find::Progress { scanned, rows, matches }
    });
    lines.push('\n');
    lines
}

/// What was found in the files that were searched before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FoundBefore {
    pub(super) rows: u64,
    pub(super) matches: u64,
    pub(super) scanned: u64,
    /// There are more rows than are reported.
    pub(super) is_full: bool,
    /// A file was gone before it was searched, or was truncated meanwhile.
    pub(super) is_file_gone: bool,
}

impl FoundBefore {
    /// The same with what a search has found so far.
    pub(super) fn with(self, find: &Find) -> Self {
        let (rows, matches) = find.counts();
        Self {
            rows: self.rows + rows,
            matches: self.matches + matches,
            scanned: self.scanned + find.searched(),
            is_full: self.is_full || find.is_full(),
            is_file_gone: self.is_file_gone || find.ended_early() == Some(EndedEarly::Gone),
        }
    }
}

/// The rows found since the last call, if there are any, and the progress: lines of JSON.
#[must_use]
pub(super) fn found(find: &mut Find) -> String {
    let found = find.take();
    let ((rows, matches), scanned) = (find.counts(), find.searched());
    let mut lines = String::new();
    if !found.is_empty() {
        lines = to_json(&answer::Find::Found { generation: None, rows: found });
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

/// How far the values of a field were counted over the files of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct FilesCounted {
    /// No other file is counted after this one.
    pub(super) is_last: bool,
    /// One of the files could not be read to its end.
    pub(super) is_one_gone: bool,
}

/// The values of a field so far: a line of JSON.
#[must_use]
pub(super) fn field_values(count: &TopValues, max: usize, files: FilesCounted) -> String {
    let Counted { rows, with_field, distinct, values, scanned } = count.counted(max);
    let reason = count.ended_early().map(|ended| match ended {
        EndedEarly::Time => Incomplete::Time,
        EndedEarly::Gone => Incomplete::Gone,
    });
    let done = count.is_done() && files.is_last;
    let complete = count.is_complete() && done && !files.is_one_gone;
    let reason = reason.or((done && files.is_one_gone).then_some(Incomplete::Gone));
    let values =
        answer::FieldValues { rows, with_field, distinct, values, scanned, done, complete, reason };
    to_json(&values) + "\n"
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
