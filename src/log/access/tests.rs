//! Access to real directories: links, races and names. Most tests run both with openat2 and without
//! it.

mod links;
mod races;

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{CWD, Mode};
use tempfile::TempDir;

use super::Refusal::{Forbidden, NotFound, Unreadable, Untailable};
use super::*;

/// A temporary directory that contains `srv/logs/a`.
struct Fixture {
    _dir: TempDir,
    top: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let fixture = Self { _dir: dir, top };
        fixture.file("srv/logs/a", "inside");
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    fn file(&self, name: impl AsRef<Path>, content: &str) -> PathBuf {
        let path = self.top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
    }

    /// Access to these prefixes, with openat2 and without it.
    fn access(&self, prefixes: &[&str]) -> [Access; 2] {
        [true, false].map(|openat2| {
            let access = Access::new(prefixes.iter().map(|name| self.path(name))).unwrap();
            if !openat2 {
                access.resolver.forget_openat2();
            }
            access
        })
    }

    fn read(&self, access: &Access, name: &str) -> Result<String, Refusal> {
        read(access, self.path(name).as_os_str().as_bytes())
    }
}

fn read(access: &Access, path: &[u8]) -> Result<String, Refusal> {
    let log = access.locate(path)?;
    let identified = access.identify(&log);
    let admitted = access.open(&log);
    assert_eq!(identified.err(), admitted.as_ref().err().copied(), "identify and open agree");
    let mut content = String::new();
    admitted?.into_file().read_to_string(&mut content).unwrap();
    Ok(content)
}

/// Runs a closure that must not block.
fn within_a_second<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(run()));
    receiver.recv_timeout(Duration::from_secs(1)).expect("it blocked")
}

#[test]
fn only_names_inside_are_read() {
    let fixture = Fixture::new();
    fixture.file("srv/logs-secret/x", "secret");
    fixture.file("srv/x", "secret");
    fixture.file("srv/logs/sub/b", "below");
    fixture.file("srv/logs/..\\x", "backslash");
    fixture.file("srv/logs/%2e%2e", "percent");
    let long_name = format!("srv/logs/{}", "n".repeat(256));
    let long_path = format!("srv/logs/{}", "n/".repeat(2100));
    let deep = format!("srv/logs{}", "/d".repeat(300));
    let table: &[(&str, Result<&str, Refusal>)] = &[
        ("srv/logs/a", Ok("inside")),
        ("/srv//logs/./a", Ok("inside")),
        ("srv/logs/a/", Ok("inside")),
        ("srv/logs/sub/../a", Ok("inside")),
        ("srv/logs/none/../a", Ok("inside")),
        ("srv/logs/../logs/a", Ok("inside")),
        ("srv/logs/sub/b", Ok("below")),
        ("srv/logs/..\\x", Ok("backslash")),
        ("srv/logs/%2e%2e", Ok("percent")),
        ("srv/logs", Err(Untailable)),
        ("srv/logs/", Err(Untailable)),
        ("srv/logs/sub", Err(Untailable)),
        ("srv/logs/none", Err(NotFound)),
        ("srv/logs/a/b", Err(NotFound)),
        ("srv/logs/%2e%2e/x", Err(NotFound)),
        ("srv/logs/a\0", Err(NotFound)),
        ("srv/logs/a\0/../../x", Err(Forbidden)),
        (&long_name, Err(NotFound)),
        (&long_path, Err(NotFound)),
        (&deep, Err(NotFound)),
        ("srv/logs-secret/x", Err(Forbidden)),
        ("srv/logs-secret/none", Err(Forbidden)),
        ("srv/logs/../x", Err(Forbidden)),
        ("srv/logs/../none", Err(Forbidden)),
        ("srv/logs/../../../../../../../../etc/passwd", Err(Forbidden)),
        ("srv/log", Err(Forbidden)),
        ("srv", Err(Forbidden)),
        ("", Err(Forbidden)),
    ];
    for prefix in ["srv/logs", "srv/logs/", "srv//./logs/../logs"] {
        for access in fixture.access(&[prefix]) {
            assert_eq!(access.prefixes(), [fixture.path("srv/logs")]);
            for (name, expected) in table {
                let asked = format!("{}/{name}", fixture.top.display());
                assert_eq!(
                    read(&access, asked.as_bytes()),
                    expected.map(str::to_string),
                    "{prefix}: {name:?}"
                );
            }
        }
    }
}

#[test]
fn a_path_must_be_absolute() {
    let access = Access::new(["/"]).unwrap();
    for path in ["", "etc/passwd", "./etc/passwd", "\0", "http://h/etc/passwd"] {
        assert_eq!(access.locate(path.as_bytes()), Err(Forbidden), "{path:?}");
    }
}

