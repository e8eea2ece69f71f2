//! The scripts, styles and pictures of the pages. All are embedded in the program, compressed by
//! its build. None loads anything from another host.
//!
//! An asset's address is `/_/page/VERSION/NAME`. The version changes when any asset changes, so a
//! browser may cache an asset for ever. The script of a page is `PAGE/main.js` with all modules that
//! it imports: `build.rs` links them, so that a page loads one script over a slow line. A worker is a
//! script of its own in the same way.

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use hyper::Response;
use hyper::header::{self, HeaderMap, HeaderValue};
use rust_embed::RustEmbed;

use crate::serve::BasePath;
use crate::serve::body::{Body, full};
use crate::serve::content_coding::accepts_gzip;

/// Changes with any of the assets.
const VERSION: &str = env!("TAILCAST_WEB_VERSION");

/// Each asset under its name and `.gz`.
#[derive(RustEmbed)]
#[folder = "$OUT_DIR/web"]
struct Compressed;

/// The address of an asset, for the templates. The script of a page finds the base in it.
pub(super) fn url(base: &BasePath, name: &str) -> String {
    format!("{base}/_/page/{VERSION}/{name}")
}

/// Whether a target has the form of an asset's name. The asset need not exist.
pub(super) fn is_asset(target: &str) -> bool {
    target.starts_with("page/")
}

/// The asset at `page/VERSION/NAME`. None for any other target. A browser may cache an asset of
/// this version for ever. It is sent compressed if the request accepts gzip.
pub(super) fn asset(target: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let (version, name) = target.strip_prefix("page/")?.split_once('/')?;
    let compressed = Compressed::get(&format!("{name}.gz"))?.data;
    let is_gzip = accepts_gzip(headers);
    let body = if is_gzip { shared(compressed) } else { plain(&compressed) };
    let mut response = Response::new(full(body));
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_gzip {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if version == VERSION {
        let for_good = HeaderValue::from_static("public, max-age=31536000, immutable");
        answer.insert(header::CACHE_CONTROL, for_good);
    }
    Some(response)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

fn shared(data: Cow<'static, [u8]>) -> Bytes {
    match data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }
}

fn plain(compressed: &[u8]) -> Bytes {
    let mut content = Vec::new();
    // `build.rs` has compressed it, and a test decodes each asset.
    let _whole = GzDecoder::new(compressed).read_to_end(&mut content);
    Bytes::from(content)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn get(target: &str, accept: Option<&'static str>) -> Option<(HeaderMap, Vec<u8>)> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
        }
        let (parts, body) = asset(target, &headers)?.into_parts();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let body = runtime.block_on(body.collect()).unwrap().to_bytes();
        Some((parts.headers, body.to_vec()))
    }

    #[test]
    fn every_asset_is_served_compressed_and_plain() {
        let mut names = Vec::new();
        for file in Compressed::iter() {
            let name = file.strip_suffix(".gz").unwrap();
            let target = url(&BasePath::default(), name).strip_prefix("/_/").unwrap().to_owned();
            let (headers, body) =
                get(&target, Some("br, gzip")).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{name}");
            assert_eq!(headers[header::VARY], "Accept-Encoding", "{name}");
            assert_ne!(headers[header::CONTENT_TYPE], "application/octet-stream", "{name}");
            let content = plain(&body);
            assert!(content.len() > 100, "{name}");
            for refusing in [None, Some("gzip;q=0, *"), Some("identity"), Some("*; q=0")] {
                let (headers, body) = get(&target, refusing).unwrap();
                assert!(!headers.contains_key(header::CONTENT_ENCODING), "{name}: {refusing:?}");
                assert_eq!(headers[header::VARY], "Accept-Encoding", "{name}");
                assert_eq!(body, content, "{name}: {refusing:?}");
            }
            names.push(name.to_owned());
        }
        names.sort();
        assert_eq!(
            names,
            [
                "favicon.svg",
                "list/main.js",
                "matcher/main.js",
                "merged/main.js",
                "split/main.js",
                "styles/base.css",
                "styles/list.css",
                "styles/multi-log.css",
                "styles/sign-in.css",
                "ui/theme.js",
                "viewer/main.js",
            ]
        );
    }

    #[test]
    fn a_script_has_the_modules_that_it_imports_before_itself_and_no_import_of_the_language() {
        let script = |name: &str| {
            let compressed = Compressed::get(&format!("{name}.gz")).unwrap().data;
            String::from_utf8(plain(&compressed).to_vec()).unwrap()
        };
        for name in ["viewer", "list", "merged", "split"] {
            let text = script(&format!("{name}/main.js"));
            // The modules are numbered in their order, and the page's own one is the last.
            let mut modules = 0;
            for line in text.lines() {
                if line == format!("const m_{modules} = (() => {{") {
                    modules += 1;
                } else if line.starts_with("const {")
                    && let Some((_, imported)) = line.rsplit_once("} = m_")
                {
                    let imported: usize = imported.trim_end_matches(';').parse().unwrap();
                    assert!(imported + 1 < modules, "{name}: {line}");
                }
            }
            assert!(modules > 5, "{name} has {modules} modules");
            let starts = |start: &str| text.lines().any(|line| line.starts_with(start));
            assert!(!starts("import ") && !starts("export ") && !starts("//"), "{name}");
        }
        assert!(!script("list/main.js").contains("class RowViewport"), "only what it imports");
        assert!(script("viewer/main.js").contains("class RowViewport"));
    }

    #[test]
    fn an_encoding_is_accepted_by_name_or_star_but_not_with_weight_zero() {
        for (accept, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("br;q=1, *;q=0.1", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("*;q=0, gzip", true),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts_gzip(&headers), expected, "{accept}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
