//! How much a log has when: `/_/times/PATH`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::log::LogPath;
use crate::render::Interpretation;
use crate::search::limiter::TIME_SLICE;
use crate::search::times::Count;
use crate::search::{SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::stream::SearchTurn;
use crate::serve::http::api::{LogView, bodies, crowded, json};
use crate::time::{Moment, TimeRange};

/// How long one request counts. What is not counted then is estimated.
const COUNT_TIME: Duration = Duration::from_millis(400);
/// How long a count waits for the next request.
const KEPT_TIME: Duration = Duration::from_secs(30);
/// The most counts that are kept for the next request.
const KEPT_MAX: usize = 16;

/// Counts that go on with the next request for the same.
#[derive(Debug, Default)]
pub(in crate::serve) struct Counts(Mutex<VecDeque<Kept>>);

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
        let mut kept = self.0.lock();
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
        let mut kept = self.0.lock();
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { asked, begun, since: Instant::now() });
    }

    /// Drops the counts that nobody has asked for, which keep files open.
    fn drop_old(&self) {
        self.0.lock().retain(|kept| kept.since.elapsed() < KEPT_TIME);
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
    let asked = Asked {
        log,
        moments: [query.since, query.until],
        range: query.range,
        buckets: query.buckets,
        interpretation: query.interpretation,
    };
    let Begun { mut count, at } = match app.counts.take(&asked, &snapshot) {
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
    let until = Instant::now() + COUNT_TIME;
    while !count.is_done() && Instant::now() < until && !app.closing.is_cancelled() {
        let slice = move || {
            count.run(TIME_SLICE)?;
            Ok(count)
        };
        count = app.limiter.time_slice(slice).await?;
    }
    turn.check_right().map_err(|_| SearchError::Refused(crate::log::Refusal::Forbidden))?;
    let answer = bodies::times(&count);
    app.counts.keep(asked, Begun { count, at });
    let (own, closing) = (Arc::clone(app), app.closing.clone());
    app.tasks.spawn(async move {
        tokio::select! {
            () = sleep(KEPT_TIME) => own.counts.drop_old(),
            () = closing.cancelled() => {}
        }
    });
    Ok(json(StatusCode::OK, answer))
}
