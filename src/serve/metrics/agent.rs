//! The metrics of an agent, which serves nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use super::{Label, OPEN_METRICS, counter, encode, gauge, process, register_build, response};
use crate::broker::agent::{Denied, Figures, Unstored};
use crate::serve::body::{Body, full};
use crate::serve::route::accepts;
use crate::serve::socket::{Listener, Listeners, Socket};
use crate::serve::write_timeout::WriteTimeout;

const METRICS: &str = "/_/metrics";
/// A scraper needs one or two connections.
const CONNECTIONS_MAX: usize = 16;
/// A request that has not come after this time does not come, and an answer that is not taken is not
/// wanted.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Serves `/_/metrics` with what an agent counts, for ever.
pub async fn serve_figures(listeners: Listeners, figures: Arc<Figures>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accepting = listeners.0.into_iter().map(|listener| accept(listener, &figures, &permits));
    join_all(accepting).await;
}

async fn accept(listener: Listener, figures: &Arc<Figures>, permits: &Arc<Semaphore>) {
    while let Ok(permit) = Arc::clone(permits).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                let figures = Arc::clone(figures);
                tokio::spawn(async move {
                    serve(socket, &figures).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(socket: Socket, figures: &Figures) {
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request, figures)));
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(WriteTimeout::new(socket, PATIENCE)), service);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "a scraper's connection ended early");
    }
}

fn answer(request: &Request<Incoming>, figures: &Figures) -> Response<Body> {
    let refuse = |status, text: &'static str| {
        let mut refused = Response::new(full(text));
        *refused.status_mut() = status;
        refused
    };
    if request.uri().path() != METRICS {
        let text = "this is an agent of tailcast, which has /_/metrics only\n";
        return refuse(StatusCode::NOT_FOUND, text);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
    }
    let is_open = accepts(request.headers(), OPEN_METRICS);
    response(scrape(figures, is_open), is_open)
}

fn scrape(figures: &Figures, is_open: bool) -> String {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("tailcast");
    register_build(ours);
    register(figures, ours);
    process::register(registry.sub_registry_with_prefix("process"));
    encode(&registry, is_open)
}

fn register(figures: &Figures, registry: &mut Registry) {
    let link = figures.link();
    let help = "Whether there is a connection to the broker";
    gauge(registry, "broker_connected", help, link.is_up.into());
    let help = "How often the connection to the broker was lost";
    counter(registry, "broker_disconnects", help, link.losses());
    gauge(registry, "agent_logs", "Logs in the last list of this machine", figures.logs());
    let help = "Logs that are published now";
    gauge(registry, "agent_logs_published", help, figures.published_logs());
    let help = "Messages of logs that the broker has stored";
    counter(registry, "agent_messages", help, figures.messages());
    let help = "Bytes of logs in these messages";
    counter(registry, "agent_bytes", help, figures.bytes());
    let help = "Messages that were sent and are not known to be stored yet";
    gauge(registry, "agent_messages_waiting", help, figures.waiting());
    let unstored = Family::<Label, Counter>::default();
    for why in Unstored::ALL {
        let name = match why {
            Unstored::Doubt => "doubt",
            Unstored::Overtaken => "overtaken",
            Unstored::TooLarge => "too_large",
            Unstored::Refused => "refused",
        };
        unstored.get_or_create(&[("reason", name)]).inc_by(figures.unstored(why));
    }
    let help = "Messages that were not stored at once and were sent again, by reason";
    registry.register("agent_retries", help, unstored);
    counter(registry, "agent_answers", "Requests of edges that were answered", figures.answers());
    let help = "Bytes of logs in these answers";
    counter(registry, "agent_answered_bytes", help, figures.answered_bytes());
    let denied = Family::<Label, Counter>::default();
    for why in Denied::ALL {
        let name = match why {
            Denied::Busy => "busy",
            Denied::Gone => "gone",
            Denied::Refused => "refused",
            Denied::Unknown => "unknown",
        };
        denied.get_or_create(&[("reason", name)]).inc_by(figures.denied(why));
    }
    let help = "Requests of edges that were refused, by reason";
    registry.register("agent_refusals", help, denied);
}
