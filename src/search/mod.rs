//! Random access to a log: rows anywhere in it, line numbers, finding and extracting lines.
//!
//! A [`Snapshot`] is one generation of a log, as it was published up to a moment. Rows come out as
//! live viewers see them. Every step is bounded in bytes and time, whatever the size of the log; it
//! reads the file at offsets and keeps none of its content. The functions block. Callers run them
//! through a [`Limiter`], so that requests for old lines never delay live ones.

pub mod extract;
pub mod filter;
pub mod find;
pub mod history;
pub mod index;
mod level_shapes;
pub mod levels;
pub mod limiter;
pub mod merge;
pub mod merged;
pub mod merged_files;
mod needles;
pub mod part;
pub mod pattern;
mod plain;
mod plain_lines;
mod prefilter;
mod reading;
pub mod rows;
mod scan;
mod skim;
pub mod snapshot;
pub mod stack_trace;
pub mod times;
pub mod times_together;
pub mod top_values;
mod trace_matcher;

pub use history::History;
pub use index::{LineIndex, LineIndexes};
pub use limiter::Limiter;
pub use part::Part;
pub use rows::{RowPosition, RowRange, RowsRequest};
pub use snapshot::{SearchError, Snapshot};
