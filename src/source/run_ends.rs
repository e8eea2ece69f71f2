//! How the commands ended whose output is in a list of logs.
//!
//! A file is a run if it begins with the mark that says where the output of a command begins. Nobody
//! waits for a list while thousands of files are opened: a list opens a few of those that are not
//! known yet, and a later one the next few. Names that `tailcast run` gives come first. What was found
//! is kept as long as the file has its size and its time. A file that is no run is rarely opened again
//! while it only grows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::log::catalogue::{Catalogue, Entry};
use crate::log::file::LogFile;
use crate::log::{Access, Offset};
use crate::render::{Exit, ExitMark};
use crate::source::run_file;

/// How many files one list opens.
const LOOKS_MAX: usize = 256;
/// Of so many files it is known what they are.
const KNOWN_MAX: usize = 32 * 1024;
/// A file that is no run and grows may have been written anew since it was looked at. It is looked at
/// again after this time, and so is one that could not be read.
const GROWN_TIME: Duration = Duration::from_secs(60);
/// How a run begins: with a mark, which may have options.
const BEGIN: &[u8] = b"\x1b]133;C";
/// The marks at the end are within so many bytes.
const END_BYTES: usize = 512;

/// What is known of the files in lists.
#[derive(Debug, Default)]
pub struct RunEnds {
    known: Mutex<HashMap<PathBuf, Known>>,
}

/// What a file was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A run, and how it ended if it has.
    Run(Option<Exit>),
    NoRun,
    /// It could not be read.
    Unreadable,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    inode: u64,
    size: u64,
    modified: SystemTime,
    kind: Kind,
    /// When it was looked at.
    at: Instant,
}

/// Which files are looked at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// What is a run, or has the name of one.
    Run,
    New,
    /// What could not be read before, or was no run.
    Again,
}

impl Known {
    /// Whether it says what the file is now. One that could not be read may be readable after a while,
    /// and is the same file then.
    fn is_of(&self, entry: &Entry) -> bool {
        self.inode == entry.identity.inode
            && (self.size, self.modified) == (entry.size, entry.modified)
            && (self.kind != Kind::Unreadable || self.at.elapsed() < GROWN_TIME)
    }

    /// Whether the file may have the same first bytes as when it was looked at.
    fn may_only_have_grown(&self, entry: &Entry) -> bool {
        self.inode == entry.identity.inode && self.size <= entry.size
    }
}

impl RunEnds {
    /// How the command ended whose output each log of a list is; None for what is no run, for a run
    /// that goes on, and for what was not looked at yet. It may block.
    pub fn of(&self, access: &Access, catalogue: &Catalogue) -> Vec<Option<Exit>> {
        let mut ends = Vec::with_capacity(catalogue.entries.len());
        let mut looks = Vec::new();
        {
            let known = self.known.lock();
            for (at, entry) in catalogue.entries.iter().enumerate() {
                let known = known.get(entry.log.as_path());
                let is_current = known.filter(|known| known.is_of(entry));
                ends.push(is_current.and_then(|known| known.kind.exit()));
                // The bytes of another machine's logs are there.
                let is_here = entry.size > 0 && !access.is_mirrored(&entry.log);
                if is_current.is_none()
                    && is_here
                    && let Some(turn) = turn(known, entry)
                {
                    looks.push((turn, at));
                }
            }
        }
        looks.sort_by_key(|(turn, _)| *turn);
        for (_, at) in looks.into_iter().take(LOOKS_MAX) {
            let entry = &catalogue.entries[at];
            let kind = look(access, entry);
            ends[at] = kind.exit();
            self.keep(entry, kind);
        }
        ends
    }

    fn keep(&self, entry: &Entry, kind: Kind) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        let (inode, size, modified) = (entry.identity.inode, entry.size, entry.modified);
        let found = Known { inode, size, modified, kind, at: Instant::now() };
        known.insert(entry.log.as_path().to_owned(), found);
    }
}

impl Kind {
    fn exit(self) -> Option<Exit> {
        match self {
            Self::Run(exit) => exit,
            Self::NoRun | Self::Unreadable => None,
        }
    }
}

/// When a file is looked at that is not known as it is now; None for one that need not be.
fn turn(known: Option<&Known>, entry: &Entry) -> Option<Turn> {
    let name = entry.log.as_path().file_name().and_then(|name| name.to_str());
    let is_named = name.is_some_and(run_file::has_run_name);
    match known {
        Some(Known { kind: Kind::Run(_), .. }) => Some(Turn::Run),
        Some(known) if known.kind == Kind::NoRun && known.may_only_have_grown(entry) => {
            (known.at.elapsed() >= GROWN_TIME).then_some(Turn::Again)
        }
        Some(Known { kind: Kind::Unreadable, .. }) => Some(Turn::Again),
        Some(_) | None if is_named => Some(Turn::Run),
        Some(_) | None => Some(Turn::New),
    }
}

