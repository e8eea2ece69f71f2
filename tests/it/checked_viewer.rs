//! A viewer that checks what it receives, and a writer that remembers what it wrote.
//!
//! A [`CheckedViewer`] follows a log with `tailcast.v1` and `format=raw`. It fails at the first
//! byte that is not the next one of its generation, unless a `reset` or a `gap` came before. It
//! stores the stream as [`Segment`]s: one for each control message, with the bytes after it. A
//! [`Writer`] remembers the content of its file before and after each truncation; each generation
//! that a viewer received must be one of these contents.
//!
//! Most cases run twice: with events, and with the backstop alone, without any event.

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
use crate::servers::{Program, TestServer, append, inotify_left};

/// The way in which the server notices writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The kernel sends events.
    Events,
    /// The watches exist, but no event arrives: the follower polls every 2 s.
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

    /// Starts the real program. Its events cannot be dropped, so for [`Self::Backstop`] it gets no
    /// watches, and polls.
    pub fn program(self, directory: &Path) -> Program {
        Program::serve_under(self.limits(), &[directory.to_str().unwrap()])
    }

    /// The shell command that sets the limit of watches for the real program.
    pub fn limits(self) -> &'static str {
        match self {
            Self::Events => "true",
            Self::Backstop => "echo 0 > /proc/sys/user/max_inotify_watches",
        }
    }
}

/// Defines two tests for each case, which is a function with a [`Mode`]: `with_events::NAME` and
/// `by_the_backstop_alone::NAME`.
macro_rules! in_both_modes {
    ($($case:ident),+ $(,)?) => {
        mod with_events {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::checked_viewer::Mode::Events).await;
                }
            )+
        }

        #[cfg(feature = "faults")]
        mod by_the_backstop_alone {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::checked_viewer::Mode::Backstop).await;
                }
            )+
        }
    };
}
pub(crate) use in_both_modes;

/// One control message, and the bytes that followed it.
#[derive(Clone, Debug)]
pub struct Segment {
    /// `open`, the reason of a `reset`, or the type of another message with its content.
    pub event: String,
    pub generation: String,
    /// The offset of the first byte.
    pub from: u64,
    pub bytes: Vec<u8>,
    /// The length of each data message.
    pub messages: Vec<usize>,
    /// The time at which the control message arrived.
    pub at: Instant,
}

impl Segment {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

/// A viewer that checks and stores what it receives.
pub struct CheckedViewer {
    viewer: Viewer,
    address: SocketAddr,
    target: String,
    pub segments: Vec<Segment>,
    /// The `open` message of the last connection.
    pub opened: Value,
    /// The next offset of each generation.
    received: HashMap<String, u64>,
    resumed: bool,
    /// The server hears of no event, so the times of the files decide whether there is a gap. On a
    /// busy machine they prove little.
    pub expects_gaps: bool,
    /// How many gaps of unknown length came that were to be expected. They make no segment.
    pub expected_gaps: usize,
    /// One of them was the last message.
    is_in_gap: bool,
}

impl CheckedViewer {
    /// Follows a log with a query, and reads the `open` message.
    pub async fn open(address: SocketAddr, log: &str, query: &str) -> Self {
        let mut viewer = Self::start(address, log, query).await;
        viewer.read_until_event("open").await;
        viewer
    }

    /// Follows a log from its end.
    pub async fn from_end(server: &TestServer, log: &str) -> Self {
        Self::of_server(server, log, "&lines=0").await
    }

    /// Follows a log from its first byte.
    pub async fn from_start(server: &TestServer, log: &str) -> Self {
        Self::of_server(server, log, "&lines=all").await
    }

    async fn of_server(server: &TestServer, log: &str, query: &str) -> Self {
        let mut viewer = Self::open(server.address, log, query).await;
        viewer.expects_gaps = server.is_deaf();
        viewer
    }

    /// Follows a log, without reading a message.
    pub async fn start(address: SocketAddr, log: &str, query: &str) -> Self {
        let target = format!("{log}?tail=1&format=raw");
        Self {
            viewer: Viewer::v1(address, &format!("{target}{query}")).await,
            address,
            target,
            segments: Vec::new(),
            opened: Value::Null,
            received: HashMap::new(),
            resumed: false,
            expects_gaps: false,
            expected_gaps: 0,
            is_in_gap: false,
        }
    }

