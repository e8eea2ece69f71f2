use std::cell::Cell;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::log::rotated::{Followed, Listing, while_renamed};

/// Longer than the time after which a change is trusted to be seen.
const LATER: Duration = Duration::from_secs(10);

struct Scene {
    directory: TempDir,
    access: Access,
    log: LogPath,
    known: KnownPast,
}

impl Scene {
    fn new(files: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The oldest first: the times of creation may decide what the numbers mean.
        for name in files.iter().rev() {
            fs::write(directory.path().join(name), text(name)).unwrap();
        }
        let access = Access::new([directory.path()]).unwrap();
        let path = directory.path().join("a.log");
        let log = access.locate(path.as_os_str().as_bytes()).unwrap();
        let scene = Self { directory, access, log, known: KnownPast::default() };
        scene.let_clocks_go_on();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names of the past and what names each file.
    fn files_at(&self, now: SystemTime) -> Vec<(String, Arc<Identified>)> {
        let files = self.known.files_at(&self.access, &self.log, now, |_| true);
        let name =
            |file: &PastFile| file.path.as_path().strip_prefix(self.path("")).unwrap().to_owned();
        files.iter().map(|(file, it)| (name(file).display().to_string(), Arc::clone(it))).collect()
    }

    /// The same as if everything had been at rest for long.
    fn files(&self) -> Vec<(String, Arc<Identified>)> {
        self.files_at(SystemTime::now() + LATER)
    }

    fn names(&self) -> Vec<String> {
        self.files().into_iter().map(|(name, _)| name).collect()
    }

    fn directories_read(&self) -> u64 {
        self.access.metrics().directories.get()
    }

    /// Waits until a change would get another time than the last one got. Clocks are coarse.
    fn let_clocks_go_on(&self) {
        let elsewhere = tempfile::tempdir_in(self.directory.path().parent().unwrap()).unwrap();
        let probe = || {
            fs::write(elsewhere.path().join("probe"), "x").unwrap();
            fs::metadata(elsewhere.path().join("probe")).unwrap().modified().unwrap()
        };
        let (first, start) = (probe(), Instant::now());
        while probe() == first {
            assert!(start.elapsed() < Duration::from_secs(10), "the clock stands still");
        }
    }
}

/// The content of a file: longer than a signature, and its own.
fn text(name: &str) -> String {
    format!("this is {name}\n").repeat(40)
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let scene = Scene::new(&["a.log", "a.log.1", "a.log.2"]);
    fs::create_dir(scene.path("old")).unwrap();
    fs::write(scene.path("old/a.log.3"), text("3")).unwrap();
    scene.let_clocks_go_on();
    let first = scene.files();
    assert_eq!(first.len(), 3);
    let read = scene.directories_read();
    assert!(read >= 2, "{read}");
    for _ in 0..3 {
        let again = scene.files();
        let is_same = first
            .iter()
            .zip(&again)
            .all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(&one.1, &other.1));
        assert!(is_same && again.len() == 3, "{again:?}");
    }
    assert_eq!(scene.directories_read(), read);
}

#[test]
fn what_changed_a_moment_ago_is_read_again() {
    let scene = Scene::new(&["a.log", "a.log.1"]);
    let first = scene.files_at(SystemTime::now());
    let read = scene.directories_read();
    let second = scene.files_at(SystemTime::now());
    assert!(scene.directories_read() > read);
    assert!(!Arc::ptr_eq(&first[0].1, &second[0].1), "the file was made a moment ago, too");
    // The clock was set back since.
    let past = SystemTime::now() - LATER;
    let read = scene.directories_read();
    scene.files_at(past);
    scene.files_at(past);
    assert!(scene.directories_read() >= read + 2);
}

