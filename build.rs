//! Prepares the pages' scripts and styles: compresses each, finds which modules each one imports, and
//! names their common version.
//!
//! It reads `src/serve/web` only. A new module needs no entry here or anywhere else: it is embedded
//! because it is in the folder, and preloaded because a page's entry module reaches it.

// Cargo reads what a build script prints, and the files here are those of the package, not logs.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const WEB: &str = "src/serve/web";
/// The templates are compiled into the program by `askama`; they are no assets.
const TEMPLATES: &str = "templates";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={WEB}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let assets =
        assets(&Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join(WEB));

    let folder = out.join("web");
    // A module that was renamed must not stay under its old name.
    let _absent_at_first = fs::remove_dir_all(&folder);
    for (name, content) in &assets {
        let path = folder.join(format!("{name}.gz"));
        fs::create_dir_all(path.parent().expect("it is in the folder"))
            .expect("OUT_DIR is writable");
        fs::write(path, gzip(content)).expect("OUT_DIR is writable");
    }

    let mut hasher = DefaultHasher::new();
    assets.hash(&mut hasher);
    println!("cargo::rustc-env=TAILCAST_WEB_VERSION={:016x}", hasher.finish());

    let mut table = String::from("&[\n");
    for (name, content) in assets.iter().filter(|(name, _)| name.ends_with(".js")) {
        let text = std::str::from_utf8(content).expect("modules are UTF-8");
        let imports: Vec<String> = imports(name, text).collect();
        for import in &imports {
            assert!(
                assets.contains_key(import),
                "{WEB}/{name} imports `{import}`, which does not exist"
            );
        }
        writeln!(table, "    ({name:?}, &{imports:?}),")
            .expect("writing to a string does not fail");
    }
    table.push(']');
    fs::write(out.join("web_imports.rs"), table).expect("OUT_DIR is writable");
}

/// All scripts, styles and pictures: their paths below the folder, with `/` between the parts, and their content.
fn assets(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of the pages is in the package") {
            let path = entry.expect("its entries can be listed").path();
            let name = path.strip_prefix(root).expect("it is below the folder");
            if name == Path::new(TEMPLATES) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let parts: Vec<&str> =
                name.iter().map(|part| part.to_str().expect("names are UTF-8")).collect();
            found.insert(parts.join("/"), fs::read(&path).expect("its files can be read"));
        }
    }
    found
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("writing to a vector does not fail");
    encoder.finish().expect("writing to a vector does not fail")
}

/// The modules that a module imports. Each import is one line: `import { … } from './path.js';`.
fn imports<'a>(name: &'a str, text: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines()
        .filter(|line| line.starts_with("import "))
        .filter_map(|line| line.rsplit_once(" from '")?.1.strip_suffix("';"))
        .map(move |path| resolve(name, path))
}

/// The path below the folder of what `path` means in the module `name`.
fn resolve(name: &str, path: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop().expect("a module imports nothing from outside the folder");
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