    /// Drops the connection, and reconnects with its position.
    pub async fn reconnect(&mut self) {
        let last = self.segments.last().unwrap();
        let target = format!("{}&from={}&generation={}", self.target, last.end(), last.generation);
        self.resumed = true;
        self.viewer = Viewer::v1(self.address, &target).await;
    }

    /// Reads one message. Fails if the connection is closed or nothing arrives in time.
    pub async fn read_message(&mut self) {
        match self.viewer.next().await {
            Ok(Message::Binary(message)) => self.on_data(&message),
            Ok(Message::Text(text)) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                self.on_control(&said);
            }
            Ok(other) => panic!("{other:?}"),
            Err(close) => panic!("closed with {close:?} while more was awaited"),
        }
    }

    fn on_data(&mut self, message: &[u8]) {
        let (head, bytes) = message.split_at(8);
        let offset = u64::from_be_bytes(head.try_into().unwrap());
        assert!(!self.is_in_gap, "bytes at {offset} after a gap of unknown length");
        let segment = self.segments.last_mut().expect("bytes before any event");
        assert!(!segment.generation.is_empty(), "bytes at {offset} after {}", segment.event);
        assert_eq!(offset, segment.end(), "the next byte of {} has another offset", segment.event);
        assert!(!bytes.is_empty(), "an empty message");
        segment.bytes.extend_from_slice(bytes);
        segment.messages.push(bytes.len());
        self.received.insert(segment.generation.clone(), segment.end());
    }

    fn on_control(&mut self, said: &Value) {
        let kind = said["type"].as_str().unwrap();
        let generation = said["generation"].as_str().unwrap_or_default().to_owned();
        let from = said["from"].as_u64().unwrap_or_default();
        let before = self.segments.last();
        self.is_in_gap = kind == "gap" && said["to"].is_null() && self.expects_gaps;
        match kind {
            "gap" if self.is_in_gap => self.expected_gaps += 1,
            "open" if said["recovered"] == false => {
                self.opened = said.clone();
                self.begin_segment("open elsewhere".to_owned(), generation, from);
            }
            "open" => {
                if let Some(before) = before.filter(|_| self.resumed) {
                    assert_eq!((&before.generation, before.end()), (&generation, from));
                }
                self.opened = said.clone();
                self.begin_segment("open".to_owned(), generation, from);
            }
            "reset" if before.is_some_and(|before| before.event == "open elsewhere") => {
                let before = before.unwrap();
                assert_eq!((&before.generation, before.from), (&generation, from), "{said}");
            }
            "reset" => {
                let reason = said["reason"].as_str().unwrap();
                match (self.received.get(&generation), reason) {
                    (Some(&received), "late" | "back") => {
                        // A position is a single pair, so at a border between two runs of a
                        // generation a viewer that resumed may get the bytes between them again.
                        let again = self.resumed && from < received;
                        assert!(
                            from == received || again,
                            "{said}, but it was received up to {received}"
                        );
                    }
                    (Some(_), _) => panic!("{said}, but it was begun already"),
                    (None, "late" | "back") => {}
                    (None, _) => assert_eq!(from, 0, "{said}, but it is new"),
                }
                self.received.insert(generation.clone(), from);
                self.begin_segment(reason.to_owned(), generation, from);
            }
            "gap" => match said["to"].as_u64() {
                Some(to) => {
                    let before = before.expect("a gap before any event");
                    assert_eq!((&before.generation, before.end()), (&generation, from), "{said}");
                    assert!(to > from, "{said}");
                    self.received.insert(generation.clone(), to);
                    self.begin_segment(format!("gap of {}", to - from), generation, to);
                }
                None => self.begin_segment("gap of unknown length".to_owned(), String::new(), 0),
            },
            "waiting" => {
                let reason = said["reason"].as_str().unwrap();
                self.begin_segment(format!("waiting {reason}"), String::new(), 0);
            }
            other => self.begin_segment(other.to_owned(), String::new(), 0),
        }
    }

    fn begin_segment(&mut self, event: String, generation: String, from: u64) {
        let (bytes, messages) = (Vec::new(), Vec::new());
        let at = Instant::now();
        self.segments.push(Segment { event, generation, from, bytes, messages, at });
    }

