//! A viewer of `tailcast.v1` that keeps its position, leaves, and comes back with it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tailcast::log::Access;
use tailcast::serve::Settings;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::Viewer;
use crate::servers::{DEADLINE, TestServer};

/// A server over a directory that outlives it. Its rotate-wait is longer than anything takes here.
pub async fn server_over(directory: &Path) -> TestServer {
    let access = Access::new([directory]).unwrap();
    let settings = Settings { rotate_wait: DEADLINE, ..Settings::default() };
    TestServer::over(tempfile::tempdir().unwrap(), access, settings).await
}

/// More lines than a signature takes.
pub fn lines(of: &str) -> String {
    (0..100).map(|line| format!("{of} {line}\n")).collect()
}

/// Makes the log anew under its name, later than the file before as the file system counts the
/// time.
pub fn make_later(log: &Path, before: &Path) -> File {
    let born = |path: &Path| path.metadata().unwrap().created().unwrap();
    loop {
        let file = File::options().append(true).create_new(true).open(log).unwrap();
        if born(log) > born(before) {
            return file;
        }
        std::fs::remove_file(log).unwrap();
    }
}

/// Where a viewer is in a log.
#[derive(Clone, Debug, Default)]
pub struct Position {
    pub generation: String,
    pub next: u64,
}

/// Takes bytes, which have to be those of the position, or an event. Returns any other message.
pub fn take(
    at: &mut Position,
    bytes: &mut Vec<u8>,
    told: &mut Vec<Value>,
    message: Message,
) -> Result<(), Message> {
    match message {
        Message::Binary(data) => {
            let offset = u64::from_be_bytes(data[..8].try_into().unwrap());
            assert_eq!(offset, at.next, "after {told:#?}");
            bytes.extend_from_slice(&data[8..]);
            at.next += (data.len() - 8) as u64;
        }
        Message::Text(text) => {
            let message: Value = serde_json::from_str(&text).unwrap();
            if let Some(generation) = message["generation"].as_str() {
                generation.clone_into(&mut at.generation);
            }
            if let Some(next) = message["to"].as_u64().or(message["from"].as_u64()) {
                at.next = next;
            }
            told.push(message);
        }
        other => return Err(other),
    }
    Ok(())
}

/// A viewer of the raw bytes that keeps its position and the events it received.
pub struct Reader {
    pub viewer: Viewer,
    pub at: Position,
    pub bytes: Vec<u8>,
    pub told: Vec<Value>,
}

impl Reader {
    pub async fn open(server: &TestServer, log: &str, query: &str) -> Self {
        Self::of(server.address, log, query).await
    }

    pub async fn of(server: SocketAddr, log: &str, query: &str) -> Self {
        let target = format!("{log}?tail=1&format=raw{query}");
        let viewer = Viewer::v1(server, &target).await;
        Self { viewer, at: Position::default(), bytes: Vec::new(), told: Vec::new() }
    }

    pub async fn resume(server: &TestServer, log: &str, at: &Position) -> Self {
        let query = format!("&from={}&generation={}", at.next, at.generation);
        Self::open(server, log, &query).await
    }

    /// Resumes, and says how much of the file before was received.
    pub async fn resume_late(
        server: SocketAddr,
        log: &str,
        at: &Position,
        late: &Position,
    ) -> Self {
        let late = format!("&late={}:{}", late.generation, late.next);
        let query = format!("&from={}&generation={}{late}", at.next, at.generation);
        Self::of(server, log, &query).await
    }

    /// Reads until this is the last event.
    pub async fn read_until_event(&mut self, head: &str) {
        while self.heads().last().is_none_or(|last| last != head) {
            self.read_message().await;
        }
    }

    /// Reads until the bytes end with this.
    pub async fn read_until(&mut self, last: &[u8]) {
        while !self.bytes.ends_with(last) {
            self.read_message().await;
        }
    }

    /// Takes the next message.
    pub async fn read_message(&mut self) {
        let message = self.viewer.next().await;
        let message = message.unwrap_or_else(|error| panic!("{error:?} after {:?}", self.told));
        let taken = take(&mut self.at, &mut self.bytes, &mut self.told, message);
        taken.unwrap_or_else(|other| panic!("{other:?} after {:?}", self.told));
    }

    /// The types of the messages, with the reason of a reset, and whether the position was
    /// honoured.
    pub fn heads(&self) -> Vec<String> {
        let head = |message: &Value| match message["type"].as_str().unwrap() {
            "open" => format!("open {}", message["recovered"]),
            "reset" => format!("reset {} {}", message["reason"].as_str().unwrap(), message["from"]),
            "gap" => format!("gap {} {}", message["from"], message["to"]),
            other => other.to_owned(),
        };
        self.told.iter().map(head).collect()
    }
}
