//! `/_/metrics`: what the server counts, for Prometheus.
//!
//! Each number is counted where it arises. A scrape collects them in a registry of its own. Names of
//! logs are never labels: there is no bound on their number, and they would tell which logs exist.

#[cfg(feature = "nats")]
mod agent;
mod behind;
mod delivery;
mod machines;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::task::spawn_blocking;

use crate::log::Refusal;
use crate::log::timeline::Reason;
use crate::serve::App;
use crate::serve::body::{Body, full};
use crate::serve::refusal::Refused;
use crate::serve::route::accepts;

#[cfg(feature = "nats")]
pub use agent::serve_figures;
pub(super) use behind::{Behind, BehindTable};
pub(super) use delivery::Delivery;

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_CONTENT_TYPE: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the connections of a server count. Everything else is counted in the rooms below.
#[derive(Debug, Default)]
pub(super) struct ServerMetrics {
    viewers: Family<Label, Gauge>,
    /// Without WebSockets, whose bytes their connections count.
    sent_bytes: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    pub(super) delivery: Delivery,
    pub(super) behind: BehindTable,
    reloads: Counter,
    failed_reloads: Counter,
    /// In seconds since 1970. 0 before the first.
    last_reload: AtomicU64,
}

/// Counts one viewer as present, until it is dropped, and the bytes that it was sent.
#[derive(Debug)]
pub(super) struct ViewerMetrics {
    viewers: Gauge,
    sent_bytes: Counter,
}

impl ViewerMetrics {
    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent_bytes.inc_by(bytes as u64);
    }
}

impl Drop for ViewerMetrics {
    fn drop(&mut self) {
        self.viewers.dec();
    }
}

/// Why a request or a viewer was refused: a value of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RefusalReason(&'static str);

impl RefusalReason {
    /// There are as many viewers as `--max-viewers` allows.
    pub(super) const FULL: Self = Self("full");

    /// The viewer is no longer who it was when it asked.
    pub(super) const UNAUTHORIZED: Self = Self("unauthorized");

    /// The reason of a request that the check of `Host` and `Origin` refused.
    pub(super) fn of_check(refused: &Refused) -> Self {
        match refused.status {
            StatusCode::MISDIRECTED_REQUEST => Self("host"),
            StatusCode::FORBIDDEN => Self("origin"),
            _ => Self("bad_request"),
        }
    }

    /// The reason of any other refused request.
    pub(super) fn of(refused: &Refused) -> Self {
        Self(match refused.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method",
            StatusCode::GONE => "gone",
            StatusCode::RANGE_NOT_SATISFIABLE => "range",
            StatusCode::UPGRADE_REQUIRED => "upgrade",
            StatusCode::TOO_MANY_REQUESTS => "too_many",
            StatusCode::SERVICE_UNAVAILABLE => "full",
            status if status.is_server_error() => "failed",
            _ => "bad_request",
        })
    }
}

impl From<Refusal> for RefusalReason {
    fn from(refusal: Refusal) -> Self {
        Self(match refusal {
            Refusal::Forbidden | Refusal::Unreadable => "forbidden",
            Refusal::NotFound | Refusal::Untailable => "not_found",
            Refusal::Exhausted => "full",
            Refusal::Unreachable => "failed",
        })
    }
}

impl ServerMetrics {
    /// Counts a viewer with this transport as present.
    pub(super) fn viewer(&self, transport: &'static str) -> ViewerMetrics {
        let label = [("transport", transport)];
        let viewers = self.viewers.get_or_create(&label).clone();
        viewers.inc();
        ViewerMetrics { viewers, sent_bytes: self.sent_bytes.get_or_create(&label).clone() }
    }

    /// Counts a refused request or viewer.
    pub(super) fn refused(&self, RefusalReason(reason): RefusalReason) {
        self.refusals.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a configuration that was read again.
    pub(super) fn reloaded(&self, is_good: bool) {
        if is_good {
            self.reloads.inc();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.last_reload.store(now.as_secs(), Ordering::Relaxed);
        } else {
            self.failed_reloads.inc();
        }
    }
}

/// The answer to `/_/metrics`: OpenMetrics if the request accepts it, else Prometheus's text format.
///
/// # Errors
/// None yet.
pub(super) async fn answer(app: &Arc<App>, headers: &HeaderMap) -> Result<Response<Body>, Refused> {
    let is_open = accepts(headers, OPEN_METRICS);
    let scraped = Arc::clone(app);
    // It reads files of the process, and locks one log after the other.
    let scraping = spawn_blocking(move || scrape(&scraped, is_open));
    let text = scraping.await.map_err(|_| Refusal::Unreadable)?;
    Ok(response(text, is_open))
}

fn response(text: String, is_open: bool) -> Response<Body> {
    let mut response = Response::new(full(text));
    let content_type =
        if is_open { OPEN_METRICS_CONTENT_TYPE } else { prometheus_text::CONTENT_TYPE };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// All numbers of a registry as text.
fn encode(registry: &Registry, is_open: bool) -> String {
    let mut text = String::new();
    // Writing to memory does not fail.
    let _written = if is_open {
        text::encode(&mut text, registry)
    } else {
        prometheus_text::encode(&mut text, registry)
    };
    text
}

/// All numbers as text.
fn scrape(app: &App, is_open: bool) -> String {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("tailcast");
    register_build(ours);
    register_viewers(app, ours);
    register_logs(app, ours);
    register_work(app, ours);
    register_reloads(&app.metrics, ours);
    #[cfg(feature = "tls")]
    register_certificate(app, ours);
    if let Some(mirror) = app.hub.registry().access().mirrors() {
        machines::register(mirror.figures(), ours);
    }
    process::register(registry.sub_registry_with_prefix("process"));
    encode(&registry, is_open)
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value));
}

