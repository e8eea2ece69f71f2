//! Each decision of a tracker alone, on real files.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;

use parking_lot::Mutex;

use super::*;
#[cfg(feature = "faults")]
use crate::log::failpoints::Call;
use crate::log::timeline::OLD_FILES_MAX;

#[cfg(feature = "faults")]
const DEADLINE: Duration = Duration::from_secs(20);

/// More files than are read as late files.
const FILES: usize = OLD_FILES_MAX + 3;

/// A tracker of the only log in a directory, which has this content.
fn tracker_of(path: &Path, content: &str, rotate_wait: Duration) -> RotationTracker {
    std::fs::write(path, content).unwrap();
    let access = Arc::new(Access::new([path.parent().unwrap()]).unwrap());
    let log = access.locate(path.as_os_str().as_bytes()).unwrap();
    let mut tracker = RotationTracker::new(Arc::clone(&access), log.clone(), rotate_wait);
    tracker.first_poll(access.open(&log), None).unwrap();
    tracker
}

#[test]
fn a_file_that_began_before_earlier_ones_were_found_is_published_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let aside = |number: usize| directory.path().join(format!("a.log.{number}"));
    let mut tracker = tracker_of(&path, "", Duration::from_secs(5));
    for number in 0..FILES {
        std::fs::rename(&path, aside(number)).unwrap();
        std::fs::write(&path, format!("file {number}\n")).unwrap();
    }
    let (wake, began) = (Wake::default(), Instant::now());
    let (mut bytes, mut reasons) = (Vec::new(), Vec::new());
    wake.wake_for_appearance();
    for milliseconds in 0..200 {
        // The other events come after the last file has begun.
        if milliseconds == 20 {
            (0..FILES).for_each(|number| wake.record_rename(&path, &aside(number), true, false));
            (1..FILES).for_each(|_| wake.wake_for_appearance());
        }
        for event in tracker.poll(began + Duration::from_millis(milliseconds), &wake).events {
            match event {
                FileEvent::Began { reason, .. } => reasons.push(reason),
                FileEvent::Bytes { bytes: read, .. } => bytes.extend_from_slice(&read),
                other => panic!("{other:?}"),
            }
        }
    }
    let order = [FILES - 1].into_iter().chain(0..FILES - 1);
    let expected: String = order.map(|number| format!("file {number}\n")).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{reasons:?}");
    assert_eq!(reasons.last(), Some(&Reason::Back), "{reasons:?}");
}

#[test]
fn a_file_that_was_followed_is_not_found_as_one_that_was_missed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let [first, second] = ["a.log.1", "a.log.2"].map(|name| directory.path().join(name));
    let rotate_wait = Duration::from_millis(20);
    let mut tracker = tracker_of(&path, "first\n", rotate_wait);
    let (wake, began) = (Wake::default(), Instant::now());
    let mut at = 0;
    let mut bytes = Vec::new();
    let mut poll_for = |milliseconds: u64| {
        let mut are_files_missing = false;
        for now in at..at + milliseconds {
            let poll = tracker.poll(began + Duration::from_millis(now), &wake);
            for event in poll.events {
                are_files_missing |= matches!(event, FileEvent::FilesMissing);
                if let FileEvent::Bytes { bytes: read, .. } = event {
                    bytes.extend_from_slice(&read);
                }
            }
        }
        at += milliseconds;
        (are_files_missing, String::from_utf8(bytes.clone()).unwrap())
    };
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).unwrap();
        wake.record_rename(from, to, from == path, to == path);
    };
    rename(&path, &first);
    std::fs::write(&path, "second\n").unwrap();
    wake.wake_for_appearance();
    assert_eq!(poll_for(5_000), (false, "second\n".to_owned()));
    rename(&path, &second);
    rename(&first, &path);
    assert_eq!(poll_for(5_000), (false, "second\nfirst\n".to_owned()));
    rename(&path, &first);
    std::fs::write(&path, "third\n").unwrap();
    // Another file had the name in between.
    (0..2).for_each(|_| wake.wake_for_appearance());
    assert_eq!(poll_for(5_000), (true, "second\nfirst\nthird\n".to_owned()));
}

