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

/// How a file that was cut is filled again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refill {
    /// With other bytes, at most as many as there were.
    Less,
    /// With as many other bytes.
    AsMuch,
    /// With the bytes that it began with, as far as a signature goes and beyond, and others then.
    SameHead,
    /// With the bytes that it ended with in their old place, but others before.
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
    /// The writer's, until it closes it: the inode may be given to another file then.
    file: Option<File>,
    pub(super) identity: Identity,
    /// What it holds now, and before that what it held each time when it was cut.
    pub(super) epochs: Vec<Vec<u8>>,
    /// Where it lies.
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

    fn cut(&mut self, to: Index) {
        if let Some(file) = &self.file {
            let to = to.index(self.content().len() + 1);
            file.set_len(to as u64).unwrap();
            self.epochs.push(self.content()[..to].to_vec());
        }
    }
}

pub(super) struct Stage {
    directory: TempDir,
    pub(super) log: PathBuf,
    pub(super) files: Vec<Kept>,
    /// Which of them has the name.
    pub(super) named: Option<usize>,
    pub(super) wake: Wake,
    /// Events tell of renamings.
    hears: bool,
    /// Files that were given another name in the log's directory, of which events told.
    pub(super) set_aside: Vec<usize>,
    names: usize,
    chance: u64,
}

impl Stage {
    pub(super) fn new(hears: bool) -> Self {
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
            hears,
            set_aside: Vec::new(),
            names: 0,
            chance: 1,
        }
    }

    /// What may be served.
    pub(super) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes that are nowhere else, in lines.
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

    /// The latest file of an inode: as long as somebody holds it, no other is given it.
    pub(super) fn file_of(&self, identity: Identity) -> usize {
        self.files.iter().rposition(|file| file.identity == identity).expect("a file of ours")
    }

    /// Whether it lies where the log lies.
    pub(super) fn is_beside(&self, file: usize) -> bool {
        self.files[file].path.as_ref().is_some_and(|path| path.parent() == self.log.parent())
    }

    /// Makes the log, unless it is there.
    pub(super) fn create(&mut self, len: usize) {
        if self.named.is_none() {
            let log = self.log.clone();
            self.make(&log, len);
            self.named = Some(self.files.len() - 1);
            self.wake.wake();
        }
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
        if self.hears && from.parent() == to.parent() {
            self.wake.record_rename(&from, to, from == self.log);
            if from == self.log {
                self.set_aside.push(file);
            }
        }
    }

    /// Whether there was a log to be set aside.
    pub(super) fn set_aside(&mut self, beside: bool) -> bool {
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

    /// The file takes the log's name, and from who had it.
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

    pub(super) fn cut(&mut self, to: Index) {
        if let Some(named) = self.named {
            self.files[named].cut(to);
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

    /// One of those that have lost the name.
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

    pub(super) fn cut_old(&mut self, which: Index, to: Index) {
        if let Some(old) = self.old(which) {
            self.files[old].cut(to);
        }
    }

    /// It is removed, and its writer closes it.
    pub(super) fn remove_old(&mut self, which: Index) {
        if let Some(old) = self.old(which) {
            if let Some(path) = self.files[old].path.take() {
                std::fs::remove_file(path).unwrap();
            }
            self.files[old].file = None;
        }
    }

    pub(super) fn come_back(&mut self, which: Index) {
        if let Some(old) = self.old(which).filter(|&old| self.files[old].path.is_some()) {
            self.take_name(old);
        }
    }
}
