//! Answers requests: checks their origin, and passes each to the function that answers it.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri};
use tokio::task::spawn_blocking;

use crate::log::{LogPath, Refusal, pattern};
use crate::search::{levels, stack_trace};
use crate::serve::access_log::{ACCESS_LOG, AccessLogEntry};
use crate::serve::body::{Body, empty, full};
use crate::serve::conditional::Validators;
use crate::serve::forwarded::{Client, Remote};
use crate::serve::http::{api, download, merged_stream, stream};
use crate::serve::identity::{self, Admission, Visitor};
use crate::serve::listing::Viewers;
use crate::serve::metrics::RefusalReason;
use crate::serve::origin_check::{self, RequestOrigin};
use crate::serve::query::{Query, href, requested_path};
use crate::serve::refusal::Refused;
use crate::serve::route::{Route, Transport, accepts, is_upgrade};
use crate::serve::security::{self, Framing};
use crate::serve::shared_listing::ListFormat;
use crate::serve::socket::Peer;
use crate::serve::websocket::upgrade::{self, Handshake, UpgradeSlot};
use crate::serve::{App, assets, content_coding, cors, first_rows, health, json, metrics, page};
use crate::wire::answer::{self, LogLink, to_json};

/// Answers a request, whatever it is. A viewer that it upgrades is left in `slot`.
pub(super) async fn answer(
    app: &Arc<App>,
    peer: Peer,
    mut request: Request<Incoming>,
    slot: &UpgradeSlot,
) -> Response<Body> {
    let handshake = Handshake::of(&mut request, slot);
    let (mut parts, body) = request.into_parts();
    let settings = app.settings();
    let client = Client::of(peer, &parts.headers, &settings.trusted_proxies);
    remove_base(app, &client, &mut parts);
    let route = Route::of(&parts).map(|route| route.with_settings(&settings));
    let checked = match (origin_check::check(&settings, &client, &parts), &route) {
        (Err(_), Ok(route)) if route.is_open() => Ok(RequestOrigin::Own),
        (checked, _) => checked,
    };
    let is_refused_by_check = checked.is_err();
    let (origin, answered) = match (checked, route) {
        (Ok(origin), Ok(route)) => {
            let answered = match open_answer(app, &client, &parts, &origin, &route, body).await {
                Some(answered) => answered,
                None => admit_and_dispatch(app, &client, &parts, &origin, route, handshake).await,
            };
            (origin, answered)
        }
        (Ok(origin), Err(refused)) => (origin, Err(refused)),
        (Err(refused), _) => (RequestOrigin::Own, Err(refused)),
    };
    let mut response = answered.unwrap_or_else(|refused| {
        let Refused { status, message, hint, .. } = &refused;
        let path = parts.uri.path();
        let remote = client.remote;
        let status = status.as_u16();
        tracing::info!(target: ACCESS_LOG, %remote, path, status, reason = message, hint, "refused");
        app.metrics.refused(if is_refused_by_check {
            RefusalReason::of_check(&refused)
        } else {
            RefusalReason::of(&refused)
        });
        refused.answer(&app.base, &parts.headers)
    });
    let framing = Framing::of(&parts.uri);
    // Nobody learns from the size of a form what is in it.
    if framing != Framing::Form {
        response = content_coding::compress(response, &parts.headers).await;
    }
    if parts.method == Method::HEAD {
        *response.body_mut() = empty();
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        security::set_headers(&mut response, framing);
        cors::allow(&settings, &origin, &mut response);
    }
    response
}

/// Removes the base from the target of a request, so that nothing behind this knows of it.
fn remove_base(app: &App, client: &Client, parts: &mut Parts) {
    if client.removed.as_deref().is_some_and(|removed| app.base.is(removed)) {
        return;
    }
    let is_log = |path: &str| requested_path(path).is_ok_and(|path| app.gate.is_in_prefixes(&path));
    let path = parts.uri.path();
    let rest = app.base.strip(path, is_log);
    if rest.len() == path.len() {
        return;
    }
    let target = match parts.uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    let mut uri = parts.uri.clone().into_parts();
    // A part of a target is a target.
    uri.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(uri) {
        parts.uri = uri;
    }
}

