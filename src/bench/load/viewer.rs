//! One viewer of a load: its connection, and how far it has come.
//!
//! It reads frames where the socket's bytes lie, and keeps none of them but the beginning of one that is not complete.
//! So a viewer costs next to nothing, and thousands fit in one thread.

mod verify;

use std::io::{self, Cursor, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use socket2::{Domain, Protocol as Transport, SockAddr, Socket, Type};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use crate::bench::load::decode::{Content, MessageCache};
use crate::bench::load::stamp::now;
use crate::bench::load::stats::{LinesInFlight, LiveCounts, Slow, Statistics};
use crate::bench::load::target::Target;
use crate::bench::load::{Run, Shared};
use crate::client::connection::without_code;

/// What is read at once.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// A larger message ends the connection: it is no log that is followed.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most bytes of the answer to the handshake.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// What the kernel may hold of what a slow viewer has not read.
const SLOW_BUFFER_BYTES: usize = 16 * 1024;

/// What a thread's viewers share.
pub(super) struct ThreadState<'a> {
    pub(super) recent: MessageCache,
    /// Where the socket's bytes are read to.
    pub(super) buffer: Vec<u8>,
    /// The bytes of heartbeats in what was read last.
    pub(super) heartbeats: u64,
    pub(super) book: Results<'a>,
}

/// Where a thread's viewers write down what came.
pub(super) struct Results<'a> {
    pub(super) shared: &'a Shared,
    pub(super) statistics: Statistics,
    pub(super) under_way: LinesInFlight,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionStage {
    Connecting,
    Upgrading,
    Open,
    Gone,
}

/// One viewer.
pub(super) struct Viewer {
    io: TcpStream,
    stage: ConnectionStage,
    number: u64,
    began: Instant,
    is_v1: bool,
    is_live: bool,
    /// The beginning of the answer, or of a frame, that is not complete.
    partial: Vec<u8>,
    /// The beginning of a stamp that is not complete.
    begun: Vec<u8>,
    /// The line that is to come next. None before the first line of a run that somebody else writes.
    next: Option<u32>,
    /// The line from which on it counts for the last viewer.
    entered: u32,
    /// The last row, which may be made anew.
    row: u64,
    /// The offset that comes next, where the protocol tells it.
    offset: Option<u64>,
    /// The offset that its history ends at.
    history: u64,
    pace: Option<Pace>,
}

/// How much a slow viewer may read.
struct Pace {
    bytes_per_second: u64,
    allowance: f64,
    at: Instant,
    read: u64,
}

/// What the event loop is to do with a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Wake it when there is something to read.
    Read,
    /// It reads when it is its time.
    Slowly,
    /// Nothing has changed.
    On,
    /// It is gone.
    Gone,
}

