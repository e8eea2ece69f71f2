//! What a browser is shown: the list, the viewer page, and refusals.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode, Uri};
use serde::Serialize;

use crate::log::catalogue::Catalogue;
use crate::log::{LogPath, Registry};
use crate::serve::App;
use crate::serve::assets::{BESIDE, ERROR, LIST, MERGED, VIEW};
use crate::serve::body::{Body, full};
use crate::serve::query::{self, href};
use crate::serve::shared_listing::ListFormat;

/// What pages may do: load our own scripts and styles and talk to this server. Log content brings colours with it as
/// style attributes, and nothing else inline.
macro_rules! page_policy {
    ($framing:literal) => {
        concat!(
            "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; ",
            "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; ",
            $framing
        )
    };
}
/// What everything else may do.
const DATA_POLICY: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// Where a page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a window of its own.
    Window,
    /// In a pane of the page that shows logs side by side. It is said by the URL (`pane=1`), because browsers tell it
    /// (`Sec-Fetch-Dest`) to servers with TLS or on this machine only. It admits no page but our own.
    Pane,
    /// ApiQuery the panes.
    Beside,
}

impl Place {
    pub(super) fn of(target: &Uri) -> Self {
        let path = target.path();
        let is_ours = path == "/" || path.starts_with("/_/");
        if path == "/_/beside" {
            Self::Beside
        } else if !is_ours && query::is_pane(target.query().unwrap_or_default()) {
            Self::Pane
        } else {
            Self::Window
        }
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Window => page_policy!("frame-ancestors 'none'"),
            Self::Pane => page_policy!("frame-ancestors 'self'"),
            Self::Beside => page_policy!("frame-src 'self'; frame-ancestors 'none'"),
        }
    }
}

/// Sets what every answer carries.
pub(super) fn secure(response: &mut Response<Body>, place: Place) {
    let is_page = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let policy = if is_page { place.policy() } else { DATA_POLICY };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
}

fn html(status: StatusCode, page: String) -> Response<Body> {
    let mut response = Response::new(full(page));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// Text as it stands in HTML.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    crate::render::escape(text, &mut html);
    html
}

/// The viewer page of a log. It has the status of the log, so that a script is not misled by it.
pub(super) fn view(status: StatusCode, log: &LogPath, place: Place) -> Response<Body> {
    let page = match place {
        Place::Pane => VIEW.replacen("<html ", "<html class=\"pane\" ", 1),
        Place::Window | Place::Beside => VIEW.clone(),
    };
    html(status, page.replace("<!--title-->", &escaped(&log.display().to_string())))
}

/// The pages that show several logs at once, which the script finds in the page's address. Each is then asked for, and
/// allowed or refused, as if it were alone.
pub(super) fn several(name: &str) -> Option<Response<Body>> {
    let page = match name {
        "beside" => &BESIDE,
        "merged" => &MERGED,
        _ => return None,
    };
    Some(html(StatusCode::OK, page.as_str().to_owned()))
}

/// A page that says what is wrong and what to do about it.
pub(super) fn error(status: StatusCode, title: &str, message: &str, hint: &str) -> Response<Body> {
    // A message that only repeats the title makes room for the hint.
    let repeats = title.to_lowercase().ends_with(&message.to_lowercase());
    let (message, hint) = if repeats { (hint, "") } else { (message, hint) };
    // Each text is put in once, so that none of them can bring a marker in.
    let mut page = String::with_capacity(ERROR.len() + title.len() + message.len() + hint.len());
    let mut rest = ERROR.as_str();
    while let Some((before, (text, after))) = ["<!--title-->", "<!--message-->", "<!--hint-->"]
        .into_iter()
        .zip([title, message, hint])
        .filter_map(|(marker, text)| {
            rest.split_once(marker).map(|(before, after)| (before, (text, after)))
        })
        .min_by_key(|(before, _)| before.len())
    {
        page.push_str(before);
        page.push_str(&escaped(text));
        rest = after;
    }
    page.push_str(rest);
    html(status, page)
}

