//! Lines that became final, kept for their buffers: a busy log ends many lines, and each would
//! allocate them again.

use std::cell::RefCell;

use super::line::Line;

/// How many lines a thread keeps. A session feeds a terminal less than that at once, unless they
/// are very short.
const LINES_MAX: usize = 256;

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// An empty line at an offset.
pub(super) fn line(offset: u64) -> Line {
    match LINES.with_borrow_mut(Vec::pop) {
        Some(mut line) => {
            line.renew(offset);
            line
        }
        None => Line::new(offset),
    }
}

/// Keeps lines that nobody needs any more, unless they are large.
pub(super) fn keep(lines: impl Iterator<Item = Line>) {
    LINES.with_borrow_mut(|spare| {
        let room = LINES_MAX.saturating_sub(spare.len());
        spare.extend(lines.filter(Line::is_small).take(room));
    });
}
