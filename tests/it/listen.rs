//! The addresses that a server listens on: several, and unix sockets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use futures_util::StreamExt;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::clients::get;
use crate::servers::{DEADLINE, Program, append, command, first_line, output_of, target};

/// A directory with a log, and a place for a socket.
fn scene() -> (TempDir, String, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log");
    append(&log, "first\n");
    let socket = directory.path().join("tailcast.sock");
    (directory, target(&log), socket)
}

async fn ask(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

/// Serves on TCP and on a unix socket.
fn serve_both(directory: &TempDir, socket: &Path) -> Program {
    let unix = format!("unix:{}", socket.display());
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--listen", &unix]).arg(directory.path());
    Program::start(&mut serve)
}

#[tokio::test]
async fn one_server_answers_on_tcp_and_on_a_unix_socket() {
    let (directory, log, socket) = scene();
    let mut program = serve_both(&directory, &socket);
    assert_eq!(get(program.address, &log, &[]).await.text(), "first\n");
    let request = format!("GET {log} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = ask(&socket, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nfirst\n"), "{answer}");
    let foreign = request.replace("localhost", "evil.example");
    assert!(ask(&socket, &foreign).await.starts_with("HTTP/1.1 421 "), "the host is checked");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    program.signal(Signal::TERM);
    assert!(program.wait().await.success());
    assert!(!socket.exists(), "it removes its socket at the end");
    let said = program.said();
    assert!(said.contains("remote=unix") && said.contains("remote=127.0.0.1:"), "{said}");
}

#[tokio::test]
async fn a_websocket_over_a_unix_socket_follows_and_gets_the_end_at_shutdown() {
    let (directory, log, socket) = scene();
    let mut program = serve_both(&directory, &socket);
    let url = format!("ws://localhost{log}?tail=1&lines=all&format=raw");
    let stream = UnixStream::connect(&socket).await.unwrap();
    let (mut viewer, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let mut came = Vec::new();
    // More than the socket's buffer, so that the viewer also catches up by itself.
    let bulk = "a line that is to be read\n".repeat(100_000);
    append(&log, &bulk);
    append(&log, "last\n");
    let whole = std::fs::read(&log).unwrap();
    while came.len() < whole.len() {
        match timeout(DEADLINE, viewer.next()).await.unwrap() {
            Some(Ok(Message::Binary(bytes))) => came.extend_from_slice(&bytes),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?} after {} bytes", came.len()),
        }
    }
    assert!(came == whole, "the bytes differ");
    append(&log, "at the end\n");
    program.signal(Signal::TERM);
    let mut rest = Vec::new();
    loop {
        match timeout(DEADLINE, viewer.next()).await.unwrap() {
            Some(Ok(Message::Binary(bytes))) => rest.extend_from_slice(&bytes),
            Some(Ok(Message::Close(close))) => {
                break assert_eq!(u16::from(close.unwrap().code), 1001);
            }
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(String::from_utf8(rest).unwrap(), "at the end\n");
    drop(viewer);
    assert!(program.wait().await.success());
}

#[tokio::test]
async fn tail_follows_a_log_behind_a_unix_socket() {
    let (directory, log, socket) = scene();
    let _program = serve_both(&directory, &socket);
    let url = format!("unix:{}:{log}", socket.display());
    let output = output_of(command().args(["tail", "--no-follow", &url]));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "first\n");
    let mut child = command()
        .args(["tail", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(first_line(&mut child), "first\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_address_that_cannot_be_used_is_told_with_the_cause() {
    let (directory, log, socket) = scene();
    let program = serve_both(&directory, &socket);
    let taken = format!("unix:{}", socket.display());
    let no_directory = format!("unix:{}/none/a.sock", directory.path().display());
    let too_long = format!("unix:/{}", "x".repeat(200));
    let file = format!("unix:{log}");
    for (address, cause) in [
        (taken.as_str(), "Address already in use"),
        (&no_directory, "No such file or directory"),
        (&too_long, ""),
        (&file, "it is a file, and no socket"),
    ] {
        let output = output_of(command().args(["serve", "/tmp", "--listen", address]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let message = format!("tailcast: cannot listen on `{address}`: ");
        let line = said.lines().find(|line| line.starts_with(&message));
        let hint = said.lines().last().unwrap_or_default();
        assert!(
            line.is_some_and(|line| line.contains(cause)) && hint.starts_with("hint: "),
            "{said}"
        );
    }
    assert!(socket.exists(), "the socket of the other server is still there");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "first\n");
    drop(program);
    // The server was killed, so its socket is left, and another server takes the place.
    assert!(socket.exists());
    drop(serve_both(&directory, &socket));
    let both = ["serve", "/tmp", "--listen", "127.0.0.1:0", "--port", "0"];
    let said = String::from_utf8(output_of(command().args(both)).stderr).unwrap();
    assert!(said.contains("instead of `host` and `port`"), "{said}");
}
