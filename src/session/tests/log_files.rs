//! The files of a log, and what was written to them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use crate::log::access::Identity;
use crate::log::wake::Wake;

/// How a truncated file is filled again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refill {
    /// With other bytes, at most as many as before.
    Less,
    /// With other bytes, as many as before.
    AsMuch,
    /// With the same head, longer than a signature, and other bytes after it.
    SameHead,
    /// With another head, and the same bytes at the old end.
    OtherHead,
    /// With the same bytes, and more.
    Same,
}

impl Arbitrary for Refill {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Self> {
        prop_oneof![
            Just(Self::Less),
            Just(Self::AsMuch),
            Just(Self::SameHead),
            Just(Self::OtherHead),
            Just(Self::Same),
        ]
        .boxed()
    }
}

/// A file that has, or had, the log's name.
pub(super) struct Kept {
    /// The writer's handle, until it is closed. Then another file may get the inode.
    file: Option<File>,
    pub(super) identity: Identity,
    /// The content before each truncation. The last is the present content.
    pub(super) epochs: Vec<Vec<u8>>,
    /// The path. None after the file is removed.
    pub(super) path: Option<PathBuf>,
}

impl Kept {
    pub(super) fn content(&self) -> &[u8] {
        self.epochs.last().unwrap()
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(file) = &mut self.file {
            file.write_all(bytes).unwrap();
            self.epochs.last_mut().unwrap().extend_from_slice(bytes);
        }
    }

    fn truncate(&mut self, to: Index) {
        if let Some(file) = &self.file {
            let to = to.index(self.content().len() + 1);
            file.set_len(to as u64).unwrap();
            self.epochs.push(self.content()[..to].to_vec());
        }
    }
}

pub(super) struct LogFiles {
    directory: TempDir,
    pub(super) log: PathBuf,
    pub(super) files: Vec<Kept>,
    /// The file that has the log's name.
    pub(super) named: Option<usize>,
    pub(super) wake: Wake,
    /// Whether events report renames.
    has_rename_events: bool,
    /// How many files got the log's name since it is followed.
    pub(super) appeared: usize,
    /// Files whose renames within the log's directory were reported.
    pub(super) rename_away: Vec<usize>,
    names: usize,
    chance: u64,
}

