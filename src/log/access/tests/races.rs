//! What moves while it is looked at.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{RenameFlags, renameat_with};

use super::*;

/// Runs `disturb` in a thread again and again while `look` runs here for a while and at least so
/// often.
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
fn a_swapped_link_never_leaks_a_byte() {
    let ground = Fixture::new();
    let secret = ground.file("etc/secret", "secret");
    ground.link("srv/logs/link", secret);
    for access in ground.access(&["srv/logs"]) {
        let [a, link] = ["srv/logs/a", "srv/logs/link"].map(|name| ground.path(name));
        let (mut read_inside, mut refused) = (0, 0);
        race(
            2_000,
            move || exchange(&a, &link),
            || match open_and_read(&access, &ground.path("srv/logs/a")) {
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
            "the race was run: {read_inside} read, {refused} refused"
        );
    }
}

#[test]
fn a_directory_swapped_for_a_link_never_leaks_a_byte() {
    let ground = Fixture::new();
    ground.file("etc/f", "secret");
    ground.file("srv/logs/dir/f", "inside");
    ground.link("srv/logs/link", ground.path("etc"));
    for access in ground.access(&["srv/logs"]) {
        let [dir, link] = ["srv/logs/dir", "srv/logs/link"].map(|name| ground.path(name));
        race(
            2_000,
            move || exchange(&dir, &link),
            || match open_and_read(&access, &ground.path("srv/logs/dir/f")) {
                Ok(content) => assert_eq!(content, "inside"),
                Err(refusal) => assert_eq!(refusal, Forbidden),
            },
        );
    }
}

/// As `read`, where open and identify may rightly differ.
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
fn a_file_that_is_replaced_all_the_time_is_found_every_time() {
    let ground = Fixture::new();
    for access in ground.access(&["srv/logs"]) {
        let [a, new] = ["srv/logs/a", "srv/logs/a.new"].map(|name| ground.path(name));
        race(
            2_000,
            move || {
                fs::write(&new, "inside").unwrap();
                fs::rename(&new, &a).unwrap();
            },
            || {
                assert_eq!(
                    open_and_read(&access, &ground.path("srv/logs/a")).as_deref(),
                    Ok("inside")
                )
            },
        );
    }
}

/// The kernel's own proof does not ask for places, which move with the root.
#[test]
fn a_root_that_moves_to_and_fro_is_never_foreign() {
    let ground = Fixture::new();
    let [access, _] = ground.access(&["srv/logs"]);
    let [logs, moved] = ["srv/logs", "srv/moved"].map(|name| ground.path(name));
    race(
        2_000,
        move || {
            fs::rename(&logs, &moved).unwrap();
            fs::rename(&moved, &logs).unwrap();
        },
        || assert_eq!(open_and_read(&access, &ground.path("srv/logs/a")).as_deref(), Ok("inside")),
    );
}

#[test]
fn a_root_replaced_by_a_link_stays_the_opened_directory() {
    let ground = Fixture::new();
    ground.file("etc/a", "secret");
    ground.file("etc/secret", "secret");
    let top = ground.path("srv/logs");
    for access in ground.access(&["srv/logs"]) {
        fs::rename(&top, ground.path("srv/logs2")).unwrap();
        assert_eq!(ground.read(&access, "srv/logs/a").as_deref(), Ok("inside"), "moved away");
        symlink(ground.path("etc"), &top).unwrap();
        assert_eq!(ground.read(&access, "srv/logs/a").as_deref(), Ok("inside"));
        assert_eq!(ground.read(&access, "srv/logs/secret"), Err(NotFound));
        fs::remove_file(&top).unwrap();
        symlink("/", &top).unwrap();
        assert_eq!(ground.read(&access, "srv/logs/etc/passwd"), Err(NotFound));
        fs::remove_file(&top).unwrap();
        fs::rename(ground.path("srv/logs2"), &top).unwrap();
    }
}

#[test]
fn a_directory_above_the_root_replaced_by_a_link_moves_nobody() {
    let ground = Fixture::new();
    ground.file("etc/logs/a", "secret");
    for access in ground.access(&["srv/logs"]) {
        fs::rename(ground.path("srv"), ground.path("srv2")).unwrap();
        symlink(ground.path("etc"), ground.path("srv")).unwrap();
        assert_eq!(ground.read(&access, "srv/logs/a").as_deref(), Ok("inside"));
        fs::remove_file(ground.path("srv")).unwrap();
        fs::rename(ground.path("srv2"), ground.path("srv")).unwrap();
    }
}

#[test]
fn a_root_removed_and_made_again_is_the_new_one() {
    let ground = Fixture::new();
    let top = ground.path("srv/logs");
    for access in ground.access(&["srv/logs"]) {
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(ground.read(&access, "srv/logs/a"), Err(NotFound));
        assert_eq!(ground.read(&access, "srv/other"), Err(Forbidden));
        assert!(access.roots().unwrap().is_empty(), "a removed directory is no ground to stand on");
        ground.file("srv/logs/a", "new");
        assert_eq!(ground.read(&access, "srv/logs/a").as_deref(), Ok("new"));
        ground.file("srv/other/a", "swapped");
        exchange(&top, &ground.path("srv/other"));
        assert_eq!(ground.read(&access, "srv/logs/a").as_deref(), Ok("swapped"));
        fs::remove_dir_all(ground.path("srv/other")).unwrap();
        fs::remove_dir_all(&top).unwrap();
        symlink("/", &top).unwrap();
        assert_eq!(
            ground.read(&access, "srv/logs/etc/passwd"),
            Err(NotFound),
            "nothing is left to stay with"
        );
        fs::remove_file(&top).unwrap();
        ground.file("srv/logs/a", "inside");
    }
}

#[test]
fn an_opened_file_stays_the_one_that_was_checked() {
    let ground = Fixture::new();
    let secret = ground.file("etc/secret", "secret");
    for access in ground.access(&["srv/logs"]) {
        let log = access.locate(ground.path("srv/logs/a").as_os_str().as_bytes()).unwrap();
        let found = access.find(&log).unwrap();
        fs::remove_file(ground.path("srv/logs/a")).unwrap();
        symlink(&secret, ground.path("srv/logs/a")).unwrap();
        let mut content = String::new();
        resolve::open_for_reading(found.object.as_fd())
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "inside");
        fs::remove_file(ground.path("srv/logs/a")).unwrap();
        ground.file("srv/logs/a", "inside");
    }
}

