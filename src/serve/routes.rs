//! From a request to an answer.
//!
//! A log's URL is its absolute path; `/` is the list; everything of ours lies under `/_/`. How a log is given depends
//! on what is asked for: an upgrade, an event stream, a page, or the bytes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::log::{LogPath, Offset, Refusal};
use crate::search::levels;
use crate::serve::connection_limit::AccessLogEntry;
use crate::serve::http::stream::{self, StreamFormat};
use crate::serve::http::{api, download};
use crate::serve::query::{self, BadParameter, Format, LINES, Lines, Query};
use crate::serve::security::{self, Framing};
use crate::serve::websocket::negotiation;
use crate::serve::websocket::viewer::{self, Denial, ViewerRequest};
use crate::serve::write_timeout::WriteTimeout;
use crate::serve::{App, assets, health, json, listing, origin_check, page};
use crate::session::WantedGeneration;
use crate::wire::frame::{Form, Packing};
use crate::wire::message::SUBPROTOCOL;

/// Any answer's body. An error ends the connection.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// What is refused, in words for whoever asked.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    message: String,
    hint: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: hint.into() }
    }

    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let Self { status, message, hint } = self;
        let mut response = if accepts(headers, "text/html") && !is_upgrade(headers) {
            let title =
                format!("{} · {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
            page::error(*status, &title, message, hint)
        } else {
            let mut response = Response::new(full(format!("{message}\nhint: {hint}\n")));
            *response.status_mut() = *status;
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            response
        };
        match *status {
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                response
                    .headers_mut()
                    .insert("sec-websocket-version", HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

impl From<BadParameter> for Refused {
    fn from(BadParameter(message): BadParameter) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message, "the parameters are in the README under `URLs`")
    }
}

impl From<Refusal> for Refused {
    /// The one place where a refusal becomes a status.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Forbidden => Self::new(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "this path is outside the served directories; start the server with `--prefix` to serve it",
            ),
            Refusal::Unreadable => Self::new(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "the server's user may not read this file",
            ),
            Refusal::Exhausted => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the server is out of descriptors",
                "try again later, or raise its `ulimit -n`",
            ),
            Refusal::NotFound => {
                Self::new(StatusCode::NOT_FOUND, "Not found", "`/` lists the logs there are")
            }
            Refusal::Untailable => Self::new(
                StatusCode::NOT_FOUND,
                "Not found",
                "this is no regular file; `/` lists the logs there are",
            ),
        }
    }
}

/// Answers a request, whatever it is.
pub(super) async fn answer(
    app: &Arc<App>,
    remote: SocketAddr,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let upgrade = is_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (parts, _body) = request.into_parts();
    let mut response = match route(app, remote, &parts, upgrade).await {
        Ok(response) => response,
        Err(refused) => {
            let Refused { status, message, hint } = &refused;
            let path = parts.uri.path();
            tracing::info!(%remote, ?path, status = status.as_u16(), ?message, ?hint, "refused");
            refused.answer(&parts.headers)
        }
    };
    if parts.method == Method::HEAD {
        *response.body_mut() = empty();
    }
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        security::set_headers(&mut response, Framing::of(&parts.uri));
    }
    response
}

async fn route(
    app: &Arc<App>,
    remote: SocketAddr,
    parts: &Parts,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Result<Response<Body>, Refused> {
    origin_check::check(&app.settings, parts)
        .map_err(|stranger| Refused::new(stranger.status, stranger.message, stranger.hint))?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(Refused::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are understood here",
            "logs are read, never written",
        ));
    }
    let path = parts.uri.path();
    if upgrade.is_none() {
        if path == "/" {
            return Ok(list(app, &parts.headers).await);
        }
        if let Some(name) = path.strip_prefix("/_/") {
            return match api::answer(app, parts, name).await {
                Some(answer) => answer,
                None => own(app, parts, name).await,
            };
        }
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let decoded = query::decode_path(path)?;
    let log = app.access.locate(&decoded);
    let asking = RequestContext { app, remote, parts, query };
    match upgrade {
        Some(upgrade) => asking.websocket(log, upgrade),
        None if accepts(&parts.headers, "text/event-stream") => asking.events(&log?).await,
        None if asking.query.format.is_none() && accepts(&parts.headers, "text/html") => {
            asking.page(&log?).await
        }
        None => asking.plain(&log?).await,
    }
}

