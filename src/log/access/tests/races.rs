//! Files and directories that are replaced while they are looked up.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{RenameFlags, renameat_with};

use super::*;

/// Repeats `disturb` in a thread while it repeats `look` here for a second, and at least
/// `looks_min` times.
fn race(looks_min: usize, mut disturb: impl FnMut() + Send + 'static, mut look: impl FnMut()) {
    let stop = Arc::new(AtomicBool::new(false));
    let disturber = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                disturb();
            }
        }
    });
    let start = Instant::now();
    let mut looks = 0;
    while looks < looks_min || start.elapsed() < Duration::from_secs(1) {
        look();
        looks += 1;
    }
    stop.store(true, Ordering::Relaxed);
    disturber.join().unwrap();
}

fn exchange(a: &Path, b: &Path) {
    renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn a_file_swapped_for_a_link_never_leaks_a_byte() {
    let fixture = Fixture::new();
    let secret = fixture.file("etc/secret", "secret");
    fixture.link("srv/logs/link", secret);
    for access in fixture.access(&["srv/logs"]) {
        let [a, link] = ["srv/logs/a", "srv/logs/link"].map(|name| fixture.path(name));
        let (mut read_inside, mut refused) = (0, 0);
        race(
            2_000,
            move || exchange(&a, &link),
            || match open_and_read(&access, &fixture.path("srv/logs/a")) {
                Ok(content) => {
                    assert_eq!(content, "inside");
                    read_inside += 1;
                }
                Err(refusal) => {
                    assert_eq!(refusal, Forbidden);
                    refused += 1;
                }
            },
        );
        assert!(
            read_inside > 0 && refused > 0,
            "both results must occur: {read_inside} read, {refused} refused"
        );
    }
}

#[test]
fn a_directory_swapped_for_a_link_never_leaks_a_byte() {
    let fixture = Fixture::new();
    fixture.file("etc/f", "secret");
    fixture.file("srv/logs/dir/f", "inside");
    fixture.link("srv/logs/link", fixture.path("etc"));
    for access in fixture.access(&["srv/logs"]) {
        let [dir, link] = ["srv/logs/dir", "srv/logs/link"].map(|name| fixture.path(name));
        race(
            2_000,
            move || exchange(&dir, &link),
            || match open_and_read(&access, &fixture.path("srv/logs/dir/f")) {
                Ok(content) => assert_eq!(content, "inside"),
                Err(refusal) => assert_eq!(refusal, Forbidden),
            },
        );
    }
}

/// Like `read`, but without comparing `open` and `identify`, which may differ during a race.
fn open_and_read(access: &Access, path: &Path) -> Result<String, Refusal> {
    let mut content = String::new();
    access
        .open(&access.locate(path.as_os_str().as_bytes())?)?
        .into_file()
        .read_to_string(&mut content)
        .unwrap();
    Ok(content)
}

#[test]
fn a_file_that_is_replaced_again_and_again_is_always_found() {
    let fixture = Fixture::new();
    for access in fixture.access(&["srv/logs"]) {
        let [a, new] = ["srv/logs/a", "srv/logs/a.new"].map(|name| fixture.path(name));
        race(
            2_000,
            move || {
                fs::write(&new, "inside").unwrap();
                fs::rename(&new, &a).unwrap();
            },
            || {
                assert_eq!(
                    open_and_read(&access, &fixture.path("srv/logs/a")).as_deref(),
                    Ok("inside")
                )
            },
        );
    }
}

/// Only with openat2, whose proof does not depend on paths.
#[test]
fn a_log_is_found_while_its_root_is_renamed_back_and_forth() {
    let fixture = Fixture::new();
    let [access, _] = fixture.access(&["srv/logs"]);
    let [logs, moved] = ["srv/logs", "srv/moved"].map(|name| fixture.path(name));
    race(
        2_000,
        move || {
            fs::rename(&logs, &moved).unwrap();
            fs::rename(&moved, &logs).unwrap();
        },
        || assert_eq!(open_and_read(&access, &fixture.path("srv/logs/a")).as_deref(), Ok("inside")),
    );
}

#[test]
fn a_root_that_is_replaced_by_a_link_is_still_the_opened_directory() {
    let fixture = Fixture::new();
    fixture.file("etc/a", "secret");
    fixture.file("etc/secret", "secret");
    let top = fixture.path("srv/logs");
    for access in fixture.access(&["srv/logs"]) {
        fs::rename(&top, fixture.path("srv/logs2")).unwrap();
        assert_eq!(fixture.read(&access, "srv/logs/a").as_deref(), Ok("inside"), "moved away");
        symlink(fixture.path("etc"), &top).unwrap();
        assert_eq!(fixture.read(&access, "srv/logs/a").as_deref(), Ok("inside"));
        assert_eq!(fixture.read(&access, "srv/logs/secret"), Err(NotFound));
        fs::remove_file(&top).unwrap();
        symlink("/", &top).unwrap();
        assert_eq!(fixture.read(&access, "srv/logs/etc/passwd"), Err(NotFound));
        fs::remove_file(&top).unwrap();
        fs::rename(fixture.path("srv/logs2"), &top).unwrap();
    }
}

#[test]
fn a_link_in_place_of_a_directory_above_the_root_is_not_followed() {
    let fixture = Fixture::new();
    fixture.file("etc/logs/a", "secret");
    for access in fixture.access(&["srv/logs"]) {
        fs::rename(fixture.path("srv"), fixture.path("srv2")).unwrap();
        symlink(fixture.path("etc"), fixture.path("srv")).unwrap();
        assert_eq!(fixture.read(&access, "srv/logs/a").as_deref(), Ok("inside"));
        fs::remove_file(fixture.path("srv")).unwrap();
        fs::rename(fixture.path("srv2"), fixture.path("srv")).unwrap();
    }
}

#[test]
fn a_root_that_is_removed_and_created_again_is_the_new_directory() {
    let fixture = Fixture::new();
    let top = fixture.path("srv/logs");
    for access in fixture.access(&["srv/logs"]) {
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(fixture.read(&access, "srv/logs/a"), Err(NotFound));
        assert_eq!(fixture.read(&access, "srv/other"), Err(Forbidden));
        assert!(access.roots().unwrap().is_empty(), "a removed directory is not a root");
        fixture.file("srv/logs/a", "new");
        assert_eq!(fixture.read(&access, "srv/logs/a").as_deref(), Ok("new"));
        fixture.file("srv/other/a", "swapped");
        exchange(&top, &fixture.path("srv/other"));
        assert_eq!(fixture.read(&access, "srv/logs/a").as_deref(), Ok("swapped"));
        fs::remove_dir_all(fixture.path("srv/other")).unwrap();
        fs::remove_dir_all(&top).unwrap();
        symlink("/", &top).unwrap();
        assert_eq!(
            fixture.read(&access, "srv/logs/etc/passwd"),
            Err(NotFound),
            "the opened directory no longer exists"
        );
        fs::remove_file(&top).unwrap();
        fixture.file("srv/logs/a", "inside");
    }
}

#[test]
fn the_file_that_is_opened_is_the_one_that_was_checked() {
    let fixture = Fixture::new();
    let secret = fixture.file("etc/secret", "secret");
    for access in fixture.access(&["srv/logs"]) {
        let log = access.locate(fixture.path("srv/logs/a").as_os_str().as_bytes()).unwrap();
        let found = access.find(&log).unwrap();
        fs::remove_file(fixture.path("srv/logs/a")).unwrap();
        symlink(&secret, fixture.path("srv/logs/a")).unwrap();
        let mut content = String::new();
        resolve::open_for_reading(found.object.as_fd())
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "inside");
        fs::remove_file(fixture.path("srv/logs/a")).unwrap();
        fixture.file("srv/logs/a", "inside");
    }
}