/// `cargo test --release --lib costs_of_access -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn costs_of_access() {
    let ground = Fixture::new();
    ground.link("srv/logs/link", "a");
    ground.link("srv/logs/out", "/etc/passwd");
    ground.file("srv/pods/p", "pod");
    ground.link("srv/logs/pod", ground.path("srv/pods/p"));
    let [access, fallback] = ground.access(&["srv/logs", "srv/pods"]);
    let measure = |what: &str, run: &dyn Fn() -> bool| {
        let start = Instant::now();
        let answered = (0..50_000).filter(|_| run()).count();
        println!("{what}: {:.2} µs, {answered} found", start.elapsed().as_secs_f64() * 20.0);
    };
    let path = ground.path("srv/logs/a");
    measure("locate", &|| access.locate(path.as_os_str().as_bytes()).is_ok());
    for (name, access) in [("openat2", &access), ("openat", &fallback)] {
        for file in ["a", "link", "pod", "out", "none"] {
            let log = access
                .locate(ground.path(&format!("srv/logs/{file}")).as_os_str().as_bytes())
                .unwrap();
            measure(&format!("{name} open {file}"), &|| access.open(&log).is_ok());
            measure(&format!("{name} identify {file}"), &|| access.identify(&log).is_ok());
        }
    }
}
