//! Looking around in a log: what lies under `/_/NAME/PATH`.
//!
//! The path is the log's own, and so are the checks: what a log's URL refuses is refused here.

mod query;
mod stream;

use std::io;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::log::{Offset, Refusal};
use crate::search::pattern::{BadPattern, Pattern, Sought};
use crate::search::rows::{self, Wanted};
use crate::search::{LineIndex, Lost, Place, View, filter, wire};
use crate::serve::App;
use crate::serve::query::decode_path;
use crate::serve::routes::{Body, Refused, full};
use crate::session::Of;
use query::Around;

/// What can be asked about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Rows anywhere in it.
    Rows,
    /// Which lines offsets are in, and where lines begin.
    Lines,
    /// Where something is in it.
    Find,
    /// Lines of it, to be kept.
    Text,
}

/// The question and the log's path of what lies under `/_/`, if it is one of these.
fn question(name: &str) -> Option<(Question, &str)> {
    let (question, path) = name.split_at(name.find('/')?);
    let question = match question {
        "rows" => Question::Rows,
        "lines" => Question::Lines,
        "find" => Question::Find,
        "text" => Question::Text,
        _ => return None,
    };
    Some((question, path))
}

/// Answers what is asked about a log; none when `name` asks for something else.
pub(super) async fn answer(
    app: &Arc<App>,
    parts: &Parts,
    name: &str,
) -> Option<Result<Response<Body>, Refused>> {
    let (question, path) = question(name)?;
    Some(of_log(app, parts, question, path).await)
}

async fn of_log(
    app: &Arc<App>,
    parts: &Parts,
    question: Question,
    path: &str,
) -> Result<Response<Body>, Refused> {
    let around = Around::parse(parts.uri.query().unwrap_or_default())?;
    let log = app.access.locate(&decode_path(path)?)?;
    let view = match View::open(app.hub.registry(), &log, around.of).await {
        Ok(view) => view,
        Err(lost) => return lost_answer(lost),
    };
    let index = app.lines.of(&log, &view);
    let answer = match question {
        Question::Rows => rows(app, around, view, index).await,
        Question::Lines => lines(app, around, view, index).await,
        Question::Find => stream::find(app, around, view).await,
        Question::Text => stream::text(app, around, view, &log).await,
    };
    match answer {
        Ok(answer) => Ok(answer),
        // It was cut while it was read.
        Err(Lost::Gone(None)) => match View::open(app.hub.registry(), &log, Of::Present).await {
            Ok(present) => lost_answer(Lost::Gone(Some(present.generation))),
            Err(_) => lost_answer(Lost::Gone(None)),
        },
        Err(lost) => lost_answer(lost),
    }
}

async fn rows(
    app: &Arc<App>,
    around: Around,
    view: View,
    index: Arc<LineIndex>,
) -> Result<Response<Body>, Lost> {
    app.turns.count(&index, &view).await?;
    let place = around.place.unwrap_or(Place::From(Offset(0)));
    let wanted = Wanted { place, count: around.count, form: around.form };
    let pattern = match around.filter {
        true => match compile(app, around.sought).await? {
            Ok(pattern) => Some(pattern),
            Err(bad) => return Ok(bad_pattern(&bad)),
        },
        false => None,
    };
    let is_search = pattern.is_some();
    let look = move || {
        let stretch = match &pattern {
            Some(pattern) => filter::filtered(&view, &index, wanted, pattern)?,
            None => rows::stretch(&view, &index, wanted)?,
        };
        let lines = index.numbers(&view, stretch.rows.iter().map(|row| row.offset))?;
        if !view.is_intact()? {
            return Err(Lost::Gone(None));
        }
        Ok(wire::stretch(&view, &stretch, &lines))
    };
    let answer = match is_search {
        true => app.turns.slice(look).await,
        false => app.turns.glance(look).await,
    };
    answer.map(|answer| json(StatusCode::OK, answer))
}

/// A pattern takes a while to compile.
async fn compile(app: &App, sought: Sought) -> Result<Result<Pattern, BadPattern>, Lost> {
    app.turns.glance(move || Ok(Pattern::new(&sought))).await
}

fn bad_pattern(bad: &BadPattern) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, wire::bad_pattern(bad))
}

async fn lines(
    app: &Arc<App>,
    around: Around,
    view: View,
    index: Arc<LineIndex>,
) -> Result<Response<Body>, Lost> {
    app.turns.count(&index, &view).await?;
    let look = move || {
        let answer = match around.place {
            Some(Place::Line(line)) => {
                let start = index.start_of(&view, line)?.ok_or(Lost::Counting(index.indexed()))?;
                wire::line(&view, line, start)
            }
            _ => {
                let lines = numbers(&view, &index, &around.at)?;
                let total = index.newlines(&view, view.end)?;
                wire::lines(&view, &lines, total, index.indexed().min(view.end))
            }
        };
        if view.is_intact()? { Ok(answer) } else { Err(Lost::Gone(None)) }
    };
    app.turns.glance(look).await.map(|answer| json(StatusCode::OK, answer))
}

/// The numbers of the lines that begin at offsets, whatever their order.
fn numbers(view: &View, index: &LineIndex, at: &[Offset]) -> io::Result<Vec<Option<u64>>> {
    let mut order: Vec<usize> = (0..at.len()).collect();
    order.sort_unstable_by_key(|&nth| at[nth]);
    let sorted = index.numbers(view, order.iter().map(|&nth| at[nth]))?;
    let mut lines = vec![None; at.len()];
    for (nth, line) in order.into_iter().zip(sorted) {
        lines[nth] = line;
    }
    Ok(lines)
}

/// That there are too many who search.
fn crowded() -> Response<Body> {
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, wire::crowded());
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// What who asks for something that is not there is told.
fn lost_answer(lost: Lost) -> Result<Response<Body>, Refused> {
    match lost {
        Lost::Refused(refusal) => Err(refusal.into()),
        Lost::Unreadable => Err(Refusal::Unreadable.into()),
        Lost::Gone(present) => Ok(json(StatusCode::GONE, wire::gone(present))),
        Lost::Counting(indexed) => {
            let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, wire::counting(indexed));
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(answer)
        }
    }
}

fn json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
