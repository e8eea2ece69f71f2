//! The same questions about a log with its old files (`history=1`), and the list of these.
//!
//! The files are answered for one after the other, the oldest first. None is opened before it is due,
//! since a compressed one has to be unpacked for that.

mod field_values;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use crate::encoding::Encoding;
use crate::log::{LogPath, Offset};
use crate::render::Rendition;
use crate::search::extract::Extract;
use crate::search::find::{Find, FindRequest};
use crate::search::history::HistoryRows;
use crate::search::limiter::{Limiter, TIME_SLICE};
use crate::search::pattern::Pattern;
use crate::search::{History, Part, RowPosition, SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::{self, Body};
use crate::serve::http::api::bodies::{self, FoundBefore};
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::stream::{SearchTurn, attachment, broken_off, streamed};
use crate::serve::http::api::times::times_of_history;
use crate::serve::http::api::{
    ApiCall, HistoryView, LogView, bad_pattern, compile, crowded, json, rows,
};
use crate::wire::answer::HistoryPlace;

/// Answers a request about a log with its history.
pub(super) async fn answer(
    app: &Arc<App>,
    call: ApiCall,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    match call {
        ApiCall::Find => find(app, query, view).await,
        ApiCall::Text => text(app, query, view).await,
        ApiCall::Rows => rows_of_one(app, query, view).await,
        ApiCall::Times => times_of_history(app, query, view).await,
        ApiCall::Fields => field_values::answer(app, query, view).await,
        ApiCall::History | ApiCall::Lines => {
            Ok(json(StatusCode::OK, bodies::history(&app.base, &view.log, &view.history)))
        }
    }
}

/// Rows of one of the files, with its neighbours.
async fn rows_of_one(
    app: &Arc<App>,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    let HistoryView { history, permit, right, .. } = view;
    let mut rows_at = match query.at_time {
        Some(time) => {
            let (at, line) = seek(app, &history, &query, time).await?;
            let snapshot = history.snapshot(&app.hub, at).await?;
            HistoryRows { snapshot, at, place: RowPosition::From(line) }
        }
        None => history.rows_at(&app.hub, query.of, query.place).await?,
    };
    let ends = Ends::of(app, &history, &query).await?;
    if let Some((first, line)) = ends.since {
        let is_before = rows_at.at < first || (query.place, query.at_time) == (None, None);
        if is_before {
            let snapshot = history.snapshot(&app.hub, first).await?;
            rows_at = HistoryRows { snapshot, at: first, place: RowPosition::From(line) };
        }
    }
    if let Some((last, end)) = ends.until
        && rows_at.at > last
    {
        let snapshot = history.snapshot(&app.hub, last).await?;
        rows_at = HistoryRows { snapshot, at: last, place: RowPosition::From(end) };
    }
    let HistoryRows { snapshot, at, place } = rows_at;
    let part = ends.part(at);
    let files = history.files();
    let generation_at = |at: Option<usize>| Some(files.get(at?)?.generation);
    let path = files.get(at).map(|file| history.path_of(file)).unwrap_or(view.log);
    let file = HistoryPlace {
        path: path.display().to_string(),
        previous: generation_at(at.checked_sub(1).filter(|_| part.from.is_none())),
        following: generation_at(at.checked_add(1).filter(|_| part.to.is_none())),
    };
    let query = ApiQuery { place: Some(place), ..query };
    // The file may get another path. Its lines are counted under the log's.
    let log = history.log().clone();
    rows(app, query, LogView { log, snapshot, permit, right }, Some(file), part).await
}

/// Where a time lies among the files.
async fn seek(
    app: &App,
    history: &History,
    query: &ApiQuery,
    time: i64,
) -> Result<(usize, Offset), SearchError> {
    history.seek_time(&app.hub, &app.limiter, time, &query.range.zone).await
}

/// Where the wanted part of the history begins and ends: files by their places, and offsets.
pub(super) struct Ends {
    pub(super) since: Option<(usize, Offset)>,
    pub(super) until: Option<(usize, Offset)>,
}

impl Ends {
    /// The files of which something may be wanted, by their places.
    pub(super) fn files(&self, history: &History) -> Range<usize> {
        let start = self.since.map_or(0, |(at, _)| at);
        start..self.until.map_or(history.files().len(), |(at, _)| at + 1).max(start + 1)
    }

    /// What is wanted of one of the files.
    pub(super) fn part(&self, at: usize) -> Part {
        let in_file = |end: Option<(usize, Offset)>| {
            end.filter(|(file, _)| *file == at).map(|(_, offset)| offset)
        };
        Part { from: in_file(self.since), to: in_file(self.until) }
    }

    async fn of(app: &App, history: &History, query: &ApiQuery) -> Result<Self, SearchError> {
        let since = match query.range.since {
            Some(time) => Some(seek(app, history, query, time).await?),
            None => None,
        };
        let until = match query.range.until {
            Some(time) => Some(seek(app, history, query, time).await?),
            None => None,
        };
        Ok(Self { since, until })
    }
}

/// The files that a search or a download goes through.
struct Walk {
    history: History,
    log: LogPath,
    /// The next file.
    at: usize,
    /// The file behind the last one.
    end: usize,
    /// Where the first one begins.
    from: Offset,
    /// Where the last one ends; None for its end.
    to: Option<Offset>,
}

impl Walk {
    async fn begin(
        app: &App,
        query: &ApiQuery,
        history: History,
        log: LogPath,
    ) -> Result<Self, SearchError> {
        let at = match query.of {
            crate::session::WantedGeneration::Present => 0,
            wanted => history.place_of(&app.hub, wanted).await?,
        };
        let Ends { since, until } = Ends::of(app, &history, query).await?;
        let end = history.files().len();
        let mut walk = Self { history, log, at, end, from: query.from(), to: query.to };
        if let Some((at, line)) = since
            && (at, line) > (walk.at, walk.from)
        {
            (walk.at, walk.from) = (at, line);
        }
        if let Some((at, end)) = until
            && at < walk.end
        {
            let to = walk.to.filter(|_| at + 1 == walk.end).map_or(end, |to| to.min(end));
            (walk.end, walk.to) = (at + 1, Some(to));
        }
        // Nothing may be wanted of the file in which the part begins.
        if walk.at >= walk.end {
            walk.at = walk.end.saturating_sub(1);
            walk.from = walk.to.unwrap_or_default();
        }
        Ok(walk)
    }

    fn is_over(&self) -> bool {
        self.at >= self.end
    }

    /// The last file that is left and the part of it that is wanted.
    async fn next_back(&mut self, app: &App) -> Result<(Snapshot, (Offset, Offset)), SearchError> {
        self.end = self.end.saturating_sub(1).max(self.at);
        let (at, to) = (self.end, self.to.take());
        let snapshot = self.history.snapshot(&app.hub, at).await?;
        let from = if self.is_over() { self.from } else { Offset(0) };
        let to = to.unwrap_or(snapshot.end).max(from);
        Ok((snapshot, (from, to)))
    }

    /// The next file and the part of it that is wanted, its path, and whether it is the last.
    async fn next(&mut self, app: &App) -> Result<NextFile, SearchError> {
        let snapshot = self.history.snapshot(&app.hub, self.at).await;
        let file = self.history.files().get(self.at);
        let path = file.map_or_else(|| self.log.clone(), |file| self.history.path_of(file));
        self.at += 1;
        let from = std::mem::take(&mut self.from);
        let snapshot = snapshot?;
        let is_last = self.is_over();
        let to = self.to.filter(|_| is_last).unwrap_or(snapshot.end).max(from);
        Ok(NextFile { snapshot, path, from, to, is_last })
    }
}

struct NextFile {
    snapshot: Snapshot,
    path: LogPath,
    from: Offset,
    to: Offset,
    is_last: bool,
}

/// A search in one of the files.
struct FileSearch {
    find: Find,
    snapshot: Snapshot,
    is_last: bool,
}

/// Where a pattern matches in all files: lines of JSON.
async fn find(
    app: &Arc<App>,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    let HistoryView { log, history, permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let walk = Walk::begin(app, &query, history, log.clone()).await?;
    let (rows_max, rendition) = (query.max, query.form.rendition());
    let pattern = match compile(app, query.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let state = Some((walk, None, FoundBefore::default(), turn, permit));
    let lines = stream::try_unfold(state, move |state| {
        let (log, pattern) = (log.clone(), pattern.clone());
        async move {
            let Some((mut walk, search, mut before, mut turn, permit)) = state else {
                return Ok(None);
            };
            if turn.app.closing.is_cancelled() {
                return Ok(None);
            }
            turn.resume()?;
            turn.check_right()?;
            let mut lines = String::new();
            let search = match search {
                Some(search) => Some(search),
                None => {
                    let left = (rows_max as u64).saturating_sub(before.rows) as usize;
                    let begun = begin_search(&turn.app, &mut walk, &pattern, left, rendition).await;
                    match begun {
                        Ok((search, file)) => {
                            lines = file;
                            Some(search)
                        }
                        Err(SearchError::Gone(_)) if !walk.is_over() => {
                            before.is_file_gone = true;
                            None
                        }
                        Err(error) => return Err(broken_off(&log, &error)),
                    }
                }
            };
            let Some(FileSearch { mut find, snapshot, is_last }) = search else {
                let frame = BodyFrame::data(Bytes::from(lines));
                return Ok(Some((frame, Some((walk, None, before, turn, permit)))));
            };
            let run = move || {
                find.run(TIME_SLICE)?;
                Ok(find)
            };
            // The file may have been unpacked meanwhile.
            turn.check_right()?;
            let found = turn.app.limiter.of(&snapshot).time_slice(run).await;
            let mut find = found.map_err(|error| broken_off(&log, &error))?;
            let generation = snapshot.generation;
            lines += &bodies::found_in_history(&mut find, generation, &before, is_last);
            let frame = BodyFrame::data(Bytes::from(lines));
            turn.wait_for_peer();
            let is_out_of_time = find.ended_early() == Some(crate::search::find::EndedEarly::Time);
            if find.is_done() && (is_last || is_out_of_time) {
                return Ok(Some((frame, None)));
            }
            let search = if find.is_done() {
                before = before.with(&find);
                None
            } else {
                Some(FileSearch { find, snapshot, is_last })
            };
            Ok::<_, io::Error>(Some((frame, Some((walk, search, before, turn, permit)))))
        }
    });
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(streamed(StreamBody::new(lines).boxed_unsync(), content_type))
}

/// Begins to search the next file. Returns the search, and the line that names the file.
async fn begin_search(
    app: &App,
    walk: &mut Walk,
    pattern: &Pattern,
    rows_max: usize,
    rendition: Rendition,
) -> Result<(FileSearch, String), SearchError> {
    let NextFile { snapshot, path, from, to, is_last } = walk.next(app).await?;
    let line = bodies::file(&path, &snapshot);
    let request = FindRequest { from, to, near: None, rows_max, rendition };
    let (searched, pattern) = (snapshot.clone(), pattern.clone());
    let limiter = app.limiter.of(&snapshot);
    let find = limiter.quick(move || Find::new(searched, pattern, request)).await?;
    Ok((FileSearch { find, snapshot, is_last }, line))
}

/// How lines are taken from the files.
#[derive(Clone)]
struct TextForm {
    pattern: Option<Pattern>,
    is_plain: bool,
    rendition: Rendition,
}

impl TextForm {
    /// Begins with a part of one file.
    async fn extract(self, app: &App, next: NextFile) -> Result<(Extract, Limiter), SearchError> {
        let NextFile { snapshot, from, to, .. } = next;
        let Self { pattern, is_plain, rendition } = self;
        let limiter = app.limiter.of(&snapshot);
        let begin = move || Extract::new(snapshot, from..to, pattern, is_plain, rendition);
        Ok((limiter.quick(begin).await?, limiter))
    }
}

/// Lines of all files as one download.
async fn text(
    app: &Arc<App>,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    let HistoryView { log, history, permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let mut walk = Walk::begin(app, &query, history, log.clone()).await?;
    let (is_plain, chosen) = (query.plain, query.interpretation.encoding);
    let pattern = match query.filter {
        true => match compile(app, query.sought).await? {
            Ok(pattern) => Some(pattern),
            Err(bad) => return Ok(bad_pattern(&bad)),
        },
        false => None,
    };
    let form = TextForm { pattern, is_plain, rendition: query.form.rendition() };
    // The first file is opened before the answer begins, so that its status can say what is wrong.
    let first = walk.next(app).await?;
    let notice = first.snapshot.notice();
    let charset = match (is_plain, chosen) {
        (true, _) => Some(Encoding::UTF_8),
        (false, None) => {
            let (sampled, from) = (first.snapshot.clone(), first.from);
            app.limiter.of(&first.snapshot).quick(move || Ok(sampled.charset(from)?)).await?
        }
        (false, chosen) => chosen,
    };
    let extract = form.clone().extract(app, first).await?;
    let disposition = attachment(&log);
    let state = (Some(extract), walk, turn, permit);
    let pieces = stream::try_unfold(state, move |(extract, mut walk, mut turn, permit)| {
        let (log, form) = (log.clone(), form.clone());
        async move {
            let mut extract = extract;
            turn.resume()?;
            loop {
                turn.check_right()?;
                if turn.app.closing.is_cancelled() {
                    // The download must not look complete.
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let Some((mut present, limiter)) = extract.take() else {
                    if walk.is_over() {
                        return Ok(None);
                    }
                    let begun = async {
                        let next = walk.next(&turn.app).await?;
                        form.clone().extract(&turn.app, next).await
                    };
                    let begun = begun.await;
                    extract = Some(begun.map_err(|error| broken_off(&log, &error))?);
                    continue;
                };
                let run = move || {
                    let piece = present.next(TIME_SLICE)?;
                    Ok((present, piece))
                };
                let extracted = limiter.time_slice(run).await;
                let (rest, piece) = extracted.map_err(|error| broken_off(&log, &error))?;
                match piece {
                    None => {}
                    Some(piece) if piece.is_empty() => {
                        extract = Some((rest, limiter));
                    }
                    Some(piece) => {
                        let piece = BodyFrame::data(Bytes::from(piece));
                        turn.wait_for_peer();
                        let rest = Some((rest, limiter));
                        return Ok::<_, io::Error>(Some((piece, (rest, walk, turn, permit))));
                    }
                }
            }
        }
    });
    let mut response = streamed(StreamBody::new(pieces).boxed_unsync(), body::text_plain(charset));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    body::say_notice(&mut response, notice.as_ref());
    Ok(response)
}
