//! The rooms of the source: imports point down, and each room names only what is its own.

mod source;

use std::path::Path;
use std::sync::LazyLock;

use source::{Name, Source};

/// The rooms from the ground up. Each may name those before it.
const ROOMS: [&str; 15] = [
    "encoding",
    "time",
    "structure",
    "log",
    "render",
    "wire",
    "session",
    "search",
    "source",
    "mirror",
    "broker",
    "serve",
    "client",
    "bench",
    "cli",
];

/// Names that a room must not use, although they belong to a room below it.
const FORBIDDEN: [(&str, &str, &str); 3] = [
    ("render", "crate::log", "rendering is pure: bytes to rows to HTML"),
    ("client", "crate::serve", "the two sides share the messages alone"),
    ("bench", "crate::serve", "it measures servers of other versions, too"),
];

/// The rooms that know nothing of viewers.
const VIEWERLESS: [&str; 5] = ["encoding", "time", "log", "render", "wire"];

/// Exceptions: a room, the words about viewers that it may use, and the reason.
const VIEWER_WORDS: [(&str, &[&str], &str); 3] = [
    (
        "log",
        &["viewers", "viewers_by_path", "add_viewer", "remove_viewer"],
        "a log without viewers is let go",
    ),
    (
        "log",
        &["are_viewers_behind", "set_viewers_behind", "waits_for_viewers"],
        "no more rotated files are held than viewers that are behind can read",
    ),
    (
        "wire",
        &["viewers", "Viewers"],
        "the list, the health answer and a message say how many there are",
    ),
];

/// An invariant: names that only some rooms may use.
struct Absence {
    /// The invariant.
    says: &'static str,
    /// Paths with everything below them, macros (`std::println!`) and methods (`.exists`).
    names: &'static [&'static str],
    /// The rooms that may use them.
    rooms: &'static [&'static str],
    /// Other files that may use them, each with the reason.
    except: &'static [(&'static str, &'static str)],
}

