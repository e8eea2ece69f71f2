//! A log as a plain file: whole, or a range of it, as it is at this moment.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::task::spawn_blocking;

use crate::log::file::LogFile;
use crate::log::{Access, LogPath, Offset, Refusal};
use crate::serve::connection_limit::AccessLogEntry;
use crate::serve::routes::{Body, Refused, empty, full};

/// The unit in which a file is read and sent.
const READ_BYTES: u64 = 256 * 1024;

/// What is asked of a file.
enum FindRequest {
    Whole,
    Range(RangeInclusive<u64>),
    Unsatisfiable,
}

/// The answer to a GET or HEAD of a log's bytes. A GET's body holds a seat, which `visit` takes.
pub(in crate::serve) async fn answer(
    access: &Arc<Access>,
    log: &LogPath,
    method: &Method,
    headers: &HeaderMap,
    visit: impl FnOnce() -> Result<AccessLogEntry, Refused>,
) -> Result<Response<Body>, Refused> {
    let (file, size, modified) = {
        let (access, log) = (Arc::clone(access), log.clone());
        let open = move || {
            let file = LogFile::new(access.open(&log)?);
            let status = file.status().map_err(|_| Refusal::Unreadable)?;
            Ok((file, status.size, status.modified))
        };
        spawn_blocking(open).await.unwrap_or(Err(Refusal::Unreadable))?
    };
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let etag = format!("\"{:x}-{size:x}-{:x}\"", file.identity().inode, since_epoch.as_nanos());
    let mut response = Response::new(empty());
    let set = response.headers_mut();
    set.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    set.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(set, header::ETAG, &etag);
    insert(set, header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    if not_modified(headers, &etag, modified) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let range = match part(method, headers, &etag, modified, size) {
        FindRequest::Unsatisfiable => {
            insert(set, header::CONTENT_RANGE, &format!("bytes */{size}"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            *response.body_mut() = full(format!("the log has {size} bytes\n"));
            return Ok(response);
        }
        FindRequest::Range(range) => {
            insert(
                set,
                header::CONTENT_RANGE,
                &format!("bytes {}-{}/{size}", range.start(), range.end()),
            );
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            *range.start()..range.end() + 1
        }
        FindRequest::Whole => 0..size,
    };
    insert(response.headers_mut(), header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    if method != Method::HEAD {
        *response.body_mut() = bytes_of(file, range, visit()?);
    }
    Ok(response)
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    // All that is put here is digits and punctuation.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// HTTP dates have whole seconds.
fn is_newer(modified: SystemTime, than: &str) -> bool {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    httpdate::parse_http_date(than).map_or(true, |than| seconds(modified) > seconds(than))
}

fn not_modified(headers: &HeaderMap, etag: &str, modified: SystemTime) -> bool {
    match text(headers, header::IF_NONE_MATCH) {
        Some(known) => known.split(',').any(|known| matches!(known.trim().trim_start_matches("W/"), known if known == "*" || known == etag)),
        None => text(headers, header::IF_MODIFIED_SINCE).is_some_and(|since| !is_newer(modified, since)),
    }
}

/// What part is asked for. Several ranges at once, and what is no range, get the whole, as the standard allows.
fn part(
    method: &Method,
    headers: &HeaderMap,
    etag: &str,
    modified: SystemTime,
    size: u64,
) -> FindRequest {
    if method != Method::GET {
        return FindRequest::Whole;
    }
    let Some(Ok(ranges)) = text(headers, header::RANGE).map(parse_range_header) else {
        return FindRequest::Whole;
    };
    if let Some(condition) = text(headers, header::IF_RANGE) {
        let same = condition == etag || condition == httpdate::fmt_http_date(modified);
        if !same {
            return FindRequest::Whole;
        }
    }
    match ranges.validate(size) {
        Ok(mut ranges) if ranges.len() == 1 => {
            ranges.pop().map_or(FindRequest::Whole, FindRequest::Range)
        }
        Ok(_) => FindRequest::Whole,
        Err(RangeUnsatisfiableError::Unsatisfiable) => FindRequest::Unsatisfiable,
        Err(_) => FindRequest::Whole,
    }
}

/// The bytes of a range, read as the peer takes them.
fn bytes_of(file: LogFile, range: std::ops::Range<u64>, visit: AccessLogEntry) -> Body {
    let file = Arc::new(file);
    let frames = stream::try_unfold((range, visit), move |(mut range, mut visit)| {
        let file = Arc::clone(&file);
        async move {
            if range.is_empty() {
                visit.end("complete");
                return Ok(None);
            }
            let len = READ_BYTES.min(range.end - range.start) as usize;
            let start = Offset(range.start);
            let read = spawn_blocking(move || file.read_at(start, len)).await;
            let bytes = read.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))?;
            if bytes.is_empty() {
                // The length was promised: an early end must look like one.
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the log was truncated meanwhile",
                ));
            }
            range.start += bytes.len() as u64;
            visit.bytes += bytes.len() as u64;
            Ok(Some((BodyFrame::data(Bytes::from(bytes)), (range, visit))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
