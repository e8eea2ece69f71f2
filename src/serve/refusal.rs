//! Refused requests: the status, and a message for the sender.

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};

use crate::log::Refusal;
use crate::serve::BasePath;
use crate::serve::body::{Body, full};
use crate::serve::page;
use crate::serve::query::BadParameter;
use crate::serve::route::{accepts, is_upgrade};

/// A refused request. The message says what is wrong, the hint what to do about it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) message: String,
    pub(super) hint: String,
    /// After how many seconds the sender may try again.
    pub(super) retry_after: Option<u64>,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, message: message.into(), hint: hint.into(), retry_after: None }
    }

    /// The refusal when there are as many viewers as `--max-viewers` allows.
    pub(super) fn full() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "there are as many viewers as this server takes",
            "try again later, or start it with a larger `--max-viewers`",
        )
    }

    /// The refusal of a request that does not say who sends it.
    pub(super) fn no_identity() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "this server needs to know who you are",
            "send a name with a password (`curl -u NAME`, `tailcast tail --user NAME`) or a token \
             (`Authorization: Bearer …`, `tailcast tail --token-file FILE`), or open `/_/sign-in`",
        )
    }

    /// The refusal of a wrong password or token. It does not tell which part is wrong.
    pub(super) fn wrong_identity() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "the name, the password or the token is wrong",
            "check it, or ask whoever runs this server",
        )
    }

    /// The refusal after too many wrong attempts.
    pub(super) fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let refused = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "there were too many attempts with a wrong name, password or token",
            format!("try again in {seconds} s"),
        );
        Self { retry_after: Some(seconds), ..refused }
    }

    /// The refusal of a method other than GET and HEAD.
    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are understood here",
            "logs are read, never written",
        )
    }

    /// The refusal of a WebSocket handshake whose `Upgrade` header a proxy has removed.
    pub(super) fn no_upgrade() -> Self {
        Self::new(
            StatusCode::UPGRADE_REQUIRED,
            "this WebSocket handshake has lost its `Upgrade` header on the way",
            "let the proxy before the server pass it on (nginx: `proxy_http_version 1.1; \
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;`)",
        )
    }

    /// The refusal of an upgrade that is no WebSocket handshake.
    pub(super) fn bad_handshake(error: &Error) -> Self {
        let status = match error {
            Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
                StatusCode::UPGRADE_REQUIRED
            }
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(
            status,
            format!("this is no WebSocket handshake: {error}"),
            "ask for version 13 of the protocol",
        )
    }

    /// The answer: a page for a browser, plain text for everything else.
    pub(super) fn answer(&self, base: &BasePath, headers: &HeaderMap) -> Response<Body> {
        let Self { status, message, hint, .. } = self;
        let mut response = if accepts(headers, "text/html") && !is_upgrade(headers) {
            let title =
                format!("{} · {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
            page::error(base, *status, &title, message, hint)
        } else {
            let mut response = Response::new(full(format!("{message}\nhint: {hint}\n")));
            *response.status_mut() = *status;
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            );
            response
        };
        // The headers that these statuses must or should have: RFC 9110, sections 15.5.6 and 15.6.4,
        // and RFC 6455, section 4.4.
        let extra = match *status {
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "5")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "GET, HEAD")),
            StatusCode::UPGRADE_REQUIRED => Some((header::SEC_WEBSOCKET_VERSION, "13")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if *status == StatusCode::UNAUTHORIZED {
            challenge(headers, response.headers_mut());
        }
        if *status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110, section 15.5.22.
            response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}

/// Names the ways to identify oneself (RFC 9110, section 11.6.1). A browser asks for a password in a
/// window of its own if `Basic` is among them. The page's scripts must not make it do so: the page
/// says itself that the visitor is signed out.
fn challenge(asked: &HeaderMap, answer: &mut HeaderMap) {
    let bearer = HeaderValue::from_static("Bearer realm=\"tailcast\"");
    let value = |name: &str| asked.get(name).map(HeaderValue::as_bytes);
    let is_script = value("sec-fetch-site") == Some(b"same-origin")
        && value("sec-fetch-mode").is_some_and(|mode| mode != b"navigate");
    if !is_script {
        let basic = HeaderValue::from_static("Basic realm=\"tailcast\", charset=\"UTF-8\"");
        answer.append(header::WWW_AUTHENTICATE, basic);
    }
    answer.append(header::WWW_AUTHENTICATE, bearer);
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
                "this path is outside what you may read here; `--prefix` and `[[allow]]` say what is served to whom",
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
            Refusal::Unreachable => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "Unreachable",
                "the machine of this log does not answer, and nothing of the log is here; try again later",
            ),
        }
    }
}
