//! The pages, rendered from their templates. A template escapes every text.

use askama::Template;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

use crate::log::LogPath;
use crate::render::Decode;
use crate::serve::body::{Body, full};
use crate::serve::identity::Visitor;
use crate::serve::security::Framing;
use crate::serve::{BasePath, assets};
use crate::time::Zone;

/// What the templates need to know about their scripts and styles.
pub(super) trait Assets {
    /// The path under which everything of the server lies.
    fn base(&self) -> &BasePath;

    /// The address of the list of logs.
    fn home(&self) -> String {
        format!("{}/", self.base())
    }

    /// The address of an asset.
    fn asset(&self, name: &str) -> String {
        assets::url(self.base(), name)
    }
}

#[derive(Template)]
#[template(path = "viewer.html")]
struct ViewerPage<'a> {
    base: &'a BasePath,
    visitor: &'a Visitor,
    path: String,
    /// By which people know the log, or empty.
    name: String,
    /// The HTML of the last rows, or empty.
    rows: String,
    /// The time zone of stamps that say none.
    zone: String,
    is_pane: bool,
    /// Unless an address says otherwise, the lines of a container's runtime are shown as they are.
    is_undecoded: bool,
}

#[derive(Template)]
#[template(path = "split.html")]
struct SplitPage<'a> {
    base: &'a BasePath,
}

#[derive(Template)]
#[template(path = "merged.html")]
struct MergedPage<'a> {
    base: &'a BasePath,
    visitor: &'a Visitor,
    zone: String,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    base: &'a BasePath,
    title: &'a str,
    message: &'a str,
    hint: &'a str,
}

impl Assets for ViewerPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

impl Assets for SplitPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

impl Assets for MergedPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

impl Assets for ErrorPage<'_> {
    fn base(&self) -> &BasePath {
        self.base
    }
}

/// The HTML of a page.
pub(super) fn render(page: &impl Template) -> String {
    // Rendering fails only if the `Display` of a value fails. Texts and numbers never fail.
    page.render().unwrap_or_default()
}

/// A page as an answer.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Response<Body> {
    let mut response = Response::new(full(render(page)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// What the page of a log shows.
pub(super) struct View<'a> {
    pub(super) log: &'a LogPath,
    /// By which people know the log.
    pub(super) name: Option<String>,
    /// The HTML of its last rows, or empty. The renderer has escaped the texts in it.
    pub(super) rows: String,
    pub(super) framing: Framing,
    /// What the server's settings say of the lines of a container's runtime.
    pub(super) decode: Decode,
    /// The time zone of stamps that say none.
    pub(super) zone: String,
}

/// The viewer page of a log. Its status is that of the log, so that a script can rely on it.
pub(super) fn view(
    base: &BasePath,
    visitor: &Visitor,
    status: StatusCode,
    view: View<'_>,
) -> Response<Body> {
    let View { log, name, rows, framing, decode, zone } = view;
    let (path, name) = (log.display().to_string(), name.unwrap_or_default());
    let (is_pane, is_undecoded) = (framing == Framing::Pane, decode == Decode::Off);
    html(status, &ViewerPage { base, visitor, path, name, rows, zone, is_pane, is_undecoded })
}

/// The page of this name that shows several logs. The page's script takes the logs from the page's
/// address and requests each of them separately, so each is admitted or refused by itself.
pub(super) fn multi_log(
    base: &BasePath,
    visitor: &Visitor,
    zone: &Zone,
    name: &str,
) -> Option<Response<Body>> {
    match name {
        "beside" => Some(html(StatusCode::OK, &SplitPage { base })),
        "merged" => {
            Some(html(StatusCode::OK, &MergedPage { base, visitor, zone: zone.to_string() }))
        }
        _ => None,
    }
}

/// A page that explains an error, and what to do about it.
pub(super) fn error(
    base: &BasePath,
    status: StatusCode,
    title: &str,
    message: &str,
    hint: &str,
) -> Response<Body> {
    // A message that only repeats the title is left out.
    let repeats = title.to_lowercase().ends_with(&message.to_lowercase());
    let (message, hint) = if repeats { (hint, "") } else { (message, hint) };
    html(status, &ErrorPage { base, title, message, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_an_error_page_brings_no_markup_and_no_template_syntax() {
        let base = BasePath::default();
        let page =
            ErrorPage { base: &base, title: "{{ hint }}<script>", message: "m", hint: "<b>\"&'" };
        let text = page.render().unwrap();
        assert!(text.contains("<h1>{{ hint }}&#60;script&#62;</h1>"), "{text}");
        assert!(text.contains("&#60;b&#62;&#34;&#38;&#39;"), "{text}");
        assert!(!text.contains("<b>"), "{text}");
    }
}