impl Viewer {
    /// Begins to connect.
    pub(super) fn connect(target: &Target, number: u64, pace: Option<u64>) -> io::Result<Self> {
        let address = SockAddr::from(target.address);
        let domain = Domain::for_address(target.address);
        let socket = Socket::new(domain, Type::STREAM, Some(Transport::TCP))?;
        socket.set_nonblocking(true)?;
        if pace.is_some() {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        match socket.connect(&address) {
            Err(error)
                if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
            {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        let now = Instant::now();
        Ok(Self {
            io: socket.into(),
            stage: ConnectionStage::Connecting,
            number,
            began: now,
            is_v1: false,
            is_live: false,
            partial: Vec::new(),
            begun: Vec::new(),
            next: None,
            entered: 0,
            row: 0,
            offset: None,
            history: u64::MAX,
            pace: pace.map(|bytes_per_second| Pace {
                bytes_per_second,
                allowance: 0.0,
                at: now,
                read: 0,
            }),
        })
    }

    pub(super) fn io(&self) -> &TcpStream {
        &self.io
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Where what comes to it is counted, apart from heartbeats.
    fn progress<'c>(&self, counts: &'c LiveCounts) -> &'c AtomicU64 {
        if self.pace.is_some() { &counts.slow_progress } else { &counts.progress }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == ConnectionStage::Gone
    }

    /// The socket is ready: goes on with the connection, or reads.
    pub(super) fn ready(&mut self, target: &Target, desk: &mut ThreadState<'_>) -> Readiness {
        let went = match self.stage {
            ConnectionStage::Connecting => self.ask(target),
            ConnectionStage::Upgrading | ConnectionStage::Open => {
                self.read(target, desk, READ_BYTES)
            }
            ConnectionStage::Gone => Ok(Readiness::Gone),
        };
        went.unwrap_or_else(|why| self.end(&why, &mut desk.book))
    }

    /// A moment has passed: a slow viewer reads what it may.
    pub(super) fn tick(&mut self, target: &Target, desk: &mut ThreadState<'_>) -> Readiness {
        let Some(pace) = self.pace.as_mut().filter(|_| self.stage == ConnectionStage::Open) else {
            return Readiness::On;
        };
        let now = Instant::now();
        let speed = pace.bytes_per_second as f64;
        let earned = now.duration_since(pace.at).as_secs_f64() * speed;
        pace.at = now;
        // What was not used does not pile up: it would not be slow then.
        pace.allowance = (pace.allowance + earned).min(speed.max(1.0));
        let bytes = (pace.allowance as usize).min(READ_BYTES);
        if bytes == 0 {
            return Readiness::On;
        }
        self.read(target, desk, bytes).unwrap_or_else(|why| self.end(&why, &mut desk.book))
    }

    /// The connection stands: asks for the upgrade.
    fn ask(&mut self, target: &Target) -> Result<Readiness, String> {
        if let Some(error) = self.io.take_error().map_err(|error| without_code(&error))? {
            return Err(without_code(&error));
        }
        // A socket that is new takes so little at once.
        let written = (&self.io).write(&target.request).map_err(|error| without_code(&error))?;
        if written < target.request.len() {
            return Err("the socket does not take the request".to_owned());
        }
        self.stage = ConnectionStage::Upgrading;
        Ok(Readiness::Read)
    }

    fn read(
        &mut self,
        target: &Target,
        desk: &mut ThreadState<'_>,
        bytes: usize,
    ) -> Result<Readiness, String> {
        let mut buffer = std::mem::take(&mut desk.buffer);
        let kept = self.partial.len();
        if buffer.len() < kept + bytes {
            buffer.resize(kept + bytes, 0);
        }
        buffer[..kept].copy_from_slice(&self.partial);
        let read = (&self.io).read(&mut buffer[kept..kept + bytes]);
        let went = match read {
            Ok(0) => Err("it ended the connection without a word".to_owned()),
            Ok(read) => {
                let at = now();
                LiveCounts::add(&desk.book.shared.counts.bytes, read as u64);
                if let Some(pace) = &mut self.pace {
                    pace.allowance -= read as f64;
                    pace.read += read as u64;
                }
                self.partial.clear();
                desk.heartbeats = 0;
                let went = self.take(&buffer[..kept + read], at, target, desk);
                let progress = (read as u64).saturating_sub(desk.heartbeats);
                LiveCounts::add(self.progress(&desk.book.shared.counts), progress);
                went
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(Readiness::On)
            }
            Err(error) => Err(without_code(&error)),
        };
        desk.buffer = buffer;
        went
    }

    /// Takes what came.
    fn take(
        &mut self,
        mut bytes: &[u8],
        at: u64,
        target: &Target,
        desk: &mut ThreadState<'_>,
    ) -> Result<Readiness, String> {
        let mut go = Readiness::On;
        if self.stage == ConnectionStage::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                if bytes.len() > HEAD_BYTES_MAX {
                    return Err("its answer has no end".to_owned());
                }
                self.partial.extend_from_slice(bytes);
                return Ok(Readiness::On);
            };
            let (head, rest) = bytes.split_at(end + 4);
            self.is_v1 = target.agree(head, rest)?;
            bytes = rest;
            self.open(&mut desk.book);
            if self.pace.is_some() {
                go = Readiness::Slowly;
            }
        }
        loop {
            let mut cursor = Cursor::new(bytes);
            let Some((header, len)) =
                FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())?
            else {
                break;
            };
            if len > MESSAGE_BYTES_MAX {
                return Err(format!("a message of {len} bytes"));
            }
            let start = cursor.position() as usize;
            let Some(payload) = bytes.get(start..start + len as usize) else { break };
            let is_heartbeat = self.hear(&header, payload, at, desk)?;
            if is_heartbeat {
                desk.heartbeats += start as u64 + len;
            }
            bytes = bytes.get(start + payload.len()..).unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
        Ok(go)
    }

