//! `/_/healthz`: the state of the server and its counters.

use hyper::Response;
use serde::Serialize;

use crate::serve::App;
use crate::serve::body::Body;
use crate::serve::json::json;

/// The answer to `/_/healthz`: version, viewers, followed logs, and what has been counted since the start.
pub(super) fn health(app: &App) -> Response<Body> {
    #[derive(Serialize)]
    struct Counters {
        reads: u64,
        lookups: u64,
        chunks: u64,
        renders: u64,
        frames: u64,
        writes: u64,
    }
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
        viewers: usize,
        logs: usize,
        counters: Counters,
    }
    let counts = app.access.metrics();
    json(&Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        viewers: app.viewer_limit.viewers(),
        logs: app.hub.registry().followed(),
        counters: Counters {
            reads: counts.reads.get(),
            lookups: counts.lookups.get(),
            chunks: counts.chunks.get(),
            renders: app.hub.renders(),
            frames: app.sent.frames.get(),
            writes: app.sent.writes.get(),
        },
    })
}