fn look(access: &Access, entry: &Entry) -> Kind {
    let Ok(admitted) = access.open(&entry.log) else { return Kind::Unreadable };
    let file = LogFile::new(admitted);
    match file.read_at(Offset(0), BEGIN.len()) {
        Ok(head) if head == BEGIN => {}
        Ok(_) => return Kind::NoRun,
        Err(_) => return Kind::Unreadable,
    }
    let from = entry.size.saturating_sub(END_BYTES as u64);
    match file.read_at(Offset(from), END_BYTES) {
        Ok(tail) => Kind::Run(ExitMark::default().feed(&tail)),
        Err(_) => Kind::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::log::catalogue;
    use crate::source::marks;
    use crate::source::run::Status;

    const NAMED: &str = "make-20261129T075150Z.log";

    struct Scene {
        directory: TempDir,
        access: Access,
        ends: RunEnds,
    }

    impl Scene {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let access = Access::new([directory.path()]).unwrap();
            Self { directory, access, ends: RunEnds::default() }
        }

        fn write(&self, name: &str, content: &[u8]) {
            fs::write(self.directory.path().join(name), content).unwrap();
        }

        /// The ends in the list now, by the names of the files.
        fn list(&self) -> HashMap<String, Exit> {
            let catalogue = catalogue::list(&self.access, &Default::default());
            let ends = self.ends.of(&self.access, &catalogue);
            assert_eq!(ends.len(), catalogue.entries.len());
            let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            let ended = catalogue.entries.iter().zip(ends);
            ended.filter_map(|(entry, end)| Some((name(entry.log.as_path()), end?))).collect()
        }

        fn opened(&self) -> u64 {
            self.access.metrics().reads.get()
        }
    }

    fn run(status: Option<u8>) -> Vec<u8> {
        let end = status.map(|status| marks::end(Status::Exited(status), Duration::from_secs(182)));
        [marks::BEGIN, b"hello\n", &end.unwrap_or_default()].concat()
    }

    fn exit(status: u8) -> Exit {
        Exit { status: Some(status.into()), duration: Some(182_000) }
    }

    #[test]
    fn the_end_of_a_run_is_in_the_list() {
        let scene = Scene::new();
        let bell = b"\x1b]133;C;make\x07x\x1b]133;D;7\x07";
        for (name, content, expected) in [
            ("ended.log", run(Some(0)), Some(exit(0))),
            ("failed.log", run(Some(1)), Some(exit(1))),
            ("running.log", run(None), None),
            ("again.log", [run(Some(0)), run(None)].concat(), None),
            ("twice.log", [run(Some(0)), run(Some(2))].concat(), Some(exit(2))),
            ("shell.log", bell.to_vec(), Some(Exit { status: Some(7), duration: None })),
            ("more.log", [run(Some(0)), b"more".to_vec()].concat(), None),
            (
                "long.log",
                [&run(None)[..], &[b'x'; 4096], &run(Some(3))[..]].concat(),
                Some(exit(3)),
            ),
            // Something else wrote before the command.
            ("other.log", [b"x\n".to_vec(), run(Some(0))].concat(), None),
            ("plain.log", b"plain\n".to_vec(), None),
            ("empty.log", Vec::new(), None),
        ] {
            scene.write(name, &content);
            for _ in 0..2 {
                assert_eq!(scene.list().get(name).copied(), expected, "{name}");
            }
        }
    }

    #[test]
    fn what_is_known_is_not_opened_again_until_it_changes() {
        let scene = Scene::new();
        scene.write("run.log", &run(None));
        scene.write("plain.log", b"plain\n");
        scene.write("empty.log", b"");
        assert_eq!(scene.list(), HashMap::new());
        let opened = scene.opened();
        assert!(opened > 0);
        scene.list();
        assert_eq!(scene.opened(), opened, "nothing has changed");
        scene.write("plain.log", b"plain\nand more\n");
        scene.list();
        assert_eq!(scene.opened(), opened, "what is no run has only grown");
        scene.write("run.log", &run(Some(5)));
        assert_eq!(scene.list().get("run.log"), Some(&exit(5)));
        // It was written anew. Only after a while is that looked for.
        scene.write("plain.log", &run(Some(6)));
        assert_eq!(scene.list().get("plain.log"), None);
        for known in scene.ends.known.lock().values_mut() {
            known.at = known.at.checked_sub(GROWN_TIME).unwrap();
        }
        assert_eq!(scene.list().get("plain.log"), Some(&exit(6)));
        // A file that is shorter was written anew beyond doubt.
        scene.write("plain.log", &[b'x'; 4096]);
        assert_eq!(scene.list().get("plain.log"), None);
        scene.write("plain.log", &run(Some(7)));
        assert_eq!(scene.list().get("plain.log"), Some(&exit(7)));
    }

    #[test]
    fn a_run_that_could_not_be_read_once_shows_its_end_after_a_while() {
        let scene = Scene::new();
        scene.write("run.log", &run(Some(5)));
        let catalogue = catalogue::list(&scene.access, &Default::default());
        // As root there is no file that cannot be read.
        scene.ends.keep(&catalogue.entries[0], Kind::Unreadable);
        let opened = scene.opened();
        assert_eq!(scene.list().get("run.log"), None);
        assert_eq!(scene.opened(), opened, "it is not tried again in each list");
        for known in scene.ends.known.lock().values_mut() {
            known.at = known.at.checked_sub(GROWN_TIME).unwrap();
        }
        assert_eq!(scene.list().get("run.log"), Some(&exit(5)));
    }

    #[test]
    fn one_list_opens_a_few_files_and_those_first_that_are_named_like_runs() {
        let scene = Scene::new();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        scene.write(NAMED, &run(Some(4)));
        let file = fs::File::options().append(true).open(scene.directory.path().join(NAMED));
        file.unwrap().set_modified(old).unwrap();
        let files = 2 * LOOKS_MAX + 10;
        for number in 0..files {
            scene.write(&format!("run{number}.log"), &run(Some(9)));
        }
        for ended in [LOOKS_MAX, 2 * LOOKS_MAX, files + 1, files + 1] {
            let list = scene.list();
            assert_eq!(list.len(), ended);
            assert_eq!(list.get(NAMED), Some(&exit(4)));
        }
    }
}
