//! The change of the rows by a chunk.

use std::fmt;
use std::ops::Range;

use super::line::Line;
use super::row::Row;
use super::screen::Screen;

/// The change of the rows by a chunk: drop every row whose offset is `from` or more, then append
/// the [`rows`](Self::rows).
///
/// It borrows the rows of the terminal. When it is dropped, the terminal drops the final rows.
pub struct Patch<'t> {
    /// The offset of the first row that changed or was added; equal to `next` when nothing changed.
    pub from: u64,
    /// The offset of the byte after the chunk.
    pub next: u64,
    pub(super) screen: &'t mut Screen,
    /// The lines of the screen that are the rows of this patch.
    pub(super) lines: Range<usize>,
}

impl Patch<'_> {
    /// The rows from `from` on. Their offsets increase, and only the last may be open.
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
