//! A model of a log beside the real server: nothing is lost, repeated or hidden, whatever happens to the file.
//!
//! A script that is drawn by chance writes, rotates, truncates, removes and links real files while viewers of
//! `tailcast.v1` with `format=raw` come, stall, drop and resume over real WebSockets. The model keeps, for each file
//! and each of its *epochs* (a truncation ends one), the exact bytes. In the end each viewer's stream is held against it.
//!
//! # What is demanded
//!
//! 1. Within a generation offsets are contiguous. All that a viewer gets under one generation, over late writes and
//!    resumptions, is the content of *one* epoch of a file with the inode that the generation names.
//! 2. Offsets go elsewhere only by a `reset` or a `gap`. A `gap` begins where the viewer is. A `reset` that goes back
//!    to a generation goes on where this viewer left it.
//! 3. No byte comes twice, but for what a `reset` that begins a new generation tells anew: the head that a truncation
//!    left, a file that came back after it was forgotten, a position that was not recovered.
//!    There are no more of these than there were truncations, and files that took the name.
//! 4. A byte *must* arrive if the server could see it. That is, it was not truncated within [`SEEN`] after it was
//!    written, and
//!    * was written to a file that has the name still, or had it for [`SEEN`], or of which a viewer had heard when it
//!      lost the name: then the server held it; or
//!    * was written to such a file at most [`LATE`] after it lost the name, while fewer than four other files took it,
//!      and nobody truncated it in between.
//! 5. A file is read to its end before the next one begins: what was written before it lost the name never comes as late.
//! 6. In the end the present file has been read to its end, a line that is nowhere else.
//!
//! # What is not
//!
//! * A file that came and went between two looks was never seen. Nor were bytes that were written and truncated between
//!   two looks. They are `announced` if the viewer was told of a discontinuity after they were written, and else
//!   `unseen`: what it got is the truth about the file, before and after. A truncation that cuts nothing that was read
//!   can't be told, and need not be.
//! * A viewer that stalls or was away may be given a `gap` instead of what is gone, and so may one that keeps up if the
//!   bytes were truncated or four more files took the name.
//! * A position is one pair. A viewer that resumes exactly where one run of a generation ends and another begins, as a
//!   late write divides them, hears again what came between, at its own generations and offsets, rather than never.
//!
//! Bytes tell their epoch: each comes from one of eight alphabets that take turns (but for the newline), so that one byte
//! is enough to see that it belongs elsewhere.
//!
//! `TAILCAST_SEED=n` runs one script; `TAILCAST_SEEDS=n` as many, and `TAILCAST_STEPS=n` sets how long they are.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{DEADLINE, TestServer, target};

/// What lasts so long is seen, whether events come or not.
const SEEN: Duration = Duration::from_millis(2500);
/// So long a file that lost the name is heard beyond doubt; the server hears it for 5 s.
const LATE: Duration = Duration::from_millis(3500);
/// So many files without the name are held.
const HELD_FILES: usize = 4;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// From 1 to 1 MiB, each magnitude as likely as another.
    fn size(&mut self) -> usize {
        let top = 1u64 << self.below(21);
        (top + self.below(top)).min(1 << 20) as usize
    }
}

/// Bytes that were written at once, and were truncated at once or not at all.
struct Segment {
    file: usize,
    start: u64,
    end: u64,
    /// When the write began and when it was done.
    begun: Instant,
    written: Instant,
    /// The epoch in which they were written, and the one whose end was theirs.
    born: usize,
    last: Option<usize>,
    destroyed: Option<Instant>,
    /// Whether the file had lost the name so shortly before that it was heard, if it was held.
    late: bool,
}

/// When a file had the log's name.
struct Presence {
    from: Instant,
    to: Option<Instant>,
    /// Its number among all.
    number: usize,
}

struct Inode {
    number: u64,
    /// Some while the writer holds it.
    handle: Option<File>,
    path: PathBuf,
    linked: bool,
    epochs: Vec<Vec<u8>>,
    alphabet: u8,
    /// The second byte of a character whose first has been written.
    half: bool,
    presences: Vec<Presence>,
    cuts: usize,
    cut_since: bool,
}

/// The log as it really is.
struct Model {
    random: Random,
    root: PathBuf,
    /// Some when the log's name is a link.
    link: Option<PathBuf>,
    real: PathBuf,
    files: Vec<Inode>,
    segments: Vec<Segment>,
    present: Option<usize>,
    presences: usize,
    epochs: usize,
    names: usize,
    began: Instant,
    told: String,
    operations: usize,
}

