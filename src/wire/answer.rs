//! The JSON answers over HTTP: the list of logs, the state of the server, and those of the
//! random-access API: rows, line numbers, matches and errors.
//!
//! Offsets and sizes are in bytes, lines are numbered from 1, and times are in milliseconds since
//! 1970. A field without a value is `null`. `docs/protocol.md` describes each answer.

use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};

use crate::log::{Generation, Offset, archive};
use crate::render::Annotation;
use crate::wire::rows::AnnotationJson;

mod merged;
pub use merged::{MergedFile, MergedLog, MergedRows, Place};

/// The answer to `/_/rows/…`.
#[derive(Debug, Serialize)]
pub struct Rows<'a> {
    /// The generation of the rows.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// The size of the log.
    #[serde(serialize_with = "as_number")]
    pub size: Offset,
    /// The offset of the first row.
    #[serde(serialize_with = "as_number")]
    pub from: Offset,
    /// The offset after the last row.
    #[serde(serialize_with = "as_number")]
    pub next: Offset,
    /// No row comes before the first.
    pub at_start: bool,
    /// No row comes after the last.
    pub at_end: bool,
    /// With `history=1`: the file that the rows are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<HistoryPlace>,
    /// What has to be said about a compressed file that could not be unpacked to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    /// The rows, in order.
    pub rows: Vec<Row<'a>>,
    /// The number of the line that begins at each row.
    pub lines: &'a [Option<u64>],
    /// When the first byte of each row arrived.
    pub times: Vec<Option<u64>>,
}

/// The answer to `/_/times/…`.
#[derive(Debug, Serialize)]
pub struct Times {
    /// The generation and the size of the file; `None` for several files.
    #[serde(flatten)]
    pub file: Option<TimesFile>,
    /// The first time that a line says.
    pub first: Option<i64>,
    /// The last one.
    pub last: Option<i64>,
    /// Whether all lines were counted. If not, the numbers are estimated.
    pub exact: bool,
    /// Spans of equal time, in order.
    pub buckets: Vec<Bucket>,
}

/// The file whose lines are counted.
#[derive(Debug, Serialize)]
pub struct TimesFile {
    /// The generation of the offsets.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// The size of the log.
    #[serde(serialize_with = "as_number")]
    pub size: Offset,
}

/// A span of time.
#[derive(Debug, Serialize)]
pub struct Bucket {
    /// Where it begins.
    pub time: i64,
    /// The offset of its first line; `None` for several files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many lines it has.
    pub lines: u64,
    /// How many of them are errors.
    pub errors: u64,
    /// How many of them are warnings.
    pub warnings: u64,
}

/// Where the rows of an answer are in the history of a log.
#[derive(Clone, Debug, Serialize)]
pub struct HistoryPlace {
    /// The absolute path of the file as it is shown.
    pub path: String,
    /// The generation of the file before it.
    #[serde(serialize_with = "as_optional_text")]
    pub previous: Option<Generation>,
    /// The generation of the file after it.
    #[serde(serialize_with = "as_optional_text")]
    pub following: Option<Generation>,
}

/// What has to be said about a compressed file that could not be unpacked to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// `truncated`, `damaged`, `too-large`, `no-room`, `unsupported` or `unreadable`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl From<archive::Notice> for Notice {
    fn from(notice: archive::Notice) -> Self {
        Self { code: notice.shortfall.code(), message: notice.to_string() }
    }
}

/// The answer to `/_/history/…`.
#[derive(Debug, Serialize)]
pub struct History {
    /// The absolute path of the log as it is shown.
    pub path: String,
    /// The files of the log, the oldest first. The last one has its name, if there is one.
    pub files: Vec<HistoryFile>,
}

/// One file of a [`History`].
#[derive(Debug, Serialize)]
pub struct HistoryFile {
    /// The generation of its content.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// Its name without the directory.
    pub name: String,
    /// Its absolute path as it is shown.
    pub path: String,
    /// The address of its page, without the host.
    pub href: String,
    /// The size of the file in bytes, as it is on the disk.
    pub bytes: u64,
    /// The size of its content in bytes; `None` for a compressed file that is not unpacked now.
    pub size: Option<u64>,
    /// `gz`, `zst`, `xz` or `bz2`; `None` for a plain file.
    pub compressed: Option<&'static str>,
    /// When it was written last.
    pub modified: Option<u64>,
    /// It has the log's name now.
    pub present: bool,
    /// What has to be said about it, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
}

