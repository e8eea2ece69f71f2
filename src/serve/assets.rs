//! The files that the pages are made of. All are in the binary; none asks another host for anything.
//!
//! Scripts and styles have an address that changes with any of them, so that a browser keeps them for good and asks for
//! them once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use hyper::Response;
use hyper::header::{self, HeaderValue};

use crate::serve::routes::{Body, full};

/// The list of logs.
pub(super) static LIST: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("web/templates/list.html")));
/// One log.
pub(super) static VIEW: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("web/templates/viewer.html")));
/// Logs side by side.
pub(super) static BESIDE: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("web/templates/split.html")));
/// Logs in one.
pub(super) static MERGED: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("web/templates/merged.html")));
/// A refusal.
pub(super) static ERROR: LazyLock<String> =
    LazyLock::new(|| addressed(include_str!("web/templates/error.html")));

/// Stands for all assets as they are.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ASSETS.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
});

macro_rules! assets {
    ($($name:literal: $kind:literal),* $(,)?) => {
        /// Name, content type, content.
        const ASSETS: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!(concat!("web/", $name)))),*];
    };
}

assets! {
    "favicon.svg": "image/svg+xml",
    "list/favourites.js": "text/javascript; charset=utf-8",
    "list/list-hash.js": "text/javascript; charset=utf-8",
    "list/listing.js": "text/javascript; charset=utf-8",
    "list/log-row.js": "text/javascript; charset=utf-8",
    "list/main.js": "text/javascript; charset=utf-8",
    "list/virtual-table.js": "text/javascript; charset=utf-8",
    "merged/loader.js": "text/javascript; charset=utf-8",
    "merged/main.js": "text/javascript; charset=utf-8",
    "merged/merge-buffer.js": "text/javascript; charset=utf-8",
    "merged/source-switches.js": "text/javascript; charset=utf-8",
    "merged/source.js": "text/javascript; charset=utf-8",
    "merged/status.js": "text/javascript; charset=utf-8",
    "net/api.js": "text/javascript; charset=utf-8",
    "net/connection.js": "text/javascript; charset=utf-8",
    "net/resume.js": "text/javascript; charset=utf-8",
    "net/transport.js": "text/javascript; charset=utf-8",
    "net/wire.js": "text/javascript; charset=utf-8",
    "rows/columns.js": "text/javascript; charset=utf-8",
    "rows/folds.js": "text/javascript; charset=utf-8",
    "rows/follow.js": "text/javascript; charset=utf-8",
    "rows/generations.js": "text/javascript; charset=utf-8",
    "rows/json.js": "text/javascript; charset=utf-8",
    "rows/levels.js": "text/javascript; charset=utf-8",
    "rows/row-viewport.js": "text/javascript; charset=utf-8",
    "rows/row.js": "text/javascript; charset=utf-8",
    "rows/tail.js": "text/javascript; charset=utf-8",
    "rows/times.js": "text/javascript; charset=utf-8",
    "search/file-search.js": "text/javascript; charset=utf-8",
    "search/find-bar.js": "text/javascript; charset=utf-8",
    "search/highlight.js": "text/javascript; charset=utf-8",
    "search/level-search.js": "text/javascript; charset=utf-8",
    "search/local-search.js": "text/javascript; charset=utf-8",
    "search/pattern.js": "text/javascript; charset=utf-8",
    "search/problem-nav.js": "text/javascript; charset=utf-8",
    "split/divider.js": "text/javascript; charset=utf-8",
    "split/main.js": "text/javascript; charset=utf-8",
    "styles/base.css": "text/css; charset=utf-8",
    "styles/list.css": "text/css; charset=utf-8",
    "styles/multi-log.css": "text/css; charset=utf-8",
    "ui/dom.js": "text/javascript; charset=utf-8",
    "ui/draw-scheduler.js": "text/javascript; charset=utf-8",
    "ui/icon.js": "text/javascript; charset=utf-8",
    "ui/keys.js": "text/javascript; charset=utf-8",
    "ui/options.js": "text/javascript; charset=utf-8",
    "ui/status.js": "text/javascript; charset=utf-8",
    "ui/theme.js": "text/javascript; charset=utf-8",
    "ui/units.js": "text/javascript; charset=utf-8",
    "ui/view-menu.js": "text/javascript; charset=utf-8",
    "url/multi-log.js": "text/javascript; charset=utf-8",
    "url/view-hash.js": "text/javascript; charset=utf-8",
    "viewer/bars.js": "text/javascript; charset=utf-8",
    "viewer/clipboard.js": "text/javascript; charset=utf-8",
    "viewer/controls.js": "text/javascript; charset=utf-8",
    "viewer/copy.js": "text/javascript; charset=utf-8",
    "viewer/line-selection.js": "text/javascript; charset=utf-8",
    "viewer/loader.js": "text/javascript; charset=utf-8",
    "viewer/main.js": "text/javascript; charset=utf-8",
    "viewer/minimap.js": "text/javascript; charset=utf-8",
    "viewer/stream.js": "text/javascript; charset=utf-8",
    "viewer/tab.js": "text/javascript; charset=utf-8",
    "viewer/url-sync.js": "text/javascript; charset=utf-8",
}

/// A page, with the assets' addresses in place of their names.
fn addressed(page: &str) -> String {
    ASSETS.iter().fold(page.to_owned(), |page, (name, ..)| {
        page.replace(&format!("\"/_/{name}\""), &format!("\"/_/page/{}/{name}\"", *VERSION))
    })
}

/// The asset at `page/VERSION/NAME`. A browser may keep one of this version as long as it likes.
pub(super) fn asset(target: &str) -> Option<Response<Body>> {
    let (version, name) = target.strip_prefix("page/")?.split_once('/')?;
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
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/serve/web");
        let mut on_disk = Vec::new();
        let mut folders = vec![folder.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension() != Some("html".as_ref()) {
                    let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
                    on_disk.push(name.to_owned());
                }
            }
        }
        on_disk.sort();
        let mut served: Vec<String> = ASSETS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        served.sort();
        assert_eq!(served, on_disk);
    }
}
