//! Downloads of a log as it is now: the whole file, or a range of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use http_range_header::{RangeUnsatisfiableError, parse_range_header};
use hyper::body::Frame as BodyFrame;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::task::spawn_blocking;

use crate::encoding::Encoding;
use crate::log::file::{LogFile, Status};
use crate::log::{Generation, LogPath, Offset, Refusal, blocking};
use crate::serve::access_log::AccessLogEntry;
use crate::serve::body::{Body, empty, full, text_plain};
use crate::serve::conditional::Validators;
use crate::serve::dispatch::LogRequest;
use crate::serve::refusal::Refused;
use crate::serve::withdrawal::{Reads, Withdrawal};

/// The unit in which a file is read and sent.
const READ_BYTES: u64 = 256 * 1024;

/// The part of a file that is requested.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Range(Range<u64>),
    /// The range lies beyond the end.
    Unsatisfiable,
}

/// The answer to a GET or HEAD of a log's bytes. A GET whose answer has a body counts as a viewer
/// until the body has been sent.
///
/// # Errors
/// What opening the log refuses, and 503 when the server is full.
pub(in crate::serve) async fn answer(
    request: &LogRequest<'_>,
    log: &LogPath,
) -> Result<Response<Body>, Refused> {
    let (method, headers) = (&request.parts.method, &request.parts.headers);
    let mirrored = mirrored_file(request, log).await?;
    // Another file that the log has under the same name and inode there has another nonce.
    let nonce = mirrored.as_ref().map(|(_, generation)| format!("-{:x}", generation.nonce));
    let (file, status, charset) = {
        let mirrored = mirrored.map(|(file, _)| file);
        let (access, log) = (Arc::clone(request.visitor.access()), log.clone());
        let chosen = request.query.interpretation.encoding;
        let device = mirrored.as_ref().map(|file| file.device());
        let open = move || {
            let file = match mirrored {
                Some(file) => file,
                None => Arc::new(LogFile::new(access.open(&log)?)),
            };
            let status = file.status().map_err(|_| Refusal::Unreadable)?;
            let sampled = || {
                let sample = file.read_at(Offset(0), Encoding::SAMPLE_BYTES);
                Encoding::of_sample(&sample.unwrap_or_default())
            };
            let charset = chosen.or_else(sampled);
            Ok((file, status, charset))
        };
        // A machine that hangs must not take the threads of all others.
        let opened = match device {
            Some(device) => blocking::run(device, open).await,
            None => spawn_blocking(open).await.ok(),
        };
        opened.unwrap_or(Err(Refusal::Unreadable))?
    };
    let Status { size, modified } = status;
    let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut tag = format!("{:x}-{size:x}-{:x}", file.identity().inode, since_epoch.as_nanos());
    tag.extend(nonce);
    // Of a file of another machine it may not be known.
    let validators = Validators::new(&tag, Some(modified).filter(|time| *time > UNIX_EPOCH));
    let mut response = Response::new(empty());
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, text_plain(charset));
    answered.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    validators.insert(answered);
    if validators.is_known(headers) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    let part = if method == Method::GET && validators.permit_range(headers) {
        part(headers, size)
    } else {
        Part::Whole
    };
    let range = match part {
        Part::Unsatisfiable => {
            insert(answered, header::CONTENT_RANGE, &format!("bytes */{size}"));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            *response.body_mut() = full(format!("the log has {size} bytes\n"));
            return Ok(response);
        }
        Part::Range(range) => {
            let last = range.end - 1;
            insert(
                answered,
                header::CONTENT_RANGE,
                &format!("bytes {}-{last}/{size}", range.start),
            );
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            range
        }
        Part::Whole => 0..size,
    };
    insert(response.headers_mut(), header::CONTENT_LENGTH, &(range.end - range.start).to_string());
    if method != Method::HEAD {
        let right = request.app.watch_right(request.visitor, log, Reads::Log);
        *response.body_mut() = bytes_of(right, file, range, request.admit(log, "download")?);
    }
    Ok(response)
}

/// The present file of a log of another machine, and its generation. None for a log of this one.
async fn mirrored_file(
    request: &LogRequest<'_>,
    log: &LogPath,
) -> Result<Option<(Arc<LogFile>, Generation)>, Refusal> {
    if !request.visitor.access().is_mirrored(log) {
        return Ok(None);
    }
    let subscription = request.app.hub.registry().join(log, false).await?;
    let present = subscription.follower.timeline().present().cloned();
    let present = present.and_then(|span| Some((span.file()?, span.generation)));
    present.ok_or(Refusal::NotFound).map(Some)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All values here are valid, since they are ASCII text.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The part that `Range` requests. Several ranges, or an invalid one, result in the whole file, as
/// RFC 9110, section 14.2 allows.
fn part(headers: &HeaderMap, size: u64) -> Part {
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(Ok(ranges)) = range.map(parse_range_header) else { return Part::Whole };
    match ranges.validate(size).as_deref() {
        Ok([range]) => Part::Range(*range.start()..*range.end() + 1),
        Err(RangeUnsatisfiableError::Unsatisfiable) => Part::Unsatisfiable,
        Ok(_) | Err(_) => Part::Whole,
    }
}

/// The bytes there, if somebody has all of them.
fn read_all(file: &LogFile, start: Offset, len: usize) -> io::Result<Vec<u8>> {
    if file.missing(start, len)?.is_some() {
        let words = "nobody has these bytes of the log any more";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, words));
    }
    file.read_at(start, len)
}

/// The bytes of a range, read as the peer takes them.
fn bytes_of(
    right: Withdrawal,
    file: Arc<LogFile>,
    range: Range<u64>,
    entry: AccessLogEntry,
) -> Body {
    let device = file.device();
    let frames = stream::try_unfold((range, entry), move |(mut range, mut entry)| {
        let file = Arc::clone(&file);
        let loss = right.loss();
        async move {
            if let Some(loss) = loss {
                entry.end(loss.name());
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            if range.is_empty() {
                entry.end("complete");
                return Ok(None);
            }
            let len = READ_BYTES.min(range.end - range.start) as usize;
            let start = Offset(range.start);
            let reading = move || read_all(&file, start, len);
            let read = blocking::run(device, reading).await;
            let bytes = read.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?;
            if bytes.is_empty() {
                // The answer has stated its length, so an early end must be an error.
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the log was truncated meanwhile",
                ));
            }
            range.start += bytes.len() as u64;
            entry.sent(bytes.len());
            // hyper asks for no more after the length that the answer states.
            if range.is_empty() {
                entry.reason = "complete";
            }
            Ok(Some((BodyFrame::data(Bytes::from(bytes)), (range, entry))))
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
