//! The answer to HTTP where TLS is spoken: the address that is meant.
//!
//! It is no redirect. With one, a link with `http://` would seem to work, and send what it has
//! unencrypted each time.

use askama::Template;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Response, StatusCode};

use crate::serve::body::{Body, full};
use crate::serve::route::{accepts, is_upgrade};

/// The page loads nothing, because nothing can be loaded from here.
#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html><html lang=en><meta charset=utf-8><title>This port speaks https</title>\
              <h1>This port speaks https</h1><p>Open <a href=\"{{ url }}\">{{ url }}</a></html>"
)]
struct Page<'a> {
    url: &'a str,
}

/// The answer to a request that came without TLS.
pub(in crate::serve) fn answer<B>(request: &Request<B>) -> Response<Body> {
    let headers = request.headers();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let url = host(headers).map(|host| format!("https://{host}{target}"));
    let page = url.as_deref().filter(|_| accepts(headers, "text/html") && !is_upgrade(headers));
    let page = page.and_then(|url| Page { url }.render().ok());
    let (kind, text) = match (page, url) {
        (Some(page), _) => ("text/html; charset=utf-8", page),
        (None, Some(url)) => {
            ("text/plain; charset=utf-8", format!("this port speaks https\nhint: open {url}\n"))
        }
        (None, None) => {
            let text = "this port speaks https\nhint: begin the URL with https://\n";
            ("text/plain; charset=utf-8", text.to_owned())
        }
    };
    let mut response = Response::new(full(text));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The host that the request names, if it is one.
fn host(headers: &HeaderMap) -> Option<Authority> {
    let host: Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    (!host.as_str().contains('@')).then_some(host)
}
