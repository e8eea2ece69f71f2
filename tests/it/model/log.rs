//! The model of the log: its files, their epochs, and the operations on them.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::content::{ALPHABETS, content};
use super::random::Random;
use super::transcript::Transcript;
use crate::servers::target;

/// The server certainly reads a rotated file for this long; its rotate-wait is 5 s.
pub const LATE: Duration = Duration::from_millis(3500);
/// The number of rotated files that the server follows.
pub const HELD_FILES: usize = 4;
/// Other files in the log's directory.
pub const NEIGHBOURS: [&str; 2] = ["noise", "echo"];

/// Bytes of one write that were truncated together or not at all.
pub struct Segment {
    pub file: usize,
    pub start: u64,
    pub end: u64,
    /// The times before and after the write.
    pub begun: Instant,
    pub written: Instant,
    /// The epoch in which they were written, and the last one that contains them.
    pub born: usize,
    pub last: Option<usize>,
    pub destroyed: Option<Instant>,
    /// Whether they are a late write that the server must read, if it followed the file.
    pub late: bool,
}

/// A time in which a file had the log's name.
pub struct Presence {
    pub from: Instant,
    pub to: Option<Instant>,
    /// Its number among all presences.
    pub number: usize,
    /// The file had the name before, too, and was written anew.
    pub is_anew: bool,
}

pub struct Inode {
    pub number: u64,
    /// Those that it had before it was written anew.
    pub earlier_numbers: Vec<u64>,
    /// That of the compressed file that took its place.
    pub archive: Option<u64>,
    /// A time before its creation.
    pub created: Instant,
    /// None once the writer has closed it.
    pub handle: Option<File>,
    pub path: PathBuf,
    pub linked: bool,
    pub epochs: Vec<Vec<u8>>,
    pub alphabet: u8,
    pub presences: Vec<Presence>,
    pub cuts: usize,
    pub cut_since: bool,
}

impl Inode {
    /// Whether it had the name once, however often it was written anew.
    pub fn was_there_once(&self) -> bool {
        self.presences.iter().filter(|presence| !presence.is_anew).count() == 1
    }

    /// Whether those find it who look for old files.
    pub fn is_findable(&self) -> bool {
        self.linked && self.path.parent().is_none_or(|parent| !parent.ends_with("elsewhere"))
    }

    /// Whether it has or had this number.
    pub fn is_of(&self, number: u64) -> bool {
        self.number == number
            || self.archive == Some(number)
            || self.earlier_numbers.contains(&number)
    }
}

/// The state of the log.
pub struct Model {
    pub random: Random,
    pub root: PathBuf,
    /// The link, if the log's name is a link.
    pub link: Option<PathBuf>,
    pub real: PathBuf,
    pub files: Vec<Inode>,
    pub segments: Vec<Segment>,
    pub present: Option<usize>,
    pub presences: usize,
    pub epochs: usize,
    pub names: usize,
    /// Whether the log is rotated. While the server follows a rotated file, it polls often.
    pub turns: bool,
    pub transcript: Transcript,
    pub steps: u64,
}

impl Model {
    pub fn new(mut random: Random, root: PathBuf, transcript: Transcript) -> Self {
        let link = random.one_in(3).then(|| root.join("current.log"));
        std::fs::create_dir(root.join("elsewhere")).unwrap();
        let mut model = Self {
            random,
            real: root.join("d/a.log"),
            link,
            root,
            files: Vec::new(),
            segments: Vec::new(),
            present: None,
            presences: 0,
            epochs: 0,
            names: 0,
            turns: true,
            transcript,
            steps: 0,
        };
        if let Some(link) = &model.link {
            std::os::unix::fs::symlink(&model.real, link).unwrap();
        }
        model.make_directory();
        model.create();
        model
    }

    /// Creates the directory of the log, with other files in it.
    pub fn make_directory(&self) {
        let directory = self.root.join("d");
        std::fs::create_dir(&directory).unwrap();
        NEIGHBOURS.iter().for_each(|name| std::fs::write(directory.join(name), "x").unwrap());
        // The link may lead to one of the old files.
        std::fs::create_dir_all(self.real.parent().unwrap()).unwrap();
    }

    pub fn log(&self) -> String {
        target(self.link.as_ref().unwrap_or(&self.real))
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.transcript.note(what);
    }