/// A row: `[offset, content]`, or `[offset, content, annotation]` if there is more to say about it.
#[derive(Debug)]
pub struct Row<'a> {
    /// The offset of the byte that began the row.
    pub offset: Offset,
    /// Its HTML or text.
    pub content: &'a str,
    /// What the log says about it.
    pub note: Option<&'a Annotation>,
    /// Matches in its text, in UTF-16 code units.
    pub matches: &'a [(usize, usize)],
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let is_annotated = self.note.is_some() || !self.matches.is_empty();
        let mut row = output.serialize_tuple(if is_annotated { 3 } else { 2 })?;
        row.serialize_element(&self.offset.0)?;
        row.serialize_element(self.content)?;
        if is_annotated {
            let empty = Annotation::default();
            let note = self.note.unwrap_or(&empty);
            row.serialize_element(&AnnotationJson::new(note, self.matches))?;
        }
        row.end()
    }
}

/// The answer to `/_/lines/…?at=…`.
#[derive(Debug, Serialize)]
pub struct LineNumbers<'a> {
    /// The generation of the lines.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// The number of the line that begins at each requested offset.
    pub lines: &'a [Option<u64>],
    /// The newlines in the log.
    pub total: Option<u64>,
    /// The offset up to which lines are counted.
    #[serde(serialize_with = "as_number")]
    pub indexed: Offset,
    /// The size of the log.
    #[serde(serialize_with = "as_number")]
    pub size: Offset,
}

/// The answer to `/_/lines/…?line=…`.
#[derive(Debug, Serialize)]
pub struct LineStart {
    /// The generation of the line.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// The requested line.
    pub line: u64,
    /// The offset at which it begins.
    #[serde(serialize_with = "as_number")]
    pub offset: Offset,
}

/// A line of the answer to `/_/find/…`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Find {
    /// With `history=1`: the file in which the next rows are.
    File {
        /// The generation of its content.
        #[serde(serialize_with = "as_text")]
        generation: Generation,
        /// Its absolute path as it is shown.
        path: String,
        /// The size of its content.
        #[serde(serialize_with = "as_number")]
        size: Offset,
        /// What has to be said about a compressed file.
        #[serde(skip_serializing_if = "Option::is_none")]
        notice: Option<Notice>,
    },
    /// Rows that were found since the last line of this kind.
    Found {
        /// With `history=1`: the generation of the rows.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_optional_text")]
        generation: Option<Generation>,
        /// The offset of each row, and the number of matches in it.
        rows: Vec<(u64, usize)>,
    },
    /// How far the search is.
    Progress {
        /// The bytes searched so far.
        scanned: u64,
        /// The matching rows so far.
        rows: u64,
        /// The matches in them.
        matches: u64,
    },
    /// The end of the search.
    Done {
        /// The matching rows.
        rows: u64,
        /// The matches in them.
        matches: u64,
        /// The bytes searched.
        scanned: u64,
        /// The end of the last part that was searched.
        #[serde(serialize_with = "as_number")]
        to: Offset,
        /// Whether all of the requested part was searched.
        complete: bool,
        /// Why rows are missing; `None` if none are.
        reason: Option<Incomplete>,
    },
}

/// A line of the answer to `/_/fields/…`: the values so far.
#[derive(Debug, Serialize)]
pub struct FieldValues {
    /// The rows that fit the search, or all.
    pub rows: u64,
    /// Those of them that have the field.
    pub with_field: u64,
    /// How many different values there are.
    pub distinct: usize,
    /// The most frequent ones and their rows.
    pub values: Vec<(String, u64)>,
    /// The bytes read so far.
    pub scanned: u64,
    /// Whether this is the last line.
    pub done: bool,
    /// Whether all of the requested part was read.
    pub complete: bool,
    /// Why it was not; `None` if it was, or is not yet.
    pub reason: Option<Incomplete>,
}

