//! `tailcast tail`: the real program, with a server in this process, a real server, or none.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::TryRecvError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::SinkExt;
use rustix::process::{Pid, Signal, kill_process};
use tailcast::client::{
    Disconnect, Follow, FollowEvent, FollowRequest, Format, LogUrl, Position, Refused, StartAt,
};
use tailcast::log::Access;
use tailcast::serve::{Server, Settings};
use tailcast::time::Zone;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::clients::A_MOMENT;
use crate::servers::{
    DEADLINE, Program, TestServer, append, command, eventually, output_of, pace_blocking,
};

/// A running `tailcast tail` and its output. Killed when dropped.
pub struct Tail {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Tail {
    pub fn start(arguments: &[&str]) -> Self {
        Self::of(command().arg("tail").args(arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    fn printed(&self) -> Vec<u8> {
        self.stdout.lock().unwrap().clone()
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().unwrap()).into_owned()
    }

    pub async fn prints(&self, wanted: impl AsRef<[u8]>) {
        let wanted = wanted.as_ref();
        eventually("it prints", async || {
            let printed = self.printed();
            let same = printed == wanted;
            let at = printed.iter().zip(wanted).position(|(one, other)| one != other);
            if same {
                Ok(())
            } else {
                Err((printed.len(), wanted.len(), at, text(&printed), self.said()))
            }
        })
        .await;
    }

    pub async fn says(&self, wanted: &str) {
        eventually("it says", async || {
            let said = self.said();
            if said.contains(wanted) { Ok(()) } else { Err(said) }
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub async fn wait(&mut self) -> ExitStatus {
        eventually("it ends", async || match self.child.try_wait().unwrap() {
            Some(_) => Ok(()),
            None => Err(text(&self.stderr.lock().unwrap())),
        })
        .await;
        self.child.wait().unwrap()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The end of a long text.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(80)..]).into_owned()
}

/// Collects what comes out of a stream, on a thread.
pub fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            into.lock().unwrap().extend_from_slice(&buffer[..read]);
        }
    });
    collected
}

fn url(server: &TestServer, log: &str) -> String {
    format!("http://{}{log}", server.address)
}

/// Runs `tailcast tail` to its end. Returns the exit code, stdout and stderr.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = output_of(command().arg("tail").args(arguments));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn lines_are_printed_as_they_are_written_byte_for_byte() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\n");
    let mut tail = Tail::start(&[&url(&server, &log)]);
    tail.prints("one\ntwo\n").await;
    let mut wanted = b"one\ntwo\n".to_vec();
    for part in
        [&b"three\n"[..], b"no newline", b"\x00\xff\xfe\x1b[31m\r\n", b"\xe2\x82", b"\xac\n"]
    {
        append(&log, part);
        wanted.extend_from_slice(part);
        // Printed at once, even if the line is not complete.
        tail.prints(&wanted).await;
    }
    assert_eq!(tail.said(), "");
    tail.signal(Signal::TERM);
    assert_eq!(tail.wait().await.code(), Some(0));
    eventually("the server is told", async || match server.viewers().await {
        0 => Ok(()),
        viewers => Err(viewers),
    })
    .await;
}