const ABSENCES: &[Absence] = &[
    Absence {
        says: "only `log::watch` names the crate that watches the file system",
        names: &["notify"],
        rooms: &[],
        except: &[("log/watch.rs", "it is what watches")],
    },
    Absence {
        says: "only `log`, `source` and `mirror` touch the file system",
        names: &[
            "std::fs",
            "std::os::unix::fs",
            "tokio::fs",
            "rustix::fs",
            ".canonicalize",
            ".exists",
            ".is_dir",
            ".is_file",
            ".read_dir",
            ".read_link",
            ".symlink_metadata",
            ".try_exists",
        ],
        rooms: &["log", "source", "mirror"],
        except: &[
            ("bench/process.rs", "it reads what the kernel says of the server that is measured"),
            ("broker/agent/places.rs", "it keeps how far an agent has published its logs"),
            ("bench/run.rs", "it takes the file that `--write` names"),
            ("bench/writer.rs", "it writes the log that the load client follows"),
            ("cli/bench.rs", "it opens the file that `--write` names"),
            ("cli/secret.rs", "it reads a password or a token"),
            ("cli/serve/certificate.rs", "it looks who may read the file of the key"),
            ("cli/serve/config_file.rs", "it reads the configuration, which is no log"),
            ("cli/listen.rs", "it makes and removes the files of unix sockets"),
            ("cli/shell.rs", "it writes the manual pages"),
            ("cli/trust.rs", "it reads the certificates that `--ca` names"),
            ("cli/tail/output.rs", "standard output is written past the buffer of `std::io`"),
            (
                "client/local.rs",
                "a path on the command line becomes the absolute path that `Access` wants",
            ),
            ("serve/identity/ended_file.rs", "it keeps which sessions have ended"),
            ("serve/identity/state.rs", "it keeps the key of the sessions"),
            ("serve/metrics/process.rs", "it reads what the kernel says of this process"),
        ],
    },
    Absence {
        says: "logs are opened through `Access` alone",
        names: &["std::fs::File::open", "std::fs::read", "std::fs::read_to_string"],
        rooms: &[],
        except: &[
            ("bench/process.rs", "what it reads is in `/proc`"),
            ("cli/secret.rs", "it reads a password or a token"),
            ("cli/serve/config_file.rs", "it reads the configuration, which is no log"),
            ("cli/trust.rs", "it reads the certificates that `--ca` names"),
            ("log/mounts.rs", "it reads `/proc/self/mountinfo`"),
            ("serve/identity/state.rs", "it reads the key of the sessions"),
            ("source/journal/spool.rs", "it reads how far the copies are"),
            ("source/run.rs", "it asks the terminal whose processes it stops"),
            ("source/run/signals.rs", "what it reads is in `/proc`"),
            ("serve/metrics/process.rs", "what it reads is in `/proc`"),
        ],
    },
    Absence {
        says: "only `broker::nats` names the client of the broker",
        names: &["async_nats"],
        rooms: &[],
        except: &[
            ("broker/nats.rs", "it is what speaks to the broker"),
            ("broker/nats/failures.rs", "it says what may go wrong there"),
            ("broker/nats/received.rs", "it says what comes from there"),
        ],
    },
    Absence {
        says: "only a visitor turns the path of a request into a log",
        names: &[".locate", ".locate_requested"],
        // Rendering locates other things, and a client reads the files of its own user.
        rooms: &["log", "render", "client"],
        except: &[
            ("serve/identity.rs", "a path without the base may be one of a log"),
            ("serve/identity/visitor.rs", "it is who asks"),
            ("broker/agent.rs", "an agent gives what lies under its prefixes"),
            ("broker/agent/answers.rs", "an agent gives what lies under its prefixes"),
        ],
    },
    Absence {
        says: "nothing below `serve` knows HTTP",
        names: &[
            "hyper",
            "hyper_util",
            "http",
            "http_body_util",
            "http_range_header",
            "httpdate",
            "tokio_tungstenite::tungstenite::http",
            "tokio_tungstenite::tungstenite::handshake",
        ],
        rooms: &["serve", "client", "bench", "cli"],
        except: &[],
    },
    Absence {
        says: "nothing below `serve` knows sockets",
        names: &["std::net", "std::os::unix::net", "tokio::net", "socket2", "rustix::net"],
        rooms: &["serve", "client", "bench", "cli"],
        except: &[],
    },
    Absence {
        says: "only `wire` is serialisable",
        names: &["serde"],
        rooms: &["wire"],
        except: &[("structure/json.rs", "it takes the fields out of the lines of logs")],
    },
    Absence {
        says: "only `cli` prints",
        names: &[
            "std::print!",
            "std::println!",
            "std::eprint!",
            "std::eprintln!",
            "std::dbg!",
            "std::io::stdout",
            "std::io::stderr",
            "tokio::io::stdout",
            "tokio::io::stderr",
        ],
        rooms: &["cli"],
        except: &[],
    },
    Absence {
        says: "no timer depends on a clock that somebody may set",
        names: &["std::time::SystemTime::now"],
        rooms: &[],
        except: &[
            ("client/local.rs", "`--since` may say a time as a clock shows it"),
            ("bench/load/stamp.rs", "a line carries when it was written"),
            ("broker/agent/claim.rs", "of two agents with one name the earlier one keeps it"),
            ("broker/edge/hosts.rs", "the list says since when a machine is away"),
            ("cli/tail.rs", "`10m` is ten minutes before now"),
            ("serve/query.rs", "`10m` is ten minutes before now"),
            ("session/viewer/time.rs", "a stream ends when the clock of its log shows a time"),
            ("cli/serve/certificate.rs", "a certificate is valid from a date until a date"),
            ("log/rotated/past.rs", "how long ago a directory changed is told by its time"),
            ("log/rotated/places.rs", "the age of a directory is told by its time of modification"),
            ("log/timeline.rs", "viewers are told when a line came"),
            ("mirror/feed.rs", "a log that has grown was written to, if nobody says when"),
            ("mirror/logs.rs", "the same for one that is not listed"),
            ("mirror/spool/file.rs", "a note says when a file was followed, also over a restart"),
            ("serve/identity/sessions.rs", "a session expires at a time, also over a restart"),
            ("serve/metrics.rs", "it says when the configuration was read"),
            ("serve/metrics/delivery.rs", "it compares with the time of a file"),
            ("source/run_file.rs", "the name of a file says when it was begun"),
            ("serve/listing.rs", "the list says how long ago a log was written"),
        ],
    },
];

