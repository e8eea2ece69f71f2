//! What bytes did to the rows.

use std::fmt;
use std::ops::Range;

use super::line::Line;
use super::row::Row;
use super::screen::Screen;

/// What a chunk did to the rows: drop every row whose offset is `from` or more, then append the [`rows`](Self::rows).
///
/// The rows are those of the terminal itself, and not copies. It goes on, and forgets the rows that are final, when this is dropped.
pub struct Patch<'t> {
    /// The offset of the first row that changed or was added; equal to `next` when nothing changed.
    pub from: u64,
    /// The offset of the byte after the chunk.
    pub next: u64,
    pub(super) screen: &'t mut Screen,
    /// Which of its lines they are.
    pub(super) lines: Range<usize>,
}

impl Patch<'_> {
    /// The rows from there on. Their offsets increase, and only the last may be open.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        let lines = self.screen.lines.get(self.lines.clone()).unwrap_or_default();
        lines.iter().map(Line::as_row)
    }
}

impl Drop for Patch<'_> {
    fn drop(&mut self) {
        self.screen.settle();
    }
}

impl fmt::Debug for Patch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patch")
            .field("from", &self.from)
            .field("next", &self.next)
            .field("rows", &self.rows().collect::<Vec<_>>())
            .finish()
    }
}