/// Whether the `Accept` header names the type. What takes anything (`*/*`) names none.
fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| {
        accept.split(',').any(|item| {
            item.split(';').next().is_some_and(|item| item.trim().eq_ignore_ascii_case(kind))
        })
    })
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

async fn list(app: &Arc<App>, headers: &HeaderMap) -> Response<Body> {
    let catalogue = app.catalogue().await;
    if accepts(headers, "text/html") {
        listing::page(&catalogue, app.hub.registry(), app.access.prefixes())
    } else {
        listing::text(&catalogue)
    }
}

/// What lies under `/_/`.
async fn own(app: &Arc<App>, parts: &Parts, name: &str) -> Result<Response<Body>, Refused> {
    match name {
        "logs" => {
            let catalogue = app.catalogue().await;
            Ok(listing::json(&catalogue, app.hub.registry(), &parts.headers))
        }
        "levels.json" => Ok(json::json_text(levels::RULES)),
        "healthz" => Ok(health::health(app)),
        name => page::multi_log(name)
            .or_else(|| assets::asset(name, &parts.headers))
            .ok_or_else(|| Refusal::NotFound.into()),
    }
}

/// A request for a log.
struct RequestContext<'a> {
    app: &'a Arc<App>,
    remote: SocketAddr,
    parts: &'a Parts,
    query: Query,
}

