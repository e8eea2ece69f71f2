//! The catalogue of real directories, each with its own modification times.

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

    /// A file of as many bytes as `age`, last written that many seconds before a fixed time.
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

    /// The listed names, without the path of the ground.
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
    let ground = Fixture::new();
    ground.file("logs/old", 9);
    ground.file("logs/sub/deep/new", 1);
    ground.file("logs/b", 5);
    ground.file("logs/a", 5);
    ground.file("beside", 0);
    let catalogue = list(&ground.access(&["logs"]), &CancellationToken::new());
    assert_eq!(ground.names(&catalogue), ["logs/sub/deep/new", "logs/a", "logs/b", "logs/old"]);
    let newest = &catalogue.entries[0];
    assert_eq!((newest.size, newest.modified), (1, time(1)));
    assert!(!catalogue.truncated);
}

#[test]
fn every_listed_log_opens() {
    let ground = Fixture::new();
    ground.file("logs/a", 1);
    ground.file("logs/a\n\"b", 2);
    ground.file("one/file", 3);
    ground.link("name", "logs");
    ground.link("logs/link", "one/file");
    let access = ground.access(&["name", "one/file"]);
    let catalogue = list(&access, &CancellationToken::new());
    assert_eq!(ground.names(&catalogue), ["name/a", "name/a\n\"b", "name/link", "one/file"]);
    for entry in &catalogue.entries {
        access.open(&entry.log).unwrap();
    }
}

#[test]
fn links_to_files_inside_are_listed_and_no_others() {
    let ground = Fixture::new();
    ground.file("logs/a", 3);
    ground.file("pods/p", 2);
    ground.file("etc/secret", 1);
    ground.file("logs/sub/b", 4);
    ground.link("logs/current", "logs/a");
    ground.link("logs/pod", "pods/p");
    ground.link("logs/secret", "etc/secret");
    ground.link("logs/none", "logs/nothing");
    ground.link("logs/dir", "logs/sub");
    ground.link("logs/out", "etc");
    ground.link("logs/self", "logs");
    assert_eq!(ground.listed(&["logs"]), ["logs/a", "logs/current", "logs/sub/b"]);
    assert_eq!(
        ground.listed(&["logs", "pods"]),
        ["logs/pod", "pods/p", "logs/a", "logs/current", "logs/sub/b"]
    );
}

