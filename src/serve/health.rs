//! `/_/healthz`: the state of the server and its counters. `/_/readyz`: whether it takes viewers.
//! `/_/check`: whether a page may read logs
//! by the address that it was loaded from, and what to change if not.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::forwarded::Client;
use crate::serve::json::json_text;
use crate::serve::origin_check;
use crate::wire::answer::{self, Check, Health, HealthCounters, Ready, to_json};

/// The answer to `/_/healthz`: version, viewers, followed logs, and what was counted since the
/// start.
/// Where visitors need an identity, it tells the status only.
pub(super) fn health(app: &App) -> Response<Body> {
    if app.settings().needs_identity() {
        return json_text(to_json(&answer::Status { status: "ok" }));
    }
    let metrics = app.gate.metrics();
    json_text(to_json(&Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        viewers: app.viewer_limit.viewers(),
        logs: app.hub.registry().followed(),
        counters: HealthCounters {
            reads: metrics.reads.get(),
            lookups: metrics.lookups.get(),
            chunks: metrics.chunks.get(),
            renders: app.hub.renders(),
            frames: app.sent.frames.get(),
            writes: app.sent.writes.get(),
        },
    }))
}

/// The answer to `/_/readyz`: 200 while the server takes more viewers, else 503 with the reason.
///
/// # Errors
/// None. The answer says why the server is not ready.
pub(super) fn ready(app: &App) -> Response<Body> {
    let status = if app.closing.is_cancelled() {
        "closing"
    } else if app.viewer_limit.viewers() >= app.settings().max_viewers {
        "full"
    } else {
        "ready"
    };
    let mut response = json_text(to_json(&Ready { status }));
    if status != "ready" {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// The answer to `/_/check`: whether the server admits requests to this address with this `Origin`.
pub(super) fn check(app: &App, client: &Client, request: &Parts, origin: &str) -> Response<Body> {
    // A text that is no valid header value can't be an origin, and `?` is refused.
    let origin = HeaderValue::from_str(origin).unwrap_or(HeaderValue::from_static("?"));
    let checked = origin_check::check_as(&app.settings(), client, request, Some(&origin));
    json_text(to_json(&match &checked {
        Ok(_) => Check::default(),
        Err(refused) => Check {
            status: Some(refused.status.as_u16()),
            message: Some(&refused.message),
            hint: Some(&refused.hint),
        },
    }))
}
