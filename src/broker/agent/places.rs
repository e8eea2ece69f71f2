//! How far each log was published, for when the stream does not say it any more.
//!
//! The last message of a log in the stream says it best. With `--publish always` a log may be silent for
//! longer than the stream keeps messages. An agent that starts then goes on where it had got to, instead
//! of sending once more what the retention has removed.

use std::collections::HashMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::broker::ask::{KnownPlace, WantedLog};
use crate::log::fingerprint::Fingerprint;
use crate::log::{Generation, Offset};
use crate::mirror::RemotePosition;

/// The first line. Another version begins anew.
const FORM: &str = "tailcast places 1";
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// The most logs whose places are kept. Those that were published least lately go first.
const PLACES_MAX: usize = 20_000;
/// The most bytes that are read: a path is three times as long there.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// How far the logs of an agent were published.
#[derive(Debug, Default)]
pub struct Places {
    file: Option<PathBuf>,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    places: HashMap<Vec<u8>, Place>,
    /// How many changes there were.
    changes: u64,
    /// Those that were saved.
    saved: u64,
}

#[derive(Clone, Debug)]
struct Place {
    stream: u64,
    generation: Generation,
    end: Fingerprint,
    /// The number of its last change.
    changed: u64,
}

/// The number that stands for a stream, by when it was made.
pub(super) fn stream_number(created: SystemTime) -> u64 {
    let nanoseconds = created.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

impl Places {
    /// Those that a file in this directory names, which is made if it is not there. It blocks.
    ///
    /// # Errors
    /// When the directory cannot be made, or the file not be read or written.
    pub fn open(directory: &Path, host: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let file = directory.join(format!("{host}.places"));
        let mut text = String::new();
        match OpenOptions::new().read(true).open(&file) {
            Ok(file) => {
                file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let places = Self { file: Some(file), all: Mutex::new(All::read(&text)) };
        // Whoever may not write here learns it now.
        places.write(&places.text().1)?;
        Ok(places)
    }

    /// Where a log had got to, and the number of the stream that has it up to there.
    pub(super) fn of(&self, path: &[u8]) -> Option<(u64, KnownPlace)> {
        let all = self.all.lock();
        all.places.get(path).map(|place| (place.stream, place.known()))
    }

    /// Notes to where a log was published. `tail` are the bytes before that, as far as they are here.
    pub(super) fn note(&self, path: &[u8], stream: u64, at: RemotePosition, tail: &[u8]) {
        let start = at.offset.0.saturating_sub(tail.len() as u64);
        let mut all = self.all.lock();
        all.changes += 1;
        let changed = all.changes;
        let known = all.places.get(path);
        let known = known.filter(|known| known.generation.is(&at.generation));
        let known = known.filter(|known| known.end.offset().0 == start);
        let mut end = known.map_or_else(|| Fingerprint::at(Offset(start)), |it| it.end.clone());
        end.advance(tail);
        let place = Place { stream, generation: at.generation, end, changed };
        match all.places.get_mut(path) {
            Some(known) => *known = place,
            None => {
                all.make_room();
                all.places.insert(path.to_vec(), place);
            }
        }
    }

    /// Writes what has changed. It blocks.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn save(&self) -> io::Result<()> {
        {
            let all = self.all.lock();
            if all.saved == all.changes {
                return Ok(());
            }
        }
        let (changes, text) = self.text();
        self.write(&text)?;
        self.all.lock().saved = changes;
        Ok(())
    }

    fn text(&self) -> (u64, String) {
        let all = self.all.lock();
        let mut text = format!("{FORM}\n");
        for (path, place) in &all.places {
            let log = WantedLog { path: path.clone(), known: Some(place.known()) };
            text.push_str(&format!("{:x} {}", place.stream, log.line()));
        }
        (all.changes, text)
    }

    /// From one moment to the next, so that a crash leaves the one before or the new one.
    fn write(&self, text: &str) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let new = file.with_extension("new");
        let mut options = OpenOptions::new();
        let mut writing =
            options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&new)?;
        writing.write_all(text.as_bytes())?;
        writing.sync_data()?;
        std::fs::rename(new, file)
    }
}

impl Place {
    fn known(&self) -> KnownPlace {
        let at = RemotePosition { generation: self.generation, offset: self.end.offset() };
        KnownPlace { at, tail: self.end.bytes().to_vec() }
    }
}