#[test]
fn a_file_whose_renaming_is_told_long_after_it_was_followed_is_published_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let rotate_wait = Duration::from_millis(20);
    let mut tracker = tracker_of(&path, "", rotate_wait);
    let (wake, began) = (Wake::default(), Instant::now());
    let (mut bytes, mut at) = (Vec::new(), 0);
    let mut poll_for_a_second = || {
        for now in at..at + 1000 {
            for event in tracker.poll(began + Duration::from_millis(now), &wake).events {
                if let FileEvent::Bytes { bytes: read, .. } = event {
                    bytes.extend_from_slice(&read);
                }
            }
        }
        at += 1000;
        String::from_utf8(bytes.clone()).unwrap()
    };
    let aside = |number: usize| directory.path().join(format!("a.log.{number}"));
    for number in 0..3 {
        std::fs::write(&path, format!("file {number}\n")).unwrap();
        poll_for_a_second();
        std::fs::rename(&path, aside(number)).unwrap();
    }
    std::fs::write(&path, "file 3\n").unwrap();
    let all = "file 0\nfile 1\nfile 2\nfile 3\n";
    assert_eq!(poll_for_a_second(), all);
    (0..3).for_each(|number| wake.record_rename(&path, &aside(number), true, false));
    assert_eq!(poll_for_a_second(), all);
}

/// What the watcher has not handled yet: the path that a file had, if any, and the one that it has.
type Unhandled = Arc<Mutex<Vec<(Option<PathBuf>, PathBuf)>>>;

#[test]
fn a_watcher_that_stands_still_between_two_events_makes_no_file_missing_and_no_other_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let aside = |number: usize| directory.path().join(format!("a.log.{number}"));
    let mut tracker = tracker_of(&path, "first\n", Duration::from_secs(5));
    let (wake, began) = (Arc::new(Wake::default()), Instant::now());
    let unhandled = Unhandled::default();
    let (events, of, log) = (Arc::clone(&unhandled), Arc::downgrade(&wake), path.clone());
    let handle = move |count: usize| {
        let wake = of.upgrade().unwrap();
        let handled = events.lock().drain(..count).collect::<Vec<_>>();
        for (from, to) in handled {
            match from {
                Some(from) => wake.record_rename(&from, &to, from == log, to == log),
                None => wake.wake_for_appearance(),
            }
            wake.wake();
        }
    };
    let (handle_all, events) = (handle.clone(), Arc::clone(&unhandled));
    wake.on_settle(move || {
        let all = events.lock().len();
        handle_all(all);
    });
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).unwrap();
        unhandled.lock().push((Some(from.to_owned()), to.to_owned()));
    };
    let create = |content: &str| {
        std::fs::write(&path, content).unwrap();
        unhandled.lock().push((None, path.clone()));
    };
    let mut at = 0;
    // Handles so many events, and returns what is read after that.
    let mut read_after = |count: usize| {
        handle(count);
        let polls = at..at + 500;
        at = polls.end;
        let mut bytes = Vec::new();
        for event in
            polls.flat_map(|now| tracker.poll(began + Duration::from_millis(now), &wake).events)
        {
            assert!(!matches!(event, FileEvent::FilesMissing));
            if let FileEvent::Bytes { bytes: read, .. } = event {
                bytes.extend_from_slice(&read);
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(read_after(0), "");

    rename(&path, &aside(1));
    rename(&aside(1), &path);
    assert_eq!(read_after(1), "", "it has its name back");

    rename(&path, &aside(1));
    rename(&aside(1), &aside(2));
    create("second\n");
    assert_eq!(read_after(1), "second\n", "the one before has moved on");

    rename(&path, &aside(3));
    create("third\n");
    rename(&path, &aside(4));
    rename(&aside(4), &aside(5));
    create("fourth\n");
    assert_eq!(read_after(2), "third\nfourth\n", "one had the name in between");
}

#[cfg(feature = "faults")]
#[test]
fn files_that_follow_each_other_while_a_poll_stands_still_are_published_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let aside = |number: usize| directory.path().join(format!("a.log.{number}"));
    let mut tracker = tracker_of(&path, "", Duration::from_secs(5));
    let faults = tracker.access.faults().clone();
    let wake = Wake::default();
    let rotate = |number: usize| {
        std::fs::rename(&path, aside(number)).unwrap();
        std::fs::write(&path, format!("file {number}\n")).unwrap();
        wake.record_rename(&path, &aside(number), true, false);
        wake.wake_for_appearance();
    };
    rotate(1);
    faults.hang(Call::Open, aside(1));
    let mut events = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + DEADLINE;
            while faults.hanging() == 0 {
                assert!(Instant::now() < until, "the renamed file is not opened");
                std::thread::sleep(Duration::from_millis(1));
            }
            (2..4).for_each(rotate);
            // Longer than an event may be late.
            std::thread::sleep(Duration::from_millis(1100));
            faults.mend();
        });
        let until = Instant::now() + DEADLINE;
        let is_last = |event: &FileEvent| matches!(event, FileEvent::Bytes { bytes, .. } if bytes == "file 3\n");
        while !events.iter().any(is_last) {
            assert!(Instant::now() < until, "{events:?}");
            events.extend(tracker.poll(Instant::now(), &wake).events);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let told = events.iter().map(|event| match event {
        FileEvent::Began { reason, .. } => format!("{reason:?}"),
        FileEvent::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
        other => format!("{other:?}"),
    });
    let expected = ["Rotated", "file 1\n", "Rotated", "file 2\n", "Rotated", "file 3\n"];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn rotations_that_push_out_files_wait_a_little_for_viewers_that_are_behind() {
    for are_behind in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut tracker = tracker_of(&path, "", Duration::from_secs(5));
        tracker.set_viewers_behind(are_behind);
        let (wake, began) = (Wake::default(), Instant::now());
        for number in 0..FILES {
            let aside = directory.path().join(format!("a.log.{number}"));
            std::fs::rename(&path, &aside).unwrap();
            std::fs::write(&path, format!("file {number}\n")).unwrap();
            wake.record_rename(&path, &aside, true, false);
        }
        let mut rotate_until = |from: u64, to: u64| {
            let polls = (from..to).map(|at| began + Duration::from_millis(at));
            let events = polls.flat_map(|now| tracker.poll(now, &wake).events);
            events.filter(|event| matches!(event, FileEvent::Began { .. })).count()
        };
        let hold = HOLD_TIME.as_millis() as u64;
        let at_first = rotate_until(0, hold);
        assert_eq!(at_first, if are_behind { OLD_FILES_MAX } else { FILES }, "{are_behind}");
        assert_eq!(at_first + rotate_until(hold, 3 * hold), FILES, "{are_behind}");
    }
}

