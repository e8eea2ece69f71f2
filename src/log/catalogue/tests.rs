//! Catalogues of real directories and files.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{CWD, RenameFlags, mkfifoat, renameat_with};
use tempfile::TempDir;

use super::*;

struct Fixture {
    _dir: TempDir,
    top: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        Self { _dir: dir, top }
    }

    /// Creates a file of `age` bytes that was last written `age` seconds before a fixed time.
    fn file(&self, name: &str, age: u16) -> PathBuf {
        let path = self.top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'.'; age.into()]).unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(time(age)).unwrap();
        path
    }

    fn link(&self, name: &str, target: &str) {
        symlink(self.top.join(target), self.top.join(name)).unwrap();
    }

    fn access(&self, prefixes: &[&str]) -> Access {
        Access::new(prefixes.iter().map(|name| self.top.join(name))).unwrap()
    }

    /// The listed paths, relative to the fixture.
    fn names(&self, catalogue: &Catalogue) -> Vec<String> {
        let name = |entry: &Entry| {
            entry.log.as_path().strip_prefix(&self.top).unwrap().to_str().unwrap().to_string()
        };
        catalogue.entries.iter().map(name).collect()
    }

    fn listed(&self, prefixes: &[&str]) -> Vec<String> {
        let catalogue = list(&self.access(prefixes), &CancellationToken::new());
        assert!(!catalogue.truncated);
        self.names(&catalogue)
    }
}

fn time(age: u16) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789)
        - Duration::from_secs(age.into())
}

#[test]
fn logs_are_listed_by_last_change_then_path() {
    let fixture = Fixture::new();
    fixture.file("logs/old", 9);
    fixture.file("logs/sub/deep/new", 1);
    fixture.file("logs/b", 5);
    fixture.file("logs/a", 5);
    fixture.file("beside", 0);
    let catalogue = list(&fixture.access(&["logs"]), &CancellationToken::new());
    assert_eq!(fixture.names(&catalogue), ["logs/sub/deep/new", "logs/a", "logs/b", "logs/old"]);
    let newest = &catalogue.entries[0];
    assert_eq!((newest.size, newest.modified), (1, time(1)));
    assert!(!catalogue.truncated);
}

#[test]
fn every_listed_log_opens() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 1);
    fixture.file("logs/a\n\"b", 2);
    fixture.file("one/file", 3);
    fixture.link("name", "logs");
    fixture.link("logs/link", "one/file");
    let access = fixture.access(&["name", "one/file"]);
    let catalogue = list(&access, &CancellationToken::new());
    assert_eq!(fixture.names(&catalogue), ["name/a", "name/a\n\"b", "name/link", "one/file"]);
    for entry in &catalogue.entries {
        access.open(&entry.log).unwrap();
    }
}

#[test]
fn links_to_files_inside_are_listed_and_no_others() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 3);
    fixture.file("pods/p", 2);
    fixture.file("etc/secret", 1);
    fixture.file("logs/sub/b", 4);
    fixture.link("logs/current", "logs/a");
    fixture.link("logs/pod", "pods/p");
    fixture.link("logs/secret", "etc/secret");
    fixture.link("logs/none", "logs/nothing");
    fixture.link("logs/dir", "logs/sub");
    fixture.link("logs/out", "etc");
    fixture.link("logs/self", "logs");
    assert_eq!(fixture.listed(&["logs"]), ["logs/a", "logs/current", "logs/sub/b"]);
    assert_eq!(
        fixture.listed(&["logs", "pods"]),
        ["logs/pod", "pods/p", "logs/a", "logs/current", "logs/sub/b"]
    );
}

#[test]
fn only_regular_files_are_logs() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 1);
    mkfifoat(CWD, fixture.top.join("logs/fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.top.join("logs/socket")).unwrap();
    symlink("/dev/null", fixture.top.join("logs/null")).unwrap();
    fixture.link("logs/fifo-link", "logs/fifo");
    let (sender, receiver) = std::sync::mpsc::channel();
    let prefixes = [fixture.top.join("logs"), "/dev".into(), "/proc".into()];
    std::thread::spawn(move || {
        sender.send(list(&Access::new(prefixes).unwrap(), &CancellationToken::new()))
    });
    let catalogue = receiver.recv_timeout(Duration::from_secs(5)).expect("it blocked");
    let in_logs =
        catalogue.entries.iter().filter(|entry| entry.log.as_path().starts_with(&fixture.top));
    assert_eq!(in_logs.count(), 1);
    let made_up = |entry: &Entry| {
        entry.log.as_path().starts_with("/proc") || entry.log.as_path().ends_with("null")
    };
    assert!(!catalogue.entries.iter().any(made_up));
}

#[test]
fn hidden_files_are_listed_and_hidden_directories_are_not_entered() {
    let fixture = Fixture::new();
    fixture.file("logs/.hidden.log", 1);
    fixture.file("logs/.git/HEAD", 2);
    fixture.file("logs/..odd/x", 2);
    assert_eq!(fixture.listed(&["logs"]), ["logs/.hidden.log"]);
    assert_eq!(
        fixture.listed(&["logs", "logs/.git"]),
        ["logs/.hidden.log", "logs/.git/HEAD"],
        "unless it was asked for"
    );
}

#[test]
fn overlapping_prefixes_list_a_file_once() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 1);
    fixture.file("logs/sub/b", 2);
    fixture.link("name", "logs");
    let all = ["logs/a", "logs/sub/b"];
    assert_eq!(fixture.listed(&["logs", "logs/sub"]), all);
    assert_eq!(fixture.listed(&["logs/sub", "logs", "logs", "logs/a"]), all);
    assert_eq!(fixture.listed(&["logs", "name"]), all);
    assert_eq!(fixture.listed(&["logs", "name/a"]), all);
    assert_eq!(fixture.listed(&["logs/a", "logs/a"]), ["logs/a"]);
}

