//! A log as a terminal would have left it: bytes in, rows out, and rows as HTML.
//!
//! A [`Terminal`] is the state between two chunks. It is fed bytes and answers with a [`Patch`]: from which offset the rows
//! changed, and what they are now. A row is named by the offset of the byte that began it, so a progress bar that is drawn a
//! thousand times is one row, and a viewer that comes later sees the same rows as one that watched.
//!
//! The stages: the terminal divides the bytes into text, controls and whole escape sequences; `vte` parses the sequences; the
//! screen applies them to lines; `ansi-to-html` turns the styled ones into elements. None of them sees what it cannot take, so
//! nothing here fails, waits, reads or writes. However bytes are divided into chunks, the rows come out the same.
//!
//! What a log loses here: escape sequences that mean nothing to a log (titles, modes, queries, images), the control characters,
//! and what was overwritten. U+0080 to U+009F are dropped too, and never read as the start of a sequence.
//!
//! Where it differs from a terminal, because a log has no fixed height or width: lines do not wrap; the cursor goes down no further
//! than the last row, as at the bottom of a screen; a cleared screen becomes history and a page begins below it; row numbers count from
//! there; scroll regions are not followed, and the status line under one is not shown; a saved cursor is a place in the log and moves
//! with it; what a full-screen program draws is one row that says so; erasing to the end of a row leaves no background there.
//!
//! Markers that build systems put into logs ([`Annotation`]) are read in passing. The text stays what a terminal shows.

mod annotation;
mod append;
mod cells;
mod charset;
mod ci_marker;
mod erase;
mod group;
mod html;
mod line;
mod patch;
mod perform;
mod row;
mod screen;
mod screen_modes;
mod sequence;
mod style;
mod tags;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

pub use annotation::{Annotation, Group, GroupStart, Level};
pub use append::Appender;
pub use html::escape;
pub use patch::Patch;
pub use row::Row;
pub use terminal::Terminal;
pub use text::shown_as_it_is;

/// How many of the last rows can change, the open one among them. Rows above them are final.
pub const SCREEN_ROWS: usize = 64;

/// The columns that a cursor movement can reach. Lines that are printed beyond them are complete all the same.
pub const COLUMNS_MAX: usize = 512;

/// The most bytes of text in a row; a longer line goes on in the next row. Escaped it still fits in a message.
pub const ROW_BYTES_MAX: usize = 32 * 1024;

/// The most changes of style in a row; a more colourful line goes on in the next row.
pub const ROW_RUNS_MAX: usize = 4096;