/// The list of logs for a person.
pub(super) fn list<'a>(
    catalogue: &Catalogue,
    registry: &Registry,
    prefixes: impl Iterator<Item = &'a Path>,
) -> String {
    let now = SystemTime::now();
    let mut rows = String::new();
    for entry in &catalogue.entries {
        let viewers = registry.viewers(&entry.log);
        // Writing to a string does not fail.
        let _written = writeln!(
            rows,
            "<tr data-modified=\"{}\" data-size=\"{}\" data-viewers=\"{viewers}\"><td><a href=\"{}\">{}</a></td>\
             <td class=\"size\">{}</td><td class=\"age\"><time>{}</time></td>\
             <td class=\"viewers\">{}</td></tr>",
            milliseconds(entry.modified),
            entry.size,
            href(&entry.log),
            name(&entry.log),
            size(entry.size),
            age(now.duration_since(entry.modified).unwrap_or_default()),
            if viewers == 0 { String::new() } else { viewers.to_string() },
        );
    }
    let prefixes: Vec<String> = prefixes.map(|path| escaped(&path.to_string_lossy())).collect();
    let (head, rest) = LIST.split_once("<!--rows-->").unwrap_or((&LIST, ""));
    let (middle, tail) = rest.split_once("<!--prefixes-->").unwrap_or((rest, ""));
    [head, &rows, middle, &prefixes.join(", "), tail].concat()
}

/// A log's path with its directory set apart.
fn name(log: &LogPath) -> String {
    let path = escaped(&log.display().to_string());
    // An escaped text has no slash that the text had not.
    let (directory, file) = path.split_at(path.rfind('/').map_or(0, |at| at + 1));
    format!(
        "<span class=\"dir\"><bdi dir=\"ltr\">{directory}</bdi></span><span class=\"file\">{file}</span>"
    )
}

/// The list for a script: a path on each line, escaped where a line would break.
pub(super) fn list_text(catalogue: &Catalogue) -> String {
    let mut lines = String::new();
    for entry in &catalogue.entries {
        let _written = writeln!(lines, "{}", entry.log.display());
    }
    lines
}

/// Says what a list is.
pub(super) fn set_list_type(response: &mut Response<Body>, format: ListFormat) {
    let content_type = match format {
        ListFormat::Html => "text/html; charset=utf-8",
        ListFormat::Text => "text/plain; charset=utf-8",
        ListFormat::Json => "application/json",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
}

/// A tag that changes with the text.
pub(super) fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[derive(Serialize)]
struct Listed {
    path: String,
    href: String,
    size: u64,
    modified: u64,
    viewers: usize,
}

#[derive(Serialize)]
struct Listing {
    logs: Vec<Listed>,
    truncated: bool,
}

/// The list for the list page, as JSON.
pub(super) fn list_json(catalogue: &Catalogue, registry: &Registry) -> String {
    let logs = catalogue.entries.iter().map(|entry| Listed {
        path: entry.log.display().to_string(),
        href: href(&entry.log),
        size: entry.size,
        modified: milliseconds(entry.modified),
        viewers: registry.viewers(&entry.log),
    });
    let listing = Listing { logs: logs.collect(), truncated: catalogue.truncated };
    serde_json::to_string(&listing).unwrap_or_default()
}

/// How the server is, and what it has done so far.
pub(super) fn health(app: &App) -> Response<Body> {
    #[derive(Serialize)]
    struct Counters {
        reads: u64,
        lookups: u64,
        chunks: u64,
        renders: u64,
        frames: u64,
        writes: u64,
    }
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        version: &'static str,
        viewers: usize,
        logs: usize,
        counters: Counters,
    }
    let counts = app.access.metrics();
    json(&Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        viewers: app.viewer_limit.viewers(),
        logs: app.hub.registry().followed(),
        counters: Counters {
            reads: counts.reads.get(),
            lookups: counts.lookups.get(),
            chunks: counts.chunks.get(),
            renders: app.hub.renders(),
            frames: app.sent.frames.get(),
            writes: app.sent.writes.get(),
        },
    })
}

fn json(value: &impl Serialize) -> Response<Body> {
    // These types have no form that JSON lacks.
    json_text(serde_json::to_string(value).unwrap_or_default())
}

/// JSON that is written already.
pub(super) fn json_text(text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if bytes < 1024 || value >= 9.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_for_people() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(12 * 1024 * 1024), "12 MiB");
        assert_eq!(size(u64::MAX), "16 EiB");
        assert_eq!(age(Duration::from_secs(0)), "just now");
        assert_eq!(age(Duration::from_secs(59)), "59 s ago");
        assert_eq!(age(Duration::from_secs(7200)), "2 h ago");
    }

    #[test]
    fn a_text_in_an_error_page_brings_no_markup_and_no_marker() {
        use http_body_util::BodyExt;
        let page = error(StatusCode::FORBIDDEN, "<!--hint--><script>", "m", "<b>");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(page.into_body().collect()).unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains("&lt;!--hint--&gt;&lt;script&gt;"), "{body}");
        assert!(!body.contains("<b>"), "{body}");
    }
}
