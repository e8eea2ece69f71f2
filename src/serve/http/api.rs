//! Random access to a log: `/_/rows/PATH`, `/_/lines/PATH`, `/_/find/PATH`, `/_/text/PATH`,
//! `/_/times/PATH` and `/_/fields/PATH`. Its files are listed at `/_/history/PATH`. `/_/merged-rows`
//! has the rows of several.
//!
//! The path and its checks are those of the log's URL: a path that is refused there is also refused
//! here.

mod bodies;
mod history;
mod merged;
mod query;
mod stream;
mod times;

use std::io;
use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::log::{LogPath, Offset, Refusal};
use crate::render::Interpretation;
use crate::search::index::Counted;
use crate::search::pattern::{BadPattern, Pattern, PatternSpec};
use crate::search::rows::{self, RowsRequest};
use crate::search::{History, LineIndex, Part, RowPosition, SearchError, Snapshot, filter};
use crate::serve::App;
use crate::serve::body::{Body, full};
use crate::serve::identity::Visitor;
use crate::serve::query::requested_path;
use crate::serve::refusal::Refused;
use crate::serve::viewer_limit::ViewerPermit;
use crate::serve::withdrawal::{Loss, Reads, Withdrawal};
use crate::session::WantedGeneration;
use crate::wire::answer::HistoryPlace;
pub(in crate::serve) use merged::{MergedQuery, merged_rows};
use query::ApiQuery;
pub(in crate::serve) use times::Counts;

/// What can be asked about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum ApiCall {
    /// Rows anywhere in the log.
    Rows,
    /// The line numbers of offsets, and the offsets of lines.
    Lines,
    /// The rows in which a pattern matches.
    Find,
    /// Lines of the log as a download.
    Text,
    /// The files of the log.
    History,
    /// How much there was when.
    Times,
    /// The most frequent values of a field.
    Fields,
}

impl ApiCall {
    /// The call and the log's path in the target after `/_/`. `None` when it is something else.
    pub(in crate::serve) fn parse(name: &str) -> Option<(Self, &str)> {
        let (call, path) = name.split_at(name.find('/')?);
        let call = match call {
            "rows" => Self::Rows,
            "lines" => Self::Lines,
            "find" => Self::Find,
            "text" => Self::Text,
            "history" => Self::History,
            "times" => Self::Times,
            "fields" => Self::Fields,
            _ => return None,
        };
        Some((call, path))
    }
}

/// A log that a request is about.
struct LogView {
    log: LogPath,
    snapshot: Snapshot,
    /// The request counts as a viewer as long as this lives, unless the log already has viewers.
    permit: Option<ViewerPermit>,
    /// The right to the log, which may end while it is read.
    right: Withdrawal,
}

/// A log with its old files that a request is about. The fields are those of [`LogView`].
struct HistoryView {
    log: LogPath,
    history: History,
    permit: Option<ViewerPermit>,
    right: Withdrawal,
}

/// Answers a request about a log. `path` is percent-encoded.
///
/// # Errors
/// 400 for a path or parameter that can't be understood, 503 when the server is full, and what
/// opening the log refuses.
pub(in crate::serve) async fn answer(
    app: &Arc<App>,
    visitor: &Visitor,
    parts: &Parts,
    call: ApiCall,
    path: &str,
) -> Result<Response<Body>, Refused> {
    let query = ApiQuery::parse(parts.uri.query().unwrap_or_default())?;
    let query = query.with_settings(&app.settings());
    let log = visitor.log_requested(&requested_path(path)?)?;
    // The limit bounds the followers. Only a log without viewers gets a follower for this request.
    // A page whose viewer is admitted can use this API even when the server is full.
    let permit = if app.hub.registry().viewers(&log) > 0 {
        None
    } else {
        Some(app.admit_viewer().ok_or_else(Refused::full)?)
    };
    let wants_history = match call {
        ApiCall::History => true,
        ApiCall::Rows | ApiCall::Find | ApiCall::Text | ApiCall::Times | ApiCall::Fields => {
            query.history
        }
        ApiCall::Lines => false,
    };
    let right = app.watch_right(visitor, &log, Reads::of(wants_history));
    if wants_history {
        let answered = async {
            let history = History::open(&app.hub, &log, query.interpretation).await?;
            let view = HistoryView { log: log.clone(), history, permit, right };
            history::answer(app, call, query, view).await
        };
        return answered.await.or_else(|error| error_answer(&log, &error));
    }
    let snapshot = match Snapshot::open(&app.hub, &log, query.of, query.interpretation).await {
        Ok(snapshot) => snapshot,
        Err(error) => return error_answer(&log, &error),
    };
    let view = LogView { log: log.clone(), snapshot, permit, right };
    let answered = async {
        if call == ApiCall::Times {
            return times::times(app, query, view).await;
        }
        let (query, part) = part_of(app, query, &view.snapshot).await?;
        answer_for_one(app, call, query, view, part).await
    };
    match answered.await {
        Ok(answer) => Ok(answer),
        // The log was truncated while it was read.
        Err(SearchError::Gone(None)) => {
            let present = Snapshot::open(
                &app.hub,
                &log,
                WantedGeneration::Present,
                Interpretation::default(),
            )
            .await;
            let generation = present.ok().map(|present| present.generation);
            error_answer(&log, &SearchError::Gone(generation))
        }
        Err(error) => error_answer(&log, &error),
    }
}