impl RequestContext<'_> {
    fn visit(&self, log: &LogPath, by: &'static str) -> Result<AccessLogEntry, Refused> {
        let seat = self.app.connection_limit.take().ok_or_else(|| {
            Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "there are as many viewers as this server takes",
                "try again later, or start it with a larger `--max-viewers`",
            )
        })?;
        Ok(AccessLogEntry::begin(self.remote, quoted(log), by, Some(seat)))
    }

    /// Answers the handshake. What is wrong with the log is told over the WebSocket, as the original did.
    fn websocket(
        &self,
        log: Result<LogPath, Refusal>,
        upgrade: hyper::upgrade::OnUpgrade,
    ) -> Result<Response<Body>, Refused> {
        let request = Request::from_parts(self.parts.clone(), ());
        let mut response =
            create_response_with_body(&request, empty).map_err(|error| bad_handshake(&error))?;
        let v1 = self.parts.headers.get_all("sec-websocket-protocol").iter().any(|offered| {
            offered
                .to_str()
                .is_ok_and(|offered| offered.split(',').any(|name| name.trim() == SUBPROTOCOL))
        });
        let form = match (v1, self.query.format) {
            (true, None | Some(Format::Rows | Format::Html)) => Form::Rows,
            (true, Some(Format::Text)) => Form::TextRows,
            (true, Some(Format::Raw)) => Form::RawMessages,
            (false, None | Some(Format::Html)) => Form::Html,
            (false, Some(Format::Text)) => Form::Text,
            (false, Some(Format::Raw)) => Form::Raw,
            (false, Some(Format::Rows)) => {
                return Err(BadParameter(format!(
                    "`format=rows` needs the subprotocol `{SUBPROTOCOL}`"
                ))
                .into());
            }
        };
        if v1 {
            response
                .headers_mut()
                .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        }
        let extension = self.app.settings.compress.then(|| negotiation::agree(&self.parts.headers));
        let packing = match extension.flatten() {
            Some(agreed) => {
                response.headers_mut().insert("sec-websocket-extensions", agreed);
                Packing::Deflated
            }
            None => Packing::Plain,
        };
        let named = match &log {
            Ok(log) => quoted(log),
            // As it was asked for: percent-encoded, so it can bring nothing into the talk.
            Err(_) => format!("{:?}", self.parts.uri.path()),
        };
        let seat = self.app.connection_limit.take();
        let log = match (&seat, log) {
            (None, _) => Err(Denial::Full),
            (Some(_), log) => log.map_err(Denial::Refused),
        };
        let visit = AccessLogEntry::begin(
            self.remote,
            named,
            if v1 { SUBPROTOCOL } else { "websocket" },
            seat,
        );
        let asked =
            ViewerRequest { log, start: self.query.start(Lines::Last(LINES), v1), form, packing };
        let app = Arc::clone(self.app);
        self.app.tasks.spawn(async move {
            let upgraded = tokio::select! {
                upgraded = upgrade => upgraded,
                () = app.cut.cancelled() => return,
            };
            let Ok(parts) = upgraded.map(|upgraded| upgraded.downcast::<TokioIo<WriteTimeout>>())
            else {
                return;
            };
            let Ok(parts) = parts else { return };
            let serving = viewer::serve(
                Arc::clone(&app),
                parts.io.into_inner().into_inner(),
                parts.read_buf,
                asked,
                visit,
            );
            app.tasks.spawn(serving);
        });
        Ok(response)
    }

    async fn events(&self, log: &LogPath) -> Result<Response<Body>, Refused> {
        let form = match self.query.format {
            None | Some(Format::Rows | Format::Html) => Form::Rows,
            Some(Format::Text) => Form::TextRows,
            Some(Format::Raw) => {
                return Err(BadParameter(
                    "`format=raw` has no form as events; `rows` and `text` have".to_owned(),
                )
                .into());
            }
        };
        let mut query = self.query.clone();
        if let Some(id) = self.parts.headers.get("last-event-id") {
            let position = id.to_str().ok().and_then(last_event_id);
            let (from, of) = position.unwrap_or((Offset(0), WantedGeneration::Nothing));
            (query.from, query.of) = (Some(from), of);
            // It is of the position in the address, which is older.
            query.late.clear();
        }
        let visit = self.visit(log, "events")?;
        let session = self.app.hub.join(log, query.start(Lines::Last(LINES), true), form).await?;
        Ok(stream::answer(self.app, session, visit, StreamFormat::Events))
    }

    /// The viewer page. A log that is not there yet has one too: it waits.
    async fn page(&self, log: &LogPath) -> Result<Response<Body>, Refused> {
        let (access, wanted) = (Arc::clone(&self.app.access), log.clone());
        let opened = tokio::task::spawn_blocking(move || access.open(&wanted).map(drop)).await;
        let framing = Framing::of(&self.parts.uri);
        match opened.unwrap_or(Err(Refusal::Unreadable)) {
            Ok(()) => Ok(page::view(StatusCode::OK, log, framing)),
            Err(Refusal::NotFound) => Ok(page::view(StatusCode::NOT_FOUND, log, framing)),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// What `curl` gets: the file, or a stream where something is said about lines or following.
    async fn plain(&self, log: &LogPath) -> Result<Response<Body>, Refused> {
        let query = &self.query;
        let form = match query.format {
            None | Some(Format::Raw) => Form::Raw,
            Some(Format::Text) => Form::Text,
            Some(Format::Html) => Form::Html,
            Some(Format::Rows) => {
                return Err(BadParameter(
                    "`format=rows` is for WebSockets and event streams".to_owned(),
                )
                .into());
            }
        };
        let is_file =
            !query.tail && query.lines.is_none() && query.from.is_none() && form == Form::Raw;
        if is_file {
            let visit = || self.visit(log, "download");
            let Parts { method, headers, .. } = self.parts;
            return download::answer(&self.app.access, log, method, headers, visit).await;
        }
        let lines = if query.tail { Lines::Last(LINES) } else { Lines::All };
        let visit = self.visit(log, "stream")?;
        let session = self.app.hub.join(log, query.start(lines, false), form).await?;
        if !session.is_recovered() {
            return Err(Refused::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the log has no such position now: `from` is beyond its end, or of another generation",
                "ask without `from`",
            ));
        }
        let kind = if form == Form::Html { StreamFormat::Html } else { StreamFormat::Text };
        Ok(stream::answer(self.app, session, visit, kind))
    }
}

/// A path for the talk, in quotes and with everything escaped that could forge a line.
fn quoted(log: &LogPath) -> String {
    format!("{:?}", log.as_path())
}

/// `Last-Event-ID: generation:offset`, as the events' `id` gave it.
fn last_event_id(id: &str) -> Option<(Offset, WantedGeneration)> {
    let (generation, offset) = id.rsplit_once(':')?;
    Some((Offset(offset.parse().ok()?), query::of(generation)))
}

fn bad_handshake(error: &Error) -> Refused {
    let status = match error {
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            StatusCode::UPGRADE_REQUIRED
        }
        _ => StatusCode::BAD_REQUEST,
    };
    Refused::new(
        status,
        format!("this is no WebSocket handshake: {error}"),
        "ask for version 13 of the protocol",
    )
}
