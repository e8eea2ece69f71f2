//! Prepares the pages' scripts and styles: links the modules of each page to one script, leaves out
//! comments, compresses each file, and names their common version.
//!
//! It reads `src/serve/web` only. A new module needs no entry here or anywhere else: it is in a
//! page's script because the page's `main.js` imports it, directly or through others.

// Cargo reads what a build script prints, and the files here are those of the package, not logs.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const WEB: &str = "src/serve/web";
/// The templates are compiled into the program by `askama`; they are no assets.
const TEMPLATES: &str = "templates";
/// It runs before the first frame of every page, by itself.
const CLASSIC_SCRIPT: &str = "ui/theme.js";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={WEB}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let sources =
        sources(&Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join(WEB));
    let assets = assets(&sources);

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
}

/// All scripts, styles and pictures: their paths below the folder, with `/` between the parts, and their content.
fn sources(root: &Path) -> BTreeMap<String, Vec<u8>> {
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

/// What is embedded, by name: the pages' scripts, and everything that is no module.
fn assets(sources: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let text = |name: &str| {
        let content = sources.get(name).unwrap_or_else(|| panic!("{WEB}/{name} does not exist"));
        String::from_utf8(content.clone()).expect("scripts and styles are UTF-8")
    };
    let mut assets = BTreeMap::new();
    let mut used = BTreeSet::new();
    for entry in sources.keys().filter(|name| name.ends_with("/main.js")) {
        let mut modules = Vec::new();
        find_modules(entry, &text, &mut modules);
        let linked: String =
            modules.iter().map(|name| linked(name, &text(name), &modules)).collect();
        assets.insert(entry.clone(), linked.into_bytes());
        used.extend(modules);
    }
    for (name, content) in sources.iter().filter(|(name, _)| !used.contains(*name)) {
        let is_text = name.ends_with(".css") || name == CLASSIC_SCRIPT;
        let is_lost = name.ends_with(".js") && !is_text;
        assert!(!is_lost, "no page imports {WEB}/{name}");
        let content = if is_text { compact(&text(name)).into_bytes() } else { content.clone() };
        assets.insert(name.clone(), content);
    }
    assets
}

/// Adds a module and all that it imports, each once, and each behind those that it imports.
fn find_modules(name: &str, text: &impl Fn(&str) -> String, found: &mut Vec<String>) {
    if found.iter().any(|found| found == name) {
        return;
    }
    for (_, imported) in imports(name, &text(name)) {
        find_modules(&imported, text, found);
    }
    found.push(name.to_owned());
}

/// A module as a function that is called at once and returns its exports. It stands behind the
/// modules that it imports, so all of them have run before it, as with imports of the language. The
/// modules import no other in a circle, and await nothing outside of functions.
fn linked(name: &str, text: &str, modules: &[String]) -> String {
    let mut code = String::new();
    for (names, imported) in imports(name, text) {
        code += &format!("const {{{names}}} = {};\n", variable(&imported, modules));
    }
    let mut exports = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("import ")) {
        let declaration = line.strip_prefix("export ");
        exports.extend(declaration.map(|declaration| declared(name, declaration)));
        code += declaration.unwrap_or(line);
        code.push('\n');
    }
    let (variable, code, exports) = (variable(name, modules), compact(&code), exports.join(", "));
    format!("const {variable} = (() => {{\n{code}return {{ {exports} }};\n}})();\n")
}

/// The variable with the exports of a module: no name of a module looks like it.
fn variable(name: &str, modules: &[String]) -> String {
    let at = modules.iter().position(|module| module == name).expect("it stands before this one");
    format!("m_{at}")
}

/// The name that an exported declaration gives.
fn declared(module: &str, declaration: &str) -> String {
    let rest = ["async function* ", "async function ", "function ", "class ", "const "]
        .iter()
        .find_map(|kind| declaration.strip_prefix(kind))
        .unwrap_or_else(|| panic!("{WEB}/{module}: no function, class or constant: {declaration}"));
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$';
    rest.chars().take_while(|letter| is_part(*letter)).collect()
}

/// A script or style without its comment lines, empty lines, indentation and types. Another comment
/// beside code stays. A text over several lines may lose its indentation; a test of the pages looks that none of
/// its lines begins as a comment does.
fn compact(text: &str) -> String {
    let mut kept = String::new();
    let mut is_comment = false;
    for line in text.lines().map(str::trim) {
        if is_comment || line.starts_with("/*") {
            let end = line.find("*/").map(|at| at + 2);
            is_comment = end.is_none();
            if end.is_none_or(|end| end == line.len()) {
                continue;
            }
        } else if line.is_empty() || line.starts_with("//") {
            continue;
        }
        kept += &without_types(line);
        kept.push('\n');
    }
    assert!(!is_comment, "a comment is not closed: {text}");
    kept
}

/// A line of code without the types in it: `/** @type {…} */ (value)`.
fn without_types(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some((before, comment)) = rest.split_once("/** @") {
        let Some((_, behind)) = comment.split_once("*/") else { break };
        kept += before;
        rest = behind.trim_start();
    }
    kept + rest
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("writing to a vector does not fail");
    encoder.finish().expect("writing to a vector does not fail")
}

/// What a module imports: the names, and the module that exports them. Each import is one line:
/// `import { … } from './path.js';`.
fn imports(name: &str, text: &str) -> Vec<(String, String)> {
    let import = |line: &str| {
        let (names, path) = line.strip_prefix("import {")?.split_once("} from '")?;
        Some((names.to_owned(), resolve(name, path.strip_suffix("';")?)))
    };
    let lines = text.lines().filter(|line| line.starts_with("import "));
    lines
        .map(|line| {
            import(line).unwrap_or_else(|| panic!("{WEB}/{name}: an import like no other: {line}"))
        })
        .collect()
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
