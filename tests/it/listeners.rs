//! What a viewer was given, held against what was written.
//!
//! A [`Listener`] is a viewer of `tailcast.v1` with `format=raw`. It fails at the first byte that is not the next one
//! of its generation unless a `reset` or a `gap` has said so; what it was given is a story, of parts that were told
//! one by one. A [`Writer`] keeps what its file held, before and after each truncation; each generation that a
//! listener heard of must be the content of one of these.
//!
//! Most cases are run twice: with events, and with the backstop alone, when no event ever comes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tailcast::log::Access;
use tailcast::serve::Settings;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{Program, TestServer, append};

/// How a server learns of writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it should be.
    Events,
    /// Everything is watched, and no event ever comes: a stat every 2 s is all there is.
    #[cfg_attr(not(feature = "faults"), allow(dead_code, reason = "nothing can be made deaf"))]
    Backstop,
}

impl Mode {
    pub async fn server(self) -> TestServer {
        self.server_with(Settings::default()).await
    }

    pub async fn server_with(self, settings: Settings) -> TestServer {
        let directory = tempfile::tempdir().unwrap();
        let access = Access::new([directory.path()]).unwrap();
        self.server_over(directory, access, settings).await
    }

    pub async fn server_over(
        self,
        directory: TempDir,
        access: Access,
        settings: Settings,
    ) -> TestServer {
        let server = TestServer::over(directory, access, settings).await;
        match self {
            Self::Events => {}
            #[cfg(feature = "faults")]
            Self::Backstop => server.faults.deafen(),
            #[cfg(not(feature = "faults"))]
            Self::Backstop => unreachable!("nothing can be made deaf"),
        }
        server
    }

    /// The real program. It can't be made deaf; without events it has no watches, and knows it.
    pub fn program(self, directory: &Path) -> Program {
        Program::serve_under(self.limits(), &[directory.to_str().unwrap()])
    }

    /// The line of shell that takes the watches from the real program.
    pub fn limits(self) -> &'static str {
        match self {
            Self::Events => "true",
            Self::Backstop => "echo 0 > /proc/sys/user/max_inotify_watches",
        }
    }
}

/// Makes tests of cases, which are functions of a [`Mode`]: each by its name with events, and all of them side by side
/// with the backstop alone, since all that they do then is wait.
macro_rules! in_both_modes {
    ($($case:ident),+ $(,)?) => {
        mod with_events {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::listeners::Mode::Events).await;
                }
            )+
        }

        #[cfg(feature = "faults")]
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn with_the_backstop_alone() {
            let mode = crate::listeners::Mode::Backstop;
            let cases = [$((stringify!($case), tokio::spawn($case(mode)))),+];
            let mut failed = Vec::new();
            for (name, case) in cases {
                if case.await.is_err() {
                    failed.push(name);
                }
            }
            assert!(failed.is_empty(), "with the backstop alone: {failed:?}");
        }
    };
}
pub(crate) use in_both_modes;

/// What one message told, and the bytes that came after it.
#[derive(Clone, Debug)]
pub struct Part {
    /// `open`, the reason of a `reset`, or the type of the message with what it says.
    pub told: String,
    pub generation: String,
    /// The offset of the first byte.
    pub from: u64,
    pub bytes: Vec<u8>,
    /// How long each message was.
    pub messages: Vec<usize>,
    /// When it was told.
    pub at: Instant,
}

impl Part {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

/// A viewer, and what it was given.
pub struct Listener {
    viewer: Viewer,
    address: SocketAddr,
    target: String,
    pub parts: Vec<Part>,
    /// The first message of the last connection.
    pub opened: Value,
    /// Up to where each generation has been heard.
    heard: HashMap<String, u64>,
    resumed: bool,
}

impl Listener {
    /// One that follows a log from where the query says, and has heard where that is.
    pub async fn open(address: SocketAddr, log: &str, query: &str) -> Self {
        let mut listener = Self::start(address, log, query).await;
        listener.until_told("open").await;
        listener
    }

    /// One that follows a log from its end.
    pub async fn at_end(server: &TestServer, log: &str) -> Self {
        Self::open(server.address, log, "&lines=0").await
    }

    /// One that follows a log from its first byte.
    pub async fn of_all(server: &TestServer, log: &str) -> Self {
        Self::open(server.address, log, "&lines=all").await
    }

    /// One that has not heard anything yet.
    pub async fn start(address: SocketAddr, log: &str, query: &str) -> Self {
        let target = format!("{log}?tail=1&format=raw");
        Self {
            viewer: Viewer::v1(address, &format!("{target}{query}")).await,
            address,
            target,
            parts: Vec::new(),
            opened: Value::Null,
            heard: HashMap::new(),
            resumed: false,
        }
    }

