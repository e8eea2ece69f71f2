//! A log whose old files are shifted by number, compressed and removed, as logrotate does it, while
//! viewers follow it and readers read all of it with `history=1`.
//!
//! What a reader gets is everything that is still on the disk when it comes, each byte once, in the
//! order in which it was written. While the log is written and rotated meanwhile, there may be more
//! behind that. A file that the server may have missed while it followed the log need not be there: one
//! that had the name for a moment, for which there is a `gap` without an end.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::task::yield_now;

use super::host::Host;
use super::log::{Inode, Model};
use super::outcome::Outcome;
use super::random::Random;
use super::received::inode_of;
use super::runs::{setting, until_all_look};
use super::transcript::Transcript;
use super::viewers::{Order, Watcher};
use crate::archives::{compressed, gzipped, streamed_from};
use crate::servers::pace;

/// The most bytes of one write. There are hundreds of writes in a script.
const WRITE_BYTES_MAX: u64 = 1 << 17;

/// A file that has the name for less than this may be missed while the log is followed.
const BRIEF: Duration = Duration::from_millis(250);

/// Runs the script of a seed.
pub async fn run(seed: u64) -> Outcome {
    let restarts = seed.is_multiple_of(2);
    let mut host = if restarts { Host::program().await } else { Host::within().await };
    let transcript = Transcript::new();
    let mut model = Model::new(Random(seed << 8 | 0x0f), host.root(), transcript.clone());
    let log = model.log();
    let watch = |kind| Watcher::start(kind, host.door(), &log, "&lines=all");
    let watchers: Vec<_> = ["keeps up", "stalls", "resumes"].into_iter().map(watch).collect();
    until_all_look(&watchers).await;
    let is_delayed = model.random.one_in(2);
    let kept = if model.random.one_in(3) { 3 } else { usize::MAX };
    let mut script = Script { model, old: Vec::new(), kept, is_delayed, faults: Vec::new() };
    for _ in 0..setting("TAILCAST_STEPS").unwrap_or(40) {
        script.model.steps += 1;
        match script.model.random.below(14) {
            0..6 => script.write(),
            6..9 => script.rotate(true).await,
            9 => script.read(&host, false).await,
            10 => script.read(&host, true).await,
            11 => {
                let time = Duration::from_millis(script.model.random.below(400));
                watchers[1].orders.send(Order::Stall(time)).ok();
            }
            12 => {
                let time = Duration::from_millis(script.model.random.below(60).pow(2) / 6);
                watchers[2].orders.send(Order::Away(time)).ok();
            }
            _ if restarts => script.restart(&mut host).await,
            _ => pace(Duration::from_millis(script.model.random.below(300))).await,
        }
    }
    script.read(&host, false).await;
    let Script { model, faults, .. } = script;
    let mut outcome = Outcome::of(seed, host, model, watchers).await;
    outcome.faults.splice(0..0, faults);
    outcome
}

/// A file that had the name: its place among the model's files, and the ending of its own name.
struct Old {
    file: usize,
    ending: &'static str,
}

struct Script {
    model: Model,
    /// The oldest first.
    old: Vec<Old>,
    /// How many old files a rotation leaves.
    kept: usize,
    /// The newest old file is compressed by the next rotation.
    is_delayed: bool,
    faults: Vec<String>,
}

impl Script {
    fn write(&mut self) {
        let Some(present) = self.model.present else { return };
        for _ in 0..1 + self.model.random.below(5) {
            let len = self.model.random.size() as u64 % WRITE_BYTES_MAX;
            self.model.append(present, len as usize + 1);
        }
    }

    fn path(&self, number: usize, ending: &str) -> PathBuf {
        self.model.root.join(format!("d/a.log.{number}{ending}"))
    }

    /// Makes room for so many old files.
    fn remove_oldest(&mut self) {
        while self.old.len() >= self.kept {
            let Old { file, ending } = self.old.remove(0);
            std::fs::remove_file(self.path(self.old.len() + 1, ending)).unwrap();
            self.model.files[file].linked = false;
            self.model.note(format_args!("remove old file {file}"));
        }
    }