#[test]
fn each_change_is_seen_at_once() {
    let scene = Scene::new(&["a.log", "a.log.1", "a.log.2"]);
    let rename = |from: &str, to: &str| fs::rename(scene.path(from), scene.path(to)).unwrap();
    type Change<'a> = Box<dyn Fn() + 'a>;
    let changes: [(&str, Change<'_>, &[&str]); 9] = [
        ("nothing", Box::new(|| ()), &["a.log.2", "a.log.1"]),
        (
            "a rotation",
            Box::new(|| {
                rename("a.log.2", "a.log.3");
                rename("a.log.1", "a.log.2");
                rename("a.log", "a.log.1");
                fs::write(scene.path("a.log"), text("new")).unwrap();
            }),
            &["a.log.3", "a.log.2", "a.log.1"],
        ),
        (
            "a compression",
            Box::new(|| {
                // The store knows how to read it, and this test needs no compressor.
                fs::write(scene.path("a.log.3.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03").unwrap();
                fs::remove_file(scene.path("a.log.3")).unwrap();
            }),
            &["a.log.3.gz", "a.log.2", "a.log.1"],
        ),
        (
            "a removal",
            Box::new(|| fs::remove_file(scene.path("a.log.3.gz")).unwrap()),
            &["a.log.2", "a.log.1"],
        ),
        (
            "a directory of old files",
            Box::new(|| {
                fs::create_dir(scene.path("archive")).unwrap();
            }),
            &["a.log.2", "a.log.1"],
        ),
        (
            "a file in it",
            Box::new(|| rename("a.log.2", "archive/a.log.2")),
            &["archive/a.log.2", "a.log.1"],
        ),
        (
            "another directory with its name",
            Box::new(|| {
                rename("archive", "hidden");
                fs::create_dir(scene.path("archive")).unwrap();
            }),
            &["a.log.1"],
        ),
        (
            "a link to the first one",
            Box::new(|| {
                fs::remove_dir(scene.path("archive")).unwrap();
                symlink(scene.path("hidden"), scene.path("archive")).unwrap();
            }),
            &["archive/a.log.2", "a.log.1"],
        ),
        (
            "a link behind it that leads elsewhere",
            Box::new(|| {
                fs::create_dir(scene.path("empty")).unwrap();
                fs::remove_file(scene.path("archive")).unwrap();
                symlink(scene.path("empty"), scene.path("archive")).unwrap();
            }),
            &["a.log.1"],
        ),
    ];
    for (what, change, expected) in changes {
        change();
        let mut names = scene.names();
        // Where the numbers are those of different directories, time alone decides the order.
        let mut expected = expected.to_vec();
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{what}");
        scene.let_clocks_go_on();
        let read = scene.directories_read();
        assert_eq!(scene.names().len(), expected.len(), "{what}");
        assert_eq!(scene.directories_read(), read, "{what}: it is trusted when the next one comes");
    }
}

#[test]
fn files_that_are_renamed_before_they_are_opened_are_listed_under_their_new_names() {
    let scene = Scene::new(&["a.log", "a.log.1", "a.log.2"]);
    let is_shifted = Cell::new(false);
    let shift = |_: &PastFile| {
        if !is_shifted.replace(true) {
            for number in [2, 1] {
                let (from, to) = (format!("a.log.{number}"), format!("a.log.{}", number + 1));
                fs::rename(scene.path(&from), scene.path(&to)).unwrap();
            }
        }
        true
    };
    let files = scene.known.files_at(&scene.access, &scene.log, SystemTime::now(), shift);
    let name = |file: &PastFile| file.path.as_path().file_name().unwrap().to_owned();
    let names: Vec<_> = files.iter().map(|(file, _)| name(file)).collect();
    assert_eq!(names, ["a.log.3", "a.log.2"]);
}

#[test]
fn a_search_goes_on_while_files_are_renamed() {
    let scene = Scene::new(&["a.log", "a.log.1"]);
    let rename = |from: usize, to: usize| {
        let path = |number: usize| scene.path(&format!("a.log.{number}"));
        fs::rename(path(from), path(to)).unwrap();
    };
    let (mut looks, mut renamed) = (0, Instant::now());
    let found = while_renamed(&scene.access, &scene.log, || {
        looks += 1;
        if looks == 5 {
            return Some("found");
        }
        // Each look comes to the file a moment too late.
        renamed = Instant::now();
        rename(looks, looks + 1);
        None
    });
    assert_eq!(found, Some("found"));
    // The last renaming was a moment ago, and a compressor may not have made the next file yet.
    let found = while_renamed(&scene.access, &scene.log, || {
        (renamed.elapsed() >= places::REST_TIME / 2).then_some("late")
    });
    assert_eq!(found, Some("late"));
}

#[test]
fn a_search_for_what_is_gone_ends() {
    let scene = Scene::new(&["a.log", "a.log.1"]);
    let start = Instant::now();
    while !places::are_at_rest(&scene.access, &scene.log) {
        assert!(start.elapsed() < Duration::from_secs(10), "something is renamed all the time");
    }
    let mut looks = 0;
    let mut look = || {
        looks += 1;
        None::<()>
    };
    assert_eq!(while_renamed(&scene.access, &scene.log, &mut look), None);
    assert_eq!(looks, 2, "nothing is renamed");
    let mut number = 1;
    let since = Instant::now();
    let found = while_renamed(&scene.access, &scene.log, || {
        let path = |number: usize| scene.path(&format!("a.log.{number}"));
        fs::rename(path(number), path(number + 1)).unwrap();
        number += 1;
        None::<()>
    });
    assert_eq!(found, None, "files are renamed all the time");
    assert!(since.elapsed() < 5 * MOVING_TIME_MAX, "{:?}", since.elapsed());
}

#[test]
fn a_file_that_changed_is_looked_at_again() {
    let scene = Scene::new(&["a.log", "a.log.1", "a.log.2"]);
    let first = scene.files();
    let other = text("anew");
    let mut file = fs::File::options().write(true).open(scene.path("a.log.1")).unwrap();
    let was = file.metadata().unwrap().modified().unwrap();
    file.write_all(other.as_bytes()).unwrap();
    // Its time is set back, as an archiver does.
    file.set_modified(was).unwrap();
    let read = scene.directories_read();
    let again = scene.files();
    assert_eq!(scene.directories_read(), read, "no name has changed");
    assert!(Arc::ptr_eq(&first[0].1, &again[0].1));
    assert!(other.as_bytes().starts_with(&again[1].1.head[..16]), "{:?}", again[1]);
    assert!(!first[1].1.generation.is(&again[1].1.generation));
}

#[test]
fn what_may_no_longer_be_read_is_not_listed() {
    let scene = Scene::new(&["a.log", "a.log.1"]);
    assert_eq!(scene.names(), ["a.log.1"]);
    scene.access.adopt(Access::new([scene.path("a.log")]).unwrap());
    assert_eq!(scene.names(), [""; 0]);
    scene.access.adopt(Access::new([scene.path("")]).unwrap());
    assert_eq!(scene.names(), ["a.log.1"]);
}

#[test]
fn a_name_that_nothing_tells_of_is_found_after_a_while() {
    let scene = Scene::new(&["a.log", "a.log.1"]);
    scene.names();
    let read = scene.directories_read();
    let mut known = scene.known.0.lock();
    let reading = Arc::into_inner(known.take().unwrap()).unwrap();
    let at = reading.at.checked_sub(KEPT_TIME).unwrap();
    *known = Some(Arc::new(Reading { at, ..reading }));
    drop(known);
    scene.names();
    assert!(scene.directories_read() > read);
}

#[test]
fn a_link_has_a_past_while_nothing_has_the_name_to_which_it_leads() {
    let scene = Scene::new(&[]);
    fs::create_dir(scene.path("d")).unwrap();
    fs::write(scene.path("d/a.log.1"), text("1")).unwrap();
    fs::write(scene.path("d/a.log"), text("present")).unwrap();
    symlink("d/a.log", scene.path("current.log")).unwrap();
    symlink("current.log", scene.path("newest.log")).unwrap();
    for link in ["current.log", "newest.log"] {
        let log = scene.access.locate(scene.path(link).as_os_str().as_bytes()).unwrap();
        let names = || {
            let files = KnownPast::default().files(&scene.access, &log, |_| true);
            files.into_iter().map(|(file, _)| file.path.as_path().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(), [scene.path("d/a.log.1")], "{link}");
        fs::rename(scene.path("d/a.log"), scene.path("d/a.log.2")).unwrap();
        assert_eq!(names().len(), 2, "{link}: a rotation has not made the next file yet");
        fs::rename(scene.path("d/a.log.2"), scene.path("d/a.log")).unwrap();
    }
    // A link to nothing outside the prefixes leads nowhere.
    symlink("/outside/a.log", scene.path("outside.log")).unwrap();
    let log = scene.access.locate(scene.path("outside.log").as_os_str().as_bytes()).unwrap();
    assert!(KnownPast::default().files(&scene.access, &log, |_| true).is_empty());
}

#[test]
fn a_file_with_the_same_inode_on_another_file_system_is_another_file() {
    let scene = Scene::new(&["a.log", "a.log.1", "a.log.2"]);
    let mut files = list(&scene.access, &scene.log);
    let before = files[1].open(&scene.access).unwrap();
    let own = before.identity();
    let elsewhere = Identity { device: own.device ^ 1, ..own };
    files[0].identity = elsewhere;
    assert!(files[0].open(&scene.access).is_none());
    let next = Identity { inode: own.inode ^ 1, ..own };
    files.push(PastFile { identity: next, ..files[1].clone() });
    files.iter_mut().for_each(|file| file.born = Some(SystemTime::UNIX_EPOCH));
    let followed =
        Followed { born: SystemTime::now(), files: vec![elsewhere], contents: Vec::new() };
    let are_followed: Vec<bool> =
        files.iter().map(|file| followed.has_followed(&scene.access, file)).collect();
    assert_eq!(are_followed, [true, false, false]);
    let listing = Listing { at: Instant::now(), files };
    let (at, _) = listing.next(&scene.access, &before, &followed).unwrap();
    assert_eq!(at, 2, "the one after the file with this inode on this file system");
}