    /// The WebSocket stands.
    fn open(&mut self, book: &mut Results<'_>) {
        self.stage = ConnectionStage::Open;
        LiveCounts::add(&book.shared.counts.connected, 1);
        if self.pace.is_none() {
            LiveCounts::add(&book.shared.counts.standing, 1);
            self.entered = book.under_way.enter();
        }
        if let Run::Own(_) = book.shared.run {
            self.next = Some(0);
        }
        if !self.is_v1 {
            // The protocol does not say where the history ends.
            self.live(book);
        }
    }

    fn live(&mut self, book: &mut Results<'_>) {
        if !self.is_live {
            self.is_live = true;
            let counts = &book.shared.counts;
            LiveCounts::add(&counts.live, 1);
            book.statistics.joins.saturating_record(self.began.elapsed().as_nanos() as u64);
            let after = book.shared.started.elapsed().as_nanos() as u64;
            counts.live_after.fetch_max(after, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Takes one frame. The parts of a message that is sent in several follow each other as messages do. It gives
    /// whether it was a heartbeat, which says nothing of the log.
    fn hear(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        at: u64,
        desk: &mut ThreadState<'_>,
    ) -> Result<bool, String> {
        match header.opcode {
            OpCode::Data(_) => {
                let Some((known, stamps)) = desk.recent.look_up(self.is_v1, header, payload) else {
                    return Err("it sent a compressed message that makes no sense".to_owned());
                };
                LiveCounts::add(&desk.book.shared.counts.messages, 1);
                LiveCounts::add(&desk.book.shared.counts.compressed, header.rsv1.into());
                self.learn(known, &mut desk.book)?;
                self.count(known, stamps, at, &mut desk.book);
                Ok(matches!(known.content, Content::Heartbeat))
            }
            OpCode::Control(Control::Ping) => {
                self.say(OpCode::Control(Control::Pong), payload);
                Ok(true)
            }
            OpCode::Control(Control::Close) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.say(header.opcode, payload.get(..2).unwrap_or_default());
                let words = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                let words: String = words.chars().filter(|letter| !letter.is_control()).collect();
                Err(match code {
                    Some(code) if words.is_empty() => format!("closed with code {code}"),
                    Some(code) => format!("closed with code {code}: {words}"),
                    None => "closed without a code".to_owned(),
                })
            }
            OpCode::Control(_) => Ok(true),
        }
    }

    /// Sends a small frame. The mask is all zeros: it is to keep strangers from writing through a browser, and there is
    /// none here.
    fn say(&self, opcode: OpCode, payload: &[u8]) {
        let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
        let mut frame = Vec::with_capacity(16 + payload.len());
        // Writing to memory does not fail.
        let _written = header.format(payload.len() as u64, &mut frame);
        frame.extend_from_slice(payload);
        // What a socket does not take that is asked for so little is missed by nobody: the server will notice.
        let _sent = (&self.io).write(&frame);
    }

    /// The connection is gone, for this reason.
    fn end(&mut self, why: &str, book: &mut Results<'_>) -> Readiness {
        let stage = std::mem::replace(&mut self.stage, ConnectionStage::Gone);
        let counts = &book.shared.counts;
        if stage == ConnectionStage::Open {
            LiveCounts::add(&counts.closed, 1);
            if self.pace.is_none() {
                let next = self.next.unwrap_or(0);
                LiveCounts::subtract(&counts.standing, 1);
                LiveCounts::subtract(&counts.advanced, next.into());
                book.under_way.leave(self.entered, next, &book.shared.across);
            }
        } else {
            LiveCounts::add(&counts.failed, 1);
        }
        book.statistics.reason(why, counts);
        Readiness::Gone
    }

    /// The load is over: says goodbye, and adds up what is missing. `total` lines have been written, if that is known.
    pub(super) fn leave(&mut self, total: Option<u32>, book: &mut Results<'_>) {
        let stood = self.stage == ConnectionStage::Open;
        if stood {
            self.say(OpCode::Control(Control::Close), &1000u16.to_be_bytes());
        }
        if let Some(pace) = &self.pace {
            let lines = self.next.unwrap_or(0).into();
            let pace = (pace.bytes_per_second, pace.read);
            book.statistics.slow.push(Slow { pace: pace.0, bytes: pace.1, lines, stood });
        } else if let (Some(next), Some(total)) = (self.next, total)
            && next < total
        {
            let (number, missing) = (self.number, total - next);
            book.statistics.gaps += 1;
            book.statistics.lost += u64::from(missing);
            book.statistics.fault(|| {
                let how = if stood { "never came" } else { "were lost with its connection" };
                format!("viewer {number}: the last {missing} of {total} lines {how}")
            });
        }
    }
}
