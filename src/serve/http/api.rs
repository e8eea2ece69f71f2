//! Looking around in a log: what lies under `/_/NAME/PATH`.
//!
//! The path is the log's own, and so are the checks: what a log's URL refuses is refused here.

mod answer;
mod query;
mod stream;

use std::io;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::log::{LogPath, Offset, Refusal};
use crate::search::pattern::{BadPattern, Pattern, PatternSpec};
use crate::search::rows::{self, RowsRequest};
use crate::search::{LineIndex, RowPosition, SearchError, Snapshot, filter};
use crate::serve::App;
use crate::serve::query::decode_path;
use crate::serve::routes::{Body, Refused, full};
use crate::session::WantedGeneration;
use query::ApiQuery;

/// What can be asked about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ApiCall {
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
fn question(name: &str) -> Option<(ApiCall, &str)> {
    let (question, path) = name.split_at(name.find('/')?);
    let question = match question {
        "rows" => ApiCall::Rows,
        "lines" => ApiCall::Lines,
        "find" => ApiCall::Find,
        "text" => ApiCall::Text,
        _ => return None,
    };
    Some((question, path))
}

/// Answers what is asked about a log; none when `name` asks for something else.
pub(in crate::serve) async fn answer(
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
    question: ApiCall,
    path: &str,
) -> Result<Response<Body>, Refused> {
    let around = ApiQuery::parse(parts.uri.query().unwrap_or_default())?;
    let log = app.access.locate(&decode_path(path)?)?;
    let view = match Snapshot::open(&app.hub, &log, around.of).await {
        Ok(view) => view,
        Err(error) => return error_answer(&log, &error),
    };
    let index = app.lines.of(&log, &view);
    let answer = match question {
        ApiCall::Rows => rows(app, around, view, index).await,
        ApiCall::Lines => lines(app, around, view, index).await,
        ApiCall::Find => stream::find(app, around, view, &log).await,
        ApiCall::Text => stream::text(app, around, view, &log).await,
    };
    match answer {
        Ok(answer) => Ok(answer),
        // It was cut while it was read.
        Err(SearchError::Gone(None)) => {
            match Snapshot::open(&app.hub, &log, WantedGeneration::Present).await {
                Ok(present) => error_answer(&log, &SearchError::Gone(Some(present.generation))),
                Err(_) => error_answer(&log, &SearchError::Gone(None)),
            }
        }
        Err(error) => error_answer(&log, &error),
    }
}

async fn rows(
    app: &Arc<App>,
    around: ApiQuery,
    view: Snapshot,
    index: Arc<LineIndex>,
) -> Result<Response<Body>, SearchError> {
    app.limiter.count(&index, &view).await?;
    let place = around.place.unwrap_or(RowPosition::From(Offset(0)));
    let wanted = RowsRequest { place, count: around.count, form: around.form };
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
            None => rows::rows(&view, &index, wanted)?,
        };
        let lines = index.numbers(&view, stretch.rows.iter().map(|row| row.offset))?;
        if !view.is_intact()? {
            return Err(SearchError::Gone(None));
        }
        Ok(answer::rows(&view, &stretch, &lines))
    };
    let answer = match is_search {
        true => app.limiter.time_slice(look).await,
        false => app.limiter.quick(look).await,
    };
    answer.map(|answer| json(StatusCode::OK, answer))
}

/// A pattern takes a while to compile.
async fn compile(
    app: &App,
    sought: PatternSpec,
) -> Result<Result<Pattern, BadPattern>, SearchError> {
    app.limiter.quick(move || Ok(Pattern::new(&sought))).await
}

fn bad_pattern(bad: &BadPattern) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, answer::bad_pattern(bad))
}

async fn lines(
    app: &Arc<App>,
    around: ApiQuery,
    view: Snapshot,
    index: Arc<LineIndex>,
) -> Result<Response<Body>, SearchError> {
    app.limiter.count(&index, &view).await?;
    let look = move || {
        let answer = match around.place {
            Some(RowPosition::Line(line)) => {
                let start =
                    index.start_of(&view, line)?.ok_or(SearchError::Counting(index.indexed()))?;
                answer::line(&view, line, start)
            }
            _ => {
                let lines = numbers(&view, &index, &around.at)?;
                let total = index.newlines(&view, view.end)?;
                answer::lines(&view, &lines, total, index.indexed().min(view.end))
            }
        };
        if view.is_intact()? { Ok(answer) } else { Err(SearchError::Gone(None)) }
    };
    app.limiter.quick(look).await.map(|answer| json(StatusCode::OK, answer))
}

/// The numbers of the lines that begin at offsets, whatever their order.
fn numbers(view: &Snapshot, index: &LineIndex, at: &[Offset]) -> io::Result<Vec<Option<u64>>> {
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
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, answer::crowded());
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// Maps a search error to an HTTP response. Logs what the response does not say.
fn error_answer(log: &LogPath, error: &SearchError) -> Result<Response<Body>, Refused> {
    report(log, error);
    match error {
        SearchError::Refused(refusal) => Err((*refusal).into()),
        SearchError::Unreadable(_) | SearchError::Interrupted => Err(Refusal::Unreadable.into()),
        SearchError::Gone(present) => Ok(json(StatusCode::GONE, answer::gone(*present))),
        SearchError::Counting(indexed) => {
            let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, answer::counting(*indexed));
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            Ok(answer)
        }
    }
}

/// Logs an error whose cause is on this machine, not in the request.
fn report(log: &LogPath, error: &SearchError) {
    if let SearchError::Unreadable(error) = error {
        tracing::warn!(log = %log.display(), %error, "cannot read the log");
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