/// The answer to a request that needs no identity: the state of the server, the pages to sign in and
/// out, and what these load. None for all others.
async fn open_answer(
    app: &Arc<App>,
    client: &Client,
    parts: &Parts,
    origin: &RequestOrigin,
    route: &Route<'_>,
    body: Incoming,
) -> Option<Result<Response<Body>, Refused>> {
    match route {
        Route::Preflight | Route::Options => Some(Ok(cors::preflight())),
        Route::Health => Some(Ok(health::health(app))),
        Route::Ready => Some(Ok(health::ready(app))),
        Route::SignIn => Some(identity::sign_in(app, client, parts, origin, body).await),
        Route::SignOut => Some(identity::sign_out(app, client, parts, origin).await),
        Route::Own(name) if assets::is_asset(name) => Some(own_asset(name, parts)),
        Route::List { .. }
        | Route::ListJson
        | Route::Api(..)
        | Route::Newer(_)
        | Route::Metrics
        | Route::Check { .. }
        | Route::Events(_)
        | Route::MergedRows(_)
        | Route::Own(_)
        | Route::Log { .. } => None,
    }
}

/// Answers a request once it is known who sends it.
async fn admit_and_dispatch(
    app: &Arc<App>,
    client: &Client,
    parts: &Parts,
    origin: &RequestOrigin,
    route: Route<'_>,
    handshake: Option<Handshake>,
) -> Result<Response<Body>, Refused> {
    let admitted = app.gate.admit(&app.settings(), client, origin, &parts.headers).await;
    let Admission { visitor, cookie } = match admitted {
        Ok(admission) => admission,
        Err(refused) if refused.status == StatusCode::UNAUTHORIZED && is_navigation(parts) => {
            return Ok(identity::to_sign_in(&app.base, &parts.uri));
        }
        Err(refused) => return Err(refused),
    };
    let mut response = dispatch(app, client, &visitor, parts, route, handshake).await?;
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Whether a browser wants to show a page.
fn is_navigation(parts: &Parts) -> bool {
    let mode = parts.headers.get("sec-fetch-mode");
    accepts(&parts.headers, "text/html")
        && !is_upgrade(&parts.headers)
        && mode.is_none_or(|mode| mode == "navigate")
}

async fn dispatch(
    app: &Arc<App>,
    client: &Client,
    visitor: &Visitor,
    parts: &Parts,
    route: Route<'_>,
    handshake: Option<Handshake>,
) -> Result<Response<Body>, Refused> {
    let remote = client.remote;
    match route {
        // These have been answered.
        Route::Preflight
        | Route::Options
        | Route::Health
        | Route::Ready
        | Route::SignIn
        | Route::SignOut => Err(Refusal::NotFound.into()),
        Route::List { html } => {
            let format = if html { ListFormat::Html } else { ListFormat::Text };
            Ok(list(app, visitor, parts, format).await)
        }
        Route::ListJson => Ok(list(app, visitor, parts, ListFormat::Json).await),
        Route::Metrics => metrics::answer(app, &parts.headers).await,
        Route::Check { origin } => Ok(health::check(app, client, parts, &origin)),
        // Boxed, because it is much larger than the others, and a viewer's upgrade needs none of it.
        Route::Api(call, path) => Box::pin(api::answer(app, visitor, parts, call, path)).await,
        Route::Newer(path) => newer(app, visitor, path).await,
        Route::Events(logs) => merged_stream::answer(app, remote, visitor, parts, logs),
        Route::MergedRows(query) => api::merged_rows(app, visitor, query).await,
        Route::Own(name) => own(app, visitor, name),
        Route::Log { path, query, transport } => {
            let log = visitor.log_requested(&path);
            let request = LogRequest { app, remote, visitor, parts, query: *query };
            match (transport, handshake) {
                (Transport::WebSocket, Some(asked)) => upgrade::answer(&request, log, asked),
                (Transport::Events, _) => stream::events(&request, &log?).await,
                (Transport::Page, _) => view(&request, &log?).await,
                (Transport::Plain | Transport::WebSocket, _) => plain(&request, &log?).await,
            }
        }
    }
}

/// A request for a log.
pub(super) struct LogRequest<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) remote: Remote,
    pub(super) visitor: &'a Visitor,
    pub(super) parts: &'a Parts,
    pub(super) query: Query,
}

impl LogRequest<'_> {
    /// Admits the sender as a viewer.
    ///
    /// # Errors
    /// 503 when the server is full.
    pub(super) fn admit(
        &self,
        log: &LogPath,
        transport: &'static str,
    ) -> Result<AccessLogEntry, Refused> {
        admit(self.app, self.remote, self.visitor, log, transport).ok_or_else(Refused::full)
    }
}