/// Why the answer to a search does not name all rows.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Incomplete {
    /// The search took too long.
    Time,
    /// The file was truncated.
    Gone,
    /// There are more matching rows than the request allows.
    Results,
}

/// An error that the page can act on.
#[derive(Debug, Serialize)]
#[serde(tag = "error", rename_all = "lowercase")]
pub enum Failure<'a> {
    /// The line is not counted yet; ask again.
    Counting {
        /// The offset up to which lines are counted.
        #[serde(serialize_with = "as_number")]
        indexed: Offset,
    },
    /// The pattern is not valid.
    Pattern {
        /// What is wrong with it, in one line.
        message: &'a str,
    },
    /// Too many searches run; ask again.
    Crowded,
    /// The generation no longer exists.
    Gone {
        /// The present generation.
        #[serde(serialize_with = "as_optional_text")]
        generation: Option<Generation>,
    },
}

/// The answer to `/_/logs`.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// The logs, in the order of the list.
    pub logs: Vec<ListedLog>,
    /// Some logs were left out.
    pub truncated: bool,
}

/// One log of a [`Listing`].
#[derive(Debug, Serialize)]
pub struct ListedLog {
    /// The absolute path as it is shown.
    pub path: String,
    /// The name by which people know it, where that is not its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address of its page, without the host.
    pub href: String,
    /// The size in bytes.
    pub size: u64,
    /// When it was written last.
    pub modified: u64,
    /// How the command ended whose output it is, if it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<ListedExit>,
    /// How long the command ran, in milliseconds, if the log says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<u64>,
    /// It is on another machine, which does not answer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// How many viewers it has now.
    pub viewers: usize,
    /// The names of those that are signed in, each once, in order; not all of very many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// The end of a command in a [`Listing`].
#[derive(Debug, Serialize)]
pub struct ListedExit {
    /// The exit status, if the log says it.
    pub status: Option<i32>,
}

/// The answer to `/_/newer/…`. Both fields are `None` when there is no newer file of the same kind.
#[derive(Debug, Serialize)]
pub struct Newer {
    /// The newest file.
    pub newest: Option<LogLink>,
    /// A pattern that follows the newest file.
    pub pattern: Option<LogLink>,
}

/// A log that a page links to.
#[derive(Debug, Serialize)]
pub struct LogLink {
    /// The absolute path as it is shown.
    pub path: String,
    /// The address of its page, without the host.
    pub href: String,
}

/// The answer to `/_/check`. All fields are `None` when pages of the origin are served.
#[derive(Debug, Default, Serialize)]
pub struct Check<'a> {
    /// The status with which their requests are refused.
    pub status: Option<u16>,
    /// What is wrong.
    pub message: Option<&'a str>,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

/// The answer to `/_/healthz` where visitors need an identity.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Always `ok`.
    pub status: &'static str,
}

/// The answer to `/_/healthz`.
#[derive(Debug, Serialize)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    /// The version of the program.
    pub version: &'static str,
    /// How many viewers there are now.
    pub viewers: usize,
    /// How many logs are followed now.
    pub logs: usize,
    /// What was counted since the start.
    pub counters: HealthCounters,
}

/// The answer to `/_/readyz`.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// `ready`, `full` or `closing`.
    pub status: &'static str,
}

/// What a server counts from its start on.
#[derive(Debug, Serialize)]
pub struct HealthCounters {
    /// Reads of logs, for any purpose.
    pub reads: u64,
    /// Lookups of a log's path.
    pub lookups: u64,
    /// Published chunks.
    pub chunks: u64,
    /// How often a part of a log was rendered and encoded.
    pub renders: u64,
    /// Frames of data that were handed to sockets.
    pub frames: u64,
    /// Calls of `write` on the sockets of WebSockets.
    pub writes: u64,
}