#[test]
fn a_late_file_that_was_closed_for_a_viewer_is_read_on() {
    let rotate_wait = Duration::from_secs(5);
    for (has_room, is_over) in [(true, false), (false, false), (false, true)] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        let mut tracker = tracker_of(&path, "first\n", rotate_wait);
        let (wake, began) = (Wake::default(), Instant::now());
        let (aside, unlinked) = (directory.path().join("a.log.1"), directory.path().join("b"));
        for (old, content, from) in [(&aside, "second\n", 0), (&unlinked, "third\n", 100)] {
            std::fs::rename(&path, old).unwrap();
            std::fs::write(&path, content).unwrap();
            for milliseconds in from..from + 100 {
                tracker.doubt_name();
                tracker.poll(began + Duration::from_millis(milliseconds), &wake);
            }
        }
        let held = File::options().append(true).open(&unlinked).unwrap();
        std::fs::remove_file(&unlinked).unwrap();
        tracker.close_late_files(2);
        assert!(tracker.has_closed_late_files());
        tracker.set_has_room(has_room);
        std::fs::write(&aside, "first\nlate\n").unwrap();
        (&held).write_all(b"unlinked\n").unwrap();
        let later = Duration::from_secs(if is_over { 6 } else { 1 });
        let poll = tracker.poll(began + later, &wake);
        let bytes = poll.events.iter().filter_map(|event| match event {
            FileEvent::Bytes { bytes, .. } => Some(std::str::from_utf8(bytes).unwrap()),
            _ => None,
        });
        let late = if has_room || is_over { "late\n" } else { "" };
        assert_eq!(bytes.collect::<String>(), format!("{late}unlinked\n"));
        assert_eq!(tracker.has_closed_late_files(), !has_room && !is_over);
    }
}

