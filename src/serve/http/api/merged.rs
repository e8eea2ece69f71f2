//! Rows of several logs as one sequence, by the times of their lines: `/_/merged-rows`.
//!
//! The logs are read at the same time, each by its own rights and limits. One that can't be read says
//! so in its place, and the others are merged without it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use hyper::{Response, StatusCode};

use crate::log::pattern::RequestedPath;
use crate::log::{LogPath, Offset, Refusal};
use crate::search::history::HistoryRows;
use crate::search::merge::Direction;
use crate::search::merged::{Clock, LogPage, LogRequest, merged};
use crate::search::merged_files::{FilesPage, Step};
use crate::search::pattern::{Pattern, PatternSpec};
use crate::search::{History, Part, RowPosition, SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::http::api::history::Ends;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::{bad_pattern, bodies, compile, json, report, still_allowed};
use crate::serve::identity::Visitor;
use crate::serve::query::{BadParameter, each_log, requested_path, switch};
use crate::serve::refusal::Refused;
use crate::serve::withdrawal::Reads;
use crate::session::WantedGeneration;

/// The most logs in one sequence.
const LOGS_MAX: usize = 8;
/// The most that is added to the times of a log, in milliseconds: a hundred years.
const SHIFT_MAX: i64 = 100 * 366 * 86_400 * 1000;

/// The parameters as they were sent. `docs/protocol.md` explains each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct MergedQuery {
    logs: Vec<LogQuery>,
    direction: Direction,
}

/// What is asked of one of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LogQuery {
    path: RequestedPath,
    query: ApiQuery,
    shift: i64,
}

impl MergedQuery {
    /// Parses the part of the target after `?`.
    ///
    /// # Errors
    /// When there is no log or too many, when a value can't be understood, or when the places do not
    /// fit together.
    pub(in crate::serve) fn parse(query: &str) -> Result<Self, BadParameter> {
        let (mut is_last, mut logs) = (false, Vec::new());
        for (path, own) in each_log(query, LOGS_MAX)? {
            let mut shift = 0;
            for (name, value) in form_urlencoded::parse(own.as_bytes()) {
                match name.as_ref() {
                    "shift" => shift = parse_shift(&value)?,
                    "last" => is_last = switch(&name, &value)?,
                    _ => {}
                }
            }
            let (path, query) = (requested_path(path)?, ApiQuery::parse(&own)?);
            logs.push(LogQuery { path, query, shift });
        }
        let is = |is_it: fn(&ApiQuery) -> bool| logs.iter().any(|log| is_it(&log.query));
        if is(|query| matches!(query.place, Some(RowPosition::Line(_)))) {
            let words = "rows of several logs begin at `from`, `before` or `time`, not at a `line`";
            return Err(BadParameter(words.to_owned()));
        }
        let is_before = is(|query| matches!(query.place, Some(RowPosition::Before(_)))) || is_last;
        let is_after =
            is(|query| matches!(query.place, Some(RowPosition::From(_))) || query.time.is_some());
        if is_before && is_after {
            let words = "rows come either after a place (`from`, `time`) or before one (`before`, \
                         `last`), for all logs";
            return Err(BadParameter(words.to_owned()));
        }
        let direction = if is_before { Direction::Backward } else { Direction::Forward };
        Ok(Self { logs, direction })
    }
}

/// `shift=MILLISECONDS`
fn parse_shift(value: &str) -> Result<i64, BadParameter> {
    let shift = value.parse().ok().filter(|shift| (-SHIFT_MAX..=SHIFT_MAX).contains(shift));
    shift.ok_or_else(|| {
        let shown: String = value.chars().take(40).collect();
        let words = "`shift` is a number of milliseconds that are added to the times of the log";
        BadParameter(format!("{words}, not {shown:?}"))
    })
}

/// The patterns by which rows of these logs are filtered, each once.
fn distinct(logs: &[LogQuery]) -> Vec<PatternSpec> {
    let mut specs: Vec<PatternSpec> = Vec::new();
    for LogQuery { query, .. } in logs {
        if query.filter && !specs.contains(&query.sought) {
            specs.push(query.sought.clone());
        }
    }
    specs
}

