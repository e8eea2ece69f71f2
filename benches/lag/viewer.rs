//! Viewers: a socket, WebSocket frames, and as little else as possible.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::log::{Checker, Clock, RECORD_BYTES};
use crate::server::Server;

/// The longest wait for expected bytes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The receive buffer of a slow viewer. Bytes in it do not count as read.
const SLOW_BUFFER_BYTES: usize = 64 * 1024;

/// How fast a viewer reads.
#[derive(Clone, Copy)]
pub enum Pace {
    Full,
    BytesPerSecond(u64),
}

/// The position to resume from.
#[derive(Clone, Debug)]
pub struct Position {
    pub generation: String,
    pub offset: u64,
}

/// What a viewer received.
#[derive(Default)]
pub struct Received {
    pub bytes: u64,
    /// For each time: when a record was due, and how much later it arrived.
    pub samples: Vec<(u64, u64)>,
    /// The position to resume from.
    pub position: Option<Position>,
    pub faults: Vec<String>,
}

impl Received {
    pub fn add(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.samples.extend(more.samples);
        self.faults.extend(more.faults);
        self.position = more.position;
    }

    fn fault(&mut self, words: String) {
        if self.faults.len() < 5 {
            self.faults.push(words);
        }
    }
}

/// The state that the thread and its owner share.
#[derive(Default)]
struct Shared {
    leave: AtomicBool,
    /// The offset at which the viewer ends.
    end: AtomicU64,
    opened: Mutex<Option<Position>>,
    is_open: Condvar,
}

/// A viewer of `tailcast.v1` with `format=raw`, on a thread of its own.
pub struct Viewer {
    shared: Arc<Shared>,
    thread: JoinHandle<Received>,
}

impl Viewer {
    pub fn start(
        server: &Server,
        log: &Path,
        clock: Clock,
        position: Option<Position>,
        pace: Pace,
    ) -> Self {
        Self::start_at(server.address(), log, clock, position, pace)
    }

    /// A viewer that starts at a position, or at the first byte.
    pub fn start_at(
        server: SocketAddr,
        log: &Path,
        clock: Clock,
        position: Option<Position>,
        pace: Pace,
    ) -> Self {
        let shared = Arc::new(Shared { end: AtomicU64::new(u64::MAX), ..Shared::default() });
        let begin = match &position {
            Some(Position { generation, offset }) => {
                format!("from={offset}&generation={generation}")
            }
            None => "lines=all".to_owned(),
        };
        let target = format!("{}?tail=1&format=raw&{begin}", log.display());
        let small = matches!(pace, Pace::BytesPerSecond(_)).then_some(SLOW_BUFFER_BYTES);
        let stream = connect(server, &target, small);
        let thread = ViewerThread {
            frames: Frames::new(stream),
            shared: Arc::clone(&shared),
            clock,
            pace,
            wanted: position,
            checker: None,
            rest: Vec::new(),
            last_due: 0,
            received: Received::default(),
        };
        Self { shared, thread: std::thread::spawn(move || thread.run()) }
    }

    /// The position at which it started.
    pub fn wait_for_position(&self) -> Position {
        let opened = self.shared.opened.lock().unwrap();
        let wait =
            self.shared.is_open.wait_timeout_while(opened, PATIENCE, |position| position.is_none());
        wait.unwrap().0.clone().expect("the viewer was not opened")
    }

    /// Leaves now.
    pub fn leave(self) -> Received {
        self.shared.leave.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }

    /// Leaves after the byte before this offset, or when nothing arrives any more.
    pub fn finish(self, end: u64) -> Received {
        self.shared.end.store(end, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct ViewerThread {
    frames: Frames,
    shared: Arc<Shared>,
    clock: Clock,
    pace: Pace,
    wanted: Option<Position>,
    checker: Option<Checker>,
    /// The start of a record that is not complete.
    rest: Vec<u8>,
    last_due: u64,
    received: Received,
}

impl ViewerThread {
    fn run(mut self) -> Received {
        let mut last_sign = Instant::now();
        let began = Instant::now();
        let mut read = 0;
        while !self.is_over() {
            if let Pace::BytesPerSecond(rate) = self.pace
                && read as f64 > began.elapsed().as_secs_f64() * rate as f64
            {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            let limit = if let Pace::BytesPerSecond(_) = self.pace { 8 * 1024 } else { usize::MAX };
            match self.frames.read(limit) {
                Ok(0) => {
                    self.received.fault("the connection ended".to_owned());
                    break;
                }
                Ok(bytes) => {
                    last_sign = Instant::now();
                    read += bytes as u64;
                    self.handle_frames();
                }
                Err(error) if is_timeout(&error) => {
                    if last_sign.elapsed() > PATIENCE {
                        self.received.fault(format!("nothing came for {PATIENCE:?}"));
                        break;
                    }
                }
                Err(error) => {
                    self.received.fault(error.to_string());
                    break;
                }
            }
        }
        self.frames.cut();
        self.handle_frames();
        // An incomplete record is requested again.
        if let Some(position) = &mut self.received.position {
            position.offset -= self.rest.len() as u64;
        }
        self.received.bytes -= self.rest.len() as u64;
        self.received
    }

    fn is_over(&self) -> bool {
        let end = self.shared.end.load(Ordering::Relaxed);
        self.shared.leave.load(Ordering::Relaxed)
            || self.received.position.as_ref().is_some_and(|position| position.offset >= end)
    }

    fn handle_frames(&mut self) {
        let now = self.clock.now();
        while let Some((opcode, payload)) = self.frames.next() {
            match opcode {
                BINARY => {
                    let Some(position) = &mut self.received.position else {
                        return self.received.fault("bytes before it was opened".to_owned());
                    };
                    let checker = self.checker.as_mut().unwrap();
                    let offset = u64::from_be_bytes(payload[..8].try_into().unwrap());
                    let bytes = &payload[8..];
                    if position.offset != offset {
                        let words = format!("bytes at {offset} where {} was next", position.offset);
                        self.received.fault(words);
                    }
                    self.received.position.as_mut().unwrap().offset = offset + bytes.len() as u64;
                    self.received.bytes += bytes.len() as u64;
                    let (received, rest) = (&mut self.received, &mut self.rest);
                    each_record(rest, bytes, |record| match checker.check(record) {
                        Ok(due) if due > self.last_due => {
                            self.last_due = due;
                            received.samples.push((due, now - due));
                        }
                        Ok(_) => {}
                        Err(words) => received.fault(words),
                    });
                }
                TEXT => {
                    let message: serde_json::Value = serde_json::from_slice(payload).unwrap();
                    if message["type"] == "open" {
                        let position = Position {
                            generation: message["generation"].as_str().unwrap().to_owned(),
                            offset: message["from"].as_u64().unwrap(),
                        };
                        let is_wanted = |wanted: &Position| wanted.offset == position.offset;
                        if message["recovered"] != true
                            || !self.wanted.as_ref().is_none_or(is_wanted)
                        {
                            self.received.fault(format!("wanted {:?}, got {message}", self.wanted));
                        }
                        self.checker = Some(Checker::at(position.offset));
                        *self.shared.opened.lock().unwrap() = Some(position.clone());
                        self.shared.is_open.notify_all();
                        self.received.position = Some(position);
                    } else {
                        self.received.fault(message.to_string());
                    }
                }
                PING => self.frames.pong(),
                other => self.received.fault(format!("a frame of kind {other}")),
            }
            self.frames.done();
        }
    }
}

/// Calls `record` for each record. `rest` keeps an incomplete one.
fn each_record(rest: &mut Vec<u8>, mut bytes: &[u8], mut record: impl FnMut(&[u8])) {
    if !rest.is_empty() {
        let lacking = (RECORD_BYTES - rest.len()).min(bytes.len());
        rest.extend_from_slice(&bytes[..lacking]);
        bytes = &bytes[lacking..];
        if rest.len() < RECORD_BYTES {
            return;
        }
        record(rest);
        rest.clear();
    }
    let records = bytes.chunks_exact(RECORD_BYTES);
    rest.extend_from_slice(records.remainder());
    records.for_each(record);
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Connects, and reads the head of the upgrade response.
fn connect(server: SocketAddr, target: &str, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.connect(&server.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    // So that a waiting viewer notices that it is to end.
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: tailcast.v1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    let until = Instant::now() + PATIENCE;
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => answer.push(byte[0]),
            Err(error) if is_timeout(&error) && Instant::now() < until => {}
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    stream
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// The frames of a server, which are never masked or fragmented.
struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The range of the buffer that is filled.
    from: usize,
    to: usize,
    /// The length of the last frame.
    given: usize,
}

impl Frames {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; 1 << 20], from: 0, to: 0, given: 0 }
    }

    fn read(&mut self, limit: usize) -> io::Result<usize> {
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            self.to -= self.from;
            self.from = 0;
        }
        let room = self.buffer.len().min(self.to.saturating_add(limit));
        let read = self.stream.read(&mut self.buffer[self.to..room])?;
        self.to += read;
        Ok(read)
    }

    /// The next whole frame; [`done`](Self::done) drops it.
    fn next(&mut self) -> Option<(u8, &[u8])> {
        let bytes = &self.buffer[self.from..self.to];
        let (head, len) = match *bytes.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        assert!(head + len <= self.buffer.len(), "a message of {len} bytes");
        let payload = bytes.get(head..head + len)?;
        self.given = head + len;
        Some((bytes[0] & 0x0f, payload))
    }

    /// Treats the start of an incomplete data frame as the whole frame: nothing more is read.
    fn cut(&mut self) {
        let there = self.to - self.from;
        let (opcode, head) = match self.buffer[self.from..self.to] {
            [first, 126, ..] => (first, 4),
            [first, 127, ..] => (first, 10),
            _ => return,
        };
        if opcode & 0x0f == BINARY && there > head + 8 {
            // Written again as a frame of this length, with the longest header.
            let payload = self.buffer[self.from + head..self.to].to_vec();
            self.buffer[0..2].copy_from_slice(&[opcode, 127]);
            self.buffer[2..10].copy_from_slice(&(payload.len() as u64).to_be_bytes());
            self.buffer[10..10 + payload.len()].copy_from_slice(&payload);
            (self.from, self.to) = (0, 10 + payload.len());
        }
    }

    fn done(&mut self) {
        self.from += self.given;
    }

    /// An empty pong, with a zero mask.
    fn pong(&mut self) {
        self.stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).ok();
    }
}

/// A viewer that requests everything and reads nothing.
pub struct SilentViewer(TcpStream);

impl SilentViewer {
    pub fn start(server: &Server, log: &Path) -> Self {
        let target = format!("{}?tail=1&format=raw&lines=all", log.display());
        Self(connect(server.address(), &target, None))
    }

    /// The local port.
    pub fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    /// Starts to read, and returns the code of the close frame.
    pub fn close_code(self) -> Option<u16> {
        let mut frames = Frames::new(self.0);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            match frames.read(usize::MAX) {
                Ok(0) => return None,
                Ok(_) => {
                    while let Some((opcode, payload)) = frames.next() {
                        if opcode == CLOSE {
                            return Some(u16::from_be_bytes(payload.get(..2)?.try_into().unwrap()));
                        }
                        frames.done();
                    }
                }
                Err(error) if is_timeout(&error) => {}
                Err(_) => return None,
            }
        }
        None
    }
}
