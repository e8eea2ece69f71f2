//! The files that the pages are made of. All are in the binary; none asks another host for anything.
//!
//! Scripts and styles have an address that changes with any of them, so that a browser keeps them for good and asks for
//! them once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use hyper::Response;
use hyper::header::{self, HeaderValue};

use crate::serve::body::{Body, full};

/// The list of logs.
pub(super) static LIST: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("page/list.html")));
/// One log.
pub(super) static VIEW: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("page/view.html")));
/// Logs side by side.
pub(super) static BESIDE: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("page/beside.html")));
/// Logs in one.
pub(super) static MERGED: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("page/merged.html")));
/// A refusal.
pub(super) static ERROR: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("page/error.html")));

/// Stands for all assets as they are.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ASSETS.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
});

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        /// Name, content type, content.
        const ASSETS: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!(concat!("page/", $name)))),*];
    };
}

assets! {
    "address.js": "text/javascript; charset=utf-8",
    "beside.js": "text/javascript; charset=utf-8",
    "members.js": "text/javascript; charset=utf-8",
    "clipboard.js": "text/javascript; charset=utf-8",
    "columns.js": "text/javascript; charset=utf-8",
    "connection.js": "text/javascript; charset=utf-8",
    "controls.js": "text/javascript; charset=utf-8",
    "copy.js": "text/javascript; charset=utf-8",
    "divider.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
    "finder.js": "text/javascript; charset=utf-8",
    "folds.js": "text/javascript; charset=utf-8",
    "follow.js": "text/javascript; charset=utf-8",
    "frames.js": "text/javascript; charset=utf-8",
    "history.js": "text/javascript; charset=utf-8",
    "icon.js": "text/javascript; charset=utf-8",
    "json.js": "text/javascript; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "levels.js": "text/javascript; charset=utf-8",
    "levelscan.js": "text/javascript; charset=utf-8",
    "lines.js": "text/javascript; charset=utf-8",
    "link.js": "text/javascript; charset=utf-8",
    "list.css": "text/css; charset=utf-8",
    "list.js": "text/javascript; charset=utf-8",
    "listing.js": "text/javascript; charset=utf-8",
    "listrow.js": "text/javascript; charset=utf-8",
    "liststate.js": "text/javascript; charset=utf-8",
    "medley.js": "text/javascript; charset=utf-8",
    "menu.js": "text/javascript; charset=utf-8",
    "merged.js": "text/javascript; charset=utf-8",
    "mergedreader.js": "text/javascript; charset=utf-8",
    "mergedstate.js": "text/javascript; charset=utf-8",
    "options.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "paint.js": "text/javascript; charset=utf-8",
    "pattern.js": "text/javascript; charset=utf-8",
    "reader.js": "text/javascript; charset=utf-8",
    "row.js": "text/javascript; charset=utf-8",
    "scan.js": "text/javascript; charset=utf-8",
    "several.css": "text/css; charset=utf-8",
    "several.js": "text/javascript; charset=utf-8",
    "shelf.js": "text/javascript; charset=utf-8",
    "sift.js": "text/javascript; charset=utf-8",
    "source.js": "text/javascript; charset=utf-8",
    "spans.js": "text/javascript; charset=utf-8",
    "stars.js": "text/javascript; charset=utf-8",
    "state.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "tab.js": "text/javascript; charset=utf-8",
    "tail.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "times.js": "text/javascript; charset=utf-8",
    "toolbar.js": "text/javascript; charset=utf-8",
    "transport.js": "text/javascript; charset=utf-8",
    "troubles.js": "text/javascript; charset=utf-8",
    "units.js": "text/javascript; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "window.js": "text/javascript; charset=utf-8",
    "whereabouts.js": "text/javascript; charset=utf-8",
    "wire.js": "text/javascript; charset=utf-8",
}

/// A page, with the assets' addresses in place of their names.
fn addressed(page: &str) -> String {
    ASSETS.iter().fold(page.to_owned(), |page, (name, ..)| {
        page.replace(&format!("\"/_/{name}\""), &format!("\"/_/page/{}/{name}\"", *VERSION))
    })
}

/// The asset of a name, or of an address, which a browser may keep as long as it likes.
pub(super) fn asset(target: &str) -> Option<Response<Body>> {
    let (version, name) = match target.strip_prefix("page/") {
        Some(address) => address.split_once('/')?,
        None => ("", target),
    };
    let (_, kind, content) = ASSETS.iter().find(|(asset, ..)| *asset == name)?;
    let mut response = Response::new(full(*content));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if version == *VERSION {
        let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, for_good);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_of_the_folder_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/page");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".html") && !name.ends_with(".json"))
            .collect();
        on_disk.sort();
        let mut served: Vec<String> = ASSETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        served.sort();
        assert_eq!(served, on_disk);
    }
}