impl Model {
    fn new(seed: u64, root: PathBuf) -> Self {
        let mut random = Random(seed);
        let link = random.one_in(3).then(|| root.join("current.log"));
        std::fs::create_dir(root.join("d")).unwrap();
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
            began: Instant::now(),
            told: String::new(),
            operations: 0,
        };
        if let Some(link) = &model.link {
            std::os::unix::fs::symlink(&model.real, link).unwrap();
        }
        model.create();
        model
    }

    fn log(&self) -> String {
        target(self.link.as_ref().unwrap_or(&self.real))
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let at = self.began.elapsed().as_secs_f64();
        writeln!(self.told, "  {at:8.4} {what}").unwrap();
    }

    fn name(&mut self, kind: &str) -> PathBuf {
        self.names += 1;
        self.root.join(format!("d/{kind}.{}", self.names))
    }

    fn alphabet(&mut self) -> u8 {
        self.epochs += 1;
        (self.epochs % 8) as u8
    }

    /// A new file that has not the log's name yet.
    fn file(&mut self, path: PathBuf) -> usize {
        let handle = File::options().append(true).read(true).create_new(true).open(&path).unwrap();
        let alphabet = self.alphabet();
        self.files.push(Inode {
            number: handle.metadata().unwrap().ino(),
            handle: Some(handle),
            path,
            linked: true,
            epochs: vec![Vec::new()],
            alphabet,
            half: false,
            presences: Vec::new(),
            cuts: 0,
            cut_since: false,
        });
        self.files.len() - 1
    }

    fn enter(&mut self, file: usize) {
        let presence = Presence { from: Instant::now(), to: None, number: self.presences };
        self.presences += 1;
        self.files[file].presences.push(presence);
        self.files[file].cut_since = false;
        self.present = Some(file);
    }

    /// To be called before the name is lost.
    fn leave(&mut self) -> Option<usize> {
        let file = self.present.take()?;
        self.files[file].presences.last_mut().unwrap().to = Some(Instant::now());
        Some(file)
    }

    /// A writer that reopens at once lets go of the old file, and its inode may be had again.
    fn perhaps_close(&mut self, file: Option<usize>) {
        if let Some(file) = file
            && self.random.one_in(2)
        {
            self.files[file].handle = None;
        }
    }

    fn create(&mut self) -> usize {
        let file = self.file(self.real.clone());
        self.enter(file);
        let inode = self.files[file].number;
        self.note(format_args!("create file {file} inode {inode:x}"));
        file
    }

    fn bytes(&mut self, file: usize, len: usize) -> Vec<u8> {
        let alphabet = self.files[file].alphabet;
        let mut half = self.files[file].half;
        let mut bytes = Vec::with_capacity(len + 1);
        while bytes.len() < len {
            let drawn = self.random.next();
            let low = (drawn >> 8) as u8;
            if half {
                bytes.push(0x80 + 8 * (low % 8) + alphabet);
                half = false;
            } else {
                match drawn % 40 {
                    0 => bytes.push(b'\n'),
                    1..8 => {
                        bytes.push(0xc4 + alphabet);
                        half = true;
                    }
                    _ => bytes.push(0x20 + 8 * (low % 11) + alphabet),
                }
            }
        }
        self.files[file].half = half;
        bytes
    }

    fn append(&mut self, file: usize, len: usize) {
        let bytes = self.bytes(file, len);
        self.write(file, &bytes, None);
    }

    fn write(&mut self, file: usize, bytes: &[u8], through: Option<File>) {
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
        self.note(format_args!("write file {file} epoch {born} {start}..{end}"));
    }

    fn truncate(&mut self, file: usize, to: u64) {
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
        (inode.alphabet, inode.half) = (alphabet, false);
        inode.cuts += 1;
        inode.cut_since = true;
        inode.handle.as_ref().unwrap().set_len(to).unwrap();
        self.note(format_args!("truncate file {file} to {to}"));
    }

    /// One thing that happens to the log, in steps with a pause between them.
    async fn step(&mut self) {
        self.operations += 1;
        let present = match self.present {
            Some(present) => present,
            None => self.create(),
        };
        let size = self.files[present].epochs.last().unwrap().len() as u64;
        match self.random.below(20) {
            0..7 => {
                let len = self.random.size();
                self.append(present, len);
            }
            7..9 => {
                let old = self.leave();
                let aside = self.name("old");
                std::fs::rename(&self.real, &aside).unwrap();
                self.files[present].path = aside;
                self.note(format_args!("rename file {present} away"));
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                self.create();
            }
            9 => {
                let path = self.name("next");
                let next = self.file(path.clone());
                let len = self.random.size();
                self.append(next, len);
                let old = self.leave();
                std::fs::rename(path, &self.real).unwrap();
                self.enter(next);
                self.files[next].path = self.real.clone();
                self.files[present].linked = false;
                self.note(format_args!("rename file {next} over file {present}"));
                self.perhaps_close(old);
            }
            10 => {
                let copy = self.name("copy");
                std::fs::copy(&self.real, copy).unwrap();
                self.truncate(present, 0);
            }
            11 => {
                let to = self.random.below(size + 1);
                self.truncate(present, to);
            }
            12..14 => {
                self.truncate(present, 0);
                let smaller = self.random.below(size.max(1)) as usize;
                let refill = match self.random.below(3) {
                    0 => smaller.max(1),
                    1 => (size as usize).clamp(1, 1 << 20),
                    _ => size as usize % (1 << 20) + self.random.size(),
                };
                self.append(present, refill);
            }
            14 => {
                let old = self.leave();
                std::fs::remove_file(&self.real).unwrap();
                self.files[present].linked = false;
                self.note(format_args!("unlink file {present}"));
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                self.create();
            }
            15 | 16 => {
                let held: Vec<usize> = (0..self.files.len())
                    .filter(|&file| Some(file) != self.present && self.files[file].handle.is_some())
                    .filter(|&file| !self.files[file].presences.is_empty())
                    .collect();
                let recent = self.random.below(held.len().min(3) as u64) as usize;
                if let Some(&old) = held.iter().rev().nth(recent) {
                    let len = self.random.size().min(1 << 16);
                    self.append(old, len);
                    if self.random.one_in(8) {
                        self.truncate(old, 0);
                    }
                }
            }
            17 => {
                let old = self.leave();
                std::fs::remove_dir_all(self.root.join("d")).unwrap();
                for file in &mut self.files {
                    file.linked = false;
                }
                self.note(format_args!("remove the directory with file {present}"));
                self.perhaps_late(present).await;
                self.perhaps_close(old);
                std::fs::create_dir(self.root.join("d")).unwrap();
                self.create();
            }
            18 => match self.link.clone() {
                Some(link) => self.retarget(&link, present),
                None => self.hard(present),
            },
            _ => self.hard(present),
        }
    }

    async fn perhaps_late(&mut self, file: usize) {
        if self.random.one_in(3) {
            let len = self.random.size().min(1 << 16);
            self.append(file, len);
        }
        self.pause().await;
    }

    fn retarget(&mut self, link: &std::path::Path, present: usize) {
        let back: Vec<usize> = (0..self.files.len())
            .filter(|&file| file != present && self.files[file].linked)
            .filter(|&file| self.files[file].handle.is_some())
            .collect();
        let chosen = self.random.below(back.len().max(1) as u64) as usize;
        let next = match back.get(chosen) {
            Some(&old) if self.random.one_in(2) => old,
            _ => {
                let path = self.name("target");
                let next = self.file(path);
                let len = self.random.size();
                self.append(next, len);
                next
            }
        };
        let aside = self.root.join("new-link");
        std::os::unix::fs::symlink(&self.files[next].path, &aside).unwrap();
        self.leave();
        std::fs::rename(aside, link).unwrap();
        self.enter(next);
        self.real = self.files[next].path.clone();
        self.note(format_args!("link from file {present} to file {next}"));
    }

    fn hard(&mut self, present: usize) {
        self.names += 1;
        let other = self.root.join(format!("elsewhere/hard.{}", self.names));
        std::fs::hard_link(&self.real, &other).unwrap();
        let through = File::options().append(true).open(other).unwrap();
        let len = self.random.size();
        let bytes = self.bytes(present, len);
        self.note(format_args!("through a hard link:"));
        self.write(present, &bytes, Some(through));
    }

    async fn pause(&mut self) {
        let millis = match self.random.below(40) {
            0..14 => return,
            14..30 => self.random.below(30),
            30..37 => 50 + self.random.below(350),
            37 | 38 => 600 + self.random.below(600),
            _ => 2600,
        };
        sleep(Duration::from_millis(millis)).await;
    }
}