/// The part of a file that is wanted, and the query with the place that it means.
async fn part_of(
    app: &App,
    mut query: ApiQuery,
    snapshot: &Snapshot,
) -> Result<(ApiQuery, Part), SearchError> {
    let (range, at) = (query.range.clone(), query.at_time);
    if range.is_all() && at.is_none() {
        return Ok((query, Part::default()));
    }
    let snapshot = snapshot.clone();
    let seek = move || {
        let seek =
            |time: Option<i64>| time.map(|time| snapshot.seek_time(time, &range.zone)).transpose();
        Ok((seek(at)?, Part { from: seek(range.since)?, to: seek(range.until)? }))
    };
    let (at, part) = app.limiter.quick(seek).await?;
    query.place = at.max(part.from.filter(|_| at.is_some())).map(RowPosition::From).or(query.place);
    Ok((query, part))
}

async fn answer_for_one(
    app: &Arc<App>,
    call: ApiCall,
    query: ApiQuery,
    view: LogView,
    part: Part,
) -> Result<Response<Body>, SearchError> {
    match call {
        ApiCall::Rows => rows(app, query, view, None, part).await,
        ApiCall::Lines => lines(app, query, view).await,
        ApiCall::Find => stream::find(app, query, view, part).await,
        ApiCall::Text => stream::text(app, query, view, part).await,
        ApiCall::Fields => stream::field_values(app, query, view, part).await,
        // It was answered before.
        ApiCall::History | ApiCall::Times => Err(SearchError::Interrupted),
    }
}

async fn rows(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
    file: Option<HistoryPlace>,
    part: Part,
) -> Result<Response<Body>, SearchError> {
    let index = app.lines.of(&view.log, &view.snapshot);
    app.limiter.count(&index, &view.snapshot, counted(query.place)).await?;
    let limiter = app.limiter.of(&view.snapshot);
    let position = query.place.unwrap_or(RowPosition::From(part.from.unwrap_or_default()));
    let wanted = RowsRequest { place: position, count: query.count, form: query.form };
    let pattern = match query.filter {
        true => match compile(app, query.sought).await? {
            Ok(pattern) => Some(pattern),
            Err(bad) => return Ok(bad_pattern(&bad)),
        },
        false => None,
    };
    let is_search = pattern.is_some();
    let LogView { snapshot, permit, right, .. } = view;
    let read = move || {
        let _permit = permit;
        // A log ends where its wanted part does.
        let ended = part.ended(&snapshot);
        let range = match &pattern {
            Some(pattern) => filter::filtered(&ended, &index, wanted, pattern)?,
            None => rows::rows(&ended, &index, wanted)?,
        };
        let mut range = part.begun(range);
        if let Some(HistoryPlace { previous, following, .. }) = &file {
            range.at_start &= previous.is_none();
            if range.at_end && following.is_some() && part.to.is_none() {
                // Its last row can't grow any more. The next file follows.
                (range.next, range.at_end) = (snapshot.end, false);
            }
        }
        let lines = match index.numbers(&snapshot, range.rows.iter().map(|row| row.offset)) {
            // The rows are here, but not all that their numbers take.
            Err(_) if snapshot.is_mirrored() => vec![None; range.rows.len()],
            lines => lines?,
        };
        if !snapshot.is_intact()? {
            return Err(SearchError::Gone(None));
        }
        Ok(bodies::rows(&snapshot, &range, &lines, file))
    };
    let answer = match is_search {
        true => limiter.time_slice(read).await,
        false => limiter.quick(read).await,
    };
    // Lines may have been counted, and a file unpacked, for a long time.
    still_allowed(&right)?;
    answer.map(|answer| json(StatusCode::OK, answer))
}

