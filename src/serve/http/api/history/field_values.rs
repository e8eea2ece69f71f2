//! The values of a field over a log and its old files, the newest first: if the time is up, those that
//! are left out are the oldest.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame as BodyFrame;
use hyper::header::HeaderValue;

use crate::search::SearchError;
use crate::search::find::EndedEarly;
use crate::search::limiter::{Limiter, TIME_SLICE};
use crate::search::pattern::Pattern;
use crate::search::top_values::TopValues;
use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::http::api::bodies::{self, FilesCounted};
use crate::serve::http::api::history::Walk;
use crate::serve::http::api::query::ApiQuery;
use crate::serve::http::api::stream::{SearchTurn, broken_off, streamed, wanted_field};
use crate::serve::http::api::{HistoryView, bad_pattern, compile_filter, crowded};
use crate::structure::Key;

/// Lines of JSON, each with the values so far.
pub(super) async fn answer(
    app: &Arc<App>,
    query: ApiQuery,
    view: HistoryView,
) -> Result<Response<Body>, SearchError> {
    let HistoryView { log, history, permit, right } = view;
    let key = match wanted_field(&query) {
        Ok(key) => key,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let Some(turn) = SearchTurn::begin(app, right) else { return Ok(crowded()) };
    let walk = Walk::begin(app, &query, history, log.clone()).await?;
    let max = query.top;
    let pattern = match compile_filter(app, query.sought).await? {
        Ok(pattern) => pattern,
        Err(bad) => return Ok(bad_pattern(&bad)),
    };
    let counting = Counting { walk, key, pattern, begun: None, is_one_gone: false };
    let state = Some((counting, turn, permit));
    let lines = stream::try_unfold(state, move |state| {
        let log = log.clone();
        async move {
            let Some((counting, mut turn, permit)) = state else { return Ok(None) };
            if turn.app.closing.is_cancelled() {
                return Ok(None);
            }
            turn.resume()?;
            turn.check_right()?;
            let counted = counting.step(&turn, max).await;
            let (line, rest) = counted.map_err(|error| broken_off(&log, &error))?;
            turn.wait_for_peer();
            let frame = BodyFrame::data(Bytes::from(line));
            Ok::<_, io::Error>(Some((frame, rest.map(|rest| (rest, turn, permit)))))
        }
    });
    let content_type = HeaderValue::from_static("application/x-ndjson");
    Ok(streamed(StreamBody::new(lines).boxed_unsync(), content_type))
}

/// A count that goes on from file to file.
struct Counting {
    walk: Walk,
    key: Key,
    pattern: Option<Pattern>,
    /// The count so far, and the limiter of the file in which it is.
    begun: Option<(TopValues, Limiter)>,
    /// One of the files could not be read to its end.
    is_one_gone: bool,
}

impl Counting {
    /// Counts for a slice of time, in the next file if that is due. Returns a line of JSON, and the
    /// count while there is more to be counted.
    async fn step(
        mut self,
        turn: &SearchTurn,
        max: usize,
    ) -> Result<(String, Option<Self>), SearchError> {
        if self.begun.as_ref().is_none_or(|(count, _)| count.is_done()) {
            self.next_file(turn).await?;
        }
        let gone = || SearchError::Gone(None);
        let (mut count, limiter) = self.begun.take().ok_or_else(gone)?;
        let run = move || {
            count.run(TIME_SLICE)?;
            Ok(count)
        };
        let count = limiter.time_slice(run).await?;
        self.is_one_gone |= count.ended_early() == Some(EndedEarly::Gone);
        let is_last = self.walk.is_over() || count.ended_early() == Some(EndedEarly::Time);
        let files = FilesCounted { is_last, is_one_gone: self.is_one_gone };
        let line = bodies::field_values(&count, max, files);
        let is_done = count.is_done() && is_last;
        self.begun = Some((count, limiter));
        Ok((line, (!is_done).then_some(self)))
    }

    /// Goes on in the next file that can be read. If there is none, the count is what it was.
    async fn next_file(&mut self, turn: &SearchTurn) -> Result<(), SearchError> {
        let (snapshot, part) = loop {
            match self.walk.next_back(&turn.app).await {
                Err(SearchError::Gone(_)) => self.is_one_gone = true,
                next => break next?,
            }
            if self.walk.is_over() {
                return Ok(());
            }
        };
        // The file may have been unpacked meanwhile.
        turn.check_right().map_err(SearchError::Unreadable)?;
        let limiter = turn.app.limiter.of(&snapshot);
        let (key, pattern) = (self.key.clone(), self.pattern.clone());
        let begun = self.begun.take();
        let begin = move || match begun {
            Some((mut count, _)) => {
                count.go_on_in(snapshot, part)?;
                Ok(count)
            }
            None => TopValues::new(snapshot, part, key, pattern),
        };
        self.begun = Some((limiter.quick(begin).await?, limiter));
        Ok(())
    }
}