/// What a viewer is told to do.
enum Order {
    Stall(Duration),
    /// Break the connection, and come back after so long.
    Away(Duration),
}

/// What a viewer did and heard.
#[derive(Clone, Debug)]
enum Heard {
    Asked { generation: String, offset: u64 },
    Open { generation: String, from: u64, recovered: bool },
    Data { offset: u64, bytes: Vec<u8> },
    Reset { generation: String, from: u64, reason: String },
    Gap { generation: String, from: u64, to: Option<u64> },
    Waiting,
    Closed(String),
}

type Record = Arc<Mutex<Vec<(Instant, Heard)>>>;

struct Watcher {
    kind: &'static str,
    record: Record,
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::JoinHandle<()>,
}

impl Watcher {
    fn start(kind: &'static str, address: SocketAddr, log: &str, query: &str) -> Self {
        let record = Record::default();
        let (orders, heard) = mpsc::unbounded_channel();
        let watching = watch(
            address,
            format!("{log}?tail=1&format=raw"),
            query.to_owned(),
            heard,
            Arc::clone(&record),
        );
        Self { kind, record, orders, task: tokio::spawn(watching) }
    }

    fn has(&self, last: &[u8]) -> bool {
        let record = self.record.lock().unwrap();
        record
            .iter()
            .rev()
            .any(|(_, heard)| matches!(heard, Heard::Data { bytes, .. } if bytes.ends_with(last)))
    }