/// Admits a viewer of a log; `None` when the server is full.
pub(super) fn admit(
    app: &App,
    remote: Remote,
    visitor: &Visitor,
    log: &LogPath,
    transport: &'static str,
) -> Option<AccessLogEntry> {
    let permit = app.admit_viewer()?;
    let metrics = app.metrics.viewer(transport);
    let name = log.display().to_string();
    let user = visitor.name();
    let entry = AccessLogEntry::begin(remote, user, name, transport, metrics, Some(permit));
    // Who downloads a log does not look at it.
    Some(if transport == "download" { entry } else { entry.join(app.hub.audiences(), log) })
}

/// The list of logs. A client that has it already gets 304.
async fn list(app: &App, visitor: &Visitor, parts: &Parts, format: ListFormat) -> Response<Body> {
    let list = app.listing.get(visitor, &Viewers::of(&app.hub), &app.cut, format).await;
    let validators = Validators::new(&list.tag, None);
    let mut response = if validators.is_known(&parts.headers) {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(full(list.bytes));
        response.extensions_mut().insert(list.compressed);
        response
    };
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    validators.insert(response.headers_mut());
    response
}

/// Answers a request below `/_/` that does not concern a log.
fn own(app: &App, visitor: &Visitor, name: &str) -> Result<Response<Body>, Refused> {
    match name {
        "levels.json" => Ok(json::json_text(levels::RULES.as_str())),
        "traces.json" => Ok(json::json_text(stack_trace::RULES.as_str())),
        "rules.json" => {
            let (levels, traces) = (levels::RULES.as_str(), stack_trace::RULES.as_str());
            Ok(json::json_text(format!("{{\"levels\":{levels},\"traces\":{traces}}}")))
        }
        name => page::multi_log(&app.base, visitor, &app.settings().zone, name)
            .ok_or_else(|| Refusal::NotFound.into()),
    }
}

/// A script, a style or a picture of the pages.
fn own_asset(name: &str, parts: &Parts) -> Result<Response<Body>, Refused> {
    assets::asset(name, &parts.headers).ok_or_else(|| Refusal::NotFound.into())
}

/// The answer to `/_/newer/PATH`: the newest file of a log's kind and a pattern of them, if there is
/// a newer one.
async fn newer(app: &App, visitor: &Visitor, path: &str) -> Result<Response<Body>, Refused> {
    let log = visitor.log_requested(&requested_path(path)?)?;
    let access = Arc::clone(visitor.access());
    let look = move || match access.identify(&log) {
        // It is a link to a place that the visitor may not read.
        Err(Refusal::Forbidden) => Err(Refusal::Forbidden),
        Ok(_) | Err(_) => Ok(pattern::newer(&access, &log)),
    };
    let found = spawn_blocking(look).await.unwrap_or(Err(Refusal::Unreadable))?;
    let link =
        |log: &LogPath| LogLink { path: log.display().to_string(), href: href(&app.base, log) };
    let mut response = json::json_text(to_json(&answer::Newer {
        newest: found.as_ref().map(|found| link(&found.newest)),
        pattern: found.as_ref().map(|found| link(&found.pattern)),
    }));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The viewer page. A log that does not exist yet has a page, too, which waits for it.
async fn view(request: &LogRequest<'_>, log: &LogPath) -> Result<Response<Body>, Refused> {
    let (access, wanted) = (Arc::clone(request.visitor.access()), log.clone());
    let names = Arc::clone(request.app.listing.names());
    let opened = spawn_blocking(move || {
        let name = names.of(&access, &wanted);
        (access.check(&wanted), name)
    });
    let (opened, name) = opened.await.unwrap_or((Err(Refusal::Unreadable), None));
    let (app, visitor) = (request.app, request.visitor);
    let (status, rows) = match opened {
        Ok(()) => (StatusCode::OK, first_rows::html(app, visitor, log, &request.query).await),
        Err(Refusal::NotFound) => (StatusCode::NOT_FOUND, None),
        Err(refusal) => return Err(refusal.into()),
    };
    let settings = app.settings();
    let view = page::View {
        log,
        name,
        rows: rows.unwrap_or_default(),
        framing: Framing::of(&request.parts.uri),
        decode: settings.decode,
        zone: settings.zone.to_string(),
    };
    Ok(page::view(&app.base, visitor, status, view))
}

/// The answer to `curl`: the file, or a stream if the query has parameters of a stream.
async fn plain(request: &LogRequest<'_>, log: &LogPath) -> Result<Response<Body>, Refused> {
    if request.query.is_whole_file() {
        download::answer(request, log).await
    } else {
        stream::plain(request, log).await
    }
}
