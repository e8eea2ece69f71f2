//! The floor: a program that does only what is necessary. It waits for inotify, reads what was
//! appended, puts one WebSocket header before it, and writes it to each socket with one system
//! call.
//!
//! It has no history and no heartbeat, and it closes a full socket, which the load client reports.
//! All ratios in `README.md` refer to it, so it is written plainly.
//!
//! `cargo bench --bench floor -- serve FILE` serves the file at any path, and prints its address.
//! `serve-tls FILE DIRECTORY` does the same with TLS: each socket has a rustls connection, which encrypts the
//! message before the one system call. The
//! directory has its `chain.pem` and `key.pem`.
//! `serve-notify FILE` does the work on the thread of a `notify` watcher, as tailcast does with few viewers.
//! `serve-tokio FILE` is a server of tokio that also reads what viewers send, as each server of this protocol must: each viewer has
//! a task, and a lock for the tasks that write to it.

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
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notify::Watcher;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The most bytes of a read, and so of a message.
const READ_BYTES: usize = 256 * 1024;

/// One viewer.
struct Socket {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

/// What a feed writes to.
trait Viewer {
    /// Writes a message with one system call. Fails if the socket does not take all of it.
    fn send(&mut self, message: &[u8]) -> std::io::Result<()>;
}

impl Viewer for Socket {
    fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        let written = match &mut self.tls {
            None => self.stream.write(message)? == message.len(),
            Some(tls) => {
                tls.writer().write_all(message)?;
                tls.write_tls(&mut self.stream)?;
                !tls.wants_write()
            }
        };
        if written { Ok(()) } else { Err(std::io::ErrorKind::WouldBlock.into()) }
    }
}

/// A viewer that has a task.
struct Shared {
    stream: tokio::net::TcpStream,
    /// Held by whoever writes.
    writing: parking_lot::Mutex<()>,
}

impl Viewer for Arc<Shared> {
    fn send(&mut self, message: &[u8]) -> std::io::Result<()> {
        let _writing = self.writing.lock();
        if self.stream.try_write(message).is_ok_and(|written| written == message.len()) {
            return Ok(());
        }
        // Its task then ends, too.
        rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Both).ok();
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl Shared {
    /// Reads what the viewer sends until it is gone.
    async fn read(self: Arc<Self>) {
        let mut piece = [0; 32];
        while self.stream.readable().await.is_ok() {
            match self.stream.try_read(&mut piece) {
                Ok(0) => return,
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }
}

/// The TLS of the floor, with the certificate in `chain.pem` and `key.pem` of a directory.
pub fn tls(directory: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(directory.join("chain.pem")).unwrap();
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// What was appended to a file, and where it goes.
struct Feed<V> {
    file: File,
    offset: u64,
    frame: Vec<u8>,
    sockets: Vec<V>,
}

impl<V: Viewer> Feed<V> {
    fn new(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let offset = file.metadata().unwrap().len();
        Self { file, offset, frame: vec![0; 10 + READ_BYTES], sockets: Vec::new() }
    }

    /// Reads what was appended, and writes it to each socket.
    fn pass_on(&mut self) {
        loop {
            let read = self.file.read_at(&mut self.frame[10..], self.offset).unwrap();
            if read == 0 {
                return;
            }
            self.offset += read as u64;
            let start = put_header(&mut self.frame, read);
            let message = &self.frame[start..10 + read];
            self.sockets.retain_mut(|socket| match socket.send(message) {
                Ok(()) => true,
                cut => {
                    eprintln!("a viewer is too slow: {cut:?} of {}", message.len());
                    false
                }
            });
        }
    }
}

fn listen(scheme: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{scheme}://{}/", listener.local_addr().unwrap());
    listener
}

/// Serves a file until it is killed, on the thread of a `notify` watcher.
pub fn serve_notified(path: &Path) {
    let feed = Arc::new(Mutex::new(Feed::new(path)));
    let watched = Arc::clone(&feed);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if matches!(event.unwrap().kind, notify::EventKind::Modify(_)) {
            watched.lock().unwrap().pass_on();
        }
    })
    .unwrap();
    watcher.watch(path.parent().unwrap(), notify::RecursiveMode::NonRecursive).unwrap();
    let listener = listen("http");
    loop {
        if let Some(socket) = accept(&listener, None) {
            socket.stream.set_nonblocking(true).unwrap();
            feed.lock().unwrap().sockets.push(socket);
        }
    }
}

/// Serves a file until it is killed, as a server of tokio.
#[tokio::main]
pub async fn serve_tokio(path: &Path) {
    let feed = Arc::new(Mutex::new(Feed::new(path)));
    let (watch, fed) = (watch(path), Arc::clone(&feed));
    std::thread::spawn(move || {
        let mut events = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&watch, &mut events);
        loop {
            poll(&mut [PollFd::new(&watch, PollFlags::IN)], None).unwrap();
            while events.next().is_ok() {}
            fed.lock().unwrap().pass_on();
        }
    });
    let listener = Arc::new(listen("http"));
    loop {
        let listener = Arc::clone(&listener);
        let accepting = tokio::task::spawn_blocking(move || accept(&listener, None));
        let Some(socket) = accepting.await.unwrap() else { continue };
        socket.stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(socket.stream).unwrap();
        stream.writable().await.unwrap();
        let viewer = Arc::new(Shared { stream, writing: parking_lot::Mutex::default() });
        tokio::spawn(Arc::clone(&viewer).read());
        feed.lock().unwrap().sockets.push(viewer);
    }
}

/// Watches a file for appends.
fn watch(path: &Path) -> OwnedFd {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
    let watch = watch.unwrap();
    inotify::add_watch(&watch, path, inotify::WatchFlags::MODIFY).unwrap();
    watch
}

/// Serves a file until it is killed. With `waits` it waits for a full socket instead of closing it.
pub fn serve(path: &Path, waits: bool, tls: Option<&Arc<ServerConfig>>) {
    let mut feed = Feed::new(path);
    let watch = watch(path);
    let mut events = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut events);