/// Answers a request for rows of several logs.
///
/// # Errors
/// 503 when the server is full.
pub(in crate::serve) async fn merged_rows(
    app: &Arc<App>,
    visitor: &Visitor,
    request: MergedQuery,
) -> Result<Response<Body>, Refused> {
    let MergedQuery { logs, direction } = request;
    let count = logs.first().map_or(0, |log| log.query.count);
    let mut patterns = Vec::new();
    for spec in distinct(&logs) {
        match compile(app, spec.clone()).await {
            Ok(Ok(pattern)) => patterns.push((spec, pattern)),
            Ok(Err(bad)) => return Ok(bad_pattern(&bad)),
            Err(_) => return Err(Refusal::Unreadable.into()),
        }
    }
    let mut reads = Vec::with_capacity(logs.len());
    let mut permits = Vec::new();
    for LogQuery { path, query, shift } in logs {
        let query = query.with_settings(&app.settings());
        let log = visitor.log_requested(&path);
        // As for a request about one log, only a log without viewers gets a follower for this one.
        if log.as_ref().is_ok_and(|log| app.hub.registry().viewers(log) == 0) {
            permits.push(app.admit_viewer().ok_or_else(Refused::full)?);
        }
        let mut compiled =
            patterns.iter().filter(|(spec, _)| query.filter && *spec == query.sought);
        let pattern = compiled.next().map(|(_, pattern)| pattern.clone());
        let clock = Clock { zone: query.range.zone.clone(), shift };
        let read = LogRead { app, query, pattern, clock, direction };
        reads.push(async move {
            let log = log?;
            let right = app.watch_right(visitor, &log, Reads::of(read.query.history));
            let page = read.page(&log).await;
            still_allowed(&right)?;
            page.inspect_err(|error| report(&log, error))
        });
    }
    let read: Vec<Result<LogPage, SearchError>> = join_all(reads).await;
    drop(permits);
    let mut failures: Vec<Option<SearchError>> = Vec::new();
    let mut pages = Vec::new();
    for page in read {
        failures.push(page.map(|page| pages.push(page)).err());
    }
    let ends: Vec<_> = pages.iter().map(bodies::live_end).collect();
    let page = merged(pages, direction, count);
    Ok(json(StatusCode::OK, bodies::merged_rows(&page, &ends, &failures)))
}

/// Reads rows of one of the logs.
struct LogRead<'a> {
    app: &'a Arc<App>,
    query: ApiQuery,
    pattern: Option<Pattern>,
    clock: Clock,
    direction: Direction,
}

