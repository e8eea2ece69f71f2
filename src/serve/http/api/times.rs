//! How much a log has when: `/_/times/PATH`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::{Response, StatusCode};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::log::LogPath;
use crate::search::limiter::TIME_SLICE;
use crate::search::times::Count;
use crate::search::{SearchError, Snapshot};
use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::stream::SearchTurn;
use crate::serve::http::api::{LogView, bodies, crowded, json};
use crate::time::TimeRange;

/// How long one request counts. What is not counted then is estimated.
const COUNT_TIME: Duration = Duration::from_millis(400);
/// How long a count waits for the next request.
const KEPT_TIME: Duration = Duration::from_secs(30);
/// The most counts that are kept for the next request.
const KEPT_MAX: usize = 16;

/// Counts that go on with the next request for the same.
#[derive(Debug, Default)]
pub(in crate::serve) struct Counts(Mutex<VecDeque<Kept>>);

/// A count, and when it was kept.
#[derive(Debug)]
struct Kept {
    log: LogPath,
    count: Count,
    since: Instant,
}

impl Counts {
    /// Takes out the count that answers this question.
    fn take(
        &self,
        log: &LogPath,
        present: &Snapshot,
        range: &TimeRange,
        buckets: usize,
    ) -> Option<Count> {
        let mut kept = self.0.lock();
        let is_it = |it: &Kept| it.log == *log && it.count.is_for(present, range, buckets);
        let at = kept.iter().position(is_it)?;
        kept.remove(at).map(|kept| kept.count)
    }

    fn keep(&self, log: LogPath, count: Count) {
        let mut kept = self.0.lock();
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Kept { log, count, since: Instant::now() });
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
    let (range, buckets) = (query.range, query.buckets);
    let kept = app.counts.take(&log, &snapshot, &range, buckets);
    let mut count = match kept {
        Some(count) => count,
        None => app.limiter.quick(move || Count::new(snapshot, range, buckets)).await?,
    };
    // A short log is counted in no time; a long one is estimated first.
    let slice = move || {
        count.run(TIME_SLICE)?;
        Ok(count)
    };
    let mut count = app.limiter.time_slice(slice).await?;
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
    app.counts.keep(log, count);
    let (own, closing) = (Arc::clone(app), app.closing.clone());
    app.tasks.spawn(async move {
        tokio::select! {
            () = sleep(KEPT_TIME) => own.counts.drop_old(),
            () = closing.cancelled() => {}
        }
    });
    Ok(json(StatusCode::OK, answer))
}