    /// Leaves without a word, and comes back with its position.
    pub async fn come_back(&mut self) {
        let last = self.parts.last().unwrap();
        let target = format!("{}&from={}&generation={}", self.target, last.end(), last.generation);
        self.resumed = true;
        self.viewer = Viewer::v1(self.address, &target).await;
    }

    /// Hears one message. False when it was the last one.
    pub async fn hear(&mut self) -> bool {
        match self.viewer.next().await {
            Ok(Message::Binary(message)) => self.take(&message),
            Ok(Message::Text(text)) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                self.heed(&said);
            }
            Ok(other) => panic!("{other:?}"),
            Err(close) => {
                self.tell(format!("closed {:?}", close.map(|(code, _)| code)), String::new(), 0);
                return false;
            }
        }
        true
    }

    fn take(&mut self, message: &[u8]) {
        let (head, bytes) = message.split_at(8);
        let offset = u64::from_be_bytes(head.try_into().unwrap());
        let part = self.parts.last_mut().expect("bytes before anything was told");
        assert!(!part.generation.is_empty(), "bytes at {offset} after {}", part.told);
        assert_eq!(offset, part.end(), "the next byte of {} has another offset", part.told);
        assert!(!bytes.is_empty(), "an empty message");
        part.bytes.extend_from_slice(bytes);
        part.messages.push(bytes.len());
        self.heard.insert(part.generation.clone(), part.end());
    }

    fn heed(&mut self, said: &Value) {
        let kind = said["type"].as_str().unwrap();
        let generation = said["generation"].as_str().unwrap_or_default().to_owned();
        let from = said["from"].as_u64().unwrap_or_default();
        let before = self.parts.last();
        match kind {
            "open" if said["recovered"] == false => {
                self.opened = said.clone();
                self.tell("open elsewhere".to_owned(), generation, from);
            }
            "open" => {
                if let Some(before) = before.filter(|_| self.resumed) {
                    assert_eq!((&before.generation, before.end()), (&generation, from));
                }
                self.opened = said.clone();
                self.tell("open".to_owned(), generation, from);
            }
            "reset" if before.is_some_and(|before| before.told == "open elsewhere") => {
                let before = before.unwrap();
                assert_eq!((&before.generation, before.from), (&generation, from), "{said}");
            }
            "reset" => {
                let reason = said["reason"].as_str().unwrap();
                match (self.heard.get(&generation), reason) {
                    (Some(&heard), "late" | "back") => {
                        // A position is one pair: who came back may be told again what lay between.
                        let again = self.resumed && from < heard;
                        assert!(from == heard || again, "{said}, but it was heard up to {heard}");
                    }
                    (Some(_), _) => panic!("{said}, but it was begun already"),
                    (None, "late" | "back") => {}
                    (None, _) => assert_eq!(from, 0, "{said}, but it is new"),
                }
                self.heard.insert(generation.clone(), from);
                self.tell(reason.to_owned(), generation, from);
            }
            "gap" => match said["to"].as_u64() {
                Some(to) => {
                    let before = before.expect("a gap before anything was told");
                    assert_eq!((&before.generation, before.end()), (&generation, from), "{said}");
                    assert!(to > from, "{said}");
                    self.heard.insert(generation.clone(), to);
                    self.tell(format!("gap of {}", to - from), generation, to);
                }
                None => self.tell("gap of unknown length".to_owned(), String::new(), 0),
            },
            "waiting" => {
                let reason = said["reason"].as_str().unwrap();
                self.tell(format!("waiting {reason}"), String::new(), 0);
            }
            other => self.tell(other.to_owned(), String::new(), 0),
        }
    }

    fn tell(&mut self, told: String, generation: String, from: u64) {
        let (bytes, messages) = (Vec::new(), Vec::new());
        let at = Instant::now();
        self.parts.push(Part { told, generation, from, bytes, messages, at });
    }

    /// Hears on until the present part ends with this.
    pub async fn until(&mut self, last: impl AsRef<[u8]>) {
        while !self.parts.last().is_some_and(|part| part.bytes.ends_with(last.as_ref())) {
            assert!(self.hear().await, "it ended before {:?}", text_of(last.as_ref()));
        }
    }

    /// Hears on until so many bytes have come in all.
    pub async fn until_length(&mut self, bytes: usize) {
        while self.parts.iter().map(|part| part.bytes.len()).sum::<usize>() < bytes {
            assert!(self.hear().await, "it ended before {bytes} bytes had come");
        }
    }

    /// Hears on until it is told something that begins so.
    pub async fn until_told(&mut self, told: &str) {
        while !self.parts.last().is_some_and(|part| part.told.starts_with(told)) {
            assert!(self.hear().await, "it ended before {told:?}");
        }
    }