/// `cargo test --release --lib costs_of_access -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs_of_access() {
    let fixture = Fixture::new();
    fixture.link("srv/logs/link", "a");
    fixture.link("srv/logs/out", "/etc/passwd");
    fixture.file("srv/pods/p", "pod");
    fixture.link("srv/logs/pod", fixture.path("srv/pods/p"));
    let [access, fallback] = fixture.access(&["srv/logs", "srv/pods"]);
    let measure = |what: &str, run: &dyn Fn() -> bool| {
        let start = Instant::now();
        let answered = (0..50_000).filter(|_| run()).count();
        println!("{what}: {:.2} µs, {answered} found", start.elapsed().as_secs_f64() * 20.0);
    };
    let path = fixture.path("srv/logs/a");
    measure("locate", &|| access.locate(path.as_os_str().as_bytes()).is_ok());
    for (name, access) in [("openat2", &access), ("openat", &fallback)] {
        for file in ["a", "link", "pod", "out", "none"] {
            let log = access
                .locate(fixture.path(&format!("srv/logs/{file}")).as_os_str().as_bytes())
                .unwrap();
            measure(&format!("{name} open {file}"), &|| access.open(&log).is_ok());
            measure(&format!("{name} identify {file}"), &|| access.identify(&log).is_ok());
        }
    }
}