    async fn rotate(&mut self, removes: bool) {
        if removes {
            self.remove_oldest();
        }
        for at in 0..self.old.len() {
            let (number, Old { file, ending }) = (self.old.len() - at, &self.old[at]);
            let to = self.path(number + 1, ending);
            std::fs::rename(self.path(number, ending), &to).unwrap();
            self.model.files[*file].path = to;
        }
        let Some(present) = self.model.leave() else { return };
        let aside = self.path(1, "");
        std::fs::rename(&self.model.real, &aside).unwrap();
        self.model.files[present].path = aside;
        self.model.note(format_args!("rename file {present} away"));
        self.old.push(Old { file: present, ending: "" });
        self.moment().await;
        // Other scripts have late writes: a reader may get these behind the next file.
        self.model.create();
        self.write();
        let newest = self.old.len() - 1;
        if !self.is_delayed {
            self.compress(newest).await;
        } else if newest > 0 {
            self.compress(newest - 1).await;
        }
    }

    /// Compresses an old file, which nobody writes to any more.
    async fn compress(&mut self, at: usize) {
        let Old { file, ending: "" } = self.old[at] else { return };
        let inode = &mut self.model.files[file];
        inode.handle = None;
        let (plain, content) = (inode.path.clone(), inode.epochs.last().unwrap().clone());
        let zstd = self.model.random.one_in(2).then(|| compressed("zstd", &content)).flatten();
        let (bytes, ending) = match zstd {
            Some(bytes) => (bytes, ".zst"),
            None => (gzipped(&content), ".gz"),
        };
        let path = self.path(self.old.len() - at, ending);
        let mut archive = File::create_new(&path).unwrap();
        let half = bytes.len() / 2;
        archive.write_all(&bytes[..half]).unwrap();
        self.moment().await;
        archive.write_all(&bytes[half..]).unwrap();
        archive.set_modified(plain.metadata().unwrap().modified().unwrap()).unwrap();
        self.moment().await;
        // Readers hear of the archive's inode once the plain file is gone.
        let inode = &mut self.model.files[file];
        inode.archive = Some(archive.metadata().unwrap().ino());
        (inode.linked, inode.path) = (false, path);
        self.model.note(format_args!(
            "compress file {file} to inode {:x}",
            self.model.files[file].archive.unwrap()
        ));
        std::fs::remove_file(plain).unwrap();
        self.old[at].ending = ending;
        self.moment().await;
    }

    async fn moment(&mut self) {
        match self.model.random.below(4) {
            0 => {}
            1 => yield_now().await,
            2 => pace(Duration::from_micros(self.model.random.below(3000))).await,
            _ => pace(Duration::from_millis(self.model.random.below(40))).await,
        }
    }

    /// The files that are on the disk, the oldest first.
    fn files(&self) -> impl Iterator<Item = usize> {
        self.old.iter().map(|old| old.file).chain(self.model.present)
    }

    fn content(&self, file: usize) -> &[u8] {
        self.model.files[file].epochs.last().unwrap()
    }