fn register_build(registry: &mut Registry) {
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "The version of the program", version);
}

fn register_viewers(app: &App, registry: &mut Registry) {
    let metrics = &app.metrics;
    registry.register("viewers", "Viewers now, by transport", metrics.viewers.clone());
    let max = app.settings().max_viewers as u64;
    gauge(registry, "viewers_max", "The most viewers that the server admits", max);
    let behind = metrics.behind.now();
    gauge(registry, "viewers_behind", "Viewers that lack published bytes now", behind.viewers);
    gauge(registry, "behind_bytes", "Bytes that these viewers lack, together", behind.bytes);
    let most = "Bytes that the viewer lacks that is furthest behind";
    gauge(registry, "behind_max_bytes", most, behind.most);
    // A WebSocket's connection counts what the socket has taken.
    let sent_bytes = Family::<Label, Counter>::default();
    for transport in ["events", "stream", "download"] {
        let label = [("transport", transport)];
        let sent = metrics.sent_bytes.get_or_create(&label).get();
        sent_bytes.get_or_create(&label).inc_by(sent);
    }
    sent_bytes.get_or_create(&[("transport", "websocket")]).inc_by(app.sent.bytes.get());
    registry.register("sent_bytes", "Bytes sent to viewers, by transport", sent_bytes);
    let frames = app.sent.frames.get();
    counter(registry, "sent_messages", "WebSocket messages sent to viewers", frames);
    let help = "Calls of write on the sockets of WebSockets";
    counter(registry, "socket_writes", help, app.sent.writes.get());
    let help = "Requests and viewers that were refused, by reason";
    registry.register("refusals", help, metrics.refusals.clone());
    let help = "Time from the write to a log until the last viewer's socket that keeps up has it";
    registry.register("delivery_seconds", help, metrics.delivery.histogram());
}

fn register_logs(app: &App, registry: &mut Registry) {
    let followers = app.hub.registry();
    let polled = followers.polled();
    let followed = Family::<Label, Gauge>::default();
    for (watched, logs) in
        [("events", followers.followed().saturating_sub(polled)), ("polling", polled)]
    {
        let logs = i64::try_from(logs).unwrap_or(i64::MAX);
        followed.get_or_create(&[("watched", watched)]).set(logs);
    }
    registry.register("logs_followed", "Logs followed now, by how they are watched", followed);
    let log = app.gate.metrics();
    counter(registry, "log_bytes", "Bytes that logs grew by while followed", log.bytes.get());
    counter(registry, "log_lines", "Lines among these bytes", log.lines.get());
    counter(registry, "log_chunks", "Pieces in which these bytes were read", log.chunks.get());
    counter(registry, "log_reads", "Reads of logs for any purpose", log.reads.get());
    counter(
        registry,
        "log_lookups",
        "Lookups of what the path of a log leads to",
        log.lookups.get(),
    );
    let resets = Family::<Label, Counter>::default();
    for (reason, name) in [
        (Reason::Rotated, "rotated"),
        (Reason::Truncated, "truncated"),
        (Reason::Replaced, "replaced"),
        (Reason::Late, "late"),
        (Reason::Back, "back"),
    ] {
        resets.get_or_create(&[("reason", name)]).inc_by(log.spans(reason));
    }
    let help = "How often a followed log went on in another file or from its start, by reason";
    registry.register("resets", help, resets);
    let help = "Gaps announced to a viewer, or to viewers that keep up together";
    counter(registry, "gaps", help, app.hub.gaps());
}

fn register_work(app: &App, registry: &mut Registry) {
    let help = "Pieces of logs rendered, for one viewer or for all";
    counter(registry, "renders", help, app.hub.renders());
    gauge(registry, "searches", "Searches of whole logs that are open now", app.limiter.searches());
}

fn register_reloads(metrics: &ServerMetrics, registry: &mut Registry) {
    let results = Family::<Label, Counter>::default();
    results.get_or_create(&[("result", "good")]).inc_by(metrics.reloads.get());
    results.get_or_create(&[("result", "refused")]).inc_by(metrics.failed_reloads.get());
    registry.register("reloads", "Configurations that were read again, by result", results);
    let at = metrics.last_reload.load(Ordering::Relaxed);
    let help = "When the configuration was last changed, in seconds since 1970; 0 for never";
    gauge(registry, "last_reload_timestamp_seconds", help, at);
}

#[cfg(feature = "tls")]
fn register_certificate(app: &App, registry: &mut Registry) {
    let Some(certificate) = app.settings().certificate.clone() else { return };
    let end = certificate.not_after().duration_since(UNIX_EPOCH).unwrap_or_default();
    let help = "When the certificate of the server expires, in seconds since 1970";
    gauge(registry, "tls_certificate_expiry_timestamp_seconds", help, end.as_secs());
}
