//! Checks the cases in docs/proof.md: each named test exists, and runs in the stated modes. And those in
//! docs/fleet.md.

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) = entries.partition(|path| path.is_dir());
    let rust = files.iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs"));
    let texts = rust.map(|path| std::fs::read_to_string(path).unwrap());
    texts.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

#[test]
fn the_cases_in_the_docs_are_tests_in_the_stated_modes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<String> =
        ["tests/it", "src"].iter().flat_map(|folder| sources(&root.join(folder))).collect();
    let lists = sources.iter().flat_map(|text| text.split("\nin_both_modes! {\n").skip(1));
    let lists = lists.filter_map(|rest| rest.split_once('}')).map(|(list, _)| list);
    let in_both_modes: Vec<&str> = lists
        .flat_map(|list| list.split(',').map(str::trim))
        .filter(|name| !name.is_empty())
        .collect();
    let docs = std::fs::read_to_string(root.join("docs/proof.md")).unwrap();
    let (_, rest) = docs.split_once("<!-- the cases begin -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- the cases end -->").unwrap();
    let mut told = Vec::new();
    for row in table.lines().skip(2) {
        let [_, _, run, tests, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        assert!(matches!(run, "both" | "events"), "{row}");
        for name in tests.split(", ").map(|name| name.trim_matches('`')) {
            let is_a_test = sources.iter().any(|text| text.contains(&format!("fn {name}(")));
            assert!(is_a_test, "no test is called {name}");
            assert_eq!(in_both_modes.contains(&name), run == "both", "how {name} is run");
            told.push(name);
        }
    }
    let untold: Vec<_> = in_both_modes.iter().filter(|name| !told.contains(name)).collect();
    assert!(untold.is_empty(), "not in the table: {untold:?}");
}

/// The text of the module of a test, of which the name says `module::…::test`.
fn module_of(root: &Path, modules: &[&str]) -> Option<String> {
    let path = root.join("tests/it").join(modules.join("/")).with_extension("rs");
    std::fs::read_to_string(path).ok()
}

/// Whether a file has a test of this name that is run.
fn has_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let attributes = before.rsplit("\n\n").next().unwrap_or_default();
    (attributes.contains("#[test]") || attributes.contains("#[tokio::test"))
        && !attributes.contains("#[ignore")
}

#[test]
fn what_the_docs_say_of_a_fleet_in_trouble_is_tested() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/fleet.md")).unwrap();
    let (_, rest) = docs.split_once("\n## When something is down\n").unwrap();
    let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    let mut rows_seen = 0;
    for row in rows {
        let [_, what, _, _, test, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let path: Vec<&str> = test.trim_matches('`').split("::").collect();
        let Some((name, modules)) = path.split_last() else { panic!("{what}: no test") };
        let text =
            module_of(root, modules).unwrap_or_else(|| panic!("{what}: no module {modules:?}"));
        assert!(has_test(&text, name), "{what}: no test is called {test}");
        rows_seen += 1;
    }
    assert!(rows_seen >= 15, "{rows_seen} rows");
}