impl LogRead<'_> {
    async fn page(&self, log: &LogPath) -> Result<LogPage, SearchError> {
        let (hub, chosen) = (&self.app.hub, self.query.interpretation);
        if self.query.history {
            let history = History::open(hub, log, chosen).await?;
            return self.page_of_history(history).await;
        }
        let snapshot = match Snapshot::open(hub, log, self.query.of, chosen).await {
            Err(SearchError::Gone(Some(_))) if self.goes_on() => {
                let snapshot = Snapshot::open(hub, log, WantedGeneration::Present, chosen).await?;
                let part = self.part(&snapshot).await?;
                return self.read(snapshot, part, Offset(0), self.query.count).await;
            }
            snapshot => snapshot?,
        };
        let offset = match (self.query.at_time, self.query.place) {
            (Some(time), _) => self.seek(&snapshot, time).await?,
            (None, place) => offset_of(place, self.direction),
        };
        let part = self.part(&snapshot).await?;
        self.read(snapshot, part, offset, self.query.count).await
    }

    /// Whether rows behind a place are wanted: where its file is gone, all that is left comes after it.
    fn goes_on(&self) -> bool {
        matches!(self.query.place, Some(RowPosition::From(_)))
    }

    /// The wanted part of a log without its old files.
    async fn part(&self, snapshot: &Snapshot) -> Result<Part, SearchError> {
        let mut part = Part::default();
        if let Some(since) = self.query.range.since {
            part.from = Some(self.seek(snapshot, since).await?);
        }
        if let Some(until) = self.query.range.until {
            part.to = Some(self.seek(snapshot, until).await?);
        }
        Ok(part)
    }

    /// Rows of a log and its old files, from file to file.
    async fn page_of_history(&self, history: History) -> Result<LogPage, SearchError> {
        let (hub, begun) = (&self.app.hub, Instant::now());
        let ends = self.ends(&history).await?;
        let (snapshot, at, offset) = self.place_in_history(&history, &ends).await?;
        let page = self.read(snapshot, ends.part(at), offset, self.query.count).await?;
        let (wanted, is_search) = ((self.direction, self.query.count), self.pattern.is_some());
        let mut page = FilesPage::new(page, at, ends.files(&history), wanted, is_search, begun);
        while let Some(step) = page.next_step(Instant::now()) {
            let (Step::Rows { at, .. } | Step::LastRow { at }) = step;
            let read = match history.snapshot(hub, at).await {
                Ok(snapshot) => Some(match step {
                    Step::Rows { count, .. } => {
                        let offset = offset_of(None, self.direction);
                        self.read(snapshot, ends.part(at), offset, count).await?
                    }
                    Step::LastRow { .. } => self.read_last(snapshot).await?,
                }),
                // It has gone since the files were listed.
                Err(SearchError::Gone(_)) => None,
                Err(error) => return Err(error),
            };
            page = page.with(step, read);
        }
        Ok(page.finish())
    }

    /// Where the wanted part of a log with its old files begins and ends.
    async fn ends(&self, history: &History) -> Result<Ends, SearchError> {
        let mut ends = Ends { since: None, until: None };
        if let Some(since) = self.query.range.since {
            let (_, at, offset) = self.seek_in_history(history, since).await?;
            ends.since = Some((at, offset));
        }
        if let Some(until) = self.query.range.until {
            let (_, at, offset) = self.seek_in_history(history, until).await?;
            ends.until = Some((at, offset));
        }
        Ok(ends)
    }

    /// The file in which the page begins, its place among the files, and the offset. It is in a file of
    /// the wanted part.
    async fn place_in_history(
        &self,
        history: &History,
        ends: &Ends,
    ) -> Result<(Snapshot, usize, Offset), SearchError> {
        let hub = &self.app.hub;
        let (snapshot, at, offset) = match (self.query.at_time, self.query.place) {
            (Some(time), _) => self.seek_in_history(history, time).await?,
            (None, place) => {
                let place = match (place, self.direction) {
                    (None, Direction::Backward) => Some(RowPosition::Before(Offset(u64::MAX))),
                    (place, _) => place,
                };
                match history.rows_at(hub, self.query.of, place).await {
                    Err(SearchError::Gone(Some(_))) if self.goes_on() => {
                        let last = history.files().len().saturating_sub(1);
                        (history.snapshot(hub, last).await?, last, Offset(0))
                    }
                    found => {
                        let HistoryRows { snapshot, at, place } = found?;
                        (snapshot, at, offset_of(Some(place), self.direction))
                    }
                }
            }
        };
        let files = ends.files(history);
        if at < files.start {
            return Ok((history.snapshot(hub, files.start).await?, files.start, Offset(0)));
        }
        match files.end.checked_sub(1).filter(|last| at > *last) {
            Some(last) => Ok((history.snapshot(hub, last).await?, last, Offset(u64::MAX))),
            None => Ok((snapshot, at, offset)),
        }
    }

    async fn seek(&self, snapshot: &Snapshot, time: i64) -> Result<Offset, SearchError> {
        let (sought, clock) = (snapshot.clone(), self.clock.clone());
        let seek = move || Ok(sought.seek_key(time, &clock)?);
        self.app.limiter.of(snapshot).quick(seek).await
    }

    async fn seek_in_history(
        &self,
        history: &History,
        time: i64,
    ) -> Result<(Snapshot, usize, Offset), SearchError> {
        let (hub, last) = (&self.app.hub, history.files().len().saturating_sub(1));
        let snapshot = history.snapshot(hub, last).await?;
        let offset = self.seek(&snapshot, time).await?;
        if offset > Offset(0) || last == 0 {
            return Ok((snapshot, last, offset));
        }
        let time = time.saturating_sub(self.clock.shift);
        let zone = &self.clock.zone;
        let (at, offset) = history.seek_time(hub, &self.app.limiter, time, zone).await?;
        Ok((history.snapshot(hub, at).await?, at, offset))
    }

    /// Rows of one file.
    async fn read(
        &self,
        snapshot: Snapshot,
        part: Part,
        offset: Offset,
        count: usize,
    ) -> Result<LogPage, SearchError> {
        let (direction, form) = (self.direction, self.query.form);
        let request = LogRequest { part, direction, offset, count, form };
        self.read_rows(snapshot, request, self.pattern.clone()).await
    }

    /// The last row of a file.
    async fn read_last(&self, snapshot: Snapshot) -> Result<LogPage, SearchError> {
        let (part, direction) = (Part::default(), Direction::Backward);
        let (offset, form) = (Offset(u64::MAX), self.query.form);
        let request = LogRequest { part, direction, offset, count: 1, form };
        self.read_rows(snapshot, request, None).await
    }

    async fn read_rows(
        &self,
        snapshot: Snapshot,
        request: LogRequest,
        pattern: Option<Pattern>,
    ) -> Result<LogPage, SearchError> {
        let (clock, limiter) = (self.clock.clone(), self.app.limiter.of(&snapshot));
        let is_search = pattern.is_some();
        let read = move || LogPage::read(&snapshot, request, pattern.as_ref(), &clock);
        if is_search { limiter.time_slice(read).await } else { limiter.quick(read).await }
    }
}