    pub fn name(&mut self, kind: &str) -> PathBuf {
        self.names += 1;
        self.root.join(format!("d/{kind}.{}", self.names))
    }

    /// What a rotation may call the file that it renames. The last two are of no rotation.
    pub fn old_name(&mut self) -> PathBuf {
        self.names += 1;
        let number = self.names;
        let name = match self.random.below(12) {
            0 => format!("d/a.log.{number}"),
            1 => format!("d/a.{number}.log"),
            2 => format!("d/a-2026-11-28.{number}.log"),
            3 => format!("d/a.log-20261128-{number}"),
            4 => format!("d/2026-11-28_{number}.a.log"),
            5 => format!("d/a.log.old.{number}"),
            6 => format!("d/archived/a.2026-11-28.{number}.log"),
            7 => format!("d/2026-11/a-11-28-2026-{number}.log"),
            8 => format!("d/old/a.log.{number}"),
            9 => format!("old/a.log-20261128-{number}"),
            10 => format!("d/incident-{number}.txt"),
            _ => format!("elsewhere/a.log.{number}"),
        };
        let path = self.root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn alphabet(&mut self) -> u8 {
        self.epochs += 1;
        (self.epochs % ALPHABETS) as u8
    }

    /// Creates a file that does not have the log's name yet.
    pub fn file(&mut self, path: PathBuf) -> usize {
        let created = Instant::now();
        let handle = File::options().append(true).read(true).create_new(true).open(&path).unwrap();
        let alphabet = self.alphabet();
        self.files.push(Inode {
            number: handle.metadata().unwrap().ino(),
            earlier_numbers: Vec::new(),
            archive: None,
            created,
            handle: Some(handle),
            path,
            linked: true,
            epochs: vec![Vec::new()],
            alphabet,
            presences: Vec::new(),
            cuts: 0,
            cut_since: false,
        });
        self.files.len() - 1
    }

    pub fn enter(&mut self, file: usize) {
        self.enter_as(file, false);
    }

    fn enter_as(&mut self, file: usize, is_anew: bool) {
        let presence = Presence { from: Instant::now(), to: None, number: self.presences, is_anew };
        self.presences += 1;
        self.files[file].presences.push(presence);
        self.files[file].cut_since = false;
        self.present = Some(file);
    }

    /// Must be called before the present file loses the name.
    pub fn leave(&mut self) -> Option<usize> {
        let file = self.present.take()?;
        self.files[file].presences.last_mut().unwrap().to = Some(Instant::now());
        Some(file)
    }

    /// Maybe closes the old file, as a writer that reopens its log. Its inode may then be reused.
    pub fn perhaps_close(&mut self, file: Option<usize>) {
        if let Some(file) = file
            && self.random.one_in(2)
        {
            self.files[file].handle = None;
        }
    }

    pub fn rename_away(&mut self, file: usize) -> Option<usize> {
        let aside = self.old_name();
        let old = self.leave();
        std::fs::rename(&self.real, &aside).unwrap();
        self.files[file].path = aside;
        self.note(format_args!("rename file {file} away"));
        old
    }

    /// Writes all of the file anew, and more, to another one, and gives that the name. To those who
    /// read it, it is the same file.
    pub fn write_anew(&mut self, file: usize, len: usize) {
        let path = self.name("anew");
        let mut handle =
            File::options().append(true).read(true).create_new(true).open(&path).unwrap();
        let inode = &mut self.files[file];
        handle.write_all(inode.epochs.last().unwrap()).unwrap();
        let number = handle.metadata().unwrap().ino();
        inode.handle = Some(handle);
        let before = std::mem::replace(&mut inode.number, number);
        inode.earlier_numbers.push(before);
        // What is written now is no late write to what had the name.
        self.leave();
        self.files[file].cut_since = true;
        self.append(file, len);
        std::fs::rename(path, &self.real).unwrap();
        self.enter_as(file, true);
        self.note(format_args!("file {file} was written anew, inode {number:x}"));
    }

    pub fn create(&mut self) -> usize {
        let file = self.file(self.real.clone());
        self.enter(file);
        let inode = self.files[file].number;
        self.note(format_args!("create file {file} inode {inode:x}"));
        file
    }

    /// The bytes of the next write.
    pub fn bytes(&mut self, file: usize, len: usize) -> Vec<u8> {
        let alphabet = self.files[file].alphabet;
        content(&mut self.random, alphabet, self.segments.len() as u64, len)
    }

    pub fn append(&mut self, file: usize, len: usize) {
        let bytes = self.bytes(file, len);
        self.write(file, &bytes, None);
    }

    pub fn write(&mut self, file: usize, bytes: &[u8], through: Option<File>) {
        let lost = self.files[file].presences.last().and_then(|last| Some((last.to?, last.number)));
        let late = lost.is_some_and(|(at, number)| {
            self.presences - number <= HELD_FILES
                && at.elapsed() < LATE
                && !self.files[file].cut_since
        });
        let inode = &mut self.files[file];
        let born = inode.epochs.len() - 1;
        let content = inode.epochs.last_mut().unwrap();
        let start = content.len() as u64;
        content.extend_from_slice(bytes);
        let end = content.len() as u64;
        let begun = Instant::now();
        match through {
            Some(mut other) => other.write_all(bytes).unwrap(),
            None => inode.handle.as_mut().unwrap().write_all(bytes).unwrap(),
        }
        let written = Instant::now();
        let (last, destroyed) = (None, None);
        self.segments.push(Segment {
            file,
            start,
            end,
            begun,
            written,
            born,
            last,
            destroyed,
            late,
        });
        self.transcript.note_write(file, born, start, end);
    }

    pub fn truncate(&mut self, file: usize, to: u64) {
        let now = Instant::now();
        let alphabet = self.alphabet();
        let inode = &mut self.files[file];
        let epoch = inode.epochs.len() - 1;
        for at in 0..self.segments.len() {
            let segment = &mut self.segments[at];
            if segment.file != file || segment.last.is_some() || segment.end <= to {
                continue;
            }
            if segment.start < to {
                let kept = Segment { end: to, ..*segment };
                segment.start = to;
                self.segments.push(kept);
            }
            let segment = &mut self.segments[at];
            (segment.last, segment.destroyed) = (Some(epoch), Some(now));
        }
        let kept = inode.epochs[epoch][..to as usize].to_vec();
        inode.epochs.push(kept);
        inode.alphabet = alphabet;
        inode.cuts += 1;
        inode.cut_since = true;
        inode.handle.as_ref().unwrap().set_len(to).unwrap();
        self.note(format_args!("truncate file {file} to {to}"));
    }

    /// Appends until the file is as long as it ever was, so that no viewer's position is behind its
    /// end.
    pub fn outgrow_cuts(&mut self, file: usize) {
        let ends = self.segments.iter().filter(|segment| segment.file == file);
        let longest = ends.map(|segment| segment.end).max().unwrap_or(0);
        let present = self.files[file].epochs.last().map_or(0, Vec::len) as u64;
        if present < longest {
            self.append(file, (longest - present) as usize);
        }
    }

    /// The file that had the name at a time.
    pub fn named_at(&self, then: Instant) -> Option<usize> {
        self.files.iter().position(|file| {
            file.presences
                .iter()
                .any(|presence| presence.from <= then && presence.to.is_none_or(|to| then < to))
        })
    }

    /// The number of files that got the name after this one.
    pub fn taken_since(&self, file: usize) -> usize {
        self.files[file].presences.last().map_or(0, |last| self.presences - 1 - last.number)
    }
    /// Whether a segment was written while its file had the name.
    pub fn was_in_time(&self, segment: &Segment) -> bool {
        let mut presences = self.files[segment.file].presences.iter();
        presences.any(|presence| presence.to.is_none_or(|to| segment.written < to))
    }
    /// The same for a presence that began before `then`.
    pub fn was_in_time_since(&self, segment: &Segment, then: Instant) -> bool {
        let mut presences = self.files[segment.file].presences.iter();
        presences.any(|presence| {
            presence.from <= then && presence.to.is_none_or(|to| segment.written < to)
        })
    }

    /// Whether a viewer that has later bytes must have received this segment or an announced
    /// discontinuity: it was written in time, it still exists, and no file got the name back.
    pub fn was_left_for_good(&self, segment: &Segment) -> bool {
        segment.destroyed.is_none()
            && self.was_in_time(segment)
            && self.files.iter().all(|file| file.presences.is_empty() || file.was_there_once())
    }
}
