//! A log as a terminal would have left it: bytes in, rows out, and rows as HTML.
//!
//! A [`Terminal`] is the state between two chunks. It takes bytes and returns a [`Patch`]: the
//! offset from which the rows changed, and the rows from there on. The offset of the byte that
//! began a row is its name. So a progress bar that is drawn a thousand times is one row, and a
//! viewer that joins later sees the same rows as one that was there from the start.
//!
//! The stages: the terminal divides the bytes into text, control characters and complete escape
//! sequences; `vte` parses the sequences; the screen applies them to lines; `ansi-to-html` turns
//! styles into elements. No stage can fail on its input, and none waits, reads or writes. The rows
//! are the same, however the bytes are divided into chunks.
//!
//! These are dropped: escape sequences that are meaningless in a log (titles, modes, queries,
//! images), control characters, overwritten text, and U+0080 to U+009F, which never start a
//! sequence.
//!
//! Differences from a terminal, because a log has no fixed height or width: lines do not wrap,
//! though ways up and down count the rows of a screen on which they do; the cursor goes down to the
//! last row at most; a cleared screen becomes history, a page begins below it, and row numbers count
//! from there; scroll regions are not followed, and the status line under one is not shown; a saved
//! cursor moves with its row; one row stands for everything that a full-screen program draws;
//! erasing to the end of a row leaves no background there. Carriage returns end lines where they
//! clearly do not redraw a row.
//!
//! Where a container runtime wrote the log, its envelopes are opened first: what is shown is what the
//! program wrote, with its times and streams.
//!
//! Markers of build systems become [`Annotation`]s. The text stays what a terminal shows, except
//! for stamps at the start of lines, which become the times of rows. A terminal of the rendition
//! [`Written`](Rendition::Written) shows everything that was written.

mod annotation;
mod append;
mod ascent;
mod cells;
mod charset;
mod ci_marker;
mod console_note;
mod envelopes;
mod erase;
mod exit;
mod group;
mod html;
mod input;
mod interpretation;
mod line;
mod line_start;
mod movement;
mod patch;
mod perform;
mod progress;
mod returns;
mod row;
mod screen;
mod screen_modes;
mod sequence;
mod size;
mod spare;
mod stamp;
mod style;
mod tags;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod written;

pub use annotation::{Annotation, Exit, Group, GroupStart, Level};
pub use append::Appender;
pub use exit::ExitMark;
pub use html::escape;
pub use interpretation::{Decode, Interpretation};
pub use patch::Patch;
pub use row::Row;
pub use size::Size;
pub use stamp::{STAMP_HINTS, may_be_stamped, stamped_line};
pub use terminal::Terminal;
pub use text::shown_as_it_is;
pub use written::Rendition;

/// The number of last rows that can change, including the open one. Rows above them are final.
pub const SCREEN_ROWS: usize = 64;

/// The number of columns that a cursor movement can reach. Printed lines may be longer.
pub const COLUMNS_MAX: usize = 512;

/// The most bytes of text in a row; a longer line continues in the next row. The escaped text fits
/// into a message.
pub const ROW_BYTES_MAX: usize = 32 * 1024;

/// The most changes of style in a row; a line with more continues in the next row.
pub const ROW_RUNS_MAX: usize = 4096;