#[test]
fn only_regular_files_are_logs() {
    let ground = Fixture::new();
    ground.file("logs/a", 1);
    mkfifoat(CWD, ground.top.join("logs/fifo"), Mode::RWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(ground.top.join("logs/socket")).unwrap();
    symlink("/dev/null", ground.top.join("logs/null")).unwrap();
    ground.link("logs/fifo-link", "logs/fifo");
    let (sender, receiver) = std::sync::mpsc::channel();
    let prefixes = [ground.top.join("logs"), "/dev".into(), "/proc".into()];
    std::thread::spawn(move || {
        sender.send(list(&Access::new(prefixes).unwrap(), &CancellationToken::new()))
    });
    let catalogue = receiver.recv_timeout(Duration::from_secs(5)).expect("it blocked");
    let in_logs =
        catalogue.entries.iter().filter(|entry| entry.log.as_path().starts_with(&ground.top));
    assert_eq!(in_logs.count(), 1);
    let made_up = |entry: &Entry| {
        entry.log.as_path().starts_with("/proc") || entry.log.as_path().ends_with("null")
    };
    assert!(!catalogue.entries.iter().any(made_up));
}

#[test]
fn hidden_files_are_listed_and_hidden_directories_are_not_entered() {
    let ground = Fixture::new();
    ground.file("logs/.hidden.log", 1);
    ground.file("logs/.git/HEAD", 2);
    ground.file("logs/..odd/x", 2);
    assert_eq!(ground.listed(&["logs"]), ["logs/.hidden.log"]);
    assert_eq!(
        ground.listed(&["logs", "logs/.git"]),
        ["logs/.hidden.log", "logs/.git/HEAD"],
        "unless it was asked for"
    );
}

#[test]
fn overlapping_prefixes_list_a_file_once() {
    let ground = Fixture::new();
    ground.file("logs/a", 1);
    ground.file("logs/sub/b", 2);
    ground.link("name", "logs");
    let all = ["logs/a", "logs/sub/b"];
    assert_eq!(ground.listed(&["logs", "logs/sub"]), all);
    assert_eq!(ground.listed(&["logs/sub", "logs", "logs", "logs/a"]), all);
    assert_eq!(ground.listed(&["logs", "name"]), all);
    assert_eq!(ground.listed(&["logs", "name/a"]), all);
    assert_eq!(ground.listed(&["logs/a", "logs/a"]), ["logs/a"]);
}

#[test]
fn a_bound_that_was_met_is_told_and_the_newest_are_kept() {
    let ground = Fixture::new();
    for age in 1..40 {
        ground.file(&format!("logs/{age:02}"), age);
    }
    ground.file("logs/1/2/3/deep", 50);
    let access = ground.access(&["logs"]);
    let bounded = |change: fn(&mut Bounds)| {
        let mut bounds = Bounds { ..BOUNDS };
        change(&mut bounds);
        let catalogue = list_within(&access, &bounds, &CancellationToken::new());
        (ground.names(&catalogue), catalogue.truncated)
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
    let ground = Fixture::new();
    ground.file("logs/1/2/3/deep", 1);
    let bounds = Bounds { depth: 2, ..BOUNDS };
    for prefixes in [["logs", "logs/1/2"], ["logs/1/2", "logs"]] {
        let catalogue = list_within(&ground.access(&prefixes), &bounds, &CancellationToken::new());
        assert_eq!(ground.names(&catalogue), ["logs/1/2/3/deep"]);
    }
}

#[test]
fn a_directory_swapped_for_a_link_lists_nothing_foreign() {
    let ground = Fixture::new();
    ground.file("logs/dir/inside", 1);
    ground.file("etc/secret", 1);
    ground.link("logs/link", "etc");
    let access = ground.access(&["logs"]);
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, dir, link) =
            (Arc::clone(&stop), ground.top.join("logs/dir"), ground.top.join("logs/link"));
        move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < Duration::from_secs(1) {
        let names = ground.names(&list(&access, &CancellationToken::new()));
        assert!(names.iter().all(|name| name.ends_with("inside")), "{names:?}");
        seen += names.len();
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(seen > 0);
}

#[test]
fn a_prefix_that_went_away_lists_nothing() {
    let ground = Fixture::new();
    ground.file("logs/a", 1);
    ground.file("pods/p", 2);
    let access = ground.access(&["logs", "pods"]);
    fs::remove_dir_all(ground.top.join("logs")).unwrap();
    assert_eq!(ground.names(&list(&access, &CancellationToken::new())), ["pods/p"]);
}

#[test]
fn the_newest_are_kept_however_many_older_ones_come_between() {
    let ground = Fixture::new();
    let bounds = Bounds { entries: 3, ..BOUNDS };
    for age in 1..60 {
        ground.file(&format!("logs/{}/{age}", age % 4), age);
    }
    ground.link("logs/link", "logs/2/2");
    let catalogue = list_within(&ground.access(&["logs"]), &bounds, &CancellationToken::new());
    assert_eq!(ground.names(&catalogue), ["logs/1/1", "logs/2/2", "logs/link"]);
    assert!(catalogue.truncated);
}

#[test]
fn a_walk_that_is_stopped_ends_and_says_that_it_is_incomplete() {
    let ground = Fixture::new();
    ground.file("logs/a", 1);
    let stop = CancellationToken::new();
    stop.cancel();
    let catalogue = list(&ground.access(&["logs"]), &stop);
    assert_eq!(catalogue, Catalogue { entries: Vec::new(), truncated: true });
}

#[test]
fn a_time_before_1970_is_a_time() {
    let ground = Fixture::new();
    let path = ground.file("logs/a", 1);
    let long_ago = SystemTime::UNIX_EPOCH - Duration::from_millis(1_500);
    File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    assert_eq!(
        list(&ground.access(&["logs"]), &CancellationToken::new()).entries[0].modified,
        long_ago
    );
}

/// `cargo test --release --lib costs_of_a_catalogue -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs_of_a_catalogue() {
    let ground = Fixture::new();
    for directory in 0..100 {
        for file in 0..1000 {
            ground.file(&format!("logs/{directory}/{file}.log"), file);
        }
    }
    let access = ground.access(&["logs"]);
    for _ in 0..5 {
        let start = Instant::now();
        let listed = list(&access, &CancellationToken::new()).entries.len();
        println!("{listed} of 100,000 logs: {:?}", start.elapsed());
    }
}