#[test]
fn a_reached_bound_is_reported_and_the_newest_logs_are_kept() {
    let fixture = Fixture::new();
    for age in 1..40 {
        fixture.file(&format!("logs/{age:02}"), age);
    }
    fixture.file("logs/1/2/3/deep", 50);
    let access = fixture.access(&["logs"]);
    let bounded = |change: fn(&mut Bounds)| {
        let mut bounds = Bounds { ..BOUNDS };
        change(&mut bounds);
        let catalogue = list_within(&access, &bounds, &CancellationToken::new());
        (fixture.names(&catalogue), catalogue.truncated)
    };
    let (names, truncated) = bounded(|bounds| bounds.entries = 3);
    assert_eq!((names.join(" "), truncated), ("logs/01 logs/02 logs/03".to_string(), true));
    let (names, truncated) = bounded(|bounds| bounds.entries = 40);
    assert_eq!((names.len(), truncated), (40, false));
    let (names, truncated) = bounded(|bounds| bounds.depth = 2);
    assert_eq!((names.len(), truncated), (39, true));
    let (names, truncated) = bounded(|bounds| bounds.depth = 3);
    assert_eq!((names.len(), truncated), (40, false));
    let (names, truncated) = bounded(|bounds| bounds.directories = 3);
    assert_eq!((names.len(), truncated), (39, true));
    let (names, truncated) = bounded(|bounds| bounds.names = 10);
    assert!(names.len() <= 10 && truncated);
}

#[test]
fn depth_is_counted_from_the_nearest_prefix() {
    let fixture = Fixture::new();
    fixture.file("logs/1/2/3/deep", 1);
    let bounds = Bounds { depth: 2, ..BOUNDS };
    for prefixes in [["logs", "logs/1/2"], ["logs/1/2", "logs"]] {
        let catalogue = list_within(&fixture.access(&prefixes), &bounds, &CancellationToken::new());
        assert_eq!(fixture.names(&catalogue), ["logs/1/2/3/deep"]);
    }
}

#[test]
fn a_directory_swapped_for_a_link_lists_nothing_foreign() {
    let fixture = Fixture::new();
    fixture.file("logs/dir/inside", 1);
    fixture.file("etc/secret", 1);
    fixture.link("logs/link", "etc");
    let access = fixture.access(&["logs"]);
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, dir, link) =
            (Arc::clone(&stop), fixture.top.join("logs/dir"), fixture.top.join("logs/link"));
        move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < Duration::from_secs(1) {
        let names = fixture.names(&list(&access, &CancellationToken::new()));
        assert!(names.iter().all(|name| name.ends_with("inside")), "{names:?}");
        seen += names.len();
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(seen > 0);
}

#[test]
fn a_removed_prefix_lists_nothing() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 1);
    fixture.file("pods/p", 2);
    let access = fixture.access(&["logs", "pods"]);
    fs::remove_dir_all(fixture.top.join("logs")).unwrap();
    assert_eq!(fixture.names(&list(&access, &CancellationToken::new())), ["pods/p"]);
}

#[test]
fn the_newest_logs_are_kept_in_whatever_order_they_are_found() {
    let fixture = Fixture::new();
    let bounds = Bounds { entries: 3, ..BOUNDS };
    for age in 1..60 {
        fixture.file(&format!("logs/{}/{age}", age % 4), age);
    }
    fixture.link("logs/link", "logs/2/2");
    let catalogue = list_within(&fixture.access(&["logs"]), &bounds, &CancellationToken::new());
    assert_eq!(fixture.names(&catalogue), ["logs/1/1", "logs/2/2", "logs/link"]);
    assert!(catalogue.truncated);
}

#[test]
fn a_stopped_walk_ends_and_its_answer_is_truncated() {
    let fixture = Fixture::new();
    fixture.file("logs/a", 1);
    let stop = CancellationToken::new();
    stop.cancel();
    let catalogue = list(&fixture.access(&["logs"]), &stop);
    assert_eq!(catalogue, Catalogue { entries: Vec::new(), truncated: true });
}

#[test]
fn a_change_before_1970_is_listed_with_its_time() {
    let fixture = Fixture::new();
    let path = fixture.file("logs/a", 1);
    let long_ago = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(
        list(&fixture.access(&["logs"]), &CancellationToken::new()).entries[0].modified,
        long_ago
    );
}

/// `cargo test --release --lib costs_of_a_catalogue -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs_of_a_catalogue() {
    let fixture = Fixture::new();
    for directory in 0..100 {
        for file in 0..1000 {
            fixture.file(&format!("logs/{directory}/{file}.log"), file);
        }
    }
    let access = fixture.access(&["logs"]);
    for _ in 0..5 {
        let start = Instant::now();
        let listed = list(&access, &CancellationToken::new()).entries.len();
        println!("{listed} of 100,000 logs: {:?}", start.elapsed());
    }
}