/// Which lines have to be counted for a place. A log of another machine is fetched for that only where
/// a line is asked for by its number.
fn counted(place: Option<RowPosition>) -> Counted {
    match place {
        Some(RowPosition::Line(_)) => Counted::All,
        Some(RowPosition::From(_) | RowPosition::Before(_)) | None => Counted::Here,
    }
}

/// Refuses what the visitor may not read any more.
fn still_allowed(right: &Withdrawal) -> Result<(), SearchError> {
    match right.loss() {
        // The same request is answered with what may still be read.
        Some(Loss::Place) => Err(SearchError::Interrupted),
        Some(Loss::Right | Loss::Identity) => Err(SearchError::Refused(Refusal::Forbidden)),
        None => Ok(()),
    }
}

/// Compiles a pattern, which can take a while.
async fn compile(
    app: &App,
    sought: PatternSpec,
) -> Result<Result<Pattern, BadPattern>, SearchError> {
    app.limiter.quick(move || Ok(Pattern::new(&sought))).await
}

/// The same; none where all rows are wanted.
async fn compile_filter(
    app: &App,
    sought: PatternSpec,
) -> Result<Result<Option<Pattern>, BadPattern>, SearchError> {
    if sought.is_empty() {
        return Ok(Ok(None));
    }
    Ok(compile(app, sought).await?.map(Some))
}

fn bad_pattern(bad: &BadPattern) -> Response<Body> {
    json(StatusCode::BAD_REQUEST, bodies::bad_pattern(bad))
}

async fn lines(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
) -> Result<Response<Body>, SearchError> {
    let index = app.lines.of(&view.log, &view.snapshot);
    app.limiter.count(&index, &view.snapshot, counted(query.place)).await?;
    let limiter = app.limiter.of(&view.snapshot);
    let LogView { snapshot, permit, right, .. } = view;
    let read = move || {
        let _permit = permit;
        let answer = match query.place {
            Some(RowPosition::Line(line)) => {
                let start = index.start_of(&snapshot, line)?;
                let start = start.ok_or(SearchError::Counting(index.indexed()))?;
                bodies::line(&snapshot, line, start)
            }
            _ => {
                let lines = numbers(&snapshot, &index, &query.at)?;
                let total = index.newlines(&snapshot, snapshot.end)?;
                bodies::lines(&snapshot, &lines, total, index.indexed().min(snapshot.end))
            }
        };
        if snapshot.is_intact()? { Ok(answer) } else { Err(SearchError::Gone(None)) }
    };
    let answer = limiter.quick(read).await;
    still_allowed(&right)?;
    answer.map(|answer| json(StatusCode::OK, answer))
}

/// The numbers of the lines that begin at offsets, in the order of the offsets.
fn numbers(snapshot: &Snapshot, index: &LineIndex, at: &[Offset]) -> io::Result<Vec<Option<u64>>> {
    let mut order: Vec<usize> = (0..at.len()).collect();
    order.sort_unstable_by_key(|&nth| at[nth]);
    let sorted = index.numbers(snapshot, order.iter().map(|&nth| at[nth]))?;
    let mut lines = vec![None; at.len()];
    for (nth, line) in order.into_iter().zip(sorted) {
        lines[nth] = line;
    }
    Ok(lines)
}

/// The answer when too many searches are open.
fn crowded() -> Response<Body> {
    let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, bodies::crowded());
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// Maps a search error to an HTTP response. Logs what the response does not say.
fn error_answer(log: &LogPath, error: &SearchError) -> Result<Response<Body>, Refused> {
    report(log, error);
    match error {
        SearchError::Refused(refusal) => Err((*refusal).into()),
        SearchError::Unreadable(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(Refusal::Unreachable.into())
        }
        SearchError::Unreadable(_) | SearchError::Interrupted => Err(Refusal::Unreadable.into()),
        SearchError::Gone(present) => Ok(json(StatusCode::GONE, bodies::gone(*present))),
        SearchError::Counting(indexed) => {
            let mut answer = json(StatusCode::SERVICE_UNAVAILABLE, bodies::counting(*indexed));
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
