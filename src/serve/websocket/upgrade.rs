//! The WebSocket handshake, and the task that serves the viewer after it.

use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use crate::log::{LogPath, Refusal};
use crate::serve::access_log::AccessLogEntry;
use crate::serve::body::{Body, empty};
use crate::serve::dispatch::{LogRequest, quoted};
use crate::serve::query::{self, BadParameter, Format, LINES, Lines};
use crate::serve::refusal::Refused;
use crate::serve::websocket::negotiation;
use crate::serve::websocket::viewer::{self, Denial, ViewerRequest};
use crate::serve::write_timeout::WriteTimeout;
use crate::wire::frame::{Form, Packing};
use crate::wire::message::SUBPROTOCOL;

/// Answers the handshake. Errors about the log are reported over the WebSocket, as the original
/// does, because a browser does not show a page why an upgrade was refused.
///
/// # Errors
/// 400 or 426 for a request that is no handshake, 400 for a format that the subprotocol lacks.
pub(in crate::serve) fn answer(
    request: &LogRequest<'_>,
    log: Result<LogPath, Refusal>,
    upgrade: OnUpgrade,
) -> Result<Response<Body>, Refused> {
    let LogRequest { app, remote, visitor, parts, query } = request;
    let handshake = Request::from_parts((*parts).clone(), ());
    let mut response = create_response_with_body(&handshake, empty)
        .map_err(|error| Refused::bad_handshake(&error))?;
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
        Ok(log) => quoted(log),
        // The target is percent-encoded, so it can't forge a line of the access log.
        Err(_) => format!("{:?}", parts.uri.path()),
    };
    let permit = app.admit_viewer();
    let log = match &permit {
        None => Err(Denial::Full),
        Some(_) => log.map_err(Denial::Refused),
    };
    let transport = if is_v1 { SUBPROTOCOL } else { "websocket" };
    let entry = AccessLogEntry::begin(*remote, visitor, name, transport, permit);
    let start = query.start(Lines::Last(LINES), is_v1);
    let visitor = (*visitor).clone();
    let request = ViewerRequest { visitor, log, start, form, packing };
    let app = Arc::clone(app);
    app.tasks.clone().spawn(async move {
        let upgraded = tokio::select! {
            upgraded = upgrade => upgraded,
            () = app.cut.cancelled() => return,
        };
        let parts = upgraded.map(|upgraded| upgraded.downcast::<TokioIo<WriteTimeout>>());
        let Ok(Ok(parts)) = parts else { return };
        let io = parts.io.into_inner().into_inner();
        // The viewer has a task of its own, because this task's memory includes the upgrade, which
        // the viewer no longer needs.
        app.tasks.spawn(viewer::serve(Arc::clone(&app), io, parts.read_buf, request, entry));
    });
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