/// An answer as JSON, on one line without a newline.
#[must_use]
pub fn to_json(answer: &impl Serialize) -> String {
    // The answers have string keys only, and writing to memory does not fail.
    serde_json::to_string(answer).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn as_number<S: Serializer>(offset: &Offset, output: S) -> Result<S::Ok, S::Error> {
    output.serialize_u64(offset.0)
}

fn as_text<S: Serializer>(generation: &Generation, output: S) -> Result<S::Ok, S::Error> {
    output.collect_str(generation)
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn as_optional_text<S: Serializer>(
    generation: &Option<Generation>,
    output: S,
) -> Result<S::Ok, S::Error> {
    match generation {
        Some(generation) => output.collect_str(generation),
        None => output.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Level;

    const GENERATION: &str = "1-2-3-4-5";

    #[test]
    fn answers_have_their_documented_json() {
        let generation: Generation = GENERATION.parse().unwrap();
        let note = Annotation { level: Some(Level::Error), ..Annotation::default() };
        let row =
            |offset, content| Row { offset: Offset(offset), content, note: None, matches: &[] };
        let rows = Rows {
            generation,
            size: Offset(90),
            from: Offset(7),
            next: Offset(31),
            at_start: false,
            at_end: true,
            file: None,
            notice: None,
            rows: vec![
                row(7, "<b>\"é\"</b>\t"),
                Row { note: Some(&note), ..row(20, "x") },
                Row { note: Some(&note), matches: &[(0, 1)], ..row(22, "y") },
                Row { matches: &[(0, 1), (3, 4)], ..row(25, "z") },
            ],
            lines: &[Some(2), None],
            times: vec![None, Some(1_700_000_000_000)],
        };
        assert_eq!(
            to_json(&rows),
            format!(
                r#"{{"generation":"{GENERATION}","size":90,"from":7,"next":31,"at_start":false,"at_end":true,"rows":[[7,"<b>\"é\"</b>\t"],[20,"x",{{"level":"error"}}],[22,"y",{{"level":"error","match":[[0,1]]}}],[25,"z",{{"match":[[0,1],[3,4]]}}]],"lines":[2,null],"times":[null,1700000000000]}}"#
            )
        );
        let (indexed, size) = (Offset(80), Offset(90));
        let lines = &[None, Some(3)];
        assert_eq!(
            to_json(&LineNumbers { generation, lines, total: None, indexed, size }),
            format!(
                r#"{{"generation":"{GENERATION}","lines":[null,3],"total":null,"indexed":80,"size":90}}"#
            )
        );
        assert_eq!(
            to_json(&LineStart { generation, line: 3, offset: Offset(8) }),
            format!(r#"{{"generation":"{GENERATION}","line":3,"offset":8}}"#)
        );
        let done = |reason| {
            let to = Offset(9);
            to_json(&Find::Done { rows: 1, matches: 2, scanned: 3, to, complete: false, reason })
        };
        for (answer, json) in [
            (
                to_json(&Find::Found { generation: None, rows: vec![(7, 2)] }),
                r#"{"type":"found","rows":[[7,2]]}"#,
            ),
            (
                to_json(&Find::Progress { scanned: 1, rows: 2, matches: 3 }),
                r#"{"type":"progress","scanned":1,"rows":2,"matches":3}"#,
            ),
            (
                done(Some(Incomplete::Results)),
                r#"{"type":"done","rows":1,"matches":2,"scanned":3,"to":9,"complete":false,"reason":"results"}"#,
            ),
            (
                done(None),
                r#"{"type":"done","rows":1,"matches":2,"scanned":3,"to":9,"complete":false,"reason":null}"#,
            ),
            (to_json(&Failure::Counting { indexed }), r#"{"error":"counting","indexed":80}"#),
            (
                to_json(&Failure::Pattern { message: "a \"b\"" }),
                r#"{"error":"pattern","message":"a \"b\""}"#,
            ),
            (to_json(&Failure::Crowded), r#"{"error":"crowded"}"#),
            (to_json(&Failure::Gone { generation: None }), r#"{"error":"gone","generation":null}"#),
            (
                to_json(&Failure::Gone { generation: Some(generation) }),
                r#"{"error":"gone","generation":"1-2-3-4-5"}"#,
            ),
        ] {
            assert_eq!(answer, json);
        }
    }
}