impl LogFiles {
    pub(super) fn new(has_rename_events: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["d", "elsewhere"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let log = directory.path().join("d/a.log");
        Self {
            directory,
            log,
            files: Vec::new(),
            named: None,
            wake: Wake::default(),
            has_rename_events,
            appeared: 0,
            rename_away: Vec::new(),
            names: 0,
            chance: 1,
        }
    }

    /// The served directory.
    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Lines whose bytes occur nowhere else.
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| {
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            match (self.chance >> 20) as u8 % 64 {
                0 => b'\n',
                letter => b'@' + letter,
            }
        })
        .take(len)
        .collect()
    }

    fn make(&mut self, path: &Path, len: usize) {
        let file = File::options().append(true).create_new(true).open(path).unwrap();
        let metadata = file.metadata().unwrap();
        let identity = Identity { device: metadata.dev(), inode: metadata.ino() };
        let (file, path) = (Some(file), Some(path.to_owned()));
        self.files.push(Kept { file, identity, epochs: vec![Vec::new()], path });
        let bytes = self.fresh(len);
        self.files.last_mut().unwrap().write(&bytes);
    }

    /// The latest file of an inode. No other file gets it as long as somebody has it open.
    pub(super) fn file_of(&self, identity: Identity) -> usize {
        self.files.iter().rposition(|file| file.identity == identity).expect("a file of ours")
    }

    /// Whether a file is in the log's directory.
    pub(super) fn is_beside(&self, file: usize) -> bool {
        self.files[file].path.as_ref().is_some_and(|path| path.parent() == self.log.parent())
    }

    /// Creates the log, unless it exists.
    pub(super) fn create(&mut self, len: usize) {
        if self.named.is_none() {
            let log = self.log.clone();
            self.make(&log, len);
            self.named = Some(self.files.len() - 1);
            self.appear();
        }
    }

    /// Tells the follower that a file got the log's name.
    fn appear(&mut self) {
        self.appeared += 1;
        self.wake.wake_for_appearance();
    }

    pub(super) fn append(&mut self, len: usize) {
        let bytes = self.fresh(len);
        if let Some(named) = self.named {
            self.files[named].write(&bytes);
        }
    }

    fn name(&mut self, beside: bool) -> PathBuf {
        self.names += 1;
        let directory = if beside { "d" } else { "elsewhere" };
        self.root().join(format!("{directory}/a.log.{}", self.names))
    }

    fn rename(&mut self, file: usize, to: &Path) {
        let from = self.files[file].path.replace(to.to_owned()).unwrap();
        std::fs::rename(&from, to).unwrap();
        self.wake.wake();
        if self.has_rename_events && from.parent() == to.parent() {
            // This counts it, too.
            self.appeared += usize::from(to == self.log);
            self.wake.record_rename(&from, to, from == self.log, to == self.log);
            if from == self.log {
                self.rename_away.push(file);
            }
        } else if to == self.log {
            self.appear();
        }
    }

    /// Renames the log. False if there was none.
    pub(super) fn rename_away(&mut self, beside: bool) -> bool {
        let Some(named) = self.named.take() else { return false };
        let to = self.name(beside);
        self.rename(named, &to);
        true
    }

    pub(super) fn rename_over(&mut self, len: usize) {
        let next = self.name(true);
        self.make(&next, len);
        self.take_name(self.files.len() - 1);
    }

    /// Writes all of the log, and more, to another file, and gives that the name.
    pub(super) fn write_anew(&mut self, len: usize) {
        let Some(named) = self.named else { return };
        let (old, new) = (self.files[named].content().to_vec(), self.fresh(len));
        let next = self.name(true);
        self.make(&next, 0);
        let file = self.files.last_mut().unwrap();
        file.write(&old);
        file.write(&new);
        self.take_name(self.files.len() - 1);
    }

    /// Gives the log's name to a file. A file that has the name is removed.
    fn take_name(&mut self, file: usize) {
        if let Some(named) = self.named {
            self.files[named].path = None;
        }
        let log = self.log.clone();
        self.rename(file, &log);
        self.named = Some(file);
    }

    pub(super) fn remove(&mut self) {
        if let Some(named) = self.named.take() {
            let path = self.files[named].path.take().unwrap();
            std::fs::remove_file(path).unwrap();
            self.wake.wake();
        }
    }

    pub(super) fn truncate(&mut self, to: Index) {
        if let Some(named) = self.named {
            self.files[named].truncate(to);
        }
    }

    pub(super) fn fill(&mut self, refill: Refill, len: usize) {
        let Some(named) = self.named.filter(|&named| self.files[named].file.is_some()) else {
            return;
        };
        let old = self.files[named].content().to_vec();
        let head = &old[..old.len().min(300)];
        let bytes = match refill {
            Refill::Less => self.fresh(len.min(old.len())),
            Refill::AsMuch => self.fresh(old.len()),
            Refill::SameHead => [head, &self.fresh(old.len() + len)].concat(),
            Refill::OtherHead => {
                let other = old.len().saturating_sub(64).min(256);
                [&self.fresh(other), &old[other..], &self.fresh(len)].concat()
            }
            Refill::Same => [old.clone(), self.fresh(len)].concat(),
        };
        let file = &mut self.files[named];
        file.file.as_ref().unwrap().set_len(0).unwrap();
        file.epochs.push(Vec::new());
        file.write(&bytes);
    }

    /// One of the files that do not have the log's name.
    fn old(&self, which: Index) -> Option<usize> {
        let others = self.files.len() - usize::from(self.named.is_some());
        let nth = (others > 0).then(|| which.index(others))?;
        (0..self.files.len()).filter(|&file| Some(file) != self.named).nth(nth)
    }

    pub(super) fn write_late(&mut self, which: Index, len: usize) {
        let bytes = self.fresh(len);
        if let Some(old) = self.old(which) {
            self.files[old].write(&bytes);
        }
    }

    pub(super) fn truncate_old(&mut self, which: Index, to: Index) {
        if let Some(old) = self.old(which) {
            self.files[old].truncate(to);
        }
    }

    /// Removes a file, and closes its writer's handle.
    pub(super) fn remove_old(&mut self, which: Index) {
        if let Some(old) = self.old(which) {
            if let Some(path) = self.files[old].path.take() {
                std::fs::remove_file(path).unwrap();
            }
            self.files[old].file = None;
        }
    }

    pub(super) fn rename_back(&mut self, which: Index) {
        if let Some(old) = self.old(which).filter(|&old| self.files[old].path.is_some()) {
            self.take_name(old);
        }
    }
}
