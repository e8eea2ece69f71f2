//! The floor: a program that does only what is necessary. It waits for inotify, reads what was
//! appended, puts one WebSocket header before it, and writes it to each socket with one system
//! call.
//!
//! It has no history and no heartbeat, and it closes a full socket, which the load client reports.
//! All ratios in `README.md` refer to it, so it is written plainly.
//!
//! `cargo bench --bench floor -- serve FILE` serves the file at any path, and prints its address.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a bench panics at the first error, and prints its results"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The most bytes of a read, and so of a message.
const READ_BYTES: usize = 256 * 1024;

/// Serves a file until it is killed. With `waits` it waits for a full socket instead of closing it.
pub fn serve(path: &Path, waits: bool) {
    let file = File::open(path).unwrap();
    let mut offset = file.metadata().unwrap().len();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
    let watch = watch.unwrap();
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).unwrap();
    let mut events = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut events);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("http://{}/", listener.local_addr().unwrap());

    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut frame = vec![0; 10 + READ_BYTES];
    loop {
        let mut ready = [PollFd::new(&watch, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        poll(&mut ready, None).unwrap();
        let came = !ready[1].revents().is_empty();
        while events.next().is_ok() {}
        loop {
            let read = file.read_at(&mut frame[10..], offset).unwrap();
            if read == 0 {
                break;
            }
            offset += read as u64;
            let start = put_header(&mut frame, read);
            let message = &frame[start..10 + read];
            sockets.retain(|mut socket| match socket.write(message) {
                Ok(written) if written == message.len() => true,
                cut => {
                    eprintln!("a viewer is too slow: {cut:?} of {}", message.len());
                    false
                }
            });
        }
        while let Some(socket) = came.then(|| accept(&listener)).flatten() {
            socket.set_nonblocking(!waits).unwrap();
            sockets.push(socket);
        }
    }
}

/// Writes the header of a text message before the payload, which begins at byte 10. Returns the
/// start of the header.
fn put_header(frame: &mut [u8], len: usize) -> usize {
    let start = match len {
        0..=125 => {
            frame[9] = len as u8;
            8
        }
        126..=65_535 => {
            frame[7] = 126;
            frame[8..10].copy_from_slice(&(len as u16).to_be_bytes());
            6
        }
        _ => {
            frame[1] = 127;
            frame[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            0
        }
    };
    frame[start] = 0x81;
    start
}

/// Accepts one viewer, whatever path it requests.
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (mut socket, _) = listener.accept().ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&piece[..read]);
    }
    let head = String::from_utf8(head).ok()?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.trim().as_bytes())
    );
    socket.write_all(answer.as_bytes()).ok()?;
    socket.set_nodelay(true).unwrap();
    Some(socket)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().skip(1).filter(|word| *word != "--bench").collect::<Vec<_>>()[..] {
        [mode, file] if mode == "serve" => serve(Path::new(file), false),
        _ => println!("usage: cargo bench --bench floor -- serve FILE; `--bench fanout` uses it"),
    }
}
