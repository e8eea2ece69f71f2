//! The answer that has the rows of several logs.

use serde::Serialize;

use super::{Row, as_number, as_text};
use crate::log::{Generation, Offset};

/// The answer to `/_/merged-rows`.
#[derive(Debug, Serialize)]
pub struct MergedRows<'a> {
    /// No row of any log comes before the first.
    pub at_start: bool,
    /// No row of any log comes after the last.
    pub at_end: bool,
    /// Where the rows begin and end in each log.
    pub logs: Vec<MergedLog>,
    /// The files of the rows.
    pub files: Vec<MergedFile>,
    /// The rows, in order.
    pub rows: Vec<Row<'a>>,
    /// Which of the files each row is of, from 0.
    pub of: Vec<usize>,
    /// The time of each row.
    pub times: Vec<Option<i64>>,
    /// Where each row stands among those of other logs.
    pub keys: Vec<Option<i64>>,
}

/// A file of some of the rows.
#[derive(Debug, Serialize)]
pub struct MergedFile {
    /// Its log, by its place in the request, from 0.
    pub log: usize,
    /// The generation of its content.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
}

/// One log of an answer that has the rows of several.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum MergedLog {
    /// It could be read.
    Read {
        /// Its first row that is in the answer or comes after it.
        from: Place,
        /// Its first row that comes after the answer.
        next: Place,
        /// No row of it comes before the answer.
        at_start: bool,
        /// No row of it comes after the answer.
        at_end: bool,
        /// Where a stream goes on behind the rows that are there: its last row again if later bytes
        /// may add to it. `None` if there may be more rows.
        live: Option<Place>,
        /// Where the last row before `live` stands among those of other logs.
        key: Option<i64>,
        /// Its lines say times; else their arrival orders them.
        timed: bool,
    },
    /// It could not be read.
    Failed {
        /// `forbidden`, `not-found`, `unreadable`, `unreachable` or `gone`.
        error: &'static str,
        /// A sentence for people.
        message: String,
    },
}

/// A position in a log.
#[derive(Debug, Serialize)]
pub struct Place {
    /// The generation.
    #[serde(serialize_with = "as_text")]
    pub generation: Generation,
    /// The offset in it.
    #[serde(serialize_with = "as_number")]
    pub offset: Offset,
}
