//! What those who look around are answered, as JSON.

use crate::log::Generation;
use crate::search::{Stretch, View};
use crate::session::wire;

/// A stretch of rows.
#[must_use]
pub fn stretch(view: &View, stretch: &Stretch) -> String {
    let mut rows = String::new();
    for row in &stretch.rows {
        if !rows.is_empty() {
            rows.push(',');
        }
        rows.push_str(&wire::row(row.offset.0, &row.content, row.note.as_deref(), &[]));
    }
    let Stretch { from, next, at_start, at_end, .. } = stretch;
    let (generation, size) = (view.generation, view.end);
    format!(
        r#"{{"generation":"{generation}","size":{size},"from":{from},"next":{next},"at_start":{at_start},"at_end":{at_end},"rows":[{rows}]}}"#
    )
}

/// That a generation is not there any more.
#[must_use]
pub fn gone(present: Option<Generation>) -> String {
    let present = present.map_or("null".to_owned(), |present| format!("\"{present}\""));
    format!(r#"{{"error":"gone","generation":{present}}}"#)
}
