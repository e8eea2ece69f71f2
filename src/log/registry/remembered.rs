//! What is known of logs that nobody follows any more.

use std::collections::HashMap;

use crate::log::access::LogPath;
use crate::log::follower::tailed_file::RememberedFile;

/// The files of logs, as they were known last.
#[derive(Debug)]
pub(super) struct Remembered {
    files: HashMap<LogPath, (u64, RememberedFile)>,
    /// How often something was remembered.
    count: u64,
    max: usize,
}

impl Remembered {
    /// Of at most so many logs. Those that were remembered least lately are forgotten first.
    pub(super) fn new(max: usize) -> Self {
        Self { files: HashMap::new(), count: 0, max: max.max(1) }
    }

    pub(super) fn get(&self, log: &LogPath) -> Option<&RememberedFile> {
        self.files.get(log).map(|(_, file)| file)
    }

    pub(super) fn put(&mut self, log: &LogPath, file: RememberedFile) {
        if self.files.len() >= self.max && !self.files.contains_key(log) {
            self.make_room();
        }
        self.count += 1;
        self.files.insert(log.clone(), (self.count, file));
    }

    /// Forgets a part at once, so that not each log costs a look at all others.
    fn make_room(&mut self) {
        let mut counts: Vec<u64> = self.files.values().map(|(count, _)| *count).collect();
        counts.sort_unstable();
        let last = counts[self.max / 8];
        self.files.retain(|_, (count, _)| *count > last);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::log::access::{Access, Identity};
    use crate::log::fingerprint::Fingerprint;
    use crate::log::position::{Generation, Offset};

    const MAX: usize = 100;

    #[test]
    fn of_too_many_logs_those_are_forgotten_that_were_remembered_least_lately() {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new([directory.path()]).unwrap();
        let log = |number: usize| {
            let path = directory.path().join(number.to_string());
            access.locate(path.as_os_str().as_bytes()).unwrap()
        };
        let file = |inode: usize| {
            let identity = Identity { device: 1, inode: inode as u64 };
            let generation = Generation::new(identity, 7, b"head");
            RememberedFile::told(generation, Fingerprint::at(Offset(0)))
        };
        let mut remembered = Remembered::new(MAX);
        (0..MAX).for_each(|number| remembered.put(&log(number), file(number)));
        assert!((0..MAX).all(|number| remembered.get(&log(number)).is_some()));
        // The first one again, as another file, and then one more.
        remembered.put(&log(0), file(MAX + 1));
        assert!(remembered.get(&log(1)).is_some(), "nothing was to be forgotten for that");
        remembered.put(&log(MAX), file(MAX));
        let inode = |number: usize| {
            remembered.get(&log(number)).map(|file| file.generation.identity.inode as usize)
        };
        assert_eq!((inode(0), inode(1), inode(MAX)), (Some(MAX + 1), None, Some(MAX)));
        assert_eq!(inode(MAX - 1), Some(MAX - 1));
        assert!((0..=MAX).filter(|number| inode(*number).is_some()).count() <= MAX);
    }
}
