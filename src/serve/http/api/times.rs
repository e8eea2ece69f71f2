//! How much a log has when: `/_/times/PATH`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout_at};

use crate::log::{Generation, HistoryFile, LogPath, Refusal};
use crate::render::Interpretation;
use crate::search::limiter::TIME_SLICE;
use crate::search::times::{Count, Times};
use crate::search::times_together::together;
use crate::search::{History, SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::stream::SearchTurn;
use crate::serve::http::api::{HistoryView, LogView, bodies, crowded, json};
use crate::time::{Moment, TimeRange};

/// How long one request counts. What is not counted then is estimated.
const COUNT_TIME: Duration = Duration::from_millis(400);
/// How long a count waits for the next request.
const KEPT_TIME: Duration = Duration::from_secs(30);
/// The most counts that are kept for the next request.
const KEPT_MAX: usize = 16;
/// The most of them for the files of one history.
const KEPT_OF_HISTORY_MAX: usize = 8;
/// How long the files of a history are looked at for one request.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// The most spans of old files that are remembered: those of a thousand files, as a rule.
const KNOWN_SPANS_MAX: usize = 200_000;

/// Counts that go on with the next request for the same, and those of old files, which do not change.
#[derive(Debug, Default)]
pub(in crate::serve) struct Counts {
    kept: Mutex<VecDeque<Kept>>,
    known: Mutex<VecDeque<(Asked, OldFile, Times)>>,
}

/// An old file. Its count holds as long as it has this size.
#[derive(Clone, Copy, Debug)]
struct OldFile {
    generation: Generation,
    disk_size: u64,
    is_compressed: bool,
}

impl OldFile {
    fn new(file: &HistoryFile) -> Self {
        let &HistoryFile { generation, disk_size, compression, .. } = file;
        Self { generation, disk_size, is_compressed: compression.is_some() }
    }

    /// Whether a count is of all that is on the disk: late lines may have been written since.
    fn is_whole(&self, count: &Count) -> bool {
        count.is_done() && (self.is_compressed || count.size().0 == self.disk_size)
    }
}

/// How long a count of a part goes on that is asked for as so long ago.
const SAME_PART_TIME: Duration = Duration::from_secs(30);

/// What is counted, as it was asked for.
#[derive(Clone, Debug)]
struct Asked {
    log: LogPath,
    /// `10m` means another part of the log with each request.
    moments: [Option<Moment>; 2],
    range: TimeRange,
    buckets: usize,
    interpretation: Interpretation,
}

impl Asked {
    fn new(log: LogPath, query: ApiQuery) -> Self {
        let moments = [query.since, query.until];
        let (range, buckets, interpretation) = (query.range, query.buckets, query.interpretation);
        Self { log, moments, range, buckets, interpretation }
    }

    /// Whether the same is asked for about a file that does not change.
    fn is(&self, other: &Self) -> bool {
        self.log == other.log
            && self.range == other.range
            && self.buckets == other.buckets
            && self.interpretation == other.interpretation
    }
}

/// A count with its beginning.
#[derive(Debug)]
struct Begun {
    count: Count,
    at: Instant,
}

impl Begun {
    /// Whether it counts the part that is asked for now.
    fn is_of(&self, range: &TimeRange) -> bool {
        let counted = self.count.range();
        counted == range || (counted.zone == range.zone && self.at.elapsed() < SAME_PART_TIME)
    }
}

/// A count, and when it was kept.
#[derive(Debug)]
struct Kept {
    asked: Asked,
    begun: Begun,
    since: Instant,
}

impl Counts {
    /// Takes out the count that answers this question.
    fn take(&self, asked: &Asked, present: &Snapshot) -> Option<Begun> {
        let mut kept = self.kept.lock();
        let is_it = |it: &Kept| {
            it.asked.log == asked.log
                && it.asked.moments == asked.moments
                && it.asked.interpretation == asked.interpretation
                && it.begun.is_of(&asked.range)
                && it.begun.count.is_for(present, asked.buckets)
        };
        let at = kept.iter().position(is_it)?;
        kept.remove(at).map(|kept| kept.begun)
    }

    fn keep(&self, asked: Asked, begun: Begun) {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { asked, begun, since: Instant::now() });
    }

    /// The count of an old file.
    fn known(&self, asked: &Asked, old: &OldFile) -> Option<Times> {
        let known = self.known.lock();
        let is_it = |(its, file, _): &&(Asked, OldFile, Times)| {
            file.generation.is(&old.generation) && file.disk_size == old.disk_size && its.is(asked)
        };
        known.iter().find(is_it).map(|(_, _, times)| times.clone())
    }

    fn remember(&self, asked: &Asked, old: OldFile, times: Times) {
        let mut known = self.known.lock();
        known.push_back((asked.clone(), old, times));
        let mut spans: usize = known.iter().map(|(_, _, times)| times.buckets.len()).sum();
        while spans > KNOWN_SPANS_MAX {
            let Some((_, _, times)) = known.pop_front() else { break };
            spans -= times.buckets.len();
        }
    }

    /// Drops the counts that nobody has asked for, which keep files open.
    fn drop_old(&self) {
        self.kept.lock().retain(|kept| kept.since.elapsed() < KEPT_TIME);
    }
}

