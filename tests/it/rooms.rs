//! The rooms of the source: imports point down, and what is said of absences is so.

use std::path::{Path, PathBuf};

/// From the ground up; each may name those before it.
const ROOMS: [&str; 9] =
    ["log", "render", "wire", "session", "search", "serve", "client", "bench", "cli"];

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("tests") {
            // What a room keeps for itself.
        } else if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

fn of(room: &str) -> Vec<(PathBuf, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room))
}

/// The code lines of a source: without comments, and without its own tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let tests = ["#[cfg(test)]\nmod tests {", "#[cfg(test)]\npub(super) mod tests {"];
    let code = tests.iter().fold(text, |code, tests| code.split(tests).next().unwrap_or(code));
    code.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

#[test]
fn imports_point_down() {
    let mut upward = Vec::new();
    for (level, room) in ROOMS.iter().enumerate() {
        // What turns bytes into rows needs no log.
        let forbidden = ROOMS[level + 1..].iter().chain((*room == "render").then_some(&"log"));
        let forbidden: Vec<String> = forbidden.map(|above| format!("crate::{above}")).collect();
        let found = of(room);
        assert!(!found.is_empty(), "no sources in {room}");
        for (path, text) in found {
            for line in code(&text) {
                if forbidden.iter().any(|above| mentions(line, above)) {
                    upward.push(format!("{}: {line}", path.display()));
                }
            }
        }
    }
    assert!(upward.is_empty(), "imports that point up:\n{}", upward.join("\n"));
}

/// Whether the line has the path of a room, and not just of one whose name is longer.
fn mentions(line: &str, room: &str) -> bool {
    line.match_indices(room).any(|(at, _)| {
        !line[at + room.len()..].starts_with(|after: char| after.is_alphanumeric() || after == '_')
    })
}

#[test]
fn what_is_absent_is_absent() {
    for (word, allowed, whole) in [
        ("notify::", &["log/watch.rs"][..], ROOMS.as_slice()),
        ("println!", &[], &ROOMS[..8]),
        ("eprintln!", &[], &ROOMS[..8]),
        ("hyper", &[], &ROOMS[..5]),
        (
            "Serialize",
            &[
                "wire/message.rs",
                "wire/rows.rs",
                "wire/answer.rs",
                "serve/health.rs",
                "serve/json.rs",
                "serve/listing.rs",
            ],
            ROOMS.as_slice(),
        ),
        ("Deserialize", &["wire/message.rs", "wire/rows.rs"], ROOMS.as_slice()),
        ("crate::serve", &[], &ROOMS[6..7]),
        ("File::open", &[], ROOMS.as_slice()),
        // Somebody may set that clock: it says when files were made and lines came, and no timer hangs on it.
        (
            "SystemTime::now",
            &["log/rotated.rs", "log/timeline.rs", "serve/listing.rs", "bench/load/stamp.rs"],
            ROOMS.as_slice(),
        ),
    ] {
        for room in whole {
            for (path, text) in of(room) {
                if allowed.iter().any(|allowed| path.ends_with(allowed)) {
                    continue;
                }
                let found: Vec<&str> = code(&text).filter(|line| names(line, word)).collect();
                assert!(found.is_empty(), "`{word}` in {}: {found:#?}", path.display());
            }
        }
    }
}

/// Whether the line names the word, and not just a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at]
            .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn the_main_file_is_short() {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let lines = std::fs::read_to_string(main).unwrap().lines().count();
    assert!(lines < 60, "{lines} lines");
}