/// The offset that a place means in this direction.
fn offset_of(place: Option<RowPosition>, direction: Direction) -> Offset {
    match (place, direction) {
        (Some(RowPosition::From(offset) | RowPosition::Before(offset)), _) => offset,
        (Some(RowPosition::Line(_)) | None, Direction::Forward) => Offset(0),
        (Some(RowPosition::Line(_)) | None, Direction::Backward) => Offset(u64::MAX),
    }
}

/// The name of an error, and a sentence about it.
pub(super) fn failure(error: &SearchError) -> (&'static str, &'static str) {
    match error {
        SearchError::Refused(Refusal::Forbidden) => ("forbidden", "you may not read this log"),
        SearchError::Refused(Refusal::NotFound | Refusal::Untailable) => {
            ("not-found", "there is no such log now")
        }
        SearchError::Refused(Refusal::Unreachable) => {
            ("unreachable", "its machine does not answer")
        }
        SearchError::Unreadable(error) if error.kind() == io::ErrorKind::NotConnected => {
            ("unreachable", "its machine does not answer")
        }
        SearchError::Gone(_) => ("gone", "the file of this place can no longer be read"),
        SearchError::Refused(Refusal::Unreadable | Refusal::Exhausted)
        | SearchError::Unreadable(_)
        | SearchError::Counting(_)
        | SearchError::Interrupted => ("unreadable", "it cannot be read now"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_several_logs_is_compiled_once() {
        let patterns = |asked: &str| {
            let specs = distinct(&MergedQuery::parse(asked).unwrap().logs);
            specs.into_iter().filter_map(|spec| spec.pattern).collect::<Vec<_>>()
        };
        assert_eq!(patterns("filter=1&log=/a&q=x&log=/b&q=y&log=/c&q=x"), ["x", "y"]);
        assert_eq!(patterns(&format!("q=x&filter=1{}", "&log=/a".repeat(8))), ["x"]);
        assert_eq!(patterns("q=x&log=/a&filter=1&log=/b"), ["x"]);
        assert!(patterns("q=x&log=/a&log=/b").is_empty());
    }

    #[test]
    fn parameters_are_of_all_logs_or_of_one_and_wrong_ones_are_named() {
        let asked = "count=9&filter=1&q=x&log=/a&from=3&shift=-50&log=/b%20c&from=0";
        let MergedQuery { logs, direction } = MergedQuery::parse(asked).unwrap();
        assert_eq!(direction, Direction::Forward);
        let [first, second] = &logs[..] else { panic!("{logs:?}") };
        let path = |path: &str| requested_path(path).unwrap();
        assert_eq!((&first.path, &second.path), (&path("/a"), &path("/b%20c")));
        assert_eq!((first.shift, second.shift), (-50, 0));
        for (log, place) in [(first, 3), (second, 0)] {
            assert_eq!((log.query.count, log.query.filter), (9, true));
            assert_eq!(log.query.place, Some(RowPosition::From(Offset(place))));
        }
        for backward in ["log=/a&before=3", "last=1&log=/a&log=/b", "log=/a&before=3&log=/b"] {
            let parsed = MergedQuery::parse(backward).unwrap();
            assert_eq!(parsed.direction, Direction::Backward, "{backward}");
        }
        let many = "log=/a&".repeat(9);
        for (asked, named) in [
            ("", "`log`"),
            (many.trim_end_matches('&'), "`log`"),
            ("log=/a&from=1&log=/b&before=1", "either"),
            ("last=1&time=0&log=/a", "either"),
            ("log=/a&line=1", "`line`"),
            ("since=soon&log=/a", "`since`"),
            ("log=/a&until=14:02", "`until`"),
            ("log=/a&shift=1h", "`shift`"),
            ("log=/a&shift=9999999999999999", "`shift`"),
            ("log=/a&from=x", "`from`"),
            ("time=0&log=/a&from=1", "`time`"),
            ("last=2&log=/a", "`last`"),
        ] {
            let BadParameter(message) = MergedQuery::parse(asked).unwrap_err();
            assert!(message.contains(named), "{asked}: {message}");
        }
    }
}