    fn len(&self) -> usize {
        self.record.lock().unwrap().len()
    }
}

async fn watch(
    address: SocketAddr,
    target: String,
    query: String,
    mut orders: mpsc::UnboundedReceiver<Order>,
    record: Record,
) {
    let mut viewer = Viewer::v1(address, &format!("{target}{query}")).await;
    let mut at: Option<(String, u64)> = None;
    let tell = |heard| record.lock().unwrap().push((Instant::now(), heard));
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                None => return,
                Some(Order::Stall(time)) => sleep(time).await,
                Some(Order::Away(time)) => {
                    drop(viewer);
                    sleep(time).await;
                    let query = match &at {
                        Some((generation, offset)) => format!("&from={offset}&generation={generation}"),
                        None => query.clone(),
                    };
                    if let Some((generation, offset)) = at.clone() {
                        tell(Heard::Asked { generation, offset });
                    }
                    viewer = Viewer::v1(address, &format!("{target}{query}")).await;
                }
            },
            message = viewer.next() => match message {
                Ok(Message::Binary(message)) => {
                    let offset = u64::from_be_bytes(message[..8].try_into().unwrap());
                    if let Some((_, next)) = &mut at {
                        *next = offset + message.len() as u64 - 8;
                    }
                    tell(Heard::Data { offset, bytes: message[8..].to_vec() });
                }
                Ok(Message::Text(text)) => {
                    let said: serde_json::Value = serde_json::from_str(&text).unwrap();
                    let generation = said["generation"].as_str().unwrap_or_default().to_owned();
                    let from = said["from"].as_u64().unwrap_or_default();
                    tell(match said["type"].as_str().unwrap() {
                        "open" => {
                            at = Some((generation.clone(), from));
                            Heard::Open { generation, from, recovered: said["recovered"].as_bool().unwrap() }
                        }
                        "reset" => {
                            at = Some((generation.clone(), from));
                            Heard::Reset { generation, from, reason: said["reason"].as_str().unwrap().to_owned() }
                        }
                        "gap" => {
                            let to = said["to"].as_u64();
                            if let (Some(to), Some((_, next))) = (to, &mut at) {
                                *next = to;
                            }
                            Heard::Gap { generation, from, to }
                        }
                        "waiting" => Heard::Waiting,
                        other => Heard::Closed(format!("unexpected {other}: {text}")),
                    });
                }
                other => {
                    tell(Heard::Closed(format!("{other:?}")));
                    return;
                }
            },
        }
    }
}

/// All that came under one generation, from when it was begun.
struct Stream {
    generation: String,
    next: u64,
    /// Without gaps each, in order.
    pieces: Vec<(u64, Vec<u8>)>,
    gaps: Vec<(u64, u64)>,
    /// Told as something that begins anew.
    anew: bool,
    rotated: bool,
    /// What came as a late write.
    late: Vec<(u64, u64)>,
    /// From before a position was lost: what came since has not been heard.
    left: bool,
    first: Instant,
    found: Option<(usize, usize)>,
}

/// Bytes, by what became of them.
#[derive(Clone, Copy, Default)]
struct Totals {
    viewers: u64,
    once: u64,
    again: u64,
    announced: u64,
    unseen: u64,
    silent: u64,
    duplicated: u64,
    malformed: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.viewers += other.viewers;
        self.once += other.once;
        self.again += other.again;
        self.announced += other.announced;
        self.unseen += other.unseen;
        self.silent += other.silent;
        self.duplicated += other.duplicated;
        self.malformed += other.malformed;
    }
}

