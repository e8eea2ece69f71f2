//! The pages to sign in and out: `/_/sign-in` and `/_/sign-out`. They work without scripts.
//!
//! A `POST` comes from a page of this server: the check of the origin has seen to that. It is checked
//! once more here that no listed origin sent it, since these may read logs and nothing else.

use std::sync::Arc;

use askama::Template;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use percent_encoding::{CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::time::timeout;

use crate::serve::body::{Body, empty};
use crate::serve::forwarded::Client;
use crate::serve::identity::{begin_session, set_cookie};
use crate::serve::origin_check::{self, RequestOrigin};
use crate::serve::page::{self, Assets};
use crate::serve::refusal::Refused;
use crate::serve::{App, BasePath};

/// The most bytes of a form.
const FORM_BYTES_MAX: usize = 16 * 1024;
/// The longest place to go on to, in bytes.
const PLACE_BYTES_MAX: usize = 4096;
/// Where to go on to when there is no other place.
const HOME: &str = "/";

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    base: &'a BasePath,
    /// Whether there are users who could sign in here.
    has_users: bool,
    name: &'a str,
    next: &'a str,
    /// Who is signed in already.
    present: Option<&'a str>,
    error: Option<&'a str>,
    note: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "sign-out.html")]
struct SignOutPage<'a> {
    base: &'a BasePath,
    present: Option<&'a str>,
}

impl Assets for SignInPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

impl Assets for SignOutPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

/// What the form says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    name: String,
    password: String,
    next: String,
}

impl Form {
    fn parse(bytes: &[u8]) -> Self {
        let mut form = Self::default();
        for (key, value) in form_urlencoded::parse(bytes) {
            match key.as_ref() {
                "name" => form.name = value.trim().to_owned(),
                "password" => form.password = value.into_owned(),
                "next" => form.next = value.into_owned(),
                _ => {}
            }
        }
        form
    }
}

/// The answer to a browser that wants a page and has not signed in.
pub(in crate::serve) fn to_sign_in(base: &BasePath, wanted: &Uri) -> Response<Body> {
    let wanted = wanted.path_and_query().map_or(HOME, |target| target.as_str());
    let next = utf8_percent_encode(place(wanted).unwrap_or(HOME), NON_ALPHANUMERIC);
    see_other(&format!("{base}/_/sign-in?next={next}"))
}

fn see_other(location: &str) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = utf8_percent_encode(location, CONTROLS).to_string();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The place to go on to, if it lies on this server: a path without the base, as it comes after the
/// host. A browser takes `//` and `/\` for the beginning of a host, and leaves out some control
/// characters before it looks. `None` also for the pages here, which lead nowhere.
fn place(next: &str) -> Option<&str> {
    let is_local = |text: &str| text.starts_with('/') && !text.starts_with("//");
    let decoded = percent_decode_str(next).decode_utf8_lossy();
    let decoded = decoded.replace('\\', "/");
    let is_here = decoded.starts_with("/_/sign-in") || decoded.starts_with("/_/sign-out");
    let is_plain = !next.contains(|c: char| c.is_control() || c == '\\');
    // Behind a proxy that decodes a path, a place must not become another one.
    let is_fine = is_local(next) && is_local(&decoded) && is_plain && !is_here;
    (is_fine && next.len() <= PLACE_BYTES_MAX).then_some(next)
}

/// Refuses a `POST` that does not come from a page of this server.
fn check_form(parts: &Parts, origin: &RequestOrigin) -> Result<(), Refused> {
    if *origin == RequestOrigin::Own && !origin_check::is_from_elsewhere(&parts.headers) {
        return Ok(());
    }
    Err(Refused::new(
        StatusCode::FORBIDDEN,
        "a page of another server may not sign anybody in or out",
        "open the sign-in page of this server",
    ))
}

async fn form_of(app: &App, body: Incoming) -> Result<Form, Refused> {
    let bad = |message| Refused::new(StatusCode::BAD_REQUEST, message, "send the form again");
    let read = timeout(app.settings().head_timeout, Limited::new(body, FORM_BYTES_MAX).collect());
    match read.await {
        Ok(Ok(body)) => Ok(Form::parse(&body.to_bytes())),
        Ok(Err(_)) => Err(bad("the form is too long, or was cut off")),
        Err(_) => Err(bad("the form took too long")),
    }
}

