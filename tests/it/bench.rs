//! `tailcast bench`: the real program, against real servers, and against servers with deliberate
//! faults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tailcast::serve::{Heartbeat, Settings};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::servers::{Program, TestServer, command, eventually};

/// The deadline for a run.
const LONGEST: Duration = Duration::from_secs(60);

/// The exit code and the output of a run.
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    async fn of(arguments: &[&str]) -> Self {
        let mut command = tokio::process::Command::from(command());
        command.arg("bench").args(arguments).kill_on_drop(true).stdin(Stdio::null());
        let output = timeout(LONGEST, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} does not end")).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code(), stdout, stderr }
    }

    /// Runs it with a log that it writes itself, and with the report as JSON.
    async fn report(url: &str, log: &str, arguments: &[&str]) -> (Self, Value) {
        let mut all = vec![url, "--write", log, "--json"];
        all.extend(arguments);
        let run = Self::of(&all).await;
        let report = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("{error}: {:?} {}", run.stdout, run.stderr));
        (run, report)
    }
}

fn url(address: SocketAddr, log: &str) -> String {
    format!("http://{address}{log}")
}

/// Asserts that each line was delivered once to each viewer.
fn assert_whole(run: &Run, report: &Value, lines: u64, viewers: u64) {
    assert_eq!(run.code, Some(0), "{report:#} {}", run.stderr);
    assert_eq!(run.stderr, "", "{report:#}");
    assert_eq!(report["written"]["lines"], lines, "{report:#}");
    let slow = report["slow"].as_array().unwrap().iter();
    let slow: u64 = slow.map(|slow| slow["lines"].as_u64().unwrap()).sum();
    assert_eq!(report["delivered"]["lines"], lines * viewers + slow, "{report:#}");
    assert_eq!(report["latency_ms"]["count"], lines * viewers, "{report:#}");
    assert_eq!(report["last_viewer_ms"]["count"], lines, "{report:#}");
    for what in ["lost", "twice", "gaps", "lost_bytes", "twice_bytes"] {
        assert_eq!(report[what], 0, "{what}: {report:#}");
    }
    let late = |name: &str| report["latency_ms"][name].as_f64().unwrap();
    assert!(late("p50") > 0.0 && late("p50") <= late("p99"), "{report:#}");
    assert!(late("p99") <= late("p99.99") && late("p99.99") <= late("max") * 1.01, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_delivered_in_every_protocol_and_the_report_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log").display().to_string();
    let program = Program::serve(&[directory.path().to_str().unwrap()]);
    let pid = program.child.id().to_string();
    for (query, protocol) in [
        ("", "auto"),
        ("", "v1"),
        ("", "original"),
        ("?format=rows", "v1"),
        ("?format=text", "original"),
    ] {
        let url = url(program.address, &format!("{log}{query}"));
        let arguments = [
            "--protocol",
            protocol,
            "--viewers",
            "40",
            "--rate",
            "200",
            "--duration",
            "1",
            "--threads",
            "2",
            "--pid",
            &pid,
            "--line-bytes",
            "64",
        ];
        let (run, report) = Run::report(&url, &log, &arguments).await;
        assert_whole(&run, &report, 200, 40);
        assert_eq!(report["viewers"]["live"], 40, "{report:#}");
        assert_eq!(report["written"]["bytes"], 200 * 64, "{report:#}");
        assert!(report["server"]["rss_with_viewers"].as_u64().unwrap() > 1 << 20, "{report:#}");
        assert!(report["server"]["cpu_us_per_line"].as_f64().unwrap() > 0.0, "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_messages_are_read_and_counted() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    for query in ["", "?format=rows"] {
        let url = url(server.address, &format!("{log}{query}"));
        let arguments = ["--viewers", "20", "--rate", "1000", "--burst", "50", "--duration", "0.5"];
        let (run, plain) = Run::report(&url, &log, &arguments).await;
        assert_whole(&run, &plain, 500, 20);
        let arguments = [&arguments[..], &["--compress"]].concat();
        let (run, report) = Run::report(&url, &log, &arguments).await;
        assert_whole(&run, &report, 500, 20);
        let delivered = |report: &Value, name: &str| report["delivered"][name].as_u64().unwrap();
        assert_eq!(delivered(&plain, "compressed"), 0, "{plain:#}");
        assert!(delivered(&report, "compressed") > 0, "{report:#}");
        assert!(delivered(&report, "bytes") * 2 < delivered(&plain, "bytes"), "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_agrees_with_the_report_and_ignores_lines_of_earlier_runs() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "a line that was there before\n");
    let url = url(server.address, &log);
    for _ in 0..2 {
        let arguments = [&url, "--write", &log, "--burst", "50", "--lines", "100"];
        let arguments =
            [&arguments[..], &["--viewers", "10", "--rate", "500", "--duration", "0.5"]];
        let run = Run::of(&arguments.concat()).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{}", run.stdout);
        for words in [
            "10 of 10 connected, 10 up to date",
            "250 lines, 29.3 KiB in",
            "2,500 lines in ",
            "lost        0 lines, 0 bytes",
            "last viewer ",
            "p99.99",
        ] {
            assert!(run.stdout.contains(words), "{words} in {}", run.stdout);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_file_it_measures_the_lines_of_another_run() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let url = url(server.address, &log);
    let mut listener = tokio::process::Command::from(command());
    listener.args(["bench", &url, "--viewers", "5", "--duration", "1000", "--json"]);
    let listener = listener.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let listener = listener.spawn().unwrap();
    eventually("it listens", async || match server.viewers().await {
        5 => Ok(()),
        other => Err(other),
    })
    .await;
    let writer = ["--viewers", "3", "--rate", "50", "--duration", "2"];
    let (writer, report) = Run::report(&url, &log, &writer).await;
    assert_whole(&writer, &report, 100, 3);
    let listener = interrupted(listener).await;
    let heard: Value = serde_json::from_slice(&listener.stdout).unwrap();
    let said = String::from_utf8_lossy(&listener.stderr);
    assert_eq!((listener.status.code(), &*said), (Some(0), ""), "{heard:#}");
    assert_eq!(heard["delivered"]["lines"], 100 * 5, "{heard:#}");
    assert_eq!(heard["last_viewer_ms"]["count"], 100, "{heard:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_viewer_reads_slowly_and_does_not_count_as_a_loss() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let url = url(server.address, &log);
    let arguments = [
        "--viewers",
        "5",
        "--slow",
        "2@4K",
        "--rate",
        "500",
        "--line-bytes",
        "1000",
        "--duration",
        "3",
    ];
    let (run, report) = Run::report(&url, &log, &arguments).await;
    assert_whole(&run, &report, 1500, 5);
    let slow = report["slow"].as_array().unwrap();
    assert_eq!(slow.len(), 2, "{report:#}");
    let seconds = report["delivered"]["seconds"].as_f64().unwrap() + 4.0;
    for slow in slow {
        let read = slow["bytes"].as_f64().unwrap();
        assert!(read > 4096.0 && read < seconds * 4096.0, "{report:#}");
        // Lines count when their message is complete, and the first message may be long.
        assert!(slow["lines"].as_u64().unwrap() < 200, "{report:#}");
        assert_eq!(slow["stood"], true, "{report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_are_answered() {
    for heartbeat in [Heartbeat::Text, Heartbeat::Ping] {
        let settings = Settings {
            heartbeat,
            heartbeat_interval: Duration::from_millis(300),
            pong_timeout: Duration::from_millis(250),
            ..Settings::default()
        };
        let server = TestServer::with(settings).await;
        let log = server.log("a.log", "");
        let url = url(server.address, &log);
        let arguments =
            ["--viewers", "5", "--protocol", "original", "--duration", "2", "--rate", "1"];
        let (run, report) = Run::report(&url, &log, &arguments).await;
        assert_whole(&run, &report, 2, 5);
    }
}

/// The fault of a scripted server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Script {
    /// No fault: messages end anywhere, with markup around the lines.
    Cut,
    /// The fourth line is missing.
    Omit,
    /// The seventh line is sent twice.
    Repeat,
    /// The last lines are never sent.
    Cease,
    /// The connection is closed after some lines.
    Close,
    /// `tailcast.v1`: bytes are missing, but no complete line.
    OmitBytes,
    /// `tailcast.v1`: bytes are sent twice.
    RepeatBytes,
    /// `tailcast.v1`: a gap is announced.
    Gap,
    /// `tailcast.v1`: no fault, but the server polls.
    Poll,
    /// The last lines are never sent, and heartbeats continue for ever.
    Linger,
}

/// A server that follows a file and has a fault. The fault affects only the first viewer.
struct Scripted {
    directory: TempDir,
    address: SocketAddr,
}

impl Scripted {
    async fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = directory.path().join("a.log");
        tokio::spawn(async move {
            let mut suffers = true;
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(follow(stream, log.clone(), script, suffers));
                suffers = false;
            }
        });
        Self { directory, address }
    }

    fn log(&self) -> String {
        self.directory.path().join("a.log").display().to_string()
    }
}

async fn follow(stream: TcpStream, log: PathBuf, script: Script, suffers: bool) {
    let is_v1 =
        matches!(script, Script::OmitBytes | Script::RepeatBytes | Script::Gap | Script::Poll);
    let choose = |_: &Request, mut response: Response| {
        if is_v1 {
            let name = HeaderValue::from_static("tailcast.v1");
            response.headers_mut().insert("sec-websocket-protocol", name);
        }
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose).await.unwrap();
    if is_v1 {
        let open = r#"{"type":"open","path":"/a","generation":"g","from":0,"size":0,"modified":null,
                       "tail":true,"recovered":true,"watch":"poll","what":"is not known"}"#;
        socket.send(Message::text(open)).await.unwrap();
    }
    let mut number = 0;
    let mut sent = 0;
    loop {
        let lines = lines_from(&log, sent);
        for line in lines {
            let start = sent;
            sent += line.len();
            if say(&mut socket, script, suffers, number, start, &line).await.is_err() {
                return;
            }
            number += 1;
        }
        if script == Script::Linger && socket.send(Message::text("ping")).await.is_err() {
            return;
        }
        // Reads the viewer's messages, so that its pongs do not fill the socket.
        if let Ok(None | Some(Err(_))) = timeout(Duration::from_millis(10), socket.next()).await {
            return;
        }
    }
}

/// The complete lines of a file from an offset on.
fn lines_from(log: &Path, from: usize) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    text[from.min(whole)..whole].split_inclusive('\n').map(str::to_owned).collect()
}

type Failed = tokio_tungstenite::tungstenite::Error;

async fn say(
    socket: &mut WebSocketStream<TcpStream>,
    script: Script,
    suffers: bool,
    number: usize,
    start: usize,
    line: &str,
) -> Result<(), Failed> {
    let bytes = |start: usize, line: &str| {
        let offset = (start as u64).to_be_bytes();
        Message::binary([offset.as_slice(), line.as_bytes()].concat())
    };
    let plain = Message::text(format!("{}<br/>", line.trim_end()));
    match script {
        Script::Cut => {
            let html = format!("<span>{}</span><br>\r\n", line.trim_end());
            for part in html.as_bytes().chunks(7) {
                socket.send(Message::text(std::str::from_utf8(part).unwrap())).await?;
            }
            Ok(())
        }
        Script::Omit if suffers && number == 3 => Ok(()),
        Script::Cease | Script::Linger if suffers && number >= 17 => Ok(()),
        Script::Repeat if suffers && number == 6 => {
            socket.send(plain.clone()).await?;
            socket.send(plain).await
        }
        Script::Close if suffers && number == 5 => {
            let frame = CloseFrame { code: 1013.into(), reason: "enough\u{1b}[31m".into() };
            socket.close(Some(frame)).await?;
            while socket.next().await.is_some() {}
            Err(Failed::ConnectionClosed)
        }
        Script::OmitBytes if suffers && number == 3 => {
            let from = line.len() - 10;
            socket.send(bytes(start, &line[..from])).await
        }
        Script::RepeatBytes if suffers && number == 3 => {
            socket.send(bytes(start, line)).await?;
            let from = line.len() - 10;
            socket.send(bytes(start + from, &line[from..])).await
        }
        Script::Gap if suffers && number == 3 => {
            let to = start + line.len();
            let gap = format!(r#"{{"type":"gap","generation":"g","from":{start},"to":{to}}}"#);
            socket.send(Message::text(gap)).await
        }
        Script::OmitBytes | Script::RepeatBytes | Script::Gap | Script::Poll => {
            socket.send(bytes(start, line)).await
        }
        Script::Omit | Script::Repeat | Script::Cease | Script::Close | Script::Linger => {
            socket.send(plain).await
        }
    }
}

/// Runs the load client against such a server: two viewers, twenty lines.
async fn scripted(script: Script) -> (Run, Value) {
    let server = Scripted::start(script).await;
    let arguments = ["--viewers", "2", "--ramp", "10", "--rate", "40", "--duration", "0.5"];
    Run::report(&url(server.address, "/any"), &server.log(), &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_recognised_in_messages_that_end_anywhere_with_markup_around_them() {
    let (run, report) = scripted(Script::Cut).await;
    assert_whole(&run, &report, 20, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_repeated_lines_are_named_and_fail_the_run() {
    for (script, said, fault) in [
        (Script::Omit, "1 line was lost", "viewer 0: line 3 is missing"),
        (Script::Repeat, "1 line came twice", "viewer 0: line 6 came twice, or too late"),
        (Script::Cease, "3 lines were lost", "viewer 0: the last 3 of 20 lines never came"),
        (Script::Linger, "3 lines were lost", "viewer 0: the last 3 of 20 lines never came"),
        (Script::OmitBytes, "10 bytes were left out", "viewer 0: bytes 470 to 480 are missing"),
        (Script::RepeatBytes, "10 bytes came twice", "viewer 0: bytes 470 to 480 came twice"),
        (Script::Gap, "120 bytes were left out", "the server left out bytes 360 to 480"),
    ] {
        let (run, report) = scripted(script).await;
        assert_eq!(run.code, Some(1), "{script:?}: {report:#} {}", run.stderr);
        let first = run.stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("tailcast: ") && first.contains(said),
            "{script:?}: {}",
            run.stderr
        );
        assert!(run.stderr.contains("\nhint: "), "{script:?}: {}", run.stderr);
        let faults = report["faults"].to_string();
        assert!(faults.contains(fault), "{script:?}: {report:#}");
        assert!(!faults.contains("viewer 1"), "{script:?}: {report:#}");
        // The wait for missing lines does not count.
        let seconds = report["delivered"]["seconds"].as_f64().unwrap();
        assert!(seconds < 9.0, "{script:?}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_that_the_server_polls() {
    let (run, report) = scripted(Script::Poll).await;
    assert_whole(&run, &report, 20, 2);
    assert_eq!(report["viewers"]["polled"], 2, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_time_limit_no_progress_is_printed_each_second() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n".repeat(1000));
    let url = url(server.address, &log);
    let protocol = ["--protocol", "original", "--lines", "1000"];
    let run = Run::of(&[&[&url, "--duration", "0", "--json"], &protocol[..]].concat()).await;
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(run.code, Some(0), "{report:#} {}", run.stderr);
    assert_eq!(report["delivered"]["bytes_per_second"], 0.0, "{report:#}");
    let run = Run::of(&[&url, "--duration", "0"]).await;
    assert!(run.stdout.contains("\nclient CPU  0.0 % of a core\n"), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_says_what_was_lost_when_the_server_is_gone_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("a.log").display().to_string();
    let mut program = Program::serve(&[directory.path().to_str().unwrap()]);
    let pid = program.child.id().to_string();
    let url = url(program.address, &log);
    let bench = tokio::spawn(async move {
        let arguments = ["--viewers", "5", "--duration", "3", "--pid", &pid];
        let (run, report) = Run::report(&url, &log, &arguments).await;
        (run, report, log)
    });
    let log = directory.path().join("a.log");
    eventually("it writes", async || match std::fs::metadata(&log).map(|data| data.len()) {
        Ok(written) if written > 2000 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // Without `wait`, so that the ended process is still listed.
    program.child.kill().unwrap();
    let (run, report, _) = bench.await.unwrap();
    assert_eq!(run.code, Some(1), "{report:#} {}", run.stderr);
    assert_eq!(report["viewers"]["closed"], 5, "{report:#}");
    assert!(report["lost"].as_u64().unwrap() > 0, "{report:#}");
    assert!(report["server"].is_null(), "{report:#}");
    assert!(run.stderr.contains("the process of `--pid` is gone"), "{}", run.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_counts_gaps_and_names_them() {
    let server = Scripted::start(Script::Omit).await;
    let (url, log) = (url(server.address, "/any"), server.log());
    let run = Run::of(&[&url, "--write", &log, "-v", "2", "--ramp", "10", "-d", "0.2"]).await;
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    for words in ["lost        1 lines, 0 bytes, in 1 gap\n", "\nfaults      viewer 0: line 3 "] {
        assert!(run.stdout.contains(words), "{words} in {}", run.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_report_does_not_change_the_exit_code() {
    for (script, code) in [(Script::Cut, 0), (Script::Omit, 1)] {
        let server = Scripted::start(script).await;
        let (url, log) = (url(server.address, "/any"), server.log());
        let mut bench = tokio::process::Command::from(command());
        bench.args(["bench", &url, "--write", &log, "-v", "2", "--ramp", "10", "-d", "0.2"]);
        let mut child = bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = timeout(LONGEST, child.wait_with_output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert_eq!(said.contains("1 line was lost"), code == 1, "{said}");
        assert!(!said.contains("stdout"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_close_is_reported_with_the_servers_reason() {
    let (run, report) = scripted(Script::Close).await;
    assert_eq!(run.code, Some(1), "{report:#}");
    assert!(run.stderr.contains("15 lines were lost, 1 viewer was closed early"), "{}", run.stderr);
    assert_eq!(report["viewers"]["reasons"]["closed with code 1013: enough[31m"], 1, "{report:#}");
    assert_eq!(report["delivered"]["lines"], 25, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_be_loaded_is_reported_with_a_hint() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "x\n");
    let good = url(server.address, &log);
    let missing = url(server.address, &server.path("none.log").display().to_string());
    let foreign = url(server.address, "/etc/passwd");
    let bad = format!("{good}?tail=perhaps");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = format!("http://{nobody}/a.log");
    let scripted = Scripted::start(Script::Cut).await;
    let old = url(scripted.address, "/a");
    let never = server.path("never.log").display().to_string();
    for (arguments, code, words, hint) in [
        (&[nobody.as_str()][..], 1, "connection refused", "is the server running"),
        (&[&missing], 1, "Not found", "lists its logs"),
        (&[&foreign], 1, "Forbidden", "other directories"),
        (&[&missing, "--protocol", "original", "--duration", "1"], 1, "1008", ""),
        (&[&bad], 1, "perhaps", "check the URL"),
        (&[&old, "--protocol", "v1"], 1, "tailcast.v1", "--protocol original"),
        (&["127.0.0.1:8765"], 2, "does not begin with `http://`", "http://127.0.0.1:8765/"),
        (&[&good, "--write", "/no/such/file"], 2, "/no/such/file", "able to write"),
        (&[&good, &good, "--write", &never], 2, "several", "one URL"),
        (&[&good, "--write", &never, "--line-bytes", "39"], 2, "39 bytes", "40 to"),
        (&[&good, "--rate", "5"], 2, "--write", ""),
        (&[&good, "--burst", "5"], 2, "--write", ""),
        (&[&good, "--write", &never, "--duration", "0"], 2, "0 lines", "at least 1"),
        (&[&good, "--pid", "4194304"], 2, "--pid", "pidof"),
        (&[&good, "--viewers", "0"], 2, "no viewer", "--viewers"),
        (&[&good, "--slow", "3"], 2, "--slow", "10@8K"),
        (&[&good, "--slow", "3@0"], 2, "--slow", "10@8K"),
        (&[&good, "--rate", "0"], 2, "--rate", ""),
        (&[&good, "--viewers", "4000000000"], 1, "descriptors", "ulimit -n"),
        (&[], 2, "<URL>", ""),
    ] {
        let run = Run::of(arguments).await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {} {}", run.stdout, run.stderr);
        assert!(run.stderr.contains(words), "{words} of {arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(hint), "{hint} of {arguments:?}: {}", run.stderr);
    }
    assert!(!Path::new(&never).exists());
}

/// Interrupts a run, and waits for its report.
async fn interrupted(child: tokio::process::Child) -> std::process::Output {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    timeout(LONGEST, child.wait_with_output()).await.expect("it does not end").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_a_run_with_a_report() {
    let server = TestServer::start().await;
    let log = server.log("a.log", "");
    let url = url(server.address, &log);
    let mut bench = tokio::process::Command::from(command());
    bench.args(["bench", &url, "--write", &log, "--viewers", "5", "--duration", "1000", "--json"]);
    let child = bench.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = child.spawn().unwrap();
    eventually("it writes", async || {
        let written = std::fs::metadata(&log).unwrap().len();
        if written > 2000 { Ok(()) } else { Err(written) }
    })
    .await;
    let output = interrupted(child).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["interrupted"], true, "{report:#}");
    let lines = report["written"]["lines"].as_u64().unwrap();
    assert!(lines >= 16, "{report:#}");
    assert_eq!(report["delivered"]["lines"], 5 * lines, "{report:#}");
}