    /// A reader comes and reads all of the log, which may be `busy` meanwhile.
    async fn read(&mut self, host: &Host, busy: bool) {
        let (address, log) = (host.address, self.model.log());
        let files: Vec<usize> = self.files().collect();
        let before: Vec<usize> = files.iter().map(|file| self.content(*file).len()).collect();
        let all: usize = before.iter().sum();
        self.model.note(format_args!("a reader comes for {all} bytes"));
        let reading = async move {
            loop {
                match streamed_from(address, &log, "history=1&lines=all").await {
                    Ok(read) => break read,
                    // Nothing has the log's name between the renaming and the next file.
                    Err(Some((4404, _))) if busy => pace(Duration::from_millis(1)).await,
                    Err(close) => panic!("a reader was sent away: {close:?}"),
                }
            }
        };
        let work = async {
            if busy {
                self.moment().await;
                self.write();
                self.rotate(false).await;
                self.write();
            }
        };
        let ((got, told), ()) = tokio::join!(reading, work);
        let is_gap = |told: &Value| told["type"] == "gap" && told["to"].is_null();
        let is_told = told.iter().any(is_gap);
        // The server may have missed a file while it followed the log.
        let may_be_missing = |file: &usize| is_told && self.was_brief(*file);
        let is_right = match self.omitted(&before, &got) {
            Some(omitted) => omitted.iter().all(may_be_missing),
            None => false,
        };
        if !is_right || (!busy && got.len() > all) {
            let order = self.order_of(&got);
            self.faults.push(format!(
                "a reader of all that is on the disk got {} bytes, where there were {all}, of these \
                 files: {order}; it was told {}",
                got.len(),
                brief(&told)
            ));
        }
        let is_gap = |told: &&Value| told["type"] == "gap" && !told["to"].is_null();
        if let Some(gap) = told.iter().find(is_gap) {
            let gap = brief(std::slice::from_ref(gap));
            self.faults.push(format!("a reader of all that is on the disk was told {gap}"));
        }
    }

    /// The files of which a reader got nothing or too little. None if what it got is not what is on
    /// the disk, in its order. `before` says how many bytes each file had when it came.
    fn omitted(&self, before: &[usize], got: &[u8]) -> Option<Vec<usize>> {
        let (mut rest, mut omitted) = (got, Vec::new());
        for (nth, file) in self.files().enumerate() {
            let (content, wanted) = (self.content(file), before.get(nth).copied().unwrap_or(0));
            match rest.strip_prefix(content) {
                Some(later) => rest = later,
                None if content.starts_with(rest) && rest.len() >= wanted => rest = &[],
                None => omitted.push(file),
            }
        }
        // What was made later need not be there.
        let later: Vec<usize> = self.files().skip(before.len()).collect();
        omitted.retain(|file| !later.contains(file));
        rest.is_empty().then_some(omitted)
    }

    /// Whether a file had the name for so short a time that the server may not have looked.
    fn was_brief(&self, file: usize) -> bool {
        self.model.files[file]
            .presences
            .iter()
            .all(|presence| presence.to.is_some_and(|to| to - presence.from < BRIEF))
    }

    /// Of which files these bytes are, in their order, and how many of each.
    fn order_of(&self, mut bytes: &[u8]) -> String {
        let mut order = Vec::new();
        while !bytes.is_empty() {
            let alike = |file: &Inode| {
                let content = file.epochs.last().unwrap();
                content.iter().zip(bytes).take_while(|(one, other)| one == other).count()
            };
            let files = self.model.files.iter().map(alike).enumerate();
            let Some((file, len)) = files.max_by_key(|(_, len)| *len).filter(|(_, len)| *len > 0)
            else {
                order.push("?".to_owned());
                break;
            };
            order.push(format!("{file} ({len} of {})", self.model.files[file].epochs[0].len()));
            bytes = &bytes[len..];
        }
        order.join(", ")
    }

    async fn restart(&mut self, host: &mut Host) {
        let signal = if self.model.random.one_in(2) { Signal::KILL } else { Signal::TERM };
        self.model.note(format_args!("the server gets {signal:?}"));
        host.end(signal);
        if self.model.random.one_in(2) {
            self.write();
            self.rotate(true).await;
        }
        host.start_again().await;
        self.model.note(format_args!("the server has been started again"));
    }
}

/// What a reader was told, in few words.
fn brief(told: &[Value]) -> String {
    let brief = |told: &Value| {
        let (from, to) = (&told["from"], &told["to"]);
        let inode = told["generation"].as_str().map_or(0, inode_of);
        format!("{} {inode:x} {from} {to}", told["type"].as_str().unwrap_or_default())
    };
    told.iter().map(brief).collect::<Vec<_>>().join(", ")
}