#[test]
fn overlong_encodings_of_dots_are_not_decoded() {
    let fixture = Fixture::new();
    fixture.file("srv/x", "secret");
    for access in fixture.access(&["srv/logs"]) {
        let mut path = fixture.path("srv/logs").into_os_string().into_encoded_bytes();
        path.extend_from_slice(b"/\xc0\xae\xc0\xae\xc0\xaf/x");
        assert_eq!(read(&access, &path), Err(NotFound));
    }
}

#[test]
fn the_root_as_prefix_admits_everything_except_virtual_files_of_the_kernel() {
    let fixture = Fixture::new();
    for access in fixture.access(&["/"]) {
        assert_eq!(fixture.read(&access, "srv/logs/a").unwrap(), "inside");
        assert_eq!(fixture.read(&access, "../../../../../../srv-none"), Err(NotFound));
        assert_eq!(read(&access, b"/"), Err(Untailable));
        assert_eq!(read(&access, b"/proc/version"), Err(Untailable));
        assert_eq!(read(&access, b"/proc/self/environ"), Err(Untailable));
    }
    let [access, _] = fixture.access(&["/"]);
    assert_eq!(
        read(&access, b"/proc/self/root/etc/passwd"),
        Err(NotFound),
        "a magic link is not followed"
    );
}

#[test]
fn a_relative_prefix_starts_at_the_current_directory() {
    let access = Access::new(["src", "."]).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(access.prefixes(), [here.join("src"), here.clone()]);
    assert!(read(&access, here.join("src/lib.rs").as_os_str().as_bytes()).is_ok());
    assert_eq!(read(&access, b"src/lib.rs"), Err(Forbidden));
}