impl All {
    /// What a text says. A line that is none is left out: its log is sent once more.
    fn read(text: &str) -> Self {
        let mut all = Self::default();
        let Some(lines) = text.strip_prefix(FORM).and_then(|rest| rest.strip_prefix('\n')) else {
            return all;
        };
        for line in lines.lines() {
            let Some((stream, line)) = line.split_once(' ') else { continue };
            let Ok(stream) = u64::from_str_radix(stream, 16) else { continue };
            let WantedLog { path, known: Some(KnownPlace { at, tail }) } = WantedLog::of_line(line)
            else {
                continue;
            };
            let start = at.offset.0.saturating_sub(tail.len() as u64);
            let mut end = Fingerprint::at(Offset(start));
            end.advance(&tail);
            let place = Place { stream, generation: at.generation, end, changed: 0 };
            all.places.insert(path, place);
        }
        all
    }

    fn make_room(&mut self) {
        if self.places.len() < PLACES_MAX {
            return;
        }
        // A part at once, so that it does not happen for each log.
        let mut changes: Vec<u64> = self.places.values().map(|place| place.changed).collect();
        changes.sort_unstable();
        let kept_from = changes[PLACES_MAX / 8];
        self.places.retain(|_, place| place.changed > kept_from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::log::access::Identity;

    fn at(inode: u64, offset: u64) -> RemotePosition {
        let identity = Identity { device: 1, inode };
        let generation = Generation::new(identity, 7, b"head");
        RemotePosition { generation, offset: Offset(offset) }
    }

    proptest! {
        #[test]
        fn what_was_saved_is_there_at_the_next_start(
            logs in proptest::collection::vec((any::<Vec<u8>>(), 1u64..9, any::<Vec<u8>>()), 0..20)
        ) {
            let directory = tempfile::tempdir().unwrap();
            let places = Places::open(directory.path(), "web-1").unwrap();
            for (path, stream, bytes) in &logs {
                places.note(path, *stream, at(*stream, bytes.len() as u64), bytes);
            }
            places.save().unwrap();
            let again = Places::open(directory.path(), "web-1").unwrap();
            for (path, ..) in &logs {
                prop_assert_eq!(again.of(path), places.of(path));
                prop_assert!(again.of(path).is_some());
            }
            let other = Places::open(directory.path(), "web-2").unwrap();
            prop_assert!(logs.iter().all(|(path, ..)| other.of(path).is_none()));
        }
    }

    #[test]
    fn the_bytes_before_a_place_are_known_over_several_notes() {
        let places = Places::default();
        places.note(b"/x", 1, at(1, 3), b"one");
        places.note(b"/x", 1, at(1, 6), b"two");
        let (_, known) = places.of(b"/x").unwrap();
        assert_eq!((known.at.offset, &known.tail[..]), (Offset(6), &b"onetwo"[..]));
        // Another file begins anew, and so does what does not follow directly.
        places.note(b"/x", 1, at(2, 9), b"new");
        assert_eq!(places.of(b"/x").unwrap().1.tail, b"new");
        places.note(b"/x", 1, at(2, 20), b"x");
        assert_eq!(places.of(b"/x").unwrap().1.tail, b"x");
    }

    #[test]
    fn what_is_torn_or_of_another_version_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let places = Places::open(directory.path(), "web").unwrap();
        places.note(b"/one", 1, at(1, 3), b"one");
        places.save().unwrap();
        let file = directory.path().join("web.places");
        let (_, text) = places.text();
        std::fs::write(&file, format!("{text}xyz\n1 /two what 7 x\n")).unwrap();
        let again = Places::open(directory.path(), "web").unwrap();
        assert!(again.of(b"/one").is_some() && again.of(b"/two").is_none());
        std::fs::write(&file, text.replace("places 1", "places 2")).unwrap();
        assert!(Places::open(directory.path(), "web").unwrap().of(b"/one").is_none());
    }

    #[test]
    fn the_places_that_changed_least_lately_go_first() {
        let places = Places::default();
        let path = |nth: usize| format!("/{nth}").into_bytes();
        for nth in 0..PLACES_MAX {
            places.note(&path(nth), 1, at(1, 1), b"x");
        }
        places.note(&path(0), 1, at(1, 2), b"y");
        places.note(b"/new", 1, at(1, 1), b"x");
        assert!(places.of(&path(0)).is_some() && places.of(b"/new").is_some());
        assert!(places.of(&path(1)).is_none());
        assert!(places.of(&path(PLACES_MAX - 1)).is_some());
    }
}
