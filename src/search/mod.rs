//! Looking around in a whole log, beside following it: rows anywhere in it, as live viewers see them.
//!
//! A [`Snapshot`] is a log as it was published up to a moment, in one generation. All that is done with it is bounded in
//! bytes and time whatever the size of the log, reads the file at offsets and keeps nothing of it. It blocks, and is
//! meant for threads that may; only a few of them run at once, so that those who look around do not hold up those who
//! follow.

pub mod extract;
pub mod filter;
pub mod find;
pub mod index;
pub mod levels;
pub mod limiter;
pub mod pattern;
mod plain;
pub mod rows;
mod scan;
pub mod snapshot;

pub use index::{LineIndex, LineIndexes};
pub use limiter::Limiter;
pub use rows::{RowPosition, RowRange, RowsRequest};
pub use snapshot::{SearchError, Snapshot};