/// All sources of the crate, without those that are compiled for tests only.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| read_sources("src"));

fn read_sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
                found.push(Source::new(file, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let tests: Vec<String> =
        found.iter().flat_map(|source| source.content.test_modules.clone()).collect();
    found.retain(|source| !tests.iter().any(|tests| is_or_below(&source.module, tests)));
    found
}

/// Whether a name is this path or lies below it.
fn is_or_below(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn place(source: &Source, Name { name, line }: &Name) -> String {
    format!("{}:{line}: `{name}`", source.file)
}

/// The places at which a room names a room above it, or a forbidden name.
fn upward(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let Some(level) = ROOMS.iter().position(|room| *room == source.room()) else { continue };
        let above = ROOMS[level + 1..].iter().map(|room| format!("crate::{room}"));
        let own = FORBIDDEN.iter().filter(|(room, ..)| *room == source.room());
        let forbidden: Vec<String> =
            above.chain(own.map(|(_, path, _)| (*path).to_owned())).collect();
        for name in &source.content.names {
            let path = name.name.trim_end_matches('!');
            if forbidden.iter().any(|forbidden| is_or_below(path, forbidden)) {
                found.push(place(source, name));
            }
        }
    }
    found
}

/// The places at which a source uses a name that its room must not use, and the unnecessary
/// exceptions.
fn trespasses(absence: &Absence, sources: &[Source]) -> (Vec<String>, Vec<String>) {
    let mut unused: Vec<String> =
        absence.except.iter().map(|(file, _)| (*file).to_owned()).collect();
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !absence.rooms.contains(&source.room())) {
        for name in &source.content.names {
            if !absence.names.iter().any(|forbidden| is_or_below(&name.name, forbidden)) {
                continue;
            }
            if absence.except.iter().any(|(file, _)| *file == source.file) {
                unused.retain(|file| *file != source.file);
            } else {
                found.push(place(source, name));
            }
        }
    }
    (found, unused)
}

/// The places at which a room below `session` names viewers.
fn viewers_below_session(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| VIEWERLESS.contains(&source.room())) {
        let words = source.content.words.iter().filter(|Name { name, .. }| {
            let is_excepted = VIEWER_WORDS
                .iter()
                .any(|(room, words, _)| *room == source.room() && words.contains(&name.as_str()));
            name.to_lowercase().contains("viewer") && !is_excepted
        });
        found.extend(words.map(|word| place(source, word)));
    }
    found
}

#[test]
fn imports_point_down() {
    for room in ROOMS {
        assert!(SOURCES.iter().any(|source| source.room() == room), "no sources in {room}");
    }
    let found = upward(&SOURCES);
    assert!(found.is_empty(), "imports that point up:\n{}", found.join("\n"));
}