#[tokio::test]
async fn killing_the_server_while_lines_are_written_loses_no_byte() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("storm.log");
    std::fs::write(&log, "head\n".repeat(100)).unwrap();
    let prefix = directory.path().to_str().unwrap();
    let mut program = Program::serve(&[prefix]);
    let address = program.address;
    let mut tail = Tail::start(&["-n", "all", &format!("http://{address}{}", log.display())]);
    tail.prints("head\n".repeat(100)).await;
    // The writer runs until all servers have been killed.
    let (storm, is_over) = std::sync::mpsc::channel::<()>();
    let writing = {
        let log = log.clone();
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
            let mut number = 0u32;
            while is_over.try_recv() == Err(TryRecvError::Empty) {
                for _ in 0..50 {
                    writeln!(file, "{number:08} {}", "x".repeat(number as usize % 300)).unwrap();
                    number += 1;
                }
                pace_blocking(Duration::from_millis(2));
            }
        })
    };
    for round in 1..=3 {
        let before = tail.printed().len();
        eventually("it goes on", async || {
            let now = tail.printed().len();
            if now > before { Ok(()) } else { Err((now, tail.said())) }
        })
        .await;
        program.signal(Signal::KILL);
        program.wait().await;
        program = Program::serve_on(address.port(), &[prefix]);
        // Waits for the new connection, so that the next lines come from this server and not from
        // the previous one.
        eventually("it is connected again", async || {
            let said = tail.said();
            if said.matches("connected again\n").count() == round { Ok(()) } else { Err(said) }
        })
        .await;
    }
    drop(storm);
    writing.join().unwrap();
    let written = std::fs::read(&log).unwrap();
    tail.prints(&written).await;
    let said = tail.said();
    assert!(said.matches("connection lost (").count() >= 3, "{said}");
    assert!(said.contains(", trying again in "), "{said}");
    assert!(!said.contains("left out") && !said.contains("replaced"), "{said}");
    tail.signal(Signal::INT);
    assert_eq!(tail.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_rotation_is_announced_and_loses_no_byte() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\n");
    for source in [url(&server, &log), log.clone()] {
        std::fs::write(&log, "one\n").unwrap();
        let tail = Tail::start(&["-n", "+1", &source]);
        tail.prints("one\n").await;
        rotate(&log);
        tail.says("tailcast: rotated\n").await;
        tail.prints("one\nlast of the old\nfirst of the new\n").await;
        std::fs::write(&log, "cut\n").unwrap();
        tail.says("tailcast: truncated\n").await;
        tail.prints("one\nlast of the old\nfirst of the new\ncut\n").await;
    }
}

fn rotate(log: &str) {
    append(log, "last of the old\n");
    std::fs::rename(log, format!("{log}.1")).unwrap();
    append(log, "first of the new\n");
}

#[tokio::test]
async fn quiet_prints_no_messages() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    let log = log.to_str().unwrap();
    for (option, environment) in [(&["-q"][..], "0"), (&[], "1")] {
        std::fs::write(log, "one\n").unwrap();
        let arguments = [&["tail"], option, &[log]].concat();
        let tail = Tail::of(command().env("TAILCAST_QUIET", environment).args(arguments));
        tail.prints("one\n").await;
        rotate(log);
        tail.prints("one\nlast of the old\nfirst of the new\n").await;
        assert_eq!(tail.said(), "");
    }
}

#[tokio::test]
async fn it_ends_with_success_when_its_output_is_closed() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "one\ntwo\nthree\n");
    for source in [url(&server, &log), log.clone()] {
        // Nothing more is written, so the program must notice that its output is closed.
        let pipe = format!(
            "{} tail {source} | head -1; echo ${{PIPESTATUS[0]}}",
            env!("CARGO_BIN_EXE_tailcast")
        );
        let running =
            tokio::process::Command::new("bash").args(["-c", &pipe]).kill_on_drop(true).output();
        let output = timeout(DEADLINE, running).await.expect("no end").unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one\n0\n");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
}

#[tokio::test]
async fn refused_and_missing_logs_end_with_a_message() {
    let server = TestServer::start().await;
    let missing = format!("{}/missing.log", server.directory.path().display());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let directory = server.directory.path().to_str().unwrap().to_owned();
    for (source, words) in [
        (url(&server, &missing), "not found"),
        (url(&server, "/etc/passwd"), "forbidden"),
        (missing.clone(), "not found"),
        (directory, "not a regular file"),
        (format!("http://{free}/a.log"), "connection refused"),
        (format!("http://{}/a.log", foreign_server()), "not a tailcast server: HTTP status 200 OK"),
    ] {
        for more in ["-f", "--no-follow"] {
            let mut tail = Tail::start(&[more, &source]);
            let code = tail.wait().await.code();
            tail.says("hint: ").await;
            let said = tail.said();
            assert_eq!((code, tail.printed().len()), (Some(1), 0), "{source}: {said}");
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines.len(), 2, "{said}");
            assert!(
                lines[0].starts_with(&format!("tailcast: cannot follow `{source}`: ")),
                "{said}"
            );
            assert!(lines[0].ends_with(words) && lines[1].starts_with("hint: "), "{said}");
        }
    }
}

/// An HTTP server that is not tailcast.
fn foreign_server() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    address
}