#[test]
fn a_prefix_that_is_a_file_admits_only_that_file() {
    let fixture = Fixture::new();
    fixture.file("srv/logs/b", "sibling");
    fixture.file("srv/logs/a.1", "sibling");
    fixture.link("name", "srv/logs/a");
    for access in fixture.access(&["srv/logs/a"]) {
        assert_eq!(fixture.read(&access, "srv/logs/a").unwrap(), "inside");
        for sibling in ["srv/logs/b", "srv/logs/a.1", "srv/logs", "srv/logs/a/b", "srv/logs/none"] {
            assert_eq!(fixture.read(&access, sibling), Err(Forbidden), "{sibling}");
        }
    }
    for access in fixture.access(&["name"]) {
        assert_eq!(fixture.read(&access, "name").unwrap(), "inside");
        assert_eq!(fixture.read(&access, "srv/logs/a").unwrap(), "inside");
        assert_eq!(fixture.read(&access, "srv/logs/b"), Err(Forbidden));
        fs::remove_file(fixture.path("srv/logs/a")).unwrap();
        assert_eq!(fixture.read(&access, "name"), Err(NotFound));
        fixture.link("srv/logs/a", "b");
        assert_eq!(
            fixture.read(&access, "name"),
            Err(Forbidden),
            "the name now leads to a sibling"
        );
        fs::remove_file(fixture.path("srv/logs/a")).unwrap();
        fixture.file("srv/logs/a", "inside");
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_blocking() {
    let fixture = Fixture::new();
    rustix::fs::mkfifoat(CWD, fixture.path("srv/logs/fifo"), Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(fixture.path("srv/logs/socket")).unwrap();
    fixture.link("srv/logs/null", "/dev/null");
    for access in fixture.access(&["srv/logs", "/dev"]) {
        let names = [
            "srv/logs/fifo",
            "srv/logs/socket",
            "srv/logs/null",
            "srv/logs",
            "/dev/null",
            "/dev/tty",
            "/dev/zero",
        ];
        let paths = names.map(|name| fixture.path(name));
        let answers =
            within_a_second(move || paths.map(|path| read(&access, path.as_os_str().as_bytes())));
        for (name, answer) in names.iter().zip(answers) {
            assert_eq!(answer, Err(Untailable), "{name}");
        }
    }
}

#[test]
fn a_name_may_be_any_bytes() {
    let fixture = Fixture::new();
    for name in [
        &b"new\nline"[..],
        b"quote\"'`<>&",
        b"not\xffutf8",
        b" ",
        b"-",
        b"\x1b[31m",
        "\u{202e}gol".as_bytes(),
    ] {
        fixture.file(Path::new("srv/logs").join(OsStr::from_bytes(name)), "odd");
        for access in fixture.access(&["srv/logs"]) {
            let path = fixture.path("srv/logs").join(OsStr::from_bytes(name));
            assert_eq!(read(&access, path.as_os_str().as_bytes()).unwrap(), "odd", "{path:?}");
        }
    }
}

#[test]
fn a_shown_name_contains_no_characters_that_forge_lines_or_hide_or_reorder_text() {
    let access = Access::new(["/"]).unwrap();
    let shown = |name: &[u8]| access.locate(name).unwrap().display().to_string();
    assert_eq!(shown(b"/a\n\x1b[31m\x7f\"<b>\\"), "/a\\n\\u{1b}[31m\\u{7f}\"<b>\\\\");
    assert_eq!(shown("/\u{202e}gol\u{2028}\u{85}".as_bytes()), "/\\u{202e}gol\\u{2028}\\u{85}");
    assert_eq!(shown(b"/\xff\xc0\xaf"), "/\\xff\\xc0\\xaf");
    assert_eq!(shown("/журнал-日誌-é".as_bytes()), "/журнал-日誌-é");
}

#[test]
fn a_file_without_permission_is_unreadable() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    fs::set_permissions(fixture.path("srv/logs/a"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root can read every file.
    if rustix::process::geteuid().is_root() {
        return;
    }
    for access in fixture.access(&["srv/logs"]) {
        let log = access.locate(fixture.path("srv/logs/a").as_os_str().as_bytes()).unwrap();
        assert_eq!(access.open(&log).unwrap_err(), Unreadable);
        assert!(access.identify(&log).is_ok());
    }
    fs::set_permissions(fixture.path("srv/logs"), fs::Permissions::from_mode(0o000)).unwrap();
    let error = Access::new([fixture.path("srv/logs")]).unwrap_err();
    fs::set_permissions(fixture.path("srv/logs"), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(chain(&error).contains("Permission denied"), "{error}");
}

/// The message of an error, followed by that of its cause.
fn chain(error: &PrefixError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn a_prefix_that_cannot_be_served_says_so() {
    let fixture = Fixture::new();
    let fifo = fixture.path("fi\nfo");
    rustix::fs::mkfifoat(CWD, &fifo, Mode::RWXU).unwrap();
    let error = |path: PathBuf| within_a_second(move || Access::new([path]).unwrap_err());
    for (path, expected) in [
        (
            "/none/such".into(),
            "cannot serve prefix `/none/such`: No such file or directory (os error 2)",
        ),
        (PathBuf::new(), "cannot serve prefix ``: No such file or directory (os error 2)"),
        (
            "/etc/passwd/x".into(),
            "cannot serve prefix `/etc/passwd/x`: Not a directory (os error 20)",
        ),
        ("/dev/null".into(), "cannot serve prefix `/dev/null`: not a directory or a regular file"),
    ] {
        let error = error(path);
        assert_eq!(chain(&error), expected);
        assert!(!error.hint().is_empty());
    }
    assert!(error(fifo).to_string().contains("fi\\nfo`: not a directory"));
}

#[test]
fn a_prefix_that_cannot_be_opened_keeps_the_cause() {
    let fixture = Fixture::new();
    fixture.link("endless", fixture.path("endless"));
    let long = "n".repeat(300);
    for (name, cause) in [
        ("endless", "Too many levels of symbolic links (os error 40)"),
        (long.as_str(), "File name too long (os error 36)"),
    ] {
        let path = fixture.path(name);
        let error = Access::new([&path]).unwrap_err();
        assert_eq!(chain(&error), format!("cannot serve prefix `{}`: {cause}", path.display()));
        assert_eq!(error.hint(), "name a directory or a file that can be opened");
    }
}

#[test]
fn identity_and_real_path_are_those_of_the_opened_file() {
    use std::os::unix::fs::MetadataExt as _;
    let fixture = Fixture::new();
    fixture.link("srv/logs/current", "a");
    for access in fixture.access(&["srv/logs"]) {
        let log = access.locate(fixture.path("srv/logs/current").as_os_str().as_bytes()).unwrap();
        let admitted = access.open(&log).unwrap();
        assert_eq!(admitted.real_path(), fixture.path("srv/logs/a"));
        assert_eq!(access.identify(&log), Ok(admitted.identity()));
        let identity = admitted.identity();
        let metadata = admitted.into_file().metadata().unwrap();
        assert_eq!(identity, Identity { device: metadata.dev(), inode: metadata.ino() });
    }
}

#[test]
fn with_no_prefix_everything_is_forbidden() {
    let access = Access::new(Vec::<PathBuf>::new()).unwrap();
    assert_eq!(access.locate(b"/"), Err(Forbidden));
    assert_eq!(access.locate(b"/etc/passwd"), Err(Forbidden));
}

#[test]
fn access_is_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Access>();
    shared::<LogPath>();
}

const STEPS: &[&str] = &["..", ".", "", "usr", "us", "usrx", "a\0", "..."];

proptest! {
    /// No path leaves the prefixes by its text, and a located path is normalised.
    #[test]
    fn a_located_path_lies_inside(parts in prop::collection::vec(prop::sample::select(STEPS), 0..9)) {
        let access = Access::new(["/usr"]).unwrap();
        let asked = format!("/{}", parts.join("/"));
        if let Ok(log) = access.locate(asked.as_bytes()) {
            prop_assert!(log.as_path().starts_with("/usr"));
            prop_assert!(log.as_path().components().all(|step| !matches!(step, std::path::Component::ParentDir)));
            prop_assert_eq!(access.locate(log.as_path().as_os_str().as_bytes()), Ok(log));
        }
    }
}
