//! The compared followers: GNU tail, `tailcast tail`, and a viewer of a tailcast server.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::clients::Viewer;
use crate::gnu_tail::verdict::{FollowerOutput, Item};
use crate::servers::{DEADLINE, pace, pace_blocking};

/// The output of a follower, which is still running.
#[derive(Clone, Default)]
pub struct SharedOutput(Arc<Mutex<FollowerOutput>>);

impl SharedOutput {
    pub fn lock(&self) -> MutexGuard<'_, FollowerOutput> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of this machine's `tail`, if it is that of GNU coreutils.
pub fn gnu_tail() -> Option<String> {
    let output = Command::new("tail").arg("--version").output().ok()?;
    let first = String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned();
    first.contains("GNU coreutils").then_some(first)
}

/// A program that prints the log. Killed when dropped.
pub struct Printer {
    child: Child,
    reading: Option<JoinHandle<()>>,
}

impl Printer {
    /// Starts it with one pipe for stdout and stderr, so that its messages are in the right place.
    /// Each message begins with `speaks`.
    pub fn start(command: &mut Command, speaks: &'static str, output: SharedOutput) -> Self {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        // The command must not hold the write end of the pipe, or the pipe would never end.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let reading = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut rest = Vec::new();
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                rest.extend_from_slice(&buffer[..read]);
                let mut heard = output.lock();
                let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                for line in rest[..whole].split_inclusive(|&byte| byte == b'\n') {
                    hear(&mut heard, line, speaks);
                }
                rest.drain(..whole);
            }
            output.lock().bytes(&rest);
        });
        Self { child, reading: Some(reading) }
    }

    pub fn gnu_tail(lines: &[&str], log: &Path, output: SharedOutput) -> Self {
        let mut command = Command::new("tail");
        command.arg("-F").args(lines).arg(log).env("LC_ALL", "C");
        Self::start(&mut command, "tail: ", output)
    }

    /// Ends it, and waits until all its output has been read.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let until = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "it does not end");
            pace_blocking(Duration::from_millis(5));
        }
        self.reading.take().unwrap().join().unwrap();
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Processes one line of output: a line of the log, a message, or a part of a line and then a
/// message.
fn hear(heard: &mut FollowerOutput, line: &[u8], speaks: &str) {
    let spoken = line.windows(speaks.len()).position(|window| window == speaks.as_bytes());
    let Some(at) = spoken else { return heard.bytes(line) };
    heard.bytes(&line[..at]);
    let words = String::from_utf8_lossy(&line[at..]).trim_end().to_owned();
    let anew = words.contains("the place is not to be found");
    heard.notice(words, anew);
}

/// A viewer of `tailcast.v1` with `format=raw`. It reconnects with its position until `ending` is
/// cancelled.
pub async fn view(
    address: SocketAddr,
    log: String,
    output: SharedOutput,
    ending: CancellationToken,
) {
    // The generation and the next offset.
    let mut position: Option<(String, u64)> = None;
    while !ending.is_cancelled() {
        let begin = match &position {
            Some((generation, next)) => format!("from={next}&generation={generation}"),
            None => "lines=all".to_owned(),
        };
        let target = format!("{log}?tail=1&format=raw&{begin}");
        let headers = [("sec-websocket-protocol", "tailcast.v1")];
        let Ok((mut viewer, _)) = Viewer::connect(address, &target, &headers).await else {
            // The server is being restarted.
            pace(Duration::from_millis(10)).await;
            continue;
        };
        while let Ok(message) = viewer.next().await {
            match message {
                Message::Text(text) => mind(&mut output.lock(), &text, &mut position),
                Message::Binary(message) => take(&mut output.lock(), &message, &mut position),
                other => output.lock().items.push(Item::Misplaced(format!("{other:?}"))),
            }
        }
    }
}

/// Processes a control message.
fn mind(heard: &mut FollowerOutput, text: &str, position: &mut Option<(String, u64)>) {
    let message: Value = serde_json::from_str(text).unwrap();
    let place =
        |from: &str| Some((message["generation"].as_str()?.to_owned(), message[from].as_u64()?));
    match message["type"].as_str() {
        Some("open") => {
            let opened = place("from");
            let is_recovered = message["recovered"] == true;
            if !is_recovered {
                heard.notice(text, true);
            } else if let (Some((_, wanted)), Some((_, from))) = (&*position, &opened)
                && wanted != from
            {
                // Only the offset is compared, because a restarted server may use another name for
                // the generation.
                heard.items.push(Item::Misplaced(format!("wanted {wanted}, opened by {text}")));
            }
            *position = opened;
        }
        Some("reset") => {
            heard.notice(text, false);
            *position = place("from");
        }
        Some("gap") => {
            heard.notice(text, false);
            *position = place("to").or(position.take());
        }
        Some("waiting") => heard.notice(text, false),
        _ => heard.items.push(Item::Misplaced(format!("unexpected {text}"))),
    }
}

/// Processes a data message.
fn take(heard: &mut FollowerOutput, message: &[u8], position: &mut Option<(String, u64)>) {
    let (offset, bytes) = message.split_at(8);
    let offset = u64::from_be_bytes(offset.try_into().unwrap());
    match position {
        Some((_, next)) if *next == offset => *next += bytes.len() as u64,
        other => {
            heard.items.push(Item::Misplaced(format!("bytes at {offset}, but it is at {other:?}")));
        }
    }
    heard.bytes(bytes);
}