#[test]
fn wrong_arguments_are_named() {
    for (arguments, words) in [
        (&["ftp://host/a.log"][..], "ftp"),
        (&["--ca", "/no/such/file", "https://host/a.log"], "/no/such/file"),
        (&["http://host:8765"], "no log"),
        (&["-n", "many", "a.log"], "--lines"),
        (&["-n", "+5", "a.log"], "--lines"),
        (&["--format", "html", "a.log"], "--format"),
        (&["-f", "--no-follow", "a.log"], "--no-follow"),
        (&[], "URL|PATH"),
    ] {
        let (code, printed, said) = run(arguments);
        assert_eq!((code, printed.as_str()), (2, ""), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn without_following_it_ends_where_the_log_ends() {
    let server = TestServer::start().await;
    let lines: String = (0..30).map(|line| format!("line {line}\n")).collect();
    let log = server.log("a.log", format!("{lines}open"));
    let last = |count: usize| {
        let all: Vec<String> = lines.lines().map(|line| format!("{line}\n")).collect();
        all[30 - count..].concat() + "open"
    };
    for source in [url(&server, &log), log.clone()] {
        for (arguments, wanted) in [
            (&[][..], last(9)),
            (&["-n", "3"], last(2)),
            (&["-n3"], last(2)),
            (&["-n", "-3"], last(2)),
            (&["--lines", "0"], String::new()),
            (&["-n", "all"], last(30)),
            (&["-n", "+1"], last(30)),
            (&["-n", "1000"], last(30)),
        ] {
            let arguments = [&["--no-follow"], arguments, &[source.as_str()]].concat();
            let said = format!("{arguments:?}");
            let mut tail = Tail::start(&arguments);
            assert_eq!(tail.wait().await.code(), Some(0), "{said}: {}", tail.said());
            tail.prints(&wanted).await;
            assert_eq!(tail.said(), "", "{said}");
        }
    }
}

#[tokio::test]
async fn with_retry_it_waits_for_a_file_and_for_a_server() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("later.log");
    let local = Tail::start(&["-F", log.to_str().unwrap()]);
    local.says("tailcast: waiting for the file\n").await;

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let remote = Tail::start(&["-F", &format!("http://127.0.0.1:{port}{}", log.display())]);
    remote.says("connection lost (connection refused), trying again in ").await;
    let _program = Program::serve_on(port, &[directory.path().to_str().unwrap()]);
    remote.says("tailcast: waiting for the file\n").await;

    append(&log, "here\n");
    local.prints("here\n").await;
    remote.prints("here\n").await;
    std::fs::remove_file(&log).unwrap();
    eventually("both wait again", async || {
        let waits = |tail: &Tail| tail.said().matches("waiting for the file").count();
        if waits(&local) == 2 && waits(&remote) == 2 {
            Ok(())
        } else {
            Err((local.said(), remote.said()))
        }
    })
    .await;
    append(&log, "again\n");
    local.prints("here\nagain\n").await;
    remote.prints("here\nagain\n").await;
}

#[tokio::test]
async fn text_is_what_a_terminal_would_show() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "\x1b[31mred\x1b[0m\n");
    for source in [url(&server, &log), log.clone()] {
        std::fs::write(&log, "\x1b[31mred\x1b[0m\n").unwrap();
        let tail = Tail::start(&["--format", "text", &source]);
        tail.prints("red\n").await;
        append(&log, "newest\n");
        tail.prints("red\nnewest\n").await;
        append(&log, "\x1b[1mbuilding 1%\r\x1b[Kbuilding 100%\n");
        tail.prints("red\nnewest\nbuilding 100%\n").await;
        append(&log, "held  10%\rheld  20%");
        std::fs::rename(&log, format!("{log}.1")).unwrap();
        append(&log, "new\n");
        tail.prints("red\nnewest\nbuilding 100%\nheld  20%\nnew\n").await;
    }
}

