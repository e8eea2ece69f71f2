//! One viewer of a load: its connection, and its position in the log.
//!
//! Frames are parsed in the read buffer, and only the start of an incomplete frame is kept. So a
//! viewer costs very little, and a thread can have thousands.

mod verify;

use std::io::{self, Cursor, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use socket2::{Domain, Protocol as Transport, SockAddr, Socket, Type};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use crate::bench::load::decode::{Content, MessageCache};
use crate::bench::load::socket::{Io, words};
use crate::bench::load::stamp::now;
use crate::bench::load::stats::{LinesInFlight, LiveCounts, Slow, Statistics};
use crate::bench::load::target::Target;
use crate::bench::load::{Run, Shared};

/// The most bytes of one read.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// A larger message ends the connection: such a server does not send a log.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most bytes of the response head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The receive buffer of a slow viewer in the kernel.
const SLOW_BUFFER_BYTES: usize = 16 * 1024;

/// What the viewers of a thread share.
pub(super) struct ThreadState<'a> {
    pub(super) cache: MessageCache,
    /// The read buffer.
    pub(super) buffer: Vec<u8>,
    /// The bytes of heartbeats in the last read.
    pub(super) heartbeats: u64,
    pub(super) results: Results<'a>,
}

/// The results of a thread.
pub(super) struct Results<'a> {
    pub(super) shared: &'a Shared,
    pub(super) statistics: Statistics,
    pub(super) in_flight: LinesInFlight,
}

/// The stage of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConnectionStage {
    Connecting,
    Upgrading,
    Open,
    Gone,
}

/// One viewer.
pub(super) struct Viewer {
    io: Io,
    stage: ConnectionStage,
    number: u64,
    began: Instant,
    is_v1: bool,
    is_live: bool,
    /// The start of a response or a frame that is not complete.
    partial: Vec<u8>,
    /// The start of a stamp that is not complete.
    partial_stamp: Vec<u8>,
    /// The next expected line. `None` before the first line of a run that another process writes.
    next: Option<u32>,
    /// The first line that counts for the latency of the last viewer.
    first_counted: u32,
    /// The last row, which may be sent again.
    row: u64,
    /// The next offset, if the protocol sends offsets.
    offset: Option<u64>,
    /// The offset at which the history ends.
    history: u64,
    pace: Option<Pace>,
}

/// The speed of a slow viewer.
struct Pace {
    bytes_per_second: u64,
    allowance: f64,
    at: Instant,
    read: u64,
}

/// What the event loop does next with a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Wait until it can read.
    Read,
    /// Call `tick`, and do not wait for its socket.
    Slowly,
    /// Nothing changes.
    On,
    /// Remove it.
    Gone,
}