#[test]
fn a_file_that_the_next_one_overwrites_by_a_rename_was_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let mut tracker = tracker_of(&path, "", Duration::from_secs(5));
    let next = directory.path().join("next");
    let renaming = std::thread::spawn(move || {
        for _ in 0..3000 {
            std::fs::write(&next, "").unwrap();
            std::fs::rename(&next, &path).unwrap();
        }
    });
    let (wake, mut now, mut rotations) = (Wake::default(), Instant::now(), 0);
    while !renaming.is_finished() {
        now += ROTATION_INTERVAL.max(SETTLE_TIME);
        for event in tracker.poll(now, &wake).events {
            if let FileEvent::Began { reason, .. } = event {
                assert_eq!(reason, Reason::Replaced, "after {rotations} others");
                rotations += 1;
            }
        }
    }
    renaming.join().unwrap();
    assert!(rotations > 0);
}

#[test]
fn a_file_that_was_not_held_is_recognised_by_its_head() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let access = Arc::new(Access::new([directory.path()]).unwrap());
    let log = access.locate(path.as_os_str().as_bytes()).unwrap();
    for (content, is_known) in [("", false), ("one", false), ("line\n", true)] {
        std::fs::write(&path, content).unwrap();
        let follow = |remembered| {
            let mut tracker =
                RotationTracker::new(Arc::clone(&access), log.clone(), Duration::from_secs(5));
            let poll = tracker.first_poll(access.open(&log), remembered).unwrap();
            let began = poll.events.iter().rev().find_map(|event| match event {
                FileEvent::Began { generation, .. } => Some(*generation),
                _ => None,
            });
            (began.unwrap(), tracker.remembered_file())
        };
        let (before, remembered) = follow(None);
        let (after, _) = follow(remembered);
        assert_eq!(before == after, is_known, "{content:?}: {before:?} and {after:?}");
    }
}

#[test]
fn an_extent_is_read_when_all_up_to_it_has_been_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.log");
    let mut file = File::create(&path).unwrap();
    let mut tracker = tracker_of(&path, "", Duration::ZERO);
    let content = vec![b'x'; 64 << 20];
    file.write_all(&content).unwrap();
    let extent = tracker.extent().unwrap();
    file.write_all(&content).unwrap();
    let (wake, now) = (Wake::default(), Instant::now());
    let mut read = 0;
    while !tracker.has_read(extent) {
        assert!(read < content.len(), "all of it has been read");
        let poll = tracker.poll(now, &wake);
        assert!(poll.more, "there is more");
        for event in poll.events {
            if let FileEvent::Bytes { bytes, .. } = event {
                read += bytes.len();
            }
        }
    }
    assert!(read >= content.len() && read < 2 * content.len(), "{read}");
    std::fs::rename(&path, directory.path().join("a.log.1")).unwrap();
    std::fs::write(&path, "").unwrap();
    wake.wake();
    for milliseconds in 0..100 {
        tracker.poll(now + Duration::from_millis(milliseconds), &wake);
    }
    assert!(!tracker.has_read(extent), "it is no longer the present file");
}

#[test]
fn the_name_is_checked_unless_only_writes_are_reported_and_found() {
    let interval = NAME_INTERVAL.as_millis() as u64;
    for (what, wait, is_written, told, is_seen) in [
        ("a write that is found", 10, true, "a write", false),
        ("a write that went elsewhere", 10, false, "a write", true),
        ("something else beside the write", 10, true, "anything", true),
        ("a refresh was asked for", 10, true, "a doubt", true),
        ("a write after a long time", interval, true, "a write", true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("a.log");
        let mut file = File::create(&log).unwrap();
        let access = Arc::new(Access::new([directory.path()]).unwrap());
        let name = access.locate(log.as_os_str().as_bytes()).unwrap();
        let mut tracker = RotationTracker::new(Arc::clone(&access), name.clone(), Duration::ZERO);
        let (wake, start) = (Wake::default(), Instant::now());
        tracker.first_poll(access.open(&name), None).unwrap();
        tracker.poll(start, &wake);
        std::fs::rename(&log, directory.path().join("a.log.1")).unwrap();
        std::fs::write(&log, "").unwrap();
        if is_written {
            file.write_all(b"line\n").unwrap();
        }
        match told {
            "a write" => wake.wake_for_write(),
            "anything" => wake.wake(),
            _ => tracker.doubt_name(),
        }
        let poll = tracker.poll(start + Duration::from_millis(wait), &wake);
        assert_eq!(poll.events.len(), usize::from(is_written), "{what}: the bytes");
        assert_eq!(tracker.is_rotating(), is_seen, "{what}");
    }
}
