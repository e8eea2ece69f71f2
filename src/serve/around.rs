//! Looking around in a log: what lies under `/_/NAME/PATH`.
//!
//! The path is the log's own, and so are the checks: what a log's URL refuses is refused here.

mod query;

use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::log::Refusal;
use crate::search::rows::{self, Wanted};
use crate::search::{Lost, View, wire};
use crate::serve::App;
use crate::serve::query::decode_path;
use crate::serve::routes::{Body, Refused, full};
use crate::session::Of;
use query::{Around, Begin};

/// What can be asked about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Rows anywhere in it.
    Rows,
}

/// The question and the log's path of what lies under `/_/`, if it is one of these.
fn question(name: &str) -> Option<(Question, &str)> {
    let (question, path) = name.split_at(name.find('/')?);
    let question = match question {
        "rows" => Question::Rows,
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
    let answer = match question {
        Question::Rows => rows(app, around, view).await,
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

async fn rows(app: &Arc<App>, around: Around, view: View) -> Result<Response<Body>, Lost> {
    let Begin::At(place) = around.begin;
    let wanted = Wanted { place, count: around.count, form: around.form };
    let read = move || -> Result<String, Lost> {
        let stretch = rows::stretch(&view, wanted)?;
        if !view.is_intact()? {
            return Err(Lost::Gone(None));
        }
        Ok(wire::stretch(&view, &stretch))
    };
    app.turns.glance(read).await.map(|answer| json(StatusCode::OK, answer))
}

/// What who asks for something that is not there is told.
fn lost_answer(lost: Lost) -> Result<Response<Body>, Refused> {
    match lost {
        Lost::Refused(refusal) => Err(refusal.into()),
        Lost::Unreadable => Err(Refusal::Unreadable.into()),
        Lost::Gone(present) => Ok(json(StatusCode::GONE, wire::gone(present))),
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