    /// Whether a part that was told so has come.
    pub fn was_told(&self, told: &str) -> bool {
        self.parts.iter().any(|part| part.told == told)
    }

    /// What was told, with the offset and the text of the bytes after it.
    pub fn story(&self) -> Vec<(&str, u64, String)> {
        self.parts
            .iter()
            .map(|part| (part.told.as_str(), part.from, text_of(&part.bytes)))
            .collect()
    }

    /// That nothing else has been told, from the first message on.
    #[track_caller]
    pub fn assert_story(&self, wanted: &[(&str, u64, &str)]) {
        let wanted: Vec<_> =
            wanted.iter().map(|&(told, from, text)| (told, from, text.to_owned())).collect();
        assert_eq!(self.story(), wanted);
    }

    /// That each generation is what one of these files held at a time, as far as it came. Gives how much came of each
    /// epoch, by file and epoch.
    #[track_caller]
    pub fn assert_written_by(&self, files: &[&Writer]) -> HashMap<(usize, usize), u64> {
        let mut found = HashMap::new();
        for (generation, &end) in &self.heard {
            let parts: Vec<&Part> = self
                .parts
                .iter()
                .filter(|part| part.generation == *generation && !part.bytes.is_empty())
                .collect();
            if parts.is_empty() {
                continue;
            }
            let is_of = |content: &[u8]| {
                parts.iter().all(|part| {
                    content
                        .get(part.from as usize..)
                        .is_some_and(|rest| rest.starts_with(&part.bytes))
                })
            };
            let epoch = files.iter().enumerate().find_map(|(at, file)| {
                let epochs = file.epochs.iter().enumerate();
                let mut epochs = epochs.filter(|_| file.is_named_by(generation));
                epochs.find(|(_, content)| is_of(content)).map(|(epoch, _)| (at, epoch))
            });
            let Some(epoch) = epoch else { panic!("{generation} is the content of no file") };
            found.insert(epoch, end);
        }
        found
    }

    /// That events wake the follower: of a few lines appended one after the other, three come within the bound. By the
    /// backstop alone each would take 2 s from the one before.
    pub async fn assert_events_wake(&mut self, log: impl AsRef<Path>) {
        self.assert_prompt(|line| append(&log, line)).await;
    }

    /// The same of lines that are written in another way.
    pub async fn assert_prompt(&mut self, mut write: impl FnMut(&str)) {
        let mut times = Vec::new();
        for round in 0..8 {
            let line = format!("timed {round}\n");
            write(&line);
            let written = Instant::now();
            self.until(&line).await;
            times.push(written.elapsed());
            if times.iter().filter(|&&time| time < PROMPT).count() == 3 {
                return;
            }
        }
        panic!("no event woke the follower: {times:?}");
    }
}

/// An append is seen within this time where events come.
pub const PROMPT: Duration = Duration::from_millis(300);

impl Drop for Listener {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut told = format!("{} was told:\n", self.target);
        let skipped = self.parts.len().saturating_sub(40);
        for part in self.parts.iter().skip(skipped) {
            let Part { told: what, generation, from, bytes, .. } = part;
            let text: String = text_of(bytes).chars().take(80).collect();
            writeln!(told, "  {what} {generation} {from}: {} bytes {text:?}", bytes.len()).unwrap();
        }
        eprintln!("{told}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file, and what it has held.
pub struct Writer {
    file: File,
    inode: u64,
    /// What it holds, and before that what it held when it was cut.
    pub epochs: Vec<Vec<u8>>,
}

impl Writer {
    /// Of a file that is not there yet.
    pub fn create(path: impl AsRef<Path>) -> Self {
        let file = File::options().append(true).create_new(true).open(path).unwrap();
        let inode = file.metadata().unwrap().ino();
        Self { file, inode, epochs: vec![Vec::new()] }
    }

    pub fn append(&mut self, bytes: impl AsRef<[u8]>) {
        self.epochs.last_mut().unwrap().extend_from_slice(bytes.as_ref());
        self.file.write_all(bytes.as_ref()).unwrap();
    }

    pub fn truncate(&mut self, to: u64) {
        let kept = self.now()[..to as usize].to_vec();
        self.epochs.push(kept);
        self.file.set_len(to).unwrap();
    }

    /// What it holds.
    pub fn now(&self) -> &[u8] {
        self.epochs.last().unwrap()
    }

    fn is_named_by(&self, generation: &str) -> bool {
        let inode = generation.split('-').nth(1).unwrap();
        u64::from_str_radix(inode, 16).unwrap() == self.inode
    }
}