    /// Reads until the last segment ends with these bytes.
    pub async fn read_until(&mut self, last: impl AsRef<[u8]>) {
        while !self.segments.last().is_some_and(|segment| segment.bytes.ends_with(last.as_ref())) {
            self.read_message().await;
        }
    }

    /// Reads until this number of bytes has arrived in total.
    pub async fn read_until_length(&mut self, bytes: usize) {
        while self.segments.iter().map(|segment| segment.bytes.len()).sum::<usize>() < bytes {
            self.read_message().await;
        }
    }

    /// Reads until the event of the last segment begins with this text.
    pub async fn read_until_event(&mut self, event: &str) {
        while !self.segments.last().is_some_and(|segment| segment.event.starts_with(event)) {
            self.read_message().await;
        }
    }

    /// Whether a segment with this event has arrived.
    pub fn has_event(&self, event: &str) -> bool {
        self.segments.iter().any(|segment| segment.event == event)
    }

    /// Each event, with the offset and the text of the bytes after it.
    pub fn events(&self) -> Vec<(&str, u64, String)> {
        self.segments
            .iter()
            .map(|segment| (segment.event.as_str(), segment.from, text_of(&segment.bytes)))
            .collect()
    }

    /// Asserts that these are all events.
    #[track_caller]
    pub fn assert_events(&self, wanted: &[(&str, u64, &str)]) {
        let wanted: Vec<_> =
            wanted.iter().map(|&(event, from, text)| (event, from, text.to_owned())).collect();
        assert_eq!(self.events(), wanted);
    }

    /// Asserts that each generation is the content, or the beginning, of one epoch of one of these
    /// files. Returns the number of received bytes by file and epoch.
    #[track_caller]
    pub fn assert_written_by(&self, files: &[&Writer]) -> HashMap<(usize, usize), u64> {
        let mut found = HashMap::new();
        for (generation, &end) in &self.received {
            let segments: Vec<&Segment> = self
                .segments
                .iter()
                .filter(|segment| segment.generation == *generation && !segment.bytes.is_empty())
                .collect();
            if segments.is_empty() {
                continue;
            }
            let is_of = |content: &[u8]| {
                segments.iter().all(|segment| {
                    content
                        .get(segment.from as usize..)
                        .is_some_and(|rest| rest.starts_with(&segment.bytes))
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

    /// Asserts that events wake the follower: of eight lines that are appended one after the other,
    /// three arrive within [`PROMPT`]. With the backstop alone each line would arrive 2 s after the
    /// previous one, so the assertion cannot hold by chance.
    pub async fn assert_events_wake(&mut self, log: impl AsRef<Path>) {
        self.assert_prompt(|line| append(&log, line)).await;
    }

    /// The same for lines that are written in another way.
    pub async fn assert_prompt(&mut self, mut write: impl FnMut(&str)) {
        let mut times = Vec::new();
        for round in 0..8 {
            let line = format!("timed {round}\n");
            write(&line);
            let written = Instant::now();
            self.read_until(&line).await;
            times.push(written.elapsed());
            if times.iter().filter(|&&time| time < PROMPT).count() == 3 {
                return;
            }
        }
        panic!("no event woke the follower: {times:?}; {}", inotify_left());
    }
}

/// With events, a line arrives within this time.
pub const PROMPT: Duration = Duration::from_millis(300);

impl Drop for CheckedViewer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut report = format!("{} received:\n", self.target);
        let skipped = self.segments.len().saturating_sub(40);
        for segment in self.segments.iter().skip(skipped) {
            let Segment { event: what, generation, from, bytes, .. } = segment;
            let text: String = text_of(bytes).chars().take(80).collect();
            writeln!(report, "  {what} {generation} {from}: {} bytes {text:?}", bytes.len())
                .unwrap();
        }
        eprintln!("{report}");
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A file and the history of its content.
pub struct Writer {
    file: File,
    inode: u64,
    /// The contents before each truncation, then the present content.
    pub epochs: Vec<Vec<u8>>,
}

impl Writer {
    /// Creates the file, which must not exist.
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

    /// The present content.
    pub fn now(&self) -> &[u8] {
        self.epochs.last().unwrap()
    }

    fn is_named_by(&self, generation: &str) -> bool {
        let inode = generation.split('-').nth(1).unwrap();
        u64::from_str_radix(inode, 16).unwrap() == self.inode
    }
}