/// A viewer's stream, held against the model.
struct Walk {
    streams: Vec<Stream>,
    open: Option<(Instant, String, u64)>,
    /// When discontinuities were told.
    breaks: Vec<Instant>,
    /// By inode and kind, the generations that were begun.
    resets: HashMap<(u64, &'static str), HashSet<String>>,
    faults: Vec<String>,
    totals: Totals,
    /// When it came back without its position, the last time.
    lost_position: Option<Instant>,
}

impl Walk {
    fn new(record: &[(Instant, Heard)]) -> Self {
        let mut walk = Self {
            streams: Vec::new(),
            open: None,
            breaks: Vec::new(),
            resets: HashMap::new(),
            faults: Vec::new(),
            totals: Totals { viewers: 1, ..Totals::default() },
            lost_position: None,
        };
        let mut current: Option<usize> = None;
        let mut asked: Option<(String, u64)> = None;
        let (mut resumed, mut late) = (false, false);
        for (when, heard) in record {
            match heard {
                Heard::Asked { generation, offset } => asked = Some((generation.clone(), *offset)),
                Heard::Open { generation, from, recovered } => {
                    late = false;
                    walk.open.get_or_insert_with(|| (*when, generation.clone(), *from));
                    match asked.take() {
                        Some((wanted, offset)) if *recovered => {
                            resumed = true;
                            if *from != offset || *generation != wanted {
                                walk.fault(format!(
                                    "asked for {wanted} {offset}, recovered {generation} {from}"
                                ));
                            }
                            current =
                                walk.streams.iter().rposition(|stream| stream.generation == wanted);
                        }
                        wanted => {
                            if wanted.is_some() {
                                walk.breaks.push(*when);
                                walk.lost_position = Some(*when);
                                walk.streams.iter_mut().for_each(|stream| stream.left = true);
                            }
                            current = Some(walk.begin(generation, *from, true, false, *when));
                        }
                    }
                }
                Heard::Reset { generation, from, reason } => {
                    walk.breaks.push(*when);
                    late = reason == "late";
                    let anew = matches!(reason.as_str(), "truncated" | "replaced");
                    let kind = match reason.as_str() {
                        "truncated" => "truncated",
                        "rotated" | "replaced" => "turned",
                        _ => "late or back",
                    };
                    walk.resets
                        .entry((inode_of(generation), kind))
                        .or_default()
                        .insert(generation.clone());
                    let known =
                        walk.streams.iter().rposition(|stream| stream.generation == *generation);
                    let fresh = known.is_none() || resumed || walk.lost_position.is_some();
                    if !fresh && kind != "late or back" {
                        walk.fault(format!("{reason}: {generation} was begun already"));
                    }
                    current = Some(match known {
                        Some(known) if kind == "late or back" => {
                            let next = walk.streams[known].next;
                            if *from < next && resumed && reason == "late" {
                                walk.begin(generation, *from, true, false, *when)
                            } else {
                                if *from > next && !walk.streams[known].left {
                                    walk.totals.silent += from - next;
                                    walk.fault(format!("{reason} to {generation} {from}, but it had been read to {next}"));
                                } else if *from < next {
                                    walk.fault(format!("{reason} to {generation} {from} again, it had been read to {next}"));
                                }
                                walk.streams[known].next = *from;
                                known
                            }
                        }
                        _ => walk.begin(generation, *from, anew, reason == "rotated", *when),
                    });
                }
                Heard::Gap { generation, from, to } => {
                    walk.breaks.push(*when);
                    let Some(to) = to else { continue };
                    match current.map(|at| &mut walk.streams[at]) {
                        Some(stream) if stream.generation == *generation && stream.next == *from && to >= from => {
                            stream.gaps.push((*from, *to));
                            stream.next = *to;
                        }
                        _ => walk.fault(format!("a gap of {generation} {from}..{to} that does not begin where the viewer is")),
                    }
                }
                Heard::Data { offset, bytes } => {
                    let Some(stream) = current.map(|at| &mut walk.streams[at]) else {
                        walk.fault("bytes before open".to_owned());
                        continue;
                    };
                    let next = stream.next;
                    stream.next = offset + bytes.len() as u64;
                    let generation = stream.generation.clone();
                    if late {
                        stream.late.push((*offset, stream.next));
                    }
                    match stream.pieces.last_mut() {
                        Some((start, piece)) if *start + piece.len() as u64 == *offset => {
                            piece.extend_from_slice(bytes)
                        }
                        _ => stream.pieces.push((*offset, bytes.clone())),
                    }
                    if *offset > next {
                        walk.totals.silent += offset - next;
                        walk.fault(format!("{generation}: bytes at {offset}, expected at {next}"));
                    } else if *offset < next {
                        walk.totals.duplicated += next - offset;
                        walk.fault(format!("{generation}: bytes at {offset} again, had {next}"));
                    }
                }
                Heard::Waiting => {}
                Heard::Closed(how) => walk.fault(format!("closed: {how}")),
            }
        }
        walk
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn begin(
        &mut self,
        generation: &str,
        from: u64,
        anew: bool,
        rotated: bool,
        first: Instant,
    ) -> usize {
        let generation = generation.to_owned();
        let (pieces, gaps) = (Vec::new(), Vec::new());
        self.streams.push(Stream {
            generation,
            next: from,
            pieces,
            gaps,
            anew,
            rotated,
            late: Vec::new(),
            left: false,
            first,
            found: None,
        });
        self.streams.len() - 1
    }

    /// Finds the epoch of each generation.
    fn find(&mut self, model: &Model) {
        for stream in self.streams.iter_mut().filter(|stream| !stream.pieces.is_empty()) {
            let inode = inode_of(&stream.generation);
            let is_of = |content: &[u8]| {
                stream.pieces.iter().all(|(start, piece)| {
                    content.get(*start as usize..).is_some_and(|rest| rest.starts_with(piece))
                })
            };
            let mut files = model.files.iter().enumerate().filter(|(_, file)| file.number == inode);
            stream.found = files.find_map(|(at, file)| {
                file.epochs.iter().position(|content| is_of(content)).map(|epoch| (at, epoch))
            });
            if stream.found.is_none() {
                let bytes: usize = stream.pieces.iter().map(|(_, piece)| piece.len()).sum();
                self.totals.malformed += bytes as u64;
                let pieces: Vec<_> = stream
                    .pieces
                    .iter()
                    .map(|(start, piece)| *start..*start + piece.len() as u64)
                    .collect();
                self.faults
                    .push(format!("{} {pieces:?} is the content of no epoch", stream.generation));
            }
        }
    }

    fn weigh(&mut self, model: &Model, heard_of: &HashMap<usize, Instant>, keeps_up: bool) {
        let Some((opened, generation, from)) = self.open.clone() else {
            return self.fault("never opened".to_owned());
        };
        let opened_file = self
            .streams
            .iter()
            .find(|stream| stream.generation == generation)
            .and_then(|stream| stream.found);
        for (number, segment) in model.segments.iter().enumerate() {
            let mut got: Vec<(u64, u64)> = Vec::new();
            for stream in &self.streams {
                let Some((file, epoch)) = stream.found else { continue };
                if file != segment.file
                    || epoch < segment.born
                    || segment.last.is_some_and(|last| last < epoch)
                {
                    continue;
                }
                let presences = &model.files[file].presences;
                let in_time =
                    presences.len() == 1 && presences[0].to.is_some_and(|to| segment.written < to);
                let was_late =
                    stream.late.iter().any(|(a, b)| *a < segment.end && segment.start < *b);
                if in_time && was_late {
                    self.faults.push(format!(
                        "file {file} {}..{} came as late, but was written before the name was lost",
                        segment.start, segment.end
                    ));
                }
                let came_back = stream.rotated && model.files[file].presences.len() > 1;
                for (start, piece) in &stream.pieces {
                    let a = segment.start.max(*start);
                    let b = segment.end.min(start + piece.len() as u64);
                    if a >= b {
                        continue;
                    }
                    let had: u64 =
                        got.iter().map(|(c, d)| b.min(*d).saturating_sub(a.max(*c))).sum();
                    // What was written after the stream was told anew comes in that stream alone.
                    let told_anew = (stream.anew || came_back) && segment.written < stream.first;
                    if had > 0 && !told_anew {
                        self.totals.duplicated += had;
                        self.faults.push(format!(
                            "file {file} {a}..{b} came again under {}",
                            stream.generation
                        ));
                    } else {
                        self.totals.again += had;
                    }
                    self.totals.once += (b - a) - had;
                    got = united(got, (a, b));
                }
            }
            let before = segment.begun < opened;
            let of_the_first = opened_file.is_some_and(|(file, _)| file == segment.file)
                && segment.destroyed.is_none_or(|destroyed| destroyed > opened);
            if before && !of_the_first {
                continue;
            }
            let wanted = if before { segment.start.max(from) } else { segment.start };
            for (a, b) in missing((wanted, segment.end), &got) {
                let since = segment.written.max(opened);
                let away = self.lost_position.is_some_and(|lost| segment.begun < lost);
                let inode = model.files[segment.file].number;
                let told = self.streams.iter().any(|stream| {
                    // One under which no byte came is known by its inode only.
                    let is_of = match stream.found {
                        Some((file, _)) => file == segment.file,
                        None => inode_of(&stream.generation) == inode,
                    };
                    is_of && stream.gaps.iter().any(|(from, to)| *from <= a && b <= *to)
                });
                let excused = told
                    && (!keeps_up
                        || segment.destroyed.is_some()
                        || model.taken_since(segment.file) >= HELD_FILES);
                if !away && !excused && model.must_arrive(segment, since, before, heard_of) {
                    self.totals.silent += b - a;
                    self.faults.push(format!(
                        "file {} epoch {} {a}..{b} (segment {number}, written at {:.4}) never came{}",
                        segment.file,
                        segment.born,
                        (segment.written - model.began).as_secs_f64(),
                        if told { ", but for a gap" } else { "" },
                    ));
                } else if told || self.breaks.iter().any(|told| *told >= segment.begun) {
                    self.totals.announced += b - a;
                } else {
                    self.totals.unseen += b - a;
                }
            }
        }
    }

    /// No more beginnings than there were reasons.
    fn count_turns(&mut self, model: &Model) {
        for (&(inode, kind), told) in &self.resets {
            let told = told.len();
            let files = model.files.iter().filter(|file| file.number == inode);
            let (cuts, turns) = files.fold((0, 0), |(cuts, turns), file| {
                (cuts + file.cuts, turns + file.presences.len())
            });
            // A position that was not recovered is told as one more.
            let allowed = match kind {
                "truncated" => cuts,
                "turned" => turns + 8 * usize::from(self.lost_position.is_some()),
                _ => usize::MAX,
            };
            if told > allowed {
                self.faults.push(format!(
                    "inode {inode} was told {kind} {told} times, not at most {allowed}"
                ));
            }
        }
    }
}

impl Model {
    fn taken_since(&self, file: usize) -> usize {
        self.files[file].presences.last().map_or(0, |last| self.presences - 1 - last.number)
    }

