//! Content codings (RFC 9110, section 8.4): which of them a request accepts, and the compression of
//! answers that are made for the request. Assets are compressed by the build.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::serve::body::{Body, full};

/// A smaller answer fits into one packet anyway.
const COMPRESSED_BYTES_MIN: u64 = 1_400;
/// A larger answer is compressed on a blocking thread, and less: it is rows or a list, not a page.
const INLINE_BYTES_MAX: u64 = 32 * 1024;
/// A larger answer is sent as it is: memory and time are bounded.
const COMPRESSED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The compressed bytes of a body that several answers have, as an extension of each: it is compressed
/// once.
#[derive(Clone, Debug, Default)]
pub(super) struct Compressed(Arc<OnceCell<Bytes>>);

impl Compressed {
    async fn of(&self, content: &Bytes) -> io::Result<Bytes> {
        let compress = async || {
            let content = content.clone();
            if content.len() as u64 <= INLINE_BYTES_MAX {
                return gzip(&content, Compression::default());
            }
            spawn_blocking(move || gzip(&content, Compression::fast()))
                .await
                .unwrap_or_else(|_| Err(io::Error::other("panicked")))
        };
        self.0.get_or_try_init(compress).await.cloned()
    }
}

/// Compresses pages and JSON if the request accepts it. Streams, downloads and assets stay as they
/// are: their size is not known, they have another type, or a coding already.
pub(super) async fn compress(response: Response<Body>, request: &HeaderMap) -> Response<Body> {
    let size = response.body().size_hint().exact().unwrap_or(0);
    let fits = (COMPRESSED_BYTES_MIN..=COMPRESSED_BYTES_MAX).contains(&size);
    if !fits || !is_compressible(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if !accepts_gzip(request) {
        return Response::from_parts(parts, body);
    }
    let content = match body.collect().await {
        Ok(content) => content.to_bytes(),
        // A body of a known size is in memory.
        Err(_) => Bytes::new(),
    };
    let shared = parts.extensions.remove::<Compressed>().unwrap_or_default();
    let Ok(compressed) = shared.of(&content).await else {
        return Response::from_parts(parts, full(content));
    };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.remove(header::CONTENT_LENGTH);
    weaken_tag(&mut parts.headers);
    Response::from_parts(parts, full(compressed))
}

fn is_compressible(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_text = kind.starts_with(b"text/html") || kind.starts_with(b"application/json");
    is_text && !headers.contains_key(header::CONTENT_ENCODING)
}

fn gzip(content: &[u8], level: Compression) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), level);
    encoder.write_all(content)?;
    encoder.finish().map(Bytes::from)
}

/// The compressed bytes are others than the plain ones, so a strong tag would not be true.
fn weaken_tag(headers: &mut HeaderMap) {
    let strong = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    let weak =
        strong.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok());
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

/// Whether `Accept-Encoding` admits gzip (RFC 9110, section 12.5.3): by its name, or else by `*`,
/// and not with a weight of 0. Without the header nothing is compressed.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut by_name = None;
    let mut by_star = None;
    let values =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case("q"))
            .map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            by_name = Some(weight > 0.0);
        } else if coding == "*" {
            by_star = Some(weight > 0.0);
        }
    }
    by_name.or(by_star).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    async fn answer(
        kind: &'static str,
        size: usize,
        accept: Option<&'static str>,
    ) -> (HeaderMap, Vec<u8>) {
        let mut response = Response::new(full(vec![b'x'; size]));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response.headers_mut().insert(header::ETAG, HeaderValue::from_static("\"a\""));
        let mut request = HeaderMap::new();
        if let Some(accept) = accept {
            request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
        }
        let (parts, body) = compress(response, &request).await.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn pages_and_json_are_compressed_for_those_who_accept_it() {
        for (kind, size) in [
            ("text/html; charset=utf-8", 2_000),
            ("application/json", 30_000),
            ("application/json", 300_000),
        ] {
            let (headers, body) = answer(kind, size, Some("br, gzip")).await;
            assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{kind} {size}");
            assert_eq!(headers[header::VARY], "Accept, Accept-Encoding");
            assert_eq!(headers[header::ETAG], "W/\"a\"");
            let mut content = Vec::new();
            GzDecoder::new(&body[..]).read_to_end(&mut content).unwrap();
            assert_eq!(content, vec![b'x'; size], "{kind} {size}");
            assert!(body.len() < size / 10, "{kind} {size}: {}", body.len());

            let (headers, body) = answer(kind, size, None).await;
            assert!(!headers.contains_key(header::CONTENT_ENCODING), "{kind} {size}");
            assert_eq!(headers[header::VARY], "Accept, Accept-Encoding");
            assert_eq!(headers[header::ETAG], "\"a\"");
            assert_eq!(body, vec![b'x'; size]);
        }
    }

    #[tokio::test]
    async fn answers_with_one_body_are_compressed_once() {
        let compressed = Compressed::default();
        let mut bodies = Vec::new();
        for _ in 0..2 {
            let mut response = Response::new(full(vec![b'x'; 300_000]));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response.extensions_mut().insert(compressed.clone());
            let accept = [(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))];
            let answer = compress(response, &accept.into_iter().collect()).await;
            bodies.push(answer.into_body().collect().await.unwrap().to_bytes());
        }
        assert_eq!(bodies[0].as_ptr(), bodies[1].as_ptr(), "it was compressed twice");
    }

    #[tokio::test]
    async fn small_answers_and_files_stay_as_they_are() {
        for (kind, size) in
            [("application/json", 500), ("text/plain", 5_000), ("application/octet-stream", 5_000)]
        {
            let (headers, body) = answer(kind, size, Some("gzip")).await;
            assert!(!headers.contains_key(header::CONTENT_ENCODING), "{kind} {size}");
            assert_eq!(headers[header::ETAG], "\"a\"");
            assert_eq!(body, vec![b'x'; size], "{kind} {size}");
        }
    }
}
