//! The WebSocket handshake, and what is left of it for the connection to do.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::log::{LogPath, Refusal};
use crate::serve::App;
use crate::serve::access_log::AccessLogEntry;
use crate::serve::body::{Body, empty};
use crate::serve::dispatch::LogRequest;
use crate::serve::query::{self, BadParameter, Format, LINES, Lines};
use crate::serve::refusal::Refused;
use crate::serve::route::is_upgrade;
use crate::serve::websocket::negotiation;
use crate::serve::websocket::viewer::{self, Denial, OwnSession, Viewer, ViewerRequest};
use crate::serve::write_timeout::WriteTimeout;
use crate::wire::frame::{Form, Packing};
use crate::wire::message::SUBPROTOCOL;

/// A request for an upgrade that has not been answered.
pub(in crate::serve) struct Handshake {
    upgraded: OnUpgrade,
    slot: UpgradeSlot,
}

impl Handshake {
    /// None for a request that wants no upgrade.
    pub(in crate::serve) fn of<B>(request: &mut Request<B>, slot: &UpgradeSlot) -> Option<Self> {
        is_upgrade(request.headers())
            .then(|| Self { upgraded: hyper::upgrade::on(request), slot: slot.clone() })
    }
}

/// Where the answer to a handshake leaves the viewer for its connection.
///
/// The connection's own task serves the viewer, after the future that answers requests has ended. A
/// task for each would leave holes in the heap: tokio aligns tasks, and glibc seldom uses the place
/// of an aligned block again.
#[derive(Clone, Default)]
pub(in crate::serve) struct UpgradeSlot(Arc<Mutex<Option<Box<Upgrade>>>>);

impl UpgradeSlot {
    /// Takes the viewer that this connection is for. None if there was no handshake.
    pub(in crate::serve) fn take(&self) -> Option<Box<Upgrade>> {
        self.0.lock().take()
    }
}

/// A viewer whose handshake was answered.
pub(in crate::serve) struct Upgrade {
    upgraded: OnUpgrade,
    request: ViewerRequest,
}

impl Upgrade {
    /// Takes the connection over from HTTP, and joins the log. None when that failed. Call it once the
    /// answer to the handshake has been written.
    pub(in crate::serve) async fn open(
        self: Box<Self>,
        app: &App,
    ) -> Option<(Box<Viewer>, Box<OwnSession>)> {
        let Self { upgraded, request } = *self;
        let parts = upgraded.await.ok()?.downcast::<TokioIo<WriteTimeout>>().ok()?;
        let io = parts.io.into_inner().into_inner();
        viewer::open(app, io, parts.read_buf, request).await
    }
}

/// Answers the handshake. Errors about the log are reported over the WebSocket, as the original
/// does, because a browser does not show a page why an upgrade was refused.
///
/// # Errors
/// 400 or 426 for a request that is no handshake, 400 for a format that the subprotocol lacks.
pub(in crate::serve) fn answer(
    request: &LogRequest<'_>,
    log: Result<LogPath, Refusal>,
    handshake: Handshake,
) -> Result<Response<Body>, Refused> {
    let LogRequest { app, remote, visitor, parts, query } = request;
    let bare = Request::from_parts((*parts).clone(), ());
    let mut response =
        create_response_with_body(&bare, empty).map_err(|error| Refused::bad_handshake(&error))?;
    let is_v1 = offers_v1(&parts.headers);
    let form = query::rendered(form(is_v1, query.format)?, query.rendition)?;
    if is_v1 {
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    let agreed = app.settings().compress.then(|| negotiation::agree(&parts.headers)).flatten();
    let packing = if agreed.is_some() { Packing::Deflated } else { Packing::Plain };
    if let Some(agreed) = agreed {
        response.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    let name = match &log {
        Ok(log) => log.display().to_string(),
        Err(_) => parts.uri.path().to_owned(),
    };
    let permit = app.admit_viewer();
    let log = match &permit {
        None => Err(Denial::Full),
        Some(_) => log.map_err(Denial::Refused),
    };
    let transport = if is_v1 { SUBPROTOCOL } else { "websocket" };
    let metrics = app.metrics.viewer("websocket");
    let mut entry =
        AccessLogEntry::begin(*remote, visitor.name(), name, transport, metrics, permit);
    let log = match log {
        Ok(log) => {
            entry = entry.join(app.hub.audiences(), &log);
            Ok(entry.shared(log))
        }
        Err(denial) => Err(denial),
    };
    let start = query.start(Lines::Last(LINES), is_v1);
    let visitor = (*visitor).clone();
    let request = ViewerRequest { visitor, log, start, form, packing, entry };
    let Handshake { upgraded, slot } = handshake;
    *slot.0.lock() = Some(Box::new(Upgrade { upgraded, request }));
    Ok(response)
}

/// Whether the client offers the subprotocol `tailcast.v1`.
fn offers_v1(headers: &HeaderMap) -> bool {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    offers
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(','))
        .any(|name| name.trim() == SUBPROTOCOL)
}

/// The form of the messages.
fn form(is_v1: bool, format: Option<Format>) -> Result<Form, BadParameter> {
    match (is_v1, format) {
        (true, None | Some(Format::Rows | Format::Html)) => Ok(Form::Rows),
        (true, Some(Format::Text)) => Ok(Form::TextRows),
        (true, Some(Format::Raw)) => Ok(Form::RawMessages),
        (false, None | Some(Format::Html)) => Ok(Form::Html),
        (false, Some(Format::Text)) => Ok(Form::Text),
        (false, Some(Format::Raw)) => Ok(Form::Raw),
        (false, Some(Format::Rows)) => {
            Err(BadParameter(format!("`format=rows` needs the subprotocol `{SUBPROTOCOL}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subprotocol_is_found_among_others() {
        let offers = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            }
            offers_v1(&headers)
        };
        assert!(offers(&["tailcast.v1"]));
        assert!(offers(&["chat, tailcast.v1"]));
        assert!(offers(&["chat", "tailcast.v1"]));
        assert!(!offers(&["tailcast.v10"]));
        assert!(!offers(&[]));
    }

    #[test]
    fn rows_need_the_subprotocol() {
        assert_eq!(form(true, None), Ok(Form::Rows));
        assert_eq!(form(false, None), Ok(Form::Html));
        assert_eq!(form(true, Some(Format::Raw)), Ok(Form::RawMessages));
        assert!(form(false, Some(Format::Rows)).is_err());
    }
}