#[test]
fn each_room_names_only_what_is_its_own() {
    let mut wrong = Vec::new();
    for absence in ABSENCES {
        let (found, unused) = trespasses(absence, &SOURCES);
        if !found.is_empty() {
            wrong.push(format!("{}:\n{}", absence.says, found.join("\n")));
        }
        if !unused.is_empty() {
            wrong.push(format!("{}: an exception that is not needed: {unused:?}", absence.says));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn nothing_below_session_names_viewers_except_their_number_and_whether_they_are_behind() {
    let found = viewers_below_session(&SOURCES);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn tests_wait_for_conditions_and_not_for_a_time() {
    let absence = Absence {
        says: "a test waits by `eventually`; what only shapes a load is a `pace`",
        names: &["std::thread::sleep", "tokio::time::sleep"],
        rooms: &[],
        except: &[
            ("servers.rs", "it has these two"),
            ("lag.rs", "the clock is paused"),
            ("model/machine.rs", "it measures how late a timer is"),
            ("heartbeats.rs", "what is tested is time itself"),
            ("limits.rs", "what is tested is time itself"),
        ],
    };
    let (found, unused) = trespasses(&absence, &read_sources("tests/it"));
    assert!(found.is_empty() && unused.is_empty(), "{}; not needed: {unused:?}", found.join("\n"));
}

#[test]
fn the_main_file_is_short() {
    let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs");
    let lines = std::fs::read_to_string(main).unwrap().lines().count();
    assert!(lines < 60, "{lines} lines");
}

#[test]
fn an_import_that_points_up_is_found_however_it_is_written() {
    for text in [
        "use crate::serve::App;",
        "use crate::{render, serve::{self, App}};",
        "use super::super::serve;",
        "use super::super::serve as other;",
        "use crate::serve::*;",
        "fn f() { crate::serve::run(); }",
        "fn f() { super::super::serve::run(); }",
        "fn f() { use crate::serve::run; run(); }",
        "fn f() { println!(\"{}\", crate::serve::NAME); }",
        "fn f(app: &dyn Into<crate::serve::App>) {}",
        "#[derive(crate::serve::Derive)] struct S;",
        "mod inner { fn f() { super::super::super::serve::run(); } }",
        "fn f() { crate::serve::say!(\"x\"); }",
        "use super::super as up; fn f() { up::serve::run(); }",
    ] {
        assert!(!upward(&[Source::new("log/watch.rs", text)]).is_empty(), "not found: {text}");
    }
    for text in [
        "use crate::log::serve;",
        "use crate::served::App;",
        "fn serve() { serve(); self::serve(); }",
        "/// Used by [`crate::serve`].\nfn f() {}",
        "fn f() -> &'static str { \"crate::serve\" }",
        "#[cfg(test)] mod tests { use crate::serve::App; }",
        "mod inner { use super::super::serve; }",
    ] {
        assert_eq!(upward(&[Source::new("log/watch.rs", text)]), [""; 0], "{text}");
    }
    assert!(!upward(&[Source::new("render/mod.rs", "use crate::log::Offset;")]).is_empty());
    assert!(!upward(&[Source::new("render/mod.rs", "use super::log::Offset;")]).is_empty());
    assert!(upward(&[Source::new("session/mod.rs", "use super::log::Offset;")]).is_empty());
}

#[test]
fn a_name_that_does_not_belong_to_a_room_is_found_however_it_is_written() {
    for (says, texts) in [
        (
            "only `log::watch` names the crate that watches the file system",
            &["use notify::Watcher;", "fn f() { notify::recommended_watcher(); }"][..],
        ),
        (
            "only `log`, `source` and `mirror` touch the file system",
            &[
                "use std::fs;",
                "use std::{fs::File, io};",
                "use std::fs as files;",
                "fn f() { std::fs::File::open(\"x\"); }",
                "fn f() { ::std::fs::remove_file(\"x\"); }",
                "fn f(path: &Path) -> bool { path.exists() }",
                "fn f() { assert!(vec![std::fs::read(\"x\")].is_empty()); }",
            ],
        ),
        (
            "logs are opened through `Access` alone",
            &[
                "fn f() { std::fs::File::open(\"x\"); }",
                "use std::fs::File; fn f() { File::open(\"x\"); }",
                "use std::fs::File as F; fn f() { F::open(\"x\"); }",
                "use std::fs; fn f() { fs::read(\"x\"); }",
                "fn f() { use std::fs::read_to_string; }",
            ],
        ),
        (
            "nothing below `serve` knows HTTP",
            &["fn f(_: hyper::Request<()>) {}", "use tokio_tungstenite::tungstenite::http::Uri;"],
        ),
        (
            "only `wire` is serialisable",
            &[
                "#[derive(serde::Serialize)] struct S;",
                "use serde::Serialize;",
                "use serde as s;",
                "impl serde::de::Deserialize<'_> for S {}",
                "fn f() { #[derive(Debug, serde::Deserialize)] struct S; }",
            ],
        ),
        (
            "only `cli` prints",
            &[
                "fn f() { println!(); }",
                "fn f() { std::println!(\"x\"); }",
                "use std::eprintln; fn f() { eprintln!(\"x\"); }",
                "fn f() { tokio::select! { _ = g() => { eprint!(\"x\"); } } }",
                "use std::io; fn f() { writeln!(io::stdout(), \"x\"); }",
            ],
        ),
        (
            "no timer depends on a clock that somebody may set",
            &[
                "fn f() { std::time::SystemTime::now(); }",
                "use std::time::{Duration, SystemTime}; fn f() { SystemTime::now(); }",
            ],
        ),
    ] {
        let absence = ABSENCES.iter().find(|absence| absence.says == says).unwrap();
        for text in texts {
            let (found, _) = trespasses(absence, &[Source::new("search/scan.rs", text)]);
            assert!(!found.is_empty(), "not found: {text}");
        }
    }
    for absence in ABSENCES {
        let text = "// println!\n/// `std::fs::read`\nfn notify(println: bool) -> bool { println != true }\n\
            fn exists() -> bool { \"serde::Serialize hyper\".is_empty() }\n\
            #[cfg(test)] mod tests { use std::fs; fn f() { println!(); } }";
        let (found, _) = trespasses(absence, &[Source::new("search/scan.rs", text)]);
        assert_eq!(found, [""; 0], "{}", absence.says);
    }
}

#[test]
fn a_room_that_knows_of_viewers_is_found() {
    let text = "struct Viewer; fn f(viewers_max: usize, viewers: usize) {}";
    let found = |file| viewers_below_session(&[Source::new(file, text)]).len();
    let rooms = ["log/registry.rs", "render/mod.rs", "session/mod.rs"];
    assert_eq!(rooms.map(found), [2, 3, 0]);
}

#[test]
fn an_exception_that_is_not_needed_is_found() {
    let absence =
        ABSENCES.iter().find(|absence| absence.names == ["notify"]).expect("it has one exception");
    let unused = |text| trespasses(absence, &[Source::new("log/watch.rs", text)]).1;
    assert_eq!(unused("use notify::Watcher;"), [""; 0]);
    assert_eq!(unused("fn f() {}"), ["log/watch.rs"]);
}

#[test]
fn the_files_and_functions_that_the_architecture_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let quoted = || text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| word.contains('/') && !word.starts_with('/');
    let files: Vec<&str> = quoted().filter(is_path).collect();
    assert!(files.len() > 80, "{files:?}");
    for file in files {
        let is_file = ["src", "."].iter().any(|folder| root.join(folder).join(file).exists());
        // The way of a line names the modules of the page by their folder.
        let is_module = root.join("src/serve/web").join(file).exists();
        assert!(is_file || is_module, "docs/architecture.md names `{file}`, which does not exist");
    }
    let targets = text.split("](../").skip(1).map(|rest| rest.split(')').next().unwrap());
    for target in targets {
        assert!(root.join(target).exists(), "docs/architecture.md links to {target}");
    }
    let stations: Vec<_> = text.lines().filter(|line| line.starts_with("| ")).collect();
    let stations = stations.iter().filter_map(|line| {
        let function = line.split('`').nth(1)?.rsplit("::").next()?.rsplit('.').next()?;
        let file = line.split("](../").nth(1)?.split(')').next()?;
        line.as_bytes()[2].is_ascii_digit().then_some((function, file))
    });
    let stations: Vec<(&str, &str)> = stations.collect();
    assert_eq!(stations.len(), 8, "{stations:?}");
    for (function, file) in stations {
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        let is_there = source.contains(&format!("fn {function}("))
            || (file.ends_with(".js") && source.contains(&format!("  {function}(")));
        assert!(is_there, "docs/architecture.md names {function} in {file}, which has none");
    }
}