    let listener = listen(if tls.is_some() { "https" } else { "http" });
    listener.set_nonblocking(true).unwrap();
    loop {
        let mut ready = [PollFd::new(&watch, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        poll(&mut ready, None).unwrap();
        let came = !ready[1].revents().is_empty();
        while events.next().is_ok() {}
        feed.pass_on();
        while let Some(socket) = came.then(|| accept(&listener, tls)).flatten() {
            socket.stream.set_nonblocking(!waits).unwrap();
            feed.sockets.push(socket);
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
fn accept(listener: &TcpListener, tls: Option<&Arc<ServerConfig>>) -> Option<Socket> {
    let (mut stream, _) = listener.accept().ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_nodelay(true).unwrap();
    let tls = match tls {
        None => {
            upgrade(&mut stream)?;
            None
        }
        Some(config) => {
            let mut tls = Box::new(ServerConnection::new(Arc::clone(config)).unwrap());
            upgrade(&mut rustls::Stream::new(&mut *tls, &mut stream))?;
            tls.set_buffer_limit(None);
            Some(tls)
        }
    };
    Some(Socket { stream, tls })
}

/// Answers the handshake of a WebSocket.
fn upgrade(socket: &mut (impl Read + Write)) -> Option<()> {
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
    socket.write_all(answer.as_bytes()).ok()
}

/// Serves a file until the process is killed, if the words ask for that. Returns otherwise.
pub fn serve_as(words: &[String]) {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", file] => serve(Path::new(file), false, None),
        ["serve-notify", file] => serve_notified(Path::new(file)),
        ["serve-tokio", file] => serve_tokio(Path::new(file)),
        ["serve-tls", file, directory] => {
            serve(Path::new(file), false, Some(&tls(Path::new(directory))));
        }
        _ => {}
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    serve_as(&words);
    println!("usage: cargo bench --bench floor -- serve FILE; `--bench fanout` uses it");
}