    fn must_arrive(
        &self,
        segment: &Segment,
        since: Instant,
        of_the_first: bool,
        heard_of: &HashMap<usize, Instant>,
    ) -> bool {
        let lasts_after = |seen: Instant| {
            segment
                .destroyed
                .is_none_or(|destroyed| destroyed.saturating_duration_since(seen) >= SEEN)
        };
        if of_the_first {
            return lasts_after(since);
        }
        let presences = &self.files[segment.file].presences;
        presences.iter().enumerate().any(|(number, presence)| {
            let seen = since.max(presence.from);
            let Some(to) = presence.to else { return lasts_after(seen) };
            let heard = number == 0 && heard_of.get(&segment.file).is_some_and(|heard| *heard < to);
            let held = to - presence.from >= SEEN || heard;
            if seen < to {
                held && lasts_after(seen)
            } else {
                held && segment.late
                    && number + 1
                        == presences.iter().filter(|other| other.from <= segment.written).count()
                    && lasts_after(seen)
            }
        })
    }
}

fn inode_of(generation: &str) -> u64 {
    u64::from_str_radix(generation.split('-').nth(1).unwrap(), 16).unwrap()
}

fn united(mut all: Vec<(u64, u64)>, new: (u64, u64)) -> Vec<(u64, u64)> {
    all.push(new);
    all.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(all.len());
    for (a, b) in all {
        match merged.last_mut() {
            Some((_, end)) if a <= *end => *end = b.max(*end),
            _ => merged.push((a, b)),
        }
    }
    merged
}

fn missing((mut from, to): (u64, u64), got: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut missing = Vec::new();
    for &(a, b) in got {
        if a > from {
            missing.push((from, a.min(to)));
        }
        from = from.max(b);
    }
    if from < to {
        missing.push((from, to));
    }
    missing
}

struct Outcome {
    seed: u64,
    operations: usize,
    written: u64,
    totals: Vec<(&'static str, Totals)>,
    faults: Vec<String>,
    told: String,
}

async fn run(seed: u64, steps: usize) -> Outcome {
    let server = TestServer::start().await;
    let mut model = Model::new(seed, server.directory.path().canonicalize().unwrap());
    let log = model.log();
    let mut watchers = vec![
        Watcher::start("keeps up", server.address, &log, "&lines=all"),
        Watcher::start("stalls", server.address, &log, "&lines=all"),
        Watcher::start("resumes", server.address, &log, "&lines=all"),
    ];
    for _ in 0..steps {
        model.step().await;
        model.pause().await;
        match model.random.below(12) {
            0 => {
                let time = Duration::from_millis(model.random.below(2000));
                watchers[1].orders.send(Order::Stall(time)).ok();
                model.note(format_args!("one stalls for {time:?}"));
            }
            1 | 2 => {
                let time = Duration::from_millis(model.random.below(60).pow(2) / 3);
                let which = if watchers.len() > 5 && model.random.one_in(3) { 5 } else { 2 };
                watchers[which].orders.send(Order::Away(time)).ok();
                model.note(format_args!("viewer {which} goes away for {time:?}"));
            }
            3 if watchers.len() < 7 => {
                let query = match model.random.below(3) {
                    0 => "&lines=all".to_owned(),
                    _ => format!("&lines={}", model.random.below(300)),
                };
                let kind = if watchers.len() == 5 { "late, resumes" } else { "late" };
                watchers.push(Watcher::start(kind, server.address, &log, &query));
                model.note(format_args!("viewer {} comes with {query}", watchers.len() - 1));
                // It comes while the log grows: the file is ahead of what has been published.
                while let Some(present) = model.present
                    && watchers.last().is_some_and(|last| last.len() < 3)
                    && model.random.below(60) > 0
                {
                    let len = 1 + model.random.below(3000) as usize;
                    model.append(present, len);
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
    }
    let present = model.present.unwrap_or_else(|| model.create());
    let last = format!("\nthe end of {seed}\n").into_bytes();
    model.write(present, &last, None);
    let mut faults = Vec::new();
    let until = Instant::now() + DEADLINE;
    while !watchers.iter().all(|watcher| watcher.has(&last)) {
        if Instant::now() > until {
            let without = watchers.iter().enumerate().filter(|(_, watcher)| !watcher.has(&last));
            faults.extend(without.map(|(at, watcher)| {
                format!("viewer {at}, which {}, never got the last line", watcher.kind)
            }));
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    loop {
        let heard: usize = watchers.iter().map(Watcher::len).sum();
        sleep(Duration::from_millis(400)).await;
        if heard == watchers.iter().map(Watcher::len).sum::<usize>() {
            break;
        }
    }
    let mut walks = Vec::new();
    for watcher in watchers {
        watcher.task.abort();
        let record = watcher.record.lock().unwrap().clone();
        let mut walk = Walk::new(&record);
        walk.find(&model);
        walks.push((watcher.kind, walk, record));
    }
    let mut heard_of: HashMap<usize, Instant> = HashMap::new();
    for (_, walk, _) in &walks {
        for stream in walk.streams.iter().filter(|stream| !stream.pieces.is_empty()) {
            let Some((file, _)) = stream.found else { continue };
            // It is the file beyond doubt if nobody else has had its inode.
            if model.files.iter().filter(|other| other.number == model.files[file].number).count()
                == 1
            {
                let first = heard_of.entry(file).or_insert(stream.first);
                *first = stream.first.min(*first);
            }
        }
    }
    let mut totals = Vec::new();
    for (at, (kind, walk, record)) in walks.iter_mut().enumerate() {
        walk.weigh(&model, &heard_of, *kind == "keeps up");
        walk.count_turns(&model);
        if !walk.faults.is_empty() {
            faults.extend(
                walk.faults.iter().map(|fault| format!("viewer {at}, which {kind}: {fault}")),
            );
            writeln!(model.told, "viewer {at} heard:").unwrap();
            for (when, heard) in record {
                let when = when.saturating_duration_since(model.began).as_secs_f64();
                match heard {
                    Heard::Data { offset, bytes } => {
                        writeln!(
                            model.told,
                            "  {when:8.4} data {offset}..{}",
                            *offset + bytes.len() as u64
                        )
                        .unwrap();
                    }
                    other => writeln!(model.told, "  {when:8.4} {other:?}").unwrap(),
                }
            }
        }
        totals.push((*kind, walk.totals));
    }
    let written = model.segments.iter().map(|segment| segment.end - segment.start).sum();
    server.stop().await.unwrap();
    Outcome { seed, operations: model.operations, written, totals, faults, told: model.told }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_repeated_or_hidden() {
    let steps = setting("TAILCAST_STEPS").unwrap_or(40) as usize;
    let seeds: Vec<u64> = match setting("TAILCAST_SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("TAILCAST_SEEDS").unwrap_or(28)).collect(),
    };
    let began = Instant::now();
    let mut waiting = seeds.into_iter();
    let mut running = tokio::task::JoinSet::new();
    for seed in waiting.by_ref().take(20) {
        running.spawn(run(seed, steps));
    }
    let mut outcomes = Vec::new();
    while let Some(outcome) = running.join_next().await {
        outcomes.push(outcome.unwrap());
        if let Some(seed) = waiting.next() {
            running.spawn(run(seed, steps));
        }
    }
    let mut kinds: Vec<(&str, Totals)> = Vec::new();
    for (kind, totals) in outcomes.iter().flat_map(|outcome| &outcome.totals) {
        match kinds.iter_mut().find(|(known, _)| known == kind) {
            Some((_, sum)) => sum.add(totals),
            None => kinds.push((kind, *totals)),
        }
    }
    let operations: usize = outcomes.iter().map(|outcome| outcome.operations).sum();
    let written: u64 = outcomes.iter().map(|outcome| outcome.written).sum();
    eprintln!(
        "{} scripts, {operations} operations, {written} bytes written, {:.1} s",
        outcomes.len(),
        began.elapsed().as_secs_f64()
    );
    eprintln!(
        "{:14}{:>8}{:>13}{:>11}{:>11}{:>9}{:>8}{:>11}{:>10}",
        "viewer",
        "viewers",
        "once",
        "again",
        "announced",
        "unseen",
        "silent",
        "duplicated",
        "malformed"
    );
    for (kind, sum) in kinds {
        eprintln!(
            "{kind:14}{:>8}{:>13}{:>11}{:>11}{:>9}{:>8}{:>11}{:>10}",
            sum.viewers,
            sum.once,
            sum.again,
            sum.announced,
            sum.unseen,
            sum.silent,
            sum.duplicated,
            sum.malformed
        );
    }
    let mut failed = 0;
    for outcome in outcomes.iter().filter(|outcome| !outcome.faults.is_empty()) {
        failed += 1;
        let faults = outcome.faults.iter().take(8).cloned().collect::<Vec<_>>().join("\n");
        eprintln!("TAILCAST_SEED={} has {} faults:\n{faults}", outcome.seed, outcome.faults.len());
        if failed == 1 || std::env::var_os("TAILCAST_TOLD").is_some() {
            eprintln!("{}", outcome.told);
        }
    }
    assert_eq!(failed, 0, "scripts with faults");
}