impl Viewer {
    /// Starts to connect.
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
            io: Io::new(socket.into(), target)?,
            stage: ConnectionStage::Connecting,
            number,
            began: now,
            is_v1: false,
            is_live: false,
            partial: Vec::new(),
            partial_stamp: Vec::new(),
            next: None,
            first_counted: 0,
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
        self.io.stream()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The counter for its payload bytes.
    fn progress<'c>(&self, counts: &'c LiveCounts) -> &'c AtomicU64 {
        if self.pace.is_some() { &counts.slow_progress } else { &counts.progress }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.stage == ConnectionStage::Gone
    }

    /// The socket is ready: continues to connect, or reads.
    pub(super) fn ready(&mut self, target: &Target, state: &mut ThreadState<'_>) -> Readiness {
        let went = match self.stage {
            ConnectionStage::Connecting => self.request_upgrade(target),
            ConnectionStage::Upgrading | ConnectionStage::Open => {
                self.read(target, state, READ_BYTES)
            }
            ConnectionStage::Gone => Ok(Readiness::Gone),
        };
        went.unwrap_or_else(|why| self.end(&why, &mut state.results))
    }

    /// Lets a slow viewer read as much as its pace allows now.
    pub(super) fn tick(&mut self, target: &Target, state: &mut ThreadState<'_>) -> Readiness {
        let Some(pace) = self.pace.as_mut().filter(|_| self.stage == ConnectionStage::Open) else {
            return Readiness::On;
        };
        let now = Instant::now();
        let speed = pace.bytes_per_second as f64;
        let earned = now.duration_since(pace.at).as_secs_f64() * speed;
        pace.at = now;
        // An unused allowance does not add up, or the viewer would not be slow.
        pace.allowance = (pace.allowance + earned).min(speed.max(1.0));
        let bytes = (pace.allowance as usize).min(READ_BYTES);
        if bytes == 0 {
            return Readiness::On;
        }
        self.read(target, state, bytes).unwrap_or_else(|why| self.end(&why, &mut state.results))
    }

    /// The connection is open: requests the upgrade.
    fn request_upgrade(&mut self, target: &Target) -> Result<Readiness, String> {
        if let Some(error) = self.io.stream().take_error().map_err(|error| words(&error))? {
            return Err(words(&error));
        }
        // The buffer of a new socket is large enough for the request.
        let written = self.io.write(&target.request).map_err(|error| words(&error))?;
        if written < target.request.len() {
            return Err("the socket did not accept the request".to_owned());
        }
        self.stage = ConnectionStage::Upgrading;
        Ok(Readiness::Read)
    }

    fn read(
        &mut self,
        target: &Target,
        state: &mut ThreadState<'_>,
        bytes: usize,
    ) -> Result<Readiness, String> {
        let mut buffer = std::mem::take(&mut state.buffer);
        let kept = self.partial.len();
        if buffer.len() < kept + bytes {
            buffer.resize(kept + bytes, 0);
        }
        buffer[..kept].copy_from_slice(&self.partial);
        let read = self.io.read(&mut buffer[kept..kept + bytes]);
        let went = match read {
            Ok(0) => Err("the server closed the connection".to_owned()),
            Ok(read) => {
                let at = now();
                LiveCounts::add(&state.results.shared.counts.bytes, read as u64);
                if let Some(pace) = &mut self.pace {
                    pace.allowance -= read as f64;
                    pace.read += read as u64;
                }
                self.partial.clear();
                state.heartbeats = 0;
                let went = self.parse(&buffer[..kept + read], at, target, state);
                let progress = (read as u64).saturating_sub(state.heartbeats);
                LiveCounts::add(self.progress(&state.results.shared.counts), progress);
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
            Err(error) => Err(words(&error)),
        };
        state.buffer = buffer;
        went
    }

    /// Parses what was read.
    fn parse(
        &mut self,
        mut bytes: &[u8],
        at: u64,
        target: &Target,
        state: &mut ThreadState<'_>,
    ) -> Result<Readiness, String> {
        let mut go = Readiness::On;
        if self.stage == ConnectionStage::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                if bytes.len() > HEAD_BYTES_MAX {
                    return Err("the head of its answer is too long".to_owned());
                }
                self.partial.extend_from_slice(bytes);
                return Ok(Readiness::On);
            };
            let (head, rest) = bytes.split_at(end + 4);
            self.is_v1 = target.agree(head, rest)?;
            bytes = rest;
            self.open(&mut state.results);
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
            let is_heartbeat = self.on_frame(&header, payload, at, state)?;
            if is_heartbeat {
                state.heartbeats += start as u64 + len;
            }
            bytes = bytes.get(start + payload.len()..).unwrap_or_default();
        }
        self.partial.extend_from_slice(bytes);
        Ok(go)
    }

    /// The WebSocket is open.
    fn open(&mut self, results: &mut Results<'_>) {
        self.stage = ConnectionStage::Open;
        LiveCounts::add(&results.shared.counts.connected, 1);
        if self.pace.is_none() {
            LiveCounts::add(&results.shared.counts.standing, 1);
            self.first_counted = results.in_flight.enter();
        }
        if let Run::Own(_) = results.shared.run {
            self.next = Some(0);
        }
        if !self.is_v1 {
            // The protocol does not tell where the history ends.
            self.live(results);
        }
    }

    fn live(&mut self, results: &mut Results<'_>) {
        if !self.is_live {
            self.is_live = true;
            let counts = &results.shared.counts;
            LiveCounts::add(&counts.live, 1);
            results.statistics.joins.saturating_record(self.began.elapsed().as_nanos() as u64);
            let after = results.shared.started.elapsed().as_nanos() as u64;
            counts.live_after.fetch_max(after, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Handles one frame. The fragments of a message are handled like messages. Returns whether it
    /// was a heartbeat.
    fn on_frame(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        at: u64,
        state: &mut ThreadState<'_>,
    ) -> Result<bool, String> {
        match header.opcode {
            OpCode::Data(_) => {
                let Some((message, stamps)) = state.cache.look_up(self.is_v1, header, payload)
                else {
                    return Err("it sent a compressed message that is not valid".to_owned());
                };
                LiveCounts::add(&state.results.shared.counts.messages, 1);
                LiveCounts::add(&state.results.shared.counts.compressed, header.rsv1.into());
                self.on_message(message, &mut state.results)?;
                self.count_stamps(message, stamps, at, &mut state.results);
                Ok(matches!(message.content, Content::Heartbeat))
            }
            OpCode::Control(Control::Ping) => {
                self.send(OpCode::Control(Control::Pong), payload);
                Ok(true)
            }
            OpCode::Control(Control::Close) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                self.send(header.opcode, payload.get(..2).unwrap_or_default());
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

    /// Sends a small frame. The mask is zero: masks protect proxies from scripts in browsers, which
    /// do not run here.
    fn send(&mut self, opcode: OpCode, payload: &[u8]) {
        let header = FrameHeader { opcode, mask: Some([0; 4]), ..FrameHeader::default() };
        let mut frame = Vec::with_capacity(16 + payload.len());
        // Writing to memory does not fail.
        let _written = header.format(payload.len() as u64, &mut frame);
        frame.extend_from_slice(payload);
        // If a socket has no room for so few bytes the server notices by itself.
        let _sent = self.io.write(&frame);
    }

    /// The connection ended, for this reason.
    fn end(&mut self, why: &str, results: &mut Results<'_>) -> Readiness {
        let stage = std::mem::replace(&mut self.stage, ConnectionStage::Gone);
        let counts = &results.shared.counts;
        if stage == ConnectionStage::Open {
            LiveCounts::add(&counts.closed, 1);
            if self.pace.is_none() {
                let next = self.next.unwrap_or(0);
                LiveCounts::subtract(&counts.standing, 1);
                LiveCounts::subtract(&counts.advanced, next.into());
                results.in_flight.leave(self.first_counted, next, &results.shared.last_viewer);
            }
        } else {
            LiveCounts::add(&counts.failed, 1);
        }
        results.statistics.reason(why, counts);
        Readiness::Gone
    }

    /// Closes the connection at the end of the load, and counts missing lines. `total` is the
    /// number of written lines, if known.
    pub(super) fn leave(&mut self, total: Option<u32>, results: &mut Results<'_>) {
        let stood = self.stage == ConnectionStage::Open;
        if stood {
            self.send(OpCode::Control(Control::Close), &1000u16.to_be_bytes());
        }
        if let Some(pace) = &self.pace {
            let lines = self.next.unwrap_or(0).into();
            let pace = (pace.bytes_per_second, pace.read);
            results.statistics.slow.push(Slow { pace: pace.0, bytes: pace.1, lines, stood });
        } else if let (Some(next), Some(total)) = (self.next, total)
            && next < total
        {
            let (number, missing) = (self.number, total - next);
            results.statistics.gaps += 1;
            results.statistics.lost += u64::from(missing);
            results.statistics.fault(|| {
                let how = if stood { "never came" } else { "were lost with its connection" };
                format!("viewer {number}: the last {missing} of {total} lines {how}")
            });
        }
    }
}
