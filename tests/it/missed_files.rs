//! Files that had a log's name only while the server, which follows the log, did not look.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::reader::{Reader, lines};
use crate::servers::{Program, append, pace, target};

/// A log that a viewer follows.
struct Followed {
    _directory: TempDir,
    program: Program,
    path: PathBuf,
    reader: Reader,
}

impl Followed {
    async fn begin() -> Self {
        let directory = TempDir::new().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let path = top.join("d/a.log");
        for name in ["d/old", "elsewhere"] {
            std::fs::create_dir_all(top.join(name)).unwrap();
        }
        append(&path, lines("file 0"));
        let program = Program::serve(&[top.to_str().unwrap()]);
        let mut reader = Reader::of(program.address, &target(&path), "&lines=all").await;
        reader.read_until(b"file 0 99\n").await;
        // Now its directory is watched.
        append(&path, "followed\n");
        reader.read_until(b"followed\n").await;
        Self { _directory: directory, program, path, reader }
    }

    /// Rotates the log, while the server is stopped, to these names. An empty name means that the
    /// file is removed.
    async fn rotate(&mut self, names: &[&str]) {
        self.program.signal(Signal::STOP);
        for (file, name) in names.iter().enumerate() {
            if name.is_empty() {
                std::fs::remove_file(&self.path).unwrap();
            } else {
                std::fs::rename(&self.path, self.beside(name)).unwrap();
            }
            // The times of the files prove nothing.
            pace(std::time::Duration::from_millis(30)).await;
            append(&self.path, lines(&format!("file {}", file + 1)));
        }
        self.program.signal(Signal::CONT);
        let last = format!("file {} 99\n", names.len());
        self.reader.read_until(last.as_bytes()).await;
        append(&self.path, "and on\n");
        self.reader.read_until(b"and on\n").await;
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("/")).join(name)
    }
}

#[tokio::test]
async fn a_file_that_had_the_name_while_the_server_was_stopped_is_sent_or_a_gap() {
    let first = lines("file 0").len() + "followed\n".len();
    for (names, files, gaps) in [
        (&["a.log.1"][..], &[1][..], 0),
        (&["a.log.2", "a.log.1"], &[1, 2], 0),
        (&["old/a.log.2", "old/a.log.1"], &[1, 2], 0),
        (&["a.log.1", "old/a.log-20261128", "old/a.log-20261129"], &[1, 2, 3], 0),
        (&["a.log.1", ""], &[2], 1),
        (&["", ""], &[2], 1),
        (&["a.log.1", "../elsewhere/a.log.1"], &[2], 1),
        (&["a.log.1", "old/a.log.1", "../elsewhere/a.log.1"], &[1, 3], 1),
    ] {
        let mut followed = Followed::begin().await;
        followed.rotate(names).await;
        let text = String::from_utf8(followed.reader.bytes.clone()).unwrap();
        let sent: String = files.iter().map(|file| lines(&format!("file {file}"))).collect();
        let expected = lines("file 0") + "followed\n" + &sent + "and on\n";
        let heads = followed.reader.heads();
        assert_eq!(text, expected, "{names:?}: {heads:?}");
        let gap = format!("gap {first} null");
        assert_eq!(heads.iter().filter(|head| **head == gap).count(), gaps, "{names:?}: {heads:?}");
        let resets = heads.iter().filter(|head| head.starts_with("reset")).count();
        assert_eq!(heads.len(), 1 + gaps + resets, "{names:?}: {heads:?}");
        assert_eq!(resets, files.len(), "{names:?}: {heads:?}");
    }
}

#[tokio::test]
async fn a_file_that_loses_its_name_and_gets_it_back_is_no_other_file() {
    let mut followed = Followed::begin().await;
    let aside = followed.beside("a.log.1");
    for round in 0..20 {
        followed.program.signal(Signal::STOP);
        std::fs::rename(&followed.path, &aside).unwrap();
        std::fs::rename(&aside, &followed.path).unwrap();
        followed.program.signal(Signal::CONT);
        append(&followed.path, format!("round {round}\n"));
        followed.reader.read_until(format!("round {round}\n").as_bytes()).await;
    }
    assert_eq!(followed.reader.heads(), ["open true"]);
}

/// Renames a file, and writes another in its place. False where the file system's clock ticked in
/// between.
#[cfg(feature = "faults")]
fn is_rotated_at_once(path: &Path, aside: &Path, content: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::rename(path, aside).unwrap();
    std::fs::write(path, content).unwrap();
    let (old, new) = (aside.metadata().unwrap(), path.metadata().unwrap());
    let changed = std::time::Duration::new(old.ctime() as u64, old.ctime_nsec() as u32);
    let born = new.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    changed.abs_diff(born) < std::time::Duration::from_millis(1)
}

/// Why a server hears nothing of what happens to a log.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// Its directory cannot be watched.
    Unwatched,
    /// It is watched, and no event comes, as on a file system over a network.
    WithoutEvents,
    /// The same, but there were events before.
    EventsEnd,
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_server_without_events_tells_a_gap_unless_the_times_of_the_files_leave_no_room() {
    use tailcast::log::failpoints::Call;

    let mut cases = Vec::new();
    for silence in [Silence::Unwatched, Silence::WithoutEvents, Silence::EventsEnd] {
        cases.extend(
            [("twice", true), ("slowly", true), ("at once", false)].map(|of| (silence, of)),
        );
    }
    while let Some((silence, (what, has_gap))) = cases.pop() {
        let server = crate::servers::TestServer::start().await;
        let root = server.directory.path().canonicalize().unwrap();
        match silence {
            Silence::Unwatched => server.faults.fail(Call::Watch, root, rustix::io::Errno::NOSPC),
            Silence::WithoutEvents => server.faults.deafen(),
            Silence::EventsEnd => {}
        }
        let path = PathBuf::from(server.log("a.log", lines("file 0")));
        let mut reader = Reader::open(&server, &target(&path), "&lines=all").await;
        reader.read_until(b"file 0 99\n").await;
        append(&path, "followed\n");
        reader.read_until(b"followed\n").await;
        server.faults.deafen();
        // A file that lasted for some ticks only proves nothing.
        pace(std::time::Duration::from_millis(100)).await;
        let aside = server.path("a.log.1");
        if what == "at once" {
            if !is_rotated_at_once(&path, &aside, &lines("the last")) {
                cases.push((silence, (what, has_gap)));
                continue;
            }
        } else {
            std::fs::rename(&path, &aside).unwrap();
            pace(std::time::Duration::from_millis(30)).await;
            if what == "twice" {
                append(&path, "lost\n");
                std::fs::remove_file(&path).unwrap();
            }
            append(&path, lines("the last"));
        }
        reader.read_until(b"the last 99\n").await;
        let end = lines("file 0").len() + "followed\n".len();
        let (gap, reset) = (format!("gap {end} null"), "reset rotated 0".to_owned());
        let told = if has_gap { vec![gap, reset] } else { vec![reset] };
        assert_eq!(reader.heads()[1..], told, "{what}, {silence:?}");
    }
}