#[tokio::test]
async fn the_library_receives_rows_and_resumes_at_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    std::fs::write(&log, "x".repeat(300) + "\n\x1b[31mtwo\n").unwrap();
    let serve = async |address: &str| {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, asked) = tokio::sync::oneshot::channel::<()>();
        let server = Server::new(Access::new([directory.path()]).unwrap(), Settings::default());
        let serving = tokio::spawn(server.serve(listener, async move {
            asked.await.ok();
        }));
        (address, stop, serving)
    };
    let (address, stop, serving) = serve("127.0.0.1:0").await;
    let url = format!("ws://{address}{}", log.display());
    let ask = FollowRequest {
        begin: StartAt::Lines(1),
        format: Format::Text,
        ..FollowRequest::default()
    };
    let mut follow = Follow::new(url.parse().unwrap(), ask.clone());
    assert!(matches!(
        next(&mut follow).await,
        FollowEvent::Opened { from: 301, recovered: true, .. }
    ));
    assert_eq!(
        next(&mut follow).await,
        FollowEvent::Rows { from: 301, rows: vec![(301, "two".to_owned())] }
    );
    // Dropping the future of `next`, as `select` does, loses nothing.
    for _ in 0..50 {
        assert!(timeout(Duration::from_millis(1), follow.next()).await.is_err());
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    let lost = next(&mut follow).await;
    assert!(matches!(lost, FollowEvent::Lost { .. }), "{lost:?}");
    append(&log, "three\n");
    let (_, _stop, _serving) = serve(&address.to_string()).await;
    let opened = loop {
        match next(&mut follow).await {
            FollowEvent::Lost { retry_in, .. } => assert!(retry_in <= Duration::from_secs(15)),
            heard => break heard,
        }
    };
    assert!(matches!(opened, FollowEvent::Opened { from: 310, recovered: true, .. }), "{opened:?}");
    assert_eq!(
        next(&mut follow).await,
        FollowEvent::Rows { from: 310, rows: vec![(310, "three".to_owned())] }
    );
    let position = follow.position().unwrap().clone();
    assert_eq!(position.offset, 316);
    follow.close().await;

    // A position of another file is not continued: the log is sent from the start, after a reset.
    let other = Position { generation: "of another time".to_owned(), offset: 316 };
    let begin = StartAt::From(other);
    let mut follow = Follow::new(
        url.parse().unwrap(),
        FollowRequest { begin, tail: false, ..FollowRequest::default() },
    );
    assert!(matches!(next(&mut follow).await, FollowEvent::Opened { recovered: false, .. }));
    assert!(matches!(next(&mut follow).await, FollowEvent::Reset { from: 0, .. }));
    assert!(matches!(next(&mut follow).await, FollowEvent::Bytes { offset: 0, .. }));
    assert_eq!(next(&mut follow).await, FollowEvent::End);
    assert_eq!(next(&mut follow).await, FollowEvent::End);

    let missing = format!("{url}.missing").parse().unwrap();
    let mut follow = Follow::new(missing, ask);
    assert_eq!(follow.next().await, Err(Refused::NotFound));
    assert_eq!(timeout(A_MOMENT, follow.next()).await, Ok(Err(Refused::NotFound)));
}

/// A server that sends these messages to each viewer, and then nothing.
async fn scripted(script: Vec<Message>) -> LogUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let speak = |_: &Request, mut answer: Response| {
                let name = HeaderValue::from_static("tailcast.v1");
                answer.headers_mut().insert("sec-websocket-protocol", name);
                Ok(answer)
            };
            let mut socket = tokio_tungstenite::accept_hdr_async(stream, speak).await.unwrap();
            for message in &script {
                socket.send(message.clone()).await.unwrap();
            }
            held.push(socket);
        }
    });
    format!("http://{address}/a.log").parse().unwrap()
}

const RAW: FollowRequest = FollowRequest {
    begin: StartAt::All,
    history: false,
    since: None,
    until: None,
    zone: Zone::UTC,
    format: Format::Raw,
    tail: true,
    wait: false,
    encoding: None,
};
const OPEN: &str = r#"{"type":"open","path":"/a.log","generation":"g","from":0,"size":9,"tail":true,"recovered":true,"watch":"moon","later":1}"#;

fn binary(offset: u64, bytes: &[u8]) -> Message {
    Message::binary([&offset.to_be_bytes(), bytes].concat())
}

