//! The last rows of a log, as part of its page. A browser shows them as soon as it has the page, and
//! the page's script replaces them by the live ones. So the first look at a log takes one answer,
//! not the way from the page to its script and from there to a WebSocket.

use std::time::Duration;

use tokio::time::timeout;

use crate::encoding::envelope::Stream;
use crate::log::LogPath;
use crate::search::rows::{self, RenderedRow, RowPosition, RowsRequest};
use crate::search::{SearchError, Snapshot};
use crate::serve::App;
use crate::serve::identity::Visitor;
use crate::serve::query::{Lines, Query};
use crate::serve::withdrawal::Reads;
use crate::session::WantedGeneration;
use crate::wire::frame::Form;

/// Some more than fit on a large screen.
const ROWS_MAX: usize = 100;
/// The most HTML of all rows. Over a slow line it takes about as long as a round trip.
const HTML_BYTES_MAX: usize = 48 * 1024;
/// The page's script truncates rows of more HTML, so they are left to it.
const ROW_BYTES_MAX: usize = 4_000;
/// A page waits no longer for its rows: a file may have to be unpacked, or fetched from another
/// machine.
const WAIT_MAX: Duration = Duration::from_millis(150);

/// The HTML of the last rows of a log, without what the visitor may not read. None if there are no
/// rows, or not soon, or if the query wants others than the last ones.
pub(super) async fn html(
    app: &App,
    visitor: &Visitor,
    log: &LogPath,
    query: &Query,
) -> Option<String> {
    let is_about_the_end = query.range.is_all()
        && query.from.is_none()
        && matches!(query.lines, None | Some(Lines::Last(1..)));
    if !is_about_the_end {
        return None;
    }
    timeout(WAIT_MAX, read(app, visitor, log, query)).await.ok()?
}

async fn read(app: &App, visitor: &Visitor, log: &LogPath, query: &Query) -> Option<String> {
    // As for any other request: only a log without viewers gets a follower for it.
    let permit = match app.hub.registry().viewers(log) {
        0 => Some(app.admit_viewer()?),
        _ => None,
    };
    let right = app.watch_right(visitor, log, Reads::of(false));
    let wanted = WantedGeneration::Present;
    let snapshot = Snapshot::open(&app.hub, log, wanted, query.interpretation).await.ok()?;
    let index = app.lines.of(log, &snapshot);
    let form = Form::Rows.with(query.rendition);
    let request = RowsRequest { place: RowPosition::Before(snapshot.end), count: ROWS_MAX, form };
    let limiter = app.limiter.of(&snapshot);
    let read = move || {
        let _permit = permit;
        let range = rows::rows(&snapshot, &index, request)?;
        if snapshot.is_intact()? { Ok(range.rows) } else { Err(SearchError::Gone(None)) }
    };
    let rows = limiter.quick(read).await.ok()?;
    let html = written(&rows);
    (right.loss().is_none() && !html.is_empty()).then_some(html)
}

/// The HTML of the last of these rows, as many as there is room for.
fn written(rows: &[RenderedRow]) -> String {
    let mut left = HTML_BYTES_MAX;
    let fits = |row: &&RenderedRow| {
        let size = row.content.len();
        let is_room = size <= ROW_BYTES_MAX.min(left);
        left = left.saturating_sub(size);
        is_room
    };
    let count = rows.iter().rev().take_while(fits).count();
    let mut html = String::new();
    for row in &rows[rows.len() - count..] {
        write_row(row, &mut html);
    }
    html
}

/// One row, as the page's script would make it (`rows/row.js`).
fn write_row(row: &RenderedRow, html: &mut String) {
    let class = if row.content.contains('\t') { "row tabbed" } else { "row" };
    let is_error = row.note.as_ref().is_some_and(|note| note.stream == Some(Stream::Stderr));
    let stream = if is_error { " data-stream=\"stderr\"" } else { "" };
    // A line break gives an empty row its height.
    let content = if row.content.is_empty() { "<br>" } else { &row.content };
    for part in ["<div class=\"", class, "\"", stream, ">", content, "</div>"] {
        html.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;

    fn row(content: &str) -> RenderedRow {
        RenderedRow {
            offset: Offset(0),
            content: content.to_owned(),
            note: None,
            matches: Vec::new(),
            is_open: false,
            is_cut: false,
        }
    }

    #[test]
    fn rows_are_elements_in_their_order() {
        let html = written(&[row("a"), row(""), row("b\tc")]);
        let wanted = "<div class=\"row\">a</div><div class=\"row\"><br></div>\
                      <div class=\"row tabbed\">b\tc</div>";
        assert_eq!(html, wanted);
    }

    #[test]
    fn the_last_rows_have_the_room() {
        let rows: Vec<RenderedRow> =
            (0..100).map(|nth| row(&format!("{nth:03} {}", "x".repeat(996)))).collect();
        let html = written(&rows);
        let count = HTML_BYTES_MAX / 1000;
        assert_eq!(html.matches("<div").count(), count);
        assert!(html.starts_with(&format!("<div class=\"row\">{:03} x", 100 - count)), "{html}");
    }

    #[test]
    fn a_row_that_the_script_would_truncate_and_those_before_it_are_left_out() {
        let long = "x".repeat(ROW_BYTES_MAX + 1);
        assert_eq!(written(&[row("a"), row(&long), row("b")]), "<div class=\"row\">b</div>");
        assert_eq!(written(&[row("a"), row(&long)]), "");
    }
}