/// Answers a request for `/_/sign-in`.
///
/// # Errors
/// 400 for a form that cannot be read, 403 for one from elsewhere.
pub(in crate::serve) async fn sign_in(
    app: &Arc<App>,
    client: &Client,
    parts: &Parts,
    origin: &RequestOrigin,
    body: Incoming,
) -> Result<Response<Body>, Refused> {
    let settings = app.settings();
    let session = app.gate.session_of(&settings, client, &parts.headers);
    let page = |form: &Form, status, error: Option<&str>, note: Option<&str>| {
        page::html(
            status,
            &SignInPage {
                base: &app.base,
                has_users: settings.users.is_some(),
                name: &form.name,
                next: place(&form.next).unwrap_or(HOME),
                present: session.as_ref().map(|session| session.name.as_str()),
                error,
                note,
            },
        )
    };
    if parts.method != Method::POST {
        let query = parts.uri.query().unwrap_or_default();
        let form =
            Form { name: String::new(), password: String::new(), ..Form::parse(query.as_bytes()) };
        let has_left = query.split('&').any(|parameter| parameter == "left=1");
        let note = (has_left && session.is_none()).then_some("You are signed out.");
        return Ok(page(&form, StatusCode::OK, None, note));
    }
    check_form(parts, origin)?;
    let form = form_of(app, body).await?;
    let checked = app.gate.check_password(&settings, client, &form.name, &form.password).await;
    match checked {
        Ok(user) => {
            // Whatever session the browser had before ends here.
            if let Some(before) = session.and_then(|session| session.session) {
                end(app, &before).await;
            }
            let next = place(&form.next).unwrap_or(HOME);
            let mut response = see_other(&format!("{}{next}", app.base));
            if let Some(cookie) = begin_session(&settings, client, &user) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            tracing::info!(remote = %client.remote, user = ?user.name, "signed in");
            Ok(response)
        }
        Err(Refused { status: StatusCode::TOO_MANY_REQUESTS, retry_after, .. }) => {
            let seconds = retry_after.unwrap_or(1);
            let error = format!("There were too many attempts. Try again in {seconds} s.");
            let mut response = page(&form, StatusCode::TOO_MANY_REQUESTS, Some(&error), None);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            Ok(response)
        }
        Err(_) => {
            let error = "The name or the password is wrong. Check both and try again, or ask whoever \
                         runs this server for an account.";
            // 401 would make the browser ask for the password itself.
            Ok(page(&form, StatusCode::FORBIDDEN, Some(error), None))
        }
    }
}

/// Answers a request for `/_/sign-out`.
///
/// # Errors
/// 403 for a form from elsewhere.
pub(in crate::serve) async fn sign_out(
    app: &Arc<App>,
    client: &Client,
    parts: &Parts,
    origin: &RequestOrigin,
) -> Result<Response<Body>, Refused> {
    let settings = app.settings();
    let session = app.gate.session_of(&settings, client, &parts.headers);
    if parts.method != Method::POST {
        let present = session.as_ref().map(|session| session.name.as_str());
        return Ok(page::html(StatusCode::OK, &SignOutPage { base: &app.base, present }));
    }
    check_form(parts, origin)?;
    if let Some(session) = session.and_then(|session| session.session) {
        tracing::info!(remote = %client.remote, user = ?session.name, "signed out");
        end(app, &session).await;
    }
    let mut response = see_other(&format!("{}/_/sign-in?left=1", app.base));
    if let Some(cookie) = set_cookie(client, &app.base, "", 0) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Ends a session, and the streams that it began.
async fn end(app: &Arc<App>, session: &super::sessions::Session) {
    let settings = app.settings();
    let Some(sessions) = &settings.sessions else { return };
    if let Err(error) = sessions.end(session).await {
        let hint = "check the directory of `--state-dir`";
        tracing::warn!(%error, hint, "cannot keep the end of a session: a restart forgets it, and other servers do not hear of it");
    }
    app.withdrawals.end_sessions(sessions, |ended| ended.name == session.name);
}

/// Reads a form, for the fuzzer.
#[cfg(any(test, fuzzing))]
pub(super) fn read_unknown(bytes: &[u8]) {
    let form = Form::parse(bytes);
    let Some(next) = place(&form.next) else { return };
    let response = see_other(next);
    let location = &response.headers()[header::LOCATION];
    // As a browser reads it: it begins with one slash, and names no host.
    let text = location.to_str().unwrap_or_default();
    assert!(text.starts_with('/') && !text.starts_with("//") && !text.contains('\\'), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_to_go_on_to_never_lies_on_another_host() {
        for fine in [
            "/",
            "/var/log/app.log",
            "/var/log/app.log?lines=5&from=1#L10",
            "/a?b=//c",
            "/a//b",
            "/_/merged#log=/a&log=/b",
            "/a%20b/%C3%A9.log",
            "/a%0Ab",
            "/é.log",
            "/@host/var/log",
        ] {
            assert_eq!(place(fine), Some(fine));
        }
        for elsewhere in [
            "",
            "evil.example",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "\\/evil.example",
            "http://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            " //evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            "/%2Fevil.example",
            "/%2f/evil.example",
            "/%5Cevil.example",
            "%2F%2Fevil.example",
            "/a\r\nSet-Cookie: a=b",
            "/_/sign-in",
            "/_/sign-out?x",
            "/%5f/sign-out",
        ] {
            assert_eq!(place(elsewhere), None, "{elsewhere:?}");
        }
        assert_eq!(place(&format!("/{}", "a".repeat(PLACE_BYTES_MAX))), None);
    }

    #[test]
    fn a_redirect_has_no_other_headers_in_it_and_keeps_the_base() {
        let base: BasePath = "/logs".parse().unwrap();
        let response = to_sign_in(&base, &Uri::from_static("/var/a.log?lines=5&x=%2F"));
        let location = response.headers()[header::LOCATION].to_str().unwrap();
        assert_eq!(location, "/logs/_/sign-in?next=%2Fvar%2Fa%2Elog%3Flines%3D5%26x%3D%252F");
        let next = location.split_once("next=").unwrap().1;
        let form = Form::parse(format!("next={next}").as_bytes());
        assert_eq!(form.next, "/var/a.log?lines=5&x=%2F");
        assert_eq!(see_other("/é").headers()[header::LOCATION], "/%C3%A9");
    }

    #[test]
    fn a_form_is_read_whatever_it_holds() {
        let form = Form::parse(b"name=+ann+&password=+a%26b+&next=%2Fa&more=1&name");
        assert_eq!(form.password, " a&b ", "a space is a part of a password");
        assert_eq!(form.next, "/a");
        assert_eq!(Form::parse(b"\xff&&=&%"), Form::default());
    }
}