/// The lines, errors and warnings of spans of equal time.
pub(super) async fn times(
    app: &Arc<App>,
    query: ApiQuery,
    view: LogView,
) -> Result<Response<Body>, SearchError> {
    let LogView { log, snapshot, permit: _permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let asked = Asked::new(log, query);
    let begun = begin(app, &asked, snapshot).await?;
    let begun = go_on(app, begun, Instant::now() + COUNT_TIME).await?;
    turn.check_right().map_err(|_| SearchError::Refused(Refusal::Forbidden))?;
    let answer = bodies::times(&begun.count);
    app.counts.keep(asked, begun);
    drop_old_later(app);
    Ok(json(StatusCode::OK, answer))
}

/// What is known of a file of a log's history.
enum FileTimes {
    /// It was counted before.
    Known(Times),
    Begun {
        /// None for the newest file, which may grow.
        old: Option<OldFile>,
        begun: Box<Begun>,
    },
}

/// The same for a log with its old files, each counted in spans of its own. What is not counted in
/// this request is estimated; what is not even looked at is left out, the oldest files first.
pub(super) async fn times_of_history(
    app: &Arc<App>,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    let HistoryView { log, history, permit: _permit, right } = view;
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let asked = Asked::new(log, query);
    let (mut files, is_all) = look(app, &asked, &history).await?;
    let until = Instant::now() + COUNT_TIME;
    let mut times = Vec::with_capacity(files.len());
    let mut unfinished = Vec::new();
    for file in files.drain(..) {
        let (old, begun) = match file {
            FileTimes::Known(known) => {
                times.push(known);
                continue;
            }
            FileTimes::Begun { old, begun } => (old, go_on(app, *begun, until).await?),
        };
        let counted = begun.count.times();
        match old.filter(|old| old.is_whole(&begun.count)) {
            Some(old) => app.counts.remember(&asked, old, counted.clone()),
            None => unfinished.push(begun),
        }
        times.push(counted);
    }
    turn.check_right().map_err(|_| SearchError::Refused(Refusal::Forbidden))?;
    // They keep files open. What is counted next goes on, the others are estimated anew.
    for begun in unfinished.into_iter().take(KEPT_OF_HISTORY_MAX) {
        app.counts.keep(asked.clone(), begun);
    }
    drop_old_later(app);
    let mut whole = together(&times, asked.buckets);
    whole.exact &= is_all;
    Ok(json(StatusCode::OK, bodies::times_of_history(whole)))
}

/// Looks at the files of a history, the newest first, for a bounded time. Returns what is known of
/// them, and whether all that the wanted part may have were looked at.
async fn look(
    app: &App,
    asked: &Asked,
    history: &History,
) -> Result<(Vec<FileTimes>, bool), SearchError> {
    let until = Instant::now() + LOOK_TIME;
    let mut files = Vec::new();
    for (at, file) in history.files().iter().enumerate().rev() {
        let is_newest = at + 1 == history.files().len();
        let old = OldFile::new(file);
        let known = app.counts.known(asked, &old).filter(|_| !is_newest);
        let file = match known {
            Some(known) => FileTimes::Known(known),
            None if Instant::now() >= until => return Ok((files, false)),
            None => {
                // A compressed file is unpacked, and that goes on until the next request.
                let snapshot = match timeout_at(until.into(), history.snapshot(&app.hub, at)).await
                {
                    Ok(Err(SearchError::Gone(_))) if !is_newest => continue,
                    Ok(snapshot) => snapshot?,
                    Err(_) => return Ok((files, false)),
                };
                let begun = Box::new(begin(app, asked, snapshot).await?);
                FileTimes::Begun { old: (!is_newest).then_some(old), begun }
            }
        };
        let first = match &file {
            FileTimes::Known(known) => known.first,
            FileTimes::Begun { begun, .. } => begun.count.times().first,
        };
        files.push(file);
        // What is before that is not wanted.
        if first.zip(asked.range.since).is_some_and(|(first, since)| first < since) {
            break;
        }
    }
    Ok((files, true))
}

/// The count that answers a question, with an estimate of what is not counted yet.
async fn begin(app: &App, asked: &Asked, snapshot: Snapshot) -> Result<Begun, SearchError> {
    let Begun { mut count, at } = match app.counts.take(asked, &snapshot) {
        Some(begun) => begun,
        None => {
            let (range, buckets, at) = (asked.range.clone(), asked.buckets, Instant::now());
            let begin = move || Count::new(snapshot, range, buckets);
            Begun { count: app.limiter.quick(begin).await?, at }
        }
    };
    // A short log is counted in no time; a long one is estimated first.
    let slice = move || {
        count.run(TIME_SLICE)?;
        Ok(count)
    };
    count = app.limiter.time_slice(slice).await?;
    let mut is_estimated = count.is_done();
    while !is_estimated && !app.closing.is_cancelled() {
        let slice = move || Ok((count.estimate(TIME_SLICE)?, count));
        (is_estimated, count) = app.limiter.time_slice(slice).await?;
    }
    Ok(Begun { count, at })
}

/// Counts up to this moment.
async fn go_on(app: &App, begun: Begun, until: Instant) -> Result<Begun, SearchError> {
    let Begun { mut count, at } = begun;
    while !count.is_done() && Instant::now() < until && !app.closing.is_cancelled() {
        let slice = move || {
            count.run(TIME_SLICE)?;
            Ok(count)
        };
        count = app.limiter.time_slice(slice).await?;
    }
    Ok(Begun { count, at })
}

/// Drops the counts that nobody asks for again.
fn drop_old_later(app: &Arc<App>) {
    let (own, closing) = (Arc::clone(app), app.closing.clone());
    app.tasks.spawn(async move {
        tokio::select! {
            () = sleep(KEPT_TIME) => own.counts.drop_old(),
            () = closing.cancelled() => {}
        }
    });
}
