//! `/_/healthz`: the state of the server and its counters.

use hyper::Response;

use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::json::json_text;
use crate::wire::answer::{Health, HealthCounters, to_json};

/// The answer to `/_/healthz`: version, viewers, followed logs, and what was counted since the
/// start.
pub(super) fn health(app: &App) -> Response<Body> {
    let metrics = app.access.metrics();
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