#[tokio::test]
async fn the_client_repeats_and_misses_no_byte_whatever_a_server_sends() {
    let close = CloseFrame { code: CloseCode::from(4408), reason: "".into() };
    let url = scripted(vec![
        Message::text(OPEN),
        binary(0, b"abc"),
        Message::text(r#"{"type":"mood","colour":"blue"}"#),
        binary(1, b"bcde"),
        binary(2, b"cd"),
        binary(8, b"xyz"),
        Message::text(r#"{"type":"gap","generation":"g","from":11,"to":20}"#),
        binary(20, b"!"),
        Message::Close(Some(close)),
    ])
    .await;
    let mut follow = Follow::new(url, RAW);
    assert!(matches!(next(&mut follow).await, FollowEvent::Opened { from: 0, size: 9, .. }));
    let bytes = |offset, bytes: &'static [u8]| FollowEvent::Bytes { offset, bytes: bytes.into() };
    let gap = |from, to| FollowEvent::Gap { generation: "g".to_owned(), from, to: Some(to) };
    for wanted in [
        bytes(0, b"abc"),
        bytes(3, b"de"),
        gap(5, 8),
        bytes(8, b"xyz"),
        gap(11, 20),
        bytes(20, b"!"),
    ] {
        assert_eq!(next(&mut follow).await, wanted);
    }
    let lost = next(&mut follow).await;
    assert!(matches!(lost, FollowEvent::Lost { why: Disconnect::TooSlow, .. }), "{lost:?}");
    assert_eq!(follow.position().unwrap().offset, 21);
}

#[tokio::test]
async fn a_silent_server_is_disconnected() {
    let mut follow = Follow::new(scripted(vec![Message::text(OPEN)]).await, RAW);
    for _ in 0..2 {
        assert!(matches!(next(&mut follow).await, FollowEvent::Opened { .. }));
        tokio::time::pause();
        let since = tokio::time::Instant::now();
        let silence_max = Duration::from_secs(100);
        let lost = timeout(silence_max, follow.next()).await.expect("it is not left").unwrap();
        assert!(matches!(lost, FollowEvent::Lost { why: Disconnect::Silent, .. }), "{lost:?}");
        let silence = since.elapsed().as_secs();
        assert!((39..=41).contains(&silence), "{silence} s");
        tokio::time::resume();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_tail_even_if_its_output_is_full() {
    /// The capacity of a pipe, from pipe(7).
    const PIPE_BYTES: u64 = 64 * 1024;
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n".repeat(1_000_000));
    for source in [url(&server, &log), log.clone()] {
        let mut child =
            command().args(["tail", "-n", "all", &source]).stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let mut tail = Tail { child, stdout: Arc::default(), stderr: Arc::default() };
        eventually("its output takes nothing more", async || {
            match rustix::io::ioctl_fionread(&out).unwrap() {
                PIPE_BYTES.. => Ok(()),
                held => Err(held),
            }
        })
        .await;
        tail.signal(Signal::TERM);
        assert_eq!(tail.wait().await.code(), Some(0));
        drop(out);
    }
}

async fn next(follow: &mut Follow) -> FollowEvent {
    timeout(DEADLINE, follow.next()).await.expect("nothing came").unwrap()
}

#[test]
fn the_help_names_options_variables_and_examples() {
    let output = output_of(command().args(["tail", "--help"]));
    let help = String::from_utf8(output.stdout).unwrap();
    for words in [
        "--lines",
        "--follow",
        "--retry",
        "--no-follow",
        "TAILCAST_FORMAT",
        "TAILCAST_QUIET",
        "Examples:",
        "http://127.0.0.1:8765/",
    ] {
        assert!(help.contains(words), "{words}: {help}");
    }
}

#[tokio::test]
async fn the_end_of_a_command_is_told_and_can_be_the_end() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "\x1b]133;C\x07one\n");
    let tail = Tail::start(&[&url(&server, &log)]);
    let mut until = Tail::start(&["--until-exit", &url(&server, &log)]);
    let mut here = Tail::start(&["--until-exit", "--quiet", &log]);
    until.prints("\x1b]133;C\x07one\n").await;
    append(&log, "two\n\x1b]633;P;Duration=182.4\x07");
    append(&log, "\x1b]133;D;3\x07");
    for ending in [&mut until, &mut here] {
        assert_eq!(ending.wait().await.code(), Some(3));
    }
    assert_eq!(until.said(), "tailcast: the command finished with 3 after 3 min 2 s\n");
    assert_eq!(here.said(), "");
    tail.says("finished with 3").await;
    // It may go on.
    append(&log, "\n\x1b]133;C\x07three\n\x1b]133;D;0\x07");
    tail.says("finished with 0\n").await;
    assert_eq!(tail.said().lines().count(), 2);
    let (code, _, said) = run(&["--no-follow", &log]);
    assert_eq!((code, said.as_str()), (0, "tailcast: the command finished with 0\n"));
}
